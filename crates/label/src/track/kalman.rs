//! A constant-velocity Kalman filter in the plane.
//!
//! Both axes have the same noise, so they share one 2×2 covariance of position and velocity (white acceleration, Bar-Shalom et al.,
//! "Estimation with Applications to Tracking and Navigation", 2001, section 6.2.2).

use crate::classify::Kind;

/// How things of a kind move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    /// Standard deviation of the acceleration (m/s²).
    pub acceleration_mps2: f64,
    /// Standard deviation of the velocity before it was seen (m/s).
    pub speed_mps: f64,
}

impl Motion {
    /// Usual values of a kind.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Vehicle => Self { acceleration_mps2: 4.0, speed_mps: 8.0 },
            Kind::Rider => Self { acceleration_mps2: 2.5, speed_mps: 4.0 },
            Kind::Person => Self { acceleration_mps2: 2.0, speed_mps: 1.5 },
        }
    }
}

/// Position and velocity with their uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kalman {
    /// x, y in the world (metres).
    pub position_m: [f64; 2],
    /// Velocity in the world (m/s).
    pub velocity_mps: [f64; 2],
    /// Variances of position and velocity, and between them their covariance.
    covariance: [f64; 3],
}

impl Kalman {
    /// Something first seen at a place.
    #[must_use]
    pub fn at(position_m: [f64; 2], motion: Motion) -> Self {
        Self { position_m, velocity_mps: [0.0; 2], covariance: [0.16, 0.0, motion.speed_mps * motion.speed_mps] }
    }

    /// Moves the state on by `seconds`.
    pub fn predict(&mut self, seconds: f64, motion: Motion) {
        for axis in 0..2 {
            self.position_m[axis] += seconds * self.velocity_mps[axis];
        }
        let [pp, pv, vv] = self.covariance;
        let q = motion.acceleration_mps2 * motion.acceleration_mps2;
        let (t, t2) = (seconds, seconds * seconds);
        self.covariance = [pp + 2.0 * t * pv + t2 * vv + q * t2 * t2 / 4.0, pv + t * vv + q * t2 * t / 2.0, vv + q * t2];
    }

    /// Takes a measured position with its standard deviation.
    pub fn update(&mut self, measured_m: [f64; 2], sigma_m: f64) {
        let [pp, pv, vv] = self.covariance;
        let innovation = pp + sigma_m * sigma_m;
        let (gain_p, gain_v) = (pp / innovation, pv / innovation);
        for ((position, velocity), measured) in self.position_m.iter_mut().zip(&mut self.velocity_mps).zip(measured_m) {
            let residual = measured - *position;
            *position += gain_p * residual;
            *velocity += gain_v * residual;
        }
        self.covariance = [(1.0 - gain_p) * pp, (1.0 - gain_p) * pv, vv - gain_v * pv];
    }

    /// Standard deviation of the position (metres).
    #[must_use]
    pub fn sigma_m(&self) -> f64 {
        self.covariance[0].max(0.0).sqrt()
    }

    /// Squared distance of two independent states in standard deviations of their difference, positions and velocities together (four degrees of
    /// freedom).
    pub(super) fn distance2(&self, other: &Self) -> f64 {
        let [pp, pv, vv] = [0, 1, 2].map(|at| self.covariance[at] + other.covariance[at]);
        let determinant = (pp * vv - pv * pv).max(f64::MIN_POSITIVE);
        let of_axis = |axis: usize| {
            let dp = self.position_m[axis] - other.position_m[axis];
            let dv = self.velocity_mps[axis] - other.velocity_mps[axis];
            (vv * dp * dp - 2.0 * pv * dp * dv + pp * dv * dv) / determinant
        };
        of_axis(0) + of_axis(1)
    }

    /// Speed in m/s.
    #[must_use]
    pub fn speed_mps(&self) -> f64 {
        self.velocity_mps[0].hypot(self.velocity_mps[1])
    }
}
