//! One module a command.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use boxwright_pipeline::{Config, Progress, RunJob, StopSignal};
use boxwright_shard::{Dataset, DatasetLocation, StoreConfig};
use boxwright_source::Recording;
use boxwright_source::recording::{KittiRaw, RecordingSource, mcap};

use crate::args::RecordingFormat;
use crate::{signals, ui};

pub(crate) mod demo;

pub(crate) mod run;

pub(crate) mod replay;

pub(crate) mod verify;

pub(crate) mod sync;

pub(crate) mod calib;

pub(crate) mod view;

pub(crate) mod review;

pub(crate) mod labels;

pub(crate) mod eval;

pub(crate) mod track;

pub(crate) mod topics;

pub(crate) mod broker;

pub(crate) mod health;

pub(crate) mod config;

/// The configuration file, or the defaults; `--brokers` wins over both.
pub(crate) fn load_config(file: Option<&Path>, brokers: Option<&str>) -> anyhow::Result<Config> {
    let mut config = match file {
        Some(file) => Config::load(file)?,
        None => Config::embedded()?,
    };
    if let Some(brokers) = brokers {
        config.kafka.brokers = brokers.to_owned();
    }
    Ok(config)
}

/// Where a dataset lives. Credentials of object stores come from the environment, under the names that their own tools use.
pub(crate) fn locate(dataset: &str, config: &StoreConfig) -> anyhow::Result<DatasetLocation> {
    let mut config = config.clone();
    if config.spool_dir.as_os_str().is_empty() {
        config.spool_dir = std::env::temp_dir();
    }
    let of_a_store = |name: &String| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix));
    let ambient: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| of_a_store(name))
        .map(|(name, value)| (name.to_lowercase(), value))
        .collect();
    Ok(DatasetLocation::parse(dataset, &config, &ambient)?)
}

/// Opens a recording. The vehicle's id is the given one, or the name of the file or folder.
pub(crate) fn open_recording(format: RecordingFormat, path: &Path, vehicle: Option<&str>) -> anyhow::Result<Box<dyn Recording>> {
    let vehicle = vehicle.map(Arc::<str>::from);
    Ok(match format {
        RecordingFormat::KittiRaw => Box::new(KittiRaw::open(path, vehicle)?),
        RecordingFormat::Mcap => mcap::open(path, vehicle)?,
    })
}

/// A recording that was read into a dataset which is gone with its folder.
pub(crate) struct TemporaryDataset {
    pub(crate) dataset: Dataset,
    /// The recording ends before its end.
    pub(crate) is_truncated: bool,
    _folder: tempfile::TempDir,
}

/// A recording goes the way that it goes with `run`: what is reported is what would be stored. Interrupted, it leaves nothing behind.
pub(crate) fn into_temporary_dataset(config: Config, format: &str, path: &str) -> anyhow::Result<TemporaryDataset> {
    let config = Arc::new(config);
    let taxonomy = Arc::new(config.load_taxonomy()?);
    let recording = open_recording(parse_format(format)?, path.as_ref(), None)?;
    let mut source = RecordingSource::new(recording, &config.kafka.topic_prefix);
    let folder = tempfile::tempdir().context("cannot make a folder for temporary files")?;
    let dataset = Dataset::open_or_create(folder.path(), config.grid())?;
    let progress = Arc::new(Progress::default());
    let (stop, interrupted) = (Arc::new(StopSignal::default()), Arc::new(AtomicBool::new(false)));
    signals::listen(stop.clone(), interrupted.clone())?;
    let job = RunJob { progress: progress.clone(), stop, ..RunJob::new(config, taxonomy, Some(dataset.clone())) };
    let display = ui::ProgressDisplay::start(progress, source.recording().total_messages_hint());
    let ended = boxwright_pipeline::run(&mut source, job);
    drop(display);
    ended?;
    let recording = source.recording();
    recording.warnings().iter().for_each(|warning| ui::say(&format!("warning: {warning}")));
    if interrupted.load(Ordering::SeqCst) {
        bail!("interrupted while the recording was read: nothing is reported\nhint: `run` keeps what it has read");
    }
    Ok(TemporaryDataset { dataset, is_truncated: recording.is_truncated(), _folder: folder })
}

/// `--from FORMAT PATH`.
pub(crate) fn parse_format(text: &str) -> anyhow::Result<RecordingFormat> {
    match text {
        "kitti-raw" => Ok(RecordingFormat::KittiRaw),
        "mcap" => Ok(RecordingFormat::Mcap),
        other => bail!(
            "unknown format of a recording: expected kitti-raw or mcap, got {other:?}\nhint: a ROS 2 bag is a folder of MCAP files: mcap FOLDER"
        ),
    }
}

/// Writes a page, over an older page but over nothing else: a name that was mistaken for another must not cost anybody his labels.
pub(crate) fn write_page(file: &Path, html: &str) -> anyhow::Result<()> {
    const BEGIN: &str = "<!doctype html";
    match std::fs::read(file) {
        Ok(found)
            if !found.is_empty() && !found.get(..BEGIN.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(BEGIN.as_bytes())) =>
        {
            bail!(
                "--html: expected a new file or an older page, got {} with something else in it\nhint: choose another name",
                file.display()
            )
        }
        _ => std::fs::write(file, html)
            .with_context(|| format!("cannot write {}\nhint: its folder must exist and be writable", file.display())),
    }
}
