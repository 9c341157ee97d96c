//! Real drives go in, and every sweep of them is in the shards, with boxes.

use boxwright_tests::{boxwright, kitti_raw, kitti_ros2_mcap, pandaset_mcap};

use crate::support::rows;

fn run(format: &str, path: &std::path::Path, dataset: &std::path::Path) -> serde_json::Value {
    boxwright(&["run", "--from", format, path.to_str().unwrap(), "--dataset", dataset.to_str().unwrap(), "--json"])
        .expect_code(0)
        .json()
}

#[test]
fn ninety_kitti_sweeps() {
    let Some(drive) = kitti_raw() else { return };
    let out = tempfile::tempdir().unwrap();
    let report = run("kitti-raw", drive, out.path());
    assert_eq!(rows(out.path(), "lidar"), 90);
    assert_eq!(rows(out.path(), "camera"), 90);
    assert_eq!(rows(out.path(), "sample"), 90, "every reference sweep is one sample");
    assert_eq!(report["samples"], 90);
    assert_eq!(report["late"], 0);
    assert_eq!(report["dead_lettered"], 0);
    assert!(report["boxes"].as_u64().unwrap() > 300, "{report}");
    assert!(report["tracks"].as_u64().unwrap() >= 10, "{report}");
}

#[test]
fn forty_pandaset_sweeps() {
    let Some(drive) = pandaset_mcap() else { return };
    let out = tempfile::tempdir().unwrap();
    let report = run("mcap", drive, out.path());
    assert_eq!(rows(out.path(), "lidar"), 40);
    assert_eq!(rows(out.path(), "camera"), 120);
    assert_eq!(rows(out.path(), "sample"), 40);
    assert_eq!(rows(out.path(), "ego_pose"), 40);
    assert!(report["boxes"].as_u64().unwrap() > 300, "{report}");
}

#[test]
fn four_sweeps_of_somebody_elses_ros2_recording() {
    let Some(drive) = kitti_ros2_mcap() else { return };
    let out = tempfile::tempdir().unwrap();
    let report = run("mcap", &drive, out.path());
    assert_eq!(rows(out.path(), "lidar"), 4);
    assert_eq!(rows(out.path(), "camera"), 4);
    let skipped = report["skipped_channels"].to_string();
    assert!(skipped.contains("/kitti/imu") && skipped.contains("sensor_msgs/msg/Imu"), "the unread channel is named: {skipped}");
}
