//! `eval` gives the numbers that others' tools give, tells bad input with a hint, and its page needs nothing else; `track` gives results
//! that `eval` can judge.

use std::path::{Path, PathBuf};

use boxwright_tests::{boxwright, kitti_raw, program, root, run_python, shared};

fn eval(labels: &Path, truth: &Path, protocol: &str, more: &[&str]) -> boxwright_tests::Ended {
    let mut args = vec!["eval", labels.to_str().unwrap(), truth.to_str().unwrap(), "--protocol", protocol];
    args.extend(more);
    boxwright(&args)
}

/// Detections, calibrations and truth of ten KITTI sequences.
fn kitti_tracking(out: &Path) -> Option<PathBuf> {
    let archive = shared()?.join("data/kitti_tracking/kitti_tracking_dev.tar.xz");
    let unpack = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter='data')";
    run_python(&["-c", unpack, archive.to_str().unwrap(), out.to_str().unwrap()])?;
    Some(out.to_owned())
}

#[test]
fn trackeval_agrees_on_random_cases() {
    let script = root().join("tests/python/check_tracking.py");
    let Some(said) = run_python(&[script.to_str().unwrap(), program().to_str().unwrap(), "12"]) else { return };
    assert!(said.contains("12 cases"), "{said}");
}

#[test]
fn the_recorded_submissions_give_the_devkits_scores() {
    let Some(shared) = shared() else { return };
    let case = shared.join("vectors/nuscenes_case");
    let detection = eval(&case.join("det.json"), &case, "nuscenes", &["--json"]).expect_code(0).json();
    assert!((detection["result"]["nd_score"].as_f64().unwrap() - 0.342_405_351_973_756_54).abs() < 1e-6);
    let tracking = eval(&case.join("trk.json"), &case, "nuscenes", &["--json"]).expect_code(0).json();
    assert!((tracking["result"]["amota"].as_f64().unwrap() - 0.883_544_675_104_349_3).abs() < 1e-6);
}

#[test]
fn bad_input_is_told_with_a_hint() {
    let Some(shared) = shared() else { return };
    let case = shared.join("vectors/kitti_case");
    let truth = case.join("label_2");
    let out = tempfile::tempdir().unwrap();
    let folder = |name: &str, files: &[(&str, &str)]| {
        let folder = out.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(file, text)| std::fs::write(folder.join(file), text).unwrap());
        folder
    };
    let good = "Car -1 -1 -2.4 938 174 1003 198 1.4 1.6 3.3 22.4 1.5 45.1 -1.9 0.8\n";
    let broken = [
        (folder("empty", &[]), "an empty folder", true),
        (folder("empty-files", &[("000000.txt", "")]), "only empty files", false),
        (folder("nan", &[("000000.txt", &good.replace("22.4", "nan"))]), "centre: expected finite numbers", false),
        (folder("short", &[("000000.txt", "Car 1 2 3\n")]), "expected 15 fields", false),
        (folder("few", &[("000000.txt", good)]), "got none for 59 of them", true),
        (folder("other", &[("900000.txt", good)]), "in common, got none", true),
        (out.path().join("nowhere"), "cannot read", false),
    ];
    for (labels, said, has_hint) in &broken {
        let ended = eval(labels, &truth, "kitti", &[]).expect_code(1);
        assert!(ended.err.contains(said), "{}: {}", labels.display(), ended.err);
        assert!(!has_hint || ended.err.contains("hint:"), "{}", ended.err);
        assert!(!ended.err.contains("panicked"), "{}", ended.err);
    }
    let misspelt = eval(&case.join("result_data"), &truth, "kitti", &["--class", "Carr"]).expect_code(1);
    assert!(misspelt.err.contains("labels have Car (") && misspelt.err.contains("hint:"), "{}", misspelt.err);
    let trackless = eval(&case.join("result_data"), &truth, "hota", &[]).expect_code(1);
    assert!(trackless.err.contains("expected an identity for every object"), "{}", trackless.err);
    let damaged = folder("json", &[("s.json", r#"{"results": {"nobody": []}}"#)]).join("s.json");
    let unknown = eval(&damaged, &shared.join("vectors/nuscenes_case"), "nuscenes", &[]).expect_code(1);
    assert!(unknown.err.contains("expected tokens of samples") && unknown.err.contains("hint:"), "{}", unknown.err);
}

#[test]
fn a_dataset_is_judged_and_its_worst_frames_can_be_looked_at() {
    let (Some(shared), Some(drive)) = (shared(), kitti_raw()) else { return };
    let out = tempfile::tempdir().unwrap();
    let (dataset, page) = (out.path().join("data"), out.path().join("report.html"));
    boxwright(&["run", "--from", "kitti-raw", drive.to_str().unwrap(), "--dataset", dataset.to_str().unwrap()]).expect_code(0);
    let gt = shared.join("data/kitti_0005/gt");
    let html = ["--class", "vehicle", "--in-view", "image_02", "--json", "--html", page.to_str().unwrap()];
    let report = eval(&dataset, &gt.join("labels.json"), "kitti", &html).expect_code(0).json();
    assert_eq!(report["frames"], 90);
    let curves = report["result"]["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 4, "BEV and 3D at two overlaps");
    let ap =
        |space: &str| curves.iter().find(|c| c["space"] == space && c["min_overlap"] == 0.5).unwrap()["ap_r40"].as_f64().unwrap();
    assert!(ap("bev") > 20.0 && ap("bev") >= ap("3d"), "{} {}", ap("bev"), ap("3d"));
    let worst = report["worst_frames"][0]["view"].as_str().unwrap().to_owned();
    let recording = out.path().join("worst.rrd");
    let mut command: Vec<&str> = worst.split_whitespace().skip(1).collect();
    command.extend(["--save", recording.to_str().unwrap()]);
    boxwright(&command).expect_code(0);
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("<svg") && text.contains(&worst), "no chart or no command in the page");
    for outside in ["http://", "https://", "src=", "<script"] {
        assert!(!text.contains(outside), "{outside} in the page");
    }
}

#[test]
fn the_tracker_alone_on_somebody_elses_detections() {
    let out = tempfile::tempdir().unwrap();
    let Some(data) = kitti_tracking(out.path()) else { return };
    let (detections, results) = (data.join("detections_pointrcnn"), out.path().join("results"));
    let calib = data.join("calib");
    let args = [
        "track",
        "--detections",
        detections.to_str().unwrap(),
        "--calib",
        calib.to_str().unwrap(),
        "--out",
        results.to_str().unwrap(),
    ];
    boxwright(&args).expect_code(0);
    // What somebody brought is not written over.
    let over =
        boxwright(&["track", "--detections", detections.to_str().unwrap(), "--out", detections.to_str().unwrap()]).expect_code(1);
    assert!(over.err.contains("--out: expected a folder of its own") && over.err.contains("hint:"), "{}", over.err);
    let page = calib.join(std::fs::read_dir(&calib).unwrap().next().unwrap().unwrap().file_name());
    let before = std::fs::read(&page).unwrap();
    let labels = data.join("label_02");
    let over = eval(&results, &labels, "clear", &["--class", "Car", "--html", page.to_str().unwrap()]).expect_code(1);
    assert!(over.err.contains("--html: expected a new file or an older page") && over.err.contains("hint:"), "{}", over.err);
    assert_eq!(std::fs::read(&page).unwrap(), before);
    assert_eq!(std::fs::read_dir(&results).unwrap().count(), 10, "one file a sequence");
    let found = eval(&results, &data.join("label_02"), "clear", &["--class", "Car", "--json"]).expect_code(0).json();
    let averaged = &found["result"]["Car"]["averaged"];
    assert!(averaged["sAMOTA"].as_f64().unwrap() > 0.9, "{averaged}");
    assert!(averaged["IDS"].as_f64().unwrap() <= 10.0, "{averaged}");
}

#[test]
fn refined_tracks_are_better_and_few_of_their_boxes_worse() {
    let Some(shared) = shared() else { return };
    let script = root().join("benches/refinement.py");
    let data = shared.join("data");
    let Some(said) = run_python(&[script.to_str().unwrap(), program().to_str().unwrap(), data.to_str().unwrap()]) else { return };
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    for part in ["tuned_on", "held_out"] {
        let cars = &found["Car"][part];
        let number = |path: &str| cars.pointer(path).unwrap().as_f64().unwrap();
        let gain = |what: &str| number(&format!("/after/{what}")) - number(&format!("/before/{what}"));
        assert!(number("/boxes") > 4000.0, "{part}: {cars}");
        assert!(gain("mean") > 0.02 && gain("above_0.7") > 4.0 && gain("above_0.8") > 9.0, "{part}: {cars}");
        assert!(number("/much_worse") < 5.0 && number("/much_better") > 4.0 * number("/much_worse"), "{part}: {cars}");
        let people = &found["Pedestrian"][part];
        let people_number = |path: &str| people.pointer(path).unwrap().as_f64().unwrap();
        assert!(people_number("/after/mean") > people_number("/before/mean"), "{part}: {people}");
    }
}
