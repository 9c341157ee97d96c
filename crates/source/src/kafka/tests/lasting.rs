//! The embedded broker by itself: what it keeps, and what it says when it cannot start.

use super::*;

const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn refused(listen: SocketAddr, data_dir: Option<&Path>) -> String {
    match EmbeddedBroker::start(listen, data_dir) {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_lasting_broker_keeps_topics_offsets_and_messages_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    // Made where it is missing; a name with a space and a letter beyond ASCII is a name like any other.
    let data_dir = folder.path().join("lab één/data");
    let (first, second, address);
    {
        let lab = Lab::embedded(Some(&data_dir));
        lab.make_topics(2);
        let mut sink = lab.sink();
        for seq in 0..10 {
            sink.send(&message(SensorKind::Lidar, "car-1", seq, 200_000)).unwrap();
        }
        sink.flush(Duration::from_secs(30)).unwrap();
        let mut source = lab.source();
        let events = events_until(&mut source, |events| records(events).len() == 10);
        source.commit(&next_offsets(&records(&events)[..4])).unwrap();
        first = topics::list(&lab.config).unwrap();
        address = lab.config.brokers.clone();
    }
    {
        let lab = Lab::embedded(Some(&data_dir));
        second = topics::list(&lab.config).unwrap();
        let mut source = lab.source();
        let events = events_until(&mut source, |events| records(events).len() == 6);
        for (record, seq) in records(&events).iter().zip(4..) {
            assert_eq!((record.header.position.offset, record.header.seq), (seq, Some(seq as u64)));
            assert_eq!(record.payload, payload(seq as u64, 200_000));
        }
        // And goes on where it was.
        let mut sink = lab.sink();
        sink.send(&message(SensorKind::Lidar, "car-1", 10, 100)).unwrap();
        sink.flush(Duration::from_secs(30)).unwrap();
        let events = events_until(&mut source, |events| records(events).len() == 1);
        assert_eq!(records(&events)[0].header.position.offset, 10);
    }
    assert_eq!(first, second, "at {address} and after");
}

#[test]
fn two_brokers_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = EmbeddedBroker::start(FREE, Some(folder.path())).unwrap();
    let text = refused(FREE, Some(folder.path()));
    assert!(text.contains("another broker uses") && text.contains("hint:"), "{text}");
    drop(first);
    EmbeddedBroker::start(FREE, Some(folder.path())).unwrap();
}

#[test]
fn a_taken_port_and_a_folder_that_is_a_file_are_clear_errors() {
    let other = std::net::TcpListener::bind(FREE).unwrap();
    let text = refused(other.local_addr().unwrap(), None);
    assert!(text.contains("cannot listen on") && text.contains("hint:"), "{text}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = refused(FREE, Some(file.path()));
    assert!(text.contains("cannot use") && text.contains("hint:"), "{text}");
}

#[test]
fn it_stops_at_once_although_clients_are_connected() {
    let lab = Lab::embedded(None);
    lab.make_topics(1);
    let _source = lab.source();
    let Lab { broker, .. } = lab;
    let started = Instant::now();
    drop(broker);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn many_brokers_run_side_by_side() {
    let brokers: Vec<_> = (0..6).map(|_| EmbeddedBroker::start(FREE, None).unwrap()).collect();
    let addresses: std::collections::BTreeSet<_> = brokers.iter().map(EmbeddedBroker::address).collect();
    assert_eq!(addresses.len(), 6);
}

#[test]
fn on_all_interfaces_clients_are_told_an_address_they_can_reach() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let broker = EmbeddedBroker::start(everywhere, None).unwrap();
    assert!(!broker.address().starts_with("0.0.0.0"), "{}", broker.address());
    let config = KafkaConfig { brokers: broker.address(), ..KafkaConfig::default() };
    assert_eq!(topics::list(&config).unwrap(), []);
}
