//! Brings messages of several inputs into one order, each still by itself.
//!
//! Semantics of ROS 2 (`message_filters`, `InputAligner`): messages wait in one sorted queue per input, and [`InputAligner::dispatch`]
//! gives them out in the order of their stamps for as long as it is certain that none earlier can come. An input that is empty is waited for
//! from its last stamp plus its period on, until the newest stamp of any input is later than that by the timeout; then it is
//! inactive until its next message. A message before the last one given out is late and dropped.
//!
//! Nothing bounds the queues but the timeout, so the caller dispatches after each message or few; beyond [`MAX_QUEUE_SIZE`] messages of an
//! input its oldest one is given up.

use std::collections::VecDeque;

use super::{DropCause, MAX_QUEUE_SIZE, PolicyError, Stamped, SyncEvent, check_not_negative, check_topics, dropped};

/// How to align.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignerConfig {
    /// How far the newest stamp may be beyond the one that an input owes.
    pub timeout_ns: i64,
    /// Per input the least time between two messages; 0 where unknown.
    pub periods_ns: Vec<i64>,
}

/// How an input stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputStatus {
    /// It is waited for.
    pub active: bool,
    /// Messages that wait.
    pub queued: usize,
    /// Messages given out.
    pub processed: u64,
    /// Messages that came too late.
    pub dropped: u64,
}

#[derive(Clone, Debug)]
struct Input {
    period_ns: i64,
    /// Ordered by stamp, equal ones by arrival.
    queue: VecDeque<Stamped>,
    next_ns: i64,
    active: bool,
    processed: u64,
    dropped: u64,
}

impl Input {
    /// The stamp that is to be given out next or waited for; `None` where nothing is.
    fn first_ns(&mut self) -> Option<i64> {
        if let Some(front) = self.queue.front() {
            self.next_ns = front.stamp_ns.saturating_add(self.period_ns);
            self.active = true;
            return Some(front.stamp_ns);
        }
        self.active.then_some(self.next_ns)
    }
}

/// The aligner.
#[derive(Clone, Debug)]
pub struct InputAligner {
    timeout_ns: i64,
    inputs: Vec<Input>,
    newest_in_ns: i64,
    newest_out_ns: i64,
}

impl InputAligner {
    /// An aligner without messages.
    ///
    /// # Errors
    /// When a number of the configuration is out of its range.
    pub fn new(config: &AlignerConfig) -> Result<Self, PolicyError> {
        check_topics(config.periods_ns.len())?;
        check_not_negative("timeout_ns", config.timeout_ns)?;
        config.periods_ns.iter().try_for_each(|period_ns| check_not_negative("period_ns", *period_ns))?;
        let input = |period_ns: &i64| Input {
            period_ns: *period_ns,
            queue: VecDeque::new(),
            next_ns: i64::MAX,
            active: false,
            processed: 0,
            dropped: 0,
        };
        // Stamps begin at 0 in the original, too: a message before the epoch is late.
        let inputs = config.periods_ns.iter().map(input).collect();
        Ok(Self { timeout_ns: config.timeout_ns, inputs, newest_in_ns: 0, newest_out_ns: 0 })
    }

    /// Takes a message. One that is late or too much is appended to `out` as dropped.
    pub fn push(&mut self, input: usize, stamped: Stamped, out: &mut Vec<SyncEvent>) {
        let Some(entry) = self.inputs.get_mut(input) else {
            out.push(dropped(input, stamped, DropCause::UnknownTopic));
            return;
        };
        if stamped.stamp_ns < self.newest_out_ns {
            entry.dropped += 1;
            out.push(dropped(input, stamped, DropCause::Late));
            return;
        }
        self.newest_in_ns = self.newest_in_ns.max(stamped.stamp_ns);
        let index = entry.queue.partition_point(|queued| queued.stamp_ns <= stamped.stamp_ns);
        entry.queue.insert(index, stamped);
        if entry.queue.len() > MAX_QUEUE_SIZE {
            entry.dropped += 1;
            out.extend(entry.queue.pop_front().map(|oldest| dropped(input, oldest, DropCause::QueueFull)));
        }
    }

    /// Appends what can be given out: input and message, in the order of their stamps; of equal ones the first input's comes first.
    pub fn dispatch(&mut self, out: &mut Vec<(usize, Stamped)>) {
        if self.inputs.iter().all(|input| input.queue.is_empty()) {
            return;
        }
        while let Some((first_ns, index)) = self.first() {
            let Some(input) = self.inputs.get_mut(index) else { return };
            if let Some(stamped) = input.queue.pop_front() {
                self.newest_out_ns = stamped.stamp_ns;
                input.processed += 1;
                out.push((index, stamped));
            } else if self.newest_in_ns.saturating_sub(first_ns) >= self.timeout_ns {
                input.active = false;
            } else {
                return;
            }
        }
    }

    /// Appends all messages that wait, in order. The aligner has none afterwards.
    pub fn finish(&mut self, out: &mut Vec<(usize, Stamped)>) {
        self.dispatch(out);
        while self.inputs.iter().any(|input| !input.queue.is_empty()) {
            self.inputs.iter_mut().filter(|input| input.queue.is_empty()).for_each(|input| input.active = false);
            self.dispatch(out);
        }
    }

    /// How an input stands.
    #[must_use]
    pub fn status(&self, input: usize) -> Option<InputStatus> {
        let status = |input: &Input| InputStatus {
            active: input.active,
            queued: input.queue.len(),
            processed: input.processed,
            dropped: input.dropped,
        };
        self.inputs.get(input).map(status)
    }

    fn first(&mut self) -> Option<(i64, usize)> {
        self.inputs.iter_mut().enumerate().filter_map(|(index, input)| Some((input.first_ns()?, index))).min()
    }
}
