//! Detections as text: `frame,class,x1,y1,x2,y2,score,h,w,l,x,y,z,ry,alpha`, boxes in KITTI's camera frame (bottom centre), classes 1
//! (pedestrian), 2 (car), 3 (cyclist); one file a sequence, in the folder or in folders of classes below it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use boxwright_model::Cuboid;
use nalgebra::Vector3;

/// Farthest frame: ten hours at 10 Hz. A number beyond it is a broken line.
const MAX_FRAME: f64 = 360_000.0;
const FIELDS: usize = 15;

/// Classes of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pedestrian,
    Car,
    Cyclist,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Pedestrian, Self::Car, Self::Cyclist];

    /// Its name in the taxonomy.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Pedestrian => "pedestrian",
            Self::Car => "car",
            Self::Cyclist => "cyclist",
        }
    }

    /// Its name in KITTI's files.
    pub(super) fn kitti(self) -> &'static str {
        match self {
            Self::Pedestrian => "Pedestrian",
            Self::Car => "Car",
            Self::Cyclist => "Cyclist",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Detection {
    pub(super) frame: usize,
    pub(super) kind: Kind,
    pub(super) ltrb_px: [f64; 4],
    pub(super) score: f64,
    pub(super) hwl_m: [f64; 3],
    pub(super) xyz_camera_m: [f64; 3],
    pub(super) rotation_y_rad: f64,
    pub(super) alpha_rad: f64,
}

impl Detection {
    /// The box with x forward, y left, z up.
    pub(super) fn cuboid(&self) -> Cuboid {
        let ([h, w, l], [x, y, z]) = (self.hwl_m, self.xyz_camera_m);
        Cuboid::upright(Vector3::new(z, -x, h / 2.0 - y), Vector3::new(l, w, h), -self.rotation_y_rad - std::f64::consts::FRAC_PI_2)
    }
}

/// Every sequence of a folder by name.
pub(super) fn read_folder(folder: &Path) -> anyhow::Result<BTreeMap<String, Vec<Detection>>> {
    let mut files = text_files(folder)?;
    if files.is_empty() {
        for entry in std::fs::read_dir(folder)? {
            let below = entry?.path();
            if below.is_dir() {
                files.extend(text_files(&below)?);
            }
        }
    }
    if files.is_empty() {
        bail!(
            "{}: expected detections as *.txt, one file a sequence, got none\nhint: they may also stand in folders of classes",
            folder.display()
        );
    }
    files.sort();
    let mut sequences: BTreeMap<String, Vec<Detection>> = BTreeMap::new();
    for file in files {
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let sequence = sequences.entry(name).or_default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            sequence.push(parse(line).map_err(|message| anyhow::anyhow!("{}, line {}: {message}", file.display(), index + 1))?);
        }
    }
    Ok(sequences)
}

fn text_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
    Ok(files)
}

fn parse(line: &str) -> Result<Detection, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    if fields.len() != FIELDS {
        return Err(format!(
            "expected {FIELDS} fields with commas between (frame,class,x1,y1,x2,y2,score,h,w,l,x,y,z,ry,alpha), got {}",
            fields.len()
        ));
    }
    let mut values = [0.0; FIELDS];
    for (index, (value, field)) in values.iter_mut().zip(&fields).enumerate() {
        *value = field
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .ok_or_else(|| format!("field {}: expected a finite number, got {field:?}", index + 1))?;
    }
    let [frame, class, x1, y1, x2, y2, score, h, w, l, x, y, z, ry, alpha] = values;
    if frame.fract() != 0.0 || !(0.0..MAX_FRAME).contains(&frame) {
        return Err(format!("expected a frame number from 0 to {MAX_FRAME}, got {frame}"));
    }
    if !(h > 0.0 && w > 0.0 && l > 0.0) {
        return Err(format!("expected sizes above 0, got height {h}, width {w}, length {l}"));
    }
    if x1 > x2 || y1 > y2 {
        return Err(format!("expected an image box from left to right and top to bottom, got {x1},{y1} to {x2},{y2}"));
    }
    let kind = match class as i64 {
        1 => Kind::Pedestrian,
        2 => Kind::Car,
        3 => Kind::Cyclist,
        _ => return Err(format!("expected class 1 (pedestrian), 2 (car) or 3 (cyclist), got {class}")),
    };
    Ok(Detection {
        frame: frame as usize,
        kind,
        ltrb_px: [x1, y1, x2, y2],
        score,
        hwl_m: [h, w, l],
        xyz_camera_m: [x, y, z],
        rotation_y_rad: ry,
        alpha_rad: alpha,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_is_told_with_both_sides() {
        let good = "0,2,298.3,165.1,458.2,293.4,8.2,1.9,1.8,4.7,-4.5,1.8,13.5,-2.1,-1.7";
        assert!(parse(good).is_ok());
        for (wrong, said) in [
            ("0,2", "expected 15 fields"),
            (&good.replacen(",8.2,", ",nan,", 1), "field 7: expected a finite number"),
            (&good.replacen("0,2", "0,9", 1), "expected class 1"),
            (&good.replacen("0,2", "-1,2", 1), "expected a frame number"),
            (&good.replacen(",1.9,", ",0,", 1), "expected sizes above 0"),
            (&good.replacen(",298.3,", ",498.3,", 1), "from left to right"),
        ] {
            let message = parse(wrong).unwrap_err();
            assert!(message.contains(said), "{wrong}: {message}");
        }
    }
}
