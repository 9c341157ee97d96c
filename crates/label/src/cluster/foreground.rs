//! Persons who stand close before something: found by how much nearer they are than what is seen on both sides of them.
//!
//! Seen from above, a person at a hedge touches it with an elbow or a bag, and no grid parts the two. Seen from the lidar, head and shoulders
//! stand out: the range jumps at both of their sides. So the returns at shoulder height are parted in every direction where the range jumps, and what
//! lies in neighbouring directions without a jump is one piece (depth discontinuities, after Bogoslavskyi and Stachniss, "Fast range
//! image-based segmentation of sparse 3D laser scans", IROS 2016, here with all beams in one row so that no ring numbers are needed). More
//! than one piece can be seen in a direction: a person behind a parked car is seen above its roof.

use super::people::{MAX_PERSON_M, STANDING_M};
use super::{Bounds, Group};

/// Head and shoulders are between these heights above the ground; elbows and bags are below (metres).
const SHOULDERS_M: std::ops::Range<f32> = 1.1..2.2;
/// Hips and legs; elbows and bags are above (metres).
const LEGS_M: std::ops::Range<f32> = 0.3..0.9;
/// Longest stride, with what is carried beside it (metres).
const MAX_STRIDE_M: f32 = 1.2;
/// Directions that are told apart: 0.4 degrees are 0.2 metres at 30 metres, and two returns of common rigs.
const DIRECTIONS: usize = 900;
/// A range that grows by more than this from one direction to the next is a jump (metres): a body is no deeper from its middle to its sides.
const JUMP_M: f32 = 0.2;
/// One direction may be empty between two returns of a thing.
const MAX_STEP: isize = 2;
/// A person next to the lidar fills this many layers at most: a metre at half a metre's distance, 60 degrees; larger pieces are no persons.
const WIDEST_LAYERS: usize = 200;
/// Narrowest head and shoulders; what is narrower is a pole (metres).
const MIN_WIDTH_M: f32 = 0.15;
/// Arms and legs reach this far beyond the shoulders to each side (metres),
const LIMBS_M: f32 = 0.15;
/// and this far behind and before their nearest point (metres).
const BEHIND_M: f32 = 0.6;
const BEFORE_M: f32 = 0.2;
/// Beside a person, to this distance from the shoulders, little stands as near as the person (metres).
const BESIDE_M: f32 = 0.5;
/// As many points may stand there, as a part of the person's own.
const MAX_BESIDE: f32 = 0.5;
/// Lower than this above the ground something of a person is seen, the hips if something before it hides the legs (metres).
const HIPS_M: f32 = 1.0;
/// Fewest points at shoulder height, and of the whole person.
const MIN_SHOULDER_POINTS: usize = 3;
const MIN_POINTS: usize = 12;
/// Most persons that are taken out of one group: it bounds the work, and is the crowd that fits along a hedge of twice the pass's range.
const MAX_PERSONS: usize = 64;

/// One thing in one direction: the returns without a jump between them.
#[derive(Clone, Copy)]
struct Layer {
    direction: usize,
    /// Nearest and farthest return (metres).
    range_m: [f32; 2],
    points: usize,
    /// The piece that it is a part of: an earlier layer of it, or itself.
    parent: usize,
}

/// Head and shoulders before something: the direction of their middle, and their place along and across it.
struct Shoulders {
    /// Unit vector from the lidar.
    toward: [f32; 2],
    near_m: f32,
    directions: Vec<usize>,
    /// Least and greatest distance across `toward` (metres).
    across_m: [f32; 2],
}

/// Takes the persons out of a group that is no person itself. `origin` is where the lidar stands, `reach_m` the range of the pass.
/// `bounds` hold all of the group.
pub(super) fn take_out(
    group: &mut Group,
    bounds: &Bounds,
    points: &[[f32; 3]],
    above: &[f32],
    origin: [f32; 2],
    reach_m: f32,
) -> Vec<Group> {
    if bounds.is_beyond(origin, reach_m) {
        return Vec::new();
    }
    let shoulders = View::of(group, points, above, origin, &SHOULDERS_M).stand_out(reach_m);
    if shoulders.is_empty() {
        return Vec::new();
    }
    let legs = View::of(group, points, above, origin, &LEGS_M);
    let mut taken = Vec::new();
    for shoulders in shoulders.iter().filter(|shoulders| !legs.is_wide_below(shoulders)) {
        taken.extend(cut_out(group, shoulders, points, above, origin));
    }
    taken
}

fn direction(x: f32, y: f32) -> usize {
    let turn = y.atan2(x) / std::f32::consts::TAU + 0.5;
    ((turn * DIRECTIONS as f32).max(0.0) as usize).min(DIRECTIONS - 1)
}

/// The layers of a group at shoulder height, as the lidar sees them, joined to pieces.
struct View {
    /// Ordered by direction, then by range.
    layers: Vec<Layer>,
    /// Where the layers of each direction start, and the end.
    starts: Vec<usize>,
}

impl View {
    /// Of the returns of a group that are between two heights above the ground.
    fn of(group: &Group, points: &[[f32; 3]], above: &[f32], origin: [f32; 2], heights_m: &std::ops::Range<f32>) -> Self {
        let mut returns: Vec<(usize, f32)> = Vec::with_capacity(group.members.len());
        for member in group.members.iter().filter(|member| heights_m.contains(&above[**member as usize])) {
            let p = points[*member as usize];
            let (x, y) = (p[0] - origin[0], p[1] - origin[1]);
            returns.push((direction(x, y), (x * x + y * y).sqrt()));
        }
        // A counting sort by direction, and the few of each direction by range.
        let mut ends = [0usize; DIRECTIONS + 1];
        returns.iter().for_each(|(direction, _)| ends[*direction + 1] += 1);
        (0..DIRECTIONS).for_each(|direction| ends[direction + 1] += ends[direction]);
        let mut ranges = vec![0.0f32; returns.len()];
        for (direction, range) in returns {
            ranges[ends[direction]] = range;
            ends[direction] += 1;
        }
        let mut layers: Vec<Layer> = Vec::new();
        let (mut starts, mut from) = (Vec::with_capacity(DIRECTIONS + 1), 0);
        for (direction, end) in ends.into_iter().take(DIRECTIONS).enumerate() {
            starts.push(layers.len());
            let ranges = &mut ranges[from..end];
            from = end;
            ranges.sort_unstable_by(f32::total_cmp);
            for range in ranges {
                match layers.last_mut() {
                    Some(layer) if layer.direction == direction && *range - layer.range_m[1] <= JUMP_M => {
                        layer.range_m[1] = *range;
                        layer.points += 1;
                    }
                    _ => {
                        let parent = layers.len();
                        layers.push(Layer { direction, range_m: [*range; 2], points: 1, parent });
                    }
                }
            }
        }
        starts.push(layers.len());
        let mut view = Self { layers, starts };
        for index in 0..view.layers.len() {
            let direction = view.layers[index].direction;
            let next = view.beside(direction, 1);
            let next = if next.is_empty() { view.beside(direction, MAX_STEP) } else { next };
            for other in next {
                if view.adjoin(index, other) {
                    view.unite(index, other);
                }
            }
        }
        // A parent comes before its children: from here on every layer's is the first one of its piece.
        for index in 0..view.layers.len() {
            view.layers[index].parent = view.layers[view.layers[index].parent].parent;
        }
        view
    }

    /// The layers some directions on.
    fn beside(&self, direction: usize, steps: isize) -> std::ops::Range<usize> {
        let at = (direction as isize + steps).rem_euclid(DIRECTIONS as isize) as usize;
        self.starts[at]..self.starts[at + 1]
    }

    fn adjoin(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.layers[a].range_m, self.layers[b].range_m);
        a[0] <= b[1] + JUMP_M && b[0] <= a[1] + JUMP_M
    }

    fn root(&self, mut index: usize) -> usize {
        while self.layers[index].parent != index {
            index = self.layers[index].parent;
        }
        index
    }

    fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.layers[a.max(b)].parent = a.min(b);
    }

    /// The pieces that are a person wide and nearer than what is seen on both sides.
    fn stand_out(&self, reach_m: f32) -> Vec<Shoulders> {
        let mut of_piece: Vec<(usize, usize)> = (0..self.layers.len()).map(|index| (self.root(index), index)).collect();
        of_piece.sort_unstable();
        let pieces = of_piece.chunk_by(|a, b| a.0 == b.0).filter(|piece| piece.len() <= WIDEST_LAYERS);
        let layers = pieces.map(|piece| piece.iter().map(|(_, index)| &self.layers[*index]).collect::<Vec<_>>());
        layers
            .filter(|piece| self.is_before_something(piece))
            .filter_map(|piece| shoulders(&piece, reach_m))
            .take(MAX_PERSONS)
            .collect()
    }

    /// Whether what is below the shoulders is a part of something wider than a person: the door below a window.
    fn is_wide_below(&self, shoulders: &Shoulders) -> bool {
        let widest = (MAX_STRIDE_M / (shoulders.near_m * std::f32::consts::TAU / DIRECTIONS as f32)) as usize;
        let below = shoulders.directions.iter().flat_map(|direction| self.beside(*direction, 0));
        let near = below.filter(|index| (self.layers[*index].range_m[0] - shoulders.near_m).abs() < BEHIND_M);
        let mut roots: Vec<usize> = near.map(|index| self.root(index)).collect();
        roots.sort_unstable();
        roots.dedup();
        roots.into_iter().any(|root| {
            let mut directions: Vec<usize> = Vec::new();
            let (mut near_m, mut far_m) = (f32::INFINITY, 0.0f32);
            for index in (root..self.layers.len()).filter(|index| self.root(*index) == root) {
                let layer = &self.layers[index];
                directions.push(layer.direction);
                (near_m, far_m) = (near_m.min(layer.range_m[0]), far_m.max(layer.range_m[1]));
            }
            directions.dedup();
            // What is seen along its side is wide in depth.
            directions.len() > widest || far_m - near_m > MAX_STRIDE_M
        })
    }

    /// Whether something farther is seen on a side, and on the other side too where anything is: between two things that hide the rest, the rest
    /// is no person.
    fn is_before_something(&self, piece: &[&Layer]) -> bool {
        let far_m = piece.iter().fold(0.0f32, |far, layer| far.max(layer.range_m[1]));
        // Relative to the first layer, so that a piece across the seam is in one piece.
        let from = piece[0].direction;
        let offset =
            |layer: &&Layer| (layer.direction as isize - from as isize + DIRECTIONS as isize / 2).rem_euclid(DIRECTIONS as isize);
        let (first, last) = (piece.iter().map(offset).min().unwrap_or(0), piece.iter().map(offset).max().unwrap_or(0));
        let half = DIRECTIONS as isize / 2;
        let sides = [first - half, last - half].into_iter().zip([-1, 1]).map(|(end, sign)| {
            let seen = (1..=MAX_STEP).flat_map(|step| self.beside(from, end + sign * step));
            let (mut any, mut farther) = (false, false);
            for other in seen {
                any = true;
                farther |= self.layers[other].range_m[0] > far_m + JUMP_M;
            }
            (any, farther)
        });
        let (mut all, mut one) = (true, false);
        for (any, farther) in sides {
            all &= farther || !any;
            one |= farther;
        }
        all && one
    }
}

/// A piece as head and shoulders, where it can be that.
fn shoulders(piece: &[&Layer], reach_m: f32) -> Option<Shoulders> {
    let near_m = piece.iter().fold(f32::INFINITY, |near, layer| near.min(layer.range_m[0]));
    let far_m = piece.iter().fold(0.0f32, |far, layer| far.max(layer.range_m[1]));
    let points: usize = piece.iter().map(|layer| layer.points).sum();
    if points < MIN_SHOULDER_POINTS || near_m > reach_m || far_m - near_m > MAX_PERSON_M {
        return None;
    }
    let place = |layer: &Layer| {
        let turn = ((layer.direction as f32 + 0.5) / DIRECTIONS as f32 - 0.5) * std::f32::consts::TAU;
        [layer.range_m[0] * turn.cos(), layer.range_m[0] * turn.sin()]
    };
    let sum = piece.iter().fold([0.0f32; 2], |sum, layer| [sum[0] + place(layer)[0], sum[1] + place(layer)[1]]);
    let length = sum[0].hypot(sum[1]);
    if length <= 0.0 {
        return None;
    }
    let toward = [sum[0] / length, sum[1] / length];
    let half = near_m * std::f32::consts::PI / DIRECTIONS as f32;
    let mut across_m = [f32::INFINITY, f32::NEG_INFINITY];
    for layer in piece {
        let [x, y] = place(layer);
        let across = y * toward[0] - x * toward[1];
        across_m = [across_m[0].min(across - half), across_m[1].max(across + half)];
    }
    (MIN_WIDTH_M..=MAX_PERSON_M).contains(&(across_m[1] - across_m[0])).then(|| {
        let directions = piece.iter().map(|layer| layer.direction).collect();
        Shoulders { toward, near_m, directions, across_m }
    })
}

/// The group of the person who has these shoulders; nothing is taken where it is none.
fn cut_out(group: &mut Group, shoulders: &Shoulders, points: &[[f32; 3]], above: &[f32], origin: [f32; 2]) -> Option<Group> {
    let [tx, ty] = shoulders.toward;
    // Distance across beyond the shoulders, and along behind them, for what is about as near as them.
    let beyond = |member: u32| {
        let p = points[member as usize];
        let (x, y) = (p[0] - origin[0], p[1] - origin[1]);
        let (along, across) = (x * tx + y * ty - shoulders.near_m, y * tx - x * ty);
        let [low, high] = shoulders.across_m;
        (-BEFORE_M..BEHIND_M).contains(&along).then(|| ((low - across).max(across - high), along))
    };
    let (mut own, mut beside, mut top_m, mut bottom_m) = (0usize, 0usize, 0.0f32, f32::INFINITY);
    for member in &group.members {
        match beyond(*member) {
            Some((beyond_m, _)) if beyond_m <= LIMBS_M => {
                own += 1;
                top_m = top_m.max(above[*member as usize]);
                bottom_m = bottom_m.min(above[*member as usize]);
            }
            Some((beyond_m, along_m)) if beyond_m <= BESIDE_M && along_m < JUMP_M => beside += 1,
            _ => {}
        }
    }
    let alone = beside as f32 <= MAX_BESIDE * own as f32;
    if own < MIN_POINTS || !alone || !STANDING_M.contains(&top_m) || bottom_m > HIPS_M {
        return None;
    }
    let mut person =
        Group { members: Vec::with_capacity(own), label: group.label, tall: false, beside_tall: group.beside_tall, cut_out: false };
    group.members.retain(|member| {
        let is_own = beyond(*member).is_some_and(|(beyond_m, _)| beyond_m <= LIMBS_M);
        if is_own {
            person.members.push(*member);
        }
        !is_own
    });
    Some(person)
}

#[cfg(test)]
mod tests;
