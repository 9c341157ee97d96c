//! The moment of truth: how files become a clip, whatever dies in between.
//!
//! A shard has a fixed name, `<clip>.parquet`, because people glob. Two workers that seal the same clip (a slow one that lost its partition
//! and the one that took it over) would therefore write the same names, and what they write is meant to be equal but not bound to be.
//! So the naming and the entry are one critical section, under an advisory lock that each vehicle has in the manifest:
//!
//! 1. files are closed and synced under temporary names; the lock is taken;
//! 2. if the entry is there, somebody was faster: our temporary files go, and the folder is synced, since the caller will commit;
//! 3. each file gets its name. A file that stands there with the same hash is kept. One with another hash, or of a table for which we have no
//!    row, can only be what a dead worker left: no entry names it (2.), and no living worker is in here (the lock). It is replaced;
//! 4. the folders are synced, then the entry is written, synced, linked to its name *only if absent*, and its folder is synced.
//!
//! **Killed at any point:** before 3 only temporary files are left, whose locks died with their writer; the next start removes them.
//! Within 3 some files stand without an entry: readers of the manifest do not see them, the offsets were not committed, and so the
//! clip is made again, and the new files replace or confirm them. Within 4 the entry is there or not, whole in either case because
//! a link is atomic; the files that it names were durable before. If power fails before the last sync the entry may be lost: that
//! is the case before, and nothing was committed. After it, all is done.
//!
//! **Two at once:** the kernel gives the lock to one and takes it back when it dies, by `kill -9` too. The other then finds the entry.
//! Creating the entry first would need no lock, but an entry would name files that are not there yet, and every reader would have to finish
//! other people's seals. Names with a hash in them would need none either, but the loser killed before its clean-up leaves a second
//! file of the same clip for everybody who globs.
//!
//! An object store has no locks; there the names differ, see [`object`].
//!
//! Should a file system pretend to lock, the link still lets only one entry be; the loser sees the entry appear, and says so
//! unless it names the same bytes.

mod object;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::dataset::Dataset;
use crate::error::ShardError;
use crate::layout;
use crate::manifest::{FileEntry, ManifestEntry, SealInfo, SealOutcome};
use crate::schema::{SCHEMA_VERSION, Table};
use crate::storage::{self, Lock, TempFile};
use crate::table_file::{CREATED_BY, Finished};
use crate::writer::ClipKey;

/// How long the lock is waited for. Sealing takes well under a second; whoever holds the lock for longer is stopped, not slow.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// Seals closed and synced files. See the module.
pub(crate) fn seal(
    dataset: &Dataset,
    key: &ClipKey,
    files: Vec<Finished<TempFile>>,
    info: SealInfo,
) -> Result<SealOutcome, ShardError> {
    if let Some(remote) = dataset.store().as_remote() {
        return object::seal(dataset, remote, key, files, info);
    }
    let folder = storage::create_folders(dataset.root(), Path::new(&layout::manifest_folder(&key.vehicle)?))?;
    let _lock = Lock::acquire(&folder.join(".seal.lock"), LOCK_PATIENCE)?;
    if let Some(entry) = dataset.entry(&key.vehicle, key.clip, key.revision)? {
        storage::sync_folder(&folder)?;
        return Ok(SealOutcome::AlreadySealed(Box::new(entry)));
    }
    let mut placed = Placed::default();
    let files = place(dataset.root(), key, files, &mut placed)?;
    let entry = build_entry(dataset, key, files, info)?;
    create_entry(dataset, key, &folder, entry, placed)
}

/// Files that got their names in this attempt. Dropping it takes them away again: an attempt that fails leaves nothing for those who
/// glob.
#[derive(Default)]
struct Placed {
    paths: Vec<PathBuf>,
}

impl Drop for Placed {
    fn drop(&mut self) {
        for path in &self.paths {
            if let Err(error) = storage::remove(path) {
                tracing::warn!(%error, "a shard without a manifest entry stays behind; sealing the clip again replaces it");
            }
        }
    }
}

/// Gives every file its name and clears what dead workers left for the other tables.
fn place(root: &Path, key: &ClipKey, files: Vec<Finished<TempFile>>, placed: &mut Placed) -> Result<Vec<FileEntry>, ShardError> {
    let mut files: Vec<_> = files.into_iter().map(Some).collect();
    let mut entries = Vec::new();
    let mut folders = BTreeSet::new();
    for table in Table::ALL {
        let path = layout::shard_path(table, key)?;
        let destination = root.join(&path);
        let ours = files.iter_mut().find(|file| file.as_ref().is_some_and(|file| file.table == table)).and_then(Option::take);
        let Some(Finished { file, sha256, bytes, rows, .. }) = ours else {
            storage::remove(&destination)?;
            continue;
        };
        placed.paths.push(destination.clone());
        if storage::sha256(&destination)?.as_ref() != Some(&sha256) {
            file.replace(&destination)?;
        }
        folders.extend(destination.parent().map(Path::to_owned));
        entries.push(FileEntry { table, path, sha256, bytes, rows });
    }
    folders.iter().try_for_each(|folder| storage::sync_folder(folder))?;
    Ok(entries)
}

fn build_entry(dataset: &Dataset, key: &ClipKey, files: Vec<FileEntry>, info: SealInfo) -> Result<ManifestEntry, ShardError> {
    let SealInfo { mut sources, first_stamp_ns, last_stamp_ns, counts, mut idle_sensors, grade, config_sha256, models } = info;
    sources.sort();
    idle_sensors.sort();
    let rows_of = |table| files.iter().find(|file: &&FileEntry| file.table == table).map_or(0, |file| file.rows);
    Ok(ManifestEntry {
        schema_version: SCHEMA_VERSION,
        created_by: CREATED_BY.to_owned(),
        vehicle: key.vehicle.clone(),
        clip: key.clip,
        revision: key.revision,
        clip_start_ns: key.grid.start_ns(key.clip),
        clip_end_ns: key.grid.end_ns(key.clip),
        first_stamp_ns,
        last_stamp_ns,
        grade,
        config_sha256,
        models,
        counts,
        rows: Table::ALL.into_iter().map(|table| (table, rows_of(table))).collect(),
        idle_sensors,
        sources,
        previous: dataset.previous_entry(&key.vehicle, key.clip, key.revision)?,
        files,
    })
}

/// Links the entry to its name if nobody has. From then on the files are the clip's and stay.
fn create_entry(
    dataset: &Dataset,
    key: &ClipKey,
    folder: &Path,
    entry: ManifestEntry,
    mut placed: Placed,
) -> Result<SealOutcome, ShardError> {
    let stem = layout::entry_stem(key.clip, key.revision);
    let path = folder.join(format!("{stem}.json"));
    let json = entry.to_json().map_err(|error| ShardError::foreign(&path, format!("cannot be written as JSON: {error}")))?;
    let mut temp = TempFile::create(folder, &stem)?;
    temp.write_all(&json).map_err(ShardError::io("write", &path))?;
    temp.sync()?;
    let created = temp.link_if_absent(&path)?;
    placed.paths.clear();
    storage::sync_folder(folder)?;
    if created {
        return Ok(SealOutcome::Sealed(Box::new(entry)));
    }
    match dataset.entry(&key.vehicle, key.clip, key.revision)? {
        Some(theirs) if theirs.files == entry.files => Ok(SealOutcome::AlreadySealed(Box::new(theirs))),
        _ => Err(ShardError::LockIgnored { path }),
    }
}

#[cfg(test)]
mod tests;
