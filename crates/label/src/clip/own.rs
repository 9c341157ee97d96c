//! Parts of the vehicle itself: mirrors, a roof box, an aerial beyond the zone that is left out as the vehicle ([`crate::clean`]).
//!
//! They keep their place about the lidar while the vehicle drives. Whatever else drives beside it as fast for a while does not keep it to a hand's breadth.
//! Where nobody knows the vehicle's way, nothing is known to ride along.

use nalgebra::Vector2;

use super::SweepInfo;
use super::placed::quantile;
use crate::track::TrackHistory;

/// Parts of the vehicle are no farther from the lidar than this (metres): from the middle of the roof of a van to its bumpers.
const REACH_M: f64 = 4.0;
/// No part that the zone leaves over is longer (metres).
const LONGEST_M: f64 = 2.0;
/// How far nine of ten sightings may be from the middle one, along and across (metres): what the view of a part changes.
const STEADY_M: f64 = 0.15;
/// Sightings are compared each time that the vehicle has gone so far (metres): while it waits, everything that stands keeps its place,
const STEP_M: f64 = 0.5;
/// so many of them at least: five metres on, what stands on the ground is left behind,
const LEAST_STEPS: usize = 10;
/// and for so long (seconds): two cars side by side are level for a moment.
const LEAST_S: f64 = 2.0;

/// Whether a track is a part of the vehicle.
#[must_use]
pub fn rides_along(track: &TrackHistory, sweeps: &[SweepInfo]) -> bool {
    let mut seen = Vec::new();
    let mut last_m: Option<Vector2<f64>> = None;
    for observation in &track.observations {
        let Some(sweep) = sweeps.get(observation.sweep).filter(|sweep| sweep.has_pose) else { continue };
        let here_m = sweep.world_from_ego.translation.vector.xy();
        if last_m.is_none_or(|last_m| (here_m - last_m).norm() >= STEP_M) {
            last_m = Some(here_m);
            seen.push((sweep.stamp_ns, &observation.candidate));
        }
    }
    let (Some((first_ns, candidate)), Some((last_ns, _))) = (seen.first(), seen.last()) else { return false };
    if seen.len() < LEAST_STEPS || (last_ns.saturating_sub(*first_ns) as f64) < LEAST_S * 1e9 {
        return false;
    }
    let middles: Vec<[f64; 2]> = seen.iter().map(|(_, candidate)| candidate.shape.middle()).collect();
    let usual = |axis: usize| quantile(middles.iter().map(|middle| middle[axis]), 0.5).unwrap_or(f64::INFINITY);
    let about = [usual(0), usual(1)];
    let is_steady = |axis: usize| {
        quantile(middles.iter().map(|middle| (middle[axis] - about[axis]).abs()), 0.9).is_some_and(|off| off <= STEADY_M)
    };
    let lengths = seen.iter().map(|(_, candidate)| Vector2::from(candidate.shape.extents_m()).max());
    let [lidar_x, lidar_y] = candidate.lidar_xy;
    (about[0] - lidar_x).hypot(about[1] - lidar_y) <= REACH_M
        && quantile(lengths, 0.5).is_some_and(|length| length <= LONGEST_M)
        && is_steady(0)
        && is_steady(1)
}
