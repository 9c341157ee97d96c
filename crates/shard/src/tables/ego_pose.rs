//! `ego_pose`: one row a pose, `world_from_ego`.

use arrow::array::Int64Array;
use boxwright_model::StampedPose;

use super::TableRow;
use crate::columns::{Column, check_pose, pose_columns, pose_parts};
use crate::decode::Batch;
use crate::error::ShardError;
use crate::schema::Table;

impl TableRow for StampedPose {
    const TABLE: Table = Table::EgoPose;

    fn stamp_ns(&self) -> i64 {
        self.stamp_ns
    }

    fn payload_bytes(&self) -> usize {
        0
    }

    fn check(&self) -> Result<(), String> {
        check_pose("world_from_ego", &self.world_from_ego)
    }

    fn columns(rows: &[Self]) -> Result<Vec<Column>, ShardError> {
        let parts: Vec<_> = rows.iter().map(|row| Some(pose_parts(&row.world_from_ego))).collect();
        Ok(pose_columns("", &parts))
    }
}

/// Rows of a batch.
pub(crate) fn rows(batch: &Batch<'_>) -> Result<Vec<StampedPose>, ShardError> {
    let stamps: &Int64Array = batch.required("stamp_ns")?;
    let poses = batch.poses("")?;
    let row = |row| Ok(StampedPose { stamp_ns: stamps.value(row), world_from_ego: poses.require(row)? });
    (0..batch.rows()).map(row).collect()
}
