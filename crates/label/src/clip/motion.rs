//! Did it move?
//!
//! Two measures must agree, because each is fooled by another thing: the middle of the visible points wanders when the view of a parked
//! object changes, and the completed centre jumps when a face comes into view. Positions at the start and at the end are medians over
//! a third of the track, so that single misfits do not count.

use boxwright_model::{ClassId, Taxonomy};

use super::ClipConfig;
use super::placed::{Path, quantile};
use crate::classify::Kind;

/// How a track moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    /// It did not move.
    pub is_static: bool,
    /// Distance from its start to its end (metres).
    pub shift_m: f64,
    /// Speed over that distance (m/s).
    pub speed_mps: f64,
    /// Direction of the shift (radians, world).
    pub heading_rad: f64,
    /// Median distance of its positions from the straight, even motion between start and end (metres).
    pub wander_m: f64,
    /// Median distance of a position from the middle of its neighbours (metres): small for what moves as one, curves or not.
    pub jitter_m: f64,
    /// Share of the shift that is done in the middle of the track: about a half for what moves on.
    pub halfway: f64,
}

/// No change of view looks like a shift of more than this (metres).
const SURE_SHIFT_M: f64 = 3.0;

/// Judges the motion of a track.
#[must_use]
pub fn judge(path: &Path, taxonomy: &Taxonomy, config: &ClipConfig) -> Motion {
    let class = leading_class(path);
    let (kind, size) = (Kind::of(taxonomy.get(class)), taxonomy.get(class).prior_lwh_m);
    let times: Vec<f64> = path.sightings.iter().map(|s| s.seconds).collect();
    let middles: Vec<[f64; 2]> = path.sightings.iter().map(super::placed::Sighting::middle).collect();
    let centers: Vec<[f64; 2]> = path.sightings.iter().map(|s| s.centered(kind, s.length_yaw(class), [size[0], size[1]])).collect();
    let (seen, whole) = (shift(&times, &middles), shift(&times, &centers));
    let smaller = if seen.shift_m < whole.shift_m { seen } else { whole };
    let people = kind != Kind::Vehicle;
    // People are small: their middle is known better, and half of a vehicle's shift is clear.
    let least_shift = if people { 0.7 * config.min_shift_m } else { config.min_shift_m };
    let least_speed = config.min_speed_mps;
    // Two measures of a real motion point the same way.
    let agree = (seen.heading_rad - whole.heading_rad).cos() > 0.7;
    // A view that changes once is a jump; what moves is on its way in between. A long way needs no such test.
    let onward = smaller.shift_m > SURE_SHIFT_M || (0.2..0.8).contains(&smaller.halfway);
    let clear = onward && smaller.shift_m > 3.0 * smaller.wander_m;
    let is_static = !(smaller.shift_m > least_shift && smaller.speed_mps > least_speed && agree && clear);
    Motion { is_static, jitter_m: seen.jitter_m.min(whole.jitter_m), ..smaller }
}

/// The class with the highest sum of votes.
pub(super) fn leading_class(path: &Path) -> ClassId {
    let mut sums: Vec<f64> = Vec::new();
    for sighting in &path.sightings {
        sums.resize(sighting.votes.len(), 0.0);
        for (sum, vote) in sums.iter_mut().zip(&sighting.votes) {
            *sum += sighting.weight() * vote.logit;
        }
    }
    let best = (0..sums.len()).max_by(|a, b| sums[*a].total_cmp(&sums[*b]).then(b.cmp(a)));
    ClassId(best.unwrap_or(0) as u16)
}

fn shift(times: &[f64], positions: &[[f64; 2]]) -> Motion {
    let third = (times.len() / 3).max(1);
    let tail = times.len() - third;
    let median = |range: std::ops::Range<usize>| {
        let axis = |axis: usize| quantile(positions[range.clone()].iter().map(|p| p[axis]), 0.5).unwrap_or(0.0);
        let time = range.clone().map(|i| times[i]).sum::<f64>() / range.len().max(1) as f64;
        (time, [axis(0), axis(1)])
    };
    let ((t0, p0), (t1, p1)) = (median(0..third), median(tail..times.len()));
    let (_, half) = median(third.min(tail)..tail.max(third.min(tail) + 1));
    let (dx, dy, seconds) = (p1[0] - p0[0], p1[1] - p0[1], (t1 - t0).max(0.05));
    let off = times.iter().zip(positions).map(|(t, p)| {
        let share = (t - t0) / seconds;
        (p[0] - p0[0] - share * dx).hypot(p[1] - p0[1] - share * dy)
    });
    let wander_m = quantile(off, 0.5).unwrap_or(0.0);
    let shift_m = dx.hypot(dy);
    let halfway = ((half[0] - p0[0]) * dx + (half[1] - p0[1]) * dy) / (shift_m * shift_m).max(1e-9);
    let bends = positions.windows(3).map(|w| ((w[0][0] + w[2][0]) / 2.0 - w[1][0]).hypot((w[0][1] + w[2][1]) / 2.0 - w[1][1]));
    let jitter_m = quantile(bends, 0.5).unwrap_or(0.0);
    Motion { is_static: false, shift_m, speed_mps: shift_m / seconds, heading_rad: dy.atan2(dx), wander_m, jitter_m, halfway }
}
