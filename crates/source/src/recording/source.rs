//! A recording read directly, as a [`Source`]: no broker, the same records.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use boxwright_model::{SensorKind, SourcePosition};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::error::SourceError;
use crate::record::{OutgoingMessage, PartitionId, Record, Recording, Rejected, Source, SourceEvent, parse_headers, topic_name};

const KINDS: [SensorKind; 5] =
    [SensorKind::Lidar, SensorKind::Camera, SensorKind::Calibration, SensorKind::Transform, SensorKind::Detections];

/// Messages by which a recording is known again. The first ones, so that a file that was cut is the same recording as the whole; more than the calibration
/// of a vehicle, which may be the same on every drive.
const KNOWN_BY: usize = 16;
/// Messages that cannot be used, of one reason, that are traced one by one; the report counts all of them.
const TRACED: u64 = 3;

/// Reads a [`Recording`] as if it came from Kafka: one partition per topic, offsets counted within the topic.
///
/// Topics are named `<topic_prefix>.<kind>#<recording>`: the offsets of every recording begin at 0, and a dataset must know which one's they are. The name of
/// the recording is a hash of its first messages, so that it does not depend on where the file lies. Kafka's topics never have a `#`.
///
/// The events are one [`SourceEvent::Assigned`], then one [`SourceEvent::Record`] or [`SourceEvent::Rejected`] per message, then one
/// [`SourceEvent::End`]; afterwards nothing.
pub struct RecordingSource {
    recording: Box<dyn Recording>,
    topic_prefix: String,
    /// In the order of [`KINDS`], once the recording's name is known.
    topics: Vec<Topic>,
    /// The first messages, read ahead for the recording's name.
    first: VecDeque<OutgoingMessage>,
    stage: Stage,
    /// Messages that could not be used, by reason.
    unusable: BTreeMap<String, u64>,
}

struct Topic {
    kind: SensorKind,
    name: Arc<str>,
    next_offset: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Assign,
    Read,
    Ended,
}

impl RecordingSource {
    /// A source over `recording` with the topics `<topic_prefix>.<kind>#<recording>`.
    #[must_use]
    pub fn new(recording: Box<dyn Recording>, topic_prefix: &str) -> Self {
        let (topic_prefix, topics, first) = (topic_prefix.to_owned(), Vec::new(), VecDeque::new());
        Self { recording, topic_prefix, topics, first, stage: Stage::Assign, unusable: BTreeMap::new() }
    }

    /// The recording, for its warnings and skipped channels.
    #[must_use]
    pub fn recording(&self) -> &dyn Recording {
        self.recording.as_ref()
    }

    /// Reads the first messages, and names the topics by them.
    fn name_topics(&mut self) -> Result<(), SourceError> {
        while self.first.len() < KNOWN_BY
            && let Some(message) = self.recording.next_message()?
        {
            self.first.push_back(message);
        }
        let name = name_of(self.first.iter());
        self.topics = KINDS
            .map(|kind| Topic { kind, name: format!("{}#{name}", topic_name(&self.topic_prefix, kind)).into(), next_offset: 0 })
            .into();
        Ok(())
    }

    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, SourceError> {
        match self.first.pop_front() {
            Some(message) => Ok(Some(message)),
            None => Ok(self.recording.next_message()?),
        }
    }

    /// Where the next message of a kind stands.
    fn take_position(&mut self, kind: SensorKind) -> SourcePosition {
        let mut position = SourcePosition { topic: "".into(), partition: 0, offset: 0 };
        if let Some(topic) = self.topics.iter_mut().find(|topic| topic.kind == kind) {
            position.topic = topic.name.clone();
            position.offset = topic.next_offset;
            topic.next_offset += 1;
        }
        position
    }
}

impl Source for RecordingSource {
    fn is_sequential(&self) -> bool {
        true
    }

    fn next_event(&mut self, _timeout: Duration) -> Result<Option<SourceEvent>, SourceError> {
        match self.stage {
            Stage::Assign => {
                self.name_topics()?;
                self.stage = Stage::Read;
                let partitions = self.topics.iter().map(|topic| PartitionId { topic: topic.name.clone(), partition: 0 });
                Ok(Some(SourceEvent::Assigned(partitions.collect())))
            }
            Stage::Read => {
                let Some(message) = self.next_message()? else {
                    self.stage = Stage::Ended;
                    return Ok(Some(SourceEvent::End));
                };
                let position = self.take_position(message.kind);
                Ok(Some(received(position, message)))
            }
            Stage::Ended => Ok(None),
        }
    }

    /// Does nothing: a recording has no offsets to keep.
    fn commit(&mut self, _offsets: &[(PartitionId, i64)]) -> Result<(), SourceError> {
        Ok(())
    }

    /// Traces a warning: the message stays where it is, in the recording.
    fn dead_letter(&mut self, rejected: &Rejected) -> Result<(), SourceError> {
        let count = self.unusable.entry(rejected.reason.clone()).or_default();
        *count += 1;
        if *count > TRACED {
            return Ok(());
        }
        let more = if *count == TRACED { ": if there are more, the report counts them" } else { "" };
        tracing::warn!(
            topic = &*rejected.position.topic,
            partition = rejected.position.partition,
            offset = rejected.position.offset,
            reason = %rejected.reason,
            message = %rejected.message,
            "message cannot be used{more}"
        );
        Ok(())
    }
}

/// A name by the content of messages: twelve hexadecimal digits of a SHA-256, as Git shortens its own; the vehicle, which a person may choose, is not in it.
fn name_of<'a>(messages: impl Iterator<Item = &'a OutgoingMessage>) -> String {
    let mut hash = Sha256::new();
    for message in messages {
        for part in [message.kind.as_str().as_bytes(), message.sensor.as_bytes(), message.schema.as_bytes(), &message.payload] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(message.stamp_ns.to_le_bytes());
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// What a consumer makes of a message, judged by its headers alone.
fn received(position: SourcePosition, message: OutgoingMessage) -> SourceEvent {
    let headers = message.headers();
    let by_name: BTreeMap<&str, &[u8]> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    match parse_headers(position.clone(), Some(message.vehicle.as_bytes()), &by_name) {
        Ok((header, schema, encoding)) => {
            SourceEvent::Record(Record { header, schema, encoding, payload: message.payload, trace_parent: None })
        }
        Err((reason, text)) => SourceEvent::Rejected(Rejected {
            position,
            key: Some(Bytes::copy_from_slice(message.vehicle.as_bytes())),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), Bytes::from(value))).collect(),
            payload: Some(message.payload),
            reason: reason.to_owned(),
            message: text,
        }),
    }
}

#[cfg(test)]
mod tests;
