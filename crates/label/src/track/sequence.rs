//! A whole sequence of a detector's boxes at once: what the tracker knows at the end, with its gaps filled.

use std::sync::Arc;

use boxwright_model::{Cuboid, Pose, Taxonomy};
use nalgebra::UnitQuaternion;

use super::{SeenBox, TrackConfig, TrackHistory, Tracker};

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

/// Tracks the boxes of a sequence; boxes ordered by frame, then track.
#[must_use]
pub fn track_sequence(frames: &[SequenceFrame], config: &TrackConfig, taxonomy: &Arc<Taxonomy>) -> Vec<TrackedBox> {
    let mut tracker = Tracker::new(config.clone(), taxonomy.clone());
    for (number, frame) in frames.iter().enumerate() {
        tracker.step(number, frame.stamp_ns, &frame.world_from_ego, frame.boxes.clone());
    }
    let mut boxes: Vec<TrackedBox> = tracker.finish().iter().flat_map(|track| filled(track, frames)).collect();
    boxes.sort_by_key(|one| (one.frame, one.track));
    boxes
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
        let tracked = track_sequence(&frames, &TrackConfig::default(), &taxonomy);
        assert_eq!(tracked.iter().map(|one| one.frame).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert!(tracked.iter().all(|one| one.track == 0));
        assert!(matches!(tracked[5].origin, Origin::Between([(4, 0), (7, 0)], share) if (share - 1.0 / 3.0).abs() < 1e-12));
        assert!((tracked[6].ego_from_box.center_m.x - 16.0).abs() < 1e-9);
        assert_eq!(tracked[7].origin, Origin::Seen(0));
    }
}
