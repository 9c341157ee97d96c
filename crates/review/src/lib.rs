//! What people look at: scenes drawn with Rerun, into a file, into a live viewer, or in a page of our own.
//!
//! ```text
//! SceneFrame ─► scene (archetypes) ─► stream (one recording + its layout) ─┬─► rrd   a file
//!                                                                         └─► live  a viewer, behind a queue that drops
//! canvas: a clip for a viewer in somebody else's page, with boxes that change
//! web: one small page around the Rerun web viewer, for files and for the live view
//! ```
//!
//! No type of Rerun or of the HTTP server leaves this crate, so that an upgrade of either touches nothing else. Nothing here may
//! slow the storage lane: [`LiveView::offer`] never blocks, and what a slow viewer misses is counted.

mod canvas;
mod config;
mod error;
mod layout;
mod live;
mod rrd;
mod scene;
mod stream;
mod web;

#[cfg(test)]
mod fixture;

pub use canvas::{Canvas, CanvasRecording};
pub use config::ViewConfig;
pub use error::ReviewError;
pub use live::{Finished, LiveStats, LiveView, ViewTarget};
pub use rrd::{Written, write_rrd};
pub use web::{Server, serve_recordings};
