//! SQLite, in the program: one file, held exclusively.

use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, TransactionBehavior};

use super::schema;
use super::sql::{self, Cell, Row, Session};
use crate::error::DeskError;

/// A database in a file.
#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, DeskError> {
        let refused = |error: rusqlite::Error| {
            let why = error.to_string();
            let hint =
                if why.contains("locked") { "another server works on it: one a database" } else { "name another file with --db" };
            DeskError::Open { database: path.display().to_string(), why, hint: hint.to_owned() }
        };
        let connection = Connection::open(path).map_err(refused)?;
        // Whoever holds the file holds it until they end: to wait is of no use.
        connection.busy_timeout(std::time::Duration::from_millis(200)).map_err(refused)?;
        for (name, value) in [("locking_mode", "exclusive"), ("journal_mode", "wal"), ("synchronous", "full")] {
            connection.pragma_update(None, name, value).map_err(refused)?;
        }
        let mut sqlite = Self { connection };
        let shown = path.display().to_string();
        sqlite.write(|t| schema::check(t, &shown, COLUMNS, "name another file with --db"))?;
        sqlite.connection.execute_batch(schema::SQL).map_err(refused)?;
        for (table, column) in ADDED_COLUMNS {
            add_column(&sqlite.connection, table, column).map_err(refused)?;
        }
        sqlite.write(schema::stamp)?;
        Ok(sqlite)
    }

    /// Runs statements that change nothing.
    pub(super) fn read<T>(&mut self, work: impl Fn(&mut dyn Session) -> Result<T, DeskError>) -> Result<T, DeskError> {
        work(&mut Running(&self.connection))
    }

    /// Runs statements in one transaction, which is on the disk when this returns.
    pub(super) fn write<T>(&mut self, work: impl FnOnce(&mut dyn Session) -> Result<T, DeskError>) -> Result<T, DeskError> {
        // What is dropped before its end, by an error or a panic, is rolled back.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&mut Running(&transaction))?;
        transaction.commit()?;
        Ok(done)
    }
}

/// The columns of a table.
const COLUMNS: &str = "select name from pragma_table_info(?1)";

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

struct Running<'a>(&'a Connection);

impl Session for Running<'_> {
    fn execute(&mut self, sql: &'static str, values: &[Cell]) -> Result<u64, DeskError> {
        sql::check(values)?;
        let changed = self.0.prepare(sql)?.execute(rusqlite::params_from_iter(values))?;
        Ok(changed as u64)
    }

    fn each(
        &mut self,
        sql: &'static str,
        values: &[Cell],
        visit: &mut dyn FnMut(Row) -> Result<bool, DeskError>,
    ) -> Result<(), DeskError> {
        sql::check(values)?;
        let mut statement = self.0.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let read = |column| cell_of(row.get_ref(column)?);
            if !visit(Row((0..columns).map(read).collect::<Result<_, DeskError>>()?))? {
                break;
            }
        }
        Ok(())
    }

    fn query(&mut self, sql: &'static str, values: &[Cell]) -> Result<Vec<Row>, DeskError> {
        let mut all = Vec::new();
        self.each(sql, values, &mut |row| {
            all.push(row);
            Ok(true)
        })?;
        Ok(all)
    }
}

impl rusqlite::ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

fn cell_of(value: ValueRef<'_>) -> Result<Cell, DeskError> {
    match value {
        ValueRef::Null => Ok(Cell::Null),
        ValueRef::Integer(number) => Ok(Cell::Integer(number)),
        ValueRef::Text(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|error| DeskError::Foreign(format!("a text: {error}")))?;
            Ok(Cell::Text(text.to_owned()))
        }
        other => Err(DeskError::Foreign(format!("expected a number or text, got {}", other.data_type()))),
    }
}
