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

/// Pause between two questions that a broker could not answer yet.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// First and next offset of a partition. A topic that was made or moved a moment ago may have no leader yet.
///
/// # Errors
/// When the broker does not tell them within [`KafkaConfig::connect_timeout_ms`].
pub(crate) fn watermarks<C: ClientContext>(
    client: &Client<C>,
    config: &KafkaConfig,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), SourceError> {
    let deadline = Instant::now() + config.connect_timeout();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match client.fetch_watermarks(topic, partition, left.max(ASK_AGAIN)) {
            Ok(offsets) => return Ok(offsets),
            Err(error) if Instant::now() < deadline && has_no_leader(&error) => std::thread::sleep(ASK_AGAIN),
            Err(error) => return Err(failed(format!("asking for the offsets of {topic}[{partition}]"), &error)),
        }
    }
}

fn has_no_leader(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::BrokerTransportFailure
        )
    )
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
    let hint = error.rdkafka_error_code().and_then(hint_of).or_else(|| match error {
        KafkaError::ClientConfig(..) => Some("see the names in librdkafka's CONFIGURATION.md"),
        KafkaError::ClientCreation(text) if text.contains("ssl") || text.contains("SSL") || text.contains("sasl") => {
            Some("TLS and SASL need a build with the feature kafka-tls")
        }
        _ => None,
    });
    match hint {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}

/// What to do where a broker is too old.
pub(crate) const NEEDS_KAFKA_4: &str = "kafka.group_protocol = \"consumer\" needs Apache Kafka 4.0 or later, and the embedded broker has no such thing: use \"classic\"";

/// What a person can do about it.
fn hint_of(code: RDKafkaErrorCode) -> Option<&'static str> {
    Some(match code {
        RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::SaslAuthenticationFailed
        | RDKafkaErrorCode::UnsupportedSASLMechanism
        | RDKafkaErrorCode::IllegalSASLState => {
            "set security.protocol, sasl.mechanism, sasl.username and sasl.password in [kafka.client]"
        }
        RDKafkaErrorCode::ClusterAuthorizationFailed
        | RDKafkaErrorCode::GroupAuthorizationFailed
        | RDKafkaErrorCode::TopicAuthorizationFailed => {
            "the user may not do this: the broker's ACLs must allow the topics and the group"
        }
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize => {
            "raise kafka.max_message_bytes and the topic's max.message.bytes"
        }
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => "boxwright topics create",
        RDKafkaErrorCode::InvalidReplicationFactor => "a single broker needs replication 1",
        RDKafkaErrorCode::MessageTimedOut => "no broker took the message in time: is it still there?",
        RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion => NEEDS_KAFKA_4,
        RDKafkaErrorCode::UnsupportedAssignor => "the broker must list kafka.assignor in its group.consumer.assignors",
        RDKafkaErrorCode::InconsistentGroupProtocol => {
            "all workers of a group need the same kafka.group_protocol and kafka.assignor; to change them, stop all workers first"
        }
        RDKafkaErrorCode::InvalidSessionTimeout => {
            "the broker allows kafka.session_timeout_ms only between its group.min and group.max.session.timeout.ms"
        }
        RDKafkaErrorCode::FencedInstanceId => {
            "another worker joined with the same kafka.group_instance_id and took the place of this one: each needs a name of its own"
        }
        // librdkafka 2.12 comes back to the consumer protocol in a way that brokers refuse, when it was thrown out in the middle of a
        // revocation.
        RDKafkaErrorCode::InvalidRequest => {
            "this worker stood still for so long that its group went on without it: start it again, it reads on from the last commit"
        }
        RDKafkaErrorCode::UnreleasedInstanceId => {
            "another worker has the same kafka.group_instance_id, or died with it less than a session ago: each needs a name of its own"
        }
        _ => return None,
    })
}

/// The error after which a client does nothing any more, where there was one.
pub(crate) fn fatal_error<C: ClientContext>(client: &Client<C>, action: &str) -> Option<SourceError> {
    let (code, text) = client.fatal_error()?;
    let hint = hint_of(code).map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    Some(SourceError::Kafka { action: action.to_owned(), message: format!("{text} ({code}){hint}") })
}

/// A [`SourceError`] for something that the client refused.
pub(crate) fn failed(action: impl Into<String>, error: &KafkaError) -> SourceError {
    SourceError::Kafka { action: action.into(), message: explain(error) }
}
