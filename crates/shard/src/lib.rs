//! Parquet shards and their manifest: what Boxwright keeps.
//!
//! A clip is written by a [`ClipWriter`], sealed into files and one [`ManifestEntry`], and read back by a [`ClipReader`]. A [`Dataset`] is
//! the folder of it all. Only this crate knows Parquet, and only its `storage` module knows the file system and object
//! stores.
//!
//! Read in this order: [`schema`] (the columns) → [`dataset`] → [`writer`] → `table_file` (encodings, row groups) → `seal` (what happens
//! when something dies) → [`manifest`] → [`reader`] → [`verify`].

pub mod schema;

pub mod location;

pub mod dataset;

pub mod writer;

pub mod tables;

mod columns;

mod decode;

mod thrift;

mod table_file;

mod seal;

pub mod manifest;

pub mod reader;

pub mod verify;

mod layout;

pub mod name;

mod storage;

pub mod config;

pub mod error;

#[cfg(test)]
mod fixtures;

pub use config::WriterConfig;
pub use dataset::{Dataset, MARKER, Orphans};
pub use error::ShardError;
pub use location::{DatasetLocation, StoreConfig};
pub use manifest::{ClipCounts, FileEntry, ManifestEntry, PreviousEntry, SealInfo, SealOutcome, SourceRange};
pub use reader::{ClipReader, Rows};
pub use schema::{SCHEMA_VERSION, Table};
pub use table_file::CREATED_BY;
pub use tables::calibration::CalibrationRow;
pub use tables::camera::CameraRow;
pub use tables::finding::StoredFinding;
pub use tables::late::LateRow;
pub use tables::lidar::LidarRow;
pub use verify::{OffsetFate, PartitionAccount, Problem, ProblemKind, Verification};
pub use writer::{ClipKey, ClipWriter};
