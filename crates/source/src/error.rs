//! Errors of sources and recordings.

use std::path::PathBuf;

/// A source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The broker does not answer.
    #[error(
        "no Kafka broker answers at {brokers} (waited {waited_ms} ms): {message}\nhint: is it running? `boxwright broker` starts one; --brokers names another"
    )]
    NoBroker {
        /// Addresses tried.
        brokers: String,
        /// How long.
        waited_ms: u64,
        /// What the client said.
        message: String,
    },
    /// None of the topics exists.
    #[error(
        "missing topics: expected {expected}, found none of them at {brokers}\nhint: boxwright topics create --brokers {brokers}"
    )]
    NoTopics {
        /// Topics looked for.
        expected: String,
        /// Addresses.
        brokers: String,
    },
    /// The client or the broker refused something.
    #[error("kafka: {action}: {message}")]
    Kafka {
        /// What was tried.
        action: String,
        /// What was said, with a hint where there is one.
        message: String,
    },
    /// The embedded broker.
    #[error("embedded broker: {0}")]
    Broker(String),
    /// The recording.
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

/// A recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}{}", path.display(), hint_of(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// The file or folder.
        path: PathBuf,
        /// Both sides of the comparison, with a hint.
        message: String,
    },
}

/// What to do about an error of the file system.
fn hint_of(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "\nhint: is the path right? It counts from the folder that the program was started in",
        std::io::ErrorKind::PermissionDenied => "\nhint: the user who runs this may not read it",
        _ => "",
    }
}
