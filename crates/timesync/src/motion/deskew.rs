//! Takes the vehicle's motion out of one sweep.

use boxwright_model::time::NS_PER_MS;
use boxwright_model::{PointCloud, Pose};

use super::PoseTrack;

/// Distance of the knots at which poses are interpolated exactly; between them the transform is interpolated linearly.
///
/// The error of that for a point at distance `r`, with `h` the step, `w` the turn rate, and `dw`, `dv` the jumps of turn rate and
/// velocity at the pose stamps (0 for a motion without jumps): at most `r (w² h² / 8 + dw h / 4) + dv h / 4` metres. At 1 ms, 100 m and
/// 1 rad/s that is 13 µm; a jump of 0.1 rad/s adds 2.5 mm. Single precision adds less than 0.1 mm within 250 m.
pub const KNOT_STEP_NS: i64 = NS_PER_MS;

/// Moves every point from the ego frame of its own moment (`sweep_stamp_ns` + its offset) to the ego frame at `sweep_stamp_ns`.
///
/// Returns false, and leaves the points untouched, where the cloud has no time offsets, where all of them are zero, or where the track
/// does not cover the moments of the points. Points that are not finite stay so.
pub fn deskew(points: &mut PointCloud, sweep_stamp_ns: i64, track: &PoseTrack) -> bool {
    let Some(offsets) = points.time_offset_ns.as_deref().filter(|offsets| offsets.len() == points.x.len()) else { return false };
    let (Some(first), Some(last)) = (offsets.iter().min().copied(), offsets.iter().max().copied()) else { return false };
    if first == 0 && last == 0 {
        return false;
    }
    let Some(segments) = segments(sweep_stamp_ns, first, last, track) else { return false };
    let span_ns = last.abs_diff(first);
    let per_ns = if span_ns == 0 { 0.0 } else { segments.len() as f32 / span_ns as f32 };
    let newest = segments.len() - 1;
    for (((x, y), z), offset) in points.x.iter_mut().zip(&mut points.y).zip(&mut points.z).zip(offsets) {
        let at = offset.abs_diff(first) as f32 * per_ns;
        let index = (at as usize).min(newest);
        [*x, *y, *z] = segments[index].apply(at - index as f32, *x, *y, *z);
    }
    true
}

/// Row-major 3x4 transforms: at the knot that begins the segment, and their change to the next knot.
struct Segment {
    start: [f32; 12],
    change: [f32; 12],
}

impl Segment {
    #[inline]
    fn apply(&self, part: f32, x: f32, y: f32, z: f32) -> [f32; 3] {
        let m = |index: usize| self.start[index] + part * self.change[index];
        [m(0) * x + m(1) * y + m(2) * z + m(3), m(4) * x + m(5) * y + m(6) * z + m(7), m(8) * x + m(9) * y + m(10) * z + m(11)]
    }
}

/// At least one segment of equal length at most [`KNOT_STEP_NS`], from the first to the last offset; at most 4295, for offsets have 32
/// bits. `None` where the track does not say where the vehicle was.
fn segments(sweep_stamp_ns: i64, first: i32, last: i32, track: &PoseTrack) -> Option<Vec<Segment>> {
    let sweep_from_world = track.at(sweep_stamp_ns)?.world_from_ego.inverse();
    let span_ns = i64::from(last) - i64::from(first);
    let count = (span_ns + KNOT_STEP_NS - 1).div_euclid(KNOT_STEP_NS).max(1);
    let knot = |index: i64| {
        let stamp_ns = sweep_stamp_ns.saturating_add(i64::from(first) + span_ns * index / count);
        track.at(stamp_ns).map(|pose| rows(&(sweep_from_world * pose.world_from_ego)))
    };
    let mut start = knot(0)?;
    let mut segments = Vec::with_capacity(count as usize);
    for index in 1..=count {
        let end = knot(index)?;
        let change = std::array::from_fn(|entry| (end[entry] - start[entry]) as f32);
        segments.push(Segment { start: start.map(|entry| entry as f32), change });
        start = end;
    }
    Some(segments)
}

fn rows(sweep_from_ego: &Pose) -> [f64; 12] {
    let matrix = sweep_from_ego.to_homogeneous();
    std::array::from_fn(|index| matrix[(index / 4, index % 4)])
}
