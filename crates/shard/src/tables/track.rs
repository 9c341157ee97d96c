//! `track`: one row an object through the clip. `stamp_ns` is that of its first sample.

use arrow::array::{BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use boxwright_model::{Taxonomy, Track};

use super::{Classed, TableRow, fits_i32, signed};
use crate::columns::{Column, bools, column, numbers, texts};
use crate::decode::Batch;
use crate::error::ShardError;
use crate::schema::Table;

impl TableRow for Classed<Track> {
    const TABLE: Table = Table::Track;

    fn stamp_ns(&self) -> i64 {
        self.label.first_stamp_ns
    }

    fn payload_bytes(&self) -> usize {
        self.class.len()
    }

    fn check(&self) -> Result<(), String> {
        fits_i32("boxes", self.label.boxes)
    }

    fn columns(rows: &[Self]) -> Result<Vec<Column>, ShardError> {
        let labels = || rows.iter().map(|row| &row.label);
        let number = |name, pick: fn(&Track) -> f64| column(name, numbers::<Float64Type>(labels().map(pick)));
        let stamp = |name, pick: fn(&Track) -> i64| column(name, numbers::<Int64Type>(labels().map(pick)));
        let ids: Vec<String> = labels().map(|label| label.track_id.to_string()).collect();
        Ok(vec![
            column("track_id", texts(ids.iter().map(String::as_str))),
            column("class", texts(rows.iter().map(|row| &*row.class))),
            number("score", |label| label.score),
            stamp("first_stamp_ns", |label| label.first_stamp_ns),
            stamp("last_stamp_ns", |label| label.last_stamp_ns),
            column("boxes", numbers::<Int32Type>(labels().map(|label| signed(label.boxes)))),
            column("static", bools(labels().map(|label| label.is_static))),
            number("length_m", |label| label.size_lwh_m[0]),
            number("width_m", |label| label.size_lwh_m[1]),
            number("height_m", |label| label.size_lwh_m[2]),
            number("review_priority_s", |label| label.review_priority_s),
        ])
    }
}

/// Rows of a batch.
pub(crate) fn rows(batch: &Batch<'_>, taxonomy: &Taxonomy) -> Result<Vec<Track>, ShardError> {
    let (first, last): (&Int64Array, &Int64Array) = (batch.required("first_stamp_ns")?, batch.required("last_stamp_ns")?);
    let (track_ids, classes): (&StringArray, &StringArray) = (batch.required("track_id")?, batch.required("class")?);
    let (score, priority): (&Float64Array, &Float64Array) = (batch.required("score")?, batch.required("review_priority_s")?);
    let size: [&Float64Array; 3] = [batch.required("length_m")?, batch.required("width_m")?, batch.required("height_m")?];
    let boxes: &Int32Array = batch.required("boxes")?;
    let is_static: &BooleanArray = batch.required("static")?;
    let row = |row| {
        Ok(Track {
            track_id: batch.track_id(track_ids.value(row))?,
            class: batch.class(taxonomy, classes.value(row))?,
            score: score.value(row),
            first_stamp_ns: first.value(row),
            last_stamp_ns: last.value(row),
            boxes: batch.unsigned("boxes", boxes.value(row))?,
            is_static: is_static.value(row),
            size_lwh_m: size.map(|column| column.value(row)),
            review_priority_s: priority.value(row),
        })
    };
    (0..batch.rows()).map(row).collect()
}
