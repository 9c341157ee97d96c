//! `ApproximateTime`: sets of messages, one per topic, that lie as close together as the stream allows.
//!
//! Method: the adaptive algorithm of ROS (`message_filters`, policy `approximate_time`), with the arithmetic of ROS 2: durations are
//! whole nanoseconds, scaled in extended precision and truncated toward zero. What the algorithm guarantees: a message is in at most
//! one set, sets never cross, and a set is given out only when no later message can improve it.
//!
//! The words below are those of the original: a *candidate* is the best set found so far; the *pivot* is the topic whose message was
//! the newest of the first candidate, and the search ends when it steps over it; the *past* of a topic are messages that the search
//! stepped over and that come back when the candidate is given out. Whenever a candidate is made, all pasts are cleared: so its members
//! are the first messages of the topics, and need not be kept apart.

use std::collections::VecDeque;

use super::{DropCause, MAX_TOPICS, Policy, Progress, Stamped, SyncEvent, dropped};

#[cfg(test)]
mod tests;

/// How to synchronise.
#[derive(Clone, Debug, PartialEq)]
pub struct ApproximateConfig {
    /// Number of topics, 1 to [`MAX_TOPICS`].
    pub topics: usize,
    /// Most messages held per topic, at least 1; the oldest is dropped beyond.
    pub queue_size: usize,
    /// How much a set loses by being later: 0.1 means that waiting must narrow it by more than a tenth of the wait. Not negative.
    pub age_penalty: f64,
    /// Widest set that is looked at, in nanoseconds; `None` for any width.
    pub max_interval_ns: Option<i64>,
    /// Per topic the least time between two messages, in nanoseconds. Lets a set out early; 0 where unknown. Empty means all 0.
    pub lower_bounds_ns: Vec<i64>,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApproximateError {
    /// Number of topics out of range.
    #[error("expected 1 to {MAX_TOPICS} topics, got {0}")]
    Topics(usize),
    /// No room for a message.
    #[error("expected a queue size of at least 1, got 0")]
    QueueSize,
    /// Negative, infinite or no number.
    #[error("expected a finite age penalty of at least 0, got {0}")]
    AgePenalty(f64),
    /// Negative interval.
    #[error("expected a maximal interval of at least 0 ns, got {0}")]
    MaxInterval(i64),
    /// Bounds and topics do not fit together.
    #[error("expected one lower bound per topic ({topics}) or none, got {got}")]
    LowerBounds {
        /// Number of topics.
        topics: usize,
        /// Number of bounds.
        got: usize,
    },
    /// Negative bound.
    #[error("expected a lower bound of at least 0 ns for topic {topic}, got {got}")]
    LowerBound {
        /// The topic.
        topic: usize,
        /// Its bound.
        got: i64,
    },
}

#[derive(Clone, Debug, Default)]
struct Topic {
    /// The past, then the queue; in order of arrival, never sorted.
    messages: VecDeque<Stamped>,
    /// How many of the messages are past: the search stepped over them.
    stepped: usize,
    /// Where a virtual search began.
    stepped_before: usize,
    /// A message was dropped since this topic last stood in the way: the next candidate must not be ended by it.
    dropped: bool,
    lower_bound_ns: i64,
}

impl Topic {
    fn front_ns(&self) -> Option<i64> {
        self.messages.get(self.stepped).map(|stamped| stamped.stamp_ns)
    }

    /// Where the queue is empty, its next message is assumed as early as it can be.
    fn virtual_ns(&self, earliest_ns: i64) -> i64 {
        match (self.front_ns(), self.messages.back()) {
            (Some(front_ns), _) => front_ns,
            (None, Some(last)) => last.stamp_ns.saturating_add(self.lower_bound_ns).max(earliest_ns),
            (None, None) => earliest_ns,
        }
    }

    fn step_over_front(&mut self) -> bool {
        let can = self.stepped < self.messages.len();
        self.stepped += usize::from(can);
        can
    }
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    start_ns: i64,
    end_ns: i64,
    pivot: usize,
    pivot_ns: i64,
}

/// First and last of a set of times.
#[derive(Clone, Copy)]
struct Extent {
    start_topic: usize,
    start_ns: i64,
    end_topic: usize,
    end_ns: i64,
}

impl Extent {
    /// Among equal times the first topic is the earliest and the last topic is the latest, as in the original. `None` where a time is.
    fn of(times: impl Iterator<Item = Option<i64>>) -> Option<Self> {
        let mut extent: Option<Self> = None;
        for (topic, time) in times.enumerate() {
            let time = time?;
            let seen = extent.get_or_insert(Self { start_topic: topic, start_ns: time, end_topic: topic, end_ns: time });
            if time < seen.start_ns {
                (seen.start_topic, seen.start_ns) = (topic, time);
            }
            if time >= seen.end_ns {
                (seen.end_topic, seen.end_ns) = (topic, time);
            }
        }
        extent
    }
}

/// The synchroniser.
#[derive(Clone, Debug)]
pub struct ApproximateTime {
    topics: Vec<Topic>,
    queue_size: usize,
    scale: Scale,
    max_interval_ns: Option<i64>,
    candidate: Option<Candidate>,
    /// No message to come is earlier; beyond the original, which has no such promise.
    earliest_to_come_ns: i64,
}

impl ApproximateTime {
    /// A synchroniser with empty queues.
    ///
    /// # Errors
    /// When a number of the configuration is out of its range.
    pub fn new(config: &ApproximateConfig) -> Result<Self, ApproximateError> {
        validate(config)?;
        let bound = |topic| config.lower_bounds_ns.get(topic).copied().unwrap_or(0);
        let topics = (0..config.topics).map(|topic| Topic { lower_bound_ns: bound(topic), ..Topic::default() }).collect();
        Ok(Self {
            topics,
            queue_size: config.queue_size,
            scale: Scale::new(1.0 + config.age_penalty),
            max_interval_ns: config.max_interval_ns,
            candidate: None,
            earliest_to_come_ns: i64::MIN,
        })
    }

    /// Gives out the sets that only wait for proof, as if the next message of every topic were infinitely late.
    ///
    /// Not part of the original, which has no end: without it the newest set of every stream would be lost.
    pub fn settle(&mut self, out: &mut Vec<SyncEvent>) {
        while self.candidate.take().is_some() {
            self.publish(out);
            self.process(out);
        }
    }

    /// Drops what is left, topic by topic in order of arrival.
    pub fn clear(&mut self, out: &mut Vec<SyncEvent>) {
        self.candidate = None;
        for (topic, entry) in self.topics.iter_mut().enumerate() {
            out.extend(entry.messages.drain(..).map(|stamped| dropped(topic, stamped, DropCause::End)));
            (entry.stepped, entry.dropped) = (0, false);
        }
    }

    /// A full queue ends the search: everything comes back, the oldest message of the topic goes, and the search starts anew.
    fn drop_oldest(&mut self, topic: usize, out: &mut Vec<SyncEvent>) {
        self.topics.iter_mut().for_each(|entry| entry.stepped = 0);
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.dropped = true;
        }
        self.drop_front(topic, DropCause::QueueFull, out);
        if self.candidate.take().is_some() {
            self.process(out);
        }
    }

    fn process(&mut self, out: &mut Vec<SyncEvent>) {
        while let Some(extent) = Extent::of(self.topics.iter().map(Topic::front_ns)) {
            self.forget_drops_except(extent.end_topic);
            let candidate = match self.candidate.take() {
                None => match self.why_no_start(extent) {
                    Some(cause) => {
                        self.drop_front(extent.start_topic, cause, out);
                        continue;
                    }
                    None => {
                        self.clear_past(out);
                        Candidate {
                            start_ns: extent.start_ns,
                            end_ns: extent.end_ns,
                            pivot: extent.end_topic,
                            pivot_ns: extent.end_ns,
                        }
                    }
                },
                Some(best) if self.is_no_better(extent, &best) => best,
                Some(best) => {
                    self.clear_past(out);
                    Candidate { start_ns: extent.start_ns, end_ns: extent.end_ns, ..best }
                }
            };
            self.step_over(extent.start_topic);
            if extent.start_topic == candidate.pivot
                || self.is_proven(extent.end_ns, &candidate)
                || self.is_proven_ahead(&candidate)
            {
                self.publish(out);
            } else {
                self.candidate = Some(candidate);
            }
        }
    }

    fn forget_drops_except(&mut self, kept: usize) {
        for (topic, entry) in self.topics.iter_mut().enumerate() {
            entry.dropped &= topic == kept;
        }
    }

    /// The fronts are too wide, or end in a topic that lost a message (a better partner may be what was lost).
    fn why_no_start(&self, extent: Extent) -> Option<DropCause> {
        if self.max_interval_ns.is_some_and(|limit| extent.end_ns.saturating_sub(extent.start_ns) > limit) {
            return Some(DropCause::TooWide);
        }
        self.topics.get(extent.end_topic).is_some_and(|topic| topic.dropped).then_some(DropCause::AfterLoss)
    }

    fn is_no_better(&self, extent: Extent, best: &Candidate) -> bool {
        self.scaled_wait(extent.end_ns, best) >= extent.start_ns.saturating_sub(best.start_ns)
    }

    /// No set that ends at `end_ns` or later can beat the candidate.
    fn is_proven(&self, end_ns: i64, best: &Candidate) -> bool {
        self.scaled_wait(end_ns, best) >= best.pivot_ns.saturating_sub(best.start_ns)
    }

    fn scaled_wait(&self, end_ns: i64, best: &Candidate) -> i64 {
        self.scale.apply(end_ns.saturating_sub(best.end_ns))
    }

    /// The virtual search: where a queue is empty, its next message is assumed as early as it can be. If even so nothing beats the
    /// candidate, it need not wait. All steps are undone unless the candidate is proven (then publishing brings them back).
    fn is_proven_ahead(&mut self, best: &Candidate) -> bool {
        if self.topics.iter().all(|topic| topic.front_ns().is_some()) {
            return false;
        }
        self.topics.iter_mut().for_each(|topic| topic.stepped_before = topic.stepped);
        let earliest_ns = best.pivot_ns.max(self.earliest_to_come_ns);
        while let Some(extent) = Extent::of(self.topics.iter().map(|topic| Some(topic.virtual_ns(earliest_ns)))) {
            if self.is_proven(extent.end_ns, best) {
                return true;
            }
            let can_improve = self.scaled_wait(extent.end_ns, best) < extent.start_ns.saturating_sub(best.start_ns);
            if can_improve || !self.step_over(extent.start_topic) {
                break;
            }
        }
        self.topics.iter_mut().for_each(|topic| topic.stepped = topic.stepped_before);
        false
    }

    fn step_over(&mut self, topic: usize) -> bool {
        self.topics.get_mut(topic).is_some_and(Topic::step_over_front)
    }

    /// Only called while nothing is past.
    fn drop_front(&mut self, topic: usize, cause: DropCause, out: &mut Vec<SyncEvent>) {
        let front = self.topics.get_mut(topic).and_then(|entry| entry.messages.pop_front());
        out.extend(front.map(|stamped| dropped(topic, stamped, cause)));
    }

    /// A better candidate: what the search stepped over before it is of no use any more.
    fn clear_past(&mut self, out: &mut Vec<SyncEvent>) {
        for (topic, entry) in self.topics.iter_mut().enumerate() {
            let past = std::mem::take(&mut entry.stepped);
            out.extend(entry.messages.drain(..past).map(|stamped| dropped(topic, stamped, DropCause::BetterSet)));
        }
    }

    /// Gives out the candidate: the first message of every topic.
    fn publish(&mut self, out: &mut Vec<SyncEvent>) {
        let member = |topic: &mut Topic| {
            topic.stepped = 0;
            topic.messages.pop_front()
        };
        out.push(SyncEvent::Set(self.topics.iter_mut().filter_map(member).collect()));
    }
}

impl Policy for ApproximateTime {
    fn push(&mut self, topic: usize, stamped: Stamped, out: &mut Vec<SyncEvent>) {
        let Some(entry) = self.topics.get_mut(topic) else {
            out.push(dropped(topic, stamped, DropCause::UnknownTopic));
            return;
        };
        entry.messages.push_back(stamped);
        if entry.messages.len() - entry.stepped == 1 {
            self.process(out);
        }
        if self.topics.get(topic).is_some_and(|entry| entry.messages.len() > self.queue_size) {
            self.drop_oldest(topic, out);
        }
    }

    /// A candidate that no message after the watermark can beat is given out now. The sets are those without the watermark, only
    /// earlier. Not part of the original.
    fn advance(&mut self, progress: Progress, out: &mut Vec<SyncEvent>) {
        self.earliest_to_come_ns = self.earliest_to_come_ns.max(progress.watermark_ns.saturating_add(1));
        while let Some(candidate) = self.candidate.filter(|candidate| self.is_proven_ahead(candidate)) {
            debug_assert!(candidate.start_ns <= candidate.pivot_ns);
            self.candidate = None;
            self.publish(out);
            self.process(out);
        }
    }

    fn finish(&mut self, out: &mut Vec<SyncEvent>) {
        self.settle(out);
        self.clear(out);
    }

    fn held(&self) -> usize {
        self.topics.iter().map(|topic| topic.messages.len()).sum()
    }
}

fn validate(config: &ApproximateConfig) -> Result<(), ApproximateError> {
    let (topics, bounds) = (config.topics, &config.lower_bounds_ns);
    if topics == 0 || topics > MAX_TOPICS {
        return Err(ApproximateError::Topics(topics));
    }
    if config.queue_size == 0 {
        return Err(ApproximateError::QueueSize);
    }
    if !(config.age_penalty.is_finite() && config.age_penalty >= 0.0) {
        return Err(ApproximateError::AgePenalty(config.age_penalty));
    }
    if let Some(limit) = config.max_interval_ns.filter(|limit| *limit < 0) {
        return Err(ApproximateError::MaxInterval(limit));
    }
    if !bounds.is_empty() && bounds.len() != topics {
        return Err(ApproximateError::LowerBounds { topics, got: bounds.len() });
    }
    match bounds.iter().enumerate().find(|(_, bound)| **bound < 0) {
        Some((topic, got)) => Err(ApproximateError::LowerBound { topic, got: *got }),
        None => Ok(()),
    }
}

/// A factor of at least 1 that multiplies durations as ROS 2 does on x86: in 80-bit extended precision, then truncated toward zero.
///
/// Rust has no such type, so the product is formed exactly in integers and rounded to the 64 bits of its significand. Doubles would
/// not do: 20 ns times 1.15 is just below 23, and a double rounds it up to 23.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// The factor is `significand * 2^-shift`, exactly.
    significand: u64,
    shift: i32,
}

impl Scale {
    /// Bits of the significand of an x86 `long double`.
    const EXTENDED_BITS: u32 = 64;

    fn new(factor: f64) -> Self {
        let bits = factor.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as i32;
        Self { significand: (bits & ((1 << 52) - 1)) | (1 << 52), shift: 1075 - exponent }
    }

    fn apply(self, duration_ns: i64) -> i64 {
        let exact = u128::from(duration_ns.unsigned_abs()) * u128::from(self.significand);
        let rounded = round_to_bits(exact, Self::EXTENDED_BITS);
        let magnitude = match u32::try_from(self.shift) {
            Ok(shift) => rounded.checked_shr(shift).unwrap_or(0),
            // Factors of 2^53 and more: anything but zero is then beyond every duration.
            Err(_) if rounded == 0 => 0,
            Err(_) => u128::MAX,
        };
        let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
        if duration_ns < 0 { -magnitude } else { magnitude }
    }
}

/// The nearest value with at most `bits` significant bits; halves go to the even one.
fn round_to_bits(value: u128, bits: u32) -> u128 {
    let excess = (u128::BITS - value.leading_zeros()).saturating_sub(bits);
    if excess == 0 {
        return value;
    }
    let (kept, rest, half) = (value >> excess, value & ((1 << excess) - 1), 1_u128 << (excess - 1));
    let up = rest > half || (rest == half && kept & 1 == 1);
    (kept + u128::from(up)) << excess
}
