//! What becomes of boxes that flip and breathe from sweep to sweep.

use std::f64::consts::PI;
use std::sync::Arc;

use boxwright_model::ClassId;

use super::*;
use crate::look::TrackLooks;

fn taxonomy() -> Arc<Taxonomy> {
    Arc::new(Taxonomy::from_toml(include_str!("../../../../../configs/taxonomy.toml")).unwrap())
}

fn sighting(sweep: usize, given: Option<Cuboid>) -> Sighting {
    Sighting { given, ..crate::clip::placed::fixture::sighting(sweep, vec![[0.0; 2]]) }
}

fn placed(sightings: Vec<Sighting>, is_static: bool) -> Vec<Placement> {
    let (how, placements) = placed_somehow(sightings, is_static);
    assert_eq!(how.size_source, "given");
    placements
}

fn placed_somehow(sightings: Vec<Sighting>, is_static: bool) -> (How, Vec<Placement>) {
    let path = crate::clip::placed::fixture::path(sightings);
    let motion = Motion { is_static, shift_m: 0.0, speed_mps: 0.0, heading_rad: 0.0, wander_m: 0.0, jitter_m: 0.0, halfway: 0.5 };
    let verdict = Verdict { class: ClassId(0), score: 0.9, logits: vec![1.0], looks: TrackLooks::default() };
    place(&path, &motion, &verdict, &taxonomy(), &ClipConfig::default()).unwrap()
}

fn car(x: f64, length: f64, yaw: f64) -> Cuboid {
    Cuboid::upright(Vector3::new(x, 3.0, 0.8), Vector3::new(length, 1.8, 1.5), yaw)
}

#[test]
fn a_parked_box_has_one_pose_whatever_single_sweeps_say() {
    let boxes = [car(5.0, 4.0, 0.3), car(5.1, 4.4, 0.3 + PI), car(5.0, 4.1, 0.32), car(9.0, 4.1, 0.28)];
    let placements = placed(boxes.into_iter().enumerate().map(|(sweep, b)| sighting(sweep, Some(b))).collect(), true);
    let first = placements[0].world_from_box;
    assert!(placements.iter().all(|p| p.world_from_box == first));
    assert!((first.yaw_rad() - 0.3).abs() < 0.02, "three of four name this end: {}", first.yaw_rad());
    assert!((first.size_lwh_m.x - 4.1).abs() < 1e-9 && first.center_m.x < 5.2);
}

#[test]
fn what_moves_quickly_has_its_front_ahead() {
    let boxes = (0..12).map(|sweep| (sweep, car(1.0 * sweep as f64, 4.0, if sweep % 3 == 0 { 0.0 } else { PI })));
    let placements = placed(boxes.map(|(sweep, b)| sighting(sweep, Some(b))).collect(), false);
    for (index, p) in placements.iter().enumerate() {
        assert!(p.world_from_box.yaw_rad().abs() < 1e-6, "{}", p.world_from_box.yaw_rad());
        assert!((p.world_from_box.center_m.x - index as f64).abs() < 0.05 && (p.velocity_mps[0] - 10.0).abs() < 0.1);
    }
}

#[test]
fn a_sweep_without_a_box_of_its_own_takes_the_size_of_the_others() {
    let mut sightings: Vec<Sighting> = (0..6).map(|sweep| sighting(sweep, Some(car(0.0, 4.0, 0.0)))).collect();
    sightings[3].given = None;
    sightings[3].outline = vec![[-2.0, 2.1], [-2.0, 3.9]];
    let placements = placed(sightings, false);
    assert!((placements[3].world_from_box.size_lwh_m.x - 4.0).abs() < 1e-9);
    assert!((placements[3].world_from_box.center_m.y - 3.0).abs() < 0.1);
}

#[test]
fn boxes_that_agree_on_no_size_keep_theirs_and_the_track_has_the_middle_one() {
    // A lorry that comes into view: its front, and then all of it.
    let lengths = [0.4, 3.0, 5.0, 6.5, 7.5, 8.0, 8.0];
    let sightings = lengths.iter().enumerate().map(|(sweep, length)| sighting(sweep, Some(car(3.0 * sweep as f64, *length, 0.0))));
    let (how, placements) = placed_somehow(sightings.collect(), false);
    assert_eq!(how.size_source, "given_each");
    assert_eq!(placements.iter().map(|p| p.world_from_box.size_lwh_m.x).collect::<Vec<_>>(), lengths);
    assert_eq!(crate::clip::evidence::usual_size(&placements).unwrap().x, 6.5, "not the first, which no class can have");
}
