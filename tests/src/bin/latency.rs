//! How long a sample waits for its release after its last member arrived, when the headers of a recording arrive in the order of their stamps or shuffled.
//!
//! `cargo run --release -p boxwright-tests --bin latency -- FORMAT PATH [SHUFFLE_MS] [CONFIG]`. Every message arrives at its stamp plus a delay that is even between
//! 0 and `SHUFFLE_MS`; time is that of the arrivals, so a machine's speed does not count. Two figures: of the synchroniser alone, and with the
//! canonical order before it.
#![expect(clippy::print_stdout, reason = "what a tool finds belongs on stdout")]

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use boxwright_model::SensorKind;
use boxwright_pipeline::Config;
use boxwright_source::recording::{KittiRaw, mcap};
use boxwright_source::{OutgoingMessage, Recording};
use boxwright_timesync::{Arrival, MatchEvent, MatchFrame, Matcher, OrderEvent, VehicleOrder};
use rand::{Rng, SeedableRng};

/// A message, and when it arrives.
struct Arriving {
    at_ns: i64,
    message: OutgoingMessage,
}

/// What came out of one way.
#[derive(Default)]
struct Waits {
    samples: usize,
    complete: usize,
    late: usize,
    waits_ms: Vec<f64>,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (format, path) = (args.first().context("expected kitti-raw or mcap")?, args.get(1).context("expected a path")?);
    let shuffle_ms: i64 = args.get(2).map_or(Ok(0), |text| text.parse()).context("expected milliseconds")?;
    let config = args.get(3).map_or_else(Config::embedded, |file| Config::load(Path::new(file)))?;
    let arriving = read(format, Path::new(path), shuffle_ms)?;
    for (way, waits) in [("synchroniser alone", alone(&arriving, &config)?), ("with canonical order", ordered(&arriving, &config)?)]
    {
        let mut sorted = waits.waits_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted.get(((sorted.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
        println!(
            "{way:22} {} samples, {} complete, {} messages late, wait {:.1} ms in the median, {:.1} ms at 95 %, {:.1} ms at most",
            waits.samples,
            waits.complete,
            waits.late,
            at(0.5),
            at(0.95),
            at(1.0)
        );
    }
    Ok(())
}

fn read(format: &str, path: &Path, shuffle_ms: i64) -> anyhow::Result<Vec<Arriving>> {
    let mut recording: Box<dyn Recording> = match format {
        "kitti-raw" => Box::new(KittiRaw::open(path, None)?),
        "mcap" => mcap::open(path, None)?,
        other => bail!("expected kitti-raw or mcap, got {other}"),
    };
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut arriving = Vec::new();
    while let Some(mut message) = recording.next_message()? {
        // Headers are all that is looked at.
        message.payload = bytes::Bytes::new();
        let delay_ns = 1_000_000 * random.random_range(0..=shuffle_ms.max(0));
        arriving.push(Arriving { at_ns: message.stamp_ns + delay_ns, message });
    }
    arriving.sort_by_key(|arriving| arriving.at_ns);
    Ok(arriving)
}

/// A matcher, and what it gave.
struct Matching<'a> {
    arriving: &'a [Arriving],
    matcher: Matcher,
    waits: Waits,
}

impl<'a> Matching<'a> {
    fn new(arriving: &'a [Arriving], config: &Config) -> anyhow::Result<Self> {
        Ok(Self { arriving, matcher: Matcher::new(&config.sync, Arc::from("vehicle"))?, waits: Waits::default() })
    }

    /// Takes a message at a time.
    fn take(&mut self, token: u64, now_ns: i64) {
        let message = &self.arriving[token as usize].message;
        if !matches!(message.kind, SensorKind::Lidar | SensorKind::Camera) {
            return;
        }
        let frame = MatchFrame {
            sensor: message.sensor.clone(),
            kind: message.kind,
            stamp_ns: message.stamp_ns,
            stamp_ref: message.stamp_ref,
            token,
        };
        let mut events = Vec::new();
        self.matcher.push(frame, &mut events);
        self.note(events, now_ns);
    }

    fn note(&mut self, events: Vec<MatchEvent>, now_ns: i64) {
        for event in events {
            let MatchEvent::Sample { sample, tokens } = event else { continue };
            self.waits.samples += 1;
            self.waits.complete += usize::from(sample.missing.is_empty());
            let last_ns = tokens.iter().map(|(_, token)| self.arriving[*token as usize].at_ns).max().unwrap_or(now_ns);
            self.waits.waits_ms.push((now_ns - last_ns) as f64 * 1e-6);
        }
    }

    fn finish(mut self) -> Waits {
        // What the end of the recording releases waits for nothing.
        let mut events = Vec::new();
        self.matcher.finish(&mut events);
        let before = self.waits.waits_ms.len();
        self.note(events, 0);
        self.waits.waits_ms.truncate(before);
        self.waits
    }
}

fn alone(arriving: &[Arriving], config: &Config) -> anyhow::Result<Waits> {
    let mut matching = Matching::new(arriving, config)?;
    for (token, one) in (0u64..).zip(arriving) {
        matching.take(token, one.at_ns);
    }
    Ok(matching.finish())
}

fn ordered(arriving: &[Arriving], config: &Config) -> anyhow::Result<Waits> {
    let mut matching = Matching::new(arriving, config)?;
    let mut order = VehicleOrder::new(&config.order, config.grid());
    let mut out = Vec::new();
    let release = |out: &mut Vec<OrderEvent>, now_ns: i64, matching: &mut Matching<'_>| {
        for event in out.drain(..) {
            match event {
                OrderEvent::Frame { token, .. } => matching.take(token, now_ns),
                OrderEvent::Late { .. } => matching.waits.late += 1,
                _ => {}
            }
        }
    };
    for (token, one) in (0u64..).zip(arriving) {
        let OutgoingMessage { kind, sensor, stamp_ns, seq, .. } = &one.message;
        let arrival = Arrival { partition: 0, kind: *kind, sensor: sensor.clone(), stamp_ns: *stamp_ns, seq: Some(*seq), token };
        order.push(arrival, &mut out);
        release(&mut out, one.at_ns, &mut matching);
    }
    let end_ns = arriving.last().map_or(0, |one| one.at_ns);
    let kept = matching.waits.waits_ms.len();
    order.finish(&mut out);
    release(&mut out, end_ns, &mut matching);
    matching.waits.waits_ms.truncate(kept);
    Ok(matching.finish())
}
