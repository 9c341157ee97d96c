//! What nisshi's protocol services read and write: messages in our [`PartitionLog`]s, topics and groups in nisshi's memory engine.
//!
//! nisshi 0.6 brings two engines of its own. The memory engine lists every batch of a partition for every fetch, answers the end of a
//! partition by the number of batches, and lets a reader pass a batch that another connection is just writing; the SQLite engine reads
//! 3 MB/s. Neither does for frames, so messages are kept here and everything else is left to the memory engine; with a folder, topics
//! and committed offsets are noted in a [`Journal`] and told to the engine again at the start.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use nisshi_sans_io::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use nisshi_sans_io::record::deflated::Batch;
use nisshi_sans_io::{ErrorCode, ListOffset, to_system_time, to_timestamp};
use nisshi_storage::{
    ArcDynStorage, Error, ListOffsetResponse, OffsetCommitRequest, OffsetStage, Result, Storage, StorageContainer, TopicId,
    Topition,
};
use serde::Deserialize;
use serde::de::value::MapDeserializer;
use url::Url;
use uuid::Uuid;

use super::journal::{Fact, Facts, Journal, TopicFact};
use super::log::{AppendError, PartitionLog};

mod forward;

/// Kafka's own default of `max.message.bytes`.
const DEFAULT_MAX_MESSAGE_BYTES: u64 = 1_048_588;
/// Most partitions of a topic.
const MAX_PARTITIONS: i32 = 10_000;

type SharedLog = Arc<Mutex<PartitionLog>>;

/// See the module. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct LogStorage {
    inner: ArcDynStorage,
    state: Arc<Mutex<State>>,
    data_dir: Option<Arc<PathBuf>>,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<String, TopicLogs>,
    journal: Option<Journal>,
}

#[derive(Debug)]
struct TopicLogs {
    fact: TopicFact,
    /// By partition number.
    logs: Vec<SharedLog>,
}

impl TopicLogs {
    fn max_message_bytes(&self) -> u64 {
        self.fact.settings.get("max.message.bytes").and_then(|value| value.parse().ok()).unwrap_or(DEFAULT_MAX_MESSAGE_BYTES)
    }
}

impl LogStorage {
    /// Opens what is in the folder, or begins empty in memory.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub(crate) async fn open(cluster_id: &str, node_id: i32, advertised: Url, data_dir: Option<&Path>) -> Result<Self> {
        let memory = Url::parse("memory://boxwright/")?;
        let inner = StorageContainer::builder()
            .cluster_id(cluster_id)
            .node_id(node_id)
            .advertised_listener(advertised)
            .storage(memory)
            .silent(true)
            .build()
            .await?;
        let data_dir = data_dir.map(|dir| Arc::new(dir.to_owned()));
        let storage = Self { inner: Arc::new(inner), state: Arc::default(), data_dir };
        if let Some(dir) = &storage.data_dir {
            let (journal, facts) = Journal::open(dir)?;
            storage.recall(facts).await?;
            storage.lock().journal = Some(journal);
        }
        Ok(storage)
    }

    /// Tells the engine what the journal knows.
    async fn recall(&self, facts: Facts) -> Result<()> {
        for (name, fact) in facts.topics {
            self.inner.create_topic(creatable(&name, &fact), false).await?;
            let logs = self.open_logs(&name, fact.partitions)?;
            self.lock().topics.insert(name, TopicLogs { fact, logs });
        }
        for ((group, topic, partition), offset) in facts.offsets {
            let offsets = [(Topition::new(topic, partition), OffsetCommitRequest::default().offset(offset))];
            self.inner.offset_commit(&group, None, &offsets).await?;
        }
        Ok(())
    }

    fn open_logs(&self, topic: &str, partitions: i32) -> io::Result<Vec<SharedLog>> {
        (0..partitions)
            .map(|partition| match &self.data_dir {
                None => Ok(PartitionLog::in_memory()),
                Some(dir) => PartitionLog::open(&partition_dir(dir, topic, partition)),
            })
            .map(|log| log.map(|log| Arc::new(Mutex::new(log))))
            .collect()
    }

    /// Makes everything safe against a power cut.
    pub(crate) fn sync(&self) {
        let state = self.lock();
        let journal = state.journal.as_ref().map_or(Ok(()), Journal::sync);
        let logs = state.topics.values().flat_map(|topic| &topic.logs).map(|log| lock(log).sync());
        for error in logs.chain([journal]).filter_map(io::Result::err) {
            tracing::error!(%error, "the broker's files could not be synced");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn log(&self, topition: &Topition) -> Option<SharedLog> {
        let number = usize::try_from(topition.partition()).ok()?;
        self.lock().topics.get(topition.topic())?.logs.get(number).cloned()
    }

    fn note(&self, facts: &[Fact]) -> io::Result<()> {
        self.lock().journal.as_mut().map_or(Ok(()), |journal| journal.add(facts))
    }

    async fn make_topic(&self, topic: CreatableTopic, validate_only: bool) -> Result<Uuid> {
        // -1 asks for the broker's defaults.
        let partitions = if topic.num_partitions == -1 { 1 } else { topic.num_partitions };
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(Error::Api(ErrorCode::InvalidPartitions));
        }
        if !is_topic_name(&topic.name) {
            return Err(Error::Api(ErrorCode::InvalidTopicException));
        }
        if self.lock().topics.contains_key(&topic.name) {
            return Err(Error::Api(ErrorCode::TopicAlreadyExists));
        }
        if validate_only {
            return Ok(Uuid::nil());
        }
        let settings =
            topic.configs.unwrap_or_default().into_iter().filter_map(|config| config.value.map(|value| (config.name, value)));
        let fact = TopicFact { partitions, settings: settings.collect() };
        let id = self.inner.create_topic(creatable(&topic.name, &fact), false).await?;
        let logs = self.open_logs(&topic.name, partitions)?;
        self.note(&[Fact::Topic(topic.name.clone(), fact.clone())])?;
        self.lock().topics.insert(topic.name, TopicLogs { fact, logs });
        Ok(id)
    }

    async fn drop_topic(&self, topic: &TopicId) -> Result<ErrorCode> {
        let name = match topic {
            TopicId::Name(name) => Some(name.clone()),
            TopicId::Id(_) => {
                let metadata = self.inner.metadata(Some(std::slice::from_ref(topic))).await?;
                metadata.topics().first().and_then(|topic| topic.name.clone())
            }
        };
        let outcome = self.inner.delete_topic(topic).await?;
        // A statement of its own: the lock must be free again when the fact is noted.
        let gone = name.as_ref().and_then(|name| self.lock().topics.remove(name));
        if let (Some(name), Some(gone)) = (name, gone) {
            self.note(&[Fact::Deleted(name.clone())])?;
            for partition in 0..gone.fact.partitions {
                let Some(dir) = &self.data_dir else { break };
                // The topic is gone from the journal: files that stay behind cost space and nothing else.
                if let Err(error) = std::fs::remove_dir_all(partition_dir(dir, &name, partition)) {
                    tracing::warn!(%error, name, partition, "files of a deleted topic stay behind");
                }
            }
        }
        Ok(outcome)
    }

    /// Notes a setting that was changed after the topic was made.
    fn change_setting(&self, topic: &str, name: &str, value: Option<&str>) -> io::Result<()> {
        let mut state = self.lock();
        let Some(logs) = state.topics.get_mut(topic) else { return Ok(()) };
        match value {
            Some(value) => logs.fact.settings.insert(name.to_owned(), value.to_owned()),
            None => logs.fact.settings.remove(name),
        };
        let fact = Fact::Topic(topic.to_owned(), logs.fact.clone());
        drop(state);
        self.note(&[fact])
    }

    fn append(&self, topition: &Topition, batch: Batch) -> Result<i64> {
        let log = self.log(topition).ok_or(Error::Api(ErrorCode::UnknownTopicOrPartition))?;
        let limit = self.lock().topics.get(topition.topic()).map_or(DEFAULT_MAX_MESSAGE_BYTES, TopicLogs::max_message_bytes);
        if batch.record_data.len() as u64 > limit {
            return Err(Error::Api(ErrorCode::MessageTooLarge));
        }
        // One after the other: a reader sees a batch only when all before it are there.
        let appended = lock(&log).append(batch);
        appended.map_err(|error| match error {
            AppendError::Refused(code) => Error::Api(code),
            AppendError::Io(error) => {
                tracing::error!(%error, topic = topition.topic(), partition = topition.partition(), "cannot write a message");
                Error::Api(ErrorCode::KafkaStorageError)
            }
        })
    }

    fn read(&self, topition: &Topition, offset: i64, max_bytes: u32) -> Result<Vec<Batch>> {
        let Some(log) = self.log(topition) else { return Ok(Vec::new()) };
        let found = lock(&log).find(offset, u64::from(max_bytes));
        found.into_iter().map(|found| found.read().map_err(Error::from)).collect()
    }

    fn stage(&self, topition: &Topition) -> Result<OffsetStage> {
        let (low, high) = self.log(topition).map_or((0, 0), |log| {
            let log = lock(&log);
            (log.low(), log.high())
        });
        // Without transactions everything that is written is stable. Its fields are private; it can be deserialized.
        let fields = [("last_stable", high), ("high_watermark", high), ("log_start", low)];
        OffsetStage::deserialize(MapDeserializer::<_, serde::de::value::Error>::new(fields.into_iter()))
            .map_err(|error| Error::Message(error.to_string()))
    }

    fn offset_at(&self, topition: &Topition, wanted: &ListOffset) -> ListOffsetResponse {
        let Some(log) = self.log(topition) else {
            return ListOffsetResponse { error_code: ErrorCode::UnknownTopicOrPartition, ..ListOffsetResponse::default() };
        };
        let log = lock(&log);
        let answer = |offset: i64, timestamp: Option<SystemTime>| ListOffsetResponse {
            error_code: ErrorCode::None,
            timestamp,
            offset: Some(offset),
        };
        match wanted {
            ListOffset::Earliest => answer(log.low(), None),
            ListOffset::Latest => answer(log.high(), None),
            ListOffset::Timestamp(time) => {
                let found = to_timestamp(time).ok().and_then(|time_ms| log.at_time(time_ms));
                // -1: there is no message at or after that time.
                found.map_or(answer(-1, None), |(offset, time_ms)| answer(offset, to_system_time(time_ms).ok()))
            }
        }
    }

    async fn commit(
        &self,
        group_id: &str,
        retention: Option<Duration>,
        offsets: &[(Topition, OffsetCommitRequest)],
    ) -> Result<Vec<(Topition, ErrorCode)>> {
        let outcome = self.inner.offset_commit(group_id, retention, offsets).await?;
        let taken: Vec<Topition> =
            outcome.iter().filter(|(_, code)| *code == ErrorCode::None).map(|(topition, _)| topition.clone()).collect();
        // The request does not show its offsets; the engine does.
        let committed = self.inner.offset_fetch(Some(group_id), &taken, None).await?;
        let facts: Vec<Fact> = committed
            .into_iter()
            .map(|(topition, offset)| {
                Fact::Offset((group_id.to_owned(), topition.topic().to_owned(), topition.partition()), offset)
            })
            .collect();
        self.note(&facts)?;
        Ok(outcome)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A log is whole after every statement that others can see, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn partition_dir(data_dir: &Path, topic: &str, partition: i32) -> PathBuf {
    // As Kafka names them.
    data_dir.join(format!("{topic}-{partition}"))
}

/// Kafka's rule; also what keeps a topic's folder inside ours.
fn is_topic_name(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    is_plain && (1..=249).contains(&name.len()) && name != "." && name != ".."
}

fn creatable(name: &str, fact: &TopicFact) -> CreatableTopic {
    let settings = fact
        .settings
        .iter()
        .map(|(name, value)| CreatableTopicConfig::default().name(name.clone()).value(Some(value.clone())))
        .collect();
    CreatableTopic::default()
        .name(name.to_owned())
        .num_partitions(fact.partitions)
        .replication_factor(1)
        .assignments(Some(Vec::new()))
        .configs(Some(settings))
}
