//! The columns.

use super::{ClusterConfig, Group};
use crate::clean::RANGE_LIMIT_M;

/// Label of a column that is in no group.
pub const NO_GROUP: u32 = u32::MAX;
/// Height of one bit of a column's fill (metres).
const BIT_M: f32 = 0.25;
/// What starts higher than this above the ground hangs (metres).
const HANGING_M: f32 = 1.8;

/// One column that holds points above the ground.
#[derive(Clone, Debug)]
struct Column {
    ix: u32,
    iy: u32,
    /// Bit k: a point between `k * BIT_M` and the next above the ground.
    fill: u32,
    /// Height at which the lowest connected part ends.
    top_m: f32,
    tall: bool,
    hanging: bool,
    parent: u32,
    group: u32,
}

/// Columns on a square grid about the lidar.
#[derive(Clone, Debug)]
pub struct ColumnGrid {
    corner: [f32; 2],
    cell_m: f32,
    side: usize,
    /// Index of a cell's column plus one; zero where there is none.
    column_at: Vec<u32>,
    /// Whether a cell holds ground returns.
    ground_at: Vec<bool>,
    columns: Vec<Column>,
    /// Column of each point, or `NO_GROUP`.
    column_of_point: Vec<u32>,
}

/// What a footprint holds besides its own group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FootprintUse {
    /// Cells looked at.
    pub cells: u32,
    /// Cells with ground returns and none of the group: the ground was seen there.
    pub ground: u32,
    /// Cells with a column of another group.
    pub foreign: u32,
}

impl ColumnGrid {
    pub(super) fn fill(points: &[[f32; 3]], above: &[f32], band: f32, origin: [f32; 2], config: &ClusterConfig) -> Self {
        let cell_m = config.cell_m.max(0.1) as f32;
        let reach = points.iter().fold(0.0f32, |reach, p| reach.max((p[0] - origin[0]).abs()).max((p[1] - origin[1]).abs()));
        let half = (reach.min(RANGE_LIMIT_M as f32) / cell_m).ceil() as usize + 2;
        let side = 2 * half;
        let corner = [origin[0] - half as f32 * cell_m, origin[1] - half as f32 * cell_m];
        let mut grid = Self {
            corner,
            cell_m,
            side,
            column_at: vec![0; side * side],
            ground_at: vec![false; side * side],
            columns: Vec::new(),
            column_of_point: vec![NO_GROUP; points.len()],
        };
        let ceiling = BIT_M * 32.0;
        for (index, (p, height)) in points.iter().zip(above).enumerate() {
            let (ix, iy) = grid.cell_of(p[0], p[1]);
            let cell = iy * side + ix;
            if *height < band {
                // Only what is close to the ground was seen to be free; a point far below it is a reflection.
                grid.ground_at[cell] |= *height > -band;
            } else if *height < ceiling {
                grid.column_of_point[index] = grid.add(cell, ix, iy, *height);
            }
        }
        let (gap_bits, tall) = ((config.gap_m as f32 / BIT_M).ceil() as u32, config.tall_m as f32);
        grid.columns.iter_mut().for_each(|column| column.measure(gap_bits, tall));
        grid
    }

    fn add(&mut self, cell: usize, ix: usize, iy: usize, height: f32) -> u32 {
        let slot = &mut self.column_at[cell];
        if *slot == 0 {
            let parent = self.columns.len() as u32;
            let (ix, iy) = (ix as u32, iy as u32);
            self.columns.push(Column { ix, iy, fill: 0, top_m: 0.0, tall: false, hanging: false, parent, group: NO_GROUP });
            *slot = parent + 1;
        }
        let column = *slot - 1;
        self.columns[column as usize].fill |= 1 << ((height / BIT_M) as u32).min(31);
        column
    }

    fn cell_of(&self, x: f32, y: f32) -> (usize, usize) {
        let clamp = |value: f32| ((value / self.cell_m).max(0.0) as usize).min(self.side - 1);
        (clamp(x - self.corner[0]), clamp(y - self.corner[1]))
    }

    /// Joins near columns of the same kind.
    pub(super) fn join(&mut self, origin: [f32; 2], config: &ClusterConfig) {
        let far = config.far_range_m as f32;
        for index in 0..self.columns.len() {
            let (ix, iy, tall, hanging) = {
                let c = &self.columns[index];
                (c.ix as i32, c.iy as i32, c.tall, c.hanging)
            };
            if hanging {
                continue;
            }
            let dx = self.corner[0] + ix as f32 * self.cell_m - origin[0];
            let dy = self.corner[1] + iy as f32 * self.cell_m - origin[1];
            let range = (dx * dx + dy * dy).sqrt();
            let reach = if range < far {
                1
            } else if range < 2.0 * far {
                2
            } else {
                3
            };
            self.join_forward(index, [ix, iy], tall, reach);
        }
    }

    fn join_forward(&mut self, index: usize, [ix, iy]: [i32; 2], tall: bool, reach: i32) {
        for dy in 0..=reach {
            for dx in -reach..=reach {
                if dy == 0 && dx <= 0 {
                    continue;
                }
                if let Some(other) = self.column(ix + dx, iy + dy) {
                    let column = &self.columns[other];
                    if column.tall == tall && !column.hanging {
                        self.unite(index as u32, other as u32);
                    }
                }
            }
        }
    }

    fn column(&self, ix: i32, iy: i32) -> Option<usize> {
        let (ix, iy) = (usize::try_from(ix).ok()?, usize::try_from(iy).ok()?);
        if ix >= self.side || iy >= self.side {
            return None;
        }
        (self.column_at[iy * self.side + ix] as usize).checked_sub(1)
    }

    fn root(&mut self, mut index: u32) -> u32 {
        while self.columns[index as usize].parent != index {
            let grandparent = self.columns[self.columns[index as usize].parent as usize].parent;
            self.columns[index as usize].parent = grandparent;
            index = grandparent;
        }
        index
    }

    fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        let (low, high) = (a.min(b), a.max(b));
        self.columns[high as usize].parent = low;
    }

    /// The groups with at least `min_points` points, in the order of their first points.
    pub(super) fn collect(&mut self, points: &[[f32; 3]], above: &[f32], min_points: usize) -> Vec<Group> {
        let roots: Vec<u32> = (0..self.columns.len() as u32).map(|index| self.root(index)).collect();
        let mut count = vec![0u32; self.columns.len()];
        let in_part = |column: &Column, height: f32| !column.hanging && height <= column.top_m;
        for (index, column) in self.column_of_point.iter_mut().enumerate() {
            let Some(found) = self.columns.get(*column as usize) else { continue };
            if in_part(found, above[index]) {
                count[roots[*column as usize] as usize] += 1;
            } else {
                *column = NO_GROUP;
            }
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut number = vec![NO_GROUP; self.columns.len()];
        for (root, count) in count.iter().enumerate() {
            if *count as usize >= min_points {
                number[root] = groups.len() as u32;
                let (label, tall) = (groups.len() as u32, self.columns[root].tall);
                groups.push(Group { members: Vec::with_capacity(*count as usize), label, tall, beside_tall: 0.0, cut_out: false });
            }
        }
        for (column, root) in self.columns.iter_mut().zip(&roots) {
            column.group = number[*root as usize];
        }
        for index in 0..points.len() as u32 {
            if let Some(column) = self.columns.get(self.column_of_point[index as usize] as usize)
                && let Some(group) = groups.get_mut(column.group as usize)
            {
                group.members.push(index);
            }
        }
        self.mark_beside_tall(&mut groups);
        groups
    }

    fn mark_beside_tall(&self, groups: &mut [Group]) {
        let (mut cells, mut beside) = (vec![0u32; groups.len()], vec![0u32; groups.len()]);
        for column in self.columns.iter().filter(|column| column.group != NO_GROUP && !column.tall) {
            let group = column.group as usize;
            cells[group] += 1;
            let (ix, iy) = (column.ix as i32, column.iy as i32);
            let mut around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (ix + dx, iy + dy)));
            let touches = around.any(|(x, y)| self.column(x, y).is_some_and(|other| self.columns[other].tall));
            beside[group] += u32::from(touches);
        }
        for ((group, cells), beside) in groups.iter_mut().zip(&cells).zip(&beside) {
            group.beside_tall = f64::from(*beside) / f64::from((*cells).max(1));
        }
    }

    /// What the rectangle with this centre, these half sides and this heading holds besides the columns of `group`.
    #[must_use]
    pub fn footprint(&self, center: [f64; 2], half: [f64; 2], yaw_rad: f64, group: u32) -> FootprintUse {
        let (sin, cos) = yaw_rad.sin_cos();
        let cell = f64::from(self.cell_m);
        // A footprint is at most a few lorries large: the count of cells stays small whatever is asked.
        let steps = |half: f64| (half.clamp(0.0, 15.0) / cell).floor() as i32;
        let mut found = FootprintUse::default();
        for along in -steps(half[0])..=steps(half[0]) {
            for across in -steps(half[1])..=steps(half[1]) {
                let (u, v) = (f64::from(along) * cell, f64::from(across) * cell);
                let (ix, iy) = self.cell_of((center[0] + u * cos - v * sin) as f32, (center[1] + u * sin + v * cos) as f32);
                found.cells += 1;
                match (self.column_at[iy * self.side + ix] as usize).checked_sub(1) {
                    Some(column) if self.columns[column].group == group => {}
                    Some(column) if self.columns[column].hanging => {}
                    Some(_) => found.foreign += 1,
                    None => found.ground += u32::from(self.ground_at[iy * self.side + ix]),
                }
            }
        }
        found
    }
}

impl Column {
    /// Finds where the lowest connected part ends.
    fn measure(&mut self, gap_bits: u32, tall_m: f32) {
        let lowest = self.fill.trailing_zeros();
        let (mut top, mut empty) = (lowest, 0);
        for bit in lowest + 1..32 {
            if self.fill >> bit & 1 == 1 {
                top = bit;
                empty = 0;
            } else {
                empty += 1;
                if empty >= gap_bits {
                    break;
                }
            }
        }
        self.top_m = (top + 1) as f32 * BIT_M;
        self.hanging = lowest as f32 * BIT_M >= HANGING_M;
        self.tall = self.top_m > tall_m;
    }
}
