//! Tracks of one class, sequence by sequence, with what the benchmark does not count taken away.
//!
//! The rules are those of KITTI's tracking benchmark as TrackEval has them: labels that match truth which does not count (too occluded,
//! truncated, of a neighbouring class, with too few points, out of range) go; unmatched labels that are 25 pixels high or lower, or more
//! than half inside a region nobody labelled, go; then the truth that does not count goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::classes::ClassRule;
use crate::labels::{Frame, FrameKey, Object};
use crate::numbers::Matrix;
use crate::overlap::{Space, image_inside};

/// Truth that is more occluded than this does not count.
pub const MAX_OCCLUSION: i32 = 2;
const MIN_HEIGHT_PX: f64 = 25.0;

/// One frame: the tracks that are in it, and their overlap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrackFrame {
    /// Numbers of truth tracks, from 0.
    pub truth: Vec<usize>,
    /// Numbers of label tracks, from 0.
    pub labels: Vec<usize>,
    /// Overlap, truth by rows.
    pub overlap: Matrix,
}

/// One sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    /// Its name.
    pub name: String,
    /// Frames in order.
    pub frames: Vec<TrackFrame>,
    /// Number of truth tracks.
    pub truth_tracks: usize,
    /// Number of label tracks.
    pub label_tracks: usize,
}

/// Which truth counts, and how overlap is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackRule {
    /// The class.
    pub class: ClassRule,
    /// Where overlap is measured.
    pub space: Space,
    /// Overlap at which a label is right.
    pub min_overlap: f64,
    /// Overlap at which a label stands for truth that does not count: the benchmark's own, whatever is asked of a label that is right.
    pub ignore_overlap: f64,
    /// Truth with fewer points does not count.
    pub min_points: u32,
    /// Truth and labels farther than this do not count (metres).
    pub max_range_m: f64,
}

impl TrackRule {
    /// Whether truth of this class may be taken for the rule's. Those who sit are `Person` in KITTI's tracking labels, `Person_sitting` in the
    /// object benchmark (and in AB3DMOT, which does not know the other name).
    fn excuses(&self, class: &str) -> bool {
        self.class.excuses(class) || self.class.excuses("person_sitting") && class.eq_ignore_ascii_case("person")
    }

    fn counts(&self, truth: &Object) -> bool {
        self.class.has(&truth.class)
            && truth.occlusion <= MAX_OCCLUSION
            && truth.truncation <= 0.0
            && !truth.ignored
            && truth.num_points.is_none_or(|points| points >= self.min_points)
            && truth.range_m <= self.max_range_m
    }
}

/// The sequences of one class. `frames` are (key, truth, labels) in order of keys.
#[must_use]
pub fn prepare(frames: &[(&FrameKey, &Frame, &Frame)], rule: &TrackRule) -> Vec<Sequence> {
    let mut found: Vec<Sequence> = Vec::new();
    let mut truth_numbers: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    let mut label_numbers: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for (key, truth, labels) in frames {
        if found.last().is_none_or(|last| last.name != *key.sequence) {
            truth_numbers.clear();
            label_numbers.clear();
            found.push(Sequence { name: key.sequence.to_string(), ..Sequence::default() });
        }
        let Some(sequence) = found.last_mut() else { continue };
        let (truth, labels) = kept(truth, labels, rule);
        let number = |numbers: &mut BTreeMap<Arc<str>, usize>, object: &Object| {
            let next = numbers.len();
            *numbers.entry(object.track.clone().unwrap_or_default()).or_insert(next)
        };
        sequence.frames.push(TrackFrame {
            truth: truth.iter().map(|object| number(&mut truth_numbers, object)).collect(),
            labels: labels.iter().map(|object| number(&mut label_numbers, object)).collect(),
            overlap: rule.space.ious(&truth, &labels),
        });
        sequence.truth_tracks = truth_numbers.len();
        sequence.label_tracks = label_numbers.len();
    }
    found
}

fn kept<'a>(truth: &'a Frame, labels: &'a Frame, rule: &TrackRule) -> (Vec<&'a Object>, Vec<&'a Object>) {
    let near: Vec<&Object> = truth.objects.iter().filter(|o| rule.class.has(&o.class) || rule.excuses(&o.class)).collect();
    let claimed: Vec<&Object> = labels.objects.iter().filter(|o| rule.class.has(&o.class)).collect();
    let overlap = rule.space.ious(&near, &claimed);
    let gain = Matrix::by(near.len(), claimed.len(), |row, column| {
        let value = overlap.at(row, column);
        if value < rule.ignore_overlap - f64::EPSILON { 0.0 } else { value }
    });
    let mut goes: Vec<Option<bool>> = vec![None; claimed.len()];
    for (row, column) in gain.assign_most() {
        if gain.at(row, column) > f64::EPSILON {
            goes[column] = Some(!rule.counts(near[row]));
        }
    }
    let uncountable = |label: &Object| {
        label.ignored
            || label.range_m > rule.max_range_m
            || label.image.is_some_and(|image| {
                image.height() <= MIN_HEIGHT_PX + f64::EPSILON
                    || truth.dont_care.iter().any(|region| image_inside(&image, region) > 0.5 + f64::EPSILON)
            })
    };
    let labels = claimed.iter().zip(goes).filter(|(label, goes)| !goes.unwrap_or_else(|| uncountable(label)));
    (near.iter().copied().filter(|object| rule.counts(object)).collect(), labels.map(|(label, _)| *label).collect())
}
