//! Datasets: opening, listing, chaining, cleaning.

use std::fs;

use boxwright_model::time::NS_PER_S;

use super::*;
use crate::fixtures::{calibrations, dataset, grid, info, key, writer};
use crate::{ClipKey, ClipWriter, FileEntry, SealOutcome, WriterConfig};

fn seal(dataset: &Dataset, clip: i64) -> ManifestEntry {
    match writer(dataset, clip).seal(info()).unwrap() {
        SealOutcome::Sealed(entry) => *entry,
        SealOutcome::AlreadySealed(_) => panic!("clip {clip} was sealed before"),
    }
}

#[test]
fn opening_twice_gives_the_same_dataset() {
    let root = tempfile::tempdir().unwrap();
    let created = dataset(root.path());
    assert_eq!(Dataset::open(root.path()).unwrap().grid(), created.grid());
    assert_eq!(Dataset::open_or_create(root.path(), grid()).unwrap().root(), created.root());
    assert_eq!(storage::list(root.path()).unwrap(), [MARKER]);
}

#[test]
fn a_folder_that_is_no_dataset_is_not_taken_for_one() {
    let root = tempfile::tempdir().unwrap();
    let message = Dataset::open(root.path()).unwrap_err().to_string();
    assert!(message.contains("is not a dataset") && message.contains("hint:"), "{message}");
    fs::write(root.path().join("letter.txt"), "dear").unwrap();
    let message = Dataset::open_or_create(root.path(), grid()).unwrap_err().to_string();
    assert!(message.contains("hint: give an empty or a new folder"), "{message}");
}

#[test]
fn another_clip_length_is_refused_with_both_lengths() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let other = ClipGrid::new(10 * NS_PER_S);
    let message = Dataset::open_or_create(root.path(), other).unwrap_err().to_string();
    assert!(message.contains("10000000000") && message.contains("20000000000"), "{message}");
    let key = ClipKey { grid: other, ..key(1) };
    assert!(matches!(ClipWriter::create(&dataset, key, &WriterConfig::default()), Err(ShardError::ClipLength { .. })));
}

#[test]
fn a_dataset_of_a_newer_program_is_refused_with_both_versions() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join(MARKER), r#"{"schema_version": 9, "unknown": []}"#).unwrap();
    let message = Dataset::open(root.path()).unwrap_err().to_string();
    assert!(message.contains("expected schema version 2 or older, got 9"), "{message}");
}

#[test]
fn a_broken_marker_is_an_error_with_its_path() {
    let root = tempfile::tempdir().unwrap();
    for content in ["", "[]", r#"{"schema_version": 1}"#, r#"{"schema_version": 1, "clip_length_ns": -5}"#] {
        fs::write(root.path().join(MARKER), content).unwrap();
        let message = Dataset::open(root.path()).unwrap_err().to_string();
        assert!(message.contains(MARKER), "{message}");
    }
}

#[test]
fn entries_are_sorted_by_vehicle_then_clip() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    for (vehicle, clip) in [("b", 3), ("a/1", 10), ("a/1", 9), ("b", -2)] {
        let key = ClipKey { vehicle: Arc::from(vehicle), ..key(clip) };
        ClipWriter::create(&dataset, key, &WriterConfig::default()).unwrap().seal(info()).unwrap();
    }
    let entries = dataset.entries().unwrap();
    let order: Vec<_> = entries.iter().map(|entry| (&*entry.vehicle, entry.clip.0)).collect();
    assert_eq!(order, [("a/1", 9), ("a/1", 10), ("b", -2), ("b", 3)]);
    assert_eq!(dataset.vehicles().unwrap(), ["a/1", "b"]);
    assert_eq!(dataset.sealed_clips("b").unwrap(), [ClipId(-2), ClipId(3)].into());
    assert!(dataset.sealed_clips("nobody").unwrap().is_empty());
}

#[test]
fn an_entry_with_absurd_lengths_has_a_sum_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let mut entry = seal(&dataset(root.path()), 4);
    let file = FileEntry { table: Table::Lidar, path: "a".to_owned(), sha256: String::new(), bytes: u64::MAX, rows: 1 };
    entry.files = vec![file.clone(), file];
    assert_eq!(entry.bytes(), u64::MAX);
}

#[test]
fn each_entry_names_the_hash_of_the_one_before() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let entries: Vec<ManifestEntry> = [4, 5, 9].map(|clip| seal(&dataset, clip)).into();
    assert_eq!(entries[0].previous, None);
    for pair in entries.windows(2) {
        let json = fs::read(root.path().join(entry_name("car 7", pair[0].clip, 0).unwrap())).unwrap();
        let expected = PreviousEntry { clip: pair[0].clip, revision: 0, sha256: storage::hex(&Sha256::digest(json)) };
        assert_eq!(pair[1].previous, Some(expected));
    }
}

#[test]
fn an_entry_that_leads_out_of_the_dataset_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let mut writer = writer(&dataset, 1);
    writer.late(&crate::fixtures::late_row()).unwrap();
    writer.seal(info()).unwrap();
    let path = root.path().join(entry_name("car 7", ClipId(1), 0).unwrap());
    let json = fs::read_to_string(&path).unwrap();
    for escape in ["../../secret", "/secret", "late/../../secret"] {
        fs::write(&path, json.replace("late/date=1970-01-01/vehicle=car%207/1.parquet", escape)).unwrap();
        let message = dataset.entries().unwrap_err().to_string();
        assert!(message.contains("expected paths inside the dataset"), "{message}");
    }
}

#[test]
fn the_last_calibration_is_that_of_the_newest_clip_before() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let mut with = writer(&dataset, 3);
    calibrations().iter().for_each(|row| with.calibration(row).unwrap());
    with.seal(info()).unwrap();
    seal(&dataset, 5);
    let found = dataset.last_calibration("car 7", ClipId(8)).unwrap();
    let sensors: Vec<_> = found.iter().map(|row| &*row.sensor).collect();
    assert_eq!(sensors, ["front", "radar", "rear", "top"]);
    assert_eq!(found[3], calibrations()[4], "the later row of a sensor replaces the earlier one");
    assert!(dataset.last_calibration("car 7", ClipId(3)).unwrap().is_empty());
    assert!(dataset.last_calibration("nobody", ClipId(3)).unwrap().is_empty());
}

#[test]
fn cleaning_takes_what_the_dead_left_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let mut sealed = writer(&dataset, 1);
    sealed.late(&crate::fixtures::late_row()).unwrap();
    sealed.seal(info()).unwrap();
    let mut living = writer(&dataset, 2);
    living.late(&crate::fixtures::late_row()).unwrap();
    let folder = root.path().join("late/date=1970-01-01/vehicle=car%207");
    let dead = folder.join(".9.77-0.tmp");
    let unlisted = folder.join("9.parquet");
    let note = folder.join("note.txt");
    for file in [&dead, &unlisted, &note, &root.path().join("manifest/vehicle=car%207/.9-r0.77-1.tmp")] {
        fs::write(file, "").unwrap();
    }
    let orphans = dataset.remove_orphans().unwrap();
    assert_eq!(orphans.removed.len(), 2);
    assert_eq!(orphans.unlisted, [unlisted]);
    assert!(!dead.exists() && note.exists());
    assert!(matches!(living.seal(info()).unwrap(), SealOutcome::Sealed(_)));
}
