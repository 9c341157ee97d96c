//! The nine tables and their columns: the contract with every reader.
//!
//! A change to a name, a type or a meaning here is a new [`SCHEMA_VERSION`] and a line in the changelog. Rules that came from trying
//! readers: nanoseconds are plain `int64` (Spark refuses nanosecond timestamps), there is no half float (Spark refuses it), list
//! elements are called `element` (Iceberg refuses arrow's `item`), identifiers are strings.
//!
//! Every table starts with `clip` (int64), label tables go on with `revision` (int32, 0 = automatic), and every table has `stamp_ns`
//! (int64, since the Unix epoch). `vehicle` and `date` are not columns of the files: readers take them from the path. `date` is the UTC
//! day of the clip's start.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

/// Version of the columns below, of the manifest entry and of the layout of a dataset.
pub const SCHEMA_VERSION: u32 = 2;

/// A line that stands in the metadata of every file, for the person who opens it without this documentation.
pub const UNITS_NOTE: &str = "x forward, y left, z up (ISO 8855); *_m metres, *_mps metres per second, *_px pixels, *_ns nanoseconds \
                              (stamps since the Unix epoch), *_s seconds; quaternions x, y, z, w; poses are parent_from_child";

/// Name of the element of every list, as the Parquet specification wants it.
pub(crate) const ELEMENT: &str = "element";

/// The tables of a dataset, in the order of manifest entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Sweeps: points in the ego frame.
    Lidar,
    /// Images as they were sent.
    Camera,
    /// Where the vehicle was.
    EgoPose,
    /// Where its sensors sit and how its cameras see.
    Calibration,
    /// Which frames belong together.
    Sample,
    /// Boxes.
    Box3,
    /// Tracks.
    Track,
    /// What numbered rules say about the labels.
    Finding,
    /// Messages that came too late, or that could not be understood.
    Late,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 9] = [
        Self::Lidar,
        Self::Camera,
        Self::EgoPose,
        Self::Calibration,
        Self::Sample,
        Self::Box3,
        Self::Track,
        Self::Finding,
        Self::Late,
    ];

    /// Tables that a revision of the labels replaces whole. All others stay those of revision 0.
    pub const REVISED: [Self; 2] = [Self::Box3, Self::Track];

    /// Name of the table and of its folder.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lidar => "lidar",
            Self::Camera => "camera",
            Self::EgoPose => "ego_pose",
            Self::Calibration => "calibration",
            Self::Sample => "sample",
            Self::Box3 => "box3",
            Self::Track => "track",
            Self::Finding => "finding",
            Self::Late => "late",
        }
    }

    /// Whether its rows carry a `revision`: what people decide about can have several.
    #[must_use]
    pub fn is_label(self) -> bool {
        matches!(self, Self::Sample | Self::Box3 | Self::Track | Self::Finding)
    }

    /// Columns of the table.
    #[must_use]
    pub fn schema(self) -> SchemaRef {
        let mut fields = vec![field("clip", DataType::Int64)];
        if self.is_label() {
            fields.push(field("revision", DataType::Int32));
        }
        fields.push(field("stamp_ns", DataType::Int64));
        fields.extend(self.own_fields());
        Arc::new(Schema::new(fields))
    }

    fn own_fields(self) -> Vec<Field> {
        match self {
            Self::Lidar => lidar(),
            Self::Camera => camera(),
            Self::EgoPose => pose("", field).into(),
            Self::Calibration => calibration(),
            Self::Sample => sample(),
            Self::Box3 => box3(),
            Self::Track => track(),
            Self::Finding => finding(),
            Self::Late => late(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names of the columns of a pose, without prefix.
pub(crate) const POSE_COLUMNS: [&str; 7] = ["tx_m", "ty_m", "tz_m", "qx", "qy", "qz", "qw"];

/// Of a box: times of the first and the last of its points.
pub(crate) const POINT_TIME_COLUMNS: [&str; 2] = ["first_point_ns", "last_point_ns"];

/// Of a box: its centre in the world frame at `stamp_ns`, before it was moved to `sample_stamp_ns`.
pub(crate) const MEASURED_COLUMNS: [&str; 3] = ["measured_world_tx_m", "measured_world_ty_m", "measured_world_tz_m"];

/// Whether a column came after version 1: datasets of then do not have it and are read all the same.
pub(crate) fn is_new_since_version_1(table: Table, column: &str) -> bool {
    table == Table::Box3 && (POINT_TIME_COLUMNS.contains(&column) || MEASURED_COLUMNS.contains(&column))
}

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn nullable(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// The type of a list whose elements are never null.
pub(crate) fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(field(ELEMENT, element)))
}

fn pose(prefix: &str, make: fn(&str, DataType) -> Field) -> [Field; 7] {
    POSE_COLUMNS.map(|name| make(&format!("{prefix}{name}"), DataType::Float64))
}

fn source() -> [Field; 3] {
    [field("source_topic", DataType::Utf8), field("source_partition", DataType::Int32), field("source_offset", DataType::Int64)]
}

fn lidar() -> Vec<Field> {
    let mut fields = vec![
        field("sensor", DataType::Utf8),
        field("stamp_ref", DataType::Utf8),
        field("deskewed", DataType::Boolean),
        field("points", DataType::Int32),
        field("x", list_of(DataType::Float32)),
        field("y", list_of(DataType::Float32)),
        field("z", list_of(DataType::Float32)),
        field("intensity", list_of(DataType::Float32)),
        nullable("ring", list_of(DataType::UInt16)),
        nullable("time_offset_ns", list_of(DataType::Int32)),
    ];
    fields.extend(source());
    fields
}

fn camera() -> Vec<Field> {
    let mut fields = vec![
        field("sensor", DataType::Utf8),
        field("stamp_ref", DataType::Utf8),
        field("width", DataType::Int32),
        field("height", DataType::Int32),
        field("format", DataType::Utf8),
        field("image", DataType::Binary),
    ];
    fields.extend(source());
    fields
}

fn calibration() -> Vec<Field> {
    let mut fields = vec![field("sensor", DataType::Utf8)];
    fields.extend(pose("", nullable));
    fields.extend(["fx_px", "fy_px", "cx_px", "cy_px"].map(|name| nullable(name, DataType::Float64)));
    fields.push(nullable("distortion_model", DataType::Utf8));
    fields.push(nullable("distortion", list_of(DataType::Float64)));
    fields.extend(["width", "height"].map(|name| nullable(name, DataType::Int32)));
    fields
}

/// Columns of one member of a sample.
pub(crate) fn member_fields() -> Fields {
    Fields::from(vec![field("sensor", DataType::Utf8), field("stamp_ns", DataType::Int64), field("residual_ns", DataType::Int64)])
}

fn sample() -> Vec<Field> {
    vec![
        field("sample_id", DataType::Utf8),
        field("members", list_of(DataType::Struct(member_fields()))),
        field("missing", list_of(DataType::Utf8)),
        field("reason", DataType::Utf8),
    ]
}

fn box3() -> Vec<Field> {
    let mut fields = vec![
        field("sample_id", DataType::Utf8),
        field("sample_stamp_ns", DataType::Int64),
        field("track_id", DataType::Utf8),
        field("class", DataType::Utf8),
        field("score", DataType::Float64),
    ];
    fields.extend(["tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m"].map(|name| field(name, DataType::Float64)));
    fields.extend(["qx", "qy", "qz", "qw"].map(|name| field(name, DataType::Float64)));
    fields.extend(pose("world_", field));
    fields.extend(["vx_mps", "vy_mps"].map(|name| field(name, DataType::Float64)));
    fields.extend(POINT_TIME_COLUMNS.map(|name| field(name, DataType::Int64)));
    fields.extend(MEASURED_COLUMNS.map(|name| field(name, DataType::Float64)));
    fields.extend([
        field("num_lidar_pts", DataType::Int32),
        field("predicted", DataType::Boolean),
        field("source", DataType::Utf8),
        field("evidence", DataType::Utf8),
    ]);
    fields
}

fn track() -> Vec<Field> {
    vec![
        field("track_id", DataType::Utf8),
        field("class", DataType::Utf8),
        field("score", DataType::Float64),
        field("first_stamp_ns", DataType::Int64),
        field("last_stamp_ns", DataType::Int64),
        field("boxes", DataType::Int32),
        field("static", DataType::Boolean),
        field("length_m", DataType::Float64),
        field("width_m", DataType::Float64),
        field("height_m", DataType::Float64),
        field("review_priority_s", DataType::Float64),
    ]
}

fn finding() -> Vec<Field> {
    vec![
        field("rule", DataType::Utf8),
        field("severity", DataType::Utf8),
        nullable("track_id", DataType::Utf8),
        nullable("sample_id", DataType::Utf8),
        field("message", DataType::Utf8),
        field("values", DataType::Utf8),
    ]
}

fn late() -> Vec<Field> {
    let mut fields: Vec<Field> =
        ["sensor", "kind", "stamp_ref", "reason"].into_iter().map(|name| field(name, DataType::Utf8)).collect();
    fields.extend(source());
    fields.extend([field("schema", DataType::Utf8), field("encoding", DataType::Utf8), field("payload", DataType::Binary)]);
    fields
}
