//! Reads conformance cases and compares what the synchroniser does with what they expect.

use boxwright_timesync::approximate::{ApproximateConfig, ApproximateEvent, ApproximateTime, Stamped};
use serde_json::Value;

/// Outcome of a file.
pub(crate) struct Report {
    /// Cases whose sets and moments of emission are all as expected.
    pub(crate) passed: usize,
    /// One line per case that differs or cannot be read.
    pub(crate) failures: Vec<String>,
}

struct Case {
    config: ApproximateConfig,
    /// Topic and stamp, in order of arrival.
    input: Vec<(usize, i64)>,
    expected_sets: Vec<Vec<i64>>,
    /// Index of the input whose arrival gave out each set; absent where a case does not say.
    expected_moments: Option<Vec<usize>>,
}

/// Runs every case of the text.
///
/// # Errors
/// When the text is not JSON or holds no case of the policy.
pub(crate) fn run_file(text: &str) -> Result<Report, String> {
    let root: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let mut report = Report { passed: 0, failures: Vec::new() };
    let mut seen = 0_usize;
    for (list, case) in cases(&root) {
        let name = case.get("name").and_then(Value::as_str).map_or_else(|| format!("{list}[{seen}]"), str::to_owned);
        seen += 1;
        match read_case(case).and_then(|case| run_case(&case)) {
            Ok(()) => report.passed += 1,
            Err(difference) => report.failures.push(format!("{name}: {difference}")),
        }
    }
    if seen == 0 {
        return Err("expected a list of cases with policy \"approximate_time\", found none".to_owned());
    }
    Ok(report)
}

/// Every case of the policy with the name of its list. A case that does not name its policy counts where its list is a known one.
fn cases(root: &Value) -> Vec<(&str, &Value)> {
    let lists: Vec<(&str, &Value)> = match root {
        Value::Object(map) => map.iter().map(|(name, list)| (name.as_str(), list)).collect(),
        other => vec![("cases", other)],
    };
    let wanted = |list: &str, case: &Value| match case.get("policy").and_then(Value::as_str) {
        Some(policy) => policy == "approximate_time",
        None => matches!(list, "upstream_suite" | "generated"),
    };
    let flat = lists.into_iter().flat_map(|(name, list)| list.as_array().into_iter().flatten().map(move |case| (name, case)));
    flat.filter(|(list, case)| wanted(list, case)).collect()
}

fn read_case(case: &Value) -> Result<Case, String> {
    let topics = read_usize(case.get("n"), "n")?;
    let max_interval_ns = match case.get("max_interval_ns") {
        None | Some(Value::Null) => None,
        Some(value) => Some(read_i64(value, "max_interval_ns")?),
    };
    let age_penalty = match case.get("age_penalty") {
        None => 0.1,
        Some(value) => value.as_f64().ok_or_else(|| format!("age_penalty: expected a number, got {value}"))?,
    };
    let config = ApproximateConfig {
        topics,
        queue_size: read_usize(case.get("queue_size"), "queue_size")?,
        age_penalty,
        max_interval_ns,
        lower_bounds_ns: match case.get("lower_bounds_ns") {
            None | Some(Value::Null) => Vec::new(),
            some => read_list(some, "lower_bounds_ns", |value| read_i64(value, "lower_bounds_ns"))?,
        },
    };
    Ok(Case {
        input: read_list(case.get("input"), "input", |value| read_input(value, topics))?,
        expected_sets: read_list(case.get("expected_sets"), "expected_sets", |set| {
            read_list(Some(set), "expected_sets", |stamp| read_i64(stamp, "expected_sets"))
        })?,
        expected_moments: match case.get("expected_emit_after_input") {
            None | Some(Value::Null) => None,
            some => {
                Some(read_list(some, "expected_emit_after_input", |value| read_usize(Some(value), "expected_emit_after_input"))?)
            }
        },
        config,
    })
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

fn read_usize(value: Option<&Value>, name: &str) -> Result<usize, String> {
    let number = value.and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("{name}: expected an integer of at least 0"))
}

fn run_case(case: &Case) -> Result<(), String> {
    let mut synchroniser = ApproximateTime::new(&case.config).map_err(|error| error.to_string())?;
    let (mut sets, mut moments, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for (moment, (topic, stamp_ns)) in case.input.iter().enumerate() {
        synchroniser.push(*topic, Stamped { stamp_ns: *stamp_ns, token: moment as u64 }, &mut out);
        for event in out.drain(..) {
            if let ApproximateEvent::Set(set) = event {
                sets.push(set.iter().map(|stamped| stamped.stamp_ns).collect::<Vec<_>>());
                moments.push(moment);
            }
        }
    }
    compare("set", &case.expected_sets, &sets)?;
    case.expected_moments.as_ref().map_or(Ok(()), |expected| compare("moment of set", expected, &moments))
}

fn compare<T: PartialEq + std::fmt::Debug>(what: &str, expected: &[T], got: &[T]) -> Result<(), String> {
    if let Some(index) = expected.iter().zip(got).position(|(expected, got)| expected != got) {
        return Err(format!("{what} {index}: expected {:?}, got {:?}", expected.get(index), got.get(index)));
    }
    if expected.len() == got.len() { Ok(()) } else { Err(format!("expected {} sets, got {}", expected.len(), got.len())) }
}
