//! Looked for where it must be: parked vehicles in the sweeps that did not find them.
//!
//! A parked vehicle stands where it stands in every sweep of the clip, also in those in which it hung together with a hedge, or was hidden by half. Its box
//! is known at the end; what [`super::remember`] kept says whether there is something in it. From its first and its last sighting on, sweep by sweep, the box
//! is put where it stood; it stays there where enough points lie in it and where they lie on its sides, as those of its own sightings do. The search
//! ends where the vehicle was not there for half a second, cannot be seen any more, or was found as often as it had been seen.

use boxwright_model::Taxonomy;
use boxwright_model::time::NS_PER_S;

use super::placed::{Placed, Placement, quantile};
use super::remember::Standing;
use super::still::ONE_POSE;
use super::{SweepInfo, write};
use crate::classify::Kind;

/// Points this far outside of the box are still the vehicle's (metres).
const MARGIN_M: f64 = 0.15;
/// Fewest points in the box: fewer lie on its sides by chance.
const LEAST_POINTS: u32 = 25;
/// A track that is less sure of itself is not looked for: what is no vehicle would be none in more sweeps.
const LEAST_SCORE: f64 = 0.5;
/// Part of the points that must be there of those that its own sightings promise for this range.
const LEAST_SHARE: f64 = 0.3;
/// How much farther than in its own sightings the points may be from the sides of the box (metres).
const WORSE_M: f64 = 0.05;
/// The search ends where the vehicle was not found for this long.
const GIVE_UP_NS: u64 = NS_PER_S as u64 / 2;

/// Adds the sweeps in which a parked vehicle is where it must be.
pub fn seek(track: &mut Placed, sweeps: &[SweepInfo], standing: &[Standing], taxonomy: &Taxonomy) {
    if !track.motion.is_static
        || track.score < LEAST_SCORE
        || track.given_by.is_some()
        || Kind::of(taxonomy.get(track.class)) != Kind::Vehicle
    {
        return;
    }
    let Some(wanted) = Wanted::of(track, sweeps, standing) else { return };
    let [Some(first), Some(last)] = [track.placements.first(), track.placements.last()].map(|end| end.copied()) else { return };
    let mut found: Vec<Placement> = Vec::new();
    for pair in track.placements.windows(2) {
        let in_gap = |sweep| {
            let like = write::between(&pair[0], &pair[1], sweep, sweeps.get(sweep)?.stamp_ns);
            wanted.in_sweep(&like, sweep, sweeps, standing)
        };
        found.extend((pair[0].sweep + 1..pair[1].sweep).filter_map(in_gap));
    }
    // Where the vehicle's own pose drifts, nothing is known of where a thing stood before and after it was seen.
    if track.how.refined == ONE_POSE {
        // What was hardly seen is not made much of.
        let most = track.placements.len();
        let before = (0..first.sweep).rev();
        let after = last.sweep + 1..sweeps.len();
        found.extend(wanted.outward(&first, before, most, sweeps, standing));
        found.extend(wanted.outward(&last, after, most, sweeps, standing));
    }
    track.placements.extend(found);
    track.placements.sort_by_key(|one| one.sweep);
}

/// What must be in the box.
struct Wanted {
    /// Points times the square of the range.
    points_m2: f64,
    edge_m: f64,
}

/// What is in the box.
struct Found {
    points: u32,
    edge_m: f64,
    range_m: f64,
}

impl Wanted {
    fn of(track: &Placed, sweeps: &[SweepInfo], standing: &[Standing]) -> Option<Self> {
        let found: Vec<Found> =
            track.placements.iter().filter_map(|one| Found::of(one, sweeps.get(one.sweep)?, standing.get(one.sweep)?)).collect();
        Some(Self {
            points_m2: quantile(found.iter().map(|one| f64::from(one.points) * one.range_m * one.range_m), 0.5)?,
            edge_m: quantile(found.iter().map(|one| one.edge_m), 0.5)?,
        })
    }

    /// From an end of the track on, until it was not there for long enough.
    fn outward(
        &self,
        end: &Placement,
        outward: impl Iterator<Item = usize>,
        most: usize,
        sweeps: &[SweepInfo],
        standing: &[Standing],
    ) -> Vec<Placement> {
        let mut found = Vec::new();
        let mut seen_ns = end.stamp_ns;
        for sweep in outward {
            let stamp_ns = sweeps[sweep].stamp_ns;
            if stamp_ns.abs_diff(seen_ns) > GIVE_UP_NS || found.len() >= most {
                break;
            }
            if let Some(placement) = self.in_sweep(end, sweep, sweeps, standing) {
                seen_ns = stamp_ns;
                found.push(placement);
            }
        }
        found
    }

    fn in_sweep(&self, like: &Placement, sweep: usize, sweeps: &[SweepInfo], standing: &[Standing]) -> Option<Placement> {
        let info = sweeps.get(sweep)?;
        let found = Found::of(like, info, standing.get(sweep)?)?;
        let enough = LEAST_SHARE * self.points_m2 / (found.range_m * found.range_m);
        let is_there = found.points >= LEAST_POINTS && f64::from(found.points) >= enough && found.edge_m <= self.edge_m + WORSE_M;
        is_there.then_some(Placement {
            sweep,
            stamp_ns: info.stamp_ns,
            points_ns: [info.stamp_ns; 2],
            num_points: found.points,
            sought: true,
            ..*like
        })
    }
}

impl Found {
    fn of(like: &Placement, info: &SweepInfo, standing: &Standing) -> Option<Self> {
        let ego_from_box = like.world_from_box.transformed(&info.world_from_ego.inverse());
        let (sin, cos) = ego_from_box.yaw_rad().sin_cos();
        let (center, size) = (ego_from_box.center_m, ego_from_box.size_lwh_m);
        let (mut points, mut places, mut off) = (0u32, 0u32, 0.0);
        for place in standing.about(&ego_from_box, MARGIN_M) {
            let (x, y) = (place.xy[0] - center.x, place.xy[1] - center.y);
            let beyond = ((x * cos + y * sin).abs() - size.x / 2.0).max((y * cos - x * sin).abs() - size.y / 2.0);
            off += beyond.abs();
            places += 1;
            points = points.saturating_add(place.points);
        }
        let range_m = (center.x - standing.lidar_xy()[0]).hypot(center.y - standing.lidar_xy()[1]);
        (places > 0).then(|| Self { points, edge_m: off / f64::from(places), range_m: range_m.max(1.0) })
    }
}

#[cfg(test)]
mod tests;
