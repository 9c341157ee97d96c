//! Cases of the input aligner: steps that add messages, dispatch, and look at what came out so far.

use boxwright_timesync::Stamped;
use boxwright_timesync::policy::aligner::{AlignerConfig, InputAligner};
use serde_json::Value;

use super::{compare, read_i64, read_list, read_usize};

const NS_PER_MS: i64 = 1_000_000;

pub(super) fn run(case: &Value) -> Result<(), String> {
    let timeout_ns = read_i64(case.get("timeout_ns").unwrap_or(&Value::Null), "timeout_ns")?;
    let periods_ns = read_list(case.get("period_ns"), "period_ns", |value| read_i64(value, "period_ns"))?;
    let config = AlignerConfig { timeout_ns, periods_ns };
    let mut bench = Bench { aligner: InputAligner::new(&config).map_err(|error| error.to_string())?, given_out_ms: Vec::new() };
    let steps = case.get("steps").and_then(Value::as_array).ok_or("steps: expected a list")?;
    steps.iter().enumerate().try_for_each(|(index, step)| bench.step(step).map_err(|error| format!("step {index}: {error}")))
}

struct Bench {
    aligner: InputAligner,
    given_out_ms: Vec<i64>,
}

impl Bench {
    fn step(&mut self, step: &Value) -> Result<(), String> {
        let argument = step.get(1);
        match step.get(0).and_then(Value::as_str) {
            Some("add") => read_list(argument, "add", |value| self.add(value)).map(drop),
            Some("dispatch") => {
                let mut out = Vec::new();
                self.aligner.dispatch(&mut out);
                self.given_out_ms.extend(out.iter().map(|(_, stamped)| stamped.stamp_ns / NS_PER_MS));
                Ok(())
            }
            Some("expect_ms") => {
                let expected = read_list(argument, "expect_ms", |value| read_i64(value, "expect_ms"))?;
                compare("message", &expected, &self.given_out_ms)
            }
            Some("expect_count") => {
                compare("number of messages", &[read_usize(argument, "expect_count")?], &[self.given_out_ms.len()])
            }
            Some("status") => {
                let inputs = argument.and_then(Value::as_array).ok_or("status: expected a list")?;
                inputs.iter().enumerate().try_for_each(|(input, expected)| self.compare_status(input, expected))
            }
            _ => Err(format!("expected add, dispatch, expect_ms, expect_count or status, got {step}")),
        }
    }

    fn add(&mut self, value: &Value) -> Result<(), String> {
        let input = read_usize(value.get(0), "add")?;
        let stamp_ms = read_i64(value.get(1).unwrap_or(&Value::Null), "add")?;
        self.aligner.push(input, Stamped::new(stamp_ms.saturating_mul(NS_PER_MS), 0), &mut Vec::new());
        Ok(())
    }

    fn compare_status(&self, input: usize, expected: &Value) -> Result<(), String> {
        let status = self.aligner.status(input).ok_or_else(|| format!("expected input {input}, got none"))?;
        let got = [
            ("active", Value::from(status.active)),
            ("queue", Value::from(status.queued)),
            ("processed", Value::from(status.processed)),
            ("dropped", Value::from(status.dropped)),
        ];
        let names = expected.as_object().ok_or_else(|| format!("status of input {input}: expected an object, got {expected}"))?;
        if let Some(unknown) = names.keys().find(|name| !got.iter().any(|(known, _)| *known == name.as_str())) {
            return Err(format!("input {input}: expected active, queue, processed or dropped, got {unknown:?}"));
        }
        let differs = got.iter().find(|(name, value)| expected.get(name).is_some_and(|expected| expected != value));
        differs.map_or(Ok(()), |(name, value)| Err(format!("input {input} {name}: expected {}, got {value}", expected[*name])))
    }
}
