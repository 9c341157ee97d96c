//! Which points belong together: columns of a grid seen from above, joined by union-find.
//!
//! Two columns are joined when they are near each other *and* of the same kind: a column that is filled from low down to well above a car's
//! roof is tall (walls, trunks, poles, trucks), others are low. So a car at a hedge or a person at a lamp post stands alone. What
//! hangs above a gap (tree crowns, signs, bridges) belongs to no column. Small groups near the lidar get a finer pass
//! ([`people`]) that parts persons who walk side by side, and persons from what they stand at ([`foreground`]).

mod grid;

mod expected;

mod people;

mod foreground;

use serde::Deserialize;

pub use expected::Expected;
pub use grid::{ColumnGrid, NO_GROUP};

/// Options of [`cluster`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// Side of a column (metres).
    pub cell_m: f64,
    /// Columns one empty cell apart are joined beyond this range, two beyond twice of it (metres).
    pub far_range_m: f64,
    /// A column filled to this height above the ground is tall (metres).
    pub tall_m: f64,
    /// A vertical gap in a column larger than this ends it (metres).
    pub gap_m: f64,
    /// Groups with fewer points are noise.
    pub min_points: u32,
    /// Small groups nearer than this get the finer pass that parts persons (metres).
    pub people_range_m: f64,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { cell_m: 0.2, far_range_m: 25.0, tall_m: 2.6, gap_m: 0.8, min_points: 6, people_range_m: 30.0 }
    }
}

/// One group of points.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Indices into the points.
    pub members: Vec<u32>,
    /// Label of its columns in the [`ColumnGrid`]; parted persons share one.
    pub label: u32,
    /// Made of tall columns.
    pub tall: bool,
    /// Share of its columns that touch a column of another, tall group.
    pub beside_tall: f64,
    /// It was cut out of something larger because a track expected it.
    pub cut_out: bool,
}

/// The upright rectangle about some points, along the axes of the frame (metres).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bounds {
    low: [f32; 2],
    high: [f32; 2],
}

impl Bounds {
    fn of(points: impl Iterator<Item = [f32; 2]>) -> Self {
        let mut bounds = Self { low: [f32::INFINITY; 2], high: [f32::NEG_INFINITY; 2] };
        for p in points {
            for ((low, high), at) in bounds.low.iter_mut().zip(&mut bounds.high).zip(p) {
                *low = if at < *low { at } else { *low };
                *high = if at > *high { at } else { *high };
            }
        }
        bounds
    }

    fn of_group(group: &Group, points: &[[f32; 3]]) -> Self {
        Self::of(group.members.iter().map(|member| points[*member as usize]).map(|[x, y, _]| [x, y]))
    }

    /// The longer of its sides.
    fn extent_m(&self) -> f32 {
        (self.high[0] - self.low[0]).max(self.high[1] - self.low[1])
    }

    /// Whether none of its points can be within a square about a place, `reach_m` to each side.
    fn is_beyond(&self, center: [f32; 2], reach_m: f32) -> bool {
        (0..2).any(|axis| self.low[axis] - center[axis] > reach_m || self.high[axis] - center[axis] < -reach_m)
    }
}

/// The groups of one sweep, and the columns they were made of.
#[derive(Clone, Debug)]
pub struct Clusters {
    /// The groups, in the order in which their first point was measured.
    pub groups: Vec<Group>,
    /// What stands, or was seen to be free, at each place.
    pub columns: ColumnGrid,
}

/// Groups the points that are above the ground. `height_above_m` has one height a point; `lidar_origin_ego_m` is where ranges start;
/// `expected` are the vehicles that tracks expect.
#[must_use]
pub fn cluster(
    points: &[[f32; 3]],
    height_above_m: &[f32],
    band_m: f64,
    lidar_origin_ego_m: [f64; 3],
    expected: &[Expected],
    config: &ClusterConfig,
) -> Clusters {
    let origin = [lidar_origin_ego_m[0] as f32, lidar_origin_ego_m[1] as f32];
    let mut columns = ColumnGrid::fill(points, height_above_m, band_m as f32, origin, config);
    let roots = columns.join(origin, config);
    let mut groups = columns.collect(height_above_m, &roots, config.min_points as usize);
    let mut bounds = groups.iter().map(|group| Bounds::of_group(group, points)).collect();
    expected::cut_out(&mut groups, &mut bounds, points, expected, config.min_points as usize);
    people::part(&mut groups, &bounds, points, height_above_m, origin, config);
    Clusters { groups, columns }
}

#[cfg(test)]
mod tests;
