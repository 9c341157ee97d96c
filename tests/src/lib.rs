//! What the tests share: the program, the drives, Python, a broker, and recordings that somebody answers.
//!
//! Real drives are read in place from the folder `shared` beside this repository. They are not part of it. Where the folder is missing, tests that
//! need it fail if `CI` is set and are left out with a line otherwise.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "this crate serves tests alone: to fail loudly is its work, and what it needs comes from the environment of tests/run"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

pub mod interleaved;
pub mod points;
pub mod unsteady;

/// Root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

/// A thing the test needs that this machine lacks: an error in CI, a line elsewhere.
pub fn missing(what: &str, hint: &str) {
    assert!(!in_ci(), "{what}\nhint: {hint}");
    eprintln!("left out: {what} ({hint})");
}

/// The brokers that the tests are to use instead of one in the process, where `BOXWRIGHT_TEST_BROKERS` names some.
#[must_use]
pub fn test_brokers() -> Option<String> {
    std::env::var("BOXWRIGHT_TEST_BROKERS").ok().filter(|brokers| !brokers.is_empty())
}

/// The folder of real drives and vectors, if it is here.
#[must_use]
pub fn shared() -> Option<PathBuf> {
    let folder = root().parent().unwrap().join("shared");
    if folder.is_dir() {
        return Some(folder);
    }
    missing("the folder of real drives is missing", "it is expected beside the repository, as `shared`");
    None
}

/// The Python that tests/run has prepared.
#[must_use]
pub fn python() -> Option<PathBuf> {
    let prepared = std::env::var_os("BOXWRIGHT_TEST_PYTHON").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let found = prepared.or_else(|| Some(cache?.join("boxwright/venv/bin/python"))).filter(|path| path.exists());
    if found.is_none() {
        missing("the Python environment is missing", "bash tests/run makes it");
    }
    found
}

/// Runs a Python script with the prepared Python and returns its output; panics where it fails.
pub fn run_python(args: &[&str]) -> Option<String> {
    let output = Command::new(python()?).args(args).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "python {args:?} failed:\n{out}\n{err}");
    Some(out.into_owned())
}

/// Restores a packed drive once a process. `format` is `kitti-raw` or `mcap`.
fn unpack(format: &str, drive: &str, out: &Path) -> Option<()> {
    let script = shared()?.join("data/unpack.py");
    run_python(&[script.to_str().unwrap(), format, drive, out.to_str().unwrap()])?;
    Some(())
}

fn drives_folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path()
}

/// 90 frames of a KITTI raw drive in KITTI's own layout.
#[must_use]
pub fn kitti_raw() -> Option<&'static Path> {
    static DRIVE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let restore = || {
        let folder = drives_folder().join("kitti");
        unpack("kitti-raw", "kitti_0005", &folder)?;
        Some(folder)
    };
    DRIVE.get_or_init(restore).as_deref()
}

/// 40 sweeps of a PandaSet drive as an MCAP of Foxglove messages.
#[must_use]
pub fn pandaset_mcap() -> Option<&'static Path> {
    static DRIVE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let restore = || {
        let file = drives_folder().join("pandaset_002.mcap");
        unpack("mcap", "pandaset_002", &file)?;
        Some(file)
    };
    DRIVE.get_or_init(restore).as_deref()
}

/// Four frames of a KITTI drive as an MCAP of ROS 2 messages, written by somebody else's tool.
#[must_use]
pub fn kitti_ros2_mcap() -> Option<PathBuf> {
    Some(shared()?.join("data/mcap_kitti_0005/kitti_0005_f0-3.mcap"))
}

/// The program as a user has it.
#[must_use]
pub fn program() -> PathBuf {
    // Tests stand in a folder below the program, tools beside it.
    let here = std::env::current_exe().unwrap();
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join("boxwright")).find(|program| program.exists());
    found.unwrap_or_else(|| panic!("no program boxwright near {}\nhint: cargo build --release --workspace", here.display()))
}

/// What a command of the program ended with.
pub struct Ended {
    /// Exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// stdout.
    pub out: String,
    /// stderr.
    pub err: String,
}

impl Ended {
    /// The JSON object that stdout ends with.
    #[must_use]
    pub fn json(&self) -> Value {
        let last = self.out.lines().next_back().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("no JSON on stdout ({error}):\n{}\n{}", self.out, self.err))
    }

    /// Panics unless the exit code is as expected.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Starts the program; `wait` ends it.
#[must_use]
pub fn start(args: &[&str]) -> Child {
    Command::new(program()).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a started program, at most five minutes: a hang is a failure, not a stuck CI.
#[must_use]
pub fn wait(child: Child) -> Ended {
    let id = child.id().to_string();
    let reader = std::thread::spawn(move || child.wait_with_output().unwrap());
    let limit = Instant::now() + Duration::from_secs(300);
    while !reader.is_finished() {
        if Instant::now() > limit {
            let _ = Command::new("kill").args(["-9", &id]).status();
            panic!("the program did not end within five minutes");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    reader.join().unwrap().into()
}

/// Runs the program to its end.
#[must_use]
pub fn boxwright(args: &[&str]) -> Ended {
    wait(start(args))
}

/// Every file below a folder with its bytes, by path relative to it.
#[must_use]
pub fn files_below(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}
