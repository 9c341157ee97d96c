//! What was done, what it met, and what came of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::args::Args;
use crate::brokers::Broker;
use crate::judge::Verdict;
use crate::plan::Moment;
use crate::round::Round;

/// Kills at one kind of moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Kills {
    /// Done.
    pub(crate) done: u32,
    /// What the worker left shows that the moment was really met.
    pub(crate) hit: u32,
}

/// The account of a torture. Serialises to the object that `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) broker: &'static str,
    pub(crate) rounds: u32,
    pub(crate) kills: u32,
    pub(crate) kills_by_moment: BTreeMap<&'static str, Kills>,
    pub(crate) broker_stops: u32,
    pub(crate) broker_kills: u32,
    pub(crate) pauses: u32,
    /// Paused workers that found their clip sealed by another when they woke.
    pub(crate) fenced: u32,
    pub(crate) terms: u32,
    pub(crate) joined: u32,
    pub(crate) left: u32,
    /// Workers that ended with a clear error because the disk was full.
    pub(crate) disk_full: u32,
    pub(crate) clock_jumps: u32,
    pub(crate) clips: u64,
    pub(crate) messages: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) set_aside: u64,
    pub(crate) differing_files: u64,
    pub(crate) uncommitted_partitions: u64,
    pub(crate) wall_s: f64,
    pub(crate) peak_kib: u64,
    /// What is wrong, in words.
    pub(crate) faults: Vec<String>,
    /// Where everything of the round that is wrong was left.
    pub(crate) kept: Option<PathBuf>,
}

impl Report {
    pub(crate) fn new(args: &Args, broker: &Broker) -> Self {
        Self {
            seed: args.seed(),
            broker: broker.name(),
            rounds: 0,
            kills: 0,
            kills_by_moment: BTreeMap::new(),
            broker_stops: 0,
            broker_kills: 0,
            pauses: 0,
            fenced: 0,
            terms: 0,
            joined: 0,
            left: 0,
            disk_full: 0,
            clock_jumps: 0,
            clips: 0,
            messages: 0,
            lost: 0,
            doubled: 0,
            set_aside: 0,
            differing_files: 0,
            uncommitted_partitions: 0,
            wall_s: 0.0,
            peak_kib: 0,
            faults: Vec::new(),
            kept: None,
        }
    }

    pub(crate) fn kill(&mut self, moment: Moment, hit: bool) {
        self.kills += 1;
        let kills = self.kills_by_moment.entry(moment.as_str()).or_default();
        kills.done += 1;
        kills.hit += u32::from(hit);
    }

    pub(crate) fn broker_stop(&mut self, hard: bool) {
        if hard {
            self.broker_kills += 1;
        } else {
            self.broker_stops += 1;
        }
    }

    pub(crate) fn keep(&mut self, folder: PathBuf) {
        self.kept = Some(folder);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn to_table(&self) -> String {
        let mut rows = vec![
            ("seed", self.seed.to_string()),
            ("broker", format!("{}: stopped {} times, killed {} times", self.broker, self.broker_stops, self.broker_kills)),
            ("workers killed", self.kills.to_string()),
        ];
        let moments: Vec<(String, String)> = self
            .kills_by_moment
            .iter()
            .map(|(moment, kills)| (format!("  {moment}"), format!("{}, of which {} really met it", kills.done, kills.hit)))
            .collect();
        rows.extend(moments.iter().map(|(name, value)| (name.as_str(), value.clone())));
        rows.extend([
            ("workers paused", format!("{}, of which {} found their clip sealed by another", self.pauses, self.fenced)),
            ("workers stopped", format!("{} by SIGTERM, and {} that left", self.terms, self.left)),
            ("workers joined", self.joined.to_string()),
            ("workers out of disk", self.disk_full.to_string()),
            ("clocks off", self.clock_jumps.to_string()),
            ("rounds", format!("{} ({} clips, {} messages)", self.rounds, self.clips, self.messages)),
            ("lost", self.lost.to_string()),
            ("doubled", self.doubled.to_string()),
            ("set aside", self.set_aside.to_string()),
            ("files that differ", self.differing_files.to_string()),
            ("partitions uncommitted", self.uncommitted_partitions.to_string()),
            ("time", format!("{:.0} s", self.wall_s)),
            ("largest worker", format!("{} MiB", self.peak_kib / 1024)),
        ]);
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let mut text: String = rows.iter().map(|(name, value)| format!("  {name:<width$}  {value}\n")).collect();
        for fault in &self.faults {
            text.push_str(&format!("WRONG: {fault}\n"));
        }
        if let Some(kept) = &self.kept {
            text.push_str(&format!("kept: {}\nagain: --seed {}\n", kept.display(), self.seed));
        }
        text.trim_end().to_owned()
    }

    /// Takes the account of a round that was judged.
    pub(crate) fn add(&mut self, round: &mut Round, verdict: Verdict) {
        self.rounds += 1;
        self.clips += verdict.clips;
        self.messages += verdict.account.messages;
        self.lost += verdict.account.lost;
        self.doubled += verdict.account.doubled;
        self.set_aside += verdict.account.set_aside;
        self.differing_files += verdict.differing.len() as u64;
        self.uncommitted_partitions += verdict.uncommitted.len() as u64;
        for fault in verdict.faults() {
            round.fault(fault);
        }
        self.faults.extend(round.faults.iter().cloned());
    }
}
