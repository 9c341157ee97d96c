//! What can be wrong with labels and truth.

use std::path::{Path, PathBuf};

use boxwright_shard::ShardError;

/// An input that cannot be evaluated. Messages hold both sides of the comparison and, where there is a cure, a `hint:` line.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A file that cannot be read.
    #[error("cannot read {path}: {source}\nhint: is the path right? It counts from the folder that the program was started in")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("{path}: {message}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected and what came.
        message: String,
    },
    /// Labels and truth that cannot be compared, or options that do not fit them.
    #[error("{0}")]
    Mismatch(String),
    /// A dataset that cannot be read.
    #[error(transparent)]
    Dataset(#[from] ShardError),
}

impl EvalError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn format(path: &Path, message: impl Into<String>) -> Self {
        Self::Format { path: path.to_owned(), message: message.into() }
    }
}

/// Largest text or JSON file that is read: ten times the largest public label file (nuScenes' `sample_annotation.json` has 0.9 GB).
const MAX_TEXT_BYTES: u64 = 10 << 30;

/// A whole text file.
///
/// # Errors
/// When it cannot be read, is not UTF-8, or is larger than any label file.
pub(crate) fn read_text(path: &Path) -> Result<String, EvalError> {
    let length = std::fs::metadata(path).map_err(EvalError::io(path))?.len();
    if length > MAX_TEXT_BYTES {
        return Err(EvalError::format(path, format!("expected at most {MAX_TEXT_BYTES} bytes of labels, got {length}")));
    }
    std::fs::read_to_string(path).map_err(EvalError::io(path))
}
