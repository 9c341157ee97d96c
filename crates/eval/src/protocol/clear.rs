//! CLEAR metrics and identity: MOTA, MOTP, switches, fragments, mostly tracked and lost, and IDF1.
//!
//! Bernardin and Stiefelhagen, "Evaluating multiple object tracking performance: the CLEAR MOT metrics" (2008); Ristani et al.,
//! "Performance measures and a data set for multi-target, multi-camera tracking" (2016); corners as TrackEval.

use serde::Serialize;

use super::sequences::{Sequence, TrackFrame};
use crate::numbers::{Matrix, share};

/// CLEAR metrics, all sequences together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(non_snake_case, reason = "the names of the official tool")]
pub struct Clear {
    /// Accuracy: one minus misses, false labels and switches a truth.
    pub MOTA: f64,
    /// Mean overlap of what is found.
    pub MOTP: f64,
    /// Accuracy without switches.
    pub MODA: f64,
    /// Accuracy with the overlaps in place of the hits.
    pub sMOTA: f64,
    /// Accuracy with the logarithm of the switches.
    pub MOTAL: f64,
    /// Changes of the label track of a truth track.
    pub IDSW: f64,
    /// Interruptions of truth tracks.
    pub Frag: f64,
    /// Truth tracks found in more than 80 % of their frames.
    pub MT: f64,
    /// Truth tracks between.
    pub PT: f64,
    /// Truth tracks found in less than 20 % of their frames.
    pub ML: f64,
    /// Recall.
    pub CLR_Re: f64,
    /// Precision.
    pub CLR_Pr: f64,
    /// Their harmonic mean.
    pub CLR_F1: f64,
    /// Found.
    pub CLR_TP: f64,
    /// Missed.
    pub CLR_FN: f64,
    /// Labels that are nothing.
    pub CLR_FP: f64,
    /// Frames.
    pub CLR_Frames: f64,
    /// Sum of the overlaps of what is found.
    pub MOTP_sum: f64,
    /// Share of tracks mostly tracked.
    pub MTR: f64,
    /// Share of tracks between.
    pub PTR: f64,
    /// Share of tracks mostly lost.
    pub MLR: f64,
    /// False labels a frame.
    pub FP_per_frame: f64,
}

/// Identity metrics, all sequences together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(non_snake_case, reason = "the names of the official tool")]
pub struct Identity {
    /// Harmonic mean of identity precision and recall.
    pub IDF1: f64,
    /// Identity recall.
    pub IDR: f64,
    /// Identity precision.
    pub IDP: f64,
    /// Boxes under the right identity.
    pub IDTP: f64,
    /// Truth under none or a wrong one.
    pub IDFN: f64,
    /// Labels under a wrong one.
    pub IDFP: f64,
}

/// CLEAR metrics at a least overlap.
#[must_use]
pub fn evaluate(sequences: &[Sequence], min_overlap: f64) -> Clear {
    let mut sum = Clear::default();
    sequences.iter().for_each(|sequence| add_sequence(&mut sum, sequence, min_overlap));
    let tracks = sum.MT + sum.PT + sum.ML;
    let truth = (sum.CLR_TP + sum.CLR_FN).max(1.0);
    let logarithm = if sum.IDSW > 0.0 { sum.IDSW.log10() } else { 0.0 };
    Clear {
        MOTA: (sum.CLR_TP - sum.CLR_FP - sum.IDSW) / truth,
        MOTP: sum.MOTP_sum / sum.CLR_TP.max(1.0),
        MODA: (sum.CLR_TP - sum.CLR_FP) / truth,
        sMOTA: (sum.MOTP_sum - sum.CLR_FP - sum.IDSW) / truth,
        MOTAL: (sum.CLR_TP - sum.CLR_FP - logarithm) / truth,
        CLR_Re: sum.CLR_TP / truth,
        CLR_Pr: sum.CLR_TP / (sum.CLR_TP + sum.CLR_FP).max(1.0),
        CLR_F1: sum.CLR_TP / (sum.CLR_TP + 0.5 * sum.CLR_FN + 0.5 * sum.CLR_FP).max(1.0),
        MTR: share(sum.MT, tracks),
        PTR: share(sum.PT, tracks),
        MLR: share(sum.ML, tracks),
        FP_per_frame: sum.CLR_FP / sum.CLR_Frames.max(1.0),
        ..sum
    }
}

/// What is remembered of a truth track.
#[derive(Clone, Default)]
struct Memory {
    frames: f64,
    found: f64,
    pieces: f64,
    last_label: Option<usize>,
    label_before: Option<usize>,
}

fn add_sequence(sum: &mut Clear, sequence: &Sequence, min_overlap: f64) {
    let mut tracks = vec![Memory::default(); sequence.truth_tracks];
    let is_empty = |boxes: fn(&TrackFrame) -> &Vec<usize>| sequence.frames.iter().all(|frame| boxes(frame).is_empty());
    if !is_empty(|frame| &frame.truth) && !is_empty(|frame| &frame.labels) {
        // The official tool is done with a sequence before it counts its frames where one side has nothing in it.
        sum.CLR_Frames += sequence.frames.len() as f64;
    }
    for frame in &sequence.frames {
        let (truth, labels) = (frame.truth.len(), frame.labels.len());
        frame.truth.iter().for_each(|track| tracks[*track].frames += 1.0);
        if truth == 0 || labels == 0 {
            // As in the official tool, such a frame does not interrupt what went before.
            sum.CLR_FN += truth as f64;
            sum.CLR_FP += labels as f64;
            continue;
        }
        let pairs = pair_up(frame, &tracks, min_overlap);
        let mut now = vec![None; tracks.len()];
        for (row, column) in &pairs {
            let (track, label) = (&mut tracks[frame.truth[*row]], frame.labels[*column]);
            sum.IDSW += f64::from(track.last_label.is_some_and(|last| last != label));
            sum.MOTP_sum += frame.overlap.at(*row, *column);
            track.last_label = Some(label);
            track.found += 1.0;
            now[frame.truth[*row]] = Some(label);
        }
        for (track, now) in tracks.iter_mut().zip(now) {
            track.pieces += f64::from(track.label_before.is_none() && now.is_some());
            track.label_before = now;
        }
        sum.CLR_TP += pairs.len() as f64;
        sum.CLR_FN += (truth - pairs.len()) as f64;
        sum.CLR_FP += (labels - pairs.len()) as f64;
    }
    for track in &tracks {
        let ratio = share(track.found, track.frames);
        sum.MT += f64::from(ratio > 0.8);
        sum.PT += f64::from((0.2..=0.8).contains(&ratio));
        sum.ML += f64::from(ratio < 0.2);
        sum.Frag += (track.pieces - 1.0).max(0.0);
    }
}

/// Pairs of one frame: those of the frame before first, then by overlap.
fn pair_up(frame: &TrackFrame, tracks: &[Memory], min_overlap: f64) -> Vec<(usize, usize)> {
    let gain = Matrix::by(frame.truth.len(), frame.labels.len(), |row, column| {
        let overlap = frame.overlap.at(row, column);
        let continues = tracks[frame.truth[row]].label_before == Some(frame.labels[column]);
        if overlap < min_overlap - f64::EPSILON { 0.0 } else { overlap + if continues { 1000.0 } else { 0.0 } }
    });
    gain.assign_most().into_iter().filter(|(row, column)| gain.at(*row, *column) > f64::EPSILON).collect()
}

/// Identity metrics at a least overlap.
#[must_use]
pub fn identity(sequences: &[Sequence], min_overlap: f64) -> Identity {
    let mut sum = Identity::default();
    for sequence in sequences {
        let (truth, labels) = (sequence.truth_tracks, sequence.label_tracks);
        let mut together = Matrix::by(truth, labels, |_, _| 0.0);
        let (mut truth_boxes, mut label_boxes) = (0.0, 0.0);
        for frame in &sequence.frames {
            truth_boxes += frame.truth.len() as f64;
            label_boxes += frame.labels.len() as f64;
            for (row, track) in frame.truth.iter().enumerate() {
                for (column, label) in frame.labels.iter().enumerate() {
                    together.values[track * labels + label] += f64::from(frame.overlap.at(row, column) >= min_overlap);
                }
            }
        }
        let right: f64 = together.assign_most().into_iter().map(|(row, column)| together.at(row, column)).sum();
        sum.IDTP += right;
        sum.IDFN += truth_boxes - right;
        sum.IDFP += label_boxes - right;
    }
    sum.IDR = sum.IDTP / (sum.IDTP + sum.IDFN).max(1.0);
    sum.IDP = sum.IDTP / (sum.IDTP + sum.IDFP).max(1.0);
    sum.IDF1 = sum.IDTP / (sum.IDTP + 0.5 * sum.IDFP + 0.5 * sum.IDFN).max(1.0);
    sum
}
