//! The database of the desk: who may enter, what was done, who works on what.
//!
//! Everything that a person does is one transaction that is on the disk when the answer goes out (`synchronous = full`), so a server that is
//! killed has lost nothing that anybody was told of. Operations are only ever added. All SQL of the project is in this file and in
//! `schema.sql`, and is the part that two databases share; the tests know only [`Store`]. SQLite is held exclusively: a second server on
//! the same file is refused at the start instead of working on stale labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::DeskError;
use crate::labels::Change;
use crate::people::{Grade, Person, Role};
use crate::secret;

/// Names a clip: vehicle and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClipName {
    /// Vehicle id.
    pub vehicle: String,
    /// Number.
    pub clip: i64,
}

/// One operation as it was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Its place in the history of the clip, from 1.
    pub seq: i64,
    /// Made by the page, so that an operation that is sent twice is done once.
    pub id: String,
    /// Who.
    pub person: String,
    /// When.
    pub at_ms: i64,
    /// Name of the operation.
    pub name: String,
    /// Class of the track that it is about; empty for several or none.
    pub class: String,
    /// What was asked.
    pub request: Value,
    /// What it came to.
    pub changes: Vec<Change>,
    /// The operation that this one takes back.
    pub undoes: Option<i64>,
    /// From the item being shown to the decision.
    pub spent_ms: Option<i64>,
}

/// What is known of a clip beside its operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipRow {
    /// Revision of the labels that the operations start from.
    pub base_revision: i32,
    /// Newest revision that was written from here; the base before any.
    pub last_revision: i32,
    /// A revision whose writing has begun and of whose end nobody has heard.
    pub finishing_revision: Option<i32>,
    /// Last operation that was to be in it.
    pub finishing_seq: i64,
    /// Last operation that is in a written revision.
    pub finished_seq: i64,
}

/// A remark on a clip, a track or a box.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remark {
    /// Id, made by the page.
    pub id: String,
    /// Track; none for the clip as a whole.
    pub track: Option<u32>,
    /// Sample; none for the whole track.
    pub sample: Option<u32>,
    /// Who.
    pub person: String,
    /// When.
    pub at_ms: i64,
    /// Kind of error.
    pub error: Option<String>,
    /// What they say.
    pub body: String,
    /// Who settled it.
    pub resolved_by: Option<String>,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audited {
    /// When.
    pub at_ms: i64,
    /// Who.
    pub person: String,
    /// What.
    pub action: String,
    /// Vehicle of the clip.
    pub vehicle: Option<String>,
    /// Clip.
    pub clip: Option<i64>,
    /// More.
    pub detail: String,
}

/// A verdict that waits to be published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Id of its operation.
    pub id: String,
    /// Key of the message.
    pub vehicle: String,
    /// When it was made.
    pub at_ms: i64,
    /// JSON.
    pub body: String,
}

/// The database.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens or makes the database.
    ///
    /// # Errors
    /// When the file cannot be opened, is no database, or another server holds it.
    pub fn open(path: &Path) -> Result<Self, DeskError> {
        let refused = |error: rusqlite::Error| {
            let why = error.to_string();
            let hint =
                if why.contains("locked") { "another server works on it: one a database" } else { "name another file with --db" };
            DeskError::Open { path: PathBuf::from(path), why, hint }
        };
        let connection = Connection::open(path).map_err(refused)?;
        // Whoever holds the file holds it until they end: to wait is of no use.
        connection.busy_timeout(std::time::Duration::from_millis(200)).map_err(refused)?;
        for (name, value) in [("locking_mode", "exclusive"), ("journal_mode", "wal"), ("synchronous", "full")] {
            connection.pragma_update(None, name, value).map_err(refused)?;
        }
        connection.execute_batch(include_str!("store/schema.sql")).map_err(refused)?;
        for (table, column) in ADDED_COLUMNS {
            add_column(&connection, table, column).map_err(refused)?;
        }
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// What tells this database from every other one, for ever: pages keep what they could not send yet under it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn identity(&self) -> Result<String, DeskError> {
        self.transaction(|t| {
            let sql = "insert into desk (name, value) values ('identity', ?1) on conflict (name) do nothing";
            t.execute(sql, [secret::token()])?;
            Ok(t.query_row("select value from desk where name = 'identity'", [], |row| row.get(0))?)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic broke off was rolled back when it was dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transaction<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, DeskError>) -> Result<T, DeskError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    // People.

    /// Makes an account or changes its role and clearance; a password that is not given stays.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_person(&self, person: &Person, password: Option<&str>) -> Result<(), DeskError> {
        let password = password.map(secret::hash_password);
        self.transaction(|t| {
            t.execute(
                "insert into person (name, role, clearance, password) values (?1, ?2, ?3, ?4) on conflict (name) do update \
                 set role = excluded.role, clearance = excluded.clearance, password = coalesce(excluded.password, person.password)",
                params![person.name, person.role.as_str(), person.clearance.as_str(), password],
            )?;
            Ok(())
        })
    }

    /// All accounts.
    ///
    /// # Errors
    /// When the database fails.
    pub fn people(&self) -> Result<Vec<Person>, DeskError> {
        let connection = self.lock();
        let mut query = connection.prepare("select name, role, clearance from person order by name")?;
        query.query_map([], person_of)?.map(|row| foreign(row?)).collect()
    }

    /// The account whose password this is.
    ///
    /// # Errors
    /// When the database fails.
    pub fn person_by_password(&self, name: &str, password: &str) -> Result<Option<Person>, DeskError> {
        let stored: Option<Option<String>> =
            self.lock().query_row("select password from person where name = ?1", [name], |row| row.get(0)).optional()?;
        // Hashed in every case, so that the time tells nobody which names there are.
        let fits = secret::check_password(password, stored.flatten().as_deref());
        Ok(self.person(name)?.filter(|_| fits))
    }

    /// One account.
    ///
    /// # Errors
    /// When the database fails.
    pub fn person(&self, name: &str) -> Result<Option<Person>, DeskError> {
        let found =
            self.lock().query_row("select name, role, clearance from person where name = ?1", [name], person_of).optional()?;
        found.map(foreign).transpose()
    }

    /// Notes that somebody tries a password, before it is looked at; false where too many were tried since a moment. One transaction, so
    /// that of many who try at once no more get through than one after the other.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_attempt(&self, name: &str, now_ms: i64, since_ms: i64, most: i64) -> Result<bool, DeskError> {
        self.transaction(|t| {
            // Anybody can try any name: what counts no more is not kept.
            t.execute("delete from attempt where at_ms <= ?1", [since_ms])?;
            let tried: i64 = t.query_row("select count(*) from attempt where name = ?1", [name], |row| row.get(0))?;
            if tried >= most {
                return Ok(false);
            }
            t.execute("insert into attempt (name, at_ms) values (?1, ?2)", params![name, now_ms])?;
            Ok(true)
        })
    }

    /// Forgets what was tried under a name whose password was right.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_attempts(&self, name: &str) -> Result<(), DeskError> {
        self.lock().execute("delete from attempt where name = ?1", [name])?;
        Ok(())
    }

    /// Remembers the key of a sign-in link.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_key(&self, key: &str, person: &str, expires_ms: i64) -> Result<(), DeskError> {
        let sql = "insert into sign_in_key (hash, person, expires_ms) values (?1, ?2, ?3)";
        self.lock().execute(sql, params![secret::hash(key), person, expires_ms])?;
        Ok(())
    }

    /// Uses up a key: the account that it opens.
    ///
    /// # Errors
    /// When the database fails.
    pub fn take_key(&self, key: &str, now_ms: i64) -> Result<Option<Person>, DeskError> {
        let name: Option<String> = self.transaction(|t| {
            let hash = secret::hash(key);
            let sql = "select person from sign_in_key where hash = ?1 and expires_ms > ?2";
            let name = t.query_row(sql, params![hash, now_ms], |row| row.get(0)).optional()?;
            t.execute("delete from sign_in_key where hash = ?1 or expires_ms <= ?2", params![hash, now_ms])?;
            Ok(name)
        })?;
        name.map_or(Ok(None), |name| self.person(&name))
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_session(&self, token: &str, person: &str, now_ms: i64, expires_ms: i64) -> Result<(), DeskError> {
        self.transaction(|t| {
            t.execute("delete from session where expires_ms <= ?1", [now_ms])?;
            let sql = "insert into session (hash, person, expires_ms) values (?1, ?2, ?3)";
            t.execute(sql, params![secret::hash(token), person, expires_ms])?;
            Ok(())
        })
    }

    /// Whose session it is.
    ///
    /// # Errors
    /// When the database fails.
    pub fn session(&self, token: &str, now_ms: i64) -> Result<Option<Person>, DeskError> {
        let sql = "select p.name, p.role, p.clearance from session s join person p on p.name = s.person \
                   where s.hash = ?1 and s.expires_ms > ?2";
        let found = self.lock().query_row(sql, params![secret::hash(token), now_ms], person_of).optional()?;
        found.map(foreign).transpose()
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_session(&self, token: &str) -> Result<(), DeskError> {
        self.lock().execute("delete from session where hash = ?1", [secret::hash(token)])?;
        Ok(())
    }

    // Clips and operations.

    /// What is known of a clip; made where nothing is, with the revision that its labels have now.
    ///
    /// # Errors
    /// When the database fails.
    pub fn clip(&self, name: &ClipName, newest_revision: i32) -> Result<ClipRow, DeskError> {
        self.transaction(|t| {
            t.execute(
                "insert into clip (vehicle, clip, base_revision, last_revision, finished_seq) values (?1, ?2, ?3, ?3, 0) \
                 on conflict (vehicle, clip) do nothing",
                params![name.vehicle, name.clip, newest_revision],
            )?;
            let sql = "select base_revision, last_revision, finishing_revision, finishing_seq, finished_seq from clip \
                       where vehicle = ?1 and clip = ?2";
            Ok(t.query_row(sql, params![name.vehicle, name.clip], |row| {
                Ok(ClipRow {
                    base_revision: row.get(0)?,
                    last_revision: row.get(1)?,
                    finishing_revision: row.get(2)?,
                    finishing_seq: row.get(3)?,
                    finished_seq: row.get(4)?,
                })
            })?)
        })
    }

    /// Says that a revision with everything up to an operation is about to be written, and what is to be told of it once it is.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_finish(&self, name: &ClipName, revision: i32, seq: i64, verdict: &Outgoing) -> Result<(), DeskError> {
        let sql =
            "update clip set finishing_revision = ?3, finishing_seq = ?4, finishing_message = ?5 where vehicle = ?1 and clip = ?2";
        let message = serde_json::to_string(verdict).map_err(|error| DeskError::Foreign(error.to_string()))?;
        self.lock().execute(sql, params![name.vehicle, name.clip, revision, seq, message])?;
        Ok(())
    }

    /// Says that a revision was not written from here after all.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_finish(&self, name: &ClipName) -> Result<(), DeskError> {
        let sql = "update clip set finishing_revision = null, finishing_message = null where vehicle = ?1 and clip = ?2";
        self.lock().execute(sql, params![name.vehicle, name.clip])?;
        Ok(())
    }

    /// Says that the revision whose writing was begun is written.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_finish(&self, name: &ClipName) -> Result<(), DeskError> {
        self.transaction(|t| {
            let sql = "select finishing_message from clip where vehicle = ?1 and clip = ?2 and finishing_revision is not null";
            let message: Option<String> =
                t.query_row(sql, params![name.vehicle, name.clip], |row| row.get(0)).optional()?.flatten();
            t.execute(
                "update clip set last_revision = finishing_revision, finished_seq = finishing_seq, finishing_revision = null, \
                 finishing_message = null where vehicle = ?1 and clip = ?2 and finishing_revision is not null",
                params![name.vehicle, name.clip],
            )?;
            let Some(message) = message else { return Ok(()) };
            let verdict: Outgoing = serde_json::from_str(&message)
                .map_err(|error| DeskError::Foreign(format!("the message of a revision of {name:?}: {error}")))?;
            put_outgoing(t, &verdict)
        })
    }

    /// The operations on a clip in their order.
    ///
    /// # Errors
    /// When the database fails, or holds what cannot be read.
    pub fn operations(&self, name: &ClipName) -> Result<Vec<Done>, DeskError> {
        let connection = self.lock();
        let mut query = connection.prepare(
            "select seq, id, person, at_ms, name, class, request, changes, undoes, spent_ms from operation \
             where vehicle = ?1 and clip = ?2 order by seq",
        )?;
        let rows = query.query_map(params![name.vehicle, name.clip], |row| {
            let (request, changes): (String, String) = (row.get(6)?, row.get(7)?);
            let done = Done {
                seq: row.get(0)?,
                id: row.get(1)?,
                person: row.get(2)?,
                at_ms: row.get(3)?,
                name: row.get(4)?,
                class: row.get(5)?,
                request: Value::Null,
                changes: Vec::new(),
                undoes: row.get(8)?,
                spent_ms: row.get(9)?,
            };
            Ok((done, request, changes))
        })?;
        let parse = |row: rusqlite::Result<(Done, String, String)>| {
            let (done, request, changes) = row?;
            let broken = |error: serde_json::Error| DeskError::Foreign(format!("operation {} of {name:?}: {error}", done.seq));
            let request = serde_json::from_str(&request).map_err(broken)?;
            let changes = serde_json::from_str(&changes).map_err(broken)?;
            Ok(Done { request, changes, ..done })
        };
        rows.map(parse).collect()
    }

    /// Adds an operation, together with the verdict that it is, if it is one.
    ///
    /// # Errors
    /// When the database fails, or somebody has taken its place in the history.
    pub fn add_operation(&self, name: &ClipName, done: &Done, verdict: Option<&Outgoing>) -> Result<(), DeskError> {
        let text = |value: serde_json::Result<String>| value.map_err(|error| DeskError::Foreign(error.to_string()));
        let (request, changes) = (text(serde_json::to_string(&done.request))?, text(serde_json::to_string(&done.changes))?);
        self.transaction(|t| {
            t.execute(
                "insert into operation (vehicle, clip, seq, id, person, at_ms, name, class, request, changes, undoes, spent_ms) \
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                params![
                    name.vehicle,
                    name.clip,
                    done.seq,
                    done.id,
                    done.person,
                    done.at_ms,
                    done.name,
                    done.class,
                    request,
                    changes,
                    done.undoes,
                    done.spent_ms
                ],
            )?;
            verdict.map_or(Ok(()), |verdict| put_outgoing(t, verdict))
        })
    }

    // Leases.

    /// Takes the first item in order that nobody else holds. The one statement that decides is an insert under a primary key inside one
    /// transaction, so of two people who ask at once only one gets it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn take_lease(
        &self,
        items: &[(ClipName, u32)],
        person: &str,
        now_ms: i64,
        expires_ms: i64,
    ) -> Result<Option<usize>, DeskError> {
        self.transaction(|t| {
            t.execute("delete from lease where expires_ms <= ?1", [now_ms])?;
            for (index, (name, track)) in items.iter().enumerate() {
                if lease(t, name, *track, person, expires_ms)? {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        })
    }

    /// Makes a lease last longer, or takes it where nobody has it. False where somebody else does.
    ///
    /// # Errors
    /// When the database fails.
    pub fn renew_lease(&self, name: &ClipName, track: u32, person: &str, now_ms: i64, expires_ms: i64) -> Result<bool, DeskError> {
        self.transaction(|t| {
            t.execute("delete from lease where expires_ms <= ?1", [now_ms])?;
            lease(t, name, track, person, expires_ms)
        })
    }

    /// Gives a lease back.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_lease(&self, name: &ClipName, track: u32, person: &str) -> Result<(), DeskError> {
        let sql = "delete from lease where vehicle = ?1 and clip = ?2 and track = ?3 and person = ?4";
        self.lock().execute(sql, params![name.vehicle, name.clip, track, person])?;
        Ok(())
    }

    /// Who works on a track, if it is somebody else.
    ///
    /// # Errors
    /// When the database fails.
    pub fn lease_of_another(&self, name: &ClipName, track: u32, person: &str, now_ms: i64) -> Result<Option<String>, DeskError> {
        let sql = "select person from lease where vehicle = ?1 and clip = ?2 and track = ?3 and person <> ?4 and expires_ms > ?5";
        Ok(self.lock().query_row(sql, params![name.vehicle, name.clip, track, person, now_ms], |row| row.get(0)).optional()?)
    }

    // Remarks.

    /// Adds a remark.
    ///
    /// # Errors
    /// When the database fails.
    pub fn add_remark(&self, name: &ClipName, remark: &Remark) -> Result<(), DeskError> {
        self.lock().execute(
            "insert into remark (id, vehicle, clip, track, sample, person, at_ms, error, body) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) on conflict (id) do nothing",
            params![
                remark.id,
                name.vehicle,
                name.clip,
                remark.track,
                remark.sample,
                remark.person,
                remark.at_ms,
                remark.error,
                remark.body
            ],
        )?;
        Ok(())
    }

    /// Settles a remark; false where there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub fn resolve_remark(&self, name: &ClipName, id: &str, person: &str) -> Result<bool, DeskError> {
        let sql = "update remark set resolved_by = ?4 where id = ?3 and vehicle = ?1 and clip = ?2";
        Ok(self.lock().execute(sql, params![name.vehicle, name.clip, id, person])? > 0)
    }

    /// The remarks on a clip, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn remarks(&self, name: &ClipName) -> Result<Vec<Remark>, DeskError> {
        let connection = self.lock();
        let mut query = connection.prepare(
            "select id, track, sample, person, at_ms, error, body, resolved_by from remark where vehicle = ?1 and clip = ?2 \
             order by at_ms, id",
        )?;
        let rows = query.query_map(params![name.vehicle, name.clip], |row| {
            Ok(Remark {
                id: row.get(0)?,
                track: row.get(1)?,
                sample: row.get(2)?,
                person: row.get(3)?,
                at_ms: row.get(4)?,
                error: row.get(5)?,
                body: row.get(6)?,
                resolved_by: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    // Audit, statistics, verdicts.

    /// Notes who did what.
    ///
    /// # Errors
    /// When the database fails.
    pub fn note(&self, at_ms: i64, person: &str, action: &str, name: Option<&ClipName>, detail: &str) -> Result<(), DeskError> {
        self.lock().execute(
            "insert into audit (at_ms, person, action, vehicle, clip, detail) values (?1, ?2, ?3, ?4, ?5, ?6)",
            params![at_ms, person, action, name.map(|name| &name.vehicle), name.map(|name| name.clip), detail],
        )?;
        Ok(())
    }

    /// The newest lines of the audit log that `keep` holds for, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn audit(&self, most: usize, keep: impl Fn(&Audited) -> bool) -> Result<Vec<Audited>, DeskError> {
        let connection = self.lock();
        let mut query = connection.prepare("select at_ms, person, action, vehicle, clip, detail from audit order by at_ms desc")?;
        let rows = query.query_map([], |row| {
            Ok(Audited {
                at_ms: row.get(0)?,
                person: row.get(1)?,
                action: row.get(2)?,
                vehicle: row.get(3)?,
                clip: row.get(4)?,
                detail: row.get(5)?,
            })
        })?;
        // Read row by row: what somebody may not see costs no place among what they may.
        Ok(rows.filter(|row| row.as_ref().map_or(true, &keep)).take(most).collect::<Result<_, _>>()?)
    }

    // Lots.

    /// Puts clips into a lot; a clip is in one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_lot(&self, lot: &str, clips: &[ClipName]) -> Result<(), DeskError> {
        self.transaction(|t| {
            for name in clips {
                t.execute(
                    "insert into lot (vehicle, clip, lot) values (?1, ?2, ?3) on conflict (vehicle, clip) do update set lot = excluded.lot",
                    params![name.vehicle, name.clip, lot],
                )?;
            }
            Ok(())
        })
    }

    /// The lot of each clip that was put into one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn lots(&self) -> Result<BTreeMap<ClipName, String>, DeskError> {
        let connection = self.lock();
        let mut query = connection.prepare("select vehicle, clip, lot from lot")?;
        let rows = query.query_map([], |row| Ok((ClipName { vehicle: row.get(0)?, clip: row.get(1)? }, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Verdicts that wait to be published, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn outgoing(&self, most: u32) -> Result<Vec<Outgoing>, DeskError> {
        let connection = self.lock();
        let mut query = connection.prepare("select id, vehicle, at_ms, body from outbox order by place limit ?1")?;
        let rows = query.query_map([most], |row| {
            Ok(Outgoing { id: row.get(0)?, vehicle: row.get(1)?, at_ms: row.get(2)?, body: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Takes out a verdict that the broker has.
    ///
    /// # Errors
    /// When the database fails.
    pub fn published(&self, id: &str) -> Result<(), DeskError> {
        self.lock().execute("delete from outbox where id = ?1", [id])?;
        Ok(())
    }
}

fn put_outgoing(t: &Transaction<'_>, verdict: &Outgoing) -> Result<(), DeskError> {
    t.execute(
        "insert into outbox (id, vehicle, at_ms, body, place) \
         values (?1, ?2, ?3, ?4, (select coalesce(max(place), 0) + 1 from outbox)) on conflict (id) do nothing",
        params![verdict.id, verdict.vehicle, verdict.at_ms, verdict.body],
    )?;
    Ok(())
}

/// Columns that a database of an earlier day does not have, with their types.
const ADDED_COLUMNS: [(&str, &str); 3] = [
    ("clip", "finishing_seq bigint not null default 0"),
    ("clip", "finishing_message text"),
    ("outbox", "place bigint not null default 0"),
];

fn add_column(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<()> {
    let name = column.split(' ').next().unwrap_or(column);
    let there: i64 =
        connection.query_row("select count(*) from pragma_table_info(?1) where name = ?2", [table, name], |row| row.get(0))?;
    if there == 0 {
        connection.execute_batch(&format!("alter table {table} add column {column}"))?;
    }
    Ok(())
}

/// Takes or renews one lease; false where somebody else has it. Leases that are over must be gone.
fn lease(t: &Transaction<'_>, name: &ClipName, track: u32, person: &str, expires_ms: i64) -> Result<bool, DeskError> {
    let changed = t.execute(
        "insert into lease (vehicle, clip, track, person, expires_ms) values (?1, ?2, ?3, ?4, ?5) on conflict (vehicle, clip, track) \
         do update set expires_ms = excluded.expires_ms where lease.person = excluded.person",
        params![name.vehicle, name.clip, track, person, expires_ms],
    )?;
    Ok(changed > 0)
}

type RawPerson = (String, String, String);

fn person_of(row: &Row<'_>) -> rusqlite::Result<RawPerson> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn foreign((name, role, clearance): RawPerson) -> Result<Person, DeskError> {
    let (role, clearance) = (role.parse::<Role>(), clearance.parse::<Grade>());
    match (role, clearance) {
        (Ok(role), Ok(clearance)) => Ok(Person { name, role, clearance }),
        (Err(error), _) | (_, Err(error)) => Err(DeskError::Foreign(format!("account {name:?}: {error}"))),
    }
}

#[cfg(test)]
mod tests;
