//! The height grid and how it grows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::GroundConfig;
use crate::clean::RANGE_LIMIT_M;

/// Side of a cell in metres.
const CELL_M: f32 = 1.0;
/// The ground below the lidar is looked for among cells within this distance.
const SEED_RANGE_M: f32 = 12.0;
/// Gradients that are tried along x and y for the ground about the lidar; level first, so that it wins among equals.
const SEED_GRADIENTS: [f32; 5] = [0.0, 0.06, -0.06, 0.12, -0.12];
/// As near as this the lowest point is ground only where it lies in the plane about the lidar: the lowest beam may pass above the ground.
const NEAR_M: f32 = 5.0;
/// Heights that count as the same level when the seed is chosen.
const SEED_WINDOW_M: f32 = 0.3;

/// How far the search looks for the next cell with points: rings of a lidar lie metres apart far away (cells).
const REACH_CELLS: i32 = 8;
/// What a metre of height off the expectation costs, in metres of way.
const ROUGHNESS_COST: f32 = 10.0;
const DIRECTIONS: [(i32, i32); 8] = [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)];

/// Ground height on a square grid about the lidar, read by bilinear interpolation.
#[derive(Clone, Debug, PartialEq)]
pub struct HeightGrid {
    /// x, y of the corner of cell (0, 0).
    corner: [f32; 2],
    /// Cells along a side: odd, so that the lidar is in the middle cell.
    side: usize,
    height: Vec<f32>,
}

impl HeightGrid {
    pub(super) fn spanning(points: &[[f32; 3]], origin: [f32; 2]) -> Self {
        let reach = points.iter().fold(0.0f32, |reach, p| reach.max((p[0] - origin[0]).abs()).max((p[1] - origin[1]).abs()));
        let half = (reach.min(RANGE_LIMIT_M as f32) / CELL_M).ceil() as usize + 1;
        let side = 2 * half + 1;
        let offset = (half as f32 + 0.5) * CELL_M;
        let corner = [origin[0] - offset, origin[1] - offset];
        Self { corner, side, height: vec![0.0; side * side] }
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

    /// Finds the cells whose lowest point is ground, best first, and carries their heights to the others.
    pub(super) fn grow(&mut self, points: &[[f32; 3]], config: &GroundConfig) {
        let mut lowest = vec![f32::INFINITY; self.side * self.side];
        for p in points {
            let low = &mut lowest[self.cell_of(p[0], p[1])];
            *low = low.min(p[2]);
        }
        let (height, gradient) = self.seed(&lowest);
        let mut growth = Growth {
            side: self.side,
            lowest: &lowest,
            found: vec![None; lowest.len()],
            open: BinaryHeap::new(),
            plane: (height, gradient),
            config,
        };
        growth.start();
        growth.run();
        let Growth { found, .. } = growth;
        self.fill(&found, height);
    }

    /// Heights of the cells that are known, and of the others the mean of what lies nearest.
    fn fill(&mut self, found: &[Option<Level>], fallback: f32) {
        let mut known = vec![false; found.len()];
        let mut front: Vec<usize> = Vec::with_capacity(found.len());
        for (cell, level) in found.iter().enumerate() {
            if let Some(level) = level {
                self.height[cell] = level.height;
                known[cell] = true;
                front.push(cell);
            }
        }
        if front.is_empty() {
            self.height.fill(fallback);
            return;
        }
        let side = self.side;
        let mut queued = known.clone();
        while !front.is_empty() {
            let mut next = Vec::new();
            for cell in &front {
                for around in neighbours(*cell, side) {
                    if !queued[around] {
                        queued[around] = true;
                        next.push(around);
                    }
                }
            }
            for cell in &next {
                let (mut sum, mut count) = (0.0f32, 0u32);
                for around in neighbours(*cell, side).filter(|around| known[*around]) {
                    sum += self.height[around];
                    count += 1;
                }
                self.height[*cell] = sum / count.max(1) as f32;
            }
            next.iter().for_each(|cell| known[*cell] = true);
            front = next;
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

/// Ground that was found in a cell.
#[derive(Clone, Copy, Debug)]
struct Level {
    height: f32,
    gradient: [f32; 2],
    /// How far it was to get here, and how rough.
    cost: f32,
}

/// The search: cells wait in the order of how far and how rough the way to them was, so that what stands on the ground is reached from all
/// sides only after the ground about it.
struct Growth<'a> {
    side: usize,
    lowest: &'a [f32],
    found: Vec<Option<Level>>,
    /// Cost (bits of a number that is not negative sort as the number), cell, and the cell it is reached from.
    open: BinaryHeap<Reverse<(u32, u32, u32)>>,
    /// Height at the lidar and gradient of the plane about it.
    plane: (f32, [f32; 2]),
    config: &'a GroundConfig,
}

impl Growth<'_> {
    fn offset(&self, from: usize, to: usize) -> [f32; 2] {
        let along = (to % self.side) as f32 - (from % self.side) as f32;
        let across = (to / self.side) as f32 - (from / self.side) as f32;
        [along * CELL_M, across * CELL_M]
    }

    /// Height of the plane about the lidar in a cell.
    fn in_plane(&self, cell: usize) -> f32 {
        let middle = self.side / 2;
        let [dx, dy] = self.offset(middle * self.side + middle, cell);
        self.plane.0 + self.plane.1[0] * dx + self.plane.1[1] * dy
    }

    /// Cells near the lidar that lie in the plane of the seed.
    fn start(&mut self) {
        let gradient = self.plane.1;
        let middle = self.side / 2;
        let center = middle * self.side + middle;
        let reach = (SEED_RANGE_M / CELL_M) as usize;
        let (side, span) = (self.side, middle.saturating_sub(reach)..=(middle + reach).min(self.side - 1));
        for cell in span.clone().flat_map(|iy| span.clone().map(move |ix| iy * side + ix)) {
            let [dx, dy] = self.offset(center, cell);
            if (self.lowest[cell] - self.in_plane(cell)).abs() < SEED_WINDOW_M / 2.0 {
                self.accept(cell, Level { height: self.lowest[cell], gradient, cost: dx.hypot(dy) });
            }
        }
    }

    fn run(&mut self) {
        while let Some(Reverse((cost, cell, parent))) = self.open.pop() {
            let (cell, parent) = (cell as usize, parent as usize);
            if self.found[cell].is_some() {
                continue;
            }
            if let Some((height, gradient)) = self.judge(cell, parent) {
                self.accept(cell, Level { height, gradient, cost: f32::from_bits(cost) });
            }
        }
    }

    /// Takes a cell for ground and looks along eight directions for the next cell with points.
    fn accept(&mut self, cell: usize, level: Level) {
        self.found[cell] = Some(level);
        let (ix, iy) = ((cell % self.side) as i32, (cell / self.side) as i32);
        for (dx, dy) in DIRECTIONS {
            for step in 1..=REACH_CELLS {
                let (x, y) = (ix + dx * step, iy + dy * step);
                if x < 0 || y < 0 || x >= self.side as i32 || y >= self.side as i32 {
                    break;
                }
                let next = y as usize * self.side + x as usize;
                if self.lowest[next].is_finite() {
                    if self.found[next].is_none() {
                        let [along, across] = self.offset(cell, next);
                        let rise = self.lowest[next] - level.height - level.gradient[0] * along - level.gradient[1] * across;
                        let cost = level.cost + along.hypot(across) + ROUGHNESS_COST * rise.abs();
                        self.open.push(Reverse((cost.to_bits(), next as u32, cell as u32)));
                    }
                    if step >= 2 || self.found[next].is_some() {
                        break;
                    }
                }
            }
        }
    }

    /// Height and gradient of a cell if its lowest point goes on from the ground about it.
    fn judge(&self, cell: usize, parent: usize) -> Option<(f32, [f32; 2])> {
        let (mut height, mut gradient, mut weight, mut nearest) = (0.0f32, [0.0f32; 2], 0.0f32, f32::INFINITY);
        let mut add = |from: usize| {
            let Some(level) = self.found[from] else { return };
            let [dx, dy] = self.offset(from, cell);
            let distance = dx.hypot(dy);
            let w = 1.0 / (distance * distance);
            height += w * (level.height + level.gradient[0] * dx + level.gradient[1] * dy);
            gradient = [gradient[0] + w * level.gradient[0], gradient[1] + w * level.gradient[1]];
            weight += w;
            nearest = nearest.min(distance);
        };
        let (ix, iy) = (cell % self.side, cell / self.side);
        for y in iy.saturating_sub(2)..=(iy + 2).min(self.side - 1) {
            for x in ix.saturating_sub(2)..=(ix + 2).min(self.side - 1) {
                let from = y * self.side + x;
                if from != cell && from != parent {
                    add(from);
                }
            }
        }
        add(parent);
        let (expected, gradient) = (height / weight, [gradient[0] / weight, gradient[1] / weight]);
        let middle = self.side / 2;
        let [away_x, away_y] = self.offset(middle * self.side + middle, cell);
        if away_x.hypot(away_y) < NEAR_M && (self.lowest[cell] - self.in_plane(cell)).abs() > SEED_WINDOW_M / 2.0 {
            return None;
        }
        let rise = self.lowest[cell] - expected;
        let step = self.config.max_step_m as f32 + 0.02 * (nearest - 1.0);
        if !(-2.0 * step..=step).contains(&rise) {
            return None;
        }
        let [dx, dy] = self.offset(parent, cell);
        let distance = dx.hypot(dy);
        let limit = self.config.max_slope as f32;
        let learn = |axis: usize, d: f32| (gradient[axis] + 0.1 * rise / distance * d / distance).clamp(-limit, limit);
        Some((expected + 0.8 * rise, [learn(0, dx), learn(1, dy)]))
    }
}

fn neighbours(cell: usize, side: usize) -> impl Iterator<Item = usize> {
    let (ix, iy) = ((cell % side) as i32, (cell / side) as i32);
    DIRECTIONS.into_iter().filter_map(move |(dx, dy)| {
        let (x, y) = (usize::try_from(ix + dx).ok()?, usize::try_from(iy + dy).ok()?);
        (x < side && y < side).then_some(y * side + x)
    })
}
