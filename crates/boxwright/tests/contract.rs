//! The contract of the command line: exit codes, where data and talk go, and hints.
#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

use std::process::{Command, Output};

fn boxwright(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_boxwright")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn bad_arguments_end_with_two() {
    for args in [
        vec!["fly"],
        vec!["run", "--from", "mcap"],
        vec!["run", "--brokers", "b", "--from", "mcap", "f"],
        vec!["demo", "--seconds", "0"],
        vec!["replay", "mcap", "f", "--speed", "-1"],
        vec!["run", "--view", "television"],
    ] {
        let output = boxwright(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "talk belongs on stderr: {}", text(&output.stdout));
    }
}

#[test]
fn the_printed_default_is_a_usable_configuration() {
    let printed = boxwright(&["config", "default"]);
    assert!(printed.status.success());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("default.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let checked = boxwright(&["config", "check", file.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
}

#[test]
fn a_missing_recording_is_a_failure_that_names_it() {
    let output = boxwright(&["run", "--from", "mcap", "no-such.mcap"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no-such.mcap"), "{}", text(&output.stderr));
}
