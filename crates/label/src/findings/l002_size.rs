//! `BW-L002`: of a size that its class cannot have. One finding a track and axis.

use boxwright_model::{Finding, Severity};

use super::{Labels, about_track};

pub(super) fn check(labels: &Labels<'_>, found: &mut Vec<Finding>) {
    for track in labels.tracks {
        let class = labels.taxonomy.get(track.class);
        for (axis, name) in ["length", "width", "height"].into_iter().enumerate() {
            let (got, min, max) = (track.size_lwh_m[axis], class.min_lwh_m[axis], class.max_lwh_m[axis]);
            if got < min || got > max {
                let message = format!("expected the {name} of a {} between {min:.2} and {max:.2} m, got {got:.2}", class.name);
                let values = serde_json::json!({"axis": name, "size_m": got, "min_m": min, "max_m": max});
                found.push(about_track("BW-L002", Severity::Warning, track, message, values));
            }
        }
    }
}
