//! One planted fault a test: each must be found, and named for what it is.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use boxwright_model::ClipGrid;

use super::*;
use crate::fixtures;
use crate::manifest::{ClipCounts, SealInfo, SourceRange};
use crate::writer::{ClipKey, ClipWriter};
use crate::{SealOutcome, WriterConfig};

const TOPIC: &str = "ad.lidar";

/// A clip of `offsets` sweeps and of dead letters that its runs hold as well.
fn seal(dataset: &Dataset, vehicle: &str, clip: i64, offsets: &[i64], dead_lettered: &[i64]) {
    let key = ClipKey { vehicle: Arc::from(vehicle), clip: ClipId(clip), grid: dataset.grid(), revision: 0 };
    let mut writer = ClipWriter::create(dataset, key, &WriterConfig::default()).unwrap();
    for offset in offsets {
        writer.lidar(&fixtures::lidar_row(*offset, 20)).unwrap();
    }
    let mut all: Vec<i64> = offsets.iter().chain(dead_lettered).copied().collect();
    all.sort_unstable();
    let info = SealInfo {
        sources: SourceRange::from_runs(TOPIC, 3, all.iter().map(|offset| [*offset, *offset]).collect()).into_iter().collect(),
        counts: ClipCounts {
            frames: all.len() as u64,
            used: [("lidar".to_owned(), offsets.len() as u64)].into(),
            dead_lettered: dead_lettered.len() as u64,
            ..ClipCounts::default()
        },
        ..SealInfo::default()
    };
    assert!(matches!(writer.seal(info).unwrap(), SealOutcome::Sealed(_)));
}

/// Two vehicles that share a partition, three clips.
fn dataset(root: &Path) -> Dataset {
    let dataset = Dataset::open_or_create(root, ClipGrid::new(1_000_000_000)).unwrap();
    seal(&dataset, "a", 0, &[10, 12, 13], &[15]);
    seal(&dataset, "b", 0, &[11, 14, 16], &[]);
    seal(&dataset, "a", 1, &[17, 18], &[]);
    dataset
}

fn check(dataset: &Dataset) -> Verification {
    let mut found = verify(dataset, |_| {}).unwrap();
    found.settle(|_, _| OffsetFate::Lost);
    found
}

fn kinds(found: &Verification) -> Vec<(ProblemKind, String)> {
    found.problems.iter().map(|problem| (problem.kind, problem.place.clone())).collect()
}

fn file(dataset: &Dataset, vehicle: &str, clip: i64) -> std::path::PathBuf {
    let entry = dataset.entry(vehicle, ClipId(clip), 0).unwrap().unwrap();
    dataset.root().join(&entry.files[0].path)
}

fn entry_file(dataset: &Dataset, vehicle: &str, clip: i64) -> std::path::PathBuf {
    dataset.root().join(format!("manifest/vehicle={vehicle}/{clip}-r0.json"))
}

#[test]
fn a_whole_dataset_is_found_whole_and_its_account_is_complete() {
    let root = tempfile::tempdir().unwrap();
    let found = check(&dataset(root.path()));
    assert!(found.is_whole(), "{:?}", found.problems);
    assert_eq!((found.entries, found.files, found.messages), (3, 3, 9));
    assert_eq!(found.ends["used_lidar"], 8);
    assert_eq!(found.ends["dead_lettered"], 1);
    let account = &found.partitions[0];
    assert_eq!((account.first_offset, account.last_offset, account.messages, account.holes.len()), (10, 18, 9, 0));
}

#[test]
fn a_hole_is_found_and_settled_by_who_knows_better() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    seal(&dataset, "b", 1, &[22], &[]);
    assert_eq!(kinds(&check(&dataset)), [(ProblemKind::Hole, "ad.lidar[3]@19..=21".to_owned())]);
    let mut found = verify(&dataset, |_| {}).unwrap();
    found.settle(|_, offset| [OffsetFate::DeadLettered, OffsetFate::Lost, OffsetFate::NoMessage][offset as usize - 19]);
    assert_eq!(kinds(&found), [(ProblemKind::Hole, "ad.lidar[3]@20".to_owned())]);
    assert_eq!((found.ends["dead_letter_topic"], found.ends["no_message"]), (1, 1));
}

#[test]
fn what_a_broker_has_before_and_after_the_clips_is_expected_too() {
    let root = tempfile::tempdir().unwrap();
    let mut found = verify(&dataset(root.path()), |_| {}).unwrap();
    found.expect(TOPIC, 3, 8, 20);
    found.expect(TOPIC, 3, 12, 15);
    found.expect(TOPIC, 4, 0, 1);
    found.expect(TOPIC, 5, 0, -1);
    found.settle(|_, offset| if offset == 20 { OffsetFate::NotYet } else { OffsetFate::Lost });
    let places: Vec<_> = kinds(&found).into_iter().map(|(_, place)| place).collect();
    assert_eq!(places, ["ad.lidar[3]@8..=9", "ad.lidar[3]@19", "ad.lidar[4]@0..=1"]);
}

#[test]
fn a_message_in_two_clips_is_found() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    seal(&dataset, "b", 1, &[18, 19], &[]);
    let found = check(&dataset);
    assert_eq!(kinds(&found), [(ProblemKind::Overlap, "ad.lidar[3]@18".to_owned())]);
    assert!(found.problems[0].message.contains("vehicle a clip 1") && found.problems[0].message.contains("vehicle b clip 1"));
}

#[test]
fn a_flipped_byte_is_found() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let path = file(&dataset, "a", 0);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let place = path.strip_prefix(root.path()).unwrap().to_str().unwrap().to_owned();
    assert_eq!(kinds(&check(&dataset)), [(ProblemKind::ChangedFile, place)]);
}

#[test]
fn a_missing_file_and_a_stray_one_are_found() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let path = file(&dataset, "a", 0);
    let stray = path.with_file_name("77.parquet");
    fs::rename(&path, &stray).unwrap();
    let found = kinds(&check(&dataset));
    assert_eq!(found.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [ProblemKind::MissingFile, ProblemKind::UnlistedFile]);
    assert!(found[1].1.ends_with("77.parquet"));
}

#[test]
fn an_entry_that_is_gone_or_was_changed_is_found_by_its_successor() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let path = entry_file(&dataset, "a", 0);
    let json = fs::read_to_string(&path).unwrap();
    fs::write(&path, json.replace("\"samples\": 0", "\"samples\": 1")).unwrap();
    let changed = kinds(&check(&dataset)).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(changed, [ProblemKind::BrokenChain, ProblemKind::Count]);
    fs::remove_file(&path).unwrap();
    let gone = kinds(&check(&dataset)).into_iter().map(|(kind, _)| kind).collect::<BTreeSet<_>>();
    // The messages of the first clip are in no clip now, and its file has no owner; offset 10 was the first of all.
    assert_eq!(gone, BTreeSet::from([ProblemKind::BrokenChain, ProblemKind::Hole, ProblemKind::UnlistedFile]));
    fs::write(&path, "{").unwrap();
    assert!(kinds(&check(&dataset)).iter().any(|(kind, _)| *kind == ProblemKind::UnreadableEntry));
}

#[test]
fn rows_of_messages_that_the_entry_does_not_have_are_found() {
    let root = tempfile::tempdir().unwrap();
    let dataset = Dataset::open_or_create(root.path(), ClipGrid::new(1_000_000_000)).unwrap();
    let key = ClipKey { vehicle: Arc::from("a"), clip: ClipId(0), grid: dataset.grid(), revision: 0 };
    let mut writer = ClipWriter::create(&dataset, key, &WriterConfig::default()).unwrap();
    for offset in [1, 1, 9] {
        writer.lidar(&fixtures::lidar_row(offset, 20)).unwrap();
    }
    let info = SealInfo {
        sources: SourceRange::from_runs(TOPIC, 3, vec![[1, 3]]).into_iter().collect(),
        counts: ClipCounts { frames: 3, used: [("lidar".to_owned(), 3)].into(), ..ClipCounts::default() },
        ..SealInfo::default()
    };
    writer.seal(info).unwrap();
    let found = check(&dataset);
    let messages: Vec<_> = found.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(found.problems.iter().map(|problem| problem.kind).collect::<Vec<_>>(), [ProblemKind::Row, ProblemKind::Row]);
    assert!(
        messages.iter().any(|message| message.contains("in two")) && messages.iter().any(|message| message.contains("got one of"))
    );
}
