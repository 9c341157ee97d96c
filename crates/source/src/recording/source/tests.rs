//! A recording read directly says what a consumer would say.

use boxwright_model::StampRef;

use super::*;
use crate::error::RecordingError;
use crate::record::{Encoding, reason};

/// Messages of two files, of which the second begins with the stamp 12.
struct Fixed(std::vec::IntoIter<OutgoingMessage>, &'static str);

impl Recording for Fixed {
    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, RecordingError> {
        let next = self.0.next();
        self.1 = if next.as_ref().is_some_and(|message| message.stamp_ns >= 12) { "b" } else { "a" };
        Ok(next)
    }

    fn origin(&self) -> Arc<str> {
        self.1.into()
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
    let mut source = RecordingSource::new(Box::new(Fixed(messages.into_iter(), "a")), "ad");
    let Some(SourceEvent::Assigned(partitions)) = next(&mut source) else { panic!("expected an assignment first") };
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["lidar", "camera", "calibration", "transform", "detections"].map(|kind| format!("ad.{kind}#a[0]")));

    let Some(SourceEvent::Record(first)) = next(&mut source) else { panic!("expected a record") };
    assert_eq!(first.header.position.to_string(), "ad.lidar#a[0]@0");
    assert_eq!((first.header.stamp_ns, first.header.seq, &*first.header.grade), (10, Some(7), "internal"));
    assert_eq!(first.header.stamp_ref, StampRef::SweepMid);
    assert_eq!(first.payload, "payload");
    let Some(SourceEvent::Record(second)) = next(&mut source) else { panic!("expected a record") };
    assert_eq!(second.header.position.to_string(), "ad.camera#a[0]@0");

    let Some(SourceEvent::Rejected(rejected)) = next(&mut source) else { panic!("expected a rejected message") };
    assert_eq!((rejected.reason.as_str(), rejected.position.offset), (reason::IMPLAUSIBLE_STAMP, 1));
    assert_eq!(rejected.key.as_deref(), Some(b"car".as_slice()));
    assert!(rejected.headers.contains(&("stamp_ns".to_owned(), Bytes::from_static(b"-1"))));
    source.dead_letter(&rejected).unwrap();

    let Some(SourceEvent::Record(last)) = next(&mut source) else { panic!("expected a record") };
    assert_eq!(last.header.position.to_string(), "ad.lidar#b[0]@0", "each file counts for itself");
    source.commit(&[]).unwrap();
    assert_eq!(next(&mut source), Some(SourceEvent::End));
    assert_eq!(next(&mut source), None);
    assert!(!source.recording().is_truncated());
}
