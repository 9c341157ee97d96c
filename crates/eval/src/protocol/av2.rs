//! Argoverse 2's detection benchmark: average precision by distance of centres in space, three true-positive errors, and the composite
//! score CDS.
//!
//! Wilson et al., "Argoverse 2" (2021); without the map's region of interest, as `eval_only_roi_instances=False`.

use std::collections::BTreeMap;

use boxwright_model::Cuboid;
use serde::Serialize;

use crate::labels::{Frame, Object};
use crate::numbers::{by_falling_score, interp, linspace, mean};

/// Distances within which a detection is right (metres).
pub const DISTANCES_M: [f64; 4] = [0.5, 1.0, 2.0, 4.0];
/// Index of the distance at which errors are taken.
const ERROR_DISTANCE: usize = 2;
const MAX_RANGE_M: f64 = 150.0;
/// Most detections of a class in a sweep.
const MAX_DETECTIONS: usize = 100;
/// What keeps the official precision of nothing from being a division by zero.
const EPSILON: f64 = 1e-10;

/// The metrics of one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub struct ClassMetrics {
    /// Mean average precision.
    pub ap: f64,
    /// Translation error (metres).
    pub ate: f64,
    /// Scale error.
    pub ase: f64,
    /// Orientation error (radians).
    pub aoe: f64,
    /// Composite detection score.
    pub cds: f64,
}

/// Errors of nothing, and what errors are divided by.
const WORST: [f64; 3] = [2.0, 1.0, std::f64::consts::PI];

/// Evaluates pairs of (truth, labels), each sweep by itself. `classes` are those with a line in the result; case does not
/// matter, because the names of a dataset are in lower case and those of others are not.
#[must_use]
pub fn evaluate(frames: &[(&Frame, &Frame)], classes: &[String]) -> BTreeMap<String, ClassMetrics> {
    let mut found: BTreeMap<String, ClassMetrics> =
        classes.iter().map(|class| (class.clone(), evaluate_class(frames, class))).collect();
    let average = |pick: fn(&ClassMetrics) -> f64| mean(&found.values().map(pick).collect::<Vec<_>>());
    let all = ClassMetrics {
        ap: average(|m| m.ap),
        ate: average(|m| m.ate),
        ase: average(|m| m.ase),
        aoe: average(|m| m.aoe),
        cds: average(|m| m.cds),
    };
    found.insert("AVERAGE_METRICS".to_owned(), all);
    found
}

/// A detection that is evaluated: its score, whether it is right at each distance, and its errors.
struct Judged {
    score: f64,
    right: [bool; 4],
    errors: [f64; 3],
}

fn evaluate_class(frames: &[(&Frame, &Frame)], class: &str) -> ClassMetrics {
    let mut judged = Vec::new();
    let mut total = 0;
    for (truth, labels) in frames {
        let of_class = |objects: &[Object]| -> Vec<Object> {
            objects.iter().filter(|o| o.class.eq_ignore_ascii_case(class)).cloned().collect()
        };
        total += judge_sweep(&of_class(&truth.objects), &of_class(&labels.objects), &mut judged);
    }
    if total == 0 {
        return ClassMetrics { ap: 0.0, ate: WORST[0], ase: WORST[1], aoe: WORST[2], cds: 0.0 };
    }
    let order = by_falling_score(&judged.iter().map(|d| d.score).collect::<Vec<_>>());
    let aps: Vec<f64> = (0..DISTANCES_M.len())
        .map(|d| average_precision(&order.iter().map(|i| judged[*i].right[d]).collect::<Vec<_>>(), total))
        .collect();
    let ap = mean(&aps);
    let right: Vec<&Judged> = judged.iter().filter(|d| d.right[ERROR_DISTANCE]).collect();
    let errors =
        if right.is_empty() { WORST } else { [0, 1, 2].map(|e| mean(&right.iter().map(|d| d.errors[e]).collect::<Vec<_>>())) };
    let scores = [0, 1, 2].map(|e| 1.0 - errors[e] / WORST[e]);
    ClassMetrics { ap, ate: errors[0], ase: errors[1], aoe: errors[2], cds: ap * mean(&scores) }
}

/// Judges one class in one sweep; the number of truth boxes that count.
fn judge_sweep(truth: &[Object], labels: &[Object], judged: &mut Vec<Judged>) -> usize {
    let in_range = |object: &&Object| object.cuboid.center_m.norm() < MAX_RANGE_M && !object.ignored;
    let truth: Vec<&Object> = truth.iter().filter(in_range).filter(|o| o.num_points != Some(0)).collect();
    let order = by_falling_score(&labels.iter().map(|o| o.score).collect::<Vec<_>>());
    let labels: Vec<&Object> = order.iter().map(|i| &labels[*i]).filter(in_range).take(MAX_DETECTIONS).collect();
    let mut taken = vec![false; truth.len()];
    for label in labels {
        let mut one = Judged { score: label.score, right: [false; 4], errors: WORST };
        let distances = truth.iter().map(|t| (t.cuboid.center_m - label.cuboid.center_m).norm());
        let nearest = distances.enumerate().reduce(|a, b| if b.1 < a.1 { b } else { a });
        // Only the surest of those that are nearest to a truth may have it; no detection has a second choice.
        if let Some((index, distance)) = nearest.filter(|(index, _)| !taken[*index]) {
            taken[index] = true;
            one.right = DISTANCES_M.map(|limit| distance < limit);
            if one.right[ERROR_DISTANCE] {
                let turn = (label.cuboid.yaw_rad() - truth[index].cuboid.yaw_rad()).rem_euclid(std::f64::consts::TAU);
                one.errors = [distance, scale_error(&label.cuboid, &truth[index].cuboid), turn.min(std::f64::consts::TAU - turn)];
            }
        }
        judged.push(one);
    }
    truth.len()
}

/// One minus the overlap of two cuboids laid over each other. The official union is the cuboid of the greater lengths, which is more than the
/// volume that the two cover where one is longer and the other wider (`iou_3d_axis_aligned` of av2; nuScenes takes the volume).
fn scale_error(a: &Cuboid, b: &Cuboid) -> f64 {
    1.0 - a.size_lwh_m.inf(&b.size_lwh_m).product() / a.size_lwh_m.sup(&b.size_lwh_m).product()
}

fn average_precision(right: &[bool], total: usize) -> f64 {
    let mut hits = 0.0;
    let (mut precision, mut recall) = (Vec::with_capacity(right.len()), Vec::with_capacity(right.len()));
    for (index, right) in right.iter().enumerate() {
        hits += f64::from(u8::from(*right));
        precision.push(hits / ((index + 1) as f64 + EPSILON));
        recall.push(hits / total as f64);
    }
    if right.is_empty() {
        return 0.0;
    }
    for index in (0..precision.len() - 1).rev() {
        precision[index] = precision[index].max(precision[index + 1]);
    }
    mean(&linspace(0.0, 1.0, 101).iter().map(|r| interp(*r, &recall, &precision, Some(0.0))).collect::<Vec<_>>())
}
