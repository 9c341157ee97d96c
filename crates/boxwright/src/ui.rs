//! What a person sees: progress, tables, errors. The one place of the program that prints.

use std::borrow::Cow;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use boxwright_pipeline::{Progress, Report};
use indicatif::{ProgressBar, ProgressStyle};

/// Prints data to stdout. A reader that has gone away (`| head`) has seen what it wanted: that is no failure.
/// Any other failure ends the program, since what it prints is what it was asked for.
pub(crate) fn print(text: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}")
        && error.kind() != ErrorKind::BrokenPipe
    {
        say(&format!("error: cannot write to stdout: {error}"));
        std::process::exit(1);
    }
}

/// Says something on stderr.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints an error with all its causes; a `hint:` stays on a line of its own.
pub(crate) fn print_error(error: &anyhow::Error) {
    let mut lines = Vec::new();
    let mut hints = Vec::new();
    for cause in error.chain() {
        for line in cause.to_string().lines() {
            let hint = line.trim_start().starts_with("hint:");
            let kept = if hint { &mut hints } else { &mut lines };
            // Many errors end with the text of their cause.
            if !kept.iter().any(|said: &String| said.ends_with(line)) {
                kept.push(line.to_owned());
            }
        }
    }
    if hints.is_empty() {
        hints.extend(error.chain().find_map(|cause| hint_for(cause.downcast_ref::<std::io::Error>()?.kind())).map(str::to_owned));
    }
    say(&format!("error: {}", lines.join("\n  because: ")));
    hints.iter().for_each(|hint| say(hint));
}

/// What helps where the system refused a file and nobody who knew more said anything.
fn hint_for(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NotFound => Some("hint: is the path right? It counts from the folder that the program was started in"),
        ErrorKind::PermissionDenied => Some("hint: the user who runs the program must be allowed to do this"),
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => Some("hint: a file is in the way of a folder: choose another name"),
        ErrorKind::IsADirectory => Some("hint: a file is expected here, and this is a folder"),
        ErrorKind::StorageFull => Some("hint: the disk is full"),
        _ => None,
    }
}

/// A word of a command that people copy into a shell.
pub(crate) fn quoted(word: &str) -> Cow<'_, str> {
    // Only a NUL cannot be quoted, and no argument can have one.
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

/// The same of a path.
pub(crate) fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy()).into_owned()
}

/// A progress bar that reads the run's counters from a thread of its own. Hidden where stderr is no terminal.
pub(crate) struct ProgressDisplay {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressDisplay {
    /// Starts it; `total_frames` makes it a bar, `None` a spinner.
    pub(crate) fn start(progress: Arc<Progress>, total_frames: Option<u64>) -> Self {
        let bar = match total_frames {
            Some(total) => ProgressBar::new(total).with_style(style("{bar:32} {pos}/{len} messages  {msg}  {elapsed}")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {pos} messages  {msg}  {elapsed}")),
        };
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                bar.set_position(progress.frames.load(Ordering::Relaxed));
                bar.set_message(format!(
                    "{} sweeps, {} samples, {} clips",
                    progress.sweeps.load(Ordering::Relaxed),
                    progress.samples.load(Ordering::Relaxed),
                    progress.clips.load(Ordering::Relaxed)
                ));
                std::thread::sleep(Duration::from_millis(100));
            }
            bar.finish_and_clear();
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A bar for work that counts itself.
pub(crate) fn bar(total: Option<u64>) -> ProgressBar {
    match total {
        Some(total) => ProgressBar::new(total).with_style(style("{bar:32} {pos}/{len} {msg}  {elapsed}")),
        None => ProgressBar::new_spinner().with_style(style("{spinner} {pos} {msg}  {elapsed}")),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Two aligned columns.
pub(crate) fn table(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    rows.iter().map(|(name, value)| format!("  {name:<width$}  {value}\n")).collect()
}

/// The report of a run that wrote nothing as rows of a table: nothing was labelled, so nothing is said of labels.
pub(crate) fn dry_rows(report: &Report) -> Vec<(String, String)> {
    let mut rows = vec![messages_in(report)];
    rows.extend(accounted(report));
    rows.push(row("clips, where none is sealed yet", clips(report)));
    let rate = report.frames as f64 / report.seconds.max(f64::MIN_POSITIVE);
    rows.push(row("time", format!("{:.1} s, {rate:.0} messages/s", report.seconds)));
    rows
}

/// The report of a run as rows of a table.
pub(crate) fn report_rows(report: &Report) -> Vec<(String, String)> {
    let mut rows =
        vec![messages_in(report), row("samples", format!("{} ({} with a sensor missing)", report.samples, report.partial_samples))];
    let dropped: Vec<String> = report.dropped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    rows.push(row("frames in no sample", if dropped.is_empty() { "none".to_owned() } else { dropped.join(", ") }));
    rows.extend(accounted(report));
    rows.push(row("boxes", report.boxes.to_string()));
    rows.push(row("tracks", report.tracks.to_string()));
    rows.push(row("findings", report.findings.to_string()));
    rows.push(row("clips sealed", clips(report)));
    rows.push(row("shards", format!("{} files, {}", report.shards, bytes(report.bytes))));
    rows.push(row("time", format!("{:.1} s, {:.1} sweeps/s", report.seconds, report.sweeps_per_s)));
    if let Some(view) = report.view {
        rows.push(row("viewer", format!("{} samples shown, {} skipped because it was busy", view.shown, view.dropped)));
    }
    rows
}

fn messages_in(report: &Report) -> (String, String) {
    let kinds: Vec<String> = report.frames_by_kind.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    row("messages in", format!("{}{}", report.frames, in_brackets(&kinds)))
}

/// Where messages went that are in no clip as frames.
fn accounted(report: &Report) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    if report.late > 0 {
        rows.push(row("late (in the late table)", report.late.to_string()));
    }
    if report.dead_lettered > 0 {
        let reasons: Vec<String> = report.dead_letters.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        rows.push(row("set aside", reasons.join(", ")));
    }
    if report.forced_out_of_order > 0 {
        rows.push(row("left the order buffer early", report.forced_out_of_order.to_string()));
    }
    rows
}

fn clips(report: &Report) -> String {
    let mut text = report.clips.to_string();
    if report.clips_already_sealed > 0 {
        text += &format!(", {} sealed by another worker before", report.clips_already_sealed);
    }
    if report.clips_left_open > 0 {
        text += &format!(", {} left open (run again to finish)", report.clips_left_open);
    }
    text
}

fn in_brackets(parts: &[String]) -> String {
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

pub(crate) fn row(name: &str, value: String) -> (String, String) {
    (name.to_owned(), value)
}

/// A number of bytes as people read it.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}
