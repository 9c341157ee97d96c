//! A stored clip as the moments that a viewer shows.
//!
//! Rows stream from the shards in stamp order; only the rows that the next samples may name are kept, so memory is bounded by the
//! width of a sample, not by the clip.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::{Box3, Sample, SceneCamera, SceneFrame, SceneImage, StampedPose, Taxonomy};
use boxwright_shard::{CameraRow, ClipReader, Dataset, LidarRow, ManifestEntry, ShardError};

/// Frames of a sensor by stamp.
type Window<T> = BTreeMap<(i64, Arc<str>), T>;
/// Rows of one table, in stamp order.
type Rows<T> = Box<dyn Iterator<Item = Result<T, ShardError>>>;

/// The moments of some clips, one after the other.
pub struct Scenes {
    clips: std::vec::IntoIter<ClipScenes>,
    current: Option<ClipScenes>,
    next_index: i64,
    total: usize,
}

impl Scenes {
    /// Opens clips of a dataset.
    ///
    /// # Errors
    /// When a shard cannot be opened or its label tables cannot be read.
    pub fn open(dataset: &Dataset, entries: &[ManifestEntry], taxonomy: Arc<Taxonomy>) -> Result<Self, ShardError> {
        let clips =
            entries.iter().map(|entry| ClipScenes::open(dataset, entry, &taxonomy)).collect::<Result<Vec<_>, ShardError>>()?;
        let total = clips.iter().map(|clip| clip.samples.len()).sum();
        Ok(Self { clips: clips.into_iter(), current: None, next_index: 0, total })
    }

    /// Number of samples.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }
}

impl Iterator for Scenes {
    type Item = Result<SceneFrame, ShardError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(scene) = self.current.as_mut().and_then(ClipScenes::next_scene) {
                let index = self.next_index;
                self.next_index += 1;
                return Some(scene.map(|scene| SceneFrame { index, ..scene }));
            }
            self.current = Some(self.clips.next()?);
        }
    }
}

/// One clip.
struct ClipScenes {
    samples: std::vec::IntoIter<Sample>,
    boxes: BTreeMap<i64, Vec<Box3>>,
    poses: Vec<StampedPose>,
    cameras: Arc<Vec<SceneCamera>>,
    lidar: Rows<LidarRow>,
    camera: Rows<CameraRow>,
    sweeps: Window<LidarRow>,
    images: Window<CameraRow>,
    max_skew_ns: i64,
}

impl ClipScenes {
    fn open(dataset: &Dataset, entry: &ManifestEntry, taxonomy: &Taxonomy) -> Result<Self, ShardError> {
        let reader = ClipReader::open(dataset, entry)?;
        let mut boxes = BTreeMap::<i64, Vec<Box3>>::new();
        for one in reader.boxes(taxonomy)? {
            boxes.entry(one.sample_stamp_ns).or_default().push(one);
        }
        let mut cameras = BTreeMap::new();
        for row in reader.calibrations()? {
            if let (Some(ego_from_sensor), Some(model)) = (row.ego_from_sensor, row.model) {
                cameras.insert(row.sensor.clone(), SceneCamera { sensor: row.sensor, ego_from_sensor, model });
            }
        }
        let samples = reader.samples()?;
        let skew = |sample: &Sample| sample.members.iter().map(|member| member.residual_ns.abs()).max().unwrap_or_default();
        let max_skew_ns = samples.iter().map(skew).max().unwrap_or_default();
        Ok(Self {
            samples: samples.into_iter(),
            boxes,
            poses: reader.ego_poses()?,
            cameras: Arc::new(cameras.into_values().collect()),
            lidar: Box::new(reader.lidar()?),
            camera: Box::new(reader.camera()?),
            sweeps: Window::new(),
            images: Window::new(),
            max_skew_ns,
        })
    }

    fn next_scene(&mut self) -> Option<Result<SceneFrame, ShardError>> {
        let sample = self.samples.next()?;
        Some(self.scene(sample))
    }

    fn scene(&mut self, sample: Sample) -> Result<SceneFrame, ShardError> {
        let until_ns = sample.stamp_ns.saturating_add(self.max_skew_ns);
        let from_ns = sample.stamp_ns.saturating_sub(self.max_skew_ns);
        advance(&mut self.lidar, &mut self.sweeps, from_ns, until_ns, |row| (row.stamp_ns, row.sensor.clone()))?;
        advance(&mut self.camera, &mut self.images, from_ns, until_ns, |row| (row.stamp_ns, row.sensor.clone()))?;
        let mut scene = SceneFrame {
            stamp_ns: sample.stamp_ns,
            world_from_ego: self.pose_at(sample.stamp_ns),
            cameras: self.cameras.clone(),
            boxes: self.boxes.remove(&sample.stamp_ns).unwrap_or_default(),
            ..SceneFrame::default()
        };
        for member in &sample.members {
            let key = (member.stamp_ns, member.sensor.clone());
            if let Some(row) = self.sweeps.get(&key) {
                match scene.points.is_empty() {
                    true => scene.points = row.points.clone(),
                    false => Arc::make_mut(&mut scene.points).append(&row.points),
                }
            }
            if let Some(row) = self.images.get(&key) {
                let (format, data) = (row.format.clone(), row.data.clone());
                scene.images.push(SceneImage { sensor: row.sensor.clone(), format, data });
            }
        }
        Ok(scene)
    }

    /// The pose at a stamp, between the two stored ones beside it.
    fn pose_at(&self, stamp_ns: i64) -> Option<boxwright_model::Pose> {
        let after = self.poses.partition_point(|pose| pose.stamp_ns < stamp_ns);
        let next = self.poses.get(after).or(self.poses.last())?;
        let Some(before) = after.checked_sub(1).and_then(|index| self.poses.get(index)) else { return Some(next.world_from_ego) };
        let span = next.stamp_ns - before.stamp_ns;
        if span <= 0 {
            return Some(next.world_from_ego);
        }
        let share = (stamp_ns - before.stamp_ns) as f64 / span as f64;
        Some(before.world_from_ego.try_lerp_slerp(&next.world_from_ego, share.min(1.0), 1e-9).unwrap_or(next.world_from_ego))
    }
}

/// Reads rows up to `until_ns` into the window and lets go of those before `from_ns`.
fn advance<T>(
    rows: &mut Rows<T>,
    window: &mut Window<T>,
    from_ns: i64,
    until_ns: i64,
    key: impl Fn(&T) -> (i64, Arc<str>),
) -> Result<(), ShardError> {
    window.retain(|(stamp_ns, _), _| *stamp_ns >= from_ns);
    while window.keys().next_back().is_none_or(|(newest_ns, _)| *newest_ns <= until_ns) {
        let Some(row) = rows.next().transpose()? else { return Ok(()) };
        window.insert(key(&row), row);
    }
    Ok(())
}
