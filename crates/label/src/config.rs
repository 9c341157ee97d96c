//! The options of all stages, as one tree.

use serde::Deserialize;

use crate::clean::CleanConfig;
use crate::clip::ClipConfig;
use crate::cluster::ClusterConfig;
use crate::detect::DetectConfig;
use crate::findings::FindingsConfig;
use crate::ground::GroundConfig;
use crate::look::LookConfig;
use crate::track::TrackConfig;

/// Options of the labeller; every field has a default that works without tuning.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelConfig {
    /// Which points are looked at.
    pub clean: CleanConfig,
    /// Where the ground is.
    pub ground: GroundConfig,
    /// Which points belong together.
    pub cluster: ClusterConfig,
    /// Which groups of points are objects.
    pub detect: DetectConfig,
    /// What cameras say of them.
    pub look: LookConfig,
    /// Which objects are the same from sweep to sweep.
    pub track: TrackConfig,
    /// What is decided when the clip has ended.
    pub clip: ClipConfig,
    /// Limits of the numbered rules.
    pub findings: FindingsConfig,
}

/// An option with a value that cannot work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("label.{option}: expected {expected}, got {got}")]
pub struct ConfigError {
    /// Name of the option below `[label]`.
    pub option: &'static str,
    /// What would work.
    pub expected: &'static str,
    /// What was given.
    pub got: f64,
}

impl LabelConfig {
    /// Checks what a type cannot: signs and orders of magnitude that would make a stage slow or blind.
    ///
    /// # Errors
    /// The first option that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let within = |option, got: f64, low: f64, high: f64, expected| {
            if got >= low && got <= high { Ok(()) } else { Err(ConfigError { option, expected, got }) }
        };
        within("clean.max_range_m", self.clean.max_range_m, 5.0, crate::clean::RANGE_LIMIT_M, "5 to 250")?;
        within("ground.band_m", self.ground.band_m, 0.02, 1.0, "0.02 to 1")?;
        within("cluster.cell_m", self.cluster.cell_m, 0.1, 1.0, "0.1 to 1")?;
        within("cluster.min_points", f64::from(self.cluster.min_points), 3.0, 1e6, "3 to 1000000")?;
        within("detect.max_detections", f64::from(self.detect.max_detections), 1.0, 10_000.0, "1 to 10000")?;
        within("detect.min_score", self.detect.min_score, 0.0, 1.0, "0 to 1")?;
        within("look.min_iou", self.look.min_iou, 0.05, 0.95, "0.05 to 0.95")?;
        within("look.found_logit", self.look.found_logit, 0.0, 20.0, "0 to 20")?;
        within("look.missed_logit", self.look.missed_logit, 0.0, 20.0, "0 to 20")?;
        within("look.min_height_px", self.look.min_height_px, 0.0, 1e4, "0 to 10000")?;
        within("track.birth_score", self.track.birth_score, 0.0, 1.0, "0 to 1")?;
        within("track.high_score", self.track.high_score, 0.0, 1.0, "0 to 1")?;
        within("track.max_join_s", self.track.max_join_s, 0.0, 60.0, "0 to 60")?;
        within("track.max_coast_s", self.track.max_coast_s, 0.0, 60.0, "0 to 60")?;
        within("track.confirm_hits", f64::from(self.track.confirm_hits), 1.0, 100.0, "1 to 100")?;
        within("clip.min_score", self.clip.min_score, 0.0, 1.0, "0 to 1")?;
        within("clip.min_suggested_score", self.clip.min_suggested_score, 0.0, 1.0, "0 to 1")?;
        within("clip.min_person_score", self.clip.min_person_score, 0.0, 1.0, "0 to 1")?;
        let confidence = &self.clip.confidence;
        within("clip.confidence.vehicle.slope", confidence.vehicle.slope, 0.01, 100.0, "0.01 to 100")?;
        within("clip.confidence.vehicle.shift", confidence.vehicle.shift, -20.0, 20.0, "-20 to 20")?;
        within("clip.confidence.people.slope", confidence.people.slope, 0.01, 100.0, "0.01 to 100")?;
        within("clip.confidence.people.shift", confidence.people.shift, -20.0, 20.0, "-20 to 20")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_an_empty_table_gives_them() {
        assert_eq!(LabelConfig::default().validate(), Ok(()));
        assert_eq!(serde_json::from_str::<LabelConfig>("{}").unwrap(), LabelConfig::default());
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_refused_by_name() {
        let unknown = serde_json::from_str::<LabelConfig>(r#"{"clip": {"min_scor": 0.3}}"#).unwrap_err();
        assert!(unknown.to_string().contains("min_scor"), "{unknown}");
        let blind = serde_json::from_str::<LabelConfig>(r#"{"cluster": {"cell_m": 0.0}}"#).unwrap();
        assert_eq!(blind.validate().unwrap_err().to_string(), "label.cluster.cell_m: expected 0.1 to 1, got 0");
    }
}
