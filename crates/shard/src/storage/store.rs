//! One way to read a dataset, wherever it lives: names are relative to the dataset, with `/`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::blocks::{BlockRead, Blocks};
use super::remote::Remote;
use crate::error::ShardError;
use crate::storage;

/// A folder, or a prefix of an object store.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    /// The folder, or the address as it was given: for messages.
    root: PathBuf,
    remote: Option<Arc<Remote>>,
}

impl Store {
    pub(crate) fn folder(path: &Path) -> Self {
        Self { root: path.to_owned(), remote: None }
    }

    pub(crate) fn remote(address: &str, remote: Remote) -> Self {
        Self { root: PathBuf::from(address.trim_end_matches('/')), remote: Some(Arc::new(remote)) }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    pub(crate) fn as_remote(&self) -> Option<&Arc<Remote>> {
        self.remote.as_ref()
    }

    /// The whole path of a name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Content of a small file; `None` where there is none.
    pub(crate) fn read_small(&self, name: &str, most_bytes: u64) -> Result<Option<Vec<u8>>, ShardError> {
        match &self.remote {
            None => storage::read_small(&self.path(name), most_bytes),
            Some(remote) => remote.read_small(name, most_bytes).map_err(self.failed("read", name)),
        }
    }

    /// Contents of small files, in order. Where latency counts they are read at once.
    pub(crate) fn read_many(&self, names: &[String], most_bytes: u64) -> Result<Vec<Option<Vec<u8>>>, ShardError> {
        match &self.remote {
            None => names.iter().map(|name| self.read_small(name, most_bytes)).collect(),
            Some(remote) => {
                remote.read_many(names, most_bytes).map_err(self.failed("read", names.first().map_or("", String::as_str)))
            }
        }
    }

    /// Names directly below a folder, in order.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, ShardError> {
        match &self.remote {
            None => storage::list(&self.path(folder)),
            Some(remote) => remote.list(folder).map_err(self.failed("list", folder)),
        }
    }

    /// sha256 in hexadecimal and length of a file; `None` where there is none.
    pub(crate) fn digest(&self, name: &str) -> Result<Option<(String, u64)>, ShardError> {
        match &self.remote {
            None => {
                let path = self.path(name);
                let Some(sha256) = storage::sha256(&path)? else { return Ok(None) };
                Ok(Some((sha256, storage::length(&storage::open(&path)?, &path)?)))
            }
            Some(remote) => remote.digest(name).map_err(self.failed("read", name)),
        }
    }

    /// Opens a file for reading here and there.
    pub(crate) fn open(&self, name: &str) -> Result<ShardFile, ShardError> {
        let Some(remote) = &self.remote else { return Ok(ShardFile::Local(storage::open(&self.path(name))?)) };
        match remote.length(name).map_err(self.failed("look at", name))? {
            Some(length) => Ok(ShardFile::Remote(Blocks::new(remote.clone(), name, length))),
            None => Err(ShardError::foreign(&self.path(name), "expected an object, got none")),
        }
    }

    /// An error of the store with what was tried.
    pub(crate) fn failed(&self, action: &'static str, name: &str) -> impl FnOnce(object_store::Error) -> ShardError {
        let path = self.path(name);
        move |source| ShardError::Store { action, path, source: Box::new(source) }
    }
}

/// An open shard.
#[derive(Debug)]
pub(crate) enum ShardFile {
    Local(File),
    Remote(Blocks),
}

impl ShardFile {
    /// The blocks of a remote shard, which know why reading failed.
    pub(crate) fn blocks(&self) -> Option<Blocks> {
        match self {
            Self::Local(_) => None,
            Self::Remote(blocks) => Some(blocks.clone()),
        }
    }

    /// The same shard for a second reader.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Local(file) => Ok(Self::Local(file.try_clone()?)),
            Self::Remote(blocks) => Ok(Self::Remote(blocks.clone())),
        }
    }
}

impl Length for ShardFile {
    fn len(&self) -> u64 {
        match self {
            Self::Local(file) => Length::len(file),
            Self::Remote(blocks) => blocks.length(),
        }
    }
}

impl ChunkReader for ShardFile {
    type T = ShardRead;

    fn get_read(&self, start: u64) -> Result<ShardRead, ParquetError> {
        match self {
            Self::Local(file) => Ok(ShardRead::Local(file.get_read(start)?)),
            Self::Remote(blocks) => Ok(ShardRead::Remote(blocks.read_from(start))),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self {
            Self::Local(file) => file.get_bytes(start, length),
            Self::Remote(blocks) => Ok(blocks.bytes(start, length)?),
        }
    }
}

/// A reader within a shard.
pub(crate) enum ShardRead {
    Local(BufReader<File>),
    Remote(BlockRead),
}

impl Read for ShardRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Local(file) => file.read(buffer),
            Self::Remote(object) => object.read(buffer),
        }
    }
}
