//! Runs a file of conformance cases through the synchronisers.
//!
//! `cargo run --release -p boxwright-timesync --example conformance -- FILE.json`
//!
//! The file is a JSON object whose lists hold cases (or is one such list). A case has the policy that it names, else that of its list:
//! `approximate_time` (lists `upstream_suite` and `generated`), `exact_time`, `approximate_epsilon_time`, `input_aligner`, `latest_time` or
//! `python_slop`. Prints a line for each case that differs, cannot be read or has another policy, and ends with `N passed, M failed`. Exit
//! code: 0 all passed, 1 one failed, 2 bad arguments or a file that cannot be read or holds no case.

use std::io::Write;
use std::process::ExitCode;

mod cases;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        return usage("expected exactly one argument, the file of cases\nhint: conformance FILE.json");
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return usage(&format!("cannot read {}: {error}", path.display())),
    };
    match cases::run_file(&text) {
        Ok(report) => print(&report),
        Err(error) => usage(&format!("{}: {error}", path.display())),
    }
}

fn print(report: &cases::Report) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    let lines = report.failures.iter().map(|line| writeln!(stdout, "{line}")).collect::<Vec<_>>();
    let summary = writeln!(stdout, "{} passed, {} failed", report.passed, report.failures.len());
    // A reader that went away has seen enough; the exit code still tells.
    drop((lines, summary));
    ExitCode::from(u8::from(!report.failures.is_empty()))
}

fn usage(message: &str) -> ExitCode {
    // Nothing is left to do when stderr is gone too.
    drop(writeln!(std::io::stderr(), "{message}"));
    ExitCode::from(2)
}
