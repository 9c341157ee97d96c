//! Partitions that belong together: those of one number, over all topics, hold all sensors of the same vehicles.
//!
//! Assignors give them to one worker, all at once or one after the other. Until all are here, none of them is read, so that the order of
//! a vehicle never begins without a sensor. When they do not come within [`PATIENCE`], the group is not shared out by number, and the
//! source ends with an error that says so. With one topic for all kinds there is nothing to wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::error::SourceError;
use crate::record::PartitionId;

/// How long partitions of one number may come one by one. A worker that gives one up has 20 s to finish with it, a topic that was just
/// made is seen after 10 s, and the group then needs a rebalance of a session's length.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often the topics are looked up while something is missing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Siblings {
    /// All topics that are read.
    topics: Vec<String>,
    /// Partitions of those that exist.
    counts: BTreeMap<String, usize>,
    /// Numbers of which something is missing, what, and since when.
    incomplete: BTreeMap<i32, (Vec<String>, Instant)>,
    patience: Duration,
    last_look: Instant,
}

impl Siblings {
    pub(crate) fn new(topics: Vec<String>, counts: BTreeMap<String, usize>, patience: Duration) -> Self {
        Self { topics, counts, incomplete: BTreeMap::new(), patience, last_look: Instant::now() }
    }

    /// Whether partitions of this number are not to be read yet.
    pub(crate) fn is_incomplete(&self, number: i32) -> bool {
        self.incomplete.contains_key(&number)
    }

    /// Whether it may look different without a change of the assignment: something is missing, or a partition came that is not known.
    pub(crate) fn is_unsettled(&self, assigned: &BTreeSet<PartitionId>) -> bool {
        let is_known = |one: &PartitionId| self.counts.get(&*one.topic).is_some_and(|count| (one.partition as usize) < *count);
        !self.incomplete.is_empty() || !assigned.iter().all(is_known)
    }

    /// Whether it is time to look the topics up again.
    pub(crate) fn wants_look(&self, assigned: &BTreeSet<PartitionId>) -> bool {
        self.last_look.elapsed() >= LOOK_EVERY && self.is_unsettled(assigned)
    }

    /// Takes over what a look has found.
    pub(crate) fn looked(&mut self, counts: Option<BTreeMap<String, usize>>) {
        self.last_look = Instant::now();
        if let Some(counts) = counts {
            self.counts = counts;
        }
    }

    /// Compares what is assigned with what exists.
    ///
    /// # Errors
    /// When partitions of a number have been missing for too long.
    pub(crate) fn check(&mut self, assigned: &BTreeSet<PartitionId>) -> Result<(), SourceError> {
        let numbers: BTreeSet<i32> = assigned.iter().map(|partition| partition.partition).collect();
        self.incomplete.retain(|number, _| numbers.contains(number));
        for number in numbers {
            let missing = self.missing(number, assigned);
            if missing.is_empty() {
                self.incomplete.remove(&number);
                continue;
            }
            let (names, since) = self.incomplete.entry(number).or_insert_with(|| {
                tracing::info!(number, missing = missing.join(", "), "waiting for the rest of the partitions of this number");
                (Vec::new(), Instant::now())
            });
            *names = missing;
            if since.elapsed() >= self.patience {
                return Err(torn(number, &names.join(", "), self.patience));
            }
        }
        Ok(())
    }

    fn missing(&self, number: i32, assigned: &BTreeSet<PartitionId>) -> Vec<String> {
        let is_here = |topic: &str| assigned.iter().any(|one| one.partition == number && &*one.topic == topic);
        let exists = |topic: &String| self.counts.get(topic).is_some_and(|count| (number as usize) < *count);
        self.topics.iter().filter(|topic| exists(topic) && !is_here(topic)).map(|topic| format!("{topic}[{number}]")).collect()
    }
}

/// Partitions that stay although some of the same number go.
pub(crate) fn left_behind(assigned: &BTreeSet<PartitionId>, going: &[PartitionId]) -> Vec<PartitionId> {
    let goes_with = |one: &&PartitionId| going.iter().any(|gone| gone.partition == one.partition) && !going.contains(one);
    assigned.iter().filter(goes_with).cloned().collect()
}

const HINT: &str = "all topics need the same number of partitions (`boxwright topics list`), and all workers of the group the same \
                    topics and kafka.assignor; topic_layout = \"single\" needs none of this";

fn torn(number: i32, missing: &str, patience: Duration) -> SourceError {
    let message = format!(
        "expected the partitions of number {number} of all topics, did not get {missing} within {} s: the sensors of a vehicle would \
         reach different workers\nhint: {HINT}",
        patience.as_secs_f64()
    );
    SourceError::Kafka { action: "sharing the partitions".to_owned(), message }
}

/// The group takes away some partitions of a number and not all.
pub(crate) fn torn_away(going: &[PartitionId], staying: &[PartitionId]) -> SourceError {
    let names = |list: &[PartitionId]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!(
        "expected partitions of one number to go together, got {} without {}: nothing more is committed, a new start reads on from the \
         last commit\nhint: {HINT}",
        names(going),
        names(staying)
    );
    SourceError::Kafka { action: "sharing the partitions".to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[(&str, i32)]) -> BTreeSet<PartitionId> {
        names.iter().map(|(topic, partition)| PartitionId { topic: (*topic).into(), partition: *partition }).collect()
    }

    fn siblings(patience: Duration) -> Siblings {
        let topics = ["a", "b", "c"].map(str::to_owned).to_vec();
        // `c` is not there yet.
        Siblings::new(topics, BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 2)]), patience)
    }

    #[test]
    fn a_number_waits_until_all_of_it_is_here() {
        let mut siblings = siblings(PATIENCE);
        siblings.check(&set(&[("a", 0), ("b", 0), ("a", 1)])).unwrap();
        assert!(!siblings.is_incomplete(0) && siblings.is_incomplete(1));
        siblings.check(&set(&[("a", 0), ("b", 0), ("a", 1), ("b", 1)])).unwrap();
        assert!(!siblings.is_incomplete(1));
        siblings.check(&set(&[("b", 0)])).unwrap();
        assert!(siblings.is_incomplete(0));
        siblings.check(&set(&[])).unwrap();
        assert!(!siblings.is_incomplete(0));
    }

    #[test]
    fn what_does_not_come_is_an_error_that_names_it() {
        let mut siblings = siblings(Duration::ZERO);
        let text = siblings.check(&set(&[("a", 1)])).unwrap_err().to_string();
        assert!(text.contains("did not get b[1]") && text.contains("hint:") && !text.contains("c["), "{text}");
    }

    #[test]
    fn what_is_left_behind_is_named() {
        let assigned = set(&[("a", 0), ("b", 0), ("a", 1), ("b", 1)]);
        let going = |names: &[(&str, i32)]| set(names).into_iter().collect::<Vec<_>>();
        assert!(left_behind(&assigned, &going(&[("a", 0), ("b", 0)])).is_empty());
        assert_eq!(left_behind(&assigned, &going(&[("a", 0), ("a", 1), ("b", 1)])), going(&[("b", 0)]));
    }
}
