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
        within("clean.ego_length_m", self.clean.ego_length_m, 0.0, 30.0, "0 to 30")?;
        within("clean.ego_width_m", self.clean.ego_width_m, 0.0, 30.0, "0 to 30")?;
        within("ground.max_slope", self.ground.max_slope, 0.0, 1.0, "0 to 1")?;
        within("ground.max_step_m", self.ground.max_step_m, 0.01, 1.0, "0.01 to 1")?;
        within("ground.band_m", self.ground.band_m, 0.02, 1.0, "0.02 to 1")?;
        within("cluster.cell_m", self.cluster.cell_m, 0.1, 1.0, "0.1 to 1")?;
        within("cluster.min_points", f64::from(self.cluster.min_points), 3.0, 1e6, "3 to 1000000")?;
        within("cluster.far_range_m", self.cluster.far_range_m, 0.0, 1e4, "0 to 10000")?;
        within("cluster.tall_m", self.cluster.tall_m, 0.5, 100.0, "0.5 to 100")?;
        within("cluster.gap_m", self.cluster.gap_m, 0.1, 100.0, "0.1 to 100")?;
        within("cluster.people_range_m", self.cluster.people_range_m, 0.0, 1e4, "0 to 10000")?;
        within("detect.fit.max_extent_m", self.detect.fit.max_extent_m, 1.0, 1e3, "1 to 1000")?;
        within("detect.fit.min_top_m", self.detect.fit.min_top_m, 0.0, 10.0, "0 to 10")?;
        within("detect.fit.edge_m", self.detect.fit.edge_m, 0.001, 1.0, "0.001 to 1")?;
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
        within("track.tentative_coast_s", self.track.tentative_coast_s, 0.0, 60.0, "0 to 60")?;
        within("track.vehicle_gate_m", self.track.vehicle_gate_m, 0.1, 100.0, "0.1 to 100")?;
        within("track.person_gate_m", self.track.person_gate_m, 0.1, 100.0, "0.1 to 100")?;
        within("track.confirm_hits", f64::from(self.track.confirm_hits), 1.0, 100.0, "1 to 100")?;
        within("clip.min_score", self.clip.min_score, 0.0, 1.0, "0 to 1")?;
        within("clip.min_suggested_score", self.clip.min_suggested_score, 0.0, 1.0, "0 to 1")?;
        within("clip.min_person_score", self.clip.min_person_score, 0.0, 1.0, "0 to 1")?;
        within("clip.min_hits", f64::from(self.clip.min_hits), 1.0, 1e4, "1 to 10000")?;
        within("clip.min_shift_m", self.clip.min_shift_m, 0.0, 100.0, "0 to 100")?;
        within("clip.min_speed_mps", self.clip.min_speed_mps, 0.0, 100.0, "0 to 100")?;
        within("clip.max_smoothing_m", self.clip.max_smoothing_m, 0.0, 10.0, "0 to 10")?;
        // The velocities are those of the smooth paths: without a window there are none.
        within(
            "clip.smoothing_s",
            self.clip.smoothing_s,
            0.05,
            10.0,
            "0.05 to 10, for velocities are found in that window (max_smoothing_m = 0 leaves centres as measured)",
        )?;
        within("findings.max_floor_step_m", self.findings.max_floor_step_m, 0.0, 100.0, "0 to 100")?;
        within("findings.max_overlap_iou", self.findings.max_overlap_iou, 0.0, 1.0, "0 to 1")?;
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
        // No option of lengths, times and speeds takes less than nothing.
        let negative = |of: &str, option: &str| {
            let config =
                of.rsplit('.').fold(format!(r#"{{"{option}": -1.0}}"#), |inner, table| format!(r#"{{"{table}": {inner}}}"#));
            let refused = serde_json::from_str::<LabelConfig>(&config).unwrap().validate().unwrap_err().to_string();
            assert!(refused.starts_with(&format!("label.{of}.{option}: expected ")) && refused.ends_with(", got -1"), "{refused}");
        };
        for (of, options) in [
            ("clean", ["max_range_m", "ego_length_m", "ego_width_m"].as_slice()),
            ("ground", &["band_m", "max_slope", "max_step_m"]),
            ("cluster", &["cell_m", "far_range_m", "tall_m", "gap_m", "people_range_m"]),
            ("detect.fit", &["max_extent_m", "min_top_m", "edge_m"]),
            ("track", &["max_coast_s", "tentative_coast_s", "max_join_s", "vehicle_gate_m", "person_gate_m"]),
            ("clip", &["min_shift_m", "min_speed_mps", "max_smoothing_m", "smoothing_s"]),
            ("findings", &["max_floor_step_m", "max_overlap_iou"]),
        ] {
            options.iter().for_each(|option| negative(of, option));
        }
    }
}
