//! Promises of the ground stage.

use super::*;

/// A road that falls or rises along x, sampled in rings as a lidar does, with a car's side and a reflection below the road.
fn sloped_road(slope: f32, lidar_height: f32) -> (Vec<[f32; 3]>, usize) {
    let mut points = Vec::new();
    for ring in 0..40 {
        let range = 3.0 * 1.08f32.powi(ring);
        for step in 0..360 {
            let (sin, cos) = (step as f32).to_radians().sin_cos();
            points.push([range * cos, range * sin, slope * range * cos - lidar_height]);
        }
    }
    let road = points.len();
    for row in 0..10 {
        for column in 0..40 {
            let x = 8.0 + 0.1 * column as f32;
            points.push([x, 4.0, slope * x - lidar_height + 0.4 + 0.1 * row as f32]);
        }
    }
    points.push([12.0, 1.0, -lidar_height - 3.0]);
    (points, road)
}

#[test]
fn the_road_is_ground_and_the_car_is_not_at_any_lidar_height_and_slope() {
    for height in [0.0, 0.4, 1.73, 3.2] {
        for slope in [-0.08, 0.0, 0.08] {
            let (points, road) = sloped_road(slope, height);
            let ground = segment(&points, [0.0; 3], &GroundConfig::default());
            let is_ground = |range: std::ops::Range<usize>| ground.height_above_m[range].iter().filter(|h| **h < 0.22).count();
            assert!(is_ground(0..road) * 100 >= road * 98, "height {height} slope {slope}: {} of {road}", is_ground(0..road));
            assert!(is_ground(road..points.len() - 1) < 20, "height {height} slope {slope}");
            // The surface itself is known better than what is left out of shapes: so near Patchwork++ asks a point to be.
            let on_surface = ground.height_above_m[..road].iter().filter(|above_m| **above_m < 0.125).count();
            assert!(on_surface * 100 >= road * 97, "height {height} slope {slope}: {on_surface} of {road}");
        }
    }
}

#[test]
fn few_or_equal_points_are_no_trouble() {
    for points in [vec![], vec![[1.0, 2.0, 3.0]], vec![[5.0, 5.0, -1.0]; 1000]] {
        let ground = segment(&points, [0.0; 3], &GroundConfig::default());
        assert_eq!(ground.height_above_m.len(), points.len());
        assert!(ground.height_above_m.iter().all(|h| h.is_finite()));
    }
}

#[test]
fn a_slope_that_ends_out_of_sight_is_not_carried_on() {
    let height = |x: f32| 0.1 * x.clamp(0.0, 14.0);
    let mut points = Vec::new();
    for ring in 0..44 {
        let range = 3.0 * 1.08f32.powi(ring);
        for step in 0..720 {
            let (sin, cos) = (step as f32 / 2.0).to_radians().sin_cos();
            let (x, y) = (range * cos, range * sin);
            // A wide hall hides the road ahead from where the slope ends; beside it the level road is seen.
            let hidden = x > 14.0 && y.abs() < 6.0 && x < 30.0;
            if !hidden {
                points.push([x, y, height(x) - 1.7]);
            }
        }
    }
    let ground = segment(&points, [0.0; 3], &GroundConfig::default());
    for x in [16.0, 22.0, 28.0, 40.0] {
        let found = ground.grid.at(x, 0.0);
        assert!((found - (height(x) - 1.7)).abs() < 0.2, "at {x} m: expected {}, got {found}", height(x) - 1.7);
    }
}

#[test]
fn under_a_car_beside_the_vehicle_is_the_road_and_not_the_pavement_behind_it() {
    // The lowest beam meets the road 4.5 m away; 4 m to the right a kerb, seen above the roof of a car that stands before it.
    for slope in [0.0, 0.05] {
        let road = |x: f32, y: f32| slope * x - if y < -4.0 { 1.6 } else { 1.8 };
        let mut points = Vec::new();
        for ring in 0..36 {
            let range = 4.5 * 1.08f32.powi(ring);
            for step in 0..720 {
                let (sin, cos) = (step as f32 / 2.0).to_radians().sin_cos();
                points.push([range * cos, range * sin, road(range * cos, range * sin)]);
            }
        }
        let ground = points.len();
        for (step, row) in (0..45).flat_map(|step| (0..8).map(move |row| (step, row))) {
            let x = -2.2 + 0.1 * step as f32;
            points.push([x, -2.2, slope * x - 1.3 + 0.1 * row as f32]);
        }
        let found = segment(&points, [0.0; 3], &GroundConfig::default());
        for (x, y) in [(-2.0, -2.2), (0.0, -3.0), (2.0, -3.5), (0.0, 0.0), (3.0, 2.0)] {
            assert!(
                (found.grid.at(x, y) - road(x, y)).abs() < 0.07,
                "{slope} {x} {y}: expected {}, got {}",
                road(x, y),
                found.grid.at(x, y)
            );
        }
        assert!(found.height_above_m[ground..].iter().all(|above_m| *above_m > 0.4));
    }
}

#[test]
fn a_lidar_that_looks_ahead_does_not_know_what_it_stands_on() {
    // Level to 6 m, then a ramp: the plane of most of what is seen would be half a metre too low at the vehicle.
    let height = |x: f32| 0.12 * (x - 6.0).max(0.0);
    let mut points = Vec::new();
    for ring in 0..36 {
        let range = 3.5 * 1.08f32.powi(ring);
        for step in -120..=120 {
            let (sin, cos) = (step as f32 / 2.0).to_radians().sin_cos();
            points.push([range * cos, range * sin, height(range * cos) - 1.8]);
        }
    }
    let found = segment(&points, [0.0; 3], &GroundConfig::default());
    for (x, y) in [(0.0, 0.0), (2.0, 3.0), (-3.0, 0.0)] {
        assert!((found.grid.at(x, y) + 1.8).abs() < 0.1, "{x} {y}: expected -1.8, got {}", found.grid.at(x, y));
    }
}
