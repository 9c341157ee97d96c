//! A short street for tests: a parked car, a car that drives, and a vehicle that passes them; in memory, and as a dataset.

use std::path::Path;
use std::sync::Arc;

use boxwright_model::time::NS_PER_MS;
use boxwright_model::{
    Box3, ClipGrid, ClipId, Cuboid, Finding, LabelSource, PointCloud, Pose, Sample, SampleReason, SceneFrame, Taxonomy, Track,
    TrackId,
};
use boxwright_shard::{ClipCounts, ClipKey, ClipWriter, Dataset, ManifestEntry, SealInfo, WriterConfig};
use nalgebra::{Translation3, UnitQuaternion, Vector3};

use crate::canvas::{Canvas, CanvasFile, DrawError, Recording};
use crate::desk::{Desk, DeskSetup};
use crate::labels::{BoxState, Change, Labels, TrackState, Verdict};
use crate::operation::{Around, Surroundings};
use crate::people::{Grade, Person, Role};
use crate::scene::OpenScenes;
use crate::store::{ClipName, Place, PostgresDefaults, PostgresPlace, Store};

pub(crate) const SAMPLES: u32 = 12;
/// Numbers of the two tracks that the labeller found.
pub(crate) const PARKED: u32 = 1;
pub(crate) const DRIVING: u32 = 2;
/// Where a car stands that the labeller missed (world frame).
pub(crate) const MISSED_XY: [f64; 2] = [16.0, -7.0];
const STEP_NS: i64 = 100 * NS_PER_MS;
const FIRST_NS: i64 = 1_700_000_000_000_000_000;
const GRID_NS: i64 = 20_000_000_000;

pub(crate) fn taxonomy() -> Arc<Taxonomy> {
    Arc::new(Taxonomy::from_toml(include_str!("../../../configs/taxonomy.toml")).unwrap())
}

pub(crate) fn parked() -> Cuboid {
    Cuboid::upright(Vector3::new(14.0, 6.0, 0.75), Vector3::new(4.4, 1.8, 1.5), 0.1)
}

pub(crate) fn missed() -> Cuboid {
    Cuboid::upright(Vector3::new(MISSED_XY[0], MISSED_XY[1], 0.75), Vector3::new(4.4, 1.8, 1.5), -0.2)
}

pub(crate) fn driving(sample: u32) -> Cuboid {
    Cuboid::upright(Vector3::new(9.0 + 1.1 * f64::from(sample), -2.8, 0.75), Vector3::new(4.2, 1.8, 1.5), 0.0)
}

pub(crate) struct Street;

impl Surroundings for Street {
    fn samples(&self) -> u32 {
        SAMPLES
    }

    fn stamp_ns(&self, sample: u32) -> i64 {
        FIRST_NS + i64::from(sample) * STEP_NS
    }

    fn world_from_ego(&self, sample: u32) -> Pose {
        let turn = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), 0.02 * f64::from(sample));
        Pose::from_parts(Translation3::new(0.4 * f64::from(sample), 0.0, 0.0), turn)
    }

    fn points(&self, sample: u32) -> Result<Arc<Vec<[f32; 3]>>, Around> {
        let ego_from_world = self.world_from_ego(sample).inverse();
        let mut points = Vec::new();
        for ring in 0..45 {
            let range = 2.5 * 1.07f32.powi(ring);
            for step in 0..360 {
                let (sin, cos) = (step as f32).to_radians().sin_cos();
                points.push([range * cos, range * sin, 0.0]);
            }
        }
        for car in [parked(), missed(), driving(sample)] {
            seen_faces(&car.transformed(&ego_from_world), &mut points);
        }
        Ok(Arc::new(points))
    }
}

/// Points every ten centimetres on the upright faces that look at the lidar.
fn seen_faces(car: &Cuboid, points: &mut Vec<[f32; 3]>) {
    let half = car.size_lwh_m / 2.0;
    for (axis, along) in [(0, 1), (1, 0)] {
        for direction in [-1.0, 1.0] {
            let mut normal = Vector3::zeros();
            normal[axis] = direction;
            let middle = car.center_m + car.rotation * (normal * half[axis]);
            if (car.rotation * normal).dot(&middle) >= 0.0 {
                continue;
            }
            let steps = (half[along] / 0.05) as i32;
            for column in -steps..=steps {
                for row in 2..=14 {
                    let mut local = normal * half[axis];
                    local[along] = f64::from(column) * 0.05;
                    local.z = -half.z + f64::from(row) * 0.1;
                    let p = car.center_m + car.rotation * local;
                    points.push([p.x as f32, p.y as f32, p.z as f32]);
                }
            }
        }
    }
}

fn state(is_static: bool) -> TrackState {
    TrackState { class: "car".into(), score: 0.8, is_static, verdict: Verdict::Open, decided_by: None, error: None }
}

/// The labels of the two tracks that the labeller found, as they should be.
pub(crate) fn labels() -> Labels {
    let mut labels = Labels::default();
    for (track, is_static) in [(PARKED, true), (DRIVING, false)] {
        let mut changes = vec![Change::Track { track, before: None, after: Some(state(is_static)) }];
        for sample in 0..SAMPLES {
            let cuboid = if is_static { parked() } else { driving(sample) };
            changes.push(Change::Box { track, sample, before: None, after: Some(BoxState::new(&cuboid, 40)) });
        }
        labels.apply(&changes);
    }
    labels
}

pub(crate) fn name() -> ClipName {
    ClipName { vehicle: "car 7".to_owned(), clip: grid().clip_of(FIRST_NS).0 }
}

fn grid() -> ClipGrid {
    ClipGrid::new(GRID_NS)
}

/// Writes the street as revision 0 of a dataset.
pub(crate) fn dataset(root: &Path, grade: &str) -> Dataset {
    dataset_with(root, grade, &[])
}

/// The same with findings about it.
pub(crate) fn dataset_with(root: &Path, grade: &str, findings: &[Finding]) -> Dataset {
    let dataset = Dataset::open_or_create(root, grid()).unwrap();
    let key = ClipKey { vehicle: "car 7".into(), clip: ClipId(name().clip), grid: grid(), revision: 0 };
    let mut writer = ClipWriter::create(&dataset, key, &WriterConfig::default()).unwrap();
    let taxonomy = taxonomy();
    let class = taxonomy.find("car").unwrap();
    for sample in 0..SAMPLES {
        let stamp_ns = Street.stamp_ns(sample);
        let sample_id: Arc<str> = format!("car 7:{stamp_ns}").into();
        writer
            .sample(&Sample {
                sample_id: sample_id.clone(),
                stamp_ns,
                members: vec![],
                missing: vec![],
                reason: SampleReason::Matched,
            })
            .unwrap();
        for (number, track) in labels().tracks() {
            let world_from_box = track.boxes[&sample].cuboid();
            writer
                .box3(
                    &Box3 {
                        sample_id: sample_id.clone(),
                        sample_stamp_ns: stamp_ns,
                        stamp_ns: stamp_ns + 7,
                        points_ns: [stamp_ns, stamp_ns + 14],
                        measured_world_center_m: world_from_box.center_m,
                        track_id: TrackId { clip: ClipId(name().clip), number: *number },
                        class,
                        score: 0.8,
                        ego_from_box: world_from_box.transformed(&Street.world_from_ego(sample).inverse()),
                        world_from_box,
                        velocity_world_mps: [0.0; 2],
                        num_lidar_pts: 40,
                        predicted: false,
                        source: LabelSource::Auto,
                        evidence: "{\"detector\":\"geometric\"}".to_owned(),
                    },
                    &taxonomy,
                )
                .unwrap();
        }
    }
    for (number, track) in labels().tracks() {
        writer
            .track(
                &Track {
                    track_id: TrackId { clip: ClipId(name().clip), number: *number },
                    class,
                    score: 0.8,
                    first_stamp_ns: Street.stamp_ns(0),
                    last_stamp_ns: Street.stamp_ns(SAMPLES - 1),
                    boxes: SAMPLES,
                    is_static: track.state.is_static,
                    size_lwh_m: track.boxes[&0].size_lwh_m,
                    review_priority_s: 3.0,
                },
                &taxonomy,
            )
            .unwrap();
    }
    findings.iter().for_each(|finding| writer.finding(finding).unwrap());
    let counts = ClipCounts { samples: u64::from(SAMPLES), ..ClipCounts::default() };
    writer.seal(SealInfo { grade: grade.to_owned(), config_sha256: "00".to_owned(), counts, ..SealInfo::default() }).unwrap();
    dataset
}

/// Adds a clip of another vehicle: as many samples, and no labels.
pub(crate) fn second_clip(dataset: &Dataset) {
    let key = ClipKey { vehicle: "car 8".into(), clip: ClipId(name().clip), grid: grid(), revision: 0 };
    let mut writer = ClipWriter::create(dataset, key, &WriterConfig::default()).unwrap();
    for sample in 0..SAMPLES {
        let stamp_ns = Street.stamp_ns(sample);
        let sample_id = format!("car 8:{stamp_ns}").into();
        writer.sample(&Sample { sample_id, stamp_ns, members: vec![], missing: vec![], reason: SampleReason::Matched }).unwrap();
    }
    let counts = ClipCounts { samples: u64::from(SAMPLES), ..ClipCounts::default() };
    writer.seal(SealInfo { config_sha256: "00".to_owned(), counts, ..SealInfo::default() }).unwrap();
}

/// Opens the street's sweeps, whatever entry is asked for.
pub(crate) fn scenes() -> OpenScenes {
    Arc::new(|_: &ManifestEntry| {
        let frame = |sample: u32| {
            let points = Street.points(sample).unwrap();
            let column = |axis: usize| points.iter().map(|p| p[axis]).collect::<Vec<f32>>();
            let (x, y, z) = (column(0), column(1), column(2));
            let intensity = vec![0.5; x.len()];
            let cloud = PointCloud { x, y, z, intensity, ring: None, time_offset_ns: None };
            SceneFrame {
                index: i64::from(sample),
                stamp_ns: Street.stamp_ns(sample),
                world_from_ego: Some(Street.world_from_ego(sample)),
                points: Arc::new(cloud),
                ..SceneFrame::default()
            }
        };
        Ok(Box::new((0..SAMPLES).map(move |sample| Ok(frame(sample)))))
    })
}

/// A desk on a dataset and a database in a folder; what is there is used again.
pub(crate) fn desk(root: &Path, grade: &str) -> Desk {
    let folder = root.join("dataset");
    let dataset = if folder.exists() { Dataset::open(&folder).unwrap() } else { dataset(&folder, grade) };
    Desk::open(setup(dataset, store(root))).unwrap()
}

/// The PostgreSQL that the tests are to use instead of SQLite, where `BOXWRIGHT_TEST_POSTGRES` names one (`bash tests/postgres run`).
pub(crate) fn postgres() -> Option<String> {
    std::env::vars_os().find(|(name, _)| name == "BOXWRIGHT_TEST_POSTGRES").map(|(_, url)| url.into_string().unwrap())
}

/// Where the database of a folder is: a file in it, or a schema of its own in the PostgreSQL of the tests.
pub(crate) fn place(root: &Path) -> Place {
    let Some(url) = postgres() else { return Place::from(&*root.join("review.sqlite")) };
    let schema = format!("t{}", &crate::secret::hash(&root.display().to_string())[..16]);
    let mut client = ::postgres::Client::connect(&url, ::postgres::NoTls).unwrap();
    client.batch_execute(&format!("create schema if not exists {schema}")).unwrap();
    let url = format!("{url}?options=-csearch_path%3D{schema}");
    Place::Postgres(PostgresPlace::parse(&url, &PostgresDefaults::default()).unwrap())
}

/// The database of a folder; what is there is used again.
pub(crate) fn store(root: &Path) -> Store {
    Store::open(&place(root)).unwrap()
}

/// What a desk of the street is made of.
pub(crate) fn setup(dataset: Dataset, store: Store) -> DeskSetup {
    let (taxonomy, scenes) = (taxonomy(), scenes());
    DeskSetup {
        dataset,
        taxonomy,
        store,
        scenes,
        lease_ms: 60_000,
        spool_bytes: crate::SPOOL_BYTES,
        canvas: Some(Arc::new(Words)),
        oidc: None,
    }
}

/// A viewer's encoder that writes what it was given in words.
struct Words;

impl Canvas for Words {
    fn files(&self) -> Vec<CanvasFile> {
        let content = bytes::Bytes::from_static(b"viewer");
        vec![CanvasFile { path: "/re_viewer.js", kind: "text/javascript", content, version: "1".to_owned() }]
    }

    fn recording(&self, name: &str) -> Box<dyn Recording> {
        Box::new(WordsRecording(name.to_owned()))
    }

    fn boxes(&self, name: &str, frames: &[SceneFrame]) -> Result<Vec<u8>, DrawError> {
        let count = |frame: &SceneFrame| format!("{}:{}", frame.index, frame.boxes.len());
        Ok(format!("{name} {}", frames.iter().map(count).collect::<Vec<_>>().join(" ")).into_bytes())
    }

    fn focus(&self, name: &str, frame: &SceneFrame) -> Result<Vec<u8>, DrawError> {
        Ok(format!("{name} {:?}", frame.boxes.first().map(|one| one.track_id.number)).into_bytes())
    }
}

struct WordsRecording(String);

impl Recording for WordsRecording {
    fn frame(&mut self, frame: &SceneFrame) -> Result<Vec<u8>, DrawError> {
        Ok(format!("{} {} {};", self.0, frame.index, frame.points.len()).into_bytes())
    }

    fn finish(&mut self) -> Result<Vec<u8>, DrawError> {
        Ok(b"end".to_vec())
    }
}

pub(crate) fn person(name: &str, role: Role) -> Person {
    Person { name: name.to_owned(), role, clearance: Grade::General }
}
