//! An object store behind blocking calls.
//!
//! Calls may come from any thread, also from one that drives futures: each runs on a small runtime of its own, and the caller waits.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Runtime;

use crate::error::{ShardError, is_bucket_missing};

/// Threads of the runtime. They only move bytes; requests in flight are bounded where they are made.
const THREADS: usize = 2;
/// Requests of one call in flight: enough to hide a hundred milliseconds of latency, few enough for any store's limits.
const CONCURRENT: usize = 16;
/// Parts of an upload. S3 wants at least 5 MiB, and at most 10,000 parts: files up to 80 GB.
const PART_BYTES: usize = 8 << 20;
/// Parts in flight, and so what an upload holds in memory: 32 MiB.
const PARTS_IN_FLIGHT: usize = 4;

/// A prefix of an object store.
pub(crate) struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    runtime: Option<Runtime>,
    spool: PathBuf,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.store, self.prefix)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // A runtime may not be dropped by a thread that drives futures, unless it is told not to wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Remote {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: ObjectPath, spool: PathBuf) -> Result<Self, ShardError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("object-store")
            .enable_all()
            .build()
            .map_err(|source| ShardError::Io { action: "start the threads of", path: PathBuf::from(store.to_string()), source })?;
        Ok(Self { store, prefix, runtime: Some(runtime), spool })
    }

    /// Where shards grow before they are uploaded.
    pub(crate) fn spool(&self) -> &Path {
        &self.spool
    }

    /// Content of an object; `None` where there is none. Larger objects are refused without being read.
    pub(crate) fn read_small(&self, name: &str, most_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        let (store, path) = self.at(name)?;
        self.run(async move { read_small(&*store, &path, most_bytes).await })
    }

    /// Several objects, in order.
    pub(crate) fn read_many(&self, names: &[String], most_bytes: u64) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let store = self.store.clone();
        let paths = names.iter().map(|name| self.path(name)).collect::<Result<Vec<_>, _>>()?;
        self.run(async move {
            let reads = stream::iter(paths).map(|path| {
                let store = store.clone();
                async move { read_small(&*store, &path, most_bytes).await }
            });
            reads.buffered(CONCURRENT).try_collect().await
        })
    }

    /// Names directly below a folder, in order: objects and folders alike.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let (store, path) = self.at(folder)?;
        self.run(async move {
            let found = store.list_with_delimiter(Some(&path)).await?;
            let objects = found.objects.iter().filter_map(|object| object.location.filename());
            let folders = found.common_prefixes.iter().filter_map(ObjectPath::filename);
            let mut names: Vec<String> = objects.chain(folders).map(str::to_owned).collect();
            names.sort();
            Ok(names)
        })
    }

    /// Creates an object if there is none of that name. Returns whether it did.
    pub(crate) fn create(&self, name: &str, content: Vec<u8>) -> Result<bool, Error> {
        let (store, path) = self.at(name)?;
        self.run(async move {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match store.put_opts(&path, PutPayload::from(content), options).await {
                Ok(_) => Ok(true),
                // Two creations at once: the store lets one through and tells the other in one of two ways.
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    /// Uploads a file, replacing what is there.
    pub(crate) fn upload(&self, name: &str, file: &Path) -> Result<(), Error> {
        let (store, path) = self.at(name)?;
        let file = file.to_owned();
        self.run(async move {
            let broken = |source: io::Error| Error::Generic { store: "spool", source: Box::new(source) };
            let mut file = tokio::fs::File::open(&file).await.map_err(broken)?;
            let mut part = next_part(&mut file).await.map_err(broken)?;
            if part.len() < PART_BYTES {
                return store.put(&path, PutPayload::from(part)).await.map(|_| ());
            }
            let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(&path).await?, PART_BYTES);
            while !part.is_empty() {
                upload.wait_for_capacity(PARTS_IN_FLIGHT).await?;
                upload.put(Bytes::from(part));
                part = next_part(&mut file).await.map_err(broken)?;
            }
            upload.finish().await.map(|_| ())
        })
    }

    /// Removes an object. Returns whether there may have been one: stores do not tell.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, Error> {
        let (store, path) = self.at(name)?;
        self.run(async move {
            match store.delete(&path).await {
                Ok(()) => Ok(true),
                Err(Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    /// Length of an object; `None` where there is none.
    pub(crate) fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        let (store, path) = self.at(name)?;
        self.run(async move {
            match store.head(&path).await {
                Ok(meta) => Ok(Some(meta.size)),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Some bytes of an object.
    pub(crate) fn range(&self, name: &str, range: std::ops::Range<u64>) -> Result<Bytes, Error> {
        let (store, path) = self.at(name)?;
        self.run(async move { store.get_range(&path, range).await })
    }

    /// sha256 in hexadecimal and length of an object, read as it streams; `None` where there is none.
    pub(crate) fn digest(&self, name: &str) -> Result<Option<(String, u64)>, Error> {
        let (store, path) = self.at(name)?;
        self.run(async move {
            let found = match store.get(&path).await {
                Ok(found) => found,
                Err(Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            let (mut hash, mut bytes) = (Sha256::new(), 0);
            let mut content = found.into_stream();
            while let Some(chunk) = content.next().await {
                let chunk = chunk?;
                bytes += chunk.len() as u64;
                hash.update(&chunk);
            }
            Ok(Some((super::hex(&hash.finalize()), bytes)))
        })
    }

    fn path(&self, name: &str) -> Result<ObjectPath, Error> {
        let joined = if self.prefix.as_ref().is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) };
        Ok(ObjectPath::parse(joined)?)
    }

    fn at(&self, name: &str) -> Result<(Arc<dyn ObjectStore>, ObjectPath), Error> {
        Ok((self.store.clone(), self.path(name)?))
    }

    /// Runs a future to its end on the store's own threads.
    fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<T, Error> {
        let lost = || Error::Generic { store: "runtime", source: "the threads of the store have ended".into() };
        let (sender, receiver) = sync_channel(1);
        self.runtime.as_ref().ok_or_else(lost)?.spawn(async move {
            // Whoever asked waits below, unless its thread has panicked.
            let _ = sender.send(work.await);
        });
        receiver.recv().map_err(|_| lost())?
    }
}

async fn read_small(store: &dyn ObjectStore, path: &ObjectPath, most_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
    let found = match store.get(path).await {
        Ok(found) => found,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    if found.meta.size > most_bytes {
        let message = format!("expected at most {most_bytes} bytes in {path}, got {}", found.meta.size);
        return Err(Error::Generic { store: "dataset", source: message.into() });
    }
    Ok(Some(found.bytes().await?.to_vec()))
}

/// The next [`PART_BYTES`] of a file, or what is left of it.
async fn next_part(file: &mut tokio::fs::File) -> io::Result<Vec<u8>> {
    let mut part = Vec::new();
    file.take(PART_BYTES as u64).read_to_end(&mut part).await?;
    Ok(part)
}

/// Whether an object is simply not there. A bucket that is missing answers with the same status, and is another matter.
fn is_absent(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) && !is_bucket_missing(error)
}
