//! `boxwright verify`: proves that a dataset is whole, alone or against the topics that it was made of.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use boxwright_model::SourcePosition;
use boxwright_shard::verify::LEFT_OUT_OF_RECORDINGS;
use boxwright_shard::{Dataset, OffsetFate, Verification, verify};
use boxwright_source::PartitionId;
use boxwright_source::kafka::KafkaConfig;
use boxwright_source::kafka::audit::{Audit, AuditProgress};
use boxwright_source::recording::is_of_recording;
use indicatif::ProgressBar;

use super::{load_config, locate};
use crate::args::VerifyArgs;
use crate::{Outcome, ui};

/// Problems that are printed; `--json` has all of them.
const PRINTED_PROBLEMS: usize = 40;

pub(crate) fn execute(args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let config = load_config(args.config.as_deref(), args.brokers.as_deref())?;
    let dataset = Dataset::open_at(&locate(&args.dataset, &config.store)?)?;
    let total = dataset.entry_count()?;
    let display = bar(total, "clips");
    let mut found = verify::verify(&dataset, |_| display.inc(1))?;
    display.finish_and_clear();
    // Recordings begin at 0.
    let of_recordings: Vec<(String, i32, i64)> = found
        .partitions
        .iter()
        .filter(|account| is_of_recording(&account.topic))
        .map(|account| (account.topic.clone(), account.partition, account.last_offset))
        .collect();
    of_recordings.iter().for_each(|(topic, partition, last)| found.expect(topic, *partition, 0, *last));
    if args.brokers.is_some() {
        hold_against_topics(&mut found, &config.kafka)?;
    } else {
        // Without the broker nobody knows what became of them.
        found.settle(|account, _| if is_of_recording(&account.topic) { OffsetFate::OfRecording } else { OffsetFate::Lost });
    }
    report(&found, args)
}

fn bar(total: u64, what: &'static str) -> ProgressBar {
    ui::bar(Some(total)).with_message(what)
}

fn follow(display: &ProgressBar, progress: &AuditProgress) {
    display.set_length(progress.total);
    display.set_position(progress.done);
}

/// Everything that the group has committed must be in a clip or in a dead-letter topic.
fn hold_against_topics(found: &mut Verification, config: &KafkaConfig) -> anyhow::Result<()> {
    let audit = Audit::connect(config)?;
    let partitions = audit.partitions()?;
    for one in &partitions {
        if let Some(committed) = one.committed {
            found.expect(&one.partition.topic, one.partition.partition, one.low, committed - 1);
        }
    }
    let mut letters = BTreeSet::new();
    let display = bar(0, "dead letters");
    audit.dead_letters(&mut |letter| letters.extend([letter.source]), &mut |progress| follow(&display, progress))?;
    display.finish_and_clear();
    let mut messages: BTreeMap<PartitionId, Vec<(i64, i64)>> = BTreeMap::new();
    for account in found.partitions.iter().filter(|account| !account.holes.is_empty()) {
        let id = PartitionId { topic: account.topic.as_str().into(), partition: account.partition };
        let holes: Vec<(i64, i64)> = account.holes.iter().map(|[first, last]| (*first, *last)).collect();
        let display = bar(0, "messages in holes");
        let held = if partitions.iter().any(|one| one.partition == id) {
            audit.messages_in(&id, &holes, &mut |progress| follow(&display, progress))?
        } else {
            Vec::new()
        };
        display.finish_and_clear();
        messages.insert(id, held);
    }
    found.settle(|account, offset| {
        let id = PartitionId { topic: account.topic.as_str().into(), partition: account.partition };
        let position = SourcePosition { topic: id.topic.clone(), partition: id.partition, offset };
        let committed = partitions.iter().find(|one| one.partition == id).and_then(|one| one.committed);
        let held = messages.get(&id).is_some_and(|runs| runs.iter().any(|(first, last)| (*first..=*last).contains(&offset)));
        match () {
            () if is_of_recording(&account.topic) => OffsetFate::OfRecording,
            () if letters.contains(&position) => OffsetFate::DeadLettered,
            () if !held => OffsetFate::NoMessage,
            // Several vehicles are in one partition: a clip of one may be sealed while an earlier one of another is still open.
            () if committed.is_none_or(|committed| offset >= committed) => OffsetFate::NotYet,
            () => OffsetFate::Lost,
        }
    });
    Ok(())
}

fn report(found: &Verification, args: &VerifyArgs) -> anyhow::Result<Outcome> {
    if args.json {
        ui::print(&serde_json::to_string(found).context("cannot write the report")?);
    } else {
        ui::print(ui::table(&rows(found)).trim_end());
        for problem in found.problems.iter().take(PRINTED_PROBLEMS) {
            ui::print(&problem.to_string());
        }
        if let Some(more) = found.problems.len().checked_sub(PRINTED_PROBLEMS).filter(|more| *more > 0) {
            ui::print(&format!("and {more} more problems (--json lists all)"));
        }
    }
    Ok(if found.is_whole() { Outcome::Done } else { Outcome::DataLost })
}

fn rows(found: &Verification) -> Vec<(String, String)> {
    let mut rows = vec![
        ("clips".to_owned(), found.entries.to_string()),
        ("files".to_owned(), format!("{} ({:.1} MB)", found.files, found.bytes as f64 / 1e6)),
        ("messages in clips".to_owned(), found.messages.to_string()),
    ];
    rows.extend(found.ends.iter().map(|(end, count)| (format!("  {}", end.replace('_', " ")), count.to_string())));
    for account in &found.partitions {
        let name = format!("{}[{}]", account.topic, account.partition);
        rows.push((name, format!("{} messages, offsets {} to {}", account.messages, account.first_offset, account.last_offset)));
    }
    let left_out = found.ends.get(LEFT_OUT_OF_RECORDINGS).copied().unwrap_or(0);
    let verdict = match found.problems.len() {
        0 if left_out > 0 => format!("nothing doubled; {left_out} messages of recordings are in no clip, as their run has said"),
        0 => "nothing lost, nothing doubled".to_owned(),
        count => count.to_string(),
    };
    rows.push(("problems".to_owned(), verdict));
    rows
}
