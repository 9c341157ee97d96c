//! What the labeller suggests and has not made a label: findings `BW-L007`, as tracks that wait for a person's word.

use std::collections::BTreeMap;

use boxwright_model::Cuboid;
use boxwright_shard::StoredFinding;
use nalgebra::Vector3;
use serde::Deserialize;

use crate::labels::{BoxState, TrackDoc, TrackState, Verdict};

/// The rule of such findings.
pub(crate) const RULE: &str = "BW-L007";

/// `values` of such a finding.
#[derive(Deserialize)]
struct Values {
    class: String,
    score: f64,
    is_static: bool,
    size_lwh_m: [f64; 3],
    /// Stamp of the sample, centre (metres) and heading (radians) in the world frame, points.
    boxes: Vec<(i64, f64, f64, f64, f64, u32)>,
}

/// The track that a finding suggests. None where it says nothing that can be drawn: an older program wrote it, or another one. A class that
/// is not in the taxonomy any more stays: what was decided about the track must not be lost with its name.
pub(crate) fn read(finding: &StoredFinding, sample_of: impl Fn(i64) -> Option<u32>) -> Option<TrackDoc> {
    let values: Values = serde_json::from_str(&finding.values).ok()?;
    let size = Vector3::from(values.size_lwh_m);
    let state_of = |(stamp_ns, x, y, z, yaw, points): &(i64, f64, f64, f64, f64, u32)| {
        let cuboid = Cuboid::upright(Vector3::new(*x, *y, *z), size, *yaw);
        let state = BoxState { predicted: *points == 0, ..BoxState::new(&cuboid, *points) };
        cuboid.is_valid().then_some((sample_of(*stamp_ns)?, state))
    };
    let boxes: BTreeMap<u32, BoxState> = values.boxes.iter().filter_map(state_of).collect();
    let state = TrackState {
        class: values.class,
        score: values.score.clamp(0.0, 1.0),
        is_static: values.is_static,
        verdict: Verdict::Suggested,
        decided_by: None,
        error: None,
    };
    (!boxes.is_empty()).then_some(TrackDoc { state, boxes })
}

#[cfg(test)]
mod tests {
    use boxwright_model::{Severity, TrackId};

    use super::*;

    fn finding(values: &str) -> StoredFinding {
        StoredFinding {
            rule: RULE.into(),
            severity: Severity::Info,
            stamp_ns: 2,
            track_id: Some(TrackId { clip: boxwright_model::ClipId(0), number: 9 }),
            sample_id: None,
            message: String::new(),
            values: values.to_owned(),
        }
    }

    #[test]
    fn a_suggestion_has_its_boxes_where_the_clip_has_samples() {
        let text = r#"{"class":"car","score":0.2,"is_static":true,"size_lwh_m":[4.0,1.8,1.5],"boxes":[[1,5.0,2.0,0.8,0.5,30],[2,5.0,2.0,0.8,0.5,0],[77,5.0,2.0,0.8,0.5,9]]}"#;
        let sample_of = |stamp_ns: i64| u32::try_from(stamp_ns).ok().filter(|stamp| *stamp < 10);
        let track = read(&finding(text), sample_of).unwrap();
        assert_eq!(track.boxes.keys().copied().collect::<Vec<_>>(), [1, 2], "there is no sample at 77");
        assert_eq!((track.boxes[&1].points, track.boxes[&1].predicted, track.boxes[&2].predicted), (30, false, true));
        assert!((track.boxes[&1].cuboid().yaw_rad() - 0.5).abs() < 1e-12);
        assert_eq!((track.state.verdict, track.state.verdict.is_label()), (Verdict::Suggested, false));
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        let any = |_: i64| Some(0);
        for wrong in [
            "",
            "{}",
            r#"{"class":"car","score":0.2,"is_static":true,"size_lwh_m":[4,-2,1],"boxes":[[1,0,0,0,0,3]]}"#,
            r#"{"class":"car","score":0.2,"is_static":true,"size_lwh_m":[4,2,1],"boxes":[]}"#,
        ] {
            assert!(read(&finding(wrong), any).is_none(), "{wrong}");
        }
    }
}
