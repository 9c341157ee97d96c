//! Sealing in an object store: no lock, no rename, but names that nobody else's bytes can bear.
//!
//! The shards of a clip grow in local files. When it closes:
//!
//! 1. each file is uploaded as `<clip>.<beginning of its sha256>.parquet`: whoever writes that name writes the same bytes;
//! 2. the manifest entry, which names them, is created *only if absent* (`If-None-Match: *`): the one moment in which something becomes
//!    visible, and the fence against a worker that comes too late;
//! 3. who finds an entry there removes the objects that he has uploaded and that the entry does not name.
//!
//! **Killed at any point:** before 1 there are only local files, whose locks died with their writer. Within 1 and before 2 there are objects
//! of a clip without an entry: readers of the manifest do not see them, and making the clip again gives the same names or leaves them
//! behind. After 2 all is done. Killed within 3, or left behind: an object of a sealed clip that the entry does not name.
//! Entries are final, so `Dataset::remove_orphans` removes those, at every start of a worker.
//!
//! **A lost answer:** a creation that has happened but whose answer did not arrive is tried again and then refused by our own entry. That
//! entry is read back; it names our files, so nothing is removed, and the clip counts as sealed before. Either way it is durable.
//!
//! A zombie uploads names that differ or bytes that do not; it cannot change an object that an entry names into something else.

use std::sync::Arc;
use std::time::Duration;

use super::build_entry;
use crate::dataset::{Dataset, entry_name};
use crate::error::ShardError;
use crate::layout;
use crate::manifest::{FileEntry, ManifestEntry, SealInfo, SealOutcome};
use crate::storage::TempFile;
use crate::storage::remote::Remote;
use crate::table_file::Finished;
use crate::writer::ClipKey;

/// How often a creation that met another one is tried again.
const CREATE_ATTEMPTS: u32 = 5;
/// Pause after the first of them; each is longer by as much.
const CREATE_PAUSE: Duration = Duration::from_millis(100);

/// Seals closed files. See the module.
pub(super) fn seal(
    dataset: &Dataset,
    remote: &Arc<Remote>,
    key: &ClipKey,
    files: Vec<Finished<TempFile>>,
    info: SealInfo,
) -> Result<SealOutcome, ShardError> {
    if let Some(entry) = dataset.entry(&key.vehicle, key.clip, key.revision)? {
        return Ok(SealOutcome::AlreadySealed(Box::new(entry)));
    }
    let mut entries = Vec::new();
    for Finished { table, file, sha256, bytes, rows } in files {
        let path = layout::object_path(table, key, &sha256)?;
        remote.upload(&path, file.path()).map_err(dataset.store().failed("upload", &path))?;
        entries.push(FileEntry { table, path, sha256, bytes, rows });
    }
    entries.sort_by_key(|file| file.table);
    let entry = build_entry(dataset, key, entries, info)?;
    let name = entry_name(&key.vehicle, key.clip, key.revision)?;
    let path = dataset.store().path(&name);
    let json = entry.to_json().map_err(|error| ShardError::foreign(&path, format!("cannot be written as JSON: {error}")))?;
    let Some(theirs) = create_entry(dataset, remote, key, &name, &json)? else {
        return Ok(SealOutcome::Sealed(Box::new(entry)));
    };
    for file in entry.files.iter().filter(|file| theirs.files.iter().all(|other| other.path != file.path)) {
        if let Err(error) = remote.remove(&file.path) {
            tracing::warn!(%error, object = %file.path, "an object without a manifest entry stays behind; the next start removes it");
        }
    }
    Ok(SealOutcome::AlreadySealed(Box::new(theirs)))
}

/// Creates the entry if there is none; returns the one that is there otherwise.
///
/// Two things are decided by looking. S3 answers one of two creations that meet with a conflict before it knows whether the other will succeed: then
/// there may be no entry, and it is tried again. And an answer may have been lost, as after a timeout: then the entry may be there, ours or theirs.
fn create_entry(
    dataset: &Dataset,
    remote: &Remote,
    key: &ClipKey,
    name: &str,
    json: &[u8],
) -> Result<Option<ManifestEntry>, ShardError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let error = match remote.create(name, json.to_vec()) {
            Ok(true) => return Ok(None),
            Ok(false) => None,
            Err(error) => Some(dataset.store().failed("create", name)(error)),
        };
        match (dataset.entry(&key.vehicle, key.clip, key.revision), error) {
            (Ok(Some(entry)), _) => return Ok(Some(entry)),
            (_, Some(error)) => return Err(error),
            (found, None) if attempt == CREATE_ATTEMPTS => {
                found?;
                return Err(ShardError::foreign(
                    &dataset.store().path(name),
                    "expected the entry that was said to be there, got none",
                ));
            }
            (_, None) => std::thread::sleep(CREATE_PAUSE * attempt),
        }
    }
}

#[cfg(test)]
mod tests;
