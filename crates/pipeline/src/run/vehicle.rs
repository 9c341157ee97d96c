//! One vehicle as the run thread sees it: its order machine, the payloads that wait in it, and its clips.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use boxwright_model::{ClipGrid, ClipId, DropReason, FrameHeader, SensorKind, SourcePosition};
use boxwright_shard::{ClipCounts, Dataset, ManifestEntry, SealInfo, ShardError};
use boxwright_source::{PartitionId, Record};
use boxwright_timesync::order::{Arrival, OrderEvent, VehicleOrder};

use super::{Ledger, RunJob};
use crate::clocks::VehicleClocks;
use crate::config::Config;
use crate::metrics::Metrics;

/// Manifest entries that are remembered of a vehicle. A worker that reads a partition again meets the clips in order, a few at a time;
/// an entry holds some kilobytes.
const CACHED_ENTRIES: usize = 16;

/// State of one vehicle.
pub(crate) struct Vehicle {
    name: Arc<str>,
    grid: ClipGrid,
    order: VehicleOrder,
    clocks: VehicleClocks,
    /// Messages that wait for their turn. Bounded by the order machine's `max_buffered_frames`.
    held: BTreeMap<u64, Record>,
    /// Bytes of their payloads.
    held_bytes: usize,
    next_token: u64,
    /// Partitions that may bring its messages, and whether each is at its end and silent.
    partitions: BTreeMap<u32, bool>,
    /// Clips that have a manifest entry: a few bytes each, 4,320 a day at 20 s.
    sealed: BTreeSet<ClipId>,
    /// The entries asked for last, at most [`CACHED_ENTRIES`].
    entries: BTreeMap<ClipId, ManifestEntry>,
    /// Clips that keep messages and have no manifest entry.
    open: BTreeMap<ClipId, OpenClip>,
    closed: BTreeSet<ClipId>,
    last_seen: Instant,
}

#[derive(Clone, Debug, Default)]
struct OpenClip {
    /// Least and greatest stamp of the frames that were in time.
    stamps_ns: Option<(i64, i64)>,
    frames: u64,
    duplicates: u64,
    /// Who has spoken in it.
    sensors: BTreeSet<(SensorKind, Arc<str>)>,
    /// Of the first message.
    grade: Arc<str>,
}

impl Vehicle {
    pub(crate) fn new(config: &Config, name: Arc<str>, sealed: BTreeSet<ClipId>) -> Self {
        let grid = config.grid();
        Self {
            name,
            grid,
            order: VehicleOrder::new(&config.order, grid),
            clocks: VehicleClocks::new(&config.clock),
            held: BTreeMap::new(),
            held_bytes: 0,
            next_token: 0,
            partitions: BTreeMap::new(),
            sealed,
            entries: BTreeMap::new(),
            open: BTreeMap::new(),
            closed: BTreeSet::new(),
            last_seen: Instant::now(),
        }
    }

    pub(crate) fn add_partition(&mut self, number: u32) {
        if self.partitions.insert(number, false).is_none() {
            self.order.add_partition(number);
        }
    }

    /// Whether the vehicle's messages come from partitions of this number.
    pub(crate) fn reads_number(&self, partition: i32, known: &[PartitionId]) -> bool {
        self.partitions.keys().any(|number| known.get(*number as usize).is_some_and(|id| id.partition == partition))
    }

    pub(crate) fn reads(&self, number: u32) -> bool {
        self.partitions.contains_key(&number)
    }

    /// Judges a sensor's clock by one more message.
    pub(crate) fn watch_clock(&mut self, header: &FrameHeader, metrics: &Metrics) {
        self.clocks.saw(header, metrics);
    }

    /// Takes the next message of a partition and gives it its place in the order. It is held until the order has decided about it.
    pub(crate) fn push(&mut self, partition: u32, record: Record, out: &mut Vec<OrderEvent>) {
        self.last_seen = Instant::now();
        self.add_partition(partition);
        self.partitions.insert(partition, false);
        let token = self.next_token;
        self.next_token += 1;
        let header = &record.header;
        let arrival = Arrival {
            partition,
            kind: header.kind,
            sensor: header.sensor.clone(),
            stamp_ns: header.stamp_ns,
            seq: header.seq,
            token,
        };
        self.held_bytes += record.payload.len();
        self.held.insert(token, record);
        self.order.push(arrival, out);
    }

    /// Notes a message in the clip that keeps it, so that its offset is not committed before that is sealed.
    pub(crate) fn note(&mut self, ledger: &mut Ledger, clip: ClipId, header: &FrameHeader, is_in_time: bool) {
        ledger.note(&self.name, clip, &header.position);
        let open = self.open.entry(clip).or_default();
        if open.frames == 0 {
            open.grade = header.grade.clone();
        }
        open.frames += 1;
        if is_in_time {
            let stamp_ns = header.stamp_ns;
            let (least, greatest) = open.stamps_ns.unwrap_or((stamp_ns, stamp_ns));
            open.stamps_ns = Some((least.min(stamp_ns), greatest.max(stamp_ns)));
            open.sensors.insert((header.kind, header.sensor.clone()));
        }
    }

    /// Where the messages stand about which nothing is decided yet.
    pub(crate) fn held_positions(&self) -> impl Iterator<Item = &SourcePosition> {
        self.held.values().map(|record| &record.header.position)
    }

    /// Bytes of the payloads that wait for their turn.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether the order machine asks for help: see [`VehicleOrder::is_crowded`].
    pub(crate) fn is_crowded(&self) -> bool {
        self.order.is_crowded()
    }

    /// Partitions that hold everything back.
    pub(crate) fn waiting_for(&self) -> Vec<u32> {
        self.order.waiting_for()
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = u32> {
        self.partitions.keys().copied()
    }

    pub(crate) fn take(&mut self, token: u64) -> Option<Record> {
        let record = self.held.remove(&token)?;
        self.held_bytes -= record.payload.len();
        Some(record)
    }

    pub(crate) fn quiet(&mut self, number: u32, out: &mut Vec<OrderEvent>) {
        if let Some(quiet) = self.partitions.get_mut(&number) {
            *quiet = true;
            self.order.quiet(number, out);
        }
    }

    pub(crate) fn finish(&mut self, out: &mut Vec<OrderEvent>) {
        self.order.finish(out);
    }

    /// Lets everything that is held leave; the vehicle may come back later.
    pub(crate) fn close_silent(&mut self, out: &mut Vec<OrderEvent>) {
        self.order.close_silent(out);
    }

    /// Frames that left early because the buffer was full.
    pub(crate) fn forced(&self) -> u64 {
        self.order.forced()
    }

    /// Counts a copy of a frame that is kept.
    pub(crate) fn count_duplicate(&mut self, clip: ClipId) {
        self.open.entry(clip).or_default().duplicates += 1;
    }

    /// Whether a clip takes no more messages: it is sealed, or on its way to be.
    pub(crate) fn is_shut(&self, clip: ClipId) -> bool {
        self.sealed.contains(&clip) || self.closed.contains(&clip)
    }

    /// Whether a message is one of those that its sealed clip was made of: then it was read before.
    pub(crate) fn was_read_before(&mut self, clip: ClipId, record: &Record, dataset: &Dataset) -> Result<bool, ShardError> {
        if !self.sealed.contains(&clip) {
            return Ok(false);
        }
        if !self.entries.contains_key(&clip)
            && let Some(entry) = dataset.entry(&self.name, clip, 0)?
        {
            self.remember(entry);
        }
        Ok(self.entries.get(&clip).is_some_and(|entry| covers(entry, record)))
    }

    /// The entry of a sealed clip, where it was asked for lately.
    pub(crate) fn entry(&self, clip: ClipId) -> Option<&ManifestEntry> {
        self.entries.get(&clip)
    }

    fn remember(&mut self, entry: ManifestEntry) {
        let clip = entry.clip;
        self.entries.insert(clip, entry);
        if self.entries.len() > CACHED_ENTRIES
            && let Some(oldest) = self.entries.keys().copied().find(|one| *one != clip)
        {
            self.entries.remove(&oldest);
        }
    }

    /// Closes a clip: what its manifest entry will say, or `None` where there is nothing to seal.
    pub(crate) fn close(
        &mut self,
        clip: ClipId,
        idle: &[(SensorKind, Arc<str>)],
        ledger: &Ledger,
        job: &RunJob,
    ) -> Option<SealInfo> {
        let open = self.open.get(&clip)?;
        if !self.closed.insert(clip) {
            return None;
        }
        let duplicates =
            (open.duplicates > 0).then(|| (DropReason::Duplicate.as_str().to_owned(), open.duplicates)).into_iter().collect();
        let grade = if open.grade.is_empty() { job.config.run.default_grade.clone() } else { open.grade.to_string() };
        Some(SealInfo {
            sources: ledger.ranges(&self.name, clip),
            first_stamp_ns: open.stamps_ns.map(|(least, _)| least),
            last_stamp_ns: open.stamps_ns.map(|(_, greatest)| greatest),
            counts: ClipCounts { frames: open.frames, dropped: duplicates, ..ClipCounts::default() },
            // Only those who spoke in this clip: of others a worker that starts here could not know.
            idle_sensors: idle
                .iter()
                .filter(|one| open.sensors.contains(one))
                .map(|(kind, sensor)| format!("{kind}/{sensor}"))
                .collect(),
            grade,
            config_sha256: job.labels_sha256(),
            models: job.networks.models(),
        })
    }

    /// The clip has its manifest entry. Returns whether we had closed it: if not, it was sealed for an earlier owner of the partitions
    /// while we began to read it again, and what the lane holds of it is to be thrown away.
    pub(crate) fn seal_done(&mut self, entry: ManifestEntry) -> bool {
        let clip = entry.clip;
        let was_open = self.open.remove(&clip).is_some();
        let was_closed = self.closed.remove(&clip);
        self.sealed.insert(clip);
        self.remember(entry);
        was_closed || !was_open
    }

    /// The clip was closed by a run that writes nothing.
    pub(crate) fn discarded(&mut self, clip: ClipId) {
        self.open.remove(&clip);
        self.closed.remove(&clip);
        self.sealed.insert(clip);
    }

    /// Whether nothing came for so long although clips are open.
    pub(crate) fn is_silent(&self, limit: Duration) -> bool {
        self.open_clips() > 0 && self.last_seen.elapsed() >= limit && self.has_nothing_to_come()
    }

    /// How long nothing came, where the vehicle holds nothing that would be lost with it.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        (self.held.is_empty() && self.open.is_empty()).then(|| self.last_seen.elapsed())
    }

    /// Whether all its partitions are at their end and silent.
    pub(crate) fn has_nothing_to_come(&self) -> bool {
        self.partitions.values().all(|quiet| *quiet)
    }

    /// Clips that are neither sealed nor on their way to be, with those of the messages that wait for their turn.
    pub(crate) fn open_clips(&self) -> usize {
        let held = self.held.values().map(|record| self.grid.clip_of(record.header.stamp_ns));
        let open = self.open.keys().copied().chain(held).collect::<BTreeSet<_>>();
        open.iter().filter(|clip| !self.is_shut(**clip)).count()
    }
}

fn covers(entry: &ManifestEntry, record: &Record) -> bool {
    let position = &record.header.position;
    entry.sources.iter().any(|range| range.contains(&position.topic, position.partition, position.offset))
}
