//! The same object twice: of two tracks that stand in each other, the weaker one goes.

use boxwright_model::Cuboid;

use crate::metrics::{Rect, bev_iou};

use super::placed::Placed;

/// Share of the common sweeps in which two tracks must overlap to be one.
const COMMON_SHARE: f64 = 0.4;
/// BEV overlap from which two boxes cannot both be right.
const MAX_IOU: f64 = 0.15;

/// What has its centre this close to a box is a part of it: a mirror, a bumper (metres).
const PART_MARGIN_M: f64 = 0.3;

/// Drops every track that overlaps a stronger one. Strength is score times the number of sightings, so that a whole object wins over a part.
pub fn drop_weaker(placed: &mut Vec<Placed>) {
    let strength = |p: &Placed| p.score * (p.placements.len() as f64).sqrt() * p.placements[0].world_from_box.size_lwh_m.x.sqrt();
    let mut order: Vec<usize> = (0..placed.len()).collect();
    order.sort_by(|a, b| strength(&placed[*b]).total_cmp(&strength(&placed[*a])).then(a.cmp(b)));
    let mut kept: Vec<usize> = Vec::new();
    for index in order {
        if !kept.iter().any(|stronger| same(&placed[*stronger], &placed[index])) {
            kept.push(index);
        }
    }
    kept.sort_unstable();
    let mut index = 0;
    placed.retain(|_| {
        index += 1;
        kept.binary_search(&(index - 1)).is_ok()
    });
}

pub(super) fn same(stronger: &Placed, weaker: &Placed) -> bool {
    let (mut common, mut overlapping) = (0u32, 0u32);
    let mut others = stronger.placements.iter().peekable();
    for placement in &weaker.placements {
        while others.next_if(|other| other.sweep < placement.sweep).is_some() {}
        if let Some(other) = others.peek().filter(|other| other.sweep == placement.sweep) {
            common += 1;
            overlapping += u32::from(overlap(&other.world_from_box, &placement.world_from_box));
        }
    }
    // A parked object stands there also in the sweeps that saw only the other track. What comes after the last sweep of the one is the other's alone: if both
    // are one object they were joined, and if they were not, it is a label that nobody else has.
    if common == 0 && stronger.motion.is_static && weaker.motion.is_static {
        let ends = |p: &Placed| [p.placements[0].sweep, p.placements[p.placements.len() - 1].sweep];
        let ([a, b], [c, d]) = (ends(stronger), ends(weaker));
        return a < d && c < b && overlap(&stronger.placements[0].world_from_box, &weaker.placements[0].world_from_box);
    }
    f64::from(overlapping) > COMMON_SHARE * f64::from(common.max(1))
}

/// Whether two boxes cannot both be right, or the second is a part of the first.
pub(super) fn overlap(a: &Cuboid, b: &Cuboid) -> bool {
    stand_in_each_other(a, b, PART_MARGIN_M)
}

/// Whether two boxes cannot both be right: they overlap, or the centre of the second is in the first, or as close to it as `margin_m`.
pub(super) fn stand_in_each_other(a: &Cuboid, b: &Cuboid, margin_m: f64) -> bool {
    let center = [b.center_m.x, b.center_m.y];
    let mut around = Rect::of(a);
    around.half = around.half.map(|half| half + margin_m);
    bev_iou(a, b) > MAX_IOU || around.contains(center)
}
