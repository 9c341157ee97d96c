//! Where tracks have been: the last centres of each track, in the world.

use std::collections::{BTreeMap, VecDeque};

use boxwright_model::label::{Box3, TrackId};
use boxwright_model::taxonomy::ClassId;
use nalgebra::Vector3;

/// Centres kept for a track: four seconds at 10 Hz, long enough to see a turn and short enough to keep a crossing readable.
const TRAIL_LENGTH: usize = 40;
/// A track that has not been seen for this many frames is forgotten; it bounds the memory of a live view that runs for days.
const FORGET_AFTER_FRAMES: u64 = 40;
/// A track that stayed within this has no trail: the jitter of a parked car is not a path.
const MIN_EXTENT_M: f64 = 1.0;

/// The trails of all tracks that were seen lately.
#[derive(Debug, Default)]
pub(crate) struct Trails {
    tracks: BTreeMap<TrackId, Trail>,
    frame: u64,
}

#[derive(Debug, Default)]
struct Trail {
    centers_m: VecDeque<Vector3<f64>>,
    last_frame: u64,
}

impl Trails {
    /// Adds the boxes of the next frame.
    pub(crate) fn advance(&mut self, boxes: &[Box3]) {
        self.frame += 1;
        for found in boxes.iter().filter(|found| found.world_from_box.is_valid()) {
            let trail = self.tracks.entry(found.track_id).or_default();
            if trail.centers_m.len() == TRAIL_LENGTH {
                trail.centers_m.pop_front();
            }
            trail.centers_m.push_back(found.world_from_box.center_m);
            trail.last_frame = self.frame;
        }
        let frame = self.frame;
        self.tracks.retain(|_, trail| frame - trail.last_frame < FORGET_AFTER_FRAMES);
    }

    /// The trails of the boxes that are in this frame and really moved: class and centres relative to `origin_m`.
    pub(crate) fn strips(&self, boxes: &[Box3], origin_m: &Vector3<f64>) -> Vec<(ClassId, Vec<[f32; 3]>)> {
        boxes
            .iter()
            .filter_map(|found| {
                let trail = self.tracks.get(&found.track_id)?;
                let first = trail.centers_m.front()?;
                let extent = trail.centers_m.iter().map(|center| (center - first).norm()).fold(0.0, f64::max);
                let strip = || trail.centers_m.iter().map(|center| crate::scene::f32s(&(center - origin_m))).collect();
                (extent >= MIN_EXTENT_M).then(|| (found.class, strip()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_moving_track_leaves_a_bounded_trail_and_a_parked_one_none() {
        let mut trails = Trails::default();
        let mut boxes = Vec::new();
        for frame in 0..100 {
            boxes = vec![fixture::box3(1, frame as f64, 0.0), fixture::box3(2, 5.0 + 0.1 * (frame % 2) as f64, 3.0)];
            trails.advance(&boxes);
        }
        let strips = trails.strips(&boxes, &Vector3::zeros());
        assert_eq!(strips.len(), 1);
        assert_eq!(strips[0].1.len(), TRAIL_LENGTH);
    }

    #[test]
    fn tracks_that_are_gone_are_forgotten() {
        let mut trails = Trails::default();
        for number in 0..1000 {
            trails.advance(&[fixture::box3(number, 0.0, 0.0)]);
        }
        assert!(trails.tracks.len() <= FORGET_AFTER_FRAMES as usize);
    }
}
