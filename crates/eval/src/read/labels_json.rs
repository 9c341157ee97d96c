//! `gt/labels.json`: frames by number, each a list of boxes in the frame of the lidar.

use std::collections::BTreeMap;
use std::path::Path;

use boxwright_model::Cuboid;
use serde::Deserialize;
use serde_json::Value;

use super::times::FrameTimes;
use crate::error::{EvalError, read_text};
use crate::labels::{FrameNumbers, LabelSet, Object};

#[derive(Deserialize)]
struct File {
    frames: BTreeMap<String, Vec<Box>>,
    #[serde(default)]
    note: Value,
}

#[derive(Deserialize)]
struct Box {
    track_id: Value,
    cls: String,
    center: [f64; 3],
    size_lwh: [f64; 3],
    yaw: f64,
    #[serde(default)]
    n_points: Option<u32>,
    #[serde(default)]
    score: Option<f64>,
}

/// Reads the file; with `times`, frames are known by their stamps.
///
/// # Errors
/// When it cannot be read or is something else.
pub fn read(path: &Path, times: Option<&FrameTimes>) -> Result<LabelSet, EvalError> {
    let file: File = serde_json::from_str(&read_text(path)?).map_err(|e| {
        EvalError::format(path, format!("expected frames of boxes (track_id, cls, center, size_lwh, yaw, n_points), got {e}\nhint: was the file copied whole?"))
    })?;
    let mut set = LabelSet::new(path, if times.is_some() { FrameNumbers::StampNs } else { FrameNumbers::Index });
    set.has_scores = false;
    set.note = file.note.as_str().map(str::to_owned);
    for (name, boxes) in file.frames {
        let number: i64 = name.parse().map_err(|_| EvalError::format(path, format!("expected numbers of frames, got {name:?}")))?;
        let key = match times {
            None => number,
            Some(times) => times.stamp_of(number).ok_or_else(|| {
                let message =
                    format!("frame {number}: expected a time for every frame, got none\nhint: --timestamps names another file");
                EvalError::format(path, message)
            })?,
        };
        let frame = set.frame_mut(&"".into(), key);
        let mut with_score = false;
        for (index, one) in boxes.into_iter().enumerate() {
            let mut object = Object::new(&one.cls, Cuboid::upright(one.center.into(), one.size_lwh.into(), one.yaw));
            object.track = Some(one.track_id.as_str().map_or_else(|| one.track_id.to_string(), str::to_owned).into());
            object.num_points = one.n_points;
            object.score = one.score.unwrap_or(1.0);
            with_score |= one.score.is_some();
            if let Some(name) = object.broken_number() {
                return Err(EvalError::format(path, format!("frame {number}, box {index}: expected a finite {name}, got another")));
            }
            frame.objects.push(object);
        }
        set.has_scores |= with_score;
    }
    Ok(set)
}
