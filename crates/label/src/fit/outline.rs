//! Few points that keep the shape: nearest to the lidar by direction, and outermost.

/// Directions in which the nearest point is kept.
const FACING: usize = 40;
/// Directions in which the outermost point is kept.
const OUTERMOST: usize = 16;
/// Most points of an outline.
pub const MAX_POINTS: usize = FACING + OUTERMOST;

/// Which of the points face the lidar (nearest in each of 40 slices of the view) or are the outermost in 16 directions. Points inside the
/// footprint, which a lidar sees through windows and on roofs, would pull the heading away from the faces.
#[must_use]
pub fn outline(points: &[[f64; 2]], lidar_xy: [f64; 2]) -> Vec<usize> {
    if points.len() <= MAX_POINTS {
        return (0..points.len()).collect();
    }
    let mut kept = facing(points, lidar_xy);
    kept.extend(outermost(points));
    kept
}

fn facing(points: &[[f64; 2]], lidar: [f64; 2]) -> Vec<usize> {
    let count = points.len() as f64;
    let sum = points.iter().fold([0.0, 0.0], |sum, p| [sum[0] + p[0], sum[1] + p[1]]);
    let (dx, dy) = (sum[0] / count - lidar[0], sum[1] / count - lidar[1]);
    let range = dx.hypot(dy).max(1e-6);
    let (dx, dy) = (dx / range, dy / range);
    // Tangent of the direction from the line of sight, and the distance along it; a point beside or behind the lidar has no slice.
    let seen = |p: &[f64; 2]| {
        let (x, y) = (p[0] - lidar[0], p[1] - lidar[1]);
        let along = x * dx + y * dy;
        (along > 0.2).then(|| ((y * dx - x * dy) / along, along))
    };
    let (low, high) =
        points.iter().filter_map(seen).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (t, _)| (a.min(t), b.max(t)));
    let scale = FACING as f64 / (high - low).max(1e-9);
    let mut nearest: [Option<(f64, usize)>; FACING] = [None; FACING];
    for (index, p) in points.iter().enumerate() {
        let Some((tangent, along)) = seen(p) else { continue };
        let slot = &mut nearest[(((tangent - low) * scale) as usize).min(FACING - 1)];
        if slot.is_none_or(|(best, _)| along < best) {
            *slot = Some((along, index));
        }
    }
    nearest.into_iter().flatten().map(|(_, index)| index).collect()
}

fn outermost(points: &[[f64; 2]]) -> Vec<usize> {
    let half_turn = |step: usize| (std::f64::consts::PI * step as f64 / (OUTERMOST / 2) as f64).sin_cos();
    let mut kept = Vec::with_capacity(OUTERMOST);
    for (sin, cos) in (0..OUTERMOST / 2).map(half_turn) {
        let (mut low, mut high) = ((f64::INFINITY, 0), (f64::NEG_INFINITY, 0));
        for (index, p) in points.iter().enumerate() {
            let value = p[0] * cos + p[1] * sin;
            if value < low.0 {
                low = (value, index);
            }
            if value > high.0 {
                high = (value, index);
            }
        }
        kept.extend([low.1, high.1]);
    }
    kept
}
