//! A recording read directly says what a consumer would say.

use boxwright_model::StampRef;

use super::*;
use crate::error::RecordingError;
use crate::record::{Encoding, reason};

struct Fixed(std::vec::IntoIter<OutgoingMessage>);

impl Recording for Fixed {
    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, RecordingError> {
        Ok(self.0.next())
    }
}

fn message(kind: SensorKind, schema: &str, stamp_ns: i64) -> OutgoingMessage {
    OutgoingMessage {
        kind,
        vehicle: "car".into(),
        sensor: "s".into(),
        stamp_ns,
        stamp_ref: StampRef::SweepMid,
        seq: 7,
        grade: "internal".into(),
        schema: schema.into(),
        encoding: Encoding::Protobuf,
        payload: Bytes::from_static(b"payload"),
        log_time_ns: 0,
    }
}

fn next(source: &mut RecordingSource) -> Option<SourceEvent> {
    source.next_event(Duration::ZERO).unwrap()
}

#[test]
fn events_are_one_assignment_then_messages_then_one_end() {
    let messages = vec![
        message(SensorKind::Lidar, "foxglove.PointCloud", 10),
        message(SensorKind::Camera, "foxglove.CompressedImage", 11),
        message(SensorKind::Lidar, "foxglove.PointCloud", -1),
        message(SensorKind::Lidar, "foxglove.PointCloud", 12),
    ];
    let mut source = RecordingSource::new(Box::new(Fixed(messages.into_iter())), "ad");
    let Some(SourceEvent::Assigned(partitions)) = next(&mut source) else { panic!("expected an assignment first") };
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    let name = names[0].strip_prefix("ad.lidar#").and_then(|rest| rest.strip_suffix("[0]")).unwrap().to_owned();
    assert!(name.len() == 12 && name.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name}");
    assert_eq!(names, ["lidar", "camera", "calibration", "transform", "detections"].map(|kind| format!("ad.{kind}#{name}[0]")));

    let Some(SourceEvent::Record(first)) = next(&mut source) else { panic!("expected a record") };
    assert_eq!(first.header.position.to_string(), format!("ad.lidar#{name}[0]@0"));
    assert_eq!((first.header.stamp_ns, first.header.seq, &*first.header.grade), (10, Some(7), "internal"));
    assert_eq!(first.header.stamp_ref, StampRef::SweepMid);
    assert_eq!(first.payload, "payload");
    let Some(SourceEvent::Record(second)) = next(&mut source) else { panic!("expected a record") };
    assert_eq!(second.header.position.to_string(), format!("ad.camera#{name}[0]@0"));

    let Some(SourceEvent::Rejected(rejected)) = next(&mut source) else { panic!("expected a rejected message") };
    assert_eq!((rejected.reason.as_str(), rejected.position.offset), (reason::IMPLAUSIBLE_STAMP, 1));
    assert_eq!(rejected.key.as_deref(), Some(b"car".as_slice()));
    assert!(rejected.headers.contains(&("stamp_ns".to_owned(), Bytes::from_static(b"-1"))));
    source.dead_letter(&rejected).unwrap();

    let Some(SourceEvent::Record(last)) = next(&mut source) else { panic!("expected a record") };
    assert_eq!(last.header.position.offset, 2);
    source.commit(&[]).unwrap();
    assert_eq!(next(&mut source), Some(SourceEvent::End));
    assert_eq!(next(&mut source), None);
    assert!(!source.recording().is_truncated());
}

/// The topic of lidars.
fn lidar_topic(messages: Vec<OutgoingMessage>) -> String {
    let mut source = RecordingSource::new(Box::new(Fixed(messages.into_iter())), "ad");
    let Some(SourceEvent::Assigned(partitions)) = next(&mut source) else { panic!("expected an assignment first") };
    partitions[0].topic.to_string()
}

#[test]
fn a_recording_is_known_again_by_its_beginning() {
    let drive = |from: i64, count: i64| -> Vec<OutgoingMessage> {
        (from..from + count).map(|turn| message(SensorKind::Lidar, "foxglove.PointCloud", turn)).collect()
    };
    let whole = lidar_topic(drive(0, 100));
    let cut = lidar_topic(drive(0, 50));
    let renamed = lidar_topic(drive(0, 100).into_iter().map(|one| OutgoingMessage { vehicle: "other".into(), ..one }).collect());
    assert_eq!([&cut, &renamed], [&whole, &whole], "a cut file, and another name of the vehicle, are the same recording");
    // The rest of it, another content of the same stamps, and nothing are others.
    let mut changed = drive(0, 100);
    changed[15].payload = Bytes::from_static(b"other");
    let others = [lidar_topic(drive(50, 50)), lidar_topic(changed), lidar_topic(Vec::new())];
    assert!(others.iter().all(|other| *other != whole), "{others:?}");
}
