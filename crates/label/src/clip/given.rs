//! Boxes that a detector gave whole: one size, a heading that does not flip, and centres on a smooth path.
//!
//! A network sees every sweep anew: its sizes differ by decimetres from sweep to sweep and its headings by half turns. Size, axes, centres and heights
//! are refined as those of any track of whole boxes ([`crate::refine`]); which end is the front is what most sightings say, or the direction of a quick
//! motion. Parked objects have one pose. Here are points, too: where the smooth path lies worse on what was seen, the boxes stay where they were given.

use std::ops::Range;

use boxwright_model::{Cuboid, Taxonomy};
use nalgebra::Vector3;

use super::ClipConfig;
use super::evidence::Verdict;
use super::motion::Motion;
use super::moving::lines;
use super::placed::{How, Path, Placement, Sighting, quantile};
use crate::classify::{Kind, anchor};
use crate::refine::{FrameBox, on_curves, with_one_size};

/// Faster than this the front is where the way leads (m/s).
const QUICK_MPS: f64 = 2.0;
/// Half of the window in which it is asked which end is the front (seconds).
const WINDOW_S: f64 = 0.5;
/// How much worse the boxes may lie on what was seen after smoothing, the middle one of all sightings (metres).
const WORSE_M: f64 = 0.05;

/// One placement a sighting. Sightings that the built-in detector made, of sweeps for which no boxes came, are measured by the size of the others.
#[must_use]
pub fn place(
    path: &Path,
    motion: &Motion,
    verdict: &Verdict,
    taxonomy: &Taxonomy,
    config: &ClipConfig,
) -> Option<(How, Vec<Placement>)> {
    let measured = whole_boxes(path, Kind::of(taxonomy.get(verdict.class)))?;
    let sized = with_one_size(&measured);
    let is_one = sized.windows(2).all(|two| two[0].cuboid.size_lwh_m == two[1].cuboid.size_lwh_m);
    let size_source = if is_one || motion.is_static { "given" } else { "given_each" };
    let (boxes, velocities, how) = if motion.is_static {
        let boxes = vec![one_pose(path, &sized)?; sized.len()];
        let edge_m = edge_fit_m(path, &boxes);
        (boxes, vec![[0.0; 2]; sized.len()], How { size_source, refined: "one_pose", edge_m, refused_edge_m: None })
    } else {
        let (boxes, how) = tested(path, &sized, on_curves(&sized, config.max_smoothing_m), size_source);
        let centers: Vec<[f64; 2]> = boxes.iter().map(|one| relative(path, one)).collect();
        let velocities = lines(path, &centers, config.smoothing_s).iter().map(|line| line.velocity).collect();
        (boxes, velocities, how)
    };
    let at = |(index, s): (usize, &Sighting)| {
        let one = &boxes[index];
        let window = if motion.is_static { 0..boxes.len() } else { about(path, index) };
        let yaw_rad = front(path, window, one.yaw_rad(), velocities[index]);
        Placement {
            sweep: s.sweep,
            stamp_ns: s.stamp_ns,
            points_ns: s.points_ns,
            world_from_box: Cuboid::upright(one.center_m, one.size_lwh_m, yaw_rad),
            velocity_mps: velocities[index],
            num_points: s.num_points,
            sought: false,
        }
    };
    Some((how, path.sightings.iter().enumerate().map(at).collect()))
}

/// The sightings as whole boxes; `None` where none was given.
fn whole_boxes(path: &Path, kind: Kind) -> Option<Vec<FrameBox>> {
    let given = || path.sightings.iter().filter_map(|s| s.given);
    let side = |axis: usize| quantile(given().map(|b| b.size_lwh_m[axis]), 0.5);
    let size = Vector3::new(side(0)?, side(1)?, side(2)?);
    let whole = |s: &Sighting| {
        let distance = |other: &&Sighting| (other.sweep.abs_diff(s.sweep), other.sweep);
        let nearest = path.sightings.iter().filter(|other| other.given.is_some()).min_by_key(distance)?.given?;
        let [x, y] = s.centered(kind, nearest.yaw_rad(), [size.x, size.y]);
        let center = Vector3::new(x + path.origin[0], y + path.origin[1], s.floor_m + size.z / 2.0);
        let [x, y] = anchor(kind, s.lidar_xy);
        Some(FrameBox {
            seconds: s.seconds,
            cuboid: s.given.unwrap_or_else(|| Cuboid::upright(center, size, nearest.yaw_rad())),
            sensor_xy: [x + path.origin[0], y + path.origin[1]],
            weight: s.weight(),
        })
    };
    path.sightings.iter().map(whole).collect()
}

/// Parked: the middle one of all centres and heights, the mean of all axes.
fn one_pose(path: &Path, sized: &[FrameBox]) -> Option<Cuboid> {
    let middle = |axis: usize| quantile(sized.iter().map(|one| one.cuboid.center_m[axis]), 0.5);
    let given = path.sightings.iter().zip(sized).filter(|(s, _)| s.given.is_some()).map(|(_, one)| one);
    let (sin, cos) = given.fold((0.0, 0.0), |(sin, cos), one| {
        let doubled = 2.0 * one.cuboid.yaw_rad();
        (sin + one.weight * doubled.sin(), cos + one.weight * doubled.cos())
    });
    let size = |axis: usize| quantile(sized.iter().map(|one| one.cuboid.size_lwh_m[axis]), 0.5);
    let center = Vector3::new(middle(0)?, middle(1)?, middle(2)?);
    Some(Cuboid::upright(center, Vector3::new(size(0)?, size(1)?, size(2)?), sin.atan2(cos) / 2.0))
}

/// The refined boxes where they lie on what was seen as well as those that were given, else these with one size.
fn tested(path: &Path, sized: &[FrameBox], refined: Vec<Cuboid>, size_source: &'static str) -> (Vec<Cuboid>, How) {
    let given: Vec<Cuboid> = sized.iter().map(|one| one.cuboid).collect();
    let (smooth_m, given_m) = (edge_fit_m(path, &refined), edge_fit_m(path, &given));
    if smooth_m <= given_m + WORSE_M {
        (refined, How { size_source, refined: "smoothed", edge_m: smooth_m, refused_edge_m: None })
    } else {
        (given, How { size_source, refined: "as_measured", edge_m: given_m, refused_edge_m: Some(smooth_m) })
    }
}

/// Distance of the outlines to the boxes' sides, the middle one of all sightings (metres).
fn edge_fit_m(path: &Path, boxes: &[Cuboid]) -> f64 {
    let fits = path.sightings.iter().zip(boxes);
    quantile(fits.map(|(s, one)| s.edge_fit_m(relative(path, one), one.yaw_rad(), [one.size_lwh_m.x, one.size_lwh_m.y])), 0.5)
        .unwrap_or(f64::INFINITY)
}

fn relative(path: &Path, one: &Cuboid) -> [f64; 2] {
    [one.center_m.x - path.origin[0], one.center_m.y - path.origin[1]]
}

/// The heading with its front where the way leads, or at the end that most sightings of the window name.
fn front(path: &Path, window: Range<usize>, axis_rad: f64, [vx, vy]: [f64; 2]) -> f64 {
    let agree = if vx.hypot(vy) > QUICK_MPS {
        // Only the end is decided by the way: a network knows the axis in a curve better.
        (axis_rad - vy.atan2(vx)).cos()
    } else {
        let given = path.sightings[window].iter().filter_map(|s| s.given.map(|b| (b.yaw_rad(), s.weight())));
        given.map(|(yaw_rad, weight)| weight * (yaw_rad - axis_rad).cos().signum()).sum()
    };
    if agree < 0.0 { axis_rad + std::f64::consts::PI } else { axis_rad }
}

/// The sightings within the window about one.
fn about(path: &Path, index: usize) -> Range<usize> {
    let seconds = |index: usize| path.sightings[index].seconds;
    let now = seconds(index);
    let first = (0..index).rev().take_while(|other| now - seconds(*other) <= WINDOW_S).last().unwrap_or(index);
    let last = (index + 1..path.sightings.len()).take_while(|other| seconds(*other) - now <= WINDOW_S).last().unwrap_or(index);
    first..last + 1
}

#[cfg(test)]
mod tests;
