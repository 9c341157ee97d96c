//! Networks that a user brings take part in the labels: a 2D detector votes on classes, and boxes of a detector that runs elsewhere come over a topic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_model::{Box3, BoxFrame, Cuboid, DetectedBox, DetectedBoxes, Pose, SensorKind, Taxonomy};
use boxwright_pipeline::config::DEFAULT_TAXONOMY_TOML;
use boxwright_pipeline::detector::calibration_sha256;
use boxwright_pipeline::{Config, Networks, RunJob};
use boxwright_shard::{ClipReader, Dataset};
use boxwright_source::recording::{KittiRaw, RecordingSource};
use boxwright_source::{Encoding, OutgoingMessage, Recording, wire};
use boxwright_tests::interleaved::Interleaved;
use boxwright_tests::{boxwright, kitti_raw, root, run_python, shared};
use nalgebra::{Matrix3, Matrix3x4, Point3, Rotation3, Translation3, UnitQuaternion, Vector3};
use sha2::{Digest, Sha256};

use crate::support::{TestBroker, assert_same_labels};

fn boxes(dataset: &Path) -> Vec<Box3> {
    let dataset = Dataset::open(dataset).unwrap();
    let taxonomy = Taxonomy::from_toml(DEFAULT_TAXONOMY_TOML).unwrap();
    dataset
        .entries()
        .unwrap()
        .iter()
        .flat_map(|entry| ClipReader::open(&dataset, entry).unwrap().boxes(&taxonomy).unwrap())
        .collect()
}

fn models(dataset: &Path) -> BTreeMap<String, String> {
    Dataset::open(dataset).unwrap().entries().unwrap().into_iter().flat_map(|entry| entry.models).collect()
}

fn findings(dataset: &Path, rule: &str) -> Vec<String> {
    let dataset = Dataset::open(dataset).unwrap();
    let entries = dataset.entries().unwrap();
    let all = entries.iter().flat_map(|entry| ClipReader::open(&dataset, entry).unwrap().findings().unwrap());
    all.filter(|finding| &*finding.rule == rule).map(|finding| finding.message).collect()
}

/// The documented manifest for the weights that lie in the folder of small networks, in a folder of its own.
fn yolox_manifest(folder: &Path) -> Option<PathBuf> {
    let weights = shared()?.join("models/yolox_nano_dyn.onnx");
    let Ok(bytes) = std::fs::read(&weights) else {
        boxwright_tests::missing("a small network is missing", "models/yolox_nano_dyn.onnx is expected in the folder `shared`");
        return None;
    };
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let manifest = std::fs::read_to_string(root().join("configs/networks/yolox.toml")).unwrap();
    let manifest = manifest
        .replacen("weights = \"yolox_nano.onnx\"", &format!("weights = {:?}", weights.to_str().unwrap()), 1)
        .replacen("sha256 = \"\"", &format!("sha256 = \"{sha256}\""), 1);
    let file = folder.join("yolox.toml");
    std::fs::write(&file, manifest).unwrap();
    Some(file)
}

#[test]
fn a_real_camera_network_votes_and_stands_in_the_books() {
    let out = tempfile::tempdir().unwrap();
    let (Some(drive), Some(manifest)) = (kitti_raw(), yolox_manifest(out.path())) else { return };
    // An image in three is enough to see that it has a say.
    let config = out.path().join("c.toml");
    std::fs::write(&config, "[networks.camera]\nmanifest = \"yolox.toml\"\nevery = 3\n").unwrap();
    let run = |name: &str, more: &[&str]| {
        let dataset = out.path().join(name);
        let mut args = vec!["run", "--from", "kitti-raw", drive.to_str().unwrap(), "--dataset", dataset.to_str().unwrap()];
        args.extend(more);
        (boxwright(&args), dataset)
    };
    let config = ["--config", config.to_str().unwrap()];
    let (ended, first) = run("first", &config);
    ended.expect_code(0);
    let (ended, second) = run("second", &config);
    ended.expect_code(0);
    assert_same_labels(&first, &second);
    let models = models(&first);
    let sha256 = |file: &Path| Sha256::digest(std::fs::read(file).unwrap()).iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(models["camera-manifest:yolox_nano@0.1.1"], sha256(&manifest));
    assert_eq!(models["camera:yolox_nano@0.1.1"], sha256(&shared().unwrap().join("models/yolox_nano_dyn.onnx")));
    let voted = boxes(&first).into_iter().filter(|found| found.evidence.contains("\"model\":\"yolox_nano\"")).count();
    assert!(voted > 100, "{voted}");
    assert_eq!(findings(&first, "BW-R002"), [""; 0], "it could look at every image");
    let recording = out.path().join("first.rrd");
    let viewed = boxwright(&["view", first.to_str().unwrap(), "--save", recording.to_str().unwrap()]).expect_code(0);
    assert!(viewed.err.contains("labels with camera:yolox_nano@0.1.1 (SHA-256 "), "{}", viewed.err);
    // Weights that are not those that the manifest names, and a manifest that is not there.
    let other = std::fs::read_to_string(&manifest).unwrap().replacen("sha256 = \"66", "sha256 = \"00", 1);
    std::fs::write(out.path().join("other.toml"), other).unwrap();
    // What does not fit is told before any data is read.
    let misfit = std::fs::read_to_string(&manifest).unwrap().replacen("classes = 80", "classes = 91", 1);
    std::fs::write(out.path().join("misfit.toml"), misfit).unwrap();
    for (file, said) in [
        ("other.toml", "expected weights with the SHA-256 00"),
        ("misfit.toml", "the network does not fit the manifest, as a trial shows: expected an output of [1,"),
        ("nowhere.toml", "cannot read"),
    ] {
        let file = out.path().join(file);
        let ended = run("none", &["--detector2d", file.to_str().unwrap()]).0.expect_code(1);
        assert!(ended.err.contains(said) && ended.err.contains("hint:"), "{}", ended.err);
    }
}

/// PointRCNN's boxes of the drive's frames, in the frame of its lidar.
fn pointrcnn(folder: &Path) -> BTreeMap<u64, Vec<DetectedBox>> {
    let calib = std::fs::read_to_string(folder.join("calib/0000.txt")).unwrap();
    let numbers = |name: &str| -> Vec<f64> {
        let line = calib.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(|number| number.parse().unwrap()).collect()
    };
    let rotation = Matrix3::from_row_slice(&numbers("R0_rect"));
    let placed = Matrix3x4::from_row_slice(&numbers("Tr_velo_to_cam"));
    let turned = Rotation3::from_matrix(&(rotation * placed.fixed_view::<3, 3>(0, 0)));
    let moved = rotation * placed.column(3);
    let camera_from_lidar = Pose::from_parts(Translation3::from(moved), UnitQuaternion::from_rotation_matrix(&turned));
    let mut by_frame: BTreeMap<u64, Vec<DetectedBox>> = BTreeMap::new();
    for class in ["Car", "Pedestrian"] {
        let text = std::fs::read_to_string(folder.join(format!("detections_pointrcnn/{class}/0000.txt"))).unwrap();
        for line in text.lines() {
            let fields: Vec<f64> = line.split(',').map(|field| field.parse().unwrap()).collect();
            let [frame, _, _, _, _, _, logit, h, w, l, x, y, z, ry, _]: [f64; 15] = fields.try_into().unwrap();
            let middle = camera_from_lidar.inverse() * Point3::new(x, y - h / 2.0, z);
            by_frame.entry(frame as u64).or_default().push(DetectedBox {
                class: class.into(),
                score: 1.0 / (1.0 + f64::exp(-logit)),
                center_m: middle.into(),
                size_lwh_m: [l, w, h],
                yaw_rad: -ry - std::f64::consts::FRAC_PI_2,
            });
        }
    }
    by_frame
}

/// The drive begins with this frame of the sequence.
const FIRST_FRAME: u64 = 64;

/// What a service that runs PointRCNN answers to a sweep. KITTI's ego frame is the lidar's.
fn answer(boxes: &BTreeMap<u64, Vec<DetectedBox>>, sweep: &OutgoingMessage) -> DetectedBoxes {
    DetectedBoxes {
        model_name: "pointrcnn".into(),
        model_version: "kitti".into(),
        model_sha256: "".into(),
        calibration_sha256: calibration_sha256(&Pose::identity()).into(),
        frame: BoxFrame::Lidar,
        boxes: boxes.get(&(FIRST_FRAME + sweep.seq)).cloned().unwrap_or_default(),
    }
}

fn message(sweep: &OutgoingMessage, found: &DetectedBoxes) -> OutgoingMessage {
    OutgoingMessage {
        kind: SensorKind::Detections,
        schema: "boxwright.Detections".into(),
        encoding: Encoding::Protobuf,
        payload: wire::encode_detections(found),
        ..sweep.clone()
    }
}

/// The drive with the answers of the service behind its sweeps.
fn answered(drive: &Path, boxes: &Arc<BTreeMap<u64, Vec<DetectedBox>>>) -> Interleaved {
    let boxes = boxes.clone();
    let recording = KittiRaw::open(drive, None).unwrap();
    let speak = move |sweep: &OutgoingMessage| match sweep.kind {
        SensorKind::Lidar => vec![message(sweep, &answer(&boxes, sweep))],
        _ => Vec::new(),
    };
    Interleaved::new(Box::new(recording), Box::new(speak))
}

fn detections(out: &Path) -> Option<Arc<BTreeMap<u64, Vec<DetectedBox>>>> {
    let archive = shared()?.join("data/kitti_tracking/kitti_tracking_dev.tar.xz");
    let unpack = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter='data')";
    run_python(&["-c", unpack, archive.to_str().unwrap(), out.to_str().unwrap()])?;
    Some(Arc::new(pointrcnn(out)))
}

const TOPIC: &str =
    "[detector]\nprovider = \"topic\"\nmin_score = 0.3\n[detector.classes]\nCar = \"car\"\nPedestrian = \"pedestrian\"\n";

#[test]
fn boxes_of_pointrcnn_come_over_the_topic_as_they_come_directly() {
    let out = tempfile::tempdir().unwrap();
    let (Some(drive), Some(found)) = (kitti_raw(), detections(out.path())) else { return };
    let (direct, kafka) = (out.path().join("direct"), out.path().join("kafka"));
    // Directly, in this process.
    let file = out.path().join("topic.toml");
    std::fs::write(&file, TOPIC).unwrap();
    let config = Arc::new(Config::load(&file).unwrap());
    let taxonomy = Arc::new(config.load_taxonomy().unwrap());
    let networks = Networks::open(&config, &taxonomy).unwrap();
    let dataset = Dataset::open_or_create(&direct, config.grid()).unwrap();
    let mut source = RecordingSource::new(Box::new(answered(drive, &found)), &config.kafka.topic_prefix);
    let job = RunJob { networks, ..RunJob::new(config, taxonomy, Some(dataset)) };
    boxwright_pipeline::run(&mut source, job).unwrap();
    // Over the topic, through a broker.
    let broker = TestBroker::with_detections(3);
    let mut recording = answered(drive, &found);
    broker.produce(std::iter::from_fn(|| recording.next_message().unwrap()));
    let report = broker.run_until_idle_with(TOPIC, &kafka).expect_code(0).json();
    assert_eq!(report["late"], 0, "{report}");
    assert_eq!(report["samples"], 90, "{report}");
    assert_eq!(report["dropped"], serde_json::json!({}), "every message found its sweep: {report}");
    assert_same_labels(&direct, &kafka);
    assert_eq!(models(&kafka).keys().collect::<Vec<_>>(), ["detector:pointrcnn@kitti"]);
    assert_eq!(findings(&kafka, "BW-R003"), [""; 0]);
    let labels = boxes(&kafka);
    assert!(labels.iter().all(|found| found.evidence.contains("\"detector\":{\"model\":\"pointrcnn\"")), "all are its own");
    // They lie where the detector said, as boxes of tracks.
    let (mut hits, mut all) = (0, 0);
    let of_frame = |frame: u64| found.get(&frame).into_iter().flatten().filter(|one| one.score >= 0.95);
    let mut recording = KittiRaw::open(drive, None).unwrap();
    while let Some(sweep) = recording.next_message().unwrap() {
        let sweep_of_ours = sweep.kind == SensorKind::Lidar;
        for one in of_frame(FIRST_FRAME + sweep.seq).filter(|_| sweep_of_ours) {
            let near = |label: &&Box3| (label.ego_from_box.center_m - Vector3::from(one.center_m)).xy().norm() < 0.7;
            all += 1;
            hits += u32::from(labels.iter().filter(|label| label.sample_stamp_ns == sweep.stamp_ns).any(|label| near(&label)));
        }
    }
    assert!(all > 300 && f64::from(hits) > 0.9 * f64::from(all), "{hits} of {all}");
    // And the protocol judges them.
    let truth = shared().unwrap().join("data/kitti_0005/gt/labels.json");
    let args = ["eval", kafka.to_str().unwrap(), truth.to_str().unwrap(), "--protocol", "kitti", "--in-view", "image_02"];
    println!("{}", boxwright(&args).expect_code(0).out);
}

#[test]
fn boxes_that_are_late_twofold_strange_or_missing_are_counted_and_their_sweeps_labelled_all_the_same() {
    let out = tempfile::tempdir().unwrap();
    let (Some(drive), Some(found)) = (kitti_raw(), detections(out.path())) else { return };
    let mut recording = KittiRaw::open(drive, None).unwrap();
    let (mut messages, mut late) = (Vec::new(), Vec::new());
    while let Some(sent) = recording.next_message().unwrap() {
        messages.push(sent.clone());
        if sent.kind != SensorKind::Lidar {
            continue;
        }
        let mut said = answer(&found, &sent);
        match sent.seq {
            // Five sweeps that the service was too slow for: their boxes come at the end.
            20..25 => late.push(message(&sent, &said)),
            // Three that it left out.
            30..33 => {}
            // Four made with another calibration.
            40..44 => {
                said.calibration_sha256 = calibration_sha256(&Pose::translation(0.0, 0.0, 1.0)).into();
                messages.push(message(&sent, &said));
            }
            // Two that were sent twice.
            50..52 => messages.extend([message(&sent, &said), message(&sent, &said)]),
            // One of a sweep that nobody has.
            60 => {
                let strange = OutgoingMessage { stamp_ns: sent.stamp_ns + 40_000_000, ..message(&sent, &said) };
                messages.extend([message(&sent, &said), strange]);
            }
            _ => messages.push(message(&sent, &said)),
        }
    }
    messages.append(&mut late);
    let broker = TestBroker::with_detections(1);
    broker.produce(messages);
    let dataset = out.path().join("dataset");
    let report = broker.run_until_idle_with(TOPIC, &dataset).expect_code(0).json();
    assert_eq!(report["late"], 5, "{report}");
    assert_eq!(report["samples"], 90, "{report}");
    let expected = serde_json::json!({ "duplicate": 2, "other_calibration": 4, "unmatched": 1 });
    assert_eq!(report["dropped"], expected, "{report}");
    let said = findings(&dataset, "BW-R003");
    // The drive may lie in two clips, which tell of their own sweeps.
    let sweeps = |why: &str| -> u64 {
        let told = said.iter().filter(|text| text.contains(&format!("sweeps of velodyne_points: {why}")));
        told.map(|text| text.split_whitespace().find_map(|word| word.parse::<u64>().ok()).unwrap()).sum()
    };
    assert_eq!((sweeps("none came in time"), sweeps("expected boxes made with")), (8, 4), "{said:?}");
    assert!(said.iter().all(|text| text.contains("the built-in detector labelled them")), "{said:?}");
    let cuboids: Vec<Cuboid> = boxes(&dataset).into_iter().map(|one| one.ego_from_box).collect();
    assert!(cuboids.len() > 300 && cuboids.iter().all(Cuboid::is_valid));
}
