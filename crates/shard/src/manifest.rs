//! The manifest: one entry a sealed clip and revision, which says what is in the clip and where it came from.
//!
//! An entry is JSON, so that any tool reads it, and holds nothing but what follows from the input: no time of writing, no machine. A clip
//! that is made again from the same input gives the same entry, byte for byte. Each entry names the hash of the one before it, so that a
//! changed or missing entry shows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use boxwright_model::ClipId;
use serde::{Deserialize, Serialize};

use crate::error::ShardError;
use crate::schema::{SCHEMA_VERSION, Table};

/// Largest entry that is read: 16 MiB, a thousand times what a clip needs.
pub(crate) const MAX_ENTRY_BYTES: u64 = 16 << 20;

/// The messages of one partition that went into a clip.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceRange {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// First offset.
    pub first_offset: i64,
    /// Last offset, inclusive.
    pub last_offset: i64,
    /// How many they are.
    pub count: u64,
    /// Exactly which: runs `[first, last]` of neighbouring offsets, both inclusive, in ascending order. Other clips and other vehicles
    /// have the offsets between them, so over all entries every offset of a partition stands in one run.
    #[serde(default)]
    pub runs: Vec<[i64; 2]>,
}

impl SourceRange {
    /// The messages of one partition, by their runs: ascending, without overlap. `None` where there is none.
    #[must_use]
    pub fn from_runs(topic: &str, partition: i32, runs: Vec<[i64; 2]>) -> Option<Self> {
        let (first_offset, last_offset) = (runs.first()?[0], runs.last()?[1]);
        let count = runs.iter().map(|[first, last]| last.abs_diff(*first) + 1).sum();
        Some(Self { topic: topic.to_owned(), partition, first_offset, last_offset, count, runs })
    }

    /// Whether a message is among them.
    #[must_use]
    pub fn contains(&self, topic: &str, partition: i32, offset: i64) -> bool {
        if partition != self.partition || topic != self.topic {
            return false;
        }
        if self.runs.is_empty() {
            // An entry from before runs were written.
            return (self.first_offset..=self.last_offset).contains(&offset);
        }
        let after = self.runs.partition_point(|[first, _]| *first <= offset);
        after.checked_sub(1).and_then(|index| self.runs.get(index)).is_some_and(|[_, last]| offset <= *last)
    }
}

/// What became of the messages of a clip. Each has one end: `frames` is the sum of `used`, `late`, `dead_lettered` and the duplicates in
/// `dropped`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipCounts {
    /// Messages of the clip, of every kind.
    pub frames: u64,
    /// Messages that were decoded and used, by kind.
    #[serde(default)]
    pub used: BTreeMap<String, u64>,
    /// Samples.
    pub samples: u64,
    /// Frames in no sample, by reason. But for duplicates they are stored all the same, or hold nothing (empty sweeps).
    pub dropped: BTreeMap<String, u64>,
    /// Frames in the late table.
    pub late: u64,
    /// Messages that could not be understood.
    pub dead_lettered: u64,
}

/// What the pipeline knows of a clip when it seals it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealInfo {
    /// Where its messages stood. Sorted when written.
    pub sources: Vec<SourceRange>,
    /// Earliest stamp of a message; `None` for a clip without one.
    pub first_stamp_ns: Option<i64>,
    /// Latest stamp of a message.
    pub last_stamp_ns: Option<i64>,
    /// What became of them.
    pub counts: ClipCounts,
    /// Sensors that were declared idle while the clip was open: the one thing that a re-run cannot derive. Sorted when written.
    pub idle_sensors: Vec<String>,
    /// Data-security grade.
    pub grade: String,
    /// sha256 of everything configured that decides the labels, in hexadecimal.
    pub config_sha256: String,
    /// sha256 of each model that had a part in the labels, by name.
    pub models: BTreeMap<String, String>,
}

/// One file of a clip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Table.
    pub table: Table,
    /// Path relative to the dataset, with `/`.
    pub path: String,
    /// sha256 of the file in hexadecimal.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
}

/// The entry that came before, of the same vehicle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousEntry {
    /// Its clip.
    pub clip: ClipId,
    /// Its revision.
    pub revision: i32,
    /// sha256 of its bytes in hexadecimal.
    pub sha256: String,
}

/// What is known of a sealed clip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Program that wrote it.
    pub created_by: String,
    /// Vehicle id.
    pub vehicle: Arc<str>,
    /// Clip.
    pub clip: ClipId,
    /// Revision of the labels.
    pub revision: i32,
    /// First stamp of the clip's window.
    pub clip_start_ns: i64,
    /// First stamp after it.
    pub clip_end_ns: i64,
    /// Earliest stamp of a message.
    pub first_stamp_ns: Option<i64>,
    /// Latest stamp of a message.
    pub last_stamp_ns: Option<i64>,
    /// Data-security grade.
    pub grade: String,
    /// sha256 of everything configured that decides the labels.
    pub config_sha256: String,
    /// sha256 of each model, by name.
    pub models: BTreeMap<String, String>,
    /// What became of the messages.
    pub counts: ClipCounts,
    /// Rows of every table; a table with none has no file.
    pub rows: BTreeMap<Table, u64>,
    /// Sensors declared idle.
    pub idle_sensors: Vec<String>,
    /// Where the messages stood.
    pub sources: Vec<SourceRange>,
    /// The files, in order of tables.
    pub files: Vec<FileEntry>,
    /// The entry with the greatest clip and revision below this one when it was sealed.
    pub previous: Option<PreviousEntry>,
}

impl ManifestEntry {
    /// Bytes of all its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // An entry may come from elsewhere: its numbers need not be lengths of files.
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// The file of a table, where it has rows.
    #[must_use]
    pub fn file(&self, table: Table) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.table == table)
    }

    /// This clip with the boxes and tracks of another of its revisions: what is read through it are the sweeps, images, samples and findings
    /// of this entry and the labels of the other. Only for reading; no such entry is stored.
    #[must_use]
    pub fn with_labels_of(&self, other: &Self) -> Self {
        let is_revised = |file: &&FileEntry| Table::REVISED.contains(&file.table);
        let ours = self.files.iter().filter(|file| !is_revised(file));
        let mut files: Vec<FileEntry> = ours.chain(other.files.iter().filter(is_revised)).cloned().collect();
        files.sort_by_key(|file| file.table);
        let mut rows = self.rows.clone();
        rows.extend(Table::REVISED.map(|table| (table, other.rows.get(&table).copied().unwrap_or(0))));
        Self { revision: other.revision, files, rows, ..self.clone() }
    }

    /// The bytes that are stored.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Reads stored bytes; `path` is for messages.
    pub(crate) fn from_json(json: &[u8], path: &Path) -> Result<Self, ShardError> {
        let broken = |error: serde_json::Error| ShardError::foreign(path, format!("expected a manifest entry: {error}"));
        check_version(json, path)?;
        let entry: Self = serde_json::from_slice(json).map_err(broken)?;
        // Paths are joined to the root of the dataset; an entry from elsewhere must not lead out of it.
        let inside = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\\');
        match entry.files.iter().find(|file| !inside(&file.path)) {
            Some(file) => Err(ShardError::foreign(path, format!("expected paths inside the dataset, got {:?}", file.path))),
            None => Ok(entry),
        }
    }
}

/// Refuses what a newer program wrote, before its unknown fields give a confusing message.
pub(crate) fn check_version(json: &[u8], path: &Path) -> Result<(), ShardError> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    let broken = |error: serde_json::Error| ShardError::foreign(path, format!("expected JSON with schema_version: {error}"));
    match serde_json::from_slice::<Version>(json).map_err(broken)?.schema_version {
        got if got > SCHEMA_VERSION => Err(ShardError::SchemaVersion { path: path.to_owned(), newest: SCHEMA_VERSION, got }),
        _ => Ok(()),
    }
}

/// What sealing came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealOutcome {
    /// The clip is ours, and durable.
    Sealed(Box<ManifestEntry>),
    /// Somebody had sealed it before; our files are gone, theirs are durable.
    AlreadySealed(Box<ManifestEntry>),
}
