//! What images say of shapes.

use boxwright_model::ClassId;

use super::*;
use crate::fit::{FitConfig, fit_box};
use crate::moments::PointMoment;

fn taxonomy() -> Arc<Taxonomy> {
    Arc::new(Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap())
}

/// The back and the left side of a car, 15 m ahead, which is as much like a truck.
fn candidate() -> Candidate {
    let mut points: Vec<[f32; 3]> = Vec::new();
    for step in 0..30 {
        let share = step as f32 / 29.0;
        points.extend([0.3, 1.5].map(|z| [13.0, 1.1 + 1.8 * share, z]));
        points.extend([0.3, 1.5].map(|z| [13.0 + 4.5 * share, 1.1, z]));
    }
    let members: Vec<u32> = (0..points.len() as u32).collect();
    let heights: Vec<f32> = points.iter().map(|p| p[2]).collect();
    let shape = fit_box(&points, &heights, &members, [0.0; 2], &FitConfig::default()).unwrap();
    let turned = shape.extents_m()[1] > shape.extents_m()[0];
    let vote = |id| Vote { class: ClassId(id), logit: if id < 2 { -0.2 } else { IMPOSSIBLE }, camera: None, turned };
    Candidate {
        cut_out: false,
        outline_moments: vec![PointMoment::default(); shape.outline.len()],
        ego_from_box: shape.complete([4.5, 1.8, 1.5], turned, [0.0; 2]),
        shape,
        votes: (0..4).map(vote).collect(),
        class: ClassId(0),
        score: 0.45,
        lidar_xy: [0.0; 2],
        stamp_ns: 0,
        points_ns: [0; 2],
        holds_after_ns: 0,
        covered_left_right: [false; 2],
        given_by: None,
    }
}

/// A pinhole at the origin that looks ahead.
fn pixel([x, y, z]: [f64; 3]) -> Option<[f64; 2]> {
    (x > 0.1).then(|| [500.0 - 500.0 * y / x, 300.0 - 500.0 * z / x])
}

fn looked(boxes: &[ImageBox], size_px: [f64; 2]) -> Candidate {
    let mut candidates = [candidate()];
    let look_at = Look { sensor: "front".into(), size_px, boxes, pixel: &pixel };
    look(&mut candidates, &[look_at], &taxonomy(), &LookConfig::default());
    let [candidate] = candidates;
    candidate
}

fn rect() -> [f64; 4] {
    let look = Look { sensor: "front".into(), size_px: [1000.0, 600.0], boxes: &[], pixel: &pixel };
    projected(&candidate().ego_from_box, &look).unwrap()
}

#[test]
fn a_box_of_the_network_over_the_object_is_a_vote_for_its_class() {
    let found = ImageBox { classes: vec![ClassId(0)], score: 0.9, ltrb_px: rect() };
    let seen = looked(&[found], [1000.0, 600.0]);
    let camera: Vec<Option<f64>> = seen.votes.iter().map(|vote| vote.camera).collect();
    assert_eq!(seen.class, ClassId(0));
    assert!(seen.score > 0.8, "{}", seen.score);
    assert!(camera[0].unwrap() > 1.0 && camera[1].unwrap() < -0.5, "{camera:?}");
    assert_eq!(&camera[2..], [None, None], "what the shape cannot be is not asked for");
}

#[test]
fn what_the_network_does_not_find_is_followed_all_the_same_and_counts_against_the_track() {
    let elsewhere = ImageBox { classes: vec![ClassId(0)], score: 0.9, ltrb_px: rect().map(|value| value + 300.0) };
    let (seen, alone) = (looked(&[elsewhere], [1000.0, 600.0]), candidate());
    let best_of_shape = alone.votes.iter().map(|vote| vote.logit).fold(IMPOSSIBLE, f64::max);
    assert!((seen.score - probability(best_of_shape)).abs() < 1e-9, "{}", seen.score);
    assert_eq!(seen.votes[0].camera, Some(-LookConfig::default().missed_logit));
    assert!(of_track([(1.0, seen.votes.as_slice()); 9].into_iter(), 1).logits[0] < -0.8);
}

#[test]
fn a_box_of_the_network_is_one_object() {
    let found = [ImageBox { classes: vec![ClassId(0)], score: 0.9, ltrb_px: rect() }];
    // The same thing a little to the side covers the box less well.
    let mut beside = candidate();
    beside.shape.span_m[1] = beside.shape.span_m[1].map(|at| at + 0.3);
    let mut candidates = [beside.clone(), candidate()];
    let look_at = Look { sensor: "front".into(), size_px: [1000.0, 600.0], boxes: &found, pixel: &pixel };
    look(&mut candidates, &[look_at], &taxonomy(), &LookConfig::default());
    assert!(candidates[1].score > 0.8);
    assert_eq!(candidates[0].votes[0].camera, None, "neither for nor against what the box may hide");
    assert!(candidates[0].score < 0.6);
}

#[test]
fn what_no_image_shows_gets_no_vote() {
    let seen = looked(&[], [100.0, 60.0]);
    assert_eq!(seen, candidate());
}

#[test]
fn one_look_counts_less_than_many_and_frames_may_be_left_out() {
    let vote = |camera| vec![Vote { class: ClassId(0), logit: 0.0, camera, turned: false }];
    let (yes, none) = (vote(Some(3.0)), vote(None));
    let logit = |votes: &[&Vec<Vote>]| of_track(votes.iter().map(|votes| (1.0, votes.as_slice())), 1).logits[0];
    assert_eq!(logit(&[&none, &none]), 0.0);
    assert!(logit(&[&yes]) < logit(&[&yes, &yes]) && logit(&[&yes; 9]) < 3.0);
    assert_eq!(logit(&[&yes, &none, &none, &yes]), logit(&[&yes, &yes]));
}
