//! The deeds, one function each. Each says in the report what it really met.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::brokers::Broker;
use crate::judge;
use crate::plan::{Deed, Moment, Step};
use crate::report::Report;
use crate::round::{Ballast, Round};
use crate::windows::{ClipFile, Seen, open_clips};
use crate::workers::Handicap;

/// How long a moment is waited for: several times what a new group needs to come to its work.
const MOMENT_LIMIT: Duration = Duration::from_secs(20);
/// How long another worker may take to seal a paused worker's clip, beyond its session. Below the half minute that a seal waits for a
/// paused worker that holds the vehicle's lock.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(15);
/// How long a woken worker is left to find out that it was given up.
const AFTER_WAKING: Duration = Duration::from_millis(700);
/// How long workers may take to notice that the disk is full.
const DISK_LIMIT: Duration = Duration::from_secs(60);
/// What is left on a full disk: less than a clip.
const DISK_LEFT_BYTES: u64 = 16 << 10;
/// Largest file of a worker that is held short, in KiB: less than a clip's sweeps.
const FILE_LIMIT_KIB: u32 = 8;
/// How long a false clock takes to notice that it was set.
const CLOCK_READ: Duration = Duration::from_secs(1);
/// Lines of the log that tell of a rebalance.
const GIVEN_UP: &str = "partitions go to somebody else";
const ASSIGNED: &str = "partitions assigned";

impl Round {
    /// Does one deed.
    pub(crate) fn act(&mut self, step: &Step, broker: &mut Broker, report: &mut Report) -> anyhow::Result<()> {
        self.note(&format!("{:?} with {} workers after {} ms", step.deed, step.workers, step.wait_ms));
        self.have(step.workers, report)?;
        match step.deed {
            Deed::Kill(moment) => self.kill_at(moment, step, report)?,
            Deed::Terminate => self.terminate(step, report)?,
            Deed::StopBroker { hard, away_ms } => self.stop_broker(step, hard, away_ms, broker, report)?,
            Deed::Pause => self.pause(step, report)?,
            Deed::FillDisk => self.fill_disk(step, report)?,
            Deed::JumpClock { ahead } => self.jump_clock(step, ahead, report)?,
        }
        self.look()
    }

    fn kill_at(&mut self, moment: Moment, step: &Step, report: &mut Report) -> anyhow::Result<()> {
        if moment == Moment::Rebalance {
            return self.kill_in_rebalance(step, report);
        }
        if moment == Moment::Any {
            self.wait(Duration::from_millis(step.wait_ms))?;
            if !self.workers.is_empty() {
                self.kill(self.pick(step))?;
                report.kill(moment, true);
            }
            return Ok(());
        }
        // A part of the wait only: the moment itself has to be waited for too.
        self.wait(Duration::from_millis(step.wait_ms / 4))?;
        let Some(seen) = self.await_moment(moment)? else {
            // The work ran out, or nobody came to it: a kill all the same, but not at its moment.
            if !self.workers.is_empty() {
                self.kill(self.pick(step))?;
                report.kill(moment, false);
            }
            return Ok(());
        };
        let Some(index) = self.index_of(seen.pid()) else { return Ok(()) };
        self.kill(index)?;
        let hit = self.was_hit(&seen)?;
        self.note(&format!("killed {} at {seen:?}: {}", seen.pid(), if hit { "hit" } else { "missed" }));
        report.kill(moment, hit);
        Ok(())
    }

    fn await_moment(&mut self, moment: Moment) -> anyhow::Result<Option<Seen>> {
        let pids: BTreeSet<u32> = self.workers.iter().map(|worker| worker.pid()).collect();
        let wanted = |seen: &Seen| {
            pids.contains(&seen.pid())
                && matches!(
                    (moment, seen),
                    (Moment::FileGrows, Seen::Grew { .. })
                        | (Moment::FileNamed, Seen::Named { .. })
                        | (Moment::EntryMade, Seen::Entry { .. })
                )
        };
        self.watch.forget()?;
        let workers = &mut self.workers;
        let alive = || Ok(workers.iter_mut().any(|worker| matches!(worker.ended(), Ok(None))));
        self.watch.await_one(MOMENT_LIMIT, wanted, alive)
    }

    /// What the dead worker left: is it what the moment promised?
    fn was_hit(&self, seen: &Seen) -> anyhow::Result<bool> {
        Ok(match seen {
            Seen::Grew { path, .. } => path.metadata().is_ok_and(|file| file.len() > 0),
            Seen::Named { clip, .. } => !clip.entry(&self.dataset).exists(),
            Seen::Entry { clip, .. } => judge::is_uncommitted(self, clip)?,
        })
    }

    /// A worker joins or leaves; while the group shares anew, one of them dies.
    fn kill_in_rebalance(&mut self, step: &Step, report: &mut Report) -> anyhow::Result<()> {
        self.wait(Duration::from_millis(step.wait_ms))?;
        let Some(old) = self.workers.first() else { return Ok(()) };
        let (pid, before) = (old.pid(), old.log_text().len());
        report.joined += 1;
        self.join(Handicap::None)?;
        let told = |round: &Self| {
            let log = round.index_of(pid).map(|index| round.workers[index].log_text()).unwrap_or_default();
            log.get(before..).unwrap_or_default().to_owned()
        };
        let until = Instant::now() + MOMENT_LIMIT;
        while !told(self).contains(GIVEN_UP) && !told(self).contains(ASSIGNED) && Instant::now() < until {
            self.look()?;
            if self.index_of(pid).is_none() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // The group may have been sharing anew already, because somebody died before.
        std::thread::sleep(Duration::from_millis(u64::from(step.pick >> 8) % 40));
        let victim = self.pick(step);
        let text = told(self);
        self.kill(victim)?;
        let given_up = text.rfind(GIVEN_UP);
        let hit = given_up.is_some() && given_up > text.rfind(ASSIGNED);
        self.note(&format!("killed within a rebalance: {}", if hit { "hit" } else { "missed" }));
        report.kill(Moment::Rebalance, hit);
        Ok(())
    }

    fn terminate(&mut self, step: &Step, report: &mut Report) -> anyhow::Result<()> {
        self.wait(Duration::from_millis(step.wait_ms))?;
        if !self.workers.is_empty() {
            self.leave(self.pick(step))?;
            report.terms += 1;
        }
        Ok(())
    }

    fn stop_broker(
        &mut self,
        step: &Step,
        hard: bool,
        away_ms: u64,
        broker: &mut Broker,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        self.wait(Duration::from_millis(step.wait_ms))?;
        broker.down(hard)?;
        self.wait(Duration::from_millis(away_ms))?;
        broker.up()?;
        self.note("the broker is back");
        report.broker_stop(hard);
        Ok(())
    }

    /// A worker sleeps through its session and wakes up when another has sealed what it had in hand.
    fn pause(&mut self, step: &Step, report: &mut Report) -> anyhow::Result<()> {
        self.wait(Duration::from_millis(step.wait_ms / 4))?;
        let Some(seen) = self.await_moment(Moment::FileGrows)? else { return Ok(()) };
        let Some(index) = self.index_of(seen.pid()) else { return Ok(()) };
        let pid = seen.pid();
        self.workers[index].pause()?;
        report.pauses += 1;
        let dataset = self.dataset.clone();
        let in_hand: Vec<ClipFile> = open_clips(&dataset)
            .remove(&pid)
            .unwrap_or_default()
            .into_iter()
            .filter(|clip| !clip.entry(&dataset).exists())
            .collect();
        if self.workers.len() < 2 {
            report.joined += 1;
            self.join(Handicap::None)?;
        }
        let until = Instant::now() + self.session + TAKE_OVER_LIMIT;
        let is_taken = |clip: &ClipFile| clip.entry(&dataset).exists();
        while !in_hand.is_empty() && !in_hand.iter().any(is_taken) && Instant::now() < until {
            self.wait(Duration::from_millis(20))?;
        }
        let fenced = in_hand.iter().any(is_taken);
        report.fenced += u32::from(fenced);
        self.note(&format!("{pid} was paused with {in_hand:?} in hand: {}", if fenced { "fenced" } else { "not taken over" }));
        if let Some(index) = self.index_of(pid) {
            self.workers[index].wake()?;
        }
        self.wait(AFTER_WAKING)
    }

    /// No room: workers must end with an error, and go on where they were when there is room again.
    fn fill_disk(&mut self, step: &Step, report: &mut Report) -> anyhow::Result<()> {
        self.wait(Duration::from_millis(step.wait_ms))?;
        let ballast = match self.small_disk.clone() {
            Some(disk) => Some(Ballast::fill(&disk, DISK_LEFT_BYTES)?),
            None => {
                while !self.workers.is_empty() {
                    report.left += 1;
                    self.leave(0)?;
                }
                self.join(Handicap::FileKib(FILE_LIMIT_KIB))?;
                None
            }
        };
        let until = Instant::now() + DISK_LIMIT;
        while !self.workers.is_empty() && Instant::now() < until {
            let ended: Vec<usize> =
                (0..self.workers.len()).filter(|index| matches!(self.workers[*index].ended(), Ok(Some(_)))).collect();
            for index in ended.into_iter().rev() {
                let mut worker = self.take(index);
                let status = worker.await_end(Duration::ZERO)?;
                let said = worker.log_text();
                let is_clear =
                    status.code() == Some(1) && ["No space left", "File too large"].iter().any(|word| said.contains(word));
                if is_clear {
                    report.disk_full += 1;
                } else {
                    self.fault(format!("a worker on a full disk ended with {status}: {}", worker.log.display()));
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(ballast);
        // One that had nothing to write is none the wiser; it goes on, or would with its limit.
        while self.small_disk.is_none() && !self.workers.is_empty() {
            self.kill(0)?;
        }
        Ok(())
    }

    /// A worker whose wall clock jumps by an hour while it works; then it dies.
    fn jump_clock(&mut self, step: &Step, ahead: bool, report: &mut Report) -> anyhow::Result<()> {
        self.launch.set_clock(0)?;
        let index = self.join(Handicap::FakeClock)?;
        let pid = self.workers[index].pid();
        self.wait(self.session * 2)?;
        self.launch.set_clock(if ahead { 1 } else { -1 })?;
        self.wait(CLOCK_READ + Duration::from_millis(step.wait_ms))?;
        if let Some(index) = self.index_of(pid) {
            self.kill(index)?;
            report.clock_jumps += 1;
        }
        Ok(())
    }
}
