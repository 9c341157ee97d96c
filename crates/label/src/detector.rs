//! Who finds the objects of a sweep: one trait, and whoever stands behind it.
//!
//! | provider | where | what it gives |
//! | --- | --- | --- |
//! | built in | [`BuiltIn`] | shapes of groups of points, completed to whole objects |
//! | a network in the process | `boxwright-networks` | whole boxes |
//! | a service that puts its boxes on a topic | [`GivenBoxes`], filled by the pipeline | whole boxes |
//!
//! What leaves is a [`Candidate`] each time, so that tracks, camera votes, the finish and the rules need not know where it came from. A box that is
//! given whole stays what it is: nothing about it is completed ([`Candidate::given_by`]), and the finish takes its sizes and headings
//! ([`crate::clip::given`]).

use std::sync::Arc;

use boxwright_model::{ClassId, Cuboid, PointCloud, Taxonomy};
use nalgebra::Point3;

use crate::classify::Vote;
use crate::cluster::{Expected, cluster};
use crate::config::LabelConfig;
use crate::detect::{Candidate, DetectConfig, detect};
use crate::fit::{Shape, spans};
use crate::horizon::Horizon;
use crate::models::{ModelError, ModelSpec};
use crate::moments::{Moments, PointMoment};

/// A sweep as a detector may look at it: cleaned, in the ego frame at the sample's time.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Points in metres.
    pub points: &'a [[f32; 3]],
    /// Height of each above the ground (metres).
    pub height_above_m: &'a [f32],
    /// The sweep that they come from; [`Moments::source`] says where each stood in it.
    pub sweep: &'a PointCloud,
    /// Where the lidar sits (metres).
    pub origin_m: [f64; 3],
    /// Where vehicles that were seen a moment ago should be: what hangs together with something else is cut out there.
    pub expected: &'a [Expected],
    /// When the points were measured.
    pub moments: Moments<'a>,
    /// Classes.
    pub taxonomy: &'a Arc<Taxonomy>,
    /// Options of the stages.
    pub config: &'a LabelConfig,
    /// What is less likely may be left out: whoever looks at the candidates next needs no others.
    pub min_score: f64,
}

impl Scene<'_> {
    fn lidar_xy(&self) -> [f64; 2] {
        [self.origin_m[0], self.origin_m[1]]
    }

    /// Intensity of a cleaned point; 0 where the lidar tells none.
    #[must_use]
    pub fn intensity(&self, point: usize) -> f32 {
        let place = self.moments.source.get(point).map(|index| *index as usize);
        place.and_then(|index| self.sweep.intensity.get(index)).copied().filter(|value| value.is_finite()).unwrap_or(0.0)
    }
}

/// Finds the objects of one sweep. It keeps nothing from one call to the next, and the same scene gives the same answer.
pub trait Detector: Send + Sync {
    /// Which model it is; `None` for what is built in.
    fn spec(&self) -> Option<&ModelSpec>;

    /// The objects of a sweep.
    ///
    /// # Errors
    /// When a network cannot take the sweep.
    fn detect(&self, scene: &Scene<'_>) -> Result<Vec<Candidate>, ModelError>;
}

/// The detector that is built in: group the points, fit boxes to the groups, classify them by their shapes.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuiltIn;

impl Detector for BuiltIn {
    fn spec(&self) -> Option<&ModelSpec> {
        None
    }

    fn detect(&self, scene: &Scene<'_>) -> Result<Vec<Candidate>, ModelError> {
        let Scene { points, height_above_m, origin_m, expected, moments, taxonomy, config, .. } = scene;
        let clusters = cluster(points, height_above_m, config.ground.band_m, *origin_m, expected, &config.cluster);
        let options = DetectConfig { min_score: scene.min_score, ..config.detect.clone() };
        let horizon = Horizon::of(points, height_above_m, *origin_m);
        Ok(detect(points, &clusters, height_above_m, scene.lidar_xy(), Some(&horizon), moments, taxonomy, &options))
    }
}

/// A box that a detector gives whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GivenBox {
    /// The box, ego frame at the sample's time; its length lies along its x.
    pub ego_from_box: Cuboid,
    /// Its class.
    pub class: ClassId,
    /// Confidence in `[0, 1]`.
    pub score: f64,
}

/// The boxes of one sweep that somebody else's detector found.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenBoxes {
    /// Which model found them.
    pub by: Arc<ModelSpec>,
    /// The boxes.
    pub boxes: Vec<GivenBox>,
}

impl Detector for GivenBoxes {
    fn spec(&self) -> Option<&ModelSpec> {
        Some(&self.by)
    }

    fn detect(&self, scene: &Scene<'_>) -> Result<Vec<Candidate>, ModelError> {
        Ok(candidates(scene, &self.boxes, &self.by))
    }
}

/// Points so near to a box belong to it (metres): boxes of networks are rounder than what they hold.
const MARGIN_M: f64 = 0.1;
/// Points that stand for a side of a given box in its outline, which is what the finish measures by.
const POINTS_A_SIDE: usize = 6;
/// Log-odds of the classes that a detector does not name: a track may change its class, and no class is impossible.
const NOT_NAMED: f64 = -5.0;
/// Scores nearer to 0 and 1 say no more (log-odds of 6.9).
const SURE: f64 = 0.999;

/// Boxes that were given whole, as candidates. Those that cannot be, or are less likely than the scene wants, are left out; of too many the
/// likeliest stay.
#[must_use]
pub fn candidates(scene: &Scene<'_>, boxes: &[GivenBox], by: &Arc<ModelSpec>) -> Vec<Candidate> {
    let known = scene.taxonomy.classes().len() - 1;
    let usable = |one: &&GivenBox| one.ego_from_box.is_valid() && one.score >= scene.min_score && usize::from(one.class.0) < known;
    let mut kept: Vec<&GivenBox> = boxes.iter().filter(usable).collect();
    let most = scene.config.detect.max_detections as usize;
    if kept.len() > most {
        kept.sort_by(|a, b| b.score.total_cmp(&a.score));
        kept.truncate(most);
    }
    let members = members_of(scene, &kept);
    kept.into_iter().zip(members).map(|(one, members)| candidate(scene, one, &members, by, known)).collect()
}

/// The points of each box above the ground.
fn members_of(scene: &Scene<'_>, boxes: &[&GivenBox]) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); boxes.len()];
    let circles: Vec<(f64, f64, f64)> = boxes
        .iter()
        .map(|one| {
            let (center, size) = (&one.ego_from_box.center_m, &one.ego_from_box.size_lwh_m);
            (center.x, center.y, (size.norm() / 2.0 + 2.0 * MARGIN_M).powi(2))
        })
        .collect();
    let band_m = scene.config.ground.band_m as f32;
    for (index, point) in scene.points.iter().enumerate() {
        if scene.height_above_m.get(index).is_none_or(|height| *height < band_m) {
            continue;
        }
        let [x, y, z] = point.map(f64::from);
        for (place, (cx, cy, reach)) in circles.iter().enumerate() {
            let near = (x - cx).powi(2) + (y - cy).powi(2) <= *reach;
            if near && boxes[place].ego_from_box.contains(&Point3::new(x, y, z), MARGIN_M) {
                members[place].push(index as u32);
            }
        }
    }
    members
}

fn candidate(scene: &Scene<'_>, one: &GivenBox, members: &[u32], by: &Arc<ModelSpec>, known: usize) -> Candidate {
    let times = scene.moments.of_group(members);
    let after_ns = times.mean_ns.saturating_sub(scene.moments.stamp_ns);
    let score = one.score.clamp(1.0 - SURE, SURE);
    let logit = (score / (1.0 - score)).ln();
    let vote = |id: u16| Vote {
        class: ClassId(id),
        logit: if ClassId(id) == one.class { logit } else { NOT_NAMED.min(logit) },
        camera: None,
        turned: false,
    };
    // A detector saw the box as it was when its points were measured.
    let moment = PointMoment { after_ns: after_ns.clamp(i32::MIN.into(), i32::MAX.into()) as i32, carried_m: [0.0; 2] };
    let shape = shape_of(&one.ego_from_box, members.len() as u32);
    Candidate {
        cut_out: false,
        outline_moments: vec![moment; shape.outline.len()],
        shape,
        votes: (0..known as u16).map(vote).collect(),
        class: one.class,
        score: one.score,
        ego_from_box: one.ego_from_box,
        lidar_xy: scene.lidar_xy(),
        stamp_ns: times.mean_ns,
        points_ns: times.range_ns,
        holds_after_ns: after_ns,
        covered_left_right: [false; 2],
        given_by: Some(Arc::clone(by)),
    }
}

/// A box as the shape that somebody would have seen who saw all of it.
fn shape_of(ego_from_box: &Cuboid, num_points: u32) -> Shape {
    let (yaw_rad, size) = (ego_from_box.yaw_rad(), &ego_from_box.size_lwh_m);
    let (sin, cos) = yaw_rad.sin_cos();
    let [half_l, half_w] = [size.x / 2.0, size.y / 2.0];
    let corners = [[half_l, half_w], [-half_l, half_w], [-half_l, -half_w], [half_l, -half_w]];
    let outline: Vec<[f64; 2]> = corners
        .into_iter()
        .zip(corners.into_iter().cycle().skip(1))
        .flat_map(|(from, to)| {
            (0..POINTS_A_SIDE).map(move |step| {
                let share = step as f64 / POINTS_A_SIDE as f64;
                [0, 1].map(|axis| from[axis] + share * (to[axis] - from[axis]))
            })
        })
        .map(|[u, v]| [ego_from_box.center_m.x + u * cos - v * sin, ego_from_box.center_m.y + u * sin + v * cos])
        .collect();
    Shape {
        yaw_rad,
        span_m: spans(&outline, yaw_rad),
        floor_m: ego_from_box.center_m.z - size.z / 2.0,
        bottom_top_m: [0.0, size.z],
        residual_m: 0.0,
        num_points,
        outline,
        outline_points: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
