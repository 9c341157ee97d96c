//! Where the poses of one clip come from: messages, or the vehicle's own odometry where no message says where it was.
//!
//! A function of the clip's frames alone. While it is open whether poses come, sweeps wait to be deskewed; the first pose, the wait's end in
//! event time or the clip's end decides it for the whole clip. A clip that has poses is built exactly as without this file.
//!
//! | rule | severity | says |
//! | --- | --- | --- |
//! | BW-O001 | info | the poses are the vehicle's own odometry, in a world that begins at the clip's first sweep |
//! | BW-O002 | error | from here on sweeps could not be placed, and whether the odometry found its way again |
//! | BW-O003 | warning | poses came all the same and are not used |

use std::sync::Arc;

use boxwright_model::time::NS_PER_MS;
use boxwright_model::{Finding, FrameHeader, PointCloud, Pose, Severity};
use boxwright_odometry::{Odometry, Unplaced};

use crate::config::{OdometryMode, OwnMotionConfig};

#[cfg(test)]
mod tests;

/// Most sweeps that wait for the decision, whatever the wait: 70 MB at 100,000 points with times.
pub(super) const MAX_WAITING_SWEEPS: usize = 32;
/// Most losses of a clip that are told one by one.
const MAX_LOSSES: usize = 16;

/// Decides, follows, and tells about it.
#[derive(Debug)]
pub(super) struct OwnMotion {
    config: OwnMotionConfig,
    source: Source,
    /// Poses that came in spite of the odometry, and the first one's stamp.
    unused: u64,
    first_unused_ns: i64,
}

#[derive(Debug)]
enum Source {
    /// Nothing has decided yet.
    Open,
    /// Messages, or nothing where the odometry is off.
    Messages,
    /// The odometry of one lidar.
    Own(Box<Followed>),
}

#[derive(Debug)]
struct Followed {
    lidar: Arc<str>,
    odometry: Odometry,
    sweeps: u64,
    placed: u64,
    path_m: f64,
    first_ns: Option<i64>,
    last: Option<Pose>,
    /// Bounded by [`MAX_LOSSES`].
    losses: Vec<Loss>,
    more_losses: u64,
}

/// Sweeps in a row that could not be placed.
#[derive(Debug)]
struct Loss {
    first_ns: i64,
    sweeps: u64,
    reason: Unplaced,
    found_again: bool,
}

impl OwnMotion {
    pub(super) fn new(config: &OwnMotionConfig) -> Self {
        let source = if config.mode == OdometryMode::Off { Source::Messages } else { Source::Open };
        Self { config: config.clone(), source, unused: 0, first_unused_ns: 0 }
    }

    /// Whether sweeps have to wait.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.source, Source::Open)
    }

    /// Whether the wait is over at `now_ns` with so many sweeps waiting, the oldest since `first_ns`.
    pub(super) fn has_waited(&self, first_ns: i64, now_ns: i64, waiting: usize) -> bool {
        // A quarter of the range: the sum with any stamp saturates to something sensible.
        let wait_ns = i64::try_from(self.config.wait_for_pose_ms).unwrap_or(i64::MAX).saturating_mul(NS_PER_MS).min(i64::MAX / 4);
        waiting >= MAX_WAITING_SWEEPS || first_ns.saturating_add(wait_ns) <= now_ns
    }

    /// A pose came as a message. Returns whether it is used; the first one decides.
    pub(super) fn takes_message(&mut self, stamp_ns: i64) -> bool {
        match (&self.source, self.config.mode) {
            (Source::Messages, _) => true,
            (Source::Open, OdometryMode::Auto | OdometryMode::Off) => {
                self.source = Source::Messages;
                true
            }
            (Source::Open, OdometryMode::Always) | (Source::Own(_), _) => {
                if self.unused == 0 {
                    self.first_unused_ns = stamp_ns;
                }
                self.unused += 1;
                false
            }
        }
    }

    /// No pose came: the odometry begins, with the lidar that is named or else has most points in what waits.
    pub(super) fn begin<'a>(&mut self, waiting: impl Iterator<Item = (&'a Arc<str>, usize)>) {
        let mut points = std::collections::BTreeMap::<Arc<str>, usize>::new();
        for (sensor, count) in waiting {
            *points.entry(sensor.clone()).or_default() += count;
        }
        // One that does not come is most likely misspelt: the run warns of it, and poses from another lidar are better than none.
        let named = points.get_key_value(self.config.lidar.as_str());
        // Of equals the first by name.
        let fullest = || points.iter().rev().max_by_key(|(_, count)| **count);
        let Some(lidar) = named.or_else(fullest).map(|(sensor, _)| sensor.clone()) else { return };
        self.source = Source::Own(Box::new(Followed {
            lidar,
            odometry: Odometry::new(&self.config.icp),
            sweeps: 0,
            placed: 0,
            path_m: 0.0,
            first_ns: None,
            last: None,
            losses: Vec::new(),
            more_losses: 0,
        }));
    }

    /// Where the vehicle was at a sweep, if the odometry follows its lidar and can place it.
    pub(super) fn place(&mut self, header: &FrameHeader, common_ns: i64, points: &PointCloud, is_deskewed: bool) -> Option<Pose> {
        let Source::Own(followed) = &mut self.source else { return None };
        if followed.lidar != header.sensor {
            return None;
        }
        let was_lost = followed.odometry.is_lost();
        followed.sweeps += 1;
        followed.first_ns.get_or_insert(header.stamp_ns);
        match followed.odometry.sweep(common_ns, points, is_deskewed) {
            Ok(world_from_ego) => {
                followed.placed += 1;
                let step_m = followed.last.map_or(0.0, |last| (world_from_ego.translation.vector - last.translation.vector).norm());
                followed.path_m += step_m;
                followed.last = Some(world_from_ego);
                if was_lost
                    && followed.more_losses == 0
                    && let Some(loss) = followed.losses.last_mut()
                {
                    loss.found_again = true;
                }
                Some(world_from_ego)
            }
            // Twice the same stamp: the first of them has been placed.
            Err(Unplaced::NotNewer) => None,
            Err(reason) => {
                followed.lost(header.stamp_ns, reason, was_lost);
                None
            }
        }
    }

    /// What is to be told of the clip.
    pub(super) fn finish(self) -> Vec<Finding> {
        let Self { config, source, unused, first_unused_ns } = self;
        let Source::Own(followed) = source else { return Vec::new() };
        let mut findings = vec![followed.source(&config)];
        findings.extend(followed.losses.iter().map(|loss| loss.finding(&followed)));
        if unused > 0 {
            findings.push(Finding {
                rule: "BW-O003",
                severity: if config.mode == OdometryMode::Always { Severity::Info } else { Severity::Warning },
                stamp_ns: first_unused_ns,
                track_id: None,
                sample_id: None,
                message: format!(
                    "expected poses from the clip's beginning or none, got {unused} from here on: they are not used, the clip's are its own odometry"
                ),
                values: serde_json::json!({ "poses": unused, "wait_for_pose_ms": config.wait_for_pose_ms }).to_string(),
            });
        }
        findings
    }
}

impl Followed {
    fn lost(&mut self, stamp_ns: i64, reason: Unplaced, was_lost: bool) {
        if let Some(loss) = self.losses.last_mut().filter(|loss| was_lost && !loss.found_again) {
            loss.sweeps += 1;
        } else if self.losses.len() < MAX_LOSSES {
            self.losses.push(Loss { first_ns: stamp_ns, sweeps: 1, reason, found_again: false });
        } else {
            self.more_losses += 1;
        }
    }

    fn source(&self, config: &OwnMotionConfig) -> Finding {
        let why = match config.mode {
            OdometryMode::Always => "as configured",
            OdometryMode::Auto | OdometryMode::Off => "no message brought any",
        };
        Finding {
            rule: "BW-O001",
            severity: Severity::Info,
            stamp_ns: self.first_ns.unwrap_or_default(),
            track_id: None,
            sample_id: None,
            message: format!(
                "poses are the vehicle's own odometry from {} ({why}): {} of {} sweeps placed over {:.1} m, in a world that begins at the clip's first sweep",
                self.lidar, self.placed, self.sweeps, self.path_m
            ),
            values: serde_json::json!({
                "source": "odometry", "mode": config.mode.as_str(), "lidar": &*self.lidar, "sweeps": self.sweeps, "placed": self.placed,
                "path_m": (self.path_m * 1000.0).round() / 1000.0, "losses": self.losses.len() as u64 + self.more_losses,
            })
            .to_string(),
        }
    }
}

impl Loss {
    fn finding(&self, followed: &Followed) -> Finding {
        let end = if self.found_again { "then it found its way again" } else { "there are no poses from here to the clip's end" };
        Finding {
            rule: "BW-O002",
            severity: Severity::Error,
            stamp_ns: self.first_ns,
            track_id: None,
            sample_id: None,
            message: format!("odometry lost for {} sweeps of {}: {}; {end}", self.sweeps, followed.lidar, self.reason.describe()),
            values: serde_json::json!({
                "lidar": &*followed.lidar, "sweeps": self.sweeps, "reason": self.reason.as_str(), "found_again": self.found_again,
            })
            .to_string(),
        }
    }
}
