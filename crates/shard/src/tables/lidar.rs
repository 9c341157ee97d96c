//! `lidar`: one row a sweep, its points as lists.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, StringArray};
use arrow::datatypes::{Float32Type, Int32Type, UInt16Type};
use boxwright_model::{PointCloud, SourcePosition, StampRef};

use super::TableRow;
use crate::columns::{Column, bools, column, number_lists, numbers, source_columns, texts};
use crate::decode::Batch;
use crate::error::ShardError;
use crate::schema::Table;

/// One sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct LidarRow {
    /// Sensor name.
    pub sensor: Arc<str>,
    /// The sweep's stamp.
    pub stamp_ns: i64,
    /// What the stamp refers to.
    pub stamp_ref: StampRef,
    /// Whether the ego motion within the sweep was taken out.
    pub deskewed: bool,
    /// Points in the ego frame, in metres. Shared, because a live view shows the same points.
    pub points: Arc<PointCloud>,
    /// Where the message stood.
    pub source: SourcePosition,
}

impl TableRow for LidarRow {
    const TABLE: Table = Table::Lidar;

    fn stamp_ns(&self) -> i64 {
        self.stamp_ns
    }

    fn payload_bytes(&self) -> usize {
        let points = &self.points;
        let floats = points.x.len() + points.y.len() + points.z.len() + points.intensity.len();
        let ring = points.ring.as_ref().map_or(0, Vec::len);
        let time = points.time_offset_ns.as_ref().map_or(0, Vec::len);
        4 * floats + 2 * ring + 4 * time + self.sensor.len() + self.source.topic.len()
    }

    fn check(&self) -> Result<(), String> {
        let points = &self.points;
        let expected = points.len();
        let lengths = [
            ("y", Some(points.y.len())),
            ("z", Some(points.z.len())),
            ("intensity", Some(points.intensity.len())),
            ("ring", points.ring.as_ref().map(Vec::len)),
            ("time_offset_ns", points.time_offset_ns.as_ref().map(Vec::len)),
        ];
        match lengths.into_iter().find(|(_, length)| length.is_some_and(|length| length != expected)) {
            Some((name, length)) => Err(format!("expected {expected} values in {name} as in x, got {}", length.unwrap_or(0))),
            None => Ok(()),
        }
    }

    fn columns(rows: &[Self]) -> Result<Vec<Column>, ShardError> {
        let floats = |name, pick: fn(&PointCloud) -> &[f32]| {
            number_lists::<Float32Type>(Self::TABLE, rows.iter().map(|row| Some(pick(&row.points))))
                .map(|lists| column(name, lists))
        };
        let ring = rows.iter().map(|row| row.points.ring.as_deref());
        let time = rows.iter().map(|row| row.points.time_offset_ns.as_deref());
        let points = rows.iter().map(|row| i32::try_from(row.points.len()).unwrap_or(i32::MAX));
        let mut columns = vec![
            column("sensor", texts(rows.iter().map(|row| &*row.sensor))),
            column("stamp_ref", texts(rows.iter().map(|row| row.stamp_ref.as_str()))),
            column("deskewed", bools(rows.iter().map(|row| row.deskewed))),
            column("points", numbers::<Int32Type>(points)),
            floats("x", |points| &points.x)?,
            floats("y", |points| &points.y)?,
            floats("z", |points| &points.z)?,
            floats("intensity", |points| &points.intensity)?,
            column("ring", number_lists::<UInt16Type>(Self::TABLE, ring)?),
            column("time_offset_ns", number_lists::<Int32Type>(Self::TABLE, time)?),
        ];
        columns.extend(source_columns(rows.iter().map(|row| &row.source)));
        Ok(columns)
    }
}

/// Rows of a batch.
pub(crate) fn rows(batch: &Batch<'_>) -> Result<Vec<LidarRow>, ShardError> {
    let stamps: &Int64Array = batch.required("stamp_ns")?;
    let sensors: &StringArray = batch.required("sensor")?;
    let stamp_refs: &StringArray = batch.required("stamp_ref")?;
    let deskewed: &BooleanArray = batch.required("deskewed")?;
    let sources = batch.sources()?;
    let [x, y, z, intensity] = ["x", "y", "z", "intensity"].map(|name| batch.lists::<Float32Type>(name));
    let (x, y, z, intensity) = (x?, y?, z?, intensity?);
    let (ring, time) = (batch.lists::<UInt16Type>("ring")?, batch.lists::<Int32Type>("time_offset_ns")?);
    let row = |row| {
        let points = PointCloud {
            x: x.require(row)?,
            y: y.require(row)?,
            z: z.require(row)?,
            intensity: intensity.require(row)?,
            ring: ring.get(row),
            time_offset_ns: time.get(row),
        };
        let row = LidarRow {
            sensor: sensors.value(row).into(),
            stamp_ns: stamps.value(row),
            stamp_ref: batch.word("stamp_ref", stamp_refs.value(row), |word| word.parse().ok())?,
            deskewed: deskewed.value(row),
            points: Arc::new(points),
            source: sources.get(row),
        };
        row.check().map(|()| row).map_err(|message| batch.foreign(message))
    };
    (0..batch.rows()).map(row).collect()
}
