//! The database of the desk: who may enter, what was done, who works on what.
//!
//! Everything that a person does is one transaction that is on the disk when the answer goes out (`synchronous = full`, `synchronous_commit =
//! on`), so a server that is killed has lost nothing that anybody was told of. Operations are only ever added. All SQL of the desk is in this
//! file, in `people.rs` and in `schema.sql`, and is the same for both databases; what differs is in
//! `sqlite.rs` and `postgres.rs`. One server works on a database: a second one is refused at the start instead of working on stale labels.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::DeskError;
use crate::labels::Change;
use crate::secret;

mod sql;

mod schema;

mod sqlite;

mod postgres;

mod people;

mod place;

pub(crate) use people::{Identity, Whose};
pub use place::{Place, PostgresDefaults, PostgresPlace};

use self::postgres::Postgres;
use self::sql::{Cell, Session, values};
use self::sqlite::Sqlite;

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
    /// One after the other: the desk's transactions take a millisecond, and it plans and writes revisions outside of them.
    backend: Mutex<Backend>,
}

#[derive(Debug)]
enum Backend {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

impl Store {
    /// Opens or makes the database.
    ///
    /// # Errors
    /// When it cannot be opened, is none of ours, is of a newer version, or another server works on it.
    pub fn open(place: &Place) -> Result<Self, DeskError> {
        let backend = match place {
            Place::File(path) => Backend::Sqlite(Sqlite::open(path)?),
            Place::Postgres(place) => Backend::Postgres(Box::new(Postgres::open(place)?)),
        };
        Ok(Self { backend: Mutex::new(backend) })
    }

    fn backend(&self) -> MutexGuard<'_, Backend> {
        // A transaction that a panic broke off was rolled back when it was dropped.
        self.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs statements that change nothing; twice, where the connection was gone.
    fn read<T>(&self, work: impl Fn(&mut dyn Session) -> Result<T, DeskError>) -> Result<T, DeskError> {
        match &mut *self.backend() {
            Backend::Sqlite(sqlite) => sqlite.read(work),
            Backend::Postgres(postgres) => postgres.read(work),
        }
    }

    /// Runs statements in one transaction: all are on the disk when this returns, or none are. Where the answer of the database got lost,
    /// nobody knows which ([`DeskError::Lost`]).
    fn write<T>(&self, work: impl FnOnce(&mut dyn Session) -> Result<T, DeskError>) -> Result<T, DeskError> {
        match &mut *self.backend() {
            Backend::Sqlite(sqlite) => sqlite.write(work),
            Backend::Postgres(postgres) => postgres.write(work),
        }
    }

    fn write_one(&self, sql: &'static str, values: &[Cell]) -> Result<u64, DeskError> {
        self.write(|t| t.execute(sql, values))
    }

    /// What tells this database from every other one, for ever: pages keep what they could not send yet under it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn identity(&self) -> Result<String, DeskError> {
        self.write(|t| {
            let sql = "insert into desk (name, value) values ('identity', ?1) on conflict (name) do nothing";
            t.execute(sql, values![secret::token()])?;
            let found = t.first("select value from desk where name = 'identity'", &[], |row| row.get(0))?;
            found.ok_or_else(|| DeskError::Foreign("expected the identity that was just stored, got none".to_owned()))
        })
    }

    // Clips and operations.

    /// What is known of a clip; made where nothing is, with the revision that its labels have now.
    ///
    /// # Errors
    /// When the database fails.
    pub fn clip(&self, name: &ClipName, newest_revision: i32) -> Result<ClipRow, DeskError> {
        self.write(|t| {
            t.execute(
                "insert into clip (vehicle, clip, base_revision, last_revision, finished_seq) values (?1, ?2, ?3, ?3, 0) \
                 on conflict (vehicle, clip) do nothing",
                values![&name.vehicle, name.clip, newest_revision],
            )?;
            let sql = "select base_revision, last_revision, finishing_revision, finishing_seq, finished_seq from clip \
                       where vehicle = ?1 and clip = ?2";
            let found = t.first(sql, values![&name.vehicle, name.clip], |row| {
                Ok(ClipRow {
                    base_revision: row.get(0)?,
                    last_revision: row.get(1)?,
                    finishing_revision: row.get(2)?,
                    finishing_seq: row.get(3)?,
                    finished_seq: row.get(4)?,
                })
            })?;
            found.ok_or_else(|| DeskError::Foreign(format!("expected the clip {name:?} that was just stored, got none")))
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
        self.write_one(sql, values![&name.vehicle, name.clip, revision, seq, message])?;
        Ok(())
    }

    /// Says that a revision was not written from here after all.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_finish(&self, name: &ClipName) -> Result<(), DeskError> {
        let sql = "update clip set finishing_revision = null, finishing_message = null where vehicle = ?1 and clip = ?2";
        self.write_one(sql, values![&name.vehicle, name.clip])?;
        Ok(())
    }

    /// Says that the revision whose writing was begun is written.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_finish(&self, name: &ClipName) -> Result<(), DeskError> {
        self.write(|t| {
            let sql = "select finishing_message from clip where vehicle = ?1 and clip = ?2 and finishing_revision is not null";
            let message: Option<Option<String>> = t.first(sql, values![&name.vehicle, name.clip], |row| row.get(0))?;
            t.execute(
                "update clip set last_revision = finishing_revision, finished_seq = finishing_seq, finishing_revision = null, \
                 finishing_message = null where vehicle = ?1 and clip = ?2 and finishing_revision is not null",
                values![&name.vehicle, name.clip],
            )?;
            let Some(message) = message.flatten() else { return Ok(()) };
            let verdict: Outgoing = serde_json::from_str(&message)
                .map_err(|error| DeskError::Foreign(format!("the message of a revision of {name:?}: {error}")))?;
            put_outgoing(t, &verdict)
        })
    }

    /// The operations on a clip in their order, after a place in its history (0: all).
    ///
    /// # Errors
    /// When the database fails, or holds what cannot be read.
    pub fn operations(&self, name: &ClipName, after: i64) -> Result<Vec<Done>, DeskError> {
        let sql = "select seq, id, person, at_ms, name, class, request, changes, undoes, spent_ms from operation \
                   where vehicle = ?1 and clip = ?2 and seq > ?3 order by seq";
        self.read(|s| {
            s.all(sql, values![&name.vehicle, name.clip, after], |row| {
                let (seq, request, changes): (i64, String, String) = (row.get(0)?, row.get(6)?, row.get(7)?);
                let broken = |error: serde_json::Error| DeskError::Foreign(format!("operation {seq} of {name:?}: {error}"));
                Ok(Done {
                    seq,
                    id: row.get(1)?,
                    person: row.get(2)?,
                    at_ms: row.get(3)?,
                    name: row.get(4)?,
                    class: row.get(5)?,
                    request: serde_json::from_str(&request).map_err(broken)?,
                    changes: serde_json::from_str(&changes).map_err(broken)?,
                    undoes: row.get(8)?,
                    spent_ms: row.get(9)?,
                })
            })
        })
    }

    /// Adds an operation, together with the verdict that it is, if it is one.
    ///
    /// # Errors
    /// When the database fails, or somebody has taken its place in the history.
    pub fn add_operation(&self, name: &ClipName, done: &Done, verdict: Option<&Outgoing>) -> Result<(), DeskError> {
        let text = |value: serde_json::Result<String>| value.map_err(|error| DeskError::Foreign(error.to_string()));
        let (request, changes) = (text(serde_json::to_string(&done.request))?, text(serde_json::to_string(&done.changes))?);
        self.write(|t| {
            t.execute(
                "insert into operation (vehicle, clip, seq, id, person, at_ms, name, class, request, changes, undoes, spent_ms) \
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                values![
                    &name.vehicle,
                    name.clip,
                    done.seq,
                    &done.id,
                    &done.person,
                    done.at_ms,
                    &done.name,
                    &done.class,
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
        self.write(|t| {
            t.execute("delete from lease where expires_ms <= ?1", values![now_ms])?;
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
        self.write(|t| {
            t.execute("delete from lease where expires_ms <= ?1", values![now_ms])?;
            lease(t, name, track, person, expires_ms)
        })
    }

    /// Gives a lease back.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_lease(&self, name: &ClipName, track: u32, person: &str) -> Result<(), DeskError> {
        let sql = "delete from lease where vehicle = ?1 and clip = ?2 and track = ?3 and person = ?4";
        self.write_one(sql, values![&name.vehicle, name.clip, track, person])?;
        Ok(())
    }

    /// Who works on a track, if it is somebody else.
    ///
    /// # Errors
    /// When the database fails.
    pub fn lease_of_another(&self, name: &ClipName, track: u32, person: &str, now_ms: i64) -> Result<Option<String>, DeskError> {
        let sql = "select person from lease where vehicle = ?1 and clip = ?2 and track = ?3 and person <> ?4 and expires_ms > ?5";
        self.read(|s| s.first(sql, values![&name.vehicle, name.clip, track, person, now_ms], |row| row.get(0)))
    }

    // Remarks.

    /// Adds a remark.
    ///
    /// # Errors
    /// When the database fails.
    pub fn add_remark(&self, name: &ClipName, remark: &Remark) -> Result<(), DeskError> {
        self.write_one(
            "insert into remark (id, vehicle, clip, track, sample, person, at_ms, error, body) \
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) on conflict (id) do nothing",
            values![
                &remark.id,
                &name.vehicle,
                name.clip,
                remark.track,
                remark.sample,
                &remark.person,
                remark.at_ms,
                remark.error.as_deref(),
                &remark.body
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
        Ok(self.write_one(sql, values![&name.vehicle, name.clip, id, person])? > 0)
    }

    /// The remarks on a clip, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn remarks(&self, name: &ClipName) -> Result<Vec<Remark>, DeskError> {
        let sql = "select id, track, sample, person, at_ms, error, body, resolved_by from remark where vehicle = ?1 and clip = ?2 \
                   order by at_ms, id";
        self.read(|s| {
            s.all(sql, values![&name.vehicle, name.clip], |row| {
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
            })
        })
    }

    // Audit, statistics, verdicts.

    /// Notes who did what.
    ///
    /// # Errors
    /// When the database fails.
    pub fn note(&self, at_ms: i64, person: &str, action: &str, name: Option<&ClipName>, detail: &str) -> Result<(), DeskError> {
        self.write_one(
            "insert into audit (at_ms, person, action, vehicle, clip, detail) values (?1, ?2, ?3, ?4, ?5, ?6)",
            values![at_ms, person, action, name.map(|name| &name.vehicle), name.map(|name| name.clip), detail],
        )?;
        Ok(())
    }

    /// The newest lines of the audit log that `keep` holds for, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn audit(&self, most: usize, keep: impl Fn(&Audited) -> bool) -> Result<Vec<Audited>, DeskError> {
        self.read(|s| {
            let mut kept = Vec::new();
            let sql = "select at_ms, person, action, vehicle, clip, detail from audit order by at_ms desc";
            // Row by row: what somebody may not see costs no place among what they may.
            s.each(sql, &[], &mut |row| {
                let line = Audited {
                    at_ms: row.get(0)?,
                    person: row.get(1)?,
                    action: row.get(2)?,
                    vehicle: row.get(3)?,
                    clip: row.get(4)?,
                    detail: row.get(5)?,
                };
                if kept.len() < most && keep(&line) {
                    kept.push(line);
                }
                Ok(kept.len() < most)
            })?;
            Ok(kept)
        })
    }

    // Lots.

    /// Puts clips into a lot; a clip is in one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_lot(&self, lot: &str, clips: &[ClipName]) -> Result<(), DeskError> {
        self.write(|t| {
            for name in clips {
                t.execute(
                    "insert into lot (vehicle, clip, lot) values (?1, ?2, ?3) on conflict (vehicle, clip) do update set lot = excluded.lot",
                    values![&name.vehicle, name.clip, lot],
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
        let rows = self.read(|s| {
            s.all("select vehicle, clip, lot from lot", &[], |row| {
                Ok((ClipName { vehicle: row.get(0)?, clip: row.get(1)? }, row.get(2)?))
            })
        })?;
        Ok(rows.into_iter().collect())
    }

    /// Verdicts that wait to be published, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn outgoing(&self, most: u32) -> Result<Vec<Outgoing>, DeskError> {
        self.read(|s| {
            s.all("select id, vehicle, at_ms, body from outbox order by place limit ?1", values![most], |row| {
                Ok(Outgoing { id: row.get(0)?, vehicle: row.get(1)?, at_ms: row.get(2)?, body: row.get(3)? })
            })
        })
    }

    /// Takes out a verdict that the broker has.
    ///
    /// # Errors
    /// When the database fails.
    pub fn published(&self, id: &str) -> Result<(), DeskError> {
        self.write_one("delete from outbox where id = ?1", values![id])?;
        Ok(())
    }
}

fn put_outgoing(t: &mut dyn Session, verdict: &Outgoing) -> Result<(), DeskError> {
    t.execute(
        "insert into outbox (id, vehicle, at_ms, body, place) \
         values (?1, ?2, ?3, ?4, (select coalesce(max(place), 0) + 1 from outbox)) on conflict (id) do nothing",
        values![&verdict.id, &verdict.vehicle, verdict.at_ms, &verdict.body],
    )?;
    Ok(())
}

/// Takes or renews one lease; false where somebody else has it. Leases that are over must be gone.
fn lease(t: &mut dyn Session, name: &ClipName, track: u32, person: &str, expires_ms: i64) -> Result<bool, DeskError> {
    let changed = t.execute(
        "insert into lease (vehicle, clip, track, person, expires_ms) values (?1, ?2, ?3, ?4, ?5) on conflict (vehicle, clip, track) \
         do update set expires_ms = excluded.expires_ms where lease.person = excluded.person",
        values![&name.vehicle, name.clip, track, person, expires_ms],
    )?;
    Ok(changed > 0)
}

#[cfg(test)]
mod tests;
