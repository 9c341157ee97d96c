//! `EpsilonTime`: all messages within a fixed width of the oldest one.
//!
//! Semantics of ROS 2 (`message_filters`, policy `approximate_epsilon_time`): when every topic has a message, the oldest front decides.
//! If every other front is at most the width younger, the fronts are a set; else the fronts within the width go, for they have no
//! partner. The bound of the queue is only looked at while some topic has no message: then the oldest of the pushed topic goes.

use std::collections::VecDeque;

use super::{DropCause, Policy, PolicyError, Progress, Stamped, SyncEvent, check_not_negative, check_queue, check_topics, dropped};

/// How to synchronise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpsilonConfig {
    /// Number of topics, 1 to [`super::MAX_TOPICS`].
    pub topics: usize,
    /// Most messages held per topic while another topic has none. With 0 only the message that completes a set is ever used.
    pub queue_size: usize,
    /// Widest set, inclusive.
    pub epsilon_ns: i64,
}

/// The synchroniser.
#[derive(Clone, Debug)]
pub struct EpsilonTime {
    queues: Vec<VecDeque<Stamped>>,
    queue_size: usize,
    epsilon_ns: i64,
}

impl EpsilonTime {
    /// A synchroniser with empty queues.
    ///
    /// # Errors
    /// When a number of the configuration is out of its range.
    pub fn new(config: &EpsilonConfig) -> Result<Self, PolicyError> {
        check_topics(config.topics)?;
        check_queue(0, config.queue_size)?;
        check_not_negative("epsilon_ns", config.epsilon_ns)?;
        Ok(Self { queues: vec![VecDeque::new(); config.topics], queue_size: config.queue_size, epsilon_ns: config.epsilon_ns })
    }

    fn complete(&self) -> bool {
        self.queues.iter().all(|queue| !queue.is_empty())
    }

    /// The last moment that is within the width of the oldest front.
    fn reach_ns(&self) -> Option<i64> {
        let oldest_ns = self.queues.iter().filter_map(VecDeque::front).map(|front| front.stamp_ns).min()?;
        Some(oldest_ns.saturating_add(self.epsilon_ns))
    }

    fn process(&mut self, out: &mut Vec<SyncEvent>) {
        while self.complete() {
            let Some(reach_ns) = self.reach_ns() else { return };
            if self.queues.iter().filter_map(VecDeque::front).all(|front| front.stamp_ns <= reach_ns) {
                let members = self.queues.iter_mut().map(VecDeque::pop_front).collect();
                out.extend(SyncEvent::of_members(members));
            } else {
                self.drop_fronts(reach_ns, DropCause::NoPartner, out);
            }
        }
    }

    fn drop_fronts(&mut self, reach_ns: i64, cause: DropCause, out: &mut Vec<SyncEvent>) {
        for (topic, queue) in self.queues.iter_mut().enumerate() {
            let front = queue.pop_front_if(|front| front.stamp_ns <= reach_ns);
            out.extend(front.map(|stamped| dropped(topic, stamped, cause)));
        }
    }
}

impl Policy for EpsilonTime {
    fn push(&mut self, topic: usize, stamped: Stamped, out: &mut Vec<SyncEvent>) {
        let Some(queue) = self.queues.get_mut(topic) else {
            out.push(dropped(topic, stamped, DropCause::UnknownTopic));
            return;
        };
        queue.push_back(stamped);
        let overfull = queue.len() > self.queue_size;
        if self.complete() {
            self.process(out);
        } else if overfull {
            let oldest = self.queues.get_mut(topic).and_then(VecDeque::pop_front);
            out.extend(oldest.map(|oldest| dropped(topic, oldest, DropCause::QueueFull)));
        }
    }

    /// Fronts whose width has passed go now, as they would when the missing topic sends its next message.
    fn advance(&mut self, progress: Progress, out: &mut Vec<SyncEvent>) {
        while let Some(reach_ns) = self.reach_ns().filter(|reach_ns| *reach_ns <= progress.watermark_ns) {
            self.drop_fronts(reach_ns, DropCause::NoPartner, out);
        }
    }

    fn finish(&mut self, out: &mut Vec<SyncEvent>) {
        for (topic, queue) in self.queues.iter_mut().enumerate() {
            out.extend(queue.drain(..).map(|stamped| dropped(topic, stamped, DropCause::End)));
        }
    }

    fn held(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }
}
