//! Our own dataset as labels: the newest revision of every clip.

use std::sync::Arc;

use boxwright_model::{Box3, Cuboid, Taxonomy};
use boxwright_shard::{ClipReader, Dataset};

use crate::error::EvalError;
use crate::labels::{Camera, FrameNumbers, LabelSet, Object};

/// At which time the boxes of moving objects are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxTime {
    /// Where they were when their points were measured: the time of truth that was drawn around the points of a sweep.
    Points,
    /// Where they were at the stamp of the sample: the time of truth that knows where things are at every moment.
    Sample,
}

impl BoxTime {
    fn ego_from_box(self, label: &Box3) -> Cuboid {
        let mut cuboid = label.ego_from_box;
        if self == Self::Points {
            let ego_from_world = label.ego_from_box.rotation * label.world_from_box.rotation.inverse();
            cuboid.center_m += ego_from_world * (label.measured_world_center_m - label.world_from_box.center_m);
        }
        cuboid
    }
}

/// Reads the boxes of every sample, in the ego frame of the sample, at the time asked for. `camera` names one whose place and intrinsics are
/// kept.
///
/// # Errors
/// When a clip cannot be read, or no clip knows the camera.
pub fn read(dataset: &Dataset, taxonomy: &Taxonomy, camera: Option<&str>, time: BoxTime) -> Result<LabelSet, EvalError> {
    let mut set = LabelSet::new(dataset.root(), FrameNumbers::StampNs);
    let mut cameras = Vec::new();
    for entry in dataset.clips(None)? {
        let vehicle = entry.vehicle.clone();
        let clip = ClipReader::open(dataset, &entry)?;
        let name: Arc<str> = format!("{vehicle}/{}", entry.clip).into();
        for sample in clip.samples()? {
            set.frame_mut(&vehicle, sample.stamp_ns).clip = Some(name.clone());
        }
        for label in clip.boxes(taxonomy)? {
            let mut object = Object::new(&taxonomy.get(label.class).name, time.ego_from_box(&label));
            object.track = Some(label.track_id.to_string().into());
            object.score = label.score;
            object.num_points = Some(label.num_lidar_pts);
            object.velocity_mps = label.velocity_world_mps;
            if let Some(name) = object.broken_number() {
                return Err(EvalError::format(dataset.root(), format!("clip {name}: expected a finite {name}, got another")));
            }
            let frame = set.frame_mut(&vehicle, label.sample_stamp_ns);
            frame.clip = Some(name.clone());
            frame.objects.push(object);
        }
        for row in clip.calibrations()? {
            if camera.is_none_or(|wanted| *row.sensor != *wanted) {
                cameras.push(row.sensor.to_string());
            } else if let (Some(ego_from_sensor), Some(model)) = (row.ego_from_sensor, row.model) {
                set.camera = Some(Camera { optical_from_boxes: ego_from_sensor.inverse(), model });
            }
        }
    }
    if let (Some(wanted), None) = (camera, &set.camera) {
        cameras.sort();
        cameras.dedup();
        let message =
            format!("expected a calibrated camera {wanted}, got {}\nhint: --in-view takes one of these", cameras.join(", "));
        return Err(EvalError::format(dataset.root(), message));
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use boxwright_model::{ClassId, ClipId, LabelSource, Pose, TrackId};
    use nalgebra::{UnitQuaternion, Vector3};

    #[test]
    fn a_box_is_where_its_points_were_or_where_it_is_at_the_stamp_of_the_sample() {
        let turned = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), std::f64::consts::FRAC_PI_2);
        let world_from_ego = Pose::from_parts(nalgebra::Translation3::new(100.0, 50.0, 0.0), turned);
        let ego_from_box = Cuboid::upright(Vector3::new(10.0, 2.0, 0.8), Vector3::new(4.0, 1.8, 1.5), 0.3);
        let world_from_box = ego_from_box.transformed(&world_from_ego);
        let label = Box3 {
            sample_id: "v:5".into(),
            sample_stamp_ns: 5,
            stamp_ns: 5,
            points_ns: [5; 2],
            // Ahead in the world is to the right of a vehicle that looks along y.
            measured_world_center_m: world_from_box.center_m + Vector3::new(1.5, 0.0, 0.0),
            track_id: TrackId { clip: ClipId(0), number: 1 },
            class: ClassId(0),
            score: 0.9,
            ego_from_box,
            world_from_box,
            velocity_world_mps: [15.0, 0.0],
            num_lidar_pts: 50,
            predicted: false,
            source: LabelSource::Auto,
            evidence: String::new(),
        };
        assert_eq!(BoxTime::Sample.ego_from_box(&label), ego_from_box);
        let moved = BoxTime::Points.ego_from_box(&label);
        assert!((moved.center_m - Vector3::new(10.0, 0.5, 0.8)).norm() < 1e-9, "{moved:?}");
        assert_eq!((moved.size_lwh_m, moved.rotation), (ego_from_box.size_lwh_m, ego_from_box.rotation));
    }
}
