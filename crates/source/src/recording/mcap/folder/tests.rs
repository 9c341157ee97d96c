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
fn files_of_computers_whose_clocks_differ_are_put_together_by_stamps() {
    // Stamps every second from 0 and from 400 ms; the log of the second computer is 2.5 s ahead, or of another time altogether.
    let of = |topic: &'static str, from: u64, ahead_ms: u64| {
        let images = (0..4).map(|turn| {
            let (topic, schema, encoding, schema_encoding, log_time, payload) = image(topic, from + turn * 1000);
            (topic, schema, encoding, schema_encoding, log_time + ahead_ms * MS, payload)
        });
        written(&images.collect::<Vec<_>>(), true)
    };
    let stamps = |ahead_ms: u64| -> Vec<u64> {
        let files = folder(&[("front.mcap", of("/front/image", 0, 0)), ("rear.mcap", of("/rear/image", 400, ahead_ms))]);
        told(&mut open(&files).unwrap()).into_iter().map(|(_, ms, _)| ms).collect()
    };
    assert_eq!(stamps(2_500), [0, 400, 1000, 1400, 2000, 2400, 3000, 3400]);
    assert_eq!(stamps(100_000), [0, 1000, 2000, 3000, 400, 1400, 2400, 3400], "stamps of another clock do not order files");
}

#[test]
fn files_of_one_recorder_keep_their_order_whatever_is_at_their_beginning() {
    // A lidar that tells TAI (37 s ahead) beside a camera that tells UTC; each file begins with another of them, and has both.
    let message = |topic: &'static str, at_ms: u64, stamp_ms: u64| {
        let (topic, schema, encoding, schema_encoding, _, payload) = image(topic, stamp_ms);
        (topic, schema, encoding, schema_encoding, at_ms * MS, payload)
    };
    let of = |from: u64, tai_first: bool| {
        let tai = |at: u64| message("/tai/image", at, at + 37_000);
        let utc = |at: u64| message("/utc/image", at, at);
        let turn = |at: u64| if tai_first { [tai(at), utc(at + 50)] } else { [utc(at), tai(at + 50)] };
        // One more of the first, so that the middle of each file is its.
        written(&(0..30).flat_map(|step| turn(from + step * 100)).take(59).collect::<Vec<_>>(), true)
    };
    let files = folder(&[("0.mcap", of(0, true)), ("1.mcap", of(3_000, false)), ("2.mcap", of(6_000, true))]);
    let mut recording = open(&files).unwrap();
    let times: Vec<i64> = read_all(&mut recording).iter().map(|message| message.log_time_ns).collect();
    assert!(times.len() == 177 && times.is_sorted(), "{times:?}");
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
    // Nor where files lie side by side and have no summary.
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 40].to_vec();
    let files = folder(&[
        ("0.mcap", cut(written(&[image(raw, 0), image(raw, 9)], true))),
        ("1.mcap", cut(written(&[image(compressed, 1), image(compressed, 8)], true))),
    ]);
    assert_eq!(told(&mut open(&files).unwrap()), expected(&[("cam", 0, 0), (whole, 1, 0), (whole, 8, 1), ("cam", 9, 1)]));
    // A topic that only the second file has does not take the name either.
    let files = folder(&[("0.mcap", written(&[image(raw, 0)], true)), ("1.mcap", written(&[image(compressed, 100)], true))]);
    assert_eq!(told(&mut open(&files).unwrap()), expected(&[("cam", 0, 0), (whole, 100, 0)]));
}

#[test]
fn what_is_missing_cut_or_damaged_is_told_and_the_rest_is_read() {
    let mut cut = written(&[image("/a/image", 100), image("/a/image", 200)], false);
    cut.truncate(cut.len() * 2 / 3);
    let metadata = "rosbag2_bagfile_information:\n  version: 5\n  relative_file_paths:\n    - a_0.mcap\n\n    # lost\n    - \"a_9.mcap\"\n  files:\n    - path: a_8.mcap\n";
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
    let drive =
        |from: u64, count: u64| written(&(from..from + count).map(|turn| image("/a/image", turn * 100)).collect::<Vec<_>>(), true);
    let refused = |files: &[(&str, Vec<u8>)], part: &str| {
        let error = open(&folder(files)).err().unwrap().to_string();
        for part in ["expected the files of one recording, got ", part, "\"a.mcap\"", "hint:"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    };
    refused(&[("a.mcap", drive(0, 30)), ("a (copy).mcap", drive(0, 30))], "two that begin alike");
    // Without summaries, too.
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 40].to_vec();
    refused(&[("a.mcap", cut(drive(0, 3))), ("b.mcap", cut(drive(0, 3)))], "two that begin alike");
    // Of another vehicle of the same make: in long files more than a second, in short ones more than half.
    for (from, count) in [(18, 30), (3, 6)] {
        refused(&[("a.mcap", drive(0, count)), ("b.mcap", drive(from - 1, count))], "the camera \"a\" in two of the same time");
        let near = folder(&[("a.mcap", drive(0, count)), ("b.mcap", drive(count - 2, count))]);
        assert_eq!(told(&mut open(&near).unwrap()).len() as u64, 2 * count, "what was under way is in both");
    }
}

#[test]
fn a_channel_without_messages_is_in_no_file() {
    // A recorder that lists all channels in every file.
    let of = |name: &str, other: &str| {
        let mut writer = ::mcap::Writer::new(std::io::Cursor::new(Vec::new())).unwrap();
        let schema = writer.add_schema("foxglove.CompressedImage", "protobuf", b"").unwrap();
        let channel =
            |writer: &mut ::mcap::Writer<_>, topic: &str| writer.add_channel(schema, topic, "protobuf", &BTreeMap::new()).unwrap();
        let (channel_id, _) = (channel(&mut writer, name), channel(&mut writer, other));
        for turn in 0..30 {
            let (_, _, _, _, log_time, payload) = image("", turn * 100);
            let header = ::mcap::records::MessageHeader { channel_id, sequence: 0, log_time, publish_time: 0 };
            writer.write_to_known_channel(&header, &payload).unwrap();
        }
        writer.finish().unwrap();
        writer.into_inner().into_inner()
    };
    let files = folder(&[("0.mcap", of("/a/image", "/b/image")), ("1.mcap", of("/b/image", "/a/image"))]);
    assert_eq!(told(&mut open(&files).unwrap()).len(), 60);
}

#[test]
fn what_lies_beside_the_files_is_no_loss() {
    let files = folder(&[
        ("0.mcap", written(&[image("/a/image", 0)], true)),
        ("._0.mcap", b"of another system".to_vec()),
        ("0.mcap.sha256", b"x".to_vec()),
        ("1.mcap", written(&[image("/a/image", 3_600_000)], true)),
    ]);
    fs::create_dir(files.path().join("folder.mcap")).unwrap();
    let mut recording = open(&files).unwrap();
    assert_eq!(told(&mut recording).len(), 2);
    assert!(!recording.is_truncated(), "{:?}", recording.warnings());
    let warnings = recording.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("1.mcap: begins 3600 s after all files before it"), "{warnings:?}");
}

#[test]
fn no_more_files_are_open_at_once_than_a_process_may() {
    let files: Vec<(String, Vec<u8>)> = (0..=MAX_OPEN)
        .map(|number| {
            let topic: &'static str = format!("/{number}/image").leak();
            (format!("{number}.mcap"), written(&[image(topic, number as u64), image(topic, 1_000)], true))
        })
        .collect();
    let named: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let error = open(&folder(&named)).err().unwrap().to_string();
    assert!(error.contains("expected at most 64 files of the same time, got 65") && error.contains("hint:"), "{error}");
    assert_eq!(told(&mut open(&folder(&named[1..])).unwrap()).len(), 2 * MAX_OPEN);
    // Without a summary it is seen when they are read.
    let cut: Vec<(&str, Vec<u8>)> = named.iter().map(|(name, bytes)| (*name, bytes[..bytes.len() - 40].to_vec())).collect();
    let files = folder(&cut);
    let mut recording = open(&files).unwrap();
    let error = std::iter::from_fn(|| recording.next_message().transpose()).find_map(Result::err).unwrap().to_string();
    assert!(error.contains("expected at most 64 files"), "{error}");
}

#[test]
fn each_file_is_known_again_by_its_beginning() {
    let payload = |from: u64, count: u64| (from..from + count).map(|turn| image("/a/image", turn * 100)).collect::<Vec<_>>();
    let origin_of = |bytes: &[u8]| {
        let files = folder(&[("a.mcap", bytes.to_vec())]);
        let mut recording = open(&files).unwrap();
        let before = recording.origin();
        read_all(&mut recording);
        assert_eq!(recording.origin(), before);
        before
    };
    // Larger than what it is known by.
    let whole = written(&payload(0, 60_000), false);
    assert!(whole.len() as u64 > 2 * super::super::KNOWN_BY_BYTES);
    assert_eq!(origin_of(&whole[..whole.len() / 2 + 5]), origin_of(&whole), "a file that was cut is the same");
    assert_ne!(origin_of(&written(&payload(1, 60_000), false)), origin_of(&whole));
    // Those of a folder each have their own, so that one that comes later moves no offset of the others.
    let files = folder(&[("0.mcap", written(&payload(0, 2), true)), ("1.mcap", written(&payload(2, 2), true))]);
    let mut recording = open(&files).unwrap();
    let origins: Vec<Arc<str>> = (0..4).map(|_| recording.next_message().unwrap().map(|_| recording.origin()).unwrap()).collect();
    assert!(origins[0] == origins[1] && origins[2] == origins[3] && origins[0] != origins[2], "{origins:?}");
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
    let outer = folder(&[]);
    fs::create_dir(outer.path().join("bag_3")).unwrap();
    fs::write(outer.path().join("bag_3/0.mcap"), b"x").unwrap();
    let error = open(&outer).err().unwrap().to_string();
    assert!(error.contains("got folders\nhint: one of them: ") && error.ends_with("bag_3"), "{error}");
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
