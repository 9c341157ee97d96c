//! A track in the world frame: what was seen, and where the finish put it.

use std::sync::Arc;

use boxwright_model::{ClassId, Cuboid};
use nalgebra::Point3;

use super::motion::Motion;
use super::{SweepInfo, is_hole};
use crate::classify::{Kind, Vote, anchor};
use crate::fit::{CoveredEnds, NOT_COVERED, center_along, completed_center, covered_ends, spans};
use crate::look::TrackLooks;
use crate::models::ModelSpec;
use crate::track::TrackHistory;

/// One sighting in the world frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// Number of the sweep.
    pub sweep: usize,
    /// Seconds from the first sweep of the clip to when its middle was where the outline shows it.
    pub seconds: f64,
    /// When the points were measured.
    pub stamp_ns: i64,
    /// When the first and the last of them was.
    pub points_ns: [i64; 2],
    /// The points seen from above, relative to [`Path::origin`].
    pub outline: Vec<[f64; 2]>,
    /// Where each of them was measured, and when: seconds since `stamp_ns`.
    pub measured: Vec<([f64; 2], f64)>,
    /// Where the lidar stood, relative to [`Path::origin`].
    pub lidar_xy: [f64; 2],
    /// Height of the ground below it, world frame.
    pub floor_m: f64,
    /// Height of its top above the ground.
    pub top_m: f64,
    /// Heading of the rectangle's first axis, world frame.
    pub yaw_rad: f64,
    /// Seen lengths along the two axes.
    pub extents_m: [f64; 2],
    /// Mean distance of the outline to the nearer side.
    pub residual_m: f64,
    /// Lidar points.
    pub num_points: u32,
    /// Whether something nearer hides what would be to the left and to the right of it, seen from the lidar, in most of the sightings about this one.
    pub covered_left_right: [bool; 2],
    /// Distance from the lidar.
    pub range_m: f64,
    /// What it can be.
    pub votes: Vec<Vote>,
    /// The box in the world frame, where a detector gave it whole.
    pub given: Option<Cuboid>,
}

/// All sightings of a track.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Number of the track.
    pub number: u32,
    /// World x, y that the sightings are relative to: UTM-sized numbers would cost digits in sums of squares.
    pub origin: [f64; 2],
    /// Stamp of the first sweep of the clip.
    pub start_ns: i64,
    /// The sightings, in order of sweeps; never empty.
    pub sightings: Vec<Sighting>,
    /// Tracks of the tracker that were joined into it.
    pub parts: u32,
    /// Sweeps in which it was hidden for longer than a track coasts: it is no fault of a track to have no sightings there.
    pub hidden_sweeps: usize,
    /// The model that gave most of the boxes whole; `None` where most were fitted to points.
    pub given_by: Option<Arc<ModelSpec>>,
}

impl Path {
    /// The middle one of the edge fits of all sightings, each with its centre and heading.
    pub(super) fn edge_fit_m(&self, place: impl Fn(usize) -> ([f64; 2], f64), length_width: [f64; 2]) -> f64 {
        let fits = self.sightings.iter().enumerate().map(|(index, s)| {
            let (center, yaw) = place(index);
            s.edge_fit_m(center, yaw, length_width)
        });
        quantile(fits, 0.5).unwrap_or(f64::INFINITY)
    }

    pub(super) fn of(track: &TrackHistory, sweeps: &[SweepInfo], max_coast_s: f64) -> Option<Self> {
        let start_ns = sweeps.first()?.stamp_ns;
        let first = track.observations.first()?;
        let middle = first.candidate.shape.middle();
        let at = sweeps.get(first.sweep)?.world_from_ego * Point3::new(middle[0], middle[1], first.candidate.shape.floor_m);
        let origin = [at.x, at.y];
        let mut sightings = Vec::with_capacity(track.observations.len());
        for observation in &track.observations {
            let (candidate, sweep) = (&observation.candidate, sweeps.get(observation.sweep)?);
            let shape = &candidate.shape;
            let relative = |p: [f64; 2]| {
                let world = sweep.world_from_ego * Point3::new(p[0], p[1], shape.floor_m);
                [world.x - origin[0], world.y - origin[1]]
            };
            let middle = shape.middle();
            let since_stamp_s =
                |after_ns: i64| sweep.stamp_ns.saturating_add(after_ns).saturating_sub(candidate.stamp_ns) as f64 * 1e-9;
            let measured = shape.outline.iter().zip(&candidate.outline_moments).map(|(p, moment)| {
                let seen = [p[0] - f64::from(moment.carried_m[0]), p[1] - f64::from(moment.carried_m[1])];
                (relative(seen), since_stamp_s(i64::from(moment.after_ns)))
            });
            let holds_ns = sweep.stamp_ns.saturating_add(candidate.holds_after_ns);
            sightings.push(Sighting {
                sweep: observation.sweep,
                seconds: holds_ns.saturating_sub(start_ns) as f64 * 1e-9,
                stamp_ns: candidate.stamp_ns,
                points_ns: candidate.points_ns,
                outline: shape.outline.iter().map(|p| relative(*p)).collect(),
                measured: measured.collect(),
                lidar_xy: relative(candidate.lidar_xy),
                floor_m: (sweep.world_from_ego * Point3::new(middle[0], middle[1], shape.floor_m)).z,
                top_m: shape.bottom_top_m[1],
                yaw_rad: shape.yaw_rad + boxwright_model::space::yaw_rad(&sweep.world_from_ego.rotation),
                extents_m: shape.extents_m(),
                residual_m: shape.residual_m,
                num_points: shape.num_points,
                covered_left_right: candidate.covered_left_right,
                range_m: candidate.range_m(),
                votes: candidate.votes.clone(),
                given: candidate.given_by.is_some().then(|| candidate.ego_from_box.transformed(&sweep.world_from_ego)),
            });
        }
        steady(&mut sightings);
        let ends = track.observations.windows(2).map(|pair| [pair[0].sweep, pair[1].sweep]);
        let holes = ends.filter(|[before, after]| is_hole(sweeps, *before, *after, max_coast_s));
        let hidden_sweeps = holes.map(|[before, after]| after - before - 1).sum();
        Some(Self {
            number: track.number,
            parts: track.parts,
            origin,
            start_ns,
            sightings,
            hidden_sweeps,
            given_by: given_by(track),
        })
    }

    /// The same path with every outline as it was at the sighting's stamp, for a thing that has these velocities at its sightings.
    pub(super) fn at_stamps(&self, velocities_mps: &[[f64; 2]]) -> Self {
        let mut path = self.clone();
        for (sighting, [vx, vy]) in path.sightings.iter_mut().zip(velocities_mps) {
            let still = |(p, after_s): &([f64; 2], f64)| [p[0] - vx * after_s, p[1] - vy * after_s];
            sighting.outline = sighting.measured.iter().map(still).collect();
            sighting.seconds = sighting.stamp_ns.saturating_sub(self.start_ns) as f64 * 1e-9;
        }
        path
    }

    /// Seconds from the first to the last sighting.
    pub(super) fn duration_s(&self) -> f64 {
        match (self.sightings.first(), self.sightings.last()) {
            (Some(first), Some(last)) => last.seconds - first.seconds,
            _ => 0.0,
        }
    }
}

/// How many sightings before and after one have a say in what hides it.
const STEADY: usize = 3;

/// What hides an object is what hides it in most of the sightings about one: from sweep to sweep a post more or less would move its middle.
fn steady(sightings: &mut [Sighting]) {
    let seen: Vec<[bool; 2]> = sightings.iter().map(|s| s.covered_left_right).collect();
    for (index, sighting) in sightings.iter_mut().enumerate() {
        let about = &seen[index.saturating_sub(STEADY)..(index + STEADY + 1).min(seen.len())];
        sighting.covered_left_right = [0, 1].map(|side| 2 * about.iter().filter(|covered| covered[side]).count() > about.len());
    }
}

/// The model of most of a track's boxes.
fn given_by(track: &TrackHistory) -> Option<Arc<ModelSpec>> {
    let models = || track.observations.iter().filter_map(|observation| observation.candidate.given_by.as_ref());
    if 2 * models().count() < track.observations.len() {
        return None;
    }
    // One model gives all boxes of a run; where its version changed within the track, the last one is named.
    models().last().cloned()
}

impl Sighting {
    /// Weight in means: more points know more, to a limit.
    pub(super) fn weight(&self) -> f64 {
        // A box that was given may hold no point above the ground and is a box all the same.
        f64::from(self.num_points.clamp(1, 100)).sqrt()
    }

    /// Middle of what was seen.
    pub(super) fn middle(&self) -> [f64; 2] {
        completed_center(spans(&self.outline, self.yaw_rad), self.yaw_rad, self.extents_m, [f64::NAN; 2])
    }

    /// Centre of an object of this kind, length and width with its length along `yaw_rad`: what is longer than was seen goes on behind what hides it,
    /// else away from the lidar.
    pub(super) fn centered(&self, kind: Kind, yaw_rad: f64, length_width: [f64; 2]) -> [f64; 2] {
        let (spans, covered) = (spans(&self.outline, yaw_rad), self.covered_ends(kind, yaw_rad));
        center_along(spans, yaw_rad.sin_cos(), length_width, anchor(kind, self.lidar_xy), covered)
    }

    /// Which ends of an object that lies along `yaw_rad` something nearer hides. Of people and riders, who grow to both sides, none.
    pub(super) fn covered_ends(&self, kind: Kind, yaw_rad: f64) -> CoveredEnds {
        if self.covered_left_right == [false; 2] || !kind.has_faces() {
            return NOT_COVERED;
        }
        covered_ends(self.middle(), yaw_rad, self.lidar_xy, self.covered_left_right)
    }

    /// Mean distance of the outline to the nearest side of a rectangle (length along `yaw_rad`): how well it lies on what was seen.
    pub(super) fn edge_fit_m(&self, center: [f64; 2], yaw_rad: f64, length_width: [f64; 2]) -> f64 {
        edge_fit_m(self.outline.iter().copied(), center, yaw_rad, length_width).unwrap_or(0.0)
    }

    /// Heading of the length for a class, by that class's vote.
    pub(super) fn length_yaw(&self, class: ClassId) -> f64 {
        let turned = self.votes.get(usize::from(class.0)).is_some_and(|vote| vote.turned);
        if turned { self.yaw_rad + std::f64::consts::FRAC_PI_2 } else { self.yaw_rad }
    }
}

/// Where an object was at one sighting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Number of the sweep.
    pub sweep: usize,
    /// When the points were measured.
    pub stamp_ns: i64,
    /// When the first and the last of them was; the stamp of the sweep where it was sought.
    pub points_ns: [i64; 2],
    /// The box at that time.
    pub world_from_box: Cuboid,
    /// Velocity at that time.
    pub velocity_mps: [f64; 2],
    /// Lidar points; where it was sought, all that are within its sides or 15 cm beyond them.
    pub num_points: u32,
    /// No detection of its own: found in the sweep because the rest of the track says where it stood ([`super::seek`]).
    pub sought: bool,
}

/// How the boxes of a track came about: what the finish proposed, and whether the acceptance test took it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct How {
    /// Where the size is from: `seen`, `prior`, `given` by a detector, or `given_each` where a detector's boxes agree on none and keep their own.
    pub size_source: &'static str,
    /// `one_pose`: parked, all boxes alike; `followed`: parked, but one pose fitted worse, because the vehicle's own pose drifts;
    /// `smoothed`: moving, along a smooth path; `as_measured`: moving, but a smooth path fitted worse.
    pub refined: &'static str,
    /// Distance of the outlines to the boxes' sides, the middle one of all sightings (metres).
    pub edge_m: f64,
    /// The same of what was refused; `None` where nothing was.
    pub refused_edge_m: Option<f64>,
}

/// A track that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Number of the track.
    pub number: u32,
    /// Tracks of the tracker that were joined into it ([`crate::track::join_parts`]).
    pub parts: u32,
    /// Class.
    pub class: ClassId,
    /// Confidence in `[0, 1]`.
    pub score: f64,
    /// The same before it was made a probability.
    pub raw_score: f64,
    /// How it moved.
    pub motion: Motion,
    /// How the boxes came about.
    pub how: How,
    /// Mean log-odds a class, for the evidence.
    pub logits: Vec<f64>,
    /// What cameras said: part of the log-odds.
    pub looks: TrackLooks,
    /// The model that gave its boxes whole.
    pub given_by: Option<Arc<ModelSpec>>,
    /// One placement a sighting, and one a sweep in which it was found by seeking; in order of sweeps, never empty.
    pub placements: Vec<Placement>,
}

/// Mean distance of points to the nearest side of a rectangle (length along `yaw_rad`); `None` without points.
pub(super) fn edge_fit_m(
    points: impl Iterator<Item = [f64; 2]>,
    center: [f64; 2],
    yaw_rad: f64,
    length_width: [f64; 2],
) -> Option<f64> {
    let (sin, cos) = yaw_rad.sin_cos();
    let off = |p: [f64; 2]| {
        let (x, y) = (p[0] - center[0], p[1] - center[1]);
        let beyond = |along: f64, side: f64| along.abs() - side / 2.0;
        let (du, dv) = (beyond(x * cos + y * sin, length_width[0]), beyond(y * cos - x * sin, length_width[1]));
        if du.max(dv) <= 0.0 { -du.max(dv) } else { du.max(0.0).hypot(dv.max(0.0)) }
    };
    let (sum, count) = points.map(off).fold((0.0, 0u32), |(sum, count), off| (sum + off, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The value below which a share of the values lies; `None` without values.
pub(super) fn quantile(values: impl Iterator<Item = f64>, share: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = (share * (sorted.len().max(1) - 1) as f64).round() as usize;
    sorted.get(at).copied()
}

#[cfg(test)]
pub(super) mod fixture {
    use super::*;

    /// A sighting of a car a tenth of a second after the one in the sweep before.
    pub(in crate::clip) fn sighting(sweep: usize, outline: Vec<[f64; 2]>) -> Sighting {
        Sighting {
            sweep,
            seconds: 0.1 * sweep as f64,
            stamp_ns: sweep as i64 * 100_000_000,
            points_ns: [0; 2],
            outline,
            measured: Vec::new(),
            lidar_xy: [-10.0, 0.0],
            floor_m: 0.0,
            top_m: 1.5,
            yaw_rad: 0.0,
            extents_m: [4.0, 1.8],
            residual_m: 0.0,
            num_points: 50,
            covered_left_right: [false; 2],
            range_m: 10.0,
            votes: Vec::new(),
            given: None,
        }
    }

    /// A parked car with a box of 4.5 by 1.8 m at (12, 6) in each of these sweeps of 10 Hz.
    pub(in crate::clip) fn parked(number: u32, class: ClassId, sweeps: impl Iterator<Item = usize>) -> Placed {
        let placement = |sweep: usize| Placement {
            sweep,
            stamp_ns: sweep as i64 * 100_000_000,
            points_ns: [sweep as i64 * 100_000_000; 2],
            world_from_box: Cuboid::upright([12.0, 6.0, 0.75].into(), [4.5, 1.8, 1.5].into(), 0.3),
            velocity_mps: [0.0; 2],
            num_points: 100,
            sought: false,
        };
        Placed {
            number,
            parts: 1,
            class,
            score: 0.8,
            raw_score: 0.8,
            motion: Motion {
                is_static: true,
                shift_m: 0.0,
                speed_mps: 0.0,
                heading_rad: 0.0,
                wander_m: 0.0,
                jitter_m: 0.0,
                halfway: 0.5,
            },
            how: How { size_source: "seen", refined: "one_pose", edge_m: 0.0, refused_edge_m: None },
            logits: Vec::new(),
            looks: TrackLooks::default(),
            given_by: None,
            placements: sweeps.map(placement).collect(),
        }
    }

    pub(in crate::clip) fn path(sightings: Vec<Sighting>) -> Path {
        Path { number: 0, parts: 1, origin: [0.0; 2], start_ns: 0, sightings, hidden_sweeps: 0, given_by: None }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::sighting;
    use super::*;

    #[test]
    fn what_flickers_hides_nothing_and_what_hides_for_long_is_not_seen_past_for_a_moment() {
        let steadied = |covered: fn(usize) -> bool| -> Vec<bool> {
            let seen = |sweep| Sighting { covered_left_right: [covered(sweep), false], ..sighting(sweep, Vec::new()) };
            let mut sightings: Vec<Sighting> = (0..20).map(seen).collect();
            steady(&mut sightings);
            sightings.iter().map(|s| s.covered_left_right[0]).collect()
        };
        assert_eq!(steadied(|sweep| sweep % 3 == 0), [false; 20]);
        assert_eq!(steadied(|sweep| sweep != 7), [true; 20]);
        assert_eq!(steadied(|sweep| sweep >= 10), std::array::from_fn::<bool, 20, _>(|sweep| sweep >= 10));
    }
}
