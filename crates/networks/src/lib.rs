//! Networks that a user brings: an ONNX file, and a manifest (TOML) that says what goes in and what comes out.
//!
//! ```text
//! manifest ▸ weights (SHA-256) ▸ session
//! image ▸ pixels ▸ tensor ▸ session ▸ decoder ▸ boxes in the image, our classes
//! sweep ▸ pillars ▸ tensors ▸ session ▸ heads ▸ boxes in the ego frame, our classes
//! ```
//!
//! The product ships no weights. `label` says by its traits what it needs and knows no runtime; this crate is the only one that knows it.
//! It is [rten](https://github.com/robertknight/rten): Rust alone, pinned to one release, so that nothing is to be installed and nobody's library
//! of another version decides what the bytes are.
//!
//! # Same input, same answer
//! Sums of floating-point numbers depend on their order, and that on how work is split: every inference runs on one thread (lanes run side by
//! side instead). Processors with other vector units may differ in the last digits, so that answers are rounded before anything is decided
//! by them ([`yolox`]); a value at the very edge of a step may still fall to either side there.

pub mod manifest;

pub mod image;

pub mod yolox;

pub mod camera;

pub mod pillars;

pub mod heads;

pub mod lidar;

mod session;

pub use camera::CameraNetwork;
pub use lidar::LidarNetwork;
pub use manifest::{CameraManifest, LidarManifest, ManifestError};
