//! Who finds the objects of sweeps, and how boxes of another service find the sweep that they belong to.
//!
//! A service that reads the sweeps itself puts its boxes on the topic `<prefix>.detections`, one message a sweep, with the sweep's stamp and sensor
//! (`crates/source/proto/boxwright/detections.proto`). They are messages like those of any sensor: ordered by their stamps with all others,
//! accounted for, committed with their clip.
//!
//! # How long a sweep waits
//! Frames leave the order when nothing can arrive before them any more, so that a service that lags is waited for like a camera that does: a
//! sweep leaves when the newest message of every partition is `[order] allowed_lateness_ms` past it, and waits for a silent service until the others
//! are `idle_timeout_ms` ahead of it (2.5 s of event time together, by default). Catching up, no clock has a say: the same messages give the
//! same labels.
//!
//! # What happens after
//! The sweep is labelled without them: by the built-in detector, or not at all (`[detector] without`). A rule (BW-R003) says for how many
//! sweeps of the clip that was so, and why. Boxes that come later go to the late table and are counted there with their reason; those that find no
//! sweep, came twice, or were made with another calibration are counted as dropped: `unmatched`, `duplicate`, `other_calibration`.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::time::NS_PER_MS;
use boxwright_model::{ClassId, Pose, Taxonomy, space::quaternion_xyzw};
use serde::Deserialize;

use crate::config::sha256_hex;

/// Options of who finds the objects.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorConfig {
    /// Who it is.
    pub provider: Provider,
    /// What becomes of a sweep for which the provider has no answer.
    pub without: Without,
    /// How far the stamp of boxes may be from that of their sweep (milliseconds).
    pub tolerance_ms: u32,
    /// Boxes of a topic or a network that are less likely are left out.
    pub min_score: f64,
    /// The detector's names of classes, each with the class of the taxonomy that it is; names of the taxonomy itself need no line.
    pub classes: BTreeMap<String, String>,
}

/// Who finds the objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The shapes of the points.
    #[default]
    BuiltIn,
    /// A service that puts its boxes on the topic.
    Topic,
    /// The network of `[networks.lidar]`.
    Onnx,
}

/// What becomes of a sweep without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Without {
    /// The built-in detector labels it.
    #[default]
    BuiltIn,
    /// It has no objects; tracks pass over it as over any gap.
    Nothing,
}

/// Stamps of sweeps are at least this far apart: boxes farther from theirs could belong to another (milliseconds).
const MAX_TOLERANCE_MS: u32 = 25;

impl DetectorConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.tolerance_ms > MAX_TOLERANCE_MS {
            return Err(format!(
                "detector.tolerance_ms: expected at most {MAX_TOLERANCE_MS}, got {}\nhint: boxes carry the stamp of their sweep; the tolerance is for stamps that were rounded on the way",
                self.tolerance_ms
            ));
        }
        if !(0.0..=1.0).contains(&self.min_score) {
            return Err(format!("detector.min_score: expected 0 to 1, got {}", self.min_score));
        }
        Ok(())
    }
}

/// How boxes of a topic are taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicBoxes {
    /// By the detector's name.
    pub(crate) classes: BTreeMap<String, ClassId>,
    pub(crate) tolerance_ns: i64,
    pub(crate) min_score: f64,
}

impl TopicBoxes {
    /// Looks the classes up; the error has both sides.
    pub(crate) fn new(config: &DetectorConfig, taxonomy: &Taxonomy) -> Result<Self, String> {
        let names = || taxonomy.classes().iter().map(|class| &*class.name).collect::<Vec<_>>().join(", ");
        let mut classes: BTreeMap<String, ClassId> =
            taxonomy.classes().iter().filter_map(|class| Some((class.name.to_string(), taxonomy.find(&class.name)?))).collect();
        for (theirs, ours) in &config.classes {
            let class = taxonomy.find(ours).ok_or_else(|| {
                format!("detector.classes.{theirs}: expected a class of the taxonomy ({}), got {ours:?}", names())
            })?;
            classes.insert(theirs.clone(), class);
        }
        Ok(Self { classes, tolerance_ns: i64::from(config.tolerance_ms) * NS_PER_MS, min_score: config.min_score })
    }
}

/// The hash by which a detector and the pipeline know that they mean the same place of a lidar: SHA-256 of `tx ty tz qx qy qz qw` with six
/// decimals, the last number of the quaternion that is not zero positive.
#[must_use]
pub fn calibration_sha256(ego_from_lidar: &Pose) -> String {
    // Adding nothing makes zero of minus zero, which would be written with its sign.
    let rounded = |value: f64| (value * 1e6).round() / 1e6 + 0.0;
    let translation = ego_from_lidar.translation.vector;
    let quaternion = quaternion_xyzw(&ego_from_lidar.rotation).map(rounded);
    let last = quaternion.iter().rev().find(|value| **value != 0.0).copied().unwrap_or(1.0);
    let turned = quaternion.map(|value| if last < 0.0 { 0.0 - value } else { value });
    let numbers = [translation.x, translation.y, translation.z].map(rounded).into_iter().chain(turned);
    let text: Vec<String> = numbers.map(|value| format!("{value:.6}")).collect();
    sha256_hex(text.join(" ").as_bytes())
}

/// Why a sweep was labelled without its provider.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lacking {
    pub(crate) sweeps: u64,
    pub(crate) first_ns: i64,
    pub(crate) why: Arc<str>,
}

#[cfg(test)]
mod tests {
    use nalgebra::{Translation3, UnitQuaternion, Vector3};

    use super::*;

    #[test]
    fn a_calibration_has_one_hash_however_its_quaternion_is_written() {
        let rotation = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), 1.0);
        let pose = Pose::from_parts(Translation3::new(1.5, -0.000_000_1, 1.7), rotation);
        let negated = UnitQuaternion::new_unchecked(-rotation.into_inner());
        let same = Pose::from_parts(Translation3::new(1.5, 0.0, 1.7), negated);
        assert_eq!(calibration_sha256(&pose), calibration_sha256(&same));
        let other = Pose::from_parts(Translation3::new(1.5, 0.0, 1.71), rotation);
        assert_ne!(calibration_sha256(&pose), calibration_sha256(&other));
        // What anybody gets who follows the text of detections.proto.
        let text = "0.000000 0.000000 0.000000 0.000000 0.000000 0.000000 1.000000";
        assert_eq!(calibration_sha256(&Pose::identity()), sha256_hex(text.as_bytes()));
    }

    #[test]
    fn a_class_that_the_taxonomy_lacks_is_refused_with_both_sides() {
        let taxonomy = Taxonomy::from_toml(crate::config::DEFAULT_TAXONOMY_TOML).unwrap();
        let mut config = DetectorConfig { tolerance_ms: 1, min_score: 0.1, ..DetectorConfig::default() };
        config.classes.insert("Car".to_owned(), "auto".to_owned());
        let error = TopicBoxes::new(&config, &taxonomy).unwrap_err();
        assert!(error.contains("detector.classes.Car") && error.contains("got \"auto\""), "{error}");
        config.classes.insert("Car".to_owned(), "car".to_owned());
        let known = TopicBoxes::new(&config, &taxonomy).unwrap();
        assert_eq!((known.classes["Car"], known.tolerance_ns), (known.classes["car"], 1_000_000));
    }

    #[test]
    fn a_tolerance_that_would_reach_the_next_sweep_is_refused() {
        let config = DetectorConfig { tolerance_ms: 50, ..DetectorConfig::default() };
        assert!(config.check().unwrap_err().contains("expected at most 25, got 50"));
    }
}
