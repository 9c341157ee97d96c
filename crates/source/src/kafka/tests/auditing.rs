//! What the audit and the numbers for metrics say.

use super::*;
use crate::kafka::audit::Audit;
use crate::record::{Rejected, reason};

fn fill(lab: &Lab, count: u64) {
    let mut sink = lab.sink();
    for seq in 0..count {
        sink.send(&message(SensorKind::Lidar, "car-1", seq, 5_000)).unwrap();
    }
    sink.flush(Duration::from_secs(30)).unwrap();
}

#[test]
fn an_audit_tells_ends_commits_letters_and_messages() {
    let lab = Lab::with_topics(1);
    fill(&lab, 40);
    let mut source = lab.source();
    let events = events_until(&mut source, |events| records(events).len() == 40);
    source.commit(&next_offsets(&records(&events)[..30])).unwrap();
    for (offset, code) in [(7, reason::EMPTY), (9, "clip_sealed")] {
        let position = boxwright_model::SourcePosition { topic: lab.topic("lidar").into(), partition: 0, offset };
        let one = Rejected {
            position,
            key: None,
            headers: Vec::new(),
            payload: Some(Bytes::from_static(b"x")),
            reason: code.to_owned(),
            message: "m".to_owned(),
        };
        source.dead_letter(&one).unwrap();
    }
    drop(source);
    send_raw(&lab.config, &lab.topic("lidar.dead-letter"), "k", &[("somebody", "else")], Some(b"x"));
    let audit = Audit::connect(&lab.config).unwrap();
    let partitions = audit.partitions().unwrap();
    let summary: Vec<_> = partitions.iter().map(|one| (one.partition.clone(), one.low, one.high, one.committed)).collect();
    let expected = [("calibration", 0, None), ("camera", 0, None), ("lidar", 40, Some(30)), ("transform", 0, None)];
    assert_eq!(summary, expected.map(|(kind, high, committed)| (lab.partition(kind, 0), 0, high, committed)));

    let mut letters = Vec::new();
    let read = audit.dead_letters(&mut |letter| letters.push(letter), &mut |_| {}).unwrap();
    assert_eq!((read.letters, read.foreign), (2, 1));
    let told: Vec<_> = letters.iter().map(|letter| (letter.source.to_string(), letter.reason.as_str())).collect();
    let at = |offset: i64| format!("{}@{offset}", lab.partition("lidar", 0));
    assert_eq!(told, [(at(7), reason::EMPTY), (at(9), "clip_sealed")]);

    let mut steps = Vec::new();
    let lidar = lab.partition("lidar", 0);
    let runs = audit.messages_in(&lidar, &[(30, 100), (3, 5), (6, 8), (-4, 0)], &mut |now| steps.push((now.done, now.total)));
    assert_eq!(runs.unwrap(), [(0, 0), (3, 8), (30, 39)]);
    assert_eq!((steps.first(), steps.last()), (Some(&(0, 17)), Some(&(17, 17))));
    assert_eq!(audit.messages_in(&lab.partition("camera", 0), &[(0, 9)], &mut |_| {}).unwrap(), []);
}

#[test]
fn control_records_and_deleted_messages_are_no_messages() {
    if named_brokers().is_none() {
        println!("left out: transactions and deletion need Apache Kafka");
        return;
    }
    let lab = Lab::with_topics(1);
    let topic = lab.topic("lidar");
    let mut options = lab.config.producer_config().unwrap();
    options.set("transactional.id", fresh_name());
    let producer: BaseProducer = options.create().unwrap();
    let limit = Duration::from_secs(20);
    producer.init_transactions(limit).unwrap();
    for aborted in [false, true, false] {
        producer.begin_transaction().unwrap();
        for _ in 0..3 {
            producer.send(BaseRecord::<str, [u8]>::to(&topic).key("car-1").payload(b"x")).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(limit).unwrap();
        if aborted { producer.abort_transaction(limit) } else { producer.commit_transaction(limit) }.unwrap();
    }
    // Three messages and a marker, three that count for nothing and a marker, three messages and a marker.
    let audit = Audit::connect(&lab.config).unwrap();
    let lidar = lab.partition("lidar", 0);
    assert_eq!(audit.messages_in(&lidar, &[(0, 11)], &mut |_| {}).unwrap(), [(0, 2), (8, 10)]);
    delete_before(&lab.config, &topic, 2);
    assert_eq!(audit.messages_in(&lidar, &[(0, 9)], &mut |_| {}).unwrap(), [(2, 2), (8, 9)]);
    let partitions = audit.partitions().unwrap();
    let lidar = partitions.iter().find(|one| one.partition == lidar).unwrap();
    assert_eq!((lidar.low, lidar.high, lidar.committed), (2, 12, None));
}

fn delete_before(config: &KafkaConfig, topic: &str, offset: i64) {
    use rdkafka::admin::{AdminClient, AdminOptions};
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
    let admin: AdminClient<_> = config.admin_config().unwrap().create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
}

#[test]
fn the_numbers_for_metrics_follow_what_happens() {
    let lab = Lab::with_topics(1);
    fill(&lab, 50);
    let mut source = lab.source();
    let events = events_until(&mut source, |events| records(events).len() == 20);
    let until = Instant::now() + Duration::from_secs(20);
    let lidar = lab.partition("lidar", 0);
    let of_lidar = |stats: &crate::SourceStats| stats.partitions.iter().find(|one| one.partition == lidar).cloned().unwrap();
    // The end of the partition is heard within seconds, without reading on.
    let stats = loop {
        let stats = source.stats();
        if of_lidar(&stats).lag() == Some(30) && stats.queued_events >= 30 {
            break stats;
        }
        assert!(Instant::now() < until, "{stats:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((of_lidar(&stats).position, of_lidar(&stats).high_watermark), (Some(20), Some(50)));
    assert_eq!((stats.partitions.len(), stats.rebalances, stats.since_commit), (4, 1, None));
    assert!(stats.queued_bytes >= 30 * 5_000, "{stats:?}");
    source.commit(&next_offsets(&records(&events))).unwrap();
    assert!(source.stats().since_commit.is_some());
    events_until(&mut source, |events| records(events).len() == 30);
    let stats = source.stats();
    assert_eq!((of_lidar(&stats).lag(), stats.queued_bytes), (Some(0), 0));
    // Partitions with nothing in them have no lag either, as soon as the client has looked.
    while source.stats().partitions.iter().any(|one| one.lag() != Some(0)) {
        assert!(Instant::now() < until, "{:?}", source.stats());
        source.next_event(Duration::from_millis(50)).unwrap();
    }
}

#[test]
fn one_topic_for_all_carries_every_kind() {
    let mut lab = Lab::start();
    lab.config.topic_layout = TopicLayout::Single;
    let made = topics::create(&lab.config, &TopicPlan { partitions: 2, ..TopicPlan::for_config(&lab.config) }).unwrap();
    let names: Vec<_> = made.iter().map(|topic| topic.name.clone()).collect();
    assert_eq!(names, [lab.topic("frames"), lab.topic("frames.dead-letter")]);
    let kinds = [SensorKind::Lidar, SensorKind::Camera, SensorKind::Calibration, SensorKind::Transform];
    let mut sink = lab.sink();
    for kind in kinds {
        sink.send(&message(kind, "car-1", 0, 500)).unwrap();
    }
    sink.flush(Duration::from_secs(10)).unwrap();
    let mut source = lab.source();
    let events = events_until(&mut source, |events| records(events).len() == 4);
    // One partition, in the order in which they were sent.
    let got: Vec<_> = records(&events).iter().map(|record| record.header.kind).collect();
    assert_eq!(got, kinds);
    let listed = topics::list(&lab.config).unwrap();
    assert_eq!(listed.iter().map(|topic| topic.messages).collect::<Vec<_>>(), [4, 0]);
}
