//! The decoder of YOLOX (Ge et al., 2021): a row for every cell of grids of falling resolution.
//!
//! A row is `dx dy log(w) log(h) objectness class…`; with the cell `(gx, gy)` of the grid of stride `s`, the centre is `((dx + gx) s, (dy + gy) s)` and
//! the size `(e^w s, e^h s)`, both in pixels of the tensor. The score is objectness times the class's. Values are rounded to a 16th of a pixel and a
//! 1024th of a score before anything is decided by them.

use crate::manifest::CameraOutput;
use crate::session::Tensor;

/// Boxes that take part in the suppression, the surest first: it compares each with each, and an untrained network finds one in every cell.
const MAX_BOXES: usize = 1000;

/// A box in pixels of the tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RawBox {
    pub(crate) class: usize,
    pub(crate) score: f64,
    pub(crate) ltrb_px: [f64; 4],
}

/// Decodes the output for a tensor of this width and height; `used` says which classes are wanted.
pub(crate) fn decode(
    output: &Tensor,
    size_px: [usize; 2],
    config: &CameraOutput,
    used: impl Fn(usize) -> bool,
) -> Result<Vec<RawBox>, String> {
    let columns = 5 + config.classes;
    let grid = |stride: u32| [size_px[0] / stride as usize, size_px[1] / stride as usize];
    let rows: usize = config.strides.iter().map(|stride| grid(*stride).iter().product::<usize>()).sum();
    if output.shape != [1, rows, columns] {
        return Err(format!(
            "expected an output of [1, {rows}, {columns}] for an input of {} x {} with strides {:?} and {} classes, got {:?}",
            size_px[0], size_px[1], config.strides, config.classes, output.shape
        ));
    }
    let cells = config.strides.iter().flat_map(|stride| {
        let [width, height] = grid(*stride);
        (0..height).flat_map(move |y| (0..width).map(move |x| (x, y, f64::from(*stride))))
    });
    let mut found = Vec::new();
    for (row, (x, y, stride)) in output.data.chunks_exact(columns).zip(cells) {
        let objectness = f64::from(row[4]);
        for (class, likely) in row[5..].iter().enumerate().filter(|(class, _)| used(*class)) {
            let score = rounded(objectness * f64::from(*likely), 1024.0);
            // Written so that no number is no box.
            if !(score >= config.min_score) {
                continue;
            }
            let [dx, dy, w, h] = [0, 1, 2, 3].map(|at| f64::from(row[at]));
            let (cx, cy, half_w, half_h) =
                ((dx + x as f64) * stride, (dy + y as f64) * stride, w.exp() * stride / 2.0, h.exp() * stride / 2.0);
            let ltrb_px = [cx - half_w, cy - half_h, cx + half_w, cy + half_h].map(|value| rounded(value, 16.0));
            if ltrb_px.iter().all(|value| value.is_finite()) {
                found.push(RawBox { class, score: score.min(1.0), ltrb_px });
            }
        }
    }
    Ok(suppress(found, config.nms_iou))
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

/// Keeps the surest of the boxes of a class that overlap.
fn suppress(mut found: Vec<RawBox>, max_iou: f64) -> Vec<RawBox> {
    // Stable: equal scores stay in the order of the cells.
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MAX_BOXES);
    let mut kept: Vec<RawBox> = Vec::new();
    for one in found {
        let overlaps =
            |other: &RawBox| other.class == one.class && boxwright_label::look::iou(other.ltrb_px, one.ltrb_px) > max_iou;
        if !kept.iter().any(overlaps) {
            kept.push(one);
        }
    }
    kept
}

#[cfg(test)]
mod tests;
