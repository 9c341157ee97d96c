//! `ApproximateTime`: sets of messages, one per topic, that lie as close together as the stream allows.
//!
//! Method: the adaptive algorithm of ROS (`message_filters`, policy `approximate_time`), with the arithmetic of ROS 2: durations are
//! whole nanoseconds, scaled in extended precision and truncated toward zero. What the algorithm guarantees: a message is in at most
//! one set, sets never cross, and a set is given out only when no later message can improve it.
//!
//! The words below are those of the original: a *candidate* is the best set found so far; the *pivot* is the topic whose message was
//! the newest of the first candidate, and the search ends when it steps over it; the *past* of a topic are messages that the search
//! stepped over and that come back when the candidate is given out.

use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// Most topics of one synchroniser. A vehicle has a few dozen sensors; every message costs one scan over the topics.
pub const MAX_TOPICS: usize = 256;

/// One message: its stamp and what the caller calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// Stamp of the message.
    pub stamp_ns: i64,
    /// The caller's own name for it; never looked at.
    pub token: u64,
}

/// What a push led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApproximateEvent {
    /// A set: one message per topic, in the order of topics.
    Set(Vec<Stamped>),
    /// A message that no set will ever contain.
    Dropped {
        /// Its topic.
        topic: usize,
        /// The message.
        stamped: Stamped,
    },
}

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
    /// Messages in order of arrival; never sorted.
    queue: VecDeque<Stamped>,
    /// Messages that the current search stepped over, oldest first.
    past: Vec<Stamped>,
    /// A message was dropped since this topic last stood in the way: the next candidate must not be ended by it.
    dropped: bool,
    lower_bound_ns: i64,
}

impl Topic {
    fn step_over_front(&mut self) -> bool {
        let front = self.queue.pop_front();
        self.past.extend(front);
        front.is_some()
    }

    /// Brings the newest `count` messages of the past back to the front.
    fn recover(&mut self, count: usize) {
        for _ in 0..count {
            let Some(stamped) = self.past.pop() else { return };
            self.queue.push_front(stamped);
        }
    }
}

#[derive(Clone, Debug)]
struct Candidate {
    set: Vec<Stamped>,
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
    /// Among equal times the first topic is the earliest and the last topic is the latest, as in the original.
    fn of(times: impl Iterator<Item = i64>) -> Option<Self> {
        let mut extent: Option<Self> = None;
        for (topic, time) in times.enumerate() {
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
        })
    }

    /// Takes a message; sets that it completes and messages that it makes useless are appended to `out`.
    ///
    /// A topic that does not exist can never be in a set: its message comes back as dropped.
    pub fn push(&mut self, topic: usize, stamped: Stamped, out: &mut Vec<ApproximateEvent>) {
        let Some(entry) = self.topics.get_mut(topic) else {
            out.push(ApproximateEvent::Dropped { topic, stamped });
            return;
        };
        entry.queue.push_back(stamped);
        if entry.queue.len() == 1 {
            self.process(out);
        }
        let held = self.topics.get(topic).map_or(0, |entry| entry.queue.len() + entry.past.len());
        if held > self.queue_size {
            self.drop_oldest(topic, out);
        }
    }

    /// Gives out the sets that only wait for proof, as if the next message of every topic were infinitely late.
    ///
    /// Not part of the original, which has no end: without it the newest set of every stream would be lost.
    pub fn settle(&mut self, out: &mut Vec<ApproximateEvent>) {
        while let Some(candidate) = self.candidate.take() {
            self.publish(candidate, out);
            self.process(out);
        }
    }

    /// Drops what is left, topic by topic in order of arrival. The synchroniser is empty afterwards.
    pub fn finish(&mut self, out: &mut Vec<ApproximateEvent>) {
        self.candidate = None;
        for (topic, entry) in self.topics.iter_mut().enumerate() {
            let rest = entry.past.drain(..).chain(entry.queue.drain(..));
            out.extend(rest.map(|stamped| ApproximateEvent::Dropped { topic, stamped }));
            entry.dropped = false;
        }
    }

    /// Number of messages held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.topics.iter().map(|topic| topic.queue.len() + topic.past.len()).sum()
    }

    /// A full queue ends the search: everything comes back, the oldest message of the topic goes, and the search starts anew.
    fn drop_oldest(&mut self, topic: usize, out: &mut Vec<ApproximateEvent>) {
        for entry in &mut self.topics {
            entry.recover(entry.past.len());
        }
        if let Some(entry) = self.topics.get_mut(topic) {
            entry.dropped = true;
        }
        self.pop_front(topic, out);
        if self.candidate.take().is_some() {
            self.process(out);
        }
    }

    fn process(&mut self, out: &mut Vec<ApproximateEvent>) {
        while let Some(fronts) = self.fronts() {
            let Some(extent) = Extent::of(fronts.iter().map(|stamped| stamped.stamp_ns)) else { return };
            self.forget_drops_except(extent.end_topic);
            let candidate = match self.candidate.take() {
                None if self.is_no_start(extent) => {
                    self.pop_front(extent.start_topic, out);
                    continue;
                }
                None => {
                    self.clear_past(out);
                    Candidate {
                        set: fronts,
                        start_ns: extent.start_ns,
                        end_ns: extent.end_ns,
                        pivot: extent.end_topic,
                        pivot_ns: extent.end_ns,
                    }
                }
                Some(best) if self.is_no_better(extent, &best) => best,
                Some(best) => {
                    self.clear_past(out);
                    Candidate { set: fronts, start_ns: extent.start_ns, end_ns: extent.end_ns, ..best }
                }
            };
            self.step_over(extent.start_topic);
            if extent.start_topic == candidate.pivot
                || self.is_proven(extent.end_ns, &candidate)
                || self.is_proven_ahead(&candidate)
            {
                self.publish(candidate, out);
            } else {
                self.candidate = Some(candidate);
            }
        }
    }

    /// The first message of every topic, or `None` while a topic has none.
    fn fronts(&self) -> Option<Vec<Stamped>> {
        if self.topics.iter().any(|topic| topic.queue.is_empty()) {
            return None;
        }
        self.topics.iter().map(|topic| topic.queue.front().copied()).collect()
    }

    fn forget_drops_except(&mut self, kept: usize) {
        for (topic, entry) in self.topics.iter_mut().enumerate() {
            entry.dropped &= topic == kept;
        }
    }

    /// The fronts are too wide, or end in a topic that lost a message (a better partner may be what was lost).
    fn is_no_start(&self, extent: Extent) -> bool {
        let too_wide = self.max_interval_ns.is_some_and(|limit| extent.end_ns.saturating_sub(extent.start_ns) > limit);
        too_wide || self.topics.get(extent.end_topic).is_some_and(|topic| topic.dropped)
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
        if self.topics.iter().all(|topic| !topic.queue.is_empty()) {
            return false;
        }
        let mut moves = vec![0_usize; self.topics.len()];
        loop {
            let Some(extent) = Extent::of(self.topics.iter().map(|topic| virtual_time(topic, best.pivot_ns))) else { return false };
            if self.is_proven(extent.end_ns, best) {
                return true;
            }
            let cannot_improve = self.scaled_wait(extent.end_ns, best) < extent.start_ns.saturating_sub(best.start_ns);
            if cannot_improve || !self.step_over(extent.start_topic) {
                for (topic, count) in self.topics.iter_mut().zip(&moves) {
                    topic.recover(*count);
                }
                return false;
            }
            if let Some(count) = moves.get_mut(extent.start_topic) {
                *count += 1;
            }
        }
    }

    fn step_over(&mut self, topic: usize) -> bool {
        self.topics.get_mut(topic).is_some_and(Topic::step_over_front)
    }

    fn pop_front(&mut self, topic: usize, out: &mut Vec<ApproximateEvent>) {
        let front = self.topics.get_mut(topic).and_then(|entry| entry.queue.pop_front());
        out.extend(front.map(|stamped| ApproximateEvent::Dropped { topic, stamped }));
    }

    /// A better candidate: what the search stepped over before it is of no use any more.
    fn clear_past(&mut self, out: &mut Vec<ApproximateEvent>) {
        for (topic, entry) in self.topics.iter_mut().enumerate() {
            out.extend(entry.past.drain(..).map(|stamped| ApproximateEvent::Dropped { topic, stamped }));
        }
    }

    /// Gives out the candidate; every topic's first message is then its member in the set.
    fn publish(&mut self, candidate: Candidate, out: &mut Vec<ApproximateEvent>) {
        for topic in &mut self.topics {
            topic.recover(topic.past.len());
            topic.queue.pop_front();
        }
        out.push(ApproximateEvent::Set(candidate.set));
    }
}

fn virtual_time(topic: &Topic, pivot_ns: i64) -> i64 {
    match (topic.queue.front(), topic.past.last()) {
        (Some(front), _) => front.stamp_ns,
        (None, Some(last)) => last.stamp_ns.saturating_add(topic.lower_bound_ns).max(pivot_ns),
        (None, None) => pivot_ns,
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
