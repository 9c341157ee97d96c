//! One vehicle's messages, read from several partitions, in an order that depends on their stamps alone.
//!
//! A broker orders within a partition only; how partitions interleave differs from run to run. [`VehicleOrder`] holds frames back until
//! nothing can arrive before them any more, and lets them leave sorted by (stamp, kind, sensor, seq, ordinal in their own stream). A
//! *stream* is one sensor's messages of one kind in one partition.
//!
//! # What is guaranteed
//! Take any two runs in which every partition delivers the same messages in the same order, however the partitions interleave, in
//! which `quiet` is told only of partitions that have nothing more to give, and in which [`VehicleOrder::forced`] stays 0. Then both
//! give the same sequence of [`OrderEvent::Frame`] and [`OrderEvent::Close`] (with the same lists of idle streams) and the same set of
//! [`OrderEvent::Late`] and [`OrderEvent::Duplicate`]; only *when* late frames and duplicates come out between the others may differ.
//! If in addition no stream falls behind its partition by more than the idle timeout and no stream begins behind its partition by more
//! than the lateness, the order of frames and the set of late ones is the same however the streams are spread over partitions.
//!
//! # Why
//! Each partition has a *floor*, a function of its own messages alone: the least, over its live streams, of the stream's newest stamp
//! minus the allowed lateness; it never sinks, and it does not exist before one stream of the partition spans the idle timeout, so that
//! the sensors are known by then. A stream is live while the newest stamp of its partition is at most the idle timeout ahead of it.
//! A frame is late if and only if it is behind its own stream's newest stamp by more than the lateness
//! ([`LateReason::BehindOwnSensor`]) or below its partition's floor ([`LateReason::SensorWasIdle`]). The *horizon* is the least floor,
//! and only frames strictly below it leave: a frame that is not late is at or above its own floor, so at or above the horizon, so it
//! can still be placed, and a second copy of it still meets the first.
//!
//! A quiet partition (at its end, and silent for a while of wall time) holds the horizon only by streams that are at most the idle
//! timeout behind the newest stamp of the whole vehicle. When it wakes up below what has left by then, its frame is
//! [`LateReason::SensorWasIdle`] if it can no longer be placed; this is the one thing that stamps alone do not decide, and why
//! [`OrderEvent::Close`] lists the streams that were left out.
//!
//! # One wrong stamp
//! A step of more than [`MAX_STEP_NS`] ahead does not move its stream before the next frame of the stream agrees with it: a single
//! absurd stamp costs no other message. Likewise a first stamp counts as wrong if the second is that far behind it. The frame itself
//! waits. It leaves as [`LateReason::StampAhead`] when the next frame of its stream disagrees, or when everything up to
//! [`MAX_STEP_NS`] after its stream's newest stamp has left and the vehicle is still nowhere near it; it leaves in its turn when the
//! next frame agrees, or when the vehicle as a whole gets there (it slept, and this stream has only one message to say).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boxwright_model::{ClipGrid, ClipId, LateReason, SensorKind};
use serde::Deserialize;

use self::partition::{Admission, Limits, Partition, Trust};

mod partition;

#[cfg(test)]
mod tests;

pub use self::partition::{MAX_STEP_NS, MAX_STREAMS_PER_PARTITION};

/// Messages without payload worth speaking of (transforms, calibrations) that may be held for each frame of `max_buffered_frames`:
/// about a kilobyte each, so that even a pose rate of 1 kHz waits for a stalled camera within a few megabytes.
pub const SMALL_MESSAGES_PER_FRAME: usize = 16;

/// How long to wait for what.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrderConfig {
    /// How far, in milliseconds of event time, a frame may be behind the newest frame of its own sensor before it counts as late.
    pub allowed_lateness_ms: u64,
    /// Milliseconds of event time after which a silent sensor is no longer waited for.
    pub idle_timeout_ms: u64,
    /// Most lidar and camera frames of one vehicle held back at a time. Their payloads wait in memory (about 1.5 MB each), so this is
    /// what bounds it; beyond, the oldest frame leaves without waiting and is counted as forced.
    pub max_buffered_frames: usize,
}

impl Default for OrderConfig {
    fn default() -> Self {
        Self { allowed_lateness_ms: 500, idle_timeout_ms: 2000, max_buffered_frames: 512 }
    }
}

/// One message as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The caller's number for the topic and partition that it was read from.
    pub partition: u32,
    /// Kind of message.
    pub kind: SensorKind,
    /// Sensor name.
    pub sensor: Arc<str>,
    /// The message's own time.
    pub stamp_ns: i64,
    /// Sender's counter.
    pub seq: Option<u64>,
    /// The caller's own name for the message; never looked at.
    pub token: u64,
}

/// What became of a message, or of a clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderEvent {
    /// The next message in canonical order.
    Frame {
        /// The message.
        token: u64,
        /// The clip that its stamp lies in. Never one that was closed.
        clip: ClipId,
    },
    /// A message that came too late to be placed.
    Late {
        /// The message.
        token: u64,
        /// Why.
        reason: LateReason,
        /// The clip that its stamp lies in; may be closed.
        clip: ClipId,
        /// The clip to store it with: that of the newest stamp of its own sensor, or of its partition where the sensor lags behind it by
        /// more than the idle timeout. Never one that was closed, and it will be closed.
        store_in: ClipId,
    },
    /// A lidar or camera frame of which another one with equal kind, sensor, stamp and sequence number is kept.
    Duplicate {
        /// The message.
        token: u64,
        /// The clip to count it with: that of its stamp, or, where its first copy has left already, the one a late frame would be
        /// stored with. Never one that was closed, and it will be closed.
        count_in: ClipId,
    },
    /// No frame of this clip will come any more. Clips close in order, each between its last frame and the first of a later clip.
    Close {
        /// The clip.
        clip: ClipId,
        /// Streams that had not passed the end of the clip by the lateness, and were not waited for: silent, or at the end of the
        /// input. Ordered by kind, then name.
        idle: Vec<(SensorKind, Arc<str>)>,
    },
}

/// The canonical order; the partition only tells apart what is otherwise equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    stamp_ns: i64,
    kind: SensorKind,
    sensor: Arc<str>,
    seq: Option<u64>,
    ordinal: u64,
    partition: u32,
}

impl Key {
    fn is_heavy(&self) -> bool {
        matches!(self.kind, SensorKind::Lidar | SensorKind::Camera)
    }

    fn same_measurement(&self) -> Measurement {
        (self.stamp_ns, self.kind, Arc::clone(&self.sensor), self.seq)
    }
}

/// Whether a stamp is further ahead than one frame alone is believed.
fn is_far_ahead(stamp_ns: i64, now_ns: i64) -> bool {
    stamp_ns > now_ns.saturating_add(MAX_STEP_NS)
}

/// What makes two frames copies of each other.
type Measurement = (i64, SensorKind, Arc<str>, Option<u64>);

/// Puts the messages of one vehicle into canonical order.
#[derive(Debug)]
pub struct VehicleOrder {
    limits: Limits,
    max_heavy: usize,
    grid: ClipGrid,
    partitions: BTreeMap<u32, Partition>,
    /// Frames held back, with their tokens. Bounded by `max_heavy` frames and [`SMALL_MESSAGES_PER_FRAME`] times as many small messages.
    held: BTreeMap<Key, u64>,
    /// Frames whose stamp nothing confirms yet, by the moment until which they wait for that. They count as held.
    suspects: BTreeMap<(i64, Key), u64>,
    /// How many of the held are lidar or camera frames.
    heavy: usize,
    /// Everything strictly below has left; never sinks.
    horizon_ns: i64,
    /// The newest that left.
    last: Option<Key>,
    /// Frames that left not long ago, to know their copies; at most `max_heavy`, the newest.
    recent: BTreeSet<Measurement>,
    /// Clips that something was given out for and that are not closed.
    open: BTreeSet<ClipId>,
    forced: u64,
}

impl VehicleOrder {
    /// An order that has seen nothing.
    #[must_use]
    pub fn new(config: &OrderConfig, grid: ClipGrid) -> Self {
        Self {
            limits: Limits {
                lateness_ns: crate::ms_to_ns(config.allowed_lateness_ms),
                idle_ns: crate::ms_to_ns(config.idle_timeout_ms),
            },
            max_heavy: config.max_buffered_frames.max(1),
            grid,
            partitions: BTreeMap::new(),
            held: BTreeMap::new(),
            suspects: BTreeMap::new(),
            heavy: 0,
            horizon_ns: i64::MIN,
            last: None,
            recent: BTreeSet::new(),
            open: BTreeSet::new(),
            forced: 0,
        }
    }

    /// Announces a partition that may bring messages of this vehicle: nothing more leaves before it has shown what sensors it has, or is
    /// quiet. Announce all of them before the first push.
    pub fn add_partition(&mut self, partition: u32) {
        self.partitions.entry(partition).or_default();
    }

    /// Forgets a partition that was taken away. What it brought stays and leaves in its turn.
    pub fn remove_partition(&mut self, partition: u32, out: &mut Vec<OrderEvent>) {
        self.partitions.remove(&partition);
        self.advance(out);
    }

    /// Takes a message; what may leave now is appended to `out`. An unknown partition is added.
    pub fn push(&mut self, arrival: Arrival, out: &mut Vec<OrderEvent>) {
        let Arrival { partition, kind, sensor, stamp_ns, seq, token } = arrival;
        let admission = self.partitions.entry(partition).or_default().admit(kind, &sensor, stamp_ns, self.limits);
        let key = Key { stamp_ns, kind, sensor, seq, ordinal: admission.ordinal, partition };
        if let Trust::Suspect { until_ns } = admission.trust {
            self.suspect(until_ns, key, token);
        } else {
            if admission.trust == Trust::Confirms {
                self.judge_stream(&key, admission.newest_ns, out);
            }
            self.take(key, token, &admission, out);
        }
        self.advance(out);
    }

    /// Takes a message whose stamp is believed.
    fn take(&mut self, key: Key, token: u64, admission: &Admission, out: &mut Vec<OrderEvent>) {
        let late_clip = self.storing_clip(admission.newest_ns);
        if let Some(reason) = admission.late {
            self.give_late(&key, token, reason, late_clip, out);
        } else if let Some((duplicate, kept_is_held)) = self.keep_one_copy(&key, token) {
            let count_in = if kept_is_held { self.grid.clip_of(key.stamp_ns) } else { late_clip };
            self.open.insert(count_in);
            out.push(OrderEvent::Duplicate { token: duplicate, count_in });
        } else if self.has_passed(&key) {
            self.give_late(&key, token, LateReason::SensorWasIdle, late_clip, out);
        } else {
            self.hold(key, token);
        }
    }

    /// Tells that the partition is at its end and has been silent for a while of wall time. Holds until its next message.
    pub fn quiet(&mut self, partition: u32, out: &mut Vec<OrderEvent>) {
        self.partitions.entry(partition).or_default().quiet = true;
        self.advance(out);
    }

    /// Closes what a vehicle that fell silent left behind: where every partition is quiet, all frames up to the newest believed stamp
    /// leave and their clips close. Frames of these clips that come later are late. Returns whether it did.
    pub fn close_silent(&mut self, out: &mut Vec<OrderEvent>) -> bool {
        if !self.partitions.values().all(|partition| partition.quiet) {
            return false;
        }
        let believed = self.newest_ns().or_else(|| self.held.keys().next_back().map(|key| key.stamp_ns));
        let Some(newest_ns) = believed else { return false };
        self.judge_all_suspects(newest_ns, out);
        self.raise(self.grid.end_ns(self.grid.clip_of(newest_ns)));
        self.drain(out);
        true
    }

    /// The end of the input: everything leaves and every clip closes.
    pub fn finish(&mut self, out: &mut Vec<OrderEvent>) {
        if let Some(newest_ns) = self.newest_ns() {
            self.judge_all_suspects(newest_ns, out);
        }
        // Without any confirmed stamp there is nothing to hold the suspects against.
        for ((_, key), token) in std::mem::take(&mut self.suspects) {
            self.place(key, token);
        }
        while self.give_oldest(out) {}
        while let Some(clip) = self.open.first().copied() {
            self.raise(self.grid.end_ns(clip));
            self.close(clip, out);
        }
    }

    /// Number of messages held back.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.held.len() + self.suspects.len()
    }

    /// How many messages left before their time because too many were held. While this is 0 the order depends on stamps alone.
    #[must_use]
    pub fn forced(&self) -> u64 {
        self.forced
    }

    /// Whether half of what may be held is held. A caller that from then on reads only the partitions of [`Self::waiting_for`] keeps
    /// [`Self::forced`] at 0, unless the sensors of one partition are apart by more than the other half.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.heavy > self.max_heavy / 2 || self.buffered() - self.heavy > self.max_small() / 2
    }

    /// The partitions whose next message may let frames leave, in ascending order; the others only add to what is held.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<u32> {
        let newest_ns = self.newest_ns();
        let bounds =
            self.partitions.iter().map(|(id, partition)| (*id, partition.quiet, partition.bound_ns(newest_ns, self.limits)));
        let bounds = bounds.collect::<Vec<_>>();
        let least = bounds.iter().map(|(_, _, bound)| *bound).min();
        let holding = bounds.iter().filter(|(_, quiet, bound)| !quiet && Some(*bound) == least).map(|(id, _, _)| *id);
        let holding = holding.collect::<Vec<_>>();
        if !holding.is_empty() {
            return holding;
        }
        // Only quiet partitions hold the horizon: event time must go on in the others until they count as idle.
        bounds.iter().filter(|(_, quiet, _)| !quiet).map(|(id, _, _)| *id).collect()
    }

    /// The newest stamp of the vehicle that a second one confirms.
    fn newest_ns(&self) -> Option<i64> {
        self.partitions.values().filter_map(Partition::newest_ns).max()
    }

    fn give_late(&mut self, key: &Key, token: u64, reason: LateReason, store_in: ClipId, out: &mut Vec<OrderEvent>) {
        self.open.insert(store_in);
        out.push(OrderEvent::Late { token, reason, clip: self.grid.clip_of(key.stamp_ns), store_in });
    }

    /// The clip that takes what has no place of its own, near a moment: never one that was closed.
    fn storing_clip(&self, near_ns: i64) -> ClipId {
        self.grid.clip_of(near_ns.max(self.horizon_ns))
    }

    /// A frame has come that settles what its stream said before without being believed: that is wrong where it is far ahead of the
    /// stream, and right otherwise.
    fn judge_stream(&mut self, settles: &Key, newest_ns: i64, out: &mut Vec<OrderEvent>) {
        let of_stream = |key: &Key| (key.kind, &key.sensor, key.partition) == (settles.kind, &settles.sensor, settles.partition);
        let store_in = self.storing_clip(newest_ns);
        let suspects: Vec<_> = self.suspects.keys().filter(|(_, key)| of_stream(key)).cloned().collect();
        for name in suspects {
            self.judge(&name, newest_ns, store_in, out);
        }
        // A first stamp was believed before there was a second to hold it against.
        let far_ahead = self.held.keys().rev().take_while(|key| is_far_ahead(key.stamp_ns, newest_ns));
        let wrong: Vec<Key> = far_ahead.filter(|key| of_stream(key)).cloned().collect();
        for key in wrong {
            if let Some(token) = self.held.remove(&key) {
                self.give_up(&key, token, store_in, out);
            }
        }
    }

    /// The vehicle has nothing more to say: whoever is far ahead of its newest confirmed stamp is wrong.
    fn judge_all_suspects(&mut self, newest_ns: i64, out: &mut Vec<OrderEvent>) {
        let store_in = self.storing_clip(newest_ns);
        let all: Vec<_> = self.suspects.keys().cloned().collect();
        for name in all {
            self.judge(&name, newest_ns, store_in, out);
        }
    }

    /// Judges the suspects whose time to be confirmed ends before the next frame that leaves, by the stamp of that frame: so it is the
    /// same frame in every interleaving, and its clip is open.
    fn judge_expired_suspects(&mut self, out: &mut Vec<OrderEvent>) {
        while let Some(((until_ns, _), _)) = self.suspects.first_key_value()
            && let Some((next, _)) = self.held.first_key_value()
            && *until_ns <= next.stamp_ns
        {
            let (next_ns, name) = (next.stamp_ns, self.suspects.keys().next().cloned());
            let Some(name) = name else { return };
            self.judge(&name, next_ns, self.grid.clip_of(next_ns), out);
        }
    }

    /// Places a suspect where event time has come near its stamp, and gives it up otherwise.
    fn judge(&mut self, name: &(i64, Key), now_ns: i64, store_in: ClipId, out: &mut Vec<OrderEvent>) {
        let Some(token) = self.suspects.remove(name) else { return };
        let key = &name.1;
        if is_far_ahead(key.stamp_ns, now_ns) {
            self.give_up(key, token, store_in, out);
        } else if self.has_passed(key) {
            self.heavy -= usize::from(key.is_heavy());
            self.give_late(key, token, LateReason::SensorWasIdle, store_in, out);
        } else {
            self.place(key.clone(), token);
        }
    }

    /// Lets a held frame go whose stamp is wrong.
    fn give_up(&mut self, key: &Key, token: u64, store_in: ClipId, out: &mut Vec<OrderEvent>) {
        self.heavy -= usize::from(key.is_heavy());
        self.give_late(key, token, LateReason::StampAhead, store_in, out);
    }

    /// Gives up the suspect that has waited longest. Returns whether there was one.
    fn give_up_suspect(&mut self, out: &mut Vec<OrderEvent>) -> bool {
        let Some(((until_ns, key), token)) = self.suspects.pop_first() else { return false };
        self.give_up(&key, token, self.storing_clip(until_ns), out);
        true
    }

    /// Whether the frame is a copy of another one; returns the token of the copy to give up, and whether the other is still held. Of two copies in different partitions the
    /// one in the lower partition is kept, whichever came first.
    fn keep_one_copy(&mut self, key: &Key, token: u64) -> Option<(u64, bool)> {
        if !key.is_heavy() {
            return None;
        }
        let range = Key { ordinal: 0, partition: 0, ..key.clone() }..=Key { ordinal: u64::MAX, partition: u32::MAX, ..key.clone() };
        let held = self.held.range(range).next().map(|(held, token)| (held.clone(), *token));
        match held {
            Some((held, held_token)) if key.partition < held.partition => {
                self.held.remove(&held);
                self.held.insert(key.clone(), token);
                Some((held_token, true))
            }
            Some(_) => Some((token, true)),
            None => self.recent.contains(&key.same_measurement()).then_some((token, false)),
        }
    }

    /// Whether a frame that sorts after this one has left, or its clip has closed.
    fn has_passed(&self, key: &Key) -> bool {
        let clip_closed = self.grid.end_ns(self.grid.clip_of(key.stamp_ns)) <= self.horizon_ns;
        clip_closed || self.last.as_ref().is_some_and(|last| key <= last)
    }

    fn hold(&mut self, key: Key, token: u64) {
        self.heavy += usize::from(key.is_heavy());
        self.place(key, token);
    }

    fn place(&mut self, mut key: Key, token: u64) {
        // Ordinals start anew where a partition was taken away and came back, or a stream was forgotten.
        while self.held.contains_key(&key) {
            key.ordinal += 1;
        }
        self.held.insert(key, token);
    }

    /// Keeps a message whose stamp nothing confirms until event time has passed `until_ns`.
    fn suspect(&mut self, until_ns: i64, key: Key, token: u64) {
        self.heavy += usize::from(key.is_heavy());
        let mut name = (until_ns, key);
        while self.suspects.contains_key(&name) {
            name.1.ordinal += 1;
        }
        self.suspects.insert(name, token);
    }

    /// Raises the horizon to the least bound of the partitions and lets go what is below it or does not fit.
    fn advance(&mut self, out: &mut Vec<OrderEvent>) {
        let newest_ns = self.newest_ns();
        let least = self.partitions.values().map(|partition| partition.bound_ns(newest_ns, self.limits)).min();
        // `MAX` is no bound: nothing was seen anywhere.
        if let Some(bound) = least.filter(|bound| *bound != i64::MAX) {
            self.raise(bound);
        }
        self.drain(out);
        while self.heavy > self.max_heavy || self.buffered() - self.heavy > self.max_small() {
            self.forced += 1;
            if !self.give_oldest(out) && !self.give_up_suspect(out) {
                break;
            }
            self.close_passed(out);
        }
        self.forget_old_copies();
    }

    fn max_small(&self) -> usize {
        self.max_heavy.saturating_mul(SMALL_MESSAGES_PER_FRAME)
    }

    fn raise(&mut self, horizon_ns: i64) {
        self.horizon_ns = self.horizon_ns.max(horizon_ns);
    }

    fn drain(&mut self, out: &mut Vec<OrderEvent>) {
        while self.held.first_key_value().is_some_and(|(key, _)| key.stamp_ns < self.horizon_ns) {
            self.give_oldest(out);
        }
        self.close_passed(out);
    }

    /// Lets the oldest frame leave, after closing the clips before its own. Returns whether there was one.
    fn give_oldest(&mut self, out: &mut Vec<OrderEvent>) -> bool {
        self.judge_expired_suspects(out);
        let Some((key, token)) = self.held.pop_first() else { return false };
        let clip = self.grid.clip_of(key.stamp_ns);
        self.raise(key.stamp_ns);
        while let Some(earlier) = self.open.first().copied().filter(|open| *open < clip) {
            self.close(earlier, out);
        }
        self.open.insert(clip);
        out.push(OrderEvent::Frame { token, clip });
        if key.is_heavy() {
            self.heavy -= 1;
            self.recent.insert(key.same_measurement());
        }
        self.last = Some(key);
        true
    }

    fn close_passed(&mut self, out: &mut Vec<OrderEvent>) {
        while let Some(clip) = self.open.first().copied().filter(|clip| self.grid.end_ns(*clip) <= self.horizon_ns) {
            self.close(clip, out);
        }
    }

    fn close(&mut self, clip: ClipId, out: &mut Vec<OrderEvent>) {
        self.open.remove(&clip);
        let end_ns = self.grid.end_ns(clip);
        let idle = self.partitions.values().flat_map(|partition| partition.behind(end_ns, self.limits)).collect::<BTreeSet<_>>();
        out.push(OrderEvent::Close { clip, idle: idle.into_iter().collect() });
    }

    fn forget_old_copies(&mut self) {
        let oldest_ns = self.horizon_ns.saturating_sub(self.limits.lateness_ns);
        while self.recent.len() > self.max_heavy || self.recent.first().is_some_and(|(stamp_ns, ..)| *stamp_ns < oldest_ns) {
            self.recent.pop_first();
        }
    }
}
