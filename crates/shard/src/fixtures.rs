//! Small rows of every table, for tests.

use std::path::Path;
use std::sync::Arc;

use boxwright_model::space::pose_from_parts;
use boxwright_model::time::NS_PER_S;
use boxwright_model::{
    Box3, CameraModel, ClipGrid, ClipId, Cuboid, Finding, LabelSource, PointCloud, Pose, Sample, SampleMember, SampleReason,
    SensorKind, Severity, SourcePosition, StampRef, StampedPose, Taxonomy, Track, TrackId,
};
use bytes::Bytes;
use nalgebra::Vector3;

use crate::{
    CalibrationRow, CameraRow, ClipCounts, ClipKey, ClipWriter, Dataset, LateRow, LidarRow, SealInfo, SourceRange, WriterConfig,
};

pub(crate) fn grid() -> ClipGrid {
    ClipGrid::new(20 * NS_PER_S)
}

pub(crate) fn dataset(root: &Path) -> Dataset {
    Dataset::open_or_create(root, grid()).unwrap()
}

pub(crate) fn key(clip: i64) -> ClipKey {
    ClipKey { vehicle: Arc::from("car 7"), clip: ClipId(clip), grid: grid(), revision: 0 }
}

pub(crate) fn writer(dataset: &Dataset, clip: i64) -> ClipWriter {
    ClipWriter::create(dataset, key(clip), &WriterConfig::default()).unwrap()
}

pub(crate) fn taxonomy() -> Taxonomy {
    Taxonomy::from_toml(include_str!("../../../configs/taxonomy.toml")).unwrap()
}

pub(crate) fn source(offset: i64) -> SourcePosition {
    SourcePosition { topic: Arc::from("ad.lidar"), partition: 3, offset }
}

pub(crate) fn pose(shift: f64) -> Pose {
    pose_from_parts([691_000.25 + shift, 5_335_000.125, -3.5], [0.1, -0.2, 0.3, 0.9]).unwrap()
}

/// A sweep of a wavy plane; its values depend on `seed` alone.
pub(crate) fn lidar_row(seed: i64, points: usize) -> LidarRow {
    let at = |index: usize, step: f32| (index as f32).mul_add(step, seed as f32);
    let points = PointCloud {
        x: (0..points).map(|index| at(index, 0.01)).collect(),
        y: (0..points).map(|index| at(index, 0.013).sin()).collect(),
        z: (0..points).map(|index| at(index, 0.017).cos()).collect(),
        intensity: (0..points).map(|index| (index % 256) as f32).collect(),
        ring: Some((0..points).map(|index| (index % 64) as u16).collect()),
        time_offset_ns: Some((0..points).map(|index| index as i32 * 800).collect()),
    };
    LidarRow {
        sensor: Arc::from("top"),
        stamp_ns: seed,
        stamp_ref: StampRef::SweepMid,
        deskewed: true,
        points: Arc::new(points),
        source: source(seed),
    }
}

/// An image of bytes that do not compress.
pub(crate) fn camera_row(seed: i64, bytes: usize) -> CameraRow {
    let mut state = seed as u64 | 1;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(bytes)
    .collect();
    CameraRow {
        sensor: Arc::from("front"),
        stamp_ns: seed,
        stamp_ref: StampRef::ExposureMid,
        width_px: 640,
        height_px: 480,
        format: Arc::from("jpeg"),
        data: Bytes::from(data),
        source: source(seed),
    }
}

pub(crate) fn camera_model() -> CameraModel {
    CameraModel {
        fx_px: 718.5,
        fy_px: 718.25,
        cx_px: 320.0,
        cy_px: f64::NAN,
        distortion_model: Arc::from("plumb_bob"),
        distortion: vec![-0.1, 0.02, 0.0],
        width_px: 640,
        height_px: 480,
    }
}

pub(crate) fn calibrations() -> Vec<CalibrationRow> {
    let row = |sensor: &str, stamp_ns, ego_from_sensor, model| CalibrationRow {
        sensor: Arc::from(sensor),
        stamp_ns,
        ego_from_sensor,
        model,
    };
    let undistorted = CameraModel { distortion_model: Arc::from(""), distortion: Vec::new(), cy_px: 240.0, ..camera_model() };
    vec![
        row("top", 1, Some(pose(0.0)), None),
        row("front", 1, Some(pose(1.0)), Some(undistorted.clone())),
        row("rear", 2, None, Some(undistorted)),
        row("radar", 3, None, None),
        row("top", 4, Some(pose(2.0)), None),
    ]
}

pub(crate) fn samples() -> Vec<Sample> {
    let member = |sensor: &str, stamp_ns, residual_ns| SampleMember { sensor: Arc::from(sensor), stamp_ns, residual_ns };
    let full = Sample {
        sample_id: Arc::from("car 7:100"),
        stamp_ns: 100,
        members: vec![member("front", 90, -10), member("top", 100, 0)],
        missing: Vec::new(),
        reason: SampleReason::Matched,
    };
    let empty = Sample {
        sample_id: Arc::from("car 7:200"),
        stamp_ns: 200,
        members: Vec::new(),
        missing: vec![Arc::from("front"), Arc::from("räar")],
        reason: SampleReason::SensorIdle,
    };
    vec![
        full.clone(),
        empty,
        Sample { reason: SampleReason::ClipEnd, ..full.clone() },
        Sample { reason: SampleReason::Unmatched, ..full },
    ]
}

pub(crate) fn track_id(number: u32) -> TrackId {
    TrackId { clip: ClipId(7), number }
}

pub(crate) fn boxes() -> Vec<Box3> {
    let cuboid = |yaw| Cuboid::upright(Vector3::new(10.0, -2.0, 0.8), Vector3::new(4.5, 1.9, 1.6), yaw);
    let one = Box3 {
        sample_id: Arc::from("car 7:100"),
        sample_stamp_ns: 100,
        stamp_ns: 97,
        points_ns: [95, 99],
        measured_world_center_m: Vector3::new(3.5, -1.25, 0.75),
        track_id: track_id(1),
        class: taxonomy().find("car").unwrap(),
        score: 0.75,
        ego_from_box: cuboid(0.3),
        world_from_box: cuboid(0.3).transformed(&pose(0.0)),
        velocity_world_mps: [3.0, f64::NAN],
        num_lidar_pts: 420,
        predicted: false,
        source: LabelSource::Auto,
        evidence: r#"{"points":420}"#.to_owned(),
    };
    let other = Box3 {
        track_id: track_id(12_345),
        class: taxonomy().unknown(),
        ego_from_box: cuboid(-3.0),
        velocity_world_mps: [0.0, -1.5],
        predicted: true,
        source: LabelSource::Human,
        evidence: String::new(),
        ..one.clone()
    };
    vec![one, other]
}

pub(crate) fn tracks() -> Vec<Track> {
    vec![Track {
        track_id: track_id(1),
        class: taxonomy().find("car").unwrap(),
        score: 0.9,
        first_stamp_ns: 100,
        last_stamp_ns: 900,
        boxes: 9,
        is_static: true,
        size_lwh_m: [4.5, 1.9, 1.6],
        review_priority_s: 2.5,
    }]
}

pub(crate) fn findings() -> Vec<Finding> {
    let about_track = Finding {
        rule: "BW001",
        severity: Severity::Warning,
        stamp_ns: 100,
        track_id: Some(track_id(1)),
        sample_id: None,
        message: "expected at most 40 m/s, got 55".to_owned(),
        values: r#"{"speed_mps":55}"#.to_owned(),
    };
    let about_sample =
        Finding { severity: Severity::Error, track_id: None, sample_id: Some(Arc::from("car 7:100")), ..about_track.clone() };
    vec![about_track, about_sample]
}

pub(crate) fn late_row() -> LateRow {
    LateRow {
        sensor: Arc::from("front"),
        kind: SensorKind::Camera,
        stamp_ns: 5,
        stamp_ref: StampRef::Trigger,
        reason: Arc::from("behind_own_sensor"),
        source: source(9),
        schema: Arc::from("foxglove.CompressedImage"),
        encoding: Arc::from("protobuf"),
        payload: Bytes::from_static(b"\x00\xff\x01"),
    }
}

pub(crate) fn poses() -> Vec<StampedPose> {
    (0..5).map(|index| StampedPose { stamp_ns: index * 10, world_from_ego: pose(index as f64) }).collect()
}

/// Writes some rows into every table.
pub(crate) fn write_all(writer: &mut ClipWriter) {
    let taxonomy = taxonomy();
    for seed in 0..6 {
        writer.lidar(&lidar_row(seed, 500)).unwrap();
        writer.camera(&camera_row(seed, 2_000)).unwrap();
    }
    poses().iter().for_each(|row| writer.ego_pose(row).unwrap());
    calibrations().iter().for_each(|row| writer.calibration(row).unwrap());
    samples().iter().for_each(|row| writer.sample(row).unwrap());
    boxes().iter().for_each(|row| writer.box3(row, &taxonomy).unwrap());
    tracks().iter().for_each(|row| writer.track(row, &taxonomy).unwrap());
    findings().iter().for_each(|row| writer.finding(row).unwrap());
    writer.late(&late_row()).unwrap();
}

pub(crate) fn info() -> SealInfo {
    let range = |topic: &str, first_offset| {
        SourceRange::from_runs(topic, 3, vec![[first_offset, first_offset + 1], [first_offset + 3, 9]]).unwrap()
    };
    SealInfo {
        sources: vec![range("ad.lidar", 4), range("ad.camera", 2)],
        first_stamp_ns: Some(0),
        last_stamp_ns: Some(5),
        counts: ClipCounts {
            frames: 14,
            used: [("lidar".to_owned(), 6), ("camera".to_owned(), 6)].into(),
            samples: 4,
            dropped: [("duplicate".to_owned(), 1)].into(),
            late: 1,
            dead_lettered: 0,
        },
        idle_sensors: vec!["rear".to_owned(), "left".to_owned()],
        grade: "open".to_owned(),
        config_sha256: "ab".repeat(32),
        models: [("detector".to_owned(), "cd".repeat(32))].into(),
    }
}

/// Every file below a folder with its content, but for lock files.
pub(crate) fn tree(root: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with(".seal.lock") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}
