//! Promises of the Kafka side, kept against a broker over real sockets: the one that `BOXWRIGHT_TEST_BROKERS` names (`bash tests/kafka run
//! COMMAND` starts Apache Kafka and sets it), or the embedded one. Tests that stop their broker start one of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use boxwright_model::{SensorKind, StampRef};
use bytes::Bytes;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::source::Patience;
use super::topics::{self, TopicPlan};
use super::{Assignor, GroupProtocol, KafkaConfig, KafkaSink, KafkaSource, TopicLayout};
use crate::broker::EmbeddedBroker;
use crate::record::{Encoding, OutgoingMessage, PartitionId, Record, Source, SourceEvent};

mod consuming;

mod producing;

mod lasting;

mod sharing;

mod trouble;

mod auditing;

mod speed;

/// A broker, and a configuration that reaches it.
struct Lab {
    config: KafkaConfig,
    /// The embedded one, where no other was named.
    broker: Option<EmbeddedBroker>,
}

impl Lab {
    fn start() -> Self {
        match named_brokers() {
            Some(brokers) => {
                // Others use the same broker.
                let name = fresh_name();
                let config = KafkaConfig { brokers, topic_prefix: name.clone(), group_id: name, ..Self::quick() };
                Self { config, broker: None }
            }
            None => Self::embedded(None),
        }
    }

    fn embedded(data_dir: Option<&Path>) -> Self {
        let broker = EmbeddedBroker::start(SocketAddr::from(([127, 0, 0, 1], 0)), data_dir).unwrap();
        let config = KafkaConfig { brokers: broker.address(), ..Self::quick() };
        Self { config, broker: Some(broker) }
    }

    fn quick() -> KafkaConfig {
        KafkaConfig { quiet_after_ms: 300, session_timeout_ms: 6000, ..KafkaConfig::default() }
    }

    fn with_topics(partitions: i32) -> Self {
        let lab = Self::start();
        lab.make_topics(partitions);
        lab
    }

    /// The topic of a kind (or `frames`, or whatever it may be).
    fn topic(&self, kind: &str) -> String {
        format!("{}.{kind}", self.config.topic_prefix)
    }

    fn partition(&self, kind: &str, number: i32) -> PartitionId {
        PartitionId { topic: Arc::from(self.topic(kind)), partition: number }
    }

    fn make_topics(&self, partitions: i32) {
        let made = topics::create(&self.config, &TopicPlan { partitions, ..TopicPlan::for_config(&self.config) }).unwrap();
        assert!(made.iter().all(|topic| !topic.outcome.is_problem()), "{made:?}");
    }

    fn sink(&self) -> KafkaSink {
        KafkaSink::connect(&self.config).unwrap()
    }

    fn source(&self) -> KafkaSource {
        KafkaSource::connect(&self.config).unwrap()
    }
}

/// A message whose payload is `bytes` long and depends on `seq`, so that a mix-up shows.
fn message(kind: SensorKind, vehicle: &str, seq: u64, bytes: usize) -> OutgoingMessage {
    let schema = match kind {
        SensorKind::Lidar => "foxglove.PointCloud",
        SensorKind::Camera => "foxglove.CompressedImage",
        SensorKind::Calibration => "foxglove.CameraCalibration",
        SensorKind::Transform => "foxglove.FrameTransforms",
        SensorKind::Detections => "boxwright.Detections",
    };
    let stamp_ns = 1_700_000_000_000_000_000 + i64::try_from(seq).unwrap() * 100_000_000;
    OutgoingMessage {
        kind,
        vehicle: vehicle.into(),
        sensor: format!("{kind}_top").into(),
        stamp_ns,
        stamp_ref: StampRef::SweepMid,
        seq,
        grade: "".into(),
        schema: schema.into(),
        encoding: Encoding::Protobuf,
        payload: payload(seq, bytes),
        log_time_ns: stamp_ns,
    }
}

fn payload(seq: u64, bytes: usize) -> Bytes {
    (0..bytes as u64).map(|index| (index.wrapping_mul(31).wrapping_add(seq) >> 3) as u8).collect()
}

/// Sends a message that no reader of ours would write.
fn send_raw(config: &KafkaConfig, topic: &str, key: &str, headers: &[(&str, &str)], payload: Option<&[u8]>) {
    let producer: BaseProducer = config.producer_config().unwrap().create().unwrap();
    let headers =
        headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(*value) }));
    let mut record = BaseRecord::<str, [u8]>::to(topic).key(key).headers(headers);
    if let Some(payload) = payload {
        record = record.payload(payload);
    }
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
}

/// Events until `done` is content, but no longer than 30 s.
fn events_until(source: &mut KafkaSource, mut done: impl FnMut(&[SourceEvent]) -> bool) -> Vec<SourceEvent> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut events = Vec::new();
    while !done(&events) {
        assert!(Instant::now() < deadline, "waited 30 s, got {}: {:?}", events.len(), events.iter().map(brief).collect::<Vec<_>>());
        if let Some(event) = source.next_event(Duration::from_millis(50)).unwrap() {
            if matches!(event, SourceEvent::Revoked(_)) {
                source.revocation_done();
            }
            events.push(event);
        }
    }
    events
}

fn brief(event: &SourceEvent) -> String {
    match event {
        SourceEvent::Record(record) => record.header.position.to_string(),
        other => format!("{other:?}").chars().take(120).collect(),
    }
}

fn records(events: &[SourceEvent]) -> Vec<&Record> {
    events.iter().filter_map(|event| if let SourceEvent::Record(record) = event { Some(record) } else { None }).collect()
}

fn assigned(events: &[SourceEvent]) -> Vec<PartitionId> {
    let lists = events.iter().filter_map(|event| if let SourceEvent::Assigned(list) = event { Some(list.clone()) } else { None });
    lists.last().unwrap_or_default()
}

/// Offsets by partition that follow these records.
fn next_offsets(records: &[&Record]) -> Vec<(PartitionId, i64)> {
    let mut next = BTreeMap::new();
    for record in records {
        let position = &record.header.position;
        let partition = PartitionId { topic: position.topic.clone(), partition: position.partition };
        let offset = next.entry(partition).or_insert(0);
        *offset = (position.offset + 1).max(*offset);
    }
    next.into_iter().collect()
}

fn named_brokers() -> Option<String> {
    std::env::var("BOXWRIGHT_TEST_BROKERS").ok().filter(|brokers| !brokers.is_empty())
}

/// A name that no other test has, and no run before.
fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    format!("t{now}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
