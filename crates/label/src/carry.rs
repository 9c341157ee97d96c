//! Things that are known to move are seen as they were at one moment.
//!
//! Where a sweep begins it also ends, a whole turn later: what stands across that seam is seen half as it was and half as it is 100 ms
//! later, torn apart or pushed together by 3 m at 30 m/s. Of a thing whose track knows its velocity the points are carried to the median of
//! their moments, before they are grouped. What the beam passes quickly stays as it is: the little that is left is taken out when the clip
//! ends and velocities are known better ([`crate::clip::moving`]).

use boxwright_model::Cuboid;

/// Something that moves, as its track expects it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mover {
    /// Where it is expected at the sample's stamp, ego frame.
    pub ego_from_box: Cuboid,
    /// Its velocity over ground along the axes of the ego frame (m/s).
    pub velocity_mps: [f64; 2],
}

/// Points this far outside of where a thing is expected are still its own (metres): what a track does not know of its place and size.
const MARGIN_M: f64 = 0.6;
/// A thing that moves by less while its points are measured stays as it is (metres): half a column of the grid that groups points.
const LEAST_SHIFT_M: f64 = 0.1;

/// What was carried.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Carried {
    /// Ordered by point.
    points: Vec<CarriedPoint>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct CarriedPoint {
    point: u32,
    by_m: [f32; 2],
    /// The moment that its thing was carried to, relative to the sample's stamp.
    to_ns: i64,
}

impl Carried {
    /// How far a point was carried (metres).
    #[must_use]
    pub fn by_m(&self, point: u32) -> [f32; 2] {
        self.find(point).map_or([0.0; 2], |carried| carried.by_m)
    }

    /// The moment that most of a group's points were carried to, relative to the sample's stamp; `None` where most were not.
    #[must_use]
    pub fn moment_of(&self, members: &[u32]) -> Option<i64> {
        if self.points.is_empty() {
            return None;
        }
        let mut moments: Vec<i64> = members.iter().filter_map(|member| Some(self.find(*member)?.to_ns)).collect();
        if 2 * moments.len() < members.len().max(1) {
            return None;
        }
        moments.sort_unstable();
        moments.get(moments.len() / 2).copied()
    }

    fn find(&self, point: u32) -> Option<&CarriedPoint> {
        self.points.binary_search_by_key(&point, |carried| carried.point).ok().map(|at| &self.points[at])
    }
}

/// Carries the points of the movers, in place. `after_ns` has the time of each point relative to the stamp; points lower than `band_m` above
/// the ground are ground and stay.
#[must_use]
pub fn carry(
    points: &mut [[f32; 3]],
    height_above_m: &[f32],
    band_m: f64,
    after_ns: impl Fn(u32) -> Option<i32>,
    movers: &[Mover],
) -> Carried {
    let mut carried: Vec<CarriedPoint> = Vec::new();
    if movers.is_empty() {
        return Carried::default();
    }
    let Some(longest_s) = longest_s(height_above_m, band_m as f32, &after_ns) else { return Carried::default() };
    let timed = Timed::of(points, height_above_m, band_m as f32, &after_ns, &About::of(movers, longest_s));
    for mover in movers {
        let own = timed.points_of(mover);
        let mut moments: Vec<i32> = own.iter().map(|(_, after)| *after).collect();
        moments.sort_unstable();
        let (Some(first), Some(last), Some(median)) = (moments.first(), moments.last(), moments.get(moments.len() / 2)) else {
            continue;
        };
        let [vx, vy] = mover.velocity_mps;
        if vx.hypot(vy) * f64::from(last.abs_diff(*first)) * 1e-9 < LEAST_SHIFT_M {
            continue;
        }
        for (point, after) in own {
            let seconds = (f64::from(*median) - f64::from(after)) * 1e-9;
            let by_m = [(vx * seconds) as f32, (vy * seconds) as f32];
            carried.push(CarriedPoint { point, by_m, to_ns: i64::from(*median) });
        }
    }
    // A point within the reach of two things goes with the first one.
    carried.sort_by_key(|carried| carried.point);
    carried.dedup_by_key(|carried| carried.point);
    for CarriedPoint { point, by_m, .. } in &carried {
        let p = &mut points[*point as usize];
        (p[0], p[1]) = (p[0] + by_m[0], p[1] + by_m[1]);
    }
    Carried { points: carried }
}

/// One point above the ground.
struct TimedPoint {
    index: u32,
    xy: [f32; 2],
    above_m: f32,
    after_ns: i32,
}

/// The points above the ground near movers and their moments, in strips along x, so that a mover looks only at those about it.
struct Timed {
    points: Vec<TimedPoint>,
    /// The points strip by strip.
    order: Vec<u32>,
    /// Where the points of each strip start, and the end.
    starts: Vec<usize>,
    /// Least x of the first strip.
    low_m: f32,
    /// The largest time from the sample's stamp (seconds).
    longest_s: f64,
}

/// Width of a strip (metres): about a mover's length.
const STRIP_M: f32 = 4.0;
/// Most strips: those of the farthest range; what lies beyond is in the last one.
const MAX_STRIPS: usize = 128;

/// The largest time of a point above the ground from the sample's stamp (seconds); `None` where one bears no time: then nothing can be
/// carried.
fn longest_s(height_above_m: &[f32], band_m: f32, after_ns: &impl Fn(u32) -> Option<i32>) -> Option<f64> {
    let mut longest_ns = 0u32;
    for (index, above_m) in (0u32..).zip(height_above_m) {
        if *above_m >= band_m {
            longest_ns = longest_ns.max(after_ns(index)?.unsigned_abs());
        }
    }
    Some(f64::from(longest_ns) * 1e-9)
}

/// Squares of a coarse grid about the movers: a point elsewhere is nobody's.
struct About {
    low_m: [f32; 2],
    near: Vec<bool>,
}

/// Squares along a side of that grid; what lies beyond is in the last one.
const SQUARES: usize = MAX_STRIPS;

impl About {
    fn of(movers: &[Mover], longest_s: f64) -> Self {
        let reaches = |mover: &Mover| {
            let half = [mover.ego_from_box.size_lwh_m.x, mover.ego_from_box.size_lwh_m.y].map(|size| size / 2.0 + MARGIN_M);
            let reach = half[0].hypot(half[1]);
            let center = [mover.ego_from_box.center_m.x, mover.ego_from_box.center_m.y];
            // A centimetre more than enough: the squares are cut in single precision.
            [0, 1].map(|axis| {
                let drives = reach + mover.velocity_mps[axis].abs() * longest_s + 0.01;
                [center[axis] - drives, center[axis] + drives]
            })
        };
        let reaches: Vec<[[f64; 2]; 2]> = movers.iter().map(reaches).collect();
        let low_m = [0, 1].map(|axis| reaches.iter().map(|reach| reach[axis][0]).fold(f64::INFINITY, f64::min) as f32);
        let mut about = Self { low_m, near: vec![false; SQUARES * SQUARES] };
        for reach in reaches {
            let [x, y] = [0, 1].map(|axis| reach[axis].map(|end| strip_of(low_m[axis], end as f32)));
            (y[0]..=y[1]).for_each(|row| about.near[row * SQUARES + x[0]..=row * SQUARES + x[1]].fill(true));
        }
        about
    }

    fn is_near(&self, p: &[f32; 3]) -> bool {
        self.near[strip_of(self.low_m[1], p[1]) * SQUARES + strip_of(self.low_m[0], p[0])]
    }
}

impl Timed {
    /// Those of the points above the ground that are near a mover.
    fn of(points: &[[f32; 3]], height_above_m: &[f32], band_m: f32, after_ns: &impl Fn(u32) -> Option<i32>, about: &About) -> Self {
        let mut timed = Vec::new();
        let (mut low_m, mut longest_ns) = (f32::INFINITY, 0u32);
        for (index, (p, above_m)) in (0u32..).zip(points.iter().zip(height_above_m)) {
            if *above_m >= band_m && about.is_near(p) {
                let after_ns = after_ns(index).unwrap_or(0);
                longest_ns = longest_ns.max(after_ns.unsigned_abs());
                low_m = low_m.min(p[0]);
                timed.push(TimedPoint { index, xy: [p[0], p[1]], above_m: *above_m, after_ns });
            }
        }
        let mut starts = vec![0; MAX_STRIPS + 1];
        timed.iter().for_each(|point| starts[strip_of(low_m, point.xy[0]) + 1] += 1);
        (0..MAX_STRIPS).for_each(|strip| starts[strip + 1] += starts[strip]);
        // A counting sort: each point has its place in its strip.
        let (mut order, mut next) = (vec![0u32; timed.len()], starts.clone());
        for (at, point) in (0u32..).zip(&timed) {
            let place = &mut next[strip_of(low_m, point.xy[0])];
            order[*place] = at;
            *place += 1;
        }
        Self { points: timed, order, starts, low_m, longest_s: f64::from(longest_ns) * 1e-9 }
    }

    /// The points that lie where the thing was at their own moment, and that moment.
    fn points_of(&self, mover: &Mover) -> Vec<(u32, i32)> {
        let cuboid = &mover.ego_from_box;
        let (sin, cos) = cuboid.yaw_rad().sin_cos();
        let half = [cuboid.size_lwh_m.x / 2.0 + MARGIN_M, cuboid.size_lwh_m.y / 2.0 + MARGIN_M];
        let top_m = (cuboid.size_lwh_m.z + MARGIN_M) as f32;
        let reach = half[0].hypot(half[1]);
        let drives = reach + mover.velocity_mps[0].abs() * self.longest_s;
        // A centimetre more than enough: the strips are cut in single precision.
        let ends = [cuboid.center_m.x - drives - 0.01, cuboid.center_m.x + drives + 0.01].map(|x| strip_of(self.low_m, x as f32));
        let mut own = Vec::new();
        for at in &self.order[self.starts[ends[0]]..self.starts[ends[1] + 1]] {
            let point = &self.points[*at as usize];
            if point.above_m >= top_m {
                continue;
            }
            let seconds = f64::from(point.after_ns) * 1e-9;
            let dx = f64::from(point.xy[0]) - cuboid.center_m.x - mover.velocity_mps[0] * seconds;
            let dy = f64::from(point.xy[1]) - cuboid.center_m.y - mover.velocity_mps[1] * seconds;
            if dx.abs() > reach || dy.abs() > reach {
                continue;
            }
            if (dx * cos + dy * sin).abs() <= half[0] && (dy * cos - dx * sin).abs() <= half[1] {
                own.push((point.index, point.after_ns));
            }
        }
        own
    }
}

fn strip_of(low_m: f32, x: f32) -> usize {
    (((x - low_m) / STRIP_M) as i32).clamp(0, MAX_STRIPS as i32 - 1) as usize
}

#[cfg(test)]
mod tests {
    use nalgebra::Vector3;

    use super::*;

    /// The two ends of a car that drives along y at 30 m/s and stands across the seam: its tail is seen at the stamp, its front 100 ms later.
    #[test]
    fn a_car_across_the_seam_is_whole_again() {
        let mut points =
            vec![[-12.0, -2.0, 1.0], [-12.0, -1.0, 1.0], [-12.0, 3.5, 1.0], [-12.0, 5.0, 1.0], [-12.0, 5.0, 0.0], [9.0; 3]];
        let heights: Vec<f32> = points.iter().map(|p| p[2]).collect();
        let after = [0, 0, 100_000_000, 100_000_000, 100_000_000, 50_000_000];
        let cuboid = Cuboid::upright(Vector3::new(-12.9, 0.0, 0.8), Vector3::new(4.5, 1.8, 1.5), std::f64::consts::FRAC_PI_2);
        let mover = Mover { ego_from_box: cuboid, velocity_mps: [0.0, 30.0] };
        let carried = carry(&mut points, &heights, 0.2, |point| after.get(point as usize).copied(), &[mover]);
        // The median moment is that of the front; the ground and what is elsewhere stay.
        let y: Vec<f32> = points.iter().map(|p| p[1]).collect();
        assert_eq!(y, [1.0, 2.0, 3.5, 5.0, 5.0, 9.0]);
        assert_eq!((carried.by_m(0), carried.by_m(4)), ([0.0, 3.0], [0.0; 2]));
        assert_eq!((carried.moment_of(&[0, 1, 2, 3]), carried.moment_of(&[3, 4, 5])), (Some(100_000_000), None));
    }

    #[test]
    fn what_the_beam_passes_at_once_or_what_bears_no_times_stays_as_it_is() {
        let mut points = vec![[10.0, 0.0, 1.0], [10.0, 1.0, 1.0]];
        let before = points.clone();
        let cuboid = Cuboid::upright(Vector3::new(10.0, 0.5, 0.8), Vector3::new(4.5, 1.8, 1.5), 0.0);
        let mover = Mover { ego_from_box: cuboid, velocity_mps: [30.0, 0.0] };
        assert_eq!(carry(&mut points, &[1.0; 2], 0.2, |point| Some(1_000_000 * point as i32), &[mover]), Carried::default());
        assert_eq!(carry(&mut points, &[1.0; 2], 0.2, |_| None, &[mover]), Carried::default());
        assert_eq!(points, before);
    }
}
