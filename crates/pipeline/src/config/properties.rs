//! Any text is a configuration that can be used, or an error that says something.

use proptest::prelude::*;

use super::*;

/// Resolves a text and checks what comes out.
fn resolved(text: &str) -> Option<Config> {
    match Config::resolve("my.toml", text) {
        Ok(config) => {
            let again = Config::resolve("my.toml", text).unwrap();
            assert_eq!(config, again);
            let taxonomy = Config::embedded().unwrap().load_taxonomy().unwrap();
            assert_eq!(config.labels_sha256(&taxonomy), again.labels_sha256(&taxonomy));
            assert_eq!(config.grid().length_ns(), i64::from(config.clip.length_s) * boxwright_model::time::NS_PER_S);
            Some(config)
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with("my.toml") && text.len() > "my.toml: ".len(), "{text:?}");
            None
        }
    }
}

/// Every option as its table, its key and its default.
fn options() -> Vec<(String, String, Value)> {
    fn collect(prefix: &str, table: &Table, options: &mut Vec<(String, String, Value)>) {
        for (key, value) in table {
            match value {
                Value::Table(inner) if prefix.is_empty() => collect(key, inner, options),
                Value::Table(inner) => collect(&format!("{prefix}.{key}"), inner, options),
                value => options.push((prefix.to_owned(), key.clone(), value.clone())),
            }
        }
    }
    let mut options = Vec::new();
    collect("", &DEFAULT_TOML.parse().unwrap(), &mut options);
    options
}

/// A value that is no table as TOML writes it: for these JSON's spelling is the same.
fn toml_of(value: &Value) -> String {
    serde_json::to_string(value).unwrap()
}

/// Values of every type, at the ends of their ranges above all.
fn values() -> impl Strategy<Value = String> {
    let ends =
        ["0", "-1", "1", "9223372036854775807", "-9223372036854775808", "1e308", "-0.0", "5e-324", "\"\"", "[]", "{}", "true"];
    prop_oneof![
        proptest::sample::select(ends.to_vec()).prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| toml_of(&Value::Float(number))),
        ".{0,20}".prop_map(|text| toml_of(&Value::String(text))),
        proptest::collection::vec(".{0,8}", 0..4).prop_map(|texts| toml_of(&Value::from(texts))),
    ]
}

#[test]
fn a_number_that_is_none_is_refused_under_every_option() {
    for (table, key, _) in options() {
        for number in ["nan", "inf", "-inf"] {
            let error = Config::resolve("my.toml", &format!("[{table}]\n{key} = {number}\n")).unwrap_err().to_string();
            assert!(error.contains(&format!("{table}.{key}")), "{error}");
        }
    }
}

#[test]
fn every_default_laid_over_itself_changes_nothing() {
    let embedded = Config::embedded().unwrap();
    for (table, key, value) in options() {
        assert_eq!(resolved(&format!("[{table}]\n{key} = {}\n", toml_of(&value))), Some(embedded.clone()), "{table}.{key}");
    }
}

proptest! {
    #[test]
    fn any_value_under_any_option_is_used_or_refused_with_a_reason(
        settings in proptest::collection::vec((any::<proptest::sample::Index>(), values()), 1..6)
    ) {
        let options = options();
        let text: String = settings
            .iter()
            .map(|(index, value)| {
                let (table, key, _) = index.get(&options);
                format!("{table}.{key} = {value}\n")
            })
            .collect();
        resolved(&text);
    }

    #[test]
    fn any_text_is_used_or_refused_with_a_reason(text in "\\PC{0,80}", lines in proptest::collection::vec("[a-z_\\.]{1,12} *= *.{0,12}", 0..4)) {
        resolved(&text);
        resolved(&lines.join("\n"));
    }

    #[test]
    fn a_default_file_with_damage_is_used_or_refused_with_a_reason(at in any::<proptest::sample::Index>(), with in ".{0,3}") {
        let characters: Vec<char> = DEFAULT_TOML.chars().collect();
        let at = at.index(characters.len());
        let text: String = characters[..at].iter().chain(with.chars().collect::<Vec<_>>().iter()).chain(&characters[at + 1..]).collect();
        resolved(&text);
    }
}
