//! Where messages go that cannot be used: `<topic>.dead-letter`, with the reason and the place they came from in the headers.
//!
//! A letter is never given up: its message's offset is committed afterwards. While no broker answers, the run waits here, for as long as
//! `give_up_after_ms` allows; the producer is idempotent, so that waiting makes no copies. What is too large for the topic is left out,
//! and the letter says so with the size: first the payload, then the key and the headers that somebody else made that large.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};

use super::KafkaConfig;
use super::client::{failed, log};
use super::topics;
use crate::error::SourceError;
use crate::record::Rejected;

/// Longest sleep while a letter is on its way.
const NAP: Duration = Duration::from_millis(20);
/// How often a person is told that a letter waits.
const REMIND_EVERY: Duration = Duration::from_secs(10);
/// Pause before something is tried again that the client does not repeat by itself.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How often a refusal is tried again that is not about the broker being away: a topic that was deleted meanwhile is made anew, a
/// producer that has ended is replaced.
const REFUSALS: u32 = 3;
/// Longest explanation kept in a header.
const MESSAGE_CHARS: usize = 2_000;

/// Headers of a letter that say why, and where its message came from.
pub(crate) const REASON: &str = "reason";
/// See [`REASON`].
pub(crate) const SOURCE_TOPIC: &str = "source_topic";
/// See [`REASON`].
pub(crate) const SOURCE_PARTITION: &str = "source_partition";
/// See [`REASON`].
pub(crate) const SOURCE_OFFSET: &str = "source_offset";

/// The dead-letter topic of a topic.
pub(crate) fn topic_of(topic: &str) -> String {
    format!("{topic}.dead-letter")
}

/// Outcome of one message, filled by the delivery callback.
pub(super) type Slot = Mutex<Option<Result<(), KafkaError>>>;

/// Tells of each message by its [`Slot`].
pub(super) struct LetterContext;

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

/// How much of a message is in its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Whole,
    WithoutPayload,
    /// Only what we say of it.
    Bare,
}

/// A producer for messages that cannot be used.
pub(crate) struct DeadLetters {
    /// None when the last one has ended.
    producer: Option<BaseProducer<LetterContext>>,
    config: KafkaConfig,
    /// Topics known to exist.
    ready: Vec<String>,
}

impl DeadLetters {
    pub(crate) fn new(config: &KafkaConfig) -> Self {
        Self { producer: None, config: config.clone(), ready: Vec::new() }
    }

    /// Sends a message and waits until the broker has it.
    ///
    /// # Errors
    /// When no broker answers for `give_up_after_ms`, or when it refuses the message for good.
    pub(crate) fn send(&mut self, rejected: &Rejected) -> Result<(), SourceError> {
        let topic = topic_of(&rejected.position.topic);
        let mut wait = Wait::start(&self.config, &topic);
        let mut refusals = 0;
        loop {
            let error = match self.try_send(&topic, rejected, &mut wait) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if matches!(error, SourceError::NoBroker { .. }) {
                wait.go_on()?;
            } else {
                refusals += 1;
                if refusals >= REFUSALS || wait.is_over() {
                    return Err(error);
                }
                tracing::warn!(%error, "a dead letter is tried again");
                // The topic may be gone, the producer may have ended.
                self.ready.retain(|ready| *ready != topic);
                self.producer = None;
            }
            std::thread::sleep(TRY_AGAIN);
        }
    }

    fn try_send(&mut self, topic: &str, rejected: &Rejected, wait: &mut Wait) -> Result<(), SourceError> {
        if !self.ready.iter().any(|ready| ready == topic) {
            topics::ensure(&self.config, topic)?;
            self.ready.push(topic.to_owned());
        }
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => self.connect()?,
        };
        let producer = self.producer.insert(producer);
        let fits = rejected.payload.as_ref().is_none_or(|payload| payload.len() <= self.config.max_message_bytes);
        let first = if fits { Content::Whole } else { Content::WithoutPayload };
        for content in [Content::Whole, Content::WithoutPayload, Content::Bare].into_iter().skip_while(|one| *one != first) {
            match deliver(producer, topic, rejected, content, wait)? {
                Ok(()) => return Ok(()),
                // The topic may allow less than we think.
                Err(error)
                    if content != Content::Bare && error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) => {}
                Err(error) => return Err(failed(format!("sending {} to {topic}", rejected.position), &error)),
            }
        }
        Ok(())
    }

    fn connect(&self) -> Result<BaseProducer<LetterContext>, SourceError> {
        let mut options = self.config.producer_config()?;
        // For ever: with a limit the client would give a letter up that the broker may have, and sending it again would double it.
        options.set("message.timeout.ms", "0");
        options.create_with_context(LetterContext).map_err(|error| failed("creating the dead-letter producer", &error))
    }
}

/// The outer error ends the wait, the inner one is what became of the letter.
fn deliver(
    producer: &BaseProducer<LetterContext>,
    topic: &str,
    rejected: &Rejected,
    content: Content,
    wait: &mut Wait,
) -> Result<Result<(), KafkaError>, SourceError> {
    let slot: Arc<Slot> = Arc::default();
    let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, slot.clone()).headers(headers(rejected, content));
    if let (Some(key), true) = (&rejected.key, content != Content::Bare) {
        record = record.key(key);
    }
    if let (Some(payload), Content::Whole) = (&rejected.payload, content) {
        record = record.payload(payload);
    }
    if let Err((error, _)) = producer.send(record) {
        return Ok(Err(error));
    }
    loop {
        producer.poll(NAP);
        if let Some(outcome) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(outcome);
        }
        wait.go_on()?;
    }
}

/// How long a letter has been waiting.
struct Wait {
    topic: String,
    brokers: String,
    /// `give_up_after_ms`, where it is set.
    limit: Option<Duration>,
    started: Instant,
    reminded: Instant,
}

impl Wait {
    fn start(config: &KafkaConfig, topic: &str) -> Self {
        let now = Instant::now();
        let limit = (config.give_up_after_ms > 0).then(|| Duration::from_millis(config.give_up_after_ms));
        Self { topic: topic.to_owned(), brokers: config.brokers.clone(), limit, started: now, reminded: now }
    }

    fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.started.elapsed() >= limit)
    }

    fn go_on(&mut self) -> Result<(), SourceError> {
        let waited = self.started.elapsed();
        if self.is_over() {
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            let message = format!("a dead letter for {} could not be sent", self.topic);
            return Err(SourceError::NoBroker { brokers: self.brokers.clone(), waited_ms, message });
        }
        if self.reminded.elapsed() >= REMIND_EVERY {
            self.reminded = Instant::now();
            let topic = &self.topic;
            tracing::warn!(topic, waited_s = waited.as_secs(), "a dead letter waits for the broker, and the run with it");
        }
        Ok(())
    }
}

/// The original headers, then ours: where a name stands twice the last one counts.
fn headers(rejected: &Rejected, content: Content) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(rejected.headers.len() + 10);
    let mut theirs_bytes = 0;
    for (name, value) in &rejected.headers {
        theirs_bytes += name.len() + value.len();
        if content != Content::Bare {
            headers = headers.insert(Header { key: name, value: Some(&value[..]) });
        }
    }
    let position = &rejected.position;
    let mut ours = vec![
        (REASON, rejected.reason.clone()),
        ("message", rejected.message.chars().take(MESSAGE_CHARS).collect()),
        (SOURCE_TOPIC, position.topic.to_string()),
        (SOURCE_PARTITION, position.partition.to_string()),
        (SOURCE_OFFSET, position.offset.to_string()),
    ];
    if let (Some(payload), true) = (&rejected.payload, content != Content::Whole) {
        ours.push(("payload_left_out", "too large".to_owned()));
        ours.push(("payload_bytes", payload.len().to_string()));
    }
    if content == Content::Bare {
        ours.push(("headers_left_out", "too large".to_owned()));
        ours.push(("headers_bytes", theirs_bytes.to_string()));
        ours.push(("key_bytes", rejected.key.as_ref().map_or(0, |key| key.len()).to_string()));
    }
    for (key, value) in &ours {
        headers = headers.insert(Header { key, value: Some(value.as_str()) });
    }
    headers
}
