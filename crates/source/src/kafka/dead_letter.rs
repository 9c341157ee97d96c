//! Where messages go that cannot be used: `<topic>.dead-letter`, with the reason and the place they came from in the headers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::KafkaConfig;
use super::client::{await_broker, failed, log};
use super::topics;
use crate::error::SourceError;
use crate::record::Rejected;

/// How long one message may take to be acknowledged. The run waits for it, because its offset is committed afterwards.
const ACKNOWLEDGED: Duration = Duration::from_secs(15);
/// Longest explanation kept in a header.
const MESSAGE_CHARS: usize = 2_000;

/// The dead-letter topic of a topic.
pub(crate) fn topic_of(topic: &str) -> String {
    format!("{topic}.dead-letter")
}

/// Outcome of one message, filled by the delivery callback.
type Slot = Mutex<Option<Result<(), KafkaError>>>;

struct LetterContext;

impl ClientContext for LetterContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for LetterContext {
    type DeliveryOpaque = Arc<Slot>;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: Arc<Slot>) {
        let outcome = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

/// A producer for messages that cannot be used.
pub(crate) struct DeadLetters {
    producer: BaseProducer<LetterContext>,
    config: KafkaConfig,
    /// Topics known to exist.
    ready: Vec<String>,
}

impl DeadLetters {
    pub(crate) fn connect(config: &KafkaConfig) -> Result<Self, SourceError> {
        let options = config.producer_config()?;
        let producer: BaseProducer<LetterContext> =
            options.create_with_context(LetterContext).map_err(|error| failed("creating the dead-letter producer", &error))?;
        await_broker(producer.client(), config, Instant::now() + config.connect_timeout())?;
        Ok(Self { producer, config: config.clone(), ready: Vec::new() })
    }

    /// Sends a message and waits until the broker has it.
    pub(crate) fn send(&mut self, rejected: &Rejected) -> Result<(), SourceError> {
        let topic = topic_of(&rejected.position.topic);
        if !self.ready.contains(&topic) {
            topics::ensure(&self.config, &topic)?;
            self.ready.push(topic.clone());
        }
        let fits = rejected.payload.as_ref().is_none_or(|payload| payload.len() <= self.config.max_message_bytes);
        match self.deliver(&topic, rejected, fits) {
            // The topic may allow less than we think.
            Err(error) if fits && error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                self.deliver(&topic, rejected, false)
            }
            other => other,
        }
        .map_err(|error| failed(format!("sending {} to {topic}", rejected.position), &error))
    }

    fn deliver(&self, topic: &str, rejected: &Rejected, with_payload: bool) -> Result<(), KafkaError> {
        let slot: Arc<Slot> = Arc::default();
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, slot.clone()).headers(headers(rejected, with_payload));
        if let Some(key) = &rejected.key {
            record = record.key(key);
        }
        if let (Some(payload), true) = (&rejected.payload, with_payload) {
            record = record.payload(payload);
        }
        self.producer.send(record).map_err(|(error, _)| error)?;
        let deadline = Instant::now() + ACKNOWLEDGED;
        loop {
            self.producer.poll(Duration::from_millis(20));
            if let Some(outcome) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return outcome;
            }
            if Instant::now() >= deadline {
                return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
            }
        }
    }
}

/// The original headers, then ours: where a name stands twice the last one counts.
fn headers(rejected: &Rejected, with_payload: bool) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(rejected.headers.len() + 7);
    for (name, value) in &rejected.headers {
        headers = headers.insert(Header { key: name, value: Some(&value[..]) });
    }
    let position = &rejected.position;
    let mut ours = vec![
        ("reason", rejected.reason.clone()),
        ("message", rejected.message.chars().take(MESSAGE_CHARS).collect()),
        ("source_topic", position.topic.to_string()),
        ("source_partition", position.partition.to_string()),
        ("source_offset", position.offset.to_string()),
    ];
    if let (Some(payload), false) = (&rejected.payload, with_payload) {
        ours.push(("payload_left_out", "too large".to_owned()));
        ours.push(("payload_bytes", payload.len().to_string()));
    }
    for (key, value) in &ours {
        headers = headers.insert(Header { key, value: Some(value.as_str()) });
    }
    headers
}
