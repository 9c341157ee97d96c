//! The queue between the Kafka thread and the pipeline: bounded in bytes, so that frames of any size give the same memory.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::SourceError;
use crate::record::{PartitionId, SourceEvent};

/// What a record weighs beside its payload: header, names, and the allocator's share.
const RECORD_OVERHEAD_BYTES: usize = 512;

/// See the module.
pub(crate) struct EventQueue {
    state: Mutex<State>,
    /// Something came.
    filled: Condvar,
    limit_bytes: usize,
}

#[derive(Default)]
struct State {
    events: VecDeque<SourceEvent>,
    bytes: usize,
    failed: Option<SourceError>,
}

impl EventQueue {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { state: Mutex::new(State::default()), filled: Condvar::new(), limit_bytes }
    }

    /// Whether a record may be added. One record more than the bound may be in it, or a bound below a message's size would block it
    /// for ever.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().bytes < self.limit_bytes
    }

    /// Adds an event. Never blocks: the caller asks [`has_room`](Self::has_room) before it takes a record from librdkafka, and control
    /// events must not wait behind frames.
    pub(crate) fn push(&self, event: SourceEvent) {
        let mut state = self.lock();
        state.bytes += weight(&event);
        state.events.push_back(event);
        drop(state);
        self.filled.notify_one();
    }

    /// Ends the queue with an error, after what is in it.
    pub(crate) fn fail(&self, error: SourceError) {
        self.lock().failed.get_or_insert(error);
        self.filled.notify_one();
    }

    /// Takes out the records of partitions that go to somebody else: they are not committed, so the new owner reads them, and the news
    /// of the revocation must not wait until they are worked through.
    pub(crate) fn discard(&self, partitions: &[PartitionId]) -> usize {
        let mut state = self.lock();
        let before = state.events.len();
        state.events.retain(|event| !partition_of(event).is_some_and(|(topic, number)| belongs(partitions, topic, number)));
        state.bytes = state.events.iter().map(weight).sum();
        before - state.events.len()
    }

    /// Lets everything go that waits.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.bytes = 0;
        let events = std::mem::take(&mut state.events);
        // A payload may be the last that holds the consumer, whose callbacks need the lock while it closes.
        drop(state);
        drop(events);
    }

    /// The next event, or `None` when nothing came within `timeout`.
    pub(crate) fn pop(&self, timeout: Duration) -> Result<Option<SourceEvent>, SourceError> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                state.bytes = state.bytes.saturating_sub(weight(&event));
                return Ok(Some(event));
            }
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Events and bytes that wait.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.lock();
        (state.events.len(), state.bytes)
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The queue is consistent after every statement, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an event takes of the bound.
pub(crate) fn weight(event: &SourceEvent) -> usize {
    match event {
        SourceEvent::Record(record) => record.payload.len() + RECORD_OVERHEAD_BYTES,
        SourceEvent::Rejected(rejected) => {
            let headers: usize = rejected.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
            rejected.payload.as_ref().map_or(0, |payload| payload.len()) + headers + RECORD_OVERHEAD_BYTES
        }
        _ => 0,
    }
}

fn partition_of(event: &SourceEvent) -> Option<(&str, i32)> {
    match event {
        SourceEvent::Record(record) => Some((&record.header.position.topic, record.header.position.partition)),
        SourceEvent::Rejected(rejected) => Some((&rejected.position.topic, rejected.position.partition)),
        SourceEvent::Quiet(partition) => Some((&partition.topic, partition.partition)),
        _ => None,
    }
}

fn belongs(partitions: &[PartitionId], topic: &str, number: i32) -> bool {
    partitions.iter().any(|partition| partition.partition == number && &*partition.topic == topic)
}

#[cfg(test)]
mod tests {
    use boxwright_model::SourcePosition;
    use bytes::Bytes;

    use super::*;
    use crate::record::Rejected;

    fn rejected(topic: &str, payload: usize) -> SourceEvent {
        SourceEvent::Rejected(Rejected {
            position: SourcePosition { topic: topic.into(), partition: 0, offset: 0 },
            key: None,
            headers: Vec::new(),
            payload: Some(Bytes::from(vec![0; payload])),
            reason: String::new(),
            message: String::new(),
        })
    }

    fn partition(topic: &str) -> PartitionId {
        PartitionId { topic: topic.into(), partition: 0 }
    }

    #[test]
    fn room_ends_at_the_bound_and_comes_back() {
        let queue = EventQueue::new(1000);
        queue.push(rejected("a", 900));
        assert!(!queue.has_room());
        assert!(queue.pop(Duration::ZERO).unwrap().is_some());
        assert!(queue.has_room());
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn control_events_pass_although_the_queue_is_full() {
        let queue = EventQueue::new(1);
        queue.push(rejected("a", 10));
        queue.push(SourceEvent::Assigned(vec![partition("a")]));
        queue.pop(Duration::ZERO).unwrap();
        assert_eq!(queue.pop(Duration::ZERO).unwrap(), Some(SourceEvent::Assigned(vec![partition("a")])));
    }

    #[test]
    fn records_of_revoked_partitions_are_taken_out_with_their_bytes() {
        let queue = EventQueue::new(10_000);
        queue.push(rejected("a", 100));
        queue.push(rejected("b", 100));
        queue.push(SourceEvent::Quiet(partition("a")));
        assert_eq!(queue.discard(&[partition("a")]), 2);
        assert_eq!(queue.bytes(), 100 + RECORD_OVERHEAD_BYTES);
    }

    #[test]
    fn an_error_comes_after_what_was_queued_before_it() {
        let queue = EventQueue::new(10_000);
        queue.push(rejected("a", 1));
        queue.fail(SourceError::Kafka { action: "poll".to_owned(), message: "gone".to_owned() });
        assert!(queue.pop(Duration::ZERO).unwrap().is_some());
        assert!(queue.pop(Duration::ZERO).is_err());
    }
}
