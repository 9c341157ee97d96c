//! The run: one thread that accounts for every message, orders it, cuts clips and commits what is durable.
//!
//! # Why nothing is lost or doubled
//! 1. A message that is read waits with its vehicle until the order has decided about it; then it is noted in the clip that keeps it
//!    before anything else happens to it (`Ledger`).
//! 2. The offset committed for a partition is the lowest of: the messages that wait, the first messages of the clips that are not
//!    sealed yet, and the next message to read. So whatever is not in a sealed clip is read again after a restart.
//! 3. A frame of a clip whose manifest entry exists is skipped and counted, if the entry's offsets hold it; if they do not
//!    (the clip was sealed without it), the message goes to the dead-letter topic, never silently away.
//! 4. Two workers that seal the same clip meet at the manifest entry, which only one of them can create.
//! 5. On the first signal the run stops reading, lets complete clips finish, commits, and leaves incomplete clips to the next run: a
//!    clip that was sealed half would lose its other half. Vehicles whose partitions are all at their end and silent have nothing more
//!    to come, so their last clip is sealed too. A second signal ends the process at once; nothing that was committed depends on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use boxwright_model::{ClipId, DropReason, SensorKind, SourcePosition};
use boxwright_source::recording::is_of_recording;
use boxwright_source::{PartitionId, Record, Rejected, Source, SourceEvent};
use boxwright_timesync::order::OrderEvent;

use crate::clip::ClipSettings;
use crate::config::Config;
use crate::lane::{self, Lane, LaneCommand, LaneContext, LaneReport, LiveLane};
use crate::metrics::{Stage, Started};
use crate::report::{Progress, Report, ViewReport};
use crate::writer::entry_of;
pub use job::{PipelineError, RunJob, StopSignal};
use ledger::Ledger;
use sealed_before::SealedBefore;
use silence::{Silence, Verdict};
use vehicle::Vehicle;

mod job;
mod ledger;
mod sealed_before;
mod silence;
#[cfg(test)]
mod tests;
mod vehicle;

/// How long the source may wait for a message before the run looks at its other duties.
const POLL: Duration = Duration::from_millis(50);
/// Commits are bundled: at most this much work is done again after a crash beyond what open clips demand.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// Reports that may wait for the run thread. They are small; the bound only has to cover what lanes produce while the run thread is
/// handing over one command, and a full queue makes a lane wait, which is safe because the run thread always drains before it sends.
const REPORT_QUEUE: usize = 1024;
/// Names of sensors that are remembered: those of ten vehicles with a hundred different ones. Beyond, a warning about a misspelt name may be wrong.
const KNOWN_SENSORS: usize = 1_000;
/// How long the live viewer may take to show what it has when the run is over.
const VIEW_FINISH: Duration = Duration::from_secs(5);

/// Runs a source into a dataset until the source ends, is idle for long enough, or the run is stopped.
///
/// # Errors
/// When the source, the dataset or a thread fails. What was sealed before stays sealed, and a new run goes on from there.
pub fn run(source: &mut dyn Source, job: RunJob) -> Result<Report, PipelineError> {
    let mut run = Run::start(source, job)?;
    while !run.is_over() {
        run.tell_metrics();
        run.collect_reports()?;
        run.drop_superseded()?;
        match run.source.next_event(POLL)? {
            Some(event) => run.event(event)?,
            None => run.idle()?,
        }
        run.tell_newcomers()?;
        // After everything that lets frames leave or vehicles go: what is held back until then brings no event of its own.
        run.hold_back_leaders()?;
        run.commit_if_due()?;
    }
    run.finish()
}

struct Run<'a> {
    source: &'a mut dyn Source,
    job: RunJob,
    lanes: Vec<Lane>,
    reports: Receiver<LaneReport>,
    vehicles: BTreeMap<Arc<str>, Vehicle>,
    /// Partitions by the number that [`Vehicle`] knows them by.
    partitions: Vec<PartitionId>,
    /// Clips that were sealed for an earlier owner of their partitions while the lane holds some of their messages again.
    superseded: Vec<(Arc<str>, ClipId)>,
    /// Partitions that are not read at the moment.
    held_back: BTreeSet<u32>,
    silence: Silence,
    /// Vehicles that were first heard of when some of their partitions had fallen silent already, and when that was.
    newcomers: VecDeque<(Arc<str>, Instant)>,
    ledger: Ledger,
    /// Sensors that have spoken, at most [`KNOWN_SENSORS`].
    sensors: BTreeSet<Arc<str>>,
    sealed_before: SealedBefore,
    /// Vehicles of a recording that were looked for under other names.
    looked_for: BTreeSet<Arc<str>>,
    report: Report,
    started: Instant,
    last_commit: Instant,
    ended: bool,
}

impl<'a> Run<'a> {
    fn start(source: &'a mut dyn Source, job: RunJob) -> Result<Self, PipelineError> {
        let (report_sender, reports) = sync_channel(REPORT_QUEUE);
        let settings = Arc::new(ClipSettings {
            sync: job.config.sync.clone(),
            clock: job.config.clock.clone(),
            motion: job.config.motion.clone(),
            odometry: job.config.odometry.clone(),
            label: job.config.label.clone(),
            taxonomy: job.taxonomy.clone(),
            networks: job.networks.clone(),
            scenes: job.view.is_some(),
        });
        let context = job.dataset.clone().map(|dataset| LaneContext {
            config: job.config.clone(),
            settings,
            dataset,
            live: job.view.clone().map(|view| LiveLane { view, next_index: Arc::new(AtomicI64::new(0)) }),
            progress: job.progress.clone(),
            metrics: job.metrics.clone(),
            reports: report_sender,
        });
        let lanes = match context {
            Some(context) => {
                (0..lane_count(&job.config)).map(|index| lane::start(index, context.clone())).collect::<Result<_, _>>()?
            }
            None => Vec::new(),
        };
        job.metrics.set_dataset_writable(true);
        let now = Instant::now();
        Ok(Self {
            source,
            lanes,
            reports,
            vehicles: BTreeMap::new(),
            partitions: Vec::new(),
            superseded: Vec::new(),
            held_back: BTreeSet::new(),
            silence: Silence::new(),
            newcomers: VecDeque::new(),
            ledger: Ledger::default(),
            sensors: BTreeSet::new(),
            sealed_before: SealedBefore::new(job.labels_sha256()),
            looked_for: BTreeSet::new(),
            report: Report::default(),
            started: now,
            last_commit: now,
            ended: false,
            job,
        })
    }

    fn is_over(&self) -> bool {
        self.ended || self.job.stop.is_draining()
    }

    fn tell_metrics(&self) {
        let metrics = &self.job.metrics;
        if metrics.turned() {
            metrics.set_source(self.source.stats());
            metrics.set_held_bytes(self.vehicles.values().map(Vehicle::held_bytes).sum::<usize>() as u64);
            if let Some(view) = &self.job.view {
                metrics.set_viewer(view.stats());
            }
        }
    }

    fn event(&mut self, event: SourceEvent) -> Result<(), PipelineError> {
        if !matches!(event, SourceEvent::Quiet(_)) {
            self.silence.broken();
        }
        match event {
            SourceEvent::Record(record) => self.record(record),
            SourceEvent::Rejected(rejected) => {
                // It goes on after a message that cannot be used, too.
                let partition = self.partition_number(&rejected.position.topic, rejected.position.partition);
                self.silence.spoke(partition);
                self.rejected(&rejected)
            }
            SourceEvent::Assigned(partitions) => self.assigned(partitions),
            SourceEvent::Revoked(partitions) => self.revoked(&partitions),
            SourceEvent::Quiet(partition) => self.quiet(&partition),
            SourceEvent::End => {
                self.ended = true;
                Ok(())
            }
        }
    }

    fn record(&mut self, record: Record) -> Result<(), PipelineError> {
        self.report.frames += 1;
        *self.report.frames_by_kind.entry(record.header.kind.as_str()).or_default() += 1;
        Progress::add(&self.job.progress.frames, 1);
        Progress::add(&self.job.progress.bytes, record.payload.len() as u64);
        self.job.metrics.frame_read(&record.header, record.payload.len());
        if self.sensors.len() < KNOWN_SENSORS && !self.sensors.contains(&record.header.sensor) {
            self.sensors.insert(record.header.sensor.clone());
        }
        let name = record.header.vehicle.clone();
        self.ensure_vehicle(&name, &record)?;
        let partition = self.partition_of(&record);
        self.silence.spoke(partition);
        let Some(vehicle) = self.vehicles.get_mut(&name) else { return Ok(()) };
        let mut out = Vec::new();
        vehicle.watch_clock(&record.header, &self.job.metrics);
        let ordering = self.job.metrics.time(Stage::Order);
        vehicle.push(partition, record, &mut out);
        drop(ordering);
        self.ordered(&name, out)
    }

    fn ensure_vehicle(&mut self, name: &Arc<str>, record: &Record) -> Result<(), PipelineError> {
        if self.vehicles.contains_key(name) {
            return Ok(());
        }
        self.make_room_for_vehicle(name)?;
        let mut vehicle = Vehicle::new(&self.job.config, name.clone(), self.sealed_clips(name)?);
        // By contract a vehicle's messages are in the partitions of one number; those may still bring frames that must be waited for.
        // What comes in one sequence is one partition to the order, whatever its topic.
        for (number, partition) in self.partitions.iter().enumerate() {
            if partition.partition == record.header.position.partition && !self.source.is_sequential() {
                vehicle.add_partition(number as u32);
            }
        }
        if vehicle.partitions().any(|number| self.silence.is_quiet(number)) {
            self.newcomers.push_back((name.clone(), Instant::now()));
        }
        self.vehicles.insert(name.clone(), vehicle);
        Ok(())
    }

    /// A source tells once that a partition has fallen silent. A vehicle that is heard of later learns it from here, after as long as
    /// the source waits before it says so: the vehicle's first messages may be on their way in that partition.
    fn tell_newcomers(&mut self) -> Result<(), PipelineError> {
        let after = self.job.config.kafka.quiet_after();
        while self.newcomers.front().is_some_and(|(_, since)| since.elapsed() >= after) {
            let Some((name, _)) = self.newcomers.pop_front() else { break };
            let mut out = Vec::new();
            if let Some(vehicle) = self.vehicles.get_mut(&name) {
                self.silence.quiet().for_each(|number| vehicle.quiet(number, &mut out));
            }
            self.ordered(&name, out)?;
        }
        Ok(())
    }

    /// What is sealed of a vehicle. Labels of a later revision do not change what was consumed.
    fn sealed_clips(&self, vehicle: &str) -> Result<BTreeSet<ClipId>, PipelineError> {
        self.job.dataset.as_ref().map_or_else(|| Ok(BTreeSet::new()), |dataset| Ok(dataset.sealed_clips(vehicle)?))
    }

    /// Forgets the vehicle that has been silent for longest and holds nothing, where there are as many as memory is planned for. It is
    /// known anew when it comes back.
    fn make_room_for_vehicle(&mut self, newcomer: &Arc<str>) -> Result<(), PipelineError> {
        let limit = self.job.config.run.max_vehicles;
        if self.vehicles.len() < limit {
            return Ok(());
        }
        let idle = self.vehicles.iter().filter_map(|(name, vehicle)| Some((vehicle.idle_for()?, name.clone())));
        match idle.max_by_key(|(silent_for, _)| *silent_for) {
            Some((silent_for, name)) => {
                tracing::info!(vehicle = &*name, silent_for_s = silent_for.as_secs(), "forgetting a silent vehicle to make room");
                self.forget_vehicle(&name)
            }
            None => Err(PipelineError::TooManyVehicles { limit, vehicle: newcomer.clone() }),
        }
    }

    fn forget_vehicle(&mut self, name: &Arc<str>) -> Result<(), PipelineError> {
        // It may come back before the others of its time are told, and then waits anew.
        self.newcomers.retain(|(newcomer, _)| newcomer != name);
        if let Some(vehicle) = self.vehicles.remove(name) {
            self.report.forced_out_of_order += vehicle.forced();
        }
        self.ledger.forget_vehicle(name);
        self.job.metrics.vehicle_gone(name);
        self.send(name, LaneCommand::Abandon { vehicle: name.clone() })
    }

    /// The partition of a record as the order knows it.
    fn partition_of(&mut self, record: &Record) -> u32 {
        let position = &record.header.position;
        if self.source.is_sequential() { 0 } else { self.partition_number(&position.topic, position.partition) }
    }

    /// A vehicle whose buffer is filling up waits for some partitions; those that have run ahead of them are not read meanwhile, so that
    /// the buffer's bound never decides the order.
    fn hold_back_leaders(&mut self) -> Result<(), PipelineError> {
        // Half of the budget begins to be spared, so that the other half can take what is under way when reading stops.
        let share_bytes = self.job.config.run.buffer_bytes() / 2 / self.vehicles.len().max(1);
        let held_bytes: usize = self.vehicles.values().map(Vehicle::held_bytes).sum();
        let is_short = held_bytes > self.job.config.run.buffer_bytes() / 2;
        let is_crowded = |vehicle: &&Vehicle| vehicle.is_crowded() || is_short && vehicle.held_bytes() > share_bytes;
        let crowded = self.vehicles.values().filter(is_crowded).map(|vehicle| (vehicle, vehicle.waiting_for()));
        // One that waits for nobody holds nobody back.
        let waiting: Vec<(&Vehicle, Vec<u32>)> = crowded.filter(|(_, waited_for)| !waited_for.is_empty()).collect();
        let waited_for: BTreeSet<u32> = waiting.iter().flat_map(|(_, waited_for)| waited_for).copied().collect();
        let held: BTreeSet<u32> =
            waiting.iter().flat_map(|(vehicle, _)| vehicle.partitions()).filter(|number| !waited_for.contains(number)).collect();
        if held == self.held_back {
            return Ok(());
        }
        let named = held.iter().filter_map(|number| self.partitions.get(*number as usize)).cloned().collect();
        self.source.hold_back(&named)?;
        self.held_back = held;
        Ok(())
    }

    fn partition_number(&mut self, topic: &Arc<str>, partition: i32) -> u32 {
        let found = self.partitions.iter().position(|known| known.partition == partition && known.topic == *topic);
        let number = found.unwrap_or_else(|| {
            self.partitions.push(PartitionId { topic: topic.clone(), partition });
            self.partitions.len() - 1
        });
        number as u32
    }

    /// Does what the order machine of a vehicle has decided.
    fn ordered(&mut self, name: &Arc<str>, events: Vec<OrderEvent>) -> Result<(), PipelineError> {
        for event in events {
            match event {
                OrderEvent::Frame { token, clip } => {
                    if let Some(record) = self.keep(name, token, clip, true)? {
                        self.send(name, LaneCommand::Frame { clip, record: Box::new(record) })?;
                    }
                }
                OrderEvent::Late { token, reason, store_in, .. } => {
                    if let Some(record) = self.keep(name, token, store_in, false)? {
                        self.report.late_frame(reason);
                        self.job.metrics.frame_late(reason);
                        self.send(name, LaneCommand::Late { store_in, record: Box::new(record), reason })?;
                    }
                }
                OrderEvent::Duplicate { token, count_in } => {
                    if self.keep(name, token, count_in, false)?.is_some() {
                        if let Some(vehicle) = self.vehicles.get_mut(name) {
                            vehicle.count_duplicate(count_in);
                        }
                        self.drop_frame(DropReason::Duplicate);
                    }
                }
                OrderEvent::Close { clip, idle } => {
                    let Some(vehicle) = self.vehicles.get_mut(name) else { return Ok(()) };
                    if let Some(info) = vehicle.close(clip, &idle, &self.ledger, &self.job) {
                        self.job.metrics.clip_closed(name, clip);
                        self.send(name, LaneCommand::Close { vehicle: name.clone(), clip, info: Box::new(info) })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a message out of those that wait and notes it in its clip. `None` where the clip takes no more: then the message was in it
    /// before, or is set aside.
    fn keep(&mut self, name: &Arc<str>, token: u64, clip: ClipId, is_in_time: bool) -> Result<Option<Record>, PipelineError> {
        let Some(vehicle) = self.vehicles.get_mut(name) else { return Ok(None) };
        let Some(record) = vehicle.take(token) else { return Ok(None) };
        if is_in_time
            && self.source.is_sequential()
            && matches!(record.header.kind, SensorKind::Lidar | SensorKind::Camera)
            && self.looked_for.insert(name.clone())
        {
            self.look_for_other_names(name, clip, &record.header.position)?;
        }
        let Some(vehicle) = self.vehicles.get_mut(name) else { return Ok(None) };
        if !vehicle.is_shut(clip) {
            vehicle.note(&mut self.ledger, clip, &record.header, is_in_time);
            self.job.metrics.clip_message(name, clip, record.payload.len(), record.trace_parent.as_deref());
            return Ok(Some(record));
        }
        let was_read_before = match &self.job.dataset {
            Some(dataset) => vehicle.was_read_before(clip, &record, dataset)?,
            None => false,
        };
        if was_read_before {
            if let Some(entry) = vehicle.entry(clip) {
                self.report.warnings.extend(self.sealed_before.other_options(entry));
                if is_in_time && let Some(told) = self.sealed_before.other_messages(entry, &record.header) {
                    self.report.warnings.push(told);
                    self.report.other_messages = true;
                }
            }
            self.ledger.pass(&record.header.position);
            self.drop_frame(DropReason::AlreadySealed);
        } else {
            if self.source.is_sequential() {
                self.sealed_before.left_out(name, clip, &record.header);
            }
            self.set_aside(record, clip)?;
        }
        Ok(None)
    }

    /// Refuses a recording that the dataset has as another vehicle's, by the clip of its first sweep or image: it would be there twice. Files and folders name
    /// their vehicle where nobody does.
    fn look_for_other_names(&self, name: &Arc<str>, clip: ClipId, position: &SourcePosition) -> Result<(), PipelineError> {
        let Some(dataset) = self.job.dataset.as_ref().filter(|_| is_of_recording(&position.topic)) else { return Ok(()) };
        for other in dataset.vehicles()?.into_iter().filter(|other| **other != **name) {
            let entry = dataset.entry(&other, clip, 0)?;
            if entry.is_some_and(|entry| entry.sources.iter().any(|range| *range.topic == *position.topic)) {
                return Err(PipelineError::OtherName { vehicle: name.clone(), other, clip });
            }
        }
        Ok(())
    }

    fn drop_frame(&mut self, reason: DropReason) {
        self.report.drop_frame(reason);
        self.job.metrics.frame_dropped(reason);
    }

    /// A frame of a clip that was sealed without it.
    fn set_aside(&mut self, record: Record, clip: ClipId) -> Result<(), PipelineError> {
        let message = format!("its clip {clip} was sealed before it came");
        self.rejected(&Rejected::from_record(record, "clip_sealed", message))
    }

    fn rejected(&mut self, rejected: &Rejected) -> Result<(), PipelineError> {
        if !self.is_dry() {
            self.source.dead_letter(rejected)?;
        }
        self.ledger.pass(&rejected.position);
        self.report.dead_letter(&rejected.reason);
        self.job.metrics.dead_letter(&rejected.reason);
        Ok(())
    }

    fn assigned(&mut self, partitions: Vec<PartitionId>) -> Result<(), PipelineError> {
        self.job.metrics.assigned(partitions.len());
        for partition in partitions {
            let number = self.partition_number(&partition.topic, partition.partition);
            self.silence.assigned(number);
            for vehicle in self.vehicles.values_mut().filter(|vehicle| vehicle.reads_number(partition.partition, &self.partitions))
            {
                vehicle.add_partition(number);
            }
        }
        Ok(())
    }

    /// The partitions go to another worker: what is sealed is committed, what is open is forgotten, because the other worker reads it
    /// again from the committed offsets.
    fn revoked(&mut self, partitions: &[PartitionId]) -> Result<(), PipelineError> {
        self.collect_reports()?;
        self.commit()?;
        let numbers: Vec<u32> = partitions.iter().map(|p| self.partition_number(&p.topic, p.partition)).collect();
        let gone: Vec<Arc<str>> = self
            .vehicles
            .iter()
            .filter(|(_, vehicle)| numbers.iter().any(|number| vehicle.reads(*number)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.forget_vehicle(&name)?;
        }
        self.ledger.forget_partitions(partitions);
        self.silence.revoked(&numbers);
        self.job.metrics.revoked(partitions.len());
        self.source.revocation_done();
        Ok(())
    }

    fn quiet(&mut self, partition: &PartitionId) -> Result<(), PipelineError> {
        let number = self.partition_number(&partition.topic, partition.partition);
        self.silence.fell(number);
        let names: Vec<Arc<str>> = self.vehicles.keys().cloned().collect();
        for name in names {
            let mut out = Vec::new();
            if let Some(vehicle) = self.vehicles.get_mut(&name) {
                vehicle.quiet(number, &mut out);
            }
            self.ordered(&name, out)?;
        }
        Ok(())
    }

    /// Nothing came within [`POLL`].
    fn idle(&mut self) -> Result<(), PipelineError> {
        if self.partitions.is_empty() || self.job.more_to_come.load(Ordering::SeqCst) {
            self.silence.broken();
        }
        let rejoins = Duration::from_millis(self.job.config.kafka.session_timeout_ms.into());
        match self.job.stop_when_idle.map_or(Verdict::Wait, |limit| self.silence.judge(limit, rejoins)) {
            Verdict::Wait => {}
            Verdict::Tell(waits_for) => {
                let names = waits_for.iter().filter_map(|number| self.partitions.get(*number as usize)).map(ToString::to_string);
                let partitions = names.collect::<Vec<String>>().join(" ");
                tracing::warn!(partitions, "idle, but not at the end of these: the broker is slow or away, and the run waits");
            }
            Verdict::End => {
                self.ended = true;
                return Ok(());
            }
        }
        let silence = Duration::from_secs(self.job.config.run.seal_after_silence_s);
        let silent: Vec<Arc<str>> =
            self.vehicles.iter().filter(|(_, vehicle)| vehicle.is_silent(silence)).map(|(name, _)| name.clone()).collect();
        for name in silent {
            tracing::info!(vehicle = &*name, silent_s = silence.as_secs(), "silent: sealing its open clips");
            self.close_vehicle(&name)?;
        }
        Ok(())
    }

    /// Lets everything that a vehicle holds leave, and closes its clips.
    fn close_vehicle(&mut self, name: &Arc<str>) -> Result<(), PipelineError> {
        let mut out = Vec::new();
        let is_over = self.is_over();
        if let Some(vehicle) = self.vehicles.get_mut(name) {
            if is_over {
                vehicle.finish(&mut out);
            } else {
                vehicle.close_silent(&mut out);
            }
        }
        self.ordered(name, out)
    }

    /// Hands a command to the vehicle's lane. Waits while the lane is busy, which is how a slow disk slows the source; meanwhile the
    /// lanes' reports are taken, so that no lane waits for this thread.
    fn send(&mut self, vehicle: &Arc<str>, mut command: LaneCommand) -> Result<(), PipelineError> {
        if self.is_dry() {
            return Ok(self.discard(command));
        }
        let lane = lane_of(vehicle, self.lanes.len());
        loop {
            match self.lanes[lane].commands.try_send(command) {
                Ok(()) => {
                    // One event may release hundreds of frames, which takes longer than a healthy loop may stand still.
                    self.tell_metrics();
                    return Ok(());
                }
                Err(TrySendError::Full(back)) => {
                    command = back;
                    self.wait_for_report(Duration::from_millis(2))?;
                }
                Err(TrySendError::Disconnected(_)) => {
                    self.collect_reports()?;
                    return Err(PipelineError::LaneLost);
                }
            }
        }
    }

    fn is_dry(&self) -> bool {
        self.job.dataset.is_none()
    }

    /// What a run without a dataset does instead of labelling and writing.
    fn discard(&mut self, command: LaneCommand) {
        if let LaneCommand::Close { vehicle, clip, .. } = command {
            self.report.clips += 1;
            Progress::add(&self.job.progress.clips, 1);
            self.ledger.sealed(&vehicle, clip);
            if let Some(vehicle) = self.vehicles.get_mut(&vehicle) {
                vehicle.discarded(clip);
            }
        }
    }

    fn wait_for_report(&mut self, limit: Duration) -> Result<(), PipelineError> {
        match self.reports.recv_timeout(limit) {
            Ok(report) => self.lane_report(report),
            Err(_) => Ok(()),
        }
    }

    fn collect_reports(&mut self) -> Result<(), PipelineError> {
        loop {
            match self.reports.try_recv() {
                Ok(report) => self.lane_report(report)?,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    fn lane_report(&mut self, report: LaneReport) -> Result<(), PipelineError> {
        match report {
            LaneReport::Rejected(rejected) => {
                self.source.dead_letter(&rejected)?;
                self.report.dead_letter(&rejected.reason);
                self.job.metrics.dead_letter(&rejected.reason);
            }
            LaneReport::Dropped(reason) => self.drop_frame(reason),
            LaneReport::Counted(counts) => {
                self.job.metrics.clip_labelled(&counts);
                self.report.samples += counts.samples;
                self.report.partial_samples += counts.partial_samples;
                self.report.sweeps += counts.sweeps;
                self.report.boxes += counts.boxes;
                self.report.tracks += counts.tracks;
                self.report.findings += counts.findings;
            }
            LaneReport::Sealed { vehicle, clip, outcome } => {
                let (entry, ours) = entry_of(&outcome);
                // Whoever made the entry: all our messages must be in it before they may count as done.
                if let Some((missing, first)) = self.ledger.missing_from(entry) {
                    return Err(PipelineError::SealedOtherwise {
                        clip: entry.clip,
                        vehicle: entry.vehicle.clone(),
                        missing,
                        first,
                    });
                }
                self.job.metrics.clip_sealed(entry, ours);
                tracing::info!(
                    vehicle = &*vehicle,
                    clip = clip.0,
                    messages = entry.counts.frames,
                    bytes = entry.bytes(),
                    ours,
                    "clip sealed"
                );
                if ours {
                    self.report.clips += 1;
                    self.report.shards += entry.files.len() as u64;
                    self.report.bytes += entry.files.iter().map(|file| file.bytes).sum::<u64>();
                    Progress::add(&self.job.progress.clips, 1);
                } else {
                    self.report.clips_already_sealed += 1;
                }
                self.ledger.sealed(&vehicle, clip);
                if let Some(known) = self.vehicles.get_mut(&vehicle)
                    && !known.seal_done(entry.clone())
                {
                    self.superseded.push((vehicle, clip));
                }
            }
            LaneReport::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// Not done where the report is taken: the run may be handing a message of that clip over right then.
    fn drop_superseded(&mut self) -> Result<(), PipelineError> {
        for (vehicle, clip) in std::mem::take(&mut self.superseded) {
            self.send(&vehicle.clone(), LaneCommand::AbandonClip { vehicle, clip })?;
        }
        Ok(())
    }

    fn commit_if_due(&mut self) -> Result<(), PipelineError> {
        if self.last_commit.elapsed() >= COMMIT_EVERY { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), PipelineError> {
        self.last_commit = Instant::now();
        if self.is_dry() {
            return Ok(());
        }
        let offsets = self.ledger.uncommitted(self.vehicles.values().flat_map(Vehicle::held_positions));
        if !offsets.is_empty() {
            let started = Started::now();
            self.source.commit(&offsets)?;
            self.ledger.committed(&offsets);
            self.job.metrics.committed(started);
        }
        Ok(())
    }

    /// Ends the run: closes what is complete, waits for every lane, commits.
    fn finish(mut self) -> Result<Report, PipelineError> {
        self.job.metrics.draining();
        let complete: Vec<Arc<str>> = self
            .vehicles
            .iter()
            .filter(|(_, vehicle)| self.ended || vehicle.has_nothing_to_come())
            .map(|(name, _)| name.clone())
            .collect();
        for name in complete {
            self.close_vehicle(&name)?;
        }
        self.report.warnings.extend(self.sealed_before.told_at_end());
        self.report.clips_left_open = self.vehicles.values().map(Vehicle::open_clips).sum::<usize>() as u64;
        self.join_lanes()?;
        self.commit()?;
        self.report.forced_out_of_order += self.vehicles.values().map(Vehicle::forced).sum::<u64>();
        // The lanes have ended and given their shares back, so the view is ours alone.
        if let Some(view) = self.job.view.take().and_then(Arc::into_inner) {
            let stats = view.finish(VIEW_FINISH).stats;
            self.report.view = Some(ViewReport { shown: stats.shown, dropped: stats.dropped });
        }
        self.report.warnings.extend(self.job.config.strangers(&self.sensors));
        self.report.seconds = self.started.elapsed().as_secs_f64();
        if self.report.seconds > 0.0 {
            self.report.sweeps_per_s = self.report.sweeps as f64 / self.report.seconds;
        }
        Ok(self.report)
    }

    fn join_lanes(&mut self) -> Result<(), PipelineError> {
        let threads: Vec<_> = std::mem::take(&mut self.lanes).into_iter().map(|lane| lane.thread).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            self.tell_metrics();
            self.wait_for_report(Duration::from_millis(10))?;
        }
        self.collect_reports()?;
        let panicked = threads.into_iter().map(std::thread::JoinHandle::join).filter(Result::is_err).count();
        if panicked > 0 { Err(PipelineError::LaneLost) } else { Ok(()) }
    }
}

fn lane_count(config: &Config) -> usize {
    match config.run.lanes {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        lanes => lanes,
    }
}

/// A vehicle's lane: FNV-1a of its name, so that it is the same in every run.
fn lane_of(vehicle: &str, lanes: usize) -> usize {
    let hash =
        vehicle.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash % lanes.max(1) as u64) as usize
}
