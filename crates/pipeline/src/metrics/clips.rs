//! The clips that are open or wait for their commit, and when what happened to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use boxwright_model::ClipId;
use opentelemetry::trace::SpanContext;

use super::Stage;

/// Producers' traces that one clip is linked to: the first few show whose data it is, a link a message would be hundreds.
pub const MAX_LINKS: usize = 8;

/// Vehicle and clip.
pub(super) type ClipName = (Arc<str>, ClipId);

/// When work on something began and ended, and how much of the time between was work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Work {
    pub(super) began: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) busy: Duration,
}

impl Work {
    fn add(&mut self, began: SystemTime, took: Duration) {
        self.began = self.began.min(began);
        self.ended = self.ended.max(began + took);
        self.busy += took;
    }
}

/// What the manifest entry says of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealedClip {
    pub(super) messages: u64,
    pub(super) shard_bytes: u64,
    pub(super) samples: u64,
    pub(super) ours: bool,
}

/// One clip.
#[derive(Clone, Debug)]
pub(super) struct ClipTimes {
    /// From the first to the last message.
    pub(super) received: Work,
    pub(super) payload_bytes: u64,
    pub(super) links: Vec<SpanContext>,
    pub(super) links_left_out: u32,
    pub(super) stages: [Option<Work>; Stage::ALL.len()],
    pub(super) sealed: Option<SealedClip>,
    first_message: Instant,
    closed: Option<Instant>,
}

impl ClipTimes {
    fn new() -> Self {
        let now = SystemTime::now();
        Self {
            received: Work { began: now, ended: now, busy: Duration::ZERO },
            payload_bytes: 0,
            links: Vec::new(),
            links_left_out: 0,
            stages: [None; Stage::ALL.len()],
            sealed: None,
            first_message: Instant::now(),
            closed: None,
        }
    }

    fn link(&mut self, context: SpanContext) {
        if self.links.iter().any(|known| known.trace_id() == context.trace_id()) {
            return;
        }
        if self.links.len() < MAX_LINKS {
            self.links.push(context);
        } else {
            self.links_left_out = self.links_left_out.saturating_add(1);
        }
    }
}

/// See the module. As many as the run itself has open, because they come and go with the run's own.
#[derive(Debug, Default)]
pub(super) struct Clips {
    clips: BTreeMap<ClipName, ClipTimes>,
}

impl Clips {
    pub(super) fn message(&mut self, vehicle: &Arc<str>, clip: ClipId, payload_bytes: usize, context: Option<SpanContext>) {
        let times = self.clips.entry((vehicle.clone(), clip)).or_insert_with(ClipTimes::new);
        times.received.ended = times.received.ended.max(SystemTime::now());
        times.payload_bytes += payload_bytes as u64;
        if let Some(context) = context {
            times.link(context);
        }
    }

    /// Work of a stage on a clip; of clips that are unknown (they went to another worker meanwhile) nothing is kept.
    pub(super) fn worked(&mut self, vehicle: &Arc<str>, clip: ClipId, stage: Stage, began: SystemTime, took: Duration) {
        let Some(times) = self.clips.get_mut(&(vehicle.clone(), clip)) else { return };
        match &mut times.stages[stage as usize] {
            Some(work) => work.add(began, took),
            empty => *empty = Some(Work { began, ended: began + took, busy: took }),
        }
    }

    pub(super) fn closed(&mut self, vehicle: &Arc<str>, clip: ClipId) {
        if let Some(times) = self.clips.get_mut(&(vehicle.clone(), clip)) {
            times.closed.get_or_insert_with(Instant::now);
        }
    }

    /// Notes the manifest entry. Returns the time since the clip was closed.
    pub(super) fn sealed(&mut self, vehicle: &Arc<str>, clip: ClipId, sealed: SealedClip) -> Option<Duration> {
        let times = self.clips.get_mut(&(vehicle.clone(), clip))?;
        times.sealed = Some(sealed);
        times.closed.map(|closed| closed.elapsed())
    }

    /// Takes out the clips that have their manifest entry.
    pub(super) fn take_sealed(&mut self) -> Vec<(ClipName, ClipTimes)> {
        self.clips.extract_if(.., |_, times| times.sealed.is_some()).collect()
    }

    pub(super) fn forget(&mut self, vehicle: &Arc<str>) {
        self.clips.retain(|(name, _), _| name != vehicle);
    }

    /// Clips without a manifest entry.
    pub(super) fn open(&self) -> usize {
        self.clips.values().filter(|times| times.sealed.is_none()).count()
    }

    /// How long the oldest message waits whose clip is not committed.
    pub(super) fn oldest_uncommitted(&self) -> Option<Duration> {
        self.clips.values().map(|times| times.first_message.elapsed()).max()
    }
}
