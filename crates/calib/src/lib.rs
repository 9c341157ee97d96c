//! Whether a camera sees the edges where the lidar says they are.
//!
//! Where the lidar's depth jumps, an image mostly has an edge. A camera whose place on the vehicle is known wrongly sees those edges beside where they
//! are expected; turned by the right angle they agree again. The idea, and the image that says how near the next edge is, are those of Levinson and Thrun
//! ("Automatic Online Calibration of Cameras and Lasers", RSS 2013). Beyond it: edges across and down are held apart, planes seen at a flat angle make
//! no edges, the turn itself is looked for, and how far it can be trusted comes from the scores of wrong turns and from leaving out parts of the image.
//!
//! ```text
//! image  ──▶ gray ▸ field ─────────┐
//! points ──▶ depth (for every hypothesis about what the given pose means) ┴▶ search ▸ verdict
//! ```
//!
//! The crate does no I/O, starts no thread and reads no clock: the same frames give the same verdict, bit for bit.
//!
//! Camera frames are optical: x right, y down, z forward. Read in this order: [`gray`] → [`field`] → [`depth`] → [`search`] → [`verdict`].

pub mod gray;

pub mod field;

pub mod depth;

pub mod search;

pub mod verdict;

pub use gray::Gray;
pub use verdict::{AxisVerdict, CameraCheck, CameraReport, Meaning, Verdict};
