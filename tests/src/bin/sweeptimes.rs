//! What the labels of a sweep take: the whole chain on a folder of sweeps, one thread.
//!
//! `cargo run --release -p boxwright-tests --bin sweeptimes -- FOLDER [ROUNDS]`
//!
//! The sweeps are `*.bin` files of 32-bit floats, four a point: x, y, z in metres with the lidar at the origin, and the intensity; ten a second, in
//! the order of their names. Prints milliseconds a sweep (median and 99th percentile over all sweeps, of each the least of the rounds, because
//! whatever else the machine does only adds to it) and a hash of the labels: a change that only makes it faster leaves that alone. It is the time of a
//! wall clock: one thread takes no more CPU than that, and the CPU clocks of some machines tick every 4 to 10 ms only.
#![expect(clippy::print_stdout, reason = "what a tool finds belongs on stdout")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use boxwright_label::{ClipLabeler, LabelConfig, SweepInput};
use boxwright_model::{ClipId, PointCloud, Taxonomy};
use boxwright_pipeline::config::DEFAULT_TAXONOMY_TOML;
use boxwright_tests::points::{read, sweeps};
use sha2::{Digest, Sha256};

const STEP_NS: i64 = 100_000_000;

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("expected a folder of sweeps")?);
    let rounds: usize = std::env::args().nth(2).map_or(Ok(5), |text| text.parse()).context("expected a number of rounds")?;
    let taxonomy = Arc::new(Taxonomy::from_toml(DEFAULT_TAXONOMY_TOML)?);
    let mut clouds = Vec::new();
    for file in sweeps(&folder)? {
        let [x, y, z, intensity] = read(&file)?;
        clouds.push(PointCloud { x, y, z, intensity, ..PointCloud::default() });
    }
    ensure!(!clouds.is_empty() && rounds > 0, "expected sweeps and rounds, got {} and {rounds}", clouds.len());
    let mut least_ms = vec![f64::INFINITY; clouds.len()];
    let mut hash = String::new();
    for _ in 0..rounds {
        let mut labeler = ClipLabeler::new(&LabelConfig::default(), taxonomy.clone(), ClipId(0));
        for (number, points) in clouds.iter().enumerate() {
            let input = SweepInput {
                sample_id: number.to_string().into(),
                stamp_ns: number as i64 * STEP_NS,
                points,
                world_from_ego: None,
                lidar_origin_ego_m: [0.0; 3],
            };
            let started = Instant::now();
            labeler.sweep(&input);
            least_ms[number] = least_ms[number].min(started.elapsed().as_secs_f64() * 1000.0);
        }
        hash = Sha256::digest(format!("{:?}", labeler.finish())).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    }
    least_ms.sort_by(f64::total_cmp);
    let at = |share: f64| least_ms[(share * (least_ms.len() - 1) as f64).round() as usize];
    let points = clouds.iter().map(|cloud| cloud.x.len()).sum::<usize>() / clouds.len();
    println!(
        "{} sweeps of {points} points: {:.1} ms in the median, {:.1} at the 99th percentile; labels {hash}",
        clouds.len(),
        at(0.5),
        at(0.99)
    );
    Ok(())
}
