//! One module a command.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use boxwright_pipeline::Config;
use boxwright_source::Recording;
use boxwright_source::recording::{KittiRaw, McapFile};

use crate::args::RecordingFormat;

pub(crate) mod demo;

pub(crate) mod run;

pub(crate) mod replay;

pub(crate) mod view;

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

/// Opens a recording. The vehicle's id is the given one, or the name of the file or folder.
pub(crate) fn open_recording(format: RecordingFormat, path: &Path, vehicle: Option<&str>) -> anyhow::Result<Box<dyn Recording>> {
    let vehicle = vehicle.map(Arc::<str>::from);
    Ok(match format {
        RecordingFormat::KittiRaw => Box::new(KittiRaw::open(path, vehicle)?),
        RecordingFormat::Mcap => Box::new(McapFile::open(path, vehicle)?),
    })
}

/// `--from FORMAT PATH`.
pub(crate) fn parse_format(text: &str) -> anyhow::Result<RecordingFormat> {
    match text {
        "kitti-raw" => Ok(RecordingFormat::KittiRaw),
        "mcap" => Ok(RecordingFormat::Mcap),
        other => bail!("unknown format of a recording: expected kitti-raw or mcap, got {other:?}"),
    }
}
