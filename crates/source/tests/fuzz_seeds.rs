//! The seeds of the fuzz targets through the very functions that the fuzzer calls: what it has found stays found, on a stable compiler.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};

use boxwright_model::{BoxFrame, CameraModel, DetectedBox, DetectedBoxes, FrameTransform, PointCloud, Pose};
use boxwright_source::{Encoding, wire};
use bytes::Bytes;
use foxglove::messages::{FrameTransforms, RawImage};
use prost::Message;

#[path = "../../../tests/fuzz/src/input.rs"]
pub mod input;

#[path = "../../../tests/fuzz/src/source.rs"]
pub mod source;

/// The fuzzer bounds memory with an allocator of its own; here only what comes out is looked at.
pub fn within<T>(_bytes: usize, call: impl FnOnce() -> T) -> T {
    call()
}

/// The fuzzer asks the shards' own rule, which this crate does not know.
pub fn check_vehicle(_vehicle: &str) {}

const TARGETS: [(&str, fn(&[u8])); 6] = [
    ("wire", source::wire),
    ("cdr", source::cdr),
    ("image", source::image),
    ("headers", source::headers),
    ("mcap", source::mcap),
    ("kitti", source::kitti),
];

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds").join(target)
}

#[test]
fn every_seed_keeps_what_is_promised_for_any_bytes() {
    for (target, check) in TARGETS {
        let mut seeds: Vec<PathBuf> = fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            println!("{}", seed.display());
            check(&fs::read(&seed).unwrap());
        }
    }
}

#[test]
#[ignore = "writes the seeds into the repository"]
fn make_seeds() {
    let write = |target: &str, name: &str, bytes: Vec<u8>| {
        fs::create_dir_all(folder(target)).unwrap();
        fs::write(folder(target).join(name), bytes).unwrap();
    };
    wire_seeds().into_iter().for_each(|(name, bytes)| write("wire", &name, bytes));
    cdr_seeds().into_iter().for_each(|(name, bytes)| write("cdr", name, bytes));
    image_seeds().into_iter().for_each(|(name, bytes)| write("image", name, bytes));
    header_seeds().into_iter().for_each(|(name, bytes)| write("headers", name, bytes));
    mcap_seeds().into_iter().for_each(|(name, bytes)| write("mcap", name, bytes));
    kitti_seeds().into_iter().for_each(|(name, bytes)| write("kitti", &name, bytes));
}

fn le(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

fn jpeg() -> Vec<u8> {
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 50).encode(&[90; 64], 8, 8, jpeg_encoder::ColorType::Luma).unwrap();
    jpeg
}

fn png() -> Vec<u8> {
    let mut data = Vec::new();
    let mut writer = png::Encoder::new(&mut data, 2, 2).write_header().unwrap();
    writer.write_image_data(&[1, 2, 3, 4]).unwrap();
    writer.finish().unwrap();
    data
}

fn edge() -> FrameTransform {
    let parent_from_child = Pose::translation(1.0, 2.0, 3.0);
    FrameTransform { stamp_ns: 1_700_000_000_000_000_001, parent: "world".into(), child: "ego".into(), parent_from_child }
}

/// One of every schema; the first byte is its row in the table.
fn wire_seeds() -> Vec<(String, Vec<u8>)> {
    let cloud = PointCloud {
        x: vec![1.0, -2.5],
        y: vec![0.0, 3.0],
        z: vec![-1.0, f32::NAN],
        intensity: vec![0.1, 0.2],
        ring: Some(vec![0, 63]),
        time_offset_ns: Some(vec![-50_000_000, 49_999_999]),
    };
    let model = CameraModel {
        fx_px: 700.0,
        fy_px: 701.0,
        cx_px: 320.0,
        cy_px: 240.0,
        distortion_model: "plumb_bob".into(),
        distortion: vec![0.1, 0.0, 0.0, 0.0, 0.0],
        width_px: 640,
        height_px: 480,
    };
    let transforms = wire::encode_transforms(&[edge(), edge()]);
    let one = FrameTransforms::decode(transforms.clone()).unwrap().transforms[0].encode_to_vec();
    let raw = RawImage {
        timestamp: None,
        frame_id: "cam".to_owned(),
        width: 2,
        height: 2,
        encoding: "bgr8".to_owned(),
        step: 6,
        data: Bytes::from_static(&[7; 12]),
    };
    let mut payloads = vec![
        ("foxglove.PointCloud", Encoding::Protobuf, wire::encode_point_cloud(5, "lidar", &cloud).to_vec()),
        ("foxglove.CompressedImage", Encoding::Protobuf, wire::encode_compressed_image(1, "cam", "png", &png()).to_vec()),
        ("foxglove.RawImage", Encoding::Protobuf, raw.encode_to_vec()),
        ("foxglove.CameraCalibration", Encoding::Protobuf, wire::encode_camera_calibration(1, "cam", &model).to_vec()),
        ("foxglove.FrameTransform", Encoding::Protobuf, one),
        ("foxglove.FrameTransforms", Encoding::Protobuf, transforms.to_vec()),
    ];
    let one = DetectedBox { class: "Car".into(), score: 0.9, center_m: [9.0, 1.0, 0.5], size_lwh_m: [4.0, 1.8, 1.5], yaw_rad: 0.5 };
    let found = DetectedBoxes {
        model_name: "pointpillars".into(),
        model_version: "1".into(),
        model_sha256: "ab".repeat(32).into(),
        calibration_sha256: "cd".repeat(32).into(),
        frame: BoxFrame::Ego,
        boxes: vec![one],
    };
    payloads.push(("boxwright.Detections", Encoding::Protobuf, wire::encode_detections(&found).to_vec()));
    for (_, seed) in cdr_seeds() {
        let (schema, payload) = source::ros_payload(&seed);
        payloads.push((schema, Encoding::Cdr, payload));
    }
    payloads
        .into_iter()
        .map(|(schema, encoding, payload)| {
            let row = wire::SCHEMAS.iter().position(|row| (row.name, row.encoding) == (schema, encoding)).unwrap();
            (schema.replace('/', "."), [&[row as u8], payload.as_slice()].concat())
        })
        .collect()
}

/// One of every ROS 2 message, as the values that `source::cdr` takes from its input.
fn cdr_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let pose = le(&[1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0]);
    let edge = [&[9, 0, 0, 0, 8, 0, 0, 0, 5], b"world".as_slice(), &[3], b"ego", &pose].concat();
    let k = le(&[700.0, 0.0, 320.0, 0.0, 701.0, 240.0, 0.0, 0.0, 1.0]);
    vec![
        ("points", [&[0, 0, 6, 6, 6, 0, 3, 1, 1], [0x40; 120].as_slice()].concat()),
        ("pixels", [&[1, 1, 1, 2, 2, 2, 9], [5; 9].as_slice(), &[2]].concat()),
        ("picture", [vec![2, 0], counted(b"jpeg"), counted(&png())].concat()),
        ("camera", [vec![3, 1, 0xE0, 1, 0, 0, 0x80, 2, 0, 0, 2], le(&[0.1, 0.2]), k].concat()),
        ("transforms", [&[4, 0, 2], edge.as_slice(), &edge].concat()),
        ("odometry", [&[5, 1], edge.as_slice(), &le(&[0.5, 0.25])].concat()),
        ("transform", [&[6, 0], edge.as_slice()].concat()),
        ("transform_damaged", [&[6, 0], edge.as_slice(), &[1, 9, 0, 0xFF, 4, 0, 0]].concat()),
    ]
}

fn image_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let webp = |chunk: &[u8]| [b"RIFF\x1a\0\0\0WEBP", chunk, [0; 14].as_slice()].concat();
    vec![
        ("jpeg", [vec![1], jpeg()].concat()),
        ("jpeg_of_ros", [vec![5], jpeg()].concat()),
        ("png", [vec![2], png()].concat()),
        ("png_unnamed", [vec![0], png()].concat()),
        ("webp_lossy", [vec![3], webp(b"VP8 \x0e\0\0\0\0\0\0\x9d\x01\x2a\x08\0\x08\0")].concat()),
        ("webp_lossless", [vec![3], webp(b"VP8L\x0e\0\0\0\x2f\x07\xc0\x01\0")].concat()),
        ("webp_extended", [vec![3], webp(b"VP8X\x0a\0\0\0\0\0\0\0\x07\0\0\x07\0\0")].concat()),
        ("avif", [&[4], b"\0\0\0\x1cftypavif\0\0\0\0....ispe\0\0\0\0\0\0\0\x08\0\0\0\x08".as_slice()].concat()),
        ("other", [vec![7], counted(b"h264"), vec![0, 0, 0, 1]].concat()),
    ]
}

fn header_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let set = |name: u8, value: &[u8]| [vec![name], counted(value)].concat();
    vec![
        ("whole", vec![0, 0, 0, 7]),
        ("keyed", [vec![1], counted(b"car"), vec![6, 1, 0], vec![0x84]].concat()),
        ("without_key", vec![0, 0, 0, 0, 0x84]),
        ("stamp", [vec![0, 0, 0, 0], set(2, b"-1")].concat()),
        ("vehicle", [vec![0, 0, 0, 0], set(4, "車/7".as_bytes())].concat()),
        ("others", [vec![0, 0, 0, 0], set(3, b"noon"), set(6, b"18446744073709551615"), set(7, b"\xff")].concat()),
    ]
}

fn mcap_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let transform = wire::encode_transforms(&[edge()]).to_vec();
    let message = |row: u8, topic: u8, payload: &[u8]| [vec![row, topic], counted(payload), vec![9, 0, 0, 0, 2]].concat();
    let messages = [vec![4], message(5, 4, &transform), message(0, 0, b"\xff"), message(13, 1, b"x"), message(5, 4, b"")].concat();
    let written = |flags: u8| [&[1, flags], messages.as_slice(), &[200, 0]].concat();
    vec![
        ("file", [vec![0], source::mcap_file(&written(4 | 1)[1..])].concat()),
        ("file_without_chunks", [vec![0], source::mcap_file(&written(0)[1..])].concat()),
        ("plain", written(0)),
        ("chunked", written(4)),
        ("chunked_lz4", written(4 | 1)),
        ("chunked_zstd", written(4 | 2)),
        ("without_summary", written(4 | 8 | 16)),
        ("damaged", [written(4).as_slice(), &[0, 60, 0, 0xFF]].concat()),
    ]
}

/// One a file of the drive, with content of its own; then a file of another name, and two at once.
fn kitti_seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<(String, Vec<u8>)> = source::KITTI_FILES
        .iter()
        .enumerate()
        .map(|(row, (name, content))| {
            (name.trim_start_matches("../").replace('/', "."), [&[row as u8 % 2, row as u8], *content].concat())
        })
        .collect();
    seeds.push(("added".to_owned(), [vec![0, 12, 1], counted(b"7.bin"), counted(&[0; 16])].concat()));
    seeds.push(("two".to_owned(), [vec![1, 12 * 11 + 8], counted(&[1; 16]), vec![6], b"50 8 nan".to_vec()].concat()));
    seeds
}
