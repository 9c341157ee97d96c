//! Detections, boxes, tracks and findings.

use std::fmt;
use std::sync::Arc;

use nalgebra::Vector3;
use serde::{Deserialize, Serialize};

use crate::space::Cuboid;
use crate::taxonomy::ClassId;
use crate::time::ClipId;

/// Number of a track within its clip. Written as `<clip>-<number>`, which is unique for a vehicle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId {
    /// The clip that the track belongs to.
    pub clip: ClipId,
    /// Number within the clip, in order of birth.
    pub number: u32,
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:04}", self.clip, self.number)
    }
}

/// One object seen in one sweep, before tracking.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// The box in the ego frame at the sample's reference time.
    pub ego_from_box: Cuboid,
    /// Best class.
    pub class: ClassId,
    /// Confidence in `[0, 1]`.
    pub score: f64,
    /// Lidar points on the object.
    pub num_lidar_pts: u32,
    /// Mean time of those points: when the object was really seen.
    pub stamp_ns: i64,
    /// Times of the first and the last of those points.
    pub points_ns: [i64; 2],
}

/// Who made a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// The pipeline.
    Auto,
    /// A person.
    Human,
}

impl LabelSource {
    /// The spelling in the `box3` table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
        }
    }
}

/// One object in one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Box3 {
    /// Sample that the box belongs to.
    pub sample_id: Arc<str>,
    /// Reference time of that sample; `ego_from_box` holds at this time.
    pub sample_stamp_ns: i64,
    /// When the object was really seen (mean time of its points).
    pub stamp_ns: i64,
    /// Times of the first and the last of its points; both `stamp_ns` where points bear no times or there are none.
    pub points_ns: [i64; 2],
    /// Where its centre was at `stamp_ns`, in the world frame, each of its points put where it would have been then. `world_from_box` is this
    /// moved by the velocity to `sample_stamp_ns`.
    pub measured_world_center_m: Vector3<f64>,
    /// Track that the box belongs to.
    pub track_id: TrackId,
    /// Class.
    pub class: ClassId,
    /// Confidence in `[0, 1]`.
    pub score: f64,
    /// The box in the ego frame at `sample_stamp_ns`.
    pub ego_from_box: Cuboid,
    /// The same box in the world frame.
    pub world_from_box: Cuboid,
    /// Velocity in the world frame (x, y).
    pub velocity_world_mps: [f64; 2],
    /// Lidar points on the object.
    pub num_lidar_pts: u32,
    /// The box was not measured in this sample but carried over a gap of its track.
    pub predicted: bool,
    /// Who made it.
    pub source: LabelSource,
    /// Why it is as it is: a JSON object.
    pub evidence: String,
}

/// One object through one clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Id.
    pub track_id: TrackId,
    /// Class.
    pub class: ClassId,
    /// Confidence in `[0, 1]`.
    pub score: f64,
    /// Reference time of the first sample it is in.
    pub first_stamp_ns: i64,
    /// Reference time of the last one.
    pub last_stamp_ns: i64,
    /// Number of its boxes.
    pub boxes: u32,
    /// The object did not move.
    pub is_static: bool,
    /// Length, width, height in metres: the same for every box.
    pub size_lwh_m: [f64; 3],
    /// Seconds of a reviewer that this track is expected to cost; the review queue is ordered by it.
    pub review_priority_s: f64,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
    /// Certainly wrong.
    Error,
}

impl Severity {
    /// The spelling in the `finding` table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a numbered rule has to say about a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Id of the rule, stable for ever: customers cite it.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// When.
    pub stamp_ns: i64,
    /// Track it is about.
    pub track_id: Option<TrackId>,
    /// Sample it is about.
    pub sample_id: Option<Arc<str>>,
    /// One sentence with both sides of the comparison.
    pub message: String,
    /// The numbers: a JSON object.
    pub values: String,
}
