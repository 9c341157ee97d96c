//! Readers of labels and truth: what a path holds is seen from the path and the first bytes, not asked for.

use std::path::Path;

use crate::error::EvalError;
use crate::labels::LabelSet;
use times::FrameTimes;

pub mod kitti_text;

pub mod tracklets;

pub mod labels_json;

pub mod av2;

pub mod dataset;

pub mod nuscenes;

pub mod times;

mod nuscenes_names;

/// Reads labels and truth that belong together; a dataset of ours is read by [`dataset::read`] instead.
///
/// # Errors
/// When a file is none of the formats, or is broken.
pub fn read_pair(labels: &Path, truth: &Path, times: Option<&FrameTimes>) -> Result<(LabelSet, LabelSet), EvalError> {
    if let Some(tables) = nuscenes::tables_folder(truth) {
        return nuscenes::Tables::read(&tables)?.with_submission(labels);
    }
    Ok((read_one(labels, times, false)?, read_one(truth, times, false)?))
}

/// Reads labels or truth. With `wants_stamps`, frames that are numbered get their times, from `times` or from the file at its usual place.
///
/// # Errors
/// As [`read_pair`].
pub fn read_one(path: &Path, times: Option<&FrameTimes>, wants_stamps: bool) -> Result<LabelSet, EvalError> {
    if !path.exists() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(EvalError::Io { path: path.to_owned(), source: missing });
    }
    let found = if wants_stamps && times.is_none() { FrameTimes::beside(path)? } else { None };
    let times = if wants_stamps { times.or(found.as_ref()) } else { times };
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension {
        "xml" => tracklets::read(path, times),
        "json" => labels_json::read(path, times),
        "feather" | "arrow" => av2::read(path),
        "txt" => kitti_text::read(path),
        _ if path.is_dir() => read_folder(path),
        _ => Err(unknown(path, &format!("a file named *.{extension}"))),
    }
}

fn read_folder(path: &Path) -> Result<LabelSet, EvalError> {
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(EvalError::io(path))? {
        names.push(entry.map_err(EvalError::io(path))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let holds_feather = |name: &String| path.join(name).join("annotations.feather").is_file();
    if names.iter().any(|name| name == "annotations.feather") || names.iter().any(holds_feather) {
        return av2::read(path);
    }
    if names.iter().any(|name| name.ends_with(".txt")) {
        return kitti_text::read(path);
    }
    names.truncate(5);
    let what = if names.is_empty() { "an empty folder".to_owned() } else { format!("a folder with {}, …", names.join(", ")) };
    Err(unknown(path, &what))
}

fn unknown(path: &Path, got: &str) -> EvalError {
    let message = format!(
        "expected labels, got {got}\nhint: a Boxwright dataset; KITTI label files (*.txt) or tracklet_labels.xml; a nuScenes submission \
         (*.json) with its version folder as truth; Argoverse 2 *.feather; or labels.json"
    );
    EvalError::format(path, message)
}
