//! How far a point may be from where the constant velocity puts it (KISS-ICP, arXiv 2209.15397, equations 6 to 8).

use boxwright_model::Pose;

/// Deviations smaller than this (metres) are noise and say nothing of the vehicle's manoeuvres.
const LEAST_DEVIATION_M: f64 = 0.1;

/// Sigma before anything is known (metres). The paper begins with two and from standstill; here the second sweep has told the speed, and a
/// wide reach lets the rings of a scan hold it back.
const FIRST_SIGMA_M: f64 = 0.7;

/// Root of the mean squared deviation so far.
#[derive(Clone, Debug)]
pub(crate) struct Threshold {
    range_m: f64,
    squares: f64,
    count: f64,
}

impl Threshold {
    pub(crate) fn new(range_m: f64) -> Self {
        Self { range_m, squares: FIRST_SIGMA_M * FIRST_SIGMA_M, count: 1.0 }
    }

    pub(crate) fn sigma_m(&self) -> f64 {
        (self.squares / self.count).sqrt()
    }

    /// Notes by how much the prediction was off.
    pub(crate) fn note(&mut self, predicted_from_found: &Pose) {
        let turn_m = 2.0 * self.range_m * (predicted_from_found.rotation.angle() / 2.0).sin();
        let deviation_m = predicted_from_found.translation.vector.norm() + turn_m;
        if deviation_m > LEAST_DEVIATION_M {
            self.squares += deviation_m * deviation_m;
            self.count += 1.0;
        }
    }
}

/// Sigma while the vehicle is lost: the paper's first value (metres).
pub(crate) const LOST_SIGMA_M: f64 = 2.0;
