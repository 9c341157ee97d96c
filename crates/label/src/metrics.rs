//! How good labels are, against truth.
//!
//! Protocol. Truth and labels are matched sample by sample, the labels in order of falling score; each takes the best free truth of its
//! group (vehicles; people and cyclists) that satisfies the [`Criterion`]: BEV IoU of the rotated rectangles for vehicles, distance of
//! centres for people and cyclists. Truth with fewer than `min_points` lidar points, beyond `max_range_m` of the ego origin, or of a class
//! that the taxonomy does not name is ignored: to miss it costs nothing, and a label that matches only ignored truth (or whose
//! centre lies in it) is no false positive. Labels beyond `max_range_m` are ignored too. Labels of the last class (what fits nothing
//! else) claim nothing: they are counted apart, in [`Evaluation::unclaimed`].

mod rect;

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::{Box3, ClassId, Cuboid, Taxonomy, TrackId};
use nalgebra::Point3;
use serde::{Deserialize, Serialize};

use crate::classify::Kind;
pub use rect::{Rect, bev_iou};

/// One object that is known to be there.
#[derive(Clone, Debug, PartialEq)]
pub struct TruthBox {
    /// Stamp of the sample.
    pub stamp_ns: i64,
    /// Identity of the object through the drive.
    pub object_id: u32,
    /// Name of its class; a name that the taxonomy does not have makes it ignored.
    pub class: Arc<str>,
    /// The box in the ego frame.
    pub ego_from_box: Cuboid,
    /// Lidar points on it.
    pub num_lidar_pts: u32,
}

/// When a label is right.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Criterion {
    /// Least BEV IoU of a vehicle.
    pub vehicle_iou: f64,
    /// Farthest centre of a person or cyclist (metres).
    pub person_distance_m: f64,
    /// Truth with fewer lidar points is ignored.
    pub min_points: u32,
    /// Truth and labels farther from the ego origin are ignored (metres).
    pub max_range_m: f64,
    /// The class must be the same, not only the group.
    pub same_class: bool,
}

impl Default for Criterion {
    fn default() -> Self {
        Self { vehicle_iou: 0.5, person_distance_m: 0.5, min_points: 10, max_range_m: 50.0, same_class: false }
    }
}

/// Counts, and what follows from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Labels that match.
    pub tp: u64,
    /// Labels that match nothing.
    pub fp: u64,
    /// Truth that nothing matches.
    pub fn_: u64,
}

impl Score {
    /// Share of the labels that are right; 1 without labels.
    #[must_use]
    pub fn precision(&self) -> f64 {
        share(self.tp, self.tp + self.fp)
    }

    /// Share of the truth that was found; 1 without truth.
    #[must_use]
    pub fn recall(&self) -> f64 {
        share(self.tp, self.tp + self.fn_)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// The result of [`evaluate`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// All groups together.
    pub all: Score,
    /// Share of the labels that are right.
    pub precision: f64,
    /// Share of the truth that was found.
    pub recall: f64,
    /// Vehicles.
    pub vehicles: Score,
    /// People and cyclists.
    pub people: Score,
    /// By class: matches and misses under the class of the truth, false positives under that of the label.
    pub per_class: BTreeMap<Arc<str>, Score>,
    /// How often the matched track of an object changed.
    pub id_switches: u64,
    /// Labels of the last class: they claim nothing and count nowhere else.
    pub unclaimed: u64,
    /// Matches whose class is right too.
    pub class_right: u64,
}

/// Compares labels with truth. Both may be in any order; boxes are in the ego frame of their sample.
#[must_use]
pub fn evaluate(truth: &[TruthBox], labels: &[Box3], taxonomy: &Taxonomy, criterion: &Criterion) -> Evaluation {
    let mut samples: BTreeMap<i64, (Vec<&TruthBox>, Vec<&Box3>)> = BTreeMap::new();
    truth.iter().for_each(|t| samples.entry(t.stamp_ns).or_default().0.push(t));
    labels.iter().for_each(|l| samples.entry(l.sample_stamp_ns).or_default().1.push(l));
    let mut tally = Tally { taxonomy, criterion, found: Evaluation::default(), track_of: BTreeMap::new() };
    for (truth, mut labels) in samples.into_values() {
        labels.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.track_id.cmp(&b.track_id)));
        tally.sample(&truth, &labels);
    }
    let mut found = tally.found;
    found.precision = found.all.precision();
    found.recall = found.all.recall();
    found
}

struct Tally<'a> {
    taxonomy: &'a Taxonomy,
    criterion: &'a Criterion,
    found: Evaluation,
    track_of: BTreeMap<u32, TrackId>,
}

impl Tally<'_> {
    fn sample(&mut self, truth: &[&TruthBox], labels: &[&Box3]) {
        let classes: Vec<Option<ClassId>> =
            truth.iter().map(|t| self.taxonomy.find(&t.class).filter(|c| *c != self.taxonomy.unknown())).collect();
        let counts: Vec<bool> = truth.iter().zip(&classes).map(|(t, class)| class.is_some() && self.counts(t)).collect();
        let mut taken = vec![false; truth.len()];
        for label in labels {
            if label.class == self.taxonomy.unknown() {
                self.found.unclaimed += 1;
                continue;
            }
            let free = (0..truth.len()).filter(|i| counts[*i] && !taken[*i]);
            let scored =
                free.filter_map(|i| classes[i].and_then(|class| self.agreement(truth[i], class, label)).map(|value| (i, value)));
            match scored.reduce(|best, next| if next.1 > best.1 { next } else { best }) {
                Some((index, _)) => {
                    taken[index] = true;
                    self.hit(truth[index], classes[index], label);
                }
                None if self.excused(truth, &counts, label) => {}
                None => self.count(label.class, |score| score.fp += 1),
            }
        }
        for index in (0..truth.len()).filter(|i| counts[*i] && !taken[*i]) {
            if let Some(class) = classes[index] {
                self.count(class, |score| score.fn_ += 1);
            }
        }
    }

    fn counts(&self, truth: &TruthBox) -> bool {
        truth.num_lidar_pts >= self.criterion.min_points && self.in_range(&truth.ego_from_box)
    }

    fn in_range(&self, cuboid: &Cuboid) -> bool {
        cuboid.center_m.x.hypot(cuboid.center_m.y) <= self.criterion.max_range_m
    }

    /// How well a label fits a truth, or `None` where it does not.
    fn agreement(&self, truth: &TruthBox, class: ClassId, label: &Box3) -> Option<f64> {
        let (kind, other) = (Kind::of(self.taxonomy.get(class)), Kind::of(self.taxonomy.get(label.class)));
        if !kind.same_group(other) || (self.criterion.same_class && class != label.class) {
            return None;
        }
        overlap(kind, &truth.ego_from_box, &label.ego_from_box, self.criterion)
    }

    /// Whether a label that matched nothing is no false positive.
    fn excused(&self, truth: &[&TruthBox], counts: &[bool], label: &Box3) -> bool {
        let kind = Kind::of(self.taxonomy.get(label.class));
        let center = label.ego_from_box.center_m;
        !self.in_range(&label.ego_from_box)
            || truth.iter().zip(counts).filter(|(_, counts)| !**counts).any(|(t, _)| {
                let level = Point3::new(center.x, center.y, t.ego_from_box.center_m.z);
                t.ego_from_box.contains(&level, 0.0)
                    || overlap(kind, &t.ego_from_box, &label.ego_from_box, self.criterion).is_some()
            })
    }

    fn hit(&mut self, truth: &TruthBox, class: Option<ClassId>, label: &Box3) {
        let class = class.unwrap_or(label.class);
        self.found.class_right += u64::from(class == label.class);
        self.count(class, |score| score.tp += 1);
        let before = self.track_of.insert(truth.object_id, label.track_id);
        // Clips number their tracks anew, so a change from clip to clip is no switch.
        let switched = before.is_some_and(|before| before.clip == label.track_id.clip && before != label.track_id);
        self.found.id_switches += u64::from(switched);
    }

    fn count(&mut self, class: ClassId, add: impl Fn(&mut Score)) {
        let spec = self.taxonomy.get(class);
        add(&mut self.found.all);
        add(if Kind::of(spec) == Kind::Vehicle { &mut self.found.vehicles } else { &mut self.found.people });
        add(self.found.per_class.entry(spec.name.clone()).or_default());
    }
}

fn overlap(kind: Kind, truth: &Cuboid, label: &Cuboid, criterion: &Criterion) -> Option<f64> {
    if kind == Kind::Vehicle {
        let iou = bev_iou(truth, label);
        return (iou >= criterion.vehicle_iou).then_some(iou);
    }
    let distance = (truth.center_m.x - label.center_m.x).hypot(truth.center_m.y - label.center_m.y);
    (distance <= criterion.person_distance_m).then_some(-distance)
}

#[cfg(test)]
mod tests;
