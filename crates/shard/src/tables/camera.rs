//! `camera`: one row an image, its bytes as they were sent.

use std::sync::Arc;

use arrow::array::{BinaryArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::Int32Type;
use boxwright_model::{SourcePosition, StampRef};
use bytes::Bytes;

use super::{TableRow, fits_i32, signed};
use crate::columns::{Column, blobs, column, numbers, source_columns, texts};
use crate::decode::Batch;
use crate::error::ShardError;
use crate::schema::Table;

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraRow {
    /// Sensor name.
    pub sensor: Arc<str>,
    /// The image's stamp.
    pub stamp_ns: i64,
    /// What the stamp refers to.
    pub stamp_ref: StampRef,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// `jpeg`, `png`, `webp` or `avif`.
    pub format: Arc<str>,
    /// The encoded image, kept as it is.
    pub data: Bytes,
    /// Where the message stood.
    pub source: SourcePosition,
}

impl TableRow for CameraRow {
    const TABLE: Table = Table::Camera;

    fn stamp_ns(&self) -> i64 {
        self.stamp_ns
    }

    fn payload_bytes(&self) -> usize {
        self.data.len() + self.sensor.len() + self.format.len() + self.source.topic.len()
    }

    fn check(&self) -> Result<(), String> {
        fits_i32("width", self.width_px)?;
        fits_i32("height", self.height_px)
    }

    fn columns(rows: &[Self]) -> Result<Vec<Column>, ShardError> {
        let mut columns = vec![
            column("sensor", texts(rows.iter().map(|row| &*row.sensor))),
            column("stamp_ref", texts(rows.iter().map(|row| row.stamp_ref.as_str()))),
            column("width", numbers::<Int32Type>(rows.iter().map(|row| signed(row.width_px)))),
            column("height", numbers::<Int32Type>(rows.iter().map(|row| signed(row.height_px)))),
            column("format", texts(rows.iter().map(|row| &*row.format))),
            column("image", blobs(rows.iter().map(|row| &*row.data))),
        ];
        columns.extend(source_columns(rows.iter().map(|row| &row.source)));
        Ok(columns)
    }
}

/// Rows of a batch.
pub(crate) fn rows(batch: &Batch<'_>) -> Result<Vec<CameraRow>, ShardError> {
    let stamps: &Int64Array = batch.required("stamp_ns")?;
    let sensors: &StringArray = batch.required("sensor")?;
    let stamp_refs: &StringArray = batch.required("stamp_ref")?;
    let (width, height): (&Int32Array, &Int32Array) = (batch.required("width")?, batch.required("height")?);
    let formats: &StringArray = batch.required("format")?;
    let images: &BinaryArray = batch.required("image")?;
    let sources = batch.sources()?;
    let row = |row| {
        Ok(CameraRow {
            sensor: sensors.value(row).into(),
            stamp_ns: stamps.value(row),
            stamp_ref: batch.word("stamp_ref", stamp_refs.value(row), |word| word.parse().ok())?,
            width_px: batch.unsigned("width", width.value(row))?,
            height_px: batch.unsigned("height", height.value(row))?,
            format: formats.value(row).into(),
            data: Bytes::copy_from_slice(images.value(row)),
            source: sources.get(row),
        })
    };
    (0..batch.rows()).map(row).collect()
}
