//! Whether a registration can be believed. ICP always ends somewhere; these are the signs that it ended in the wrong place.

use boxwright_model::Pose;

use crate::register::{KeyPoint, overlap};
use crate::screw::Twist;
use crate::voxels::VoxelMap;
use crate::{MAX_COORDINATE_M, OdometryConfig, Unplaced};

/// Fewest key points of a sweep. A lidar of 16 beams gives some thousand in a street; with a hundred, six unknowns are still told well.
const LEAST_KEY_POINTS: usize = 100;

/// Fewest of them that stand up from the ground: with less nothing says how far it went along a road.
const LEAST_STRUCTURE: usize = 30;

/// A key point lies on the map where the map has a point so near, as a part of the side of its voxels.
pub(crate) const NEAR_PART: f64 = 0.5;

/// What ICP itself is off from sweep to sweep (metres, radians), before any manoeuvre.
const NOISE_M: f64 = 0.5;
const NOISE_RAD: f64 = 0.05;

/// The fastest change of a turn rate that is believed (radians per second squared). Cars reach 2 when they swerve.
const MAX_TURN_RADPS2: f64 = 5.0;

/// Refuses sweeps that cannot say where they are.
pub(crate) fn enough(key_points: &[KeyPoint]) -> Result<(), Unplaced> {
    if key_points.len() < LEAST_KEY_POINTS {
        return Err(Unplaced::TooFewPoints { found: key_points.len(), needed: LEAST_KEY_POINTS });
    }
    let found = structure(key_points);
    if found < LEAST_STRUCTURE {
        return Err(Unplaced::TooLittleStructure { found, needed: LEAST_STRUCTURE });
    }
    Ok(())
}

/// How many key points stand up from the ground.
pub(crate) fn structure(key_points: &[KeyPoint]) -> usize {
    key_points.iter().filter(|point| point.is_structure).count()
}

/// Judges a pose `seconds` after the one before.
pub(crate) struct Doubt<'a> {
    pub(crate) config: &'a OdometryConfig,
    pub(crate) seconds: f64,
}

impl Doubt<'_> {
    /// Whether a vehicle can be so fast, and has not left what the map can name.
    pub(crate) fn speed(&self, twist: &Twist) -> Result<(), Unplaced> {
        let most_m = self.config.max_speed_mps * self.seconds + NOISE_M;
        let off_m = twist.speed_mps() * self.seconds;
        if off_m <= most_m { Ok(()) } else { Err(Unplaced::Jump { off_m, most_m, off_rad: 0.0, most_rad: 0.0 }) }
    }

    /// Whether a vehicle can have changed its motion so much.
    pub(crate) fn deviation(&self, predicted_from_found: &Pose) -> Result<(), Unplaced> {
        let squared = self.seconds * self.seconds;
        let most_m = NOISE_M + self.config.max_acceleration_mps2 * squared;
        let most_rad = NOISE_RAD + MAX_TURN_RADPS2 * squared;
        let (off_m, off_rad) = (predicted_from_found.translation.vector.norm(), predicted_from_found.rotation.angle());
        // False for what is not a number.
        if off_m <= most_m && off_rad <= most_rad {
            return Ok(());
        }
        Err(Unplaced::Jump { off_m, most_m, off_rad, most_rad })
    }

    /// Whether the structure that the sweep sees is the map's. A map of so few key points of structure as `of_map` cannot know more of them:
    /// a drive may begin with half a sweep.
    pub(crate) fn overlap(
        &self,
        key_points: &[KeyPoint],
        map: &VoxelMap,
        world_from_ego: &Pose,
        of_map: usize,
    ) -> Result<(), Unplaced> {
        let reached_m = world_from_ego.translation.vector.norm();
        if reached_m.is_nan() || reached_m >= MAX_COORDINATE_M {
            return Err(Unplaced::NoSolution);
        }
        let share = overlap(key_points, map, world_from_ego, NEAR_PART * self.config.voxel_m).share_of(of_map);
        let needed = self.config.min_overlap;
        if share >= needed { Ok(()) } else { Err(Unplaced::NoOverlap { share, needed }) }
    }
}
