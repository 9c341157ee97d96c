//! The whole scene: the street, who is on it, and where everything is at a time.

use std::sync::Arc;

use boxwright_model::Pose;
use nalgebra::{Point3, Vector3};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::actors::{Actor, Motion, Part};
use super::mesh::Mesh;
use super::road::{
    CROSSING_FIRST_M, CROSSING_SPACING_M, EGO_START_M, EgoDrive, LANE_CENTER_M, MARGIN_AHEAD_M, Road, distance_to_crossing_m,
};
use super::street::{self, Chunk};
use super::{people, vehicles};

/// Street, actors and the ego vehicle's drive. Nothing in it changes; every question carries its time in seconds since the start.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) road: Road,
    pub(super) ego: EgoDrive,
    chunks: Vec<Chunk>,
    pub(super) actors: Vec<Actor>,
}

/// Something with triangles that may be seen: a chunk of the street or a part of an actor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instance<'a> {
    pub(super) mesh: &'a Mesh,
    /// Number of the actor, zero for the street.
    pub(super) owner: u32,
    pub(super) casts_shadow: bool,
    place: Place<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Chunk(&'a Chunk),
    Part(&'a Actor, &'a Part),
}

impl Instance<'_> {
    /// Pose of the triangles in the world at a time.
    pub(super) fn world_from_body(&self, scene: &Scene, time_s: f64) -> Pose {
        match self.place {
            Place::Chunk(chunk) => chunk.world_from_chunk,
            Place::Part(actor, part) => {
                let world_from_actor = actor.world_from_actor(&scene.road, &scene.ego, time_s);
                if part.swing.is_some() { world_from_actor * Actor::actor_from_part(part, time_s) } else { world_from_actor }
            }
        }
    }

    /// Pose of what the body stands on: origin on the ground, z along its normal.
    pub(super) fn world_from_ground(&self, scene: &Scene, time_s: f64) -> Pose {
        match self.place {
            Place::Chunk(chunk) => chunk.world_from_chunk,
            Place::Part(actor, _) => actor.world_from_actor(&scene.road, &scene.ego, time_s),
        }
    }
}

impl Scene {
    /// The scene of a seed for a drive of `seconds`.
    pub(super) fn new(seed: u64, seconds: f64) -> Self {
        // Separate streams: one more tree must not change who walks by.
        let stream = |number: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(number);
            rng
        };
        let ego = EgoDrive::new(&mut stream(1));
        let length_m = ego.s_m(seconds) + MARGIN_AHEAD_M;
        let road = Road::new(&mut stream(2), length_m);
        let chunks = street::build(&road, &mut stream(3));
        let mut crowd = Crowd { road: &road, ego: &ego, seconds, actors: Vec::new(), rng: stream(4) };
        crowd.fill();
        let actors = crowd.actors;
        Self { road, ego, chunks, actors }
    }

    /// Pose of the ego vehicle at a time.
    pub(super) fn world_from_ego(&self, time_s: f64) -> Pose {
        self.ego.world_from_ego(&self.road, time_s)
    }

    /// Everything that comes within `range_m` of the ego vehicle around a time (a metre or two of movement is allowed for).
    pub(super) fn nearby(&self, time_s: f64, range_m: f64) -> Vec<Instance<'_>> {
        let eye = self.world_from_ego(time_s).translation.vector;
        let slack_m = 5.0;
        let mut found = Vec::new();
        for chunk in &self.chunks {
            let center = chunk.world_from_chunk * Point3::from(chunk.mesh.center.cast::<f64>());
            if (center.coords - eye).norm() < range_m + f64::from(chunk.mesh.radius_m) + slack_m {
                let casts_shadow = chunk.casts_shadow;
                found.push(Instance { mesh: &chunk.mesh, owner: 0, casts_shadow, place: Place::Chunk(chunk) });
            }
        }
        for actor in &self.actors {
            let center = actor.world_from_actor(&self.road, &self.ego, time_s).translation.vector;
            if (center - eye).norm() < range_m + actor.reach_m() + slack_m {
                for part in &actor.parts {
                    let place = Place::Part(actor, part);
                    found.push(Instance { mesh: &part.mesh, owner: actor.object_id, casts_shadow: true, place });
                }
            }
        }
        found
    }
}

/// Puts actors on a street one by one; who would run into somebody who is there already stays away.
struct Crowd<'a> {
    road: &'a Road,
    ego: &'a EgoDrive,
    seconds: f64,
    actors: Vec<Actor>,
    rng: ChaCha8Rng,
}

impl Crowd<'_> {
    fn fill(&mut self) {
        let class = |name: &str| Arc::<str>::from(name);
        let (car, truck, pedestrian, cyclist) = (class("car"), class("truck"), class("pedestrian"), class("cyclist"));
        self.parked(&car, &truck);
        self.convoy(&car, &truck);
        self.crossing(&pedestrian);
        self.oncoming(&car, &truck);
        for side in [-1.0, 1.0] {
            self.cyclists(&cyclist, side);
            self.walkers(&pedestrian, side);
        }
    }

    fn parked(&mut self, car: &Arc<str>, truck: &Arc<str>) {
        for side in [-1.0, 1.0] {
            let mut s_m = self.rng.random_range(4.0..9.0);
            while s_m < self.road.length_m() - 12.0 {
                let van = self.rng.random_bool(0.07);
                if self.rng.random_bool(0.74) && distance_to_crossing_m(s_m) > 8.5 {
                    let parts = if van { vehicles::van(&mut self.rng) } else { vehicles::car(&mut self.rng) };
                    let with_traffic = if side < 0.0 { 0.0 } else { std::f64::consts::PI };
                    let turned = if self.rng.random_bool(0.08) { std::f64::consts::PI } else { 0.0 };
                    let yaw_rad = with_traffic + turned + self.rng.random_range(-0.025..0.025);
                    let motion = Motion::Still { s_m, t_m: side * self.rng.random_range(5.88..6.08), yaw_rad };
                    self.try_add(Actor::new(if van { truck } else { car }, parts, motion, true));
                }
                s_m += self.rng.random_range(5.6..6.6) + if van { 0.9 } else { 0.0 };
            }
        }
    }

    /// A car and a box truck ahead in the ego vehicle's lane and a car behind it.
    fn convoy(&mut self, car: &Arc<str>, truck: &Arc<str>) {
        let gaps = [self.rng.random_range(27.0..32.0), self.rng.random_range(58.0..70.0), -self.rng.random_range(17.0..22.0)];
        for (index, gap_m) in gaps.into_iter().enumerate() {
            let motion = Motion::Convoy { gap_m, phase_rad: self.rng.random_range(0.0..std::f64::consts::TAU) };
            let (class, parts) =
                if index == 1 { (truck, vehicles::truck(&mut self.rng)) } else { (car, vehicles::car(&mut self.rng)) };
            self.try_add(Actor::new(class, parts, motion, true));
        }
    }

    /// People who cross at the zebra crossings that the ego vehicle comes near, when the lane is free.
    fn crossing(&mut self, pedestrian: &Arc<str>) {
        let end = self.ego.s_m(self.seconds) + 90.0;
        let first = ((EGO_START_M - 45.0 - CROSSING_FIRST_M) / CROSSING_SPACING_M).ceil();
        let mut place = CROSSING_FIRST_M + first * CROSSING_SPACING_M;
        while place < end {
            // When the ego vehicle is some way before the crossing; tries go on around that time.
            let cruise = (self.ego.s_m(self.seconds) - EGO_START_M) / self.seconds.max(1.0);
            let due_s = (place - 60.0 - EGO_START_M) / cruise.max(1.0);
            for _ in 0..2 {
                for _ in 0..24 {
                    let speed_mps = self.rng.random_range(1.25..1.75);
                    let start_s = due_s + self.rng.random_range(-7.0..5.0);
                    let side = if self.rng.random_bool(0.5) { 1.0 } else { -1.0 };
                    let from_t_m = side * self.rng.random_range(7.5..7.9);
                    let s_m = place + self.rng.random_range(-1.3..1.3);
                    let parts = people::pedestrian(&mut self.rng, speed_mps);
                    let motion = Motion::Crossing { s_m, from_t_m, speed_mps, start_s };
                    if self.try_add(Actor::new(pedestrian, parts, motion, false)) {
                        break;
                    }
                }
            }
            place += CROSSING_SPACING_M;
        }
    }

    fn oncoming(&mut self, car: &Arc<str>, truck: &Arc<str>) {
        let speed_mps: f64 = -self.rng.random_range(11.0..14.0);
        let mut s_m = EGO_START_M - 120.0;
        // Who meets the ego vehicle before the end starts no farther away than both of them drive.
        while s_m < self.road.length_m() + speed_mps.abs() * self.seconds {
            let pick = self.rng.random_range(0..10u8);
            let parts = match pick {
                0 => vehicles::truck(&mut self.rng),
                1 | 2 => vehicles::van(&mut self.rng),
                _ => vehicles::car(&mut self.rng),
            };
            let phase_rad = self.rng.random_range(0.0..std::f64::consts::TAU);
            let t_m = LANE_CENTER_M + self.rng.random_range(-0.15..0.15);
            let motion = Motion::Along { s_m, t_m, speed_mps, sway_m: self.rng.random_range(0.5..1.5), phase_rad };
            self.try_add(Actor::new(if pick < 3 { truck } else { car }, parts, motion, true));
            s_m += self.rng.random_range(24.0..58.0);
        }
    }

    fn cyclists(&mut self, cyclist: &Arc<str>, side: f64) {
        let mut s_m = EGO_START_M - 60.0 + self.rng.random_range(0.0..30.0);
        while s_m < self.road.length_m() + 20.0 {
            let speed_mps: f64 = -side * self.rng.random_range(3.8..6.2);
            let parts = people::cyclist(&mut self.rng, speed_mps.abs());
            let phase_rad = self.rng.random_range(0.0..std::f64::consts::TAU);
            let t_m = side * self.rng.random_range(3.95..4.25);
            let motion = Motion::Along { s_m, t_m, speed_mps, sway_m: 0.6, phase_rad };
            self.try_add(Actor::new(cyclist, parts, motion, false));
            s_m += self.rng.random_range(22.0..60.0);
        }
    }

    fn walkers(&mut self, pedestrian: &Arc<str>, side: f64) {
        let mut s_m = EGO_START_M - 130.0 + self.rng.random_range(0.0..15.0);
        while s_m < self.road.length_m() {
            let direction = if self.rng.random_bool(0.5) { 1.0 } else { -1.0 };
            let speed_mps: f64 = direction * self.rng.random_range(0.9..1.65);
            let standing = self.rng.random_bool(0.16);
            let t_m = side * self.rng.random_range(8.9..9.9);
            let company = if self.rng.random_bool(0.3) { 2 } else { 1 };
            for member in 0..company {
                let beside = f64::from(member) * self.rng.random_range(0.62..0.8);
                let parts = people::pedestrian(&mut self.rng, if standing { 0.0 } else { speed_mps.abs() });
                let motion = if standing {
                    let yaw_rad = self.rng.random_range(-std::f64::consts::PI..std::f64::consts::PI);
                    Motion::Still { s_m: s_m + beside, t_m, yaw_rad }
                } else {
                    let phase_rad = self.rng.random_range(0.0..std::f64::consts::TAU);
                    Motion::Along { s_m, t_m: t_m + side * beside, speed_mps, sway_m: 0.25, phase_rad }
                };
                self.try_add(Actor::new(pedestrian, parts, motion, false));
            }
            s_m += self.rng.random_range(6.0..21.0);
        }
    }

    /// Adds an actor unless it comes too close to another during the drive.
    fn try_add(&mut self, mut actor: Actor) -> bool {
        let free = !self.meets_ego(&actor) && !self.actors.iter().any(|other| self.meet(&actor, other));
        if free {
            actor.object_id = self.actors.len() as u32 + 1;
            actor.settle(self.road, self.ego);
            self.actors.push(actor);
        }
        free
    }

    /// Whether two things come nearer along the street than zero at a look that also finds them side by side. `look` gives the free
    /// distance along the street and whether their sides overlap; while they are far apart no look is needed until they could meet.
    fn collide(&self, closing_mps: f64, look: impl Fn(f64) -> (f64, bool)) -> bool {
        // A fifth of a second: two cars in opposite directions do not pass through each other between two looks.
        let step_s = 0.2;
        let steps = (self.seconds / step_s).ceil() as u64 + 1;
        let mut step = 0;
        while step <= steps {
            let (free_m, beside) = look(step as f64 * step_s);
            if free_m < 0.0 && beside {
                return true;
            }
            step += ((free_m / closing_mps / step_s) as u64).max(1);
        }
        false
    }

    fn meets_ego(&self, actor: &Actor) -> bool {
        let half = half_extent(actor);
        self.collide(top_speed_mps(&actor.motion) + EGO_TOP_MPS, |time_s| {
            let [s_m, t_m, _] = actor.motion.place(self.ego, time_s);
            // The ego vehicle reaches from 1 m behind its origin to 3.8 m before it, and keeps a distance.
            let ahead = s_m - (self.ego.s_m(time_s) + 1.4);
            (ahead.abs() - half.x - 2.4 - 2.5, (t_m + LANE_CENTER_M).abs() < half.y + 1.3)
        })
    }

    fn meet(&self, a: &Actor, b: &Actor) -> bool {
        if never_near(&a.motion, &b.motion, self.seconds) {
            return false;
        }
        let (half_a, half_b) = (half_extent(a), half_extent(b));
        let closing_mps = match (a.motion, b.motion) {
            // Both sway by at most half a metre per second and metre of sway.
            (Motion::Along { speed_mps: own, .. }, Motion::Along { speed_mps: other, .. }) => (own - other).abs() + 1.6,
            (own, other) => top_speed_mps(&own) + top_speed_mps(&other) + 0.1,
        };
        self.collide(closing_mps, |time_s| {
            let ([a_s, a_t, _], [b_s, b_t, _]) = (a.motion.place(self.ego, time_s), b.motion.place(self.ego, time_s));
            let gap_m = 0.3;
            ((a_s - b_s).abs() - half_a.x - half_b.x - gap_m, (a_t - b_t).abs() < half_a.y + half_b.y + gap_m * 0.5)
        })
    }
}

/// No faster does the ego vehicle go, its surge included.
const EGO_TOP_MPS: f64 = 13.0;

/// Highest speed along the street.
fn top_speed_mps(motion: &Motion) -> f64 {
    match *motion {
        Motion::Still { .. } | Motion::Crossing { .. } => 0.0,
        Motion::Along { speed_mps, sway_m, .. } => speed_mps.abs() + 0.5 * sway_m,
        // The gap breathes by 4 % with 0.6 radians per second.
        Motion::Convoy { gap_m, .. } => EGO_TOP_MPS + 0.024 * gap_m.abs(),
    }
}

/// Half the length and width that an actor takes along and across the street.
fn half_extent(actor: &Actor) -> Vector3<f64> {
    let half = actor.box_size_m / 2.0;
    if matches!(actor.motion, Motion::Crossing { .. }) { Vector3::new(half.y, half.x, half.z) } else { half }
}

/// A cheap look at lanes and speeds that settles most pairs.
fn never_near(a: &Motion, b: &Motion, seconds: f64) -> bool {
    let lane = |motion: &Motion| match *motion {
        Motion::Still { t_m, .. } | Motion::Along { t_m, .. } => Some(t_m),
        Motion::Convoy { .. } => Some(-LANE_CENTER_M),
        Motion::Crossing { .. } => None,
    };
    let way = |motion: &Motion| match *motion {
        Motion::Still { s_m, .. } | Motion::Crossing { s_m, .. } => Some((s_m, 0.0)),
        Motion::Along { s_m, speed_mps, .. } => Some((s_m, speed_mps)),
        Motion::Convoy { .. } => None,
    };
    if let (Some(a_t), Some(b_t)) = (lane(a), lane(b))
        && (a_t - b_t).abs() > 3.2
    {
        return true;
    }
    match (way(a), way(b)) {
        (Some((a_s, a_v)), Some((b_s, b_v))) => (a_s - b_s).abs() > (a_v - b_v).abs() * (seconds + 1.0) + 16.0,
        _ => false,
    }
}
