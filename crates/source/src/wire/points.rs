//! Point clouds of any layout: fields are found by name, at any offset, of any number type and byte order.
//!
//! # Time of a point
//! The model wants nanoseconds relative to the sweep's stamp. Senders write many things; the unit follows from the field's name and type:
//!
//! | field | read as |
//! | --- | --- |
//! | name ends in `_ns` or `_us`, integer or float | that unit, relative to the stamp |
//! | any other name, integer | nanoseconds relative to the stamp (Ouster `t`, Autoware `time_stamp`, Livox `offset_time`) |
//! | any other name, f32 | seconds relative to the stamp (Velodyne `time`); f32 cannot hold a date |
//! | f64, largest value below 10 | seconds relative to the stamp |
//! | f64 from 1e8, 1e14, 1e17 on | seconds (Hesai `timestamp`), microseconds, nanoseconds (Livox `timestamp`) since 1970 |
//!
//! f64 in between, and offsets of more than [`MAX_OFFSET_NS`], are errors: a wrong unit would bend every moving object. A time that is
//! not a number belongs to a point that is none and counts as the stamp itself.

use boxwright_model::PointCloud;
use boxwright_model::time::NS_PER_S;

use super::{Fault, WireError};
use crate::quoted::quoted;

/// Most points of one sweep. The densest sensors of today give 0.6 million; ten million points need 260 MB as columns.
pub const MAX_POINTS: usize = 10_000_000;
/// Farthest that a point may be from its sweep's stamp: sweeps last 0.2 s at most, and i32 nanoseconds end at 2.147 s.
const MAX_OFFSET_NS: f64 = 2e9;
/// A relative time in f64 seconds is below this; a date is far above.
const MAX_RELATIVE_S: f64 = 10.0;

const INTENSITY: &[&str] = &["intensity", "i", "intensities", "reflectivity"];
const RING: &[&str] = &["ring", "channel", "line"];
const TIME: &[&str] = &[
    "time_offset_ns",
    "offset_ns",
    "time_ns",
    "time_offset_us",
    "offset_us",
    "time_us",
    "t",
    "time",
    "timestamp",
    "time_stamp",
    "offset_time",
    "time_offset",
];

pub(super) fn too_many(schema: &'static str, got: u64) -> WireError {
    WireError::TooLarge { schema, unit: "points", limit: MAX_POINTS, got }
}

/// A number type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    F64,
}

impl Scalar {
    /// `sensor_msgs/msg/PointField.datatype`.
    pub(super) fn from_ros(datatype: u8) -> Option<Self> {
        Some(match datatype {
            1 => Self::I8,
            2 => Self::U8,
            3 => Self::I16,
            4 => Self::U16,
            5 => Self::I32,
            6 => Self::U32,
            7 => Self::F32,
            8 => Self::F64,
            _ => return None,
        })
    }

    /// `foxglove.PackedElementField.type`.
    pub(super) fn from_foxglove(numeric_type: i32) -> Option<Self> {
        Some(match numeric_type {
            1 => Self::U8,
            2 => Self::I8,
            3 => Self::U16,
            4 => Self::I16,
            5 => Self::U32,
            6 => Self::I32,
            7 => Self::F32,
            8 => Self::F64,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// One field of a point.
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    /// Bytes from the start of the point.
    pub(super) offset: u32,
    /// `None` for a number type that does not exist; an error only where the field is used.
    pub(super) scalar: Option<Scalar>,
}

/// Where the points are: `rows` rows of `width` points of `stride` bytes, a row every `row_step` bytes.
pub(super) struct Layout<'a> {
    pub(super) data: &'a [u8],
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
    pub(super) row_step: usize,
    pub(super) big_endian: bool,
    pub(super) fields: Vec<Field<'a>>,
    pub(super) stamp_ns: i64,
}

/// A field that lies inside its point.
#[derive(Clone, Copy)]
struct Column {
    offset: usize,
    scalar: Scalar,
}

impl Layout<'_> {
    /// Reads the columns that the model knows; other fields are passed over.
    pub(super) fn read(&self) -> Result<PointCloud, Fault> {
        let count = self.rows.saturating_mul(self.width);
        if count == 0 {
            return Ok(PointCloud::default());
        }
        self.check_extent()?;
        let axis = |name: &'static str| -> Result<Vec<f32>, Fault> {
            let column = self.find(&[name])?.ok_or_else(|| format!("expected a field {name}, got {}", self.field_names()))?;
            Ok(self.values(column.1, |value| value as f32))
        };
        let (x, y, z) = (axis("x")?, axis("y")?, axis("z")?);
        let intensity = match self.find(INTENSITY)? {
            Some((_, column)) => self.values(column, |value| value as f32),
            None => vec![0.0; count],
        };
        let ring = self.find(RING)?.map(|(_, column)| self.values(column, |value| value as u16));
        let time_offset_ns = match self.find(TIME)? {
            Some((name, column)) => Some(self.time_offsets(name, column)?),
            None => None,
        };
        Ok(PointCloud { x, y, z, intensity, ring, time_offset_ns })
    }

    fn check_extent(&self) -> Result<(), Fault> {
        let row_bytes = self.width.saturating_mul(self.stride);
        if self.stride == 0 {
            return Err("expected points of at least 1 byte, got a stride of 0".to_owned());
        }
        if self.row_step < row_bytes {
            return Err(format!(
                "expected a row step of at least {row_bytes} bytes ({} points), got {}",
                self.width, self.row_step
            ));
        }
        let needed = (self.rows - 1).saturating_mul(self.row_step).saturating_add(row_bytes);
        if self.data.len() < needed {
            return Err(format!("expected {needed} bytes for {} x {} points, got {}", self.rows, self.width, self.data.len()));
        }
        Ok(())
    }

    fn field_names(&self) -> String {
        let names: Vec<String> = self.fields.iter().take(20).map(|field| quoted(field.name)).collect();
        if names.is_empty() { "no fields".to_owned() } else { names.join(", ") }
    }

    /// The first of `names` that the cloud has.
    fn find(&self, names: &[&'static str]) -> Result<Option<(&'static str, Column)>, Fault> {
        let found = names.iter().find_map(|name| self.fields.iter().find(|field| field.name == *name).map(|field| (*name, field)));
        let Some((name, field)) = found else { return Ok(None) };
        let scalar = field.scalar.ok_or_else(|| format!("field {name}: expected a number type, got an unknown one"))?;
        let end = (field.offset as usize).saturating_add(scalar.bytes());
        if end > self.stride {
            return Err(format!("field {name}: expected it to end within the {} bytes of a point, got {end}", self.stride));
        }
        Ok(Some((name, Column { offset: field.offset as usize, scalar })))
    }

    /// Every number type fits f64 without loss.
    fn values<T>(&self, column: Column, mut convert: impl FnMut(f64) -> T) -> Vec<T> {
        macro_rules! read {
            ($number:ty) => {
                if self.big_endian {
                    self.each(column.offset, |bytes| convert(f64::from(<$number>::from_be_bytes(bytes))))
                } else {
                    self.each(column.offset, |bytes| convert(f64::from(<$number>::from_le_bytes(bytes))))
                }
            };
        }
        match column.scalar {
            Scalar::U8 => read!(u8),
            Scalar::I8 => read!(i8),
            Scalar::U16 => read!(u16),
            Scalar::I16 => read!(i16),
            Scalar::U32 => read!(u32),
            Scalar::I32 => read!(i32),
            Scalar::F32 => read!(f32),
            Scalar::F64 => read!(f64),
        }
    }

    fn each<T, const N: usize>(&self, offset: usize, mut convert: impl FnMut([u8; N]) -> T) -> Vec<T> {
        let mut out = Vec::with_capacity(self.rows * self.width);
        for row in self.data.chunks(self.row_step).take(self.rows) {
            let points = row.chunks_exact(self.stride).take(self.width);
            out.extend(points.filter_map(|point| point.get(offset..)?.first_chunk::<N>()).map(|bytes| convert(*bytes)));
        }
        out
    }

    fn time_offsets(&self, name: &str, column: Column) -> Result<Vec<i32>, Fault> {
        let values = self.values(column, |value| value);
        let unit = TimeUnit::of(name, column.scalar, &values)?;
        values
            .into_iter()
            .map(|value| {
                let offset_ns = if value.is_finite() { unit.offset_ns(value, self.stamp_ns) } else { 0.0 };
                if offset_ns.abs() > MAX_OFFSET_NS {
                    let limit_s = MAX_OFFSET_NS / 1e9;
                    return Err(format!(
                        "field {name}: expected times within {limit_s} s of the sweep's stamp {}, got {value} read as {unit:?}",
                        self.stamp_ns
                    ));
                }
                Ok(offset_ns.round() as i32)
            })
            .collect()
    }
}

/// How a time field is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeUnit {
    RelativeNanoseconds,
    RelativeMicroseconds,
    RelativeSeconds,
    SecondsSince1970,
    MicrosecondsSince1970,
    NanosecondsSince1970,
}

impl TimeUnit {
    fn of(name: &str, scalar: Scalar, values: &[f64]) -> Result<Self, Fault> {
        let largest =
            || values.iter().copied().filter(|value| value.is_finite()).fold(0.0_f64, |largest, value| largest.max(value.abs()));
        if name.ends_with("_us") {
            return Ok(Self::RelativeMicroseconds);
        }
        if name.ends_with("_ns") {
            let is_date = scalar == Scalar::F64 && largest() >= 1e17;
            return Ok(if is_date { Self::NanosecondsSince1970 } else { Self::RelativeNanoseconds });
        }
        match scalar {
            Scalar::F32 => Ok(Self::RelativeSeconds),
            Scalar::F64 => match largest() {
                value if value < MAX_RELATIVE_S => Ok(Self::RelativeSeconds),
                value if (1e8..1e11).contains(&value) => Ok(Self::SecondsSince1970),
                value if (1e14..1e17).contains(&value) => Ok(Self::MicrosecondsSince1970),
                value if value >= 1e17 => Ok(Self::NanosecondsSince1970),
                value => Err(format!(
                    "field {name}: expected f64 seconds relative to the sweep (below {MAX_RELATIVE_S}) or since 1970 (from 1e8), got {value}"
                )),
            },
            _ => Ok(Self::RelativeNanoseconds),
        }
    }

    fn offset_ns(self, value: f64, stamp_ns: i64) -> f64 {
        match self {
            Self::RelativeNanoseconds => value,
            Self::RelativeMicroseconds => value * 1e3,
            Self::RelativeSeconds => value * 1e9,
            // The whole seconds are taken off first: their difference is exact, and what is left keeps its digits.
            Self::SecondsSince1970 => since(value, NS_PER_S, stamp_ns),
            Self::MicrosecondsSince1970 => since(value, 1000, stamp_ns),
            Self::NanosecondsSince1970 => since(value, 1, stamp_ns),
        }
    }
}

/// `value` in units of `unit_ns` since 1970, minus the stamp.
fn since(value: f64, unit_ns: i64, stamp_ns: i64) -> f64 {
    let whole = stamp_ns.div_euclid(unit_ns);
    (value - whole as f64) * unit_ns as f64 - stamp_ns.rem_euclid(unit_ns) as f64
}
