//! `LatestTime`: the newest message of every topic whenever the fastest one sends. For live viewing only.
//!
//! Semantics of ROS 2 (`message_filters`, policy `latest_time`): slower topics are held (zero-order hold), the *pivot* is the fastest topic
//! that is not late, and a set leaves when a message of the pivot comes. Rates are smoothed reciprocals of the time between receipts,
//! with a smoothed error beside them; a step of more than a multiple of the error starts the estimate anew, and a topic whose silence
//! exceeds its period by as much is late and is not the pivot. Receipts at one moment of the clock do not change a rate.
//!
//! This depends on the receipt clock, so two runs over the same data differ: data sets must not be made with it. A message may be in
//! many sets; one that is replaced before any set contained it is dropped.
//!
//! One thing differs: the original keeps the rates in the order in which topics first sent and looks them up by topic, which confuses
//! them (or reads past the end) where the topics do not begin in order. Here a rate is its topic's.

use super::{DropCause, Policy, PolicyError, Progress, Stamped, SyncEvent, check_topics, dropped};

/// How to follow the rates.
#[derive(Clone, Debug, PartialEq)]
pub struct LatestConfig {
    /// Number of topics, 1 to [`super::MAX_TOPICS`].
    pub topics: usize,
    /// Weight of the newest period in the rate, 0 to 1.
    pub rate_weight: f64,
    /// Weight of the newest deviation in the error, 0 to 1.
    pub error_weight: f64,
    /// Deviations of more than this many errors are a change of rate.
    pub step_margin: f64,
}

impl LatestConfig {
    /// The numbers of ROS 2.
    #[must_use]
    pub fn new(topics: usize) -> Self {
        Self { topics, rate_weight: 0.9, error_weight: 0.3, step_margin: 10.0 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    previous_ns: i64,
    /// Rate in hertz; unknown until the second receipt.
    hz: Option<f64>,
    /// Mean deviation in hertz; unknown until the third receipt.
    error_hz: Option<f64>,
}

impl Rate {
    /// Takes a receipt; returns whether the clock has moved on since the one before.
    fn receive(&mut self, now_ns: i64, config: &LatestConfig) -> bool {
        let period_s = self.silence_s(now_ns);
        if period_s <= 0.0 {
            return false;
        }
        let deviation_hz = self.hz.map(|hz| (hz - 1.0 / period_s).abs());
        let stepped = deviation_hz.zip(self.error_hz).is_some_and(|(deviation, error)| deviation > config.step_margin * error);
        match (self.hz, deviation_hz) {
            (Some(hz), Some(deviation)) if !stepped => {
                let smoothed = |error: f64| config.error_weight * deviation + (1.0 - config.error_weight) * error;
                self.error_hz = Some(self.error_hz.map_or(deviation, smoothed));
                self.hz = Some(config.rate_weight / period_s + (1.0 - config.rate_weight) * hz);
            }
            _ => (self.hz, self.error_hz) = (Some(1.0 / period_s), None),
        }
        self.previous_ns = now_ns;
        true
    }

    fn is_late(&self, now_ns: i64, config: &LatestConfig) -> bool {
        let (Some(hz), Some(error_hz)) = (self.hz, self.error_hz) else { return false };
        let silence_s = self.silence_s(now_ns);
        silence_s != 0.0 && hz - 1.0 / silence_s > config.step_margin * error_hz
    }

    fn silence_s(&self, now_ns: i64) -> f64 {
        now_ns.saturating_sub(self.previous_ns) as f64 / 1e9
    }
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    stamped: Stamped,
    rate: Rate,
    used: bool,
}

/// The synchroniser.
#[derive(Clone, Debug)]
pub struct LatestTime {
    config: LatestConfig,
    newest: Vec<Option<Newest>>,
}

impl LatestTime {
    /// A synchroniser without messages.
    ///
    /// # Errors
    /// When a number of the configuration is out of its range.
    pub fn new(config: &LatestConfig) -> Result<Self, PolicyError> {
        check_topics(config.topics)?;
        let numbers =
            [("rate_weight", config.rate_weight), ("error_weight", config.error_weight), ("step_margin", config.step_margin)];
        if let Some((name, got)) = numbers.into_iter().find(|(_, number)| !(number.is_finite() && *number >= 0.0)) {
            return Err(PolicyError::Negative { name, got: got.to_string() });
        }
        Ok(Self { config: config.clone(), newest: vec![None; config.topics] })
    }

    /// The fastest topic that has a rate and is not late; the first of equally fast ones.
    fn pivot(&self, now_ns: i64) -> Option<usize> {
        let rates = self.newest.iter().enumerate().filter_map(|(topic, newest)| Some((topic, newest.as_ref()?.rate)));
        let on_time = rates.filter(|(_, rate)| !rate.is_late(now_ns, &self.config));
        let mut fastest: Option<(usize, f64)> = None;
        for (topic, hz) in on_time.filter_map(|(topic, rate)| Some((topic, rate.hz?))) {
            if fastest.is_none_or(|(_, best_hz)| hz > best_hz) {
                fastest = Some((topic, hz));
            }
        }
        fastest.map(|(topic, _)| topic)
    }
}

impl Policy for LatestTime {
    fn push(&mut self, topic: usize, stamped: Stamped, out: &mut Vec<SyncEvent>) {
        let Some(place) = self.newest.get_mut(topic) else {
            out.push(dropped(topic, stamped, DropCause::UnknownTopic));
            return;
        };
        let now_ns = stamped.arrival_ns;
        let Some(newest) = place else {
            *place = Some(Newest { stamped, rate: Rate { previous_ns: now_ns, hz: None, error_hz: None }, used: false });
            return;
        };
        if !newest.used {
            out.push(dropped(topic, newest.stamped, DropCause::Replaced));
        }
        (newest.stamped, newest.used) = (stamped, false);
        if !newest.rate.receive(now_ns, &self.config) || self.pivot(now_ns) != Some(topic) {
            return;
        }
        if let Some(members) = self.newest.iter().map(|newest| newest.map(|newest| newest.stamped)).collect() {
            self.newest.iter_mut().flatten().for_each(|newest| newest.used = true);
            out.push(SyncEvent::Set(members));
        }
    }

    /// Nothing waits here.
    fn advance(&mut self, _progress: Progress, _out: &mut Vec<SyncEvent>) {}

    fn finish(&mut self, out: &mut Vec<SyncEvent>) {
        for (topic, place) in self.newest.iter_mut().enumerate() {
            let unused = place.take().filter(|newest| !newest.used);
            out.extend(unused.map(|newest| dropped(topic, newest.stamped, DropCause::End)));
        }
    }

    fn held(&self) -> usize {
        self.newest.iter().flatten().count()
    }
}
