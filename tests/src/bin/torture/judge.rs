//! Judges a round: the same files as the reference to the byte, every message in exactly one clip, every offset committed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use boxwright_shard::Dataset;
use boxwright_shard::verify::verify;
use boxwright_source::kafka::topics;
use boxwright_tests::files_below;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::data::{Data, is_entry};
use crate::round::Round;
use crate::windows::ClipFile;

/// How long a broker that was just started may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Files that are named one by one: a round that ended early lacks thousands.
const NAMED_FILES: usize = 20;

/// What is wrong with a round; nothing where all is as it must be.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) clips: u64,
    pub(crate) account: Account,
    /// Files that are missing, too many or different, with why.
    pub(crate) differing: Vec<String>,
    /// Partitions whose committed offset is not their end.
    pub(crate) uncommitted: Vec<String>,
}

/// Messages of a dataset against those of the topics.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) messages: u64,
    /// In no clip.
    pub(crate) lost: u64,
    /// In more than one clip, or twice in one.
    pub(crate) doubled: u64,
    /// Dead letters, though no message was bad: frames that came for a clip which was sealed without them.
    pub(crate) set_aside: u64,
    /// What else does not fit together: hashes, rows, sums, the chain of entries.
    pub(crate) problems: Vec<String>,
}

impl Account {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.set_aside == 0 && self.problems.is_empty()
    }
}

impl Verdict {
    /// What is wrong, in words.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.differing.iter().take(NAMED_FILES).cloned().collect();
        if self.differing.len() > NAMED_FILES {
            faults.push(format!("and {} files more", self.differing.len() - NAMED_FILES));
        }
        faults.extend(self.uncommitted.iter().cloned());
        if !self.account.is_clean() {
            faults.push(format!("{:?}", self.account));
        }
        faults
    }
}

pub(crate) fn judge(data: &Data, round: &Round) -> anyhow::Result<Verdict> {
    let files = files_below(&round.dataset);
    Ok(Verdict {
        clips: files.keys().filter(|path| is_entry(path)).count() as u64,
        differing: differences(&data.files, &files),
        account: account(&round.dataset, data).context("reading the round's dataset")?,
        uncommitted: uncommitted(data, &round.group)?,
    })
}

fn differences<P: Ord + AsRef<Path>>(reference: &BTreeMap<P, Vec<u8>>, files: &BTreeMap<P, Vec<u8>>) -> Vec<String> {
    let mut found = Vec::new();
    for (path, bytes) in reference {
        match files.get(path) {
            None => found.push(format!("{} is missing", path.as_ref().display())),
            Some(other) if other != bytes => found.push(format!("{} differs", path.as_ref().display())),
            Some(_) => {}
        }
    }
    found.extend(
        files.keys().filter(|path| !reference.contains_key(*path)).map(|path| format!("{} is too many", path.as_ref().display())),
    );
    found
}

/// Verifies a dataset as `boxwright verify` does, against offsets that the broker has: nothing may be set aside here, so every hole is a loss.
pub(crate) fn account(dataset: &Path, data: &Data) -> anyhow::Result<Account> {
    let mut found = verify(&Dataset::open(dataset)?, |_| {})?;
    for topic in data.frame_topics() {
        for partition in &topic.partitions {
            found.expect(&topic.name, partition.partition, partition.low, partition.high - 1);
        }
    }
    let messages = data.messages();
    let lost: u64 = found.partitions.iter().flat_map(|account| &account.holes).map(|[first, last]| last.abs_diff(*first) + 1).sum();
    let now = topics::list(&data.kafka)?;
    let letters = now.iter().filter(|topic| topic.name.ends_with(".dead-letter"));
    Ok(Account {
        messages,
        lost,
        doubled: (found.messages + lost).saturating_sub(messages),
        set_aside: letters.map(|topic| topic.messages).sum(),
        problems: found.problems.iter().map(ToString::to_string).collect(),
    })
}

/// Partitions of a group whose committed offset is not their end.
fn uncommitted(data: &Data, group: &str) -> anyhow::Result<Vec<String>> {
    let mut ends: BTreeMap<(String, i32), i64> = BTreeMap::new();
    for topic in data.frame_topics() {
        for partition in topic.partitions.iter().filter(|partition| partition.high > partition.low) {
            ends.insert((topic.name.clone(), partition.partition), partition.high);
        }
    }
    let committed = committed(&data.kafka.brokers, group, ends.keys())?;
    let wrong = ends.iter().filter(|(name, end)| committed.get(*name) != Some(*end));
    Ok(wrong
        .map(|((topic, partition), end)| {
            let got = committed.get(&(topic.clone(), *partition));
            format!("{topic}[{partition}]: expected the committed offset {end}, got {got:?}")
        })
        .collect())
}

/// Whether the offsets of a clip whose entry stands were not committed all.
pub(crate) fn is_uncommitted(round: &Round, clip: &ClipFile) -> anyhow::Result<bool> {
    let vehicle = clip.vehicle.trim_start_matches("vehicle=");
    let Some(entry) = Dataset::open(&round.dataset)?.entry(vehicle, boxwright_model::ClipId(clip.clip.parse()?), 0)? else {
        return Ok(false);
    };
    let names: Vec<(String, i32)> = entry.sources.iter().map(|range| (range.topic.clone(), range.partition)).collect();
    let committed = committed(&round.brokers, &round.group, names.iter())?;
    Ok(entry
        .sources
        .iter()
        .any(|range| committed.get(&(range.topic.clone(), range.partition)).is_none_or(|offset| *offset <= range.last_offset)))
}

/// What a group has committed, without joining it.
fn committed<'a>(
    brokers: &str,
    group: &str,
    partitions: impl Iterator<Item = &'a (String, i32)>,
) -> anyhow::Result<BTreeMap<(String, i32), i64>> {
    let mut options = rdkafka::config::ClientConfig::new();
    options.set("bootstrap.servers", brokers).set("group.id", group).set("log_level", "3");
    let consumer: BaseConsumer = options.create().context("cannot create a client")?;
    let mut wanted = TopicPartitionList::new();
    for (topic, partition) in partitions {
        wanted.add_partition(topic, *partition);
    }
    let found = consumer.committed_offsets(wanted, ANSWER).context("cannot ask for committed offsets")?;
    let offsets = found.elements().into_iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
        _ => None,
    });
    Ok(offsets.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_too_many_or_different_is_named() {
        let files = |list: &[(&'static str, &str)]| list.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())).collect();
        let reference: BTreeMap<&str, Vec<u8>> = files(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert!(differences(&reference, &reference).is_empty());
        let found = differences(&reference, &files(&[("a", "1"), ("b", "x"), (".d.1-2.tmp", "")]));
        assert_eq!(found, ["b differs", "c is missing", ".d.1-2.tmp is too many"]);
    }
}
