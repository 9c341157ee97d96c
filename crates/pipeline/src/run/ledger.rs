//! Which clip holds which offsets, and what may therefore be committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::{ClipId, SourcePosition};
use boxwright_shard::SourceRange;
use boxwright_source::PartitionId;

/// Offsets of one partition that went into one clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: i64,
    last: i64,
    count: u64,
}

/// The account of offsets of one run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Clips that are not sealed, with the offsets they hold.
    open: BTreeMap<(Arc<str>, ClipId), BTreeMap<PartitionId, Span>>,
    /// Next offset of every partition that was read.
    next: BTreeMap<PartitionId, i64>,
    /// What was committed last.
    committed: BTreeMap<PartitionId, i64>,
}

impl Ledger {
    /// Notes a frame in the clip that it belongs to.
    pub(crate) fn note(&mut self, vehicle: &Arc<str>, clip: ClipId, position: &SourcePosition) {
        self.pass(position);
        let (partition, offset) = (PartitionId { topic: position.topic.clone(), partition: position.partition }, position.offset);
        let span = self.open.entry((vehicle.clone(), clip)).or_default().entry(partition).or_insert(Span {
            first: offset,
            last: offset,
            count: 0,
        });
        span.first = span.first.min(offset);
        span.last = span.last.max(offset);
        span.count += 1;
    }

    /// Notes a message that belongs to no open clip.
    pub(crate) fn pass(&mut self, position: &SourcePosition) {
        let partition = PartitionId { topic: position.topic.clone(), partition: position.partition };
        let next = self.next.entry(partition).or_insert(0);
        *next = (*next).max(position.offset + 1);
    }

    /// The ranges of a clip, for its manifest entry.
    pub(crate) fn ranges(&self, vehicle: &Arc<str>, clip: ClipId) -> Vec<SourceRange> {
        let Some(spans) = self.open.get(&(vehicle.clone(), clip)) else { return Vec::new() };
        spans
            .iter()
            .map(|(partition, span)| SourceRange {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                first_offset: span.first,
                last_offset: span.last,
                count: span.count,
            })
            .collect()
    }

    /// The clip has its manifest entry.
    pub(crate) fn sealed(&mut self, vehicle: &Arc<str>, clip: ClipId) {
        self.open.remove(&(vehicle.clone(), clip));
    }

    /// The vehicle went to another worker.
    pub(crate) fn forget_vehicle(&mut self, vehicle: &Arc<str>) {
        self.open.retain(|(name, _), _| name != vehicle);
    }

    /// The partitions went to another worker, who may commit other offsets for them.
    pub(crate) fn forget_partitions(&mut self, partitions: &[PartitionId]) {
        for partition in partitions {
            self.next.remove(partition);
            self.committed.remove(partition);
        }
    }

    /// For every partition the offset that may be committed now, where it differs from what was committed last.
    pub(crate) fn uncommitted(&self) -> Vec<(PartitionId, i64)> {
        let lowest_open =
            |partition: &PartitionId| self.open.values().filter_map(|spans| spans.get(partition)).map(|span| span.first).min();
        self.next
            .iter()
            .map(|(partition, next)| (partition.clone(), lowest_open(partition).map_or(*next, |first| first.min(*next))))
            .filter(|(partition, offset)| self.committed.get(partition) != Some(offset))
            .collect()
    }

    /// The commit was acknowledged.
    pub(crate) fn committed(&mut self, offsets: &[(PartitionId, i64)]) {
        self.committed.extend(offsets.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> SourcePosition {
        SourcePosition { topic: "ad.lidar".into(), partition: 0, offset }
    }

    #[test]
    fn nothing_of_an_unsealed_clip_is_ever_committed() {
        let (vehicle, lidar) = (Arc::<str>::from("v"), PartitionId { topic: "ad.lidar".into(), partition: 0 });
        let mut ledger = Ledger::default();
        ledger.note(&vehicle, ClipId(1), &at(10));
        ledger.note(&vehicle, ClipId(2), &at(11));
        ledger.note(&vehicle, ClipId(1), &at(12));
        ledger.note(&vehicle, ClipId(2), &at(13));
        assert_eq!(ledger.uncommitted(), [(lidar.clone(), 10)]);
        ledger.sealed(&vehicle, ClipId(1));
        assert_eq!(ledger.uncommitted(), [(lidar.clone(), 11)]);
        ledger.sealed(&vehicle, ClipId(2));
        assert_eq!(ledger.uncommitted(), [(lidar.clone(), 14)]);
        ledger.committed(&[(lidar, 14)]);
        assert!(ledger.uncommitted().is_empty());
    }

    #[test]
    fn ranges_say_first_last_and_count() {
        let vehicle = Arc::<str>::from("v");
        let mut ledger = Ledger::default();
        for offset in [5, 7, 9] {
            ledger.note(&vehicle, ClipId(1), &at(offset));
        }
        let ranges = ledger.ranges(&vehicle, ClipId(1));
        assert_eq!((ranges[0].first_offset, ranges[0].last_offset, ranges[0].count), (5, 9, 3));
    }
}
