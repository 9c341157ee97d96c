//! A policy as it is written in a configuration file, with sensors by name and durations in milliseconds.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    ApproximateConfig, ApproximateTime, Collector, CollectorConfig, EpsilonConfig, EpsilonTime, ExactConfig, ExactTime,
    LatestConfig, LatestTime, Matching, NearestConfig, NearestTime, Policy, PolicyError, SlopConfig, SlopTime,
};

/// A policy and its options, told apart by `kind`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PolicyConfig {
    /// [`ApproximateTime`].
    ApproximateTime(ApproximateOptions),
    /// [`ExactTime`].
    ExactTime(ExactOptions),
    /// [`EpsilonTime`].
    EpsilonTime(EpsilonOptions),
    /// [`NearestTime`].
    NearestTime(NearestOptions),
    /// [`Collector`].
    Collector(CollectorOptions),
    /// [`SlopTime`].
    SlopTime(SlopOptions),
    /// [`LatestTime`]; for live viewing only.
    LatestTime(LatestOptions),
}

/// A duration for every sensor: one for all and those that differ. Sensors that are not there are not an error: they may show up.
#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerSensorMs {
    /// For sensors that are not named.
    pub default: f64,
    /// By sensor name.
    pub sensors: BTreeMap<String, f64>,
}

impl PerSensorMs {
    /// One duration for all sensors.
    #[must_use]
    pub fn all(default: f64) -> Self {
        Self { default, sensors: BTreeMap::new() }
    }

    fn of(&self, name: &'static str, sensors: &[&str]) -> Result<Vec<i64>, PolicyError> {
        sensors.iter().map(|sensor| signed_ns(name, self.sensors.get(*sensor).copied().unwrap_or(self.default))).collect()
    }
}

/// Options of [`ApproximateTime`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApproximateOptions {
    /// Most messages held per sensor.
    pub queue_size: usize,
    /// How much narrower a later set must be, as a part of the time that it is later.
    pub age_penalty: f64,
    /// Widest set; unset for any width.
    pub max_interval_ms: Option<f64>,
    /// Least time between two messages of a sensor; lets sets out early.
    pub lower_bound_ms: PerSensorMs,
}

impl Default for ApproximateOptions {
    fn default() -> Self {
        Self { queue_size: 32, age_penalty: 0.1, max_interval_ms: Some(100.0), lower_bound_ms: PerSensorMs::default() }
    }
}

/// Options of [`ExactTime`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExactOptions {
    /// Most unfinished sets.
    pub queue_size: usize,
}

impl Default for ExactOptions {
    fn default() -> Self {
        Self { queue_size: 32 }
    }
}

/// Options of [`EpsilonTime`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EpsilonOptions {
    /// Most messages held per sensor while another one has none.
    pub queue_size: usize,
    /// Widest set.
    pub epsilon_ms: f64,
}

impl Default for EpsilonOptions {
    fn default() -> Self {
        Self { queue_size: 32, epsilon_ms: 10.0 }
    }
}

/// Options of [`NearestTime`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NearestOptions {
    /// Most messages held per sensor.
    pub queue_size: usize,
    /// How far from the reference a message may be. Argoverse 2 takes 25 ms for its cameras, half of their interval.
    pub tolerance_ms: PerSensorMs,
}

impl Default for NearestOptions {
    fn default() -> Self {
        Self { queue_size: 32, tolerance_ms: PerSensorMs::all(25.0) }
    }
}

/// How a message finds its collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchingKind {
    /// By arrival.
    Naive,
    /// By stamp, offset and noise window.
    #[default]
    Advanced,
}

/// Options of [`Collector`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorOptions {
    /// How a message finds its collector.
    pub matching: MatchingKind,
    /// Stamp of each sensor less that of the reference, when both see the same moment.
    pub offset_ms: PerSensorMs,
    /// How far the stamps of each sensor scatter to either side.
    pub noise_window_ms: PerSensorMs,
    /// A set waits no longer than this after its first message.
    pub timeout_ms: f64,
    /// Most unfinished sets.
    pub collectors: usize,
    /// Give out sets that are older than the newest one given out.
    pub publish_late: bool,
    /// A set that is older by more than this is the beginning of a replay and not late.
    pub replay_length_ms: f64,
}

impl Default for CollectorOptions {
    fn default() -> Self {
        Self {
            matching: MatchingKind::Advanced,
            offset_ms: PerSensorMs::default(),
            noise_window_ms: PerSensorMs::all(10.0),
            timeout_ms: 200.0,
            collectors: 10,
            publish_late: false,
            replay_length_ms: 10_000.0,
        }
    }
}

/// Options of [`SlopTime`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlopOptions {
    /// Most messages held per sensor.
    pub queue_size: usize,
    /// A set is narrower than this.
    pub slop_ms: f64,
}

impl Default for SlopOptions {
    fn default() -> Self {
        Self { queue_size: 32, slop_ms: 50.0 }
    }
}

/// Options of [`LatestTime`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatestOptions {
    /// Weight of the newest period in the rate, 0 to 1.
    pub rate_weight: f64,
    /// Weight of the newest deviation in the error, 0 to 1.
    pub error_weight: f64,
    /// Deviations of more than this many errors are a change of rate.
    pub step_margin: f64,
}

impl Default for LatestOptions {
    fn default() -> Self {
        let LatestConfig { rate_weight, error_weight, step_margin, .. } = LatestConfig::new(1);
        Self { rate_weight, error_weight, step_margin }
    }
}

impl PolicyConfig {
    /// The spelling of `kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ApproximateTime(_) => "approximate_time",
            Self::ExactTime(_) => "exact_time",
            Self::EpsilonTime(_) => "epsilon_time",
            Self::NearestTime(_) => "nearest_time",
            Self::Collector(_) => "collector",
            Self::SlopTime(_) => "slop_time",
            Self::LatestTime(_) => "latest_time",
        }
    }

    /// A synchroniser for the sensors, one topic each in their order; `reference` is the index of the one whose messages make the sets,
    /// where the policy has such a one.
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn build(&self, sensors: &[&str], reference: usize) -> Result<Box<dyn Policy>, PolicyError> {
        let topics = sensors.len();
        Ok(match self {
            Self::ApproximateTime(options) => Box::new(ApproximateTime::new(&ApproximateConfig {
                topics,
                queue_size: options.queue_size,
                age_penalty: options.age_penalty,
                max_interval_ns: options.max_interval_ms.map(|ms| signed_ns("max_interval_ms", ms)).transpose()?,
                lower_bounds_ns: options.lower_bound_ms.of("lower_bound_ms", sensors)?,
            })?),
            Self::ExactTime(options) => Box::new(ExactTime::new(&ExactConfig { topics, queue_size: options.queue_size })?),
            Self::EpsilonTime(options) => Box::new(EpsilonTime::new(&EpsilonConfig {
                topics,
                queue_size: options.queue_size,
                epsilon_ns: signed_ns("epsilon_ms", options.epsilon_ms)?,
            })?),
            Self::NearestTime(options) => Box::new(NearestTime::new(&NearestConfig {
                topics,
                reference,
                queue_size: options.queue_size,
                tolerance_ns: options.tolerance_ms.of("tolerance_ms", sensors)?,
            })?),
            Self::Collector(options) => Box::new(Collector::new(&options.resolve(sensors)?)?),
            Self::SlopTime(options) => Box::new(SlopTime::new(&SlopConfig {
                topics,
                queue_size: options.queue_size,
                slop_ns: signed_ns("slop_ms", options.slop_ms)?,
            })?),
            Self::LatestTime(options) => Box::new(LatestTime::new(&LatestConfig {
                topics,
                rate_weight: options.rate_weight,
                error_weight: options.error_weight,
                step_margin: options.step_margin,
            })?),
        })
    }
}

impl CollectorOptions {
    fn resolve(&self, sensors: &[&str]) -> Result<CollectorConfig, PolicyError> {
        let matching = match self.matching {
            MatchingKind::Naive => Matching::Naive,
            MatchingKind::Advanced => Matching::Advanced {
                offsets_ns: self.offset_ms.of("offset_ms", sensors)?,
                noise_windows_ns: self.noise_window_ms.of("noise_window_ms", sensors)?,
            },
        };
        Ok(CollectorConfig {
            topics: sensors.len(),
            matching,
            timeout_ns: signed_ns("timeout_ms", self.timeout_ms)?,
            collectors: self.collectors,
            publish_late: self.publish_late,
            replay_length_ns: signed_ns("replay_length_ms", self.replay_length_ms)?,
        })
    }
}

/// Milliseconds as whole nanoseconds.
fn signed_ns(name: &'static str, ms: f64) -> Result<i64, PolicyError> {
    crate::timing::ms_to_ns_f64(ms).ok_or_else(|| PolicyError::NotADuration { name, got: ms.to_string() })
}
