//! The height grid and how it grows.

use super::GroundConfig;
use crate::clean::RANGE_LIMIT_M;

/// Side of a cell in metres.
const CELL_M: f32 = 1.0;
/// The ground below the lidar is looked for among cells within this distance.
const SEED_RANGE_M: f32 = 12.0;
/// Gradients that are tried along x and y for the ground about the lidar; level first, so that it wins among equals.
const SEED_GRADIENTS: [f32; 5] = [0.0, 0.06, -0.06, 0.12, -0.12];
/// Heights that count as the same level when the seed is chosen.
const SEED_WINDOW_M: f32 = 0.3;

/// Ground height on a square grid about the lidar, read by bilinear interpolation.
#[derive(Clone, Debug, PartialEq)]
pub struct HeightGrid {
    /// x, y of the corner of cell (0, 0).
    corner: [f32; 2],
    /// Cells along a side: odd, so that the lidar is in the middle cell.
    side: usize,
    height: Vec<f32>,
    /// How well the height is known: 1 measured, less where carried on, 0 not yet visited.
    trust: Vec<f32>,
}

/// What the visited neighbours of a cell say about it.
struct Expectation {
    height: f32,
    gradient: [f32; 2],
    trust: f32,
}

impl HeightGrid {
    pub(super) fn spanning(points: &[[f32; 3]], origin: [f32; 2]) -> Self {
        let reach = points.iter().fold(0.0f32, |reach, p| reach.max((p[0] - origin[0]).abs()).max((p[1] - origin[1]).abs()));
        let half = (reach.min(RANGE_LIMIT_M as f32) / CELL_M).ceil() as usize + 1;
        let side = 2 * half + 1;
        let offset = (half as f32 + 0.5) * CELL_M;
        let corner = [origin[0] - offset, origin[1] - offset];
        Self { corner, side, height: vec![0.0; side * side], trust: vec![0.0; side * side] }
    }

    fn cell_of(&self, x: f32, y: f32) -> usize {
        let clamp = |value: f32| (value.max(0.0) as usize).min(self.side - 1);
        clamp((y - self.corner[1]) / CELL_M) * self.side + clamp((x - self.corner[0]) / CELL_M)
    }

    /// Height of the ground at a place in the ego frame; beyond the grid, that of its rim.
    #[must_use]
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let last = (self.side - 1) as f32;
        let fx = ((x - self.corner[0]) / CELL_M - 0.5).clamp(0.0, last);
        let fy = ((y - self.corner[1]) / CELL_M - 0.5).clamp(0.0, last);
        let (ix, iy) = ((fx as usize).min(self.side - 2), (fy as usize).min(self.side - 2));
        let (tx, ty) = (fx - ix as f32, fy - iy as f32);
        let row = &self.height[iy * self.side + ix..];
        let low = row[0] + (row[1] - row[0]) * tx;
        let high = row[self.side] + (row[self.side + 1] - row[self.side]) * tx;
        low + (high - low) * ty
    }

    /// Visits the cells ring by ring and accepts or refuses the lowest point of each.
    pub(super) fn grow(&mut self, points: &[[f32; 3]], config: &GroundConfig) {
        let mut lowest = vec![f32::INFINITY; self.side * self.side];
        for p in points {
            let low = &mut lowest[self.cell_of(p[0], p[1])];
            *low = low.min(p[2]);
        }
        let mut gradient = vec![[0.0f32; 2]; lowest.len()];
        let middle = self.side / 2;
        let center = middle * self.side + middle;
        (self.height[center], gradient[center]) = self.seed(&lowest);
        self.trust[center] = 0.5;
        for ring in 1..=middle {
            for (ix, iy) in perimeter(middle, ring) {
                let cell = iy * self.side + ix;
                let expected = self.expect(ix, iy, &gradient);
                let away = [ix as f32 - middle as f32, iy as f32 - middle as f32];
                let (height, slope, trust) = judge(lowest[cell], &expected, away, config);
                self.height[cell] = height;
                gradient[cell] = slope;
                self.trust[cell] = trust;
            }
        }
    }

    /// The plane that most cells near the lidar agree on, as its height at the lidar and its gradient.
    ///
    /// A few gradients are tried; with each, the height is where most cells lie within a window (the lower one of equals).
    fn seed(&self, lowest: &[f32]) -> (f32, [f32; 2]) {
        let middle = (self.side / 2) as f32;
        let place = |cell: usize| [(cell % self.side) as f32 - middle, (cell / self.side) as f32 - middle];
        let measured = lowest.iter().enumerate().filter(|(_, low)| low.is_finite()).map(|(cell, low)| (place(cell), *low));
        let reach = SEED_RANGE_M / CELL_M;
        let mut near: Vec<([f32; 2], f32)> = measured.clone().filter(|([x, y], _)| x * x + y * y < reach * reach).collect();
        if near.is_empty() {
            near = measured.collect();
        }
        let (mut best, mut most) = ((0.0, [0.0; 2]), 0);
        for [gx, gy] in SEED_GRADIENTS.iter().flat_map(|gx| SEED_GRADIENTS.map(|gy| [*gx, gy])) {
            let mut levels: Vec<f32> = near.iter().map(|([x, y], low)| low - CELL_M * (gx * x + gy * y)).collect();
            levels.sort_by(f32::total_cmp);
            let (level, count) = densest(&levels);
            if count > most {
                (best, most) = ((level, [gx, gy]), count);
            }
        }
        best
    }

    fn expect(&self, ix: usize, iy: usize, gradient: &[[f32; 2]]) -> Expectation {
        let (mut weight, mut height, mut slope, mut trust) = (1e-9f32, 0.0f32, [0.0f32; 2], 0.0f32);
        for ny in iy.saturating_sub(1)..=(iy + 1).min(self.side - 1) {
            for nx in ix.saturating_sub(1)..=(ix + 1).min(self.side - 1) {
                let cell = ny * self.side + nx;
                let known = self.trust[cell];
                if known > 0.0 {
                    let (dx, dy) = ((ix as f32 - nx as f32) * CELL_M, (iy as f32 - ny as f32) * CELL_M);
                    let g = gradient[cell];
                    height += known * (self.height[cell] + g[0] * dx + g[1] * dy);
                    slope = [slope[0] + known * g[0], slope[1] + known * g[1]];
                    trust += known * known;
                    weight += known;
                }
            }
        }
        Expectation { height: height / weight, gradient: [slope[0] / weight, slope[1] / weight], trust: trust / weight }
    }

    /// Replaces the accepted minima by means of the points close to them: a minimum sits below noisy ground.
    pub(super) fn settle(&mut self, points: &[[f32; 3]]) {
        let mut sum = vec![0.0f32; self.height.len()];
        let mut count = vec![0u32; self.height.len()];
        for p in points {
            let cell = self.cell_of(p[0], p[1]);
            let above = p[2] - self.height[cell];
            if (-0.15..0.12).contains(&above) {
                sum[cell] += above;
                count[cell] += 1;
            }
        }
        for ((height, sum), count) in self.height.iter_mut().zip(&sum).zip(&count) {
            if *count >= 3 {
                *height += sum / *count as f32;
            }
        }
    }
}

/// The middle of the fullest window in sorted levels, and how many it holds.
fn densest(levels: &[f32]) -> (f32, usize) {
    let (mut best, mut most, mut end) = (0.0, 0, 0);
    for (start, level) in levels.iter().enumerate() {
        while end < levels.len() && levels[end] <= level + SEED_WINDOW_M {
            end += 1;
        }
        if end - start > most {
            most = end - start;
            best = levels[start + most / 2];
        }
    }
    (best, most)
}

fn judge(low: f32, expected: &Expectation, away: [f32; 2], config: &GroundConfig) -> (f32, [f32; 2], f32) {
    let rise = low - expected.height;
    let doubt = 1.0 - expected.trust;
    let step = config.max_step_m as f32;
    let carried = [expected.gradient[0] * 0.95, expected.gradient[1] * 0.95];
    if !(rise <= step + 0.12 * doubt && rise >= -2.0 * step - 0.3 * doubt) {
        return (expected.height, carried, (expected.trust * 0.92).max(0.02));
    }
    let norm = (away[0] * away[0] + away[1] * away[1]).sqrt().max(1e-6);
    let limit = config.max_slope as f32;
    let learn = |axis: usize| (expected.gradient[axis] + 0.2 * rise / CELL_M * away[axis] / norm).clamp(-limit, limit);
    (expected.height + 0.8 * rise, [learn(0), learn(1)], 1.0)
}

/// The cells at Chebyshev distance `ring` from the middle, in a fixed order.
fn perimeter(middle: usize, ring: usize) -> impl Iterator<Item = (usize, usize)> {
    let (low, high) = (middle - ring, middle + ring);
    let rows = (low..=high).flat_map(move |x| [(x, low), (x, high)]);
    let columns = (low + 1..high).flat_map(move |y| [(low, y), (high, y)]);
    rows.chain(columns)
}
