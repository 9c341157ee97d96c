//! Rooms and streets of known motion, places that are another, and input of every kind.

use boxwright_model::{PointCloud, Pose};
use nalgebra::{Point3, Translation3, UnitQuaternion, Vector3};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::voxels::{MAX_VOXELS, POINTS_PER_VOXEL};

const PERIOD_NS: i64 = 100_000_000;
/// Height of the lidar, which is the ego frame here, above the ground.
const HEIGHT_M: f64 = 1.8;

/// Ground, and blocks that stand on it: least and greatest corner.
struct Place {
    blocks: Vec<[[f64; 3]; 2]>,
}

impl Place {
    /// A street of houses, lamp posts and parked cars of irregular size and distance, from `-100` to `length_m`.
    fn street(seed: u64, length_m: f64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut blocks = Vec::new();
        for side in [-1.0, 1.0] {
            let mut x = -100.0;
            while x < length_m {
                let (long, high, near): (f64, f64, f64) =
                    (chance.random_range(4.0..14.0), chance.random_range(3.0..12.0), chance.random_range(8.0..13.0));
                blocks.push(block(side, x, long, near, 10.0, high));
                blocks.push(block(side, x + chance.random_range(0.0..4.0), 0.3, chance.random_range(5.0..6.0), 0.3, 6.0));
                if chance.random_bool(0.5) {
                    blocks.push(block(side, x + chance.random_range(0.0..4.0), 4.3, 3.5, 1.8, 1.5));
                }
                x += long + chance.random_range(0.5..4.0);
            }
        }
        Self { blocks }
    }

    /// Distance along a ray to the first surface, at most 90 m.
    fn cast(&self, from: &Point3<f64>, along: &Vector3<f64>) -> Option<f64> {
        let ground = if along.z < 0.0 { -from.z / along.z } else { f64::INFINITY };
        let hits = self.blocks.iter().filter_map(|[least, most]| {
            let (mut near, mut far) = (0.0_f64, f64::INFINITY);
            for axis in 0..3 {
                let (a, b) = ((least[axis] - from[axis]) / along[axis], (most[axis] - from[axis]) / along[axis]);
                (near, far) = (near.max(a.min(b)), far.min(a.max(b)));
            }
            (near < far && near > 0.0).then_some(near)
        });
        Some(hits.fold(ground, f64::min)).filter(|distance| *distance < 90.0)
    }
}

fn block(side: f64, x: f64, long: f64, near: f64, deep: f64, high: f64) -> [[f64; 3]; 2] {
    let (a, b) = (side * near, side * (near + deep));
    [[x, a.min(b), 0.0], [x + long, a.max(b), high]]
}

/// A vehicle on an arc: forward speed and turn rate.
#[derive(Clone, Copy)]
struct Motion {
    speed_mps: f64,
    turn_radps: f64,
}

impl Motion {
    fn at(&self, seconds: f64) -> Pose {
        let yaw = self.turn_radps * seconds;
        let (x, y) = match self.turn_radps {
            0.0 => (self.speed_mps * seconds, 0.0),
            turn => (self.speed_mps / turn * yaw.sin(), self.speed_mps / turn * (1.0 - yaw.cos())),
        };
        Pose::from_parts(Translation3::new(x, y, HEIGHT_M), UnitQuaternion::from_axis_angle(&Vector3::z_axis(), yaw))
    }
}

/// A sweep of 24 beams that is stamped at its end; the vehicle drives on while it is made where `turns_while_driving`.
fn sweep(place: &Place, motion: &Motion, number: usize, turns_while_driving: bool, noise_m: f64, seed: u64) -> PointCloud {
    let mut chance = ChaCha8Rng::seed_from_u64(seed ^ number as u64);
    let mut cloud = PointCloud { time_offset_ns: Some(Vec::new()), ..PointCloud::default() };
    let end_s = number as f64 * PERIOD_NS as f64 / 1e9;
    const COLUMNS: usize = 720;
    for column in 0..COLUMNS {
        let offset_ns = if turns_while_driving { PERIOD_NS * column as i64 / COLUMNS as i64 - PERIOD_NS } else { 0 };
        let pose = motion.at(end_s + offset_ns as f64 / 1e9);
        let azimuth = std::f64::consts::TAU * column as f64 / COLUMNS as f64;
        for beam in 0..24 {
            let up = (-20.0 + f64::from(beam)).to_radians();
            let along = Vector3::new(up.cos() * azimuth.cos(), up.cos() * azimuth.sin(), up.sin());
            let Some(distance) = place.cast(&Point3::from(pose.translation.vector), &(pose.rotation * along)) else { continue };
            let point = along * (distance + noise_m * (chance.random_range(-1.0..1.0) + chance.random_range(-1.0..1.0)));
            cloud.x.push(point.x as f32);
            cloud.y.push(point.y as f32);
            cloud.z.push(point.z as f32);
            if let Some(times) = cloud.time_offset_ns.as_mut() {
                times.push(offset_ns as i32);
            }
        }
    }
    cloud.intensity = vec![0.0; cloud.x.len()];
    cloud
}

/// Farthest from the truth in metres and degrees over a drive.
fn worst(place: &Place, motion: &Motion, sweeps: usize, turns_while_driving: bool, is_deskewed: bool) -> (f64, f64) {
    let mut odometry = Odometry::new(&OdometryConfig::default());
    let world_from_first = motion.at(0.0);
    let mut worst = (0.0_f64, 0.0_f64);
    for number in 0..sweeps {
        let points = sweep(place, motion, number, turns_while_driving, 0.02, 1);
        let found = odometry.sweep(number as i64 * PERIOD_NS, &points, is_deskewed);
        let found = found.unwrap_or_else(|reason| panic!("sweep {number}: {}", reason.describe()));
        let truth = world_from_first.inv_mul(&motion.at(number as f64 * PERIOD_NS as f64 / 1e9));
        let off = truth.inv_mul(&found);
        worst = (worst.0.max(off.translation.vector.norm()), worst.1.max(off.rotation.angle().to_degrees()));
    }
    println!(
        "{} sweeps at {} m/s and {} rad/s: {:.3} m, {:.3} degrees",
        sweeps, motion.speed_mps, motion.turn_radps, worst.0, worst.1
    );
    worst
}

#[test]
fn a_drive_down_a_street_and_about_a_bend_is_followed() {
    let place = Place::street(3, 200.0);
    for (speed_mps, turn_radps, sweeps) in [(0.0, 0.0, 10), (8.0, 0.0, 40), (6.0, 0.1, 30), (3.0, -0.4, 15)] {
        let (off_m, off_deg) = worst(&place, &Motion { speed_mps, turn_radps }, sweeps, false, false);
        assert!(off_m < 0.1 && off_deg < 0.3, "{speed_mps} m/s, {turn_radps} rad/s: {off_m} m, {off_deg} degrees");
    }
}

#[test]
fn a_turning_lidar_is_freed_from_the_motion_from_the_first_sweep_on() {
    let (place, motion) = (Place::street(4, 200.0), Motion { speed_mps: 15.0, turn_radps: 0.05 });
    let with = worst(&place, &motion, 25, true, false);
    assert!(with.0 < 0.3 && with.1 < 0.6, "{with:?}");
}

#[test]
fn a_clip_that_begins_at_motorway_speed_is_followed() {
    let place = Place::street(5, 300.0);
    for speed_mps in [20.0, 36.0, 50.0] {
        let (off_m, off_deg) = worst(&place, &Motion { speed_mps, turn_radps: 0.0 }, 12, true, false);
        assert!(off_m < 0.6 && off_deg < 1.0, "{speed_mps} m/s: {off_m} m, {off_deg} degrees");
    }
}

#[test]
fn another_place_is_lost_and_never_a_pose() {
    let (here, there) = (Place::street(6, 100.0), Place::street(77, 100.0));
    let motion = Motion { speed_mps: 8.0, turn_radps: 0.0 };
    let mut odometry = Odometry::new(&OdometryConfig::default());
    for number in 0..10 {
        odometry.sweep(number as i64 * PERIOD_NS, &sweep(&here, &motion, number, false, 0.02, 1), false).unwrap();
    }
    let mut reasons = Vec::new();
    for number in 10..45 {
        let placed = odometry.sweep(number as i64 * PERIOD_NS, &sweep(&there, &motion, number, false, 0.02, 1), false);
        reasons.push(placed.expect_err("another street is not this one"));
        assert!(odometry.is_lost());
    }
    assert!(reasons.iter().any(|reason| matches!(reason, Unplaced::NoOverlap { .. } | Unplaced::Jump { .. })), "{reasons:?}");
    assert_eq!(reasons.last(), Some(&Unplaced::GaveUp), "three seconds without a pose end it");
}

#[test]
fn a_second_without_sweeps_is_bridged() {
    let (place, motion) = (Place::street(8, 100.0), Motion { speed_mps: 10.0, turn_radps: 0.05 });
    let mut odometry = Odometry::new(&OdometryConfig::default());
    for number in (0..10).chain(20..25) {
        let found = odometry.sweep(number as i64 * PERIOD_NS, &sweep(&place, &motion, number, false, 0.02, 1), false).unwrap();
        let off = motion.at(0.0).inv_mul(&motion.at(number as f64 * 0.1)).inv_mul(&found);
        assert!(off.translation.vector.norm() < 0.1, "sweep {number}: {off}");
    }
}

#[test]
fn empty_and_covered_sweeps_have_no_pose_and_do_not_end_it() {
    let (place, motion) = (Place::street(9, 100.0), Motion { speed_mps: 10.0, turn_radps: 0.0 });
    let mut odometry = Odometry::new(&OdometryConfig::default());
    let mut placed = Vec::new();
    for number in 0..14 {
        let points = match number {
            0 | 6 => PointCloud::default(),
            7 => PointCloud { x: vec![f32::NAN; 500], y: vec![0.0; 500], z: vec![f32::INFINITY; 500], ..PointCloud::default() },
            _ => sweep(&place, &motion, number, false, 0.02, 1),
        };
        placed.push(odometry.sweep(number as i64 * PERIOD_NS, &points, false));
    }
    let failed: Vec<usize> = (0..14).filter(|number| placed[*number].is_err()).collect();
    assert_eq!(failed, [0, 6, 7]);
    assert!(matches!(placed[6], Err(Unplaced::TooFewPoints { found: 0, .. })), "{:?}", placed[6]);
    let off = motion.at(0.1).inv_mul(&motion.at(1.3)).inv_mul(&placed[13].unwrap());
    assert!(off.translation.vector.norm() < 0.1, "{off}");
}

#[test]
fn a_plain_without_anything_on_it_is_no_motion() {
    let (plain, motion) = (Place { blocks: Vec::new() }, Motion { speed_mps: 20.0, turn_radps: 0.0 });
    let mut odometry = Odometry::new(&OdometryConfig::default());
    let placed = odometry.sweep(0, &sweep(&plain, &motion, 0, false, 0.02, 1), false);
    assert!(matches!(placed, Err(Unplaced::TooLittleStructure { .. })), "{placed:?}");
}

#[test]
fn half_a_sweep_may_be_the_first() {
    let (place, motion) = (Place::street(10, 100.0), Motion { speed_mps: 8.0, turn_radps: 0.0 });
    let mut odometry = Odometry::new(&OdometryConfig::default());
    for number in 0..5 {
        let mut points = sweep(&place, &motion, number, false, 0.02, 1);
        if number == 0 {
            let keep = points.len() / 3;
            points.x.truncate(keep);
            points.y.truncate(keep);
            points.z.truncate(keep);
            points.time_offset_ns = None;
        }
        odometry.sweep(number as i64 * PERIOD_NS, &points, false).unwrap();
    }
}

#[test]
fn the_same_sweeps_give_the_same_bits() {
    let (place, motion) = (Place::street(11, 100.0), Motion { speed_mps: 12.0, turn_radps: 0.1 });
    let sweeps: Vec<PointCloud> = (0..8).map(|number| sweep(&place, &motion, number, true, 0.02, 1)).collect();
    let drive = || {
        let mut odometry = Odometry::new(&OdometryConfig::default());
        let pose = |(number, points)| odometry.sweep(number as i64 * PERIOD_NS, points, false).unwrap();
        let poses = sweeps.iter().enumerate().map(pose).collect::<Vec<_>>();
        poses
            .iter()
            .flat_map(|pose| pose.to_homogeneous().iter().map(|value| value.to_bits()).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    assert_eq!(drive(), drive());
}

#[test]
fn nothing_that_comes_panics() {
    let mut chance = ChaCha8Rng::seed_from_u64(12);
    let ends = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 0.0, -0.0, 99.9, 1e30];
    for round in 0..60 {
        let mut odometry = Odometry::new(&OdometryConfig { voxel_m: [0.1, 1.0, 5.0][round % 3], ..OdometryConfig::default() });
        for _ in 0..6 {
            let count = [0, 1, 50, 400, 3000][chance.random_range(0..5)];
            let spread: f32 = [0.0, 1.0, 60.0][chance.random_range(0..3)];
            let mut value = || match chance.random_bool(0.05) {
                true => ends[chance.random_range(0..ends.len())],
                false => chance.random_range(-1.0..1.0) * spread,
            };
            let column = |value: &mut dyn FnMut() -> f32| (0..count).map(|_| value()).collect::<Vec<f32>>();
            let (x, y, z) = (column(&mut value), column(&mut value), column(&mut value));
            let times = (0..count + usize::from(chance.random_bool(0.2))).map(|_| chance.random::<i32>()).collect();
            let points = PointCloud { x, y, z, time_offset_ns: Some(times), ..PointCloud::default() };
            let stamp_ns = [i64::MIN, -1, 0, 1, PERIOD_NS, 2 * PERIOD_NS, i64::MAX][chance.random_range(0..7)];
            if let Ok(pose) = odometry.sweep(stamp_ns, &points, chance.random_bool(0.5)) {
                assert!(pose.to_homogeneous().iter().all(|value| value.is_finite()), "{pose}");
            }
        }
    }
}

#[test]
fn the_nearest_point_is_the_nearest_of_the_neighbourhood() {
    let mut chance = ChaCha8Rng::seed_from_u64(13);
    let mut map = VoxelMap::new(1.0, 100.0);
    let mut points = Vec::new();
    let mut any =
        |most: f64| Point3::new(chance.random_range(-most..most), chance.random_range(-most..most), chance.random_range(-2.0..2.0));
    for _ in 0..4000 {
        let point = any(8.0);
        let before = map.points();
        map.add(&point);
        if map.points() > before {
            points.push(point);
        }
    }
    for _ in 0..2000 {
        let query = any(9.0);
        let brute = points.iter().map(|point| (point - query).norm()).fold(f64::INFINITY, f64::min);
        match map.nearest(&query, 1.0) {
            Some((squared, point)) => {
                assert!((f64::from(squared).sqrt() - brute).abs() < 1e-5 && ((point - query).norm() - brute).abs() < 1e-5);
            }
            None => assert!(brute > 0.999_99, "{brute}"),
        }
    }
}

#[test]
fn the_map_is_bounded_by_its_range_and_by_its_number_of_voxels() {
    let mut map = VoxelMap::new(1.0, 20.0);
    for x in 0..400 {
        map.add(&Point3::new(f64::from(x), 0.5, 0.5));
        map.cut(&Vector3::new(f64::from(x), 0.0, 0.0));
    }
    assert!(map.len() <= 22, "{}", map.len());
    let mut map = VoxelMap::new(0.1, 500.0);
    for at in 0..MAX_VOXELS + 1000 {
        map.add(&Point3::new((at % 512) as f64 * 0.1 + 0.05, (at / 512) as f64 * 0.1 + 0.05, 0.05));
    }
    assert_eq!(map.len(), MAX_VOXELS);
    for _ in 0..1000 {
        map.add(&Point3::new(0.05, 0.05, 0.05));
    }
    assert!(map.points() <= MAX_VOXELS * POINTS_PER_VOXEL);
}

#[test]
fn options_out_of_range_are_told_with_both_sides() {
    let default = OdometryConfig::default();
    assert_eq!(default.validate(), Ok(()));
    let wrong = [
        (OdometryConfig { voxel_m: 0.0, ..default.clone() }, "voxel_m: expected 0.1 to 5, got 0"),
        (OdometryConfig { max_range_m: f64::NAN, ..default.clone() }, "max_range_m: expected 5 to 500, got NaN"),
        (OdometryConfig { min_range_m: 40.0, max_range_m: 30.0, ..default.clone() }, "min_range_m: expected 0 to 30, got 40"),
        (OdometryConfig { min_overlap: 1.5, ..default.clone() }, "min_overlap: expected 0 to 1, got 1.5"),
    ];
    for (config, said) in wrong {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("hint:"), "{error}");
    }
}

#[test]
fn half_of_a_twist_twice_is_the_motion() {
    let motion = Motion { speed_mps: 7.0, turn_radps: 0.8 };
    let moved = motion.at(0.0).inv_mul(&motion.at(0.6));
    let twist = Twist::between(&moved, 0.6);
    assert!((twist.speed_mps() - 7.0).abs() < 1e-9);
    let twice = twist.after(0.3) * twist.after(0.3);
    assert!((twice.inv_mul(&moved)).translation.vector.norm() < 1e-9 && twice.rotation.angle_to(&moved.rotation) < 1e-9);
}
