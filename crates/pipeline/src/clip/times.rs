//! What the stamps and arrivals of one clip tell of its clocks, and what was assumed about them.
//!
//! A function of the clip's messages alone: whoever builds the clip again writes the same findings. What only shows over many clips (drift)
//! is watched beside them, see [`crate::clocks`], and goes to the log and the metrics.
//!
//! | rule | severity | says |
//! | --- | --- | --- |
//! | BW-T001 | info | what was assumed of a sensor's timing: what its stamps name, offset, policy, what counted as zero |
//! | BW-T002 | warning | its clock jumped |
//! | BW-T003 | warning | its clock, or the receiver's, was set back |
//! | BW-T004 | warning | messages arrive before they were measured |
//! | BW-T005 | warning | its clock drifts |
//! | BW-T006 | info | even the fastest message arrives late |

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::time::NS_PER_MS;
use boxwright_model::{Finding, FrameHeader, SensorKind, Severity, StampRef};
use boxwright_timesync::{ClockAlarm, ClockConfig, ClockMonitor, MatcherConfig};

/// Most sensors of a clip that are watched: four times what takes part in samples, for poses and calibration have names too.
const MAX_SENSORS: usize = 256;
/// Most messages of a sensor whose arrivals are kept for the end of the clip: 256 KiB. It is 80 s at 200 Hz; of a longer clip the first ones.
const MAX_ARRIVALS: usize = 16_384;

/// Watches the messages of one clip.
#[derive(Debug)]
pub(super) struct ClipTimes {
    sync: MatcherConfig,
    clock: ClockConfig,
    sensors: BTreeMap<(Arc<str>, SensorKind), SensorTimes>,
}

#[derive(Debug)]
struct SensorTimes {
    stamp_ref: StampRef,
    frames: u64,
    late: u64,
    first_ns: i64,
    last_ns: i64,
    longest_gap_ns: i64,
    /// Arrival and stamp. Bounded by [`MAX_ARRIVALS`].
    arrivals: Vec<(i64, i64)>,
}

impl ClipTimes {
    pub(super) fn new(sync: &MatcherConfig, clock: &ClockConfig) -> Self {
        Self { sync: sync.clone(), clock: clock.clone(), sensors: BTreeMap::new() }
    }

    /// Takes the next frame in canonical order.
    pub(super) fn frame(&mut self, header: &FrameHeader) {
        let Some(sensor) = self.sensor(header) else { return };
        if sensor.frames > 0 {
            sensor.longest_gap_ns = sensor.longest_gap_ns.max(header.stamp_ns.saturating_sub(sensor.last_ns));
        } else {
            (sensor.first_ns, sensor.stamp_ref) = (header.stamp_ns, header.stamp_ref);
        }
        sensor.frames += 1;
        sensor.last_ns = header.stamp_ns;
        sensor.arrived(header);
    }

    /// Takes a frame that is in the late table: a clock that was set back shows nowhere else.
    pub(super) fn late(&mut self, header: &FrameHeader) {
        let Some(sensor) = self.sensor(header) else { return };
        sensor.late += 1;
        sensor.arrived(header);
    }

    fn sensor(&mut self, header: &FrameHeader) -> Option<&mut SensorTimes> {
        let name = (header.sensor.clone(), header.kind);
        let is_watched =
            crate::clocks::has_clock(header.kind) && (self.sensors.len() < MAX_SENSORS || self.sensors.contains_key(&name));
        let new = || SensorTimes {
            stamp_ref: header.stamp_ref,
            frames: 0,
            late: 0,
            first_ns: header.stamp_ns,
            last_ns: header.stamp_ns,
            longest_gap_ns: 0,
            arrivals: Vec::new(),
        };
        is_watched.then(|| self.sensors.entry(name).or_insert_with(new))
    }

    /// The findings, by sensor.
    pub(super) fn finish(self) -> Vec<Finding> {
        let Self { sync, clock, sensors } = self;
        sensors.into_iter().flat_map(|((name, kind), times)| times.findings(&name, kind, &sync, &clock)).collect()
    }
}

impl SensorTimes {
    fn arrived(&mut self, header: &FrameHeader) {
        if let Some(arrival_ns) = header.arrival_ns.filter(|_| self.arrivals.len() < MAX_ARRIVALS) {
            self.arrivals.push((arrival_ns, header.stamp_ns));
        }
    }

    fn findings(mut self, name: &str, kind: SensorKind, sync: &MatcherConfig, clock: &ClockConfig) -> Vec<Finding> {
        self.arrivals.sort_unstable();
        let mut alarms = Vec::new();
        // The configuration was checked when it was read.
        let mut monitor = ClockMonitor::new(clock).ok();
        for (arrival_ns, stamp_ns) in &self.arrivals {
            if let Some(monitor) = &mut monitor {
                monitor.push(*stamp_ns, *arrival_ns, &mut alarms);
            }
        }
        let estimate = monitor.and_then(|monitor| monitor.estimate());
        let mut findings = vec![self.assumed(name, kind, sync, estimate)];
        findings.extend(alarms.iter().map(|alarm| self.alarm(name, kind, alarm)));
        findings
    }

    fn assumed(
        &self,
        name: &str,
        kind: SensorKind,
        sync: &MatcherConfig,
        estimate: Option<boxwright_timesync::ClockEstimate>,
    ) -> Finding {
        let configured = sync.timing.get(name);
        let timing = configured.cloned().unwrap_or_default();
        let stamp_ref = timing.effective(self.stamp_ref);
        let to_middle_ns = timing.instant_ns(0, self.stamp_ref).saturating_sub(timing.offset_ns());
        let is_matched = matches!(kind, SensorKind::Lidar | SensorKind::Camera);
        let assumed_zero = if is_matched { timing.assumed_zero(self.stamp_ref) } else { Vec::new() };
        let period_ns = (self.frames > 1).then(|| self.last_ns.saturating_sub(self.first_ns) / (self.frames as i64 - 1));
        let unknown =
            if assumed_zero.is_empty() { String::new() } else { format!("; zero for want of {}", assumed_zero.join(", ")) };
        let values = serde_json::json!({
            "sensor": name, "kind": kind.as_str(), "policy": sync.policy_name(),
            "stamp_ref": stamp_ref.as_str(),
            "stamp_ref_from": if timing.stamp_ref.is_some() { "configuration" } else { "message" },
            "offset_ms": timing.offset_ms, "stamp_to_middle_ms": ms(to_middle_ns), "assumed_zero": assumed_zero,
            "frames": self.frames, "late": self.late, "period_ms": period_ns.map(ms), "longest_gap_ms": ms(self.longest_gap_ns),
            "arrivals": self.arrivals.len(), "least_delay_ms": estimate.map(|known| ms(known.least_delay_ns)),
            "drift_ppm": estimate.map(|known| known.drift_ppm),
            "drift_uncertainty_ppm": estimate.map(|known| known.drift_uncertainty_ppm),
        });
        Finding {
            rule: "BW-T001",
            severity: Severity::Info,
            stamp_ns: self.first_ns,
            track_id: None,
            sample_id: None,
            message: format!(
                "{kind} {name}: stamps taken as {stamp_ref}, {} ms added for its clock, {} ms to the middle{unknown}",
                timing.offset_ms,
                ms(to_middle_ns)
            ),
            values: values.to_string(),
        }
    }

    fn alarm(&self, name: &str, kind: SensorKind, alarm: &ClockAlarm) -> Finding {
        let (rule, severity, stamp_ns) = match alarm {
            ClockAlarm::Jump { stamp_ns, .. } => ("BW-T002", Severity::Warning, *stamp_ns),
            ClockAlarm::Reset { to_ns, .. } => ("BW-T003", Severity::Warning, *to_ns),
            ClockAlarm::ReceiverReset { .. } => ("BW-T003", Severity::Warning, self.first_ns),
            ClockAlarm::Ahead { .. } => ("BW-T004", Severity::Warning, self.first_ns),
            ClockAlarm::Drift { .. } => ("BW-T005", Severity::Warning, self.first_ns),
            ClockAlarm::Behind { .. } => ("BW-T006", Severity::Info, self.first_ns),
        };
        let values = serde_json::json!({ "sensor": name, "kind": kind.as_str(), "alarm": alarm.as_str() });
        Finding {
            rule,
            severity,
            stamp_ns,
            track_id: None,
            sample_id: None,
            message: format!("{kind} {name}: {alarm}"),
            values: values.to_string(),
        }
    }
}

fn ms(ns: i64) -> f64 {
    ns as f64 / NS_PER_MS as f64
}

#[cfg(test)]
mod tests {
    use boxwright_model::SourcePosition;

    use super::*;

    fn header(stamp_ms: i64, arrival_ms: i64) -> FrameHeader {
        FrameHeader {
            vehicle: "car".into(),
            sensor: "top".into(),
            kind: SensorKind::Lidar,
            stamp_ns: stamp_ms * NS_PER_MS,
            stamp_ref: StampRef::SweepEnd,
            arrival_ns: Some(arrival_ms * NS_PER_MS),
            seq: None,
            grade: "".into(),
            position: SourcePosition { topic: "t".into(), partition: 0, offset: 0 },
        }
    }

    /// Twenty seconds at 10 Hz that arrive 8 ms after their stamp, which is off by `step_ms` in the second half.
    fn drive(step_ms: i64) -> Vec<FrameHeader> {
        (0..200).map(|i| header(100_000 + 100 * i + if i < 100 { 0 } else { step_ms }, 100_008 + 100 * i)).collect()
    }

    fn findings(frames: &[FrameHeader], sync: &MatcherConfig) -> Vec<Finding> {
        let mut times = ClipTimes::new(sync, &ClockConfig::default());
        let newest = |index: usize| frames[..index].iter().map(|frame| frame.stamp_ns).max().unwrap_or(i64::MIN);
        for (index, frame) in frames.iter().enumerate() {
            if frame.stamp_ns < newest(index) { times.late(frame) } else { times.frame(frame) }
        }
        times.finish()
    }

    fn rules(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn what_was_assumed_is_written_with_its_numbers() {
        let mut sync = MatcherConfig::default();
        let timing = boxwright_timesync::SensorTiming { offset_ms: -2.5, ..Default::default() };
        sync.timing.insert("top".to_owned(), timing);
        let found = findings(&drive(0), &sync);
        assert_eq!(rules(&found), ["BW-T001"]);
        let values: serde_json::Value = serde_json::from_str(&found[0].values).unwrap();
        let expected = [
            ("policy", serde_json::json!("approximate_time")),
            ("stamp_ref", serde_json::json!("sweep_end")),
            ("offset_ms", serde_json::json!(-2.5)),
            ("assumed_zero", serde_json::json!(["sweep_ms"])),
            ("frames", serde_json::json!(200)),
            ("period_ms", serde_json::json!(100.0)),
            ("longest_gap_ms", serde_json::json!(100.0)),
            ("least_delay_ms", serde_json::json!(8.0)),
        ];
        for (name, value) in expected {
            assert_eq!(values[name], value, "{name}");
        }
    }

    #[test]
    fn a_clock_that_jumps_or_is_set_back_is_told_with_the_step() {
        let ahead = findings(&drive(40), &MatcherConfig::default());
        assert!(ahead.iter().any(|f| f.rule == "BW-T002" && f.message.contains("jumped ahead by 40.000 ms")), "{ahead:?}");
        let reset = findings(&drive(-9_000), &MatcherConfig::default());
        assert!(reset.iter().any(|f| f.rule == "BW-T003" && f.stamp_ns == 101_000 * NS_PER_MS), "{reset:?}");
        let before = findings(
            &drive(0).into_iter().map(|f| header(f.stamp_ns / NS_PER_MS + 50, f.stamp_ns / NS_PER_MS)).collect::<Vec<_>>(),
            &MatcherConfig::default(),
        );
        assert!(rules(&before).contains(&"BW-T004"), "{before:?}");
    }

    #[test]
    fn the_order_in_which_frames_of_a_clip_are_taken_does_not_matter_to_its_clocks() {
        let frames = drive(-9_000);
        let mut kept_first = ClipTimes::new(&MatcherConfig::default(), &ClockConfig::default());
        frames[..100].iter().for_each(|frame| kept_first.frame(frame));
        frames[100..].iter().rev().for_each(|frame| kept_first.late(frame));
        assert_eq!(kept_first.finish()[1..], findings(&frames, &MatcherConfig::default())[1..]);
    }
}
