//! The synthetic drive knows its extrinsics exactly: they fit, and what is planted is found, about every axis and whichever way round.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that says what it measured")]

use std::io::Cursor;
use std::sync::OnceLock;

use boxwright_calib::search::turn_of;
use boxwright_calib::{AxisVerdict, CameraCheck, CameraReport, Gray, Meaning, Verdict};
use boxwright_model::{CameraModel, Pose, SensorFrame, StampedPose};
use boxwright_source::synthetic::{SyntheticConfig, SyntheticDrive};
use boxwright_timesync::{MotionConfig, PoseTrack, deskew};
use nalgebra::Point3;
use zune_jpeg::JpegDecoder;

const CAMERA: &str = "camera_front";

struct Drive {
    model: CameraModel,
    ego_from_camera: Pose,
    ego_from_lidar: Pose,
    /// Images, and the points at their times.
    frames: Vec<(Gray, Vec<Point3<f32>>)>,
}

/// Twelve frames, a second apart.
fn drive() -> &'static Drive {
    static DRIVE: OnceLock<Drive> = OnceLock::new();
    DRIVE.get_or_init(|| {
        let mut config = SyntheticConfig { seconds: 12.0, sweep_rate_hz: 2.0, ..SyntheticConfig::default() };
        config.cameras.truncate(1);
        let mut drive = SyntheticDrive::new(config).unwrap();
        let (mut model, mut ego_from_camera, mut ego_from_lidar) = (None, None, None);
        let (mut poses, mut sweeps, mut images) = (PoseTrack::new(&MotionConfig::default()), Vec::new(), Vec::new());
        while let Some(frame) = drive.next_frame().unwrap() {
            match frame.frame {
                SensorFrame::Lidar(sweep) => sweeps.push((frame.stamp_ns, sweep.points)),
                SensorFrame::Camera(image) => images.push((frame.stamp_ns, image)),
                SensorFrame::Calibration { model: found, .. } => model = Some(found),
                SensorFrame::Transforms(edges) => {
                    for edge in edges {
                        let pose = edge.parent_from_child;
                        match &*edge.child {
                            "base_link" => drop(poses.push(StampedPose { stamp_ns: edge.stamp_ns, world_from_ego: pose })),
                            CAMERA => ego_from_camera = Some(pose),
                            _ => ego_from_lidar = Some(pose),
                        }
                    }
                }
                SensorFrame::Detections(_) => {}
            }
        }
        let ego_from_lidar: Pose = ego_from_lidar.unwrap();
        let frames = sweeps
            .into_iter()
            .zip(images)
            .step_by(2)
            .map(|((sweep_ns, mut points), (image_ns, image))| {
                points.transform(&ego_from_lidar);
                assert!(deskew(&mut points, sweep_ns, &poses));
                let pose = |stamp_ns: i64| poses.at(stamp_ns).unwrap().world_from_ego;
                points.transform(&(pose(image_ns).inverse() * pose(sweep_ns)));
                let rgb = JpegDecoder::new(Cursor::new(&image.data[..])).decode().unwrap();
                let gray = Gray::from_rgb(image.width_px as usize, image.height_px as usize, &rgb).unwrap();
                let at = |i: usize| Point3::new(points.x[i], points.y[i], points.z[i]);
                (gray, (0..points.len()).map(at).collect())
            })
            .collect();
        Drive { model: model.unwrap(), ego_from_camera: ego_from_camera.unwrap(), ego_from_lidar, frames }
    })
}

fn check(given: &Pose) -> CameraReport {
    let drive = drive();
    let mut check = CameraCheck::new(drive.model.clone(), given, Some(&drive.ego_from_lidar)).unwrap();
    drive.frames.iter().for_each(|(image, points)| check.push(image, points));
    let report = check.finish();
    println!("{:?} {:?} {:?}", report.verdict, report.found, report.significance);
    report
}

#[test]
fn what_is_right_fits_and_a_degree_about_any_axis_is_found() {
    let right = drive().ego_from_camera;
    let report = check(&right);
    assert_eq!(report.verdict, Verdict::Fits, "{report:?}");
    let found = report.found.unwrap();
    assert!(found.turn_deg.iter().all(|angle| angle.abs() < 0.35), "{found:?}");
    for planted_deg in [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-2.0, 2.0, 0.0]] {
        let report = check(&(right * turn_of(planted_deg)));
        assert_eq!(report.verdict, Verdict::Off, "{planted_deg:?}: {report:?}");
        let found = report.found.unwrap();
        for axis in 0..3 {
            assert!((found.turn_deg[axis] - planted_deg[axis]).abs() < 0.4, "{planted_deg:?}: {found:?}");
            assert!(planted_deg[axis] == 0.0 || report.axes[axis] == AxisVerdict::Off, "{planted_deg:?}: {report:?}");
        }
    }
}

#[test]
fn an_extrinsic_the_wrong_way_round_or_with_other_axes_is_named() {
    let drive = drive();
    let right = drive.ego_from_camera;
    let camera_from_lidar = right.inverse() * drive.ego_from_lidar;
    let quarter = std::f64::consts::FRAC_PI_2;
    let body =
        Pose::from_parts(nalgebra::Translation3::identity(), nalgebra::UnitQuaternion::from_euler_angles(-quarter, 0.0, -quarter));
    for (given, meaning) in [
        (right.inverse(), Meaning::CameraFromEgo),
        (drive.ego_from_lidar * camera_from_lidar, Meaning::CameraFromLidar),
        (right * body.inverse(), Meaning::BodyAxes),
    ] {
        let report = check(&given);
        assert_eq!(report.verdict, Verdict::WrongWay(meaning), "{report:?}");
    }
}
