//! Parked: one pose from all sweeps together.
//!
//! The outlines of all sightings are laid over each other in the world, cells seen in one sweep only are left out, and the rest gives the
//! heading; where the vehicle's own pose drifts they are smeared, and the heading on which the sightings agree one by one is taken if its box lies much
//! closer to them. The sides are those that most sightings agree on; where they face the lidar they stay, others grow to the prior, and first those that
//! something nearer hides. Where they do not tell the length from the width, those beside it do ([`super::row`]).
//!
//! One pose is kept only if it lies on what the sightings saw: where the vehicle's own pose drifts it does not, and the object is followed.

use boxwright_model::{ClassSpec, Cuboid, Taxonomy};
use nalgebra::Vector3;

use super::evidence::Verdict;
use super::moving::{lines, size};
use super::placed::{How, Path, Placement, Sighting, quantile};
use crate::classify::{Kind, TOP_MARGIN_M, anchor, hidden, whole_side};
use crate::fit::{CoveredEnds, best_yaw, center_along, common_yaw, spans};

/// Side of the cells in which the outlines are counted (metres).
const CELL_M: f64 = 0.1;
/// Half of the window in which a parked object is followed where poses drift (seconds).
const FOLLOW_S: f64 = 1.5;
/// Tracks with fewer sightings are not followed.
const FOLLOW_HITS: usize = 8;
/// Farthest that the mean of the sightings' headings may be from the heading of all points together (radians).
const MAX_TURN_RAD: f64 = 0.2;
/// Points nearer to a side than this are on it (metres).
const ON_SIDE_M: f64 = 0.05;
/// A parked object is followed, and another heading is taken, only where that fits better than this part of what is held does,
const MUCH_BETTER: f64 = 0.75;
/// and better by at least this (metres).
const MUCH_BETTER_M: f64 = 0.02;

/// [`How::refined`] of what stands at one pose in all sweeps.
pub(super) const ONE_POSE: &str = "one_pose";

/// One placement a sighting, all at the same pose unless the vehicle's own pose drifts, and how that came about. `row_yaw` is the direction of those beside
/// it, where it is known (radians, world).
#[must_use]
pub fn place(path: &Path, verdict: &Verdict, taxonomy: &Taxonomy, row_yaw: Option<f64>) -> Option<(How, Vec<Placement>)> {
    let class = taxonomy.get(verdict.class);
    let height = quantile(path.sightings.iter().map(|s| s.top_m), 0.8)? + TOP_MARGIN_M;
    let floor = quantile(path.sightings.iter().map(|s| s.floor_m), 0.5)?;
    let (how, kept) = if Kind::of(class) == Kind::Person {
        let one = upright(path, class)?;
        (How { size_source: one.source, refined: ONE_POSE, edge_m: one.edge_fit_m(path), refused_edge_m: None }, one)
    } else {
        let views: Vec<(&[[f64; 2]], f64)> = path.sightings.iter().map(|s| (s.outline.as_slice(), s.weight())).collect();
        let (of_all, _) = best_yaw(&seen_often(path), ON_SIDE_M);
        let [of_all, of_each] = [of_all, common_yaw(&views, ON_SIDE_M)].map(|yaw| stand(path, verdict, class, yaw, row_yaw));
        // Laid over each other, the outlines know most; where the vehicle's own pose drifts, each for itself.
        let ((held, at_held), (other, at_other)) = (of_all?, of_each?);
        if is_much_better(other.edge_m, held.edge_m) {
            (How { refused_edge_m: Some(held.edge_m), ..other }, at_other)
        } else {
            (held, at_held)
        }
    };
    let size = Vector3::new(kept.length_width[0], kept.length_width[1], height);
    let at = |(s, center): (&Sighting, &[f64; 2])| Placement {
        sweep: s.sweep,
        stamp_ns: s.stamp_ns,
        points_ns: s.points_ns,
        world_from_box: Cuboid::upright(
            Vector3::new(center[0] + path.origin[0], center[1] + path.origin[1], floor + height / 2.0),
            size,
            kept.yaw,
        ),
        velocity_mps: [0.0; 2],
        num_points: s.num_points,
        sought: false,
    };
    Some((how, path.sightings.iter().zip(&kept.centers).map(at).collect()))
}

/// At this heading or a quarter turn of it: one pose, or followed where that fits much better.
fn stand(path: &Path, verdict: &Verdict, class: &ClassSpec, yaw: f64, row_yaw: Option<f64>) -> Option<(How, Parked)> {
    let one = rectangle(path, verdict, class, yaw, row_yaw)?;
    let one_m = one.edge_fit_m(path);
    let headings = [one.yaw, near_heading(mean_yaw(path), one.yaw)];
    let followed = headings.into_iter().filter_map(|yaw| follow(path, yaw, class));
    let better = followed
        .map(|followed| (followed.edge_fit_m(path), followed))
        .reduce(|best, other| if other.0 < best.0 { other } else { best })
        .filter(|(edge_m, _)| is_much_better(*edge_m, one_m));
    Some(match better {
        Some((edge_m, kept)) => (How { size_source: kept.source, refined: "followed", edge_m, refused_edge_m: Some(one_m) }, kept),
        None => (How { size_source: one.source, refined: ONE_POSE, edge_m: one_m, refused_edge_m: None }, one),
    })
}

fn is_much_better(edge_m: f64, held_m: f64) -> bool {
    edge_m < MUCH_BETTER * held_m - MUCH_BETTER_M
}

/// A parked object: where it stood at each sighting.
struct Parked {
    centers: Vec<[f64; 2]>,
    yaw: f64,
    length_width: [f64; 2],
    source: &'static str,
}

impl Parked {
    fn at_one_pose(path: &Path, center: [f64; 2], yaw: f64, length_width: [f64; 2], source: &'static str) -> Self {
        Self { centers: vec![center; path.sightings.len()], yaw, length_width, source }
    }

    fn edge_fit_m(&self, path: &Path) -> f64 {
        path.edge_fit_m(|index| (self.centers[index], self.yaw), self.length_width)
    }
}

/// Heading and size of the whole track, but the place as it was measured about each moment: where the vehicle's own pose drifts, a parked
/// object seems to drift too, and one pose would be right for no sweep.
fn follow(path: &Path, length_yaw: f64, class: &ClassSpec) -> Option<Parked> {
    if path.sightings.len() < FOLLOW_HITS {
        return None;
    }
    let (length_width, source) = size(path, &vec![length_yaw; path.sightings.len()], class)?;
    let kind = Kind::of(class);
    let measured: Vec<[f64; 2]> = path.sightings.iter().map(|s| s.centered(kind, length_yaw, length_width)).collect();
    let centers = lines(path, &measured, FOLLOW_S).iter().map(|line| line.position).collect();
    Some(Parked { centers, yaw: length_yaw, length_width, source })
}

/// The quarter turn of a heading that is nearest to another; the other itself where none is near, because then one of them is no heading.
fn near_heading(yaw: f64, other: f64) -> f64 {
    let quarter = std::f64::consts::FRAC_PI_2;
    let apart = yaw - other - ((yaw - other) / quarter).round() * quarter;
    if apart.abs() < MAX_TURN_RAD { other + apart } else { other }
}

/// Mean of the sightings' headings, which are known up to quarter turns.
fn mean_yaw(path: &Path) -> f64 {
    let (mut x, mut y) = (0.0, 0.0);
    for s in &path.sightings {
        let (sin, cos) = (4.0 * s.yaw_rad).sin_cos();
        let weight = s.weight() / (0.05 + s.residual_m);
        (x, y) = (x + weight * cos, y + weight * sin);
    }
    y.atan2(x) / 4.0
}

fn upright(path: &Path, class: &ClassSpec) -> Option<Parked> {
    let middles: Vec<[f64; 2]> = path.sightings.iter().map(Sighting::middle).collect();
    let axis = |axis: usize| quantile(middles.iter().map(|m| m[axis]), 0.5);
    let side = |axis: usize| class.prior_lwh_m[axis];
    Some(Parked::at_one_pose(path, [axis(0)?, axis(1)?], path.sightings.first()?.yaw_rad, [side(0), side(1)], "prior"))
}

fn rectangle(path: &Path, verdict: &Verdict, class: &ClassSpec, yaw: f64, row_yaw: Option<f64>) -> Option<Parked> {
    let spans = robust_spans(path, yaw)?;
    let nearest = path.sightings.iter().min_by(|a, b| a.range_m.total_cmp(&b.range_m))?;
    let lidar = anchor(Kind::of(class), nearest.lidar_xy);
    let extents = [spans[0][1] - spans[0][0], spans[1][1] - spans[1][0]];
    let turned = length_is_second(path, verdict, class, yaw, extents, row_yaw);
    let (along, across) = if turned { (extents[1], extents[0]) } else { (extents[0], extents[1]) };
    let length_yaw = if turned { yaw + std::f64::consts::FRAC_PI_2 } else { yaw };
    let [length, width] = [(along, 0), (across, 1)].map(|(seen, axis)| whole(path, seen, class, axis, |_| length_yaw));
    let lengths = if turned { [width, length] } else { [length, width] };
    let center = center_along(spans, yaw.sin_cos(), lengths, lidar, mostly_covered(path, Kind::of(class), yaw));
    Some(Parked::at_one_pose(path, center, length_yaw, [length, width], if length > along + 0.2 { "prior" } else { "seen" }))
}

/// The ends that something hid in more than three of four sightings.
fn mostly_covered(path: &Path, kind: Kind, yaw: f64) -> CoveredEnds {
    let mut count = [[0; 2]; 2];
    for ends in path.sightings.iter().map(|s| s.covered_ends(kind, yaw)) {
        count.iter_mut().flatten().zip(ends.into_iter().flatten()).for_each(|(count, covered)| *count += usize::from(covered));
    }
    count.map(|ends| ends.map(|count| 4 * count > 3 * path.sightings.len()))
}

/// A side that something bounds was cut where it is shorter than the prior by more than this part of what the class allows; most others are as long as they
/// look ([`crate::horizon`]).
const CUT_FROM: f64 = 0.6;

/// Whole length of a side of a track: the view that hid it least decides (one in four may be wrong).
pub(super) fn whole(path: &Path, seen: f64, class: &ClassSpec, axis: usize, yaw_of: impl Fn(usize) -> f64) -> f64 {
    let sightings = || path.sightings.iter().enumerate();
    let views = sightings().map(|(index, s)| hidden(s.middle(), yaw_of(index), axis, s.lidar_xy));
    // A lidar misses a little at rounded ends.
    let seen = seen + 0.05;
    let whole = whole_side(seen, class, axis, quantile(views, 0.25).unwrap_or(1.0));
    let (min, prior, kind) = (class.min_lwh_m[axis], class.prior_lwh_m[axis], Kind::of(class));
    let covered = sightings().filter(|(index, s)| s.covered_ends(kind, yaw_of(*index))[axis] != [false; 2]).count();
    if seen >= prior || 4 * covered <= 3 * path.sightings.len() {
        return whole;
    }
    let short = (prior - seen) / (prior - min).max(1e-6);
    let cut = ((short - CUT_FROM) / (1.0 - CUT_FROM)).clamp(0.0, 1.0);
    whole.max(seen + cut * (prior - seen))
}

/// Whether the length lies along the second axis: the longer side where it is longer than a width, else as it does beside it, else by the votes.
fn length_is_second(path: &Path, verdict: &Verdict, class: &ClassSpec, yaw: f64, extents: [f64; 2], row_yaw: Option<f64>) -> bool {
    if extents[0].max(extents[1]) > 1.3 * class.prior_lwh_m[1] {
        return extents[1] > extents[0];
    }
    if let Some(row_yaw) = row_yaw {
        return (2.0 * (row_yaw - yaw)).cos() < 0.0;
    }
    let along_second = |s: &Sighting| -> f64 { -s.weight() * (2.0 * (s.length_yaw(verdict.class) - yaw)).cos() };
    path.sightings.iter().map(along_second).sum::<f64>() > 0.0
}

/// Middles of the cells that hold a point of at least two sweeps (of one where there are few sightings), in a fixed order.
fn seen_often(path: &Path) -> Vec<[f64; 2]> {
    let cell = |v: f64| (v / CELL_M).floor() as i64;
    let mut seen: Vec<(i64, i64, usize)> =
        path.sightings.iter().flat_map(|s| s.outline.iter().map(move |p| (cell(p[0]), cell(p[1]), s.sweep))).collect();
    seen.sort_unstable();
    seen.dedup();
    let needed = if path.sightings.len() >= 4 { 2 } else { 1 };
    let cells = |needed: usize| -> Vec<[f64; 2]> {
        let same = |a: &(i64, i64, usize), b: &(i64, i64, usize)| (a.0, a.1) == (b.0, b.1);
        let often = seen.chunk_by(same).filter(|chunk| chunk.len() >= needed);
        often.map(|chunk| [(chunk[0].0 as f64 + 0.5) * CELL_M, (chunk[0].1 as f64 + 0.5) * CELL_M]).collect()
    };
    let often = cells(needed);
    if often.len() >= 8 { often } else { cells(1) }
}

/// Where the sides are along the axes: of the sides that the sightings found one by one, those that three in four do not pass. Laid over
/// each other, all points together would be as wide as the poses are wrong.
fn robust_spans(path: &Path, yaw: f64) -> Option<[[f64; 2]; 2]> {
    let seen: Vec<[[f64; 2]; 2]> = path.sightings.iter().map(|s| spans(&s.outline, yaw)).collect();
    let side = |axis: usize, end: usize, share: f64| quantile(seen.iter().map(|s| s[axis][end]), share);
    Some([[side(0, 0, 0.25)?, side(0, 1, 0.75)?], [side(1, 0, 0.25)?, side(1, 1, 0.75)?]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Vote;
    use crate::clip::placed::fixture::{path, sighting};
    use crate::look::TrackLooks;
    use boxwright_model::ClassId;

    /// The two faces of a car that a lidar at the left and below sees.
    fn faces(center: [f64; 2], yaw: f64) -> Vec<[f64; 2]> {
        let (sin, cos) = yaw.sin_cos();
        let corner = |u: f64, v: f64| [center[0] + u * cos - v * sin, center[1] + u * sin + v * cos];
        let share = |step: i32| f64::from(step) / 27.0 - 0.5;
        (0..28).flat_map(|step| [corner(-2.125, 1.78 * share(step)), corner(4.25 * share(step), -0.89)]).collect()
    }

    #[test]
    fn a_parked_car_keeps_its_heading_where_the_pose_of_the_vehicle_drifts() {
        let taxonomy = Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap();
        let verdict = Verdict { class: ClassId(0), score: 0.9, logits: vec![1.0], looks: TrackLooks::default() };
        let yaw = 0.6;
        let placed = |drift_m: f64| {
            let seen = |sweep: usize| {
                let away = drift_m * sweep as f64;
                Sighting { yaw_rad: yaw, extents_m: [4.25, 1.78], ..sighting(sweep, faces([0.18 * away, 0.98 * away], yaw)) }
            };
            place(&path((0..12).map(seen).collect()), &verdict, &taxonomy, None).unwrap()
        };
        for drift_m in [0.0, 0.4] {
            let (how, placements) = placed(drift_m);
            let turn = (placements[0].world_from_box.yaw_rad() - yaw).rem_euclid(std::f64::consts::PI);
            assert!(turn.min(std::f64::consts::PI - turn) < 0.05, "{drift_m}: {turn} {how:?}");
            assert!((placements[0].world_from_box.size_lwh_m.y - 1.78).abs() < 0.2, "{drift_m}: {placements:?}");
            assert_eq!(how.refused_edge_m.is_some(), drift_m > 0.0, "{how:?}");
        }
    }

    #[test]
    fn a_car_of_which_only_an_end_was_seen_stands_as_those_beside_it() {
        let taxonomy = Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap();
        let verdict = Verdict { class: ClassId(0), score: 0.9, logits: vec![1.0], looks: TrackLooks::default() };
        // Of a car along `yaw`, a face of this length across it and a little of its side; by the votes the face is a part of its length.
        let length_yaw = |face_m: f64, row_yaw: Option<f64>| {
            let (sin, cos) = 0.6_f64.sin_cos();
            let corner = |u: f64, v: f64| [10.0 + u * cos - v * sin, 10.0 + u * sin + v * cos];
            let share = |step: i32| f64::from(step) / 27.0 - 0.5;
            let faces = || {
                (0..28).flat_map(|step| [corner(-0.25, face_m * share(step)), corner(0.5 * share(step), -face_m / 2.0)]).collect()
            };
            let vote = Vote { class: ClassId(0), logit: 1.0, camera: None, turned: true };
            let seen = |sweep| Sighting { yaw_rad: 0.6, extents_m: [0.5, face_m], votes: vec![vote], ..sighting(sweep, faces()) };
            let (_, placements) = place(&path((0..12).map(seen).collect()), &verdict, &taxonomy, row_yaw).unwrap();
            placements[0].world_from_box.yaw_rad()
        };
        let is_along = |yaw: f64, other: f64| (2.0 * (yaw - other)).cos() > 0.95;
        let across = 0.6 + std::f64::consts::FRAC_PI_2;
        assert!(is_along(length_yaw(1.7, None), across), "by its votes");
        // Beside it they stand nearly along it; the other way round they say the same as the votes.
        assert!(is_along(length_yaw(1.7, Some(0.7)), 0.6) && is_along(length_yaw(1.7, Some(across + 3.0)), across));
        // A face that is longer than any width is a length, whatever stands beside it.
        assert!(is_along(length_yaw(3.0, Some(0.7)), across));
    }

    #[test]
    fn a_side_that_something_hides_is_no_longer_than_its_class_allows() {
        let taxonomy = Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap();
        let car = taxonomy.get(ClassId(0));
        // Seen from the left and below, an end across the line of sight hidden: the length of a car that lies along y.
        let length = |seen: f64, covered: bool| {
            let seen_from = |sweep| Sighting { covered_left_right: [covered, false], ..sighting(sweep, faces([0.0; 2], 0.0)) };
            whole(&path((0..12).map(seen_from).collect()), seen, car, 0, |_| std::f64::consts::FRAC_PI_2)
        };
        // As it was seen, but for what lidars miss at rounded ends; cut where it is as short as hardly any car.
        assert_eq!([length(3.9, false), length(3.9, true), length(3.2, false)].map(|m| (m * 100.0).round()), [395.0, 395.0, 325.0]);
        assert!((3.5..4.25).contains(&length(3.2, true)), "{}", length(3.2, true));
        assert_eq!([length(7.0, false), length(7.0, true)], [car.max_lwh_m[0]; 2]);
    }
}
