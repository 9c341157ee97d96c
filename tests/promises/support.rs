//! A broker in the process and what tests do with it.

use std::path::Path;
use std::time::Duration;

use boxwright_pipeline::Config;
use boxwright_source::OutgoingMessage;
use boxwright_source::broker::EmbeddedBroker;
use boxwright_source::kafka::topics::{self, TopicPlan};
use boxwright_source::kafka::{KafkaConfig, KafkaSink};

/// A broker on a free port with the project's topics.
pub(crate) struct TestBroker {
    broker: EmbeddedBroker,
}

impl TestBroker {
    pub(crate) fn start(partitions: i32) -> Self {
        let test = Self { broker: EmbeddedBroker::start(([127, 0, 0, 1], 0).into(), None).unwrap() };
        let config = test.config();
        topics::create(&config, &TopicPlan { partitions, replication: 1, ..TopicPlan::for_config(&config) }).unwrap();
        test
    }

    pub(crate) fn address(&self) -> String {
        self.broker.address()
    }

    pub(crate) fn config(&self) -> KafkaConfig {
        let mut config = Config::embedded().unwrap().kafka;
        config.brokers = self.address();
        config
    }

    pub(crate) fn produce(&self, messages: impl IntoIterator<Item = OutgoingMessage>) {
        let mut sink = KafkaSink::connect(&self.config()).unwrap();
        for message in messages {
            sink.send(&message).unwrap();
        }
        sink.flush(Duration::from_secs(60)).unwrap();
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
