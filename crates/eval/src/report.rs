//! What a person wants to know beside the official numbers: by class and range, over confidence, and which frames are worst.
//!
//! One matching for all of it: in each frame the labels in order of falling confidence, each takes the best free truth that it agrees
//! with (overlap, or distance of centres). Truth that does not count excuses a label and costs nothing.

pub mod breakdown;

pub mod trust;

pub mod page;

mod chart;
