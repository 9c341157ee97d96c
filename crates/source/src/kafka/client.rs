//! What consumer, producer and administration share: the log, the check that a broker is there, and errors with hints.

use std::time::{Duration, Instant};

use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::KafkaConfig;
use crate::error::SourceError;

/// librdkafka's log goes to `tracing` under its own target.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// Context of clients that need nothing but the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogContext;

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for LogContext {}

/// How long one look-up may take while waiting for a broker: short, so that a broker that comes up meanwhile is noticed.
const LOOK_UP: Duration = Duration::from_secs(2);

/// Asks for metadata until a broker answers.
///
/// # Errors
/// [`SourceError::NoBroker`] when none answers before `deadline`, at once when the client refuses the broker for good.
pub(crate) fn await_broker<C: ClientContext>(
    client: &Client<C>,
    config: &KafkaConfig,
    deadline: Instant,
) -> Result<Metadata, SourceError> {
    let started = Instant::now();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match client.fetch_metadata(None, left.clamp(Duration::from_millis(100), LOOK_UP)) {
            Ok(metadata) => return Ok(metadata),
            Err(error) if Instant::now() >= deadline || is_hopeless(&error) => {
                let message = explain(&error);
                let waited_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Err(SourceError::NoBroker { brokers: config.brokers.clone(), waited_ms, message });
            }
            Err(_) => {}
        }
    }
}

/// Errors that no waiting cures.
pub(crate) fn is_hopeless(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::UnsupportedSASLMechanism
                | RDKafkaErrorCode::IllegalSASLState
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::Fatal
        )
    )
}

/// What an error means, with a hint where there is one.
pub(crate) fn explain(error: &KafkaError) -> String {
    let hint = match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
            | RDKafkaErrorCode::IllegalSASLState,
        ) => "set security.protocol, sasl.mechanism, sasl.username and sasl.password in [kafka.client]",
        Some(
            RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::TopicAuthorizationFailed,
        ) => "the user may not do this: the broker's ACLs must allow the topics and the group",
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            "raise kafka.max_message_bytes and the topic's max.message.bytes"
        }
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => "boxwright topics create",
        Some(RDKafkaErrorCode::InvalidReplicationFactor) => "a single broker needs replication 1",
        Some(RDKafkaErrorCode::MessageTimedOut) => "no broker took the message in time: is it still there?",
        _ => match error {
            KafkaError::ClientConfig(..) => "see the names in librdkafka's CONFIGURATION.md",
            KafkaError::ClientCreation(text) if text.contains("ssl") || text.contains("SSL") || text.contains("sasl") => {
                "TLS and SASL need a build with the feature kafka-tls"
            }
            _ => return error.to_string(),
        },
    };
    format!("{error}\nhint: {hint}")
}

/// A [`SourceError`] for something that the client refused.
pub(crate) fn failed(action: impl Into<String>, error: &KafkaError) -> SourceError {
    SourceError::Kafka { action: action.into(), message: explain(error) }
}
