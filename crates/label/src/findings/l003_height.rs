//! `BW-L003`: its floor jumps from sample to sample. What stands on the ground follows it; a jump means that the box is below or above it.

use boxwright_model::{Box3, Finding, Severity};

use super::{Labels, about};

pub(super) fn check(labels: &Labels<'_>, found: &mut Vec<Finding>) {
    let limit = labels.config.max_floor_step_m;
    let floor = |b: &Box3| b.world_from_box.center_m.z - b.world_from_box.size_lwh_m.z / 2.0;
    for boxes in labels.by_track.values() {
        for pair in boxes.windows(2) {
            let [before, after] = pair else { continue };
            let step = (floor(after) - floor(before)).abs();
            if step > limit {
                let message = format!("expected the floor to move at most {limit:.2} m from one sample to the next, got {step:.2}");
                found.push(about(
                    "BW-L003",
                    Severity::Warning,
                    after,
                    message,
                    serde_json::json!({"step_m": step, "max_step_m": limit}),
                ));
            }
        }
    }
}
