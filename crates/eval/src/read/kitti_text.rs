//! KITTI's label text: one file a frame (object benchmark, 15 or 16 fields) or one file a sequence (tracking benchmark, 17 or 18).
//!
//! Boxes are turned from the camera's frame (x right, y down, z forward; the point is the middle of the floor) to x forward, y left, z up
//! and the middle of the box: `yaw = -rotation_y - π/2`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_model::Cuboid;
use nalgebra::Vector3;

use crate::error::{EvalError, read_text};
use crate::labels::{FrameNumbers, ImageBox, LabelSet, Object};

/// Reads a file or a folder of them.
///
/// # Errors
/// When a file cannot be read or a line is not KITTI's.
pub fn read(path: &Path) -> Result<LabelSet, EvalError> {
    let files = text_files(path)?;
    let mut is_tracking = None;
    let mut set = LabelSet::new(path, FrameNumbers::Index);
    let mut with_score = 0_usize;
    let mut texts = Vec::new();
    for file in &files {
        let text = read_text(file)?;
        if let (None, Some(line)) = (is_tracking, text.lines().find(|line| !line.trim().is_empty())) {
            is_tracking = Some(line.split_whitespace().next().is_some_and(|field| field.parse::<f64>().is_ok()));
        }
        texts.push(text);
    }
    let Some(is_tracking) = is_tracking else {
        return Err(EvalError::format(path, "expected at least one object in KITTI label files, got only empty files"));
    };
    set.frames_are_complete = !is_tracking;
    for (file, text) in files.iter().zip(texts) {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let sequence: Arc<str> = if is_tracking { stem.into() } else { "".into() };
        if !is_tracking {
            set.frame_mut(&sequence, frame_number(file, stem)?);
        }
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |message: String| EvalError::format(file, format!("line {}: {message}", index + 1));
            let fields: Vec<&str> = line.split_whitespace().collect();
            let number = if is_tracking { frame_field(&fields).map_err(&wrong)? } else { frame_number(file, stem)? };
            let (object, has_score) = parse(&fields, is_tracking).map_err(&wrong)?;
            let frame = set.frame_mut(&sequence, number);
            if object.class.eq_ignore_ascii_case("dontcare") {
                frame.dont_care.extend(object.image);
                continue;
            }
            if is_tracking && object.track.as_deref().is_some_and(is_nobody) {
                continue;
            }
            if let Some(name) = object.broken_number() {
                return Err(wrong(format!("{name}: expected finite numbers, got {line:?}")));
            }
            if is_tracking && frame.objects.iter().any(|other| (&other.track, &other.class) == (&object.track, &object.class)) {
                return Err(wrong(format!("expected each track once a frame, got {} {} twice", object.class, fields[1])));
            }
            with_score += usize::from(has_score);
            frame.objects.push(object);
        }
    }
    set.has_scores = with_score > 0;
    Ok(set)
}

/// The `.txt` files that a path means, in order of names.
fn text_files(path: &Path) -> Result<Vec<PathBuf>, EvalError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(EvalError::io(path))? {
        let file = entry.map_err(EvalError::io(path))?.path();
        if file.extension().is_some_and(|extension| extension == "txt") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn frame_number(file: &Path, stem: &str) -> Result<i64, EvalError> {
    stem.parse().map_err(|_| {
        EvalError::format(
            file,
            format!(
                "expected the number of a frame as name (000123.txt), got {stem:?}\nhint: KITTI object labels are one file a frame"
            ),
        )
    })
}

fn frame_field(fields: &[&str]) -> Result<i64, String> {
    let frame = number(fields, 0, "frame")?;
    if frame.fract() == 0.0 && (0.0..1e9).contains(&frame) {
        Ok(frame as i64)
    } else {
        Err(format!("expected a frame number from 0 on, got {frame}"))
    }
}

fn number(fields: &[&str], index: usize, name: &str) -> Result<f64, String> {
    let text = fields.get(index).ok_or_else(|| format!("{name}: expected field {}, got {} fields", index + 1, fields.len()))?;
    text.parse().map_err(|_| format!("{name}: expected a number in field {}, got {text:?}", index + 1))
}

/// Whether an identity is none: TrackEval leaves such lines out.
fn is_nobody(track: &str) -> bool {
    track.parse::<f64>().is_ok_and(|number| number < 0.0)
}

/// One line; whether it has a score.
fn parse(fields: &[&str], is_tracking: bool) -> Result<(Object, bool), String> {
    let skip = if is_tracking { 2 } else { 0 };
    if !(15 + skip..=16 + skip).contains(&fields.len()) {
        return Err(format!("expected {} fields or one more with a score, got {}", 15 + skip, fields.len()));
    }
    let at = |index: usize, name: &str| number(fields, index + skip, name);
    let mut object = Object::new(fields[skip], cuboid(&at)?);
    object.track = is_tracking.then(|| fields[1].into());
    // The tracking benchmark has levels, and its tools cut off what is behind the point.
    let truncation = at(1, "truncated")?;
    object.truncation = if is_tracking { truncation.trunc() } else { truncation };
    object.occlusion = at(2, "occluded")? as i32;
    object.alpha_rad = at(3, "alpha")?;
    object.image = Some(ImageBox { ltrb_px: [at(4, "left")?, at(5, "top")?, at(6, "right")?, at(7, "bottom")?] });
    let has_score = fields.len() == 16 + skip;
    if has_score {
        object.score = at(15, "score")?;
    }
    Ok((object, has_score))
}

fn cuboid(at: &impl Fn(usize, &str) -> Result<f64, String>) -> Result<Cuboid, String> {
    let (height, width, length) = (at(8, "height")?, at(9, "width")?, at(10, "length")?);
    let (x, y, z) = (at(11, "x")?, at(12, "y")?, at(13, "z")?);
    let yaw = -at(14, "rotation_y")? - std::f64::consts::FRAC_PI_2;
    // Results in the image alone have sizes of -1.
    let size = Vector3::new(length, width, height).sup(&Vector3::zeros());
    Ok(Cuboid::upright(Vector3::new(z, -x, height / 2.0 - y), size, yaw))
}
