//! How good labels are, by the protocols that others are judged by.
//!
//! ```text
//! read        files of labels and truth, each format in its own module
//! labels      what all of them hold
//! pairing     which frame of the labels belongs to which of the truth
//! classes     which names mean the class that is scored
//! protocol    the numbers of KITTI, nuScenes, Argoverse 2, CLEAR, HOTA and AB3DMOT's averages
//! report      the same by class and range, the curves, the worst frames, and the page
//! ```
//!
//! Everything below `read` is a pure function. Every protocol gives the numbers of its official tool to 1e-6; `tests/vectors.rs` holds them
//! against results that those tools gave.

pub mod labels;

pub mod read;

pub mod pairing;

pub mod classes;

pub mod overlap;

pub mod protocol;

pub mod report;

pub mod judge;

pub mod numbers;

mod error;

pub use error::EvalError;
