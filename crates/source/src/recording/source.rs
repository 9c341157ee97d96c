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

/// Reads a [`Recording`] as if it came from Kafka: one partition per topic, offsets counted within the topic.
///
/// The events are one [`SourceEvent::Assigned`], then one [`SourceEvent::Record`] or [`SourceEvent::Rejected`] per message, then one
/// [`SourceEvent::End`]; afterwards nothing.
pub struct RecordingSource {
    recording: Box<dyn Recording>,
    topics: [Topic; KINDS.len()],
    stage: Stage,
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
    /// A source over `recording` with the topics `<topic_prefix>.<kind>`.
    #[must_use]
    pub fn new(recording: Box<dyn Recording>, topic_prefix: &str) -> Self {
        let topics = KINDS.map(|kind| Topic { kind, name: topic_name(topic_prefix, kind).into(), next_offset: 0 });
        Self { recording, topics, stage: Stage::Assign }
    }

    /// The recording, for its warnings and skipped channels.
    #[must_use]
    pub fn recording(&self) -> &dyn Recording {
        self.recording.as_ref()
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
                self.stage = Stage::Read;
                let partitions = self.topics.iter().map(|topic| PartitionId { topic: topic.name.clone(), partition: 0 });
                Ok(Some(SourceEvent::Assigned(partitions.collect())))
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
        tracing::warn!(
            topic = &*rejected.position.topic,
            partition = rejected.position.partition,
            offset = rejected.position.offset,
            reason = %rejected.reason,
            message = %rejected.message,
            "message cannot be used"
        );
        Ok(())
    }
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
