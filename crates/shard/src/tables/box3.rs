//! `box3`: one row an object in a sample.

use arrow::array::{BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use boxwright_model::{Box3, Cuboid, LabelSource, Taxonomy};
use nalgebra::Vector3;

use super::{Classed, TableRow, fits_i32, signed};
use crate::columns::{Column, bools, check_pose, column, numbers, pose_columns, pose_parts, texts};
use crate::decode::{Batch, Poses};
use crate::error::ShardError;
use crate::schema::{MEASURED_COLUMNS, POINT_TIME_COLUMNS, Table};

impl TableRow for Classed<Box3> {
    const TABLE: Table = Table::Box3;

    fn stamp_ns(&self) -> i64 {
        self.label.stamp_ns
    }

    fn payload_bytes(&self) -> usize {
        self.label.sample_id.len() + self.label.evidence.len() + self.class.len()
    }

    fn check(&self) -> Result<(), String> {
        fits_i32("num_lidar_pts", self.label.num_lidar_pts)?;
        check_pose("ego_from_box", &self.label.ego_from_box.pose())?;
        check_pose("world_from_box", &self.label.world_from_box.pose())
    }

    fn columns(rows: &[Self]) -> Result<Vec<Column>, ShardError> {
        let labels = || rows.iter().map(|row| &row.label);
        let number = |name, pick: fn(&Box3) -> f64| column(name, numbers::<Float64Type>(labels().map(pick)));
        let ids: Vec<String> = labels().map(|label| label.track_id.to_string()).collect();
        let mut columns = vec![
            column("sample_id", texts(labels().map(|label| &*label.sample_id))),
            column("sample_stamp_ns", numbers::<Int64Type>(labels().map(|label| label.sample_stamp_ns))),
            column("track_id", texts(ids.iter().map(String::as_str))),
            column("class", texts(rows.iter().map(|row| &*row.class))),
            number("score", |label| label.score),
        ];
        let ego: Vec<_> = labels().map(|label| Some(pose_parts(&label.ego_from_box.pose()))).collect();
        let world: Vec<_> = labels().map(|label| Some(pose_parts(&label.world_from_box.pose()))).collect();
        let mut translation = pose_columns("", &ego);
        let rotation = translation.split_off(3);
        columns.extend(translation);
        columns.extend([
            number("length_m", |label| label.ego_from_box.size_lwh_m.x),
            number("width_m", |label| label.ego_from_box.size_lwh_m.y),
            number("height_m", |label| label.ego_from_box.size_lwh_m.z),
        ]);
        columns.extend(rotation);
        columns.extend(pose_columns("world_", &world));
        columns.extend([
            number("vx_mps", |label| label.velocity_world_mps[0]),
            number("vy_mps", |label| label.velocity_world_mps[1]),
            column(POINT_TIME_COLUMNS[0], numbers::<Int64Type>(labels().map(|label| label.points_ns[0]))),
            column(POINT_TIME_COLUMNS[1], numbers::<Int64Type>(labels().map(|label| label.points_ns[1]))),
            number(MEASURED_COLUMNS[0], |label| label.measured_world_center_m.x),
            number(MEASURED_COLUMNS[1], |label| label.measured_world_center_m.y),
            number(MEASURED_COLUMNS[2], |label| label.measured_world_center_m.z),
            column("num_lidar_pts", numbers::<Int32Type>(labels().map(|label| signed(label.num_lidar_pts)))),
            column("predicted", bools(labels().map(|label| label.predicted))),
            column("source", texts(labels().map(|label| label.source.as_str()))),
            column("evidence", texts(labels().map(|label| label.evidence.as_str()))),
        ]);
        Ok(columns)
    }
}

/// Columns of the geometry.
struct Cuboids<'a> {
    ego: Poses<'a>,
    world: Poses<'a>,
    /// Length, width, height: stored once, the box is as large in both frames.
    size: [&'a Float64Array; 3],
}

impl<'a> Cuboids<'a> {
    fn new(batch: &Batch<'a>) -> Result<Self, ShardError> {
        Ok(Self {
            ego: batch.poses("")?,
            world: batch.poses("world_")?,
            size: [batch.required("length_m")?, batch.required("width_m")?, batch.required("height_m")?],
        })
    }

    fn get(&self, row: usize) -> Result<(Cuboid, Cuboid), ShardError> {
        let size_lwh_m = Vector3::from(self.size.map(|column| column.value(row)));
        let cuboid = |poses: &Poses<'_>| {
            poses.require(row).map(|pose| Cuboid { center_m: pose.translation.vector, size_lwh_m, rotation: pose.rotation })
        };
        Ok((cuboid(&self.ego)?, cuboid(&self.world)?))
    }
}

/// Columns of what was measured and when; files of version 1 have none of them.
struct Seen<'a> {
    points: [Option<&'a Int64Array>; 2],
    center: [Option<&'a Float64Array>; 3],
}

impl<'a> Seen<'a> {
    fn new(batch: &Batch<'a>) -> Result<Self, ShardError> {
        let ([first, last], [x, y, z]) = (POINT_TIME_COLUMNS, MEASURED_COLUMNS);
        Ok(Self { points: [batch.newer(first)?, batch.newer(last)?], center: [batch.newer(x)?, batch.newer(y)?, batch.newer(z)?] })
    }

    fn points_ns(&self, row: usize) -> Option<[i64; 2]> {
        let [first, last] = self.points;
        Some([first?.value(row), last?.value(row)])
    }

    fn center_m(&self, row: usize) -> Option<Vector3<f64>> {
        let [x, y, z] = self.center;
        Some(Vector3::new(x?.value(row), y?.value(row), z?.value(row)))
    }
}

/// Rows of a batch.
pub(crate) fn rows(batch: &Batch<'_>, taxonomy: &Taxonomy) -> Result<Vec<Box3>, ShardError> {
    let (stamps, sample_stamps): (&Int64Array, &Int64Array) = (batch.required("stamp_ns")?, batch.required("sample_stamp_ns")?);
    let texts = ["sample_id", "track_id", "class", "source", "evidence"].map(|name| batch.required::<StringArray>(name));
    let [sample_ids, track_ids, classes, sources, evidence] = texts;
    let (sample_ids, track_ids, classes, sources, evidence) = (sample_ids?, track_ids?, classes?, sources?, evidence?);
    let [score, vx, vy] = ["score", "vx_mps", "vy_mps"].map(|name| batch.required::<Float64Array>(name));
    let (score, vx, vy) = (score?, vx?, vy?);
    let num_lidar_pts: &Int32Array = batch.required("num_lidar_pts")?;
    let predicted: &BooleanArray = batch.required("predicted")?;
    let cuboids = Cuboids::new(batch)?;
    let seen = Seen::new(batch)?;
    let row = |row| {
        let (ego_from_box, world_from_box) = cuboids.get(row)?;
        Ok(Box3 {
            sample_id: sample_ids.value(row).into(),
            sample_stamp_ns: sample_stamps.value(row),
            stamp_ns: stamps.value(row),
            points_ns: seen.points_ns(row).unwrap_or([stamps.value(row); 2]),
            measured_world_center_m: seen.center_m(row).unwrap_or(world_from_box.center_m),
            track_id: batch.track_id(track_ids.value(row))?,
            class: batch.class(taxonomy, classes.value(row))?,
            score: score.value(row),
            ego_from_box,
            world_from_box,
            velocity_world_mps: [vx.value(row), vy.value(row)],
            num_lidar_pts: batch.unsigned("num_lidar_pts", num_lidar_pts.value(row))?,
            predicted: predicted.value(row),
            source: batch.word("source", sources.value(row), parse_source)?,
            evidence: evidence.value(row).to_owned(),
        })
    };
    (0..batch.rows()).map(row).collect()
}

fn parse_source(word: &str) -> Option<LabelSource> {
    [LabelSource::Auto, LabelSource::Human].into_iter().find(|source| source.as_str() == word)
}
