//! Where a point of the world is in an image, with the vehicle where it was when the image (or even the row) was exposed.
//!
//! A vehicle at 30 m/s moves 1.5 m in half a sweep, so a box of the sweep's time lies metres beside its object in an image of another time.
//! Here the pose is that of the camera's own time. With a rolling shutter every row has its own time: the row in which a point
//! appears is the solution of `row = project(point, pose(time(row)))`, found by fixed-point iteration from the middle row; it converges
//! as long as the image moves less than one row in the time of a row, which holds for anything but a wheel close by (Waymo's
//! `camera_synced_box` solves the same equation).
//!
//! Camera frames are optical (x right, y down, z forward). Distortion models and their parameters are those of OpenCV (`calib3d`): none,
//! `plumb_bob` (k1 k2 p1 p2 k3), `rational_polynomial` (k1 k2 p1 p2 k3 k4 k5 k6) and `equidistant` (k1 k2 k3 k4).

use boxwright_model::time::NS_PER_S;
use boxwright_model::{CameraModel, Pose};
use nalgebra::{Point3, Vector3};

use super::PoseTrack;

/// Points nearer to the plane of the camera are not projected: they are in the housing, and the division would blow up.
const MIN_DEPTH_M: f64 = 0.05;
/// Rounds of the fixed point. Each gains a factor of the image's speed in rows per row-time, some hundredth for a road scene.
const MAX_ROUNDS: usize = 20;
/// When the time of the row changes less, it is found: at 30 m/s that is 0.03 mm.
const TIME_TOLERANCE_NS: u64 = 1_000;

/// Along which way rows (or columns) are read out, by the image as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadoutDirection {
    /// The first row first.
    TopToBottom,
    /// The last row first.
    BottomToTop,
    /// The first column first.
    LeftToRight,
    /// The last column first.
    RightToLeft,
}

/// How an image was exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutter {
    /// All rows at once.
    Global,
    /// One row after another.
    Rolling {
        /// Time from the begin of the first row to that of the last one.
        readout_ns: i64,
        /// Which row is the first.
        direction: ReadoutDirection,
    },
}

/// How a camera maps directions to pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Lens {
    model: CameraModel,
    distortion: Distortion,
}

/// One image.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraView {
    lens: Lens,
    camera_from_ego: Pose,
    middle_ns: i64,
    shutter: Shutter,
}

/// A camera that cannot be projected into.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ViewError {
    /// The model has another name, or another number of parameters.
    #[error(
        "expected no distortion, or plumb_bob with 5, rational_polynomial with 8 or equidistant with 4 parameters, got {name:?} with {count}"
    )]
    Distortion {
        /// Name of the model.
        name: String,
        /// Number of its parameters.
        count: usize,
    },
    /// A focal length is not positive, or the image has no size.
    #[error("expected positive focal lengths and sizes, got {fx_px} and {fy_px} px, {width_px} x {height_px} px")]
    Intrinsics {
        /// Focal length along x.
        fx_px: f64,
        /// Focal length along y.
        fy_px: f64,
        /// Width.
        width_px: u32,
        /// Height.
        height_px: u32,
    },
}

/// A point of the world at a moment, and how it moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorldPoint {
    /// Where it was.
    pub at_m: Point3<f64>,
    /// When.
    pub stamp_ns: i64,
    /// How fast it moves; zero for what stands.
    pub velocity_mps: Vector3<f64>,
}

impl WorldPoint {
    /// A point that does not move.
    #[must_use]
    pub fn fixed(at_m: Point3<f64>) -> Self {
        Self { at_m, stamp_ns: 0, velocity_mps: Vector3::zeros() }
    }

    fn at(&self, stamp_ns: i64) -> Point3<f64> {
        self.at_m + self.velocity_mps * (stamp_ns.saturating_sub(self.stamp_ns) as f64 / NS_PER_S as f64)
    }
}

/// A point in an image. It may lie outside of its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projected {
    /// Column; the middle of the first pixel is at 0.
    pub u_px: f64,
    /// Row; the middle of the first pixel is at 0.
    pub v_px: f64,
    /// Distance along the camera's axis.
    pub depth_m: f64,
    /// Moment at which the point was seen.
    pub stamp_ns: i64,
}

impl Lens {
    /// The lens of a camera.
    ///
    /// # Errors
    /// When the intrinsics are not those of a camera, or the distortion model is not known.
    pub fn new(model: CameraModel) -> Result<Self, ViewError> {
        let CameraModel { fx_px, fy_px, width_px, height_px, .. } = model;
        if !(fx_px > 0.0 && fy_px > 0.0 && width_px > 0 && height_px > 0) {
            return Err(ViewError::Intrinsics { fx_px, fy_px, width_px, height_px });
        }
        let distortion = Distortion::of(&model)?;
        Ok(Self { model, distortion })
    }

    /// Column and row of a point of the camera's frame; the middle of the first pixel is at 0. `None` where it is behind the camera or beyond
    /// what the distortion describes.
    #[must_use]
    pub fn pixel(&self, in_camera: &Point3<f64>) -> Option<[f64; 2]> {
        if !(in_camera.z >= MIN_DEPTH_M && in_camera.z.is_finite()) {
            return None;
        }
        let (x, y) = self.distortion.apply(in_camera.x / in_camera.z, in_camera.y / in_camera.z)?;
        Some([self.model.fx_px * x + self.model.cx_px, self.model.fy_px * y + self.model.cy_px])
    }

    /// Whether a pixel lies within the bounds of the image.
    #[must_use]
    pub fn contains(&self, [u_px, v_px]: [f64; 2]) -> bool {
        let inside = |at_px: f64, size_px: u32| (-0.5..f64::from(size_px) - 0.5).contains(&at_px);
        inside(u_px, self.model.width_px) && inside(v_px, self.model.height_px)
    }

    /// The model it is made of.
    #[must_use]
    pub fn model(&self) -> &CameraModel {
        &self.model
    }
}

impl CameraView {
    /// An image whose middle row was in the middle of its exposure at `middle_ns` (see [`crate::timing`]).
    ///
    /// # Errors
    /// When the intrinsics are not those of a camera, or the distortion model is not known.
    pub fn new(model: CameraModel, ego_from_camera: &Pose, middle_ns: i64, shutter: Shutter) -> Result<Self, ViewError> {
        Ok(Self { lens: Lens::new(model)?, camera_from_ego: ego_from_camera.inverse(), middle_ns, shutter })
    }

    /// Where the point is in the image. `None` where it is behind the camera or beyond what the distortion describes, where the track does
    /// not know the vehicle's place, or where the image moves too fast for its shutter.
    #[must_use]
    pub fn project(&self, point: &WorldPoint, track: &PoseTrack) -> Option<Projected> {
        let mut stamp_ns = self.middle_ns;
        for _ in 0..MAX_ROUNDS {
            let seen = self.project_at(point, track, stamp_ns)?;
            let seen_ns = self.row_time_ns(&seen);
            if seen_ns.abs_diff(stamp_ns) <= TIME_TOLERANCE_NS {
                return Some(seen);
            }
            stamp_ns = seen_ns;
        }
        None
    }

    /// Whether the point lies within the bounds of the image.
    #[must_use]
    pub fn contains(&self, point: &Projected) -> bool {
        self.lens.contains([point.u_px, point.v_px])
    }

    fn project_at(&self, point: &WorldPoint, track: &PoseTrack, stamp_ns: i64) -> Option<Projected> {
        let world_from_ego = track.at(stamp_ns)?.world_from_ego;
        let in_camera = self.camera_from_ego * world_from_ego.inverse_transform_point(&point.at(stamp_ns));
        let [u_px, v_px] = self.lens.pixel(&in_camera)?;
        Some(Projected { u_px, v_px, depth_m: in_camera.z, stamp_ns })
    }

    /// When the row (or column) of the point was exposed. Beyond the edges it is that of the edge: no row is read there.
    fn row_time_ns(&self, point: &Projected) -> i64 {
        let Shutter::Rolling { readout_ns, direction } = self.shutter else { return self.middle_ns };
        let part = |at_px: f64, size_px: u32| ((at_px + 0.5) / f64::from(size_px)).clamp(0.0, 1.0) - 0.5;
        let after_middle = match direction {
            ReadoutDirection::TopToBottom => part(point.v_px, self.lens.model.height_px),
            ReadoutDirection::BottomToTop => -part(point.v_px, self.lens.model.height_px),
            ReadoutDirection::LeftToRight => part(point.u_px, self.lens.model.width_px),
            ReadoutDirection::RightToLeft => -part(point.u_px, self.lens.model.width_px),
        };
        self.middle_ns.saturating_add((after_middle * readout_ns as f64).round() as i64)
    }
}

/// Parameters by their names in OpenCV.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Distortion {
    None,
    /// k1 k2 p1 p2 k3 k4 k5 k6; the last three are 0 for `plumb_bob`.
    Rational([f64; 8]),
    Equidistant([f64; 4]),
}

impl Distortion {
    fn of(model: &CameraModel) -> Result<Self, ViewError> {
        let values = model.distortion.as_slice();
        let unknown = || ViewError::Distortion { name: model.distortion_model.to_string(), count: values.len() };
        match (&*model.distortion_model, values) {
            ("", []) => Ok(Self::None),
            (_, values) if values.iter().all(|value| *value == 0.0) && !values.is_empty() => Ok(Self::None),
            ("plumb_bob", [k1, k2, p1, p2, k3]) => Ok(Self::Rational([*k1, *k2, *p1, *p2, *k3, 0.0, 0.0, 0.0])),
            ("rational_polynomial", values) => values.try_into().map(Self::Rational).map_err(|_| unknown()),
            ("equidistant", values) => values.try_into().map(Self::Equidistant).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }

    /// Distorted from ideal image coordinates; `None` where the polynomial folds back and the point cannot be in the image.
    fn apply(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        match self {
            Self::None => Some((x, y)),
            Self::Rational(parameters) => rational(parameters, x, y),
            Self::Equidistant([k1, k2, k3, k4]) => {
                let radius = x.hypot(y);
                let angle = radius.atan();
                let squared = angle * angle;
                let slope = 1.0 + squared * (3.0 * k1 + squared * (5.0 * k2 + squared * (7.0 * k3 + squared * 9.0 * k4)));
                let bent = angle * (1.0 + squared * (k1 + squared * (k2 + squared * (k3 + squared * k4))));
                let scale = if radius < 1e-9 { 1.0 } else { bent / radius };
                (slope > 0.0).then_some((x * scale, y * scale))
            }
        }
    }
}

fn rational([k1, k2, p1, p2, k3, k4, k5, k6]: &[f64; 8], x: f64, y: f64) -> Option<(f64, f64)> {
    let squared = x * x + y * y;
    let up = 1.0 + squared * (k1 + squared * (k2 + squared * k3));
    let down = 1.0 + squared * (k4 + squared * (k5 + squared * k6));
    let up_slope = k1 + squared * (2.0 * k2 + squared * 3.0 * k3);
    let down_slope = k4 + squared * (2.0 * k5 + squared * 3.0 * k6);
    // Of r * up / down with respect to r, times down squared: positive as long as further out means further out.
    let slope = up * down + 2.0 * squared * (up_slope * down - up * down_slope);
    if !(slope > 0.0 && down > 0.0) {
        return None;
    }
    let radial = up / down;
    let bent_x = x * radial + 2.0 * p1 * x * y + p2 * (squared + 2.0 * x * x);
    let bent_y = y * radial + p1 * (squared + 2.0 * y * y) + 2.0 * p2 * x * y;
    Some((bent_x, bent_y))
}
