//! The finer pass: parts persons who walk side by side.
//!
//! Shoulders and heads are apart where bags, arms and shadows join the columns. The upper bodies of a small group are put on a fine grid;
//! where they fall into two or more pieces, all of a person's width, the group is parted and every point goes to the nearest piece.

use super::{ClusterConfig, Group};

/// Groups longer than this are no handful of people (metres).
const MAX_EXTENT_M: f32 = 5.0;
/// Upper bodies stand between these heights above the ground (metres).
const UPPER_BODY_M: std::ops::Range<f32> = 0.9..2.1;
/// Widest upper body (metres).
const MAX_PERSON_M: f32 = 1.0;
/// Side of the fine grid's cells (metres).
const FINE_M: f32 = 0.1;
/// Fewest points of a piece.
const MIN_PIECE: usize = 5;
/// Centres of two persons are at least this far apart (metres).
const MIN_APART_M: f32 = 0.45;
const SIDE: usize = (MAX_EXTENT_M / FINE_M) as usize + 2;

/// Replaces each group that is several persons by one group a person.
pub(super) fn part(groups: &mut Vec<Group>, points: &[[f32; 3]], above: &[f32], origin: [f32; 2], config: &ClusterConfig) {
    let mut parted = Vec::with_capacity(groups.len());
    for group in groups.drain(..) {
        match pieces(&group, points, above, origin, config) {
            Some(centers) => parted.extend(assign(&group, points, &centers, config.min_points as usize)),
            None => parted.push(group),
        }
    }
    *groups = parted;
}

fn pieces(group: &Group, points: &[[f32; 3]], above: &[f32], origin: [f32; 2], config: &ClusterConfig) -> Option<Vec<[f32; 2]>> {
    if group.tall || group.members.len() < 2 * MIN_PIECE {
        return None;
    }
    let (mut low, mut high, mut top) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2], 0.0f32);
    for member in &group.members {
        let p = points[*member as usize];
        for axis in 0..2 {
            low[axis] = low[axis].min(p[axis]);
            high[axis] = high[axis].max(p[axis]);
        }
        top = top.max(above[*member as usize]);
    }
    let extent = (high[0] - low[0]).max(high[1] - low[1]);
    let range = (low[0] - origin[0]).hypot(low[1] - origin[1]);
    if !(0.8..MAX_EXTENT_M).contains(&extent) || !(1.2..2.2).contains(&top) || range > config.people_range_m as f32 {
        return None;
    }
    // Neighbouring returns on a body are about 3.5 milliradians apart for common rigs; farther out a cell may stay empty between them.
    let reach = if range < 15.0 { 1 } else { 2 };
    let mut upper: Vec<[f32; 2]> = Vec::with_capacity(group.members.len());
    upper.extend(
        group
            .members
            .iter()
            .filter(|m| UPPER_BODY_M.contains(&above[**m as usize]))
            .map(|m| [points[*m as usize][0], points[*m as usize][1]]),
    );
    let centers = persons(&upper, low, reach)?;
    let apart = |a: &[f32; 2], b: &[f32; 2]| (a[0] - b[0]).hypot(a[1] - b[1]) >= MIN_APART_M;
    let all_apart = centers.iter().enumerate().all(|(i, a)| centers[i + 1..].iter().all(|b| apart(a, b)));
    (centers.len() >= 2 && all_apart).then_some(centers)
}

/// Centres of the pieces of the upper bodies, or `None` where one of them is wider than a person.
fn persons(upper: &[[f32; 2]], low: [f32; 2], reach: i32) -> Option<Vec<[f32; 2]>> {
    let cell = |p: &[f32; 2]| {
        let clamp = |v: f32| ((v / FINE_M).max(0.0) as usize).min(SIDE - 1);
        clamp(p[1] - low[1]) * SIDE + clamp(p[0] - low[0])
    };
    let mut filled = vec![false; SIDE * SIDE];
    upper.iter().for_each(|p| filled[cell(p)] = true);
    let piece_of = flood(&filled, reach);
    let count = piece_of.iter().copied().max().unwrap_or(0) as usize;
    let mut found = Vec::new();
    for piece in 1..=count {
        let members: Vec<&[f32; 2]> = upper.iter().filter(|p| piece_of[cell(p)] as usize == piece).collect();
        if members.len() < MIN_PIECE {
            continue;
        }
        let bound =
            |axis: usize| members.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), p| (a.min(p[axis]), b.max(p[axis])));
        let ((x0, x1), (y0, y1)) = (bound(0), bound(1));
        if x1 - x0 > MAX_PERSON_M || y1 - y0 > MAX_PERSON_M {
            return None;
        }
        found.push([f32::midpoint(x0, x1), f32::midpoint(y0, y1)]);
    }
    Some(found)
}

/// Numbers the connected pieces of a grid from 1; zero is empty.
fn flood(filled: &[bool], reach: i32) -> Vec<u32> {
    let mut piece_of = vec![0u32; filled.len()];
    let mut pieces = 0;
    let mut open = Vec::new();
    for start in 0..filled.len() {
        if !filled[start] || piece_of[start] != 0 {
            continue;
        }
        pieces += 1;
        piece_of[start] = pieces;
        open.push(start);
        while let Some(cell) = open.pop() {
            let (cx, cy) = ((cell % SIDE) as i32, (cell / SIDE) as i32);
            for (dx, dy) in (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy))) {
                let (x, y) = (cx + dx, cy + dy);
                if x < 0 || y < 0 || x >= SIDE as i32 || y >= SIDE as i32 {
                    continue;
                }
                let next = y as usize * SIDE + x as usize;
                if filled[next] && piece_of[next] == 0 {
                    piece_of[next] = pieces;
                    open.push(next);
                }
            }
        }
    }
    piece_of
}

fn assign(group: &Group, points: &[[f32; 3]], centers: &[[f32; 2]], min_points: usize) -> Vec<Group> {
    let mut parts =
        vec![Group { members: Vec::new(), label: group.label, tall: false, beside_tall: group.beside_tall }; centers.len()];
    for member in &group.members {
        let p = points[*member as usize];
        let distance = |c: &[f32; 2]| (c[0] - p[0]).hypot(c[1] - p[1]);
        let nearest = (0..centers.len()).min_by(|a, b| distance(&centers[*a]).total_cmp(&distance(&centers[*b])));
        if let Some(part) = nearest.and_then(|nearest| parts.get_mut(nearest)) {
            part.members.push(*member);
        }
    }
    parts.retain(|part| part.members.len() >= min_points);
    parts
}
