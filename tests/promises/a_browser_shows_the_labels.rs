//! A real Chromium opens the served viewer, and the picture shows points and boxes.

use std::io::{BufRead, BufReader};

use boxwright_tests::{boxwright, kitti_ros2_mcap, root, run_python, start};

#[test]
fn chromium_draws_points_and_boxes() {
    let Some(drive) = kitti_ros2_mcap() else { return };
    let out = tempfile::tempdir().unwrap();
    let dataset = out.path().join("dataset");
    let dataset = dataset.to_str().unwrap();
    boxwright(&["run", "--from", "mcap", drive.to_str().unwrap(), "--dataset", dataset, "--json"]).expect_code(0);
    let mut server = start(&["view", dataset, "--serve"]);
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let url = lines.find_map(|line| line.unwrap().strip_prefix("viewer: ").map(str::to_owned)).unwrap();
    let picture = out.path().join("view.png");
    let script = root().join("tests/python/view_in_chromium.py");
    let said = run_python(&[script.to_str().unwrap(), &url, picture.to_str().unwrap()]);
    let _ = server.kill();
    let _ = server.wait();
    if said.is_some() {
        assert!(picture.metadata().unwrap().len() > 10_000);
    }
}

#[test]
fn a_saved_recording_is_a_rerun_file() {
    let Some(drive) = kitti_ros2_mcap() else { return };
    let out = tempfile::tempdir().unwrap();
    let (dataset, file) = (out.path().join("dataset"), out.path().join("clip.rrd"));
    let (dataset, file) = (dataset.to_str().unwrap(), file.to_str().unwrap());
    boxwright(&["run", "--from", "mcap", drive.to_str().unwrap(), "--dataset", dataset, "--json"]).expect_code(0);
    boxwright(&["view", dataset, "--save", file]).expect_code(0);
    let bytes = std::fs::read(file).unwrap();
    assert_eq!(&bytes[..3], b"RRF", "the magic of an .rrd file");
    assert!(bytes.len() > 4_000_000, "four sweeps and four images are in it: {} bytes", bytes.len());
}
