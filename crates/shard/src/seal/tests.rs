//! What is promised when workers meet or die.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use super::*;
use crate::fixtures::{camera_row, dataset, info, key, late_row, lidar_row, tree, write_all, writer};
use crate::storage::list;
use crate::{ClipReader, ClipWriter, WriterConfig};

fn seal_all(dataset: &Dataset, clip: i64) -> SealOutcome {
    let mut writer = writer(dataset, clip);
    write_all(&mut writer);
    writer.seal(info()).unwrap()
}

#[test]
fn the_same_rows_give_the_same_dataset() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for root in [&one, &two] {
        (3..6).for_each(|clip| assert!(matches!(seal_all(&dataset(root.path()), clip), SealOutcome::Sealed(_))));
    }
    assert_eq!(tree(one.path()), tree(two.path()));
    // A marker, three entries, nine tables a clip; nothing temporary.
    assert_eq!(tree(one.path()).len(), 1 + 3 + 27);
}

#[test]
fn an_entry_says_what_is_in_the_clip() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let SealOutcome::Sealed(entry) = seal_all(&dataset, 7) else { panic!("nobody sealed it before") };
    assert_eq!(dataset.entries().unwrap(), [(*entry).clone()]);
    assert_eq!((entry.clip_start_ns, entry.clip_end_ns), (140_000_000_000, 160_000_000_000));
    assert_eq!(entry.rows[&Table::Lidar], 6);
    assert_eq!(entry.idle_sensors, ["left", "rear"]);
    assert_eq!(entry.sources[0].topic, "ad.camera");
    assert_eq!(entry.file(Table::Box3).unwrap().path, "box3/date=1970-01-01/vehicle=car%207/7.parquet");
    assert_eq!(
        entry.bytes(),
        entry.files.iter().map(|file| fs::metadata(root.path().join(&file.path)).unwrap().len()).sum::<u64>()
    );
    ClipReader::open(&dataset, &entry).unwrap().verify().unwrap();
}

#[test]
fn whoever_seals_second_finds_the_entry_and_leaves_no_trace() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let mut zombie = writer(&dataset, 7);
    zombie.late(&late_row()).unwrap();
    let SealOutcome::Sealed(winner) = seal_all(&dataset, 7) else { panic!("nobody sealed it before") };
    fs::metadata(root.path()).unwrap();
    let SealOutcome::AlreadySealed(found) = zombie.seal(info()).unwrap() else { panic!("it was sealed before") };
    assert_eq!(found, winner);
    ClipReader::open(&dataset, &found).unwrap().verify().unwrap();
    assert!(tree(root.path()).keys().all(|name| !name.ends_with(".tmp")));
}

#[test]
fn an_abandoned_clip_leaves_no_trace() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let mut writer = writer(&dataset, 7);
    write_all(&mut writer);
    drop(writer);
    assert_eq!(tree(root.path()).len(), 1);
}

#[test]
fn what_a_dead_worker_left_in_place_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    let folder = |table: &str| root.path().join(format!("{table}/date=1970-01-01/vehicle=car%207"));
    for table in ["lidar", "track"] {
        fs::create_dir_all(folder(table)).unwrap();
        fs::write(folder(table).join("7.parquet"), "of a worker that died before its entry").unwrap();
    }
    let mut writer = writer(&dataset, 7);
    writer.lidar(&lidar_row(1, 10)).unwrap();
    let SealOutcome::Sealed(entry) = writer.seal(info()).unwrap() else { panic!("nobody sealed it before") };
    ClipReader::open(&dataset, &entry).unwrap().verify().unwrap();
    assert!(list(&folder("track")).unwrap().is_empty(), "a table for which we have no row");
}

#[test]
fn a_seal_that_fails_half_way_shows_nothing_and_can_be_tried_again() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    // Late is the last table to get its name; a folder that bears it cannot be replaced by a file.
    let in_the_way = root.path().join("late/date=1970-01-01/vehicle=car%207/7.parquet");
    fs::create_dir_all(in_the_way.join("x")).unwrap();
    let mut writer_a = writer(&dataset, 7);
    write_all(&mut writer_a);
    assert!(writer_a.seal(info()).is_err());
    assert_eq!(tree(root.path()).len(), 1);
    fs::remove_dir_all(&in_the_way).unwrap();
    assert!(matches!(seal_all(&dataset, 7), SealOutcome::Sealed(_)));
}

#[test]
fn a_clip_whose_row_could_not_be_written_cannot_be_sealed() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    fs::write(root.path().join("camera"), "a file in the way").unwrap();
    let mut writer = writer(&dataset, 7);
    writer.lidar(&lidar_row(1, 10)).unwrap();
    assert!(writer.camera(&camera_row(1, 10)).is_err());
    assert!(matches!(writer.seal(info()), Err(ShardError::Broken { table: Table::Camera })));
    assert!(dataset.entries().unwrap().is_empty());
}

#[test]
fn a_refused_row_does_not_spoil_the_clip() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = writer(&dataset(root.path()), 7);
    let mut row = lidar_row(1, 10);
    std::sync::Arc::make_mut(&mut row.points).z.pop();
    assert!(matches!(writer.lidar(&row), Err(ShardError::Row { .. })));
    let SealOutcome::Sealed(entry) = writer.seal(info()).unwrap() else { panic!("nobody sealed it before") };
    assert!(entry.files.is_empty());
}

#[test]
fn of_two_workers_that_seal_at_once_one_wins_and_its_files_are_there() {
    for round in 0..20 {
        let root = tempfile::tempdir().unwrap();
        let dataset = dataset(root.path());
        let barrier = Barrier::new(3);
        let outcomes: Vec<SealOutcome> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..3)
                .map(|worker| {
                    let (dataset, barrier) = (&dataset, &barrier);
                    scope.spawn(move || {
                        let mut writer = writer(dataset, 7);
                        // Not equal, and not the same tables: the worst that two workers can do.
                        writer.lidar(&lidar_row(worker, 200)).unwrap();
                        if worker == round % 3 {
                            writer.camera(&camera_row(worker, 200)).unwrap();
                        }
                        barrier.wait();
                        writer.seal(info()).unwrap()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, SealOutcome::Sealed(_))).count(), 1);
        let entry = dataset.entries().unwrap().remove(0);
        ClipReader::open(&dataset, &entry).unwrap().verify().unwrap();
        // The marker, the entry, the winner's files.
        assert_eq!(tree(root.path()).len(), 2 + entry.files.len());
    }
}

#[test]
fn a_later_revision_stands_beside_the_first() {
    let root = tempfile::tempdir().unwrap();
    let dataset = dataset(root.path());
    seal_all(&dataset, 7);
    let before = tree(root.path());
    let mut revised = ClipWriter::create(&dataset, ClipKey { revision: 1, ..key(7) }, &WriterConfig::default()).unwrap();
    crate::fixtures::samples().iter().for_each(|row| revised.sample(row).unwrap());
    let SealOutcome::Sealed(entry) = revised.seal(info()).unwrap() else { panic!("nobody sealed it before") };
    assert_eq!(entry.files[0].path, "sample/date=1970-01-01/vehicle=car%207/7-r1.parquet");
    assert_eq!(entry.previous.as_ref().map(|previous| (previous.clip, previous.revision)), Some((boxwright_model::ClipId(7), 0)));
    let after = tree(root.path());
    assert!(before.iter().all(|(name, content)| after.get(name) == Some(content)));
    assert_eq!(after.len(), before.len() + 2);
}

/// Name of the variable that tells [`child`] where to work.
const CHILD_DATASET: &str = "BOXWRIGHT_SHARD_TEST_DATASET";

/// Not a test by itself: the process that the test below kills.
#[test]
#[ignore = "run by the test that kills it"]
#[expect(clippy::disallowed_methods, reason = "a test process has no other way to be told its folder")]
fn child() {
    let Ok(root) = std::env::var(CHILD_DATASET) else { return };
    let dataset = dataset(Path::new(&root));
    dataset.remove_orphans().unwrap();
    let sealed = dataset.sealed_clips("car 7").unwrap();
    for clip in (0..12).filter(|clip| !sealed.contains(&boxwright_model::ClipId(*clip))) {
        seal_all(&dataset, clip);
    }
}

fn spawn_child(root: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "seal::tests::child"])
        .env(CHILD_DATASET, root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_worker_killed_at_any_moment_and_started_again_gives_the_same_dataset() {
    let (killed, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(spawn_child(whole.path()).wait().unwrap().success());
    let mut interrupted = 0;
    for delay_ms in [4, 7, 9, 12, 15, 18, 22, 26, 31, 37, 43, 50] {
        let mut child = spawn_child(killed.path());
        std::thread::sleep(Duration::from_millis(delay_ms));
        if child.try_wait().unwrap().is_none() {
            interrupted += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if killed.path().join(crate::dataset::MARKER).exists() {
            let dataset = dataset(killed.path());
            for entry in dataset.entries().unwrap() {
                ClipReader::open(&dataset, &entry).unwrap().verify().unwrap();
            }
        }
    }
    assert!(interrupted > 0, "every child had ended before it was killed");
    assert!(spawn_child(killed.path()).wait().unwrap().success());
    assert_eq!(tree(killed.path()), tree(whole.path()));
}
