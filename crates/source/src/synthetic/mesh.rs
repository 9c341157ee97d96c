//! Low-polygon shapes. The lidar and the cameras see the same triangles, so that a picture and a sweep agree to the pixel.

use nalgebra::Vector3;

/// A point or direction in a body's own frame.
pub(super) type Vec3 = Vector3<f32>;

/// What a surface is made of: chooses its texture in pictures and its answer to a laser pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    /// One colour, matt.
    Plain,
    /// Car paint: brighter where it faces the sky; dark paint answers a laser poorly.
    CarPaint,
    /// The carriageway; `uv` is `(s, t)`, from which the markings follow.
    Road,
    /// Paving slabs; `uv` is `(s, t)`.
    Pavement,
    /// Grass; `uv` is `(s, t)`.
    Grass,
    /// Building front; `uv` is metres along and above the ground, `variant` chooses the style.
    Facade,
    /// Roofs.
    Roof,
    /// Car windows; v in `[0, 1]` from their lower to their upper edge.
    Window,
    /// Foliage: the laser reaches into it.
    Leaves,
    /// Lamps and plates: bright for camera and laser.
    Lamp,
    /// Retro-reflecting traffic sign; `uv` in `[-1, 1]`.
    Sign,
    /// Tyres and other black rubber.
    Rubber,
}

impl Surface {
    /// Whether shadows of other things are drawn on it.
    pub(super) fn is_ground(self) -> bool {
        matches!(self, Self::Road | Self::Pavement | Self::Grass)
    }
}

/// Surface, colour and style of a triangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Paint {
    pub(super) surface: Surface,
    /// Red, green, blue in `[0, 1]`.
    pub(super) color: [f32; 3],
    /// Style number where a surface has styles.
    pub(super) variant: u32,
}

impl Paint {
    pub(super) fn new(surface: Surface, color: [f32; 3]) -> Self {
        Self { surface, color, variant: 0 }
    }

    pub(super) fn plain(color: [f32; 3]) -> Self {
        Self::new(Surface::Plain, color)
    }
}

/// A triangle, counter-clockwise seen from outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Triangle {
    pub(super) points: [Vec3; 3],
    pub(super) uv: [[f32; 2]; 3],
    pub(super) normal: Vec3,
    pub(super) paint: Paint,
}

/// A rigid set of triangles with a bounding sphere.
#[derive(Clone, Debug, Default)]
pub(super) struct Mesh {
    pub(super) triangles: Vec<Triangle>,
    pub(super) center: Vec3,
    pub(super) radius_m: f32,
}

impl Mesh {
    /// Computes the bounding sphere; call it when the last triangle is in.
    pub(super) fn finish(mut self) -> Self {
        if let Some((low, high)) = self.extent() {
            self.center = (low + high) / 2.0;
            let center = self.center;
            self.radius_m = self.points().map(|point| (point - center).norm()).fold(0.0, f32::max);
        }
        self
    }

    /// Lowest and highest corner over all triangles.
    pub(super) fn extent(&self) -> Option<(Vec3, Vec3)> {
        let mut points = self.points();
        let first = points.next()?;
        Some(points.fold((first, first), |(low, high), point| (low.inf(&point), high.sup(&point))))
    }

    fn points(&self) -> impl Iterator<Item = Vec3> {
        self.triangles.iter().flat_map(|triangle| triangle.points)
    }

    pub(super) fn triangle(&mut self, points: [Vec3; 3], uv: [[f32; 2]; 3], paint: Paint) {
        let normal = (points[1] - points[0]).cross(&(points[2] - points[0]));
        // Slivers without area have no normal and cannot be hit.
        if let Some(normal) = normal.try_normalize(1e-9) {
            self.triangles.push(Triangle { points, uv, normal, paint });
        }
    }

    /// Two triangles; corners counter-clockwise seen from outside.
    pub(super) fn quad(&mut self, corners: [Vec3; 4], uv: [[f32; 2]; 4], paint: Paint) {
        let [a, b, c, d] = corners;
        self.triangle([a, b, c], [uv[0], uv[1], uv[2]], paint);
        self.triangle([a, c, d], [uv[0], uv[2], uv[3]], paint);
    }

    /// A quad whose `uv` runs over the unit square: u along the first side, v along the second.
    pub(super) fn unit_quad(&mut self, corners: [Vec3; 4], paint: Paint) {
        self.quad(corners, [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], paint);
    }

    /// Panes set into a flat quad: each `[u0, u1, v0, v1]` is a part of the unit square over it, and stands out by `out_m`. The panes have
    /// straight edges however much the quad tapers, which a texture over two triangles has not.
    pub(super) fn panes(&mut self, corners: [Vec3; 4], panes: &[[f32; 4]], out_m: f32, paint: Paint) {
        let [a, b, c, d] = corners;
        let normal = (b - a).cross(&(c - a)).try_normalize(1e-9).unwrap_or_default();
        let at = |u: f32, v: f32| (a + (b - a) * u) * (1.0 - v) + (d + (c - d) * u) * v + normal * out_m;
        for [u0, u1, v0, v1] in panes {
            self.unit_quad([at(*u0, *v0), at(*u1, *v0), at(*u1, *v1), at(*u0, *v1)], paint);
        }
    }

    /// An axis-parallel box from its lowest to its highest corner.
    pub(super) fn cuboid(&mut self, low: [f32; 3], high: [f32; 3], paint: Paint) {
        let bottom = [low[0], high[0], low[1], high[1]];
        self.frustum(bottom, low[2], bottom, high[2], paint);
    }

    /// A box whose top and bottom rectangles `[x0, x1, y0, y1]` differ.
    pub(super) fn frustum(&mut self, bottom: [f32; 4], z0: f32, top: [f32; 4], z1: f32, paint: Paint) {
        for face in frustum_faces(bottom, z0, top, z1) {
            self.unit_quad(face, paint);
        }
    }

    /// A cylinder or cone stump between two centres, closed at both ends.
    pub(super) fn tube(&mut self, from: Vec3, to: Vec3, radii: [f32; 2], sides: usize, paint: Paint) {
        let axis = (to - from).try_normalize(1e-9).unwrap_or_else(Vec3::z);
        let helper = if axis.z.abs() < 0.9 { Vec3::z() } else { Vec3::x() };
        let across = axis.cross(&helper).normalize();
        let other = axis.cross(&across);
        let ring = |center: Vec3, radius: f32, side: usize| {
            let angle = std::f32::consts::TAU * (side % sides) as f32 / sides as f32;
            center + radius * (angle.cos() * across + angle.sin() * other)
        };
        for side in 0..sides {
            let low = [ring(from, radii[0], side), ring(from, radii[0], side + 1)];
            let high = [ring(to, radii[1], side), ring(to, radii[1], side + 1)];
            self.unit_quad([low[0], low[1], high[1], high[0]], paint);
            self.triangle([to, high[0], high[1]], [[0.0; 2]; 3], paint);
            self.triangle([from, low[1], low[0]], [[0.0; 2]; 3], paint);
        }
    }

    /// An ellipsoid of `rings` by `2 * rings` faces, its surface moved in and out by up to `rough` of the radius.
    pub(super) fn ellipsoid(&mut self, center: Vec3, radii: Vec3, rings: usize, rough: f32, paint: Paint) {
        let sides = 2 * rings;
        let at = |ring: usize, side: usize| {
            let polar = std::f32::consts::PI * ring as f32 / rings as f32;
            let around = std::f32::consts::TAU * (side % sides) as f32 / sides as f32;
            let inner = ring > 0 && ring < rings;
            let key = (ring * 31 + side % sides) as u64 + u64::from(paint.variant) * 977;
            let factor = if inner { 1.0 + rough * (unit_hash(key) - 0.5) * 2.0 } else { 1.0 };
            let direction = Vec3::new(polar.sin() * around.cos(), polar.sin() * around.sin(), polar.cos());
            center + factor * direction.component_mul(&radii)
        };
        for ring in 0..rings {
            for side in 0..sides {
                let corners = [at(ring + 1, side), at(ring + 1, side + 1), at(ring, side + 1), at(ring, side)];
                self.unit_quad(corners, paint);
            }
        }
    }

    /// A skin over cross-sections of equal point count along x (back to front), each counter-clockwise seen from the front, closed at
    /// both ends.
    pub(super) fn loft(&mut self, sections: &[Vec<Vec3>], paint: Paint) {
        for pair in sections.windows(2) {
            let (back, front) = (&pair[0], &pair[1]);
            for (index, point) in back.iter().enumerate() {
                let next = (index + 1) % back.len();
                self.unit_quad([*point, back[next], front[next], front[index]], paint);
            }
        }
        if let (Some(first), Some(last)) = (sections.first(), sections.last()) {
            for index in 1..first.len().saturating_sub(1) {
                self.triangle([first[0], first[index + 1], first[index]], [[0.0; 2]; 3], paint);
                self.triangle([last[0], last[index], last[index + 1]], [[0.0; 2]; 3], paint);
            }
        }
    }
}

/// The faces of a frustum: front (+x), back, left (+y), right, top, bottom; each counter-clockwise from outside, its first side below.
pub(super) fn frustum_faces(bottom: [f32; 4], z0: f32, top: [f32; 4], z1: f32) -> [[Vec3; 4]; 6] {
    let corner = |rect: [f32; 4], x: usize, y: usize, z: f32| Vec3::new(rect[x], rect[2 + y], z);
    let b = |x, y| corner(bottom, x, y, z0);
    let t = |x, y| corner(top, x, y, z1);
    [
        [b(1, 0), b(1, 1), t(1, 1), t(1, 0)],
        [b(0, 1), b(0, 0), t(0, 0), t(0, 1)],
        [b(1, 1), b(0, 1), t(0, 1), t(1, 1)],
        [b(0, 0), b(1, 0), t(1, 0), t(0, 0)],
        [t(0, 0), t(1, 0), t(1, 1), t(0, 1)],
        [b(0, 1), b(1, 1), b(1, 0), b(0, 0)],
    ]
}

/// A well-mixed number from a counter (the finaliser of `SplitMix64`): random numbers that do not depend on the order of asking.
pub(super) fn hash(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// [`hash`] as a number in `[0, 1)`.
pub(super) fn unit_hash(key: u64) -> f32 {
    (hash(key) >> 40) as f32 / (1u64 << 24) as f32
}
