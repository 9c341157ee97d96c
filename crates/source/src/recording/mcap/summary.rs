//! The summary at the end of a finished file: how many messages of each kind there are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use ::mcap::sans_io::summary_reader::{SummaryReadEvent, SummaryReader, SummaryReaderOptions};
use boxwright_model::SensorKind;

use super::add_count;
use super::channels::readable;

/// Largest record of a summary that is read: a chunk index of some hundred channels is a few kilobytes.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// Messages by kind, or `None` where the file has no statistics.
pub(super) fn counts(path: &Path) -> Option<BTreeMap<SensorKind, u64>> {
    let mut file = File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    let options = SummaryReaderOptions::default().with_file_size(size).with_record_length_limit(MAX_RECORD_BYTES);
    let mut reader = SummaryReader::new_with_options(options);
    while let Some(event) = reader.next_event() {
        match event.ok()? {
            // Never more at once than the file has: a wrong length must not become memory.
            SummaryReadEvent::ReadRequest(need) if need as u64 > size => return None,
            SummaryReadEvent::ReadRequest(need) => {
                let read = file.read(reader.insert(need)).ok()?;
                reader.notify_read(read);
            }
            SummaryReadEvent::SeekRequest(to) => reader.notify_seeked(file.seek(to).ok()?),
        }
    }
    let summary = reader.finish()?;
    let mut counts = BTreeMap::new();
    for (id, count) in summary.stats?.channel_message_counts {
        let channel = summary.channels.get(&id)?;
        let schema = channel.schema.as_ref().map_or("", |schema| schema.name.as_str());
        if let Ok(schema) = readable(schema, &channel.message_encoding) {
            add_count(&mut counts, schema.kind, count);
        }
    }
    Some(counts)
}
