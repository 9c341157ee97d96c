//! Recorders begin a new file when one is large enough, and some write one for each sensor. Read as a folder they are one drive; read one by one into a dataset
//! they are recordings of their own, and none is taken for another.

use std::path::{Path, PathBuf};

use boxwright_tests::{Ended, boxwright, pandaset_mcap, root, run_python};
use serde_json::Value;

use crate::support::{assert_same_labels, rows};

/// Parts of an MCAP file, written by the library of the format.
fn split(drive: &Path, folder: &Path, by: &[&str]) -> Option<usize> {
    let script = root().join("tests/python/split_mcap.py");
    let args = [&[script.to_str().unwrap(), drive.to_str().unwrap(), folder.to_str().unwrap()], by].concat();
    Some(run_python(&args)?.trim().parse().unwrap())
}

/// A drive in files, in a folder `files`, with room for a dataset beside it.
fn in_files(by: &[&str]) -> Option<(tempfile::TempDir, PathBuf)> {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("files");
    split(pandaset_mcap()?, &folder, by)?;
    Some((out, folder))
}

/// Clips of a second, so that the drive has some.
fn read(input: &Path, dataset: &Path) -> Ended {
    let config = dataset.with_extension("toml");
    std::fs::write(&config, "[clip]\nlength_s = 1\n").unwrap();
    let [config, input, dataset] = [&config, input, dataset].map(|path| path.to_str().unwrap());
    boxwright(&["run", "--from", "mcap", input, "--vehicle", "car", "--config", config, "--dataset", dataset, "--json"])
}

fn warnings(report: &Value) -> Vec<&str> {
    report["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn verified(dataset: &Path) -> Value {
    boxwright(&["verify", dataset.to_str().unwrap(), "--json"]).expect_code(0).json()
}

#[test]
fn files_of_one_recording_are_one_drive() {
    let Some(drive) = pandaset_mcap() else { return };
    let out = tempfile::tempdir().unwrap();
    let whole = out.path().join("whole");
    let report = read(drive, &whole).expect_code(0).json();
    for (name, by, least) in [("time", &["time", "3"][..], 3), ("topic", &["topic"], 3)] {
        let (folder, dataset) = (out.path().join(format!("{name}.files")), out.path().join(name));
        let Some(files) = split(drive, &folder, by) else { return };
        assert!(files >= least, "{name}: {files} files");
        let parts = read(&folder, &dataset).expect_code(0).json();
        for what in ["frames", "frames_by_kind", "samples", "late", "dropped"] {
            assert_eq!(parts[what], report[what], "{name}: {what}");
        }
        assert_same_labels(&whole, &dataset);
        verified(&dataset);
    }
}

#[test]
fn a_recording_without_a_lidar_says_why_there_are_no_boxes() {
    let Some((out, folder)) = in_files(&["topic"]) else { return };
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().contains("lidar") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let ended = read(&folder, &out.path().join("data")).expect_code(0);
    assert_eq!(ended.json()["boxes"], 0);
    assert!(ended.err.contains("no lidar sweep came") && ended.err.contains("hint:"), "{}", ended.err);
}

#[test]
fn files_read_one_by_one_are_not_taken_for_each_other() {
    let Some((out, folder)) = in_files(&["time", "2"]) else { return };
    let dataset = out.path().join("data");
    let [first, second] = ["drive_0.mcap", "drive_1.mcap"].map(|name| folder.join(name));
    let report = read(&first, &dataset).expect_code(0).json();
    let sealed = report["clips"].as_u64().unwrap();
    let samples = rows(&dataset, "sample");
    // The second goes on in the clip in which the first has ended, and has clips of its own.
    let ended = read(&second, &dataset).expect_code(3);
    let report = ended.json();
    let told = warnings(&report);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("messages are left out: they belong to 1 clips") && told[0].contains("hint:"), "{told:?}");
    assert!(report["clips"].as_u64().unwrap() >= 1 && sealed >= 1, "{report}");
    assert_eq!(report["dead_letters"].as_object().unwrap().keys().collect::<Vec<_>>(), ["clip_sealed"]);
    assert_eq!(rows(&dataset, "sample"), samples + report["samples"].as_u64().unwrap());
    assert!(report["dropped"].get("already_sealed").is_none(), "{report}");
    // Somewhere else, under another name, it is still the first: nothing is left to do.
    let moved = out.path().join("moved.mcap");
    std::fs::rename(&first, &moved).unwrap();
    let again = read(&moved, &dataset).expect_code(0);
    assert_eq!(again.json()["clips"], 0);
    assert!(warnings(&again.json()).is_empty(), "{}", again.err);
    // Under another vehicle's name it would be there twice.
    let config = dataset.with_extension("toml");
    let [config, input, into] = [&config, &moved, &dataset].map(|path| path.to_str().unwrap());
    let refused = boxwright(&["run", "--from", "mcap", input, "--config", config, "--dataset", into]).expect_code(1);
    assert!(
        refused.err.contains("got one that it has as vehicle car") && refused.err.contains("hint: --vehicle car"),
        "{}",
        refused.err
    );
    // Both count their messages from 0, and neither is a hole or an overlap of the other.
    verified(&dataset);
}

#[test]
fn a_file_that_comes_later_moves_no_offset_of_the_others() {
    let Some((out, folder)) = in_files(&["time", "12"]) else { return };
    let dataset = out.path().join("data");
    // Six of twelve, a third of a second each, are still on their way: a clip and more.
    let names = ["drive_3.mcap", "drive_4.mcap", "drive_5.mcap", "drive_6.mcap", "drive_7.mcap", "drive_8.mcap"];
    let carry = |from: &Path, to: &Path| names.iter().for_each(|name| std::fs::rename(from.join(name), to.join(name)).unwrap());
    carry(&folder, out.path());
    let before = read(&folder, &dataset).expect_code(0).json();
    carry(out.path(), &folder);
    let after = read(&folder, &dataset).expect_code(3).json();
    // All that was read before is known; of those files, what belongs to a sealed clip is left out and told, and nothing else.
    let count = |report: &Value, pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let in_clips = |report: &Value| {
        count(report, "/frames") - count(report, "/dead_letters/clip_sealed") - count(report, "/dropped/already_sealed")
    };
    assert_eq!(count(&after, "/dropped/already_sealed"), count(&before, "/frames"), "{after}");
    assert!(count(&after, "/dead_letters/clip_sealed") > 0 && in_clips(&after) > 0, "{after}");
    let told = warnings(&after);
    assert!(
        told.len() == 1 && told[0].contains(&format!("{} messages are left out", count(&after, "/dead_letters/clip_sealed"))),
        "{told:?}"
    );
    let verified = verified(&dataset);
    assert_eq!(count(&verified, "/messages"), in_clips(&before) + in_clips(&after));
}

#[test]
fn what_a_damaged_file_had_lost_is_not_taken_for_read() {
    let Some(drive) = pandaset_mcap() else { return };
    let out = tempfile::tempdir().unwrap();
    let (damaged, dataset) = (out.path().join("drive.mcap"), out.path().join("data"));
    let mut bytes = std::fs::read(drive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&damaged, bytes).unwrap();
    let before = read(&damaged, &dataset).expect_code(3).json();
    assert_eq!(before["input_truncated"], true, "{before}");
    // Copied once more, whole. Behind the damage its messages are counted otherwise; all clips are sealed.
    let after = read(drive, &dataset).expect_code(3).json();
    let count = |report: &Value, pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let (known, left_out) = (count(&after, "/dropped/already_sealed"), count(&after, "/dead_letters/clip_sealed"));
    assert!(left_out > 0 && known + left_out == count(&after, "/frames"), "{after}");
    assert!(warnings(&after).iter().any(|text| text.contains("messages are left out")), "{after}");
    verified(&dataset);
}
