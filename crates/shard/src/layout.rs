//! Where everything of a dataset stands.
//!
//! ```text
//! dataset.json                                                   schema version and clip length
//! <table>/date=YYYY-MM-DD/vehicle=<id>/<clip>.parquet            revision 0
//! <table>/date=YYYY-MM-DD/vehicle=<id>/<clip>-r<revision>.parquet   later revisions, label tables only
//! <table>/date=…/vehicle=<id>/<clip>.<hash>.parquet             the same in an object store, see `seal::object`
//! manifest/vehicle=<id>/<clip>-r<revision>.json                  one entry a sealed clip and revision
//! ```
//! A table without a row in a clip has no file: readers that glob would otherwise open thousands of empty footers, and the entry says 0.
//! `date` is the UTC day on which the clip starts, so that a clip is in one place though its frames may pass midnight.

use boxwright_model::ClipId;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::ShardError;
use crate::name;
use crate::schema::Table;
use crate::writer::ClipKey;

/// Folder of the manifest.
pub(crate) const MANIFEST: &str = "manifest";

/// Characters of the hash in an object's name: 48 bits, for the few writers of one clip.
const HASH_CHARS: usize = 12;

/// Prefix of the folder of a vehicle.
const VEHICLE: &str = "vehicle=";

/// Folder of a vehicle: `vehicle=<escaped id>`.
pub(crate) fn vehicle_folder(vehicle: &str) -> Result<String, ShardError> {
    Ok(format!("{VEHICLE}{}", name::escape("vehicle", vehicle)?))
}

/// The vehicle of a folder; `None` where the folder is not one of a vehicle.
pub(crate) fn vehicle_of_folder(folder: &str) -> Option<String> {
    name::unescape(folder.strip_prefix(VEHICLE)?)
}

/// UTC day of a stamp as `YYYY-MM-DD`.
fn date(stamp_ns: i64) -> Result<String, ShardError> {
    let stamp = Timestamp::from_nanosecond(i128::from(stamp_ns)).map_err(|error| ShardError::Name {
        what: "clip start",
        value: stamp_ns.to_string(),
        message: error.to_string(),
    })?;
    Ok(stamp.to_zoned(TimeZone::UTC).date().to_string())
}

/// Folder of a table for the key's vehicle and day, relative to the dataset, with `/`.
pub(crate) fn table_folder(table: Table, key: &ClipKey) -> Result<String, ShardError> {
    Ok(format!("{table}/date={}/{}", date(key.grid.start_ns(key.clip))?, vehicle_folder(&key.vehicle)?))
}

/// Name of a table's file without its extension.
pub(crate) fn shard_stem(key: &ClipKey) -> String {
    if key.revision == 0 { key.clip.to_string() } else { format!("{}-r{}", key.clip, key.revision) }
}

/// File of a table, relative to the dataset, with `/`.
pub(crate) fn shard_path(table: Table, key: &ClipKey) -> Result<String, ShardError> {
    Ok(format!("{}/{}.parquet", table_folder(table, key)?, shard_stem(key)))
}

/// File of a table in an object store: with the beginning of its hash in the name, so that no writer can change what another has written.
pub(crate) fn object_path(table: Table, key: &ClipKey, sha256: &str) -> Result<String, ShardError> {
    let hash = sha256.get(..HASH_CHARS).unwrap_or(sha256);
    Ok(format!("{}/{}.{hash}.parquet", table_folder(table, key)?, shard_stem(key)))
}

/// Folder of a vehicle's entries, relative to the dataset, with `/`.
pub(crate) fn manifest_folder(vehicle: &str) -> Result<String, ShardError> {
    Ok(format!("{MANIFEST}/{}", vehicle_folder(vehicle)?))
}

/// Name of an entry without its extension.
pub(crate) fn entry_stem(clip: ClipId, revision: i32) -> String {
    format!("{clip}-r{revision}")
}

/// Clip and revision of an entry's file name; `None` where it is none.
pub(crate) fn parse_entry_name(file: &str) -> Option<(ClipId, i32)> {
    let (clip, revision) = file.strip_suffix(".json")?.rsplit_once("-r")?;
    let parsed = (ClipId(clip.parse().ok()?), revision.parse().ok()?);
    (format!("{}.json", entry_stem(parsed.0, parsed.1)) == file).then_some(parsed)
}

/// Clip and revision of a shard's file name; `None` where it is none.
pub(crate) fn parse_shard_name(file: &str) -> Option<(ClipId, i32)> {
    let stem = file.strip_suffix(".parquet")?;
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    let (clip, revision) = stem.rsplit_once("-r").unwrap_or((stem, "0"));
    Some((ClipId(clip.parse().ok()?), revision.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use boxwright_model::ClipGrid;

    use super::*;

    #[test]
    fn paths_are_those_of_the_design() {
        let grid = ClipGrid::new(20_000_000_000);
        let mut key = ClipKey { vehicle: Arc::from("car/7"), clip: grid.clip_of(1_317_046_450_072_943_000), grid, revision: 0 };
        assert_eq!(shard_path(Table::EgoPose, &key).unwrap(), "ego_pose/date=2011-09-26/vehicle=car%2F7/65852322.parquet");
        key.revision = 2;
        assert_eq!(shard_path(Table::Box3, &key).unwrap(), "box3/date=2011-09-26/vehicle=car%2F7/65852322-r2.parquet");
    }

    #[test]
    fn file_names_are_read_back_and_foreign_ones_are_not_taken() {
        for clip in [-3, 0, 65_852_322].map(ClipId) {
            assert_eq!(parse_entry_name(&format!("{}.json", entry_stem(clip, 1))), Some((clip, 1)));
            assert_eq!(parse_shard_name(&format!("{clip}.parquet")), Some((clip, 0)));
            assert_eq!(parse_shard_name(&format!("{clip}-r4.parquet")), Some((clip, 4)));
        }
        for foreign in [".5-r0.12-3.tmp", "5.json", "05-r0.json", "a-r0.json", "5-r0.json.bak"] {
            assert_eq!(parse_entry_name(foreign), None, "{foreign}");
        }
    }
}
