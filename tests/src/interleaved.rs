//! A recording with messages of another hand between its own: boxes of a detector that looked at its sweeps, say.

use std::collections::VecDeque;

use boxwright_source::{OutgoingMessage, Recording, RecordingError, SkippedChannel};

/// What somebody has to say to a message of the recording. It follows the message, as it would if it had been made from it.
pub type Answer = Box<dyn FnMut(&OutgoingMessage) -> Vec<OutgoingMessage> + Send>;

/// Reads a recording and puts the answers to each message behind it.
pub struct Interleaved {
    recording: Box<dyn Recording>,
    answer: Answer,
    waiting: VecDeque<OutgoingMessage>,
}

impl Interleaved {
    /// `recording` with what `answer` says to its messages.
    #[must_use]
    pub fn new(recording: Box<dyn Recording>, answer: Answer) -> Self {
        Self { recording, answer, waiting: VecDeque::new() }
    }
}

impl Recording for Interleaved {
    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, RecordingError> {
        if let Some(answer) = self.waiting.pop_front() {
            return Ok(Some(answer));
        }
        let message = self.recording.next_message()?;
        if let Some(message) = &message {
            self.waiting.extend((self.answer)(message));
        }
        Ok(message)
    }

    fn skipped(&self) -> Vec<SkippedChannel> {
        self.recording.skipped()
    }

    fn warnings(&self) -> Vec<String> {
        self.recording.warnings()
    }

    fn is_truncated(&self) -> bool {
        self.recording.is_truncated()
    }

    /// Not known: nobody knows how much there will be to say.
    fn total_messages_hint(&self) -> Option<u64> {
        None
    }
}
