//! What refinement makes better, and what it leaves alone.

use std::f64::consts::PI;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn refined(track: &[FrameBox], max_shift_m: f64) -> Vec<Cuboid> {
    on_curves(&with_one_size(track), max_shift_m)
}

const SIZE: [f64; 3] = [4.2, 1.8, 1.5];

fn car(x: f64, y: f64, length: f64, yaw: f64) -> Cuboid {
    Cuboid::upright(Vector3::new(x, y, 0.8), Vector3::new(length, SIZE[1], SIZE[2]), yaw)
}

fn frames(boxes: impl IntoIterator<Item = Cuboid>) -> Vec<FrameBox> {
    let frame = |(index, cuboid)| FrameBox { seconds: 0.1 * f64::from(index), cuboid, sensor_xy: [0.0; 2], weight: 1.0 };
    (0i32..).zip(boxes).map(frame).collect()
}

/// A car on a bend, and the same as a detector sees it: every number is off by itself in every frame.
fn noisy(seed: u64, origin: [f64; 2]) -> (Vec<Cuboid>, Vec<FrameBox>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let truth: Vec<Cuboid> = (0..60)
        .map(|index| {
            let turn = 0.02 * f64::from(index);
            car(origin[0] + 10.0 + 40.0 * turn.sin(), origin[1] + 5.0 + 40.0 * (1.0 - turn.cos()), SIZE[0], turn)
        })
        .collect();
    let mut off = |by: f64| rng.random_range(-by..by);
    let seen = truth.iter().map(|one| {
        let center = one.center_m + Vector3::new(off(0.25), off(0.2), off(0.1));
        let size = one.size_lwh_m + Vector3::new(off(0.5), off(0.15), off(0.15));
        Cuboid::upright(center, size, one.yaw_rad() + off(0.1))
    });
    let mut track = frames(seen);
    track.iter_mut().for_each(|one| one.sensor_xy = origin);
    (truth, track)
}

/// Root of the mean squares of what is off in the plane, in height, in length, and in heading.
fn errors<'a>(truth: &[Cuboid], boxes: impl Iterator<Item = &'a Cuboid>) -> [f64; 4] {
    let off = truth.iter().zip(boxes).map(|(a, b)| {
        let apart = a.center_m - b.center_m;
        [apart.xy().norm(), apart.z, a.size_lwh_m.x - b.size_lwh_m.x, wrap_rad(a.yaw_rad() - b.yaw_rad())].map(|one| one * one)
    });
    let sums = off.fold([0.0; 4], |sums, one| [0, 1, 2, 3].map(|at| sums[at] + one[at]));
    sums.map(|sum| (sum / truth.len() as f64).sqrt())
}

#[test]
fn noise_that_differs_from_frame_to_frame_goes() {
    for seed in 0..20 {
        let (truth, track) = noisy(seed, [0.0; 2]);
        let before = errors(&truth, track.iter().map(|one| &one.cuboid));
        let after = errors(&truth, refined(&track, 0.5).iter());
        for (what, (before, after)) in ["centre", "height", "length", "heading"].into_iter().zip(before.into_iter().zip(after)) {
            assert!(after < 0.8 * before, "seed {seed}, {what}: {before} before, {after} after");
        }
    }
}

#[test]
fn a_curve_that_is_too_stiff_for_the_motion_is_refused() {
    // To and fro within half a second, exactly as seen: the neighbours foretell it better than any curve.
    let truth: Vec<Cuboid> = (0..60).map(|index| car(20.0 + (0.22 * PI * f64::from(index)).sin(), 5.0, SIZE[0], 0.3)).collect();
    let found = refined(&frames(truth.clone()), 0.5);
    let after = errors(&truth, found.iter());
    assert!(after.iter().all(|off| *off < 1e-6), "{after:?}");
}

#[test]
fn a_track_of_two_objects_has_no_one_size() {
    let boxes = (0..40).map(|index| car(20.0, 5.0, if index < 20 { 4.0 } else { 9.0 }, 0.3));
    let found = refined(&frames(boxes), 0.5);
    assert!(found.iter().enumerate().all(|(index, one)| (one.size_lwh_m.x - if index < 20 { 4.0 } else { 9.0 }).abs() < 1e-9));
}

#[test]
fn a_box_that_grows_keeps_half_its_middle_and_half_its_near_face() {
    let grown = resized(&frames([car(20.0, 0.0, 4.0, 0.0)])[0], Vector3::new(5.0, 1.8, 1.5));
    assert!((grown.center_m - Vector3::new(20.25, 0.0, 0.8)).norm() < 1e-12, "{}", grown.center_m);
    let nowhere = FrameBox { sensor_xy: [f64::NAN; 2], ..frames([car(20.0, 0.0, 4.0, 0.0)])[0] };
    assert!((resized(&nowhere, Vector3::new(5.0, 1.8, 1.5)).center_m.x - 20.0).abs() < 1e-12);
}

#[test]
fn no_centre_is_moved_farther_than_allowed() {
    let mut boxes: Vec<Cuboid> = (0..40).map(|index| car(10.0 + f64::from(index), 5.0, SIZE[0], 0.0)).collect();
    boxes[20].center_m.y += 2.0;
    let found = refined(&frames(boxes.clone()), 0.3);
    assert!((found[20].center_m.y - 6.7).abs() < 1e-6, "{}", found[20].center_m.y);
    assert!(found.iter().zip(&boxes).all(|(a, b)| (a.center_m - b.center_m).xy().norm() < 0.3 + 1e-9));
}

#[test]
fn a_front_stays_where_it_was_seen() {
    let boxes = (0..30).map(|index| car(20.0, 5.0, SIZE[0], if index % 3 == 0 { 0.4 + PI } else { 0.4 }));
    for (index, one) in refined(&frames(boxes), 0.3).iter().enumerate() {
        let expected = if index % 3 == 0 { 0.4 - PI } else { 0.4 };
        assert!(wrap_rad(one.yaw_rad() - expected).abs() < 1e-6, "frame {index}: {}", one.yaw_rad());
    }
}

#[test]
fn few_frames_and_far_apart_ones_have_no_curve() {
    let (_, track) = noisy(3, [0.0; 2]);
    let few = &track[..4];
    let sparse: Vec<FrameBox> =
        track.iter().enumerate().map(|(index, one)| FrameBox { seconds: 2.0 * index as f64, ..*one }).collect();
    for track in [few, &sparse] {
        for (one, refined) in with_one_size(track).iter().zip(refined(track, 0.3)) {
            assert!((one.cuboid.center_m - refined.center_m).norm() < 1e-9);
            assert!((one.cuboid.yaw_rad() - refined.yaw_rad()).abs() < 1e-9);
        }
    }
    assert!(refined(&[], 0.3).is_empty());
}

#[test]
fn where_the_world_begins_makes_no_difference() {
    let ((_, near), (_, far)) = (noisy(5, [0.0; 2]), noisy(5, [691_000.0, 5_334_000.0]));
    for (a, b) in refined(&near, 0.3).iter().zip(refined(&far, 0.3)) {
        assert!((b.center_m - a.center_m - Vector3::new(691_000.0, 5_334_000.0, 0.0)).norm() < 1e-6);
        assert!((a.yaw_rad() - b.yaw_rad()).abs() < 1e-6);
    }
}

#[test]
fn one_frame_that_is_wrong_moves_no_other_far() {
    let mut track = frames((0..30).map(|index| car(0.5 * f64::from(index), 2.0, SIZE[0], 0.1)));
    let wrong = &mut track[12].cuboid;
    *wrong = Cuboid::upright(wrong.center_m + Vector3::new(0.0, 0.0, 6.0), wrong.size_lwh_m, wrong.yaw_rad() + 1.4);
    for (before, after) in track.iter().zip(refined(&track, 0.3)) {
        let apart = after.center_m - before.cuboid.center_m;
        assert!(apart.z.abs() <= 0.3 + 1e-9 && apart.xy().norm() <= 0.3 + 1e-9, "{apart}");
        assert!(wrap_rad(after.yaw_rad() - before.cuboid.yaw_rad()).abs() <= 0.3 + 1e-9);
    }
}

#[test]
fn a_frame_at_the_rim_of_a_window_bends_no_curve() {
    let (curve, mut rng) = (CURVES[1], ChaCha8Rng::seed_from_u64(1));
    for _ in 0..5_000 {
        // The end of a track after a gap: one neighbour, and one frame that is half a window away but for rounding.
        let now = rng.random_range(1.0..2.0);
        let rim = 10f64.powf(rng.random_range(-16.5..-6.0));
        let times = [now - curve.half_window_s * (1.0 - rim), now - rng.random_range(0.1..0.5), now];
        let mut track = frames(times.map(|time| car(10.0 * time, 0.0, SIZE[0], 0.0)));
        track.iter_mut().zip(times).for_each(|(one, time)| one.seconds = time);
        let values = times.map(|time| [10.0 * time + rng.random_range(-0.2..0.2), 0.0]);
        // Two frames with a say are a straight line through both.
        let at_end = curve.at(&track, &values, 2, false).unwrap();
        assert!((at_end[0] - values[2][0]).abs() < 1e-6, "{times:?} {values:?} {at_end:?}");
    }
}
