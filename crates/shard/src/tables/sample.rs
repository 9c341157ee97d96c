//! `sample`: one row a set of frames that belong together.

use std::sync::Arc;

use arrow::array::{Array, Int64Array, ListArray, StringArray, StructArray};
use arrow::datatypes::Int64Type;
use boxwright_model::{Sample, SampleMember, SampleReason};

use super::TableRow;
use crate::columns::{Column, column, list, numbers, text_lists, texts};
use crate::decode::Batch;
use crate::error::ShardError;
use crate::schema::{Table, member_fields};

impl TableRow for Sample {
    const TABLE: Table = Table::Sample;

    fn stamp_ns(&self) -> i64 {
        self.stamp_ns
    }

    fn payload_bytes(&self) -> usize {
        let members: usize = self.members.iter().map(|member| member.sensor.len() + 16).sum();
        self.sample_id.len() + members + self.missing.iter().map(|sensor| sensor.len()).sum::<usize>()
    }

    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn columns(rows: &[Self]) -> Result<Vec<Column>, ShardError> {
        let missing: Vec<&[Arc<str>]> = rows.iter().map(|row| row.missing.as_slice()).collect();
        Ok(vec![
            column("sample_id", texts(rows.iter().map(|row| &*row.sample_id))),
            column("members", members(rows)?),
            column("missing", text_lists(Self::TABLE, &missing)?),
            column("reason", texts(rows.iter().map(|row| row.reason.as_str()))),
        ])
    }
}

fn members(rows: &[Sample]) -> Result<ListArray, ShardError> {
    let all = || rows.iter().flat_map(|row| &row.members);
    let columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(texts(all().map(|member| &*member.sensor))),
        Arc::new(numbers::<Int64Type>(all().map(|member| member.stamp_ns))),
        Arc::new(numbers::<Int64Type>(all().map(|member| member.residual_ns))),
    ];
    let structs = StructArray::try_new(member_fields(), columns, None)
        .map_err(|source| ShardError::Batch { table: Table::Sample, source })?;
    list(Table::Sample, Arc::new(structs), rows.iter().map(|row| row.members.len()), None)
}

/// Rows of a batch.
pub(crate) fn rows(batch: &Batch<'_>) -> Result<Vec<Sample>, ShardError> {
    let stamps: &Int64Array = batch.required("stamp_ns")?;
    let ids: &StringArray = batch.required("sample_id")?;
    let (members, missing): (&ListArray, &ListArray) = (batch.required("members")?, batch.required("missing")?);
    let reasons: &StringArray = batch.required("reason")?;
    let row = |row| {
        Ok(Sample {
            sample_id: ids.value(row).into(),
            stamp_ns: stamps.value(row),
            members: read_members(batch, members, row)?,
            missing: batch.text_list("missing", missing, row)?,
            reason: batch.word("reason", reasons.value(row), parse_reason)?,
        })
    };
    (0..batch.rows()).map(row).collect()
}

fn read_members(batch: &Batch<'_>, lists: &ListArray, row: usize) -> Result<Vec<SampleMember>, ShardError> {
    let structs = batch.struct_list("members", lists, row)?;
    let inner = Batch { path: batch.path, batch: &structs };
    let sensors: &StringArray = inner.required("sensor")?;
    let (stamps, residuals): (&Int64Array, &Int64Array) = (inner.required("stamp_ns")?, inner.required("residual_ns")?);
    let member =
        |row| SampleMember { sensor: sensors.value(row).into(), stamp_ns: stamps.value(row), residual_ns: residuals.value(row) };
    Ok((0..inner.rows()).map(member).collect())
}

fn parse_reason(word: &str) -> Option<SampleReason> {
    [SampleReason::Matched, SampleReason::Unmatched, SampleReason::SensorIdle, SampleReason::ClipEnd]
        .into_iter()
        .find(|reason| reason.as_str() == word)
}
