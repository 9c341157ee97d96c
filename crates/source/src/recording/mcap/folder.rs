//! The files of one recording: recorders begin a new one when it is large or long enough, or write one for each sensor.
//!
//! Files are put together by log time, so that files that follow each other are read one after the other, and those of the same time
//! side by side. Two computers that record have two clocks: the log time of a recorder's files is moved by what the stamps of its cameras and lidars are apart from it at
//! the beginning. Only files that overlap are open at once, each with one chunk in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_model::SensorKind;
use boxwright_model::time::NS_PER_S;

use super::channels::Names;
use super::{McapFile, unstamped};
use crate::error::RecordingError;
use crate::record::{OutgoingMessage, Recording, SkippedChannel};
use crate::recording::notes::Notes;

/// How far files with the same sensor may overlap (nanoseconds). A recorder that changes files writes what was under way into both in
/// turn, which is some messages; copies, and other vehicles, overlap for as long as they are.
const MAX_OVERLAP_NS: i64 = NS_PER_S;
/// A longer pause between files is told (nanoseconds): recorders change files within a second, and drives are minutes apart.
const PAUSE_NS: i64 = 60 * NS_PER_S;
/// Start of a file without messages.
const NO_MESSAGE: i64 = i64::MIN;
/// Farthest that a file's log time is moved (nanoseconds): clocks of two computers are seconds apart. Stamps that are farther from it are of another time, such as the
/// seconds since a lidar was switched on, and say nothing of the order of files.
const MAX_CLOCK_NS: i64 = 60 * NS_PER_S;
/// Files that may be open at once: more sensors than a vehicle has, and fewer than a process may open (256 on macOS). Each has a chunk in memory, some megabytes.
const MAX_OPEN: usize = 64;
/// What compressors append to names.
const COMPRESSED: [&str; 7] = [".zst", ".zstd", ".gz", ".lz4", ".bz2", ".xz", ".zip"];
/// The list of files that ROS 2 writes beside them.
const METADATA: &str = "metadata.yaml";
/// Largest such list that is looked into: ten thousand files have a megabyte.
const MAX_METADATA_BYTES: u64 = 4 << 20;

/// A folder with the MCAP files of one recording, as ROS 2 writes it.
pub struct McapFolder {
    folder: PathBuf,
    vehicle: Arc<str>,
    /// Files that are still to be opened, by the time of their first message.
    waiting: VecDeque<Part>,
    reading: Vec<Reading>,
    /// What a topic's sensor was called in one file it is called in all.
    names: Names,
    /// Messages so far, by sensor: numbers go on from file to file.
    counters: BTreeMap<(SensorKind, Arc<str>), u64>,
    /// Of files that were read to their end: what was passed over, and what carries no stamp.
    skipped: BTreeMap<(String, String, String), u64>,
    without_stamp: BTreeMap<(SensorKind, Arc<str>), u64>,
    total: Option<u64>,
    /// Of the file that the last message came from.
    origin: Arc<str>,
    notes: Notes,
}

struct Part {
    path: PathBuf,
    origin: Arc<str>,
    /// Log time of its first message, moved by `clock_ns`.
    start_ns: i64,
    /// Of its last message, where it has a summary.
    end_ns: Option<i64>,
    /// Its cameras and lidars; without a summary those at its beginning.
    seeing: BTreeSet<(SensorKind, Arc<str>)>,
    /// What its log times are moved by.
    clock_ns: i64,
}

/// A file that is open, with the message that comes next.
struct Reading {
    file: McapFile,
    next: OutgoingMessage,
    clock_ns: i64,
}

impl Reading {
    /// Where the message that comes next stands among those of all files.
    fn time_ns(&self) -> i64 {
        self.next.log_time_ns.saturating_add(self.clock_ns)
    }
}

impl McapFolder {
    /// Opens the files of a folder that end in `.mcap`. The vehicle is named like the folder where `vehicle` does not say otherwise.
    ///
    /// # Errors
    /// When the folder cannot be read or has no MCAP file; when files are copies or have the same camera or lidar at the same time, because then they are not
    /// of one recording; and when more than 64 overlap.
    pub fn open(folder: &Path, vehicle: Option<Arc<str>>) -> Result<Self, RecordingError> {
        let io = |source| RecordingError::Io { path: folder.to_owned(), source };
        let invalid = |message| RecordingError::Invalid { path: folder.to_owned(), message };
        let mut names: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            names.push(entry.map_err(io)?.file_name().into());
        }
        // Systems put files of their own beside those of a drive, under the same names with a dot before them.
        names.retain(|name| !name.to_string_lossy().starts_with('.'));
        names.sort();
        let is_mcap = |name: &PathBuf| name.extension().is_some_and(|end| end.eq_ignore_ascii_case("mcap"));
        let (files, others): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| is_mcap(name) && is_file_or_broken(&folder.join(name)));
        if files.is_empty() {
            return Err(invalid(no_files(folder, &others)));
        }
        let mut notes = Notes::default();
        for name in others.iter().filter(|name| is_compressed(name)) {
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
        set_clocks(&mut parts);
        parts.sort_by_key(|part| part.start_ns);
        if let Some(message) = copies(&parts).or_else(|| torn(&parts)) {
            return Err(invalid(message));
        }
        if most_at_once(&parts) > MAX_OPEN {
            return Err(invalid(too_many(most_at_once(&parts))));
        }
        tell_pauses(&parts, &mut notes);
        let own_name = || fs::canonicalize(folder).ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Ok(Self {
            folder: folder.to_owned(),
            vehicle: vehicle.unwrap_or_else(|| own_name().unwrap_or_default().into()),
            origin: parts.first().map_or_else(|| "".into(), |part| part.origin.clone()),
            waiting: parts.into(),
            reading: Vec::new(),
            names,
            counters: BTreeMap::new(),
            skipped: BTreeMap::new(),
            without_stamp: BTreeMap::new(),
            total,
            notes,
        })
    }

    /// Opens the files whose time has come, and gives the place of the one whose message is next.
    fn turn(&mut self) -> Result<Option<usize>, RecordingError> {
        loop {
            let first = self.reading.iter().enumerate().min_by_key(|(_, one)| one.time_ns());
            let due = self.waiting.pop_front_if(|part| first.is_none_or(|(_, one)| part.start_ns <= one.time_ns()));
            let Some(part) = due else { return Ok(first.map(|(index, _)| index)) };
            if self.reading.len() >= MAX_OPEN {
                let message = too_many(self.reading.len() + 1);
                return Err(RecordingError::Invalid { path: self.folder.clone(), message });
            }
            match McapFile::open_named(&part.path, Some(self.vehicle.clone()), self.names.clone()) {
                Ok(mut file) => match file.next_message()? {
                    Some(next) => {
                        self.names.extend(file.channels.names());
                        self.reading.push(Reading { file, next, clock_ns: part.clock_ns });
                    }
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
        for warning in file.notes.list() {
            if lost { self.notes.lost(warning) } else { self.notes.note(warning) }
        }
        self.names.extend(file.channels.names());
        add_skipped(&mut self.skipped, file);
        add_unstamped(&mut self.without_stamp, file);
    }
}

impl Recording for McapFolder {
    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, RecordingError> {
        let Some(index) = self.turn()? else { return Ok(None) };
        self.origin = self.reading[index].file.origin();
        let mut message = match self.reading[index].file.next_message()? {
            Some(next) => std::mem::replace(&mut self.reading[index].next, next),
            None => {
                let Reading { file, next, .. } = self.reading.remove(index);
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
        self.reading.iter().for_each(|one| add_skipped(&mut skipped, &one.file));
        skipped.into_iter().map(|((topic, schema, reason), messages)| SkippedChannel { topic, schema, reason, messages }).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let mut without_stamp = self.without_stamp.clone();
        self.reading.iter().for_each(|one| add_unstamped(&mut without_stamp, &one.file));
        let of_open = self.reading.iter().flat_map(|one| one.file.notes.list());
        unstamped(&without_stamp).chain(self.notes.list()).chain(of_open).collect()
    }

    fn is_truncated(&self) -> bool {
        self.notes.data_lost() || self.reading.iter().any(|one| one.file.is_truncated())
    }

    /// That of the file, so that one that is missing, or comes later, moves no offset of the others.
    fn origin(&self) -> Arc<str> {
        self.origin.clone()
    }

    /// From the files' summaries, where all have one.
    fn total_messages_hint(&self) -> Option<u64> {
        self.total
    }
}

impl Part {
    /// What a file says of itself and by its first messages, and how many of its messages are read.
    fn look(path: &Path, names: &mut Names) -> Result<(Self, Option<u64>), RecordingError> {
        let mut file = McapFile::open_named(path, None, names.clone())?;
        let first = file.next_message()?;
        let beginning = || first.iter().chain(&file.queue).filter(|message| is_seeing(message.kind));
        let clock_ns = clock_ns(beginning());
        let at_beginning = beginning().map(|message| (message.kind, message.sensor.clone())).collect();
        let (start_ns, end_ns, seeing) = match (file.span_ns, &first) {
            (Some((first, last)), Some(_)) => (first, Some(last), file.seeing.clone()),
            (None, Some(first)) => (first.log_time_ns, None, at_beginning),
            (_, None) => (NO_MESSAGE, None, BTreeSet::new()),
        };
        *names = file.channels.names();
        let (origin, total) = (file.origin(), file.total);
        Ok((Self { path: path.to_owned(), origin, start_ns, end_ns, seeing, clock_ns }, total))
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// How far the stamps of cameras and lidars are from their log times, the middle one of these messages: not of the first alone, which may be off by itself.
fn clock_ns<'a>(messages: impl Iterator<Item = &'a OutgoingMessage>) -> i64 {
    let mut apart_ns: Vec<i64> = messages.map(|message| message.stamp_ns.saturating_sub(message.log_time_ns)).collect();
    apart_ns.sort_unstable();
    apart_ns.get(apart_ns.len() / 2).copied().filter(|ns| ns.saturating_abs() <= MAX_CLOCK_NS).unwrap_or(0)
}

/// Moves the log times of files, by their starts. Files that have a camera or lidar in common are of one recorder, whose clock is one: they keep their order, whatever
/// sensor happens to be at the beginning of each.
fn set_clocks(parts: &mut [Part]) {
    let mut recorder: Vec<usize> = (0..parts.len()).collect();
    let mut of_sensor: BTreeMap<&(SensorKind, Arc<str>), usize> = BTreeMap::new();
    for (index, part) in parts.iter().enumerate() {
        for sensor in &part.seeing {
            let known = *of_sensor.entry(sensor).or_insert(index);
            let (one, other) = (recorder[known].min(recorder[index]), recorder[known].max(recorder[index]));
            recorder.iter_mut().filter(|recorder| **recorder == other).for_each(|recorder| *recorder = one);
        }
    }
    // That of a recorder's first file.
    let clocks_ns: Vec<i64> = recorder.into_iter().map(|first| parts[first].clock_ns).collect();
    for (part, clock_ns) in parts.iter_mut().zip(clocks_ns).filter(|(part, _)| part.start_ns != NO_MESSAGE) {
        part.clock_ns = clock_ns;
        part.start_ns = part.start_ns.saturating_add(clock_ns);
        part.end_ns = part.end_ns.map(|end_ns| end_ns.saturating_add(clock_ns));
    }
}

fn is_seeing(kind: SensorKind) -> bool {
    matches!(kind, SensorKind::Camera | SensorKind::Lidar)
}

fn add_skipped(skipped: &mut BTreeMap<(String, String, String), u64>, file: &McapFile) {
    for channel in file.skipped() {
        *skipped.entry((channel.topic, channel.schema, channel.reason)).or_default() += channel.messages;
    }
}

fn add_unstamped(counts: &mut BTreeMap<(SensorKind, Arc<str>), u64>, file: &McapFile) {
    for (sensor, count) in &file.without_stamp {
        *counts.entry(sensor.clone()).or_default() += count;
    }
}

/// Whether two files begin alike.
fn copies(parts: &[Part]) -> Option<String> {
    let mut known: BTreeMap<&str, &Part> = BTreeMap::new();
    // All files without messages begin alike.
    let mut parts = parts.iter().filter(|part| part.start_ns != NO_MESSAGE);
    let (one, other) = parts.find_map(|part| Some((known.insert(&part.origin, part)?, part)))?;
    Some(format!(
        "expected the files of one recording, got two that begin alike, {:?} and {:?}\nhint: is one a copy, or a part of the other? A folder without it, or one \
         file by its name",
        one.name(),
        other.name()
    ))
}

/// Whether files, by their starts, have the same camera or lidar at the same time.
fn torn(parts: &[Part]) -> Option<String> {
    for (index, one) in parts.iter().enumerate() {
        let Some(end_ns) = one.end_ns else { continue };
        for other in parts[index + 1..].iter().take_while(|other| other.start_ns < end_ns) {
            let Some(other_end_ns) = other.end_ns else { continue };
            let both_ns = end_ns.min(other_end_ns).saturating_sub(other.start_ns);
            // Of short files more than half.
            let shorter_ns = end_ns.saturating_sub(one.start_ns).min(other_end_ns.saturating_sub(other.start_ns));
            if both_ns <= MAX_OVERLAP_NS.min(shorter_ns / 2) {
                continue;
            }
            if let Some((kind, sensor)) = one.seeing.intersection(&other.seeing).next() {
                return Some(format!(
                    "expected the files of one recording, got the {kind} {sensor:?} in two of the same time, {:?} and {:?}\nhint: a folder for each \
                     vehicle; or one file by its name",
                    one.name(),
                    other.name()
                ));
            }
        }
    }
    None
}

/// How many files are open when most are; of one without a summary it is not known until it is read.
fn most_at_once(parts: &[Part]) -> usize {
    let mut changes: Vec<(i64, i32)> = Vec::new();
    for part in parts {
        if let Some(end_ns) = part.end_ns {
            // One that ends in the moment in which the next begins is still open then.
            changes.extend([(part.start_ns, 1), (end_ns.saturating_add(1), -1)]);
        }
    }
    changes.sort_unstable();
    let mut open = 0;
    let open_after = changes.into_iter().map(|(_, change)| {
        open += change;
        open
    });
    usize::try_from(open_after.max().unwrap_or(0)).unwrap_or(0)
}

fn too_many(count: usize) -> String {
    format!("expected at most {MAX_OPEN} files of the same time, got {count}\nhint: `mcap merge` makes one file of several")
}

/// Tells of files that begin long after all before them have ended: they may be drives of their own.
fn tell_pauses(parts: &[Part], notes: &mut Notes) {
    let mut ended_ns: Option<i64> = None;
    for part in parts.iter().filter(|part| part.start_ns != NO_MESSAGE) {
        if let Some(pause_ns) =
            ended_ns.map(|ended_ns| part.start_ns.saturating_sub(ended_ns)).filter(|pause_ns| *pause_ns > PAUSE_NS)
        {
            notes.note(format!(
                "{}: begins {} s after all files before it have ended, and is read as the same drive of the same vehicle",
                part.path.display(),
                pause_ns / NS_PER_S
            ));
        }
        // Of a file without a summary nobody knows when it ends.
        ended_ns = ended_ns.max(part.end_ns).filter(|_| part.end_ns.is_some());
    }
}

/// Neither a folder nor a pipe, which may never have an end; a link to nothing is told when it is opened.
fn is_file_or_broken(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |metadata| metadata.is_file())
}

fn is_compressed(name: &Path) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    COMPRESSED.iter().any(|end| name.strip_suffix(end).is_some_and(|inner| inner.ends_with(".mcap")))
}

fn no_files(folder: &Path, others: &[PathBuf]) -> String {
    let ends_in = |end: &str| others.iter().any(|name| name.to_string_lossy().ends_with(end));
    let has_files = |name: &&PathBuf| {
        let inside = fs::read_dir(folder.join(name)).into_iter().flatten().flatten();
        inside.take(1_000).any(|entry| Path::new(&entry.file_name()).extension().is_some_and(|end| end == "mcap"))
    };
    let (got, hint) = if ends_in(".db3") {
        ("a ROS 2 bag in SQLite", "`ros2 bag convert` makes MCAP of it".to_owned())
    } else if ends_in(".bag") {
        ("ROS 1 bags", "`mcap convert` makes MCAP of them".to_owned())
    } else if others.iter().any(|name| is_compressed(name)) {
        ("files that are compressed from outside", "`zstd -d` or its like makes MCAP of them".to_owned())
    } else if let Some(name) = others.iter().take(1_000).find(has_files) {
        ("folders", format!("one of them: {}", folder.join(name).display()))
    } else {
        ("none", "a drive in the layout of KITTI is --from kitti-raw".to_owned())
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
    let names = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map_while(|line| line.strip_prefix("- "));
    names.map(|name| name.trim().trim_matches(['"', '\'']).to_owned()).filter(|name| name.contains(".mcap")).collect()
}

#[cfg(test)]
mod tests;
