//! `cargo bench`: what a sweep of 120,000 points costs, stage by stage and end to end. Every figure is for one thread unless its name says
//! otherwise.
#![expect(missing_docs, reason = "criterion's macros make public functions")]
#![expect(clippy::unwrap_used, reason = "a bench without its input cannot go on")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use boxwright_benches::{sweep, taxonomy};
use boxwright_label::carry::Carried;
use boxwright_label::clean::{CleanConfig, clean};
use boxwright_label::cluster::{ClusterConfig, cluster};
use boxwright_label::detect::{DetectConfig, detect};
use boxwright_label::fit::{FitConfig, fit_box};
use boxwright_label::ground::{GroundConfig, segment};
use boxwright_label::horizon::Horizon;
use boxwright_label::moments::Moments;
use boxwright_label::track::{TrackConfig, Tracker};
use boxwright_label::{ClipLabeler, LabelConfig, SweepInput};
use boxwright_model::{ClipId, PointCloud, Pose, SensorKind, StampedPose};
use boxwright_pipeline::{Config, RunJob, run};
use boxwright_shard::{ClipKey, ClipWriter, Dataset, LidarRow, WriterConfig};
use boxwright_source::recording::RecordingSource;
use boxwright_source::synthetic::{SyntheticConfig, SyntheticDrive};
use boxwright_source::{OutgoingMessage, Recording, RecordingError};
use boxwright_timesync::approximate::{ApproximateConfig, ApproximateTime};
use boxwright_timesync::{Arrival, MotionConfig, OrderConfig, Policy, PoseTrack, Stamped, VehicleOrder, deskew};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Where the bench sweep's lidar sits (metres above the road).
const ORIGIN: [f64; 3] = [0.0, 0.0, 1.9];

fn sync(c: &mut Criterion) {
    let mut group = c.benchmark_group("sync");
    // A lidar and three cameras at 10 Hz, with a jitter that repeats.
    let messages: Vec<(usize, i64)> =
        (0..10_000).map(|n: i64| ((n % 4) as usize, n / 4 * 100_000_000 + (n * 7919) % 9_000_000)).collect();
    group.throughput(Throughput::Elements(messages.len() as u64));
    group.bench_function("approximate_time", |b| {
        b.iter(|| {
            let config = ApproximateConfig {
                topics: 4,
                queue_size: 32,
                age_penalty: 0.1,
                max_interval_ns: None,
                lower_bounds_ns: Vec::new(),
            };
            let mut sync = ApproximateTime::new(&config).unwrap();
            let mut out = Vec::new();
            for (token, (topic, stamp_ns)) in messages.iter().enumerate() {
                sync.push(*topic, Stamped::new(*stamp_ns, token as u64), &mut out);
            }
            black_box(out.len())
        });
    });
    let names: [Arc<str>; 4] = ["lidar", "left", "front", "right"].map(Arc::from);
    group.bench_function("canonical_order", |b| {
        b.iter(|| {
            let mut order = VehicleOrder::new(&OrderConfig::default(), boxwright_model::ClipGrid::new(20_000_000_000));
            order.add_partition(0);
            let mut out = Vec::new();
            for (token, (topic, stamp_ns)) in messages.iter().enumerate() {
                let kind = if *topic == 0 { SensorKind::Lidar } else { SensorKind::Camera };
                let sensor = names[*topic].clone();
                order.push(Arrival { partition: 0, kind, sensor, stamp_ns: *stamp_ns, seq: None, token: token as u64 }, &mut out);
            }
            order.finish(&mut out);
            black_box(out.len())
        });
    });
    group.finish();
}

fn motion(c: &mut Criterion) {
    let points = sweep();
    let mut poses = PoseTrack::new(&MotionConfig::default());
    for tick in -10..=10 {
        let world_from_ego = Pose::translation(0.2 * f64::from(tick), 0.0, 0.0);
        poses.push(StampedPose { stamp_ns: 1_000_000_000 + i64::from(tick) * 20_000_000, world_from_ego });
    }
    c.bench_function("sync/deskew", |b| {
        b.iter_batched(
            || points.clone(),
            |mut points| black_box(deskew(&mut points, 1_000_000_000, &poses)),
            criterion::BatchSize::LargeInput,
        );
    });
}

fn label(c: &mut Criterion) {
    let (points, taxonomy) = (sweep(), taxonomy());
    let cleaned = clean(&points, ORIGIN, &CleanConfig::default());
    let ground = segment(&cleaned.xyz, ORIGIN, &GroundConfig::default());
    let (ground_config, cluster_config) = (GroundConfig::default(), ClusterConfig::default());
    let band_m = ground_config.band_m;
    let clusters = cluster(&cleaned.xyz, &ground.height_above_m, band_m, ORIGIN, &[], &cluster_config);
    let lidar_xy = [ORIGIN[0], ORIGIN[1]];
    let carried = Carried::default();
    let moments = Moments { stamp_ns: 0, offset_ns: points.time_offset_ns.as_deref(), source: &cleaned.source, carried: &carried };
    let detect_config = DetectConfig::default();
    let look_about = || Horizon::of(&cleaned.xyz, &ground.height_above_m, ORIGIN);
    let horizon = look_about();
    let found =
        || detect(&cleaned.xyz, &clusters, &ground.height_above_m, lidar_xy, Some(&horizon), &moments, &taxonomy, &detect_config);
    let mut group = c.benchmark_group("label");
    group.throughput(Throughput::Elements(points.len() as u64));
    group.bench_function("clean", |b| b.iter(|| black_box(clean(&points, ORIGIN, &CleanConfig::default()))));
    group.bench_function("horizon", |b| b.iter(|| black_box(look_about())));
    group.bench_function("ground", |b| b.iter(|| black_box(segment(&cleaned.xyz, ORIGIN, &ground_config))));
    group.bench_function("cluster", |b| {
        b.iter(|| black_box(cluster(&cleaned.xyz, &ground.height_above_m, band_m, ORIGIN, &[], &cluster_config)));
    });
    group.bench_function("fit", |b| {
        let fit = FitConfig::default();
        b.iter(|| {
            let groups = clusters.groups.iter();
            black_box(
                groups.filter_map(|group| fit_box(&cleaned.xyz, &ground.height_above_m, &group.members, lidar_xy, &fit)).count(),
            )
        });
    });
    group.bench_function("fit_and_classify", |b| b.iter(|| black_box(found())));
    let detections = found();
    group.bench_function("track", |b| {
        b.iter_batched(
            || {
                let mut tracker = Tracker::new(TrackConfig::default(), taxonomy.clone());
                for sweep in 0..5 {
                    tracker.step(sweep, sweep as i64 * 100_000_000, &Pose::identity(), detections.clone());
                }
                (tracker, detections.clone())
            },
            |(mut tracker, detections)| tracker.step(5, 500_000_000, &Pose::identity(), detections),
            criterion::BatchSize::LargeInput,
        );
    });
    group.bench_function("online_chain", |b| {
        b.iter_batched(labeler, |mut labeler| one_sweep(&mut labeler, &points), criterion::BatchSize::LargeInput)
    });
    group.finish();
}

fn labeler() -> ClipLabeler {
    ClipLabeler::new(&LabelConfig::default(), taxonomy(), ClipId(0))
}

fn one_sweep(labeler: &mut ClipLabeler, points: &PointCloud) -> usize {
    let input = SweepInput {
        sample_id: "bench".into(),
        stamp_ns: 0,
        points,
        world_from_ego: Some(Pose::identity()),
        lidar_origin_ego_m: ORIGIN,
    };
    labeler.sweep(&input).detections
}

fn shard(c: &mut Criterion) {
    let points = Arc::new(sweep());
    let folder = tempfile::tempdir().unwrap();
    let grid = boxwright_model::ClipGrid::new(20_000_000_000);
    let dataset = Dataset::open_or_create(folder.path(), grid).unwrap();
    let key = ClipKey { vehicle: "bench".into(), clip: ClipId(0), grid, revision: 0 };
    let mut writer = ClipWriter::create(&dataset, key, &WriterConfig::default()).unwrap();
    let mut stamp_ns = 0;
    let mut group = c.benchmark_group("shard");
    group.throughput(Throughput::Elements(points.len() as u64));
    group.bench_function("write", |b| {
        b.iter(|| {
            stamp_ns += 1;
            let source = boxwright_model::SourcePosition { topic: "ad.lidar".into(), partition: 0, offset: stamp_ns };
            let row = LidarRow {
                sensor: "lidar".into(),
                stamp_ns,
                stamp_ref: boxwright_model::StampRef::SweepMid,
                deskewed: true,
                points: points.clone(),
                source,
            };
            writer.lidar(&row).unwrap();
        });
    });
    group.finish();
}

/// A recording that is in memory, so that the bench measures the pipeline and not the street.
struct InMemory(std::vec::IntoIter<OutgoingMessage>);

impl Recording for InMemory {
    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, RecordingError> {
        Ok(self.0.next())
    }
}

fn end_to_end(c: &mut Criterion) {
    let mut drive = SyntheticDrive::new(SyntheticConfig { seconds: 3.0, ..SyntheticConfig::default() }).unwrap();
    let messages: Vec<OutgoingMessage> = std::iter::from_fn(|| drive.next_message().unwrap()).collect();
    let config = Arc::new(Config::embedded().unwrap());
    let mut group = c.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(30));
    group.sample_size(10);
    group.bench_function("end_to_end", |b| {
        b.iter(|| {
            let folder = tempfile::tempdir().unwrap();
            let recording = InMemory(messages.clone().into_iter());
            let mut source = RecordingSource::new(Box::new(recording), &config.kafka.topic_prefix);
            let dataset = Dataset::open_or_create(folder.path(), config.grid()).unwrap();
            let job = RunJob::new(config.clone(), taxonomy(), Some(dataset));
            let report = run(&mut source, job).unwrap();
            assert_eq!(report.samples, 30);
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = sync, motion, label, shard, end_to_end
}
criterion_main!(benches);
