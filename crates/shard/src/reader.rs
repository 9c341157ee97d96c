//! Reads the rows of a sealed clip back into the words of the model.
//!
//! Sweeps, images and late messages stream: a few rows are decoded at a time, from the row group they stand in. Files are taken as what
//! Parquet says they are, whoever wrote them; a column that is missing or of another type is an error that names it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow::datatypes::Schema;
use boxwright_model::{Box3, Sample, SourcePosition, StampedPose, Taxonomy, Track};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::reader::Length;

use crate::dataset::Dataset;
use crate::decode::Batch;
use crate::error::ShardError;
use crate::manifest::{FileEntry, ManifestEntry};
use crate::schema::{SCHEMA_VERSION, Table};
use crate::storage::blocks::Blocks;
use crate::storage::store::{ShardFile, Store};
use crate::tables::calibration::CalibrationRow;
use crate::tables::camera::CameraRow;
use crate::tables::finding::StoredFinding;
use crate::tables::late::LateRow;
use crate::tables::lidar::LidarRow;
use crate::tables::{box3, calibration, camera, ego_pose, finding, late, lidar, sample, track};
use crate::thrift;

/// What the tables of messages say about where a message stood.
const SOURCE_COLUMNS: [&str; 3] = ["source_topic", "source_partition", "source_offset"];
/// Rows decoded at a time where each may be megabytes.
const FRAME_BATCH_ROWS: usize = 1;
/// Rows decoded at a time elsewhere.
const LABEL_BATCH_ROWS: usize = 1024;

/// Reads one clip.
#[derive(Clone, Debug)]
pub struct ClipReader {
    store: Store,
    entry: ManifestEntry,
}

impl ClipReader {
    /// Opens a clip: checks that its files are there and as long as the entry says.
    ///
    /// # Errors
    /// When a file is missing, cut or grown.
    pub fn open(dataset: &Dataset, entry: &ManifestEntry) -> Result<Self, ShardError> {
        let reader = Self { store: dataset.store().clone(), entry: entry.clone() };
        entry.files.iter().try_for_each(|file| reader.open_file(file).map(|_| ()))?;
        Ok(reader)
    }

    /// The clip's entry.
    #[must_use]
    pub fn entry(&self) -> &ManifestEntry {
        &self.entry
    }

    /// Reads every file whole and compares its hash with the entry's.
    ///
    /// # Errors
    /// When a file cannot be read or was changed.
    pub fn verify(&self) -> Result<(), ShardError> {
        for file in &self.entry.files {
            let got = self.store.digest(&file.path)?.map(|(sha256, _)| sha256).unwrap_or_default();
            if got != file.sha256 {
                return Err(ShardError::foreign(
                    &self.store.path(&file.path),
                    format!("expected sha256 {}, got {got}", file.sha256),
                ));
            }
        }
        Ok(())
    }

    /// The sweeps in the order they were written, one in memory at a time.
    ///
    /// # Errors
    /// When the file is not a `lidar` table; each row may fail by itself too, after which there are no more.
    pub fn lidar(&self) -> Result<Rows<LidarRow>, ShardError> {
        self.rows(Table::Lidar, FRAME_BATCH_ROWS, lidar::rows)
    }

    /// The images in the order they were written, one in memory at a time.
    ///
    /// # Errors
    /// As [`Self::lidar`].
    pub fn camera(&self) -> Result<Rows<CameraRow>, ShardError> {
        self.rows(Table::Camera, FRAME_BATCH_ROWS, camera::rows)
    }

    /// The late messages in the order they were written, one in memory at a time.
    ///
    /// # Errors
    /// As [`Self::lidar`].
    pub fn late(&self) -> Result<Rows<LateRow>, ShardError> {
        self.rows(Table::Late, FRAME_BATCH_ROWS, late::rows)
    }

    /// Where the vehicle was.
    ///
    /// # Errors
    /// When the file is not an `ego_pose` table.
    pub fn ego_poses(&self) -> Result<Vec<StampedPose>, ShardError> {
        self.rows(Table::EgoPose, LABEL_BATCH_ROWS, ego_pose::rows)?.collect()
    }

    /// What was known of the sensors.
    ///
    /// # Errors
    /// When the file is not a `calibration` table.
    pub fn calibrations(&self) -> Result<Vec<CalibrationRow>, ShardError> {
        self.rows(Table::Calibration, LABEL_BATCH_ROWS, calibration::rows)?.collect()
    }

    /// The samples.
    ///
    /// # Errors
    /// When the file is not a `sample` table.
    pub fn samples(&self) -> Result<Vec<Sample>, ShardError> {
        self.rows(Table::Sample, LABEL_BATCH_ROWS, sample::rows)?.collect()
    }

    /// The boxes.
    ///
    /// # Errors
    /// When the file is not a `box3` table, or a class is not in the taxonomy.
    pub fn boxes(&self, taxonomy: &Taxonomy) -> Result<Vec<Box3>, ShardError> {
        let taxonomy = taxonomy.clone();
        self.rows(Table::Box3, LABEL_BATCH_ROWS, move |batch: &Batch<'_>| box3::rows(batch, &taxonomy))?.collect()
    }

    /// The tracks.
    ///
    /// # Errors
    /// When the file is not a `track` table, or a class is not in the taxonomy.
    pub fn tracks(&self, taxonomy: &Taxonomy) -> Result<Vec<Track>, ShardError> {
        let taxonomy = taxonomy.clone();
        self.rows(Table::Track, LABEL_BATCH_ROWS, move |batch: &Batch<'_>| track::rows(batch, &taxonomy))?.collect()
    }

    /// The findings.
    ///
    /// # Errors
    /// When the file is not a `finding` table.
    pub fn findings(&self) -> Result<Vec<StoredFinding>, ShardError> {
        self.rows(Table::Finding, LABEL_BATCH_ROWS, finding::rows)?.collect()
    }

    /// Where the messages stood that the rows of a table came from, in the order of the rows. Reads no payload.
    ///
    /// # Errors
    /// When the file is not such a table.
    pub fn source_positions(&self, table: Table) -> Result<Vec<SourcePosition>, ShardError> {
        let positions = |batch: &Batch<'_>| {
            let sources = batch.sources()?;
            Ok((0..batch.rows()).map(|row| sources.get(row)).collect())
        };
        self.some_columns(table, LABEL_BATCH_ROWS, &SOURCE_COLUMNS, positions)?.collect()
    }

    fn rows<T>(
        &self,
        table: Table,
        batch_rows: usize,
        decode: impl Fn(&Batch<'_>) -> Result<Vec<T>, ShardError> + Send + 'static,
    ) -> Result<Rows<T>, ShardError> {
        let schema = table.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        self.some_columns(table, batch_rows, &columns, decode)
    }

    fn some_columns<T>(
        &self,
        table: Table,
        batch_rows: usize,
        columns: &[&str],
        decode: impl Fn(&Batch<'_>) -> Result<Vec<T>, ShardError> + Send + 'static,
    ) -> Result<Rows<T>, ShardError> {
        let decode = Box::new(decode);
        let Some(entry) = self.entry.file(table) else {
            return Ok(Rows {
                path: PathBuf::new(),
                batches: None,
                blocks: None,
                missing: 0,
                decode,
                ready: Vec::new().into_iter(),
            });
        };
        let path = self.store.path(&entry.path);
        let file = self.open_file(entry)?;
        let blocks = file.blocks();
        let batches = open_table(file, &path, table, entry.rows, batch_rows, columns);
        let batches = batches.map_err(|error| store_failure(blocks.as_ref(), &path).unwrap_or(error))?;
        // Many clips may be open at once and wait for their turn; a label table is read at once.
        if let Some(blocks) = blocks.as_ref().filter(|_| batch_rows == FRAME_BATCH_ROWS) {
            blocks.forget();
        }
        Ok(Rows { path, batches: Some(batches), blocks, missing: entry.rows, decode, ready: Vec::new().into_iter() })
    }

    fn open_file(&self, entry: &FileEntry) -> Result<ShardFile, ShardError> {
        let file = self.store.open(&entry.path)?;
        match file.len() {
            length if length == entry.bytes => Ok(file),
            length => {
                let message = format!("expected {} bytes as in the manifest, got {length}", entry.bytes);
                Err(ShardError::foreign(&self.store.path(&entry.path), message))
            }
        }
    }
}

/// Checks a file against its table and starts to read it.
fn open_table(
    file: ShardFile,
    path: &Path,
    table: Table,
    rows: u64,
    batch_rows: usize,
    columns: &[&str],
) -> Result<ParquetRecordBatchReader, ShardError> {
    // Hints of other arrow writers (large lists, views) are left aside: what Parquet itself says is the same for everybody.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    thrift::check_footer(&file, path)?;
    let looked_over = file.try_clone().map_err(ShardError::io("open", path))?;
    let builder = guarded(path, || ParquetRecordBatchReaderBuilder::try_new_with_options(file, options))?;
    let builder = builder.map_err(ShardError::parquet("read the footer of", path))?;
    check_footer(&builder, path, rows)?;
    check_columns(builder.schema(), path, table)?;
    // The headers of pages lie between the pages: in an object store it would fetch all frames of a clip to look at them.
    if looked_over.blocks().is_none() || batch_rows != FRAME_BATCH_ROWS {
        thrift::check_pages(&looked_over, builder.metadata(), path)?;
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = guarded(path, || builder.with_projection(mask).with_batch_size(batch_rows).build())?;
    reader.map_err(ShardError::parquet("read", path))
}

/// Runs a call of the Parquet library, which asserts on some kinds of damage instead of returning an error. A damaged file must cost its
/// clip, not the program. Nothing that the call has touched is used again after a panic.
fn guarded<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T, ShardError> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|_| ShardError::foreign(path, "the file is damaged: its pages contradict each other"))
}

fn check_footer(builder: &ParquetRecordBatchReaderBuilder<ShardFile>, path: &Path, rows: u64) -> Result<(), ShardError> {
    let metadata = builder.metadata().file_metadata();
    if u64::try_from(metadata.num_rows()).ok() != Some(rows) {
        return Err(ShardError::foreign(path, format!("expected {rows} rows as in the manifest, got {}", metadata.num_rows())));
    }
    let version = metadata.key_value_metadata().and_then(|pairs| pairs.iter().find(|pair| pair.key == "boxwright.schema_version"));
    match version.and_then(|pair| pair.value.as_ref()?.parse().ok()) {
        Some(got) if got > SCHEMA_VERSION => Err(ShardError::SchemaVersion { path: path.to_owned(), newest: SCHEMA_VERSION, got }),
        _ => Ok(()),
    }
}

/// Every column of the table must be there with its type. More columns are allowed; names and nullability inside lists do not matter.
fn check_columns(found: &Schema, path: &Path, table: Table) -> Result<(), ShardError> {
    for expected in table.schema().fields() {
        let name = expected.name();
        let Ok(field) = found.field_with_name(name) else {
            return Err(ShardError::foreign(path, format!("expected column {name} of type {}, got none", expected.data_type())));
        };
        if !expected.data_type().equals_datatype(field.data_type()) {
            let message = format!("column {name}: expected type {}, got {}", expected.data_type(), field.data_type());
            return Err(ShardError::foreign(path, message));
        }
    }
    Ok(())
}

/// The store's own error, if that is why the Parquet library failed: a store that is away is no damaged file.
fn store_failure(blocks: Option<&Blocks>, path: &Path) -> Option<ShardError> {
    let source = Box::new(blocks?.take_failure()?);
    Some(ShardError::Store { action: "read", path: path.to_owned(), source })
}

/// Turns a batch into rows.
type Decode<T> = Box<dyn Fn(&Batch<'_>) -> Result<Vec<T>, ShardError> + Send>;

/// Rows of a table, decoded as they are asked for. After an error there are no more.
pub struct Rows<T> {
    path: PathBuf,
    batches: Option<ParquetRecordBatchReader>,
    blocks: Option<Blocks>,
    /// Rows that are still to come. The footer has the right number of them or the file is not opened; where it names other row groups
    /// than were written, fewer come, and without this nothing would tell.
    missing: u64,
    decode: Decode<T>,
    ready: std::vec::IntoIter<T>,
}

impl<T> Rows<T> {
    fn other_rows(&self, got: &str) -> ShardError {
        ShardError::foreign(&self.path, format!("the file is damaged: expected as many rows as its footer says, got {got}"))
    }

    /// Decodes the next batch; false at the end.
    fn refill(&mut self) -> Result<bool, ShardError> {
        let Some(batches) = self.batches.as_mut() else { return Ok(false) };
        let Some(batch) = guarded(&self.path, || batches.next())? else {
            return if self.missing == 0 { Ok(false) } else { Err(self.other_rows(&format!("{} fewer", self.missing))) };
        };
        let batch = batch.map_err(|error| {
            let damaged = || ShardError::foreign(&self.path, error.to_string());
            store_failure(self.blocks.as_ref(), &self.path).unwrap_or_else(damaged)
        })?;
        let rows = batch.num_rows() as u64;
        self.missing = self.missing.checked_sub(rows).ok_or_else(|| self.other_rows("more"))?;
        self.ready = (self.decode)(&Batch { path: &self.path, batch: &batch })?.into_iter();
        Ok(true)
    }
}

impl<T> Iterator for Rows<T> {
    type Item = Result<T, ShardError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.next() {
                return Some(Ok(row));
            }
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.batches = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
