//! What the tools that run one stage alone on a folder of sweeps have in common.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Bytes of a point: four floats.
const POINT_BYTES: usize = 16;

/// The four columns of a file of little-endian 32-bit floats, four a point.
///
/// # Errors
/// When the file cannot be read, or has a part of a point.
pub fn read(file: &Path) -> anyhow::Result<[Vec<f32>; 4]> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(
        bytes.len() % POINT_BYTES == 0,
        "{}: expected whole points of {POINT_BYTES} bytes, got {} bytes",
        file.display(),
        bytes.len()
    );
    let float = |at: usize| bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(f32::NAN, f32::from_le_bytes);
    Ok([0, 1, 2, 3].map(|column| (0..bytes.len() / POINT_BYTES).map(|point| float(point * POINT_BYTES + 4 * column)).collect()))
}

/// CPU time of this thread, where Linux tells it: a busy machine does not count.
#[must_use]
pub fn cpu_ms() -> Option<f64> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(schedstat.split(' ').next()?.parse::<f64>().ok()? / 1e6)
}

/// The `*.bin` files of a folder, in the order of their names.
///
/// # Errors
/// When the folder cannot be read.
pub fn sweeps(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
