//! What moment a stamp names, and how to get from there to an instant at which sensors are comparable.
//!
//! A lidar sweep takes a tenth of a second and an image some milliseconds, and makers stamp them at the start, the middle, the end or the
//! trigger. Matching raw stamps is then wrong by up to half a sweep (nuScenes stamps sweeps at their end, Waymo at their start, an image
//! is stamped at its trigger). The comparable instant is **the middle of the measurement**:
//!
//! ```text
//! camera   trigger ─delay─▶ first row exposes ├──exposure──┤
//!                               last row exposes ├──exposure──┤      readout = last row's begin less first row's
//!          middle = begin of the first row + (readout + exposure) / 2
//! lidar    first firing ├──────────sweep──────────┤ last firing
//!          middle = first firing + sweep / 2
//! ```
//!
//! What is not known counts as zero and is said ([`SensorTiming::assumed_zero`]), never guessed. A rig whose cameras are triggered when the
//! beam of the lidar crosses them is comparable at that moment instead: give each such camera the offset of its azimuth in the sweep.

use boxwright_model::StampRef;
use boxwright_model::time::NS_PER_MS;
use serde::Deserialize;

use crate::motion::{Spin, SpinDirection};

/// Longest duration that is believed: a century. Beyond it sums of durations and stamps come near the end of the range.
const MAX_DURATION_MS: f64 = 100.0 * 365.25 * 86_400e3;

/// What is known of the timing of one sensor.
#[derive(Clone, Debug, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SensorTiming {
    /// Added to the stamp: the negative of how much the sensor's clock is ahead.
    pub offset_ms: f64,
    /// What its stamps name; unset for what the messages say.
    pub stamp_ref: Option<StampRef>,
    /// How long each row is exposed.
    pub exposure_ms: Option<f64>,
    /// Time from the begin of the first row to that of the last one; 0 for a global shutter.
    pub readout_ms: Option<f64>,
    /// Time from the trigger to the begin of the exposure.
    pub trigger_delay_ms: Option<f64>,
    /// Duration of a sweep.
    pub sweep_ms: Option<f64>,
    /// Which way a lidar turns.
    pub spin: Option<SpinDirection>,
    /// Where its sweep begins: 0 ahead, 90 to the left, in degrees.
    pub start_azimuth_deg: Option<f64>,
    /// The vehicle's own motion is out of its points already, as many data sets give them. Their times are kept for what else moves.
    pub deskewed: bool,
}

/// A timing that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TimingError {
    /// A duration that is none.
    #[error("expected {name} to be a number of milliseconds within a century{sign}, got {got}")]
    Duration {
        /// The option.
        name: &'static str,
        /// Whether it may be negative.
        sign: &'static str,
        /// What was configured.
        got: String,
    },
    /// A start that is no angle.
    #[error("expected start_azimuth_deg of -360 to 360, got {0}")]
    Azimuth(f64),
    /// Part of what is needed to give points the times of their azimuths.
    #[error("expected spin, start_azimuth_deg and a sweep_ms above 0 together, got {0}\nhint: name all three, or sweep_ms alone")]
    Spin(String),
}

impl SensorTiming {
    /// Whether every duration is one.
    ///
    /// # Errors
    /// When one is negative, too long or no number (the offset may be negative).
    pub fn validate(&self) -> Result<(), TimingError> {
        if ms_to_ns_f64(self.offset_ms).is_none() {
            return Err(TimingError::Duration { name: "offset_ms", sign: "", got: self.offset_ms.to_string() });
        }
        let durations = [
            ("exposure_ms", self.exposure_ms),
            ("readout_ms", self.readout_ms),
            ("trigger_delay_ms", self.trigger_delay_ms),
            ("sweep_ms", self.sweep_ms),
        ];
        let wrong = |ms: &f64| *ms < 0.0 || ms_to_ns_f64(*ms).is_none();
        match durations.into_iter().find_map(|(name, ms)| Some((name, ms.filter(wrong)?))) {
            Some((name, ms)) => Err(TimingError::Duration { name, sign: " and not negative", got: ms.to_string() }),
            None => self.validate_spin(),
        }
    }

    fn validate_spin(&self) -> Result<(), TimingError> {
        if let Some(azimuth_deg) = self.start_azimuth_deg.filter(|azimuth_deg| !(-360.0..=360.0).contains(azimuth_deg)) {
            return Err(TimingError::Azimuth(azimuth_deg));
        }
        let told = [("spin", self.spin.is_some()), ("start_azimuth_deg", self.start_azimuth_deg.is_some())];
        let got: Vec<&str> = told.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
        if got.is_empty() || self.spin().is_some() {
            return Ok(());
        }
        Err(TimingError::Spin(format!("{} with sweep_ms = {:?}", got.join(" and "), self.sweep_ms)))
    }

    /// How the lidar turns, where it is told.
    #[must_use]
    pub fn spin(&self) -> Option<Spin> {
        let sweep_ns = ms_to_ns_f64(self.sweep_ms?).filter(|sweep_ns| *sweep_ns > 0)?;
        Some(Spin { direction: self.spin?, start_azimuth_rad: self.start_azimuth_deg?.to_radians(), sweep_ns })
    }

    /// What is added to the stamps.
    #[must_use]
    pub fn offset_ns(&self) -> i64 {
        ms_to_ns_f64(self.offset_ms).unwrap_or(0)
    }

    /// The middle of the measurement.
    #[must_use]
    pub fn instant_ns(&self, stamp_ns: i64, stamp_ref: StampRef) -> i64 {
        let parts = self.parts(stamp_ref);
        let ms = self.offset_ms + parts.iter().map(|(_, ms, share)| ms.unwrap_or(0.0) * share).sum::<f64>();
        stamp_ns.saturating_add(ms_to_ns_f64(ms).unwrap_or(0))
    }

    /// The options that [`Self::instant_ns`] would need for this kind of stamp but does not have.
    #[must_use]
    pub fn assumed_zero(&self, stamp_ref: StampRef) -> Vec<&'static str> {
        let unknown = |(name, ms, _): &(&'static str, Option<f64>, f64)| ms.is_none().then_some(*name);
        let mut names = self.parts(stamp_ref).iter().filter_map(unknown).collect::<Vec<_>>();
        if self.effective(stamp_ref) == StampRef::Instant {
            names.push("stamp_ref");
        }
        names
    }

    /// What the stamps name: what is configured, else what the message says.
    #[must_use]
    pub fn effective(&self, stamp_ref: StampRef) -> StampRef {
        self.stamp_ref.unwrap_or(stamp_ref)
    }

    /// What lies between the stamp and the middle: option, value and share.
    fn parts(&self, stamp_ref: StampRef) -> Vec<(&'static str, Option<f64>, f64)> {
        let exposure = |share| ("exposure_ms", self.exposure_ms, share);
        let readout = |share| ("readout_ms", self.readout_ms, share);
        match self.effective(stamp_ref) {
            StampRef::ExposureStart => vec![exposure(0.5), readout(0.5)],
            StampRef::Trigger => vec![("trigger_delay_ms", self.trigger_delay_ms, 1.0), exposure(0.5), readout(0.5)],
            StampRef::ReadoutEnd => vec![exposure(-0.5), readout(-0.5)],
            StampRef::SweepStart => vec![("sweep_ms", self.sweep_ms, 0.5)],
            StampRef::SweepEnd => vec![("sweep_ms", self.sweep_ms, -0.5)],
            StampRef::ExposureMid | StampRef::SweepMid | StampRef::Instant => Vec::new(),
        }
    }
}

/// Milliseconds as whole nanoseconds; `None` for what is no number or longer than a century.
pub(crate) fn ms_to_ns_f64(ms: f64) -> Option<i64> {
    (ms.abs() <= MAX_DURATION_MS).then(|| (ms * NS_PER_MS as f64).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera() -> SensorTiming {
        SensorTiming {
            exposure_ms: Some(10.0),
            readout_ms: Some(30.0),
            trigger_delay_ms: Some(1.5),
            sweep_ms: Some(100.0),
            ..SensorTiming::default()
        }
    }

    #[test]
    fn every_kind_of_stamp_leads_to_the_same_middle() {
        // First row begins at 0 ms, last row at 30 ms and ends at 40 ms: the middle is at 20 ms.
        let stamps_us = [
            (StampRef::ExposureStart, 0, 20_000),
            (StampRef::ExposureMid, 20_000, 20_000),
            (StampRef::Trigger, -1_500, 20_000),
            (StampRef::ReadoutEnd, 40_000, 20_000),
            (StampRef::SweepStart, 0, 50_000),
            (StampRef::SweepMid, 50_000, 50_000),
            (StampRef::SweepEnd, 100_000, 50_000),
            (StampRef::Instant, 7_000, 7_000),
        ];
        for (stamp_ref, stamp_us, middle_us) in stamps_us {
            assert_eq!(camera().instant_ns(stamp_us * 1000, stamp_ref), middle_us * 1000, "{stamp_ref}");
        }
    }

    #[test]
    fn the_offset_is_added_and_the_configured_reference_overrules_the_message() {
        let timing = SensorTiming { offset_ms: -0.25, stamp_ref: Some(StampRef::SweepEnd), ..camera() };
        assert_eq!(timing.instant_ns(100 * NS_PER_MS, StampRef::SweepStart), 50 * NS_PER_MS - 250_000);
    }

    #[test]
    fn what_is_unknown_counts_as_zero_and_is_said() {
        let nothing = SensorTiming::default();
        assert_eq!(nothing.instant_ns(5, StampRef::Trigger), 5);
        assert_eq!(nothing.assumed_zero(StampRef::Trigger), ["trigger_delay_ms", "exposure_ms", "readout_ms"]);
        assert_eq!(nothing.assumed_zero(StampRef::SweepEnd), ["sweep_ms"]);
        assert_eq!(nothing.assumed_zero(StampRef::Instant), ["stamp_ref"]);
        assert!(nothing.assumed_zero(StampRef::SweepMid).is_empty() && camera().assumed_zero(StampRef::Trigger).is_empty());
    }

    #[test]
    fn a_spin_is_told_whole_or_refused() {
        let whole = SensorTiming { spin: Some(SpinDirection::Clockwise), start_azimuth_deg: Some(180.0), ..camera() };
        assert_eq!(whole.validate(), Ok(()));
        assert_eq!(whole.spin().map(|spin| (spin.sweep_ns, spin.direction)), Some((100 * NS_PER_MS, SpinDirection::Clockwise)));
        let without_start = SensorTiming { start_azimuth_deg: None, ..whole.clone() }.validate().unwrap_err().to_string();
        assert!(without_start.contains("got spin with sweep_ms = Some(100.0)"), "{without_start}");
        let without_sweep = SensorTiming { sweep_ms: None, ..whole.clone() }.validate().unwrap_err().to_string();
        assert!(without_sweep.contains("got spin and start_azimuth_deg with sweep_ms = None"), "{without_sweep}");
        assert_eq!(SensorTiming { start_azimuth_deg: Some(400.0), ..whole }.validate(), Err(TimingError::Azimuth(400.0)));
        assert_eq!(camera().spin(), None);
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_name() {
        let wrong = [
            (SensorTiming { offset_ms: f64::NAN, ..camera() }, "offset_ms"),
            (SensorTiming { exposure_ms: Some(-1.0), ..camera() }, "exposure_ms"),
            (SensorTiming { sweep_ms: Some(1e300), ..camera() }, "sweep_ms"),
        ];
        for (timing, name) in wrong {
            let message = timing.validate().unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("expected") && message.contains("got"), "{message}");
        }
        assert_eq!(SensorTiming { offset_ms: -3.0, ..camera() }.validate(), Ok(()));
    }
}
