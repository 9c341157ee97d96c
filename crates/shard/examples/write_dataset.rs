//! Writes a dataset of invented rows and says how fast: `write_dataset FOLDER [SWEEPS] [ZSTD_LEVEL] [KITTI_VELODYNE_FOLDER]`.
//!
//! Every table and every odd value is in it (empty lists, nulls, NaN, names that need escaping), so that the check of the readers in
//! `tests/python/check_shards.py` has something to compare. With a folder of KITTI `.bin` files the points are real and only the times are
//! invented.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boxwright_model::space::pose_from_parts;
use boxwright_model::time::NS_PER_S;
use boxwright_model::{
    Box3, CameraModel, ClipGrid, ClipId, Cuboid, Finding, LabelSource, PointCloud, Sample, SampleMember, SampleReason, SensorKind,
    Severity, SourcePosition, StampRef, StampedPose, Taxonomy, Track, TrackId,
};
use boxwright_shard::{
    CalibrationRow, CameraRow, ClipKey, ClipReader, ClipWriter, Dataset, LateRow, LidarRow, SealInfo, SealOutcome, WriterConfig,
};
use bytes::Bytes;
use nalgebra::Vector3;

type Failure = Box<dyn std::error::Error>;

const POINTS: usize = 120_000;
const START_NS: i64 = 1_700_000_000 * NS_PER_S;
const PERIOD_NS: i64 = NS_PER_S / 10;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = arguments.first() else {
        return Err("usage: write_dataset FOLDER [SWEEPS] [ZSTD_LEVEL] [KITTI_VELODYNE_FOLDER]".into());
    };
    let sweeps: i64 = arguments.get(1).map_or(Ok(20), |text| text.parse())?;
    let zstd_level = arguments.get(2).map_or(Ok(3), |text| text.parse())?;
    let config = WriterConfig { zstd_level, ..WriterConfig::default() };
    let grid = ClipGrid::new(20 * NS_PER_S);
    let dataset = Dataset::open_or_create(Path::new(folder), grid)?;
    let clouds = clouds(arguments.get(3).map(Path::new))?;
    let taxonomy = Taxonomy::from_toml(include_str!("../../../configs/taxonomy.toml"))?;

    for (vehicle, first) in [("car 7/車=%", 0), ("plain", 0), ("plain", 200)] {
        let stamp_ns = START_NS + first * PERIOD_NS;
        let clip = grid.clip_of(stamp_ns);
        if dataset.sealed_clips(vehicle)?.contains(&clip) {
            continue;
        }
        let key = ClipKey { vehicle: Arc::from(vehicle), clip, grid, revision: 0 };
        let mut writer = ClipWriter::create(&dataset, key, &config)?;
        let (lidar, camera) = frames(&mut writer, &clouds, first, sweeps)?;
        labels(&mut writer, clip, stamp_ns, vehicle, &taxonomy)?;
        let begun = Instant::now();
        let info = SealInfo { grade: "open".to_owned(), config_sha256: "00".repeat(32), ..SealInfo::default() };
        let (SealOutcome::Sealed(entry) | SealOutcome::AlreadySealed(entry)) = writer.seal(info)?;
        let sealed = begun.elapsed();
        report("lidar", lidar, sweeps, &entry, boxwright_shard::Table::Lidar);
        report("camera", camera, sweeps, &entry, boxwright_shard::Table::Camera);
        let begun = Instant::now();
        let rows = ClipReader::open(&dataset, &entry)?.lidar()?.collect::<Result<Vec<_>, _>>()?.len();
        println!("seal {:.1} ms, read back {:.2} ms/sweep", ms(sealed), ms(begun.elapsed()) / rows as f64);
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn report(
    name: &str,
    (time, raw): (Duration, usize),
    rows: i64,
    entry: &boxwright_shard::ManifestEntry,
    table: boxwright_shard::Table,
) {
    let bytes = entry.file(table).map_or(0, |file| file.bytes) as f64;
    println!(
        "{name}: {rows} rows, {:.2} ms/row, {:.3} MB/row stored of {:.3} MB, ratio {:.2}",
        ms(time) / rows as f64,
        bytes / rows as f64 / 1e6,
        raw as f64 / rows as f64 / 1e6,
        raw as f64 / bytes
    );
}

/// Sweeps to draw from: real ones, or a rotating scan of a bumpy ground with walls.
fn clouds(kitti: Option<&Path>) -> Result<Vec<Arc<PointCloud>>, Failure> {
    let Some(folder) = kitti else { return Ok((0..4).map(|seed| Arc::new(scan(seed))).collect()) };
    let mut files: Vec<_> = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    files.iter().take(20).map(|file| Ok(Arc::new(kitti_points(&std::fs::read(file)?)))).collect()
}

fn kitti_points(bytes: &[u8]) -> PointCloud {
    let mut cloud = PointCloud::default();
    for point in bytes.chunks_exact(16) {
        let value = |at: usize| point.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0.0, f32::from_le_bytes);
        cloud.x.push(value(0));
        cloud.y.push(value(4));
        cloud.z.push(value(8));
        cloud.intensity.push(value(12));
    }
    with_times(cloud)
}

fn scan(seed: u32) -> PointCloud {
    let mut cloud = PointCloud::default();
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    for index in 0..POINTS {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let noise = (state >> 8) as f32 / 16_777_216.0 * 0.04 - 0.02;
        let azimuth = (index / 64) as f32 / (POINTS / 64) as f32 * std::f32::consts::TAU;
        let elevation = (index % 64) as f32 / 64.0 * 0.45 - 0.42;
        let range = (1.8 / (-elevation).max(0.02)).min(12.0 + 40.0 * (azimuth * 3.0).sin().abs()) + noise;
        cloud.x.push(range * elevation.cos() * azimuth.cos());
        cloud.y.push(range * elevation.cos() * azimuth.sin());
        cloud.z.push(range * elevation.sin() + 1.8);
        cloud.intensity.push((state % 100) as f32);
    }
    with_times(cloud)
}

fn with_times(mut cloud: PointCloud) -> PointCloud {
    let points = cloud.len();
    cloud.ring = Some((0..points).map(|index| (index % 64) as u16).collect());
    cloud.time_offset_ns = Some((0..points).map(|index| (index / 64) as i32 * 53_333 - 50_000_000).collect());
    cloud
}

fn frames(
    writer: &mut ClipWriter,
    clouds: &[Arc<PointCloud>],
    first: i64,
    count: i64,
) -> Result<((Duration, usize), (Duration, usize)), Failure> {
    let image: Bytes = (0..600_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into();
    let (mut lidar, mut camera) = ((Duration::ZERO, 0), (Duration::ZERO, 0));
    for (index, cloud) in (0..count).zip(clouds.iter().cycle()) {
        let stamp_ns = START_NS + (first + index) * PERIOD_NS;
        let source = SourcePosition { topic: Arc::from("ad.lidar"), partition: 1, offset: first + index };
        let row = LidarRow {
            sensor: Arc::from("top"),
            stamp_ns,
            stamp_ref: StampRef::SweepMid,
            deskewed: true,
            points: cloud.clone(),
            source: source.clone(),
        };
        lidar.1 += cloud.len() * 22;
        lidar.0 += timed(|| writer.lidar(&row))?;
        let row = CameraRow {
            sensor: Arc::from("front"),
            stamp_ns: stamp_ns - 7_000_000,
            stamp_ref: StampRef::Trigger,
            width_px: 1242,
            height_px: 375,
            format: Arc::from("jpeg"),
            data: image.clone(),
            source,
        };
        camera.1 += image.len();
        camera.0 += timed(|| writer.camera(&row))?;
    }
    Ok((lidar, camera))
}

fn timed<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Duration, E> {
    let begun = Instant::now();
    work().map(|()| begun.elapsed())
}

/// Odd values in every table.
fn labels(writer: &mut ClipWriter, clip: ClipId, stamp_ns: i64, vehicle: &str, taxonomy: &Taxonomy) -> Result<(), Failure> {
    let bare = PointCloud {
        x: vec![f32::NAN, -0.0],
        y: vec![1.5; 2],
        z: vec![f32::INFINITY, 2.0],
        intensity: vec![0.0; 2],
        ..PointCloud::default()
    };
    let source = SourcePosition { topic: Arc::from("ad.lidar"), partition: 2, offset: i64::MAX };
    for points in [bare, PointCloud::default()] {
        writer.lidar(&LidarRow {
            sensor: Arc::from("räar"),
            stamp_ns,
            stamp_ref: StampRef::Instant,
            deskewed: false,
            points: Arc::new(points),
            source: source.clone(),
        })?;
    }
    let pose = pose_from_parts([691_000.25, 5_335_000.125, 400.5], [0.01, -0.02, 0.7, 0.7]).ok_or("no pose")?;
    writer.ego_pose(&StampedPose { stamp_ns, world_from_ego: pose })?;
    let model = CameraModel {
        fx_px: 721.5,
        fy_px: 721.5,
        cx_px: 609.5,
        cy_px: 172.75,
        distortion_model: Arc::from(""),
        distortion: Vec::new(),
        width_px: 1242,
        height_px: 375,
    };
    let known = [("top", Some(pose), None), ("front", Some(pose), Some(model)), ("radar", None, None)];
    for (sensor, ego_from_sensor, model) in known {
        writer.calibration(&CalibrationRow { sensor: Arc::from(sensor), stamp_ns, ego_from_sensor, model })?;
    }
    let sample_id: Arc<str> = format!("{vehicle}:{stamp_ns}").into();
    let member = SampleMember { sensor: Arc::from("top"), stamp_ns, residual_ns: 0 };
    for (members, missing) in [(vec![member], vec![Arc::from("front"), Arc::from("räar")]), (Vec::new(), Vec::new())] {
        writer.sample(&Sample { sample_id: sample_id.clone(), stamp_ns, members, missing, reason: SampleReason::ClipEnd })?;
    }
    let track_id = TrackId { clip, number: 1 };
    let ego_from_box = Cuboid::upright(Vector3::new(12.0, 3.0, 0.8), Vector3::new(4.4, 1.8, 1.5), 0.4);
    for class in taxonomy.classes().iter().filter_map(|class| taxonomy.find(&class.name)) {
        let row = Box3 {
            sample_id: sample_id.clone(),
            sample_stamp_ns: stamp_ns,
            stamp_ns: stamp_ns - 3_000_000,
            points_ns: [stamp_ns - 4_000_000, stamp_ns - 2_000_000],
            measured_world_center_m: Vector3::new(-0.0, 1e-300, 7.5),
            track_id,
            class,
            score: 0.5,
            ego_from_box,
            world_from_box: ego_from_box.transformed(&pose),
            velocity_world_mps: [f64::NAN, -0.0],
            num_lidar_pts: 77,
            predicted: false,
            source: LabelSource::Auto,
            evidence: r#"{"note":"ünïcode"}"#.to_owned(),
        };
        writer.box3(&row, taxonomy)?;
    }
    let track = Track {
        track_id,
        class: taxonomy.unknown(),
        score: 0.5,
        first_stamp_ns: stamp_ns,
        last_stamp_ns: stamp_ns,
        boxes: 1,
        is_static: false,
        size_lwh_m: [4.4, 1.8, 1.5],
        review_priority_s: 3.5,
    };
    writer.track(&track, taxonomy)?;
    for (track_id, sample_id) in [(Some(track_id), None), (None, Some(sample_id))] {
        let (message, values) = ("expected a, got b".to_owned(), "{}".to_owned());
        writer.finding(&Finding { rule: "BW001", severity: Severity::Info, stamp_ns, track_id, sample_id, message, values })?;
    }
    writer.late(&LateRow {
        sensor: Arc::from("front"),
        kind: SensorKind::Camera,
        stamp_ns,
        stamp_ref: StampRef::Trigger,
        reason: Arc::from("behind_own_sensor"),
        source,
        schema: Arc::from("foxglove.CompressedImage"),
        encoding: Arc::from("protobuf"),
        payload: Bytes::from_static(b"\x00\xff\x80"),
    })?;
    Ok(())
}
