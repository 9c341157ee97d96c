//! What a run did: every message is in exactly one of these numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use boxwright_model::{DropReason, LateReason};
use serde::Serialize;

/// The account of one run. Serialises to the JSON object that `--json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Messages read, of every kind.
    pub frames: u64,
    /// The same by kind.
    pub frames_by_kind: BTreeMap<&'static str, u64>,
    /// Samples written.
    pub samples: u64,
    /// Samples that lack a frame of some sensor.
    pub partial_samples: u64,
    /// Sweeps labelled.
    pub sweeps: u64,
    /// Frames in no sample, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Frames in the late table.
    pub late: u64,
    /// The same by reason.
    pub late_by_reason: BTreeMap<&'static str, u64>,
    /// Messages set aside because they could not be understood.
    pub dead_lettered: u64,
    /// The same by reason.
    pub dead_letters: BTreeMap<String, u64>,
    /// Boxes written.
    pub boxes: u64,
    /// Tracks written.
    pub tracks: u64,
    /// Findings written.
    pub findings: u64,
    /// Clips sealed.
    pub clips: u64,
    /// Clips that somebody had sealed before.
    pub clips_already_sealed: u64,
    /// Messages were left out as read before that are none of those that their clip was made of: their topic was made anew, by all that is known.
    pub other_messages: bool,
    /// Clips that were open when the run was told to stop; the next run reads them again from their start.
    pub clips_left_open: u64,
    /// Parquet files written.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Sweeps labelled and stored per second of wall time.
    pub sweeps_per_s: f64,
    /// Frames that left the ordering buffer before their turn because it was full.
    pub forced_out_of_order: u64,
    /// Samples that the viewer showed, and that it was too slow for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewReport>,
    /// Channels of the recording that were not read, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped_channels: Vec<String>,
    /// What a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The input ended before its end (a truncated file).
    pub input_truncated: bool,
}

/// What the live viewer got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ViewReport {
    /// Samples handed to the viewer.
    pub shown: u64,
    /// Samples dropped because it was busy.
    pub dropped: u64,
}

impl Report {
    /// Counts one frame that is in no sample.
    pub fn drop_frame(&mut self, reason: DropReason) {
        self.drop_frames(reason, 1);
    }

    /// Counts frames that are in no sample.
    pub fn drop_frames(&mut self, reason: DropReason, count: u64) {
        if count > 0 {
            *self.dropped.entry(reason.as_str()).or_default() += count;
        }
    }

    /// Counts one frame that went to the late table.
    pub fn late_frame(&mut self, reason: LateReason) {
        self.late += 1;
        *self.late_by_reason.entry(reason.as_str()).or_default() += 1;
    }

    /// Counts one message that was set aside.
    pub fn dead_letter(&mut self, reason: &str) {
        self.dead_lettered += 1;
        *self.dead_letters.entry(reason.to_owned()).or_default() += 1;
    }

    /// Whether input was lost to the labels: exit code 3. Late frames are stored, so they are not lost.
    #[must_use]
    pub fn lost_data(&self) -> bool {
        self.dead_lettered > 0 || self.input_truncated || self.other_messages
    }
}

/// Live counters for a progress display; any thread may read them.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages read.
    pub frames: AtomicU64,
    /// Bytes of their payloads.
    pub bytes: AtomicU64,
    /// Sweeps labelled.
    pub sweeps: AtomicU64,
    /// Samples made.
    pub samples: AtomicU64,
    /// Boxes of confirmed tracks so far.
    pub boxes: AtomicU64,
    /// Clips sealed.
    pub clips: AtomicU64,
}

impl Progress {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
