//! Options of the writer.

use parquet::basic::ZstdLevel;
use serde::Deserialize;

use crate::error::ShardError;

/// How shards are written. None of these changes what a reader gets, only bytes, speed and memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriterConfig {
    /// zstd level, 1 to 22. Beyond 3 the time grows fast and the files hardly shrink.
    pub zstd_level: i32,
    /// Most sweeps or images in a row group, in rows. A reader that wants one frame decodes its whole row group.
    pub frame_group_rows: usize,
    /// A row group of frames, or of late messages, ends before it grows beyond this, in MiB of payload. One larger frame stands alone.
    pub frame_group_mib: usize,
    /// Most rows in a row group of the other tables.
    pub label_group_rows: usize,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self { zstd_level: 3, frame_group_rows: 4, frame_group_mib: 8, label_group_rows: 65_536 }
    }
}

impl WriterConfig {
    /// Whether shards can be written by it.
    ///
    /// # Errors
    /// Names the option that is out of its range.
    pub fn check(&self) -> Result<(), ShardError> {
        self.zstd().map(drop)
    }

    /// Checks ranges and turns the level into the library's own type.
    pub(crate) fn zstd(&self) -> Result<ZstdLevel, ShardError> {
        let wrong = |what: &str, range: &str, got: String| Err(ShardError::Config(format!("{what}: expected {range}, got {got}")));
        for (what, value, most) in [
            ("frame_group_rows", self.frame_group_rows, 1 << 20),
            // 1 GiB: a row group is held in memory, and offsets within one array are 32 bits wide.
            ("frame_group_mib", self.frame_group_mib, 1 << 10),
            ("label_group_rows", self.label_group_rows, 1 << 20),
        ] {
            if !(1..=most).contains(&value) {
                return wrong(what, &format!("1 to {most}"), value.to_string());
            }
        }
        match ZstdLevel::try_new(self.zstd_level) {
            Ok(level) if self.zstd_level >= 1 => Ok(level),
            _ => wrong("zstd_level", "1 to 22", self.zstd_level.to_string()),
        }
    }
}
