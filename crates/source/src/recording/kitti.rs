//! KITTI raw drives: folders with one file per frame.
//!
//! Layout as in Geiger et al., "Vision meets robotics: the KITTI dataset" (2013): a date folder with `calib_*.txt` and drives
//! (`*_sync`, `*_extract`), each with `velodyne_points`, `image_00` to `image_03` and `oxts`.
//!
//! Frames of reference: `ego` is the lidar's frame (x forward, y left, z up), `image_0x` the camera's optical frame, `world` the IMU's
//! frame at the first OXTS packet. Sensors are named `velodyne_points`, `image_0x`, `oxts` (poses) and `calib` (places of the cameras).
//! Images of a `*_sync` drive are rectified: their intrinsics come from `P_rect` and have no distortion; those of an `*_extract` drive
//! are as taken, with `K` and `D`.
//!
//! Times in `timestamps.txt` are taken as UTC. Messages come in the order of (stamp, kind, sensor), after the calibration, which has
//! the earliest stamp.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use boxwright_model::{FrameTransform, Pose, SensorKind, StampRef};
use bytes::Bytes;

use self::calib::{CalibFile, Camera};
use self::layout::FrameFile;
use self::oxts::{LocalWorld, Packet};
use super::notes::Notes;
use super::origin::name_of;
use crate::error::RecordingError;
use crate::record::{Encoding, OutgoingMessage, Recording};
use crate::wire;

mod layout;

mod calib;

mod oxts;

mod files;

#[cfg(test)]
mod tests;

/// Frame of the lidar and of everything that is placed on the vehicle.
const EGO: &str = "ego";
/// Frame that poses are given in.
const WORLD: &str = "world";

const LIDAR_EXTENSIONS: [&str; 2] = ["bin", "txt"];
const CAMERA_EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];
const OXTS_EXTENSIONS: [&str; 1] = ["txt"];

/// A KITTI raw drive, read frame by frame: one frame is in memory at a time.
pub struct KittiRaw {
    vehicle: Arc<str>,
    /// Calibration, made when the drive was opened; last first.
    prepared: Vec<OutgoingMessage>,
    /// Frames still to be read; last first.
    frames: Vec<Frame>,
    total: u64,
    world: Option<LocalWorld>,
    imu_from_velo: Pose,
    counters: BTreeMap<(SensorKind, Arc<str>), u64>,
    origin: Arc<str>,
    notes: Notes,
}

/// One frame of one sensor.
struct Frame {
    kind: SensorKind,
    sensor: Arc<str>,
    file: FrameFile,
}

impl KittiRaw {
    /// Opens the one drive that `path` means: the drive folder, its date folder, or a parent. The vehicle is named like the drive
    /// folder where `vehicle` does not say otherwise.
    ///
    /// # Errors
    /// When there is no drive or more than one, when a sensor has frames and no `timestamps.txt`, or when there is no frame at all.
    pub fn open(path: &Path, vehicle: Option<Arc<str>>) -> Result<Self, RecordingError> {
        let drive = layout::find_drive(path)?;
        let name = drive.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut notes = Notes::default();
        let frames = list_frames(&drive, &mut notes)?;
        let Some(earliest_ns) = frames.iter().map(|frame| frame.file.stamp_ns).min() else {
            let details = notes.list().iter().map(|note| format!("\n  {note}")).collect::<String>();
            let message = format!("expected frames in velodyne_points, image_0x or oxts, got none that can be read{details}");
            return Err(RecordingError::Invalid { path: drive, message });
        };
        let origin = origin_of(&frames);
        let mut recording = Self {
            vehicle: vehicle.unwrap_or_else(|| name.as_str().into()),
            prepared: Vec::new(),
            total: 0,
            world: first_packet(&frames).map(|packet| LocalWorld::at(&packet)),
            frames,
            imu_from_velo: Pose::identity(),
            counters: BTreeMap::new(),
            origin,
            notes,
        };
        recording.calibrate(&drive, earliest_ns, !name.ends_with("_extract"));
        recording.frames.sort_by(|a, b| b.order().cmp(&a.order()));
        recording.total = (recording.prepared.len() + recording.frames.len()) as u64;
        Ok(recording)
    }

    /// Reads the calibration files and prepares the messages that place the cameras.
    fn calibrate(&mut self, drive: &Path, stamp_ns: i64, rectified: bool) {
        let date = drive.parent().unwrap_or(drive);
        let dirs = [date, drive];
        if self.world.is_some() {
            match CalibFile::find(&dirs, "calib_imu_to_velo.txt").and_then(|file| file.rigid("")) {
                Ok(velo_from_imu) => self.imu_from_velo = velo_from_imu.inverse(),
                Err(error) => self.notes.note(format!(
                    "{error}; the pose of the IMU is taken as that of the lidar, which is about a metre away from it"
                )),
            }
        }
        let mut names: Vec<Arc<str>> =
            self.frames.iter().filter(|frame| frame.kind == SensorKind::Camera).map(|frame| frame.sensor.clone()).collect();
        names.sort();
        names.dedup();
        let cameras = match place_cameras(&dirs, &names, rectified) {
            Ok(cameras) => cameras,
            Err(error) => {
                self.notes.note(format!("{error}; the cameras cannot be placed on the vehicle"));
                return;
            }
        };
        self.prepare(&cameras, stamp_ns);
    }

    fn prepare(&mut self, cameras: &[(Arc<str>, Camera)], stamp_ns: i64) {
        if cameras.is_empty() {
            return;
        }
        for (name, camera) in cameras.iter().rev() {
            let payload = wire::encode_camera_calibration(stamp_ns, name, &camera.model);
            self.prepared.push(self.message(SensorKind::Calibration, name, stamp_ns, payload));
        }
        let transforms: Vec<FrameTransform> = cameras
            .iter()
            .map(|(name, camera)| FrameTransform {
                stamp_ns,
                parent: EGO.into(),
                child: name.clone(),
                parent_from_child: camera.ego_from_camera,
            })
            .collect();
        self.prepared.push(self.message(SensorKind::Transform, &"calib".into(), stamp_ns, wire::encode_transforms(&transforms)));
    }

    fn message(&self, kind: SensorKind, sensor: &Arc<str>, stamp_ns: i64, payload: Bytes) -> OutgoingMessage {
        let (schema, stamp_ref) = match kind {
            SensorKind::Lidar => ("foxglove.PointCloud", StampRef::SweepMid),
            SensorKind::Camera => ("foxglove.CompressedImage", StampRef::Trigger),
            SensorKind::Calibration => ("foxglove.CameraCalibration", StampRef::Instant),
            SensorKind::Transform => ("foxglove.FrameTransforms", StampRef::Instant),
            SensorKind::Detections => ("boxwright.Detections", StampRef::SweepMid),
        };
        OutgoingMessage {
            kind,
            vehicle: self.vehicle.clone(),
            sensor: sensor.clone(),
            stamp_ns,
            stamp_ref,
            seq: 0,
            grade: "".into(),
            schema: schema.into(),
            encoding: Encoding::Protobuf,
            payload,
            log_time_ns: stamp_ns,
        }
    }

    /// Reads a frame's file into a payload; the error is a sentence that names the file.
    fn payload_of(&self, frame: &Frame) -> Result<Bytes, String> {
        let FrameFile { stamp_ns, path } = &frame.file;
        match frame.kind {
            SensorKind::Lidar => Ok(wire::encode_packed_points(*stamp_ns, EGO, files::read_points(path)?)),
            SensorKind::Camera => {
                let (format, data) = files::read_image(path)?;
                Ok(wire::encode_compressed_image(*stamp_ns, &frame.sensor, format, &data))
            }
            SensorKind::Transform | SensorKind::Calibration | SensorKind::Detections => {
                let packet = read_packet(&frame.file)?;
                let world = self.world.ok_or_else(|| format!("{}: expected an origin of the world, got none", path.display()))?;
                let world_from_ego = world.world_from_imu(&packet) * self.imu_from_velo;
                let edge = FrameTransform {
                    stamp_ns: *stamp_ns,
                    parent: WORLD.into(),
                    child: EGO.into(),
                    parent_from_child: world_from_ego,
                };
                Ok(wire::encode_transforms(&[edge]))
            }
        }
    }

    /// Numbers a message within its sensor.
    fn numbered(&mut self, mut message: OutgoingMessage) -> OutgoingMessage {
        let counter = self.counters.entry((message.kind, message.sensor.clone())).or_default();
        message.seq = *counter;
        *counter += 1;
        message
    }
}

impl Recording for KittiRaw {
    /// The next frame. One that is broken is passed over with a warning.
    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, RecordingError> {
        if let Some(message) = self.prepared.pop() {
            return Ok(Some(self.numbered(message)));
        }
        while let Some(frame) = self.frames.pop() {
            match self.payload_of(&frame) {
                Ok(payload) => {
                    let message = self.message(frame.kind, &frame.sensor, frame.file.stamp_ns, payload);
                    return Ok(Some(self.numbered(message)));
                }
                Err(error) => self.notes.lost(format!("{error}: passed over")),
            }
        }
        Ok(None)
    }

    fn warnings(&self) -> Vec<String> {
        self.notes.list()
    }

    /// Whether a frame was passed over.
    fn is_truncated(&self) -> bool {
        self.notes.data_lost()
    }

    fn origin(&self) -> Arc<str> {
        self.origin.clone()
    }

    fn total_messages_hint(&self) -> Option<u64> {
        Some(self.total)
    }
}

impl Frame {
    fn order(&self) -> (i64, SensorKind, &str, &Path) {
        (self.file.stamp_ns, self.kind, &self.sensor, &self.file.path)
    }
}

/// A drive is known by all its frames, their numbers and stamps: with some more of them its messages would count otherwise.
fn origin_of(frames: &[Frame]) -> Arc<str> {
    let mut lines: Vec<String> = frames
        .iter()
        .map(|frame| {
            format!("{} {} {}", frame.sensor, frame.file.path.file_stem().unwrap_or_default().display(), frame.file.stamp_ns)
        })
        .collect();
    lines.sort();
    name_of(lines.iter().map(String::as_bytes)).into()
}

fn list_frames(drive: &Path, notes: &mut Notes) -> Result<Vec<Frame>, RecordingError> {
    let mut frames = Vec::new();
    for folder in layout::FOLDERS {
        let (kind, extensions) = match folder {
            "velodyne_points" => (SensorKind::Lidar, LIDAR_EXTENSIONS.as_slice()),
            "oxts" => (SensorKind::Transform, OXTS_EXTENSIONS.as_slice()),
            _ => (SensorKind::Camera, CAMERA_EXTENSIONS.as_slice()),
        };
        let sensor: Arc<str> = folder.into();
        let files = layout::frames_of(drive, folder, extensions, notes)?;
        frames.extend(files.into_iter().map(|file| Frame { kind, sensor: sensor.clone(), file }));
    }
    Ok(frames)
}

/// The first packet that can be read: the origin of the world.
fn first_packet(frames: &[Frame]) -> Option<Packet> {
    frames.iter().filter(|frame| frame.kind == SensorKind::Transform).find_map(|frame| read_packet(&frame.file).ok())
}

fn read_packet(file: &FrameFile) -> Result<Packet, String> {
    let text = files::read_text(&file.path)?;
    Packet::parse(&text).map_err(|error| format!("{}: {error}", file.path.display()))
}

fn place_cameras(dirs: &[&Path], names: &[Arc<str>], rectified: bool) -> Result<Vec<(Arc<str>, Camera)>, String> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let cam0_from_velo = CalibFile::find(dirs, "calib_velo_to_cam.txt")?.rigid("")?;
    let file = CalibFile::find(dirs, "calib_cam_to_cam.txt")?;
    names
        .iter()
        .map(|name| {
            let number = name.trim_start_matches("image_");
            let camera = if rectified {
                file.rectified_camera(number, &cam0_from_velo)
            } else {
                file.unrectified_camera(number, &cam0_from_velo)
            };
            Ok((name.clone(), camera?))
        })
        .collect()
}
