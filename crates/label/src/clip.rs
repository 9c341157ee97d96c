//! One clip from its first sweep to its labels.
//!
//! [`ClipLabeler::sweep`] runs the causal stages and shows the tracks as they are now; [`ClipLabeler::finish`] looks at the whole clip:
//!
//! | step | module |
//! | --- | --- |
//! | is it a part of the vehicle? | [`own`] |
//! | did it move? | [`motion`] |
//! | what is it, how sure are we? | [`evidence`] |
//! | parked: one pose from all sweeps together | [`still`] |
//! | parked, length or width: how do those beside it stand? | [`row`] |
//! | moving: one size, heading along the path, smooth centres | [`moving`] |
//! | boxes that a detector gave whole: one size, headings that do not flip | [`given`] |
//! | the same object twice? | [`duplicates`] |
//! | parked: where is it in the sweeps that did not find it? | [`seek`], in what [`remember`] kept |
//! | how likely is it right? | [`confidence`] |
//! | what may be an object all the same? | [`suggest`] |
//! | boxes of the measured sweeps and of the gaps between | [`write`] |
//! | how long will a reviewer need? | [`priority`] |

pub mod own;

pub mod motion;

pub mod evidence;

pub mod still;

pub mod row;

pub mod moving;

pub mod given;

pub mod duplicates;

pub mod remember;

pub mod seek;

pub mod confidence;

pub mod suggest;

pub mod write;

pub mod priority;

mod placed;

use std::sync::Arc;

use boxwright_model::{Box3, ClassId, ClipId, Finding, LabelSource, PointCloud, Pose, Taxonomy, Track, TrackId};
use nalgebra::Vector3;
use serde::Deserialize;

use crate::carry::carry;
use crate::classify::Kind;
use crate::clean::{CleanCounts, clean};
use crate::config::LabelConfig;
use crate::detector::{BuiltIn, Detector, Scene};
use crate::findings;
use crate::ground::segment;
use crate::look::{Look, WORTH_A_LOOK, look};
use crate::models::{ModelError, ModelSpec};
use crate::moments::Moments;
use crate::track::{TrackHistory, Tracker, join_parts};
pub use placed::{How, Placed, Placement};
use remember::Standing;
use row::Rows;

/// Options of the finish.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClipConfig {
    /// Vehicles with a lower raw score are dropped: the score before [`confidence`] makes a probability of it.
    pub min_score: f64,
    /// The same for people and riders: most narrow upright things are posts.
    pub min_person_score: f64,
    /// What has a lower raw score than a label must have, but no lower one than this, is suggested to people.
    pub min_suggested_score: f64,
    /// Tracks with fewer hits are dropped.
    pub min_hits: u32,
    /// A vehicle that moves less than this through the clip is parked (metres).
    pub min_shift_m: f64,
    /// A vehicle slower than this is parked (m/s).
    pub min_speed_mps: f64,
    /// Farthest that smoothing may move a measured centre (metres).
    pub max_smoothing_m: f64,
    /// Half of the window in which paths are smoothed (seconds).
    pub smoothing_s: f64,
    /// Move the boxes of moving objects from when their points were measured to the stamp of the sample.
    pub to_sample_time: bool,
    /// How scores become probabilities.
    pub confidence: confidence::ConfidenceConfig,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            min_score: 0.25,
            min_person_score: 0.5,
            min_suggested_score: 0.05,
            min_hits: 4,
            min_shift_m: 1.0,
            min_speed_mps: 0.6,
            max_smoothing_m: 0.3,
            smoothing_s: 0.45,
            to_sample_time: true,
            confidence: confidence::ConfidenceConfig::default(),
        }
    }
}

/// One sweep of the reference lidar.
#[derive(Clone, Debug)]
pub struct SweepInput<'a> {
    /// Sample that the sweep belongs to.
    pub sample_id: Arc<str>,
    /// Reference time of the sample; it must rise from sweep to sweep.
    pub stamp_ns: i64,
    /// The points in the ego frame at `stamp_ns`, the vehicle's own motion taken out.
    pub points: &'a PointCloud,
    /// Where the vehicle was. Without it the ego frame is taken for the world.
    pub world_from_ego: Option<Pose>,
    /// Where the lidar sits in the ego frame (metres).
    pub lidar_origin_ego_m: [f64; 3],
}

/// What is known right after a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepLabels {
    /// Confirmed tracks as they are now, for the live view; the finish may change all of it.
    pub boxes: Vec<Box3>,
    /// Objects found in this sweep, before tracking.
    pub detections: usize,
    /// Points on the ground.
    pub ground_points: usize,
    /// What became of the points.
    pub cleaned: CleanCounts,
}

/// The labels of a clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClipLabels {
    /// Boxes, ordered by sample stamp and track.
    pub boxes: Vec<Box3>,
    /// Tracks, ordered by number.
    pub tracks: Vec<Track>,
    /// What the numbered rules say, ordered by stamp, rule and track.
    pub findings: Vec<Finding>,
}

/// What the finish must remember of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepInfo {
    /// Sample id.
    pub sample_id: Arc<str>,
    /// Reference time.
    pub stamp_ns: i64,
    /// Where the vehicle was; the origin where nobody knows.
    pub world_from_ego: Pose,
    /// Whether somebody knew.
    pub has_pose: bool,
}

/// Labels the sweeps of one clip.
#[derive(Clone, Debug)]
pub struct ClipLabeler {
    config: LabelConfig,
    taxonomy: Arc<Taxonomy>,
    clip: ClipId,
    tracker: Tracker,
    sweeps: Vec<SweepInfo>,
    standing: Vec<Standing>,
    camera: Option<ModelSpec>,
}

impl ClipLabeler {
    /// A labeller that has seen nothing.
    #[must_use]
    pub fn new(config: &LabelConfig, taxonomy: Arc<Taxonomy>, clip: ClipId) -> Self {
        let tracker = Tracker::new(config.track.clone(), taxonomy.clone());
        Self { config: config.clone(), taxonomy, clip, tracker, sweeps: Vec::new(), standing: Vec::new(), camera: None }
    }

    /// The model whose boxes [`Self::sweep_with_looks`] is given: the evidence names it.
    #[must_use]
    pub fn with_camera_model(mut self, spec: Option<ModelSpec>) -> Self {
        self.camera = spec;
        self
    }

    /// Takes the next sweep, without images.
    pub fn sweep(&mut self, input: &SweepInput<'_>) -> SweepLabels {
        self.sweep_with_looks(input, &[])
    }

    /// Takes the next sweep with what cameras see of it; the detector is the one that is built in.
    pub fn sweep_with_looks(&mut self, input: &SweepInput<'_>, looks: &[Look<'_>]) -> SweepLabels {
        // What is built in has no reason to refuse a sweep.
        self.sweep_by(input, &BuiltIn, looks).unwrap_or_else(|_| self.labels_now(0, 0, CleanCounts::default()))
    }

    /// Takes the next sweep: clean, ground, carry, detect, look, track.
    ///
    /// # Errors
    /// When the detector cannot take the sweep. Nothing of it is kept then: another detector may be asked.
    pub fn sweep_by(
        &mut self,
        input: &SweepInput<'_>,
        detector: &dyn Detector,
        looks: &[Look<'_>],
    ) -> Result<SweepLabels, ModelError> {
        let origin = input.lidar_origin_ego_m.map(|v| if v.is_finite() { v.clamp(-1e4, 1e4) } else { 0.0 });
        let mut cleaned = clean(input.points, origin, &self.config.clean);
        let ground = segment(&cleaned.xyz, origin, &self.config.ground);
        let pose = input.world_from_ego.filter(is_finite);
        let (has_pose, world_from_ego) = (pose.is_some(), pose.unwrap_or_else(Pose::identity));
        let offset_ns = input.points.time_offset_ns.as_deref();
        let after_ns = |point: u32| offset_ns?.get(*cleaned.source.get(point as usize)? as usize).copied();
        let (band_m, movers) = (self.config.ground.band_m, self.tracker.movers(input.stamp_ns, &world_from_ego));
        let carried = carry(&mut cleaned.xyz, &ground.height_above_m, band_m, after_ns, &movers);
        let standing = Standing::of(&cleaned.xyz, &ground.height_above_m, band_m as f32, [origin[0], origin[1]]);
        let expected = self.tracker.expected(input.stamp_ns, &world_from_ego);
        let least = self.config.detect.min_score;
        let scene = Scene {
            points: &cleaned.xyz,
            height_above_m: &ground.height_above_m,
            sweep: input.points,
            origin_m: origin,
            expected: &expected,
            moments: Moments { stamp_ns: input.stamp_ns, offset_ns, source: &cleaned.source, carried: &carried },
            taxonomy: &self.taxonomy,
            config: &self.config,
            // A camera may be sure of what its shape leaves unlikely.
            min_score: if looks.is_empty() { least } else { least.min(WORTH_A_LOOK) },
        };
        let mut found = detector.detect(&scene)?;
        look(&mut found, looks, &self.taxonomy, &self.config.look);
        found.retain(|candidate| candidate.score >= least);
        let detections = found.len();
        self.tracker.step(self.sweeps.len(), input.stamp_ns, &world_from_ego, found);
        self.standing.push(standing);
        self.sweeps.push(SweepInfo { sample_id: input.sample_id.clone(), stamp_ns: input.stamp_ns, world_from_ego, has_pose });
        Ok(self.labels_now(detections, ground.ground_points, cleaned.counts))
    }

    fn labels_now(&self, detections: usize, ground_points: usize, cleaned: CleanCounts) -> SweepLabels {
        SweepLabels { boxes: self.live_boxes(), detections, ground_points, cleaned }
    }

    fn live_boxes(&self) -> Vec<Box3> {
        let Some(sweep) = self.sweeps.last() else { return Vec::new() };
        let newest = self.sweeps.len() - 1;
        self.tracker.confirmed().filter_map(|track| self.live_box(track, sweep, newest)).collect()
    }

    fn live_box(&self, track: &TrackHistory, sweep: &SweepInfo, newest: usize) -> Option<Box3> {
        let last = &track.observations.last()?.candidate;
        let predicted = track.last_sweep() != Some(newest);
        let stamp_ns = if predicted { sweep.stamp_ns } else { last.stamp_ns };
        // The filter's state holds at the time of its last hit.
        let mut world_from_box = track.world_from_box(sweep.stamp_ns);
        // The tracker works in the plane: the height is that of the last hit, carried by the vehicle's own pose.
        let floor = sweep.world_from_ego
            * nalgebra::Point3::new(last.ego_from_box.center_m.x, last.ego_from_box.center_m.y, last.shape.floor_m);
        world_from_box.center_m =
            Vector3::new(world_from_box.center_m.x, world_from_box.center_m.y, floor.z + world_from_box.size_lwh_m.z / 2.0);
        let seen = track.world_from_box(stamp_ns).center_m;
        let measured_world_center_m = Vector3::new(seen.x, seen.y, world_from_box.center_m.z);
        Some(Box3 {
            sample_id: sweep.sample_id.clone(),
            sample_stamp_ns: sweep.stamp_ns,
            stamp_ns,
            points_ns: if predicted { [sweep.stamp_ns; 2] } else { last.points_ns },
            measured_world_center_m,
            track_id: TrackId { clip: self.clip, number: track.number },
            class: track.class,
            score: last.score,
            ego_from_box: world_from_box.transformed(&sweep.world_from_ego.inverse()),
            world_from_box,
            velocity_world_mps: track.kalman.velocity_mps,
            num_lidar_pts: if predicted { 0 } else { last.shape.num_points },
            predicted,
            source: LabelSource::Auto,
            evidence: String::from("{\"live\":true}"),
        })
    }

    /// Ends the clip.
    #[must_use]
    pub fn finish(self) -> ClipLabels {
        let Self { config, taxonomy, clip, tracker, sweeps, standing, camera } = self;
        let posed = |number: usize| sweeps.get(number).filter(|sweep: &&SweepInfo| sweep.has_pose);
        let sweep_at = |number: usize| posed(number).map(|sweep| (sweep.stamp_ns, sweep.world_from_ego));
        let stands = |track: &TrackHistory| {
            let path = placed::Path::of(track, &sweeps, config.track.max_coast_s);
            path.is_some_and(|path| motion::judge(&path, &taxonomy, &config.clip).is_static)
        };
        let tracks = join_parts(tracker.finish(), sweep_at, stands, &config.track, &taxonomy);
        let is_label = |one: &Placed| one.score >= config.clip.min_score_of(one.class, &taxonomy);
        let alone: Vec<(&TrackHistory, Placed)> =
            tracks.iter().filter_map(|track| Some((track, place(track, &sweeps, &taxonomy, &config, None)?))).collect();
        let rows = Rows::of(alone.iter().map(|(_, one)| one).filter(|one| is_label(one)), &taxonomy);
        let all = alone.into_iter().filter_map(|(track, one)| match rows.beside(&one, &taxonomy) {
            None => Some(one),
            row_yaw => place(track, &sweeps, &taxonomy, &config, row_yaw),
        });
        let (mut placed, unsure): (Vec<Placed>, Vec<Placed>) = all.partition(is_label);
        duplicates::drop_weaker(&mut placed);
        seek::seek(&mut placed, &sweeps, &standing, &taxonomy, config.track.max_coast_s);
        config.clip.confidence.apply(&mut placed, &taxonomy);
        let (boxes, tracks) = write::write(&placed, &sweeps, clip, &config.clip, config.track.max_coast_s, camera.as_ref());
        let mut findings = findings::inspect(&boxes, &tracks, &taxonomy, &config.findings);
        let mut suggestions = suggest::choose(unsure, &placed);
        config.clip.confidence.apply(&mut suggestions, &taxonomy);
        findings.extend(suggest::findings(&suggestions, &sweeps, clip, &taxonomy, &config));
        findings.sort_by_key(|one| (one.stamp_ns, one.rule, one.track_id));
        ClipLabels { boxes, tracks, findings }
    }
}

impl ClipConfig {
    /// Score from which something of a class is a label.
    fn min_score_of(&self, class: ClassId, taxonomy: &Taxonomy) -> f64 {
        let is_person = class != taxonomy.unknown() && Kind::of(taxonomy.get(class)) != Kind::Vehicle;
        if is_person { self.min_person_score } else { self.min_score }
    }
}

/// Decides what a track is and where it was, or that it is nothing worth a reviewer's time. `row_yaw`: see [`still::place`].
fn place(
    track: &TrackHistory,
    sweeps: &[SweepInfo],
    taxonomy: &Taxonomy,
    config: &LabelConfig,
    row_yaw: Option<f64>,
) -> Option<Placed> {
    let max_coast_s = config.track.max_coast_s;
    let config = &config.clip;
    if track.observations.len() < config.min_hits as usize {
        return None;
    }
    let path = placed::Path::of(track, sweeps, max_coast_s)?;
    // Whoever gives boxes has judged what they are.
    if path.given_by.is_none() && own::rides_along(track, sweeps) {
        return None;
    }
    let motion = motion::judge(&path, taxonomy, config);
    let verdict = evidence::judge(&path, &motion, taxonomy);
    let min_score = config.min_suggested_score.min(config.min_score_of(verdict.class, taxonomy));
    if verdict.score < min_score {
        return None;
    }
    let placements = match (&path.given_by, motion.is_static) {
        (Some(_), _) => given::place(&path, &motion, &verdict, taxonomy, config)?,
        (None, true) => still::place(&path, &verdict, taxonomy, row_yaw)?,
        (None, false) => moving::place(&path, &verdict, taxonomy, config)?,
    };
    evidence::accept(path, motion, verdict, placements, taxonomy, min_score)
}

/// Whether an object that was seen in these two sweeps and in none between was hidden for longer than a track coasts, as the tracker counts it: from
/// the last sweep with it to the last one without.
fn is_hole(sweeps: &[SweepInfo], before: usize, after: usize, max_coast_s: f64) -> bool {
    let stamp_ns = |sweep: usize| sweeps.get(sweep).map_or(0, |sweep| sweep.stamp_ns);
    let unseen_ns = stamp_ns(after.saturating_sub(1)).saturating_sub(stamp_ns(before));
    unseen_ns as f64 * 1e-9 > max_coast_s
}

fn is_finite(pose: &Pose) -> bool {
    pose.translation.vector.iter().chain(pose.rotation.coords.iter()).all(|v| v.is_finite())
}

#[cfg(test)]
mod tests;
