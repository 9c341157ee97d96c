//! What is worked on: synthetic drives on topics of their own, and the dataset that an unbroken run makes of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use boxwright_pipeline::Config;
use boxwright_source::kafka::topics::{self, TopicInfo, TopicPlan};
use boxwright_source::kafka::{KafkaConfig, KafkaSink};
use boxwright_source::synthetic::{SyntheticCamera, SyntheticConfig, SyntheticDrive, SyntheticLidar};
use boxwright_source::{OutgoingMessage, Recording};
use boxwright_tests::files_below;

use crate::args::Args;
use crate::brokers::Broker;
use crate::judge;
use crate::workers::Launch;

/// Silence after which a last worker ends: twice what a busy machine needs to bring a message.
pub(crate) const IDLE: &str = "4s";
/// Session of workers whom nobody stops: on a machine that is busy with other tests one of a second is missed by chance, and the last commit with it. What is
/// sealed is not lost then, the next run reads it again; but there is none, and the last worker is to commit all.
pub(crate) const CALM_SESSION: Duration = Duration::from_secs(6);
/// Drives that differ.
const DRIVES: u32 = 2;
/// How long producing may take to be acknowledged.
const FLUSH: Duration = Duration::from_secs(60);
/// How long an unbroken run may take; beyond it hangs.
pub(crate) const RUN_LIMIT: Duration = Duration::from_secs(240);

/// Topics with their messages, and the reference.
pub(crate) struct Data {
    pub(crate) kafka: KafkaConfig,
    pub(crate) reference: PathBuf,
    /// Files of the reference.
    pub(crate) files: std::collections::BTreeMap<PathBuf, Vec<u8>>,
    /// Topics as they stand after producing.
    pub(crate) topics: Vec<TopicInfo>,
    session_ms: u64,
}

impl Data {
    pub(crate) fn prepare(args: &Args, broker: &Broker, folder: &Path) -> anyhow::Result<Self> {
        let mut kafka = Config::embedded().context("the embedded configuration")?.kafka;
        kafka.brokers = broker.address();
        kafka.topic_prefix = format!("torture-{}-{}", std::process::id(), args.seed());
        topics::create(&kafka, &TopicPlan { partitions: args.partitions, replication: 1, ..TopicPlan::for_config(&kafka) })?;
        produce(args, &kafka)?;
        let topics: Vec<TopicInfo> = topics::list(&kafka)?;
        let reference = folder.join("reference/dataset");
        let mut data = Self { kafka, reference, files: Default::default(), topics, session_ms: args.session_ms };
        data.make_reference()?;
        Ok(data)
    }

    /// Messages of all frame topics.
    pub(crate) fn messages(&self) -> u64 {
        self.frame_topics().map(|topic| topic.messages).sum()
    }

    /// Clips of the reference.
    pub(crate) fn clips(&self) -> usize {
        self.files.keys().filter(|path| is_entry(path)).count()
    }

    /// The topics that hold frames, not dead letters.
    pub(crate) fn frame_topics(&self) -> impl Iterator<Item = &TopicInfo> {
        self.topics.iter().filter(|topic| !topic.name.ends_with(".dead-letter"))
    }

    /// How workers of a group are started.
    pub(crate) fn launch(&self, group: &str, folder: &Path, dataset: &Path, session: Duration) -> anyhow::Result<Launch> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let config = folder.join(format!("session-{}-ms.toml", session.as_millis()));
        // A broker that is away for some seconds is no reason for a worker to give up at its start.
        let text = format!(
            "[clip]\nlength_s = 1\n\n[kafka]\nbrokers = \"{}\"\ntopic_prefix = \"{}\"\ngroup_id = \"{}\"\nsession_timeout_ms = {}\n\
             connect_timeout_ms = 60000\n",
            self.kafka.brokers,
            self.kafka.topic_prefix,
            self.group(group),
            session.as_millis()
        );
        std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        Ok(Launch::new(config, dataset.to_owned(), folder.to_owned()))
    }

    /// The full name of a group.
    pub(crate) fn group(&self, name: &str) -> String {
        format!("{}.{name}", self.kafka.topic_prefix)
    }

    pub(crate) fn session(&self) -> Duration {
        Duration::from_millis(self.session_ms)
    }

    fn make_reference(&mut self) -> anyhow::Result<()> {
        let folder = self.reference.parent().unwrap_or(&self.reference).to_owned();
        let launch = self.launch("reference", &folder, &self.reference, CALM_SESSION)?;
        let worker = launch.start("reference", &["--stop-when-idle", IDLE, "--json"])?;
        let log = worker.log.clone();
        let status = worker.wait(RUN_LIMIT)?;
        ensure!(status.code() == Some(0), "the unbroken run ended with {status}: see {}", log.display());
        self.files = files_below(&self.reference);
        let account = judge::account(&self.reference, self)?;
        ensure!(account.is_clean(), "the unbroken run itself is not whole: {account:?}");
        Ok(())
    }
}

/// Whether a file of a dataset is a manifest entry.
pub(crate) fn is_entry(path: &Path) -> bool {
    path.starts_with("manifest") && path.extension().is_some_and(|extension| extension == "json")
}

/// All vehicles drive at once, and their messages come as they would: by time. Making a drive costs more than storing it, so that vehicles
/// share a few: what tells them apart is their name, and the topic, partition and offset that are stored with every row.
fn produce(args: &Args, kafka: &KafkaConfig) -> anyhow::Result<()> {
    let mut messages: Vec<OutgoingMessage> = Vec::new();
    for seed in 0..args.vehicles.min(DRIVES) {
        let mut drive = SyntheticDrive::new(drive_of(seed, args.seconds))?;
        while let Some(message) = drive.next_message()? {
            let sharing = (seed..args.vehicles).step_by(DRIVES as usize);
            messages
                .extend(sharing.map(|number| OutgoingMessage { vehicle: format!("torture-{number}").into(), ..message.clone() }));
        }
    }
    messages.sort_by_key(|message| message.stamp_ns);
    let mut sink = KafkaSink::connect(kafka)?;
    for message in &messages {
        sink.send(message)?;
    }
    sink.flush(FLUSH)?;
    Ok(())
}

/// Few points and small pictures: the work is to store, not to label.
fn drive_of(seed: u32, seconds: u32) -> SyntheticConfig {
    let defaults = SyntheticConfig::default();
    let cameras = defaults.cameras.iter().take(1).map(|camera| SyntheticCamera { width_px: 32, height_px: 18, ..camera.clone() });
    SyntheticConfig {
        seed: u64::from(seed),
        seconds: f64::from(seconds),
        sweep_rate_hz: 5.0,
        pose_rate_hz: 10.0,
        lidar: SyntheticLidar { beams: 8, columns: 120, ..defaults.lidar.clone() },
        cameras: cameras.collect(),
        ..defaults
    }
}
