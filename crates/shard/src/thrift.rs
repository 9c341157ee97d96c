//! Footer and page headers, looked over before the Parquet library reads them.
//!
//! The library believes the counts and lengths in them before it looks what is there, and some damage is then neither an error nor a panic that
//! could be caught:
//!
//! - it reserves a hundred bytes for each element that a list in the footer says it has. Five bytes can ask for hundreds of gigabytes; where
//!   the system refuses, the process ends;
//! - it reserves as much as a page says that it has once unpacked;
//! - behind the end of the file it passes over the elements of a list in a page header one by one, two thousand million of them.
//!
//! So it is checked first that no list has more elements and no text more bytes than follow, and that pages lie within their column and are no larger than
//! the footer says of all of it. Memory is then bounded by the footer's length and by what it says of its columns.
//!
//! Source: Thrift's compact protocol (thrift.apache.org, `thrift-compact-protocol.md`) and Parquet's `parquet.thrift`.

use std::path::Path;

use bytes::Bytes;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::ChunkReader;

use crate::error::ShardError;

/// Length of the footer and magic, at the very end.
const TAIL_BYTES: u64 = 8;
/// Largest footer that is read. That of a clip has some kilobytes; a row group adds a few hundred bytes a column.
const MAX_FOOTER_BYTES: u64 = 64 << 20;
/// Largest header of a page. Ours have thirty bytes; other writers put the least and the greatest value into it, cut to 64 bytes.
const MAX_PAGE_HEADER_BYTES: u64 = 16 << 10;
/// Structures within structures: `FileMetaData`, row group, column, statistics and some to spare.
const MAX_DEPTH: usize = 16;

/// Refuses a file whose footer would make the library reserve more than the footer is worth. What else may be wrong with it the library
/// says.
pub(crate) fn check_footer(file: &impl ChunkReader, path: &Path) -> Result<(), ShardError> {
    let read = |at, length| read_at(file, at, length).map_err(ShardError::parquet("read the footer of", path));
    let Some(tail_at) = file.len().checked_sub(TAIL_BYTES) else { return Ok(()) };
    let tail = read(tail_at, TAIL_BYTES)?;
    let Some(Ok(length)) = tail.get(..4).map(<[u8; 4]>::try_from) else { return Ok(()) };
    let length = u64::from(u32::from_le_bytes(length));
    let Some(start) = tail_at.checked_sub(length) else { return Ok(()) };
    if length > MAX_FOOTER_BYTES {
        return Err(ShardError::foreign(path, format!("expected a footer of at most {MAX_FOOTER_BYTES} bytes, got {length}")));
    }
    let footer = read(start, length)?;
    let mut rest = Compact { bytes: &footer };
    rest.skip_struct(MAX_DEPTH).ok_or_else(|| {
        let at = footer.len() - rest.bytes.len();
        ShardError::foreign(
            path,
            format!("the file is damaged: expected a footer of {length} bytes, got one that breaks off at byte {at}"),
        )
    })
}

/// Refuses a file of which a page is not where the footer says, or larger than all of its column.
pub(crate) fn check_pages(file: &impl ChunkReader, metadata: &ParquetMetaData, path: &Path) -> Result<(), ShardError> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    columns.into_iter().try_for_each(|column| check_column(file, column, path))
}

fn check_column(file: &impl ChunkReader, column: &ColumnChunkMetaData, path: &Path) -> Result<(), ShardError> {
    let damaged =
        |message: String| ShardError::foreign(path, format!("the file is damaged: column {}: {message}", column.column_path()));
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let (Ok(mut at), Ok(length)) = (u64::try_from(start), u64::try_from(column.compressed_size())) else {
        return Err(damaged(format!("expected a place in the file, got {start} and {} bytes", column.compressed_size())));
    };
    let end = at.saturating_add(length);
    while at < end {
        let read = read_at(file, at, MAX_PAGE_HEADER_BYTES.min(end - at)).map_err(ShardError::parquet("read", path))?;
        let mut rest = Compact { bytes: &read };
        let page = rest.page().ok_or_else(|| damaged(format!("expected a page at byte {at}, got none")))?;
        let behind = at + (read.len() - rest.bytes.len()) as u64;
        let stored = u64::try_from(page.compressed).ok().filter(|stored| *stored <= end - behind).ok_or_else(|| {
            damaged(format!("expected a page of at most {} bytes at byte {at}, got {}", end - behind, page.compressed))
        })?;
        if !(0..=column.uncompressed_size()).contains(&page.uncompressed) {
            let most = column.uncompressed_size();
            return Err(damaged(format!(
                "expected a page of at most {most} bytes unpacked at byte {at}, got {}",
                page.uncompressed
            )));
        }
        at = behind + stored;
    }
    Ok(())
}

/// Up to `length` bytes; fewer where the file ends.
fn read_at(file: &impl ChunkReader, start: u64, length: u64) -> parquet::errors::Result<Bytes> {
    let length = length.min(file.len().saturating_sub(start));
    file.get_bytes(start, usize::try_from(length).unwrap_or(usize::MAX))
}

/// Sizes in the header of a page.
#[derive(Clone, Copy, Debug, Default)]
struct Page {
    uncompressed: i64,
    compressed: i64,
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

    /// `PageHeader`: its second field is the size once unpacked, its third the size in the file, both without the header.
    fn page(&mut self) -> Option<Page> {
        let mut page = Page::default();
        self.each_field(MAX_DEPTH, |field, value| match field {
            2 => page.uncompressed = value,
            3 => page.compressed = value,
            _ => {}
        })?;
        Some(page)
    }

    fn skip_struct(&mut self, depth: usize) -> Option<()> {
        self.each_field(depth, |_, _| {})
    }

    /// Passes over a structure, giving the number and the value of every field that is an integer.
    fn each_field(&mut self, depth: usize, mut on_integer: impl FnMut(i64, i64)) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let mut field = 0_i64;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Some(());
            }
            // The upper half is the step from the field before; 0 means that the number itself follows.
            field = match header >> 4 {
                0 => zigzag(self.varint()?),
                step => field.saturating_add(i64::from(step)),
            };
            match header & 15 {
                // A truth value of a field is in its type.
                1 | 2 => {}
                4..=6 => on_integer(field, zigzag(self.varint()?)),
                kind => self.skip_value(kind, depth)?,
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

/// Integers are stored as 0, -1, 1, -2, …
fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
