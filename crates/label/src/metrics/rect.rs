//! Rotated rectangles in the plane and their overlap (Sutherland and Hodgman, "Reentrant polygon clipping", 1974).

use boxwright_model::Cuboid;

/// A rectangle seen from above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Centre (metres).
    pub center: [f64; 2],
    /// Half length and half width (metres).
    pub half: [f64; 2],
    /// Heading (radians).
    pub yaw_rad: f64,
}

impl Rect {
    /// The footprint of a cuboid.
    #[must_use]
    pub fn of(cuboid: &Cuboid) -> Self {
        Self {
            center: [cuboid.center_m.x, cuboid.center_m.y],
            half: [cuboid.size_lwh_m.x / 2.0, cuboid.size_lwh_m.y / 2.0],
            yaw_rad: cuboid.yaw_rad(),
        }
    }

    /// Area in square metres.
    #[must_use]
    pub fn area(&self) -> f64 {
        4.0 * self.half[0] * self.half[1]
    }

    /// Whether a point lies inside or on it.
    #[must_use]
    pub fn contains(&self, point: [f64; 2]) -> bool {
        let [u, v] = self.local(point);
        u.abs() <= self.half[0] && v.abs() <= self.half[1]
    }

    fn local(&self, point: [f64; 2]) -> [f64; 2] {
        let (sin, cos) = self.yaw_rad.sin_cos();
        let (dx, dy) = (point[0] - self.center[0], point[1] - self.center[1]);
        [dx * cos + dy * sin, dy * cos - dx * sin]
    }

    /// Corners, counter-clockwise.
    #[must_use]
    pub fn corners(&self) -> [[f64; 2]; 4] {
        let (sin, cos) = self.yaw_rad.sin_cos();
        [[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]].map(|[a, b]| {
            let (u, v) = (a * self.half[0], b * self.half[1]);
            [self.center[0] + u * cos - v * sin, self.center[1] + u * sin + v * cos]
        })
    }

    /// Area of what two rectangles share, in square metres.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> f64 {
        // In this rectangle's own frame its sides are the half planes |u| <= half[0] and |v| <= half[1].
        let mut polygon: Vec<[f64; 2]> = other.corners().iter().map(|corner| self.local(*corner)).collect();
        for (axis, sign) in [(0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)] {
            polygon = clip(&polygon, axis, sign, self.half[axis]);
        }
        shoelace(&polygon).abs()
    }
}

fn clip(polygon: &[[f64; 2]], axis: usize, sign: f64, limit: f64) -> Vec<[f64; 2]> {
    let mut kept = Vec::with_capacity(polygon.len() + 2);
    for (index, a) in polygon.iter().enumerate() {
        let b = &polygon[(index + 1) % polygon.len()];
        let (da, db) = (limit - sign * a[axis], limit - sign * b[axis]);
        if da >= 0.0 {
            kept.push(*a);
        }
        if (da >= 0.0) != (db >= 0.0) {
            let t = da / (da - db);
            kept.push([a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])]);
        }
    }
    kept
}

fn shoelace(polygon: &[[f64; 2]]) -> f64 {
    let next = polygon.iter().cycle().skip(1);
    polygon.iter().zip(next).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum::<f64>() / 2.0
}

/// Intersection over union of the footprints of two upright cuboids, in `[0, 1]`.
#[must_use]
pub fn bev_iou(a: &Cuboid, b: &Cuboid) -> f64 {
    let (a, b) = (Rect::of(a), Rect::of(b));
    let reach = a.half[0].hypot(a.half[1]) + b.half[0].hypot(b.half[1]);
    if (a.center[0] - b.center[0]).hypot(a.center[1] - b.center[1]) > reach {
        return 0.0;
    }
    let shared = a.intersection(&b);
    let union = a.area() + b.area() - shared;
    if union > 0.0 { (shared / union).clamp(0.0, 1.0) } else { 0.0 }
}
