//! Sweeps that show nothing: of which hardly a point can be used.
//!
//! | rule | severity | says |
//! | --- | --- | --- |
//! | BW-S001 | warning | sweeps of which hardly a point can be used: no numbers, beyond the range, on the vehicle itself |
//!
//! They are stored and labelled as any other; without the finding, what they do not show would look like an empty street.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_label::clean::{CleanConfig, CleanCounts, count};
use boxwright_model::{Finding, Severity};

use super::ReadySweep;

/// A sweep shows nothing where fewer than one in so many points can be used. Clouds with a place for every beam hold as many places without an echo as
/// with one under an open sky; a twentieth that is left is no street.
const LEAST_SHARE: u64 = 20;

/// The sweeps of one clip that show nothing, a line a sensor.
#[derive(Debug)]
pub(super) struct Blind {
    config: CleanConfig,
    by_sensor: BTreeMap<Arc<str>, (u64, i64, CleanCounts)>,
}

impl Blind {
    pub(super) fn new(config: CleanConfig) -> Self {
        Self { config, by_sensor: BTreeMap::new() }
    }

    /// Looks at a sweep before it becomes one cloud with those of other lidars.
    pub(super) fn look(&mut self, sweep: &ReadySweep) {
        let counts = count(&sweep.points, sweep.lidar_origin_ego_m, &self.config);
        if counts.kept.saturating_mul(LEAST_SHARE) >= counts.input {
            return;
        }
        let (sweeps, ..) = self.by_sensor.entry(sweep.sensor.clone()).or_insert((0, sweep.stamp_ns, counts));
        *sweeps += 1;
    }

    pub(super) fn finish(self) -> Vec<Finding> {
        let finding = |(sensor, (sweeps, stamp_ns, first)): (Arc<str>, (u64, i64, CleanCounts))| {
            let CleanCounts { input, kept, not_finite, out_of_range, ego_vehicle } = first;
            Finding {
                rule: "BW-S001",
                severity: Severity::Warning,
                stamp_ns,
                track_id: None,
                sample_id: None,
                message: format!(
                    "{sweeps} sweeps of {sensor} show nothing: expected one of {LEAST_SHARE} points to be usable, got {kept} of {input} in the \
                     first ({not_finite} not finite, {out_of_range} beyond the range, {ego_vehicle} on the vehicle itself); hint: the lidar's \
                     driver, its transform, or [label.clean] max_range_m"
                ),
                values: serde_json::json!({ "sensor": &*sensor, "sweeps": sweeps, "first": first }).to_string(),
            }
        };
        self.by_sensor.into_iter().map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use boxwright_model::PointCloud;

    use super::*;

    #[test]
    fn only_sweeps_that_show_nothing_are_told_and_once_a_sensor() {
        let sweep = |sensor: &str, stamp_ns: i64, usable: usize| {
            let x: Vec<f32> = (0..1000).map(|index| if index < usable { 10.0 } else { f32::NAN }).collect();
            let points = PointCloud { y: x.clone(), z: vec![0.0; x.len()], x, ..PointCloud::default() };
            ReadySweep {
                sensor: sensor.into(),
                stamp_ns,
                common_ns: stamp_ns,
                points: Arc::new(points),
                lidar_origin_ego_m: [0.0; 3],
            }
        };
        let mut blind = Blind::new(CleanConfig::default());
        for (sensor, stamp_ns, usable) in [("top", 1, 50), ("rear", 2, 49), ("rear", 3, 0), ("top", 4, 1000)] {
            blind.look(&sweep(sensor, stamp_ns, usable));
        }
        let found = blind.finish();
        assert_eq!(found.iter().map(|one| one.stamp_ns).collect::<Vec<_>>(), [2]);
        assert!(
            found[0].message.starts_with("2 sweeps of rear") && found[0].message.contains("got 49 of 1000"),
            "{}",
            found[0].message
        );
    }
}
