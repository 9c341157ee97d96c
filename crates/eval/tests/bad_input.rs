//! Broken files end in an error that names both sides, never in a panic.
#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

use boxwright_eval::judge::{Options, Protocol, judge};
use boxwright_eval::read::read_one;
use boxwright_eval::read::times::FrameTimes;

/// Writes a file and reads it as labels; the error as text, or nothing.
fn error_of(name: &str, text: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    read_one(&file, None, false).err().map(|error| error.to_string())
}

#[test]
fn broken_files_are_told() {
    for (name, text, said) in [
        ("a.json", "", "expected frames of boxes"),
        ("a.json", "[]", "expected frames of boxes"),
        ("a.json", r#"{"frames": {"x": []}}"#, "expected numbers of frames"),
        (
            "a.json",
            r#"{"frames": {"1": [{"track_id": 1, "cls": "Car", "center": [1e999, 0, 0], "size_lwh": [1, 1, 1], "yaw": 0}]}}"#,
            "expected",
        ),
        ("a.feather", "", "expected a feather file"),
        ("a.feather", "ARROW1\0\0 and then nothing that is one", "expected a feather file"),
        ("a.xml", "", "expected <tracklets>"),
        ("a.xml", "<tracklets><item><h>tall</h></item></tracklets>", "<h>: expected a number"),
        ("a.xml", "<tracklets><item></tracklets>", "expected XML"),
        ("0000.txt", "0 1 Car\n", "expected 17 fields"),
        ("0000.txt", "-1 1 Car 0 0 0 1 2 3 4 1 1 1 1 1 1 0\n", "expected a frame number from 0"),
        ("0000.txt", "0 1 Car 0 0 0 1 2 3 4 1 1 1 inf 1 1 0\n", "centre: expected finite numbers"),
        ("0000.txt", "0 1 Car 0 0 0 1 2 3 4 1 1 1 1 1 1 0 NaN\n", "score: expected finite numbers"),
        (
            "0000.txt",
            "0 1 Car 0 0 0 1 2 3 4 1 1 1 1 1 1 0\n0 1 Car 0 0 0 1 2 3 4 1 1 1 1 1 1 0\n",
            "expected each track once a frame",
        ),
        ("0000.txt", "\n\n", "got only empty files"),
        ("x.txt", "Car 0 0 0 1 2 3 4 1 1 1 1 1 1 0\n", "expected the number of a frame as name"),
        ("a.csv", "1,2,3", "expected labels, got a file named *.csv"),
    ] {
        let message = error_of(name, text).unwrap_or_else(|| panic!("{name} with {text:?} was taken"));
        assert!(message.contains(said), "{name} with {text:?}: {message}");
    }
}

#[test]
fn deep_xml_is_bounded() {
    let deep = "<item>".repeat(100_000);
    assert!(error_of("a.xml", &deep).unwrap().contains("levels of elements"));
}

#[test]
fn times_that_are_none_are_told_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("timestamps.txt");
    std::fs::write(&file, "2011-09-26 13:04:32.335\nyesterday\n").unwrap();
    let message = FrameTimes::read(&file).unwrap_err().to_string();
    assert!(message.contains("line 2") && message.contains("yesterday"), "{message}");
}

#[test]
fn numbered_and_stamped_frames_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let (labels, truth) = (folder.path().join("a.json"), folder.path().join("seq.json"));
    let one = r#"{"frames": {"7": [{"track_id": 1, "cls": "Car", "center": [9, 0, 0], "size_lwh": [4, 2, 1], "yaw": 0, "n_points": 50}]}}"#;
    std::fs::write(&labels, one).unwrap();
    std::fs::write(&truth, r#"{"frames": [{"index": 7, "lidar_ts_ns": 700}]}"#).unwrap();
    let times = FrameTimes::read(&truth).unwrap();
    let numbered = || read_one(&labels, None, false).unwrap();
    let stamped = || read_one(&labels, Some(&times), true).unwrap();
    let message = judge(numbered(), stamped(), Protocol::Kitti, &Options::default()).unwrap_err().to_string();
    assert!(message.contains("numbers its frames") && message.contains("hint: --timestamps"), "{message}");
    let same = judge(numbered(), numbered(), Protocol::Kitti, &Options::default()).unwrap();
    let band = &same.breakdown.bands[0];
    assert_eq!((band.truth, band.tp, band.fp), (1, 1, 0));
    assert!(same.breakdown.worst_frames.is_empty());
}
