//! Lidar and camera frames of one clip become samples: one per sweep of the reference lidar.
//!
//! A [policy](crate::policy) finds the sets ([`ApproximateTime`](crate::policy::ApproximateTime) unless another is configured); this
//! module adds what it lacks. It knows no sensors but those it is told, so the first frames are held until the sensors are known. It
//! may have no timeout, so that one dead sensor would block it for ever: a sensor that is silent for the idle timeout (in event time) is
//! taken out, and back in when it returns. It drops what it cannot use, so every reference frame that no set contains becomes a sample by
//! itself, with what is missing listed. And it compares stamps as they are, though they name different moments: so it is given the
//! middle of each measurement, by what is configured of the sensor's [timing](crate::timing).
//!
//! # What is guaranteed
//! For frames pushed in canonical order (see [`crate::order`]): every frame ends in exactly one event; every reference frame is in
//! exactly one sample and every sample has exactly one; samples come out in strictly increasing order of the reference stamp; the
//! events depend on the frames alone. What is in no sample says why. A second reference frame with the stamp of the first (or an
//! earlier one) is unmatched, for two samples cannot share their id.
//!
//! The reference is the configured sensor, else the first lidar by name, else the first camera, of those seen when the learning time
//! ends. It stays for the clip, unless the configured sensor or, for want of any, a lidar shows up later. The reference is never taken
//! out for silence: without it there is nothing to wait for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use boxwright_model::time::NS_PER_MS;
use boxwright_model::{Sample, SampleMember, SampleReason, SensorKind, StampRef};
use serde::Deserialize;

use crate::policy::config::ApproximateOptions;
use crate::policy::{DropCause, PerSensorMs, Policy, PolicyConfig, PolicyError, Progress, Stamped, SyncEvent};
use crate::timing::{SensorTiming, TimingError};

#[cfg(test)]
mod tests;

/// Most sensors that take part; frames of more are unmatched. Four times what the best equipped vehicles carry.
pub const MAX_SENSORS: usize = 64;

/// Most frames held while the sensors are being learned; then learning ends, however little time they span.
pub const MAX_LEARNING_FRAMES: usize = 4096;

/// How to make samples.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MatcherConfig {
    /// Most frames held per sensor; at least 1. Must cover the idle timeout at the rate of the fastest sensor.
    pub queue_size: usize,
    /// How much narrower a later set must be, as a part of the time that it is later.
    pub age_penalty: f64,
    /// Frames further apart than this, in milliseconds, are not one moment.
    pub max_interval_ms: u64,
    /// Milliseconds of event time after which a silent sensor is no longer waited for.
    pub idle_timeout_ms: u64,
    /// The first milliseconds of event time, in which the sensors are learned.
    pub learn_ms: u64,
    /// The sensor whose frames make the samples; unset for the first lidar by name.
    pub reference: Option<String>,
    /// Another policy than the adaptive one, with its own options: the queue size, age penalty and interval above are then not looked at.
    pub policy: Option<PolicyConfig>,
    /// What is known of the timing of each sensor, by its name.
    pub timing: BTreeMap<String, SensorTiming>,
}

impl Default for MatcherConfig {
    fn default() -> Self {
        Self {
            queue_size: 32,
            age_penalty: 0.1,
            max_interval_ms: 100,
            idle_timeout_ms: 1000,
            learn_ms: 500,
            reference: None,
            policy: None,
            timing: BTreeMap::new(),
        }
    }
}

impl MatcherConfig {
    /// Whether samples can be made with these numbers.
    ///
    /// # Errors
    /// When a number is out of its range, or the policy is one for live viewing.
    pub fn validate(&self) -> Result<(), MatcherError> {
        if let Some(PolicyConfig::LatestTime(_)) = self.policy {
            return Err(PolicyError::NotReproducible("latest_time").into());
        }
        for (sensor, timing) in &self.timing {
            timing.validate().map_err(|source| MatcherError::Timing { sensor: sensor.clone(), source })?;
        }
        let policy = self.synchroniser();
        let named = named_sensors(&policy);
        // Longer than every name, so it is none of them and has the default.
        let unnamed = named.iter().copied().chain(["-"]).collect::<String>();
        policy.build(&[&unnamed], 0)?;
        for sensor in named {
            policy.build(&[sensor], 0).map_err(|source| MatcherError::Sensor { sensor: sensor.to_owned(), source })?;
        }
        Ok(())
    }

    /// Name of the policy that is used.
    #[must_use]
    pub fn policy_name(&self) -> &'static str {
        self.synchroniser().kind()
    }

    fn synchroniser(&self) -> PolicyConfig {
        let adaptive = || {
            PolicyConfig::ApproximateTime(ApproximateOptions {
                queue_size: self.queue_size,
                age_penalty: self.age_penalty,
                max_interval_ms: Some(crate::ms_to_ns(self.max_interval_ms) as f64 / NS_PER_MS as f64),
                lower_bound_ms: PerSensorMs::default(),
            })
        };
        self.policy.clone().unwrap_or_else(adaptive)
    }
}

/// The sensors that have a duration of their own.
fn named_sensors(policy: &PolicyConfig) -> BTreeSet<&str> {
    let durations = match policy {
        PolicyConfig::ApproximateTime(options) => vec![&options.lower_bound_ms],
        PolicyConfig::NearestTime(options) => vec![&options.tolerance_ms],
        PolicyConfig::Collector(options) => vec![&options.offset_ms, &options.noise_window_ms],
        PolicyConfig::ExactTime(_) | PolicyConfig::EpsilonTime(_) | PolicyConfig::SlopTime(_) | PolicyConfig::LatestTime(_) => {
            vec![]
        }
    };
    durations.into_iter().flat_map(|duration| duration.sensors.keys().map(String::as_str)).collect()
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MatcherError {
    /// Of the policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Of what the policy has for one sensor.
    #[error("policy for sensor {sensor:?}: {source}\nhint: correct the number of this sensor, or leave it out for the default")]
    Sensor {
        /// The sensor.
        sensor: String,
        /// What is wrong.
        source: PolicyError,
    },
    /// Of a sensor's timing.
    #[error("timing of sensor {sensor:?}: {source}")]
    Timing {
        /// The sensor.
        sensor: String,
        /// What is wrong.
        source: TimingError,
    },
}

/// One frame of a lidar or camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchFrame {
    /// Sensor name.
    pub sensor: Arc<str>,
    /// Lidar or camera; other kinds are unmatched.
    pub kind: SensorKind,
    /// Its stamp.
    pub stamp_ns: i64,
    /// What the stamp names.
    pub stamp_ref: StampRef,
    /// The caller's own name for the frame; never looked at.
    pub token: u64,
}

/// What became of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchEvent {
    /// A sample.
    Sample {
        /// The sample.
        sample: Sample,
        /// Sensor and token of each member, in the order of `sample.members`.
        tokens: Vec<(Arc<str>, u64)>,
    },
    /// A frame that is in no sample.
    Unmatched {
        /// Its sensor.
        sensor: Arc<str>,
        /// Its stamp.
        stamp_ns: i64,
        /// The frame.
        token: u64,
        /// Why.
        cause: DropCause,
    },
}

/// A sensor; the kind tells apart a lidar and a camera that were given the same name.
type Name = (Arc<str>, SensorKind);

#[derive(Debug)]
struct Known {
    newest_ns: i64,
    /// Takes part in the synchroniser.
    active: bool,
}

/// A reference frame whose sample has not been given out yet.
#[derive(Debug)]
struct Pending {
    ordinal: u64,
    /// Its sample, while earlier ones are undecided.
    decided: Option<MatchEvent>,
}

/// Makes the samples of one clip.
#[derive(Debug)]
pub struct Matcher {
    config: MatcherConfig,
    idle_ns: i64,
    learn_ns: i64,
    vehicle: Arc<str>,
    policy: PolicyConfig,
    known: BTreeMap<Name, Known>,
    learning: bool,
    /// Undecided frames by the order in which they came. Bounded by [`MAX_LEARNING_FRAMES`], then by the queues of the synchroniser.
    held: BTreeMap<u64, MatchFrame>,
    next_ordinal: u64,
    reference: Option<Name>,
    newest_reference_ns: Option<i64>,
    /// In the order of their stamps; bounded by the queue of the reference.
    pending: VecDeque<Pending>,
    topics: Vec<Name>,
    synchroniser: Option<Box<dyn Policy>>,
    /// How far before its stamp the middle of a measurement was at most, 0 or less: so far behind the newest stamp is the watermark.
    earliest_instant_ns: i64,
    /// Timing that was needed and not known, by sensor and kind of stamp. Bounded by the sensors and the kinds.
    assumptions: BTreeMap<(Arc<str>, StampRef), Vec<&'static str>>,
    /// What a sample is called that has all sensors that take part, but not all that there are.
    partial: SampleReason,
    /// What a sample is called that lacks a sensor that takes part.
    alone: SampleReason,
}

impl Matcher {
    /// A matcher that knows no sensor yet.
    ///
    /// # Errors
    /// When a number of the configuration is out of its range.
    pub fn new(config: &MatcherConfig, vehicle: Arc<str>) -> Result<Self, MatcherError> {
        config.validate()?;
        Ok(Self {
            config: config.clone(),
            idle_ns: crate::ms_to_ns(config.idle_timeout_ms),
            learn_ns: crate::ms_to_ns(config.learn_ms),
            vehicle,
            policy: config.synchroniser(),
            known: BTreeMap::new(),
            learning: true,
            held: BTreeMap::new(),
            next_ordinal: 0,
            reference: None,
            newest_reference_ns: None,
            pending: VecDeque::new(),
            topics: Vec::new(),
            synchroniser: None,
            earliest_instant_ns: 0,
            assumptions: BTreeMap::new(),
            partial: SampleReason::SensorIdle,
            alone: SampleReason::Unmatched,
        })
    }

    /// Takes the next frame in canonical order; what it decides is appended to `out`.
    pub fn push(&mut self, frame: MatchFrame, out: &mut Vec<MatchEvent>) {
        let name = (Arc::clone(&frame.sensor), frame.kind);
        let takes_part = matches!(frame.kind, SensorKind::Lidar | SensorKind::Camera)
            && (self.known.contains_key(&name) || self.known.len() < MAX_SENSORS);
        if !takes_part {
            out.push(unmatched(frame, DropCause::UnknownTopic));
            return;
        }
        self.note_assumptions(&frame);
        let changed = self.note(&name, frame.stamp_ns);
        let (ordinal, stamp_ns) = (self.next_ordinal, frame.stamp_ns);
        self.next_ordinal += 1;
        if self.learning {
            self.held.insert(ordinal, frame);
            let first_ns = self.held.first_key_value().map_or(stamp_ns, |(_, first)| first.stamp_ns);
            if stamp_ns.saturating_sub(first_ns) >= self.learn_ns || self.held.len() >= MAX_LEARNING_FRAMES {
                self.start(out);
            }
            return;
        }
        self.prefer_reference(out);
        if changed {
            self.change_sensors(out);
        }
        self.advance(stamp_ns, out);
        self.accept(ordinal, frame, out);
    }

    /// Timing that was needed and is not known, so that it counted as zero: sensor, kind of its stamps, and the options that are missing.
    pub fn assumptions(&self) -> impl Iterator<Item = (&Arc<str>, StampRef, &[&'static str])> {
        self.assumptions.iter().map(|((sensor, stamp_ref), names)| (sensor, *stamp_ref, names.as_slice()))
    }

    /// The end of the clip: what is left is decided. Reference frames go out with those sensors that have a frame for them.
    pub fn finish(&mut self, out: &mut Vec<MatchEvent>) {
        if self.learning {
            self.start(out);
        }
        let mut leftovers = self.unwind(out);
        (self.partial, self.alone) = (SampleReason::ClipEnd, SampleReason::ClipEnd);
        while self.pending.iter().any(|pending| pending.decided.is_none()) {
            let with_frames = leftovers.iter().filter_map(|ordinal| self.name_of(*ordinal)).collect::<BTreeSet<_>>();
            // The adaptive policy leaves at least one sensor without a frame, so every round has fewer sensors than the one before. Others
            // leave all of them where nothing fits: then no further round would either.
            if with_frames.len() >= self.topics.len() {
                leftovers.iter().for_each(|ordinal| self.decide_alone(*ordinal, DropCause::End, out));
                break;
            }
            self.rebuild(with_frames.into_iter().collect(), leftovers, out);
            leftovers = self.unwind(out);
        }
        let rest = std::mem::take(&mut self.held);
        out.extend(rest.into_values().map(|frame| unmatched(frame, DropCause::End)));
    }

    fn note_assumptions(&mut self, frame: &MatchFrame) {
        let key = (Arc::clone(&frame.sensor), frame.stamp_ref);
        if self.assumptions.contains_key(&key) {
            return;
        }
        let names = self.config.timing.get(&*frame.sensor).cloned().unwrap_or_default().assumed_zero(frame.stamp_ref);
        if !names.is_empty() {
            self.assumptions.insert(key, names);
        }
    }

    /// The comparable instant of a frame.
    fn instant_ns(&self, frame: &MatchFrame) -> i64 {
        let timing = self.config.timing.get(&*frame.sensor);
        timing.map_or(frame.stamp_ns, |timing| timing.instant_ns(frame.stamp_ns, frame.stamp_ref))
    }

    /// Frames come in the order of their stamps, so none with an earlier one is still to come.
    fn advance(&mut self, stamp_ns: i64, out: &mut Vec<MatchEvent>) {
        let Some(synchroniser) = self.synchroniser.as_mut() else { return };
        let watermark_ns = stamp_ns.saturating_add(self.earliest_instant_ns).saturating_sub(1);
        let mut events = Vec::new();
        synchroniser.advance(Progress { watermark_ns, arrival_ns: stamp_ns }, &mut events);
        self.take_in(events, out);
    }

    /// Keeps the list of sensors; returns whether another set of them takes part now.
    fn note(&mut self, name: &Name, stamp_ns: i64) -> bool {
        let mut changed = false;
        let entry = self.known.entry(name.clone()).or_insert(Known { newest_ns: stamp_ns, active: false });
        changed |= !std::mem::replace(&mut entry.active, true);
        entry.newest_ns = entry.newest_ns.max(stamp_ns);
        if self.learning {
            return changed;
        }
        for (other, known) in &mut self.known {
            let silent = stamp_ns.saturating_sub(known.newest_ns) > self.idle_ns && self.reference.as_ref() != Some(other);
            if silent && known.active {
                known.active = false;
                changed = true;
            }
        }
        changed
    }

    /// The sensors are known: chooses the reference and feeds what was held.
    fn start(&mut self, out: &mut Vec<MatchEvent>) {
        self.learning = false;
        self.reference = self.best_reference();
        let held = std::mem::take(&mut self.held);
        self.rebuild(self.active(), Vec::new(), out);
        for (ordinal, frame) in held {
            self.accept(ordinal, frame, out);
        }
    }

    /// A better reference than the present one showed up: what waits for the present one is decided first.
    fn prefer_reference(&mut self, out: &mut Vec<MatchEvent>) {
        let best = self.best_reference();
        if best == self.reference {
            return;
        }
        for ordinal in self.unwind(out) {
            self.decide_alone(ordinal, DropCause::NoReference, out);
        }
        self.reference = best;
        self.rebuild(self.active(), Vec::new(), out);
    }

    fn best_reference(&self) -> Option<Name> {
        let configured = |name: &&Name| self.config.reference.as_deref() == Some(&*name.0);
        let lidar = |name: &&Name| name.1 == SensorKind::Lidar;
        let known = || self.known.keys();
        let kept = || self.reference.iter().find(lidar);
        let best = known().find(|name| configured(name) && lidar(name)).or_else(|| known().find(configured));
        best.or_else(kept).or_else(|| known().find(lidar)).or(self.reference.as_ref()).or_else(|| known().next()).cloned()
    }

    /// Another set of sensors: gives out what only waits for proof and starts anew with the rest.
    fn change_sensors(&mut self, out: &mut Vec<MatchEvent>) {
        let leftovers = self.unwind(out);
        self.rebuild(self.active(), leftovers, out);
    }

    fn active(&self) -> Vec<Name> {
        self.known.iter().filter(|(_, known)| known.active).map(|(name, _)| name.clone()).collect()
    }

    /// Gives out the sets that wait for proof and returns what no set contains, in the order in which it came.
    fn unwind(&mut self, out: &mut Vec<MatchEvent>) -> Vec<u64> {
        let Some(mut synchroniser) = self.synchroniser.take() else { return Vec::new() };
        let mut events = Vec::new();
        synchroniser.finish(&mut events);
        let leftover = |event: &SyncEvent| match event {
            SyncEvent::Dropped { stamped, cause: DropCause::End, .. } => Some(stamped.token),
            _ => None,
        };
        let leftovers = events.iter().filter_map(leftover).collect::<BTreeSet<_>>();
        events.retain(|event| leftover(event).is_none());
        self.take_in(events, out);
        leftovers.into_iter().collect()
    }

    fn rebuild(&mut self, topics: Vec<Name>, frames: Vec<u64>, out: &mut Vec<MatchEvent>) {
        // The numbers were checked when the matcher was made and the sensors are counted, so this gives a synchroniser; if it did not,
        // every frame would be decided at once.
        let names = topics.iter().map(|(sensor, _)| &**sensor).collect::<Vec<_>>();
        let reference = topics.iter().position(|topic| self.reference.as_ref() == Some(topic)).unwrap_or(0);
        self.synchroniser = self.policy.build(&names, reference).ok();
        self.topics = topics;
        for ordinal in frames {
            self.offer(ordinal, out);
        }
    }

    fn accept(&mut self, ordinal: u64, frame: MatchFrame, out: &mut Vec<MatchEvent>) {
        if self.reference.as_ref().is_some_and(|(sensor, kind)| *sensor == frame.sensor && *kind == frame.kind) {
            if self.newest_reference_ns.is_some_and(|newest_ns| frame.stamp_ns <= newest_ns) {
                out.push(unmatched(frame, DropCause::Late));
                return;
            }
            self.newest_reference_ns = Some(frame.stamp_ns);
            self.pending.push_back(Pending { ordinal, decided: None });
        }
        self.held.insert(ordinal, frame);
        self.offer(ordinal, out);
    }

    /// Hands a held frame to the synchroniser.
    fn offer(&mut self, ordinal: u64, out: &mut Vec<MatchEvent>) {
        let topic = self.name_of(ordinal).and_then(|name| self.topics.iter().position(|topic| *topic == name));
        let stamped = self.held.get(&ordinal).map(|frame| Stamped {
            stamp_ns: self.instant_ns(frame),
            arrival_ns: frame.stamp_ns,
            token: ordinal,
        });
        match (topic, stamped, self.synchroniser.as_mut()) {
            (Some(topic), Some(stamped), Some(synchroniser)) => {
                let ahead_ns = stamped.stamp_ns.saturating_sub(stamped.arrival_ns);
                self.earliest_instant_ns = self.earliest_instant_ns.min(ahead_ns);
                let mut events = Vec::new();
                synchroniser.push(topic, stamped, &mut events);
                self.take_in(events, out);
            }
            _ => self.decide_alone(ordinal, DropCause::UnknownTopic, out),
        }
    }

    fn name_of(&self, ordinal: u64) -> Option<Name> {
        self.held.get(&ordinal).map(|frame| (Arc::clone(&frame.sensor), frame.kind))
    }

    fn take_in(&mut self, events: Vec<SyncEvent>, out: &mut Vec<MatchEvent>) {
        for event in events {
            match event {
                SyncEvent::Set(set) => self.decide_set(&set, out),
                SyncEvent::Partial(set) => self.decide_set(&set.into_iter().flatten().collect::<Vec<_>>(), out),
                SyncEvent::Dropped { stamped, cause, .. } => self.decide_alone(stamped.token, cause, out),
            }
        }
    }

    /// A set is a sample if it has an undecided reference frame. A frame that an earlier set took is missing from it.
    fn decide_set(&mut self, set: &[Stamped], out: &mut Vec<MatchEvent>) {
        let reference =
            set.iter().find(|stamped| self.pending_at(stamped.token).is_some() && self.held.contains_key(&stamped.token));
        let Some(reference) =
            reference.and_then(|stamped| self.held.get(&stamped.token).cloned().map(|frame| (stamped.token, frame)))
        else {
            set.iter().for_each(|stamped| self.decide_alone(stamped.token, DropCause::NoReference, out));
            return;
        };
        let frames = set.iter().filter_map(|stamped| self.held.remove(&stamped.token)).collect::<Vec<_>>();
        let reason = match frames.len() {
            members if members == self.known.len() => SampleReason::Matched,
            members if members == self.topics.len() => self.partial,
            _ => self.alone,
        };
        self.decide(reference.0, self.sample(&reference.1, frames, reason), out);
    }

    /// No set contains the frame: a reference frame is a sample by itself, another one is unmatched.
    fn decide_alone(&mut self, ordinal: u64, cause: DropCause, out: &mut Vec<MatchEvent>) {
        let Some(frame) = self.held.remove(&ordinal) else { return };
        if self.pending_at(ordinal).is_none() {
            out.push(unmatched(frame, cause));
            return;
        }
        self.decide(ordinal, self.sample(&frame.clone(), vec![frame], self.alone), out);
    }

    fn pending_at(&self, ordinal: u64) -> Option<usize> {
        self.pending.binary_search_by_key(&ordinal, |pending| pending.ordinal).ok()
    }

    /// Keeps a sample until the reference frames before it are decided.
    fn decide(&mut self, ordinal: u64, sample: MatchEvent, out: &mut Vec<MatchEvent>) {
        if let Some(pending) = self.pending_at(ordinal).and_then(|index| self.pending.get_mut(index)) {
            pending.decided = Some(sample);
        }
        while let Some(decided) = self.pending.front_mut().and_then(|pending| pending.decided.take()) {
            self.pending.pop_front();
            out.push(decided);
        }
    }

    fn sample(&self, reference: &MatchFrame, mut frames: Vec<MatchFrame>, reason: SampleReason) -> MatchEvent {
        frames.sort_by(|a, b| (&a.sensor, a.kind).cmp(&(&b.sensor, b.kind)));
        let (stamp_ns, instant_ns) = (reference.stamp_ns, self.instant_ns(reference));
        let member = |frame: &MatchFrame| SampleMember {
            sensor: Arc::clone(&frame.sensor),
            stamp_ns: frame.stamp_ns,
            residual_ns: self.instant_ns(frame).saturating_sub(instant_ns),
        };
        let is_member = |(sensor, kind): &&Name| frames.iter().any(|frame| frame.sensor == *sensor && frame.kind == *kind);
        let missing = self.known.keys().filter(|name| !is_member(name)).map(|(sensor, _)| Arc::clone(sensor)).collect();
        let sample = Sample {
            sample_id: format!("{}:{stamp_ns}", self.vehicle).into(),
            stamp_ns,
            members: frames.iter().map(member).collect(),
            missing,
            reason,
        };
        MatchEvent::Sample { sample, tokens: frames.into_iter().map(|frame| (frame.sensor, frame.token)).collect() }
    }
}

fn unmatched(frame: MatchFrame, cause: DropCause) -> MatchEvent {
    MatchEvent::Unmatched { sensor: frame.sensor, stamp_ns: frame.stamp_ns, token: frame.token, cause }
}
