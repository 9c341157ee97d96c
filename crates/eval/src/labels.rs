//! Labels and truth as every protocol sees them, whatever file they came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_model::{CameraModel, Cuboid, Pose};
use nalgebra::Point3;

/// A rectangle in an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageBox {
    /// Left, top, right, bottom.
    pub ltrb_px: [f64; 4],
}

impl ImageBox {
    /// Area in square pixels.
    #[must_use]
    pub fn area(&self) -> f64 {
        let [left, top, right, bottom] = self.ltrb_px;
        (right - left) * (bottom - top)
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> f64 {
        self.ltrb_px[3] - self.ltrb_px[1]
    }
}

/// One labelled object in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Name of the class, as the file spells it.
    pub class: Arc<str>,
    /// Identity through the sequence; `None` where the file has none.
    pub track: Option<Arc<str>>,
    /// The box in metres, x forward, y left, z up; nuScenes: in the world.
    pub cuboid: Cuboid,
    /// Horizontal distance from the vehicle (metres).
    pub range_m: f64,
    /// The box in the image.
    pub image: Option<ImageBox>,
    /// KITTI's truncation: 0 (all in the image) to 1, in tracking labels 0 to 2.
    pub truncation: f64,
    /// KITTI's occlusion: 0 (visible) to 3.
    pub occlusion: i32,
    /// KITTI's angle of observation (radians); NaN where unknown.
    pub alpha_rad: f64,
    /// Confidence; 1 where the file has none.
    pub score: f64,
    /// Lidar (and radar) points on it; `None` where the file does not say.
    pub num_points: Option<u32>,
    /// Velocity in the plane (m/s); NaN where unknown.
    pub velocity_mps: [f64; 2],
    /// nuScenes' attribute; empty where there is none.
    pub attribute: Arc<str>,
    /// Not to be counted, neither as found nor as missed (outside what the truth covers).
    pub ignored: bool,
}

impl Object {
    /// An object of which only class and box are known.
    #[must_use]
    pub fn new(class: &str, cuboid: Cuboid) -> Self {
        Self {
            class: class.into(),
            track: None,
            range_m: cuboid.center_m.x.hypot(cuboid.center_m.y),
            cuboid,
            image: None,
            truncation: 0.0,
            occlusion: 0,
            alpha_rad: f64::NAN,
            score: 1.0,
            num_points: None,
            velocity_mps: [f64::NAN; 2],
            attribute: "".into(),
            ignored: false,
        }
    }

    /// The first number that is none, by name.
    #[must_use]
    pub fn broken_number(&self) -> Option<&'static str> {
        let cuboid = &self.cuboid;
        let finite = |values: &[f64]| values.iter().all(|v| v.is_finite());
        if !finite(cuboid.center_m.as_slice()) {
            return Some("centre");
        }
        if !finite(cuboid.size_lwh_m.as_slice()) {
            return Some("size");
        }
        if !finite(cuboid.rotation.coords.as_slice()) {
            return Some("rotation");
        }
        if !self.score.is_finite() {
            return Some("score");
        }
        self.image.is_some_and(|image| !finite(&image.ltrb_px)).then_some("image box")
    }
}

/// What the numbers of frames mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameNumbers {
    /// Numbers of frames in a sequence.
    Index,
    /// Times in nanoseconds.
    StampNs,
}

/// Which frame of which sequence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameKey {
    /// Name of the sequence, log, scene or vehicle.
    pub sequence: Arc<str>,
    /// Its number or time.
    pub number: i64,
}

/// The objects of one frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// Objects in the order of the file.
    pub objects: Vec<Object>,
    /// Regions of the image in which nobody labelled (KITTI's `DontCare`).
    pub dont_care: Vec<ImageBox>,
    /// The clip of a dataset (`vehicle/number`), for `boxwright view`.
    pub clip: Option<Arc<str>>,
}

/// A camera that looks at the boxes of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    /// Place: from the frame of the boxes into the optical frame (x right, y down, z forward).
    pub optical_from_boxes: Pose,
    /// Intrinsics.
    pub model: CameraModel,
}

impl Camera {
    /// Whether a point is in the image.
    #[must_use]
    pub fn sees(&self, point: &Point3<f64>) -> bool {
        let p = self.optical_from_boxes * point;
        if p.z < 0.1 {
            return false;
        }
        let (u, v) = (self.model.fx_px * p.x / p.z + self.model.cx_px, self.model.fy_px * p.y / p.z + self.model.cy_px);
        (0.0..f64::from(self.model.width_px)).contains(&u) && (0.0..f64::from(self.model.height_px)).contains(&v)
    }
}

/// All labels of one source.
#[derive(Clone, Debug)]
pub struct LabelSet {
    /// Where they came from.
    pub path: PathBuf,
    /// The frames; a frame that was labelled and holds nothing is there and empty.
    pub frames: BTreeMap<FrameKey, Frame>,
    /// The frames in the order of the file.
    pub order: Vec<FrameKey>,
    /// What the numbers of the frames mean.
    pub numbers: FrameNumbers,
    /// Whether the file gives confidences.
    pub has_scores: bool,
    /// Files that stand for one frame each or name the frames: a frame that is missing was forgotten, not empty.
    pub frames_are_complete: bool,
    /// A camera, where one was asked for.
    pub camera: Option<Camera>,
    /// What the file says of itself.
    pub note: Option<String>,
}

impl LabelSet {
    /// A set without frames.
    #[must_use]
    pub fn new(path: &Path, numbers: FrameNumbers) -> Self {
        let (frames, order) = (BTreeMap::new(), Vec::new());
        let path = path.to_owned();
        Self { path, frames, order, numbers, has_scores: true, frames_are_complete: true, camera: None, note: None }
    }

    /// The frame of a key, made where it is not there yet.
    pub fn frame_mut(&mut self, sequence: &Arc<str>, number: i64) -> &mut Frame {
        let key = FrameKey { sequence: sequence.clone(), number };
        if !self.frames.contains_key(&key) {
            self.order.push(key.clone());
        }
        self.frames.entry(key).or_default()
    }

    /// Every object.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.frames.values().flat_map(|frame| &frame.objects)
    }

    /// Names of the sequences.
    #[must_use]
    pub fn sequences(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.frames.keys().map(|key| key.sequence.clone()).collect();
        names.dedup();
        names
    }

    /// Names of the classes with their number of objects.
    #[must_use]
    pub fn classes(&self) -> BTreeMap<Arc<str>, usize> {
        let mut found = BTreeMap::new();
        self.objects().for_each(|object| *found.entry(object.class.clone()).or_default() += 1);
        found
    }
}
