//! Signing in and out: by a link, by a password, by a provider of identities.
//!
//! The cookie of a session is `SameSite=Strict`: no other site makes a browser send it. The one that binds a sign-in to its browser is `Lax`,
//! because it must come with people whom the provider, another site, sends back. For the same reason the answer to them is no redirect but a
//! small page that goes on by itself: what is asked for within a chain of redirects that began on another site comes without strict cookies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::form_urlencoded;

use super::{Answer, Sent, Site, json_body, now_ms, waiting};
use crate::error::DeskError;
use crate::oidc::{Brought, ON_THE_WAY_MS, OidcSetup};

/// Passwords that are hashed at one time: a hash is a third of a second of a core, and cores are there for those who are in.
pub(super) const PASSWORDS_AT_ONCE: usize = 1;
/// Sign-ins by the provider that are begun at one time. Anybody may begin one: those who come back do not wait for it, see below.
pub(super) const BEGINNINGS_AT_ONCE: usize = 8;
/// People for whom the provider is asked at one time: each takes a thread for as long as it thinks.
pub(super) const ARRIVALS_AT_ONCE: usize = 8;
/// How long somebody waits for their turn to sign in.
const SIGN_IN_TURN: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
}

pub(super) async fn sign_in(State(site): State<Arc<Site>>, Sent(asked): Sent<SignIn>) -> Answer {
    let turn = match &asked.key {
        Some(_) => None,
        None => Some(turn(&site.passwords).await?),
    };
    let desk = site.desk.clone();
    let signed = waiting(move || {
        // Kept until the work is done, also for somebody who hangs up meanwhile.
        let _turn = turn;
        match &asked.key {
            Some(key) => desk.sign_in_by_key(key, now_ms()),
            None => desk.sign_in(&asked.name, &asked.password, now_ms()),
        }
    })
    .await;
    let (token, person) = signed?;
    let mut response = json_body(&json!({ "person": person }));
    set_session(&site, &mut response, &token);
    Ok(response)
}

async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, DeskError> {
    let busy = || DeskError::TooMany("many people sign in at this moment: try again".to_owned());
    tokio::time::timeout(SIGN_IN_TURN, turns.clone().acquire_owned()).await.map_err(|_| busy())?.map_err(|_| busy())
}

pub(super) async fn sign_out(State(site): State<Arc<Site>>, headers: HeaderMap) -> Answer {
    let token = token(&site, &headers);
    waiting(move || site.desk.sign_out(&token)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The session's token that a request brings.
pub(super) fn token(site: &Site, headers: &HeaderMap) -> String {
    cookie(headers, &site.cookie).unwrap_or_default()
}

fn cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(';'));
    let mut pairs = cookies.filter_map(|cookie| cookie.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
}

/// Lets a browser in.
fn set_session(site: &Site, response: &mut Response, token: &str) {
    set_cookie(site, response, &format!("{}={token}; Path=/; HttpOnly; SameSite=Strict", site.cookie));
}

fn set_cookie(site: &Site, response: &mut Response, cookie: &str) {
    let secure = if is_by_tls(site) { "; Secure" } else { "" };
    if let Ok(cookie) = HeaderValue::from_str(&format!("{cookie}{secure}")) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// Whether browsers reach the desk by TLS: cookies go no other way then.
fn is_by_tls(site: &Site) -> bool {
    site.desk.provider().is_some_and(OidcSetup::is_by_tls)
}

/// Name of the cookie that binds a sign-in to its browser. By TLS no other host of the same domain can plant one.
fn browser_cookie(site: &Site) -> String {
    let prefix = if is_by_tls(site) { "__Host-" } else { "" };
    format!("{prefix}{}_sign_in", site.cookie)
}

/// What the button says.
pub(super) async fn provider(State(site): State<Arc<Site>>) -> Response {
    json_body(&json!({ "name": site.desk.provider().map(|setup| &setup.name) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    origin: String,
    #[serde(default)]
    place: String,
}

/// Begins a sign-in: where to go, and the cookie that must come back.
pub(super) async fn begin(State(site): State<Arc<Site>>, headers: HeaderMap, Sent(asked): Sent<Begin>) -> Answer {
    let turn = turn(&site.beginnings).await?;
    let (desk, name) = (site.desk.clone(), browser_cookie(&site));
    let browser = cookie(&headers, &name);
    let begun = waiting(move || {
        let _turn = turn;
        desk.begin_sign_in(&asked.origin, &asked.place, browser.as_deref(), now_ms())
    });
    let begun = begun.await?;
    let mut response = json_body(&json!({ "address": begun.address }));
    let lasts_s = ON_THE_WAY_MS / 1_000;
    set_cookie(&site, &mut response, &format!("{name}={}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Lax", begun.browser));
    Ok(response)
}

/// Where the provider sends people back to.
pub(super) async fn arrive(State(site): State<Arc<Site>>, headers: HeaderMap, uri: Uri) -> Response {
    match arrived(&site, &headers, &uri).await {
        Ok(response) => response,
        Err(error) => {
            let status = error.status();
            if status.is_server_error() {
                tracing::error!("a sign-in failed: {error}");
            }
            (status, page("", &told(&error.to_string()))).into_response()
        }
    }
}

async fn arrived(site: &Arc<Site>, headers: &HeaderMap, uri: &Uri) -> Answer {
    let brought = brought(uri.query().unwrap_or_default())?;
    let browser = cookie(headers, &browser_cookie(site));
    let turn = turn(&site.arrivals).await?;
    let desk = site.desk.clone();
    let entered = waiting(move || {
        let _turn = turn;
        desk.finish_sign_in(&brought, browser.as_deref(), now_ms())
    });
    let entered = entered.await?;
    // The fragment has no character that means something here, see `oidc::place_in_page`, but this one.
    let place = entered.place.replace('&', "&amp;");
    let onward = format!("<meta http-equiv=\"refresh\" content=\"0;url=/{place}\">\n");
    let mut response = page(&onward, &format!("<p><a href=\"/{place}\">Boxwright</a></p>")).into_response();
    set_session(site, &mut response, &entered.token);
    Ok(response)
}

/// What stands in the address. What stands there twice is nothing that a provider has sent.
fn brought(query: &str) -> Result<Brought, DeskError> {
    let mut all = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if all.insert(name.clone().into_owned(), value.into_owned()).is_some() {
            return Err(DeskError::Request(format!("expected every value once, got {:?} twice", crate::oidc::shown(&name))));
        }
    }
    let mut take = |name: &str| all.remove(name);
    Ok(Brought {
        state: take("state").unwrap_or_default(),
        code: take("code"),
        issuer: take("iss"),
        error: take("error"),
        description: take("error_description"),
    })
}

fn told(message: &str) -> String {
    format!(
        "<dialog open><h3>Not signed in · 未登录</h3><p class=\"error told\">{}</p><p><a href=\"/\">Boxwright</a></p></dialog>",
        escaped(message)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn page(head: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{head}<title>Boxwright review</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n<script src=\"/theme.js\"></script>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    );
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], html).into_response()
}
