//! Argoverse 2's feather files: annotations and detections in the frame of the vehicle.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::ipc::reader::FileReader;
use arrow::record_batch::RecordBatch;
use boxwright_model::Cuboid;
use boxwright_model::space::pose_from_parts;

use crate::error::EvalError;
use crate::labels::{FrameNumbers, LabelSet, Object};

/// Reads a feather file, or every `annotations.feather` in the folders of logs below a folder.
///
/// # Errors
/// When a file cannot be read, is compressed in a way unknown to Arrow, or a column is missing or of another type.
pub fn read(path: &Path) -> Result<LabelSet, EvalError> {
    let mut set = LabelSet::new(path, FrameNumbers::StampNs);
    set.frames_are_complete = false;
    let mut files = Vec::new();
    if path.is_dir() {
        let own = path.join("annotations.feather");
        if own.is_file() {
            files.push(own);
        } else {
            for entry in std::fs::read_dir(path).map_err(EvalError::io(path))? {
                files.push(entry.map_err(EvalError::io(path))?.path().join("annotations.feather"));
            }
            files.retain(|file| file.is_file());
            files.sort();
        }
    } else {
        files.push(path.to_owned());
    }
    let mut with_score = false;
    for file in files {
        let wrong =
            |error: arrow::error::ArrowError| EvalError::format(&file, format!("expected a feather file (Arrow IPC), got {error}"));
        let opened = std::fs::File::open(&file).map_err(EvalError::io(&file))?;
        let reader = FileReader::try_new(std::io::BufReader::new(opened), None).map_err(wrong)?;
        for batch in reader {
            with_score |= add_batch(&mut set, &file, &batch.map_err(wrong)?)?;
        }
    }
    set.has_scores = with_score;
    Ok(set)
}

fn column<T: Clone + 'static>(file: &Path, batch: &RecordBatch, name: &str, kind: &DataType) -> Result<T, EvalError> {
    let missing = || {
        EvalError::format(
            file,
            format!("expected column {name} of type {kind}, got none\nhint: an Argoverse 2 annotation or detection file"),
        )
    };
    let found: &ArrayRef = batch.column_by_name(name).ok_or_else(missing)?;
    let wrong = || EvalError::format(file, format!("column {name}: expected type {kind}, got {}", found.data_type()));
    let values = cast(found, kind).map_err(|_| wrong())?;
    if values.null_count() > 0 {
        return Err(EvalError::format(
            file,
            format!("column {name}: expected a value in every row, got {} nulls", values.null_count()),
        ));
    }
    values.as_any().downcast_ref::<T>().cloned().ok_or_else(wrong)
}

/// Adds the rows of a batch; whether they have scores.
fn add_batch(set: &mut LabelSet, file: &Path, batch: &RecordBatch) -> Result<bool, EvalError> {
    let number = |name: &str| column::<Float64Array>(file, batch, name, &DataType::Float64);
    let integer = |name: &str| column::<Int64Array>(file, batch, name, &DataType::Int64);
    let text = |name: &str| column::<StringArray>(file, batch, name, &DataType::Utf8);
    let has = |name: &str| batch.column_by_name(name).is_some();
    let (stamps, classes) = (integer("timestamp_ns")?, text("category")?);
    let logs = if has("log_id") { Some(text("log_id")?) } else { None };
    let tracks = if has("track_uuid") { Some(text("track_uuid")?) } else { None };
    let scores = if has("score") { Some(number("score")?) } else { None };
    let points = if has("num_interior_pts") { Some(integer("num_interior_pts")?) } else { None };
    let columns = ["tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m", "qx", "qy", "qz", "qw"].map(number);
    let mut values = Vec::with_capacity(columns.len());
    for one in columns {
        values.push(one?);
    }
    let folder = file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    for row in 0..batch.num_rows() {
        let at = |index: usize| values[index].value(row);
        let wrong = |what: &str| EvalError::format(file, format!("row {row}: expected a finite {what}, got another"));
        let pose = pose_from_parts([at(0), at(1), at(2)], [at(6), at(7), at(8), at(9)]).ok_or_else(|| wrong("pose"))?;
        let cuboid =
            Cuboid { center_m: pose.translation.vector, size_lwh_m: [at(3), at(4), at(5)].into(), rotation: pose.rotation };
        let mut object = Object::new(classes.value(row), cuboid);
        object.track = tracks.as_ref().map(|tracks| tracks.value(row).into());
        object.score = scores.as_ref().map_or(1.0, |scores| scores.value(row));
        object.num_points = points.as_ref().map(|points| u32::try_from(points.value(row)).unwrap_or(0));
        if let Some(name) = object.broken_number() {
            return Err(wrong(name));
        }
        let log: Arc<str> = logs.as_ref().map_or_else(|| folder.as_str().into(), |logs| logs.value(row).into());
        set.frame_mut(&log, stamps.value(row)).objects.push(object);
    }
    Ok(scores.is_some())
}
