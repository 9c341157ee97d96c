//! Promises of a whole clip, on a small street that is cast ray by ray, and on input that no sensor should send.

use boxwright_model::time::NS_PER_S;
use proptest::prelude::*;

use super::*;

fn taxonomy() -> Arc<Taxonomy> {
    Arc::new(Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap())
}

/// Points of a 40-beam lidar 1.8 m above flat ground at z = 0 that sees upright boxes (centre x, y, yaw, length, width, height).
fn cast(objects: &[[f64; 6]]) -> PointCloud {
    let mut cloud = PointCloud::default();
    for beam in 0..40 {
        let slope = (-24.0 + 0.65 * f64::from(beam)).to_radians().tan();
        for step in 0..1800 {
            let (sin, cos) = (f64::from(step) * 0.2).to_radians().sin_cos();
            let ground = if slope < 0.0 { -1.8 / slope } else { f64::INFINITY };
            let hit = objects.iter().filter_map(|o| enter(o, cos, sin, slope)).fold(ground, f64::min);
            if hit < 60.0 {
                cloud.x.push((hit * cos) as f32);
                cloud.y.push((hit * sin) as f32);
                cloud.z.push((1.8 + hit * slope) as f32);
            }
        }
    }
    cloud.intensity = vec![0.0; cloud.x.len()];
    cloud
}

/// Distance at which a ray from above the origin enters a box, if it does.
fn enter([x, y, yaw, length, width, height]: &[f64; 6], dx: f64, dy: f64, slope: f64) -> Option<f64> {
    let (sin, cos) = yaw.sin_cos();
    let origin = [-x * cos - y * sin, x * sin - y * cos, 1.8 - height / 2.0];
    let direction = [dx * cos + dy * sin, dy * cos - dx * sin, slope];
    let (mut near, mut far) = (0.0f64, f64::INFINITY);
    for (axis, half) in [length / 2.0, width / 2.0, height / 2.0].into_iter().enumerate() {
        let (a, b) = ((-half - origin[axis]) / direction[axis], (half - origin[axis]) / direction[axis]);
        near = near.max(a.min(b));
        far = far.min(a.max(b));
    }
    (near < far && near > 0.0).then_some(near)
}

const WALL: [f64; 6] = [20.0, 12.0, 0.0, 80.0, 0.5, 8.0];

/// What is in the street at a time, in the frame of a vehicle that drives along x at 5 m/s.
fn street(seconds: f64) -> Vec<[f64; 6]> {
    let ego = 5.0 * seconds;
    let parked = [25.0 - ego, 6.0, 0.0, 4.5, 1.8, 1.5];
    let oncoming = [40.0 - 8.0 * seconds - ego, -4.0, 0.0, 4.3, 1.8, 1.5];
    let walker = [15.0 - ego, -8.0 + 1.4 * seconds, 1.57, 0.5, 0.6, 1.75];
    let pole = [18.0 - ego, -9.0, 0.0, 0.25, 0.25, 6.0];
    vec![parked, oncoming, walker, pole, [WALL[0] - ego, WALL[1], 0.0, 80.0, 0.5, 8.0]]
}

fn label(sweeps: usize) -> (ClipLabels, Vec<SweepLabels>) {
    let mut labeler = ClipLabeler::new(&LabelConfig::default(), taxonomy(), ClipId(7));
    let mut live = Vec::new();
    for sweep in 0..sweeps {
        let seconds = 0.1 * sweep as f64;
        live.push(labeler.sweep(&SweepInput {
            sample_id: format!("v:{sweep}").into(),
            stamp_ns: sweep as i64 * NS_PER_S / 10,
            points: &cast(&street(seconds)),
            world_from_ego: Some(Pose::translation(5.0 * seconds, 0.0, 0.0)),
            lidar_origin_ego_m: [0.0, 0.0, 1.8],
        }));
    }
    (labeler.finish(), live)
}

#[test]
fn a_small_street_gives_its_three_objects_and_nothing_else() {
    let (labels, live) = label(20);
    let taxonomy = taxonomy();
    let mut names: Vec<&str> = labels.tracks.iter().map(|t| &*taxonomy.get(t.class).name).collect();
    names.sort_unstable();
    assert_eq!(names, ["car", "car", "pedestrian"], "{:#?}", labels.tracks);
    assert_eq!(labels.tracks.iter().filter(|t| t.is_static).count(), 1);
    assert!(live.last().unwrap().boxes.len() >= 3);
    let parked = labels.tracks.iter().find(|t| t.is_static).unwrap().track_id;
    let still: Vec<&Box3> = labels.boxes.iter().filter(|b| b.track_id == parked).collect();
    assert!(still.iter().all(|b| b.world_from_box == still[0].world_from_box));
    assert!((still[0].world_from_box.center_m - Vector3::new(25.0, 6.0, 0.75)).norm() < 0.4, "{:?}", still[0].world_from_box);
    let fast = labels.boxes.iter().filter(|b| b.velocity_world_mps[0] < -7.0).count();
    assert!(fast >= 15, "{fast} boxes of the oncoming car know its speed");
}

#[test]
fn boxes_are_ordered_sized_once_a_track_and_explained() {
    let (labels, _) = label(12);
    assert!(labels.boxes.is_sorted_by_key(|b| (b.sample_stamp_ns, b.track_id)));
    for track in &labels.tracks {
        let boxes: Vec<&Box3> = labels.boxes.iter().filter(|b| b.track_id == track.track_id).collect();
        assert_eq!(boxes.len(), track.boxes as usize);
        assert!(boxes.iter().all(|b| b.world_from_box.size_lwh_m == Vector3::from(track.size_lwh_m)));
        let evidence: serde_json::Value = serde_json::from_str(&boxes[0].evidence).unwrap();
        assert!(evidence["hits"].as_u64().unwrap() >= 4);
        // The score is the probability that the named model makes of the raw one.
        let confidence = &LabelConfig::default().clip.confidence;
        assert_eq!(evidence["confidence"]["model"].as_str().unwrap(), confidence.id());
        let raw = evidence["confidence"]["raw"].as_f64().unwrap();
        let made = [confidence.vehicle, confidence.people].map(|map| map.probability(raw));
        assert!(made.iter().any(|made| (made - boxes[0].score).abs() < 0.05), "{raw} -> {made:?}, got {}", boxes[0].score);
    }
}

#[test]
fn the_same_sweeps_give_the_same_labels() {
    assert_eq!(label(8), label(8));
}

#[test]
fn a_box_bears_the_mean_time_of_its_points() {
    let mut labeler = ClipLabeler::new(&LabelConfig::default(), taxonomy(), ClipId(0));
    for sweep in 0..8i64 {
        let mut points = cast(&[[12.0, 5.0, 0.0, 4.5, 1.8, 1.5]]);
        points.time_offset_ns = Some(vec![-30_000_000; points.x.len()]);
        let stamp_ns = NS_PER_S + sweep * NS_PER_S / 10;
        let input =
            SweepInput { sample_id: "v".into(), stamp_ns, points: &points, world_from_ego: None, lidar_origin_ego_m: [0.0; 3] };
        labeler.sweep(&input);
    }
    let labels = labeler.finish();
    assert!(!labels.boxes.is_empty());
    assert!(labels.boxes.iter().all(|b| b.stamp_ns == b.sample_stamp_ns - 30_000_000));
}

#[test]
fn a_live_box_was_measured_where_its_velocity_says() {
    let mut labeler = ClipLabeler::new(&LabelConfig::default(), taxonomy(), ClipId(0));
    let mut moving = 0;
    for sweep in 0..12i64 {
        let mut points = cast(&street(0.1 * sweep as f64));
        points.time_offset_ns = Some(vec![-30_000_000; points.x.len()]);
        let input = SweepInput {
            sample_id: "v".into(),
            stamp_ns: NS_PER_S + sweep * NS_PER_S / 10,
            points: &points,
            world_from_ego: Some(Pose::translation(0.5 * sweep as f64, 0.0, 0.0)),
            lidar_origin_ego_m: [0.0, 0.0, 1.8],
        };
        for b in labeler.sweep(&input).boxes.iter().filter(|b| b.velocity_world_mps[0] < -6.0) {
            let seconds = (b.sample_stamp_ns - b.stamp_ns) as f64 * 1e-9;
            let moved_m = b.world_from_box.center_m.x - b.measured_world_center_m.x;
            assert!((moved_m - seconds * b.velocity_world_mps[0]).abs() < 0.02, "{b:?}");
            moving += usize::from(seconds > 0.0);
        }
    }
    assert!(moving > 0, "no live box knows the speed of the oncoming car");
}

#[test]
fn a_parked_car_is_followed_only_where_the_vehicles_own_pose_drifts() {
    let placed = |drift_mps: f64| {
        let mut labeler = ClipLabeler::new(&LabelConfig::default(), taxonomy(), ClipId(0));
        for sweep in 0..30 {
            let seconds = 0.1 * f64::from(sweep);
            let x = 11.0 - 3.0 * seconds;
            labeler.sweep(&SweepInput {
                sample_id: format!("v:{sweep}").into(),
                stamp_ns: i64::from(sweep) * NS_PER_S / 10,
                points: &cast(&[[x, 5.0, 0.2, 4.3, 1.8, 1.5]]),
                world_from_ego: Some(Pose::translation((3.0 + drift_mps) * seconds, 0.0, 0.0)),
                lidar_origin_ego_m: [0.0, 0.0, 1.8],
            });
        }
        let labels = labeler.finish();
        assert_eq!(labels.tracks.len(), 1, "{:#?}", labels.tracks);
        let off = |b: &Box3| (b.ego_from_box.center_m.x - (11.0 - 3.0 * b.sample_stamp_ns as f64 * 1e-9)).abs();
        let evidence: serde_json::Value = serde_json::from_str(&labels.boxes[0].evidence).unwrap();
        (labels.boxes.iter().map(off).fold(0.0, f64::max), evidence["refined"].as_str().unwrap().to_owned())
    };
    let (true_pose_m, refined) = placed(0.0);
    assert!(true_pose_m < 0.4 && refined == "one_pose", "{true_pose_m} {refined}");
    let (drifting_m, refined) = placed(0.25);
    assert!(drifting_m < 0.5 && refined == "followed", "{drifting_m} {refined}");
}

fn sweep_of(xyz: &[[f32; 3]]) -> PointCloud {
    PointCloud {
        x: xyz.iter().map(|p| p[0]).collect(),
        y: xyz.iter().map(|p| p[1]).collect(),
        z: xyz.iter().map(|p| p[2]).collect(),
        intensity: vec![0.0; xyz.len()],
        ..PointCloud::default()
    }
}

fn survives(xyz: &[[f32; 3]]) {
    let mut labeler = ClipLabeler::new(&LabelConfig::default(), taxonomy(), ClipId(0));
    let points = sweep_of(xyz);
    for sweep in 0..5 {
        let input = SweepInput {
            sample_id: "v".into(),
            stamp_ns: sweep * 100_000_000,
            points: &points,
            world_from_ego: None,
            lidar_origin_ego_m: [0.0; 3],
        };
        let live = labeler.sweep(&input);
        assert!(live.boxes.iter().all(|b| b.ego_from_box.is_valid()));
    }
    assert!(labeler.finish().boxes.iter().all(|b| b.ego_from_box.is_valid() && b.world_from_box.is_valid()));
}

#[test]
fn broken_sweeps_are_survived() {
    survives(&[]);
    survives(&[[5.0, 5.0, 0.0]]);
    survives(&[[f32::NAN; 3]; 100]);
    survives(&[[1e30, -1e30, 1e30]; 100]);
    survives(&[[f32::INFINITY, 0.0, f32::NEG_INFINITY], [f32::MIN_POSITIVE; 3], [f32::MAX; 3]]);
    survives(&vec![[4.0, 4.0, 1.0]; 100_000]);
    let line: Vec<[f32; 3]> = (0..1000).map(|i| [0.05 * i as f32, 3.0, 0.001 * i as f32]).collect();
    survives(&line);
}

#[test]
fn a_million_points_everywhere_are_survived() {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let points: Vec<[f32; 3]> = (0..1_000_000).map(|_| [140.0 * random(), 140.0 * random(), 8.0 * random()]).collect();
    survives(&points);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_bits_are_survived(bits in proptest::collection::vec(any::<[u32; 3]>(), 0..300)) {
        let points: Vec<[f32; 3]> = bits.iter().map(|p| p.map(f32::from_bits)).collect();
        survives(&points);
    }

    #[test]
    fn any_handful_near_the_vehicle_is_survived(points in proptest::collection::vec([-30.0f32..30.0, -30.0f32..30.0, -2.0f32..3.0], 0..200)) {
        survives(&points);
    }
}

/// A lidar that stands at the origin and turns counter-clockwise once in 100 ms, beginning behind: what it sees of a car that drives past, each
/// ray at its own time.
fn cast_while_it_drives(sweep_start_s: f64, wall: [f64; 6], car_at: impl Fn(f64) -> [f64; 3]) -> PointCloud {
    let mut cloud = PointCloud::default();
    let mut offsets = Vec::new();
    for beam in 0..40 {
        let slope = (-24.0 + 0.65 * f64::from(beam)).to_radians().tan();
        for step in 0..1800 {
            let azimuth_deg = f64::from(step) * 0.2 - 180.0;
            let after_s = 0.1 * f64::from(step) / 1800.0;
            let (sin, cos) = azimuth_deg.to_radians().sin_cos();
            let [x, y, yaw] = car_at(sweep_start_s + after_s);
            let car = [x, y, yaw, 4.5, 1.8, 1.5];
            let ground = if slope < 0.0 { -1.8 / slope } else { f64::INFINITY };
            let hit = [car, wall].iter().filter_map(|o| enter(o, cos, sin, slope)).fold(ground, f64::min);
            if hit < 60.0 {
                cloud.x.push((hit * cos) as f32);
                cloud.y.push((hit * sin) as f32);
                cloud.z.push((1.8 + hit * slope) as f32);
                offsets.push((after_s * 1e9) as i32);
            }
        }
    }
    cloud.intensity = vec![0.0; cloud.x.len()];
    cloud.time_offset_ns = Some(offsets);
    cloud
}

/// How far the measured boxes of a car are from where it is at the time of the sample.
struct Errors {
    /// As measured, and moved to that time (metres), a pair a box.
    boxes_m: Vec<[f64; 2]>,
}

impl Errors {
    fn worst_m(&self, which: usize) -> f64 {
        self.boxes_m.iter().map(|pair| pair[which]).fold(0.0, f64::max)
    }
}

/// Labels 16 sweeps of a car, the lidar's stamps at their start.
fn errors_of(wall: [f64; 6], car_at: impl Fn(f64) -> [f64; 3]) -> Errors {
    let mut labeler = ClipLabeler::new(&LabelConfig::default(), taxonomy(), ClipId(1));
    for sweep in 0..16 {
        let seconds = 0.1 * f64::from(sweep);
        labeler.sweep(&SweepInput {
            sample_id: format!("v:{sweep}").into(),
            stamp_ns: i64::from(sweep) * NS_PER_S / 10,
            points: &cast_while_it_drives(seconds, wall, &car_at),
            world_from_ego: Some(Pose::identity()),
            lidar_origin_ego_m: [0.0, 0.0, 1.8],
        });
    }
    let error = |b: &Box3| {
        assert!(b.points_ns[0] <= b.stamp_ns && b.stamp_ns <= b.points_ns[1]);
        assert!(b.sample_stamp_ns <= b.points_ns[0] && b.points_ns[1] <= b.sample_stamp_ns + NS_PER_S / 10);
        let [x, y, _] = car_at(b.sample_stamp_ns as f64 * 1e-9);
        [b.measured_world_center_m, b.world_from_box.center_m].map(|center| (center.x - x).hypot(center.y - y))
    };
    let quick = |b: &&Box3| !b.predicted && b.velocity_world_mps[0].hypot(b.velocity_world_mps[1]) > 20.0;
    Errors { boxes_m: labeler.finish().boxes.iter().filter(quick).map(error).collect() }
}

/// Says the errors, and that at the time of the sample none is a tenth of a metre.
fn true_at_the_time_of_the_sample(what: &str, errors: &Errors, least_boxes: usize) {
    println!(
        "{what}: {} boxes, as measured up to {:.2} m off, at the time of the sample {:.3} m",
        errors.boxes_m.len(),
        errors.worst_m(0),
        errors.worst_m(1)
    );
    assert!(errors.boxes_m.len() >= least_boxes, "{} boxes", errors.boxes_m.len());
    assert!(errors.worst_m(1) < 0.1, "{:?}", errors.boxes_m);
}

#[test]
fn a_fast_object_is_metres_off_as_measured_and_right_at_the_time_of_the_sample() {
    // The lidar passes it after 15 to 35 ms.
    let errors = errors_of(WALL, |seconds| [30.0 * seconds - 24.0, -8.0, 0.0]);
    true_at_the_time_of_the_sample("passing to the right at 30 m/s", &errors, 12);
    assert!((0.9..=3.0).contains(&errors.worst_m(0)), "{:?}", errors.boxes_m);
}

#[test]
fn a_fast_object_across_the_seam_of_the_sweep_is_three_metres_off_as_measured_and_right_at_the_time_of_the_sample() {
    // It passes behind, from the begin of the sweep to its end: first it is seen at the stamp, at last 100 ms later.
    let ahead = [20.0, 0.0, std::f64::consts::FRAC_PI_2, 80.0, 0.5, 8.0];
    let errors = errors_of(ahead, |seconds| [-12.0, 30.0 * seconds - 24.0, std::f64::consts::FRAC_PI_2]);
    true_at_the_time_of_the_sample("passing behind at 30 m/s", &errors, 12);
    assert!((2.3..=3.0).contains(&errors.worst_m(0)), "{:?}", errors.boxes_m);
}

#[test]
fn a_vehicle_that_is_first_seen_at_a_speed_beyond_the_gate_has_a_track() {
    for mps in [35.0, 45.0, 60.0] {
        let errors = errors_of(WALL, |seconds| [mps * (seconds - 0.8), -8.0, 0.0]);
        true_at_the_time_of_the_sample(&format!("first seen at {mps} m/s"), &errors, 8);
    }
}

#[test]
fn what_is_not_sure_enough_for_a_label_is_suggested_with_the_boxes_that_it_would_have_had() {
    let labelled = |change: &dyn Fn(&mut ClipConfig)| {
        let mut config = LabelConfig::default();
        change(&mut config.clip);
        let mut labeler = ClipLabeler::new(&config, taxonomy(), ClipId(7));
        for sweep in 0..15 {
            let seconds = f64::from(sweep) * 0.1;
            labeler.sweep(&SweepInput {
                sample_id: format!("v:{sweep}").into(),
                stamp_ns: i64::from(sweep) * NS_PER_S / 10,
                points: &cast(&street(seconds)),
                world_from_ego: Some(Pose::translation(5.0 * seconds, 0.0, 0.0)),
                lidar_origin_ego_m: [0.0, 0.0, 1.8],
            });
        }
        labeler.finish()
    };
    let suggested = |labels: &ClipLabels| -> std::collections::BTreeMap<u32, serde_json::Value> {
        let of_rule = labels.findings.iter().filter(|finding| finding.rule == "BW-L007");
        of_rule.map(|finding| (finding.track_id.unwrap().number, serde_json::from_str(&finding.values).unwrap())).collect()
    };
    let usual = labelled(&|_| {});
    let strict = labelled(&|clip| (clip.min_score, clip.min_person_score) = (1.0, 1.0));
    assert!(usual.tracks.len() >= 2 && strict.tracks.is_empty() && strict.boxes.is_empty());
    let offered = suggested(&strict);
    for track in &usual.tracks {
        let values = &offered[&track.track_id.number];
        let boxes: Vec<&Box3> = usual.boxes.iter().filter(|one| one.track_id == track.track_id).collect();
        let rows = values["boxes"].as_array().unwrap();
        assert_eq!((rows.len(), values["is_static"].as_bool()), (boxes.len(), Some(track.is_static)));
        for (row, one) in rows.iter().zip(boxes) {
            let c = one.world_from_box.center_m;
            assert_eq!(row[0].as_i64(), Some(one.sample_stamp_ns));
            assert!([c.x, c.y, c.z].iter().zip(1..).all(|(m, at)| (row[at].as_f64().unwrap() - m).abs() < 1e-3), "{row} {c}");
        }
    }
    assert!(suggested(&usual).keys().all(|number| usual.tracks.iter().all(|track| track.track_id.number != *number)));
    let silent = labelled(&|clip| (clip.min_score, clip.min_person_score, clip.min_suggested_score) = (1.0, 1.0, 1.0));
    assert!(suggested(&silent).is_empty());
    let without = labelled(&|clip| clip.min_suggested_score = 1.0);
    assert_eq!((&usual.boxes, &usual.tracks), (&without.boxes, &without.tracks), "suggestions change no label");
}

#[test]
fn a_parked_car_that_was_hidden_for_seconds_is_one_track_as_sure_as_before_and_has_no_boxes_in_the_hole() {
    let labelled = |sweeps: i64| {
        let mut labeler = ClipLabeler::new(&LabelConfig::default(), taxonomy(), ClipId(4));
        for sweep in 0..sweeps {
            // A bus stands before it from the 15th sweep to the 45th.
            let before =
                if (15..45).contains(&sweep) { [10.0, 4.5, 0.0, 11.0, 2.5, 3.2] } else { [-30.0, 4.5, 0.0, 11.0, 2.5, 3.2] };
            labeler.sweep(&SweepInput {
                sample_id: format!("v:{sweep:02}").into(),
                stamp_ns: sweep * NS_PER_S / 10,
                points: &cast(&[[12.0, 9.0, 0.0, 4.5, 1.8, 1.5], before]),
                world_from_ego: Some(Pose::identity()),
                lidar_origin_ego_m: [0.0, 0.0, 1.8],
            });
        }
        labeler.finish()
    };
    let is_there = |one: &&Box3| (one.world_from_box.center_m.x - 12.0).hypot(one.world_from_box.center_m.y - 9.0) < 0.8;
    let (first, whole) = (labelled(15), labelled(60));
    let boxes: Vec<&Box3> = whole.boxes.iter().filter(is_there).collect();
    assert!(boxes.iter().all(|one| one.track_id == boxes[0].track_id), "{:#?}", whole.tracks);
    let sweeps: Vec<i64> = boxes.iter().map(|one| one.sample_stamp_ns / (NS_PER_S / 10)).collect();
    assert_eq!(sweeps, (0..15).chain(45..60).collect::<Vec<_>>());
    let alone = first.boxes.iter().find(is_there).unwrap().score;
    assert!(boxes[0].score >= alone, "{} where {alone} before", boxes[0].score);
}

#[test]
fn one_that_parks_where_another_one_stood_is_another_track_and_both_keep_their_boxes() {
    let mut labeler = ClipLabeler::new(&LabelConfig::default(), taxonomy(), ClipId(4));
    for sweep in 0..60 {
        let parked = match sweep {
            0..20 => [12.0, 9.0, 0.0, 4.5, 1.8, 1.5],
            20..40 => [-30.0, 4.5, 0.0, 11.0, 2.5, 3.2],
            _ => [13.0, 9.3, 0.0, 8.0, 2.5, 3.0],
        };
        labeler.sweep(&SweepInput {
            sample_id: format!("v:{sweep:02}").into(),
            stamp_ns: sweep * NS_PER_S / 10,
            points: &cast(&[parked]),
            world_from_ego: Some(Pose::identity()),
            lidar_origin_ego_m: [0.0, 0.0, 1.8],
        });
    }
    let labels = labeler.finish();
    let of = |sweeps: std::ops::Range<i64>| -> Vec<&Box3> {
        let there = labels.boxes.iter().filter(|one| (one.world_from_box.center_m.y - 9.0).abs() < 1.0);
        there.filter(|one| sweeps.contains(&(one.sample_stamp_ns * 10 / NS_PER_S))).collect()
    };
    let (car, lorry) = (of(0..20), of(40..60));
    assert!(car.len() >= 18 && lorry.len() >= 18, "{} and {}: {:#?}", car.len(), lorry.len(), labels.tracks);
    assert!(car.iter().all(|one| one.track_id == car[0].track_id) && lorry.iter().all(|one| one.track_id == lorry[0].track_id));
    assert_ne!(car[0].track_id, lorry[0].track_id);
    assert_eq!(of(20..40).len(), 0);
}

#[test]
fn a_parked_car_that_another_one_hides_in_part_is_whole_on_that_side() {
    // Its side is towards the lidar, and a van hides the last third of it.
    for side in [1.0, -1.0] {
        let (car, van) = ([20.0, 0.0, 1.57, 4.5, 1.8, 1.5], [10.0, 2.35 * side, 1.57, 4.0, 1.9, 2.6]);
        let boxes = three_seconds(|_| vec![car, van], |_| 0.0);
        let of_car: Vec<&Box3> = boxes.iter().filter(|one| one.ego_from_box.center_m.x > 15.0).collect();
        assert!(of_car.len() >= 18, "{} boxes", of_car.len());
        for one in of_car {
            let (center, size) = (one.ego_from_box.center_m, one.ego_from_box.size_lwh_m);
            assert!(center.y.abs() < 0.3 && (size.x - 4.5).abs() < 0.4, "side {side}: {center:?}, {size:?}");
        }
    }
}

#[test]
fn what_rides_along_with_the_vehicle_is_the_vehicle_and_who_stands_beside_it_while_it_waits_is_not() {
    let beside = |x: f64| [x, 1.5, 0.0, 0.4, 0.5, 1.7];
    let boxes_beside = |rides_along: bool, way_m: fn(f64) -> f64| {
        let boxes = three_seconds(|seconds| vec![beside(if rides_along { -1.0 } else { -1.0 - way_m(seconds) })], way_m);
        boxes.iter().filter(|one| one.ego_from_box.center_m.xy().norm() < 4.0).count()
    };
    assert_eq!(boxes_beside(true, |seconds| 5.0 * seconds), 0);
    // It stands, and drives off at last.
    assert!(boxes_beside(false, |seconds| 20.0 * (seconds - 2.65).max(0.0)) > 20);
}

/// The boxes of three seconds, suggestions too: what is where about the lidar, and how far the vehicle has gone.
fn three_seconds(objects_at: impl Fn(f64) -> Vec<[f64; 6]>, way_m: impl Fn(f64) -> f64) -> Vec<Box3> {
    let mut config = LabelConfig::default();
    // Suggestions are findings: as labels they are boxes.
    (config.clip.min_score, config.clip.min_person_score) = (config.clip.min_suggested_score, config.clip.min_suggested_score);
    let mut labeler = ClipLabeler::new(&config, taxonomy(), ClipId(0));
    for sweep in 0..30 {
        let seconds = 0.1 * f64::from(sweep);
        labeler.sweep(&SweepInput {
            sample_id: "v".into(),
            stamp_ns: i64::from(sweep) * NS_PER_S / 10,
            points: &cast(&objects_at(seconds)),
            world_from_ego: Some(Pose::translation(way_m(seconds), 0.0, 0.0)),
            lidar_origin_ego_m: [0.0, 0.0, 1.8],
        });
    }
    labeler.finish().boxes
}
