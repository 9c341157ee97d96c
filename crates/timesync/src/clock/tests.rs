//! Promises of the clock monitor, on clocks whose faults are known because they are made up.

use super::*;
use proptest::prelude::*;
use rand_like::Noise;

/// A small generator of its own, so that the made-up clocks are the same everywhere.
mod rand_like {
    pub(super) struct Noise(pub(super) u64);

    impl Noise {
        /// Even in `(0, 1]`.
        pub(super) fn even(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 11) + 1) as f64 / (1_u64 << 53) as f64
        }

        /// A delay in milliseconds with a floor and a heavy tail: Pareto of index 1.2, whose variance is infinite.
        pub(super) fn delay_ms(&mut self) -> f64 {
            3.0 + 0.2 * (self.even().powf(-1.0 / 1.2) - 1.0)
        }
    }
}

const START_NS: i64 = 1_700_000_000 * NS_PER_S;

/// Messages at 10 Hz from a clock that is `ahead_ms(t)` ahead at receiver time `t` in seconds.
fn watch(seconds: i64, ahead_ms: impl Fn(f64) -> f64, config: &ClockConfig) -> (ClockMonitor, Vec<ClockAlarm>) {
    let (mut monitor, mut noise, mut alarms) = (ClockMonitor::new(config).unwrap(), Noise(7), Vec::new());
    let mut arrival_ns = 0;
    for tick in 0..seconds * 10 {
        let true_ns = tick * NS_PER_S / 10;
        let stamp_ns = START_NS + true_ns + (ahead_ms(true_ns as f64 / 1e9) * 1e6) as i64;
        // One connection: nothing overtakes.
        arrival_ns = arrival_ns.max(START_NS + true_ns + (noise.delay_ms() * 1e6) as i64);
        monitor.push(stamp_ns, arrival_ns, &mut alarms);
    }
    (monitor, alarms)
}

#[test]
fn a_healthy_clock_behind_a_heavy_tailed_network_raises_no_alarm() {
    let (monitor, alarms) = watch(1800, |_| 0.0, &ClockConfig::default());
    assert_eq!(alarms, []);
    let estimate = monitor.estimate().unwrap();
    assert!(estimate.drift_ppm.abs() < 0.5, "{estimate:?}");
    assert!((2.9e6..3.2e6).contains(&(estimate.least_delay_ns as f64)), "{estimate:?}");
    assert_eq!(monitor.outliers(), 0);
}

#[test]
fn drift_is_measured_to_a_part_per_million_and_alarmed_once() {
    for drift_ppm in [20.0, -20.0, 45.0] {
        let (monitor, alarms) = watch(600, |t_s| drift_ppm * t_s * 1e-3, &ClockConfig::default());
        let estimate = monitor.estimate().unwrap();
        assert!((estimate.drift_ppm - drift_ppm).abs() < 1.0, "{drift_ppm} ppm: {estimate:?}");
        // 600 s at 45 ppm are 27 ms: the clock then is ahead of the messages' least delay of 3 ms, too.
        let drifts =
            alarms.iter().filter_map(|a| if let ClockAlarm::Drift { drift_ppm, .. } = a { Some(*drift_ppm) } else { None });
        let drifts = drifts.collect::<Vec<_>>();
        assert_eq!(drifts.len(), 1, "{alarms:?}");
        assert!((drifts[0] - drift_ppm).abs() < 5.0, "{alarms:?}");
        let ahead = alarms.iter().any(|alarm| matches!(alarm, ClockAlarm::Ahead { .. }));
        assert_eq!(ahead, drift_ppm > 0.0, "{alarms:?}");
    }
}

#[test]
fn a_jump_is_found_with_its_size_and_the_drift_survives_it() {
    for step_ms in [50.0, -50.0] {
        let ahead_ms = |t_s: f64| -100.0 + 3.0 * t_s * 1e-3 + if t_s >= 300.0 { step_ms } else { 0.0 };
        let (monitor, alarms) = watch(900, ahead_ms, &ClockConfig::default());
        let [ClockAlarm::Jump { stamp_ns, step_ns }] = alarms.as_slice() else { panic!("{alarms:?}") };
        assert!((*step_ns as f64 - step_ms * 1e6).abs() < 1e6, "{alarms:?}");
        assert!((stamp_ns - START_NS - 300 * NS_PER_S).abs() < 2 * NS_PER_S, "{alarms:?}");
        assert!((monitor.estimate().unwrap().drift_ppm - 3.0).abs() < 1.0, "{:?}", monitor.estimate());
    }
}

#[test]
fn a_clock_that_is_set_back_is_a_reset_and_one_stray_stamp_is_none() {
    let (_, alarms) = watch(120, |t_s| if t_s >= 60.0 { -3_600_000.0 } else { 0.0 }, &ClockConfig::default());
    assert!(
        matches!(alarms.as_slice(), [ClockAlarm::Reset { from_ns, to_ns }, ClockAlarm::Behind { .. }]
            if (from_ns - to_ns - 3600 * NS_PER_S).abs() < NS_PER_S),
        "{alarms:?}"
    );
    let stray = |ahead_ms: f64| move |t_s: f64| if (60.0..60.05).contains(&t_s) { ahead_ms } else { 0.0 };
    for ahead_ms in [5_000.0, -5_000.0] {
        let (monitor, alarms) = watch(120, stray(ahead_ms), &ClockConfig::default());
        assert_eq!((alarms.len(), monitor.outliers()), (0, 1));
    }
}

#[test]
fn a_receiver_whose_clock_is_set_back_starts_anew() {
    let (mut monitor, mut alarms) = watch(60, |_| 0.0, &ClockConfig::default());
    monitor.push(START_NS + 60 * NS_PER_S, START_NS + 10 * NS_PER_S, &mut alarms);
    assert!(matches!(alarms.as_slice(), [ClockAlarm::ReceiverReset { .. }]), "{alarms:?}");
    assert_eq!(monitor.estimate(), None);
}

#[test]
fn a_clock_that_is_far_behind_is_alarmed_with_the_number() {
    let (_, alarms) = watch(60, |_| -700.0, &ClockConfig::default());
    assert!(
        matches!(alarms.as_slice(), [ClockAlarm::Behind { least_delay_ns }] if (*least_delay_ns - 703 * NS_PER_MS).abs() < NS_PER_MS)
    );
    assert!(alarms[0].to_string().starts_with("fastest message arrives 703."), "{}", alarms[0]);
}

#[test]
fn a_short_congestion_is_no_jump() {
    let (mut monitor, mut noise, mut alarms) = (ClockMonitor::new(&ClockConfig::default()).unwrap(), Noise(3), Vec::new());
    for tick in 0..3000_i64 {
        let true_ns = START_NS + tick * NS_PER_S / 10;
        // For two seconds everything is 80 ms late, then the queue has drained.
        let congestion_ms = if (1500..1520).contains(&tick) { 80.0 } else { 0.0 };
        monitor.push(true_ns, true_ns + ((noise.delay_ms() + congestion_ms) * 1e6) as i64, &mut alarms);
    }
    assert_eq!(alarms, []);
}

#[test]
fn memory_is_bounded_by_the_window() {
    let config = ClockConfig { window_buckets: 20, ..ClockConfig::default() };
    let (monitor, _) = watch(3600, |_| 0.0, &config);
    assert_eq!(monitor.window.len(), 20);
    assert!(monitor.estimate().unwrap().span_ns <= 20 * NS_PER_S);
}

#[test]
fn numbers_out_of_range_are_refused_with_both_sides() {
    let wrong = [
        ClockConfig { bucket_ms: 0, ..ClockConfig::default() },
        ClockConfig { window_buckets: 1, ..ClockConfig::default() },
        ClockConfig { window_buckets: MAX_WINDOW_BUCKETS + 1, ..ClockConfig::default() },
        ClockConfig { jump_buckets: 0, ..ClockConfig::default() },
        ClockConfig { max_drift_ppm: -1.0, ..ClockConfig::default() },
        ClockConfig { min_jump_ms: f64::NAN, ..ClockConfig::default() },
    ];
    for config in wrong {
        let message = ClockMonitor::new(&config).unwrap_err().to_string();
        assert!(message.contains("expected") && message.contains("got"), "{message}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_nothing_grows_or_breaks(
        input in proptest::collection::vec((any::<i64>(), any::<i64>()), 0..300),
        small in any::<bool>(),
    ) {
        let config = ClockConfig { window_buckets: 12, jump_buckets: 2, ..ClockConfig::default() };
        let (mut monitor, mut alarms) = (ClockMonitor::new(&config).unwrap(), Vec::new());
        for (stamp_ns, arrival_ns) in input {
            let scale = if small { 1 << 28 } else { 1 };
            monitor.push(stamp_ns / scale, arrival_ns / scale, &mut alarms);
            prop_assert!(monitor.window.len() <= 12 && monitor.above.len() < 2 && monitor.below.len() < 3 && monitor.set_back.len() < 3);
            prop_assert!(monitor.estimate().is_none_or(|estimate| estimate.drift_ppm.is_finite()));
        }
    }

    #[test]
    fn the_hull_is_below_all_points_and_bends_upwards(heights in proptest::collection::vec(0.0..100.0_f64, 2..60)) {
        let points = heights.iter().enumerate().map(|(along, height)| (along as f64, *height)).collect::<Vec<_>>();
        let hull = lower_hull(&points);
        for edge in hull.windows(2) {
            let slope = (edge[1].1 - edge[0].1) / (edge[1].0 - edge[0].0);
            for point in &points {
                prop_assert!(point.1 >= edge[0].1 + slope * (point.0 - edge[0].0) - 1e-9);
            }
        }
    }
}
