//! What is known of a vehicle's sensors: where they sit, how its cameras see, and which frame is the ego frame.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::{CameraModel, FrameTransform, Pose, SceneCamera, StampedPose};
use boxwright_timesync::{TransformError, TransformTree};

use crate::config::FramesConfig;

/// Calibration of one sensor as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SensorCalibration {
    /// Place on the vehicle.
    pub(crate) ego_from_sensor: Option<Pose>,
    /// Intrinsics, for cameras.
    pub(crate) model: Option<CameraModel>,
}

/// The rig of one vehicle. It outlives clips; what a clip saw of it is stored with the clip, and a restart begins from there.
#[derive(Debug)]
pub(crate) struct Rig {
    names: FramesConfig,
    tree: TransformTree,
    /// Frame of each sensor, learnt from its messages.
    frame_of_sensor: BTreeMap<Arc<str>, Arc<str>>,
    model_of_sensor: BTreeMap<Arc<str>, CameraModel>,
    model_of_frame: BTreeMap<Arc<str>, CameraModel>,
    /// Read back from the newest sealed clip: used until a message says otherwise.
    restored: BTreeMap<Arc<str>, SensorCalibration>,
}

impl Rig {
    pub(crate) fn new(names: FramesConfig, restored: BTreeMap<Arc<str>, SensorCalibration>) -> Self {
        Self {
            names,
            tree: TransformTree::new(),
            frame_of_sensor: BTreeMap::new(),
            model_of_sensor: BTreeMap::new(),
            model_of_frame: BTreeMap::new(),
            restored,
        }
    }

    /// Takes edges into the tree. Returns the ego pose where these edges moved it.
    pub(crate) fn apply_transforms(&mut self, edges: &[FrameTransform]) -> Result<Option<StampedPose>, TransformError> {
        for edge in edges {
            self.tree.insert(&edge.parent, &edge.child, edge.parent_from_child)?;
        }
        let Some(stamp_ns) = edges.iter().map(|edge| edge.stamp_ns).max() else { return Ok(None) };
        Ok(self.moving_pose(edges).map(|world_from_ego| StampedPose { stamp_ns, world_from_ego }))
    }

    /// `world_from_ego` where one of the edges lies on the way from the world to the ego frame.
    fn moving_pose(&self, edges: &[FrameTransform]) -> Option<Pose> {
        let ego = self.ego_frame()?;
        let pose = self.names.world.iter().find_map(|world| self.tree.lookup(world, ego))?;
        let above = self.frames_above(ego);
        edges.iter().any(|edge| above.contains(&&*edge.child)).then_some(pose)
    }

    /// A frame and everything that it hangs from.
    fn frames_above<'a>(&'a self, frame: &'a str) -> Vec<&'a str> {
        let mut above = vec![frame];
        while let Some((parent, ..)) = self.tree.edges().find(|(_, child, _)| above.last().is_some_and(|last| ***child == **last)) {
            if above.contains(&&**parent) {
                break;
            }
            above.push(parent);
        }
        above
    }

    pub(crate) fn apply_calibration(&mut self, sensor: &Arc<str>, frame_id: &Arc<str>, model: CameraModel) {
        self.model_of_sensor.insert(sensor.clone(), model.clone());
        if !frame_id.is_empty() {
            self.model_of_frame.insert(frame_id.clone(), model);
        }
    }

    /// Notes which frame a sensor's data is in.
    pub(crate) fn see_sensor(&mut self, sensor: &Arc<str>, frame_id: &Arc<str>) {
        if self.frame_of_sensor.get(sensor) != Some(frame_id) {
            self.frame_of_sensor.insert(sensor.clone(), frame_id.clone());
        }
    }

    /// The first configured name that the tree knows.
    fn ego_frame(&self) -> Option<&str> {
        self.names.ego.iter().map(String::as_str).find(|name| self.tree.contains(name))
    }

    /// Everything known of a sensor now.
    pub(crate) fn calibration(&self, sensor: &Arc<str>) -> SensorCalibration {
        // A sensor that has not spoken yet is known by its frame.
        let frame = Some(self.frame_of_sensor.get(sensor).unwrap_or(sensor));
        let restored = self.restored.get(sensor).or_else(|| self.restored.get(frame?));
        let model = self
            .model_of_sensor
            .get(sensor)
            .or_else(|| frame.and_then(|frame| self.model_of_frame.get(frame)))
            .or_else(|| restored.and_then(|known| known.model.as_ref()))
            .cloned();
        let placed = frame.and_then(|frame| self.ego_from_frame(frame));
        SensorCalibration { ego_from_sensor: placed.or_else(|| restored.and_then(|known| known.ego_from_sensor)), model }
    }

    fn ego_from_frame(&self, frame: &str) -> Option<Pose> {
        if self.names.ego.iter().any(|name| name == frame) && self.ego_frame().is_none_or(|ego| ego == frame) {
            return Some(Pose::identity());
        }
        self.tree.lookup(self.ego_frame()?, frame)
    }

    /// Whether it is known where a sensor with data in `frame_id` sits.
    pub(crate) fn is_placed(&self, sensor: &Arc<str>, frame_id: &str) -> bool {
        let restored = self.restored.get(sensor).or_else(|| self.restored.get(frame_id));
        self.ego_from_frame(frame_id).is_some() || restored.is_some_and(|known| known.ego_from_sensor.is_some())
    }

    /// Every sensor whose place or intrinsics are known, and every frame on the vehicle that no sensor has spoken from yet: what a later
    /// clip needs may have been told before.
    pub(crate) fn sensors(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.frame_of_sensor.keys().chain(self.model_of_sensor.keys()).cloned().collect();
        let above = self.ego_frame().map(|ego| self.frames_above(ego)).unwrap_or_default();
        let on_the_vehicle = self.tree.edges().map(|(_, child, _)| child).filter(|child| !above.contains(&&***child));
        let has_spoken = |frame: &Arc<str>| self.frame_of_sensor.values().any(|used| used == frame);
        names.extend(self.restored.keys().chain(on_the_vehicle).filter(|frame| !has_spoken(frame)).cloned());
        names.sort();
        names.dedup();
        names
    }

    /// Cameras that can be drawn: place and intrinsics known.
    pub(crate) fn scene_cameras(&self) -> Vec<SceneCamera> {
        self.sensors()
            .into_iter()
            .filter_map(|sensor| match self.calibration(&sensor) {
                SensorCalibration { ego_from_sensor: Some(ego_from_sensor), model: Some(model) } => {
                    Some(SceneCamera { sensor, ego_from_sensor, model })
                }
                _ => None,
            })
            .collect()
    }
}
