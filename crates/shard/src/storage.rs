//! Every call to the file system that this crate makes, so that another kind of storage is one module's work.
//!
//! **Temporary files** are called `.<stem>.<process>-<count>.tmp` and stand in the folder of the file that they become. Their writer
//! holds an exclusive advisory lock on them for as long as it lives; the kernel drops the lock when the process ends, however it ends. So
//! "is its writer alive" is a question to the kernel, not to a clock or a process number that may be in use again, and it is answered
//! rightly between processes of one machine and over NFSv4. A temporary file whose lock can be taken is an orphan.

pub(crate) mod blocks;
pub(crate) mod remote;
pub(crate) mod store;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::ShardError;

/// Tells the temporary files of one process apart.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// How often a lock that somebody holds is asked for again.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// A temporary file that its writer holds locked. Dropping it removes it, unless it was given its final name.
#[derive(Debug)]
pub(crate) struct TempFile {
    path: PathBuf,
    file: File,
    /// Whether there still is a file of this name to remove.
    armed: bool,
}

impl TempFile {
    /// Creates `<folder>/.<stem>.<unique>.tmp`; the folder must exist.
    pub(crate) fn create(folder: &Path, stem: &str) -> Result<Self, ShardError> {
        loop {
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!(".{stem}.{}-{count}.tmp", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                // Another machine's process of the same number has it; the next count is free.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(ShardError::Io { action: "create", path, source }),
                Ok(file) => {
                    if hold(&file, &path)? {
                        return Ok(Self { path, file, armed: true });
                    }
                }
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the content durable.
    pub(crate) fn sync(&self) -> Result<(), ShardError> {
        self.file.sync_all().map_err(ShardError::io("sync", &self.path))
    }

    /// Gives the file its final name, replacing what bears it.
    pub(crate) fn replace(mut self, destination: &Path) -> Result<(), ShardError> {
        fs::rename(&self.path, destination).map_err(ShardError::io("rename a temporary file to", destination))?;
        self.armed = false;
        Ok(())
    }

    /// Gives the file its final name if nothing bears it. Returns whether it was so.
    pub(crate) fn link_if_absent(self, destination: &Path) -> Result<bool, ShardError> {
        match fs::hard_link(&self.path, destination) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(ShardError::Io { action: "link", path: destination.to_owned(), source }),
        }
    }
}

impl Write for TempFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.armed {
            // Nothing to do about a failure: the lock is gone with the file handle, and the next start removes the orphan.
            if let Err(error) = remove(&self.path) {
                tracing::debug!(%error, "a temporary file stays behind");
            }
        }
    }
}

/// Locks a file that was just created. False where a cleaner was faster: it holds the file or has removed it.
fn hold(file: &File, path: &Path) -> Result<bool, ShardError> {
    match file.try_lock() {
        Ok(()) => Ok(links(file).map_err(ShardError::io("look at", path))? > 0),
        Err(TryLockError::WouldBlock) => Ok(false),
        // No locks here: the file is only less protected, since the cleaner leaves alone what it cannot lock.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(true),
        Err(TryLockError::Error(source)) => Err(ShardError::Io { action: "lock", path: path.to_owned(), source }),
    }
}

#[cfg(unix)]
fn links(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.nlink())
}

#[cfg(not(unix))]
fn links(_: &File) -> io::Result<u64> {
    // Elsewhere an open file cannot be removed.
    Ok(1)
}

/// Removes a temporary file if nobody writes it any more. Returns whether it was removed.
pub(crate) fn remove_orphan(path: &Path) -> Result<bool, ShardError> {
    let file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(ShardError::Io { action: "open", path: path.to_owned(), source }),
    };
    match file.try_lock() {
        Ok(()) => remove(path),
        Err(_) => Ok(false),
    }
}

/// A lock between the writers of all processes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting for `patience` where somebody has it. The file stays: removing a lock file is a race of its own.
    pub(crate) fn acquire(path: &Path, patience: Duration) -> Result<Self, ShardError> {
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = open.map_err(ShardError::io("open", path))?;
        let polls = patience.as_millis() / LOCK_POLL.as_millis();
        for _ in 0..=polls {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
                Err(TryLockError::Error(source)) => return Err(ShardError::Io { action: "lock", path: path.to_owned(), source }),
            }
        }
        Err(ShardError::Locked { path: path.to_owned(), waited_s: patience.as_secs() })
    }
}

/// Creates `root/relative` with everything above it up to `root`, durably: a file is not safe in a folder that a crash can undo.
pub(crate) fn create_folders(root: &Path, relative: &Path) -> Result<PathBuf, ShardError> {
    let mut folder = root.to_owned();
    for component in relative.components() {
        let parent = folder.clone();
        folder.push(component);
        match fs::create_dir(&folder) {
            Ok(()) => sync_folder(&parent)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(source) => return Err(ShardError::Io { action: "create folder", path: folder, source }),
        }
    }
    Ok(folder)
}

/// Creates a folder with everything above it.
pub(crate) fn create_root(path: &Path) -> Result<(), ShardError> {
    fs::create_dir_all(path).map_err(ShardError::io("create folder", path))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), ShardError> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(ShardError::io("sync folder", folder))?;
    }
    Ok(())
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> Result<File, ShardError> {
    File::open(path).map_err(ShardError::io("open", path))
}

/// Length of an open file in bytes.
pub(crate) fn length(file: &File, path: &Path) -> Result<u64, ShardError> {
    Ok(file.metadata().map_err(ShardError::io("look at", path))?.len())
}

/// Reads a small file whole; `None` where there is none.
pub(crate) fn read_small(path: &Path, most_bytes: u64) -> Result<Option<Vec<u8>>, ShardError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ShardError::Io { action: "open", path: path.to_owned(), source }),
    };
    let mut bytes = Vec::new();
    file.take(most_bytes + 1).read_to_end(&mut bytes).map_err(ShardError::io("read", path))?;
    if bytes.len() as u64 > most_bytes {
        return Err(ShardError::foreign(path, format!("expected at most {most_bytes} bytes, got more")));
    }
    Ok(Some(bytes))
}

/// sha256 of a file in hexadecimal; `None` where there is none.
pub(crate) fn sha256(path: &Path) -> Result<Option<String>, ShardError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ShardError::Io { action: "open", path: path.to_owned(), source }),
    };
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash).map_err(ShardError::io("read", path))?;
    Ok(Some(hex(&hash.finalize())))
}

/// Removes a file. Returns whether there was one.
pub(crate) fn remove(path: &Path) -> Result<bool, ShardError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ShardError::Io { action: "remove", path: path.to_owned(), source }),
    }
}

/// Names in a folder in order; none where there is no folder. Names that are no UTF-8 are not ours.
pub(crate) fn list(folder: &Path) -> Result<Vec<String>, ShardError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(source) => return Err(ShardError::Io { action: "list", path: folder.to_owned(), source }),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(ShardError::io("list", folder))?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_of_a_living_writer_is_no_orphan() {
        let folder = tempfile::tempdir().unwrap();
        let living = TempFile::create(folder.path(), "7").unwrap();
        let dead = folder.path().join(".7.1-0.tmp");
        fs::write(&dead, b"half a shard").unwrap();
        assert!(!remove_orphan(living.path()).unwrap());
        assert!(living.path().exists());
        assert!(remove_orphan(&dead).unwrap());
        assert!(!dead.exists());
    }

    #[test]
    fn a_dropped_temporary_file_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let temp = TempFile::create(folder.path(), "7").unwrap();
        drop(temp);
        assert!(list(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn only_the_first_link_wins() {
        let folder = tempfile::tempdir().unwrap();
        let entry = folder.path().join("7-r0.json");
        for (content, wins) in [("first", true), ("second", false)] {
            let mut temp = TempFile::create(folder.path(), "7").unwrap();
            temp.write_all(content.as_bytes()).unwrap();
            assert_eq!(temp.link_if_absent(&entry).unwrap(), wins);
        }
        assert_eq!(fs::read_to_string(&entry).unwrap(), "first");
        assert_eq!(list(folder.path()).unwrap(), ["7-r0.json"]);
    }

    #[test]
    fn a_lock_that_is_not_given_up_is_an_error_and_not_a_hang() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".seal.lock");
        let held = Lock::acquire(&path, Duration::ZERO).unwrap();
        let error = Lock::acquire(&path, Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, ShardError::Locked { .. }), "{error}");
        drop(held);
        Lock::acquire(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_file_in_the_way_of_a_folder_is_named_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lidar"), b"").unwrap();
        let message = create_folders(folder.path(), Path::new("lidar/date=2026-01-01")).unwrap_err().to_string();
        assert!(message.contains("lidar") && message.contains("hint: a file is in the way"), "{message}");
    }
}
