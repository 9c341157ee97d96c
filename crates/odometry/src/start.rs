//! The second sweep. Nothing says how fast the vehicle is, and a clip begins anywhere on a motorway: ICP from standstill would settle for
//! the nearest lamp post. So the registration begins from several speeds straight ahead, and the one that puts most structure on the map
//! is gone on with. Then the first sweep, which was taken as if from standstill, is taken again with the twist that was found.

use boxwright_model::{PointCloud, Pose};

use crate::believe::{self, Doubt, NEAR_PART};
use crate::register::{Fit, Overlap, Reach, align, overlap};
use crate::screw::Twist;
use crate::threshold::FIRST_SIGMA_M;
use crate::{Last, Odometry, Unplaced, reach};

/// Distance between the guesses along the road (metres): within it ICP finds the way from either side.
const STEP_M: f64 = 1.0;

/// Steps of each guess: enough to tell which one is right.
const GUESS_ITERATIONS: usize = 12;

/// How often the first sweep is taken again. The second time moves it by millimetres.
const ROUNDS: usize = 2;

impl Odometry {
    /// Places the second sweep on the first.
    pub(crate) fn start(
        &mut self,
        last: &Last,
        first: &PointCloud,
        stamp_ns: i64,
        points: &PointCloud,
        is_deskewed: bool,
        seconds: f64,
    ) -> Result<Pose, Unplaced> {
        self.prepared.take(&self.config, points, None);
        believe::enough(&self.prepared.key_points)?;
        let guess = self.fastest_guess(&last.world_from_ego, seconds).ok_or(Unplaced::NoSolution)?;
        let doubt_of = |config| Doubt { config, seconds };
        let mut fit = self.refine(&guess)?;
        let mut twist = Twist::between(&last.world_from_ego.inv_mul(&fit.world_from_ego), seconds);
        let rounds = if !is_deskewed && first.time_offset_ns.is_some() { ROUNDS } else { 0 };
        let as_if_still = self.map.clone();
        for _ in 0..rounds {
            self.retake_first(last, first, &twist);
            self.prepared.take(&self.config, points, Some(&twist));
            match self.refine(&fit.world_from_ego) {
                Ok(better) => fit = better,
                Err(error) => {
                    self.map = as_if_still;
                    return Err(error);
                }
            }
            twist = Twist::between(&last.world_from_ego.inv_mul(&fit.world_from_ego), seconds);
        }
        let believed = doubt_of(&self.config)
            .speed(&twist)
            .and_then(|()| doubt_of(&self.config).overlap(&self.prepared.key_points, &self.map, &fit.world_from_ego));
        if let Err(reason) = believed {
            self.map = as_if_still;
            return Err(reason);
        }
        self.accept(stamp_ns, &fit, twist);
        Ok(fit.world_from_ego)
    }

    /// The pose that most of the structure agrees with, from guesses between backwards at walking pace and the greatest speed.
    fn fastest_guess(&self, from: &Pose, seconds: f64) -> Option<Pose> {
        let most = (self.config.max_speed_mps * seconds / STEP_M).ceil().min(f64::from(MOST_GUESSES)) as i32;
        let reach = Reach { max_iterations: GUESS_ITERATIONS, ..reach(STEP_M) };
        let mut best: Option<(Overlap, Pose)> = None;
        // From standstill outwards: of equals the slower counts.
        for step in (0..=most).chain([-1]) {
            let guess = from * Pose::translation(f64::from(step) * STEP_M, 0.0, 0.0);
            let Some(fit) = align(&self.prepared.key_points, &self.map, &guess, &reach) else { continue };
            let known = overlap(&self.prepared.key_points, &self.map, &fit.world_from_ego, NEAR_PART * self.config.voxel_m);
            if best.is_none_or(|(so_far, _)| known.near > so_far.near) {
                best = Some((known, fit.world_from_ego));
            }
        }
        best.map(|(_, pose)| pose)
    }

    fn refine(&self, guess: &Pose) -> Result<Fit, Unplaced> {
        align(&self.prepared.key_points, &self.map, guess, &reach(FIRST_SIGMA_M / 2.0)).ok_or(Unplaced::NoSolution)
    }

    /// Makes the map anew from the first sweep, freed from a motion that is known now.
    fn retake_first(&mut self, last: &Last, first: &PointCloud, twist: &Twist) {
        self.prepared.take(&self.config, first, Some(twist));
        self.map.clear();
        for point in &self.prepared.for_map {
            self.map.add(&(last.world_from_ego * nalgebra::Point3::from(point.map(f64::from))));
        }
    }
}

/// Most guesses: 70 m/s at five sweeps a second.
const MOST_GUESSES: i32 = 14;
