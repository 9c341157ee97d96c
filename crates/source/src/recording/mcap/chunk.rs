//! The records of one chunk, checked as a whole before any of them is used.

use ::mcap::McapError;
use ::mcap::records::op;
use ::mcap::sans_io::{LinearReadEvent, LinearReader, LinearReaderOptions};

/// Bytes before the records of a chunk: two times, uncompressed size, checksum, length of the name of the compression, compressed size.
const FIXED_HEADER_BYTES: u64 = 8 + 8 + 8 + 4 + 4 + 8;

/// Calls `on_record` for every record of a chunk. `body` is the chunk record's content, or its beginning where the file ends in it.
///
/// An error means that the records that were already given are not to be trusted, unless `body` was cut off: then they are all that
/// is left, and no checksum can say more.
pub(super) fn read_chunk(body: &[u8], max_bytes: usize, mut on_record: impl FnMut(u8, &[u8])) -> Result<(), McapError> {
    let sizes = Sizes::parse(body).ok_or(McapError::UnexpectedEoc)?;
    // Padding behind the records says nothing; without it a wrong length inside cannot reach beyond the records.
    let declared = sizes.header.checked_add(sizes.compressed).ok_or(McapError::UnexpectedEoc)?;
    let keep = usize::try_from(declared).unwrap_or(usize::MAX).min(body.len());
    let (mut rest, _) = body.split_at(keep);
    // No record of the chunk is longer than all of them: a wrong length does not make a buffer of its size.
    let largest = usize::try_from(sizes.uncompressed.max(declared)).unwrap_or(usize::MAX);
    if largest > max_bytes {
        return Err(McapError::ChunkTooLarge(sizes.uncompressed.max(declared)));
    }
    let options = LinearReaderOptions::default()
        .with_skip_start_magic(true)
        .with_skip_end_magic(true)
        .with_validate_chunk_crcs(true)
        .with_record_length_limit(largest);
    let mut reader = LinearReader::new_with_options(options);
    let mut start = vec![op::CHUNK];
    start.extend_from_slice(&declared.to_le_bytes());
    reader.insert(start.len()).copy_from_slice(&start);
    reader.notify_read(start.len());
    while let Some(event) = reader.next_event() {
        match event? {
            LinearReadEvent::ReadRequest(wanted) => {
                let (now, later) = rest.split_at(wanted.min(rest.len()));
                reader.insert(now.len()).copy_from_slice(now);
                // Zero bytes mean the end: fine behind the last record, an error within one.
                reader.notify_read(now.len());
                rest = later;
            }
            LinearReadEvent::Record { data, opcode } => on_record(opcode, data),
        }
    }
    Ok(())
}

struct Sizes {
    header: u64,
    uncompressed: u64,
    compressed: u64,
}

impl Sizes {
    fn parse(body: &[u8]) -> Option<Self> {
        let name_bytes = u64::from(u32::from_le_bytes(body.get(28..32)?.try_into().ok()?));
        let compressed_at = usize::try_from(name_bytes).ok()?.checked_add(32)?;
        let number = |at: usize| body.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes);
        Some(Self { header: FIXED_HEADER_BYTES + name_bytes, uncompressed: number(16)?, compressed: number(compressed_at)? })
    }
}
