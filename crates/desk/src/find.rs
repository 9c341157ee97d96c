//! A click becomes a box, and the box a track: fit where somebody points, then follow the object through the clip.
//!
//! Ground, groups, fit and classes are the auto-labeller's own. What a click adds is where to look: the group nearest to it is fitted
//! whatever its score, and where the groups there make no object, the points around the click are.

use std::sync::Arc;

use boxwright_label::carry::Carried;
use boxwright_label::classify::{Kind, anchor, whole_size};
use boxwright_label::cluster::{self, Clusters};
use boxwright_label::detect::{DetectConfig, detect};
use boxwright_label::fit::{FitConfig, fit_box};
use boxwright_label::moments::Moments;
use boxwright_label::{LabelConfig, ground};
use boxwright_model::space::wrap_rad;
use boxwright_model::{ClassId, Cuboid, Taxonomy};
use nalgebra::{UnitQuaternion, Vector3};

use crate::geometry::{Refusal, count, flipped};
use crate::operation::{Around, Surroundings};

/// Points farther than this from the click are not grouped: no object that has a box is larger.
const CROP_M: f64 = 16.0;
/// A click farther than this from every group is a click on nothing.
const REACH_M: f64 = 1.5;
/// Where no group is an object, the points this near to the click are taken for one.
const FALLBACK_M: f64 = 1.2;
/// Points lower than this above the ground are ground when a click is fitted without a group.
const SKIN_M: f64 = 0.25;
/// How far the object may be from where it is expected, in the next sample and for every sample that it was not seen.
const GATE_M: f64 = 1.2;
/// Samples in a row without the object after which it is taken to be gone.
const MISSES: u32 = 3;
/// A heading that differs more from the last one is a wrong fit, not a turn.
const MAX_TURN_RAD: f64 = 0.35;
/// An object half of whose fits lie this near to the first one, and nine tenths twice as near, did not move.
const STILL_M: f64 = 0.6;
/// Boxes after which an object that has not moved is taken to stand.
const STILL_AFTER: usize = 5;
/// Points in the box of an object that stands, below which it is hidden or too far away.
const STILL_POINTS: u32 = 3;
/// Most samples that a new box is carried in each direction: half a minute at 10 Hz.
const MAX_FOLLOW: u32 = 300;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The box in the ego frame of its sample.
    pub ego_from_box: Cuboid,
    /// Its class.
    pub class: ClassId,
}

/// Ground height below a place, in the ego frame of the points.
#[must_use]
pub fn floor_at(points: &[[f32; 3]], at_xy: [f64; 2]) -> f64 {
    let ground = ground::segment(points, [0.0; 3], &LabelConfig::default().ground);
    f64::from(ground.grid.at(at_xy[0] as f32, at_xy[1] as f32))
}

/// The object at a place: of the class that is asked for, else of the likeliest one.
#[must_use]
pub fn object_at(points: &[[f32; 3]], at_xy: [f64; 2], class: Option<ClassId>, taxonomy: &Arc<Taxonomy>) -> Option<Found> {
    let config = LabelConfig::default();
    let ground = ground::segment(points, [0.0; 3], &config.ground);
    let distance = |p: &[f32; 3]| (f64::from(p[0]) - at_xy[0]).hypot(f64::from(p[1]) - at_xy[1]);
    let (near, heights): (Vec<[f32; 3]>, Vec<f32>) =
        points.iter().zip(&ground.height_above_m).filter(|(p, _)| distance(p) < CROP_M).map(|(p, height)| (*p, *height)).unzip();
    let clusters = cluster::cluster(&near, &heights, config.ground.band_m, [0.0; 3], &[], &config.cluster);
    let from_click = |members: &[u32]| {
        members.iter().filter_map(|member| near.get(*member as usize)).map(distance).fold(f64::INFINITY, f64::min)
    };
    let nearest =
        clusters.groups.iter().map(|group| (from_click(&group.members), group)).min_by(|one, two| one.0.total_cmp(&two.0));
    if let Some((away_m, group)) = nearest
        && away_m <= REACH_M
    {
        let alone = Clusters { groups: vec![group.clone()], columns: clusters.columns.clone() };
        let detect_config = DetectConfig { min_score: 0.0, ..DetectConfig::default() };
        let carried = Carried::default();
        // A person points at one sweep: when its points were measured does not matter to the fit.
        let moments = Moments { stamp_ns: 0, offset_ns: None, source: &[], carried: &carried };
        let found = detect(&near, &alone, &heights, [0.0; 2], None, &moments, taxonomy, &detect_config).into_iter().next();
        if let Some(candidate) = found {
            let vote = class.and_then(|class| candidate.votes.iter().find(|vote| vote.class == class)).copied();
            let Some(vote) = vote else {
                return Some(Found { ego_from_box: candidate.ego_from_box, class: candidate.class });
            };
            let spec = taxonomy.get(vote.class);
            let size = whole_size(&candidate.shape, spec, vote.turned, [0.0; 2]);
            let ego_from_box = candidate.shape.complete(size, vote.turned, anchor(Kind::of(spec), [0.0; 2]));
            return Some(Found { ego_from_box, class: vote.class });
        }
    }
    around_click(&near, &heights, distance, class, taxonomy)
}

/// The points around a click as one object, where the groups there are none.
fn around_click(
    near: &[[f32; 3]],
    heights: &[f32],
    distance: impl Fn(&[f32; 3]) -> f64,
    class: Option<ClassId>,
    taxonomy: &Taxonomy,
) -> Option<Found> {
    let is_on_it = |index: &u32| {
        let index = *index as usize;
        distance(&near[index]) < FALLBACK_M && f64::from(heights[index]) > SKIN_M
    };
    let members: Vec<u32> = (0..u32::try_from(near.len()).ok()?).filter(is_on_it).collect();
    let config = FitConfig { min_top_m: SKIN_M, ..FitConfig::default() };
    let shape = fit_box(near, heights, &members, [0.0; 2], &config)?;
    let [first, second] = shape.extents_m();
    let class = class.unwrap_or_else(|| taxonomy.unknown());
    let turned = second > first;
    let size = whole_size(&shape, taxonomy.get(class), turned, [0.0; 2]);
    Some(Found { ego_from_box: shape.complete(size, turned, [0.0; 2]), class })
}

/// A box that was found or carried on.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// Its sample.
    pub sample: u32,
    /// The box in the world frame.
    pub world_from_box: Cuboid,
    /// Points in it.
    pub points: u32,
    /// Not seen there: between two samples where it was.
    pub predicted: bool,
}

/// Follows an object from a sample to both ends of the clip, or until it is lost. The first box, which somebody has looked at, gives
/// size and class. Returns the boxes by sample, and whether the object stood still: then every box is the first one.
///
/// # Errors
/// When the points of a sample cannot be read.
pub fn follow(
    around: &dyn Surroundings,
    start: u32,
    world_from_box: &Cuboid,
    class: ClassId,
    taxonomy: &Arc<Taxonomy>,
) -> Result<(Vec<Followed>, bool), Around> {
    let first = seen(around, start, world_from_box)?;
    let mut all = vec![first];
    for step in [-1i64, 1] {
        all.extend(follow_one_way(around, start, step, world_from_box, class, taxonomy)?);
    }
    all.sort_by_key(|one| one.sample);
    let is_still = stood_still(&all, world_from_box);
    if is_still {
        all = standing(around, start, world_from_box)?;
    }
    Ok((all, is_still))
}

/// Whether the fits lie about one place. From afar only a corner of an object is fitted, so some may lie off it.
fn stood_still(all: &[Followed], first: &Cuboid) -> bool {
    let mut away_m: Vec<f64> = all.iter().map(|one| (one.world_from_box.center_m - first.center_m).xy().norm()).collect();
    away_m.sort_by(f64::total_cmp);
    let at = |share: f64| away_m.get((away_m.len() as f64 * share) as usize).copied().unwrap_or(0.0);
    at(0.5) < STILL_M && at(0.9) < 2.0 * STILL_M
}

/// An object that stands still, from a sample to both sides for as long as there are points in its box.
fn standing(around: &dyn Surroundings, start: u32, world_from_box: &Cuboid) -> Result<Vec<Followed>, Around> {
    let mut all = vec![seen(around, start, world_from_box)?];
    let before: Vec<u32> = (0..start).rev().take(MAX_FOLLOW as usize).collect();
    let after: Vec<u32> = (start + 1..around.samples()).take(MAX_FOLLOW as usize).collect();
    for samples in [before, after] {
        let mut hidden = Vec::new();
        for sample in samples {
            let one = seen(around, sample, world_from_box)?;
            if one.points >= STILL_POINTS {
                all.append(&mut hidden);
                all.push(one);
            } else if hidden.len() < MISSES as usize {
                hidden.push(Followed { predicted: true, ..one });
            } else {
                break;
            }
        }
    }
    all.sort_by_key(|one| one.sample);
    Ok(all)
}

fn seen(around: &dyn Surroundings, sample: u32, world_from_box: &Cuboid) -> Result<Followed, Around> {
    let ego_from_box = world_from_box.transformed(&around.world_from_ego(sample).inverse());
    let points = count(&ego_from_box, &around.points(sample)?);
    Ok(Followed { sample, world_from_box: *world_from_box, points, predicted: false })
}

fn follow_one_way(
    around: &dyn Surroundings,
    start: u32,
    step: i64,
    first: &Cuboid,
    class: ClassId,
    taxonomy: &Arc<Taxonomy>,
) -> Result<Vec<Followed>, Around> {
    let (mut found, mut last, mut per_sample, mut misses) = (Vec::new(), *first, Vector3::zeros(), 0u32);
    for away in 1..=i64::from(MAX_FOLLOW) {
        let Some(sample) = u32::try_from(i64::from(start) + step * away).ok().filter(|sample| *sample < around.samples()) else {
            break;
        };
        let is_still = found.len() >= STILL_AFTER && stood_still(&found, first);
        let (expected, gate_m) = if is_still {
            // What stood until now is looked for where it stood, and what lies off it is something else.
            (*first, STILL_M)
        } else {
            let ahead = f64::from(misses + 1);
            (Cuboid { center_m: last.center_m + per_sample * ahead, ..last }, GATE_M * ahead)
        };
        match match_in(around, sample, &expected, gate_m, class, taxonomy)? {
            Some(world_from_box) => {
                let passed = f64::from(misses + 1);
                let moved = (world_from_box.center_m - last.center_m) / passed;
                for gap in 1..=misses {
                    let share = f64::from(gap) / passed;
                    let between = crate::geometry::between(&last, &world_from_box, share);
                    let at = u32::try_from(i64::from(sample) - step * i64::from(misses + 1 - gap)).unwrap_or(sample);
                    found.push(Followed { predicted: true, ..seen(around, at, &between)? });
                }
                found.push(seen(around, sample, &world_from_box)?);
                // Half old, half new: one bad fit must not throw the object out of its gate.
                per_sample = if found.len() == 1 { moved } else { per_sample.lerp(&moved, 0.5) };
                (last, misses) = (world_from_box, 0);
            }
            None if misses + 1 >= MISSES => break,
            None => misses += 1,
        }
    }
    Ok(found)
}

/// The object in a sample, of the size that is known, where it is expected.
fn match_in(
    around: &dyn Surroundings,
    sample: u32,
    expected: &Cuboid,
    gate_m: f64,
    class: ClassId,
    taxonomy: &Arc<Taxonomy>,
) -> Result<Option<Cuboid>, Around> {
    let world_from_ego = around.world_from_ego(sample);
    let in_ego = expected.transformed(&world_from_ego.inverse());
    let points = around.points(sample)?;
    let Some(found) = object_at(&points, [in_ego.center_m.x, in_ego.center_m.y], Some(class), taxonomy) else { return Ok(None) };
    let fitted = found.ego_from_box;
    let aligned = aligned(&fitted, &in_ego);
    let resized = crate::geometry::resized_from(&aligned, in_ego.size_lwh_m.into(), [0.0; 3]);
    let Ok(resized) = resized else { return Ok(None) };
    let away_m = (resized.center_m - in_ego.center_m).xy().norm();
    Ok((away_m < gate_m).then(|| resized.transformed(&world_from_ego)))
}

/// A fit with the heading of what is expected where the two differ by a quarter or half turn, or by more than a turn of the object could.
fn aligned(fitted: &Cuboid, expected: &Cuboid) -> Cuboid {
    let mut best = *fitted;
    if wrap_rad(best.yaw_rad() - expected.yaw_rad()).abs() > std::f64::consts::FRAC_PI_2 {
        best = flipped(&best);
    }
    if wrap_rad(best.yaw_rad() - expected.yaw_rad()).abs() > MAX_TURN_RAD {
        let yaw = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), expected.yaw_rad());
        best = Cuboid { rotation: yaw, ..best };
    }
    best
}

/// The object at a click as a cuboid in the world frame.
///
/// # Errors
/// When there are no points of an object there, or they cannot be read.
pub fn clicked(
    around: &dyn Surroundings,
    sample: u32,
    at_xy: [f64; 2],
    class: Option<ClassId>,
    taxonomy: &Arc<Taxonomy>,
) -> Result<(Cuboid, ClassId), Around> {
    let points = around.points(sample)?;
    let found = object_at(&points, at_xy, class, taxonomy).ok_or_else(|| {
        Around::Refused(Refusal(format!("expected points of an object within {REACH_M} m of the click, got none")))
    })?;
    let checked = crate::geometry::check(found.ego_from_box).map_err(Around::Refused)?;
    Ok((checked.transformed(&around.world_from_ego(sample)), found.class))
}
