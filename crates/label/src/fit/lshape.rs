//! The L-shape search.

use std::f64::consts::FRAC_PI_2;

use super::spans;

const COARSE_STEPS: u32 = 30;
const FINE_STEPS: i32 = 3;
/// Keeps the area of a thin rectangle from vanishing (metres).
const AREA_RIM_M: f64 = 0.3;

/// Heading in `[0, pi/2)` at which the points lie closest to the sides of their bounding rectangle, and their mean distance to the
/// nearer side at that heading (metres). `d0_m` bounds the weight of a point on a side.
#[must_use]
pub fn best_yaw(points: &[[f64; 2]], d0_m: f64) -> (f64, f64) {
    let d0 = d0_m.max(1e-3);
    let coarse = FRAC_PI_2 / f64::from(COARSE_STEPS);
    let mut best = (f64::NEG_INFINITY, 0.0);
    let mut consider = |yaw: f64| {
        let score = closeness(points, yaw, d0);
        if score > best.0 {
            best = (score, yaw);
        }
    };
    (0..COARSE_STEPS).for_each(|step| consider(f64::from(step) * coarse));
    let around = best.1;
    let mut consider = |yaw: f64| {
        let score = closeness(points, yaw, d0);
        if score > best.0 {
            best = (score, yaw);
        }
    };
    let fine = coarse / f64::from(FINE_STEPS);
    (1 - FINE_STEPS..FINE_STEPS).filter(|step| *step != 0).for_each(|step| consider(around + f64::from(step) * fine));
    let yaw = best.1.rem_euclid(FRAC_PI_2);
    (yaw, residual(points, yaw))
}

/// Mean closeness over the root of the area: where a face returned nothing (dark paint, glass), points on the roof would make lines of their
/// own, but the smallest rectangle still lies along the sides.
fn closeness(points: &[[f64; 2]], yaw: f64, d0: f64) -> f64 {
    let span = spans(points, yaw);
    let area = (span[0][1] - span[0][0] + AREA_RIM_M) * (span[1][1] - span[1][0] + AREA_RIM_M);
    nearer_sides(points, yaw).map(|distance| 1.0 / distance.max(d0)).sum::<f64>() / area.sqrt()
}

fn residual(points: &[[f64; 2]], yaw: f64) -> f64 {
    nearer_sides(points, yaw).sum::<f64>() / points.len().max(1) as f64
}

/// Distance of each point to the nearest side of the bounding rectangle.
fn nearer_sides(points: &[[f64; 2]], yaw: f64) -> impl Iterator<Item = f64> + '_ {
    let (sin, cos) = yaw.sin_cos();
    let span = spans(points, yaw);
    points.iter().map(move |p| {
        let (u, v) = (p[0] * cos + p[1] * sin, p[1] * cos - p[0] * sin);
        let du = (u - span[0][0]).min(span[0][1] - u);
        let dv = (v - span[1][0]).min(span[1][1] - v);
        du.min(dv)
    })
}
