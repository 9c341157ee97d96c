//! The summary at the file's end: which channels there are, how many messages each of them has, and from when to when.
//!
//! It is a convenience: a file whose summary is absent, damaged or larger than any is read all the same. It is read here and not by the
//! `mcap` crate's `SummaryReader`, which parses every kind of record and trusts the lengths in them (see `parse`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use ::mcap::MAGIC;
use ::mcap::records::{Record, op};
use boxwright_model::SensorKind;

use super::channels::Channels;
use super::parse::parse;

/// Opcode and length before the content of a record.
const RECORD_HEADER_BYTES: usize = 1 + 8;
/// The last record: where the summary starts, where its index starts, its checksum; then the magic.
const FOOTER_BYTES: usize = RECORD_HEADER_BYTES + 8 + 8 + 4 + MAGIC.len();
/// Largest summary that is read: an index entry of a hundred bytes for each of half a million chunks.
const MAX_SUMMARY_BYTES: u64 = 64 << 20;

/// What a summary says beside its channels.
#[derive(Default)]
pub(super) struct Summary {
    /// The number of messages that will be read, where it tells all of it.
    pub(super) total: Option<u64>,
    /// Log times of the first and the last message (nanoseconds), where there is one.
    pub(super) span_ns: Option<(i64, i64)>,
    /// Its cameras and lidars that have messages; some recorders list all channels in every file.
    pub(super) seeing: BTreeSet<(SensorKind, Arc<str>)>,
}

/// Notes the summary's channels, and gives what else it says.
pub(super) fn take_summary(file: &mut File, size: u64, channels: &mut Channels) -> Option<Summary> {
    let section = read_section(file, size)?;
    let records = records_of(&section)?;
    let mut found = BTreeMap::new();
    let mut statistics = None;
    for record in records {
        match record {
            Record::Schema { header, .. } => channels.add_schema(header.id, header.name, header.encoding),
            Record::Channel(channel) => {
                found.insert(channel.id, channel);
            }
            Record::Statistics(record) => statistics = Some(record),
            _ => {}
        }
    }
    found.into_values().for_each(|channel| channels.add_channel(channel));
    let statistics = statistics?;
    let counts = statistics.channel_message_counts.iter();
    let read = counts.map(|(id, count)| Some(if channels.is_read(*id)? { *count } else { 0 }));
    let total = read.into_iter().try_fold(0_u64, |total, count| Some(total.saturating_add(count?)));
    let ns = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    let span_ns = (statistics.message_count > 0).then(|| (ns(statistics.message_start_time), ns(statistics.message_end_time)));
    let seeing = statistics.channel_message_counts.iter().filter(|(_, count)| **count > 0);
    let seeing = seeing.filter_map(|(id, _)| channels.seeing(*id)).collect();
    Some(Summary { total, span_ns, seeing })
}

/// The bytes between the data and the footer.
fn read_section(file: &mut File, size: u64) -> Option<Vec<u8>> {
    let footer_at = size.checked_sub(FOOTER_BYTES as u64)?;
    let mut footer = [0; FOOTER_BYTES];
    file.seek(SeekFrom::Start(footer_at)).ok()?;
    file.read_exact(&mut footer).ok()?;
    let start = footer.get(RECORD_HEADER_BYTES..).and_then(|body| body.first_chunk()).map(|bytes| u64::from_le_bytes(*bytes))?;
    if footer.first() != Some(&op::FOOTER) || !footer.ends_with(MAGIC) || start == 0 {
        return None;
    }
    let length = footer_at.checked_sub(start).filter(|length| *length <= MAX_SUMMARY_BYTES)?;
    let mut section = Vec::new();
    file.seek(SeekFrom::Start(start)).ok()?;
    file.take(length).read_to_end(&mut section).ok()?;
    Some(section)
}

/// The records that matter, or `None` where one of them is damaged.
fn records_of(mut section: &[u8]) -> Option<Vec<Record<'static>>> {
    let mut records = Vec::new();
    while let Some((header, rest)) = section.split_at_checked(RECORD_HEADER_BYTES) {
        let (opcode, length) = header.split_first()?;
        let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
        let (data, rest) = rest.split_at_checked(length)?;
        if matches!(*opcode, op::SCHEMA | op::CHANNEL | op::STATISTICS) {
            records.push(parse(*opcode, data).ok()?);
        }
        section = rest;
    }
    section.is_empty().then_some(records)
}
