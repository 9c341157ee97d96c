//! Our synchronisers beside those of ROS, on random input: the same sets at the same moments.
//!
//! The other side is Debian's `libmessage-filters-dev` (ROS 1), driven by `oracle/driver.cpp`, which this test compiles. ROS 1 and
//! ROS 2 have the same algorithm and differ in one operation, a duration times a factor: ROS 1 rounds a double, ROS 2 truncates a long
//! double, and ours is that of ROS 2. Two comparisons follow from that, and both run:
//!
//! - with the arithmetic of ROS 1 as it is, on stamps and bounds of whole microseconds and age penalties with two decimals, for which
//!   a product is a whole number of nanoseconds, and both arithmetics agree (where `1 + penalty` as a double is not below its decimal);
//! - with the multiplication of ROS 2 put into the library (one specialised function, see the driver), on any nanosecond and any penalty.
//!
//! `ApproximateEpsilonTime`, `LatestTime` and the input aligner came with ROS 2 and are not in the package.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use boxwright_timesync::policy::{ApproximateConfig, ApproximateTime, ExactConfig, ExactTime};
use boxwright_timesync::{Policy, Stamped, SyncEvent};

const CASES: u64 = 20_000;
const HEADER: &str = "/usr/include/message_filters/sync_policies/approximate_time.h";
const INSTALL: &str = "apt-get install --no-install-recommends g++ libmessage-filters-dev";
/// What the driver is instantiated for.
const TOPICS: [usize; 5] = [2, 3, 4, 6, 9];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Approximate,
    Exact,
}

#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    ros2_arithmetic: bool,
    config: ApproximateConfig,
    input: Vec<(usize, i64)>,
}

/// Number of the message that completed the set, then the number of each member.
type Sets = Vec<Vec<i64>>;

/// `SplitMix64` (Steele, Lea, Flood 2014): the cases are the same everywhere and for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`.
    fn below(&mut self, bound: i64) -> i64 {
        (self.next() % bound.unsigned_abs().max(1)) as i64
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as i64) as usize]
    }

    fn chance(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }
}

/// Several periodic topics with phases and jitter; some drop messages, repeat stamps, or send out of order. Everything arrives in the
/// order of its stamp plus a delay.
fn case(seed: u64) -> Case {
    let random = &mut Random(seed);
    let kind = if seed % 10 == 9 { Kind::Exact } else { Kind::Approximate };
    let ros2_arithmetic = seed % 2 == 0;
    let topics = random.pick(&TOPICS);
    // Whole microseconds for the arithmetic of ROS 1; down to single nanoseconds, where roundings matter, for that of ROS 2.
    let grid_ns =
        if ros2_arithmetic { random.pick(&[1, 1, 7, 1_000, 1_000_000]) } else { random.pick(&[1_000, 10_000, 1_000_000]) };
    // In steps of the grid: few steps make ties.
    let period = random.pick(&[4, 20, 100, 1_000]);
    let start_ns = random.pick(&[0, 1_000_000_000, 1_700_000_000_000_000_000]) / grid_ns * grid_ns;
    let messages = 30 + random.below(150);
    let mut arrivals = Vec::new();
    for topic in 0..topics {
        let own_period = period * random.pick(&[1, 1, 2, 3]);
        let (phase, jitter) = (random.below(period), random.pick(&[0, 1, period / 4, period]));
        let delay = random.pick(&[0, 0, period / 2, 3 * period]);
        let (drops, repeats) = (random.pick(&[0, 10, 40]), random.pick(&[0, 0, 10]));
        let exact = kind == Kind::Exact && random.chance(70);
        for index in 0..(messages * period / own_period).max(1) / topics as i64 + 1 {
            if random.chance(drops) {
                continue;
            }
            let shift = if exact { 0 } else { phase + random.below(jitter + 1) };
            let stamp_ns = start_ns + (index * own_period + shift) * grid_ns;
            for _ in 0..=i64::from(random.chance(repeats)) {
                arrivals.push((stamp_ns + random.below(delay + 1) * grid_ns, topic, stamp_ns));
            }
        }
    }
    arrivals.sort_by_key(|(arrival_ns, _, _)| *arrival_ns);
    let age_penalty = if ros2_arithmetic && random.chance(50) {
        random.below(1_000_000_007) as f64 / 1e9
    } else {
        random.pick(&[0.0, 0.1, 0.1, 0.25, 0.37, 0.5, 1.0])
    };
    let lower_bound = |random: &mut Random| random.pick(&[0, 0, period / 2, period, 2 * period]) * grid_ns;
    let config = ApproximateConfig {
        topics,
        queue_size: random.pick(&[1, 2, 3, 5, 10, 50]),
        age_penalty,
        max_interval_ns: random.chance(40).then(|| random.pick(&[0, 1, period / 2, period, 3 * period]) * grid_ns),
        lower_bounds_ns: (0..topics).map(|_| lower_bound(random)).collect(),
    };
    Case { kind, ros2_arithmetic, config, input: arrivals.into_iter().map(|(_, topic, stamp_ns)| (topic, stamp_ns)).collect() }
}

fn synchroniser(case: &Case) -> Box<dyn Policy> {
    match case.kind {
        Kind::Approximate => Box::new(ApproximateTime::new(&case.config).unwrap()),
        Kind::Exact => {
            let config = ExactConfig { topics: case.config.topics, queue_size: case.config.queue_size };
            Box::new(ExactTime::new(&config).unwrap())
        }
    }
}

fn ours(case: &Case) -> Sets {
    let (mut synchroniser, mut sets, mut out) = (synchroniser(case), Sets::new(), Vec::new());
    for (number, (topic, stamp_ns)) in case.input.iter().enumerate() {
        synchroniser.push(*topic, Stamped::new(*stamp_ns, number as u64), &mut out);
        for event in out.drain(..) {
            if let SyncEvent::Set(set) = event {
                sets.push([number as i64].into_iter().chain(set.iter().map(|stamped| stamped.token as i64)).collect());
            }
        }
    }
    sets
}

fn encode(case: &Case, out: &mut Vec<u8>) {
    let config = &case.config;
    let mut put = |number: i64| out.extend(number.to_le_bytes());
    put(i64::from(case.kind == Kind::Exact));
    put(if case.ros2_arithmetic { 2 } else { 1 });
    put(config.topics as i64);
    put(config.queue_size as i64);
    put(config.age_penalty.to_bits() as i64);
    put(config.max_interval_ns.unwrap_or(-1));
    config.lower_bounds_ns.iter().for_each(|bound_ns| put(*bound_ns));
    put(case.input.len() as i64);
    case.input.iter().for_each(|(topic, stamp_ns)| {
        put(*topic as i64);
        put(*stamp_ns);
    });
}

/// The compiled driver; `None`, with a line that says so, where the package is not there. Only CI insists.
#[expect(clippy::disallowed_methods, reason = "the environment says whether a missing package is an error")]
fn driver(name: &str) -> Option<PathBuf> {
    if !Path::new(HEADER).exists() {
        let in_ci = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
        assert!(!in_ci, "expected {HEADER}, got none\nhint: {INSTALL}");
        println!("left out: {HEADER} is not there\nhint: {INSTALL}");
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/driver.cpp");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let output = Command::new("g++")
        .args(["-std=c++14", "-O2", "-DNDEBUG", "-DROSCONSOLE_MIN_SEVERITY=ROSCONSOLE_SEVERITY_NONE", "-w", "-o"])
        .arg(&program)
        .arg(&source)
        .args(["-lmessage_filters", "-lroscpp", "-lrostime", "-lrosconsole", "-lboost_thread", "-lboost_system", "-lpthread"])
        .output()
        .unwrap_or_else(|error| panic!("cannot run g++: {error}\nhint: {INSTALL}"));
    assert!(output.status.success(), "g++ failed: {}\nhint: {INSTALL}", String::from_utf8_lossy(&output.stderr));
    Some(program)
}

/// Runs the driver and returns its numbers.
fn run_driver(program: &Path, arguments: &[&str], input: Vec<u8>) -> Vec<i64> {
    let mut child =
        Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the driver starts");
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(child.wait().unwrap().success(), "the driver failed");
    writer.join().unwrap().unwrap();
    bytes.chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// What the original gives for each case.
fn theirs(program: &Path, cases: &[Case]) -> Vec<Sets> {
    let mut input = Vec::new();
    cases.iter().for_each(|case| encode(case, &mut input));
    let mut numbers = run_driver(program, &[], input).into_iter();
    let mut sets = Vec::new();
    for case in cases {
        let count = numbers.next().expect("an answer for every case");
        sets.push((0..count).map(|_| numbers.by_ref().take(case.config.topics + 1).collect()).collect::<Sets>());
    }
    assert_eq!(numbers.next(), None);
    sets
}

#[test]
fn random_input_gives_the_sets_of_ros_at_the_moments_of_ros() {
    let Some(program) = driver("oracle") else { return };
    let cases = (0..CASES).map(case).collect::<Vec<_>>();
    let theirs_of = theirs(&program, &cases);
    let differs = |(case, theirs): &(&Case, &Sets)| ours(case) != **theirs;
    let differences = cases.iter().zip(&theirs_of).filter(differs).collect::<Vec<_>>();
    let (sets, messages) =
        (theirs_of.iter().map(Vec::len).sum::<usize>(), cases.iter().map(|case| case.input.len()).sum::<usize>());
    println!("{CASES} cases, {messages} messages, {sets} sets, {} differences", differences.len());
    // A generator that makes no sets would agree with anything.
    assert!(sets > CASES as usize * 3, "only {sets} sets");
    assert!(differences.is_empty(), "{} differ, the first: {:?}", differences.len(), differences.first());

    // That nanoseconds were compared at all: with the other arithmetic some of the same cases come out differently.
    let swapped = cases.iter().filter(|case| case.ros2_arithmetic).take(4000);
    let swapped = swapped.map(|case| Case { ros2_arithmetic: false, ..case.clone() }).collect::<Vec<_>>();
    let rounded = swapped.iter().zip(theirs(&program, &swapped)).filter(|(case, theirs)| ours(case) != *theirs).count();
    println!("with the arithmetic of ROS 1 on nanoseconds {rounded} of {} differ", swapped.len());
    assert!(rounded > 0);
}

/// One hour of a lidar at 10 Hz and cameras at 30 Hz, with jitter.
fn drive(topics: usize) -> Case {
    let random = &mut Random(1);
    let mut input = Vec::new();
    for topic in 0..topics {
        let period_ns = if topic == 0 { 100_000_000 } else { 33_333_000 };
        let phase_ns = random.below(30_000) * 1000;
        let stamps = (0..3_600_000_000_000 / period_ns).map(|index| index * period_ns + phase_ns);
        input.extend(stamps.map(|stamp_ns| (topic, stamp_ns + random.below(2_000) * 1000)).collect::<Vec<_>>());
    }
    input.sort_by_key(|(_, stamp_ns)| *stamp_ns);
    let config =
        ApproximateConfig { topics, queue_size: 10, age_penalty: 0.1, max_interval_ns: None, lower_bounds_ns: vec![0; topics] };
    Case { kind: Kind::Approximate, ros2_arithmetic: false, config, input }
}

/// `cargo test --release -p boxwright-timesync --test oracle -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: a busy machine disturbs it"]
fn throughput_beside_ros() {
    let Some(program) = driver("oracle_bench") else { return };
    for topics in [2, 4, 6, 9] {
        let case = drive(topics);
        let mut input = Vec::new();
        encode(&case, &mut input);
        let theirs = run_driver(&program, &["bench"], input);
        let (mut best_ns, mut sets, mut out) = (u128::MAX, 0, Vec::new());
        for _ in 0..5 {
            let mut synchroniser = ApproximateTime::new(&case.config).unwrap();
            sets = 0;
            let begin = Instant::now();
            for (number, (topic, stamp_ns)) in case.input.iter().enumerate() {
                synchroniser.push(*topic, Stamped::new(*stamp_ns, number as u64), &mut out);
                sets += out.drain(..).filter(|event| matches!(event, SyncEvent::Set(_))).count();
            }
            best_ns = best_ns.min(begin.elapsed().as_nanos());
        }
        let per_second = |ns: f64| case.input.len() as f64 / ns * 1e3;
        let (our, their) = (per_second(best_ns as f64), per_second(theirs[0] as f64));
        println!(
            "{topics} topics, {} messages, {sets} sets: {our:.1} million/s, message_filters {their:.1} million/s, ratio {:.1}",
            case.input.len(),
            our / their
        );
        assert_eq!(sets as i64, theirs[1]);
        assert!(our > their);
    }
}
