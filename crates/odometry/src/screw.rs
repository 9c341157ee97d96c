//! Constant twists: the motion between two poses, scaled to any part of it.
//!
//! Exponential and logarithm of SE(3) as in Murray, Li and Sastry, *A Mathematical Introduction to Robotic Manipulation*, chapter 2.

use boxwright_model::Pose;
use nalgebra::{Isometry3, Matrix3, Translation3, UnitQuaternion, Vector3};

/// Below this angle (radians) the series of the sine and cosine terms are exact in double precision to the order that is kept.
const SMALL_RAD: f64 = 1e-6;

/// A constant twist in the moving frame, per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Twist {
    linear_mps: Vector3<f64>,
    angular_radps: Vector3<f64>,
}

impl Twist {
    /// Standing still.
    pub(crate) const ZERO: Self = Self { linear_mps: Vector3::new(0.0, 0.0, 0.0), angular_radps: Vector3::new(0.0, 0.0, 0.0) };

    /// The twist that makes `earlier_from_later` in `seconds` (more than 0).
    pub(crate) fn between(earlier_from_later: &Pose, seconds: f64) -> Self {
        let turn = earlier_from_later.rotation.scaled_axis();
        let translation = earlier_from_later.translation.vector;
        let along = left_jacobian(&turn).try_inverse().map_or(translation, |inverse| inverse * translation);
        Self { linear_mps: along / seconds, angular_radps: turn / seconds }
    }

    /// What the twist makes of the identity in `seconds`, which may be negative.
    pub(crate) fn after(&self, seconds: f64) -> Pose {
        let (along, turn) = (self.linear_mps * seconds, self.angular_radps * seconds);
        Isometry3::from_parts(Translation3::from(left_jacobian(&turn) * along), UnitQuaternion::from_scaled_axis(turn))
    }

    /// Metres per second.
    pub(crate) fn speed_mps(&self) -> f64 {
        self.linear_mps.norm()
    }
}

/// The matrix that maps the linear part of a twist to the translation that it makes while turning by `turn`.
fn left_jacobian(turn: &Vector3<f64>) -> Matrix3<f64> {
    let (angle, skew) = (turn.norm(), turn.cross_matrix());
    if angle < SMALL_RAD {
        return Matrix3::identity() + skew * 0.5;
    }
    let squared = angle * angle;
    Matrix3::identity() + skew * ((1.0 - angle.cos()) / squared) + skew * skew * ((angle - angle.sin()) / (squared * angle))
}
