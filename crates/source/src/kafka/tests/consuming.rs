//! The consumer.

use super::*;
use crate::record::{Rejected, reason};
use crate::{SourceError, kafka};

#[test]
fn two_megabyte_messages_arrive_as_they_were_sent() {
    let lab = Lab::with_topics(1);
    let mut sink = lab.sink();
    let sent: Vec<_> = (0..10).map(|seq| message(SensorKind::Lidar, "car-1", seq, 2_000_000)).collect();
    for one in &sent {
        sink.send(one).unwrap();
    }
    let delivered = sink.flush(Duration::from_secs(30)).unwrap();
    assert_eq!((delivered.messages, delivered.bytes), (10, 20_000_000));
    let mut source = lab.source();
    let events = events_until(&mut source, |events| records(events).len() == 10);
    for (offset, (record, sent)) in records(&events).iter().zip(&sent).enumerate() {
        assert_eq!(record.payload, sent.payload);
        assert_eq!((&*record.header.vehicle, &*record.header.sensor, record.header.seq), ("car-1", "lidar_top", Some(sent.seq)));
        assert_eq!((record.header.stamp_ns, record.header.stamp_ref), (sent.stamp_ns, StampRef::SweepMid));
        assert_eq!(record.header.position.to_string(), format!("{}[0]@{offset}", lab.topic("lidar")));
    }
}

#[test]
fn a_partition_is_quiet_once_until_its_next_message() {
    let lab = Lab::with_topics(1);
    let mut sink = lab.sink();
    sink.send(&message(SensorKind::Camera, "car-1", 0, 100)).unwrap();
    sink.flush(Duration::from_secs(10)).unwrap();
    let mut source = lab.source();
    let quiet = |events: &[SourceEvent]| {
        events
            .iter()
            .filter_map(|event| if let SourceEvent::Quiet(one) = event { Some(one.to_string()) } else { None })
            .collect::<Vec<_>>()
    };
    // All four say it, the three that have nothing as well as the one that was read to its end.
    let events = events_until(&mut source, |events| quiet(events).len() == 4);
    let mut names = quiet(&events);
    names.sort();
    assert_eq!(names, ["calibration", "camera", "lidar", "transform"].map(|kind| lab.partition(kind, 0).to_string()));
    let place = |wanted: &dyn Fn(&SourceEvent) -> bool| events.iter().position(wanted).unwrap();
    let camera = lab.partition("camera", 0);
    assert!(place(&|event| matches!(event, SourceEvent::Record(_))) < place(&|event| *event == SourceEvent::Quiet(camera.clone())));
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(source.next_event(Duration::ZERO).unwrap(), None, "said twice");
    sink.send(&message(SensorKind::Camera, "car-1", 1, 100)).unwrap();
    sink.flush(Duration::from_secs(10)).unwrap();
    let events = events_until(&mut source, |events| quiet(events).len() == 1);
    assert_eq!(quiet(&events), [camera.to_string()]);
    assert_eq!(records(&events).len(), 1);
}

#[test]
fn a_full_queue_holds_the_broker_back_and_loses_nothing() {
    let lab = Lab::with_topics(1);
    let mut sink = lab.sink();
    for seq in 0..60 {
        sink.send(&message(SensorKind::Lidar, "car-1", seq, 1_000_000)).unwrap();
    }
    sink.flush(Duration::from_secs(30)).unwrap();
    let config = KafkaConfig { queue_bytes: 8 << 20, ..lab.config.clone() };
    let mut source = KafkaSource::connect(&config).unwrap();
    let mut highest = 0;
    let mut watch_until = |over: &dyn Fn(usize) -> bool| {
        while !over(highest) {
            highest = highest.max(source.queued_bytes());
            std::thread::sleep(Duration::from_millis(20));
        }
        highest
    };
    let (full, patience) = (7_000_000, Instant::now() + Duration::from_secs(60));
    let filled = watch_until(&|highest| highest >= full || Instant::now() >= patience);
    assert!(filled >= full, "the queue never filled: {filled}");
    // Longer than the session: the consumer must go on polling, or it is thrown out of the group.
    let deadline = Instant::now() + Duration::from_secs(8);
    let highest = watch_until(&|_| Instant::now() >= deadline);
    assert!(highest <= (8 << 20) + 1_001_000, "the bound of one message above 8 MiB was broken: {highest}");
    let events = events_until(&mut source, |events| records(events).len() == 60);
    let seqs: Vec<_> = records(&events).iter().map(|record| record.header.seq.unwrap()).collect();
    assert_eq!(seqs, (0..60).collect::<Vec<_>>());
    assert!(!events.iter().any(|event| matches!(event, SourceEvent::Revoked(_))), "it was thrown out of the group");
}

#[test]
fn messages_that_cannot_be_used_are_rejected_with_their_reason_and_the_rest_goes_on() {
    let lab = Lab::with_topics(1);
    let good: [(&str, &str); 4] =
        [("schema", "foxglove.PointCloud"), ("encoding", "protobuf"), ("stamp_ns", "1700000000000000000"), ("sensor", "top")];
    let with = |name: &'static str, value: &'static str| {
        good.iter().map(|(key, old)| (*key, if *key == name { value } else { *old })).collect::<Vec<_>>()
    };
    let without = |name: &str| good.iter().copied().filter(|(key, _)| *key != name).collect::<Vec<_>>();
    let send =
        |headers: &[(&str, &str)], payload: Option<&[u8]>| send_raw(&lab.config, &lab.topic("lidar"), "car-1", headers, payload);
    send(&without("schema"), Some(b"x"));
    send(&with("stamp_ns", "soon"), Some(b"x"));
    send(&with("stamp_ns", "-5"), Some(b"x"));
    send(&with("schema", "nobody.Knows"), Some(b"x"));
    send(&with("encoding", "xml"), Some(b"x"));
    send(&good, None);
    send(&[], Some(b"x"));
    send(&good, Some(b"good"));
    let mut source = lab.source();
    let events = events_until(&mut source, |events| records(events).len() == 1);
    let got: Vec<_> = events
        .iter()
        .filter_map(
            |event| if let SourceEvent::Rejected(one) = event { Some((one.position.offset, one.reason.as_str())) } else { None },
        )
        .collect();
    let expected = [
        (0, reason::MISSING_HEADER),
        (1, reason::BAD_HEADER),
        (2, reason::IMPLAUSIBLE_STAMP),
        (3, reason::UNKNOWN_SCHEMA),
        (4, reason::UNKNOWN_ENCODING),
        (5, reason::EMPTY),
        (6, reason::MISSING_HEADER),
    ];
    assert_eq!(got, expected);
    assert_eq!(records(&events)[0].header.position.offset, 7);
    // The key names the vehicle where no header does.
    assert_eq!(&*records(&events)[0].header.vehicle, "car-1");
}

#[test]
fn a_message_above_the_limit_is_rejected_whole() {
    let lab = Lab::with_topics(1);
    let mut sink = lab.sink();
    sink.send(&message(SensorKind::Lidar, "car-1", 0, 300_000)).unwrap();
    sink.flush(Duration::from_secs(10)).unwrap();
    let config = KafkaConfig { max_message_bytes: 100_000, ..lab.config.clone() };
    let mut source = KafkaSource::connect(&config).unwrap();
    let events = events_until(&mut source, |events| events.iter().any(|event| matches!(event, SourceEvent::Rejected(_))));
    let Some(SourceEvent::Rejected(rejected)) = events.iter().find(|event| matches!(event, SourceEvent::Rejected(_))) else {
        panic!()
    };
    assert_eq!(rejected.reason, reason::TOO_LARGE);
    assert!(rejected.message.contains("expected at most 100000 bytes, got 300000"), "{}", rejected.message);
}

#[test]
fn a_dead_letter_keeps_everything_and_says_where_it_came_from() {
    let lab = Lab::with_topics(1);
    send_raw(&lab.config, &lab.topic("lidar"), "car-1", &[("schema", "nobody.Knows"), ("mine", "kept")], Some(b"payload"));
    let mut source = lab.source();
    let events = events_until(&mut source, |events| events.iter().any(|event| matches!(event, SourceEvent::Rejected(_))));
    let rejected =
        events.iter().find_map(|event| if let SourceEvent::Rejected(one) = event { Some(one.clone()) } else { None }).unwrap();
    source.dead_letter(&rejected).unwrap();
    let (key, headers, payload) = read_one(&lab.config, &lab.topic("lidar.dead-letter"));
    assert_eq!((key.as_str(), payload.as_slice()), ("car-1", &b"payload"[..]));
    let header = |name: &str| headers.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(header("reason"), Some(reason::MISSING_HEADER));
    assert_eq!(header("source_topic"), Some(lab.topic("lidar").as_str()));
    assert_eq!((header("source_partition"), header("source_offset")), (Some("0"), Some("0")));
    assert_eq!((header("mine"), header("schema")), (Some("kept"), Some("nobody.Knows")));
    assert!(header("message").unwrap().contains("encoding"));
}

#[test]
fn a_dead_letter_that_is_too_large_leaves_its_payload_out_and_says_so() {
    let lab = Lab::with_topics(1);
    let config = KafkaConfig { max_message_bytes: 2_000, topic_prefix: lab.topic("other"), ..lab.config.clone() };
    topics::create(&config, &TopicPlan::for_config(&config)).unwrap();
    let mut source = KafkaSource::connect(&config).unwrap();
    let rejected = Rejected {
        // A topic without a dead-letter topic: it is made.
        position: boxwright_model::SourcePosition { topic: lab.topic("fresh").into(), partition: 3, offset: 9 },
        key: None,
        headers: Vec::new(),
        payload: Some(Bytes::from(vec![7; 10_000])),
        reason: reason::TOO_LARGE.to_owned(),
        message: "m".to_owned(),
    };
    source.dead_letter(&rejected).unwrap();
    let (_, headers, payload) = read_one(&lab.config, &lab.topic("fresh.dead-letter"));
    assert!(payload.is_empty());
    assert!(headers.contains(&("payload_bytes".to_owned(), "10000".to_owned())), "{headers:?}");
}

#[test]
fn reading_goes_on_where_it_was_committed() {
    let lab = Lab::with_topics(1);
    let mut sink = lab.sink();
    for seq in 0..20 {
        sink.send(&message(SensorKind::Lidar, "car-1", seq, 1000)).unwrap();
    }
    sink.flush(Duration::from_secs(10)).unwrap();
    let mut source = lab.source();
    let events = events_until(&mut source, |events| records(events).len() == 20);
    source.commit(&next_offsets(&records(&events)[..12])).unwrap();
    drop(source);
    let mut source = lab.source();
    let events = events_until(&mut source, |events| records(events).len() == 8);
    assert_eq!(records(&events)[0].header.position.offset, 12);
    source.commit(&next_offsets(&records(&events))).unwrap();
    assert_eq!(source.stats().stale_commits, 0);
}

#[test]
fn a_commit_for_a_partition_that_is_not_ours_is_left_out_and_counted() {
    let lab = Lab::with_topics(1);
    let mut source = lab.source();
    events_until(&mut source, |events| !assigned(events).is_empty());
    source.commit(&[(lab.partition("lidar", 7), 5)]).unwrap();
    assert_eq!(source.stats().stale_commits, 1);
}

#[test]
fn consumers_share_partitions_by_number_and_hand_over_after_an_acknowledgement() {
    let lab = Lab::with_topics(2);
    let mut first = lab.source();
    let events = events_until(&mut first, |events| assigned(events).len() == 8);
    assert_eq!(assigned(&events).len(), 8);
    let config = lab.config.clone();
    let second = std::thread::spawn(move || {
        let mut source = KafkaSource::connect(&config).unwrap();
        let events = events_until(&mut source, |events| !assigned(events).is_empty());
        (assigned(&events), source)
    });
    let events = events_until(&mut first, |events| {
        events.iter().any(|event| matches!(event, SourceEvent::Revoked(_))) && assigned(events).len() == 4
    });
    let (theirs, _second) = second.join().unwrap();
    let mine = assigned(&events);
    assert_eq!(theirs.len(), 4);
    let numbers = |list: &[PartitionId]| list.iter().map(|one| one.partition).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(numbers(&mine).len(), 1, "{mine:?}");
    assert_eq!(numbers(&theirs).len(), 1, "{theirs:?}");
    assert_ne!(numbers(&mine), numbers(&theirs));
}

#[test]
fn a_pipeline_that_does_not_acknowledge_holds_the_group_only_for_a_while() {
    let lab = Lab::with_topics(2);
    let patience = Patience { revocation: Duration::from_secs(1), ..Patience::default() };
    let mut first = KafkaSource::connect_with_patience(&lab.config, patience).unwrap();
    events_until(&mut first, |events| assigned(events).len() == 8);
    let mut second = lab.source();
    // The first never says that it is done.
    let started = Instant::now();
    events_until(&mut second, |events| {
        while let Ok(Some(_)) = first.next_event(Duration::ZERO) {}
        !assigned(events).is_empty()
    });
    assert!(started.elapsed() >= Duration::from_millis(900));
}

#[test]
fn an_absent_broker_is_a_clear_error_within_ten_seconds() {
    let config = KafkaConfig { brokers: "127.0.0.1:1".to_owned(), connect_timeout_ms: 1500, ..KafkaConfig::default() };
    let started = Instant::now();
    let errors = [
        KafkaSource::connect(&config).err().unwrap(),
        KafkaSink::connect(&config).err().unwrap(),
        topics::create(&config, &TopicPlan::for_config(&config)).unwrap_err(),
        topics::list(&config).unwrap_err(),
    ];
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    for error in errors {
        assert!(matches!(error, SourceError::NoBroker { .. }), "{error}");
        assert!(error.to_string().contains("127.0.0.1:1") && error.to_string().contains("hint:"), "{error}");
    }
    assert!(KafkaConfig::default().connect_timeout_ms < 10_000);
}

#[test]
fn missing_topics_are_named_unless_one_exists() {
    let lab = Lab::start();
    let config = KafkaConfig { connect_timeout_ms: 1000, ..lab.config.clone() };
    let error = KafkaSource::connect(&config).err().unwrap();
    assert!(matches!(error, SourceError::NoTopics { .. }), "{error}");
    assert!(error.to_string().contains(&lab.topic("lidar")) && error.to_string().contains("topics create"), "{error}");
    assert!(matches!(KafkaSink::connect(&config).err().unwrap(), SourceError::NoTopics { .. }));
    kafka::topics::ensure(&config, &lab.topic("camera")).unwrap();
    let mut source = KafkaSource::connect(&config).unwrap();
    let events = events_until(&mut source, |events| !assigned(events).is_empty());
    assert_eq!(assigned(&events), [lab.partition("camera", 0)]);
}

#[test]
fn a_broker_that_goes_away_ends_nothing_unless_told_to() {
    let lab = Lab::embedded(None);
    lab.make_topics(1);
    let Lab { config, broker } = lab;
    let mut patient = KafkaSource::connect(&config).unwrap();
    let mut impatient =
        KafkaSource::connect(&KafkaConfig { give_up_after_ms: 1500, group_id: "other".to_owned(), ..config }).unwrap();
    events_until(&mut patient, |events| !assigned(events).is_empty());
    events_until(&mut impatient, |events| !assigned(events).is_empty());
    drop(broker);
    let deadline = Instant::now() + Duration::from_secs(25);
    let error = loop {
        match impatient.next_event(Duration::from_millis(50)) {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < deadline, "never gave up"),
        }
        patient.next_event(Duration::ZERO).unwrap();
    };
    assert!(matches!(error, SourceError::NoBroker { .. }), "{error}");
    let started = Instant::now();
    drop(patient);
    drop(impatient);
    assert!(started.elapsed() < Duration::from_secs(21), "closing hangs: {:?}", started.elapsed());
}

/// Key, headers and payload of the first message of a topic.
pub(super) fn read_one(config: &KafkaConfig, topic: &str) -> (String, Vec<(String, String)>, Vec<u8>) {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::{Headers, Message};
    let consumer: BaseConsumer = config.consumer_config().unwrap().set("group.id", "reader").create().unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, 0, rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        assert!(Instant::now() < deadline, "nothing in {topic}");
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let headers =
                message.headers().unwrap().iter().map(|one| (one.key.to_owned(), text(one.value.unwrap_or_default()))).collect();
            return (text(message.key().unwrap_or_default()), headers, message.payload().unwrap_or_default().to_vec());
        }
    }
}

/// Large payloads stay in the client, and hold the consumer: one that waits in the source's own queue must not keep it in the group.
#[test]
fn a_source_that_is_dropped_with_large_messages_in_its_queue_closes_its_consumer() {
    let lab = Lab::with_topics(1);
    let mut sink = lab.sink();
    (0..4).for_each(|seq| sink.send(&message(SensorKind::Lidar, "car", seq, 3 << 20)).unwrap());
    sink.flush(Duration::from_secs(10)).unwrap();
    let mut source = lab.source();
    let first = events_until(&mut source, |events| records(events).len() == 1);
    let deadline = Instant::now() + Duration::from_secs(30);
    while source.queued_bytes() == 0 {
        assert!(Instant::now() < deadline, "nothing waits in the queue");
        std::thread::sleep(Duration::from_millis(10));
    }
    let consumer = source.consumer();
    assert!(consumer.upgrade().is_some());
    drop(first);
    drop(source);
    assert!(consumer.upgrade().is_none(), "the consumer is still there");
}
