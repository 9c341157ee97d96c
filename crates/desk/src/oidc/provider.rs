//! The provider over HTTP: what it says of itself, its keys, a code for tokens, and what it says of a person.
//!
//! Nobody else is contacted. An answer is awaited for seconds, read up to a bound, and never followed to another address.

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, RequestBuilder};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::setup::{OidcSetup, is_near, web_address};
use super::shown;
use super::token::{self, Key};
use crate::error::DeskError;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take, its body included: somebody waits for their page.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer; metadata has 5 KB, keys as much, tokens up to some 20.
const ANSWER_BYTES: u64 = 256 << 10;
/// How long what the provider says of itself is taken for true, and its keys: one that it took back is trusted no longer than that.
const KNOWN_MS: i64 = 3_600_000;
/// How long keys are not asked for again, however many tokens none of them has signed.
const KEYS_REST_MS: i64 = 30_000;
/// How long a provider that did not answer is not asked for its metadata again: people would wait one after the other.
const REST_MS: i64 = 3_000;

/// What a provider says of itself (OpenID Connect Discovery 1.0, section 3), as far as it is needed.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) authorization: Url,
    /// Answers bear the issuer (RFC 9207).
    pub(super) names_issuer: bool,
    token: Url,
    keys: Url,
    person: Option<Url>,
    /// The secret goes into the body, where the provider does not take it in a header.
    secret_in_body: bool,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What a code is worth.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) id_token: String,
    pub(super) access_token: Option<String>,
}

/// The provider.
pub(super) struct Provider {
    setup: Arc<OidcSetup>,
    client: Client,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, i64)>,
    keys: Option<(Arc<Vec<Key>>, i64)>,
    /// See [`REST_MS`].
    failed: Option<(String, String, i64)>,
}

impl Provider {
    pub(super) fn new(setup: Arc<OidcSetup>) -> Result<Self, DeskError> {
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .user_agent(concat!("boxwright/", env!("CARGO_PKG_VERSION")));
        if web_address(&setup.issuer).is_ok_and(|url| is_near(&url)) {
            // What runs on this machine is on no other machine's.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            failure(&setup, format!("cannot make a client: {}", chain(error)), "are the certificates of this machine readable?")
        })?;
        Ok(Self { setup, client, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, why: impl Into<String>, hint: &str) -> DeskError {
        failure(&self.setup, why.into(), hint)
    }

    /// What the provider says of itself, asked for when it is not known or known for long. Two who ask at once may both ask.
    pub(super) fn metadata(&self, now_ms: i64) -> Result<Arc<Metadata>, DeskError> {
        {
            let known = self.known();
            if let Some((metadata, _)) = known.metadata.as_ref().filter(|(_, at_ms)| (0..KNOWN_MS).contains(&(now_ms - at_ms))) {
                return Ok(metadata.clone());
            }
            if let Some((why, hint, _)) = known.failed.as_ref().filter(|(_, _, at_ms)| (0..REST_MS).contains(&(now_ms - at_ms))) {
                return Err(self.failed(why.clone(), hint));
            }
        }
        match self.discover() {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                let mut known = self.known();
                known.metadata = Some((metadata.clone(), now_ms));
                known.failed = None;
                Ok(metadata)
            }
            Err(error) => {
                if let DeskError::Provider { why, hint, .. } = &error {
                    self.known().failed = Some((why.clone(), hint.clone(), now_ms));
                }
                Err(error)
            }
        }
    }

    fn discover(&self) -> Result<Metadata, DeskError> {
        let address = format!("{}/.well-known/openid-configuration", self.setup.issuer.trim_end_matches('/'));
        let told = self.json("its metadata", self.client.get(&address))?;
        let unread =
            |why: String| self.failed(format!("its metadata at {address}: {why}"), "is the issuer a provider of OpenID Connect?");
        let told: Discovery = serde_json::from_value(told).map_err(|error| unread(error.to_string()))?;
        if told.issuer != self.setup.issuer {
            // Whoever else answers there could vouch for anybody.
            let why = format!("expected metadata of the issuer {}, got those of {}", self.setup.issuer, shown(&told.issuer));
            return Err(self.failed(why, "issuer must be written exactly as the provider does, its last slash included"));
        }
        let endpoint = |name: &str, text: &str| web_address(text).map_err(|why| unread(format!("{name}: {why}")));
        let methods = told.token_endpoint_auth_methods_supported.as_deref();
        let takes = |method: &str| methods.is_none_or(|all| all.iter().any(|one| one == method));
        if self.setup.secret.is_some() && !takes("client_secret_basic") && !takes("client_secret_post") {
            let got = methods.unwrap_or_default().join(", ");
            return Err(unread(format!("expected that it takes client_secret_basic or client_secret_post, got {}", shown(&got))));
        }
        Ok(Metadata {
            authorization: endpoint("authorization_endpoint", &told.authorization_endpoint)?,
            names_issuer: told.authorization_response_iss_parameter_supported,
            token: endpoint("token_endpoint", &told.token_endpoint)?,
            keys: endpoint("jwks_uri", &told.jwks_uri)?,
            person: told.userinfo_endpoint.as_deref().map(|text| endpoint("userinfo_endpoint", text)).transpose()?,
            secret_in_body: !takes("client_secret_basic"),
        })
    }

    /// The keys of the provider. Those that are known are asked for again where none of them has signed a token (`anew`), but not often: anybody
    /// who has a code can make a token be looked at.
    pub(super) fn keys(&self, metadata: &Metadata, anew: bool, now_ms: i64) -> Result<Arc<Vec<Key>>, DeskError> {
        let rest_ms = if anew { KEYS_REST_MS } else { KNOWN_MS };
        if let Some((keys, _)) = self.known().keys.as_ref().filter(|(_, at_ms)| (0..rest_ms).contains(&(now_ms - at_ms))) {
            return Ok(keys.clone());
        }
        let set = self.json("its keys", self.client.get(metadata.keys.clone()))?;
        let Some(keys) = token::keys(&set) else {
            return Err(self.failed("expected a set of keys, got none", "is the issuer a provider of OpenID Connect?"));
        };
        let keys = Arc::new(keys);
        self.known().keys = Some((keys.clone(), now_ms));
        Ok(keys)
    }

    /// Gives a code for tokens.
    pub(super) fn redeem(&self, metadata: &Metadata, code: &str, verifier: &str) -> Result<Tokens, DeskError> {
        let (id, redirect) = (&self.setup.client_id, self.setup.redirect_uri());
        let mut form = Serializer::new(String::new());
        form.extend_pairs([
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &redirect),
            ("code_verifier", verifier),
        ]);
        let mut request = self.client.post(metadata.token.clone());
        match &self.setup.secret {
            Some(secret) if metadata.secret_in_body => {
                form.extend_pairs([("client_id", &**id), ("client_secret", &secret.0)]);
            }
            Some(secret) => {
                // As in a form, before it becomes Basic (RFC 6749, section 2.3.1).
                let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                request = request.basic_auth(escaped(id), Some(escaped(&secret.0)));
            }
            None => {
                form.append_pair("client_id", id);
            }
        }
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish());
        let told = self.json("the tokens", request)?;
        // The error of serde would quote the token.
        serde_json::from_value(told).map_err(|_| self.failed("expected an ID token, got none", "scopes must contain openid"))
    }

    /// What the provider says of the person beyond the ID token, if it does.
    pub(super) fn person(&self, metadata: &Metadata, access_token: &str, subject: &str) -> Result<Map<String, Value>, DeskError> {
        let Some(address) = metadata.person.clone() else { return Ok(Map::new()) };
        let told = self.json("the person (userinfo)", self.client.get(address).bearer_auth(access_token))?;
        match told {
            // Of the same person: the answer is not signed (OpenID Connect Core 1.0, section 5.3.2).
            Value::Object(claims) if claims.get("sub").and_then(Value::as_str) == Some(subject) => Ok(claims),
            _ => Err(DeskError::SignIn("expected claims of the person who signed in, got those of another one".to_owned())),
        }
    }

    fn json(&self, what: &str, request: RequestBuilder) -> Result<Value, DeskError> {
        let until = Instant::now() + ANSWER_TIMEOUT;
        let away = |why: String| self.failed(format!("asked for {what}: {why}"), "does it run, and is it reached from here?");
        let mut answer = request.header(ACCEPT, "application/json").send().map_err(|error| away(chain(error)))?;
        let status = answer.status();
        let mut body = Vec::new();
        let mut part = [0; 8 << 10];
        loop {
            let read = answer.read(&mut part).map_err(|error| away(error.to_string()))?;
            if read == 0 {
                break;
            }
            body.extend_from_slice(&part[..read]);
            if body.len() as u64 > ANSWER_BYTES || Instant::now() > until {
                return Err(away(format!("expected {ANSWER_BYTES} bytes at most within {} s, got more", ANSWER_TIMEOUT.as_secs())));
            }
        }
        let told: Option<Value> = serde_json::from_slice(&body).ok();
        if status.is_success() {
            let hint = "its log may say more";
            return told.ok_or_else(|| self.failed(format!("asked for {what}: expected JSON, got something else"), hint));
        }
        let error = told.as_ref().and_then(|told| told.get("error")?.as_str()).map(shown);
        match error {
            // Such as a code that was used before.
            Some(error) if status.as_u16() == 400 => {
                Err(DeskError::SignIn(format!("the provider refused {what}: {error}\nhint: sign in again")))
            }
            error => {
                let error = error.map(|error| format!(" ({error})")).unwrap_or_default();
                let hint =
                    if status.as_u16() == 401 { "are client_id and the client secret right?" } else { "its log may say more" };
                Err(self.failed(format!("asked for {what}: expected status 200, got {}{error}", status.as_u16()), hint))
            }
        }
    }
}

fn failure(setup: &OidcSetup, why: String, hint: &str) -> DeskError {
    DeskError::Provider { issuer: setup.issuer.clone(), why, hint: hint.to_owned() }
}

/// An error with what caused it; without its address, which is said already.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    shown(&told)
}
