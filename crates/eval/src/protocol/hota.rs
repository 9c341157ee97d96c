//! HOTA: how well objects are found, and how well they keep their identity, at 19 strictnesses of overlap.
//!
//! Luiten et al., "HOTA: a higher order metric for evaluating multi-object tracking" (2021); sums over sequences as TrackEval.

use serde::Serialize;

use super::sequences::{Sequence, TrackFrame};
use crate::numbers::{Matrix, mean};

/// Strictnesses 0.05 to 0.95.
const ALPHAS: usize = 19;

/// HOTA and its parts, one value a strictness.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(non_snake_case, reason = "the names of the official tool")]
pub struct Hota {
    /// Mean HOTA over the strictnesses.
    pub mean_hota: f64,
    /// Mean detection accuracy.
    pub mean_det_a: f64,
    /// Mean association accuracy.
    pub mean_ass_a: f64,
    /// Geometric mean of `DetA` and `AssA`.
    pub HOTA: Vec<f64>,
    /// Detection accuracy.
    pub DetA: Vec<f64>,
    /// Association accuracy.
    pub AssA: Vec<f64>,
    /// Detection recall.
    pub DetRe: Vec<f64>,
    /// Detection precision.
    pub DetPr: Vec<f64>,
    /// Association recall.
    pub AssRe: Vec<f64>,
    /// Association precision.
    pub AssPr: Vec<f64>,
    /// Mean overlap of what is found.
    pub LocA: Vec<f64>,
    /// Like HOTA, without what false labels cost.
    pub OWTA: Vec<f64>,
    /// Found.
    pub HOTA_TP: Vec<f64>,
    /// Missed.
    pub HOTA_FN: Vec<f64>,
    /// Labels that are nothing.
    pub HOTA_FP: Vec<f64>,
}

/// Sums of one sequence at one strictness.
#[derive(Clone, Copy, Default)]
struct Sums {
    tp: f64,
    fn_: f64,
    fp: f64,
    overlap: f64,
    ass_a: f64,
    ass_re: f64,
    ass_pr: f64,
}

/// All sequences together.
#[must_use]
pub fn evaluate(sequences: &[Sequence]) -> Hota {
    let mut total = [Sums::default(); ALPHAS];
    for sequence in sequences {
        for (total, sums) in total.iter_mut().zip(sums(sequence)) {
            total.tp += sums.tp;
            total.fn_ += sums.fn_;
            total.fp += sums.fp;
            total.overlap += sums.overlap;
            total.ass_a += sums.ass_a;
            total.ass_re += sums.ass_re;
            total.ass_pr += sums.ass_pr;
        }
    }
    let mut found = Hota::default();
    for sums in total {
        let per_tp = |value: f64| value / sums.tp.max(1.0);
        let det_a = sums.tp / (sums.tp + sums.fn_ + sums.fp).max(1.0);
        let det_re = sums.tp / (sums.tp + sums.fn_).max(1.0);
        found.DetA.push(det_a);
        found.DetRe.push(det_re);
        found.DetPr.push(sums.tp / (sums.tp + sums.fp).max(1.0));
        found.AssA.push(per_tp(sums.ass_a));
        found.AssRe.push(per_tp(sums.ass_re));
        found.AssPr.push(per_tp(sums.ass_pr));
        found.LocA.push(sums.overlap.max(1e-10) / sums.tp.max(1e-10));
        found.HOTA.push((det_a * per_tp(sums.ass_a)).sqrt());
        found.OWTA.push((det_re * per_tp(sums.ass_a)).sqrt());
        found.HOTA_TP.push(sums.tp);
        found.HOTA_FN.push(sums.fn_);
        found.HOTA_FP.push(sums.fp);
    }
    found.mean_hota = mean(&found.HOTA);
    found.mean_det_a = mean(&found.DetA);
    found.mean_ass_a = mean(&found.AssA);
    found
}

/// How much each truth track and each label track belong together over the whole sequence, by row and column.
fn alignment(sequence: &Sequence, truth_count: &[f64], label_count: &[f64]) -> Matrix {
    let mut together = Matrix::by(truth_count.len(), label_count.len(), |_, _| 0.0);
    for frame in &sequence.frames {
        let overlap = &frame.overlap;
        let (rows, columns) = (frame.truth.len(), frame.labels.len());
        let row_sum: Vec<f64> = (0..rows).map(|r| (0..columns).map(|c| overlap.at(r, c)).sum()).collect();
        let column_sum: Vec<f64> = (0..columns).map(|c| (0..rows).map(|r| overlap.at(r, c)).sum()).collect();
        for (row, truth) in frame.truth.iter().enumerate() {
            for (column, label) in frame.labels.iter().enumerate() {
                let union = row_sum[row] + column_sum[column] - overlap.at(row, column);
                if union > f64::EPSILON {
                    together.values[truth * label_count.len() + label] += overlap.at(row, column) / union;
                }
            }
        }
    }
    Matrix::by(truth_count.len(), label_count.len(), |t, l| {
        let shared = together.at(t, l);
        shared / (truth_count[t] + label_count[l] - shared)
    })
}

fn counts(sequence: &Sequence, tracks: usize, pick: fn(&TrackFrame) -> &Vec<usize>) -> Vec<f64> {
    let mut counts = vec![0.0; tracks];
    sequence.frames.iter().flat_map(pick).for_each(|track| counts[*track] += 1.0);
    counts
}

fn sums(sequence: &Sequence) -> [Sums; ALPHAS] {
    let (tracks, label_tracks) = (sequence.truth_tracks, sequence.label_tracks);
    let truth_count = counts(sequence, tracks, |frame| &frame.truth);
    let label_count = counts(sequence, label_tracks, |frame| &frame.labels);
    let alignment = alignment(sequence, &truth_count, &label_count);
    let mut sums = [Sums::default(); ALPHAS];
    let mut matched: Vec<Matrix> = (0..ALPHAS).map(|_| Matrix::by(tracks, label_tracks, |_, _| 0.0)).collect();
    for frame in &sequence.frames {
        let (truth, labels) = (frame.truth.len(), frame.labels.len());
        let gain = Matrix::by(truth, labels, |r, c| alignment.at(frame.truth[r], frame.labels[c]) * frame.overlap.at(r, c));
        let pairs = gain.assign_most();
        for (index, (sums, matched)) in sums.iter_mut().zip(&mut matched).enumerate() {
            let alpha = 0.05 + 0.05 * index as f64;
            let mut hits = 0.0;
            for (row, column) in &pairs {
                let overlap = frame.overlap.at(*row, *column);
                if overlap >= alpha - f64::EPSILON {
                    hits += 1.0;
                    sums.overlap += overlap;
                    matched.values[frame.truth[*row] * label_tracks + frame.labels[*column]] += 1.0;
                }
            }
            sums.tp += hits;
            sums.fn_ += truth as f64 - hits;
            sums.fp += labels as f64 - hits;
        }
    }
    for (sums, matched) in sums.iter_mut().zip(&matched) {
        for truth in 0..tracks {
            for label in 0..label_tracks {
                let count = matched.at(truth, label);
                if count > 0.0 {
                    sums.ass_a += count * count / (truth_count[truth] + label_count[label] - count).max(1.0);
                    sums.ass_re += count * count / truth_count[truth].max(1.0);
                    sums.ass_pr += count * count / label_count[label].max(1.0);
                }
            }
        }
    }
    sums
}
