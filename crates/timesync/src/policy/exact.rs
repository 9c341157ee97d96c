//! `ExactTime`: sets of messages that carry one and the same stamp.
//!
//! Semantics of ROS (`message_filters`, policy `exact_time`): unfinished sets wait by stamp; a set that becomes complete is given out
//! and takes every older unfinished set with it; beyond the queue size the oldest unfinished set is dropped. A second message of a topic
//! with the same stamp takes the place of the first.

use std::collections::BTreeMap;

use super::{DropCause, MAX_QUEUE_SIZE, Policy, PolicyError, Progress, Stamped, SyncEvent, check_queue, check_topics, dropped};

/// How to synchronise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactConfig {
    /// Number of topics, 1 to [`super::MAX_TOPICS`].
    pub topics: usize,
    /// Most unfinished sets; 0 as in ROS for no bound but [`MAX_QUEUE_SIZE`].
    pub queue_size: usize,
}

/// The synchroniser.
#[derive(Clone, Debug)]
pub struct ExactTime {
    topics: usize,
    most_unfinished: usize,
    /// Per stamp one place per topic; never a full one.
    unfinished: BTreeMap<i64, Vec<Option<Stamped>>>,
}

impl ExactTime {
    /// A synchroniser without messages.
    ///
    /// # Errors
    /// When a number of the configuration is out of its range.
    pub fn new(config: &ExactConfig) -> Result<Self, PolicyError> {
        check_topics(config.topics)?;
        check_queue(0, config.queue_size)?;
        let most_unfinished = if config.queue_size == 0 { MAX_QUEUE_SIZE } else { config.queue_size };
        Ok(Self { topics: config.topics, most_unfinished, unfinished: BTreeMap::new() })
    }

    fn drop_oldest(&mut self, cause: DropCause, out: &mut Vec<SyncEvent>) {
        let Some((_, members)) = self.unfinished.pop_first() else { return };
        drop_members(members, cause, out);
    }

    fn drop_up_to(&mut self, stamp_ns: i64, cause: DropCause, out: &mut Vec<SyncEvent>) {
        while self.unfinished.first_key_value().is_some_and(|(oldest_ns, _)| *oldest_ns <= stamp_ns) {
            self.drop_oldest(cause, out);
        }
    }
}

impl Policy for ExactTime {
    fn push(&mut self, topic: usize, stamped: Stamped, out: &mut Vec<SyncEvent>) {
        if topic >= self.topics {
            out.push(dropped(topic, stamped, DropCause::UnknownTopic));
            return;
        }
        let members = self.unfinished.entry(stamped.stamp_ns).or_insert_with(|| vec![None; self.topics]);
        if let Some(before) = members.get_mut(topic).and_then(|place| place.replace(stamped)) {
            out.push(dropped(topic, before, DropCause::Replaced));
        }
        if members.iter().all(Option::is_some) {
            let members = self.unfinished.remove(&stamped.stamp_ns).unwrap_or_default();
            out.extend(SyncEvent::of_members(members));
            self.drop_up_to(stamped.stamp_ns, DropCause::Overtaken, out);
        }
        while self.unfinished.len() > self.most_unfinished {
            self.drop_oldest(DropCause::QueueFull, out);
        }
    }

    fn advance(&mut self, progress: Progress, out: &mut Vec<SyncEvent>) {
        self.drop_up_to(progress.watermark_ns, DropCause::NoPartner, out);
    }

    fn finish(&mut self, out: &mut Vec<SyncEvent>) {
        self.drop_up_to(i64::MAX, DropCause::End, out);
    }

    fn held(&self) -> usize {
        self.unfinished.values().map(|members| members.iter().flatten().count()).sum()
    }
}

fn drop_members(members: Vec<Option<Stamped>>, cause: DropCause, out: &mut Vec<SyncEvent>) {
    let there = members.into_iter().enumerate().filter_map(|(topic, member)| Some((topic, member?)));
    out.extend(there.map(|(topic, stamped)| dropped(topic, stamped, cause)));
}
