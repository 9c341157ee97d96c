//! ROS 2 messages written by rules of our own.

use boxwright_model::space::pose_from_parts;
use boxwright_model::time::NS_PER_S;
use boxwright_model::{CameraImage, CameraModel, FrameTransform, LidarSweep, PointCloud, SensorFrame};
use boxwright_source::Encoding;

use super::super::input::{Input, damage};
use super::{assert_same_points, decoded, record};

/// A ROS 2 message of the values in the input, written by rules of our own; it must come back, or be refused for what it says. Behind it
/// the rest of the input damages the bytes.
pub fn cdr(data: &[u8]) {
    let mut input = Input(data);
    let (schema, message, expected) = ros_message(&mut input);
    let mut payload = message.payload();
    let frame = decoded(&record(schema, Encoding::Cdr, payload.clone().into()));
    match (&expected, &frame) {
        (Expected::Frame(expected), Some(frame)) => assert_same_frame(expected, frame),
        (Expected::Frame(expected), None) => panic!("refused {expected:?}"),
        (Expected::Refused(why), Some(frame)) => panic!("{why}: accepted as {frame:?}"),
        (Expected::Any, _) | (Expected::Refused(_), None) => {}
    }
    if !input.is_empty() {
        damage(&mut payload, input);
        decoded(&record(schema, Encoding::Cdr, payload.into()));
    }
}

fn assert_same_frame(expected: &SensorFrame, frame: &SensorFrame) {
    match (expected, frame) {
        (SensorFrame::Lidar(expected), SensorFrame::Lidar(frame)) => {
            assert_eq!(expected.frame_id, frame.frame_id);
            assert_same_points(&expected.points, &frame.points);
        }
        (SensorFrame::Transforms(expected), SensorFrame::Transforms(frame)) => {
            assert_eq!(expected.len(), frame.len());
            for (expected, frame) in expected.iter().zip(frame) {
                assert_eq!((&expected.parent, &expected.child, expected.stamp_ns), (&frame.parent, &frame.child, frame.stamp_ns));
                assert_eq!(expected.parent_from_child, frame.parent_from_child);
            }
        }
        _ => assert_eq!(expected, frame),
    }
}

enum Expected {
    Frame(SensorFrame),
    Refused(&'static str),
    Any,
}

/// CDR of either byte order.
struct Cdr {
    body: Vec<u8>,
    big_endian: bool,
}

impl Cdr {
    fn number<const N: usize>(&mut self, mut little_endian: [u8; N]) -> &mut Self {
        self.body.resize(self.body.len().next_multiple_of(N), 0);
        if self.big_endian {
            little_endian.reverse();
        }
        self.body.extend(little_endian);
        self
    }

    fn u8(&mut self, value: u8) -> &mut Self {
        self.number([value])
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.number(value.to_le_bytes())
    }

    fn f64s(&mut self, values: &[f64]) -> &mut Self {
        values.iter().fold(self, |this, value| this.number(value.to_le_bytes()))
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.u32(text.len() as u32 + 1).body.extend(text.bytes());
        self.u8(0)
    }

    fn blob(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32).body.extend(bytes);
        self
    }

    /// `std_msgs/msg/Header`.
    fn header(&mut self, stamp_ns: i64, frame_id: &str) -> &mut Self {
        self.u32(stamp_ns.div_euclid(NS_PER_S) as u32).u32(stamp_ns.rem_euclid(NS_PER_S) as u32).text(frame_id)
    }

    fn payload(&self) -> Vec<u8> {
        [&[0, u8::from(!self.big_endian), 0, 0], self.body.as_slice()].concat()
    }
}

/// The message that [`cdr`] makes of its input, undamaged.
pub fn ros_payload(data: &[u8]) -> (&'static str, Vec<u8>) {
    let (schema, message, _) = ros_message(&mut Input(data));
    (schema, message.payload())
}

fn ros_message(input: &mut Input<'_>) -> (&'static str, Cdr, Expected) {
    let (which, flags) = (input.u8(), input.u8());
    let mut cdr = Cdr { body: Vec::new(), big_endian: flags & 1 == 1 };
    match which % 7 {
        0 => {
            let expected = ros_points(input, &mut cdr);
            ("sensor_msgs/msg/PointCloud2", cdr, expected)
        }
        1 => {
            let expected = ros_pixels(input, &mut cdr);
            ("sensor_msgs/msg/Image", cdr, expected)
        }
        2 => {
            let (format, data) = (input.text(), input.counted());
            cdr.header(7, "cam").text(&format).blob(data);
            ("sensor_msgs/msg/CompressedImage", cdr, Expected::Any)
        }
        3 => {
            let expected = ros_camera(input, &mut cdr);
            ("sensor_msgs/msg/CameraInfo", cdr, expected)
        }
        4 => {
            let edges: Vec<Edge> = (0..input.u8() % 4).map(|_| Edge::of(input)).collect();
            cdr.u32(edges.len() as u32);
            edges.iter().for_each(|edge| edge.write(&mut cdr));
            ("tf2_msgs/msg/TFMessage", cdr, expected_edges(&edges))
        }
        5 => {
            let edge = Edge::of(input);
            edge.write(&mut cdr);
            cdr.f64s(&[input.f64(); 36]).f64s(&[input.f64(); 6]).f64s(&[0.0; 36]);
            ("nav_msgs/msg/Odometry", cdr, expected_edges(&[edge]))
        }
        _ => {
            let edge = Edge::of(input);
            edge.write(&mut cdr);
            ("geometry_msgs/msg/TransformStamped", cdr, expected_edges(&[edge]))
        }
    }
}

/// `geometry_msgs/msg/TransformStamped`.
struct Edge {
    stamp_ns: i64,
    parent: String,
    child: String,
    translation: [f64; 3],
    quaternion: [f64; 4],
}

impl Edge {
    fn of(input: &mut Input<'_>) -> Self {
        Self {
            stamp_ns: i64::from(input.u32() & 0x7FFF_FFFF) * NS_PER_S + i64::from(input.u32() % 1_000_000_000),
            parent: input.text(),
            child: input.text(),
            translation: std::array::from_fn(|_| input.f64()),
            quaternion: std::array::from_fn(|_| input.f64()),
        }
    }

    fn write(&self, cdr: &mut Cdr) {
        cdr.header(self.stamp_ns, &self.parent).text(&self.child).f64s(&self.translation).f64s(&self.quaternion);
    }
}

fn expected_edges(edges: &[Edge]) -> Expected {
    let mut expected = Vec::new();
    for edge in edges {
        // Names with a slash or a zero byte are cut by the reader: what of them is left is its business.
        if [&edge.parent, &edge.child].iter().any(|name| name.starts_with('/') || name.ends_with('\0')) {
            return Expected::Any;
        }
        let is_far = edge.translation.iter().any(|value| value.abs() > 1e9);
        let pose = pose_from_parts(edge.translation, edge.quaternion).filter(|_| !is_far);
        let Some(parent_from_child) = pose else { return Expected::Refused("no pose") };
        if edge.parent.is_empty() || edge.child.is_empty() {
            return Expected::Refused("a frame without a name");
        }
        let stamp_ns = if edge.stamp_ns == 0 { 1_700_000_000_123_456_789 } else { edge.stamp_ns };
        let (parent, child) = (edge.parent.as_str().into(), edge.child.as_str().into());
        expected.push(FrameTransform { stamp_ns, parent, child, parent_from_child });
    }
    Expected::Frame(SensorFrame::Transforms(expected))
}

/// Two rows of three points: x, y, z, intensity and ring, in any number type, with gaps between the points and the rows.
fn ros_points(input: &mut Input<'_>, cdr: &mut Cdr) -> Expected {
    // `sensor_msgs/msg/PointField`: signed and unsigned of 1, 2 and 4 bytes, then f32 and f64.
    let fields: Vec<(&str, u8)> = ["x", "y", "z", "intensity", "ring"].map(|name| (name, input.u8() % 8 + 1)).into();
    let (gap, row_gap) = (u32::from(input.u8() % 3), u32::from(input.u8() % 3));
    let sizes = fields.iter().map(|(_, datatype)| [1, 1, 2, 2, 4, 4, 4, 8][usize::from(*datatype) - 1]);
    let offsets: Vec<u32> = sizes.clone().scan(0, |at, size| Some(std::mem::replace(at, *at + size))).collect();
    let (rows, width, stride) = (2, 3, sizes.sum::<u32>() + gap);
    let row_step = width * stride + row_gap;
    cdr.header(NS_PER_S, "top").u32(rows).u32(width).u32(fields.len() as u32);
    for ((name, datatype), offset) in fields.iter().zip(&offsets) {
        cdr.text(name).u32(*offset).u8(*datatype).u32(1);
    }
    let mut columns = vec![Vec::new(); fields.len()];
    let mut data = Vec::new();
    for _ in 0..rows {
        for _ in 0..width {
            for ((_, datatype), column) in fields.iter().zip(&mut columns) {
                column.push(packed(input.u32(), *datatype, cdr.big_endian, &mut data));
            }
            data.resize(data.len() + gap as usize, 0xEE);
        }
        data.resize(data.len() + row_gap as usize, 0xEE);
    }
    let big_endian = u8::from(cdr.big_endian);
    cdr.u8(big_endian).u32(stride).u32(row_step).blob(&data).u8(1);
    let floats = |column: &[f64]| column.iter().map(|value| *value as f32).collect::<Vec<_>>();
    let points = PointCloud {
        x: floats(&columns[0]),
        y: floats(&columns[1]),
        z: floats(&columns[2]),
        intensity: floats(&columns[3]),
        ring: Some(columns[4].iter().map(|value| *value as u16).collect()),
        time_offset_ns: None,
    };
    Expected::Frame(SensorFrame::Lidar(LidarSweep { frame_id: "top".into(), points }))
}

/// Appends `bits` as a number of a type, and gives the number.
fn packed(bits: u32, datatype: u8, big_endian: bool, data: &mut Vec<u8>) -> f64 {
    let mut append = |mut little_endian: Vec<u8>| {
        if big_endian {
            little_endian.reverse();
        }
        data.extend(little_endian);
    };
    macro_rules! write {
        ($value:expr) => {{
            let value = $value;
            append(value.to_le_bytes().to_vec());
            f64::from(value)
        }};
    }
    match datatype {
        1 => write!(bits as i8),
        2 => write!(bits as u8),
        3 => write!(bits as i16),
        4 => write!(bits as u16),
        5 => write!(bits as i32),
        6 => write!(bits),
        7 => write!(f32::from_bits(bits)),
        _ => write!(f64::from(f32::from_bits(bits)) * 1.000_000_1),
    }
}

fn ros_camera(input: &mut Input<'_>, cdr: &mut Cdr) -> Expected {
    let (height_px, width_px) = (input.u32(), input.u32());
    let distortion: Vec<f64> = (0..input.u8() % 40).map(|_| input.finite()).collect();
    let k: [f64; 9] = std::array::from_fn(|_| input.finite());
    cdr.header(NS_PER_S, "cam").u32(height_px).u32(width_px).text("plumb_bob").u32(distortion.len() as u32);
    cdr.f64s(&distortion).f64s(&k).f64s(&[0.0; 21]).u32(0).u32(0).f64s(&[]).u32(0).u32(0).u32(0).u32(0).u8(0);
    let [fx_px, _, cx_px, _, fy_px, cy_px, ..] = k;
    if !(fx_px > 0.0 && fy_px > 0.0) {
        return Expected::Refused("no focal length");
    }
    if distortion.len() > 32 {
        return Expected::Refused("more distortion than any model has");
    }
    if width_px > 65_535 || height_px > 65_535 {
        return Expected::Refused("larger than any picture");
    }
    let distortion_model = "plumb_bob".into();
    let model = CameraModel { fx_px, fy_px, cx_px, cy_px, distortion_model, distortion, width_px, height_px };
    Expected::Frame(SensorFrame::Calibration { frame_id: "cam".into(), model })
}

/// A raw picture with gaps between its rows; the rest of the input are its pixels, as often as needed.
fn ros_pixels(input: &mut Input<'_>, cdr: &mut Cdr) -> Expected {
    let pixels = Pixels::of(input);
    cdr.header(NS_PER_S, "cam").u32(pixels.height).u32(pixels.width).text(pixels.encoding).u8(0).u32(pixels.step);
    cdr.blob(&pixels.data);
    pixels.expect()
}

struct Pixels {
    width: u32,
    height: u32,
    encoding: &'static str,
    step: u32,
    data: Vec<u8>,
}

/// Bytes of a pixel, and where red, green, blue and alpha are in it.
fn channels(encoding: &str) -> &'static [usize] {
    match encoding {
        "rgb8" => &[0, 1, 2],
        "bgr8" | "8UC3" => &[2, 1, 0],
        "rgba8" => &[0, 1, 2, 3],
        "bgra8" | "8UC4" => &[2, 1, 0, 3],
        "mono8" | "8UC1" => &[0],
        _ => &[],
    }
}

impl Pixels {
    fn of(input: &mut Input<'_>) -> Self {
        let encoding = input.pick(&["rgb8", "bgr8", "8UC3", "rgba8", "bgra8", "8UC4", "mono8", "8UC1", "bayer_rggb8", "16UC1"]);
        let (width, height) = (u32::from(input.u8() % 9), u32::from(input.u8() % 9));
        let step = (width * channels(encoding).len() as u32).saturating_add_signed(i32::from(input.u8() % 5) - 1);
        let seed = input.counted();
        let length = (step * height).saturating_add_signed(i32::from(input.u8() % 5) - 2) as usize;
        let data = seed.iter().chain(std::iter::repeat(&7)).take(length).copied().collect();
        Self { width, height, encoding, step, data }
    }

    fn expect(&self) -> Expected {
        let order = channels(self.encoding);
        let row_bytes = self.width as usize * order.len();
        let step = self.step as usize;
        if order.is_empty() || self.width == 0 || self.height == 0 {
            return Expected::Refused("no picture that is understood");
        }
        if step < row_bytes || self.data.len() < (self.height as usize - 1) * step + row_bytes {
            return Expected::Refused("fewer bytes than pixels");
        }
        let rows = self.data.chunks(step).take(self.height as usize);
        let pixels: Vec<u8> = rows
            .flat_map(|row| row[..row_bytes].chunks_exact(order.len()))
            .flat_map(|pixel| order.iter().map(|channel| pixel[*channel]))
            .collect();
        let color = [png::ColorType::Grayscale, png::ColorType::Rgb, png::ColorType::Rgba][order.len() / 2];
        let mut data = Vec::new();
        let mut encoder = png::Encoder::new(&mut data, self.width, self.height);
        encoder.set_color(color);
        encoder.set_compression(png::Compression::Fastest);
        let mut writer = encoder.write_header().expect("a header");
        writer.write_image_data(&pixels).expect("as many pixels as the header says");
        writer.finish().expect("an end");
        let (width_px, height_px, format) = (self.width, self.height, "png".into());
        Expected::Frame(SensorFrame::Camera(CameraImage { frame_id: "cam".into(), width_px, height_px, format, data: data.into() }))
    }
}
