//! Who decides, who is followed, and what is told.

use super::*;
use crate::config::Config;

fn own(mode: OdometryMode) -> OwnMotion {
    OwnMotion::new(&OwnMotionConfig { mode, ..Config::embedded().unwrap().odometry })
}

fn header(sensor: &str, stamp_ns: i64) -> FrameHeader {
    FrameHeader {
        vehicle: "v".into(),
        sensor: sensor.into(),
        kind: boxwright_model::SensorKind::Lidar,
        stamp_ns,
        stamp_ref: boxwright_model::StampRef::Instant,
        arrival_ns: None,
        seq: None,
        grade: "".into(),
        position: boxwright_model::SourcePosition { topic: "t".into(), partition: 0, offset: 0 },
    }
}

/// Some walls of points, at a distance along x.
fn yard(ahead_m: f32) -> PointCloud {
    let mut points = PointCloud::default();
    for step in 0..4000_i16 {
        let (along, up) = (f32::from(step % 200) * 0.2 - 20.0, f32::from(step / 200 % 10) * 0.4 - 1.5);
        let wall = step % 4;
        points.x.push(ahead_m + if wall < 2 { along } else { f32::from(wall) * 16.0 - 40.0 });
        points.y.push(if wall < 2 { f32::from(wall) * 24.0 - 12.0 } else { along * 0.6 });
        points.z.push(up);
    }
    points
}

#[test]
fn the_first_pose_message_decides_for_messages() {
    let mut motion = own(OdometryMode::Auto);
    assert!(motion.is_open());
    assert!(motion.takes_message(5) && !motion.is_open() && motion.takes_message(6));
    assert!(motion.place(&header("top", 7), 7, &yard(0.0), false).is_none());
    assert!(motion.finish().is_empty());
    let mut off = own(OdometryMode::Off);
    assert!(!off.is_open() && off.takes_message(5));
}

#[test]
fn a_second_of_event_time_or_many_sweeps_decide_against_them() {
    let motion = own(OdometryMode::Auto);
    assert!(!motion.has_waited(1_000, 1_000_000_999, 31));
    assert!(motion.has_waited(1_000, 1_000_001_000, 1));
    assert!(motion.has_waited(1_000, 1_000, MAX_WAITING_SWEEPS));
    assert!(!motion.has_waited(i64::MAX, i64::MAX - 1, 1), "no overflow at the end of time");
}

#[test]
fn the_lidar_with_most_points_is_followed_or_the_one_that_is_named() {
    let lidars: [Arc<str>; 3] = ["front", "rear", "top"].map(Arc::from);
    let counts = [300, 100, 300];
    let mut motion = own(OdometryMode::Auto);
    motion.begin(lidars.iter().zip(counts));
    assert!(motion.place(&header("top", 1), 1, &yard(0.0), false).is_none());
    assert!(motion.place(&header("front", 1), 1, &yard(0.0), false).is_some(), "of equals the first by name");
    let mut named = OwnMotion::new(&OwnMotionConfig { lidar: "rear".to_owned(), ..Config::embedded().unwrap().odometry });
    named.begin(lidars.iter().zip(counts));
    assert!(named.place(&header("rear", 1), 1, &yard(0.0), false).is_some());
}

#[test]
fn what_is_lost_found_again_and_not_used_is_told() {
    let mut motion = own(OdometryMode::Auto);
    let lidar: Arc<str> = "top".into();
    motion.begin([(&lidar, 4000)].into_iter());
    let mut placed = Vec::new();
    for number in 0..8_i16 {
        let stamp_ns = i64::from(number) * 100_000_000;
        let points = if number == 4 || number == 5 { PointCloud::default() } else { yard(f32::from(number) * -0.1) };
        placed.push(motion.place(&header("top", stamp_ns), stamp_ns, &points, false).is_some());
    }
    assert_eq!(placed, [true, true, true, true, false, false, true, true]);
    assert!(!motion.takes_message(900_000_000) && !motion.takes_message(950_000_000));
    let findings = motion.finish();
    let rules: Vec<_> = findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["BW-O001", "BW-O002", "BW-O003"]);
    assert!(findings[0].message.contains("6 of 8 sweeps"), "{}", findings[0].message);
    assert!(
        findings[1].message.contains("2 sweeps") && findings[1].message.contains("found its way again"),
        "{}",
        findings[1].message
    );
    assert_eq!(findings[1].stamp_ns, 400_000_000);
    assert!(findings[2].message.contains("got 2") && findings[2].stamp_ns == 900_000_000, "{}", findings[2].message);
}
