//! When each point of a sweep was measured, where the sensor does not say: from its azimuth.
//!
//! # Convention
//! Points are in the sensor's own frame (x forward, y left, z up), before any mounting is applied. The azimuth is `atan2(y, x)`: 0 ahead,
//! growing counter-clockwise seen from above. A sweep begins at `start_azimuth_rad`, goes once around in `sweep_ns` at an even rate, and
//! ends there. A point that lies the angle `a` after the start, along the spin, was measured `a / 2π * sweep_ns` after the first firing.
//!
//! What this cannot know: a point within the noise of the start may belong to the other end of the sweep. Sensors are cut where nothing is
//! measured, or behind the vehicle; with a cut in the field of view, per-point times are needed.

use std::f64::consts::TAU;

use boxwright_model::space::wrap_rad;
use boxwright_model::{PointCloud, StampRef};
use serde::Deserialize;

/// Steps from point to point that must agree before a direction is believed.
const MIN_VOTES: usize = 100;
/// Share of them that must agree: the rest is noise and the steps from one ring to the next.
const MIN_SHARE: f64 = 0.95;
/// Larger steps are not those of a spin (half a degree is coarse), but the way to another ring or over a hole.
const MAX_STEP_RAD: f64 = 0.1;
/// Smaller steps are points of one firing, apart by noise.
const MIN_STEP_RAD: f64 = 1e-5;
/// Points nearer to the axis have no azimuth worth the name.
const MIN_RANGE_M: f64 = 0.5;

/// Which way a lidar turns, seen from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpinDirection {
    /// Azimuths fall, as Velodyne, Hesai and Ouster turn.
    Clockwise,
    /// Azimuths grow.
    CounterClockwise,
}

/// How a lidar turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spin {
    /// Which way.
    pub direction: SpinDirection,
    /// Where a sweep begins.
    pub start_azimuth_rad: f64,
    /// How long a sweep takes.
    pub sweep_ns: i64,
}

/// Gives every point the time of its azimuth, relative to the stamp of the sweep.
///
/// Returns false, and leaves the cloud as it is, where the points have times already, where the stamp is not one of a sweep (start,
/// middle or end), or where the sweep takes no time or more than the offsets can hold. Points without an azimuth get the stamp's own time.
pub fn time_from_azimuth(points: &mut PointCloud, stamp_ref: StampRef, spin: &Spin) -> bool {
    let begin_turns = match stamp_ref {
        StampRef::SweepStart => 0.0,
        StampRef::SweepMid => -0.5,
        StampRef::SweepEnd => -1.0,
        _ => return false,
    };
    if points.time_offset_ns.is_some() || !(1..=i64::from(i32::MAX)).contains(&spin.sweep_ns) {
        return false;
    }
    let offset = |(x, y): (&f32, &f32)| match azimuth_rad(*x, *y) {
        Some(azimuth_rad) => ((begin_turns + spin.turns(azimuth_rad)) * spin.sweep_ns as f64).round() as i32,
        None => 0,
    };
    points.time_offset_ns = Some(points.x.iter().zip(&points.y).map(offset).collect());
    true
}

impl Spin {
    /// Part of the turn from the start to the azimuth, in `[0, 1)`.
    fn turns(&self, azimuth_rad: f64) -> f64 {
        let left_rad = azimuth_rad - self.start_azimuth_rad;
        let along_rad = if self.direction == SpinDirection::Clockwise { -left_rad } else { left_rad };
        let turns = along_rad.rem_euclid(TAU) / TAU;
        if turns < 1.0 { turns } else { 0.0 }
    }
}

/// Which way the lidar turned and where the sweep began, from the order of the points: by the steps of azimuth within each ring where there
/// are rings, else from point to point. `None` where the points are too few or not in the order of their measurement.
#[must_use]
pub fn detect_spin(points: &PointCloud) -> Option<(SpinDirection, f64)> {
    let ring_of = |index: usize| points.ring.as_ref().and_then(|rings| rings.get(index)).copied().unwrap_or(0);
    let mut last_rad: Vec<Option<f64>> = Vec::new();
    let (mut start_rad, mut left, mut right) = (None, 0_usize, 0_usize);
    for (index, (x, y)) in points.x.iter().zip(&points.y).enumerate() {
        let Some(azimuth_rad) = azimuth_rad(*x, *y) else { continue };
        start_rad.get_or_insert(azimuth_rad);
        let ring = usize::from(ring_of(index));
        if last_rad.len() <= ring {
            last_rad.resize(ring + 1, None);
        }
        let step_rad = last_rad.get_mut(ring)?.replace(azimuth_rad).map_or(0.0, |before_rad| wrap_rad(azimuth_rad - before_rad));
        if (MIN_STEP_RAD..=MAX_STEP_RAD).contains(&step_rad.abs()) {
            *(if step_rad > 0.0 { &mut left } else { &mut right }) += 1;
        }
    }
    let votes = left + right;
    if votes < MIN_VOTES || (left.max(right) as f64) < MIN_SHARE * votes as f64 {
        return None;
    }
    let direction = if left > right { SpinDirection::CounterClockwise } else { SpinDirection::Clockwise };
    Some((direction, start_rad?))
}

fn azimuth_rad(x: f32, y: f32) -> Option<f64> {
    let (x, y) = (f64::from(x), f64::from(y));
    (x.hypot(y) >= MIN_RANGE_M).then(|| y.atan2(x))
}
