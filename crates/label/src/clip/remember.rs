//! What is kept of every sweep for the end of the clip: what stood about the vehicle, seen from above.
//!
//! A box that is known at the end of the clip can be looked for in sweeps that did not find it; for that the points need not be kept, only where they
//! were. Points on one place of 20 cm become one spot, the mean of them: some 40 kB a sweep of 120,000 points instead of 1.4 MB, and
//! never more than 2.2 MB, one spot on every place.

use boxwright_model::Cuboid;

/// Side of the places whose points are kept as one (metres): the columns of the cluster stage have the same.
const CELL_M: f32 = 0.2;
/// Points higher above the ground are not kept (metres): crowns hang over vehicles, and what a vehicle has above this it has below, too.
const MAX_HEIGHT_M: f32 = 2.6;
/// What is farther from the lidar than this along x or y is not kept (metres): beyond, a vehicle has few points, and a sweep would have no bound.
const MAX_AWAY_M: f32 = 60.0;
/// Units of a metre in which spots are kept: 60 m fit into 16 bits.
const PER_M: f32 = 500.0;

/// Points that are on one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    /// Their mean, from the lidar, in steps of 2 mm.
    xy: [i16; 2],
    points: u16,
}

/// What stood about the vehicle in one sweep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    lidar_xy: [f64; 2],
    /// Ordered by column of 20 cm; within one, x differs by less, which `about` allows for at both ends.
    spots: Vec<Spot>,
}

/// Some points on one place, ego frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Their mean.
    pub xy: [f64; 2],
    /// How many.
    pub points: u32,
}

impl Standing {
    /// Keeps the points that are above the ground.
    #[must_use]
    pub fn of(points: &[[f32; 3]], height_above_m: &[f32], band_m: f32, lidar_xy: [f64; 2]) -> Self {
        let lidar = lidar_xy.map(|v| v as f32);
        let mut placed: Vec<(u32, [f32; 2])> = Vec::new();
        for (p, height) in points.iter().zip(height_above_m) {
            let away = [p[0] - lidar[0], p[1] - lidar[1]];
            if (band_m..MAX_HEIGHT_M).contains(height) && away.iter().all(|v| v.abs() < MAX_AWAY_M) {
                let [column, row] = away.map(|v| ((v + MAX_AWAY_M) / CELL_M) as u32);
                placed.push((column << 16 | row, away));
            }
        }
        // Stable: sums of floats depend on their order.
        placed.sort_by_key(|(cell, _)| *cell);
        let mut spots: Vec<Spot> = placed
            .chunk_by(|a, b| a.0 == b.0)
            .map(|of_cell| {
                let mean = |axis: usize| of_cell.iter().map(|(_, away)| away[axis]).sum::<f32>() / of_cell.len() as f32;
                Spot {
                    xy: [0, 1].map(|axis| (mean(axis) * PER_M).round() as i16),
                    points: of_cell.len().min(u16::MAX.into()) as u16,
                }
            })
            .collect();
        // It stays until the end of the clip.
        spots.shrink_to_fit();
        Self { lidar_xy, spots }
    }

    /// Where the lidar was, ego frame.
    #[must_use]
    pub fn lidar_xy(&self) -> [f64; 2] {
        self.lidar_xy
    }

    /// What is no farther outside of a box's sides than this, ego frame.
    pub fn about(&self, ego_from_box: &Cuboid, margin_m: f64) -> impl Iterator<Item = Place> {
        let (sin, cos) = ego_from_box.yaw_rad().sin_cos();
        let center = [ego_from_box.center_m.x - self.lidar_xy[0], ego_from_box.center_m.y - self.lidar_xy[1]];
        let half = [ego_from_box.size_lwh_m.x / 2.0 + margin_m, ego_from_box.size_lwh_m.y / 2.0 + margin_m];
        let reach = half[0].hypot(half[1]) + f64::from(CELL_M);
        let from = self.spots.partition_point(|spot| f64::from(spot.xy[0]) < (center[0] - reach) * f64::from(PER_M));
        let near = self.spots[from..].iter().map(|spot| (spot.xy.map(|v| f64::from(v) / f64::from(PER_M)), spot.points));
        near.take_while(move |(xy, _)| xy[0] <= center[0] + reach + f64::from(CELL_M)).filter_map(move |(xy, points)| {
            let (dx, dy) = (xy[0] - center[0], xy[1] - center[1]);
            let inside = (dx * cos + dy * sin).abs() <= half[0] && (dy * cos - dx * sin).abs() <= half[1];
            inside.then_some(Place { xy: [xy[0] + self.lidar_xy[0], xy[1] + self.lidar_xy[1]], points: points.into() })
        })
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Vector3;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn what_is_about_a_box_is_what_a_look_at_every_spot_finds() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let lidar_xy = [1.3, -0.4];
        let mut points: Vec<[f32; 3]> = (0..60_000).map(|_| [0, 1, 2].map(|_| rng.random_range(-65.0..65.0f32))).collect();
        points.iter_mut().for_each(|p| p[2] = p[2] / 65.0 + 1.0);
        points.extend([[61.29, 59.59, 1.0], [-58.69, -60.39, 1.0]]);
        let heights: Vec<f32> = points.iter().map(|p| p[2]).collect();
        let standing = Standing::of(&points, &heights, 0.22, lidar_xy);
        let is_kept = |p: &&[f32; 3]| {
            let near = |axis: usize| (p[axis] - lidar_xy[axis] as f32).abs() < MAX_AWAY_M;
            near(0) && near(1) && (0.22..MAX_HEIGHT_M).contains(&p[2])
        };
        let kept = points.iter().filter(is_kept).count();
        assert_eq!(standing.spots.iter().map(|spot| usize::from(spot.points)).sum::<usize>(), kept, "every point is in one spot");
        let everything = Cuboid::upright(Vector3::zeros(), Vector3::new(500.0, 500.0, 2.0), 0.0);
        let all: Vec<Place> = standing.about(&everything, 0.0).collect();
        assert_eq!(all.len(), standing.spots.len());
        for _ in 0..500 {
            let size = Vector3::new(rng.random_range(0.3..12.0), rng.random_range(0.3..3.0), 1.5);
            let center = Vector3::new(rng.random_range(-64.0..64.0), rng.random_range(-64.0..64.0), 1.0);
            let cuboid = Cuboid::upright(center, size, rng.random_range(-4.0..4.0));
            let around = Cuboid::upright(center, size + Vector3::new(0.3, 0.3, 100.0), cuboid.yaw_rad());
            let inside = |place: &Place| around.contains(&nalgebra::Point3::new(place.xy[0], place.xy[1], 1.0), 0.0);
            let expected: Vec<Place> = all.iter().copied().filter(inside).collect();
            assert_eq!(standing.about(&cuboid, 0.15).collect::<Vec<_>>(), expected, "{cuboid:?}");
        }
    }

    #[test]
    fn a_spot_is_the_mean_of_the_points_of_its_place() {
        let points =
            [[10.02f32, 5.02, 1.0], [10.06, 5.1, 1.2], [10.3, 5.02, 1.0], [10.02, 5.02, 0.1], [10.02, 5.02, 3.0], [70.0, 0.0, 1.0]];
        let standing = Standing::of(&points, &points.map(|p| p[2]), 0.22, [0.0; 2]);
        let around = Cuboid::upright(Vector3::new(10.0, 5.0, 1.0), Vector3::new(1.0, 1.0, 1.0), 0.0);
        let found: Vec<Place> = standing.about(&around, 0.0).collect();
        assert_eq!(found.iter().map(|place| place.points).collect::<Vec<_>>(), [2, 1], "on the ground, above and far away: none");
        assert!((found[0].xy[0] - 10.04).hypot(found[0].xy[1] - 5.06) < 0.003, "{found:?}");
    }
}
