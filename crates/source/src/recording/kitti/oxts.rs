//! Poses from OXTS packets: GPS and inertial measurements in one line of text per frame.

use std::f64::consts::{PI, TAU};

use boxwright_model::Pose;
use nalgebra::{Translation3, UnitQuaternion, Vector3};

use crate::quoted::quoted;

const EARTH_RADIUS_M: f64 = 6_378_137.0;
/// No vehicle is higher; a packet that says so is damaged, and its pose would not be finite.
const MAX_ALTITUDE_M: f64 = 100_000.0;

/// The six leading numbers of a packet: where the vehicle is, and how it is turned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Packet {
    latitude_deg: f64,
    longitude_deg: f64,
    altitude_m: f64,
    roll_rad: f64,
    pitch_rad: f64,
    yaw_rad: f64,
}

impl Packet {
    /// Reads a packet's line. The error says what was expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut numbers = [0.0; 6];
        let mut words = text.split_whitespace();
        for (place, number) in numbers.iter_mut().enumerate() {
            let word = words.next().ok_or_else(|| format!("expected at least 6 numbers, got {place}"))?;
            *number = word
                .parse()
                .ok()
                .filter(|value: &f64| value.is_finite())
                .ok_or_else(|| format!("expected a finite number in place {place}, got {}", quoted(word)))?;
        }
        let [latitude_deg, longitude_deg, altitude_m, roll_rad, pitch_rad, yaw_rad] = numbers;
        for (what, value, most) in [
            // Beyond the poles' neighbourhood the Mercator projection runs to infinity.
            ("a latitude in degrees", latitude_deg, 89.0),
            ("a longitude in degrees", longitude_deg, 360.0),
            ("an altitude in metres", altitude_m, MAX_ALTITUDE_M),
            ("a roll in radians", roll_rad, TAU),
            ("a pitch in radians", pitch_rad, TAU),
            ("a yaw in radians", yaw_rad, TAU),
        ] {
            if value.abs() > most {
                return Err(format!("expected {what} of at most {most} either way, got {value}"));
            }
        }
        Ok(Self { latitude_deg, longitude_deg, altitude_m, roll_rad, pitch_rad, yaw_rad })
    }
}

/// Turns packets into poses in a local world: the IMU's frame at the first packet.
///
/// The projection is the Mercator projection scaled at the first packet's latitude, as in the KITTI development kit
/// (Geiger et al., "Vision meets robotics: the KITTI dataset", 2013).
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalWorld {
    scale: f64,
    world_from_map: Pose,
}

impl LocalWorld {
    /// The world whose origin is the first packet.
    pub(super) fn at(first: &Packet) -> Self {
        let scale = (first.latitude_deg * PI / 180.0).cos();
        let map_from_first = map_from_imu(first, scale);
        Self { scale, world_from_map: map_from_first.inverse() }
    }

    /// `world_from_imu` of a packet, in metres.
    pub(super) fn world_from_imu(&self, packet: &Packet) -> Pose {
        self.world_from_map * map_from_imu(packet, self.scale)
    }
}

fn map_from_imu(packet: &Packet, scale: f64) -> Pose {
    let east_m = scale * EARTH_RADIUS_M * packet.longitude_deg * PI / 180.0;
    let north_m = scale * EARTH_RADIUS_M * ((90.0 + packet.latitude_deg) * PI / 360.0).tan().ln();
    let rotation = UnitQuaternion::from_euler_angles(packet.roll_rad, packet.pitch_rad, packet.yaw_rad);
    Pose::from_parts(Translation3::from(Vector3::new(east_m, north_m, packet.altitude_m)), rotation)
}
