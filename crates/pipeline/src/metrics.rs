//! What a run tells while it runs: numbers for Prometheus, health for whoever started the container, one trace a clip for OpenTelemetry.
//!
//! [`Metrics`] is always there and always counts; whether anybody may look ([`serve`]) and whether traces leave the process
//! ([`Metrics::start`]) is configured. The run, its lanes and its writers call one method at each place where something happens. Those
//! methods never wait for the network or the disk: they add to atomics, and what belongs to one clip lies behind a lock that is held for
//! the time of a look into a map.
//!
//! # How many series there can be
//! `kind` and `stage` are enumerations. `reason` is one too, bounded all the same ([`MAX_REASONS`]) because dead letters may come with a
//! reason of somebody else. `vehicle` is bounded by `run.max_vehicles`, partitions by [`MAX_PARTITIONS`]. What comes beyond a bound is
//! told under the label `other`. Nothing is labelled with clips, sensors, offsets or messages.
//!
//! Read in this order: this file → `numbers` → `moment` → `clips` → [`health`] → [`server`] → [`traces`].

mod numbers;

mod moment;

mod clips;

pub mod health;

pub mod server;

pub mod traces;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use boxwright_model::{ClipId, DropReason, FrameHeader, LateReason};
use boxwright_review::LiveStats;
use boxwright_shard::ManifestEntry;
use boxwright_source::SourceStats;
use boxwright_timesync::ClockAlarm;

use crate::clip::ClipCounts;
use crate::config::Config;
use clips::{Clips, SealedClip};
use health::{Health, Readiness};
use moment::{Moment, Vehicles};
use numbers::Numbers;
use traces::Traces;

pub use server::{MetricsServer, serve};

/// Most values of the label `reason`: three times what there is.
pub const MAX_REASONS: usize = 32;
/// Most partitions with a series of their own: what a worker with four topics of 128 partitions has; the rest is one sum.
pub const MAX_PARTITIONS: usize = 512;
/// Numbers that cost a walk over vehicles or a lock of the source are asked for so often. Prometheus looks every 5 to 60 s.
const SLOW_NUMBERS_EVERY: Duration = Duration::from_secs(1);

/// Steps of the pipeline whose time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A payload becomes a frame.
    Decode,
    /// A message takes its place in the canonical order.
    Order,
    /// A frame goes through deskew, synchroniser and labels; with a clip's last one, its tracks are refined.
    Label,
    /// A row goes into its shard.
    Write,
    /// A clip's shards are closed and its manifest entry is made.
    Seal,
    /// Offsets are committed.
    Commit,
}

impl Stage {
    /// Every stage, in the order of the data's way.
    pub const ALL: [Self; 6] = [Self::Decode, Self::Order, Self::Label, Self::Write, Self::Seal, Self::Commit];

    /// The spelling in metrics, and of the spans.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Order => "order",
            Self::Label => "label",
            Self::Write => "write",
            Self::Seal => "seal",
            Self::Commit => "commit",
        }
    }
}

/// Why the endpoint or the traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The address cannot be listened on.
    #[error(
        "metrics: cannot listen on {address}: {source}\nhint: set metrics.listen to a free port, or to port 0 to let the system choose"
    )]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread or its runtime could not be started.
    #[error("metrics: cannot start {what}: {source}")]
    Start {
        /// What was to be started.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The exporter of traces refuses its configuration.
    #[error(
        "traces: cannot export to {endpoint}: {message}\nhint: [traces] otlp_endpoint names a collector that takes OTLP over HTTP, such as \"http://127.0.0.1:4318\""
    )]
    Exporter {
        /// The collector.
        endpoint: String,
        /// What the exporter said.
        message: String,
    },
}

/// Everything that a run tells of itself. Shared by all its threads.
pub struct Metrics {
    numbers: Numbers,
    moment: Arc<Moment>,
    traces: Option<Traces>,
    started: Instant,
    /// When the slow numbers were asked for, in milliseconds since the start.
    slow_asked_ms: AtomicU64,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("traces", &self.traces.is_some()).finish_non_exhaustive()
    }
}

impl Default for Metrics {
    /// Without traces, for one vehicle after the other: tests, benches, the demo.
    fn default() -> Self {
        Self::new(64, None)
    }
}

impl Metrics {
    /// Metrics of a run, with traces where `[traces]` names a collector. Whether the collector is there shows only later, in
    /// `boxwright_trace_exports_failed_total`: a run never depends on it.
    ///
    /// # Errors
    /// When the exporter or its thread cannot be set up.
    pub fn start(config: &Config) -> Result<Arc<Self>, MetricsError> {
        let traces = config.traces.endpoint().map(|endpoint| Traces::start(&endpoint)).transpose()?;
        Ok(Arc::new(Self::new(config.run.max_vehicles, traces)))
    }

    fn new(max_vehicles: usize, traces: Option<Traces>) -> Self {
        let counts = traces.as_ref().map(Traces::counts).unwrap_or_default();
        let moment = Arc::new(Moment::new(Vehicles::new(max_vehicles), counts));
        Self { numbers: Numbers::new(moment.clone()), moment, traces, started: Instant::now(), slow_asked_ms: AtomicU64::new(0) }
    }

    /// The page of `/metrics`, in the OpenMetrics text format.
    ///
    /// # Errors
    /// Never, as far as the format goes; the type is the encoder's.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.numbers.registry)?;
        Ok(page)
    }

    /// Health of the run.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.moment.health
    }

    /// Whether the run is ready, and why not.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.moment.health.readiness()
    }

    // --- the run thread ---

    /// The run loop has turned, or has handed a frame over within a turn. Returns whether the slow numbers are due: [`set_source`](Self::set_source),
    /// [`set_held_bytes`](Self::set_held_bytes), [`set_viewer`](Self::set_viewer).
    pub fn turned(&self) -> bool {
        self.moment.health.turned();
        let now_ms = millis(self.started.elapsed());
        let due = now_ms.saturating_sub(self.slow_asked_ms.load(Ordering::Relaxed)) >= millis(SLOW_NUMBERS_EVERY);
        if due {
            self.slow_asked_ms.store(now_ms, Ordering::Relaxed);
        }
        due
    }

    /// The dataset was opened and can be written to, or can no longer.
    pub fn set_dataset_writable(&self, writable: bool) {
        self.moment.health.set_dataset_writable(writable);
    }

    /// The run was told to stop: it is no longer ready.
    pub fn draining(&self) {
        self.moment.health.draining();
    }

    /// Partitions came (a recording's count too).
    pub fn assigned(&self, partitions: usize) {
        self.moment.health.add_partitions(partitions);
        self.numbers.rebalances.inc();
    }

    /// Partitions went to another worker.
    pub fn revoked(&self, partitions: usize) {
        self.moment.health.remove_partitions(partitions);
        self.numbers.rebalances.inc();
    }

    /// A message was read and understood by its headers.
    pub fn frame_read(&self, header: &FrameHeader, payload_bytes: usize) {
        self.numbers.frame_read(header.kind, payload_bytes);
        self.moment.vehicles.saw(&header.vehicle, header.stamp_ns);
    }

    /// A message was noted in an open clip. `trace_parent` is its W3C header, where it has one.
    pub fn clip_message(&self, vehicle: &Arc<str>, clip: ClipId, payload_bytes: usize, trace_parent: Option<&str>) {
        let context = self.traces.as_ref().and(trace_parent).and_then(traces::parse_trace_parent);
        self.clips().message(vehicle, clip, payload_bytes, context);
    }

    /// A frame is in no sample.
    pub fn frame_dropped(&self, reason: DropReason) {
        self.numbers.dropped.get(reason.as_str()).inc();
    }

    /// A frame went to the late table.
    pub fn frame_late(&self, reason: LateReason) {
        self.numbers.late.get(reason.as_str()).inc();
    }

    /// Something is wrong with a sensor's clock.
    pub fn clock_alarm(&self, alarm: &ClockAlarm) {
        self.numbers.clock_alarms.get(alarm.as_str()).inc();
    }

    /// A message was set aside.
    pub fn dead_letter(&self, reason: &str) {
        self.numbers.dead_letters.get(reason).inc();
    }

    /// A clip was labelled and handed to the writer.
    pub(crate) fn clip_labelled(&self, counts: &ClipCounts) {
        self.numbers.labelled(counts);
    }

    /// No more frames of the clip will come.
    pub fn clip_closed(&self, vehicle: &Arc<str>, clip: ClipId) {
        self.clips().closed(vehicle, clip);
    }

    /// The clip has its manifest entry; `ours` says whether this run made it.
    pub fn clip_sealed(&self, entry: &ManifestEntry, ours: bool) {
        let counter = if ours { &self.numbers.clips_sealed } else { &self.numbers.clips_already_sealed };
        counter.inc();
        if ours {
            self.numbers.shard_bytes.inc_by(entry.bytes());
        }
        self.moment.sealed_now();
        let sealed = SealedClip { messages: entry.counts.frames, shard_bytes: entry.bytes(), samples: entry.counts.samples, ours };
        if let Some(took) = self.clips().sealed(&entry.vehicle, entry.clip, sealed) {
            self.numbers.seal_seconds.observe(took.as_secs_f64());
        }
    }

    /// The vehicle went to another worker: its open clips are no longer ours.
    pub fn vehicle_gone(&self, vehicle: &Arc<str>) {
        self.clips().forget(vehicle);
        self.moment.vehicles.forget(vehicle);
    }

    /// Offsets were committed; the commit began at `started`. Traces of the clips that are sealed by now are complete.
    pub fn committed(&self, started: Started) {
        self.numbers.stages[Stage::Commit as usize].observe(started.at.elapsed().as_secs_f64());
        let (began, ended) = (started.wall, SystemTime::now());
        let done = self.clips().take_sealed();
        if let Some(traces) = &self.traces {
            for (name, times) in done {
                traces.clip(&name, &times, Some((began, ended)));
            }
        }
    }

    /// How the source stands.
    pub fn set_source(&self, stats: SourceStats) {
        *lock(&self.moment.source) = stats;
    }

    /// Bytes of payloads that wait in the vehicles' order.
    pub fn set_held_bytes(&self, bytes: u64) {
        self.moment.held_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What the live viewer got so far.
    pub fn set_viewer(&self, stats: LiveStats) {
        self.moment.viewer_shown.store(stats.shown, Ordering::Relaxed);
        self.moment.viewer_dropped.store(stats.dropped, Ordering::Relaxed);
    }

    // --- any thread ---

    /// Begins to measure a stage; it ends when the value is dropped.
    #[must_use = "the time is measured until this is dropped"]
    pub fn time(&self, stage: Stage) -> StageTimer<'_> {
        StageTimer { metrics: self, stage, clip: None, started: Started::now() }
    }

    /// The same for work that belongs to a clip: it goes into the clip's trace too.
    #[must_use = "the time is measured until this is dropped"]
    pub fn time_clip(&self, stage: Stage, vehicle: &Arc<str>, clip: ClipId) -> StageTimer<'_> {
        StageTimer { metrics: self, stage, clip: Some((vehicle.clone(), clip)), started: Started::now() }
    }

    /// Ends the run: what traces are ready leave the process, for at most [`traces::FAREWELL`].
    pub fn finish(&self) {
        self.draining();
        if let Some(traces) = &self.traces {
            for (name, times) in self.clips().take_sealed() {
                traces.clip(&name, &times, None);
            }
            traces.finish();
        }
    }

    fn clips(&self) -> MutexGuard<'_, Clips> {
        lock(&self.moment.clips)
    }
}

/// A moment, by both clocks: one measures durations, the other is what spans carry.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    at: Instant,
    wall: SystemTime,
}

impl Started {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self { at: Instant::now(), wall: SystemTime::now() }
    }
}

/// Measures one stage until it is dropped.
#[derive(Debug)]
pub struct StageTimer<'a> {
    metrics: &'a Metrics,
    stage: Stage,
    clip: Option<(Arc<str>, ClipId)>,
    started: Started,
}

impl Drop for StageTimer<'_> {
    fn drop(&mut self) {
        let took = self.started.at.elapsed();
        self.metrics.numbers.stages[self.stage as usize].observe(took.as_secs_f64());
        if let Some((vehicle, clip)) = self.clip.take() {
            self.metrics.clips().worked(&vehicle, clip, self.stage, self.started.wall, took);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Everything behind these locks is whole after every statement, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
