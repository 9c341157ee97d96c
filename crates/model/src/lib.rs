//! The words every part of Boxwright shares: time, space, frames, samples, boxes and tracks.
//!
//! This crate does no I/O, starts no thread and reads no clock. Conventions (REP-103 / ISO 8855): x forward, y left, z up; metres and
//! radians; times are `i64` nanoseconds since the Unix epoch in fields named `*_ns`; a transform is named `parent_from_child`.
//!
//! Read in this order: [`time`] → [`space`] → [`frame`] → [`sample`] → [`label`] → [`taxonomy`] → [`reason`] → [`scene`].

pub mod time;

pub mod space;

pub mod frame;

pub mod sample;

pub mod label;

pub mod taxonomy;

pub mod reason;

pub mod scene;

pub use frame::{
    BoxFrame, CameraImage, CameraModel, DetectedBox, DetectedBoxes, FrameHeader, FrameTransform, LidarSweep, PointCloud,
    SensorFrame, SensorKind, SourcePosition,
};
pub use label::{Box3, Detection, Finding, LabelSource, Severity, Track, TrackId};
pub use reason::{DropReason, LateReason};
pub use sample::{Sample, SampleMember, SampleReason};
pub use scene::{SceneCamera, SceneFrame, SceneImage};
pub use space::{Cuboid, Pose, StampedPose};
pub use taxonomy::{ClassId, ClassSpec, Taxonomy};
pub use time::{ClipGrid, ClipId, StampRef};
