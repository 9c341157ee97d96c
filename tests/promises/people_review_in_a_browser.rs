//! Two people review the demo's clip in a real Chromium; other tools read what they leave.

use boxwright_tests::{boxwright, kitti_ros2_mcap, program, root, run_python};

use crate::support::TestBroker;

#[test]
fn what_people_decide_in_a_browser_is_the_next_revision() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let (dataset, graded, pictures) = (path("dataset"), path("graded"), path("pictures"));
    boxwright(&["demo", "--dataset", &dataset, "--seconds", "6", "--json"]).expect_code(0);
    let broker = TestBroker::start(1);
    let (program, script) = (program(), root().join("tests/python/review_in_chromium.py"));
    let (brokers, topic) = (broker.address(), broker.topic("verdicts"));
    let mut args =
        vec![script.to_str().unwrap(), program.to_str().unwrap(), &dataset, &pictures, "--brokers", &brokers, "--topic", &topic];
    if let Some(drive) = kitti_ros2_mcap() {
        let config = path("graded.toml");
        std::fs::write(&config, "[run]\ndefault_grade = \"important\"\n").unwrap();
        boxwright(&["run", "--from", "mcap", drive.to_str().unwrap(), "--dataset", &graded, "--config", &config, "--json"])
            .expect_code(0);
        args.extend(["--graded", &graded]);
    }
    args.push("--");
    let connection = broker.args("review", "", "");
    args.extend(connection.iter().map(String::as_str));
    let Some(said) = run_python(&args) else { return };
    println!("{said}");
    if let Some(keep) = option_env!("BOXWRIGHT_TEST_PICTURES") {
        copy(&pictures, keep);
    }
}

/// Keeps the pictures as output of a build that asks for them.
fn copy(from: &str, to: &str) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, std::path::Path::new(to).join(path.file_name().unwrap())).unwrap();
    }
}
