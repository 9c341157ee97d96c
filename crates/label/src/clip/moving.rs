//! Moving: one size for the track, heading along the path, smooth centres that stay close to what was measured.
//!
//! While the beam passes over a thing it moves on, and so looks longer or shorter than it is: 0.25 m at 30 m/s. From the velocities that a first
//! look at the path gives, every point is put where it was at the sighting's stamp; the path of those outlines gives better velocities.

use boxwright_model::{ClassSpec, Cuboid, Taxonomy};
use nalgebra::Vector3;

use super::ClipConfig;
use super::evidence::Verdict;
use super::placed::{How, Path, Placement, Sighting, quantile};
use super::still::whole;
use crate::classify::{Kind, TOP_MARGIN_M};
use crate::fit::spans;
use crate::refine::near;

/// Times that outlines and velocities are improved by each other. What is wrong with a velocity moves a point by that times the milliseconds in
/// which the beam passes, or the 100 ms of a seam: after two times nothing that could be measured is left.
const ROUNDS: usize = 2;
/// How much worse the boxes may lie on what was seen after smoothing, the middle one of all sightings (metres): measured centres lie on every
/// error of the measurement.
const WORSE_M: f64 = 0.05;

/// A local line through the positions.
#[derive(Clone, Copy)]
pub(super) struct Local {
    pub(super) position: [f64; 2],
    pub(super) velocity: [f64; 2],
}

/// One placement a sighting, and how it came about.
#[must_use]
pub fn place(path: &Path, verdict: &Verdict, taxonomy: &Taxonomy, config: &ClipConfig) -> Option<(How, Vec<Placement>)> {
    let class = taxonomy.get(verdict.class);
    let (kind, prior) = (Kind::of(class), class.prior_lwh_m);
    let rough: Vec<[f64; 2]> =
        path.sightings.iter().map(|s| s.centered(kind, s.length_yaw(verdict.class), [prior[0], prior[1]])).collect();
    let first_look = lines(path, &rough, 2.0 * config.smoothing_s);
    let headings = headings(path, &first_look, class);
    let (mut path, mut smooth) = (path.clone(), first_look);
    let (mut measured, mut length_width, mut source) = (rough, [prior[0], prior[1]], "prior");
    for _ in 0..ROUNDS {
        path = path.at_stamps(&smooth.iter().map(|line| line.velocity).collect::<Vec<_>>());
        (length_width, source) = size(&path, &headings, class)?;
        measured = path.sightings.iter().zip(&headings).map(|(s, yaw)| s.centered(kind, *yaw, length_width)).collect();
        smooth = lines(&path, &measured, config.smoothing_s);
    }
    let centers: Vec<[f64; 2]> = measured.iter().zip(&smooth).map(|(m, s)| near(*m, s.position, config.max_smoothing_m)).collect();
    let smooth_m = path.edge_fit_m(|index| (centers[index], headings[index]), length_width);
    let measured_m = path.edge_fit_m(|index| (measured[index], headings[index]), length_width);
    let (refined, edge_m, refused_edge_m, centers) = if smooth_m <= measured_m + WORSE_M {
        ("smoothed", smooth_m, None, centers)
    } else {
        ("as_measured", measured_m, Some(smooth_m), measured)
    };
    let height = quantile(path.sightings.iter().map(|s| s.top_m), 0.8)? + TOP_MARGIN_M;
    let size = Vector3::new(length_width[0], length_width[1], height);
    let place = |(index, s): (usize, &Sighting)| {
        let center = centers[index];
        let world = Vector3::new(center[0] + path.origin[0], center[1] + path.origin[1], floor_about(&path, index) + height / 2.0);
        Placement {
            sweep: s.sweep,
            stamp_ns: s.stamp_ns,
            points_ns: s.points_ns,
            world_from_box: Cuboid::upright(world, size, headings[index]),
            velocity_mps: smooth[index].velocity,
            num_points: s.num_points,
            sought: false,
        }
    };
    let how = How { size_source: source, refined, edge_m, refused_edge_m };
    Some((how, path.sightings.iter().enumerate().map(place).collect()))
}

/// Height of the ground under a sighting: the middle one of those about it.
fn floor_about(path: &Path, index: usize) -> f64 {
    let near = &path.sightings[index.saturating_sub(3)..(index + 4).min(path.sightings.len())];
    quantile(near.iter().map(|s| s.floor_m), 0.5).unwrap_or(path.sightings[index].floor_m)
}

/// Straight lines through the positions within `half_window_s` of each sighting, near ones and well-seen ones weighing more.
pub(super) fn lines(path: &Path, positions: &[[f64; 2]], half_window_s: f64) -> Vec<Local> {
    let times: Vec<f64> = path.sightings.iter().map(|s| s.seconds).collect();
    let rows = rows(&times, half_window_s);
    let mut first = 0;
    let mut found = Vec::with_capacity(times.len());
    for (index, now) in times.iter().enumerate() {
        // At the ends of a row of sightings the window reaches farther to the one side, so that it holds as many of them.
        let [start, end] = rows[index];
        let room = (now - start).min(end - now);
        let window = half_window_s + (half_window_s - room).max(0.0);
        while times[first] < now - 2.0 * half_window_s {
            first += 1;
        }
        let near = (first..times.len()).skip_while(|i| times[*i] < now - window).take_while(|i| times[*i] <= now + window);
        found.push(line(near.map(|i| (times[i] - now, positions[i], path.sightings[i].weight())), window, positions[index]));
    }
    found
}

/// For each time, the first and the last one of its row: a row ends where nothing follows within `apart`.
fn rows(times: &[f64], apart: f64) -> Vec<[f64; 2]> {
    let rows = times.chunk_by(|before, after| after - before <= apart);
    rows.flat_map(|row| row.iter().map(|_| [row[0], row[row.len() - 1]])).collect()
}

fn line(samples: impl Iterator<Item = (f64, [f64; 2], f64)>, window: f64, fallback: [f64; 2]) -> Local {
    let (mut w, mut t, mut tt) = (0.0, 0.0, 0.0);
    let (mut p, mut tp) = ([0.0; 2], [0.0; 2]);
    for (dt, position, weight) in samples {
        let weight = weight * (1.0 - (dt.abs() / (window + 1e-3)).powi(2)).max(0.0);
        w += weight;
        t += weight * dt;
        tt += weight * dt * dt;
        for axis in 0..2 {
            p[axis] += weight * position[axis];
            tp[axis] += weight * dt * position[axis];
        }
    }
    let determinant = w * tt - t * t;
    if determinant < 1e-9 {
        return Local { position: fallback, velocity: [0.0; 2] };
    }
    let solve = |axis: usize| ((tt * p[axis] - t * tp[axis]) / determinant, (w * tp[axis] - t * p[axis]) / determinant);
    let ((x, vx), (y, vy)) = (solve(0), solve(1));
    Local { position: [x, y], velocity: [vx, vy] }
}

/// Heading at each sighting: the direction of motion where it is quick enough to be known, else that of the nearest such sighting.
fn headings(path: &Path, lines: &[Local], class: &ClassSpec) -> Vec<f64> {
    let quick = if Kind::of(class) == Kind::Vehicle { 1.0 } else { 0.4 };
    let known: Vec<Option<f64>> =
        lines.iter().map(|l| (l.velocity[0].hypot(l.velocity[1]) >= quick).then(|| l.velocity[1].atan2(l.velocity[0]))).collect();
    let overall = {
        let (first, last) = (lines[0].position, lines[lines.len() - 1].position);
        (last[1] - first[1]).atan2(last[0] - first[0])
    };
    let nearest = |index: usize| {
        let distance = |other: &usize| other.abs_diff(index);
        (0..known.len()).filter(|other| known[*other].is_some()).min_by_key(distance).and_then(|other| known[other])
    };
    (0..path.sightings.len()).map(|index| known[index].or_else(|| nearest(index)).unwrap_or(overall)).collect()
}

/// Length and width of the track: the upper end of what was seen along the headings, or the prior where most was hidden.
pub(super) fn size(path: &Path, headings: &[f64], class: &ClassSpec) -> Option<([f64; 2], &'static str)> {
    let seen: Vec<[f64; 2]> = path
        .sightings
        .iter()
        .zip(headings)
        .map(|(s, yaw)| {
            let span = spans(&s.outline, *yaw);
            [span[0][1] - span[0][0], span[1][1] - span[1][0]]
        })
        .collect();
    let upper = |axis: usize| quantile(seen.iter().map(|e| e[axis]), 0.85);
    let (along, across) = (upper(0)?, upper(1)?);
    let side = |seen: f64, axis: usize| {
        whole(path, seen, class, axis, |index| headings[index]).clamp(class.min_lwh_m[axis], class.max_lwh_m[axis])
    };
    // Of a person the torso is seen, and the stride and the arms are cut off: the whole is no smaller than usual.
    let least = |axis: usize| if Kind::of(class) == Kind::Person { class.prior_lwh_m[axis] } else { 0.0 };
    let size = [side(along, 0).max(least(0)), side(across, 1).max(least(1))];
    Some((size, if size[0] > along + 0.2 { "prior" } else { "seen" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clip::placed::fixture::{path, sighting};

    #[test]
    fn at_a_hole_a_path_is_as_smooth_as_at_its_ends() {
        // Ten sweeps of a car at 8 m/s, two seconds without it, ten more; its places are wrong by 20 cm to either side by turns.
        let seen: Vec<usize> = (0..10).chain(30..40).collect();
        let positions: Vec<[f64; 2]> = seen.iter().map(|at| [0.8 * *at as f64, if at % 2 == 0 { 0.2 } else { -0.2 }]).collect();
        let whole = lines(&path(seen.iter().map(|at| sighting(*at, Vec::new())).collect()), &positions, 0.45);
        let first = lines(&path((0..10).map(|at| sighting(at, Vec::new())).collect()), &positions[..10], 0.45);
        for (of_whole, of_first) in whole.iter().zip(&first) {
            assert_eq!(of_whole.velocity, of_first.velocity);
            assert_eq!(of_whole.position, of_first.position);
        }
    }
}
