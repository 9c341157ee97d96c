//! Promises of the tracker.

use super::*;
use crate::classify::Vote;
use crate::fit::{FitConfig, fit_box};
use crate::moments::PointMoment;

fn taxonomy() -> Arc<Taxonomy> {
    Arc::new(Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap())
}

/// A car seen as two faces, centre at x, y in the ego frame.
fn car(x: f64, y: f64, taxonomy: &Taxonomy) -> Candidate {
    let mut points: Vec<[f32; 3]> = Vec::new();
    for step in 0..30 {
        let share = f64::from(step) / 29.0 - 0.5;
        for z in [0.3, 1.5] {
            points.push([(x + 4.5 * share) as f32, (y - 0.9 * y.signum()) as f32, z]);
            points.push([(x - 2.25 * x.signum()) as f32, (y + 1.8 * share) as f32, z]);
        }
    }
    let members: Vec<u32> = (0..points.len() as u32).collect();
    let heights: Vec<f32> = points.iter().map(|p| p[2]).collect();
    let shape = fit_box(&points, &heights, &members, [0.0; 2], &FitConfig::default()).unwrap();
    let class = taxonomy.find("car").unwrap();
    let turned = shape.extents_m()[1] > shape.extents_m()[0];
    let ego_from_box = shape.complete([4.5, 1.8, 1.5], turned, [0.0; 2]);
    let votes =
        (0..4).map(|id| Vote { class: ClassId(id), logit: if id == class.0 { 2.0 } else { -3.0 }, camera: None, turned }).collect();
    Candidate {
        outline_moments: vec![PointMoment::default(); shape.outline.len()],
        shape,
        votes,
        class,
        score: 0.88,
        ego_from_box,
        lidar_xy: [0.0; 2],
        cut_out: false,
        stamp_ns: 0,
        points_ns: [0; 2],
        holds_after_ns: 0,
        covered_left_right: [false; 2],
        given_by: None,
    }
}

const STEP_NS: i64 = NS_PER_S / 10;

#[test]
fn a_parked_car_has_no_speed_though_the_vehicle_drives_past_it() {
    let taxonomy = taxonomy();
    let mut tracker = Tracker::new(TrackConfig::default(), taxonomy.clone());
    for sweep in 0..20 {
        let ego_x = sweep as f64;
        let pose = Pose::translation(ego_x, 0.0, 0.0);
        tracker.step(sweep, sweep as i64 * STEP_NS, &pose, vec![car(30.0 - ego_x, 4.0, &taxonomy)]);
    }
    let tracks = tracker.finish();
    assert_eq!(tracks.len(), 1);
    assert_eq!(tracks[0].observations.len(), 20);
    assert!(tracks[0].kalman.speed_mps() < 0.5, "{:?}", tracks[0].kalman);
}

#[test]
fn two_cars_that_pass_each_other_keep_their_numbers() {
    let taxonomy = taxonomy();
    let mut tracker = Tracker::new(TrackConfig::default(), taxonomy.clone());
    for sweep in 0..30 {
        let along = 1.2 * sweep as f64;
        let cars = vec![car(10.0 + along, 3.0, &taxonomy), car(46.0 - along, 6.5, &taxonomy)];
        tracker.step(sweep, sweep as i64 * STEP_NS, &Pose::identity(), cars);
    }
    let tracks = tracker.finish();
    assert_eq!(tracks.len(), 2);
    assert!(tracks[0].kalman.velocity_mps[0] > 9.0 && tracks[1].kalman.velocity_mps[0] < -9.0);
}

#[test]
fn a_track_coasts_through_a_short_gap_and_ends_after_a_long_one() {
    let taxonomy = taxonomy();
    let mut tracker = Tracker::new(TrackConfig::default(), taxonomy.clone());
    for sweep in 0..40 {
        let seen = sweep < 6 || (9..15).contains(&sweep) || sweep >= 30;
        let cars = if seen { vec![car(20.0, 3.0, &taxonomy)] } else { vec![] };
        tracker.step(sweep, sweep as i64 * STEP_NS, &Pose::identity(), cars);
    }
    let tracks = tracker.finish();
    assert_eq!(tracks.iter().map(|t| (t.number, t.observations.len())).collect::<Vec<_>>(), vec![(0, 12), (1, 10)]);
}

#[test]
fn two_hits_are_no_track() {
    let taxonomy = taxonomy();
    let mut tracker = Tracker::new(TrackConfig::default(), taxonomy.clone());
    for sweep in 0..2 {
        tracker.step(sweep, sweep as i64 * STEP_NS, &Pose::identity(), vec![car(20.0, 3.0, &taxonomy)]);
    }
    assert!(tracker.finish().is_empty());
}

#[test]
fn what_appears_at_forty_metres_a_second_is_one_track() {
    let taxonomy = taxonomy();
    let mut tracker = Tracker::new(TrackConfig::default(), taxonomy.clone());
    for sweep in 0..10 {
        tracker.step(sweep, sweep as i64 * STEP_NS, &Pose::identity(), vec![car(4.0 * sweep as f64 - 18.0, 6.0, &taxonomy)]);
    }
    let tracks = tracker.finish();
    assert_eq!(tracks.iter().map(|t| t.observations.len()).collect::<Vec<_>>(), [10]);
    assert!((tracks[0].kalman.velocity_mps[0] - 40.0).abs() < 2.0, "{:?}", tracks[0].kalman);
}

#[test]
fn sightings_that_compete_or_lie_sideways_are_not_joined_to_something_fast() {
    let taxonomy = taxonomy();
    let second: [&[[f64; 2]]; 2] = [&[[14.0, 6.0], [24.0, 6.0]], &[[18.0, 10.5]]];
    for places in second {
        let mut tracker = Tracker::new(TrackConfig::default(), taxonomy.clone());
        let cars = |places: &[[f64; 2]]| places.iter().map(|[x, y]| car(*x, *y, &taxonomy)).collect();
        tracker.step(0, 0, &Pose::identity(), cars(&[[19.0, 6.0]]));
        tracker.step(1, STEP_NS, &Pose::identity(), cars(places));
        assert!(tracker.live.iter().all(|track| track.observations.len() == 1), "{places:?}");
    }
}

#[test]
fn a_hit_is_compared_with_the_track_at_the_moment_it_was_measured() {
    let taxonomy = taxonomy();
    let mut tracker = Tracker::new(TrackConfig::default(), taxonomy.clone());
    // At 20 m/s, seen at the begin of the sweep until it crosses the seam, then at its end.
    for sweep in 0..12 {
        let after_ns = if sweep < 6 { 0 } else { STEP_NS };
        let x = 20.0 * (sweep as f64 * 0.1 + after_ns as f64 * 1e-9) - 14.0;
        tracker.step(
            sweep,
            sweep as i64 * STEP_NS,
            &Pose::identity(),
            vec![Candidate { holds_after_ns: after_ns, ..car(x, 6.0, &taxonomy) }],
        );
    }
    let tracks = tracker.finish();
    assert_eq!(tracks.iter().map(|t| t.observations.len()).collect::<Vec<_>>(), [12]);
    assert!((tracks[0].kalman.velocity_mps[0] - 20.0).abs() < 1.0, "{:?}", tracks[0].kalman);
}

#[test]
fn a_track_does_not_feed_on_its_own_expectation() {
    let taxonomy = taxonomy();
    let mut tracker = Tracker::new(TrackConfig::default(), taxonomy.clone());
    let mut expected = Vec::new();
    for sweep in 0..12 {
        let cut_out = sweep >= 6;
        let stamp_ns = sweep as i64 * STEP_NS;
        tracker.step(sweep, stamp_ns, &Pose::identity(), vec![Candidate { cut_out, ..car(20.0, 6.0, &taxonomy) }]);
        expected.push(tracker.expected(stamp_ns + STEP_NS, &Pose::identity()));
    }
    // Confirmed after three hits, expected until three sweeps after the last one that needed no help.
    assert_eq!(expected.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]);
    let vehicle = expected[5][0];
    assert!((vehicle.ego_from_box.center_m.x - 20.0).hypot(vehicle.ego_from_box.center_m.y - 6.0) < 0.5, "{vehicle:?}");
    assert_eq!(vehicle.last_points, 120);
}

#[test]
fn what_only_a_camera_is_sure_of_is_not_expected() {
    let taxonomy = taxonomy();
    let expected_with = |shape_logit: f64| {
        let mut tracker = Tracker::new(TrackConfig::default(), taxonomy.clone());
        for sweep in 0..6 {
            let mut bush = car(20.0, 6.0, &taxonomy);
            let vote = &mut bush.votes[usize::from(bush.class.0)];
            (vote.logit, vote.camera) = (shape_logit, Some(4.0));
            bush.score = 0.98;
            tracker.step(sweep, sweep as i64 * STEP_NS, &Pose::identity(), vec![bush]);
        }
        tracker.expected(6 * STEP_NS, &Pose::identity()).len()
    };
    assert_eq!(
        [0.0, 2.0].map(expected_with),
        [0, 1],
        "the same camera, with a shape that may be anything and with one that is a car"
    );
}

/// Tracks cars that are seen in some of 60 sweeps, and joins the parts.
fn joined(seen: impl Fn(usize) -> Vec<[f64; 2]>) -> Vec<(u32, Vec<usize>)> {
    joined_as("car", |_| true, seen)
}

/// The same with things of another class, and with a pose for some sweeps only.
fn joined_as(name: &str, has_pose: impl Fn(usize) -> bool, seen: impl Fn(usize) -> Vec<[f64; 2]>) -> Vec<(u32, Vec<usize>)> {
    joined_by(&TrackConfig::default(), name, has_pose, seen)
}

fn joined_by(
    config: &TrackConfig,
    name: &str,
    has_pose: impl Fn(usize) -> bool,
    seen: impl Fn(usize) -> Vec<[f64; 2]>,
) -> Vec<(u32, Vec<usize>)> {
    let taxonomy = taxonomy();
    let class = taxonomy.find(name).unwrap();
    let like = |[x, y]: [f64; 2]| {
        let mut one = car(x, y, &taxonomy);
        one.votes.iter_mut().for_each(|vote| vote.logit = if vote.class == class { 2.0 } else { -3.0 });
        Candidate { class, ..one }
    };
    let mut tracker = Tracker::new(config.clone(), taxonomy.clone());
    for sweep in 0..60 {
        tracker.step(sweep, sweep as i64 * STEP_NS, &Pose::identity(), seen(sweep).into_iter().map(like).collect());
    }
    let sweep_at = |sweep: usize| has_pose(sweep).then(|| (sweep as i64 * STEP_NS, Pose::identity()));
    let stands = |track: &TrackHistory<Candidate>| track.kalman.speed_mps() < 0.5;
    let tracks = join_parts(tracker.finish(), sweep_at, stands, config, &taxonomy);
    tracks.into_iter().map(|track| (track.number, track.observations.iter().map(|one| one.sweep).collect())).collect()
}

#[test]
fn a_car_that_was_hidden_for_longer_than_a_track_coasts_is_one_track() {
    let hidden = |sweep: usize| (20..35).contains(&sweep);
    let way = |sweep: usize| [0.8 * sweep as f64 - 20.0, 6.0];
    let tracks = joined(|sweep| if hidden(sweep) { vec![] } else { vec![way(sweep)] });
    assert_eq!(tracks, [(0, (0..60).filter(|sweep| !hidden(*sweep)).collect::<Vec<_>>())]);
    // Three seconds are too long for what drives, and no time is for what stands.
    let hidden = |sweep: usize| (15..45).contains(&sweep);
    assert_eq!(joined(|sweep| if hidden(sweep) { vec![] } else { vec![way(sweep)] }).len(), 2);
    let tracks = joined(|sweep| if hidden(sweep) { vec![] } else { vec![[20.0, 6.0]] });
    assert_eq!(tracks, [(0, (0..60).filter(|sweep| !hidden(*sweep)).collect::<Vec<_>>())]);
    // Three parts.
    let hidden = |sweep: usize| (15..27).contains(&sweep) || (40..52).contains(&sweep);
    let tracks = joined(|sweep| if hidden(sweep) { vec![] } else { vec![way(sweep)] });
    assert_eq!(tracks, [(0, (0..60).filter(|sweep| !hidden(*sweep)).collect::<Vec<_>>())]);
}

#[test]
fn what_stands_is_joined_over_any_gap_only_where_nothing_else_was_in_its_place() {
    let standing = |sweep: usize| if (15..45).contains(&sweep) { vec![] } else { vec![[20.0, 6.0]] };
    let lens = |tracks: Vec<(u32, Vec<usize>)>| tracks.iter().map(|(_, seen)| seen.len()).collect::<Vec<_>>();
    // Another car drives through the place, or past it.
    let crossed_at = |x: f64| {
        move |sweep: usize| {
            [standing(sweep), if (27..36).contains(&sweep) { vec![[x, 6.0 + 0.8 * (sweep as f64 - 31.0)]] } else { vec![] }]
                .concat()
        }
    };
    assert_eq!(lens(joined(crossed_at(20.0))), [15, 9, 15]);
    assert_eq!(lens(joined(crossed_at(28.0))), [30, 9]);
    // Three seconds later another person stands there.
    assert_eq!(lens(joined_as("pedestrian", |_| true, standing)), [15, 15]);
    let shortly = |sweep: usize| if (15..27).contains(&sweep) { vec![] } else { vec![[20.0, 6.0]] };
    assert_eq!(lens(joined_as("pedestrian", |_| true, shortly)), [48]);
    let off = TrackConfig { max_join_s: 0.0, ..TrackConfig::default() };
    assert_eq!(lens(joined_by(&off, "car", |_| true, standing)), [15, 15]);
    // Where the vehicle was is not known: standing is nothing that could be told.
    assert_eq!(lens(joined_as("car", |sweep| sweep != 50, standing)), [15, 15]);
}

/// Two tracks of one car that take its sightings by turns, as they come where the first one coasted to a wrong place.
fn by_turns(of_first: &[usize], of_second: &[usize], aside_m: f64) -> Vec<Vec<usize>> {
    let (taxonomy, config) = (taxonomy(), TrackConfig::default());
    let track = |number: u32, sweeps: &[usize], aside_m: f64| {
        let mut tracker = Tracker::new(config.clone(), taxonomy.clone());
        for sweep in sweeps {
            let seen = car(0.8 * *sweep as f64 - 20.0, 6.0 + aside_m, &taxonomy);
            tracker.step(*sweep, *sweep as i64 * STEP_NS, &Pose::identity(), vec![seen]);
        }
        TrackHistory { number, ..tracker.finish().swap_remove(0) }
    };
    let tracks = vec![track(0, of_first, 0.0), track(1, of_second, aside_m)];
    let sweep_at = |sweep: usize| Some((sweep as i64 * STEP_NS, Pose::identity()));
    let joined = join_parts(tracks, sweep_at, |_| false, &config, &taxonomy);
    joined.iter().map(|track| track.observations.iter().map(|one| one.sweep).collect()).collect()
}

#[test]
fn tracks_that_take_the_sightings_of_one_car_by_turns_are_one() {
    let (first, second): (Vec<usize>, Vec<usize>) =
        ((0..20).chain([22, 23, 26]).collect(), [20, 21, 24, 25].into_iter().chain(27..50).collect());
    assert_eq!(by_turns(&first, &second, 0.3), [(0..50).collect::<Vec<_>>()]);
    // Seen once in the same sweep (22), they are two; and so they are in two lanes, or where one ends before the other does that began before it.
    let also: Vec<usize> = (20..50).filter(|sweep| ![23, 26].contains(sweep)).collect();
    assert_eq!(by_turns(&first, &also, 0.3).len(), 2);
    assert_eq!(by_turns(&first, &second, 3.5).len(), 2);
    assert_eq!(by_turns(&(0..20).chain(30..50).collect::<Vec<_>>(), &(20..30).collect::<Vec<_>>(), 0.3).len(), 2);
}

#[test]
fn other_cars_are_not_joined() {
    // One drives out of sight, another comes into sight the other way, where the first one would be by then.
    let tracks = joined(|sweep| match sweep {
        0..20 => vec![[0.8 * sweep as f64 - 20.0, 6.0]],
        35..60 => vec![[8.0 - 0.8 * (sweep as f64 - 35.0), 6.0]],
        _ => vec![],
    });
    assert_eq!(tracks.iter().map(|(number, seen)| (*number, seen.len())).collect::<Vec<_>>(), [(0, 20), (1, 25)]);
    // One stands where the other would be if it had braked.
    let tracks = joined(|sweep| match sweep {
        0..20 => vec![[0.8 * sweep as f64 - 20.0, 6.0]],
        35..60 => vec![[1.0, 6.0]],
        _ => vec![],
    });
    assert_eq!(tracks.len(), 2);
    // One comes into sight four metres behind where the other one would be.
    let tracks = joined(|sweep| match sweep {
        0..20 => vec![[0.8 * sweep as f64 - 20.0, 6.0]],
        35..60 => vec![[0.8 * sweep as f64 - 24.0, 6.0]],
        _ => vec![],
    });
    assert_eq!(tracks.len(), 2);
    // Two that are seen at once.
    let tracks = joined(|sweep| if sweep < 30 { vec![[10.0, 6.0]] } else { vec![[10.0, 6.0], [10.0, 10.0]] });
    assert_eq!(tracks.iter().map(|(_, seen)| seen.len()).collect::<Vec<_>>(), [60, 30]);
}

#[test]
fn what_is_measured_later_in_the_sweep_that_a_track_ended_in_is_another_object() {
    let (taxonomy, config) = (taxonomy(), TrackConfig::default());
    let mut tracker = Tracker::new(config.clone(), taxonomy.clone());
    let at = |x: f64, after_ns: i64| Candidate { holds_after_ns: after_ns, ..car(x, 6.0, &taxonomy) };
    // One is seen last in the sweep in which another one is seen first, a metre away and a little later.
    for sweep in 0..=40 {
        let mut cars = vec![];
        if sweep <= 20 {
            cars.push(at(20.0, 0));
        }
        if sweep >= 20 {
            cars.push(at(20.8, STEP_NS / 2));
        }
        tracker.step(sweep, sweep as i64 * STEP_NS, &Pose::identity(), cars);
    }
    let tracks = tracker.finish();
    assert_eq!(tracks.len(), 2);
    let sweep_at = |sweep: usize| Some((sweep as i64 * STEP_NS, Pose::identity()));
    for track in join_parts(tracks, sweep_at, |_| true, &config, &taxonomy) {
        assert!(track.observations.windows(2).all(|pair| pair[0].sweep < pair[1].sweep));
    }
}
