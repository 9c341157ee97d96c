//! What can go wrong between a row and a sealed shard, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use crate::schema::Table;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}{}", path.display(), Hint(io_hint(source)))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder is no dataset.
    #[error("{} is not a dataset: there is no {} in it\nhint: give the folder or address that `--dataset` named when it was written", path.display(), crate::dataset::MARKER)]
    NotADataset {
        /// The folder.
        path: PathBuf,
    },
    /// A new dataset was asked for in a folder that holds something else.
    #[error("{} holds files but no {}, so it is not a dataset\nhint: give an empty or a new folder", path.display(), crate::dataset::MARKER)]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The dataset was cut into clips of another length.
    #[error("{}: expected clips of {asked_ns} ns as configured, got a dataset of clips of {stored_ns} ns\nhint: set the clip length to that of the dataset, or write into another folder", path.display())]
    ClipLength {
        /// The dataset or file.
        path: PathBuf,
        /// Length the caller works with.
        asked_ns: i64,
        /// Length in `dataset.json`.
        stored_ns: i64,
    },
    /// Written by a newer program.
    #[error("{}: expected schema version {newest} or older, got {got}\nhint: it was written by a newer boxwright; update this one", path.display())]
    SchemaVersion {
        /// The file that says so.
        path: PathBuf,
        /// Newest version this program reads.
        newest: u32,
        /// Version in the file.
        got: u32,
    },
    /// A name from outside cannot be the name of a folder.
    #[error("{what} {value:?} cannot be used: {message}")]
    Name {
        /// What the name is of.
        what: &'static str,
        /// The name, cut to a readable length.
        value: String,
        /// Both sides of the comparison.
        message: String,
    },
    /// A row that could not be read back is not written.
    #[error("{table} row at {stamp_ns} ns cannot be stored: {message}")]
    Row {
        /// Its table.
        table: Table,
        /// Its stamp.
        stamp_ns: i64,
        /// Both sides of the comparison.
        message: String,
    },
    /// A text that names no place for a dataset.
    #[error(
        "{location}: {message}\nhint: a dataset is a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; its options stand in [store.options]"
    )]
    Location {
        /// The text.
        location: String,
        /// What is wrong with it.
        message: String,
    },
    /// The object store refused something, or does not answer.
    #[error("cannot {action} {}: {}{}", path.display(), chain(source), Hint(Some(store_hint(source))))]
    Store {
        /// What was tried.
        action: &'static str,
        /// The object.
        path: PathBuf,
        /// What the store said.
        source: Box<object_store::Error>,
    },
    /// The object store creates objects over existing ones although it was told not to.
    #[error("{} does not keep conditional writes: an object was created although there is one\nhint: exactly-once needs If-None-Match on PUT; use a store that has it, or another version of this one", path.display())]
    Unconditional {
        /// The object.
        path: PathBuf,
    },
    /// An option of the writer is out of range.
    #[error("shard options: {0}")]
    Config(String),
    /// The encoder failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Parquet {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the Parquet library said.
        source: ParquetError,
    },
    /// Columns did not make a batch of their table.
    #[error("cannot build a batch of table {table}: {source}")]
    Batch {
        /// The table.
        table: Table,
        /// What the Arrow library said.
        source: ArrowError,
    },
    /// A file is there but is not what the schema says.
    #[error("{}: {message}\nhint: the file was changed or written by another program; restore it, or label the clip again", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Both sides of the comparison.
        message: String,
    },
    /// Labels use a class that the taxonomy does not have.
    #[error("{}: class {class:?} is not in the taxonomy\nhint: open the dataset with the taxonomy that it was labelled with", path.display())]
    UnknownClass {
        /// The file.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// A row failed to be written before; the clip cannot be sealed any more.
    #[error("clip cannot be sealed: writing table {table} failed before\nhint: abandon the clip and read it again from its start")]
    Broken {
        /// The table whose file is incomplete.
        table: Table,
    },
    /// Somebody else is sealing a clip of the same vehicle and does not end.
    #[error("{} is locked: waited {waited_s} s for another process that seals a clip of this vehicle\nhint: look for a second or a stopped boxwright that writes into this dataset", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long it was waited for.
        waited_s: u64,
    },
    /// An entry appeared while the lock was held: the file system does not keep locks.
    #[error("{} appeared while its lock was held, with other files than ours\nhint: the file system does not keep advisory locks between these workers; use a local disk or NFSv4", path.display())]
    LockIgnored {
        /// The entry.
        path: PathBuf,
    },
}

impl ShardError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Wraps a Parquet error; one that is an I/O error underneath is reported as that, because then there is a hint.
    pub(crate) fn parquet(action: &'static str, path: &Path) -> impl FnOnce(ParquetError) -> Self {
        move |source| match source {
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(source) => Self::Io { action, path: path.to_owned(), source: *source },
                Err(inner) => Self::Parquet { action, path: path.to_owned(), source: ParquetError::External(inner) },
            },
            source => Self::Parquet { action, path: path.to_owned(), source },
        }
    }

    pub(crate) fn foreign(path: &Path, message: impl Into<String>) -> Self {
        Self::Foreign { path: path.to_owned(), message: message.into() }
    }
}

/// An error with its causes, each once: the outer ones often say no more than that something failed.
fn chain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

/// Whether a store says that the bucket, and not the object, is what is missing.
pub(crate) fn is_bucket_missing(error: &object_store::Error) -> bool {
    let text = chain(error);
    ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"].iter().any(|words| text.contains(words))
}

/// What to do about an error of an object store. Stores say the same in many ways; their codes are looked for in all that they say.
fn store_hint(error: &object_store::Error) -> &'static str {
    let text = chain(error);
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match error {
        _ if is_bucket_missing(error) => "the bucket does not exist: make it first, or look for a typing error in its name",
        _ if says(&["169.254.169.254", "metadata.google.internal"]) => {
            "no credentials were given, and this machine has none from its cloud: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or those of \
             Google or Azure), or name them in [store.options]"
        }
        _ if says(&["scheme is not allowed"]) => {
            "the endpoint is plain HTTP: set aws_allow_http = \"true\" in [store.options] if that is meant"
        }
        object_store::Error::NotFound { .. } => {
            "it was removed while in use; is another program or a lifecycle rule cleaning this prefix?"
        }
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            "look at the credentials in the environment (AWS_ACCESS_KEY_ID, …) or in [store.options], and the clock of this machine"
        }
        object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => "the store lacks this operation",
        _ => "is the endpoint right and reachable? What was sealed stays sealed; the next run goes on from there",
    }
}

/// What to do about an I/O error, where there is something to say.
fn io_hint(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full; make room, the clip is read again from its start",
        io::ErrorKind::QuotaExceeded => "the disk quota is used up; make room, the clip is read again from its start",
        io::ErrorKind::FileTooLarge => "the file system or a limit of the process (ulimit -f) does not allow files of this size",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is mounted read-only; choose a dataset folder on a writable one",
        io::ErrorKind::PermissionDenied => "the user that runs boxwright lacks the permission for it",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a file is in the way of a folder; choose another dataset folder"
        }
        io::ErrorKind::Unsupported => "the file system lacks hard links or advisory locks; use a local disk or NFSv4",
        io::ErrorKind::NotFound => "it was removed while in use; is another program cleaning this folder?",
        _ => return None,
    })
}

/// Puts a hint on a line of its own.
struct Hint(Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}
