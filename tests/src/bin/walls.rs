//! How thick the standing surfaces of a dataset are when the sweeps of a clip are laid over each other: what is left of the vehicle's own motion in
//! its sweeps blurs them.
//!
//! `cargo run --release -p boxwright-tests --bin walls -- DATASET`. Of a dataset whose maker took the motion out (`deskewed = true`) it also tells what
//! putting the motion back does, and taking it out again by `boxwright_timesync::deskew`.
#![expect(clippy::print_stdout, reason = "what a tool finds belongs on stdout")]

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use boxwright_model::{PointCloud, Pose};
use boxwright_shard::{ClipReader, Dataset};
use boxwright_timesync::{MotionConfig, PoseTrack, deskew};
use nalgebra::{Matrix3, Point3, Vector3};

/// Side of the boxes in which surfaces are measured (metres).
const BOX_M: f64 = 0.5;
/// A box counts that has so many points of so many sweeps.
const LEAST_POINTS: usize = 40;
const LEAST_SWEEPS: usize = 5;
/// It holds a wall where the normal is this flat, and the surface at least this long in its second direction (metres, squared) and so much wider than thick.
const MOST_UP: f64 = 0.3;
const LEAST_EXTENT_M2: f64 = 0.005;
const LEAST_FLATNESS: f64 = 4.0;

/// A day: no clip is longer.
const POSES_MS: u64 = 86_400_000;

/// A sweep in the ego frame of its stamp.
struct Sweep {
    stamp_ns: i64,
    points: PointCloud,
}

fn main() -> anyhow::Result<()> {
    let dataset = std::env::args().nth(1).context("expected the folder of a dataset")?;
    let dataset = Dataset::open(Path::new(&dataset))?;
    let mut ways: BTreeMap<&str, BTreeMap<[i64; 4], f64>> = BTreeMap::new();
    for (clip, entry) in dataset.clips(None)?.iter().enumerate() {
        let reader = ClipReader::open(&dataset, entry)?;
        let mut poses = PoseTrack::new(&MotionConfig { window_ms: POSES_MS, ..MotionConfig::default() });
        reader.ego_poses()?.into_iter().for_each(|pose| {
            poses.push(pose);
        });
        let rows: Vec<_> = reader.lidar()?.collect::<Result<_, _>>()?;
        let as_is: Vec<Sweep> =
            rows.into_iter().map(|row| Sweep { stamp_ns: row.stamp_ns, points: PointCloud::clone(&row.points) }).collect();
        let skewed: Vec<Sweep> = as_is.iter().filter_map(|sweep| put_back(sweep, &poses)).collect();
        let again = skewed.iter().filter_map(|sweep| {
            let mut points = sweep.points.clone();
            deskew(&mut points, sweep.stamp_ns, &poses).then_some(Sweep { stamp_ns: sweep.stamp_ns, points })
        });
        let again: Vec<Sweep> = again.collect();
        for (way, sweeps) in [("as stored", &as_is), ("motion put back", &skewed), ("put back and taken out", &again)] {
            ways.entry(way).or_default().extend(walls(clip as i64, sweeps, &poses));
        }
    }
    // Only boxes that are walls in every way, so that the ways are compared on the same ones.
    let of_all: Vec<[i64; 4]> = match ways.values().min_by_key(|walls| walls.len()) {
        Some(fewest) => fewest.keys().filter(|key| ways.values().all(|walls| walls.contains_key(*key))).copied().collect(),
        None => Vec::new(),
    };
    if of_all.is_empty() {
        bail!("expected sweeps with point times, poses and walls, got none\nhint: a drive of some seconds along a street");
    }
    for (way, walls) in &ways {
        let mut thickness: Vec<f64> = of_all.iter().filter_map(|key| walls.get(key).copied()).collect();
        thickness.sort_by(f64::total_cmp);
        let at = |share: f64| 1000.0 * thickness[((thickness.len() - 1) as f64 * share) as usize];
        println!("{way:24} {} boxes of wall, thick {:.1} mm in the median, {:.1} mm at 90 %", of_all.len(), at(0.5), at(0.9));
    }
    Ok(())
}

/// Every point in the ego frame of its own moment, as the lidar saw it.
fn put_back(sweep: &Sweep, poses: &PoseTrack) -> Option<Sweep> {
    let mut points = sweep.points.clone();
    let world_from_stamp = poses.at(sweep.stamp_ns)?.world_from_ego;
    let offsets = points.time_offset_ns.clone()?;
    let mut known: Option<(i32, Pose)> = None;
    for (index, offset) in offsets.iter().enumerate() {
        let own_from_stamp = match known.filter(|(of, _)| of == offset) {
            Some((_, pose)) => pose,
            None => poses.at(sweep.stamp_ns + i64::from(*offset))?.world_from_ego.inverse() * world_from_stamp,
        };
        known = Some((*offset, own_from_stamp));
        let moved = own_from_stamp * Point3::new(points.x[index], points.y[index], points.z[index]).cast::<f64>();
        (points.x[index], points.y[index], points.z[index]) = (moved.x as f32, moved.y as f32, moved.z as f32);
    }
    Some(Sweep { stamp_ns: sweep.stamp_ns, points })
}

/// Thickness of every box of wall (metres), by clip and place.
fn walls(clip: i64, sweeps: &[Sweep], poses: &PoseTrack) -> BTreeMap<[i64; 4], f64> {
    let mut boxes: BTreeMap<[i64; 4], Vec<(usize, Vector3<f64>)>> = BTreeMap::new();
    for (number, sweep) in sweeps.iter().enumerate() {
        let Some(pose) = poses.at(sweep.stamp_ns) else { continue };
        for ((x, y), z) in sweep.points.x.iter().zip(&sweep.points.y).zip(&sweep.points.z) {
            let p = pose.world_from_ego * Point3::new(*x, *y, *z).cast::<f64>();
            let key = [clip, (p.x / BOX_M).floor() as i64, (p.y / BOX_M).floor() as i64, (p.z / BOX_M).floor() as i64];
            boxes.entry(key).or_default().push((number, p.coords));
        }
    }
    boxes.into_iter().filter_map(|(key, points)| Some((key, thickness_m(&points)?))).collect()
}

fn thickness_m(points: &[(usize, Vector3<f64>)]) -> Option<f64> {
    let mut sweeps: Vec<usize> = points.iter().map(|(sweep, _)| *sweep).collect();
    sweeps.dedup();
    if points.len() < LEAST_POINTS || sweeps.len() < LEAST_SWEEPS {
        return None;
    }
    let mean = points.iter().map(|(_, p)| p).sum::<Vector3<f64>>() / points.len() as f64;
    let spread = points.iter().map(|(_, p)| (p - mean) * (p - mean).transpose()).sum::<Matrix3<f64>>() / points.len() as f64;
    let eigen = spread.symmetric_eigen();
    let mut order = [0, 1, 2];
    order.sort_by(|a, b| eigen.eigenvalues[*a].total_cmp(&eigen.eigenvalues[*b]));
    let (least, second) = (eigen.eigenvalues[order[0]].max(0.0), eigen.eigenvalues[order[1]]);
    let is_wall = eigen.eigenvectors[(2, order[0])].abs() < MOST_UP && second > LEAST_EXTENT_M2 && second > LEAST_FLATNESS * least;
    is_wall.then(|| least.sqrt())
}
