//! Our own dataset as labels: the newest revision of every clip.

use std::sync::Arc;

use boxwright_model::Taxonomy;
use boxwright_shard::{ClipReader, Dataset};

use crate::error::EvalError;
use crate::labels::{Camera, FrameNumbers, LabelSet, Object};

/// Reads the boxes of every sample, in the ego frame at the sample's stamp. `camera` names one whose place and intrinsics are kept.
///
/// # Errors
/// When a clip cannot be read, or no clip knows the camera.
pub fn read(dataset: &Dataset, taxonomy: &Taxonomy, camera: Option<&str>) -> Result<LabelSet, EvalError> {
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
            let mut object = Object::new(&taxonomy.get(label.class).name, label.ego_from_box);
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
