//! The L-shape search.

use std::f64::consts::FRAC_PI_2;
use std::sync::LazyLock;

const COARSE_STEPS: u32 = 30;
/// Parts of a coarse step,
const FINE_STEPS: i32 = 3;
/// and those about the best coarse step that are tried.
const FINE: [i32; LANES] = [-2, -1, 1, 2];
/// Keeps the area of a thin rectangle from vanishing (metres).
const AREA_RIM_M: f64 = 0.3;

/// Headings that are tried side by side: as many as fill the registers of the processor.
const LANES: usize = 4;
/// Directions of the coarse steps, as sine and cosine; those past the last one repeat it.
static COARSE: LazyLock<[Lanes; (COARSE_STEPS as usize).div_ceil(LANES)]> = LazyLock::new(|| {
    std::array::from_fn(|batch| {
        Lanes::of(std::array::from_fn(|lane| coarse_yaw(((batch * LANES + lane) as u32).min(COARSE_STEPS - 1))))
    })
});

fn coarse_yaw(step: u32) -> f64 {
    f64::from(step) * (FRAC_PI_2 / f64::from(COARSE_STEPS))
}

/// Heading in `[0, pi/2)` at which the points lie closest to the sides of their bounding rectangle, and their mean distance to the
/// nearer side at that heading (metres). `d0_m` bounds the weight of a point on a side.
#[must_use]
pub fn best_yaw(points: &[[f64; 2]], d0_m: f64) -> (f64, f64) {
    let d0 = d0_m.max(1e-3);
    let yaw = highest(|lanes| lanes.closeness(points, d0));
    (yaw, residual(points, yaw))
}

/// Heading in `[0, pi/2)` at which several views of one thing lie closest to the sides of their bounding rectangles, each view to its own: where the views
/// are shifted against each other, they agree on it all the same. Each view comes with its weight.
#[must_use]
pub fn common_yaw(views: &[(&[[f64; 2]], f64)], d0_m: f64) -> f64 {
    let d0 = d0_m.max(1e-3);
    highest(|lanes| {
        views.iter().fold([0.0; LANES], |sum, (points, weight)| {
            let closeness = lanes.closeness(points, d0);
            // Of the mean point, so that a view counts as much as its weight says.
            std::array::from_fn(|lane| sum[lane] + weight * closeness[lane] / points.len().max(1) as f64)
        })
    })
}

/// The heading in `[0, pi/2)` with the highest score: coarse steps, then fine ones about the best of them.
fn highest(score: impl Fn(&Lanes) -> [f64; LANES]) -> f64 {
    let (mut most, mut around) = (f64::NEG_INFINITY, 0.0);
    for (step, score) in (0..COARSE_STEPS).zip(COARSE.iter().flat_map(&score)) {
        if score > most {
            (most, around) = (score, coarse_yaw(step));
        }
    }
    let fine = coarse_yaw(1) / f64::from(FINE_STEPS);
    let yaws = FINE.map(|step| around + f64::from(step) * fine);
    let mut best = around;
    for (yaw, score) in yaws.into_iter().zip(score(&Lanes::of(yaws))) {
        if score > most {
            (most, best) = (score, yaw);
        }
    }
    best.rem_euclid(FRAC_PI_2)
}

/// Some headings.
struct Lanes {
    sin: [f64; LANES],
    cos: [f64; LANES],
}

impl Lanes {
    fn of(yaws: [f64; LANES]) -> Self {
        let turns = yaws.map(f64::sin_cos);
        Self { sin: turns.map(|(sin, _)| sin), cos: turns.map(|(_, cos)| cos) }
    }

    /// The points' bounding rectangle at each heading: where it starts and ends along both axes.
    fn spans(&self, points: &[[f64; 2]]) -> [[[f64; LANES]; 2]; 2] {
        let [mut u0, mut v0] = [[f64::INFINITY; LANES]; 2];
        let [mut u1, mut v1] = [[f64::NEG_INFINITY; LANES]; 2];
        for [x, y] in points {
            for lane in 0..LANES {
                let (u, v) = (x * self.cos[lane] + y * self.sin[lane], y * self.cos[lane] - x * self.sin[lane]);
                (u0[lane], u1[lane]) = (least(u, u0[lane]), greatest(u, u1[lane]));
                (v0[lane], v1[lane]) = (least(v, v0[lane]), greatest(v, v1[lane]));
            }
        }
        [[u0, u1], [v0, v1]]
    }

    /// Mean closeness over the root of the area: where a face returned nothing (dark paint, glass), points on the roof would make lines of
    /// their own, but the smallest rectangle still lies along the sides.
    fn closeness(&self, points: &[[f64; 2]], d0: f64) -> [f64; LANES] {
        let span = self.spans(points);
        let mut sum = [0.0; LANES];
        for [x, y] in points {
            for lane in 0..LANES {
                let (u, v) = (x * self.cos[lane] + y * self.sin[lane], y * self.cos[lane] - x * self.sin[lane]);
                let du = least(u - span[0][0][lane], span[0][1][lane] - u);
                let dv = least(v - span[1][0][lane], span[1][1][lane] - v);
                sum[lane] += 1.0 / greatest(least(du, dv), d0);
            }
        }
        std::array::from_fn(|lane| {
            let [u, v] = span.map(|[low, high]| high[lane] - low[lane] + AREA_RIM_M);
            sum[lane] / (u * v).sqrt()
        })
    }
}

/// As `f64::min` for numbers, and one instruction.
fn least(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// As `f64::max` for numbers, and one instruction.
fn greatest(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// Mean distance of the points to the nearest side of their bounding rectangle.
fn residual(points: &[[f64; 2]], yaw: f64) -> f64 {
    let [[u0, u1], [v0, v1]] = super::spans(points, yaw);
    let (sin, cos) = yaw.sin_cos();
    let distance = |[x, y]: &[f64; 2]| {
        let (u, v) = (x * cos + y * sin, y * cos - x * sin);
        least(least(u - u0, u1 - u), least(v - v0, v1 - v))
    };
    points.iter().map(distance).sum::<f64>() / points.len().max(1) as f64
}
