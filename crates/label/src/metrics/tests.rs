//! Promises of the metrics.

use boxwright_model::{ClipId, LabelSource};
use nalgebra::Vector3;
use proptest::prelude::*;

use super::*;

fn taxonomy() -> Taxonomy {
    Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap()
}

fn rect() -> impl Strategy<Value = Rect> {
    (-3.0..3.0f64, -3.0..3.0f64, 0.2..3.0f64, 0.2..3.0f64, -4.0..4.0f64).prop_map(|(x, y, a, b, yaw_rad)| Rect {
        center: [x, y],
        half: [a, b],
        yaw_rad,
    })
}

/// Share of a regular grid over the first rectangle that lies in the second, times the area of the first.
fn sampled(a: &Rect, b: &Rect) -> f64 {
    const SIDE: usize = 120;
    let (sin, cos) = a.yaw_rad.sin_cos();
    let at = |step: usize, half: f64| ((step as f64 + 0.5) / SIDE as f64 * 2.0 - 1.0) * half;
    let inside = (0..SIDE * SIDE)
        .filter(|index| {
            let (u, v) = (at(index % SIDE, a.half[0]), at(index / SIDE, a.half[1]));
            b.contains([a.center[0] + u * cos - v * sin, a.center[1] + u * sin + v * cos])
        })
        .count();
    a.area() * inside as f64 / (SIDE * SIDE) as f64
}

proptest! {
    #[test]
    fn the_intersection_is_what_sampling_finds(a in rect(), b in rect()) {
        prop_assert!((a.intersection(&b) - sampled(&a, &b)).abs() < 0.03 * a.area() + 0.01);
        prop_assert!((a.intersection(&b) - b.intersection(&a)).abs() < 1e-9 * (1.0 + a.area()));
    }

    #[test]
    fn a_rectangle_overlaps_itself_wholly_whichever_way_it_faces(a in rect()) {
        let back = Rect { yaw_rad: a.yaw_rad + std::f64::consts::PI, ..a };
        prop_assert!((a.intersection(&back) / a.area() - 1.0).abs() < 1e-9);
    }
}

fn truth(object_id: u32, class: &str, x: f64, num_lidar_pts: u32) -> TruthBox {
    let size = if class == "car" { Vector3::new(4.0, 2.0, 1.5) } else { Vector3::new(0.6, 0.6, 1.7) };
    TruthBox {
        stamp_ns: 5,
        object_id,
        class: class.into(),
        ego_from_box: Cuboid::upright(Vector3::new(x, 0.0, 0.8), size, 0.0),
        num_lidar_pts,
    }
}

fn label(number: u32, class: &str, x: f64, score: f64) -> Box3 {
    let size = if class == "pedestrian" { Vector3::new(0.6, 0.6, 1.7) } else { Vector3::new(4.0, 2.0, 1.5) };
    let cuboid = Cuboid::upright(Vector3::new(x, 0.0, 0.8), size, std::f64::consts::PI);
    Box3 {
        sample_id: "v:5".into(),
        sample_stamp_ns: 5,
        stamp_ns: 5,
        points_ns: [5; 2],
        measured_world_center_m: cuboid.center_m,
        track_id: TrackId { clip: ClipId(0), number },
        class: taxonomy().find(class).unwrap(),
        score,
        ego_from_box: cuboid,
        world_from_box: cuboid,
        velocity_world_mps: [0.0; 2],
        num_lidar_pts: 50,
        predicted: false,
        source: LabelSource::Auto,
        evidence: String::new(),
    }
}

#[test]
fn each_truth_is_matched_once_and_by_the_surest_label() {
    let truth = [truth(1, "car", 10.0, 50), truth(2, "pedestrian", 20.0, 50)];
    let labels = [label(1, "car", 10.2, 0.9), label(2, "car", 9.9, 0.5), label(3, "pedestrian", 20.3, 0.8)];
    let found = evaluate(&truth, &labels, &taxonomy(), &Criterion::default());
    assert_eq!(found.all, Score { tp: 2, fp: 1, fn_: 0 });
    assert_eq!((found.vehicles.fp, found.people.tp), (1, 1));
    assert!((found.precision - 2.0 / 3.0).abs() < 1e-12 && found.recall == 1.0);
}

#[test]
fn ignored_truth_neither_rewards_nor_punishes() {
    let truth = [truth(1, "car", 10.0, 9), truth(2, "car", 60.0, 500), truth(3, "tram", 30.0, 500)];
    let labels = [
        label(1, "car", 10.0, 0.9),
        label(2, "car", 60.0, 0.9),
        label(3, "car", 30.0, 0.9),
        label(4, "unknown_movable", 20.0, 0.9),
    ];
    let found = evaluate(&truth, &labels, &taxonomy(), &Criterion::default());
    assert_eq!((found.all, found.unclaimed), (Score::default(), 1));
}

#[test]
fn a_truck_called_a_car_is_found_but_its_class_is_not_right() {
    let found = evaluate(&[truth(1, "car", 10.0, 50)], &[label(1, "truck", 10.0, 0.9)], &taxonomy(), &Criterion::default());
    assert_eq!((found.all.tp, found.class_right), (1, 0));
    let strict = Criterion { same_class: true, ..Criterion::default() };
    let found = evaluate(&[truth(1, "car", 10.0, 50)], &[label(1, "truck", 10.0, 0.9)], &taxonomy(), &strict);
    assert_eq!(found.all, Score { tp: 0, fp: 1, fn_: 1 });
}

#[test]
fn a_change_of_track_is_one_switch() {
    let mut later = truth(1, "car", 10.0, 50);
    later.stamp_ns = 6;
    let mut second = label(2, "car", 10.0, 0.9);
    second.sample_stamp_ns = 6;
    let found =
        evaluate(&[truth(1, "car", 10.0, 50), later], &[label(1, "car", 10.0, 0.9), second], &taxonomy(), &Criterion::default());
    assert_eq!((found.all.tp, found.id_switches), (2, 1));
}
