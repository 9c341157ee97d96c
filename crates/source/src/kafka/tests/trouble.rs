//! When things go wrong: members that are thrown out, brokers that stop, messages that are too large or nonsense.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use super::consuming::read_one;
use super::*;
use crate::SourceError;
use crate::record::{Rejected, reason};

/// Broker, group and topics of the child of [`a_worker_that_stood_still_commits_without_harm`], with blanks between.
const STANDSTILL: &str = "BOXWRIGHT_TEST_STANDSTILL";

fn fill(lab: &Lab, messages: u64, bytes: usize) {
    let mut sink = lab.sink();
    for seq in 0..messages {
        sink.send(&message(SensorKind::Lidar, "car-1", seq, bytes)).unwrap();
    }
    sink.flush(Duration::from_secs(30)).unwrap();
}

#[test]
fn a_worker_that_took_too_long_to_let_go_commits_without_harm() {
    for group_protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        if group_protocol == GroupProtocol::Consumer && named_brokers().is_none() {
            continue;
        }
        let mut lab = Lab::with_topics(2);
        lab.config.group_protocol = group_protocol;
        fill(&lab, 10, 100);
        let mut config = lab.config.clone();
        // The thread that polls waits for the pipeline, which takes longer than a member may take between two polls.
        config.client.insert("max.poll.interval.ms".to_owned(), "6000".to_owned());
        let connect = || KafkaSource::connect_with_patience(&config, Patience::default()).unwrap();
        let mut first = connect();
        let events = events_until(&mut first, |events| records(events).len() == 10);
        let offsets = next_offsets(&records(&events));
        let mut second = connect();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !matches!(first.next_event(Duration::from_millis(20)).unwrap(), Some(SourceEvent::Revoked(_))) {
            assert!(Instant::now() < deadline, "never revoked");
        }
        // Thrown out: the other one has it now.
        events_until(&mut second, |events| !records(events).is_empty() || assigned(events).len() == 8);
        let started = Instant::now();
        first.commit(&offsets).unwrap();
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        first.revocation_done();
        // And the run goes on: it is told what it lost, what it wanted to commit for that is dropped, and it is a member again.
        let mut owned = 0;
        let deadline = Instant::now() + Duration::from_secs(40);
        while owned == 0 || first.stats().stale_commits != 1 {
            assert!(Instant::now() < deadline, "{group_protocol}: never back");
            if let Some(SourceEvent::Revoked(_)) = second.next_event(Duration::ZERO).unwrap() {
                second.revocation_done();
            }
            match first.next_event(Duration::from_millis(20)) {
                Ok(Some(SourceEvent::Assigned(list))) => owned = list.len(),
                Ok(Some(SourceEvent::Revoked(_))) => first.revocation_done(),
                Ok(_) => {}
                // The client cannot come back from here in the consumer protocol, and says so.
                Err(error) => {
                    assert_eq!(group_protocol, GroupProtocol::Consumer, "{error}");
                    assert!(error.to_string().contains("hint: this worker stood still"), "{error}");
                    break;
                }
            }
        }
    }
}

/// The child: reads ten messages, says so, commits when it is told to, says how that went, and goes on for a while.
#[test]
#[ignore = "the other half of a_worker_that_stood_still_commits_without_harm"]
fn stand_still() {
    let Ok(told) = std::env::var(STANDSTILL) else { return };
    let mut words = told.split(' ').map(str::to_owned);
    let mut next = || words.next().unwrap();
    let mut config = KafkaConfig { brokers: next(), topic_prefix: next(), group_id: next(), ..Lab::quick() };
    if next() == "consumer" {
        config.group_protocol = GroupProtocol::Consumer;
    }
    let mut source = KafkaSource::connect(&config).unwrap();
    let events = events_until(&mut source, |events| records(events).len() == 10);
    println!("\nread");
    std::io::stdin().lines().next().unwrap().unwrap();
    let committed = source.commit(&next_offsets(&records(&events)));
    println!("\ncommit {committed:?}");
    let again = events_until(&mut source, |events| events.iter().any(|event| matches!(event, SourceEvent::Revoked(_))));
    println!("\nwent on {}", again.len());
}

/// Kills the process when a test fails half-way.
struct Paused(Child);

impl Paused {
    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_worker_that_stood_still_commits_without_harm() {
    for protocol in ["classic", "consumer"] {
        if protocol == "consumer" && named_brokers().is_none() {
            continue;
        }
        let mut lab = Lab::with_topics(1);
        if protocol == "consumer" {
            lab.config.group_protocol = GroupProtocol::Consumer;
        }
        fill(&lab, 10, 100);
        let told = format!("{} {} {} {protocol}", lab.config.brokers, lab.config.topic_prefix, lab.config.group_id);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["kafka::tests::trouble::stand_still", "--exact", "--ignored", "--nocapture"])
            .env(STANDSTILL, told)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = Paused(child);
        let lines = lines_of(&mut child.0);
        expect(&lines, "read");
        child.signal("-STOP");
        // The session runs out, and another worker takes over.
        let mut heir = lab.source();
        let events = events_until(&mut heir, |events| records(events).len() == 10);
        heir.commit(&next_offsets(&records(&events))).unwrap();
        child.signal("-CONT");
        writeln!(child.0.stdin.take().unwrap(), "go").unwrap();
        let said = expect(&lines, "commit ");
        assert_eq!(said, "commit Ok(())", "{protocol}");
        // The heir may have to hand over again now; the child is told what it lost, and goes on.
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            assert!(Instant::now() < deadline, "{protocol}: the child did not go on");
            if let Some(SourceEvent::Revoked(_)) = heir.next_event(Duration::from_millis(20)).unwrap() {
                heir.revocation_done();
            }
            if lines.try_iter().any(|line| line.starts_with("went on")) {
                break;
            }
        }
    }
}

fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let stdout = child.stdout.take().unwrap();
    // A test child says a few lines.
    let (sender, receiver) = mpsc::sync_channel(1000);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn expect(lines: &mpsc::Receiver<String>, start: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let line = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect(start);
        if line.starts_with(start) {
            return line;
        }
    }
}

/// A broker that is stopped and started again with its data, at the same address.
enum Lasting {
    Embedded { broker: Option<EmbeddedBroker>, listen: SocketAddr, folder: tempfile::TempDir },
    Kafka { folder: tempfile::TempDir, address: String },
}

impl Lasting {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listen = free_address();
        if named_brokers().is_some() {
            let path = folder.path().to_str().unwrap().to_owned();
            let address = kafka(&["start", &listen.port().to_string(), &path]);
            return Self::Kafka { folder, address: address.trim().to_owned() };
        }
        let broker = Some(EmbeddedBroker::start(listen, Some(folder.path())).unwrap());
        Self::Embedded { broker, listen, folder }
    }

    fn lab(&self) -> Lab {
        let brokers = match self {
            Self::Embedded { listen, .. } => listen.to_string(),
            Self::Kafka { address, .. } => address.clone(),
        };
        let name = fresh_name();
        Lab { config: KafkaConfig { brokers, topic_prefix: name.clone(), group_id: name, ..Lab::quick() }, broker: None }
    }

    fn stop(&mut self) {
        match self {
            Self::Embedded { broker, .. } => *broker = None,
            Self::Kafka { folder, .. } => drop(kafka(&["stop", folder.path().to_str().unwrap()])),
        }
    }

    fn start_again(&mut self) {
        match self {
            Self::Embedded { broker, listen, folder } => {
                *broker = Some(EmbeddedBroker::start(*listen, Some(folder.path())).unwrap());
            }
            Self::Kafka { folder, address } => {
                let port = address.rsplit(':').next().unwrap().to_owned();
                kafka(&["start", &port, folder.path().to_str().unwrap()]);
            }
        }
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        if let Self::Kafka { folder, .. } = self {
            let script = script();
            let _ = Command::new("bash").arg(script).arg("kill").arg(folder.path()).status();
        }
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().local_addr().unwrap()
}

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/kafka")
}

fn kafka(words: &[&str]) -> String {
    let done = Command::new("bash").arg(script()).args(words).stderr(Stdio::inherit()).output().unwrap();
    assert!(done.status.success(), "{words:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn a_broker_that_is_away_for_ten_seconds_costs_nothing() {
    let mut broker = Lasting::start();
    let mut lab = broker.lab();
    // Longer than the outage: a classic member gives up its partitions when its session is over. Apache Kafka takes its time to stop and to start; the
    // embedded broker takes a part of the session to form a group.
    lab.config.session_timeout_ms = if named_brokers().is_some() { 60_000 } else { 20_000 };
    lab.make_topics(1);
    fill(&lab, 20, 1_000);
    let mut source = lab.source();
    let events = events_until(&mut source, |events| records(events).len() == 20);
    let offsets = next_offsets(&records(&events));
    // A letter before, so that its producer stands when the broker goes.
    source.dead_letter(&rejected(&lab, 1)).unwrap();
    broker.stop();
    let down = Instant::now();
    // Commits return within seconds, again and again, and the pipeline's thread is free meanwhile.
    let mut longest = Duration::ZERO;
    while down.elapsed() < Duration::from_secs(10) {
        let started = Instant::now();
        source.commit(&offsets).unwrap();
        longest = longest.max(started.elapsed());
        assert_eq!(source.next_event(Duration::from_millis(100)).unwrap().filter(|event| !is_quiet(event)), None);
    }
    assert!(longest < Duration::from_secs(6), "a commit took {longest:?}");
    assert_eq!(source.stats().uncommitted_partitions, 1);
    // A letter that is written while nobody is there arrives when somebody is, once.
    let starting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(2));
        broker.start_again();
        broker
    });
    source.dead_letter(&rejected(&lab, 2)).unwrap();
    let broker = starting.join().unwrap();
    fill(&lab, 5, 1_000);
    // A broker that comes up again may have the group form anew. Apache Kafka knows it while the session lasts, and what is held over is
    // committed before the partitions go; the embedded broker has forgotten it, and what was not committed comes again.
    let (mut next, mut lost) = (Some(20), false);
    // A member that has to join anew waits for the session of what it was.
    let deadline = Instant::now() + Duration::from_secs(180);
    while next != Some(25) || source.stats().uncommitted_partitions > 0 {
        assert!(Instant::now() < deadline, "at {next:?}: {:?}", source.stats());
        match source.next_event(Duration::from_millis(50)).unwrap() {
            Some(SourceEvent::Record(record)) => {
                let offset = record.header.position.offset;
                let is_next = match next {
                    Some(next) => offset == next,
                    None => offset == 20 || offset == 0,
                };
                assert!(is_next, "expected {next:?}, got {offset}");
                next = Some(offset + 1);
            }
            // Also where everything had been read already: then it comes again, and before that nothing can be committed.
            Some(SourceEvent::Revoked(_)) => {
                (next, lost) = (None, true);
                source.revocation_done();
            }
            _ => {}
        }
    }
    source.commit(&[(lab.partition("lidar", 0), 23)]).unwrap();
    assert_eq!(source.stats().uncommitted_partitions, 0);
    drop(source);
    let mut source = lab.source();
    let events = events_until(&mut source, |events| records(events).len() >= 2);
    assert_eq!(records(&events)[0].header.position.offset, 23, "the commit was lost");
    let mut letters = Vec::new();
    let audit = crate::kafka::audit::Audit::connect(&lab.config).unwrap();
    audit.dead_letters(&mut |letter| letters.push(letter.source.offset), &mut |_| {}).unwrap();
    assert_eq!(letters, [1, 2], "letters lost or doubled");
    println!("longest commit while the broker was away: {longest:?}; revoked: {lost}");
    drop(broker);
}

fn is_quiet(event: &SourceEvent) -> bool {
    matches!(event, SourceEvent::Quiet(_))
}

fn rejected(lab: &Lab, offset: i64) -> Rejected {
    Rejected {
        position: boxwright_model::SourcePosition { topic: lab.topic("lidar").into(), partition: 0, offset },
        key: Some(Bytes::from_static(b"car-1")),
        headers: vec![("mine".to_owned(), Bytes::from_static(b"kept"))],
        payload: Some(Bytes::from_static(b"payload")),
        reason: "test".to_owned(),
        message: "m".to_owned(),
    }
}

#[test]
fn a_dead_letter_gives_up_when_the_run_may() {
    let lab = Lab::embedded(None);
    lab.make_topics(1);
    let config = KafkaConfig { give_up_after_ms: 1_500, connect_timeout_ms: 500, ..lab.config.clone() };
    let mut source = KafkaSource::connect(&config).unwrap();
    let letter = rejected(&lab, 1);
    source.dead_letter(&letter).unwrap();
    drop(lab.broker);
    let started = Instant::now();
    let error = source.dead_letter(&letter).unwrap_err();
    assert!(matches!(error, SourceError::NoBroker { .. }), "{error}");
    assert!(started.elapsed() >= Duration::from_millis(1_400), "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// A producer of somebody else's with larger limits.
fn send_large(lab: &Lab, topic: &str, bytes: usize) {
    let larger = KafkaConfig { max_message_bytes: 15 << 20, ..lab.config.clone() };
    let mut one = message(SensorKind::Lidar, "car-1", 0, bytes);
    one.seq = 77;
    let headers = one.headers();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    send_raw(&larger, topic, "car-1", &headers, Some(&one.payload));
}

#[test]
fn a_message_above_every_limit_of_ours_is_a_letter_and_stalls_nothing() {
    let lab = Lab::start();
    let small = KafkaConfig { max_message_bytes: 200_000, queue_bytes: 400_000, ..lab.config.clone() };
    // The topics are somebody else's and take 15 MB; the dead letters are ours.
    topics::create(&small, &TopicPlan { max_message_bytes: 15 << 20, ..TopicPlan::for_config(&small) }).unwrap();
    fill(&lab, 2, 1_000);
    send_large(&lab, &lab.topic("lidar"), 12_000_000);
    fill(&lab, 2, 1_000);
    let mut source = KafkaSource::connect(&small).unwrap();
    let events = events_until(&mut source, |events| records(events).len() == 4);
    let offsets: Vec<i64> = records(&events).iter().map(|record| record.header.position.offset).collect();
    assert_eq!(offsets, [0, 1, 3, 4]);
    let large: Vec<_> =
        events.iter().filter_map(|event| if let SourceEvent::Rejected(one) = event { Some(one.clone()) } else { None }).collect();
    assert_eq!(large.len(), 1);
    assert_eq!((large[0].position.offset, large[0].reason.as_str()), (2, reason::TOO_LARGE));
    assert!(large[0].message.contains("at most 200000 bytes, got 12000000"), "{}", large[0].message);
    source.dead_letter(&large[0]).unwrap();
    let (key, headers, payload) = read_one(&lab.config, &lab.topic("lidar.dead-letter"));
    assert_eq!((key.as_str(), payload.len()), ("car-1", 0));
    let header = |name: &str| headers.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default();
    assert_eq!((header("payload_left_out"), header("payload_bytes")), ("too large".to_owned(), "12000000".to_owned()));
    assert_eq!((header("reason"), header("source_offset"), header("seq")), ("too_large".into(), "2".into(), "77".into()));
    source.commit(&[(lab.partition("lidar", 0), 5)]).unwrap();
    assert_eq!(source.stats().uncommitted_partitions, 0);
}

#[test]
fn a_letter_whose_topic_takes_less_than_we_think_goes_without_payload() {
    let lab = Lab::start();
    // The dead-letter topic is there already, made by somebody with a smaller limit.
    let small = TopicPlan { max_message_bytes: 50_000, ..TopicPlan::for_config(&lab.config) };
    topics::create(&lab.config, &small).unwrap();
    let mut source = lab.source();
    let mut letter = rejected(&lab, 4);
    letter.payload = Some(Bytes::from(vec![7; 300_000]));
    source.dead_letter(&letter).unwrap();
    let (_, headers, payload) = read_one(&lab.config, &lab.topic("lidar.dead-letter"));
    // The embedded broker has no limit of a topic's own.
    if named_brokers().is_some() {
        assert!(payload.is_empty());
        assert!(headers.contains(&("payload_bytes".to_owned(), "300000".to_owned())), "{headers:?}");
    }
    assert!(headers.contains(&("source_offset".to_owned(), "4".to_owned())), "{headers:?}");
}

#[test]
fn a_letter_keeps_the_place_of_a_message_with_monstrous_headers() {
    let lab = Lab::with_topics(1);
    let config = KafkaConfig { max_message_bytes: 2_000, ..lab.config.clone() };
    let mut source = KafkaSource::connect(&config).unwrap();
    let mut letter = rejected(&lab, 6);
    letter.headers = vec![("huge".to_owned(), Bytes::from(vec![b'x'; 500_000]))];
    letter.key = Some(Bytes::from(vec![b'k'; 100_000]));
    source.dead_letter(&letter).unwrap();
    let (key, headers, _) = read_one(&lab.config, &lab.topic("lidar.dead-letter"));
    assert!(key.is_empty());
    for (name, value) in [("source_offset", "6"), ("headers_bytes", "500004"), ("key_bytes", "100000"), ("payload_bytes", "7")] {
        assert!(headers.contains(&(name.to_owned(), value.to_owned())), "{name}: {headers:?}");
    }
}

#[test]
fn a_broker_that_refuses_a_size_is_named_with_the_cure() {
    if named_brokers().is_none() {
        println!("left out: the embedded broker has no limit of a topic's own");
        return;
    }
    let lab = Lab::start();
    topics::create(&lab.config, &TopicPlan { max_message_bytes: 50_000, ..TopicPlan::for_config(&lab.config) }).unwrap();
    let mut sink = lab.sink();
    // The first one is waited for.
    let text = sink.send(&message(SensorKind::Lidar, "car-1", 0, 300_000)).unwrap_err().to_string();
    assert!(text.contains(&lab.topic("lidar")) && text.contains("max.message.bytes") && text.contains("hint:"), "{text}");
}

/// The embedded broker used to answer with something that ended the process of its client.
#[test]
fn a_topic_that_is_deleted_while_it_is_read_harms_nobody() {
    let lab = Lab::with_topics(1);
    fill(&lab, 10, 100);
    let mut source = lab.source();
    events_until(&mut source, |events| records(events).len() == 10);
    let admin: AdminClient<DefaultClientContext> = lab.config.admin_config().unwrap().create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lidar = lab.topic("lidar");
    runtime.block_on(admin.delete_topics(&[&lidar], &AdminOptions::new())).unwrap();
    // The client asks for more of it ten times a second until it hears that the topic is gone.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        match source.next_event(Duration::from_millis(50)) {
            Ok(Some(SourceEvent::Revoked(_))) => source.revocation_done(),
            Ok(_) => {}
            // The other topics' partitions of the number are left, which ends the source.
            Err(error) => {
                assert!(error.to_string().contains("hint:"), "{error}");
                break;
            }
        }
    }
}
