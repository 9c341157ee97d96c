//! What the database promises: the same tests are meant for every database that [`Store`] may stand on.

use std::sync::{Arc, Barrier};

use super::*;
use crate::people::{Grade, Person, Role};

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

/// Runs SQL in the database of a folder as somebody else would.
fn by_hand(root: &std::path::Path, sql: &str) {
    match crate::fixture::place(root) {
        Place::File(path) => rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap(),
        Place::Postgres(place) => place.config.connect(::postgres::NoTls).unwrap().batch_execute(sql).unwrap(),
    }
}

#[test]
fn a_database_of_a_newer_program_is_refused_with_both_versions() {
    let (folder, store) = store();
    drop(store);
    by_hand(folder.path(), "update desk set value = '99' where name = 'schema'");
    let refused = Store::open(&crate::fixture::place(folder.path())).unwrap_err().to_string();
    assert!(refused.contains("version 2 or older, got version 99") && refused.contains("\nhint: "), "{refused}");
}

#[test]
fn a_database_of_version_1_gets_the_identities_and_keeps_what_it_has() {
    let (folder, store) = store();
    let ana = Person { name: "ana".to_owned(), role: Role::Reviewer, clearance: Grade::General };
    store.put_person(&ana, None).unwrap();
    drop(store);
    by_hand(folder.path(), "drop table oidc_identity; update desk set value = '1' where name = 'schema'");
    let store = crate::fixture::store(folder.path());
    assert_eq!(store.people().unwrap(), vec![ana.clone()]);
    let of = |subject: &str| Identity { issuer: "https://id.example.com".to_owned(), subject: subject.to_owned() };
    assert_eq!(store.enter(&of("1"), &ana).unwrap(), None, "her name is no proof");
    let bo = Person { name: "bo".to_owned(), ..ana };
    assert_eq!(store.enter(&of("1"), &bo).unwrap(), Some(bo.clone()));
    drop(store);
    // Version 2, which a program of version 1 refuses.
    by_hand(folder.path(), "update desk set value = 'seen' where name = 'schema' and value = '2'");
    let refused = Store::open(&crate::fixture::place(folder.path())).unwrap_err().to_string();
    assert!(refused.contains("got version seen"), "{refused}");
}

#[test]
fn of_many_who_come_at_once_with_one_name_one_has_it() {
    let (_folder, store) = store();
    let store = Arc::new(store);
    let barrier = Arc::new(Barrier::new(8));
    let all: Vec<_> = (0..8)
        .map(|index| {
            let (store, barrier) = (store.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                let ana = Person { name: "ana".to_owned(), role: Role::Reviewer, clearance: Grade::General };
                let who = Identity { issuer: "https://id.example.com".to_owned(), subject: index.to_string() };
                store.enter(&who, &ana).unwrap().is_some()
            })
        })
        .collect();
    assert_eq!(all.into_iter().map(|one| one.join().unwrap()).filter(|entered| *entered).count(), 1);
}

#[test]
fn tables_of_another_program_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    by_hand(folder.path(), "create table session (id integer, data text)");
    let refused = Store::open(&crate::fixture::place(folder.path())).unwrap_err().to_string();
    assert!(refused.contains("expected the table session of a review") && refused.contains("got one with id, data"), "{refused}");
    by_hand(folder.path(), "drop table session; create table clip (own integer)");
}

#[test]
fn text_that_one_database_cannot_keep_is_refused_by_both() {
    let (_folder, store) = store();
    let refused = store.note(1, "ana", "look", None, "a\0b").unwrap_err();
    assert!(matches!(refused, DeskError::Request(_)), "{refused}");
    store.note(1, "ana", "看", Some(&name()), "é \u{1f697}").unwrap();
    let noted = store.audit(10, |_| true).unwrap();
    assert_eq!((noted.len(), noted[0].action.as_str(), noted[0].detail.as_str()), (1, "看", "é \u{1f697}"));
}

#[test]
fn the_newest_lines_that_one_may_see_are_found_behind_those_that_one_may_not() {
    let (_folder, store) = store();
    for at_ms in 0..60 {
        store.note(at_ms, if at_ms < 5 { "ana" } else { "bo" }, "look", None, "").unwrap();
    }
    let seen = store.audit(3, |line| line.person == "ana").unwrap();
    assert_eq!(seen.iter().map(|line| line.at_ms).collect::<Vec<_>>(), [4, 3, 2]);
    assert_eq!(store.audit(100, |_| true).unwrap().len(), 60, "and the connection goes on after rows that nobody took");
}

#[test]
fn what_breaks_off_within_a_transaction_leaves_nothing_and_the_next_one_works() {
    let (_folder, store) = store();
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.write(|t| -> Result<(), DeskError> {
            t.execute("insert into lot (vehicle, clip, lot) values ('car 7', 85, 'half')", &[])?;
            panic!("as a fault of ours would");
        })
    }));
    assert!(broken.is_err());
    assert!(store.lots().unwrap().is_empty());
    store.put_lot("whole", &[name()]).unwrap();
    assert_eq!(store.lots().unwrap().len(), 1);
}

/// What only a server can do to one.
mod by_url {
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    /// The address of the PostgreSQL of the tests, or a note that there is none: `bash tests/run` brings one, and fails in CI where it cannot.
    fn server() -> Option<String> {
        let url = crate::fixture::postgres();
        if url.is_none() {
            eprintln!(
                "note: left out without a PostgreSQL: bash tests/postgres run cargo test --release --workspace --lib store desk"
            );
        }
        url
    }

    fn parsed(url: &str) -> Place {
        Place::Postgres(PostgresPlace::parse(url, &PostgresDefaults::default()).unwrap())
    }

    fn script(arguments: &[&str]) -> String {
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/postgres");
        let done = Command::new("bash").arg(script).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// A server of its own, because it is killed.
    struct Own(tempfile::TempDir);

    impl Own {
        fn start() -> (Self, String) {
            let own = Self(tempfile::tempdir().unwrap());
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
            let url = own.again(&port);
            (own, url)
        }

        fn again(&self, port: &str) -> String {
            script(&["start", port, self.0.path().to_str().unwrap()])
        }

        fn kill(&self) {
            script(&["kill", self.0.path().to_str().unwrap()]);
        }
    }

    impl Drop for Own {
        fn drop(&mut self) {
            self.kill();
        }
    }

    #[test]
    fn a_server_that_is_killed_loses_nothing_that_was_acknowledged_and_is_found_again() {
        if server().is_none() {
            return;
        }
        let (own, url) = Own::start();
        let store = Store::open(&parsed(&url)).unwrap();
        let identity = store.identity().unwrap();
        let mut kept = Vec::new();
        for seq in 1..=3 {
            store.add_operation(&name(), &done(seq, &format!("o{seq}")), None).unwrap();
            assert!(store.renew_lease(&name(), 7, "ana", 0, 1_000).unwrap());
            kept.push(done(seq, &format!("o{seq}")));
            own.kill();
            let began = Instant::now();
            let refused = store.add_operation(&name(), &done(seq + 1, "lost"), None).unwrap_err();
            assert!(matches!(refused, DeskError::Lost { .. }), "{refused}");
            let told = refused.to_string();
            assert!(told.contains("\nhint: ") && !told.contains("boxwright-secret"), "{told}");
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
            // While it is known to be away nobody waits for it.
            let began = Instant::now();
            assert!(store.operations(&name(), 0).is_err());
            assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
            own.again("0");
            let until = Instant::now() + Duration::from_secs(30);
            while store.operations(&name(), 0).is_err() {
                assert!(Instant::now() < until, "it never comes back");
                std::thread::sleep(Duration::from_millis(100));
            }
            assert_eq!(store.operations(&name(), 0).unwrap(), kept);
            assert_eq!(store.lease_of_another(&name(), 7, "bo", 1).unwrap().as_deref(), Some("ana"));
        }
        assert_eq!(store.identity().unwrap(), identity);
    }

    #[test]
    fn a_connection_that_ended_between_two_requests_is_replaced_unnoticed() {
        if server().is_none() {
            return;
        }
        let (folder, store) = store();
        for seq in 1..=3 {
            end_connections(folder.path());
            store.add_operation(&name(), &done(seq, &format!("o{seq}")), None).unwrap();
            end_connections(folder.path());
            assert_eq!(store.operations(&name(), 0).unwrap().len() as i64, seq);
        }
    }

    /// Ends the connections that hold a folder's schema.
    fn end_connections(root: &std::path::Path) {
        let sql = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objsubid = 2 and objid::bigint = \
                   ((select (oid::bigint - 2147483648)::int from pg_namespace where nspname = current_schema())::bigint & 4294967295)";
        by_hand(root, sql);
    }

    #[test]
    fn who_comes_back_after_another_server_has_worked_there_does_nothing_more() {
        if server().is_none() {
            return;
        }
        let (folder, store) = store();
        end_connections(folder.path());
        let until = Instant::now() + Duration::from_secs(10);
        let other = loop {
            if let Ok(other) = Store::open(&crate::fixture::place(folder.path())) {
                break other;
            }
            assert!(Instant::now() < until);
        };
        other.add_operation(&name(), &done(1, "theirs"), None).unwrap();
        let refused = store.add_operation(&name(), &done(1, "ours"), None).unwrap_err();
        assert!(
            matches!(refused, DeskError::Lost { .. }) && refused.to_string().contains("another server works on it"),
            "{refused}"
        );
        drop(other);
        std::thread::sleep(Duration::from_millis(1_200));
        for _ in 0..2 {
            let refused = store.add_operation(&name(), &done(2, "ours"), None).unwrap_err();
            assert!(matches!(refused, DeskError::Taken { .. }), "{refused}");
            assert!(
                matches!(store.operations(&name(), 0), Err(DeskError::Taken { .. })),
                "what it would read is newer than what it knows"
            );
        }
    }

    /// Even where the lock fails to keep two servers apart, as behind a pooler that shares out connections, the older one can write nothing.
    #[test]
    fn a_term_that_is_over_writes_nothing() {
        if server().is_none() {
            return;
        }
        let (folder, store) = store();
        store.add_operation(&name(), &done(1, "a"), None).unwrap();
        by_hand(folder.path(), "update desk set value = (value::bigint + 1)::text where name = 'term'");
        let refused = store.add_operation(&name(), &done(2, "b"), None).unwrap_err();
        assert!(matches!(refused, DeskError::Taken { .. }), "{refused}");
        drop(store);
        assert_eq!(crate::fixture::store(folder.path()).operations(&name(), 0).unwrap(), [done(1, "a")]);
    }

    const PASS: u8 = 0;
    const CUT_BEFORE: u8 = 1;
    const CUT_AFTER: u8 = 2;

    /// Stands between a store and its server, and cuts the line where it is told to: before a `commit` reaches the server, or before its answer
    /// comes back.
    fn between(server: std::net::SocketAddr) -> (u16, Arc<AtomicU8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let order = Arc::new(AtomicU8::new(PASS));
        let told = order.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let upstream = TcpStream::connect(server).unwrap();
                let (mut from_client, mut to_client) = (client.try_clone().unwrap(), client);
                let (mut from_server, mut to_server) = (upstream.try_clone().unwrap(), upstream);
                let order = told.clone();
                std::thread::spawn(move || {
                    let mut buffer = [0u8; 8192];
                    while let Ok(read @ 1..) = std::io::Read::read(&mut from_client, &mut buffer) {
                        let is_commit = buffer[..read].windows(6).any(|window| window == b"commit");
                        let order = if is_commit { order.swap(PASS, Ordering::SeqCst) } else { PASS };
                        if order != CUT_BEFORE {
                            std::io::Write::write_all(&mut to_server, &buffer[..read]).unwrap();
                        }
                        if order != PASS {
                            // The answer, if there is one, comes to nobody.
                            let _ = from_client.shutdown(std::net::Shutdown::Both);
                            std::thread::sleep(Duration::from_millis(200));
                            let _ = to_server.shutdown(std::net::Shutdown::Both);
                            return;
                        }
                    }
                    let _ = to_server.shutdown(std::net::Shutdown::Both);
                });
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from_server, &mut to_client);
                    let _ = to_client.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        (port, order)
    }

    #[test]
    fn an_operation_whose_answer_got_lost_is_done_once() {
        let Some(url) = server() else { return };
        let server: std::net::SocketAddr = url.split(['@', '/']).nth(3).unwrap().parse().unwrap();
        let (port, order) = between(server);
        for (cut, is_stored) in [(CUT_BEFORE, false), (CUT_AFTER, true)] {
            let folder = tempfile::tempdir().unwrap();
            // Makes the schema, which is then reached the other way.
            let _ = crate::fixture::place(folder.path());
            let schema = format!("t{}", &secret::hash(&folder.path().display().to_string())[..16]);
            let around = url.replace(&format!(":{}/", server.port()), &format!(":{port}/"));
            let store = Store::open(&parsed(&format!("{around}?options=-csearch_path%3D{schema}"))).unwrap();
            let dataset = crate::fixture::dataset(&folder.path().join("dataset"), "");
            let desk = crate::Desk::open(crate::fixture::setup(dataset, store)).unwrap();
            let ana = crate::fixture::person("ana", Role::Reviewer);
            let accept = |id: &str, track: u32| crate::desk::Asked {
                id: id.to_owned(),
                base: BTreeMap::new(),
                operation: serde_json::json!({ "kind": "accept", "track": track }),
                spent_ms: None,
                database: None,
            };
            let clip = crate::fixture::name();
            order.store(cut, Ordering::SeqCst);
            let lost = desk.perform(&ana, &clip, &accept("a", crate::fixture::PARKED), 1).unwrap_err();
            assert!(matches!(lost, DeskError::Lost { .. }), "{lost}");
            let mut raw =
                ::postgres::Client::connect(&format!("{url}?options=-csearch_path%3D{schema}"), ::postgres::NoTls).unwrap();
            std::thread::sleep(Duration::from_millis(500));
            let mut count = || raw.query_one("select count(*) from operation", &[]).unwrap().get::<_, i64>(0);
            assert_eq!(count(), i64::from(is_stored));
            // Another one first: it must not take the place of the one that is there, nor be refused for it.
            let next = desk.perform(&ana, &clip, &accept("b", crate::fixture::DRIVING), 2).unwrap();
            assert_eq!(next["seq"], serde_json::json!(1 + i64::from(is_stored)));
            let again = desk.perform(&ana, &clip, &accept("a", crate::fixture::PARKED), 3).unwrap();
            assert_eq!(again["seq"], serde_json::json!(if is_stored { 1 } else { 2 }));
            assert_eq!(count(), 2);
            assert_eq!(desk.outgoing(10).unwrap().len(), 2, "and both are told once");
        }
    }

    #[test]
    fn a_wrong_password_and_a_server_that_is_not_there_are_told_with_a_cure() {
        let Some(url) = server() else { return };
        let refused = |url: &str| Store::open(&parsed(url)).unwrap_err().to_string();
        let wrong = refused(&url.replace("boxwright-secret", "another-secret"));
        assert!(wrong.contains("password authentication failed") && wrong.contains("hint: PGPASSWORD"), "{wrong}");
        assert!(!wrong.contains("another-secret"), "{wrong}");
        let none = refused(&url.replace(":boxwright-secret", ""));
        assert!(none.contains("hint: PGPASSWORD"), "{none}");
        let missing = refused(&url.replace("/boxwright", "/nothing").replace("//nothing", "//boxwright"));
        assert!(missing.contains("\"nothing\" does not exist") && missing.contains("hint: create database"), "{missing}");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let away = refused(&format!("postgres://ana:s3cret@127.0.0.1:{port}/x"));
        assert!(away.contains("refused") && away.contains("hint: does it run") && !away.contains("s3cret"), "{away}");
    }

    #[test]
    fn a_schema_that_is_not_there_is_named_in_the_hint() {
        let Some(url) = server() else { return };
        let refused = Store::open(&parsed(&format!("{url}?options=-csearch_path%3Dnowhere"))).unwrap_err().to_string();
        assert!(refused.contains("hint: create schema"), "{refused}");
    }

    #[test]
    fn the_server_of_another_desk_is_named_to_who_comes_second() {
        if server().is_none() {
            return;
        }
        let (folder, _store) = store();
        let refused = Store::open(&crate::fixture::place(folder.path())).unwrap_err().to_string();
        assert!(refused.contains("another server works on it from 127.0.0.1 as boxwright since 20"), "{refused}");
    }
}
