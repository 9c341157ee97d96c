//! Boxes that a detector gave whole: one size, a heading that does not flip, and centres on a smooth path.
//!
//! A network sees every sweep anew: its sizes differ by decimetres from sweep to sweep and its headings by half turns. Over the track the middle one of
//! the sizes is taken, the axis of the headings is their mean over twice the angle, and which end is the front is what most of them say, or
//! the direction of a quick motion.

use std::ops::Range;

use boxwright_model::{Cuboid, Taxonomy};
use nalgebra::Vector3;

use super::ClipConfig;
use super::evidence::Verdict;
use super::motion::Motion;
use super::moving::{lines, near};
use super::placed::{How, Path, Placement, Sighting, quantile};
use crate::classify::Kind;

/// Faster than this the front is where the way leads (m/s).
const QUICK_MPS: f64 = 2.0;
/// Half of the window in which headings and heights are averaged (seconds).
const WINDOW_S: f64 = 0.5;

/// One placement a sighting. Sightings that the built-in detector made, of sweeps for which no boxes came, are measured by the size of the others.
#[must_use]
pub fn place(
    path: &Path,
    motion: &Motion,
    verdict: &Verdict,
    taxonomy: &Taxonomy,
    config: &ClipConfig,
) -> Option<(How, Vec<Placement>)> {
    let given = |s: &Sighting| s.given;
    let side = |axis: usize| quantile(path.sightings.iter().filter_map(given).map(|b| b.size_lwh_m[axis]), 0.5);
    let size = Vector3::new(side(0)?, side(1)?, side(2)?);
    let kind = Kind::of(taxonomy.get(verdict.class));
    let all = 0..path.sightings.len();
    // Parked: one heading and one height from all sightings.
    let (axes, heights): (Vec<f64>, Vec<f64>) = if motion.is_static {
        let (yaw, middle_m) = (heading(path, 0, all.clone()), height(path, 0, all.clone(), size.z));
        (vec![yaw; all.len()], vec![middle_m; all.len()])
    } else {
        all.map(|index| (heading(path, index, about(path, index)), height(path, index, about(path, index), size.z))).unzip()
    };
    let measured: Vec<[f64; 2]> = path
        .sightings
        .iter()
        .zip(&axes)
        .map(|(s, yaw)| match s.given {
            Some(b) => [b.center_m.x - path.origin[0], b.center_m.y - path.origin[1]],
            None => s.centered(kind, *yaw, [size.x, size.y]),
        })
        .collect();
    let (centers, velocities) = if motion.is_static {
        let middle = [0, 1].map(|axis| quantile(measured.iter().map(|center| center[axis]), 0.5));
        let [Some(x), Some(y)] = middle else { return None };
        (vec![[x, y]; measured.len()], vec![[0.0; 2]; measured.len()])
    } else {
        let smooth = lines(path, &measured, config.smoothing_s);
        let centers = measured.iter().zip(&smooth).map(|(m, line)| near(*m, line.position, config.max_smoothing_m)).collect();
        (centers, smooth.iter().map(|line| line.velocity).collect())
    };
    let front = |index: usize| {
        let [vx, vy]: [f64; 2] = velocities[index];
        let ahead = if vx.hypot(vy) > QUICK_MPS { vy.atan2(vx) } else { return axes[index] };
        // Only the end is decided by the way: a network knows the axis in a curve better.
        if (axes[index] - ahead).cos() < 0.0 { axes[index] + std::f64::consts::PI } else { axes[index] }
    };
    let at = |(index, s): (usize, &Sighting)| {
        let [x, y] = centers[index];
        let center = Vector3::new(x + path.origin[0], y + path.origin[1], heights[index]);
        Placement {
            sweep: s.sweep,
            stamp_ns: s.stamp_ns,
            points_ns: s.points_ns,
            world_from_box: Cuboid::upright(center, size, front(index)),
            velocity_mps: velocities[index],
            num_points: s.num_points,
        }
    };
    let edge_m = path.edge_fit_m(|index| (centers[index], axes[index]), [size.x, size.y]);
    let how =
        How { size_source: "given", refined: if motion.is_static { "one_pose" } else { "smoothed" }, edge_m, refused_edge_m: None };
    Some((how, path.sightings.iter().enumerate().map(at).collect()))
}

/// The sightings within the window about one.
fn about(path: &Path, index: usize) -> Range<usize> {
    let seconds = |index: usize| path.sightings[index].seconds;
    let now = seconds(index);
    let first = (0..index).rev().take_while(|other| now - seconds(*other) <= WINDOW_S).last().unwrap_or(index);
    let last = (index + 1..path.sightings.len()).take_while(|other| seconds(*other) - now <= WINDOW_S).last().unwrap_or(index);
    first..last + 1
}

/// Mean axis of the given headings among some sightings, its front at the end that most of them name.
fn heading(path: &Path, index: usize, window: Range<usize>) -> f64 {
    let given = || path.sightings[window.clone()].iter().filter_map(|s| s.given.map(|b| (b.yaw_rad(), s.weight())));
    let (sin, cos) =
        given().fold((0.0, 0.0), |(sin, cos), (yaw, weight)| (sin + weight * (2.0 * yaw).sin(), cos + weight * (2.0 * yaw).cos()));
    if sin == 0.0 && cos == 0.0 {
        // Nothing was given near here: the nearest that was.
        let distance = |s: &&Sighting| (s.sweep.abs_diff(path.sightings[index].sweep), s.sweep);
        let nearest = path.sightings.iter().filter(|s| s.given.is_some()).min_by_key(distance);
        return nearest.and_then(|s| s.given).map_or(0.0, |b| b.yaw_rad());
    }
    let axis = sin.atan2(cos) / 2.0;
    let agree: f64 = given().map(|(yaw, weight)| weight * (yaw - axis).cos().signum()).sum();
    if agree < 0.0 { axis + std::f64::consts::PI } else { axis }
}

/// Height of the middle among some sightings, world frame.
fn height(path: &Path, index: usize, window: Range<usize>, height_m: f64) -> f64 {
    let given = path.sightings[window].iter().filter_map(|s| s.given.map(|b| b.center_m.z));
    quantile(given, 0.5).unwrap_or(path.sightings[index].floor_m + height_m / 2.0)
}

#[cfg(test)]
mod tests;
