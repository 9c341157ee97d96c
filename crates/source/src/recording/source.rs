//! A recording read directly, as a [`Source`]: no broker, the same records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use boxwright_model::{SensorKind, SourcePosition};
use bytes::Bytes;

use crate::error::SourceError;
use crate::record::{OutgoingMessage, PartitionId, Record, Recording, Rejected, Source, SourceEvent, parse_headers, topic_name};

const KINDS: [SensorKind; 5] =
    [SensorKind::Lidar, SensorKind::Camera, SensorKind::Calibration, SensorKind::Transform, SensorKind::Detections];

/// Between the name of a topic and of the recording that stands for it.
const OF_RECORDING: char = '#';
/// Messages that cannot be used, of one reason, that are traced one by one; the report counts all of them.
const TRACED: u64 = 3;

/// Reads a [`Recording`] as if it came from Kafka: one partition per topic, offsets counted within the topic.
///
/// Topics are named `<topic_prefix>.<kind>#<origin>` ([`Recording::origin`]): the offsets of every file begin at 0, and a dataset must know which one's they
/// are. Kafka's topics never have a `#`.
///
/// The events are one [`SourceEvent::Assigned`], then one [`SourceEvent::Record`] or [`SourceEvent::Rejected`] per message, then one
/// [`SourceEvent::End`]; afterwards nothing.
pub struct RecordingSource {
    recording: Box<dyn Recording>,
    topic_prefix: String,
    /// One for each kind of message of each file.
    topics: BTreeMap<(Arc<str>, SensorKind), Topic>,
    stage: Stage,
    /// Messages that could not be used, by reason.
    unusable: BTreeMap<String, u64>,
}

struct Topic {
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
    /// A source over `recording` with the topics `<topic_prefix>.<kind>#<origin>`.
    #[must_use]
    pub fn new(recording: Box<dyn Recording>, topic_prefix: &str) -> Self {
        let (topic_prefix, topics, unusable) = (topic_prefix.to_owned(), BTreeMap::new(), BTreeMap::new());
        Self { recording, topic_prefix, topics, stage: Stage::Assign, unusable }
    }

    /// The recording, for its warnings and skipped channels.
    #[must_use]
    pub fn recording(&self) -> &dyn Recording {
        self.recording.as_ref()
    }

    fn topic(&mut self, kind: SensorKind) -> &mut Topic {
        let origin = self.recording.origin();
        let name = || {
            let plain = topic_name(&self.topic_prefix, kind);
            if origin.is_empty() { plain } else { format!("{plain}{OF_RECORDING}{origin}") }
        };
        self.topics.entry((origin.clone(), kind)).or_insert_with(|| Topic { name: name().into(), next_offset: 0 })
    }

    /// Where the message that was read last stands.
    fn take_position(&mut self, kind: SensorKind) -> SourcePosition {
        let topic = self.topic(kind);
        topic.next_offset += 1;
        SourcePosition { topic: topic.name.clone(), partition: 0, offset: topic.next_offset - 1 }
    }
}

impl Source for RecordingSource {
    fn is_sequential(&self) -> bool {
        true
    }

    fn next_event(&mut self, _timeout: Duration) -> Result<Option<SourceEvent>, SourceError> {
        match self.stage {
            Stage::Assign => {
                self.stage = Stage::Read;
                let partitions = KINDS.map(|kind| PartitionId { topic: self.topic(kind).name.clone(), partition: 0 });
                Ok(Some(SourceEvent::Assigned(partitions.into())))
            }
            Stage::Read => {
                let Some(message) = self.recording.next_message()? else {
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

/// Whether a position of this topic is one of a recording that was read directly, and of no topic of a broker.
#[must_use]
pub fn is_of_recording(topic: &str) -> bool {
    topic.contains(OF_RECORDING)
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
