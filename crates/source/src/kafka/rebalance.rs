//! What happens when partitions come and go: runs on the Kafka thread, inside librdkafka's callback.
//!
//! A revocation is handed to the pipeline and waits for its acknowledgement, so that what is complete can be sealed and committed while
//! the partitions are still ours; after [`REVOCATION_PATIENCE`] the group goes on without it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::client;
use super::queue::EventQueue;
use crate::record::{PartitionId, SourceEvent};

/// How long the pipeline may take to finish before partitions go away. Well below `max.poll.interval.ms` (300 s), after which the
/// group would throw this consumer out, and long enough to seal the clips in hand.
pub(crate) const REVOCATION_PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type SourceConsumer = BaseConsumer<SourceContext>;

/// A change of the assignment that the poll loop has to take over.
pub(crate) enum LaneChange {
    /// Read this partition from its own queue.
    Add(PartitionId, PartitionQueue<SourceContext>),
    /// These partitions are gone.
    Remove(Vec<PartitionId>),
}

/// State that the Kafka thread, the callbacks and the pipeline's thread share.
pub(crate) struct SourceContext {
    pub(crate) queue: EventQueue,
    /// The Kafka thread has a record in hand that finds no room; the pipeline wakes it.
    pub(crate) starved: AtomicBool,
    /// The source is being dropped: nobody acknowledges any more.
    closing: AtomicBool,
    thread: OnceLock<Thread>,
    /// Set once the consumer stands; needed to split its queue by partition.
    consumer: OnceLock<Weak<SourceConsumer>>,
    lanes: Mutex<Vec<LaneChange>>,
    assigned: Mutex<BTreeSet<PartitionId>>,
    /// Messages that wait at the broker, as of the client's last statistics.
    lag: Mutex<BTreeMap<PartitionId, u64>>,
    /// Partitions that the pipeline does not want to read from at the moment.
    held_back: Mutex<BTreeSet<PartitionId>>,
    revocation_pending: Mutex<bool>,
    revocation_changed: Condvar,
    patience: Duration,
}

impl SourceContext {
    pub(crate) fn new(queue_bytes: usize, patience: Duration) -> Self {
        Self {
            queue: EventQueue::new(queue_bytes),
            starved: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            thread: OnceLock::new(),
            consumer: OnceLock::new(),
            lanes: Mutex::new(Vec::new()),
            assigned: Mutex::new(BTreeSet::new()),
            lag: Mutex::new(BTreeMap::new()),
            held_back: Mutex::new(BTreeSet::new()),
            revocation_pending: Mutex::new(false),
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
        self.closing.store(true, Ordering::SeqCst);
        self.revocation_done();
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

    /// Messages of each assigned partition that the broker has and that were not taken in yet, as of the client's last statistics.
    pub(crate) fn lag_messages(&self) -> BTreeMap<PartitionId, u64> {
        let assigned = lock(&self.assigned);
        lock(&self.lag).iter().filter(|(partition, _)| assigned.contains(partition)).map(|(p, lag)| (p.clone(), *lag)).collect()
    }

    pub(crate) fn is_assigned(&self, partition: &PartitionId) -> bool {
        lock(&self.assigned).contains(partition)
    }

    /// The pipeline has done what it had to do before partitions go away.
    pub(crate) fn revocation_done(&self) {
        *lock(&self.revocation_pending) = false;
        self.revocation_changed.notify_all();
    }

    fn split(&self, partitions: &[PartitionId]) {
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else { return };
        for partition in partitions {
            match consumer.split_partition_queue(&partition.topic, partition.partition) {
                Some(mut queue) => {
                    let thread = self.thread.get().cloned();
                    queue.set_nonempty_callback(move || {
                        if let Some(thread) = &thread {
                            thread.unpark();
                        }
                    });
                    lock(&self.lanes).push(LaneChange::Add(partition.clone(), queue));
                }
                None => tracing::error!(
                    topic = &*partition.topic,
                    partition = partition.partition,
                    "the client has no such partition: it is not read"
                ),
            }
        }
    }

    fn revoke(&self, partitions: Vec<PartitionId>, lost: bool) {
        let dropped = self.queue.discard(&partitions);
        tracing::info!(partitions = partitions.len(), dropped, lost, "partitions go to somebody else");
        if !self.is_closing() {
            *lock(&self.revocation_pending) = true;
            self.queue.push(SourceEvent::Revoked(partitions.clone()));
            self.await_pipeline();
        }
        let mut assigned = lock(&self.assigned);
        for partition in &partitions {
            assigned.remove(partition);
        }
        drop(assigned);
        lock(&self.lanes).push(LaneChange::Remove(partitions));
    }

    fn await_pipeline(&self) {
        let deadline = Instant::now() + self.patience;
        let mut pending = lock(&self.revocation_pending);
        while *pending && !self.is_closing() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(waited_s = self.patience.as_secs(), "the pipeline did not finish in time: partitions go without it");
                *pending = false;
                return;
            }
            pending = self.revocation_changed.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl ClientContext for SourceContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        *lock(&self.lag) = lag_of(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The poll loop gets the same error and decides; this is only the longer text.
        tracing::debug!(target: "librdkafka", %error, "{reason}");
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
                lock(&self.assigned).extend(partitions.iter().cloned());
                self.queue.push(SourceEvent::Assigned(partitions));
            }
        }
    }
}

/// Messages between what was taken in and the end of each partition. librdkafka marks what it does not know yet by negative offsets.
fn lag_of(statistics: &Statistics) -> BTreeMap<PartitionId, u64> {
    let mut lag = BTreeMap::new();
    for (name, topic) in &statistics.topics {
        let name: Arc<str> = name.as_str().into();
        for partition in topic.partitions.values() {
            let taken = partition.app_offset.max(partition.committed_offset);
            if taken >= 0 && partition.hi_offset >= 0 {
                let id = PartitionId { topic: name.clone(), partition: partition.partition };
                lag.insert(id, u64::try_from(partition.hi_offset - taken).unwrap_or_default());
            }
        }
    }
    lag
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
