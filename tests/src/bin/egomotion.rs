//! The odometry alone on a folder of sweeps: poses, and how long each took.
//!
//! `cargo run --release -p boxwright-tests --bin egomotion -- FOLDER [--deskewed]`, used by `benches/odometry.py`, which puts another odometry beside it.
//! The folder has `sweeps.txt`, lines of a stamp in nanoseconds and the name of a file of 32-bit floats, four a point: x, y, z in metres and seconds
//! from the stamp. A line comes out for every sweep: stamp, milliseconds of CPU time, and the upper three rows of `world_from_ego`, or `lost` and why.
#![expect(clippy::print_stdout, reason = "what a tool finds belongs on stdout")]

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use boxwright_model::PointCloud;
use boxwright_odometry::{Odometry, OdometryConfig};
use boxwright_tests::points::{cpu_ms, read};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(args.first().context("expected a folder of sweeps")?);
    let is_deskewed = args.iter().any(|arg| arg == "--deskewed");
    let mut odometry = Odometry::new(&OdometryConfig::default());
    let list = folder.join("sweeps.txt");
    for line in std::fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?.lines() {
        let (stamp, file) = line.split_once(' ').with_context(|| format!("expected a stamp and a file, got {line:?}"))?;
        let stamp_ns: i64 = stamp.parse().with_context(|| format!("expected nanoseconds, got {stamp:?}"))?;
        let [x, y, z, seconds] = read(&folder.join(file))?;
        let times = seconds.iter().map(|seconds| (f64::from(*seconds) * 1e9) as i32).collect();
        let points = PointCloud { x, y, z, time_offset_ns: Some(times), ..PointCloud::default() };
        let started = Instant::now();
        let started_cpu_ms = cpu_ms();
        let placed = odometry.sweep(stamp_ns, &points, is_deskewed);
        let wall_ms = started.elapsed().as_secs_f64() * 1000.0;
        let took_ms = started_cpu_ms.zip(cpu_ms()).map_or(wall_ms, |(from_ms, to_ms)| to_ms - from_ms);
        match placed {
            Ok(world_from_ego) => {
                let matrix = world_from_ego.to_homogeneous();
                let rows: Vec<String> = (0..12).map(|at| matrix[(at / 4, at % 4)].to_string()).collect();
                println!("{stamp_ns} {took_ms:.3} {}", rows.join(" "));
            }
            Err(reason) => println!("{stamp_ns} {took_ms:.3} lost {}", reason.describe()),
        }
    }
    Ok(())
}
