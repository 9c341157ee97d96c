//! Precision, recall and average precision by class and range band, and the frames with the most errors.

use serde::Serialize;

use crate::classes::ClassRule;
use crate::labels::{FrameKey, Object};
use crate::numbers::share;
use crate::overlap::Space;
use crate::pairing::Pairs;
use crate::report::trust::Trust;

/// Bounds of the range bands (metres).
pub const BANDS_M: [[f64; 2]; 4] = [[0.0, f64::INFINITY], [0.0, 30.0], [30.0, 50.0], [50.0, f64::INFINITY]];
/// Frames in the table of the worst.
const WORST_FRAMES: usize = 20;

/// When a label is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Agreement {
    /// Least intersection over union.
    Overlap(Space, f64),
    /// Greatest distance of the centres in the plane (metres).
    Distance(f64),
}

impl Agreement {
    /// How well two objects agree; `None` where they do not.
    fn of(self, truth: &Object, label: &Object) -> Option<f64> {
        match self {
            Self::Overlap(space, least) => Some(space.iou(truth, label)).filter(|overlap| *overlap >= least),
            Self::Distance(most) => {
                let offset = truth.cuboid.center_m - label.cuboid.center_m;
                Some(-offset.x.hypot(offset.y)).filter(|nearness| -*nearness < most)
            }
        }
    }

    /// In words.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Overlap(space, least) => format!("{} IoU ≥ {least}", space.as_str()),
            Self::Distance(most) => format!("centres within {most} m"),
        }
    }
}

/// Which truth counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counting {
    /// Truth with fewer lidar points does not count.
    pub min_points: u32,
    /// Truth and labels farther away do not count (metres).
    pub max_range_m: f64,
}

/// One class in one band.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Band {
    /// Class.
    pub class: String,
    /// Nearest and farthest (metres); no upper bound is null.
    pub range_m: [f64; 2],
    /// When a label is right.
    pub agreement: String,
    /// Truth that counts.
    pub truth: u64,
    /// Labels that are right.
    pub tp: u64,
    /// Labels that are nothing.
    pub fp: u64,
    /// Truth that was missed.
    pub fn_: u64,
    /// Share of labels that are right, all labels taken.
    pub precision: f64,
    /// Share of truth that was found, all labels taken.
    pub recall: f64,
    /// Area under the monotone precision over recall, in percent.
    pub ap: f64,
    /// Precision at recall 0.6; null where it is not reached.
    pub precision_at_recall_60: Option<f64>,
    /// How far the confidences can be trusted; null where they are no probabilities.
    pub trust: Option<Trust>,
    /// Precision over recall, one point a label of falling confidence, thinned to at most 200.
    pub curve: Vec<[f64; 2]>,
}

/// One frame with its errors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BadFrame {
    /// Sequence.
    pub sequence: String,
    /// Number or stamp.
    pub number: i64,
    /// The clip that `boxwright view` opens, where the labels are a dataset.
    pub clip: Option<String>,
    /// Truth that was missed.
    pub missed: u64,
    /// Labels that are nothing.
    pub false_labels: u64,
    /// What `boxwright view` is told to show it.
    pub view: Option<String>,
}

/// What one class comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Breakdown {
    /// By class and band.
    pub bands: Vec<Band>,
    /// Frames with the most errors over all classes, worst first.
    pub worst_frames: Vec<BadFrame>,
}

/// Breaks the result down. `classes` come with what makes a label right; `view` is the dataset for the commands of the worst frames.
#[must_use]
pub fn break_down(pairs: &Pairs, classes: &[(ClassRule, Agreement)], counting: Counting, view: Option<&str>) -> Breakdown {
    let mut found = Breakdown::default();
    let mut errors = vec![[0_u64; 2]; pairs.frames.len()];
    for (class, agreement) in classes {
        for range_m in BANDS_M {
            let mut judged = Vec::new();
            let mut truth = 0;
            for (frame, errors) in pairs.frames.iter().zip(&mut errors) {
                let (counted, verdicts) = judge(&frame.truth.objects, &frame.labels.objects, class, *agreement, counting, range_m);
                let hits = verdicts.iter().filter(|(_, right)| *right).count() as u64;
                if range_m == BANDS_M[0] {
                    errors[0] += counted - hits;
                    errors[1] += verdicts.len() as u64 - hits;
                }
                truth += counted;
                judged.extend(verdicts);
            }
            found.bands.push(band(class, range_m, *agreement, truth, judged));
        }
    }
    let bad = |(key, clip, [missed, false_labels]): (&FrameKey, Option<String>, [u64; 2])| BadFrame {
        sequence: key.sequence.to_string(),
        number: key.number,
        view: view.zip(clip.as_ref()).map(|(dataset, clip)| format!("boxwright view {dataset} --clip {clip}")),
        clip,
        missed,
        false_labels,
    };
    let frames = pairs.frames.iter().zip(errors);
    let mut worst: Vec<BadFrame> =
        frames.map(|(pair, errors)| bad((&pair.key, pair.labels.clip.as_deref().map(str::to_owned), errors))).collect();
    worst.retain(|frame| frame.missed + frame.false_labels > 0);
    worst.sort_by_key(|frame| std::cmp::Reverse(frame.missed + frame.false_labels));
    worst.truncate(WORST_FRAMES);
    found.worst_frames = worst;
    found
}

/// Truth that counts, and each label that is not excused with its confidence and whether it is right.
fn judge(
    truth: &[Object],
    labels: &[Object],
    class: &ClassRule,
    agreement: Agreement,
    counting: Counting,
    range_m: [f64; 2],
) -> (u64, Vec<(f64, bool)>) {
    let in_band = |object: &Object| (range_m[0]..range_m[1]).contains(&object.range_m) && object.range_m <= counting.max_range_m;
    let counts = |object: &Object| {
        class.has(&object.class)
            && !object.ignored
            && in_band(object)
            && object.num_points.is_none_or(|points| points >= counting.min_points)
    };
    let near: Vec<(&Object, bool)> =
        truth.iter().filter(|o| class.has(&o.class) || class.excuses(&o.class)).map(|o| (o, counts(o))).collect();
    let mut claimed: Vec<&Object> = labels.iter().filter(|o| class.has(&o.class)).collect();
    claimed.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut taken = vec![false; near.len()];
    let mut verdicts = Vec::new();
    for label in claimed {
        let best = |wanted: bool| {
            let free = (0..near.len()).filter(|i| near[*i].1 == wanted && !(wanted && taken[*i]));
            free.filter_map(|i| agreement.of(near[i].0, label).map(|value| (i, value))).reduce(|a, b| if b.1 > a.1 { b } else { a })
        };
        if let Some((index, _)) = best(true) {
            taken[index] = true;
            verdicts.push((label.score, true));
        } else if best(false).is_none() && in_band(label) && !label.ignored {
            verdicts.push((label.score, false));
        }
    }
    (near.iter().filter(|(_, counts)| *counts).count() as u64, verdicts)
}

fn band(class: &ClassRule, range_m: [f64; 2], agreement: Agreement, truth: u64, mut judged: Vec<(f64, bool)>) -> Band {
    judged.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut tp, mut curve) = (0_u64, Vec::with_capacity(judged.len()));
    for (index, (_, right)) in judged.iter().enumerate() {
        tp += u64::from(*right);
        curve.push([share(tp as f64, truth as f64), tp as f64 / (index + 1) as f64]);
    }
    for index in (0..curve.len().saturating_sub(1)).rev() {
        curve[index][1] = curve[index][1].max(curve[index + 1][1]);
    }
    let (mut area, mut before) = (0.0, 0.0);
    for [recall, precision] in &curve {
        area += (recall - before) * precision;
        before = *recall;
    }
    let reached = curve.iter().find(|[recall, _]| *recall >= 0.6).map(|[_, precision]| *precision);
    // 200 points are more than a chart of that many pixels can show.
    let step = curve.len().div_ceil(200).max(1);
    let last = curve.last().copied();
    let thinned: Vec<[f64; 2]> = curve.into_iter().step_by(step).chain(last).collect();
    let labels = judged.len() as u64;
    Band {
        class: class.name.clone(),
        range_m,
        agreement: agreement.describe(),
        truth,
        tp,
        fp: labels - tp,
        fn_: truth - tp,
        precision: share(tp as f64, labels as f64),
        recall: share(tp as f64, truth as f64),
        ap: 100.0 * area,
        precision_at_recall_60: reached,
        trust: Trust::of(&judged),
        curve: thinned,
    }
}
