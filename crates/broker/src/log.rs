//! The log of one partition: record batches in order, in memory or in segment files.
//!
//! A segment file is what Apache Kafka writes: record batches one after the other, named by the first offset (`kafka-dump-log` reads it).
//! The index (16 to 32 bytes a batch) is in memory and is rebuilt from the batches' headers at the start. Files are not synced for every
//! batch, as Kafka does not: a killed process loses nothing, a power cut may take the last seconds. A batch that was cut off in writing
//! is cut away at the start.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use nisshi_sans_io::ErrorCode;
use nisshi_sans_io::record::deflated::Batch;

/// Offset, length, leader epoch, magic, checksum, attributes, last offset delta, two stamps, producer, its epoch and sequence, count.
const HEADER_BYTES: usize = 61;
/// Offset and length: what a batch's own length does not count.
const PREFIX_BYTES: u64 = 12;
/// The only format that is read and written.
const MAGIC: i8 = 2;
/// A new file is begun beyond this size: small enough to copy or to delete, large enough that a drive is a few files.
const SEGMENT_BYTES: u64 = 256 << 20;
/// Producers remembered by partition, to tell a repeated batch from a new one. The one that was silent longest is forgotten first.
const MAX_PRODUCERS: usize = 256;

/// Where a batch is.
#[derive(Clone, Debug)]
enum Place {
    Memory(Batch),
    Disk { file: Arc<File>, position: u64, bytes: u64 },
}

#[derive(Clone, Debug)]
struct Entry {
    base_offset: i64,
    last_offset: i64,
    max_timestamp_ms: i64,
    bytes: u64,
    place: Place,
}

/// What is known of an idempotent producer.
#[derive(Clone, Copy, Debug)]
struct Producer {
    epoch: i16,
    next_sequence: i32,
    last_offset: i64,
}

/// The end of the log on disk.
#[derive(Debug)]
struct Segment {
    dir: PathBuf,
    file: Option<Arc<File>>,
    position: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PartitionLog {
    entries: Vec<Entry>,
    producers: BTreeMap<i64, Producer>,
    next_offset: i64,
    /// `None` keeps everything in memory.
    segment: Option<Segment>,
}

/// Why a batch was not appended.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// What the producer is told.
    Refused(ErrorCode),
    /// The disk.
    Io(io::Error),
}

impl PartitionLog {
    /// A log in memory.
    pub(crate) fn in_memory() -> Self {
        Self::default()
    }

    /// Opens the log in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// When the folder or a file cannot be read or written.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .filter(|path| path.as_ref().is_ok_and(|path| path.extension().is_some_and(|ending| ending == "log")) || path.is_err())
            .collect::<io::Result<_>>()?;
        // Names are offsets with leading zeros.
        files.sort();
        let mut log = Self { segment: Some(Segment { dir: dir.to_owned(), file: None, position: 0 }), ..Self::default() };
        for path in files {
            let file = Arc::new(File::options().read(true).write(true).open(&path)?);
            let whole = log.read_segment(&file)?;
            if whole < file.metadata()?.len() {
                tracing::warn!(file = %path.display(), whole, "a batch was cut off in writing: cut away");
                file.set_len(whole)?;
            }
            log.segment = Some(Segment { dir: dir.to_owned(), file: Some(file), position: whole });
        }
        Ok(log)
    }

    /// Next offset to be written.
    pub(crate) fn high(&self) -> i64 {
        self.next_offset
    }

    /// First offset that is kept.
    pub(crate) fn low(&self) -> i64 {
        self.entries.first().map_or(self.next_offset, |entry| entry.base_offset)
    }

    /// The first offset of the earliest batch that holds a message at or after a time, with the batch's latest time.
    pub(crate) fn at_time(&self, timestamp_ms: i64) -> Option<(i64, i64)> {
        let found = self.entries.iter().find(|entry| entry.max_timestamp_ms >= timestamp_ms);
        found.map(|entry| (entry.base_offset, entry.max_timestamp_ms))
    }

    /// Appends a batch and returns its first offset.
    ///
    /// # Errors
    /// When the batch is no batch, repeats or skips messages of an idempotent producer, or cannot be written.
    pub(crate) fn append(&mut self, mut batch: Batch) -> Result<i64, AppendError> {
        let bytes = batch.record_data.len() as u64 + HEADER_BYTES as u64;
        if batch.magic != MAGIC
            || batch.last_offset_delta < 0
            || u64::try_from(batch.batch_length).ok() != Some(bytes - PREFIX_BYTES)
        {
            return Err(AppendError::Refused(ErrorCode::CorruptMessage));
        }
        self.check_sequence(&batch)?;
        let base_offset = self.next_offset;
        batch.base_offset = base_offset;
        let last_offset = base_offset + i64::from(batch.last_offset_delta);
        let max_timestamp_ms = batch.max_timestamp;
        let place = match &mut self.segment {
            // Its records are counted references to the request's buffer: nothing is copied.
            None => Place::Memory(batch.clone()),
            Some(segment) => segment.append(&batch).map_err(AppendError::Io)?,
        };
        self.note_producer(&batch, last_offset);
        self.entries.push(Entry { base_offset, last_offset, max_timestamp_ms, bytes, place });
        self.next_offset = last_offset + 1;
        Ok(base_offset)
    }

    /// The batches from the one that holds `offset`, as many as fit into `max_bytes`, but at least one. They are read by
    /// [`Found::read`], outside of the lock.
    pub(crate) fn find(&self, offset: i64, max_bytes: u64) -> Vec<Found> {
        let first = self.entries.partition_point(|entry| entry.last_offset < offset);
        let mut left = max_bytes;
        let mut found = Vec::new();
        for entry in self.entries.get(first..).unwrap_or_default() {
            if entry.bytes > left && !found.is_empty() {
                break;
            }
            left = left.saturating_sub(entry.bytes);
            found.push(Found(entry.place.clone()));
        }
        found
    }

    /// Makes what was written safe against a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match self.segment.as_ref().and_then(|segment| segment.file.as_ref()) {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }
    }

    fn check_sequence(&self, batch: &Batch) -> Result<(), AppendError> {
        let Some(known) = self.producers.get(&batch.producer_id).filter(|_| batch.producer_id >= 0) else { return Ok(()) };
        let code = if batch.producer_epoch < known.epoch {
            ErrorCode::InvalidProducerEpoch
        } else if batch.producer_epoch > known.epoch {
            if batch.base_sequence == 0 {
                return Ok(());
            }
            ErrorCode::OutOfOrderSequenceNumber
        } else if batch.base_sequence == known.next_sequence {
            return Ok(());
        } else if sequence_before(batch.base_sequence, known.next_sequence) {
            // The client takes it as an acknowledgement: the first try has arrived.
            ErrorCode::DuplicateSequenceNumber
        } else {
            ErrorCode::OutOfOrderSequenceNumber
        };
        Err(AppendError::Refused(code))
    }

    fn note_producer(&mut self, batch: &Batch, last_offset: i64) {
        if batch.producer_id < 0 {
            return;
        }
        // Sequences begin again at 0 behind the largest number.
        let next = (i64::from(batch.base_sequence) + i64::from(batch.last_offset_delta) + 1) % (i64::from(i32::MAX) + 1);
        let next_sequence = i32::try_from(next).unwrap_or(0);
        self.producers.insert(batch.producer_id, Producer { epoch: batch.producer_epoch, next_sequence, last_offset });
        if self.producers.len() > MAX_PRODUCERS
            && let Some(oldest) = self.producers.iter().min_by_key(|(_, producer)| producer.last_offset).map(|(id, _)| *id)
        {
            self.producers.remove(&oldest);
        }
    }

    /// Indexes the batches of a file; returns where the last whole one ends.
    fn read_segment(&mut self, file: &Arc<File>) -> io::Result<u64> {
        let end = file.metadata()?.len();
        let mut position = 0;
        let mut header = [0; HEADER_BYTES];
        while position + HEADER_BYTES as u64 <= end {
            file.read_exact_at(&mut header, position)?;
            let Some(batch) = parse_header(&header) else { break };
            let bytes = PREFIX_BYTES + u64::try_from(batch.batch_length).unwrap_or(0);
            if position + bytes > end || batch.base_offset < self.next_offset {
                break;
            }
            let last_offset = batch.base_offset + i64::from(batch.last_offset_delta);
            self.note_producer(&batch, last_offset);
            let place = Place::Disk { file: file.clone(), position, bytes };
            self.entries.push(Entry {
                base_offset: batch.base_offset,
                last_offset,
                max_timestamp_ms: batch.max_timestamp,
                bytes,
                place,
            });
            self.next_offset = last_offset + 1;
            position += bytes;
        }
        Ok(position)
    }
}

/// A batch that was found, to be read.
pub(crate) struct Found(Place);

impl Found {
    /// Reads it.
    ///
    /// # Errors
    /// When the disk fails, or what is on it is no batch.
    pub(crate) fn read(self) -> io::Result<Batch> {
        match self.0 {
            Place::Memory(batch) => Ok(batch),
            Place::Disk { file, position, bytes } => {
                let mut buffer = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
                file.read_exact_at(&mut buffer, position)?;
                Batch::try_from(Bytes::from(buffer)).map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))
            }
        }
    }
}

impl Segment {
    fn append(&mut self, batch: &Batch) -> io::Result<Place> {
        let bytes = HEADER_BYTES as u64 + batch.record_data.len() as u64;
        if self.file.is_none() || self.position + bytes > SEGMENT_BYTES {
            self.roll(batch.base_offset)?;
        }
        let file = self.file.clone().ok_or_else(|| io::Error::other("no segment is open"))?;
        let position = self.position;
        // Payload first: a batch whose header is there is whole, whatever ends the process.
        file.write_all_at(&batch.record_data, position + HEADER_BYTES as u64)?;
        file.write_all_at(&header_of(batch), position)?;
        self.position += bytes;
        Ok(Place::Disk { file, position, bytes })
    }

    fn roll(&mut self, base_offset: i64) -> io::Result<()> {
        if let Some(full) = &self.file {
            full.sync_data()?;
        }
        let path = self.dir.join(format!("{base_offset:020}.log"));
        self.file = Some(Arc::new(File::options().read(true).write(true).create(true).truncate(true).open(path)?));
        self.position = 0;
        Ok(())
    }
}

/// Whether a sequence number lies before another, on the circle of numbers from 0 to the largest.
fn sequence_before(sequence: i32, next: i32) -> bool {
    let behind = (i64::from(next) - i64::from(sequence)).rem_euclid(i64::from(i32::MAX) + 1);
    behind > 0 && behind < i64::from(i32::MAX) / 2
}

fn header_of(batch: &Batch) -> BytesMut {
    let mut header = BytesMut::with_capacity(HEADER_BYTES);
    header.put_i64(batch.base_offset);
    header.put_i32(batch.batch_length);
    header.put_i32(batch.partition_leader_epoch);
    header.put_i8(batch.magic);
    header.put_u32(batch.crc);
    header.put_i16(batch.attributes);
    header.put_i32(batch.last_offset_delta);
    header.put_i64(batch.base_timestamp);
    header.put_i64(batch.max_timestamp);
    header.put_i64(batch.producer_id);
    header.put_i16(batch.producer_epoch);
    header.put_i32(batch.base_sequence);
    header.put_u32(batch.record_count);
    header
}

/// A batch without its records, or `None` where there is none.
fn parse_header(header: &[u8; HEADER_BYTES]) -> Option<Batch> {
    use bytes::Buf;
    let mut rest = &header[..];
    let batch = Batch {
        base_offset: rest.try_get_i64().ok()?,
        batch_length: rest.try_get_i32().ok()?,
        partition_leader_epoch: rest.try_get_i32().ok()?,
        magic: rest.try_get_i8().ok()?,
        crc: rest.try_get_u32().ok()?,
        attributes: rest.try_get_i16().ok()?,
        last_offset_delta: rest.try_get_i32().ok()?,
        base_timestamp: rest.try_get_i64().ok()?,
        max_timestamp: rest.try_get_i64().ok()?,
        producer_id: rest.try_get_i64().ok()?,
        producer_epoch: rest.try_get_i16().ok()?,
        base_sequence: rest.try_get_i32().ok()?,
        record_count: rest.try_get_u32().ok()?,
        record_data: Bytes::new(),
    };
    let is_batch = batch.magic == MAGIC && batch.last_offset_delta >= 0 && batch.batch_length >= (HEADER_BYTES - 12) as i32;
    is_batch.then_some(batch)
}

#[cfg(test)]
mod tests;
