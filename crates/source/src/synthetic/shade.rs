//! Colours and textures: what a surface looks like to a camera and how much of a laser pulse it returns.
//!
//! Textures are computed, not stored: markings from street coordinates, windows from metres along a wall.

use super::mesh::{Paint, Surface, Triangle, Vec3, unit_hash};
use super::road::{CROSSING_FIRST_M, CROSSING_SPACING_M, CYCLE_EDGE_M, KERB_M, LANE_EDGE_M};

const GLASS: [f32; 3] = [0.10, 0.13, 0.16];
const WHITE_LINE: [f32; 3] = [0.86, 0.86, 0.84];

/// Texture coordinates of a point of a triangle, by areas.
pub(super) fn texture_at(triangle: &Triangle, point: &Vec3) -> [f32; 2] {
    let [a, b, c] = triangle.points;
    let (ab, ac, ap) = (b - a, c - a, point - a);
    let (d00, d01, d11, d20, d21) = (ab.dot(&ab), ab.dot(&ac), ac.dot(&ac), ap.dot(&ab), ap.dot(&ac));
    let scale = 1.0 / (d00 * d11 - d01 * d01).max(1e-12);
    let (v, w) = ((d11 * d20 - d01 * d21) * scale, (d00 * d21 - d01 * d20) * scale);
    let mix = |axis: usize| {
        let [p, q, r] = triangle.uv.map(|uv| uv[axis]);
        p + (q - p) * v + (r - p) * w
    };
    [mix(0), mix(1)]
}

/// Share of a laser pulse (905 nm) that comes back from a surface hit squarely, in `[0, 1]`.
pub(super) fn reflectance(paint: &Paint, uv: [f32; 2], cos_incidence: f32) -> f32 {
    let bright = (paint.color[0] + paint.color[1] + paint.color[2]) / 3.0;
    match paint.surface {
        Surface::Plain => 0.10 + 0.5 * bright,
        // Dark paint is a mirror for the pulse: little comes back.
        Surface::CarPaint => 0.02 + 0.55 * bright + 0.1 * cos_incidence.powi(12),
        Surface::Road => 0.12 + 0.5 * marking(uv[0], uv[1]).map_or(0.0, |mark| mark.strength),
        Surface::Pavement => 0.24,
        Surface::Grass => 0.32,
        Surface::Facade => facade(paint, uv).1,
        Surface::Roof => 0.25,
        Surface::Window => 0.012,
        Surface::Leaves => 0.38,
        Surface::Lamp => 0.8,
        Surface::Sign => 1.0,
        Surface::Rubber => 0.05,
    }
}

/// Colour of a surface before light, at a distance (fine grain fades where a pixel covers it).
pub(super) fn albedo(paint: &Paint, uv: [f32; 2], distance_m: f32) -> [f32; 3] {
    let near = (1.0 - distance_m / 45.0).clamp(0.0, 1.0);
    match paint.surface {
        Surface::Plain | Surface::CarPaint | Surface::Lamp | Surface::Rubber => paint.color,
        Surface::Roof => {
            let tile = if modulo(uv[1] * 22.0, 1.0) < 0.2 { 0.85 } else { 1.0 };
            scaled(paint.color, tile)
        }
        Surface::Road => road(paint, uv, near),
        Surface::Pavement => pavement(paint, uv, near),
        Surface::Grass => {
            let patch = noise(uv[0] * 0.35, uv[1] * 0.35, 5);
            let blade = noise(uv[0] * 6.0, uv[1] * 6.0, 6) * near;
            scaled(paint.color, 0.85 + 0.22 * patch + 0.2 * (blade - 0.5 * near))
        }
        Surface::Facade => facade(paint, uv).0,
        // The sky in the glass, brighter towards the roof.
        Surface::Window => scaled(GLASS, 0.6 + 0.9 * uv[1].clamp(0.0, 1.0)),
        Surface::Leaves => {
            let clump = noise(uv[0] * 5.0 + (paint.variant % 61) as f32, uv[1] * 5.0, 9);
            scaled(paint.color, 0.72 + 0.55 * clump)
        }
        Surface::Sign => sign(uv),
    }
}

fn road(paint: &Paint, [s, t]: [f32; 2], near: f32) -> [f32; 3] {
    let grain = noise(s * 18.0, t * 18.0, 1) - 0.5;
    let patch = noise(s * 0.22, t * 0.9, 2) - 0.5;
    // Tyres polish two tracks in each lane.
    let lane = (t.abs() - 1.65).abs();
    let track = (1.0 - ((lane - 0.75).abs() / 0.35)).clamp(0.0, 1.0) * 0.05;
    let base = scaled(paint.color, 1.0 + 0.16 * patch + 0.22 * grain * near - track);
    let cycle = t.abs() > LANE_EDGE_M as f32 && t.abs() < CYCLE_EDGE_M as f32;
    let base = if cycle { mixed(base, [0.40, 0.23, 0.20], 0.55) } else { base };
    match marking(s, t) {
        Some(mark) => mixed(base, WHITE_LINE, mark.strength * (0.8 + 0.2 * noise(s * 9.0, t * 9.0, 3))),
        None => base,
    }
}

fn pavement(paint: &Paint, [s, t]: [f32; 2], near: f32) -> [f32; 3] {
    let slab = unit_hash((floor(s / 0.6) as u64).wrapping_mul(7919) ^ floor(t / 0.6) as u64) - 0.5;
    let joint = modulo(s, 0.6) < 0.03 || modulo(t, 0.6) < 0.03;
    let dark = if joint { 0.16 * near } else { 0.0 };
    scaled(paint.color, 1.0 + 0.10 * slab * (0.3 + 0.7 * near) - dark)
}

/// White paint on the carriageway; strength in `[0, 1]`.
#[derive(Clone, Copy)]
struct Mark {
    strength: f32,
}

fn marking(s: f32, t: f32) -> Option<Mark> {
    let side = t.abs();
    let crossing = {
        let (first, spacing) = (CROSSING_FIRST_M as f32, CROSSING_SPACING_M as f32);
        let phase = modulo(s - first + spacing / 2.0, spacing) - spacing / 2.0;
        phase.abs()
    };
    if crossing < 2.0 {
        return (side < KERB_M as f32 - 0.25 && floor(t / 0.5) & 1 == 0).then_some(Mark { strength: 0.92 });
    }
    // A stop line before the crossing, on the side of the traffic that comes to it.
    if (2.9..3.25).contains(&crossing) && side < LANE_EDGE_M as f32 - 0.1 && side > 0.15 {
        return Some(Mark { strength: 0.9 });
    }
    let dashed = |on: f32, off: f32| modulo(s, on + off) < on;
    let line = |at: f32, width: f32| (side - at).abs() < width / 2.0;
    let lines = [
        side < 0.07 && (crossing < 18.0 || dashed(3.0, 4.5)),
        line(LANE_EDGE_M as f32, 0.12) && (crossing > 6.0 || dashed(0.5, 0.5)),
        line(CYCLE_EDGE_M as f32, 0.09) && crossing > 7.0,
        // Parking bays.
        side > CYCLE_EDGE_M as f32 && modulo(s, 6.1) < 0.09 && crossing > 7.0,
    ];
    if lines.iter().any(|line| *line) { Some(Mark { strength: 0.85 }) } else { bicycle_symbol(s, t) }
}

/// A rough bicycle on the cycle lane now and then: two rings and a bar.
fn bicycle_symbol(s: f32, t: f32) -> Option<Mark> {
    let (x, y) = (modulo(s, 46.0) - 20.0, t.abs() - 4.1);
    let ring = |center: f32| {
        let along = (x - center) * 0.7;
        ((along * along + y * y).sqrt() - 0.32).abs() < 0.06
    };
    if x.abs() > 1.4 {
        return None;
    }
    (ring(-0.6) || ring(0.6) || (x.abs() < 0.6 && y.abs() < 0.05)).then_some(Mark { strength: 0.75 })
}

/// Colour and laser reflectance of a building front at metres along it and above the ground.
fn facade(paint: &Paint, [u, v]: [f32; 2]) -> ([f32; 3], f32) {
    let wall = |shade: f32| (scaled(paint.color, shade), 0.18 + 0.35 * (paint.color[0] + paint.color[1]) / 2.0);
    let glass = |color: [f32; 3]| (color, 0.03);
    if v < 0.5 {
        return wall(0.72);
    }
    if v < 3.4 {
        return ground_floor(paint, u, v, wall, glass);
    }
    let storey = floor((v - 3.4) / 3.1);
    let height = (v - 3.4) - storey as f32 * 3.1;
    let bay_width = 2.3 + 0.25 * (paint.variant >> 6 & 3) as f32;
    let bay = floor(u / bay_width);
    let across = u - bay as f32 * bay_width - bay_width / 2.0;
    let half = if paint.variant & 32 == 32 { 0.72 } else { 0.52 };
    let (sill, head) = (0.75, 2.4);
    if across.abs() < half && (sill..head).contains(&height) {
        let frame = across.abs() > half - 0.07 || across.abs() < 0.03 || height < sill + 0.07 || height > head - 0.07;
        if frame {
            return (if paint.variant & 8 == 8 { [0.82, 0.82, 0.80] } else { [0.32, 0.27, 0.23] }, 0.4);
        }
        let window = unit_hash(u64::from(paint.variant) << 20 ^ (bay as u64) << 8 ^ storey as u64);
        // Some curtains, some blinds, and the sky in the rest.
        return match window {
            w if w < 0.18 => (scaled([0.62, 0.60, 0.55], 0.8), 0.12),
            w if w < 0.28 && height > 1.5 => (scaled([0.70, 0.66, 0.58], 0.75), 0.12),
            w => glass(scaled([0.20, 0.26, 0.32], 0.55 + 0.5 * w + 0.18 * (height - sill))),
        };
    }
    if across.abs() < half + 0.12 && (sill - 0.14..sill).contains(&height) {
        return (scaled(paint.color, 1.18), 0.45);
    }
    let band = if height < 0.16 { 0.86 } else { 1.0 };
    wall(band * wall_grain(paint, u, v))
}

fn ground_floor(
    paint: &Paint,
    u: f32,
    v: f32,
    wall: impl Fn(f32) -> ([f32; 3], f32),
    glass: impl Fn([f32; 3]) -> ([f32; 3], f32),
) -> ([f32; 3], f32) {
    if paint.variant & 1 == 1 {
        // A shop: large panes, and every third bay a door.
        let bay = floor(u / 2.2);
        let across = u - bay as f32 * 2.2;
        if across < 0.14 || v > 2.85 {
            return wall(0.8);
        }
        let door = bay.rem_euclid(3) == 1;
        if door && !(0.55..=1.75).contains(&across) {
            return wall(0.85);
        }
        if !door && v < 0.75 {
            return wall(0.78);
        }
        let lit = 0.35 + 0.65 * noise(u * 1.3, v * 1.1, 12);
        return glass(mixed([0.13, 0.15, 0.17], [0.52, 0.44, 0.32], 0.5 * lit * lit));
    }
    let bay = floor(u / 2.5);
    let across = u - bay as f32 * 2.5 - 1.25;
    if bay.rem_euclid(4) == 1 {
        if across.abs() < 0.55 && v < 2.7 {
            let color = super::street::fascia_color(paint.variant);
            return (scaled(color, if across.abs() > 0.47 { 1.25 } else { 0.9 }), 0.25);
        }
    } else if across.abs() < 0.6 && (1.2..2.75).contains(&v) {
        let frame = across.abs() > 0.53 || across.abs() < 0.03 || !(1.27..=2.68).contains(&v);
        return if frame { ([0.80, 0.80, 0.78], 0.4) } else { glass([0.17, 0.21, 0.25]) };
    }
    wall(0.94 * wall_grain(paint, u, v))
}

fn wall_grain(paint: &Paint, u: f32, v: f32) -> f32 {
    0.95 + 0.10 * noise(u * 0.5 + (paint.variant % 61) as f32, v * 0.25, 7)
}

/// The blue square with a white triangle that announces a crossing.
fn sign([u, v]: [f32; 2]) -> [f32; 3] {
    let inside = v > -0.62 && v < 0.75 && u.abs() < (0.75 - v) * 0.52;
    match () {
        () if u.abs() > 0.93 || v.abs() > 0.93 => [0.9, 0.9, 0.9],
        () if inside && u.abs() < 0.10 && v < 0.3 => [0.08, 0.08, 0.08],
        () if inside => [0.92, 0.92, 0.92],
        () => [0.06, 0.22, 0.60],
    }
}

/// A tile of random bytes: noise is asked for several times per pixel, and a look-up costs a tenth of a hash.
const TILE: [u8; TILE_SIDE * TILE_SIDE] = tile();
const TILE_SIDE: usize = 64;

const fn tile() -> [u8; TILE_SIDE * TILE_SIDE] {
    let mut bytes = [0; TILE_SIDE * TILE_SIDE];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut index = 0;
    while index < bytes.len() {
        // The generator of Marsaglia, "Xorshift RNGs" (2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes[index] = (state >> 32) as u8;
        index += 1;
    }
    bytes
}

/// Smooth random numbers in `[0, 1]` over a plane, one set for each layer.
fn noise(x: f32, y: f32, layer: i32) -> f32 {
    let (xi, yi) = (floor(x), floor(y));
    let (fx, fy) = (smooth(x - xi as f32), smooth(y - yi as f32));
    let corner = |dx: i32, dy: i32| {
        let (column, row) =
            (xi.wrapping_add(dx + layer * 17) as usize % TILE_SIDE, yi.wrapping_add(dy + layer * 29) as usize % TILE_SIDE);
        f32::from(TILE[row * TILE_SIDE + column]) / 255.0
    };
    let (low, high) = (corner(0, 0) + (corner(1, 0) - corner(0, 0)) * fx, corner(0, 1) + (corner(1, 1) - corner(0, 1)) * fx);
    low + (high - low) * fy
}

/// `floor` without the library call that it is on plain x86-64.
fn floor(x: f32) -> i32 {
    let whole = x as i32;
    if whole as f32 > x { whole.wrapping_sub(1) } else { whole }
}

/// The part of `x` above a multiple of `period`.
fn modulo(x: f32, period: f32) -> f32 {
    x - floor(x / period) as f32 * period
}

fn smooth(part: f32) -> f32 {
    part * part * (3.0 - 2.0 * part)
}

#[inline]
pub(super) fn scaled([r, g, b]: [f32; 3], factor: f32) -> [f32; 3] {
    [r * factor, g * factor, b * factor]
}

#[inline]
pub(super) fn mixed([r, g, b]: [f32; 3], other: [f32; 3], part: f32) -> [f32; 3] {
    [r + (other[0] - r) * part, g + (other[1] - g) * part, b + (other[2] - b) * part]
}

/// Colour of the sky in a world direction.
pub(super) fn sky(direction: &Vec3) -> [f32; 3] {
    let up = direction.z.clamp(0.0, 1.0);
    let clear = mixed([0.80, 0.86, 0.92], [0.34, 0.55, 0.84], (up * 2.2).min(1.0).sqrt());
    if up < 0.02 {
        return clear;
    }
    // Flat clouds on a plane overhead, lost in haze near the horizon.
    let (x, y) = (direction.x / up, direction.y / up);
    let cover = 0.6 * noise(x * 0.9, y * 0.9, 20) + 0.28 * noise(x * 2.1, y * 2.1, 21) + 0.12 * noise(x * 4.7, y * 4.7, 22);
    let cloud = ((cover - 0.47) * 3.6).clamp(0.0, 0.85) * (up * 5.0).min(1.0);
    mixed(clear, [0.95, 0.95, 0.96], cloud)
}
