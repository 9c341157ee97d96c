//! Recorded drives: KITTI raw folders, MCAP files and folders of them as sequences of messages, and a recording as a [`Source`](crate::Source).
//!
//! A [`Recording`](crate::Recording) gives [`OutgoingMessage`](crate::OutgoingMessage)s: the very bytes and headers that a replay sends
//! to Kafka. [`RecordingSource`] reads one directly and runs the same header check as the Kafka consumer, so both ways give the same
//! records but for their positions.
//!
//! What a recording has lost is told, never hidden: a broken frame or chunk is passed over, named in `warnings()`, and makes
//! `is_truncated()` true.
//!
//! Read in this order: [`source`] → [`kitti`] → [`mcap`].

pub mod source;

pub mod kitti;

pub mod mcap;

mod notes;

mod origin;

pub use kitti::KittiRaw;
pub use mcap::{McapFile, McapFolder};
pub use source::{RecordingSource, is_of_recording};
