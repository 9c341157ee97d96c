//! Pedestrians and cyclists. Frame: x forward, y left, z up from the ground under the middle.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::actors::{Part, Swing};
use super::mesh::{Mesh, Paint, Surface, Vec3};

const TOPS: [[f32; 3]; 9] = [
    [0.72, 0.20, 0.18],
    [0.16, 0.28, 0.50],
    [0.80, 0.78, 0.72],
    [0.20, 0.20, 0.22],
    [0.30, 0.45, 0.32],
    [0.82, 0.62, 0.18],
    [0.45, 0.30, 0.48],
    [0.30, 0.50, 0.60],
    [0.55, 0.52, 0.48],
];
const TROUSERS: [[f32; 3]; 5] =
    [[0.14, 0.17, 0.28], [0.12, 0.12, 0.13], [0.35, 0.30, 0.24], [0.24, 0.26, 0.29], [0.50, 0.46, 0.38]];
const SKIN: [[f32; 3]; 4] = [[0.86, 0.68, 0.56], [0.74, 0.55, 0.42], [0.52, 0.36, 0.26], [0.36, 0.24, 0.17]];
const HAIR: [[f32; 3]; 5] = [[0.10, 0.08, 0.07], [0.24, 0.16, 0.10], [0.45, 0.33, 0.18], [0.55, 0.54, 0.52], [0.30, 0.12, 0.08]];

struct Clothes {
    top: Paint,
    trousers: Paint,
    skin: Paint,
    hair: Paint,
    shoes: Paint,
}

impl Clothes {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        Self {
            top: Paint::plain(TOPS[rng.random_range(0..TOPS.len())]),
            trousers: Paint::plain(TROUSERS[rng.random_range(0..TROUSERS.len())]),
            skin: Paint::plain(SKIN[rng.random_range(0..SKIN.len())]),
            hair: Paint::plain(HAIR[rng.random_range(0..HAIR.len())]),
            shoes: Paint::plain([0.13, 0.12, 0.12]),
        }
    }
}

/// Length of a walking cycle (two steps).
const STRIDE_M: f64 = 1.4;

/// A person walking at `speed_mps`, or standing where it is zero.
pub(super) fn pedestrian(rng: &mut ChaCha8Rng, speed_mps: f64) -> Vec<Part> {
    let scale = rng.random_range(1.56..1.90f64) as f32 / 1.76;
    let clothes = Clothes::random(rng);
    let phase_rad = rng.random_range(0.0..std::f64::consts::TAU);
    let (stride_rad, frequency_hz) = if speed_mps > 0.0 { (0.42, speed_mps / STRIDE_M) } else { (0.0, 0.0) };
    let at = |x: f32, y: f32, z: f32| scale * Vec3::new(x, y, z);
    let mut trunk = Mesh::default();
    trunk.ellipsoid(at(0.0, 0.0, 1.17), scale * Vec3::new(0.135, 0.205, 0.34), 6, 0.0, clothes.top);
    trunk.ellipsoid(at(0.0, 0.0, 0.92), scale * Vec3::new(0.13, 0.175, 0.16), 5, 0.0, clothes.trousers);
    head(&mut trunk, at(0.01, 0.0, 1.625), scale, &clothes);
    if rng.random_bool(0.3) {
        let bag = Paint::plain(TOPS[rng.random_range(0..TOPS.len())]);
        trunk.ellipsoid(at(-0.17, 0.0, 1.22), scale * Vec3::new(0.10, 0.15, 0.22), 5, 0.0, bag);
    }
    let mut parts = vec![Part::rigid(trunk)];
    for (side, turn) in [(1.0f32, 0.0), (-1.0, std::f64::consts::PI)] {
        let swing =
            |pivot: Vec3, amplitude_rad: f64, turn: f64| Swing { pivot, amplitude_rad, frequency_hz, phase_rad: phase_rad + turn };
        let mut leg = Mesh::default();
        let (hip, knee, ankle) = (at(0.0, 0.09 * side, 0.90), at(0.01, 0.09 * side, 0.48), at(-0.01, 0.09 * side, 0.07));
        leg.tube(hip, knee, [0.088 * scale, 0.062 * scale], 7, clothes.trousers);
        leg.tube(knee, ankle, [0.062 * scale, 0.048 * scale], 7, clothes.trousers);
        let (low, high) = (at(-0.08, 0.09 * side - 0.045, 0.0), at(0.18, 0.09 * side + 0.045, 0.08));
        leg.cuboid(low.into(), high.into(), clothes.shoes);
        parts.push(Part::swinging(leg, swing(hip, stride_rad, turn)));
        let mut arm = Mesh::default();
        let (shoulder, elbow, hand) = (at(0.0, 0.225 * side, 1.40), at(-0.01, 0.25 * side, 1.12), at(0.04, 0.25 * side, 0.88));
        arm.tube(shoulder, elbow, [0.052 * scale, 0.042 * scale], 6, clothes.top);
        arm.tube(elbow, hand, [0.040 * scale, 0.032 * scale], 6, clothes.top);
        arm.ellipsoid(hand, scale * Vec3::new(0.035, 0.03, 0.06), 3, 0.0, clothes.skin);
        parts.push(Part::swinging(arm, swing(shoulder, stride_rad * 0.75, turn + std::f64::consts::PI)));
    }
    parts
}

fn head(mesh: &mut Mesh, center: Vec3, scale: f32, clothes: &Clothes) {
    mesh.tube(center - scale * Vec3::new(0.01, 0.0, 0.20), center, [0.055 * scale; 2], 6, clothes.skin);
    mesh.ellipsoid(center, scale * Vec3::new(0.098, 0.078, 0.122), 6, 0.0, clothes.skin);
    mesh.ellipsoid(center + scale * Vec3::new(-0.022, 0.0, 0.032), scale * Vec3::new(0.094, 0.088, 0.103), 6, 0.0, clothes.hair);
}

/// A person riding a bicycle.
pub(super) fn cyclist(rng: &mut ChaCha8Rng, speed_mps: f64) -> Vec<Part> {
    let clothes = Clothes::random(rng);
    let frame_color = TOPS[rng.random_range(0..TOPS.len())];
    let helmet = Paint::plain(TOPS[rng.random_range(0..TOPS.len())]);
    let mut mesh = Mesh::default();
    bicycle(&mut mesh, Paint::plain(frame_color));
    let (hips, chest) = (Vec3::new(-0.17, 0.0, 0.98), Vec3::new(0.14, 0.0, 1.40));
    mesh.tube(hips, chest, [0.135, 0.165], 9, clothes.top);
    mesh.ellipsoid(hips, Vec3::new(0.14, 0.16, 0.12), 5, 0.0, clothes.trousers);
    mesh.ellipsoid(chest, Vec3::new(0.13, 0.19, 0.12), 5, 0.0, clothes.top);
    let face = Vec3::new(0.24, 0.0, 1.60);
    head(&mut mesh, face, 1.0, &clothes);
    mesh.ellipsoid(face + Vec3::new(-0.01, 0.0, 0.06), Vec3::new(0.13, 0.095, 0.085), 5, 0.0, helmet);
    for side in [-1.0f32, 1.0] {
        let (shoulder, hand) = (Vec3::new(0.15, 0.19 * side, 1.40), Vec3::new(0.42, 0.24 * side, 1.02));
        mesh.tube(shoulder, hand, [0.05, 0.035], 6, clothes.top);
    }
    let mut parts = vec![Part::rigid(mesh)];
    let phase_rad = rng.random_range(0.0..std::f64::consts::TAU);
    for (side, turn) in [(1.0f32, 0.0), (-1.0, std::f64::consts::PI)] {
        let mut leg = Mesh::default();
        let (hip, knee) = (Vec3::new(-0.16, 0.10 * side, 0.96), Vec3::new(0.22, 0.11 * side, 0.72));
        let foot = Vec3::new(0.05, 0.12 * side, 0.30);
        leg.tube(hip, knee, [0.085, 0.06], 7, clothes.trousers);
        leg.tube(knee, foot, [0.06, 0.045], 7, clothes.trousers);
        leg.cuboid([0.0, foot.y - 0.045, 0.24], [0.24, foot.y + 0.045, 0.31], clothes.shoes);
        // A quarter turn of the pedals per metre is a usual gear.
        let swing = Swing { pivot: hip, amplitude_rad: 0.2, frequency_hz: speed_mps / 4.0, phase_rad: phase_rad + turn };
        parts.push(Part::swinging(leg, swing));
    }
    parts
}

fn bicycle(mesh: &mut Mesh, frame: Paint) {
    let (radius, segments) = (0.33f32, 16usize);
    let rubber = Paint::new(Surface::Rubber, [0.07, 0.07, 0.07]);
    let (back, front) = (Vec3::new(-0.52, 0.0, radius + 0.02), Vec3::new(0.52, 0.0, radius + 0.02));
    for hub in [back, front] {
        let rim = |index: usize| {
            let angle = std::f32::consts::TAU * (index % segments) as f32 / segments as f32;
            hub + radius * Vec3::new(angle.cos(), 0.0, angle.sin())
        };
        for index in 0..segments {
            mesh.tube(rim(index), rim(index + 1), [0.02; 2], 4, rubber);
        }
        mesh.tube(hub - Vec3::new(0.0, 0.06, 0.0), hub + Vec3::new(0.0, 0.06, 0.0), [0.03; 2], 6, frame);
    }
    let (crank, saddle, stem) = (Vec3::new(-0.05, 0.0, 0.29), Vec3::new(-0.20, 0.0, 0.86), Vec3::new(0.36, 0.0, 0.80));
    for (from, to) in [(crank, saddle), (crank, stem), (saddle, stem), (crank, back), (saddle, back), (stem, front)] {
        mesh.tube(from, to, [0.022; 2], 5, frame);
    }
    mesh.tube(stem, Vec3::new(0.40, 0.0, 1.0), [0.02; 2], 5, frame);
    mesh.tube(Vec3::new(0.40, -0.27, 1.0), Vec3::new(0.40, 0.27, 1.0), [0.018; 2], 5, rubber);
    mesh.cuboid([-0.32, -0.07, 0.86], [-0.08, 0.07, 0.91], rubber);
}
