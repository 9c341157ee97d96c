//! The tables: made on first use, and refused where they are not ours.

use super::sql::{Session, values};
use crate::error::DeskError;

/// What makes the tables, in both databases.
pub(super) const SQL: &str = include_str!("schema.sql");

/// Version of the tables. A database bears the one that it was last opened by; a higher one is refused, because what it means is not known
/// here. 2 came with `oidc_identity`.
pub(super) const VERSION: i64 = 2;

/// A column of each table that no table of another program with that name is likely to have.
const TELLING: [(&str, &str); 13] = [
    ("desk", "value"),
    ("person", "clearance"),
    ("oidc_identity", "subject"),
    ("sign_in_key", "expires_ms"),
    ("session", "expires_ms"),
    ("attempt", "at_ms"),
    ("clip", "base_revision"),
    ("operation", "changes"),
    ("lease", "expires_ms"),
    ("remark", "resolved_by"),
    ("audit", "detail"),
    ("lot", "lot"),
    ("outbox", "body"),
];

/// Refuses tables of another program and of a newer version, before anything is written. `columns` asks for the columns of a table.
pub(super) fn check(session: &mut dyn Session, database: &str, columns: &'static str, cure: &str) -> Result<(), DeskError> {
    let refused = |why: String| DeskError::Open { database: database.to_owned(), why, hint: cure.to_owned() };
    let mut has_desk = false;
    for (table, telling) in TELLING {
        let there: Vec<String> = session.all(columns, values![table], |row| row.get(0))?;
        if !there.is_empty() && !there.iter().any(|column| column == telling) {
            let got = there.join(", ");
            return Err(refused(format!("expected the table {table} of a review, with a column {telling}, got one with {got}")));
        }
        has_desk |= table == "desk" && !there.is_empty();
    }
    let Some(version) = (if has_desk { version(session)? } else { None }) else { return Ok(()) };
    match version.parse::<i64>() {
        Ok(number) if number <= VERSION => Ok(()),
        _ => Err(refused(format!(
            "expected tables of version {VERSION} or older, got version {version}: it was opened by a newer program"
        ))),
    }
}

/// Notes the version, once the tables are as it says.
pub(super) fn stamp(session: &mut dyn Session) -> Result<(), DeskError> {
    let sql = "insert into desk (name, value) values ('schema', ?1) on conflict (name) do update set value = excluded.value";
    session.execute(sql, values![VERSION.to_string()])?;
    Ok(())
}

fn version(session: &mut dyn Session) -> Result<Option<String>, DeskError> {
    session.first("select value from desk where name = 'schema'", &[], |row| row.get(0))
}
