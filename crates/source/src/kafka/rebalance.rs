//! What happens when partitions come and go: runs on the Kafka thread, inside librdkafka's callback.
//!
//! A revocation is handed to the pipeline and waits for its acknowledgement, so that what is complete can be sealed and committed while
//! the partitions are still ours; after [`REVOCATION_PATIENCE`] the group goes on without it. That holds for every protocol: in the
//! classic ones this consumer does not join anew, and in the consumer protocol it does not confirm the revocation to the broker, before
//! the callback has returned.
//!
//! Partitions of one number go together (see [`siblings`](super::siblings)). Where a group takes away some of a number and leaves others,
//! the source ends with an error before the pipeline could forget half of a vehicle and commit past it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::KafkaConfig;
use super::client::{self, NEEDS_KAFKA_4};
use super::group::GroupProtocol;
use super::queue::EventQueue;
use super::siblings;
use crate::error::SourceError;
use crate::record::{PartitionId, SourceEvent};

/// How long the pipeline may take to finish before partitions go away. Well below `max.poll.interval.ms` (300 s), after which the
/// group would throw this consumer out, and long enough to seal the clips in hand.
pub(crate) const REVOCATION_PATIENCE: Duration = Duration::from_secs(20);

/// Statistics (one a second) in which a coordinator is connected and no heartbeat was sent, after which it does not speak the consumer
/// protocol: librdkafka sends one at once where it can, and says nothing where it cannot.
const SILENT_STATISTICS: u32 = 5;
/// The connection to the group's coordinator, as the statistics name it.
const COORDINATOR: &str = "GroupCoordinator";

pub(crate) type SourceConsumer = BaseConsumer<SourceContext>;

/// A change of the assignment that the poll loop has to take over.
pub(crate) enum LaneChange {
    /// Read this partition from its own queue.
    Add(PartitionId, PartitionQueue<SourceContext>),
    /// These partitions are gone.
    Remove(Vec<PartitionId>),
}

/// The end of a partition, as far as the client knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct End {
    /// Next offset to be written.
    pub(crate) high: Option<i64>,
    /// The end at which the client has stood last.
    pub(crate) read_to_end: Option<i64>,
}

/// Counted, so that a late word on a revocation that was not waited for any longer is not taken for the next one's.
#[derive(Debug, Default)]
struct Revocations {
    told: u64,
    done: u64,
}

/// State that the Kafka thread, the callbacks and the pipeline's thread share.
pub(crate) struct SourceContext {
    pub(crate) queue: EventQueue,
    protocol: GroupProtocol,
    /// See [`SILENT_STATISTICS`].
    silent_statistics: AtomicU32,
    /// The Kafka thread has a record in hand that finds no room; the pipeline wakes it.
    pub(crate) starved: AtomicBool,
    /// The source is being dropped: nobody acknowledges any more.
    closing: AtomicBool,
    thread: OnceLock<Thread>,
    /// Set once the consumer stands; needed to split its queue by partition.
    consumer: OnceLock<Weak<SourceConsumer>>,
    lanes: Mutex<Vec<LaneChange>>,
    assigned: Mutex<BTreeSet<PartitionId>>,
    /// Partitions that the pipeline does not want to read from at the moment.
    held_back: Mutex<BTreeSet<PartitionId>>,
    /// Ends of partitions as the client last told them.
    ends: Mutex<BTreeMap<PartitionId, End>>,
    rebalances: AtomicU64,
    revocations: Mutex<Revocations>,
    revocation_changed: Condvar,
    patience: Duration,
}

impl SourceContext {
    pub(crate) fn new(config: &KafkaConfig, patience: Duration) -> Self {
        Self {
            queue: EventQueue::new(config.queue_bytes),
            protocol: config.group_protocol,
            silent_statistics: AtomicU32::new(0),
            starved: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            thread: OnceLock::new(),
            consumer: OnceLock::new(),
            lanes: Mutex::new(Vec::new()),
            assigned: Mutex::new(BTreeSet::new()),
            held_back: Mutex::new(BTreeSet::new()),
            ends: Mutex::new(BTreeMap::new()),
            rebalances: AtomicU64::new(0),
            revocations: Mutex::new(Revocations::default()),
            revocation_changed: Condvar::new(),
            patience,
        }
    }

    pub(crate) fn set_consumer(&self, consumer: Weak<SourceConsumer>) {
        // Set once, right after creation; a second call could only bring the same consumer.
        let _ = self.consumer.set(consumer);
    }

    pub(crate) fn set_thread(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    /// Wakes the Kafka thread.
    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    pub(crate) fn close(&self) {
        // Under the lock, or the thread could look before this and begin to wait after it.
        let revocations = lock(&self.revocations);
        self.closing.store(true, Ordering::SeqCst);
        drop(revocations);
        self.revocation_changed.notify_all();
        self.wake();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    pub(crate) fn take_lane_changes(&self) -> Vec<LaneChange> {
        std::mem::take(&mut *lock(&self.lanes))
    }

    /// Leaves the messages of these partitions in the client, and reads all others.
    pub(crate) fn hold_back(&self, partitions: &BTreeSet<PartitionId>) {
        lock(&self.held_back).clone_from(partitions);
        self.wake();
    }

    pub(crate) fn is_held_back(&self, partition: &PartitionId) -> bool {
        lock(&self.held_back).contains(partition)
    }

    pub(crate) fn is_assigned(&self, partition: &PartitionId) -> bool {
        lock(&self.assigned).contains(partition)
    }

    pub(crate) fn assigned(&self) -> BTreeSet<PartitionId> {
        lock(&self.assigned).clone()
    }

    /// Times that partitions came or went.
    pub(crate) fn rebalances(&self) -> u64 {
        self.rebalances.load(Ordering::Relaxed)
    }

    /// What is known of a partition's end.
    pub(crate) fn end_of(&self, partition: &PartitionId) -> End {
        lock(&self.ends).get(partition).copied().unwrap_or_default()
    }

    /// The pipeline has done what it had to do before partitions go away.
    pub(crate) fn revocation_done(&self) {
        let mut revocations = lock(&self.revocations);
        revocations.done = (revocations.done + 1).min(revocations.told);
        drop(revocations);
        self.revocation_changed.notify_all();
    }

    fn split(&self, partitions: &[PartitionId]) {
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else { return };
        for partition in partitions {
            match consumer.split_partition_queue(&partition.topic, partition.partition) {
                Some(queue) => lock(&self.lanes).push(LaneChange::Add(partition.clone(), queue)),
                None => tracing::error!(%partition, "the client has no such partition: it is not read"),
            }
        }
    }

    fn revoke(&self, partitions: Vec<PartitionId>, lost: bool) {
        self.rebalances.fetch_add(1, Ordering::Relaxed);
        let dropped = self.queue.discard(&partitions);
        tracing::info!(partitions = partitions.len(), dropped, lost, "partitions go to somebody else");
        let left_behind = siblings::left_behind(&lock(&self.assigned), &partitions);
        if lost || !left_behind.is_empty() {
            // Nothing of these may be committed any more, whatever the pipeline is about to do.
            self.unassign(&partitions);
            self.unassign(&left_behind);
        }
        if !left_behind.is_empty() {
            self.queue.fail(siblings::torn_away(&partitions, &left_behind));
            lock(&self.lanes).push(LaneChange::Remove([partitions, left_behind].concat()));
            return;
        }
        if !self.is_closing() {
            lock(&self.revocations).told += 1;
            self.queue.push(SourceEvent::Revoked(partitions.clone()));
            self.await_pipeline();
        }
        self.unassign(&partitions);
        lock(&self.lanes).push(LaneChange::Remove(partitions));
    }

    fn unassign(&self, partitions: &[PartitionId]) {
        let (mut assigned, mut ends) = (lock(&self.assigned), lock(&self.ends));
        for partition in partitions {
            assigned.remove(partition);
            ends.remove(partition);
        }
    }

    /// Ends the source where the broker does not know the consumer protocol.
    fn look_for_heartbeats(&self, statistics: &Statistics) {
        // The statistics list requests by kind, but leave heartbeats of this protocol out: they are in the total only.
        let has_sent = || {
            statistics.brokers.get(COORDINATOR).is_some_and(|coordinator| {
                let listed: i64 = coordinator.req.values().sum();
                i64::try_from(coordinator.tx).unwrap_or(i64::MAX) > listed
            })
        };
        let is_waiting = statistics.cgrp.as_ref().is_some_and(|group| group.state == "up" && group.join_state == "init");
        if self.protocol != GroupProtocol::Consumer || !is_waiting || has_sent() {
            self.silent_statistics.store(0, Ordering::Relaxed);
        } else if self.silent_statistics.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT_STATISTICS {
            let message = format!("expected a broker with the consumer protocol (KIP-848), got one without\nhint: {NEEDS_KAFKA_4}");
            self.queue.fail(SourceError::Kafka { action: "joining the group".to_owned(), message });
        }
    }

    fn await_pipeline(&self) {
        let deadline = Instant::now() + self.patience;
        let mut revocations = lock(&self.revocations);
        let awaited = revocations.told;
        while revocations.done < awaited && !self.is_closing() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(waited_s = self.patience.as_secs(), "the pipeline did not finish in time: partitions go without it");
                return;
            }
            revocations = self.revocation_changed.wait_timeout(revocations, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl ClientContext for SourceContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The poll loop gets the same error and decides; this is only the longer text.
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }

    fn stats(&self, statistics: Statistics) {
        self.look_for_heartbeats(&statistics);
        let known = |offset: i64| (offset >= 0).then_some(offset);
        let (assigned, mut ends) = (lock(&self.assigned), lock(&self.ends));
        for partition in &*assigned {
            let topic = statistics.topics.get(&*partition.topic);
            if let Some(told) = topic.and_then(|topic| topic.partitions.get(&partition.partition)) {
                let end = End { high: known(told.hi_offset), read_to_end: known(told.eof_offset) };
                ends.insert(partition.clone(), end);
            }
        }
    }
}

impl ConsumerContext for SourceContext {
    fn pre_rebalance(&self, consumer: &SourceConsumer, rebalance: &Rebalance<'_>) {
        match rebalance {
            // Before librdkafka begins to fetch, so that no message takes the common queue: at the end of a partition that queue
            // would name its number but not its topic.
            Rebalance::Assign(list) => self.split(&partitions_of(list)),
            Rebalance::Revoke(list) => {
                let partitions = partitions_of(list);
                if !partitions.is_empty() {
                    self.revoke(partitions, consumer.assignment_lost());
                }
            }
            Rebalance::Error(error) => tracing::error!(%error, "rebalance failed"),
        }
    }

    fn post_rebalance(&self, _consumer: &SourceConsumer, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            let partitions = partitions_of(list);
            tracing::info!(partitions = partitions.len(), "partitions assigned");
            if !partitions.is_empty() {
                self.rebalances.fetch_add(1, Ordering::Relaxed);
                lock(&self.assigned).extend(partitions.iter().cloned());
                self.queue.push(SourceEvent::Assigned(partitions));
            }
        }
    }
}

/// In order of topic and number, so that the event is the same in every run.
fn partitions_of(list: &TopicPartitionList) -> Vec<PartitionId> {
    let mut partitions: Vec<_> = list
        .elements()
        .iter()
        .map(|element| PartitionId { topic: element.topic().into(), partition: element.partition() })
        .collect();
    partitions.sort();
    partitions
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Everything behind these locks is whole after every statement, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
