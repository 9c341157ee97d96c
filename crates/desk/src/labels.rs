//! The labels of a clip while people work on them, and how they change.
//!
//! An operation is stored as the [`Change`]s that it made, each with both sides. So what stands in the history needs no computation to be
//! made again after a restart, and taking it back is the same changes the other way round. Boxes are in the world frame of the clip, which
//! does not move when the vehicle does: a parked car has one and the same box in every sample.

use std::collections::BTreeMap;

use boxwright_model::space::{pose_from_parts, quaternion_xyzw};
use boxwright_model::{Box3, Cuboid, LabelSource, Taxonomy, Track};
use nalgebra::Vector3;
use serde::{Deserialize, Serialize};

/// Two boxes nearer than this are the same: numbers go through JSON, which may cost the last bit.
const SAME: f64 = 1e-9;

/// What a person has said about a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing yet.
    #[default]
    Open,
    /// It is right as it stands.
    Accepted,
    /// It is wrong and goes back to be corrected.
    Returned,
    /// The labeller saw something and was not sure enough: no label until a person says so, by accepting or by editing it.
    Suggested,
}

impl Verdict {
    /// Whether tracks of this verdict are labels, which go into a revision.
    #[must_use]
    pub fn is_label(self) -> bool {
        matches!(self, Self::Open | Self::Accepted)
    }
}

/// Kinds of errors, the union of what annotation tools name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// There is an object without a box.
    Missing,
    /// There is a box without an object.
    Extra,
    /// Another class.
    Class,
    /// At another place.
    Position,
    /// Another size.
    Size,
    /// Turned a little.
    Heading,
    /// Turned by half.
    HalfTurn,
    /// Two objects exchanged.
    IdSwitch,
    /// At another time.
    Time,
    /// The guideline does not say.
    Guideline,
}

/// A box of a track in one sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoxState {
    /// Centre in the world frame (metres).
    pub center_m: [f64; 3],
    /// Length, width, height (metres).
    pub size_lwh_m: [f64; 3],
    /// `world_from_box` as x, y, z, w.
    pub quaternion_xyzw: [f64; 4],
    /// Lidar points in it.
    pub points: u32,
    /// Carried over a gap, not measured.
    pub predicted: bool,
    /// A person put it where it is; boxes between two of these can be interpolated.
    pub keyed: bool,
    /// Track of the stored box that it comes from, of the same sample: stamps and evidence stay with a box that is edited or goes to
    /// another track. None for a box that people made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<u32>,
}

impl BoxState {
    /// From a cuboid in the world frame.
    #[must_use]
    pub fn new(world_from_box: &Cuboid, points: u32) -> Self {
        Self {
            center_m: world_from_box.center_m.into(),
            size_lwh_m: world_from_box.size_lwh_m.into(),
            quaternion_xyzw: quaternion_xyzw(&world_from_box.rotation),
            points,
            predicted: false,
            keyed: false,
            origin: None,
        }
    }

    /// The cuboid in the world frame.
    #[must_use]
    pub fn cuboid(&self) -> Cuboid {
        let rotation = pose_from_parts([0.0; 3], self.quaternion_xyzw).unwrap_or_default().rotation;
        Cuboid { center_m: Vector3::from(self.center_m), size_lwh_m: Vector3::from(self.size_lwh_m), rotation }
    }

    /// Whether both stand for the same box. Where it comes from is not asked: histories of an earlier day do not say.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= SAME * a.abs().max(1.0));
        near(&self.center_m, &other.center_m)
            && near(&self.size_lwh_m, &other.size_lwh_m)
            && near(&self.quaternion_xyzw, &other.quaternion_xyzw)
            && (self.points, self.predicted, self.keyed) == (other.points, other.predicted, other.keyed)
    }
}

/// What holds for a whole track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackState {
    /// Name of its class.
    pub class: String,
    /// Confidence of the labeller in `[0, 1]`; 1 for what a person made.
    pub score: f64,
    /// The object did not move.
    pub is_static: bool,
    /// What a person said.
    pub verdict: Verdict,
    /// Who said it.
    pub decided_by: Option<String>,
    /// Why it was returned.
    pub error: Option<ErrorKind>,
}

impl TrackState {
    fn same(&self, other: &Self) -> bool {
        (self.score - other.score).abs() <= SAME && Self { score: 0.0, ..self.clone() } == Self { score: 0.0, ..other.clone() }
    }
}

/// A track with its boxes by sample.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackDoc {
    /// What holds for all of it.
    pub state: TrackState,
    /// Its boxes by number of the sample.
    pub boxes: BTreeMap<u32, BoxState>,
}

/// One thing that an operation changed, with both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Change {
    /// A track came, went or changed.
    Track {
        /// Its number.
        track: u32,
        /// Before; nothing where it was not there.
        before: Option<TrackState>,
        /// After; nothing where it is gone.
        after: Option<TrackState>,
    },
    /// A box came, went or changed.
    Box {
        /// Number of its track.
        track: u32,
        /// Number of its sample.
        sample: u32,
        /// Before; nothing where it was not there.
        before: Option<BoxState>,
        /// After; nothing where it is gone.
        after: Option<BoxState>,
    },
}

impl Change {
    /// The track that it is about.
    #[must_use]
    pub fn track(&self) -> u32 {
        match self {
            Self::Track { track, .. } | Self::Box { track, .. } => *track,
        }
    }

    /// The same change the other way round.
    #[must_use]
    pub fn reversed(&self) -> Self {
        match self.clone() {
            Self::Track { track, before, after } => Self::Track { track, before: after, after: before },
            Self::Box { track, sample, before, after } => Self::Box { track, sample, before: after, after: before },
        }
    }
}

/// The changes that take others back.
#[must_use]
pub fn reversed(changes: &[Change]) -> Vec<Change> {
    changes.iter().rev().map(Change::reversed).collect()
}

/// Tracks that changes are about.
#[must_use]
pub fn touched(changes: &[Change]) -> std::collections::BTreeSet<u32> {
    changes.iter().map(Change::track).collect()
}

/// All tracks of a clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    tracks: BTreeMap<u32, TrackDoc>,
    /// Highest number that any track has ever had: numbers are not given twice.
    highest: u32,
}

impl Labels {
    /// The labels as they stand in the shards. `sample_of` gives the number of the sample at a stamp; boxes of other stamps are left out.
    #[must_use]
    pub fn from_shards(tracks: &[Track], boxes: &[Box3], taxonomy: &Taxonomy, sample_of: impl Fn(i64) -> Option<u32>) -> Self {
        let mut labels = Self::default();
        for track in tracks {
            let state = TrackState {
                class: taxonomy.get(track.class).name.to_string(),
                score: track.score,
                is_static: track.is_static,
                verdict: Verdict::Open,
                decided_by: None,
                error: None,
            };
            labels.set_track(track.track_id.number, Some(state));
        }
        for one in boxes {
            if let Some(sample) = sample_of(one.sample_stamp_ns) {
                labels.set_box(one.track_id.number, sample, Some(state_of(one)));
            }
        }
        labels
    }

    /// Adds what was suggested. A number that a track has is not suggested any more: somebody made it a label.
    pub fn suggest(&mut self, number: u32, suggestion: TrackDoc) {
        if let std::collections::btree_map::Entry::Vacant(free) = self.tracks.entry(number) {
            free.insert(suggestion);
            self.highest = self.highest.max(number);
        }
    }

    /// The tracks by number.
    #[must_use]
    pub fn tracks(&self) -> &BTreeMap<u32, TrackDoc> {
        &self.tracks
    }

    /// One track.
    #[must_use]
    pub fn track(&self, number: u32) -> Option<&TrackDoc> {
        self.tracks.get(&number)
    }

    /// A number that no track has had.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.highest.saturating_add(1)
    }

    /// Whether every change starts from what is there.
    #[must_use]
    pub fn fits(&self, changes: &[Change]) -> bool {
        let mut trial = self.only(&touched(changes));
        changes.iter().all(|change| {
            let fits = match change {
                // A track goes without its boxes: whatever is left in it then was made by somebody else since.
                Change::Track { track, before, after } => match (trial.track(*track), before) {
                    (Some(found), Some(before)) => found.state.same(before) && (after.is_some() || found.boxes.is_empty()),
                    (None, None) => true,
                    _ => false,
                },
                Change::Box { track, sample, before, .. } => {
                    match (trial.track(*track).and_then(|found| found.boxes.get(sample)), before) {
                        (Some(found), Some(before)) => found.same(before),
                        (None, None) => trial.track(*track).is_some(),
                        _ => false,
                    }
                }
            };
            trial.apply(std::slice::from_ref(change));
            fits
        })
    }

    /// Makes changes. What they say was there before is not looked at; see [`Self::fits`].
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change.clone() {
                Change::Track { track, after, .. } => self.set_track(track, after),
                Change::Box { track, sample, after, .. } => self.set_box(track, sample, after),
            }
        }
    }

    fn only(&self, numbers: &std::collections::BTreeSet<u32>) -> Self {
        let tracks = numbers.iter().filter_map(|number| Some((*number, self.tracks.get(number)?.clone()))).collect();
        Self { tracks, highest: self.highest }
    }

    fn set_track(&mut self, number: u32, state: Option<TrackState>) {
        self.highest = self.highest.max(number);
        match state {
            None => {
                self.tracks.remove(&number);
            }
            Some(state) => match self.tracks.get_mut(&number) {
                Some(track) => track.state = state,
                None => {
                    self.tracks.insert(number, TrackDoc { state, boxes: BTreeMap::new() });
                }
            },
        }
    }

    fn set_box(&mut self, number: u32, sample: u32, state: Option<BoxState>) {
        let Some(track) = self.tracks.get_mut(&number) else { return };
        match state {
            None => {
                track.boxes.remove(&sample);
            }
            Some(state) => {
                track.boxes.insert(sample, state);
            }
        }
    }
}

/// A stored box.
#[must_use]
pub fn state_of(stored: &Box3) -> BoxState {
    BoxState {
        predicted: stored.predicted,
        keyed: stored.source == LabelSource::Human && !stored.predicted,
        origin: Some(stored.track_id.number),
        ..BoxState::new(&stored.world_from_box, stored.num_lidar_pts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn state() -> TrackState {
        TrackState { class: "car".into(), score: 0.5, is_static: false, verdict: Verdict::Open, decided_by: None, error: None }
    }

    fn one_box(x: f64) -> BoxState {
        BoxState::new(&Cuboid::upright(Vector3::new(x, 0.0, 1.0), Vector3::new(4.0, 2.0, 1.5), 0.3), 10)
    }

    fn born() -> Vec<Change> {
        vec![
            Change::Track { track: 7, before: None, after: Some(state()) },
            Change::Box { track: 7, sample: 0, before: None, after: Some(one_box(1.0)) },
        ]
    }

    #[test]
    fn changes_made_and_taken_back_leave_what_was_there() {
        let mut labels = Labels::default();
        assert!(labels.fits(&born()));
        labels.apply(&born());
        let moved = [Change::Box { track: 7, sample: 0, before: Some(one_box(1.0)), after: Some(one_box(2.0)) }];
        labels.apply(&moved);
        assert_eq!(labels.track(7).unwrap().boxes[&0], one_box(2.0));
        labels.apply(&reversed(&moved));
        labels.apply(&reversed(&born()));
        assert!(labels.tracks().is_empty());
        assert_eq!(labels.next_number(), 8, "a number is not given twice");
    }

    #[test]
    fn a_change_that_starts_from_something_else_does_not_fit() {
        let mut labels = Labels::default();
        labels.apply(&born());
        let stale = Change::Box { track: 7, sample: 0, before: Some(one_box(1.5)), after: Some(one_box(2.0)) };
        assert!(!labels.fits(&[stale]));
        assert!(!labels.fits(&born()), "the track is there already");
        let next = [Change::Box { track: 7, sample: 1, before: None, after: Some(one_box(2.0)) }];
        assert!(labels.fits(&next));
        // A box that somebody else has added would go with the track.
        assert!(labels.fits(&reversed(&born())));
        labels.apply(&next);
        assert!(!labels.fits(&reversed(&born())));
    }

    #[test]
    fn changes_survive_their_way_through_json() {
        let mut labels = Labels::default();
        let odd = BoxState { center_m: [0.1 + 0.2, 1e7 / 3.0, -1.0 / 7.0], ..one_box(0.0) };
        let changes = vec![born()[0].clone(), Change::Box { track: 7, sample: 3, before: None, after: Some(odd) }];
        labels.apply(&changes);
        let read: Vec<Change> = serde_json::from_str(&serde_json::to_string(&changes).unwrap()).unwrap();
        assert!(labels.fits(&reversed(&read)));
    }
}
