//! What each operation promises.

use boxwright_model::space::wrap_rad;

use super::*;
use crate::fixture::{DRIVING, MISSED_XY, PARKED, SAMPLES, Street, driving, labels, missed, parked, taxonomy};
use crate::labels::reversed;

fn done(labels: &Labels, operation: &Operation) -> Labels {
    let changes = planned(labels, operation).unwrap();
    assert!(labels.fits(&changes), "{operation:?}");
    let mut after = labels.clone();
    after.apply(&changes);
    let mut back = after.clone();
    assert!(back.fits(&reversed(&changes)), "{operation:?}");
    back.apply(&reversed(&changes));
    assert_eq!(back.tracks(), labels.tracks(), "{operation:?} can be taken back");
    after
}

fn planned(labels: &Labels, operation: &Operation) -> Result<Vec<Change>, Around> {
    plan(&Context { labels, around: &Street, taxonomy: &taxonomy(), person: "ana" }, operation)
}

fn refusal(labels: &Labels, operation: &Operation) -> String {
    planned(labels, operation).unwrap_err().to_string()
}

fn cuboid(labels: &Labels, track: u32, sample: u32) -> Cuboid {
    labels.track(track).unwrap().boxes[&sample].cuboid()
}

fn shift(track: u32, sample: u32, scope: Scope, by_m: f64) -> Operation {
    Operation::Move { track, sample, scope, by_box_m: [by_m, 0.0, 0.0] }
}

#[test]
fn a_verdict_says_whose_it_is_and_an_edit_takes_it_away() {
    let accepted = done(&labels(), &Operation::Accept { track: PARKED });
    let state = &accepted.track(PARKED).unwrap().state;
    assert_eq!((state.verdict, state.decided_by.as_deref()), (Verdict::Accepted, Some("ana")));
    let edited = done(&accepted, &Operation::Flip { track: PARKED, sample: 3, scope: Scope::Track });
    assert_eq!(edited.track(PARKED).unwrap().state.verdict, Verdict::Open);
    let returned = done(&labels(), &Operation::Reject { track: PARKED, error: ErrorKind::HalfTurn });
    assert_eq!(returned.track(PARKED).unwrap().state.error, Some(ErrorKind::HalfTurn));
}

#[test]
fn an_edit_goes_as_far_as_it_is_told() {
    for (scope, moved) in [(Scope::Box, 5..6), (Scope::Onward, 5..SAMPLES), (Scope::Track, 0..SAMPLES)] {
        let after = done(&labels(), &shift(DRIVING, 5, scope, 0.5));
        for sample in 0..SAMPLES {
            let expected = if moved.contains(&sample) { 0.5 } else { 0.0 };
            let got = cuboid(&after, DRIVING, sample).center_m.x - driving(sample).center_m.x;
            assert!((got - expected).abs() < 1e-9, "{scope:?} {sample}: {got}");
        }
    }
}

#[test]
fn points_are_counted_anew_where_a_box_was_put() {
    let away = done(&labels(), &Operation::Move { track: PARKED, sample: 0, scope: Scope::Box, by_box_m: [0.0, 0.0, 30.0] });
    assert_eq!(away.track(PARKED).unwrap().boxes[&0].points, 0);
    let back = done(&away, &Operation::Move { track: PARKED, sample: 0, scope: Scope::Box, by_box_m: [0.0, 0.0, -30.0] });
    assert!(back.track(PARKED).unwrap().boxes[&0].points > 300);
}

#[test]
fn a_parked_car_is_set_on_the_ground_once_for_the_whole_clip() {
    let raised = done(&labels(), &Operation::Move { track: PARKED, sample: 0, scope: Scope::Track, by_box_m: [0.0, 0.0, 0.4] });
    let set = done(&raised, &Operation::Ground { track: PARKED, sample: 4, scope: Scope::Track });
    for sample in 0..SAMPLES {
        assert_eq!(cuboid(&set, PARKED, sample).center_m, cuboid(&set, PARKED, 4).center_m);
        assert!((cuboid(&set, PARKED, sample).center_m.z - 0.75).abs() < 0.03);
    }
}

#[test]
fn one_size_holds_for_the_track_and_the_measured_side_stays() {
    let grown = done(&labels(), &Operation::Size { track: DRIVING, sample: 2, scope: Scope::Box, face: Face::Front, by_m: 0.6 });
    let copied = done(&grown, &Operation::CopySize { track: DRIVING, sample: 2 });
    for sample in 0..SAMPLES {
        let one = cuboid(&copied, DRIVING, sample);
        assert!((one.size_lwh_m.x - 4.8).abs() < 1e-9);
        // The vehicle is behind the car, so its back is what was seen.
        let back = driving(sample).center_m.x - 2.1;
        assert!((one.center_m.x - 2.4 - back).abs() < 0.02, "{sample}: {}", one.center_m.x - 2.4 - back);
    }
}

#[test]
fn between_boxes_that_somebody_set_the_others_follow() {
    let mut labels = labels();
    for (sample, by_m) in [(2, 0.4), (8, -0.2)] {
        labels = done(&labels, &Operation::Move { track: DRIVING, sample, scope: Scope::Box, by_box_m: [0.0, by_m, 0.0] });
    }
    let after = done(&labels, &Operation::Interpolate { track: DRIVING });
    assert!((cuboid(&after, DRIVING, 5).center_m.y - (driving(5).center_m.y + 0.1)).abs() < 1e-9);
    assert_eq!(cuboid(&after, DRIVING, 9), cuboid(&labels, DRIVING, 9), "beyond the last one nothing changes");
    assert!(refusal(&crate::fixture::labels(), &Operation::Interpolate { track: DRIVING }).contains("two boxes or more"));
}

#[test]
fn splitting_and_merging_are_each_others_opposite() {
    let split = done(&labels(), &Operation::Split { track: DRIVING, sample: 7 });
    assert_eq!(split.track(DRIVING).unwrap().boxes.len(), 7);
    assert_eq!(split.track(3).unwrap().boxes.len(), 5);
    let merged = done(&split, &Operation::Merge { track: 3, into: DRIVING });
    assert_eq!(merged.track(DRIVING).unwrap().boxes, labels().track(DRIVING).unwrap().boxes);
    assert!(merged.track(3).is_none());
    assert!(refusal(&labels(), &Operation::Split { track: DRIVING, sample: 0 }).contains("0 and 12"));
    assert!(refusal(&labels(), &Operation::Merge { track: DRIVING, into: DRIVING }).contains("two tracks"));
}

#[test]
fn a_track_is_carried_on_to_where_somebody_says() {
    let mut short = labels();
    for sample in 6..SAMPLES {
        short = done(&short, &Operation::DeleteBox { track: DRIVING, sample });
    }
    let after = done(&short, &Operation::Extend { track: DRIVING, sample: 10 });
    assert_eq!(after.track(DRIVING).unwrap().boxes.len(), 11);
    for sample in 6..=10 {
        let off = (cuboid(&after, DRIVING, sample).center_m - driving(sample).center_m).norm();
        assert!(off < 0.25, "{sample}: {off} m");
    }
    assert!(refusal(&labels(), &Operation::Extend { track: DRIVING, sample: 4 }).contains("has no box, got 4"));
}

#[test]
fn a_hole_is_filled_from_its_nearer_end() {
    let mut holed = labels();
    for sample in 3..9 {
        holed = done(&holed, &Operation::DeleteBox { track: DRIVING, sample });
    }
    let filled = |sample: u32, expected: &[u32]| {
        let after = done(&holed, &Operation::Extend { track: DRIVING, sample });
        let boxes = &after.track(DRIVING).unwrap().boxes;
        let new: Vec<u32> = boxes.keys().filter(|at| !holed.track(DRIVING).unwrap().boxes.contains_key(at)).copied().collect();
        assert_eq!(new, expected);
        for sample in new {
            let off = (boxes[&sample].cuboid().center_m - driving(sample).center_m).norm();
            assert!(off < 0.25, "{sample}: {off} m");
        }
    };
    filled(4, &[3, 4]);
    filled(7, &[7, 8]);
}

#[test]
fn the_last_box_takes_its_track_with_it() {
    let mut none = labels();
    for sample in 0..SAMPLES {
        none = done(&none, &Operation::DeleteBox { track: DRIVING, sample });
    }
    assert!(none.track(DRIVING).is_none());
    assert!(refusal(&none, &Operation::Accept { track: DRIVING }).contains("gone or never was"));
}

#[test]
fn a_click_on_a_missed_parked_car_makes_one_box_that_stands_still_through_the_clip() {
    let ego = Street.world_from_ego(3).inverse() * nalgebra::Point3::new(MISSED_XY[0] - 1.0, MISSED_XY[1] + 0.5, 0.0);
    let click = Operation::Create { sample: 3, at_ego_m: [ego.x, ego.y], class: None };
    let after = done(&labels(), &click);
    let track = after.track(3).unwrap();
    assert_eq!((track.state.class.as_str(), track.state.is_static), ("car", true));
    assert_eq!(track.boxes.len(), SAMPLES as usize);
    let made = track.boxes[&9].cuboid();
    assert!((made.center_m - missed().center_m).xy().norm() < 0.25, "{made:?}");
    let turn = wrap_rad(made.yaw_rad() - missed().yaw_rad()).abs();
    assert!(turn.min(std::f64::consts::PI - turn) < 0.05, "{turn}");
    assert!(track.boxes[&3].keyed && !track.boxes[&4].keyed);
}

#[test]
fn a_click_on_a_driving_car_follows_it() {
    let without = done(&labels(), &Operation::Delete { track: DRIVING });
    let middle = Street.world_from_ego(5).inverse() * nalgebra::Point3::from(driving(5).center_m);
    let click = Operation::Create { sample: 5, at_ego_m: [middle.x - 1.5, middle.y], class: Some("car".to_owned()) };
    let after = done(&without, &click);
    let (_, track) = after.tracks().last_key_value().unwrap();
    assert!(!track.state.is_static);
    assert!(track.boxes.len() >= 10, "{}", track.boxes.len());
    for (sample, state) in &track.boxes {
        let off = (state.cuboid().center_m - driving(*sample).center_m).xy().norm();
        assert!(off < 0.4, "{sample}: {off} m");
    }
}

#[test]
fn a_click_on_nothing_is_refused() {
    let nowhere = Operation::Create { sample: 0, at_ego_m: [-12.0, 3.0], class: None };
    assert!(refusal(&labels(), &nowhere).contains("got none"));
    let beyond = Operation::Create { sample: 99, at_ego_m: [0.0, 0.0], class: None };
    assert!(refusal(&labels(), &beyond).contains("expected one of 12 samples, got 99"));
    let unknown = Operation::Relabel { track: PARKED, class: "dragon".to_owned() };
    assert!(refusal(&labels(), &unknown).contains("\"dragon\""));
}

#[test]
fn shrinking_a_box_that_is_too_large_finds_the_car() {
    let mut large = labels();
    for face in [Face::Front, Face::Back, Face::Left, Face::Right] {
        large = done(&large, &Operation::Size { track: PARKED, sample: 0, scope: Scope::Track, face, by_m: 0.3 });
    }
    let shrunk = cuboid(&done(&large, &Operation::Shrink { track: PARKED, sample: 0, scope: Scope::Track }), PARKED, 7);
    assert!((shrunk.size_lwh_m.x - parked().size_lwh_m.x).abs() < 0.1, "{shrunk:?}");
    assert!((shrunk.size_lwh_m.y - parked().size_lwh_m.y).abs() < 0.1, "{shrunk:?}");
}

#[test]
fn operations_read_as_the_page_writes_them_and_unknown_ones_are_refused() {
    let read: Operation = serde_json::from_str(r#"{"kind":"size","track":4,"sample":2,"face":"front","by_m":0.1}"#).unwrap();
    assert_eq!(read, Operation::Size { track: 4, sample: 2, scope: Scope::Box, face: Face::Front, by_m: 0.1 });
    assert!(serde_json::from_str::<Operation>(r#"{"kind":"explode","track":4}"#).is_err());
    assert!(serde_json::from_str::<Operation>(r#"{"kind":"accept","track":4,"force":true}"#).is_err());
}

#[test]
fn one_decision_about_several_tracks_is_made_as_a_whole() {
    let both = vec![PARKED, DRIVING];
    let accepted = done(&labels(), &Operation::Bulk { tracks: both.clone(), each: Each::Accept });
    assert!(accepted.tracks().values().all(|track| track.state.verdict == Verdict::Accepted));
    let relabelled = done(&labels(), &Operation::Bulk { tracks: both.clone(), each: Each::Relabel { class: "truck".to_owned() } });
    assert!(relabelled.tracks().values().all(|track| track.state.class == "truck"));
    assert!(done(&labels(), &Operation::Bulk { tracks: both, each: Each::Delete }).tracks().is_empty());
    for wrong in [vec![], vec![PARKED, PARKED], vec![PARKED, 99]] {
        assert!(refusal(&labels(), &Operation::Bulk { tracks: wrong, each: Each::Delete }).contains("expected"));
    }
}

#[test]
fn a_box_remembers_the_stored_one_that_it_comes_from() {
    let mut stored = labels();
    let marked: Vec<Change> = stored.tracks()[&DRIVING]
        .boxes
        .iter()
        .map(|(sample, state)| Change::Box {
            track: DRIVING,
            sample: *sample,
            before: None,
            after: Some(BoxState { origin: Some(DRIVING), ..state.clone() }),
        })
        .collect();
    stored.apply(&marked);
    let split = done(&stored, &Operation::Split { track: DRIVING, sample: 6 });
    let other = split.next_number() - 1;
    assert!(split.track(other).unwrap().boxes.values().all(|state| state.origin == Some(DRIVING)));
    let moved = done(&split, &shift(other, 7, Scope::Box, 0.2));
    assert_eq!(moved.track(other).unwrap().boxes[&7].origin, Some(DRIVING));
    let merged = done(&moved, &Operation::Merge { track: other, into: PARKED });
    let from_it = merged.track(PARKED).unwrap().boxes.values().filter(|state| state.origin == Some(DRIVING)).count();
    assert!(from_it > 0);
}
