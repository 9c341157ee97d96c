//! Which clip holds which offsets, and what may therefore be committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::{ClipId, SourcePosition};
use boxwright_shard::{ManifestEntry, SourceRange};
use boxwright_source::PartitionId;

/// Offsets as runs `first → last` of neighbours, so that a clip of one vehicle in a partition of its own is one pair of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Offsets(BTreeMap<i64, i64>);

impl Offsets {
    fn insert(&mut self, offset: i64) {
        let before = self.0.range(..=offset).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| offset <= last) {
            return;
        }
        let first = before.filter(|(_, last)| last.checked_add(1) == Some(offset)).map_or(offset, |(first, _)| first);
        let joined = offset.checked_add(1).and_then(|next| self.0.remove(&next));
        self.0.insert(first, joined.unwrap_or(offset));
    }

    fn first(&self) -> Option<i64> {
        self.0.keys().next().copied()
    }

    fn runs(&self) -> Vec<[i64; 2]> {
        self.0.iter().map(|(first, last)| [*first, *last]).collect()
    }
}

/// The account of offsets of one run. A message that is read is *held* by its vehicle until the order has decided about it; then it is
/// noted in the clip that keeps it, or passed where no clip does.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Clips that are not sealed, with the offsets they hold.
    open: BTreeMap<(Arc<str>, ClipId), BTreeMap<PartitionId, Offsets>>,
    /// Next offset of every partition that was read.
    next: BTreeMap<PartitionId, i64>,
    /// What was committed last.
    committed: BTreeMap<PartitionId, i64>,
}

impl Ledger {
    /// Notes a message in the clip that keeps it.
    pub(crate) fn note(&mut self, vehicle: &Arc<str>, clip: ClipId, position: &SourcePosition) {
        self.pass(position);
        let of_clip = self.open.entry((vehicle.clone(), clip)).or_default();
        of_clip.entry(partition_of(position)).or_default().insert(position.offset);
    }

    /// Notes a message that belongs to no open clip.
    pub(crate) fn pass(&mut self, position: &SourcePosition) {
        let next = self.next.entry(partition_of(position)).or_insert(0);
        *next = (*next).max(position.offset.saturating_add(1));
    }

    /// The messages of a clip, for its manifest entry.
    pub(crate) fn ranges(&self, vehicle: &Arc<str>, clip: ClipId) -> Vec<SourceRange> {
        let Some(offsets) = self.open.get(&(vehicle.clone(), clip)) else { return Vec::new() };
        offsets
            .iter()
            .filter_map(|(partition, offsets)| SourceRange::from_runs(&partition.topic, partition.partition, offsets.runs()))
            .collect()
    }

    /// The messages of a clip that its entry does not hold: how many, and the first of them.
    pub(crate) fn missing_from(&self, entry: &ManifestEntry) -> Option<(u64, SourcePosition)> {
        let (mut missing, mut first) = (0, None);
        for range in self.ranges(&entry.vehicle, entry.clip).iter().filter(|range| !entry.sources.contains(range)) {
            for offset in range.runs.iter().flat_map(|[first, last]| *first..=*last) {
                if !entry.sources.iter().any(|theirs| theirs.contains(&range.topic, range.partition, offset)) {
                    missing += 1;
                    first.get_or_insert_with(|| SourcePosition {
                        topic: range.topic.as_str().into(),
                        partition: range.partition,
                        offset,
                    });
                }
            }
        }
        first.map(|first| (missing, first))
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

    /// For every partition the offset that may be committed now, where it differs from what was committed last. `held` are the
    /// messages about which nothing is decided yet.
    pub(crate) fn uncommitted<'a>(&self, held: impl Iterator<Item = &'a SourcePosition>) -> Vec<(PartitionId, i64)> {
        let mut next = self.next.clone();
        let mut lower = |partition: PartitionId, offset: i64| {
            let bound = next.entry(partition).or_insert(offset);
            *bound = offset.min(*bound);
        };
        for (partition, offsets) in self.open.values().flatten() {
            if let Some(first) = offsets.first() {
                lower(partition.clone(), first);
            }
        }
        held.for_each(|position| lower(partition_of(position), position.offset));
        next.into_iter().filter(|(partition, offset)| self.committed.get(partition) != Some(offset)).collect()
    }

    /// The commit was acknowledged.
    pub(crate) fn committed(&mut self, offsets: &[(PartitionId, i64)]) {
        self.committed.extend(offsets.iter().cloned());
    }
}

fn partition_of(position: &SourcePosition) -> PartitionId {
    PartitionId { topic: position.topic.clone(), partition: position.partition }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> SourcePosition {
        SourcePosition { topic: "ad.lidar".into(), partition: 0, offset }
    }

    fn uncommitted(ledger: &Ledger, held: &[SourcePosition]) -> Vec<(PartitionId, i64)> {
        ledger.uncommitted(held.iter())
    }

    #[test]
    fn nothing_of_an_unsealed_clip_is_ever_committed() {
        let (vehicle, lidar) = (Arc::<str>::from("v"), PartitionId { topic: "ad.lidar".into(), partition: 0 });
        let mut ledger = Ledger::default();
        ledger.note(&vehicle, ClipId(1), &at(10));
        ledger.note(&vehicle, ClipId(2), &at(11));
        ledger.note(&vehicle, ClipId(1), &at(12));
        ledger.note(&vehicle, ClipId(2), &at(13));
        assert_eq!(uncommitted(&ledger, &[]), [(lidar.clone(), 10)]);
        ledger.sealed(&vehicle, ClipId(1));
        assert_eq!(uncommitted(&ledger, &[]), [(lidar.clone(), 11)]);
        ledger.sealed(&vehicle, ClipId(2));
        assert_eq!(uncommitted(&ledger, &[]), [(lidar.clone(), 14)]);
        ledger.committed(&[(lidar, 14)]);
        assert!(uncommitted(&ledger, &[]).is_empty());
    }

    #[test]
    fn nothing_that_is_held_is_ever_committed() {
        let (vehicle, lidar) = (Arc::<str>::from("v"), PartitionId { topic: "ad.lidar".into(), partition: 0 });
        let mut ledger = Ledger::default();
        assert_eq!(uncommitted(&ledger, &[at(5)]), [(lidar.clone(), 5)]);
        ledger.note(&vehicle, ClipId(1), &at(6));
        ledger.sealed(&vehicle, ClipId(1));
        assert_eq!(uncommitted(&ledger, &[at(5), at(9)]), [(lidar.clone(), 5)]);
        assert_eq!(uncommitted(&ledger, &[at(9)]), [(lidar, 7)]);
    }

    #[test]
    fn ranges_say_exactly_which() {
        let vehicle = Arc::<str>::from("v");
        let mut ledger = Ledger::default();
        for offset in [9, 5, 7, 6, 12, 5, i64::MAX] {
            ledger.note(&vehicle, ClipId(1), &at(offset));
        }
        let ranges = ledger.ranges(&vehicle, ClipId(1));
        assert_eq!(ranges[0].runs, [[5, 7], [9, 9], [12, 12], [i64::MAX, i64::MAX]]);
        assert_eq!((ranges[0].first_offset, ranges[0].last_offset, ranges[0].count), (5, i64::MAX, 6));
        let held = |offset| ranges[0].contains("ad.lidar", 0, offset);
        assert_eq!([4, 5, 7, 8, 9, 10, 12, 13].map(held), [false, true, true, false, true, false, true, false]);
        assert!(!ranges[0].contains("ad.camera", 0, 5) && !ranges[0].contains("ad.lidar", 1, 5));
    }
}
