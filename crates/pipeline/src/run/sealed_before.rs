//! What is told of messages whose clip was sealed before they came.

use std::collections::BTreeSet;
use std::sync::Arc;

use boxwright_model::time::NS_PER_S;
use boxwright_model::{ClipId, FrameHeader};
use boxwright_shard::ManifestEntry;

/// A message that is later than all of its clip by more than this is none of them (nanoseconds). By less it may be one of a sensor that had fallen silent
/// when the clip was sealed, and is in time when it is read again: the others speak more often than once a second.
const SURELY_LATER_NS: i64 = NS_PER_S;

/// Each thing is told once a run.
#[derive(Debug)]
pub(super) struct SealedBefore {
    labels_sha256: String,
    has_told_options: bool,
    has_told_messages: bool,
    /// Messages of a recording that belong to clips that were sealed without them.
    left_out: u64,
    /// Their clips: no more than the dataset has of these vehicles.
    clips: BTreeSet<(Arc<str>, ClipId)>,
    /// The first of them, and its clip.
    first: Option<String>,
}

impl SealedBefore {
    /// For a run with options of this hash ([`super::RunJob::labels_sha256`]).
    pub(super) fn new(labels_sha256: String) -> Self {
        Self { labels_sha256, has_told_options: false, has_told_messages: false, left_out: 0, clips: BTreeSet::new(), first: None }
    }

    /// What to say of a sealed clip that stays as it is although these options would give other labels.
    pub(super) fn other_options(&mut self, entry: &ManifestEntry) -> Option<String> {
        if entry.config_sha256 == self.labels_sha256 || std::mem::replace(&mut self.has_told_options, true) {
            return None;
        }
        let short = |sha256: &str| sha256.get(..12).unwrap_or(sha256).to_owned();
        Some(format!(
            "clip {} of {} was sealed before with other options, or by another version, and stays as it is: expected config_sha256 {}…, got \
             {}…\nhint: another --dataset gets labels of these options; from Kafka with another [kafka] group_id, which reads from the beginning",
            entry.clip,
            entry.vehicle,
            short(&self.labels_sha256),
            short(&entry.config_sha256)
        ))
    }

    /// What to say of a message that is in time and is left out as one that its sealed clip was made of, although it is later than all of that: the offsets
    /// of a topic that was made anew begin at 0.
    pub(super) fn other_messages(&mut self, entry: &ManifestEntry, header: &FrameHeader) -> Option<String> {
        let last_ns = entry.last_stamp_ns.filter(|last_ns| header.stamp_ns.saturating_sub(*last_ns) > SURELY_LATER_NS)?;
        if std::mem::replace(&mut self.has_told_messages, true) {
            return None;
        }
        Some(format!(
            "{} was stamped {} and is left out: clip {} of {} was sealed with a message at that offset, and ends at {last_ns}. Expected what the \
             clip was made of, got a topic that was made anew\nhint: another --dataset takes it",
            header.position, header.stamp_ns, entry.clip, entry.vehicle
        ))
    }

    /// Notes a message of a recording that belongs to a clip that was sealed without it. Those of Kafka are in the dead letters for whoever wants them.
    pub(super) fn left_out(&mut self, vehicle: &Arc<str>, clip: ClipId, header: &FrameHeader) {
        self.left_out += 1;
        self.clips.insert((vehicle.clone(), clip));
        self.first.get_or_insert_with(|| format!("{} of stamp {}, to clip {clip} of {vehicle}", header.position, header.stamp_ns));
    }

    /// What to say of these at the end.
    pub(super) fn told_at_end(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(format!(
            "{} messages are left out: they belong to {} clips that were sealed without them, the first one, {first}. Expected the recording that the \
             clips were sealed from, got another one, another file of it, or the rest of one that was cut\nhint: a clip is sealed once: another --dataset takes \
             all of it. MCAP files of one drive are read together as a folder",
            self.left_out,
            self.clips.len()
        ))
    }
}
