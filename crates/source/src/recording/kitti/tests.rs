//! Fabricated drives with holes and damage.

use std::fs;
use std::path::PathBuf;

use boxwright_model::SensorFrame;
use nalgebra::Point3;

use super::*;
use crate::record::{Record, Source, SourceEvent};
use crate::recording::RecordingSource;

const IMU_TO_VELO: &str = "calib_time: x\nR: 1 0 0 0 1 0 0 0 1\nT: -0.8 0.3 -0.8\n";
const VELO_TO_CAM: &str = "R: 0 -1 0 0 0 -1 1 0 0\nT: 0 -0.1 -0.3\n";
const CAM_TO_CAM: &str = "corner_dist: 9.95e-02\nS_02: 1392 512\nK_02: 960 0 696 0 957 224 0 0 1\nD_02: -0.3 0.2 0.001 0.002 -0.06\n\
R_02: 1 0 0 0 1 0 0 0 1\nT_02: 0.06 0 0\nS_rect_02: 1242 375\nR_rect_00: 1 0 0 0 1 0 0 0 1\n\
P_rect_02: 700 0 600 42 0 700 170 0 0 0 1 0\n";
const PACKET: &str = "49.0 8.4 112.0 0.02 0.01 -0.4 1 2 3\n";

/// A drive with frames 2, 3 and 5 of seven stamps.
struct Fabricated {
    dir: tempfile::TempDir,
    drive: PathBuf,
}

impl Fabricated {
    fn new(suffix: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let date = dir.path().join("2011_09_26");
        let drive = date.join(format!("2011_09_26_drive_0001_{suffix}"));
        for (name, text) in
            [("calib_imu_to_velo", IMU_TO_VELO), ("calib_velo_to_cam", VELO_TO_CAM), ("calib_cam_to_cam", CAM_TO_CAM)]
        {
            fs::create_dir_all(&date).unwrap();
            fs::write(date.join(format!("{name}.txt")), text).unwrap();
        }
        for (folder, milliseconds) in [("velodyne_points", 100), ("image_02", 110), ("oxts", 100)] {
            fs::create_dir_all(drive.join(folder).join("data")).unwrap();
            let lines: String = (0..7).map(|frame| format!("2011-09-26 13:04:3{frame}.{milliseconds}000000\n")).collect();
            fs::write(drive.join(folder).join("timestamps.txt"), lines).unwrap();
        }
        let fabricated = Self { dir, drive };
        for frame in [2, 3, 5] {
            let points: Vec<u8> =
                [1.0_f32, 2.0, 3.0, 0.5, frame as f32, 0.0, 0.0, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
            fabricated.write("velodyne_points", frame, "bin", &points);
            let mut picture = Vec::new();
            jpeg_encoder::Encoder::new(&mut picture, 50).encode(&[90; 64], 8, 8, jpeg_encoder::ColorType::Luma).unwrap();
            fabricated.write("image_02", frame, "jpg", &picture);
            fabricated.write("oxts", frame, "txt", PACKET.as_bytes());
        }
        fabricated
    }

    fn path(&self, folder: &str, frame: u64, extension: &str) -> PathBuf {
        self.drive.join(folder).join("data").join(format!("{frame:010}.{extension}"))
    }

    fn write(&self, folder: &str, frame: u64, extension: &str, content: &[u8]) {
        fs::write(self.path(folder, frame, extension), content).unwrap();
    }
}

fn read_all(recording: &mut KittiRaw) -> Vec<OutgoingMessage> {
    std::iter::from_fn(|| recording.next_message().unwrap()).collect()
}

fn decoded(recording: KittiRaw) -> Vec<(Record, SensorFrame)> {
    let mut source = RecordingSource::new(Box::new(recording), "ad");
    let mut frames = Vec::new();
    while let Some(event) = source.next_event(std::time::Duration::ZERO).unwrap() {
        match event {
            SourceEvent::Record(record) => {
                let frame = wire::decode(&record).unwrap();
                frames.push((record, frame));
            }
            SourceEvent::Assigned(_) => {}
            SourceEvent::End => break,
            other => panic!("expected records, got {other:?}"),
        }
    }
    frames
}

#[test]
fn line_and_file_belong_together_by_number_and_holes_are_told() {
    let fabricated = Fabricated::new("sync");
    let mut recording = KittiRaw::open(&fabricated.drive, None).unwrap();
    assert_eq!(recording.total_messages_hint(), Some(11));
    let messages = read_all(&mut recording);
    let got: Vec<_> = messages
        .iter()
        .map(|m| {
            format!(
                "{} {} {}.{:03} {} {}",
                m.kind,
                m.sensor,
                m.stamp_ns / 1_000_000_000 % 10,
                m.stamp_ns / 1_000_000 % 1000,
                m.stamp_ref,
                m.seq
            )
        })
        .collect();
    assert_eq!(
        got,
        [
            "transform calib 2.100 instant 0",
            "calibration image_02 2.100 instant 0",
            "transform oxts 2.100 instant 0",
            "lidar velodyne_points 2.100 sweep_mid 0",
            "camera image_02 2.110 trigger 0",
            "transform oxts 3.100 instant 1",
            "lidar velodyne_points 3.100 sweep_mid 1",
            "camera image_02 3.110 trigger 1",
            "transform oxts 5.100 instant 2",
            "lidar velodyne_points 5.100 sweep_mid 2",
            "camera image_02 5.110 trigger 2",
        ]
    );
    assert_eq!(&*messages[0].vehicle, "2011_09_26_drive_0001_sync");
    assert_eq!(messages[0].stamp_ns, 1_317_042_272_100_000_000);
    assert_eq!(recording.warnings().len(), 3);
    assert!(
        recording.warnings()[0].contains("4 of 7 stamps have no file (files 2 to 5, with 1 missing"),
        "{:?}",
        recording.warnings()
    );
    assert!(!recording.is_truncated());
}

#[test]
fn a_point_ahead_lands_in_the_middle_of_the_image() {
    let fabricated = Fabricated::new("sync");
    let frames = decoded(KittiRaw::open(&fabricated.drive, None).unwrap());
    let SensorFrame::Transforms(places) = &frames[0].1 else { panic!("expected transforms") };
    assert_eq!((&*places[0].parent, &*places[0].child), ("ego", "image_02"));
    // Ten metres ahead of the lidar: x right = 0 + 42/700, y down = -0.1, z ahead = 10 - 0.3.
    let in_camera = places[0].parent_from_child.inverse() * Point3::new(10.0, 0.0, 0.0);
    assert!((in_camera - Point3::new(0.06, -0.1, 9.7)).norm() < 1e-9, "{in_camera}");
    let SensorFrame::Calibration { frame_id, model } = &frames[1].1 else { panic!("expected calibration") };
    assert_eq!(
        (&**frame_id, model.fx_px, model.cx_px, model.cy_px, model.width_px, model.height_px),
        ("image_02", 700.0, 600.0, 170.0, 1242, 375)
    );
    assert!(model.distortion_model.is_empty() && model.distortion.is_empty());
    let SensorFrame::Transforms(pose) = &frames[2].1 else { panic!("expected a pose") };
    assert_eq!((&*pose[0].parent, &*pose[0].child), ("world", "ego"));
    assert!((pose[0].parent_from_child.translation.vector - nalgebra::Vector3::new(0.8, -0.3, 0.8)).norm() < 1e-6);
    let SensorFrame::Lidar(sweep) = &frames[3].1 else { panic!("expected a sweep") };
    assert_eq!(
        (&*sweep.frame_id, sweep.points.x.as_slice(), sweep.points.intensity.as_slice()),
        ("ego", [1.0, 2.0].as_slice(), [0.5, 0.0].as_slice())
    );
}

#[test]
fn an_extract_drive_has_the_cameras_as_they_are() {
    let fabricated = Fabricated::new("extract");
    fs::remove_file(fabricated.path("velodyne_points", 3, "bin")).unwrap();
    fabricated.write("velodyne_points", 3, "txt", b"1 2 3 0.25\n4 5 6 0.5\n");
    let frames = decoded(KittiRaw::open(fabricated.dir.path(), Some("car".into())).unwrap());
    let SensorFrame::Calibration { model, .. } = &frames[1].1 else { panic!("expected calibration") };
    assert_eq!((model.fx_px, &*model.distortion_model, model.distortion.len(), model.width_px), (960.0, "plumb_bob", 5, 1392));
    assert!(frames.iter().any(|(_, frame)| matches!(frame, SensorFrame::Lidar(sweep) if sweep.points.x == [1.0, 4.0])));
}

#[test]
fn a_broken_file_does_not_take_the_others_with_it() {
    let fabricated = Fabricated::new("sync");
    fabricated.write("velodyne_points", 2, "bin", &[0; 33]);
    fabricated.write("velodyne_points", 3, "bin", b"");
    fabricated.write("image_02", 3, "jpg", b"\xff\xd8\xff cut");
    fabricated.write("image_02", 5, "jpg", b"hello");
    fabricated.write("oxts", 2, "txt", b"49.0 nan");
    let mut recording = KittiRaw::open(&fabricated.drive, None).unwrap();
    assert_eq!(read_all(&mut recording).len(), 11 - 5);
    assert!(recording.is_truncated());
    let warnings = recording.warnings().join("\n");
    for part in [
        "0000000002.bin: expected a multiple of 16 bytes, got 33: passed over",
        "0000000003.bin: expected 1 to",
        "0000000003.jpg: expected a whole jpeg image, got 7 bytes",
        "0000000005.jpg: expected a PNG or JPEG image, got 5 bytes",
        "0000000002.txt: expected a finite number in place 1, got \"nan\"",
    ] {
        assert!(warnings.contains(part), "expected {part:?} in\n{warnings}");
    }
}

#[test]
fn numbers_that_no_vehicle_has_are_passed_over_and_told() {
    let fabricated = Fabricated::new("sync");
    fabricated.write("oxts", 2, "txt", b"49.0 1e300 112.0 0.02 0.01 -0.4");
    fabricated.write("oxts", 3, "txt", b"49.0 8.4 1e308 0.02 0.01 -0.4");
    fabricated.write("oxts", 5, "txt", b"49.0 8.4 112.0 0.02 0.01 1e300");
    fs::write(fabricated.path("velodyne_points", 3, "txt"), "1 2 ".repeat(100_000)).unwrap();
    fs::remove_file(fabricated.path("velodyne_points", 3, "bin")).unwrap();
    let mut recording = KittiRaw::open(&fabricated.drive, None).unwrap();
    assert_eq!(read_all(&mut recording).len(), 11 - 4);
    let warnings = recording.warnings().join("\n");
    for part in [
        "expected a longitude in degrees of at most 360 either way",
        "expected an altitude in metres of at most 100000 either way",
        "expected a yaw in radians of at most",
        "expected 4 numbers, got \"1 2 1 2",
    ] {
        assert!(warnings.contains(part), "expected {part:?} in\n{warnings}");
    }
    assert!(warnings.len() < 8_000, "a line of the file is repeated whole: {} bytes", warnings.len());

    let date = fabricated.drive.parent().unwrap();
    for (name, text) in [
        ("calib_velo_to_cam.txt", VELO_TO_CAM.replace("-0.3", "1e308")),
        ("calib_cam_to_cam.txt", CAM_TO_CAM.replace("700 0 600 42", "1e-300 0 600 42")),
    ] {
        let good = fs::read(date.join(name)).unwrap();
        fs::write(date.join(name), text).unwrap();
        let warnings = KittiRaw::open(&fabricated.drive, None).unwrap().warnings().join("\n");
        assert!(warnings.contains("expected a place within 1000 m"), "{name}: {warnings}");
        fs::write(date.join(name), good).unwrap();
    }
}

#[test]
fn stamps_that_are_missing_are_told() {
    let fabricated = Fabricated::new("sync");
    let stamps = fabricated.drive.join("image_02/timestamps.txt");
    fs::write(&stamps, "2011-09-26 13:04:30.1\n\n2011-09-26 13:04:32.1\nnoon\n").unwrap();
    let mut recording = KittiRaw::open(&fabricated.drive, None).unwrap();
    assert_eq!(read_all(&mut recording).iter().filter(|message| message.kind == SensorKind::Camera).count(), 1);
    let warnings = recording.warnings().join("\n");
    assert!(warnings.contains("1 files have no line in timestamps.txt") || warnings.contains("2 files have no line"), "{warnings}");
    assert!(recording.is_truncated());

    fs::write(&stamps, "2011-09-26 13:04:32.1\n2011-09-26 13:04:33.1\n2011-09-26 13:04:35.1\n").unwrap();
    let mut recording = KittiRaw::open(&fabricated.drive, None).unwrap();
    assert_eq!(read_all(&mut recording).len(), 11, "an excerpt may have its own timestamps.txt");

    fs::remove_file(&stamps).unwrap();
    let error = KittiRaw::open(&fabricated.drive, None).err().unwrap().to_string();
    assert!(error.contains("timestamps.txt: expected a file") && error.contains("hint:"), "{error}");
}

#[test]
fn without_calibration_the_frames_are_still_read() {
    let fabricated = Fabricated::new("sync");
    let date = fabricated.drive.parent().unwrap();
    for name in ["calib_imu_to_velo.txt", "calib_velo_to_cam.txt"] {
        fs::remove_file(date.join(name)).unwrap();
    }
    let mut recording = KittiRaw::open(date, None).unwrap();
    assert_eq!(read_all(&mut recording).len(), 9);
    let warnings = recording.warnings().join("\n");
    assert!(warnings.contains("calib_imu_to_velo.txt is missing") && warnings.contains("cameras cannot be placed"), "{warnings}");
    fs::write(date.join("calib_velo_to_cam.txt"), "R: 1 0 0 0 2 0 0 0 1\nT: 0 0 0\n").unwrap();
    assert!(KittiRaw::open(date, None).unwrap().warnings().join("\n").contains("expected a rotation matrix"));
}

#[test]
fn one_drive_must_be_meant() {
    let fabricated = Fabricated::new("sync");
    let other = fabricated.drive.with_file_name("2011_09_26_drive_0002_sync");
    fs::create_dir_all(other.join("oxts")).unwrap();
    let error = KittiRaw::open(fabricated.dir.path(), None).err().unwrap().to_string();
    assert!(error.contains("expected one drive, got 2") && error.contains("drive_0001_sync") && error.contains("hint:"), "{error}");
    let error = KittiRaw::open(&other, None).err().unwrap().to_string();
    assert!(error.contains("oxts/timestamps.txt"), "{error}");
    fs::write(other.join("oxts/timestamps.txt"), "").unwrap();
    let error = KittiRaw::open(&other, None).err().unwrap().to_string();
    assert!(error.contains("expected frames") && error.contains("got none"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    assert!(KittiRaw::open(empty.path(), None).err().unwrap().to_string().contains("got none within 3 levels"));
    assert!(KittiRaw::open(&empty.path().join("none"), None).is_err());
}
