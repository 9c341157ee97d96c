//! nuScenes' detection benchmark: mean average precision by distance of centres, five true-positive errors, and their score NDS.
//!
//! Caesar et al., "nuScenes: a multimodal dataset for autonomous driving" (2020), configuration `detection_cvpr_2019`.

use std::collections::BTreeMap;

use nalgebra::{Quaternion, Vector3};
use serde::Serialize;

use crate::labels::{Frame, Object};
use crate::numbers::{interp, linspace, mean, nan_mean, running_mean};
use crate::overlap::aligned_iou;

/// Classes in the order of the benchmark with the range in which they count (metres).
pub const CLASSES: [(&str, f64); 10] = [
    ("car", 50.0),
    ("truck", 50.0),
    ("bus", 50.0),
    ("trailer", 50.0),
    ("construction_vehicle", 50.0),
    ("pedestrian", 40.0),
    ("motorcycle", 40.0),
    ("bicycle", 40.0),
    ("traffic_cone", 30.0),
    ("barrier", 30.0),
];
/// Distances within which a detection is right (metres).
pub const DISTANCES_M: [f64; 4] = [0.5, 1.0, 2.0, 4.0];
/// The distance at which errors are taken.
const ERROR_DISTANCE_M: f64 = 2.0;
const ERRORS: [&str; 5] = ["trans_err", "scale_err", "orient_err", "vel_err", "attr_err"];
/// Recall and precision below this are not counted.
const MIN_RECALL_BIN: usize = 11;
const MIN_PRECISION: f64 = 0.1;

/// The benchmark's summary.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Mean of the mean precisions of all classes.
    pub mean_ap: f64,
    /// nuScenes detection score.
    pub nd_score: f64,
    /// Mean errors.
    pub tp_errors: BTreeMap<String, f64>,
    /// One minus the errors, not below 0.
    pub tp_scores: BTreeMap<String, f64>,
    /// Precision of each class at each distance.
    pub label_aps: BTreeMap<String, BTreeMap<String, f64>>,
    /// Mean of those over the distances.
    pub mean_dist_aps: BTreeMap<String, f64>,
    /// Errors of each class; NaN where it has none.
    pub label_tp_errors: BTreeMap<String, BTreeMap<String, f64>>,
}

/// Evaluates pairs of (truth, labels) in the order of the submission.
#[must_use]
pub fn evaluate(frames: &[(&Frame, &Frame)]) -> Summary {
    let mut found = Summary::default();
    let mut errors_of = vec![Vec::new(); ERRORS.len()];
    for (class, range_m) in CLASSES {
        let mut aps = BTreeMap::new();
        let mut values = Vec::new();
        let mut curve_for_errors = None;
        for distance in DISTANCES_M {
            let curve = accumulate(frames, class, range_m, distance);
            let ap = average_precision(&curve);
            values.push(ap);
            aps.insert(format!("{distance:.1}"), ap);
            if distance == ERROR_DISTANCE_M {
                curve_for_errors = Some(curve);
            }
        }
        found.mean_dist_aps.insert(class.to_owned(), mean(&values));
        found.label_aps.insert(class.to_owned(), aps);
        let mut errors = BTreeMap::new();
        for (index, name) in ERRORS.into_iter().enumerate() {
            let value = match (class, name) {
                ("traffic_cone", "attr_err" | "vel_err" | "orient_err") | ("barrier", "attr_err" | "vel_err") => f64::NAN,
                _ => curve_for_errors.as_ref().map_or(1.0, |curve| mean_error(curve, index)),
            };
            errors_of[index].push(value);
            errors.insert(name.to_owned(), value);
        }
        found.label_tp_errors.insert(class.to_owned(), errors);
    }
    found.mean_ap = mean(&found.mean_dist_aps.values().copied().collect::<Vec<_>>());
    let mut total = 5.0 * found.mean_ap;
    for (name, values) in ERRORS.into_iter().zip(&errors_of) {
        let error = nan_mean(values);
        let score = (1.0 - error).max(0.0);
        total += score;
        found.tp_errors.insert(name.to_owned(), error);
        found.tp_scores.insert(name.to_owned(), score);
    }
    found.nd_score = total / 10.0;
    found
}

/// Precision and confidence at 101 recalls, and the running means of the errors.
struct Curve {
    precision: Vec<f64>,
    confidence: Vec<f64>,
    errors: Vec<Vec<f64>>,
}

impl Curve {
    fn empty() -> Self {
        Self { precision: vec![0.0; 101], confidence: vec![0.0; 101], errors: vec![vec![1.0; 101]; ERRORS.len()] }
    }
}

fn accumulate(frames: &[(&Frame, &Frame)], class: &str, range_m: f64, distance_m: f64) -> Curve {
    let counts = |object: &Object| &*object.class == class && object.range_m < range_m && !object.ignored;
    let truth: Vec<Vec<&Object>> =
        frames.iter().map(|(t, _)| t.objects.iter().filter(|o| counts(o) && o.num_points != Some(0)).collect()).collect();
    let total = truth.iter().map(Vec::len).sum::<usize>();
    if total == 0 {
        return Curve::empty();
    }
    let mut labels: Vec<(usize, &Object)> =
        frames.iter().enumerate().flat_map(|(f, (_, l))| l.objects.iter().filter(|o| counts(o)).map(move |o| (f, o))).collect();
    // Of equal scores the later label comes first, as the devkit sorts (score, index) downwards.
    labels.reverse();
    labels.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
    let mut taken: Vec<Vec<bool>> = truth.iter().map(|boxes| vec![false; boxes.len()]).collect();
    let (mut hits, mut seen) = (0.0, 0.0);
    let (mut precision, mut recall, mut confidence) = (Vec::new(), Vec::new(), Vec::new());
    let mut matched: Vec<[f64; 6]> = Vec::new();
    for (frame, label) in labels {
        seen += 1.0;
        let free = (0..truth[frame].len()).filter(|i| !taken[frame][*i]);
        let nearest = free.map(|i| (i, distance(truth[frame][i], label))).reduce(|a, b| if b.1 < a.1 { b } else { a });
        if let Some((index, _)) = nearest.filter(|(_, d)| *d < distance_m) {
            taken[frame][index] = true;
            hits += 1.0;
            matched.push(errors(truth[frame][index], label, class));
        }
        precision.push(hits / seen);
        recall.push(hits / total as f64);
        confidence.push(label.score);
    }
    if matched.is_empty() {
        return Curve::empty();
    }
    let recalls = linspace(0.0, 1.0, 101);
    let at = |values: &[f64]| recalls.iter().map(|r| interp(*r, &recall, values, Some(0.0))).collect::<Vec<_>>();
    let (precision, confidence) = (at(&precision), at(&confidence));
    // Confidence falls with recall; interpolation wants it rising.
    let rising: Vec<f64> = matched.iter().rev().map(|m| m[5]).collect();
    let errors = (0..ERRORS.len())
        .map(|e| {
            let mut means = running_mean(&matched.iter().map(|m| m[e]).collect::<Vec<_>>());
            means.reverse();
            confidence.iter().map(|c| interp(*c, &rising, &means, None)).collect()
        })
        .collect();
    Curve { precision, confidence, errors }
}

fn distance(a: &Object, b: &Object) -> f64 {
    (a.cuboid.center_m.x - b.cuboid.center_m.x).hypot(a.cuboid.center_m.y - b.cuboid.center_m.y)
}

/// Translation, scale, orientation, velocity and attribute error, and the confidence.
fn errors(truth: &Object, label: &Object, class: &str) -> [f64; 6] {
    let period = if class == "barrier" { std::f64::consts::PI } else { std::f64::consts::TAU };
    let velocity = [0, 1].map(|axis| label.velocity_mps[axis] - truth.velocity_mps[axis]);
    let attribute = if truth.attribute.is_empty() { f64::NAN } else { f64::from(truth.attribute != label.attribute) };
    [
        distance(truth, label),
        1.0 - aligned_iou(&truth.cuboid, &label.cuboid),
        angle_between(yaw(truth), yaw(label), period),
        (velocity[0] * velocity[0] + velocity[1] * velocity[1]).sqrt(),
        attribute,
        label.score,
    ]
}

fn yaw(object: &Object) -> f64 {
    let q: &Quaternion<f64> = object.cuboid.rotation.quaternion();
    let forward = nalgebra::UnitQuaternion::new_normalize(*q) * Vector3::x();
    forward.y.atan2(forward.x)
}

fn angle_between(a: f64, b: f64, period: f64) -> f64 {
    let mut angle = (a - b + period / 2.0).rem_euclid(period) - period / 2.0;
    if angle > std::f64::consts::PI {
        angle -= std::f64::consts::TAU;
    }
    angle.abs()
}

fn average_precision(curve: &Curve) -> f64 {
    let kept: Vec<f64> = curve.precision[MIN_RECALL_BIN..].iter().map(|p| (p - MIN_PRECISION).max(0.0)).collect();
    mean(&kept) / (1.0 - MIN_PRECISION)
}

fn mean_error(curve: &Curve, error: usize) -> f64 {
    match curve.confidence.iter().rposition(|c| *c != 0.0) {
        Some(last) if last >= MIN_RECALL_BIN => mean(&curve.errors[error][MIN_RECALL_BIN..=last]),
        _ => 1.0,
    }
}
