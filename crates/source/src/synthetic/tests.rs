//! Promises of the synthetic drive.

use boxwright_model::{ClipGrid, Cuboid, Pose, SensorFrame, SensorKind, SourcePosition};
use nalgebra::Point3;
use sha2::{Digest, Sha256};

use super::camera;
use super::drive::{BASE, WORLD};
use super::*;
use crate::record::{Record, Recording, parse_headers, topic_name};
use crate::wire;

fn small(seed: u64) -> SyntheticConfig {
    let mut config = SyntheticConfig { seed, seconds: 0.6, ..SyntheticConfig::default() };
    config.lidar.columns = 600;
    for camera in &mut config.cameras {
        (camera.width_px, camera.height_px) = (320, 180);
    }
    config
}

fn frames(config: SyntheticConfig) -> (Vec<SyntheticFrame>, Vec<TruthBox>) {
    let mut drive = SyntheticDrive::new(config).unwrap();
    let frames = std::iter::from_fn(|| drive.next_frame().unwrap()).collect();
    (frames, drive.truth().to_vec())
}

fn digest(config: SyntheticConfig) -> Vec<u8> {
    let (frames, truth) = frames(config);
    let mut hasher = Sha256::new();
    for frame in frames {
        hasher.update(format!("{frame:?}"));
    }
    hasher.update(format!("{truth:?}"));
    hasher.finalize().to_vec()
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let one = digest(SyntheticConfig { threads: 1, ..small(3) });
    assert_eq!(one, digest(SyntheticConfig { threads: 3, ..small(3) }));
    assert_eq!(one, digest(SyntheticConfig { threads: 8, ..small(3) }));
}

#[test]
fn another_seed_gives_another_drive() {
    assert_ne!(digest(small(3)), digest(small(4)));
    let (_, first) = frames(SyntheticConfig { cameras: Vec::new(), ..small(3) });
    let (_, second) = frames(SyntheticConfig { cameras: Vec::new(), ..small(4) });
    assert_ne!(first.iter().map(|truth| truth.object_id).max(), None);
    assert_ne!(first[0].ego_from_box, second[0].ego_from_box);
}

#[test]
fn messages_come_in_order_of_their_stamps_and_every_firing_has_a_pose_before_and_after() {
    let config = small(5);
    let (frames, _) = frames(config.clone());
    assert!(frames.windows(2).all(|pair| pair[0].stamp_ns <= pair[1].stamp_ns));
    let of = |kind: SensorKind| frames.iter().filter(move |frame| frame.frame.kind() == kind);
    assert_eq!(of(SensorKind::Lidar).count(), 6);
    assert_eq!(of(SensorKind::Camera).count(), 12);
    assert_eq!(of(SensorKind::Calibration).count(), 2);
    let poses: Vec<i64> =
        of(SensorKind::Transform).filter(|frame| &*frame.sensor == "ego_pose").map(|frame| frame.stamp_ns).collect();
    let half = 50_000_000;
    for sweep in of(SensorKind::Lidar) {
        assert!(poses[0] <= sweep.stamp_ns - half && *poses.last().unwrap() >= sweep.stamp_ns + half);
        let SensorFrame::Lidar(body) = &sweep.frame else { panic!("a lidar frame") };
        let offsets = body.points.time_offset_ns.as_ref().unwrap();
        assert!(offsets.is_sorted() && offsets[0] < -45_000_000 && *offsets.last().unwrap() > 45_000_000);
        assert_eq!(offsets.len(), body.points.len());
    }
    let calibrated = of(SensorKind::Calibration).map(|frame| frame.stamp_ns).max().unwrap();
    assert!(of(SensorKind::Lidar).chain(of(SensorKind::Camera)).all(|frame| calibrated < frame.stamp_ns));
}

#[test]
fn every_message_passes_the_header_check_and_decodes_to_what_was_seen() {
    let mut twin = SyntheticDrive::new(small(5)).unwrap();
    let mut drive = SyntheticDrive::new(small(5)).unwrap();
    let mut count = 0;
    while let Some(message) = drive.next_message().unwrap() {
        let frame = twin.next_frame().unwrap().unwrap();
        let headers = message.headers();
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let position = SourcePosition { topic: topic_name("ad", message.kind).into(), partition: 0, offset: 0 };
        let (header, schema, encoding) = parse_headers(position, Some(message.vehicle.as_bytes()), &headers).unwrap();
        assert_eq!((header.kind, header.stamp_ns, header.seq), (frame.frame.kind(), frame.stamp_ns, Some(frame.seq)));
        assert_eq!(header.stamp_ref, frame.stamp_ref);
        let decoded = wire::decode(&Record { header, schema, encoding, payload: message.payload, trace_parent: None }).unwrap();
        match (&decoded, &frame.frame) {
            (SensorFrame::Transforms(got), SensorFrame::Transforms(sent)) => assert_eq!(got.len(), sent.len()),
            (got, sent) => assert_eq!(got, sent),
        }
        count += 1;
    }
    assert_eq!(drive.total_messages_hint(), Some(count));
}

#[test]
fn the_default_drive_is_one_clip() {
    let config = SyntheticConfig::default();
    let grid = ClipGrid::new(20_000_000_000);
    let end_ns = config.start_stamp_ns + (config.seconds * 1e9) as i64;
    assert_eq!(grid.clip_of(config.start_stamp_ns - 100_000_000), grid.clip_of(end_ns + 100_000_000));
}

/// A sweep of a full lidar with the exact pose of each firing.
struct Seen {
    scene: scene::Scene,
    sweep: lidar::Sweep,
    ego_from_lidar: Pose,
    middle_s: f64,
}

impl Seen {
    fn new(seed: u64) -> Self {
        let config = SyntheticConfig::default();
        let scene = scene::Scene::new(seed, 12.0);
        let [roll, pitch, yaw] = config.lidar.roll_pitch_yaw_deg.map(f64::to_radians);
        let rotation = nalgebra::UnitQuaternion::from_euler_angles(roll, pitch, yaw);
        let ego_from_lidar = Pose::from_parts(nalgebra::Vector3::from(config.lidar.position_m).into(), rotation);
        let plan = lidar::SweepPlan {
            scene: &scene,
            lidar: &config.lidar,
            ego_from_lidar: &ego_from_lidar,
            start_s: 3.0,
            period_s: 0.1,
            noise_seed: 11,
        };
        let sweep = lidar::scan(&plan, 0, config.lidar.columns);
        Self { scene, sweep, ego_from_lidar, middle_s: 3.05 }
    }

    /// Actor, firing time and world position of each return from an actor.
    fn returns(&self) -> impl Iterator<Item = (&actors::Actor, f64, Point3<f64>)> {
        let cloud = &self.sweep.points;
        let offsets = cloud.time_offset_ns.as_ref().unwrap();
        self.sweep.owner.iter().enumerate().filter(|(_, owner)| **owner > 0).map(move |(index, owner)| {
            let fired_s = self.middle_s + f64::from(offsets[index]) / 1e9;
            let point = Point3::new(f64::from(cloud.x[index]), f64::from(cloud.y[index]), f64::from(cloud.z[index]));
            let world = self.scene.world_from_ego(fired_s) * self.ego_from_lidar * point;
            (&self.scene.actors[*owner as usize - 1], fired_s, world)
        })
    }

    fn world_box(&self, actor: &actors::Actor, time_s: f64) -> Cuboid {
        actor.world_from_box(&self.scene.road, &self.scene.ego, time_s)
    }
}

#[test]
fn truth_boxes_contain_their_own_returns() {
    let seen = Seen::new(7);
    let (mut inside, mut all) = (0, 0);
    for (actor, fired_s, world) in seen.returns() {
        all += 1;
        inside += usize::from(seen.world_box(actor, fired_s).contains(&world, 0.05));
    }
    assert!(all > 2_000, "expected thousands of returns from objects, got {all}");
    assert!(f64::from(inside as u32) > 0.98 * f64::from(all as u32), "{inside} of {all} returns are inside");
}

#[test]
fn truth_boxes_are_tight() {
    let seen = Seen::new(7);
    for actor in &seen.scene.actors {
        // Every side is touched by some vertex in some phase of the limbs.
        let size = actor.box_size_m;
        let class = &*actor.class;
        let bounds = match class {
            "car" => ([3.5, 1.6, 1.3], [5.1, 2.0, 1.8]),
            "truck" => ([5.0, 1.9, 2.1], [8.8, 2.6, 3.6]),
            "pedestrian" => ([0.2, 0.4, 1.5], [1.2, 0.7, 2.0]),
            _ => ([1.6, 0.4, 1.6], [1.9, 0.7, 1.9]),
        };
        for axis in 0..3 {
            assert!((bounds.0[axis]..bounds.1[axis]).contains(&size[axis]), "{class} {size:?}");
        }
    }
}

#[test]
fn a_moving_object_is_smeared_until_its_own_motion_is_taken_out() {
    let (mut smeared, mut all) = (0u32, 0u32);
    for seed in 7..11 {
        let seen = Seen::new(seed);
        for (actor, fired_s, world) in seen.returns() {
            let speed = actor.speed_mps(&seen.scene.road, &seen.scene.ego, seen.middle_s);
            let apart_m = speed * (fired_s - seen.middle_s).abs();
            if &*actor.class != "pedestrian" && speed > 8.0 && apart_m > 0.25 {
                all += 1;
                smeared += u32::from(!seen.world_box(actor, seen.middle_s).contains(&world, 0.05));
            }
        }
    }
    assert!(all > 200, "expected hundreds of returns from fast objects beside the vehicle, got {all}");
    assert!(smeared * 5 > all, "expected a fifth of {all} returns outside the box of the sweep's middle, got {smeared}");
}

#[test]
fn the_projection_of_a_truth_box_falls_on_the_objects_pixels() {
    let config = SyntheticConfig::default();
    let scene = scene::Scene::new(7, 12.0);
    let mut compared = 0;
    for camera_config in &config.cameras {
        let camera = camera::Camera::new(camera_config);
        let owners = camera::owners(&scene, &camera, 3.0);
        let camera_from_world = (scene.world_from_ego(3.0) * camera.ego_from_camera).inverse();
        let (width, height) = (camera.model.width_px as usize, camera.model.height_px as usize);
        for actor in &scene.actors {
            let pixels: Vec<usize> = (0..width * height).filter(|at| owners[*at] == actor.object_id).collect();
            if pixels.len() < 40 {
                continue;
            }
            let corners = actor.world_from_box(&scene.road, &scene.ego, 3.0).corners().map(|corner| camera_from_world * corner);
            if corners.iter().any(|corner| corner.z < 0.3) {
                continue;
            }
            let project = |axis: usize| {
                corners.map(|corner| {
                    let (offset, center) = if axis == 0 { (corner.x, camera.model.cx_px) } else { (corner.y, camera.model.cy_px) };
                    center + camera.model.fx_px * offset / corner.z
                })
            };
            let bound = |values: [f64; 8]| values.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
            let (x, y) = (bound(project(0)), bound(project(1)));
            for at in &pixels {
                let (px, py) = ((at % width) as f64 + 0.5, (at / width) as f64 + 0.5);
                assert!(px > x.0 - 1.0 && px < x.1 + 1.0 && py > y.0 - 1.0 && py < y.1 + 1.0, "{} at {px} {py}", actor.class);
            }
            compared += 1;
        }
    }
    assert!(compared >= 8, "expected several objects in the pictures, got {compared}");
}

#[test]
fn an_undistorted_sweep_lies_on_what_it_hit() {
    let (cloud, truth) = bench_sweep(120_000, 7).unwrap();
    assert!((100_000..140_000).contains(&cloud.len()), "{} points", cloud.len());
    let standing: Vec<&TruthBox> = truth.iter().filter(|truth| truth.speed_mps < 0.01 && truth.num_lidar_pts > 100).collect();
    assert!(standing.len() >= 3);
    for truth in standing {
        let inside = (0..cloud.len())
            .filter(|index| {
                let point = Point3::new(f64::from(cloud.x[*index]), f64::from(cloud.y[*index]), f64::from(cloud.z[*index]));
                truth.ego_from_box.contains(&point, 0.08)
            })
            .count();
        assert!(inside as f64 >= 0.97 * f64::from(truth.num_lidar_pts), "{inside} inside, {} hit", truth.num_lidar_pts);
    }
}

#[test]
fn nobody_drives_through_anybody() {
    let scene = scene::Scene::new(7, 12.0);
    for step in 0..24 {
        let time_s = f64::from(step) * 0.5;
        let boxes: Vec<Cuboid> = scene.actors.iter().map(|actor| actor.world_from_box(&scene.road, &scene.ego, time_s)).collect();
        let ego = scene.world_from_ego(time_s).translation.vector;
        for (index, own) in boxes.iter().enumerate() {
            assert!((own.center_m - ego).norm() > 1.8, "actor {} meets the ego vehicle at {time_s} s", index + 1);
            for other in &boxes[index + 1..] {
                assert!(!other.contains(&own.center_m.into(), 0.0), "at {time_s} s");
            }
        }
    }
}

#[test]
fn every_class_is_on_the_street_and_moves_plausibly() {
    let (_, truth) = frames(SyntheticConfig { cameras: Vec::new(), ..small(7) });
    for class in ["car", "truck", "pedestrian", "cyclist"] {
        let seen = truth.iter().filter(|truth| &*truth.class == class && truth.num_lidar_pts > 0).count();
        assert!(seen > 0, "no {class} is seen");
    }
    assert!(truth.iter().all(|truth| truth.speed_mps < 16.0));
    assert!(truth.iter().any(|truth| &*truth.class == "car" && truth.speed_mps > 8.0));
}

#[test]
fn options_outside_their_bounds_are_refused_with_both_sides() {
    let refused = |change: fn(&mut SyntheticConfig)| {
        let mut config = SyntheticConfig::default();
        change(&mut config);
        SyntheticDrive::new(config).unwrap_err().to_string()
    };
    assert!(refused(|config| config.seconds = f64::NAN).contains("seconds"));
    assert!(refused(|config| config.seconds = 1e9).contains("0.2 to 600"));
    assert!(refused(|config| config.lidar.columns = 0).contains("got 0"));
    assert!(refused(|config| config.start_stamp_ns = i64::MAX).contains("start_stamp_ns"));
    assert!(refused(|config| config.cameras[1].name = "camera_front".to_owned()).contains("camera_front"));
    assert!(refused(|config| config.lidar.name = WORLD.to_owned()).contains(BASE));
    assert!(refused(|config| config.cameras[0].width_px = 0).contains("width_px"));
}
