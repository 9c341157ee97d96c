//! Promises of the Kafka side, kept against the embedded broker over real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boxwright_model::{SensorKind, StampRef};
use bytes::Bytes;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::topics::{self, TopicPlan};
use super::{KafkaConfig, KafkaSink, KafkaSource};
use crate::broker::EmbeddedBroker;
use crate::record::{Encoding, OutgoingMessage, PartitionId, Record, Source, SourceEvent};

mod consuming;

mod producing;

mod lasting;

mod speed;

/// A broker, and a configuration that reaches it.
struct Lab {
    config: KafkaConfig,
    broker: EmbeddedBroker,
}

impl Lab {
    fn start() -> Self {
        Self::start_at(None)
    }

    fn start_at(data_dir: Option<&Path>) -> Self {
        let broker = EmbeddedBroker::start(SocketAddr::from(([127, 0, 0, 1], 0)), data_dir).unwrap();
        let config =
            KafkaConfig { brokers: broker.address(), quiet_after_ms: 300, session_timeout_ms: 6000, ..KafkaConfig::default() };
        Self { config, broker }
    }

    fn with_topics(partitions: i32) -> Self {
        let lab = Self::start();
        lab.make_topics(partitions);
        lab
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

fn partition(topic: &str, number: i32) -> PartitionId {
    PartitionId { topic: Arc::from(topic), partition: number }
}
