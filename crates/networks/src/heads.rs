//! From the heads of a network of sweeps to boxes.
//!
//! | decoder | heads, each `[1, channels, rows, columns]` | of |
//! | --- | --- | --- |
//! | `center` | heat (a channel a class), offset (2), height (1), size (3, logarithms of width or length first as the manifest says), heading (sine, cosine) | Yin, Zhou, Krähenbühl: "Center-based 3D object detection", CVPR 2021 |
//! | `anchors` | class (anchors × classes), box (anchors × 7: dx dy dz dw dl dh dθ against the anchor), direction (anchors × 2) | Lang et al., 2019, with the anchors and the coder of SECOND |
//!
//! Scores are rounded to a 1024th and numbers of boxes to a millimetre before anything is decided by them: see the crate's page.

use serde::Deserialize;

use crate::session::Tensor;

/// Boxes that take part in the suppression, the surest first.
const MAX_BOXES: usize = 1000;
/// Logarithms of sizes beyond this are no sizes: e^5 is 148 m.
const MAX_LOG_SIZE: f64 = 5.0;

/// How heads become boxes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "decoder", rename_all = "snake_case", deny_unknown_fields)]
pub enum Heads {
    /// A heat map of centres.
    Center(CenterHeads),
    /// Anchors in every cell.
    Anchors(AnchorHeads),
}

/// Heads of the CenterPoint family.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CenterHeads {
    /// Pillars a cell of the heads.
    pub stride: usize,
    /// Name of the output of heat.
    pub heat: String,
    /// Name of the output of offsets within the cell (x, y; cells).
    pub offset: String,
    /// Name of the output of heights of middles (metres).
    pub height: String,
    /// Name of the output of sizes (logarithms).
    pub size: String,
    /// Name of the output of headings (sine, cosine).
    pub heading: String,
    /// The heat is a logit; otherwise it is a probability already.
    pub heat_is_logit: bool,
    /// Order of the sizes: width, length, height (mmdetection3d before 1.0) or length, width, height.
    pub width_first: bool,
    /// Boxes that are less sure are left out.
    pub min_score: f64,
    /// Of two boxes whose middles are nearer, the surer one stays (metres): a cell's neighbours see the same object.
    pub min_distance_m: f64,
}

/// Heads of the PointPillars family.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorHeads {
    /// Pillars a cell of the heads.
    pub stride: usize,
    /// Name of the output of classes (logits).
    pub class: String,
    /// Name of the output of boxes.
    #[serde(rename = "box")]
    pub box_: String,
    /// Name of the output of directions.
    pub direction: String,
    /// Number of classes of each anchor.
    pub classes: usize,
    /// The anchors of a cell, in the order of the channels.
    pub anchors: Vec<Anchor>,
    /// Boxes that are less sure are left out.
    pub min_score: f64,
    /// Of two boxes whose middles are nearer, the surer one stays (metres).
    pub min_distance_m: f64,
}

/// What a cell expects.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Length, width, height (metres).
    pub size_lwh_m: [f64; 3],
    /// Height of its middle (metres from the origin).
    pub z_m: f64,
    /// Heading of its length (radians).
    pub yaw_rad: f64,
}

/// A box in the network's frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RawCuboid {
    pub(crate) class: usize,
    pub(crate) score: f64,
    pub(crate) center_m: [f64; 3],
    pub(crate) size_lwh_m: [f64; 3],
    pub(crate) yaw_rad: f64,
}

/// Where the cells of the heads are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells {
    /// Columns (along x) and rows (along y).
    pub(crate) grid: [usize; 2],
    /// Least x and y (metres).
    pub(crate) start_m: [f64; 2],
    /// Sides of a cell (metres).
    pub(crate) side_m: [f64; 2],
}

impl Heads {
    pub(crate) fn stride(&self) -> usize {
        match self {
            Self::Center(heads) => heads.stride,
            Self::Anchors(heads) => heads.stride,
        }
    }

    /// Names of the outputs, in the order in which [`Self::decode`] takes them.
    pub(crate) fn outputs(&self) -> Vec<&str> {
        match self {
            Self::Center(h) => vec![&h.heat, &h.offset, &h.height, &h.size, &h.heading],
            Self::Anchors(h) => vec![&h.class, &h.box_, &h.direction],
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let (stride, min_score, min_distance_m) = match self {
            Self::Center(h) => (h.stride, h.min_score, h.min_distance_m),
            Self::Anchors(h) => (h.stride, h.min_score, h.min_distance_m),
        };
        if !(1..=64).contains(&stride) {
            return Err(format!("output.stride: expected 1 to 64, got {stride}"));
        }
        if !(0.0..=1.0).contains(&min_score) || !(0.0..=100.0).contains(&min_distance_m) {
            return Err(format!(
                "output.min_score and min_distance_m: expected 0 to 1 and 0 to 100 m, got {min_score} and {min_distance_m}"
            ));
        }
        if let Self::Anchors(heads) = self {
            let sound = |anchor: &Anchor| {
                anchor.size_lwh_m.iter().all(|side| (0.01..=100.0).contains(side))
                    && anchor.z_m.abs() <= 100.0
                    && anchor.yaw_rad.abs() <= 7.0
            };
            if !(1..=64).contains(&heads.anchors.len()) || !heads.anchors.iter().all(sound) {
                return Err(format!("output.anchors: expected 1 to 64 with sides of 0.01 to 100 m, got {:?}", heads.anchors));
            }
            if !(1..=1024).contains(&heads.classes) {
                return Err(format!("output.classes: expected 1 to 1024, got {}", heads.classes));
            }
        }
        Ok(())
    }

    /// Decodes the outputs; `used` says which classes are wanted, of `classes` of them.
    pub(crate) fn decode(
        &self,
        outputs: &[Tensor],
        cells: &Cells,
        classes: usize,
        used: impl Fn(usize) -> bool,
    ) -> Result<Vec<RawCuboid>, String> {
        let (found, min_distance_m) = match self {
            Self::Center(heads) => (heads.decode(outputs, cells, classes, used)?, heads.min_distance_m),
            Self::Anchors(heads) => (heads.decode(outputs, cells, used)?, heads.min_distance_m),
        };
        Ok(suppress(found, min_distance_m))
    }
}

/// One head, looked up by channel and cell.
struct Head<'a> {
    data: &'a [f32],
    cells: usize,
}

impl<'a> Head<'a> {
    fn new(name: &str, tensor: Option<&'a Tensor>, channels: usize, [columns, rows]: [usize; 2]) -> Result<Self, String> {
        let expected = [1, channels, rows, columns];
        match tensor {
            Some(tensor) if tensor.shape == expected => Ok(Self { data: &tensor.data, cells: columns * rows }),
            other => Err(format!("output {name:?}: expected {expected:?}, got {:?}", other.map(|tensor| &tensor.shape))),
        }
    }

    fn at(&self, channel: usize, cell: usize) -> f64 {
        f64::from(self.data[channel * self.cells + cell])
    }
}

fn sigmoid(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

fn finished(raw: RawCuboid) -> Option<RawCuboid> {
    let mm = |value: f64| rounded(value, 1000.0);
    let raw = RawCuboid {
        center_m: raw.center_m.map(mm),
        size_lwh_m: raw.size_lwh_m.map(mm),
        yaw_rad: rounded(raw.yaw_rad, 1024.0),
        score: raw.score.min(1.0),
        ..raw
    };
    let sound = raw.center_m.iter().chain([&raw.yaw_rad]).all(|value| value.is_finite())
        && raw.size_lwh_m.iter().all(|side| *side > 0.0 && side.is_finite());
    sound.then_some(raw)
}

fn size(log: f64) -> f64 {
    if log.abs() <= MAX_LOG_SIZE { log.exp() } else { f64::NAN }
}

impl CenterHeads {
    fn decode(
        &self,
        outputs: &[Tensor],
        cells: &Cells,
        classes: usize,
        used: impl Fn(usize) -> bool,
    ) -> Result<Vec<RawCuboid>, String> {
        let head = |index: usize, name: &str, channels: usize| Head::new(name, outputs.get(index), channels, cells.grid);
        let heat = head(0, &self.heat, classes)?;
        let offset = head(1, &self.offset, 2)?;
        let height = head(2, &self.height, 1)?;
        let sizes = head(3, &self.size, 3)?;
        let heading = head(4, &self.heading, 2)?;
        let [columns, rows] = cells.grid;
        let mut found = Vec::new();
        for class in (0..classes).filter(|class| used(*class)) {
            for cell in 0..columns * rows {
                let hot = heat.at(class, cell);
                let score = rounded(if self.heat_is_logit { sigmoid(hot) } else { hot }, 1024.0);
                // Written so that no number is no box.
                if !(score >= self.min_score) {
                    continue;
                }
                let (x, y) = ((cell % columns) as f64 + offset.at(0, cell), (cell / columns) as f64 + offset.at(1, cell));
                let [first, second, tall] = [0, 1, 2].map(|channel| size(sizes.at(channel, cell)));
                let [length, width] = if self.width_first { [second, first] } else { [first, second] };
                let raw = RawCuboid {
                    class,
                    score,
                    center_m: [cells.start_m[0] + x * cells.side_m[0], cells.start_m[1] + y * cells.side_m[1], height.at(0, cell)],
                    size_lwh_m: [length, width, tall],
                    yaw_rad: heading.at(0, cell).atan2(heading.at(1, cell)),
                };
                found.extend(finished(raw));
            }
        }
        Ok(found)
    }
}

impl AnchorHeads {
    fn decode(&self, outputs: &[Tensor], cells: &Cells, used: impl Fn(usize) -> bool) -> Result<Vec<RawCuboid>, String> {
        let anchors = self.anchors.len();
        let head = |index: usize, name: &str, channels: usize| Head::new(name, outputs.get(index), channels, cells.grid);
        let class_of = head(0, &self.class, anchors * self.classes)?;
        let boxes = head(1, &self.box_, anchors * 7)?;
        let direction = head(2, &self.direction, anchors * 2)?;
        let [columns, rows] = cells.grid;
        let mut found = Vec::new();
        for cell in 0..columns * rows {
            for (index, anchor) in self.anchors.iter().enumerate() {
                for class in (0..self.classes).filter(|class| used(*class)) {
                    let score = rounded(sigmoid(class_of.at(index * self.classes + class, cell)), 1024.0);
                    if !(score >= self.min_score) {
                        continue;
                    }
                    let of = |number: usize| boxes.at(index * 7 + number, cell);
                    let [length, width, height] = anchor.size_lwh_m;
                    let diagonal = length.hypot(width);
                    let middle = |axis: usize, at: usize| cells.start_m[axis] + (at as f64 + 0.5) * cells.side_m[axis];
                    let (x, y) = (middle(0, cell % columns), middle(1, cell / columns));
                    let back = direction.at(index * 2 + 1, cell) > direction.at(index * 2, cell);
                    // The head tells the heading up to half turns, the direction which of the two: forward of the anchor's axis or back.
                    let half = std::f64::consts::PI;
                    let axis = (of(6) + anchor.yaw_rad).rem_euclid(half);
                    let raw = RawCuboid {
                        class,
                        score,
                        center_m: [x + of(0) * diagonal, y + of(1) * diagonal, anchor.z_m + of(2) * height],
                        size_lwh_m: [length * size(of(4)), width * size(of(3)), height * size(of(5))],
                        yaw_rad: if back { axis - half } else { axis },
                    };
                    found.extend(finished(raw));
                }
            }
        }
        Ok(found)
    }
}

/// Keeps the surest of boxes of a class whose middles are near to each other.
fn suppress(mut found: Vec<RawCuboid>, min_distance_m: f64) -> Vec<RawCuboid> {
    // Stable: equal scores stay in the order of the cells.
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MAX_BOXES);
    let mut kept: Vec<RawCuboid> = Vec::new();
    for one in found {
        let near = |other: &RawCuboid| {
            other.class == one.class
                && (other.center_m[0] - one.center_m[0]).hypot(other.center_m[1] - one.center_m[1]) < min_distance_m
        };
        if !kept.iter().any(near) {
            kept.push(one);
        }
    }
    kept
}

#[cfg(test)]
mod tests;
