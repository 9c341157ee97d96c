//! One moment as a viewer shows it: points, images and boxes together.

use std::sync::Arc;

use bytes::Bytes;

use crate::frame::{CameraModel, PointCloud};
use crate::label::Box3;
use crate::space::Pose;

/// A camera of the vehicle as it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneCamera {
    /// Sensor name.
    pub sensor: Arc<str>,
    /// Place of the camera (optical frame: x right, y down, z forward).
    pub ego_from_sensor: Pose,
    /// Its intrinsics.
    pub model: CameraModel,
}

/// One image of a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneImage {
    /// Sensor name.
    pub sensor: Arc<str>,
    /// `jpeg` or `png`.
    pub format: Arc<str>,
    /// The encoded image.
    pub data: Bytes,
}

/// Everything to draw for one sample.
#[derive(Clone, Debug, Default)]
pub struct SceneFrame {
    /// Number of the sample within its clip (live: since the start).
    pub index: i64,
    /// Reference time of the sample.
    pub stamp_ns: i64,
    /// Where the vehicle was; `None` draws in the ego frame.
    pub world_from_ego: Option<Pose>,
    /// Points in the ego frame.
    pub points: Arc<PointCloud>,
    /// Images of the sample.
    pub images: Vec<SceneImage>,
    /// Cameras as calibrated at this moment.
    pub cameras: Arc<Vec<SceneCamera>>,
    /// Boxes in the ego frame.
    pub boxes: Vec<Box3>,
}
