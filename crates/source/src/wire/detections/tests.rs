//! Boxes on the wire: what comes back, and what is refused with both sides.

use boxwright_model::SensorKind;

use super::*;
use crate::record::Encoding;

const ROW: Schema = Schema { name: SCHEMA, encoding: Encoding::Protobuf, kind: SensorKind::Detections };

fn found() -> DetectedBoxes {
    let one =
        DetectedBox { class: "Car".into(), score: 0.75, center_m: [12.0, -3.0, 0.5], size_lwh_m: [4.2, 1.8, 1.5], yaw_rad: 1.25 };
    DetectedBoxes {
        model_name: "pointrcnn".into(),
        model_version: "1".into(),
        model_sha256: "ab".repeat(32).into(),
        calibration_sha256: "cd".repeat(32).into(),
        frame: BoxFrame::Ego,
        boxes: vec![one],
    }
}

fn refused(change: impl FnOnce(&mut DetectedBoxes)) -> String {
    let mut changed = found();
    change(&mut changed);
    decode(&ROW, &encode_detections(&changed)).unwrap_err().to_string()
}

#[test]
fn boxes_come_back_as_they_were() {
    assert_eq!(decode(&ROW, &encode_detections(&found())), Ok(SensorFrame::Detections(found())));
    let empty = DetectedBoxes { boxes: Vec::new(), frame: BoxFrame::Lidar, calibration_sha256: "".into(), ..found() };
    assert_eq!(decode(&ROW, &encode_detections(&empty)), Ok(SensorFrame::Detections(empty)), "a sweep without objects");
}

#[test]
fn what_cannot_be_is_refused_with_both_sides() {
    let cases = [
        (refused(|all| all.boxes[0].score = 4.2), "box 0: score: expected a probability in [0, 1], got 4.2"),
        (refused(|all| all.boxes[0].score = f64::NAN), "got NaN"),
        (refused(|all| all.boxes[0].center_m[1] = f64::INFINITY), "middle: expected at most 1000 m"),
        (refused(|all| all.boxes[0].size_lwh_m[2] = 0.0), "size: expected sides of 0 to 100 m, got [4.2, 1.8, 0.0]"),
        (refused(|all| all.boxes[0].yaw_rad = f64::NAN), "yaw: expected radians, got NaN"),
        (refused(|all| all.boxes[0].class = "".into()), "box 0: class: expected a name, got nothing"),
        (refused(|all| all.boxes[0].class = "x".repeat(200).into()), "expected at most 128 bytes, got 200"),
        (refused(|all| all.model_name = "".into()), "model_name: expected a name, got nothing"),
        (refused(|all| all.calibration_sha256 = "short".into()), "expected 64 hexadecimal digits or nothing, got \"short\""),
        (refused(|all| all.calibration_sha256 = "".into()), "expected the hash of the calibration for boxes in the ego frame"),
        (refused(|all| all.boxes = vec![all.boxes[0].clone(); MAX_BOXES + 1]), "expected at most 4096 boxes, got 4097"),
    ];
    for (error, expected) in cases {
        assert!(error.contains(expected), "{error}");
    }
    assert!(decode(&ROW, &Bytes::from_static(b"\xff\xff")).is_err());
}
