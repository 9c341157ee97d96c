//! `NearestTime`: to every message of the reference the nearest message of each other topic, if it is near enough.
//!
//! Semantics of a nearest "as of" join with tolerance, with which the Argoverse 2 loader pairs lidar and camera
//! (`pandas.merge_asof(direction="nearest", tolerance=…)`): the tolerance is inclusive; of two equally near messages the earlier one is
//! taken; a message may be the nearest of several references. Of several messages with one stamp the last is taken if the stamp is not
//! after the reference's, and the first if it is.
//!
//! A reference is decided when every other topic has a message after it or the watermark has passed it by the tolerance, and
//! references are decided in the order of their stamps. So the answer is that of the join over the sorted tables, however the topics
//! are interleaved, as long as each topic comes in the order of its stamps (a message after the reference is taken to mean that none
//! before it is still to come), no message comes that the watermark has excluded and no queue overflows.
//!
//! A message that is in several sets is given out with each of them; one that is in none is dropped once.

use std::collections::VecDeque;

use super::{
    DropCause, Policy, PolicyError, Progress, Stamped, SyncEvent, check_not_negative, check_per_topic, check_queue, check_topics,
    dropped,
};

/// How to synchronise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearestConfig {
    /// Number of topics, 1 to [`super::MAX_TOPICS`].
    pub topics: usize,
    /// The topic whose messages make the sets.
    pub reference: usize,
    /// Most messages held per topic, at least 1. A reference beyond is decided with what there is.
    pub queue_size: usize,
    /// Per topic how far from the reference a message may be; that of the reference itself is not looked at.
    pub tolerance_ns: Vec<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    stamped: Stamped,
    /// It is in a set already.
    used: bool,
}

/// The synchroniser.
#[derive(Clone, Debug)]
pub struct NearestTime {
    reference: usize,
    queue_size: usize,
    tolerance_ns: Vec<i64>,
    /// Ordered by stamp, equal ones by arrival. At the reference's own place are the undecided references.
    queues: Vec<VecDeque<Held>>,
    /// Stamp of the newest reference that is decided.
    decided_ns: Option<i64>,
    watermark_ns: Option<i64>,
}

impl NearestTime {
    /// A synchroniser with empty queues.
    ///
    /// # Errors
    /// When a number of the configuration is out of its range.
    pub fn new(config: &NearestConfig) -> Result<Self, PolicyError> {
        check_topics(config.topics)?;
        check_queue(1, config.queue_size)?;
        check_per_topic("tolerance_ns", config.topics, config.tolerance_ns.len())?;
        config.tolerance_ns.iter().try_for_each(|tolerance_ns| check_not_negative("tolerance_ns", *tolerance_ns))?;
        if config.reference >= config.topics {
            return Err(PolicyError::Reference { topics: config.topics, got: config.reference });
        }
        Ok(Self {
            reference: config.reference,
            queue_size: config.queue_size,
            tolerance_ns: config.tolerance_ns.clone(),
            queues: vec![VecDeque::new(); config.topics],
            decided_ns: None,
            watermark_ns: None,
        })
    }

    fn tolerance_of(&self, topic: usize) -> i64 {
        self.tolerance_ns.get(topic).copied().unwrap_or(0)
    }

    fn oldest_reference(&self) -> Option<Stamped> {
        self.queues.get(self.reference)?.front().map(|held| held.stamped)
    }

    fn decide_ready(&mut self, out: &mut Vec<SyncEvent>) {
        while let Some(reference) = self.oldest_reference().filter(|reference| self.is_ready(reference.stamp_ns)) {
            self.decide(reference, out);
        }
    }

    /// Whether no message to come can be nearer to the reference than what is here.
    fn is_ready(&self, reference_ns: i64) -> bool {
        let past = |topic: usize, queue: &VecDeque<Held>| {
            let reach_ns = reference_ns.saturating_add(self.tolerance_of(topic));
            let newer = queue.back().is_some_and(|newest| newest.stamped.stamp_ns > reference_ns);
            topic == self.reference || newer || self.watermark_ns.is_some_and(|watermark_ns| watermark_ns >= reach_ns)
        };
        self.queues.iter().enumerate().all(|(topic, queue)| past(topic, queue))
    }

    fn decide(&mut self, reference: Stamped, out: &mut Vec<SyncEvent>) {
        let members = (0..self.queues.len())
            .map(|topic| if topic == self.reference { Some(reference) } else { self.use_nearest(topic, reference.stamp_ns) })
            .collect();
        if let Some(queue) = self.queues.get_mut(self.reference) {
            queue.pop_front();
        }
        self.decided_ns = Some(reference.stamp_ns);
        out.extend(SyncEvent::of_members(members));
        self.drop_passed(out);
    }

    fn use_nearest(&mut self, topic: usize, reference_ns: i64) -> Option<Stamped> {
        let tolerance_ns = self.tolerance_of(topic).unsigned_abs();
        let queue = self.queues.get_mut(topic)?;
        let after = queue.partition_point(|held| held.stamped.stamp_ns <= reference_ns);
        let distance = |index: usize| queue.get(index).map(|held| (held.stamped.stamp_ns.abs_diff(reference_ns), index));
        let nearest = after.checked_sub(1).and_then(distance).into_iter().chain(distance(after)).min();
        let (_, index) = nearest.filter(|(distance_ns, _)| *distance_ns <= tolerance_ns)?;
        let held = queue.get_mut(index)?;
        held.used = true;
        Some(held.stamped)
    }

    /// Messages that no reference to come can choose: a later one is not after the newest decided reference.
    fn drop_passed(&mut self, out: &mut Vec<SyncEvent>) {
        let Some(decided_ns) = self.decided_ns else { return };
        for (topic, queue) in self.queues.iter_mut().enumerate().filter(|(topic, _)| *topic != self.reference) {
            while queue.get(1).is_some_and(|next| next.stamped.stamp_ns <= decided_ns) {
                out.extend(leave(topic, queue.pop_front(), DropCause::NoPartner));
            }
        }
    }

    fn insert(&mut self, topic: usize, stamped: Stamped) {
        let Some(queue) = self.queues.get_mut(topic) else { return };
        let index = queue.partition_point(|held| held.stamped.stamp_ns <= stamped.stamp_ns);
        queue.insert(index, Held { stamped, used: false });
    }

    fn bound(&mut self, topic: usize, out: &mut Vec<SyncEvent>) {
        if self.queues.get(topic).is_none_or(|queue| queue.len() <= self.queue_size) {
            return;
        }
        match self.oldest_reference().filter(|_| topic == self.reference) {
            Some(reference) => self.decide(reference, out),
            None => {
                let oldest = self.queues.get_mut(topic).and_then(VecDeque::pop_front);
                out.extend(leave(topic, oldest, DropCause::QueueFull));
            }
        }
    }
}

impl Policy for NearestTime {
    fn push(&mut self, topic: usize, stamped: Stamped, out: &mut Vec<SyncEvent>) {
        if topic >= self.queues.len() {
            out.push(dropped(topic, stamped, DropCause::UnknownTopic));
            return;
        }
        if topic == self.reference && self.decided_ns.is_some_and(|decided_ns| stamped.stamp_ns < decided_ns) {
            out.push(dropped(topic, stamped, DropCause::Late));
            return;
        }
        self.insert(topic, stamped);
        self.decide_ready(out);
        self.bound(topic, out);
    }

    fn advance(&mut self, progress: Progress, out: &mut Vec<SyncEvent>) {
        self.watermark_ns = self.watermark_ns.max(Some(progress.watermark_ns));
        self.decide_ready(out);
    }

    fn finish(&mut self, out: &mut Vec<SyncEvent>) {
        while let Some(reference) = self.oldest_reference() {
            self.decide(reference, out);
        }
        for (topic, queue) in self.queues.iter_mut().enumerate() {
            out.extend(queue.drain(..).filter_map(|held| leave(topic, Some(held), DropCause::NoPartner)));
        }
        (self.decided_ns, self.watermark_ns) = (None, None);
    }

    fn held(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }
}

/// The event of a message that leaves; none where a set has it already.
fn leave(topic: usize, held: Option<Held>, cause: DropCause) -> Option<SyncEvent> {
    held.filter(|held| !held.used).map(|held| dropped(topic, held.stamped, cause))
}
