//! Boxes of another service, between their arrival and the sweep that they belong to: see [`crate::detector`].

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_label::detector::{BuiltIn, Detector, GivenBox, GivenBoxes};
use boxwright_label::models::{ModelError, ModelSpec};
use boxwright_model::{BoxFrame, Cuboid, DetectedBoxes, DropReason, Finding, FrameHeader, Pose, Severity};
use nalgebra::Vector3;

use crate::detector::{Lacking, TopicBoxes, Without, calibration_sha256};

/// Messages that wait for their sweep: it leaves within 150 ms of event time after them, so that a dozen is usual. Beyond, the oldest has no sweep.
const MAX_HELD: usize = 256;
/// Names of unknown classes that are told apart in findings.
const MAX_UNKNOWN: usize = 32;
/// Reasons that are told apart for a sensor.
const MAX_REASONS: usize = 8;

/// Boxes of one message, in the ego frame at the stamp of their sweep.
struct Held {
    by: Arc<ModelSpec>,
    boxes: Vec<GivenBox>,
    /// Why they cannot be used.
    refused: Option<Arc<str>>,
}

/// The boxes of a clip that wait for their sweeps, and what is to be said of those that came or did not.
pub(super) struct Inbox {
    topic: TopicBoxes,
    held: BTreeMap<(Arc<str>, i64), Held>,
    /// Models that boxes were used of, with the hash of their weights.
    models: BTreeMap<String, String>,
    /// Boxes left out because nobody says what their class is, by its name.
    unknown: BTreeMap<Arc<str>, (u64, i64)>,
}

impl Inbox {
    pub(super) fn new(topic: TopicBoxes) -> Self {
        Self { topic, held: BTreeMap::new(), models: BTreeMap::new(), unknown: BTreeMap::new() }
    }

    /// Takes a message. `ego_from_lidar` is where its lidar sits as far as we know. What is dropped for it is appended to `dropped`.
    pub(super) fn take(&mut self, header: &FrameHeader, found: DetectedBoxes, ego_from_lidar: Pose, dropped: &mut Vec<DropReason>) {
        let key = (header.sensor.clone(), header.stamp_ns);
        if self.held.contains_key(&key) {
            dropped.push(DropReason::Duplicate);
            return;
        }
        let held = self.placed(header, found, ego_from_lidar);
        if held.refused.is_some() {
            dropped.push(DropReason::OtherCalibration);
        }
        self.held.insert(key, held);
        if self.held.len() > MAX_HELD {
            // Sensors apart, the oldest is the one with the least stamp.
            let oldest = self.held.keys().min_by_key(|(_, stamp_ns)| *stamp_ns).cloned();
            let lost = oldest.and_then(|key| self.held.remove(&key));
            dropped.extend(lost.filter(|held| held.refused.is_none()).map(|_| DropReason::Unmatched));
        }
    }

    fn placed(&mut self, header: &FrameHeader, found: DetectedBoxes, ego_from_lidar: Pose) -> Held {
        let by = Arc::new(ModelSpec {
            name: found.model_name,
            version: found.model_version,
            sha256: found.model_sha256,
            manifest_sha256: "".into(),
        });
        let ours = calibration_sha256(&ego_from_lidar);
        if !found.calibration_sha256.is_empty() && *found.calibration_sha256 != *ours {
            let refused = format!("expected boxes made with the calibration {ours}, got {}", found.calibration_sha256);
            return Held { by, boxes: Vec::new(), refused: Some(refused.into()) };
        }
        let ego_from_frame = match found.frame {
            BoxFrame::Lidar => ego_from_lidar,
            BoxFrame::Ego => Pose::identity(),
        };
        let mut boxes = Vec::with_capacity(found.boxes.len());
        for one in found.boxes.into_iter().filter(|one| one.score >= self.topic.min_score) {
            let Some(class) = self.topic.classes.get(&*one.class).copied() else {
                if self.unknown.len() < MAX_UNKNOWN || self.unknown.contains_key(&one.class) {
                    self.unknown.entry(one.class).or_insert((0, header.stamp_ns)).0 += 1;
                }
                continue;
            };
            let in_frame = Cuboid::upright(Vector3::from(one.center_m), Vector3::from(one.size_lwh_m), one.yaw_rad);
            boxes.push(GivenBox { ego_from_box: in_frame.transformed(&ego_from_frame), class, score: one.score });
        }
        Held { by, boxes, refused: None }
    }

    /// The boxes of a sweep, or why there are none. Those whose stamp is nearest are taken.
    pub(super) fn of_sweep(&mut self, sensor: &Arc<str>, stamp_ns: i64) -> Result<GivenBoxes, Arc<str>> {
        let reach = self.topic.tolerance_ns;
        let near = (sensor.clone(), stamp_ns.saturating_sub(reach))..=(sensor.clone(), stamp_ns.saturating_add(reach));
        let nearest = self.held.range(near).map(|(key, _)| key).min_by_key(|(_, at)| at.abs_diff(stamp_ns)).cloned();
        let Some(held) = nearest.and_then(|key| self.held.remove(&key)) else { return Err("none came in time".into()) };
        if let Some(refused) = held.refused {
            return Err(refused);
        }
        let name = format!("detector:{}@{}", held.by.name, held.by.version);
        self.models.insert(name, held.by.sha256.to_string());
        Ok(GivenBoxes { by: held.by, boxes: held.boxes })
    }

    pub(super) fn models(&self) -> impl Iterator<Item = (String, String)> {
        self.models.iter().map(|(name, sha256)| (name.clone(), sha256.clone()))
    }

    /// What found no sweep, and what is to be said.
    pub(super) fn finish(self, dropped: &mut Vec<DropReason>) -> Vec<Finding> {
        dropped.extend(self.held.into_values().filter(|held| held.refused.is_none()).map(|_| DropReason::Unmatched));
        let finding = |(class, (boxes, stamp_ns)): (Arc<str>, (u64, i64))| Finding {
            rule: "BW-R004",
            severity: Severity::Warning,
            stamp_ns,
            track_id: None,
            sample_id: None,
            message: format!(
                "{boxes} boxes were left out because nobody says what {class:?} is: expected a class of the taxonomy or of [detector.classes]"
            ),
            values: serde_json::json!({ "class": &*class, "boxes": boxes }).to_string(),
        };
        self.unknown.into_iter().map(finding).collect()
    }
}

/// Who labels a sweep.
pub(super) enum Turn {
    BuiltIn(BuiltIn),
    Nobody(Nobody),
    Given(GivenBoxes),
    Network(Arc<dyn Detector>),
}

impl Turn {
    pub(super) fn without(without: Without) -> Self {
        match without {
            Without::BuiltIn => Self::BuiltIn(BuiltIn),
            Without::Nothing => Self::Nobody(Nobody),
        }
    }

    pub(super) fn detector(&self) -> &dyn Detector {
        match self {
            Self::BuiltIn(detector) => detector,
            Self::Nobody(detector) => detector,
            Self::Given(detector) => detector,
            Self::Network(detector) => &**detector,
        }
    }
}

/// Finds nothing.
pub(super) struct Nobody;

impl Detector for Nobody {
    fn spec(&self) -> Option<&ModelSpec> {
        None
    }

    fn detect(&self, _scene: &boxwright_label::detector::Scene<'_>) -> Result<Vec<boxwright_label::detect::Candidate>, ModelError> {
        Ok(Vec::new())
    }
}

/// Sweeps that their provider had no answer for, by sensor, reason, and whether it had one for another sweep of the same sample: then the
/// boxes of that one are all that the sample has.
#[derive(Default)]
pub(super) struct Unanswered {
    by_reason: BTreeMap<(Arc<str>, Arc<str>, bool), Lacking>,
}

impl Unanswered {
    pub(super) fn note(&mut self, sensor: &Arc<str>, stamp_ns: i64, why: Arc<str>, others_answered: bool) {
        let known = self.by_reason.keys().filter(|(of, ..)| of == sensor).count();
        let key = (sensor.clone(), why.clone(), others_answered);
        let key = if known < MAX_REASONS || self.by_reason.contains_key(&key) {
            key
        } else {
            (sensor.clone(), "other reasons".into(), others_answered)
        };
        let lacking = self.by_reason.entry(key).or_insert(Lacking { sweeps: 0, first_ns: stamp_ns, why });
        lacking.sweeps += 1;
    }

    pub(super) fn finish(self, without: Without) -> Vec<Finding> {
        let instead = match without {
            Without::BuiltIn => "the built-in detector labelled them",
            Without::Nothing => "they have no objects of their own",
        };
        let finding =
            |((sensor, _, others_answered), Lacking { sweeps, first_ns, why }): ((Arc<str>, Arc<str>, bool), Lacking)| Finding {
                rule: "BW-R003",
                severity: Severity::Warning,
                stamp_ns: first_ns,
                track_id: None,
                sample_id: None,
                message: format!(
                    "the detector had no boxes for {sweeps} sweeps of {sensor}: {why}; {}",
                    if others_answered { "the samples have those of their other sweeps alone" } else { instead }
                ),
                values: serde_json::json!({ "sensor": &*sensor, "sweeps": sweeps, "why": &*why }).to_string(),
            };
        self.by_reason.into_iter().map(finding).collect()
    }
}

#[cfg(test)]
mod tests;
