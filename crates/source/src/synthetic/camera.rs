//! The cameras: a depth-buffered renderer with a global shutter.
//!
//! First every triangle is drawn by number into a buffer, nearest first; then shadows are marked on the ground; then each pixel is coloured
//! once from the triangle that won it. Nothing is textured twice and nothing that is hidden is coloured at all.

use boxwright_model::{CameraModel, Pose};
use nalgebra::{Matrix3, Point3, Rotation3, Translation3, UnitQuaternion, Vector3};

use super::config::SyntheticCamera;
use super::mesh::{Paint, Surface, Triangle, Vec3};
use super::scene::{Instance, Scene};
use super::shade;

/// Nothing beyond is drawn; haze hides it.
const FAR_M: f64 = 250.0;
const NEAR_M: f32 = 0.15;
/// Shadows farther away than this are thinner than a pixel.
const SHADOW_FAR_M: f32 = 90.0;
/// A body that covers less than this of a pixel is left out.
const SMALLEST_PX: f32 = 0.35;
/// Direction to the sun, in the world: behind the ego vehicle on its right, so that what it faces is lit and shadows fall ahead.
const SUN: [f32; 3] = [-0.36, -0.42, 0.83];
const HAZE: [f32; 3] = [0.78, 0.84, 0.90];
/// Distance at which haze takes half of the contrast.
const HAZE_M: f32 = 380.0;

/// A camera with its place and its lens.
#[derive(Clone, Debug)]
pub(super) struct Camera {
    pub(super) ego_from_camera: Pose,
    pub(super) model: CameraModel,
}

impl Camera {
    /// A pinhole camera without distortion from its description.
    pub(super) fn new(config: &SyntheticCamera) -> Self {
        let focal_px = f64::from(config.width_px) / 2.0 / (config.hfov_deg.to_radians() / 2.0).tan();
        let model = CameraModel {
            fx_px: focal_px,
            fy_px: focal_px,
            cx_px: f64::from(config.width_px) / 2.0,
            cy_px: f64::from(config.height_px) / 2.0,
            distortion_model: "".into(),
            distortion: Vec::new(),
            width_px: config.width_px,
            height_px: config.height_px,
        };
        // Optical axes (right, down, ahead) in a body that looks along its x axis.
        let optical = Matrix3::from_columns(&[-Vector3::y(), -Vector3::z(), Vector3::x()]);
        let optical = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(optical));
        let aim = UnitQuaternion::from_euler_angles(0.0, config.pitch_down_deg.to_radians(), config.yaw_deg.to_radians());
        let place = Translation3::from(Vector3::from(config.position_m));
        Self { ego_from_camera: Pose::from_parts(place, aim * optical), model }
    }
}

/// Renders the scene at a time: red, green, blue, row by row.
pub(super) fn render(scene: &Scene, camera: &Camera, time_s: f64) -> Vec<u8> {
    let mut canvas = Canvas::new(camera, scene.world_from_ego(time_s) * camera.ego_from_camera);
    let nearby = scene.nearby(time_s, FAR_M);
    for instance in &nearby {
        canvas.draw(instance, &instance.world_from_body(scene, time_s));
    }
    for instance in nearby.iter().filter(|instance| instance.casts_shadow) {
        canvas.shadow(instance, &instance.world_from_body(scene, time_s), &instance.world_from_ground(scene, time_s));
    }
    canvas.develop()
}

/// The number of the actor that each pixel shows; zero for the street and the sky.
#[cfg(test)]
pub(super) fn owners(scene: &Scene, camera: &Camera, time_s: f64) -> Vec<u32> {
    let mut canvas = Canvas::new(camera, scene.world_from_ego(time_s) * camera.ego_from_camera);
    for instance in &scene.nearby(time_s, FAR_M) {
        canvas.draw(instance, &instance.world_from_body(scene, time_s));
    }
    canvas.winner.iter().map(|winner| if *winner == 0 { 0 } else { canvas.drawn[*winner as usize - 1].owner }).collect()
}

/// A rigid transform in single precision.
struct Affine {
    rotation: Matrix3<f32>,
    offset: Vec3,
}

impl Affine {
    fn new(pose: &Pose) -> Self {
        Self { rotation: pose.rotation.to_rotation_matrix().into_inner().cast(), offset: pose.translation.vector.cast() }
    }

    fn apply(&self, point: &Vec3) -> Vec3 {
        self.rotation * point + self.offset
    }
}

/// A value that is linear over the screen.
#[derive(Clone, Copy, Debug)]
struct Plane {
    at_origin: f32,
    per_x: f32,
    per_y: f32,
}

impl Plane {
    fn at(&self, x: f32, y: f32) -> f32 {
        self.at_origin + self.per_x * x + self.per_y * y
    }
}

/// A triangle on the screen: what is needed to colour its pixels.
struct Drawn {
    inverse_depth: Plane,
    u_over_depth: Plane,
    v_over_depth: Plane,
    paint: Paint,
    light: f32,
    /// Number of the actor; read by the tests, which compare projections with it.
    #[cfg_attr(not(test), expect(dead_code, reason = "truth for the tests, free to keep"))]
    owner: u32,
}

/// A corner in the camera's frame with its texture.
#[derive(Clone, Copy)]
struct Corner {
    point: Vec3,
    uv: [f32; 2],
}

struct Canvas {
    width: usize,
    height: usize,
    focal: f32,
    center: [f32; 2],
    world_from_camera: Pose,
    camera_from_world: Pose,
    /// Number of the triangle in each pixel, from 1; zero is sky.
    winner: Vec<u32>,
    inverse_depth: Vec<f32>,
    shadow: Vec<bool>,
    drawn: Vec<Drawn>,
}

impl Canvas {
    fn new(camera: &Camera, world_from_camera: Pose) -> Self {
        let (width, height) = (camera.model.width_px as usize, camera.model.height_px as usize);
        Self {
            width,
            height,
            focal: camera.model.fx_px as f32,
            center: [camera.model.cx_px as f32, camera.model.cy_px as f32],
            world_from_camera,
            camera_from_world: world_from_camera.inverse(),
            winner: vec![0; width * height],
            inverse_depth: vec![0.0; width * height],
            shadow: vec![false; width * height],
            drawn: Vec::with_capacity(16_384),
        }
    }

    /// Whether a sphere in the camera's frame may be seen and is worth drawing.
    fn may_see(&self, center: &Vec3, radius: f32) -> bool {
        if center.z + radius < NEAR_M || center.z - radius > FAR_M as f32 {
            return false;
        }
        if radius * self.focal < SMALLEST_PX * center.z {
            return false;
        }
        let half = [self.width as f32 / 2.0 / self.focal, self.height as f32 / 2.0 / self.focal];
        [(center.x, half[0]), (center.y, half[1])].into_iter().all(|(offset, slope)| {
            let length = (1.0 + slope * slope).sqrt();
            (offset.abs() - slope * center.z) / length < radius
        })
    }

    fn draw(&mut self, instance: &Instance<'_>, world_from_body: &Pose) {
        let camera_from_body = self.camera_from_world * world_from_body;
        let center = (camera_from_body * Point3::from(instance.mesh.center.cast::<f64>())).coords.cast::<f32>();
        if !self.may_see(&center, instance.mesh.radius_m) {
            return;
        }
        let place = Affine::new(&camera_from_body);
        let eye = camera_from_body.inverse().translation.vector.cast::<f32>();
        let sun = world_from_body.rotation.inverse_transform_vector(&sun()).cast::<f32>();
        for triangle in &instance.mesh.triangles {
            if triangle.normal.dot(&(triangle.points[0] - eye)) >= 0.0 {
                continue;
            }
            let corner = |index: usize| Corner { point: place.apply(&triangle.points[index]), uv: triangle.uv[index] };
            let light = light(triangle, &sun);
            let owner = instance.owner;
            self.polygon(&clip_near([corner(0), corner(1), corner(2)]), triangle, light, owner);
        }
    }

    fn polygon(&mut self, corners: &[Corner], triangle: &Triangle, light: f32, owner: u32) {
        for index in 1..corners.len().saturating_sub(1) {
            let part = [corners[0], corners[index], corners[index + 1]];
            let on_screen = part.map(|corner| self.project(&corner.point));
            let Some(planes) = planes(&on_screen, &part) else { continue };
            let [inverse_depth, u_over_depth, v_over_depth] = planes;
            let number = self.drawn.len() as u32 + 1;
            let mut seen = false;
            let (winner, depth) = (&mut self.winner, &mut self.inverse_depth);
            spans(&on_screen, self.width, self.height, |row, from, to| {
                let (start, end) = (row * self.width + from, row * self.width + to);
                let mut value = inverse_depth.at(from as f32 + 0.5, row as f32 + 0.5);
                for (winner, depth) in winner[start..end].iter_mut().zip(&mut depth[start..end]) {
                    if value > *depth {
                        *depth = value;
                        *winner = number;
                        seen = true;
                    }
                    value += inverse_depth.per_x;
                }
            });
            if seen {
                self.drawn.push(Drawn { inverse_depth, u_over_depth, v_over_depth, paint: triangle.paint, light, owner });
            }
        }
    }

    fn project(&self, point: &Vec3) -> [f32; 2] {
        let scale = self.focal / point.z;
        [self.center[0] + point.x * scale, self.center[1] + point.y * scale]
    }

    /// Marks the ground pixels that a body keeps the sun from: its sunlit triangles thrown on the plane that it stands on.
    fn shadow(&mut self, instance: &Instance<'_>, world_from_body: &Pose, world_from_ground: &Pose) {
        let camera_from_body = self.camera_from_world * world_from_body;
        let center = (camera_from_body * Point3::from(instance.mesh.center.cast::<f64>())).coords.cast::<f32>();
        let reach = 2.2 * instance.mesh.radius_m;
        if center.norm() - reach > SHADOW_FAR_M || !self.may_see(&center, reach) {
            return;
        }
        let place = Affine::new(&camera_from_body);
        let sun_in_body = world_from_body.rotation.inverse_transform_vector(&sun()).cast::<f32>();
        let ground = self.camera_from_world * world_from_ground;
        let (up, foot) = ((ground.rotation * Vector3::z()).cast::<f32>(), ground.translation.vector.cast::<f32>());
        let sun_in_camera = self.camera_from_world.rotation.transform_vector(&sun()).cast::<f32>();
        let slope = up.dot(&sun_in_camera).max(0.1);
        for triangle in &instance.mesh.triangles {
            if triangle.normal.dot(&sun_in_body) <= 0.0 {
                continue;
            }
            let thrown = |index: usize| {
                let point = place.apply(&triangle.points[index]);
                Corner { point: point - sun_in_camera * (up.dot(&(point - foot)) / slope), uv: [0.0; 2] }
            };
            let corners = clip_near([thrown(0), thrown(1), thrown(2)]);
            for index in 1..corners.len().saturating_sub(1) {
                let on_screen = [corners[0], corners[index], corners[index + 1]].map(|corner| self.project(&corner.point));
                self.mark(&on_screen);
            }
        }
    }

    fn mark(&mut self, on_screen: &[[f32; 2]; 3]) {
        let (winner, shadow, drawn) = (&self.winner, &mut self.shadow, &self.drawn);
        spans(on_screen, self.width, self.height, |row, from, to| {
            let (start, end) = (row * self.width + from, row * self.width + to);
            for (winner, shadow) in winner[start..end].iter().zip(&mut shadow[start..end]) {
                if !*shadow && *winner > 0 && drawn.get(*winner as usize - 1).is_some_and(|drawn| drawn.paint.surface.is_ground()) {
                    *shadow = true;
                }
            }
        });
    }

    /// Colours every pixel.
    fn develop(self) -> Vec<u8> {
        let mut colors = Vec::with_capacity(self.width * self.height);
        for row in 0..self.height {
            let mut sky = SkyRow::new(row);
            for column in 0..self.width {
                let at = row * self.width + column;
                let drawn = self.drawn.get((self.winner[at] as usize).wrapping_sub(1));
                colors.push(drawn.map_or_else(|| sky.at(&self, column), |drawn| self.color(drawn, column, row, self.shadow[at])));
            }
        }
        soften(&colors, &self.winner, self.width)
    }

    fn color(&self, drawn: &Drawn, column: usize, row: usize, in_shadow: bool) -> [f32; 3] {
        let (x, y) = (column as f32 + 0.5, row as f32 + 0.5);
        let depth = 1.0 / drawn.inverse_depth.at(x, y).max(1e-6);
        let uv = [drawn.u_over_depth.at(x, y) * depth, drawn.v_over_depth.at(x, y) * depth];
        let light = if in_shadow { 0.56 } else { drawn.light };
        let color = shade::scaled(shade::albedo(&drawn.paint, uv, depth), light);
        // Shadows are lit by the blue sky.
        let color = if in_shadow { [color[0] * 0.95, color[1], color[2] * 1.08] } else { color };
        shade::mixed(color, HAZE, depth / (depth + HAZE_M))
    }

    fn sky_at(&self, column: f32, row: f32) -> [f32; 3] {
        let direction = Vector3::new((column - self.center[0]) / self.focal, (row - self.center[1]) / self.focal, 1.0);
        shade::sky(&(self.world_from_camera.rotation * direction.cast::<f64>()).normalize().cast())
    }
}

/// The sky of one row, computed every eighth pixel and blended between: it has no edges.
struct SkyRow {
    row: usize,
    cell: Option<(usize, [[f32; 3]; 2])>,
}

impl SkyRow {
    const STEP: usize = 8;

    fn new(row: usize) -> Self {
        Self { row, cell: None }
    }

    fn at(&mut self, canvas: &Canvas, column: usize) -> [f32; 3] {
        let index = column / Self::STEP;
        let known = self.cell.filter(|(known, _)| *known == index).map(|(_, ends)| ends);
        let ends = known.unwrap_or_else(|| {
            let end = |cell: usize| canvas.sky_at((cell * Self::STEP) as f32, self.row as f32 + 0.5);
            [end(index), end(index + 1)]
        });
        self.cell = Some((index, ends));
        shade::mixed(ends[0], ends[1], (column % Self::STEP) as f32 / Self::STEP as f32)
    }
}

fn sun() -> Vector3<f64> {
    Vector3::new(f64::from(SUN[0]), f64::from(SUN[1]), f64::from(SUN[2])).normalize()
}

/// Sun and sky on a surface; `sun` in the body's frame. Car paint mirrors some of the bright sky when it looks up.
fn light(triangle: &Triangle, sun: &Vec3) -> f32 {
    let direct = triangle.normal.dot(sun).max(0.0);
    let up = triangle.normal.z;
    let ambient = 0.50 + 0.12 * up;
    match triangle.paint.surface {
        Surface::CarPaint => ambient + 0.45 * direct + 0.14 * up.max(0.0).powi(3),
        Surface::Window => 0.8 + 0.5 * up.max(0.0),
        Surface::Lamp => 1.0,
        _ => ambient + 0.55 * direct,
    }
}

/// The part of a triangle before the near plane: nothing, a triangle or a quad.
fn clip_near(corners: [Corner; 3]) -> Vec<Corner> {
    if corners.iter().all(|corner| corner.point.z >= NEAR_M) {
        return corners.to_vec();
    }
    let mut kept = Vec::with_capacity(4);
    for index in 0..3 {
        let (from, to) = (corners[index], corners[(index + 1) % 3]);
        if from.point.z >= NEAR_M {
            kept.push(from);
        }
        if (from.point.z >= NEAR_M) != (to.point.z >= NEAR_M) {
            let part = (NEAR_M - from.point.z) / (to.point.z - from.point.z);
            let uv = [0, 1].map(|axis| from.uv[axis] + (to.uv[axis] - from.uv[axis]) * part);
            kept.push(Corner { point: from.point + (to.point - from.point) * part, uv });
        }
    }
    kept
}

/// The planes of 1/z, u/z and v/z over the screen, or `None` for a triangle seen edge-on.
fn planes(on_screen: &[[f32; 2]; 3], corners: &[Corner; 3]) -> Option<[Plane; 3]> {
    let [a, b, c] = on_screen;
    let (ab, ac) = ([b[0] - a[0], b[1] - a[1]], [c[0] - a[0], c[1] - a[1]]);
    let area = ab[0] * ac[1] - ab[1] * ac[0];
    if area.abs() < 1e-4 {
        return None;
    }
    let inverse = corners.map(|corner| 1.0 / corner.point.z);
    let plane = |values: [f32; 3]| {
        let (first, second) = (values[1] - values[0], values[2] - values[0]);
        let per_x = (first * ac[1] - second * ab[1]) / area;
        let per_y = (second * ab[0] - first * ac[0]) / area;
        Plane { at_origin: values[0] - per_x * a[0] - per_y * a[1], per_x, per_y }
    };
    let over = |axis: usize| plane([0, 1, 2].map(|index| corners[index].uv[axis] * inverse[index]));
    Some([plane(inverse), over(0), over(1)])
}

/// Calls back with (row, first, end) of the pixels whose centres lie in a triangle. Neighbours that share an edge share no pixel and
/// leave none out, because an edge is always walked from its upper end.
fn spans(corners: &[[f32; 2]; 3], width: usize, height: usize, mut paint: impl FnMut(usize, usize, usize)) {
    let [top, middle, bottom] = from_top(*corners);
    let first_row = first_center(top[1]);
    let end_row = first_center(bottom[1]).min(height);
    let along = |from: [f32; 2], to: [f32; 2], y: f32| from[0] + (to[0] - from[0]) * ((y - from[1]) / (to[1] - from[1]).max(1e-9));
    for row in first_row..end_row {
        let y = row as f32 + 0.5;
        let long = along(top, bottom, y);
        let short = if y < middle[1] { along(top, middle, y) } else { along(middle, bottom, y) };
        let from = first_center(long.min(short));
        let to = first_center(long.max(short)).min(width);
        if from < to {
            paint(row, from, to);
        }
    }
}

/// Corners by height on the screen, equal heights from the left.
fn from_top([mut a, mut b, mut c]: [[f32; 2]; 3]) -> [[f32; 2]; 3] {
    let below = |a: &[f32; 2], b: &[f32; 2]| a[1] > b[1] || (a[1] == b[1] && a[0] > b[0]);
    if below(&a, &b) {
        std::mem::swap(&mut a, &mut b);
    }
    if below(&b, &c) {
        std::mem::swap(&mut b, &mut c);
    }
    if below(&a, &b) {
        std::mem::swap(&mut a, &mut b);
    }
    [a, b, c]
}

/// First pixel whose centre lies at or beyond a place: `ceil(x - 0.5)`, without the library call that `ceil` is on plain x86-64.
fn first_center(x: f32) -> usize {
    let whole = (x - 0.5) as usize;
    whole + usize::from((whole as f32) < x - 0.5)
}

/// Takes the steps out of edges: a pixel whose neighbours belong to other triangles is blended with them.
fn soften(colors: &[[f32; 3]], winner: &[u32], width: usize) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(colors.len() * 3);
    let last = colors.len().saturating_sub(1);
    for (at, color) in colors.iter().enumerate() {
        // At the rim a pixel is its own neighbour.
        let neighbours = [at.saturating_sub(1), (at + 1).min(last), at.checked_sub(width).unwrap_or(at), at + width];
        let (mut sum, mut weight) = (*color, 1.0);
        for other in neighbours {
            let other = if other > last { at } else { other };
            if winner[other] != winner[at] {
                let [r, g, b] = colors[other];
                sum = [sum[0] + 0.25 * r, sum[1] + 0.25 * g, sum[2] + 0.25 * b];
                weight += 0.25;
            }
        }
        let scale = 255.0 / weight;
        // `as` saturates: brighter than white is white.
        rgb.extend([(sum[0] * scale) as u8, (sum[1] * scale) as u8, (sum[2] * scale) as u8]);
    }
    rgb
}
