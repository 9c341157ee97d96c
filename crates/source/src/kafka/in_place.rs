//! Messages that stay where the client has received them: a sweep of megabytes is not copied to be handed on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use self_cell::self_cell;

use super::rebalance::SourceContext;

/// Payloads from here on are not copied. A payload that stays keeps the whole answer of the broker alive that it came in: at most
/// [`ANSWER_BYTES`], or one message. Smaller ones would keep more than eight times their size, and cost little to copy.
const IN_PLACE_BYTES: usize = 1 << 20;
/// The most that one answer of a broker holds, unless one message is larger. librdkafka's own 50 MiB would be kept by a single sweep; eight
/// still take more time to send than a round trip.
pub(crate) const ANSWER_BYTES: usize = 8 << 20;

type Queue = PartitionQueue<SourceContext>;

self_cell!(
    /// A message with the queue that it was taken from, without which it cannot be.
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

    /// The payload, in place where that is worth it.
    pub(crate) fn into_payload(self) -> Bytes {
        match self.as_ref() {
            payload if payload.len() < IN_PLACE_BYTES => Bytes::copy_from_slice(payload),
            _ => Bytes::from_owner(self),
        }
    }
}

impl AsRef<[u8]> for QueuedMessage {
    fn as_ref(&self) -> &[u8] {
        self.message().payload().unwrap_or_default()
    }
}
