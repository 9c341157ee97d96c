//! Promises of the matcher.

use super::*;
use crate::policy::config::*;
use proptest::prelude::*;

fn frame(sensor: &str, stamp_ms: i64) -> MatchFrame {
    let kind = if sensor.starts_with("lidar") { SensorKind::Lidar } else { SensorKind::Camera };
    MatchFrame { sensor: sensor.into(), kind, stamp_ns: stamp_ms * NS_PER_MS, stamp_ref: StampRef::Instant, token: stamp_ms as u64 }
}

fn matcher(config: MatcherConfig) -> Matcher {
    Matcher::new(&config, "car".into()).unwrap()
}

/// Pushes every sensor's frames at the given stamps in canonical order, then ends the clip.
fn run(config: MatcherConfig, sensors: &[(&str, Vec<i64>)]) -> Vec<MatchEvent> {
    let mut frames: Vec<_> = sensors.iter().flat_map(|(name, stamps)| stamps.iter().map(|stamp| frame(name, *stamp))).collect();
    frames.sort_by(|a, b| (a.stamp_ns, a.kind, &a.sensor).cmp(&(b.stamp_ns, b.kind, &b.sensor)));
    let (mut matcher, mut out) = (matcher(config), Vec::new());
    frames.into_iter().for_each(|frame| matcher.push(frame, &mut out));
    matcher.finish(&mut out);
    out
}

fn every_100(from_ms: i64, to_ms: i64) -> Vec<i64> {
    (from_ms..to_ms).step_by(100).collect()
}

fn samples(events: &[MatchEvent]) -> Vec<Sample> {
    let sample = |event: &MatchEvent| if let MatchEvent::Sample { sample, .. } = event { Some(sample.clone()) } else { None };
    events.iter().filter_map(sample).collect()
}

fn count(samples: &[Sample], reason: SampleReason, members: usize) -> usize {
    samples.iter().filter(|sample| sample.reason == reason && sample.members.len() == members).count()
}

#[test]
fn frames_of_one_moment_become_one_sample() {
    let sensors = [("lidar", every_100(0, 3000)), ("cam_a", every_100(10, 3000)), ("cam_b", every_100(20, 3000))];
    let samples = samples(&run(MatcherConfig::default(), &sensors));
    assert_eq!((samples.len(), count(&samples, SampleReason::Matched, 3)), (30, 30));
    let second = &samples[1];
    assert_eq!((&*second.sample_id, second.stamp_ns), ("car:100000000", 100 * NS_PER_MS));
    let members = second.members.iter().map(|member| (&*member.sensor, member.residual_ns / NS_PER_MS)).collect::<Vec<_>>();
    assert_eq!(members, [("cam_a", 10), ("cam_b", 20), ("lidar", 0)]);
}

#[test]
fn the_newest_set_of_a_clip_is_not_lost() {
    let samples = samples(&run(MatcherConfig::default(), &[("lidar", vec![0, 100]), ("cam", vec![30, 130])]));
    assert_eq!(count(&samples, SampleReason::Matched, 2), 2);
}

#[test]
fn a_sweep_without_an_image_is_a_sample_that_says_what_is_missing() {
    let mut images = every_100(10, 3000);
    images.retain(|stamp| !(1000..1300).contains(stamp));
    let config = MatcherConfig { max_interval_ms: 40, ..MatcherConfig::default() };
    let samples = samples(&run(config, &[("lidar", every_100(0, 3000)), ("cam", images)]));
    assert_eq!((samples.len(), count(&samples, SampleReason::Unmatched, 1)), (30, 3));
    assert_eq!(samples[11].missing, ["cam".into()]);
}

#[test]
fn a_dead_camera_blocks_for_no_longer_than_the_idle_timeout() {
    let (mut matcher, mut out) = (matcher(MatcherConfig::default()), Vec::new());
    let mut sampled = 0;
    for stamp_ms in every_100(0, 5000) {
        matcher.push(frame("lidar", stamp_ms), &mut out);
        matcher.push(frame("cam_a", stamp_ms), &mut out);
        if stamp_ms < 1500 {
            matcher.push(frame("cam_b", stamp_ms), &mut out);
        }
        sampled = samples(&out).len() as i64;
        // One more period: the newest set waits for its proof.
        assert!(stamp_ms < 600 || sampled * 100 >= stamp_ms - 1000 - 100, "{sampled} samples at {stamp_ms} ms");
    }
    assert!(sampled >= 48);
    matcher.finish(&mut out);
    let samples = samples(&out);
    assert_eq!(
        (samples.len(), count(&samples, SampleReason::Matched, 3), count(&samples, SampleReason::SensorIdle, 2)),
        (50, 15, 35)
    );
    assert_eq!(samples[49].missing, ["cam_b".into()]);
}

#[test]
fn a_camera_that_comes_late_or_back_takes_part_again() {
    let mut on_and_off = every_100(1000, 2000);
    on_and_off.extend(every_100(4000, 5000));
    let samples = samples(&run(MatcherConfig::default(), &[("lidar", every_100(0, 5000)), ("cam", on_and_off)]));
    // Each time the sweep of the same stamp was given out just before the camera showed up.
    assert_eq!((samples.len(), count(&samples, SampleReason::Matched, 2)), (50, 18));
}

#[test]
fn a_single_sensor_needs_no_partner() {
    let (mut matcher, mut out) = (matcher(MatcherConfig::default()), Vec::new());
    for stamp_ms in every_100(0, 1000) {
        matcher.push(frame("lidar", stamp_ms), &mut out);
        assert!(stamp_ms < 500 || samples(&out).len() as i64 == stamp_ms / 100 + 1);
    }
    assert_eq!(count(&samples(&out), SampleReason::Matched, 1), 10);
}

#[test]
fn cameras_alone_make_samples_and_a_lidar_takes_over() {
    let sensors = [("cam_a", every_100(0, 3000)), ("cam_b", every_100(5, 3000)), ("lidar", every_100(1500, 3000))];
    let out = run(MatcherConfig::default(), &sensors[..2]);
    assert_eq!(count(&samples(&out), SampleReason::Matched, 2), 30);
    assert_eq!(samples(&out)[3].stamp_ns, 300 * NS_PER_MS);
    let samples = samples(&run(MatcherConfig::default(), &sensors));
    let by_lidar =
        samples.iter().filter(|sample| sample.members.iter().any(|m| &*m.sensor == "lidar" && m.residual_ns == 0)).count();
    assert_eq!(by_lidar, 15);
}

#[test]
fn the_configured_reference_makes_the_samples() {
    let config = MatcherConfig { reference: Some("lidar_b".into()), ..MatcherConfig::default() };
    let samples = samples(&run(config, &[("lidar_a", every_100(0, 2000)), ("lidar_b", every_100(20, 2000))]));
    assert_eq!(samples.len(), 20);
    assert!(samples.iter().all(|sample| sample.stamp_ns % (100 * NS_PER_MS) == 20 * NS_PER_MS));
}

#[test]
fn two_sweeps_with_one_stamp_make_one_sample() {
    let out = run(MatcherConfig::default(), &[("lidar", vec![0, 0, 100])]);
    assert_eq!((samples(&out).len(), out.len()), (2, 3));
}

#[test]
fn numbers_out_of_range_are_refused() {
    for config in [
        MatcherConfig { queue_size: 0, ..MatcherConfig::default() },
        MatcherConfig { age_penalty: -1.0, ..MatcherConfig::default() },
        with_policy(PolicyConfig::LatestTime(LatestOptions::default())),
        with_policy(PolicyConfig::EpsilonTime(EpsilonOptions { epsilon_ms: -1.0, ..EpsilonOptions::default() })),
        MatcherConfig {
            timing: BTreeMap::from([("lidar".into(), SensorTiming { sweep_ms: Some(-1.0), ..SensorTiming::default() })]),
            ..MatcherConfig::default()
        },
    ] {
        assert!(Matcher::new(&config, "car".into()).is_err());
    }
}

fn with_policy(policy: PolicyConfig) -> MatcherConfig {
    MatcherConfig { policy: Some(policy), ..MatcherConfig::default() }
}

/// nuScenes by its paper: a sweep is stamped at its end, an image at its trigger, 20 Hz and 12 Hz; the camera is triggered when the beam
/// crosses its middle, here in the middle of the sweep. A raw stamp then takes the sweep before for the images of a sweep's first half.
#[test]
fn stamps_that_name_different_moments_are_compared_at_the_middle_of_the_measurement() {
    let mut frames = Vec::new();
    for index in 0..40 {
        let (lidar, camera) = (frame("lidar", 100 * index + 100), frame("cam", 100 * index + 45));
        frames.push(MatchFrame { stamp_ref: StampRef::SweepEnd, ..lidar });
        frames.push(MatchFrame { stamp_ref: StampRef::Trigger, ..camera });
    }
    frames.sort_by_key(|frame| frame.stamp_ns);
    let timing = BTreeMap::from([
        ("lidar".to_owned(), SensorTiming { sweep_ms: Some(100.0), ..SensorTiming::default() }),
        ("cam".to_owned(), SensorTiming { exposure_ms: Some(10.0), readout_ms: Some(0.0), ..SensorTiming::default() }),
    ]);
    let run = |timing: BTreeMap<String, SensorTiming>| {
        let (mut matcher, mut out) = (matcher(MatcherConfig { timing, ..MatcherConfig::default() }), Vec::new());
        frames.iter().for_each(|frame| matcher.push(frame.clone(), &mut out));
        matcher.finish(&mut out);
        let unknown = matcher.assumptions().map(|(sensor, _, names)| (sensor.to_string(), names.to_vec())).collect::<Vec<_>>();
        (samples(&out), unknown)
    };
    let (corrected, unknown) = run(timing);
    assert_eq!(unknown, [("cam".to_owned(), vec!["trigger_delay_ms"])]);
    assert_eq!(count(&corrected, SampleReason::Matched, 2), 40);
    for sample in &corrected {
        let camera = sample.members.iter().find(|member| &*member.sensor == "cam").unwrap();
        // Stamped 55 ms before the sweep's end, and measured at the very middle of it.
        assert_eq!((sample.stamp_ns - camera.stamp_ns, camera.residual_ns), (55 * NS_PER_MS, 0));
    }
    let (raw, unknown) = run(BTreeMap::new());
    assert_eq!(unknown.len(), 2);
    assert!(raw[5].members.iter().any(|member| member.residual_ns == 45 * NS_PER_MS), "{:?}", raw[5]);
}

#[test]
fn another_policy_makes_the_samples_and_what_it_drops_says_why() {
    let sensors = [("lidar", every_100(0, 3000)), ("cam", (0..3000).step_by(50).map(|stamp| stamp + 4).collect())];
    let nearest = PolicyConfig::NearestTime(NearestOptions { tolerance_ms: PerSensorMs::all(20.0), ..NearestOptions::default() });
    let out = run(with_policy(nearest), &sensors);
    assert_eq!(count(&samples(&out), SampleReason::Matched, 2), 30);
    assert!(samples(&out).iter().flat_map(|sample| &sample.members).all(|member| member.residual_ns <= 4 * NS_PER_MS));
    let causes = out.iter().filter_map(|event| if let MatchEvent::Unmatched { cause, .. } = event { Some(*cause) } else { None });
    assert!(causes.eq(std::iter::repeat_n(DropCause::NoPartner, 30)));
    // Nothing fits exactly: every sweep is a sample all the same, and the end does not loop.
    let exact = run(with_policy(PolicyConfig::ExactTime(ExactOptions::default())), &sensors);
    assert_eq!(samples(&exact).len(), 30);
}

fn policies() -> impl Strategy<Value = Option<PolicyConfig>> {
    let collector = CollectorOptions { timeout_ms: 150.0, collectors: 3, ..CollectorOptions::default() };
    proptest::sample::select(vec![
        None,
        Some(PolicyConfig::ApproximateTime(ApproximateOptions { queue_size: 4, ..ApproximateOptions::default() })),
        Some(PolicyConfig::ExactTime(ExactOptions { queue_size: 3 })),
        Some(PolicyConfig::EpsilonTime(EpsilonOptions { queue_size: 3, epsilon_ms: 40.0 })),
        Some(PolicyConfig::NearestTime(NearestOptions { queue_size: 5, tolerance_ms: PerSensorMs::all(60.0) })),
        Some(PolicyConfig::Collector(CollectorOptions { matching: MatchingKind::Naive, ..collector.clone() })),
        Some(PolicyConfig::Collector(collector)),
        Some(PolicyConfig::SlopTime(SlopOptions { queue_size: 5, slop_ms: 50.0 })),
    ])
}

fn timings() -> impl Strategy<Value = BTreeMap<String, SensorTiming>> {
    let timing = (-80.0..80.0_f64, proptest::option::of(0.0..100.0_f64)).prop_map(|(offset_ms, sweep_ms)| SensorTiming {
        offset_ms,
        stamp_ref: Some(StampRef::SweepEnd),
        sweep_ms,
        ..SensorTiming::default()
    });
    let sensor = proptest::sample::select(vec!["lidar_a".to_owned(), "cam_a".to_owned(), "cam_b".to_owned()]);
    proptest::collection::btree_map(sensor, timing, 0..3)
}

fn settings() -> impl Strategy<Value = MatcherConfig> {
    let reference =
        proptest::option::of(prop_oneof![Just("lidar_b".to_owned()), Just("cam_a".to_owned()), Just("none".to_owned())]);
    (1_usize..12, 0.0..0.5, 0_u64..150, 100_u64..1200, 0_u64..600, reference, policies(), timings()).prop_map(
        |(queue_size, age_penalty, max_interval_ms, idle_timeout_ms, learn_ms, reference, policy, timing)| MatcherConfig {
            queue_size,
            age_penalty,
            max_interval_ms,
            idle_timeout_ms,
            learn_ms,
            reference,
            policy,
            timing,
        },
    )
}

proptest! {
    #[test]
    fn every_frame_ends_in_one_event_and_samples_are_in_order(
        config in settings(),
        input in proptest::collection::vec((0_usize..6, 0_i64..6000), 0..250),
        sorted in proptest::bool::weighted(0.8),
    ) {
        let names = ["lidar_a", "lidar_b", "cam_a", "cam_b", "cam_c", "cam_d"];
        let mut frames = input.iter().map(|(sensor, stamp)| frame(names[*sensor], *stamp)).collect::<Vec<_>>();
        if sorted {
            frames.sort_by(|a, b| (a.stamp_ns, a.kind, &a.sensor).cmp(&(b.stamp_ns, b.kind, &b.sensor)));
        }
        let (mut matcher, mut out) = (matcher(config), Vec::new());
        for (token, frame) in frames.iter().enumerate() {
            matcher.push(MatchFrame { token: token as u64, ..frame.clone() }, &mut out);
        }
        matcher.finish(&mut out);
        let (mut fates, mut last_ns) = (vec![0; frames.len()], i64::MIN);
        for event in &out {
            match event {
                MatchEvent::Unmatched { token, .. } => fates[*token as usize] += 1,
                MatchEvent::Sample { sample, tokens } => {
                    prop_assert!(sample.stamp_ns > last_ns);
                    last_ns = sample.stamp_ns;
                    prop_assert!(sample.members.iter().any(|member| member.residual_ns == 0));
                    prop_assert_eq!(sample.members.len(), tokens.len());
                    tokens.iter().for_each(|(_, token)| fates[*token as usize] += 1);
                }
            }
        }
        prop_assert!(fates.iter().all(|count| *count == 1), "{:?}", fates);
    }

    #[test]
    fn every_reference_sweep_is_in_exactly_one_sample(
        config in settings(),
        gaps_ms in proptest::collection::vec(1_i64..300, 1..60),
        others in proptest::collection::vec((0_usize..3, 0_i64..6000), 0..150),
    ) {
        let mut stamp_ms = 0;
        let sweeps = gaps_ms.iter().map(|gap| { stamp_ms += gap; stamp_ms }).collect::<Vec<_>>();
        let names = ["cam_a", "cam_b", "lidar_b"];
        let mut sensors = vec![("lidar_a", sweeps.clone())];
        sensors.extend(others.iter().map(|(name, stamp)| (names[*name], vec![*stamp])));
        let config = MatcherConfig { reference: Some("lidar_a".into()), learn_ms: 10_000, ..config };
        let stamps = samples(&run(config, &sensors)).iter().map(|sample| sample.stamp_ns / NS_PER_MS).collect::<Vec<_>>();
        prop_assert_eq!(stamps, sweeps);
    }
}

#[test]
fn a_wrong_number_of_one_sensor_is_told_with_its_name() {
    let with = |ms: f64| PerSensorMs { default: 25.0, sensors: [("front".to_owned(), ms)].into() };
    let nearest = |ms| PolicyConfig::NearestTime(NearestOptions { tolerance_ms: with(ms), ..NearestOptions::default() });
    let bound =
        |ms| PolicyConfig::ApproximateTime(ApproximateOptions { lower_bound_ms: with(ms), ..ApproximateOptions::default() });
    let noise = |ms| PolicyConfig::Collector(CollectorOptions { noise_window_ms: with(ms), ..CollectorOptions::default() });
    let validate = |policy| MatcherConfig { policy: Some(policy), ..MatcherConfig::default() }.validate();
    for policy in [nearest(-10.0), nearest(f64::NAN), nearest(1e16), bound(-1.0), noise(-1.0)] {
        let error = validate(policy).unwrap_err().to_string();
        assert!(error.contains("\"front\"") && error.contains("hint:"), "{error}");
    }
    assert_eq!(validate(nearest(10.0)), Ok(()));
    let wrong_default = PerSensorMs { default: -1.0, sensors: [("sensor".to_owned(), 5.0)].into() };
    let options = NearestOptions { tolerance_ms: wrong_default, ..NearestOptions::default() };
    assert!(matches!(validate(PolicyConfig::NearestTime(options)), Err(MatcherError::Policy(_))));
}
