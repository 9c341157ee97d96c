//! The review desk: people decide about tracks, correct boxes, and what they leave is the next revision of the labels.
//!
//! ```text
//! page ─► http ─► desk ─► operation::plan (pure: labels + operation = changes, or a refusal)
//!                  │          └ geometry, find
//!                  ├────► store     the changes, on the disk before anybody is told
//!                  └────► revision  tables box3 and track of revision n+1
//! ```
//!
//! Read in this order: [`geometry`] (what an edit does to a box) → [`labels`] (what an operation leaves behind) → [`operation`] →
//! [`find`] (a click becomes a track) → [`queue`] → [`store`] → [`desk`] → [`revision`] → [`http`].
//!
//! A crate of its own, beside `pipeline` and without Rerun, so that it builds in seconds: it reads and writes clips through `shard` and
//! fits with the stages of `label`. How the sweeps of a clip are opened is told by who starts it ([`scene::OpenScenes`]).

pub mod geometry;

pub mod labels;

pub mod operation;

pub mod find;

pub mod queue;

mod pace;

pub mod people;

mod secret;

mod oidc;

pub mod store;

pub mod scene;

mod clip;

mod suggestion;

pub mod canvas;

pub mod desk;

pub mod revision;

pub mod http;

mod error;

#[cfg(test)]
mod fixture;

pub use canvas::Canvas;
pub use desk::{Desk, DeskSetup, SPOOL_BYTES};
pub use error::DeskError;
pub use http::{DeskServer, now_ms, serve};
pub use oidc::{Begun, Brought, OidcSetup};
pub use people::Person;
pub use store::{Place, PostgresDefaults, PostgresPlace, Store};
