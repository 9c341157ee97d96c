//! [`KafkaSink`]: a producer for recordings and synthetic drives.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use boxwright_model::SensorKind;
use boxwright_model::time::NS_PER_MS;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::KafkaConfig;
use super::client::{await_broker, explain, failed, log};
use super::config::DELIVERY_TIMEOUT_MS;
use crate::error::SourceError;
use crate::record::OutgoingMessage;

/// Longest wait before a full queue is tried again although nobody said that there is room.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Longest wait for a first message: the client's own delivery timeout, and a second for it to say so.
const PATIENCE: Duration = Duration::from_millis(DELIVERY_TIMEOUT_MS as u64 + 1_000);

/// What the broker has acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Delivered {
    /// Messages.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

#[derive(Default)]
struct Outcome {
    delivered: Delivered,
    failed: u64,
    first_error: Option<String>,
}

/// Shared with the producer's own thread, which calls back for every message.
#[derive(Clone, Default)]
struct SinkContext {
    outcome: Arc<Mutex<Outcome>>,
    /// A message left the queue.
    moved: Arc<Condvar>,
}

impl SinkContext {
    fn lock(&self) -> MutexGuard<'_, Outcome> {
        // Counters are whole after every statement, so a panic elsewhere does not spoil them.
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for SinkContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for SinkContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut outcome = self.lock();
        match result {
            Ok(message) => {
                outcome.delivered.messages += 1;
                outcome.delivered.bytes += message.payload().map_or(0, <[u8]>::len) as u64;
            }
            Err((error, message)) => {
                outcome.failed += 1;
                let topic = message.topic();
                outcome.first_error.get_or_insert_with(|| format!("{topic}: {}", explain(error)));
            }
        }
        drop(outcome);
        self.moved.notify_all();
    }
}

/// Produces messages to the topic of their kind, keyed by vehicle.
///
/// At most [`KafkaConfig::queue_bytes`] wait for the network; [`send`](Self::send) blocks beyond that. Dropping the sink throws away what
/// is not acknowledged, so call [`flush`](Self::flush).
///
/// The first message of a vehicle to a topic is waited for before there is a second. A broker that knows nothing of a producer yet takes any message as
/// its first one. Where it refuses the first because the partition has no leader yet, and takes the second, which was on its way too, librdkafka believes
/// that it has both: the first would be acknowledged and lost (librdkafka's implicit acknowledgement; confluent-kafka-go issue 921).
pub struct KafkaSink {
    producer: ThreadedProducer<SinkContext>,
    context: SinkContext,
    config: KafkaConfig,
    /// Messages that the client has taken.
    sent: u64,
    /// Topics and vehicles whose first message was waited for: their partitions know this producer. As many as the recordings have that are replayed.
    begun: BTreeSet<(SensorKind, Arc<str>)>,
}

impl KafkaSink {
    /// Connects.
    ///
    /// # Errors
    /// [`SourceError::NoBroker`] within [`KafkaConfig::connect_timeout_ms`], [`SourceError::NoTopics`] when none of the topics exists, or
    /// when an option is refused.
    pub fn connect(config: &KafkaConfig) -> Result<Self, SourceError> {
        let context = SinkContext::default();
        let producer: ThreadedProducer<SinkContext> = config
            .producer_config()?
            .create_with_context(context.clone())
            .map_err(|error| failed("creating the producer", &error))?;
        let metadata = await_broker(producer.client(), config, Instant::now() + config.connect_timeout())?;
        let topics = config.topics();
        if !metadata.topics().iter().any(|topic| topics.iter().any(|name| name == topic.name())) {
            return Err(SourceError::NoTopics { expected: topics.join(", "), brokers: config.brokers.clone() });
        }
        Ok(Self { producer, context, config: config.clone(), sent: 0, begun: BTreeSet::new() })
    }

    /// Hands a message to the client; blocks while its queue is full, and until the first of a vehicle to a topic is acknowledged.
    ///
    /// # Errors
    /// When the message is larger than [`KafkaConfig::max_message_bytes`], when the client refuses it, or when an earlier message could
    /// not be delivered.
    pub fn send(&mut self, message: &OutgoingMessage) -> Result<(), SourceError> {
        self.check_size(message)?;
        let topic = self.config.topic(message.kind);
        let mut record = BaseRecord::to(&topic)
            .key(message.vehicle.as_bytes())
            .payload(&message.payload[..])
            .timestamp(message.stamp_ns / NS_PER_MS)
            .headers(headers(message));
        loop {
            self.check_delivered()?;
            match self.producer.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    let is_first = self.begun.insert((message.kind, message.vehicle.clone()));
                    return if is_first { self.await_all() } else { Ok(()) };
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => record = refused,
                Err((error, _)) => return Err(failed(format!("sending a message of {} to {topic}", message.sensor), &error)),
            }
            // The delivery callback may have come between: then this waits once for nothing, and not for long.
            let outcome = self.context.lock();
            drop(self.context.moved.wait_timeout(outcome, TRY_AGAIN).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Waits until the client has said of all messages what became of them: of all, because it says so in no other order, and once a topic and vehicle that
    /// costs nothing. It gives each up after its delivery timeout; where somebody has taken that away, this gives up.
    fn await_all(&self) -> Result<(), SourceError> {
        let started = Instant::now();
        let mut outcome = self.context.lock();
        while outcome.delivered.messages + outcome.failed < self.sent {
            if started.elapsed() >= PATIENCE {
                let waiting = self.sent - outcome.delivered.messages - outcome.failed;
                let message = format!("{waiting} messages are not acknowledged after {} s", PATIENCE.as_secs());
                return Err(SourceError::Kafka { action: "waiting for the broker".to_owned(), message });
            }
            outcome = self.context.moved.wait_timeout(outcome, TRY_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(outcome);
        self.check_delivered()
    }

    /// Waits until everything that was sent is acknowledged.
    ///
    /// # Errors
    /// When `timeout` passes before that, or when a message could not be delivered.
    pub fn flush(&mut self, timeout: Duration) -> Result<Delivered, SourceError> {
        let flushed = self.producer.flush(timeout);
        self.check_delivered()?;
        flushed.map_err(|error| {
            let waiting = self.producer.in_flight_count();
            let message = format!("{waiting} messages are not acknowledged after {} s: {}", timeout.as_secs_f64(), explain(&error));
            SourceError::Kafka { action: "waiting for the broker".to_owned(), message }
        })?;
        Ok(self.delivered())
    }

    /// What the broker has acknowledged so far.
    #[must_use]
    pub fn delivered(&self) -> Delivered {
        self.context.lock().delivered
    }

    fn check_size(&self, message: &OutgoingMessage) -> Result<(), SourceError> {
        let (got, limit) = (message.payload.len(), self.config.max_message_bytes);
        if got <= limit {
            return Ok(());
        }
        let sensor = &message.sensor;
        let message = format!(
            "a message of {sensor} is too large: expected at most {limit} bytes, got {got}\nhint: raise kafka.max_message_bytes, and \
             max.message.bytes of the topic"
        );
        Err(SourceError::Kafka { action: "sending".to_owned(), message })
    }

    fn check_delivered(&self) -> Result<(), SourceError> {
        let outcome = self.context.lock();
        match &outcome.first_error {
            None => Ok(()),
            Some(error) => {
                let message = format!("{} messages could not be delivered, the first to {error}", outcome.failed);
                Err(SourceError::Kafka { action: "sending".to_owned(), message })
            }
        }
    }
}

fn headers(message: &OutgoingMessage) -> OwnedHeaders {
    let ours = message.headers();
    let headers = OwnedHeaders::new_with_capacity(ours.len());
    ours.iter().fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_str()) }))
}
