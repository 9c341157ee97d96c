//! One clip: from frames in canonical order to rows.
//!
//! A [`ClipBuilder`] is a pure function of the clip's frames and of the calibration known before it. The synchroniser, the tracker and
//! the world's origin start anew with each clip, so that a worker that restarts in the middle of a drive writes the same bytes as one
//! that never stopped. The price is small and known: a set of frames that straddles the bound between two clips is two partial
//! samples, and an object that is seen across it has one track in each clip.
//!
//! ```text
//! transform ──▶ rig, poses (or own_motion: from the sweeps, where no pose comes)
//! camera ─────▶ row ─────────────┐
//! lidar ──▶ to ego ▸ deskew ▸ row ┴▶ matcher ▸ sample ▸ labeler
//! detections ▶ to ego ▸ inbox ────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use boxwright_label::detector::GivenBoxes;
use boxwright_label::{ClipLabeler, LabelConfig, SweepInput};
use boxwright_model::time::NS_PER_MS;
use boxwright_model::{
    Box3, CameraImage, ClipId, DetectedBoxes, DropReason, Finding, FrameHeader, LidarSweep, PointCloud, Pose, Sample, SceneFrame,
    SceneImage, SensorFrame, SensorKind, Severity, StampedPose, Taxonomy,
};
use boxwright_timesync::motion::time_from_azimuth;
use boxwright_timesync::{
    ClockConfig, MatchEvent, MatchFrame, Matcher, MatcherConfig, MatcherError, MotionConfig, PoseTrack, SensorTiming,
    TransformError, deskew,
};

use self::blind::Blind;
use self::detections::{Inbox, Turn, Unanswered};
use self::look::{HeldImage, Looker, View};
use self::own_motion::OwnMotion;
use self::times::ClipTimes;
use crate::config::OwnMotionConfig;
use crate::detector::Without;
use crate::networks::{CameraEye, Finder, Networks};
use crate::rig::{Rig, SensorCalibration};
use crate::writer::Row;

mod blind;
mod detections;
mod look;
mod times;

mod own_motion;

/// What every clip of a run is built with.
#[derive(Clone)]
pub(crate) struct ClipSettings {
    pub(crate) sync: MatcherConfig,
    pub(crate) clock: ClockConfig,
    pub(crate) motion: MotionConfig,
    pub(crate) odometry: OwnMotionConfig,
    pub(crate) label: LabelConfig,
    pub(crate) taxonomy: Arc<Taxonomy>,
    pub(crate) networks: Networks,
    /// Whether scenes are made for a viewer.
    pub(crate) scenes: bool,
}

/// What leaves the builder, in order.
#[derive(Debug)]
pub(crate) enum ClipOutput {
    /// A row to store.
    Row(Row),
    /// A sample to show.
    Scene(Box<SceneFrame>),
    /// A frame that is in no sample.
    Dropped(DropReason),
}

/// Numbers of one clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClipCounts {
    pub(crate) samples: u64,
    pub(crate) partial_samples: u64,
    pub(crate) sweeps: u64,
    pub(crate) boxes: u64,
    pub(crate) tracks: u64,
    pub(crate) findings: u64,
}

/// How far event time must have passed a sweep before it is deskewed. Half a sweep at 10 Hz after its stamp the last point was
/// measured, a whole one where the stamp is the sweep's start; half a sweep more brings the next pose even at 20 Hz.
const POSE_WAIT_NS: i64 = 150 * NS_PER_MS;

/// A sweep in the ego frame whose deskew waits for poses after it.
struct PendingSweep {
    token: u64,
    header: FrameHeader,
    /// Its stamp by the common clock: see [`ClipBuilder::common_ns`].
    common_ns: i64,
    points: PointCloud,
    lidar_origin_ego_m: [f64; 3],
}

/// A sweep as it is stored, kept until its sample is decided.
struct ReadySweep {
    sensor: Arc<str>,
    stamp_ns: i64,
    common_ns: i64,
    points: Arc<PointCloud>,
    lidar_origin_ego_m: [f64; 3],
}

/// Builds one clip of one vehicle.
pub(crate) struct ClipBuilder {
    scenes: bool,
    first_stamp_ns: Option<i64>,
    next_token: u64,
    matcher: Matcher,
    times: ClipTimes,
    timing: BTreeMap<String, SensorTiming>,
    /// By the common clock.
    poses: PoseTrack,
    own_motion: OwnMotion,
    /// In canonical order. Bounded: a sweep leaves as soon as event time has passed it by [`POSE_WAIT_NS`], once it is decided where poses
    /// come from.
    pending: VecDeque<PendingSweep>,
    /// Bounded by the matcher's queue: a token leaves with its sample or as unmatched.
    ready: BTreeMap<u64, ReadySweep>,
    /// Samples that wait for their sweep to be deskewed.
    samples: VecDeque<(Sample, Vec<(Arc<str>, u64)>)>,
    /// Only kept for a viewer or a network; bounded like `ready`.
    images: BTreeMap<u64, HeldImage>,
    eye: Option<CameraEye>,
    looker: Looker,
    finder: Finder,
    without: Without,
    /// Boxes of a service outside, where it is asked.
    inbox: Option<Inbox>,
    unanswered: Unanswered,
    blind: Blind,
    labeler: ClipLabeler,
    written_calibration: BTreeMap<Arc<str>, SensorCalibration>,
    unplaced: BTreeSet<Arc<str>>,
    counts: ClipCounts,
}

impl ClipBuilder {
    pub(crate) fn new(settings: &ClipSettings, vehicle: Arc<str>, clip: ClipId) -> Result<Self, MatcherError> {
        Ok(Self {
            matcher: Matcher::new(&settings.sync, vehicle)?,
            times: ClipTimes::new(&settings.sync, &settings.clock),
            timing: settings.sync.timing.clone(),
            scenes: settings.scenes,
            first_stamp_ns: None,
            next_token: 0,
            poses: PoseTrack::new(&settings.motion),
            own_motion: OwnMotion::new(&settings.odometry),
            pending: VecDeque::new(),
            ready: BTreeMap::new(),
            samples: VecDeque::new(),
            images: BTreeMap::new(),
            labeler: ClipLabeler::new(&settings.label, settings.taxonomy.clone(), clip)
                .with_camera_model(settings.networks.camera.as_ref().map(|eye| eye.detector.spec().clone())),
            eye: settings.networks.camera.clone(),
            looker: Looker::default(),
            finder: settings.networks.finder.clone(),
            without: settings.networks.without,
            inbox: match &settings.networks.finder {
                Finder::Topic(topic) => Some(Inbox::new(topic.clone())),
                Finder::BuiltIn | Finder::Network(_) => None,
            },
            unanswered: Unanswered::default(),
            blind: Blind::new(settings.label.clean.clone()),
            written_calibration: BTreeMap::new(),
            unplaced: BTreeSet::new(),
            counts: ClipCounts::default(),
        })
    }

    /// Whether this is the first time in the clip that a sensor is found without a place.
    pub(crate) fn first_time_unplaced(&mut self, sensor: &Arc<str>) -> bool {
        let first = self.unplaced.insert(sensor.clone());
        self.counts.findings += u64::from(first);
        first
    }

    /// Takes the next frame in canonical order.
    pub(crate) fn frame(
        &mut self,
        rig: &mut Rig,
        header: FrameHeader,
        frame: SensorFrame,
        out: &mut Vec<ClipOutput>,
    ) -> Result<(), TransformError> {
        let now_ns = header.stamp_ns;
        self.first_stamp_ns.get_or_insert(now_ns);
        self.times.frame(&header);
        self.finish_pending(rig, Some(now_ns), out);
        match frame {
            SensorFrame::Transforms(edges) => {
                if let Some(pose) = rig.apply_transforms(&edges)? {
                    self.pose(rig, &header, pose, out);
                }
            }
            SensorFrame::Calibration { frame_id, model } => rig.apply_calibration(&header.sensor, &frame_id, model),
            SensorFrame::Lidar(sweep) if sweep.points.is_empty() => out.push(ClipOutput::Dropped(DropReason::EmptySweep)),
            SensorFrame::Lidar(sweep) => self.lidar(rig, header, sweep, out),
            SensorFrame::Camera(image) => self.camera(rig, header, image, out),
            SensorFrame::Detections(found) => self.detections(rig, &header, found, out),
        }
        Ok(())
    }

    /// Notes a frame that is stored as late.
    pub(crate) fn late(&mut self, header: &FrameHeader) {
        self.times.late(header);
    }

    /// Ends the clip: everything undecided is decided, and the labels of the whole clip leave. Also the models of services outside whose boxes
    /// were used, with the hash of their weights, for the manifest entry: the last sweeps are labelled only here.
    pub(crate) fn finish(mut self, rig: &Rig, out: &mut Vec<ClipOutput>) -> (ClipCounts, BTreeMap<String, String>) {
        self.finish_pending(rig, None, out);
        let mut events = Vec::new();
        self.matcher.finish(&mut events);
        self.matched(events, out);
        self.label_ready(rig, out);
        for sensor in rig.sensors() {
            self.write_calibration(rig, &sensor, self.first_stamp_ns.unwrap_or_default(), out);
        }
        let mut times = self.times.finish();
        times.extend(self.own_motion.finish());
        let labels = self.labeler.finish();
        let mut learned = self.looker.finish();
        learned.extend(self.unanswered.finish(self.without));
        learned.extend(self.blind.finish());
        let mut dropped = Vec::new();
        let models = self.inbox.iter().flat_map(Inbox::models).collect();
        learned.extend(self.inbox.map(|inbox| inbox.finish(&mut dropped)).unwrap_or_default());
        out.extend(dropped.into_iter().map(ClipOutput::Dropped));
        self.counts.boxes += labels.boxes.len() as u64;
        self.counts.tracks += labels.tracks.len() as u64;
        self.counts.findings += (times.len() + labels.findings.len() + learned.len()) as u64;
        out.push(ClipOutput::Row(Row::Boxes(labels.boxes)));
        out.push(ClipOutput::Row(Row::Tracks(labels.tracks)));
        out.push(ClipOutput::Row(Row::Findings(times)));
        if !learned.is_empty() {
            out.push(ClipOutput::Row(Row::Findings(learned)));
        }
        out.push(ClipOutput::Row(Row::Findings(labels.findings)));
        (self.counts, models)
    }

    fn pose(&mut self, rig: &Rig, header: &FrameHeader, pose: StampedPose, out: &mut Vec<ClipOutput>) {
        let was_open = self.own_motion.is_open();
        if !self.own_motion.takes_message(pose.stamp_ns) {
            return;
        }
        if was_open {
            // Sweeps that only waited for the decision leave as if there had been none to take: before this pose is known.
            self.finish_pending(rig, Some(header.stamp_ns), out);
        }
        self.poses.push(StampedPose { stamp_ns: self.common_ns(&header.sensor, pose.stamp_ns), ..pose });
        out.push(ClipOutput::Row(Row::EgoPose(pose)));
    }

    fn lidar(&mut self, rig: &mut Rig, header: FrameHeader, sweep: LidarSweep, out: &mut Vec<ClipOutput>) {
        rig.see_sensor(&header.sensor, &sweep.frame_id);
        self.write_calibration(rig, &header.sensor, header.stamp_ns, out);
        let placed = rig.calibration(&header.sensor).ego_from_sensor.unwrap_or_else(Pose::identity);
        let mut points = sweep.points;
        if let Some((timing, spin)) = self.timing.get(&*header.sensor).and_then(|timing| Some((timing, timing.spin()?))) {
            time_from_azimuth(&mut points, timing.effective(header.stamp_ref), &spin);
        }
        points.transform(&placed);
        let token = self.match_frame(&header, out);
        let lidar_origin_ego_m = placed.translation.vector.into();
        let common_ns = self.common_ns(&header.sensor, header.stamp_ns);
        self.pending.push_back(PendingSweep { token, header, common_ns, points, lidar_origin_ego_m });
        if !self.own_motion.is_open() {
            self.follow(self.pending.len() - 1, out);
        }
        self.label_ready(rig, out);
    }

    /// Decides where the clip's poses come from, where it is time to: all its waiting sweeps are followed where no message brought any.
    fn decide_poses(&mut self, now_ns: Option<i64>, out: &mut Vec<ClipOutput>) {
        let Some(first) = self.pending.front().filter(|_| self.own_motion.is_open()) else { return };
        let first_ns = first.header.stamp_ns.max(first.common_ns);
        if now_ns.is_some_and(|now_ns| !self.own_motion.has_waited(first_ns, now_ns, self.pending.len())) {
            return;
        }
        self.own_motion.begin(self.pending.iter().map(|sweep| (&sweep.header.sensor, sweep.points.len())));
        (0..self.pending.len()).for_each(|index| self.follow(index, out));
    }

    /// Hands a waiting sweep to the odometry, if that is where poses come from.
    fn follow(&mut self, index: usize, out: &mut Vec<ClipOutput>) {
        let Some(sweep) = self.pending.get(index) else { return };
        let is_done = self.timing.get(&*sweep.header.sensor).is_some_and(|timing| timing.deskewed);
        let Some(world_from_ego) = self.own_motion.place(&sweep.header, sweep.common_ns, &sweep.points, is_done) else { return };
        self.poses.push(StampedPose { stamp_ns: sweep.common_ns, world_from_ego });
        out.push(ClipOutput::Row(Row::EgoPose(StampedPose { stamp_ns: sweep.header.stamp_ns, world_from_ego })));
    }

    fn camera(&mut self, rig: &mut Rig, header: FrameHeader, image: CameraImage, out: &mut Vec<ClipOutput>) {
        rig.see_sensor(&header.sensor, &image.frame_id);
        self.write_calibration(rig, &header.sensor, header.stamp_ns, out);
        if self.scenes || self.eye.as_ref().is_some_and(|eye| eye.sees(&header.sensor)) {
            self.images.insert(self.next_token, HeldImage { header: header.clone(), image: image.clone() });
        }
        self.match_frame(&header, out);
        out.push(ClipOutput::Row(Row::Camera { header, image }));
        self.label_ready(rig, out);
    }

    /// Takes the boxes that a service found in a sweep. They are placed by what is known now, when the sweep itself is.
    fn detections(&mut self, rig: &Rig, header: &FrameHeader, found: DetectedBoxes, out: &mut Vec<ClipOutput>) {
        let Some(inbox) = &mut self.inbox else {
            out.push(ClipOutput::Dropped(DropReason::NotAsked));
            return;
        };
        let ego_from_lidar = rig.calibration(&header.sensor).ego_from_sensor.unwrap_or_else(Pose::identity);
        let mut dropped = Vec::new();
        inbox.take(header, found, ego_from_lidar, &mut dropped);
        out.extend(dropped.into_iter().map(ClipOutput::Dropped));
    }

    /// A stamp by the clock that all sensors share: what the sensor's own clock is known to be ahead is taken out.
    fn common_ns(&self, sensor: &Arc<str>, stamp_ns: i64) -> i64 {
        stamp_ns.saturating_add(self.timing.get(&**sensor).map_or(0, SensorTiming::offset_ns))
    }

    /// Hands a frame to the synchroniser under a new token.
    fn match_frame(&mut self, header: &FrameHeader, out: &mut Vec<ClipOutput>) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        let mut events = Vec::new();
        let frame = MatchFrame {
            sensor: header.sensor.clone(),
            kind: header.kind,
            stamp_ns: header.stamp_ns,
            stamp_ref: header.stamp_ref,
            token,
        };
        self.matcher.push(frame, &mut events);
        self.matched(events, out);
        token
    }

    fn matched(&mut self, events: Vec<MatchEvent>, out: &mut Vec<ClipOutput>) {
        for event in events {
            match event {
                MatchEvent::Sample { sample, tokens } => self.samples.push_back((sample, tokens)),
                MatchEvent::Unmatched { token, .. } => {
                    self.images.remove(&token);
                    self.ready.remove(&token);
                    out.push(ClipOutput::Dropped(DropReason::Unmatched));
                }
            }
        }
    }

    /// Deskews and stores the sweeps that event time has passed; all of them where `now_ns` is `None`.
    fn finish_pending(&mut self, rig: &Rig, now_ns: Option<i64>, out: &mut Vec<ClipOutput>) {
        self.decide_poses(now_ns, out);
        if self.own_motion.is_open() {
            return;
        }
        let mut any = false;
        while let Some(sweep) = self.pending.front() {
            let last_ns = sweep.header.stamp_ns.max(sweep.common_ns);
            if now_ns.is_some_and(|now_ns| last_ns.saturating_add(POSE_WAIT_NS) > now_ns) {
                break;
            }
            let Some(sweep) = self.pending.pop_front() else { break };
            self.store_sweep(sweep, out);
            any = true;
        }
        if any {
            self.label_ready(rig, out);
        }
    }

    fn store_sweep(&mut self, sweep: PendingSweep, out: &mut Vec<ClipOutput>) {
        let PendingSweep { token, header, common_ns, mut points, lidar_origin_ego_m } = sweep;
        let is_done = self.timing.get(&*header.sensor).is_some_and(|timing| timing.deskewed);
        let deskewed = is_done || deskew(&mut points, common_ns, &self.poses);
        let points = Arc::new(points);
        let stamp_ns = header.stamp_ns;
        let sensor = header.sensor.clone();
        self.ready.insert(token, ReadySweep { sensor, stamp_ns, common_ns, points: points.clone(), lidar_origin_ego_m });
        out.push(ClipOutput::Row(Row::Lidar { header, deskewed, points }));
    }

    /// Labels the samples whose sweeps are ready, in order.
    fn label_ready(&mut self, rig: &Rig, out: &mut Vec<ClipOutput>) {
        while let Some((_, tokens)) = self.samples.front() {
            let waiting = |token: &u64| self.pending.iter().any(|sweep| sweep.token == *token);
            if tokens.iter().any(|(_, token)| waiting(token)) {
                return;
            }
            let Some((sample, tokens)) = self.samples.pop_front() else { return };
            self.label(rig, sample, &tokens, out);
        }
    }

    fn label(&mut self, rig: &Rig, sample: Sample, tokens: &[(Arc<str>, u64)], out: &mut Vec<ClipOutput>) {
        self.counts.samples += 1;
        self.counts.partial_samples += u64::from(!sample.missing.is_empty());
        let reference = sample.members.iter().find(|member| member.stamp_ns == sample.stamp_ns && member.residual_ns == 0);
        let common_ns = reference.map_or(sample.stamp_ns, |member| self.common_ns(&member.sensor, sample.stamp_ns));
        let world_from_ego = self.poses.at(common_ns).map(|at| at.world_from_ego);
        let sweeps: Vec<ReadySweep> = tokens.iter().filter_map(|(_, token)| self.ready.remove(token)).collect();
        let images: Vec<HeldImage> = tokens.iter().filter_map(|(_, token)| self.images.remove(token)).collect();
        let mut boxes = Vec::new();
        let turn = self.turn(&sample, world_from_ego, &sweeps);
        sweeps.iter().for_each(|sweep| self.blind.look(sweep));
        let merged = self.merge(sample.stamp_ns, world_from_ego, sweeps);
        if let Some(sweep) = &merged {
            let input = SweepInput {
                sample_id: sample.sample_id.clone(),
                stamp_ns: sample.stamp_ns,
                points: &sweep.points,
                world_from_ego,
                lidar_origin_ego_m: sweep.lidar_origin_ego_m,
            };
            let views = self.look(rig, &images, common_ns);
            boxes = self.label_sweep(&input, &turn, &views, &sweep.sensor);
            self.counts.sweeps += 1;
        }
        if self.scenes {
            out.push(ClipOutput::Scene(Box::new(SceneFrame {
                index: self.counts.samples as i64 - 1,
                stamp_ns: sample.stamp_ns,
                world_from_ego,
                points: merged.map(|sweep| sweep.points).unwrap_or_default(),
                images: images.into_iter().map(scene_image).collect(),
                cameras: Arc::new(rig.scene_cameras()),
                boxes,
            })));
        }
        out.push(ClipOutput::Row(Row::Sample(sample)));
    }

    /// Who finds the objects of a sample's sweeps: for boxes of a service, those of its sweeps in the ego frame at the sample's time.
    fn turn(&mut self, sample: &Sample, world_from_ego: Option<Pose>, sweeps: &[ReadySweep]) -> Turn {
        let inbox = match (&self.finder, &mut self.inbox) {
            (Finder::Network(detector), _) => return Turn::Network(detector.clone()),
            (Finder::Topic(_), Some(inbox)) => inbox,
            _ => return Turn::without(Without::BuiltIn),
        };
        let mut given: Option<GivenBoxes> = None;
        let mut lacking = Vec::new();
        for sweep in sweeps {
            match inbox.of_sweep(&sweep.sensor, sweep.stamp_ns) {
                Ok(mut found) => {
                    let then = self.poses.at(sweep.common_ns).map(|at| at.world_from_ego);
                    if let (Some(now), Some(then), true) = (world_from_ego, then, sweep.stamp_ns != sample.stamp_ns) {
                        let now_from_then = now.inverse() * then;
                        found.boxes.iter_mut().for_each(|one| one.ego_from_box = one.ego_from_box.transformed(&now_from_then));
                    }
                    match &mut given {
                        Some(all) => all.boxes.append(&mut found.boxes),
                        None => given = Some(found),
                    }
                }
                Err(why) => lacking.push((sweep, why)),
            }
        }
        for (sweep, why) in lacking {
            self.unanswered.note(&sweep.sensor, sweep.stamp_ns, why, given.is_some());
        }
        given.map_or_else(|| Turn::without(self.without), Turn::Given)
    }

    /// Labels one sweep; where its detector fails, by what stands in for it.
    fn label_sweep(&mut self, input: &SweepInput<'_>, turn: &Turn, views: &[View], sensor: &Arc<str>) -> Vec<Box3> {
        let labelled = look::with_looks(views, |looks| self.labeler.sweep_by(input, turn.detector(), looks));
        let labelled = labelled.or_else(|error| {
            self.unanswered.note(sensor, input.stamp_ns, error.to_string().into(), false);
            let instead = Turn::without(self.without);
            look::with_looks(views, |looks| self.labeler.sweep_by(input, instead.detector(), looks))
        });
        // Neither the built-in detector nor nobody fails.
        labelled.map(|labels| labels.boxes).unwrap_or_default()
    }

    /// What the network sees in the images of a sample, where it is this sample's turn.
    fn look(&mut self, rig: &Rig, images: &[HeldImage], sample_ns: i64) -> Vec<View> {
        let Some(eye) = &self.eye else { return Vec::new() };
        if !(self.counts.samples - 1).is_multiple_of(u64::from(eye.every)) {
            return Vec::new();
        }
        let seen = images.iter().filter(|held| eye.sees(&held.header.sensor));
        seen.filter_map(|held| {
            let FrameHeader { sensor, stamp_ns, stamp_ref, .. } = &held.header;
            let timing = self.timing.get(&**sensor).cloned().unwrap_or_default();
            let image_ns = timing.instant_ns(*stamp_ns, *stamp_ref);
            self.looker.look(eye, held, rig.calibration(sensor), [sample_ns, image_ns], &self.poses)
        })
        .collect()
    }

    /// The sweeps of one sample as one cloud in the ego frame at the sample's time. The reference sweep comes first.
    fn merge(&self, stamp_ns: i64, world_from_ego: Option<Pose>, mut sweeps: Vec<ReadySweep>) -> Option<ReadySweep> {
        sweeps.sort_by_key(|sweep| sweep.stamp_ns != stamp_ns);
        let mut sweeps = sweeps.into_iter();
        let mut merged = sweeps.next()?;
        for other in sweeps {
            let mut points = PointCloud::clone(&other.points);
            let other_pose = self.poses.at(other.common_ns).map(|at| at.world_from_ego);
            if let (Some(reference), Some(pose)) = (world_from_ego, other_pose) {
                points.transform(&(reference.inverse() * pose));
            }
            // The times of its points are told from the reference's stamp from here on.
            shift_times(&mut points, other.common_ns.saturating_sub(merged.common_ns));
            Arc::make_mut(&mut merged.points).append(&points);
        }
        Some(merged)
    }

    /// Stores a sensor's calibration the first time the clip needs it and whenever it has changed.
    fn write_calibration(&mut self, rig: &Rig, sensor: &Arc<str>, stamp_ns: i64, out: &mut Vec<ClipOutput>) {
        let calibration = rig.calibration(sensor);
        if self.written_calibration.get(sensor) == Some(&calibration) {
            return;
        }
        self.written_calibration.insert(sensor.clone(), calibration.clone());
        out.push(ClipOutput::Row(Row::Calibration { stamp_ns, sensor: sensor.clone(), calibration }));
    }
}

fn scene_image(held: HeldImage) -> SceneImage {
    SceneImage { sensor: held.header.sensor, format: held.image.format, data: held.image.data }
}

/// Adds to the time of every point.
fn shift_times(points: &mut PointCloud, by_ns: i64) {
    for offset_ns in points.time_offset_ns.iter_mut().flatten() {
        // Sweeps of one sample are less than the largest interval apart; offsets have 32 bits, two seconds to either side.
        *offset_ns = i64::from(*offset_ns).saturating_add(by_ns).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    }
}

/// A finding about the rig rather than about a label.
pub(crate) fn unplaced_sensor(header: &FrameHeader, frame_id: &str) -> Finding {
    Finding {
        rule: "BW-R001",
        severity: Severity::Warning,
        stamp_ns: header.stamp_ns,
        track_id: None,
        sample_id: None,
        message: format!(
            "no transform from the ego frame to {frame_id:?} of {}: it is taken for the ego frame itself",
            header.sensor
        ),
        values: serde_json::json!({ "sensor": &*header.sensor, "frame_id": frame_id, "kind": SensorKind::Lidar.as_str() })
            .to_string(),
    }
}
