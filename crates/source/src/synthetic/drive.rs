//! The drive as messages: what each sensor sends and when, made one sweep at a time on a few threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use boxwright_model::time::NS_PER_S;
use boxwright_model::{CameraImage, Cuboid, FrameTransform, LidarSweep, PointCloud, Pose, SensorFrame, SensorKind, StampRef};
use nalgebra::{Translation3, UnitQuaternion, Vector3};

use super::camera::{self, Camera};
use super::config::{SyntheticConfig, SyntheticError, SyntheticLidar};
use super::lidar::{self, Sweep, SweepPlan};
use super::mesh::{hash, unit_hash};
use super::scene::Scene;

/// Frame of the street.
pub(super) const WORLD: &str = "world";
/// Frame of the vehicle.
pub(super) const BASE: &str = "base_link";
/// Poses are sent from this long before the first sweep until this long after the last one, so that every firing has one on both sides.
const POSE_MARGIN_NS: i64 = 60_000_000;
/// Mounting places and calibrations are sent at the start and again at this interval, for those who join later.
const CALIBRATION_PERIOD_NS: i64 = 5 * NS_PER_S;
/// No message of a sweep is stamped earlier than this before the sweep's start.
const EARLIEST_NS: i64 = 5_000_000;
/// A sweep is made in this many parts, whatever the number of threads.
const SWEEP_PARTS: u32 = 4;

/// Where an object really was at the reference time of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct TruthBox {
    /// Stamp of the sweep: its middle.
    pub sweep_stamp_ns: i64,
    /// Number of the object, the same through the whole drive.
    pub object_id: u32,
    /// `car`, `truck`, `pedestrian` or `cyclist`.
    pub class: Arc<str>,
    /// The tight box around the object at that stamp, in the frame of the ego vehicle at that stamp. Its size never changes.
    pub ego_from_box: Cuboid,
    /// Returns of the sweep that came from the object; zero for one that is wholly hidden.
    pub num_lidar_pts: u32,
    /// Speed over ground.
    pub speed_mps: f64,
}

/// A message of the drive before it is encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticFrame {
    /// Sensor name.
    pub sensor: Arc<str>,
    /// Stamp.
    pub stamp_ns: i64,
    /// What the stamp refers to.
    pub stamp_ref: StampRef,
    /// Counter of the sensor's messages.
    pub seq: u64,
    /// The body.
    pub frame: SensorFrame,
}

impl SyntheticFrame {
    fn order(&self) -> (i64, SensorKind, &str) {
        (self.stamp_ns, self.frame.kind(), &self.sensor)
    }
}

/// A synthetic drive: messages in order of their stamps, and the truth about every sweep sent so far.
///
/// Memory: the scene (35 MB for a minute of driving), the messages of two sweeps (10 MB), and the truth (150 kB per second).
#[derive(Debug)]
pub struct SyntheticDrive {
    config: SyntheticConfig,
    vehicle: Arc<str>,
    grade: Arc<str>,
    scene: Scene,
    ego_from_lidar: Pose,
    cameras: Vec<Camera>,
    sweeps: u32,
    next_sweep: u32,
    next_pose: u64,
    next_calibration: u64,
    /// Messages that are made but not handed out, in order; at most those of two sweeps.
    pending: std::collections::VecDeque<SyntheticFrame>,
    truth: Vec<TruthBox>,
}

impl SyntheticDrive {
    /// Builds the scene.
    ///
    /// # Errors
    /// [`SyntheticError::Option`] where an option is outside its bounds.
    pub fn new(config: SyntheticConfig) -> Result<Self, SyntheticError> {
        config.check()?;
        let scene = Scene::new(config.seed, config.seconds);
        let cameras = config.cameras.iter().map(Camera::new).collect();
        let sweeps = (config.seconds * config.sweep_rate_hz).round().max(1.0) as u32;
        Ok(Self {
            ego_from_lidar: mounting(&config.lidar),
            scene,
            cameras,
            sweeps,
            next_sweep: 0,
            next_pose: 0,
            next_calibration: 0,
            pending: std::collections::VecDeque::new(),
            truth: Vec::new(),
            vehicle: config.vehicle.as_str().into(),
            grade: config.grade.as_str().into(),
            config,
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &SyntheticConfig {
        &self.config
    }

    /// Number of sweeps of the whole drive.
    #[must_use]
    pub fn sweeps(&self) -> u32 {
        self.sweeps
    }

    /// Number of messages of the whole drive.
    #[must_use]
    pub fn total_frames(&self) -> u64 {
        let until_ns = self.sweep_start_ns(self.sweeps) + POSE_MARGIN_NS;
        let span_ns = until_ns - self.first_pose_ns();
        // The first stamp at or beyond the end is not sent.
        let poses = (0..).skip((span_ns as f64 / self.pose_step_ns()) as usize).find(|pose| self.pose_ns(*pose) >= until_ns);
        let calibrations = (span_ns as u64).div_ceil(CALIBRATION_PERIOD_NS as u64);
        let cameras = self.cameras.len() as u64;
        u64::from(self.sweeps) * (1 + cameras) + poses.unwrap_or_default() + calibrations * (1 + cameras)
    }

    pub(super) fn vehicle(&self) -> &Arc<str> {
        &self.vehicle
    }

    pub(super) fn grade(&self) -> &Arc<str> {
        &self.grade
    }

    fn first_pose_ns(&self) -> i64 {
        self.config.start_stamp_ns - POSE_MARGIN_NS
    }

    fn pose_step_ns(&self) -> f64 {
        NS_PER_S as f64 / self.config.pose_rate_hz
    }

    fn pose_ns(&self, pose: u64) -> i64 {
        self.first_pose_ns() + (pose as f64 * self.pose_step_ns()).round() as i64
    }

    /// The exact boxes of every sweep made so far, in order of sweep and object: all objects within the lidar's range, hidden ones too
    /// (`num_lidar_pts` is zero there).
    #[must_use]
    pub fn truth(&self) -> &[TruthBox] {
        &self.truth
    }

    /// The next message in order of stamps, or `None` at the end.
    ///
    /// # Errors
    /// When a picture cannot be encoded or a worker thread is lost.
    pub fn next_frame(&mut self) -> Result<Option<SyntheticFrame>, SyntheticError> {
        loop {
            // What a later sweep could still precede waits for it.
            let safe_ns = if self.next_sweep < self.sweeps { self.sweep_start_ns(self.next_sweep) - EARLIEST_NS } else { i64::MAX };
            if self.pending.front().is_some_and(|frame| frame.stamp_ns < safe_ns) {
                return Ok(self.pending.pop_front());
            }
            if self.next_sweep >= self.sweeps {
                return Ok(None);
            }
            self.make_sweep()?;
        }
    }

    fn period_ns(&self) -> i64 {
        (NS_PER_S as f64 / self.config.sweep_rate_hz).round() as i64
    }

    fn sweep_start_ns(&self, sweep: u32) -> i64 {
        self.config.start_stamp_ns + i64::from(sweep) * self.period_ns()
    }

    fn seconds(&self, stamp_ns: i64) -> f64 {
        (stamp_ns - self.config.start_stamp_ns) as f64 / NS_PER_S as f64
    }

    /// Makes the messages of the next sweep and everything else until its end.
    fn make_sweep(&mut self) -> Result<(), SyntheticError> {
        let sweep = self.next_sweep;
        self.next_sweep += 1;
        let last = self.next_sweep == self.sweeps;
        let until_ns = self.sweep_start_ns(self.next_sweep) + if last { POSE_MARGIN_NS } else { 0 };
        let mut frames = Vec::new();
        self.calibrations(until_ns, &mut frames);
        self.poses(until_ns, &mut frames);
        let (cloud, pictures) = self.see(sweep)?;
        let stamp_ns = self.sweep_start_ns(sweep) + self.period_ns() / 2;
        self.note_truth(stamp_ns, &cloud.owner);
        let lidar: Arc<str> = self.config.lidar.name.as_str().into();
        frames.push(SyntheticFrame {
            sensor: lidar.clone(),
            stamp_ns,
            stamp_ref: StampRef::SweepMid,
            seq: u64::from(sweep),
            frame: SensorFrame::Lidar(LidarSweep { frame_id: lidar, points: cloud.points }),
        });
        frames.extend(pictures);
        self.pending.extend(frames);
        self.pending.make_contiguous().sort_by(|a, b| a.order().cmp(&b.order()));
        Ok(())
    }

    /// Takes the sweep and the pictures, on several threads; results are joined in a fixed order.
    fn see(&self, sweep: u32) -> Result<(Sweep, Vec<SyntheticFrame>), SyntheticError> {
        let parts = SWEEP_PARTS as usize;
        let plan = SweepPlan {
            scene: &self.scene,
            lidar: &self.config.lidar,
            ego_from_lidar: &self.ego_from_lidar,
            start_s: self.seconds(self.sweep_start_ns(sweep)),
            period_s: self.period_ns() as f64 / NS_PER_S as f64,
            noise_seed: hash(hash(self.config.seed) ^ u64::from(sweep)),
        };
        let jobs = parts + self.cameras.len();
        let results = in_parallel(self.threads(), jobs, |job| {
            if job < parts {
                let columns = self.config.lidar.columns;
                let bound = |part: usize| lidar::division(columns, part as u32, SWEEP_PARTS);
                Ok(Seen::Points(lidar::scan(&plan, bound(job), bound(job + 1))))
            } else {
                self.picture(job - parts, sweep).map(Seen::Picture)
            }
        })?;
        let (mut whole, mut pictures) = (Sweep::default(), Vec::new());
        for result in results {
            match result? {
                Seen::Points(part) if whole.owner.is_empty() => whole = part,
                Seen::Points(part) => {
                    whole.points.append(&part.points);
                    whole.owner.extend(part.owner);
                }
                Seen::Picture(picture) => pictures.push(picture),
            }
        }
        Ok((whole, pictures))
    }

    fn threads(&self) -> usize {
        let machine = || std::thread::available_parallelism().map_or(1, usize::from).min(4);
        if self.config.threads == 0 { machine() } else { self.config.threads.min(16) }
    }

    /// Exposure of a camera: when the lidar passes the middle of its view, give or take a trigger's uncertainty.
    fn exposure_ns(&self, camera: usize, sweep: u32) -> i64 {
        let yaw_deg = self.config.cameras.get(camera).map_or(0.0, |camera| camera.yaw_deg);
        let turn = ((180.0 - yaw_deg) / 360.0).rem_euclid(1.0);
        let jitter = f64::from(unit_hash(hash(self.config.seed ^ 0xca3e) ^ (u64::from(sweep) << 8) ^ camera as u64)) - 0.5;
        let passing_ns = (turn * self.period_ns() as f64).round() as i64;
        self.sweep_start_ns(sweep) + passing_ns + (jitter * 4e6).round() as i64
    }

    fn picture(&self, index: usize, sweep: u32) -> Result<SyntheticFrame, SyntheticError> {
        let (Some(camera), Some(config)) = (self.cameras.get(index), self.config.cameras.get(index)) else {
            return Err(SyntheticError::Worker);
        };
        let stamp_ns = self.exposure_ns(index, sweep);
        let picture = camera::render(&self.scene, camera, self.seconds(stamp_ns));
        let name: Arc<str> = config.name.as_str().into();
        let image = CameraImage {
            frame_id: name.clone(),
            width_px: config.width_px,
            height_px: config.height_px,
            format: "jpeg".into(),
            data: jpeg(&picture, config.width_px, config.height_px, config.quality, &name)?.into(),
        };
        Ok(SyntheticFrame {
            sensor: name,
            stamp_ns,
            stamp_ref: StampRef::ExposureMid,
            seq: u64::from(sweep),
            frame: SensorFrame::Camera(image),
        })
    }

    fn poses(&mut self, until_ns: i64, frames: &mut Vec<SyntheticFrame>) {
        loop {
            let stamp_ns = self.pose_ns(self.next_pose);
            if stamp_ns >= until_ns {
                return;
            }
            let world_from_ego = self.scene.world_from_ego(self.seconds(stamp_ns));
            let edge = FrameTransform { stamp_ns, parent: WORLD.into(), child: BASE.into(), parent_from_child: world_from_ego };
            frames.push(state("ego_pose", stamp_ns, self.next_pose, SensorFrame::Transforms(vec![edge])));
            self.next_pose += 1;
        }
    }

    fn calibrations(&mut self, until_ns: i64, frames: &mut Vec<SyntheticFrame>) {
        loop {
            let since_start_ns = self.next_calibration as i64 * CALIBRATION_PERIOD_NS;
            let stamp_ns = self.first_pose_ns() + since_start_ns;
            if stamp_ns >= until_ns {
                return;
            }
            let edge = |name: &str, pose: Pose| FrameTransform {
                stamp_ns,
                parent: BASE.into(),
                child: name.into(),
                parent_from_child: pose,
            };
            let mut edges = vec![edge(&self.config.lidar.name, self.ego_from_lidar)];
            for (camera, config) in self.cameras.iter().zip(&self.config.cameras) {
                edges.push(edge(&config.name, camera.ego_from_camera));
                let frame = SensorFrame::Calibration { frame_id: config.name.as_str().into(), model: camera.model.clone() };
                frames.push(state(&config.name, stamp_ns, self.next_calibration, frame));
            }
            frames.push(state("mounts", stamp_ns, self.next_calibration, SensorFrame::Transforms(edges)));
            self.next_calibration += 1;
        }
    }

    fn note_truth(&mut self, stamp_ns: i64, owner: &[u32]) {
        let time_s = self.seconds(stamp_ns);
        let boxes = truth_boxes(&self.scene, time_s, stamp_ns, self.config.lidar.range_m, owner);
        self.truth.extend(boxes);
    }
}

enum Seen {
    Points(Sweep),
    Picture(SyntheticFrame),
}

fn state(sensor: &str, stamp_ns: i64, seq: u64, frame: SensorFrame) -> SyntheticFrame {
    SyntheticFrame { sensor: sensor.into(), stamp_ns, stamp_ref: StampRef::Instant, seq, frame }
}

fn mounting(lidar: &SyntheticLidar) -> Pose {
    let [roll, pitch, yaw] = lidar.roll_pitch_yaw_deg.map(f64::to_radians);
    Pose::from_parts(Translation3::from(Vector3::from(lidar.position_m)), UnitQuaternion::from_euler_angles(roll, pitch, yaw))
}

fn truth_boxes(scene: &Scene, time_s: f64, stamp_ns: i64, range_m: f64, owner: &[u32]) -> Vec<TruthBox> {
    let mut points = vec![0u32; scene.actors.len() + 1];
    for number in owner {
        if let Some(count) = points.get_mut(*number as usize) {
            *count += 1;
        }
    }
    let ego_from_world = scene.world_from_ego(time_s).inverse();
    let mut boxes = Vec::new();
    for actor in &scene.actors {
        let ego_from_box = actor.world_from_box(&scene.road, &scene.ego, time_s).transformed(&ego_from_world);
        let num_lidar_pts = points.get(actor.object_id as usize).copied().unwrap_or(0);
        if ego_from_box.center_m.norm() <= range_m || num_lidar_pts > 0 {
            boxes.push(TruthBox {
                sweep_stamp_ns: stamp_ns,
                object_id: actor.object_id,
                class: actor.class.clone(),
                ego_from_box,
                num_lidar_pts,
                speed_mps: actor.speed_mps(&scene.road, &scene.ego, time_s),
            });
        }
    }
    boxes
}

fn jpeg(rgb: &[u8], width_px: u32, height_px: u32, quality: u8, sensor: &str) -> Result<Vec<u8>, SyntheticError> {
    let refused = |reason: String| SyntheticError::Encode { sensor: sensor.to_owned(), reason };
    let side = |side: u32| u16::try_from(side).map_err(|error| refused(error.to_string()));
    let mut data = Vec::with_capacity(rgb.len() / 8);
    let mut encoder = jpeg_encoder::Encoder::new(&mut data, quality);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
    encoder
        .encode(rgb, side(width_px)?, side(height_px)?, jpeg_encoder::ColorType::Rgb)
        .map_err(|error| refused(error.to_string()))?;
    Ok(data)
}

/// Runs `jobs` jobs on at most `threads` threads; results come in the order of the jobs.
fn in_parallel<T: Send>(threads: usize, jobs: usize, run: impl Fn(usize) -> T + Sync) -> Result<Vec<T>, SyntheticError> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            if job >= jobs {
                return done;
            }
            done.push((job, run(job)));
        }
    };
    let mut results = Vec::with_capacity(jobs);
    std::thread::scope(|scope| {
        // This thread works too.
        let helpers: Vec<_> = (1..threads.clamp(1, jobs.max(1))).map(|_| scope.spawn(worker)).collect();
        results.extend(worker());
        for helper in helpers {
            results.extend(helper.join().map_err(|_| SyntheticError::Worker)?);
        }
        Ok::<(), SyntheticError>(())
    })?;
    results.sort_by_key(|(job, _)| *job);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// One sweep of about `points` points in the ego frame at its reference time, the vehicle's own motion taken out exactly, with its truth:
/// input for benches and for tests of the labels. The motion of the others stays in the points, as it does in life.
///
/// `points` is taken as at least 2,000 and at most 400,000.
///
/// # Errors
/// None that an own configuration can cause; the type is that of the drive.
pub fn bench_sweep(points: usize, seed: u64) -> Result<(PointCloud, Vec<TruthBox>), SyntheticError> {
    let mut config = SyntheticConfig { seed, seconds: 1.0, cameras: Vec::new(), ..SyntheticConfig::default() };
    // About 9 of 10 pulses come back.
    let columns = points.clamp(2_000, 400_000) as f64 / 0.9 / f64::from(config.lidar.beams);
    config.lidar.columns = (columns.round() as u32).clamp(100, 8192);
    let drive = SyntheticDrive::new(config)?;
    let sweep = 5;
    let (cloud, _) = drive.see(sweep)?;
    let stamp_ns = drive.sweep_start_ns(sweep) + drive.period_ns() / 2;
    let time_s = drive.seconds(stamp_ns);
    let truth = truth_boxes(&drive.scene, time_s, stamp_ns, drive.config.lidar.range_m, &cloud.owner);
    Ok((deskewed(&drive, time_s, cloud.points), truth))
}

/// Moves every point from the sensor at its firing into the ego frame at `time_s`.
fn deskewed(drive: &SyntheticDrive, time_s: f64, mut cloud: PointCloud) -> PointCloud {
    let ego_from_world = drive.scene.world_from_ego(time_s).inverse();
    let offsets = cloud.time_offset_ns.clone().unwrap_or_default();
    let mut known: Option<(i32, Pose)> = None;
    for (index, offset) in offsets.iter().enumerate() {
        let pose = known.filter(|(of, _)| of == offset).map_or_else(
            || {
                let fired_s = time_s + f64::from(*offset) / NS_PER_S as f64;
                ego_from_world * drive.scene.world_from_ego(fired_s) * drive.ego_from_lidar
            },
            |(_, pose)| pose,
        );
        known = Some((*offset, pose));
        if let (Some(x), Some(y), Some(z)) = (cloud.x.get_mut(index), cloud.y.get_mut(index), cloud.z.get_mut(index)) {
            let moved = pose * nalgebra::Point3::new(f64::from(*x), f64::from(*y), f64::from(*z));
            (*x, *y, *z) = (moved.x as f32, moved.y as f32, moved.z as f32);
        }
    }
    cloud
}
