//! KITTI's object benchmark: average precision at 40 and 11 recalls, in the image, from above and in space, at three difficulties.
//!
//! Geiger et al., "Are we ready for autonomous driving? The KITTI vision benchmark suite" (2012); 40 recalls after Simonelli et al.,
//! "Disentangling monocular 3D object detection" (2019). What the official program does in the corners is kept: heights of detections
//! are cut to whole pixels, overlap must be above the bound and not at it, a detection that is too low excuses but does not earn, and
//! `DontCare` regions count in the image only.

use serde::Serialize;

use crate::classes::ClassRule;
use crate::labels::{Frame, Object};
use crate::numbers::Matrix;
use crate::overlap::{Space, image_inside};

/// Sampled recalls: 0, 1/40, …, 1.
const SAMPLES: usize = 41;

/// Which truth counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difficulty {
    /// Name in the report.
    pub name: String,
    /// Truth at most this high in the image, and detections lower than this, are ignored (pixels).
    pub min_height_px: f64,
    /// Truth that is more occluded is ignored.
    pub max_occlusion: i32,
    /// Truth that is more truncated is ignored.
    pub max_truncation: f64,
    /// Truth with fewer lidar points is ignored.
    pub min_points: u32,
    /// Truth and detections nearer or farther than this are ignored (metres).
    pub range_m: [f64; 2],
}

impl Difficulty {
    /// The official three.
    #[must_use]
    pub fn official() -> Vec<Self> {
        let level = |name: &str, min_height_px, max_occlusion, max_truncation| Self {
            name: name.to_owned(),
            min_height_px,
            max_occlusion,
            max_truncation,
            min_points: 0,
            range_m: [0.0, f64::INFINITY],
        };
        vec![level("easy", 40.0, 0, 0.15), level("moderate", 25.0, 1, 0.3), level("hard", 25.0, 2, 0.5)]
    }

    /// By lidar points and range, for truth that was not made in an image.
    #[must_use]
    pub fn measured(name: &str, min_points: u32, range_m: [f64; 2]) -> Self {
        let name = name.to_owned();
        Self { name, min_height_px: -1.0, max_occlusion: i32::MAX, max_truncation: f64::INFINITY, min_points, range_m }
    }

    fn in_range(&self, object: &Object) -> bool {
        (self.range_m[0]..self.range_m[1]).contains(&object.range_m)
    }

    fn fate_of_truth(&self, object: &Object, class: &ClassRule) -> Fate {
        let hard = object.occlusion > self.max_occlusion
            || object.truncation > self.max_truncation
            || object.image.is_some_and(|image| image.height() <= self.min_height_px)
            || object.num_points.is_some_and(|points| points < self.min_points)
            || !self.in_range(object)
            || object.ignored;
        match (class.has(&object.class), class.excuses(&object.class)) {
            (true, _) if !hard => Fate::Counts,
            (true, _) | (_, true) => Fate::Excused,
            _ => Fate::Other,
        }
    }

    fn fate_of_label(&self, object: &Object, class: &ClassRule) -> Fate {
        if object.image.is_some_and(|image| image.height().abs().trunc() < self.min_height_px) {
            return Fate::Excused;
        }
        match class.has(&object.class) {
            true if object.ignored || !self.in_range(object) => Fate::Excused,
            true => Fate::Counts,
            false => Fate::Other,
        }
    }
}

/// What an object is to one class and difficulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Counts,
    Excused,
    Other,
}

/// One curve of the benchmark.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Class.
    pub class: String,
    /// Where overlap was measured.
    pub space: Space,
    /// Difficulty.
    pub difficulty: String,
    /// Least overlap.
    pub min_overlap: f64,
    /// Mean precision at recalls 1/40 to 1, in percent.
    pub ap_r40: f64,
    /// Mean precision at recalls 0, 0.1, …, 1, in percent.
    pub ap_r11: f64,
    /// Mean orientation similarity at recalls 1/40 to 1, in percent; image only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aos_r40: Option<f64>,
    /// Truth that counts.
    pub truth: u64,
    /// Precision at 41 recalls, made monotone.
    pub precision: Vec<f64>,
    /// Orientation similarity at 41 recalls, made monotone; image only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub orientation: Vec<f64>,
}

struct Prepared<'a> {
    truth: Vec<(&'a Object, Fate)>,
    labels: Vec<(&'a Object, Fate)>,
    /// Overlap, truth by rows.
    overlap: Matrix,
    /// Greatest share of each label in a region nobody labelled.
    dont_care: Vec<bool>,
}

/// One class in one space at one difficulty over pairs of (truth, labels).
#[must_use]
pub fn evaluate(frames: &[(&Frame, &Frame)], class: &ClassRule, space: Space, difficulty: &Difficulty, min_overlap: f64) -> Curve {
    let prepared: Vec<Prepared<'_>> = frames.iter().map(|pair| prepare(*pair, class, space, difficulty, min_overlap)).collect();
    let truth = prepared.iter().flat_map(|f| &f.truth).filter(|(_, fate)| *fate == Fate::Counts).count();
    let scores = prepared.iter().flat_map(|frame| scores_of_hits(frame, min_overlap)).collect();
    let thresholds = thresholds(scores, truth);
    let (mut precision, mut orientation) = (vec![0.0; SAMPLES], vec![0.0; SAMPLES]);
    for (index, threshold) in thresholds.iter().enumerate().take(SAMPLES) {
        let mut sum = Tally::default();
        prepared.iter().for_each(|frame| sum.add(&tally(frame, min_overlap, *threshold)));
        let claimed = sum.hits + sum.false_alarms;
        precision[index] = sum.hits / claimed;
        orientation[index] = sum.similarity / claimed;
    }
    let count = thresholds.len().min(SAMPLES);
    for curve in [&mut precision, &mut orientation] {
        for index in (0..count.saturating_sub(1)).rev() {
            curve[index] = curve[index].max(curve[index + 1]);
        }
    }
    let percent = |values: &mut dyn Iterator<Item = f64>, count: f64| 100.0 * values.sum::<f64>() / count;
    let is_image = space == Space::Image;
    Curve {
        class: class.name.clone(),
        space,
        difficulty: difficulty.name.clone(),
        min_overlap,
        ap_r40: percent(&mut precision[1..].iter().copied(), 40.0),
        ap_r11: percent(&mut precision.iter().step_by(4).copied(), 11.0),
        aos_r40: is_image.then(|| percent(&mut orientation[1..].iter().copied(), 40.0)),
        truth: truth as u64,
        precision,
        orientation: if is_image { orientation } else { Vec::new() },
    }
}

fn prepare<'a>(
    (truth, labels): (&'a Frame, &'a Frame),
    class: &ClassRule,
    space: Space,
    difficulty: &Difficulty,
    min_overlap: f64,
) -> Prepared<'a> {
    let kept = |objects: &'a [Object], fate: &dyn Fn(&Object) -> Fate| -> Vec<(&'a Object, Fate)> {
        objects.iter().map(|object| (object, fate(object))).filter(|(_, fate)| *fate != Fate::Other).collect()
    };
    let regions = &truth.dont_care;
    let truth = kept(&truth.objects, &|object| difficulty.fate_of_truth(object, class));
    let labels = kept(&labels.objects, &|object| difficulty.fate_of_label(object, class));
    let overlap = Matrix::by(truth.len(), labels.len(), |row, column| space.iou(truth[row].0, labels[column].0));
    let inside = |object: &Object| object.image.is_some_and(|image| regions.iter().any(|r| image_inside(&image, r) > min_overlap));
    let dont_care = labels.iter().map(|(object, _)| space == Space::Image && inside(object)).collect();
    Prepared { truth, labels, overlap, dont_care }
}

/// Scores of the labels that hit truth that counts, when each truth takes the surest label.
fn scores_of_hits(frame: &Prepared<'_>, min_overlap: f64) -> Vec<f64> {
    let mut taken = vec![false; frame.labels.len()];
    let mut scores = Vec::new();
    for (row, (_, fate)) in frame.truth.iter().enumerate() {
        let mut best: Option<(usize, f64)> = None;
        for (column, (label, _)) in frame.labels.iter().enumerate() {
            let better = best.is_none_or(|(_, score)| label.score > score);
            if !taken[column] && better && frame.overlap.at(row, column) > min_overlap {
                best = Some((column, label.score));
            }
        }
        if let Some((column, score)) = best {
            taken[column] = true;
            if *fate == Fate::Counts && frame.labels[column].1 == Fate::Counts {
                scores.push(score);
            }
        }
    }
    scores
}

/// The scores at which recall passes multiples of 1/40.
fn thresholds(mut scores: Vec<f64>, truth: usize) -> Vec<f64> {
    scores.sort_by(|a, b| b.total_cmp(a));
    let mut recall = 0.0;
    let mut found = Vec::new();
    for (index, score) in scores.iter().enumerate() {
        let here = (index + 1) as f64 / truth as f64;
        let is_last = index + 1 == scores.len();
        let next = if is_last { here } else { (index + 2) as f64 / truth as f64 };
        if !is_last && next - recall < recall - here {
            continue;
        }
        found.push(*score);
        recall += 1.0 / (SAMPLES as f64 - 1.0);
    }
    found
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    hits: f64,
    false_alarms: f64,
    similarity: f64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.false_alarms += other.false_alarms;
        self.similarity += other.similarity;
    }
}

fn tally(frame: &Prepared<'_>, min_overlap: f64, threshold: f64) -> Tally {
    let mut taken: Vec<bool> = frame.labels.iter().map(|(label, _)| label.score < threshold).collect();
    let usable = taken.iter().map(|below| !below).collect::<Vec<_>>();
    let mut found = Tally::default();
    for (row, (truth, fate)) in frame.truth.iter().enumerate() {
        let Some(column) = best_label(frame, row, &taken, min_overlap) else { continue };
        taken[column] = true;
        if *fate == Fate::Counts && frame.labels[column].1 == Fate::Counts {
            found.hits += 1.0;
            found.similarity += (1.0 + (truth.alpha_rad - frame.labels[column].0.alpha_rad).cos()) / 2.0;
        }
    }
    for (column, (_, fate)) in frame.labels.iter().enumerate() {
        if usable[column] && !taken[column] && *fate == Fate::Counts && !frame.dont_care[column] {
            found.false_alarms += 1.0;
        }
    }
    found
}

/// The label that overlaps most among those that count; one that is excused only where no other does.
fn best_label(frame: &Prepared<'_>, row: usize, taken: &[bool], min_overlap: f64) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    let mut excused = None;
    for (column, (_, fate)) in frame.labels.iter().enumerate() {
        let overlap = frame.overlap.at(row, column);
        if taken[column] || overlap <= min_overlap {
            continue;
        }
        if *fate == Fate::Counts {
            if best.is_none_or(|(_, most)| overlap > most) {
                best = Some((column, overlap));
            }
        } else if excused.is_none() {
            excused = Some(column);
        }
    }
    best.map(|(column, _)| column).or(excused)
}
