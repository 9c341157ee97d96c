//! [`VerdictSink`]: what people decided about labels, for others to hear: topic `<prefix>.verdicts`, key = vehicle, value = JSON.
//!
//! A verdict is sent again until the broker has acknowledged it, so it may stand in the topic twice; its header `id` tells copies apart.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord};

use super::KafkaConfig;
use super::client::failed;
use super::dead_letter::{LetterContext, Slot};
use super::topics;
use crate::error::SourceError;

/// Longest sleep while a verdict is on its way.
const NAP: Duration = Duration::from_millis(20);
/// How long one verdict is waited for; then it is the caller's to try again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The topic of verdicts.
#[must_use]
pub fn topic_of(config: &KafkaConfig) -> String {
    format!("{}.verdicts", config.topic_prefix)
}

/// A producer of verdicts.
pub struct VerdictSink {
    producer: BaseProducer<LetterContext>,
    topic: String,
}

impl VerdictSink {
    /// Connects, and makes the topic where it is missing.
    ///
    /// # Errors
    /// [`SourceError::NoBroker`] within [`KafkaConfig::connect_timeout_ms`], or when an option or the topic is refused.
    pub fn connect(config: &KafkaConfig) -> Result<Self, SourceError> {
        let topic = topic_of(config);
        topics::ensure(config, &topic)?;
        let producer = config.producer_config()?.create_with_context(LetterContext);
        Ok(Self { producer: producer.map_err(|error| failed("creating the producer of verdicts", &error))?, topic })
    }

    /// Sends a verdict and waits until the broker has it.
    ///
    /// # Errors
    /// When the broker refuses it or does not answer for half a minute.
    pub fn send(&self, vehicle: &str, id: &str, body: &str) -> Result<(), SourceError> {
        let action = || format!("sending a verdict to {}", self.topic);
        let slot: Arc<Slot> = Arc::default();
        let headers = OwnedHeaders::new().insert(Header { key: "id", value: Some(id) });
        let record = BaseRecord::with_opaque_to(&self.topic, slot.clone()).headers(headers).key(vehicle).payload(body);
        self.producer.send(record).map_err(|(error, _)| failed(action(), &error))?;
        let started = Instant::now();
        loop {
            self.producer.poll(NAP);
            if let Some(outcome) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return outcome.map_err(|error| failed(action(), &error));
            }
            if started.elapsed() >= PATIENCE {
                return Err(SourceError::Kafka {
                    action: action(),
                    message: format!("expected an answer within {PATIENCE:?}, got none"),
                });
            }
        }
    }
}
