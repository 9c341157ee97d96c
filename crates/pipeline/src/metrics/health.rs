//! Whether the run is alive, and whether it is ready.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::millis;

/// A run whose loop has not turned for so long, nor handed over a frame, is not alive. The longest that a healthy one stands still is one
/// call of the broker (a commit may take the client's `socket.timeout.ms` of 60 s) or one seal that a full lane waits for.
pub const ALIVE_WITHIN: Duration = Duration::from_secs(90);

/// What `/readyz` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Messages are taken in.
    Ready,
    /// They are not, and why.
    NotReady(&'static str),
}

/// State of the run as the outside sees it. Everything is an atomic: it is written by the run thread and read by the server's.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    /// Milliseconds since `started`.
    last_turn_ms: AtomicU64,
    partitions: AtomicUsize,
    dataset_writable: AtomicBool,
    draining: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            last_turn_ms: AtomicU64::new(0),
            partitions: AtomicUsize::new(0),
            dataset_writable: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }
}

impl Health {
    /// How long ago the run loop turned or handed over a frame; since the start where it has not yet.
    #[must_use]
    pub fn since_turn(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last_turn_ms.load(Ordering::Relaxed)))
    }

    /// Whether that was within [`ALIVE_WITHIN`].
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.since_turn() <= ALIVE_WITHIN
    }

    /// Whether messages are taken in: partitions are assigned (or a recording is open), the dataset takes shards, nobody has asked to stop.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.draining.load(Ordering::Relaxed) {
            return Readiness::NotReady("draining: the run was told to stop");
        }
        if !self.dataset_writable.load(Ordering::Relaxed) {
            return Readiness::NotReady("the dataset is not open for writing");
        }
        if self.partitions() == 0 {
            return Readiness::NotReady("no partition is assigned: joining the group, or more workers than partitions");
        }
        Readiness::Ready
    }

    /// Partitions that are read.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions.load(Ordering::Relaxed)
    }

    pub(super) fn turned(&self) {
        self.last_turn_ms.store(millis(self.started.elapsed()), Ordering::Relaxed);
    }

    pub(super) fn set_dataset_writable(&self, writable: bool) {
        self.dataset_writable.store(writable, Ordering::Relaxed);
    }

    pub(super) fn draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn add_partitions(&self, count: usize) {
        self.partitions.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn remove_partitions(&self, count: usize) {
        // One thread writes, so there is no other update between the two.
        self.partitions.store(self.partitions().saturating_sub(count), Ordering::Relaxed);
    }
}
