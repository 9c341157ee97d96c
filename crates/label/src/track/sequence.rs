//! A whole sequence of a detector's boxes at once: what the tracker knows at the end, refined if that is wanted, with its gaps filled.

use std::sync::Arc;

use boxwright_model::time::NS_PER_S;
use boxwright_model::{Cuboid, Pose, Taxonomy};
use nalgebra::UnitQuaternion;

use super::{SeenBox, TrackConfig, TrackHistory, Tracker};
use crate::classify::{Kind, anchor};
use crate::refine::{FrameBox, on_curves, with_one_size};

/// Weight of a box that its detector does not believe in.
const LEAST_WEIGHT: f64 = 1e-6;

/// One frame of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceFrame {
    /// When.
    pub stamp_ns: i64,
    /// Where the vehicle was; identity where it is unknown.
    pub world_from_ego: Pose,
    /// What the detector saw.
    pub boxes: Vec<SeenBox>,
}

/// One box of a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackedBox {
    /// Number of the frame in the sequence.
    pub frame: usize,
    /// Number of the track, in order of birth.
    pub track: u32,
    /// The box in the ego frame of its frame.
    pub ego_from_box: Cuboid,
    /// Confidence in `[0, 1]`.
    pub score: f64,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a box of a track came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    /// A detection of its frame, by index.
    Seen(usize),
    /// Filled in between two detections: frame and index of each, and how far it is on the way from the first to the second.
    Between([(usize, usize); 2], f64),
}

/// What becomes of the boxes of a track when the sequence has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finish {
    /// They stay as the detector gave them.
    AsDetected,
    /// All boxes of a track make each other better ([`crate::refine`]), its centres being moved no farther than this (metres).
    Refined(f64),
}

/// Tracks the boxes of a sequence; boxes ordered by frame, then track. The sensor is at the origin of the ego frame.
#[must_use]
pub fn track_sequence(frames: &[SequenceFrame], config: &TrackConfig, finish: Finish, taxonomy: &Arc<Taxonomy>) -> Vec<TrackedBox> {
    let mut tracker = Tracker::new(config.clone(), taxonomy.clone());
    for (number, frame) in frames.iter().enumerate() {
        tracker.step(number, frame.stamp_ns, &frame.world_from_ego, frame.boxes.clone());
    }
    let mut tracks = tracker.finish();
    if let Finish::Refined(max_shift_m) = finish {
        tracks.iter_mut().for_each(|track| refine_track(track, frames, max_shift_m, taxonomy));
    }
    let mut boxes: Vec<TrackedBox> = tracks.iter().flat_map(|track| filled(track, frames)).collect();
    boxes.sort_by_key(|one| (one.frame, one.track));
    boxes
}

/// Puts the refined boxes of a track in place of the detected ones.
fn refine_track(track: &mut TrackHistory<SeenBox>, frames: &[SequenceFrame], max_shift_m: f64, taxonomy: &Taxonomy) {
    let Some(first) = track.observations.first().map(|observation| frames[observation.sweep].stamp_ns) else { return };
    let kind = Kind::of(taxonomy.get(track.class));
    let detected: Vec<FrameBox> = track
        .observations
        .iter()
        .map(|observation| {
            let (frame, one) = (&frames[observation.sweep], &observation.candidate);
            let sensor = frame.world_from_ego.translation.vector;
            FrameBox {
                seconds: frame.stamp_ns.saturating_sub(first) as f64 / NS_PER_S as f64,
                cuboid: one.ego_from_box.transformed(&frame.world_from_ego),
                sensor_xy: anchor(kind, [sensor.x, sensor.y]),
                // Square: an unsure detector is wrong in every respect. Never nothing: the weights of a track must have a sum.
                weight: (one.score * one.score).max(LEAST_WEIGHT),
            }
        })
        .collect();
    // A person's length and width change with every stride, and a detector that sees them change is right.
    let sized = if kind == Kind::Person { detected } else { with_one_size(&detected) };
    for (observation, cuboid) in track.observations.iter_mut().zip(on_curves(&sized, max_shift_m)) {
        observation.candidate.ego_from_box = cuboid.transformed(&frames[observation.sweep].world_from_ego.inverse());
    }
}

fn filled(track: &TrackHistory<SeenBox>, frames: &[SequenceFrame]) -> Vec<TrackedBox> {
    let seen = |at: usize| {
        let observation = &track.observations[at];
        let (frame, one) = (observation.sweep, &observation.candidate);
        TrackedBox { frame, track: track.number, ego_from_box: one.ego_from_box, score: one.score, origin: Origin::Seen(one.index) }
    };
    let mut boxes = Vec::new();
    for at in 0..track.observations.len() {
        let next = seen(at);
        if let Some(last) = at.checked_sub(1).map(&seen) {
            boxes.extend((last.frame + 1..next.frame).map(|frame| between(&last, &next, frame, frames)));
        }
        boxes.push(next);
    }
    boxes
}

/// A box on the straight way in the world.
fn between(last: &TrackedBox, next: &TrackedBox, frame: usize, frames: &[SequenceFrame]) -> TrackedBox {
    let share = (frames[frame].stamp_ns - frames[last.frame].stamp_ns) as f64
        / (frames[next.frame].stamp_ns - frames[last.frame].stamp_ns) as f64;
    let (a, b) = (
        last.ego_from_box.transformed(&frames[last.frame].world_from_ego),
        next.ego_from_box.transformed(&frames[next.frame].world_from_ego),
    );
    let turn = boxwright_model::space::wrap_rad(b.yaw_rad() - a.yaw_rad());
    // A detector that turns a box round by half a turn has not seen it turn.
    let turn =
        if turn.abs() > std::f64::consts::FRAC_PI_2 { boxwright_model::space::wrap_rad(turn + std::f64::consts::PI) } else { turn };
    let world = Cuboid {
        center_m: a.center_m.lerp(&b.center_m, share),
        size_lwh_m: a.size_lwh_m.lerp(&b.size_lwh_m, share),
        rotation: UnitQuaternion::from_axis_angle(&nalgebra::Vector3::z_axis(), a.yaw_rad() + share * turn),
    };
    let index = |one: &TrackedBox| match one.origin {
        Origin::Seen(index) => (one.frame, index),
        Origin::Between([first, _], _) => first,
    };
    TrackedBox {
        frame,
        track: last.track,
        ego_from_box: world.transformed(&frames[frame].world_from_ego.inverse()),
        score: last.score + share * (next.score - last.score),
        origin: Origin::Between([index(last), index(next)], share),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Vector3;

    #[test]
    fn a_gap_is_filled_on_the_straight_way_and_told_apart() {
        let taxonomy = Arc::new(Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap());
        let class = taxonomy.find("car").unwrap();
        let frames: Vec<SequenceFrame> = (0..10)
            .map(|number| {
                let cuboid = Cuboid::upright(Vector3::new(10.0 + number as f64, 3.0, 0.8), Vector3::new(4.0, 1.8, 1.5), 0.0);
                let boxes = if (5..7).contains(&number) {
                    vec![]
                } else {
                    vec![SeenBox { class, score: 0.9, ego_from_box: cuboid, index: 0 }]
                };
                SequenceFrame { stamp_ns: number * 100_000_000, world_from_ego: Pose::identity(), boxes }
            })
            .collect();
        let tracked = track_sequence(&frames, &TrackConfig::default(), Finish::AsDetected, &taxonomy);
        assert_eq!(tracked.iter().map(|one| one.frame).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert!(tracked.iter().all(|one| one.track == 0));
        assert!(matches!(tracked[5].origin, Origin::Between([(4, 0), (7, 0)], share) if (share - 1.0 / 3.0).abs() < 1e-12));
        assert!((tracked[6].ego_from_box.center_m.x - 16.0).abs() < 1e-9);
        assert_eq!(tracked[7].origin, Origin::Seen(0));
    }
}
