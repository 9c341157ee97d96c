//! Sign-in through a provider of identities: OpenID Connect, authorization code flow with PKCE.
//!
//! ```text
//! page ─ POST /oidc ──────────► begin: state, nonce, PKCE verifier; a cookie binds them to the browser
//! browser ─► provider ─► GET /oidc/callback?code&state
//!                               finish: cookie and state fit, once ─► code for tokens ─► ID token checked ─► who, and with which rights
//! ```
//!
//! Somebody is who the provider says by issuer and subject; a name is only what they are called here. Rights come from the groups, anew with
//! every sign-in. What is on its way is kept in memory: it is worth ten minutes, and anybody may begin it, so it costs no disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::DeskError;
use crate::people::{Person, is_name};
use crate::secret;
use crate::store::Identity;

mod setup;

mod provider;

mod token;

pub(crate) use setup::CALLBACK;
pub use setup::OidcSetup;

use self::provider::{Metadata, Provider};
use self::token::{Expected, Fault};

/// How long somebody may take at the provider.
pub(crate) const ON_THE_WAY_MS: i64 = 600_000;
/// Sign-ins that are on their way at one time, some 500 bytes each. Beyond it the oldest is forgotten.
const MOST_ON_THE_WAY: usize = 10_000;
/// Of them, those of one browser: so many windows wait at the provider at most. Beyond it that browser's own oldest is forgotten.
const MOST_OF_A_BROWSER: usize = 16;
/// Longest subject (OpenID Connect Core 1.0, section 2).
pub(crate) const SUBJECT_CHARS: usize = 255;
/// Longest place in the page to come back to.
const PLACE_CHARS: usize = 500;
/// Longest code and state; providers send some hundred bytes, some of them two thousand.
const ANSWER_CHARS: usize = 8_192;
/// Of what others have written, so much is shown.
const SHOWN_CHARS: usize = 200;

/// A provider and the sign-ins that are on their way there.
pub(crate) struct Oidc {
    setup: Arc<OidcSetup>,
    provider: Provider,
    /// By state.
    on_the_way: Mutex<HashMap<String, OnTheWay>>,
}

struct OnTheWay {
    /// Hash of the browser's cookie.
    browser: String,
    nonce: String,
    verifier: String,
    place: String,
    begun_ms: i64,
}

/// A sign-in that was begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub address: String,
    /// What its cookie must say when it comes back.
    pub browser: String,
}

/// What a browser brings from the provider.
#[derive(Clone, Default)]
pub struct Brought {
    /// Names the sign-in.
    pub state: String,
    /// What tokens are had for.
    pub code: Option<String>,
    /// Who answers (RFC 9207).
    pub issuer: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// The same in words.
    pub description: Option<String>,
}

/// Somebody whom the provider vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) identity: Identity,
    /// What the provider calls them, and what they may.
    pub(crate) person: Person,
    /// Where in the page they go on.
    pub(crate) place: String,
}

/// A sign-in that is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Why.
    pub(crate) error: DeskError,
    /// The provider has given a token: this is for the audit. What anybody can send without one is not.
    pub(crate) is_noted: bool,
    /// What the provider calls them, where that is known.
    pub(crate) name: Option<String>,
    /// Who they are there, where they are refused because they may not enter any more: sessions from before are over then.
    pub(crate) outcast: Option<Identity>,
}

impl From<DeskError> for Box<Refusal> {
    fn from(error: DeskError) -> Self {
        Self::new(Refusal { error, is_noted: false, name: None, outcast: None })
    }
}

impl Oidc {
    pub(crate) fn new(setup: OidcSetup) -> Result<Self, DeskError> {
        let setup = Arc::new(setup);
        Ok(Self { provider: Provider::new(setup.clone())?, setup, on_the_way: Mutex::default() })
    }

    pub(crate) fn setup(&self) -> &OidcSetup {
        &self.setup
    }

    /// Whether the provider answers, and is the one that was named.
    pub(crate) fn check(&self, now_ms: i64) -> Result<(), DeskError> {
        let metadata = self.provider.metadata(now_ms)?;
        self.provider.keys(&metadata, false, now_ms)?;
        Ok(())
    }

    /// Begins a sign-in of a browser that shows the page from `origin`, at `place` in it (a fragment of its address). A browser that brings
    /// the cookie of another sign-in keeps it, so that two windows do not hinder each other.
    pub(crate) fn begin(&self, origin: &str, place: &str, browser: Option<&str>, now_ms: i64) -> Result<Begun, DeskError> {
        let here = self.setup.origin();
        if origin != here {
            // The provider sends everybody there, and the cookie would be here.
            return Err(DeskError::Request(format!(
                "expected a sign-in from {here}, got one from {}\nhint: open the review at {here}/",
                shown(origin)
            )));
        }
        let metadata = self.provider.metadata(now_ms)?;
        let browser = browser.filter(|text| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let browser = browser.map_or_else(secret::token, str::to_owned);
        let (state, nonce, verifier) = (secret::token(), secret::token(), secret::token());
        let mut address = metadata.authorization.clone();
        address.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.setup.client_id),
            ("redirect_uri", &self.setup.redirect_uri()),
            ("scope", &self.setup.scopes),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))),
            ("code_challenge_method", "S256"),
        ]);
        let begun = OnTheWay { browser: secret::hash(&browser), nonce, verifier, place: place_in_page(place), begun_ms: now_ms };
        let mut all = self.on_the_way.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, one| is_on_the_way(one, now_ms));
        let of_browser = all.values().filter(|one| one.browser == begun.browser).count();
        if of_browser >= MOST_OF_A_BROWSER {
            forget_oldest(&mut all, |one| one.browser == begun.browser);
        } else if all.len() >= MOST_ON_THE_WAY {
            forget_oldest(&mut all, |_| true);
        }
        all.insert(state, begun);
        Ok(Begun { address: address.into(), browser })
    }

    /// Ends a sign-in with what the browser brings from the provider. Each is ended once, whatever comes of it.
    pub(crate) fn finish(&self, brought: &Brought, browser: Option<&str>, now_ms: i64) -> Result<Arrival, Box<Refusal>> {
        let begun = self.take(&brought.state, browser, now_ms)?;
        let metadata = self.provider.metadata(now_ms)?;
        self.answered_by(brought, &metadata)?;
        if let Some(error) = &brought.error {
            let described = brought.description.as_deref().map(|text| format!(" ({})", shown(text))).unwrap_or_default();
            return Err(DeskError::SignIn(format!("the provider refused the sign-in: {}{described}", shown(error))).into());
        }
        let code = brought.code.as_deref().filter(|code| !code.is_empty() && code.len() <= ANSWER_CHARS);
        let code = code.ok_or_else(|| DeskError::Request("expected a code from the provider, got none".to_owned()))?;
        let tokens = self.provider.redeem(&metadata, code, &begun.verifier)?;
        let noted = |error: DeskError, name: Option<String>| Box::new(Refusal { error, is_noted: true, name, outcast: None });
        let claims = self.claims(&metadata, &tokens.id_token, &begun, now_ms).map_err(|error| noted(error, None))?;
        // Checked with the token.
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (mut name, mut groups) = self.setup.name_and_groups(&claims);
        if let (true, Some(access_token)) = (name.is_none() || groups.is_none(), &tokens.access_token) {
            let more = self.provider.person(&metadata, access_token, &subject).map_err(|error| noted(error, name.clone()))?;
            let (more_name, more_groups) = self.setup.name_and_groups(&more);
            (name, groups) = (name.or(more_name), groups.or(more_groups));
        }
        let Some(name) = name.filter(|name| is_name(name)) else {
            let claim = &self.setup.name_claim;
            let why = format!(
                "expected a name in the claim {claim}, got none that an account can have\nhint: name_claim names another one"
            );
            return Err(noted(DeskError::Forbidden(why), None));
        };
        let identity = Identity { issuer: self.setup.issuer.clone(), subject };
        match self.setup.rights(&groups.unwrap_or_default()) {
            Ok((role, clearance)) => Ok(Arrival { identity, person: Person { name, role, clearance }, place: begun.place }),
            Err(why) => {
                let error = DeskError::Forbidden(why);
                Err(Box::new(Refusal { error, is_noted: true, name: Some(name), outcast: Some(identity) }))
            }
        }
    }

    /// The sign-in of a state, if it is this browser's. Whoever brings another browser's does not end it.
    fn take(&self, state: &str, browser: Option<&str>, now_ms: i64) -> Result<OnTheWay, DeskError> {
        let unknown = || {
            DeskError::SignIn(
                "expected a sign-in that this browser began within ten minutes, got another one or none\nhint: sign in again"
                    .to_owned(),
            )
        };
        let browser = browser.map(secret::hash).ok_or_else(unknown)?;
        let mut all = self.on_the_way.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = |one: &OnTheWay| is_on_the_way(one, now_ms) && secret::same(&one.browser, &browser);
        if !all.get(state).is_some_and(is_ours) {
            return Err(unknown());
        }
        all.remove(state).ok_or_else(unknown)
    }

    /// Refuses an answer of another provider (RFC 9207).
    fn answered_by(&self, brought: &Brought, metadata: &Metadata) -> Result<(), DeskError> {
        let is_right = match brought.issuer.as_deref() {
            Some(issuer) => issuer == self.setup.issuer,
            None => !metadata.names_issuer,
        };
        if is_right {
            return Ok(());
        }
        let got = brought.issuer.as_deref().map_or_else(|| "none".to_owned(), shown);
        Err(DeskError::SignIn(format!("expected an answer of the provider {}, got one of {got}", self.setup.issuer)))
    }

    fn claims(&self, metadata: &Metadata, id_token: &str, begun: &OnTheWay, now_ms: i64) -> Result<Map<String, Value>, DeskError> {
        let expected = Expected {
            issuer: &self.setup.issuer,
            client_id: &self.setup.client_id,
            nonce: &begun.nonce,
            begun_s: begun.begun_ms / 1_000,
            now_s: now_ms / 1_000,
        };
        let keys = self.provider.keys(metadata, false, now_ms)?;
        let mut checked = token::claims(id_token, &keys, &expected);
        if let Err(Fault::NoKey(_)) = &checked {
            let keys = self.provider.keys(metadata, true, now_ms)?;
            checked = token::claims(id_token, &keys, &expected);
        }
        checked.map_err(|(Fault::NoKey(why) | Fault::Refused(why))| DeskError::SignIn(why))
    }
}

fn forget_oldest(all: &mut HashMap<String, OnTheWay>, of: impl Fn(&OnTheWay) -> bool) {
    let oldest = all.iter().filter(|(_, one)| of(one)).min_by_key(|(_, one)| one.begun_ms);
    if let Some(state) = oldest.map(|(state, _)| state.clone()) {
        all.remove(&state);
    }
}

fn is_on_the_way(one: &OnTheWay, now_ms: i64) -> bool {
    (0..ON_THE_WAY_MS).contains(&(now_ms - one.begun_ms))
}

/// Where to go on in the page: a fragment of its address, or nothing. What is not one leads to the page as such, and nowhere else.
fn place_in_page(place: &str) -> String {
    let is_plain = |char: char| char.is_ascii_graphic() && !matches!(char, '"' | '<' | '>' | '`' | '\'' | '\\');
    let is_place = place.starts_with('#') && place.len() <= PLACE_CHARS && place.chars().all(is_plain);
    if is_place { place.to_owned() } else { String::new() }
}

/// What somebody else has written, for a message: short, and on one line.
pub(crate) fn shown(text: &str) -> String {
    let one_line = text.chars().take(SHOWN_CHARS).map(|char| if char.is_control() { ' ' } else { char });
    let told: String = one_line.collect();
    if text.chars().nth(SHOWN_CHARS).is_some() { format!("{told}…") } else { told }
}

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
mod tests;
