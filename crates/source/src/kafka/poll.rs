//! The Kafka thread: polls, turns messages into events, and says when a partition is quiet.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use boxwright_model::SourcePosition;
use boxwright_model::time::NS_PER_MS;
use bytes::Bytes;
use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};

use super::KafkaConfig;
use super::client::{explain, failed, fatal_error, is_hopeless};
use super::in_place::QueuedMessage;
use super::rebalance::{LaneChange, SourceConsumer, SourceContext};
use super::siblings::Siblings;
use super::topics::counts_of;
use crate::error::SourceError;
use crate::record::{PartitionId, Record, Rejected, SourceEvent, parse_headers, reason, trace_parent};

/// Longest sleep: bounds how late a partition is called quiet. Messages and group events wake the thread at once, but for a partition that
/// came back while payloads of its last assignment were still held.
const NAP: Duration = Duration::from_millis(20);
/// Messages taken from one partition before the next has its turn: small, so that no sensor starves another.
const TURN: usize = 16;
/// Group events served in one round.
const GROUP_TURN: usize = 16;
/// How often a broker that went away is looked for.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// How long one such look may take; the thread does nothing else meanwhile, but there is nothing else to do.
const PROBE: Duration = Duration::from_millis(500);

/// One assigned partition.
struct Lane {
    partition: PartitionId,
    queue: Arc<PartitionQueue<SourceContext>>,
    /// The last thing that came was the end of the partition.
    at_end: bool,
    /// Nothing is waiting in the client.
    is_drained: bool,
    last_message: Instant,
    quiet_told: bool,
}

/// See the module.
pub(crate) struct Poller {
    consumer: Arc<SourceConsumer>,
    context: Arc<SourceContext>,
    config: KafkaConfig,
    lanes: Vec<Lane>,
    siblings: Siblings,
    /// Whether [`Siblings`] has to compare.
    is_unsettled: bool,
    down_since: Option<Instant>,
    last_probe: Instant,
    is_broken: bool,
}

impl Poller {
    pub(crate) fn new(consumer: Arc<SourceConsumer>, config: KafkaConfig, siblings: Siblings) -> Self {
        let context = consumer.context().clone();
        Self {
            consumer,
            context,
            config,
            lanes: Vec::new(),
            siblings,
            is_unsettled: false,
            down_since: None,
            last_probe: Instant::now(),
            is_broken: false,
        }
    }

    /// Runs until the source is dropped or cannot go on. The consumer leaves its group at the end.
    pub(crate) fn run(mut self) {
        self.context.set_thread(std::thread::current());
        while !self.context.is_closing() && !self.is_broken {
            self.serve_group();
            self.change_lanes();
            self.look_for_siblings();
            let moved = self.read_lanes();
            self.tell_quiet();
            self.look_for_broker();
            if !moved {
                std::thread::park_timeout(NAP);
            }
        }
        // Their handles hold the consumer, as large payloads do: it can only be closed without them.
        self.lanes.clear();
        drop(self.context.take_lane_changes());
        if self.context.is_closing() {
            self.context.queue.clear();
        }
    }

    /// Rebalances, log lines and errors; also tells the group that this consumer is alive, however full the event queue is.
    fn serve_group(&mut self) {
        for _ in 0..GROUP_TURN {
            let limit_bytes = self.config.max_message_bytes;
            let polled = self.consumer.poll(Duration::ZERO);
            match polled.map(|result| result.map(|message| event(message.topic().into(), &message, limit_bytes))) {
                Some(Ok(event)) => self.context.queue.push(event),
                Some(Err(error)) => self.trouble(&error),
                None => {}
            }
        }
    }

    fn change_lanes(&mut self) {
        for change in self.context.take_lane_changes() {
            self.is_unsettled = true;
            match change {
                LaneChange::Add(partition, mut queue) => {
                    self.lanes.retain(|lane| lane.partition != partition);
                    // The client has one queue a partition, however often it is assigned, and whoever held it before takes the alarm away
                    // when he goes: so after him. A payload of that time may still go later; then the nap is what bounds the wait.
                    let thread = std::thread::current();
                    queue.set_nonempty_callback(move || thread.unpark());
                    let last_message = Instant::now();
                    let queue = Arc::new(queue);
                    self.lanes.push(Lane { partition, queue, at_end: false, is_drained: false, last_message, quiet_told: false });
                }
                LaneChange::Remove(partitions) => self.lanes.retain(|lane| !partitions.contains(&lane.partition)),
            }
        }
    }

    /// Whether all partitions of each number are here.
    fn look_for_siblings(&mut self) {
        if !self.is_unsettled {
            return;
        }
        let assigned = self.context.assigned();
        if self.siblings.wants_look(&assigned) {
            let counts = self.consumer.fetch_metadata(None, PROBE).ok().map(|found| counts_of(&found, &self.config));
            self.siblings.looked(counts);
        }
        if let Err(error) = self.siblings.check(&assigned) {
            self.give_up(error);
        }
        self.is_unsettled = self.siblings.is_unsettled(&assigned);
    }

    /// Takes messages while there is room. Where there is none they stay in the client, which stops fetching when it has enough.
    fn read_lanes(&mut self) -> bool {
        let mut lanes = std::mem::take(&mut self.lanes);
        let mut moved = false;
        for lane in &mut lanes {
            if self.context.is_held_back(&lane.partition) || self.siblings.is_incomplete(lane.partition.partition) {
                // Messages may wait there: it is not quiet.
                lane.is_drained = false;
            } else {
                moved |= self.read_lane(lane);
            }
        }
        self.lanes = lanes;
        moved
    }

    fn read_lane(&mut self, lane: &mut Lane) -> bool {
        let mut moved = false;
        for _ in 0..TURN {
            lane.is_drained = false;
            if !self.context.queue.has_room() {
                self.context.starved.store(true, Ordering::SeqCst);
                // The pipeline may have made room between the two lines above, and would not wake us for it.
                return moved || self.context.queue.has_room();
            }
            match QueuedMessage::next(&lane.queue) {
                Some(Ok(message)) => {
                    self.context.queue.push(queued_event(lane.partition.topic.clone(), message, &self.config));
                    (lane.at_end, lane.quiet_told, lane.last_message) = (false, false, Instant::now());
                    self.down_since = None;
                    moved = true;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => lane.at_end = true,
                Some(Err(error)) => self.trouble(&error),
                None => {
                    lane.is_drained = true;
                    return moved;
                }
            }
        }
        true
    }

    fn tell_quiet(&mut self) {
        let after = self.config.quiet_after();
        for lane in &mut self.lanes {
            if lane.at_end && lane.is_drained && !lane.quiet_told && lane.last_message.elapsed() >= after {
                lane.quiet_told = true;
                self.context.queue.push(SourceEvent::Quiet(lane.partition.clone()));
            }
        }
    }

    /// What an error of the client means for us: most are news of a connection that librdkafka mends by itself.
    fn trouble(&mut self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            _ if matches!(error, KafkaError::PartitionEOF(_)) => {}
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                if self.down_since.is_none() {
                    tracing::warn!(brokers = %self.config.brokers, "no broker answers: waiting for it");
                    self.down_since = Some(Instant::now());
                }
            }
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve | RDKafkaErrorCode::OperationTimedOut) => {
                tracing::debug!(%error, "connection lost");
            }
            // The thread always polls, so the whole process was stopped for minutes.
            Some(RDKafkaErrorCode::PollExceeded) => tracing::warn!("stood still for too long: out of the group, joining it again"),
            // No waiting cures these either: they are about what this worker wants of the group.
            Some(RDKafkaErrorCode::InconsistentGroupProtocol | RDKafkaErrorCode::InvalidSessionTimeout) => {
                self.give_up(failed("joining the group", error));
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) || is_hopeless(error) => {
                let reason = fatal_error(self.consumer.client(), "reading messages");
                self.give_up(reason.unwrap_or_else(|| failed("reading messages", error)));
            }
            _ => tracing::warn!(error = explain(error), "the Kafka client reports an error"),
        }
    }

    fn look_for_broker(&mut self) {
        let Some(since) = self.down_since else { return };
        if self.last_probe.elapsed() < PROBE_EVERY {
            return;
        }
        let answer = self.consumer.fetch_metadata(None, PROBE);
        self.last_probe = Instant::now();
        let limit_ms = self.config.give_up_after_ms;
        match answer {
            Ok(_) => {
                tracing::info!(away_s = since.elapsed().as_secs(), "the broker answers again");
                self.down_since = None;
            }
            Err(error) if limit_ms > 0 && since.elapsed() >= Duration::from_millis(limit_ms) => {
                let waited_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                let brokers = self.config.brokers.clone();
                self.give_up(SourceError::NoBroker { brokers, waited_ms, message: explain(&error) });
            }
            Err(_) => {}
        }
    }

    fn give_up(&mut self, error: SourceError) {
        self.context.queue.fail(error);
        self.is_broken = true;
    }
}

/// The event of a message whose payload may stay where it is.
fn queued_event(topic: Arc<str>, message: QueuedMessage, config: &KafkaConfig) -> SourceEvent {
    let event = event_without_payload(topic, message.message(), config.max_message_bytes);
    with_payload(event, || message.into_payload(config.answer_bytes()))
}

fn event(topic: Arc<str>, message: &BorrowedMessage<'_>, limit_bytes: usize) -> SourceEvent {
    let event = event_without_payload(topic, message, limit_bytes);
    with_payload(event, || Bytes::copy_from_slice(message.payload().unwrap_or_default()))
}

fn with_payload(event: SourceEvent, take: impl FnOnce() -> Bytes) -> SourceEvent {
    match event {
        SourceEvent::Record(record) => SourceEvent::Record(Record { payload: take(), ..record }),
        other => other,
    }
}

/// The event of a message. The payload of a record is not in it yet: who owns the message decides whether it is copied.
fn event_without_payload(topic: Arc<str>, message: &BorrowedMessage<'_>, limit_bytes: usize) -> SourceEvent {
    let position = SourcePosition { topic, partition: message.partition(), offset: message.offset() };
    match headers_of(message) {
        Some(headers) => event_of(position, message, &headers, limit_bytes),
        None => {
            let text = "a header's name is not UTF-8: no header can be read".to_owned();
            SourceEvent::Rejected(reject(position, message, &[], reason::BAD_HEADER, text))
        }
    }
}

type HeaderRefs<'a> = Vec<(&'a str, &'a [u8])>;

/// The headers of a message, or `None` where they cannot be read: the binding panics on a name that is not UTF-8, and anybody may have
/// written that message.
pub(crate) fn headers_of<'a>(message: &'a BorrowedMessage<'_>) -> Option<HeaderRefs<'a>> {
    let read = || {
        message
            .headers()
            .map(|headers| headers.iter().map(|one| (one.key, one.value.unwrap_or_default())).collect())
            .unwrap_or_default()
    };
    catch_unwind(AssertUnwindSafe(read)).ok()
}

fn event_of(position: SourcePosition, message: &BorrowedMessage<'_>, headers: &HeaderRefs<'_>, limit_bytes: usize) -> SourceEvent {
    // Of headers with the same name the last one counts, as in Java's `lastHeader`.
    let by_name: BTreeMap<&str, &[u8]> = headers.iter().copied().collect();
    let payload = message.payload().unwrap_or_default();
    let refused = |code: &str, text: String| SourceEvent::Rejected(reject(position.clone(), message, headers, code, text));
    if payload.is_empty() {
        return refused(reason::EMPTY, "expected a value, got none".to_owned());
    }
    if payload.len() > limit_bytes {
        let text = format!("expected at most {limit_bytes} bytes, got {}\nhint: raise kafka.max_message_bytes", payload.len());
        return refused(reason::TOO_LARGE, text);
    }
    match parse_headers(position.clone(), message.key(), &by_name) {
        Ok((mut header, schema, encoding)) => {
            // Kept by the broker with the message, so the same whenever it is read.
            let stored_ns = message.timestamp().to_millis().and_then(|ms| ms.checked_mul(NS_PER_MS)).filter(|ns| *ns > 0);
            header.arrival_ns = header.arrival_ns.or(stored_ns);
            let trace_parent = trace_parent(&by_name);
            SourceEvent::Record(Record { header, schema, encoding, payload: Bytes::new(), trace_parent })
        }
        Err((code, text)) => refused(code, text),
    }
}

fn reject(
    position: SourcePosition,
    message: &BorrowedMessage<'_>,
    headers: &[(&str, &[u8])],
    code: &str,
    text: String,
) -> Rejected {
    Rejected {
        position,
        key: message.key().map(Bytes::copy_from_slice),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value))).collect(),
        payload: message.payload().map(Bytes::copy_from_slice),
        reason: code.to_owned(),
        message: text,
    }
}
