//! The numbers that are looked up when somebody asks: ages, queues, lags, and the process itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use boxwright_source::SourceStats;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::clips::Clips;
use super::health::Health;
use super::numbers::{OTHER, escaped};
use super::traces::TraceCounts;
use super::{MAX_PARTITIONS, lock, millis};

/// Unit of the times in `/proc/<pid>/stat`, in seconds: Linux tells user programs hundredths on every architecture.
const CLOCK_TICK_S: f64 = 0.01;

/// Newest stamp of each vehicle. Bounded by `run.max_vehicles`; vehicles beyond share one place.
#[derive(Debug)]
pub(super) struct Vehicles {
    newest_ns: RwLock<BTreeMap<Arc<str>, Arc<AtomicI64>>>,
    limit: usize,
}

impl Vehicles {
    pub(super) fn new(limit: usize) -> Self {
        Self { newest_ns: RwLock::default(), limit }
    }

    pub(super) fn saw(&self, vehicle: &Arc<str>, stamp_ns: i64) {
        let known = self.newest_ns.read().unwrap_or_else(PoisonError::into_inner).get(vehicle).cloned();
        known.unwrap_or_else(|| self.place(vehicle)).fetch_max(stamp_ns, Ordering::Relaxed);
    }

    /// The place of a vehicle that was not seen before.
    fn place(&self, vehicle: &Arc<str>) -> Arc<AtomicI64> {
        let mut all = self.newest_ns.write().unwrap_or_else(PoisonError::into_inner);
        let name = if all.len() < self.limit { vehicle.clone() } else { OTHER.into() };
        all.entry(name).or_insert_with(|| Arc::new(AtomicI64::new(i64::MIN))).clone()
    }

    pub(super) fn forget(&self, vehicle: &Arc<str>) {
        self.newest_ns.write().unwrap_or_else(PoisonError::into_inner).remove(vehicle);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) health: Health,
    pub(super) vehicles: Vehicles,
    pub(super) clips: Mutex<Clips>,
    pub(super) source: Mutex<SourceStats>,
    pub(super) held_bytes: AtomicU64,
    pub(super) viewer_shown: AtomicU64,
    pub(super) viewer_dropped: AtomicU64,
    traces: Arc<TraceCounts>,
    started: Instant,
    started_unix_s: f64,
    /// Milliseconds since the start.
    last_seal_ms: AtomicU64,
}

impl Moment {
    pub(super) fn new(vehicles: Vehicles, traces: Arc<TraceCounts>) -> Self {
        Self {
            health: Health::default(),
            vehicles,
            clips: Mutex::default(),
            source: Mutex::default(),
            held_bytes: AtomicU64::new(0),
            viewer_shown: AtomicU64::new(0),
            viewer_dropped: AtomicU64::new(0),
            traces,
            started: Instant::now(),
            started_unix_s: unix_s(),
            last_seal_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn sealed_now(&self) {
        self.last_seal_ms.store(millis(self.started.elapsed()), Ordering::Relaxed);
    }

    fn encode_clips(&self, page: &mut Page<'_>) -> fmt::Result {
        let (open, waiting_s) = {
            let clips = lock(&self.clips);
            (clips.open(), clips.oldest_uncommitted().map_or(0.0, |age| age.as_secs_f64()))
        };
        let since_seal_ms = millis(self.started.elapsed()).saturating_sub(self.last_seal_ms.load(Ordering::Relaxed));
        page.gauge("boxwright_open_clips", "Clips with messages and without a manifest entry", open as f64)?;
        page.gauge(
            "boxwright_commit_age_seconds",
            "How long the oldest message whose clip is not committed has waited; 0 where none waits",
            waiting_s,
        )?;
        page.gauge(
            "boxwright_last_seal_age_seconds",
            "Since the last clip was sealed, or since the start where none was",
            since_seal_ms as f64 / 1e3,
        )
    }

    fn encode_source(&self, page: &mut Page<'_>) -> fmt::Result {
        let stats = lock(&self.source).clone();
        page.gauge("boxwright_queue_bytes", "Bytes of messages between the Kafka thread and the run", stats.queued_bytes as f64)?;
        page.gauge(
            "boxwright_commits_held_over",
            "Partitions whose commit the broker did not take yet",
            stats.uncommitted_partitions as f64,
        )?;
        page.gauge("boxwright_assigned_partitions", "Partitions that this worker reads", self.health.partitions() as f64)?;
        let known: Vec<_> = stats.partitions.iter().filter_map(|one| Some((&one.partition, one.lag()?))).collect();
        let own = known.iter().take(MAX_PARTITIONS);
        let mut lag: Vec<([(&str, String); 2], f64)> =
            own.map(|(id, lag)| ([("topic", escaped(&id.topic)), ("partition", id.partition.to_string())], *lag as f64)).collect();
        if known.len() > MAX_PARTITIONS {
            let rest: u64 = known.iter().skip(MAX_PARTITIONS).map(|(_, lag)| lag).sum();
            lag.push(([("topic", OTHER.to_owned()), ("partition", OTHER.to_owned())], rest as f64));
        }
        page.gauges(
            "boxwright_consumer_lag_messages",
            "Messages that the broker has and this worker has not taken in, by partition",
            &lag,
        )
    }

    fn encode_vehicles(&self, page: &mut Page<'_>) -> fmt::Result {
        let now_ns = unix_s() * 1e9;
        let known = self.vehicles.newest_ns.read().unwrap_or_else(PoisonError::into_inner);
        let lag: Vec<([(&str, String); 1], f64)> = known
            .iter()
            .map(|(name, newest)| ([("vehicle", escaped(name))], (now_ns - newest.load(Ordering::Relaxed) as f64) / 1e9))
            .collect();
        drop(known);
        page.gauge("boxwright_vehicles", "Vehicles that this worker has seen and still owns", lag.len() as f64)?;
        page.gauges(
            "boxwright_event_time_lag_seconds",
            "Between the clock of this machine and the newest stamp of a vehicle; of a replayed drive, its age",
            &lag,
        )
    }

    fn encode_process(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge("process_start_time_seconds", "Start of the run since the Unix epoch", self.started_unix_s)?;
        if let Some(rss_bytes) = resident_bytes() {
            page.gauge("process_resident_memory_bytes", "Resident memory", rss_bytes as f64)?;
        }
        if let Some(cpu_s) = cpu_seconds() {
            page.counter("process_cpu_seconds", "CPU time in user and system mode", cpu_s)?;
        }
        Ok(())
    }
}

impl Collector for Moment {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.encode_clips(&mut page)?;
        self.encode_source(&mut page)?;
        self.encode_vehicles(&mut page)?;
        page.gauge("boxwright_held_bytes", "Bytes of payloads in the vehicles' order", load(&self.held_bytes))?;
        page.counter("boxwright_viewer_shown", "Samples handed to the live viewer", load(&self.viewer_shown))?;
        page.counter("boxwright_viewer_dropped", "Samples that the live viewer was too slow for", load(&self.viewer_dropped))?;
        let traces = &self.traces;
        page.counter("boxwright_trace_spans_exported", "Spans that the collector took", load(&traces.exported))?;
        page.counter("boxwright_trace_spans_dropped", "Spans that did not reach the collector", load(&traces.dropped))?;
        page.counter("boxwright_trace_exports_failed", "Requests that the collector did not take", load(&traces.failed))?;
        self.encode_process(&mut page)
    }
}

/// The encoder with the three forms that are used here.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.one(name, help, &ConstGauge::new(value))
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.one(name, help, &ConstCounter::new(value))
    }

    fn one<M: EncodeMetric + TypedMetric>(&mut self, name: &str, help: &str, metric: &M) -> fmt::Result {
        metric.encode(self.0.encode_descriptor(name, help, None, M::TYPE)?)
    }

    fn gauges<const N: usize>(&mut self, name: &str, help: &str, values: &[([(&str, String); N], f64)]) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }
}

fn load(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}

fn unix_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Resident memory, where the system tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// CPU time, where the system tells it.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets and may hold blanks; utime and stime are the 14th and 15th.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) * CLOCK_TICK_S)
}
