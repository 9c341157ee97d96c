//! Tortures `boxwright run` from outside, and judges what is left: nothing lost, nothing doubled, every file the same to the byte.
//!
//! ```text
//! cargo run --release -p boxwright-tests --bin torture -- --kills 200 --broker-stops 20 --pauses 20 --seed 7 --kafka
//! ```
//! A few vehicles drive through a synthetic street, once. An unbroken run of one worker makes the reference. Then rounds begin: each is a
//! new consumer group and a new dataset over the same topics. Workers are killed, paused, stopped, joined, and their broker and disk taken
//! away, until the work of the round is done or the chaos of the plan is spent; a last worker finishes the round; the judge compares it
//! with the reference. Nothing in the program helps: it is the program that people run, and moments to kill it at are found by watching
//! the dataset's folder.
//!
//! Read in this order: `args` → `plan` (what is done, drawn from the seed) → `data` (topics and reference) → `brokers` → `workers` →
//! `windows` (moments) → `round` → `chaos` (one function a deed) → `judge` → `report`.
//!
//! Exit codes: 0 all is as it must be, 1 something is lost, doubled or different, 2 bad arguments.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool of the command line: the report is data, the rest is talk")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use args::Args;
use brokers::Broker;
use data::Data;
use plan::Step;
use report::Report;
use round::Round;

mod args;
mod brokers;
mod chaos;
mod data;
mod judge;
mod plan;
mod report;
mod round;
mod windows;
mod workers;

/// Most rounds: a plan that makes no headway must end too.
const MAX_ROUNDS: u32 = 400;
/// Steps to look ahead for one that needs a small disk: about what a round takes.
const ROUND_STEPS: usize = 25;

fn main() -> ExitCode {
    let args = Args::parse();
    match torture(&args) {
        Ok(report) => {
            let text = if args.json { report.to_json() } else { report.to_table() };
            println!("{text}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error:#}\nseed: {}", args.seed());
            ExitCode::FAILURE
        }
    }
}

fn torture(args: &Args) -> anyhow::Result<Report> {
    let started = Instant::now();
    let folder = args.work_folder()?;
    eprintln!("seed {}, work in {}", args.seed(), folder.path().display());
    let mut broker = Broker::start(args, folder.path())?;
    let data = Data::prepare(args, &broker, folder.path())?;
    let plan = plan::draw(&args.wanted(&broker), args.seed());
    let mut report = Report::new(args, &broker);
    let share = plan.len().div_ceil(args.rounds.max(1) as usize).max(1);
    let bar = progress_bar(plan.len(), args.json);

    let mut left: &[Step] = &plan;
    while report.rounds < args.rounds || !left.is_empty() {
        anyhow::ensure!(report.rounds < MAX_ROUNDS, "{} deeds are left after {MAX_ROUNDS} rounds", left.len());
        let small_disk = left.iter().take(ROUND_STEPS.min(share)).any(Step::needs_small_disk);
        let mut round = Round::start(report.rounds + 1, &data, folder.path(), small_disk)?;
        let mut done = 0;
        while done < left.len().min(share) && !round.is_done()? {
            round.act(&left[done], &mut broker, &mut report)?;
            done += 1;
            bar.inc(1);
            bar.set_message(format!("round {}, {} of {} clips", round.number, round.sealed()?, data.clips()));
        }
        left = &left[done..];
        round.finish(&mut report)?;
        let verdict = judge::judge(&data, &round)?;
        report.add(&mut round, verdict);
        if !round.is_clean() {
            // Everything stays for a person to look at, and what the next rounds would find is likely the same.
            bar.abandon();
            report.keep(folder.keep());
            report.wall_s = started.elapsed().as_secs_f64();
            return Ok(report);
        }
        if !args.keep {
            round.remove();
        }
    }
    bar.finish_and_clear();
    if args.keep {
        report.keep(folder.keep());
    }
    report.wall_s = started.elapsed().as_secs_f64();
    Ok(report)
}

fn progress_bar(steps: usize, hidden: bool) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} deeds  {msg}  {elapsed}");
    ProgressBar::new(steps as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
