//! `BW-L005`: rests on few points. One finding a track, by the median over its measured boxes.

use boxwright_model::{Finding, Severity};

use super::{Labels, about_track};

pub(super) fn check(labels: &Labels<'_>, found: &mut Vec<Finding>) {
    let limit = labels.config.min_points;
    for track in labels.tracks {
        let Some(boxes) = labels.by_track.get(&track.track_id) else { continue };
        let mut points: Vec<u32> = boxes.iter().filter(|b| !b.predicted).map(|b| b.num_lidar_pts).collect();
        points.sort_unstable();
        if let Some(median) = points.get(points.len() / 2).copied().filter(|median| *median < limit) {
            let message = format!("expected at least {limit} points in the median box, got {median}");
            found.push(about_track(
                "BW-L005",
                Severity::Info,
                track,
                message,
                serde_json::json!({"points": median, "min_points": limit}),
            ));
        }
    }
}
