//! The height grid and how it grows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use nalgebra::{Matrix2, Matrix3, Vector3};

use super::GroundConfig;
use crate::clean::{RANGE_LIMIT_M, reach_m};

/// Side of a cell in metres.
const CELL_M: f32 = 1.0;
/// The ground below the lidar is looked for among cells within this distance.
const SEED_RANGE_M: f32 = 12.0;
/// Gradients that are tried along x and y for the ground about the lidar; level first, so that it wins among equals.
const SEED_GRADIENTS: [f32; 5] = [0.0, 0.06, -0.06, 0.12, -0.12];
/// What is tried beside the best of them: half a step to either side.
const FINER_GRADIENTS: [f32; 3] = [0.0, 0.03, -0.03];
/// As near as this the lowest point is ground only where it lies in the plane about the lidar: the lowest beam may pass above the ground.
const NEAR_M: f32 = 5.0;
/// Heights that count as the same level when the seed is chosen.
const SEED_WINDOW_M: f32 = 0.3;
/// A kerb is about this high: what is two thirds of it above the plane about the lidar is none of the road.
const KERB_M: f32 = 0.15;
/// The cells of a plane about the lidar vary by at least this in every direction (square metres): a strip four cells wide has 1.25. Two rows would tell a
/// kerb for a slope.
const LEAST_VARIANCE_M2: f64 = 1.2;
/// So many cells of the plane lie in each quadrant about the lidar, or it ends before the lidar: a lidar that looks ahead does not know what it stands on.
const LEAST_IN_QUADRANT: u32 = 3;

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
        let half = (reach_m(points, origin).min(RANGE_LIMIT_M as f32) / CELL_M).ceil() as usize + 1;
        let side = 2 * half + 1;
        let offset = (half as f32 + 0.5) * CELL_M;
        let corner = [origin[0] - offset, origin[1] - offset];
        Self { corner, side, height: vec![0.0; side * side] }
    }

    /// The cell of each point.
    pub(super) fn cells_of(&self, points: &[[f32; 3]]) -> Vec<u32> {
        let (side, last) = (self.side as i32, self.side as i32 - 1);
        let clamp = |value: f32| (value as i32).clamp(0, last);
        let cell = |p: &[f32; 3]| clamp((p[1] - self.corner[1]) / CELL_M) * side + clamp((p[0] - self.corner[0]) / CELL_M);
        points.iter().map(|p| cell(p) as u32).collect()
    }

    /// Height of the ground at a place in the ego frame; beyond the grid, that of its rim.
    #[must_use]
    #[inline]
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let last = (self.side - 1) as f32;
        let fx = ((x - self.corner[0]) / CELL_M - 0.5).clamp(0.0, last);
        let fy = ((y - self.corner[1]) / CELL_M - 0.5).clamp(0.0, last);
        let most = self.side as i32 - 2;
        let (ix, iy) = ((fx as i32).min(most), (fy as i32).min(most));
        let (tx, ty) = (fx - ix as f32, fy - iy as f32);
        let first = (iy as u32 * self.side as u32 + ix as u32) as usize;
        let (near, far) = (&self.height[first..first + 2], &self.height[first + self.side..first + self.side + 2]);
        let low = near[0] + (near[1] - near[0]) * tx;
        let high = far[0] + (far[1] - far[0]) * tx;
        low + (high - low) * ty
    }

    /// Finds the cells whose lowest point is ground, best first, and carries their heights to the others.
    /// `cells` has the cell of each point.
    pub(super) fn grow(&mut self, points: &[[f32; 3]], cells: &[u32], config: &GroundConfig) {
        let mut lowest = vec![f32::INFINITY; self.side * self.side];
        for (p, cell) in points.iter().zip(cells) {
            let low = &mut lowest[*cell as usize];
            if p[2] < *low {
                *low = p[2];
            }
        }
        let plane = self.seed(&lowest, config);
        let mut growth = Growth::new(self.side, &lowest, plane, config);
        growth.start();
        growth.run();
        let Growth { found, .. } = growth;
        self.fill(&found, plane);
    }

    /// Heights of the cells that are known, and of the others the mean of what lies nearest. What the lowest beam passes above is in the plane that the
    /// vehicle stands on, where that was seen on all sides: without it the road under a car parked beside the vehicle would be as high as the pavement behind.
    fn fill(&mut self, found: &[Level], plane: Plane) {
        // In which round a cell is known; the rounds go outward from what was found.
        let mut round_of = vec![u32::MAX; found.len()];
        let mut front: Vec<u32> = Vec::with_capacity(found.len());
        for (cell, level) in found.iter().enumerate() {
            let away = cells_away(cell, self.side);
            if level.is_found() {
                self.height[cell] = level.height;
            } else if plane.is_around && is_near(away) {
                self.height[cell] = plane.at(away);
            } else {
                continue;
            }
            round_of[cell] = 0;
            front.push(cell as u32);
        }
        if front.is_empty() {
            self.height.fill(plane.height);
            return;
        }
        let mut next = Vec::with_capacity(found.len());
        for round in 1.. {
            for cell in &front {
                for around in neighbours(*cell, self.side) {
                    if round_of[around] == u32::MAX {
                        round_of[around] = round;
                        next.push(around as u32);
                    }
                }
            }
            if next.is_empty() {
                return;
            }
            for cell in &next {
                let (mut sum, mut count) = (0.0f32, 0u32);
                for around in neighbours(*cell, self.side).filter(|around| round_of[*around] < round) {
                    sum += self.height[around];
                    count += 1;
                }
                self.height[*cell as usize] = sum / count.max(1) as f32;
            }
            front.clear();
            std::mem::swap(&mut front, &mut next);
        }
    }

    /// The plane that most cells near the lidar agree on.
    ///
    /// A few gradients are tried, and some between about the best of them; with each, the height is where most cells lie within a window (the lower one of
    /// equals). Least squares over those cells make it exact, the second time without what is as high as a kerb.
    fn seed(&self, lowest: &[f32], config: &GroundConfig) -> Plane {
        let measured =
            lowest.iter().enumerate().filter(|(_, low)| low.is_finite()).map(|(cell, low)| (cells_away(cell, self.side), *low));
        let reach = SEED_RANGE_M / CELL_M;
        let mut near: Vec<([f32; 2], f32)> = measured.clone().filter(|([x, y], _)| x * x + y * y < reach * reach).collect();
        if near.is_empty() {
            near = measured.collect();
        }
        let (mut plane, mut most) = (Plane { height: 0.0, gradient: [0.0; 2], is_around: false }, 0);
        for gradients in [SEED_GRADIENTS.as_slice(), &FINER_GRADIENTS] {
            let [about_x, about_y] = plane.gradient;
            for (gx, gy) in gradients.iter().flat_map(|gx| gradients.iter().map(move |gy| (about_x + gx, about_y + gy))) {
                let mut levels: Vec<f32> = near.iter().map(|([x, y], low)| low - CELL_M * (gx * x + gy * y)).collect();
                levels.sort_unstable_by(f32::total_cmp);
                let (level, count) = densest(&levels);
                if count > most {
                    (plane, most) = (Plane { height: level, gradient: [gx, gy], is_around: false }, count);
                }
            }
        }
        let is_usual = |plane: &Plane| plane.gradient.iter().all(|rise| rise.abs() <= config.max_slope as f32);
        for window_m in [SEED_WINDOW_M / 2.0, KERB_M * 2.0 / 3.0] {
            let cells = near.iter().filter(|(place, low)| (low - plane.at(*place)).abs() <= window_m);
            plane = Plane::nearest_to(cells).filter(is_usual).unwrap_or(plane);
        }
        plane
    }

    /// Replaces the accepted minima by means of the points close to them: a minimum sits below noisy ground.
    /// `cells` has the cell of each point.
    pub(super) fn settle(&mut self, points: &[[f32; 3]], cells: &[u32]) {
        let mut sum = vec![0.0f32; self.height.len()];
        let mut count = vec![0u32; self.height.len()];
        for (p, cell) in points.iter().zip(cells) {
            let cell = *cell as usize;
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

/// The ground about the lidar as a plane.
#[derive(Clone, Copy, Debug)]
struct Plane {
    /// At the lidar (metres).
    height: f32,
    /// Rise over run along x and y.
    gradient: [f32; 2],
    /// Whether it was seen on all sides of the lidar.
    is_around: bool,
}

impl Plane {
    /// Height so many columns and rows from the lidar.
    fn at(&self, [dx, dy]: [f32; 2]) -> f32 {
        self.height + self.gradient[0] * (dx * CELL_M) + self.gradient[1] * (dy * CELL_M)
    }

    /// The plane nearest to these cells, by least squares; `None` where they lie on a line, as far as that goes.
    fn nearest_to<'a>(cells: impl Iterator<Item = &'a ([f32; 2], f32)>) -> Option<Self> {
        let (mut normal, mut right, mut quadrants) = (Matrix3::<f64>::zeros(), Vector3::<f64>::zeros(), [0u32; 4]);
        for ([dx, dy], low) in cells {
            let row = Vector3::new(1.0, f64::from(dx * CELL_M), f64::from(dy * CELL_M));
            normal += row * row.transpose();
            right += row * f64::from(*low);
            quadrants[usize::from(*dx < 0.0) + 2 * usize::from(*dy < 0.0)] += 1;
        }
        let count = normal[(0, 0)];
        let variance = |a: usize, b: usize| normal[(a, b)] / count - normal[(0, a)] * normal[(0, b)] / (count * count);
        let spread = Matrix2::new(variance(1, 1), variance(1, 2), variance(2, 1), variance(2, 2));
        let is_wide = count > 0.0 && spread.symmetric_eigenvalues().min() >= LEAST_VARIANCE_M2;
        let solved = is_wide.then(|| normal.cholesky())??.solve(&right);
        let is_around = quadrants.iter().all(|cells| *cells >= LEAST_IN_QUADRANT);
        Some(Self { height: solved.x as f32, gradient: [solved.y as f32, solved.z as f32], is_around })
    }
}

/// Ground that was found in a cell.
#[derive(Clone, Copy, Debug)]
struct Level {
    height: f32,
    gradient: [f32; 2],
    /// How far it was to get here, and how rough; infinite where no ground was found.
    cost: f32,
}

impl Level {
    const NONE: Self = Self { height: 0.0, gradient: [0.0; 2], cost: f32::INFINITY };

    fn is_found(&self) -> bool {
        self.cost < f32::INFINITY
    }
}

/// A way to a cell that waits, as one number that sorts by cost (the bits of a number that is not negative sort as the number), then by cell,
/// then by the cell that it comes from: that one is a rank among the cells that can be one step before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Way(u64);

/// Bits of a rank: eight directions times [`REACH_CELLS`].
const RANK_BITS: u32 = 6;
/// Bits of a cell: a side of twice [`RANGE_LIMIT_M`] and a rim has fewer cells.
const CELL_BITS: u32 = 18;

impl Way {
    fn new(cost: f32, cell: usize, rank: usize) -> Self {
        Self(u64::from(cost.to_bits()) << (CELL_BITS + RANK_BITS) | (cell as u64) << RANK_BITS | rank as u64)
    }

    fn cost(self) -> f32 {
        f32::from_bits((self.0 >> (CELL_BITS + RANK_BITS)) as u32)
    }

    fn cell(self) -> usize {
        (self.0 >> RANK_BITS) as usize & ((1 << CELL_BITS) - 1)
    }

    fn rank(self) -> usize {
        self.0 as usize & ((1 << RANK_BITS) - 1)
    }
}

/// A step along one of the eight directions.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    /// Along x and y (metres).
    offset: [f32; 2],
    /// Length (metres).
    distance: f32,
    /// To the index of a cell.
    stride: isize,
    /// Place among all steps if they are ordered by the index of the cell that they come from.
    rank: usize,
}

/// Cells about a cell that have a say in its height, along each side.
const JUDGES: usize = 2;

/// The search: cells wait in the order of how far and how rough the way to them was, so that what stands on the ground is reached from all
/// sides only after the ground about it.
struct Growth<'a> {
    side: usize,
    lowest: &'a [f32],
    found: Vec<Level>,
    open: BinaryHeap<Reverse<Way>>,
    /// The plane about the lidar.
    plane: Plane,
    config: &'a GroundConfig,
    /// Steps of one cell and more in each of [`DIRECTIONS`].
    steps: [[Step; REACH_CELLS as usize]; 8],
    /// The steps by rank.
    by_rank: [Step; 8 * REACH_CELLS as usize],
    /// Distance between two cells, by how many cells they are apart along x and y (metres).
    distance: [[f32; JUDGES + 1]; JUDGES + 1],
}

impl<'a> Growth<'a> {
    fn new(side: usize, lowest: &'a [f32], plane: Plane, config: &'a GroundConfig) -> Self {
        let metres = |cells: i32| cells as f32 * CELL_M;
        let mut steps = DIRECTIONS.map(|(dx, dy)| {
            std::array::from_fn(|index| {
                let (dx, dy) = (dx * (index as i32 + 1), dy * (index as i32 + 1));
                let stride = dy as isize * side as isize + dx as isize;
                Step { offset: [metres(dx), metres(dy)], distance: metres(dx).hypot(metres(dy)), stride, rank: 0 }
            })
        });
        let mut strides: Vec<(isize, isize)> =
            steps.iter().flatten().map(|step: &Step| (-step.offset[1] as isize, -step.offset[0] as isize)).collect();
        strides.sort_unstable();
        let mut by_rank = [Step::default(); 8 * REACH_CELLS as usize];
        for step in steps.iter_mut().flatten() {
            let from = (-step.offset[1] as isize, -step.offset[0] as isize);
            step.rank = strides.binary_search(&from).unwrap_or(0);
            by_rank[step.rank] = *step;
        }
        let distance = std::array::from_fn(|dy| std::array::from_fn(|dx| metres(dx as i32).hypot(metres(dy as i32))));
        Self {
            side,
            lowest,
            found: vec![Level::NONE; lowest.len()],
            open: BinaryHeap::new(),
            plane,
            config,
            steps,
            by_rank,
            distance,
        }
    }

    fn cells_away(&self, cell: usize) -> [f32; 2] {
        cells_away(cell, self.side)
    }

    /// Cells near the lidar that lie in the plane of the seed.
    fn start(&mut self) {
        let gradient = self.plane.gradient;
        let middle = self.side / 2;
        let reach = (SEED_RANGE_M / CELL_M) as usize;
        let (side, span) = (self.side, middle.saturating_sub(reach)..=(middle + reach).min(self.side - 1));
        for cell in span.clone().flat_map(|iy| span.clone().map(move |ix| iy * side + ix)) {
            let away = self.cells_away(cell);
            if (self.lowest[cell] - self.plane.at(away)).abs() < SEED_WINDOW_M / 2.0 {
                self.accept(cell, Level { height: self.lowest[cell], gradient, cost: CELL_M * away[0].hypot(away[1]) });
            }
        }
    }

    fn run(&mut self) {
        while let Some(Reverse(way)) = self.open.pop() {
            let cell = way.cell();
            if self.found[cell].is_found() {
                continue;
            }
            if let Some((height, gradient)) = self.judge(cell, &self.by_rank[way.rank()]) {
                self.accept(cell, Level { height, gradient, cost: way.cost() });
            }
        }
    }

    /// Takes a cell for ground and looks along eight directions for the next cell with points.
    fn accept(&mut self, cell: usize, level: Level) {
        self.found[cell] = level;
        let last = self.side as i32 - 1;
        let (ix, iy) = ((cell as u32 % self.side as u32) as i32, (cell as u32 / self.side as u32) as i32);
        for ((dx, dy), steps) in DIRECTIONS.into_iter().zip(&self.steps) {
            let room = |at: i32, toward: i32| match toward {
                0 => last,
                1 => last - at,
                _ => at,
            };
            let within = room(ix, dx).min(room(iy, dy)) as usize;
            for (index, step) in steps.iter().take(within).enumerate() {
                let next = (cell as isize + step.stride) as usize;
                let low = self.lowest[next];
                if low < f32::INFINITY {
                    let is_found = self.found[next].is_found();
                    if !is_found {
                        let [along, across] = step.offset;
                        let rise = low - level.height - level.gradient[0] * along - level.gradient[1] * across;
                        let cost = level.cost + step.distance + ROUGHNESS_COST * rise.abs();
                        self.open.push(Reverse(Way::new(cost, next, step.rank)));
                    }
                    if index >= 1 || is_found {
                        break;
                    }
                }
            }
        }
    }

    /// Height and gradient of a cell if its lowest point goes on from the ground about it. `step` leads there from its parent.
    fn judge(&self, cell: usize, step: &Step) -> Option<(f32, [f32; 2])> {
        let away = self.cells_away(cell);
        if is_near(away) && (self.lowest[cell] - self.plane.at(away)).abs() > SEED_WINDOW_M / 2.0 {
            return None;
        }
        let (mut height, mut gradient, mut weight, mut nearest) = (0.0f32, [0.0f32; 2], 0.0f32, f32::INFINITY);
        let mut add = |from: usize, [dx, dy]: [f32; 2], distance: f32| {
            let level = &self.found[from];
            if level.is_found() {
                let w = 1.0 / (distance * distance);
                height += w * (level.height + level.gradient[0] * dx + level.gradient[1] * dy);
                gradient = [gradient[0] + w * level.gradient[0], gradient[1] + w * level.gradient[1]];
                weight += w;
                nearest = nearest.min(distance);
            }
        };
        let parent = (cell as isize - step.stride) as usize;
        let (ix, iy) = (cell as u32 % self.side as u32, cell as u32 / self.side as u32);
        let (ix, iy) = (ix as usize, iy as usize);
        for y in iy.saturating_sub(JUDGES)..=(iy + JUDGES).min(self.side - 1) {
            for x in ix.saturating_sub(JUDGES)..=(ix + JUDGES).min(self.side - 1) {
                let from = y * self.side + x;
                if from != cell && from != parent {
                    let offset = [(ix as f32 - x as f32) * CELL_M, (iy as f32 - y as f32) * CELL_M];
                    add(from, offset, self.distance[iy.abs_diff(y)][ix.abs_diff(x)]);
                }
            }
        }
        add(parent, step.offset, step.distance);
        let (expected, gradient) = (height / weight, [gradient[0] / weight, gradient[1] / weight]);
        let rise = self.lowest[cell] - expected;
        let most = self.config.max_step_m as f32 + 0.02 * (nearest - 1.0);
        if !(-2.0 * most..=most).contains(&rise) {
            return None;
        }
        let limit = self.config.max_slope as f32;
        let learn =
            |axis: usize| (gradient[axis] + 0.1 * rise / step.distance * step.offset[axis] / step.distance).clamp(-limit, limit);
        Some((expected + 0.8 * rise, [learn(0), learn(1)]))
    }
}

/// Columns and rows from the lidar to a cell.
fn cells_away(cell: usize, side: usize) -> [f32; 2] {
    let (cell, side, middle) = (cell as u32, side as u32, (side / 2) as f32);
    [(cell % side) as f32 - middle, (cell / side) as f32 - middle]
}

/// Whether the lowest beam may pass above the ground there.
fn is_near([dx, dy]: [f32; 2]) -> bool {
    (dx * dx + dy * dy) * (CELL_M * CELL_M) < NEAR_M * NEAR_M
}

/// The cells about one that are in the grid.
fn neighbours(cell: u32, side: usize) -> impl Iterator<Item = usize> {
    let (cell, side) = (cell as i32, side as i32);
    let (ix, iy) = (cell % side, cell / side);
    let is_inside = ix > 0 && iy > 0 && ix < side - 1 && iy < side - 1;
    let is_cell = move |(dx, dy): &(i32, i32)| is_inside || ((0..side).contains(&(ix + dx)) && (0..side).contains(&(iy + dy)));
    DIRECTIONS.into_iter().filter(is_cell).map(move |(dx, dy)| (cell + dy * side + dx) as usize)
}
