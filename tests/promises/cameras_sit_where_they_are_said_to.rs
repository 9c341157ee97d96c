//! The check of calibrations on real drives: what is right is not flagged, what is planted is, and a transform the wrong way round is named.

use std::path::{Path, PathBuf};

use boxwright_tests::{boxwright, kitti_raw, pandaset_mcap};
use nalgebra::{Matrix3, Vector3};
use serde_json::Value;

fn check(format: &str, path: &Path, code: i32) -> Value {
    boxwright(&["calib", "check", "--from", format, path.to_str().unwrap(), "--json"]).expect_code(code).json()
}

/// The same drive with another transform from lidar to camera: `change` gets rotation and translation as they were.
fn replanted(drive: &Path, folder: &Path, change: impl Fn(Matrix3<f64>, Vector3<f64>) -> (Matrix3<f64>, Vector3<f64>)) -> PathBuf {
    let day = std::fs::read_dir(drive).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let copy = folder.join(day.file_name().unwrap());
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&day).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), copy.join(entry.unwrap().file_name()));
        if from.is_dir() { std::os::unix::fs::symlink(from, to).unwrap() } else { std::fs::copy(from, to).map(drop).unwrap() }
    }
    let file = copy.join("calib_velo_to_cam.txt");
    let text = std::fs::read_to_string(&file).unwrap();
    let numbers = |key: &str| -> Vec<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().map(|number| number.parse().unwrap()).collect()
    };
    let (rotation, translation) = change(Matrix3::from_row_slice(&numbers("R:")), Vector3::from_column_slice(&numbers("T:")));
    let words = |values: Vec<f64>| values.iter().map(|value| format!("{value:.9e}")).collect::<Vec<_>>().join(" ");
    let rows = words(rotation.transpose().iter().copied().collect());
    std::fs::write(&file, format!("R: {rows}\nT: {}\n", words(translation.iter().copied().collect()))).unwrap();
    folder.to_owned()
}

#[test]
fn kitti_fits_a_degree_off_does_not_and_the_inverse_is_named() {
    let Some(drive) = kitti_raw() else { return };
    let right = check("kitti-raw", drive, 0);
    assert_eq!(right["cameras"][0]["verdict"], "fits", "{right}");

    let folder = tempfile::tempdir().unwrap();
    let turned = |rotation: Matrix3<f64>, translation: Vector3<f64>| {
        let turn = nalgebra::Rotation3::from_axis_angle(&Vector3::y_axis(), 1.0_f64.to_radians());
        (turn * rotation, turn * translation)
    };
    let off = check("kitti-raw", &replanted(drive, folder.path(), turned), 4);
    let camera = &off["cameras"][0];
    assert_eq!((&camera["verdict"], &camera["axes"][1]), (&"off".into(), &"off".into()), "{off}");
    assert!((camera["turn_right_down_forward_deg"][1].as_f64().unwrap() + 1.0).abs() < 0.3, "{off}");

    let folder = tempfile::tempdir().unwrap();
    let inverse = |rotation: Matrix3<f64>, translation: Vector3<f64>| (rotation.transpose(), -(rotation.transpose() * translation));
    let wrong = check("kitti-raw", &replanted(drive, folder.path(), inverse), 4);
    assert_eq!(wrong["cameras"][0]["verdict"], "wrong_way", "{wrong}");
    assert!(wrong["cameras"][0]["hint"].as_str().unwrap().contains("invert it"), "{wrong}");
}

#[test]
fn three_cameras_of_pandaset_fit_and_pictures_are_written() {
    let Some(drive) = pandaset_mcap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (drive, pictures) = (drive.to_str().unwrap(), folder.path().join("pictures"));
    let report = boxwright(&["calib", "check", "--from", "mcap", drive, "--overlay", pictures.to_str().unwrap(), "--json"]);
    let report = report.expect_code(0).json();
    let verdicts: Vec<&str> =
        report["cameras"].as_array().unwrap().iter().map(|camera| camera["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["fits"; 3], "{report}");
    let written: Vec<_> = std::fs::read_dir(&pictures).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(written.len(), 9);
    assert!(written.iter().all(|file| std::fs::read(file).unwrap().starts_with(b"\x89PNG")));
}
