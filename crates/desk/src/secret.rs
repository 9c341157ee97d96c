//! Tokens and passwords: made, and kept only as hashes.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Rounds of PBKDF2-HMAC-SHA256 (OWASP's figure of 2023).
const ROUNDS: u32 = 600_000;

/// A new token: 244 random bits from the operating system, hexadecimal.
#[must_use]
pub(crate) fn token() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// What is kept of a token. A token has enough bits that one round is enough.
#[must_use]
pub(crate) fn hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// What is kept of a password: salt and hash.
#[must_use]
pub(crate) fn hash_password(password: &str) -> String {
    let salt = Uuid::new_v4().simple().to_string();
    let hashed = derive(password, &salt);
    format!("{salt}:{hashed}")
}

/// Whether a password is the one that was kept. Takes equally long where nothing was.
#[must_use]
pub(crate) fn check_password(password: &str, stored: Option<&str>) -> bool {
    let (salt, expected) = stored.and_then(|stored| stored.split_once(':')).unwrap_or(("", ""));
    let got = derive(password, salt);
    same(&got, expected)
}

/// Whether two secrets are equal. Every byte is looked at, so that the time does not tell how many were right.
#[must_use]
pub(crate) fn same(got: &str, expected: &str) -> bool {
    let differing = got.bytes().zip(expected.bytes()).fold(0u8, |sum, (a, b)| sum | (a ^ b));
    got.len() == expected.len() && differing == 0
}

/// HMAC-SHA256 of a text, hexadecimal.
#[must_use]
pub(crate) fn sign(key: &str, text: &str) -> String {
    // A HMAC takes a key of any length.
    let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(key.as_bytes()) else { return String::new() };
    mac.update(text.as_bytes());
    hex(&mac.finalize().into_bytes())
}

fn derive(password: &str, salt: &str) -> String {
    let mut key = [0u8; 32];
    // Fails for a key of length 0 only, which a HMAC has not.
    let _ = pbkdf2::pbkdf2::<Hmac<Sha256>>(password.as_bytes(), salt.as_bytes(), ROUNDS, &mut key);
    hex(&key)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_only_what_it_was_set_for() {
        let kept = hash_password("a long walk");
        assert!(check_password("a long walk", Some(&kept)));
        assert!(!check_password("a long talk", Some(&kept)));
        assert!(!check_password("a long walk", None));
        assert!(!check_password("", None));
        assert_ne!(kept, hash_password("a long walk"), "salted");
    }

    #[test]
    fn derivation_is_the_standard_one() {
        // RFC 7914, section 11, has PBKDF2-HMAC-SHA256 with one round; the function of the crate is held against it.
        let mut key = [0u8; 16];
        let _ = pbkdf2::pbkdf2::<Hmac<Sha256>>(b"passwd", b"salt", 1, &mut key);
        assert_eq!(hex(&key), "55ac046e56e3089fec1691c22544b605");
        assert_ne!(token(), token());
    }
}
