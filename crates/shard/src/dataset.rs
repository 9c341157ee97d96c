//! A dataset: a folder with a marker, a manifest and shards.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_model::{ClipGrid, ClipId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::ShardError;
use crate::layout::{self, MANIFEST};
use crate::manifest::{FileEntry, MAX_ENTRY_BYTES, ManifestEntry, PreviousEntry, check_version};
use crate::reader::ClipReader;
use crate::schema::{SCHEMA_VERSION, Table};
use crate::storage::{self, TempFile};
use crate::tables::calibration::CalibrationRow;

/// Name of the file that makes a folder a dataset.
pub const MARKER: &str = "dataset.json";

/// Largest marker that is read.
const MAX_MARKER_BYTES: u64 = 1 << 16;

/// Content of [`MARKER`].
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    schema_version: u32,
    clip_length_ns: i64,
}

/// A dataset on local disk. Cheap to clone; it holds no file open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    root: PathBuf,
    grid: ClipGrid,
}

/// What [`Dataset::remove_orphans`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Temporary files that were removed.
    pub removed: Vec<PathBuf>,
    /// Shards that no entry names. They are left: sealing their clip again replaces them, and a lost manifest must not cost the data.
    pub unlisted: Vec<PathBuf>,
}

impl Dataset {
    /// Opens a dataset, or makes an empty or absent folder one. Workers may do this at once: one marker wins.
    ///
    /// # Errors
    /// When the folder holds something else, the dataset has clips of another length or was written by a newer program, or the file
    /// system refuses.
    pub fn open_or_create(path: &Path, grid: ClipGrid) -> Result<Self, ShardError> {
        if storage::read_small(&path.join(MARKER), MAX_MARKER_BYTES)?.is_none() {
            storage::create_root(path)?;
            if storage::list(path)?.iter().any(|name| !name.starts_with('.') && name != MARKER) {
                return Err(ShardError::NotEmpty { path: path.to_owned() });
            }
            create_marker(path, grid)?;
        }
        let dataset = Self::open(path)?;
        if dataset.grid != grid {
            let (asked_ns, stored_ns) = (grid.length_ns(), dataset.grid.length_ns());
            return Err(ShardError::ClipLength { path: path.to_owned(), asked_ns, stored_ns });
        }
        Ok(dataset)
    }

    /// Opens a dataset that is there.
    ///
    /// # Errors
    /// When the folder is no dataset, was written by a newer program, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, ShardError> {
        let file = path.join(MARKER);
        let Some(json) = storage::read_small(&file, MAX_MARKER_BYTES)? else {
            return Err(ShardError::NotADataset { path: path.to_owned() });
        };
        check_version(&json, &file)?;
        let marker: Marker = serde_json::from_slice(&json)
            .map_err(|error| ShardError::foreign(&file, format!("expected a dataset marker: {error}")))?;
        let grid = ClipGrid::new(marker.clip_length_ns);
        if grid.length_ns() != marker.clip_length_ns {
            let message = format!("clip_length_ns: expected at least {}, got {}", grid.length_ns(), marker.clip_length_ns);
            return Err(ShardError::foreign(&file, message));
        }
        Ok(Self { root: path.to_owned(), grid })
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The grid its clips are cut by.
    #[must_use]
    pub fn grid(&self) -> ClipGrid {
        self.grid
    }

    /// Vehicles that have a sealed clip, in order.
    ///
    /// # Errors
    /// When the manifest cannot be listed.
    pub fn vehicles(&self) -> Result<Vec<String>, ShardError> {
        let folders = storage::list(&self.root.join(MANIFEST))?;
        let mut vehicles = Vec::new();
        for vehicle in folders.iter().filter_map(|folder| layout::vehicle_of_folder(folder)) {
            if !self.entry_names(&vehicle)?.is_empty() {
                vehicles.push(vehicle);
            }
        }
        vehicles.sort();
        Ok(vehicles)
    }

    /// Every entry, ordered by vehicle, clip and revision.
    ///
    /// # Errors
    /// When the manifest cannot be read, or an entry is not one.
    pub fn entries(&self) -> Result<Vec<ManifestEntry>, ShardError> {
        let mut entries = Vec::new();
        for vehicle in self.vehicles()? {
            for (clip, revision) in self.entry_names(&vehicle)? {
                entries.extend(self.entry(&vehicle, clip, revision)?);
            }
        }
        Ok(entries)
    }

    /// One entry; `None` where the clip is not sealed.
    ///
    /// # Errors
    /// When the entry cannot be read, or is not one of this vehicle and clip.
    pub fn entry(&self, vehicle: &str, clip: ClipId, revision: i32) -> Result<Option<ManifestEntry>, ShardError> {
        let path = self.entry_path(vehicle, clip, revision)?;
        let Some(json) = storage::read_small(&path, MAX_ENTRY_BYTES)? else { return Ok(None) };
        let entry = ManifestEntry::from_json(&json, &path)?;
        if (&*entry.vehicle, entry.clip, entry.revision) != (vehicle, clip, revision) {
            let message = format!(
                "expected the entry of vehicle {vehicle:?} clip {clip} revision {revision}, got {:?} {} {}",
                entry.vehicle, entry.clip, entry.revision
            );
            return Err(ShardError::foreign(&path, message));
        }
        Ok(Some(entry))
    }

    /// Clips of a vehicle that are sealed, in any revision. Reads names only.
    ///
    /// # Errors
    /// When the vehicle's name cannot be used, or the manifest cannot be listed.
    pub fn sealed_clips(&self, vehicle: &str) -> Result<BTreeSet<ClipId>, ShardError> {
        Ok(self.entry_names(vehicle)?.into_iter().map(|(clip, _)| clip).collect())
    }

    /// What the newest sealed clip before `before` knew of each sensor, ordered by sensor: where a worker that starts there begins.
    /// A clip stores the whole calibration that held in it, so one clip is enough; clips without any are passed over.
    ///
    /// # Errors
    /// When an entry or a calibration file cannot be read.
    pub fn last_calibration(&self, vehicle: &str, before: ClipId) -> Result<Vec<CalibrationRow>, ShardError> {
        let names = self.entry_names(vehicle)?;
        for (clip, revision) in names.range(..(before, i32::MIN)).rev() {
            let Some(entry) = self.entry(vehicle, *clip, *revision)? else { continue };
            let rows = ClipReader::open(self, &entry)?.calibrations()?;
            if !rows.is_empty() {
                let last: BTreeMap<Arc<str>, CalibrationRow> = rows.into_iter().map(|row| (row.sensor.clone(), row)).collect();
                return Ok(last.into_values().collect());
            }
        }
        Ok(Vec::new())
    }

    /// Removes temporary files whose writer is dead, and lists shards that no entry names. Safe while other workers write: a living
    /// writer holds a lock on each of its temporary files (see `storage`), so nothing depends on ages or process numbers.
    ///
    /// # Errors
    /// When a folder cannot be listed, or a file cannot be opened or removed.
    pub fn remove_orphans(&self) -> Result<Orphans, ShardError> {
        let mut orphans = Orphans::default();
        remove_temporary(&self.root, &mut orphans)?;
        for folder in storage::list(&self.root.join(MANIFEST))? {
            remove_temporary(&self.root.join(MANIFEST).join(&folder), &mut orphans)?;
        }
        for folder in self.shard_folders()? {
            remove_temporary(&folder, &mut orphans)?;
        }
        orphans.unlisted = self.unlisted()?;
        Ok(orphans)
    }

    /// Shards that no entry names, in order: what a dead worker left, or a living one is about to name.
    ///
    /// # Errors
    /// When a folder cannot be listed, or an entry cannot be read.
    pub fn unlisted(&self) -> Result<Vec<PathBuf>, ShardError> {
        let mut named = BTreeSet::new();
        for vehicle in self.vehicles()? {
            for (clip, revision) in self.entry_names(&vehicle)? {
                // What an unreadable entry names is nobody's either.
                if let Ok(Some(entry)) = self.entry(&vehicle, clip, revision) {
                    named.extend(entry.files.into_iter().map(|file| self.root.join(file.path)));
                }
            }
        }
        let mut unlisted = Vec::new();
        for folder in self.shard_folders()? {
            let names = storage::list(&folder)?;
            let shards = names.iter().filter(|name| layout::parse_shard_name(name).is_some()).map(|name| folder.join(name));
            unlisted.extend(shards.filter(|path| !named.contains(path)));
        }
        unlisted.sort();
        Ok(unlisted)
    }

    /// Folders that shards stand in.
    fn shard_folders(&self) -> Result<Vec<PathBuf>, ShardError> {
        let mut folders = Vec::new();
        for table in Table::ALL {
            let table = self.root.join(table.as_str());
            for date in storage::list(&table)? {
                let date = table.join(&date);
                folders.extend(storage::list(&date)?.iter().map(|vehicle| date.join(vehicle)));
            }
        }
        Ok(folders)
    }

    /// sha256 of an entry's bytes in hexadecimal; `None` where there is none.
    pub(crate) fn entry_sha256(&self, vehicle: &str, clip: ClipId, revision: i32) -> Result<Option<String>, ShardError> {
        let json = storage::read_small(&self.entry_path(vehicle, clip, revision)?, MAX_ENTRY_BYTES)?;
        Ok(json.map(|json| storage::hex(&Sha256::digest(json))))
    }

    /// sha256 in hexadecimal and length of a file that an entry names; `None` where it is not there.
    pub(crate) fn file_sha256(&self, file: &FileEntry) -> Result<Option<(String, u64)>, ShardError> {
        let path = self.root.join(&file.path);
        let Some(sha256) = storage::sha256(&path)? else { return Ok(None) };
        Ok(Some((sha256, storage::length(&storage::open(&path)?, &path)?)))
    }

    /// The entry with the greatest clip and revision below these.
    pub(crate) fn previous_entry(&self, vehicle: &str, clip: ClipId, revision: i32) -> Result<Option<PreviousEntry>, ShardError> {
        let names = self.entry_names(vehicle)?;
        let Some(&(clip, revision)) = names.range(..(clip, revision)).next_back() else { return Ok(None) };
        let sha256 = self.entry_sha256(vehicle, clip, revision)?;
        Ok(sha256.map(|sha256| PreviousEntry { clip, revision, sha256 }))
    }

    fn entry_path(&self, vehicle: &str, clip: ClipId, revision: i32) -> Result<PathBuf, ShardError> {
        Ok(self.root.join(layout::manifest_folder(vehicle)?).join(format!("{}.json", layout::entry_stem(clip, revision))))
    }

    /// Clips and revisions of a vehicle that have an entry.
    pub(crate) fn entry_names(&self, vehicle: &str) -> Result<BTreeSet<(ClipId, i32)>, ShardError> {
        let names = storage::list(&self.root.join(layout::manifest_folder(vehicle)?))?;
        Ok(names.iter().filter_map(|name| layout::parse_entry_name(name)).collect())
    }
}

fn create_marker(root: &Path, grid: ClipGrid) -> Result<(), ShardError> {
    let path = root.join(MARKER);
    let marker = Marker { schema_version: SCHEMA_VERSION, clip_length_ns: grid.length_ns() };
    let json = serde_json::to_vec_pretty(&marker).map_err(|error| ShardError::foreign(&path, error.to_string()))?;
    let mut temp = TempFile::create(root, "dataset")?;
    temp.write_all(&json).and_then(|()| temp.write_all(b"\n")).map_err(ShardError::io("write", &path))?;
    temp.sync()?;
    temp.link_if_absent(&path)?;
    storage::sync_folder(root)
}

fn remove_temporary(folder: &Path, orphans: &mut Orphans) -> Result<(), ShardError> {
    let names = storage::list(folder)?;
    for name in names.iter().filter(|name| name.starts_with('.') && name.ends_with(".tmp")) {
        let path = folder.join(name);
        if storage::remove_orphan(&path)? {
            orphans.removed.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
