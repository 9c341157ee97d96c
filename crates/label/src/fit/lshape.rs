//! The L-shape search.

use std::f64::consts::FRAC_PI_2;

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
    let mut turned = Turned { points, along: Vec::with_capacity(points.len()), span: [[0.0; 2]; 2] };
    let mut best = (f64::NEG_INFINITY, 0.0);
    let mut consider = |yaw: f64, best: &mut (f64, f64)| {
        let score = turned.to(yaw).closeness(d0);
        if score > best.0 {
            *best = (score, yaw);
        }
    };
    (0..COARSE_STEPS).for_each(|step| consider(f64::from(step) * coarse, &mut best));
    let around = best.1;
    let fine = coarse / f64::from(FINE_STEPS);
    (1 - FINE_STEPS..FINE_STEPS).filter(|step| *step != 0).for_each(|step| consider(around + f64::from(step) * fine, &mut best));
    let yaw = best.1.rem_euclid(FRAC_PI_2);
    (yaw, turned.to(yaw).residual())
}

/// The points along the axes of a heading: turned once, read twice.
struct Turned<'a> {
    points: &'a [[f64; 2]],
    along: Vec<[f64; 2]>,
    span: [[f64; 2]; 2],
}

impl Turned<'_> {
    fn to(&mut self, yaw: f64) -> &Self {
        let (sin, cos) = yaw.sin_cos();
        self.along.clear();
        self.along.extend(self.points.iter().map(|p| [p[0] * cos + p[1] * sin, p[1] * cos - p[0] * sin]));
        let mut span = [[f64::INFINITY, f64::NEG_INFINITY]; 2];
        for [u, v] in &self.along {
            span[0] = [span[0][0].min(*u), span[0][1].max(*u)];
            span[1] = [span[1][0].min(*v), span[1][1].max(*v)];
        }
        self.span = span;
        self
    }

    /// Mean closeness over the root of the area: where a face returned nothing (dark paint, glass), points on the roof would make lines of
    /// their own, but the smallest rectangle still lies along the sides.
    fn closeness(&self, d0: f64) -> f64 {
        let span = self.span;
        let area = (span[0][1] - span[0][0] + AREA_RIM_M) * (span[1][1] - span[1][0] + AREA_RIM_M);
        self.nearer_sides().map(|distance| 1.0 / distance.max(d0)).sum::<f64>() / area.sqrt()
    }

    fn residual(&self) -> f64 {
        self.nearer_sides().sum::<f64>() / self.points.len().max(1) as f64
    }

    /// Distance of each point to the nearest side of the bounding rectangle.
    fn nearer_sides(&self) -> impl Iterator<Item = f64> + '_ {
        let span = self.span;
        self.along.iter().map(move |[u, v]| {
            let du = (u - span[0][0]).min(span[0][1] - u);
            let dv = (v - span[1][0]).min(span[1][1] - v);
            du.min(dv)
        })
    }
}
