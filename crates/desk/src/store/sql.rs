//! What the two databases have in common: numbers, text, statements with numbered values, rows.
//!
//! Statements are written with `?1`, `?2`, …, as SQLite has them, and no other question mark. The schema knows whole numbers and text only, so
//! that one kind of value does for both.

use crate::error::DeskError;

/// What stands in a column, or takes the place of a `?1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Text(String),
}

impl Cell {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Integer(_) => "a number",
            Self::Text(_) => "text",
        }
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i32> for Cell {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Values of a statement, in the order of their numbers.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::sql::Cell::from($value)),*] };
}
pub(super) use values;

/// Refuses what PostgreSQL cannot keep, in both databases alike: a zero byte in a text.
pub(super) fn check(values: &[Cell]) -> Result<(), DeskError> {
    let has_zero = |value: &Cell| matches!(value, Cell::Text(text) if text.contains('\0'));
    if values.iter().any(has_zero) {
        return Err(DeskError::Request("expected text without a zero byte, got one".to_owned()));
    }
    Ok(())
}

/// A row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row(pub(super) Vec<Cell>);

impl Row {
    /// The value of a column, from 0.
    pub(super) fn get<T: FromCell>(&self, column: usize) -> Result<T, DeskError> {
        let value = self.0.get(column).unwrap_or(&Cell::Null);
        T::from_cell(value).ok_or_else(|| {
            DeskError::Foreign(format!("expected {} in column {column} of an answer, got {}", T::KIND, value.kind()))
        })
    }
}

/// What a column can be read as.
pub(super) trait FromCell: Sized {
    /// For the message where something else stands there.
    const KIND: &'static str;
    fn from_cell(value: &Cell) -> Option<Self>;
}

impl FromCell for i64 {
    const KIND: &'static str = "a number";
    fn from_cell(value: &Cell) -> Option<Self> {
        if let Cell::Integer(number) = value { Some(*number) } else { None }
    }
}

impl FromCell for i32 {
    const KIND: &'static str = "a number of 32 bits";
    fn from_cell(value: &Cell) -> Option<Self> {
        i64::from_cell(value)?.try_into().ok()
    }
}

impl FromCell for u32 {
    const KIND: &'static str = "a number from 0 of 32 bits";
    fn from_cell(value: &Cell) -> Option<Self> {
        i64::from_cell(value)?.try_into().ok()
    }
}

impl FromCell for String {
    const KIND: &'static str = "text";
    fn from_cell(value: &Cell) -> Option<Self> {
        if let Cell::Text(text) = value { Some(text.clone()) } else { None }
    }
}

impl<T: FromCell> FromCell for Option<T> {
    const KIND: &'static str = T::KIND;
    fn from_cell(value: &Cell) -> Option<Self> {
        if *value == Cell::Null { Some(None) } else { T::from_cell(value).map(Some) }
    }
}

/// Runs statements: within a transaction or, to read, without one.
pub(super) trait Session {
    /// Changes something; how many rows.
    fn execute(&mut self, sql: &'static str, values: &[Cell]) -> Result<u64, DeskError>;

    /// Shows rows one after the other, until `visit` says that it has seen enough (false). However many there are, few are in memory.
    fn each(
        &mut self,
        sql: &'static str,
        values: &[Cell],
        visit: &mut dyn FnMut(Row) -> Result<bool, DeskError>,
    ) -> Result<(), DeskError>;

    /// All rows.
    fn query(&mut self, sql: &'static str, values: &[Cell]) -> Result<Vec<Row>, DeskError>;
}

impl dyn Session + '_ {
    /// All rows, read.
    pub(super) fn all<T>(
        &mut self,
        sql: &'static str,
        values: &[Cell],
        read: impl Fn(&Row) -> Result<T, DeskError>,
    ) -> Result<Vec<T>, DeskError> {
        self.query(sql, values)?.iter().map(read).collect()
    }

    /// The first row, read, where there is one.
    pub(super) fn first<T>(
        &mut self,
        sql: &'static str,
        values: &[Cell],
        read: impl Fn(&Row) -> Result<T, DeskError>,
    ) -> Result<Option<T>, DeskError> {
        self.query(sql, values)?.first().map(read).transpose()
    }
}
