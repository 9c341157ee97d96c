//! `BW-L003`: its floor jumps from sample to sample. What stands on the ground follows it; a jump means that the box is below or above it.

use boxwright_model::time::NS_PER_S;
use boxwright_model::{Box3, Finding, Severity};

use super::{Labels, about};

/// Boxes farther apart in time are compared with nothing, whatever was labelled between them: the ground may have risen.
const MAX_APART_NS: i64 = 2 * NS_PER_S;

pub(super) fn check(labels: &Labels<'_>, found: &mut Vec<Finding>) {
    let mut stamps: Vec<i64> = labels.boxes.iter().map(|b| b.sample_stamp_ns).collect();
    stamps.dedup();
    let sample = |b: &Box3| stamps.partition_point(|stamp_ns| *stamp_ns < b.sample_stamp_ns);
    let limit = labels.config.max_floor_step_m;
    let floor = |b: &Box3| b.world_from_box.center_m.z - b.world_from_box.size_lwh_m.z / 2.0;
    for boxes in labels.by_track.values() {
        for pair in boxes.windows(2) {
            let [before, after] = pair else { continue };
            let apart_ns = after.sample_stamp_ns.saturating_sub(before.sample_stamp_ns);
            // Where other samples lie between, the object was hidden in them.
            if apart_ns > MAX_APART_NS || sample(after) > sample(before) + 1 {
                continue;
            }
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
