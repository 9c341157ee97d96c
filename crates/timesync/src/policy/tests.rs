//! Promises that policies keep beyond the recorded cases.

use super::aligner::{AlignerConfig, InputAligner};
use super::*;
use proptest::prelude::*;

const MS: i64 = 1_000_000;

fn at(stamp_ms: i64, token: u64) -> Stamped {
    Stamped::new(stamp_ms * MS, token)
}

/// A message that was measured at one moment and came at another.
fn late(stamp_ms: i64, arrival_ms: i64, token: u64) -> Stamped {
    Stamped { arrival_ns: arrival_ms * MS, ..at(stamp_ms, token) }
}

/// Stamps in milliseconds of every set, -1 for what is missing; and every drop with its cause.
fn read(out: &mut Vec<SyncEvent>) -> (Vec<Vec<i64>>, Vec<(i64, DropCause)>) {
    let (mut sets, mut drops) = (Vec::new(), Vec::new());
    for event in out.drain(..) {
        match event {
            SyncEvent::Set(set) => sets.push(set.iter().map(|stamped| stamped.stamp_ns / MS).collect()),
            SyncEvent::Partial(set) => {
                sets.push(set.iter().map(|member| member.map_or(-1, |stamped| stamped.stamp_ns / MS)).collect())
            }
            SyncEvent::Dropped { stamped, cause, .. } => drops.push((stamped.stamp_ns / MS, cause)),
        }
    }
    (sets, drops)
}

fn nearest(tolerance_ms: i64) -> NearestTime {
    let config = NearestConfig { topics: 2, reference: 0, queue_size: 50, tolerance_ns: vec![0, tolerance_ms * MS] };
    NearestTime::new(&config).unwrap()
}

/// Expected values from pandas 3.1.1, with `l` and `r` as below in milliseconds, for each tolerance:
/// `pd.merge_asof(l, r, on="t", direction="nearest", tolerance=pd.Timedelta(tolerance, unit="ms"))["r"]`
#[test]
fn nearest_gives_what_an_as_of_join_gives() {
    let references = [0, 100, 200, 300, 400, 500, 500];
    let others = [10, 40, 90, 110, 185, 215, 215, 260, 330, 430, 430, 475, 525];
    let expected: [(i64, [i64; 7]); 4] = [
        (10, [0, 2, -1, -1, -1, -1, -1]),
        (15, [0, 2, 4, -1, -1, -1, -1]),
        (25, [0, 2, 4, -1, -1, 11, 11]),
        (30, [0, 2, 4, 8, 9, 11, 11]),
    ];
    for (tolerance_ms, rows) in expected {
        // Together by stamp with the references before or after their equals, then all of one topic before all of the other.
        for order in 0..4 {
            let mut arrivals = references.iter().map(|stamp| (0, *stamp, 0)).collect::<Vec<_>>();
            arrivals.extend(others.iter().enumerate().map(|(row, stamp)| (1, *stamp, row as u64)));
            match order {
                0 => arrivals.sort_by_key(|(topic, stamp, _)| (*stamp, *topic)),
                1 => arrivals.sort_by_key(|(topic, stamp, _)| (*stamp, -*topic)),
                2 => arrivals.sort_by_key(|(topic, _, _)| -*topic),
                _ => {}
            }
            let (mut synchroniser, mut out) = (nearest(tolerance_ms), Vec::new());
            arrivals.iter().for_each(|(topic, stamp, row)| synchroniser.push(*topic as usize, at(*stamp, *row), &mut out));
            synchroniser.finish(&mut out);
            let row = |event: &SyncEvent| match event {
                SyncEvent::Set(set) => Some(set[1].token as i64),
                SyncEvent::Partial(set) => Some(set[1].map_or(-1, |stamped| stamped.token as i64)),
                SyncEvent::Dropped { .. } => None,
            };
            assert_eq!(out.iter().filter_map(row).collect::<Vec<_>>(), rows, "{tolerance_ms} ms, order {order}");
        }
    }
}

#[test]
fn nearest_waits_for_the_next_message_or_the_tolerance_and_no_longer() {
    let (mut synchroniser, mut out) = (nearest(25), Vec::new());
    synchroniser.push(1, at(90, 0), &mut out);
    synchroniser.push(0, at(100, 1), &mut out);
    assert!(out.is_empty());
    synchroniser.push(1, at(140, 2), &mut out);
    assert_eq!(read(&mut out).0, [[100, 90]]);
    synchroniser.push(0, at(200, 3), &mut out);
    synchroniser.advance(Progress::event_time(224 * MS), &mut out);
    assert!(out.is_empty());
    synchroniser.advance(Progress::event_time(225 * MS), &mut out);
    assert_eq!(read(&mut out), (vec![vec![200, -1]], vec![]));
    synchroniser.push(0, at(199, 4), &mut out);
    assert_eq!(read(&mut out).1, [(199, DropCause::Late)]);
    synchroniser.finish(&mut out);
    assert_eq!(read(&mut out).1, [(140, DropCause::NoPartner)]);
}

#[test]
fn nearest_decides_with_what_there_is_when_its_queue_is_full() {
    let config = NearestConfig { topics: 2, reference: 0, queue_size: 2, tolerance_ns: vec![0, 25 * MS] };
    let (mut synchroniser, mut out) = (NearestTime::new(&config).unwrap(), Vec::new());
    (0..4).for_each(|index| synchroniser.push(0, at(index * 100, 0), &mut out));
    assert_eq!(read(&mut out).0, [[0, -1], [100, -1]]);
}

fn collector(matching: Matching, publish_late: bool) -> Collector {
    let config =
        CollectorConfig { topics: 3, matching, timeout_ns: 200 * MS, collectors: 2, publish_late, replay_length_ns: 10_000 * MS };
    Collector::new(&config).unwrap()
}

/// Three lidars that see the same moment 0, 40 and 80 ms after each other, with 10 ms of noise.
fn advanced() -> Matching {
    Matching::Advanced { offsets_ns: vec![0, 40 * MS, 80 * MS], noise_windows_ns: vec![10 * MS; 3] }
}

/// The component tests of Autoware's node, by their names: normal, noise, single and multiple drops, delay.
#[test]
fn a_collector_gives_what_autoware_gives() {
    let (mut synchroniser, mut out) = (collector(advanced(), false), Vec::new());
    // Normal, then noise of up to 10 ms to either side: complete at once.
    for (start, noise) in [(1000, [0, 0, 0]), (1300, [-10, 9, 0]), (1600, [10, -9, 1])] {
        for topic in 0..3 {
            assert!(out.is_empty());
            let stamp = start + 40 * topic as i64 + noise[topic];
            synchroniser.push(topic, at(stamp, 0), &mut out);
        }
        assert_eq!(read(&mut out).0, [[start + noise[0], start + 40 + noise[1], start + 80 + noise[2]]]);
    }
    // One is dropped: the others leave at the timeout after the first of them, not earlier.
    synchroniser.push(0, at(2000, 0), &mut out);
    synchroniser.push(2, at(2080, 0), &mut out);
    synchroniser.advance(Progress::event_time(2199 * MS), &mut out);
    assert!(out.is_empty());
    synchroniser.advance(Progress::event_time(2200 * MS), &mut out);
    assert_eq!(read(&mut out).0, [[2000, -1, 2080]]);
    // It arrives after all: another set, which is later than the one before.
    synchroniser.push(1, late(2040, 2210, 0), &mut out);
    synchroniser.advance(Progress::event_time(2410 * MS), &mut out);
    assert_eq!(read(&mut out).0, [[-1, 2040, -1]]);
    // Two are dropped, then everything is normal again.
    synchroniser.push(1, at(2540, 0), &mut out);
    (0..3).for_each(|topic| synchroniser.push(topic, at(2800 + 40 * topic as i64, 0), &mut out));
    assert_eq!(read(&mut out).0, [[-1, 2540, -1], [2800, 2840, 2880]]);
}

#[test]
fn the_noise_windows_of_both_sides_count_and_their_bounds_do_not() {
    // The first message's window and the new one's own make 20 ms together.
    for (shift, sets) in [(19, 1), (20, 0), (-19, 1), (-20, 0)] {
        let (mut synchroniser, mut out) = (collector(advanced(), false), Vec::new());
        synchroniser.push(0, at(1000, 0), &mut out);
        synchroniser.push(1, late(1040 + shift, 1040, 0), &mut out);
        synchroniser.push(2, late(1080, 1080, 0), &mut out);
        assert_eq!(read(&mut out).0.len(), sets, "{shift} ms");
    }
}

#[test]
fn a_late_set_is_dropped_unless_it_is_wanted_or_the_recording_began_anew() {
    let sets = |publish_late: bool, second_ms: i64| {
        let (mut synchroniser, mut out) = (collector(advanced(), publish_late), Vec::new());
        for (start, arrival) in [(20_000, 20_000), (second_ms, 20_500)] {
            (0..3).for_each(|topic| synchroniser.push(topic, late(start + 40 * topic as i64, arrival, 0), &mut out));
        }
        let (sets, drops) = read(&mut out);
        (sets.len(), drops)
    };
    assert_eq!(sets(false, 21_000), (2, vec![]));
    assert_eq!(sets(false, 19_000), (1, [19_000, 19_040, 19_080].map(|stamp| (stamp, DropCause::Late)).to_vec()));
    assert_eq!(sets(true, 19_000), (2, vec![]));
    assert_eq!(sets(false, 10_000).0, 1);
    assert_eq!(sets(false, 9_999).0, 2);
}

#[test]
fn when_all_collectors_are_in_use_the_oldest_is_emptied() {
    let (mut synchroniser, mut out) = (collector(advanced(), false), Vec::new());
    [1000, 1100, 1150].into_iter().for_each(|stamp| synchroniser.push(0, at(stamp, 0), &mut out));
    assert_eq!(read(&mut out).1, [(1000, DropCause::QueueFull)]);
    synchroniser.push(0, at(1152, 0), &mut out);
    assert_eq!(read(&mut out).1, [(1150, DropCause::Replaced)]);
}

#[test]
fn naive_collecting_looks_at_arrivals_only() {
    let (mut synchroniser, mut out) = (collector(Matching::Naive, false), Vec::new());
    synchroniser.push(0, late(5, 1000, 0), &mut out);
    synchroniser.push(0, late(7, 1100, 1), &mut out);
    synchroniser.push(1, late(900, 1060, 2), &mut out);
    synchroniser.push(2, late(400, 1070, 3), &mut out);
    assert_eq!(read(&mut out).0, [[7, 900, 400]]);
    synchroniser.finish(&mut out);
    // The one that is left is older than what was given out.
    assert_eq!(read(&mut out), (vec![], vec![(5, DropCause::Late)]));
}

#[test]
fn exact_sets_take_older_ones_with_them_and_a_watermark_ends_the_wait() {
    let (mut synchroniser, mut out) = (ExactTime::new(&ExactConfig { topics: 2, queue_size: 10 }).unwrap(), Vec::new());
    [(0, 0), (0, 10), (1, 10), (0, 20)].into_iter().for_each(|(topic, stamp)| synchroniser.push(topic, at(stamp, 0), &mut out));
    assert_eq!(read(&mut out), (vec![vec![10, 10]], vec![(0, DropCause::Overtaken)]));
    synchroniser.advance(Progress::event_time(20 * MS), &mut out);
    assert_eq!(read(&mut out).1, [(20, DropCause::NoPartner)]);
}

#[test]
fn a_watermark_gives_out_the_newest_set_without_a_message() {
    let config =
        ApproximateConfig { topics: 2, queue_size: 10, age_penalty: 0.1, max_interval_ns: None, lower_bounds_ns: Vec::new() };
    let (mut synchroniser, mut out) = (ApproximateTime::new(&config).unwrap(), Vec::new());
    synchroniser.push(0, at(0, 0), &mut out);
    synchroniser.push(1, at(11, 0), &mut out);
    // A better set would have to be narrower than 11 ms by a tenth of the wait: until 21 ms there is room for one.
    synchroniser.advance(Progress::event_time(20 * MS), &mut out);
    assert!(out.is_empty());
    synchroniser.advance(Progress::event_time(21 * MS), &mut out);
    assert_eq!(read(&mut out).0, [[0, 11]]);
}

#[test]
fn an_aligner_ends_with_everything_in_order() {
    let mut aligner = InputAligner::new(&AlignerConfig { timeout_ns: 1000 * MS, periods_ns: vec![0; 3] }).unwrap();
    let mut dropped = Vec::new();
    [(0, 5), (1, 3), (0, 9), (2, 4), (1, 3)].into_iter().for_each(|(input, ms)| aligner.push(input, at(ms, 0), &mut dropped));
    let mut out = Vec::new();
    aligner.finish(&mut out);
    assert_eq!(
        out.iter().map(|(input, stamped)| (*input, stamped.stamp_ns / MS)).collect::<Vec<_>>(),
        [(1, 3), (1, 3), (2, 4), (0, 5), (0, 9)]
    );
    assert!(dropped.is_empty());
}

/// The original's way: all combinations of the near stamps in the order of an odometer.
fn first_combination(options: &[Vec<i64>], slop_ns: i64) -> Option<Vec<i64>> {
    let mut combinations = vec![Vec::new()];
    for stamps in options {
        combinations =
            combinations.iter().flat_map(|head| stamps.iter().map(move |stamp| [head.as_slice(), &[*stamp]].concat())).collect();
    }
    combinations.into_iter().find(|set: &Vec<i64>| set.iter().max().unwrap() - set.iter().min().unwrap() < slop_ns)
}

fn all_policies(topics: usize) -> Vec<Box<dyn Policy>> {
    let names = ["a", "b", "c", "d", "e"];
    let ten = PerSensorMs::all(10.0);
    let collector = config::CollectorOptions { timeout_ms: 30.0, collectors: 2, ..config::CollectorOptions::default() };
    let kinds = [
        PolicyConfig::ApproximateTime(config::ApproximateOptions { queue_size: 3, ..config::ApproximateOptions::default() }),
        PolicyConfig::ExactTime(config::ExactOptions { queue_size: 3 }),
        PolicyConfig::EpsilonTime(config::EpsilonOptions { queue_size: 3, epsilon_ms: 10.0 }),
        PolicyConfig::SlopTime(config::SlopOptions { queue_size: 3, slop_ms: 10.0 }),
        PolicyConfig::Collector(config::CollectorOptions { matching: config::MatchingKind::Naive, ..collector.clone() }),
        PolicyConfig::Collector(collector),
        PolicyConfig::NearestTime(config::NearestOptions { queue_size: 3, tolerance_ms: ten }),
    ];
    kinds.iter().map(|kind| kind.build(&names[..topics], 0).unwrap()).collect()
}

proptest! {
    #[test]
    fn every_message_ends_in_a_set_or_dropped_with_a_cause(
        topics in 1_usize..5,
        input in proptest::collection::vec((0_usize..6, 0_i64..300, any::<bool>()), 0..120),
    ) {
        for mut policy in all_policies(topics) {
            let reuses = format!("{policy:?}").starts_with("NearestTime");
            let (mut out, mut newest) = (Vec::new(), i64::MIN);
            for (token, (topic, stamp, advance)) in input.iter().enumerate() {
                newest = newest.max(*stamp);
                policy.push(*topic, late(*stamp, newest, token as u64), &mut out);
                if *advance {
                    policy.advance(Progress { watermark_ns: (stamp - 100) * MS, arrival_ns: newest * MS }, &mut out);
                }
                prop_assert!(policy.held() <= topics * 4, "{policy:?}");
            }
            policy.finish(&mut out);
            prop_assert_eq!(policy.held(), 0);
            let (mut in_sets, mut drops) = (vec![0; input.len()], vec![0; input.len()]);
            for event in &out {
                match event {
                    SyncEvent::Set(set) => set.iter().for_each(|stamped| in_sets[stamped.token as usize] += 1),
                    SyncEvent::Partial(set) => {
                        prop_assert!(set.iter().any(Option::is_none) && set.iter().any(Option::is_some));
                        set.iter().flatten().for_each(|stamped| in_sets[stamped.token as usize] += 1);
                    }
                    SyncEvent::Dropped { topic, stamped, cause } => {
                        prop_assert_eq!(*cause == DropCause::UnknownTopic, *topic >= topics);
                        drops[stamped.token as usize] += 1;
                    }
                }
            }
            for (used, dropped) in in_sets.iter().zip(&drops) {
                let once = if reuses { *used > 0 } else { *used == 1 };
                prop_assert!((once && *dropped == 0) || (*used == 0 && *dropped == 1), "{policy:?}: {used} sets, {dropped} drops");
            }
        }
    }

    #[test]
    fn the_pruned_search_finds_the_first_combination(
        input in proptest::collection::vec((0_usize..4, 0_i64..40), 1..40),
        slop in 1_i64..30,
    ) {
        let mut synchroniser = SlopTime::new(&SlopConfig { topics: 4, queue_size: 6, slop_ns: slop }).unwrap();
        for (topic, stamp) in input {
            let near = |other| if other == topic { vec![stamp] } else { synchroniser.near(other, stamp) };
            let options = (0..4).map(near).collect::<Vec<_>>();
            prop_assert_eq!(synchroniser.combination(topic, stamp), first_combination(&options, slop));
            synchroniser.push(topic, Stamped::new(stamp, 0), &mut Vec::new());
        }
    }

    #[test]
    fn a_true_watermark_changes_the_moment_and_not_the_sets(
        input in proptest::collection::vec((0_usize..3, 0_i64..40), 0..120),
        max_interval_ns in proptest::option::of(0_i64..60),
    ) {
        let config = ApproximateConfig { topics: 3, queue_size: 200, age_penalty: 0.1, max_interval_ns, lower_bounds_ns: Vec::new() };
        let sets = |told: bool| {
            let (mut synchroniser, mut out, mut stamp_ns) = (ApproximateTime::new(&config).unwrap(), Vec::new(), 0);
            for (token, (topic, gap)) in input.iter().enumerate() {
                stamp_ns += gap;
                if told {
                    synchroniser.advance(Progress::event_time(stamp_ns - 1), &mut out);
                }
                synchroniser.push(*topic, Stamped::new(stamp_ns, token as u64), &mut out);
            }
            synchroniser.settle(&mut out);
            out.retain(|event| matches!(event, SyncEvent::Set(_)));
            out
        };
        prop_assert_eq!(sets(false), sets(true));
    }
}

#[test]
fn numbers_out_of_range_are_refused_with_both_sides() {
    let errors = [
        ExactTime::new(&ExactConfig { topics: 0, queue_size: 1 }).unwrap_err(),
        ExactTime::new(&ExactConfig { topics: 1, queue_size: MAX_QUEUE_SIZE + 1 }).unwrap_err(),
        EpsilonTime::new(&EpsilonConfig { topics: 1, queue_size: 1, epsilon_ns: -1 }).unwrap_err(),
        SlopTime::new(&SlopConfig { topics: 1, queue_size: 0, slop_ns: 1 }).unwrap_err(),
        NearestTime::new(&NearestConfig { topics: 2, reference: 2, queue_size: 1, tolerance_ns: vec![0, 0] }).unwrap_err(),
        NearestTime::new(&NearestConfig { topics: 2, reference: 0, queue_size: 1, tolerance_ns: vec![0] }).unwrap_err(),
        LatestTime::new(&LatestConfig { step_margin: f64::NAN, ..LatestConfig::new(2) }).unwrap_err(),
        PolicyConfig::EpsilonTime(config::EpsilonOptions { queue_size: 1, epsilon_ms: f64::INFINITY })
            .build(&["a"], 0)
            .unwrap_err(),
    ];
    for error in errors {
        let message = error.to_string();
        assert!(message.contains("expected") && message.contains("got"), "{message}");
    }
}

#[test]
fn a_policy_is_written_with_its_kind_and_unknown_options_are_refused() {
    let text = r#"{"kind":"nearest_time","tolerance_ms":{"default":25.0,"sensors":{"cam":10.5}}}"#;
    let parsed = serde_json::from_str::<PolicyConfig>(text).unwrap();
    let sensors = std::collections::BTreeMap::from([("cam".to_owned(), 10.5)]);
    let tolerance_ms = PerSensorMs { default: 25.0, sensors };
    assert_eq!(parsed, PolicyConfig::NearestTime(config::NearestOptions { tolerance_ms, ..config::NearestOptions::default() }));
    for wrong in [r#"{"kind":"nearest_time","tolerance":1}"#, r#"{"kind":"best_time"}"#, r#"{"kind":"exact_time","queue_size":-1}"#]
    {
        assert!(serde_json::from_str::<PolicyConfig>(wrong).is_err(), "{wrong}");
    }
}
