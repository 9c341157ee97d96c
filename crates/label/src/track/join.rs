//! Tracks that are parts of one: forward and backward at once.
//!
//! A filter that runs forward knows an object best where a track ends, one that runs backward where a track begins. Where an object was hidden for
//! longer than a track may coast, both are asked where it was in the middle of the gap: the forward filter of the track that ended, and the backward
//! filter of the one that began. Where they agree in position and velocity (the test of track-to-track association, Bar-Shalom, Willett and Tian,
//! "Tracking and Data Fusion", 2011, section 9.2), both are one track; where several fit, those pairs that fit best together. The gap has no boxes: nobody saw the object in it.
//!
//! A vehicle that stands needs no such guess: it stood in the gap, too, however long that was, unless something drove through its place meanwhile.
//!
//! Where a track coasts to the wrong place its object begins a second one, and for a while the two take its sightings by turns. No guess is needed there
//! either: they are parts of one where they never have the same sweep, and the one is always seen on the way of the other.

use boxwright_model::time::NS_PER_S;
use boxwright_model::{Pose, Taxonomy};

use super::{Kalman, Observation, Seen, TrackConfig, TrackHistory, assign, kalman};
use crate::classify::Kind;

/// The 90th percentile of chi-square with four degrees of freedom: of two objects one in ten may stay apart, because what is joined wrongly costs a reviewer
/// more than what is not joined.
const MAX_DISTANCE2: f64 = 7.78;
/// Two parts that stand are one where they stand within this of each other (metres): sides that come into view move a centre by no more.
const STANDS_M: f64 = 1.0;
/// Of more tracks in a clip none are joined: pairs grow with their square and the search for the best of them with their cube. A clip of twenty seconds
/// in a street full of parked cars has 300; thousands are noise, and noise has no parts.
const MOST_TRACKS: usize = 2000;
/// Largest part of its height, and of its length, by which two parts of one object differ.
const SIZE_SLACK: f64 = 0.4;

/// A track as both filters know it.
struct Ends {
    kind: Kind,
    /// Sweeps of the first and the last sighting.
    sweeps: [usize; 2],
    /// When these were measured.
    stamps_ns: [i64; 2],
    /// Backward at the first sighting, forward at the last.
    states: [Kalman; 2],
    size_lwh_m: [f64; 3],
    stands: bool,
    /// In order of sweeps.
    seen: Vec<SeenAt>,
}

/// When and where a track was seen.
struct SeenAt {
    sweep: usize,
    stamp_ns: i64,
    center: [f64; 2],
}

/// Joins the tracks that are parts of one; the number of the first part stays. Tracks come and leave in order of their numbers. `sweep_at` tells the
/// stamp of a sweep and where the vehicle was then, or nothing: without poses, what stands beside a road seems to move with every turn of the vehicle,
/// and tracks that were seen in such a sweep stay as they are. `stands` judges a track as a whole.
#[must_use]
pub fn join_parts<S: Seen>(
    tracks: Vec<TrackHistory<S>>,
    sweep_at: impl Fn(usize) -> Option<(i64, Pose)>,
    stands: impl Fn(&TrackHistory<S>) -> bool,
    config: &TrackConfig,
    taxonomy: &Taxonomy,
) -> Vec<TrackHistory<S>> {
    if config.max_join_s == 0.0 || tracks.len() > MOST_TRACKS {
        return tracks;
    }
    let ends: Vec<Option<Ends>> = tracks.iter().map(|track| track.ends(&sweep_at, stands(track), taxonomy)).collect();
    let is_free = |before: &Ends, after: &Ends| {
        let place = before.states[1].position_m;
        // What stands there meanwhile may be a third part of it. What drives may be there between two sweeps.
        let went_through = |other: &Ends| {
            let first = other.seen.partition_point(|one| one.sweep <= before.sweeps[1]);
            let last = other.seen.partition_point(|one| one.sweep < after.sweeps[0]);
            let way = other.seen.get(first..last).unwrap_or_default();
            way.windows(2).any(|step| distance_to_way(place, step[0].center, step[1].center) <= STANDS_M)
        };
        !ends.iter().flatten().filter(|other| !other.stands).any(went_through)
    };
    let mut edges = Vec::new();
    for (left, before) in ends.iter().enumerate() {
        for (right, after) in ends.iter().enumerate() {
            let (Some(before), Some(after)) = (before, after) else { continue };
            if let Some(cost) = cost(before, after, config).filter(|_| !before.stands || is_free(before, after)) {
                edges.push(assign::Edge { left, right, cost });
            }
        }
    }
    let mut next: Vec<Option<usize>> = vec![None; tracks.len()];
    let mut is_later_part = vec![false; tracks.len()];
    for (left, right) in assign::assign(&edges) {
        next[left] = Some(right);
        is_later_part[right] = true;
    }
    let mut parts: Vec<Option<TrackHistory<S>>> = tracks.into_iter().map(Some).collect();
    let mut joined = Vec::with_capacity(parts.len());
    for first in 0..parts.len() {
        let Some(mut whole) = parts[first].take_if(|_| !is_later_part[first]) else { continue };
        let mut at = first;
        // A part begins after the one before it began, so no chain comes back to where it began.
        while let Some(part) = next[at].and_then(|part| {
            at = part;
            parts[part].take()
        }) {
            whole = whole.with_later_part(part);
        }
        joined.push(whole);
    }
    joined
}

/// How badly two tracks fit as parts of one; `None` where they cannot be.
fn cost(before: &Ends, after: &Ends, config: &TrackConfig) -> Option<f64> {
    if before.kind != after.kind {
        return None;
    }
    let differ = |axis: usize| {
        let (a, b) = (before.size_lwh_m[axis], after.size_lwh_m[axis]);
        (a - b).abs() / a.max(b)
    };
    if differ(0).max(differ(2)) > SIZE_SLACK {
        return None;
    }
    let size = differ(0) + differ(2);
    if before.sweeps[1] >= after.sweeps[0] {
        return off_by_turns(before, after).filter(|off_m| *off_m <= STANDS_M).map(|off_m| off_m + size);
    }
    let gap_ns = after.stamps_ns[0].checked_sub(before.stamps_ns[1]).filter(|gap| *gap > 0)?;
    let gap_s = gap_ns as f64 / NS_PER_S as f64;
    // People come and go: another one may stand where one stood.
    if before.stands && after.stands && (before.kind == Kind::Vehicle || gap_s <= config.max_join_s) {
        let away = distance(&before.states[1], &after.states[0]);
        return (away <= STANDS_M).then_some(away + size);
    }
    // Cars drive out of sight before a row of parked ones all the time, and seldom stop there for good.
    if before.stands != after.stands || gap_s > config.max_join_s {
        return None;
    }
    let motion = kalman::Motion::of(before.kind);
    let (mut forward, mut backward) = (before.states[1], after.states[0]);
    forward.predict(gap_s / 2.0, motion);
    backward.predict(-gap_s / 2.0, motion);
    let limit_m = if before.kind == Kind::Vehicle { config.vehicle_gate_m } else { config.person_gate_m };
    let distance2 = forward.distance2(&backward);
    (distance(&forward, &backward) <= limit_m && distance2 <= MAX_DISTANCE2).then_some(distance2 + size)
}

/// How far the sightings of the first of two tracks are from the way of the second, in the mean over the sweeps in which both are under way (metres). `None`
/// where they do not take turns: one has no part of its own, or both were seen in one sweep, and are two objects.
fn off_by_turns(before: &Ends, after: &Ends) -> Option<f64> {
    if before.sweeps[0] >= after.sweeps[0] || before.sweeps[1] >= after.sweeps[1] {
        return None;
    }
    let late = &before.seen[before.seen.partition_point(|one| one.sweep < after.sweeps[0])..];
    let mut sum = 0.0;
    for one in late {
        let next = after.seen.partition_point(|other| other.sweep < one.sweep);
        let [from, to] = after.seen.get(next.checked_sub(1)?..=next)? else { return None };
        if to.sweep == one.sweep {
            return None;
        }
        let share = one.stamp_ns.saturating_sub(from.stamp_ns) as f64 / to.stamp_ns.saturating_sub(from.stamp_ns).max(1) as f64;
        let way = [0, 1].map(|axis| from.center[axis] + share * (to.center[axis] - from.center[axis]));
        sum += (one.center[0] - way[0]).hypot(one.center[1] - way[1]);
    }
    Some(sum / late.len() as f64)
}

/// Distance of a place to the straight way between two others (metres).
fn distance_to_way(place: [f64; 2], from: [f64; 2], to: [f64; 2]) -> f64 {
    let (along, off) = ([to[0] - from[0], to[1] - from[1]], [place[0] - from[0], place[1] - from[1]]);
    let length2 = along[0] * along[0] + along[1] * along[1];
    let share = if length2 > 0.0 { ((off[0] * along[0] + off[1] * along[1]) / length2).clamp(0.0, 1.0) } else { 0.0 };
    (off[0] - share * along[0]).hypot(off[1] - share * along[1])
}

fn distance(a: &Kalman, b: &Kalman) -> f64 {
    (a.position_m[0] - b.position_m[0]).hypot(a.position_m[1] - b.position_m[1])
}

impl<S: Seen> TrackHistory<S> {
    fn ends(&self, sweep_at: impl Fn(usize) -> Option<(i64, Pose)>, stands: bool, taxonomy: &Taxonomy) -> Option<Ends> {
        let class = taxonomy.get(self.class);
        let kind = Kind::of(class);
        let seen: Option<Vec<(i64, [f64; 2], f64)>> = self
            .observations
            .iter()
            .map(|one| {
                let (stamp_ns, world_from_ego) = sweep_at(one.sweep)?;
                let center = self.measure(&one.candidate, &world_from_ego);
                Some((stamp_ns.saturating_add(one.candidate.after_ns()), center, one.candidate.sigma_m()))
            })
            .collect();
        let seen = seen?;
        // Anew: with the class and the size that are known at the end.
        let run = |order: &mut dyn Iterator<Item = &(i64, [f64; 2], f64)>| {
            let (mut stamp_ns, first, _) = *order.next()?;
            let mut kalman = Kalman::at(first, kalman::Motion::of(kind));
            for (next_ns, center, sigma_m) in order {
                let seconds = next_ns.saturating_sub(stamp_ns) as f64 / NS_PER_S as f64;
                kalman.predict(seconds, kalman::Motion::of(kind));
                kalman.update(*center, *sigma_m);
                stamp_ns = *next_ns;
            }
            Some(kalman)
        };
        let states = [run(&mut seen.iter().rev())?, run(&mut seen.iter())?];
        let sweeps = [self.observations.first()?.sweep, self.last_sweep()?];
        let stamps_ns = [seen.first()?.0, seen.last()?.0];
        let seen_at =
            |(one, (stamp_ns, center, _)): (&Observation<S>, (i64, [f64; 2], f64))| SeenAt { sweep: one.sweep, stamp_ns, center };
        let seen = self.observations.iter().zip(seen).map(seen_at).collect();
        Some(Ends { kind, sweeps, stamps_ns, states, size_lwh_m: self.size_lwh_m, stands, seen })
    }

    /// One track of both: what is known at the end is what the later part knows.
    fn with_later_part(mut self, later: Self) -> Self {
        self.observations.extend(later.observations);
        self.observations.sort_by_key(|one| one.sweep);
        Self { number: self.number, parts: self.parts + later.parts, observations: self.observations, ..later }
    }
}
