//! The `boxwright` program: arguments, printing, signals and exit codes. Everything else is in the libraries.
//!
//! stdout is data, stderr is talk. Exit codes: 0 done, 1 failed, 2 bad arguments, 3 done but data was lost, 4 done and something is not as it should be.

mod args;
mod commands;
mod signals;
mod ui;

use std::io::IsTerminal;
use std::process::ExitCode;

use args::{Cli, Command};
use tracing_subscriber::EnvFilter;

/// One allocator for the program and the C libraries in it (`override`). A worker's frames are handed from thread to thread and let go of in
/// another order than they came; with glibc's arenas, two thirds of what a worker held after an hour of ten vehicles was free and not given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything is where it belongs.
    Done,
    /// Done, but some input did not become labels.
    DataLost,
    /// Done, and what was checked is not as it should be.
    Flagged,
}

fn main() -> ExitCode {
    let cli = Cli::read();
    start_log(cli.verbose, cli.log_json);
    match dispatch(cli.command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::DataLost) => ExitCode::from(3),
        Ok(Outcome::Flagged) => ExitCode::from(4),
        Err(error) => {
            ui::print_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Demo(args) => commands::demo::execute(&args),
        Command::Run(args) => commands::run::execute(&args),
        Command::Replay(args) => commands::replay::execute(&args),
        Command::View(args) => commands::view::execute(&args),
        Command::Review(args) => commands::review::execute(&args),
        Command::Labels(args) => commands::labels::execute(&args),
        Command::Verify(args) => commands::verify::execute(&args),
        Command::Sync(args) => commands::sync::execute(&args),
        Command::Calib(args) => commands::calib::execute(&args),
        Command::Eval(args) => commands::eval::execute(&args),
        Command::Track(args) => commands::track::execute(&args),
        Command::Topics(args) => commands::topics::execute(&args),
        Command::Broker(args) => commands::broker::execute(&args),
        Command::Health(args) => commands::health::execute(&args),
        Command::Config(args) => commands::config::execute(&args),
    }
}

/// Warnings of every library are shown; more on request.
fn start_log(verbose: u8, json: bool) {
    let filter = match verbose {
        0 => "warn,nisshi=error,nisshi_broker=error,nisshi_storage=error",
        1 => "warn,nisshi=error,nisshi_broker=error,nisshi_storage=error,boxwright=info",
        2 => "info,boxwright=debug",
        _ => "debug",
    };
    // A file or a pipe has no use for colours; `NO_COLOR` is for people who have none either (no-color.org).
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(std::io::stderr).with_ansi(colours);
    if json { log.json().init() } else { log.without_time().init() }
}
