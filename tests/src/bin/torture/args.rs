//! The command line.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Parser;

use crate::brokers::Broker;
use crate::plan::Wanted;

/// Kill, pause and starve `boxwright run`, and see whether it keeps its promise.
#[derive(Debug, Parser)]
#[command(name = "torture", after_help = "Exit codes: 0 all is as it must be, 1 it is not, 2 bad arguments")]
pub(crate) struct Args {
    /// Workers killed (kill -9), three of ten anywhere, the rest at chosen moments
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) kills: u32,
    /// Broker stopped and started again, every other time with kill -9
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) broker_stops: u32,
    /// Workers paused until another has taken their clips over, then woken
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) pauses: u32,
    /// Workers stopped in good order (SIGTERM)
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) terms: u32,
    /// Disks that run full and are given room again
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) disk_full: u32,
    /// Workers whose wall clock jumps by an hour (needs libfaketime; Debian: apt-get install libfaketime)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) clock_jumps: u32,
    /// Least number of rounds
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) rounds: u32,
    /// What everything random is drawn from; by default from the clock
    #[arg(long, value_name = "N", default_value_t = clock_seed())]
    seed: u64,
    /// Torture with the embedded broker as a process of its own (the default)
    #[arg(long)]
    pub(crate) embedded: bool,
    /// Torture with an Apache Kafka that tests/kafka starts
    #[arg(long, conflicts_with_all = ["embedded", "brokers"])]
    pub(crate) kafka: bool,
    /// Torture with this broker; it is only stopped and started where --kafka-dir says how
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "embedded")]
    pub(crate) brokers: Option<String>,
    /// The folder of the broker, where tests/kafka started it
    #[arg(long, value_name = "DIR", requires = "brokers")]
    pub(crate) kafka_dir: Option<PathBuf>,
    /// Vehicles
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) vehicles: u32,
    /// Partitions of each topic
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=64))]
    pub(crate) partitions: i32,
    /// Length of each drive in seconds, which is also its clips
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(4..=600))]
    pub(crate) seconds: u32,
    /// How long the group waits for a silent worker, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(500..=60_000))]
    pub(crate) session_ms: u64,
    /// Where to work; by default a temporary folder, which is kept where something is wrong
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Keep everything of rounds that are as they must be, too
    #[arg(long)]
    pub(crate) keep: bool,
    /// End with one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// What the plan must hold. A broker that is not ours to stop is not stopped.
    pub(crate) fn wanted(&self, broker: &Broker) -> Wanted {
        Wanted {
            kills: self.kills,
            broker_stops: if broker.can_stop() { self.broker_stops } else { 0 },
            pauses: self.pauses,
            terms: self.terms,
            disk_full: self.disk_full,
            clock_jumps: self.clock_jumps,
        }
    }

    pub(crate) fn work_folder(&self) -> anyhow::Result<tempfile::TempDir> {
        let builder = || {
            let mut builder = tempfile::Builder::new();
            builder.prefix("boxwright-torture-");
            builder
        };
        match &self.folder {
            Some(parent) => {
                std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
                builder().tempdir_in(parent)
            }
            None => builder().tempdir(),
        }
        .context("cannot create a folder to work in")
    }
}

fn clock_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}
