//! What the payloads mean: bytes to [`SensorFrame`], and back for what we produce ourselves.
//!
//! Read in this order: the table [`SCHEMAS`] → [`decode`] → `points` (clouds of any layout) → `image` → `foxglove` (protobuf) → `ros`
//! (messages in CDR) → `cdr`.
//!
//! | schema | encoding | becomes |
//! | --- | --- | --- |
//! | `foxglove.PointCloud`, `sensor_msgs/msg/PointCloud2` | protobuf, cdr | [`SensorFrame::Lidar`] |
//! | `foxglove.CompressedImage`, `sensor_msgs/msg/CompressedImage` | protobuf, cdr | [`SensorFrame::Camera`], bytes as they came |
//! | `foxglove.RawImage`, `sensor_msgs/msg/Image` | protobuf, cdr | [`SensorFrame::Camera`], packed without loss as PNG |
//! | `foxglove.CameraCalibration`, `sensor_msgs/msg/CameraInfo` | protobuf, cdr | [`SensorFrame::Calibration`] from K and D |
//! | `foxglove.FrameTransform`, `foxglove.FrameTransforms`, `tf2_msgs/msg/TFMessage`, `geometry_msgs/msg/TransformStamped` | protobuf, cdr | [`SensorFrame::Transforms`] |
//! | `nav_msgs/msg/Odometry` | cdr | one edge `header.frame_id` ← `child_frame_id` |
//! | `boxwright.Detections` | protobuf | [`SensorFrame::Detections`], ours: `proto/boxwright/detections.proto` |
//!
//! Nothing here panics, and nothing allocates more than a small multiple of the payload, whatever the bytes are. NaN points are kept:
//! whoever labels decides about them and counts them. Edges without a stamp take the stamp of the message's header.

use std::fmt::Display;

use boxwright_model::{Pose, SensorFrame, SensorKind, space::pose_from_parts};
use bytes::Bytes;

use crate::quoted::quoted;
use crate::record::{Encoding, Record};

mod points;

mod image;

mod foxglove;

mod ros;

mod cdr;

mod detections;

#[cfg(test)]
mod tests;

pub use self::detections::encode_detections;
pub use self::foxglove::{
    encode, encode_camera_calibration, encode_compressed_image, encode_packed_points, encode_point_cloud, encode_transforms,
};
pub use self::points::MAX_POINTS;

/// Largest payload of a sweep or an image: what [`MAX_POINTS`] points of 26 bytes need. Memory for a message is a small multiple of it.
pub const MAX_FRAME_PAYLOAD_BYTES: usize = 256 << 20;
/// Largest payload of transforms or a calibration. These are kilobytes; protobuf lets two bytes stand for a structure of over a hundred,
/// so that the bound on bytes is also the bound on memory.
pub const MAX_STATE_PAYLOAD_BYTES: usize = 4 << 20;

/// One row of [`SCHEMAS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Its name as in the header `schema` and in MCAP.
    pub name: &'static str,
    /// How it is encoded.
    pub encoding: Encoding,
    /// What its messages are.
    pub kind: SensorKind,
}

const fn protobuf(name: &'static str, kind: SensorKind) -> Schema {
    Schema { name, encoding: Encoding::Protobuf, kind }
}

const fn cdr(name: &'static str, kind: SensorKind) -> Schema {
    Schema { name, encoding: Encoding::Cdr, kind }
}

/// Every schema that can be decoded.
pub const SCHEMAS: [Schema; 14] = [
    protobuf("foxglove.PointCloud", SensorKind::Lidar),
    protobuf("foxglove.CompressedImage", SensorKind::Camera),
    protobuf("foxglove.RawImage", SensorKind::Camera),
    protobuf("foxglove.CameraCalibration", SensorKind::Calibration),
    protobuf("foxglove.FrameTransform", SensorKind::Transform),
    protobuf("foxglove.FrameTransforms", SensorKind::Transform),
    cdr("sensor_msgs/msg/PointCloud2", SensorKind::Lidar),
    cdr("sensor_msgs/msg/Image", SensorKind::Camera),
    cdr("sensor_msgs/msg/CompressedImage", SensorKind::Camera),
    cdr("sensor_msgs/msg/CameraInfo", SensorKind::Calibration),
    cdr("tf2_msgs/msg/TFMessage", SensorKind::Transform),
    cdr("nav_msgs/msg/Odometry", SensorKind::Transform),
    cdr("geometry_msgs/msg/TransformStamped", SensorKind::Transform),
    protobuf(detections::SCHEMA, SensorKind::Detections),
];

/// A payload that is not what its headers say.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// No decoder.
    #[error("no decoder for schema {} with encoding {encoding}: expected one of {}", quoted(schema), known_schemas())]
    UnknownSchema {
        /// What the header says.
        schema: String,
        /// What the header says.
        encoding: &'static str,
    },
    /// Larger than any message of its kind is.
    #[error("{schema}: expected at most {limit} {unit}, got {got}")]
    TooLarge {
        /// Schema.
        schema: &'static str,
        /// What is counted.
        unit: &'static str,
        /// The bound.
        limit: usize,
        /// What came.
        got: u64,
    },
    /// The bytes are no message of the schema.
    #[error("{schema}: cannot decode {bytes} bytes of {encoding}: {message}")]
    Malformed {
        /// Schema.
        schema: &'static str,
        /// Encoding.
        encoding: &'static str,
        /// Size of the payload.
        bytes: usize,
        /// What is wrong, and where.
        message: String,
    },
    /// The message can be read, but what it says cannot be.
    #[error("{schema}: {message}")]
    Invalid {
        /// Schema.
        schema: &'static str,
        /// Both sides of the comparison.
        message: String,
    },
}

/// What is wrong with the content of a message; the schema is added where it is known.
pub(crate) type Fault = String;

impl Schema {
    fn invalid(&self, message: Fault) -> WireError {
        WireError::Invalid { schema: self.name, message }
    }

    fn malformed(&self, payload: &[u8], message: &dyn Display) -> WireError {
        let message = message.to_string();
        WireError::Malformed { schema: self.name, encoding: self.encoding.as_str(), bytes: payload.len(), message }
    }

    fn check_size(&self, payload: &[u8]) -> Result<(), WireError> {
        let limit = match self.kind {
            SensorKind::Lidar | SensorKind::Camera => MAX_FRAME_PAYLOAD_BYTES,
            SensorKind::Transform | SensorKind::Calibration | SensorKind::Detections => MAX_STATE_PAYLOAD_BYTES,
        };
        if payload.len() > limit {
            return Err(WireError::TooLarge { schema: self.name, unit: "bytes", limit, got: payload.len() as u64 });
        }
        Ok(())
    }
}

fn find(schema: &str, encoding: Encoding) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|known| known.name == schema && known.encoding == encoding)
}

/// The kind of a schema's messages, or `None` where nothing decodes it.
#[must_use]
pub fn kind_of(schema: &str, encoding: Encoding) -> Option<SensorKind> {
    find(schema, encoding).map(|known| known.kind)
}

/// The names of [`SCHEMAS`], for messages to people.
#[must_use]
pub fn known_schemas() -> String {
    SCHEMAS.map(|schema| schema.name).join(", ")
}

/// Decodes a record by its schema and encoding.
///
/// # Errors
/// [`WireError`] when the payload is not a message of the schema, is larger than any such message is, or says something that cannot be
/// (an image of another format, a field outside its point, a camera without focal length).
pub fn decode(record: &Record) -> Result<SensorFrame, WireError> {
    let schema = find(&record.schema, record.encoding)
        .ok_or_else(|| WireError::UnknownSchema { schema: record.schema.to_string(), encoding: record.encoding.as_str() })?;
    schema.check_size(&record.payload)?;
    match schema.encoding {
        Encoding::Protobuf if schema.kind == SensorKind::Detections => detections::decode(schema, &record.payload),
        Encoding::Protobuf => foxglove::decode(schema, &record.payload, record.header.stamp_ns),
        Encoding::Cdr => ros::decode(schema, &record.payload, record.header.stamp_ns),
    }
}

/// The stamp inside a message: the newest one of a list of transforms, `None` where the message has none.
///
/// # Errors
/// When the payload is not a message of the schema.
pub fn stamp_of(schema: &str, encoding: Encoding, payload: &Bytes) -> Result<Option<i64>, WireError> {
    let schema = find(schema, encoding)
        .ok_or_else(|| WireError::UnknownSchema { schema: schema.to_owned(), encoding: encoding.as_str() })?;
    schema.check_size(payload)?;
    match schema.encoding {
        // Its stamp is that of its sweep, and stands in the header alone.
        Encoding::Protobuf if schema.kind == SensorKind::Detections => Ok(None),
        Encoding::Protobuf => foxglove::stamp_of(schema, payload),
        Encoding::Cdr => ros::stamp_of(schema, payload),
    }
}

/// Farthest that one frame is believed to be from another: a million kilometres. A chain of frames then stays finite, which shards insist on.
const MAX_DISTANCE_M: f64 = 1e9;

/// Frame names as ROS 2 writes them: ROS 1 put slashes in front.
fn frame_name(name: &str) -> std::sync::Arc<str> {
    name.trim_start_matches('/').into()
}

/// A translation and a quaternion `x, y, z, w` as a pose; `what` names it where it is none.
fn pose(what: &str, translation_m: [f64; 3], quaternion: [f64; 4]) -> Result<Pose, Fault> {
    let is_near = translation_m.iter().all(|value| value.abs() <= MAX_DISTANCE_M);
    pose_from_parts(translation_m, quaternion).filter(|_| is_near).ok_or_else(|| {
        format!(
            "{what}: expected finite numbers, at most {MAX_DISTANCE_M} m and a quaternion with length, got translation {translation_m:?}, quaternion {quaternion:?}"
        )
    })
}
