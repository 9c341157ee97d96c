//! ROS 2 messages in CDR. Field order is that of the `.msg` files of common_interfaces (Humble to Rolling).

use std::sync::Arc;

use boxwright_model::time::NS_PER_S;
use boxwright_model::{FrameTransform, LidarSweep, SensorFrame};
use bytes::Bytes;

use super::cdr::{CdrError, Reader};
use super::points::{Field, Layout, Scalar};
use super::{Fault, Schema, WireError, foxglove, frame_name, image, points, pose};
use crate::quoted::quoted;

/// `std_msgs/msg/Header`.
struct Header<'a> {
    stamp_ns: i64,
    frame_id: &'a str,
}

/// A translation and a quaternion `x, y, z, w`.
type Parts = ([f64; 3], [f64; 4]);

/// Either the bytes are wrong, or what they say is.
enum Problem {
    Cdr(CdrError),
    Content(Fault),
    TooManyPoints(u64),
}

impl From<CdrError> for Problem {
    fn from(error: CdrError) -> Self {
        Self::Cdr(error)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Content(fault)
    }
}

pub(super) fn decode(schema: &Schema, payload: &Bytes, stamp_ns: i64) -> Result<SensorFrame, WireError> {
    body(schema, payload, stamp_ns).map_err(|problem| match problem {
        Problem::Cdr(error) => schema.malformed(payload, &error),
        Problem::Content(fault) => schema.invalid(fault),
        Problem::TooManyPoints(got) => points::too_many(schema.name, got),
    })
}

fn body(schema: &Schema, payload: &Bytes, stamp_ns: i64) -> Result<SensorFrame, Problem> {
    let mut reader = Reader::new(payload)?;
    let reader = &mut reader;
    match schema.name {
        "sensor_msgs/msg/PointCloud2" => point_cloud(reader, stamp_ns),
        "sensor_msgs/msg/Image" => raw_image(reader),
        "sensor_msgs/msg/CompressedImage" => compressed_image(reader, payload),
        "sensor_msgs/msg/CameraInfo" => camera_info(reader),
        "tf2_msgs/msg/TFMessage" => transforms(reader, stamp_ns),
        "nav_msgs/msg/Odometry" => odometry(reader, stamp_ns),
        "geometry_msgs/msg/TransformStamped" => {
            let edge = transform_stamped(reader, stamp_ns)?;
            reader.finish()?;
            Ok(SensorFrame::Transforms(vec![edge]))
        }
        other => Err(Problem::Content(format!("no decoder for {other}"))),
    }
}

/// The stamp of the header, or the newest one of a list of transforms.
pub(super) fn stamp_of(schema: &Schema, payload: &Bytes) -> Result<Option<i64>, WireError> {
    let newest = || -> Result<Option<i64>, Problem> {
        let mut reader = Reader::new(payload)?;
        if schema.name != "tf2_msgs/msg/TFMessage" {
            return Ok(Some(header(&mut reader)?.stamp_ns));
        }
        let count = reader.u32()?;
        let mut newest = None;
        for _ in 0..count {
            newest = newest.max(Some(header(&mut reader)?.stamp_ns));
            reader.string()?;
            parts(&mut reader)?;
        }
        Ok(newest)
    };
    newest().map_err(|problem| match problem {
        Problem::Cdr(error) => schema.malformed(payload, &error),
        Problem::Content(fault) => schema.invalid(fault),
        Problem::TooManyPoints(got) => points::too_many(schema.name, got),
    })
}

fn header<'a>(reader: &mut Reader<'a>) -> Result<Header<'a>, CdrError> {
    let seconds = reader.i32()?;
    let nanoseconds = reader.u32()?;
    Ok(Header { stamp_ns: i64::from(seconds) * NS_PER_S + i64::from(nanoseconds), frame_id: reader.string()? })
}

fn point_cloud(reader: &mut Reader<'_>, stamp_ns: i64) -> Result<SensorFrame, Problem> {
    let header = header(reader)?;
    let (rows, width) = (reader.u32()?, reader.u32()?);
    let count = reader.u32()?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let (name, offset, datatype, _count) = (reader.string()?, reader.u32()?, reader.u8()?, reader.u32()?);
        fields.push(Field { name, offset, scalar: Scalar::from_ros(datatype) });
    }
    let big_endian = reader.bool()?;
    let (stride, row_step) = (reader.u32()?, reader.u32()?);
    let data = reader.bytes()?;
    reader.bool()?;
    reader.finish()?;
    let points = u64::from(rows) * u64::from(width);
    if points > points::MAX_POINTS as u64 {
        return Err(Problem::TooManyPoints(points));
    }
    let layout = Layout {
        data,
        rows: rows as usize,
        width: width as usize,
        stride: stride as usize,
        // Some drivers leave the row step of an unordered cloud at zero; with one row it has no meaning.
        row_step: if rows <= 1 { width as usize * stride as usize } else { row_step as usize },
        big_endian,
        fields,
        stamp_ns,
    };
    let points = layout.read()?;
    Ok(SensorFrame::Lidar(LidarSweep { frame_id: frame_name(header.frame_id), points }))
}

fn raw_image(reader: &mut Reader<'_>) -> Result<SensorFrame, Problem> {
    let header = header(reader)?;
    let (height, width) = (reader.u32()?, reader.u32()?);
    let encoding = reader.string()?;
    // Says the byte order of wide samples; the encodings that are understood have samples of one byte.
    reader.u8()?;
    let step = reader.u32()?;
    let data = reader.bytes()?;
    reader.finish()?;
    let raw = image::Raw { width, height, encoding, step, data };
    Ok(SensorFrame::Camera(raw.to_png(frame_name(header.frame_id))?))
}

fn compressed_image(reader: &mut Reader<'_>, payload: &Bytes) -> Result<SensorFrame, Problem> {
    let header = header(reader)?;
    let format = reader.string()?;
    let data = reader.bytes()?;
    let from = reader.offset_of(data);
    reader.finish()?;
    // Shares the payload's memory instead of copying the picture.
    let data = payload.slice(from..from + data.len());
    Ok(SensorFrame::Camera(image::compressed(frame_name(header.frame_id), format, data)?))
}

fn camera_info(reader: &mut Reader<'_>) -> Result<SensorFrame, Problem> {
    let header = header(reader)?;
    let (height_px, width_px) = (reader.u32()?, reader.u32()?);
    let distortion_model = reader.string()?;
    let distortion = reader.f64_sequence()?;
    let k = reader.array::<9>()?;
    reader.array::<9>()?;
    reader.array::<12>()?;
    let (_binning_x, _binning_y) = (reader.u32()?, reader.u32()?);
    for _ in 0..4 {
        reader.u32()?;
    }
    reader.bool()?;
    reader.finish()?;
    let model = foxglove::camera_model(&k, distortion_model, distortion, width_px, height_px)?;
    Ok(SensorFrame::Calibration { frame_id: frame_name(header.frame_id), model })
}

fn transforms(reader: &mut Reader<'_>, stamp_ns: i64) -> Result<SensorFrame, Problem> {
    let count = reader.u32()?;
    let mut edges = Vec::new();
    for _ in 0..count {
        edges.push(transform_stamped(reader, stamp_ns)?);
    }
    reader.finish()?;
    Ok(SensorFrame::Transforms(edges))
}

fn transform_stamped(reader: &mut Reader<'_>, stamp_ns: i64) -> Result<FrameTransform, Problem> {
    let header = header(reader)?;
    let child = reader.string()?;
    Ok(edge(&header, frame_name(child), parts(reader)?, stamp_ns)?)
}

fn odometry(reader: &mut Reader<'_>, stamp_ns: i64) -> Result<SensorFrame, Problem> {
    let header = header(reader)?;
    let child = reader.string()?;
    let pose = parts(reader)?;
    reader.array::<36>()?;
    reader.array::<6>()?;
    reader.array::<36>()?;
    reader.finish()?;
    Ok(SensorFrame::Transforms(vec![edge(&header, frame_name(child), pose, stamp_ns)?]))
}

fn parts(reader: &mut Reader<'_>) -> Result<Parts, CdrError> {
    Ok((reader.array::<3>()?, reader.array::<4>()?))
}

fn edge(header: &Header<'_>, child: Arc<str>, (translation, quaternion): Parts, stamp_ns: i64) -> Result<FrameTransform, Fault> {
    let parent = frame_name(header.frame_id);
    let what = format!("{} from {}", quoted(&parent), quoted(&child));
    let parent_from_child = pose(&what, translation, quaternion)?;
    foxglove::named_edge(FrameTransform {
        stamp_ns: if header.stamp_ns == 0 { stamp_ns } else { header.stamp_ns },
        parent,
        child,
        parent_from_child,
    })
}
