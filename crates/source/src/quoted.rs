//! Text from outside in messages to people.

/// Characters shown of a text from outside. Names and numbers are shorter; what is longer is a payload in the wrong place, and an error
/// that repeats it would be as large as the message, in the log, in a header and in memory.
const MAX_CHARS: usize = 120;

/// The text in quotes with everything unprintable escaped, cut after its first words where it is long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{:?}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_whole_and_a_long_one_is_cut_and_counted() {
        assert_eq!(quoted("h\0i"), r#""h\0i""#);
        let long = "é".repeat(5_000);
        assert_eq!(quoted(&long), format!("{:?}… (10000 bytes)", "é".repeat(120)));
        assert!(quoted(&"\u{7f}".repeat(1 << 20)).len() < 2_000);
    }
}
