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
    let mut seen: Vec<(f64, f64, usize)> = Vec::with_capacity(points.len());
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for (index, p) in points.iter().enumerate() {
        let (x, y) = (p[0] - lidar[0], p[1] - lidar[1]);
        let along = x * dx + y * dy;
        if along > 0.2 {
            let tangent = (y * dx - x * dy) / along;
            (low, high) = (low.min(tangent), high.max(tangent));
            seen.push((tangent, along, index));
        }
    }
    let scale = FACING as f64 / (high - low).max(1e-9);
    let mut nearest = [(f64::INFINITY, usize::MAX); FACING];
    for (tangent, along, index) in seen {
        let slot = &mut nearest[(((tangent - low) * scale) as i32).clamp(0, FACING as i32 - 1) as usize];
        if along < slot.0 {
            *slot = (along, index);
        }
    }
    nearest.into_iter().map(|(_, index)| index).filter(|index| *index != usize::MAX).collect()
}

/// Directions that are looked along side by side.
const LANES: usize = 4;
/// Points that are looked through again for the outermost one.
const CHUNK: usize = 32;

fn outermost(points: &[[f64; 2]]) -> Vec<usize> {
    let mut kept = Vec::with_capacity(OUTERMOST);
    for from in (0..OUTERMOST / 2).step_by(LANES) {
        let turn = |lane: usize| (std::f64::consts::PI * (from + lane) as f64 / (OUTERMOST / 2) as f64).sin_cos();
        let turns: [(f64, f64); LANES] = std::array::from_fn(turn);
        let (sin, cos) = (turns.map(|(sin, _)| sin), turns.map(|(_, cos)| cos));
        // Of each direction the least and the greatest value, and the first chunk that holds it.
        let (mut low, mut high) = ([(f64::INFINITY, 0); LANES], [(f64::NEG_INFINITY, 0); LANES]);
        for (chunk, points) in points.chunks(CHUNK).enumerate() {
            let (mut least, mut greatest) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
            for p in points {
                for lane in 0..LANES {
                    let value = p[0] * cos[lane] + p[1] * sin[lane];
                    least[lane] = if value < least[lane] { value } else { least[lane] };
                    greatest[lane] = if value > greatest[lane] { value } else { greatest[lane] };
                }
            }
            for lane in 0..LANES {
                if least[lane] < low[lane].0 {
                    low[lane] = (least[lane], chunk);
                }
                if greatest[lane] > high[lane].0 {
                    high[lane] = (greatest[lane], chunk);
                }
            }
        }
        for lane in 0..LANES {
            let first = |(end, chunk): (f64, usize)| {
                let mut rest = points.iter().skip(CHUNK * chunk);
                CHUNK * chunk + rest.position(|p| p[0] * cos[lane] + p[1] * sin[lane] == end).unwrap_or(0)
            };
            kept.extend([first(low[lane]), first(high[lane])]);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn the_outermost_are_the_first_ones_in_every_direction() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for count in [1, 31, 32, 33, 200] {
            // Coarse places, so that many are equally far out.
            let points: Vec<[f64; 2]> = (0..count).map(|_| [0, 1].map(|_| f64::from(rng.random_range(-8..8)) / 4.0)).collect();
            let kept = outermost(&points);
            assert_eq!(kept.len(), OUTERMOST);
            for (step, pair) in kept.chunks(2).enumerate() {
                let (sin, cos) = (std::f64::consts::PI * step as f64 / (OUTERMOST / 2) as f64).sin_cos();
                let along = |index: usize| points[index][0] * cos + points[index][1] * sin;
                let first = |better: fn(f64, f64) -> bool| {
                    (0..count).reduce(|best, next| if better(along(next), along(best)) { next } else { best })
                };
                assert_eq!([first(|a, b| a < b), first(|a, b| a > b)], [Some(pair[0]), Some(pair[1])], "{count} points, {step}");
            }
        }
    }
}
