//! What can go wrong at the desk.

use boxwright_shard::ShardError;
use serde_json::Value;

use crate::operation::Around;
use crate::people::Grade;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// SQLite failed.
    #[error("the review database: {0}")]
    Store(#[from] rusqlite::Error),
    /// PostgreSQL refused.
    #[error("the review database: {0}")]
    Database(String),
    /// The connection to PostgreSQL is gone. What was asked for was not done, or, where only the answer got lost, was done as a whole: it may
    /// be asked for again under its id.
    #[error(
        "lost the review database {database}: {why}\nhint: it is tried again with the next request, and what is kept in the page is sent again"
    )]
    Lost {
        /// Its address, without a password.
        database: String,
        /// Why.
        why: String,
    },
    /// While the connection was gone another server has worked there: what this one knows is out of date.
    #[error(
        "another server has worked on the review database {database} since the connection to it was lost\nhint: end this review and start it again"
    )]
    Taken {
        /// Its address, without a password.
        database: String,
    },
    /// The database cannot be opened.
    #[error("cannot open the review database {database}: {why}\nhint: {hint}")]
    Open {
        /// Its file, or its address without a password.
        database: String,
        /// Why.
        why: String,
        /// The cure.
        hint: String,
    },
    /// What stands in the database cannot be read.
    #[error("the review database holds what this program cannot read: {0}")]
    Foreign(String),
    /// The dataset failed.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// A file of our own failed.
    #[error("{action}: {source}")]
    File {
        /// What was done.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The server cannot start.
    #[error("cannot listen on {address}: {source}\nhint: name another --listen, or port 0 for any")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// An operation makes no sense, or its points cannot be read.
    #[error(transparent)]
    Operation(#[from] Around),
    /// Somebody else was faster.
    #[error("somebody else has changed this meanwhile")]
    Conflict(Box<Value>),
    /// The file that says how people sign in cannot be used.
    #[error("cannot let people sign in by {file}: {why}\nhint: {hint}")]
    OidcSetup {
        /// The file.
        file: String,
        /// Why.
        why: String,
        /// The cure.
        hint: String,
    },
    /// The provider of identities does not do its part.
    #[error("the sign-in provider {issuer}: {why}\nhint: {hint}")]
    Provider {
        /// Its name for itself.
        issuer: String,
        /// Why.
        why: String,
        /// The cure.
        hint: String,
    },
    /// Nobody is signed in.
    #[error("{0}")]
    SignIn(String),
    /// The role does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// The clip is graded above the person's clearance.
    #[error("expected a clearance of at least {grade}, got {clearance}")]
    Clearance {
        /// Of the clip.
        grade: Grade,
        /// Of the person.
        clearance: Grade,
    },
    /// What a page kept for one database came to another.
    #[error("this was meant for another review database: expected {expected}, got {got}")]
    OtherDatabase {
        /// The one that is here.
        expected: String,
        /// The one that was meant.
        got: String,
    },
    /// The viewer's encoder failed.
    #[error("cannot draw for the viewer: {0}")]
    Draw(String),
    /// A thread broke off.
    #[error("the request broke off")]
    Broken,
    /// Too many tries.
    #[error("{0}")]
    TooMany(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The request is not one.
    #[error("{0}")]
    Request(String),
}

impl DeskError {
    /// For `map_err` on file operations.
    pub(crate) fn file(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { action, source }
    }
}
