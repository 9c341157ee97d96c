//! Recordings as files (`.rrd`), for the review page and for any Rerun viewer.
//!
//! Rerun promises to read a file of this version and of the one before: a recording is a view of the shards that can be made again, not a
//! place to keep labels.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use std::task::{Context, Poll, Waker};

use boxwright_model::scene::SceneFrame;
use boxwright_model::taxonomy::Taxonomy;
use rerun::Timeline;
use rerun::external::arrow::array::Int64Array;
use rerun::external::re_build_info::CrateVersion;
use rerun::external::re_log_encoding::{EncodeError, Encoder, EncodingOptions, RawRrdManifest, read_rrd_footer};
use rerun::external::re_log_types::LogMsg;

use crate::error::ReviewError;
use crate::scene::FRAME_TIMELINE;
use crate::stream::SceneStream;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Frames in the file.
    pub frames: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// Writes frames as one recording called `name`. Memory holds one frame at a time, and a few hundred bytes for each frame's entry in the
/// index at the end of the file.
///
/// The file appears under `path` when it is whole: it is written beside it, synced and renamed.
///
/// # Errors
/// When the file cannot be written, a frame cannot be drawn, or the iterator gives an error. Nothing is left behind then.
pub fn write_rrd<E>(
    path: &Path,
    name: &str,
    taxonomy: Arc<Taxonomy>,
    frames: impl IntoIterator<Item = Result<SceneFrame, E>>,
) -> Result<Written, ReviewError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut stream = SceneStream::recording(name, taxonomy);
    let mut file = RrdFile::create(path)?;
    let mut count = 0;
    for frame in frames {
        let frame = frame.map_err(|error| ReviewError::Frames(error.into()))?;
        file.append(&stream.frame(&frame)?)?;
        count += 1;
    }
    // Without a frame the file still opens, and shows an empty recording of that name.
    file.append(&stream.before()?)?;
    let bytes = file.finish()?;
    Ok(Written { frames: count, bytes })
}

/// Number of the last frame of a recording, from the index at its end; `None` where the file has none or is no recording.
pub(crate) fn last_frame(path: &Path) -> Option<i64> {
    let file = File::open(path).ok()?;
    // Reading a file never waits, so the future is ready at once, and no runtime is needed.
    let footer = match std::pin::pin!(read_rrd_footer(&file)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(Some(footer))) => footer,
        _ => return None,
    };
    let index = footer.manifests.values().find(|index| index.store_id.is_recording())?;
    let column = RawRrdManifest::field_index_end(&Timeline::new_sequence(FRAME_TIMELINE), None);
    let ends = index.data.column_by_name(column.name())?.as_any().downcast_ref::<Int64Array>()?;
    ends.iter().flatten().max()
}

/// A file that is being written under a temporary name; dropped unfinished, it is removed.
pub(crate) struct RrdFile {
    path: PathBuf,
    temporary: PathBuf,
    encoder: Option<Encoder<BufWriter<File>>>,
}

impl RrdFile {
    pub(crate) fn create(path: &Path) -> Result<Self, ReviewError> {
        let mut temporary = path.as_os_str().to_owned();
        // The process id keeps two writers of the same file apart.
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let failed = |source| ReviewError::File { action: "create", path: temporary.clone(), source };
        let file = File::create(&temporary).map_err(failed)?;
        let mut this = Self { path: path.to_owned(), temporary, encoder: None };
        let encoder = Encoder::new_eager(CrateVersion::LOCAL, EncodingOptions::PROTOBUF_COMPRESSED, BufWriter::new(file));
        this.encoder = Some(encoder.map_err(|error| this.failed(error))?);
        Ok(this)
    }

    pub(crate) fn append(&mut self, messages: &[LogMsg]) -> Result<(), ReviewError> {
        for message in messages {
            let appended = match &mut self.encoder {
                Some(encoder) => encoder.append(message),
                None => Err(EncodeError::AlreadyFinished),
            };
            appended.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Completes the file and gives it its name; returns its size in bytes.
    pub(crate) fn finish(mut self) -> Result<u64, ReviewError> {
        let mut encoder = self.encoder.take().ok_or_else(|| self.failed(EncodeError::AlreadyFinished))?;
        let written = encoder.finish().and_then(|()| encoder.into_inner());
        let mut writer = written.map_err(|error| self.failed(error))?;
        let synced = writer.flush().and_then(|()| writer.get_ref().sync_all()).and_then(|()| writer.get_ref().metadata());
        let bytes = synced.map_err(|error| self.failed(error.into()))?.len();
        std::fs::rename(&self.temporary, &self.path).map_err(|error| self.failed(error.into()))?;
        Ok(bytes)
    }

    fn failed(&self, error: EncodeError) -> ReviewError {
        match error {
            EncodeError::Write(source) => ReviewError::File { action: "write", path: self.path.clone(), source },
            other => ReviewError::Draw { what: self.path.display().to_string(), why: other.to_string() },
        }
    }
}

impl Drop for RrdFile {
    fn drop(&mut self) {
        // The encoder goes first: it writes an end mark when dropped. After `finish` the temporary name is gone and this does nothing.
        self.encoder = None;
        let _ = std::fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests;
