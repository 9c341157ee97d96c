//! The folders of a KITTI raw drive: which drive is meant, which frames it has, and when they were taken.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use boxwright_model::time::is_plausible_stamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::super::notes::Notes;
use crate::error::RecordingError;

/// How deep below the given folder a drive is looked for: parent / date / drive.
const MAX_DEPTH: usize = 3;
/// How many folders are looked into: a home folder given by mistake must not be walked for minutes.
const MAX_FOLDERS: usize = 20_000;
/// Candidates named in an error.
const MAX_CANDIDATES: usize = 12;
/// Largest `timestamps.txt` that is read: an hour at 100 Hz has 11 MB.
const MAX_STAMP_BYTES: u64 = 256 << 20;

/// Folders of a drive that are read.
pub(super) const FOLDERS: [&str; 6] = ["velodyne_points", "image_00", "image_01", "image_02", "image_03", "oxts"];

/// One frame of one sensor: its stamp and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FrameFile {
    pub(super) stamp_ns: i64,
    pub(super) path: PathBuf,
}

/// Finds the one drive that `path` means: the drive folder, its date folder, or a parent.
///
/// # Errors
/// When there is none, or more than one.
pub(super) fn find_drive(path: &Path) -> Result<PathBuf, RecordingError> {
    let path = fs::canonicalize(path).map_err(|source| RecordingError::Io { path: path.to_owned(), source })?;
    let invalid = |message: String| RecordingError::Invalid { path: path.clone(), message };
    if !path.is_dir() {
        return Err(invalid(
            "expected a folder with a KITTI raw drive, got a file\nhint: for an MCAP file it is `mcap`, not `kitti-raw`".to_owned(),
        ));
    }
    if is_drive(&path) {
        return Ok(path);
    }
    let mut drives = drives_below(&path)?;
    if drives.len() > 1 {
        let names = drives.iter().take(MAX_CANDIDATES).map(|drive| format!("\n  {}", drive.display())).collect::<String>();
        return Err(invalid(format!("expected one drive, got {}:{names}\nhint: name one of them", drives.len())));
    }
    drives.pop().ok_or_else(|| {
        invalid(format!(
            "expected a KITTI raw drive (a folder *_sync or *_extract with velodyne_points, image_0x or oxts), got none within {MAX_DEPTH} levels\nhint: name the drive folder or the folder of its date"
        ))
    })
}

fn is_drive(path: &Path) -> bool {
    FOLDERS.iter().any(|folder| path.join(folder).is_dir())
}

fn drives_below(root: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let mut drives = Vec::new();
    let mut level = vec![root.to_owned()];
    let mut visited = 0;
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for folder in level {
            visited += 1;
            if visited > MAX_FOLDERS {
                let message = format!("expected a drive among the first {MAX_FOLDERS} folders\nhint: name the drive folder itself");
                return Err(RecordingError::Invalid { path: root.to_owned(), message });
            }
            // A folder that may not be read cannot be the one that is meant.
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            let mut children: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
            children.sort();
            for child in children {
                let name = child.file_name().unwrap_or_default().to_string_lossy().into_owned();
                // The name alone says little: a dataset beside the drive has folders named after its vehicle.
                if (name.ends_with("_sync") || name.ends_with("_extract")) && is_drive(&child) {
                    drives.push(child);
                } else if !name.starts_with('.') {
                    next.push(child);
                }
            }
        }
        level = next;
    }
    Ok(drives)
}

/// The frames of one sensor folder, in order of their index, or none where the drive has no such folder.
///
/// Line `i` of `timestamps.txt` (from 0) belongs to the file with the number `i`, whichever numbers exist: public drives have holes,
/// and excerpts begin in the middle.
///
/// # Errors
/// When there are frames and no stamps.
pub(super) fn frames_of(
    drive: &Path,
    folder: &str,
    extensions: &[&str],
    notes: &mut Notes,
) -> Result<Vec<FrameFile>, RecordingError> {
    let sensor = drive.join(folder);
    if !sensor.is_dir() {
        return Ok(Vec::new());
    }
    let files = numbered_files(&sensor.join("data"), folder, extensions, notes)?;
    let stamps = read_stamps(&sensor.join("timestamps.txt"))?;
    if files.is_empty() {
        notes.note(format!("{folder}: expected frames in data/ ({}), got none", extensions.join(", ")));
        return Ok(Vec::new());
    }
    let in_order = files.len() == stamps.len() && files.keys().next_back().is_some_and(|last| *last >= stamps.len() as u64);
    if in_order {
        notes.note(format!(
            "{folder}: timestamps.txt has as many lines as there are files ({}), whose numbers begin later: matched in order",
            stamps.len()
        ));
    } else {
        note_holes(&files, stamps.len() as u64, folder, notes);
    }
    let mut frames = Vec::with_capacity(files.len());
    let (mut without_line, mut bad_line) = (0_u64, 0_u64);
    for (rank, (index, path)) in files.into_iter().enumerate() {
        let line = if in_order { Some(rank) } else { usize::try_from(index).ok() };
        match line.and_then(|line| stamps.get(line)) {
            Some(Some(stamp_ns)) => frames.push(FrameFile { stamp_ns: *stamp_ns, path }),
            Some(None) => bad_line += 1,
            None => without_line += 1,
        }
    }
    if without_line > 0 {
        let lines = stamps.len();
        notes.lost(format!("{folder}: {without_line} files have no line in timestamps.txt ({lines} lines): passed over"));
    }
    if bad_line > 0 {
        notes.lost(format!("{folder}: {bad_line} files have a line in timestamps.txt that is no time: passed over"));
    }
    Ok(frames)
}

fn note_holes(files: &BTreeMap<u64, PathBuf>, lines: u64, folder: &str, notes: &mut Notes) {
    let (Some(first), Some(last)) = (files.keys().next(), files.keys().next_back()) else { return };
    let with_line = files.range(..lines).count() as u64;
    let missing = lines.saturating_sub(with_line);
    if missing > 0 {
        let within = (last - first).saturating_add(1).saturating_sub(files.len() as u64);
        notes.note(format!(
            "{folder}: {missing} of {lines} stamps have no file (files {first} to {last}, with {within} missing between them)"
        ));
    }
}

/// The files of a folder whose names are numbers, by number.
fn numbered_files(
    data: &Path,
    folder: &str,
    extensions: &[&str],
    notes: &mut Notes,
) -> Result<BTreeMap<u64, PathBuf>, RecordingError> {
    let mut files = BTreeMap::new();
    if !data.is_dir() {
        return Ok(files);
    }
    let io = |source| RecordingError::Io { path: data.to_owned(), source };
    let mut paths =
        fs::read_dir(data).map_err(io)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(io)?;
    paths.sort();
    let mut others = 0;
    for path in paths {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let index = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        match index {
            Some(index) if extensions.contains(&extension.as_str()) && !files.contains_key(&index) => {
                files.insert(index, path);
            }
            _ => others += 1,
        }
    }
    if others > 0 {
        notes.note(format!("{folder}: {others} files in data/ are no frames (<number>.{{{}}}): not read", extensions.join(",")));
    }
    Ok(files)
}

/// The lines of a `timestamps.txt` as nanoseconds, taken as UTC; `None` for a line that is no time.
fn read_stamps(path: &Path) -> Result<Vec<Option<i64>>, RecordingError> {
    let invalid = |message: String| RecordingError::Invalid { path: path.to_owned(), message };
    if !path.is_file() {
        return Err(invalid(
            "expected a file with one time per frame, got none\nhint: frames without stamps cannot be matched; copy the drive with its timestamps.txt files"
                .to_owned(),
        ));
    }
    let io = |source| RecordingError::Io { path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(io)?.len();
    if size > MAX_STAMP_BYTES {
        return Err(invalid(format!("expected at most {MAX_STAMP_BYTES} bytes, got {size}")));
    }
    let bytes = fs::read(path).map_err(io)?;
    // Line breaks at the end make no lines of their own; an empty line in the middle is a lost stamp and keeps its place.
    Ok(String::from_utf8_lossy(&bytes).trim_end().lines().map(parse_stamp).collect())
}

/// `2011-09-26 13:04:32.345808896` as nanoseconds since the epoch.
pub(super) fn parse_stamp(line: &str) -> Option<i64> {
    let civil: DateTime = line.trim().parse().ok()?;
    let stamp = TimeZone::UTC.to_timestamp(civil).ok()?;
    i64::try_from(stamp.as_nanosecond()).ok().filter(|stamp_ns| is_plausible_stamp(*stamp_ns))
}
