//! `boxwright verify`: proves that a dataset is whole, alone or against the topics that it was made of.

use anyhow::Context;
use boxwright_shard::{Dataset, OffsetFate, Verification, verify};

use super::{load_config, locate};
use crate::args::VerifyArgs;
use crate::{Outcome, ui};

/// Problems that are printed; `--json` has all of them.
const PRINTED_PROBLEMS: usize = 40;

pub(crate) fn execute(args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let config = load_config(args.config.as_deref(), args.brokers.as_deref())?;
    let dataset = Dataset::open_at(&locate(&args.dataset, &config.store)?)?;
    let mut found = verify::verify(&dataset, |_| {})?;
    found.settle(|_, _| OffsetFate::Lost);
    report(&found, args)
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
    let verdict = if found.is_whole() { "nothing lost, nothing doubled".to_owned() } else { format!("{}", found.problems.len()) };
    rows.push(("problems".to_owned(), verdict));
    rows
}
