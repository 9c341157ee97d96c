//! One partition's streams and its floor: what its own messages alone tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::time::NS_PER_S;
use boxwright_model::{LateReason, SensorKind};

/// Longest step of a stream's stamps that one frame alone is believed, one minute: more than any sensor pauses between frames, and
/// less than what a wrong unit or a clock that was never set makes of a stamp.
pub const MAX_STEP_NS: i64 = 60 * NS_PER_S;

/// Most streams remembered per partition and vehicle. A vehicle has a few dozen; made-up sensor names must not fill the memory. Beyond,
/// the stream that is furthest behind is forgotten.
pub const MAX_STREAMS_PER_PARTITION: usize = 256;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) lateness_ns: i64,
    pub(super) idle_ns: i64,
}

/// One sensor's messages of one kind in one partition.
#[derive(Debug)]
struct Stream {
    /// First stamp since the last step that two frames agreed on.
    first_ns: i64,
    newest_ns: i64,
    /// Two frames in a row agree about the time.
    confirmed: bool,
    /// A stamp far ahead that no second frame has confirmed. A frame with the same stamp is its copy and confirms nothing.
    suspect_ns: Option<i64>,
    /// Messages so far.
    count: u64,
}

impl Stream {
    fn new(stamp_ns: i64) -> Self {
        Self { first_ns: stamp_ns, newest_ns: stamp_ns, confirmed: false, suspect_ns: None, count: 0 }
    }

    /// Takes a stamp and tells whether it is behind the stream by more than the lateness, and how far it is believed.
    fn admit(&mut self, stamp_ns: i64, lateness_ns: i64) -> (bool, Trust) {
        let agree = |other_ns: i64| stamp_ns.abs_diff(other_ns) <= MAX_STEP_NS.unsigned_abs();
        if agree(self.newest_ns) {
            let behind = stamp_ns.saturating_add(lateness_ns) < self.newest_ns;
            self.newest_ns = self.newest_ns.max(stamp_ns);
            // The very first frame agrees with itself, which proves nothing.
            let is_first_pair = self.count > 0 && !self.confirmed;
            self.confirmed |= is_first_pair;
            let settles = self.suspect_ns.take().is_some() || is_first_pair;
            let trust = if settles { Trust::Confirms } else { Trust::Agrees };
            (behind, trust)
        } else if let Some(suspect_ns) = self.suspect_ns.filter(|suspect_ns| agree(*suspect_ns) && *suspect_ns != stamp_ns) {
            *self = Self {
                first_ns: stamp_ns.min(suspect_ns),
                newest_ns: stamp_ns.max(suspect_ns),
                confirmed: true,
                suspect_ns: None,
                count: self.count,
            };
            (stamp_ns.saturating_add(lateness_ns) < suspect_ns, Trust::Confirms)
        } else if !self.confirmed {
            // One of the two is wrong; the next frame will tell which.
            *self = Self { count: self.count, ..Self::new(stamp_ns) };
            (false, Trust::Agrees)
        } else if stamp_ns > self.newest_ns {
            self.suspect_ns = Some(stamp_ns);
            (false, Trust::Suspect { until_ns: self.newest_ns.saturating_add(MAX_STEP_NS) })
        } else {
            (true, Trust::Agrees)
        }
    }
}

/// How far a stamp is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is within [`MAX_STEP_NS`] of what its stream said last, or there is nothing to hold it against.
    Agrees,
    /// It settles what its stream said before without being believed.
    Confirms,
    /// It is far ahead of its stream, and no second frame has confirmed it. The stream's newest stamp plus [`MAX_STEP_NS`] is given.
    Suspect { until_ns: i64 },
}

/// What a partition says about a message of its own.
pub(super) struct Admission {
    /// How many messages of its stream came before.
    pub(super) ordinal: u64,
    pub(super) late: Option<LateReason>,
    pub(super) trust: Trust,
    /// Newest stamp of its stream, or of the partition where the stream is idle, and at least the floor. The clip that holds it cannot
    /// have closed, unless the partition had been quiet.
    pub(super) newest_ns: i64,
}

#[derive(Debug)]
pub(super) struct Partition {
    streams: BTreeMap<(SensorKind, Arc<str>), Stream>,
    /// Nothing that is not late will come below; never sinks.
    floor_ns: i64,
    /// The partition has shown enough for its sensors to be known.
    learned: bool,
    pub(super) quiet: bool,
}

impl Default for Partition {
    fn default() -> Self {
        Self { streams: BTreeMap::new(), floor_ns: i64::MIN, learned: false, quiet: false }
    }
}

impl Partition {
    pub(super) fn admit(&mut self, kind: SensorKind, sensor: &Arc<str>, stamp_ns: i64, limits: Limits) -> Admission {
        self.quiet = false;
        let below_floor = stamp_ns < self.floor_ns;
        let stream = self.streams.entry((kind, Arc::clone(sensor))).or_insert_with(|| Stream::new(stamp_ns));
        let (behind_own, trust) = stream.admit(stamp_ns, limits.lateness_ns);
        let (ordinal, own_ns) = (stream.count, stream.newest_ns);
        stream.count += 1;
        self.learned |= stream.confirmed && stream.newest_ns.saturating_sub(stream.first_ns) >= limits.idle_ns;
        self.forget_furthest_behind();
        let newest_ns = self.newest_ns();
        self.raise_floor(newest_ns, limits);
        let late = match (behind_own, below_floor) {
            (true, _) => Some(LateReason::BehindOwnSensor),
            (false, true) => Some(LateReason::SensorWasIdle),
            (false, false) => None,
        };
        let mate_ns = newest_ns.filter(|newest_ns| newest_ns.saturating_sub(own_ns) > limits.idle_ns);
        Admission { ordinal, late, trust, newest_ns: mate_ns.unwrap_or(own_ns).max(self.floor_ns) }
    }

    /// The newest stamp that a second frame confirms.
    pub(super) fn newest_ns(&self) -> Option<i64> {
        self.streams.values().filter(|stream| stream.confirmed).map(|stream| stream.newest_ns).max()
    }

    /// Below this the partition will bring nothing that is not late: `MIN` while it holds everything back, `MAX` while it holds nothing.
    pub(super) fn bound_ns(&self, vehicle_newest_ns: Option<i64>, limits: Limits) -> i64 {
        if self.quiet {
            self.least_live_ns(vehicle_newest_ns, limits).map_or(i64::MAX, |least| least.max(self.floor_ns))
        } else {
            self.floor_ns
        }
    }

    /// Streams that have not passed a moment by the lateness, unless the partition as a whole has.
    pub(super) fn behind(&self, end_ns: i64, limits: Limits) -> impl Iterator<Item = (SensorKind, Arc<str>)> {
        let passed = self.floor_ns >= end_ns;
        let behind = move |stream: &Stream| !passed && stream.newest_ns.saturating_sub(limits.lateness_ns) < end_ns;
        self.streams.iter().filter(move |(_, stream)| behind(stream)).map(|((kind, sensor), _)| (*kind, Arc::clone(sensor)))
    }

    fn raise_floor(&mut self, newest_ns: Option<i64>, limits: Limits) {
        if self.learned {
            let least = self.least_live_ns(newest_ns, limits);
            self.floor_ns = self.floor_ns.max(least.unwrap_or(i64::MIN));
        }
    }

    /// The least of newest stamp minus lateness over the streams that are at most the idle timeout behind `newest_ns`.
    fn least_live_ns(&self, newest_ns: Option<i64>, limits: Limits) -> Option<i64> {
        let live = |stream: &&Stream| newest_ns.is_none_or(|newest| newest.saturating_sub(stream.newest_ns) <= limits.idle_ns);
        self.streams.values().filter(live).map(|stream| stream.newest_ns.saturating_sub(limits.lateness_ns)).min()
    }

    fn forget_furthest_behind(&mut self) {
        if self.streams.len() <= MAX_STREAMS_PER_PARTITION {
            return;
        }
        let furthest = self.streams.iter().min_by_key(|(_, stream)| stream.newest_ns).map(|(name, _)| name.clone());
        if let Some(name) = furthest {
            self.streams.remove(&name);
        }
    }
}
