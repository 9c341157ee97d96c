//! What each edit promises.

use std::f64::consts::FRAC_PI_2;

use proptest::prelude::*;

use super::*;

fn car(yaw_rad: f64) -> Cuboid {
    Cuboid::upright(Vector3::new(10.0, 5.0, 1.0), Vector3::new(4.0, 2.0, 1.6), yaw_rad)
}

fn near(one: &Cuboid, two: &Cuboid) -> bool {
    (one.center_m - two.center_m).norm() < 1e-9
        && (one.size_lwh_m - two.size_lwh_m).norm() < 1e-9
        && one.rotation.angle_to(&two.rotation) < 1e-7
}

#[test]
fn a_move_follows_the_heading() {
    let moved = moved(&car(FRAC_PI_2), [1.0, 0.0, 0.5]).unwrap();
    assert!((moved.center_m - Vector3::new(10.0, 6.0, 1.5)).norm() < 1e-12, "{moved:?}");
}

#[test]
fn pulling_a_side_leaves_the_opposite_side_where_it_is() {
    let pulled = sized(&car(0.0), Face::Front, 0.6).unwrap();
    assert_eq!(pulled.size_lwh_m.x, 4.6);
    assert!((pulled.center_m.x - pulled.size_lwh_m.x / 2.0 - 8.0).abs() < 1e-12, "the back stays at 8 m");
    let lifted = sized(&car(0.3), Face::Bottom, -0.2).unwrap();
    assert!((lifted.center_m.z + lifted.size_lwh_m.z / 2.0 - 1.8).abs() < 1e-12, "the roof stays at 1.8 m");
}

#[test]
fn a_flip_twice_is_nothing_and_once_is_half_a_turn() {
    let once = flipped(&car(0.4));
    assert!((wrap_rad(once.yaw_rad() - 0.4).abs() - PI).abs() < 1e-9);
    assert!(near(&flipped(&once), &car(0.4)));
}

#[test]
fn setting_on_the_ground_carries_the_box_and_keeps_its_size() {
    let set = grounded(&car(0.1), -0.3).unwrap();
    assert_eq!(set.size_lwh_m, car(0.1).size_lwh_m);
    assert!((set.center_m.z - 0.8 + 0.3).abs() < 1e-12);
}

#[test]
fn another_size_grows_away_from_who_measured() {
    // Seen from the origin, the back of the car (at 8 m) and its right side (at 4 m) face the lidar.
    let grown = resized_from(&car(0.0), [5.0, 2.4, 1.8], [0.0; 3]).unwrap();
    assert!((grown.center_m.x - 2.5 - 8.0).abs() < 1e-12);
    assert!((grown.center_m.y - 1.2 - 4.0).abs() < 1e-12);
    assert!((grown.center_m.z - 0.9 - 0.2).abs() < 1e-12, "the lower side stays");
}

#[test]
fn shrinking_leaves_two_centimetres_about_the_points_and_does_not_count_the_road() {
    let mut points = Vec::new();
    for x in [9.0f32, 10.0, 11.0] {
        for y in [4.5f32, 5.5] {
            points.push([x, y, 1.5]);
            // Road inside the box, further out than the object.
            points.push([x + 0.9, y, 0.22]);
        }
    }
    let shrunk = shrink(&car(0.0), &points).unwrap();
    for (got, expected) in shrunk.size_lwh_m.iter().zip([2.04, 1.04, 1.32]) {
        assert!((got - expected).abs() < 1e-6, "{shrunk:?}");
    }
    assert!((shrunk.center_m.z - shrunk.size_lwh_m.z / 2.0 - 0.2).abs() < 1e-9, "the lower side stays");
    let refused = shrink(&car(0.0), &points[..4]).unwrap_err();
    assert!(refused.0.contains("at least 5 points"), "{refused}");
}

#[test]
fn between_two_boxes_the_heading_takes_the_shorter_way() {
    let (from, to) = (car(3.0), Cuboid { center_m: Vector3::new(14.0, 5.0, 1.0), ..car(-3.0) });
    let middle = between(&from, &to, 0.5);
    assert!((middle.center_m.x - 12.0).abs() < 1e-12);
    assert!((wrap_rad(middle.yaw_rad()).abs() - PI).abs() < 1e-9, "over the back, not over the front");
}

#[test]
fn what_is_no_box_is_refused_with_both_sides() {
    assert!(sized(&car(0.0), Face::Left, -1.98).unwrap_err().0.contains("got 0.020 m"));
    assert!(moved(&car(0.0), [f64::NAN, 0.0, 0.0]).is_err());
    assert!(moved(&car(0.0), [201.0, 0.0, 0.0]).unwrap_err().0.contains("at most 200 m"));
    assert!(turned(&car(0.0), f64::INFINITY).is_err());
}

proptest! {
    #[test]
    fn each_edit_has_its_opposite(yaw in -3.1..3.1f64, by in -1.0..1.0f64, turn in -3.0..3.0f64) {
        let start = car(yaw);
        let there = turned(&moved(&start, [by, -by, by / 2.0]).unwrap(), turn).unwrap();
        let back = moved(&turned(&there, -turn).unwrap(), [-by, by, -by / 2.0]).unwrap();
        prop_assert!(near(&back, &start));
        for face in [Face::Front, Face::Back, Face::Left, Face::Right, Face::Top, Face::Bottom] {
            prop_assert!(near(&sized(&sized(&start, face, by).unwrap(), face, -by).unwrap(), &start));
        }
    }

    #[test]
    fn turning_keeps_the_centre_and_adds_up(yaw in -3.1..3.1f64, turn in -3.0..3.0f64) {
        let once = turned(&car(yaw), turn).unwrap();
        prop_assert_eq!(once.center_m, car(yaw).center_m);
        prop_assert!((wrap_rad(once.yaw_rad() - yaw - turn)).abs() < 1e-9 || (wrap_rad(once.yaw_rad() - yaw - turn).abs() - 2.0 * PI).abs() < 1e-9);
    }
}
