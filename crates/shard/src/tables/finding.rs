//! `finding`: one row a thing that a numbered rule has to say.

use std::sync::Arc;

use arrow::array::{Array, Int64Array, StringArray};
use boxwright_model::{Finding, Severity, TrackId};

use super::TableRow;
use crate::columns::{Column, column, texts};
use crate::decode::Batch;
use crate::error::ShardError;
use crate::schema::Table;

/// A finding as it is read back. The rule's id is owned, because a file may name a rule that this program no longer has.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredFinding {
    /// Id of the rule.
    pub rule: Arc<str>,
    /// How bad it is.
    pub severity: Severity,
    /// When.
    pub stamp_ns: i64,
    /// Track it is about.
    pub track_id: Option<TrackId>,
    /// Sample it is about.
    pub sample_id: Option<Arc<str>>,
    /// One sentence with both sides of the comparison.
    pub message: String,
    /// The numbers: a JSON object.
    pub values: String,
}

impl TableRow for Finding {
    const TABLE: Table = Table::Finding;

    fn stamp_ns(&self) -> i64 {
        self.stamp_ns
    }

    fn payload_bytes(&self) -> usize {
        self.rule.len() + self.message.len() + self.values.len() + self.sample_id.as_ref().map_or(0, |id| id.len())
    }

    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn columns(rows: &[Self]) -> Result<Vec<Column>, ShardError> {
        let track_ids = rows.iter().map(|row| row.track_id.map(|id| id.to_string()));
        Ok(vec![
            column("rule", texts(rows.iter().map(|row| row.rule))),
            column("severity", texts(rows.iter().map(|row| row.severity.as_str()))),
            column("track_id", track_ids.collect::<StringArray>()),
            column("sample_id", rows.iter().map(|row| row.sample_id.as_deref()).collect::<StringArray>()),
            column("message", texts(rows.iter().map(|row| row.message.as_str()))),
            column("values", texts(rows.iter().map(|row| row.values.as_str()))),
        ])
    }
}

/// Rows of a batch.
pub(crate) fn rows(batch: &Batch<'_>) -> Result<Vec<StoredFinding>, ShardError> {
    let stamps: &Int64Array = batch.required("stamp_ns")?;
    let (rules, severities): (&StringArray, &StringArray) = (batch.required("rule")?, batch.required("severity")?);
    let (track_ids, sample_ids): (&StringArray, &StringArray) = (batch.optional("track_id")?, batch.optional("sample_id")?);
    let (messages, values): (&StringArray, &StringArray) = (batch.required("message")?, batch.required("values")?);
    let row = |row| {
        Ok(StoredFinding {
            rule: rules.value(row).into(),
            severity: batch.word("severity", severities.value(row), parse_severity)?,
            stamp_ns: stamps.value(row),
            track_id: track_ids.is_valid(row).then(|| batch.track_id(track_ids.value(row))).transpose()?,
            sample_id: sample_ids.is_valid(row).then(|| sample_ids.value(row).into()),
            message: messages.value(row).to_owned(),
            values: values.value(row).to_owned(),
        })
    };
    (0..batch.rows()).map(row).collect()
}

fn parse_severity(word: &str) -> Option<Severity> {
    [Severity::Info, Severity::Warning, Severity::Error].into_iter().find(|severity| severity.as_str() == word)
}
