//! Boxes of another service find their sweep, or are told of.

use boxwright_model::{DetectedBox, SensorKind, SourcePosition, StampRef, Taxonomy};

use super::*;
use crate::detector::DetectorConfig;

fn inbox() -> Inbox {
    let taxonomy = Taxonomy::from_toml(crate::config::DEFAULT_TAXONOMY_TOML).unwrap();
    let classes = [("Car".to_owned(), "car".to_owned())].into();
    let config = DetectorConfig { tolerance_ms: 1, min_score: 0.1, classes, ..DetectorConfig::default() };
    Inbox::new(TopicBoxes::new(&config, &taxonomy).unwrap())
}

fn header(stamp_ns: i64) -> FrameHeader {
    FrameHeader {
        vehicle: "car".into(),
        sensor: "top".into(),
        kind: SensorKind::Detections,
        stamp_ns,
        stamp_ref: StampRef::default(),
        arrival_ns: None,
        seq: None,
        grade: "".into(),
        position: SourcePosition { topic: "ad.detections".into(), partition: 0, offset: stamp_ns },
    }
}

fn found(class: &str, score: f64, calibration_sha256: &str) -> DetectedBoxes {
    let one = DetectedBox { class: class.into(), score, center_m: [10.0, 0.0, 0.0], size_lwh_m: [4.0, 1.8, 1.5], yaw_rad: 0.0 };
    DetectedBoxes {
        model_name: "pointrcnn".into(),
        model_version: "1".into(),
        model_sha256: "ab".repeat(32).into(),
        calibration_sha256: calibration_sha256.into(),
        frame: BoxFrame::Lidar,
        boxes: vec![one],
    }
}

/// A lidar 2 m above the ego frame that looks back.
fn ego_from_lidar() -> Pose {
    let back = nalgebra::UnitQuaternion::from_axis_angle(&Vector3::z_axis(), std::f64::consts::PI);
    Pose::from_parts(nalgebra::Translation3::new(0.0, 0.0, 2.0), back)
}

const SWEEP_NS: i64 = 1_700_000_000_000_000_000;

#[test]
fn boxes_of_a_sweep_come_in_the_ego_frame_and_once() {
    let (mut inbox, mut dropped) = (inbox(), Vec::new());
    let hash = calibration_sha256(&ego_from_lidar());
    inbox.take(&header(SWEEP_NS + 700), found("Car", 0.9, &hash), ego_from_lidar(), &mut dropped);
    inbox.take(&header(SWEEP_NS + 700), found("Car", 0.8, &hash), ego_from_lidar(), &mut dropped);
    assert_eq!(dropped, [DropReason::Duplicate]);
    let given = inbox.of_sweep(&"top".into(), SWEEP_NS).unwrap();
    assert_eq!((&*given.by.name, given.boxes.len()), ("pointrcnn", 1));
    let center = given.boxes[0].ego_from_box.center_m;
    assert!((center - Vector3::new(-10.0, 0.0, 2.0)).norm() < 1e-9, "{center}");
    assert_eq!(inbox.models().collect::<Vec<_>>(), [("detector:pointrcnn@1".to_owned(), "ab".repeat(32))]);
    assert!(inbox.of_sweep(&"top".into(), SWEEP_NS).is_err(), "they are used up");
}

#[test]
fn boxes_made_with_another_calibration_are_refused_with_both_hashes() {
    let (mut inbox, mut dropped) = (inbox(), Vec::new());
    let theirs = calibration_sha256(&Pose::identity());
    inbox.take(&header(SWEEP_NS), found("Car", 0.9, &theirs), ego_from_lidar(), &mut dropped);
    assert_eq!(dropped, [DropReason::OtherCalibration]);
    let why = inbox.of_sweep(&"top".into(), SWEEP_NS).unwrap_err();
    assert!(why.contains(&theirs) && why.contains(&calibration_sha256(&ego_from_lidar())), "{why}");
    let mut unanswered = Unanswered::default();
    unanswered.note(&"top".into(), SWEEP_NS, why, false);
    unanswered.note(&"rear".into(), SWEEP_NS, "not one came".into(), true);
    let told = unanswered.finish(Without::Nothing);
    assert_eq!(told.len(), 2);
    let rear = "no boxes for 1 sweeps of rear: not one came; the samples have those of their other sweeps alone";
    assert!(told[0].message.contains(rear), "{}", told[0].message);
    assert!(told[1].message.contains("no boxes for 1 sweeps of top: expected boxes made with"), "{}", told[1].message);
    assert!(told[1].message.contains("they have no objects of their own"), "{}", told[1].message);
}

#[test]
fn what_finds_no_sweep_is_dropped_and_what_has_no_class_is_told() {
    let (mut inbox, mut dropped) = (inbox(), Vec::new());
    for (offset, class) in [(0, "Car"), (2_000_000, "Tram"), (4_000_000, "Tram")] {
        inbox.take(&header(SWEEP_NS + offset), found(class, 0.9, ""), ego_from_lidar(), &mut dropped);
    }
    let why = inbox.of_sweep(&"top".into(), SWEEP_NS + 1_000_001).err();
    assert!(why.is_none(), "2.0 ms is within a millisecond of 1.000001 ms");
    let findings = inbox.finish(&mut dropped);
    assert_eq!(dropped, [DropReason::Unmatched; 2]);
    assert_eq!(findings.len(), 1);
    assert!(
        findings[0].message.starts_with("2 boxes were left out because nobody says what \"Tram\" is"),
        "{}",
        findings[0].message
    );
}

#[test]
fn a_flood_of_messages_without_sweeps_is_bounded() {
    let (mut inbox, mut dropped) = (inbox(), Vec::new());
    for index in 0..1_000 {
        inbox.take(&header(SWEEP_NS + index * 50_000_000), found("Car", 0.9, ""), ego_from_lidar(), &mut dropped);
    }
    assert_eq!((inbox.held.len(), dropped.len()), (MAX_HELD, 1_000 - MAX_HELD));
}
