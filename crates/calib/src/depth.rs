//! Where the depth jumps, as the camera would see it.
//!
//! The points are laid into a grid of angles about the camera, the nearest one of each cell kept. An edge is where a neighbour is much farther away
//! than the surface that goes on from the other side would be there: on a plane the inverse of the depth is linear in the image, so a
//! road seen at a flat angle, whose rings lie metres apart, has no edges. What something nearer may hide from the camera is left out: lidar and
//! camera do not stand at the same place.

use nalgebra::Point3;

use crate::field::Runs;

/// Side of a cell (degrees): the spacing of columns of most lidars.
const CELL_DEG: f64 = 0.2;
/// Cells that a neighbour may be away: rings lie farther apart than columns.
const REACH: usize = 4;
/// Nearer edges are left out (metres): a wrong centimetre or millisecond looks like an angle there.
const LEAST_RANGE_M: f32 = 4.0;
/// Farther ones too: single points, and nothing that a nearer edge would not show.
const MOST_RANGE_M: f32 = 70.0;
/// Least jump (metres, and share of the range).
const LEAST_JUMP_M: f32 = 0.7;
const LEAST_JUMP_SHARE: f32 = 0.08;
/// On its own side the surface may change by this share of the jump: in trees and behind windows everything jumps.
const SMOOTH_SHARE: f32 = 0.3;
/// Something within this angle (degrees) that stands nearer than this share of the depth may hide the edge.
const HIDING_DEG: f64 = 1.2;
const HIDING_SHARE: f32 = 0.7;
/// Jumps beyond this count no more (metres).
const MOST_JUMP_M: f32 = 4.0;
/// Most cells of a grid: half a turn both ways.
const MOST_CELLS: usize = 900 * 900;

/// A place where the depth jumps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DepthEdge {
    /// On the nearer surface's range, half way between the two points, camera frame (metres).
    pub at_m: [f32; 3],
    /// Which way it runs.
    pub runs: Runs,
    /// How much it counts.
    pub weight: f32,
}

/// A point of the grid.
#[derive(Clone, Copy)]
struct Cell {
    at_m: [f32; 3],
    range_m: f32,
}

struct Grid {
    columns: usize,
    rows: usize,
    cells: Vec<Option<Cell>>,
    /// Nearest depth within [`HIDING_DEG`].
    nearest_z_m: Vec<f32>,
}

/// The edges in the view of a camera that sees `half_view_rad` to each side and up and down. Points are in the camera's frame.
#[must_use]
pub fn depth_edges(points: &[Point3<f32>], half_view_rad: [f64; 2]) -> Vec<DepthEdge> {
    let Some(grid) = Grid::of(points, half_view_rad) else { return Vec::new() };
    let mut edges = Vec::new();
    for row in 0..grid.rows {
        for column in 0..grid.columns {
            let Some(cell) = grid.cells[row * grid.columns + column] else { continue };
            if cell.range_m < LEAST_RANGE_M || grid.nearest_z_m[row * grid.columns + column] < HIDING_SHARE * cell.at_m[2] {
                continue;
            }
            for (runs, step) in [(Runs::Down, [1, 0]), (Runs::Across, [0, 1])] {
                let (before, after) = (grid.neighbour([column, row], step, -1), grid.neighbour([column, row], step, 1));
                let (Some(before), Some(after)) = (before, after) else { continue };
                edges.extend(edge(runs, before, cell, after));
                edges.extend(edge(runs, after, cell, before));
            }
        }
    }
    edges
}

/// The edge between `cell` and the farther `beyond`, where `own` is its neighbour on the other side.
fn edge(runs: Runs, own: Cell, cell: Cell, beyond: Cell) -> Option<DepthEdge> {
    let jump = beyond.range_m - cell.range_m;
    let least = LEAST_JUMP_M.max(LEAST_JUMP_SHARE * cell.range_m);
    if jump <= least || (own.range_m - cell.range_m).abs() >= SMOOTH_SHARE * jump {
        return None;
    }
    let along = |c: Cell| if runs == Runs::Down { c.at_m[0] / c.at_m[2] } else { c.at_m[1] / c.at_m[2] };
    let inverse = |c: Cell| 1.0 / c.at_m[2];
    let run = along(cell) - along(own);
    let run = if run.abs() < 1e-4 { 1e-4f32.copysign(run) } else { run };
    let continued = inverse(cell) + (inverse(cell) - inverse(own)) * (along(beyond) - along(cell)) / run;
    // Beyond its horizon a plane is not seen: nothing tells that this is another surface.
    let margin = inverse(cell) - 1.0 / (cell.at_m[2] + LEAST_JUMP_M.max(LEAST_JUMP_SHARE * cell.at_m[2]));
    if continued <= 0.0 || inverse(beyond) >= continued - margin {
        return None;
    }
    let direction = |c: Cell| c.at_m.map(|v| v / c.range_m);
    let (a, b) = (direction(cell), direction(beyond));
    let sum = [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
    let norm = (sum[0] * sum[0] + sum[1] * sum[1] + sum[2] * sum[2]).sqrt().max(1e-6);
    Some(DepthEdge { at_m: sum.map(|v| v / norm * cell.range_m), runs, weight: jump.min(MOST_JUMP_M).sqrt() })
}

impl Grid {
    fn of(points: &[Point3<f32>], half_view_rad: [f64; 2]) -> Option<Self> {
        let cell = CELL_DEG.to_radians();
        let [columns, rows] = half_view_rad.map(|half| (2.0 * half / cell).ceil() as usize + 1);
        if columns.saturating_mul(rows) > MOST_CELLS || points.is_empty() {
            return None;
        }
        let mut cells: Vec<Option<Cell>> = vec![None; columns * rows];
        for p in points {
            let range_m = p.coords.norm();
            // NaN is in no range.
            if !(p.z > 1.0 && range_m < MOST_RANGE_M) {
                continue;
            }
            let angle = |v: f32, half: f64| ((f64::from(v).atan2(f64::from(p.z)) + half) / cell).floor();
            let (column, row) = (angle(p.x, half_view_rad[0]), angle(p.y, half_view_rad[1]));
            if column < 0.0 || row < 0.0 || column >= columns as f64 || row >= rows as f64 {
                continue;
            }
            let slot = &mut cells[row as usize * columns + column as usize];
            if slot.is_none_or(|there| range_m < there.range_m) {
                *slot = Some(Cell { at_m: [p.x, p.y, p.z], range_m });
            }
        }
        let mut nearest_z_m: Vec<f32> = cells.iter().map(|cell| cell.map_or(f32::INFINITY, |cell| cell.at_m[2])).collect();
        let half = (HIDING_DEG / CELL_DEG).round() as usize;
        for vertical in [false, true] {
            nearest_z_m = least_within(&nearest_z_m, columns, rows, half, vertical);
        }
        Some(Self { columns, rows, cells, nearest_z_m })
    }

    /// The next cell with a point in a direction, within reach.
    fn neighbour(&self, [column, row]: [usize; 2], step: [isize; 2], sign: isize) -> Option<Cell> {
        (1..=REACH as isize).find_map(|distance| {
            let column = column.checked_add_signed(sign * step[0] * distance).filter(|column| *column < self.columns)?;
            let row = row.checked_add_signed(sign * step[1] * distance).filter(|row| *row < self.rows)?;
            self.cells[row * self.columns + column]
        })
    }
}

/// The least value within `half` cells along rows or columns.
fn least_within(values: &[f32], columns: usize, rows: usize, half: usize, vertical: bool) -> Vec<f32> {
    let mut found = Vec::with_capacity(values.len());
    for row in 0..rows {
        for column in 0..columns {
            let (at, size) = if vertical { (row, rows) } else { (column, columns) };
            let window = at.saturating_sub(half)..(at + half + 1).min(size);
            let value = |other: usize| if vertical { values[other * columns + column] } else { values[row * columns + other] };
            found.push(window.map(value).fold(f32::INFINITY, f32::min));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A board 2 m wide and high in 10 m, a wall in 30 m and the road 1.5 m below, seen by a lidar at the camera with rings 0.4 degrees apart.
    fn scene() -> Vec<Point3<f32>> {
        let mut points = Vec::new();
        for row in -20..=20 {
            for column in -200..=200 {
                let (x, y) = (f64::from(column) * 0.15, f64::from(row) * 0.4);
                let (x, y) = (x.to_radians().tan() as f32, y.to_radians().tan() as f32);
                let road = if y > 0.0 { 1.5 / y } else { f32::INFINITY };
                let board = if (10.0 * x).abs() <= 1.0 && (10.0 * y).abs() <= 1.0 { 10.0 } else { f32::INFINITY };
                let z = road.min(board).min(30.0);
                points.push(Point3::new(x * z, y * z, z));
            }
        }
        points
    }

    #[test]
    fn a_board_has_edges_on_its_rim_and_the_road_has_none() {
        let edges = depth_edges(&scene(), [0.6, 0.2]);
        let of = |runs: Runs| edges.iter().filter(move |edge| edge.runs == runs);
        assert!(of(Runs::Down).count() > 20 && of(Runs::Across).count() > 40, "{}", edges.len());
        for edge in &edges {
            let [x, y, z] = edge.at_m.map(f64::from);
            let off = match edge.runs {
                Runs::Down => ((x / z).abs() - 0.1).abs(),
                Runs::Across => ((y / z).abs() - 0.1).abs(),
            };
            assert!(off.to_degrees() < 0.45 && (z - 10.0).abs() < 0.2, "{edge:?}");
        }
        assert!(depth_edges(&[], [0.6, 0.2]).is_empty());
        assert!(depth_edges(&[Point3::new(f32::NAN, 0.0, f32::INFINITY)], [0.6, 0.2]).is_empty());
    }
}
