//! Rows to Arrow columns: the few shapes of column that the nine tables are made of.
//!
//! Writing cannot overflow the 32-bit offsets of Arrow lists, because a row's payload is limited to [`MAX_ROW_BYTES`] before it comes here and
//! a batch to one row group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, Float64Type, Int32Type, Int64Type};
use boxwright_model::space::{pose_from_parts, quaternion_xyzw};
use boxwright_model::{Pose, SourcePosition};

use crate::error::ShardError;
use crate::schema::{ELEMENT, POSE_COLUMNS, Table};

/// Most payload bytes of one row: 1 GiB. Far above any frame, and far below what 32-bit offsets can count.
pub(crate) const MAX_ROW_BYTES: usize = 1 << 30;

/// A column and its name.
pub(crate) type Column = (String, ArrayRef);

/// A named column.
pub(crate) fn column(name: &str, array: impl Array + 'static) -> Column {
    (name.to_owned(), Arc::new(array))
}

/// A column of numbers.
pub(crate) fn numbers<T: ArrowPrimitiveType>(values: impl Iterator<Item = T::Native>) -> PrimitiveArray<T> {
    PrimitiveArray::from_iter_values(values)
}

/// A column of text.
pub(crate) fn texts<'a>(values: impl Iterator<Item = &'a str>) -> StringArray {
    // Collected, because arrow panics on iterators that do not know their length.
    StringArray::from_iter_values(values.collect::<Vec<_>>())
}

/// A column of blobs.
pub(crate) fn blobs<'a>(values: impl Iterator<Item = &'a [u8]>) -> BinaryArray {
    BinaryArray::from_iter_values(values.collect::<Vec<_>>())
}

/// A column of truth values.
pub(crate) fn bools(values: impl Iterator<Item = bool>) -> BooleanArray {
    BooleanArray::from(values.collect::<Vec<_>>())
}

/// A column of number lists; `None` is a null list.
pub(crate) fn number_lists<'a, T: ArrowPrimitiveType>(
    table: Table,
    rows: impl Iterator<Item = Option<&'a [T::Native]>> + Clone,
) -> Result<ListArray, ShardError> {
    let lengths = rows.clone().map(|row| row.map_or(0, <[_]>::len));
    let nulls: NullBuffer = rows.clone().map(|row| row.is_some()).collect();
    let mut values = Vec::with_capacity(lengths.clone().sum());
    rows.flatten().for_each(|row| values.extend_from_slice(row));
    let values = PrimitiveArray::<T>::new(values.into(), None);
    list(table, Arc::new(values), lengths, Some(nulls))
}

/// A column of text lists.
pub(crate) fn text_lists(table: Table, rows: &[&[Arc<str>]]) -> Result<ListArray, ShardError> {
    let values = texts(rows.iter().flat_map(|row| row.iter().map(|text| &**text)));
    list(table, Arc::new(values), rows.iter().map(|row| row.len()), None)
}

/// A list column over the values of all its rows, one after the other.
pub(crate) fn list(
    table: Table,
    values: ArrayRef,
    lengths: impl Iterator<Item = usize>,
    nulls: Option<NullBuffer>,
) -> Result<ListArray, ShardError> {
    let element = Arc::new(Field::new(ELEMENT, values.data_type().clone(), false));
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    ListArray::try_new(element, OffsetBuffer::from_lengths(lengths), values, nulls)
        .map_err(|source| ShardError::Batch { table, source })
}

/// Translation in metres and quaternion as the seven columns of a pose.
pub(crate) fn pose_parts(pose: &Pose) -> [f64; 7] {
    let [qx, qy, qz, qw] = quaternion_xyzw(&pose.rotation);
    [pose.translation.x, pose.translation.y, pose.translation.z, qx, qy, qz, qw]
}

/// Seven columns of poses.
pub(crate) fn pose_columns(prefix: &str, rows: &[Option<[f64; 7]>]) -> Vec<Column> {
    let numbered = POSE_COLUMNS.iter().enumerate();
    numbered
        .map(|(index, name)| {
            let values = rows.iter().map(|row| row.and_then(|parts| parts.get(index).copied()));
            column(&format!("{prefix}{name}"), values.collect::<PrimitiveArray<Float64Type>>())
        })
        .collect()
}

/// The three columns that say where a message stood.
pub(crate) fn source_columns<'a>(rows: impl Iterator<Item = &'a SourcePosition> + Clone) -> [Column; 3] {
    [
        column("source_topic", texts(rows.clone().map(|source| &*source.topic))),
        column("source_partition", numbers::<Int32Type>(rows.clone().map(|source| source.partition))),
        column("source_offset", numbers::<Int64Type>(rows.map(|source| source.offset))),
    ]
}

/// Refuses what could not be read back as a pose.
pub(crate) fn check_pose(what: &str, pose: &Pose) -> Result<(), String> {
    let [x, y, z, qx, qy, qz, qw] = pose_parts(pose);
    match pose_from_parts([x, y, z], [qx, qy, qz, qw]) {
        Some(_) => Ok(()),
        None => Err(format!("{what}: expected seven finite numbers and a quaternion of length 1, got {:?}", pose_parts(pose))),
    }
}
