//! The framing of an MCAP file: records one after the other, some of them chunks of compressed records.
//!
//! The outer framing is read here, because only here is it known at which byte a broken file breaks; what is inside a chunk (and its
//! decompression and checksum) is read by the `mcap` crate.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ::mcap::records::{Record, op};
use ::mcap::sans_io::linear_reader::{LinearReadEvent, LinearReader, LinearReaderOptions};
use ::mcap::{MAGIC, McapError, parse_record};

use crate::error::RecordingError;
use crate::wire::MAX_FRAME_PAYLOAD_BYTES;

/// Opcode and length in front of every record.
const FRAME_BYTES: u64 = 9;
/// Largest record: the largest payload that is decoded, and its header.
const MAX_RECORD_BYTES: usize = MAX_FRAME_PAYLOAD_BYTES + 4096;
/// The chunk reader is fed in pieces of this size, so that a wrong length inside a chunk never becomes memory.
const PIECE_BYTES: usize = 256 << 10;

/// Where and why a file cannot be read further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) at: u64,
    pub(super) why: String,
    /// Whether the messages of the last chunk can be used: those of a chunk that was cut can, those of a damaged one cannot.
    pub(super) messages_usable: bool,
}

/// What one step brought.
pub(super) enum Outcome {
    More,
    End,
    Broken(Broken),
}

/// Inside a chunk.
enum Damage {
    Io(io::Error),
    Mcap(McapError),
}

impl From<McapError> for Damage {
    fn from(error: McapError) -> Self {
        Self::Mcap(error)
    }
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The records of a file in order.
#[derive(Debug)]
pub(super) struct Chunks {
    path: PathBuf,
    file: BufReader<File>,
    size: u64,
    /// Start of the next record.
    at: u64,
    ended: bool,
}

impl Chunks {
    pub(super) fn open(path: &Path) -> Result<Self, RecordingError> {
        let io_error = |source| RecordingError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io_error)?;
        let size = file.metadata().map_err(io_error)?.len();
        let mut file = BufReader::with_capacity(PIECE_BYTES, file);
        let mut magic = Vec::new();
        file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(io_error)?;
        if magic != MAGIC {
            return Err(RecordingError::Invalid { path: path.to_owned(), message: not_mcap(&magic) });
        }
        Ok(Self { path: path.to_owned(), file, size, at: MAGIC.len() as u64, ended: false })
    }

    /// Reads one record, or all records of one chunk. Attachments, indexes and metadata are passed over.
    pub(super) fn read_next(&mut self, take: &mut dyn FnMut(Record<'_>)) -> Result<Outcome, RecordingError> {
        match self.step(take) {
            Ok(outcome) => Ok(outcome),
            Err(source) => Err(RecordingError::Io { path: self.path.clone(), source }),
        }
    }

    fn step(&mut self, take: &mut dyn FnMut(Record<'_>)) -> io::Result<Outcome> {
        if self.ended {
            return Ok(Outcome::End);
        }
        let start = self.at;
        let left = self.size.saturating_sub(start);
        if left < FRAME_BYTES {
            return Ok(self.broken(start, format!("expected a record or the end mark, got {left} bytes"), true));
        }
        let (opcode, length) = self.frame()?;
        let whole = length <= left - FRAME_BYTES;
        self.at = start.saturating_add(FRAME_BYTES).saturating_add(length);
        match opcode {
            op::CHUNK => return self.chunk(start, length.min(left - FRAME_BYTES), whole, take),
            op::DATA_END | op::FOOTER => {
                self.ended = true;
                return Ok(Outcome::End);
            }
            _ if !whole => {
                let why = format!("expected a record of {length} bytes, got {} to the end of the file", left - FRAME_BYTES);
                return Ok(self.broken(start, why, true));
            }
            op::SCHEMA | op::CHANNEL | op::MESSAGE => {
                if length > MAX_RECORD_BYTES as u64 {
                    let why = format!("expected a record of at most {MAX_RECORD_BYTES} bytes, got {length}");
                    return Ok(self.broken(start, why, true));
                }
                let mut body = vec![0; length as usize];
                self.file.read_exact(&mut body)?;
                match parse_record(opcode, &body) {
                    Ok(record) => take(record),
                    Err(error) => return Ok(self.broken(start, error.to_string(), true)),
                }
            }
            _ => self.skip_to(self.at)?,
        }
        Ok(Outcome::More)
    }

    fn chunk(&mut self, start: u64, present: u64, whole: bool, take: &mut dyn FnMut(Record<'_>)) -> io::Result<Outcome> {
        let body = start + FRAME_BYTES;
        if !self.records_fit(body, present)? {
            return Ok(self.broken(start, "a record reaches beyond its chunk".to_owned(), false));
        }
        self.file.seek(SeekFrom::Start(start))?;
        match self.chunk_records(FRAME_BYTES + present, take) {
            Ok(()) if whole => {
                self.skip_to(self.at)?;
                Ok(Outcome::More)
            }
            Err(Damage::Io(error)) => Err(error),
            // What came of a chunk that was cut is used: nothing better will come, and every message is decoded with care.
            Ok(()) | Err(Damage::Mcap(McapError::UnexpectedEof)) if !whole => {
                Ok(self.broken(self.size, format!("the file ends within the chunk that begins at byte {start}"), true))
            }
            Ok(()) => Ok(Outcome::More),
            Err(Damage::Mcap(error)) => Ok(self.broken(start, format!("the chunk there is damaged: {error}"), !whole)),
        }
    }

    /// Gives the chunk's records to `take`. `available` bytes of the chunk's record, its frame included, follow in the file.
    fn chunk_records(&mut self, available: u64, take: &mut dyn FnMut(Record<'_>)) -> Result<(), Damage> {
        let options = LinearReaderOptions::default()
            .with_skip_start_magic(true)
            .with_skip_end_magic(true)
            .with_validate_chunk_crcs(true)
            .with_record_length_limit(MAX_RECORD_BYTES);
        let mut reader = LinearReader::new_with_options(options);
        let mut left = available;
        while let Some(event) = reader.next_event() {
            match event? {
                LinearReadEvent::ReadRequest(need) => {
                    // With nothing left this tells the reader of the end; it answers with an error where the chunk is not complete.
                    let piece = (need.min(PIECE_BYTES) as u64).min(left) as usize;
                    let read = self.file.read(reader.insert(piece))?;
                    reader.notify_read(read);
                    left -= read as u64;
                }
                LinearReadEvent::Record { data, opcode } => take(parse_record(opcode, data)?),
            }
        }
        Ok(())
    }

    /// Whether the records of a chunk that is not compressed end where the chunk says. The `mcap` crate counts down without looking.
    fn records_fit(&mut self, body: u64, present: u64) -> io::Result<bool> {
        // Times, uncompressed size, checksum, then the name of the compression and the size of the records.
        const BEFORE_NAME: u64 = 28;
        const HEADER: u64 = BEFORE_NAME + 4 + 8;
        if present < HEADER {
            return Ok(true);
        }
        self.file.seek(SeekFrom::Start(body + BEFORE_NAME))?;
        let mut name_and_size = [0; 12];
        self.file.read_exact(&mut name_and_size)?;
        let [a, b, c, d, size @ ..] = name_and_size;
        if u32::from_le_bytes([a, b, c, d]) != 0 {
            return Ok(true);
        }
        let records = u64::from_le_bytes(size);
        let (mut at, there) = (0u64, present - HEADER);
        while at < records && there.saturating_sub(at) >= FRAME_BYTES {
            let (_, length) = self.frame()?;
            at = at.saturating_add(FRAME_BYTES).saturating_add(length);
            if at > records {
                return Ok(false);
            }
            self.skip_to(body + HEADER + at.min(there))?;
        }
        Ok(true)
    }

    fn frame(&mut self) -> io::Result<(u8, u64)> {
        let mut frame = [0; FRAME_BYTES as usize];
        self.file.read_exact(&mut frame)?;
        let [opcode, length @ ..] = frame;
        Ok((opcode, u64::from_le_bytes(length)))
    }

    /// Seeks within the buffer where it can: small records are passed over without a system call.
    fn skip_to(&mut self, to: u64) -> io::Result<()> {
        let at = self.file.stream_position()?;
        match i64::try_from(i128::from(to) - i128::from(at)) {
            Ok(distance) => self.file.seek_relative(distance),
            Err(_) => self.file.seek(SeekFrom::Start(to)).map(|_| ()),
        }
    }

    fn broken(&mut self, at: u64, why: String, messages_usable: bool) -> Outcome {
        self.ended = true;
        Outcome::Broken(Broken { at, why, messages_usable })
    }
}

fn not_mcap(first: &[u8]) -> String {
    let shown: Vec<String> = first.iter().map(|byte| format!("{byte:02x}")).collect();
    let hint = match first {
        [b'#', b'R', b'O', b'S', ..] => "this is a ROS 1 bag: `mcap convert` makes MCAP of it, but its messages are not read",
        [b'S', b'Q', b'L', b'i', ..] => "this is a rosbag2 database: `ros2 bag convert` makes MCAP of it",
        _ => "is it the right file, and was it copied whole?",
    };
    let got = if shown.is_empty() { "an empty file".to_owned() } else { shown.join(" ") };
    format!("expected an MCAP file, which begins with 89 4d 43 41 50 30 0d 0a, got {got}\nhint: {hint}")
}
