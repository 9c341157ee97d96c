//! Stamps, what they refer to, and the grid of clips.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Nanoseconds in a second.
pub const NS_PER_S: i64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const NS_PER_MS: i64 = 1_000_000;

/// Latest stamp that is believed: 2200-01-01T00:00:00Z. Beyond it a stamp is a unit error (micro- or picoseconds) or a broken clock,
/// and arithmetic near `i64::MAX` would wrap.
pub const MAX_PLAUSIBLE_STAMP_NS: i64 = 7_258_118_400 * NS_PER_S;

/// Whether a stamp can be a time. Zero is one: simulators count from it.
#[must_use]
pub fn is_plausible_stamp(stamp_ns: i64) -> bool {
    (0..MAX_PLAUSIBLE_STAMP_NS).contains(&stamp_ns)
}

/// What moment of a measurement its stamp names. Public datasets disagree by half a period (nuScenes stamps a sweep at its end, Waymo
/// at its start, KITTI in its middle), so the frame must say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum StampRef {
    /// Start of the exposure.
    ExposureStart,
    /// Middle of the exposure.
    ExposureMid,
    /// The trigger pulse of the camera.
    Trigger,
    /// The moment the last row was read out.
    ReadoutEnd,
    /// First firing of the sweep.
    SweepStart,
    /// Middle of the sweep.
    SweepMid,
    /// Last firing of the sweep.
    SweepEnd,
    /// A state at one moment (poses), or a sender that does not say.
    #[default]
    Instant,
}

impl StampRef {
    /// Every value, with the spelling used in headers and columns.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::ExposureStart, "exposure_start"),
        (Self::ExposureMid, "exposure_mid"),
        (Self::Trigger, "trigger"),
        (Self::ReadoutEnd, "readout_end"),
        (Self::SweepStart, "sweep_start"),
        (Self::SweepMid, "sweep_mid"),
        (Self::SweepEnd, "sweep_end"),
        (Self::Instant, "instant"),
    ];

    /// The spelling used in message headers and shard columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(value, _)| *value == self).map_or("instant", |(_, name)| name)
    }
}

impl fmt::Display for StampRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StampRef {
    type Err = UnknownStampRef;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(value, _)| *value).ok_or_else(|| UnknownStampRef(text.to_owned()))
    }
}

/// A `stamp_ref` that is none of [`StampRef::ALL`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "unknown stamp_ref: expected one of exposure_start, exposure_mid, trigger, readout_end, sweep_start, sweep_mid, sweep_end, instant, got {0:?}"
)]
pub struct UnknownStampRef(pub String);

/// Number of a clip on the [`ClipGrid`]: `floor(stamp / length)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClipId(pub i64);

impl fmt::Display for ClipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Cuts event time into clips of equal length. Bounds come from stamps alone, so that a worker that starts again cuts the same clips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipGrid {
    length_ns: i64,
}

impl ClipGrid {
    /// A grid of clips of `length_ns`, at least one millisecond.
    #[must_use]
    pub fn new(length_ns: i64) -> Self {
        Self { length_ns: length_ns.max(NS_PER_MS) }
    }

    /// Length of every clip in nanoseconds.
    #[must_use]
    pub fn length_ns(self) -> i64 {
        self.length_ns
    }

    /// The clip that holds a stamp.
    #[must_use]
    pub fn clip_of(self, stamp_ns: i64) -> ClipId {
        ClipId(stamp_ns.div_euclid(self.length_ns))
    }

    /// First stamp of a clip.
    #[must_use]
    pub fn start_ns(self, clip: ClipId) -> i64 {
        clip.0.saturating_mul(self.length_ns)
    }

    /// First stamp after a clip.
    #[must_use]
    pub fn end_ns(self, clip: ClipId) -> i64 {
        self.start_ns(clip).saturating_add(self.length_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_are_cut_by_stamps_alone() {
        let grid = ClipGrid::new(20 * NS_PER_S);
        assert_eq!(grid.clip_of(0), ClipId(0));
        assert_eq!(grid.clip_of(20 * NS_PER_S - 1), ClipId(0));
        assert_eq!(grid.clip_of(20 * NS_PER_S), ClipId(1));
        assert_eq!(grid.clip_of(-1), ClipId(-1));
        assert_eq!(grid.end_ns(ClipId(1)), 40 * NS_PER_S);
    }

    #[test]
    fn stamp_refs_round_trip_their_spelling() {
        for (value, name) in StampRef::ALL {
            assert_eq!(name.parse::<StampRef>(), Ok(value));
            assert_eq!(value.as_str(), name);
        }
        assert!("sweep".parse::<StampRef>().is_err());
    }
}
