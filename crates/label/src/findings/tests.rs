//! Promises of the rules: each speaks when it must and is silent when all is well.

use std::sync::Arc;

use boxwright_model::{ClassId, ClipId, Cuboid, LabelSource};
use nalgebra::Vector3;

use super::*;

fn taxonomy() -> Taxonomy {
    Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap()
}

/// A car of track `number` in ten samples, as `change` makes it in each.
fn car(number: u32, change: impl Fn(i64, &mut Box3)) -> (Vec<Box3>, Track) {
    let track_id = TrackId { clip: ClipId(0), number };
    let cuboid = Cuboid::upright(Vector3::new(10.0, 8.0 * f64::from(number), 0.8), Vector3::new(4.5, 1.8, 1.55), 0.0);
    let boxes: Vec<Box3> = (0..10)
        .map(|sample| {
            let mut b = Box3 {
                sample_id: Arc::from(format!("v:{sample}")),
                sample_stamp_ns: sample,
                stamp_ns: sample,
                points_ns: [sample; 2],
                measured_world_center_m: cuboid.center_m,
                track_id,
                class: ClassId(0),
                score: 0.9,
                ego_from_box: cuboid,
                world_from_box: cuboid,
                velocity_world_mps: [0.0; 2],
                num_lidar_pts: 100,
                predicted: false,
                source: LabelSource::Auto,
                evidence: String::new(),
            };
            change(sample, &mut b);
            b
        })
        .collect();
    let track = Track {
        track_id,
        class: ClassId(0),
        score: 0.9,
        first_stamp_ns: 0,
        last_stamp_ns: 9,
        boxes: 10,
        is_static: true,
        size_lwh_m: boxes[0].world_from_box.size_lwh_m.into(),
        review_priority_s: 1.0,
    };
    (boxes, track)
}

fn rules(cars: Vec<(Vec<Box3>, Track)>) -> Vec<&'static str> {
    let (boxes, tracks): (Vec<_>, Vec<_>) = cars.into_iter().unzip();
    let mut boxes: Vec<Box3> = boxes.into_iter().flatten().collect();
    boxes.sort_by_key(|b| (b.sample_stamp_ns, b.track_id));
    let found = inspect(&boxes, &tracks, &taxonomy(), &FindingsConfig::default());
    for finding in &found {
        assert!(finding.message.contains("expected") && finding.message.contains("got"), "{}", finding.message);
        assert!(serde_json::from_str::<serde_json::Value>(&finding.values).unwrap().is_object());
    }
    found.iter().map(|finding| finding.rule).collect()
}

#[test]
fn two_sound_cars_raise_nothing() {
    assert!(rules(vec![car(1, |_, _| ()), car(2, |_, _| ())]).is_empty());
}

#[test]
fn each_fault_raises_its_own_rule_once() {
    assert_eq!(rules(vec![car(1, |_, b| b.velocity_world_mps = [60.0, 50.0])]), ["BW-L001"]);
    assert_eq!(rules(vec![car(1, |_, b| b.world_from_box.size_lwh_m.x = 7.5)]), ["BW-L002"]);
    assert_eq!(rules(vec![car(1, |sample, b| b.world_from_box.center_m.z += if sample >= 5 { 1.0 } else { 0.0 })]), ["BW-L003"]);
    assert_eq!(rules(vec![car(1, |_, _| ()), car(2, |_, b| b.ego_from_box.center_m.y = 8.5)]), ["BW-L004"]);
    assert_eq!(rules(vec![car(1, |_, b| b.num_lidar_pts = 4)]), ["BW-L005"]);
    assert_eq!(rules(vec![car(1, |sample, b| b.predicted = (1..=9).contains(&sample))]), ["BW-L006"]);
}

#[test]
fn a_floor_is_compared_only_with_that_of_the_next_sample() {
    use boxwright_model::time::NS_PER_S;
    let on_a_slope = |apart_ns: i64| {
        car(1, move |sample, b| {
            b.sample_stamp_ns = sample * apart_ns;
            b.world_from_box.center_m.z += 0.6 * sample as f64;
        })
    };
    assert!(rules(vec![on_a_slope(NS_PER_S / 2)]).contains(&"BW-L003"));
    assert!(rules(vec![on_a_slope(3 * NS_PER_S)]).is_empty(), "hidden for three seconds each time");
    // Hidden in every second sample, in which another one is seen.
    let beside = car(2, |sample, b| b.sample_stamp_ns = sample * NS_PER_S / 2 + NS_PER_S / 4);
    assert!(!rules(vec![on_a_slope(NS_PER_S / 2), beside]).contains(&"BW-L003"));
}
