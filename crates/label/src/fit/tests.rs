//! Promises of the fit stage.

use proptest::prelude::*;

use super::*;

/// The two sides of a car-sized rectangle that face a lidar at the origin.
fn two_faces(center: [f64; 2], yaw: f64, length: f64, width: f64) -> Vec<[f32; 3]> {
    let (sin, cos) = yaw.sin_cos();
    let lidar = [-center[0] * cos - center[1] * sin, -center[1] * cos + center[0] * sin];
    let mut points = Vec::new();
    for step in 0..=60 {
        let share = f64::from(step) / 60.0 - 0.5;
        let mut local = Vec::new();
        if lidar[0].abs() > length / 2.0 {
            local.push([lidar[0].signum() * length / 2.0, share * width]);
        }
        if lidar[1].abs() > width / 2.0 {
            local.push([share * length, lidar[1].signum() * width / 2.0]);
        }
        for [u, v] in local {
            for z in [0.3, 0.8, 1.4] {
                points.push([(center[0] + u * cos - v * sin) as f32, (center[1] + u * sin + v * cos) as f32, z]);
            }
        }
    }
    points
}

fn fit(points: &[[f32; 3]]) -> Option<Shape> {
    let members: Vec<u32> = (0..points.len() as u32).collect();
    let heights: Vec<f32> = points.iter().map(|p| p[2]).collect();
    fit_box(points, &heights, &members, [0.0; 2], &FitConfig::default())
}

proptest! {
    #[test]
    fn two_visible_faces_give_back_the_rectangle(x in 8.0..30.0f64, y in -20.0..20.0f64, yaw in 0.0..3.1f64) {
        let (length, width) = (4.4, 1.8);
        let points = two_faces([x, y], yaw, length, width);
        let shape = fit(&points).unwrap();
        let turn = (shape.yaw_rad - yaw).rem_euclid(std::f64::consts::FRAC_PI_2);
        let error = turn.min(std::f64::consts::FRAC_PI_2 - turn);
        prop_assert!(error < 0.04, "yaw error {}", error);
        let [a, b] = shape.extents_m();
        let cuboid = shape.complete([length, width, 1.5], a < b, [0.0; 2]);
        // One face alone hides the depth, and which way the rectangle lies: only two faces give the centre.
        if a.min(b) > 1.0 {
            prop_assert!((cuboid.center_m.x - x).hypot(cuboid.center_m.y - y) < 0.25);
        }
    }
}

#[test]
fn views_that_are_shifted_against_each_other_agree_on_a_heading() {
    // A car that stands, seen from a vehicle whose pose drifts: laid over each other, its sides are as wide as the drift.
    let yaw = 0.6;
    let views: Vec<Vec<[f64; 2]>> = (0..12)
        .map(|view| {
            let drift_m = 0.4 * f64::from(view);
            let (x, y) = (10.0 + 0.18 * drift_m, 4.0 + 0.98 * drift_m);
            two_faces([x, y], yaw, 4.4, 1.8).iter().map(|p| [f64::from(p[0]), f64::from(p[1])]).collect()
        })
        .collect();
    let error = |found: f64| {
        let turn = (found - yaw).rem_euclid(std::f64::consts::FRAC_PI_2);
        turn.min(std::f64::consts::FRAC_PI_2 - turn)
    };
    let weighed: Vec<(&[[f64; 2]], f64)> = views.iter().map(|view| (view.as_slice(), 1.0)).collect();
    assert!(error(common_yaw(&weighed, 0.05)) < 0.02);
    let (of_all, _) = best_yaw(&views.concat(), 0.05);
    assert!(error(of_all) > 0.1, "what the views are for: {of_all}");
    // One that is wrong is outvoted, and counts as much as its weight.
    let wrong: Vec<[f64; 2]> = two_faces([10.0, 4.0], 0.1, 4.4, 1.8).iter().map(|p| [f64::from(p[0]), f64::from(p[1])]).collect();
    let with_wrong = |weight: f64| common_yaw(&[weighed.as_slice(), &[(wrong.as_slice(), weight)]].concat(), 0.05);
    assert!(error(with_wrong(1.0)) < 0.02);
    assert!(error(with_wrong(1000.0)) > 0.4);
}

#[test]
fn the_far_side_grows_and_the_near_one_stays() {
    let points: Vec<[f32; 3]> = (0..40).flat_map(|i| [0.3, 1.4].map(|z| [10.0, -0.9 + 0.045 * i as f32, z])).collect();
    let shape = fit(&points).unwrap();
    let along_x = shape.extents_m()[0] < shape.extents_m()[1];
    let car = shape.complete([4.5, 1.8, 1.5], !along_x, [0.0; 2]);
    assert!((car.center_m.x - 12.25).abs() < 0.05, "{car:?}");
    assert!(car.center_m.y.abs() < 0.05);
}

#[test]
fn degenerate_groups_have_no_shape_or_a_finite_one() {
    assert!(fit(&[]).is_none());
    assert!(fit(&[[5.0, 5.0, 1.0]; 2]).is_none());
    let same = fit(&[[5.0, 5.0, 1.0]; 500]).unwrap();
    assert!(same.yaw_rad.is_finite() && same.extents_m() == [0.0; 2]);
    let line: Vec<[f32; 3]> = (0..300).map(|i| [i as f32, 0.0, 1.0]).collect();
    assert!(fit(&line).is_none());
}

#[test]
fn what_stands_to_the_left_covers_the_end_that_lies_to_the_left() {
    let ends = |yaw_deg: f64, covered: [bool; 2]| covered_ends([20.0, 0.0], yaw_deg.to_radians(), [0.0; 2], covered);
    let [start, end] = [[true, false], [false, true]];
    let none = [false; 2];
    // Seen from the origin, left is y. Across the line of sight the length ends there, or begins there.
    assert_eq!(ends(90.0, [true, false]), [end, none]);
    assert_eq!(ends(90.0, [false, true]), [start, none]);
    assert_eq!(ends(-90.0, [true, false]), [start, none]);
    assert_eq!(ends(90.0, [true, true]), [[true; 2], none]);
    // Along it the width does.
    assert_eq!(ends(0.0, [true, false]), [none, end]);
    assert_eq!(ends(180.0, [true, false]), [none, start]);
    // Of two faces that are seen, the one to the left ends there at its far end; near ends are seen.
    assert_eq!(ends(45.0, [true, false]), [end, none]);
    assert_eq!(ends(-45.0, [true, false]), [none, end]);
    assert_eq!(ends(45.0, none), NOT_COVERED);
}
