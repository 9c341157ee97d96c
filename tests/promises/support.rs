//! The broker that tests speak to, and what they do with it.
//!
//! One and the same tests run against two brokers: the one that the environment variable `BOXWRIGHT_TEST_BROKERS` names (`tests/kafka run`
//! sets it to a real Apache Kafka), or one in the process where it names none.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use boxwright_pipeline::Config;
use boxwright_source::OutgoingMessage;
use boxwright_source::broker::EmbeddedBroker;
use boxwright_source::kafka::topics::{self, TopicPlan};
use boxwright_source::kafka::{KafkaConfig, KafkaSink};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

/// Tells the topics of the tests of one process apart, which share a broker.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A broker with the project's topics under a prefix of the test's own.
pub(crate) struct TestBroker {
    address: String,
    prefix: String,
    /// Configuration files that name the prefix.
    files: tempfile::TempDir,
    /// Stops at the end; none where the broker is somebody else's.
    embedded: Option<EmbeddedBroker>,
    /// Whether there is a topic for boxes of a detector outside.
    detections: bool,
}

impl TestBroker {
    pub(crate) fn start(partitions: i32) -> Self {
        Self::start_with(partitions, false)
    }

    /// A broker with a topic for boxes of a detector outside.
    pub(crate) fn with_detections(partitions: i32) -> Self {
        Self::start_with(partitions, true)
    }

    fn start_with(partitions: i32, detections: bool) -> Self {
        let embedded = match boxwright_tests::test_brokers() {
            Some(_) => None,
            None => Some(EmbeddedBroker::start(([127, 0, 0, 1], 0).into(), None).unwrap()),
        };
        let address = embedded.as_ref().map_or_else(|| boxwright_tests::test_brokers().unwrap(), EmbeddedBroker::address);
        let prefix = format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let test = Self { address, prefix, files: tempfile::tempdir().unwrap(), embedded, detections };
        let config = test.config();
        topics::create(&config, &TopicPlan { partitions, replication: 1, ..TopicPlan::for_config(&config) }).unwrap();
        test
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// The topic of a kind of sensor.
    pub(crate) fn topic(&self, kind: &str) -> String {
        format!("{}.{kind}", self.prefix)
    }

    /// A name that no other test uses on this broker.
    pub(crate) fn group(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    pub(crate) fn config(&self) -> KafkaConfig {
        let mut config = Config::embedded().unwrap().kafka;
        config.brokers = self.address();
        config.topic_prefix.clone_from(&self.prefix);
        config.detections = self.detections;
        config
    }

    /// The options with which the program finds broker, topics and a consumer group of this name. `toml` is more configuration: whole
    /// tables, then lines of `[kafka]`.
    pub(crate) fn args(&self, group: &str, toml: &str, kafka: &str) -> Vec<String> {
        let file = self.files.path().join(format!("{group}.toml"));
        let ours = format!("topic_prefix = \"{}\"\ngroup_id = \"{}\"\n", self.prefix, self.group(group));
        std::fs::write(&file, format!("{toml}\n[kafka]\n{ours}{kafka}\n")).unwrap();
        ["--config", file.to_str().unwrap(), "--brokers", &self.address].map(str::to_owned).to_vec()
    }

    /// Runs the program on this broker into a dataset until nothing comes any more.
    pub(crate) fn run_until_idle(&self, dataset: &Path) -> boxwright_tests::Ended {
        self.run_until_idle_with("", dataset)
    }

    /// The same with more configuration.
    pub(crate) fn run_until_idle_with(&self, toml: &str, dataset: &Path) -> boxwright_tests::Ended {
        let connection = self.args("until-idle", toml, "");
        let mut args = vec!["run", "--dataset", dataset.to_str().unwrap(), "--stop-when-idle", "4s", "--json"];
        args.extend(connection.iter().map(String::as_str));
        boxwright_tests::boxwright(&args)
    }

    /// What `verify` says of a dataset that [`Self::run_until_idle`] wrote, held against the topics.
    pub(crate) fn verify(&self, dataset: &Path) -> String {
        let connection = self.args("until-idle", "", "");
        let mut args = vec!["verify", dataset.to_str().unwrap(), "--json"];
        args.extend(connection.iter().map(String::as_str));
        let ended = boxwright_tests::boxwright(&args);
        format!("{}\n{}", ended.out, ended.err)
    }

    pub(crate) fn produce(&self, messages: impl IntoIterator<Item = OutgoingMessage>) {
        let mut sink = KafkaSink::connect(&self.config()).unwrap();
        let mut sent = 0;
        for message in messages {
            sink.send(&message).unwrap();
            sent += 1;
        }
        assert_eq!(sink.flush(Duration::from_secs(60)).unwrap().messages, sent, "what the broker has acknowledged");
    }

    /// Deletes the topics and makes them again: their offsets begin at 0 once more.
    pub(crate) fn make_topics_anew(&self, partitions: i32) {
        self.delete_topics().unwrap();
        let config = self.config();
        // A broker deletes in its own time.
        let until = std::time::Instant::now() + Duration::from_secs(30);
        while !topics::list(&config).unwrap().is_empty() {
            assert!(std::time::Instant::now() < until, "the topics were not deleted within 30 s");
            std::thread::sleep(Duration::from_millis(200));
        }
        topics::create(&config, &TopicPlan { partitions, replication: 1, ..TopicPlan::for_config(&config) }).unwrap();
    }

    /// Deletes the topics, so that a broker of many tests holds the messages of few.
    fn delete_topics(&self) -> anyhow::Result<()> {
        let config = self.config();
        let names: Vec<String> = topics::list(&config)?.into_iter().map(|topic| topic.name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let admin: AdminClient<DefaultClientContext> = config.admin_config()?.create()?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(admin.delete_topics(&names, &AdminOptions::new()))?;
        Ok(())
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        // What is in the process goes with it.
        if self.embedded.is_none()
            && let Err(error) = self.delete_topics()
        {
            eprintln!("the topics {}.* stay behind: {error}", self.prefix);
        }
    }
}

/// The label tables of a dataset (everything that does not name offsets), by path.
pub(crate) fn label_files(dataset: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let labels = ["box3", "track", "sample", "finding", "ego_pose", "calibration"];
    let mut files = boxwright_tests::files_below(dataset);
    files.retain(|path, _| labels.iter().any(|table| path.starts_with(table)));
    files
}

/// Rows of a table over all clips, from the manifest entries.
pub(crate) fn rows(dataset: &Path, table: &str) -> u64 {
    let dataset = boxwright_shard::Dataset::open(dataset).unwrap();
    dataset
        .entries()
        .unwrap()
        .iter()
        .flat_map(|entry| &entry.files)
        .filter(|file| file.table.as_str() == table)
        .map(|file| file.rows)
        .sum()
}

/// Asserts that two folders of label files are equal to the byte, naming the first that is not.
pub(crate) fn assert_same_labels(left: &Path, right: &Path) {
    let (left, right) = (label_files(left), label_files(right));
    assert!(!left.is_empty(), "no label files at all");
    let names = |files: &std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right));
    for (path, bytes) in &left {
        assert!(right[path] == *bytes, "{} differs", path.display());
    }
}
