//! Where no message says where the vehicle was, its sweeps do: as well as another odometry, the same in every run, and said in the dataset.
//! Where messages say it, nothing changes.

use std::path::{Path, PathBuf};

use boxwright_pipeline::Config;
use boxwright_shard::{ClipReader, Dataset, StoredFinding};
use boxwright_tests::{boxwright, files_below, kitti_raw, program, root, run_python, shared};

use crate::support::{assert_same_labels, rows};

fn run(drive: &Path, dataset: &Path, config: Option<&Path>) {
    let mut args = vec!["run", "--from", "kitti-raw", drive.to_str().unwrap(), "--dataset", dataset.to_str().unwrap(), "--json"];
    args.extend(config.iter().flat_map(|file| ["--config", file.to_str().unwrap()]));
    boxwright(&args).expect_code(0);
}

/// The KITTI drive without what its INS said.
fn without_ins(drive: &Path, out: &Path) -> PathBuf {
    let folder = out.join("drive");
    for (path, bytes) in files_below(drive) {
        if !path.iter().any(|part| part == "oxts") {
            let file = folder.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
    }
    folder
}

fn findings(dataset: &Path) -> Vec<StoredFinding> {
    let dataset = Dataset::open(dataset).unwrap();
    let entries = dataset.clips(None).unwrap();
    entries.iter().flat_map(|entry| ClipReader::open(&dataset, entry).unwrap().findings().unwrap()).collect()
}

/// What the labels of a dataset say, row by row. (The files also name the options, which differ.)
fn contents(dataset: &Path) -> Vec<String> {
    let dataset = Dataset::open(dataset).unwrap();
    let taxonomy = Config::embedded().unwrap().load_taxonomy().unwrap();
    let rows = dataset.clips(None).unwrap().into_iter().flat_map(|entry| {
        let clip = ClipReader::open(&dataset, &entry).unwrap();
        let (boxes, tracks) = (clip.boxes(&taxonomy).unwrap(), clip.tracks(&taxonomy).unwrap());
        let (poses, samples, findings) = (clip.ego_poses().unwrap(), clip.samples().unwrap(), clip.findings().unwrap());
        [format!("{boxes:?}"), format!("{tracks:?}"), format!("{poses:?}"), format!("{samples:?}"), format!("{findings:?}")]
    });
    rows.collect()
}

fn ap_bev(dataset: &Path, truth: &Path) -> f64 {
    let args = ["--protocol", "kitti", "--class", "vehicle", "--in-view", "image_02", "--json"];
    let mut all = vec!["eval", dataset.to_str().unwrap(), truth.to_str().unwrap()];
    all.extend(args);
    let report = boxwright(&all).expect_code(0).json();
    let curves = report["result"]["curves"].as_array().unwrap();
    curves.iter().find(|curve| curve["space"] == "bev" && curve["min_overlap"] == 0.5).unwrap()["ap_r40"].as_f64().unwrap()
}

#[test]
fn the_odometry_is_as_good_as_kiss_icp() {
    let Some(shared) = shared() else { return };
    let (script, data) = (root().join("benches/odometry.py"), shared.join("data"));
    let tool = program().with_file_name("egomotion");
    let Some(said) = run_python(&[script.to_str().unwrap(), tool.to_str().unwrap(), data.to_str().unwrap()]) else { return };
    println!("{said}");
    let result: serde_json::Value = serde_json::from_str(said.lines().next_back().unwrap()).unwrap();
    for drive in ["kitti_0005", "pandaset_002"] {
        let (ours, theirs) = (&result[drive]["boxwright"], &result[drive]["kiss_icp"]);
        let figure = |of: &serde_json::Value, name: &str| of[name].as_f64().unwrap();
        for (name, slack) in [("translation_percent", 1.05), ("turn_deg_per_m", 1.25), ("standing_m", 1.02)] {
            let (ours, theirs) = (figure(ours, name), figure(theirs, name));
            assert!(ours <= slack * theirs, "{drive}: expected {name} of at most {slack} times {theirs}, got {ours}");
        }
    }
}

#[test]
fn labels_without_an_ins_are_as_good_as_with_it_and_the_same_in_every_run() {
    let (Some(shared), Some(drive)) = (shared(), kitti_raw()) else { return };
    let out = tempfile::tempdir().unwrap();
    let bare = without_ins(drive, out.path());
    let [with, own, again, none] = ["with", "own", "again", "none"].map(|name| out.path().join(name));
    let off = out.path().join("off.toml");
    std::fs::write(&off, "[odometry]\nmode = \"off\"\n").unwrap();
    run(drive, &with, None);
    run(&bare, &own, None);
    run(&bare, &again, None);
    run(&bare, &none, Some(&off));
    assert_same_labels(&own, &again);
    assert_eq!(rows(&own, "ego_pose"), 90, "every sweep has its pose");
    assert_eq!(rows(&none, "ego_pose"), 0);
    let of_poses = |dataset: &Path| {
        let mut told = findings(dataset);
        told.retain(|finding| finding.rule.starts_with("BW-O"));
        told
    };
    let told = of_poses(&own);
    assert!(!told.is_empty() && told.iter().all(|finding| &*finding.rule == "BW-O001"), "{told:?}");
    assert!(told[0].message.contains("own odometry") && told[0].values.contains("\"source\":\"odometry\""), "{told:?}");
    assert!(of_poses(&with).is_empty() && of_poses(&none).is_empty());
    let viewed = boxwright(&["view", own.to_str().unwrap(), "--save", out.path().join("own.rrd").to_str().unwrap()]).expect_code(0);
    assert!(viewed.err.contains("BW-O001"), "the viewer says whose poses they are: {}", viewed.err);
    let truth = shared.join("data/kitti_0005/gt/labels.json");
    let [with, own, none] = [&with, &own, &none].map(|dataset| ap_bev(dataset, &truth));
    println!("AP of vehicles from above at 0.5: {with:.1} with the INS, {own:.1} by odometry, {none:.1} without poses");
    // 371 vehicles of eleven tracks: two parked ones that are boxed otherwise are six points.
    assert!(own > with - 8.0 && own > 68.0, "expected at least 68.0 and about {with} as with the INS, got {own}");
    assert!(own > none + 3.0, "expected more than {none} without poses, got {own}");
}

#[test]
fn poses_that_come_are_used_as_ever() {
    let Some(drive) = kitti_raw() else { return };
    let out = tempfile::tempdir().unwrap();
    let [auto, off, always] = ["auto", "off", "always"].map(|name| out.path().join(name));
    let config = |mode: &str| {
        let file = out.path().join(format!("{mode}.toml"));
        std::fs::write(&file, format!("[odometry]\nmode = \"{mode}\"\n")).unwrap();
        file
    };
    run(drive, &auto, None);
    run(drive, &off, Some(&config("off")));
    run(drive, &always, Some(&config("always")));
    assert_eq!(contents(&auto), contents(&off));
    let told: Vec<_> = findings(&always).into_iter().filter(|finding| finding.rule.starts_with("BW-O")).collect();
    assert!(told.iter().any(|finding| &*finding.rule == "BW-O003" && finding.values.contains("\"poses\"")), "{told:?}");
}
