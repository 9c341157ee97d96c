//! What `boxwright-shard` promises for any bytes in a dataset: marker, manifest entries and Parquet files.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use boxwright_model::space::pose_from_parts;
use boxwright_model::time::NS_PER_S;
use boxwright_model::{
    Box3, CameraModel, ClipGrid, ClipId, Cuboid, Finding, LabelSource, PointCloud, Pose, Sample, SampleMember, SampleReason,
    SensorKind, Severity, SourcePosition, StampRef, StampedPose, Taxonomy, Track, TrackId,
};
use boxwright_shard::{
    CalibrationRow, CameraRow, ClipKey, ClipReader, ClipWriter, Dataset, LateRow, LidarRow, ManifestEntry, SealInfo, SealOutcome,
    ShardError, Table, WriterConfig, name,
};
use bytes::Bytes;
use nalgebra::Vector3;

use super::input::{Input, damage};

/// Longest text of an error, as in `source`.
const MAX_ERROR_BYTES: usize = 8 << 10;
/// What reading one damaged clip may reserve. The Parquet library reserves what a page says that it has, which is up to 2 GiB, before it
/// looks; it does not touch it, so that `-rss_limit_mb` still bounds what is used. More than that the system might refuse.
const CLIP_BYTES: usize = 4 << 30;
/// What reading one entry may hold, beside [`ENTRY_MULTIPLE`].
const ENTRY_BYTES: usize = 256 << 10;
/// Bytes per byte of an entry: `{},` stands for a structure of a hundred, in vectors that double.
const ENTRY_MULTIPLE: usize = 256;

const VEHICLE: &str = "car 7";
const CLIP: ClipId = ClipId(7);

fn check_error(error: &impl Display) {
    let text = error.to_string();
    assert!(!text.trim().is_empty(), "an error without a word");
    assert!(text.len() <= MAX_ERROR_BYTES, "an error of {} bytes: {:.200}", text.len(), text);
}

fn taxonomy() -> &'static Taxonomy {
    static TAXONOMY: OnceLock<Taxonomy> = OnceLock::new();
    TAXONOMY.get_or_init(|| Taxonomy::from_toml(include_str!("../../../configs/taxonomy.toml")).expect("the shipped taxonomy"))
}

/// A sealed clip on disk, and the bytes of each of its files.
struct Sealed {
    dataset: Dataset,
    entry: ManifestEntry,
    files: Vec<Vec<u8>>,
}

/// Two datasets of the same rows: one for entries and one for shards, so that neither sees what the other has damaged.
fn sealed(which: usize) -> &'static Sealed {
    static SEALED: OnceLock<[Sealed; 2]> = OnceLock::new();
    &SEALED.get_or_init(|| ["manifest", "shard"].map(seal))[which]
}

fn seal(purpose: &str) -> Sealed {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    // Kept for the life of the process: a fuzzer ends without dropping anything.
    let root = tempfile::Builder::new().prefix(&format!("boxwright-fuzz-{purpose}-")).tempdir_in(parent).expect("a folder").keep();
    let grid = ClipGrid::new(20 * NS_PER_S);
    let dataset = Dataset::open_or_create(&root, grid).expect("a dataset");
    let key = ClipKey { vehicle: VEHICLE.into(), clip: CLIP, grid, revision: 0 };
    let mut writer = ClipWriter::create(&dataset, key, &WriterConfig::default()).expect("a writer");
    write_rows(&mut writer).expect("rows of every table");
    let info = SealInfo { grade: "open".to_owned(), config_sha256: "ab".repeat(32), ..SealInfo::default() };
    let (SealOutcome::Sealed(entry) | SealOutcome::AlreadySealed(entry)) = writer.seal(info).expect("a clip");
    let files = entry.files.iter().map(|file| fs::read(root.join(&file.path)).expect("a file")).collect();
    Sealed { dataset, entry: *entry, files }
}

fn pose(shift: f64) -> Pose {
    pose_from_parts([691_000.25 + shift, 5_335_000.125, -3.5], [0.1, -0.2, 0.3, 0.9]).expect("a pose")
}

fn source(offset: i64) -> SourcePosition {
    SourcePosition { topic: "ad.lidar".into(), partition: 3, offset }
}

fn lidar(stamp_ns: i64, points: usize) -> LidarRow {
    let column = |step: f32| (0..points).map(|index| (index as f32 * step).sin()).collect::<Vec<_>>();
    let points = PointCloud {
        x: column(0.1),
        y: column(0.2),
        z: column(0.3),
        intensity: vec![0.5; points],
        ring: Some((0..points).map(|index| (index % 16) as u16).collect()),
        time_offset_ns: Some((0..points).map(|index| index as i32 * 800).collect()),
    };
    let (sensor, points) = ("top".into(), Arc::new(points));
    LidarRow { sensor, stamp_ns, stamp_ref: StampRef::SweepMid, deskewed: true, points, source: source(stamp_ns) }
}

fn write_rows(writer: &mut ClipWriter) -> Result<(), ShardError> {
    let track_id = TrackId { clip: CLIP, number: 1 };
    let class = taxonomy().unknown();
    for stamp_ns in 0..6 {
        writer.lidar(&lidar(stamp_ns, 24 * stamp_ns as usize))?;
        writer.camera(&CameraRow {
            sensor: "front".into(),
            stamp_ns,
            stamp_ref: StampRef::ExposureMid,
            width_px: 640,
            height_px: 480,
            format: "jpeg".into(),
            data: vec![stamp_ns as u8; 40].into(),
            source: source(stamp_ns),
        })?;
        writer.ego_pose(&StampedPose { stamp_ns, world_from_ego: pose(stamp_ns as f64) })?;
    }
    let (distortion_model, distortion) = ("plumb_bob".into(), vec![-0.1, 0.02, 0.0]);
    let model = CameraModel {
        fx_px: 718.5,
        fy_px: 718.25,
        cx_px: 320.0,
        cy_px: 240.0,
        distortion_model,
        distortion,
        width_px: 640,
        height_px: 480,
    };
    for (sensor, ego_from_sensor, model) in
        [("top", Some(pose(0.0)), None), ("front", Some(pose(1.0)), Some(model.clone())), ("rear", None, Some(model))]
    {
        writer.calibration(&CalibrationRow { sensor: sensor.into(), stamp_ns: 1, ego_from_sensor, model })?;
    }
    for (stamp_ns, missing) in [(100, vec![]), (200, vec![Arc::from("rear"), Arc::from("räar")])] {
        let members = vec![
            SampleMember { sensor: "front".into(), stamp_ns: stamp_ns - 10, residual_ns: -10 },
            SampleMember { sensor: "top".into(), stamp_ns, residual_ns: 0 },
        ];
        let sample_id = format!("{VEHICLE}:{stamp_ns}").into();
        writer.sample(&Sample { sample_id, stamp_ns, members, missing, reason: SampleReason::Matched })?;
        let cuboid = Cuboid::upright(Vector3::new(10.0, -2.0, 0.8), Vector3::new(4.5, 1.9, 1.6), 0.3);
        let label = Box3 {
            sample_id: format!("{VEHICLE}:{stamp_ns}").into(),
            sample_stamp_ns: stamp_ns,
            stamp_ns,
            points_ns: [stamp_ns; 2],
            measured_world_center_m: cuboid.center_m,
            track_id,
            class,
            score: 0.75,
            ego_from_box: cuboid,
            world_from_box: cuboid.transformed(&pose(0.0)),
            velocity_world_mps: [3.0, f64::NAN],
            num_lidar_pts: 420,
            predicted: false,
            source: LabelSource::Auto,
            evidence: r#"{"points":420}"#.to_owned(),
        };
        writer.box3(&label, taxonomy())?;
    }
    let track = Track {
        track_id,
        class,
        score: 0.9,
        first_stamp_ns: 100,
        last_stamp_ns: 900,
        boxes: 9,
        is_static: true,
        size_lwh_m: [4.5, 1.9, 1.6],
        review_priority_s: 2.5,
    };
    writer.track(&track, taxonomy())?;
    writer.finding(&Finding {
        rule: "BW001",
        severity: Severity::Warning,
        stamp_ns: 100,
        track_id: Some(track_id),
        sample_id: None,
        message: "expected at most 40 m/s, got 55".to_owned(),
        values: r#"{"speed_mps":55}"#.to_owned(),
    })?;
    writer.late(&LateRow {
        sensor: "front".into(),
        kind: SensorKind::Camera,
        stamp_ns: 5,
        stamp_ref: StampRef::Trigger,
        reason: "behind_own_sensor".into(),
        source: source(9),
        schema: "foxglove.CompressedImage".into(),
        encoding: "protobuf".into(),
        payload: Bytes::from_static(b"\x00\xff\x01"),
    })
}

/// A shard with damage: the first byte chooses the table, the rest damages the file that our writer has made.
pub fn clip(data: &[u8]) {
    let Some((which, steps)) = data.split_first() else { return };
    let Sealed { dataset, entry, files } = sealed(1);
    let which = usize::from(*which) % files.len();
    let mut bytes = files[which].clone();
    damage(&mut bytes, Input(steps));
    let mut entry = entry.clone();
    let file = &mut entry.files[which];
    file.bytes = bytes.len() as u64;
    let path = dataset.root().join(&file.path);
    fs::write(&path, &bytes).expect("a file");
    let (table, rows) = (file.table, file.rows);
    let read = crate::within(CLIP_BYTES, || {
        let read = ClipReader::open(dataset, &entry).and_then(|reader| read_table(&reader, table));
        if let Err(error) = &read {
            check_error(error);
        }
        read
    });
    if let Ok(read) = read {
        assert_eq!(read, rows, "{table}: other rows than the manifest says, and no error");
    }
    fs::write(&path, &files[which]).expect("the file as it was");
}

/// Reads all rows of a table, checks them, and counts them.
fn read_table(reader: &ClipReader, table: Table) -> Result<u64, ShardError> {
    let count = match table {
        Table::Lidar => reader.lidar()?.map(|row| row.map(|row| check_points(&row.points))).collect::<Result<Vec<_>, _>>()?.len(),
        Table::Camera => reader.camera()?.collect::<Result<Vec<_>, _>>()?.len(),
        Table::Late => reader.late()?.collect::<Result<Vec<_>, _>>()?.len(),
        Table::EgoPose => each(reader.ego_poses()?, |row| check_pose(&row.world_from_ego)),
        Table::Calibration => each(reader.calibrations()?, |row| row.ego_from_sensor.iter().for_each(check_pose)),
        Table::Sample => each(reader.samples()?, |_| {}),
        Table::Box3 => each(reader.boxes(taxonomy())?, |row| {
            check_pose(&row.ego_from_box.pose());
            check_pose(&row.world_from_box.pose());
            assert!(usize::from(row.class.0) < taxonomy().classes().len());
        }),
        Table::Track => each(reader.tracks(taxonomy())?, |row| assert!(usize::from(row.class.0) < taxonomy().classes().len())),
        Table::Finding => reader.findings()?.len(),
    };
    Ok(count as u64)
}

fn each<T>(rows: Vec<T>, check: impl Fn(&T)) -> usize {
    rows.iter().for_each(check);
    rows.len()
}

fn check_points(points: &PointCloud) {
    let count = points.len();
    assert_eq!([points.y.len(), points.z.len(), points.intensity.len()], [count; 3]);
    assert!(points.ring.as_ref().is_none_or(|ring| ring.len() == count));
    assert!(points.time_offset_ns.as_ref().is_none_or(|times| times.len() == count));
}

fn check_pose(pose: &Pose) {
    assert!(pose.translation.vector.iter().all(|value| value.is_finite()), "{pose}");
    assert!((pose.rotation.norm() - 1.0).abs() < 1e-9, "{pose}");
}

/// A manifest entry (first byte even), a marker (1 of 4), or the name of a vehicle (3 of 4).
pub fn manifest(data: &[u8]) {
    let Some((which, content)) = data.split_first() else { return };
    match which % 4 {
        1 => marker(content),
        3 => vehicle(content),
        _ => entry(content),
    }
}

/// The entry of the clip that is damaged here.
pub fn entry_json() -> Vec<u8> {
    serde_json::to_vec_pretty(&sealed(0).entry).expect("JSON")
}

/// An entry with one of everything and little of it: where the fuzzer changes a byte, it changes a meaning.
pub fn little_entry_json() -> Vec<u8> {
    let mut entry = sealed(0).entry.clone();
    entry.files.truncate(2);
    entry.rows = [(Table::Lidar, 6)].into();
    entry.sources = vec![boxwright_shard::SourceRange {
        topic: "ad.lidar".to_owned(),
        partition: 3,
        first_offset: 4,
        last_offset: 9,
        count: 6,
        runs: vec![[4, 9]],
    }];
    entry.previous = Some(boxwright_shard::PreviousEntry { clip: ClipId(6), revision: 0, sha256: "ef".to_owned() });
    entry.models = [("detector".to_owned(), "cd".to_owned())].into();
    entry.config_sha256 = "ab".to_owned();
    entry.idle_sensors = vec!["rear".to_owned()];
    serde_json::to_vec(&entry).expect("JSON")
}

/// Parsed, printed and parsed again it is the same, and its files are in the dataset.
fn entry(json: &[u8]) {
    let Some(entry) = parsed(json) else { return };
    let printed = serde_json::to_vec_pretty(&entry).expect("JSON");
    let again = parsed(&printed).expect("an entry that was printed");
    assert_eq!(entry, again);
    assert_eq!(serde_json::to_vec_pretty(&again).expect("JSON"), printed);
    assert!(entry.bytes() >= entry.files.iter().map(|file| file.bytes).max().unwrap_or(0));
    let root = sealed(0).dataset.root();
    for file in &entry.files {
        let path: PathBuf = root.join(&file.path);
        assert!(path.starts_with(root) && !path.components().any(|part| part.as_os_str() == ".."), "{path:?}");
    }
    // An entry that lies about its files costs an error.
    let read = ClipReader::open(&sealed(0).dataset, &entry).and_then(|reader| {
        reader.verify()?;
        Table::ALL.into_iter().try_for_each(|table| read_table(&reader, table).map(|_| ()))
    });
    if let Err(error) = read {
        check_error(&error);
    }
}

fn parsed(json: &[u8]) -> Option<ManifestEntry> {
    let dataset = &sealed(0).dataset;
    let folder = dataset.root().join("manifest").join(format!("vehicle={}", name::escape("vehicle", VEHICLE).expect("a name")));
    fs::write(folder.join(format!("{CLIP}-r0.json")), json).expect("a file");
    crate::within(ENTRY_BYTES + ENTRY_MULTIPLE * json.len(), || match dataset.entry(VEHICLE, CLIP, 0) {
        Ok(entry) => {
            let entry = entry.expect("the entry that was just written");
            assert_eq!((&*entry.vehicle, entry.clip, entry.revision), (VEHICLE, CLIP, 0));
            Some(entry)
        }
        Err(error) => {
            check_error(&error);
            None
        }
    })
}

fn marker(json: &[u8]) {
    let root = sealed(0).dataset.root().join(".marker");
    fs::create_dir_all(&root).expect("a folder");
    fs::write(root.join("dataset.json"), json).expect("a file");
    crate::within(ENTRY_BYTES + ENTRY_MULTIPLE * json.len(), || match Dataset::open(&root) {
        Ok(dataset) => {
            assert!(dataset.grid().length_ns() >= NS_PER_S / 1000);
            assert!(dataset.grid().start_ns(ClipId(i64::MAX)) <= dataset.grid().end_ns(ClipId(i64::MAX)));
            assert_eq!(dataset.entries().expect("no entries"), []);
        }
        Err(error) => check_error(&error),
    });
}

/// A name that is accepted is one part of a path and comes back; a folder that is taken for ours is the one we would make.
fn vehicle(name: &[u8]) {
    let Ok(name) = std::str::from_utf8(name) else { return };
    match name::escape("vehicle", name) {
        Ok(escaped) => {
            assert!(escaped.len() <= name::MAX_ESCAPED_BYTES && !escaped.contains('/') && escaped != ".." && escaped != ".");
            assert_eq!(name::unescape(&escaped).as_deref(), Some(name));
        }
        Err(error) => check_error(&error),
    }
    if let Some(unescaped) = name::unescape(name) {
        assert_eq!(name::escape("vehicle", &unescaped).expect("a name"), name);
    }
}
