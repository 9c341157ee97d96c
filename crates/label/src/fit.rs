//! The shape of a group: an upright rectangle seen from above, its faces, and how it grows to a whole object.
//!
//! The heading is found by the L-shape search with the closeness criterion (Zhang, Xu, Dong, Dolan: "Efficient L-shape fitting for
//! vehicle detection using laser scanners", IV 2017, algorithm 3) over the points that face the lidar. [`Shape::complete`] is the amodal
//! step: sides that face the lidar stay, the others move until the size is reached. At the end of a clip, what something nearer hides moves first
//! ([`crate::horizon`]).

mod lshape;

mod outline;

use boxwright_model::Cuboid;
use nalgebra::Vector3;
use serde::Deserialize;

pub use lshape::{best_yaw, common_yaw};
pub use outline::{MAX_POINTS as OUTLINE_POINTS, outline};

/// Options of [`fit_box`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    /// Groups longer than this are structure and are not fitted (metres).
    pub max_extent_m: f64,
    /// Groups whose top is lower than this above the ground are not fitted (metres).
    pub min_top_m: f64,
    /// Distance to an edge below which a point is on it, `d0` of the closeness criterion (metres).
    pub edge_m: f64,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self { max_extent_m: 22.0, min_top_m: 0.6, edge_m: 0.05 }
    }
}

/// What was seen of one object in one sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Direction of the rectangle's first axis, in `[0, pi/2)` as fitted.
    pub yaw_rad: f64,
    /// Where the rectangle starts and ends along its two axes, measured from the origin of the frame (metres).
    pub span_m: [[f64; 2]; 2],
    /// Height of the ground below it, ego frame.
    pub floor_m: f64,
    /// Lowest and highest (99th percentile) point above the ground (metres).
    pub bottom_top_m: [f64; 2],
    /// Mean distance of the outline to the nearer side (metres): small for what has faces, large for bushes.
    pub residual_m: f64,
    /// Points on it.
    pub num_points: u32,
    /// At most [`OUTLINE_POINTS`] of its points seen from above: those that face the lidar and the outermost ones.
    pub outline: Vec<[f64; 2]>,
    /// Which of the sweep's points these are.
    pub outline_points: Vec<u32>,
}

/// Fits the rectangle of the points that `members` picks. `height_above_m` has the height of each point above the ground; `lidar_xy` is
/// where the lidar stands. `None` for what is no object: too few points, too long, too low.
#[must_use]
pub fn fit_box(
    points: &[[f32; 3]],
    height_above_m: &[f32],
    members: &[u32],
    lidar_xy: [f64; 2],
    config: &FitConfig,
) -> Option<Shape> {
    let mut fitter = Fitter::default();
    fitter.measure(points, height_above_m, members, config)?;
    Some(fitter.fit(points, height_above_m, lidar_xy, config))
}

/// Fits one group after the other: what is cheap to know first, so that what can be no object is not fitted.
#[derive(Debug, Default)]
pub(crate) struct Fitter {
    members: Vec<u32>,
    heights: Vec<f32>,
    bottom_top_m: [f64; 2],
    seen_from_above: Vec<[f64; 2]>,
    along: Vec<f64>,
}

impl Fitter {
    /// Lowest and highest point above the ground and the number of points; `None` for what is no object.
    pub(crate) fn measure(
        &mut self,
        points: &[[f32; 3]],
        height_above_m: &[f32],
        members: &[u32],
        config: &FitConfig,
    ) -> Option<([f64; 2], u32)> {
        self.members.clear();
        self.heights.clear();
        let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
        for member in members {
            let Some(p) = points.get(*member as usize) else { continue };
            self.members.push(*member);
            self.heights.extend(height_above_m.get(*member as usize));
            for axis in 0..2 {
                low[axis] = if p[axis] < low[axis] { p[axis] } else { low[axis] };
                high[axis] = if p[axis] > high[axis] { p[axis] } else { high[axis] };
            }
        }
        if self.members.len() < 3 || f64::from((high[0] - low[0]).max(high[1] - low[1])) > config.max_extent_m {
            return None;
        }
        let at = (self.heights.len() * 99 / 100).min(self.heights.len().checked_sub(1)?);
        let top = *self.heights.select_nth_unstable_by(at, f32::total_cmp).1;
        if f64::from(top) < config.min_top_m {
            return None;
        }
        let bottom = self.heights.iter().copied().fold(f32::INFINITY, f32::min);
        self.bottom_top_m = [f64::from(bottom), f64::from(top)];
        Some((self.bottom_top_m, self.members.len() as u32))
    }

    /// The shape of what was measured last.
    pub(crate) fn fit(&mut self, points: &[[f32; 3]], height_above_m: &[f32], lidar_xy: [f64; 2], config: &FitConfig) -> Shape {
        self.seen_from_above.clear();
        // The ground below the object: what its points have in common is their height less their height above the ground.
        let mut floor = 0.0;
        for member in &self.members {
            let [x, y, z] = points[*member as usize];
            self.seen_from_above.push([f64::from(x), f64::from(y)]);
            floor += f64::from(z - height_above_m.get(*member as usize).copied().unwrap_or(z));
        }
        let kept = outline(&self.seen_from_above, lidar_xy);
        let outline: Vec<[f64; 2]> = kept.iter().map(|index| self.seen_from_above[*index]).collect();
        let outline_points = kept.into_iter().map(|index| self.members[index]).collect();
        let (yaw_rad, residual_m) = best_yaw(&outline, config.edge_m);
        Shape {
            yaw_rad,
            span_m: trimmed_spans(&self.seen_from_above, &mut self.along, yaw_rad),
            floor_m: floor / self.members.len() as f64,
            bottom_top_m: self.bottom_top_m,
            residual_m,
            num_points: self.members.len() as u32,
            outline,
            outline_points,
        }
    }
}

/// Start and end of the points along the axes turned by `yaw_rad`.
#[must_use]
pub fn spans(points: &[[f64; 2]], yaw_rad: f64) -> [[f64; 2]; 2] {
    let (sin, cos) = yaw_rad.sin_cos();
    let mut span = [[f64::INFINITY, f64::NEG_INFINITY]; 2];
    for p in points {
        for (axis, value) in [p[0] * cos + p[1] * sin, p[1] * cos - p[0] * sin].into_iter().enumerate() {
            span[axis] = [span[axis][0].min(value), span[axis][1].max(value)];
        }
    }
    span
}

/// Share of the points that may lie outside the rectangle at each end: a twig, a sign post at the bumper.
const TRIM: f64 = 0.01;
/// With fewer points none is left out.
const TRIM_FROM: usize = 50;

/// As [`spans`], but without the outermost points where there are many. `along` is room to work in.
fn trimmed_spans(points: &[[f64; 2]], along: &mut Vec<f64>, yaw_rad: f64) -> [[f64; 2]; 2] {
    if points.len() < TRIM_FROM {
        return spans(points, yaw_rad);
    }
    let (sin, cos) = yaw_rad.sin_cos();
    let cut = (points.len() as f64 * TRIM) as usize;
    [[cos, sin], [-sin, cos]].map(|[a, b]| {
        along.clear();
        along.extend(points.iter().map(|p| p[0] * a + p[1] * b));
        let last = along.len() - 1 - cut;
        let (_, low, above) = along.select_nth_unstable_by(cut, f64::total_cmp);
        let low = *low;
        // With so many points the last one is above the first.
        let high = *above.select_nth_unstable_by(last - cut - 1, f64::total_cmp).1;
        [low, high]
    })
}

/// A side that faces the lidar by less than this is seen at a glance only, and says little of where the object ends (cosine).
const AT_A_GLANCE: f64 = 0.35;
/// An axis that lies across the line of sight by less than this ends before or behind what was seen, and not beside it (sine).
const ACROSS: f64 = 0.5;

/// Whether something nearer hides an end of an object: its start and its end along each of the two axes.
pub(crate) type CoveredEnds = [[bool; 2]; 2];

/// Nothing hides any end.
pub(crate) const NOT_COVERED: CoveredEnds = [[false; 2]; 2];

/// Which ends of an object along `yaw_rad` and across it something nearer hides. `middle` is where it was seen.
pub(crate) fn covered_ends(middle: [f64; 2], yaw_rad: f64, lidar_xy: [f64; 2], covered_left_right: [bool; 2]) -> CoveredEnds {
    let (sin, cos) = yaw_rad.sin_cos();
    let (dx, dy) = (lidar_xy[0] - middle[0], lidar_xy[1] - middle[1]);
    let range = dx.hypot(dy).max(1e-6);
    let (along, across) = ((dx * cos + dy * sin) / range, (dy * cos - dx * sin) / range);
    let is_covered = |facing: f64, to_the_left: f64| {
        facing < AT_A_GLANCE && to_the_left.abs() > ACROSS && covered_left_right[usize::from(to_the_left < 0.0)]
    };
    [(along, across), (across, -along)]
        .map(|(facing, to_the_left)| [is_covered(-facing, -to_the_left), is_covered(facing, to_the_left)])
}

/// A side grown or cut to a length: an end that something hides moves, and the other one stays; else the end that faces the lidar stays; where neither
/// does, the middle stays.
fn grow(span: [f64; 2], lidar: f64, target: f64, covered: [bool; 2]) -> f64 {
    if covered[0] != covered[1] {
        return if covered[1] { span[0] + target / 2.0 } else { span[1] - target / 2.0 };
    }
    if lidar < span[0] {
        span[0] + target / 2.0
    } else if lidar > span[1] {
        span[1] - target / 2.0
    } else {
        f64::midpoint(span[0], span[1])
    }
}

/// Centre of the rectangle with these spans once it is `lengths` long along its axes, seen from `lidar_xy`.
#[must_use]
pub fn completed_center(span: [[f64; 2]; 2], yaw_rad: f64, lengths: [f64; 2], lidar_xy: [f64; 2]) -> [f64; 2] {
    center_along(span, yaw_rad.sin_cos(), lengths, lidar_xy, NOT_COVERED)
}

/// The same of a heading's sine and cosine, where something hides some of the ends ([`covered_ends`]).
pub(crate) fn center_along(
    span: [[f64; 2]; 2],
    (sin, cos): (f64, f64),
    lengths: [f64; 2],
    lidar_xy: [f64; 2],
    covered: CoveredEnds,
) -> [f64; 2] {
    let lidar = [lidar_xy[0] * cos + lidar_xy[1] * sin, lidar_xy[1] * cos - lidar_xy[0] * sin];
    let [u, v] = [0, 1].map(|axis| grow(span[axis], lidar[axis], lengths[axis], covered[axis]));
    [u * cos - v * sin, u * sin + v * cos]
}

impl Shape {
    /// Seen lengths along the two axes (metres).
    #[must_use]
    pub fn extents_m(&self) -> [f64; 2] {
        [self.span_m[0][1] - self.span_m[0][0], self.span_m[1][1] - self.span_m[1][0]]
    }

    /// Middle of what was seen.
    #[must_use]
    pub fn middle(&self) -> [f64; 2] {
        completed_center(self.span_m, self.yaw_rad, self.extents_m(), [f64::NAN; 2])
    }

    /// The whole object of a size (length, width, height), with its length along the second axis where `turned`.
    #[must_use]
    pub fn complete(&self, size_lwh_m: [f64; 3], turned: bool, lidar_xy: [f64; 2]) -> Cuboid {
        let [length, width, height] = size_lwh_m;
        let lengths = if turned { [width, length] } else { [length, width] };
        let [x, y] = completed_center(self.span_m, self.yaw_rad, lengths, lidar_xy);
        let yaw = if turned { self.yaw_rad + std::f64::consts::FRAC_PI_2 } else { self.yaw_rad };
        Cuboid::upright(Vector3::new(x, y, self.floor_m + height / 2.0), Vector3::new(length, width, height), yaw)
    }
}

#[cfg(test)]
mod tests;
