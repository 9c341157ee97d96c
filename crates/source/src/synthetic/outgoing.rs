//! The drive as a recording: each frame in the payload that a vehicle would send.

use std::sync::Arc;

use boxwright_model::{SensorFrame, SensorKind};

use super::config::SyntheticError;
use super::drive::{SyntheticDrive, SyntheticFrame};
use crate::error::RecordingError;
use crate::record::{Encoding, OutgoingMessage, Recording};
use crate::wire;

impl Recording for SyntheticDrive {
    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, RecordingError> {
        let frame = self.next_frame()?;
        Ok(frame.map(|frame| outgoing(frame, self.vehicle(), self.grade())))
    }

    fn total_messages_hint(&self) -> Option<u64> {
        Some(self.total_frames())
    }
}

impl From<SyntheticError> for RecordingError {
    fn from(error: SyntheticError) -> Self {
        // The variant writes its path before the message; a drive that is made up has only its name there.
        let message = error.to_string().trim_start_matches("synthetic drive: ").to_owned();
        Self::Invalid { path: "synthetic drive".into(), message }
    }
}

fn outgoing(frame: SyntheticFrame, vehicle: &Arc<str>, grade: &Arc<str>) -> OutgoingMessage {
    let kind = frame.frame.kind();
    let schema = match kind {
        SensorKind::Lidar => "foxglove.PointCloud",
        SensorKind::Camera => "foxglove.CompressedImage",
        SensorKind::Calibration => "foxglove.CameraCalibration",
        SensorKind::Transform => "foxglove.FrameTransforms",
        SensorKind::Detections => "boxwright.Detections",
    };
    let payload = match &frame.frame {
        SensorFrame::Lidar(sweep) => wire::encode_point_cloud(frame.stamp_ns, &sweep.frame_id, &sweep.points),
        SensorFrame::Camera(image) => wire::encode_compressed_image(frame.stamp_ns, &image.frame_id, &image.format, &image.data),
        SensorFrame::Calibration { frame_id, model } => wire::encode_camera_calibration(frame.stamp_ns, frame_id, model),
        SensorFrame::Transforms(edges) => wire::encode_transforms(edges),
        SensorFrame::Detections(found) => wire::encode_detections(found),
    };
    OutgoingMessage {
        kind,
        vehicle: vehicle.clone(),
        sensor: frame.sensor,
        stamp_ns: frame.stamp_ns,
        stamp_ref: frame.stamp_ref,
        seq: frame.seq,
        grade: grade.clone(),
        schema: schema.into(),
        encoding: Encoding::Protobuf,
        payload,
        // Messages leave in order of their stamps, so that pace is the stamps' own.
        log_time_ns: frame.stamp_ns,
    }
}
