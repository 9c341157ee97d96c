//! Samples: what the sensors of a vehicle saw at about one moment.

use std::sync::Arc;

/// Why a sample looks as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleReason {
    /// The synchroniser found a frame of every sensor.
    Matched,
    /// No set contained this reference frame; it stands with what is missing listed.
    Unmatched,
    /// Another sensor was silent for longer than the idle limit.
    SensorIdle,
    /// The clip, or the recording, ended before a set was complete.
    ClipEnd,
}

impl SampleReason {
    /// The spelling in the `sample` table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Unmatched => "unmatched",
            Self::SensorIdle => "sensor_idle",
            Self::ClipEnd => "clip_end",
        }
    }
}

/// One sensor's part in a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleMember {
    /// Sensor name.
    pub sensor: Arc<str>,
    /// Stamp of its frame.
    pub stamp_ns: i64,
    /// The middle of its measurement minus that of the reference's, as far as the timing of both sensors is known: the difference of the
    /// stamps where nothing is.
    pub residual_ns: i64,
}

/// One set of frames that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Unique id: `<vehicle>:<stamp_ns>`.
    pub sample_id: Arc<str>,
    /// Reference time: the stamp of the reference lidar's frame.
    pub stamp_ns: i64,
    /// The frames, ordered by sensor name.
    pub members: Vec<SampleMember>,
    /// Sensors of the vehicle that have no frame in this sample, ordered by name.
    pub missing: Vec<Arc<str>>,
    /// Why it looks as it does.
    pub reason: SampleReason,
}
