//! The odometry alone on a folder of sweeps: poses, and how long each took.
//!
//! `cargo run --release -p boxwright-tests --bin egomotion -- FOLDER [--deskewed]`, used by `benches/odometry.py`, which puts another odometry beside it.
//! The folder has `sweeps.txt`, lines of a stamp in nanoseconds and the name of a file of 32-bit floats, four a point: x, y, z in metres and seconds
//! from the stamp. A line comes out for every sweep: stamp, milliseconds of CPU time, and the upper three rows of `world_from_ego`, or `lost` and why.
#![expect(clippy::print_stdout, reason = "what a tool finds belongs on stdout")]

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use boxwright_model::PointCloud;
use boxwright_odometry::{Odometry, OdometryConfig};

/// Bytes of a point: four floats.
const POINT_BYTES: usize = 16;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(args.first().context("expected a folder of sweeps")?);
    let is_deskewed = args.iter().any(|arg| arg == "--deskewed");
    let mut odometry = Odometry::new(&OdometryConfig::default());
    let list = folder.join("sweeps.txt");
    for line in std::fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?.lines() {
        let (stamp, file) = line.split_once(' ').with_context(|| format!("expected a stamp and a file, got {line:?}"))?;
        let stamp_ns: i64 = stamp.parse().with_context(|| format!("expected nanoseconds, got {stamp:?}"))?;
        let points = read(&folder.join(file))?;
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

fn read(file: &Path) -> anyhow::Result<PointCloud> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(
        bytes.len() % POINT_BYTES == 0,
        "{}: expected whole points of {POINT_BYTES} bytes, got {} bytes",
        file.display(),
        bytes.len()
    );
    let float = |at: usize| bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(f32::NAN, f32::from_le_bytes);
    let column =
        |number: usize| (0..bytes.len() / POINT_BYTES).map(|point| float(point * POINT_BYTES + 4 * number)).collect::<Vec<f32>>();
    let times = column(3).iter().map(|seconds| (f64::from(*seconds) * 1e9) as i32).collect();
    Ok(PointCloud { x: column(0), y: column(1), z: column(2), time_offset_ns: Some(times), ..PointCloud::default() })
}

/// CPU time of this thread, where Linux tells it: a busy machine does not count.
fn cpu_ms() -> Option<f64> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(schedstat.split(' ').next()?.parse::<f64>().ok()? / 1e6)
}
