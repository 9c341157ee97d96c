//! Point-to-point ICP of one sweep against the local map (KISS-ICP, arXiv 2209.15397, section III-D).
//!
//! Minimises the Geman-McClure kernel of the distances to the nearest points of the map by Gauss-Newton steps. Unlike in the paper, ground counts
//! by its height alone: the rings that a lidar draws on it come along with the vehicle, lie on those of the map best where it has not moved, and
//! would hold it back. A step is a turn about the vehicle
//! and a shift, `R ← exp(ω) R`, `t ← t + v`: coordinates of the normal equations stay small however far the vehicle has gone.

use boxwright_model::Pose;
use nalgebra::{Matrix3, Matrix6, Point3, Translation3, UnitQuaternion, Vector3, Vector6};

use crate::voxels::VoxelMap;

/// A step smaller than this (metres and radians together) ends the iteration: the paper's value.
const LEAST_STEP: f64 = 1e-4;

/// A point of the sweep that is held against the map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct KeyPoint {
    /// In the ego frame at the stamp of the sweep.
    pub(crate) in_ego: Point3<f64>,
    /// Whether it stands up from what is below it: ground fits ground anywhere, structure only where it belongs.
    pub(crate) is_structure: bool,
}

/// How far the search goes and how distances count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reach {
    /// Pairs farther apart do not count (metres).
    pub(crate) max_distance_m: f64,
    /// Scale of the kernel (metres).
    pub(crate) kernel_m: f64,
    pub(crate) max_iterations: usize,
}

/// Aligns the key points with the map, from a guess. `None` where nothing is in reach or the equations have no solution.
pub(crate) fn align(points: &[KeyPoint], map: &VoxelMap, guess: &Pose, reach: &Reach) -> Option<Pose> {
    let mut pose = *guess;
    for iteration in 1..=reach.max_iterations {
        let (normal, gradient) = equations(points, map, &pose, reach)?;
        let step = normal.cholesky()?.solve(&-gradient);
        if !step.iter().all(|value| value.is_finite()) {
            return None;
        }
        let (shift, turn) = (step.fixed_rows::<3>(0).into_owned(), step.fixed_rows::<3>(3).into_owned());
        let rotation = UnitQuaternion::new_normalize((UnitQuaternion::from_scaled_axis(turn) * pose.rotation).into_inner());
        pose = Pose::from_parts(Translation3::from(pose.translation.vector + shift), rotation);
        if step.norm() < LEAST_STEP || iteration == reach.max_iterations {
            return Some(pose);
        }
    }
    None
}

/// Normal matrix and gradient of the robust cost, about the vehicle, as (shift, turn).
fn equations(points: &[KeyPoint], map: &VoxelMap, pose: &Pose, reach: &Reach) -> Option<(Matrix6<f64>, Vector6<f64>)> {
    let max_squared = (reach.max_distance_m * reach.max_distance_m) as f32;
    let kernel = reach.kernel_m * reach.kernel_m;
    let (rotation, translation) = (pose.rotation.to_rotation_matrix(), pose.translation.vector);
    let (mut weights, mut weighted_arm) = (0.0, Vector3::zeros());
    let (mut arms, mut force, mut torque) = (Matrix3::zeros(), Vector3::zeros(), Vector3::zeros());
    let up = rotation * Vector3::z();
    let (mut ground, mut ground_gradient) = (Matrix6::zeros(), Vector6::zeros());
    for point in points {
        // From the vehicle to the point, along the axes of the world.
        let arm = rotation * point.in_ego.coords;
        let at = Point3::from(arm + translation);
        let Some((squared, target)) = map.nearest(&at, max_squared) else { continue };
        if !point.is_structure {
            // The vehicle stands on the ground, so its own upright is the ground's, to a slope's change within range.
            let off_m = up.dot(&(at - target));
            let ratio = kernel / (kernel + off_m * off_m);
            let weight = ratio * ratio;
            let lever = arm.cross(&up);
            let row = Vector6::new(up.x, up.y, up.z, lever.x, lever.y, lever.z);
            ground += row * row.transpose() * weight;
            ground_gradient += row * (off_m * weight);
            continue;
        }
        let ratio = kernel / (kernel + f64::from(squared));
        let weight = ratio * ratio;
        let residual = (at - target) * weight;
        weights += weight;
        weighted_arm += arm * weight;
        arms += arm * arm.transpose() * weight;
        force += residual;
        torque += arm.cross(&residual);
    }
    if weights <= 0.0 {
        return None;
    }
    // J = [I, -[arm]x] for every point, summed in closed form.
    let mut normal = Matrix6::zeros();
    let skew = weighted_arm.cross_matrix();
    normal.fixed_view_mut::<3, 3>(0, 0).copy_from(&(Matrix3::identity() * weights));
    normal.fixed_view_mut::<3, 3>(0, 3).copy_from(&-skew);
    normal.fixed_view_mut::<3, 3>(3, 0).copy_from(&skew);
    normal.fixed_view_mut::<3, 3>(3, 3).copy_from(&(Matrix3::identity() * arms.trace() - arms));
    let mut gradient = Vector6::zeros();
    gradient.fixed_rows_mut::<3>(0).copy_from(&force);
    gradient.fixed_rows_mut::<3>(3).copy_from(&torque);
    Some((normal + ground, gradient + ground_gradient))
}

/// Key points of structure, and how many of them have a point of the map within `near_m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overlap {
    pub(crate) structure: usize,
    pub(crate) near: usize,
}

impl Overlap {
    /// Share of the structure that is near, where no more than `most` of it can be.
    pub(crate) fn share_of(&self, most: usize) -> f64 {
        let structure = self.structure.min(most);
        if structure == 0 { 0.0 } else { (self.near as f64 / structure as f64).min(1.0) }
    }
}

/// How much of the structure that the sweep sees the map knows.
pub(crate) fn overlap(points: &[KeyPoint], map: &VoxelMap, world_from_ego: &Pose, near_m: f64) -> Overlap {
    let max_squared = (near_m * near_m) as f32;
    let structure = points.iter().filter(|point| point.is_structure);
    structure.fold(Overlap::default(), |so_far, point| {
        let is_near = map.nearest(&(world_from_ego * point.in_ego), max_squared).is_some();
        Overlap { structure: so_far.structure + 1, near: so_far.near + usize::from(is_near) }
    })
}
