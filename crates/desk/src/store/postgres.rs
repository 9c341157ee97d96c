//! PostgreSQL, by its address: one connection, which holds the database for one server.
//!
//! Nobody else may write, because the desk has the labels in memory and would work on stale ones. Two things see to it:
//!
//! - An advisory lock that the connection holds. Who cannot have it is refused at the start. PostgreSQL gives it back when the connection ends.
//! - A number that every start of a server raises, its term. Each transaction first locks the row of that number (so that transactions follow
//!   one after the other, whatever the isolation) and looks whether it is still ours. A server that lost its connection comes back to its term,
//!   or learns that another one has been there and does nothing more.
//!
//! A connection that is lost before a transaction has begun is replaced, and nobody notices. One that is lost within it takes the transaction
//! with it: the request fails and may be sent again. One that is lost while the answer to `commit` is awaited leaves open whether it was
//! kept; the desk then reads what there is before it goes on ([`super::Store::operations`]). The old connection cannot end its work after that,
//! because the new one has the lock only when the old one is gone.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, NoTls, SimpleQueryMessage, Statement};

use super::place::{PostgresPlace, told};
use super::schema;
use super::sql::{self, Cell, Row, Session, values};
use crate::error::DeskError;

/// Tries to come back to a server, and how long there is between the first two; then twice as long each time. Less than two seconds in all,
/// because others wait, and long enough for a server that is being started again.
const TRIES: u32 = 5;
/// See [`TRIES`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// After that many tries in vain, requests fail at once for so long: a queue of them must not try one after the other.
const REST: Duration = Duration::from_secs(1);
/// Tries to have the lock at the start, 50 ms apart: a server that was just killed may still be ending.
const LOCK_TRIES: u32 = 10;
/// Names our advisory locks among those of other programs in the same database: `bxwr`.
const LOCK_CLASS: i32 = 0x6278_7772;

/// A database of a PostgreSQL server.
pub(super) struct Postgres {
    place: PostgresPlace,
    /// Number of this start.
    term: String,
    /// The connection, while nothing runs on it. Whatever breaks off within a transaction does not put it back, which ends it and the
    /// transaction.
    live: Option<Live>,
    /// The connection that there was last, by process and start.
    last: Option<(i64, String)>,
    /// See [`REST`].
    rest_until: Option<(Instant, String)>,
    /// Another server has worked here since: there is no way back.
    is_over: bool,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres({}, term {})", self.place, self.term)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(live) = self.live.take() else { return };
        // The client runs a small event loop of its own, also to say goodbye, and must not do so within another one: a server that stops drops
        // its desk there. Where no thread can be had the process is about to end, and the connection with it.
        if let Ok(thread) = std::thread::Builder::new().name("desk-db-end".to_owned()).spawn(move || drop(live)) {
            let _ = thread.join();
        }
    }
}

/// What went wrong, as far as it matters what to do then.
enum Fault {
    /// The connection is gone.
    Lost(String),
    /// Something else, and the connection stands.
    Other(DeskError),
}

impl Postgres {
    pub(super) fn open(place: &PostgresPlace) -> Result<Self, DeskError> {
        let refused = |why: String, hint: &str| DeskError::Open { database: place.to_string(), why, hint: hint.to_owned() };
        let mut live = Live::connect(place).map_err(|error| refused(told(&error), hint_of(&error)))?;
        let failed = |error: postgres::Error| refused(told(&error), hint_of(&error));
        let row = live.client.query_one(
            "select current_setting('server_encoding'), current_setting('fsync'), coalesce(current_schema()::text, '')",
            &[],
        );
        let row = row.map_err(failed)?;
        let (encoding, fsync, schema) = (row.get::<_, String>(0), row.get::<_, String>(1), row.get::<_, String>(2));
        if encoding != "UTF8" {
            return Err(refused(
                format!("expected the encoding UTF8, got {encoding}"),
                "create database NAME encoding 'UTF8' template template0",
            ));
        }
        if schema.is_empty() {
            return Err(refused(
                "expected a schema to make tables in, got none".to_owned(),
                "create schema NAME, with the name of the search path",
            ));
        }
        if fsync != "on" {
            tracing::warn!("{place} runs with fsync = {fsync}: what people are told is kept may be lost when its machine fails");
        }
        if !live.lock(LOCK_TRIES).map_err(failed)? {
            let holder = live.holder().map_err(failed)?;
            let hint = "another server works on it: one a database, or one a schema (?options=-csearch_path%3DNAME)";
            return Err(refused(format!("another server works on it{holder}"), hint));
        }
        // From here on nobody else is at work.
        let lasting = |fault| match fault {
            Fault::Lost(why) => refused(why, "is the server being stopped?"),
            Fault::Other(error) => error,
        };
        let shown = place.to_string();
        live.begin(None).map_err(lasting)?;
        schema::check(
            &mut Running(&mut live),
            &shown,
            COLUMNS,
            "another database, or another schema (?options=-csearch_path%3DNAME)",
        )?;
        live.client.batch_execute(schema::SQL).map_err(failed)?;
        schema::stamp(&mut Running(&mut live))?;
        let term = raise_term(&mut Running(&mut live))?;
        live.commit().map_err(lasting)?;
        let last = Some(live.who.clone());
        Ok(Self { place: place.clone(), term, live: Some(live), last, rest_until: None, is_over: false })
    }

    /// Runs statements that change nothing; a second time where the connection was gone.
    pub(super) fn read<T>(&mut self, work: impl Fn(&mut dyn Session) -> Result<T, DeskError>) -> Result<T, DeskError> {
        for _ in 0..2 {
            let mut live = self.live()?;
            let done = work(&mut Running(&mut live));
            match (done, live.lost.take()) {
                (done, None) => {
                    self.live = Some(live);
                    return done;
                }
                (_, Some(why)) => tracing::warn!("lost the review database {}: {why}", self.place),
            }
        }
        Err(self.lost("the connection ends again and again"))
    }

    /// Runs statements in one transaction, which is on the disk when this returns.
    pub(super) fn write<T>(&mut self, work: impl FnOnce(&mut dyn Session) -> Result<T, DeskError>) -> Result<T, DeskError> {
        let mut live = self.begun()?;
        let done = work(&mut Running(&mut live));
        if let Some(why) = live.lost.take() {
            return Err(self.lost(&why));
        }
        let ended = if done.is_ok() { live.commit() } else { live.rollback() };
        match ended {
            Ok(()) => self.live = Some(live),
            Err(Fault::Lost(why)) => return Err(self.lost(&why)),
            // Refused as a whole; a connection of which nobody knows how it stands is not used again.
            Err(Fault::Other(error)) => return Err(error),
        }
        done
    }

    /// A connection with a transaction begun in it.
    fn begun(&mut self) -> Result<Live, DeskError> {
        for _ in 0..2 {
            let mut live = self.live()?;
            match live.begin(Some(&self.term)) {
                Ok(true) => return Ok(live),
                Ok(false) => return Err(self.taken()),
                Err(Fault::Other(error)) => return Err(error),
                // Nothing was asked for yet, so it is asked for anew.
                Err(Fault::Lost(why)) => tracing::warn!("lost the review database {}: {why}", self.place),
            }
        }
        Err(self.lost("the connection ends again and again"))
    }

    /// The connection, or another one in its place.
    fn live(&mut self) -> Result<Live, DeskError> {
        if self.is_over {
            return Err(self.taken());
        }
        if let Some(live) = self.live.take().filter(|live| !live.client.is_closed()) {
            return Ok(live);
        }
        if let Some((_, why)) = self.rest_until.as_ref().filter(|(until, _)| Instant::now() < *until) {
            return Err(self.lost(why));
        }
        let (mut why, mut pause) = (String::new(), FIRST_PAUSE);
        for turn in 0..TRIES {
            if turn > 0 {
                std::thread::sleep(pause);
                pause *= 2;
            }
            match self.rejoined() {
                Ok(Some(live)) => {
                    tracing::info!("the review database {} answers again", self.place);
                    self.last = Some(live.who.clone());
                    self.rest_until = None;
                    return Ok(live);
                }
                Ok(None) => return Err(self.taken()),
                Err(error) => why = error,
            }
        }
        self.rest_until = Some((Instant::now() + REST, why.clone()));
        Err(self.lost(&why))
    }

    /// A new connection that holds the lock, within the old term; none where the term is over.
    fn rejoined(&self) -> Result<Option<Live>, String> {
        let mut live = Live::connect(&self.place).map_err(|error| told(&error))?;
        if let Some((process, started)) = &self.last {
            // A server that did not hear of the end of our old connection would keep its lock for hours.
            live.end(*process, started).map_err(|error| told(&error))?;
        }
        if !live.lock(1).map_err(|error| told(&error))? {
            let holder = live.holder().map_err(|error| told(&error))?;
            return Err(format!("another server works on it{holder}"));
        }
        let found = live.client.query_opt("select value from desk where name = 'term'", &[]).map_err(|error| told(&error))?;
        let is_ours = found.is_some_and(|row| row.get::<_, String>(0) == self.term);
        Ok(is_ours.then_some(live))
    }

    fn lost(&self, why: &str) -> DeskError {
        DeskError::Lost { database: self.place.to_string(), why: why.to_owned() }
    }

    fn taken(&mut self) -> DeskError {
        self.is_over = true;
        DeskError::Taken { database: self.place.to_string() }
    }
}

/// The columns of a table in the schema that is worked in.
const COLUMNS: &str = "select column_name::text from information_schema.columns where table_schema = current_schema() and table_name = ?1 \
                       order by ordinal_position";

fn raise_term(session: &mut dyn Session) -> Result<String, DeskError> {
    let sql = "insert into desk (name, value) values ('term', '0') on conflict (name) do nothing";
    session.execute(sql, &[])?;
    let term: Option<String> = session.first("select value from desk where name = 'term'", &[], |row| row.get(0))?;
    let term = term.and_then(|term| term.parse::<i64>().ok());
    let term = term.ok_or_else(|| DeskError::Foreign("expected a number as the term of the last server, got none".to_owned()))?;
    let next = term.saturating_add(1).to_string();
    session.execute("update desk set value = ?1 where name = 'term'", values![&next])?;
    Ok(next)
}

/// What to do about an error at the start.
fn hint_of(error: &postgres::Error) -> &'static str {
    match error.code().map(postgres::error::SqlState::code) {
        Some("28P01" | "28000") => "PGPASSWORD or ~/.pgpass gives the password, and USER@ in the address the name",
        Some("3D000") => "create database NAME",
        Some("42501") => "the account needs the right to create tables there",
        Some("53300") => "the server has as many connections as it takes",
        Some(_) => "name another database with --db",
        None if told(error).contains("password") => "PGPASSWORD or ~/.pgpass gives it",
        None => "does it run, and is it reached from here?",
    }
}

/// A connection.
struct Live {
    client: Client,
    /// Statements that the server knows already: as many as there are in this folder.
    statements: HashMap<&'static str, Statement>,
    /// Process of the server that serves it, and when that began.
    who: (i64, String),
    /// Why it is gone, once it is.
    lost: Option<String>,
}

impl Live {
    fn connect(place: &PostgresPlace) -> Result<Self, postgres::Error> {
        let mut client = place.config.connect(NoTls)?;
        // Never waits for ever: a statement of the desk takes milliseconds, and nobody else holds its rows. What an administrator has set for
        // durability is kept where it is more than we need.
        client.batch_execute(
            "set statement_timeout = '30s'; set lock_timeout = '10s'; set idle_in_transaction_session_timeout = '60s'; \
             set client_min_messages = warning; set default_transaction_isolation = 'read committed'; \
             select set_config('synchronous_commit', 'on', false) \
             where current_setting('synchronous_commit') in ('off', 'local', 'remote_write')",
        )?;
        let row = client.query_one(
            "select pg_backend_pid()::bigint, coalesce((select extract(epoch from backend_start)::text from pg_stat_activity \
             where pid = pg_backend_pid()), '')",
            &[],
        )?;
        let who = (row.get(0), row.get(1));
        Ok(Self { client, statements: HashMap::new(), who, lost: None })
    }

    /// Takes the lock of the schema that is worked in; false where another connection has it.
    fn lock(&mut self, tries: u32) -> Result<bool, postgres::Error> {
        for turn in 0..tries {
            if turn > 0 {
                std::thread::sleep(Duration::from_millis(50));
            }
            let sql = format!("select pg_try_advisory_lock({LOCK_CLASS}, {LOCK_KEY})");
            if self.client.query_one(&*sql, &[])?.get::<_, bool>(0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Who has the lock, for a message.
    fn holder(&mut self) -> Result<String, postgres::Error> {
        let sql = format!(
            "select coalesce(host(a.client_addr), 'the machine of the database') || ' as ' || coalesce(a.usename::text, '?') || ' since ' \
             || to_char(a.backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC' \
             from pg_locks l join pg_stat_activity a on a.pid = l.pid \
             where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.classid::bigint = {LOCK_CLASS} \
             and l.database = (select oid from pg_database where datname = current_database()) \
             and l.objid::bigint = ({LOCK_KEY}::bigint & 4294967295)"
        );
        let found = self.client.query_opt(&*sql, &[])?;
        Ok(found.and_then(|row| row.get::<_, Option<String>>(0)).map(|holder| format!(" from {holder}")).unwrap_or_default())
    }

    /// Ends an old connection of ours, if it is still there.
    fn end(&mut self, process: i64, started: &str) -> Result<(), postgres::Error> {
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity where pid::bigint = $1 and extract(epoch from backend_start)::text = $2 \
                   and usename = current_user";
        self.client.query(sql, &[&process, &started])?;
        Ok(())
    }

    /// Begins a transaction that no other follows into, and holds the term against the one that is expected; true where it is that one.
    fn begin(&mut self, term: Option<&str>) -> Result<bool, Fault> {
        let Some(term) = term else {
            self.client.batch_execute("begin").map_err(fault)?;
            return Ok(true);
        };
        let messages = self.client.simple_query("begin; select value from desk where name = 'term' for update").map_err(fault)?;
        let found = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(found == Some(term))
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.client.batch_execute("commit").map_err(fault)
    }

    fn rollback(&mut self) -> Result<(), Fault> {
        self.client.batch_execute("rollback").map_err(fault)
    }
}

/// Key of the lock, as SQL: the schema's number, moved into the range of a signed one.
const LOCK_KEY: &str = "(select (oid::bigint - 2147483648)::int from pg_namespace where nspname = current_schema())";

fn fault(error: postgres::Error) -> Fault {
    if is_lost(&error) { Fault::Lost(told(&error)) } else { Fault::Other(DeskError::Database(told(&error))) }
}

fn is_lost(error: &postgres::Error) -> bool {
    if let Some(error) = error.as_db_error() {
        // 57P: the server is being stopped or has crashed. 08: the connection failed. 25P03: we were idle for too long.
        let code = error.code().code();
        return error.severity() == "FATAL" || error.severity() == "PANIC" || code.starts_with("57P") || code.starts_with("08");
    }
    let is_io = std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>());
    error.is_closed() || is_io
}

struct Running<'a>(&'a mut Live);

/// Notes that the connection is gone where it is.
fn failed(lost: &mut Option<String>, error: &postgres::Error) -> DeskError {
    if is_lost(error) {
        *lost = Some(told(error));
    }
    DeskError::Database(told(error))
}

impl Running<'_> {
    fn prepared(&mut self, sql: &'static str) -> Result<Statement, DeskError> {
        if let Some(statement) = self.0.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.0.client.prepare(&sql.replace('?', "$")).map_err(|error| failed(&mut self.0.lost, &error))?;
        self.0.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

fn parameters(values: &[Cell]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

impl Session for Running<'_> {
    fn execute(&mut self, sql: &'static str, values: &[Cell]) -> Result<u64, DeskError> {
        sql::check(values)?;
        let statement = self.prepared(sql)?;
        self.0.client.execute(&statement, &parameters(values)).map_err(|error| failed(&mut self.0.lost, &error))
    }

    fn each(
        &mut self,
        sql: &'static str,
        values: &[Cell],
        visit: &mut dyn FnMut(Row) -> Result<bool, DeskError>,
    ) -> Result<(), DeskError> {
        sql::check(values)?;
        let statement = self.prepared(sql)?;
        let mut rows = self.0.client.query_raw(&statement, values).map_err(|error| failed(&mut self.0.lost, &error))?;
        // One row at a time is held here, and what is not asked for is thrown away by the client.
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    if !visit(row_of(&row)?)? {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    drop(rows);
                    return Err(failed(&mut self.0.lost, &error));
                }
            }
        }
    }

    fn query(&mut self, sql: &'static str, values: &[Cell]) -> Result<Vec<Row>, DeskError> {
        sql::check(values)?;
        let statement = self.prepared(sql)?;
        let rows = self.0.client.query(&statement, &parameters(values)).map_err(|error| failed(&mut self.0.lost, &error))?;
        rows.iter().map(row_of).collect()
    }
}

fn row_of(row: &postgres::Row) -> Result<Row, DeskError> {
    let value = |column| row.try_get::<_, Cell>(column).map_err(|error| DeskError::Foreign(told(&error)));
    Ok(Row((0..row.len()).map(value).collect::<Result<_, _>>()?))
}

type Unfit = Box<dyn std::error::Error + Sync + Send>;

impl ToSql for Cell {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Unfit> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) if *ty == Type::INT4 => i32::try_from(*number)?.to_sql(ty, out),
            Self::Integer(number) if *ty == Type::INT8 => number.to_sql(ty, out),
            Self::Text(text) if <&str as ToSql>::accepts(ty) => text.as_str().to_sql(ty, out),
            Self::Integer(_) | Self::Text(_) => Err(format!("expected a value of type {ty}, got another one").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Cell {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Unfit> {
        match *ty {
            Type::INT4 => Ok(Self::Integer(i32::from_sql(ty, raw)?.into())),
            Type::INT8 => Ok(Self::Integer(i64::from_sql(ty, raw)?)),
            _ => Ok(Self::Text(String::from_sql(ty, raw)?)),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Unfit> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::INT4 || *ty == Type::INT8 || <String as FromSql<'_>>::accepts(ty)
    }
}
