//! `late`: one row a message that is in no sample of the clip, kept whole with the reason.

use std::sync::Arc;

use arrow::array::{BinaryArray, Int64Array, StringArray};
use boxwright_model::{SensorKind, SourcePosition, StampRef};
use bytes::Bytes;

use super::TableRow;
use crate::columns::{Column, blobs, column, source_columns, texts};
use crate::decode::Batch;
use crate::error::ShardError;
use crate::schema::Table;

/// A message as it came, and why it stands here. Its stamp may lie outside the clip: the clip is where it was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateRow {
    /// Sensor name.
    pub sensor: Arc<str>,
    /// Kind of message.
    pub kind: SensorKind,
    /// The message's stamp.
    pub stamp_ns: i64,
    /// What the stamp refers to.
    pub stamp_ref: StampRef,
    /// The spelling of a `LateReason`, or why the message could not be understood.
    pub reason: Arc<str>,
    /// Where the message stood.
    pub source: SourcePosition,
    /// Its `schema` header.
    pub schema: Arc<str>,
    /// Its `encoding` header.
    pub encoding: Arc<str>,
    /// Its value, undecoded.
    pub payload: Bytes,
}

impl TableRow for LateRow {
    const TABLE: Table = Table::Late;

    fn stamp_ns(&self) -> i64 {
        self.stamp_ns
    }

    fn payload_bytes(&self) -> usize {
        let texts = [&self.sensor, &self.reason, &self.source.topic, &self.schema, &self.encoding];
        self.payload.len() + texts.iter().map(|text| text.len()).sum::<usize>()
    }

    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn columns(rows: &[Self]) -> Result<Vec<Column>, ShardError> {
        let mut columns = vec![
            column("sensor", texts(rows.iter().map(|row| &*row.sensor))),
            column("kind", texts(rows.iter().map(|row| row.kind.as_str()))),
            column("stamp_ref", texts(rows.iter().map(|row| row.stamp_ref.as_str()))),
            column("reason", texts(rows.iter().map(|row| &*row.reason))),
        ];
        columns.extend(source_columns(rows.iter().map(|row| &row.source)));
        columns.extend([
            column("schema", texts(rows.iter().map(|row| &*row.schema))),
            column("encoding", texts(rows.iter().map(|row| &*row.encoding))),
            column("payload", blobs(rows.iter().map(|row| &*row.payload))),
        ]);
        Ok(columns)
    }
}

/// Rows of a batch.
pub(crate) fn rows(batch: &Batch<'_>) -> Result<Vec<LateRow>, ShardError> {
    let stamps: &Int64Array = batch.required("stamp_ns")?;
    let (sensors, kinds): (&StringArray, &StringArray) = (batch.required("sensor")?, batch.required("kind")?);
    let (stamp_refs, reasons): (&StringArray, &StringArray) = (batch.required("stamp_ref")?, batch.required("reason")?);
    let (schemas, encodings): (&StringArray, &StringArray) = (batch.required("schema")?, batch.required("encoding")?);
    let payloads: &BinaryArray = batch.required("payload")?;
    let sources = batch.sources()?;
    let row = |row| {
        Ok(LateRow {
            sensor: sensors.value(row).into(),
            kind: batch.word("kind", kinds.value(row), parse_kind)?,
            stamp_ns: stamps.value(row),
            stamp_ref: batch.word("stamp_ref", stamp_refs.value(row), |word| word.parse().ok())?,
            reason: reasons.value(row).into(),
            source: sources.get(row),
            schema: schemas.value(row).into(),
            encoding: encodings.value(row).into(),
            payload: Bytes::copy_from_slice(payloads.value(row)),
        })
    };
    (0..batch.rows()).map(row).collect()
}

fn parse_kind(word: &str) -> Option<SensorKind> {
    [SensorKind::Transform, SensorKind::Calibration, SensorKind::Lidar, SensorKind::Camera, SensorKind::Detections]
        .into_iter()
        .find(|kind| kind.as_str() == word)
}
