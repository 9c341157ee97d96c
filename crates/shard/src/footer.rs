//! A footer, looked over before the Parquet library reads it.
//!
//! The library reserves memory for as many elements as a list in the footer says it has, a hundred bytes each, before it looks whether they
//! are there. Five damaged bytes can ask for hundreds of gigabytes; where the system refuses, the process ends, and there is no panic that
//! could be caught. So it is checked first that no list has more elements than bytes follow, which bounds the memory by the footer's length.
//!
//! Source: Thrift's compact protocol (thrift.apache.org, `thrift-compact-protocol.md`) and Parquet's `parquet.thrift`.

use std::path::Path;

use parquet::file::reader::ChunkReader;

use crate::error::ShardError;

/// Length of the footer and magic, at the very end.
const TAIL_BYTES: u64 = 8;
/// Largest footer that is read. That of a clip has some kilobytes; a row group adds a few hundred bytes a column.
const MAX_FOOTER_BYTES: u64 = 64 << 20;
/// Structures within structures: `FileMetaData`, row group, column, statistics and some to spare.
const MAX_DEPTH: usize = 16;

/// Refuses a file whose footer would make the library reserve more than the footer is worth. What else may be wrong with it the library
/// says.
pub(crate) fn check(file: &impl ChunkReader, path: &Path) -> Result<(), ShardError> {
    let read = |at, length| file.get_bytes(at, length).map_err(ShardError::parquet("read the footer of", path));
    let Some(tail_at) = file.len().checked_sub(TAIL_BYTES) else { return Ok(()) };
    let tail = read(tail_at, TAIL_BYTES as usize)?;
    let Some(Ok(length)) = tail.get(..4).map(<[u8; 4]>::try_from) else { return Ok(()) };
    let length = u64::from(u32::from_le_bytes(length));
    let Some(start) = tail_at.checked_sub(length) else { return Ok(()) };
    if length > MAX_FOOTER_BYTES {
        return Err(ShardError::foreign(path, format!("expected a footer of at most {MAX_FOOTER_BYTES} bytes, got {length}")));
    }
    let footer = read(start, length as usize)?;
    let mut rest = Compact { bytes: &footer };
    rest.skip_struct(MAX_DEPTH).ok_or_else(|| {
        let at = footer.len() - rest.bytes.len();
        ShardError::foreign(
            path,
            format!("the file is damaged: expected a footer of {length} bytes, got one that breaks off at byte {at}"),
        )
    })
}

/// A reader of Thrift's compact protocol that keeps nothing. `None` is the end of the bytes, or what cannot be.
struct Compact<'a> {
    bytes: &'a [u8],
}

impl Compact<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.bytes = self.bytes.get(count..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    /// Seven bits a byte, the least first.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A length or a count of what follows, which has a byte each at least.
    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok().filter(|length| *length <= self.bytes.len())
    }

    fn skip_struct(&mut self, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        loop {
            let field = self.byte()?;
            if field == 0 {
                return Some(());
            }
            // The upper half is the step from the field before; 0 means that the number itself follows.
            if field >> 4 == 0 {
                self.varint()?;
            }
            // A truth value of a field is in its type.
            if !matches!(field & 15, 1 | 2) {
                self.skip_value(field & 15, depth)?;
            }
        }
    }

    fn skip_value(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.skip(8),
            8 => self.length().and_then(|length| self.skip(length)),
            9 | 10 => self.skip_list(depth),
            11 => self.skip_map(depth),
            12 => self.skip_struct(depth),
            13 => self.skip(16),
            _ => None,
        }
    }

    fn skip_list(&mut self, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let header = self.byte()?;
        let count = if header >> 4 == 15 { self.length()? } else { usize::from(header >> 4) };
        (0..count).try_for_each(|_| self.skip_value(header & 15, depth))
    }

    fn skip_map(&mut self, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let count = self.length()?;
        let kinds = if count == 0 { 0 } else { self.byte()? };
        (0..count).try_for_each(|_| {
            self.skip_value(kinds >> 4, depth)?;
            self.skip_value(kinds & 15, depth)
        })
    }
}
