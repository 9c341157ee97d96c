//! The finer pass: parts persons who walk side by side.
//!
//! Shoulders and heads are apart where bags, arms and shadows join the columns. The upper bodies of a small group are put on a fine grid;
//! where they fall into two or more pieces, all of a person's width, the group is parted and every point goes to the nearest piece. Out of
//! larger groups (a hedge, a low wall, a row of cars) upper bodies of a person's width are taken that have room about them.

use super::{Bounds, ClusterConfig, Group, foreground};

/// Groups longer than this are no handful of people (metres).
const MAX_EXTENT_M: f32 = 5.0;
/// A van is no longer; persons are looked for before what is (metres).
const LONGEST_VAN_M: f32 = 6.5;
/// Upper bodies stand between these heights above the ground (metres).
const UPPER_BODY_M: std::ops::Range<f32> = 0.9..2.1;
/// Where the heads of persons are above the ground (metres).
pub(super) const STANDING_M: std::ops::Range<f32> = 1.2..2.2;
/// Widest upper body (metres).
pub(super) const MAX_PERSON_M: f32 = 1.0;
/// Side of the fine grid's cells (metres).
const FINE_M: f32 = 0.1;
/// Cells along a side of the grid over one group.
const SIDE: usize = (MAX_EXTENT_M / FINE_M) as usize + 2;
/// Fewest points of a piece.
const MIN_PIECE: usize = 5;
/// Centres of two persons are at least this far apart (metres).
const MIN_APART_M: f32 = 0.45;
/// Most cells of the fine grid along a side: 60 metres, twice the range of the pass.
const MAX_SIDE: usize = 600;
/// What stands this near to the middle of a person is on the person (metres).
const PERSON_RADIUS_M: f32 = 0.5;
/// Between that and this distance there is room about a person who stands apart (metres).
const ROOM_RADIUS_M: f32 = 0.8;
/// How many points may stand in that room, as a part of the person's own: one more person beside it, but no hedge.
const MAX_CROWDED: f32 = 1.0;
/// Fewest points of a person who is taken out of something larger.
const MIN_APART_POINTS: usize = 12;

/// Replaces each group that is several persons by one group a person, and takes persons out of groups that are larger than that. `bounds`
/// are those of the groups.
pub(super) fn part(
    groups: &mut Vec<Group>,
    bounds: &[Bounds],
    points: &[[f32; 3]],
    above: &[f32],
    origin: [f32; 2],
    config: &ClusterConfig,
) {
    let mut parted = Vec::with_capacity(groups.len());
    let mut upper = Upper::default();
    for (mut group, bounds) in groups.drain(..).zip(bounds) {
        if let Some(centers) = pieces(&group, bounds, points, above, origin, config) {
            parted.extend(assign(&group, points, &centers, config.min_points as usize));
        } else {
            let mut apart = take_out(&mut group, bounds, &mut upper, points, above, origin, config);
            let is_long = |extent_m: f32| extent_m > LONGEST_VAN_M;
            // What is left may be shorter.
            if !group.tall
                && is_long(bounds.extent_m())
                && (apart.is_empty() || is_long(Bounds::of_group(&group, points).extent_m()))
            {
                apart.extend(foreground::take_out(&mut group, bounds, points, above, origin, config.people_range_m as f32));
            }
            if group.members.len() >= config.min_points as usize {
                parted.push(group);
            }
            parted.extend(apart);
        }
    }
    *groups = parted;
}

/// The upper bodies of a group on the fine grid.
#[derive(Default)]
struct Upper {
    /// How many points each cell holds.
    count: Vec<u16>,
    /// Whether a cell is in a piece already.
    seen: Vec<bool>,
    /// The cells that hold any, in order.
    filled: Vec<u32>,
}

impl Upper {
    /// Empties the grid and makes room for some cells.
    fn clear(&mut self, cells: usize) {
        for cell in self.filled.drain(..) {
            self.count[cell as usize] = 0;
            self.seen[cell as usize] = false;
        }
        if self.count.len() < cells {
            self.count.resize(cells, 0);
            self.seen.resize(cells, false);
        }
    }

    fn add(&mut self, cell: usize) {
        if self.count[cell] == 0 {
            self.filled.push(cell as u32);
        }
        self.count[cell] = self.count[cell].saturating_add(1);
    }
}

/// Persons who stand at a hedge, a low wall or a row of cars: upper bodies of a person's width with room about them.
fn take_out(
    group: &mut Group,
    bounds: &Bounds,
    upper: &mut Upper,
    points: &[[f32; 3]],
    above: &[f32],
    origin: [f32; 2],
    config: &ClusterConfig,
) -> Vec<Group> {
    let near = config.people_range_m as f32;
    // Two cells are more than the rounding of the grid over it.
    let is_small = bounds.extent_m() < MAX_EXTENT_M - 2.0 * FINE_M;
    if group.tall || group.members.len() < 4 * MIN_APART_POINTS || is_small || bounds.is_beyond(origin, near) {
        return Vec::new();
    }
    let place = |member: &u32| [points[*member as usize][0], points[*member as usize][1]];
    let within = |p: &[f32; 2]| (p[0] - origin[0]).abs() < near && (p[1] - origin[1]).abs() < near;
    let Some(grid) = Fine::over(group.members.iter().map(place).filter(within)) else { return Vec::new() };
    if grid.reach_m() < MAX_EXTENT_M {
        return Vec::new();
    }
    upper.clear(grid.cells());
    for member in &group.members {
        if UPPER_BODY_M.contains(&above[*member as usize]) {
            let p = place(member);
            if within(&p) {
                upper.add(grid.cell(&p));
            }
        }
    }
    upper.filled.sort_unstable();
    let centers: Vec<[f32; 2]> =
        grid.narrow_pieces(upper, origin).into_iter().filter(|center| grid.has_room(&upper.count, *center)).collect();
    if centers.is_empty() {
        return Vec::new();
    }
    let mut owner = vec![0u16; grid.cells()];
    let mut persons = 0;
    for center in centers {
        persons += 1;
        grid.around(center, PERSON_RADIUS_M).for_each(|cell| owner[cell] = persons);
    }
    let empty = Group { members: Vec::new(), label: group.label, tall: false, beside_tall: group.beside_tall, cut_out: false };
    let mut taken = vec![empty; usize::from(persons)];
    let (mut top, mut low) = (vec![0.0f32; taken.len()], vec![false; taken.len()]);
    let owner_of = |member: &u32| {
        let p = place(member);
        within(&p).then(|| usize::from(owner[grid.cell(&p)])).and_then(|owner| owner.checked_sub(1))
    };
    for member in &group.members {
        if let Some(person) = owner_of(member) {
            taken[person].members.push(*member);
            top[person] = top[person].max(above[*member as usize]);
            low[person] |= above[*member as usize] < UPPER_BODY_M.start;
        }
    }
    let is_person =
        |person: usize| taken[person].members.len() >= MIN_APART_POINTS && low[person] && STANDING_M.contains(&top[person]);
    let good: Vec<bool> = (0..taken.len()).map(is_person).collect();
    group.members.retain(|member| owner_of(member).is_none_or(|person| !good[person]));
    let mut good = good.into_iter();
    taken.retain(|_| good.next().unwrap_or(false));
    taken
}

/// A fine grid over some points seen from above.
struct Fine {
    low: [f32; 2],
    size: [usize; 2],
}

impl Fine {
    fn over(points: impl Iterator<Item = [f32; 2]>) -> Option<Self> {
        let Bounds { low, high } = Bounds::of(points);
        let side = |axis: usize| (((high[axis] - low[axis]) / FINE_M).max(0.0) as usize + 1).min(MAX_SIDE);
        low[0].is_finite().then(|| Self { low, size: [side(0), side(1)] })
    }

    fn cells(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn reach_m(&self) -> f32 {
        self.size[0].max(self.size[1]) as f32 * FINE_M
    }

    fn cell(&self, p: &[f32; 2]) -> usize {
        let last = |axis: usize| self.size[axis] as i32 - 1;
        let along = |axis: usize| (((p[axis] - self.low[axis]) / FINE_M) as i32).clamp(0, last(axis)) as usize;
        along(1) * self.size[0] + along(0)
    }

    /// Cells whose middle is within a radius of a place.
    fn around(&self, center: [f32; 2], radius_m: f32) -> impl Iterator<Item = usize> + '_ {
        let steps = (radius_m / FINE_M).ceil() as i32;
        let at = |axis: usize| ((center[axis] - self.low[axis]) / FINE_M) as i32;
        let (cx, cy) = (at(0), at(1));
        let cells = (-steps..=steps).flat_map(move |dy| (-steps..=steps).map(move |dx| (dx, dy)));
        let limit = (radius_m / FINE_M).powi(2);
        cells.filter(move |(dx, dy)| (dx * dx + dy * dy) as f32 <= limit).filter_map(move |(dx, dy)| {
            let (x, y) = (usize::try_from(cx + dx).ok()?, usize::try_from(cy + dy).ok()?);
            (x < self.size[0] && y < self.size[1]).then_some(y * self.size[0] + x)
        })
    }

    /// Whether little stands as high as the person's upper body about it.
    fn has_room(&self, count: &[u16], center: [f32; 2]) -> bool {
        let sum = |radius: f32| self.around(center, radius).map(|cell| f32::from(count[cell])).sum::<f32>();
        let own = sum(PERSON_RADIUS_M);
        sum(ROOM_RADIUS_M) - own <= MAX_CROWDED * own
    }

    /// Middles of the connected pieces of filled cells that are as narrow as a person.
    fn narrow_pieces(&self, upper: &mut Upper, origin: [f32; 2]) -> Vec<[f32; 2]> {
        let Upper { count, seen, filled } = upper;
        let place = |cell: u32| ((cell % self.size[0] as u32) as usize, (cell / self.size[0] as u32) as usize);
        let mut found = Vec::new();
        let mut piece = Vec::new();
        for start in filled.iter() {
            if seen[*start as usize] {
                continue;
            }
            seen[*start as usize] = true;
            piece.push(*start);
            let (x, y) = place(*start);
            let range = (self.low[0] + x as f32 * FINE_M - origin[0]).hypot(self.low[1] + y as f32 * FINE_M - origin[1]);
            let reach = reach_at(range);
            let (mut bound, mut next) = ([[x, x], [y, y]], 0);
            while let Some(cell) = piece.get(next).copied() {
                next += 1;
                let (x, y) = place(cell);
                bound = [[bound[0][0].min(x), bound[0][1].max(x)], [bound[1][0].min(y), bound[1][1].max(y)]];
                for ny in y.saturating_sub(reach)..=(y + reach).min(self.size[1] - 1) {
                    for nx in x.saturating_sub(reach)..=(x + reach).min(self.size[0] - 1) {
                        let around = ny * self.size[0] + nx;
                        if count[around] > 0 && !seen[around] {
                            seen[around] = true;
                            piece.push(around as u32);
                        }
                    }
                }
            }
            piece.clear();
            let extent = |axis: usize| (bound[axis][1] - bound[axis][0] + 1) as f32 * FINE_M;
            if extent(0).max(extent(1)) <= MAX_PERSON_M && extent(0).max(extent(1)) >= 2.0 * FINE_M {
                let middle = |axis: usize| self.low[axis] + (bound[axis][0] + bound[axis][1] + 1) as f32 * FINE_M / 2.0;
                found.push([middle(0), middle(1)]);
            }
        }
        found
    }
}

/// Neighbouring returns on a body are about 3.5 milliradians apart for common rigs; farther out a cell may stay empty between them.
fn reach_at(range_m: f32) -> usize {
    if range_m < 15.0 { 1 } else { 2 }
}

fn pieces(
    group: &Group,
    bounds: &Bounds,
    points: &[[f32; 3]],
    above: &[f32],
    origin: [f32; 2],
    config: &ClusterConfig,
) -> Option<Vec<[f32; 2]>> {
    let low = bounds.low;
    let range = (low[0] - origin[0]).hypot(low[1] - origin[1]);
    let is_size = (0.8..MAX_EXTENT_M).contains(&bounds.extent_m());
    if group.tall || group.members.len() < 2 * MIN_PIECE || !is_size || range > config.people_range_m as f32 {
        return None;
    }
    let top = group.members.iter().fold(0.0f32, |top, member| top.max(above[*member as usize]));
    if !STANDING_M.contains(&top) {
        return None;
    }
    let reach = reach_at(range) as i32;
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
        let clamp = |v: f32| ((v / FINE_M) as i32).clamp(0, SIDE as i32 - 1) as usize;
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
        vec![
            Group { members: Vec::new(), label: group.label, tall: false, beside_tall: group.beside_tall, cut_out: false };
            centers.len()
        ];
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
