//! One vehicle as the run thread sees it: its order machine, the payloads that wait in it, and its clips.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use boxwright_model::{ClipGrid, ClipId, DropReason, FrameHeader, SensorKind};
use boxwright_shard::{ClipCounts, ManifestEntry, SealInfo};
use boxwright_source::{PartitionId, Record};
use boxwright_timesync::order::{Arrival, OrderEvent, VehicleOrder};

use super::{Ledger, RunJob};
use crate::config::Config;

/// State of one vehicle.
pub(crate) struct Vehicle {
    name: Arc<str>,
    grid: ClipGrid,
    order: VehicleOrder,
    /// Messages that wait for their turn. Bounded by the order machine's `max_buffered_frames`.
    held: BTreeMap<u64, Record>,
    next_token: u64,
    /// Partitions that may bring its messages, and whether each is at its end and silent.
    partitions: BTreeMap<u32, bool>,
    sealed: BTreeMap<ClipId, ManifestEntry>,
    /// Clips that have messages and no manifest entry, with their least and greatest stamp and the strictest grade.
    open: BTreeMap<ClipId, OpenClip>,
    closed: BTreeSet<ClipId>,
    last_seen: Instant,
}

#[derive(Clone, Debug)]
struct OpenClip {
    min_stamp_ns: i64,
    max_stamp_ns: i64,
    frames: u64,
    duplicates: u64,
    /// Who has spoken in it.
    sensors: BTreeSet<(SensorKind, Arc<str>)>,
    grade: Arc<str>,
}

impl Vehicle {
    pub(crate) fn new(config: &Config, name: Arc<str>, sealed: Vec<ManifestEntry>) -> Self {
        let grid = config.grid();
        Self {
            name,
            grid,
            order: VehicleOrder::new(&config.order, grid),
            held: BTreeMap::new(),
            next_token: 0,
            partitions: BTreeMap::new(),
            sealed: sealed.into_iter().map(|entry| (entry.clip, entry)).collect(),
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

    /// Takes the next message of a partition: it is given its place in the order and noted in the clip that will hold it, before
    /// any decision of `out` is acted on. Returns that clip, if it is open.
    pub(crate) fn push(
        &mut self,
        partition: u32,
        record: Record,
        ledger: &mut Ledger,
        out: &mut Vec<OrderEvent>,
    ) -> Option<ClipId> {
        self.last_seen = Instant::now();
        self.add_partition(partition);
        self.partitions.insert(partition, false);
        let token = self.next_token;
        self.next_token += 1;
        let header = record.header.clone();
        self.held.insert(token, record);
        self.order.push(
            Arrival {
                partition,
                kind: header.kind,
                sensor: header.sensor.clone(),
                stamp_ns: header.stamp_ns,
                seq: header.seq,
                token,
            },
            out,
        );
        // A late frame is stored with the clip of its own sensor's newest frame, so it is that clip that must not be forgotten.
        let stored_elsewhere = out.iter().find_map(|event| match event {
            OrderEvent::Late { token: late, store_in, .. } if *late == token => Some(*store_in),
            _ => None,
        });
        let clip = stored_elsewhere.unwrap_or_else(|| self.grid.clip_of(header.stamp_ns));
        self.note(ledger, clip, &header).then_some(clip)
    }

    /// Bytes of the payloads that wait for their turn.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held.values().map(|record| record.payload.len() as u64).sum()
    }

    /// Notes a message in its clip, so that its offset is not committed before the clip is sealed. Returns whether the clip is open.
    fn note(&mut self, ledger: &mut Ledger, clip: ClipId, header: &FrameHeader) -> bool {
        if self.sealed.contains_key(&clip) {
            ledger.pass(&header.position);
            return false;
        }
        ledger.note(&self.name, clip, &header.position);
        let open = self.open.entry(clip).or_insert_with(|| OpenClip {
            min_stamp_ns: header.stamp_ns,
            max_stamp_ns: header.stamp_ns,
            frames: 0,
            duplicates: 0,
            sensors: BTreeSet::new(),
            grade: header.grade.clone(),
        });
        open.min_stamp_ns = open.min_stamp_ns.min(header.stamp_ns);
        open.max_stamp_ns = open.max_stamp_ns.max(header.stamp_ns);
        open.frames += 1;
        open.sensors.insert((header.kind, header.sensor.clone()));
        true
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
        self.held.remove(&token)
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

    /// Lets go of a copy of a frame that is kept.
    pub(crate) fn duplicate(&mut self, token: u64) {
        let Some(record) = self.held.remove(&token) else { return };
        if let Some(open) = self.open.get_mut(&self.grid.clip_of(record.header.stamp_ns)) {
            open.duplicates += 1;
        }
    }

    pub(crate) fn sealed(&self, clip: ClipId) -> Option<&ManifestEntry> {
        self.sealed.get(&clip)
    }

    pub(crate) fn is_closed(&self, clip: ClipId) -> bool {
        self.closed.contains(&clip)
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
            first_stamp_ns: Some(open.min_stamp_ns),
            last_stamp_ns: Some(open.max_stamp_ns),
            counts: ClipCounts { frames: open.frames, dropped: duplicates, ..ClipCounts::default() },
            // Only those who spoke in this clip: of others a worker that starts here could not know.
            idle_sensors: idle
                .iter()
                .filter(|one| open.sensors.contains(one))
                .map(|(kind, sensor)| format!("{kind}/{sensor}"))
                .collect(),
            grade,
            config_sha256: job.config.labels_sha256(&job.taxonomy),
            models: BTreeMap::new(),
        })
    }

    /// The clip has its manifest entry.
    pub(crate) fn seal_done(&mut self, entry: ManifestEntry) {
        let clip = entry.clip;
        self.open.remove(&clip);
        self.closed.remove(&clip);
        self.sealed.insert(clip, entry);
    }

    /// Whether nothing came for so long although clips are open.
    pub(crate) fn is_silent(&self, limit: Duration) -> bool {
        self.open.len() > self.closed.len() && self.last_seen.elapsed() >= limit && self.has_nothing_to_come()
    }

    /// Whether all its partitions are at their end and silent.
    pub(crate) fn has_nothing_to_come(&self) -> bool {
        self.partitions.values().all(|quiet| *quiet)
    }

    /// Clips that are neither sealed nor on their way to be.
    pub(crate) fn open_clips(&self) -> usize {
        self.open.len().saturating_sub(self.closed.len())
    }
}

/// Whether a sealed clip's offset ranges hold a message: then it was read before.
pub(crate) fn covers(entry: &ManifestEntry, record: &Record) -> bool {
    let position = &record.header.position;
    entry.sources.iter().any(|range| {
        range.partition == position.partition
            && range.topic == *position.topic
            && (range.first_offset..=range.last_offset).contains(&position.offset)
    })
}
