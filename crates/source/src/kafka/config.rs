//! Options, and how they become librdkafka options.

use std::collections::BTreeMap;
use std::time::Duration;

use boxwright_model::SensorKind;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use serde::{Deserialize, Deserializer};

use super::group::{self, Assignor, GroupProtocol, TopicLayout};
use crate::error::SourceError;
use crate::record::topic_name;

/// The kinds that always have a topic.
pub(crate) const KINDS: [SensorKind; 4] = [SensorKind::Lidar, SensorKind::Camera, SensorKind::Calibration, SensorKind::Transform];

/// What librdkafka may prefetch for each partition, in KiB: two of the largest messages of a default topic. More would only move the
/// backlog from the broker's disk into our memory.
const PREFETCH_KBYTES: usize = 16 * 1024;
/// How long librdkafka waits before it looks whether there is room for the next fetch. Its own second would stand between two fetches of a
/// partition whenever the pipeline takes a moment longer than the broker.
const FETCH_AGAIN_MS: u32 = 10;
/// How often topics are looked up again, so that a topic that is made later is picked up.
const METADATA_REFRESH_MS: u32 = 10_000;
/// How long the broker may hold back an answer when there is nothing new: half of it is the latency that some brokers add.
const FETCH_WAIT_MS: u32 = 100;
/// How long an unacknowledged message is tried before it counts as lost.
pub(super) const DELIVERY_TIMEOUT_MS: u32 = 60_000;
/// librdkafka's own bounds of `message.max.bytes`.
const MESSAGE_BYTES: std::ops::RangeInclusive<usize> = 1_000..=1_000_000_000;
/// The most that one answer of a broker holds, unless one message may be larger. librdkafka's own 50 MiB would be kept by a single sweep that
/// stays in place; eight still take more time to send than a round trip.
const ANSWER_BYTES: usize = 8 << 20;
/// The largest answer that is accepted: all that librdkafka can take. Somebody with a larger limit may have written a message of any
/// size; with a bound of ours the connection would be closed and opened again at that message for ever.
const RECEIVE_MAX_BYTES: i32 = i32::MAX;
/// How often librdkafka tells its numbers (end of partitions), which costs no round trip.
const STATISTICS_MS: u32 = 1_000;

/// Options of the Kafka client.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Addresses of brokers, `host:port` with commas between.
    pub brokers: String,
    /// Consumer group: workers of one group share the partitions.
    pub group_id: String,
    /// How the group shares partitions.
    pub group_protocol: GroupProtocol,
    /// Who gets which partition.
    pub assignor: Assignor,
    /// Name of this worker within the group, empty for none: a worker that comes back under its name within the session gets its
    /// partitions back, and nothing moves meanwhile.
    pub group_instance_id: String,
    /// Topics are `<prefix>.lidar`, `.camera`, `.calibration` and `.transform`, or `<prefix>.frames`.
    pub topic_prefix: String,
    /// Whether `<prefix>.detections` is one of them: no option of its own, it follows from who finds the objects.
    #[serde(skip)]
    pub detections: bool,
    /// Which of the two.
    pub topic_layout: TopicLayout,
    /// Largest message in bytes; topics are made with it, and larger messages are refused on both ways.
    pub max_message_bytes: usize,
    /// Bytes that may wait between the Kafka thread and the pipeline, and between a replay and the network.
    pub queue_bytes: usize,
    /// A consumer that is silent for so long loses its partitions, in milliseconds; in the consumer protocol the broker decides.
    pub session_timeout_ms: u32,
    /// A partition that is read to its end and silent for so long is quiet, in milliseconds.
    pub quiet_after_ms: u64,
    /// How long a broker may take to answer at the start, in milliseconds.
    pub connect_timeout_ms: u64,
    /// End with an error when no broker answers for so long while running, in milliseconds; 0 waits for ever.
    pub give_up_after_ms: u64,
    /// Any librdkafka option, over what is set here (`security.protocol = "SASL_SSL"`, …).
    #[serde(deserialize_with = "client_options")]
    pub client: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            group_id: "boxwright".to_owned(),
            group_protocol: GroupProtocol::default(),
            assignor: Assignor::default(),
            group_instance_id: String::new(),
            topic_prefix: "ad".to_owned(),
            detections: false,
            topic_layout: TopicLayout::default(),
            max_message_bytes: 8 << 20,
            // About thirty of the largest sweeps: enough to ride out a pause of the pipeline of some seconds at 20 MB/s, little enough
            // that a worker with a few partitions stays below half a gigabyte.
            queue_bytes: 64 << 20,
            // The embedded broker lets a group wait for half of it before it forms.
            session_timeout_ms: 10_000,
            quiet_after_ms: 1_000,
            connect_timeout_ms: 8_000,
            give_up_after_ms: 0,
            client: BTreeMap::new(),
        }
    }
}

impl KafkaConfig {
    /// The topics that are read and written.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        match self.topic_layout {
            TopicLayout::PerKind => {
                let kinds = KINDS.into_iter().chain(self.detections.then_some(SensorKind::Detections));
                kinds.map(|kind| self.topic(kind)).collect()
            }
            TopicLayout::Single => vec![format!("{}.frames", self.topic_prefix)],
        }
    }

    /// The topic of a kind's messages.
    #[must_use]
    pub fn topic(&self, kind: SensorKind) -> String {
        match self.topic_layout {
            TopicLayout::PerKind => topic_name(&self.topic_prefix, kind),
            TopicLayout::Single => format!("{}.frames", self.topic_prefix),
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// See [`Self::quiet_after_ms`].
    #[must_use]
    pub fn quiet_after(&self) -> Duration {
        Duration::from_millis(self.quiet_after_ms)
    }

    /// Options of a consumer.
    ///
    /// # Errors
    /// When an option is out of range, or one of [`KafkaConfig::client`] would break a promise of the source.
    pub fn consumer_config(&self) -> Result<ClientConfig, SourceError> {
        let mut config = self.common_config()?;
        group::set_options(self, &mut config);
        config
            .set("allow.auto.create.topics", "false")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            .set("statistics.interval.ms", STATISTICS_MS.to_string())
            // Off by default in librdkafka: a flipped bit would go into the labels.
            .set("check.crcs", "true")
            .set("fetch.message.max.bytes", self.max_message_bytes.to_string())
            .set("fetch.max.bytes", self.answer_bytes().to_string())
            .set("fetch.wait.max.ms", FETCH_WAIT_MS.to_string())
            .set("receive.message.max.bytes", RECEIVE_MAX_BYTES.to_string())
            .set("queued.max.messages.kbytes", PREFETCH_KBYTES.to_string())
            .set("fetch.queue.backoff.ms", FETCH_AGAIN_MS.to_string());
        self.overlay(config)
    }

    /// The most that one answer of a broker holds.
    pub(crate) fn answer_bytes(&self) -> usize {
        ANSWER_BYTES.max(self.max_message_bytes)
    }

    /// Options of a producer.
    ///
    /// # Errors
    /// When an option is out of range, or one of [`KafkaConfig::client`] would break a promise of the sink.
    pub fn producer_config(&self) -> Result<ClientConfig, SourceError> {
        let mut config = self.common_config()?;
        config
            // librdkafka's own default hashes with CRC32 and would put a vehicle elsewhere than a Java producer does.
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            // Images and point clouds are as small as they get; topics keep what they are given.
            .set("compression.type", "none")
            .set("queue.buffering.max.kbytes", (self.queue_bytes / 1024).max(1).to_string())
            .set("message.timeout.ms", DELIVERY_TIMEOUT_MS.to_string())
            .set("message.max.bytes", self.wire_message_bytes().to_string());
        self.overlay(config)
    }

    /// Options of an administration client.
    ///
    /// # Errors
    /// When an option is out of range.
    pub fn admin_config(&self) -> Result<ClientConfig, SourceError> {
        let config = self.common_config()?;
        self.overlay(config)
    }

    /// `max_message_bytes` bounds the payload; key, headers and framing come on top.
    pub(crate) fn wire_message_bytes(&self) -> usize {
        (self.max_message_bytes + 64 * 1024).min(*MESSAGE_BYTES.end())
    }

    fn common_config(&self) -> Result<ClientConfig, SourceError> {
        self.check()?;
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "boxwright")
            .set("topic.metadata.refresh.interval.ms", METADATA_REFRESH_MS.to_string())
            .set("reconnect.backoff.max.ms", "2000")
            .set_log_level(RDKafkaLogLevel::Info);
        Ok(config)
    }

    fn check(&self) -> Result<(), SourceError> {
        if self.brokers.trim().is_empty() {
            return Err(refused("brokers: expected host:port, got nothing"));
        }
        if self.group_id.is_empty() {
            return Err(refused("group_id: expected a name, got nothing"));
        }
        if !is_topic_name(&self.topic_prefix) {
            let got = &self.topic_prefix;
            return Err(refused(format!(
                "topic_prefix: expected 1 to 200 letters, digits, dots, dashes or underscores, got {got:?}"
            )));
        }
        if !MESSAGE_BYTES.contains(&self.max_message_bytes) {
            return Err(refused(format!("max_message_bytes: expected 1000 to 1000000000, got {}", self.max_message_bytes)));
        }
        if self.queue_bytes < self.max_message_bytes || self.queue_bytes / 1024 > i32::MAX as usize {
            return Err(refused(format!(
                "queue_bytes: expected at least max_message_bytes ({}) and less than 2 TiB, got {}",
                self.max_message_bytes, self.queue_bytes
            )));
        }
        if !(100..=60_000).contains(&self.connect_timeout_ms) {
            return Err(refused(format!("connect_timeout_ms: expected 100 to 60000, got {}", self.connect_timeout_ms)));
        }
        group::check(self)
    }

    /// Lays the user's options over ours, but for those that would break what the source promises.
    fn overlay(&self, mut config: ClientConfig) -> Result<ClientConfig, SourceError> {
        // Option, the only value that keeps the promise, and the promise.
        const KEPT: [(&str, &str, &str); 4] = [
            ("enable.auto.commit", "false", "offsets are committed only when their shard is durable"),
            ("enable.partition.eof", "true", "a partition at its end must be known, or its silence stops the others"),
            ("partitioner", "murmur2_random", "a vehicle must reach the partition that Java producers choose"),
            ("log.queue", "true", "the client's log goes to ours"),
        ];
        for (name, value) in &self.client {
            if let Some((_, kept, why)) = KEPT.iter().find(|(option, kept, _)| option == name && kept != value) {
                return Err(refused(format!("client.{name}: expected {kept}, got {value}: {why}")));
            }
            config.set(name, value);
        }
        Ok(config)
    }
}

pub(crate) fn refused(message: impl Into<String>) -> SourceError {
    SourceError::Kafka { action: "configuration".to_owned(), message: format!("kafka.{}", message.into()) }
}

/// What Kafka allows as a topic name (249 characters), less what we append.
pub(crate) fn is_topic_name(name: &str) -> bool {
    (1..=200).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// A value of the table `client`: TOML reads `a.b = 1` as a table in a table, librdkafka's documentation as an option `a.b`.
#[derive(Deserialize)]
#[serde(untagged)]
enum OptionValue {
    Flag(bool),
    Whole(i64),
    Number(f64),
    Text(String),
    Table(BTreeMap<String, OptionValue>),
}

fn client_options<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut options = BTreeMap::new();
    flatten("", BTreeMap::<String, OptionValue>::deserialize(deserializer)?, &mut options);
    Ok(options)
}

fn flatten(prefix: &str, table: BTreeMap<String, OptionValue>, out: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        let text = match value {
            OptionValue::Table(inner) => {
                flatten(&name, inner, out);
                continue;
            }
            OptionValue::Flag(flag) => flag.to_string(),
            OptionValue::Whole(number) => number.to_string(),
            OptionValue::Number(number) => number.to_string(),
            OptionValue::Text(text) => text,
        };
        out.insert(name, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_promises_are_set() {
        let config = KafkaConfig::default();
        let consumer = config.consumer_config().unwrap();
        assert_eq!(consumer.get("enable.auto.commit"), Some("false"));
        assert_eq!(consumer.get("check.crcs"), Some("true"));
        assert_eq!(consumer.get("partition.assignment.strategy"), Some("range"));
        let number = |name: &str| consumer.get(name).unwrap().parse::<usize>().unwrap();
        assert!(number("receive.message.max.bytes") >= number("fetch.max.bytes") + 512);
        assert_eq!(config.producer_config().unwrap().get("partitioner"), Some("murmur2_random"));
        assert_eq!(config.topics(), ["ad.lidar", "ad.camera", "ad.calibration", "ad.transform"]);
        let asked = KafkaConfig { detections: true, ..config.clone() };
        assert_eq!(asked.topics().last().unwrap(), "ad.detections");
    }

    #[test]
    fn one_topic_holds_every_kind_in_the_single_layout() {
        let config = KafkaConfig { topic_layout: TopicLayout::Single, ..KafkaConfig::default() };
        assert_eq!(config.topics(), ["ad.frames"]);
        assert!(KINDS.iter().all(|kind| config.topic(*kind) == "ad.frames"));
    }

    #[test]
    fn large_messages_widen_the_receive_limit() {
        let config = KafkaConfig { max_message_bytes: 100 << 20, queue_bytes: 200 << 20, ..KafkaConfig::default() };
        let consumer = config.consumer_config().unwrap();
        let number = |name: &str| consumer.get(name).unwrap().parse::<usize>().unwrap();
        assert!(number("receive.message.max.bytes") >= number("fetch.max.bytes") + 512);
        assert!(number("fetch.max.bytes") >= 100 << 20);
        // librdkafka itself agrees with all of it.
        assert!(consumer.create_native_config().is_ok());
        assert!(config.producer_config().unwrap().create_native_config().is_ok());
    }

    #[test]
    fn client_options_win_but_for_those_that_break_a_promise() {
        let with = |name: &str, value: &str| KafkaConfig {
            client: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            ..KafkaConfig::default()
        };
        assert_eq!(with("session.timeout.ms", "6000").consumer_config().unwrap().get("session.timeout.ms"), Some("6000"));
        let message = with("enable.auto.commit", "true").consumer_config().unwrap_err().to_string();
        assert!(message.contains("expected false, got true"), "{message}");
    }

    #[test]
    fn nested_tables_of_client_options_become_dotted_names() {
        let text = r#"{"brokers":"b:1","group_id":"g","group_protocol":"consumer","assignor":"uniform",
            "group_instance_id":"","topic_layout":"single","topic_prefix":"p","max_message_bytes":1000,"queue_bytes":2000,
            "session_timeout_ms":1,"quiet_after_ms":1,"connect_timeout_ms":100,"give_up_after_ms":0,
            "client":{"security":{"protocol":"SASL_SSL"},"socket.timeout.ms":10,"ssl":{"ca":{"location":"x"}},"flag":true}}"#;
        let config: KafkaConfig = serde_json::from_str(text).unwrap();
        let options: Vec<_> = config.client.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(options, ["flag=true", "security.protocol=SASL_SSL", "socket.timeout.ms=10", "ssl.ca.location=x"]);
    }

    #[test]
    fn values_out_of_range_are_refused_with_both_sides() {
        let small = KafkaConfig { max_message_bytes: 10, ..KafkaConfig::default() };
        assert!(small.consumer_config().unwrap_err().to_string().contains("got 10"));
        let prefix = KafkaConfig { topic_prefix: "a b".to_owned(), ..KafkaConfig::default() };
        assert!(prefix.producer_config().unwrap_err().to_string().contains("\"a b\""));
        let queue = KafkaConfig { queue_bytes: 1, ..KafkaConfig::default() };
        assert!(queue.admin_config().unwrap_err().to_string().contains("queue_bytes"));
    }
}
