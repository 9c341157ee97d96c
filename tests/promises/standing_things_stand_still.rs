//! What stands is where it is: the vehicle's own motion is out of a sweep to what its poses allow, held against the exact street.

use boxwright_model::{SensorFrame, StampedPose};
use boxwright_source::synthetic::{SyntheticConfig, SyntheticDrive, bench_sweep};
use boxwright_timesync::{MotionConfig, PoseTrack, deskew};

const POINTS: usize = 60_000;
const SEED: u64 = 7;
/// The sweep that `bench_sweep` gives.
const SWEEP: usize = 5;

#[test]
fn every_point_of_a_sweep_is_where_it_would_have_been_at_the_stamp() {
    let (exact, _) = bench_sweep(POINTS, SEED).unwrap();
    let mut config = SyntheticConfig { seed: SEED, seconds: 1.0, cameras: Vec::new(), ..SyntheticConfig::default() };
    config.lidar.columns = (POINTS as f64 / 0.9 / f64::from(config.lidar.beams)).round() as u32;
    let mut drive = SyntheticDrive::new(config).unwrap();
    let (mut poses, mut sweeps, mut ego_from_lidar) = (PoseTrack::new(&MotionConfig::default()), Vec::new(), None);
    while let Some(frame) = drive.next_frame().unwrap() {
        match frame.frame {
            SensorFrame::Lidar(sweep) => sweeps.push((frame.stamp_ns, sweep.points)),
            SensorFrame::Transforms(edges) => {
                for edge in edges {
                    let pose = edge.parent_from_child;
                    if &*edge.child == "base_link" {
                        poses.push(StampedPose { stamp_ns: edge.stamp_ns, world_from_ego: pose });
                    } else {
                        ego_from_lidar = Some(pose);
                    }
                }
            }
            _ => {}
        }
    }
    let (stamp_ns, mut points) = sweeps.swap_remove(SWEEP);
    assert_eq!(points.len(), exact.len());
    points.transform(&ego_from_lidar.unwrap());
    let worst_m = |points: &boxwright_model::PointCloud| {
        let off = |i: usize| {
            let (dx, dy, dz) = (points.x[i] - exact.x[i], points.y[i] - exact.y[i], points.z[i] - exact.z[i]);
            (dx * dx + dy * dy + dz * dz).sqrt()
        };
        (0..points.len()).map(off).fold(0.0, f32::max)
    };
    let before_m = worst_m(&points);
    assert!(deskew(&mut points, stamp_ns, &poses));
    let after_m = worst_m(&points);
    println!("{} points: up to {before_m:.3} m off before the deskew, {:.1} mm after", points.len(), 1000.0 * after_m);
    assert!(before_m > 0.2, "the vehicle drives: {before_m} m");
    assert!(after_m < 0.01, "{after_m} m");
}
