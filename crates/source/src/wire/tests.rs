//! Any bytes give a frame or an error, and what is written is read back.

use boxwright_model::{CameraModel, FrameHeader, FrameTransform, PointCloud, Pose, SourcePosition, StampRef};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn record(schema: &str, encoding: Encoding, stamp_ns: i64, payload: Bytes) -> Record {
    let header = FrameHeader {
        vehicle: "v".into(),
        sensor: "s".into(),
        kind: SensorKind::Lidar,
        stamp_ns,
        stamp_ref: StampRef::Instant,
        arrival_ns: None,
        seq: None,
        grade: "".into(),
        position: SourcePosition { topic: "t".into(), partition: 0, offset: 0 },
    };
    Record { header, schema: schema.into(), encoding, payload, trace_parent: None }
}

fn cloud() -> PointCloud {
    PointCloud {
        x: vec![1.0, -2.5, f32::NAN],
        y: vec![0.0, 3.0, 1.0],
        z: vec![-1.0, 0.5, 2.0],
        intensity: vec![0.1, 0.2, 0.3],
        ring: Some(vec![0, 63, 127]),
        time_offset_ns: Some(vec![-50_000_000, 0, 49_999_999]),
    }
}

fn sweep(frame: SensorFrame) -> LidarSweepOf {
    match frame {
        SensorFrame::Lidar(sweep) => LidarSweepOf { frame_id: sweep.frame_id.to_string(), points: sweep.points },
        other => panic!("expected a sweep, got {other:?}"),
    }
}

struct LidarSweepOf {
    frame_id: String,
    points: PointCloud,
}

#[test]
fn a_sweep_survives_the_wire_to_the_bit() {
    let payload = encode_point_cloud(5, "lidar", &cloud());
    assert_eq!(stamp_of("foxglove.PointCloud", Encoding::Protobuf, &payload).unwrap(), Some(5));
    let read = sweep(decode(&record("foxglove.PointCloud", Encoding::Protobuf, 5, payload)).unwrap());
    assert_eq!(read.frame_id, "lidar");
    assert_eq!(
        read.points.x.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
        cloud().x.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    );
    assert_eq!((read.points.y, read.points.ring, read.points.time_offset_ns), (cloud().y, cloud().ring, cloud().time_offset_ns));
}

#[test]
fn an_empty_sweep_is_a_sweep() {
    let payload = encode_point_cloud(5, "lidar", &PointCloud::default());
    assert!(sweep(decode(&record("foxglove.PointCloud", Encoding::Protobuf, 5, payload)).unwrap()).points.is_empty());
}

#[test]
fn transforms_and_calibrations_survive_the_wire() {
    let edge = FrameTransform {
        stamp_ns: 1_700_000_000_123_456_789,
        parent: "world".into(),
        child: "ego".into(),
        parent_from_child: Pose::translation(4e6, 5e5, 1.0) * Pose::rotation(nalgebra::Vector3::new(0.1, 0.2, 0.3)),
    };
    let payload = encode_transforms(std::slice::from_ref(&edge));
    let frame = decode(&record("foxglove.FrameTransforms", Encoding::Protobuf, 0, payload)).unwrap();
    assert_eq!(frame, SensorFrame::Transforms(vec![edge]));
    let model = camera(700.0);
    let payload = encode_camera_calibration(1, "front", &model);
    let frame = decode(&record("foxglove.CameraCalibration", Encoding::Protobuf, 1, payload)).unwrap();
    assert_eq!(frame, SensorFrame::Calibration { frame_id: "front".into(), model });
}

fn camera(fx_px: f64) -> CameraModel {
    CameraModel {
        fx_px,
        fy_px: 701.0,
        cx_px: 320.0,
        cy_px: 240.0,
        distortion_model: "plumb_bob".into(),
        distortion: vec![0.1, 0.0, 0.0, 0.0, 0.0],
        width_px: 640,
        height_px: 480,
    }
}

#[test]
fn a_camera_without_focal_length_is_refused_with_the_number() {
    for focal in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let payload = encode_camera_calibration(1, "front", &camera(focal));
        let error = decode(&record("foxglove.CameraCalibration", Encoding::Protobuf, 1, payload)).unwrap_err().to_string();
        assert!(error.contains("expected focal lengths above 0, got"), "{error}");
    }
}

#[test]
fn absurd_lengths_in_a_small_payload_allocate_nothing() {
    // A TFMessage that says it holds four billion transforms.
    let payload = Bytes::from_static(&[0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    assert!(decode(&record("tf2_msgs/msg/TFMessage", Encoding::Cdr, 0, payload)).is_err());
}

/// Little-endian CDR writer for the tests.
#[derive(Default)]
struct Write(Vec<u8>);

impl Write {
    fn align(&mut self, to: usize) {
        while self.0.len() % to != 0 {
            self.0.push(0);
        }
    }

    fn u32(mut self, value: u32) -> Self {
        self.align(4);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(self, text: &str) -> Self {
        let mut this = self.u32(text.len() as u32 + 1);
        this.0.extend(text.bytes());
        this.0.push(0);
        this
    }

    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let mut this = self.u32(bytes.len() as u32);
        this.0.extend(bytes);
        this
    }

    fn payload(self) -> Bytes {
        [&[0, 1, 0, 0], self.0.as_slice()].concat().into()
    }
}

/// Two points with a time field of the given type and bytes.
fn point_cloud2(time_name: &str, datatype: u8, times: [&[u8]; 2]) -> Bytes {
    let stride = 12 + times[0].len();
    let mut data = Vec::new();
    for (point, time) in [[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]].iter().zip(times) {
        point.iter().for_each(|value| data.extend(value.to_le_bytes()));
        data.extend(time);
    }
    let mut write = Write::default().u32(100).u32(5).text("velodyne").u32(1).u32(2).u32(4);
    for (index, name) in ["x", "y", "z"].iter().enumerate() {
        write = write.text(name).u32(4 * index as u32).u8(7).u32(1);
    }
    write.text(time_name).u32(12).u8(datatype).u32(1).u8(0).u32(stride as u32).u32(2 * stride as u32).bytes(&data).u8(1).payload()
}

#[test]
fn point_times_of_every_vendor_mean_nanoseconds_after_the_stamp() {
    let stamp_ns = 1_700_000_000_000_000_000_i64;
    let cases: [(&str, u8, [Vec<u8>; 2]); 4] = [
        ("t", 6, [0u32.to_le_bytes().to_vec(), 50_000_000u32.to_le_bytes().to_vec()]),
        ("time", 7, [0f32.to_le_bytes().to_vec(), 0.05f32.to_le_bytes().to_vec()]),
        ("timestamp", 8, [1.7e9f64.to_le_bytes().to_vec(), (1.7e9 + 0.05f64).to_le_bytes().to_vec()]),
        ("timestamp", 8, [1.7e18f64.to_le_bytes().to_vec(), (1.7e18 + 5e7f64).to_le_bytes().to_vec()]),
    ];
    for (name, datatype, [first, second]) in cases {
        let payload = point_cloud2(name, datatype, [&first, &second]);
        let read = sweep(decode(&record("sensor_msgs/msg/PointCloud2", Encoding::Cdr, stamp_ns, payload)).unwrap());
        let times = read.points.time_offset_ns.unwrap();
        assert_eq!(read.points.z, [3.0, 6.0]);
        assert!(times[0].abs() <= 256 && (times[1] - 50_000_000).abs() <= 256, "{name} of type {datatype}: {times:?}");
    }
}

#[test]
fn a_field_outside_the_stride_is_refused() {
    let payload = Write::default().u32(1).u32(0).text("l").u32(1).u32(1).u32(1).text("x").u32(4_000_000_000).u8(7).u32(1);
    let payload = payload.u8(0).u32(4).u32(4).bytes(&[0; 4]).u8(1).payload();
    let error = decode(&record("sensor_msgs/msg/PointCloud2", Encoding::Cdr, 1, payload)).unwrap_err().to_string();
    assert!(error.contains("field x: expected it to end within the 4 bytes of a point"), "{error}");
}

fn ros_image(encoding: &str, width: u32, height: u32, step: u32, data: &[u8]) -> Bytes {
    Write::default().u32(1).u32(0).text("cam").u32(height).u32(width).text(encoding).u8(0).u32(step).bytes(data).payload()
}

#[test]
fn raw_pixels_become_lossless_png() {
    let bgr = [1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0];
    let payload = ros_image("bgr8", 2, 2, 8, &bgr);
    let SensorFrame::Camera(image) = decode(&record("sensor_msgs/msg/Image", Encoding::Cdr, 1, payload)).unwrap() else { panic!() };
    assert_eq!((&*image.format, image.width_px, image.height_px), ("png", 2, 2));
    let mut reader = png::Decoder::new(std::io::Cursor::new(&image.data)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    assert_eq!(pixels, [3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10]);
    let error = decode(&record("sensor_msgs/msg/Image", Encoding::Cdr, 1, ros_image("bayer_rggb8", 2, 2, 2, &bgr))).unwrap_err();
    assert!(error.to_string().contains("bayer_rggb8"), "{error}");
}

#[test]
fn the_size_of_a_jpeg_is_read_from_its_header() {
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 80).encode(&[128; 20 * 10 * 3], 20, 10, jpeg_encoder::ColorType::Rgb).unwrap();
    let payload = encode_compressed_image(1, "cam", "bgr8; jpeg compressed bgr8", &jpeg);
    let SensorFrame::Camera(image) = decode(&record("foxglove.CompressedImage", Encoding::Protobuf, 1, payload)).unwrap() else {
        panic!()
    };
    assert_eq!((&*image.format, image.width_px, image.height_px), ("jpeg", 20, 10));
}

#[test]
fn an_error_never_repeats_a_payload() {
    let long = "ä\u{1}".repeat(100_000);
    let named = |parent: &str, child: &str| FrameTransform {
        stamp_ns: 1,
        parent: parent.into(),
        child: child.into(),
        parent_from_child: Pose::translation(1e300, 0.0, 0.0),
    };
    let nan_distortion = CameraModel { distortion: vec![f64::NAN; 100_000], ..camera(500.0) };
    let field_names = ["x", "y"].map(|_| long.as_str());
    let fields = field_names
        .iter()
        .fold(Write::default().u32(1).u32(0).text("l").u32(1).u32(1).u32(2), |write, name| write.text(name).u32(0).u8(7).u32(1));
    for (schema, encoding, payload) in [
        ("foxglove.CompressedImage", Encoding::Protobuf, encode_compressed_image(1, "c", &long, b"x")),
        ("foxglove.CompressedImage", Encoding::Protobuf, encode_compressed_image(1, "c", &format!("jpeg {long}"), b"x")),
        ("foxglove.CameraCalibration", Encoding::Protobuf, encode_camera_calibration(1, "c", &nan_distortion)),
        ("foxglove.FrameTransforms", Encoding::Protobuf, encode_transforms(&[named(&long, &long)])),
        ("foxglove.FrameTransforms", Encoding::Protobuf, encode_transforms(&[named(&long, "")])),
        ("sensor_msgs/msg/Image", Encoding::Cdr, ros_image(&long, 1, 1, 1, &[0])),
        ("sensor_msgs/msg/PointCloud2", Encoding::Cdr, fields.u8(0).u32(4).u32(4).bytes(&[0; 4]).u8(1).payload()),
    ] {
        let error = decode(&record(schema, encoding, 1, payload)).unwrap_err().to_string();
        assert!(error.len() < 4_000 && error.contains("expected"), "{schema}: {} bytes: {error:.300}", error.len());
    }
    assert!(decode(&record(&long, Encoding::Cdr, 1, Bytes::new())).unwrap_err().to_string().len() < 4_000);
}

#[test]
fn a_transform_too_far_to_be_one_is_refused_with_its_numbers() {
    let edge = |x| FrameTransform {
        stamp_ns: 1,
        parent: "a".into(),
        child: "b".into(),
        parent_from_child: Pose::translation(x, 0.0, 0.0),
    };
    let read = |x| decode(&record("foxglove.FrameTransforms", Encoding::Protobuf, 1, encode_transforms(&[edge(x)])));
    assert_eq!(read(-1e9).unwrap(), SensorFrame::Transforms(vec![edge(-1e9)]));
    let error = read(1e308).unwrap_err().to_string();
    assert!(error.contains("at most 1000000000 m") && error.contains("1e308"), "{error}");
}

#[test]
fn a_camera_larger_than_any_picture_is_refused() {
    let read = |width_px| {
        let model = CameraModel { width_px, ..camera(500.0) };
        decode(&record("foxglove.CameraCalibration", Encoding::Protobuf, 1, encode_camera_calibration(1, "c", &model)))
    };
    assert!(read(0).is_ok() && read(65_535).is_ok());
    let error = read(u32::MAX).unwrap_err().to_string();
    assert!(error.contains("expected sides of at most 65535 px, got 4294967295 x 480"), "{error}");
}

#[test]
fn a_frame_has_one_name_however_many_slashes_stand_before_it() {
    for (sent, read) in [("/base", "base"), ("//base", "base"), ("base/link", "base/link")] {
        let payload = encode_point_cloud(5, sent, &cloud());
        assert_eq!(sweep(decode(&record("foxglove.PointCloud", Encoding::Protobuf, 5, payload)).unwrap()).frame_id, read);
    }
}

fn valid_payloads() -> Vec<(&'static str, Encoding, Bytes)> {
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 50).encode(&[9; 16 * 16], 16, 16, jpeg_encoder::ColorType::Luma).unwrap();
    let edge = FrameTransform { stamp_ns: 1, parent: "a".into(), child: "b".into(), parent_from_child: Pose::identity() };
    vec![
        ("foxglove.PointCloud", Encoding::Protobuf, encode_point_cloud(5, "lidar", &cloud())),
        ("foxglove.CompressedImage", Encoding::Protobuf, encode_compressed_image(1, "c", "jpeg", &jpeg)),
        ("foxglove.CameraCalibration", Encoding::Protobuf, encode_camera_calibration(1, "c", &camera(500.0))),
        ("foxglove.FrameTransforms", Encoding::Protobuf, encode_transforms(&[edge])),
        ("sensor_msgs/msg/PointCloud2", Encoding::Cdr, point_cloud2("t", 6, [&[0; 4], &[1; 4]])),
        ("sensor_msgs/msg/Image", Encoding::Cdr, ros_image("mono8", 2, 2, 2, &[1, 2, 3, 4])),
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic(which in 0usize..6, cut in 0usize..400, flips in proptest::collection::vec((0usize..400, any::<u8>()), 0..8)) {
        let (schema, encoding, payload) = valid_payloads().swap_remove(which);
        let mut bytes = payload.to_vec();
        bytes.truncate(bytes.len().min(cut.max(1)));
        for (at, value) in flips {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        let _ = decode(&record(schema, encoding, 7, bytes.clone().into()));
        let _ = stamp_of(schema, encoding, &bytes.into());
    }

    #[test]
    fn random_bytes_are_no_panic_under_any_schema(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for schema in SCHEMAS {
            let _ = decode(&record(schema.name, schema.encoding, 7, bytes.clone().into()));
        }
    }
}
