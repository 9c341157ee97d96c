//! Which detections are the same object: a causal tracker in the world frame.
//!
//! Constant-velocity Kalman filters, a gate, and a global assignment in two stages: sure detections first, then unsure ones for tracks that
//! are left (the two stages of `SimpleTrack`, Pang et al., 2021). A track is born tentative, confirmed after a number of hits, and coasts
//! unseen for a while (`ImmortalTracker`, Wang et al., 2021). Where an object would stand is measured from the sides that face the
//! lidar, with the size of the track's class, so that a change of view is no motion. What was seen before or after the stamp of its sweep is
//! compared with where the track was at that moment.

mod assign;

mod kalman;

mod join;

mod newborn;

mod seen;

pub mod sequence;

use std::sync::Arc;

use boxwright_model::time::NS_PER_S;
use boxwright_model::{ClassId, Cuboid, Pose, Taxonomy};
use serde::Deserialize;

use crate::carry::Mover;
use crate::classify::Kind;
use crate::cluster::Expected;
use crate::detect::Candidate;
pub use join::join_parts;
pub use kalman::Kalman;
pub use seen::{Seen, SeenBox};

/// Options of the [`Tracker`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackConfig {
    /// Detections at least this likely are matched first.
    pub high_score: f64,
    /// Detections at least this likely may start a track.
    pub birth_score: f64,
    /// Hits after which a track is confirmed.
    pub confirm_hits: u32,
    /// A confirmed track that is unseen for longer ends (seconds).
    pub max_coast_s: f64,
    /// A tentative track that is unseen for longer ends (seconds).
    pub tentative_coast_s: f64,
    /// Tracks that are parts of one are joined over gaps up to this (seconds); vehicles that stand, over any gap in which nothing drove through their place. 0: none are joined.
    pub max_join_s: f64,
    /// Farthest that a vehicle may be from where it was expected (metres). Where a vehicle that was seen once is expected is not known: see
    /// [`newborn`].
    pub vehicle_gate_m: f64,
    /// Farthest that a person or cyclist may be from where it was expected (metres).
    pub person_gate_m: f64,
}

impl Default for TrackConfig {
    fn default() -> Self {
        Self {
            high_score: 0.5,
            birth_score: 0.2,
            confirm_hits: 3,
            max_coast_s: 1.0,
            tentative_coast_s: 0.25,
            max_join_s: 2.0,
            vehicle_gate_m: 3.0,
            person_gate_m: 1.5,
        }
    }
}

/// Vehicles slower than this are no movers: within a sweep of 100 ms they move by less than their sides are known (m/s).
const MOVER_MPS: f64 = 3.0;

/// A vehicle that was not seen by itself for longer is not cut out any more (nanoseconds): a track must not feed on its own expectation.
const EXPECTED_NS: i64 = 300_000_000;

/// No completed centre of a part lies farther from another, plus the gate (metres).
const HALF_A_LORRY_M: f64 = 12.0;

/// Longest time over which a state is predicted at once (seconds): beyond, nothing is known of where a thing is.
const LONGEST_STEP_S: f64 = 5.0;

/// A detection in a sweep of the clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation<S = Candidate> {
    /// Number of the sweep within the clip.
    pub sweep: usize,
    /// What was seen.
    pub candidate: S,
}

/// One track as the tracker knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackHistory<S = Candidate> {
    /// Number within the clip, in order of birth.
    pub number: u32,
    /// Tracks of the tracker that it is made of ([`join_parts`]).
    pub parts: u32,
    /// What was seen, in order of sweeps.
    pub observations: Vec<Observation<S>>,
    /// Position and velocity in the world at `stamp_ns`.
    pub kalman: Kalman,
    /// Time of the state.
    pub stamp_ns: i64,
    /// Best class so far.
    pub class: ClassId,
    /// Heading in the world at the last hit.
    pub yaw_world_rad: f64,
    kind: Kind,
    size_lwh_m: [f64; 3],
    votes: Vec<f64>,
    /// Stamp of the sweep of the last hit.
    seen_ns: i64,
    /// Stamp of the last hit that was sure of itself and found without the help of this track.
    alone_ns: i64,
    /// When that hit was measured.
    measured_ns: i64,
}

/// Tracks of one clip, of the objects that the geometric stages find or of boxes that somebody else's detector gives.
#[derive(Clone, Debug)]
pub struct Tracker<S = Candidate> {
    config: TrackConfig,
    taxonomy: Arc<Taxonomy>,
    live: Vec<TrackHistory<S>>,
    ended: Vec<TrackHistory<S>>,
    next_number: u32,
}

impl<S: Seen> Tracker<S> {
    /// A tracker without tracks.
    #[must_use]
    pub fn new(config: TrackConfig, taxonomy: Arc<Taxonomy>) -> Self {
        Self { config, taxonomy, live: Vec::new(), ended: Vec::new(), next_number: 0 }
    }

    /// Takes the detections of sweep number `sweep`, which must rise from call to call.
    pub fn step(&mut self, sweep: usize, stamp_ns: i64, world_from_ego: &Pose, detections: Vec<S>) {
        for track in &mut self.live {
            track.predict(stamp_ns, &self.taxonomy);
        }
        let high: Vec<bool> = detections.iter().map(|d| d.score() >= self.config.high_score).collect();
        let mut open: Vec<Option<S>> = detections.into_iter().map(Some).collect();
        let mut hit = vec![false; self.live.len()];
        for sure in [true, false] {
            let usable: Vec<usize> = (0..open.len()).filter(|i| high[*i] == sure).collect();
            self.associate(sweep, stamp_ns, world_from_ego, &usable, &mut open, &mut hit);
        }
        self.join_newborn(sweep, stamp_ns, world_from_ego, &mut open, &hit);
        self.end_unseen(stamp_ns);
        for candidate in open.into_iter().flatten().filter(|candidate| candidate.score() >= self.config.birth_score) {
            self.live.push(TrackHistory::born(self.next_number, sweep, stamp_ns, world_from_ego, candidate, &self.taxonomy));
            self.next_number += 1;
        }
    }

    fn associate(
        &mut self,
        sweep: usize,
        stamp_ns: i64,
        world_from_ego: &Pose,
        usable: &[usize],
        open: &mut [Option<S>],
        hit: &mut [bool],
    ) {
        let mut edges = Vec::new();
        for (track_index, track) in self.live.iter().enumerate().filter(|(index, _)| !hit[*index]) {
            for index in usable {
                let Some(candidate) = &open[*index] else { continue };
                if let Some(cost) = self.cost(track, candidate, world_from_ego) {
                    edges.push(assign::Edge { left: track_index, right: *index, cost });
                }
            }
        }
        for (track_index, index) in assign::assign(&edges) {
            if let Some(candidate) = open[index].take() {
                hit[track_index] = true;
                self.live[track_index].update(sweep, stamp_ns, world_from_ego, candidate, &self.taxonomy);
            }
        }
    }

    /// Squared distance in standard deviations, plus what speaks against it; `None` outside the gate.
    fn cost(&self, track: &TrackHistory<S>, candidate: &S, world_from_ego: &Pose) -> Option<f64> {
        let [px, py] = track.kalman.position_m;
        let rough = world_xy(world_from_ego, candidate.ego_from_box());
        // Cheap test first.
        if (rough[0] - px).abs() > HALF_A_LORRY_M || (rough[1] - py).abs() > HALF_A_LORRY_M {
            return None;
        }
        let kind = Kind::of(self.taxonomy.get(track.class));
        let other = Kind::of(self.taxonomy.get(candidate.class()));
        let center = track.measure(candidate, world_from_ego);
        let expected = track.kalman_after(candidate.after_ns(), kind);
        let [px, py] = expected.position_m;
        let distance = (center[0] - px).hypot(center[1] - py);
        let sigma = expected.sigma_m();
        let limit = if kind == Kind::Vehicle { self.config.vehicle_gate_m } else { self.config.person_gate_m };
        if distance > limit.min(0.6 + 3.0 * sigma) {
            return None;
        }
        let stranger = if kind.same_group(other) { 0.0 } else { 3.0 };
        let height = (candidate.height_m() - track.size_lwh_m[2]).abs();
        Some((distance / (0.3 + sigma)).powi(2) + stranger + height)
    }

    fn end_unseen(&mut self, stamp_ns: i64) {
        let config = &self.config;
        let (kept, ended): (Vec<_>, Vec<_>) = self.live.drain(..).partition(|track| {
            let unseen_s = (stamp_ns - track.seen_ns) as f64 / NS_PER_S as f64;
            unseen_s <= if track.confirmed(config.confirm_hits) { config.max_coast_s } else { config.tentative_coast_s }
        });
        self.live = kept;
        self.ended.extend(ended.into_iter().filter(|track| track.confirmed(config.confirm_hits)));
    }

    /// The confirmed vehicles that move, as they are expected at a time: their points may be carried there.
    #[must_use]
    pub fn movers(&self, stamp_ns: i64, world_from_ego: &Pose) -> Vec<Mover> {
        let ego_from_world = world_from_ego.inverse();
        let quick = |kalman: &Kalman| kalman.speed_mps() >= MOVER_MPS;
        self.confirmed()
            .filter(|track| track.kind == Kind::Vehicle && quick(&track.kalman))
            .map(|track| {
                let kalman = track.kalman_after(stamp_ns.saturating_sub(track.stamp_ns), track.kind);
                let [vx, vy] = kalman.velocity_mps;
                let velocity = ego_from_world.rotation * nalgebra::Vector3::new(vx, vy, 0.0);
                let [x, y] = kalman.position_m;
                // Flat about the vehicle: a track knows no height.
                let z = world_from_ego.translation.z;
                let world_from_box = Cuboid::upright([x, y, z].into(), track.size_lwh_m.into(), track.yaw_world_rad);
                Mover { ego_from_box: world_from_box.transformed(&ego_from_world), velocity_mps: [velocity.x, velocity.y] }
            })
            .collect()
    }

    /// The confirmed vehicles that were seen a moment ago, as they are expected at a time: what hangs together with them may be cut off.
    #[must_use]
    pub fn expected(&self, stamp_ns: i64, world_from_ego: &Pose) -> Vec<Expected> {
        let ego_from_world = world_from_ego.inverse();
        let lately = |track: &&TrackHistory<S>| stamp_ns.saturating_sub(track.alone_ns) <= EXPECTED_NS;
        let vehicles = self.confirmed().filter(|track| track.kind == Kind::Vehicle).filter(lately);
        let expect = |track: &TrackHistory<S>| {
            let last_points = track.observations.last()?.candidate.num_points();
            let mut world_from_box = track.world_from_box(stamp_ns);
            // Flat about the vehicle: a track knows no height.
            world_from_box.center_m.z = world_from_ego.translation.z;
            Some(Expected { ego_from_box: world_from_box.transformed(&ego_from_world), last_points })
        };
        vehicles.filter_map(expect).collect()
    }

    /// The confirmed tracks that are alive.
    pub fn confirmed(&self) -> impl Iterator<Item = &TrackHistory<S>> {
        self.live.iter().filter(|track| track.confirmed(self.config.confirm_hits))
    }

    /// Every track that was ever confirmed, in order of birth, with the hits from before it was.
    #[must_use]
    pub fn finish(mut self) -> Vec<TrackHistory<S>> {
        let hits = self.config.confirm_hits;
        self.ended.extend(self.live.drain(..).filter(|track| track.confirmed(hits)));
        self.ended.sort_by_key(|track| track.number);
        self.ended
    }
}

impl<S: Seen> TrackHistory<S> {
    fn born(number: u32, sweep: usize, stamp_ns: i64, world_from_ego: &Pose, candidate: S, taxonomy: &Taxonomy) -> Self {
        let kind = Kind::of(taxonomy.get(candidate.class()));
        let world = candidate.ego_from_box().transformed(world_from_ego);
        let mut track = Self {
            number,
            parts: 1,
            observations: Vec::new(),
            kalman: Kalman::at([world.center_m.x, world.center_m.y], kalman::Motion::of(kind)),
            stamp_ns: stamp_ns.saturating_add(candidate.after_ns()),
            class: candidate.class(),
            yaw_world_rad: world.yaw_rad(),
            kind,
            size_lwh_m: taxonomy.get(candidate.class()).prior_lwh_m,
            votes: Vec::new(),
            seen_ns: stamp_ns,
            alone_ns: i64::MIN,
            measured_ns: stamp_ns.saturating_add(candidate.after_ns()),
        };
        track.keep(sweep, candidate, taxonomy);
        track
    }

    /// Whether it has had enough hits to be shown.
    #[must_use]
    pub fn confirmed(&self, hits: u32) -> bool {
        self.observations.len() >= hits as usize
    }

    fn predict(&mut self, stamp_ns: i64, taxonomy: &Taxonomy) {
        let kind = Kind::of(taxonomy.get(self.class));
        self.kalman = self.kalman_after(stamp_ns.saturating_sub(self.stamp_ns), kind);
        self.stamp_ns = stamp_ns;
    }

    /// The state some time after that of [`Self::kalman`], or before.
    fn kalman_after(&self, after_ns: i64, kind: Kind) -> Kalman {
        let mut kalman = self.kalman;
        let seconds = (after_ns as f64 / NS_PER_S as f64).clamp(-LONGEST_STEP_S, LONGEST_STEP_S);
        kalman.predict(seconds, kalman::Motion::of(kind));
        kalman
    }

    /// Where the candidate would stand if it had this track's class and size.
    fn measure(&self, candidate: &S, world_from_ego: &Pose) -> [f64; 2] {
        world_xy(world_from_ego, &self.completed(candidate))
    }

    fn completed(&self, candidate: &S) -> Cuboid {
        candidate.whole(self.class, self.kind, self.size_lwh_m)
    }

    /// Takes a hit; the state is then that of the moment at which it was measured.
    fn update(&mut self, sweep: usize, stamp_ns: i64, world_from_ego: &Pose, candidate: S, taxonomy: &Taxonomy) {
        let world = self.completed(&candidate).transformed(world_from_ego);
        let measured_ns = stamp_ns.saturating_add(candidate.after_ns());
        self.predict(measured_ns, taxonomy);
        self.kalman.update([world.center_m.x, world.center_m.y], candidate.sigma_m());
        self.yaw_world_rad = world.yaw_rad();
        (self.seen_ns, self.measured_ns) = (stamp_ns, measured_ns);
        if candidate.is_sure_alone() {
            self.alone_ns = stamp_ns;
        }
        self.keep(sweep, candidate, taxonomy);
    }

    fn keep(&mut self, sweep: usize, candidate: S, taxonomy: &Taxonomy) {
        self.class = candidate.vote(&mut self.votes);
        let class = taxonomy.get(self.class);
        self.kind = Kind::of(class);
        self.size_lwh_m = candidate.whole_size(class);
        self.observations.push(Observation { sweep, candidate });
    }

    /// The whole object at a time near that of the state, world frame.
    #[must_use]
    pub fn world_from_box(&self, stamp_ns: i64) -> Cuboid {
        let [x, y] = self.kalman_after(stamp_ns.saturating_sub(self.stamp_ns), self.kind).position_m;
        Cuboid::upright([x, y, 0.0].into(), self.size_lwh_m.into(), self.yaw_world_rad)
    }

    /// Number of the sweep of the last hit.
    #[must_use]
    pub fn last_sweep(&self) -> Option<usize> {
        self.observations.last().map(|observation| observation.sweep)
    }
}

fn world_xy(world_from_ego: &Pose, ego_from_box: &Cuboid) -> [f64; 2] {
    let center = world_from_ego * nalgebra::Point3::from(ego_from_box.center_m);
    [center.x, center.y]
}

#[cfg(test)]
mod tests;
