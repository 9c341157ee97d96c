//! What a sensor sends: a header that orders it and a decoded body.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::space::Pose;
use crate::time::StampRef;

/// The kinds of message that the pipeline understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorKind {
    /// Transforms between frames: the ego pose, and the places of sensors on the vehicle. First in order: a frame is understood with
    /// the transforms of its own moment.
    Transform,
    /// Camera intrinsics.
    Calibration,
    /// Lidar sweep.
    Lidar,
    /// Camera image.
    Camera,
    /// Boxes that a detector outside found in a sweep. Last in order: a sweep is there before what was found in it.
    Detections,
}

impl SensorKind {
    /// The spelling in topics (`ad.<kind>`), reports and shards.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Calibration => "calibration",
            Self::Lidar => "lidar",
            Self::Camera => "camera",
            Self::Detections => "detections",
        }
    }
}

impl fmt::Display for SensorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a message stands in its source: a Kafka position, or the place in a file of a recording (topic `<prefix>.<kind>#<name of the file by its content>`, partition
/// 0, ordinal within it).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePosition {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// What is known of a message from its headers alone; the sync stage needs nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Vehicle id; the Kafka key.
    pub vehicle: Arc<str>,
    /// Sensor name, unique on the vehicle.
    pub sensor: Arc<str>,
    /// Kind of message.
    pub kind: SensorKind,
    /// The message's own time (never the time of its recording or arrival).
    pub stamp_ns: i64,
    /// What the stamp refers to.
    pub stamp_ref: StampRef,
    /// When the message arrived where it was first received (recorder, uplink), by that one's clock, where it is known. Only clocks are judged
    /// by it; nothing is ordered by it.
    pub arrival_ns: Option<i64>,
    /// Sender's counter, where it has one: tells a duplicate from a second measurement.
    pub seq: Option<u64>,
    /// Data-security grade given by the sender, kept with the data.
    pub grade: Arc<str>,
    /// Where the message stands.
    pub position: SourcePosition,
}

/// Points of one sweep as equal-length columns, in the frame that the owner names. Optional columns are absent as a whole.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PointCloud {
    /// x in metres.
    pub x: Vec<f32>,
    /// y in metres.
    pub y: Vec<f32>,
    /// z in metres.
    pub z: Vec<f32>,
    /// Reflectance as the sensor gives it; zeros where it gives none.
    pub intensity: Vec<f32>,
    /// Beam number.
    pub ring: Option<Vec<u16>>,
    /// Time of each point relative to the sweep's stamp.
    pub time_offset_ns: Option<Vec<i32>>,
}

impl PointCloud {
    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.x.len()
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.x.is_empty()
    }

    /// Moves every point from `child` into `parent`. A pose of identity leaves the bits as they are.
    pub fn transform(&mut self, parent_from_child: &Pose) {
        if *parent_from_child == Pose::identity() {
            return;
        }
        let m = parent_from_child.to_homogeneous();
        for ((x, y), z) in self.x.iter_mut().zip(&mut self.y).zip(&mut self.z) {
            let (px, py, pz) = (f64::from(*x), f64::from(*y), f64::from(*z));
            *x = (m[(0, 0)] * px + m[(0, 1)] * py + m[(0, 2)] * pz + m[(0, 3)]) as f32;
            *y = (m[(1, 0)] * px + m[(1, 1)] * py + m[(1, 2)] * pz + m[(1, 3)]) as f32;
            *z = (m[(2, 0)] * px + m[(2, 1)] * py + m[(2, 2)] * pz + m[(2, 3)]) as f32;
        }
    }

    /// Appends the points of another cloud in the same frame. An optional column survives only where both have it.
    pub fn append(&mut self, other: &Self) {
        self.x.extend_from_slice(&other.x);
        self.y.extend_from_slice(&other.y);
        self.z.extend_from_slice(&other.z);
        self.intensity.extend_from_slice(&other.intensity);
        self.ring = join(self.ring.take(), other.ring.as_ref());
        self.time_offset_ns = join(self.time_offset_ns.take(), other.time_offset_ns.as_ref());
    }
}

fn join<T: Clone>(ours: Option<Vec<T>>, theirs: Option<&Vec<T>>) -> Option<Vec<T>> {
    let (mut ours, theirs) = (ours?, theirs?);
    ours.extend_from_slice(theirs);
    Some(ours)
}

/// One lidar sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct LidarSweep {
    /// Frame that the points are in.
    pub frame_id: Arc<str>,
    /// The points.
    pub points: PointCloud,
}

/// One camera image.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraImage {
    /// Frame of the camera (optical: x right, y down, z forward).
    pub frame_id: Arc<str>,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// `jpeg`, `png`, `webp` or `avif`.
    pub format: Arc<str>,
    /// The encoded image.
    pub data: Bytes,
}

/// Intrinsics of a camera.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraModel {
    /// Focal length along x.
    pub fx_px: f64,
    /// Focal length along y.
    pub fy_px: f64,
    /// Principal point x.
    pub cx_px: f64,
    /// Principal point y.
    pub cy_px: f64,
    /// Name of the distortion model (`plumb_bob`, …), empty for none.
    pub distortion_model: Arc<str>,
    /// Its parameters.
    pub distortion: Vec<f64>,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
}

/// One edge of the transform tree.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameTransform {
    /// Moment of the transform.
    pub stamp_ns: i64,
    /// Parent frame.
    pub parent: Arc<str>,
    /// Child frame.
    pub child: Arc<str>,
    /// The transform.
    pub parent_from_child: Pose,
}

/// In which frame a detector gives its boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxFrame {
    /// That of the sweep's points.
    Lidar,
    /// The vehicle's, at the sweep's stamp.
    Ego,
}

/// A box that a detector outside found.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectedBox {
    /// The detector's own name of its class.
    pub class: Arc<str>,
    /// Confidence in `[0, 1]`.
    pub score: f64,
    /// Its middle (metres).
    pub center_m: [f64; 3],
    /// Length, width, height (metres).
    pub size_lwh_m: [f64; 3],
    /// Heading of its length about +z (radians).
    pub yaw_rad: f64,
}

/// What a detector outside found in one sweep: that of the lidar and the stamp in the message's header.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectedBoxes {
    /// Name of the model.
    pub model_name: Arc<str>,
    /// Its version; may be empty.
    pub model_version: Arc<str>,
    /// SHA-256 of its weights in hex; may be empty.
    pub model_sha256: Arc<str>,
    /// Hash of the lidar's place on the vehicle as the detector knew it, in hex; empty where none went into the boxes.
    pub calibration_sha256: Arc<str>,
    /// Frame of the boxes.
    pub frame: BoxFrame,
    /// The boxes.
    pub boxes: Vec<DetectedBox>,
}

/// A decoded message.
#[derive(Clone, Debug, PartialEq)]
pub enum SensorFrame {
    /// Lidar sweep.
    Lidar(LidarSweep),
    /// Camera image.
    Camera(CameraImage),
    /// Intrinsics of the camera whose frame is named.
    Calibration {
        /// Frame of the camera.
        frame_id: Arc<str>,
        /// Its intrinsics.
        model: CameraModel,
    },
    /// Edges of the transform tree.
    Transforms(Vec<FrameTransform>),
    /// Boxes that a detector outside found.
    Detections(DetectedBoxes),
}

impl SensorFrame {
    /// The kind of the message.
    #[must_use]
    pub fn kind(&self) -> SensorKind {
        match self {
            Self::Lidar(_) => SensorKind::Lidar,
            Self::Camera(_) => SensorKind::Camera,
            Self::Calibration { .. } => SensorKind::Calibration,
            Self::Transforms(_) => SensorKind::Transform,
            Self::Detections(_) => SensorKind::Detections,
        }
    }
}
