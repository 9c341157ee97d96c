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
use crate::location::DatasetLocation;
use crate::manifest::{FileEntry, MAX_ENTRY_BYTES, ManifestEntry, PreviousEntry, check_version};
use crate::reader::ClipReader;
use crate::schema::{SCHEMA_VERSION, Table};
use crate::storage::store::Store;
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

/// A dataset in a folder or an object store. Cheap to clone; it holds no file open.
#[derive(Clone, Debug)]
pub struct Dataset {
    store: Store,
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
        Self::open_or_create_at(&DatasetLocation::folder(path), grid)
    }

    /// [`Self::open_or_create`] wherever a dataset may live.
    ///
    /// # Errors
    /// As there, and when an object store does not answer, refuses, or does not keep conditional writes.
    pub fn open_or_create_at(location: &DatasetLocation, grid: ClipGrid) -> Result<Self, ShardError> {
        let store = &location.store;
        if store.read_small(MARKER, MAX_MARKER_BYTES)?.is_none() {
            if !store.is_remote() {
                storage::create_root(store.root())?;
            }
            if store.list("")?.iter().any(|name| !name.starts_with('.') && name != MARKER) {
                return Err(ShardError::NotEmpty { path: store.root().to_owned() });
            }
            create_marker(store, grid)?;
        }
        let dataset = Self::open_at(location)?;
        if dataset.grid != grid {
            let (asked_ns, stored_ns) = (grid.length_ns(), dataset.grid.length_ns());
            return Err(ShardError::ClipLength { path: store.root().to_owned(), asked_ns, stored_ns });
        }
        dataset.check_conditional_writes()?;
        Ok(dataset)
    }

    /// Opens a dataset that is there.
    ///
    /// # Errors
    /// When the folder is no dataset, was written by a newer program, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, ShardError> {
        Self::open_at(&DatasetLocation::folder(path))
    }

    /// [`Self::open`] wherever a dataset may live.
    ///
    /// # Errors
    /// As there, and when an object store does not answer or refuses.
    pub fn open_at(location: &DatasetLocation) -> Result<Self, ShardError> {
        let store = location.store.clone();
        let file = store.path(MARKER);
        let Some(json) = store.read_small(MARKER, MAX_MARKER_BYTES)? else {
            return Err(ShardError::NotADataset { path: store.root().to_owned() });
        };
        check_version(&json, &file)?;
        let marker: Marker = serde_json::from_slice(&json)
            .map_err(|error| ShardError::foreign(&file, format!("expected a dataset marker: {error}")))?;
        let grid = ClipGrid::new(marker.clip_length_ns);
        if grid.length_ns() != marker.clip_length_ns {
            let message = format!("clip_length_ns: expected at least {}, got {}", grid.length_ns(), marker.clip_length_ns);
            return Err(ShardError::foreign(&file, message));
        }
        Ok(Self { store, grid })
    }

    /// Creating the marker once more must be refused; a store that lets it pass would let two workers seal one clip.
    fn check_conditional_writes(&self) -> Result<(), ShardError> {
        let Some(remote) = self.store.as_remote() else { return Ok(()) };
        let marker = marker_json(&self.store, self.grid)?;
        match remote.create(MARKER, marker).map_err(self.store.failed("create", MARKER))? {
            false => Ok(()),
            true => Err(ShardError::Unconditional { path: self.store.path(MARKER) }),
        }
    }

    /// Its folder, or the address of its prefix in an object store.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.store.root()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
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
        let folders = self.store.list(MANIFEST)?;
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
            let keys: Vec<_> = self.entry_names(&vehicle)?.into_iter().collect();
            let names =
                keys.iter().map(|(clip, revision)| entry_name(&vehicle, *clip, *revision)).collect::<Result<Vec<_>, _>>()?;
            let found = self.store.read_many(&names, MAX_ENTRY_BYTES)?;
            for ((clip, revision), json) in keys.into_iter().zip(found) {
                entries.extend(json.map(|json| self.parse_entry(&json, &vehicle, clip, revision)).transpose()?);
            }
        }
        Ok(entries)
    }

    /// Every clip once, ordered by vehicle and clip: its frames with the labels of its newest revision, or of the newest one up to
    /// `revision`.
    ///
    /// # Errors
    /// As [`Self::entries`].
    pub fn clips(&self, revision: Option<i32>) -> Result<Vec<ManifestEntry>, ShardError> {
        let mut clips: Vec<ManifestEntry> = Vec::new();
        for entry in self.entries()? {
            match clips.last_mut() {
                Some(clip) if (&clip.vehicle, clip.clip) == (&entry.vehicle, entry.clip) => {
                    if revision.is_none_or(|limit| entry.revision <= limit) {
                        *clip = clip.with_labels_of(&entry);
                    }
                }
                _ => clips.push(entry),
            }
        }
        Ok(clips)
    }

    /// One entry; `None` where the clip is not sealed.
    ///
    /// # Errors
    /// When the entry cannot be read, or is not one of this vehicle and clip.
    pub fn entry(&self, vehicle: &str, clip: ClipId, revision: i32) -> Result<Option<ManifestEntry>, ShardError> {
        let json = self.store.read_small(&entry_name(vehicle, clip, revision)?, MAX_ENTRY_BYTES)?;
        json.map(|json| self.parse_entry(&json, vehicle, clip, revision)).transpose()
    }

    fn parse_entry(&self, json: &[u8], vehicle: &str, clip: ClipId, revision: i32) -> Result<ManifestEntry, ShardError> {
        let path = self.store.path(&entry_name(vehicle, clip, revision)?);
        let entry = ManifestEntry::from_json(json, &path)?;
        if (&*entry.vehicle, entry.clip, entry.revision) != (vehicle, clip, revision) {
            let message = format!(
                "expected the entry of vehicle {vehicle:?} clip {clip} revision {revision}, got {:?} {} {}",
                entry.vehicle, entry.clip, entry.revision
            );
            return Err(ShardError::foreign(&path, message));
        }
        Ok(entry)
    }

    /// How many entries there are. Reads names only.
    ///
    /// # Errors
    /// When the manifest cannot be listed.
    pub fn entry_count(&self) -> Result<u64, ShardError> {
        self.vehicles()?.iter().map(|vehicle| Ok(self.entry_names(vehicle)?.len() as u64)).sum()
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
    /// writer holds a lock on each of its temporary files (see `storage`), so nothing depends on ages or process numbers. In an object
    /// store, shards of sealed clips that their entries do not name are removed too: an entry is final, so nobody will name them.
    ///
    /// # Errors
    /// When a folder cannot be listed, or a file cannot be opened or removed.
    pub fn remove_orphans(&self) -> Result<Orphans, ShardError> {
        let mut orphans = Orphans::default();
        if let Some(remote) = self.store.as_remote() {
            remove_temporary(remote.spool(), &mut orphans)?;
            for stray in self.strays()? {
                if stray.is_sealed {
                    remote.remove(&stray.name).map_err(self.store.failed("remove", &stray.name))?;
                    orphans.removed.push(self.store.path(&stray.name));
                } else {
                    orphans.unlisted.push(self.store.path(&stray.name));
                }
            }
            return Ok(orphans);
        }
        remove_temporary(self.root(), &mut orphans)?;
        for folder in self.store.list(MANIFEST)? {
            remove_temporary(&self.store.path(MANIFEST).join(&folder), &mut orphans)?;
        }
        for folder in self.shard_folders()? {
            remove_temporary(&self.store.path(&folder), &mut orphans)?;
        }
        orphans.unlisted = self.unlisted()?;
        Ok(orphans)
    }

    /// Shards that no entry names, in order: what a dead worker left, or a living one is about to name.
    ///
    /// # Errors
    /// When a folder cannot be listed, or an entry cannot be read.
    pub fn unlisted(&self) -> Result<Vec<PathBuf>, ShardError> {
        Ok(self.strays()?.into_iter().map(|stray| self.store.path(&stray.name)).collect())
    }

    fn strays(&self) -> Result<Vec<Stray>, ShardError> {
        let (mut named, mut sealed) = (BTreeSet::new(), BTreeSet::new());
        for vehicle in self.vehicles()? {
            let folder = layout::vehicle_folder(&vehicle)?;
            for (clip, revision) in self.entry_names(&vehicle)? {
                // What an unreadable entry names is nobody's either, but it must not cost any file.
                if let Ok(Some(entry)) = self.entry(&vehicle, clip, revision) {
                    named.extend(entry.files.into_iter().map(|file| file.path));
                    sealed.insert((folder.clone(), clip, revision));
                }
            }
        }
        let mut strays = Vec::new();
        for folder in self.shard_folders()? {
            let vehicle = folder.rsplit('/').next().unwrap_or_default().to_owned();
            for file in self.store.list(&folder)? {
                let Some((clip, revision)) = layout::parse_shard_name(&file) else { continue };
                let name = format!("{folder}/{file}");
                if !named.contains(&name) {
                    strays.push(Stray { name, is_sealed: sealed.contains(&(vehicle.clone(), clip, revision)) });
                }
            }
        }
        strays.sort();
        Ok(strays)
    }

    /// Folders that shards stand in.
    fn shard_folders(&self) -> Result<Vec<String>, ShardError> {
        let mut folders = Vec::new();
        for table in Table::ALL {
            for date in self.store.list(table.as_str())? {
                let date = format!("{table}/{date}");
                folders.extend(self.store.list(&date)?.iter().map(|vehicle| format!("{date}/{vehicle}")));
            }
        }
        Ok(folders)
    }

    /// sha256 of an entry's bytes in hexadecimal; `None` where there is none.
    pub(crate) fn entry_sha256(&self, vehicle: &str, clip: ClipId, revision: i32) -> Result<Option<String>, ShardError> {
        let json = self.store.read_small(&entry_name(vehicle, clip, revision)?, MAX_ENTRY_BYTES)?;
        Ok(json.map(|json| storage::hex(&Sha256::digest(json))))
    }

    /// sha256 in hexadecimal and length of a file that an entry names; `None` where it is not there.
    pub(crate) fn file_sha256(&self, file: &FileEntry) -> Result<Option<(String, u64)>, ShardError> {
        self.store.digest(&file.path)
    }

    /// The entry with the greatest clip and revision below these.
    pub(crate) fn previous_entry(&self, vehicle: &str, clip: ClipId, revision: i32) -> Result<Option<PreviousEntry>, ShardError> {
        let names = self.entry_names(vehicle)?;
        let Some(&(clip, revision)) = names.range(..(clip, revision)).next_back() else { return Ok(None) };
        let sha256 = self.entry_sha256(vehicle, clip, revision)?;
        Ok(sha256.map(|sha256| PreviousEntry { clip, revision, sha256 }))
    }

    /// Clips and revisions of a vehicle that have an entry.
    pub(crate) fn entry_names(&self, vehicle: &str) -> Result<BTreeSet<(ClipId, i32)>, ShardError> {
        let names = self.store.list(&layout::manifest_folder(vehicle)?)?;
        Ok(names.iter().filter_map(|name| layout::parse_entry_name(name)).collect())
    }
}

/// A shard that no entry names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Stray {
    name: String,
    /// Its clip has an entry, which is final.
    is_sealed: bool,
}

/// Name of an entry, relative to the dataset.
pub(crate) fn entry_name(vehicle: &str, clip: ClipId, revision: i32) -> Result<String, ShardError> {
    Ok(format!("{}/{}.json", layout::manifest_folder(vehicle)?, layout::entry_stem(clip, revision)))
}

fn marker_json(store: &Store, grid: ClipGrid) -> Result<Vec<u8>, ShardError> {
    let marker = Marker { schema_version: SCHEMA_VERSION, clip_length_ns: grid.length_ns() };
    let mut json =
        serde_json::to_vec_pretty(&marker).map_err(|error| ShardError::foreign(&store.path(MARKER), error.to_string()))?;
    json.push(b'\n');
    Ok(json)
}

fn create_marker(store: &Store, grid: ClipGrid) -> Result<(), ShardError> {
    let json = marker_json(store, grid)?;
    if let Some(remote) = store.as_remote() {
        return remote.create(MARKER, json).map(|_| ()).map_err(store.failed("create", MARKER));
    }
    let path = store.path(MARKER);
    let mut temp = TempFile::create(store.root(), "dataset")?;
    temp.write_all(&json).map_err(ShardError::io("write", &path))?;
    temp.sync()?;
    temp.link_if_absent(&path)?;
    storage::sync_folder(store.root())
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
