//! `BW-L001`: faster than its class can be. One finding a track, at its fastest box.

use boxwright_model::{Finding, Severity};

use super::{Labels, about};

pub(super) fn check(labels: &Labels<'_>, found: &mut Vec<Finding>) {
    for boxes in labels.by_track.values() {
        let speed = |b: &boxwright_model::Box3| b.velocity_world_mps[0].hypot(b.velocity_world_mps[1]);
        let Some(fastest) = boxes.iter().copied().reduce(|best, b| if speed(b) > speed(best) { b } else { best }) else { continue };
        let class = labels.taxonomy.get(fastest.class);
        let (got, limit) = (speed(fastest), class.max_speed_mps);
        if got > limit {
            let message = format!("expected a {} to be at most {limit:.1} m/s fast, got {got:.1}", class.name);
            let values = serde_json::json!({"speed_mps": got, "max_speed_mps": limit});
            found.push(about("BW-L001", Severity::Error, fastest, message, values));
        }
    }
}
