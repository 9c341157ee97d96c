//! Time: from records that arrive in any order to samples whose points all hold at one moment.
//!
//! Nothing here does I/O, starts a thread or reads a clock: every answer is a function of the stamps that were pushed, in the order
//! that they were pushed in. Read in this order:
//!
//! 1. [`order`] — one vehicle's messages from several partitions become one canonical sequence, cut into clips;
//! 2. [`matcher`] — lidar and camera frames of one clip become samples, by means of
//! 3. [`approximate`] — the synchroniser that ROS 2 calls `ApproximateTime`, bit for bit;
//! 4. [`motion`] — where the vehicle was at any moment, and sweeps freed from its motion;
//! 5. [`tree`] — which frame hangs where on the vehicle.

pub mod order;

pub mod matcher;

pub mod approximate;

pub mod motion;

pub mod tree;

pub use matcher::{MatchEvent, MatchFrame, Matcher, MatcherConfig};
pub use motion::{MotionConfig, PoseAt, PoseTrack, deskew};
pub use order::{Arrival, OrderConfig, OrderEvent, VehicleOrder};
pub use tree::{TransformError, TransformTree};

/// Milliseconds of a configuration as nanoseconds; absurdly large values stay far below overflow.
fn ms_to_ns(ms: u64) -> i64 {
    // A quarter of the range: sums and differences of two such durations and any stamp still saturate to something sensible.
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(boxwright_model::time::NS_PER_MS).min(i64::MAX / 4)
}
