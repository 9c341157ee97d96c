//! Cuboids seen through a camera: the edges of a box as lines in pixels.
//!
//! Edges are clipped at a near plane in front of the lens, projected with the camera's own distortion (OpenCV's "plumb bob", rational and
//! fisheye models), and clipped to the image, so that a box that is half outside is drawn as far as it is seen.

use boxwright_model::frame::CameraModel;
use boxwright_model::scene::SceneCamera;
use boxwright_model::space::Cuboid;
use nalgebra::{Point3, Vector2};

/// Nothing nearer than this to the lens is drawn: it would land at infinity.
const NEAR_M: f64 = 0.1;
/// A straight edge becomes a curve where the lens distorts; this many pieces look smooth.
const PIECES_IF_DISTORTED: usize = 12;
/// Distortion polynomials are trusted up to this tangent of the angle off the axis (about 72 degrees) at most.
const MAX_TANGENT: f64 = 3.0;

/// One line of a box in an image.
#[derive(Debug, PartialEq)]
pub(crate) struct Wire {
    /// Corners in pixels (x right, y down).
    pub(crate) points_px: Vec<[f32; 2]>,
    /// The line belongs to the front face of the object.
    pub(crate) front: bool,
}

/// Projects boxes into one camera.
pub(crate) struct Lens<'a> {
    camera: &'a SceneCamera,
    distortion: Distortion,
    max_tangent: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Distortion {
    None,
    /// k1 k2 p1 p2 k3 k4 k5 k6
    Polynomial([f64; 8]),
    /// k1 k2 k3 k4
    Fisheye([f64; 4]),
}

impl<'a> Lens<'a> {
    /// The lens of a camera, or `None` where its intrinsics are none.
    pub(crate) fn new(camera: &'a SceneCamera) -> Option<Self> {
        let model = &camera.model;
        let focal_ok = [model.fx_px, model.fy_px].iter().all(|focal| focal.is_finite() && *focal > 0.0);
        let center_ok = model.cx_px.is_finite() && model.cy_px.is_finite();
        if !(focal_ok && center_ok && model.width_px > 0 && model.height_px > 0) {
            return None;
        }
        let distortion = Distortion::of(model);
        Some(Self { camera, distortion, max_tangent: distortion.max_tangent() })
    }

    /// The visible lines of a box given in the ego frame.
    pub(crate) fn wires(&self, ego_from_box: &Cuboid) -> Vec<Wire> {
        let camera_from_ego = self.camera.ego_from_sensor.inverse();
        let corners = ego_from_box.corners().map(|corner| camera_from_ego * corner);
        let mut wires = Vec::new();
        for (from, to) in edges() {
            let front = from & to & 1 == 1;
            if let Some((a, b)) = clip_near(corners[from], corners[to]) {
                self.edge(a, b, front, &mut wires);
            }
        }
        wires
    }

    /// Draws one edge, both ends in front of the lens, as one or more lines inside the image.
    fn edge(&self, a: Point3<f64>, b: Point3<f64>, front: bool, wires: &mut Vec<Wire>) {
        let pieces = if self.distortion == Distortion::None { 1 } else { PIECES_IF_DISTORTED };
        let pixels = (0..=pieces).map(|step| self.pixel(a + (b - a) * (step as f64 / pieces as f64)));
        let mut line: Vec<[f32; 2]> = Vec::new();
        let mut previous: Option<Vector2<f64>> = None;
        for pixel in pixels {
            let piece = previous.zip(pixel).and_then(|(from, to)| clip_image(from, to, &self.camera.model));
            previous = pixel;
            let Some((from, to)) = piece else { continue };
            if line.last() != Some(&from) {
                flush(&mut line, front, wires);
                line.push(from);
            }
            line.push(to);
        }
        flush(&mut line, front, wires);
    }

    fn pixel(&self, point: Point3<f64>) -> Option<Vector2<f64>> {
        let ray = Vector2::new(point.x / point.z, point.y / point.z);
        if ray.norm() > self.max_tangent {
            return None;
        }
        let bent = self.distortion.apply(ray);
        let model = &self.camera.model;
        Some(Vector2::new(model.fx_px * bent.x + model.cx_px, model.fy_px * bent.y + model.cy_px))
    }
}

impl Distortion {
    fn of(model: &CameraModel) -> Self {
        let given = &model.distortion;
        if given.iter().all(|k| *k == 0.0) || given.iter().any(|k| !k.is_finite()) {
            return Self::None;
        }
        let k = |index: usize| given.get(index).copied().unwrap_or(0.0);
        match &*model.distortion_model {
            "plumb_bob" | "rational_polynomial" | "radtan" | "brown_conrady" => Self::Polynomial(std::array::from_fn(k)),
            "equidistant" | "fisheye" | "kannala_brandt" | "kannala_brandt4" => Self::Fisheye(std::array::from_fn(k)),
            _ => Self::None,
        }
    }

    /// Where a ray through the undistorted plane really lands (OpenCV, "Camera Calibration and 3D Reconstruction", and its fisheye page).
    fn apply(self, ray: Vector2<f64>) -> Vector2<f64> {
        let (x, y, r2) = (ray.x, ray.y, ray.norm_squared());
        match self {
            Self::None => ray,
            Self::Polynomial(k) => {
                let [_, _, p1, p2, ..] = k;
                let radial = radial_gain(&k, r2);
                Vector2::new(
                    x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
                    y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
                )
            }
            Self::Fisheye([k1, k2, k3, k4]) => {
                let r = r2.sqrt();
                if r < 1e-9 {
                    return ray;
                }
                let t = r.atan();
                let t2 = t * t;
                let bent = t * (1.0 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))));
                ray * (bent / r)
            }
        }
    }

    /// How far off the axis the polynomial still grows: beyond, it folds the picture back on itself.
    fn max_tangent(self) -> f64 {
        let Self::Polynomial(k) = self else { return if self == Self::None { f64::INFINITY } else { MAX_TANGENT } };
        let mut reached = 0.0;
        let mut r = 0.0;
        while r < MAX_TANGENT {
            let next = r + 0.02;
            let bent = next * radial_gain(&k, next * next);
            // Written so that NaN ends the search as well.
            if !matches!(bent.partial_cmp(&reached), Some(std::cmp::Ordering::Greater)) {
                return r;
            }
            reached = bent;
            r = next;
        }
        MAX_TANGENT
    }
}

fn radial_gain(k: &[f64; 8], r2: f64) -> f64 {
    let [k1, k2, _, _, k3, k4, k5, k6] = k;
    (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1.0 + r2 * (k4 + r2 * (k5 + r2 * k6)))
}

/// The twelve edges as pairs of corner indices: two corners that differ in one bit.
fn edges() -> impl Iterator<Item = (usize, usize)> {
    (0..8).flat_map(|corner| (0..3).filter(move |bit| corner >> bit & 1 == 0).map(move |bit| (corner, corner | 1 << bit)))
}

fn clip_near(a: Point3<f64>, b: Point3<f64>) -> Option<(Point3<f64>, Point3<f64>)> {
    let cut =
        |inside: Point3<f64>, outside: Point3<f64>| inside + (outside - inside) * ((inside.z - NEAR_M) / (inside.z - outside.z));
    match (a.z >= NEAR_M, b.z >= NEAR_M) {
        (true, true) => Some((a, b)),
        (true, false) => Some((a, cut(a, b))),
        (false, true) => Some((cut(b, a), b)),
        (false, false) => None,
    }
}

/// Clips a line to the image (Liang and Barsky 1984).
fn clip_image(from: Vector2<f64>, to: Vector2<f64>, model: &CameraModel) -> Option<([f32; 2], [f32; 2])> {
    let delta = to - from;
    let size = Vector2::new(f64::from(model.width_px), f64::from(model.height_px));
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    for axis in 0..2 {
        for (p, q) in [(-delta[axis], from[axis]), (delta[axis], size[axis] - from[axis])] {
            if p == 0.0 {
                if q < 0.0 {
                    return None;
                }
            } else if p < 0.0 {
                enter = enter.max(q / p);
            } else {
                leave = leave.min(q / p);
            }
        }
    }
    let at = |share: f64| {
        let point = from + delta * share;
        [point.x as f32, point.y as f32]
    };
    (enter < leave).then(|| (at(enter), at(leave)))
}

fn flush(line: &mut Vec<[f32; 2]>, front: bool, wires: &mut Vec<Wire>) {
    if line.len() > 1 {
        wires.push(Wire { points_px: std::mem::take(line), front });
    }
    line.clear();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use boxwright_model::space::Pose;
    use nalgebra::{UnitQuaternion, Vector3};

    use super::*;

    /// A camera at the ego origin that looks along +x.
    fn camera(distortion_model: &str, distortion: Vec<f64>) -> SceneCamera {
        let forward = UnitQuaternion::from_euler_angles(0.0, std::f64::consts::FRAC_PI_2, 0.0)
            * UnitQuaternion::from_euler_angles(0.0, 0.0, -std::f64::consts::FRAC_PI_2);
        SceneCamera {
            sensor: Arc::from("front"),
            ego_from_sensor: Pose::from_parts(Vector3::zeros().into(), forward),
            model: CameraModel {
                fx_px: 500.0,
                fy_px: 500.0,
                cx_px: 320.0,
                cy_px: 240.0,
                distortion_model: Arc::from(distortion_model),
                distortion,
                width_px: 640,
                height_px: 480,
            },
        }
    }

    fn car(x: f64, y: f64) -> Cuboid {
        Cuboid::upright(Vector3::new(x, y, 0.0), Vector3::new(4.0, 2.0, 2.0), 0.0)
    }

    fn inside(wires: &[Wire]) -> bool {
        wires.iter().flat_map(|wire| &wire.points_px).all(|[x, y]| (-0.01..=640.01).contains(x) && (-0.01..=480.01).contains(y))
    }

    #[test]
    fn a_box_ahead_has_twelve_edges_at_the_textbook_pixels() {
        let camera = camera("", vec![]);
        let wires = Lens::new(&camera).unwrap().wires(&car(10.0, 0.0));
        assert_eq!(wires.len(), 12);
        assert_eq!(wires.iter().filter(|wire| wire.front).count(), 4);
        // Rear face at x = 8 m, one metre to the left and up: 320 - 500/8, 240 - 500/8.
        assert!(wires.iter().flat_map(|wire| &wire.points_px).any(|[x, y]| (x - 257.5).abs() < 0.01 && (y - 177.5).abs() < 0.01));
    }

    #[test]
    fn a_box_around_the_lens_is_cut_and_stays_in_the_image() {
        let camera = camera("", vec![]);
        let lens = Lens::new(&camera).unwrap();
        let wires = lens.wires(&car(1.0, 0.0));
        assert!(inside(&wires));
        assert!(lens.wires(&car(-10.0, 0.0)).is_empty(), "behind the lens");
        assert!(lens.wires(&car(10.0, 40.0)).is_empty(), "beside the image");
        assert!(inside(&lens.wires(&car(10.0, 6.0))));
    }

    #[test]
    fn strong_distortion_bends_edges_without_folding_them_back() {
        for (name, parameters) in [("plumb_bob", vec![-0.4, 0.1, 0.001, 0.001, 0.0]), ("equidistant", vec![0.02, -0.01, 0.0, 0.0])]
        {
            let camera = camera(name, parameters);
            let lens = Lens::new(&camera).unwrap();
            for y in [-30.0, -8.0, 0.0, 3.0, 12.0] {
                assert!(inside(&lens.wires(&car(6.0, y))), "{name} {y}");
            }
            assert!(lens.wires(&car(10.0, 0.0)).iter().any(|wire| wire.points_px.len() == PIECES_IF_DISTORTED + 1));
        }
        let barrel = camera("plumb_bob", vec![-0.4, 0.0, 0.0, 0.0, 0.0]);
        assert!(Lens::new(&barrel).unwrap().max_tangent < 1.0);
    }

    #[test]
    fn intrinsics_that_are_none_are_refused() {
        let mut camera = camera("", vec![]);
        camera.model.fx_px = 0.0;
        assert!(Lens::new(&camera).is_none());
        camera.model.fx_px = f64::NAN;
        assert!(Lens::new(&camera).is_none());
    }
}
