//! What is done to the workers, in which order: drawn from the seed before anything starts.
//!
//! The same seed makes the same plan. What a deed meets still depends on the machine, which is why the report counts what was really hit.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Longest wait before a deed, in milliseconds: long enough for a worker that joins a group of the dead to have come to its work.
const MAX_WAIT_MS: u64 = 2200;
/// Longest absence of a broker, in milliseconds; an Apache Kafka takes some seconds more to come back.
const MAX_AWAY_MS: u64 = 2500;
/// Workers change their number at one deed of so many: a group that does nothing but rebalance makes no headway.
const CHANGE_WORKERS_EVERY: u32 = 4;
/// Most workers at once.
pub(crate) const MAX_WORKERS: usize = 3;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) kills: u32,
    pub(crate) broker_stops: u32,
    pub(crate) pauses: u32,
    pub(crate) terms: u32,
    pub(crate) disk_full: u32,
    pub(crate) clock_jumps: u32,
}

/// When a worker is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Whenever.
    Any,
    /// While a shard grows under its temporary name.
    FileGrows,
    /// A shard has its final name and its clip no manifest entry.
    FileNamed,
    /// The manifest entry stands and its offsets are not committed.
    EntryMade,
    /// Partitions go from one worker to another.
    Rebalance,
}

impl Moment {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Any => "anywhere",
            Self::FileGrows => "while a file grows",
            Self::FileNamed => "named without entry",
            Self::EntryMade => "entry without commit",
            Self::Rebalance => "in a rebalance",
        }
    }

    /// The moments of ten kills in a row.
    const TEN: [Self; 10] = [
        Self::Any,
        Self::FileNamed,
        Self::EntryMade,
        Self::FileGrows,
        Self::Rebalance,
        Self::Any,
        Self::FileNamed,
        Self::EntryMade,
        Self::Rebalance,
        Self::Any,
    ];
}

/// One thing that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Kill(Moment),
    Terminate,
    StopBroker { hard: bool, away_ms: u64 },
    Pause,
    FillDisk,
    JumpClock { ahead: bool },
}

/// A deed with everything that is drawn for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) deed: Deed,
    /// Waits so long before it.
    pub(crate) wait_ms: u64,
    /// Workers that are there when it is done.
    pub(crate) workers: usize,
    /// Picks the worker.
    pub(crate) pick: u32,
}

impl Step {
    pub(crate) fn needs_small_disk(&self) -> bool {
        self.deed == Deed::FillDisk
    }
}

/// Draws the plan.
pub(crate) fn draw(wanted: &Wanted, seed: u64) -> Vec<Step> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut deeds: Vec<Deed> = Moment::TEN.iter().copied().cycle().take(wanted.kills as usize).map(Deed::Kill).collect();
    deeds.extend((0..wanted.terms).map(|_| Deed::Terminate));
    deeds.extend((0..wanted.pauses).map(|_| Deed::Pause));
    deeds.extend((0..wanted.disk_full).map(|_| Deed::FillDisk));
    deeds.extend((0..wanted.clock_jumps).map(|count| Deed::JumpClock { ahead: count % 2 == 0 }));
    deeds.extend(
        (0..wanted.broker_stops)
            .map(|count| Deed::StopBroker { hard: count % 2 == 1, away_ms: random.random_range(0..MAX_AWAY_MS) }),
    );
    deeds.shuffle(&mut random);
    let mut workers = 1;
    deeds
        .into_iter()
        .map(|deed| {
            if random.random_range(0..CHANGE_WORKERS_EVERY) == 0 {
                workers = random.random_range(1..=MAX_WORKERS);
            }
            Step { deed, wait_ms: random.random_range(0..MAX_WAIT_MS), workers, pick: random.random() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { kills: 40, broker_stops: 4, pauses: 3, terms: 2, disk_full: 1, clock_jumps: 2 };

    #[test]
    fn the_plan_holds_what_is_wanted_and_nothing_else() {
        let plan = draw(&WANTED, 3);
        let count = |wanted: fn(&Deed) -> bool| plan.iter().filter(|step| wanted(&step.deed)).count();
        assert_eq!(count(|deed| matches!(deed, Deed::Kill(_))), 40);
        assert_eq!(count(|deed| matches!(deed, Deed::Kill(Moment::Any))), 12, "three of ten");
        assert_eq!(count(|deed| matches!(deed, Deed::StopBroker { hard: true, .. })), 2, "every other one");
        assert_eq!(count(|deed| matches!(deed, Deed::Pause)), 3);
        assert_eq!(plan.len(), 40 + 4 + 3 + 2 + 1 + 2);
        assert!(plan.iter().all(|step| (1..=MAX_WORKERS).contains(&step.workers)));
    }

    #[test]
    fn the_same_seed_makes_the_same_plan_and_another_does_not() {
        let text = |seed| format!("{:?}", draw(&WANTED, seed));
        assert_eq!(text(3), text(3));
        assert_ne!(text(3), text(4));
    }
}
