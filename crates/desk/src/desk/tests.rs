//! What the desk promises to people who work at it.

use std::sync::Barrier;

use boxwright_shard::{ClipReader, verify};

use super::*;
use crate::fixture::{DRIVING, PARKED, SAMPLES, desk, name, person, taxonomy};
use crate::people::{Grade, Role};

fn asked(id: &str, base: &[(u32, i64)], operation: Value) -> Asked {
    Asked { id: id.to_owned(), base: base.iter().copied().collect(), operation, spent_ms: Some(1_200), database: None }
}

fn accept(track: u32) -> Value {
    json!({ "kind": "accept", "track": track })
}

fn move_by(track: u32, by_m: f64) -> Value {
    json!({ "kind": "move", "track": track, "sample": 2, "scope": "track", "by_box_m": [by_m, 0.0, 0.0] })
}

fn x_of(desk: &Desk, track: u32) -> f64 {
    let clip = desk.all().pop().unwrap();
    let work = clip.work();
    work.labels.track(track).unwrap().boxes[&2].center_m[0]
}

#[test]
fn an_operation_that_is_sent_twice_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, ana) = (desk(folder.path(), ""), person("ana", Role::Reviewer));
    let first = desk.perform(&ana, &name(), &asked("a", &[], move_by(PARKED, 0.5)), 1).unwrap();
    let x = x_of(&desk, PARKED);
    let again = desk.perform(&ana, &name(), &asked("a", &[], move_by(PARKED, 0.5)), 2).unwrap();
    assert_eq!((first["seq"].clone(), x), (again["seq"].clone(), x_of(&desk, PARKED)));
}

#[test]
fn who_works_on_what_somebody_has_changed_is_shown_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, ana, bo) = (desk(folder.path(), ""), person("ana", Role::Reviewer), person("bo", Role::Annotator));
    desk.perform(&bo, &name(), &asked("b", &[], move_by(PARKED, 0.5)), 1).unwrap();
    let error = desk.perform(&ana, &name(), &asked("a", &[], accept(PARKED)), 2).unwrap_err();
    let DeskError::Conflict(sides) = error else { panic!("{error}") };
    assert_eq!(sides["yours"], accept(PARKED));
    assert_eq!((sides["theirs"][0]["person"].clone(), sides["revs"]["1"].clone()), (json!("bo"), json!(1)));
    // Another track is nobody's business, and what is based on the newest is done.
    desk.perform(&ana, &name(), &asked("c", &[], accept(DRIVING)), 3).unwrap();
    desk.perform(&ana, &name(), &asked("d", &[(PARKED, 1)], accept(PARKED)), 4).unwrap();
}

#[test]
fn undo_takes_back_ones_own_steps_one_by_one_and_redo_brings_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, ana) = (desk(folder.path(), ""), person("ana", Role::Reviewer));
    let start = x_of(&desk, PARKED);
    let mut rev = 0;
    for step in 1..=3 {
        let answer = desk.perform(&ana, &name(), &asked(&format!("s{step}"), &[(PARKED, rev)], move_by(PARKED, 1.0)), 1).unwrap();
        rev = answer["seq"].as_i64().unwrap();
    }
    let moved = |steps: f64| (x_of(&desk, PARKED) - start - steps * 0.1f64.cos()).abs() < 1e-9;
    assert!(moved(3.0));
    let step = |id: &str, kind: &str| desk.perform(&ana, &name(), &asked(id, &[], json!({ "kind": kind })), 2);
    for (id, kind, left) in [
        ("u1", "undo", 2.0),
        ("u2", "undo", 1.0),
        ("r1", "redo", 2.0),
        ("r2", "redo", 3.0),
        ("u3", "undo", 2.0),
        ("u4", "undo", 1.0),
        ("u5", "undo", 0.0),
    ] {
        step(id, kind).unwrap();
        assert!(moved(left), "{id}: {}", x_of(&desk, PARKED) - start);
    }
    assert!(step("u6", "undo").unwrap_err().to_string().contains("nothing of yours to undo"));
    step("r3", "redo").unwrap();
    assert!(moved(1.0));
    let bo = person("bo", Role::Reviewer);
    let none = desk.perform(&bo, &name(), &asked("b", &[], json!({ "kind": "undo" })), 3).unwrap_err();
    assert!(none.to_string().contains("nothing of yours"), "nobody takes back what another did");
}

#[test]
fn an_undo_over_what_somebody_else_did_since_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, ana, bo) = (desk(folder.path(), ""), person("ana", Role::Reviewer), person("bo", Role::Reviewer));
    desk.perform(&ana, &name(), &asked("a", &[], move_by(PARKED, 1.0)), 1).unwrap();
    desk.perform(&bo, &name(), &asked("b", &[(PARKED, 1)], move_by(PARKED, 1.0)), 2).unwrap();
    let error = desk.perform(&ana, &name(), &asked("u", &[], json!({ "kind": "undo" })), 3).unwrap_err();
    assert!(matches!(error, DeskError::Conflict(_)), "{error}");
}

#[test]
fn everything_is_there_again_after_a_restart_undo_included() {
    let folder = tempfile::tempdir().unwrap();
    let ana = person("ana", Role::Reviewer);
    let (x, start) = {
        let desk = desk(folder.path(), "");
        let start = x_of(&desk, PARKED);
        desk.perform(&ana, &name(), &asked("a", &[], move_by(PARKED, 0.37)), 1).unwrap();
        desk.perform(&ana, &name(), &asked("b", &[], accept(DRIVING)), 2).unwrap();
        (x_of(&desk, PARKED), start)
    };
    let desk = desk(folder.path(), "");
    assert!((x_of(&desk, PARKED) - x).abs() < 1e-12);
    desk.perform(&ana, &name(), &asked("u1", &[], json!({ "kind": "undo" })), 3).unwrap();
    desk.perform(&ana, &name(), &asked("u2", &[], json!({ "kind": "undo" })), 4).unwrap();
    assert!((x_of(&desk, PARKED) - start).abs() < 1e-12);
    let history = desk.history(&ana, &name(), Some(PARKED), 5).unwrap();
    let names: Vec<&str> = history["operations"].as_array().unwrap().iter().map(|done| done["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["move", "undo"]);
}

#[test]
fn two_people_who_ask_at_once_get_different_items_and_nobody_gets_a_third() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, barrier) = (desk(folder.path(), ""), Barrier::new(2));
    let take = |who: &str| {
        let person = person(who, Role::Annotator);
        barrier.wait();
        desk.next(&person, None, &[], 1_000).unwrap()["item"]["track"].as_i64().unwrap()
    };
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(|| take("ana")), scope.spawn(|| take("bo")));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_ne!(one, two);
    let third = desk.next(&person("cy", Role::Annotator), None, &[], 1_000).unwrap();
    assert_eq!((third["item"].clone(), third["left"].clone()), (Value::Null, json!(2)));
    let held = desk.perform(&person("cy", Role::Annotator), &name(), &asked("c", &[], move_by(PARKED, 0.1)), 1_001).unwrap_err();
    let DeskError::Conflict(sides) = held else { panic!("{held}") };
    assert!(sides["held_by"].is_string());
    assert!(desk.next(&person("cy", Role::Annotator), None, &[], 61_001).unwrap()["item"].is_object(), "leases end");
}

#[test]
fn without_the_clearance_nothing_of_a_clip_is_seen_and_the_try_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path(), "important");
    let low = person("low", Role::Admin);
    for refused in [
        desk.open_clip(&low, &name(), 1).unwrap_err(),
        desk.scene(&low, &name(), 2).unwrap_err(),
        desk.history(&low, &name(), None, 3).unwrap_err(),
        desk.perform(&low, &name(), &asked("a", &[], accept(PARKED)), 4).unwrap_err(),
        desk.finish(&low, &name(), true, 5).unwrap_err(),
        desk.remarks(&low, &name(), 6).unwrap_err(),
        desk.hold(&low, &name(), PARKED, 7).unwrap_err(),
        desk.next(&low, Some(&name()), &[], 8).unwrap_err(),
        desk.release(&low, &name(), PARKED, 8).unwrap_err(),
    ] {
        assert!(matches!(refused, DeskError::Clearance { grade: Grade::Important, .. }), "{refused}");
    }
    assert_eq!(desk.next(&low, None, &[], 9).unwrap()["item"], Value::Null);
    assert_eq!(desk.clips(&low).unwrap()["clips"], json!([]));
    let audit = desk.audit(&low).unwrap();
    assert!(!audit.iter().any(|line| line.vehicle.is_some()), "nor is there a word of it in the audit");
    let high = Person { clearance: Grade::Important, ..low.clone() };
    assert!(desk.open_clip(&high, &name(), 10).is_ok());
    let audit = desk.audit(&high).unwrap();
    assert_eq!(audit.iter().filter(|line| line.action == "not cleared").count(), 9);
    // Nor does an administrator raise himself, or lower somebody above him.
    assert!(matches!(desk.put_person(&low, &high, None, None, 11), Err(DeskError::Clearance { grade: Grade::Important, .. })));
    let other = Person { name: "high".to_owned(), ..high.clone() };
    desk.put_person(&high, &other, None, None, 12).unwrap();
    let lowered = Person { clearance: Grade::General, ..other };
    assert!(matches!(desk.put_person(&low, &lowered, None, None, 13), Err(DeskError::Clearance { grade: Grade::Important, .. })));
}

#[test]
fn each_role_does_what_it_is_there_for() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path(), "");
    let (user, annotator) = (person("u", Role::DataUser), person("a", Role::Annotator));
    assert!(desk.open_clip(&user, &name(), 1).is_ok());
    let refused = desk.perform(&user, &name(), &asked("a", &[], move_by(PARKED, 0.1)), 1).unwrap_err().to_string();
    assert!(refused.contains("expected an annotator, got the role data_user"), "{refused}");
    assert!(desk.perform(&annotator, &name(), &asked("b", &[], accept(PARKED)), 1).is_err());
    assert!(desk.finish(&annotator, &name(), true, 1).is_err());
    assert!(desk.audit(&person("r", Role::Reviewer)).is_err());
    assert!(desk.put_person(&person("l", Role::Lead), &annotator, None, None, 1).is_err());
    let short = desk.put_person(&person("root", Role::Admin), &annotator, Some("short"), None, 1).unwrap_err();
    assert!(short.to_string().contains("10 characters"), "{short}");
}

#[test]
fn wrong_passwords_close_a_name_for_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path(), "");
    desk.put_person(&person("root", Role::Admin), &person("ana", Role::Reviewer), Some("a long walk"), None, 0).unwrap();
    for _ in 0..5 {
        assert!(matches!(desk.sign_in("ana", "a long talk", 1_000), Err(DeskError::SignIn(_))));
    }
    assert!(matches!(desk.sign_in("ana", "a long walk", 2_000), Err(DeskError::TooMany(_))));
    let (token, _) = desk.sign_in("ana", "a long walk", 61_001).unwrap();
    assert_eq!(desk.person(&token, 61_002).unwrap().name, "ana");
}

#[test]
fn a_finished_clip_is_the_next_revision_and_the_first_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, ana) = (desk(folder.path(), ""), person("ana", Role::Reviewer));
    let refused = desk.finish(&ana, &name(), false, 1).unwrap_err().to_string();
    assert!(refused.contains("got 2 open, 0 returned and 0 only suggested"), "{refused}");
    desk.perform(&ana, &name(), &asked("a", &[], accept(DRIVING)), 1).unwrap();
    desk.perform(&ana, &name(), &asked("b", &[], move_by(PARKED, 0.5)), 2).unwrap();
    desk.perform(&ana, &name(), &asked("c", &[(PARKED, 2)], accept(PARKED)), 3).unwrap();
    assert_eq!(desk.finish(&ana, &name(), false, 4).unwrap()["revision"], json!(1));
    assert_eq!(desk.finish(&ana, &name(), false, 5).unwrap()["written"], json!(false), "nothing new, nothing written");

    let dataset = &desk.setup.dataset;
    let entries = dataset.entries().unwrap();
    assert_eq!(entries.iter().map(|entry| entry.revision).collect::<Vec<_>>(), [0, 1]);
    let read = |entry: &ManifestEntry| ClipReader::open(dataset, entry).unwrap().boxes(&taxonomy()).unwrap();
    let (old, new) = (read(&entries[0]), read(&entries[1]));
    assert_eq!((old.len(), new.len()), (2 * SAMPLES as usize, 2 * SAMPLES as usize));
    for (before, after) in old.iter().zip(&new) {
        let mut expected = before.clone();
        expected.evidence = r#"{"detector":"geometric","review":{"by":"ana","verdict":"accepted"}}"#.to_owned();
        if before.track_id.number == DRIVING {
            assert_eq!(*after, expected, "what nobody touched is what it was, to the bit");
        } else {
            assert!((after.world_from_box.center_m.x - before.world_from_box.center_m.x - 0.5 * 0.1f64.cos()).abs() < 1e-9);
            assert_eq!((after.source, after.stamp_ns), (boxwright_model::LabelSource::Human, before.stamp_ns));
        }
    }
    // Read as a clip, the newest labels stand with the frames of revision 0; and an older state can be asked for.
    let clips = dataset.clips(None).unwrap();
    assert_eq!((clips.len(), clips[0].revision), (1, 1));
    assert_eq!(read(&clips[0]), new);
    assert_eq!(ClipReader::open(dataset, &clips[0]).unwrap().samples().unwrap().len(), SAMPLES as usize);
    assert_eq!(read(&dataset.clips(Some(0)).unwrap()[0]), old);
    assert_eq!(verify::verify(dataset, |_| {}).unwrap().problems, []);

    let diff = revision::diff(dataset, &taxonomy(), "car 7", ClipId(name().clip), [0, 1]).unwrap();
    assert_eq!(diff.len(), 1);
    assert_eq!((diff[0].what, diff[0].boxes_changed, diff[0].boxes_added), ("changed", SAMPLES, 0));
    assert!((diff[0].max_move_m - 0.5).abs() < 1e-9);
}

#[test]
fn work_goes_on_after_a_revision_and_what_was_returned_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let ana = person("ana", Role::Reviewer);
    {
        let desk = desk(folder.path(), "");
        desk.perform(&ana, &name(), &asked("a", &[], accept(DRIVING)), 1).unwrap();
        desk.finish(&ana, &name(), true, 2).unwrap();
    }
    let desk = desk(folder.path(), "");
    let reject = json!({ "kind": "reject", "track": PARKED, "error": "extra" });
    desk.perform(&ana, &name(), &asked("b", &[], reject), 3).unwrap();
    assert!(desk.finish(&ana, &name(), false, 4).unwrap_err().to_string().contains("0 open, 1 returned and 0 only suggested"));
    assert_eq!(desk.finish(&ana, &name(), true, 5).unwrap()["revision"], json!(2));
    let tracks = |entry: &ManifestEntry| ClipReader::open(&desk.setup.dataset, entry).unwrap().tracks(&taxonomy()).unwrap();
    let clips = desk.setup.dataset.clips(None).unwrap();
    let numbers: Vec<u32> = tracks(&clips[0]).iter().map(|track| track.track_id.number).collect();
    assert_eq!(numbers, [DRIVING]);
    let kinds: Vec<String> = desk.outgoing(10).unwrap().iter().map(|one| one.body.clone()).collect();
    assert_eq!(kinds.len(), 4, "two verdicts and two revisions wait to be published: {kinds:?}");
}

#[test]
fn a_revision_from_elsewhere_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let ana = person("ana", Role::Reviewer);
    let there = folder.path().join("there");
    let desk_here = desk(folder.path(), "");
    std::fs::create_dir(&there).unwrap();
    std::os::unix::fs::symlink(folder.path().join("dataset"), there.join("dataset")).unwrap();
    let desk_there = desk(&there, "");
    desk_there.perform(&ana, &name(), &asked("a", &[], accept(DRIVING)), 1).unwrap();
    desk_there.finish(&ana, &name(), true, 2).unwrap();
    desk_here.perform(&ana, &name(), &asked("b", &[], accept(DRIVING)), 3).unwrap();
    let refused = desk_here.finish(&ana, &name(), true, 4).unwrap_err().to_string();
    assert!(refused.contains("expected revision 0 to be the newest of this clip, got 1"), "{refused}");
}

#[test]
fn seconds_are_measured_and_tell_how_long_the_rest_will_take() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, ana) = (desk(folder.path(), ""), person("ana", Role::Lead));
    desk.perform(&ana, &name(), &asked("a", &[], accept(DRIVING)), 1).unwrap();
    let told = desk.statistics(&ana).unwrap();
    assert_eq!(told["spent"][0]["action"], json!("accept"));
    assert_eq!((told["left"].clone(), told["forecast_s"].clone()), (json!(1), json!(1.2)));
}

#[test]
fn remarks_stand_with_their_kind_until_somebody_settles_them() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, ana) = (desk(folder.path(), ""), person("ana", Role::Annotator));
    let new = |id: &str, body: &str| NewRemark {
        id: id.to_owned(),
        track: Some(PARKED),
        sample: None,
        error: Some(crate::labels::ErrorKind::HalfTurn),
        body: body.to_owned(),
    };
    desk.remark(&ana, &name(), new("r1", "the other way round"), 1).unwrap();
    let open = desk.remarks(&ana, &name(), 2).unwrap();
    assert_eq!((open["remarks"][0]["error"].clone(), open["remarks"][0]["resolved_by"].clone()), (json!("half_turn"), Value::Null));
    let settled = desk.resolve(&ana, &name(), "r1", 3).unwrap();
    assert_eq!(settled["remarks"][0]["resolved_by"], json!("ana"));
    assert!(desk.remark(&ana, &name(), new("r2", &"x".repeat(5_000)), 4).is_err());
    assert!(desk.resolve(&ana, &name(), "r9", 5).is_err());
}

#[test]
fn what_was_kept_for_another_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, ana) = (desk(folder.path(), ""), person("ana", Role::Reviewer));
    let own = Asked { database: Some(desk.identity().to_owned()), ..asked("a", &[], accept(PARKED)) };
    desk.perform(&ana, &name(), &own, 1).unwrap();
    let other = Asked { database: Some("another".to_owned()), ..asked("b", &[], accept(DRIVING)) };
    let refused = desk.perform(&ana, &name(), &other, 2).unwrap_err();
    assert!(matches!(refused, DeskError::OtherDatabase { .. }), "{refused}");
    assert!(refused.to_string().contains("got another"), "{refused}");
    let identity = desk.identity().to_owned();
    drop(desk);
    assert_eq!(crate::fixture::desk(folder.path(), "").identity(), identity, "it stays what it is");
}

/// A second desk on the same dataset, with a database of its own.
fn beside(root: &std::path::Path) -> Desk {
    let there = root.join("there");
    std::fs::create_dir_all(&there).unwrap();
    std::os::unix::fs::symlink(root.join("dataset"), there.join("dataset")).unwrap();
    desk(&there, "")
}

#[test]
fn after_a_finish_that_failed_a_revision_from_elsewhere_is_not_taken_for_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let ana = person("ana", Role::Reviewer);
    let here = desk(folder.path(), "");
    here.perform(&ana, &name(), &asked("a", &[], move_by(PARKED, 1.0)), 1).unwrap();
    // The writing of revision 1 was begun and came to nothing; then somebody else wrote a revision 1.
    let outgoing = Outgoing { id: "r1".to_owned(), vehicle: "car 7".to_owned(), at_ms: 2, body: "{}".to_owned() };
    here.store().begin_finish(&name(), 1, 1, &outgoing).unwrap();
    let there = beside(folder.path());
    there.perform(&ana, &name(), &asked("b", &[], accept(DRIVING)), 3).unwrap();
    there.finish(&ana, &name(), true, 4).unwrap();
    let refused = here.finish(&ana, &name(), true, 5).unwrap_err().to_string();
    assert!(refused.contains("expected revision 0 to be the newest of this clip, got 1"), "{refused}");
    assert!(here.outgoing(10).unwrap().is_empty(), "nobody is told of a revision that is not ours");
    let refused = here.perform(&ana, &name(), &asked("c", &[(PARKED, 1)], accept(PARKED)), 6).unwrap_err().to_string();
    assert!(refused.contains("hint: start the review with a new --db"), "what can come to nothing is not begun: {refused}");
}

#[test]
fn a_revision_of_whose_end_nobody_heard_is_found_to_be_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let ana = person("ana", Role::Reviewer);
    {
        let desk = desk(folder.path(), "");
        desk.perform(&ana, &name(), &asked("a", &[], move_by(PARKED, 1.0)), 1).unwrap();
        desk.perform(&ana, &name(), &asked("b", &[], accept(DRIVING)), 2).unwrap();
        // As a server leaves it that is killed between the entry and the database.
        let outgoing = Outgoing { id: "r1".to_owned(), vehicle: "car 7".to_owned(), at_ms: 3, body: "{}".to_owned() };
        desk.store().begin_finish(&name(), 1, 2, &outgoing).unwrap();
        let clip = desk.all().pop().unwrap();
        let labels = clip.work().labels.clone();
        let source = revision::Source {
            entry: &clip.entry,
            samples: &clip.samples,
            boxes: &clip.boxes,
            tracks: &clip.tracks,
            labels: &labels,
        };
        let scene = desk.scene(&ana, &name(), 3).unwrap();
        revision::write(&desk.setup.dataset, &source, &*scene, &taxonomy(), 1).unwrap();
        desk.perform(&ana, &name(), &asked("c", &[(DRIVING, 2)], move_by(DRIVING, 0.5)), 4).unwrap();
    }
    let desk = desk(folder.path(), "");
    assert_eq!(desk.foreign(), []);
    assert_eq!(desk.outgoing(10).unwrap().iter().filter(|one| one.id == "r1").count(), 1, "what it was to tell is told");
    assert_eq!(desk.finish(&ana, &name(), true, 5).unwrap()["revision"], json!(2));
}

#[test]
fn a_review_that_begins_with_an_older_database_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let ana = person("ana", Role::Reviewer);
    drop(desk(folder.path(), ""));
    let there = beside(folder.path());
    there.perform(&ana, &name(), &asked("a", &[], accept(DRIVING)), 1).unwrap();
    there.finish(&ana, &name(), true, 2).unwrap();
    assert_eq!(there.foreign(), []);
    assert_eq!(desk(folder.path(), "").foreign(), [(name(), 1)]);
}

#[test]
fn of_many_wrong_passwords_at_once_no_more_are_looked_at_than_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path(), "");
    desk.put_person(&person("root", Role::Admin), &person("ana", Role::Reviewer), Some("a long walk"), None, 0).unwrap();
    let barrier = Barrier::new(12);
    let try_one = || {
        barrier.wait();
        matches!(desk.sign_in("ana", "a long talk", 1_000), Err(DeskError::SignIn(_)))
    };
    let looked_at = std::thread::scope(|scope| {
        let all: Vec<_> = (0..12).map(|_| scope.spawn(try_one)).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|looked| *looked).count()
    });
    assert_eq!(looked_at, 5);
}

#[test]
fn the_topic_hears_of_what_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, ana) = (desk(folder.path(), ""), person("ana", Role::Reviewer));
    desk.perform(&ana, &name(), &asked("a", &[], accept(PARKED)), 5).unwrap();
    // The clock goes back meanwhile.
    desk.perform(&ana, &name(), &asked("u", &[], json!({ "kind": "undo" })), 4).unwrap();
    desk.perform(&ana, &name(), &asked("r", &[], json!({ "kind": "redo" })), 3).unwrap();
    desk.perform(&ana, &name(), &asked("m", &[(PARKED, 3)], move_by(PARKED, 0.2)), 2).unwrap();
    desk.perform(&ana, &name(), &asked("n", &[(PARKED, 4)], move_by(PARKED, 0.2)), 1).unwrap();
    let told: Vec<Value> = desk.outgoing(10).unwrap().iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect();
    let seen: Vec<(&str, &str, Option<&str>)> = told
        .iter()
        .map(|one| (one["kind"].as_str().unwrap(), one["standing"]["1"].as_str().unwrap(), one["undoes"].as_str()))
        .collect();
    assert_eq!(
        seen,
        [("accept", "accepted", None), ("undo", "open", Some("a")), ("redo", "accepted", Some("u")), ("move", "open", None)],
        "an edit that opens a track again is told, the next one changes nothing of it"
    );
}

#[test]
fn boxes_that_were_split_off_or_merged_keep_their_stamps_and_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, ana) = (desk(folder.path(), ""), person("ana", Role::Reviewer));
    let split = json!({ "kind": "split", "track": DRIVING, "sample": 6 });
    desk.perform(&ana, &name(), &asked("a", &[], split), 1).unwrap();
    desk.finish(&ana, &name(), true, 2).unwrap();
    let clips = desk.setup.dataset.clips(None).unwrap();
    let rows = ClipReader::open(&desk.setup.dataset, &clips[0]).unwrap().boxes(&taxonomy()).unwrap();
    let other: Vec<&boxwright_model::Box3> = rows.iter().filter(|row| row.track_id.number > DRIVING).collect();
    assert_eq!(other.len(), SAMPLES as usize - 6);
    for row in other {
        assert_eq!((row.stamp_ns, row.points_ns), (row.sample_stamp_ns + 7, [row.sample_stamp_ns, row.sample_stamp_ns + 14]));
        assert_eq!((row.source, row.score), (boxwright_model::LabelSource::Auto, 0.8));
        assert!(row.evidence.contains("geometric"), "{}", row.evidence);
    }
}

#[test]
fn others_work_on_while_an_operation_is_planned() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path(), "");
    let (ana, bo) = (person("ana", Role::Reviewer), person("bo", Role::Reviewer));
    let create = json!({ "kind": "create", "sample": 3, "at_ego_m": [14.9, -8.0], "class": "car" });
    std::thread::scope(|scope| {
        let creating = scope.spawn(|| desk.perform(&ana, &name(), &asked("a", &[], create.clone()), 1));
        let same = scope.spawn(|| desk.perform(&bo, &name(), &asked("b", &[], create.clone()), 1));
        for step in 0..3 {
            let id = format!("s{step}");
            let rev = desk.all().pop().unwrap().work().rev(PARKED);
            desk.perform(&bo, &name(), &asked(&id, &[(PARKED, rev)], move_by(PARKED, 0.1)), 2).unwrap();
        }
        let (one, two) = (creating.join().unwrap().unwrap(), same.join().unwrap().unwrap());
        let number = |answer: &Value| answer["tracks"].as_object().unwrap().keys().next().unwrap().clone();
        assert_ne!(number(&one), number(&two), "two new tracks never have one number");
    });
}

#[test]
fn sweeps_that_nobody_looks_at_make_room() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = crate::fixture::dataset(&folder.path().join("dataset"), "");
    crate::fixture::second_clip(&dataset);
    let store = crate::fixture::store(folder.path());
    let setup = DeskSetup { spool_bytes: 1, ..crate::fixture::setup(dataset, store) };
    let (desk, ana) = (Desk::open(setup).unwrap(), person("ana", Role::Reviewer));
    let spooled = || desk.all().iter().map(|clip| clip.spooled().is_some()).collect::<Vec<_>>();
    let names: Vec<ClipName> = desk.all().iter().map(|clip| clip.name.clone()).collect();
    let held = desk.scene(&ana, &names[0], 1).unwrap();
    assert_eq!(spooled(), [true, false], "one clip may be larger than the room that there is");
    desk.scene(&ana, &names[1], 2).unwrap();
    assert_eq!(spooled(), [false, true]);
    assert!(held.point_bytes(0).unwrap().is_some(), "who reads from it goes on");
    assert!(desk.open_clip(&ana, &names[0], 3).is_ok(), "and it is read again when somebody comes back");
}

#[test]
fn leads_see_the_seconds_of_their_lots_and_only_of_clips_that_they_are_cleared_for() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, low) = (desk(folder.path(), "important"), person("low", Role::Lead));
    let high = Person { clearance: Grade::Important, ..low.clone() };
    desk.perform(&high, &name(), &asked("a", &[], accept(DRIVING)), 1).unwrap();
    let told = desk.put_lot(&high, "monday", &[name()], 2).unwrap();
    let lot = &told["lots"][0];
    assert_eq!((lot["lot"].clone(), lot["left"].clone(), lot["forecast_s"].clone()), (json!("monday"), json!(1), json!(1.2)));
    assert_eq!((told["spent"][0]["lot"].clone(), told["spent"][0]["median_s"].clone()), (json!("monday"), json!(1.2)));
    let nothing = desk.statistics(&low).unwrap();
    assert_eq!((nothing["spent"].clone(), nothing["lots"].clone(), nothing["left"].clone()), (json!([]), json!([]), json!(0)));
    assert!(matches!(desk.put_lot(&low, "tuesday", &[name()], 3), Err(DeskError::Clearance { .. })));
}

#[test]
fn one_undo_takes_back_a_decision_about_several_tracks() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, ana) = (desk(folder.path(), ""), person("ana", Role::Reviewer));
    let all = json!({ "kind": "bulk", "tracks": [PARKED, DRIVING], "each": { "what": "accept" } });
    assert!(
        desk.perform(&person("bo", Role::Annotator), &name(), &asked("x", &[], all.clone()), 1).is_err(),
        "a verdict is a reviewer's"
    );
    let done = desk.perform(&ana, &name(), &asked("a", &[], all.clone()), 1).unwrap();
    assert_eq!((done["name"].clone(), done["tracks"].as_object().unwrap().len()), (json!("accept_all"), 2));
    let undone = desk.perform(&ana, &name(), &asked("u", &[], json!({ "kind": "undo" })), 2).unwrap();
    assert!(undone["tracks"].as_object().unwrap().values().all(|track| track["verdict"] == "open"));
    // Of which somebody has changed one: nothing is done to any.
    let error = desk.perform(&ana, &name(), &asked("b", &[(PARKED, 2)], all), 3).unwrap_err();
    assert!(matches!(error, DeskError::Conflict(_)), "{error}");
}

/// A desk over the street with a suggestion at the car that the labeller missed, and a rule's word about the car that drives.
fn desk_with_findings(root: &std::path::Path) -> Desk {
    use crate::fixture::{Street, dataset_with, missed, setup};
    use crate::operation::Surroundings;
    let id = |number: u32| Some(boxwright_model::TrackId { clip: ClipId(name().clip), number });
    let rows: Vec<Value> = (0..SAMPLES)
        .map(|sample| {
            let c = missed().center_m;
            json!([Street.stamp_ns(sample), c.x, c.y, c.z, missed().yaw_rad(), 30])
        })
        .collect();
    let size: [f64; 3] = missed().size_lwh_m.into();
    let values = json!({ "class": "car", "score": 0.2, "is_static": true, "size_lwh_m": size, "boxes": rows });
    let finding = |rule: &'static str, number: u32, message: &str, values: Value| boxwright_model::Finding {
        rule,
        severity: boxwright_model::Severity::Info,
        stamp_ns: Street.stamp_ns(3),
        track_id: id(number),
        sample_id: None,
        message: message.to_owned(),
        values: values.to_string(),
    };
    let findings = [
        finding("BW-L001", DRIVING, "expected at most 60 m/s, got 70", json!({})),
        finding("BW-L007", SUGGESTED, "may be a car without a label", values),
    ];
    let folder = root.join("dataset");
    let dataset = if folder.exists() { Dataset::open(&folder).unwrap() } else { dataset_with(&folder, "", &findings) };
    Desk::open(setup(dataset, crate::fixture::store(root))).unwrap()
}

const SUGGESTED: u32 = 5;

#[test]
fn a_suggestion_is_an_item_and_becomes_a_label_only_by_a_persons_word() {
    let folder = tempfile::tempdir().unwrap();
    let ana = person("ana", Role::Reviewer);
    let desk = desk_with_findings(folder.path());
    let page = desk.open_clip(&ana, &name(), 1).unwrap();
    assert_eq!((&page["tracks"]["5"]["verdict"], &page["tracks"]["5"]["score"]), (&json!("suggested"), &json!(0.2)));
    let mut seen = Vec::new();
    let mut passed: Vec<(ClipName, u32)> = Vec::new();
    while let Some(track) = desk.next(&ana, None, &passed, 2).unwrap()["item"]["track"].as_u64() {
        seen.push(track as u32);
        passed.push((name(), track as u32));
    }
    seen.sort_unstable();
    assert_eq!(seen, [PARKED, DRIVING, SUGGESTED], "it is looked at like any track");

    let tracks_of = |desk: &Desk| -> Vec<u32> {
        let clip = desk.setup.dataset.clips(None).unwrap().pop().unwrap();
        let reader = ClipReader::open(&desk.setup.dataset, &clip).unwrap();
        reader.tracks(&taxonomy()).unwrap().iter().map(|track| track.track_id.number).collect()
    };
    desk.perform(&ana, &name(), &asked("a", &[], accept(PARKED)), 3).unwrap();
    let refused = desk.finish(&ana, &name(), false, 4).unwrap_err().to_string();
    assert!(refused.contains("1 open, 0 returned and 1 only suggested"), "{refused}");
    desk.finish(&ana, &name(), true, 5).unwrap();
    assert_eq!(tracks_of(&desk), [PARKED, DRIVING], "nobody said that it is an object");

    desk.perform(&ana, &name(), &asked("b", &[], json!({ "kind": "delete", "track": SUGGESTED })), 6).unwrap();
    desk.perform(&ana, &name(), &asked("c", &[], json!({ "kind": "undo" })), 7).unwrap();
    desk.perform(&ana, &name(), &asked("d", &[(SUGGESTED, 3)], accept(SUGGESTED)), 8).unwrap();
    desk.finish(&ana, &name(), true, 9).unwrap();
    assert_eq!(tracks_of(&desk), [PARKED, DRIVING, SUGGESTED]);
    drop(desk);
    // After a start from the same database it is what the person made of it.
    let desk = desk_with_findings(folder.path());
    assert_eq!(desk.open_clip(&ana, &name(), 10).unwrap()["tracks"]["5"]["verdict"], json!("accepted"));
    drop(desk);
    // Another database starts from the newest revision: what was closed before it is not asked again.
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let dataset = Dataset::open(&folder.path().join("dataset")).unwrap();
    let desk = Desk::open(crate::fixture::setup(dataset, crate::fixture::store(&other))).unwrap();
    assert_eq!(desk.continued(), [(name(), 2)]);
    let tracks = desk.open_clip(&ana, &name(), 11).unwrap()["tracks"].clone();
    assert!(tracks.as_object().unwrap().values().all(|track| track["verdict"] != "suggested"), "{tracks}");
}

#[test]
fn a_rules_word_brings_a_track_forward_until_somebody_changes_it() {
    let folder = tempfile::tempdir().unwrap();
    let (desk, bo) = (desk_with_findings(folder.path()), person("bo", Role::Annotator));
    let saved = |track: u32| desk.open_clip(&bo, &name(), 1).unwrap()["tracks"][track.to_string()]["saved_s"].as_f64().unwrap();
    let page = desk.open_clip(&bo, &name(), 1).unwrap();
    assert_eq!(page["tracks"]["2"]["findings"], json!([{ "rule": "BW-L001", "message": "expected at most 60 m/s, got 70" }]));
    assert_eq!(page["tracks"]["1"]["findings"], json!([]));
    assert!(saved(DRIVING) > saved(PARKED) + 5.0);
    desk.perform(&bo, &name(), &asked("a", &[], move_by(DRIVING, 0.1)), 2).unwrap();
    assert_eq!(desk.open_clip(&bo, &name(), 3).unwrap()["tracks"]["2"]["findings"], json!([]), "it was said about another box");
    // An annotator may not decide; what they edit is a label.
    let relabel = json!({ "kind": "relabel", "track": SUGGESTED, "class": "truck" });
    desk.perform(&bo, &name(), &asked("b", &[], relabel), 4).unwrap();
    assert_eq!(desk.open_clip(&bo, &name(), 5).unwrap()["tracks"]["5"]["verdict"], json!("open"));
}
