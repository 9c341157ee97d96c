//! A round: a new group, a new dataset, and the workers that share them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::data::{CALM_SESSION, Data, IDLE, RUN_LIMIT};
use crate::plan::Step;
use crate::report::Report;
use crate::windows::Watch;
use crate::workers::{Handicap, Launch, Worker};

/// A round is done when so many in a hundred of its clips are sealed: the last clip of each vehicle waits for its end.
const DONE_PERCENT: usize = 90;
/// How long a worker may take to end after SIGTERM.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at the workers.
const LOOK: Duration = Duration::from_millis(10);
/// Room on a small disk: several times the dataset.
const SMALL_DISK_MIB: u32 = 192;

/// See the module.
pub(crate) struct Round {
    pub(crate) number: u32,
    pub(crate) folder: PathBuf,
    pub(crate) dataset: PathBuf,
    /// Full name of its consumer group.
    pub(crate) group: String,
    pub(crate) launch: Launch,
    /// The same group and dataset, for the worker that does what is left.
    last: Launch,
    pub(crate) workers: Vec<Worker>,
    pub(crate) watch: Watch,
    /// Where a small disk is mounted.
    pub(crate) small_disk: Option<PathBuf>,
    /// What went wrong, in words; empty where nothing has.
    pub(crate) faults: Vec<String>,
    pub(crate) peak_kib: u64,
    pub(crate) session: Duration,
    pub(crate) clips: usize,
    pub(crate) brokers: String,
    started: u32,
    since: Instant,
}

impl Round {
    pub(crate) fn start(number: u32, data: &Data, work: &Path, small_disk: bool) -> anyhow::Result<Self> {
        let name = format!("round-{number}");
        let folder = work.join(&name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let small_disk = small_disk.then(|| mount(&folder.join("disk"))).flatten();
        let dataset = small_disk.as_deref().unwrap_or(&folder).join("dataset");
        std::fs::create_dir_all(&dataset).with_context(|| format!("cannot create {}", dataset.display()))?;
        Ok(Self {
            number,
            launch: data.launch(&name, &folder, &dataset, data.session())?,
            last: data.launch(&name, &folder, &dataset, CALM_SESSION)?,
            group: data.group(&name),
            watch: Watch::new(&dataset)?,
            folder,
            dataset,
            workers: Vec::new(),
            small_disk,
            faults: Vec::new(),
            peak_kib: 0,
            session: data.session(),
            clips: data.clips(),
            brokers: data.kafka.brokers.clone(),
            started: 0,
            since: Instant::now(),
        })
    }

    /// Clips that are sealed.
    pub(crate) fn sealed(&self) -> anyhow::Result<usize> {
        let vehicles = std::fs::read_dir(self.dataset.join("manifest")).into_iter().flatten().flatten();
        let entries = vehicles.flat_map(|vehicle| std::fs::read_dir(vehicle.path()).into_iter().flatten().flatten());
        Ok(entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.ends_with("-r0.json"))).count())
    }

    /// Whether so little is left that chaos would meet nobody at work, or something is wrong already.
    pub(crate) fn is_done(&self) -> anyhow::Result<bool> {
        Ok(self.sealed()? * 100 >= self.clips * DONE_PERCENT || !self.is_clean())
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// Writes down what is done and when, beside the logs of the workers.
    pub(crate) fn note(&self, what: &str) {
        let line = format!("{:9.3} s  {what}\n", self.since.elapsed().as_secs_f64());
        let file = File::options().create(true).append(true).open(self.folder.join("deeds.log"));
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }

    pub(crate) fn fault(&mut self, what: String) {
        self.note(&format!("WRONG: {what}"));
        self.faults.push(format!("round {}: {what}", self.number));
    }

    /// Starts one more worker.
    pub(crate) fn join(&mut self, handicap: Handicap) -> anyhow::Result<usize> {
        self.started += 1;
        let worker = self.launch.start_with(&format!("worker-{}", self.started), &[], handicap)?;
        self.note(&format!("worker-{} is process {}", self.started, worker.pid()));
        self.workers.push(worker);
        Ok(self.workers.len() - 1)
    }

    /// Lets workers join, or leave in good order, until there are so many.
    pub(crate) fn have(&mut self, workers: usize, report: &mut Report) -> anyhow::Result<()> {
        while self.workers.len() > workers {
            report.left += 1;
            self.leave(0)?;
        }
        while self.workers.len() < workers {
            report.joined += 1;
            self.join(Handicap::None)?;
        }
        Ok(())
    }

    /// Stops a worker in good order.
    pub(crate) fn leave(&mut self, index: usize) -> anyhow::Result<()> {
        let mut worker = self.take(index);
        worker.terminate()?;
        let status = worker.await_end(DRAIN_LIMIT);
        self.note_peak(&worker);
        match status {
            // A signal that comes before the program listens for it ends it as signals do.
            Ok(status) if status.code() == Some(0) || status.code().is_none() => {}
            Ok(status) => self.fault(format!("a worker ended with {status} after SIGTERM: {}", worker.log.display())),
            Err(error) => self.fault(error.to_string()),
        }
        Ok(())
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, index: usize) -> anyhow::Result<u32> {
        let mut worker = self.take(index);
        let pid = worker.pid();
        if let Some(status) = worker.ended()? {
            self.ended_by_itself(&worker, status);
        }
        worker.kill()?;
        self.note_peak(&worker);
        Ok(pid)
    }

    pub(crate) fn index_of(&self, pid: u32) -> Option<usize> {
        self.workers.iter().position(|worker| worker.pid() == pid)
    }

    /// Waits, and notices workers that end by themselves.
    pub(crate) fn wait(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.look()?;
            std::thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// Notices workers that ended by themselves: none should.
    pub(crate) fn look(&mut self) -> anyhow::Result<()> {
        let mut index = 0;
        while index < self.workers.len() {
            match self.workers[index].ended()? {
                Some(status) => {
                    let worker = self.take(index);
                    self.ended_by_itself(&worker, status);
                }
                None => index += 1,
            }
        }
        Ok(())
    }

    /// Lets a last worker do what is left.
    pub(crate) fn finish(&mut self, report: &mut Report) -> anyhow::Result<()> {
        while !self.workers.is_empty() {
            self.kill(0)?;
        }
        self.note("the last worker starts");
        let mut last = self.last.start("last", &["--stop-when-idle", IDLE, "--json"])?;
        let status = last.await_end(RUN_LIMIT);
        self.note_peak(&last);
        match status {
            Ok(status) if status.code() == Some(0) => {}
            Ok(status) => self.fault(format!("the last worker ended with {status}: {}", last.log.display())),
            Err(error) => self.fault(error.to_string()),
        }
        self.note("the last worker has ended");
        report.peak_kib = report.peak_kib.max(self.peak_kib);
        Ok(())
    }

    /// Removes everything of a round that is as it must be.
    pub(crate) fn remove(self) {
        let folder = self.folder.clone();
        drop(self);
        let _ = std::fs::remove_dir_all(folder);
    }

    pub(crate) fn take(&mut self, index: usize) -> Worker {
        let worker = self.workers.remove(index);
        self.note_peak(&worker);
        worker
    }

    pub(crate) fn pick(&self, step: &Step) -> usize {
        step.pick as usize % self.workers.len().max(1)
    }

    fn note_peak(&mut self, worker: &Worker) {
        self.peak_kib = self.peak_kib.max(worker.peak_kib);
    }

    fn ended_by_itself(&mut self, worker: &Worker, status: ExitStatus) {
        self.fault(format!("a worker ended by itself with {status}: {}", worker.log.display()));
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.workers.clear();
        if let Some(disk) = self.small_disk.take() {
            // What is wrong on it must stay to be read.
            if !self.is_clean() {
                let _ = Command::new("cp").arg("-a").arg(&self.dataset).arg(&self.folder).status();
            }
            let _ = Command::new("umount").arg("-l").arg(&disk).status();
        }
    }
}

/// Mounts a small file system; none where this user may not.
fn mount(folder: &Path) -> Option<PathBuf> {
    std::fs::create_dir_all(folder).ok()?;
    let size = format!("size={SMALL_DISK_MIB}m");
    let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output().ok()?;
    output.status.success().then(|| folder.to_owned())
}

/// Takes all room on a small disk but a little, until it is dropped.
pub(crate) struct Ballast(PathBuf);

impl Ballast {
    /// Leaves `left_bytes`.
    pub(crate) fn fill(disk: &Path, left_bytes: u64) -> anyhow::Result<Self> {
        let path = disk.join("ballast");
        let mut file = File::create(&path).context("cannot create the ballast")?;
        let block = vec![0; 64 << 10];
        while file.write_all(&block).is_ok() {}
        let length = file.metadata()?.len();
        ensure!(length > left_bytes, "the small disk is full already");
        file.set_len(length - left_bytes)?;
        Ok(Self(path))
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
