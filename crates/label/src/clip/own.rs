//! Parts of the vehicle itself: mirrors, a roof box, an aerial beyond the zone that is left out as the vehicle ([`crate::clean`]).
//!
//! They stand still about the lidar while it drives. Whatever is beside the vehicle and drives as fast for a while does not keep its place to a hand's
//! breadth.

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
/// The vehicle has gone this far meanwhile (metres): what stands on the ground is left behind by then.
const WAY_M: f64 = 5.0;
/// And for so long (seconds): two cars side by side are level for a moment.
const LEAST_S: f64 = 2.0;

/// Whether a track is a part of the vehicle.
#[must_use]
pub fn rides_along(track: &TrackHistory, sweeps: &[SweepInfo]) -> bool {
    let seen: Vec<_> = track.observations.iter().filter_map(|one| Some((sweeps.get(one.sweep)?, &one.candidate))).collect();
    let (Some((first, _)), Some((last, _))) = (seen.first(), seen.last()) else { return false };
    let way = |sweep: &SweepInfo| (sweep.world_from_ego.translation.vector - first.world_from_ego.translation.vector).norm();
    let duration_s = last.stamp_ns.saturating_sub(first.stamp_ns) as f64 * 1e-9;
    if duration_s < LEAST_S || seen.iter().map(|(sweep, _)| way(sweep)).fold(0.0, f64::max) < WAY_M {
        return false;
    }
    let middle = |axis: usize| quantile(seen.iter().map(|(_, one)| one.shape.middle()[axis]), 0.5).unwrap_or(f64::INFINITY);
    let (x, y) = (middle(0), middle(1));
    let lidar = seen[0].1.lidar_xy;
    let steady = |axis: usize, about: f64| {
        quantile(seen.iter().map(|(_, one)| (one.shape.middle()[axis] - about).abs()), 0.9).is_some_and(|off| off <= STEADY_M)
    };
    let length = quantile(seen.iter().map(|(_, one)| Vector2::from(one.shape.extents_m()).max()), 0.5).unwrap_or(f64::INFINITY);
    (x - lidar[0]).hypot(y - lidar[1]) <= REACH_M && length <= LONGEST_M && steady(0, x) && steady(1, y)
}
