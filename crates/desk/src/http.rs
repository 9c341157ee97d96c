//! The desk over HTTP: one loopback port for the page and for what it asks.
//!
//! | path | what |
//! | --- | --- |
//! | `/`, `/desk.js`, … | the page, embedded in the program |
//! | `POST /api/session` `{key}` or `{name, password}`, `DELETE` | sign in, sign out |
//! | `GET /api/me` | who I am, the classes |
//! | `GET /api/clips` | clips that I may see |
//! | `POST /api/next` `{only, after}` | the next item, leased to me |
//! | `GET /api/clips/V/C` | samples, cameras, tracks with their boxes in the ego frame of each sample |
//! | `GET …/points/S` | all points of a sample: x, y, z, intensity as little-endian `f32` |
//! | `GET …/images/S/SENSOR` | an image of a sample |
//! | `POST …/operations` | an operation; 409 with both sides where somebody was faster, 422 where it makes no sense |
//! | `GET …/history`, `…/history/T` | what was done |
//! | `POST …/hold/T`, `DELETE` | keep a track, give it back |
//! | `POST …/finish` `{anyway}` | write the next revision |
//! | `GET`, `POST …/remarks`, `POST …/remarks/ID` | remarks; settle one |
//! | `GET /api/statistics`, `/api/audit`, `GET`, `POST /api/people` | for leads and administrators |
//!
//! Everything below `/api` needs the session's cookie, which scripts cannot read and other sites cannot send. What changes something
//! needs a header that a foreign page cannot set. The page may talk to this server only (`Content-Security-Policy`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};

use crate::desk::{Asked, Desk, NewRemark};
use crate::error::DeskError;
use crate::people::Person;
use crate::store::ClipName;

/// The files of the page: path, kind, content.
const ASSETS: [(&str, &str, &str); 9] = [
    ("/", "text/html; charset=utf-8", include_str!("../web/index.html")),
    ("/style.css", "text/css", include_str!("../web/style.css")),
    ("/desk.js", "text/javascript", include_str!("../web/desk.js")),
    ("/api.js", "text/javascript", include_str!("../web/api.js")),
    ("/words.js", "text/javascript", include_str!("../web/words.js")),
    ("/keys.js", "text/javascript", include_str!("../web/keys.js")),
    ("/geometry.js", "text/javascript", include_str!("../web/geometry.js")),
    ("/views.js", "text/javascript", include_str!("../web/views.js")),
    ("/theme.js", "text/javascript", include_str!("../web/theme.js")),
];
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What changes something must bear this header: a page of another origin cannot set it without asking first, and is refused then.
const OURS: HeaderName = HeaderName::from_static("x-boxwright");
/// Sweeps and images that are in memory at one time while they are sent: some 2 MB each.
const SWEEPS_IN_FLIGHT: usize = 8;

/// A running desk; it stops when it is shut down or dropped.
#[derive(Debug)]
pub struct DeskServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DeskServer {
    /// The address that is listened on, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to open in a browser.
    #[must_use]
    pub fn url(&self) -> String {
        match self.address.ip() {
            ip if ip.is_unspecified() => format!("http://127.0.0.1:{}/", self.address.port()),
            _ => format!("http://{}/", self.address),
        }
    }

    /// Stops at once.
    pub fn shutdown(mut self) {
        self.stop_and_join();
    }

    fn stop_and_join(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The server may be gone already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for DeskServer {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}

struct Site {
    desk: Arc<Desk>,
    bind: SocketAddr,
    /// Cookies know no ports: two desks on one machine must not take each other's.
    cookie: String,
    /// See [`SWEEPS_IN_FLIGHT`].
    in_flight: Semaphore,
}

/// Serves a desk at `bind`; port 0 takes a free one. Returns when the page can be opened.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(desk: Arc<Desk>, bind: SocketAddr) -> Result<DeskServer, DeskError> {
    let taken = |source| DeskError::Listen { address: bind, source };
    let listener = std::net::TcpListener::bind(bind).map_err(taken)?;
    listener.set_nonblocking(true).map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    if !address.ip().is_loopback() {
        tracing::warn!("the review listens on {address} without TLS: put a proxy that has it in front");
    }
    let cookie = format!("boxwright_desk_{}", address.port());
    let site = Site { desk, bind: address, cookie, in_flight: Semaphore::new(SWEEPS_IN_FLIGHT) };
    let router = router(Arc::new(site));
    let failed = DeskError::file("cannot start the review server");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (stop, stopped) = oneshot::channel();
    let work = move || {
        let served = runtime.block_on(run(listener, router, stopped));
        // An operation that is being stored ends in its transaction or not at all.
        runtime.shutdown_background();
        if let Err(error) = served {
            tracing::error!("the review server stopped: {error}");
        }
    };
    let thread = std::thread::Builder::new().name("desk-http".to_owned()).spawn(work);
    let thread = thread.map_err(DeskError::file("cannot start the review server"))?;
    Ok(DeskServer { address, stop: Some(stop), thread: Some(thread) })
}

async fn run(listener: std::net::TcpListener, router: Router, stopped: oneshot::Receiver<()>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::select! {
        served = axum::serve(listener, router) => served,
        _ = stopped => Ok(()),
    }
}

/// Now, in milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn router(site: Arc<Site>) -> Router {
    let mut router = Router::new();
    for (path, kind, content) in ASSETS {
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
        router = router.route(path, get(move || async move { (headers, content) }));
    }
    router
        .route("/favicon.ico", get(StatusCode::NO_CONTENT))
        .route("/api/session", axum::routing::post(sign_in).delete(sign_out))
        .route("/api/me", get(me))
        .route("/api/clips", get(clips))
        .route("/api/next", axum::routing::post(next_item))
        .route("/api/people", get(people).post(put_person))
        .route("/api/statistics", get(statistics))
        .route("/api/audit", get(audit))
        .route("/api/clips/{vehicle}/{clip}", get(open_clip))
        .route("/api/clips/{vehicle}/{clip}/points/{sample}", get(points))
        .route("/api/clips/{vehicle}/{clip}/images/{sample}/{sensor}", get(image))
        .route("/api/clips/{vehicle}/{clip}/operations", axum::routing::post(operation))
        .route("/api/clips/{vehicle}/{clip}/history", get(history))
        .route("/api/clips/{vehicle}/{clip}/history/{track}", get(track_history))
        .route("/api/clips/{vehicle}/{clip}/hold/{track}", axum::routing::post(hold).delete(release))
        .route("/api/clips/{vehicle}/{clip}/finish", axum::routing::post(finish))
        .route("/api/clips/{vehicle}/{clip}/remarks", get(remarks).post(add_remark))
        .route("/api/clips/{vehicle}/{clip}/remarks/{id}", axum::routing::post(resolve_remark))
        .layer(middleware::from_fn_with_state(site.clone(), guard))
        .with_state(site)
}

/// Refuses what was meant for another host or comes from another page, and tells the browser how little the page may do.
async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if site.bind.ip().is_loopback() && !names_this_machine(host) {
        return (StatusCode::FORBIDDEN, "this server answers requests for its own address only\n").into_response();
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read && !request.headers().contains_key(&OURS) {
        return (StatusCode::FORBIDDEN, "expected the header x-boxwright, got none\n").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

fn names_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let ip = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

impl IntoResponse for DeskError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Conflict(sides) => return (StatusCode::CONFLICT, json_body(sides)).into_response(),
            Self::Operation(crate::operation::Around::Refused(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::SignIn(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::Clearance { .. } => StatusCode::FORBIDDEN,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Request(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!("a request failed: {self}");
        }
        (status, json_body(&json!({ "error": self.to_string() }))).into_response()
    }
}

fn json_body(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], value.to_string()).into_response()
}

type Answer = Result<Response, DeskError>;

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, DeskError> {
    serde_json::from_slice(body).map_err(|error| DeskError::Request(format!("expected a request: {error}")))
}

/// Runs a request on a thread that may wait for disk and database.
async fn blocking(work: impl FnOnce() -> Answer + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer.unwrap_or_else(IntoResponse::into_response),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Site {
    fn token(&self, headers: &HeaderMap) -> String {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(';'));
        let mut pairs = cookies.filter_map(|cookie| cookie.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie).map(|(_, token)| token.to_owned()).unwrap_or_default()
    }

    fn person(&self, headers: &HeaderMap) -> Result<Person, DeskError> {
        self.desk.person(&self.token(headers), now_ms())
    }
}

/// Runs a request of somebody who is signed in.
async fn signed_in(
    site: Arc<Site>,
    headers: HeaderMap,
    work: impl FnOnce(&Desk, &Person, i64) -> Result<Value, DeskError> + Send + 'static,
) -> Response {
    blocking(move || {
        let person = site.person(&headers)?;
        Ok(json_body(&work(&site.desk, &person, now_ms())?))
    })
    .await
}

fn named(vehicle: String, clip: i64) -> ClipName {
    ClipName { vehicle, clip }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
}

async fn sign_in(State(site): State<Arc<Site>>, body: Bytes) -> Response {
    blocking(move || {
        let asked: SignIn = parse(&body)?;
        let (token, person) = match &asked.key {
            Some(key) => site.desk.sign_in_by_key(key, now_ms())?,
            None => site.desk.sign_in(&asked.name, &asked.password, now_ms())?,
        };
        let cookie = format!("{}={token}; Path=/; HttpOnly; SameSite=Strict", site.cookie);
        let mut response = json_body(&json!({ "person": person }));
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        Ok(response)
    })
    .await
}

async fn sign_out(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    blocking(move || {
        site.desk.sign_out(&site.token(&headers))?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

async fn me(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    signed_in(site, headers, |desk, person, _| {
        Ok(json!({ "person": person, "classes": desk.classes(), "lease_ms": desk.lease_ms() }))
    })
    .await
}

async fn clips(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    signed_in(site, headers, |desk, person, _| desk.clips(person)).await
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    only: Option<(String, i64)>,
    #[serde(default)]
    after: Vec<(String, i64, u32)>,
}

async fn next_item(State(site): State<Arc<Site>>, headers: HeaderMap, body: Bytes) -> Response {
    signed_in(site, headers, move |desk, person, now| {
        let wanted: Wanted = parse(&body)?;
        let only = wanted.only.map(|(vehicle, clip)| named(vehicle, clip));
        let after: Vec<(ClipName, u32)> =
            wanted.after.into_iter().map(|(vehicle, clip, track)| (named(vehicle, clip), track)).collect();
        desk.next(person, only.as_ref(), &after, now)
    })
    .await
}

async fn people(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    signed_in(site, headers, |desk, person, _| Ok(json!({ "people": desk.people(person)? }))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    name: String,
    role: crate::people::Role,
    clearance: crate::people::Grade,
    #[serde(default)]
    password: Option<String>,
}

async fn put_person(State(site): State<Arc<Site>>, headers: HeaderMap, body: Bytes) -> Response {
    signed_in(site, headers, move |desk, person, now| {
        let Account { name, role, clearance, password } = parse(&body)?;
        desk.put_person(person, &Person { name, role, clearance }, password.as_deref(), now)?;
        Ok(json!({ "people": desk.people(person)? }))
    })
    .await
}

async fn statistics(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    signed_in(site, headers, |desk, person, _| desk.statistics(person)).await
}

async fn audit(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    signed_in(site, headers, |desk, person, _| Ok(json!({ "audit": desk.audit(person)? }))).await
}

async fn open_clip(State(site): State<Arc<Site>>, headers: HeaderMap, Path((vehicle, clip)): Path<(String, i64)>) -> Response {
    signed_in(site, headers, move |desk, person, now| desk.open_clip(person, &named(vehicle, clip), now)).await
}

async fn points(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path((vehicle, clip, sample)): Path<(String, i64, u32)>,
) -> Response {
    let Ok(_permit) = site.in_flight.acquire().await else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let site = site.clone();
    blocking(move || {
        let person = site.person(&headers)?;
        let scene = site.desk.scene(&person, &named(vehicle, clip), now_ms())?;
        let bytes = scene.point_bytes(sample)?.ok_or_else(|| DeskError::NotFound(format!("expected a sample, got {sample}")))?;
        // The points of a sample never change; what the browser has it need not ask for again.
        let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "private, max-age=3600")];
        Ok((headers, Body::from(bytes)).into_response())
    })
    .await
}

async fn image(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path((vehicle, clip, sample, sensor)): Path<(String, i64, u32, String)>,
) -> Response {
    let Ok(_permit) = site.in_flight.acquire().await else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let site = site.clone();
    blocking(move || {
        let person = site.person(&headers)?;
        let scene = site.desk.scene(&person, &named(vehicle, clip), now_ms())?;
        let found = scene.image(sample, &sensor)?;
        let (format, bytes) = found.ok_or_else(|| DeskError::NotFound(format!("expected an image of {sensor:?}, got none")))?;
        let kind = if &*format == "png" { "image/png" } else { "image/jpeg" };
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "private, max-age=3600")];
        Ok((headers, Body::from(bytes)).into_response())
    })
    .await
}

async fn operation(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path((vehicle, clip)): Path<(String, i64)>,
    body: Bytes,
) -> Response {
    signed_in(site, headers, move |desk, person, now| {
        let asked: Asked = parse(&body)?;
        desk.perform(person, &named(vehicle, clip), &asked, now)
    })
    .await
}

async fn history(State(site): State<Arc<Site>>, headers: HeaderMap, Path((vehicle, clip)): Path<(String, i64)>) -> Response {
    signed_in(site, headers, move |desk, person, now| desk.history(person, &named(vehicle, clip), None, now)).await
}

async fn track_history(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path((vehicle, clip, track)): Path<(String, i64, u32)>,
) -> Response {
    signed_in(site, headers, move |desk, person, now| desk.history(person, &named(vehicle, clip), Some(track), now)).await
}

async fn hold(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path((vehicle, clip, track)): Path<(String, i64, u32)>,
) -> Response {
    signed_in(site, headers, move |desk, person, now| Ok(json!({ "held": desk.hold(person, &named(vehicle, clip), track, now)? })))
        .await
}

async fn release(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path((vehicle, clip, track)): Path<(String, i64, u32)>,
) -> Response {
    signed_in(site, headers, move |desk, person, now| {
        desk.release(person, &named(vehicle, clip), track, now)?;
        Ok(json!({}))
    })
    .await
}

#[derive(Deserialize)]
struct Finish {
    #[serde(default)]
    anyway: bool,
}

async fn finish(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path((vehicle, clip)): Path<(String, i64)>,
    body: Bytes,
) -> Response {
    signed_in(site, headers, move |desk, person, now| {
        let Finish { anyway } = parse(&body)?;
        desk.finish(person, &named(vehicle, clip), anyway, now)
    })
    .await
}

async fn remarks(State(site): State<Arc<Site>>, headers: HeaderMap, Path((vehicle, clip)): Path<(String, i64)>) -> Response {
    signed_in(site, headers, move |desk, person, now| desk.remarks(person, &named(vehicle, clip), now)).await
}

async fn add_remark(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path((vehicle, clip)): Path<(String, i64)>,
    body: Bytes,
) -> Response {
    signed_in(site, headers, move |desk, person, now| {
        let new: NewRemark = parse(&body)?;
        desk.remark(person, &named(vehicle, clip), new, now)
    })
    .await
}

async fn resolve_remark(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path((vehicle, clip, id)): Path<(String, i64, String)>,
) -> Response {
    signed_in(site, headers, move |desk, person, now| desk.resolve(person, &named(vehicle, clip), &id, now)).await
}

#[cfg(test)]
mod tests;
