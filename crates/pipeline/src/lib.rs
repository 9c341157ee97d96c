//! The wiring of Boxwright: threads, lanes, back-pressure, clips, commits and shutdown.
//!
//! The way of the data, each step in the place that bears its name:
//!
//! ```text
//! Source ─▶ run (one thread: accounts for every message, puts a vehicle's messages into canonical order, cuts clips)
//!             │ bounded queue, blocks
//!             ▼
//!           lane (decode ▸ rig ▸ deskew ▸ match ▸ label; a vehicle stays on its lane) ──▶ LiveView (newest wins, never blocks)
//!             │ bounded queue, blocks
//!             ▼
//!           writer (rows ▸ seal) ── "sealed" ──▶ run ──▶ commit
//! ```
//!
//! An offset is committed only when every clip that holds a frame at or before it has its manifest entry. The clip is a pure function
//! of its own frames, in canonical order, and of the calibration known before it: see [`clip`]. That is why a worker that dies may
//! simply start again from its committed offsets.
//!
//! Read in this order: [`config`] → [`run`] → `lane` → [`clip`] → `rig` → [`networks`] → [`detector`] → `writer` → [`report`] → [`metrics`] → [`scenes`].

pub mod config;

pub mod run;

mod lane;

pub mod clip;

mod clocks;

mod rig;

mod writer;

pub mod networks;

pub mod detector;

pub mod report;

pub mod metrics;

pub mod scenes;

pub use config::{Config, ConfigError};
pub use metrics::{Metrics, MetricsError, MetricsServer};
pub use networks::Networks;
pub use report::{Progress, Report};
pub use run::{PipelineError, RunJob, StopSignal, run};
