//! Groups: who owns what, and when, for every protocol and assignor.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use super::*;

/// Partitions of each topic: not a multiple of the number of workers, so that shares are uneven.
const PARTITIONS: i32 = 5;

#[derive(Clone, Copy, Debug)]
struct Mode(GroupProtocol, Assignor, TopicLayout);

impl Mode {
    /// None where the broker of this run does not speak it.
    fn lab(self) -> Option<Lab> {
        let Self(group_protocol, assignor, topic_layout) = self;
        if group_protocol == GroupProtocol::Consumer && named_brokers().is_none() {
            return None;
        }
        let mut lab = Lab::start();
        lab.config = KafkaConfig { group_protocol, assignor, topic_layout, ..lab.config };
        lab.make_topics(PARTITIONS);
        Some(lab)
    }
}

const RANGE: Mode = Mode(GroupProtocol::Classic, Assignor::Range, TopicLayout::PerKind);
const RANGE_SINGLE: Mode = Mode(GroupProtocol::Classic, Assignor::Range, TopicLayout::Single);
const STICKY: Mode = Mode(GroupProtocol::Classic, Assignor::CooperativeSticky, TopicLayout::Single);
const KIP_848_RANGE: Mode = Mode(GroupProtocol::Consumer, Assignor::Range, TopicLayout::PerKind);
const KIP_848_UNIFORM: Mode = Mode(GroupProtocol::Consumer, Assignor::Uniform, TopicLayout::Single);

/// What the pipelines of a group saw, in the order in which it happened.
#[derive(Clone, Debug)]
enum Seen {
    Assigned(usize, Vec<PartitionId>),
    /// Written before the acknowledgement.
    Released(usize, Vec<PartitionId>),
    Got(usize, PartitionId, i64),
}

type Diary = Arc<Mutex<Vec<Seen>>>;

fn write(diary: &Diary, seen: Seen) {
    diary.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
}

fn read(diary: &Diary) -> Vec<Seen> {
    diary.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A worker whose pipeline commits everything it got before it lets go of a partition.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn start(number: usize, config: &KafkaConfig, diary: &Diary) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (config, diary, stopping) = (config.clone(), diary.clone(), stop.clone());
        let thread = std::thread::spawn(move || work(number, &config, &diary, &stopping));
        Self { stop, thread }
    }

    fn leave(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

fn work(number: usize, config: &KafkaConfig, diary: &Diary, stop: &AtomicBool) {
    let mut source = KafkaSource::connect(config).unwrap();
    let mut next: BTreeMap<PartitionId, i64> = BTreeMap::new();
    let mut owned: BTreeSet<PartitionId> = BTreeSet::new();
    while !stop.load(Ordering::SeqCst) {
        match source.next_event(Duration::from_millis(20)).unwrap() {
            Some(SourceEvent::Record(record)) => {
                let position = &record.header.position;
                let partition = PartitionId { topic: position.topic.clone(), partition: position.partition };
                next.insert(partition.clone(), position.offset + 1);
                write(diary, Seen::Got(number, partition, position.offset));
            }
            Some(SourceEvent::Assigned(list)) => {
                owned.extend(list.iter().cloned());
                write(diary, Seen::Assigned(number, list));
            }
            Some(SourceEvent::Revoked(list)) => {
                commit(&mut source, &next);
                // As long as a pipeline may take to seal what it has.
                std::thread::sleep(Duration::from_millis(300));
                owned.retain(|partition| !list.contains(partition));
                next.retain(|partition, _| !list.contains(partition));
                write(diary, Seen::Released(number, list));
                source.revocation_done();
            }
            _ => {}
        }
    }
    commit(&mut source, &next);
    write(diary, Seen::Released(number, owned.into_iter().collect()));
}

fn commit(source: &mut KafkaSource, next: &BTreeMap<PartitionId, i64>) {
    let offsets: Vec<_> = next.iter().map(|(partition, offset)| (partition.clone(), *offset)).collect();
    source.commit(&offsets).unwrap();
    // In the middle of somebody else's joining it may be taken only at the second try.
    let deadline = Instant::now() + Duration::from_secs(5);
    while source.stats().uncommitted_partitions > 0 && Instant::now() < deadline {
        source.commit(&[]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sends `messages` of each kind for each of ten vehicles, slowly enough that the group changes meanwhile.
fn send_steadily(config: &KafkaConfig, messages: u64) -> JoinHandle<u64> {
    let config = config.clone();
    std::thread::spawn(move || {
        let kinds = [SensorKind::Lidar, SensorKind::Camera, SensorKind::Calibration, SensorKind::Transform];
        let mut sink = KafkaSink::connect(&config).unwrap();
        for seq in 0..messages {
            for vehicle in 0..10 {
                for kind in kinds {
                    sink.send(&message(kind, &format!("car-{vehicle}"), seq, 2_000)).unwrap();
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        sink.flush(Duration::from_secs(30)).unwrap().messages
    })
}

/// Waits until `done` likes the diary.
fn wait_for(what: &str, diary: &Diary, done: impl Fn(&[Seen]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done(&read(diary)) {
        assert!(Instant::now() < deadline, "waited 60 s for {what}: {:?}", owners(&read(diary)));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Who owns what at the end of the diary.
fn owners(diary: &[Seen]) -> BTreeMap<PartitionId, usize> {
    let mut owners = BTreeMap::new();
    for seen in diary {
        match seen {
            Seen::Assigned(worker, list) => owners.extend(list.iter().map(|partition| (partition.clone(), *worker))),
            Seen::Released(worker, list) => list.iter().for_each(|partition| {
                if owners.get(partition) == Some(worker) {
                    owners.remove(partition);
                }
            }),
            Seen::Got(..) => {}
        }
    }
    owners
}

fn workers_with_a_share(diary: &[Seen], partitions: usize) -> usize {
    let owners = owners(diary);
    if owners.len() == partitions { owners.values().collect::<BTreeSet<_>>().len() } else { 0 }
}

fn got(diary: &[Seen]) -> usize {
    diary.iter().filter(|seen| matches!(seen, Seen::Got(..))).count()
}

/// Nothing has two owners, nothing is delivered to anybody else, everything comes once, all sensors of a vehicle come to one worker.
fn check(diary: &[Seen], topics: &[String]) {
    let mut owners: BTreeMap<PartitionId, usize> = BTreeMap::new();
    let mut offsets: BTreeMap<PartitionId, Vec<i64>> = BTreeMap::new();
    for seen in diary {
        match seen {
            Seen::Assigned(worker, list) => {
                for partition in list {
                    let before = owners.insert(partition.clone(), *worker);
                    assert_eq!(before, None, "{partition} went to {worker} before {before:?} had released it");
                }
            }
            Seen::Released(worker, list) => {
                for partition in list {
                    assert_eq!(owners.remove(partition), Some(*worker), "{partition}");
                }
            }
            Seen::Got(worker, partition, offset) => {
                for topic in topics {
                    let sibling = PartitionId { topic: topic.as_str().into(), partition: partition.partition };
                    assert_eq!(owners.get(&sibling), Some(worker), "{partition}@{offset} came although {sibling} is not here");
                }
                offsets.entry(partition.clone()).or_default().push(*offset);
            }
        }
    }
    for (partition, offsets) in offsets {
        let expected: Vec<i64> = (0..offsets.len() as i64).collect();
        assert_eq!(offsets, expected, "{partition}: lost, doubled or out of order");
    }
}

/// One worker, then two, then three, then two again, while messages come.
fn a_group_grows_and_shrinks(mode: Mode) {
    let Some(lab) = mode.lab() else {
        println!("left out: {mode:?} needs Apache Kafka");
        return;
    };
    let topics = lab.config.topics();
    let partitions = topics.len() * PARTITIONS as usize;
    let diary = Diary::default();
    let sender = send_steadily(&lab.config, 200);
    let first = Worker::start(1, &lab.config, &diary);
    wait_for("one owner", &diary, |diary| workers_with_a_share(diary, partitions) == 1 && got(diary) > 0);
    let second = Worker::start(2, &lab.config, &diary);
    wait_for("two owners", &diary, |diary| workers_with_a_share(diary, partitions) == 2);
    let third = Worker::start(3, &lab.config, &diary);
    wait_for("three owners", &diary, |diary| workers_with_a_share(diary, partitions) == 3);
    first.leave();
    wait_for("two owners again", &diary, |diary| workers_with_a_share(diary, partitions) == 2);
    let sent = sender.join().unwrap();
    wait_for("all messages", &diary, |diary| got(diary) as u64 >= sent);
    second.leave();
    third.leave();
    let seen = read(&diary);
    assert_eq!(got(&seen) as u64, sent);
    check(&seen, &topics);
    let moved: usize = seen.iter().map(|seen| if let Seen::Released(_, list) = seen { list.len() } else { 0 }).sum();
    println!("{mode:?}: {sent} messages, {moved} partitions changed hands");
}

#[test]
fn classic_range_shares_by_number_and_loses_nothing() {
    a_group_grows_and_shrinks(RANGE);
}

#[test]
fn classic_range_shares_one_topic_and_loses_nothing() {
    a_group_grows_and_shrinks(RANGE_SINGLE);
}

#[test]
fn cooperative_sticky_shares_one_topic_and_loses_nothing() {
    a_group_grows_and_shrinks(STICKY);
}

#[test]
fn the_consumer_protocol_with_range_shares_by_number_and_loses_nothing() {
    a_group_grows_and_shrinks(KIP_848_RANGE);
}

#[test]
fn the_consumer_protocol_with_uniform_shares_one_topic_and_loses_nothing() {
    a_group_grows_and_shrinks(KIP_848_UNIFORM);
}

#[test]
fn no_protocol_gives_a_partition_away_before_the_pipeline_is_done_with_it() {
    for mode in [RANGE, STICKY, KIP_848_RANGE, KIP_848_UNIFORM] {
        let Some(lab) = mode.lab() else { continue };
        let partitions = lab.config.topics().len() * PARTITIONS as usize;
        let mut first = lab.source();
        let mut held = 0;
        while held < partitions {
            let events = events_until(&mut first, |events| !assigned(events).is_empty());
            held += assigned(&events).len();
        }
        let mut second = lab.source();
        let deadline = Instant::now() + Duration::from_secs(30);
        let revoked = loop {
            assert!(Instant::now() < deadline, "{mode:?}: nothing was revoked");
            let _ = second.next_event(Duration::ZERO).unwrap();
            if let Some(SourceEvent::Revoked(list)) = first.next_event(Duration::from_millis(20)).unwrap() {
                break list;
            }
        };
        // Longer than a session of the broker's, which is 3 s where the broker decides.
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            let event = second.next_event(Duration::from_millis(20)).unwrap();
            assert!(!matches!(event, Some(SourceEvent::Assigned(_))), "{mode:?}: {event:?} before the pipeline was done");
        }
        // Still a member: what is sealed by now is committed.
        first.commit(&[(revoked[0].clone(), 0)]).unwrap();
        assert_eq!(first.stats().uncommitted_partitions, 0, "{mode:?}");
        assert!(first.stats().since_commit.is_some(), "{mode:?}");
        first.revocation_done();
        let events = events_until(&mut second, |events| {
            let _ = first.next_event(Duration::ZERO).unwrap();
            !assigned(events).is_empty()
        });
        assert!(assigned(&events).iter().all(|one| revoked.contains(one)), "{mode:?}");
    }
}

#[test]
fn a_topic_with_another_number_of_partitions_is_refused_when_it_parts_vehicles() {
    let lab = Lab::start();
    let camera = lab.topic("camera");
    topics::make_one(&lab.config, &camera, 2).unwrap();
    let made = topics::create(&lab.config, &TopicPlan { partitions: 4, ..TopicPlan::for_config(&lab.config) }).unwrap();
    let wrong: Vec<_> = made.iter().filter(|topic| topic.outcome.is_problem()).map(|topic| &topic.name).collect();
    assert_eq!(wrong, [&camera]);
    let patience = Patience { siblings: Duration::from_secs(3), ..Patience::default() };
    let mut sources = [
        KafkaSource::connect_with_patience(&lab.config, patience).unwrap(),
        KafkaSource::connect_with_patience(&lab.config, patience).unwrap(),
    ];
    let deadline = Instant::now() + Duration::from_secs(60);
    let error = 'found: loop {
        assert!(Instant::now() < deadline, "nobody noticed");
        for source in &mut sources {
            match source.next_event(Duration::from_millis(20)) {
                Ok(Some(SourceEvent::Revoked(_))) => source.revocation_done(),
                Ok(_) => {}
                Err(error) => break 'found error.to_string(),
            }
        }
    };
    assert!(error.contains("sharing the partitions") && error.contains("did not get") && error.contains("hint:"), "{error}");
}

#[test]
fn a_broker_without_the_consumer_protocol_is_a_clear_error() {
    let lab = Lab::embedded(None);
    lab.make_topics(1);
    let config = KafkaConfig { group_protocol: GroupProtocol::Consumer, ..lab.config.clone() };
    let mut source = KafkaSource::connect(&config).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let text = loop {
        assert!(Instant::now() < deadline, "it waits for ever");
        match source.next_event(Duration::from_millis(50)) {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(text.contains("group_protocol") && text.contains("hint:") && text.contains("classic"), "{text}");
}

/// A source and what its pipeline owns.
struct Member {
    source: KafkaSource,
    owned: BTreeSet<PartitionId>,
}

impl Member {
    fn join(config: &KafkaConfig) -> Self {
        Self { source: KafkaSource::connect(config).unwrap(), owned: BTreeSet::new() }
    }

    fn look(&mut self) {
        while let Some(event) = self.source.next_event(Duration::from_millis(20)).unwrap() {
            match event {
                SourceEvent::Assigned(list) => self.owned.extend(list),
                SourceEvent::Revoked(list) => {
                    self.owned.retain(|one| !list.contains(one));
                    self.source.revocation_done();
                }
                _ => {}
            }
        }
    }
}

/// Until everybody owns something and everything is owned.
fn settle(members: &mut [&mut Member], partitions: usize) {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        members.iter_mut().for_each(|member| member.look());
        let sizes: Vec<usize> = members.iter().map(|member| member.owned.len()).collect();
        if sizes.iter().all(|size| *size > 0) && sizes.iter().sum::<usize>() == partitions {
            return;
        }
        assert!(Instant::now() < deadline, "never settled: {sizes:?}");
    }
}

#[test]
fn a_static_member_that_comes_back_moves_nobody() {
    if named_brokers().is_none() {
        println!("left out: the embedded broker has no static members");
        return;
    }
    for mode in [RANGE, KIP_848_RANGE] {
        let Some(lab) = mode.lab() else { continue };
        let partitions = lab.config.topics().len() * PARTITIONS as usize;
        let named = |name: &str| KafkaConfig { group_instance_id: name.to_owned(), ..lab.config.clone() };
        let mut first = Member::join(&named("worker-1"));
        let mut second = Member::join(&named("worker-2"));
        settle(&mut [&mut first, &mut second], partitions);
        let (share, rebalances) = (second.owned.clone(), first.source.stats().rebalances);
        drop(second);
        let mut again = Member::join(&named("worker-2"));
        settle(&mut [&mut first, &mut again], partitions);
        assert_eq!(again.owned, share, "{mode:?}");
        assert_eq!(first.source.stats().rebalances, rebalances, "{mode:?}: the other one was disturbed");
    }
}

#[test]
fn two_workers_of_one_name_are_a_clear_error() {
    if named_brokers().is_none() {
        println!("left out: the embedded broker has no static members");
        return;
    }
    for mode in [RANGE, KIP_848_RANGE] {
        let Some(lab) = mode.lab() else { continue };
        let config = KafkaConfig { group_instance_id: "the-same".to_owned(), ..lab.config.clone() };
        let mut sources = [KafkaSource::connect(&config).unwrap(), KafkaSource::connect(&config).unwrap()];
        let deadline = Instant::now() + Duration::from_secs(30);
        // The classic protocol throws the elder out, the consumer protocol does not let the younger in.
        let text = 'found: loop {
            assert!(Instant::now() < deadline, "{mode:?}: both go on");
            for source in &mut sources {
                match source.next_event(Duration::from_millis(20)) {
                    Ok(Some(SourceEvent::Revoked(_))) => source.revocation_done(),
                    Ok(_) => {}
                    Err(error) => break 'found error.to_string(),
                }
            }
        };
        assert!(text.contains("group_instance_id") && text.contains("hint:"), "{mode:?}: {text}");
    }
}
