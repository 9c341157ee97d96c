//! Time: from records that arrive in any order to samples whose points all hold at one moment.
//!
//! Nothing here does I/O, starts a thread or reads a clock: every answer is a function of the stamps that were pushed, in the order
//! that they were pushed in. Read in this order:
//!
//! 1. [`order`] — one vehicle's messages from several partitions become one canonical sequence, cut into clips;
//! 2. [`clock`] — whether a sensor's clock drifts or jumps, from arrivals and stamps;
//! 3. [`timing`] — from a stamp to the instant at which sensors are comparable;
//! 4. [`matcher`] — lidar and camera frames of one clip become samples, by means of
//! 5. [`policy`] — the synchronisers, first of all the one that ROS 2 calls `ApproximateTime`, bit for bit;
//! 6. [`motion`] — where the vehicle was at any moment, sweeps freed from its motion, points in images at the images' own time;
//! 7. [`tree`] — which frame hangs where on the vehicle.

pub mod order;

pub mod clock;

pub mod timing;

pub mod matcher;

pub mod policy;

pub mod motion;

pub mod tree;

pub use clock::{ClockAlarm, ClockConfig, ClockEstimate, ClockMonitor};
pub use matcher::{MatchEvent, MatchFrame, Matcher, MatcherConfig, MatcherError};
pub use motion::{MotionConfig, PoseAt, PoseTrack, deskew};
pub use order::{Arrival, OrderConfig, OrderEvent, VehicleOrder};
pub use policy::approximate;
pub use policy::{DropCause, Policy, PolicyConfig, Progress, Stamped, SyncEvent};
pub use timing::SensorTiming;
pub use tree::{TransformError, TransformTree};

/// Milliseconds of a configuration as nanoseconds; absurdly large values stay far below overflow.
fn ms_to_ns(ms: u64) -> i64 {
    // A quarter of the range: sums and differences of two such durations and any stamp still saturate to something sensible.
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(boxwright_model::time::NS_PER_MS).min(i64::MAX / 4)
}
