//! Promises of the foreground pass, on made-up scenes with the lidar at the origin, 1.7 metres above the ground.

use super::*;

const REACH_M: f32 = 30.0;

/// The near side of a standing person as a lidar sees it: 20 columns of returns on a cylinder.
fn person(x: f32, y: f32) -> Vec<[f32; 3]> {
    let toward = y.atan2(x);
    let side = |step: i32| toward + std::f32::consts::PI + step as f32 / 10.0 * std::f32::consts::FRAC_PI_2;
    let column = |turn: f32| (0..28).map(move |row| [x + 0.22 * turn.cos(), y + 0.22 * turn.sin(), 0.3 + 0.05 * row as f32]);
    (-10..=10).flat_map(|step| column(side(step))).collect()
}

/// A hedge along x: its front is a plane.
fn hedge(y: f32, xs: std::ops::Range<i32>) -> Vec<[f32; 3]> {
    xs.flat_map(|x| (0..20).map(move |row| [0.05 * x as f32, y, 0.3 + 0.09 * row as f32])).collect()
}

fn taken(points: &[[f32; 3]]) -> (Vec<Group>, Group) {
    let members = (0..points.len() as u32).collect();
    let mut group = Group { members, label: 7, tall: false, beside_tall: 0.0, cut_out: false };
    let heights: Vec<f32> = points.iter().map(|p| p[2]).collect();
    let bounds = Bounds::of_group(&group, points);
    let taken = take_out(&mut group, &bounds, points, &heights, [0.0; 2], REACH_M);
    (taken, group)
}

#[test]
fn a_person_who_touches_a_hedge_with_an_elbow_is_taken_out_whole() {
    let mut points = person(10.0, -4.0);
    let own = points.len();
    points.extend(hedge(-4.5, 0..500));
    // The elbow reaches to the hedge, below the shoulders.
    points.extend((0..8).map(|step| [10.0, -4.2 - 0.03 * step as f32, 1.0]));
    let (taken, rest) = taken(&points);
    assert_eq!(taken.len(), 1);
    assert!((0..own as u32).all(|member| taken[0].members.contains(&member)), "a part of the person stays in the hedge");
    assert!(taken[0].members.len() < own + own / 8, "{} for {own}", taken[0].members.len());
    assert_eq!(taken[0].members.len() + rest.members.len(), points.len());
    assert_eq!(taken[0].label, 7);
}

#[test]
fn a_person_behind_a_parked_car_is_seen_above_its_roof() {
    let mut points: Vec<[f32; 3]> = person(12.0, -4.0).into_iter().filter(|p| p[2] > 0.9).collect();
    let own = points.len();
    points.extend(hedge(-5.0, 0..500));
    // The roof: a plate up to shoulder height in all directions of the person.
    points.extend((0..60).flat_map(|x| (0..20).map(move |y| [5.0 + 0.05 * x as f32, -1.2 - 0.08 * y as f32, 1.15])));
    let (taken, _) = taken(&points);
    assert_eq!(taken.len(), 1);
    assert!(taken[0].members.len() >= own);
}

#[test]
fn a_hedge_alone_a_gap_in_a_wall_and_the_pillars_of_a_van_are_no_persons() {
    assert!(taken(&hedge(-4.5, 0..500)).0.is_empty());
    // A piece of a hedge seen between two others that hide the rest.
    let mut gap = hedge(-8.0, 158..170);
    gap.extend(hedge(-4.0, 20..76));
    gap.extend(hedge(-4.0, 86..150));
    assert!(taken(&gap).0.is_empty());
    // A van's side: doors below, pillars above, and through the windows its other side.
    let doors = (0..100).flat_map(|x| (0..8).map(move |row| [8.0 + 0.05 * x as f32, -3.0, 0.3 + 0.1 * row as f32]));
    let pillars = [0, 1, 2, 3].into_iter().flat_map(|pillar| {
        (0..6).flat_map(move |x| (0..8).map(move |row| [8.0 + 1.5 * pillar as f32 + 0.05 * x as f32, -3.0, 1.1 + 0.1 * row as f32]))
    });
    let other_side = (0..140).flat_map(|x| (0..8).map(move |row| [8.0 + 0.05 * x as f32, -4.8, 1.1 + 0.1 * row as f32]));
    let van: Vec<[f32; 3]> = doors.chain(pillars).chain(other_side).collect();
    assert!(taken(&van).0.is_empty());
}

#[test]
fn a_person_across_the_seam_of_directions_is_found() {
    let mut points = person(-10.0, 0.0);
    points.extend((-80..80).flat_map(|y| (0..20).map(move |row| [-10.7, 0.05 * y as f32, 0.3 + 0.09 * row as f32])));
    assert_eq!(taken(&points).0.len(), 1);
}

#[test]
fn nothing_and_the_lidar_itself_do_no_harm() {
    assert!(taken(&[]).0.is_empty());
    assert!(taken(&[[0.0, 0.0, 1.5]; 40]).0.is_empty());
}
