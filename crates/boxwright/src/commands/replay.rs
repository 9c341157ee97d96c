//! `boxwright replay`: a recording goes to Kafka, at recorded pace, at a factor, or as fast as possible.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use boxwright_pipeline::StopSignal;
use boxwright_source::kafka::{KafkaSink, ReplaySpeed, replay};

use super::{load_config, open_recording};
use crate::args::{ReplayArgs, Speed};
use crate::{Outcome, signals, ui};

/// How long the last messages may take to be acknowledged.
const FLUSH: Duration = Duration::from_secs(60);

pub(crate) fn execute(args: &ReplayArgs) -> anyhow::Result<Outcome> {
    let config = load_config(args.config.as_deref(), args.brokers.as_deref())?;
    let mut recording = open_recording(args.format, &args.path, args.vehicle.as_deref())?;
    let stop = Arc::new(AtomicBool::new(false));
    signals::listen(Arc::new(StopSignal::default()), stop.clone())?;
    let mut sink = KafkaSink::connect(&config.kafka)?;
    let speed = match args.speed {
        Speed::Max => ReplaySpeed::Max,
        Speed::Factor(factor) => ReplaySpeed::Factor(factor),
    };
    let bar = ui::bar(recording.total_messages_hint());
    let report = replay(
        recording.as_mut(),
        &mut sink,
        speed,
        &mut |progress| {
            bar.set_position(progress.messages);
            bar.set_message(format!("messages, {}", ui::bytes(progress.bytes)));
        },
        &stop,
    )?;
    sink.flush(FLUSH)?;
    bar.finish_and_clear();
    for warning in &report.warnings {
        ui::say(&format!("warning: {warning}"));
    }
    for channel in &report.skipped {
        ui::say(&format!("skipped {channel}"));
    }
    if args.json {
        ui::print(&serde_json::to_string(&report).context("cannot write the report")?);
    } else {
        let kinds: Vec<String> = report.messages_by_kind.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        ui::print(&format!(
            "produced {} messages ({}), {} in {:.1} s",
            report.messages,
            kinds.join(", "),
            ui::bytes(report.bytes),
            report.seconds
        ));
    }
    Ok(if report.truncated { Outcome::DataLost } else { Outcome::Done })
}
