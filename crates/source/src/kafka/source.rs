//! [`KafkaSource`]: a consumer of the group, as a [`Source`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaConfig;
use super::client::{await_broker, failed};
use super::dead_letter::DeadLetters;
use super::poll::Poller;
use super::rebalance::{REVOCATION_PATIENCE, SourceConsumer, SourceContext};
use crate::error::SourceError;
use crate::record::{PartitionId, Rejected, Source, SourceEvent, SourceStats};

/// How long leaving the group may take when the source is dropped; after that the thread is left to itself.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often topics that are not there are looked for at the start.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Reads the topics of a [`KafkaConfig`] as one consumer of its group.
///
/// Beyond the contract of [`Source`]:
/// - records of partitions that are taken away are thrown out of the queue (nothing of them is committed, so the new owner reads them);
/// - a commit that fails because the broker is away is held over to the next commit, with a warning, so that a broker's restart does not
///   end the run: until then a crash would only make more frames be read again;
/// - a commit for partitions that went away meanwhile is left out and counted in [`stale_commits`](Self::stale_commits).
pub struct KafkaSource {
    config: KafkaConfig,
    context: Arc<SourceContext>,
    /// `None` only while being dropped: the Kafka thread must hold the last handle, because closing needs its polling.
    consumer: Option<Arc<SourceConsumer>>,
    thread: Option<JoinHandle<()>>,
    dead_letters: Option<DeadLetters>,
    held_over: BTreeMap<PartitionId, i64>,
    /// Events of held-back partitions that were in the queue already. Bounded by it: nothing new of such a partition enters the queue.
    set_aside: VecDeque<SourceEvent>,
    stale_commits: u64,
}

impl KafkaSource {
    /// Joins the group. Returns when a broker has answered and at least one topic exists; partitions come later, as
    /// [`SourceEvent::Assigned`].
    ///
    /// # Errors
    /// [`SourceError::NoBroker`] or [`SourceError::NoTopics`] within [`KafkaConfig::connect_timeout_ms`], or when an option is refused.
    pub fn connect(config: &KafkaConfig) -> Result<Self, SourceError> {
        Self::connect_with_patience(config, REVOCATION_PATIENCE)
    }

    pub(crate) fn connect_with_patience(config: &KafkaConfig, patience: Duration) -> Result<Self, SourceError> {
        let deadline = Instant::now() + config.connect_timeout();
        let (context, consumer) = create(&config.consumer_config()?, config, patience)?;
        await_topics(&consumer, config, deadline)?;
        let topics = config.topics();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| failed("subscribing", &error))?;
        let poller = Poller::new(consumer.clone(), config.clone());
        let thread = std::thread::Builder::new()
            .name("kafka".to_owned())
            .spawn(move || poller.run())
            .map_err(|error| SourceError::Kafka { action: "starting the Kafka thread".to_owned(), message: error.to_string() })?;
        Ok(Self {
            config: config.clone(),
            context,
            consumer: Some(consumer),
            thread: Some(thread),
            dead_letters: None,
            held_over: BTreeMap::new(),
            set_aside: VecDeque::new(),
            stale_commits: 0,
        })
    }

    /// Offsets that were not committed because their partition had gone to somebody else.
    #[must_use]
    pub fn stale_commits(&self) -> u64 {
        self.stale_commits
    }

    #[cfg(test)]
    pub(crate) fn queued_bytes(&self) -> usize {
        self.context.queue.bytes()
    }

    /// The first event that was set aside and is wanted again.
    fn take_set_aside(&mut self) -> Option<SourceEvent> {
        let wanted = |event: &SourceEvent| partition_of(event).is_none_or(|partition| !self.context.is_held_back(&partition));
        let index = self.set_aside.iter().position(wanted)?;
        self.set_aside.remove(index)
    }

    /// Splits off what is no longer ours to commit.
    fn drop_stale(&mut self) {
        let before = self.held_over.len();
        let context = &self.context;
        self.held_over.retain(|partition, offset| {
            let ours = context.is_assigned(partition);
            if !ours {
                let (topic, partition) = (&*partition.topic, partition.partition);
                tracing::warn!(topic, partition, offset, "not committed: the partition went to somebody else meanwhile");
            }
            ours
        });
        self.stale_commits += (before - self.held_over.len()) as u64;
    }
}

impl Source for KafkaSource {
    fn next_event(&mut self, timeout: Duration) -> Result<Option<SourceEvent>, SourceError> {
        let deadline = Instant::now() + timeout;
        if let Some(event) = self.take_set_aside() {
            return Ok(Some(event));
        }
        loop {
            let event = self.context.queue.pop(deadline.saturating_duration_since(Instant::now()));
            if self.context.starved.swap(false, Ordering::SeqCst) {
                self.context.wake();
            }
            match event? {
                Some(SourceEvent::Revoked(partitions)) => {
                    self.set_aside.retain(|event| partition_of(event).is_none_or(|partition| !partitions.contains(&partition)));
                    return Ok(Some(SourceEvent::Revoked(partitions)));
                }
                Some(event) if partition_of(&event).is_some_and(|partition| self.context.is_held_back(&partition)) => {
                    self.set_aside.push_back(event);
                }
                event => return Ok(event),
            }
        }
    }

    fn hold_back(&mut self, partitions: &BTreeSet<PartitionId>) -> Result<(), SourceError> {
        self.context.hold_back(partitions);
        Ok(())
    }

    fn commit(&mut self, offsets: &[(PartitionId, i64)]) -> Result<(), SourceError> {
        self.held_over.extend(offsets.iter().cloned());
        self.drop_stale();
        let Some(consumer) = &self.consumer else { return Ok(()) };
        if self.held_over.is_empty() {
            return Ok(());
        }
        match consumer.commit(&list_of(&self.held_over)?, CommitMode::Sync) {
            Ok(()) => self.held_over.clear(),
            Err(error) if is_membership_lost(&error) => {
                tracing::warn!(%error, "not committed: this consumer is out of the group, its partitions are read again");
                self.stale_commits += self.held_over.len() as u64;
                self.held_over.clear();
            }
            Err(error) if is_passing(&error) => {
                tracing::warn!(%error, partitions = self.held_over.len(), "not committed: tried again with the next commit");
            }
            Err(error) => return Err(failed("committing offsets", &error)),
        }
        Ok(())
    }

    fn dead_letter(&mut self, rejected: &Rejected) -> Result<(), SourceError> {
        let letters = match self.dead_letters.take() {
            Some(letters) => letters,
            None => DeadLetters::connect(&self.config)?,
        };
        self.dead_letters.insert(letters).send(rejected)
    }

    fn stats(&self) -> SourceStats {
        SourceStats {
            queue_bytes: self.context.queue.bytes() as u64,
            commits_held_over: self.held_over.len() as u64,
            lag_messages: self.context.lag_messages(),
        }
    }

    fn revocation_done(&mut self) {
        self.context.revocation_done();
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.context.close();
        self.consumer = None;
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + FAREWELL;
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                tracing::warn!(waited_s = FAREWELL.as_secs(), "the Kafka client does not close: left behind");
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if thread.join().is_err() {
            tracing::error!("the Kafka thread ended with a panic");
        }
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
    let context = SourceContext::new(config.queue_bytes, patience);
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
fn await_topics(consumer: &SourceConsumer, config: &KafkaConfig, deadline: Instant) -> Result<(), SourceError> {
    loop {
        let metadata = await_broker(consumer.client(), config, deadline)?;
        let found = partition_counts(&metadata, config);
        let missing: Vec<String> = config.topics().into_iter().filter(|topic| !found.contains_key(topic)).collect();
        if found.is_empty() && Instant::now() < deadline {
            std::thread::sleep(LOOK_AGAIN.min(deadline.saturating_duration_since(Instant::now())));
            continue;
        }
        if found.is_empty() {
            return Err(SourceError::NoTopics { expected: missing.join(", "), brokers: config.brokers.clone() });
        }
        if !missing.is_empty() {
            tracing::warn!(missing = missing.join(", "), "topics are missing: they are read as soon as they exist");
        }
        let mut counts = found.values();
        if let Some(first) = counts.next()
            && counts.any(|count| count != first)
        {
            tracing::warn!(?found, "partition counts differ: the sensors of a vehicle may reach different workers");
        }
        return Ok(());
    }
}

fn partition_counts(metadata: &Metadata, config: &KafkaConfig) -> BTreeMap<String, usize> {
    let wanted = config.topics();
    let usable = metadata.topics().iter().filter(|topic| topic.error().is_none() && !topic.partitions().is_empty());
    usable
        .filter(|topic| wanted.iter().any(|name| name == topic.name()))
        .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
        .collect()
}

fn list_of(offsets: &BTreeMap<PartitionId, i64>) -> Result<TopicPartitionList, SourceError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))
            .map_err(|error| failed(format!("committing offset {offset} of {partition}"), &error))?;
    }
    Ok(list)
}

/// The group has gone on without us: whoever owns the partitions now begins at what was committed before.
fn is_membership_lost(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::FencedInstanceId
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
