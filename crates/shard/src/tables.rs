//! One module a table: the row, how it becomes columns, how it is read back.
//!
//! Rows are the words of `boxwright-model` where there is one; the row types here only add what a table keeps beside it.

pub mod lidar;

pub mod camera;

pub(crate) mod ego_pose;

pub mod calibration;

pub(crate) mod sample;

pub(crate) mod box3;

pub(crate) mod track;

pub mod finding;

pub mod late;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;

use crate::columns::{Column, MAX_ROW_BYTES, column, numbers};
use crate::error::ShardError;
use crate::schema::Table;
use crate::writer::ClipKey;

/// A row of a table on its way into a file.
pub(crate) trait TableRow: Clone {
    /// Its table.
    const TABLE: Table;

    /// The row's `stamp_ns`.
    fn stamp_ns(&self) -> i64;

    /// Bytes of everything in the row whose size is not fixed. Memory and row groups are bounded by it.
    fn payload_bytes(&self) -> usize;

    /// Whether the row can be read back; the message has both sides of the comparison.
    fn check(&self) -> Result<(), String>;

    /// The table's own columns, in the order of its schema, without `clip` and `revision`.
    fn columns(rows: &[Self]) -> Result<Vec<Column>, ShardError>;
}

/// Refuses a row that could not be read back.
pub(crate) fn check_row<R: TableRow>(row: &R) -> Result<(), ShardError> {
    let bytes = row.payload_bytes();
    let checked =
        if bytes > MAX_ROW_BYTES { Err(format!("expected at most {MAX_ROW_BYTES} bytes, got {bytes}")) } else { row.check() };
    checked.map_err(|message| ShardError::Row { table: R::TABLE, stamp_ns: row.stamp_ns(), message })
}

/// Makes a batch in the table's schema.
pub(crate) fn record_batch<R: TableRow>(rows: &[R], key: &ClipKey) -> Result<RecordBatch, ShardError> {
    let schema = R::TABLE.schema();
    let mut columns = vec![column("clip", numbers::<Int64Type>(rows.iter().map(|_| key.clip.0)))];
    if R::TABLE.is_label() {
        columns.push(column("revision", numbers::<Int32Type>(rows.iter().map(|_| key.revision))));
    }
    columns.push(column("stamp_ns", numbers::<Int64Type>(rows.iter().map(TableRow::stamp_ns))));
    columns.extend(R::columns(rows)?);
    debug_assert!(
        columns.iter().map(|(name, _)| name).eq(schema.fields().iter().map(|field| field.name())),
        "order of {}",
        R::TABLE
    );
    let arrays: Vec<ArrayRef> = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(schema, arrays).map_err(|source| ShardError::Batch { table: R::TABLE, source })
}

/// A label with the name of its class: files hold names, because indices change with the taxonomy.
#[derive(Clone, Debug)]
pub(crate) struct Classed<T> {
    pub(crate) label: T,
    pub(crate) class: Arc<str>,
}

/// Counts and pixels are stored signed.
pub(crate) fn fits_i32(what: &str, value: u32) -> Result<(), String> {
    if i32::try_from(value).is_ok() { Ok(()) } else { Err(format!("{what}: expected at most {}, got {value}", i32::MAX)) }
}

/// The signed value that [`fits_i32`] has allowed.
pub(crate) fn signed(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
