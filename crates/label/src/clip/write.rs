//! From placed tracks to the boxes and tracks of the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::{Box3, ClipId, Cuboid, LabelSource, Track, TrackId};
use serde::Serialize;

use super::duplicates::stand_in_each_other;
use super::evidence::usual_size;
use super::placed::{Placed, Placement};
use super::{ClipConfig, SweepInfo, is_hole, priority};
use crate::models::ModelSpec;

/// Why a box is as it is; written as JSON.
#[derive(Serialize)]
struct Evidence<'a> {
    points: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sought: bool,
    hits: usize,
    #[serde(skip_serializing_if = "is_whole")]
    parts: u32,
    logits: Vec<f64>,
    size: &'a str,
    #[serde(rename = "static")]
    is_static: bool,
    refined: &'a str,
    edge_m: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_edge_m: Option<f64>,
    confidence: Confidence<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detector: Option<DetectorEvidence<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    camera: Option<CameraEvidence<'a>>,
}

/// Most tracks are one part, of which nothing is said.
fn is_whole(parts: &u32) -> bool {
    *parts == 1
}

/// Whose boxes a track is made of, where they were given whole.
#[derive(Serialize)]
struct DetectorEvidence<'a> {
    model: &'a str,
    version: &'a str,
    sha256: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    manifest_sha256: &'a str,
}

/// What a camera network said of a track, and which one it was.
#[derive(Serialize)]
struct CameraEvidence<'a> {
    model: &'a str,
    version: &'a str,
    sha256: &'a str,
    manifest_sha256: &'a str,
    looks: u32,
    logits: Vec<f64>,
}

/// Where the score is from.
#[derive(Serialize)]
struct Confidence<'a> {
    raw: f64,
    model: &'a str,
}

/// Boxes ordered by (sample stamp, track), tracks ordered by number.
#[must_use]
pub fn write(
    placed: &[Placed],
    sweeps: &[SweepInfo],
    clip: ClipId,
    config: &ClipConfig,
    max_coast_s: f64,
    camera: Option<&ModelSpec>,
) -> (Vec<Box3>, Vec<Track>) {
    let model = config.confidence.id();
    let mut of_tracks: Vec<Vec<Box3>> = Vec::with_capacity(placed.len());
    for track in placed {
        let placements = with_gaps(track, sweeps, max_coast_s).into_iter();
        let boxes = placements.filter_map(|(placement, predicted)| {
            let evidence = evidence(track, &placement, camera, &model);
            Some(Box3 { evidence, ..box_of(track, &placement, predicted, sweeps.get(placement.sweep)?, clip, config) })
        });
        of_tracks.push(boxes.collect());
    }
    give_way(&mut of_tracks);
    let tracks = placed.iter().zip(&of_tracks).filter_map(|(track, boxes)| track_of(track, boxes, clip));
    let mut tracks: Vec<Track> = tracks.collect();
    let mut boxes: Vec<Box3> = of_tracks.into_iter().flatten().collect();
    boxes.sort_by_key(|b| (b.sample_stamp_ns, b.track_id));
    tracks.sort_by_key(|t| t.track_id);
    (boxes, tracks)
}

/// Leaves out every predicted box where another track was measured in that sample: what nobody saw cannot stand in what was seen. Most often both are one
/// object, and its boxes are those that were measured.
fn give_way(of_tracks: &mut [Vec<Box3>]) {
    let mut measured: BTreeMap<i64, Vec<(TrackId, Cuboid)>> = BTreeMap::new();
    for one in of_tracks.iter().flatten().filter(|one| !one.predicted) {
        measured.entry(one.sample_stamp_ns).or_default().push((one.track_id, one.world_from_box));
    }
    let is_taken = |predicted: &Box3| {
        let others = measured.get(&predicted.sample_stamp_ns).into_iter().flatten();
        others
            .filter(|(track, _)| *track != predicted.track_id)
            .any(|(_, other)| stand_in_each_other(other, &predicted.world_from_box, 0.0))
    };
    of_tracks.iter_mut().for_each(|boxes| boxes.retain(|one| !(one.predicted && is_taken(one))));
}

/// The placements, and between them one for each sweep in which the object was not seen, where that is no hole.
pub(super) fn with_gaps(track: &Placed, sweeps: &[SweepInfo], max_coast_s: f64) -> Vec<(Placement, bool)> {
    let mut all: Vec<(Placement, bool)> = Vec::with_capacity(track.placements.len());
    for placement in &track.placements {
        let is_gap = |before: &Placement| !is_hole(sweeps, before.sweep, placement.sweep, max_coast_s);
        if let Some((before, _)) = all.last().copied().filter(|(before, _)| is_gap(before)) {
            let gap = before.sweep + 1..placement.sweep;
            all.extend(gap.filter_map(|sweep| Some((between(&before, placement, sweep, sweeps.get(sweep)?.stamp_ns), true))));
        }
        all.push((*placement, false));
    }
    all
}

/// Where it was at a stamp between two placements, on the straight way.
pub(super) fn between(before: &Placement, after: &Placement, sweep: usize, stamp_ns: i64) -> Placement {
    let span = (after.stamp_ns.saturating_sub(before.stamp_ns)).max(1) as f64;
    let share = ((stamp_ns.saturating_sub(before.stamp_ns)) as f64 / span).clamp(0.0, 1.0);
    let (a, b) = (&before.world_from_box, &after.world_from_box);
    let turn = boxwright_model::space::wrap_rad(b.yaw_rad() - a.yaw_rad());
    let center = a.center_m.lerp(&b.center_m, share);
    let velocity = [0, 1].map(|axis| before.velocity_mps[axis] * (1.0 - share) + after.velocity_mps[axis] * share);
    let world_from_box = Cuboid::upright(center, a.size_lwh_m, a.yaw_rad() + share * turn);
    Placement { sweep, stamp_ns, points_ns: [stamp_ns; 2], world_from_box, velocity_mps: velocity, num_points: 0, sought: false }
}

fn box_of(track: &Placed, placement: &Placement, predicted: bool, info: &SweepInfo, clip: ClipId, config: &ClipConfig) -> Box3 {
    let mut world_from_box = placement.world_from_box;
    if config.to_sample_time {
        let seconds = (info.stamp_ns.saturating_sub(placement.stamp_ns)) as f64 * 1e-9;
        world_from_box.center_m.x += seconds * placement.velocity_mps[0];
        world_from_box.center_m.y += seconds * placement.velocity_mps[1];
    }
    Box3 {
        sample_id: Arc::clone(&info.sample_id),
        sample_stamp_ns: info.stamp_ns,
        stamp_ns: placement.stamp_ns,
        points_ns: placement.points_ns,
        measured_world_center_m: placement.world_from_box.center_m,
        track_id: TrackId { clip, number: track.number },
        class: track.class,
        score: if predicted { 0.8 * track.score } else { track.score },
        ego_from_box: world_from_box.transformed(&info.world_from_ego.inverse()),
        world_from_box,
        velocity_world_mps: placement.velocity_mps,
        num_lidar_pts: placement.num_points,
        predicted,
        source: LabelSource::Auto,
        evidence: String::new(),
    }
}

fn evidence(track: &Placed, placement: &Placement, camera: Option<&ModelSpec>, model: &str) -> String {
    let rounded = |value: &f64| (value * 100.0).round() / 100.0;
    let camera = camera.filter(|_| track.looks.looks > 0).map(|spec| CameraEvidence {
        model: &spec.name,
        version: &spec.version,
        sha256: &spec.sha256,
        manifest_sha256: &spec.manifest_sha256,
        looks: track.looks.looks,
        logits: track.looks.logits.iter().map(rounded).collect(),
    });
    let evidence = Evidence {
        points: placement.num_points,
        sought: placement.sought,
        hits: track.placements.iter().filter(|one| !one.sought).count(),
        parts: track.parts,
        logits: track.logits.iter().map(rounded).collect(),
        size: track.how.size_source,
        is_static: track.motion.is_static,
        refined: track.how.refined,
        edge_m: rounded(&track.how.edge_m),
        refused_edge_m: track.how.refused_edge_m.as_ref().map(rounded),
        confidence: Confidence { raw: rounded(&track.raw_score), model },
        detector: track.given_by.as_deref().map(|spec| DetectorEvidence {
            model: &spec.name,
            version: &spec.version,
            sha256: &spec.sha256,
            manifest_sha256: &spec.manifest_sha256,
        }),
        camera,
    };
    serde_json::to_string(&evidence).unwrap_or_default()
}

fn track_of(track: &Placed, boxes: &[Box3], clip: ClipId) -> Option<Track> {
    let (first, last) = (boxes.first()?, boxes.last()?);
    Some(Track {
        track_id: TrackId { clip, number: track.number },
        class: track.class,
        score: track.score,
        first_stamp_ns: first.sample_stamp_ns,
        last_stamp_ns: last.sample_stamp_ns,
        boxes: boxes.len() as u32,
        is_static: track.motion.is_static,
        size_lwh_m: usual_size(&track.placements)?.into(),
        review_priority_s: priority::expected_seconds(boxes.len(), track.score, track.motion.is_static),
    })
}

#[cfg(test)]
mod tests {
    use boxwright_model::{Pose, Taxonomy};

    use super::super::placed::fixture::parked;
    use super::*;

    #[test]
    fn a_predicted_box_gives_way_to_a_measured_one() {
        let taxonomy = Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap();
        let car = taxonomy.find("car").unwrap();
        let info = |sweep: i64| SweepInfo {
            sample_id: "v".into(),
            stamp_ns: sweep * 100_000_000,
            world_from_ego: Pose::identity(),
            has_pose: true,
        };
        let sweeps: Vec<SweepInfo> = (0..20).map(info).collect();
        // Not seen in the sweeps 8 to 12; something else was, in three of them, `aside_m` beside it.
        let boxes_of_first = |aside_m: f64, also_unseen: usize| {
            let first = parked(0, car, (0..20).filter(|sweep| !(8..=12).contains(sweep)));
            let mut second = parked(1, car, (9..=11).filter(|sweep| *sweep != also_unseen));
            second.placements.iter_mut().for_each(|one| one.world_from_box.center_m.y += aside_m);
            let (boxes, tracks) = write(&[first, second], &sweeps, ClipId(0), &ClipConfig::default(), 1.0, None);
            let of_first = boxes.iter().filter(|one| one.track_id.number == 0);
            let samples: Vec<i64> = of_first.map(|one| one.sample_stamp_ns / 100_000_000).collect();
            assert_eq!(tracks[0].boxes as usize, samples.len());
            samples
        };
        assert_eq!(boxes_of_first(0.2, usize::MAX), (0..9).chain(12..20).collect::<Vec<_>>());
        assert_eq!(boxes_of_first(4.0, usize::MAX), (0..20).collect::<Vec<_>>());
        // Of two that are predicted nobody knows better.
        assert_eq!(boxes_of_first(0.2, 10), (0..9).chain([10]).chain(12..20).collect::<Vec<_>>());
    }
}
