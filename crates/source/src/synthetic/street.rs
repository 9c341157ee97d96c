//! What stands still and has no label: ground, buildings, trees, lamps, signs and street furniture.

use boxwright_model::Pose;
use nalgebra::{Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::mesh::{Mesh, Paint, Surface, Vec3};
use super::road::{
    CROSSING_FIRST_M, CROSSING_SPACING_M, KERB_BACK_M, KERB_M, PAVEMENT_BACK_M, Road, distance_to_crossing_m, profile_m,
};

/// A piece of the street that never moves.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) mesh: Mesh,
    pub(super) world_from_chunk: Pose,
    /// Whether it throws a shadow (the ground does not).
    pub(super) casts_shadow: bool,
}

/// Everything that stands along a road.
pub(super) fn build(road: &Road, rng: &mut ChaCha8Rng) -> Vec<Chunk> {
    let mut chunks = ground(road);
    for side in [-1.0, 1.0] {
        buildings(road, rng, side, &mut chunks);
        trees(road, rng, side, &mut chunks);
        lamps(road, side, &mut chunks);
        furniture(road, rng, side, &mut chunks);
    }
    signs(road, &mut chunks);
    chunks
}

/// Ground in pieces of 8 m; the facets of 2 m follow the curve and the slope to a few millimetres.
fn ground(road: &Road) -> Vec<Chunk> {
    let (facet_m, facets) = (2.0, 4);
    let pieces = (road.length_m() / (facet_m * f64::from(facets))) as u32;
    let strips = strips();
    (0..pieces)
        .map(|piece| {
            let start = f64::from(piece * facets) * facet_m;
            let origin = road.point(start, 0.0);
            let mut mesh = Mesh::default();
            for facet in 0..facets {
                let (s0, s1) = (start + f64::from(facet) * facet_m, start + f64::from(facet + 1) * facet_m);
                for strip in &strips {
                    strip.lay(road, [s0, s1], &origin, &mut mesh);
                }
            }
            let world_from_chunk = Pose::from_parts(Translation3::from(origin), UnitQuaternion::identity());
            Chunk { mesh: mesh.finish(), world_from_chunk, casts_shadow: false }
        })
        .collect()
}

/// A lengthwise strip of ground between two places of the cross-section, right to left.
struct Strip {
    t_m: [f64; 2],
    /// Heights above the axis.
    z_m: [f64; 2],
    paint: Paint,
}

impl Strip {
    fn lay(&self, road: &Road, s_m: [f64; 2], origin: &Vector3<f64>, mesh: &mut Mesh) {
        let at = |s: f64, side: usize| {
            let axis = road.point(s, 0.0).z;
            let mut point = road.point(s, self.t_m[side]);
            point.z = axis + self.z_m[side];
            (point - origin).cast::<f32>()
        };
        let uv = |s: f64, side: usize| [s as f32, self.t_m[side] as f32];
        let corners = [at(s_m[0], 0), at(s_m[1], 0), at(s_m[1], 1), at(s_m[0], 1)];
        mesh.quad(corners, [uv(s_m[0], 0), uv(s_m[1], 0), uv(s_m[1], 1), uv(s_m[0], 1)], self.paint);
    }
}

fn strips() -> Vec<Strip> {
    let kerb = Paint::plain([0.60, 0.59, 0.57]);
    let slabs = Paint::new(Surface::Pavement, [0.56, 0.55, 0.53]);
    let grass = Paint::new(Surface::Grass, [0.33, 0.42, 0.22]);
    let asphalt = Paint::new(Surface::Road, [0.30, 0.30, 0.31]);
    let (gutter, top) = (profile_m(KERB_M - 1e-9), profile_m(KERB_M));
    let (kerb_back, garden) = (profile_m(KERB_BACK_M), profile_m(PAVEMENT_BACK_M));
    let left = [
        Strip { t_m: [0.0, KERB_M], z_m: [0.0, gutter], paint: asphalt },
        Strip { t_m: [KERB_M, KERB_M], z_m: [gutter, top], paint: kerb },
        Strip { t_m: [KERB_M, KERB_BACK_M], z_m: [top, kerb_back], paint: kerb },
        Strip { t_m: [KERB_BACK_M, PAVEMENT_BACK_M], z_m: [kerb_back, garden], paint: slabs },
        Strip { t_m: [PAVEMENT_BACK_M, 70.0], z_m: [garden, garden], paint: grass },
    ];
    let mut strips: Vec<Strip> = left
        .iter()
        .map(|strip| Strip { t_m: [-strip.t_m[1], -strip.t_m[0]], z_m: [strip.z_m[1], strip.z_m[0]], paint: strip.paint })
        .collect();
    strips.extend(left);
    strips
}

const WALL_COLORS: [[f32; 3]; 9] = [
    [0.72, 0.64, 0.52],
    [0.62, 0.40, 0.31],
    [0.78, 0.74, 0.66],
    [0.55, 0.36, 0.30],
    [0.66, 0.66, 0.64],
    [0.80, 0.70, 0.54],
    [0.52, 0.54, 0.56],
    [0.74, 0.58, 0.46],
    [0.83, 0.81, 0.77],
];

/// A row of houses with setbacks and gaps.
fn buildings(road: &Road, rng: &mut ChaCha8Rng, side: f64, chunks: &mut Vec<Chunk>) {
    let mut s = 2.0;
    while s < road.length_m() - 20.0 {
        let width = rng.random_range(9.0..18.0);
        let setback = if rng.random_bool(0.45) { 0.05 } else { rng.random_range(1.2..3.0) };
        let floors = rng.random_range(2..6u32);
        let height = 3.4 + 3.1 * f64::from(floors - 1) + 0.6;
        let at = PAVEMENT_BACK_M + setback;
        let (right_end, left_end) = if side > 0.0 { (s + width, s) } else { (s, s + width) };
        let (left, right) = (road.point(left_end, side * at), road.point(right_end, side * at));
        let color = WALL_COLORS[rng.random_range(0..WALL_COLORS.len())];
        let paint = Paint { surface: Surface::Facade, color, variant: rng.random_range(0..1u32 << 16) };
        let size = [(right - left).xy().norm() as f32, 10.0, height as f32];
        let frame = wall_frame(left, right);
        chunks.push(Chunk { mesh: house(size, paint, rng).finish(), world_from_chunk: frame, casts_shadow: true });
        if setback > 1.0 && rng.random_bool(0.7) {
            chunks.push(front_hedge(size[0], setback as f32 - 0.15, frame, rng));
        }
        s += width + if rng.random_bool(0.3) { rng.random_range(2.0..6.0) } else { 0.0 };
    }
}

/// Frame of a wall: x from its left to its right end seen from the street, y into the house, z up.
fn wall_frame(left: Vector3<f64>, right: Vector3<f64>) -> Pose {
    let along = Vector3::new(right.x - left.x, right.y - left.y, 0.0).try_normalize(1e-9).unwrap_or_else(Vector3::x);
    let into = Vector3::z().cross(&along);
    let rotation = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[along, into, Vector3::z()]));
    let foot = Vector3::new(left.x, left.y, (left.z + right.z) / 2.0);
    Pose::from_parts(Translation3::from(foot), UnitQuaternion::from_rotation_matrix(&rotation))
}

fn house([width, depth, height]: [f32; 3], paint: Paint, rng: &mut ChaCha8Rng) -> Mesh {
    let mut mesh = Mesh::default();
    let side_wall = Paint::plain(paint.color.map(|c| c * 0.92));
    let roof = Paint::new(Surface::Roof, if rng.random_bool(0.5) { [0.42, 0.22, 0.17] } else { [0.28, 0.28, 0.30] });
    let foot = -0.6;
    let at = |x: f32, y: f32, z: f32| Vec3::new(x, y, z);
    let uv = [[0.0, foot], [width, foot], [width, height], [0.0, height]];
    mesh.quad([at(0.0, 0.0, foot), at(width, 0.0, foot), at(width, 0.0, height), at(0.0, 0.0, height)], uv, paint);
    mesh.unit_quad([at(width, 0.0, foot), at(width, depth, foot), at(width, depth, height), at(width, 0.0, height)], side_wall);
    mesh.unit_quad([at(0.0, depth, foot), at(0.0, 0.0, foot), at(0.0, 0.0, height), at(0.0, depth, height)], side_wall);
    mesh.unit_quad([at(width, depth, foot), at(0.0, depth, foot), at(0.0, depth, height), at(width, depth, height)], side_wall);
    let pitched = rng.random_bool(0.6);
    let inset = if pitched { 3.6 } else { 0.15 };
    let rise = if pitched { 2.6 } else { 0.5 };
    let (eaves, ridge) = ([-0.05, width + 0.05, -0.25, depth], [0.8, width - 0.8, inset, depth - inset]);
    mesh.frustum(eaves, height, ridge, height + rise, roof);
    let trim = Paint::plain(paint.color.map(|c| (c * 1.12).min(0.9)));
    mesh.cuboid([0.0, -0.22, height - 0.28], [width, 0.0, height], trim);
    if paint.variant & 1 == 1 {
        // The shop's fascia board and, for some, an awning.
        mesh.cuboid([0.3, -0.12, 2.85], [width - 0.3, 0.0, 3.35], Paint::plain(fascia_color(paint.variant)));
        if paint.variant & 4 == 4 {
            let canvas = Paint::plain(fascia_color(paint.variant >> 3));
            let (low, high) = ([0.5, width - 0.5, -1.3, -1.2], [0.5, width - 0.5, -0.1, 0.0]);
            mesh.frustum(low, 2.45, high, 2.85, canvas);
        }
    } else if paint.variant & 2 == 2 {
        balconies(&mut mesh, width, height);
    }
    mesh
}

fn balconies(mesh: &mut Mesh, width: f32, height: f32) {
    let (slab, rail) = (Paint::plain([0.6, 0.6, 0.58]), Paint::plain([0.20, 0.22, 0.24]));
    let mut z = 3.4;
    while z + 2.6 < height {
        for x in [0.25 * width, 0.68 * width] {
            mesh.cuboid([x - 1.1, -0.9, z - 0.12], [x + 1.1, 0.0, z], slab);
            mesh.cuboid([x - 1.1, -0.9, z], [x + 1.1, -0.86, z + 0.95], rail);
        }
        z += 3.1;
    }
}

/// Colour of a shop's board.
pub(super) fn fascia_color(variant: u32) -> [f32; 3] {
    const COLORS: [[f32; 3]; 8] = [
        [0.16, 0.30, 0.26],
        [0.52, 0.14, 0.14],
        [0.14, 0.20, 0.36],
        [0.78, 0.60, 0.20],
        [0.20, 0.20, 0.21],
        [0.70, 0.68, 0.62],
        [0.42, 0.26, 0.16],
        [0.22, 0.42, 0.50],
    ];
    COLORS[(variant >> 4) as usize % COLORS.len()]
}

/// A hedge or low wall at the back of the pavement, with a gap for the path.
fn front_hedge(width: f32, setback: f32, frame: Pose, rng: &mut ChaCha8Rng) -> Chunk {
    let hedge = rng.random_bool(0.6);
    let leaves = Paint { surface: Surface::Leaves, color: [0.20, 0.34, 0.15], variant: rng.random_range(0..99) };
    let (paint, height, depth) = if hedge { (leaves, 1.15, 0.6) } else { (Paint::plain([0.62, 0.55, 0.47]), 0.75, 0.22) };
    let gate = rng.random_range(0.25..0.75f64) as f32 * width;
    let mut mesh = Mesh::default();
    for (from, to) in [(0.2, gate - 0.7), (gate + 0.7, width - 0.2)] {
        if to - from > 0.5 {
            mesh.cuboid([from, -setback, -0.4], [to, -setback + depth, height], paint);
        }
    }
    Chunk { mesh: mesh.finish(), world_from_chunk: frame, casts_shadow: true }
}

/// Street trees near the kerb.
fn trees(road: &Road, rng: &mut ChaCha8Rng, side: f64, chunks: &mut Vec<Chunk>) {
    let mut s = rng.random_range(4.0..12.0);
    while s < road.length_m() - 10.0 {
        if distance_to_crossing_m(s) > 6.0 {
            let mut mesh = Mesh::default();
            let bark = Paint::plain([0.28, 0.22, 0.17]);
            let fork = rng.random_range(2.5..3.2f64) as f32;
            let lean = |rng: &mut ChaCha8Rng| rng.random_range(-0.35..0.35f64) as f32;
            let top = Vec3::new(lean(rng) * 0.5, lean(rng) * 0.5, fork + 1.2);
            mesh.tube(Vec3::new(0.0, 0.0, -0.2), top, [rng.random_range(0.13..0.22f64) as f32, 0.09], 8, bark);
            let hue = rng.random_range(-0.05..0.06f64) as f32;
            let size = rng.random_range(0.8..1.2f64) as f32;
            for blob in 0..3u8 {
                let color = [0.24 + hue, 0.38 + hue * 0.4 + 0.02 * f32::from(blob), 0.15];
                let leaves = Paint { surface: Surface::Leaves, color, variant: rng.random_range(0..1u32 << 20) };
                let up = f32::from(blob) * 0.75;
                let center = top + Vec3::new(2.0 * lean(rng), 2.0 * lean(rng), 0.4 + up);
                let radius = size * (1.65 - 0.22 * f32::from(blob));
                mesh.ellipsoid(center, Vec3::new(radius, radius, radius * 0.8), 6, 0.16, leaves);
            }
            let frame = road.frame(s, side * 8.05, rng.random_range(0.0..6.0), false);
            chunks.push(Chunk { mesh: mesh.finish(), world_from_chunk: frame, casts_shadow: true });
        }
        s += rng.random_range(11.0..19.0);
    }
}

/// Street lamps, in turns on both sides.
fn lamps(road: &Road, side: f64, chunks: &mut Vec<Chunk>) {
    let steel = Paint::plain([0.36, 0.38, 0.39]);
    let mut s = if side > 0.0 { 9.0 } else { 24.0 };
    while s < road.length_m() - 10.0 {
        let mut mesh = Mesh::default();
        mesh.tube(Vec3::new(0.0, 0.0, -0.2), Vec3::new(0.0, 0.0, 6.9), [0.085, 0.05], 7, steel);
        mesh.tube(Vec3::new(0.0, 0.0, 6.85), Vec3::new(1.9, 0.0, 7.15), [0.04, 0.035], 5, steel);
        mesh.cuboid([1.5, -0.13, 7.08], [2.2, 0.13, 7.2], Paint::plain([0.66, 0.67, 0.66]));
        // x of the lamp points to the street.
        let frame = road.frame(s, side * 7.62, -side * std::f64::consts::FRAC_PI_2, false);
        chunks.push(Chunk { mesh: mesh.finish(), world_from_chunk: frame, casts_shadow: true });
        s += 31.0;
    }
}

/// Bins, bollards, cabinets and benches.
fn furniture(road: &Road, rng: &mut ChaCha8Rng, side: f64, chunks: &mut Vec<Chunk>) {
    let mut s = rng.random_range(5.0..25.0);
    while s < road.length_m() - 10.0 {
        let mut mesh = Mesh::default();
        match rng.random_range(0..4u8) {
            0 => {
                let green = Paint::plain([0.17, 0.27, 0.20]);
                mesh.frustum([-0.28, 0.28, -0.3, 0.3], 0.08, [-0.32, 0.32, -0.36, 0.36], 1.0, green);
                mesh.cuboid([-0.34, -0.38, 1.0], [0.34, 0.38, 1.07], Paint::plain([0.10, 0.12, 0.11]));
            }
            1 => {
                for x in [-1.5, 0.0, 1.5] {
                    mesh.tube(Vec3::new(x, 0.0, -0.1), Vec3::new(x, 0.0, 0.95), [0.07, 0.06], 7, Paint::plain([0.15, 0.15, 0.16]));
                }
            }
            2 => mesh.cuboid([-0.45, -0.2, -0.1], [0.45, 0.2, 1.25], Paint::plain([0.50, 0.53, 0.50])),
            _ => {
                let wood = Paint::plain([0.45, 0.31, 0.19]);
                mesh.cuboid([-0.85, -0.22, 0.40], [0.85, 0.22, 0.46], wood);
                mesh.cuboid([-0.85, 0.20, 0.46], [0.85, 0.25, 0.88], wood);
                for x in [-0.7, 0.7] {
                    mesh.cuboid([x - 0.04, -0.2, -0.1], [x + 0.04, 0.22, 0.40], Paint::plain([0.2, 0.2, 0.2]));
                }
            }
        }
        let yaw = if side > 0.0 { 0.0 } else { std::f64::consts::PI };
        let frame = road.frame(s, side * 7.95, yaw, false);
        chunks.push(Chunk { mesh: mesh.finish(), world_from_chunk: frame, casts_shadow: true });
        s += rng.random_range(22.0..48.0);
    }
}

/// A sign at every zebra crossing, for both directions.
fn signs(road: &Road, chunks: &mut Vec<Chunk>) {
    let steel = Paint::plain([0.55, 0.56, 0.57]);
    let mut s = CROSSING_FIRST_M;
    while s < road.length_m() - 10.0 {
        for side in [-1.0f64, 1.0] {
            let mut mesh = Mesh::default();
            mesh.tube(Vec3::new(0.0, 0.0, -0.1), Vec3::new(0.0, 0.0, 2.95), [0.035; 2], 6, steel);
            let half = 0.33;
            let face = Paint::new(Surface::Sign, [0.08, 0.25, 0.62]);
            // The face looks against the traffic, which comes from -x.
            let corners = [[half, 2.3], [-half, 2.3], [-half, 2.96], [half, 2.96]].map(|[y, z]| Vec3::new(-0.05, y, z));
            mesh.quad(corners, [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], face);
            mesh.cuboid([-0.045, -half, 2.3], [-0.03, half, 2.96], steel);
            let yaw = if side < 0.0 { 0.0 } else { std::f64::consts::PI };
            // Right-hand traffic: the sign stands before the crossing on the driver's right.
            let frame = road.frame(s + 2.8 * side, side * 7.7, yaw, false);
            chunks.push(Chunk { mesh: mesh.finish(), world_from_chunk: frame, casts_shadow: true });
        }
        s += CROSSING_SPACING_M;
    }
}
