//! Proves that a dataset is whole: that every file is what its entry says, and that every message is in exactly one clip.
//!
//! What is held against what:
//! - each file that an entry names is there, with its length, its sha256 and its rows; no shard stands there that no entry names;
//! - each entry names the one before it by the sha256 of its bytes: an entry that was changed or taken away shows in its successor;
//! - the offsets of a partition over all clips and vehicles are one run without a hole, and no offset is in two clips;
//! - within a clip the numbers add up: messages = used + late + duplicates + dead letters, and rows = what was used;
//! - each sweep, image and late message in a shard names a message of its clip, and no message stands in two rows.
//!
//! A hole is not a loss yet: messages that could not be understood are in the dead-letter topic, and a broker has offsets without a
//! message (control records, what it has expired). Who has the broker at hand settles the holes with [`Verification::settle`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use boxwright_model::{ClipId, SourcePosition};
use serde::Serialize;

use crate::dataset::Dataset;
use crate::error::ShardError;
use crate::manifest::ManifestEntry;
use crate::reader::ClipReader;
use crate::schema::Table;

/// Holes and overlaps that are listed of one partition, at most: a dataset of another topic has as many as there are messages.
const LISTED_PER_PARTITION: usize = 100;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// An entry cannot be read.
    UnreadableEntry,
    /// An entry names a predecessor that is gone or was changed.
    BrokenChain,
    /// A file that an entry names is not there.
    MissingFile,
    /// A file is not what its entry says.
    ChangedFile,
    /// A shard that no entry names.
    UnlistedFile,
    /// Offsets that are in no clip.
    Hole,
    /// Offsets that are in more than one clip.
    Overlap,
    /// The numbers of a clip do not add up.
    Count,
    /// A row names a message that is not in its clip, or one that another row names too.
    Row,
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnreadableEntry => "unreadable entry",
            Self::BrokenChain => "broken chain",
            Self::MissingFile => "missing file",
            Self::ChangedFile => "changed file",
            Self::UnlistedFile => "unlisted file",
            Self::Hole => "hole",
            Self::Overlap => "overlap",
            Self::Count => "count",
            Self::Row => "row",
        })
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// What.
    pub kind: ProblemKind,
    /// Where: a file, an entry, or a partition with its offsets.
    pub place: String,
    /// Both sides of the comparison.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.kind, self.place, self.message)
    }
}

/// What the clips of a dataset hold of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionAccount {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// First offset in any clip.
    pub first_offset: i64,
    /// Last offset in any clip, inclusive.
    pub last_offset: i64,
    /// Messages in clips.
    pub messages: u64,
    /// Offsets between the first and the last that are in no clip: runs `[first, last]`, inclusive.
    pub holes: Vec<[i64; 2]>,
}

/// The name in [`Verification::ends`] of messages of recordings that are in no clip.
pub const LEFT_OUT_OF_RECORDINGS: &str = "left_out_of_recordings";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Entries read.
    pub entries: u64,
    /// Files whose hash was compared.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages in clips.
    pub messages: u64,
    /// Messages by what became of them.
    pub ends: BTreeMap<String, u64>,
    /// What the clips hold, by partition.
    pub partitions: Vec<PartitionAccount>,
    /// What is wrong; nothing where the dataset is whole. Holes are not among them before [`Self::settle`].
    pub problems: Vec<Problem>,
}

/// What somebody who has the broker knows of an offset that is in no clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetFate {
    /// The message is in the dead-letter topic.
    DeadLettered,
    /// The broker has no message of this offset: a control record, or expired.
    NoMessage,
    /// The group has not committed it: it is still to come.
    NotYet,
    /// It is one of a recording, which has no dead-letter topic: the run that read it has said why it left the message out.
    OfRecording,
    /// The message is there and in no place of ours.
    Lost,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    /// Widens the account of a partition to what a broker says of it: offsets from `first` to `last` that are in no clip are holes too,
    /// also those before the first and after the last clip.
    pub fn expect(&mut self, topic: &str, partition: i32, first: i64, last: i64) {
        if first > last {
            return;
        }
        let known = self.partitions.iter_mut().find(|account| account.topic == topic && account.partition == partition);
        let Some(account) = known else {
            let holes = vec![[first, last]];
            let (first_offset, last_offset) = (first, last);
            self.partitions.push(PartitionAccount {
                topic: topic.to_owned(),
                partition,
                first_offset,
                last_offset,
                messages: 0,
                holes,
            });
            return;
        };
        if first < account.first_offset {
            account.holes.insert(0, [first, account.first_offset - 1]);
            account.first_offset = first;
        }
        if last > account.last_offset {
            account.holes.push([account.last_offset + 1, last]);
            account.last_offset = last;
        }
    }

    /// Judges every offset that is in no clip. `fate` tells what became of it; without a broker nobody knows, and each counts as lost.
    pub fn settle(&mut self, mut fate: impl FnMut(&PartitionAccount, i64) -> OffsetFate) {
        let mut problems = Vec::new();
        for account in &self.partitions {
            let mut lost: Vec<[i64; 2]> = Vec::new();
            for offset in account.holes.iter().flat_map(|[first, last]| *first..=*last) {
                match fate(account, offset) {
                    OffsetFate::DeadLettered => *self.ends.entry("dead_letter_topic".to_owned()).or_default() += 1,
                    OffsetFate::NoMessage => *self.ends.entry("no_message".to_owned()).or_default() += 1,
                    OffsetFate::OfRecording => *self.ends.entry(LEFT_OUT_OF_RECORDINGS.to_owned()).or_default() += 1,
                    OffsetFate::NotYet => *self.ends.entry("not_committed".to_owned()).or_default() += 1,
                    OffsetFate::Lost => match lost.last_mut() {
                        Some([_, last]) if *last + 1 == offset => *last = offset,
                        _ => lost.push([offset, offset]),
                    },
                }
            }
            problems.extend(listed(&lost).map(|run| Problem {
                kind: ProblemKind::Hole,
                place: place(&account.topic, account.partition, run),
                message: "expected each message in a clip or in the dead-letter topic, got it in neither".to_owned(),
            }));
            problems.extend(unlisted_rest(ProblemKind::Hole, account, lost.len()));
        }
        self.problems.extend(problems);
    }
}

/// Checks a whole dataset. `progress` is told of every entry that is done.
///
/// # Errors
/// When the dataset cannot be listed. Whatever is wrong with its content is in the answer.
pub fn verify(dataset: &Dataset, mut progress: impl FnMut(&ManifestEntry)) -> Result<Verification, ShardError> {
    let mut found = Verification::default();
    let mut offsets = Offsets::default();
    for vehicle in dataset.vehicles()? {
        for (clip, revision) in dataset.entry_names(&vehicle)? {
            let entry = match dataset.entry(&vehicle, clip, revision) {
                Ok(Some(entry)) => entry,
                // Taken away between listing and reading: its successor will tell.
                Ok(None) => continue,
                Err(error) => {
                    found.problem(ProblemKind::UnreadableEntry, entry_place(&vehicle, clip, revision), first_line(&error));
                    continue;
                }
            };
            found.entries += 1;
            found.check_chain(dataset, &entry)?;
            found.check_counts(&entry);
            found.check_files(dataset, &entry);
            if entry.revision == 0 {
                offsets.add(&entry);
            }
            progress(&entry);
        }
    }
    for path in dataset.unlisted()? {
        let message = "expected only files that a manifest entry names, got another".to_owned();
        found.problem(ProblemKind::UnlistedFile, path.display().to_string(), message);
    }
    offsets.account(&mut found);
    found.problems.sort();
    Ok(found)
}

impl Verification {
    fn problem(&mut self, kind: ProblemKind, place: String, message: String) {
        self.problems.push(Problem { kind, place, message });
    }

    fn check_chain(&mut self, dataset: &Dataset, entry: &ManifestEntry) -> Result<(), ShardError> {
        let Some(previous) = &entry.previous else { return Ok(()) };
        let found = dataset.entry_sha256(&entry.vehicle, previous.clip, previous.revision)?;
        if found.as_ref() != Some(&previous.sha256) {
            let place = entry_place(&entry.vehicle, previous.clip, previous.revision);
            let got = found.unwrap_or_else(|| "no such entry".to_owned());
            self.problem(
                ProblemKind::BrokenChain,
                place,
                format!("expected sha256 {} as its successor says, got {got}", previous.sha256),
            );
        }
        Ok(())
    }

    fn check_counts(&mut self, entry: &ManifestEntry) {
        let counts = &entry.counts;
        let place = entry_place(&entry.vehicle, entry.clip, entry.revision);
        let dropped = |reason: &str| counts.dropped.get(reason).copied().unwrap_or(0);
        let used = |kind: &str| counts.used.get(kind).copied().unwrap_or(0);
        if entry.revision > 0 {
            return;
        }
        // Somebody may have written anything into an entry.
        let from_sources = entry.sources.iter().fold(0_u64, |sum, range| sum.saturating_add(range.count));
        let runs = entry.sources.iter().flat_map(|range| &range.runs);
        let from_runs = runs.fold(0_u64, |sum, [first, last]| sum.saturating_add(last.abs_diff(*first).saturating_add(1)));
        let ended = counts.used.values().sum::<u64>() + counts.late + counts.dead_lettered + dropped("duplicate");
        let rows = |table: Table| entry.rows.get(&table).copied().unwrap_or(0);
        let comparisons = [
            ("messages by their offsets", counts.frames, from_sources),
            ("messages by the runs of their offsets", counts.frames, from_runs),
            ("messages by what became of them (used, late, duplicate, dead letter)", counts.frames, ended),
            ("sweeps, without empty ones", used("lidar") - dropped("empty_sweep").min(used("lidar")), rows(Table::Lidar)),
            ("images", used("camera"), rows(Table::Camera)),
            ("late messages", counts.late, rows(Table::Late)),
            ("samples", counts.samples, rows(Table::Sample)),
        ];
        for (what, expected, got) in comparisons {
            if expected != got {
                self.problem(ProblemKind::Count, place.clone(), format!("{what}: expected {expected}, got {got}"));
            }
        }
        self.messages += counts.frames;
        let ends = counts.used.iter().map(|(kind, count)| (format!("used_{kind}"), *count));
        let others = [("late", counts.late), ("duplicate", dropped("duplicate")), ("dead_lettered", counts.dead_lettered)];
        for (end, count) in ends.chain(others.map(|(end, count)| (end.to_owned(), count))) {
            *self.ends.entry(end).or_default() += count;
        }
    }

    fn check_files(&mut self, dataset: &Dataset, entry: &ManifestEntry) {
        let mut is_sound = true;
        for file in &entry.files {
            let problem = match dataset.file_sha256(file) {
                Ok(Some((sha256, bytes))) if sha256 == file.sha256 && bytes == file.bytes => None,
                Ok(Some((sha256, bytes))) => Some((
                    ProblemKind::ChangedFile,
                    format!("expected {} bytes of sha256 {}, got {bytes} of {sha256}", file.bytes, file.sha256),
                )),
                Ok(None) => Some((ProblemKind::MissingFile, "expected a file, got none".to_owned())),
                Err(error) => Some((ProblemKind::ChangedFile, first_line(&error))),
            };
            self.files += 1;
            self.bytes += file.bytes;
            if let Some((kind, message)) = problem {
                is_sound = false;
                self.problem(kind, file.path.clone(), message);
            }
        }
        if is_sound && entry.revision == 0 {
            self.check_rows(dataset, entry);
        }
    }

    /// Every row that came from a message names one of the clip's, and no two name the same.
    fn check_rows(&mut self, dataset: &Dataset, entry: &ManifestEntry) {
        let mut seen = BTreeSet::new();
        for table in [Table::Lidar, Table::Camera, Table::Late] {
            let Some(file) = entry.file(table) else { continue };
            let positions = ClipReader::open(dataset, entry).and_then(|reader| reader.source_positions(table));
            let positions = match positions {
                Ok(positions) => positions,
                Err(error) => {
                    self.problem(ProblemKind::ChangedFile, file.path.clone(), first_line(&error));
                    continue;
                }
            };
            for position in positions {
                let SourcePosition { topic, partition, offset } = &position;
                if !entry.sources.iter().any(|range| range.contains(topic, *partition, *offset)) {
                    let message = format!("expected rows of this clip's messages, got one of {position}");
                    self.problem(ProblemKind::Row, file.path.clone(), message);
                }
                if !seen.insert(position.clone()) {
                    let message = format!("expected each message in one row, got {position} in two");
                    self.problem(ProblemKind::Row, file.path.clone(), message);
                }
            }
        }
    }
}

/// Runs of offsets by partition, over all clips.
#[derive(Default)]
struct Offsets {
    runs: BTreeMap<(String, i32), Vec<([i64; 2], String)>>,
}

impl Offsets {
    fn add(&mut self, entry: &ManifestEntry) {
        let place = entry_place(&entry.vehicle, entry.clip, entry.revision);
        for range in &entry.sources {
            let of_partition = self.runs.entry((range.topic.clone(), range.partition)).or_default();
            of_partition.extend(range.runs.iter().map(|run| (*run, place.clone())));
        }
    }

    fn account(self, found: &mut Verification) {
        for ((topic, partition), mut runs) in self.runs {
            runs.sort();
            let Some((first, _)) = runs.first() else { continue };
            let mut account = PartitionAccount {
                topic,
                partition,
                first_offset: first[0],
                last_offset: first[0] - 1,
                messages: 0,
                holes: Vec::new(),
            };
            let mut overlaps = 0;
            let mut owner = String::new();
            for ([first, last], place) in runs {
                if first <= account.last_offset {
                    overlaps += 1;
                    if overlaps <= LISTED_PER_PARTITION {
                        let message = format!("expected each message in one clip, got it in {owner} and {place}");
                        let run = [first, last.min(account.last_offset)];
                        found.problem(ProblemKind::Overlap, self::place(&account.topic, account.partition, run), message);
                    }
                } else if first > account.last_offset + 1 {
                    account.holes.push([account.last_offset + 1, first - 1]);
                }
                account.messages += last.abs_diff(first) + 1;
                if last > account.last_offset {
                    account.last_offset = last;
                    owner = place;
                }
            }
            found.problems.extend(unlisted_rest(ProblemKind::Overlap, &account, overlaps));
            found.partitions.push(account);
        }
    }
}

fn listed(runs: &[[i64; 2]]) -> impl Iterator<Item = [i64; 2]> {
    runs.iter().take(LISTED_PER_PARTITION).copied()
}

/// Says how many problems of a kind were not listed.
fn unlisted_rest(kind: ProblemKind, account: &PartitionAccount, count: usize) -> Option<Problem> {
    let more = count.checked_sub(LISTED_PER_PARTITION).filter(|more| *more > 0)?;
    let place = format!("{}[{}]", account.topic, account.partition);
    Some(Problem { kind, place, message: format!("and {more} more runs of offsets") })
}

fn place(topic: &str, partition: i32, [first, last]: [i64; 2]) -> String {
    if first == last { format!("{topic}[{partition}]@{first}") } else { format!("{topic}[{partition}]@{first}..={last}") }
}

fn entry_place(vehicle: &str, clip: ClipId, revision: i32) -> String {
    format!("vehicle {vehicle} clip {clip} revision {revision}")
}

fn first_line(error: &ShardError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
