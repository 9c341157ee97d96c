//! The embedded broker, for builds that have it.

pub use boxwright_broker::{BrokerError, EmbeddedBroker, LIMITS};
