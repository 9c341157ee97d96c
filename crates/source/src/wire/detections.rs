//! Boxes of a detector that runs somewhere else: `boxwright.Detections`, as `proto/boxwright/detections.proto` documents it.

use boxwright_model::{BoxFrame, DetectedBox, DetectedBoxes, SensorFrame};
use bytes::Bytes;
use prost::Message;

use super::{Fault, Schema, WireError};
use crate::quoted::quoted;

/// Its name in the header `schema`.
pub(super) const SCHEMA: &str = "boxwright.Detections";

/// Most boxes of a sweep: detectors give some hundreds before suppression.
const MAX_BOXES: usize = 4096;
/// Longest name of a class, a model or a version: they are repeated in the evidence of every box.
const MAX_NAME_BYTES: usize = 128;
/// Farthest that a box may be from its lidar (metres): beyond the range of any.
const MAX_DISTANCE_M: f64 = 1_000.0;
/// Longest side of a box (metres): a road train has 60.
const MAX_SIDE_M: f64 = 100.0;
/// A probability in 32 bits may lie so far outside of 0 to 1.
const SCORE_SLACK: f64 = 1e-6;

#[derive(Clone, PartialEq, Message)]
struct Detections {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(string, tag = "2")]
    model_version: String,
    #[prost(string, tag = "3")]
    model_sha256: String,
    #[prost(string, tag = "4")]
    calibration_sha256: String,
    #[prost(enumeration = "Frame", tag = "5")]
    frame: i32,
    #[prost(message, repeated, tag = "6")]
    boxes: Vec<BoxMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct BoxMessage {
    #[prost(string, tag = "1")]
    class: String,
    #[prost(double, tag = "2")]
    score: f64,
    #[prost(double, tag = "3")]
    x: f64,
    #[prost(double, tag = "4")]
    y: f64,
    #[prost(double, tag = "5")]
    z: f64,
    #[prost(double, tag = "6")]
    length: f64,
    #[prost(double, tag = "7")]
    width: f64,
    #[prost(double, tag = "8")]
    height: f64,
    #[prost(double, tag = "9")]
    yaw: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Frame {
    Lidar = 0,
    Ego = 1,
}

pub(super) fn decode(schema: &Schema, payload: &Bytes) -> Result<SensorFrame, WireError> {
    // A sweep without objects is a message all the same; protobuf writes one of defaults as nothing, but a model has a name.
    let message = Detections::decode(payload.clone()).map_err(|error| schema.malformed(payload, &error))?;
    if message.boxes.len() > MAX_BOXES {
        let got = message.boxes.len() as u64;
        return Err(WireError::TooLarge { schema: schema.name, unit: "boxes", limit: MAX_BOXES, got });
    }
    detected(message).map(SensorFrame::Detections).map_err(|fault| schema.invalid(fault))
}

fn detected(message: Detections) -> Result<DetectedBoxes, Fault> {
    let model_name = name("model_name", &message.model_name)?;
    let model_version = short("model_version", &message.model_version)?;
    let model_sha256 = hash("model_sha256", &message.model_sha256)?;
    let calibration_sha256 = hash("calibration_sha256", &message.calibration_sha256)?;
    let frame = match Frame::try_from(message.frame) {
        Ok(Frame::Lidar) => BoxFrame::Lidar,
        Ok(Frame::Ego) => BoxFrame::Ego,
        Err(_) => return Err(format!("frame: expected 0 (lidar) or 1 (ego), got {}", message.frame)),
    };
    if frame == BoxFrame::Ego && calibration_sha256.is_empty() {
        return Err(
            "calibration_sha256: expected the hash of the calibration for boxes in the ego frame, got none\nhint: boxes in the lidar's frame need none"
                .to_owned(),
        );
    }
    let boxes = message.boxes.into_iter().enumerate().map(|(index, one)| detected_box(index, one)).collect::<Result<_, _>>()?;
    Ok(DetectedBoxes { model_name, model_version, model_sha256, calibration_sha256, frame, boxes })
}

fn detected_box(index: usize, message: BoxMessage) -> Result<DetectedBox, Fault> {
    let BoxMessage { class, score, x, y, z, length, width, height, yaw } = message;
    let class = name("class", &class).map_err(|fault| format!("box {index}: {fault}"))?;
    if !(-SCORE_SLACK..=1.0 + SCORE_SLACK).contains(&score) {
        return Err(format!(
            "box {index}: score: expected a probability in [0, 1], got {score}\nhint: a logit becomes one by 1 / (1 + exp(-logit))"
        ));
    }
    if ![x, y, z].iter().all(|value| value.abs() <= MAX_DISTANCE_M) {
        return Err(format!("box {index}: middle: expected at most {MAX_DISTANCE_M} m to every side, got {:?}", [x, y, z]));
    }
    if ![length, width, height].iter().all(|side| *side > 0.0 && *side <= MAX_SIDE_M) {
        return Err(format!("box {index}: size: expected sides of 0 to {MAX_SIDE_M} m, got {:?}", [length, width, height]));
    }
    if !yaw.is_finite() {
        return Err(format!("box {index}: yaw: expected radians, got {yaw}"));
    }
    Ok(DetectedBox {
        class,
        score: score.clamp(0.0, 1.0),
        center_m: [x, y, z],
        size_lwh_m: [length, width, height],
        yaw_rad: boxwright_model::space::wrap_rad(yaw),
    })
}

fn name(what: &str, text: &str) -> Result<std::sync::Arc<str>, Fault> {
    if text.is_empty() {
        return Err(format!("{what}: expected a name, got nothing"));
    }
    short(what, text)
}

fn short(what: &str, text: &str) -> Result<std::sync::Arc<str>, Fault> {
    if text.len() > MAX_NAME_BYTES {
        return Err(format!("{what}: expected at most {MAX_NAME_BYTES} bytes, got {}: {}", text.len(), quoted(text)));
    }
    Ok(text.into())
}

fn hash(what: &str, text: &str) -> Result<std::sync::Arc<str>, Fault> {
    if !text.is_empty() && !(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(format!("{what}: expected 64 hexadecimal digits or nothing, got {}", quoted(text)));
    }
    Ok(text.to_ascii_lowercase().into())
}

/// Boxes as `boxwright.Detections`.
#[must_use]
pub fn encode_detections(found: &DetectedBoxes) -> Bytes {
    let boxes = found.boxes.iter().map(|one| {
        let ([x, y, z], [length, width, height]) = (one.center_m, one.size_lwh_m);
        BoxMessage { class: one.class.to_string(), score: one.score, x, y, z, length, width, height, yaw: one.yaw_rad }
    });
    let frame = match found.frame {
        BoxFrame::Lidar => Frame::Lidar,
        BoxFrame::Ego => Frame::Ego,
    };
    let message = Detections {
        model_name: found.model_name.to_string(),
        model_version: found.model_version.to_string(),
        model_sha256: found.model_sha256.to_string(),
        calibration_sha256: found.calibration_sha256.to_string(),
        frame: frame.into(),
        boxes: boxes.collect(),
    };
    message.encode_to_vec().into()
}

#[cfg(test)]
mod tests;
