//! What the benches share: one synthetic sweep of about 120,000 points.
#![expect(clippy::expect_used, reason = "a bench without its input cannot go on")]

use std::sync::Arc;

use boxwright_model::{PointCloud, Taxonomy};

/// A sweep in the ego frame, free of the vehicle's own motion.
#[must_use]
pub fn sweep() -> PointCloud {
    boxwright_source::synthetic::bench_sweep(120_000, 7).expect("the default street can be made").0
}

/// The classes that the program ships with.
#[must_use]
pub fn taxonomy() -> Arc<Taxonomy> {
    Arc::new(Taxonomy::from_toml(boxwright_pipeline::config::DEFAULT_TAXONOMY_TOML).expect("the shipped taxonomy is usable"))
}
