//! ID tokens: whether one was signed by the provider, for us, now, and for this sign-in (OpenID Connect Core 1.0, section 3.1.3.7).
//!
//! Signatures are checked by `ring`. What is left to do around it is what such checks fail at: the algorithm is one of a list of public-key
//! algorithms, and a key is used for no algorithm that it was not made for. So neither `none` nor a HMAC whose secret is the public key gets
//! anywhere: there is no code that could check one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{SUBJECT_CHARS, shown};
use crate::secret;

/// How far the clocks of the provider and of this machine may be apart.
pub(super) const CLOCK_SKEW_S: i64 = 60;
/// Longest token: one with some hundred groups has 8 KB.
const TOKEN_BYTES: usize = 64 << 10;
/// Keys that are looked at; providers publish two to six.
const MOST_KEYS: usize = 32;
/// Algorithms that are taken, with the key that each needs.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256)),
    ("RS384", Algorithm::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384)),
    ("RS512", Algorithm::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512)),
    ("PS256", Algorithm::Rsa(&signature::RSA_PSS_2048_8192_SHA256)),
    ("PS384", Algorithm::Rsa(&signature::RSA_PSS_2048_8192_SHA384)),
    ("PS512", Algorithm::Rsa(&signature::RSA_PSS_2048_8192_SHA512)),
    ("ES256", Algorithm::Curve("EC", "P-256", &signature::ECDSA_P256_SHA256_FIXED)),
    ("ES384", Algorithm::Curve("EC", "P-384", &signature::ECDSA_P384_SHA384_FIXED)),
    ("EdDSA", Algorithm::Curve("OKP", "Ed25519", &signature::ED25519)),
];

/// How a signature is checked.
#[derive(Clone, Copy)]
enum Algorithm {
    Rsa(&'static signature::RsaParameters),
    /// Kind of key, curve.
    Curve(&'static str, &'static str, &'static dyn VerificationAlgorithm),
}

/// A key as providers publish it (RFC 7517). What it lacks makes it unfit, not the set unreadable.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Key {
    #[serde(default)]
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a published set; those that cannot be read are left out, because a set may hold kinds that nobody here knows.
pub(super) fn keys(set: &Value) -> Option<Vec<Key>> {
    let all = set.get("keys")?.as_array()?;
    Some(all.iter().filter_map(|key| Key::deserialize(key).ok()).take(MOST_KEYS).collect())
}

impl Key {
    fn fits(&self, name: &str, algorithm: Algorithm) -> bool {
        let is_kind = match algorithm {
            Algorithm::Rsa(_) => self.kty == "RSA",
            Algorithm::Curve(kind, curve, _) => self.kty == kind && self.crv.as_deref() == Some(curve),
        };
        let verifies = self.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        is_kind
            && verifies
            && self.used_for.as_deref().is_none_or(|used| used == "sig")
            && self.alg.as_deref().is_none_or(|alg| alg == name)
    }

    /// Whether a signature is this key's. A key that is none has signed nothing.
    fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let part = |text: &Option<String>| text.as_deref().and_then(decoded);
        match algorithm {
            Algorithm::Rsa(parameters) => {
                let (Some(n), Some(e)) = (part(&self.n), part(&self.e)) else { return false };
                // ring refuses leading zeros, which some providers write.
                let n = n.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &n[first..]);
                RsaPublicKeyComponents { n, e: &e }.verify(parameters, message, signature).is_ok()
            }
            Algorithm::Curve("EC", _, parameters) => {
                let (Some(x), Some(y)) = (part(&self.x), part(&self.y)) else { return false };
                let point = [&[4], &*x, &*y].concat();
                UnparsedPublicKey::new(parameters, point).verify(message, signature).is_ok()
            }
            Algorithm::Curve(_, _, parameters) => {
                part(&self.x).is_some_and(|x| UnparsedPublicKey::new(parameters, x).verify(message, signature).is_ok())
            }
        }
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// When the sign-in began, in seconds since the Unix epoch.
    pub(super) begun_s: i64,
    /// Now.
    pub(super) now_s: i64,
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// None of the keys that we have has signed it: the provider may have a new one, under a new name or an old one.
    NoKey(String),
    /// Anything else. Says nothing of the token beyond what was wrong.
    Refused(String),
}

fn refused<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Refused(why.into()))
}

fn no_key<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::NoKey(why.into()))
}

/// The claims of a token, once everything about it is as it must be.
pub(super) fn claims(token: &str, keys: &[Key], expected: &Expected<'_>) -> Result<Map<String, Value>, Fault> {
    let claims = signed(token, keys)?;
    check(&claims, expected)?;
    Ok(claims)
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// What a key of the provider has signed.
pub(super) fn signed(token: &str, keys: &[Key]) -> Result<Map<String, Value>, Fault> {
    if token.len() > TOKEN_BYTES {
        return refused(format!("expected an ID token of at most {TOKEN_BYTES} bytes, got {}", token.len()));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [head, body, signature] = parts[..] else {
        return refused(format!("expected a signed ID token of three parts, got {}", parts.len()));
    };
    let header: Option<Header> = decoded(head).and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(header) = header else { return refused("expected an ID token with a header, got none") };
    let Some((name, algorithm)) = ALGORITHMS.iter().find(|(name, _)| *name == header.alg) else {
        let all: Vec<&str> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
        return refused(format!("expected an ID token signed by one of {}, got {}", all.join(", "), shown(&header.alg)));
    };
    if header.crit.is_some() {
        return refused("expected an ID token without critical extensions, got one");
    }
    let is_named = |key: &&Key| header.kid.is_none() || key.kid == header.kid;
    let named: Vec<&Key> = keys.iter().filter(is_named).collect();
    if named.is_empty() {
        let key = shown(header.kid.as_deref().unwrap_or("without a name"));
        return no_key(format!("expected an ID token signed by a published key of the provider, got one by the key {key}"));
    }
    let mut fitting = named.into_iter().filter(|key| key.fits(name, *algorithm)).peekable();
    if fitting.peek().is_none() {
        return no_key(format!("expected a key of the provider for {name}, got one for something else"));
    }
    let Some(signature) = decoded(signature) else { return refused("expected a signature, got none") };
    let message = &token.as_bytes()[..head.len() + 1 + body.len()];
    if !fitting.any(|key| key.has_signed(*algorithm, message, &signature)) {
        return no_key("expected the provider's signature on the ID token, got another one");
    }
    let claims = decoded(body).and_then(|bytes| serde_json::from_slice(&bytes).ok());
    claims.map_or_else(|| refused("expected an ID token with claims, got none"), Ok)
}

fn check(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Fault> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let told = |value: Option<&str>| value.map_or_else(|| "none".to_owned(), shown);
    if text("iss") != Some(expected.issuer) {
        return refused(format!("expected an ID token of {}, got one of {}", expected.issuer, told(text("iss"))));
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !audience.contains(&expected.client_id) {
        return refused(format!("expected an ID token for {}, got one for {}", expected.client_id, shown(&audience.join(", "))));
    }
    let party = claims.get("azp").map(|party| party.as_str().unwrap_or_default());
    if party.is_some_and(|party| party != expected.client_id) || (party.is_none() && audience.len() > 1) {
        return refused(format!(
            "expected an ID token whose authorized party (azp) is {}, got {}",
            expected.client_id,
            told(party)
        ));
    }
    if !text("nonce").is_some_and(|nonce| secret::same(nonce, expected.nonce)) {
        return refused("expected the ID token of this sign-in, got one with another nonce");
    }
    if text("sub").is_none_or(|subject| subject.is_empty() || subject.chars().count() > SUBJECT_CHARS) {
        return refused(format!(
            "expected an ID token with a subject of 1 to {SUBJECT_CHARS} characters, got {}",
            told(text("sub"))
        ));
    }
    let Some(expires_s) = seconds(claims, "exp")? else { return refused("expected an ID token that expires, got one without exp") };
    if expires_s + CLOCK_SKEW_S <= expected.now_s {
        return refused(format!(
            "expected an ID token that is good now, got one that expired {} s ago",
            expected.now_s - expires_s
        ));
    }
    let Some(issued_s) = seconds(claims, "iat")? else { return refused("expected an ID token with its time, got one without iat") };
    if issued_s < expected.begun_s - CLOCK_SKEW_S {
        return refused(format!("expected an ID token of this sign-in, got one of {} s before it", expected.begun_s - issued_s));
    }
    let soonest_s = seconds(claims, "nbf")?.unwrap_or(issued_s).max(issued_s);
    if soonest_s > expected.now_s + CLOCK_SKEW_S {
        return refused(format!(
            "expected an ID token of now, got one of {} s from now: is the clock of this machine right?",
            soonest_s - expected.now_s
        ));
    }
    Ok(())
}

/// A time, in seconds since the Unix epoch; some providers write fractions.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, Fault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    // Up to the year 9999: sums with it stay numbers.
    let time_s = value
        .as_i64()
        .or_else(|| value.as_f64().map(|time_s| time_s as i64))
        .filter(|time_s| (0..=253_402_300_799).contains(time_s));
    time_s.map_or_else(
        || refused(format!("expected {name} in seconds, got {}", shown(&value.to_string()))),
        |time_s| Ok(Some(time_s)),
    )
}
