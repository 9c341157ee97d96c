//! Small scenes for the tests of this crate.

use std::sync::Arc;

use boxwright_model::frame::{CameraModel, PointCloud};
use boxwright_model::label::{Box3, LabelSource, TrackId};
use boxwright_model::scene::{SceneCamera, SceneFrame, SceneImage};
use boxwright_model::space::{Cuboid, Pose};
use boxwright_model::taxonomy::{ClassId, Taxonomy};
use boxwright_model::time::ClipId;
use bytes::Bytes;
use nalgebra::{UnitQuaternion, Vector3};

/// The smallest picture that is one: a grey pixel.
pub(crate) const PNG: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0,
    0x3a, 0x7e, 0x9b, 0x55, 0, 0, 0, 10, b'I', b'D', b'A', b'T', 0x78, 0x9c, 0x63, 0x68, 0, 0, 0, 0x82, 0, 0x81, 0x77, 0xcd, 0x72,
    0xb6, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

pub(crate) fn taxonomy() -> Arc<Taxonomy> {
    Arc::new(Taxonomy::from_toml(include_str!("../../../configs/taxonomy.toml")).unwrap())
}

/// A car-sized box of a track at a place that is the same in ego and world.
pub(crate) fn box3(number: u32, x: f64, y: f64) -> Box3 {
    let cuboid = Cuboid::upright(Vector3::new(x, y, 0.8), Vector3::new(4.5, 1.8, 1.6), 0.1);
    Box3 {
        sample_id: Arc::from("s"),
        sample_stamp_ns: 0,
        stamp_ns: 0,
        points_ns: [0; 2],
        measured_world_center_m: cuboid.center_m,
        track_id: TrackId { clip: ClipId(1), number },
        class: ClassId(0),
        score: 0.93,
        ego_from_box: cuboid,
        world_from_box: cuboid,
        velocity_world_mps: [0.0, 0.0],
        num_lidar_pts: 10,
        predicted: false,
        source: LabelSource::Auto,
        evidence: "{}".to_owned(),
    }
}

/// A spiral of points on the ground and one camera that looks ahead.
pub(crate) fn frame(index: i64, points: usize) -> SceneFrame {
    let mut cloud = PointCloud::default();
    for point in 0..points {
        let (angle, range) = (point as f32 * 0.01, 3.0 + 50.0 * point as f32 / points as f32);
        cloud.x.push(range * angle.cos());
        cloud.y.push(range * angle.sin());
        cloud.z.push(-1.7 + if point % 9 == 0 { 1.5 } else { 0.0 });
        cloud.intensity.push((point % 255) as f32);
    }
    SceneFrame {
        index,
        stamp_ns: 1_700_000_000_000_000_000 + index * 100_000_000,
        world_from_ego: Some(Pose::from_parts(
            Vector3::new(458_000.0 + index as f64, 5_430_000.0, 110.0).into(),
            UnitQuaternion::identity(),
        )),
        points: Arc::new(cloud),
        images: vec![SceneImage { sensor: Arc::from("front"), format: Arc::from("png"), data: Bytes::from_static(PNG) }],
        cameras: Arc::new(vec![camera("front")]),
        boxes: vec![box3(1, 12.0 + index as f64, 0.0), box3(2, 20.0, 4.0)],
    }
}

pub(crate) fn camera(name: &str) -> SceneCamera {
    let forward = UnitQuaternion::from_euler_angles(0.0, std::f64::consts::FRAC_PI_2, 0.0)
        * UnitQuaternion::from_euler_angles(0.0, 0.0, -std::f64::consts::FRAC_PI_2);
    SceneCamera {
        sensor: Arc::from(name),
        ego_from_sensor: Pose::from_parts(Vector3::new(1.0, 0.0, 1.5).into(), forward),
        model: CameraModel {
            fx_px: 500.0,
            fy_px: 500.0,
            cx_px: 320.0,
            cy_px: 240.0,
            distortion_model: Arc::from(""),
            distortion: Vec::new(),
            width_px: 640,
            height_px: 480,
        },
    }
}
