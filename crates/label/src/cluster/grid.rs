//! The columns.

use super::{ClusterConfig, Group};
use crate::clean::{RANGE_LIMIT_M, reach_m};

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
    group: u32,
}

/// A point above the ground and its column.
#[derive(Clone, Copy, Debug)]
struct Standing {
    point: u32,
    column: u32,
}

/// Columns on a square grid about the lidar.
#[derive(Clone, Debug)]
pub struct ColumnGrid {
    corner: [f32; 2],
    cell_m: f32,
    side: usize,
    /// Of each cell the index of its column plus one, zero where there is none, and [`GROUND`] where it holds ground returns.
    cells: Vec<u32>,
    columns: Vec<Column>,
    /// What the points above the ground stand in, until they are collected.
    standing: Vec<Standing>,
}

/// Marks a cell that holds ground returns.
const GROUND: u32 = 1 << 31;

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
        let half = (reach_m(points, origin).min(RANGE_LIMIT_M as f32) / cell_m).ceil() as usize + 2;
        let side = 2 * half;
        let corner = [origin[0] - half as f32 * cell_m, origin[1] - half as f32 * cell_m];
        let mut grid = Self {
            corner,
            cell_m,
            side,
            cells: vec![0; side * side],
            columns: Vec::new(),
            standing: Vec::with_capacity(points.len()),
        };
        let ceiling = BIT_M * 32.0;
        for ((point, p), height) in (0u32..).zip(points).zip(above) {
            let (ix, iy) = grid.cell_of(p[0], p[1]);
            if *height < band {
                // Only what is close to the ground was seen to be free; a point far below it is a reflection.
                if *height > -band {
                    grid.cells[iy * side + ix] |= GROUND;
                }
            } else if *height < ceiling {
                let column = grid.add(ix, iy, *height);
                grid.standing.push(Standing { point, column });
            }
        }
        let (gap_bits, tall) = ((config.gap_m as f32 / BIT_M).ceil() as u32, config.tall_m as f32);
        grid.columns.iter_mut().for_each(|column| column.measure(gap_bits, tall));
        grid
    }

    fn add(&mut self, ix: usize, iy: usize, height: f32) -> u32 {
        let cell = &mut self.cells[iy * self.side + ix];
        if *cell & !GROUND == 0 {
            let (ix, iy) = (ix as u32, iy as u32);
            self.columns.push(Column { ix, iy, fill: 0, top_m: 0.0, tall: false, hanging: false, group: NO_GROUP });
            *cell |= self.columns.len() as u32;
        }
        let column = (*cell & !GROUND) - 1;
        self.columns[column as usize].fill |= 1 << ((height / BIT_M) as u32).min(31);
        column
    }

    fn cell_of(&self, x: f32, y: f32) -> (usize, usize) {
        let clamp = |value: f32| ((value / self.cell_m) as i32).clamp(0, self.side as i32 - 1) as usize;
        (clamp(x - self.corner[0]), clamp(y - self.corner[1]))
    }

    /// The columns of cells side by side in a row, as far as the grid reaches.
    fn row(&self, from_x: usize, to_x: usize, iy: usize) -> impl Iterator<Item = usize> + '_ {
        let start = iy * self.side;
        let row = &self.cells[start + from_x..=start + to_x.min(self.side - 1)];
        row.iter().filter_map(|cell| (cell & !GROUND).checked_sub(1)).map(|column| column as usize)
    }

    /// Joins near columns of the same kind. Gives the first column of what each column hangs together with.
    pub(super) fn join(&self, origin: [f32; 2], config: &ClusterConfig) -> Vec<u32> {
        let far = config.far_range_m as f32;
        let mut parent: Vec<u32> = (0..self.columns.len() as u32).collect();
        // What is joined to nothing, to low columns, to tall ones.
        let kinds: Vec<u8> = self.columns.iter().map(|c| if c.hanging { 0 } else { 1 + u8::from(c.tall) }).collect();
        for (index, column) in self.columns.iter().enumerate() {
            if column.hanging {
                continue;
            }
            let (ix, iy) = (column.ix as usize, column.iy as usize);
            let dx = self.corner[0] + column.ix as f32 * self.cell_m - origin[0];
            let dy = self.corner[1] + column.iy as f32 * self.cell_m - origin[1];
            let range = (dx * dx + dy * dy).sqrt();
            let reach = if range < far {
                1
            } else if range < 2.0 * far {
                2
            } else {
                3
            };
            // The cells before this one look at it themselves.
            let mut own = root(&mut parent, index as u32);
            for y in iy..=(iy + reach).min(self.side - 1) {
                let from_x = if y == iy { ix + 1 } else { ix.saturating_sub(reach) };
                for other in self.row(from_x, ix + reach, y) {
                    if kinds[other] == kinds[index] {
                        let other = root(&mut parent, other as u32);
                        let (low, high) = (own.min(other), own.max(other));
                        parent[high as usize] = low;
                        own = low;
                    }
                }
            }
        }
        // A parent comes before its children.
        for index in 0..parent.len() {
            parent[index] = parent[parent[index] as usize];
        }
        parent
    }

    /// The groups with at least `min_points` points, in the order of their first points. `roots` is what [`Self::join`] gave.
    pub(super) fn collect(&mut self, above: &[f32], roots: &[u32], min_points: usize) -> Vec<Group> {
        let mut standing = std::mem::take(&mut self.standing);
        let mut count = vec![0u32; self.columns.len()];
        standing.retain(|one| {
            let column = &self.columns[one.column as usize];
            let in_part = !column.hanging && above[one.point as usize] <= column.top_m;
            count[roots[one.column as usize] as usize] += u32::from(in_part);
            in_part
        });
        let mut groups: Vec<Group> = Vec::new();
        let mut number = vec![NO_GROUP; self.columns.len()];
        for (root, count) in count.iter().enumerate() {
            if *count as usize >= min_points {
                number[root] = groups.len() as u32;
                let (label, tall) = (groups.len() as u32, self.columns[root].tall);
                groups.push(Group { members: Vec::with_capacity(*count as usize), label, tall, beside_tall: 0.0, cut_out: false });
            }
        }
        for (column, root) in self.columns.iter_mut().zip(roots) {
            column.group = number[*root as usize];
        }
        for one in standing {
            if let Some(group) = groups.get_mut(self.columns[one.column as usize].group as usize) {
                group.members.push(one.point);
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
            let (ix, iy) = (column.ix as usize, column.iy as usize);
            let mut rows = iy.saturating_sub(1)..=(iy + 1).min(self.side - 1);
            let touches = rows.any(|y| self.row(ix.saturating_sub(1), ix + 1, y).any(|other| self.columns[other].tall));
            beside[group] += u32::from(touches);
        }
        for ((group, cells), beside) in groups.iter_mut().zip(&cells).zip(&beside) {
            group.beside_tall = f64::from(*beside) / f64::from((*cells).max(1));
        }
    }

    /// What the rectangle with this centre, these half sides and this heading holds besides the columns of `group`.
    #[must_use]
    pub fn footprint(&self, center: [f64; 2], half: [f64; 2], yaw_rad: f64, group: u32) -> FootprintUse {
        self.footprint_along(center, half, yaw_rad.sin_cos(), group)
    }

    /// As [`Self::footprint`], of a heading's sine and cosine.
    pub(crate) fn footprint_along(&self, center: [f64; 2], half: [f64; 2], (sin, cos): (f64, f64), group: u32) -> FootprintUse {
        let cell = f64::from(self.cell_m);
        // A footprint is at most a few lorries large: the count of cells stays small whatever is asked.
        let steps = |half: f64| (half.clamp(0.0, 15.0) / cell).floor() as i32;
        let mut found = FootprintUse::default();
        for along in -steps(half[0])..=steps(half[0]) {
            let u = f64::from(along) * cell;
            let from = [center[0] + u * cos, center[1] + u * sin];
            for across in -steps(half[1])..=steps(half[1]) {
                let v = f64::from(across) * cell;
                let (ix, iy) = self.cell_of((from[0] - v * sin) as f32, (from[1] + v * cos) as f32);
                found.cells += 1;
                let cell = self.cells[iy * self.side + ix];
                match ((cell & !GROUND) as usize).checked_sub(1) {
                    Some(column) if self.columns[column].group == group => {}
                    Some(column) if self.columns[column].hanging => {}
                    Some(_) => found.foreign += 1,
                    None => found.ground += u32::from(cell & GROUND != 0),
                }
            }
        }
        found
    }
}

/// The first column of what a column hangs together with.
fn root(parent: &mut [u32], mut index: u32) -> u32 {
    while parent[index as usize] != index {
        let grandparent = parent[parent[index as usize] as usize];
        parent[index as usize] = grandparent;
        index = grandparent;
    }
    index
}

impl Column {
    /// Finds where the lowest connected part ends.
    fn measure(&mut self, gap_bits: u32, tall_m: f32) {
        let lowest = self.fill.trailing_zeros();
        // Bits from which on enough are empty, above the lowest one.
        let mut gaps = !self.fill & u32::MAX.checked_shl(lowest).unwrap_or(0);
        for _ in 1..gap_bits.min(32) {
            gaps &= gaps >> 1;
        }
        let below = self.fill & 1u32.checked_shl(gaps.trailing_zeros()).unwrap_or(0).wrapping_sub(1);
        let top = 31 - below.leading_zeros().min(31);
        self.top_m = (top + 1) as f32 * BIT_M;
        self.hanging = lowest as f32 * BIT_M >= HANGING_M;
        self.tall = self.top_m > tall_m;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_ends_where_enough_of_it_is_empty() {
        let top_bits = |fill: u32, gap_bits: u32| {
            let mut column = Column { ix: 0, iy: 0, fill, top_m: 0.0, tall: false, hanging: false, group: NO_GROUP };
            column.measure(gap_bits, 2.6);
            column.top_m / BIT_M
        };
        // Three empty bits are a gap of three, not of four.
        assert_eq!([top_bits(0b1100_0110, 3), top_bits(0b1100_0110, 4)], [3.0, 8.0]);
        // What is empty below it is no gap, nor what is empty above it.
        assert_eq!([top_bits(0b1000_0000, 3), top_bits(1 << 31, 3), top_bits(1, 3)], [8.0, 32.0, 1.0]);
        assert_eq!([top_bits(u32::MAX, 3), top_bits(1 << 31 | 1, 40), top_bits(0b101, 0)], [32.0, 32.0, 1.0]);
    }
}
