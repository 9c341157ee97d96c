//! A parked car, in sweeps that its track did not find it in.

use boxwright_model::{Cuboid, Pose};
use nalgebra::Vector3;

use super::*;
use crate::clip::motion::Motion;
use crate::clip::placed::fixture::parked;

const SWEEPS: usize = 40;
/// The sweeps of its own sightings.
const SEEN: std::ops::Range<usize> = 20..30;

fn taxonomy() -> Taxonomy {
    Taxonomy::from_toml(include_str!("../../../../../configs/taxonomy.toml")).unwrap()
}

fn cuboid() -> Cuboid {
    Cuboid::upright(Vector3::new(12.0, 6.0, 0.75), Vector3::new(4.5, 1.8, 1.5), 0.3)
}

/// Points on the two faces that a lidar at the origin sees, the rows of points `gap_m` apart.
fn car(gap_m: f64) -> Vec<[f32; 3]> {
    let (sin, cos) = 0.3f64.sin_cos();
    let at = |along: f64, across: f64, z: f64| {
        [(12.0 + along * cos - across * sin) as f32, (6.0 + along * sin + across * cos) as f32, z as f32]
    };
    let steps = |length: f64| (0..=(length / gap_m) as usize).map(move |step| step as f64 * gap_m - length / 2.0);
    let heights = [0.4, 0.8, 1.2];
    let side = steps(4.5).flat_map(|along| heights.map(|z| at(along, -0.9, z)));
    let front = steps(1.8).flat_map(|across| heights.map(|z| at(-2.25, across, z)));
    side.chain(front).collect()
}

/// A hedge that grows through the place of the car: as many points, everywhere.
fn thicket() -> Vec<[f32; 3]> {
    let cells = (0..60).flat_map(|x| (0..40).map(move |y| [9.0 + 0.1 * x as f32, 4.0 + 0.1 * y as f32, 1.0]));
    cells.collect()
}

/// Seeks the car in a clip; the sweeps that the track has then, and how many of them were sought.
fn sought(change: impl Fn(&mut Placed), scene: impl Fn(usize) -> Vec<[f32; 3]>) -> (Vec<usize>, usize) {
    sought_beside(change, |_| None, 10, scene)
}

/// The same with another track beside it, and so many sweeps a second.
fn sought_beside(
    change: impl Fn(&mut Placed),
    others: impl Fn(&Placed) -> Option<Placed>,
    sweeps_a_second: i64,
    scene: impl Fn(usize) -> Vec<[f32; 3]>,
) -> (Vec<usize>, usize) {
    let pose = |sweep: usize| Pose::translation(0.3 * sweep as f64, 0.0, 0.0);
    let sweeps: Vec<SweepInfo> = (0..SWEEPS)
        .map(|sweep| SweepInfo {
            sample_id: "v".into(),
            stamp_ns: sweep as i64 * NS_PER_S / sweeps_a_second,
            world_from_ego: pose(sweep),
            has_pose: true,
        })
        .collect();
    let standing: Vec<Standing> = (0..SWEEPS)
        .map(|sweep| {
            let ahead_m = 0.3 * sweep as f32;
            let points: Vec<[f32; 3]> = scene(sweep).iter().map(|[x, y, z]| [x - ahead_m, *y, *z]).collect();
            let heights: Vec<f32> = points.iter().map(|p| p[2]).collect();
            Standing::of(&points, &heights, 0.22, [0.0; 2])
        })
        .collect();
    let taxonomy = taxonomy();
    let mut track = parked(0, taxonomy.find("car").unwrap(), SEEN.filter(|sweep| *sweep != 24));
    for one in &mut track.placements {
        one.stamp_ns = sweeps[one.sweep].stamp_ns;
        one.points_ns = [one.stamp_ns; 2];
    }
    change(&mut track);
    let mut tracks = vec![track];
    tracks.extend(others(&tracks[0]));
    seek(&mut tracks, &sweeps, &standing, &taxonomy, 1.0);
    let track = tracks.swap_remove(0);
    assert!(track.placements.iter().all(|one| one.world_from_box == cuboid()));
    let found = |one: &&Placement| one.sought && one.num_points > 50;
    (track.placements.iter().map(|one| one.sweep).collect(), track.placements.iter().filter(found).count())
}

#[test]
fn a_parked_car_is_found_in_the_sweeps_before_between_and_after_its_sightings() {
    // As often before and after as it was seen itself: nine times.
    let (seen, added) = sought(|_| {}, |_| car(0.05));
    assert_eq!((seen, added), ((11..39).collect(), 9 + 1 + 9));
    // Its neighbours are none of its business.
    let hedge = |x0: f32| (0..40).map(move |step| [x0 + 0.1 * step as f32, 4.0, 1.0]);
    let crowded = |_: usize| car(0.05).into_iter().chain(hedge(5.0)).chain(hedge(15.0)).collect::<Vec<_>>();
    assert_eq!(sought(|_| {}, crowded).0, (11..39).collect::<Vec<_>>());
}

#[test]
fn it_is_not_found_where_nothing_few_points_or_something_else_is() {
    // It came at the fifteenth sweep and left with the thirty-fifth.
    let there = |sweep: usize| (15..35).contains(&sweep);
    for other in [vec![], car(0.5), thicket()] {
        let (seen, added) = sought(|_| {}, |sweep| if there(sweep) { car(0.05) } else { other.clone() });
        assert_eq!((seen, added), ((15..35).collect(), 11), "{} other points", other.len());
    }
}

#[test]
fn the_search_ends_where_it_was_not_there_for_half_a_second() {
    let there = |sweep: usize| (12..14).contains(&sweep) || sweep >= 20;
    let seen_with =
        |also: Option<usize>| sought(|_| {}, |sweep| if there(sweep) || Some(sweep) == also { car(0.05) } else { vec![] }).0;
    // From sweep 20 back nothing is there for six sweeps.
    assert_eq!(seen_with(None), (20..39).collect::<Vec<_>>());
    assert_eq!(seen_with(Some(16)), [12, 13, 16].into_iter().chain(20..39).collect::<Vec<_>>());
}

#[test]
fn only_sure_vehicles_that_stand_at_one_pose_are_looked_for_before_and_after_they_were_seen() {
    let own: Vec<usize> = SEEN.filter(|sweep| *sweep != 24).collect();
    let (all, scene) = (SEEN.collect::<Vec<_>>(), |_| car(0.05));
    assert_eq!(sought(|track| track.score = 0.4, scene).0, own);
    assert_eq!(sought(|track| track.motion.is_static = false, scene).0, own);
    assert_eq!(sought(|track| track.class = taxonomy().find("pedestrian").unwrap(), scene).0, own);
    // Where the vehicle's own pose drifts, only between sightings.
    assert_eq!(sought(|track| track.how.refined = "followed", scene).0, all);
}

#[test]
fn where_another_track_has_a_box_it_is_not_and_the_search_ends() {
    // The car drives off with the 34th sweep, as a track of its own; its points are still in the place for two sweeps.
    let driving_off = |parked: &Placed| {
        let placements = (33..36).map(|sweep| Placement { sweep, ..parked.placements[0] }).collect();
        Some(Placed { number: 1, score: 0.3, motion: Motion { is_static: false, ..parked.motion }, placements, ..parked.clone() })
    };
    let (seen, _) = sought_beside(|_| {}, driving_off, 10, |_| car(0.05));
    assert_eq!(seen, (11..33).collect::<Vec<_>>());
}

#[test]
fn where_another_track_has_a_box_between_two_sightings_or_in_its_own_gap_it_is_not() {
    let passing = |parked: &Placed| {
        let placements = [22, 26].map(|sweep| Placement { sweep, ..parked.placements[0] }).to_vec();
        Some(Placed { number: 1, score: 0.3, motion: Motion { is_static: false, ..parked.motion }, placements, ..parked.clone() })
    };
    let (seen, _) = sought_beside(|_| {}, passing, 10, |_| car(0.05));
    assert_eq!(seen, (11..39).filter(|sweep| *sweep != 24).collect::<Vec<_>>());
}

#[test]
fn it_is_looked_for_where_sweeps_are_rare() {
    // At one a second, half a second has passed before the first look.
    assert_eq!(sought_beside(|_| {}, |_| None, 1, |_| car(0.05)).0, (11..39).collect::<Vec<_>>());
}
