//! The street: a gently curving axis with a cross-section of lanes, kerbs and pavements, and the ego vehicle's way along it.
//!
//! A place on the street is `(s, t)`: metres along the axis, and metres to the left of it. Heights are those of the surface, so that
//! what stands on the street stands on it exactly, slopes included.

use boxwright_model::Pose;
use nalgebra::{Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Outer edge of the traffic lane, metres from the axis.
pub(super) const LANE_EDGE_M: f64 = 3.3;
/// Outer edge of the cycle lane.
pub(super) const CYCLE_EDGE_M: f64 = 4.9;
/// Face of the kerb: outer edge of the parking lane.
pub(super) const KERB_M: f64 = 7.1;
/// Outer edge of the kerb stone.
pub(super) const KERB_BACK_M: f64 = 7.28;
/// Back of the pavement; front gardens and buildings stand beyond it.
pub(super) const PAVEMENT_BACK_M: f64 = 10.6;
/// Middle of a traffic lane.
pub(super) const LANE_CENTER_M: f64 = 1.65;
/// Where the ego vehicle starts: there is street behind it, for the rear part of the sweep.
pub(super) const EGO_START_M: f64 = 170.0;
/// Street that must lie beyond the last place of the ego vehicle.
pub(super) const MARGIN_AHEAD_M: f64 = 260.0;
/// Zebra crossings repeat at this distance; parked cars and cyclists know of them.
pub(super) const CROSSING_SPACING_M: f64 = 92.0;
/// Place of the first zebra crossing.
pub(super) const CROSSING_FIRST_M: f64 = 40.0;

const KERB_HEIGHT_M: f64 = 0.12;
const CROSS_SLOPE: f64 = 0.02;
const STEP_M: f64 = 0.1;

/// Distance along the street to the nearest zebra crossing.
pub(super) fn distance_to_crossing_m(s_m: f64) -> f64 {
    let phase = (s_m - CROSSING_FIRST_M + CROSSING_SPACING_M / 2.0).rem_euclid(CROSSING_SPACING_M);
    (phase - CROSSING_SPACING_M / 2.0).abs()
}

/// One sine of the street's curvature or height.
#[derive(Clone, Copy, Debug)]
struct Wave {
    amplitude: f64,
    length_m: f64,
    phase_rad: f64,
}

impl Wave {
    fn random(rng: &mut ChaCha8Rng, amplitude: f64, length_m: f64) -> Self {
        let (low, high) = (0.75, 1.25);
        Self {
            amplitude: amplitude * rng.random_range(low..high),
            length_m: length_m * rng.random_range(low..high),
            phase_rad: rng.random_range(0.0..std::f64::consts::TAU),
        }
    }

    fn at(&self, s_m: f64) -> f64 {
        self.amplitude * (std::f64::consts::TAU * s_m / self.length_m + self.phase_rad).sin()
    }
}

/// The street's axis and surface.
#[derive(Clone, Debug)]
pub(super) struct Road {
    heading_waves: [Wave; 2],
    height_waves: [Wave; 2],
    /// Axis position every [`STEP_M`].
    axis: Vec<[f64; 2]>,
}

impl Road {
    /// A street of `length_m` with curves and slopes from `rng`.
    pub(super) fn new(rng: &mut ChaCha8Rng, length_m: f64) -> Self {
        let heading_waves = [Wave::random(rng, 0.13, 230.0), Wave::random(rng, 0.03, 85.0)];
        let height_waves = [Wave::random(rng, 0.7, 170.0), Wave::random(rng, 0.09, 48.0)];
        let mut road = Self { heading_waves, height_waves, axis: Vec::new() };
        let steps = (length_m / STEP_M).ceil() as usize + 2;
        let mut position = [0.0, 0.0];
        for step in 0..steps {
            road.axis.push(position);
            let heading = road.heading_rad((step as f64 + 0.5) * STEP_M);
            position = [position[0] + STEP_M * heading.cos(), position[1] + STEP_M * heading.sin()];
        }
        road
    }

    /// Length of the street.
    pub(super) fn length_m(&self) -> f64 {
        self.axis.len().saturating_sub(2) as f64 * STEP_M
    }

    /// Direction of the axis at `s`.
    pub(super) fn heading_rad(&self, s_m: f64) -> f64 {
        self.heading_waves.iter().map(|wave| wave.at(s_m)).sum()
    }

    /// The point of the surface at `(s, t)`; places beyond the ends lie on the straight continuation.
    pub(super) fn point(&self, s_m: f64, t_m: f64) -> Vector3<f64> {
        let last = self.axis.len().saturating_sub(2);
        let at = (s_m / STEP_M).max(0.0);
        let index = (at as usize).min(last);
        let (a, b) = (self.axis[index], self.axis[index + 1]);
        let part = s_m / STEP_M - index as f64;
        let heading = self.heading_rad(s_m);
        Vector3::new(
            a[0] + part * (b[0] - a[0]) - t_m * heading.sin(),
            a[1] + part * (b[1] - a[1]) + t_m * heading.cos(),
            self.height_m(s_m) + profile_m(t_m),
        )
    }

    /// A frame on the surface at `(s, t)`, x turned by `yaw_rad` from the street's direction, z along the surface's normal where
    /// `tilted`, straight up otherwise (people and cyclists keep upright on a slope).
    pub(super) fn frame(&self, s_m: f64, t_m: f64, yaw_rad: f64, tilted: bool) -> Pose {
        let origin = self.point(s_m, t_m);
        let heading = self.heading_rad(s_m) + yaw_rad;
        let upright = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), heading);
        let rotation = if tilted { self.tilt(s_m, t_m, heading).unwrap_or(upright) } else { upright };
        Pose::from_parts(Translation3::from(origin), rotation)
    }

    fn tilt(&self, s_m: f64, t_m: f64, heading_rad: f64) -> Option<UnitQuaternion<f64>> {
        // Differences over the size of a car's contact patch: a kerb beside it does not tilt it.
        let along = self.point(s_m + 0.5, t_m) - self.point(s_m - 0.5, t_m);
        let across = Vector3::new(-self.heading_rad(s_m).sin(), self.heading_rad(s_m).cos(), profile_slope(t_m));
        let up = along.cross(&across).try_normalize(1e-9)?;
        let flat = Vector3::new(heading_rad.cos(), heading_rad.sin(), 0.0);
        let left = up.cross(&flat).try_normalize(1e-9)?;
        let forward = left.cross(&up);
        let rotation = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[forward, left, up]));
        Some(UnitQuaternion::from_rotation_matrix(&rotation))
    }

    fn height_m(&self, s_m: f64) -> f64 {
        self.height_waves.iter().map(|wave| wave.at(s_m)).sum()
    }
}

/// Height of the cross-section above the axis.
pub(super) fn profile_m(t_m: f64) -> f64 {
    let t = t_m.abs();
    let gutter = -CROSS_SLOPE * KERB_M;
    match t {
        _ if t < KERB_M => -CROSS_SLOPE * t,
        _ if t < PAVEMENT_BACK_M => gutter + KERB_HEIGHT_M + CROSS_SLOPE * (t - KERB_M),
        _ => gutter + KERB_HEIGHT_M + CROSS_SLOPE * (PAVEMENT_BACK_M - KERB_M),
    }
}

fn profile_slope(t_m: f64) -> f64 {
    match t_m.abs() {
        t if t < KERB_M => -CROSS_SLOPE * t_m.signum(),
        t if t < PAVEMENT_BACK_M => CROSS_SLOPE * t_m.signum(),
        _ => 0.0,
    }
}

/// How the ego vehicle drives: in its lane, at a speed that comes and goes, with the small movements of a body on springs.
#[derive(Clone, Copy, Debug)]
pub(super) struct EgoDrive {
    cruise_mps: f64,
    surge: Wave,
    lane_offset: Wave,
    pitch: Wave,
    roll: Wave,
}

impl EgoDrive {
    /// A way of driving from `rng`; mean speed 9.2 to 10.4 m/s, the ego vehicle keeps within 8 to 12 m/s.
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        // The `length_m` of these waves are seconds.
        Self {
            cruise_mps: rng.random_range(9.2..10.4),
            surge: Wave::random(rng, 1.1, 9.0),
            lane_offset: Wave::random(rng, 0.14, 7.0),
            pitch: Wave::random(rng, 0.0035, 1.9),
            roll: Wave::random(rng, 0.004, 2.6),
        }
    }

    /// Metres along the street at `time_s` since the start.
    pub(super) fn s_m(&self, time_s: f64) -> f64 {
        EGO_START_M + self.cruise_mps * time_s + self.surge.at(time_s) - self.surge.at(0.0)
    }

    /// The pose `world_from_ego` at `time_s`.
    pub(super) fn world_from_ego(&self, road: &Road, time_s: f64) -> Pose {
        let offset = |at_s: f64| -LANE_CENTER_M + self.lane_offset.at(at_s);
        // The nose follows the path: lateral speed over forward speed.
        let (before, after) = (time_s - 0.01, time_s + 0.01);
        let drift = (offset(after) - offset(before)).atan2(self.s_m(after) - self.s_m(before));
        let on_road = road.frame(self.s_m(time_s), offset(time_s), drift, true);
        let springs = UnitQuaternion::from_euler_angles(self.roll.at(time_s), self.pitch.at(time_s), 0.0);
        Pose::from_parts(on_road.translation, on_road.rotation * springs)
    }
}
