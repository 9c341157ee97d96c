//! Voxels: an index by cell that knows no chance, downsampling, and the local map.
//!
//! The index is an open-addressing table over a list in order of insertion. Nothing here walks a hash table, so the order of points, and
//! with it every sum, is that of the input.

use nalgebra::{Point3, Vector3};

/// A cell: coordinates divided by the side of a voxel and rounded down.
pub(crate) type Cell = [i32; 3];

/// The cell of a point. Points are within [`crate::MAX_COORDINATE_M`] of the origin, far inside 32 bits for sides of a centimetre and more.
#[inline]
pub(crate) fn cell_of(point: [f64; 3], per_side: f64) -> Cell {
    point.map(|value| (value * per_side).floor() as i32)
}

/// A free slot of the index.
const FREE: u32 = u32::MAX;

/// From cells to places in a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct CellIndex {
    /// Power of two, at most half full.
    slots: Vec<(Cell, u32)>,
    len: usize,
}

impl CellIndex {
    /// Forgets everything and makes room for so many cells.
    pub(crate) fn reset(&mut self, cells: usize) {
        let slots = (2 * cells.max(8)).next_power_of_two();
        self.slots.clear();
        self.slots.resize(slots, ([0; 3], FREE));
        self.len = 0;
    }

    #[inline]
    fn slot(&self, cell: Cell) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash(cell) as usize & mask;
        while self.slots[at].1 != FREE && self.slots[at].0 != cell {
            at = (at + 1) & mask;
        }
        at
    }

    /// The place of a cell.
    #[inline]
    pub(crate) fn get(&self, cell: Cell) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let place = self.slots[self.slot(cell)].1;
        (place != FREE).then_some(place as usize)
    }

    /// The place of a cell, and whether it is new: a new one gets `place`.
    #[inline]
    pub(crate) fn get_or_insert(&mut self, cell: Cell, place: usize) -> (usize, bool) {
        if 2 * (self.len + 1) > self.slots.len() {
            self.grow();
        }
        let slot = self.slot(cell);
        if self.slots[slot].1 != FREE {
            return (self.slots[slot].1 as usize, false);
        }
        self.slots[slot] = (cell, place as u32);
        self.len += 1;
        (place, true)
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.reset(self.len.max(8) * 2);
        for (cell, place) in old.into_iter().filter(|(_, place)| *place != FREE) {
            let slot = self.slot(cell);
            self.slots[slot] = (cell, place);
            self.len += 1;
        }
    }
}

/// Multiplies by odd constants of 64 bits and folds: neighbouring cells fall far apart.
#[inline]
fn hash(cell: Cell) -> u64 {
    let [x, y, z] = cell.map(|value| u64::from(value as u32));
    let mixed =
        x.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ y.wrapping_mul(0xc2b2_ae3d_27d4_eb4f) ^ z.wrapping_mul(0x1656_67b1_9e37_79f9);
    mixed ^ (mixed >> 29) ^ (mixed >> 47)
}

/// Keeps the first point of every voxel with this side, in order.
pub(crate) fn downsample(points: &[[f32; 3]], side_m: f64, index: &mut CellIndex, out: &mut Vec<[f32; 3]>) {
    index.reset(points.len() / 4);
    out.clear();
    for point in points {
        if index.get_or_insert(cell_of(point.map(f64::from), 1.0 / side_m), out.len()).1 {
            out.push(*point);
        }
    }
}

/// Most points of a voxel. Twenty a cubic metre is what the paper uses; more sharpens nothing that ICP sees.
pub(crate) const POINTS_PER_VOXEL: usize = 20;

/// Most voxels of the map: 33 MB with their points, and four times what a street needs within 100 m. Beyond, places that are new are not taken
/// until old ones are out of range.
pub(crate) const MAX_VOXELS: usize = 1 << 17;

/// Points of one voxel relative to its least corner, by coordinate. Unused places lie at infinity.
#[derive(Clone, Debug)]
struct Voxel {
    cell: Cell,
    len: u32,
    x: [f32; POINTS_PER_VOXEL],
    y: [f32; POINTS_PER_VOXEL],
    z: [f32; POINTS_PER_VOXEL],
}

impl Voxel {
    fn new(cell: Cell) -> Self {
        Self { cell, len: 0, x: [f32::INFINITY; _], y: [f32::INFINITY; _], z: [f32::INFINITY; _] }
    }

    /// Squared distance and place of the nearest point; infinite without points.
    #[inline]
    fn nearest(&self, query: [f32; 3]) -> (f32, usize) {
        let mut squared = [0.0_f32; POINTS_PER_VOXEL];
        for (at, squared) in squared.iter_mut().enumerate() {
            let (dx, dy, dz) = (self.x[at] - query[0], self.y[at] - query[1], self.z[at] - query[2]);
            *squared = dx * dx + dy * dy + dz * dz;
        }
        let mut best = (f32::INFINITY, 0);
        for (at, squared) in squared.iter().enumerate() {
            if *squared < best.0 {
                best = (*squared, at);
            }
        }
        best
    }
}

/// A cell's neighbours, the nearest kinds first: the cell itself, faces, edges, corners.
const NEIGHBOURS: [Cell; 27] = neighbours();

const fn neighbours() -> [Cell; 27] {
    let mut found = [[0; 3]; 27];
    let (mut count, mut steps) = (0, 0);
    while steps <= 3 {
        let mut code = 0;
        while code < 27 {
            let cell = [code / 3 / 3 - 1, code / 3 % 3 - 1, code % 3 - 1];
            if cell[0] * cell[0] + cell[1] * cell[1] + cell[2] * cell[2] == steps {
                found[count] = cell;
                count += 1;
            }
            code += 1;
        }
        steps += 1;
    }
    found
}

/// What the vehicle has seen about it, in the world of the clip. Bounded by range and by [`MAX_VOXELS`].
#[derive(Clone, Debug)]
pub(crate) struct VoxelMap {
    side_m: f64,
    range_m: f64,
    index: CellIndex,
    voxels: Vec<Voxel>,
    /// Where the map was last cut to its range.
    cut_at: Option<Vector3<f64>>,
}

impl VoxelMap {
    pub(crate) fn new(side_m: f64, range_m: f64) -> Self {
        Self { side_m, range_m, index: CellIndex::default(), voxels: Vec::new(), cut_at: None }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.side_m, self.range_m);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.voxels.len()
    }

    #[cfg(test)]
    pub(crate) fn points(&self) -> usize {
        self.voxels.iter().map(|voxel| voxel.len as usize).sum()
    }

    /// Squared distance in metres and place of the map's point nearest to `query`, among those of its voxel and the 26 about it and nearer
    /// than `max_squared_m2`.
    #[inline]
    pub(crate) fn nearest(&self, query: &Point3<f64>, max_squared_m2: f32) -> Option<(f32, Point3<f64>)> {
        let cell = cell_of([query.x, query.y, query.z], 1.0 / self.side_m);
        let corner = cell.map(|at| f64::from(at) * self.side_m);
        let within = [query.x - corner[0], query.y - corner[1], query.z - corner[2]].map(|value| value as f32);
        let side = self.side_m as f32;
        // Squared distance to the slab of cells at -1, 0 and +1 along each axis.
        let slabs = within.map(|value| [value * value, 0.0, (side - value) * (side - value)]);
        let mut best = (max_squared_m2, None);
        for step in NEIGHBOURS {
            let least = slabs[0][(step[0] + 1) as usize] + slabs[1][(step[1] + 1) as usize] + slabs[2][(step[2] + 1) as usize];
            if least >= best.0 {
                continue;
            }
            let Some(place) = self.index.get([cell[0] + step[0], cell[1] + step[1], cell[2] + step[2]]) else { continue };
            let from_its_corner: [f32; 3] = std::array::from_fn(|axis| within[axis] - step[axis] as f32 * side);
            let (squared, at) = self.voxels[place].nearest(from_its_corner);
            if squared < best.0 {
                best = (squared, Some((place, at)));
            }
        }
        let (place, at) = best.1?;
        let voxel = &self.voxels[place];
        let point = [voxel.x[at], voxel.y[at], voxel.z[at]];
        let world: [f64; 3] = std::array::from_fn(|axis| f64::from(voxel.cell[axis]) * self.side_m + f64::from(point[axis]));
        Some((best.0, Point3::from(world)))
    }

    /// Adds a point unless its voxel is full or has one nearer than the spacing that fills a face of it evenly.
    pub(crate) fn add(&mut self, point: &Point3<f64>) {
        let cell = cell_of([point.x, point.y, point.z], 1.0 / self.side_m);
        let place = if self.voxels.len() < MAX_VOXELS {
            let (place, is_new) = self.index.get_or_insert(cell, self.voxels.len());
            if is_new {
                self.voxels.push(Voxel::new(cell));
            }
            place
        } else {
            let Some(place) = self.index.get(cell) else { return };
            place
        };
        let spacing_m = self.side_m / (POINTS_PER_VOXEL as f64).sqrt();
        let voxel = &mut self.voxels[place];
        let at = voxel.len as usize;
        let corner = cell.map(|at| f64::from(at) * self.side_m);
        let within = [point.x - corner[0], point.y - corner[1], point.z - corner[2]].map(|value| value as f32);
        if at == POINTS_PER_VOXEL || f64::from(voxel.nearest(within).0) < spacing_m * spacing_m {
            return;
        }
        (voxel.x[at], voxel.y[at], voxel.z[at]) = (within[0], within[1], within[2]);
        voxel.len += 1;
    }

    /// Lets go of what is out of range, once the vehicle has gone a twentieth of the range since the last time: what is kept reaches at most that
    /// much farther.
    pub(crate) fn cut(&mut self, center: &Vector3<f64>) {
        let enough_m = self.range_m / 20.0;
        if self.cut_at.is_some_and(|at| (at - center).norm() < enough_m) && self.voxels.len() < MAX_VOXELS {
            return;
        }
        self.cut_at = Some(*center);
        let (side_m, range_m) = (self.side_m, self.range_m);
        let middle = |cell: Cell| Vector3::from(cell.map(|at| (f64::from(at) + 0.5) * side_m));
        self.voxels.retain(|voxel| (middle(voxel.cell) - center).norm_squared() < range_m * range_m);
        self.index.reset(self.voxels.len());
        for (place, voxel) in self.voxels.iter().enumerate() {
            self.index.get_or_insert(voxel.cell, place);
        }
    }
}
