//! The numbers of the report: samples, pairs of sensors, sensors, alarms. Memory does not grow with the samples; it does, by little, with the clips
//! (one period for each of a sensor) and with the sensors of the vehicles.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::Sample;
use boxwright_shard::StoredFinding;
use serde::Serialize;
use serde_json::Value;

/// Width of a bin of residuals, and how many there are to either side: ±250 ms, more than twice the widest set of the defaults.
const BIN_NS: i64 = 100_000;
const BINS_PER_SIDE: i64 = 2500;
/// Most points of a curve. Beyond, every second one goes: a screen shows no more.
const MAX_CURVE: usize = 2000;
/// Most pairs of sensors, those of 64: 20 kB each.
const MAX_PAIRS: usize = 2016;
/// Alarms that are listed; the rest is counted.
const MAX_ALARMS: usize = 100;

/// Everything that was counted.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) samples: u64,
    pub(super) complete: u64,
    pub(super) reasons: BTreeMap<&'static str, u64>,
    pub(super) sensors: BTreeMap<String, Sensor>,
    pub(super) pairs: BTreeMap<(String, String), Pair>,
    pub(super) alarms: Vec<String>,
    pub(super) more_alarms: u64,
}

/// One sensor of one vehicle.
#[derive(Default)]
pub(super) struct Sensor {
    pub(super) in_samples: u64,
    pub(super) missing: u64,
    pub(super) frames: u64,
    pub(super) late: u64,
    pub(super) longest_gap_ms: f64,
    periods_ms: Vec<f64>,
    pub(super) stamp_ref: String,
    pub(super) offset_ms: f64,
    pub(super) assumed_zero: Vec<String>,
    /// Least difference of arrival and stamp of each clip.
    pub(super) delays: Curve,
}

/// Differences of the instants of two sensors in one sample, the second less the first.
pub(super) struct Pair {
    counts: Vec<u32>,
    pub(super) count: u64,
    pub(super) least_ns: i64,
    pub(super) greatest_ns: i64,
    sum_ns: f64,
    pub(super) over_time: Curve,
}

/// Values over time, thinned out where they are many.
pub(super) struct Curve {
    stride: u64,
    seen: u64,
    pub(super) points: Vec<(i64, f64)>,
}

impl Default for Curve {
    fn default() -> Self {
        Self { stride: 1, seen: 0, points: Vec::new() }
    }
}

impl Curve {
    fn push(&mut self, stamp_ns: i64, value: f64) {
        if self.seen.is_multiple_of(self.stride) {
            self.points.push((stamp_ns, value));
        }
        self.seen += 1;
        if self.points.len() >= MAX_CURVE {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
        }
    }

    /// Slope of the least-squares line in parts per million of milliseconds over time; `None` with fewer than three points.
    pub(super) fn drift_ppm(&self) -> Option<f64> {
        let (first_ns, _) = *self.points.first().filter(|_| self.points.len() >= 3)?;
        let points = || self.points.iter().map(|(stamp_ns, ms)| (stamp_ns.saturating_sub(first_ns) as f64 * 1e-6, *ms));
        let count = self.points.len() as f64;
        let (mean_t, mean_v) = points().fold((0.0, 0.0), |(t, v), (at, value)| (t + at / count, v + value / count));
        let (tt, tv) = points().fold((0.0, 0.0), |(tt, tv), (t, v)| (tt + (t - mean_t).powi(2), tv + (t - mean_t) * (v - mean_v)));
        (tt > 0.0).then(|| tv / tt * 1e6)
    }
}

impl Default for Pair {
    fn default() -> Self {
        let counts = vec![0; 2 * BINS_PER_SIDE as usize + 1];
        Self { counts, count: 0, least_ns: i64::MAX, greatest_ns: i64::MIN, sum_ns: 0.0, over_time: Curve::default() }
    }
}

/// Index of the bin of a residual, the outermost for those beyond.
fn bin_of(residual_ns: i64) -> usize {
    let bin = residual_ns.saturating_add(BIN_NS / 2).div_euclid(BIN_NS).clamp(-BINS_PER_SIDE, BINS_PER_SIDE);
    (bin + BINS_PER_SIDE) as usize
}

impl Pair {
    fn push(&mut self, stamp_ns: i64, residual_ns: i64) {
        self.counts[bin_of(residual_ns)] += 1;
        self.count += 1;
        self.least_ns = self.least_ns.min(residual_ns);
        self.greatest_ns = self.greatest_ns.max(residual_ns);
        self.sum_ns += residual_ns as f64;
        self.over_time.push(stamp_ns, residual_ns as f64 * 1e-6);
    }

    pub(super) fn mean_ms(&self) -> f64 {
        self.sum_ns / self.count.max(1) as f64 * 1e-6
    }

    /// To a tenth of a millisecond.
    pub(super) fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let found = self.counts.iter().position(|count| {
            below += u64::from(*count);
            below >= wanted
        });
        (found.unwrap_or_default() as i64 - BINS_PER_SIDE) as f64 * 0.1
    }

    /// Counts between the least and the greatest residual in `bars` bars of equal width.
    pub(super) fn bars(&self, bars: usize) -> Vec<u64> {
        let (first, last) = (bin_of(self.least_ns), bin_of(self.greatest_ns));
        let mut found = vec![0; bars];
        for (index, count) in self.counts.iter().enumerate().take(last.saturating_add(1)).skip(first) {
            found[(index - first) * bars / (last.saturating_sub(first) + 1)] += u64::from(*count);
        }
        found
    }
}

impl Sensor {
    pub(super) fn missing_share(&self) -> f64 {
        self.missing as f64 / (self.missing + self.in_samples).max(1) as f64
    }

    /// Median over clips.
    pub(super) fn period_ms(&self) -> Option<f64> {
        let mut sorted = self.periods_ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

impl Tally {
    pub(super) fn sample(&mut self, vehicle: &str, sample: &Sample) {
        self.samples += 1;
        self.complete += u64::from(sample.missing.is_empty());
        *self.reasons.entry(sample.reason.as_str()).or_default() += 1;
        let name = |sensor: &Arc<str>| format!("{vehicle}/{sensor}");
        for member in &sample.members {
            self.sensors.entry(name(&member.sensor)).or_default().in_samples += 1;
        }
        for sensor in &sample.missing {
            self.sensors.entry(name(sensor)).or_default().missing += 1;
        }
        for (index, first) in sample.members.iter().enumerate() {
            for second in &sample.members[index + 1..] {
                let key = (name(&first.sensor), name(&second.sensor));
                if self.pairs.len() < MAX_PAIRS || self.pairs.contains_key(&key) {
                    let residual_ns = second.residual_ns.saturating_sub(first.residual_ns);
                    self.pairs.entry(key).or_default().push(sample.stamp_ns, residual_ns);
                }
            }
        }
    }

    pub(super) fn finding(&mut self, vehicle: &str, finding: &StoredFinding) {
        match &*finding.rule {
            "BW-T001" => {
                if let Ok(values) = serde_json::from_str(&finding.values) {
                    self.assumed(vehicle, finding.stamp_ns, &values);
                }
            }
            rule if rule.starts_with("BW-T") || rule.starts_with("BW-C") => {
                if self.alarms.len() < MAX_ALARMS {
                    self.alarms.push(format!("{rule} {vehicle}: {}", finding.message));
                } else {
                    self.more_alarms += 1;
                }
            }
            _ => {}
        }
    }

    fn assumed(&mut self, vehicle: &str, stamp_ns: i64, values: &Value) {
        let text = |name: &str| values[name].as_str().unwrap_or_default().to_owned();
        let sensor = self.sensors.entry(format!("{vehicle}/{}", text("sensor"))).or_default();
        sensor.frames += values["frames"].as_u64().unwrap_or_default();
        sensor.late += values["late"].as_u64().unwrap_or_default();
        sensor.longest_gap_ms = sensor.longest_gap_ms.max(values["longest_gap_ms"].as_f64().unwrap_or_default());
        sensor.periods_ms.extend(values["period_ms"].as_f64());
        sensor.stamp_ref = text("stamp_ref");
        sensor.offset_ms = values["offset_ms"].as_f64().unwrap_or_default();
        let names = values["assumed_zero"].as_array().into_iter().flatten();
        sensor.assumed_zero = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
        if let Some(delay_ms) = values["least_delay_ms"].as_f64() {
            sensor.delays.push(stamp_ns, delay_ms);
        }
    }

    pub(super) fn completeness(&self) -> f64 {
        self.complete as f64 / self.samples.max(1) as f64
    }

    /// What `--json` prints.
    pub(super) fn report(&self) -> Report<'_> {
        let sensors = self.sensors.iter().map(|(name, sensor)| SensorReport {
            sensor: name,
            frames: sensor.frames,
            in_samples: sensor.in_samples,
            missing: sensor.missing,
            missing_share: sensor.missing_share(),
            late: sensor.late,
            period_ms: sensor.period_ms(),
            longest_gap_ms: sensor.longest_gap_ms,
            stamp_ref: &sensor.stamp_ref,
            offset_ms: sensor.offset_ms,
            assumed_zero: &sensor.assumed_zero,
            drift_ppm: sensor.delays.drift_ppm().map(|ppm| -ppm),
        });
        let pairs = self.pairs.iter().map(|((first, second), pair)| PairReport {
            first,
            second,
            samples: pair.count,
            mean_ms: pair.mean_ms(),
            p05_ms: pair.quantile_ms(0.05),
            median_ms: pair.quantile_ms(0.5),
            p95_ms: pair.quantile_ms(0.95),
            least_ms: pair.least_ns as f64 * 1e-6,
            greatest_ms: pair.greatest_ns as f64 * 1e-6,
            drift_ppm: pair.over_time.drift_ppm(),
        });
        Report {
            samples: self.samples,
            completeness: self.completeness(),
            reasons: &self.reasons,
            sensors: sensors.collect(),
            pairs: pairs.collect(),
            alarms: &self.alarms,
            alarms_not_listed: self.more_alarms,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Report<'a> {
    samples: u64,
    completeness: f64,
    reasons: &'a BTreeMap<&'static str, u64>,
    sensors: Vec<SensorReport<'a>>,
    pairs: Vec<PairReport<'a>>,
    alarms: &'a [String],
    alarms_not_listed: u64,
}

#[derive(Serialize)]
struct SensorReport<'a> {
    sensor: &'a str,
    frames: u64,
    in_samples: u64,
    missing: u64,
    missing_share: f64,
    late: u64,
    period_ms: Option<f64>,
    longest_gap_ms: f64,
    stamp_ref: &'a str,
    offset_ms: f64,
    assumed_zero: &'a [String],
    /// How much faster its clock runs than the receiver's, by the least delays of the clips.
    drift_ppm: Option<f64>,
}

#[derive(Serialize)]
struct PairReport<'a> {
    first: &'a str,
    second: &'a str,
    samples: u64,
    mean_ms: f64,
    p05_ms: f64,
    median_ms: f64,
    p95_ms: f64,
    least_ms: f64,
    greatest_ms: f64,
    /// Slope of the residual over time.
    drift_ppm: Option<f64>,
}

#[cfg(test)]
mod tests {
    use boxwright_model::{SampleMember, SampleReason};

    use super::*;

    fn sample(number: i64, camera_ns: Option<i64>) -> Sample {
        let stamp_ns = 1_000_000_000 + number * 100_000_000;
        let member =
            |sensor: &str, residual_ns| SampleMember { sensor: sensor.into(), stamp_ns: stamp_ns + residual_ns, residual_ns };
        let mut members: Vec<_> = camera_ns.map(|residual_ns| member("front", residual_ns)).into_iter().collect();
        members.push(member("top", 0));
        let missing = if camera_ns.is_none() { vec!["front".into()] } else { Vec::new() };
        Sample { sample_id: "s".into(), stamp_ns, members, missing, reason: SampleReason::Matched }
    }

    #[test]
    fn residuals_missing_frames_and_drift_are_those_that_were_put_in() {
        let mut tally = Tally::default();
        // Ten milliseconds after the lidar, 20 µs more each second, and every tenth one lost.
        (0..1000).for_each(|i| tally.sample("car", &sample(i, (i % 10 != 9).then_some(10_000_000 + 2_000 * i))));
        assert!((tally.completeness() - 0.9).abs() < 1e-9 && (tally.sensors["car/front"].missing_share() - 0.1).abs() < 1e-9);
        let pair = &tally.pairs[&("car/front".to_owned(), "car/top".to_owned())];
        assert_eq!((pair.count, pair.least_ns, pair.greatest_ns), (900, -11_996_000, -10_000_000));
        assert!((pair.quantile_ms(0.5) + 11.0).abs() < 0.11, "{}", pair.quantile_ms(0.5));
        assert!((pair.over_time.drift_ppm().unwrap() + 20.0).abs() < 0.01, "{:?}", pair.over_time.drift_ppm());
        assert_eq!(pair.bars(7).iter().sum::<u64>(), 900);
    }

    #[test]
    fn the_widest_residuals_are_counted_in_the_outermost_bins() {
        let mut pair = Pair::default();
        assert_eq!(pair.bars(3).iter().sum::<u64>(), 0);
        [i64::MIN, i64::MAX, 0].into_iter().for_each(|ns| pair.push(ns, ns));
        assert_eq!((pair.count, pair.least_ns, pair.greatest_ns), (3, i64::MIN, i64::MAX));
        assert_eq!(pair.bars(3), [1, 1, 1]);
        assert!(pair.over_time.drift_ppm().is_some_and(f64::is_finite));
    }

    #[test]
    fn memory_does_not_grow_with_the_number_of_samples() {
        let mut tally = Tally::default();
        (0..20_000).for_each(|i| tally.sample("car", &sample(i, Some(i64::MAX / 4))));
        let pair = tally.pairs.values().next().unwrap();
        assert!(pair.over_time.points.len() < MAX_CURVE && pair.count == 20_000);
        assert!(pair.over_time.points.is_sorted_by_key(|(stamp_ns, _)| *stamp_ns));
    }
}
