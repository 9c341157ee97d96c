//! What moves or could move: shape, motion and the exact box around it.

use std::sync::Arc;

use boxwright_model::{Cuboid, Pose};
use nalgebra::{Translation3, UnitQuaternion, Vector3};

use super::mesh::{Mesh, Vec3};
use super::road::{EgoDrive, Road};

/// A limb that swings about the body's y axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swing {
    pub(super) pivot: Vec3,
    pub(super) amplitude_rad: f64,
    pub(super) frequency_hz: f64,
    pub(super) phase_rad: f64,
}

impl Swing {
    fn actor_from_part(&self, angle_rad: f64) -> Pose {
        let pivot = self.pivot.cast::<f64>();
        let rotation = UnitQuaternion::from_axis_angle(&Vector3::y_axis(), angle_rad);
        Pose::from_parts(Translation3::from(pivot - rotation * pivot), rotation)
    }

    fn angle_rad(&self, time_s: f64) -> f64 {
        self.amplitude_rad * (std::f64::consts::TAU * self.frequency_hz * time_s + self.phase_rad).sin()
    }
}

/// One rigid part of an actor.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) mesh: Mesh,
    pub(super) swing: Option<Swing>,
}

impl Part {
    pub(super) fn rigid(mesh: Mesh) -> Self {
        Self { mesh: mesh.finish(), swing: None }
    }

    pub(super) fn swinging(mesh: Mesh, swing: Swing) -> Self {
        Self { mesh: mesh.finish(), swing: Some(swing) }
    }
}

/// How an actor goes along the street.
#[derive(Clone, Copy, Debug)]
pub(super) enum Motion {
    /// Stands at `(s, t)`.
    Still {
        /// Metres along the street.
        s_m: f64,
        /// Metres to its left.
        t_m: f64,
        /// Heading from the street's direction.
        yaw_rad: f64,
    },
    /// Goes along the street; a negative speed means towards its start.
    Along {
        /// Metres along the street at the start.
        s_m: f64,
        /// Metres to its left.
        t_m: f64,
        /// Mean speed.
        speed_mps: f64,
        /// Size of a slow coming and going about that speed, and of a sideways sway a tenth as large.
        sway_m: f64,
        /// Phase of both.
        phase_rad: f64,
    },
    /// Keeps a distance to the ego vehicle in its lane.
    Convoy {
        /// Metres ahead of the ego vehicle.
        gap_m: f64,
        /// Phase of the breathing of that gap.
        phase_rad: f64,
    },
    /// Waits on the pavement, crosses the street at a right angle and waits on the other side.
    Crossing {
        /// Metres along the street.
        s_m: f64,
        /// Where it waits; it crosses to the mirrored place.
        from_t_m: f64,
        /// Walking speed.
        speed_mps: f64,
        /// When it starts.
        start_s: f64,
    },
}

impl Motion {
    /// `(s, t)` and heading from the street's direction at a time.
    pub(super) fn place(&self, ego: &EgoDrive, time_s: f64) -> [f64; 3] {
        match *self {
            Self::Still { s_m, t_m, yaw_rad } => [s_m, t_m, yaw_rad],
            Self::Along { s_m, t_m, speed_mps, sway_m, phase_rad } => {
                let (along, across) = (0.5 * time_s + phase_rad, 0.9 * time_s + 2.0 * phase_rad);
                let drift = 0.09 * sway_m * across.cos() / speed_mps.abs().max(0.5);
                let turn = if speed_mps < 0.0 { std::f64::consts::PI - drift.atan() } else { drift.atan() };
                [s_m + speed_mps * time_s + sway_m * along.sin(), t_m + 0.1 * sway_m * across.sin(), turn]
            }
            Self::Convoy { gap_m, phase_rad } => {
                let gap = gap_m * (1.0 + 0.04 * (0.6 * time_s + phase_rad).sin());
                [ego.s_m(time_s) + gap, -super::road::LANE_CENTER_M + 0.1 * phase_rad.cos(), 0.0]
            }
            Self::Crossing { s_m, from_t_m, speed_mps, start_s } => {
                let walked = (speed_mps * (time_s - start_s)).clamp(0.0, 2.0 * from_t_m.abs());
                let side = from_t_m.signum();
                [s_m, from_t_m - side * walked, -side * std::f64::consts::FRAC_PI_2]
            }
        }
    }
}

/// An object with a class, a shape and a motion.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) object_id: u32,
    pub(super) class: Arc<str>,
    pub(super) parts: Vec<Part>,
    pub(super) motion: Motion,
    /// Vehicles lean with the road, people do not.
    pub(super) tilted: bool,
    /// Middle of the box in the actor's frame (ground level under its middle).
    pub(super) box_center_m: Vector3<f64>,
    /// Tight size over all parts and all phases of their swings.
    pub(super) box_size_m: Vector3<f64>,
    /// Pose of an actor that stands, computed once.
    fixed: Option<Pose>,
}

impl Actor {
    /// An actor; its number is given when it enters the scene.
    pub(super) fn new(class: &Arc<str>, parts: Vec<Part>, motion: Motion, tilted: bool) -> Self {
        let (low, high) = extent(&parts);
        Self {
            object_id: 0,
            class: class.clone(),
            parts,
            motion,
            tilted,
            box_center_m: (low + high) / 2.0,
            box_size_m: high - low,
            fixed: None,
        }
    }

    /// Fixes the pose of a standing actor.
    pub(super) fn settle(&mut self, road: &Road, ego: &EgoDrive) {
        if matches!(self.motion, Motion::Still { .. }) {
            self.fixed = Some(self.world_from_actor(road, ego, 0.0));
        }
    }

    /// Pose at a time since the start of the drive.
    pub(super) fn world_from_actor(&self, road: &Road, ego: &EgoDrive, time_s: f64) -> Pose {
        if let Some(pose) = self.fixed {
            return pose;
        }
        let [s_m, t_m, yaw_rad] = self.motion.place(ego, time_s);
        road.frame(s_m, t_m, yaw_rad, self.tilted)
    }

    /// Pose of a part within the actor at a time.
    pub(super) fn actor_from_part(part: &Part, time_s: f64) -> Pose {
        part.swing.map_or_else(Pose::identity, |swing| swing.actor_from_part(swing.angle_rad(time_s)))
    }

    /// The exact box in the world at a time.
    pub(super) fn world_from_box(&self, road: &Road, ego: &EgoDrive, time_s: f64) -> Cuboid {
        let own = Cuboid { center_m: self.box_center_m, size_lwh_m: self.box_size_m, rotation: UnitQuaternion::identity() };
        own.transformed(&self.world_from_actor(road, ego, time_s))
    }

    /// Speed over ground at a time, from the positions a millisecond before and after (level: a step over the kerb is no speed).
    pub(super) fn speed_mps(&self, road: &Road, ego: &EgoDrive, time_s: f64) -> f64 {
        let at = |time_s| self.world_from_actor(road, ego, time_s).translation.vector;
        (at(time_s + 0.001) - at(time_s - 0.001)).xy().norm() / 0.002
    }

    /// Radius of a sphere about the actor's origin that holds it.
    pub(super) fn reach_m(&self) -> f64 {
        self.box_center_m.norm() + self.box_size_m.norm() / 2.0
    }
}

fn extent(parts: &[Part]) -> (Vector3<f64>, Vector3<f64>) {
    let mut bounds: Option<(Vector3<f64>, Vector3<f64>)> = None;
    for part in parts {
        for step in -4..=4 {
            let pose =
                part.swing.map_or_else(Pose::identity, |swing| swing.actor_from_part(swing.amplitude_rad * f64::from(step) / 4.0));
            for point in part.mesh.triangles.iter().flat_map(|triangle| triangle.points) {
                let point = pose.rotation * point.cast::<f64>() + pose.translation.vector;
                bounds = Some(bounds.map_or((point, point), |(low, high)| (low.inf(&point), high.sup(&point))));
            }
            if part.swing.is_none() {
                break;
            }
        }
    }
    bounds.unwrap_or_default()
}
