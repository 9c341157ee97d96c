//! Sweeps that show nothing: of which hardly a point can be used.
//!
//! | rule | severity | says |
//! | --- | --- | --- |
//! | BW-S001 | warning | sweeps of which hardly a point can be used: no numbers, beyond the range, on the vehicle itself |
//!
//! They are stored and labelled as any other, so their samples have no boxes of their own; without the finding that would look like an empty street.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_label::clean::CleanCounts;
use boxwright_model::{Finding, Severity};

/// A sweep shows nothing where fewer than one in so many points can be used. Clouds with a place for every beam hold as many places without an echo as
/// with one under an open sky; a twentieth that is left is no street.
const LEAST_SHARE: u64 = 20;

/// The sweeps of one clip that show nothing, a line a sensor.
#[derive(Debug, Default)]
pub(super) struct Blind {
    by_sensor: BTreeMap<Arc<str>, (u64, i64, CleanCounts)>,
}

impl Blind {
    /// Looks at what was left of a sweep.
    pub(super) fn note(&mut self, sensor: &Arc<str>, stamp_ns: i64, counts: CleanCounts) {
        if counts.kept.saturating_mul(LEAST_SHARE) >= counts.input {
            return;
        }
        let (sweeps, ..) = self.by_sensor.entry(sensor.clone()).or_insert((0, stamp_ns, counts));
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
                    "{sweeps} sweeps of {sensor} show nothing: expected most points to be usable, got {kept} of {input} in the first \
                     ({not_finite} not finite, {out_of_range} beyond the range, {ego_vehicle} on the vehicle itself)"
                ),
                values: serde_json::json!({ "sensor": &*sensor, "sweeps": sweeps, "first": first }).to_string(),
            }
        };
        self.by_sensor.into_iter().map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sweeps_that_show_nothing_are_told_and_once_a_sensor() {
        let (top, rear): (Arc<str>, Arc<str>) = ("top".into(), "rear".into());
        let counts = |input, kept| CleanCounts { input, kept, not_finite: input - kept, ..CleanCounts::default() };
        let mut blind = Blind::default();
        blind.note(&top, 1, counts(120_000, 6_000));
        blind.note(&rear, 2, counts(120_000, 5_999));
        blind.note(&rear, 3, counts(120_000, 0));
        // A sweep without points is dropped before, and counted there.
        blind.note(&top, 4, CleanCounts::default());
        let found = blind.finish();
        let told: Vec<(i64, bool)> = found.iter().map(|one| (one.stamp_ns, one.message.contains("of rear show nothing"))).collect();
        assert_eq!(told, [(2, true)]);
        assert!(
            found[0].message.starts_with("2 sweeps") && found[0].message.contains("got 5999 of 120000"),
            "{}",
            found[0].message
        );
    }
}
