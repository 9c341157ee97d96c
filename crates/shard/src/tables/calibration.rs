//! `calibration`: one row a sensor and moment of change, as far as it is known.

use std::sync::Arc;

use arrow::array::{Array, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::Float64Type;
use boxwright_model::{CameraModel, Pose};

use super::{TableRow, fits_i32, signed};
use crate::columns::{Column, check_pose, column, number_lists, pose_columns, pose_parts, texts};
use crate::decode::{Batch, Lists, Poses};
use crate::error::ShardError;
use crate::schema::Table;

/// What is known of one sensor from a moment on. A row replaces every earlier one of its sensor; it is complete, not a change.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationRow {
    /// Sensor name.
    pub sensor: Arc<str>,
    /// From when it holds.
    pub stamp_ns: i64,
    /// Place on the vehicle; `None` where it is unknown.
    pub ego_from_sensor: Option<Pose>,
    /// Intrinsics; `None` for sensors that are no camera, or where they are unknown.
    pub model: Option<CameraModel>,
}

impl TableRow for CalibrationRow {
    const TABLE: Table = Table::Calibration;

    fn stamp_ns(&self) -> i64 {
        self.stamp_ns
    }

    fn payload_bytes(&self) -> usize {
        let model = self.model.as_ref().map_or(0, |model| model.distortion_model.len() + 8 * model.distortion.len());
        self.sensor.len() + model
    }

    fn check(&self) -> Result<(), String> {
        self.ego_from_sensor.iter().try_for_each(|pose| check_pose("ego_from_sensor", pose))?;
        self.model.iter().try_for_each(|model| fits_i32("width", model.width_px).and(fits_i32("height", model.height_px)))
    }

    fn columns(rows: &[Self]) -> Result<Vec<Column>, ShardError> {
        let models = || rows.iter().map(|row| row.model.as_ref());
        let number =
            |name, pick: fn(&CameraModel) -> f64| column(name, models().map(|model| model.map(pick)).collect::<Float64Array>());
        let pixels = |name, pick: fn(&CameraModel) -> u32| {
            column(name, models().map(|model| model.map(|model| signed(pick(model)))).collect::<Int32Array>())
        };
        let distortion = models().map(|model| model.map(|model| model.distortion.as_slice()));
        let poses: Vec<_> = rows.iter().map(|row| row.ego_from_sensor.as_ref().map(pose_parts)).collect();
        let mut columns = vec![column("sensor", texts(rows.iter().map(|row| &*row.sensor)))];
        columns.extend(pose_columns("", &poses));
        columns.extend([
            number("fx_px", |model| model.fx_px),
            number("fy_px", |model| model.fy_px),
            number("cx_px", |model| model.cx_px),
            number("cy_px", |model| model.cy_px),
            column("distortion_model", models().map(|model| model.map(|model| &*model.distortion_model)).collect::<StringArray>()),
            column("distortion", number_lists::<Float64Type>(Self::TABLE, distortion)?),
            pixels("width", |model| model.width_px),
            pixels("height", |model| model.height_px),
        ]);
        Ok(columns)
    }
}

/// Columns of intrinsics.
struct Models<'a> {
    batch: Batch<'a>,
    /// fx, fy, cx, cy.
    numbers: [&'a Float64Array; 4],
    distortion_model: &'a StringArray,
    distortion: Lists<'a, Float64Type>,
    /// Width, height.
    pixels: [&'a Int32Array; 2],
}

impl<'a> Models<'a> {
    fn new(batch: Batch<'a>) -> Result<Self, ShardError> {
        Ok(Self {
            batch,
            numbers: [batch.optional("fx_px")?, batch.optional("fy_px")?, batch.optional("cx_px")?, batch.optional("cy_px")?],
            distortion_model: batch.optional("distortion_model")?,
            distortion: batch.lists("distortion")?,
            pixels: [batch.optional("width")?, batch.optional("height")?],
        })
    }

    /// The intrinsics of a row: all columns are null, or none.
    fn get(&self, row: usize) -> Result<Option<CameraModel>, ShardError> {
        let distortion = self.distortion.get(row);
        let valid = [
            self.numbers.iter().filter(|column| column.is_valid(row)).count(),
            self.pixels.iter().filter(|column| column.is_valid(row)).count(),
            usize::from(self.distortion_model.is_valid(row)),
            usize::from(distortion.is_some()),
        ];
        match (valid.iter().sum(), distortion) {
            (0, _) => Ok(None),
            (8, Some(distortion)) => self.model(row, distortion).map(Some),
            (known, _) => Err(self.batch.foreign(format!("row {row}: expected all 8 intrinsics or none, got {known}"))),
        }
    }

    fn model(&self, row: usize, distortion: Vec<f64>) -> Result<CameraModel, ShardError> {
        let [fx_px, fy_px, cx_px, cy_px] = self.numbers.map(|column| column.value(row));
        let [width, height] = self.pixels.map(|column| column.value(row));
        Ok(CameraModel {
            fx_px,
            fy_px,
            cx_px,
            cy_px,
            distortion_model: self.distortion_model.value(row).into(),
            distortion,
            width_px: self.batch.unsigned("width", width)?,
            height_px: self.batch.unsigned("height", height)?,
        })
    }
}

/// Rows of a batch.
pub(crate) fn rows(batch: &Batch<'_>) -> Result<Vec<CalibrationRow>, ShardError> {
    let stamps: &Int64Array = batch.required("stamp_ns")?;
    let sensors: &StringArray = batch.required("sensor")?;
    let poses: Poses<'_> = batch.poses("")?;
    let models = Models::new(*batch)?;
    let row = |row| {
        Ok(CalibrationRow {
            sensor: sensors.value(row).into(),
            stamp_ns: stamps.value(row),
            ego_from_sensor: poses.get(row)?,
            model: models.get(row)?,
        })
    };
    (0..batch.rows()).map(row).collect()
}
