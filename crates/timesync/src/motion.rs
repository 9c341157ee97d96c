//! Where the vehicle was at any moment, sweeps freed from its motion, and points in images of another time.
//!
//! Between two poses the rotation is interpolated on the sphere (slerp) and the position linearly. Beyond the newest or before the
//! oldest pose the vehicle is assumed to keep its twist (screw motion in SE(3): Murray, Li, Sastry, *A Mathematical Introduction to
//! Robotic Manipulation*, chapter 2), for a short bounded time.

use std::collections::VecDeque;

use boxwright_model::{Pose, StampedPose};
use nalgebra::{Isometry3, Matrix3, Translation3, UnitQuaternion, Vector3};
use serde::Deserialize;

pub use self::deskew::{KNOT_STEP_NS, deskew};
pub use self::project::{CameraView, Lens, Projected, ReadoutDirection, Shutter, ViewError, WorldPoint};
pub use self::spin::{Spin, SpinDirection, detect_spin, time_from_azimuth};

mod deskew;

mod project;

mod spin;

#[cfg(test)]
mod tests;

/// Most poses remembered, whatever the window: 16 s at 1 kHz, one megabyte.
pub const MAX_POSES: usize = 16_384;

/// Poses at least this far apart measure the twist: over less, the noise of positions would be read as speed.
const TWIST_BASE_NS: i64 = 20 * boxwright_model::time::NS_PER_MS;

/// How far poses are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MotionConfig {
    /// Milliseconds before the first and after the last known pose for which the motion is assumed to go on unchanged.
    pub max_extrapolation_ms: u64,
    /// Milliseconds of poses to remember, back from the newest one.
    pub window_ms: u64,
}

impl Default for MotionConfig {
    fn default() -> Self {
        Self { max_extrapolation_ms: 200, window_ms: 30_000 }
    }
}

/// A pose at a moment that was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoseAt {
    /// The pose, `world_from_ego`.
    pub world_from_ego: Pose,
    /// How far the moment is outside the known poses: 0 when it is between two of them.
    pub extrapolated_ns: i64,
}

/// The poses of a vehicle over a window of time.
#[derive(Clone, Debug)]
pub struct PoseTrack {
    max_extrapolation_ns: i64,
    window_ns: i64,
    /// Strictly increasing stamps. Bounded by the window and by [`MAX_POSES`].
    poses: VecDeque<StampedPose>,
}

impl PoseTrack {
    /// A track without poses.
    #[must_use]
    pub fn new(config: &MotionConfig) -> Self {
        Self {
            max_extrapolation_ns: crate::ms_to_ns(config.max_extrapolation_ms),
            window_ns: crate::ms_to_ns(config.window_ms),
            poses: VecDeque::new(),
        }
    }

    /// Adds a pose, in any order; of two with one stamp the later push counts. Returns whether it was taken: a pose that is not finite,
    /// or older than the window, is not.
    pub fn push(&mut self, pose: StampedPose) -> bool {
        let world = &pose.world_from_ego;
        let finite = world.translation.vector.iter().chain(world.rotation.coords.iter()).all(|value| value.is_finite());
        let too_old = self.newest_ns().is_some_and(|newest_ns| pose.stamp_ns < newest_ns.saturating_sub(self.window_ns));
        if !finite || too_old {
            return false;
        }
        let index = self.poses.partition_point(|known| known.stamp_ns < pose.stamp_ns);
        match self.poses.get_mut(index).filter(|known| known.stamp_ns == pose.stamp_ns) {
            Some(known) => *known = pose,
            None => self.poses.insert(index, pose),
        }
        let oldest_ns = self.newest_ns().map_or(i64::MIN, |newest_ns| newest_ns.saturating_sub(self.window_ns));
        while self.poses.len() > MAX_POSES || self.poses.front().is_some_and(|first| first.stamp_ns < oldest_ns) {
            self.poses.pop_front();
        }
        true
    }

    /// Stamp of the newest pose.
    #[must_use]
    pub fn newest_ns(&self) -> Option<i64> {
        self.poses.back().map(|pose| pose.stamp_ns)
    }

    /// Number of poses remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.poses.len()
    }

    /// Whether there is no pose.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.poses.is_empty()
    }

    /// Where the vehicle was; `None` without poses or too far outside of them.
    #[must_use]
    pub fn at(&self, stamp_ns: i64) -> Option<PoseAt> {
        let (first, last) = (self.poses.front()?, self.poses.back()?);
        if stamp_ns > last.stamp_ns {
            return self.beyond(last, stamp_ns, self.poses.iter().rev());
        }
        if stamp_ns < first.stamp_ns {
            return self.beyond(first, stamp_ns, self.poses.iter());
        }
        let index = self.poses.partition_point(|pose| pose.stamp_ns < stamp_ns);
        let after = self.poses.get(index)?;
        if after.stamp_ns == stamp_ns {
            return Some(PoseAt { world_from_ego: after.world_from_ego, extrapolated_ns: 0 });
        }
        let before = self.poses.get(index.checked_sub(1)?)?;
        let part = ratio(stamp_ns.saturating_sub(before.stamp_ns), after.stamp_ns.saturating_sub(before.stamp_ns));
        Some(PoseAt { world_from_ego: interpolate(&before.world_from_ego, &after.world_from_ego, part), extrapolated_ns: 0 })
    }

    /// Keeps the twist at one end of the track; `inwards` walks from that end.
    fn beyond<'a>(
        &'a self,
        end: &StampedPose,
        stamp_ns: i64,
        mut inwards: impl Iterator<Item = &'a StampedPose>,
    ) -> Option<PoseAt> {
        let extrapolated_ns = stamp_ns.saturating_sub(end.stamp_ns).saturating_abs();
        if extrapolated_ns > self.max_extrapolation_ns {
            return None;
        }
        let far_enough = |pose: &&StampedPose| pose.stamp_ns.abs_diff(end.stamp_ns) >= TWIST_BASE_NS.unsigned_abs();
        let base = inwards.find(far_enough).or(if stamp_ns > end.stamp_ns { self.poses.front() } else { self.poses.back() });
        let world_from_ego = match base.filter(|base| base.stamp_ns != end.stamp_ns) {
            None => end.world_from_ego,
            Some(base) => {
                let base_from_end = base.world_from_ego.inv_mul(&end.world_from_ego);
                let part = ratio(stamp_ns.saturating_sub(end.stamp_ns), end.stamp_ns.saturating_sub(base.stamp_ns));
                end.world_from_ego * screw_power(&base_from_end, part)
            }
        };
        Some(PoseAt { world_from_ego, extrapolated_ns })
    }
}

fn ratio(part_ns: i64, whole_ns: i64) -> f64 {
    part_ns as f64 / whole_ns as f64
}

/// Slerp of the rotations and line between the positions; `part` in `[0, 1]`.
fn interpolate(a: &Pose, b: &Pose, part: f64) -> Pose {
    let translation = a.translation.vector.lerp(&b.translation.vector, part);
    // Half a turn between two poses has no shortest way; the nearer pose then gives the rotation.
    let nearer = if part < 0.5 { a.rotation } else { b.rotation };
    let rotation = a.rotation.try_slerp(&b.rotation, part, 1e-9).unwrap_or(nearer);
    Isometry3::from_parts(Translation3::from(translation), rotation)
}

/// `exp(part * log(motion))`: the motion continued as one screw.
fn screw_power(motion: &Pose, part: f64) -> Pose {
    let turn = motion.rotation.scaled_axis();
    let along = left_jacobian(&turn).try_inverse().map_or(motion.translation.vector, |inverse| inverse * motion.translation.vector);
    let (turn, along) = (turn * part, along * part);
    Isometry3::from_parts(Translation3::from(left_jacobian(&turn) * along), UnitQuaternion::from_scaled_axis(turn))
}

/// The matrix that maps the linear part of a twist to the translation that it makes while turning by `turn`.
fn left_jacobian(turn: &Vector3<f64>) -> Matrix3<f64> {
    let (angle, skew) = (turn.norm(), turn.cross_matrix());
    if angle < 1e-6 {
        return Matrix3::identity() + skew * 0.5;
    }
    let squared = angle * angle;
    Matrix3::identity() + skew * ((1.0 - angle.cos()) / squared) + skew * skew * ((angle - angle.sin()) / (squared * angle))
}
