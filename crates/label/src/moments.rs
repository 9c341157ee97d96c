//! When the points of a sweep were measured.
//!
//! A beam that turns meets everything at another moment. While the vehicle's own motion is taken out of the points, that of the others stays in
//! them: what moves at 30 m/s is 3 m farther at the end of a sweep of 100 ms than at its begin. The moments travel with a group's outline, so
//! that whoever learns the velocity later can say where each point would have been at one moment.

use crate::carry::Carried;

/// The moments of one sweep, as the stages after [`crate::clean`] need them.
#[derive(Clone, Copy, Debug)]
pub struct Moments<'a> {
    /// Reference time of the sample.
    pub stamp_ns: i64,
    /// Time of each point of the sweep relative to that, where it is known.
    pub offset_ns: Option<&'a [i32]>,
    /// Index of each cleaned point in the sweep.
    pub source: &'a [u32],
    /// Which points were carried to another moment.
    pub carried: &'a Carried,
}

/// When the points of a group were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTimes {
    /// Mean.
    pub mean_ns: i64,
    /// First and last.
    pub range_ns: [i64; 2],
    /// When the middle of the group was where it is seen, relative to the sample's stamp.
    pub holds_after_ns: i64,
}

/// A point of an outline: when it was measured, and how far it was carried since.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PointMoment {
    /// Time relative to the sample's stamp.
    pub after_ns: i32,
    /// What was added to where it was measured, ego frame (metres).
    pub carried_m: [f32; 2],
}

impl Moments<'_> {
    /// Time of a cleaned point relative to the sample's stamp; `None` where the sweep does not tell.
    #[must_use]
    pub fn after_ns(&self, point: u32) -> Option<i32> {
        self.offset_ns?.get(*self.source.get(point as usize)? as usize).copied()
    }

    /// The times of a group of cleaned points.
    #[must_use]
    pub fn of_group(&self, members: &[u32]) -> GroupTimes {
        let (mut sum, mut count, mut range) = (0, 0, [i64::MAX, i64::MIN]);
        for after in members.iter().filter_map(|member| self.after_ns(*member)).map(i64::from) {
            (sum, count) = (sum + after, count + 1);
            range = [range[0].min(after), range[1].max(after)];
        }
        if count == 0 {
            return GroupTimes { mean_ns: self.stamp_ns, range_ns: [self.stamp_ns; 2], holds_after_ns: 0 };
        }
        // The beam meets one end of a thing first and the other last, each where it is then, so what lies half way between the ends is where
        // the centre was half way between the times. The mean of the times would lean to the end that has more points.
        let holds_after_ns = self.carried.moment_of(members).unwrap_or(range[0].midpoint(range[1]));
        let at = |after: i64| self.stamp_ns.saturating_add(after);
        GroupTimes { mean_ns: at(sum / count), range_ns: range.map(at), holds_after_ns }
    }

    /// The moment of one cleaned point.
    #[must_use]
    pub fn of_point(&self, point: u32) -> PointMoment {
        PointMoment { after_ns: self.after_ns(point).unwrap_or(0), carried_m: self.carried.by_m(point) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_holds_half_way_between_its_first_and_last_point() {
        let offsets = [10, -20, 40, 1000];
        let carried = Carried::default();
        let moments = Moments { stamp_ns: 1_000, offset_ns: Some(&offsets), source: &[0, 1, 2, 3], carried: &carried };
        let times = moments.of_group(&[0, 1, 2]);
        assert_eq!((times.mean_ns, times.range_ns, times.holds_after_ns), (1_010, [980, 1_040], 10));
        let unknown = Moments { offset_ns: None, ..moments }.of_group(&[0, 1]);
        assert_eq!((unknown.mean_ns, unknown.range_ns, unknown.holds_after_ns), (1_000, [1_000; 2], 0));
    }
}
