//! Where the ground is: a height grid that is found from the lidar outward, best way first.
//!
//! The lowest point of each one-metre cell is ground where it continues the ground about it, and is refused otherwise (the side of a car, a
//! reflection below the road). Cells are judged in the order of how far and how rough the way to them was, so that the ground behind a row of
//! cars is reached around them and not over them; a cell without ground of its own takes the mean of what lies nearest. Nothing is carried
//! on into what was not seen: a slope may end there. Only what the lowest beam passes above is in the plane that the vehicle stands on, where that is seen
//! on all sides of it. The idea of judging each zone by its neighbour is Patchwork's (Lim et al., 2021). The
//! height of the lidar above the road need not be known.

mod grid;

use serde::Deserialize;

pub use grid::HeightGrid;

/// Options of [`segment`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroundConfig {
    /// Points less than this above the ground are ground (metres).
    pub band_m: f64,
    /// Steepest ground that is followed (rise over run).
    pub max_slope: f64,
    /// Highest step from one metre to the next that is still ground, a kerb (metres).
    pub max_step_m: f64,
}

impl Default for GroundConfig {
    fn default() -> Self {
        Self { band_m: 0.22, max_slope: 0.2, max_step_m: 0.16 }
    }
}

/// The ground of one sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Ground {
    /// Height of the ground at any place, ego frame.
    pub grid: HeightGrid,
    /// Height of each point above the ground, in the order of the points (metres).
    pub height_above_m: Vec<f32>,
    /// How many points are ground.
    pub ground_points: usize,
}

/// Finds the ground under `points` (ego frame) seen from a lidar at `lidar_origin_ego_m`.
#[must_use]
pub fn segment(points: &[[f32; 3]], lidar_origin_ego_m: [f64; 3], config: &GroundConfig) -> Ground {
    let origin = [lidar_origin_ego_m[0] as f32, lidar_origin_ego_m[1] as f32];
    let mut grid = HeightGrid::spanning(points, origin);
    let cells = grid.cells_of(points);
    grid.grow(points, &cells, config);
    grid.settle(points, &cells);
    let band = config.band_m as f32;
    let height_above_m: Vec<f32> = points.iter().map(|p| p[2] - grid.at(p[0], p[1])).collect();
    let ground_points = height_above_m.iter().filter(|height| **height < band).count();
    Ground { grid, height_above_m, ground_points }
}

#[cfg(test)]
mod tests;
