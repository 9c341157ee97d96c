//! The second sweep. Nothing says how fast the vehicle is, and a clip begins anywhere on a motorway: ICP from standstill would settle for
//! the nearest lamp post. So the registration begins from several speeds straight ahead, and the one that puts most structure on the map
//! is gone on with. Then the first sweep, which was taken as if from standstill, is taken again with the twist that was found.

use boxwright_model::{PointCloud, Pose};
use nalgebra::Point3;

use crate::believe::{self, Doubt};
use crate::register::{KeyPoint, Reach, align, overlap};
use crate::screw::Twist;
use crate::{First, Last, Odometry, Unplaced, reach};

/// Distance between the guesses along the road (metres): within it ICP finds the way from either side.
const STEP_M: f64 = 1.0;

/// Most guesses: 70 m/s at five sweeps a second.
const MOST_GUESSES: f64 = 14.0;

/// Steps of each guess, and which part of the key points it takes: enough to tell which one is right.
const GUESS_ITERATIONS: usize = 12;
const GUESS_EVERY: usize = 3;

/// How near counts when guesses are compared, as a part of the side of a voxel: finer than for belief, because all of them fit roughly.
const GUESS_NEAR_PART: f64 = 0.2;

/// Scales of the registration, one after the other (metres).
const SIGMAS_M: [f64; 3] = [1.0, 0.3, 0.1];

/// How often the first sweep is taken again. The second time moves it by millimetres.
const ROUNDS: usize = 2;

impl Odometry {
    /// Places the second sweep on the first; where it cannot be placed, the map stays that of the first.
    pub(crate) fn start(
        &mut self,
        last: &Last,
        first: &First,
        stamp_ns: i64,
        points: &PointCloud,
        seconds: f64,
    ) -> Result<Pose, Unplaced> {
        let as_if_still = self.map.clone();
        match self.place_second(last, first, points, seconds) {
            Ok((found, twist)) => {
                self.accept(stamp_ns, &found, twist);
                Ok(found)
            }
            Err(reason) => {
                self.map = as_if_still;
                Err(reason)
            }
        }
    }

    fn place_second(&mut self, last: &Last, first: &First, points: &PointCloud, seconds: f64) -> Result<(Pose, Twist), Unplaced> {
        let twist_to = |found: &Pose| Twist::between(&last.world_from_ego.inv_mul(found), seconds);
        self.prepared.take(&self.config, points, None);
        believe::enough(&self.prepared.key_points)?;
        let guess = self.best_guess(&last.world_from_ego, seconds).ok_or(Unplaced::NoSolution)?;
        let mut found = self.refine(&guess)?;
        if let Some(skewed) = &first.skewed {
            for _ in 0..ROUNDS {
                let twist = twist_to(&found);
                self.retake_first(last, skewed, &twist);
                self.prepared.take(&self.config, points, Some(&twist));
                found = self.refine(&found)?;
            }
        }
        let doubt = Doubt { config: &self.config, seconds };
        doubt.speed(&twist_to(&found))?;
        doubt.overlap(&self.prepared.key_points, &self.map, &found, first.structure)?;
        Ok((found, twist_to(&found)))
    }

    /// The pose that most of the structure agrees with, from guesses between a metre back and the greatest speed ahead.
    fn best_guess(&self, from: &Pose, seconds: f64) -> Option<Pose> {
        let ahead = (self.config.max_speed_mps * seconds / STEP_M).ceil().min(MOST_GUESSES) as i32;
        let reach = Reach { max_iterations: GUESS_ITERATIONS, ..reach(STEP_M) };
        let some: Vec<KeyPoint> = self.prepared.key_points.iter().step_by(GUESS_EVERY).copied().collect();
        let mut best: Option<(usize, Pose)> = None;
        // From standstill outwards: of equals the slower counts.
        for step in (0..=ahead).chain([-1]) {
            let guess = from * Pose::translation(f64::from(step) * STEP_M, 0.0, 0.0);
            let Some(found) = align(&some, &self.map, &guess, &reach) else { continue };
            let near = overlap(&some, &self.map, &found, GUESS_NEAR_PART * self.config.voxel_m).near;
            if best.is_none_or(|(most, _)| near > most) {
                best = Some((near, found));
            }
        }
        best.map(|(_, pose)| pose)
    }

    /// From coarse to fine: what is far off pulls first and counts for nothing in the end.
    fn refine(&self, guess: &Pose) -> Result<Pose, Unplaced> {
        let finer = |pose, sigma_m: &f64| align(&self.prepared.key_points, &self.map, &pose, &reach(*sigma_m));
        SIGMAS_M.iter().try_fold(*guess, finer).ok_or(Unplaced::NoSolution)
    }

    /// Makes the map anew from the first sweep, freed from a motion that is known now.
    fn retake_first(&mut self, last: &Last, skewed: &PointCloud, twist: &Twist) {
        self.prepared.take(&self.config, skewed, Some(twist));
        self.map.clear();
        for point in &self.prepared.for_map {
            self.map.add(&(last.world_from_ego * Point3::from(point.map(f64::from))));
        }
    }
}
