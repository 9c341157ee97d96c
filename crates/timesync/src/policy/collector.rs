//! `Collector`: clouds of several lidars that belong to one turn.
//!
//! Semantics of Autoware's node `concatenate_and_time_synchronize`. A set of places, one per topic, is a *collector*; it exists from its
//! first message until it is full or the timeout has passed since then (on the receiver's clock). A message joins the first collector
//! that it matches, else it starts another one:
//!
//! - [`Matching::Advanced`]: its stamp less the topic's offset is the reference time. It matches a collector whose own reference time
//!   (of the first message) is nearer than the two noise windows together, both bounds exclusive.
//! - [`Matching::Naive`]: it matches the collector, of those that lack its topic, whose first message arrived nearest to its own arrival.
//!
//! A full or timed-out collector is given out with what it has, unless its earliest stamp is before that of the newest one given out (and
//! late ones are not wanted); a jump back of more than `replay_length_ns` is a recording that begins anew. When all collectors are in use,
//! the one with the oldest reference time is emptied without a set.

use super::{
    DropCause, Policy, PolicyError, Progress, Stamped, SyncEvent, check_not_negative, check_per_topic, check_topics, dropped,
};

/// Most collectors at once, whatever is configured: they are searched one by one for every message.
pub const MAX_COLLECTORS: usize = 1024;

/// How a message finds its collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matching {
    /// By arrival; for lidars whose stamps are not comparable.
    Naive,
    /// By stamp, with what is known of each lidar.
    Advanced {
        /// Per topic its stamp less that of the reference, when both see the same moment.
        offsets_ns: Vec<i64>,
        /// Per topic how far its stamps scatter to either side.
        noise_windows_ns: Vec<i64>,
    },
}

/// How to collect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorConfig {
    /// Number of topics, 1 to [`super::MAX_TOPICS`].
    pub topics: usize,
    /// How a message finds its collector.
    pub matching: Matching,
    /// A collector waits no longer than this after its first message.
    pub timeout_ns: i64,
    /// Most collectors at once, 1 to [`MAX_COLLECTORS`].
    pub collectors: usize,
    /// Give out sets that are older than the newest one given out.
    pub publish_late: bool,
    /// A set that is older by more than this is the beginning of a replay and not late.
    pub replay_length_ns: i64,
}

#[derive(Clone, Debug)]
struct Open {
    /// Reference time where stamps match, arrival of the first message where arrivals do.
    reference_ns: i64,
    noise_window_ns: i64,
    deadline_ns: i64,
    members: Vec<Option<Stamped>>,
}

/// The collector of sets.
#[derive(Clone, Debug)]
pub struct Collector {
    config: CollectorConfig,
    /// Bounded by the number of collectors. The place matters: the first match wins, and the first free place is taken.
    places: Vec<Option<Open>>,
    newest_given_out_ns: Option<i64>,
}

impl Collector {
    /// A collector without messages.
    ///
    /// # Errors
    /// When a number of the configuration is out of its range.
    pub fn new(config: &CollectorConfig) -> Result<Self, PolicyError> {
        check_topics(config.topics)?;
        if config.collectors == 0 || config.collectors > MAX_COLLECTORS {
            return Err(PolicyError::QueueSize { least: 1, got: config.collectors });
        }
        check_not_negative("timeout_ns", config.timeout_ns)?;
        check_not_negative("replay_length_ns", config.replay_length_ns)?;
        if let Matching::Advanced { offsets_ns, noise_windows_ns } = &config.matching {
            check_per_topic("offset", config.topics, offsets_ns.len())?;
            check_per_topic("noise window", config.topics, noise_windows_ns.len())?;
            noise_windows_ns.iter().try_for_each(|window_ns| check_not_negative("noise_window_ns", *window_ns))?;
        }
        Ok(Self { config: config.clone(), places: vec![None; config.collectors], newest_given_out_ns: None })
    }

    /// Reference time and noise window of a message.
    fn reference_of(&self, topic: usize, stamped: Stamped) -> (i64, i64) {
        match &self.config.matching {
            Matching::Naive => (stamped.arrival_ns, 0),
            Matching::Advanced { offsets_ns, noise_windows_ns } => {
                let of = |values: &[i64]| values.get(topic).copied().unwrap_or(0);
                (stamped.stamp_ns.saturating_sub(of(offsets_ns)), of(noise_windows_ns))
            }
        }
    }

    fn matching_place(&self, topic: usize, reference_ns: i64, noise_window_ns: i64) -> Option<usize> {
        let open = || self.places.iter().enumerate().filter_map(|(place, open)| Some((place, open.as_ref()?)));
        let distance = |open: &Open| open.reference_ns.abs_diff(reference_ns);
        match self.config.matching {
            Matching::Advanced { .. } => {
                let window = |open: &Open| open.noise_window_ns.unsigned_abs() + noise_window_ns.unsigned_abs();
                open().find(|(_, open)| distance(open) < window(open)).map(|(place, _)| place)
            }
            Matching::Naive => {
                let lacks = |open: &Open| open.members.get(topic).is_some_and(Option::is_none);
                open().filter(|(_, open)| lacks(open)).min_by_key(|(_, open)| distance(open)).map(|(place, _)| place)
            }
        }
    }

    /// A free place; where there is none, that of the oldest reference time, whose messages are lost.
    fn free_place(&mut self, out: &mut Vec<SyncEvent>) -> usize {
        if let Some(place) = self.places.iter().position(Option::is_none) {
            return place;
        }
        let reference_ns = |place: &usize| self.places.get(*place).and_then(Option::as_ref).map(|open| open.reference_ns);
        let oldest = (0..self.places.len()).min_by_key(reference_ns).unwrap_or(0);
        if let Some(open) = self.places.get_mut(oldest).and_then(Option::take) {
            drop_members(open, DropCause::QueueFull, out);
        }
        oldest
    }

    /// Gives out what has waited long enough, in the order of the deadlines.
    fn time_out(&mut self, now_ns: i64, out: &mut Vec<SyncEvent>) {
        let deadline_ns = |(place, open): (usize, &Option<Open>)| Some((open.as_ref()?.deadline_ns, place));
        while let Some((_, place)) =
            self.places.iter().enumerate().filter_map(deadline_ns).min().filter(|(deadline_ns, _)| *deadline_ns <= now_ns)
        {
            self.give_out(place, out);
        }
    }

    fn give_out(&mut self, place: usize, out: &mut Vec<SyncEvent>) {
        let Some(open) = self.places.get_mut(place).and_then(Option::take) else { return };
        let Some(earliest_ns) = open.members.iter().flatten().map(|stamped| stamped.stamp_ns).min() else { return };
        let behind_ns = self.newest_given_out_ns.map_or(0, |newest_ns| newest_ns.saturating_sub(earliest_ns));
        if behind_ns > 0 && !self.config.publish_late && behind_ns <= self.config.replay_length_ns {
            drop_members(open, DropCause::Late, out);
            return;
        }
        self.newest_given_out_ns = Some(earliest_ns);
        out.extend(SyncEvent::of_members(open.members));
    }
}

impl Policy for Collector {
    fn push(&mut self, topic: usize, stamped: Stamped, out: &mut Vec<SyncEvent>) {
        if topic >= self.config.topics {
            out.push(dropped(topic, stamped, DropCause::UnknownTopic));
            return;
        }
        self.time_out(stamped.arrival_ns, out);
        let (reference_ns, noise_window_ns) = self.reference_of(topic, stamped);
        let place = self.matching_place(topic, reference_ns, noise_window_ns).unwrap_or_else(|| self.free_place(out));
        let Some(slot) = self.places.get_mut(place) else { return };
        let open = slot.get_or_insert_with(|| Open {
            reference_ns,
            noise_window_ns,
            deadline_ns: stamped.arrival_ns.saturating_add(self.config.timeout_ns),
            members: vec![None; self.config.topics],
        });
        let before = open.members.get_mut(topic).and_then(|member| member.replace(stamped));
        let full = open.members.iter().all(Option::is_some);
        out.extend(before.map(|before| dropped(topic, before, DropCause::Replaced)));
        if full {
            self.give_out(place, out);
        }
    }

    /// Only the receiver's clock is looked at.
    fn advance(&mut self, progress: Progress, out: &mut Vec<SyncEvent>) {
        self.time_out(progress.arrival_ns, out);
    }

    /// As if every collector had timed out.
    fn finish(&mut self, out: &mut Vec<SyncEvent>) {
        self.time_out(i64::MAX, out);
        self.newest_given_out_ns = None;
    }

    fn held(&self) -> usize {
        self.places.iter().flatten().map(|open| open.members.iter().flatten().count()).sum()
    }
}

fn drop_members(open: Open, cause: DropCause, out: &mut Vec<SyncEvent>) {
    let there = open.members.into_iter().enumerate().filter_map(|(topic, member)| Some((topic, member?)));
    out.extend(there.map(|(topic, stamped)| dropped(topic, stamped, cause)));
}
