//! The images of a sample as its labels see them: what a network found, and where a point of the sample's time is in each.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_label::look::Look;
use boxwright_label::models::{EncodedImage, ImageBox};
use boxwright_model::{CameraImage, Finding, FrameHeader, Pose, Severity};
use boxwright_timesync::PoseTrack;
use boxwright_timesync::motion::Lens;
use nalgebra::Point3;

use crate::networks::CameraEye;
use crate::rig::SensorCalibration;

/// An image that waits for its sample.
pub(super) struct HeldImage {
    pub(super) header: FrameHeader,
    pub(super) image: CameraImage,
}

/// An image that was looked at.
pub(super) struct View {
    sensor: Arc<str>,
    size_px: [f64; 2],
    boxes: Vec<ImageBox>,
    lens: Lens,
    camera_from_ego: Pose,
}

impl View {
    /// Where a point of the ego frame at the sample's time is in the image.
    fn pixel(&self, [x, y, z]: [f64; 3]) -> Option<[f64; 2]> {
        self.lens.pixel(&(self.camera_from_ego * Point3::new(x, y, z)))
    }
}

/// Hands the views over as the labels take them.
pub(super) fn with_looks<R>(views: &[View], then: impl FnOnce(&[Look<'_>]) -> R) -> R {
    let pixels: Vec<_> = views.iter().map(|view| move |point| view.pixel(point)).collect();
    let looks: Vec<Look<'_>> = views
        .iter()
        .zip(&pixels)
        .map(|(view, pixel)| Look { sensor: view.sensor.clone(), size_px: view.size_px, boxes: &view.boxes, pixel })
        .collect();
    then(&looks)
}

/// Looks at images, and remembers of which cameras it could not.
#[derive(Default)]
pub(super) struct Looker {
    /// By camera: images, the stamp of the first, and why.
    blind: BTreeMap<Arc<str>, (u64, i64, String)>,
}

impl Looker {
    /// Looks at one image. The vehicle moves between the sample's time and the image's: `poses` tells by how much, in the common clock.
    pub(super) fn look(
        &mut self,
        eye: &CameraEye,
        held: &HeldImage,
        calibration: SensorCalibration,
        [sample_ns, image_ns]: [i64; 2],
        poses: &PoseTrack,
    ) -> Option<View> {
        match look(eye, held, calibration, [sample_ns, image_ns], poses) {
            Ok(view) => Some(view),
            Err(why) => {
                let first = || (0, held.header.stamp_ns, why);
                self.blind.entry(held.header.sensor.clone()).or_insert_with(first).0 += 1;
                None
            }
        }
    }

    /// One finding a camera that could not be looked through.
    pub(super) fn finish(self) -> Vec<Finding> {
        let finding = |(sensor, (images, stamp_ns, why)): (Arc<str>, (u64, i64, String))| Finding {
            rule: "BW-R002",
            severity: Severity::Warning,
            stamp_ns,
            track_id: None,
            sample_id: None,
            message: format!("the camera network had no say in {images} images of {sensor}: {why}"),
            values: serde_json::json!({ "sensor": &*sensor, "images": images }).to_string(),
        };
        self.blind.into_iter().map(finding).collect()
    }
}

fn look(
    eye: &CameraEye,
    held: &HeldImage,
    calibration: SensorCalibration,
    [sample_ns, image_ns]: [i64; 2],
    poses: &PoseTrack,
) -> Result<View, String> {
    let camera_from_ego = calibration.ego_from_sensor.ok_or("expected to know where it sits, got no transform")?.inverse();
    let lens = Lens::new(calibration.model.ok_or("expected its intrinsics, got none")?).map_err(|error| error.to_string())?;
    let image = EncodedImage { format: &held.image.format, data: &held.image.data };
    let (boxes, [width, height]) = eye.detector.detect(&image).map_err(|error| error.to_string())?;
    let model = lens.model();
    if [width, height] != [model.width_px, model.height_px] {
        return Err(format!(
            "expected images of {} x {} pixels as in its calibration, got {width} x {height}",
            model.width_px, model.height_px
        ));
    }
    let then_from_now = match (poses.at(image_ns), poses.at(sample_ns)) {
        (Some(then), Some(now)) => then.world_from_ego.inverse() * now.world_from_ego,
        // Without poses the sweep was not moved either.
        _ => Pose::identity(),
    };
    let size_px = [f64::from(width), f64::from(height)];
    let sensor = held.header.sensor.clone();
    Ok(View { sensor, size_px, boxes, lens, camera_from_ego: camera_from_ego * then_from_now })
}
