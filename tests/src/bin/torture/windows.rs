//! Finds moments by watching a dataset's folder: a file grows, a shard gets its name, an entry appears, and whose doing it was.
//!
//! Temporary files are called `.<stem>.<process>-<count>.tmp`, so a rename says which worker made a shard, and the last temporary file
//! of a manifest folder says which worker made an entry.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

/// How long to sleep between looks: the moments to be hit last for milliseconds.
const POLL: Duration = Duration::from_micros(200);
/// Bytes of events read at once: some hundreds of them.
const BUFFER_BYTES: usize = 64 << 10;

/// A clip as its files are known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClipFile {
    /// `vehicle=<id>`.
    pub(crate) vehicle: String,
    pub(crate) clip: String,
}

impl ClipFile {
    pub(crate) fn entry(&self, dataset: &Path) -> PathBuf {
        dataset.join("manifest").join(&self.vehicle).join(format!("{}-r0.json", self.clip))
    }
}

/// What was seen to happen, and which process did it.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Grew { pid: u32, path: PathBuf },
    Named { pid: u32, clip: ClipFile },
    Entry { pid: u32, clip: ClipFile },
}

impl Seen {
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Grew { pid, .. } | Self::Named { pid, .. } | Self::Entry { pid, .. } => *pid,
        }
    }
}

/// Watches a dataset's folder and everything below it.
pub(crate) struct Watch {
    inotify: Inotify,
    folders: HashMap<WatchDescriptor, PathBuf>,
    /// The process whose file is on its way to another name, by the kernel's number for the rename.
    moving: HashMap<u32, u32>,
    /// The process that made the last temporary file of a folder.
    last_writer: BTreeMap<PathBuf, u32>,
    buffer: Vec<u8>,
}

impl Watch {
    /// Watches a folder that exists.
    pub(crate) fn new(dataset: &Path) -> anyhow::Result<Self> {
        let inotify = Inotify::init().context("cannot watch folders")?;
        let mut watch = Self {
            inotify,
            folders: HashMap::new(),
            moving: HashMap::new(),
            last_writer: BTreeMap::new(),
            buffer: vec![0; BUFFER_BYTES],
        };
        watch.add(dataset.to_owned())?;
        Ok(watch)
    }

    /// Forgets what has happened so far.
    pub(crate) fn forget(&mut self) -> anyhow::Result<()> {
        while self.events()?.0 > 0 {}
        Ok(())
    }

    /// The first thing that `wanted` says yes to; none where `limit` passes before. `meanwhile` is asked now and then whether to go on.
    pub(crate) fn await_one(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&Seen) -> bool,
        mut meanwhile: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<Option<Seen>> {
        let until = Instant::now() + limit;
        let mut looks = 0_u32;
        loop {
            let (_, seen) = self.events()?;
            if let Some(seen) = seen.into_iter().find(&wanted) {
                return Ok(Some(seen));
            }
            looks = looks.wrapping_add(1);
            if Instant::now() > until || (looks.is_multiple_of(200) && !meanwhile()?) {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }

    fn add(&mut self, folder: PathBuf) -> anyhow::Result<()> {
        let mask = WatchMask::CREATE | WatchMask::MOVED_FROM | WatchMask::MOVED_TO | WatchMask::MODIFY;
        let watched = self.inotify.watches().add(&folder, mask);
        let descriptor = watched.with_context(|| format!("cannot watch {}", folder.display()))?;
        // Folders made before the watch stood are found by looking.
        let inside = std::fs::read_dir(&folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>());
        self.folders.insert(descriptor, folder);
        for path in inside.unwrap_or_default().into_iter().filter(|path| path.is_dir()) {
            self.add(path)?;
        }
        Ok(())
    }

    /// How many events came, and what they mean.
    fn events(&mut self) -> anyhow::Result<(usize, Vec<Seen>)> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let events: Vec<_> = match self.inotify.read_events(&mut buffer) {
            Ok(events) => events
                .filter_map(|event| Some((event.wd.clone(), event.mask, event.cookie, event.name?.to_str()?.to_owned())))
                .collect(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Vec::new(),
            Err(error) => return Err(error).context("cannot read what happens in the dataset"),
        };
        self.buffer = buffer;
        let count = events.len();
        let mut seen = Vec::new();
        for (descriptor, mask, cookie, name) in events {
            let Some(folder) = self.folders.get(&descriptor).cloned() else { continue };
            if mask.contains(EventMask::ISDIR) {
                // It may be gone again: an unwatched folder only costs a moment.
                let _ = self.add(folder.join(name));
            } else {
                seen.extend(self.meaning(&folder, mask, cookie, &name));
            }
        }
        Ok((count, seen))
    }

    fn meaning(&mut self, folder: &Path, mask: EventMask, cookie: u32, name: &str) -> Option<Seen> {
        if let Some(pid) = writer_of(name) {
            if mask.contains(EventMask::CREATE) {
                self.last_writer.insert(folder.to_owned(), pid);
            } else if mask.contains(EventMask::MOVED_FROM) {
                self.moving.insert(cookie, pid);
            }
            return mask.contains(EventMask::MODIFY).then(|| Seen::Grew { pid, path: folder.join(name) });
        }
        let vehicle = folder.file_name()?.to_str()?.to_owned();
        if mask.contains(EventMask::MOVED_TO) {
            let clip = ClipFile { vehicle, clip: name.strip_suffix(".parquet")?.to_owned() };
            return Some(Seen::Named { pid: self.moving.remove(&cookie)?, clip });
        }
        if mask.contains(EventMask::CREATE) {
            let clip = ClipFile { vehicle, clip: name.strip_suffix("-r0.json")?.to_owned() };
            return Some(Seen::Entry { pid: *self.last_writer.get(folder)?, clip });
        }
        None
    }
}

/// The process that writes a temporary file; none for other names.
pub(crate) fn writer_of(name: &str) -> Option<u32> {
    let (_, unique) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    unique.split_once('-')?.0.parse().ok()
}

/// Temporary files of shards below a dataset, by who writes them, with the clips that they are for.
pub(crate) fn open_clips(dataset: &Path) -> BTreeMap<u32, BTreeSet<ClipFile>> {
    let mut found: BTreeMap<u32, BTreeSet<ClipFile>> = BTreeMap::new();
    for path in temporary_files(dataset) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let vehicle = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        let clip = name.trim_start_matches('.').split('.').next().unwrap_or_default();
        if let Some(pid) = writer_of(name)
            && vehicle.starts_with("vehicle=")
            && !path.starts_with(dataset.join("manifest"))
        {
            found.entry(pid).or_default().insert(ClipFile { vehicle: vehicle.to_owned(), clip: clip.to_owned() });
        }
    }
    found
}

/// Every temporary file below a folder, which others may change meanwhile.
pub(crate) fn temporary_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(temporary_files(&path));
        } else if entry.file_name().to_str().is_some_and(|name| name.ends_with(".tmp")) {
            found.push(path);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_grows_is_named_and_gets_its_entry_is_seen_with_who_did_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(folder.path()).unwrap();
        let (shards, manifest) = (folder.path().join("lidar/vehicle=v"), folder.path().join("manifest/vehicle=v"));
        for folder in [&shards, &manifest] {
            std::fs::create_dir_all(folder).unwrap();
            watch.forget().unwrap();
        }
        std::fs::write(shards.join(".7.41-0.tmp"), b"half").unwrap();
        let open = open_clips(folder.path());
        assert_eq!(open[&41].iter().map(|clip| clip.clip.as_str()).collect::<Vec<_>>(), ["7"]);
        std::fs::rename(shards.join(".7.41-0.tmp"), shards.join("7.parquet")).unwrap();
        std::fs::write(manifest.join(".7-r0.42-1.tmp"), b"{}").unwrap();
        std::fs::hard_link(manifest.join(".7-r0.42-1.tmp"), manifest.join("7-r0.json")).unwrap();
        let mut next = |wanted: fn(&Seen) -> bool| watch.await_one(Duration::from_secs(5), wanted, || Ok(true)).unwrap();
        // All of it is in the queue, and one look takes it: the entry is what is asked for.
        let entry = next(|seen| matches!(seen, Seen::Entry { .. })).unwrap();
        assert_eq!(entry.pid(), 42);
        std::fs::write(shards.join(".8.43-0.tmp"), b"half").unwrap();
        assert_eq!(next(|seen| matches!(seen, Seen::Grew { .. })).unwrap().pid(), 43);
        std::fs::rename(shards.join(".8.43-0.tmp"), shards.join("8.parquet")).unwrap();
        assert_eq!(next(|seen| matches!(seen, Seen::Named { .. })).unwrap().pid(), 43);
    }

    #[test]
    fn only_temporary_names_tell_of_a_writer() {
        assert_eq!(writer_of(".7-r0.12-3.tmp"), Some(12));
        for other in ["7.parquet", ".seal.lock", ".7.tmp", "7.12-3.tmp"] {
            assert_eq!(writer_of(other), None, "{other}");
        }
    }
}
