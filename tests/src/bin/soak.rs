//! Feeds one `boxwright run` without a pause for a long time, and looks at its memory: the bound that the README states must hold at the
//! end as it held at the beginning.
//!
//! ```text
//! bash tests/kafka run cargo run --release -p boxwright-tests --bin soak -- --minutes 60 --vehicles 10
//! ```
//! Vehicles drive through a synthetic street, one minute after the other; what is produced is always [`AHEAD`] messages ahead of what is
//! committed, so that the worker never waits for data: the load is what it can take, and the report says how many vehicles of real time that
//! is. What is committed is deleted from the topics and what is sealed from the dataset, because an hour of it fits no small disk.
//!
//! Exit codes: 0 memory stayed within the bound and did not grow, 1 it did not, 2 bad arguments.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool of the command line: the report is data, the rest is talk")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use boxwright_pipeline::Config;
use boxwright_source::kafka::topics::{self, TopicPlan};
use boxwright_source::kafka::{KafkaConfig, KafkaSink};
use boxwright_source::synthetic::{SyntheticCamera, SyntheticConfig, SyntheticDrive, SyntheticLidar};
use boxwright_source::{OutgoingMessage, Recording};
use boxwright_tests::{program, test_brokers};
use clap::Parser;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;

/// Messages that are produced beyond what is committed, a vehicle: more than a clip that is open and one that is read ahead.
const AHEAD: u64 = 3000;
/// Length of a drive, a whole number of clips: where one drive ends and the next begins elsewhere, so does a clip.
const DRIVE_S: i64 = 20;
/// How often memory is looked at, and what is done with is deleted.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a file of the dataset is kept.
const KEEP_FILES: Duration = Duration::from_secs(30);
/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much more memory the last tenth may take than the third tenth: the allocator's noise, not a leak.
const GROWTH: f64 = 1.10;

/// Feed a worker without a pause, and see whether its memory stays within its bound.
#[derive(Debug, Parser)]
#[command(name = "soak", after_help = "Exit codes: 0 memory is bounded, 1 it is not, 2 bad arguments")]
struct Args {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// Vehicles that drive at once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=64))]
    vehicles: u32,
    /// Beams of the lidar; with 600 firings a turn they make its points. By default payloads are large enough not to be copied
    #[arg(long, value_name = "N", default_value_t = 192, value_parser = clap::value_parser!(u32).range(2..=256))]
    beams: u32,
    /// What the worker may take, in MiB: by default the README's rule for ten vehicles (64 + 1024 + 10 times nine tables of 8 and 8 of what stood, and a quarter more)
    #[arg(long, value_name = "MIB", default_value_t = 2360)]
    bound_mib: u64,
    /// End with one JSON object on stdout
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match soak(&args) {
        Ok(report) => {
            println!("{}", if args.json { report.to_json() } else { report.to_text() });
            if report.is_bounded() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak(args: &Args) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new().prefix("boxwright-soak-").tempdir()?;
    let mut kafka = Config::embedded().context("the embedded configuration")?.kafka;
    kafka.brokers = test_brokers().context("no broker\nhint: bash tests/kafka run COMMAND starts one and names it")?;
    kafka.topic_prefix = format!("soak-{}", std::process::id());
    kafka.group_id.clone_from(&kafka.topic_prefix);
    let partitions = args.vehicles.min(4).cast_signed();
    topics::create(&kafka, &TopicPlan { partitions, replication: 1, ..TopicPlan::for_config(&kafka) })?;
    let mut feeder = Feeder::new(args, &kafka)?;
    feeder.feed(AHEAD * u64::from(args.vehicles))?;

    let dataset = folder.path().join("dataset");
    let mut worker = Worker::start(folder.path(), &dataset, &kafka)?;
    let mut desk = Desk::new(&kafka, partitions)?;
    let (started, mut rss_mib) = (Instant::now(), Vec::new());
    while started.elapsed() < Duration::from_secs(args.minutes * 60) {
        let turn = Instant::now();
        rss_mib.push(worker.rss_mib()?);
        let done = desk.clear()?;
        feeder.feed(done + AHEAD * u64::from(args.vehicles))?;
        clear_files(&dataset)?;
        if rss_mib.len() % 60 == 0 {
            eprintln!("{} min: {done} messages committed, {} MiB", rss_mib.len() / 60, rss_mib.last().unwrap_or(&0));
        }
        std::thread::sleep(LOOK_EVERY.saturating_sub(turn.elapsed()));
    }
    let messages = desk.clear()?;
    Ok(Report {
        vehicles: args.vehicles,
        bound_mib: args.bound_mib,
        seconds: started.elapsed().as_secs_f64(),
        drive_s: messages as f64 / feeder.messages_per_second(),
        messages,
        peak_mib: worker.peak_mib()?,
        rss_mib,
    })
}

/// Produces drives, one after the other.
struct Feeder {
    config: SyntheticConfig,
    vehicles: u32,
    sink: KafkaSink,
    drive: Vec<OutgoingMessage>,
    next: usize,
    sent: u64,
}

impl Feeder {
    fn new(args: &Args, kafka: &KafkaConfig) -> anyhow::Result<Self> {
        let defaults = SyntheticConfig::default();
        let cameras =
            defaults.cameras.iter().take(1).map(|camera| SyntheticCamera { width_px: 320, height_px: 180, ..camera.clone() });
        let config = SyntheticConfig {
            seconds: DRIVE_S as f64,
            start_stamp_ns: defaults.start_stamp_ns / (DRIVE_S * 1_000_000_000) * (DRIVE_S * 1_000_000_000),
            lidar: SyntheticLidar { beams: args.beams, columns: 600, ..defaults.lidar.clone() },
            cameras: cameras.collect(),
            threads: 1,
            ..defaults
        };
        Ok(Self { config, vehicles: args.vehicles, sink: KafkaSink::connect(kafka)?, drive: Vec::new(), next: 0, sent: 0 })
    }

    /// Sends until so many messages were sent in all.
    fn feed(&mut self, until: u64) -> anyhow::Result<()> {
        while self.sent < until {
            if self.next == self.drive.len() {
                let mut drive = SyntheticDrive::new(self.config.clone())?;
                self.drive = std::iter::from_fn(|| drive.next_message().transpose()).collect::<Result<_, _>>()?;
                self.drive.sort_by_key(|message| message.stamp_ns);
                self.config.start_stamp_ns += DRIVE_S * 1_000_000_000;
                self.next = 0;
            }
            let message = &self.drive[self.next];
            for number in 0..self.vehicles {
                self.sink.send(&OutgoingMessage { vehicle: format!("soak-{number}").into(), ..message.clone() })?;
            }
            self.next += 1;
            self.sent += u64::from(self.vehicles);
        }
        self.sink.flush(PATIENCE)?;
        Ok(())
    }

    /// Of one vehicle in real time.
    fn messages_per_second(&self) -> f64 {
        self.drive.len() as f64 / DRIVE_S as f64
    }
}

/// Looks at what is committed, and deletes it.
struct Desk {
    consumer: BaseConsumer,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    partitions: TopicPartitionList,
    /// By topic and partition.
    deleted: BTreeMap<(String, i32), i64>,
}

impl Desk {
    fn new(kafka: &KafkaConfig, count: i32) -> anyhow::Result<Self> {
        let mut partitions = TopicPartitionList::new();
        kafka.topics().iter().for_each(|topic| partitions.add_partition_range(topic, 0, count - 1));
        Ok(Self {
            consumer: kafka.consumer_config()?.create()?,
            admin: kafka.admin_config()?.create()?,
            runtime: tokio::runtime::Builder::new_current_thread().build()?,
            partitions,
            deleted: BTreeMap::new(),
        })
    }

    /// Returns how many messages are committed in all.
    fn clear(&mut self) -> anyhow::Result<u64> {
        let committed = match self.consumer.committed_offsets(self.partitions.clone(), PATIENCE) {
            Ok(committed) => committed,
            // The group has only begun, or its coordinator moves: asked again at the next look. A worker that never commits is seen by
            // its count, which does not rise.
            Err(error)
                if matches!(
                    error.rdkafka_error_code(),
                    Some(
                        RDKafkaErrorCode::NotCoordinator
                            | RDKafkaErrorCode::CoordinatorLoadInProgress
                            | RDKafkaErrorCode::CoordinatorNotAvailable
                    )
                ) =>
            {
                return Ok(self.total());
            }
            Err(error) => return Err(error.into()),
        };
        let mut finished = TopicPartitionList::new();
        for one in committed.elements() {
            let place = (one.topic().to_owned(), one.partition());
            if let Offset::Offset(offset) = one.offset()
                && self.deleted.get(&place).is_none_or(|deleted| *deleted < offset)
            {
                finished.add_partition_offset(one.topic(), one.partition(), one.offset())?;
                self.deleted.insert(place, offset);
            }
        }
        if finished.count() > 0 {
            self.runtime.block_on(self.admin.delete_records(&finished, &AdminOptions::new()))?;
        }
        Ok(self.total())
    }

    fn total(&self) -> u64 {
        self.deleted.values().map(|offset| offset.cast_unsigned()).sum()
    }
}

/// Deletes the files that nobody will look at again.
fn clear_files(folder: &Path) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            clear_files(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "parquet")
            && entry.metadata().and_then(|found| found.modified()).is_ok_and(|at| is_older(at, KEEP_FILES))
        {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn is_older(at: SystemTime, limit: Duration) -> bool {
    at.elapsed().is_ok_and(|age| age > limit)
}

/// `boxwright run`, killed when dropped.
struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    fn start(folder: &Path, dataset: &Path, kafka: &KafkaConfig) -> anyhow::Result<Self> {
        let config = folder.join("boxwright.toml");
        let text = format!(
            "[kafka]\nbrokers = \"{}\"\ntopic_prefix = \"{}\"\ngroup_id = \"{}\"\n",
            kafka.brokers, kafka.topic_prefix, kafka.group_id
        );
        std::fs::write(&config, text)?;
        let log = folder.join("worker.log");
        let mut command = Command::new(program());
        command.arg("run").arg("--config").arg(&config).arg("--dataset").arg(dataset);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        Ok(Self { child: command.spawn().context("cannot start boxwright")?, log })
    }

    fn rss_mib(&mut self) -> anyhow::Result<u64> {
        if let Some(status) = self.child.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            anyhow::bail!("the worker ended with {status}:\n{log}");
        }
        self.status_mib("VmRSS:")
    }

    fn peak_mib(&self) -> anyhow::Result<u64> {
        self.status_mib("VmHWM:")
    }

    fn status_mib(&self, name: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        Ok(kib.with_context(|| format!("no {name} of the worker"))? / 1024)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Report {
    vehicles: u32,
    bound_mib: u64,
    seconds: f64,
    /// Seconds of sensor data that were worked through, of all vehicles together.
    drive_s: f64,
    messages: u64,
    peak_mib: u64,
    /// By second.
    rss_mib: Vec<u64>,
}

impl Report {
    fn is_bounded(&self) -> bool {
        let (early, late) = (self.tenth(2), self.tenth(9));
        self.peak_mib <= self.bound_mib && late as f64 <= early as f64 * GROWTH
    }

    /// The median of a tenth of the time, from 0 to 9.
    fn tenth(&self, index: usize) -> u64 {
        let length = self.rss_mib.len() / 10;
        let mut part = self.rss_mib.get(index * length..(index + 1) * length).unwrap_or_default().to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or_default()
    }

    fn to_json(&self) -> String {
        json!({
            "vehicles": self.vehicles,
            "seconds": self.seconds,
            "messages": self.messages,
            "times_real_time": self.drive_s / self.seconds,
            "rss_mib_by_tenth": (0..10).map(|index| self.tenth(index)).collect::<Vec<_>>(),
            "peak_mib": self.peak_mib,
            "bound_mib": self.bound_mib,
            "is_bounded": self.is_bounded(),
        })
        .to_string()
    }

    fn to_text(&self) -> String {
        let tenths: Vec<String> = (0..10).map(|index| self.tenth(index).to_string()).collect();
        format!(
            "{} vehicles, {:.0} min, {} messages, {:.1} times real time\nmemory by tenths of the time: {} MiB\npeak {} MiB of {} MiB: {}",
            self.vehicles,
            self.seconds / 60.0,
            self.messages,
            self.drive_s / self.seconds,
            tenths.join(", "),
            self.peak_mib,
            self.bound_mib,
            if self.is_bounded() { "bounded" } else { "NOT bounded" },
        )
    }
}
