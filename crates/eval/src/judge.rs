//! One protocol from labels and truth to numbers, with what that protocol takes for granted filled in.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::classes::ClassRule;
use crate::error::EvalError;
use crate::labels::LabelSet;
use crate::overlap::Space;
use crate::pairing::{Pairs, pair};
use crate::protocol::kitti::Difficulty;
use crate::protocol::sequences::{TrackRule, prepare};
use crate::protocol::{ab3dmot, av2, clear, hota, kitti, nuscenes_detection, nuscenes_tracking};
use crate::report::breakdown::{Agreement, Breakdown, Counting, break_down};

/// Whose rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Average precision of KITTI's object benchmark.
    Kitti,
    /// nuScenes' detection or tracking benchmark.
    Nuscenes,
    /// Argoverse 2's detection benchmark.
    Av2,
    /// CLEAR, identity and recall-averaged tracking metrics.
    Clear,
    /// HOTA.
    Hota,
}

/// What may be asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Classes to score; those of the protocol where empty.
    pub classes: Vec<ClassRule>,
    /// Truth with fewer lidar points does not count.
    pub min_points: Option<u32>,
    /// Truth and labels farther away do not count (metres).
    pub max_range_m: Option<f64>,
    /// Least overlaps; the official ones where empty.
    pub overlaps: Vec<f64>,
    /// Where overlap is measured; the image where both sides have it.
    pub space: Option<Space>,
    /// Only what the labels' camera sees is covered by the truth.
    pub in_view: bool,
    /// Tracks of labels whose mean confidence is lower are left out.
    pub min_track_score: Option<f64>,
    /// The dataset, for the commands of the worst frames.
    pub view: Option<String>,
}

/// Points that an object must have to count, where truth gives points and nothing else was asked for.
const MIN_POINTS: u32 = 10;
/// How far it may be away (metres).
const MAX_RANGE_M: f64 = 50.0;
/// Least overlaps of vehicles and of people, where the truth was not made in an image.
const MEASURED_OVERLAPS: [[f64; 2]; 2] = [[0.5, 0.7], [0.3, 0.5]];
/// Least overlap in space at which a track's box is right (as AB3DMOT).
const TRACK_OVERLAP: f64 = 0.25;
/// Distance at which nuScenes and Argoverse 2 take errors (metres).
const DISTANCE_M: f64 = 2.0;

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// Whose rules.
    pub protocol: Protocol,
    /// The numbers, under the names of the official tool.
    pub result: Value,
    /// The main ones, for a table.
    #[serde(skip)]
    pub numbers: Vec<(String, String)>,
    /// By class and range, and the worst frames.
    #[serde(flatten)]
    pub breakdown: Breakdown,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// Frames compared.
    pub frames: usize,
}

/// Compares labels with truth.
///
/// # Errors
/// When they cannot be paired, a class occurs on neither side, or the protocol needs what they do not have (tracks, a camera).
pub fn judge(mut labels: LabelSet, mut truth: LabelSet, protocol: Protocol, options: &Options) -> Result<Judgement, EvalError> {
    if truth.objects().next().is_none() {
        return Err(EvalError::Mismatch(format!("{}: expected objects in the truth, got none", truth.path.display())));
    }
    for class in &options.classes {
        class.check(&labels, &truth)?;
    }
    if options.in_view {
        leave_out_unseen(&mut labels, &mut truth)?;
    }
    if let Some(least) = options.min_track_score {
        leave_out_unsure(&mut labels, least);
    }
    if protocol == Protocol::Nuscenes {
        rename_for_nuscenes(&mut labels);
        rename_for_nuscenes(&mut truth);
    }
    if matches!(protocol, Protocol::Clear | Protocol::Hota) {
        need_tracks(&labels, &truth)?;
    }
    let has_scores = labels.has_scores;
    let has_images = [&labels, &truth].iter().all(|set| set.objects().any(|object| object.image.is_some()));
    let has_tracks = labels.objects().any(|object| object.track.is_some());
    let (claimed, there) = (labels.classes(), truth.classes());
    let pairs = pair(labels, truth)?;
    let mut notes = pairs.notes.clone();
    if !has_scores {
        notes.push("the labels have no confidences: curves are points".to_owned());
    }
    let mut judging = Judging { options, pairs: &pairs, has_images, numbers: Vec::new(), classes: Vec::new() };
    let result = match protocol {
        Protocol::Kitti => judging.kitti(&there),
        Protocol::Nuscenes => judging.nuscenes(has_tracks),
        Protocol::Av2 => judging.av2(&there),
        Protocol::Clear => judging.clear(&there),
        Protocol::Hota => judging.hota(&there),
    };
    let Judging { numbers, classes, .. } = judging;
    let unscored: BTreeSet<&str> =
        claimed.keys().map(|name| &**name).filter(|name| !classes.iter().any(|(rule, _)| rule.has(name))).collect();
    if !unscored.is_empty() {
        notes.push(format!("classes of the labels that are not scored: {}", unscored.into_iter().collect::<Vec<_>>().join(", ")));
    }
    let counting = options.counting(protocol, has_images);
    let breakdown = break_down(&pairs, &classes, counting, options.view.as_deref());
    Ok(Judgement { protocol, result, numbers, breakdown, notes, frames: pairs.frames.len() })
}

impl Options {
    /// Whether KITTI's own difficulties hold: boxes in the image, and nothing else asked for.
    fn is_official_kitti(&self, has_images: bool) -> bool {
        has_images && self.min_points.is_none() && self.max_range_m.is_none()
    }

    fn counting(&self, protocol: Protocol, has_images: bool) -> Counting {
        if protocol == Protocol::Kitti && !self.is_official_kitti(has_images) {
            let (min_points, max_range_m) = (self.min_points.unwrap_or(MIN_POINTS), self.max_range_m.unwrap_or(MAX_RANGE_M));
            return Counting { min_points, max_range_m };
        }
        Counting { min_points: self.min_points(has_images), max_range_m: self.max_range_m.unwrap_or(f64::INFINITY) }
    }

    fn min_points(&self, has_images: bool) -> u32 {
        self.min_points.unwrap_or(if has_images { 0 } else { 1 })
    }
}

/// A protocol at work.
struct Judging<'a> {
    options: &'a Options,
    pairs: &'a Pairs,
    has_images: bool,
    numbers: Vec<(String, String)>,
    /// What the report breaks down by.
    classes: Vec<(ClassRule, Agreement)>,
}

type Counts = BTreeMap<std::sync::Arc<str>, usize>;

impl Judging<'_> {
    fn tell(&mut self, name: impl Into<String>, value: f64, decimals: usize) {
        self.numbers.push((name.into(), if value.is_nan() { "not defined".to_owned() } else { format!("{value:.decimals$}") }));
    }

    /// The classes asked for, or those of a list that the truth has.
    fn classes_of(&self, list: Vec<ClassRule>, there: &Counts) -> Vec<ClassRule> {
        if !self.options.classes.is_empty() {
            return self.options.classes.clone();
        }
        list.into_iter().filter(|rule| there.keys().any(|name| rule.has(name))).collect()
    }

    fn kitti(&mut self, there: &Counts) -> Value {
        let official = self.options.is_official_kitti(self.has_images);
        let classes = self.classes_of(if official { ClassRule::kitti() } else { ClassRule::groups() }, there);
        let difficulties = if official {
            Difficulty::official()
        } else {
            let Counting { min_points: points, max_range_m: range } = self.options.counting(Protocol::Kitti, self.has_images);
            vec![Difficulty::measured(&format!("≥ {points} points, < {range} m"), points, [0.0, range])]
        };
        let spaces: &[Space] = if official { &[Space::Image, Space::Bev, Space::Volume] } else { &[Space::Bev, Space::Volume] };
        let frames = self.pairs.plain();
        let mut curves = Vec::new();
        for class in &classes {
            let usual = if official {
                vec![if class.is_small { 0.5 } else { 0.7 }]
            } else {
                MEASURED_OVERLAPS[usize::from(class.is_small)].to_vec()
            };
            let overlaps = if self.options.overlaps.is_empty() { usual } else { self.options.overlaps.clone() };
            for (space, overlap) in spaces.iter().flat_map(|space| overlaps.iter().map(move |overlap| (*space, *overlap))) {
                for difficulty in &difficulties {
                    let curve = kitti::evaluate(&frames, class, space, difficulty, overlap);
                    let name = format!("{} {} @{overlap} {}: AP40 (AP11)", class.name, space.as_str(), difficulty.name);
                    self.numbers.push((name, format!("{:.2} ({:.2})", curve.ap_r40, curve.ap_r11)));
                    curves.push(curve);
                }
            }
            self.classes.push((class.clone(), Agreement::Overlap(if official { Space::Volume } else { Space::Bev }, overlaps[0])));
        }
        json!({ "curves": curves })
    }

    fn nuscenes(&mut self, has_tracks: bool) -> Value {
        let names: Vec<&str> = if has_tracks {
            nuscenes_tracking::CLASSES.map(|(name, _)| name).to_vec()
        } else {
            nuscenes_detection::CLASSES.map(|(name, _)| name).to_vec()
        };
        self.by_distance(&names);
        if has_tracks {
            let found = nuscenes_tracking::evaluate(&self.pairs.in_time());
            for name in ["amota", "amotp", "recall", "mota", "motp", "ids", "frag", "mt", "ml", "tp", "fp", "fn"] {
                self.tell(name, found.total.get(name).copied().unwrap_or(f64::NAN), 4);
            }
            return json!(found);
        }
        let found = nuscenes_detection::evaluate(&self.pairs.plain());
        self.tell("mAP", found.mean_ap, 4);
        self.tell("NDS", found.nd_score, 4);
        for (name, value) in &found.tp_errors {
            self.tell(format!("mean {name}"), *value, 4);
        }
        for (name, value) in &found.mean_dist_aps {
            self.tell(format!("AP {name}"), *value, 4);
        }
        json!(found)
    }

    fn av2(&mut self, there: &Counts) -> Value {
        let mut classes: Vec<String> = there.keys().map(|name| name.to_string()).collect();
        if !self.options.classes.is_empty() {
            classes.retain(|name| self.options.classes.iter().any(|rule| rule.has(name)));
        }
        self.by_distance(&classes.iter().map(String::as_str).collect::<Vec<_>>());
        let frames: Vec<_> = self.pairs.in_time().into_iter().map(|(_, truth, labels)| (truth, labels)).collect();
        let found = av2::evaluate(&frames, &classes);
        for (name, m) in &found {
            self.numbers.push((
                name.clone(),
                format!("AP {:.4}  ATE {:.4}  ASE {:.4}  AOE {:.4}  CDS {:.4}", m.ap, m.ate, m.ase, m.aoe, m.cds),
            ));
        }
        json!(found)
    }

    fn by_distance(&mut self, names: &[&str]) {
        let of = |name: &&str| ClassRule::parse(&format!("{name}={name}")).ok();
        let named: Vec<ClassRule> = names.iter().filter_map(of).collect();
        let there: BTreeSet<String> =
            self.pairs.frames.iter().flat_map(|pair| &pair.truth.objects).map(|object| object.class.to_lowercase()).collect();
        let seen = named.into_iter().filter(|rule| rule.members.iter().any(|member| there.contains(member)));
        self.classes = seen.map(|rule| (rule, Agreement::Distance(DISTANCE_M))).collect();
    }

    fn track_rule(&self, class: &ClassRule, space: Space) -> TrackRule {
        let usual = if space == Space::Image { 0.5 } else { TRACK_OVERLAP };
        TrackRule {
            class: class.clone(),
            space,
            min_overlap: self.options.overlaps.first().copied().unwrap_or(usual),
            ignore_overlap: usual,
            min_points: self.options.min_points(self.has_images),
            max_range_m: self.options.max_range_m.unwrap_or(f64::INFINITY),
        }
    }

    fn tracked_classes(&mut self, there: &Counts) -> Vec<(ClassRule, Space)> {
        let list = if self.has_images { ClassRule::kitti() } else { ClassRule::groups() };
        let space = self.options.space.unwrap_or(if self.has_images { Space::Image } else { Space::Volume });
        let classes = self.classes_of(list, there);
        for class in &classes {
            let rule = self.track_rule(class, space);
            self.classes.push((class.clone(), Agreement::Overlap(space, rule.min_overlap)));
        }
        classes.into_iter().map(|class| (class, space)).collect()
    }

    fn clear(&mut self, there: &Counts) -> Value {
        let mut found = serde_json::Map::new();
        for (class, space) in self.tracked_classes(there) {
            let rule = self.track_rule(&class, space);
            let sequences = prepare(&self.pairs.in_time(), &rule);
            let metrics = clear::evaluate(&sequences, rule.min_overlap);
            let identity = clear::identity(&sequences, rule.min_overlap);
            let averaged_rule = self.track_rule(&class, if self.options.space.is_none() { Space::Volume } else { space });
            let averaged = ab3dmot::evaluate(&self.pairs.in_time(), &averaged_rule);
            let name = |what: &str| format!("{} {what}", class.name);
            for (what, value) in [
                ("MOTA", metrics.MOTA),
                ("MOTP", metrics.MOTP),
                ("IDF1", identity.IDF1),
                ("sAMOTA", averaged.sAMOTA),
                ("AMOTA", averaged.AMOTA),
                ("AMOTP", averaged.AMOTP),
                ("best MOTA", averaged.MOTA),
            ] {
                self.tell(name(what), 100.0 * value, 2);
            }
            for (what, value) in [
                ("IDSW", metrics.IDSW),
                ("Frag", metrics.Frag),
                ("MT", metrics.MT),
                ("ML", metrics.ML),
                ("IDS at best MOTA", averaged.IDS),
                ("FRAG at best MOTA", averaged.FRAG),
            ] {
                self.tell(name(what), value, 0);
            }
            let value = json!({ "space": space, "min_overlap": rule.min_overlap, "clear": metrics, "identity": identity,
                "averaged_space": averaged_rule.space, "averaged_min_overlap": averaged_rule.min_overlap, "averaged": averaged });
            found.insert(class.name.clone(), value);
        }
        Value::Object(found)
    }

    fn hota(&mut self, there: &Counts) -> Value {
        let mut found = serde_json::Map::new();
        for (class, space) in self.tracked_classes(there) {
            let rule = self.track_rule(&class, space);
            let metrics = hota::evaluate(&prepare(&self.pairs.in_time(), &rule));
            for (what, value) in [("HOTA", metrics.mean_hota), ("DetA", metrics.mean_det_a), ("AssA", metrics.mean_ass_a)] {
                self.tell(format!("{} {what}", class.name), 100.0 * value, 3);
            }
            found.insert(class.name.clone(), json!({ "space": space, "hota": metrics }));
        }
        Value::Object(found)
    }
}

fn need_tracks(labels: &LabelSet, truth: &LabelSet) -> Result<(), EvalError> {
    for set in [labels, truth] {
        if set.objects().any(|object| object.track.is_none()) {
            let message = format!(
                "{}: expected an identity for every object, got objects without\nhint: detections are judged by kitti, nuscenes or av2",
                set.path.display()
            );
            return Err(EvalError::Mismatch(message));
        }
    }
    Ok(())
}

/// Takes the tracks away whose mean confidence is below the least.
fn leave_out_unsure(labels: &mut LabelSet, least: f64) {
    let mut sums: BTreeMap<(std::sync::Arc<str>, Option<std::sync::Arc<str>>), (f64, f64)> = BTreeMap::new();
    for (key, frame) in &labels.frames {
        for object in &frame.objects {
            let sum = sums.entry((key.sequence.clone(), object.track.clone())).or_default();
            (sum.0, sum.1) = (sum.0 + object.score, sum.1 + 1.0);
        }
    }
    for (key, frame) in &mut labels.frames {
        frame.objects.retain(|object| {
            sums.get(&(key.sequence.clone(), object.track.clone())).is_none_or(|(sum, count)| sum / count >= least)
        });
    }
}

/// Marks what the camera of the labels does not see, on both sides.
fn leave_out_unseen(labels: &mut LabelSet, truth: &mut LabelSet) -> Result<(), EvalError> {
    let Some(camera) = labels.camera.clone() else {
        return Err(EvalError::Mismatch(
            "expected labels that know their cameras, got none\nhint: --in-view works on a Boxwright dataset".to_owned(),
        ));
    };
    for object in [labels, truth].into_iter().flat_map(|set| set.frames.values_mut()).flat_map(|frame| &mut frame.objects) {
        object.ignored |= !camera.sees(&object.cuboid.center_m.into());
    }
    Ok(())
}

/// Our and KITTI's names under those of nuScenes.
fn rename_for_nuscenes(set: &mut LabelSet) {
    for object in set.frames.values_mut().flat_map(|frame| &mut frame.objects) {
        let name = object.class.to_lowercase();
        object.class = match name.as_str() {
            "cyclist" => "bicycle",
            "van" => "car",
            "pickup truck" | "medium-sized truck" | "semi-truck" => "truck",
            other => other,
        }
        .into();
    }
}
