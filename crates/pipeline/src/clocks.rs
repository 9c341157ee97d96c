//! The clocks of a vehicle's sensors over clips and hours: what goes to the log and the metrics, and never into a shard.
//!
//! A worker that starts again knows nothing of before, so nothing that is written may depend on this.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::{FrameHeader, SensorKind};
use boxwright_timesync::{ClockAlarm, ClockConfig, ClockMonitor};

use crate::metrics::Metrics;

/// Most sensors of a vehicle that are watched: four times what takes part in samples. Each costs up to [`ClockConfig::window_buckets`] pairs
/// of numbers.
const MAX_SENSORS: usize = 256;

/// Watches one vehicle.
#[derive(Debug)]
pub(crate) struct VehicleClocks {
    config: ClockConfig,
    monitors: BTreeMap<(Arc<str>, SensorKind), ClockMonitor>,
}

impl VehicleClocks {
    pub(crate) fn new(config: &ClockConfig) -> Self {
        Self { config: config.clone(), monitors: BTreeMap::new() }
    }

    /// Takes a message in the order of its reading. Poses are watched too; calibration has no clock.
    pub(crate) fn saw(&mut self, header: &FrameHeader, metrics: &Metrics) {
        for alarm in self.alarms(header) {
            metrics.clock_alarm(&alarm);
            tracing::warn!(vehicle = &*header.vehicle, sensor = &*header.sensor, kind = header.kind.as_str(), "{alarm}");
        }
    }

    fn alarms(&mut self, header: &FrameHeader) -> Vec<ClockAlarm> {
        let mut alarms = Vec::new();
        let Some(arrival_ns) = header.arrival_ns.filter(|_| has_clock(header.kind)) else { return alarms };
        let name = (header.sensor.clone(), header.kind);
        if !self.monitors.contains_key(&name) {
            // The configuration was checked when it was read.
            let monitor = ClockMonitor::new(&self.config).ok().filter(|_| self.monitors.len() < MAX_SENSORS);
            let Some(monitor) = monitor else { return alarms };
            self.monitors.insert(name.clone(), monitor);
        }
        if let Some(monitor) = self.monitors.get_mut(&name) {
            monitor.push(header.stamp_ns, arrival_ns, &mut alarms);
        }
        alarms
    }
}

/// Calibrations are sent whenever somebody likes, and boxes of a detector when it is done with their sweep: neither tells of a clock.
pub(crate) fn has_clock(kind: SensorKind) -> bool {
    !matches!(kind, SensorKind::Calibration | SensorKind::Detections)
}
