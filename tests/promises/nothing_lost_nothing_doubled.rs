//! Stopped, killed, started again: the shards come out as if nothing had happened.

use std::time::Duration;

use boxwright_source::synthetic::{SyntheticConfig, SyntheticDrive};
use boxwright_source::{OutgoingMessage, Recording};
use boxwright_tests::{boxwright, files_below, start, wait};

use crate::support::TestBroker;

/// A drive over four clips of two seconds.
fn drive() -> Vec<OutgoingMessage> {
    let mut drive = SyntheticDrive::new(SyntheticConfig { seconds: 8.0, ..SyntheticConfig::default() }).unwrap();
    std::iter::from_fn(|| drive.next_message().unwrap()).collect()
}

struct Bench {
    broker: TestBroker,
    out: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let broker = TestBroker::start(2);
        broker.produce(drive());
        Self { broker, out: tempfile::tempdir().unwrap() }
    }

    fn dataset(&self, name: &str) -> String {
        self.out.path().join(name).to_str().unwrap().to_owned()
    }

    /// Arguments of a run with a consumer group of its own.
    fn args(&self, name: &str) -> Vec<String> {
        let mut args = vec!["run".to_owned(), "--dataset".to_owned(), self.dataset(name)];
        // A short session: the embedded broker lets a group wait for half of it, and every broker forgets a killed member after it.
        args.extend(self.broker.args(name, "[clip]\nlength_s = 2\n", "session_timeout_ms = 3000"));
        args
    }

    fn run_to_the_end(&self, name: &str) -> serde_json::Value {
        let mut args = self.args(name);
        args.extend(["--stop-when-idle", "4s", "--json"].map(str::to_owned));
        boxwright(&args.iter().map(String::as_str).collect::<Vec<_>>()).expect_code(0).json()
    }
}

/// Manifest and shards, without temporary files.
fn contents(bench: &Bench, name: &str) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    files_below(bench.dataset(name).as_ref())
}

#[test]
fn a_worker_that_is_killed_and_started_again_writes_the_same_bytes() {
    let bench = Bench::new();
    let whole = bench.run_to_the_end("whole");
    assert!(whole["clips"].as_u64().unwrap() >= 4, "{whole}");
    for (name, after_ms, signal) in [("killed", 3500, "-KILL"), ("killed-later", 6000, "-KILL"), ("terminated", 5000, "-TERM")] {
        let args = bench.args(name);
        let child = start(&args.iter().map(String::as_str).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(after_ms));
        let _ = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
        let _ = wait(child);
        bench.run_to_the_end(name);
        let (left, right) = (contents(&bench, "whole"), contents(&bench, name));
        assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>(), "{name}");
        let differing: Vec<_> = left.iter().filter(|(path, bytes)| right[*path] != **bytes).map(|(path, _)| path).collect();
        assert!(differing.is_empty(), "{name}: {differing:?}");
    }
}

/// The embedded broker used to wait for ever for the plan of a leader who had left before the group had formed.
#[test]
fn a_worker_that_leaves_while_its_group_forms_blocks_nobody() {
    let bench = Bench::new();
    let mut args = bench.args("left");
    args.push("--json".to_owned());
    let child = start(&args.iter().map(String::as_str).collect::<Vec<_>>());
    std::thread::sleep(Duration::from_millis(1000));
    let _ = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    let left = wait(child);
    // A group that formed within the second may have sealed a clip; a worker that had not begun says nothing.
    let before = if left.out.is_empty() { 0 } else { left.json()["samples"].as_u64().unwrap() };
    let after = bench.run_to_the_end("left");
    assert_eq!(before + after["samples"].as_u64().unwrap(), 80, "before {before}, then {after}");
}

#[test]
fn a_second_run_of_the_same_group_finds_nothing_to_do() {
    let bench = Bench::new();
    let first = bench.run_to_the_end("again");
    assert!(first["samples"].as_u64().unwrap() > 0);
    let second = bench.run_to_the_end("again");
    assert_eq!(second["samples"], 0, "{second}");
    assert_eq!(second["frames"], 0, "everything was committed: {second}");
}

#[test]
fn another_group_on_the_same_dataset_skips_and_counts_what_is_sealed() {
    let bench = Bench::new();
    let first = bench.run_to_the_end("one");
    let again = |group: &str, options: &str| {
        let mut args = vec!["run".to_owned(), "--dataset".to_owned(), bench.dataset("one")];
        args.extend(bench.broker.args(group, &format!("[clip]\nlength_s = 2\n{options}"), "session_timeout_ms = 3000"));
        args.extend(["--stop-when-idle", "4s", "--json"].map(str::to_owned));
        boxwright(&args.iter().map(String::as_str).collect::<Vec<_>>()).expect_code(0).json()
    };
    // With other options it skips them, too, and says so: who changed an option waits for other labels.
    for (group, options, warnings) in [("two", "", 0), ("three", "[label.clip]\nmin_hits = 5\n", 1)] {
        let second = again(group, options);
        assert_eq!(second["frames"], first["frames"]);
        assert_eq!(second["dropped"]["already_sealed"], first["frames"], "{second}");
        assert_eq!(second["boxes"], 0);
        let told = second["warnings"].as_array().into_iter().flatten().filter_map(|text| text.as_str());
        assert_eq!(told.filter(|text| text.contains("sealed before with other options")).count(), warnings, "{second}");
    }
}

#[test]
fn a_signal_drains_and_seals_what_is_complete() {
    let bench = Bench::new();
    let mut args = bench.args("signal");
    args.push("--json".to_owned());
    let child = start(&args.iter().map(String::as_str).collect::<Vec<_>>());
    // Until all but the last clips are sealed, and then long enough to read the rest and for the partitions to fall silent.
    let manifest = std::path::PathBuf::from(bench.dataset("signal")).join("manifest");
    let sealed = || if manifest.is_dir() { files_below(&manifest).len() } else { 0 };
    let until = std::time::Instant::now() + Duration::from_secs(200);
    while sealed() < 4 && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(25));
    let _ = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    let report = wait(child).expect_code(0).json();
    assert_eq!(report["clips_left_open"], 0, "{report}");
    assert_eq!(report["samples"], 80, "{report}");
}

/// Some sweeps and images of the KITTI drive as a recording of their own.
fn part_of_kitti(drive: &std::path::Path, part: &std::path::Path, numbers: std::ops::Range<u32>) {
    for (file, bytes) in files_below(drive) {
        let number = file.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok());
        if number.is_none_or(|number| numbers.contains(&number)) {
            let copy = part.join(file);
            std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
            std::fs::write(copy, bytes).unwrap();
        }
    }
}

#[test]
fn the_second_half_of_a_recording_is_not_taken_for_the_first_without_a_word() {
    let Some(drive) = boxwright_tests::kitti_raw() else { return };
    let out = tempfile::tempdir().unwrap();
    let warnings = |name: &str, numbers: std::ops::Range<u32>, code: i32| {
        let (part, dataset) = (out.path().join(name), out.path().join("data"));
        part_of_kitti(drive, &part, numbers);
        let ended =
            boxwright(&["run", "--from", "kitti-raw", part.to_str().unwrap(), "--dataset", dataset.to_str().unwrap(), "--json"]);
        let ended = ended.expect_code(code);
        let report = ended.json();
        let told: Vec<String> =
            report["warnings"].as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect();
        (told.into_iter().filter(|text| text.contains("got another one")).collect::<Vec<_>>(), ended.err)
    };
    // Both are within the twenty seconds of one clip, two seconds apart.
    assert_eq!(warnings("first", 76..80, 0).0, [""; 0]);
    assert_eq!(warnings("again", 76..80, 0).0, [""; 0]);
    let (told, err) = warnings("second", 100..104, 3);
    assert_eq!(told.len(), 1, "{err}");
    assert!(told[0].contains("hint: ") && told[0].contains("another --dataset"), "{told:?}");
    assert!(!err.contains("every clip of this input is in the dataset already"), "{err}");
}

#[test]
fn what_comes_from_a_topic_that_was_made_anew_is_not_left_out_without_a_word() {
    let out = tempfile::tempdir().unwrap();
    let mut drive = SyntheticDrive::new(SyntheticConfig { seconds: 6.0, ..SyntheticConfig::default() }).unwrap();
    let messages: Vec<_> = std::iter::from_fn(|| drive.next_message().unwrap()).collect();
    let first_ns = messages.iter().map(|message| message.stamp_ns).min().unwrap();
    // Two parts of one clip of twenty seconds, two seconds apart, the second one shorter.
    let part = |from_s: i64, to_s: i64| {
        let of_part = move |stamp_ns: i64| (from_s..to_s).contains(&((stamp_ns - first_ns) / 1_000_000_000));
        messages.iter().filter(move |message| of_part(message.stamp_ns)).cloned().collect::<Vec<_>>()
    };
    let broker = TestBroker::start(1);
    broker.produce(part(0, 3));
    assert_eq!(broker.run_until_idle(out.path()).expect_code(0).json()["other_messages"], false);
    broker.make_topics_anew(1);
    broker.produce(part(5, 6));
    let ended = broker.run_until_idle(out.path()).expect_code(3);
    let report = ended.json();
    assert_eq!(report["other_messages"], true, "{report}");
    let told = report["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|text| text.as_str().unwrap().contains("got a topic that was made anew"));
    assert_eq!(told.count(), 1, "{report}");
}
