//! Cars, vans and trucks. Frame: x forward, y left, z up from the ground under the middle.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::actors::Part;
use super::mesh::{Mesh, Paint, Surface, Vec3, frustum_faces};

/// Colours of cars with how often they are seen: most cars are white, black or grey.
const CAR_COLORS: [[f32; 3]; 12] = [
    [0.80, 0.81, 0.82],
    [0.78, 0.78, 0.76],
    [0.62, 0.64, 0.66],
    [0.58, 0.60, 0.63],
    [0.33, 0.35, 0.38],
    [0.10, 0.10, 0.12],
    [0.08, 0.09, 0.11],
    [0.62, 0.10, 0.09],
    [0.13, 0.25, 0.52],
    [0.20, 0.36, 0.58],
    [0.24, 0.36, 0.27],
    [0.72, 0.52, 0.16],
];

const DARK: [f32; 3] = [0.06, 0.06, 0.07];

/// Proportions of a body type: heights in metres, places as fractions of the length.
struct Style {
    length_m: [f64; 2],
    width_m: [f64; 2],
    height_m: [f64; 2],
    belt_m: f32,
    /// Cabin foot and roof: back and front.
    cabin: [f32; 4],
    hood_m: f32,
}

const STYLES: [Style; 4] = [
    // Saloon, hatchback, off-roader, estate.
    Style {
        length_m: [4.4, 4.9],
        width_m: [1.78, 1.88],
        height_m: [1.42, 1.48],
        belt_m: 0.94,
        cabin: [-0.37, 0.21, -0.22, 0.05],
        hood_m: 0.84,
    },
    Style {
        length_m: [3.7, 4.25],
        width_m: [1.68, 1.80],
        height_m: [1.46, 1.54],
        belt_m: 0.95,
        cabin: [-0.475, 0.23, -0.41, 0.05],
        hood_m: 0.87,
    },
    Style {
        length_m: [4.3, 4.75],
        width_m: [1.82, 1.92],
        height_m: [1.64, 1.74],
        belt_m: 1.08,
        cabin: [-0.475, 0.22, -0.42, 0.07],
        hood_m: 1.00,
    },
    Style {
        length_m: [4.5, 4.8],
        width_m: [1.78, 1.86],
        height_m: [1.45, 1.50],
        belt_m: 0.95,
        cabin: [-0.48, 0.21, -0.42, 0.05],
        hood_m: 0.85,
    },
];

/// A passenger car of a random body type, size and colour.
pub(super) fn car(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let style = &STYLES[rng.random_range(0..STYLES.len())];
    let mut range = |bounds: [f64; 2]| rng.random_range(bounds[0]..bounds[1]) as f32;
    let (length, width, height) = (range(style.length_m), range(style.width_m), range(style.height_m));
    let color = CAR_COLORS[rng.random_range(0..CAR_COLORS.len())];
    let body = Paint::new(Surface::CarPaint, color);
    let half = width / 2.0;
    let mut mesh = Mesh::default();
    let section = |f: f32, w: f32, low: f32, high: f32| body_section(f * length, w * half, low, high);
    mesh.loft(
        &[
            section(-0.5, 0.86, 0.40, style.belt_m - 0.22),
            section(-0.475, 0.96, 0.26, style.belt_m - 0.05),
            section(-0.36, 1.0, 0.22, style.belt_m),
            section(0.16, 1.0, 0.20, style.belt_m - 0.02),
            section(0.26, 0.99, 0.20, style.hood_m),
            section(0.43, 0.95, 0.24, style.hood_m - 0.10),
            section(0.485, 0.88, 0.28, style.hood_m - 0.18),
            section(0.5, 0.78, 0.36, style.hood_m - 0.26),
        ],
        body,
    );
    cabin(&mut mesh, style, [length, half, height], body);
    let radius = 0.30 + 0.02 * height;
    for x in [-0.30 * length, 0.30 * length] {
        wheel_pair(&mut mesh, x, radius, half);
    }
    lamps(&mut mesh, length, half, style.hood_m - 0.24, style.belt_m - 0.18);
    vec![Part::rigid(mesh)]
}

/// Six points of a cross-section, counter-clockwise seen from the front: sill, shoulder, deck.
fn body_section(x: f32, half: f32, low: f32, high: f32) -> Vec<Vec3> {
    let shoulder = low + 0.72 * (high - low);
    let deck = 0.88 * half;
    [(0.94 * half, low), (half, shoulder), (deck, high), (-deck, high), (-half, shoulder), (-0.94 * half, low)]
        .map(|(y, z)| Vec3::new(x, y, z))
        .to_vec()
}

fn cabin(mesh: &mut Mesh, style: &Style, [length, half, height]: [f32; 3], body: Paint) {
    let [foot_back, foot_front, roof_back, roof_front] = style.cabin.map(|fraction| fraction * length);
    let (foot, roof) = (0.86 * half, 0.70 * half);
    let screen: &[[f32; 4]] = &[[0.05, 0.95, 0.10, 0.92]];
    let sides: &[[f32; 4]] = &[[0.06, 0.47, 0.12, 0.88], [0.52, 0.93, 0.12, 0.88]];
    glazed(
        mesh,
        ([foot_back, foot_front, -foot, foot], style.belt_m - 0.03),
        ([roof_back, roof_front, -roof, roof], height),
        body,
        [screen, screen, sides, sides],
    );
}

/// A closed box between two rectangles `([x0, x1, y0, y1], z)` with windows in its front, back, left and right.
fn glazed(mesh: &mut Mesh, foot: ([f32; 4], f32), roof: ([f32; 4], f32), body: Paint, windows: [&[[f32; 4]]; 4]) {
    let glass = Paint::new(Surface::Window, [0.1, 0.13, 0.16]);
    let faces = frustum_faces(foot.0, foot.1, roof.0, roof.1);
    for (index, face) in faces.into_iter().enumerate() {
        mesh.unit_quad(face, body);
        if let Some(panes) = windows.get(index) {
            mesh.panes(face, panes, 0.006, glass);
        }
    }
}

/// Two wheels on one axle with dark arches behind them.
fn wheel_pair(mesh: &mut Mesh, x: f32, radius: f32, half: f32) {
    let rubber = Paint::new(Surface::Rubber, DARK);
    for side in [-1.0, 1.0] {
        let at = |y: f32, z: f32| Vec3::new(x, side * y, z);
        mesh.tube(at(half - 0.22, radius * 1.12), at(half + 0.002, radius * 1.12), [radius * 1.1; 2], 14, rubber);
        mesh.tube(at(half - 0.2, radius), at(half + 0.006, radius), [radius; 2], 14, rubber);
        let rim = Paint::plain([0.55, 0.56, 0.58]);
        mesh.tube(at(half, radius), at(half + 0.012, radius), [radius * 0.6; 2], 10, rim);
    }
}

/// Headlamps, tail lamps, grille and number plates.
fn lamps(mesh: &mut Mesh, length: f32, half: f32, front_z: f32, back_z: f32) {
    let (front, back) = (length / 2.0, -length / 2.0);
    let white = Paint::new(Surface::Lamp, [0.95, 0.95, 0.9]);
    let red = Paint::new(Surface::Lamp, [0.75, 0.05, 0.05]);
    for side in [-1.0f32, 1.0] {
        let span = |inner: f32, outer: f32| {
            ((side * inner * half).min(side * outer * half), (side * inner * half).max(side * outer * half))
        };
        let (y0, y1) = span(0.5, 0.86);
        mesh.cuboid([front - 0.16, y0, front_z - 0.12], [front - 0.05, y1, front_z], white);
        let (y0, y1) = span(0.55, 0.9);
        mesh.cuboid([back - 0.004, y0, back_z - 0.12], [back + 0.15, y1, back_z + 0.02], red);
    }
    let grille = Paint::plain([0.07, 0.07, 0.08]);
    mesh.cuboid([front - 0.1, -0.45 * half, front_z - 0.16], [front - 0.004, 0.45 * half, front_z - 0.06], grille);
    mesh.cuboid([front - 0.1, -0.78 * half, 0.30], [front - 0.02, 0.78 * half, 0.40], grille);
    mesh.cuboid([back + 0.02, -0.8 * half, 0.28], [back + 0.1, 0.8 * half, 0.42], grille);
    let plate = Paint::new(Surface::Lamp, [0.88, 0.88, 0.84]);
    mesh.cuboid([front - 0.02, -0.26, 0.40], [front, 0.26, 0.50], plate);
    mesh.cuboid([back, -0.26, back_z - 0.14], [back + 0.05, 0.26, back_z - 0.03], plate);
}

/// A delivery van.
pub(super) fn van(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let length = rng.random_range(5.3..5.9f64) as f32;
    let (half, height) = (1.0, rng.random_range(2.25..2.55f64) as f32);
    let colors = [[0.79, 0.79, 0.78], [0.74, 0.75, 0.77], [0.80, 0.62, 0.10], [0.20, 0.33, 0.50]];
    let color = colors[rng.random_range(0..colors.len())];
    let body = Paint::new(Surface::CarPaint, color);
    let mut mesh = Mesh::default();
    let section = |f: f32, w: f32, low: f32, high: f32| body_section(f * length, w * half, low, high);
    mesh.loft(
        &[
            section(-0.5, 0.98, 0.34, 1.18),
            section(-0.48, 1.0, 0.26, 1.22),
            section(0.33, 1.0, 0.24, 1.22),
            section(0.45, 0.96, 0.26, 1.06),
            section(0.5, 0.84, 0.36, 0.86),
        ],
        body,
    );
    let (foot, roof) = (0.92, 0.86);
    glazed(
        &mut mesh,
        ([-0.495 * length, 0.36 * length, -foot, foot], 1.18),
        ([-0.49 * length, 0.20 * length, -roof, roof], height),
        body,
        [
            &[[0.05, 0.95, 0.08, 0.80]],
            &[[0.08, 0.47, 0.25, 0.80], [0.53, 0.92, 0.25, 0.80]],
            &[[0.05, 0.24, 0.10, 0.72]],
            &[[0.76, 0.95, 0.10, 0.72]],
        ],
    );
    for x in [-0.32 * length, 0.32 * length] {
        wheel_pair(&mut mesh, x, 0.35, half);
    }
    lamps(&mut mesh, length, half, 0.86, 1.05);
    vec![Part::rigid(mesh)]
}

/// A box truck: cab, gap, cargo box on a chassis.
pub(super) fn truck(rng: &mut ChaCha8Rng) -> Vec<Part> {
    let length = rng.random_range(7.2..8.6f64) as f32;
    let (half, height) = (1.22, rng.random_range(3.1..3.5f64) as f32);
    let cab_colors = [[0.70, 0.12, 0.10], [0.15, 0.30, 0.55], [0.85, 0.85, 0.84], [0.12, 0.38, 0.30]];
    let cab = Paint::new(Surface::CarPaint, cab_colors[rng.random_range(0..cab_colors.len())]);
    let box_paint = Paint::plain([0.84, 0.84, 0.82]);
    let chassis = Paint::plain([0.12, 0.12, 0.13]);
    let (front, back) = (length / 2.0, -length / 2.0);
    let mut mesh = Mesh::default();
    mesh.cuboid([back, -half, 0.95], [front - 2.05, half, height], box_paint);
    mesh.cuboid([back + 0.3, -half - 0.004, 1.5], [front - 2.5, half + 0.004, 1.85], Paint::plain(cab.color));
    mesh.cuboid([back + 0.05, -0.45, 0.55], [front - 0.2, 0.45, 0.95], chassis);
    mesh.cuboid([front - 1.9, -half * 0.97, 0.45], [front - 0.02, half * 0.97, 1.55], cab);
    let cab_sides = half * 0.97;
    glazed(
        &mut mesh,
        ([front - 1.9, front - 0.02, -cab_sides, cab_sides], 1.55),
        ([front - 1.85, front - 0.28, -cab_sides * 0.93, cab_sides * 0.93], 2.65),
        cab,
        [&[[0.05, 0.95, 0.06, 0.80]], &[], &[[0.10, 0.62, 0.08, 0.75]], &[[0.38, 0.90, 0.08, 0.75]]],
    );
    mesh.cuboid([front - 0.1, -half * 0.9, 0.42], [front, half * 0.9, 0.75], Paint::plain([0.2, 0.2, 0.21]));
    for x in [front - 1.1, back + 1.3, back + 2.25] {
        wheel_pair(&mut mesh, x, 0.46, half - 0.02);
    }
    let red = Paint::new(Surface::Lamp, [0.75, 0.05, 0.05]);
    let white = Paint::new(Surface::Lamp, [0.95, 0.95, 0.9]);
    for side in [-1.0f32, 1.0] {
        let y = side * 0.95;
        mesh.cuboid([back - 0.01, y - 0.18, 0.7], [back + 0.06, y + 0.18, 0.84], red);
        mesh.cuboid([front - 0.05, y - 0.16, 0.56], [front + 0.01, y + 0.16, 0.72], white);
    }
    let doors = Paint::plain([0.74, 0.74, 0.72]);
    for y in [-half * 0.5, half * 0.5] {
        mesh.cuboid([back - 0.012, y - half * 0.46, 1.05], [back, y + half * 0.46, height - 0.1], doors);
    }
    vec![Part::rigid(mesh)]
}
