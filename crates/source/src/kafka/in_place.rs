//! Messages that stay where the client has received them: a sweep of megabytes is not copied to be handed on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use self_cell::self_cell;

use super::rebalance::SourceContext;

/// A payload stays where it is if it is at least so large a part of an answer of the broker. It keeps the whole answer alive that it came
/// in, so this is also the most by which what waits may exceed the bounds that are counted in payloads. In practice neighbours share an
/// answer and leave together.
const LEAST_PART: usize = 4;

type Queue = PartitionQueue<SourceContext>;

self_cell!(
    /// A message with the queue that it was taken from, without which it cannot be; the queue holds the consumer. Whoever drops a source
    /// lets go what waits in it first, or the consumer would hold itself and never leave its group.
    pub(crate) struct QueuedMessage {
        owner: Arc<Queue>,
        #[covariant]
        dependent: BorrowedMessage,
    }
);

impl QueuedMessage {
    /// The next message that waits, or what else there is to tell.
    pub(crate) fn next(queue: &Arc<Queue>) -> Option<Result<Self, KafkaError>> {
        let polled = Self::try_new(queue.clone(), |queue| match queue.poll(Duration::ZERO) {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(Some(error)),
            None => Err(None),
        });
        match polled {
            Ok(message) => Some(Ok(message)),
            Err(error) => error.map(Err),
        }
    }

    pub(crate) fn message(&self) -> &BorrowedMessage<'_> {
        self.borrow_dependent()
    }

    /// The payload, in place where that is worth it. `answer_bytes` is the most that an answer of the broker holds.
    pub(crate) fn into_payload(self, answer_bytes: usize) -> Bytes {
        match self.as_ref() {
            payload if payload.len() < answer_bytes / LEAST_PART => Bytes::copy_from_slice(payload),
            _ => Bytes::from_owner(self),
        }
    }
}

impl AsRef<[u8]> for QueuedMessage {
    fn as_ref(&self) -> &[u8] {
        self.message().payload().unwrap_or_default()
    }
}
