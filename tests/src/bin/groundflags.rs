//! The ground stage alone on a folder of sweeps: which points are ground, and how long each sweep took.
//!
//! `cargo run --release -p boxwright-tests --bin groundflags -- FOLDER [BAND_M]`, used by `benches/ground.py`, which puts Patchwork++ beside it.
//! The sweeps are `*.bin` files of 32-bit floats, four a point: x, y, z in metres with the lidar at the origin, and the intensity. For each,
//! in the order of their names, a file `*.ground` is written beside it, a byte a point (1 is ground, and so nothing that is left out by its range), and
//! a line comes out: the name, and milliseconds of CPU. `BAND_M` takes the place of `[label.ground] band_m`, below which points are no part of a shape.
#![expect(clippy::print_stdout, reason = "what a tool finds belongs on stdout")]

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use boxwright_label::LabelConfig;
use boxwright_label::clean::clean;
use boxwright_label::ground::segment;
use boxwright_model::PointCloud;
use boxwright_tests::points::{cpu_ms, read, sweeps};

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("expected a folder of sweeps")?);
    let mut config = LabelConfig::default();
    if let Some(band_m) = std::env::args().nth(2) {
        config.ground.band_m = band_m.parse().with_context(|| format!("expected metres, got {band_m:?}"))?;
    }
    for file in sweeps(&folder)? {
        let [x, y, z, _] = read(&file)?;
        let points = PointCloud { x, y, z, ..PointCloud::default() };
        let started = Instant::now();
        let started_cpu_ms = cpu_ms();
        let cleaned = clean(&points, [0.0; 3], &config.clean);
        let ground = segment(&cleaned.xyz, [0.0; 3], &config.ground);
        let wall_ms = started.elapsed().as_secs_f64() * 1000.0;
        let took_ms = started_cpu_ms.zip(cpu_ms()).map_or(wall_ms, |(from_ms, to_ms)| to_ms - from_ms);
        let mut flags = vec![0u8; points.x.len()];
        for (source, height_m) in cleaned.source.iter().zip(&ground.height_above_m) {
            flags[*source as usize] = u8::from(f64::from(*height_m) < config.ground.band_m);
        }
        std::fs::write(file.with_extension("ground"), flags)?;
        println!("{} {took_ms:.3}", file.file_name().unwrap_or_default().display());
    }
    Ok(())
}
