//! What a user may change about a synthetic drive.

use boxwright_model::time::{NS_PER_S, is_plausible_stamp};
use serde::Deserialize;

/// A synthetic drive.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// Everything random follows from it: street, traffic, noise. TOML numbers are signed, so up to `i64::MAX` there.
    pub seed: u64,
    /// Length in seconds, 0.2 to 600.
    pub seconds: f64,
    /// Turns of the lidar per second, and pictures per second of every camera; 2 to 25.
    pub sweep_rate_hz: f64,
    /// Start of the first sweep, nanoseconds since the Unix epoch. The default begins 4 s into a clip of 20 s, so that a drive of 12 s
    /// is one clip.
    pub start_stamp_ns: i64,
    /// Vehicle id.
    pub vehicle: String,
    /// Data-security grade written on every message.
    pub grade: String,
    /// Ego poses per second, 5 to 1000.
    pub pose_rate_hz: f64,
    /// The lidar.
    pub lidar: SyntheticLidar,
    /// The cameras, at most 8.
    pub cameras: Vec<SyntheticCamera>,
    /// Threads that make a sweep; 0 uses what the machine has, at most 4. The bytes do not depend on it.
    pub threads: usize,
}

/// The rotating lidar.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticLidar {
    /// Sensor and frame name.
    pub name: String,
    /// Beams, 2 to 256, evenly spaced; beam 0 is the highest.
    pub beams: u32,
    /// Firings per turn, 100 to 8192.
    pub columns: u32,
    /// Elevation of the highest beam in degrees.
    pub top_deg: f64,
    /// Elevation of the lowest beam in degrees.
    pub bottom_deg: f64,
    /// Farthest return in metres, 5 to 300.
    pub range_m: f64,
    /// Standard deviation of the range in metres, 0 to 1.
    pub range_sigma_m: f64,
    /// Share of returns lost for no visible reason, 0 to 1.
    pub dropout: f64,
    /// Place on the vehicle in metres.
    pub position_m: [f64; 3],
    /// Mounting angles in degrees: no lidar is mounted straight.
    pub roll_pitch_yaw_deg: [f64; 3],
}

/// One camera: a pinhole without distortion, with a global shutter.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyntheticCamera {
    /// Sensor and frame name.
    pub name: String,
    /// Width in pixels, 16 to 4096.
    pub width_px: u32,
    /// Height in pixels, 16 to 4096.
    pub height_px: u32,
    /// Horizontal field of view in degrees, 10 to 150.
    pub hfov_deg: f64,
    /// Direction it looks in, degrees to the left of ahead.
    pub yaw_deg: f64,
    /// Degrees below the horizon.
    pub pitch_down_deg: f64,
    /// Place on the vehicle in metres.
    pub position_m: [f64; 3],
    /// JPEG quality, 1 to 100.
    pub quality: u8,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        let camera = |name: &str, yaw_deg: f64, position_m: [f64; 3]| SyntheticCamera {
            name: name.to_owned(),
            width_px: 800,
            height_px: 450,
            hfov_deg: 70.0,
            yaw_deg,
            pitch_down_deg: 2.0,
            position_m,
            quality: 80,
        };
        Self {
            seed: 7,
            seconds: 12.0,
            sweep_rate_hz: 10.0,
            // 2026-06-15 10:00:04 UTC.
            start_stamp_ns: 1_781_517_604 * NS_PER_S,
            vehicle: "synthetic-1".to_owned(),
            grade: "public".to_owned(),
            pose_rate_hz: 50.0,
            lidar: SyntheticLidar::default(),
            cameras: vec![camera("camera_front", 0.0, [1.75, 0.0, 1.55]), camera("camera_front_left", 58.0, [1.6, 0.45, 1.55])],
            threads: 0,
        }
    }
}

impl Default for SyntheticLidar {
    fn default() -> Self {
        Self {
            name: "lidar_top".to_owned(),
            beams: 64,
            columns: 1875,
            top_deg: 3.0,
            bottom_deg: -25.0,
            range_m: 120.0,
            range_sigma_m: 0.02,
            dropout: 0.01,
            position_m: [1.2, 0.0, 1.9],
            roll_pitch_yaw_deg: [0.4, 0.9, -0.7],
        }
    }
}

/// A synthetic drive that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    /// An option outside its bounds.
    #[error("synthetic drive: expected {option} to be {expected}, got {got}")]
    Option {
        /// Name of the option.
        option: String,
        /// Its bounds.
        expected: String,
        /// What it was.
        got: String,
    },
    /// A picture could not be encoded.
    #[error("synthetic drive: cannot encode a picture of {sensor}: {reason}")]
    Encode {
        /// Camera.
        sensor: String,
        /// What the encoder said.
        reason: String,
    },
    /// A thread that made a part of a sweep ended early.
    #[error("synthetic drive: a worker thread ended without its result")]
    Worker,
}

impl SyntheticConfig {
    /// Checks every option against its bounds.
    ///
    /// # Errors
    /// [`SyntheticError::Option`] names the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), SyntheticError> {
        within("seconds", self.seconds, 0.2, 600.0)?;
        within("sweep_rate_hz", self.sweep_rate_hz, 2.0, 25.0)?;
        within("pose_rate_hz", self.pose_rate_hz, 5.0, 1000.0)?;
        let margin_ns = 1000 * NS_PER_S;
        let (first, last) = (self.start_stamp_ns.saturating_sub(NS_PER_S), self.start_stamp_ns.saturating_add(margin_ns));
        if !is_plausible_stamp(first) || !is_plausible_stamp(last) {
            return Err(refused("start_stamp_ns", "1 s to 2200-01-01 after the epoch", self.start_stamp_ns));
        }
        if self.vehicle.is_empty() {
            return Err(refused("vehicle", "a name", "nothing"));
        }
        self.check_lidar()?;
        if self.cameras.len() > 8 {
            return Err(refused("cameras", "at most 8", self.cameras.len()));
        }
        for (index, camera) in self.cameras.iter().enumerate() {
            camera.check()?;
            let taken = |other: &SyntheticCamera| other.name == camera.name;
            if camera.name == self.lidar.name || self.cameras.iter().take(index).any(taken) {
                return Err(refused("cameras.name", "a name of its own", &camera.name));
            }
        }
        Ok(())
    }

    fn check_lidar(&self) -> Result<(), SyntheticError> {
        let lidar = &self.lidar;
        sensor_name("lidar.name", &lidar.name)?;
        within("lidar.beams", f64::from(lidar.beams), 2.0, 256.0)?;
        within("lidar.columns", f64::from(lidar.columns), 100.0, 8192.0)?;
        within("lidar.top_deg", lidar.top_deg, -80.0, 80.0)?;
        within("lidar.bottom_deg", lidar.bottom_deg, -80.0, lidar.top_deg - 0.1)?;
        within("lidar.range_m", lidar.range_m, 5.0, 300.0)?;
        within("lidar.range_sigma_m", lidar.range_sigma_m, 0.0, 1.0)?;
        within("lidar.dropout", lidar.dropout, 0.0, 1.0)?;
        within("lidar.position_m (height)", lidar.position_m[2], 0.3, 6.0)?;
        for value in lidar.position_m.iter().chain(&lidar.roll_pitch_yaw_deg) {
            within("lidar.position_m and lidar.roll_pitch_yaw_deg", *value, -360.0, 360.0)?;
        }
        Ok(())
    }
}

impl SyntheticCamera {
    fn check(&self) -> Result<(), SyntheticError> {
        sensor_name("cameras.name", &self.name)?;
        within("cameras.width_px", f64::from(self.width_px), 16.0, 4096.0)?;
        within("cameras.height_px", f64::from(self.height_px), 16.0, 4096.0)?;
        within("cameras.hfov_deg", self.hfov_deg, 10.0, 150.0)?;
        within("cameras.yaw_deg", self.yaw_deg, -360.0, 360.0)?;
        within("cameras.pitch_down_deg", self.pitch_down_deg, -89.0, 89.0)?;
        within("cameras.quality", f64::from(self.quality), 1.0, 100.0)?;
        self.position_m.iter().try_for_each(|value| within("cameras.position_m", *value, -20.0, 20.0))
    }
}

/// The frames that the drive itself names cannot be sensors.
fn sensor_name(option: &str, name: &str) -> Result<(), SyntheticError> {
    if name.is_empty() || [super::drive::WORLD, super::drive::BASE].contains(&name) {
        return Err(refused(option, "a name other than world and base_link", format!("{name:?}")));
    }
    Ok(())
}

fn within(option: &str, value: f64, low: f64, high: f64) -> Result<(), SyntheticError> {
    // NaN is in no range.
    if (low..=high).contains(&value) { Ok(()) } else { Err(refused(option, format!("{low} to {high}"), value)) }
}

fn refused(option: &str, expected: impl Into<String>, got: impl ToString) -> SyntheticError {
    SyntheticError::Option { option: option.to_owned(), expected: expected.into(), got: got.to_string() }
}
