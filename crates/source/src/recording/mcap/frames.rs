//! The top-level records of a file, in order, with where each of them starts.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use ::mcap::McapError;
use ::mcap::records::op;
use ::mcap::sans_io::{LinearReadEvent, LinearReader, LinearReaderOptions};

/// Bytes of a record before its content: opcode and length.
const RECORD_HEADER_BYTES: u64 = 1 + 8;
/// Read from the file at a time. Also bounds what a wrong length can make us allocate beyond what the file really has.
const READ_BYTES: usize = 1 << 20;

/// Reads a file record by record. Chunks come whole.
pub(super) struct RecordReader {
    input: BufReader<File>,
    reader: LinearReader,
    record_start: u64,
    max_bytes: usize,
}

impl RecordReader {
    /// A reader behind the file's magic, which was read already.
    pub(super) fn behind_magic(file: File, max_bytes: usize) -> Self {
        let options = LinearReaderOptions::default()
            .with_emit_chunks(true)
            .with_validate_data_section_crc(true)
            .with_record_length_limit(max_bytes);
        let mut reader = LinearReader::new_with_options(options);
        // The checksum of the data section begins with the magic.
        reader.insert(::mcap::MAGIC.len()).copy_from_slice(::mcap::MAGIC);
        reader.notify_read(::mcap::MAGIC.len());
        let record_start = ::mcap::MAGIC.len() as u64;
        Self { input: BufReader::with_capacity(READ_BYTES, file), reader, record_start, max_bytes }
    }

    /// Where the record starts that comes next, in bytes from the start of the file.
    pub(super) fn record_start(&self) -> u64 {
        self.record_start
    }

    /// The next record: its opcode, its content in `content`. `None` behind the last.
    pub(super) fn next_record(&mut self, content: &mut Vec<u8>) -> Result<Option<u8>, McapError> {
        while let Some(event) = self.reader.next_event() {
            match event? {
                LinearReadEvent::ReadRequest(wanted) => {
                    let buffer = self.reader.insert(wanted.min(READ_BYTES));
                    let read = read_some(&mut self.input, buffer)?;
                    self.reader.notify_read(read);
                }
                LinearReadEvent::Record { data, opcode } => {
                    content.clear();
                    content.extend_from_slice(data);
                    self.record_start += RECORD_HEADER_BYTES + data.len() as u64;
                    return Ok(Some(opcode));
                }
            }
        }
        Ok(None)
    }

    /// What the file has of a chunk in which it ends, or `None` where it ends in something else.
    pub(super) fn cut_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.input.seek(SeekFrom::Start(self.record_start))?;
        let mut header = [0; RECORD_HEADER_BYTES as usize];
        if self.input.read_exact(&mut header).is_err() || header.first() != Some(&op::CHUNK) {
            return Ok(None);
        }
        let mut body = Vec::new();
        self.input.by_ref().take(self.max_bytes as u64).read_to_end(&mut body)?;
        Ok(Some(body))
    }
}

fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
