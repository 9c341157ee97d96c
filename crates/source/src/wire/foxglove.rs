//! Foxglove's messages in protobuf, both ways.

use boxwright_model::time::NS_PER_S;
use boxwright_model::{CameraModel, FrameTransform, LidarSweep, PointCloud, Pose, SensorFrame};
use bytes::{BufMut, Bytes, BytesMut};
use foxglove::messages::{self, Timestamp, packed_element_field::NumericType};
use prost::Message;

use super::image::MAX_SIDE_PX;
use super::points::{self, Field, Layout, Scalar};
use super::{Fault, Schema, WireError, frame_name, image, pose};
use crate::quoted::quoted;

/// Most distortion parameters that are believed: the largest known model (OpenCV's, tilted) has 14.
const MAX_DISTORTION: usize = 32;

pub(super) fn decode(schema: &Schema, payload: &Bytes, stamp_ns: i64) -> Result<SensorFrame, WireError> {
    let content = match schema.name {
        "foxglove.PointCloud" => point_cloud(schema, read(schema, payload)?, stamp_ns)?,
        "foxglove.CompressedImage" => compressed_image(read(schema, payload)?),
        "foxglove.RawImage" => raw_image(&read(schema, payload)?),
        "foxglove.CameraCalibration" => calibration(read(schema, payload)?),
        "foxglove.FrameTransform" => {
            let message: messages::FrameTransform = read(schema, payload)?;
            transforms(std::slice::from_ref(&message), stamp_ns)
        }
        "foxglove.FrameTransforms" => transforms(&read::<messages::FrameTransforms>(schema, payload)?.transforms, stamp_ns),
        other => Err(format!("no decoder for {other}")),
    };
    content.map_err(|fault| schema.invalid(fault))
}

/// The message's stamp, or the newest one of a list of transforms.
pub(super) fn stamp_of(schema: &Schema, payload: &Bytes) -> Result<Option<i64>, WireError> {
    let stamp = match schema.name {
        "foxglove.PointCloud" => read::<messages::PointCloud>(schema, payload)?.timestamp,
        "foxglove.CompressedImage" => read::<messages::CompressedImage>(schema, payload)?.timestamp,
        "foxglove.RawImage" => read::<messages::RawImage>(schema, payload)?.timestamp,
        "foxglove.CameraCalibration" => read::<messages::CameraCalibration>(schema, payload)?.timestamp,
        "foxglove.FrameTransform" => read::<messages::FrameTransform>(schema, payload)?.timestamp,
        "foxglove.FrameTransforms" => {
            read::<messages::FrameTransforms>(schema, payload)?.transforms.into_iter().filter_map(|edge| edge.timestamp).max()
        }
        _ => None,
    };
    Ok(stamp.map(nanoseconds))
}

/// Pictures and points share the payload's memory: protobuf `bytes` are sliced, not copied.
fn read<M: Message + Default>(schema: &Schema, payload: &Bytes) -> Result<M, WireError> {
    if payload.is_empty() {
        return Err(schema.malformed(payload, &"expected a message, got nothing"));
    }
    M::decode(payload.clone()).map_err(|error| schema.malformed(payload, &error))
}

fn nanoseconds(stamp: Timestamp) -> i64 {
    i64::from(stamp.sec()) * NS_PER_S + i64::from(stamp.nsec())
}

fn point_cloud(schema: &Schema, message: messages::PointCloud, stamp_ns: i64) -> Result<Result<SensorFrame, Fault>, WireError> {
    let stride = message.point_stride as usize;
    let width = message.data.len().checked_div(stride).unwrap_or(0);
    if width > points::MAX_POINTS {
        return Err(points::too_many(schema.name, width as u64));
    }
    Ok(sweep(&message, stride, width, stamp_ns))
}

fn sweep(message: &messages::PointCloud, stride: usize, width: usize, stamp_ns: i64) -> Result<SensorFrame, Fault> {
    if width * stride != message.data.len() {
        return Err(format!("expected data in whole points of {stride} bytes, got {} bytes", message.data.len()));
    }
    let fields = message
        .fields
        .iter()
        .map(|field| Field { name: &field.name, offset: field.offset, scalar: Scalar::from_foxglove(field.r#type) })
        .collect();
    let layout =
        Layout { data: &message.data, rows: 1, width, stride, row_step: width * stride, big_endian: false, fields, stamp_ns };
    let mut points = layout.read()?;
    if let Some(pose) = &message.pose {
        points.transform(&pose_of(pose.position.as_ref(), pose.orientation.as_ref(), "pose")?);
    }
    Ok(SensorFrame::Lidar(LidarSweep { frame_id: frame_name(&message.frame_id), points }))
}

/// An absent part is no translation or no rotation; a quaternion of zeros that was sent as such is an error.
fn pose_of(position: Option<&messages::Vector3>, rotation: Option<&messages::Quaternion>, what: &str) -> Result<Pose, Fault> {
    let translation = position.map_or([0.0; 3], |v| [v.x, v.y, v.z]);
    let quaternion = rotation.map_or([0.0, 0.0, 0.0, 1.0], |q| [q.x, q.y, q.z, q.w]);
    pose(what, translation, quaternion)
}

fn compressed_image(message: messages::CompressedImage) -> Result<SensorFrame, Fault> {
    Ok(SensorFrame::Camera(image::compressed(frame_name(&message.frame_id), &message.format, message.data)?))
}

fn raw_image(message: &messages::RawImage) -> Result<SensorFrame, Fault> {
    let raw = image::Raw {
        width: message.width,
        height: message.height,
        encoding: &message.encoding,
        step: message.step,
        data: &message.data,
    };
    Ok(SensorFrame::Camera(raw.to_png(frame_name(&message.frame_id))?))
}

fn calibration(message: messages::CameraCalibration) -> Result<SensorFrame, Fault> {
    let k = <[f64; 9]>::try_from(message.k).map_err(|k| format!("expected 9 numbers in K, got {}", k.len()))?;
    let model = camera_model(&k, &message.distortion_model, message.d, message.width, message.height)?;
    Ok(SensorFrame::Calibration { frame_id: frame_name(&message.frame_id), model })
}

/// Intrinsics from the matrix K (row-major) of the picture as it is, with its distortion. Binning and regions of interest are not applied.
pub(super) fn camera_model(
    k: &[f64; 9],
    distortion_model: &str,
    distortion: Vec<f64>,
    width_px: u32,
    height_px: u32,
) -> Result<CameraModel, Fault> {
    let [fx_px, _, cx_px, _, fy_px, cy_px, ..] = *k;
    if !(fx_px > 0.0 && fy_px > 0.0 && fx_px.is_finite() && fy_px.is_finite()) {
        return Err(format!(
            "expected focal lengths above 0, got fx {fx_px}, fy {fy_px}\nhint: an uncalibrated camera sends zeros"
        ));
    }
    // Before the numbers, which are shown.
    if distortion.len() > MAX_DISTORTION {
        return Err(format!("expected at most {MAX_DISTORTION} distortion parameters, got {}", distortion.len()));
    }
    if !(cx_px.is_finite() && cy_px.is_finite() && distortion.iter().all(|value| value.is_finite())) {
        return Err(format!("expected finite numbers, got cx {cx_px}, cy {cy_px}, distortion {distortion:?}"));
    }
    // A camera may leave its size out; one that is larger than any picture cannot be stored.
    if width_px > MAX_SIDE_PX || height_px > MAX_SIDE_PX {
        return Err(format!("expected sides of at most {MAX_SIDE_PX} px, got {width_px} x {height_px}"));
    }
    Ok(CameraModel { fx_px, fy_px, cx_px, cy_px, distortion_model: distortion_model.into(), distortion, width_px, height_px })
}

fn transforms(edges: &[messages::FrameTransform], stamp_ns: i64) -> Result<SensorFrame, Fault> {
    edges.iter().map(|edge| transform(edge, stamp_ns)).collect::<Result<Vec<_>, _>>().map(SensorFrame::Transforms)
}

fn transform(edge: &messages::FrameTransform, stamp_ns: i64) -> Result<FrameTransform, Fault> {
    let (parent, child) = (frame_name(&edge.parent_frame_id), frame_name(&edge.child_frame_id));
    let what = format!("{} from {}", quoted(&parent), quoted(&child));
    named_edge(FrameTransform {
        stamp_ns: edge.timestamp.map(nanoseconds).filter(|stamp| *stamp != 0).unwrap_or(stamp_ns),
        parent,
        child,
        parent_from_child: pose_of(edge.translation.as_ref(), edge.rotation.as_ref(), &what)?,
    })
}

pub(super) fn named_edge(edge: FrameTransform) -> Result<FrameTransform, Fault> {
    if edge.parent.is_empty() || edge.child.is_empty() {
        return Err(format!("expected names of both frames, got parent {}, child {}", quoted(&edge.parent), quoted(&edge.child)));
    }
    Ok(edge)
}

/// The moment as Foxglove writes it. Their seconds have 32 bits: later than 2106 is written as the last second.
fn timestamp(stamp_ns: i64) -> Timestamp {
    let seconds = u32::try_from(stamp_ns.div_euclid(NS_PER_S).max(0)).unwrap_or(u32::MAX);
    let nanoseconds = stamp_ns.rem_euclid(NS_PER_S) as u32;
    Timestamp::new_checked(seconds, nanoseconds).unwrap_or(Timestamp::MAX)
}

/// Encodes a frame; the second part of the result is a message of the schema named by the first.
#[must_use]
pub fn encode(stamp_ns: i64, frame: &SensorFrame) -> (&'static str, Bytes) {
    match frame {
        SensorFrame::Lidar(sweep) => ("foxglove.PointCloud", encode_point_cloud(stamp_ns, &sweep.frame_id, &sweep.points)),
        SensorFrame::Camera(image) => {
            ("foxglove.CompressedImage", encode_compressed_image(stamp_ns, &image.frame_id, &image.format, &image.data))
        }
        SensorFrame::Calibration { frame_id, model } => {
            ("foxglove.CameraCalibration", encode_camera_calibration(stamp_ns, frame_id, model))
        }
        SensorFrame::Transforms(edges) => ("foxglove.FrameTransforms", encode_transforms(edges)),
        SensorFrame::Detections(found) => (super::detections::SCHEMA, super::encode_detections(found)),
    }
}

/// A sweep as `foxglove.PointCloud`: `x y z intensity` (f32), and where the cloud has them `time_offset_ns` (i32) and `ring` (u16).
#[must_use]
pub fn encode_point_cloud(stamp_ns: i64, frame_id: &str, points: &PointCloud) -> Bytes {
    let times = points.time_offset_ns.as_ref().filter(|times| times.len() == points.len());
    let rings = points.ring.as_ref().filter(|rings| rings.len() == points.len());
    let mut fields = vec![("x", NumericType::Float32), ("y", NumericType::Float32), ("z", NumericType::Float32)];
    fields.push(("intensity", NumericType::Float32));
    fields.extend(times.map(|_| ("time_offset_ns", NumericType::Int32)));
    fields.extend(rings.map(|_| ("ring", NumericType::Uint16)));
    let mut data = BytesMut::with_capacity(points.len() * 22);
    let columns = points.x.iter().zip(&points.y).zip(&points.z).zip(&points.intensity);
    for (index, (((x, y), z), intensity)) in columns.enumerate() {
        data.put_f32_le(*x);
        data.put_f32_le(*y);
        data.put_f32_le(*z);
        data.put_f32_le(*intensity);
        if let Some(time) = times.and_then(|times| times.get(index)) {
            data.put_i32_le(*time);
        }
        if let Some(ring) = rings.and_then(|rings| rings.get(index)) {
            data.put_u16_le(*ring);
        }
    }
    packed(stamp_ns, frame_id, &fields, data.freeze())
}

/// A sweep whose points are packed already as little-endian f32 `x y z intensity`, as KITTI stores them.
#[must_use]
pub fn encode_packed_points(stamp_ns: i64, frame_id: &str, xyzi: Bytes) -> Bytes {
    packed(stamp_ns, frame_id, &["x", "y", "z", "intensity"].map(|name| (name, NumericType::Float32)), xyzi)
}

fn packed(stamp_ns: i64, frame_id: &str, fields: &[(&str, NumericType)], data: Bytes) -> Bytes {
    let mut point_stride = 0;
    let fields = fields.iter().map(|(name, numeric_type)| {
        let offset = point_stride;
        point_stride += if *numeric_type == NumericType::Uint16 { 2 } else { 4 };
        messages::PackedElementField { name: (*name).to_owned(), offset, r#type: *numeric_type as i32 }
    });
    let fields = fields.collect();
    let message = messages::PointCloud {
        timestamp: Some(timestamp(stamp_ns)),
        frame_id: frame_id.to_owned(),
        pose: Some(messages::Pose { position: Some(vector([0.0; 3])), orientation: Some(quaternion([0.0, 0.0, 0.0, 1.0])) }),
        point_stride,
        fields,
        data,
    };
    message.encode_to_vec().into()
}

fn vector([x, y, z]: [f64; 3]) -> messages::Vector3 {
    messages::Vector3 { x, y, z }
}

fn quaternion([x, y, z, w]: [f64; 4]) -> messages::Quaternion {
    messages::Quaternion { x, y, z, w }
}

/// An image as `foxglove.CompressedImage`.
#[must_use]
pub fn encode_compressed_image(stamp_ns: i64, frame_id: &str, format: &str, data: &[u8]) -> Bytes {
    let message = messages::CompressedImage {
        timestamp: Some(timestamp(stamp_ns)),
        frame_id: frame_id.to_owned(),
        data: Bytes::copy_from_slice(data),
        format: format.to_owned(),
    };
    message.encode_to_vec().into()
}

/// Intrinsics as `foxglove.CameraCalibration`, with P of a camera that is not rectified further.
#[must_use]
pub fn encode_camera_calibration(stamp_ns: i64, frame_id: &str, model: &CameraModel) -> Bytes {
    let CameraModel { fx_px, fy_px, cx_px, cy_px, .. } = *model;
    let message = messages::CameraCalibration {
        timestamp: Some(timestamp(stamp_ns)),
        frame_id: frame_id.to_owned(),
        width: model.width_px,
        height: model.height_px,
        distortion_model: model.distortion_model.to_string(),
        d: model.distortion.clone(),
        k: vec![fx_px, 0.0, cx_px, 0.0, fy_px, cy_px, 0.0, 0.0, 1.0],
        r: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p: vec![fx_px, 0.0, cx_px, 0.0, 0.0, fy_px, cy_px, 0.0, 0.0, 0.0, 1.0, 0.0],
    };
    message.encode_to_vec().into()
}

/// Edges as `foxglove.FrameTransforms`, each with its own stamp.
#[must_use]
pub fn encode_transforms(edges: &[FrameTransform]) -> Bytes {
    let transforms = edges.iter().map(|edge| {
        let [x, y, z] = edge.parent_from_child.translation.vector.into();
        let [i, j, k, w] = edge.parent_from_child.rotation.coords.into();
        messages::FrameTransform {
            timestamp: Some(timestamp(edge.stamp_ns)),
            parent_frame_id: edge.parent.to_string(),
            child_frame_id: edge.child.to_string(),
            translation: Some(vector([x, y, z])),
            rotation: Some(quaternion([i, j, k, w])),
        }
    });
    messages::FrameTransforms { transforms: transforms.collect() }.encode_to_vec().into()
}
