//! Arrow columns back to rows, trusting nothing.
//!
//! A column that is absent, of another type, or null where it must not be, is an error that names the file, the column and both sides.
//! All columns of a batch have equal length, so a row number below [`Batch::rows`] is good for each of them.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, ListArray, PrimitiveArray, StringArray, StructArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use boxwright_model::space::pose_from_parts;
use boxwright_model::{ClipId, Pose, SourcePosition, Taxonomy, TrackId, taxonomy::ClassId};

use crate::error::ShardError;
use crate::schema::POSE_COLUMNS;

/// One decoded batch of a table's file, asked for columns by name.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub(crate) path: &'a Path,
    pub(crate) batch: &'a RecordBatch,
}

impl<'a> Batch<'a> {
    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub(crate) fn foreign(&self, message: impl Into<String>) -> ShardError {
        ShardError::foreign(self.path, message)
    }

    /// A column that may hold nulls.
    pub(crate) fn optional<A: Array + 'static>(&self, name: &str) -> Result<&'a A, ShardError> {
        let array = self.batch.column_by_name(name).ok_or_else(|| self.foreign(format!("expected column {name}, got none")))?;
        array
            .as_any()
            .downcast_ref()
            .ok_or_else(|| self.foreign(format!("column {name} has the unexpected type {}", array.data_type())))
    }

    /// A column without nulls.
    pub(crate) fn required<A: Array + 'static>(&self, name: &str) -> Result<&'a A, ShardError> {
        let array: &A = self.optional(name)?;
        match array.null_count() {
            0 => Ok(array),
            nulls => Err(self.foreign(format!("column {name}: expected no null, got {nulls} in {} rows", self.rows()))),
        }
    }

    /// A column without nulls that older files do not have.
    pub(crate) fn newer<A: Array + 'static>(&self, name: &str) -> Result<Option<&'a A>, ShardError> {
        if self.batch.column_by_name(name).is_none() {
            return Ok(None);
        }
        self.required(name).map(Some)
    }

    /// A column of lists of numbers; a whole list may be null, a number may not.
    pub(crate) fn lists<T: ArrowPrimitiveType>(&self, name: &'static str) -> Result<Lists<'a, T>, ShardError> {
        let lists: &ListArray = self.optional(name)?;
        let values = self.elements::<PrimitiveArray<T>>(name, lists.values())?;
        Ok(Lists { batch: *self, name, lists, values })
    }

    /// The texts of one list.
    pub(crate) fn text_list(&self, name: &str, lists: &ListArray, row: usize) -> Result<Vec<Arc<str>>, ShardError> {
        let list = lists.value(row);
        Ok(self.elements::<StringArray>(name, &list)?.iter().flatten().map(Arc::from).collect())
    }

    /// The structs of one list as a batch of their own.
    pub(crate) fn struct_list(&self, name: &str, lists: &ListArray, row: usize) -> Result<RecordBatch, ShardError> {
        let list = lists.value(row);
        Ok(RecordBatch::from(self.elements::<StructArray>(name, &list)?))
    }

    fn elements<'b, A: Array + 'static>(&self, name: &str, values: &'b ArrayRef) -> Result<&'b A, ShardError> {
        if values.null_count() > 0 {
            return Err(self.foreign(format!("column {name}: expected no null in a list, got {}", values.null_count())));
        }
        let found = values.data_type();
        values
            .as_any()
            .downcast_ref()
            .ok_or_else(|| self.foreign(format!("column {name} has lists of the unexpected type {found}")))
    }

    /// The seven columns of poses.
    pub(crate) fn poses(&self, prefix: &str) -> Result<Poses<'a>, ShardError> {
        let mut columns = Vec::with_capacity(POSE_COLUMNS.len());
        for name in POSE_COLUMNS {
            columns.push(self.optional(&format!("{prefix}{name}"))?);
        }
        Ok(Poses { batch: *self, columns })
    }

    /// The three columns that say where messages stood.
    pub(crate) fn sources(&self) -> Result<Sources<'a>, ShardError> {
        Ok(Sources {
            topics: self.required("source_topic")?,
            partitions: self.required("source_partition")?,
            offsets: self.required("source_offset")?,
        })
    }

    /// A count or a number of pixels, stored signed because some readers have no unsigned type.
    pub(crate) fn unsigned(&self, name: &str, value: i32) -> Result<u32, ShardError> {
        u32::try_from(value).map_err(|_| self.foreign(format!("column {name}: expected 0 or more, got {value}")))
    }

    /// A word of a closed list.
    pub(crate) fn word<T>(&self, name: &str, word: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, ShardError> {
        parse(word).ok_or_else(|| self.foreign(format!("column {name} has the unknown word {word:?}")))
    }

    pub(crate) fn track_id(&self, text: &str) -> Result<TrackId, ShardError> {
        parse_track_id(text).ok_or_else(|| self.foreign(format!("expected a track_id of the form <clip>-<number>, got {text:?}")))
    }

    pub(crate) fn class(&self, taxonomy: &Taxonomy, name: &str) -> Result<ClassId, ShardError> {
        taxonomy.find(name).ok_or_else(|| ShardError::UnknownClass { path: self.path.to_owned(), class: name.to_owned() })
    }
}

/// A column of lists of numbers.
pub(crate) struct Lists<'a, T: ArrowPrimitiveType> {
    batch: Batch<'a>,
    name: &'static str,
    lists: &'a ListArray,
    values: &'a PrimitiveArray<T>,
}

impl<T: ArrowPrimitiveType> Lists<'_, T> {
    /// The list of a row, or `None` where it is null.
    pub(crate) fn get(&self, row: usize) -> Option<Vec<T::Native>> {
        if self.lists.is_null(row) {
            return None;
        }
        let offsets = self.lists.value_offsets();
        let bound = |at: usize| offsets.get(at).and_then(|offset| usize::try_from(*offset).ok());
        self.values.values().get(bound(row)?..bound(row + 1)?).map(<[_]>::to_vec)
    }

    /// The list of a row that must have one.
    pub(crate) fn require(&self, row: usize) -> Result<Vec<T::Native>, ShardError> {
        self.get(row).ok_or_else(|| self.batch.foreign(format!("column {}: expected a list in row {row}, got null", self.name)))
    }
}

/// Seven columns of poses.
pub(crate) struct Poses<'a> {
    batch: Batch<'a>,
    columns: Vec<&'a PrimitiveArray<Float64Type>>,
}

impl Poses<'_> {
    /// The pose of a row; seven nulls are `None`, anything else that is no pose is an error.
    pub(crate) fn get(&self, row: usize) -> Result<Option<Pose>, ShardError> {
        let parts: Vec<f64> = self.columns.iter().filter(|column| column.is_valid(row)).map(|column| column.value(row)).collect();
        let pose = match *parts.as_slice() {
            [] => return Ok(None),
            [x, y, z, qx, qy, qz, qw] => pose_from_parts([x, y, z], [qx, qy, qz, qw]),
            _ => None,
        };
        pose.map(Some)
            .ok_or_else(|| self.batch.foreign(format!("row {row}: expected a pose of seven finite numbers, got {parts:?}")))
    }

    /// The pose of a row that must have one.
    pub(crate) fn require(&self, row: usize) -> Result<Pose, ShardError> {
        self.get(row)?.ok_or_else(|| self.batch.foreign(format!("row {row}: expected a pose, got seven nulls")))
    }
}

/// Where messages stood.
pub(crate) struct Sources<'a> {
    topics: &'a StringArray,
    partitions: &'a PrimitiveArray<Int32Type>,
    offsets: &'a PrimitiveArray<Int64Type>,
}

impl Sources<'_> {
    pub(crate) fn get(&self, row: usize) -> SourcePosition {
        SourcePosition {
            topic: self.topics.value(row).into(),
            partition: self.partitions.value(row),
            offset: self.offsets.value(row),
        }
    }
}

/// Reads what [`TrackId`] prints. The number stands behind the last dash: a clip before 1970 has a dash of its own.
fn parse_track_id(text: &str) -> Option<TrackId> {
    let (clip, number) = text.rsplit_once('-')?;
    Some(TrackId { clip: ClipId(clip.parse().ok()?), number: number.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn track_ids_are_read_as_they_are_printed() {
        for id in [(7, 3), (-2, 12_345), (0, 0)].map(|(clip, number)| TrackId { clip: ClipId(clip), number }) {
            assert_eq!(parse_track_id(&id.to_string()), Some(id));
        }
        assert_eq!(parse_track_id("12"), None);
        assert_eq!(parse_track_id("a-1"), None);
    }
}
