//! Who may still have something to say: the partitions that are this worker's, and which of them are at their ends and silent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// So much longer than asked for must an idle run wait for the end of a partition before somebody is told. One that has just come to its end says so
/// within a second or two; a loaded machine takes longer.
const ODD: Duration = Duration::from_secs(10);

/// Partitions by the run's numbers.
#[derive(Debug)]
pub(super) struct Silence {
    assigned: BTreeSet<u32>,
    /// Those of which the last news was that they are at their end and silent.
    quiet: BTreeSet<u32>,
    /// When something came last.
    since: Instant,
    /// Whether somebody was told why an idle run does not end.
    is_told: bool,
}

/// What an idle run does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Wait,
    /// It goes on, and somebody should know for which partitions: their broker is slow or away.
    Tell(Vec<u32>),
    /// It ends.
    End,
}

impl Silence {
    pub(super) fn new() -> Self {
        Self { assigned: BTreeSet::new(), quiet: BTreeSet::new(), since: Instant::now(), is_told: false }
    }

    /// Something came that shows that the run is not idle.
    pub(super) fn broken(&mut self) {
        (self.since, self.is_told) = (Instant::now(), false);
    }

    pub(super) fn assigned(&mut self, partition: u32) {
        self.assigned.insert(partition);
    }

    pub(super) fn revoked(&mut self, partitions: &[u32]) {
        self.assigned.retain(|number| !partitions.contains(number));
        self.quiet.retain(|number| !partitions.contains(number));
    }

    /// A message came from it, usable or not.
    pub(super) fn spoke(&mut self, partition: u32) {
        self.quiet.remove(&partition);
    }

    /// It is at its end and silent.
    pub(super) fn fell(&mut self, partition: u32) {
        self.quiet.insert(partition);
    }

    pub(super) fn is_quiet(&self, partition: u32) -> bool {
        self.quiet.contains(&partition)
    }

    pub(super) fn quiet(&self) -> impl Iterator<Item = u32> {
        self.quiet.iter().copied()
    }

    /// Whether a run ends that is to end when nothing came for `limit`: only at the end of all its partitions. A worker that was taken for dead, because it
    /// or the broker stood still, has none; it has `rejoins` more to come back into its group, and reads again what it had not sealed.
    pub(super) fn judge(&mut self, limit: Duration, rejoins: Duration) -> Verdict {
        let limit = limit + if self.assigned.is_empty() { rejoins } else { Duration::ZERO };
        let silent_for = self.since.elapsed();
        if silent_for < limit {
            return Verdict::Wait;
        }
        let waits_for: Vec<u32> = self.assigned.difference(&self.quiet).copied().collect();
        if waits_for.is_empty() {
            Verdict::End
        } else if silent_for >= limit + ODD && !std::mem::replace(&mut self.is_told, true) {
            Verdict::Tell(waits_for)
        } else {
            Verdict::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(4);

    /// As if nothing had come for so long.
    fn silent(seconds: u64, assigned: &[u32], quiet: &[u32]) -> Silence {
        let since = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        Silence { assigned: assigned.iter().copied().collect(), quiet: quiet.iter().copied().collect(), since, is_told: false }
    }

    #[test]
    fn a_run_ends_only_at_the_end_of_all_its_partitions() {
        let judge = |mut silence: Silence| silence.judge(LIMIT, Duration::from_secs(10));
        assert_eq!(judge(silent(3, &[1, 2], &[1, 2])), Verdict::Wait);
        assert_eq!(judge(silent(5, &[1, 2], &[1, 2])), Verdict::End);
        assert_eq!(judge(silent(60, &[1, 2], &[1])), Verdict::Tell(vec![2]));
        // Where all were taken away, there is time to come back.
        assert_eq!([13, 15].map(|seconds| judge(silent(seconds, &[], &[]))), [Verdict::Wait, Verdict::End]);
    }

    #[test]
    fn what_it_waits_for_is_told_once_a_silence_and_not_at_once() {
        let mut silence = silent(5, &[1, 2], &[]);
        assert_eq!(silence.judge(LIMIT, Duration::ZERO), Verdict::Wait);
        silence = silent(15, &[1, 2], &[]);
        assert_eq!(silence.judge(LIMIT, Duration::ZERO), Verdict::Tell(vec![1, 2]));
        assert_eq!(silence.judge(LIMIT, Duration::ZERO), Verdict::Wait);
        silence.broken();
        assert!(!silence.is_told);
    }

    #[test]
    fn a_partition_that_spoke_or_went_away_is_not_quiet() {
        let mut silence = silent(5, &[1, 2, 3], &[1, 2, 3]);
        silence.spoke(2);
        silence.revoked(&[3]);
        assert_eq!(silence.quiet().collect::<Vec<_>>(), [1]);
        silence.fell(2);
        assert_eq!(silence.judge(LIMIT, Duration::ZERO), Verdict::End);
    }
}
