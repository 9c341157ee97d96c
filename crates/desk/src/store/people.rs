//! Who may enter: accounts, who they are at a provider of identities, sign-in links, and sessions.

use super::Store;
use super::sql::{Row, Session, values};
use crate::error::DeskError;
use crate::people::{Grade, Person, Role};
use crate::secret;

/// Who somebody is at a provider of identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The provider.
    pub(crate) issuer: String,
    /// Its own name for them, for ever; never shown as a name.
    pub(crate) subject: String,
}

/// Whose an account is to be at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// As it is.
    Same,
    /// Nobody's there.
    Nobodys,
    /// This one's.
    Of(Identity),
}

impl Store {
    /// Makes an account or changes its role and clearance; a password that is not given stays.
    ///
    /// # Errors
    /// When a password is given to an account of the provider, or the database fails.
    pub fn put_person(&self, person: &Person, password: Option<&str>) -> Result<(), DeskError> {
        self.put_account(person, password, &Whose::Same)
    }

    /// The same, and gives the account to an identity or to none: all of it, or nothing.
    ///
    /// # Errors
    /// When another account has the identity, a password is given to an account of the provider, or the database fails.
    pub(crate) fn put_account(&self, person: &Person, password: Option<&str>, whose: &Whose) -> Result<(), DeskError> {
        let password = password.map(secret::hash_password);
        self.write(|t| {
            match whose {
                Whose::Same => {}
                Whose::Nobodys => give(t, &person.name, None)?,
                Whose::Of(identity) => give(t, &person.name, Some(identity))?,
            }
            if password.is_some() && identity_of(t, &person.name)?.is_some() {
                // It would open the account also to somebody whom the provider refuses.
                return Err(DeskError::Forbidden(format!(
                    "expected a name of this desk for a password, got {:?}, who signs in by the provider\nhint: an empty subject takes the account \
                     back from the provider",
                    person.name
                )));
            }
            t.execute(
                "insert into person (name, role, clearance, password) values (?1, ?2, ?3, ?4) on conflict (name) do update \
                 set role = excluded.role, clearance = excluded.clearance, password = coalesce(excluded.password, person.password)",
                values![&person.name, person.role.as_str(), person.clearance.as_str(), password],
            )?;
            Ok(())
        })
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn people(&self) -> Result<Vec<Person>, DeskError> {
        let mut people = self.read(|s| s.all("select name, role, clearance from person", &[], person_of))?;
        // Sorted here: databases differ in the order of letters.
        people.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(people)
    }

    /// The account whose password this is.
    ///
    /// # Errors
    /// When the database fails.
    pub fn person_by_password(&self, name: &str, password: &str) -> Result<Option<Person>, DeskError> {
        let stored: Option<Option<String>> =
            self.read(|s| s.first("select password from person where name = ?1", values![name], |row| row.get(0)))?;
        // Hashed in every case, so that the time tells nobody which names there are.
        let fits = secret::check_password(password, stored.flatten().as_deref());
        Ok(self.person(name)?.filter(|_| fits))
    }

    /// One account.
    ///
    /// # Errors
    /// When the database fails.
    pub fn person(&self, name: &str) -> Result<Option<Person>, DeskError> {
        self.read(|s| s.first("select name, role, clearance from person where name = ?1", values![name], person_of))
    }

    /// The account of an identity, with the rights of `person`; made under their name where the identity has none yet. None where that name is
    /// taken: an account is never somebody's because of its name. One that the provider calls otherwise by now keeps its name here.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn enter(&self, identity: &Identity, person: &Person) -> Result<Option<Person>, DeskError> {
        let (role, clearance) = (person.role.as_str(), person.clearance.as_str());
        self.write(|t| {
            let name = match account_of(t, identity)? {
                Some(name) => name,
                None => {
                    let sql = "insert into person (name, role, clearance) values (?1, ?2, ?3) on conflict (name) do nothing";
                    if t.execute(sql, values![&person.name, role, clearance])? == 0 {
                        return Ok(None);
                    }
                    let sql = "insert into oidc_identity (issuer, subject, person) values (?1, ?2, ?3)";
                    t.execute(sql, values![&identity.issuer, &identity.subject, &person.name])?;
                    person.name.clone()
                }
            };
            t.execute("update person set role = ?2, clearance = ?3 where name = ?1", values![&name, role, clearance])?;
            Ok(Some(Person { name, ..person.clone() }))
        })
    }

    /// Who an account is at a provider, if it is one's.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn identity_of(&self, name: &str) -> Result<Option<Identity>, DeskError> {
        self.read(|s| identity_of(s, name))
    }

    /// Notes that somebody tries a password, before it is looked at; false where too many were tried since a moment. One transaction, so
    /// that of many who try at once no more get through than one after the other.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_attempt(&self, name: &str, now_ms: i64, since_ms: i64, most: i64) -> Result<bool, DeskError> {
        self.write(|t| {
            // Anybody can try any name: what counts no more is not kept.
            t.execute("delete from attempt where at_ms <= ?1", values![since_ms])?;
            let tried: Option<i64> = t.first("select count(*) from attempt where name = ?1", values![name], |row| row.get(0))?;
            if tried.is_none_or(|tried| tried >= most) {
                return Ok(false);
            }
            t.execute("insert into attempt (name, at_ms) values (?1, ?2)", values![name, now_ms])?;
            Ok(true)
        })
    }

    /// Forgets what was tried under a name whose password was right.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_attempts(&self, name: &str) -> Result<(), DeskError> {
        self.write_one("delete from attempt where name = ?1", values![name])?;
        Ok(())
    }

    /// Remembers the key of a sign-in link.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_key(&self, key: &str, person: &str, expires_ms: i64) -> Result<(), DeskError> {
        let sql = "insert into sign_in_key (hash, person, expires_ms) values (?1, ?2, ?3)";
        self.write_one(sql, values![secret::hash(key), person, expires_ms])?;
        Ok(())
    }

    /// Uses up a key: the account that it opens.
    ///
    /// # Errors
    /// When the database fails.
    pub fn take_key(&self, key: &str, now_ms: i64) -> Result<Option<Person>, DeskError> {
        let name: Option<String> = self.write(|t| {
            let hash = secret::hash(key);
            let sql = "select person from sign_in_key where hash = ?1 and expires_ms > ?2";
            let name = t.first(sql, values![&hash, now_ms], |row| row.get(0))?;
            t.execute("delete from sign_in_key where hash = ?1 or expires_ms <= ?2", values![&hash, now_ms])?;
            Ok(name)
        })?;
        name.map_or(Ok(None), |name| self.person(&name))
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_session(&self, token: &str, person: &str, now_ms: i64, expires_ms: i64) -> Result<(), DeskError> {
        self.write(|t| {
            t.execute("delete from session where expires_ms <= ?1", values![now_ms])?;
            let sql = "insert into session (hash, person, expires_ms) values (?1, ?2, ?3)";
            t.execute(sql, values![secret::hash(token), person, expires_ms])?;
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
        self.read(|s| s.first(sql, values![secret::hash(token), now_ms], person_of))
    }

    /// Ends all sessions of an identity.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) fn end_sessions(&self, identity: &Identity) -> Result<(), DeskError> {
        let sql = "delete from session where person in (select person from oidc_identity where issuer = ?1 and subject = ?2)";
        self.write_one(sql, values![&identity.issuer, &identity.subject])?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_session(&self, token: &str) -> Result<(), DeskError> {
        self.write_one("delete from session where hash = ?1", values![secret::hash(token)])?;
        Ok(())
    }
}

/// Gives an account to an identity or to none. Whoever had it before has nothing of it any more, and one of the provider is opened by nothing
/// else: who is refused there would come in all the same.
fn give(t: &mut dyn Session, name: &str, identity: Option<&Identity>) -> Result<(), DeskError> {
    if let Some(identity) = identity
        && let Some(other) = account_of(t, identity)?.filter(|other| other != name)
    {
        return Err(DeskError::Request(format!("expected a subject without an account, got that of {other:?}")));
    }
    if identity_of(t, name)?.as_ref() == identity {
        return Ok(());
    }
    for sql in [
        "delete from session where person = ?1",
        "delete from sign_in_key where person = ?1",
        "update person set password = null where name = ?1",
        "delete from oidc_identity where person = ?1",
    ] {
        t.execute(sql, values![name])?;
    }
    if let Some(identity) = identity {
        let sql = "insert into oidc_identity (issuer, subject, person) values (?1, ?2, ?3)";
        t.execute(sql, values![&identity.issuer, &identity.subject, name])?;
    }
    Ok(())
}

fn identity_of(s: &mut dyn Session, name: &str) -> Result<Option<Identity>, DeskError> {
    let sql = "select issuer, subject from oidc_identity where person = ?1";
    s.first(sql, values![name], |row| Ok(Identity { issuer: row.get(0)?, subject: row.get(1)? }))
}

fn account_of(t: &mut dyn Session, identity: &Identity) -> Result<Option<String>, DeskError> {
    let sql = "select person from oidc_identity where issuer = ?1 and subject = ?2";
    t.first(sql, values![&identity.issuer, &identity.subject], |row| row.get(0))
}

fn person_of(row: &Row) -> Result<Person, DeskError> {
    let (name, role, clearance): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    match (role.parse::<Role>(), clearance.parse::<Grade>()) {
        (Ok(role), Ok(clearance)) => Ok(Person { name, role, clearance }),
        (Err(error), _) | (_, Err(error)) => Err(DeskError::Foreign(format!("account {name:?}: {error}"))),
    }
}
