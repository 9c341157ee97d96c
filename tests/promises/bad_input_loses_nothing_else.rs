//! Whatever arrives, nothing panics or hangs, and no good message is lost with a bad one.

use std::time::{Duration, Instant};

use boxwright_source::synthetic::{SyntheticConfig, SyntheticDrive};
use boxwright_source::{OutgoingMessage, Recording};
use boxwright_tests::boxwright;
use bytes::Bytes;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::{TestBroker, rows};

/// Produces a message with exactly these headers.
fn produce_raw(broker: &TestBroker, topic: &str, headers: &[(&str, &str)], payload: &[u8]) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", broker.address()).set("message.max.bytes", "8388608").create().unwrap();
    let mut owned = OwnedHeaders::new();
    for (key, value) in headers {
        owned = owned.insert(rdkafka::message::Header { key, value: Some(*value) });
    }
    let record = BaseRecord::to(topic).key("synthetic").payload(payload).headers(owned);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
}

fn drive() -> Vec<OutgoingMessage> {
    let mut drive = SyntheticDrive::new(SyntheticConfig { seconds: 1.0, ..SyntheticConfig::default() }).unwrap();
    std::iter::from_fn(|| drive.next_message().unwrap()).collect()
}

/// The headers of a good lidar message with one of them replaced, or left out where `value` is `None`.
fn lidar_headers<'a>(stamp: &'a str, name: &str, value: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![
        ("schema", "foxglove.PointCloud"),
        ("encoding", "protobuf"),
        ("stamp_ns", stamp),
        ("stamp_ref", "sweep_mid"),
        ("vehicle", "synthetic"),
        ("sensor", "lidar_bad"),
    ];
    match value {
        Some(value) => headers.iter_mut().filter(|(key, _)| *key == name).for_each(|header| header.1 = value),
        None => headers.retain(|(key, _)| *key != name),
    }
    headers
}

#[test]
fn bad_messages_go_to_the_dead_letter_topic_and_good_ones_to_shards() {
    let broker = TestBroker::start(1);
    let messages = drive();
    let stamp = messages[messages.len() / 2].stamp_ns.to_string();
    let a_sweep = messages.iter().find(|message| message.payload.len() > 100_000).unwrap().payload.clone();
    let (early, late) = messages.split_at(messages.len() / 2);
    broker.produce(early.to_vec());
    let cut = &a_sweep[..a_sweep.len() / 2];
    let bad: Vec<(Vec<(&str, &str)>, &[u8])> = vec![
        (vec![], b"no headers at all"),
        (lidar_headers(&stamp, "schema", None), cut),
        (lidar_headers(&stamp, "schema", Some("acme.Sonar")), cut),
        (lidar_headers(&stamp, "encoding", Some("json")), cut),
        (lidar_headers(&stamp, "stamp_ns", Some("NaN")), cut),
        (lidar_headers(&stamp, "stamp_ns", Some("9223372036854775807")), cut),
        (lidar_headers(&stamp, "stamp_ns", Some("-5")), cut),
        (lidar_headers(&stamp, "stamp_ref", Some("whenever")), cut),
        (lidar_headers(&stamp, "sensor", None), cut),
        (lidar_headers(&stamp, "sensor", Some("lidar_cut")), cut),
        (lidar_headers(&stamp, "sensor", Some("lidar_magic")), b"\xff\xff\xff\xff wrong magic"),
    ];
    for (headers, payload) in &bad {
        produce_raw(&broker, &broker.topic("lidar"), headers, payload);
    }
    broker.produce(late.to_vec());

    let out = tempfile::tempdir().unwrap();
    let report = broker.run_until_idle(out.path()).expect_code(3).json();
    assert_eq!(report["dead_lettered"], bad.len(), "{report}");
    assert_eq!(rows(out.path(), "lidar"), 10, "every good sweep is stored: {report}");
    let kept = read_topic(&broker, &broker.topic("lidar.dead-letter"), bad.len());
    for reason in ["missing_header", "unknown_schema", "unknown_encoding", "bad_header", "implausible_stamp", "decode_failed"] {
        assert!(kept.iter().any(|(said, _)| said == reason), "no dead letter says {reason}: {kept:?}");
    }
    assert!(kept.iter().all(|(_, source)| *source == broker.topic("lidar")), "where it came from is kept");
}

/// Reason and source topic of each message.
fn read_topic(broker: &TestBroker, topic: &str, expected: usize) -> Vec<(String, String)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", broker.group("reader"))
        .set("auto.offset.reset", "earliest")
        // The broker lets a group wait for half of it before it forms.
        .set("session.timeout.ms", "3000")
        .set("heartbeat.interval.ms", "500")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let mut found = Vec::new();
    while found.len() < expected && Instant::now() < until {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else { continue };
        let header = |name: &str| {
            let headers = message.headers().unwrap();
            let value = headers.iter().find(|header| header.key == name).and_then(|header| header.value).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        found.push((header("reason"), header("source_topic")));
    }
    assert_eq!(found.len(), expected);
    found
}

#[test]
fn a_sweep_without_points_and_a_camera_without_focal_length_are_counted() {
    use boxwright_model::{CameraModel, PointCloud, SensorKind, StampRef};
    use boxwright_source::{Encoding, wire};

    let broker = TestBroker::start(1);
    let mut messages = drive();
    let template = messages[messages.len() / 2].clone();
    let outgoing = |kind, sensor: &str, schema: &str, payload: Bytes| OutgoingMessage {
        kind,
        sensor: sensor.into(),
        schema: schema.into(),
        encoding: Encoding::Protobuf,
        stamp_ref: StampRef::SweepMid,
        payload,
        ..template.clone()
    };
    let empty = wire::encode_point_cloud(template.stamp_ns, "lidar_top", &PointCloud::default());
    let blind = CameraModel {
        fx_px: 0.0,
        fy_px: 0.0,
        cx_px: 1.0,
        cy_px: 1.0,
        distortion_model: "".into(),
        distortion: vec![],
        width_px: 2,
        height_px: 2,
    };
    let blind = wire::encode_camera_calibration(template.stamp_ns, "camera_blind", &blind);
    messages.push(outgoing(SensorKind::Lidar, "lidar_empty", "foxglove.PointCloud", empty));
    messages.push(outgoing(SensorKind::Calibration, "camera_blind", "foxglove.CameraCalibration", blind));
    broker.produce(messages);

    let out = tempfile::tempdir().unwrap();
    let report = broker.run_until_idle(out.path()).expect_code(3).json();
    assert_eq!(report["dropped"]["empty_sweep"], 1, "{report}");
    assert_eq!(report["dead_letters"]["decode_failed"], 1, "{report}");
    assert_eq!(rows(out.path(), "lidar"), 10, "{report}");
}

#[test]
fn an_absent_broker_is_an_error_within_ten_seconds() {
    let out = tempfile::tempdir().unwrap();
    for args in [
        vec!["run", "--brokers", "127.0.0.1:1", "--dataset", out.path().to_str().unwrap()],
        vec!["topics", "list", "--brokers", "127.0.0.1:1"],
    ] {
        let started = Instant::now();
        let ended = boxwright(&args).expect_code(1);
        assert!(started.elapsed() < Duration::from_secs(10), "{args:?} took {:?}", started.elapsed());
        assert!(ended.err.contains("127.0.0.1:1") && ended.err.contains("hint:"), "{}", ended.err);
    }
}

#[test]
fn wrong_paths_files_and_keys_say_what_to_do() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let dataset = path("dataset");

    std::fs::create_dir_all(out.path().join("2011_09_26/2011_09_26_drive_0001_sync/velodyne_points/data")).unwrap();
    std::fs::write(out.path().join("2011_09_26/2011_09_26_drive_0001_sync/velodyne_points/data/0000000000.bin"), [0; 16]).unwrap();
    let no_stamps = boxwright(&["run", "--from", "kitti-raw", &path("2011_09_26"), "--dataset", &dataset]).expect_code(1);
    assert!(no_stamps.err.contains("timestamps") && no_stamps.err.contains("hint:"), "{}", no_stamps.err);

    std::fs::write(path("no.mcap"), b"this is no recording").unwrap();
    let no_mcap = boxwright(&["run", "--from", "mcap", &path("no.mcap"), "--dataset", &dataset]).expect_code(1);
    assert!(no_mcap.err.contains("MCAP") && no_mcap.err.contains("hint:"), "{}", no_mcap.err);

    std::fs::write(path("wrong.toml"), "[clip]\nlenght_s = 3\n").unwrap();
    let key = boxwright(&["config", "check", &path("wrong.toml")]).expect_code(1);
    assert!(key.err.contains("clip.lenght_s") && key.err.contains("clip.length_s"), "{}", key.err);

    let no_dataset = boxwright(&["view", &path("nothing")]).expect_code(1);
    assert!(no_dataset.err.contains("nothing"), "{}", no_dataset.err);
    assert!(!out.path().join("dataset").exists(), "a wrong input leaves no empty dataset behind");
}
