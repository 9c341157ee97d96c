//! The numbers that only grow, and how long things took.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use boxwright_model::{DropReason, LateReason, SensorKind};
use boxwright_source::reason;
use boxwright_timesync::ClockAlarm;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::moment::Moment;
use super::{MAX_REASONS, Stage};
use crate::clip::ClipCounts;

/// What comes beyond a bound is counted under it.
pub(super) const OTHER: &str = "other";

/// Bounds of the stages, in seconds: a decode takes a millisecond, a seal over a slow network half a minute.
const STAGE_BOUNDS_S: [f64; 12] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
/// Bounds from the close of a clip to its manifest entry, in seconds.
const SEAL_BOUNDS_S: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];
/// Kinds of message, each with its place in [`Numbers::frames_read`].
const KINDS: [SensorKind; 5] =
    [SensorKind::Transform, SensorKind::Calibration, SensorKind::Lidar, SensorKind::Camera, SensorKind::Detections];
/// Reasons that are shown from the start, as zeros: a rate needs a series before the first event.
const DROPPED: [DropReason; 6] = [
    DropReason::Unmatched,
    DropReason::Duplicate,
    DropReason::EmptySweep,
    DropReason::AlreadySealed,
    DropReason::OtherCalibration,
    DropReason::NotAsked,
];
const LATE: [LateReason; 2] = [LateReason::BehindOwnSensor, LateReason::SensorWasIdle];
const DEAD: [&str; 10] = [
    reason::MISSING_HEADER,
    reason::BAD_HEADER,
    reason::UNKNOWN_SCHEMA,
    reason::UNKNOWN_ENCODING,
    reason::IMPLAUSIBLE_STAMP,
    reason::EMPTY,
    reason::DECODE_FAILED,
    reason::TOO_LARGE,
    "bad_transform",
    "clip_sealed",
];

/// One label with its value. The encoder writes values as they are, so they are escaped here.
type Label = [(&'static str, String); 1];

/// A label value with what the exposition format cannot take made harmless: names of vehicles come from anybody's headers.
pub(super) fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out
}

/// A counter for each value of one label, up to a bound.
#[derive(Debug)]
pub(super) struct Bounded {
    key: &'static str,
    limit: usize,
    family: Family<Label, Counter>,
    known: RwLock<BTreeMap<String, Counter>>,
}

impl Bounded {
    fn new(key: &'static str, limit: usize, first: impl IntoIterator<Item = &'static str>) -> Self {
        let bounded = Self { key, limit, family: Family::default(), known: RwLock::default() };
        for value in first {
            bounded.get(value);
        }
        bounded
    }

    pub(super) fn get(&self, value: &str) -> Counter {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(value).cloned();
        known.unwrap_or_else(|| self.add(value))
    }

    fn add(&self, value: &str) -> Counter {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let value = if known.len() < self.limit { value } else { OTHER };
        let counter = self.family.get_or_create_owned(&[(self.key, escaped(value))]);
        known.insert(value.to_owned(), counter.clone());
        counter
    }
}

#[derive(Clone, Debug)]
struct StageBuckets;

impl MetricConstructor<Histogram> for StageBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(STAGE_BOUNDS_S)
    }
}

/// See the module. Handles are kept, so that a count is one addition.
pub(super) struct Numbers {
    pub(super) registry: Registry,
    frames_read: [Counter; KINDS.len()],
    bytes_read: [Counter; KINDS.len()],
    pub(super) dropped: Bounded,
    pub(super) late: Bounded,
    pub(super) dead_letters: Bounded,
    pub(super) clock_alarms: Bounded,
    samples: Counter,
    partial_samples: Counter,
    sweeps: Counter,
    boxes: Counter,
    tracks: Counter,
    findings: Counter,
    pub(super) clips_sealed: Counter,
    pub(super) clips_already_sealed: Counter,
    pub(super) shard_bytes: Counter,
    pub(super) rebalances: Counter,
    pub(super) stages: [Histogram; Stage::ALL.len()],
    pub(super) seal_seconds: Histogram,
}

impl Numbers {
    pub(super) fn new(moment: Arc<Moment>) -> Self {
        let mut registry = Registry::default();
        let dropped = Bounded::new("reason", MAX_REASONS, DROPPED.map(DropReason::as_str));
        let late = Bounded::new("reason", MAX_REASONS, LATE.map(LateReason::as_str));
        let dead_letters = Bounded::new("reason", MAX_REASONS, DEAD);
        let clock_alarms = Bounded::new("alarm", MAX_REASONS, ClockAlarm::ALL);
        let seal_seconds = Histogram::new(SEAL_BOUNDS_S);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("boxwright_build", "Version of the program", version);
        let frames_read = by_kind(&mut registry, "boxwright_frames_read", "Messages read, of every kind");
        let bytes_read = by_kind(&mut registry, "boxwright_read_bytes", "Bytes of payloads read, of every kind");
        registry.register("boxwright_frames_dropped", "Frames in no sample, by reason", dropped.family.clone());
        registry.register("boxwright_frames_late", "Frames in the late table, by reason", late.family.clone());
        registry.register("boxwright_dead_letters", "Messages set aside, by reason", dead_letters.family.clone());
        registry.register("boxwright_clock_alarms", "Alarms about clocks of sensors, by alarm", clock_alarms.family.clone());
        registry.register("boxwright_seal_seconds", "From the close of a clip to its manifest entry", seal_seconds.clone());
        let stages = Family::<Label, Histogram, StageBuckets>::new_with_constructor(StageBuckets);
        registry.register("boxwright_stage_seconds", "Time that one step took, by stage", stages.clone());
        registry.register_collector(Box::new(moment));
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::<u64, AtomicU64>::default();
            registry.register(name, help, counter.clone());
            counter
        };
        Self {
            frames_read,
            bytes_read,
            dropped,
            late,
            dead_letters,
            clock_alarms,
            samples: counter("boxwright_samples", "Samples made"),
            partial_samples: counter("boxwright_partial_samples", "Samples that lack a frame of some sensor"),
            sweeps: counter("boxwright_sweeps", "Sweeps labelled"),
            boxes: counter("boxwright_boxes", "Boxes made"),
            tracks: counter("boxwright_tracks", "Tracks made"),
            findings: counter("boxwright_findings", "Findings made"),
            clips_sealed: counter("boxwright_clips_sealed", "Clips sealed by this run"),
            clips_already_sealed: counter("boxwright_clips_already_sealed", "Clips that somebody had sealed before"),
            shard_bytes: counter("boxwright_shard_bytes", "Bytes of shards sealed by this run"),
            rebalances: counter("boxwright_rebalances", "Times that partitions came or went"),
            stages: Stage::ALL.map(|stage| stages.get_or_create_owned(&[("stage", stage.as_str().to_owned())])),
            seal_seconds,
            // Last: the counters above register themselves in it.
            registry,
        }
    }

    pub(super) fn frame_read(&self, kind: SensorKind, payload_bytes: usize) {
        let place = KINDS.iter().position(|known| *known == kind).unwrap_or_default();
        self.frames_read[place].inc();
        self.bytes_read[place].inc_by(payload_bytes as u64);
    }

    pub(super) fn labelled(&self, counts: &ClipCounts) {
        self.samples.inc_by(counts.samples);
        self.partial_samples.inc_by(counts.partial_samples);
        self.sweeps.inc_by(counts.sweeps);
        self.boxes.inc_by(counts.boxes);
        self.tracks.inc_by(counts.tracks);
        self.findings.inc_by(counts.findings);
    }
}

fn by_kind(registry: &mut Registry, name: &str, help: &str) -> [Counter; KINDS.len()] {
    let family = Family::<Label, Counter>::default();
    registry.register(name, help, family.clone());
    KINDS.map(|kind| family.get_or_create_owned(&[("kind", kind.as_str().to_owned())]))
}
