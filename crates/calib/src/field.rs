//! How near each place of an image is to an edge.

use crate::gray::{Gray, Sums};

/// Columns of the image in which edges are looked for: a tenth of a degree each in an ordinary road camera. More would show noise and cost time.
pub const COLUMNS: usize = 700;
/// An edge is felt to this distance (degrees): over it, its strength falls to 1/e. Half of the angle that must be told.
const FELT_DEG: f64 = 0.25;
/// Contrast is taken relative to the mean over a box of this size (degrees), so that a tree does not outshine a street in shadow.
const CONTRAST_DEG: f64 = 5.0;
/// The mean over a box of this size is taken out (degrees): places with many edges all around tell nothing about angles.
const TREND_DEG: f64 = 7.0;
/// Contrast below which there is no edge, in brightness of 256: noise of the camera and of its JPEG.
const NOISE: f32 = 4.0;
/// Strongest edge, as a multiple of the usual contrast about it.
const MOST_CONTRAST: f32 = 4.0;

/// Which way an edge runs in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runs {
    /// Up and down: brightness and depth change across columns.
    Down,
    /// Left and right: they change across rows.
    Across,
}

/// Nearness to edges, for edges of either direction. What is near no edge, or in a place full of them, is about zero.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeField {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Columns of the field a column of the camera's image.
    pub scale: f64,
    down: Vec<f32>,
    across: Vec<f32>,
}

impl EdgeField {
    /// The field of an image. `focal_px` is the focal length in pixels of the camera's model, `model_width_px` the width that the model is told for.
    #[must_use]
    pub fn of(image: &Gray, focal_px: f64, model_width_px: u32) -> Self {
        let small = image.at_most_wide(COLUMNS);
        let scale = small.width as f64 / f64::from(model_width_px.max(1));
        let pixels = |degrees: f64| degrees.to_radians() * focal_px * scale;
        let half = |degrees: f64| ((pixels(degrees) / 2.0).round() as usize).max(2);
        let decay = (-1.0 / pixels(FELT_DEG).max(0.1)).exp() as f32;
        let (right, below) = gradients(&small);
        let both: Vec<f32> = right.iter().zip(&below).map(|(a, b)| a + b).collect();
        let usual = Sums::of(small.width, small.height, &both);
        let (contrast, trend) = (half(CONTRAST_DEG), half(TREND_DEG));
        let make = |gradient: Vec<f32>| {
            let mut field = gradient;
            for row in 0..small.height {
                for column in 0..small.width {
                    let value = &mut field[row * small.width + column];
                    *value = (*value / (usual.mean_about(column, row, contrast) + NOISE)).min(MOST_CONTRAST);
                }
            }
            spread(&mut field, small.width, small.height, decay);
            without_trend(&field, small.width, small.height, trend)
        };
        Self { width: small.width, height: small.height, scale, down: make(right), across: make(below) }
    }

    /// The field for edges that run one way, row by row.
    #[must_use]
    pub fn plane(&self, runs: Runs) -> &[f32] {
        match runs {
            Runs::Down => &self.down,
            Runs::Across => &self.across,
        }
    }
}

/// Absolute differences of the neighbours to left and right, and of those above and below.
fn gradients(image: &Gray) -> (Vec<f32>, Vec<f32>) {
    let (width, height) = (image.width, image.height);
    let at = |column: usize, row: usize| image.values[row * width + column];
    let (mut right, mut below) = (vec![0.0; width * height], vec![0.0; width * height]);
    for row in 1..height.saturating_sub(1) {
        for column in 1..width.saturating_sub(1) {
            right[row * width + column] = (at(column + 1, row) - at(column - 1, row)).abs();
            below[row * width + column] = (at(column, row + 1) - at(column, row - 1)).abs();
        }
    }
    (right, below)
}

/// Every value becomes the largest of all values, each decayed by its distance: there and back over the image, as distance transforms are made
/// (Borgefors, "Distance transformations in digital images", 1986).
fn spread(field: &mut [f32], width: usize, height: usize, decay: f32) {
    let slant = decay.powf(std::f32::consts::SQRT_2);
    let mut relax = |at: usize, from: usize, factor: f32| field[at] = field[at].max(factor * field[from]);
    for row in 0..height {
        for column in 0..width {
            let at = row * width + column;
            if column > 0 {
                relax(at, at - 1, decay);
            }
            if row > 0 {
                relax(at, at - width, decay);
                if column > 0 {
                    relax(at, at - width - 1, slant);
                }
                if column + 1 < width {
                    relax(at, at - width + 1, slant);
                }
            }
        }
    }
    for row in (0..height).rev() {
        for column in (0..width).rev() {
            let at = row * width + column;
            if column + 1 < width {
                relax(at, at + 1, decay);
            }
            if row + 1 < height {
                relax(at, at + width, decay);
                if column > 0 {
                    relax(at, at + width - 1, slant);
                }
                if column + 1 < width {
                    relax(at, at + width + 1, slant);
                }
            }
        }
    }
}

fn without_trend(field: &[f32], width: usize, height: usize, half: usize) -> Vec<f32> {
    let sums = Sums::of(width, height, field);
    (0..height)
        .flat_map(|row| (0..width).map(move |column| (column, row)))
        .map(|(column, row)| field[row * width + column] - sums.mean_about(column, row, half))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_felt_by_its_own_direction_and_fades_with_distance() {
        let values = (0..200 * 100).map(|pixel| if pixel % 200 < 100 { 40.0 } else { 200.0 }).collect();
        let field = EdgeField::of(&Gray { width: 200, height: 100, values }, 600.0, 200);
        let down = |column: usize| field.plane(Runs::Down)[50 * 200 + column];
        assert!(down(100) > 2.0 && down(100) > down(103) && down(103) > down(110), "{} {} {}", down(100), down(103), down(110));
        assert!((down(97) - down(102)).abs() < 0.1, "as far to either side: {} {}", down(97), down(102));
        assert!(field.plane(Runs::Across).iter().all(|value| value.abs() < 1e-3));
    }
}
