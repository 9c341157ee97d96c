//! `BW-L004`: two boxes of a sample stand in each other. One finding a pair of tracks, at the worst sample.

use std::collections::BTreeMap;

use boxwright_model::{Box3, Finding, Severity, TrackId};

use super::{Labels, about};
use crate::metrics::bev_iou;

pub(super) fn check(labels: &Labels<'_>, found: &mut Vec<Finding>) {
    let limit = labels.config.max_overlap_iou;
    let mut worst: BTreeMap<(TrackId, TrackId), (f64, &Box3)> = BTreeMap::new();
    for sample in labels.boxes.chunk_by(|a, b| a.sample_stamp_ns == b.sample_stamp_ns) {
        for (index, a) in sample.iter().enumerate() {
            for b in &sample[index + 1..] {
                let iou = bev_iou(&a.ego_from_box, &b.ego_from_box);
                let pair = (a.track_id, b.track_id);
                if iou > limit && worst.get(&pair).is_none_or(|(before, _)| iou > *before) {
                    worst.insert(pair, (iou, b));
                }
            }
        }
    }
    for ((other, _), (iou, b)) in worst {
        let message = format!("expected an overlap with track {other} of at most {limit:.2}, got {iou:.2}");
        let values = serde_json::json!({"other": other.to_string(), "iou": iou, "max_iou": limit});
        found.push(about("BW-L004", Severity::Warning, b, message, values));
    }
}
