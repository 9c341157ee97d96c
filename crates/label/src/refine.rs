//! Whole boxes of one object, made better by each other: one size, and heading, centre and height on smooth curves.
//!
//! A detector sees every frame anew: sizes differ by decimetres from frame to frame, and centres, heights and headings by what it could not know. The
//! errors of one object in different frames have little to do with each other, so that frames together know more than one (the offline stages of
//! 3DAL, Qi et al., 2021, and of `DetZero`, Ma et al., 2023, do it by networks; this is done by means and curves).
//!
//! - **Size:** of each side the middle one, near and well-seen frames weighing more. A detector knows the faces that it sees better than the
//!   middle of the object, but not as if it had measured them: the box keeps half of the way between its middle and its near faces.
//! - **Curves:** local polynomials (Savitzky and Golay, 1964, with weights): straight over a short window or bent over a longer one. Windows are
//!   short, because without poses of the vehicle all things seem to swing with it.
//!
//! **No step is taken untested.** A size is refused where the frames do not agree on one (two objects in one track, a lorry that was seen by parts).
//! A curve is refused where it does not foretell frames that are left out about as well as their two neighbours do, the middle one of all frames: it is
//! too stiff for how the object, or the vehicle, moved. Of curves that pass, the one that foretells best is taken. What is refused stays as the detector
//! gave it. The test is one of the whole track: what a curve may do to a single frame is bounded, because that frame may be the one that is right.

use boxwright_model::Cuboid;
use boxwright_model::space::wrap_rad;
use nalgebra::{Cholesky, Matrix3, Vector3};

use crate::fit::completed_center;

/// Range at which the weight of a frame's size has fallen by half (metres).
const SIZE_RANGE_M: f64 = 10.0;
/// A size is one that three frames in four differ from by no more than this part of it.
const SIZE_SLACK: f64 = 0.25;
/// Tracks with fewer frames have no curves: nothing can be left out of them.
const LEAST_FRAMES: usize = 5;
/// The curves that are tried, shortest first.
const CURVES: [Curve; 2] = [Curve { half_window_s: 0.3, degree: 1 }, Curve { half_window_s: 0.6, degree: 2 }];
/// How much farther off than by its two neighbours a frame may be foretold by a curve, the middle one of all frames. Of noise alone, neighbours miss
/// a frame by 1.22 times the noise, and a curve that is itself wrong by as much as the noise by 1.41 times, 1.15 times as far; the curve that is taken
/// knows the frame, too, and is wrong by less.
const WORSE: f64 = 1.3;
/// Farthest that a curve may turn a box (radians, some 17 degrees): beyond, the frame or its neighbours are wrong, and which of them is not known.
const MAX_TURN_RAD: f64 = 0.3;
/// A frame with less of a kernel's weight has no say: at the rim of a window it would make a curve bend through it.
const RIM: f64 = 1e-3;
/// Differences below this are none (metres, or the doubled sine of a heading).
const NOTHING: f64 = 1e-9;

/// A box of the track in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameBox {
    /// When; it rises from frame to frame (seconds).
    pub seconds: f64,
    /// The box in a frame that stands still, or in that of a vehicle whose poses are unknown.
    pub cuboid: Cuboid,
    /// Where the sensor stood, same frame; NaN for what has no faces ([`crate::classify::anchor`]).
    pub sensor_xy: [f64; 2],
    /// How much it says in means: positive.
    pub weight: f64,
}

/// The same boxes with one size, or as they are where the frames agree on none.
#[must_use]
pub fn with_one_size(track: &[FrameBox]) -> Vec<FrameBox> {
    let Some(size) = one_size(track) else { return track.to_vec() };
    track.iter().map(|one| FrameBox { cuboid: resized(one, size), ..*one }).collect()
}

/// The same boxes with headings, centres and heights on curves, as far as these are not refused.
///
/// `max_shift_m` is the farthest that a curve may move a centre in the plane, and as far in height: a smoother that is not held destroys labels.
#[must_use]
pub fn on_curves(track: &[FrameBox], max_shift_m: f64) -> Vec<Cuboid> {
    let turned = with_smooth_headings(track);
    let signal = |value: fn(&Cuboid) -> [f64; 2]| -> Vec<[f64; 2]> { turned.iter().map(|one| value(&one.cuboid)).collect() };
    let centers = signal(|cuboid| [cuboid.center_m.x, cuboid.center_m.y]);
    let heights = signal(|cuboid| [cuboid.center_m.z, 0.0]);
    let (smooth, level) = (smoothed(&turned, &centers), smoothed(&turned, &heights));
    let moved = |(index, one): (usize, &FrameBox)| {
        let [x, y] = smooth.as_ref().map_or(centers[index], |smooth| near(centers[index], smooth[index], max_shift_m));
        let [z, _] = level.as_ref().map_or(heights[index], |level| near(heights[index], level[index], max_shift_m));
        Cuboid { center_m: Vector3::new(x, y, z), ..one.cuboid }
    };
    turned.iter().enumerate().map(moved).collect()
}

/// The smooth position, but no farther from the measured one than allowed.
#[must_use]
pub fn near(measured: [f64; 2], smooth: [f64; 2], limit_m: f64) -> [f64; 2] {
    let (dx, dy) = (smooth[0] - measured[0], smooth[1] - measured[1]);
    let share = (limit_m / dx.hypot(dy).max(1e-9)).min(1.0);
    [measured[0] + share * dx, measured[1] + share * dy]
}

/// Length, width and height that most frames agree on.
fn one_size(track: &[FrameBox]) -> Option<Vector3<f64>> {
    let weight = |one: &FrameBox| {
        let center = one.cuboid.center_m;
        let range_m = (center.x - one.sensor_xy[0]).hypot(center.y - one.sensor_xy[1]);
        one.weight / (SIZE_RANGE_M * SIZE_RANGE_M + if range_m.is_finite() { range_m * range_m } else { 0.0 })
    };
    let side = |axis: usize| {
        let mut sides: Vec<(f64, f64)> = track.iter().map(|one| (one.cuboid.size_lwh_m[axis], weight(one))).collect();
        sides.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = sides.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
        let mut below = 0.0;
        let middle = sides.iter().find(|(_, weight)| {
            below += weight;
            below >= half
        })?;
        let agree = sides.iter().filter(|(side, _)| (side - middle.0).abs() <= SIZE_SLACK * middle.0).count();
        (4 * agree >= 3 * sides.len()).then_some(middle.0)
    };
    Some(Vector3::new(side(0)?, side(1)?, side(2)?))
}

/// The box with another size: its middle is kept by half, and the faces that the sensor sees by half.
fn resized(one: &FrameBox, size: Vector3<f64>) -> Cuboid {
    let (center, old) = (one.cuboid.center_m, one.cuboid.size_lwh_m);
    let yaw_rad = one.cuboid.yaw_rad();
    let sensor = [one.sensor_xy[0] - center.x, one.sensor_xy[1] - center.y];
    let spans = [[-old.x / 2.0, old.x / 2.0], [-old.y / 2.0, old.y / 2.0]];
    let [dx, dy] = completed_center(spans, yaw_rad, [size.x, size.y], sensor);
    Cuboid { center_m: Vector3::new(center.x + dx / 2.0, center.y + dy / 2.0, center.z), size_lwh_m: size, ..one.cuboid }
}

/// The boxes with their axes on a smooth curve, as far as that turns them little; which end is the front stays as it is.
fn with_smooth_headings(track: &[FrameBox]) -> Vec<FrameBox> {
    let axes: Vec<[f64; 2]> = track.iter().map(|one| (2.0 * one.cuboid.yaw_rad()).sin_cos()).map(|(sin, cos)| [cos, sin]).collect();
    let Some(smooth) = smoothed(track, &axes) else { return track.to_vec() };
    let turned = |(one, [cos, sin]): (&FrameBox, &[f64; 2])| {
        let yaw_rad = one.cuboid.yaw_rad();
        let turn = wrap_rad(sin.atan2(*cos) - 2.0 * yaw_rad) / 2.0;
        let turn = if turn.abs() <= MAX_TURN_RAD { turn } else { 0.0 };
        FrameBox { cuboid: Cuboid::upright(one.cuboid.center_m, one.cuboid.size_lwh_m, yaw_rad + turn), ..*one }
    };
    track.iter().zip(&smooth).map(turned).collect()
}

/// A local polynomial.
#[derive(Clone, Copy)]
struct Curve {
    /// Farthest frame that has a say.
    half_window_s: f64,
    /// 1 is straight, 2 is bent.
    degree: usize,
}

/// The values on the curve that foretells best; `None` where none foretells well enough.
fn smoothed(track: &[FrameBox], values: &[[f64; 2]]) -> Option<Vec<[f64; 2]>> {
    if track.len() < LEAST_FRAMES {
        return None;
    }
    let by_neighbours = (1..track.len() - 1).map(|index| distance(values[index], between(track, values, index)));
    let limit = WORSE * middle(by_neighbours)? + NOTHING;
    let foretold =
        |curve: &Curve| middle((0..track.len()).filter_map(|i| Some(distance(values[i], curve.at(track, values, i, true)?))));
    let (error, curve) = CURVES
        .iter()
        .filter_map(|curve| Some((foretold(curve)?, curve)))
        .reduce(|best, other| if other.0 < best.0 { other } else { best })?;
    let on_curve = |index: usize| curve.at(track, values, index, false).unwrap_or(values[index]);
    (error <= limit).then(|| (0..track.len()).map(on_curve).collect())
}

/// Where the straight way between the frames before and after leads through.
fn between(track: &[FrameBox], values: &[[f64; 2]], index: usize) -> [f64; 2] {
    let (before, after) = (index - 1, index + 1);
    let share = (track[index].seconds - track[before].seconds) / (track[after].seconds - track[before].seconds);
    [0, 1].map(|axis| values[before][axis] + share * (values[after][axis] - values[before][axis]))
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

impl Curve {
    /// Its value at a frame, of the frames in the window, with or without that frame itself; `None` where no other frame is in the window.
    fn at(self, track: &[FrameBox], values: &[[f64; 2]], index: usize, leave_out: bool) -> Option<[f64; 2]> {
        let now = track[index].seconds;
        let first = (0..index).rev().take_while(|other| now - track[*other].seconds < self.half_window_s).last().unwrap_or(index);
        let window = (first..track.len()).take_while(|other| track[*other].seconds - now < self.half_window_s);
        let (mut frames, mut of_time, mut of_value) = (0, [0.0; 5], [[0.0; 2]; 3]);
        for other in window.filter(|other| !leave_out || *other != index) {
            let time = (track[other].seconds - now) / self.half_window_s;
            // Epanechnikov's kernel.
            let kernel = 1.0 - time * time;
            if kernel < RIM {
                continue;
            }
            let mut power = track[other].weight * kernel;
            for (degree, sum) in of_time.iter_mut().enumerate() {
                *sum += power;
                if let Some(sum) = of_value.get_mut(degree) {
                    // Relative to the frame itself: world coordinates as large as UTM's would cost digits.
                    *sum = [0, 1].map(|axis| sum[axis] + power * (values[other][axis] - values[index][axis]));
                }
                power *= time;
            }
            frames += 1;
        }
        let degree = self.degree.min(usize::checked_sub(frames, 1)?);
        Some([0, 1].map(|axis| values[index][axis] + value_at_zero(degree, of_time, of_value.map(|sum| sum[axis]))))
    }
}

/// The constant term of the polynomial of least squares, from the sums of powers of time and of their products with the values.
fn value_at_zero(degree: usize, of_time: [f64; 5], of_value: [f64; 3]) -> f64 {
    let [s0, s1, s2, s3, s4] = of_time;
    let [b0, b1, b2] = of_value;
    // Terms that are not fitted have an equation of their own, which makes them zero.
    let system = match degree {
        0 => Matrix3::new(s0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        1 => Matrix3::new(s0, s1, 0.0, s1, s2, 0.0, 0.0, 0.0, 1.0),
        _ => Matrix3::new(s0, s1, s2, s1, s2, s3, s2, s3, s4),
    };
    let right = Vector3::new(b0, if degree >= 1 { b1 } else { 0.0 }, if degree >= 2 { b2 } else { 0.0 });
    Cholesky::new(system).map_or_else(|| b0 / s0, |solved| solved.solve(&right).x)
}

#[cfg(test)]
mod tests;
