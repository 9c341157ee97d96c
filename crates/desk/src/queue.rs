//! What to look at first, and where.
//!
//! The queue is ordered by the seconds that a look is expected to save. A track that is wrong costs [`REWORK_S`] later (somebody finds it,
//! sends it back, corrects it) and [`EDIT_S`] now; looking costs [`LOOK_S`] in any case. With `p` the likelihood that it is wrong,
//!
//! ```text
//! saved = p · (REWORK_S − EDIT_S) − LOOK_S
//! p     = 1 − score · n / (n + 8) · b / (b + 3)
//! ```
//!
//! where `score` is the labeller's confidence, `n` the median number of points in its boxes and `b` the number of its boxes: low confidence,
//! few points and short tracks come first. Each finding about it (`BW-L001` to `BW-L006`) halves the likelihood that it is right. A track that was
//! returned is wrong for certain (`p = 1`); for what was only suggested (`BW-L007`) `p` is the likelihood that it is an object, since that is
//! when a label is missing. The figures are a stated model, not a measurement; the seconds that people really take are in the statistics.

use boxwright_model::space::wrap_rad;

use crate::geometry::between;
use crate::labels::{BoxState, TrackDoc, Verdict};

/// Seconds to look at a track.
pub const LOOK_S: f64 = 1.5;
/// Seconds to correct a track while it is open.
pub const EDIT_S: f64 = 10.0;
/// Seconds that a wrong track costs when it is found only later.
pub const REWORK_S: f64 = 60.0;
/// Points at which their number halves the doubt.
const POINTS_HALF: f64 = 8.0;
/// Boxes at which the length of a track halves the doubt.
const BOXES_HALF: f64 = 3.0;

/// Doubt above which a track is not called clean.
const CLEAN_DOUBT: f64 = 0.5;
/// Metres plus radians that a box of a clean track may lie off the middle of its neighbours: what fits of one sweep differ by.
const CLEAN_JUMP: f64 = 0.3;
/// Share of the boxes of a clean track that may not have been measured.
const CLEAN_UNSEEN: f64 = 0.1;

/// Likelihood that something about a track is wrong, in `[0, 1]`; `findings` is how many numbered rules say so.
#[must_use]
pub fn doubt(track: &TrackDoc, findings: usize) -> f64 {
    match track.state.verdict {
        Verdict::Returned => return 1.0,
        Verdict::Suggested => return track.state.score.clamp(0.0, 1.0),
        Verdict::Open | Verdict::Accepted => {}
    }
    let mut points: Vec<u32> = track.boxes.values().map(|one| one.points).collect();
    points.sort_unstable();
    let median = points.get(points.len() / 2).copied().map_or(0.0, f64::from);
    let boxes = track.boxes.len() as f64;
    let right = track.state.score.clamp(0.0, 1.0) * median / (median + POINTS_HALF) * boxes / (boxes + BOXES_HALF);
    1.0 - right * 0.5_f64.powi(i32::try_from(findings).unwrap_or(i32::MAX))
}

/// Seconds that a look at a track is expected to save; see the module.
#[must_use]
pub fn saved_s(track: &TrackDoc, findings: usize) -> f64 {
    doubt(track, findings) * (REWORK_S - EDIT_S) - LOOK_S
}

/// Whether nothing about a track speaks against it: no rule, little doubt, no box off its way, few that were not measured. A filter for those who
/// accept many at once; it decides nothing by itself.
#[must_use]
pub fn is_clean(track: &TrackDoc, findings: usize) -> bool {
    let boxes: Vec<(u32, &BoxState)> = track.boxes.iter().map(|(sample, state)| (*sample, state)).collect();
    let unseen = boxes.iter().filter(|(_, state)| state.predicted).count();
    let is_smooth = boxes.windows(3).all(|three| matches!(three, [before, at, after] if jump(*before, *at, *after) < CLEAN_JUMP));
    // Whether both sides of a hole are one object was guessed, unless it stood in one place.
    let is_whole = boxes.windows(2).all(|two| {
        let [before, after] = two else { return true };
        let apart_m = || (after.1.cuboid().center_m - before.1.cuboid().center_m).norm();
        before.0 + 1 == after.0 || track.state.is_static && apart_m() < CLEAN_JUMP
    });
    findings == 0
        && track.state.verdict != Verdict::Suggested
        && doubt(track, 0) < CLEAN_DOUBT
        && is_smooth
        && is_whole
        && unseen as f64 <= CLEAN_UNSEEN * boxes.len() as f64
}

/// The sample in which a track is most likely wrong: where its box lies off the way between its neighbours, turns against them, was not
/// measured, or has few points. The first of equals.
#[must_use]
pub fn worst_sample(track: &TrackDoc) -> Option<u32> {
    let boxes: Vec<(u32, &BoxState)> = track.boxes.iter().map(|(sample, state)| (*sample, state)).collect();
    let mut worst: Option<(f64, u32)> = None;
    for (index, (sample, state)) in boxes.iter().enumerate() {
        let around = index.checked_sub(1).and_then(|before| Some((boxes.get(before)?, boxes.get(index + 1)?)));
        let off = around.map_or(0.0, |(before, after)| jump(*before, (*sample, state), *after));
        let unseen = if state.predicted { 1.0 } else { 0.0 };
        let badness = off + unseen + 1.0 / (1.0 + f64::from(state.points));
        if worst.is_none_or(|(most, _)| badness > most) {
            worst = Some((badness, *sample));
        }
    }
    worst.map(|(_, sample)| sample)
}

/// How far a box lies off the middle of those in the samples before and after (metres) plus how far it turns against it (radians). At the edge of a hole
/// in its track there are none on one side, and nothing to compare it with.
fn jump(before: (u32, &BoxState), at: (u32, &BoxState), after: (u32, &BoxState)) -> f64 {
    if before.0 + 1 != at.0 || at.0 + 1 != after.0 {
        return 0.0;
    }
    let expected = between(&before.1.cuboid(), &after.1.cuboid(), 0.5);
    let found = at.1.cuboid();
    (expected.center_m - found.center_m).norm() + wrap_rad(found.yaw_rad() - expected.yaw_rad()).abs()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use boxwright_model::Cuboid;
    use nalgebra::Vector3;

    use super::*;
    use crate::labels::TrackState;

    fn track(score: f64, points: u32, boxes: u32) -> TrackDoc {
        let state = |at: u32| {
            let cuboid = Cuboid::upright(Vector3::new(f64::from(at), 0.0, 1.0), Vector3::new(4.0, 2.0, 1.5), 0.0);
            BoxState::new(&cuboid, points)
        };
        let of_it =
            TrackState { class: "car".into(), score, is_static: false, verdict: Verdict::Open, decided_by: None, error: None };
        TrackDoc { state: of_it, boxes: (0..boxes).map(|at| (at, state(at))).collect::<BTreeMap<_, _>>() }
    }

    #[test]
    fn doubt_few_points_and_short_tracks_come_first() {
        let sound = saved_s(&track(0.9, 200, 80), 0);
        assert!(saved_s(&track(0.4, 200, 80), 0) > sound);
        assert!(saved_s(&track(0.9, 5, 80), 0) > sound);
        assert!(saved_s(&track(0.9, 200, 3), 0) > sound);
        let mut returned = track(1.0, 200, 80);
        returned.state.verdict = Verdict::Returned;
        assert_eq!(saved_s(&returned, 0), REWORK_S - EDIT_S - LOOK_S);
    }

    #[test]
    fn a_clean_long_track_saves_less_than_a_look_costs_when_the_labeller_is_certain() {
        assert!(saved_s(&track(1.0, 100_000, 100_000), 0) < 0.0);
    }

    #[test]
    fn what_a_rule_says_comes_before_what_none_does_and_a_suggestion_by_how_likely_it_is_an_object() {
        let sound = track(0.9, 200, 80);
        assert!(saved_s(&sound, 1) > saved_s(&sound, 0) && saved_s(&sound, 2) > saved_s(&sound, 1) && !is_clean(&sound, 1));
        let suggested = |score: f64| {
            let mut one = track(score, 200, 80);
            one.state.verdict = Verdict::Suggested;
            one
        };
        assert!(saved_s(&suggested(0.3), 0) > saved_s(&suggested(0.1), 0));
        assert!((saved_s(&suggested(0.3), 0) - (0.3 * (REWORK_S - EDIT_S) - LOOK_S)).abs() < 1e-9);
        assert!(!is_clean(&suggested(0.9), 0), "many at once are labels, not suggestions");
    }

    #[test]
    fn clean_is_what_nothing_speaks_against() {
        let sound = track(0.9, 200, 80);
        assert!(is_clean(&sound, 0) && !is_clean(&track(0.4, 200, 80), 0) && !is_clean(&track(0.9, 5, 80), 0));
        let mut hidden = sound.clone();
        hidden.boxes.retain(|sample, _| !(20..35).contains(sample));
        assert!(!is_clean(&hidden, 0), "that it is the same one after the hole was guessed");
        let mut parked = sound.clone();
        let at = parked.boxes[&12].cuboid();
        parked.boxes.values_mut().for_each(|state| *state = BoxState::new(&at, 200));
        parked.boxes.retain(|sample, _| !(20..35).contains(sample));
        assert!(!is_clean(&parked, 0));
        parked.state.is_static = true;
        assert!(is_clean(&parked, 0), "it stood there all the while");
        let mut jumped = sound.clone();
        let mut cuboid = jumped.boxes[&12].cuboid();
        cuboid.center_m.y += 0.8;
        jumped.boxes.insert(12, BoxState::new(&cuboid, 200));
        assert!(!is_clean(&jumped, 0));
        let mut unseen = sound;
        unseen.boxes.values_mut().take(20).for_each(|state| state.predicted = true);
        assert!(!is_clean(&unseen, 0));
    }

    #[test]
    fn a_track_opens_where_its_box_is_off_its_way() {
        let mut jumped = track(0.9, 50, 20);
        let mut cuboid = jumped.boxes[&12].cuboid();
        cuboid.center_m.y += 0.8;
        jumped.boxes.insert(12, BoxState::new(&cuboid, 50));
        assert_eq!(worst_sample(&jumped), Some(12));
        // The edges of a hole are not off their way.
        jumped.boxes.retain(|sample, _| !(2..9).contains(sample));
        assert_eq!(worst_sample(&jumped), Some(12));
        let mut thin = track(0.9, 50, 20);
        if let Some(state) = thin.boxes.get_mut(&7) {
            state.points = 0;
        }
        assert_eq!(worst_sample(&thin), Some(7));
        assert_eq!(worst_sample(&track(0.9, 5, 0)), None);
    }
}
