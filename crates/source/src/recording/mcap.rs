//! MCAP files with Foxglove messages (`protobuf`) or ROS 2 messages (`cdr`), one by one or a folder with those of one recording.
//!
//! A file is read from start to end; in memory are one chunk and the messages in it. Payloads pass through unchanged.
//!
//! - Sensor names come from topics: see [`sensor_of_topic`]. An image topic and the calibration beside it share their sensor.
//! - Stamps come from the message's own header, not from the log time, with three exceptions: a transform that says 0 (static
//!   transforms do) has the log time; so has a message that carries no stamp, which is warned about; and so has one whose header cannot
//!   be read, so that it reaches the dead letters with its decode error and is not lost on the way. Neither format says what a stamp
//!   refers to: it is `instant`.
//! - A chunk is used when its checksum is right. One that is damaged is passed over, and the next is read.
//! - A file that ends too early (a vehicle lost power) is read as far as it goes, with the messages of its last, cut-off chunk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::mcap::records::{MessageHeader, Record, op};
use ::mcap::{MAGIC, McapError};
use boxwright_model::{SensorKind, StampRef};
use bytes::Bytes;

use self::channels::{Channels, Names, ReadChannel};
use self::frames::RecordReader;
use self::parse::parse;
use self::summary::{Summary, take_summary};
use super::notes::Notes;
use super::origin::name_of;
use crate::error::RecordingError;
use crate::record::{OutgoingMessage, Recording, SkippedChannel};
use crate::wire;

mod frames;

mod chunk;

mod parse;

mod summary;

mod channels;

mod folder;

#[cfg(test)]
mod tests;

pub use channels::sensor_of_topic;
pub use folder::McapFolder;

/// Largest record or decompressed chunk that is read. Writers make chunks of one to a few megabytes.
const MAX_RECORD_BYTES: u64 = 1 << 30;
/// Bytes at the beginning of a file by which it is known again: header, channels and the first chunk, whose stamps and checksum no other file has. So a file that was
/// cut is the same recording as the whole, and what is cut within them is not worth knowing again.
const KNOWN_BY_BYTES: u64 = 1 << 20;
/// A file of `n` bytes may hold records of `SMALL_RECORD_BYTES + n * MAX_COMPRESSION_RATIO`: sensor data never compresses that well,
/// and a damaged size in a small file does not ask for gigabytes.
const SMALL_RECORD_BYTES: u64 = 64 << 20;
const MAX_COMPRESSION_RATIO: u64 = 64;

/// Opens an MCAP file, or a folder with those of one recording.
///
/// # Errors
/// As [`McapFile::open`] and [`McapFolder::open`].
pub fn open(path: &Path, vehicle: Option<Arc<str>>) -> Result<Box<dyn Recording>, RecordingError> {
    Ok(if path.is_dir() { Box::new(McapFolder::open(path, vehicle)?) } else { Box::new(McapFile::open(path, vehicle)?) })
}

/// An MCAP file, read chunk by chunk.
pub struct McapFile {
    path: PathBuf,
    vehicle: Arc<str>,
    reader: RecordReader,
    max_bytes: usize,
    /// Content of the record being looked at; kept for its capacity.
    record: Vec<u8>,
    /// Messages of the chunk that was read last: bounded by the chunk's decompressed size.
    queue: VecDeque<OutgoingMessage>,
    at_end: bool,
    channels: Channels,
    /// Messages so far, by sensor: the next one's number.
    counters: BTreeMap<(SensorKind, Arc<str>), u64>,
    messages: u64,
    without_channel: u64,
    /// Messages that carry no stamp, by sensor.
    without_stamp: BTreeMap<(SensorKind, Arc<str>), u64>,
    total: Option<u64>,
    /// Log times of its first and last message, where it has a summary.
    span_ns: Option<(i64, i64)>,
    /// Its cameras and lidars that have messages, by the summary.
    seeing: BTreeSet<(SensorKind, Arc<str>)>,
    origin: Arc<str>,
    notes: Notes,
}

impl McapFile {
    /// Opens a file. The vehicle is named like the file where `vehicle` does not say otherwise.
    ///
    /// # Errors
    /// When the file cannot be read or is not an MCAP file.
    pub fn open(path: &Path, vehicle: Option<Arc<str>>) -> Result<Self, RecordingError> {
        Self::open_named(path, vehicle, Names::new())
    }

    /// Opens a file of a recording in which topics have names already.
    fn open_named(path: &Path, vehicle: Option<Arc<str>>, names: Names) -> Result<Self, RecordingError> {
        let io = |source| RecordingError::Io { path: path.to_owned(), source };
        let invalid = |message| RecordingError::Invalid { path: path.to_owned(), message };
        let mut file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(invalid("expected an MCAP file, got a folder".to_owned()));
        }
        let mut magic = Vec::new();
        file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(io)?;
        if magic != MAGIC {
            return Err(invalid(not_mcap(&magic)));
        }
        let size = if metadata.is_file() { metadata.len() } else { MAX_RECORD_BYTES };
        let limit = size.saturating_mul(MAX_COMPRESSION_RATIO).saturating_add(SMALL_RECORD_BYTES).min(MAX_RECORD_BYTES);
        let max_bytes = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut channels = Channels::after(names);
        let mut summary = None;
        // A pipe is gone when it is read, and never known again.
        let mut origin = name_of([format!("{:?}", std::time::SystemTime::now()).as_bytes()]);
        if metadata.is_file() {
            let mut beginning = Vec::new();
            file.seek(SeekFrom::Start(0))
                .and_then(|_| file.by_ref().take(KNOWN_BY_BYTES).read_to_end(&mut beginning))
                .map_err(io)?;
            origin = name_of([beginning.as_slice()]);
            // The summary tells channels and counts beforehand. It is a convenience: a file without one is read all the same.
            summary = take_summary(&mut file, size, &mut channels);
            file.seek(SeekFrom::Start(MAGIC.len() as u64)).map_err(io)?;
        }
        let Summary { total, span_ns, seeing } = summary.unwrap_or_default();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            path: path.to_owned(),
            vehicle: vehicle.unwrap_or_else(|| stem.as_ref().into()),
            reader: RecordReader::behind_magic(file, max_bytes),
            max_bytes,
            record: Vec::new(),
            queue: VecDeque::new(),
            at_end: false,
            channels,
            counters: BTreeMap::new(),
            messages: 0,
            without_channel: 0,
            without_stamp: BTreeMap::new(),
            total,
            span_ns,
            seeing,
            origin: origin.into(),
            notes: Notes::default(),
        })
    }

    /// Reads one top-level record, and what is in it into the queue.
    fn read_record(&mut self) {
        let start = self.reader.record_start();
        let mut record = std::mem::take(&mut self.record);
        match self.reader.next_record(&mut record) {
            Ok(Some(op::CHUNK)) => self.read_chunk(&record, start),
            Ok(Some(opcode)) => {
                let mut records = Vec::new();
                if let Err(error) = keep_record(opcode, &record, &mut records) {
                    self.lost(&format!("the record at byte {start} is damaged ({error}): passed over"));
                }
                self.take(records);
            }
            Ok(None) => self.finish(),
            Err(error) => self.end_early(&error, start),
        }
        self.record = record;
    }

    fn read_chunk(&mut self, body: &[u8], start: u64) {
        let mut records = Vec::new();
        match keep_chunk(body, self.max_bytes, &mut records) {
            Ok(()) => self.take(records),
            Err(error) => {
                let count = records.iter().filter(|record| matches!(record, Record::Message { .. })).count();
                self.lost(&format!(
                    "the chunk at byte {start} is damaged ({error}): it and at least {count} messages are passed over"
                ));
            }
        }
    }

    /// The file cannot be read further. Where it ends within a chunk, the messages before the cut are still there.
    fn end_early(&mut self, error: &McapError, start: u64) {
        if matches!(error, McapError::BadDataCrc { .. }) {
            self.lost(&format!("something in the file is damaged ({error})"));
            self.finish();
            return;
        }
        if let Ok(Some(body)) = self.reader.cut_chunk() {
            let mut records = Vec::new();
            if let Ok(()) | Err(McapError::UnexpectedEof) = keep_chunk(&body, self.max_bytes, &mut records) {
                self.take(records);
            }
        }
        let what = match error {
            McapError::UnexpectedEof => "the file ends in the middle of the record".to_owned(),
            other => format!("the file is damaged ({other}) in the record"),
        };
        self.lost(&format!("{what} at byte {start}: {} messages could be read", self.messages));
        self.finish();
    }

    fn finish(&mut self) {
        self.at_end = true;
        if self.without_channel > 0 {
            let count = self.without_channel;
            self.lost(&format!("{count} messages belong to no channel of the file: passed over"));
        }
        // A damaged record may look like one of a kind that is not ours; only the file's own count tells.
        let (read, counted) = (self.messages, self.total.unwrap_or_default());
        if read < counted && !self.notes.data_lost() {
            self.lost(&format!("expected {counted} messages by the file's own count, got {read}"));
        }
    }

    fn lost(&mut self, message: &str) {
        self.notes.lost(format!("{}: {message}", self.path.display()));
    }

    /// Notes schemas and channels, and queues messages.
    fn take(&mut self, records: Vec<Record<'static>>) {
        for record in records {
            match record {
                Record::Schema { header, .. } => self.channels.add_schema(header.id, header.name, header.encoding),
                Record::Channel(channel) => self.channels.add_channel(channel),
                Record::Message { header, data } => self.take_message(&header, data.into_owned().into()),
                _ => {}
            }
        }
    }

    fn take_message(&mut self, header: &MessageHeader, payload: Bytes) {
        let Some(channel) = self.channels.count(header.channel_id) else {
            self.without_channel += 1;
            return;
        };
        let Some(ReadChannel { kind, sensor, schema, encoding }) = channel else { return };
        let log_time_ns = i64::try_from(header.log_time).unwrap_or(i64::MAX);
        let stamp_ns = match wire::stamp_of(&schema, encoding, &payload) {
            Ok(Some(0) | None) if kind == SensorKind::Transform => log_time_ns,
            Ok(Some(stamp_ns)) => stamp_ns,
            Ok(None) => {
                *self.without_stamp.entry((kind, sensor.clone())).or_default() += 1;
                log_time_ns
            }
            Err(_) => log_time_ns,
        };
        let counter = self.counters.entry((kind, sensor.clone())).or_default();
        let seq = *counter;
        *counter += 1;
        self.messages += 1;
        let (vehicle, grade, stamp_ref) = (self.vehicle.clone(), "".into(), StampRef::Instant);
        let message =
            OutgoingMessage { kind, vehicle, sensor, stamp_ns, stamp_ref, seq, grade, schema, encoding, payload, log_time_ns };
        self.queue.push_back(message);
    }
}

impl Recording for McapFile {
    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, RecordingError> {
        while self.queue.is_empty() && !self.at_end {
            self.read_record();
        }
        Ok(self.queue.pop_front())
    }

    fn skipped(&self) -> Vec<SkippedChannel> {
        self.channels.skipped()
    }

    fn warnings(&self) -> Vec<String> {
        unstamped(&self.without_stamp).chain(self.notes.list()).collect()
    }

    fn is_truncated(&self) -> bool {
        self.notes.data_lost()
    }

    fn origin(&self) -> Arc<str> {
        self.origin.clone()
    }

    /// From the summary at the file's end, where it has one: the messages of the channels that are read.
    fn total_messages_hint(&self) -> Option<u64> {
        self.total
    }
}

/// Messages that carry no stamp, as sentences.
fn unstamped(counts: &BTreeMap<(SensorKind, Arc<str>), u64>) -> impl Iterator<Item = String> {
    counts
        .iter()
        .map(|((kind, sensor), count)| format!("{kind} {sensor}: {count} messages carry no stamp: their log time stands for it"))
}

/// Collects what is used of a chunk; nothing of it counts before the chunk's checksum was seen.
fn keep_chunk(body: &[u8], max_bytes: usize, kept: &mut Vec<Record<'static>>) -> Result<(), McapError> {
    let mut failed = None;
    chunk::read_chunk(body, max_bytes, |opcode, data| {
        if let Err(error) = keep_record(opcode, data, kept) {
            failed.get_or_insert(error);
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Collects a record where it is a schema, a channel or a message; others are of no use here.
fn keep_record(opcode: u8, data: &[u8], kept: &mut Vec<Record<'static>>) -> Result<(), McapError> {
    if matches!(opcode, op::SCHEMA | op::CHANNEL | op::MESSAGE) {
        kept.push(parse(opcode, data)?);
    }
    Ok(())
}

fn not_mcap(start: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let got = if start.is_empty() { "an empty file".to_owned() } else { hex(start) };
    let hint = if start.starts_with(b"#ROSBAG") {
        "this is a ROS 1 bag; `mcap convert` makes MCAP of it"
    } else if start.starts_with(b"SQLite") {
        "this is a ROS 2 bag in SQLite; `ros2 bag convert` makes MCAP of it"
    } else {
        "was it copied whole, and is it not compressed from outside (.mcap.zst)?"
    };
    format!("expected an MCAP file (magic {}), got {got}\nhint: {hint}", hex(MAGIC))
}
