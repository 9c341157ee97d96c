//! Synchronisers: which messages of several topics belong to one moment.
//!
//! There is no best one. What they have in common is [`Policy`]: messages are pushed in the order of their arrival, time is told with
//! [`Policy::advance`], and every call answers with events. None reads a clock, so that a replay gives what the drive gave.
//!
//! | policy | a set is | waits for | use it for |
//! | --- | --- | --- | --- |
//! | [`ApproximateTime`] | the narrowest that the streams allow | proof that no later set is better | sensors without a common trigger |
//! | [`ExactTime`] | messages of one and the same stamp | the last of them | outputs of one driver, triggered rigs |
//! | [`EpsilonTime`] | all within a width of the oldest | a message of every topic | triggered rigs with jitter |
//! | [`NearestTime`] | a reference message and the nearest of each other topic | the next message, or the tolerance | tables as Argoverse 2 makes them |
//! | [`Collector`] | what lies in the noise window after an offset | the last one, or a timeout | several lidars that spin at known phases |
//! | [`SlopTime`] | the first combination within a width | the message that completes it | results equal to ROS nodes in Python |
//! | [`LatestTime`] | the newest of each topic | the fastest topic | live viewing only: it depends on the receipt clock |
//!
//! [`aligner::InputAligner`] is no synchroniser: it brings several streams into one order and keeps their messages apart.

use std::fmt;

pub use self::approximate::{ApproximateConfig, ApproximateError, ApproximateTime};
pub use self::collector::{Collector, CollectorConfig, Matching};
pub use self::config::{PerSensorMs, PolicyConfig};
pub use self::epsilon::{EpsilonConfig, EpsilonTime};
pub use self::exact::{ExactConfig, ExactTime};
pub use self::latest::{LatestConfig, LatestTime};
pub use self::nearest::{NearestConfig, NearestTime};
pub use self::slop::{SlopConfig, SlopTime};

pub mod approximate;

pub mod exact;

pub mod epsilon;

pub mod nearest;

pub mod collector;

pub mod slop;

pub mod latest;

pub mod aligner;

pub mod config;

#[cfg(test)]
mod tests;

/// Most topics of one synchroniser. A vehicle has a few dozen sensors; every message costs one scan over the topics.
pub const MAX_TOPICS: usize = 256;

/// Most messages (or unfinished sets) held per topic, whatever is configured: 11 minutes at 100 Hz. More is a unit error, and a queue
/// of it would only hide a dead sensor.
pub const MAX_QUEUE_SIZE: usize = 65_536;

/// One message: its time and what the caller calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// Moment of the measurement.
    pub stamp_ns: i64,
    /// Moment of the receipt, on the receiver's clock. Only the policies that say so look at it.
    pub arrival_ns: i64,
    /// The caller's own name for it; never looked at.
    pub token: u64,
}

impl Stamped {
    /// A message that arrived at the moment of its stamp, as in a replay that is driven by event time.
    #[must_use]
    pub fn new(stamp_ns: i64, token: u64) -> Self {
        Self { stamp_ns, arrival_ns: stamp_ns, token }
    }
}

/// How far time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// No message with this stamp or an earlier one is still to come, on any topic.
    pub watermark_ns: i64,
    /// Now, on the receiver's clock; the watermark where a replay has none.
    pub arrival_ns: i64,
}

impl Progress {
    /// Progress of a replay that is driven by event time.
    #[must_use]
    pub fn event_time(watermark_ns: i64) -> Self {
        Self { watermark_ns, arrival_ns: watermark_ns }
    }
}

/// What a call led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncEvent {
    /// A set: one message per topic, in the order of topics.
    Set(Vec<Stamped>),
    /// A set that lacks the topics that are `None`. At least one is there.
    Partial(Vec<Option<Stamped>>),
    /// A message that no set contains and none ever will.
    Dropped {
        /// Its topic.
        topic: usize,
        /// The message.
        stamped: Stamped,
        /// Why.
        cause: DropCause,
    },
}

impl SyncEvent {
    /// A complete or a partial set, by what is there; nothing where nothing is.
    fn of_members(members: Vec<Option<Stamped>>) -> Option<Self> {
        let there = members.iter().flatten().count();
        if there == members.len() {
            return Some(Self::Set(members.into_iter().flatten().collect()));
        }
        (there > 0).then_some(Self::Partial(members))
    }
}

/// Why a message is in no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropCause {
    /// The synchroniser has no such topic.
    UnknownTopic,
    /// The queue of its topic, or the room for unfinished sets, was full.
    QueueFull,
    /// A better set was found that does without it.
    BetterSet,
    /// Together with its best partners it spans more than the largest interval.
    TooWide,
    /// Its topic had lost a message that may have been the better partner.
    AfterLoss,
    /// A set of later messages was given out.
    Overtaken,
    /// The set that it is in lacks the sensor whose frames make the samples.
    NoReference,
    /// Another message of its topic took its place.
    Replaced,
    /// Its partners can no longer come.
    NoPartner,
    /// It came after what it belongs to had been given out.
    Late,
    /// The input ended.
    End,
}

impl DropCause {
    /// The spelling in reports and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownTopic => "unknown_topic",
            Self::QueueFull => "queue_full",
            Self::BetterSet => "better_set",
            Self::TooWide => "too_wide",
            Self::AfterLoss => "after_loss",
            Self::Overtaken => "overtaken",
            Self::NoReference => "no_reference",
            Self::Replaced => "replaced",
            Self::NoPartner => "no_partner",
            Self::Late => "late",
            Self::End => "end",
        }
    }
}

impl fmt::Display for DropCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A synchroniser.
///
/// Unless a policy says otherwise, every message that is pushed ends in exactly one event, at the latest after [`Policy::finish`].
pub trait Policy: fmt::Debug + Send {
    /// Takes the next message in the order of arrival; what it leads to is appended to `out`.
    ///
    /// A topic that does not exist can never be in a set: its message comes back as dropped.
    fn push(&mut self, topic: usize, stamped: Stamped, out: &mut Vec<SyncEvent>);

    /// Time went on. Gives out what need not wait any longer, and drops what waits in vain.
    fn advance(&mut self, progress: Progress, out: &mut Vec<SyncEvent>);

    /// The end of the input: gives out the sets that only wait for proof and drops the rest. The synchroniser is empty afterwards.
    fn finish(&mut self, out: &mut Vec<SyncEvent>);

    /// Number of messages held.
    fn held(&self) -> usize;
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// Of [`ApproximateTime`].
    #[error(transparent)]
    Approximate(#[from] ApproximateError),
    /// Number of topics out of range.
    #[error("expected 1 to {MAX_TOPICS} topics, got {0}")]
    Topics(usize),
    /// Queue size out of range.
    #[error("expected a queue size of {least} to {MAX_QUEUE_SIZE}, got {got}")]
    QueueSize {
        /// Smallest one that the policy can use.
        least: usize,
        /// What was configured.
        got: usize,
    },
    /// A duration or number below zero, or no number.
    #[error("expected {name} of at least 0, got {got}")]
    Negative {
        /// The option.
        name: &'static str,
        /// What was configured.
        got: String,
    },
    /// Values and topics do not fit together.
    #[error("expected one {name} per topic ({topics}), got {got}")]
    PerTopic {
        /// The option.
        name: &'static str,
        /// Number of topics.
        topics: usize,
        /// Number of values.
        got: usize,
    },
    /// The reference is none of the topics.
    #[error("expected a reference below the number of topics ({topics}), got {got}")]
    Reference {
        /// Number of topics.
        topics: usize,
        /// What was configured.
        got: usize,
    },
    /// A duration that is no number, or longer than a century.
    #[error("expected {name} to be a number of milliseconds within a century, got {got}")]
    NotADuration {
        /// The option.
        name: &'static str,
        /// What was configured.
        got: String,
    },
    /// A policy whose answers depend on the receipt clock was asked to make samples.
    #[error("expected a policy that depends on stamps alone, got {0}\nhint: latest_time is for live viewing only")]
    NotReproducible(&'static str),
}

fn check_topics(topics: usize) -> Result<(), PolicyError> {
    if topics == 0 || topics > MAX_TOPICS { Err(PolicyError::Topics(topics)) } else { Ok(()) }
}

fn check_queue(least: usize, got: usize) -> Result<(), PolicyError> {
    if got < least || got > MAX_QUEUE_SIZE { Err(PolicyError::QueueSize { least, got }) } else { Ok(()) }
}

fn check_not_negative(name: &'static str, got: i64) -> Result<(), PolicyError> {
    if got < 0 { Err(PolicyError::Negative { name, got: got.to_string() }) } else { Ok(()) }
}

fn check_per_topic(name: &'static str, topics: usize, got: usize) -> Result<(), PolicyError> {
    if topics == got { Ok(()) } else { Err(PolicyError::PerTopic { name, topics, got }) }
}

fn dropped(topic: usize, stamped: Stamped, cause: DropCause) -> SyncEvent {
    SyncEvent::Dropped { topic, stamped, cause }
}
