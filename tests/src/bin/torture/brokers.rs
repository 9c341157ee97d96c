//! The broker, which is tortured too.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use boxwright_tests::{program, root};

use crate::args::Args;
use crate::workers::signal;

/// How long a broker may take to serve, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker, and how it is stopped and started.
pub(crate) struct Broker {
    address: String,
    kind: Kind,
}

enum Kind {
    /// `boxwright broker` as a process.
    Embedded { child: Option<Child>, folder: PathBuf },
    /// Through `tests/kafka`; `ours` where it is to be wiped at the end.
    Kafka { folder: PathBuf, ours: bool },
    /// Somebody else's: it is left alone.
    Foreign,
}

impl Broker {
    pub(crate) fn start(args: &Args, work: &Path) -> anyhow::Result<Self> {
        let mut broker = match (&args.brokers, args.kafka) {
            (Some(address), _) => {
                let kind = args.kafka_dir.clone().map_or(Kind::Foreign, |folder| Kind::Kafka { folder, ours: false });
                return Ok(Self { address: address.clone(), kind });
            }
            (None, true) => Self { address: free_address()?, kind: Kind::Kafka { folder: work.join("kafka"), ours: true } },
            (None, false) => Self { address: free_address()?, kind: Kind::Embedded { child: None, folder: work.join("broker") } },
        };
        broker.up()?;
        Ok(broker)
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Embedded { .. } => "embedded",
            Kind::Kafka { .. } => "Apache Kafka",
            Kind::Foreign => "foreign",
        }
    }

    pub(crate) fn can_stop(&self) -> bool {
        !matches!(self.kind, Kind::Foreign)
    }

    /// Starts it where it was, with what it kept.
    pub(crate) fn up(&mut self) -> anyhow::Result<()> {
        let port = self.address.rsplit(':').next().unwrap_or_default().to_owned();
        match &mut self.kind {
            Kind::Embedded { child, folder } => {
                std::fs::create_dir_all(&*folder).context("cannot create the broker's folder")?;
                let log = std::fs::File::options().create(true).append(true).open(folder.with_extension("log"))?;
                let mut command = Command::new(program());
                command.args(["broker", "--listen", &self.address, "--data"]).arg(folder.join("data"));
                let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
                *child = Some(started);
                self.await_answer()
            }
            Kind::Kafka { folder, .. } => script(&["start", &port], folder),
            Kind::Foreign => Ok(()),
        }
    }

    /// Takes it away: in good order, or with kill -9.
    pub(crate) fn down(&mut self, hard: bool) -> anyhow::Result<()> {
        match &mut self.kind {
            Kind::Embedded { child, .. } => {
                let Some(mut child) = child.take() else { return Ok(()) };
                if hard {
                    child.kill()?;
                } else {
                    signal(child.id(), "TERM")?;
                }
                let limit = Instant::now() + PATIENCE;
                while child.try_wait()?.is_none() {
                    if Instant::now() > limit {
                        child.kill()?;
                        bail!("the broker did not end within {} s of SIGTERM", PATIENCE.as_secs());
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(())
            }
            Kind::Kafka { folder, .. } => script(&[if hard { "kill" } else { "stop" }], folder),
            Kind::Foreign => Ok(()),
        }
    }

    fn await_answer(&mut self) -> anyhow::Result<()> {
        let limit = Instant::now() + PATIENCE;
        while TcpStream::connect(&self.address).is_err() {
            ensure!(Instant::now() < limit, "the broker at {} does not answer", self.address);
            if let Kind::Embedded { child: Some(child), folder } = &mut self.kind
                && let Some(status) = child.try_wait()?
            {
                bail!("the broker ended with {status}: see {}", folder.with_extension("log").display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        match &mut self.kind {
            Kind::Embedded { child: Some(child), .. } => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Kind::Kafka { folder, ours: true } => {
                let _ = script(&["kill"], folder);
            }
            _ => {}
        }
    }
}

fn script(command: &[&str], folder: &Path) -> anyhow::Result<()> {
    let kafka = root().join("tests/kafka");
    // Its standard error is talk, kept only where it fails; the broker itself writes to its folder.
    let output = Command::new("bash").arg(kafka).args(command).arg(folder).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "tests/kafka {command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn free_address() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.to_string())
}
