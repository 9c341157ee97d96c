//! `boxwright sync --report`: how well the sensors of a dataset, or of a recording, keep time.

use anyhow::{Context, bail};
use boxwright_shard::{ClipReader, Dataset};

use self::tally::Tally;
use super::{into_temporary_dataset, load_config, locate};
use crate::args::SyncArgs;
use crate::{Outcome, ui};

mod tally;

mod text;

mod html;

pub(crate) fn execute(args: &SyncArgs) -> anyhow::Result<Outcome> {
    let (tally, is_truncated) = match (args.report.as_deref(), args.from.as_deref()) {
        (Some(dataset), None) => (of_dataset(args, dataset)?, false),
        (None, Some([format, path])) => of_recording(args, format, path)?,
        _ => bail!("expected a dataset or a recording\nhint: --report DATASET, or --report --from mcap FILE"),
    };
    if tally.samples == 0 {
        bail!("expected samples, got none\nhint: samples are made of lidar sweeps and camera images");
    }
    if let Some(file) = &args.html {
        super::write_page(file, &html::page(&tally))?;
        ui::say(&format!("written: {}", file.display()));
    }
    if args.json {
        ui::print(&serde_json::to_string(&tally.report()).context("cannot write the report")?);
    } else {
        ui::print(text::page(&tally).trim_end());
    }
    Ok(if is_truncated { Outcome::DataLost } else { Outcome::Done })
}

fn of_dataset(args: &SyncArgs, dataset: &str) -> anyhow::Result<Tally> {
    let config = load_config(args.config.as_deref(), None)?;
    tally_of(&Dataset::open_at(&locate(dataset, &config.store)?)?)
}

/// Also whether the recording was cut.
fn of_recording(args: &SyncArgs, format: &str, path: &str) -> anyhow::Result<(Tally, bool)> {
    let read = into_temporary_dataset(load_config(args.config.as_deref(), None)?, format, path)?;
    Ok((tally_of(&read.dataset)?, read.is_truncated))
}

fn tally_of(dataset: &Dataset) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for entry in dataset.clips(None)? {
        let reader = ClipReader::open(dataset, &entry)?;
        reader.samples()?.iter().for_each(|sample| tally.sample(&entry.vehicle, sample));
        reader.findings()?.iter().for_each(|finding| tally.finding(&entry.vehicle, finding));
    }
    Ok(tally)
}
