//! Who is there: accounts, sign-in links, passwords and sessions.

use super::{Desk, allow};
use crate::error::DeskError;
use crate::people::{Person, Right, is_name};
use crate::secret;

/// How long a session lasts: a shift with its breaks.
const SESSION_MS: i64 = 12 * 3_600_000;
/// How long a sign-in link can be used.
const KEY_MS: i64 = 24 * 3_600_000;
/// Wrong passwords for one name after which it is closed for a while, and for how long.
const WRONG_PASSWORDS: i64 = 5;
/// See [`WRONG_PASSWORDS`].
const CLOSED_MS: i64 = 60_000;
/// Shortest password.
const PASSWORD_CHARS: usize = 10;

impl Desk {
    /// Makes or changes an account and returns the key of a link that signs it in once.
    ///
    /// # Errors
    /// When the database fails.
    pub fn invite(&self, person: &Person, now_ms: i64) -> Result<String, DeskError> {
        self.store().put_person(person, None)?;
        let key = secret::token();
        self.store().put_key(&key, &person.name, now_ms + KEY_MS)?;
        self.store().note(now_ms, &person.name, "invited", None, person.role.as_str())?;
        Ok(key)
    }

    /// Opens a session with the key of a link.
    ///
    /// # Errors
    /// When the key opens nothing, or the database fails.
    pub fn sign_in_by_key(&self, key: &str, now_ms: i64) -> Result<(String, Person), DeskError> {
        let Some(person) = self.store().take_key(key, now_ms)? else {
            return Err(DeskError::SignIn("this link was used before or is too old: ask for another one".to_owned()));
        };
        self.open_session(person, now_ms)
    }

    /// Opens a session with a password.
    ///
    /// # Errors
    /// When the two do not fit, the name was tried too often, or the database fails.
    pub fn sign_in(&self, name: &str, password: &str, now_ms: i64) -> Result<(String, Person), DeskError> {
        if !is_name(name) {
            // No account has it, and anybody could fill the audit with it.
            return Err(DeskError::SignIn("wrong name or password".to_owned()));
        }
        if !self.store().begin_attempt(name, now_ms, now_ms - CLOSED_MS, WRONG_PASSWORDS)? {
            return Err(DeskError::TooMany(format!("{WRONG_PASSWORDS} wrong passwords within a minute: wait a minute")));
        }
        match self.store().person_by_password(name, password)? {
            Some(person) => {
                self.store().end_attempts(name)?;
                self.open_session(person, now_ms)
            }
            None => {
                self.store().note(now_ms, name, "refused", None, "wrong name or password")?;
                Err(DeskError::SignIn("wrong name or password".to_owned()))
            }
        }
    }

    fn open_session(&self, person: Person, now_ms: i64) -> Result<(String, Person), DeskError> {
        let token = secret::token();
        self.store().put_session(&token, &person.name, now_ms, now_ms + SESSION_MS)?;
        self.store().note(now_ms, &person.name, "signed in", None, "")?;
        Ok((token, person))
    }

    /// Whose session it is.
    ///
    /// # Errors
    /// When it is nobody's, or the database fails.
    pub fn person(&self, token: &str, now_ms: i64) -> Result<Person, DeskError> {
        self.store().session(token, now_ms)?.ok_or_else(|| DeskError::SignIn("nobody is signed in".to_owned()))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the database fails.
    pub fn sign_out(&self, token: &str) -> Result<(), DeskError> {
        self.store().end_session(token)
    }

    /// All accounts.
    ///
    /// # Errors
    /// When the person may not, or the database fails.
    pub fn people(&self, person: &Person) -> Result<Vec<Person>, DeskError> {
        allow(person, Right::Oversee)?;
        self.store().people()
    }

    /// Makes or changes an account.
    ///
    /// # Errors
    /// When the person may not, name or password are none, or the database fails.
    pub fn put_person(&self, person: &Person, account: &Person, password: Option<&str>, now_ms: i64) -> Result<(), DeskError> {
        allow(person, Right::Administer)?;
        account.check().map_err(DeskError::Request)?;
        // Nobody gives what they do not have, to themselves either, nor takes it from those who have more.
        let standing = self.store().people()?.into_iter().find(|one| one.name == account.name).map(|one| one.clearance);
        if let Some(grade) = [Some(account.clearance), standing].into_iter().flatten().find(|grade| *grade > person.clearance) {
            self.store().note(now_ms, &person.name, "not cleared", None, &account.name)?;
            return Err(DeskError::Clearance { grade, clearance: person.clearance });
        }
        if password.is_some_and(|password| password.chars().count() < PASSWORD_CHARS) {
            return Err(DeskError::Request(format!("expected a password of {PASSWORD_CHARS} characters or more")));
        }
        self.store().put_person(account, password)?;
        let detail = format!("{} {} {}", account.name, account.role, account.clearance);
        self.store().note(now_ms, &person.name, "account", None, &detail)
    }
}
