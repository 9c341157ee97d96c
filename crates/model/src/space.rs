//! Poses and cuboids.

use nalgebra::{Isometry3, Point3, Quaternion, Translation3, UnitQuaternion, Vector3};

/// A rigid transform `parent_from_child`, in metres and radians.
pub type Pose = Isometry3<f64>;

/// Where the vehicle was at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StampedPose {
    /// Moment of the pose.
    pub stamp_ns: i64,
    /// The pose.
    pub world_from_ego: Pose,
}

/// A pose from a translation and a quaternion `x, y, z, w`, or `None` where a number is not finite or the quaternion has no length.
#[must_use]
pub fn pose_from_parts(translation_m: [f64; 3], quaternion_xyzw: [f64; 4]) -> Option<Pose> {
    let [x, y, z, w] = quaternion_xyzw;
    let quaternion = Quaternion::new(w, x, y, z);
    let norm = quaternion.norm();
    if !(translation_m.iter().all(|v| v.is_finite()) && norm.is_finite() && norm > 1e-6) {
        return None;
    }
    // A quaternion that is of unit length but for rounding is taken as it is: a pose that was stored and read back has the same bits.
    let rotation = if (norm - 1.0).abs() < 1e-12 {
        UnitQuaternion::new_unchecked(quaternion)
    } else {
        UnitQuaternion::new_normalize(quaternion)
    };
    Some(Pose::from_parts(Translation3::from(Vector3::from(translation_m)), rotation))
}

/// The quaternion of a pose as `x, y, z, w`, with `w >= 0` so that equal rotations are written equally.
#[must_use]
pub fn quaternion_xyzw(rotation: &UnitQuaternion<f64>) -> [f64; 4] {
    let q = rotation.quaternion();
    let sign = if q.w < 0.0 { -1.0 } else { 1.0 };
    [sign * q.i, sign * q.j, sign * q.k, sign * q.w]
}

/// Heading about +z of a rotation: the direction of the rotated x axis, in `[-pi, pi]`.
#[must_use]
pub fn yaw_rad(rotation: &UnitQuaternion<f64>) -> f64 {
    let forward = rotation * Vector3::x();
    forward.y.atan2(forward.x)
}

/// An angle brought into `[-pi, pi)`.
#[must_use]
pub fn wrap_rad(angle_rad: f64) -> f64 {
    let turn = std::f64::consts::TAU;
    (angle_rad + std::f64::consts::PI).rem_euclid(turn) - std::f64::consts::PI
}

/// A box in some frame: centre, size and rotation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cuboid {
    /// Centre in metres.
    pub center_m: Vector3<f64>,
    /// Length (along the box's x), width (y) and height (z) in metres.
    pub size_lwh_m: Vector3<f64>,
    /// `frame_from_box`.
    pub rotation: UnitQuaternion<f64>,
}

impl Cuboid {
    /// An upright cuboid that is turned by `yaw_rad` about +z.
    #[must_use]
    pub fn upright(center_m: Vector3<f64>, size_lwh_m: Vector3<f64>, yaw_rad: f64) -> Self {
        Self { center_m, size_lwh_m, rotation: UnitQuaternion::from_axis_angle(&Vector3::z_axis(), yaw_rad) }
    }

    /// Heading about +z.
    #[must_use]
    pub fn yaw_rad(&self) -> f64 {
        yaw_rad(&self.rotation)
    }

    /// `frame_from_box` as a pose.
    #[must_use]
    pub fn pose(&self) -> Pose {
        Pose::from_parts(Translation3::from(self.center_m), self.rotation)
    }

    /// The same cuboid seen from another frame.
    #[must_use]
    pub fn transformed(&self, parent_from_frame: &Pose) -> Self {
        let center = parent_from_frame * Point3::from(self.center_m);
        Self { center_m: center.coords, size_lwh_m: self.size_lwh_m, rotation: parent_from_frame.rotation * self.rotation }
    }

    /// The eight corners: bit 0 of the index picks the +x half, bit 1 +y, bit 2 +z.
    #[must_use]
    pub fn corners(&self) -> [Point3<f64>; 8] {
        std::array::from_fn(|corner| {
            let half = |bit: usize, size: f64| if corner >> bit & 1 == 1 { size / 2.0 } else { -size / 2.0 };
            let local = Vector3::new(half(0, self.size_lwh_m.x), half(1, self.size_lwh_m.y), half(2, self.size_lwh_m.z));
            Point3::from(self.center_m + self.rotation * local)
        })
    }

    /// Whether a point lies inside or on the cuboid grown by `margin_m` on every side.
    #[must_use]
    pub fn contains(&self, point: &Point3<f64>, margin_m: f64) -> bool {
        let local = self.rotation.inverse_transform_vector(&(point.coords - self.center_m));
        local.iter().zip(self.size_lwh_m.iter()).all(|(offset, size)| offset.abs() <= size / 2.0 + margin_m)
    }

    /// Whether every number is finite and every side is longer than nothing.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.center_m.iter().chain(self.size_lwh_m.iter()).chain(self.rotation.coords.iter()).all(|v| v.is_finite())
            && self.size_lwh_m.iter().all(|size| *size > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cuboid_keeps_its_points_when_the_frame_changes() {
        let cuboid = Cuboid::upright(Vector3::new(10.0, -2.0, 1.0), Vector3::new(4.0, 2.0, 1.5), 0.7);
        let world_from_ego = pose_from_parts([100.0, 50.0, 3.0], [0.0, 0.0, 0.3, 0.9]).unwrap();
        let moved = cuboid.transformed(&world_from_ego);
        for corner in cuboid.corners() {
            assert!(cuboid.contains(&corner, 1e-9));
            assert!(moved.contains(&(world_from_ego * corner), 1e-9));
        }
        assert!(!cuboid.contains(&Point3::new(10.0, 0.5, 1.0), 0.0));
    }

    #[test]
    fn a_quaternion_without_length_is_no_pose() {
        assert!(pose_from_parts([0.0; 3], [0.0; 4]).is_none());
        assert!(pose_from_parts([f64::NAN, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]).is_none());
    }

    #[test]
    fn angles_wrap_to_half_open_turn() {
        assert!((wrap_rad(3.5 * std::f64::consts::PI) + 0.5 * std::f64::consts::PI).abs() < 1e-12);
        assert_eq!(wrap_rad(std::f64::consts::PI), -std::f64::consts::PI);
    }
}
