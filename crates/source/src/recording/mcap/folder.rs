//! The files of one recording: recorders begin a new one when it is large or long enough, or write one for each sensor.
//!
//! Files are put together by log time, so that files that follow each other are read one after the other, and those of the same time
//! side by side. Only files that overlap are open at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_model::SensorKind;
use boxwright_model::time::NS_PER_S;

use super::McapFile;
use super::channels::Names;
use crate::error::RecordingError;
use crate::record::{OutgoingMessage, Recording, SkippedChannel};
use crate::recording::notes::Notes;

/// How far files with the same sensor may overlap (nanoseconds). A recorder that changes files writes what was under way into both in
/// turn, which is some messages; copies, and other vehicles, overlap for as long as they are.
const MAX_OVERLAP_NS: i64 = NS_PER_S;
/// The list of files that ROS 2 writes beside them.
const METADATA: &str = "metadata.yaml";
/// Largest such list that is looked into: ten thousand files have a megabyte.
const MAX_METADATA_BYTES: u64 = 4 << 20;

/// A folder with the MCAP files of one recording, as ROS 2 writes it.
pub struct McapFolder {
    vehicle: Arc<str>,
    /// Files that are still to be opened, by the time of their first message.
    waiting: VecDeque<Part>,
    reading: Vec<Reading>,
    /// What a topic's sensor was called in one file it is called in all.
    names: Names,
    /// Messages so far, by sensor: numbers go on from file to file.
    counters: BTreeMap<(SensorKind, Arc<str>), u64>,
    skipped: BTreeMap<(String, String, String), u64>,
    total: Option<u64>,
    notes: Notes,
}

struct Part {
    path: PathBuf,
    /// Log time of its first message.
    start_ns: i64,
    /// Of its last message, and its cameras and lidars, where it has a summary.
    end_ns: Option<i64>,
    sensors: BTreeSet<(SensorKind, Arc<str>)>,
}

/// A file that is open, with the message that comes next.
struct Reading {
    file: McapFile,
    next: OutgoingMessage,
}

impl McapFolder {
    /// Opens the files of a folder that end in `.mcap`. The vehicle is named like the folder where `vehicle` does not say otherwise.
    ///
    /// # Errors
    /// When the folder cannot be read or has no MCAP file, and when files have the same sensor at the same time: then they are not of one
    /// recording.
    pub fn open(folder: &Path, vehicle: Option<Arc<str>>) -> Result<Self, RecordingError> {
        let io = |source| RecordingError::Io { path: folder.to_owned(), source };
        let mut names: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            names.push(entry.map_err(io)?.file_name().into());
        }
        names.sort();
        let (files, others): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| name.extension().is_some_and(|end| end.eq_ignore_ascii_case("mcap")));
        if files.is_empty() {
            return Err(RecordingError::Invalid { path: folder.to_owned(), message: no_files(&others) });
        }
        let mut notes = Notes::default();
        for name in others.iter().filter(|name| name.to_string_lossy().contains(".mcap.")) {
            notes.lost(format!(
                "{}: not read, it is compressed from outside: `zstd -d` or its like first",
                folder.join(name).display()
            ));
        }
        for name in named_in_metadata(folder).into_iter().filter(|name| !folder.join(name).exists()) {
            notes.lost(format!("{}: names {name:?}, which is not in the folder", folder.join(METADATA).display()));
        }
        let (mut parts, mut total, mut refused, mut names) = (Vec::new(), Some(0_u64), None, Names::new());
        for path in files.into_iter().map(|name| folder.join(name)) {
            match Part::look(&path, &mut names) {
                Ok((part, count)) => {
                    total = total.zip(count).map(|(total, count)| total.saturating_add(count));
                    parts.push(part);
                }
                // The others are there all the same.
                Err(error) => {
                    notes.lost(error.to_string());
                    refused.get_or_insert(error);
                }
            }
        }
        if let (true, Some(error)) = (parts.is_empty(), refused) {
            return Err(error);
        }
        // Files with one start are in the order of their names.
        parts.sort_by_key(|part| part.start_ns);
        if let Some(message) = torn(&parts) {
            return Err(RecordingError::Invalid { path: folder.to_owned(), message });
        }
        let own_name = || fs::canonicalize(folder).ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let vehicle = vehicle.unwrap_or_else(|| own_name().unwrap_or_default().into());
        let (waiting, reading) = (parts.into(), Vec::new());
        Ok(Self { vehicle, waiting, reading, names, counters: BTreeMap::new(), skipped: BTreeMap::new(), total, notes })
    }

    /// Opens the files whose time has come, and gives the place of the one whose message is next.
    fn turn(&mut self) -> Result<Option<usize>, RecordingError> {
        loop {
            let first = self.reading.iter().enumerate().min_by_key(|(_, one)| one.next.log_time_ns);
            let due = self.waiting.pop_front_if(|part| first.is_none_or(|(_, one)| part.start_ns <= one.next.log_time_ns));
            let Some(part) = due else { return Ok(first.map(|(index, _)| index)) };
            match McapFile::open_named(&part.path, Some(self.vehicle.clone()), self.names.clone()) {
                Ok(mut file) => match file.next_message()? {
                    Some(next) => self.reading.push(Reading { file, next }),
                    None => self.read_out(&file),
                },
                // It was there when the folder was opened.
                Err(error) => self.notes.lost(error.to_string()),
            }
        }
    }

    /// Keeps what a file has to say that was read to its end.
    fn read_out(&mut self, file: &McapFile) {
        let lost = file.is_truncated();
        for warning in file.warnings() {
            if lost { self.notes.lost(warning) } else { self.notes.note(warning) }
        }
        self.names.extend(file.channels.names());
        for channel in file.skipped() {
            *self.skipped.entry((channel.topic, channel.schema, channel.reason)).or_default() += channel.messages;
        }
    }
}

impl Recording for McapFolder {
    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, RecordingError> {
        let Some(index) = self.turn()? else { return Ok(None) };
        let mut message = match self.reading[index].file.next_message()? {
            Some(next) => std::mem::replace(&mut self.reading[index].next, next),
            None => {
                let Reading { file, next } = self.reading.remove(index);
                self.read_out(&file);
                next
            }
        };
        let counter = self.counters.entry((message.kind, message.sensor.clone())).or_default();
        message.seq = *counter;
        *counter += 1;
        Ok(Some(message))
    }

    fn skipped(&self) -> Vec<SkippedChannel> {
        let mut skipped = self.skipped.clone();
        for channel in self.reading.iter().flat_map(|one| one.file.skipped()) {
            *skipped.entry((channel.topic, channel.schema, channel.reason)).or_default() += channel.messages;
        }
        skipped.into_iter().map(|((topic, schema, reason), messages)| SkippedChannel { topic, schema, reason, messages }).collect()
    }

    fn warnings(&self) -> Vec<String> {
        self.notes.list().into_iter().chain(self.reading.iter().flat_map(|one| one.file.warnings())).collect()
    }

    fn is_truncated(&self) -> bool {
        self.notes.data_lost() || self.reading.iter().any(|one| one.file.is_truncated())
    }

    /// From the files' summaries, where all have one.
    fn total_messages_hint(&self) -> Option<u64> {
        self.total
    }
}

impl Part {
    /// What a file says of itself, and how many of its messages are read. One without a summary tells by its first message when it begins.
    fn look(path: &Path, names: &mut Names) -> Result<(Self, Option<u64>), RecordingError> {
        let mut file = McapFile::open_named(path, None, names.clone())?;
        *names = file.channels.names();
        let (total, sensors, span) = (file.total, file.channels.seeing(), file.span_ns);
        let (start_ns, end_ns) = match span {
            Some((first, last)) => (first, Some(last)),
            None => (file.next_message()?.map_or(i64::MIN, |message| message.log_time_ns), None),
        };
        Ok((Self { path: path.to_owned(), start_ns, end_ns, sensors }, total))
    }
}

/// Whether files, by their starts, have the same camera or lidar at the same time.
fn torn(parts: &[Part]) -> Option<String> {
    let name = |part: &Part| part.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for (index, one) in parts.iter().enumerate() {
        let Some(end_ns) = one.end_ns else { continue };
        let beside = parts[index + 1..].iter().take_while(|other| end_ns.saturating_sub(other.start_ns) > MAX_OVERLAP_NS);
        for other in
            beside.filter(|other| other.end_ns.is_some_and(|end_ns| end_ns.saturating_sub(other.start_ns) > MAX_OVERLAP_NS))
        {
            if let Some((kind, sensor)) = one.sensors.intersection(&other.sensors).next() {
                return Some(format!(
                    "expected the files of one recording, got {kind} {sensor} in two of the same time, {:?} and {:?}\nhint: a folder for each \
                     vehicle, without copies; or read one file by its name",
                    name(one),
                    name(other)
                ));
            }
        }
    }
    None
}

fn no_files(others: &[PathBuf]) -> String {
    let ends_in = |end: &str| others.iter().any(|name| name.to_string_lossy().ends_with(end));
    let (got, hint) = if ends_in(".db3") {
        ("a ROS 2 bag in SQLite", "`ros2 bag convert` makes MCAP of it")
    } else if ends_in(".bag") {
        ("ROS 1 bags", "`mcap convert` makes MCAP of them")
    } else if others.iter().any(|name| name.to_string_lossy().contains(".mcap.")) {
        ("files that are compressed from outside", "`zstd -d` or its like makes MCAP of them")
    } else {
        ("none", "a drive in the layout of KITTI is --from kitti-raw")
    };
    format!("expected a folder with the .mcap files of one recording, got {got}\nhint: {hint}")
}

/// The files that ROS 2 has written, by its own list; nothing where there is none.
fn named_in_metadata(folder: &Path) -> Vec<String> {
    let mut text = String::new();
    let read = fs::File::open(folder.join(METADATA)).and_then(|file| file.take(MAX_METADATA_BYTES).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    // A list of plain names below one key: no more of YAML is needed, and a name in another form is not missed but not looked for.
    let lines = text.lines().map(str::trim).skip_while(|line| *line != "relative_file_paths:").skip(1);
    let names = lines.map_while(|line| line.strip_prefix("- "));
    names.map(|name| name.trim().trim_matches(['"', '\'']).to_owned()).filter(|name| name.ends_with(".mcap")).collect()
}

#[cfg(test)]
mod tests;
