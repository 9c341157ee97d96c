//! pyarrow, polars and DuckDB open every table and agree on every value.

use boxwright_tests::{boxwright, kitti_ros2_mcap, root, run_python};

#[test]
fn three_readers_agree_on_every_value() {
    let Some(drive) = kitti_ros2_mcap() else { return };
    let out = tempfile::tempdir().unwrap();
    let dataset = out.path().to_str().unwrap();
    boxwright(&["run", "--from", "mcap", drive.to_str().unwrap(), "--dataset", dataset, "--json"]).expect_code(0);
    let script = root().join("tests/python/check_shards.py");
    let Some(said) = run_python(&[script.to_str().unwrap(), dataset]) else { return };
    for table in ["lidar", "camera", "ego_pose", "calibration", "sample", "box3", "track"] {
        assert!(said.contains(table), "{table} was not checked:\n{said}");
    }
}
