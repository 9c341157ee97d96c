//! The rotating lidar.
//!
//! Every column fires at its own moment, from where the vehicle is then, at things where they are then; points are in the sensor's frame
//! of that moment, as a real sensor gives them. The beams of a column lie in one upright plane of the sensor, so a column is drawn and
//! not searched: each triangle is cut by that plane into a segment, and the segment is entered into the beams that it covers, nearest
//! first (a depth buffer of one dimension). Columns are taken in blocks of a few milliseconds; within a block poses change linearly.

use boxwright_model::{PointCloud, Pose};
use nalgebra::Point3;

use super::config::SyntheticLidar;
use super::mesh::{Surface, Triangle, Vec3, hash};
use super::scene::{Instance, Scene};
use super::shade;

/// Columns that share their lists of candidates. 75 columns of 1875 take 4 ms and 14 degrees: short enough for poses to be linear (a
/// walker's leg is then placed to a hundredth of a millimetre), long enough for the lists to cost less than the firing.
const BLOCK_COLUMNS: u32 = 75;
/// How far anything may move within half a block beyond what the block's middle shows.
const BLOCK_SLACK_M: f32 = 0.08;
const NEAREST_M: f32 = 0.6;

/// One sweep with, for each point, the number of the actor that was hit (zero: the street).
#[derive(Clone, Debug, Default)]
pub(super) struct Sweep {
    pub(super) points: PointCloud,
    pub(super) owner: Vec<u32>,
}

/// When and where a sweep is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct SweepPlan<'a> {
    pub(super) scene: &'a Scene,
    pub(super) lidar: &'a SyntheticLidar,
    pub(super) ego_from_lidar: &'a Pose,
    /// Seconds since the start of the drive of the first firing.
    pub(super) start_s: f64,
    /// Duration of the turn.
    pub(super) period_s: f64,
    /// Seed of this sweep's noise.
    pub(super) noise_seed: u64,
}

impl SweepPlan<'_> {
    fn column_time_s(&self, column: f64) -> f64 {
        self.start_s + self.period_s * column / f64::from(self.lidar.columns)
    }

    /// Time of a column relative to the middle of the sweep.
    fn offset_ns(&self, column: u32) -> i32 {
        let turn = f64::from(column) / f64::from(self.lidar.columns) - 0.5;
        (turn * self.period_s * 1e9).round() as i32
    }

    /// Azimuth of a column: the turn begins at the rear and goes clockwise, so that the front is passed at half time.
    fn azimuth_rad(&self, column: f64) -> f64 {
        std::f64::consts::PI - std::f64::consts::TAU * column / f64::from(self.lidar.columns)
    }

    /// Elevation of a beam; beam 0 is the highest.
    fn elevation_rad(&self, beam: f64) -> f64 {
        let (top, bottom) = (self.lidar.top_deg.to_radians(), self.lidar.bottom_deg.to_radians());
        top + (bottom - top) * beam / (f64::from(self.lidar.beams) - 1.0).max(1.0)
    }

    fn world_from_lidar(&self, time_s: f64) -> Pose {
        self.scene.world_from_ego(time_s) * self.ego_from_lidar
    }
}

/// Takes the columns `from..to` of a sweep. Joining the parts of any division in order gives the same sweep.
pub(super) fn scan(plan: &SweepPlan<'_>, from: u32, to: u32) -> Sweep {
    let middle_s = plan.start_s + plan.period_s / 2.0;
    let nearby = plan.scene.nearby(middle_s, plan.lidar.range_m);
    let beams = BeamTable::new(plan);
    let mut sweep = Sweep::default();
    let (mut ring, mut offset) = (Vec::new(), Vec::new());
    // Blocks are cut on a fixed grid, not from `from`, so that their bounds do not depend on the division.
    let mut start = from - from % BLOCK_COLUMNS;
    while start < to {
        let block = Block::new(plan, &nearby, start);
        let mut hits = vec![Hit::NOTHING; beams.directions.len()];
        for column in start.max(from)..(start + BLOCK_COLUMNS).min(to) {
            let (sin, cos) = plan.azimuth_rad(f64::from(column)).sin_cos();
            let azimuth = [cos as f32, sin as f32];
            block.fire(&beams, column, azimuth, &mut hits);
            for (beam, hit) in hits.iter().enumerate() {
                if let Some(point) = answer(plan, &beams, column, beam, azimuth, hit) {
                    sweep.points.x.push(point.position.x);
                    sweep.points.y.push(point.position.y);
                    sweep.points.z.push(point.position.z);
                    sweep.points.intensity.push(point.intensity);
                    ring.push(beam as u16);
                    offset.push(plan.offset_ns(column));
                    sweep.owner.push(point.owner);
                }
            }
        }
        start += BLOCK_COLUMNS;
    }
    sweep.points.ring = Some(ring);
    sweep.points.time_offset_ns = Some(offset);
    sweep
}

/// First column that two halves of a sweep may be divided at: on the grid of blocks.
pub(super) fn division(columns: u32, part: u32, parts: u32) -> u32 {
    if part >= parts {
        return columns;
    }
    let exact = u64::from(columns) * u64::from(part) / u64::from(parts.max(1));
    let exact = exact as u32;
    exact - exact % BLOCK_COLUMNS
}

/// Sines and cosines of the beams.
struct BeamTable {
    directions: Vec<(f32, f32)>,
    top_rad: f32,
    beams_per_rad: f32,
}

impl BeamTable {
    fn new(plan: &SweepPlan<'_>) -> Self {
        let directions = (0..plan.lidar.beams)
            .map(|beam| {
                let (sin, cos) = plan.elevation_rad(f64::from(beam)).sin_cos();
                (cos as f32, sin as f32)
            })
            .collect();
        let step = plan.elevation_rad(0.0) - plan.elevation_rad(1.0);
        Self { directions, top_rad: plan.elevation_rad(0.0) as f32, beams_per_rad: (1.0 / step.max(1e-6)) as f32 }
    }

    /// The beams between two directions given as slopes (height over distance), at most one too many on either side.
    fn between(&self, slope_a: f32, slope_b: f32) -> std::ops::Range<usize> {
        let place = |slope: f32| (self.top_rad - slope.atan()) * self.beams_per_rad;
        let (a, b) = (place(slope_a), place(slope_b));
        let (first, last) = (a.min(b).ceil().max(0.0), a.max(b).floor());
        let end = if last < 0.0 { 0 } else { (last as usize + 1).min(self.directions.len()) };
        (first as usize).min(end)..end
    }
}

/// What a beam met first.
#[derive(Clone, Copy)]
struct Hit<'a> {
    range_m: f32,
    triangle: Option<&'a Triangle>,
    owner: u32,
    /// Direction of the beam in the body's frame and the sensor's place there: enough to find the texture.
    origin: Vec3,
    direction: Vec3,
}

impl Hit<'_> {
    const NOTHING: Hit<'static> = Hit {
        range_m: f32::INFINITY,
        triangle: None,
        owner: 0,
        origin: Vec3::new(0.0, 0.0, 0.0),
        direction: Vec3::new(0.0, 0.0, 0.0),
    };
}

/// A rigid transform in single precision, linear in time within a block.
#[derive(Clone, Copy)]
struct Affine {
    columns: [Vec3; 4],
}

impl Affine {
    fn new(pose: &Pose) -> Self {
        let m = pose.to_homogeneous();
        Self { columns: std::array::from_fn(|c| Vec3::new(m[(0, c)] as f32, m[(1, c)] as f32, m[(2, c)] as f32)) }
    }

    fn between(&self, other: &Self, part: f32) -> Self {
        let blend = |c: usize| self.columns[c] + (other.columns[c] - self.columns[c]) * part;
        Self { columns: [blend(0), blend(1), blend(2), blend(3)] }
    }
}

/// The candidates of one body within a block.
struct Candidate<'a> {
    owner: u32,
    body_from_lidar: [Affine; 2],
    triangles: Vec<&'a Triangle>,
    /// First and last column that each triangle may reach, counted from the block's first: kept apart from the triangles, because every
    /// column walks over all of them and touches few triangles.
    columns: Vec<[u8; 2]>,
}

struct Block<'a> {
    first_column: u32,
    candidates: Vec<Candidate<'a>>,
}

impl<'a> Block<'a> {
    fn new(plan: &SweepPlan<'_>, nearby: &[Instance<'a>], first_column: u32) -> Self {
        let columns = f64::from(BLOCK_COLUMNS);
        let time = |part: f64| plan.column_time_s(f64::from(first_column) + part * columns);
        let middle = f64::from(first_column) + columns / 2.0;
        let wedge = Wedge::new(plan, plan.azimuth_rad(middle), std::f64::consts::PI * columns / f64::from(plan.lidar.columns));
        let world_from_lidar = [0.0, 0.5, 1.0].map(|part| plan.world_from_lidar(time(part)));
        let lidar_from_world = world_from_lidar[1].inverse();
        let mut candidates = Vec::new();
        for instance in nearby {
            let world_from_body = instance.world_from_body(plan.scene, time(0.5));
            let center = lidar_from_world * world_from_body * Point3::from(instance.mesh.center.cast::<f64>());
            let center = center.coords.cast::<f32>();
            let reach = instance.mesh.radius_m + BLOCK_SLACK_M;
            if center.norm() - reach > plan.lidar.range_m as f32 || !wedge.may_see(&center, reach) {
                continue;
            }
            let at = |part: usize| {
                Affine::new(&(instance.world_from_body(plan.scene, time(part as f64)).inverse() * world_from_lidar[2 * part]))
            };
            let body_from_lidar = [at(0), at(1)];
            let own_wedge = wedge.moved(&body_from_lidar[0].between(&body_from_lidar[1], 0.5));
            let near = |triangle: &'a Triangle| own_wedge.columns_of(triangle).map(|columns| (triangle, columns));
            let (triangles, columns): (Vec<_>, Vec<_>) = instance.mesh.triangles.iter().filter_map(near).unzip();
            if !triangles.is_empty() {
                candidates.push(Candidate { owner: instance.owner, body_from_lidar, triangles, columns });
            }
        }
        Self { first_column, candidates }
    }

    /// Fires one column.
    fn fire(&self, beams: &BeamTable, column: u32, [cos, sin]: [f32; 2], hits: &mut [Hit<'a>]) {
        let place = (column - self.first_column) as u8;
        let part = f32::from(place) / BLOCK_COLUMNS as f32;
        hits.fill(Hit::NOTHING);
        for candidate in &self.candidates {
            let [x, y, z, origin] = candidate.body_from_lidar[0].between(&candidate.body_from_lidar[1], part).columns;
            let fan = Fan { origin, ahead: x * cos + y * sin, side: y * cos - x * sin, up: z, owner: candidate.owner };
            for ([first, last], triangle) in candidate.columns.iter().zip(&candidate.triangles) {
                if *first <= place
                    && place <= *last
                    && let Some(segment) = fan.cut(&triangle.points)
                {
                    fan.enter(triangle, segment, beams, hits);
                }
            }
        }
    }
}

/// The upright half-plane of a column in a body's frame.
struct Fan {
    origin: Vec3,
    ahead: Vec3,
    side: Vec3,
    up: Vec3,
    owner: u32,
}

impl Fan {
    /// The part of a triangle that lies in the plane: two points (distance ahead, height), clipped to what is ahead.
    fn cut(&self, [a, b, c]: &[Vec3; 3]) -> Option<[[f32; 2]; 2]> {
        let relative = [a - self.origin, b - self.origin, c - self.origin];
        let d = [self.side.dot(&relative[0]), self.side.dot(&relative[1]), self.side.dot(&relative[2])];
        let positive = [d[0] >= 0.0, d[1] >= 0.0, d[2] >= 0.0];
        if positive[0] == positive[1] && positive[1] == positive[2] {
            return None;
        }
        // The vertex that is alone on its side of the plane.
        let alone = match positive {
            [a, b, c] if b == c && a != b => 0,
            [a, b, c] if a == c && b != a => 1,
            _ => 2,
        };
        let flat = |index: usize| [self.ahead.dot(&relative[index]), self.up.dot(&relative[index])];
        let own = flat(alone);
        let toward = |other: usize| {
            let there = flat(other);
            let part = d[alone] / (d[alone] - d[other]);
            [own[0] + (there[0] - own[0]) * part, own[1] + (there[1] - own[1]) * part]
        };
        clip_ahead([toward((alone + 1) % 3), toward((alone + 2) % 3)])
    }

    /// Enters a segment into the beams that it covers.
    fn enter<'a>(&self, triangle: &'a Triangle, [a, b]: [[f32; 2]; 2], beams: &BeamTable, hits: &mut [Hit<'a>]) {
        let edge = [b[0] - a[0], b[1] - a[1]];
        let area = a[0] * edge[1] - a[1] * edge[0];
        for beam in beams.between(a[1] / a[0], b[1] / b[0]) {
            let (Some((cos, sin)), Some(hit)) = (beams.directions.get(beam), hits.get_mut(beam)) else { continue };
            let across = cos * edge[1] - sin * edge[0];
            let range_m = area / across;
            if range_m > NEAREST_M && range_m < hit.range_m {
                let direction = self.ahead * *cos + self.up * *sin;
                *hit = Hit { range_m, triangle: Some(triangle), owner: self.owner, origin: self.origin, direction };
            }
        }
    }
}

fn clip_ahead([a, b]: [[f32; 2]; 2]) -> Option<[[f32; 2]; 2]> {
    let nearest = 0.05;
    let clip = |out: [f32; 2], inside: [f32; 2]| {
        let part = (nearest - out[0]) / (inside[0] - out[0]);
        [nearest, out[1] + (inside[1] - out[1]) * part]
    };
    match (a[0] >= nearest, b[0] >= nearest) {
        (true, true) => Some([a, b]),
        (false, true) => Some([clip(a, b), b]),
        (true, false) => Some([a, clip(b, a)]),
        (false, false) => None,
    }
}

/// The space that the columns of a block can see, as planes with normals to the inside: left, right, above, below.
struct Wedge {
    origin: Vec3,
    normals: [Vec3; 4],
    /// The middle of the view and the direction in which columns count up.
    ahead: Vec3,
    onward: Vec3,
    columns_per_rad: f32,
}

impl Wedge {
    fn new(plan: &SweepPlan<'_>, azimuth_rad: f64, half_width_rad: f64) -> Self {
        let margin = half_width_rad * 0.15 + 0.002;
        let left = azimuth_rad + half_width_rad + margin;
        let right = azimuth_rad - half_width_rad - margin;
        let (top, bottom) = (plan.elevation_rad(0.0) + 0.01, plan.elevation_rad(f64::from(plan.lidar.beams) - 1.0) - 0.01);
        let ahead = |elevation: f64, z: f64| [azimuth_rad.cos() * elevation, azimuth_rad.sin() * elevation, z];
        let normals = [
            [left.sin(), -left.cos(), 0.0],
            [-right.sin(), right.cos(), 0.0],
            ahead(top.sin(), -top.cos()),
            ahead(-bottom.sin(), bottom.cos()),
        ];
        let vector = |[x, y, z]: [f64; 3]| Vec3::new(x as f32, y as f32, z as f32);
        Self {
            origin: Vec3::zeros(),
            normals: normals.map(vector),
            ahead: vector([azimuth_rad.cos(), azimuth_rad.sin(), 0.0]),
            onward: vector([azimuth_rad.sin(), -azimuth_rad.cos(), 0.0]),
            columns_per_rad: (f64::from(plan.lidar.columns) / std::f64::consts::TAU) as f32,
        }
    }

    fn may_see(&self, center: &Vec3, reach: f32) -> bool {
        self.normals.iter().all(|normal| normal.dot(&(center - self.origin)) > -reach)
    }

    fn moved(&self, body_from_lidar: &Affine) -> Self {
        let [x, y, z, origin] = body_from_lidar.columns;
        let turn = |v: &Vec3| x * v.x + y * v.y + z * v.z;
        Self {
            origin,
            normals: self.normals.map(|normal| turn(&normal)),
            ahead: turn(&self.ahead),
            onward: turn(&self.onward),
            ..*self
        }
    }

    /// First and last column that may meet a triangle, if any may.
    fn columns_of(&self, triangle: &Triangle) -> Option<[u8; 2]> {
        let [a, b, c] = &triangle.points;
        let relative = [a - self.origin, b - self.origin, c - self.origin];
        // Seen from behind it is hidden by the front of its own body.
        if triangle.normal.dot(&relative[0]) > BLOCK_SLACK_M {
            return None;
        }
        if !self.normals.iter().all(|normal| relative.iter().any(|point| normal.dot(point) > -BLOCK_SLACK_M)) {
            return None;
        }
        self.between(&relative)
    }

    /// First and last column between the outer corners of a triangle; within a wedge of 14 degrees an angle is its tangent to a fifth of a
    /// column.
    fn between(&self, relative: &[Vec3; 3]) -> Option<[u8; 2]> {
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for point in relative {
            let ahead = self.ahead.dot(point);
            if ahead < 0.5 {
                return Some([0, BLOCK_COLUMNS as u8]);
            }
            let angle = self.onward.dot(point) / ahead;
            let slack = BLOCK_SLACK_M / ahead;
            (low, high) = (low.min(angle - slack), high.max(angle + slack));
        }
        let middle = BLOCK_COLUMNS as f32 / 2.0;
        // One column of margin for the curvature of the tangent and the turn of the vehicle.
        let (first, last) = (middle + low * self.columns_per_rad - 1.0, middle + high * self.columns_per_rad + 1.0);
        let end = BLOCK_COLUMNS as f32;
        (last >= 0.0 && first <= end).then_some([first.clamp(0.0, end) as u8, last.ceil().clamp(0.0, end) as u8])
    }
}

/// A return that was strong enough.
struct Return {
    position: Vec3,
    intensity: f32,
    owner: u32,
}

/// What comes back of a pulse: range with noise, intensity by material and angle, or nothing.
fn answer(plan: &SweepPlan<'_>, beams: &BeamTable, column: u32, beam: usize, azimuth: [f32; 2], hit: &Hit<'_>) -> Option<Return> {
    let triangle = hit.triangle?;
    let key = hash(plan.noise_seed ^ (u64::from(column) << 16 | beam as u64));
    let chance = (key >> 40) as f32 / (1u64 << 24) as f32;
    let cos_incidence = triangle.normal.dot(&hit.direction).abs();
    let textured = matches!(triangle.paint.surface, Surface::Road | Surface::Facade);
    let uv = if textured { shade::texture_at(triangle, &(hit.origin + hit.direction * hit.range_m)) } else { [0.0; 2] };
    let reflectance = shade::reflectance(&triangle.paint, uv, cos_incidence);
    let range_m = hit.range_m + plan.lidar.range_sigma_m as f32 * bell(key) + depth_into(triangle.paint.surface, key);
    let reach = (hit.range_m / plan.lidar.range_m as f32).powi(2);
    // Weak returns are lost far away and at a grazing angle; a few are lost for no visible reason.
    let signal = reflectance * (0.35 + 0.65 * cos_incidence) / (0.02 + reach);
    let lost = plan.lidar.dropout + 0.5 * f64::from((-8.0 * signal).exp());
    if f64::from(chance) < lost || range_m > plan.lidar.range_m as f32 || range_m < NEAREST_M {
        return None;
    }
    let (cos, sin) = *beams.directions.get(beam)?;
    let position = Vec3::new(cos * azimuth[0], cos * azimuth[1], sin) * range_m;
    let intensity = (reflectance * (0.4 + 0.6 * cos_incidence) * 255.0).round().clamp(0.0, 255.0);
    Some(Return { position, intensity, owner: hit.owner })
}

/// Foliage lets some pulses in before something answers.
fn depth_into(surface: Surface, key: u64) -> f32 {
    if surface == Surface::Leaves { 0.6 * ((key >> 12) & 0xff) as f32 / 255.0 } else { 0.0 }
}

/// A bell-shaped random number of variance one: the sum of four uniform ones, so that no point is farther off than 3.5 sigma.
fn bell(key: u64) -> f32 {
    let other = hash(key ^ 0x5bd1_e995);
    let sum: f32 = (0..4).map(|part| ((other >> (16 * part)) & 0xffff) as f32 / 65535.0 - 0.5).sum();
    sum * 1.732_050_8
}
