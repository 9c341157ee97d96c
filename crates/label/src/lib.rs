//! From points to boxes, tracks and findings: the geometric auto-labeller.
//!
//! ```text
//! per sweep, causal:   clean → ground → carry → detector (cluster, horizon → fit → classify, or whole boxes of others) → look → track
//! when the clip ends:  clip::finish → findings
//! ```
//!
//! Each stage is a module of the same name and can be called alone. [`ClipLabeler`] runs them in order. The crate does no I/O, starts no
//! thread and reads no clock: the same sweeps give the same labels, bit for bit.
//!
//! Points are `[f32; 3]` in the ego frame of their sweep, metres. Planar shapes are in the ego frame until [`track`], which works in the
//! world frame so that the vehicle's own motion is no motion of others.

pub mod clean;

pub mod ground;

pub mod carry;

pub mod cluster;

pub mod horizon;

pub mod fit;

pub mod classify;

pub mod moments;

pub mod models;

pub mod detect;

pub mod detector;

pub mod look;

pub mod refine;

pub mod track;

pub mod clip;

pub mod findings;

pub mod metrics;

pub mod config;

pub use clip::{ClipLabeler, ClipLabels, SweepInput, SweepLabels};
pub use config::{ConfigError, LabelConfig};
