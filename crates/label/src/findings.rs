//! Numbered rules that say what is odd about finished labels. An id never changes its meaning: reports and customers cite it.
//!
//! | id | says |
//! | --- | --- |
//! | `BW-L001` | faster than its class can be |
//! | `BW-L002` | of a size that its class cannot have |
//! | `BW-L003` | its height jumps from sample to sample |
//! | `BW-L004` | stands in another box |
//! | `BW-L005` | rests on few points |
//! | `BW-L006` | was not measured for long |
//! | `BW-L007` | may be an object without a label ([`crate::clip::suggest`]) |

mod l001_speed;
mod l002_size;
mod l003_height;
mod l004_overlap;
mod l005_points;
mod l006_gap;

use std::collections::BTreeMap;

use boxwright_model::{Box3, Finding, Severity, Taxonomy, Track, TrackId};
use serde::Deserialize;

/// Limits of the rules.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FindingsConfig {
    /// `BW-L003`: largest jump of a box's floor from one sample to the next (metres).
    pub max_floor_step_m: f64,
    /// `BW-L004`: largest BEV overlap of two boxes (intersection over union).
    pub max_overlap_iou: f64,
    /// `BW-L005`: fewest points, in the median over a track's measured boxes.
    pub min_points: u32,
    /// `BW-L006`: most predicted boxes in a row.
    pub max_predicted_in_row: u32,
}

impl Default for FindingsConfig {
    fn default() -> Self {
        Self { max_floor_step_m: 0.5, max_overlap_iou: 0.1, min_points: 10, max_predicted_in_row: 8 }
    }
}

/// What a rule may look at.
pub(crate) struct Labels<'a> {
    boxes: &'a [Box3],
    tracks: &'a [Track],
    by_track: BTreeMap<TrackId, Vec<&'a Box3>>,
    taxonomy: &'a Taxonomy,
    config: &'a FindingsConfig,
}

type Rule = fn(&Labels<'_>, &mut Vec<Finding>);

const RULES: [Rule; 6] =
    [l001_speed::check, l002_size::check, l003_height::check, l004_overlap::check, l005_points::check, l006_gap::check];

/// Runs every rule. Boxes must be ordered by sample stamp; the findings are ordered by stamp, rule and track.
#[must_use]
pub fn inspect(boxes: &[Box3], tracks: &[Track], taxonomy: &Taxonomy, config: &FindingsConfig) -> Vec<Finding> {
    let mut by_track: BTreeMap<TrackId, Vec<&Box3>> = BTreeMap::new();
    boxes.iter().for_each(|b| by_track.entry(b.track_id).or_default().push(b));
    let labels = Labels { boxes, tracks, by_track, taxonomy, config };
    let mut found = Vec::new();
    RULES.iter().for_each(|rule| rule(&labels, &mut found));
    found.sort_by(|a, b| (a.stamp_ns, a.rule, a.track_id).cmp(&(b.stamp_ns, b.rule, b.track_id)));
    found
}

/// A finding about one box.
fn about(rule: &'static str, severity: Severity, b: &Box3, message: String, values: serde_json::Value) -> Finding {
    let (track_id, sample_id) = (Some(b.track_id), Some(b.sample_id.clone()));
    Finding { rule, severity, stamp_ns: b.sample_stamp_ns, track_id, sample_id, message, values: values.to_string() }
}

/// A finding about a whole track; it bears the stamp of its first sample.
fn about_track(rule: &'static str, severity: Severity, t: &Track, message: String, values: serde_json::Value) -> Finding {
    Finding {
        rule,
        severity,
        stamp_ns: t.first_stamp_ns,
        track_id: Some(t.track_id),
        sample_id: None,
        message,
        values: values.to_string(),
    }
}

#[cfg(test)]
mod tests;
