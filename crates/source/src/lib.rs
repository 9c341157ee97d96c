//! Where sensor data comes from: Kafka, or a recording read directly. The only crate that knows Kafka.
//!
//! Read in this order: [`record`] → [`wire`] → [`recording`] → [`synthetic`] → [`kafka`] → [`broker`].

pub mod record;

mod quoted;

pub mod error;

pub mod wire;

pub mod recording;

pub mod synthetic;

pub mod kafka;

#[cfg(feature = "embedded-broker")]
pub mod broker;

pub mod broker_config;

pub use error::{RecordingError, SourceError};
pub use record::{
    Encoding, OutgoingMessage, PartitionId, PartitionStats, Record, Recording, Rejected, SkippedChannel, Source, SourceEvent,
    SourceStats, parse_headers, reason, topic_name,
};
