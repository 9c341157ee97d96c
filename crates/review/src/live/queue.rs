//! A queue whose sender never waits: when it is full, the oldest item makes room and is counted.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Several senders, one receiver, newest wins.
#[derive(Debug)]
pub(crate) struct NewestQueue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    dropped: u64,
    closed: bool,
}

impl<T> NewestQueue<T> {
    /// A queue of at least one place.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State { items: VecDeque::new(), dropped: 0, closed: false }),
            changed: Condvar::new(),
            capacity: capacity.max(1),
        }
    }

    /// Adds an item; the oldest leaves when there is no room. After [`Self::close`] every item is dropped.
    pub(crate) fn push(&self, item: T) {
        let mut state = self.lock();
        let victim = if state.closed {
            Some(item)
        } else {
            let oldest = if state.items.len() >= self.capacity { state.items.pop_front() } else { None };
            state.items.push_back(item);
            oldest
        };
        state.dropped += u64::from(victim.is_some());
        drop(state);
        self.changed.notify_one();
        // A frame may be megabytes: it is freed outside the lock.
        drop(victim);
    }

    /// The oldest item; waits for one, and gives `None` when the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the queue: what is in it can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Drops and counts what still waits.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        let waiting = std::mem::take(&mut state.items);
        state.dropped += waiting.len() as u64;
        drop(state);
        drop(waiting);
    }

    /// Items dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under the lock; were it poisoned, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_keeps_the_newest_and_counts_the_rest() {
        let queue = NewestQueue::new(2);
        for item in 0..5 {
            queue.push(item);
        }
        queue.close();
        queue.push(9);
        assert_eq!((queue.take(), queue.take(), queue.take()), (Some(3), Some(4), None));
        assert_eq!(queue.dropped(), 4);
    }

    #[test]
    fn nothing_vanishes_uncounted() {
        let queue = NewestQueue::new(3);
        let mut taken = 0;
        for item in 0..100 {
            queue.push(item);
            if item % 7 == 0 {
                taken += u64::from(queue.take().is_some());
            }
        }
        queue.clear();
        assert_eq!(taken + queue.dropped(), 100);
    }
}
