//! What an edit does to a box: pure functions, the one place where the page's edits are computed.
//!
//! Cuboids are in the world frame of their clip or in the ego frame of their sample, whatever the caller has: nothing here depends on
//! it, but for [`shrink`], whose points must be in the frame of the cuboid. Every function returns a new cuboid and refuses with a
//! reason what would not be one.

use std::f64::consts::PI;

use boxwright_model::Cuboid;
use boxwright_model::space::wrap_rad;
use nalgebra::{Point3, UnitQuaternion, Vector3};
use serde::{Deserialize, Serialize};

/// Shortest side of a box: a thumb's width. Less is a slip of the hand, not an object.
pub const MIN_SIDE_M: f64 = 0.05;
/// Longest side of a box: a train's coach with room to spare.
pub const MAX_SIDE_M: f64 = 60.0;
/// Farthest that one edit may carry a box: beyond it is a unit error.
pub const MAX_MOVE_M: f64 = 200.0;
/// How far around a box its points are looked for when it is shrunk to them.
const SHRINK_REACH_M: f64 = 0.25;
/// Air that is left between the outermost points and the sides of a shrunk box.
const SHRINK_MARGIN_M: f64 = 0.02;
/// Fewer points say nothing about an extent.
const SHRINK_MIN_POINTS: usize = 5;
/// Lowest part of a box whose points may be road; the lower side stays where it is.
const ROAD_SKIN_M: f64 = 0.15;

/// One side of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Face {
    /// Where its heading points.
    Front,
    /// The opposite.
    Back,
    /// Left of the heading.
    Left,
    /// Right of it.
    Right,
    /// Up.
    Top,
    /// Down.
    Bottom,
}

impl Face {
    /// Axis of the box and direction along it.
    fn axis(self) -> (usize, f64) {
        match self {
            Self::Front => (0, 1.0),
            Self::Back => (0, -1.0),
            Self::Left => (1, 1.0),
            Self::Right => (1, -1.0),
            Self::Top => (2, 1.0),
            Self::Bottom => (2, -1.0),
        }
    }
}

/// Why an edit was not made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Refuses what is no box.
///
/// # Errors
/// When a number is not finite, or a side is shorter than [`MIN_SIDE_M`] or longer than [`MAX_SIDE_M`].
pub fn check(cuboid: Cuboid) -> Result<Cuboid, Refusal> {
    if !cuboid.is_valid() {
        return Err(Refusal("expected finite numbers and sides longer than nothing, got others".to_owned()));
    }
    match cuboid.size_lwh_m.iter().find(|side| !(MIN_SIDE_M..=MAX_SIDE_M).contains(*side)) {
        Some(side) => Err(Refusal(format!("expected sides of {MIN_SIDE_M} to {MAX_SIDE_M} m, got {side:.3} m"))),
        None => Ok(cuboid),
    }
}

/// Moved along its own axes: forward, left, up.
///
/// # Errors
/// When the distance is not finite or beyond [`MAX_MOVE_M`].
pub fn moved(cuboid: &Cuboid, by_box_m: [f64; 3]) -> Result<Cuboid, Refusal> {
    let by = Vector3::from(by_box_m);
    // NaN fails the comparison too.
    if by.norm().partial_cmp(&MAX_MOVE_M).is_none_or(std::cmp::Ordering::is_gt) {
        return Err(Refusal(format!("expected a move of at most {MAX_MOVE_M} m, got {} m", by.norm())));
    }
    check(Cuboid { center_m: cuboid.center_m + cuboid.rotation * by, ..*cuboid })
}

/// With one side moved outwards (or inwards, below 0); the opposite side stays.
///
/// # Errors
/// As [`check`].
pub fn sized(cuboid: &Cuboid, face: Face, by_m: f64) -> Result<Cuboid, Refusal> {
    let (axis, direction) = face.axis();
    let (mut size, mut shift) = (cuboid.size_lwh_m, Vector3::zeros());
    size[axis] += by_m;
    shift[axis] = direction * by_m / 2.0;
    check(Cuboid { center_m: cuboid.center_m + cuboid.rotation * shift, size_lwh_m: size, rotation: cuboid.rotation })
}

/// Turned about its own upright axis, counter-clockwise seen from above.
///
/// # Errors
/// As [`check`].
pub fn turned(cuboid: &Cuboid, by_rad: f64) -> Result<Cuboid, Refusal> {
    if !by_rad.is_finite() {
        return Err(Refusal(format!("expected an angle, got {by_rad}")));
    }
    let turn = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), wrap_rad(by_rad));
    check(Cuboid { rotation: UnitQuaternion::new_normalize((cuboid.rotation * turn).into_inner()), ..*cuboid })
}

/// Front and back exchanged: the same space, the other heading.
#[must_use]
pub fn flipped(cuboid: &Cuboid) -> Cuboid {
    let turn = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), PI);
    Cuboid { rotation: UnitQuaternion::new_normalize((cuboid.rotation * turn).into_inner()), ..*cuboid }
}

/// With its lower side at a height; the box is carried, not stretched.
///
/// # Errors
/// As [`check`].
pub fn grounded(cuboid: &Cuboid, floor_m: f64) -> Result<Cuboid, Refusal> {
    let mut center_m = cuboid.center_m;
    center_m.z = floor_m + cuboid.size_lwh_m.z / 2.0;
    check(Cuboid { center_m, ..*cuboid })
}

/// With another size; the sides that face `viewer_m` (same frame) stay where they are, because those are the ones that were measured.
///
/// # Errors
/// As [`check`].
pub fn resized_from(cuboid: &Cuboid, size_lwh_m: [f64; 3], viewer_m: [f64; 3]) -> Result<Cuboid, Refusal> {
    let viewer = cuboid.rotation.inverse_transform_vector(&(Vector3::from(viewer_m) - cuboid.center_m));
    let size = Vector3::from(size_lwh_m);
    let mut shift = Vector3::zeros();
    for axis in 0..2 {
        let half = cuboid.size_lwh_m[axis] / 2.0;
        if viewer[axis].abs() > half {
            // The side towards the viewer stays, so the centre goes away from it by half the growth.
            shift[axis] = -viewer[axis].signum() * (size[axis] - cuboid.size_lwh_m[axis]) / 2.0;
        }
    }
    // Things stand on the ground: the lower side stays.
    shift.z = (size.z - cuboid.size_lwh_m.z) / 2.0;
    check(Cuboid { center_m: cuboid.center_m + cuboid.rotation * shift, size_lwh_m: size, rotation: cuboid.rotation })
}

/// The smallest box of the same heading about the points in and closely around the box. The lower side stays, and what lies just above
/// it counts for nothing but there: that is road.
///
/// # Errors
/// When fewer than five points are left.
pub fn shrink(cuboid: &Cuboid, points: &[[f32; 3]]) -> Result<Cuboid, Refusal> {
    let half = cuboid.size_lwh_m / 2.0;
    let inside: Vec<Vector3<f64>> = points
        .iter()
        .map(|p| cuboid.rotation.inverse_transform_vector(&(Vector3::from(p.map(f64::from)) - cuboid.center_m)))
        .filter(|p| (0..3).all(|axis| p[axis].abs() <= half[axis] + SHRINK_REACH_M) && p.z > -half.z + ROAD_SKIN_M)
        .collect();
    if inside.len() < SHRINK_MIN_POINTS {
        return Err(Refusal(format!("expected at least {SHRINK_MIN_POINTS} points in the box, got {}", inside.len())));
    }
    let (mut low, mut high) = (inside[0], inside[0]);
    for p in &inside {
        (low, high) = (low.inf(p), high.sup(p));
    }
    let margin = Vector3::repeat(SHRINK_MARGIN_M);
    (low, high) = (low - margin, high + margin);
    low.z = -half.z;
    let size_lwh_m = (high - low).map(|side| side.max(MIN_SIDE_M));
    let center_m = cuboid.center_m + cuboid.rotation * ((low + high) / 2.0);
    check(Cuboid { center_m, size_lwh_m, rotation: cuboid.rotation })
}

/// Between two boxes: place and size in proportion, heading by the shorter way.
#[must_use]
pub fn between(from: &Cuboid, to: &Cuboid, share: f64) -> Cuboid {
    let rotation = from.rotation.try_slerp(&to.rotation, share, 1e-9).unwrap_or(to.rotation);
    Cuboid { center_m: from.center_m.lerp(&to.center_m, share), size_lwh_m: from.size_lwh_m.lerp(&to.size_lwh_m, share), rotation }
}

/// Points in or on the box.
#[must_use]
pub fn count(cuboid: &Cuboid, points: &[[f32; 3]]) -> u32 {
    let inside = points.iter().filter(|p| cuboid.contains(&Point3::from(p.map(f64::from)), 0.0)).count();
    u32::try_from(inside).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
