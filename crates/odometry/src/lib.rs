//! The vehicle's own motion from its lidar alone: point-to-point ICP against a local map (KISS-ICP: Vizzo et al., *In Defense of
//! Point-to-Point ICP*, arXiv 2209.15397), for drives that bring no poses.
//!
//! Nothing here does I/O, starts a thread or reads a clock, and no hash table is walked: the same sweeps give the same poses, bit for bit.
//! Where the answer would be a guess there is none: [`Odometry::sweep`] gives a pose or the reason why not.
//!
//! ```text
//! sweep ─▶ range, constant twist, two voxel grids ─▶ ICP from the predicted pose ─▶ is it believable? ─▶ pose, map, twist, threshold
//! ```
//!
//! Read in this order: [`Odometry::sweep`], then `prepare`, `register`, `voxels`, `threshold`, `believe`, `start`, `screw`.
//!
//! **Memory** is bounded whatever comes: the map by 131,072 voxels of 20 points (33 MB; a street takes a quarter), a sweep by
//! itself, and nothing is kept of the past but the last pose and twist.

use boxwright_model::time::NS_PER_S;
use boxwright_model::{PointCloud, Pose};
use serde::Deserialize;

use self::believe::Doubt;
use self::prepare::Prepared;
use self::register::{Reach, align};
use self::screw::Twist;
use self::threshold::{LOST_SIGMA_M, Threshold};
use self::voxels::VoxelMap;

mod prepare;

mod register;

mod voxels;

mod threshold;

mod believe;

mod start;

mod screw;

#[cfg(test)]
mod tests;

/// How far from where it began a vehicle may get (metres) before its poses end: half of what the cells of the finest map can name.
pub const MAX_COORDINATE_M: f64 = 100_000_000.0;

/// Most Gauss-Newton steps of a sweep. On real drives 14 in the median and 29 at most; one that needs more is not getting there.
const MAX_ITERATIONS: usize = 60;

/// Options of the odometry.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OdometryConfig {
    /// Side of a voxel of the local map (metres).
    pub voxel_m: f64,
    /// Points farther from the ego frame's origin are not looked at, and the map reaches as far (metres).
    pub max_range_m: f64,
    /// Points nearer are not looked at (metres): the vehicle sees itself there, and it always stands still.
    pub min_range_m: f64,
    /// A pose that needs a higher speed is not believed (metres per second).
    pub max_speed_mps: f64,
    /// A pose that differs from the constant velocity by more than this acceleration makes is not believed (metres per second squared).
    pub max_acceleration_mps2: f64,
    /// A pose is believed where at least this share of the structure in the sweep lies on the map (0 to 1).
    pub min_overlap: f64,
    /// Seconds without a believable pose after which the odometry ends.
    pub give_up_s: f64,
}

impl Default for OdometryConfig {
    fn default() -> Self {
        Self {
            voxel_m: 1.0,
            max_range_m: 100.0,
            min_range_m: 2.5,
            max_speed_mps: 70.0,
            max_acceleration_mps2: 20.0,
            min_overlap: 0.5,
            give_up_s: 3.0,
        }
    }
}

/// An option out of range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name}: expected {least} to {most}, got {value}\nhint: `boxwright config default` says what it is for")]
pub struct OdometryConfigError {
    name: &'static str,
    least: f64,
    most: f64,
    value: f64,
}

impl OdometryConfig {
    /// Checks every option.
    ///
    /// # Errors
    /// Names the first option that is out of range.
    pub fn validate(&self) -> Result<(), OdometryConfigError> {
        let ranges = [
            // Finer voxels than a decimetre hold no more points than a beam leaves there; coarser ones than 5 m see no cars.
            ("voxel_m", self.voxel_m, 0.1, 5.0),
            ("max_range_m", self.max_range_m, 5.0, 500.0),
            ("min_range_m", self.min_range_m, 0.0, 50.0),
            ("max_speed_mps", self.max_speed_mps, 1.0, 200.0),
            ("max_acceleration_mps2", self.max_acceleration_mps2, 1.0, 1000.0),
            ("min_overlap", self.min_overlap, 0.0, 1.0),
            ("give_up_s", self.give_up_s, 0.1, 60.0),
        ];
        // False for what is not a number.
        match ranges.into_iter().find(|(_, value, least, most)| !(least <= value && value <= most)) {
            Some((name, value, least, most)) => Err(OdometryConfigError { name, least, most, value }),
            None if self.min_range_m >= self.max_range_m => {
                Err(OdometryConfigError { name: "min_range_m", least: 0.0, most: self.max_range_m, value: self.min_range_m })
            }
            None => Ok(()),
        }
    }
}

/// Why a sweep has no pose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unplaced {
    /// Its stamp is not after that of the sweep before.
    NotNewer,
    /// Too few points to say anything: an empty, masked or broken sweep.
    TooFewPoints {
        /// Key points that it has.
        found: usize,
        /// Key points that are needed.
        needed: usize,
    },
    /// Too little stands up from the ground: a plain or a wall of fog.
    TooLittleStructure {
        /// Key points of structure.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// What it sees is not what was there: another place, or poses lost for long.
    NoOverlap {
        /// Share of its structure that lies on the map.
        share: f64,
        /// The least that is believed.
        needed: f64,
    },
    /// It would need a motion that no vehicle makes.
    Jump {
        /// Distance from where the constant velocity leads (metres).
        off_m: f64,
        /// The farthest that is believed (metres).
        most_m: f64,
        /// The same of the turn (radians).
        off_rad: f64,
        /// The most that is believed (radians).
        most_rad: f64,
    },
    /// The registration found no solution.
    NoSolution,
    /// No sweep could be placed for so long that the odometry has ended.
    GaveUp,
}

impl Unplaced {
    /// One phrase with both sides of the comparison.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::NotNewer => "its stamp is not after the one before".to_owned(),
            Self::TooFewPoints { found, needed } => format!("expected at least {needed} key points, got {found}"),
            Self::TooLittleStructure { found, needed } => {
                format!("expected at least {needed} key points that stand up from the ground, got {found}")
            }
            Self::NoOverlap { share, needed } => {
                format!("expected {:.0} % of its structure where it was before, got {:.0} %", 100.0 * needed, 100.0 * share)
            }
            Self::Jump { off_m, most_m, off_rad, most_rad } => format!(
                "expected a motion within {most_m:.2} m and {:.1} degrees of the constant one, got {off_m:.2} m and {:.1} degrees",
                most_rad.to_degrees(),
                off_rad.to_degrees()
            ),
            Self::NoSolution => "the registration has no solution".to_owned(),
            Self::GaveUp => "no sweep could be placed for too long".to_owned(),
        }
    }

    /// A name for values and counters.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotNewer => "not_newer",
            Self::TooFewPoints { .. } => "too_few_points",
            Self::TooLittleStructure { .. } => "too_little_structure",
            Self::NoOverlap { .. } => "no_overlap",
            Self::Jump { .. } => "jump",
            Self::NoSolution => "no_solution",
            Self::GaveUp => "gave_up",
        }
    }
}

/// The last sweep that has a pose.
#[derive(Clone, Debug)]
struct Last {
    stamp_ns: i64,
    world_from_ego: Pose,
    twist: Twist,
}

/// What is kept of the first sweep until the second has told how fast the vehicle was.
#[derive(Clone, Debug)]
struct First {
    /// Key points that stand up.
    structure: usize,
    /// The sweep as it was measured, where its points have times by which the motion can be taken out.
    skewed: Option<PointCloud>,
}

/// Follows one vehicle. The world is the ego frame at the first sweep.
#[derive(Clone, Debug)]
pub struct Odometry {
    config: OdometryConfig,
    map: VoxelMap,
    threshold: Threshold,
    last: Option<Last>,
    first: Option<First>,
    is_lost: bool,
    has_given_up: bool,
    prepared: Prepared,
}

impl Odometry {
    /// An odometry that has seen nothing. The configuration is taken as it is: see [`OdometryConfig::validate`].
    #[must_use]
    pub fn new(config: &OdometryConfig) -> Self {
        Self {
            config: config.clone(),
            map: VoxelMap::new(config.voxel_m, config.max_range_m),
            threshold: Threshold::new(config.max_range_m),
            last: None,
            first: None,
            is_lost: false,
            has_given_up: false,
            prepared: Prepared::default(),
        }
    }

    /// Whether the last sweep could not be placed.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Takes the next sweep, its points in the ego frame, and says where the vehicle was at `stamp_ns`: `world_from_ego`, where the world
    /// is the ego frame of the first sweep that was placed. `is_deskewed` tells that the vehicle's motion is out of the points already;
    /// otherwise it is taken out by the constant twist where the points have times of their own.
    ///
    /// # Errors
    /// With the reason why there is no pose that can be believed. A sweep that is not placed changes nothing but [`Self::is_lost`]; later
    /// ones are searched farther about where the motion leads, until [`OdometryConfig::give_up_s`] have passed.
    pub fn sweep(&mut self, stamp_ns: i64, points_in_ego: &PointCloud, is_deskewed: bool) -> Result<Pose, Unplaced> {
        let placed = self.place(stamp_ns, points_in_ego, is_deskewed);
        // A sweep with the stamp of the one before says nothing of where the vehicle is.
        if !matches!(placed, Err(Unplaced::NotNewer)) {
            self.is_lost = placed.is_err();
        }
        placed
    }

    fn place(&mut self, stamp_ns: i64, points: &PointCloud, is_deskewed: bool) -> Result<Pose, Unplaced> {
        if self.has_given_up {
            return Err(Unplaced::GaveUp);
        }
        let Some(last) = self.last.clone() else { return self.begin(stamp_ns, points, is_deskewed) };
        if stamp_ns <= last.stamp_ns {
            return Err(Unplaced::NotNewer);
        }
        let seconds = stamp_ns.saturating_sub(last.stamp_ns) as f64 / NS_PER_S as f64;
        if seconds > self.config.give_up_s {
            self.give_up();
            return Err(Unplaced::GaveUp);
        }
        if let Some(first) = self.first.take() {
            return match self.start(&last, &first, stamp_ns, points, seconds) {
                Ok(pose) => Ok(pose),
                Err(reason) => {
                    self.first = Some(first);
                    Err(reason)
                }
            };
        }
        self.prepared.take(&self.config, points, (!is_deskewed).then_some(&last.twist));
        believe::enough(&self.prepared.key_points)?;
        let predicted = last.world_from_ego * last.twist.after(seconds);
        let sigma_m = if self.is_lost { LOST_SIGMA_M } else { self.threshold.sigma_m() };
        let found = align(&self.prepared.key_points, &self.map, &predicted, &reach(sigma_m)).ok_or(Unplaced::NoSolution)?;
        let motion = last.world_from_ego.inv_mul(&found);
        let doubt = Doubt { config: &self.config, seconds };
        doubt.speed(&Twist::between(&motion, seconds))?;
        doubt.deviation(&predicted.inv_mul(&found))?;
        doubt.overlap(&self.prepared.key_points, &self.map, &found, usize::MAX)?;
        if !self.is_lost {
            self.threshold.note(&predicted.inv_mul(&found));
        }
        self.accept(stamp_ns, &found, Twist::between(&motion, seconds));
        Ok(found)
    }

    /// The first sweep: the world is where it is.
    fn begin(&mut self, stamp_ns: i64, points: &PointCloud, is_deskewed: bool) -> Result<Pose, Unplaced> {
        self.prepared.take(&self.config, points, None);
        believe::enough(&self.prepared.key_points)?;
        let is_skewed = !is_deskewed && points.time_offset_ns.is_some();
        let structure = believe::structure(&self.prepared.key_points);
        self.first = Some(First { structure, skewed: is_skewed.then(|| points.clone()) });
        self.accept(stamp_ns, &Pose::identity(), Twist::ZERO);
        Ok(Pose::identity())
    }

    /// Puts the prepared sweep into the map at its pose.
    fn accept(&mut self, stamp_ns: i64, world_from_ego: &Pose, twist: Twist) {
        for point in &self.prepared.for_map {
            self.map.add(&(world_from_ego * nalgebra::Point3::from(point.map(f64::from))));
        }
        self.map.cut(&world_from_ego.translation.vector);
        self.last = Some(Last { stamp_ns, world_from_ego: *world_from_ego, twist });
    }

    /// Nothing that follows can be placed: what it would be placed on is let go.
    fn give_up(&mut self) {
        self.has_given_up = true;
        self.first = None;
        self.map.clear();
        self.prepared = Prepared::default();
    }
}

fn reach(sigma_m: f64) -> Reach {
    Reach { max_distance_m: 3.0 * sigma_m, kernel_m: sigma_m.sqrt(), max_iterations: MAX_ITERATIONS }
}
