//! From points to pillars (Lang et al.: "PointPillars", CVPR 2019): the columns of a grid that hold points, each with its first points.
//!
//! | tensor | shape | what |
//! | --- | --- | --- |
//! | points | `[pillars, max_points, features]` f32 | zeros behind a pillar's last point |
//! | places | `[pillars, 4]` int32 | `batch, z, y, x` of each pillar, as OpenPCDet and mmdetection3d have them: the first two are 0 |
//! | counts | `[pillars]` int32 | points of each pillar |
//!
//! Pillars stand in the order of their first points, and points in the order of the sweep: the same sweep gives the same tensors. What lies
//! outside of the range, or comes when pillars or their rows are full, is left out.

use std::collections::HashMap;

use serde::Deserialize;

use crate::session::{Ints, Tensor};

/// Most cells of a grid: heads have one value a cell, class and number of a box.
pub(crate) const MAX_CELLS: usize = 4 << 20;
/// Most numbers of the tensor of points: 256 MB.
const MAX_NUMBERS: usize = 64 << 20;

/// How a sweep becomes tensors.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PillarInput {
    /// Where the network's axes begin: they point as those of the vehicle (x forward, y left, z up).
    pub origin: Origin,
    /// Least x, y, z and greatest x, y, z of the points that are used (metres from the origin).
    pub range_m: [f64; 6],
    /// Length and width of a pillar (metres).
    pub pillar_m: [f64; 2],
    /// Most pillars.
    pub max_pillars: usize,
    /// Most points of a pillar.
    pub max_points: usize,
    /// What is said of a point, in this order.
    pub features: Vec<Feature>,
    /// Intensities are multiplied by this: networks want 0 to 1, lidars send 0 to 1, 0 to 255 or more.
    #[serde(default = "one")]
    pub intensity_scale: f32,
    /// Name of the input of points.
    pub points: String,
    /// Name of the input of places.
    pub places: String,
    /// Name of the input of counts; empty where the network has none.
    #[serde(default)]
    pub counts: String,
}

fn one() -> f32 {
    1.0
}

/// Where a network's axes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The lidar: the ground lies at minus its height.
    Lidar,
    /// The vehicle's frame.
    Ego,
}

/// One number of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Metres from the origin.
    X,
    /// Metres from the origin.
    Y,
    /// Metres from the origin.
    Z,
    /// Scaled intensity.
    Intensity,
    /// Seconds since the stamp of the sweep: 0, as one sweep is given.
    Time,
    /// Metres from the mean of the pillar's points.
    XFromMean,
    /// Metres from the mean of the pillar's points.
    YFromMean,
    /// Metres from the mean of the pillar's points.
    ZFromMean,
    /// Metres from the middle of the pillar.
    XFromPillar,
    /// Metres from the middle of the pillar.
    YFromPillar,
    /// Metres from the middle of the range in height.
    ZFromPillar,
}

impl PillarInput {
    /// Columns and rows of the grid: along x and along y.
    pub(crate) fn grid(&self) -> [usize; 2] {
        [0, 1].map(|axis| ((self.range_m[axis + 3] - self.range_m[axis]) / self.pillar_m[axis]).round().clamp(0.0, 1e9) as usize)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let range = &self.range_m;
        if !range.iter().all(|value| value.abs() <= 1_000.0) || (0..3).any(|axis| range[axis] >= range[axis + 3]) {
            return Err(format!("input.range_m: expected x, y, z from less to greater within 1000 m, got {range:?}"));
        }
        if !self.pillar_m.iter().all(|side| (0.01..=10.0).contains(side)) {
            return Err(format!("input.pillar_m: expected 0.01 to 10 m, got {:?}", self.pillar_m));
        }
        let [columns, rows] = self.grid();
        if columns == 0 || rows == 0 || columns.saturating_mul(rows) > MAX_CELLS {
            return Err(format!("input.range_m and pillar_m: expected a grid of 1 to {MAX_CELLS} cells, got {columns} x {rows}"));
        }
        let numbers = self.max_pillars.saturating_mul(self.max_points).saturating_mul(self.features.len());
        if !(1..=MAX_NUMBERS).contains(&numbers) {
            return Err(format!(
                "input: expected max_pillars, max_points and features whose product is 1 to {MAX_NUMBERS}, got {numbers}"
            ));
        }
        if !self.intensity_scale.is_finite() {
            return Err(format!("input.intensity_scale: expected a number, got {}", self.intensity_scale));
        }
        Ok(())
    }
}

/// The tensors of a sweep.
pub(crate) struct Pillars {
    pub(crate) points: Tensor,
    pub(crate) places: Ints,
    pub(crate) counts: Ints,
}

struct Pillar {
    cell: [usize; 2],
    points: Vec<[f32; 4]>,
}

/// Puts points (x, y, z from the network's origin, and intensity) into pillars. `None` where no point lies in the range.
pub(crate) fn pillars(points: impl Iterator<Item = [f32; 4]>, input: &PillarInput) -> Option<Pillars> {
    let [columns, rows] = input.grid();
    let mut by_cell: HashMap<usize, usize> = HashMap::new();
    let mut found: Vec<Pillar> = Vec::new();
    for point in points {
        let at = |axis: usize| (f64::from(point[axis]) - input.range_m[axis]) / input.pillar_m[axis];
        let (u, v, z) = (at(0), at(1), f64::from(point[2]));
        // Written so that no number is outside.
        let inside = u >= 0.0 && v >= 0.0 && z >= input.range_m[2] && z < input.range_m[5];
        if !inside || u >= columns as f64 || v >= rows as f64 {
            continue;
        }
        let cell = [u as usize, v as usize];
        let place = by_cell.entry(cell[1] * columns + cell[0]).or_insert_with(|| {
            if found.len() < input.max_pillars {
                found.push(Pillar { cell, points: Vec::new() });
                found.len() - 1
            } else {
                usize::MAX
            }
        });
        if let Some(pillar) = found.get_mut(*place)
            && pillar.points.len() < input.max_points
        {
            pillar.points.push(point);
        }
    }
    (!found.is_empty()).then(|| tensors(&found, input))
}

fn tensors(found: &[Pillar], input: &PillarInput) -> Pillars {
    let (features, max_points) = (input.features.len(), input.max_points);
    let mut data = vec![0.0; found.len() * max_points * features];
    for (pillar, rows) in found.iter().zip(data.chunks_exact_mut(max_points * features)) {
        let mean = [0, 1, 2]
            .map(|axis| pillar.points.iter().map(|point| f64::from(point[axis])).sum::<f64>() / pillar.points.len() as f64);
        let middle_of = |axis: usize| input.range_m[axis] + (pillar.cell[axis] as f64 + 0.5) * input.pillar_m[axis];
        let middle = [middle_of(0), middle_of(1), (input.range_m[2] + input.range_m[5]) / 2.0];
        for (point, row) in pillar.points.iter().zip(rows.chunks_exact_mut(features)) {
            let from = |origin: &[f64; 3], axis: usize| (f64::from(point[axis]) - origin[axis]) as f32;
            for (feature, slot) in input.features.iter().zip(row) {
                *slot = match feature {
                    Feature::X => point[0],
                    Feature::Y => point[1],
                    Feature::Z => point[2],
                    Feature::Intensity => point[3] * input.intensity_scale,
                    Feature::Time => 0.0,
                    Feature::XFromMean => from(&mean, 0),
                    Feature::YFromMean => from(&mean, 1),
                    Feature::ZFromMean => from(&mean, 2),
                    Feature::XFromPillar => from(&middle, 0),
                    Feature::YFromPillar => from(&middle, 1),
                    Feature::ZFromPillar => from(&middle, 2),
                };
            }
        }
    }
    let place = |pillar: &Pillar| [0, 0, pillar.cell[1] as i32, pillar.cell[0] as i32];
    Pillars {
        points: Tensor { shape: vec![found.len(), max_points, features], data },
        places: Ints { shape: vec![found.len(), 4], data: found.iter().flat_map(place).collect() },
        counts: Ints { shape: vec![found.len()], data: found.iter().map(|pillar| pillar.points.len() as i32).collect() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> PillarInput {
        toml::from_str(
            "origin = \"lidar\"\nrange_m = [0.0, -2.0, -1.0, 4.0, 2.0, 1.0]\npillar_m = [1.0, 0.5]\nmax_pillars = 2\nmax_points = 2\n\
             features = [\"x\", \"intensity\", \"y_from_mean\", \"x_from_pillar\"]\nintensity_scale = 0.5\npoints = \"p\"\nplaces = \"c\"",
        )
        .unwrap()
    }

    #[test]
    fn points_fall_into_their_pillars_in_order() {
        assert_eq!(input().grid(), [4, 8]);
        let points = [
            [2.75, 0.1, 0.0, 4.0],
            [9.0, 0.0, 0.0, 1.0],
            [0.5, -1.9, 0.0, 2.0],
            [2.25, 0.3, 0.0, 4.0],
            [2.5, 0.2, 0.0, 4.0],
            [3.5, 1.9, 0.0, 1.0],
            [f32::NAN, 0.0, 0.0, 1.0],
        ];
        let found = pillars(points.into_iter(), &input()).unwrap();
        assert_eq!(found.places.data, [0, 0, 4, 2, 0, 0, 0, 0], "a third pillar has no room");
        assert_eq!(found.counts.data, [2, 1], "a third point has none either");
        assert_eq!(found.points.shape, [2, 2, 4]);
        let near = |a: &[f32], b: [f32; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&found.points.data[..4], [2.75, 2.0, -0.1, 0.25]), "{:?}", found.points.data);
        assert!(near(&found.points.data[4..8], [2.25, 2.0, 0.1, -0.25]));
        assert!(near(&found.points.data[12..], [0.0; 4]), "zeros behind the last point");
        assert!(pillars([[9.0, 0.0, 0.0, 1.0]].into_iter(), &input()).is_none());
    }

    #[test]
    fn grids_that_would_take_all_memory_are_refused() {
        let change = |change: fn(&mut PillarInput)| {
            let mut input = input();
            change(&mut input);
            input.check().unwrap_err()
        };
        assert!(input().check().is_ok());
        assert!(change(|input| input.range_m = [-900.0, -900.0, -1.0, 900.0, 900.0, 1.0]).contains("got 1800 x 3600"));
        assert!(change(|input| input.pillar_m[0] = 0.0).contains("expected 0.01 to 10 m"));
        assert!(change(|input| input.max_points = usize::MAX).contains("whose product is 1 to"));
        assert!(change(|input| input.range_m[3] = f64::NAN).contains("from less to greater"));
    }
}
