//! Files of one recording, written one after the other, side by side, cut, damaged and mixed up.

use std::fs;

use super::super::tests::{read_all, written};
use super::*;
use crate::wire;

const MS: u64 = 1_000_000;

fn image(topic: &'static str, at_ms: u64) -> (&'static str, &'static str, &'static str, &'static str, u64, Vec<u8>) {
    let payload = wire::encode_compressed_image((at_ms * MS) as i64, "cam", "jpeg", b"x").to_vec();
    (topic, "foxglove.CompressedImage", "protobuf", "protobuf", at_ms * MS, payload)
}

fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn open(folder: &tempfile::TempDir) -> Result<McapFolder, RecordingError> {
    McapFolder::open(folder.path(), Some("car".into()))
}

/// Sensor, milliseconds and number of each message.
fn told(recording: &mut McapFolder) -> Vec<(String, u64, u64)> {
    let messages = read_all(recording);
    assert!(messages.iter().all(|message| &*message.vehicle == "car"));
    messages.iter().map(|message| (message.sensor.to_string(), message.stamp_ns as u64 / MS, message.seq)).collect()
}

fn expected(list: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    list.iter().map(|(sensor, ms, seq)| ((*sensor).to_owned(), *ms, *seq)).collect()
}

#[test]
fn files_are_read_by_their_times_and_numbers_go_on() {
    // By name the tenth comes before the second; what was under way when files changed is in the later one.
    let files = folder(&[
        ("drive_0.mcap", written(&[image("/a/image", 0), image("/b/image", 50), image("/a/image", 100)], true)),
        ("drive_2.mcap", written(&[image("/b/image", 90), image("/a/image", 200)], true)),
        ("drive_10.mcap", written(&[image("/a/image", 300), image("/b/image", 301)], false)),
        ("drive_11.mcap", written(&[], true)),
    ]);
    let mut recording = open(&files).unwrap();
    assert_eq!(recording.total_messages_hint(), Some(7));
    let list = [("a", 0, 0), ("b", 50, 0), ("b", 90, 1), ("a", 100, 1), ("a", 200, 2), ("a", 300, 3), ("b", 301, 2)];
    assert_eq!(told(&mut recording), expected(&list));
    assert!(!recording.is_truncated(), "{:?}", recording.warnings());
}

#[test]
fn a_file_for_each_sensor_is_one_recording() {
    let of = |topic, from: u64| written(&(0..4).map(|turn| image(topic, from + turn * 1000)).collect::<Vec<_>>(), true);
    let files = folder(&[("front.mcap", of("/front/image", 0)), ("rear.mcap", of("/rear/image", 400))]);
    let mut recording = open(&files).unwrap();
    let stamps: Vec<u64> = told(&mut recording).into_iter().map(|(_, ms, _)| ms).collect();
    assert_eq!(stamps, [0, 400, 1000, 1400, 2000, 2400, 3000, 3400]);
}

#[test]
fn a_topic_is_the_same_sensor_in_all_files() {
    // Both topics would be called `cam`; whichever comes first in a file would have the name.
    let (raw, compressed) = ("/cam/image_raw", "/cam/image_raw/compressed");
    let files = folder(&[
        ("0.mcap", written(&[image(raw, 0), image(compressed, 1)], true)),
        ("1.mcap", written(&[image(compressed, 100), image(raw, 101)], true)),
    ]);
    let whole = "cam/image_raw/compressed";
    assert_eq!(told(&mut open(&files).unwrap()), expected(&[("cam", 0, 0), (whole, 1, 0), (whole, 100, 1), ("cam", 101, 1)]));
    // A topic that only the second file has does not take the name either.
    let files = folder(&[("0.mcap", written(&[image(raw, 0)], true)), ("1.mcap", written(&[image(compressed, 100)], true))]);
    assert_eq!(told(&mut open(&files).unwrap()), expected(&[("cam", 0, 0), (whole, 100, 0)]));
}

#[test]
fn what_is_missing_cut_or_damaged_is_told_and_the_rest_is_read() {
    let mut cut = written(&[image("/a/image", 100), image("/a/image", 200)], false);
    cut.truncate(cut.len() * 2 / 3);
    let metadata = "rosbag2_bagfile_information:\n  version: 5\n  relative_file_paths:\n    - a_0.mcap\n    - \"a_9.mcap\"\n  files:\n    - path: a_8.mcap\n";
    let files = folder(&[
        ("a_0.mcap", written(&[image("/a/image", 0)], true)),
        ("a_1.mcap", cut),
        ("a_2.mcap", b"no MCAP".to_vec()),
        ("a_3.mcap.zstd", b"x".to_vec()),
        ("metadata.yaml", metadata.into()),
        ("notes.txt", b"x".to_vec()),
    ]);
    let mut recording = open(&files).unwrap();
    assert_eq!(recording.total_messages_hint(), None, "a file that was cut cannot tell");
    let read = told(&mut recording);
    assert_eq!(read[..2], expected(&[("a", 0, 0), ("a", 100, 1)]));
    assert!(recording.is_truncated());
    let warnings = recording.warnings().join("\n");
    for part in ["a_3.mcap.zstd: not read", "names \"a_9.mcap\"", "a_2.mcap: expected an MCAP file", "a_1.mcap: the file ends"] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    assert!(!warnings.contains("a_8") && !warnings.contains("a_0.mcap:"), "{warnings}");
}

#[test]
fn copies_and_other_vehicles_are_refused() {
    let drive = || written(&(0..30).map(|turn| image("/a/image", turn * 100)).collect::<Vec<_>>(), true);
    let error = open(&folder(&[("a.mcap", drive()), ("a (copy).mcap", drive())])).err().unwrap().to_string();
    for part in ["expected the files of one recording, got camera a in two of the same time", "\"a.mcap\"", "hint:"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_folder_without_files_is_refused_with_what_is_there() {
    for (name, part) in [
        ("bag_0.db3", "SQLite"),
        ("drive.bag", "ROS 1"),
        ("bag_0.mcap.zstd", "compressed from outside"),
        ("image_02", "--from kitti-raw"),
    ] {
        let error = open(&folder(&[(name, Vec::new())])).err().unwrap().to_string();
        assert!(error.contains("expected a folder with the .mcap files of one recording, got ") && error.contains(part), "{error}");
    }
    let error = open(&folder(&[("a.mcap", Vec::new())])).err().unwrap().to_string();
    assert!(error.contains("got an empty file"), "{error}");
}

#[test]
fn the_vehicle_is_named_like_the_folder() {
    let outer = tempfile::tempdir().unwrap();
    let bag = outer.path().join("truck_9");
    fs::create_dir(&bag).unwrap();
    fs::write(bag.join("0.mcap"), written(&[image("/a/image", 0)], true)).unwrap();
    for path in [bag.clone(), bag.join(".")] {
        let mut recording = McapFolder::open(&path, None).unwrap();
        assert_eq!(&*read_all(&mut recording)[0].vehicle, "truck_9");
    }
}
