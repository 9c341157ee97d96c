//! Promises of the cluster stage.

use super::*;

fn block(points: &mut Vec<[f32; 3]>, x: std::ops::Range<f32>, y: std::ops::Range<f32>, z: std::ops::Range<f32>) {
    let steps = |r: &std::ops::Range<f32>| ((r.end - r.start) / 0.08) as usize + 1;
    for i in 0..steps(&x) {
        for j in 0..steps(&y) {
            for k in 0..steps(&z) {
                points.push([x.start + 0.08 * i as f32, y.start + 0.08 * j as f32, z.start + 0.08 * k as f32]);
            }
        }
    }
}

fn groups(points: &[[f32; 3]]) -> Vec<Group> {
    let above: Vec<f32> = points.iter().map(|p| p[2]).collect();
    cluster(points, &above, 0.22, [0.0; 3], &[], &ClusterConfig::default()).groups
}

#[test]
fn a_car_that_touches_a_wall_is_a_group_of_its_own() {
    let mut points = Vec::new();
    block(&mut points, 8.0..12.0, 3.0..4.5, 0.3..1.5);
    block(&mut points, 2.0..16.0, 4.6..4.7, 0.3..5.0);
    let found = groups(&points);
    assert_eq!(found.len(), 2);
    assert_eq!(found.iter().filter(|group| group.tall).count(), 1);
    assert!(found.iter().any(|group| !group.tall && group.beside_tall > 0.05));
}

#[test]
fn two_persons_whose_arms_touch_are_parted() {
    let mut points = Vec::new();
    block(&mut points, 8.0..8.4, 0.0..0.4, 0.3..1.7);
    block(&mut points, 8.0..8.4, 0.7..1.1, 0.3..1.7);
    block(&mut points, 8.1..8.2, 0.4..0.7, 0.6..0.8);
    assert_eq!(groups(&points).len(), 2);
}

#[test]
fn a_person_at_a_low_wall_is_taken_out_of_it_and_a_bump_of_a_hedge_is_not() {
    let mut points = Vec::new();
    block(&mut points, 4.0..14.0, 3.4..3.5, 0.3..0.8);
    let wall = points.len();
    block(&mut points, 8.0..8.4, 3.0..3.3, 0.3..1.7);
    let found = groups(&points);
    assert_eq!(found.len(), 2);
    assert_eq!(found.iter().filter(|group| group.members.iter().any(|member| *member as usize >= wall)).count(), 1);
    let mut hedge = Vec::new();
    block(&mut hedge, 4.0..14.0, 3.4..3.8, 0.3..1.5);
    block(&mut hedge, 8.0..8.4, 3.3..3.4, 0.3..1.7);
    assert_eq!(groups(&hedge).len(), 1);
}

#[test]
fn a_crown_above_a_car_belongs_to_no_group() {
    let mut points = Vec::new();
    block(&mut points, 8.0..12.0, 3.0..4.5, 0.3..1.5);
    let car = points.len();
    block(&mut points, 7.0..13.0, 2.0..6.0, 3.0..4.0);
    let found = groups(&points);
    assert_eq!(found.len(), 1);
    assert!(found[0].members.iter().all(|member| (*member as usize) < car));
}

#[test]
fn nothing_in_nothing_out() {
    assert!(groups(&[]).is_empty());
    assert!(groups(&[[3.0, 3.0, 1.0]]).is_empty());
    assert_eq!(groups(&vec![[3.0, 3.0, 1.0]; 5000]).len(), 1);
}
