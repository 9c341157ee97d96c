//! Producer, replay and topics.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as rd_kafka_resp_err_t};

use super::*;
use crate::error::RecordingError;
use crate::kafka::topics::TopicOutcome;
use crate::kafka::{ReplaySpeed, replay};
use crate::record::{Recording, SkippedChannel};

/// Java's murmur2, as the Kafka client has it (`Utils.murmur2`).
fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().unwrap()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    for (index, byte) in rest.iter().enumerate() {
        h ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    (h ^ (h >> 15)) as i32
}

/// Keys with the values of the Kafka project's own test of `Utils.murmur2`.
const JAVA: [(&str, i32); 6] = [
    ("21", -973_932_308),
    ("foobar", -790_332_482),
    ("a-little-bit-long-string", -985_981_536),
    ("a-little-bit-longer-string", -1_486_304_829),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
    ("abc", 479_470_107),
];

#[test]
fn a_vehicle_lands_in_the_partition_that_java_chooses() {
    let lab = Lab::with_topics(5);
    let mut sink = lab.sink();
    for (vehicle, hash) in JAVA {
        assert_eq!(murmur2(vehicle.as_bytes()), hash, "{vehicle}");
        sink.send(&message(SensorKind::Transform, vehicle, 0, 10)).unwrap();
    }
    sink.flush(Duration::from_secs(10)).unwrap();
    let mut source = lab.source();
    let events = events_until(&mut source, |events| records(events).len() == JAVA.len());
    for record in records(&events) {
        let (_, hash) = JAVA.iter().find(|(vehicle, _)| *vehicle == &*record.header.vehicle).unwrap();
        assert_eq!(record.header.position.partition, (hash & 0x7fff_ffff) % 5, "{}", record.header.vehicle);
    }
}

/// With librdkafka's own mock of a cluster, because no real broker refuses just the first message of a topic when it is told to; Apache Kafka does by itself
/// while the topic's leader is being elected.
#[test]
fn the_first_message_of_a_new_topic_is_not_lost_where_its_leader_is_being_elected() {
    let cluster = MockCluster::new(1).unwrap();
    let config = KafkaConfig { brokers: cluster.bootstrap_servers(), ..Lab::quick() };
    for topic in config.topics() {
        cluster.create_topic(&topic, 1, 1).unwrap();
    }
    // So that the second is on its way before the first is refused.
    cluster.broker_round_trip_time(1, Duration::from_millis(50)).unwrap();
    let mut sink = KafkaSink::connect(&config).unwrap();
    for round in 0..3 {
        for kind in [SensorKind::Lidar, SensorKind::Camera] {
            // Also that of a vehicle that comes later, which may be the first one of its partition. What is before it is not to be refused.
            sink.flush(Duration::from_secs(30)).unwrap();
            let vehicle = format!("car-{round}");
            cluster.request_errors(RDKafkaApiKey::Produce, &[rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]);
            // Larger than a batch, so that each is a request of its own.
            (0..6).for_each(|seq| sink.send(&message(kind, &vehicle, seq, 1_500_000)).unwrap());
        }
    }
    assert_eq!(sink.flush(Duration::from_secs(30)).unwrap().messages, 36);
    // The mock forgets old messages; its offsets go on.
    let listed = topics::list(&config).unwrap().into_iter();
    let next: BTreeMap<String, i64> = listed.map(|topic| (topic.name, topic.partitions[0].high)).collect();
    assert_eq!(
        [SensorKind::Lidar, SensorKind::Camera].map(|kind| next[&config.topic(kind)]),
        [18; 2],
        "acknowledged, and not there"
    );
}

#[test]
fn a_message_that_is_too_large_names_sensor_size_and_limit() {
    let lab = Lab::with_topics(1);
    let mut sink = KafkaSink::connect(&KafkaConfig { max_message_bytes: 1000, ..lab.config.clone() }).unwrap();
    let text = sink.send(&message(SensorKind::Lidar, "car-1", 0, 1001)).unwrap_err().to_string();
    assert!(text.contains("lidar_top") && text.contains("1001") && text.contains("at most 1000"), "{text}");
    assert!(text.contains("hint:"), "{text}");
    // The next one is not harmed by it.
    sink.send(&message(SensorKind::Lidar, "car-1", 1, 1000)).unwrap();
    assert_eq!(sink.flush(Duration::from_secs(10)).unwrap().messages, 1);
}

#[test]
fn the_producer_blocks_at_its_bound_and_delivers_everything() {
    let lab = Lab::with_topics(1);
    let config = KafkaConfig { queue_bytes: 8 << 20, ..lab.config.clone() };
    let mut sink = KafkaSink::connect(&config).unwrap();
    for seq in 0..40 {
        sink.send(&message(SensorKind::Camera, "car-1", seq, 1_000_000)).unwrap();
        let waiting = (seq + 1) - sink.delivered().messages;
        assert!(waiting <= 9, "{waiting} MB wait where 8 MiB may");
    }
    assert_eq!(sink.flush(Duration::from_secs(30)).unwrap().bytes, 40_000_000);
}

#[test]
fn a_message_that_no_broker_takes_is_an_error() {
    let lab = Lab::embedded(None);
    lab.make_topics(1);
    let Lab { mut config, broker } = lab;
    config.client.insert("message.timeout.ms".to_owned(), "2000".to_owned());
    let mut sink = KafkaSink::connect(&config).unwrap();
    sink.send(&message(SensorKind::Lidar, "car-1", 0, 10)).unwrap();
    drop(broker);
    sink.send(&message(SensorKind::Lidar, "car-1", 1, 10)).unwrap();
    let text = sink.flush(Duration::from_secs(10)).unwrap_err().to_string();
    assert!(text.contains("1 messages could not be delivered") && text.contains("ad.lidar"), "{text}");
    assert!(sink.send(&message(SensorKind::Lidar, "car-1", 2, 10)).is_err(), "it goes on as if nothing had happened");
}

struct Drive {
    left: u64,
    step_ns: i64,
}

impl Recording for Drive {
    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, RecordingError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut one = message(SensorKind::Lidar, "car-1", self.left, 100);
        one.log_time_ns = i64::MAX / 2 - self.step_ns * i64::try_from(self.left).unwrap();
        Ok(Some(one))
    }

    fn skipped(&self) -> Vec<SkippedChannel> {
        vec![SkippedChannel { topic: "/odd".to_owned(), schema: "x".to_owned(), reason: "unknown".to_owned(), messages: 3 }]
    }

    fn is_truncated(&self) -> bool {
        true
    }
}

#[test]
fn a_replay_keeps_the_recorded_pace_and_reports_what_it_did() {
    let lab = Lab::with_topics(1);
    let mut sink = lab.sink();
    let go_on = AtomicBool::new(false);
    let mut seen = 0;
    // Nine steps of 100 ms at double speed.
    let mut drive = Drive { left: 10, step_ns: 100_000_000 };
    let report = replay(&mut drive, &mut sink, ReplaySpeed::Factor(2.0), &mut |progress| seen = progress.messages, &go_on).unwrap();
    assert_eq!((report.messages, report.bytes, seen), (10, 1000, 10));
    assert_eq!(report.messages_by_kind, BTreeMap::from([(SensorKind::Lidar, 10)]));
    assert!((0.45..2.0).contains(&report.seconds), "{}", report.seconds);
    assert!(report.truncated && !report.stopped);
    assert_eq!(report.skipped.len(), 1);
    assert_eq!(sink.flush(Duration::from_secs(10)).unwrap().messages, 10);
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.contains(r#""messages_by_kind":{"lidar":10}"#), "{json}");
}

#[test]
fn a_replay_can_be_stopped() {
    let lab = Lab::with_topics(1);
    let mut sink = lab.sink();
    let stop = AtomicBool::new(false);
    let mut drive = Drive { left: 1000, step_ns: 0 };
    let report =
        replay(&mut drive, &mut sink, ReplaySpeed::Max, &mut |one| stop.store(one.messages == 7, Ordering::SeqCst), &stop).unwrap();
    assert_eq!((report.messages, report.stopped), (7, true));
}

#[test]
fn topics_are_made_once_and_checked_afterwards() {
    let lab = Lab::start();
    let plan = TopicPlan { partitions: 3, ..TopicPlan::for_config(&lab.config) };
    let made = topics::create(&lab.config, &plan).unwrap();
    assert_eq!(made.len(), 8);
    assert!(made.iter().all(|topic| topic.outcome == TopicOutcome::Created), "{made:?}");
    assert_eq!((&made[0].name, &made[4].name), (&lab.topic("lidar"), &lab.topic("lidar.dead-letter")));
    let again = topics::create(&lab.config, &plan).unwrap();
    assert!(again.iter().all(|topic| topic.outcome == TopicOutcome::Existed), "{again:?}");
    let other = topics::create(&lab.config, &TopicPlan { partitions: 4, ..plan.clone() }).unwrap();
    assert!(other[0].outcome.to_string().contains("expected 4 partitions, got 3"), "{other:?}");
    assert_eq!(other.iter().filter(|topic| topic.outcome.is_problem()).count(), 4);
    let larger = topics::create(&lab.config, &TopicPlan { max_message_bytes: 50 << 20, ..plan }).unwrap();
    assert!(larger.iter().all(|topic| topic.outcome.is_problem()), "{larger:?}");
    assert!(larger[0].outcome.to_string().contains("max.message.bytes"), "{larger:?}");
}

#[test]
fn the_list_of_topics_counts_messages() {
    let lab = Lab::with_topics(2);
    let mut sink = lab.sink();
    for seq in 0..50 {
        sink.send(&message(SensorKind::Transform, "car-1", seq, 10)).unwrap();
    }
    sink.flush(Duration::from_secs(10)).unwrap();
    let listed = topics::list(&lab.config).unwrap();
    let names: Vec<_> = listed.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names.len(), 8);
    let transform = listed.iter().find(|topic| topic.name == lab.topic("transform")).unwrap();
    assert_eq!((transform.partitions.len(), transform.messages), (2, 50), "{transform:?}");
    assert_eq!(listed.iter().map(|topic| topic.messages).sum::<u64>(), 50);
}

#[test]
fn nonsense_plans_are_refused_with_both_sides() {
    let lab = Lab::start();
    let plan = TopicPlan { partitions: 0, ..TopicPlan::for_config(&lab.config) };
    assert!(topics::create(&lab.config, &plan).unwrap_err().to_string().contains("got 0"));
}
