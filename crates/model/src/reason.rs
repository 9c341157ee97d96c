//! Why something is not in a sample: every loss has a code, and every code is counted.

use std::fmt;

/// Why a frame is in no sample, a sweep has no labels, or a message was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// A camera frame, or a sweep of a second lidar, that no set contained.
    Unmatched,
    /// The same vehicle, kind, sensor, stamp and sequence number came before.
    Duplicate,
    /// The sweep has no usable point.
    EmptySweep,
    /// Its clip is in the manifest already (a restart reads some frames twice).
    AlreadySealed,
    /// Boxes of a detector that knew another calibration than we do.
    OtherCalibration,
    /// Boxes of a detector that the configuration does not ask.
    NotAsked,
    /// A message that could not be decoded; it is in the dead-letter topic or table.
    DeadLettered,
}

impl DropReason {
    /// The spelling in reports and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unmatched => "unmatched",
            Self::Duplicate => "duplicate",
            Self::EmptySweep => "empty_sweep",
            Self::AlreadySealed => "already_sealed",
            Self::OtherCalibration => "other_calibration",
            Self::NotAsked => "not_asked",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a frame went to the late table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LateReason {
    /// Its own sensor had already passed it by more than the allowed lateness.
    BehindOwnSensor,
    /// Its sensor had been declared idle, and its clip was sealed without it.
    SensorWasIdle,
    /// Its stamp is so far ahead of its own sensor that nothing confirms it: a wrong clock or unit.
    StampAhead,
}

impl LateReason {
    /// The spelling in the `late` table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BehindOwnSensor => "behind_own_sensor",
            Self::SensorWasIdle => "sensor_was_idle",
            Self::StampAhead => "stamp_ahead",
        }
    }
}
