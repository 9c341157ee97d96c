//! Promises of the synchroniser beyond the recorded cases.

use super::*;
use crate::policy::{DropCause, Policy, Stamped, SyncEvent};
use proptest::prelude::*;

fn config(topics: usize) -> ApproximateConfig {
    ApproximateConfig { topics, queue_size: 10, age_penalty: 0.1, max_interval_ns: None, lower_bounds_ns: Vec::new() }
}

#[test]
fn durations_scale_as_in_extended_precision() {
    // 1.15 as a double is a little less than 1.15; a product of doubles would round 20 * 1.15 up to 23.
    assert_eq!(Scale::new(1.15).apply(20), 22);
    assert_eq!(Scale::new(1.1).apply(10), 11);
    assert_eq!(Scale::new(1.1).apply(-15), -16);
    assert_eq!(Scale::new(1.0).apply(i64::MAX), i64::MAX);
    assert_eq!(Scale::new(2.0).apply(i64::MAX), i64::MAX);
    assert_eq!(Scale::new(1e300).apply(1), i64::MAX);
    assert_eq!(Scale::new(1e300).apply(0), 0);
}

#[test]
fn numbers_out_of_range_are_refused_with_both_sides() {
    let wrong = [
        ApproximateConfig { topics: 0, ..config(2) },
        ApproximateConfig { topics: MAX_TOPICS + 1, ..config(2) },
        ApproximateConfig { queue_size: 0, ..config(2) },
        ApproximateConfig { age_penalty: -0.1, ..config(2) },
        ApproximateConfig { age_penalty: f64::NAN, ..config(2) },
        ApproximateConfig { max_interval_ns: Some(-1), ..config(2) },
        ApproximateConfig { lower_bounds_ns: vec![0], ..config(2) },
        ApproximateConfig { lower_bounds_ns: vec![0, -5], ..config(2) },
    ];
    for config in wrong {
        let message = ApproximateTime::new(&config).unwrap_err().to_string();
        assert!(message.contains("expected") && message.contains("got"), "{message}");
    }
}

#[test]
fn a_set_that_waits_for_proof_is_not_lost_at_the_end() {
    let mut synchroniser = ApproximateTime::new(&config(2)).unwrap();
    let mut out = Vec::new();
    for (topic, stamp_ns) in [(0, 0), (1, 1)] {
        synchroniser.push(topic, Stamped::new(stamp_ns, 0), &mut out);
    }
    assert!(out.is_empty());
    synchroniser.settle(&mut out);
    assert!(matches!(out.as_slice(), [SyncEvent::Set(set)] if set.len() == 2));
}

#[test]
fn a_topic_that_does_not_exist_gets_its_message_back() {
    let mut out = Vec::new();
    let stamped = Stamped::new(5, 7);
    ApproximateTime::new(&config(1)).unwrap().push(1, stamped, &mut out);
    assert_eq!(out, [SyncEvent::Dropped { topic: 1, stamped, cause: DropCause::UnknownTopic }]);
}

proptest! {
    #[test]
    fn every_message_is_in_one_set_or_dropped_once(
        topics in 1_usize..5,
        queue_size in 1_usize..12,
        age_penalty in 0.0..1.0,
        max_interval_ns in proptest::option::of(0_i64..60),
        bound in 0_i64..20,
        input in proptest::collection::vec((0_usize..5, 0_i64..400), 0..200),
        settle in any::<bool>(),
    ) {
        let config = ApproximateConfig { topics, queue_size, age_penalty, max_interval_ns, lower_bounds_ns: vec![bound; topics] };
        let mut synchroniser = ApproximateTime::new(&config).unwrap();
        let mut out = Vec::new();
        for (token, (topic, stamp_ns)) in input.iter().enumerate() {
            synchroniser.push(topic % topics, Stamped::new(*stamp_ns, token as u64), &mut out);
            prop_assert!(synchroniser.held() <= queue_size * topics);
        }
        if settle {
            synchroniser.settle(&mut out);
        }
        synchroniser.clear(&mut out);
        let mut seen = vec![0; input.len()];
        for event in &out {
            match event {
                SyncEvent::Set(set) => {
                    prop_assert_eq!(set.len(), topics);
                    let width = set.iter().map(|s| s.stamp_ns).max().unwrap() - set.iter().map(|s| s.stamp_ns).min().unwrap();
                    prop_assert!(max_interval_ns.is_none_or(|limit| width <= limit));
                    set.iter().for_each(|stamped| seen[stamped.token as usize] += 1);
                }
                SyncEvent::Partial(_) => prop_assert!(false, "partial"),
                SyncEvent::Dropped { stamped, .. } => seen[stamped.token as usize] += 1,
            }
        }
        prop_assert!(seen.iter().all(|count| *count == 1), "{:?}", seen);
    }
}
