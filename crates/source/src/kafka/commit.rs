//! Commits, on a thread of their own: librdkafka waits for a group's coordinator for as long as a session lasts and for a lost answer
//! even longer, and the pipeline's thread must not.
//!
//! A commit waits [`COMMIT_WAIT`] for the broker. What is not acknowledged by then, or refused for a reason that passes, is held over and
//! tried again with the next commit and every [`RETRY_EVERY`]: until then a crash only makes more frames be read again, which the
//! manifest recognises. A member that is out of its group is such a reason: its partitions are about to be taken away, and what is held
//! over for them goes with them.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{failed, fatal_error};
use super::rebalance::{SourceConsumer, SourceContext};
use crate::error::SourceError;
use crate::record::PartitionId;

/// How long a commit may hold up the pipeline's thread. A broker that is there takes milliseconds; a revocation waits for the pipeline
/// and must come through well within its own patience.
pub(crate) const COMMIT_WAIT: Duration = Duration::from_secs(3);
/// The same while commits are in trouble already: an outage must not slow the pipeline down, which has work without the broker.
const COMMIT_WAIT_IN_TROUBLE: Duration = Duration::from_millis(100);
/// How often what is held over is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

type Offsets = BTreeMap<PartitionId, i64>;

/// See the module.
pub(crate) struct Committer {
    context: Arc<SourceContext>,
    /// Weak: the Kafka thread must be able to hold the last handle.
    consumer: Weak<SourceConsumer>,
    /// One commit at a time: the next begins with the answer to this one.
    jobs: Option<SyncSender<Offsets>>,
    answers: Receiver<Result<(), KafkaError>>,
    thread: Option<JoinHandle<()>>,
    in_flight: Option<Offsets>,
    held_over: Offsets,
    last_try: Instant,
    last_success: Option<Instant>,
    is_troubled: bool,
    stale: u64,
}

impl Committer {
    pub(crate) fn start(context: Arc<SourceContext>, consumer: &Arc<SourceConsumer>) -> Result<Self, SourceError> {
        // One job and one answer: there is never a second.
        let (jobs, inbox) = sync_channel(1);
        let (outbox, answers) = sync_channel(1);
        let consumer = Arc::downgrade(consumer);
        let committing = consumer.clone();
        let thread = std::thread::Builder::new()
            .name("kafka-commit".to_owned())
            .spawn(move || serve(&committing, &inbox, &outbox))
            .map_err(|error| SourceError::Kafka { action: "starting the commit thread".to_owned(), message: error.to_string() })?;
        Ok(Self {
            context,
            consumer,
            jobs: Some(jobs),
            answers,
            thread: Some(thread),
            in_flight: None,
            held_over: Offsets::new(),
            last_try: Instant::now(),
            last_success: None,
            is_troubled: false,
            stale: 0,
        })
    }

    /// Commits, waiting for the broker no longer than [`COMMIT_WAIT`].
    ///
    /// # Errors
    /// When the broker refuses for a reason that does not pass.
    pub(crate) fn commit(&mut self, offsets: &[(PartitionId, i64)]) -> Result<(), SourceError> {
        let wait = if self.is_troubled { COMMIT_WAIT_IN_TROUBLE } else { COMMIT_WAIT };
        self.commit_within(offsets, wait)
    }

    /// The pipeline is done with partitions that go away: the last chance for what is held over for them. What is not taken now is the
    /// next owner's to do again.
    ///
    /// # Errors
    /// See [`commit`](Self::commit).
    pub(crate) fn part_with(&mut self, partitions: &[PartitionId]) -> Result<(), SourceError> {
        let is_wanted = partitions.iter().any(|partition| self.held_over.contains_key(partition));
        let committed = if is_wanted { self.commit_within(&[], COMMIT_WAIT) } else { Ok(()) };
        self.forget(partitions);
        committed
    }

    fn commit_within(&mut self, offsets: &[(PartitionId, i64)], wait: Duration) -> Result<(), SourceError> {
        let deadline = Instant::now() + wait;
        self.held_over.extend(offsets.iter().cloned());
        self.drop_stale();
        loop {
            self.begin();
            if self.in_flight.is_none() {
                return Ok(());
            }
            match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(answer) => {
                    let done = self.settle(answer)?;
                    self.drop_stale();
                    if !done || self.held_over.is_empty() {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.trouble(&format!("no answer within {} s", wait.as_secs_f64()));
                    return Ok(());
                }
                Err(RecvTimeoutError::Disconnected) => return Err(ended()),
            }
        }
    }

    /// Tries again what is held over, without waiting for anything.
    ///
    /// # Errors
    /// See [`commit`](Self::commit).
    pub(crate) fn go_on(&mut self) -> Result<(), SourceError> {
        if self.in_flight.is_some() {
            if let Ok(answer) = self.answers.try_recv() {
                self.settle(answer)?;
            }
        } else if !self.held_over.is_empty() && self.last_try.elapsed() >= RETRY_EVERY {
            self.drop_stale();
            self.begin();
        }
        Ok(())
    }

    fn forget(&mut self, partitions: &[PartitionId]) {
        for partition in partitions {
            if let Some(offset) = self.held_over.remove(partition) {
                tracing::warn!(%partition, offset, "not committed: the partition went to somebody else meanwhile");
                self.stale += 1;
            }
        }
    }

    /// Offsets that were not committed because their partition had gone to somebody else.
    pub(crate) fn stale(&self) -> u64 {
        self.stale
    }

    /// Partitions whose newest offset is not acknowledged.
    pub(crate) fn pending(&self) -> usize {
        self.held_over.len()
    }

    /// Time since the broker last acknowledged a commit.
    pub(crate) fn since_success(&self) -> Option<Duration> {
        self.last_success.map(|at| at.elapsed())
    }

    /// Hangs up; the thread ends with its present commit.
    pub(crate) fn close(&mut self) -> Option<JoinHandle<()>> {
        self.jobs = None;
        self.thread.take()
    }

    fn begin(&mut self) {
        if self.in_flight.is_some() || self.held_over.is_empty() {
            return;
        }
        let Some(jobs) = &self.jobs else { return };
        self.last_try = Instant::now();
        if jobs.try_send(self.held_over.clone()).is_ok() {
            self.in_flight = Some(self.held_over.clone());
        }
    }

    /// Whether the commit in flight was taken.
    fn settle(&mut self, answer: Result<(), KafkaError>) -> Result<bool, SourceError> {
        let sent = self.in_flight.take().unwrap_or_default();
        match answer {
            Ok(()) => {
                self.held_over.retain(|partition, offset| sent.get(partition) != Some(offset));
                self.last_success = Some(Instant::now());
                if std::mem::take(&mut self.is_troubled) {
                    tracing::info!("commits are taken again");
                }
                Ok(true)
            }
            Err(error) if is_out_of_group(&error) || is_passing(&error) => {
                self.trouble(&error.to_string());
                Ok(false)
            }
            Err(error) => Err(self.refusal(&error)),
        }
    }

    /// The client's own reason where it has ended, which says more than that it has.
    fn refusal(&self, error: &KafkaError) -> SourceError {
        let fatal = self.consumer.upgrade().and_then(|consumer| fatal_error(consumer.client(), "committing offsets"));
        fatal.unwrap_or_else(|| failed("committing offsets", error))
    }

    /// Said once, until a commit is taken again.
    fn trouble(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_troubled, true) {
            tracing::warn!(reason, partitions = self.held_over.len(), "not committed: tried again");
        }
    }

    /// Splits off what is no longer ours to commit.
    fn drop_stale(&mut self) {
        let gone: Vec<PartitionId> =
            self.held_over.keys().filter(|partition| !self.context.is_assigned(partition)).cloned().collect();
        self.forget(&gone);
    }
}

fn serve(consumer: &Weak<SourceConsumer>, inbox: &Receiver<Offsets>, outbox: &SyncSender<Result<(), KafkaError>>) {
    while let Ok(offsets) = inbox.recv() {
        let Some(consumer) = consumer.upgrade() else { return };
        let answer = list_of(&offsets).and_then(|list| consumer.commit(&list, CommitMode::Sync));
        drop(consumer);
        if outbox.send(answer).is_err() {
            return;
        }
    }
}

fn list_of(offsets: &Offsets) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}

fn ended() -> SourceError {
    SourceError::Kafka { action: "committing offsets".to_owned(), message: "the commit thread has ended".to_owned() }
}

/// The group has gone on without this member, or is about to: what it may still commit is known after the next assignment.
fn is_out_of_group(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::FencedInstanceId
                | RDKafkaErrorCode::FencedMemberEpoch
                | RDKafkaErrorCode::StaleMemberEpoch
        )
    )
}

/// The broker or its coordinator is away for the moment.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::WaitingForCoordinator
                | RDKafkaErrorCode::Resolve
        )
    )
}
