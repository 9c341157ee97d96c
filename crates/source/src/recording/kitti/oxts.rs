//! Poses from OXTS packets: GPS and inertial measurements in one line of text per frame.

use std::f64::consts::PI;

use boxwright_model::Pose;
use nalgebra::{Translation3, UnitQuaternion, Vector3};

const EARTH_RADIUS_M: f64 = 6_378_137.0;

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
                .ok_or_else(|| format!("expected a finite number in place {place}, got {word:?}"))?;
        }
        let [latitude_deg, longitude_deg, altitude_m, roll_rad, pitch_rad, yaw_rad] = numbers;
        // Beyond the poles' neighbourhood the Mercator projection runs to infinity.
        if latitude_deg.abs() > 89.0 {
            return Err(format!("expected a latitude within 89 degrees of the equator, got {latitude_deg}"));
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
