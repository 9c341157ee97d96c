//! What can go wrong when something is to be shown.

use std::net::SocketAddr;
use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// A scene could not be turned into the viewer's format.
    #[error("cannot draw {what}: {why}")]
    Draw {
        /// What was being drawn: an entity path, or the layout.
        what: String,
        /// The encoder's word.
        why: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `create`, `write`, `read`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The source of the frames failed; nothing was written.
    #[error("cannot read the next frame: {0}")]
    Frames(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {what}: {source}\nhint: {hint}")]
    Bind {
        /// `the review page` or `the live view`.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's word.
        source: std::io::Error,
        /// The cure.
        hint: &'static str,
    },
    /// Not the address of a viewer.
    #[error("expected the address of a viewer like rerun+http://127.0.0.1:9876/proxy, got {url:?}: {why}")]
    Url {
        /// What was given.
        url: String,
        /// The parser's word.
        why: String,
    },
    /// Nobody listens at the viewer's address.
    #[error(
        "cannot reach a viewer at {url}: {why}\nhint: start one with `rerun` on that machine, or let the pipeline serve the page itself with \
         `--view serve`"
    )]
    Unreachable {
        /// Where a viewer was expected.
        url: String,
        /// The system's word.
        why: String,
    },
    /// The viewer was there and is gone.
    #[error("the viewer closed the connection: {0}")]
    Disconnected(String),
    /// A thread or a runtime could not be started, or the viewer's own files cannot be loaded.
    #[error("cannot start {what}: {why}")]
    Start {
        /// What was to be started.
        what: &'static str,
        /// The reason.
        why: String,
    },
    /// An option that makes no sense.
    #[error("view.{option}: expected {expected}, got {got}")]
    Config {
        /// Name of the option.
        option: &'static str,
        /// What would be right.
        expected: &'static str,
        /// What was found.
        got: String,
    },
}
