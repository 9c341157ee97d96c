//! Tracking metrics averaged over recalls: sAMOTA, AMOTA and AMOTP, and CLEAR metrics at the confidence of the best MOTA.
//!
//! Weng et al., "3D multi-object tracking: a baseline and new evaluation metrics" (2020). Matching, what is ignored, and how switches
//! and fragments are counted are those of KITTI's tracking benchmark, by overlap in space. A label's confidence is the mean of its track.
//! Of the official program two habits are kept because they decide about the fourth digit: a label that was matched once is never ignored
//! in a later pass, and confidences are averaged anew in each pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::sequences::TrackRule;
use crate::labels::{Frame, FrameKey, Object};
use crate::numbers::{Matrix, share};
use crate::overlap::image_inside;
use crate::protocol::sequences::MAX_OCCLUSION;

/// Recalls that are averaged over: 1/40 to 1.
const RECALLS: usize = 40;
const MIN_HEIGHT_PX: f64 = 25.0;
/// Cost of a pair that must not be.
const FORBIDDEN: f64 = 1e9;

/// The metrics of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(non_snake_case, reason = "the names of the official tool")]
pub struct Averaged {
    /// Mean over recalls of MOTA scaled to what the recall allows.
    pub sAMOTA: f64,
    /// Mean MOTA over recalls.
    pub AMOTA: f64,
    /// Mean MOTP over recalls.
    pub AMOTP: f64,
    /// Confidence at which the metrics below were taken: that of the best MOTA.
    pub best_threshold: f64,
    /// Accuracy there.
    pub MOTA: f64,
    /// Mean overlap there.
    pub MOTP: f64,
    /// Identity switches there.
    pub IDS: f64,
    /// Fragments there.
    pub FRAG: f64,
    /// Share of truth tracks mostly tracked.
    pub MT: f64,
    /// Share of truth tracks mostly lost.
    pub ML: f64,
    /// Precision there.
    pub precision: f64,
    /// Recall there.
    pub recall: f64,
    /// Their harmonic mean.
    pub F1: f64,
    /// Matched, also to truth that does not count.
    pub TP: f64,
    /// False labels.
    pub FP: f64,
    /// Missed truth.
    pub FN: f64,
}

/// A label through all passes.
struct Claim {
    track: usize,
    score: f64,
    /// It was matched in some pass.
    valid: bool,
    excusable: bool,
}

struct Step {
    /// Track and whether it counts.
    truth: Vec<(usize, bool)>,
    claims: Vec<Claim>,
    overlap: Matrix,
}

struct Drive {
    steps: Vec<Step>,
    truth_tracks: usize,
    label_tracks: usize,
}

/// Evaluates (key, truth, labels) in order of keys.
#[must_use]
pub fn evaluate(frames: &[(&FrameKey, &Frame, &Frame)], rule: &TrackRule) -> Averaged {
    let mut drives = prepare(frames, rule);
    let (all, scores) = pass(&mut drives, rule.min_overlap, f64::NEG_INFINITY);
    let mut averaged = Averaged { best_threshold: f64::NEG_INFINITY, ..Averaged::default() };
    let mut best = 0.0;
    for (threshold, recall) in thresholds(scores, all.tp + all.fn_) {
        let (totals, _) = pass(&mut drives, rule.min_overlap, threshold);
        averaged.sAMOTA += totals.scaled_mota(recall) / RECALLS as f64;
        averaged.AMOTA += totals.mota() / RECALLS as f64;
        averaged.AMOTP += share(totals.overlap, totals.tp) / RECALLS as f64;
        if totals.mota() > best {
            (best, averaged.best_threshold) = (totals.mota(), threshold);
        }
    }
    let (at_best, _) = pass(&mut drives, rule.min_overlap, averaged.best_threshold);
    let (precision, recall) = (share(at_best.tp, at_best.fp + at_best.tp), share(at_best.tp, at_best.tp + at_best.fn_));
    Averaged {
        MOTA: at_best.mota(),
        MOTP: share(at_best.overlap, at_best.tp),
        IDS: at_best.switches,
        FRAG: at_best.fragments,
        MT: share(at_best.mostly_tracked, at_best.trajectories),
        ML: share(at_best.mostly_lost, at_best.trajectories),
        precision,
        recall,
        F1: share(2.0 * precision * recall, precision + recall),
        TP: at_best.tp,
        FP: at_best.fp,
        FN: at_best.fn_,
        ..averaged
    }
}

fn prepare(frames: &[(&FrameKey, &Frame, &Frame)], rule: &TrackRule) -> Vec<Drive> {
    let mut drives: Vec<Drive> = Vec::new();
    let mut sequence: Option<&Arc<str>> = None;
    let (mut truth_numbers, mut label_numbers) = (BTreeMap::new(), BTreeMap::new());
    for (key, truth, labels) in frames {
        if sequence != Some(&key.sequence) {
            sequence = Some(&key.sequence);
            (truth_numbers, label_numbers) = (BTreeMap::new(), BTreeMap::new());
            drives.push(Drive { steps: Vec::new(), truth_tracks: 0, label_tracks: 0 });
        }
        let number = |numbers: &mut BTreeMap<Arc<str>, usize>, object: &Object| {
            let next = numbers.len();
            *numbers.entry(object.track.clone().unwrap_or_default()).or_insert(next)
        };
        let near = |object: &&Object| rule.class.has(&object.class) || rule.class.excuses(&object.class);
        let boxes: Vec<&Object> = truth.objects.iter().filter(near).collect();
        let claimed: Vec<&Object> = labels.objects.iter().filter(near).collect();
        let overlap = rule.space.ious(&boxes, &claimed);
        let counts = |object: &Object| {
            rule.class.has(&object.class)
                && object.occlusion <= MAX_OCCLUSION
                && object.truncation <= 0.0
                && !object.ignored
                && object.num_points.is_none_or(|points| points >= rule.min_points)
                && object.range_m <= rule.max_range_m
        };
        let truth_boxes = boxes.iter().map(|object| (number(&mut truth_numbers, object), counts(object))).collect();
        let claims = claimed
            .iter()
            .map(|object| Claim {
                track: number(&mut label_numbers, object),
                score: object.score,
                valid: false,
                excusable: is_excusable(object, truth, rule),
            })
            .collect();
        if let Some(drive) = drives.last_mut() {
            drive.steps.push(Step { truth: truth_boxes, claims, overlap });
            (drive.truth_tracks, drive.label_tracks) = (truth_numbers.len(), label_numbers.len());
        }
    }
    drives
}

fn is_excusable(label: &Object, truth: &Frame, rule: &TrackRule) -> bool {
    let in_image = label.image.is_some_and(|image| {
        image.height().abs() <= MIN_HEIGHT_PX || truth.dont_care.iter().any(|region| image_inside(&image, region) > 0.5)
    });
    in_image || rule.class.excuses(&label.class) || label.ignored || label.range_m > rule.max_range_m
}

/// The confidences at which recall passes multiples of 1/40, with those recalls; the first (recall 0) is left out.
fn thresholds(mut scores: Vec<f64>, truth: f64) -> Vec<(f64, f64)> {
    scores.sort_by(|a, b| b.total_cmp(a));
    let mut recall = 0.0;
    let mut found = Vec::new();
    for (index, score) in scores.iter().enumerate() {
        let here = (index + 1) as f64 / truth;
        let is_last = index + 1 == scores.len();
        let next = if is_last { here } else { (index + 2) as f64 / truth };
        if !is_last && next - recall < recall - here {
            continue;
        }
        found.push((*score, recall));
        recall += 1.0 / RECALLS as f64;
    }
    found.into_iter().skip(1).collect()
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    truth: f64,
    tp: f64,
    fp: f64,
    fn_: f64,
    overlap: f64,
    switches: f64,
    fragments: f64,
    mostly_tracked: f64,
    mostly_lost: f64,
    trajectories: f64,
}

impl Totals {
    fn mota(&self) -> f64 {
        1.0 - (self.fn_ + self.fp + self.switches) / self.truth
    }

    fn scaled_mota(&self, recall: f64) -> f64 {
        let errors = self.fn_ + self.fp + self.switches - (1.0 - recall) * self.truth;
        (1.0 - errors / (recall * self.truth)).clamp(0.0, 1.0)
    }
}

/// One pass over everything with the tracks whose mean confidence reaches the threshold; totals and the confidences of the matches.
fn pass(drives: &mut [Drive], min_overlap: f64, threshold: f64) -> (Totals, Vec<f64>) {
    let (mut totals, mut scores) = (Totals::default(), Vec::new());
    for drive in drives {
        average_scores(drive);
        let mut paths: Vec<Vec<(Option<usize>, bool)>> = vec![Vec::new(); drive.truth_tracks];
        for step in &mut drive.steps {
            let ids = pass_step(step, min_overlap, threshold, &mut totals, &mut scores);
            for ((track, counts), label) in step.truth.iter().zip(ids) {
                paths[*track].push((label, !counts));
            }
        }
        paths.iter().for_each(|path| judge_path(path, &mut totals));
    }
    (totals, scores)
}

fn average_scores(drive: &mut Drive) {
    let mut sums = vec![(0.0, 0.0); drive.label_tracks];
    for claim in drive.steps.iter().flat_map(|step| &step.claims) {
        sums[claim.track].0 += claim.score;
        sums[claim.track].1 += 1.0;
    }
    for claim in drive.steps.iter_mut().flat_map(|step| &mut step.claims) {
        claim.score = sums[claim.track].0 / sums[claim.track].1;
    }
}

/// Matches one frame; the label track of each truth.
fn pass_step(step: &mut Step, min_overlap: f64, threshold: f64, totals: &mut Totals, scores: &mut Vec<f64>) -> Vec<Option<usize>> {
    let alive: Vec<usize> = (0..step.claims.len()).filter(|i| step.claims[*i].score >= threshold).collect();
    let gain = Matrix::by(step.truth.len(), alive.len(), |row, column| {
        let overlap = step.overlap.at(row, alive[column]);
        if 1.0 - overlap <= 1.0 - min_overlap { overlap - 1.0 } else { -FORBIDDEN }
    });
    let mut ids = vec![None; step.truth.len()];
    for (row, column) in gain.assign_most() {
        if gain.at(row, column) > -FORBIDDEN {
            let claim = &mut step.claims[alive[column]];
            claim.valid = true;
            ids[row] = Some(claim.track);
            totals.overlap += step.overlap.at(row, alive[column]);
            totals.tp += 1.0;
            scores.push(claim.score);
        }
    }
    let excused: BTreeSet<usize> =
        alive.iter().map(|i| &step.claims[*i]).filter(|claim| claim.excusable && !claim.valid).map(|claim| claim.track).collect();
    let uncounted = |with: bool| step.truth.iter().zip(&ids).filter(move |((_, counts), id)| !counts && id.is_some() == with);
    let ignored_hits = uncounted(true).count() as f64;
    let ignored_misses = uncounted(false).count() as f64;
    let ignored_pairs = uncounted(true).filter(|(_, id)| id.is_some_and(|id| excused.contains(&id))).count() as f64;
    let hits = ids.iter().filter(|id| id.is_some()).count() as f64;
    totals.truth += step.truth.len() as f64 - ignored_hits - ignored_misses;
    totals.fn_ += step.truth.len() as f64 - hits - ignored_misses;
    totals.fp += alive.len() as f64 - hits - excused.len() as f64 + ignored_pairs;
    ids
}

/// Switches, fragments, and whether a truth track was mostly found. Each frame: label track, and whether it does not count.
fn judge_path(path: &[(Option<usize>, bool)], totals: &mut Totals) {
    if path.iter().all(|(_, ignored)| *ignored) {
        return;
    }
    totals.trajectories += 1.0;
    if path.iter().all(|(label, _)| label.is_none()) {
        totals.mostly_lost += 1.0;
        return;
    }
    let label = |at: usize| path.get(at).and_then(|(label, _)| *label);
    let mut last = label(0);
    let mut found = f64::from(last.is_some());
    for at in 1..path.len() {
        if path[at].1 {
            last = None;
            continue;
        }
        let is_seen = last.is_some() && label(at).is_some();
        totals.switches += f64::from(is_seen && last != label(at) && label(at - 1).is_some());
        // The last frame is judged after the loop.
        let goes_on = at + 1 < path.len() && label(at + 1).is_some();
        totals.fragments += f64::from(is_seen && label(at - 1) != label(at) && goes_on);
        if label(at).is_some() {
            found += 1.0;
            last = label(at);
        }
    }
    let end = path.len() - 1;
    let breaks = end > 0 && label(end - 1) != label(end) && last.is_some() && label(end).is_some() && !path[end].1;
    totals.fragments += f64::from(breaks);
    let ratio = found / path.iter().filter(|(_, ignored)| !ignored).count() as f64;
    totals.mostly_tracked += f64::from(ratio > 0.8);
    totals.mostly_lost += f64::from(ratio < 0.2);
}
