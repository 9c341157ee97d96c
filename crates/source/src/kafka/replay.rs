//! A recording goes to Kafka at recorded pace, at a factor of it, or as fast as the broker takes it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use boxwright_model::SensorKind;
use serde::Serialize;

use super::KafkaSink;
use crate::error::SourceError;
use crate::record::{Recording, SkippedChannel};

/// Longest pause of a recording that is waited out. Drives are cut at lights and lunch; nobody wants to sit through the hole.
const LONGEST_GAP: Duration = Duration::from_secs(10);
/// How long a stop may go unnoticed.
const NAP: Duration = Duration::from_millis(50);

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReplaySpeed {
    /// As fast as the broker takes it.
    Max,
    /// Recorded time runs so many times faster; 1 is the recorded pace.
    Factor(f64),
}

/// Where a replay stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Messages handed to the client.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// What a replay did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReplayReport {
    /// Messages handed to the client.
    pub messages: u64,
    /// The same by kind.
    pub messages_by_kind: BTreeMap<SensorKind, u64>,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Channels that were not read.
    pub skipped: Vec<SkippedChannel>,
    /// What a person should know of the recording.
    pub warnings: Vec<String>,
    /// The recording ended before its end.
    pub truncated: bool,
    /// The replay was stopped before the recording's end.
    pub stopped: bool,
    /// Wall time.
    pub seconds: f64,
}

/// Sends a recording, message by message, in recorded order.
///
/// At a factor the time between two messages is the difference of their log times divided by the factor; log times that go backwards
/// count as no time, and pauses beyond ten recorded seconds are shortened to ten, with a warning. The caller flushes the sink.
///
/// # Errors
/// When the recording cannot be read, the factor is no positive number, or the broker does not take a message.
pub fn replay(
    recording: &mut dyn Recording,
    sink: &mut KafkaSink,
    speed: ReplaySpeed,
    progress: &mut dyn FnMut(&ReplayProgress),
    stop: &AtomicBool,
) -> Result<ReplayReport, SourceError> {
    let started = Instant::now();
    let mut pace = Pace::new(speed)?;
    let mut report = ReplayReport::default();
    while let Some(message) = recording.next_message()? {
        report.stopped = !pace.wait_for(message.log_time_ns, stop) || stop.load(Ordering::SeqCst);
        if report.stopped {
            break;
        }
        sink.send(&message)?;
        report.messages += 1;
        report.bytes += message.payload.len() as u64;
        *report.messages_by_kind.entry(message.kind).or_default() += 1;
        progress(&ReplayProgress { messages: report.messages, bytes: report.bytes });
    }
    report.skipped = recording.skipped();
    report.warnings = recording.warnings();
    report.warnings.extend(pace.warning());
    report.truncated = recording.is_truncated();
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// When the next message is due.
struct Pace {
    factor: Option<f64>,
    started: Instant,
    /// Recorded time since the first message, with pauses shortened.
    recorded: Duration,
    last_log_time_ns: Option<i64>,
    shortened: u64,
}

impl Pace {
    fn new(speed: ReplaySpeed) -> Result<Self, SourceError> {
        let factor = match speed {
            ReplaySpeed::Max => None,
            ReplaySpeed::Factor(factor) if factor.is_finite() && factor > 0.0 => Some(factor),
            ReplaySpeed::Factor(factor) => {
                let message = format!("speed: expected a positive number, got {factor}\nhint: --speed max sends without waiting");
                return Err(SourceError::Kafka { action: "replay".to_owned(), message });
            }
        };
        Ok(Self { factor, started: Instant::now(), recorded: Duration::ZERO, last_log_time_ns: None, shortened: 0 })
    }

    /// Waits until the message is due; false when stopped meanwhile.
    fn wait_for(&mut self, log_time_ns: i64, stop: &AtomicBool) -> bool {
        let Some(factor) = self.factor else { return true };
        self.advance(log_time_ns);
        // The longest gap bounds what one message adds; over a long recording a tiny factor may still overflow, and then waits for ever,
        // as it was told to.
        let due = Duration::try_from_secs_f64(self.recorded.as_secs_f64() / factor).unwrap_or(Duration::MAX);
        loop {
            let left = due.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return true;
            }
            if stop.load(Ordering::SeqCst) {
                return false;
            }
            std::thread::sleep(left.min(NAP));
        }
    }

    fn advance(&mut self, log_time_ns: i64) {
        let last = self.last_log_time_ns.unwrap_or(log_time_ns);
        let gap = Duration::from_nanos(u64::try_from(log_time_ns.saturating_sub(last)).unwrap_or(0));
        if gap > LONGEST_GAP {
            self.shortened += 1;
        }
        self.recorded = self.recorded.saturating_add(gap.min(LONGEST_GAP));
        // A log time that jumps back does not make the way forward again count as a pause.
        self.last_log_time_ns = Some(last.max(log_time_ns));
    }

    fn warning(&self) -> Option<String> {
        let count = self.shortened;
        (count > 0).then(|| format!("{count} pauses of the recording were shortened to {} s each", LONGEST_GAP.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn recorded_time_is_kept_but_for_long_pauses_and_steps_back() {
        let mut pace = Pace::new(ReplaySpeed::Factor(1.0)).unwrap();
        for log_time_ns in [100 * S, 101 * S, 100 * S, 102 * S, 500 * S] {
            pace.advance(log_time_ns);
        }
        assert_eq!(pace.recorded, Duration::from_secs(2 + 10));
        assert!(pace.warning().unwrap().contains("1 pauses"));
    }

    #[test]
    fn a_factor_that_is_no_positive_number_is_refused() {
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Pace::new(ReplaySpeed::Factor(factor)).is_err());
        }
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let mut pace = Pace::new(ReplaySpeed::Factor(1e-9)).unwrap();
        let stop = AtomicBool::new(true);
        assert!(pace.wait_for(0, &stop));
        assert!(!pace.wait_for(5 * S, &stop));
    }
}
