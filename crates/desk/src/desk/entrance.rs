//! Who is there: accounts, sign-in links, passwords, a provider of identities, and sessions.

use super::{Desk, allow};
use crate::error::DeskError;
use crate::oidc::{Arrival, Begun, Brought, Oidc, OidcSetup, SUBJECT_CHARS, shown};
use crate::people::{Person, Right, is_name};
use crate::secret;
use crate::store::{Identity, Whose};

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

/// Somebody who came in by the provider.
#[derive(Clone, Debug)]
pub struct Entered {
    /// Token of their session.
    pub token: String,
    /// Who.
    pub person: Person,
    /// Where in the page they go on: a fragment of its address, or nothing.
    pub place: String,
}

impl Desk {
    /// Makes or changes an account and returns the key of a link that signs it in once.
    ///
    /// # Errors
    /// When the account is the provider's, or the database fails.
    pub fn invite(&self, person: &Person, now_ms: i64) -> Result<String, DeskError> {
        if self.store().identity_of(&person.name)?.is_some() {
            // Whoever took that name there would have the rights of whoever is meant here.
            return Err(DeskError::Forbidden(format!(
                "expected a name of this desk for a sign-in link, got {:?}, who signs in by the provider\nhint: --account with another name, or \
                 leave it out",
                person.name
            )));
        }
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
        self.open_session(person, "signed in", "", SESSION_MS, now_ms)
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
                self.open_session(person, "signed in", "", SESSION_MS, now_ms)
            }
            None => {
                self.store().note(now_ms, name, "refused", None, "wrong name or password")?;
                Err(DeskError::SignIn("wrong name or password".to_owned()))
            }
        }
    }

    fn open_session(
        &self,
        person: Person,
        how: &str,
        detail: &str,
        lasts_ms: i64,
        now_ms: i64,
    ) -> Result<(String, Person), DeskError> {
        let token = secret::token();
        self.store().put_session(&token, &person.name, now_ms, now_ms + lasts_ms)?;
        self.store().note(now_ms, &person.name, how, None, detail)?;
        Ok((token, person))
    }

    /// The provider that people may sign in by.
    #[must_use]
    pub fn provider(&self) -> Option<&OidcSetup> {
        self.oidc.as_ref().map(Oidc::setup)
    }

    fn oidc(&self) -> Result<&Oidc, DeskError> {
        self.oidc.as_ref().ok_or_else(|| DeskError::NotFound("nobody signs in by a provider here".to_owned()))
    }

    /// Whether the provider answers, and is the one that was named.
    ///
    /// # Errors
    /// When not, or when there is none.
    pub fn check_provider(&self, now_ms: i64) -> Result<(), DeskError> {
        self.oidc()?.check(now_ms)
    }

    /// Begins a sign-in by the provider: of a browser that shows the page from `origin` at `place`, and may have a cookie of an earlier one.
    ///
    /// # Errors
    /// When there is no provider, it does not answer, or the page is shown from elsewhere.
    pub fn begin_sign_in(&self, origin: &str, place: &str, browser: Option<&str>, now_ms: i64) -> Result<Begun, DeskError> {
        self.oidc()?.begin(origin, place, browser, now_ms)
    }

    /// Ends a sign-in by the provider: opens a session for whom it vouches for. Role and clearance are those of this moment.
    ///
    /// # Errors
    /// When the provider does not vouch for anybody, they may not enter, their name is somebody else's, or the database fails.
    pub fn finish_sign_in(&self, brought: &Brought, browser: Option<&str>, now_ms: i64) -> Result<Entered, DeskError> {
        let oidc = self.oidc()?;
        let Arrival { identity, person, place } = match oidc.finish(brought, browser, now_ms) {
            Ok(arrival) => arrival,
            Err(refusal) => {
                if let Some(identity) = &refusal.outcast {
                    self.store().end_sessions(identity)?;
                }
                if refusal.is_noted {
                    self.note_refused(refusal.name.as_deref(), &refusal.error, now_ms)?;
                }
                return Err(refusal.error);
            }
        };
        let name = person.name.clone();
        let Some(person) = self.store().enter(&identity, &person)? else {
            let hint = format!(
                "an administrator gives the account to the subject {:?} by POST /api/people, or the provider tells another name",
                shown(&identity.subject)
            );
            let why = match self.store().identity_of(&name)? {
                Some(_) => "belongs to another subject of the provider",
                None => "signs in by links or a password",
            };
            let error =
                DeskError::Forbidden(format!("expected an account {name:?} that is yours, got one that {why}\nhint: {hint}"));
            self.note_refused(Some(&name), &error, now_ms)?;
            return Err(error);
        };
        let lasts_ms = SESSION_MS.min(oidc.setup().session_ms);
        // The provider has just given them, maybe others than before.
        let rights = format!("{} {}", person.role, person.clearance);
        let (token, person) = self.open_session(person, "signed in by oidc", &rights, lasts_ms, now_ms)?;
        Ok(Entered { token, person, place })
    }

    fn note_refused(&self, name: Option<&str>, error: &DeskError, now_ms: i64) -> Result<(), DeskError> {
        let told = error.to_string();
        // Without the hint, and never longer than a line.
        let why = shown(told.lines().next().unwrap_or_default());
        self.store().note(now_ms, name.unwrap_or("unknown"), "refused by oidc", None, &why)
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

    /// Makes or changes an account, and gives it to a subject of the provider, or, where that is empty, to nobody there: all of it, or
    /// nothing. Who has another subject than before loses sessions, links and password.
    ///
    /// # Errors
    /// When the person may not, name, password or subject are none, there is no provider, the subject has another account, a password is given to
    /// an account of the provider, or the database fails.
    pub fn put_person(
        &self,
        person: &Person,
        account: &Person,
        password: Option<&str>,
        subject: Option<&str>,
        now_ms: i64,
    ) -> Result<(), DeskError> {
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
        let mut detail = format!("{} {} {}", account.name, account.role, account.clearance);
        let mut whose = Whose::Same;
        if let Some(subject) = subject {
            let issuer = self.oidc()?.setup().issuer.clone();
            if subject.chars().count() > SUBJECT_CHARS {
                return Err(DeskError::Request(format!("expected a subject of at most {SUBJECT_CHARS} characters")));
            }
            detail = format!("{detail} subject {}", shown(subject));
            let identity = Identity { issuer, subject: subject.to_owned() };
            whose = if subject.is_empty() { Whose::Nobodys } else { Whose::Of(identity) };
        }
        self.store().put_account(account, password, &whose)?;
        self.store().note(now_ms, &person.name, "account", None, &detail)
    }
}
