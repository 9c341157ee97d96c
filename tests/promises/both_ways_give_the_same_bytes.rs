//! A drive read directly, and the same drive replayed to Kafka and consumed, give the same labels to the byte; and so does every
//! interleaving of topics and partitions.

use boxwright_source::synthetic::{SyntheticConfig, SyntheticDrive};
use boxwright_source::{OutgoingMessage, Recording};
use boxwright_tests::{boxwright, kitti_raw, pandaset_mcap};

use crate::support::{TestBroker, assert_same_labels};

fn both_ways(format: &str, path: &std::path::Path) {
    let out = tempfile::tempdir().unwrap();
    let (direct, kafka) = (out.path().join("direct"), out.path().join("kafka"));
    let path = path.to_str().unwrap();
    let read = boxwright(&["run", "--from", format, path, "--dataset", direct.to_str().unwrap(), "--json"]).expect_code(0).json();
    let broker = TestBroker::start(3);
    let connection = broker.args("replay", "", "");
    let mut replay = vec!["replay", format, path, "--json"];
    replay.extend(connection.iter().map(String::as_str));
    boxwright(&replay).expect_code(0);
    let ended = broker.run_until_idle(&kafka).expect_code(0);
    let report = ended.json();
    // Why bytes differ is seen here first.
    for (what, expected) in
        [("frames", &read["frames"]), ("samples", &read["samples"]), ("late", &read["late"]), ("forced_out_of_order", &0.into())]
    {
        assert_eq!(&report[what], expected, "{what}: {report}\n{}", ended.err);
    }
    assert_same_labels(&direct, &kafka);
}

#[test]
fn kitti_raw_directly_and_through_kafka() {
    let Some(drive) = kitti_raw() else { return };
    both_ways("kitti-raw", drive);
}

#[test]
fn mcap_directly_and_through_kafka() {
    let Some(drive) = pandaset_mcap() else { return };
    both_ways("mcap", drive);
}

fn drive() -> Vec<OutgoingMessage> {
    let mut drive = SyntheticDrive::new(SyntheticConfig { seconds: 3.0, ..SyntheticConfig::default() }).unwrap();
    std::iter::from_fn(|| drive.next_message().unwrap()).collect()
}

fn labels_of(messages: Vec<OutgoingMessage>, partitions: i32, out: &std::path::Path) {
    let broker = TestBroker::start(partitions);
    let sent = messages.len();
    broker.produce(messages);
    let report = broker.run_until_idle(out).expect_code(0).json();
    let audit = || broker.verify(out);
    assert_eq!(report["frames"], sent, "{report}\nwhat the broker holds: {}", audit());
    assert_eq!(report["late"], 0, "{report}");
    assert_eq!(report["forced_out_of_order"], 0, "{report}");
}

#[test]
fn three_interleavings_of_the_same_frames() {
    let out = tempfile::tempdir().unwrap();
    let recorded = drive();
    // One: as recorded. Two: a whole topic after the other. Three: within each second the newest sensors first, which every
    // buffering sender may do, since each sensor's own order is kept.
    let mut by_kind = recorded.clone();
    by_kind.sort_by_key(|message| message.kind);
    let mut by_sensor = recorded.clone();
    by_sensor.sort_by_key(|message| (message.stamp_ns / 300_000_000, std::cmp::Reverse(message.sensor.clone())));
    for (name, messages, partitions) in [("recorded", recorded, 1), ("by_kind", by_kind, 4), ("by_sensor", by_sensor, 7)] {
        labels_of(messages, partitions, &out.path().join(name));
    }
    assert_same_labels(&out.path().join("recorded"), &out.path().join("by_kind"));
    assert_same_labels(&out.path().join("recorded"), &out.path().join("by_sensor"));
}
