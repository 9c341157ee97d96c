//! A shard in an object store, read in place by blocks.
//!
//! Parquet's reader asks for page headers and pages, column by column. Asked for one by one they would cost two round trips a page; so the object
//! is fetched in blocks, more of them at once while it is read forwards, and the last few are kept. What is kept is bounded and does not grow
//! with the shard.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use object_store::Error;

use super::remote::Remote;

/// What is fetched at least: a whole label table, or a page of a frame table.
const BLOCK_BYTES: u64 = 1 << 20;
/// Blocks in one request while a shard is read forwards.
const AHEAD_BLOCKS: u64 = 4;
/// Blocks that are kept of one shard: a row group of frames with the default options (8 MiB before compression) and what comes next.
const KEPT_BLOCKS: usize = 12;

/// What is asked for at once beyond this is fetched by itself: it would push everything else out.
const LARGEST_FROM_BLOCKS_BYTES: u64 = 6 << 20;

/// Blocks by number, the one used last at the end.
type Kept = VecDeque<(u64, Bytes)>;

/// An object that is being read. Clones share what was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    remote: Arc<Remote>,
    name: Arc<str>,
    length: u64,
    kept: Arc<Mutex<Kept>>,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Blocks {
    /// Fetches nothing yet.
    pub(crate) fn new(remote: Arc<Remote>, name: &str, length: u64) -> Self {
        Self { remote, name: name.into(), length, kept: Arc::default(), failure: Arc::default() }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Gives the memory of fetched blocks back.
    pub(crate) fn forget(&self) {
        self.kept().clear();
    }

    /// The store's own error, if that is why reading failed: the Parquet library hands on a text of it only.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn read_from(&self, start: u64) -> BlockRead {
        BlockRead { blocks: self.clone(), position: start }
    }

    /// Bytes at an offset; all of them, or an error.
    pub(crate) fn bytes(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let Some(end) = start.checked_add(length as u64).filter(|end| *end <= self.length) else {
            let message = format!("expected to read {length} bytes at {start}, the object has {}", self.length);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        };
        if length as u64 > LARGEST_FROM_BLOCKS_BYTES { self.fetch(start, end) } else { self.within_blocks(start, end) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Put together from the blocks it lies in. Pages are mostly a little larger than a block, and their header's block is there already.
    fn within_blocks(&self, start: u64, end: u64) -> io::Result<Bytes> {
        if start == end {
            return Ok(Bytes::new());
        }
        let (first, last) = (start / BLOCK_BYTES, (end - 1) / BLOCK_BYTES);
        let part = |number: u64| {
            let from = start.saturating_sub(number * BLOCK_BYTES);
            let to = (end - number * BLOCK_BYTES).min(BLOCK_BYTES);
            Ok::<_, io::Error>(self.block(number)?.slice(from as usize..to as usize))
        };
        if first == last {
            return part(first);
        }
        let mut whole = BytesMut::with_capacity((end - start) as usize);
        for number in first..=last {
            whole.extend_from_slice(&part(number)?);
        }
        Ok(whole.freeze())
    }

    /// A block, fetched with those after it where the one before was read already.
    fn block(&self, number: u64) -> io::Result<Bytes> {
        if let Some(found) = self.kept_block(number) {
            return Ok(found);
        }
        let start = number * BLOCK_BYTES;
        let end = (start + (1 + self.ahead_of(number)) * BLOCK_BYTES).min(self.length);
        let mut fetched = self.fetch(start, end)?;
        let mut blocks = Vec::new();
        while !fetched.is_empty() {
            let block = fetched.split_to(fetched.len().min(BLOCK_BYTES as usize));
            blocks.push((number + blocks.len() as u64, block));
        }
        let wanted = blocks.first().map(|(_, block)| block.clone()).unwrap_or_default();
        let mut kept = self.kept();
        kept.extend(blocks.into_iter().rev());
        let surplus = kept.len().saturating_sub(KEPT_BLOCKS);
        kept.drain(..surplus);
        Ok(wanted)
    }

    fn kept_block(&self, number: u64) -> Option<Bytes> {
        let mut kept = self.kept();
        let index = kept.iter().position(|(other, _)| *other == number)?;
        let found = kept.remove(index)?;
        let block = found.1.clone();
        kept.push_back(found);
        Some(block)
    }

    /// How many blocks after this one are worth fetching with it.
    fn ahead_of(&self, number: u64) -> u64 {
        let kept = self.kept();
        let has = |wanted: u64| kept.iter().any(|(other, _)| *other == wanted);
        let forwards = number > 0 && has(number - 1);
        let most = if forwards { AHEAD_BLOCKS } else { 1 };
        (1..most).take_while(|step| !has(number + step)).count() as u64
    }

    /// One request.
    fn fetch(&self, start: u64, end: u64) -> io::Result<Bytes> {
        match self.remote.range(&self.name, start..end) {
            Ok(bytes) if bytes.len() as u64 == end - start => Ok(bytes),
            Ok(bytes) => {
                let message = format!("expected {} bytes at {start}, got {}", end - start, bytes.len());
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
            }
            Err(error) => {
                let text = error.to_string();
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(io::Error::other(text))
            }
        }
    }
}

/// Reads on from an offset.
#[derive(Debug)]
pub(crate) struct BlockRead {
    blocks: Blocks,
    position: u64,
}

impl Read for BlockRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let to_block_end = BLOCK_BYTES - self.position % BLOCK_BYTES;
        let left = self.blocks.length.saturating_sub(self.position).min(to_block_end);
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = self.blocks.bytes(self.position, length)?;
        if let Some(space) = buffer.get_mut(..length) {
            space.copy_from_slice(&bytes);
        }
        self.position += length as u64;
        Ok(length)
    }
}
