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

use super::build_entry;
use crate::dataset::{Dataset, entry_name};
use crate::error::ShardError;
use crate::layout;
use crate::manifest::{FileEntry, SealInfo, SealOutcome};
use crate::storage::TempFile;
use crate::storage::remote::Remote;
use crate::table_file::Finished;
use crate::writer::ClipKey;

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
    if remote.create(&name, json).map_err(dataset.store().failed("create", &name))? {
        return Ok(SealOutcome::Sealed(Box::new(entry)));
    }
    let Some(theirs) = dataset.entry(&key.vehicle, key.clip, key.revision)? else {
        return Err(ShardError::foreign(&path, "expected the entry that was said to be there, got none"));
    };
    for file in entry.files.iter().filter(|file| theirs.files.iter().all(|other| other.path != file.path)) {
        if let Err(error) = remote.remove(&file.path) {
            tracing::warn!(%error, object = %file.path, "an object without a manifest entry stays behind; the next start removes it");
        }
    }
    Ok(SealOutcome::AlreadySealed(Box::new(theirs)))
}

#[cfg(test)]
mod tests;
