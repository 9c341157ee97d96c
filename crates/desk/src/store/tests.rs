//! What the database promises: the same tests are meant for every database that [`Store`] may stand on.

use std::sync::{Arc, Barrier};

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::fixture::store(folder.path());
    (folder, store)
}

fn name() -> ClipName {
    ClipName { vehicle: "car 7".to_owned(), clip: 85 }
}

fn done(seq: i64, id: &str) -> Done {
    Done {
        seq,
        id: id.to_owned(),
        person: "ana".to_owned(),
        at_ms: 1,
        name: "accept".to_owned(),
        class: "car".to_owned(),
        request: serde_json::json!({ "kind": "accept", "track": 1 }),
        changes: Vec::new(),
        undoes: None,
        spent_ms: Some(1500),
    }
}

#[test]
fn of_many_who_ask_at_once_each_gets_another_item() {
    let (_folder, store) = store();
    let store = Arc::new(store);
    let items: Vec<(ClipName, u32)> = (0..16).map(|track| (name(), track)).collect();
    let barrier = Arc::new(Barrier::new(16));
    let people: Vec<_> = (0..16)
        .map(|index| {
            let (store, items, barrier) = (store.clone(), items.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                store.take_lease(&items, &format!("person {index}"), 1_000, 2_000).unwrap()
            })
        })
        .collect();
    let mut taken: Vec<usize> = people.into_iter().map(|person| person.join().unwrap().unwrap()).collect();
    taken.sort_unstable();
    assert_eq!(taken, (0..16).collect::<Vec<_>>());
    assert_eq!(store.take_lease(&items, "one more", 1_000, 2_000).unwrap(), None);
}

#[test]
fn a_lease_ends_with_its_time_and_not_before() {
    let (_folder, store) = store();
    let item = [(name(), 7)];
    assert_eq!(store.take_lease(&item, "ana", 0, 100).unwrap(), Some(0));
    assert_eq!(store.take_lease(&item, "bo", 99, 200).unwrap(), None);
    assert!(store.renew_lease(&name(), 7, "ana", 99, 300).unwrap());
    assert!(!store.renew_lease(&name(), 7, "bo", 299, 400).unwrap());
    assert_eq!(store.lease_of_another(&name(), 7, "bo", 299).unwrap().as_deref(), Some("ana"));
    assert_eq!(store.take_lease(&item, "bo", 300, 400).unwrap(), Some(0), "over at its time");
    store.end_lease(&name(), 7, "bo").unwrap();
    assert!(store.renew_lease(&name(), 7, "ana", 301, 400).unwrap());
}

#[test]
fn two_operations_never_have_one_place_and_one_is_never_stored_twice() {
    let (_folder, store) = store();
    store.add_operation(&name(), &done(1, "a"), None).unwrap();
    assert!(store.add_operation(&name(), &done(1, "b"), None).is_err(), "the place is taken");
    assert!(store.add_operation(&name(), &done(2, "a"), None).is_err(), "the id is taken");
    assert_eq!(store.operations(&name(), 0).unwrap(), vec![done(1, "a")]);
}

#[test]
fn a_verdict_is_stored_with_its_operation_or_not_at_all() {
    let (_folder, store) = store();
    let verdict = Outgoing { id: "a".to_owned(), vehicle: "car 7".to_owned(), at_ms: 1, body: "{}".to_owned() };
    store.add_operation(&name(), &done(1, "a"), Some(&verdict)).unwrap();
    let other = Outgoing { id: "b".to_owned(), ..verdict.clone() };
    assert!(store.add_operation(&name(), &done(1, "b"), Some(&other)).is_err());
    assert_eq!(store.outgoing(10).unwrap(), vec![verdict]);
    store.published("a").unwrap();
    assert!(store.outgoing(10).unwrap().is_empty());
}

#[test]
fn a_key_opens_once_and_a_session_ends_with_its_time() {
    let (_folder, store) = store();
    let ana = Person { name: "ana".to_owned(), role: Role::Reviewer, clearance: Grade::Important };
    store.put_person(&ana, None).unwrap();
    store.put_key("k", "ana", 100).unwrap();
    assert_eq!(store.take_key("k", 50).unwrap(), Some(ana.clone()));
    assert_eq!(store.take_key("k", 50).unwrap(), None);
    store.put_key("old", "ana", 100).unwrap();
    assert_eq!(store.take_key("old", 100).unwrap(), None);
    store.put_session("t", "ana", 0, 100).unwrap();
    assert_eq!(store.session("t", 99).unwrap(), Some(ana));
    assert_eq!(store.session("t", 100).unwrap(), None);
}

#[test]
fn a_new_role_keeps_the_password() {
    let (_folder, store) = store();
    let ana = Person { name: "ana".to_owned(), role: Role::Reviewer, clearance: Grade::General };
    store.put_person(&ana, Some("a long walk")).unwrap();
    let lead = Person { role: Role::Lead, ..ana };
    store.put_person(&lead, None).unwrap();
    assert_eq!(store.person_by_password("ana", "a long walk").unwrap(), Some(lead));
    assert_eq!(store.person_by_password("ana", "a short walk").unwrap(), None);
    assert_eq!(store.person_by_password("nobody", "a long walk").unwrap(), None);
}

#[test]
fn a_second_server_on_the_same_database_is_refused_with_a_hint() {
    let (folder, _store) = store();
    let refused = Store::open(&crate::fixture::place(folder.path())).unwrap_err().to_string();
    assert!(refused.contains("hint: another server works on it"), "{refused}");
}

#[test]
fn what_was_stored_is_there_after_the_process_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("review.sqlite");
    let store = Store::open(&Place::from(&*file)).unwrap();
    store.add_operation(&name(), &done(1, "a"), None).unwrap();
    // As after kill -9: nothing is closed, only what is on the disk counts.
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["review.sqlite", "review.sqlite-wal"] {
        if folder.path().join(name).exists() {
            std::fs::copy(folder.path().join(name), copy.join(name)).unwrap();
        }
    }
    let reopened = Store::open(&Place::from(&*copy.join("review.sqlite"))).unwrap();
    assert_eq!(reopened.operations(&self::name(), 0).unwrap(), vec![done(1, "a")]);
    drop(store);
}
