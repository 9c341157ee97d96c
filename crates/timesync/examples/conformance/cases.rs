//! Reads conformance cases and compares what the synchronisers do with what they expect.

use boxwright_timesync::policy::{
    ApproximateConfig, ApproximateTime, EpsilonConfig, EpsilonTime, ExactConfig, ExactTime, LatestConfig, LatestTime, SlopConfig,
    SlopTime,
};
use boxwright_timesync::{DropCause, Policy, Stamped, SyncEvent};
use serde_json::Value;

#[path = "aligner.rs"]
mod aligner;

#[path = "ticks.rs"]
mod ticks;

/// Outcome of a file.
pub(crate) struct Report {
    /// Cases whose sets and moments of emission are all as expected.
    pub(crate) passed: usize,
    /// One line per case that differs or cannot be read.
    pub(crate) failures: Vec<String>,
}

/// Runs every case of the text: the members of all its lists that are objects, and the formulae of its object `latest_time`.
///
/// # Errors
/// When the text is not JSON or holds no case.
pub(crate) fn run_file(text: &str) -> Result<Report, String> {
    let root: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let mut report = Report { passed: 0, failures: Vec::new() };
    let mut note = |name: &str, result: Result<(), String>| match result {
        Ok(()) => report.passed += 1,
        Err(difference) => report.failures.push(format!("{name}: {difference}")),
    };
    for (list, value) in lists(&root) {
        for (index, case) in value.as_array().into_iter().flatten().enumerate() {
            if !case.is_object() {
                note(&format!("{list}[{index}]"), Err(format!("expected an object, got {case}")));
                continue;
            }
            let name = case.get("name").and_then(Value::as_str).map_or_else(|| format!("{list}[{index}]"), str::to_owned);
            note(&name, run_case(policy_of(list, case), case));
        }
        match value.as_object() {
            Some(formulae) if list == "latest_time" => {
                formulae
                    .keys()
                    .filter(|name| *name != "note")
                    .for_each(|name| note(&format!("latest_time {name}"), ticks::run(name)));
            }
            Some(_) => note(list, Err("expected a list of cases, got an object".to_owned())),
            None => {}
        }
    }
    if report.passed + report.failures.len() == 0 {
        return Err("expected lists of cases, found none".to_owned());
    }
    Ok(report)
}

fn lists(root: &Value) -> Vec<(&str, &Value)> {
    match root {
        Value::Object(map) => map.iter().map(|(name, list)| (name.as_str(), list)).collect(),
        other => vec![("cases", other)],
    }
}

/// A case that does not name its policy has that of its list.
fn policy_of<'a>(list: &'a str, case: &'a Value) -> &'a str {
    match case.get("policy").and_then(Value::as_str) {
        Some(policy) => policy,
        None if matches!(list, "upstream_suite" | "generated") => "approximate_time",
        None => list,
    }
}

fn run_case(policy: &str, case: &Value) -> Result<(), String> {
    if policy == "input_aligner" {
        return aligner::run(case);
    }
    let topics = read_usize(case.get("n"), "n")?;
    let synchroniser = build(policy, topics, case)?;
    let input = read_list(case.get("input"), "input", |value| read_input(value, topics))?;
    run_sets(synchroniser, &input, case)
}

fn build(policy: &str, topics: usize, case: &Value) -> Result<Box<dyn Policy>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let queue_size = || read_usize(case.get("queue_size"), "queue_size");
    Ok(match policy {
        "approximate_time" => Box::new(ApproximateTime::new(&approximate(topics, case)?).map_err(|error| text(&error))?),
        "exact_time" => {
            let config = ExactConfig { topics, queue_size: queue_size()? };
            Box::new(ExactTime::new(&config).map_err(|error| text(&error))?)
        }
        "approximate_epsilon_time" => {
            let epsilon_ns = read_i64(case.get("epsilon_ns").unwrap_or(&Value::Null), "epsilon_ns")?;
            let config = EpsilonConfig { topics, queue_size: queue_size()?, epsilon_ns };
            Box::new(EpsilonTime::new(&config).map_err(|error| text(&error))?)
        }
        "python_slop" => {
            let config = SlopConfig { topics, queue_size: queue_size()?, slop_ns: slop_ns(read_f64(case, "slop_s")?) };
            Box::new(SlopTime::new(&config).map_err(|error| text(&error))?)
        }
        "latest_time" => Box::new(LatestTime::new(&LatestConfig::new(topics)).map_err(|error| text(&error))?),
        other => return Err(format!("expected a policy that is known, got {other:?}")),
    })
}

fn approximate(topics: usize, case: &Value) -> Result<ApproximateConfig, String> {
    let age_penalty = match case.get("age_penalty") {
        None | Some(Value::Null) => 0.1,
        Some(_) => read_f64(case, "age_penalty")?,
    };
    let max_interval_ns = match case.get("max_interval_ns") {
        None | Some(Value::Null) => None,
        Some(value) => Some(read_i64(value, "max_interval_ns")?),
    };
    let lower_bounds_ns = match case.get("lower_bounds_ns") {
        None | Some(Value::Null) => Vec::new(),
        some => read_list(some, "lower_bounds_ns", |value| read_i64(value, "lower_bounds_ns"))?,
    };
    let queue_size = read_usize(case.get("queue_size"), "queue_size")?;
    Ok(ApproximateConfig { topics, queue_size, age_penalty, max_interval_ns, lower_bounds_ns })
}

/// Whole seconds and truncated nanoseconds apart, as the Python time type splits them.
fn slop_ns(slop_s: f64) -> i64 {
    let whole_s = slop_s.trunc();
    (whole_s as i64).saturating_mul(1_000_000_000).saturating_add(((slop_s - whole_s) * 1e9) as i64)
}

fn run_sets(mut synchroniser: Box<dyn Policy>, input: &[(usize, i64)], case: &Value) -> Result<(), String> {
    let (mut sets, mut moments, mut drops, mut out) = (Vec::new(), Vec::new(), 0, Vec::new());
    for (moment, (topic, stamp_ns)) in input.iter().enumerate() {
        synchroniser.push(*topic, Stamped::new(*stamp_ns, moment as u64), &mut out);
        drops += count_drops(&out);
        for event in out.drain(..) {
            if let SyncEvent::Set(set) = event {
                sets.push(set.iter().map(|stamped| stamped.stamp_ns).collect::<Vec<_>>());
                moments.push(moment);
            }
        }
    }
    let stamps = |set: &Value| read_list(Some(set), "expected_sets", |stamp| read_i64(stamp, "expected_sets"));
    compare("set", &read_list(case.get("expected_sets"), "expected_sets", stamps)?, &sets)?;
    if let some @ Some(Value::Array(_)) = case.get("expected_emit_after_input") {
        let name = "expected_emit_after_input";
        compare("moment of set", &read_list(some, name, |value| read_usize(Some(value), name))?, &moments)?;
    }
    match case.get("expected_drops") {
        None | Some(Value::Null) => Ok(()),
        some => compare("number of drops", &[read_usize(some, "expected_drops")?], &[drops]),
    }
}

/// Unfinished sets that were dropped: their messages have one stamp. A message that was replaced is none.
fn count_drops(events: &[SyncEvent]) -> usize {
    let stamp = |event: &SyncEvent| match event {
        SyncEvent::Dropped { stamped, cause, .. } if *cause != DropCause::Replaced => Some(stamped.stamp_ns),
        _ => None,
    };
    let mut stamps = events.iter().filter_map(stamp).collect::<Vec<_>>();
    stamps.dedup();
    stamps.len()
}

fn read_input(value: &Value, topics: usize) -> Result<(usize, i64), String> {
    let pair = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let [topic, stamp] = pair else { return Err(format!("input: expected [topic, stamp], got {value}")) };
    let topic = read_usize(Some(topic), "input")?;
    if topic >= topics {
        return Err(format!("input: expected a topic below {topics}, got {topic}"));
    }
    Ok((topic, read_i64(stamp, "input")?))
}

fn read_list<T>(value: Option<&Value>, name: &str, read: impl FnMut(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    let list = value.and_then(Value::as_array).ok_or_else(|| format!("{name}: expected a list"))?;
    list.iter().map(read).collect()
}

fn read_i64(value: &Value, name: &str) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("{name}: expected a 64-bit integer, got {value}"))
}

fn read_f64(case: &Value, name: &str) -> Result<f64, String> {
    case.get(name).and_then(Value::as_f64).ok_or_else(|| format!("{name}: expected a number"))
}

fn read_usize(value: Option<&Value>, name: &str) -> Result<usize, String> {
    let number = value.and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("{name}: expected an integer of at least 0"))
}

fn compare<T: PartialEq + std::fmt::Debug>(what: &str, expected: &[T], got: &[T]) -> Result<(), String> {
    if let Some(index) = expected.iter().zip(got).position(|(expected, got)| expected != got) {
        return Err(format!("{what} {index}: expected {:?}, got {:?}", expected.get(index), got.get(index)));
    }
    if expected.len() == got.len() { Ok(()) } else { Err(format!("expected {} sets, got {}", expected.len(), got.len())) }
}
