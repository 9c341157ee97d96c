//! nuScenes' tracking benchmark: AMOTA, AMOTP and CLEAR metrics at the confidence of the best MOTA.
//!
//! Configuration `tracking_nips_2019`. Matching is by distance of centres; a pair of the past is kept while it is near enough. Confidences
//! are the means of tracks, and gaps of tracks are filled before matching. The devkit weighs the two neighbours of a gap the wrong way
//! round (the nearer one counts less); so does this, to give its numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::labels::{Frame, FrameKey, Object};
use crate::numbers::{Matrix, interp, linspace, nan_mean, nan_sum};

/// Classes of the benchmark with the range in which they count (metres).
pub const CLASSES: [(&str, f64); 7] = [
    ("bicycle", 40.0),
    ("bus", 50.0),
    ("car", 50.0),
    ("motorcycle", 40.0),
    ("pedestrian", 40.0),
    ("trailer", 50.0),
    ("truck", 50.0),
];
const MATCH_DISTANCE_M: f64 = 2.0;
const THRESHOLDS: usize = 40;
const MIN_RECALL: f64 = 0.1;
/// Seconds from sample to sample.
const PERIOD_S: f64 = 0.5;
/// What an AMOTP of an unreached recall counts as.
const WORST_MOTP: f64 = 2.0;
/// Metrics that are summed over the classes; others are averaged.
const SUMMED: [&str; 7] = ["mt", "ml", "tp", "fp", "fn", "ids", "frag"];

/// The benchmark's summary.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Each metric over all classes.
    #[serde(flatten)]
    pub total: BTreeMap<String, f64>,
    /// Each metric of each class; NaN where the truth has none.
    pub label_metrics: BTreeMap<String, BTreeMap<String, f64>>,
}

/// Boxes of one class in one frame: track, centre, confidence.
type Boxes = Vec<(Arc<str>, [f64; 2], f64)>;

/// Evaluates (key, truth, labels) in order of keys.
#[must_use]
pub fn evaluate(frames: &[(&FrameKey, &Frame, &Frame)]) -> Summary {
    let scenes = scenes(frames);
    let mut found = Summary::default();
    for (class, _) in CLASSES {
        let of_class: Vec<Scene> = scenes.iter().map(|scene| scene.of_class(class)).collect();
        for (metric, value) in evaluate_class(&of_class) {
            found.label_metrics.entry(metric.to_owned()).or_default().insert(class.to_owned(), value);
        }
    }
    for (metric, values) in &found.label_metrics {
        let values: Vec<f64> = values.values().copied().collect();
        found.total.insert(metric.clone(), if SUMMED.contains(&metric.as_str()) { nan_sum(&values) } else { nan_mean(&values) });
    }
    found
}

/// One scene, before classes are told apart.
struct Tracks {
    truth: Vec<Vec<Object>>,
    labels: Vec<Vec<Object>>,
}

/// One class in one scene, frame by frame.
struct Scene {
    truth: Vec<Boxes>,
    labels: Vec<Boxes>,
}

impl Tracks {
    fn of_class(&self, class: &str) -> Scene {
        let pick = |frames: &[Vec<Object>]| {
            let boxes = |objects: &Vec<Object>| -> Boxes {
                let own = objects.iter().filter(|o| &*o.class == class);
                own.map(|o| (o.track.clone().unwrap_or_default(), [o.cuboid.center_m.x, o.cuboid.center_m.y], o.score)).collect()
            };
            frames.iter().map(boxes).collect()
        };
        Scene { truth: pick(&self.truth), labels: pick(&self.labels) }
    }
}

fn scenes(frames: &[(&FrameKey, &Frame, &Frame)]) -> Vec<Tracks> {
    let ranges: BTreeMap<&str, f64> = CLASSES.into_iter().collect();
    let counts = |object: &&Object| ranges.get(&*object.class).is_some_and(|range_m| object.range_m < *range_m) && !object.ignored;
    frames
        .chunk_by(|a, b| a.0.sequence == b.0.sequence)
        .map(|scene| {
            let times: Vec<i64> = scene.iter().map(|(key, ..)| key.number).collect();
            let truth = scene
                .iter()
                .map(|(_, t, _)| t.objects.iter().filter(counts).filter(|o| o.num_points != Some(0)).cloned().collect());
            let mut labels: Vec<Vec<Object>> =
                scene.iter().map(|(.., l)| l.objects.iter().filter(counts).cloned().collect()).collect();
            average_scores(&mut labels);
            Tracks { truth: fill_gaps(truth.collect(), &times), labels: fill_gaps(labels, &times) }
        })
        .collect()
}

fn average_scores(frames: &mut [Vec<Object>]) {
    let mut sums: BTreeMap<Option<Arc<str>>, Vec<f64>> = BTreeMap::new();
    frames.iter().flatten().for_each(|object| sums.entry(object.track.clone()).or_default().push(object.score));
    for object in frames.iter_mut().flatten() {
        object.score = crate::numbers::mean(&sums[&object.track]);
    }
}

fn fill_gaps(mut frames: Vec<Vec<Object>>, times: &[i64]) -> Vec<Vec<Object>> {
    let mut tracks: Vec<(Option<Arc<str>>, Vec<(usize, Object)>)> = Vec::new();
    for (at, frame) in frames.iter().enumerate() {
        for object in frame {
            match tracks.iter_mut().find(|(track, _)| *track == object.track) {
                Some((_, seen)) => seen.push((at, object.clone())),
                None => tracks.push((object.track.clone(), vec![(at, object.clone())])),
            }
        }
    }
    for at in 0..frames.len() {
        for (_, seen) in &tracks {
            let next = seen.partition_point(|(frame, _)| *frame <= at);
            if next == 0 || next == seen.len() || seen[next - 1].0 == at {
                continue;
            }
            let ((left_at, left), (right_at, right)) = (&seen[next - 1], &seen[next]);
            let ratio = (times[*right_at] - times[at]) as f64 / (times[*right_at] - times[*left_at]) as f64;
            let mut between = right.clone();
            between.cuboid.center_m = left.cuboid.center_m * (1.0 - ratio) + right.cuboid.center_m * ratio;
            between.score = left.score * (1.0 - ratio) + right.score * ratio;
            frames[at].push(between);
        }
    }
    frames
}

/// Every metric of one class by name.
fn evaluate_class(scenes: &[Scene]) -> Vec<(&'static str, f64)> {
    let truth = scenes.iter().flat_map(|scene| &scene.truth).map(Vec::len).sum::<usize>() as f64;
    if truth == 0.0 {
        return Totals::default()
            .metrics()
            .into_iter()
            .map(|(name, _)| (name, f64::NAN))
            .chain([("amota", f64::NAN), ("amotp", f64::NAN)])
            .collect();
    }
    let (_, mut scores) = accumulate(scenes, f64::NEG_INFINITY);
    if scores.is_empty() {
        return nothing_found(scenes, truth);
    }
    scores.sort_by(|a, b| b.total_cmp(a));
    let recalls: Vec<f64> = (1..=scores.len()).map(|hits| hits as f64 / truth).collect();
    let reached = recalls[recalls.len() - 1];
    let mut levels: Vec<f64> = linspace(MIN_RECALL, 1.0, THRESHOLDS).iter().map(|r| (r * 1e12).round() / 1e12).collect();
    levels.reverse();
    let mut results: Vec<Option<Totals>> = Vec::new();
    let mut last: Option<(f64, Totals)> = None;
    for level in levels {
        if level > reached {
            results.push(None);
            continue;
        }
        let threshold = interp(level, &recalls, &scores, Some(0.0));
        let totals = match &last {
            Some((before, totals)) if *before == threshold => totals.clone(),
            _ => accumulate(scenes, threshold).0,
        };
        results.push(Some(totals.clone()));
        last = Some((threshold, totals));
    }
    if results.iter().all(Option::is_none) {
        return nothing_found(scenes, truth);
    }
    let average = |worst: f64, pick: &dyn Fn(&Totals) -> f64| {
        let values = results.iter().map(|r| r.as_ref().map(pick).filter(|v| !v.is_nan()).unwrap_or(worst));
        values.sum::<f64>() / THRESHOLDS as f64
    };
    let averages = [("amota", average(0.0, &Totals::motar)), ("amotp", average(WORST_MOTP, &Totals::motp))];
    // Of equal values the first, which has the highest recall.
    let best = results.iter().flatten().reduce(|a, b| if b.mota() > a.mota() { b } else { a }).cloned().unwrap_or_default();
    best.metrics().into_iter().chain(averages).collect()
}

/// What the benchmark gives where no recall is reached.
fn nothing_found(scenes: &[Scene], truth: f64) -> Vec<(&'static str, f64)> {
    let tracks: BTreeSet<&Arc<str>> = scenes.iter().flat_map(|s| s.truth.iter().flatten()).map(|(track, ..)| track).collect();
    let (unknown, zero) = (f64::NAN, 0.0);
    vec![
        ("gt", truth),
        ("tp", zero),
        ("fp", unknown),
        ("fn", truth),
        ("ids", unknown),
        ("frag", unknown),
        ("mt", zero),
        ("ml", tracks.len() as f64),
        ("recall", zero),
        ("motar", zero),
        ("mota", zero),
        ("motp", WORST_MOTP),
        ("faf", 500.0),
        ("tid", 20.0),
        ("lgd", 20.0),
        ("amota", zero),
        ("amotp", WORST_MOTP),
    ]
}

#[derive(Clone, Debug, Default)]
struct Totals {
    frames: f64,
    objects: f64,
    matches: f64,
    switches: f64,
    misses: f64,
    false_alarms: f64,
    distance: f64,
    /// Of each truth track: whether it was found, by number of the frame.
    paths: Vec<Vec<(usize, bool)>>,
}

impl Totals {
    fn motar(&self) -> f64 {
        let recall = self.matches / self.objects;
        let errors = self.misses + self.switches + self.false_alarms - (1.0 - recall) * self.objects;
        if self.matches == 0.0 { f64::NAN } else { (1.0 - errors / (recall * self.objects)).max(0.0) }
    }

    fn mota(&self) -> f64 {
        (1.0 - (self.misses + self.switches + self.false_alarms) / self.objects).max(0.0)
    }

    fn motp(&self) -> f64 {
        self.distance / (self.matches + self.switches)
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        let ratios = || self.paths.iter().map(|path| path.iter().filter(|(_, found)| *found).count() as f64 / path.len() as f64);
        let found: Vec<&Vec<(usize, bool)>> = self.paths.iter().filter(|path| path.iter().any(|(_, found)| *found)).collect();
        let mean_s = |of: fn(&[(usize, bool)]) -> usize| {
            if found.is_empty() {
                f64::NAN
            } else {
                found.iter().map(|path| of(path) as f64 * PERIOD_S).sum::<f64>() / found.len() as f64
            }
        };
        vec![
            ("gt", self.objects),
            ("tp", self.matches),
            ("fp", self.false_alarms),
            ("fn", self.misses),
            ("ids", self.switches),
            ("frag", found.iter().map(|path| fragments(path) as f64).sum()),
            ("mt", ratios().filter(|ratio| *ratio >= 0.8).count() as f64),
            ("ml", ratios().filter(|ratio| *ratio < 0.2).count() as f64),
            ("recall", (self.matches + self.switches) / self.objects),
            ("motar", self.motar()),
            ("mota", self.mota()),
            ("motp", self.motp()),
            ("faf", self.false_alarms / self.frames * 100.0),
            ("tid", mean_s(frames_until_found)),
            ("lgd", mean_s(longest_gap)),
        ]
    }
}

/// How often a track goes from found to missed between its first and last hit.
fn fragments(path: &[(usize, bool)]) -> usize {
    let first = path.iter().position(|(_, found)| *found).unwrap_or(0);
    let last = path.iter().rposition(|(_, found)| *found).unwrap_or(0);
    path[first..=last].windows(2).filter(|pair| pair[0].1 && !pair[1].1).count()
}

fn frames_until_found(path: &[(usize, bool)]) -> usize {
    let first = path.iter().find(|(_, found)| *found).map_or(path[0].0, |(frame, _)| *frame);
    first - path[0].0
}

/// Longest run of frames of the scene without a hit, between the first and the last frame of the track.
fn longest_gap(path: &[(usize, bool)]) -> usize {
    let hits: BTreeSet<usize> = path.iter().filter(|(_, found)| *found).map(|(frame, _)| *frame).collect();
    let (mut longest, mut gap) = (0, 0);
    for frame in path[0].0..=path[path.len() - 1].0 {
        gap = if hits.contains(&frame) { 0 } else { gap + 1 };
        longest = longest.max(gap);
    }
    longest
}

/// All scenes with the labels that reach the threshold; also the confidences of the matches that are no switches.
fn accumulate(scenes: &[Scene], threshold: f64) -> (Totals, Vec<f64>) {
    let (mut totals, mut scores) = (Totals::default(), Vec::new());
    for scene in scenes {
        let mut paths: BTreeMap<Arc<str>, Vec<(usize, bool)>> = BTreeMap::new();
        let mut pairs: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        let mut number = 0;
        for (truth, labels) in scene.truth.iter().zip(&scene.labels) {
            let labels: Boxes = labels.iter().filter(|(.., score)| *score >= threshold).cloned().collect();
            if truth.is_empty() && labels.is_empty() {
                continue;
            }
            let found = step(truth, &labels, &mut pairs, &mut totals, &mut scores);
            for ((track, ..), found) in truth.iter().zip(found) {
                paths.entry(track.clone()).or_default().push((number, found));
            }
            number += 1;
        }
        totals.frames += number as f64;
        totals.paths.extend(paths.into_values());
    }
    (totals, scores)
}

fn step(
    truth: &Boxes,
    labels: &Boxes,
    pairs: &mut BTreeMap<Arc<str>, Arc<str>>,
    totals: &mut Totals,
    scores: &mut Vec<f64>,
) -> Vec<bool> {
    let distance = Matrix::by(truth.len(), labels.len(), |row, column| {
        let (a, b) = (truth[row].1, labels[column].1);
        Some((a[0] - b[0]).hypot(a[1] - b[1])).filter(|d| *d < MATCH_DISTANCE_M).unwrap_or(f64::NAN)
    });
    let mut taken = vec![false; labels.len()];
    let mut found = vec![false; truth.len()];
    let mut hits: Vec<(usize, usize, bool)> = Vec::new();
    for (row, (track, ..)) in truth.iter().enumerate() {
        let Some(before) = pairs.get(track) else { continue };
        let column = labels.iter().enumerate().position(|(column, (label, ..))| !taken[column] && label == before);
        if let Some(column) = column.filter(|column| distance.at(row, *column).is_finite()) {
            (taken[column], found[row]) = (true, true);
            hits.push((row, column, false));
        }
    }
    // Far more than all distances of a frame together: as many pairs as can be, then the nearest.
    let gain = Matrix::by(truth.len(), labels.len(), |row, column| {
        let distance = distance.at(row, column);
        if found[row] || taken[column] || distance.is_nan() { 0.0 } else { 1e6 - distance }
    });
    for (row, column) in gain.assign_most() {
        if gain.at(row, column) > 0.0 {
            let switches = pairs.get(&truth[row].0).is_some_and(|before| *before != labels[column].0);
            (taken[column], found[row]) = (true, true);
            pairs.insert(truth[row].0.clone(), labels[column].0.clone());
            hits.push((row, column, switches));
        }
    }
    for (row, column, switches) in &hits {
        totals.distance += distance.at(*row, *column);
        if *switches {
            totals.switches += 1.0;
        } else {
            totals.matches += 1.0;
            scores.push(labels[*column].2);
        }
    }
    totals.objects += truth.len() as f64;
    totals.misses += (truth.len() - hits.len()) as f64;
    totals.false_alarms += (labels.len() - hits.len()) as f64;
    found
}
