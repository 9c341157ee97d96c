//! The topics that a pipeline needs: made with the settings that frames need, listed, and checked.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;
use serde::Serialize;

use super::KafkaConfig;
use super::client::{LogContext, await_broker, explain, failed, watermarks};
use super::dead_letter;
use super::group::TopicLayout;
use crate::error::SourceError;

/// How long the broker may take for one administrative request.
const REQUEST: Duration = Duration::from_secs(15);
/// How long a new topic may take to be seen by everybody.
const VISIBLE: Duration = Duration::from_secs(10);

/// How topics are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    /// Topics are `<prefix>.<kind>` or `<prefix>.frames`, and `<topic>.dead-letter` beside each.
    pub prefix: String,
    /// One topic a kind, or one for all.
    pub layout: TopicLayout,
    /// Whether there is one for boxes of a detector outside.
    pub detections: bool,
    /// Partitions of each topic: the most workers that can share the work. Dead-letter topics have one.
    pub partitions: i32,
    /// Copies of each partition.
    pub replication: i32,
    /// Largest message in bytes.
    pub max_message_bytes: usize,
    /// How long messages are kept, in milliseconds; -1 for ever. Kafka counts from the time of the message, which is that of the
    /// measurement: with a limit of days a recording of last year is deleted as soon as it is replayed.
    pub retention_ms: i64,
}

impl TopicPlan {
    /// Topics for a configuration: one partition, one copy, kept for ever.
    #[must_use]
    pub fn for_config(config: &KafkaConfig) -> Self {
        Self {
            prefix: config.topic_prefix.clone(),
            layout: config.topic_layout,
            detections: config.detections,
            partitions: 1,
            replication: 1,
            max_message_bytes: config.wire_message_bytes(),
            retention_ms: -1,
        }
    }

    /// Name and partition count of every topic.
    fn topics(&self) -> Vec<(String, i32)> {
        let config = KafkaConfig {
            topic_prefix: self.prefix.clone(),
            topic_layout: self.layout,
            detections: self.detections,
            ..KafkaConfig::default()
        };
        let frames: Vec<(String, i32)> = config.topics().into_iter().map(|name| (name, self.partitions)).collect();
        let letters: Vec<(String, i32)> = frames.iter().map(|(name, _)| (dead_letter::topic_of(name), 1)).collect();
        frames.into_iter().chain(letters).collect()
    }
}

/// One topic of a [`TopicPlan`], and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedTopic {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub outcome: TopicOutcome,
}

/// What became of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicOutcome {
    /// It was made.
    Created,
    /// It was there, as it must be.
    Existed,
    /// It is not as it must be: why, with a hint.
    Problem(String),
}

impl TopicOutcome {
    /// Whether a person has to do something.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        matches!(self, Self::Problem(_))
    }
}

impl fmt::Display for TopicOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Existed => f.write_str("existed"),
            Self::Problem(message) => f.write_str(message),
        }
    }
}

/// A topic as the broker has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionInfo>,
    /// Messages kept, over all partitions.
    pub messages: u64,
}

/// A partition as the broker has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionInfo {
    /// Its number.
    pub partition: i32,
    /// First offset that is kept.
    pub low: i64,
    /// Next offset to be written.
    pub high: i64,
}

/// Makes the topics that are missing and checks those that are there; returns when all can be used.
///
/// # Errors
/// When no broker answers or it refuses the request as a whole. What is wrong with one topic is its [`TopicOutcome::Problem`].
pub fn create(config: &KafkaConfig, plan: &TopicPlan) -> Result<Vec<PlannedTopic>, SourceError> {
    check(plan)?;
    let admin = connect(config)?;
    let before = await_broker(admin.inner(), config, Instant::now() + config.connect_timeout())?;
    let there = partition_counts(&before);
    let (existing, missing): (Vec<_>, Vec<_>) = plan.topics().into_iter().partition(|(name, _)| there.contains_key(name));
    let mut outcomes: BTreeMap<String, TopicOutcome> = make(&admin, plan, &missing)?.into_iter().collect();
    for (name, partitions) in &existing {
        let got = there.get(name).copied().unwrap_or_default();
        outcomes.insert(name.clone(), inspect(&admin, plan, name, (*partitions, got)));
    }
    await_visible(&admin, config, &outcomes)?;
    let planned = plan.topics().into_iter();
    Ok(planned.filter_map(|(name, _)| outcomes.remove(&name).map(|outcome| PlannedTopic { name, outcome })).collect())
}

/// The topics of a configuration's prefix, by name.
///
/// # Errors
/// When no broker answers.
pub fn list(config: &KafkaConfig) -> Result<Vec<TopicInfo>, SourceError> {
    // Without a group: it only looks up.
    let consumer: BaseConsumer<LogContext> =
        config.admin_config()?.create_with_context(LogContext).map_err(|error| failed("creating the client", &error))?;
    let metadata = await_broker(consumer.client(), config, Instant::now() + config.connect_timeout())?;
    let prefix = format!("{}.", config.topic_prefix);
    let mut topics = Vec::new();
    for topic in metadata.topics().iter().filter(|topic| topic.name().starts_with(&prefix)) {
        let mut partitions = Vec::new();
        for partition in topic.partitions() {
            let number = partition.id();
            let (low, high) = watermarks(consumer.client(), config, topic.name(), number)?;
            partitions.push(PartitionInfo { partition: number, low, high });
        }
        partitions.sort_by_key(|partition| partition.partition);
        let messages = partitions.iter().map(|partition| u64::try_from(partition.high - partition.low).unwrap_or(0)).sum();
        topics.push(TopicInfo { name: topic.name().to_owned(), partitions, messages });
    }
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

/// Makes one topic with one partition where it is missing.
pub(crate) fn ensure(config: &KafkaConfig, name: &str) -> Result<(), SourceError> {
    make_one(config, name, 1)
}

/// Makes one topic where it is missing.
pub(crate) fn make_one(config: &KafkaConfig, name: &str, partitions: i32) -> Result<(), SourceError> {
    let admin = connect(config)?;
    let metadata = await_broker(admin.inner(), config, Instant::now() + config.connect_timeout())?;
    if partition_counts(&metadata).contains_key(name) {
        return Ok(());
    }
    // -1: the broker's own default, because nobody said how many copies there are of the others.
    let plan = TopicPlan { replication: -1, ..TopicPlan::for_config(config) };
    let outcomes: BTreeMap<String, TopicOutcome> = make(&admin, &plan, &[(name.to_owned(), partitions)])?.into_iter().collect();
    match outcomes.get(name) {
        Some(TopicOutcome::Problem(message)) => {
            Err(SourceError::Kafka { action: format!("making the topic {name}"), message: message.clone() })
        }
        _ => await_visible(&admin, config, &outcomes),
    }
}

fn check(plan: &TopicPlan) -> Result<(), SourceError> {
    let wrong = |message: String| Err(SourceError::Kafka { action: "making topics".to_owned(), message });
    if !(1..=10_000).contains(&plan.partitions) {
        return wrong(format!("partitions: expected 1 to 10000, got {}", plan.partitions));
    }
    if plan.replication != -1 && !(1..=100).contains(&plan.replication) {
        return wrong(format!("replication: expected 1 to 100, or -1 for the broker's default, got {}", plan.replication));
    }
    Ok(())
}

fn connect(config: &KafkaConfig) -> Result<AdminClient<LogContext>, SourceError> {
    config.admin_config()?.create_with_context(LogContext).map_err(|error| failed("creating the administration client", &error))
}

/// Admin calls are futures that their own thread completes; nothing here needs more than to wait for one.
fn wait<T>(future: impl Future<Output = T>) -> Result<T, SourceError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| SourceError::Kafka {
        action: "starting the administration client".to_owned(),
        message: error.to_string(),
    })?;
    Ok(runtime.block_on(future))
}

type NamedOutcome = (String, TopicOutcome);

fn make(admin: &AdminClient<LogContext>, plan: &TopicPlan, topics: &[(String, i32)]) -> Result<Vec<NamedOutcome>, SourceError> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let (max_message_bytes, retention_ms) = (plan.max_message_bytes.to_string(), plan.retention_ms.to_string());
    let wanted: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|(name, partitions)| {
            NewTopic::new(name, *partitions, TopicReplication::Fixed(plan.replication))
                .set("max.message.bytes", &max_message_bytes)
                .set("cleanup.policy", "delete")
                .set("retention.ms", &retention_ms)
                // Kept as it was sent: recompressing images costs the broker's time and gains nothing.
                .set("compression.type", "producer")
                .set("message.timestamp.type", "CreateTime")
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST));
    let results = wait(admin.create_topics(&wanted, &options))?.map_err(|error| failed("making topics", &error))?;
    Ok(results
        .into_iter()
        .map(|result| match result {
            Ok(name) => (name, TopicOutcome::Created),
            // Somebody made it between our look and our request.
            Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => (name, TopicOutcome::Existed),
            Err((name, code)) => {
                let problem = explain(&rdkafka::error::KafkaError::AdminOp(code));
                (name, TopicOutcome::Problem(problem))
            }
        })
        .collect())
}

fn inspect(admin: &AdminClient<LogContext>, plan: &TopicPlan, name: &str, (wanted, got): (i32, i32)) -> TopicOutcome {
    if wanted != got {
        return TopicOutcome::Problem(format!(
            "expected {wanted} partitions, got {got}\nhint: all topics need the same count, or the sensors of a vehicle reach different \
             workers: --partitions {got}, or delete the topic"
        ));
    }
    match max_message_bytes(admin, name) {
        Some(bytes) if bytes < plan.max_message_bytes as u64 => TopicOutcome::Problem(format!(
            "expected max.message.bytes of at least {}, got {bytes}\nhint: kafka-configs --alter --topic {name} --add-config \
             max.message.bytes={}",
            plan.max_message_bytes, plan.max_message_bytes
        )),
        _ => TopicOutcome::Existed,
    }
}

/// What the topic allows, where the broker says it (not all do, and not to everybody).
fn max_message_bytes(admin: &AdminClient<LogContext>, name: &str) -> Option<u64> {
    let options = AdminOptions::new().request_timeout(Some(REQUEST));
    let described = wait(admin.describe_configs(&[ResourceSpecifier::Topic(name)], &options)).ok()?;
    let resource = described.ok()?.into_iter().next()?.ok()?;
    resource.get("max.message.bytes")?.value.as_ref()?.parse().ok()
}

/// Partitions of those topics of a configuration that exist.
pub(crate) fn counts_of(metadata: &Metadata, config: &KafkaConfig) -> BTreeMap<String, usize> {
    let wanted = config.topics();
    let counts = partition_counts(metadata).into_iter();
    counts.filter(|(name, _)| wanted.contains(name)).map(|(name, count)| (name, usize::try_from(count).unwrap_or(0))).collect()
}

fn partition_counts(metadata: &Metadata) -> BTreeMap<String, i32> {
    let usable = metadata.topics().iter().filter(|topic| topic.error().is_none() && !topic.partitions().is_empty());
    usable.map(|topic| (topic.name().to_owned(), i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX))).collect()
}

/// A broker of many acknowledges a topic before all of them know it.
fn await_visible(
    admin: &AdminClient<LogContext>,
    config: &KafkaConfig,
    outcomes: &BTreeMap<String, TopicOutcome>,
) -> Result<(), SourceError> {
    let deadline = Instant::now() + VISIBLE;
    loop {
        let there = partition_counts(&await_broker(admin.inner(), config, deadline)?);
        let unseen = outcomes.iter().filter(|(name, outcome)| !outcome.is_problem() && !there.contains_key(*name)).count();
        if unseen == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let message = format!("{unseen} topics were made but are not seen after {} s", VISIBLE.as_secs());
            return Err(SourceError::Kafka { action: "making topics".to_owned(), message });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
