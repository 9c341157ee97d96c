//! Workers: `boxwright run` as a process, with its log in a file and its memory looked at.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use boxwright_tests::program;

/// How workers of a round are started.
pub(crate) struct Launch {
    config: PathBuf,
    dataset: PathBuf,
    folder: PathBuf,
}

/// What a worker has to live with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handicap {
    None,
    /// No file may grow beyond this; a write beyond it fails, as it does on a full disk.
    FileKib(u32),
    /// Its wall clock is off by what a file says, [`Launch::set_clock`]; the file is read every second.
    FakeClock,
}

impl Launch {
    pub(crate) fn new(config: PathBuf, dataset: PathBuf, folder: PathBuf) -> Self {
        Self { config, dataset, folder }
    }

    pub(crate) fn start(&self, name: &str, more: &[&str]) -> anyhow::Result<Worker> {
        self.start_with(name, more, Handicap::None)
    }

    pub(crate) fn start_with(&self, name: &str, more: &[&str], handicap: Handicap) -> anyhow::Result<Worker> {
        let log = self.folder.join(format!("{name}.log"));
        let out = self.folder.join(format!("{name}.out"));
        let mut command = match handicap {
            Handicap::FileKib(kib) => {
                let mut command = Command::new("bash");
                // An ignored SIGXFSZ stays ignored in the program, so that the write fails instead.
                command.args(["-c", &format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\""), "bash"]).arg(program());
                command
            }
            _ => Command::new(program()),
        };
        if handicap == Handicap::FakeClock {
            command.env("LD_PRELOAD", faketime()?).env("FAKETIME_TIMESTAMP_FILE", self.clock());
            command.env("FAKETIME_CACHE_DURATION", "1");
            // Only the wall clock: a machine's steady clock does not jump.
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        }
        command.args(["-v", "run", "--config"]).arg(&self.config).arg("--dataset").arg(&self.dataset).args(more);
        command.stdin(Stdio::null());
        command.stdout(File::create(&out).with_context(|| format!("cannot create {}", out.display()))?);
        command.stderr(File::create(&log).with_context(|| format!("cannot create {}", log.display()))?);
        let child = command.spawn().context("cannot start boxwright")?;
        Ok(Worker { child, log, peak_kib: 0 })
    }

    /// Sets the clock of workers that have a false one, in hours from the true one.
    pub(crate) fn set_clock(&self, hours: i32) -> anyhow::Result<()> {
        std::fs::write(self.clock(), format!("{hours:+}h\n")).context("cannot set the clock")
    }

    fn clock(&self) -> PathBuf {
        self.folder.join("clock")
    }
}

/// Where Debian's libfaketime is.
fn faketime() -> anyhow::Result<PathBuf> {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    let libraries = places.map(|place| PathBuf::from(place).join("faketime/libfaketimeMT.so.1"));
    let found = libraries.into_iter().find(|library| library.exists());
    found.context("libfaketime is not installed\nhint: Debian: apt-get install libfaketime")
}

/// A running worker. Dropping it kills it.
pub(crate) struct Worker {
    child: Child,
    pub(crate) log: PathBuf,
    /// Largest resident memory that was seen, in KiB.
    pub(crate) peak_kib: u64,
}

impl Worker {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has. Looks at its memory where it has not.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.look();
        Ok(self.child.try_wait()?)
    }

    /// kill -9, now.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.look();
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn terminate(&self) -> anyhow::Result<()> {
        signal(self.pid(), "TERM")
    }

    pub(crate) fn pause(&self) -> anyhow::Result<()> {
        signal(self.pid(), "STOP")
    }

    pub(crate) fn wake(&self) -> anyhow::Result<()> {
        signal(self.pid(), "CONT")
    }

    pub(crate) fn wait(mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.await_end(limit)
    }

    /// Waits for its end; one that does not come is an error.
    pub(crate) fn await_end(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > until {
                bail!("a worker did not end within {} s: see {}", limit.as_secs(), self.log.display());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn look(&mut self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok());
        self.peak_kib = self.peak_kib.max(peak.unwrap_or(0));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by name.
pub(crate) fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "cannot send SIG{name} to {pid}");
    Ok(())
}
