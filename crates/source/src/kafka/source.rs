//! [`KafkaSource`]: a consumer of the group, as a [`Source`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use boxwright_model::SourcePosition;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;

use super::KafkaConfig;
use super::client::{await_broker, failed};
use super::commit::Committer;
use super::dead_letter::DeadLetters;
use super::group;
use super::poll::Poller;
use super::queue::weight;
use super::rebalance::{REVOCATION_PATIENCE, SourceConsumer, SourceContext};
use super::siblings::{self, Siblings};
use super::topics::counts_of;
use crate::error::SourceError;
use crate::record::{PartitionId, PartitionStats, Rejected, Source, SourceEvent, SourceStats};

/// How long leaving the group may take when the source is dropped; after that the thread is left to itself.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often topics that are not there are looked for at the start.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Reads the topics of a [`KafkaConfig`] as one consumer of its group.
///
/// Beyond the contract of [`Source`]:
/// - records of partitions that are taken away are thrown out of the queue (nothing of them is committed, so the new owner reads them);
/// - a commit never blocks for more than seconds, and one that fails because the broker is away, or because this consumer is out of its
///   group, is no error: it is tried again until it is taken or its partitions are taken away;
/// - a commit for partitions that went away meanwhile is left out and counted in [`SourceStats::stale_commits`];
/// - a dead letter waits for its broker for as long as the run may (`give_up_after_ms`).
pub struct KafkaSource {
    context: Arc<SourceContext>,
    /// `None` only while being dropped: the Kafka thread must hold the last handle, because closing needs its polling.
    consumer: Option<Arc<SourceConsumer>>,
    thread: Option<JoinHandle<()>>,
    dead_letters: DeadLetters,
    committer: Committer,
    /// Partitions that the pipeline was told of and has not let go yet.
    revoking: Vec<PartitionId>,
    /// Next offset of every partition of which something was handed out.
    positions: BTreeMap<PartitionId, i64>,
    /// Events of held-back partitions that were in the queue already. Bounded by it: nothing new of such a partition enters the queue.
    set_aside: VecDeque<SourceEvent>,
}

/// How long others are waited for; the constants stand where they are used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) revocation: Duration,
    pub(crate) siblings: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { revocation: REVOCATION_PATIENCE, siblings: siblings::PATIENCE }
    }
}

impl KafkaSource {
    /// Joins the group. Returns when a broker has answered and at least one topic exists; partitions come later, as
    /// [`SourceEvent::Assigned`].
    ///
    /// # Errors
    /// [`SourceError::NoBroker`] or [`SourceError::NoTopics`] within [`KafkaConfig::connect_timeout_ms`], or when an option is refused.
    pub fn connect(config: &KafkaConfig) -> Result<Self, SourceError> {
        group::check_poll_interval(config, REVOCATION_PATIENCE)?;
        Self::connect_with_patience(config, Patience::default())
    }

    pub(crate) fn connect_with_patience(config: &KafkaConfig, patience: Patience) -> Result<Self, SourceError> {
        let deadline = Instant::now() + config.connect_timeout();
        let (context, consumer) = create(&config.consumer_config()?, config, patience.revocation)?;
        let counts = await_topics(&consumer, config, deadline)?;
        let topics = config.topics();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| failed("subscribing", &error))?;
        let committer = Committer::start(context.clone(), &consumer)?;
        let siblings = Siblings::new(topics, counts, patience.siblings);
        let poller = Poller::new(consumer.clone(), config.clone(), siblings);
        let thread = std::thread::Builder::new()
            .name("kafka".to_owned())
            .spawn(move || poller.run())
            .map_err(|error| SourceError::Kafka { action: "starting the Kafka thread".to_owned(), message: error.to_string() })?;
        Ok(Self {
            context,
            consumer: Some(consumer),
            thread: Some(thread),
            dead_letters: DeadLetters::new(config),
            committer,
            revoking: Vec::new(),
            positions: BTreeMap::new(),
            set_aside: VecDeque::new(),
        })
    }

    #[cfg(test)]
    pub(crate) fn queued_bytes(&self) -> usize {
        self.context.queue.bytes()
    }

    #[cfg(test)]
    pub(crate) fn consumer(&self) -> std::sync::Weak<SourceConsumer> {
        self.consumer.as_ref().map(Arc::downgrade).unwrap_or_default()
    }

    /// The first event that was set aside and is wanted again.
    fn take_set_aside(&mut self) -> Option<SourceEvent> {
        let wanted = |event: &SourceEvent| partition_of(event).is_none_or(|partition| !self.context.is_held_back(&partition));
        let index = self.set_aside.iter().position(wanted)?;
        self.set_aside.remove(index)
    }

    /// Notes what is handed out.
    fn hand_out(&mut self, event: SourceEvent) -> SourceEvent {
        match &event {
            SourceEvent::Record(record) => self.passed(&record.header.position),
            SourceEvent::Rejected(rejected) => self.passed(&rejected.position),
            SourceEvent::Revoked(partitions) => {
                self.set_aside.retain(|event| partition_of(event).is_none_or(|partition| !partitions.contains(&partition)));
                self.positions.retain(|partition, _| !partitions.contains(partition));
                self.revoking.extend(partitions.iter().cloned());
            }
            SourceEvent::Assigned(_) | SourceEvent::Quiet(_) | SourceEvent::End => {}
        }
        event
    }

    fn passed(&mut self, position: &SourcePosition) {
        let partition = PartitionId { topic: position.topic.clone(), partition: position.partition };
        self.positions.insert(partition, position.offset + 1);
    }

    fn partition_stats(&self, partition: PartitionId, nothing_waits: bool) -> PartitionStats {
        let end = self.context.end_of(&partition);
        // Where nothing was handed out and nothing waits, the client may have found the end already.
        let position = self.positions.get(&partition).copied().or(end.read_to_end.filter(|_| nothing_waits));
        PartitionStats { position, high_watermark: end.high.max(position), partition }
    }
}

impl Source for KafkaSource {
    fn next_event(&mut self, timeout: Duration) -> Result<Option<SourceEvent>, SourceError> {
        let deadline = Instant::now() + timeout;
        self.committer.go_on()?;
        if let Some(event) = self.take_set_aside() {
            return Ok(Some(self.hand_out(event)));
        }
        loop {
            let event = self.context.queue.pop(deadline.saturating_duration_since(Instant::now()));
            if self.context.starved.swap(false, Ordering::SeqCst) {
                self.context.wake();
            }
            match event? {
                Some(event) if partition_of(&event).is_some_and(|partition| self.context.is_held_back(&partition)) => {
                    self.set_aside.push_back(event);
                }
                event => return Ok(event.map(|event| self.hand_out(event))),
            }
        }
    }

    fn hold_back(&mut self, partitions: &BTreeSet<PartitionId>) -> Result<(), SourceError> {
        self.context.hold_back(partitions);
        Ok(())
    }

    fn commit(&mut self, offsets: &[(PartitionId, i64)]) -> Result<(), SourceError> {
        self.committer.commit(offsets)
    }

    fn dead_letter(&mut self, rejected: &Rejected) -> Result<(), SourceError> {
        self.dead_letters.send(rejected)
    }

    fn revocation_done(&mut self) {
        if let Err(error) = self.committer.part_with(&std::mem::take(&mut self.revoking)) {
            // The next event or commit says it again where it lasts.
            tracing::warn!(%error, "not committed before partitions went away");
        }
        self.context.revocation_done();
    }

    fn stats(&self) -> SourceStats {
        let (mut queued_events, queued_bytes) = self.context.queue.size();
        queued_events += self.set_aside.len();
        let assigned = self.context.assigned().into_iter();
        SourceStats {
            partitions: assigned.map(|partition| self.partition_stats(partition, queued_events == 0)).collect(),
            queued_events: queued_events as u64,
            queued_bytes: (queued_bytes + self.set_aside.iter().map(weight).sum::<usize>()) as u64,
            rebalances: self.context.rebalances(),
            uncommitted_partitions: self.committer.pending() as u64,
            stale_commits: self.committer.stale(),
            since_commit: self.committer.since_success(),
        }
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        // What was refused a moment ago, in the middle of a rebalance, may be taken now. Whoever drops a source has no use for the error.
        if self.committer.pending() > 0
            && let Err(error) = self.committer.commit(&[])
        {
            tracing::debug!(%error, "not committed at the end");
        }
        self.context.close();
        self.consumer = None;
        self.set_aside.clear();
        let threads = [self.committer.close(), self.thread.take()];
        let deadline = Instant::now() + FAREWELL;
        for thread in threads.into_iter().flatten() {
            while !thread.is_finished() {
                if Instant::now() >= deadline {
                    tracing::warn!(waited_s = FAREWELL.as_secs(), "the Kafka client does not close: left behind");
                    return;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            if thread.join().is_err() {
                tracing::error!("a thread of the Kafka client ended with a panic");
            }
        }
        // Where the thread had ended before, what came ahead of its error is still here.
        self.context.queue.clear();
    }
}

/// The partition that an event is about, where it is about one.
fn partition_of(event: &SourceEvent) -> Option<PartitionId> {
    let position = match event {
        SourceEvent::Record(record) => &record.header.position,
        SourceEvent::Rejected(rejected) => &rejected.position,
        SourceEvent::Quiet(partition) => return Some(partition.clone()),
        SourceEvent::Assigned(_) | SourceEvent::Revoked(_) | SourceEvent::End => return None,
    };
    Some(PartitionId { topic: position.topic.clone(), partition: position.partition })
}

type Created = (Arc<SourceContext>, Arc<SourceConsumer>);

fn create(options: &ClientConfig, config: &KafkaConfig, patience: Duration) -> Result<Created, SourceError> {
    let context = SourceContext::new(config, patience);
    let mut consumer: SourceConsumer =
        options.create_with_context(context).map_err(|error| failed("creating the consumer", &error))?;
    let context = consumer.context().clone();
    let weak = Arc::downgrade(&context);
    consumer.set_nonempty_callback(move || {
        if let Some(context) = weak.upgrade() {
            context.wake();
        }
    });
    let consumer = Arc::new(consumer);
    context.set_consumer(Arc::downgrade(&consumer));
    Ok((context, consumer))
}

/// Waits until one of the topics exists; warns of those that do not, and of partition counts that tear vehicles apart.
fn await_topics(
    consumer: &SourceConsumer,
    config: &KafkaConfig,
    deadline: Instant,
) -> Result<BTreeMap<String, usize>, SourceError> {
    loop {
        let metadata = await_broker(consumer.client(), config, deadline)?;
        let found = counts_of(&metadata, config);
        let missing: Vec<String> = config.topics().into_iter().filter(|topic| !found.contains_key(topic)).collect();
        if found.is_empty() && Instant::now() < deadline {
            std::thread::sleep(LOOK_AGAIN.min(deadline.saturating_duration_since(Instant::now())));
            continue;
        }
        if found.is_empty() {
            return Err(SourceError::NoTopics { expected: missing.join(", "), brokers: config.brokers.clone() });
        }
        if !missing.is_empty() {
            tracing::warn!("missing topics: {}; they are read as soon as they exist", missing.join(", "));
        }
        let mut counts = found.values();
        if let Some(first) = counts.next()
            && counts.any(|count| count != first)
        {
            tracing::warn!(?found, "partition counts differ: the sensors of a vehicle may reach different workers");
        }
        return Ok(found);
    }
}
