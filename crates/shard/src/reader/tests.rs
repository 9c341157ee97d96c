//! What was written comes back, and what was not written by us is named.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use boxwright_model::PointCloud;
use parquet::arrow::ArrowWriter;

use super::*;
use crate::SealOutcome;
use crate::fixtures::{
    boxes, calibrations, camera_row, dataset, findings, info, late_row, lidar_row, poses, samples, taxonomy, tracks, write_all,
    writer,
};

fn sealed(dataset: &Dataset, fill: impl FnOnce(&mut crate::ClipWriter)) -> ManifestEntry {
    let mut writer = writer(dataset, 7);
    fill(&mut writer);
    let (SealOutcome::Sealed(entry) | SealOutcome::AlreadySealed(entry)) = writer.seal(info()).unwrap();
    *entry
}

/// Floats that may be NaN are compared by their bits.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_table_comes_back_as_it_was_written() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let entry = sealed(&dataset, write_all);
    let reader = ClipReader::open(&dataset, &entry).unwrap();
    reader.verify().unwrap();
    let sweeps: Vec<LidarRow> = reader.lidar().unwrap().map(Result::unwrap).collect();
    assert_eq!(sweeps, (0..6).map(|seed| lidar_row(seed, 500)).collect::<Vec<_>>());
    let images: Vec<CameraRow> = reader.camera().unwrap().map(Result::unwrap).collect();
    assert_eq!(images, (0..6).map(|seed| camera_row(seed, 2_000)).collect::<Vec<_>>());
    assert_eq!(reader.ego_poses().unwrap(), poses());
    assert_eq!(reader.calibrations().unwrap(), calibrations());
    assert_eq!(reader.samples().unwrap(), samples());
    assert_eq!(reader.tracks(&taxonomy()).unwrap(), tracks());
    assert_eq!(reader.late().unwrap().map(Result::unwrap).collect::<Vec<_>>(), [late_row()]);
    let found: Vec<_> =
        reader.findings().unwrap().into_iter().map(|row| (row.rule.to_string(), row.track_id, row.sample_id)).collect();
    let expected: Vec<_> = findings().into_iter().map(|row| (row.rule.to_owned(), row.track_id, row.sample_id)).collect();
    assert_eq!(found, expected);
}

#[test]
fn boxes_come_back_bit_for_bit_with_their_nan() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let entry = sealed(&dataset, write_all);
    let found = ClipReader::open(&dataset, &entry).unwrap().boxes(&taxonomy()).unwrap();
    assert_eq!(found.len(), 2);
    for (found, expected) in found.iter().zip(boxes()) {
        assert_eq!(found.velocity_world_mps.map(f64::to_bits), expected.velocity_world_mps.map(f64::to_bits));
        assert_eq!((found.track_id, found.class, found.source), (expected.track_id, expected.class, expected.source));
        assert_eq!(
            (found.ego_from_box.center_m, found.ego_from_box.size_lwh_m),
            (expected.ego_from_box.center_m, expected.ego_from_box.size_lwh_m)
        );
        assert!(found.ego_from_box.rotation.angle_to(&expected.ego_from_box.rotation) < 1e-15);
        assert_eq!(found.world_from_box.center_m, expected.world_from_box.center_m);
        assert_eq!((&found.evidence, found.predicted, found.stamp_ns), (&expected.evidence, expected.predicted, expected.stamp_ns));
    }
}

#[test]
fn sweeps_without_points_rings_or_times_and_with_nan_come_back() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let empty = LidarRow { points: Arc::new(PointCloud::default()), ..lidar_row(1, 0) };
    let odd = PointCloud {
        x: vec![f32::NAN, -0.0, f32::INFINITY],
        y: vec![1.0; 3],
        z: vec![f32::MIN_POSITIVE / 2.0, 0.0, f32::NEG_INFINITY],
        intensity: vec![0.0; 3],
        ring: None,
        time_offset_ns: Some(vec![i32::MIN, 0, i32::MAX]),
    };
    let odd = LidarRow { points: Arc::new(odd), deskewed: false, ..lidar_row(2, 0) };
    let rows = [empty, odd, lidar_row(3, 5)];
    let entry = sealed(&dataset, |writer| rows.iter().for_each(|row| writer.lidar(row).unwrap()));
    let found: Vec<LidarRow> = ClipReader::open(&dataset, &entry).unwrap().lidar().unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), 3);
    for (found, expected) in found.iter().zip(&rows) {
        assert_eq!(bits(&found.points.x), bits(&expected.points.x));
        assert_eq!(bits(&found.points.z), bits(&expected.points.z));
        assert_eq!((&found.points.ring, &found.points.time_offset_ns), (&expected.points.ring, &expected.points.time_offset_ns));
        assert_eq!((found.deskewed, &found.source), (expected.deskewed, &expected.source));
    }
}

#[test]
fn a_clip_without_rows_is_read_as_empty() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let entry = sealed(&dataset, |_| {});
    assert!(entry.files.is_empty() && entry.rows.values().all(|rows| *rows == 0) && entry.rows.len() == 9);
    let reader = ClipReader::open(&dataset, &entry).unwrap();
    assert!(reader.lidar().unwrap().next().is_none() && reader.samples().unwrap().is_empty());
}

#[test]
fn a_class_that_the_taxonomy_lacks_is_named() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let entry = sealed(&dataset, write_all);
    let other = include_str!("../../../../configs/taxonomy.toml").replacen("\"car\"", "\"automobile\"", 1);
    let message = ClipReader::open(&dataset, &entry).unwrap().boxes(&Taxonomy::from_toml(&other).unwrap()).unwrap_err().to_string();
    assert!(message.contains("class \"car\" is not in the taxonomy"), "{message}");
}

#[test]
fn a_missing_cut_or_changed_file_is_named() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let entry = sealed(&dataset, write_all);
    let path = root.path().join(&entry.file(Table::Lidar).unwrap().path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(ClipReader::open(&dataset, &entry).unwrap().verify().unwrap_err().to_string().contains("expected sha256"));
    fs::write(&path, &bytes[..100]).unwrap();
    assert!(ClipReader::open(&dataset, &entry).unwrap_err().to_string().contains("as in the manifest, got 100"));
    fs::remove_file(&path).unwrap();
    assert!(ClipReader::open(&dataset, &entry).unwrap_err().to_string().contains("cannot open"));
}

/// Puts a file of other columns in the place of a clip's tracks.
fn with_foreign_tracks(columns: &[(&str, ArrayRef)], field: impl Fn(&str, &ArrayRef) -> Field) -> ShardError {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let mut entry = sealed(&dataset, write_all);
    let file = entry.files.iter_mut().find(|file| file.table == Table::Track).unwrap();
    let fields: Vec<Field> = columns.iter().map(|(name, array)| field(name, array)).collect();
    let arrays = columns.iter().map(|(_, array)| array.clone()).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    file.bytes = bytes.len() as u64;
    fs::write(root.path().join(&file.path), bytes).unwrap();
    ClipReader::open(&dataset, &entry).unwrap().tracks(&taxonomy()).unwrap_err()
}

#[test]
fn a_foreign_file_is_refused_with_column_and_both_types() {
    let field = |name: &str, array: &ArrayRef| Field::new(name, array.data_type().clone(), true);
    let clip: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let message = with_foreign_tracks(&[("clip", clip.clone())], field).to_string();
    assert!(message.contains("expected column revision of type Int32, got none"), "{message}");
    let text: ArrayRef = Arc::new(StringArray::from(vec!["0"]));
    let message = with_foreign_tracks(&[("clip", clip), ("revision", text)], field).to_string();
    assert!(message.contains("column revision: expected type Int32, got Utf8"), "{message}");
}

#[test]
fn a_null_where_a_value_must_be_is_refused() {
    let field = |name: &str, array: &ArrayRef| Field::new(name, array.data_type().clone(), true);
    let schema = Table::Track.schema();
    let columns: Vec<(&str, ArrayRef)> = schema
        .fields()
        .iter()
        .map(|field| {
            let array: ArrayRef = match (field.name().as_str(), field.data_type()) {
                ("score", _) => Arc::new(Float64Array::from(vec![None])),
                (_, DataType::Utf8) => Arc::new(StringArray::from(vec!["7-0001"])),
                (_, other) => filled(other),
            };
            (field.name().as_str(), array)
        })
        .collect();
    let message = with_foreign_tracks(&columns, field).to_string();
    assert!(message.contains("column score: expected no null, got 1 in 1 rows"), "{message}");
}

/// One row of a type that tracks have.
fn filled(data_type: &DataType) -> ArrayRef {
    use arrow::array::{BooleanArray, Int32Array};
    match data_type {
        DataType::Int64 => Arc::new(Int64Array::from(vec![7])),
        DataType::Int32 => Arc::new(Int32Array::from(vec![0])),
        DataType::Boolean => Arc::new(BooleanArray::from(vec![true])),
        _ => Arc::new(Float64Array::from(vec![1.0])),
    }
}

#[test]
fn a_footer_that_asks_for_more_memory_than_there_is_is_refused_and_not_believed() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let mut entry = sealed(&dataset, write_all);
    let file = entry.files.iter_mut().find(|file| file.table == Table::Calibration).unwrap();
    let path = root.path().join(&file.path);
    let good = fs::read(&path).unwrap();
    // The schema is the second field: version, list of structures, then how many there are.
    let start = good.len() - 8 - u32::from_le_bytes(good[good.len() - 8..good.len() - 4].try_into().unwrap()) as usize;
    let (list, count) = (start + 2, start + 3);
    assert_eq!(good[list..=count], [0x19, 0xFC], "a list of 15 or more structures");
    let lists = [
        // Two thousand million elements, as many as a number can say, and one more than there are bytes.
        [0xFF, 0xFF, 0xFF, 0xFF, 0x07].as_slice(),
        &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        &[0xFF; 12],
    ];
    for claimed in lists {
        let mut bad = good.clone();
        bad[count + 1..count + 1 + claimed.len()].copy_from_slice(claimed);
        fs::write(&path, &bad).unwrap();
        let error = ClipReader::open(&dataset, &entry).unwrap().calibrations().unwrap_err().to_string();
        assert!(error.contains("the file is damaged: expected a footer of") && error.contains("breaks off at byte"), "{error}");
    }
    // A length of the footer that leads before the file, or to its first byte.
    for length in [u32::MAX, good.len() as u32 - 8, 0] {
        let mut bad = good.clone();
        let at = good.len() - 8;
        bad[at..at + 4].copy_from_slice(&length.to_le_bytes());
        fs::write(&path, &bad).unwrap();
        assert!(ClipReader::open(&dataset, &entry).unwrap().calibrations().is_err());
    }
    for length in 0..9 {
        fs::write(&path, &good[..length]).unwrap();
        let file = entry.files.iter_mut().find(|file| file.table == Table::Calibration).unwrap();
        file.bytes = length as u64;
        assert!(ClipReader::open(&dataset, &entry).unwrap().calibrations().is_err());
    }
}

#[test]
fn a_page_that_says_more_than_there_is_is_refused_at_once() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let entry = sealed(&dataset, write_all);
    let path = root.path().join(&entry.file(Table::Calibration).unwrap().path);
    let good = fs::read(&path).unwrap();
    let headers: [(&[u8], &str); 4] = [
        // A list of two thousand million numbers, which the library would pass over one by one.
        (&[0x19, 0xF7, 0xFF, 0xFF, 0xFF, 0xFF, 0x07], "expected a page at byte 4, got none"),
        // A structure that contains itself.
        (&[0x1C; 64], "expected a page at byte 4, got none"),
        // Data page, unpacked two gigabytes, stored none.
        (&[0x15, 0, 0x15, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0x15, 0, 0], "bytes unpacked at byte 4, got 2147483647"),
        // Unpacked nothing, stored two gigabytes.
        (&[0x15, 0, 0x15, 0, 0x15, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0], "bytes at byte 4, got 2147483647"),
    ];
    for (header, part) in headers {
        let mut bad = good.clone();
        bad[4..4 + header.len()].copy_from_slice(header);
        fs::write(&path, &bad).unwrap();
        let error = ClipReader::open(&dataset, &entry).unwrap().calibrations().unwrap_err().to_string();
        assert!(error.contains("the file is damaged: column") && error.contains(part), "{error}");
    }
}

#[test]
fn fewer_or_more_rows_than_the_footer_says_are_told_and_never_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let mut entry = sealed(&dataset, write_all);
    let file = entry.files.iter_mut().find(|file| file.table == Table::EgoPose).unwrap();
    let path = root.path().join(&file.path);
    let good = fs::read(&path).unwrap();
    // Third field of the footer, an integer of 64 bits: five rows, doubled as Thrift has it. Then a list of one row group.
    let pattern = [0x16, 2 * 5, 0x19, 0x1C];
    let at = good.windows(4).rposition(|window| window == pattern).expect("the number of rows") + 1;
    for (rows, got) in [(6, "got 1 fewer"), (4, "got more")] {
        let mut bad = good.clone();
        bad[at] = 2 * rows;
        fs::write(&path, &bad).unwrap();
        let file = entry.files.iter_mut().find(|file| file.table == Table::EgoPose).unwrap();
        file.rows = u64::from(rows);
        let error = ClipReader::open(&dataset, &entry).unwrap().ego_poses().unwrap_err().to_string();
        assert!(error.contains("expected as many rows as its footer says") && error.contains(got), "{error}");
    }
}

#[test]
fn damaged_files_end_in_an_error_or_in_rows_but_never_in_a_panic() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let entry = sealed(&dataset, write_all);
    let reader = ClipReader::open(&dataset, &entry).unwrap();
    let path = root.path().join(&entry.file(Table::Sample).unwrap().path);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x5a;
        fs::write(&path, &bad).unwrap();
        let _ = reader.samples();
    }
}
