//! What a broker says of the frames, for whoever checks that none was lost: [`Audit`].
//!
//! Every offset of a frame topic is in a sealed clip, in the dead letters, not committed yet, or holds no message at all. This module
//! answers the last three; it joins no group, commits nothing, and writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boxwright_model::SourcePosition;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaConfig;
use super::client::{LogContext, await_broker, failed, watermarks};
use super::dead_letter::{REASON, SOURCE_OFFSET, SOURCE_PARTITION, SOURCE_TOPIC, topic_of};
use super::group::GroupProtocol;
use super::topics::counts_of;
use crate::error::SourceError;
use crate::record::PartitionId;

/// What the client may hold, in KiB: messages are looked at one by one and thrown away.
const PREFETCH_KBYTES: u32 = 16 * 1024;
/// A broker that sends neither a message nor the end of a partition for so long has failed.
const STALLED: Duration = Duration::from_secs(30);
/// How long one look at the connection may take.
const POLL: Duration = Duration::from_millis(100);
/// Messages between two calls of a progress callback.
const PROGRESS_EVERY: u64 = 256;

/// A partition of a frame topic.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AuditedPartition {
    /// Which.
    pub partition: PartitionId,
    /// First offset that is kept.
    pub low: i64,
    /// Next offset to be written.
    pub high: i64,
    /// Next offset that the group reads, where it has committed one.
    pub committed: Option<i64>,
}

/// What a dead letter says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where its message stood.
    pub source: SourcePosition,
    /// Why it was put aside: one of [`reason`](crate::reason), or the pipeline's own.
    pub reason: String,
    /// Where the letter itself stands.
    pub letter: SourcePosition,
}

/// What was found in the dead-letter topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LettersRead {
    /// Letters that say where they come from.
    pub letters: u64,
    /// Messages that do not: somebody else has put them there.
    pub foreign: u64,
}

/// How far a long look has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditProgress {
    /// Offsets looked at.
    pub done: u64,
    /// Offsets to look at.
    pub total: u64,
}

/// A connection for looking things up.
pub struct Audit {
    consumer: BaseConsumer<LogContext>,
    config: KafkaConfig,
}

impl Audit {
    /// Connects.
    ///
    /// # Errors
    /// [`SourceError::NoBroker`] within [`KafkaConfig::connect_timeout_ms`], or when an option is refused.
    pub fn connect(config: &KafkaConfig) -> Result<Self, SourceError> {
        // The group's name serves to ask for its offsets; without a subscription nobody joins it. An instance's name would be in the way
        // of the worker that has it.
        let plain = KafkaConfig {
            group_protocol: GroupProtocol::Classic,
            assignor: super::Assignor::Range,
            group_instance_id: String::new(),
            ..config.clone()
        };
        let mut options = plain.consumer_config()?;
        options.set("queued.max.messages.kbytes", PREFETCH_KBYTES.to_string()).set("statistics.interval.ms", "0");
        let consumer: BaseConsumer<LogContext> =
            options.create_with_context(LogContext).map_err(|error| failed("creating the client", &error))?;
        await_broker(consumer.client(), config, Instant::now() + config.connect_timeout())?;
        Ok(Self { consumer, config: config.clone() })
    }

    /// The partitions of the frame topics that exist, by topic and number.
    ///
    /// # Errors
    /// When the broker does not answer within [`KafkaConfig::connect_timeout_ms`].
    pub fn partitions(&self) -> Result<Vec<AuditedPartition>, SourceError> {
        let timeout = self.config.connect_timeout();
        let metadata = await_broker(self.consumer.client(), &self.config, Instant::now() + timeout)?;
        let mut asked = TopicPartitionList::new();
        for (topic, count) in counts_of(&metadata, &self.config) {
            asked.add_partition_range(&topic, 0, i32::try_from(count).unwrap_or(i32::MAX).saturating_sub(1));
        }
        let committed = self
            .consumer
            .committed_offsets(asked, timeout)
            .map_err(|error| failed(format!("asking for the offsets of group {}", self.config.group_id), &error))?;
        let mut partitions = Vec::new();
        for element in committed.elements() {
            let partition = PartitionId { topic: element.topic().into(), partition: element.partition() };
            let (low, high) = self.watermarks(&partition)?;
            let committed = if let Offset::Offset(offset) = element.offset() { Some(offset) } else { None };
            partitions.push(AuditedPartition { partition, low, high, committed });
        }
        partitions.sort_by(|a, b| a.partition.cmp(&b.partition));
        Ok(partitions)
    }

    /// Reads the dead-letter topics of the frame topics, as far as they reach now, letter by letter. Topics that are not there hold none.
    ///
    /// # Errors
    /// When the broker does not go on.
    pub fn dead_letters(
        &self,
        found: &mut dyn FnMut(DeadLetter),
        progress: &mut dyn FnMut(&AuditProgress),
    ) -> Result<LettersRead, SourceError> {
        let metadata = await_broker(self.consumer.client(), &self.config, Instant::now() + self.config.connect_timeout())?;
        let wanted: Vec<String> = self.config.topics().iter().map(|topic| topic_of(topic)).collect();
        let mut ranges = Vec::new();
        for topic in metadata.topics().iter().filter(|topic| wanted.iter().any(|name| name == topic.name())) {
            let name: Arc<str> = topic.name().into();
            for number in topic.partitions() {
                let partition = PartitionId { topic: name.clone(), partition: number.id() };
                let (low, high) = self.watermarks(&partition)?;
                ranges.push((partition, low, high - 1));
            }
        }
        let mut told = Told::new(ranges.iter().map(|(_, first, last)| span(*first, *last)).sum(), progress);
        let mut read = LettersRead::default();
        for (partition, first, last) in &ranges {
            self.scan(partition, *first, *last, &mut |message| {
                told.step();
                match letter_of(message) {
                    Some(letter) => {
                        read.letters += 1;
                        found(letter);
                    }
                    None => read.foreign += 1,
                }
            })?;
        }
        told.finish();
        Ok(read)
    }

    /// Which offsets of a partition hold a message, as runs of first and last. Others hold a control record, or what they held is
    /// compacted, expired, or part of a transaction that was aborted.
    ///
    /// `ranges` are inclusive. Reads every message in them once and keeps only the runs.
    ///
    /// # Errors
    /// When the broker does not go on.
    pub fn messages_in(
        &self,
        partition: &PartitionId,
        ranges: &[(i64, i64)],
        progress: &mut dyn FnMut(&AuditProgress),
    ) -> Result<Vec<(i64, i64)>, SourceError> {
        let (low, high) = self.watermarks(partition)?;
        let kept = merged(ranges, low, high - 1);
        let mut told = Told::new(kept.iter().map(|(first, last)| span(*first, *last)).sum(), progress);
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for (first, last) in kept {
            self.scan(partition, first, last, &mut |message| {
                told.step();
                match runs.last_mut() {
                    Some((_, end)) if *end + 1 == message.offset() => *end = message.offset(),
                    _ => runs.push((message.offset(), message.offset())),
                }
            })?;
        }
        told.finish();
        Ok(runs)
    }

    fn watermarks(&self, partition: &PartitionId) -> Result<(i64, i64), SourceError> {
        watermarks(self.consumer.client(), &self.config, &partition.topic, partition.partition)
    }

    /// Shows every message from `first` to `last`.
    fn scan(
        &self,
        partition: &PartitionId,
        first: i64,
        last: i64,
        show: &mut dyn FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), SourceError> {
        if first > last {
            return Ok(());
        }
        let action = || format!("reading {partition} from {first} to {last}");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(first))
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|error| failed(action(), &error))?;
        let mut heard = Instant::now();
        let done = loop {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    if message.offset() > last {
                        break Ok(());
                    }
                    show(&message);
                    if message.offset() == last {
                        break Ok(());
                    }
                }
                // What follows up to `last` holds no message.
                Some(Err(KafkaError::PartitionEOF(_))) => break Ok(()),
                // The client goes on by itself, or there will be silence.
                Some(Err(error)) => tracing::debug!(%error, "while reading for an audit"),
                None => {}
            }
            if heard.elapsed() >= STALLED {
                let message = format!("expected a message or the end, got nothing for {} s", STALLED.as_secs());
                break Err(SourceError::Kafka { action: action(), message });
            }
        };
        self.consumer.unassign().map_err(|error| failed(action(), &error))?;
        done
    }
}

/// Tells how far it is, now and then.
struct Told<'a> {
    progress: AuditProgress,
    tell: &'a mut dyn FnMut(&AuditProgress),
}

impl<'a> Told<'a> {
    fn new(total: u64, tell: &'a mut dyn FnMut(&AuditProgress)) -> Self {
        let progress = AuditProgress { done: 0, total };
        tell(&progress);
        Self { progress, tell }
    }

    fn step(&mut self) {
        self.progress.done += 1;
        if self.progress.done.is_multiple_of(PROGRESS_EVERY) {
            (self.tell)(&self.progress);
        }
    }

    fn finish(mut self) {
        self.progress.done = self.progress.total;
        (self.tell)(&self.progress);
    }
}

fn span(first: i64, last: i64) -> u64 {
    u64::try_from(last - first + 1).unwrap_or(0)
}

/// The ranges in order, without overlap, cut to what is kept.
fn merged(ranges: &[(i64, i64)], low: i64, last: i64) -> Vec<(i64, i64)> {
    let mut kept: Vec<(i64, i64)> =
        ranges.iter().map(|(from, to)| ((*from).max(low), (*to).min(last))).filter(|(from, to)| from <= to).collect();
    kept.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::with_capacity(kept.len());
    for (from, to) in kept {
        match merged.last_mut() {
            Some((_, end)) if from <= end.saturating_add(1) => *end = (*end).max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

fn letter_of(message: &BorrowedMessage<'_>) -> Option<DeadLetter> {
    // Header names may be anything where somebody else has written: see the poll loop.
    let texts = super::poll::headers_of(message)?;
    let texts: BTreeMap<&str, &str> =
        texts.into_iter().filter_map(|(name, value)| Some((name, std::str::from_utf8(value).ok()?))).collect();
    Some(DeadLetter {
        source: SourcePosition {
            topic: (*texts.get(SOURCE_TOPIC)?).into(),
            partition: texts.get(SOURCE_PARTITION)?.parse().ok()?,
            offset: texts.get(SOURCE_OFFSET)?.parse().ok()?,
        },
        reason: (*texts.get(REASON)?).to_owned(),
        letter: SourcePosition { topic: message.topic().into(), partition: message.partition(), offset: message.offset() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_cut_to_what_is_kept() {
        assert_eq!(merged(&[(5, 9), (0, 2), (3, 4), (20, 30), (25, 27), (40, 50)], 1, 28), [(1, 9), (20, 28)]);
        assert_eq!(merged(&[(7, 3)], 0, 10), []);
    }
}
