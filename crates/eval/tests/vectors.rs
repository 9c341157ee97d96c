//! The numbers are those of the official tools, to 1e-6, on cases that those tools were run on.
#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

use std::path::{Path, PathBuf};

use boxwright_eval::classes::ClassRule;
use boxwright_eval::overlap::Space;
use boxwright_eval::pairing::{Pairs, pair};
use boxwright_eval::protocol::kitti::Difficulty;
use boxwright_eval::protocol::sequences::{TrackRule, prepare};
use boxwright_eval::protocol::{av2, clear, hota, kitti, nuscenes_detection, nuscenes_tracking};
use boxwright_eval::read::{read_one, read_pair};
use serde_json::Value;

const EXACT: f64 = 1e-6;

/// Recorded from the real tools. Where the shared data is not at hand, only CI insists.
#[expect(clippy::disallowed_methods, reason = "the environment says whether missing data is an error")]
#[expect(clippy::print_stdout, reason = "a test that was skipped says so")]
fn vectors() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    if folder.is_dir() {
        return Some(folder);
    }
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!in_ci, "{} is missing\nhint: the shared data belongs beside the repository", folder.display());
    println!("skipped: {} is missing", folder.display());
    None
}

/// Python's JSON has NaN, which is null here.
fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap().replace("NaN", "null")).unwrap()
}

/// Every number of `expected` stands in `got` at the same place; null is NaN, which serde writes as null too.
fn assert_holds(got: &Value, expected: &Value, place: &str) -> usize {
    match expected {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                // Null is a number that is none, and would be got for a key that is not there.
                let is = got.get(key).unwrap_or_else(|| panic!("{place}.{key}: expected {value}, got none"));
                assert_holds(is, value, &format!("{place}.{key}"))
            })
            .sum(),
        Value::Array(list) => {
            assert_eq!(got.as_array().map(Vec::len), Some(list.len()), "{place}: {got}");
            list.iter().enumerate().map(|(i, value)| assert_holds(&got[i], value, &format!("{place}[{i}]"))).sum()
        }
        Value::Number(number) => {
            let (want, is) = (number.as_f64().unwrap(), got.as_f64());
            assert!(is.is_some_and(|is| (is - want).abs() <= EXACT), "{place}: expected {want}, got {got}");
            1
        }
        _ => {
            assert_eq!(got, expected, "{place}");
            1
        }
    }
}

fn pairs(labels: &Path, truth: &Path) -> Pairs {
    let (labels, truth) = read_pair(labels, truth, None).unwrap();
    pair(labels, truth).unwrap()
}

#[test]
fn kitti_curves_are_those_of_the_official_program() {
    let Some(folder) = vectors() else { return };
    let case = folder.join("kitti_case");
    let pairs = pairs(&case.join("result_data"), &case.join("label_2"));
    assert_eq!(pairs.frames.len(), 60);
    let mut compared = 0;
    for class in ClassRule::kitti() {
        let min_overlap = if class.is_small { 0.5 } else { 0.7 };
        for (space, name) in [
            (Space::Image, "detection"),
            (Space::Bev, "detection_ground"),
            (Space::Volume, "detection_3d"),
            (Space::Image, "orientation"),
        ] {
            let file = case.join(format!("stats_{}_{name}.txt", class.name.to_lowercase()));
            let text = std::fs::read_to_string(file).unwrap();
            let mut lines = text.lines();
            for difficulty in Difficulty::official() {
                let curve = kitti::evaluate(&pairs.plain(), &class, space, &difficulty, min_overlap);
                let values = if name == "orientation" { &curve.orientation } else { &curve.precision };
                let expected: Vec<f64> = lines.next().unwrap().split_whitespace().map(|v| v.parse().unwrap()).collect();
                assert_eq!(expected.len(), values.len());
                for (index, (is, want)) in values.iter().zip(&expected).enumerate() {
                    let place = format!("{} {name} {} [{index}]", class.name, difficulty.name);
                    assert!((is - want).abs() <= EXACT, "{place}: expected {want}, got {is}");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 3 * 4 * 3 * 41);
}

#[test]
fn nuscenes_detection_is_the_devkits() {
    let Some(folder) = vectors() else { return };
    let pairs = pairs(&folder.join("nuscenes_case/det.json"), &folder.join("nuscenes_case"));
    let mut expected = json(&folder.join("nuscenes_detection_expected.json"));
    ["eval_time", "cfg"].iter().for_each(|key| drop(expected.as_object_mut().unwrap().remove(*key)));
    let got = serde_json::to_value(nuscenes_detection::evaluate(&pairs.plain())).unwrap();
    assert!(assert_holds(&got, &expected, "detection") >= 40 + 10 + 50 + 10);
}

#[test]
fn nuscenes_tracking_is_the_devkits() {
    let Some(folder) = vectors() else { return };
    let pairs = pairs(&folder.join("nuscenes_case/trk.json"), &folder.join("nuscenes_case"));
    let mut expected = json(&folder.join("nuscenes_tracking_expected.json"));
    ["eval_time", "cfg", "meta"].iter().for_each(|key| drop(expected.as_object_mut().unwrap().remove(*key)));
    let got = serde_json::to_value(nuscenes_tracking::evaluate(&pairs.in_time())).unwrap();
    assert!(assert_holds(&got, &expected, "tracking") >= 17 * 8);
}

#[test]
fn argoverse_2_is_the_official_evaluation() {
    let Some(folder) = vectors() else { return };
    let case = json(&folder.join("av2_detection_case.json"));
    let out = tempfile::tempdir().unwrap();
    let (labels, truth) = (out.path().join("dts.feather"), out.path().join("gts.feather"));
    feather::write(&case["dts"], &labels);
    feather::write(&case["gts"], &truth);
    let pairs = pairs(&labels, &truth);
    let expected = &case["expected_unrounded"];
    let classes: Vec<String> = expected.as_object().unwrap().keys().cloned().collect();
    let mut frames = pairs.in_time();
    frames.sort_by_key(|(key, ..)| *key);
    let plain: Vec<_> = frames.into_iter().map(|(_, truth, labels)| (truth, labels)).collect();
    let got = serde_json::to_value(av2::evaluate(&plain, &classes)).unwrap();
    assert_eq!(assert_holds(&got, expected, "av2"), 15);
    // The labels of a dataset are spelt in lower case.
    let mut lower: Vec<_> = plain.iter().map(|(_, labels)| (*labels).clone()).collect();
    lower.iter_mut().flat_map(|frame| &mut frame.objects).for_each(|object| object.class = object.class.to_lowercase().into());
    let lower: Vec<_> = plain.iter().zip(&lower).map(|((truth, _), labels)| (*truth, labels)).collect();
    assert_eq!(serde_json::to_value(av2::evaluate(&lower, &classes)).unwrap(), got);
}

#[test]
fn real_feather_files_compressed_with_lz4_are_read() {
    let Some(folder) = vectors() else { return };
    let logs = folder.join("../data/single_frames/av2");
    let truth = read_one(&logs, None, false).unwrap();
    assert_eq!(truth.objects().count(), 11_364);
    assert_eq!(truth.frames.len(), 156);
}

#[test]
fn what_is_true_is_found_without_an_error() {
    let Some(folder) = vectors() else { return };
    let truth = folder.join("../data/kitti_0005/gt/kitti_tracking_label_02_0000.txt");
    let pairs = pairs(&truth, &truth);
    let rule = TrackRule {
        class: ClassRule::parse("Car").unwrap(),
        space: Space::Image,
        min_overlap: 0.5,
        ignore_overlap: 0.5,
        min_points: 0,
        max_range_m: f64::INFINITY,
    };
    let sequences = prepare(&pairs.in_time(), &rule);
    assert!((hota::evaluate(&sequences).mean_hota - 1.0).abs() < 1e-12);
    let found = clear::evaluate(&sequences, 0.5);
    assert!((found.MOTA - 1.0).abs() < 1e-12 && found.CLR_TP > 100.0, "{found:?}");
    assert!((clear::identity(&sequences, 0.5).IDF1 - 1.0).abs() < 1e-12);
}

/// Argoverse 2's columns as Arrow files.
mod feather {
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use arrow::ipc::writer::FileWriter;
    use arrow::record_batch::RecordBatch;
    use serde_json::Value;

    pub(crate) fn write(columns: &Value, path: &Path) {
        let columns = columns.as_object().unwrap();
        let arrays = columns.iter().map(|(name, values)| {
            let values = values.as_array().unwrap();
            let array: ArrayRef = match &values[0] {
                Value::String(_) => Arc::new(values.iter().map(|v| v.as_str().map(str::to_owned)).collect::<StringArray>()),
                Value::Number(n) if n.is_i64() && name != "score" && !name.ends_with("_m") => {
                    Arc::new(values.iter().map(Value::as_i64).collect::<Int64Array>())
                }
                _ => Arc::new(values.iter().map(Value::as_f64).collect::<Float64Array>()),
            };
            (name.clone(), array)
        });
        let batch = RecordBatch::try_from_iter(arrays).unwrap();
        let mut writer = FileWriter::try_new(File::create(path).unwrap(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    }
}
