//! What a run is given, how it is stopped, and why it failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use boxwright_model::{ClipId, SourcePosition, Taxonomy};
use boxwright_review::LiveView;
use boxwright_shard::{Dataset, ShardError};
use boxwright_source::SourceError;

use crate::config::{Config, ConfigError};
use crate::metrics::Metrics;
use crate::networks::Networks;
use crate::report::Progress;

/// How a run is stopped from outside.
#[derive(Debug, Default)]
pub struct StopSignal {
    drain: AtomicBool,
}

impl StopSignal {
    /// Asks the run to stop reading, finish what is complete, and return.
    pub fn drain(&self) {
        self.drain.store(true, Ordering::SeqCst);
    }

    /// Whether the run was asked to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.load(Ordering::SeqCst)
    }
}

/// What a run is given.
pub struct RunJob {
    /// Resolved configuration.
    pub config: Arc<Config>,
    /// Classes.
    pub taxonomy: Arc<Taxonomy>,
    /// Networks that take part in labelling.
    pub networks: Networks,
    /// Where clips are written. Without one the run only reads, orders and accounts: nothing is labelled, written, set aside or
    /// committed.
    pub dataset: Option<Dataset>,
    /// Live viewer, if any.
    pub view: Option<Arc<LiveView>>,
    /// Counters for a progress display.
    pub progress: Arc<Progress>,
    /// What is told of the run while it runs.
    pub metrics: Arc<Metrics>,
    /// How the run is stopped.
    pub stop: Arc<StopSignal>,
    /// End the run, sealing everything, when all partitions are at their ends and nothing came for so long: a broker that is slow or away has more.
    /// It counts from the moment that partitions are assigned: joining a group takes seconds. Where they were taken away, it has `[kafka] session_timeout_ms`
    /// more to come back (a broker whose own session is longer, as that of the group protocol `consumer` may be, finds them with the next run).
    pub stop_when_idle: Option<Duration>,
    /// Set while the sender is known to be at work: then silence is not the end.
    pub more_to_come: Arc<AtomicBool>,
}

impl RunJob {
    /// A run that nobody watches, and that ends when its source does.
    #[must_use]
    pub fn new(config: Arc<Config>, taxonomy: Arc<Taxonomy>, dataset: Option<Dataset>) -> Self {
        Self {
            config,
            taxonomy,
            networks: Networks::default(),
            dataset,
            view: None,
            progress: Arc::default(),
            metrics: Arc::default(),
            stop: Arc::default(),
            stop_when_idle: None,
            more_to_come: Arc::default(),
        }
    }

    /// A hash of everything that decides what the labels are: of the configuration, and of the networks where there are some.
    pub(crate) fn labels_sha256(&self) -> String {
        let config = self.config.labels_sha256(&self.taxonomy);
        match self.networks.deciding() {
            none if none.is_empty() => config,
            networks => crate::config::sha256_hex(format!("{config}|{networks}").as_bytes()),
        }
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The dataset.
    #[error(transparent)]
    Shard(ShardError),
    /// The synchroniser cannot be set up as configured.
    #[error("sync: {0}")]
    Order(String),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// Another worker sealed a clip without messages that were in ours.
    #[error(
        "clip {clip} of vehicle {vehicle} was sealed by another worker without {missing} of its messages, first {first}\nhint: start this worker again: it reads them again and puts them into the dead-letter topic"
    )]
    SealedOtherwise {
        /// The clip.
        clip: ClipId,
        /// Its vehicle.
        vehicle: Arc<str>,
        /// How many messages of ours the entry lacks.
        missing: u64,
        /// The first of them.
        first: SourcePosition,
    },
    /// A recording is in the dataset under another name.
    #[error(
        "expected a recording that the dataset does not have, got one that it has as vehicle {other} (clip {clip}), now as {vehicle}\nhint: --vehicle {other} \
         goes on with it; another --dataset takes it as {vehicle}"
    )]
    OtherName {
        /// The vehicle that it is to be.
        vehicle: Arc<str>,
        /// The vehicle that it is.
        other: String,
        /// The clip by which that was seen.
        clip: ClipId,
    },
    /// A lane ended without saying why.
    #[error("a worker thread ended unexpectedly\nhint: this is a defect; the log has its panic message")]
    LaneLost,
    /// More vehicles than memory is planned for.
    #[error(
        "too many vehicles for one worker: expected at most {limit}, got one more ({vehicle})\nhint: raise run.max_vehicles, or start another worker of the same consumer group"
    )]
    TooManyVehicles {
        /// The bound.
        limit: usize,
        /// The vehicle that came too much.
        vehicle: Arc<str>,
    },
}
