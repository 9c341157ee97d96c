//! Which points are looked at: numbers that are numbers, within range, and not on the vehicle itself. What is left out is counted.

use boxwright_model::PointCloud;
use serde::{Deserialize, Serialize};

/// Farthest range that any stage works with; it bounds the memory of the grids.
pub const RANGE_LIMIT_M: f64 = 250.0;

/// Options of [`clean`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CleanConfig {
    /// Points farther from the lidar than this are left out (metres, at most 250).
    pub max_range_m: f64,
    /// Length of the zone about the lidar that holds the vehicle itself (metres).
    pub ego_length_m: f64,
    /// Width of that zone (metres).
    pub ego_width_m: f64,
}

impl Default for CleanConfig {
    fn default() -> Self {
        Self { max_range_m: 75.0, ego_length_m: 4.0, ego_width_m: 2.0 }
    }
}

/// What became of the points of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CleanCounts {
    /// Points given.
    pub input: u64,
    /// Points kept.
    pub kept: u64,
    /// A coordinate was NaN or infinite.
    pub not_finite: u64,
    /// Beyond the range.
    pub out_of_range: u64,
    /// On the vehicle itself.
    pub ego_vehicle: u64,
}

/// The points that are left, and where they stood in the sweep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CleanSweep {
    /// x, y, z in metres, ego frame.
    pub xyz: Vec<[f32; 3]>,
    /// Index of each in the sweep's columns.
    pub source: Vec<u32>,
    /// What was left out.
    pub counts: CleanCounts,
}

/// Leaves out what cannot be used. `lidar_origin_ego_m` is where the lidar sits in the ego frame.
#[must_use]
pub fn clean(points: &PointCloud, lidar_origin_ego_m: [f64; 3], config: &CleanConfig) -> CleanSweep {
    let (mut xyz, mut source) = (Vec::with_capacity(points.x.len()), Vec::with_capacity(points.x.len()));
    let counts = sort_out(points, lidar_origin_ego_m, config, |index, point| {
        xyz.push(point);
        source.push(index);
    });
    CleanSweep { xyz, source, counts }
}

/// What [`clean`] would leave out.
#[must_use]
pub fn count(points: &PointCloud, lidar_origin_ego_m: [f64; 3], config: &CleanConfig) -> CleanCounts {
    sort_out(points, lidar_origin_ego_m, config, |_, _| ())
}

fn sort_out(
    points: &PointCloud,
    lidar_origin_ego_m: [f64; 3],
    config: &CleanConfig,
    mut keep: impl FnMut(u32, [f32; 3]),
) -> CleanCounts {
    let count = points.x.len().min(points.y.len()).min(points.z.len());
    let mut counts = CleanCounts { input: count as u64, ..CleanCounts::default() };
    let origin = lidar_origin_ego_m.map(|v| v as f32);
    let max_range = config.max_range_m.clamp(1.0, RANGE_LIMIT_M) as f32;
    let (half_length, half_width) = (config.ego_length_m as f32 / 2.0, config.ego_width_m as f32 / 2.0);
    for (index, ((&x, &y), &z)) in (0u32..).zip(points.x.iter().zip(&points.y).zip(&points.z)) {
        if !(x.is_finite() && y.is_finite() && z.is_finite()) {
            counts.not_finite += 1;
            continue;
        }
        let (dx, dy, dz) = (x - origin[0], y - origin[1], z - origin[2]);
        if dx * dx + dy * dy + dz * dz > max_range * max_range {
            counts.out_of_range += 1;
        } else if dx.abs() < half_length && dy.abs() < half_width {
            counts.ego_vehicle += 1;
        } else {
            counts.kept += 1;
            keep(index, [x, y, z]);
        }
    }
    counts
}

/// Farthest that a point is from a place along x or y (metres); numbers that are no numbers do not count.
pub(crate) fn reach_m(points: &[[f32; 3]], origin: [f32; 2]) -> f32 {
    // Several points side by side: a single maximum would wait for itself at every point.
    let mut reach = [0.0f32; 8];
    let mut chunks = points.chunks_exact(4);
    let mut see = |place: usize, p: &[f32; 3]| {
        for axis in 0..2 {
            let (away, most) = ((p[axis] - origin[axis]).abs(), &mut reach[2 * place + axis]);
            *most = if away > *most { away } else { *most };
        }
    };
    for chunk in &mut chunks {
        chunk.iter().enumerate().for_each(|(place, p)| see(place, p));
    }
    chunks.remainder().iter().for_each(|p| see(0, p));
    reach.into_iter().fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_kept_or_counted() {
        let points = PointCloud {
            x: vec![10.0, f32::NAN, 1e30, 0.5, 5.0],
            y: vec![0.0, 0.0, 0.0, 0.1, 5.0],
            z: vec![0.0, 0.0, 0.0, -0.5, f32::INFINITY],
            ..PointCloud::default()
        };
        let sweep = clean(&points, [0.0; 3], &CleanConfig::default());
        assert_eq!(sweep.counts, CleanCounts { input: 5, kept: 1, not_finite: 2, out_of_range: 1, ego_vehicle: 1 });
        assert_eq!((sweep.xyz, sweep.source), (vec![[10.0, 0.0, 0.0]], vec![0]));
    }
}
