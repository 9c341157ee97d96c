//! A lane: the thread that decodes and labels the vehicles given to it, in canonical order, and hands rows to its writer.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use boxwright_model::{ClipId, DropReason, LateReason, SensorFrame};
use boxwright_review::LiveView;
use boxwright_shard::{Dataset, SealInfo, SealOutcome, ShardError};
use boxwright_source::{Record, Rejected, wire};

use crate::clip::{ClipBuilder, ClipCounts, ClipOutput, ClipSettings, unplaced_sensor};
use crate::config::Config;
use crate::metrics::{Metrics, Stage};
use crate::report::Progress;
use crate::rig::{Rig, SensorCalibration};
use crate::run::PipelineError;
use crate::writer::{Row, WriteJob, Writer};

/// Frames that may wait for a lane. Small, because each holds a payload of up to 8 MiB: with four, a lane never starves (a frame is
/// handed over in microseconds and takes milliseconds) and holds at most 32 MiB.
const LANE_QUEUE: usize = 4;
/// Rows that may wait for the writer, each at most one decoded frame (about 3 MB for 120k points).
const WRITER_QUEUE: usize = 8;

/// Late frames of a clip that wait for its end, so that they are stored in the same order however they came. Beyond, frames are stored
/// as they come: a sender that is this late has a broken clock, and memory matters more than the order of its frames.
const MAX_HELD_LATE: usize = 256;

/// What the run thread tells a lane.
#[derive(Debug)]
pub(crate) enum LaneCommand {
    /// The next frame of a vehicle in canonical order.
    Frame { clip: ClipId, record: Box<Record> },
    /// A frame that came too late, stored with `store_in`.
    Late { store_in: ClipId, record: Box<Record>, reason: LateReason },
    /// No more frames of this clip will come.
    Close { vehicle: Arc<str>, clip: ClipId, info: Box<SealInfo> },
    /// The vehicle went to another worker.
    Abandon { vehicle: Arc<str> },
    /// The clip has its entry already.
    AbandonClip { vehicle: Arc<str>, clip: ClipId },
}

/// What a lane tells the run thread.
#[derive(Debug)]
pub(crate) enum LaneReport {
    /// A message that could not be decoded.
    Rejected(Box<Rejected>),
    /// A frame that is in no sample.
    Dropped(DropReason),
    /// The numbers of a clip that was handed to the writer.
    Counted(ClipCounts),
    /// The clip's manifest entry exists.
    Sealed { vehicle: Arc<str>, clip: ClipId, outcome: Box<SealOutcome> },
    /// The lane or its writer cannot go on.
    Failed(PipelineError),
}

/// A running lane. Dropping the sender ends it; joining waits for its writer too.
pub(crate) struct Lane {
    pub(crate) commands: SyncSender<LaneCommand>,
    pub(crate) thread: JoinHandle<()>,
}

/// Live view shared by lanes: samples are numbered in the order in which they are shown.
#[derive(Clone)]
pub(crate) struct LiveLane {
    pub(crate) view: Arc<LiveView>,
    pub(crate) next_index: Arc<AtomicI64>,
}

/// What every lane is given.
#[derive(Clone)]
pub(crate) struct LaneContext {
    pub(crate) config: Arc<Config>,
    pub(crate) settings: Arc<ClipSettings>,
    pub(crate) dataset: Dataset,
    pub(crate) live: Option<LiveLane>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reports: SyncSender<LaneReport>,
}

/// Starts lane number `index`.
pub(crate) fn start(index: usize, context: LaneContext) -> Result<Lane, PipelineError> {
    let (commands, inbox) = sync_channel(LANE_QUEUE);
    let (jobs, work) = sync_channel(WRITER_QUEUE);
    let writer = Writer::new(
        context.dataset.clone(),
        context.config.grid(),
        context.config.shard.clone(),
        context.settings.taxonomy.clone(),
        context.metrics.clone(),
    );
    let reports = context.reports.clone();
    let writer = spawn(format!("writer-{index}"), move || writer.run(&work, &reports))?;
    let thread = spawn(format!("lane-{index}"), move || {
        LaneState { context, jobs, vehicles: BTreeMap::new() }.run(&inbox);
        // The job queue is hung up now: the writer finishes what it has and ends.
        let _ = writer.join();
    })?;
    Ok(Lane { commands, thread })
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, PipelineError> {
    std::thread::Builder::new().name(name).spawn(work).map_err(PipelineError::Thread)
}

struct LaneState {
    context: LaneContext,
    jobs: SyncSender<WriteJob>,
    vehicles: BTreeMap<Arc<str>, VehicleLane>,
}

struct VehicleLane {
    rig: Rig,
    clips: BTreeMap<ClipId, OpenClip>,
}

/// A clip in the making, and what its manifest entry will say of frames that are in no sample.
struct OpenClip {
    builder: ClipBuilder,
    dropped: BTreeMap<String, u64>,
    late: u64,
    /// Late frames, kept to be stored in canonical order: when they come depends on how partitions interleave. Bounded by
    /// [`MAX_HELD_LATE`].
    late_rows: Vec<(Box<Record>, LateReason)>,
    dead_lettered: u64,
    /// Messages that were decoded and used, by kind.
    used: BTreeMap<String, u64>,
}

impl OpenClip {
    /// The late frames as rows, ordered by stamp, sensor and position.
    fn take_late_rows(&mut self) -> Vec<Row> {
        let mut rows = std::mem::take(&mut self.late_rows);
        rows.sort_by(|(a, _), (b, _)| {
            let key = |record: &Record| (record.header.stamp_ns, record.header.kind);
            key(a)
                .cmp(&key(b))
                .then_with(|| a.header.sensor.cmp(&b.header.sensor))
                .then_with(|| a.header.position.cmp(&b.header.position))
        });
        rows.into_iter().map(|(record, reason)| Row::Late { record, reason }).collect()
    }

    fn dropped(&mut self, outputs: &[ClipOutput]) {
        for output in outputs {
            if let ClipOutput::Dropped(reason) = output {
                *self.dropped.entry(reason.as_str().to_owned()).or_default() += 1;
            }
        }
    }
}

/// The other end has hung up: the run is over, and its reason is known there.
struct HungUp;

impl LaneState {
    fn run(mut self, inbox: &Receiver<LaneCommand>) {
        while let Ok(command) = inbox.recv() {
            match self.command(command) {
                Ok(()) => {}
                Err(Some(error)) => {
                    let _ = self.context.reports.send(LaneReport::Failed(error));
                    return;
                }
                Err(None) => return,
            }
        }
    }

    fn command(&mut self, command: LaneCommand) -> Result<(), Option<PipelineError>> {
        let done = match command {
            LaneCommand::Frame { clip, record } => return self.frame(clip, *record),
            LaneCommand::Late { store_in, record, reason } => {
                let name = (record.header.vehicle.clone(), store_in);
                let (_, open) = self.clip(&name.0, store_in)?;
                open.late += 1;
                open.builder.late(&record.header);
                if open.late_rows.len() < MAX_HELD_LATE {
                    open.late_rows.push((record, reason));
                    Ok(())
                } else {
                    self.write(WriteJob::Row(name, Row::Late { record, reason }))
                }
            }
            LaneCommand::Close { vehicle, clip, info } => return self.close(vehicle, clip, info),
            LaneCommand::Abandon { vehicle } => {
                self.vehicles.remove(&vehicle);
                self.write(WriteJob::Abandon(vehicle))
            }
            LaneCommand::AbandonClip { vehicle, clip } => {
                if let Some(lane) = self.vehicles.get_mut(&vehicle) {
                    lane.clips.remove(&clip);
                }
                self.write(WriteJob::AbandonClip((vehicle, clip)))
            }
        };
        done.map_err(|HungUp| None)
    }

    fn frame(&mut self, clip: ClipId, record: Record) -> Result<(), Option<PipelineError>> {
        let vehicle = record.header.vehicle.clone();
        let metrics = self.context.metrics.clone();
        let decoding = metrics.time(Stage::Decode);
        let decoded = wire::decode(&record);
        drop(decoding);
        let frame = match decoded {
            Ok(frame) => frame,
            Err(error) => return self.reject(clip, record, "decode_failed", &error),
        };
        let (rig, open) = self.clip(&vehicle, clip)?;
        let mut out = Vec::new();
        if let SensorFrame::Lidar(sweep) = &frame
            && !rig.is_placed(&record.header.sensor, &sweep.frame_id)
            && open.builder.first_time_unplaced(&record.header.sensor)
        {
            out.push(ClipOutput::Row(Row::Findings(vec![unplaced_sensor(&record.header, &sweep.frame_id)])));
        }
        let labelling = metrics.time_clip(Stage::Label, &vehicle, clip);
        let taken = open.builder.frame(rig, record.header.clone(), frame, &mut out);
        drop(labelling);
        open.dropped(&out);
        self.outputs(&vehicle, clip, out).map_err(|HungUp| None)?;
        match taken {
            Ok(()) => {
                let (_, open) = self.clip(&vehicle, clip)?;
                *open.used.entry(record.header.kind.as_str().to_owned()).or_default() += 1;
                Ok(())
            }
            Err(error) => self.reject(clip, record, "bad_transform", &error),
        }
    }

    /// Sends a message to the dead letters and notes it in the clip that it would have been in.
    fn reject(
        &mut self,
        clip: ClipId,
        record: Record,
        reason: &str,
        error: &dyn std::error::Error,
    ) -> Result<(), Option<PipelineError>> {
        self.clip(&record.header.vehicle, clip)?.1.dead_lettered += 1;
        let rejected = Rejected::from_record(record, reason, error.to_string());
        self.report(LaneReport::Rejected(Box::new(rejected))).map_err(|HungUp| None)
    }

    /// The rig of a vehicle and one of its clips; both are made when they are first asked for. A rig begins with the calibration of the
    /// newest clip that was sealed before.
    fn clip(&mut self, vehicle: &Arc<str>, clip: ClipId) -> Result<(&mut Rig, &mut OpenClip), Option<PipelineError>> {
        let lane = match self.vehicles.entry(vehicle.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let rows = self.context.dataset.last_calibration(vehicle, clip).map_err(|error| Some(error.into()))?;
                let restored = rows
                    .into_iter()
                    .map(|row| (row.sensor, SensorCalibration { ego_from_sensor: row.ego_from_sensor, model: row.model }))
                    .collect();
                let rig = Rig::new(self.context.config.frames.clone(), restored);
                new.insert(VehicleLane { rig, clips: BTreeMap::new() })
            }
        };
        let open = match lane.clips.entry(clip) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let builder = ClipBuilder::new(&self.context.settings, vehicle.clone(), clip)
                    .map_err(|error| Some(PipelineError::Order(error.to_string())))?;
                new.insert(OpenClip {
                    builder,
                    dropped: BTreeMap::new(),
                    late: 0,
                    late_rows: Vec::new(),
                    dead_lettered: 0,
                    used: BTreeMap::new(),
                })
            }
        };
        Ok((&mut lane.rig, open))
    }

    fn close(&mut self, vehicle: Arc<str>, clip: ClipId, mut info: Box<SealInfo>) -> Result<(), Option<PipelineError>> {
        let mut out = Vec::new();
        let mut counts = ClipCounts::default();
        self.clip(&vehicle, clip)?;
        if let Some(VehicleLane { rig, clips }) = self.vehicles.get_mut(&vehicle)
            && let Some(mut open) = clips.remove(&clip)
        {
            out.extend(open.take_late_rows().into_iter().map(ClipOutput::Row));
            let OpenClip { builder, mut dropped, late, dead_lettered, used, .. } = open;
            let labelling = self.context.metrics.time_clip(Stage::Label, &vehicle, clip);
            let models;
            (counts, models) = builder.finish(rig, &mut out);
            info.models.extend(models);
            drop(labelling);
            for output in &out {
                if let ClipOutput::Dropped(reason) = output {
                    *dropped.entry(reason.as_str().to_owned()).or_default() += 1;
                }
            }
            info.counts.samples = counts.samples;
            info.counts.used = used;
            info.counts.late = late;
            info.counts.dead_lettered = dead_lettered;
            info.counts.dropped.extend(dropped);
        }
        self.outputs(&vehicle, clip, out).map_err(|HungUp| None)?;
        self.report(LaneReport::Counted(counts)).map_err(|HungUp| None)?;
        self.write(WriteJob::Seal((vehicle, clip), info)).map_err(|HungUp| None)
    }

    fn outputs(&self, vehicle: &Arc<str>, clip: ClipId, out: Vec<ClipOutput>) -> Result<(), HungUp> {
        for output in out {
            match output {
                ClipOutput::Row(row) => {
                    self.count(&row);
                    self.write(WriteJob::Row((vehicle.clone(), clip), row))?;
                }
                ClipOutput::Dropped(reason) => self.report(LaneReport::Dropped(reason))?,
                ClipOutput::Scene(mut scene) => {
                    if let Some(live) = &self.context.live {
                        scene.index = live.next_index.fetch_add(1, Ordering::Relaxed);
                        live.view.offer(*scene);
                    }
                }
            }
        }
        Ok(())
    }

    fn count(&self, row: &Row) {
        let progress = &self.context.progress;
        match row {
            Row::Lidar { .. } => Progress::add(&progress.sweeps, 1),
            Row::Sample(_) => Progress::add(&progress.samples, 1),
            Row::Boxes(boxes) => Progress::add(&progress.boxes, boxes.len() as u64),
            _ => {}
        }
    }

    fn write(&self, job: WriteJob) -> Result<(), HungUp> {
        self.jobs.send(job).map_err(|_| HungUp)
    }

    fn report(&self, report: LaneReport) -> Result<(), HungUp> {
        self.context.reports.send(report).map_err(|_| HungUp)
    }
}

impl From<ShardError> for PipelineError {
    fn from(error: ShardError) -> Self {
        Self::Shard(error)
    }
}
