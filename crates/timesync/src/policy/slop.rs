//! `SlopTime`: the first combination that is narrow enough.
//!
//! Semantics of the synchroniser that ROS has for Python (`message_filters.ApproximateTimeSynchronizer`), which is another algorithm than
//! the one for C++: on each arrival every other topic is searched for stamps within the slop (inclusive) of the new message, nearest first
//! (equally near ones in the order in which their stamps were first seen); the first combination, in the order of an odometer whose last
//! topic turns fastest, that is narrower than the slop (exclusive) is the set. A topic holds one message per stamp, a later one
//! replaces it, and beyond the queue size the one with the oldest stamp goes, even if it is the new one.
//!
//! The original walks through all combinations. Here a prefix is only entered if some combination can complete it, so that the work
//! is polynomial and the answer the same.

use super::{DropCause, Policy, PolicyError, Progress, Stamped, SyncEvent, check_not_negative, check_queue, check_topics, dropped};

/// How to synchronise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlopConfig {
    /// Number of topics, 1 to [`super::MAX_TOPICS`].
    pub topics: usize,
    /// Most messages held per topic, at least 1.
    pub queue_size: usize,
    /// A set is narrower than this.
    pub slop_ns: i64,
}

/// The synchroniser.
#[derive(Clone, Debug)]
pub struct SlopTime {
    /// Per topic the messages in the order in which their stamps were first seen; no stamp twice.
    queues: Vec<Vec<Stamped>>,
    queue_size: usize,
    slop_ns: i64,
}

impl SlopTime {
    /// A synchroniser with empty queues.
    ///
    /// # Errors
    /// When a number of the configuration is out of its range.
    pub fn new(config: &SlopConfig) -> Result<Self, PolicyError> {
        check_topics(config.topics)?;
        check_queue(1, config.queue_size)?;
        check_not_negative("slop_ns", config.slop_ns)?;
        Ok(Self { queues: vec![Vec::new(); config.topics], queue_size: config.queue_size, slop_ns: config.slop_ns })
    }

    /// The stamps of the first combination with the new message, in the order of topics.
    pub(super) fn combination(&self, topic: usize, stamp_ns: i64) -> Option<Vec<i64>> {
        let near = |index: usize| if index == topic { vec![stamp_ns] } else { self.near(index, stamp_ns) };
        let options = (0..self.queues.len()).map(near).collect::<Vec<_>>();
        let mut chosen = vec![stamp_ns; options.len()];
        let mut range = (stamp_ns, stamp_ns);
        if !self.can_complete(&options, 0, range) {
            return None;
        }
        for (index, stamps) in options.iter().enumerate() {
            let widened = |stamp: i64| (range.0.min(stamp), range.1.max(stamp));
            let stamp = *stamps.iter().find(|stamp| self.can_complete(&options, index + 1, widened(**stamp)))?;
            range = widened(stamp);
            *chosen.get_mut(index)? = stamp;
        }
        Some(chosen)
    }

    /// Stamps of a topic within the slop, nearest first.
    pub(super) fn near(&self, topic: usize, stamp_ns: i64) -> Vec<i64> {
        let queue = self.queues.get(topic).map(Vec::as_slice).unwrap_or_default();
        let distance = |stamp: &i64| stamp.abs_diff(stamp_ns);
        let mut near = queue.iter().map(|stamped| stamped.stamp_ns).collect::<Vec<_>>();
        near.retain(|stamp| distance(stamp) <= self.slop_ns.unsigned_abs());
        near.sort_by_key(distance);
        near
    }

    /// Whether the topics from `index` on each have a stamp in one window of the slop that covers the range. If any window does, one does
    /// that begins at a stamp or at the beginning of the range.
    fn can_complete(&self, options: &[Vec<i64>], index: usize, (first_ns, last_ns): (i64, i64)) -> bool {
        let rest = options.get(index..).unwrap_or_default();
        let fits = |begin_ns: i64| {
            let inside = |stamp: &i64| *stamp >= begin_ns && stamp.abs_diff(begin_ns) < self.slop_ns.unsigned_abs();
            begin_ns <= first_ns && inside(&last_ns) && rest.iter().all(|stamps| stamps.iter().any(inside))
        };
        fits(first_ns) || rest.iter().flatten().any(|stamp| fits(*stamp))
    }

    fn take(&mut self, topic: usize, stamp_ns: i64) -> Option<Stamped> {
        let queue = self.queues.get_mut(topic)?;
        let index = queue.iter().position(|stamped| stamped.stamp_ns == stamp_ns)?;
        Some(queue.remove(index))
    }
}

impl Policy for SlopTime {
    fn push(&mut self, topic: usize, stamped: Stamped, out: &mut Vec<SyncEvent>) {
        let Some(queue) = self.queues.get_mut(topic) else {
            out.push(dropped(topic, stamped, DropCause::UnknownTopic));
            return;
        };
        match queue.iter_mut().find(|known| known.stamp_ns == stamped.stamp_ns) {
            Some(known) => out.push(dropped(topic, std::mem::replace(known, stamped), DropCause::Replaced)),
            None => queue.push(stamped),
        }
        if queue.len() > self.queue_size {
            let oldest_ns = queue.iter().map(|known| known.stamp_ns).min().unwrap_or(stamped.stamp_ns);
            let oldest = self.take(topic, oldest_ns);
            out.extend(oldest.map(|oldest| dropped(topic, oldest, DropCause::QueueFull)));
            if oldest_ns == stamped.stamp_ns {
                return;
            }
        }
        if let Some(stamps) = self.combination(topic, stamped.stamp_ns) {
            let members = stamps.iter().enumerate().map(|(topic, stamp_ns)| self.take(topic, *stamp_ns)).collect();
            out.extend(SyncEvent::of_members(members));
        }
    }

    /// Messages that lie further back than the slop find no partner any more.
    fn advance(&mut self, progress: Progress, out: &mut Vec<SyncEvent>) {
        let over = |stamped: &Stamped, slop_ns: i64| stamped.stamp_ns.saturating_add(slop_ns) <= progress.watermark_ns;
        for (topic, queue) in self.queues.iter_mut().enumerate() {
            out.extend(
                queue.extract_if(.., |stamped| over(stamped, self.slop_ns)).map(|s| dropped(topic, s, DropCause::NoPartner)),
            );
        }
    }

    fn finish(&mut self, out: &mut Vec<SyncEvent>) {
        for (topic, queue) in self.queues.iter_mut().enumerate() {
            out.extend(queue.drain(..).map(|stamped| dropped(topic, stamped, DropCause::End)));
        }
    }

    fn held(&self) -> usize {
        self.queues.iter().map(Vec::len).sum()
    }
}
