//! One growing Parquet file of one table.
//!
//! Rows wait in `pending` until they make a batch, batches in the encoder until they make a row group, and a full row group goes to the
//! file. Frames do not wait: each is a batch of its own. So a table holds at most one row group and one batch, which [`Limits`] bounds in
//! rows and in bytes.

use std::io::{self, Write};
use std::path::PathBuf;

use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use crate::config::WriterConfig;
use crate::error::ShardError;
use crate::schema::{ELEMENT, SCHEMA_VERSION, Table, UNITS_NOTE};
use crate::storage;
use crate::tables::{TableRow, check_row, record_batch};
use crate::writer::ClipKey;

/// What every file says of its writer. The form `<name> version <version>` is what parquet-java can parse; without it Spark distrusts
/// the statistics of the file.
pub const CREATED_BY: &str = concat!("boxwright version ", env!("CARGO_PKG_VERSION"));

/// A batch of label rows is made at this many rows: enough to make the encoder efficient, little enough to be no memory.
const LABEL_BATCH_ROWS: usize = 1024;
/// A row group of labels ends before its texts (evidence, messages) grow beyond 32 MiB: 64k rows of ordinary text are half of it.
const LABEL_GROUP_BYTES: usize = 32 << 20;

/// Bounds of what a table holds in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Rows that make a batch.
    batch_rows: usize,
    /// Most rows in a row group.
    group_rows: usize,
    /// Most payload bytes in a row group, unless one row has more.
    pub(crate) group_bytes: usize,
}

impl Limits {
    pub(crate) fn of(table: Table, config: &WriterConfig) -> Self {
        let frame_bytes = config.frame_group_mib << 20;
        match table {
            Table::Lidar | Table::Camera => Self { batch_rows: 1, group_rows: config.frame_group_rows, group_bytes: frame_bytes },
            Table::Late => Self { batch_rows: 1, group_rows: config.label_group_rows, group_bytes: frame_bytes },
            _ => Self {
                batch_rows: LABEL_BATCH_ROWS.min(config.label_group_rows),
                group_rows: config.label_group_rows,
                group_bytes: LABEL_GROUP_BYTES,
            },
        }
    }
}

/// Counts and hashes what passes on its way to `inner`.
#[derive(Debug)]
pub(crate) struct HashingSink<W> {
    pub(crate) inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for HashingSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A closed file and what the manifest says about it.
#[derive(Debug)]
pub(crate) struct Finished<W> {
    pub(crate) table: Table,
    pub(crate) file: W,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
}

/// The file of a table that has at least one row.
pub(crate) struct TableFile<R: TableRow, W: Write + Send> {
    path: PathBuf,
    writer: ArrowWriter<HashingSink<W>>,
    limits: Limits,
    pending: Vec<R>,
    pending_bytes: usize,
    group_rows: usize,
    group_bytes: usize,
    rows: u64,
}

impl<R: TableRow, W: Write + Send> TableFile<R, W> {
    /// Starts a file; `path` is for messages only.
    pub(crate) fn new(sink: W, path: PathBuf, key: &ClipKey, config: &WriterConfig) -> Result<Self, ShardError> {
        let sink = HashingSink { inner: sink, hash: Sha256::new(), bytes: 0 };
        let properties = properties(R::TABLE, key, config.zstd()?);
        // The Arrow schema is left out of the footer: Parquet's own types say everything, and all readers then see the same.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer =
            ArrowWriter::try_new_with_options(sink, R::TABLE.schema(), options).map_err(ShardError::parquet("start", &path))?;
        let limits = Limits::of(R::TABLE, config);
        Ok(Self { path, writer, limits, pending: Vec::new(), pending_bytes: 0, group_rows: 0, group_bytes: 0, rows: 0 })
    }

    /// Takes a row. The row group before it is closed first where the row would make it too large.
    pub(crate) fn push(&mut self, row: &R, key: &ClipKey) -> Result<(), ShardError> {
        check_row(row)?;
        let bytes = row.payload_bytes();
        let used = self.group_bytes + self.pending_bytes;
        if used > 0 && used + bytes > self.limits.group_bytes {
            self.end_group(key)?;
        }
        self.pending.push(row.clone());
        self.pending_bytes += bytes;
        self.rows += 1;
        if self.pending.len() >= self.limits.batch_rows {
            self.encode(key)?;
        }
        if self.group_rows + self.pending.len() >= self.limits.group_rows {
            self.end_group(key)?;
        }
        Ok(())
    }

    /// Hands the pending rows to the encoder.
    fn encode(&mut self, key: &ClipKey) -> Result<(), ShardError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let batch = record_batch(&self.pending, key)?;
        self.writer.write(&batch).map_err(ShardError::parquet("write", &self.path))?;
        self.group_rows += self.pending.len();
        self.group_bytes += self.pending_bytes;
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }

    fn end_group(&mut self, key: &ClipKey) -> Result<(), ShardError> {
        self.encode(key)?;
        self.writer.flush().map_err(ShardError::parquet("write", &self.path))?;
        (self.group_rows, self.group_bytes) = (0, 0);
        Ok(())
    }

    /// Bytes that wait in memory: rows not yet encoded and the row group not yet in the file.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.pending_bytes + self.writer.memory_size()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the file: last row group, footer.
    pub(crate) fn finish(mut self, key: &ClipKey, config_sha256: &str) -> Result<Finished<W>, ShardError> {
        self.encode(key)?;
        self.writer.append_key_value_metadata(KeyValue::new("boxwright.config_sha256".to_owned(), config_sha256.to_owned()));
        let mut sink = self.writer.into_inner().map_err(ShardError::parquet("finish", &self.path))?;
        sink.flush().map_err(ShardError::io("finish", &self.path))?;
        let sha256 = storage::hex(&sink.hash.finalize());
        Ok(Finished { table: R::TABLE, file: sink.inner, sha256, bytes: sink.bytes, rows: self.rows })
    }
}

/// How the columns of a table are encoded.
fn properties(table: Table, key: &ClipKey, zstd: ZstdLevel) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(zstd))
        // Lists are then called as the Parquet specification wants it, whatever arrow calls them.
        .set_coerce_types(true)
        // Row groups are ended by bytes and rows here, not by the library.
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(key_values(table, key)));
    for field in table.schema().fields() {
        builder = match field.data_type() {
            DataType::List(element) => list_properties(builder, element_path(field.name()), element.data_type()),
            DataType::Binary => blob_properties(builder, table, ColumnPath::from(field.name().as_str())),
            DataType::Float64 => builder.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), false),
            _ => builder,
        };
    }
    builder.build()
}

/// A dictionary of blobs, or the least of them, helps nobody. Images are compressed already; late payloads may be sweeps and are not.
fn blob_properties(builder: WriterPropertiesBuilder, table: Table, column: ColumnPath) -> WriterPropertiesBuilder {
    let builder = builder
        .set_column_dictionary_enabled(column.clone(), false)
        .set_column_statistics_enabled(column.clone(), EnabledStatistics::None);
    if table == Table::Camera { builder.set_column_compression(column, Compression::UNCOMPRESSED) } else { builder }
}

/// Path of the leaf of a list column. It has three parts: one string with dots in it would be a path of one part, which names no column
/// and is ignored without a word.
fn element_path(column: &str) -> ColumnPath {
    ColumnPath::new(vec![column.to_owned(), "list".to_owned(), ELEMENT.to_owned()])
}

fn list_properties(builder: WriterPropertiesBuilder, path: ColumnPath, element: &DataType) -> WriterPropertiesBuilder {
    let plain = |builder: WriterPropertiesBuilder| {
        builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
    };
    match element {
        // Sign and exponent bytes of neighbours are alike: split by byte, zstd finds them.
        DataType::Float32 => plain(builder).set_column_encoding(path.clone(), Encoding::BYTE_STREAM_SPLIT),
        // Offsets within a sweep grow by small steps.
        DataType::Int32 => plain(builder).set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED),
        DataType::Float64 => plain(builder),
        // A few dozen beam numbers: a dictionary needs six bits each.
        DataType::UInt16 => builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::None),
        _ => builder,
    }
}

fn key_values(table: Table, key: &ClipKey) -> Vec<KeyValue> {
    let pairs = [
        ("boxwright.schema_version", SCHEMA_VERSION.to_string()),
        ("boxwright.table", table.to_string()),
        ("boxwright.vehicle", key.vehicle.to_string()),
        ("boxwright.clip", key.clip.to_string()),
        ("boxwright.revision", key.revision.to_string()),
        ("boxwright.clip_start_ns", key.grid.start_ns(key.clip).to_string()),
        ("boxwright.clip_end_ns", key.grid.end_ns(key.clip).to_string()),
        ("boxwright.units", UNITS_NOTE.to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| KeyValue::new(name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests;
