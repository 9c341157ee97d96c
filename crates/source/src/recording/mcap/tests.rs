//! Real files, whole, cut and damaged.

use std::fs;
use std::time::Duration;

use super::*;
use crate::record::{Encoding, Source, SourceEvent};
use crate::recording::RecordingSource;

/// A file of the shared test data, or `None` with a line where it is not there; with CI set it must be there.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(name);
    if path.is_file() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "test data is missing: {}", path.display());
    println!("not run: {} is missing", path.display());
    None
}

pub(super) fn read_all(recording: &mut impl Recording) -> Vec<OutgoingMessage> {
    let mut messages = Vec::new();
    while let Some(message) = recording.next_message().unwrap() {
        messages.push(message);
    }
    assert!(recording.next_message().unwrap().is_none());
    messages
}

fn open_bytes(bytes: &[u8]) -> (tempfile::TempDir, Result<McapFile, RecordingError>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("drive_7.mcap");
    fs::write(&path, bytes).unwrap();
    let recording = McapFile::open(&path, None);
    (dir, recording)
}

#[test]
fn sensors_are_named_by_what_is_before_the_ending_of_the_topic() {
    for (topic, sensor) in [
        ("/camera/front/image", "camera/front"),
        ("/camera/front/calibration", "camera/front"),
        ("/cam/image_raw/compressed", "cam"),
        ("/kitti/velodyne_points", "kitti/velodyne_points"),
        ("/points", "points"),
        ("points_raw/points", "points_raw"),
        ("/tf", "tf"),
        ("/image/image", "image"),
        ("//image", "/image"),
        ("/", "/"),
    ] {
        assert_eq!(sensor_of_topic(topic), sensor, "{topic}");
    }
}

#[test]
fn foxglove_channels_are_read_and_others_are_listed() {
    let Some(path) = shared("vectors/tiny_foxglove.mcap") else { return };
    let mut recording = McapFile::open(&path, None).unwrap();
    assert_eq!(recording.total_messages_hint(), Some(9));
    let messages = read_all(&mut recording);
    assert_eq!(messages.len(), 9);
    assert!(messages.iter().all(|message| &*message.vehicle == "tiny_foxglove" && message.encoding == Encoding::Protobuf));
    let lidar: Vec<_> = messages.iter().filter(|message| message.kind == SensorKind::Lidar).collect();
    assert_eq!(
        lidar.iter().map(|message| (&*message.sensor, message.seq)).collect::<Vec<_>>(),
        [("lidar/top", 0), ("lidar/top", 1), ("lidar/top", 2)]
    );
    let skipped = recording.skipped();
    assert_eq!(skipped.len(), 1);
    assert_eq!((skipped[0].topic.as_str(), skipped[0].messages), ("/boxes", 3));
    assert!(!recording.is_truncated());
    assert_eq!(recording.warnings(), Vec::<String>::new());
}

#[test]
fn a_ros2_recording_has_the_stamps_of_its_headers() {
    let Some(path) = shared("data/mcap_kitti_0005/kitti_0005_f0-3.mcap") else { return };
    let mut recording = McapFile::open(&path, Some("car".into())).unwrap();
    assert_eq!(recording.total_messages_hint(), Some(17));
    let messages = read_all(&mut recording);
    assert_eq!(messages.len(), 17);
    let sensors: std::collections::BTreeSet<_> =
        messages.iter().map(|message| (message.kind, message.sensor.to_string())).collect();
    let expected = [
        (SensorKind::Transform, "tf"),
        (SensorKind::Transform, "tf_static"),
        (SensorKind::Calibration, "kitti/camera_color_left"),
        (SensorKind::Lidar, "kitti/velodyne_points"),
        (SensorKind::Camera, "kitti/camera_color_left"),
    ];
    assert_eq!(sensors.into_iter().collect::<Vec<_>>(), expected.map(|(kind, name)| (kind, name.to_owned())));
    assert_eq!(recording.skipped().iter().map(|channel| channel.messages).collect::<Vec<_>>(), [4]);
    assert!(messages.iter().all(|message| message.stamp_ns / 1_000_000_000 == 1_317_042_272), "stamps are those of the drive");

    let mut source = RecordingSource::new(Box::new(McapFile::open(&path, None).unwrap()), "ad");
    let mut decoded = 0;
    loop {
        match source.next_event(Duration::ZERO).unwrap() {
            Some(SourceEvent::Record(record)) => {
                assert_eq!(wire::decode(&record).unwrap().kind(), record.header.kind);
                decoded += 1;
            }
            Some(SourceEvent::End) | None => break,
            Some(SourceEvent::Assigned(_)) => {}
            Some(other) => panic!("expected records, got {other:?}"),
        }
    }
    assert_eq!(decoded, 17);
}

#[test]
fn a_file_cut_anywhere_gives_a_beginning_of_what_it_had_and_says_so() {
    for name in ["vectors/tiny_ros2.mcap", "vectors/tiny_foxglove.mcap", "data/mcap_kitti_0005/kitti_0005_f0-3.mcap"] {
        let Some(path) = shared(name) else { return };
        let bytes = fs::read(&path).unwrap();
        let whole = read_all(&mut McapFile::open(&path, Some("car".into())).unwrap());
        let mut most = 0;
        let cuts = if bytes.len() < 1 << 20 { 50 } else { 12 };
        for step in 0..cuts {
            let cut = 8 + (bytes.len() - 8) * step / cuts;
            let (_dir, recording) = open_bytes(&bytes[..cut]);
            let mut recording = recording.unwrap();
            let messages = read_all(&mut recording);
            assert!(recording.is_truncated(), "{name} cut at {cut} is not whole");
            assert!(recording.warnings()[0].contains("ends in the middle"), "{:?}", recording.warnings());
            assert!(messages.len() <= whole.len() && messages.len() >= most, "{name} cut at {cut}: {} messages", messages.len());
            most = messages.len();
            for (message, expected) in messages.iter().zip(&whole) {
                assert_eq!((message.stamp_ns, message.seq, &message.payload), (expected.stamp_ns, expected.seq, &expected.payload));
            }
        }
        if bytes.len() < 1 << 20 {
            assert_eq!(most, whole.len(), "{name}: the last cut lies behind the messages and loses none of them");
        }
    }
}

#[test]
fn damaged_bytes_never_become_data() {
    for name in ["vectors/tiny_ros2.mcap", "vectors/tiny_foxglove.mcap"] {
        let Some(path) = shared(name) else { return };
        let bytes = fs::read(&path).unwrap();
        let mut undamaged = McapFile::open(&path, None).unwrap();
        let whole = read_all(&mut undamaged);
        let passed_over = |recording: &McapFile| recording.skipped().iter().map(|channel| channel.messages).sum::<u64>();
        for step in 0..400 {
            let mut damaged = bytes.clone();
            let at = 8 + (step * 7919) % (bytes.len() - 8);
            damaged[at] ^= 1 << (step % 8);
            let (_dir, recording) = open_bytes(&damaged);
            let mut recording = recording.unwrap();
            let messages = read_all(&mut recording);
            for message in &messages {
                assert!(whole.iter().any(|expected| expected.payload == message.payload), "{name}: bit {step} at {at} became data");
            }
            if messages.len() < whole.len() {
                let is_told = recording.is_truncated() || passed_over(&recording) > passed_over(&undamaged);
                assert!(is_told, "{name}: bit {step} at {at} lost messages and nothing is said");
            }
        }
    }
}

#[test]
fn a_damaged_chunk_does_not_take_the_others_with_it() {
    let Some(path) = shared("data/mcap_kitti_0005/kitti_0005_f0-3.mcap") else { return };
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let (_dir, recording) = open_bytes(&bytes);
    let mut recording = recording.unwrap();
    let messages = read_all(&mut recording);
    assert!(messages.len() > 8 && messages.len() < 17, "{}", messages.len());
    assert!(recording.is_truncated());
    assert!(recording.warnings()[0].contains("the chunk at byte"), "{:?}", recording.warnings());
    assert_eq!(&*messages[0].vehicle, "drive_7");
}

#[test]
fn what_is_no_mcap_file_is_refused_with_both_sides() {
    for (bytes, part) in [
        (b"#ROSBAG V2.0\n".as_slice(), "ROS 1 bag"),
        (b"".as_slice(), "an empty file"),
        (b"\x89MCAP1\r\n".as_slice(), "got 89 4d 43 41 50 31 0d 0a"),
        (b"\x28\xb5\x2f\xfd", "hint: "),
    ] {
        let (_dir, recording) = open_bytes(bytes);
        let error = recording.err().unwrap().to_string();
        assert!(error.contains("expected an MCAP file (magic 89 4d 43 41 50 30 0d 0a), got ") && error.contains(part), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(McapFile::open(dir.path(), None).err().unwrap().to_string().contains("got a folder"));
    assert!(McapFile::open(&dir.path().join("none.mcap"), None).err().unwrap().to_string().contains("cannot read"));
}

/// A file with the given messages: topic, schema, message encoding, schema encoding, log time, payload.
pub(super) fn written(messages: &[(&str, &str, &str, &str, u64, Vec<u8>)], chunked: bool) -> Vec<u8> {
    let options = ::mcap::WriteOptions::new().use_chunks(chunked);
    let mut writer = options.create(std::io::Cursor::new(Vec::new())).unwrap();
    for (topic, schema, encoding, schema_encoding, log_time, payload) in messages {
        let schema = writer.add_schema(schema, schema_encoding, b"").unwrap();
        let channel_id = writer.add_channel(schema, topic, encoding, &BTreeMap::new()).unwrap();
        let header = MessageHeader { channel_id, sequence: 0, log_time: *log_time, publish_time: 0 };
        writer.write_to_known_channel(&header, payload).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().into_inner()
}

#[test]
fn a_static_transform_without_stamp_has_the_log_time_and_an_unreadable_message_is_kept() {
    let edge = boxwright_model::FrameTransform {
        stamp_ns: 0,
        parent: "ego".into(),
        child: "cam".into(),
        parent_from_child: boxwright_model::Pose::identity(),
    };
    let transforms = wire::encode_transforms(&[edge]).to_vec();
    let image = wire::encode_compressed_image(5, "cam", "jpeg", b"x").to_vec();
    let fox = |name: &'static str| (name, "protobuf", "protobuf");
    for chunked in [true, false] {
        let (schema, encoding, schema_encoding) = fox("foxglove.FrameTransforms");
        let cdr = ("sensor_msgs/msg/PointCloud2", "cdr", "ros2msg");
        let bytes = written(
            &[
                ("/tf_static", schema, encoding, schema_encoding, 77, transforms.clone()),
                ("/lidar", cdr.0, cdr.1, cdr.2, 88, vec![0xff; 3]),
                ("/cam/image_raw", "foxglove.CompressedImage", "protobuf", "protobuf", 99, image.clone()),
                ("/cam/image_raw/compressed", "foxglove.CompressedImage", "protobuf", "protobuf", 99, image.clone()),
                ("/odd", "foxglove.CompressedImage", "json", "jsonschema", 99, image.clone()),
            ],
            chunked,
        );
        let (_dir, recording) = open_bytes(&bytes);
        let mut recording = recording.unwrap();
        let messages = read_all(&mut recording);
        let got: Vec<_> = messages.iter().map(|message| (&*message.sensor, message.stamp_ns, message.seq)).collect();
        assert_eq!(got, [("tf_static", 77, 0), ("lidar", 88, 0), ("cam", 5, 0), ("cam/image_raw/compressed", 5, 0)]);
        assert_eq!(
            recording.skipped()[0].to_string(),
            "/odd (foxglove.CompressedImage, 1 messages): message encoding: expected protobuf or cdr, got \"json\""
        );
        assert!(!recording.is_truncated(), "{:?}", recording.warnings());
    }
}

/// The content of a record: numbers and texts as MCAP writes them, each text with the length that it is said to have.
fn record_bytes(opcode: u8, numbers: usize, texts: &[(u32, &str)]) -> Vec<u8> {
    let mut content = vec![1; numbers];
    for (length, text) in texts {
        content.extend(length.to_le_bytes());
        content.extend(text.bytes());
    }
    content.extend([0; 4]);
    [&[opcode], (content.len() as u64).to_le_bytes().as_slice(), &content].concat()
}

#[test]
fn a_text_longer_than_its_record_reserves_no_memory_and_is_told() {
    let huge = u32::MAX;
    for damaged in [
        record_bytes(op::SCHEMA, 2, &[(huge, "foxglove.PointCloud"), (8, "protobuf")]),
        record_bytes(op::SCHEMA, 2, &[(1, "s"), (huge, "protobuf")]),
        record_bytes(op::CHANNEL, 4, &[(huge, "/points"), (8, "protobuf")]),
        record_bytes(op::CHANNEL, 4, &[(2, "/a"), (8, "protobuf"), (huge, ""), (huge, "key")]),
        record_bytes(op::CHANNEL, 4, &[(2, "/a"), (8, "protobuf"), (11, ""), (huge, "key")]),
    ] {
        let whole = written(&[("/odd", "foxglove.CompressedImage", "protobuf", "protobuf", 99, b"x".to_vec())], false);
        // As a record of the data it is told, and the others are read.
        let (_dir, recording) = open_bytes(&[&whole[..8], &damaged, &whole[8..]].concat());
        let mut recording = recording.unwrap();
        assert_eq!(read_all(&mut recording).len(), 1);
        assert!(recording.is_truncated() && recording.warnings()[0].contains("the record at byte 8 is damaged"));
        // In the summary, which begins right behind the magic here, it only costs the count.
        let footer = [&[op::FOOTER], 20_u64.to_le_bytes().as_slice(), &8_u64.to_le_bytes(), &[0; 12], MAGIC].concat();
        let (_dir, recording) = open_bytes(&[MAGIC, damaged.as_slice(), &footer].concat());
        let mut recording = recording.unwrap();
        assert_eq!(recording.total_messages_hint(), None);
        assert!(read_all(&mut recording).is_empty() && recording.is_truncated());
    }
}

#[test]
fn records_of_any_kind_in_a_summary_are_no_panic() {
    // The library asserts that an attachment has four bytes at least.
    for opcode in 0..=255 {
        let record = [&[opcode], 1_u64.to_le_bytes().as_slice(), &[7]].concat();
        let footer = [&[op::FOOTER], 20_u64.to_le_bytes().as_slice(), &8_u64.to_le_bytes(), &[0; 12], MAGIC].concat();
        let (_dir, recording) = open_bytes(&[MAGIC, record.as_slice(), &footer].concat());
        let mut recording = recording.unwrap();
        assert!(read_all(&mut recording).is_empty());
    }
}
