//! What may be an object and was not made a label: the list that a person closes, one look each.
//!
//! Recall that is bought with false labels costs everybody who reads them; recall that is offered costs one look. So a track that is not sure
//! enough for a label and stands in no label is suggested, as a finding `BW-L007` that bears its boxes, and becomes a label only when a person
//! says so. How low a score may be is [`super::ClipConfig::min_suggested_score`]; the queue orders suggestions by the probability that
//! [`super::confidence`] makes of the score.

use boxwright_model::{Box3, ClipId, Finding, Severity, Taxonomy};
use serde_json::json;

use super::placed::Placed;
use super::{SweepInfo, duplicates, write};
use crate::config::LabelConfig;

/// Most suggestions of a clip, the likeliest ones. A look takes 1.5 s: more than five minutes of maybes in twenty seconds of driving mean
/// that the options do not fit the sensor.
const MAX_SUGGESTIONS: usize = 200;

/// The suggestions among tracks that did not become labels, in order of their numbers.
#[must_use]
pub fn choose(mut unsure: Vec<Placed>, labels: &[Placed]) -> Vec<Placed> {
    unsure.retain(|one| !labels.iter().any(|label| duplicates::same(label, one) || duplicates::same(one, label)));
    duplicates::drop_weaker(&mut unsure);
    unsure.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.number.cmp(&b.number)));
    unsure.truncate(MAX_SUGGESTIONS);
    unsure.sort_by_key(|one| one.number);
    unsure
}

/// Suggestions as findings. `values` holds class, score, whether it stands still, its size, and its boxes in the world frame as
/// `[sample_stamp_ns, x, y, z, yaw_rad, points]`, in order of samples; boxes without points bridge gaps.
#[must_use]
pub fn findings(
    suggestions: &[Placed],
    sweeps: &[SweepInfo],
    clip: ClipId,
    taxonomy: &Taxonomy,
    config: &LabelConfig,
) -> Vec<Finding> {
    let (boxes, tracks) = write::write(suggestions, sweeps, clip, &config.clip, config.track.max_coast_s, None);
    let of_track = |track: &boxwright_model::Track| {
        let boxes: Vec<&Box3> = boxes.iter().filter(|one| one.track_id == track.track_id).collect();
        let best = boxes.iter().copied().reduce(|best, one| if one.num_lidar_pts > best.num_lidar_pts { one } else { best })?;
        let class = &taxonomy.get(track.class).name;
        let rounded = |value: f64, unit: f64| (value / unit).round() * unit;
        let rows: Vec<_> = boxes
            .iter()
            .map(|one| {
                let c = one.world_from_box.center_m;
                let [x, y, z] = [c.x, c.y, c.z].map(|m| rounded(m, 1e-3));
                json!([one.sample_stamp_ns, x, y, z, rounded(one.world_from_box.yaw_rad(), 1e-4), one.num_lidar_pts])
            })
            .collect();
        Some(Finding {
            rule: "BW-L007",
            severity: Severity::Info,
            stamp_ns: best.sample_stamp_ns,
            track_id: Some(track.track_id),
            sample_id: Some(best.sample_id.clone()),
            message: format!("may be a {class} without a label: score {:.2}, {} boxes", track.score, boxes.len()),
            values: json!({
                "class": class, "score": rounded(track.score, 1e-4), "is_static": track.is_static,
                "size_lwh_m": track.size_lwh_m.map(|m| rounded(m, 1e-3)), "boxes": rows,
            })
            .to_string(),
        })
    };
    tracks.iter().filter_map(of_track).collect()
}
