//! A synthetic street drive with exact truth.
//!
//! The demo, the tests and the benches run on it: a street with houses, trees, parked and moving vehicles, pedestrians and cyclists, seen
//! by a rotating lidar and by cameras on a vehicle that drives along. It is made on the fly, one sweep at a time, and is a pure function
//! of its configuration: the same seed gives the same bytes on any number of threads.
//!
//! What makes it a fair test: the lidar really turns while the vehicle drives and the others move, so that sweeps come distorted by motion
//! as real ones do; nearer things hide farther ones; dark cars and window panes return little; and the truth knows the place of every
//! object to the nanosecond. What it is not: evidence about real traffic. Figures measured on it are to be called synthetic.
//!
//! Frames: `world` (the street begins at its origin), `base_link` (the vehicle: x forward, on the ground), one per sensor, named as the
//! sensor. Read in this order: `road` → `mesh` → `actors` → `scene` → `lidar` → `camera` → `drive`.

mod road;

mod mesh;

mod actors;

mod vehicles;

mod people;

mod street;

mod scene;

mod lidar;

mod camera;

mod shade;

mod config;

mod drive;

mod outgoing;

pub use config::{SyntheticCamera, SyntheticConfig, SyntheticError, SyntheticLidar};
pub use drive::{SyntheticDrive, SyntheticFrame, TruthBox, bench_sweep};

#[cfg(test)]
mod tests;
