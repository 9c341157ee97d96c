//! What the files look like inside: encodings, row groups, memory, and a disk that fills up.

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;
use crate::fixtures::{boxes, camera_row, key, lidar_row, taxonomy};
use crate::tables::Classed;
use crate::tables::camera::CameraRow;
use crate::tables::lidar::LidarRow;

fn start<R: TableRow>() -> TableFile<R, Vec<u8>> {
    TableFile::new(Vec::new(), PathBuf::from("test.parquet"), &key(7), &WriterConfig::default()).unwrap()
}

fn finish<R: TableRow>(file: TableFile<R, Vec<u8>>) -> (Vec<u8>, ParquetMetaData) {
    let bytes = file.finish(&key(7), "hash").unwrap().file;
    let metadata = SerializedFileReader::new(Bytes::from(bytes.clone())).unwrap().metadata().clone();
    (bytes, metadata)
}

fn group_rows(metadata: &ParquetMetaData) -> Vec<i64> {
    metadata.row_groups().iter().map(|group| group.num_rows()).collect()
}

#[test]
fn point_lists_are_encoded_as_the_design_says() {
    let mut file = start::<LidarRow>();
    file.push(&lidar_row(1, 1000), &key(7)).unwrap();
    let (_, metadata) = finish(file);
    let mut seen = 0;
    for column in metadata.row_group(0).columns() {
        let encodings: Vec<Encoding> = column.encodings().collect();
        match column.column_path().string().as_str() {
            "x.list.element" | "y.list.element" | "z.list.element" | "intensity.list.element" => {
                assert!(encodings.contains(&Encoding::BYTE_STREAM_SPLIT), "{encodings:?}");
                assert!(column.dictionary_page_offset().is_none());
                assert!(matches!(column.compression(), Compression::ZSTD(_)));
            }
            "time_offset_ns.list.element" => assert!(encodings.contains(&Encoding::DELTA_BINARY_PACKED), "{encodings:?}"),
            "ring.list.element" => assert!(column.dictionary_page_offset().is_some()),
            _ => continue,
        }
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn images_are_not_compressed_twice_and_numbers_have_no_dictionary() {
    let mut file = start::<CameraRow>();
    file.push(&camera_row(1, 1000), &key(7)).unwrap();
    let (_, metadata) = finish(file);
    let image = metadata.row_group(0).columns().iter().find(|column| column.column_path().string() == "image").unwrap();
    assert_eq!(image.compression(), Compression::UNCOMPRESSED);
    assert!(image.dictionary_page_offset().is_none() && image.statistics().is_none());

    let mut file = start::<Classed<boxwright_model::Box3>>();
    let label = boxes().remove(0);
    file.push(&Classed { class: taxonomy().get(label.class).name.clone(), label }, &key(7)).unwrap();
    let (_, metadata) = finish(file);
    let score = metadata.row_group(0).columns().iter().find(|column| column.column_path().string() == "score").unwrap();
    assert!(score.dictionary_page_offset().is_none());
}

#[test]
fn a_row_group_ends_at_four_sweeps() {
    let mut file = start::<LidarRow>();
    (0..10).for_each(|seed| file.push(&lidar_row(seed, 100), &key(7)).unwrap());
    assert_eq!(group_rows(&finish(file).1), [4, 4, 2]);
}

#[test]
fn a_row_group_ends_before_eight_megabytes_and_a_larger_image_stands_alone() {
    let mut file = start::<CameraRow>();
    for (seed, mib) in [3, 3, 3, 20, 1, 1].into_iter().enumerate() {
        file.push(&camera_row(seed as i64, mib << 20), &key(7)).unwrap();
    }
    assert_eq!(group_rows(&finish(file).1), [2, 1, 1, 2]);
}

#[test]
fn label_rows_share_large_row_groups() {
    let mut file = start::<Classed<boxwright_model::Box3>>();
    let label = boxes().remove(0);
    let row = Classed { class: taxonomy().get(label.class).name.clone(), label };
    (0..70_000).for_each(|_| file.push(&row, &key(7)).unwrap());
    assert_eq!(group_rows(&finish(file).1), [65_536, 4_464]);
}

#[test]
fn memory_is_bounded_by_one_row_group_and_not_by_the_clip() {
    let (images, bytes) = (64, 1 << 20);
    let mut file = start::<CameraRow>();
    let mut most = 0;
    for seed in 0..images {
        file.push(&camera_row(seed, bytes), &key(7)).unwrap();
        most = most.max(file.buffered_bytes());
    }
    // Four images of 1 MiB make a row group; the encoder may hold a page beside them.
    assert!(most <= 5 * bytes, "{most} bytes waited");

    let mut file = start::<LidarRow>();
    let mut most = 0;
    for seed in 0..16 {
        file.push(&lidar_row(seed, 120_000), &key(7)).unwrap();
        most = most.max(file.buffered_bytes());
    }
    assert!(most <= 16 << 20, "{most} bytes waited");
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let write = || {
        let mut file = start::<LidarRow>();
        (0..9).for_each(|seed| file.push(&lidar_row(seed, 700), &key(7)).unwrap());
        finish(file)
    };
    let ((bytes, metadata), (again, _)) = (write(), write());
    assert!(bytes == again);
    assert_eq!(metadata.file_metadata().created_by(), Some(CREATED_BY));
}

#[test]
fn the_hash_and_length_are_those_of_the_file() {
    let mut file = start::<LidarRow>();
    file.push(&lidar_row(1, 10), &key(7)).unwrap();
    let finished = file.finish(&key(7), "hash").unwrap();
    assert_eq!(finished.sha256, storage::hex(&Sha256::digest(&finished.file)));
    assert_eq!((finished.bytes, finished.rows), (finished.file.len() as u64, 1));
}

#[test]
fn a_footer_says_what_the_file_is_of() {
    let mut file = start::<LidarRow>();
    file.push(&lidar_row(1, 10), &key(7)).unwrap();
    let metadata = finish(file).1;
    let pairs = metadata.file_metadata().key_value_metadata().unwrap();
    let value =
        |name: &str| pairs.iter().find(|pair| pair.key == format!("boxwright.{name}")).and_then(|pair| pair.value.as_deref());
    assert_eq!(value("vehicle"), Some("car 7"));
    assert_eq!(value("clip"), Some("7"));
    assert_eq!(value("schema_version"), Some("2"));
    assert_eq!(value("config_sha256"), Some("hash"));
    assert!(value("units").unwrap().contains("metres"));
}

/// A disk with room for so many bytes.
struct SmallDisk(usize);

impl Write for SmallDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_named_with_a_hint() {
    let mut file: TableFile<CameraRow, _> =
        TableFile::new(SmallDisk(5 << 20), PathBuf::from("camera/7.parquet"), &key(7), &WriterConfig::default()).unwrap();
    let error = (0..20).find_map(|seed| file.push(&camera_row(seed, 1 << 20), &key(7)).err()).unwrap().to_string();
    assert!(error.contains("camera/7.parquet") && error.contains("hint: the disk is full"), "{error}");
}

#[test]
fn a_sweep_with_uneven_columns_is_refused_and_leaves_no_trace() {
    let mut file = start::<LidarRow>();
    let mut row = lidar_row(1, 10);
    std::sync::Arc::make_mut(&mut row.points).y.pop();
    let message = file.push(&row, &key(7)).unwrap_err().to_string();
    assert!(message.contains("expected 10 values in y as in x, got 9"), "{message}");
    file.push(&lidar_row(2, 10), &key(7)).unwrap();
    assert_eq!(group_rows(&finish(file).1), [1]);
}

#[test]
fn options_out_of_range_are_refused_with_the_range() {
    let wrong = [
        WriterConfig { zstd_level: 0, ..WriterConfig::default() },
        WriterConfig { zstd_level: 23, ..WriterConfig::default() },
        WriterConfig { frame_group_rows: 0, ..WriterConfig::default() },
        WriterConfig { frame_group_mib: 1 << 20, ..WriterConfig::default() },
    ];
    for config in wrong {
        let message = config.zstd().unwrap_err().to_string();
        assert!(message.contains("expected 1 to"), "{message}");
    }
}
