//! Kafka: the consumer that feeds the pipeline, the producer that replays recordings, and the topics both need.
//!
//! Read in this order: [`KafkaConfig`] (what can be set, and how it becomes librdkafka options) → `group` (protocols and assignors) →
//! [`KafkaSource`] (consumer) →
//! [`KafkaSink`] (producer) → [`replay`](replay()) → [`topics`] → [`audit`] (what a broker says of the frames).
//!
//! # Contract
//! One topic per sensor kind, `<prefix>.<kind>`, with equal partition counts, or one for all, `<prefix>.frames`; the key is the vehicle;
//! partitions are chosen by murmur2 as Java clients do. All sensors of a vehicle belong to one consumer: with a topic per kind the
//! partitions of one number are shared out together (assignor `range`), which is watched; in one topic a vehicle has one partition.
//! Everything that orders a message stands in its headers.
//!
//! # Threads and memory of a consumer
//! ```text
//! broker ─▶ librdkafka (prefetches at most PREFETCH_KBYTES a partition)
//!             ─▶ thread `kafka` (polls, parses headers) ─▶ event queue (queue_bytes) ─▶ next_event() on the pipeline's thread
//! ```
//! When the event queue is full the Kafka thread leaves records where they are and goes on polling for group duties only, so that
//! librdkafka stops fetching, the broker keeps the data, and the group does not think that the consumer is dead.
//! Large payloads are not copied: they stay in the answer of the broker that they came in, until whoever has them lets them go (`in_place`).
//!
//! # Commit
//! Offsets are committed only by [`Source::commit`](crate::Source::commit), which waits seconds for the broker and no longer; what is not
//! taken is tried again (`commit`). librdkafka's automatic commit is off and cannot be switched on.

pub use config::KafkaConfig;
pub use group::{Assignor, GroupProtocol, TopicLayout};
pub use replay::{ReplayProgress, ReplayReport, ReplaySpeed, replay};
pub use sink::{Delivered, KafkaSink};
pub use source::KafkaSource;

mod config;

mod group;

mod client;

mod source;

mod in_place;

mod poll;

mod rebalance;

mod siblings;

mod commit;

mod queue;

mod dead_letter;

pub mod verdicts;

mod sink;

mod replay;

pub mod topics;

pub mod audit;

#[cfg(all(test, feature = "embedded-broker"))]
mod tests;
