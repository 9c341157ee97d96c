//! Vehicles that were seen once.
//!
//! Where something is after its first sighting depends on a speed that nobody knows yet. The filter assumes that it stands, give or take 8 m/s,
//! and the gate lets pass what this makes likely: three metres a sweep. The second hypothesis is tried on what is left afterwards: that it
//! drives, as fast as its class can. It is taken only where nothing competes (one such track and one such detection within reach of each other), where
//! it drove along its own length and where size and height agree. A third sighting must then confirm the velocity within the usual gate.

use boxwright_model::time::NS_PER_S;
use boxwright_model::{Pose, Taxonomy};

use super::{Kalman, Seen, TrackHistory, Tracker, kalman};
use crate::classify::Kind;

/// Least cosine between the way and the length: what has wheels does not drive sideways.
const LEAST_ALIGNMENT: f64 = 0.9;
/// Largest difference in height of two sightings of one vehicle (metres).
const MAX_HEIGHT_STEP_M: f64 = 0.5;

impl<S: Seen> Tracker<S> {
    /// Joins detections that no track took to tracks that were seen once and took nothing.
    pub(super) fn join_newborn(
        &mut self,
        sweep: usize,
        stamp_ns: i64,
        world_from_ego: &Pose,
        open: &mut [Option<S>],
        hit: &[bool],
    ) {
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        let newborn = |(index, track): &(usize, &TrackHistory<S>)| !hit[*index] && track.observations.len() == 1;
        for (track_index, track) in self.live.iter().enumerate().take(hit.len()).filter(newborn) {
            for (index, candidate) in open.iter().enumerate() {
                let sure = |candidate: &&S| candidate.score() >= self.config.birth_score;
                let Some(candidate) = candidate.as_ref().filter(sure) else { continue };
                if track.may_have_driven_to(candidate, stamp_ns, world_from_ego, &self.taxonomy) {
                    pairs.push((track_index, index));
                }
            }
        }
        let (mut of_track, mut of_candidate) = (vec![0u32; self.live.len()], vec![0u32; open.len()]);
        for (track_index, index) in &pairs {
            of_track[*track_index] += 1;
            of_candidate[*index] += 1;
        }
        for (track_index, index) in pairs {
            let alone = of_track[track_index] == 1 && of_candidate[index] == 1;
            if let Some(candidate) = open[index].take_if(|_| alone) {
                self.live[track_index].drove_to(sweep, stamp_ns, world_from_ego, candidate, &self.taxonomy);
            }
        }
    }
}

impl<S: Seen> TrackHistory<S> {
    fn may_have_driven_to(&self, candidate: &S, stamp_ns: i64, world_from_ego: &Pose, taxonomy: &Taxonomy) -> bool {
        if self.kind != Kind::Vehicle || candidate.class() != self.class {
            return false;
        }
        let seconds = stamp_ns.saturating_add(candidate.after_ns()).saturating_sub(self.measured_ns) as f64 / NS_PER_S as f64;
        let farthest_m = seconds * taxonomy.get(self.class).max_speed_mps;
        // Nothing has moved the state since the first sighting: it was taken to stand.
        let [x, y] = self.kalman.position_m;
        let rough = super::world_xy(world_from_ego, candidate.ego_from_box());
        if (rough[0] - x).abs().max((rough[1] - y).abs()) > farthest_m + super::HALF_A_LORRY_M {
            return false;
        }
        let world = self.completed(candidate).transformed(world_from_ego);
        let way = [world.center_m.x - x, world.center_m.y - y];
        let length = way[0].hypot(way[1]);
        let yaw = world.yaw_rad();
        let along = (way[0] * yaw.cos() + way[1] * yaw.sin()).abs();
        seconds > 0.0
            && length <= farthest_m
            && along >= LEAST_ALIGNMENT * length
            && (candidate.height_m() - self.size_lwh_m[2]).abs() <= MAX_HEIGHT_STEP_M
    }

    /// Takes the second hit of something that drives: begun anew at the first one, with any speed of its class.
    fn drove_to(&mut self, sweep: usize, stamp_ns: i64, world_from_ego: &Pose, candidate: S, taxonomy: &Taxonomy) {
        let motion = kalman::Motion { speed_mps: taxonomy.get(self.class).max_speed_mps, ..kalman::Motion::of(self.kind) };
        self.kalman = Kalman::at(self.kalman.position_m, motion);
        self.stamp_ns = self.measured_ns;
        self.update(sweep, stamp_ns, world_from_ego, candidate, taxonomy);
    }
}
