//! The writer: one thread a lane that owns the open shards and seals them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use boxwright_model::{
    Box3, CameraImage, ClipGrid, ClipId, Finding, FrameHeader, LateReason, PointCloud, Sample, StampedPose, Taxonomy, Track,
};
use boxwright_shard::{
    CalibrationRow, CameraRow, ClipKey, ClipWriter, Dataset, LateRow, LidarRow, SealInfo, SealOutcome, ShardError, WriterConfig,
};
use boxwright_source::Record;

use crate::lane::LaneReport;
use crate::metrics::{Metrics, Stage};
use crate::rig::SensorCalibration;

/// One row (or the rows of one table) of a clip.
#[derive(Debug)]
pub(crate) enum Row {
    Lidar { header: FrameHeader, deskewed: bool, points: Arc<PointCloud> },
    Camera { header: FrameHeader, image: CameraImage },
    EgoPose(StampedPose),
    Calibration { stamp_ns: i64, sensor: Arc<str>, calibration: SensorCalibration },
    Sample(Sample),
    Boxes(Vec<Box3>),
    Tracks(Vec<Track>),
    Findings(Vec<Finding>),
    Late { record: Box<Record>, reason: LateReason },
}

/// Vehicle and clip: what an open shard is known by.
pub(crate) type ClipName = (Arc<str>, ClipId);

/// Work for the writer, done in order.
#[derive(Debug)]
pub(crate) enum WriteJob {
    Row(ClipName, Row),
    Seal(ClipName, Box<SealInfo>),
    /// The vehicle went to another worker: throw its open shards away.
    Abandon(Arc<str>),
    /// The clip has its entry already: throw its open shards away.
    AbandonClip(ClipName),
}

/// What the writer needs to know.
pub(crate) struct Writer {
    pub(crate) dataset: Dataset,
    pub(crate) grid: ClipGrid,
    pub(crate) config: WriterConfig,
    pub(crate) taxonomy: Arc<Taxonomy>,
    pub(crate) metrics: Arc<Metrics>,
    open: BTreeMap<ClipName, ClipWriter>,
}

impl Writer {
    pub(crate) fn new(
        dataset: Dataset,
        grid: ClipGrid,
        config: WriterConfig,
        taxonomy: Arc<Taxonomy>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { dataset, grid, config, taxonomy, metrics, open: BTreeMap::new() }
    }

    /// Works until the lane hangs up or a shard cannot be written. What is open then is thrown away by its `Drop`.
    pub(crate) fn run(mut self, jobs: &Receiver<WriteJob>, reports: &SyncSender<LaneReport>) {
        while let Ok(job) = jobs.recv() {
            if let Err(error) = self.job(job, reports) {
                let _ = reports.send(LaneReport::Failed(error.into()));
                return;
            }
        }
    }

    fn job(&mut self, job: WriteJob, reports: &SyncSender<LaneReport>) -> Result<(), ShardError> {
        match job {
            WriteJob::Row(name, row) => self.row(name, row),
            WriteJob::Abandon(vehicle) => {
                self.open.retain(|(other, _), _| *other != vehicle);
                Ok(())
            }
            WriteJob::AbandonClip(name) => {
                self.open.remove(&name);
                Ok(())
            }
            WriteJob::Seal(name, info) => {
                let writer = match self.open.remove(&name) {
                    Some(writer) => writer,
                    None => self.create(&name)?,
                };
                let sealing = self.metrics.time_clip(Stage::Seal, &name.0, name.1);
                let outcome = writer.seal(*info)?;
                drop(sealing);
                // The run may have ended meanwhile; the entry is durable all the same.
                let _ = reports.send(LaneReport::Sealed { vehicle: name.0, clip: name.1, outcome: Box::new(outcome) });
                Ok(())
            }
        }
    }

    fn create(&self, (vehicle, clip): &ClipName) -> Result<ClipWriter, ShardError> {
        let key = ClipKey { vehicle: vehicle.clone(), clip: *clip, grid: self.grid, revision: 0 };
        ClipWriter::create(&self.dataset, key, &self.config)
    }

    fn row(&mut self, name: ClipName, row: Row) -> Result<(), ShardError> {
        let metrics = self.metrics.clone();
        let _writing = metrics.time_clip(Stage::Write, &name.0, name.1);
        if !self.open.contains_key(&name) {
            let writer = self.create(&name)?;
            self.open.insert(name.clone(), writer);
        }
        let Some(writer) = self.open.get_mut(&name) else { return Ok(()) };
        write_row(writer, &self.taxonomy, row)
    }
}

fn write_row(writer: &mut ClipWriter, taxonomy: &Taxonomy, row: Row) -> Result<(), ShardError> {
    match row {
        Row::Lidar { header, deskewed, points } => writer.lidar(&LidarRow {
            stamp_ns: header.stamp_ns,
            sensor: header.sensor,
            stamp_ref: header.stamp_ref,
            deskewed,
            points,
            source: header.position,
        }),
        Row::Camera { header, image } => writer.camera(&CameraRow {
            stamp_ns: header.stamp_ns,
            sensor: header.sensor,
            stamp_ref: header.stamp_ref,
            width_px: image.width_px,
            height_px: image.height_px,
            format: image.format,
            data: image.data,
            source: header.position,
        }),
        Row::EgoPose(pose) => writer.ego_pose(&pose),
        Row::Calibration { stamp_ns, sensor, calibration } => writer.calibration(&CalibrationRow {
            stamp_ns,
            sensor,
            ego_from_sensor: calibration.ego_from_sensor,
            model: calibration.model,
        }),
        Row::Sample(sample) => writer.sample(&sample),
        Row::Boxes(boxes) => boxes.iter().try_for_each(|one| writer.box3(one, taxonomy)),
        Row::Tracks(tracks) => tracks.iter().try_for_each(|one| writer.track(one, taxonomy)),
        Row::Findings(findings) => findings.iter().try_for_each(|one| writer.finding(one)),
        Row::Late { record, reason } => writer.late(&late_row(*record, reason)),
    }
}

fn late_row(record: Record, reason: LateReason) -> LateRow {
    LateRow {
        stamp_ns: record.header.stamp_ns,
        kind: record.header.kind,
        sensor: record.header.sensor,
        stamp_ref: record.header.stamp_ref,
        reason: reason.as_str().into(),
        schema: record.schema,
        encoding: record.encoding.as_str().into(),
        source: record.header.position,
        payload: record.payload,
    }
}

/// Whether a seal made the entry, or found it there.
pub(crate) fn entry_of(outcome: &SealOutcome) -> (&boxwright_shard::ManifestEntry, bool) {
    match outcome {
        SealOutcome::Sealed(entry) => (entry, true),
        SealOutcome::AlreadySealed(entry) => (entry, false),
    }
}
