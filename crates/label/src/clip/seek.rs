//! Looked for where it must be: parked vehicles in the sweeps that did not find them.
//!
//! A parked vehicle stands where it stands in every sweep of the clip, also in those in which it hung together with a hedge, or was hidden by half. Its box
//! is known at the end; what [`super::remember`] kept says whether there is something in it. In every sweep between its sightings, and from the first and
//! the last of them on, the box is put where it stood; it stays there where enough points lie in it, and where they lie on its sides as those of its own
//! sightings do. It has the score of its track: unlike a box that is predicted, it was seen. Before the first sighting, and after the last, the search ends
//! where the vehicle was not there for half a second, where another track has a box, or when it was found as often as the track has sightings.

use boxwright_model::Taxonomy;
use boxwright_model::time::NS_PER_S;

use super::duplicates::overlap;
use super::placed::{Placed, Placement, edge_fit_m, quantile};
use super::remember::{Place, Standing};
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

/// The tracks that have a box in a sweep, and where.
type Taken = Vec<Vec<(u32, Placement)>>;

/// Adds to each parked vehicle the sweeps in which it is where it must be. No box is put where another track has one: what stands there in that sweep is
/// known already, and it may be this very vehicle, driving off. The boxes of its gaps count, too (`max_coast_s` as in [`write::with_gaps`]). Sweeps
/// without a pose are left out: where it stood is not known in them.
pub fn seek(tracks: &mut [Placed], sweeps: &[SweepInfo], standing: &[Standing], taxonomy: &Taxonomy, max_coast_s: f64) {
    let mut taken: Taken = vec![Vec::new(); sweeps.len()];
    let take = |number: u32, placements: &[Placement], taken: &mut Taken| {
        placements.iter().for_each(|one| taken[one.sweep].push((number, *one)));
    };
    for track in tracks.iter() {
        let boxes: Vec<Placement> = write::with_gaps(track, sweeps, max_coast_s).into_iter().map(|(one, _)| one).collect();
        take(track.number, &boxes, &mut taken);
    }
    for track in tracks.iter_mut().filter(|track| is_wanted(track, taxonomy)) {
        let Some(wanted) = Wanted::of(track, sweeps, standing) else { continue };
        let found = wanted.everywhere(track, &taken);
        take(track.number, &found, &mut taken);
        track.placements.extend(found);
        track.placements.sort_by_key(|one| one.sweep);
    }
}

fn is_wanted(track: &Placed, taxonomy: &Taxonomy) -> bool {
    let is_vehicle = Kind::of(taxonomy.get(track.class)) == Kind::Vehicle;
    is_vehicle && track.motion.is_static && track.score >= LEAST_SCORE && track.given_by.is_none()
}

/// What must be in the box.
struct Wanted<'a> {
    number: u32,
    /// Points times the square of the range.
    points_m2: f64,
    edge_m: f64,
    sweeps: &'a [SweepInfo],
    standing: &'a [Standing],
}

/// What is in the box.
struct Found {
    points: u32,
    edge_m: f64,
    range_m: f64,
}

impl<'a> Wanted<'a> {
    fn of(track: &Placed, sweeps: &'a [SweepInfo], standing: &'a [Standing]) -> Option<Self> {
        let found: Vec<Found> =
            track.placements.iter().filter_map(|one| Found::of(one, sweeps.get(one.sweep)?, standing.get(one.sweep)?)).collect();
        Some(Self {
            number: track.number,
            points_m2: quantile(found.iter().map(|one| f64::from(one.points) * one.range_m * one.range_m), 0.5)?,
            edge_m: quantile(found.iter().map(|one| one.edge_m), 0.5)?,
            sweeps,
            standing,
        })
    }

    /// Between the sightings, before the first and after the last of them.
    fn everywhere(&self, track: &Placed, taken: &Taken) -> Vec<Placement> {
        let mut found: Vec<Placement> = Vec::new();
        for pair in track.placements.windows(2) {
            for sweep in pair[0].sweep + 1..pair[1].sweep {
                let like = write::between(&pair[0], &pair[1], sweep, self.sweeps[sweep].stamp_ns);
                found.extend(self.in_sweep(&like, sweep).filter(|one| !self.is_taken(one, taken)));
            }
        }
        // Where the vehicle's own pose drifts, nothing is known of where a thing stood before and after it was seen.
        if let (ONE_POSE, [first, ..]) = (track.how.refined, track.placements.as_slice()) {
            let last = track.placements.last().unwrap_or(first);
            // What was hardly seen is not made much of.
            let most = track.placements.len();
            found.extend(self.outward(first, (0..first.sweep).rev(), most, taken));
            found.extend(self.outward(last, last.sweep + 1..self.sweeps.len(), most, taken));
        }
        found
    }

    /// From an end of the track on.
    fn outward(&self, end: &Placement, outward: impl Iterator<Item = usize>, most: usize, taken: &Taken) -> Vec<Placement> {
        let mut found = Vec::new();
        let mut seen_ns = self.sweeps[end.sweep].stamp_ns;
        for sweep in outward {
            let stamp_ns = self.sweeps[sweep].stamp_ns;
            match self.in_sweep(end, sweep) {
                Some(placement) if self.is_taken(&placement, taken) => break,
                Some(placement) => {
                    seen_ns = stamp_ns;
                    found.push(placement);
                }
                // Where sweeps are rare, it is looked for in one at least.
                None if stamp_ns.abs_diff(seen_ns) > GIVE_UP_NS => break,
                None => {}
            }
            if found.len() == most {
                break;
            }
        }
        found
    }

    fn is_taken(&self, placement: &Placement, taken: &Taken) -> bool {
        let by_another = |(number, other): &(u32, Placement)| {
            *number != self.number && overlap(&other.world_from_box, &placement.world_from_box)
        };
        taken[placement.sweep].iter().any(by_another)
    }

    fn in_sweep(&self, like: &Placement, sweep: usize) -> Option<Placement> {
        let stamp_ns = self.sweeps.get(sweep)?.stamp_ns;
        let found = Found::of(like, self.sweeps.get(sweep)?, self.standing.get(sweep)?)?;
        let enough = LEAST_SHARE * self.points_m2 / (found.range_m * found.range_m);
        let is_there = found.points >= LEAST_POINTS && f64::from(found.points) >= enough && found.edge_m <= self.edge_m + WORSE_M;
        let (points_ns, num_points) = ([stamp_ns; 2], found.points);
        is_there.then_some(Placement { sweep, stamp_ns, points_ns, num_points, sought: true, ..*like })
    }
}

impl Found {
    fn of(like: &Placement, info: &SweepInfo, standing: &Standing) -> Option<Self> {
        if !info.has_pose {
            return None;
        }
        let ego_from_box = like.world_from_box.transformed(&info.world_from_ego.inverse());
        let (center, size) = (ego_from_box.center_m, ego_from_box.size_lwh_m);
        let places: Vec<Place> = standing.about(&ego_from_box, MARGIN_M).collect();
        let at = places.iter().map(|place| place.xy);
        let edge_m = edge_fit_m(at, [center.x, center.y], ego_from_box.yaw_rad(), [size.x, size.y])?;
        let [lidar_x, lidar_y] = standing.lidar_xy();
        let range_m = (center.x - lidar_x).hypot(center.y - lidar_y).max(1.0);
        Some(Self { points: places.iter().map(|place| place.points).sum(), edge_m, range_m })
    }
}

#[cfg(test)]
mod tests;
