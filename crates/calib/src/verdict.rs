//! What is to be said about a camera.

use std::sync::Arc;

use boxwright_model::{CameraModel, Pose};
use boxwright_timesync::motion::{Lens, ViewError};
use nalgebra::{Point3, Quaternion, UnitQuaternion};

use crate::depth::depth_edges;
use crate::field::EdgeField;
use crate::gray::Gray;
use crate::search::{Found, Frame, LOOK_DEG, least_significance, look_around, look_closely};

/// Largest angle by which an extrinsic may be off before it is flagged (degrees): on 20 m it moves a box by the width of a hand.
pub const LIMIT_DEG: f64 = 0.5;
/// An angle is beyond the limit where the limit is within its standard deviation, and half of the limit is not likely: one-sided, one in twenty (normal
/// distribution).
const SURE: f64 = 1.645;
/// By how much another meaning of the pose must stand out more than the given one, where both stand out: in standard deviations of wrong turns.
const CLEARER: f64 = 2.0;

/// What the given pose may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meaning {
    /// `ego_from_camera`, as expected.
    AsGiven,
    /// `camera_from_ego`: the transform is given in the wrong direction.
    CameraFromEgo,
    /// The way from the lidar to the camera is given in the wrong direction.
    CameraFromLidar,
    /// The axes of the camera's frame are those of a vehicle (x forward, y left, z up), not optical.
    BodyAxes,
}

impl Meaning {
    /// The spelling in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsGiven => "as_given",
            Self::CameraFromEgo => "camera_from_ego",
            Self::CameraFromLidar => "camera_from_lidar",
            Self::BodyAxes => "body_axes",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::AsGiven => "the direction is right",
            Self::CameraFromEgo => {
                "the extrinsic is given the wrong way round: camera from ego where ego from camera is expected; invert it"
            }
            Self::CameraFromLidar => {
                "the extrinsic is given the wrong way round: camera from lidar where lidar from camera is expected; invert it"
            }
            Self::BodyAxes => {
                "the frame has the axes of a vehicle (x forward): give the optical frame (x right, y down, z forward)"
            }
        }
    }
}

/// What is known about the angle about one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisVerdict {
    /// Within the limit.
    Fits,
    /// Beyond it.
    Off,
    /// These frames do not tell it to the limit.
    Unsure,
}

impl AxisVerdict {
    fn of(turn_deg: f64, spread_deg: f64) -> Self {
        let size = turn_deg.abs();
        if size + spread_deg > LIMIT_DEG && size - SURE * spread_deg > LIMIT_DEG / 2.0 {
            Self::Off
        } else if spread_deg > LIMIT_DEG || size > LIMIT_DEG {
            Self::Unsure
        } else {
            Self::Fits
        }
    }

    /// The spelling in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Off => "off",
            Self::Unsure => "unsure",
        }
    }
}

/// What is known about the extrinsic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No angle is off as far as these frames tell.
    Fits,
    /// At least one angle is off.
    Off,
    /// It is right if it means something else.
    WrongWay(Meaning),
    /// Edges agree at no turn that was looked at: it is off by more, or these frames show too little.
    NoAgreement,
}

impl Verdict {
    /// The spelling in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Off => "off",
            Self::WrongWay(_) => "wrong_way",
            Self::NoAgreement => "no_agreement",
        }
    }

    /// Whether somebody must look at it.
    #[must_use]
    pub fn is_flagged(self) -> bool {
        matches!(self, Self::Off | Self::WrongWay(_))
    }
}

/// The result for one camera.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraReport {
    /// What is to be said.
    pub verdict: Verdict,
    /// The turn that makes edges agree, with the pose as given; `None` where there were too few edges.
    pub found: Option<Found>,
    /// About right, down and forward.
    pub axes: [AxisVerdict; 3],
    /// What the best turn's score stood out by, for every meaning that was tried: others only where the given one is not clear.
    pub significance: Vec<(Meaning, f64)>,
    /// Level from which that is no chance.
    pub least_significance: f64,
    /// Frames that were looked at.
    pub frames: usize,
}

/// Collects the frames of one camera.
#[derive(Clone, Debug)]
pub struct CameraCheck {
    lens: Lens,
    half_view_rad: [f64; 2],
    meanings: Vec<Tried>,
}

#[derive(Clone, Debug)]
struct Tried {
    meaning: Meaning,
    camera_from_ego: Pose,
    frames: Vec<Frame>,
}

impl CameraCheck {
    /// A check without frames. `ego_from_lidar` is where the lidar sits, if it is known.
    ///
    /// # Errors
    /// When the model is none that can be projected with.
    pub fn new(model: CameraModel, ego_from_camera: &Pose, ego_from_lidar: Option<&Pose>) -> Result<Self, ViewError> {
        let half = |center_px: f64, size_px: u32, focal_px: f64| {
            let farthest_px = center_px.max(f64::from(size_px) - center_px).max(1.0);
            // What a turn may bring into the image counts too.
            ((farthest_px / focal_px).atan() + LOOK_DEG.to_radians()).min(1.5)
        };
        let lens = Lens::new(model)?;
        let model = lens.model();
        let half_view_rad = [half(model.cx_px, model.width_px, model.fx_px), half(model.cy_px, model.height_px, model.fy_px)];
        let mut poses = vec![(Meaning::AsGiven, ego_from_camera.inverse()), (Meaning::CameraFromEgo, *ego_from_camera)];
        if let Some(ego_from_lidar) = ego_from_lidar.filter(|pose| **pose != Pose::identity()) {
            let lidar_from_ego = ego_from_lidar.inverse();
            poses.push((Meaning::CameraFromLidar, lidar_from_ego * ego_from_camera * lidar_from_ego));
        }
        poses.push((Meaning::BodyAxes, optical_from_body() * ego_from_camera.inverse()));
        let tried = |(meaning, camera_from_ego)| Tried { meaning, camera_from_ego, frames: Vec::new() };
        Ok(Self { lens, half_view_rad, meanings: poses.into_iter().map(tried).collect() })
    }

    /// Takes an image, and the points where they were at its time, in the ego frame of that time.
    pub fn push(&mut self, image: &Gray, points_in_ego: &[Point3<f32>]) {
        let model = self.lens.model();
        let field = Arc::new(EdgeField::of(image, model.fx_px, model.width_px));
        for tried in &mut self.meanings {
            let camera_from_ego = tried.camera_from_ego.cast::<f32>();
            let points: Vec<Point3<f32>> = points_in_ego.iter().map(|p| camera_from_ego * p).collect();
            tried.frames.push(Frame { edges: depth_edges(&points, self.half_view_rad), field: field.clone() });
        }
    }

    /// The verdict.
    #[must_use]
    pub fn finish(self) -> CameraReport {
        let Self { lens, meanings, .. } = self;
        let least = least_significance();
        let mut significance: Vec<(Meaning, f64)> = Vec::new();
        let (mut found, mut frames) = (None, 0);
        for tried in &meanings {
            let agreement = look_around(&tried.frames, &lens);
            significance.push((tried.meaning, agreement.map_or(0.0, |agreement| agreement.significance)));
            if tried.meaning == Meaning::AsGiven {
                frames = tried.frames.len();
                found = agreement.and_then(|agreement| look_closely(&tried.frames, &lens, &agreement));
                // Where the given one stands out as far, nothing else will stand out more.
                if significance[0].1 >= least + CLEARER {
                    break;
                }
            }
        }
        let axes = found.map_or([AxisVerdict::Unsure; 3], |found| {
            std::array::from_fn(|axis| AxisVerdict::of(found.turn_deg[axis], found.spread_deg[axis]))
        });
        let (clearest, most) =
            significance.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a }).unwrap_or((Meaning::AsGiven, 0.0));
        let as_given = significance.first().map_or(0.0, |(_, value)| *value);
        let verdict = if clearest != Meaning::AsGiven && most >= least && (as_given < least || most > as_given + CLEARER) {
            Verdict::WrongWay(clearest)
        } else if as_given < least || found.is_none() {
            // Without a close look nothing is known of any angle.
            Verdict::NoAgreement
        } else if axes.contains(&AxisVerdict::Off) {
            Verdict::Off
        } else {
            Verdict::Fits
        };
        CameraReport { verdict, found, axes, significance, least_significance: least, frames }
    }
}

/// x forward, y left, z up becomes x right, y down, z forward.
fn optical_from_body() -> Pose {
    let rotation = UnitQuaternion::new_normalize(Quaternion::new(0.5, 0.5, -0.5, 0.5));
    Pose::from_parts(nalgebra::Translation3::identity(), rotation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_of_a_vehicle_is_forward_of_a_camera() {
        let p = optical_from_body() * Point3::new(3.0, 2.0, 1.0);
        assert!((p - Point3::new(-2.0, -1.0, 3.0)).norm() < 1e-12, "{p}");
    }

    #[test]
    fn an_angle_is_off_only_where_it_is_beyond_the_limit_and_sure() {
        assert_eq!(AxisVerdict::of(0.4, 0.05), AxisVerdict::Fits);
        assert_eq!(AxisVerdict::of(-0.46, 0.06), AxisVerdict::Off);
        assert_eq!(AxisVerdict::of(0.46, 0.2), AxisVerdict::Fits);
        assert_eq!(AxisVerdict::of(-0.9, 0.2), AxisVerdict::Off);
        assert_eq!(AxisVerdict::of(0.9, 0.5), AxisVerdict::Unsure);
        assert_eq!(AxisVerdict::of(0.1, 0.8), AxisVerdict::Unsure);
    }
}
