//! Names from outside made safe for paths, the way Hive writes them: `vehicle=a%2Fb`.
//!
//! ASCII letters, digits, `-`, `_` and `.` stand for themselves, every other byte of the UTF-8 text becomes `%XX`. pyarrow, polars,
//! DuckDB and Spark decode this by themselves. The escape is reversible, so that two vehicles never share a folder.

use crate::error::ShardError;

/// Longest escaped name in bytes: file systems allow 255 for a path component, and the column name and `=` stand before it.
pub const MAX_ESCAPED_BYTES: usize = 200;

/// What Hive and every reader that follows it take for null.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Escapes a name for use in a path component.
///
/// # Errors
/// When the name is empty, `.`, `..`, the word Hive reserves for null, or longer than [`MAX_ESCAPED_BYTES`] once escaped.
pub fn escape(what: &'static str, name: &str) -> Result<String, ShardError> {
    let refuse = |message: String| Err(ShardError::Name { what, value: name.chars().take(80).collect(), message });
    if matches!(name, "" | "." | ".." | HIVE_NULL) {
        return refuse("expected a name that can stand in a path, got an empty or reserved one".to_owned());
    }
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(hex_digit(byte >> 4));
            escaped.push(hex_digit(byte & 15));
        }
        // Checked inside the loop, so that an absurd name costs no more than the limit.
        if escaped.len() > MAX_ESCAPED_BYTES {
            return refuse(format!("expected at most {MAX_ESCAPED_BYTES} bytes once escaped, got {} bytes before", name.len()));
        }
    }
    Ok(escaped)
}

/// Undoes [`escape`]. `None` where the text is nothing that `escape` writes: such a folder is not ours.
#[must_use]
pub fn unescape(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { hex_value(rest.next()?)? << 4 | hex_value(rest.next()?)? } else { byte });
    }
    let name = String::from_utf8(bytes).ok()?;
    (escape("name", &name).ok()? == escaped).then_some(name)
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_stay_readable() {
        assert_eq!(escape("vehicle", "kitti_0005").unwrap(), "kitti_0005");
        assert_eq!(escape("vehicle", "a/b=c %").unwrap(), "a%2Fb%3Dc%20%25");
        assert_eq!(escape("vehicle", "車").unwrap(), "%E8%BB%8A");
    }

    #[test]
    fn names_that_no_folder_can_bear_are_refused() {
        for name in ["", ".", "..", HIVE_NULL, &"x".repeat(201), &"/".repeat(67)] {
            assert!(escape("vehicle", name).is_err(), "{name:?}");
        }
        assert!(escape("vehicle", &"x".repeat(200)).is_ok());
    }

    #[test]
    fn folders_that_we_did_not_write_are_not_ours() {
        for folder in ["a b", "%2f", "%4", "%zz", "%41", "%FF"] {
            assert_eq!(unescape(folder), None, "{folder:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_that_is_accepted_comes_back(name in ".{1,60}") {
            if let Ok(escaped) = escape("vehicle", &name) {
                prop_assert!(escaped.is_ascii() && !escaped.contains('/'));
                prop_assert_eq!(unescape(&escaped), Some(name));
            }
        }
    }
}
