//! Whether the clock of a sensor can be trusted: offset, drift and jumps, from arrivals and stamps alone.
//!
//! The difference of arrival and stamp is the delay of the message less what the sensor's clock is ahead of the receiver's. Delays have a
//! least value, which is hit again and again, and a long tail; a clock that drifts tilts the floor. So the lower envelope of the
//! differences over time is followed: the time is cut into buckets, each is represented by its least difference, and through the
//! representatives of a window the line is laid that is below all of them and nearest to them in the sum (Moon, Skelly, Towsley,
//! *Estimation and removal of clock skew from network delay measurements*, INFOCOM 1999). It is the edge of their lower convex hull that
//! spans their mean time (Zhang, Liu, Xia, *Clock synchronization algorithms for network measurements*, INFOCOM 2002). The tail of the
//! delays has no influence on it.
//!
//! # What it can and cannot tell
//! * A message below the envelope is impossible by delay: the sensor's clock jumped ahead. Three in a row are a jump, fewer are outliers.
//! * Whole buckets above the envelope are a clock that jumped back *or* a path that became slower. One direction of traffic cannot tell
//!   them apart (Paxson, *On calibrating measurements of packet transit times*, SIGMETRICS 1998), and the alarm says so.
//! * The height of the envelope is least delay less offset; only their difference is known. A negative one proves a clock that is ahead.
//!
//! Memory is bounded by the window: one pair of numbers per bucket, however many messages come.

use std::collections::VecDeque;
use std::fmt;

use boxwright_model::time::{NS_PER_MS, NS_PER_S};
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// Most buckets of a window: a day of seconds. The fit costs one pass over them when a bucket closes.
pub const MAX_WINDOW_BUCKETS: usize = 86_400;

/// Messages in a row that must agree before a jump ahead or a reset is believed: one is a bit error, two are a retry of it.
const CONFIRMING_MESSAGES: usize = 3;

/// Fewer buckets give no slope worth extrapolating; until then the envelope is taken as level. At 50 ppm that errs by half a
/// millisecond per ten seconds.
const MIN_SLOPE_BUCKETS: usize = 10;

/// An alarm is given again only after the value came back below this part of its limit, so that one at the limit does not chatter.
const CALM_PART: f64 = 0.8;

/// When to worry.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClockConfig {
    /// Length of a bucket; several messages must fall into each.
    pub bucket_ms: u64,
    /// Number of buckets that the estimate looks back, 2 to [`MAX_WINDOW_BUCKETS`].
    pub window_buckets: usize,
    /// Drift that is not worth an alarm. Crystals without discipline drift by 10 to 50 ppm, clocks under PTP by none.
    pub max_drift_ppm: f64,
    /// The window must span this long before drift is judged.
    pub min_span_ms: u64,
    /// Least difference of arrival and stamp that is not worth an alarm.
    pub max_delay_ms: f64,
    /// How far a message may seem to arrive before it was measured.
    pub max_ahead_ms: f64,
    /// Steps from this on are jumps.
    pub min_jump_ms: f64,
    /// Buckets in a row that must lie above the envelope before a jump back is believed. Shorter ones are congestion.
    pub jump_buckets: usize,
    /// Stamps that go back by more than this are a clock that was set anew; less is messages out of order.
    pub min_reset_ms: u64,
}

impl Default for ClockConfig {
    fn default() -> Self {
        Self {
            bucket_ms: 1000,
            window_buckets: 600,
            max_drift_ppm: 10.0,
            min_span_ms: 60_000,
            max_delay_ms: 500.0,
            max_ahead_ms: 1.0,
            min_jump_ms: 20.0,
            jump_buckets: 3,
            min_reset_ms: 1000,
        }
    }
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("expected {name} {expected}, got {got}")]
pub struct ClockError {
    name: &'static str,
    expected: String,
    got: String,
}

impl ClockConfig {
    /// Whether a clock can be watched with these numbers.
    ///
    /// # Errors
    /// When a number is out of its range.
    pub fn validate(&self) -> Result<(), ClockError> {
        let error = |name, expected: &str, got: String| Err(ClockError { name, expected: expected.to_owned(), got });
        if self.bucket_ms == 0 {
            return error("bucket_ms", "of at least 1", "0".to_owned());
        }
        if !(2..=MAX_WINDOW_BUCKETS).contains(&self.window_buckets) {
            return error("window_buckets", &format!("of 2 to {MAX_WINDOW_BUCKETS}"), self.window_buckets.to_string());
        }
        if !(1..=self.window_buckets).contains(&self.jump_buckets) {
            return error(
                "jump_buckets",
                &format!("of 1 to window_buckets ({})", self.window_buckets),
                self.jump_buckets.to_string(),
            );
        }
        let numbers = [
            ("max_drift_ppm", self.max_drift_ppm),
            ("max_delay_ms", self.max_delay_ms),
            ("max_ahead_ms", self.max_ahead_ms),
            ("min_jump_ms", self.min_jump_ms),
        ];
        match numbers.into_iter().find(|(_, number)| !(number.is_finite() && *number >= 0.0)) {
            Some((name, got)) => error(name, "to be a number of at least 0", got.to_string()),
            None => Ok(()),
        }
    }
}

/// What is known of a clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockEstimate {
    /// Least difference of arrival and stamp, now: least delay less what the sensor's clock is ahead.
    pub least_delay_ns: i64,
    /// How much faster the sensor's clock runs than the receiver's; 0 until there are enough buckets for a slope.
    pub drift_ppm: f64,
    /// How far off the drift may be: the typical height above the envelope over the length of the edge that gave the slope.
    pub drift_uncertainty_ppm: f64,
    /// Time that the estimate looks back.
    pub span_ns: i64,
}

/// Something is wrong with a clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClockAlarm {
    /// The sensor's clock runs faster (or, negative, slower) than allowed.
    Drift {
        /// By how much.
        drift_ppm: f64,
        /// How far off that may be; the limit is exceeded all the same.
        uncertainty_ppm: f64,
        /// Over which time.
        span_ns: i64,
    },
    /// Even the fastest messages arrive later than allowed after their stamp (the clock is behind, or the path is slow).
    Behind {
        /// The least difference of arrival and stamp.
        least_delay_ns: i64,
    },
    /// Messages arrive before they were measured: the clock is ahead.
    Ahead {
        /// The least difference of arrival and stamp; negative.
        least_delay_ns: i64,
    },
    /// The clock jumped ahead; or back, where the step is negative and a path that became slower by as much would look the same.
    Jump {
        /// First stamp after the jump.
        stamp_ns: i64,
        /// By how much.
        step_ns: i64,
    },
    /// Stamps went back: the clock was set anew.
    Reset {
        /// Newest stamp before.
        from_ns: i64,
        /// First stamp after.
        to_ns: i64,
    },
    /// Arrivals went back: the receiver's clock was set anew, and nothing is known any more.
    ReceiverReset {
        /// Newest arrival before.
        from_ns: i64,
        /// First arrival after.
        to_ns: i64,
    },
}

impl ClockAlarm {
    /// Every spelling of [`Self::as_str`].
    pub const ALL: [&'static str; 6] = ["drift", "behind", "ahead", "jump", "reset", "receiver_reset"];

    /// The spelling in metrics and findings.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Drift { .. } => "drift",
            Self::Behind { .. } => "behind",
            Self::Ahead { .. } => "ahead",
            Self::Jump { .. } => "jump",
            Self::Reset { .. } => "reset",
            Self::ReceiverReset { .. } => "receiver_reset",
        }
    }
}

impl fmt::Display for ClockAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: i64| ns as f64 / NS_PER_MS as f64;
        match self {
            Self::Drift { drift_ppm, uncertainty_ppm, span_ns } => {
                let span_s = *span_ns as f64 / NS_PER_S as f64;
                write!(f, "clock drifts by {drift_ppm:.1} ± {uncertainty_ppm:.1} ppm over {span_s:.0} s")
            }
            Self::Behind { least_delay_ns } => write!(f, "fastest message arrives {:.3} ms after its stamp", ms(*least_delay_ns)),
            Self::Ahead { least_delay_ns } => write!(f, "message arrives {:.3} ms before its stamp", -ms(*least_delay_ns)),
            Self::Jump { stamp_ns, step_ns } if *step_ns > 0 => {
                write!(f, "clock jumped ahead by {:.3} ms at stamp {stamp_ns}", ms(*step_ns))
            }
            Self::Jump { stamp_ns, step_ns } => {
                write!(f, "clock jumped back, or path became slower, by {:.3} ms at stamp {stamp_ns}", -ms(*step_ns))
            }
            Self::Reset { from_ns, to_ns } => write!(f, "clock was set back from {from_ns} to {to_ns} ns"),
            Self::ReceiverReset { from_ns, to_ns } => write!(f, "receiver's clock was set back from {from_ns} to {to_ns} ns"),
        }
    }
}

/// The message of a bucket that took least.
#[derive(Clone, Copy, Debug)]
struct Point {
    arrival_ns: i64,
    stamp_ns: i64,
}

impl Point {
    fn delay_ns(self) -> i64 {
        self.arrival_ns.saturating_sub(self.stamp_ns)
    }

    /// The later arrival and the later stamp.
    fn later(self, other: Self) -> Self {
        Self { arrival_ns: self.arrival_ns.max(other.arrival_ns), stamp_ns: self.stamp_ns.max(other.stamp_ns) }
    }
}

/// The line below all points of the window.
#[derive(Clone, Copy, Debug)]
struct Envelope {
    /// A point on it.
    at: Point,
    slope: f64,
    uncertainty: f64,
}

impl Envelope {
    fn delay_ns(&self, arrival_ns: i64) -> i64 {
        let along_ns = arrival_ns.saturating_sub(self.at.arrival_ns) as f64;
        self.at.delay_ns().saturating_add((self.slope * along_ns).round() as i64)
    }
}

#[derive(Debug, Default)]
struct Raised {
    drift: bool,
    behind: bool,
    ahead: bool,
}

/// Watches the clock of one sensor.
#[derive(Debug)]
pub struct ClockMonitor {
    config: ClockConfig,
    bucket_ns: i64,
    min_jump_ns: i64,
    min_reset_ns: i64,
    /// Closed buckets, oldest first. Bounded by the window.
    window: VecDeque<Point>,
    /// Closed buckets that lie above the envelope. Bounded by the number that makes a jump.
    above: Vec<Point>,
    open: Option<Point>,
    /// Messages below the envelope, or behind the newest stamp. Bounded by the number that is believed.
    below: Vec<Point>,
    set_back: Vec<Point>,
    envelope: Option<Envelope>,
    newest: Option<Point>,
    outliers: u64,
    raised: Raised,
}

impl ClockMonitor {
    /// A monitor that knows nothing.
    ///
    /// # Errors
    /// When a number of the configuration is out of its range.
    pub fn new(config: &ClockConfig) -> Result<Self, ClockError> {
        config.validate()?;
        Ok(Self {
            config: config.clone(),
            bucket_ns: crate::ms_to_ns(config.bucket_ms),
            min_jump_ns: float_ns(config.min_jump_ms),
            min_reset_ns: crate::ms_to_ns(config.min_reset_ms),
            window: VecDeque::new(),
            above: Vec::new(),
            open: None,
            below: Vec::new(),
            set_back: Vec::new(),
            envelope: None,
            newest: None,
            outliers: 0,
            raised: Raised::default(),
        })
    }

    /// Takes the stamp and the arrival of a message, in the order of arrival; what is wrong is appended to `out`.
    pub fn push(&mut self, stamp_ns: i64, arrival_ns: i64, out: &mut Vec<ClockAlarm>) {
        if let Some(newest) = self.newest.filter(|newest| arrival_ns < newest.arrival_ns.saturating_sub(self.min_reset_ns)) {
            out.push(ClockAlarm::ReceiverReset { from_ns: newest.arrival_ns, to_ns: arrival_ns });
            self.restart(&[]);
        }
        // Told in the order of arrival: a little less than before is a clock that was read by two threads.
        let arrival_ns = self.newest.map_or(arrival_ns, |newest| arrival_ns.max(newest.arrival_ns));
        let point = Point { arrival_ns, stamp_ns };
        if self.is_set_back(point, out) || self.is_below(point, out) {
            return;
        }
        self.newest = Some(self.newest.map_or(point, |newest| newest.later(point)));
        let begun = |open: &Point| open.arrival_ns.div_euclid(self.bucket_ns) < arrival_ns.div_euclid(self.bucket_ns);
        match self.open.filter(begun) {
            Some(closed) => {
                self.open = Some(point);
                self.close(closed, out);
            }
            None => self.open = Some(self.open.filter(|open| open.delay_ns() <= point.delay_ns()).unwrap_or(point)),
        }
    }

    /// What is known; `None` before the first bucket has closed.
    #[must_use]
    pub fn estimate(&self) -> Option<ClockEstimate> {
        let envelope = self.envelope?;
        let now_ns = self.newest.map_or(envelope.at.arrival_ns, |newest| newest.arrival_ns);
        Some(ClockEstimate {
            least_delay_ns: envelope.delay_ns(now_ns),
            drift_ppm: -envelope.slope * 1e6,
            drift_uncertainty_ppm: envelope.uncertainty * 1e6,
            span_ns: self.span_ns(),
        })
    }

    /// Single messages that were below the envelope, or behind, and whose successors were not.
    #[must_use]
    pub fn outliers(&self) -> u64 {
        self.outliers
    }

    fn span_ns(&self) -> i64 {
        let ends = self.window.front().zip(self.window.back());
        ends.map_or(0, |(first, last)| last.arrival_ns.saturating_sub(first.arrival_ns))
    }

    /// Whether the message is held out because its stamp is far behind the newest one.
    fn is_set_back(&mut self, point: Point, out: &mut Vec<ClockAlarm>) -> bool {
        let behind = self.newest.filter(|newest| point.stamp_ns < newest.stamp_ns.saturating_sub(self.min_reset_ns));
        let Some(newest) = behind else {
            self.outliers += self.set_back.drain(..).count() as u64;
            return false;
        };
        self.set_back.push(point);
        if self.set_back.len() >= CONFIRMING_MESSAGES {
            let held_out = std::mem::take(&mut self.set_back);
            let to_ns = held_out.first().map_or(point.stamp_ns, |first| first.stamp_ns);
            out.push(ClockAlarm::Reset { from_ns: newest.stamp_ns, to_ns });
            self.restart(&held_out);
        }
        true
    }

    /// Whether the message is held out because no delay explains it.
    fn is_below(&mut self, point: Point, out: &mut Vec<ClockAlarm>) -> bool {
        let floor_ns = self.envelope.map(|envelope| envelope.delay_ns(point.arrival_ns));
        let Some(floor_ns) = floor_ns.filter(|floor_ns| point.delay_ns() < floor_ns.saturating_sub(self.min_jump_ns)) else {
            self.outliers += self.below.drain(..).count() as u64;
            return false;
        };
        self.below.push(point);
        if self.below.len() >= CONFIRMING_MESSAGES {
            let held_out = std::mem::take(&mut self.below);
            let least_ns = held_out.iter().map(|held| held.delay_ns()).min().unwrap_or(floor_ns);
            let stamp_ns = held_out.first().map_or(point.stamp_ns, |first| first.stamp_ns);
            out.push(ClockAlarm::Jump { stamp_ns, step_ns: floor_ns.saturating_sub(least_ns) });
            self.restart(&held_out);
        }
        true
    }

    /// Forgets everything before the given messages, which belong to one bucket.
    fn restart(&mut self, messages: &[Point]) {
        self.window.clear();
        self.above.clear();
        self.below.clear();
        self.set_back.clear();
        self.envelope = None;
        self.raised = Raised::default();
        self.open = messages.iter().copied().min_by_key(|point| point.delay_ns());
        self.newest = messages.iter().copied().reduce(Point::later);
    }

    fn close(&mut self, bucket: Point, out: &mut Vec<ClockAlarm>) {
        let floor_ns = self.envelope.map(|envelope| envelope.delay_ns(bucket.arrival_ns));
        let over_ns = floor_ns.map_or(0, |floor_ns| bucket.delay_ns().saturating_sub(floor_ns));
        if over_ns > self.min_jump_ns {
            self.above.push(bucket);
            if self.above.len() < self.config.jump_buckets {
                return;
            }
            self.jump_back(out);
        } else {
            self.window.extend(self.above.drain(..).chain([bucket]));
        }
        while self.window.len() > self.config.window_buckets {
            self.window.pop_front();
        }
        self.envelope = self.fit();
        self.judge(out);
    }

    fn jump_back(&mut self, out: &mut Vec<ClockAlarm>) {
        let above = std::mem::take(&mut self.above);
        let over_ns =
            |bucket: &Point| self.envelope.map_or(0, |line| bucket.delay_ns().saturating_sub(line.delay_ns(bucket.arrival_ns)));
        let step_ns = above.iter().map(over_ns).min().unwrap_or(0);
        let stamp_ns = above.first().map_or(0, |first| first.stamp_ns);
        out.push(ClockAlarm::Jump { stamp_ns, step_ns: -step_ns });
        let (open, newest) = (self.open, self.newest);
        self.restart(&[]);
        (self.open, self.newest) = (open, newest);
        self.window.extend(above);
    }

    /// The edge of the lower convex hull that spans the mean time of the window.
    fn fit(&self) -> Option<Envelope> {
        let origin = *self.window.iter().min_by_key(|point| point.delay_ns())?;
        if self.window.len() < MIN_SLOPE_BUCKETS {
            return Some(Envelope { at: origin, slope: 0.0, uncertainty: 0.0 });
        }
        let from_origin = |point: &Point| {
            let along_ns = point.arrival_ns.saturating_sub(origin.arrival_ns) as f64;
            (along_ns, point.delay_ns().saturating_sub(origin.delay_ns()) as f64)
        };
        let points = self.window.iter().map(from_origin).collect::<Vec<_>>();
        let mean_ns = points.iter().map(|(along_ns, _)| along_ns).sum::<f64>() / points.len() as f64;
        let hull = lower_hull(&points);
        let after = hull.partition_point(|(along_ns, _)| *along_ns <= mean_ns).clamp(1, hull.len().saturating_sub(1).max(1));
        let (Some(a), Some(b)) = (hull.get(after - 1), hull.get(after)) else {
            return Some(Envelope { at: origin, slope: 0.0, uncertainty: 0.0 });
        };
        let slope = (b.1 - a.1) / (b.0 - a.0);
        let mut heights_ns =
            points.iter().map(|(along_ns, delay_ns)| delay_ns - (a.1 + slope * (along_ns - a.0))).collect::<Vec<_>>();
        heights_ns.sort_by(f64::total_cmp);
        let typical_ns = heights_ns.get(heights_ns.len() / 2).copied().unwrap_or(0.0);
        let at = Point {
            arrival_ns: origin.arrival_ns.saturating_add(a.0 as i64),
            stamp_ns: origin.stamp_ns.saturating_add((a.0 - a.1) as i64),
        };
        Some(Envelope { at, slope, uncertainty: typical_ns / (b.0 - a.0) })
    }

    fn judge(&mut self, out: &mut Vec<ClockAlarm>) {
        let Some(estimate) = self.estimate() else { return };
        let ClockEstimate { least_delay_ns, drift_ppm, drift_uncertainty_ppm: uncertainty_ppm, span_ns } = estimate;
        let delay_ms = least_delay_ns as f64 / NS_PER_MS as f64;
        let sure_ppm = if span_ns < crate::ms_to_ns(self.config.min_span_ms) { 0.0 } else { drift_ppm.abs() - uncertainty_ppm };
        if rises(&mut self.raised.drift, sure_ppm, self.config.max_drift_ppm) {
            out.push(ClockAlarm::Drift { drift_ppm, uncertainty_ppm, span_ns });
        }
        if rises(&mut self.raised.behind, delay_ms, self.config.max_delay_ms) {
            out.push(ClockAlarm::Behind { least_delay_ns });
        }
        if rises(&mut self.raised.ahead, -delay_ms, self.config.max_ahead_ms) {
            out.push(ClockAlarm::Ahead { least_delay_ns });
        }
    }
}

/// Whether the value has come to exceed its limit.
fn rises(raised: &mut bool, value: f64, limit: f64) -> bool {
    let before = *raised;
    *raised = value > if before { limit * CALM_PART } else { limit };
    *raised && !before
}

fn float_ns(ms: f64) -> i64 {
    crate::timing::ms_to_ns_f64(ms).unwrap_or(i64::MAX / 4)
}

/// Lower convex hull of points in order of their first coordinate (Andrew's monotone chain); of equal first coordinates the lowest stays.
fn lower_hull(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut hull: Vec<(f64, f64)> = Vec::new();
    for point in points {
        while let [.., a, b] = hull.as_slice() {
            let turn = (b.0 - a.0) * (point.1 - a.1) - (b.1 - a.1) * (point.0 - a.0);
            if turn > 0.0 {
                break;
            }
            hull.pop();
        }
        match hull.last_mut().filter(|last| last.0 >= point.0) {
            Some(last) if point.1 < last.1 => *last = *point,
            Some(_) => {}
            None => hull.push(*point),
        }
    }
    hull
}
