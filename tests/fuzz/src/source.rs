//! What `boxwright-source` promises for any bytes: payloads, pictures, headers, MCAP files and KITTI folders.
//!
//! In common: no panic, no hang, no more memory than a stated multiple of the input, and an error that says something in at most
//! [`MAX_ERROR_BYTES`]. What is accepted can be stored: numbers that must be finite are, columns are equally long, sizes fit the shards.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use boxwright_model::time::{NS_PER_S, is_plausible_stamp};
use boxwright_model::{
    CameraImage, CameraModel, FrameHeader, FrameTransform, PointCloud, SensorFrame, SensorKind, SourcePosition, StampRef,
};
use boxwright_source::recording::{KittiRaw, McapFile};
use boxwright_source::wire::{self, SCHEMAS};
use boxwright_source::{Encoding, OutgoingMessage, Record, Recording, Rejected, parse_headers, reason};
use bytes::Bytes;

use super::input::{Input, damage};
pub use cdr::{cdr, ros_payload};

// The tests of the crates take this file by its path, and look for its modules beside it.
#[path = "source/cdr.rs"]
mod cdr;

/// Longest text of an error. It goes to a log, a header and a person; none of them wants the payload in it.
const MAX_ERROR_BYTES: usize = 8 << 10;
/// Memory beside the multiples below: an error's text, the state of a PNG encoder.
const BASE_BYTES: usize = 512 << 10;
/// Bytes per byte of a sweep or a picture: thirty for a point's columns, the rest for vectors that double.
const FRAME_MULTIPLE: usize = 128;
/// Bytes per byte of transforms: two bytes stand for an empty one of over a hundred, in vectors that double.
const STATE_MULTIPLE: usize = 512;
/// What a recording's reader may hold: the largest record believed of a small file, its content, and messages of it.
const RECORDING_BYTES: usize = 256 << 20;

fn check_error(error: &impl Display) {
    let text = error.to_string();
    assert!(!text.trim().is_empty(), "an error without a word");
    assert!(text.len() <= MAX_ERROR_BYTES, "an error of {} bytes: {:.200}", text.len(), text);
}

fn record(schema: &str, encoding: Encoding, payload: Bytes) -> Record {
    let kind = wire::kind_of(schema, encoding).expect("a schema of the table");
    let header = FrameHeader {
        vehicle: "car".into(),
        sensor: "sensor".into(),
        kind,
        stamp_ns: 1_700_000_000_123_456_789,
        stamp_ref: StampRef::Instant,
        arrival_ns: None,
        seq: None,
        grade: "".into(),
        position: SourcePosition { topic: "ad.any".into(), partition: 0, offset: 0 },
    };
    Record { header, schema: schema.into(), encoding, payload, trace_parent: None }
}

/// Any bytes under any schema: the first byte chooses the schema.
pub fn wire(data: &[u8]) {
    let Some((which, payload)) = data.split_first() else { return };
    let schema = SCHEMAS[usize::from(*which) % SCHEMAS.len()];
    decoded(&record(schema.name, schema.encoding, Bytes::copy_from_slice(payload)));
}

/// Decodes, checks what comes out, and checks that our own encoder and decoder bring it back.
fn decoded(record: &Record) -> Option<SensorFrame> {
    let multiple = match record.header.kind {
        SensorKind::Lidar | SensorKind::Camera => FRAME_MULTIPLE,
        SensorKind::Transform | SensorKind::Calibration | SensorKind::Detections => STATE_MULTIPLE,
    };
    let allowed = BASE_BYTES + multiple * record.payload.len();
    let stamp = crate::within(allowed, || wire::stamp_of(&record.schema, record.encoding, &record.payload));
    if let Err(error) = &stamp {
        check_error(error);
    }
    match crate::within(allowed, || wire::decode(record)) {
        Ok(frame) => {
            assert!(stamp.is_ok(), "decoded, but its stamp cannot be read: {stamp:?}");
            assert_eq!(frame.kind(), record.header.kind);
            check_frame(&frame);
            check_round_trip(record.header.stamp_ns, &frame);
            Some(frame)
        }
        Err(error) => {
            check_error(&error);
            None
        }
    }
}

/// What every accepted frame is, whoever sent it.
fn check_frame(frame: &SensorFrame) {
    match frame {
        SensorFrame::Lidar(sweep) => check_points(&sweep.points),
        SensorFrame::Camera(image) => {
            assert!((1..=65_535).contains(&image.width_px) && (1..=65_535).contains(&image.height_px), "{image:?}");
            assert!(["jpeg", "png", "webp", "avif"].contains(&&*image.format) && !image.data.is_empty());
        }
        SensorFrame::Calibration { model, .. } => {
            let CameraModel { fx_px, fy_px, cx_px, cy_px, .. } = *model;
            assert!([fx_px, fy_px, cx_px, cy_px].iter().chain(&model.distortion).all(|value| value.is_finite()), "{model:?}");
            assert!(fx_px > 0.0 && fy_px > 0.0);
            // Shards store sizes as i32, and a calibration that they refuse would end the run.
            assert!(i32::try_from(model.width_px).is_ok() && i32::try_from(model.height_px).is_ok(), "{model:?}");
        }
        SensorFrame::Transforms(edges) => edges.iter().for_each(check_edge),
        SensorFrame::Detections(found) => {
            assert!(found.boxes.len() <= 4096 && !found.model_name.is_empty());
            for one in &found.boxes {
                let numbers = one.center_m.iter().chain(&one.size_lwh_m).chain([&one.yaw_rad]);
                assert!(numbers.into_iter().all(|value| value.is_finite()) && (0.0..=1.0).contains(&one.score), "{one:?}");
                assert!(one.size_lwh_m.iter().all(|side| *side > 0.0), "{one:?}");
            }
        }
    }
}

fn check_points(points: &PointCloud) {
    let count = points.len();
    assert!(count <= wire::MAX_POINTS);
    assert_eq!([points.y.len(), points.z.len(), points.intensity.len()], [count; 3]);
    assert!(points.ring.as_ref().is_none_or(|ring| ring.len() == count));
    assert!(points.time_offset_ns.as_ref().is_none_or(|times| times.len() == count));
}

fn check_edge(edge: &FrameTransform) {
    assert!(!edge.parent.is_empty() && !edge.child.is_empty(), "{edge:?}");
    let pose = edge.parent_from_child;
    // A thousand of them one after the other, each as far as allowed, are still finite.
    assert!(pose.translation.vector.iter().all(|value| (value * 1e3).is_finite() && (value * value).is_finite()), "{edge:?}");
    assert!((pose.rotation.norm() - 1.0).abs() < 1e-9, "{edge:?}");
}

fn check_round_trip(stamp_ns: i64, frame: &SensorFrame) {
    let (schema, payload) = wire::encode(stamp_ns, frame);
    // No transform at all is no byte in protobuf, and a payload without a byte is refused.
    if payload.is_empty() {
        return assert_eq!(*frame, SensorFrame::Transforms(Vec::new()));
    }
    let back = wire::decode(&record(schema, Encoding::Protobuf, payload)).expect("what we write we can read");
    match (frame, &back) {
        (SensorFrame::Lidar(sent), SensorFrame::Lidar(read)) => {
            assert_eq!(sent.frame_id, read.frame_id);
            assert_same_points(&sent.points, &read.points);
        }
        (SensorFrame::Transforms(sent), SensorFrame::Transforms(read)) => {
            assert_eq!(sent.len(), read.len());
            for (sent, read) in sent.iter().zip(read) {
                assert_eq!(
                    (&sent.parent, &sent.child, sent.parent_from_child),
                    (&read.parent, &read.child, read.parent_from_child)
                );
                // Foxglove's stamps end in 2106, and zero stands for none.
                if (1..i64::from(u32::MAX) * NS_PER_S).contains(&sent.stamp_ns) {
                    assert_eq!(sent.stamp_ns, read.stamp_ns);
                }
            }
        }
        _ => assert_eq!(*frame, back),
    }
}

/// Equal to the bit; a NaN is a NaN.
fn assert_same_points(sent: &PointCloud, read: &PointCloud) {
    let bits = |values: &[f32]| values.iter().map(|v| if v.is_nan() { u32::MAX } else { v.to_bits() }).collect::<Vec<_>>();
    for (sent, read) in [(&sent.x, &read.x), (&sent.y, &read.y), (&sent.z, &read.z), (&sent.intensity, &read.intensity)] {
        assert_eq!(bits(sent), bits(read));
    }
    if !sent.is_empty() {
        assert_eq!((&sent.ring, &sent.time_offset_ns), (&read.ring, &read.time_offset_ns));
    }
}

/// Pictures of every format under every name of a format: the size is read, the bytes stay what they were.
pub fn image(data: &[u8]) {
    let mut input = Input(data);
    let format = match input.u8() % 8 {
        0 => Cow::Borrowed(""),
        1 => Cow::Borrowed("jpeg"),
        2 => Cow::Borrowed("png"),
        3 => Cow::Borrowed("webp"),
        4 => Cow::Borrowed("avif"),
        5 => Cow::Borrowed("bgr8; jpeg compressed bgr8"),
        6 => Cow::Borrowed("h264"),
        _ => Cow::Owned(input.text()),
    };
    let payload = wire::encode_compressed_image(5, "cam", &format, input.0);
    let frame = decoded(&record("foxglove.CompressedImage", Encoding::Protobuf, payload));
    let Some(SensorFrame::Camera(picture)) = frame else { return };
    assert_eq!(picture.data, input.0);
    if let Some(size) = jpeg_or_png_size(&picture) {
        assert_eq!((picture.width_px, picture.height_px), size);
    }
    // Half of a PNG is never a PNG: each of its chunks says how long it is.
    if &*picture.format == "png" {
        let half = wire::encode_compressed_image(5, "cam", &format, &input.0[..24]);
        assert!(decoded(&record("foxglove.CompressedImage", Encoding::Protobuf, half)).is_none(), "a PNG that was cut is accepted");
    }
}

/// The size in the header of a PNG, where it is for sure.
fn jpeg_or_png_size(picture: &CameraImage) -> Option<(u32, u32)> {
    let at = |at: usize| Some(u32::from_be_bytes(picture.data.get(at..at + 4)?.try_into().ok()?));
    (&*picture.format == "png").then(|| at(16).zip(at(20)))?
}

/// Names of headers in the order in which the input gives them.
const HEADERS: [&str; 9] = ["schema", "encoding", "stamp_ns", "stamp_ref", "vehicle", "sensor", "seq", "grade", "reason"];
const REASONS: [&str; 5] =
    [reason::MISSING_HEADER, reason::BAD_HEADER, reason::UNKNOWN_SCHEMA, reason::UNKNOWN_ENCODING, reason::IMPLAUSIBLE_STAMP];

/// Headers of a message, and what a dead letter keeps of them.
pub fn headers(data: &[u8]) {
    let mut input = Input(data);
    let key = (input.u8() % 2 == 1).then(|| input.counted());
    let defaults: [Cow<'_, [u8]>; 9] = [
        SCHEMAS[usize::from(input.u8()) % SCHEMAS.len()].name.as_bytes().into(),
        input.pick(&[b"protobuf".as_slice(), b"cdr", b"json"]).into(),
        b"1700000000000000000".as_slice().into(),
        StampRef::ALL[usize::from(input.u8() % 8)].1.as_bytes().into(),
        b"car".as_slice().into(),
        b"top".as_slice().into(),
        b"7".as_slice().into(),
        b"open".as_slice().into(),
        b"".as_slice().into(),
    ];
    let mut headers: BTreeMap<&str, Cow<'_, [u8]>> = HEADERS.into_iter().zip(defaults).collect();
    while !input.is_empty() {
        let which = input.u8();
        let name = HEADERS[usize::from(which & 0x7F) % HEADERS.len()];
        if which & 0x80 == 0 {
            let value = if which & 0x40 == 0 { input.counted() } else { std::mem::take(&mut input.0) };
            headers.insert(name, value.into());
        } else {
            headers.remove(name);
        }
    }
    let by_name: BTreeMap<&str, &[u8]> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
    let position = SourcePosition { topic: "ad.lidar".into(), partition: 3, offset: 9 };
    let allowed = BASE_BYTES + 16 * data.len();
    match crate::within(allowed, || parse_headers(position.clone(), key, &by_name)) {
        Ok((header, schema, encoding)) => {
            check_headers(position, Record { header, schema, encoding, payload: Bytes::new(), trace_parent: None })
        }
        Err((code, text)) => {
            assert!(REASONS.contains(&code), "{code}");
            check_error(&text);
        }
    }
}

/// What was accepted can be stored and sent on; as a dead letter and as a message it says the same.
fn check_headers(position: SourcePosition, record: Record) {
    let header = &record.header;
    assert!(is_plausible_stamp(header.stamp_ns) && !header.vehicle.is_empty() && !header.sensor.is_empty());
    assert_eq!(wire::kind_of(&record.schema, record.encoding), Some(header.kind));
    assert_eq!(header.position, position);
    crate::check_vehicle(&header.vehicle);
    let letter = Rejected::from_record(record.clone(), reason::DECODE_FAILED, "cannot".to_owned());
    assert_eq!(letter.position, position);
    let by_name: BTreeMap<&str, &[u8]> = letter.headers.iter().map(|(name, value)| (name.as_str(), &**value)).collect();
    let again = parse_headers(position.clone(), letter.key.as_deref(), &by_name).expect("the headers of a dead letter");
    assert_eq!(again, (header.clone(), record.schema.clone(), record.encoding));
    let sent = OutgoingMessage {
        kind: header.kind,
        vehicle: header.vehicle.clone(),
        sensor: header.sensor.clone(),
        stamp_ns: header.stamp_ns,
        stamp_ref: header.stamp_ref,
        seq: header.seq.unwrap_or_default(),
        grade: header.grade.clone(),
        schema: record.schema.clone(),
        encoding: record.encoding,
        payload: Bytes::new(),
        log_time_ns: header.arrival_ns.unwrap_or_default(),
    }
    .headers();
    let by_name: BTreeMap<&str, &[u8]> = sent.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let again = parse_headers(position, None, &by_name).expect("the headers of a message that is sent");
    let header = FrameHeader { seq: Some(header.seq.unwrap_or_default()), ..header.clone() };
    assert_eq!(again, (header, record.schema, record.encoding));
}

/// A folder in memory where there is one: the readers of recordings want files.
fn scratch() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        // Kept for the life of the process: a fuzzer ends without dropping anything.
        tempfile::Builder::new().prefix("boxwright-fuzz-source-").tempdir_in(parent).expect("a folder").keep()
    })
}

/// Everything that a recording gives, with what it says of itself; more than `most` messages are a hang.
fn read_all(recording: &mut dyn Recording, most: usize) -> Vec<OutgoingMessage> {
    let mut messages = Vec::new();
    loop {
        match recording.next_message() {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => break,
            Err(error) => {
                check_error(&error);
                break;
            }
        }
        assert!(messages.len() <= most, "more messages than the file can have");
    }
    assert!(recording.warnings().iter().all(|warning| !warning.trim().is_empty()));
    assert!(recording.skipped().iter().all(|channel| !channel.reason.is_empty()));
    for message in &messages {
        let kind = wire::kind_of(&message.schema, message.encoding);
        assert_eq!(kind, Some(message.kind), "{:?} under {:?}", message.kind, message.schema);
    }
    messages
}

fn read_mcap(bytes: &[u8]) -> Option<(McapFile, Vec<OutgoingMessage>)> {
    let path = scratch().join("drive_7.mcap");
    fs::write(&path, bytes).expect("a file");
    crate::within(RECORDING_BYTES, || match McapFile::open(&path, None) {
        Ok(mut recording) => {
            let messages = read_all(&mut recording, 1 << 20);
            Some((recording, messages))
        }
        Err(error) => {
            check_error(&error);
            None
        }
    })
}

/// An MCAP file as it is (first byte even), or one that is written from the input, then cut, then damaged.
pub fn mcap(data: &[u8]) {
    let mut input = Input(data);
    if input.u8() % 2 == 0 {
        if let Some((_, messages)) = read_mcap(input.0) {
            for message in messages.iter().take(16) {
                decoded(&record(&message.schema, message.encoding, message.payload.clone()));
            }
        }
        return;
    }
    let (mut bytes, payloads) = written(&mut input);
    let (recording, whole) = read_mcap(&bytes).expect("a whole file");
    assert!(!recording.is_truncated(), "{:?}", recording.warnings());
    // A file may have no summary; one that has it counts right.
    assert!(recording.total_messages_hint().is_none_or(|total| total == whole.len() as u64));
    assert_eq!(whole.iter().map(|message| message.payload.to_vec()).collect::<Vec<_>>(), payloads);

    let cut = usize::from(input.u16()) % bytes.len();
    match read_mcap(&bytes[..cut]) {
        Some((recording, messages)) => {
            assert!(recording.is_truncated() && !recording.warnings().is_empty(), "cut at {cut} of {} and not told", bytes.len());
            assert!(messages.len() <= whole.len());
            for (message, expected) in messages.iter().zip(&whole) {
                assert_eq!((message.stamp_ns, message.seq, &message.payload), (expected.stamp_ns, expected.seq, &expected.payload));
            }
        }
        None => assert!(cut < ::mcap::MAGIC.len(), "a beginning of a file is refused"),
    }
    if !input.is_empty() {
        damage(&mut bytes, input);
        read_mcap(&bytes);
    }
}

/// The file that [`mcap`] writes of its input behind the first byte, undamaged.
pub fn mcap_file(data: &[u8]) -> Vec<u8> {
    written(&mut Input(data)).0
}

/// A file of some messages, and the payloads that are to be read from it.
fn written(input: &mut Input<'_>) -> (Vec<u8>, Vec<Vec<u8>>) {
    let flags = input.u8();
    let compression = [None, Some(::mcap::Compression::Lz4), Some(::mcap::Compression::Zstd), None][usize::from(flags & 3)];
    let options = ::mcap::WriteOptions::new()
        .use_chunks(flags & 4 != 0)
        .compression(compression)
        .chunk_size(Some(64))
        .emit_summary_records(flags & 8 == 0 || flags & 16 == 0)
        .calculate_data_section_crc(flags & 32 == 0);
    let mut writer = options.create(std::io::Cursor::new(Vec::new())).expect("a writer");
    let mut payloads = Vec::new();
    for _ in 0..input.u8() % 8 {
        let which = usize::from(input.u8()) % (SCHEMAS.len() + 1);
        // The one behind the table is a schema that is not read.
        let (schema, encoding) =
            SCHEMAS.get(which).map_or(("geometry_msgs/msg/Pose", Encoding::Cdr), |row| (row.name, row.encoding));
        let schema_encoding = if encoding == Encoding::Cdr { "ros2msg" } else { "protobuf" };
        let topic = input.pick(&["/a", "/a/image", "/a/image/compressed", "/b/points", "/tf"]);
        let payload = input.counted();
        let schema_id = writer.add_schema(schema, schema_encoding, b"").expect("a schema");
        let channel_id = writer.add_channel(schema_id, topic, encoding.as_str(), &BTreeMap::new()).expect("a channel");
        let log_time = u64::from(input.u32()) << input.u8().min(32);
        let header = ::mcap::records::MessageHeader { channel_id, sequence: 0, log_time, publish_time: 0 };
        writer.write_to_known_channel(&header, payload).expect("a message");
        if which < SCHEMAS.len() {
            payloads.push(payload.to_vec());
        }
    }
    writer.finish().expect("an end");
    (writer.into_inner().into_inner(), payloads)
}

/// A file of a KITTI drive, and what is in it where the input says nothing else.
pub const KITTI_FILES: [(&str, &[u8]); 12] = [
    ("../calib_imu_to_velo.txt", b"calib_time: x\nR: 1 0 0 0 1 0 0 0 1\nT: -0.8 0.3 -0.8\n"),
    ("../calib_velo_to_cam.txt", b"R: 0 -1 0 0 0 -1 1 0 0\nT: 0 -0.1 -0.3\n"),
    (
        "../calib_cam_to_cam.txt",
        b"S_02: 1392 512\nK_02: 960 0 696 0 957 224 0 0 1\nD_02: -0.3 0.2 0.001 0.002 -0.06\nR_02: 1 0 0 0 1 0 0 0 1\n\
          T_02: 0.06 0 0\nS_rect_02: 1242 375\nR_rect_00: 1 0 0 0 1 0 0 0 1\nP_rect_02: 700 0 600 42 0 700 170 0 0 0 1 0\n",
    ),
    ("oxts/timestamps.txt", KITTI_STAMPS),
    ("velodyne_points/timestamps.txt", KITTI_STAMPS),
    ("image_02/timestamps.txt", KITTI_STAMPS),
    ("oxts/data/0000000000.txt", b"49.0 8.4 112.0 0.02 0.01 -0.4 1 2 3\n"),
    ("oxts/data/0000000001.txt", b"49.0 8.5 112.0 0.02 0.01 -0.4 1 2 3\n"),
    ("velodyne_points/data/0000000000.bin", &[0; 32]),
    ("velodyne_points/data/0000000001.txt", b"1 2 3 0.25\n4 5 6 0.5\n"),
    ("image_02/data/0000000000.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0....\0\0\0\0IEND...."),
    ("image_02/data/0000000001.jpg", b"\xff\xd8\xff\xc0\0\x0b\x08\0\x08\0\x08\x01\x01\x11\0\xff\xda\0\x02..\xff\xd9"),
];
const KITTI_STAMPS: &[u8] = b"2011-09-26 13:04:30.100000000\n2011-09-26 13:04:31.100000000\n";

/// A KITTI drive of which the input replaces, removes and adds files.
pub fn kitti(data: &[u8]) {
    static DRIVES: OnceLock<[PathBuf; 2]> = OnceLock::new();
    let drives = DRIVES.get_or_init(|| {
        ["sync", "extract"].map(|suffix| {
            let drive = scratch().join(suffix).join(format!("2011_09_26_drive_0001_{suffix}"));
            for folder in ["oxts", "velodyne_points", "image_02"] {
                fs::create_dir_all(drive.join(folder).join("data")).expect("a folder");
            }
            KITTI_FILES.iter().for_each(|(name, content)| fs::write(drive.join(name), content).expect("a file"));
            drive
        })
    });
    let mut input = Input(data);
    let drive = &drives[usize::from(input.u8() % 2)];
    let mut added: Vec<PathBuf> = Vec::new();
    let mut changed = Vec::new();
    // Three files at once are enough to contradict each other.
    for _ in 0..3 {
        let which = usize::from(input.u8());
        if input.is_empty() {
            break;
        }
        if let Some((name, _)) = KITTI_FILES.get(which % (KITTI_FILES.len() + 2)) {
            let content = if which >= 0x80 { input.counted() } else { std::mem::take(&mut input.0) };
            fs::write(drive.join(name), content).expect("a file");
            changed.push(which % (KITTI_FILES.len() + 2));
        } else {
            let folder = input.pick(&["oxts/data", "velodyne_points/data", "image_02/data"]);
            let name = input.text().replace(['/', '\0'], "_");
            let path = drive.join(folder).join(format!("0{:.60}", name));
            if !path.exists() && fs::write(&path, input.counted()).is_ok() {
                added.push(path);
            }
        }
    }
    crate::within(RECORDING_BYTES, || read_kitti(drive));
    added.iter().for_each(|path| fs::remove_file(path).expect("the file that was added"));
    changed.iter().for_each(|which| fs::write(drive.join(KITTI_FILES[*which].0), KITTI_FILES[*which].1).expect("a file"));
}

fn read_kitti(drive: &Path) {
    let mut recording = match KittiRaw::open(drive, None) {
        Ok(recording) => recording,
        Err(error) => return check_error(&error),
    };
    let total = recording.total_messages_hint().expect("a count");
    let messages = read_all(&mut recording, 64);
    let count = messages.len() as u64;
    assert!(count == total || (count < total && recording.is_truncated()), "{count} of {total} messages and not told");
    for message in &messages {
        assert!(is_plausible_stamp(message.stamp_ns));
        let frame = decoded(&record(&message.schema, message.encoding, message.payload.clone()));
        // Of a picture only its two ends are looked at here; the decoder looks at all of it and may refuse what is between.
        assert!(frame.is_some() || message.kind == SensorKind::Camera, "{} {} cannot be decoded", message.kind, message.sensor);
    }
}
