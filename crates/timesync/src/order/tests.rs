//! Promises of the canonical order.

use super::*;
use boxwright_model::time::{NS_PER_MS, NS_PER_S};
use proptest::prelude::*;

const LATENESS_MS: i64 = 500;

fn roomy() -> OrderConfig {
    OrderConfig { max_buffered_frames: 100_000, ..OrderConfig::default() }
}

fn grid() -> ClipGrid {
    ClipGrid::new(2 * NS_PER_S)
}

fn lidar(partition: u32, stamp_ms: i64, token: u64) -> Arrival {
    Arrival { partition, kind: SensorKind::Lidar, sensor: "top".into(), stamp_ns: stamp_ms * NS_PER_MS, seq: None, token }
}

fn camera(partition: u32, stamp_ms: i64, token: u64) -> Arrival {
    Arrival { kind: SensorKind::Camera, sensor: "front".into(), ..lidar(partition, stamp_ms, token) }
}

fn tokens(events: &[OrderEvent]) -> Vec<u64> {
    events.iter().filter_map(|event| if let OrderEvent::Frame { token, .. } = event { Some(*token) } else { None }).collect()
}

/// Lidar in partition 0 and camera in partition 1, every 100 ms from `from_ms` to `to_ms`; tokens are stamps in milliseconds, the
/// camera's odd.
fn feed_both(order: &mut VehicleOrder, from_ms: i64, to_ms: i64, out: &mut Vec<OrderEvent>) {
    for stamp_ms in (from_ms..to_ms).step_by(100) {
        order.push(lidar(0, stamp_ms, stamp_ms as u64), out);
        order.push(camera(1, stamp_ms, stamp_ms as u64 + 1), out);
    }
}

#[test]
fn nothing_leaves_before_every_partition_has_shown_its_sensors() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    order.add_partition(0);
    order.add_partition(1);
    for stamp_ms in (0..5000).step_by(100) {
        order.push(lidar(0, stamp_ms, stamp_ms as u64), &mut out);
    }
    assert!(out.is_empty());
    assert_eq!(order.waiting_for(), [1]);
    order.quiet(1, &mut out);
    // Newest 4900 less the lateness, strictly below.
    assert_eq!(tokens(&out), (0..4400).step_by(100).collect::<Vec<_>>());
    assert_eq!(order.buffered(), 6);
}

#[test]
fn a_frame_behind_its_own_sensor_is_late_and_has_a_clip_to_be_stored_in() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    feed_both(&mut order, 0, 4200, &mut out);
    out.clear();
    order.push(lidar(0, 4100 - LATENESS_MS, 7), &mut out);
    assert!(!out.iter().any(|event| matches!(event, OrderEvent::Late { .. })));
    order.push(lidar(0, 4100 - LATENESS_MS - 1, 8), &mut out);
    let late = OrderEvent::Late { token: 8, reason: LateReason::BehindOwnSensor, clip: ClipId(1), store_in: ClipId(2) };
    assert!(out.contains(&late), "{out:?}");
}

#[test]
fn a_silent_sensor_is_waited_for_until_its_partition_is_quiet_and_event_time_has_passed_it() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    feed_both(&mut order, 0, 3000, &mut out);
    out.clear();
    for stamp_ms in (3000..4900).step_by(100) {
        order.push(lidar(0, stamp_ms, stamp_ms as u64), &mut out);
    }
    assert!(tokens(&out).is_empty());
    order.quiet(1, &mut out);
    assert!(tokens(&out).is_empty(), "the camera is not yet two seconds behind");
    order.push(lidar(0, 4900, 4900), &mut out);
    order.push(lidar(0, 5000, 5000), &mut out);
    assert!(tokens(&out).contains(&4400));
    // It comes back behind what has left, though not behind itself.
    out.clear();
    order.push(camera(1, 3500, 1), &mut out);
    assert!(
        matches!(out.as_slice(), [OrderEvent::Late { token: 1, reason: LateReason::SensorWasIdle, store_in: ClipId(2), .. }]),
        "{out:?}"
    );
    // A frame that still can be placed is placed.
    order.push(camera(1, 4460, 2), &mut out);
    assert!(!out.iter().any(|event| matches!(event, OrderEvent::Late { token: 2, .. })), "{out:?}");
}

#[test]
fn a_clip_that_closed_without_a_sensor_says_so() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    feed_both(&mut order, 0, 1000, &mut out);
    order.quiet(1, &mut out);
    for stamp_ms in (1000..5000).step_by(100) {
        order.push(lidar(0, stamp_ms, stamp_ms as u64), &mut out);
    }
    let closes = out.iter().filter(|event| matches!(event, OrderEvent::Close { .. })).collect::<Vec<_>>();
    let close = |clip| OrderEvent::Close { clip: ClipId(clip), idle: vec![(SensorKind::Camera, "front".into())] };
    assert_eq!(closes, [&close(0), &close(1)]);
}

#[test]
fn copies_are_told_apart_by_sequence_number_and_only_where_they_cost_something() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    let with_seq = |seq, token| Arrival { seq, ..lidar(0, 100, token) };
    order.push(with_seq(Some(1), 0), &mut out);
    order.push(with_seq(Some(2), 1), &mut out);
    order.push(with_seq(None, 2), &mut out);
    assert!(out.is_empty());
    order.push(with_seq(Some(2), 3), &mut out);
    assert_eq!(out, [OrderEvent::Duplicate { token: 3, count_in: ClipId(0) }]);
    let transform = |token| Arrival { kind: SensorKind::Transform, ..lidar(0, 100, token) };
    order.push(transform(4), &mut out);
    order.push(transform(5), &mut out);
    order.finish(&mut out);
    assert_eq!(tokens(&out), [4, 5, 2, 0, 1]);
}

#[test]
fn a_copy_of_a_frame_that_already_left_is_known() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    feed_both(&mut order, 0, 3000, &mut out);
    order.quiet(1, &mut out);
    for stamp_ms in (3000..5000).step_by(100) {
        order.push(lidar(0, stamp_ms, stamp_ms as u64), &mut out);
    }
    // The camera was left out; the horizon stands at 4400 and 4300 is the last that left.
    order.push(lidar(1, 4300, 77), &mut out);
    assert!(matches!(out.last(), Some(OrderEvent::Duplicate { token: 77, .. })), "{out:?}");
}

#[test]
fn one_absurd_stamp_costs_no_other_message() {
    for absurd_ms in [0, 3_000_000_000, 7_000_000_000_000] {
        for at in [0, 1, 20] {
            let mut order = VehicleOrder::new(&roomy(), grid());
            let mut out = Vec::new();
            for index in 0..60 {
                if index == at {
                    order.push(lidar(0, absurd_ms, 999), &mut out);
                }
                order.push(lidar(0, 1_000_000_000 + 100 * index, index as u64), &mut out);
            }
            order.finish(&mut out);
            let mut left = tokens(&out);
            left.retain(|token| *token != 999);
            assert_eq!(left, (0..60).collect::<Vec<_>>(), "{absurd_ms} at {at}");
        }
    }
}

/// What became of the frame 999, as a late reason or nothing.
fn fate_of_999(out: &[OrderEvent]) -> Option<(LateReason, ClipId)> {
    out.iter().find_map(|event| match event {
        OrderEvent::Late { token: 999, reason, store_in, .. } => Some((*reason, *store_in)),
        _ => None,
    })
}

#[test]
fn a_stamp_far_ahead_is_late_with_the_clip_of_its_sensor_as_soon_as_the_next_frame_disagrees() {
    for copies in [1, 2] {
        let mut order = VehicleOrder::new(&roomy(), grid());
        let mut out = Vec::new();
        feed_both(&mut order, 0, 3000, &mut out);
        for copy in 0..copies {
            order.push(lidar(0, 86_400_000, 999 + copy), &mut out);
        }
        assert_eq!(fate_of_999(&out), None, "it may be right until the next frame has come");
        order.push(lidar(0, 3000, 3000), &mut out);
        assert_eq!(fate_of_999(&out), Some((LateReason::StampAhead, ClipId(1))), "{copies} copies");
        assert!(order.buffered() < 20);
    }
}

#[test]
fn a_stamp_far_ahead_of_a_sensor_that_then_is_silent_holds_nothing_up_for_longer_than_a_minute() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    feed_both(&mut order, 0, 3000, &mut out);
    order.push(camera(1, 86_400_000, 999), &mut out);
    order.quiet(1, &mut out);
    for stamp_ms in (3000..62_000).step_by(100) {
        order.push(lidar(0, stamp_ms, stamp_ms as u64), &mut out);
    }
    assert_eq!(fate_of_999(&out), None);
    for stamp_ms in (62_000..66_000).step_by(100) {
        order.push(lidar(0, stamp_ms, stamp_ms as u64), &mut out);
    }
    // The camera's newest stamp, 2.9 s, and a minute: the next frame is in the clip that begins at 62 s.
    assert_eq!(fate_of_999(&out), Some((LateReason::StampAhead, ClipId(31))));
}

#[test]
fn a_sensor_with_one_message_after_a_long_sleep_is_believed_when_the_vehicle_gets_there() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    let calibration = |stamp_ms, token| Arrival { kind: SensorKind::Calibration, ..lidar(2, stamp_ms, token) };
    order.push(calibration(0, 1), &mut out);
    order.push(calibration(1, 2), &mut out);
    feed_both(&mut order, 0, 5000, &mut out);
    order.push(calibration(86_400_000, 999), &mut out);
    order.quiet(2, &mut out);
    feed_both(&mut order, 86_400_000, 86_405_000, &mut out);
    assert!(tokens(&out).contains(&999), "it leaves in its turn");
    assert_eq!(fate_of_999(&out), None);
    // And where the vehicle never gets there, the end of the input decides.
    let mut order = VehicleOrder::new(&roomy(), grid());
    out.clear();
    feed_both(&mut order, 0, 5000, &mut out);
    order.push(camera(1, 86_400_000, 999), &mut out);
    order.finish(&mut out);
    assert_eq!(fate_of_999(&out), Some((LateReason::StampAhead, ClipId(2))));
    assert_eq!(order.buffered(), 0);
}

#[test]
fn a_first_stamp_far_ahead_does_not_stay_in_memory() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    order.push(lidar(0, 86_400_000, 999), &mut out);
    order.push(lidar(0, 0, 0), &mut out);
    assert_eq!(fate_of_999(&out), None, "either may be the wrong one");
    order.push(lidar(0, 100, 1), &mut out);
    assert_eq!(fate_of_999(&out), Some((LateReason::StampAhead, ClipId(0))));
}

#[test]
fn a_vehicle_that_slept_goes_on() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    feed_both(&mut order, 0, 5000, &mut out);
    feed_both(&mut order, 3_600_000, 3_605_000, &mut out);
    order.finish(&mut out);
    assert_eq!(tokens(&out).len(), 200);
    assert!(!out.iter().any(|event| matches!(event, OrderEvent::Late { .. })));
}

#[test]
fn memory_is_bounded_and_what_leaves_early_is_counted() {
    let mut order = VehicleOrder::new(&OrderConfig { max_buffered_frames: 10, ..OrderConfig::default() }, grid());
    let mut out = Vec::new();
    order.add_partition(1);
    for stamp_ms in (0..3000).step_by(100) {
        order.push(lidar(0, stamp_ms, stamp_ms as u64), &mut out);
        assert!(order.buffered() <= 10);
    }
    assert_eq!(order.forced(), 20);
    assert_eq!(tokens(&out), (0..2000).step_by(100).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_heeds_what_is_waited_for_never_forces_a_frame() {
    let plan = |kind, period_ms| StreamPlan {
        kind,
        period_ms,
        phase_ms: 0,
        starts_ms: 0,
        gap: None,
        jitter_ms: vec![0, 30],
        late_every: 1000,
        copy_every: 1000,
    };
    let plans = [
        plan(SensorKind::Lidar, 50),
        plan(SensorKind::Camera, 40),
        plan(SensorKind::Transform, 10),
        plan(SensorKind::Calibration, 9000),
    ];
    let logs = partitions_of(&drive(&plans), &[0, 1, 2, 3], &[0; 4]);
    let mut order = VehicleOrder::new(&OrderConfig { max_buffered_frames: 256, ..OrderConfig::default() }, grid());
    let mut rest = logs.into_iter().map(|(id, log)| (id, log.into_iter())).collect::<BTreeMap<_, _>>();
    rest.keys().for_each(|id| order.add_partition(*id));
    let mut out = Vec::new();
    // Reads as much as it may of the first partition, then of the next: the most lopsided way there is.
    while let Some(id) = rest.keys().copied().find(|id| !order.is_crowded() || order.waiting_for().contains(id)) {
        match rest.get_mut(&id).and_then(Iterator::next) {
            Some(arrival) => order.push(arrival, &mut out),
            None => {
                rest.remove(&id);
                order.quiet(id, &mut out);
            }
        }
    }
    order.finish(&mut out);
    assert_eq!((rest.len(), order.forced()), (0, 0));
    assert!(tokens(&out).len() > 1000 && !out.iter().any(|event| matches!(event, OrderEvent::Late { .. })));
}

#[test]
fn of_two_copies_in_two_partitions_the_same_one_is_kept_whichever_comes_first() {
    for first in [0, 1] {
        let mut order = VehicleOrder::new(&roomy(), grid());
        let mut out = Vec::new();
        for partition in [first, 1 - first] {
            order.push(lidar(partition, 100, u64::from(partition)), &mut out);
        }
        order.finish(&mut out);
        assert_eq!(out[0], OrderEvent::Duplicate { token: 1, count_in: ClipId(0) });
        assert_eq!(tokens(&out), [0]);
    }
}

#[test]
fn a_sensor_that_falls_far_behind_its_partition_is_late_in_every_interleaving_alike() {
    let lidar_sent = (0..100).map(|index| (lidar(0, 100 * index, index as u64), 100 * index));
    let camera_sent =
        (0..60).map(|index| (camera(0, 100 * index, 100 + index as u64), 100 * index + if index < 30 { 0 } else { 3500 }));
    let other_sent =
        (0..100).map(|index| (Arrival { kind: SensorKind::Transform, ..lidar(1, 100 * index, 200 + index as u64) }, 100 * index));
    let drive = Drive { streams: vec![lidar_sent.collect(), camera_sent.collect(), other_sent.collect()] };
    let logs = partitions_of(&drive, &[0, 0, 1], &[0; 3]);
    let first = run(&logs, 0);
    assert!(first.1.len() > 5 && first.1.iter().all(|late| late.contains("SensorWasIdle")), "{:?}", first.1);
    (1..50).for_each(|seed| assert_eq!(first, run(&logs, seed)));
}

#[test]
fn a_partition_that_was_taken_away_and_came_back_loses_nothing_that_was_held() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    let calibration = |token| Arrival { kind: SensorKind::Calibration, ..lidar(0, 100, token) };
    order.push(calibration(0), &mut out);
    order.remove_partition(0, &mut out);
    order.push(calibration(1), &mut out);
    order.finish(&mut out);
    assert_eq!(tokens(&out), [0, 1]);
}

#[test]
fn made_up_sensors_do_not_fill_the_memory() {
    let mut order = VehicleOrder::new(&OrderConfig { max_buffered_frames: 8, ..OrderConfig::default() }, grid());
    let mut out = Vec::new();
    for token in 0..5000 {
        order.push(Arrival { sensor: format!("s{token}").into(), ..lidar(0, token as i64, token) }, &mut out);
    }
    assert!(order.buffered() <= 8);
    order.finish(&mut out);
    assert_eq!(out.iter().filter(|event| !matches!(event, OrderEvent::Close { .. })).count(), 5000);
}

#[test]
fn a_vehicle_that_fell_silent_leaves_nothing_open() {
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut out = Vec::new();
    feed_both(&mut order, 0, 3000, &mut out);
    assert!(!order.close_silent(&mut out));
    order.quiet(0, &mut out);
    order.quiet(1, &mut out);
    assert!(order.close_silent(&mut out));
    assert_eq!((order.buffered(), tokens(&out).len()), (0, 60));
    assert!(matches!(out.last(), Some(OrderEvent::Close { clip: ClipId(1), .. })));
    out.clear();
    order.push(lidar(0, 3000, 1), &mut out);
    assert!(
        matches!(out.first(), Some(OrderEvent::Late { reason: LateReason::SensorWasIdle, store_in: ClipId(2), .. })),
        "{out:?}"
    );
}

/// One stream of a made-up drive: its arrivals in the order in which its sensor sends them.
#[derive(Clone, Debug)]
struct Drive {
    streams: Vec<Vec<(Arrival, i64)>>,
}

#[derive(Clone, Debug)]
struct StreamPlan {
    kind: SensorKind,
    period_ms: i64,
    phase_ms: i64,
    starts_ms: i64,
    gap: Option<(i64, i64)>,
    jitter_ms: Vec<i64>,
    late_every: usize,
    copy_every: usize,
}

fn stream_plan() -> impl Strategy<Value = StreamPlan> {
    let kinds = prop_oneof![
        Just(SensorKind::Transform),
        Just(SensorKind::Calibration),
        Just(SensorKind::Lidar),
        Just(SensorKind::Camera),
        Just(SensorKind::Camera)
    ];
    let times = (30_i64..300, 0_i64..100, prop_oneof![3 => Just(0_i64), 1 => 0_i64..4000]);
    let gap = proptest::option::weighted(0.3, (1000_i64..4000, 500_i64..4000));
    let noise = (proptest::collection::vec(0_i64..200, 8), 5_usize..40, 5_usize..40);
    (kinds, times, gap, noise).prop_map(|(kind, (period_ms, phase_ms, starts_ms), gap, (jitter_ms, late_every, copy_every))| {
        StreamPlan { kind, period_ms, phase_ms, starts_ms, gap, jitter_ms, late_every, copy_every }
    })
}

/// The drive of eight seconds. A frame is sent up to 200 ms after its stamp, some a second and more after it, some twice.
fn drive(plans: &[StreamPlan]) -> Drive {
    let mut token = 0;
    let streams = plans.iter().enumerate().map(|(number, plan)| {
        let mut sent = Vec::new();
        let mut stamps = (plan.starts_ms + plan.phase_ms..8000).step_by(plan.period_ms as usize).collect::<Vec<_>>();
        stamps.retain(|stamp| plan.gap.is_none_or(|(from, long)| *stamp < from || *stamp >= from + long));
        for (index, stamp_ms) in stamps.into_iter().enumerate() {
            let late = plan.gap.is_none() && index > 0 && index % plan.late_every == 0;
            let sent_ms =
                stamp_ms + plan.jitter_ms[index % plan.jitter_ms.len()] + if late { LATENESS_MS + plan.period_ms + 300 } else { 0 };
            let arrival =
                Arrival { kind: plan.kind, sensor: format!("s{number}").into(), seq: Some(index as u64), ..lidar(0, stamp_ms, 0) };
            let copies = if index % plan.copy_every == 0 { 2 } else { 1 };
            for _ in 0..copies {
                sent.push((Arrival { token, ..arrival.clone() }, sent_ms));
                token += 1;
            }
        }
        sent.sort_by_key(|(_, sent_ms)| *sent_ms);
        sent
    });
    Drive { streams: streams.collect() }
}

/// A deterministic stand-in for a random generator: the tests choose its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What a run gave: frames and closes in sequence, and the set of late frames and copies.
type Outcome = (Vec<OrderEvent>, Vec<String>);

/// Spreads the streams over partitions (a stream is up to 200 ms slower than the others), and interleaves the partitions in any way.
fn partitions_of(drive: &Drive, partition_of: &[u32], slowness_ms: &[i64]) -> BTreeMap<u32, Vec<Arrival>> {
    let mut logs: BTreeMap<u32, Vec<(i64, usize, Arrival)>> = BTreeMap::new();
    for (number, stream) in drive.streams.iter().enumerate() {
        let partition = partition_of[number];
        let log = logs.entry(partition).or_default();
        log.extend(
            stream.iter().map(|(arrival, sent)| (sent + slowness_ms[number], number, Arrival { partition, ..arrival.clone() })),
        );
    }
    let sorted = logs.into_iter().map(|(partition, mut log)| {
        log.sort_by_key(|(sent, number, _)| (*sent, *number));
        (partition, log.into_iter().map(|(_, _, arrival)| arrival).collect())
    });
    sorted.collect()
}

fn run(logs: &BTreeMap<u32, Vec<Arrival>>, seed: u64) -> Outcome {
    let mut dice = Dice(seed);
    let mut order = VehicleOrder::new(&roomy(), grid());
    let mut rest = logs.iter().map(|(id, log)| (*id, log.iter(), 1 + dice.below(40))).collect::<Vec<_>>();
    rest.iter().for_each(|(id, ..)| order.add_partition(*id));
    order.add_partition(99);
    let (mut out, mut exhausted) = (Vec::new(), vec![99]);
    while !rest.is_empty() {
        let total = rest.iter().map(|(_, _, weight)| weight).sum();
        let mut pick = dice.below(total);
        let index = rest.iter().position(|(_, _, weight)| pick.checked_sub(*weight).map(|left| pick = left).is_none()).unwrap();
        match rest[index].1.next() {
            Some(arrival) => order.push(arrival.clone(), &mut out),
            None => exhausted.push(rest.remove(index).0),
        }
        if dice.below(50) == 0 && !exhausted.is_empty() {
            let index = dice.below(exhausted.len() as u64) as usize;
            order.quiet(exhausted.remove(index), &mut out);
        }
    }
    order.finish(&mut out);
    assert_eq!((order.forced(), order.buffered()), (0, 0));
    let (sequence, mut aside): (Vec<_>, Vec<_>) =
        out.into_iter().partition(|event| matches!(event, OrderEvent::Frame { .. } | OrderEvent::Close { .. }));
    aside.sort_by_key(|event| format!("{event:?}"));
    (sequence, aside.iter().map(|event| format!("{event:?}")).collect())
}

fn without_idle(sequence: &[OrderEvent]) -> Vec<OrderEvent> {
    let strip = |event: &OrderEvent| match event {
        OrderEvent::Close { clip, .. } => OrderEvent::Close { clip: *clip, idle: Vec::new() },
        other => other.clone(),
    };
    sequence.iter().map(strip).collect()
}

#[test]
fn the_made_up_drives_hold_late_frames_copies_and_closed_clips() {
    let plan = |kind| StreamPlan {
        kind,
        period_ms: 100,
        phase_ms: 0,
        starts_ms: 0,
        gap: None,
        jitter_ms: vec![0, 150, 20],
        late_every: 7,
        copy_every: 5,
    };
    let drive = drive(&[plan(SensorKind::Lidar), plan(SensorKind::Camera)]);
    let (sequence, aside) = run(&partitions_of(&drive, &[0, 1], &[0, 100]), 1);
    let closes = sequence.iter().filter(|event| matches!(event, OrderEvent::Close { .. })).count();
    let copies = aside.iter().filter(|event| event.starts_with("Duplicate")).count();
    assert_eq!(closes, 4);
    assert!(copies > 10 && aside.len() > copies + 10, "{aside:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_order_of_frames_clips_and_late_ones_does_not_depend_on_the_interleaving(
        plans in proptest::collection::vec(stream_plan(), 1..7),
        partition_of in proptest::collection::vec(0_u32..4, 7),
        slowness_ms in proptest::collection::vec(0_i64..200, 7),
        seeds in proptest::collection::vec(any::<u64>(), 4),
    ) {
        let logs = partitions_of(&drive(&plans), &partition_of, &slowness_ms);
        let first = run(&logs, seeds[0]);
        for seed in &seeds[1..] {
            prop_assert_eq!(&first, &run(&logs, *seed));
        }
    }

    #[test]
    fn the_order_of_frames_clips_and_late_ones_does_not_depend_on_the_partitions(
        plans in proptest::collection::vec(stream_plan(), 1..7),
        partition_of in proptest::collection::vec(proptest::collection::vec(0_u32..4, 7), 3),
        slowness_ms in proptest::collection::vec(proptest::collection::vec(0_i64..200, 7), 3),
        seed in any::<u64>(),
    ) {
        let mut plans = plans;
        // Frames of a stream that begins behind its partition are late by rule, and the partition differs here.
        plans.iter_mut().for_each(|plan| plan.starts_ms = 0);
        let drive = drive(&plans);
        let outcome = |run_number: usize| run(&partitions_of(&drive, &partition_of[run_number], &slowness_ms[run_number]), seed);
        let first = outcome(0);
        for run_number in 1..3 {
            let other = outcome(run_number);
            prop_assert_eq!(without_idle(&first.0), without_idle(&other.0));
            prop_assert_eq!(&first.1, &other.1);
        }
    }

    #[test]
    fn every_message_has_one_fate_and_no_closed_clip_gets_more(
        arrivals in proptest::collection::vec((0_u32..4, 0_usize..4, 0_usize..3, 0_i64..9000, 0_u32..30), 0..400),
        max_buffered_frames in 1_usize..60,
        jumps in any::<bool>(),
    ) {
        let kinds = [SensorKind::Transform, SensorKind::Calibration, SensorKind::Lidar, SensorKind::Camera];
        let mut order = VehicleOrder::new(&OrderConfig { max_buffered_frames, ..OrderConfig::default() }, grid());
        let mut out = Vec::new();
        for (token, (partition, kind, sensor, stamp_ms, what)) in arrivals.iter().enumerate() {
            let stamp_ns = if jumps && what % 7 == 3 { i64::MAX - 5 * stamp_ms } else { stamp_ms * NS_PER_MS + 10 * token as i64 * NS_PER_MS };
            let arrival = Arrival { kind: kinds[*kind], sensor: format!("s{sensor}").into(), stamp_ns, ..lidar(*partition, 0, token as u64) };
            order.push(arrival, &mut out);
            match what {
                0 => order.quiet(*partition, &mut out),
                1 => order.remove_partition(*partition, &mut out),
                2 => { order.close_silent(&mut out); }
                _ => {}
            }
        }
        order.finish(&mut out);
        let mut fates = vec![0; arrivals.len()];
        let (mut closed, mut opened) = (ClipId(i64::MIN), BTreeSet::new());
        for event in &out {
            match event {
                OrderEvent::Frame { token, clip } => {
                    fates[*token as usize] += 1;
                    prop_assert!(*clip > closed);
                    opened.insert(*clip);
                }
                OrderEvent::Late { token, store_in, .. } => {
                    fates[*token as usize] += 1;
                    prop_assert!(*store_in > closed);
                    opened.insert(*store_in);
                }
                OrderEvent::Duplicate { token, count_in } => {
                    fates[*token as usize] += 1;
                    prop_assert!(*count_in > closed);
                    opened.insert(*count_in);
                }
                OrderEvent::Close { clip, .. } => {
                    prop_assert!(*clip > closed && opened.remove(clip));
                    closed = *clip;
                }
            }
        }
        prop_assert!(opened.is_empty());
        prop_assert!(fates.iter().all(|count| *count == 1), "{:?}", fates);
    }
}
