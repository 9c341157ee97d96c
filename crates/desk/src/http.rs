//! The desk over HTTP: one loopback port for the page and for what it asks.
//!
//! | path | what |
//! | --- | --- |
//! | `/`, `/desk.js`, … | the page, embedded in the program |
//! | `POST /api/session` `{key}` or `{name, password}`, `DELETE` | sign in, sign out |
//! | `GET /oidc`, `POST /oidc` `{origin, place}`, `GET /oidc/callback` | what the provider is called; begin to sign in by it; where it sends people back to |
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
//! | `POST …/canvas` | the name of a recording for the viewer, and its address: good for a minute, signed, needs no cookie |
//! | `POST …/canvas/boxes` `{recording, samples}`, `…/canvas/focus` `{recording, track, sample}` | what changes in a recording |
//! | `GET /api/statistics`, `/api/audit`, `POST /api/lots`, `GET`, `POST /api/people` | for leads and administrators |
//! | `/re_viewer.js`, `/re_viewer_bg.wasm` | the viewer, where there is one |
//!
//! Everything below `/api` needs the session's cookie, which scripts cannot read and other sites cannot send. What changes something
//! needs a header that a foreign page cannot set. The page may talk to this server only (`Content-Security-Policy`).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::canvas::{CanvasFile, Recording};
use crate::desk::{Asked, Desk, NewRemark, RecordingAddress};
use crate::error::DeskError;
use crate::oidc::{CALLBACK, OidcSetup};
use crate::operation::Surroundings;
use crate::people::Person;
use crate::scene::Scene;
use crate::store::ClipName;

mod entrance;

/// The files of the page: path, kind, content.
const ASSETS: [(&str, &str, &str); 10] = [
    ("/", "text/html; charset=utf-8", include_str!("../web/index.html")),
    ("/style.css", "text/css", include_str!("../web/style.css")),
    ("/desk.js", "text/javascript", include_str!("../web/desk.js")),
    ("/api.js", "text/javascript", include_str!("../web/api.js")),
    ("/words.js", "text/javascript", include_str!("../web/words.js")),
    ("/keys.js", "text/javascript", include_str!("../web/keys.js")),
    ("/geometry.js", "text/javascript", include_str!("../web/geometry.js")),
    ("/views.js", "text/javascript", include_str!("../web/views.js")),
    ("/canvas.js", "text/javascript", include_str!("../web/canvas.js")),
    ("/theme.js", "text/javascript", include_str!("../web/theme.js")),
];
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What the viewer needs beyond it: to compile its module, and to look at images that it has unpacked. It still has nobody else to talk to.
const POLICY_WITH_VIEWER: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
                                  img-src 'self' blob: data:; font-src 'self' data:; connect-src 'self' data: blob:; \
                                  worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What changes something must bear this header: a page of another origin cannot set it without asking first, and is refused then.
const OURS: HeaderName = HeaderName::from_static("x-boxwright");
/// Sweeps and images that are in memory at one time while they are sent: some 2 MB each.
const SWEEPS_IN_FLIGHT: usize = 8;
/// Recordings that are encoded at one time: each takes a thread, and a core while its reader is fast.
const RECORDINGS_IN_FLIGHT: usize = 2;
/// Frames of a recording that wait to be sent, some 2 MB each.
const FRAMES_AHEAD: usize = 2;
/// A viewer that takes nothing for so long is gone or frozen, and others may have its place.
const VIEWER_STALLS: Duration = Duration::from_secs(60);
/// How long a download waits for others: the page asks again, and a queue that nobody leaves would look like a page that hangs.
const SERVED_WITHIN: Duration = Duration::from_secs(60);
/// A reader who takes longer for a sweep of some megabytes does not keep others waiting any more; its bytes stay until it is done or gone.
const SLOW_READER: Duration = Duration::from_secs(30);

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
    in_flight: Arc<Semaphore>,
    /// See [`RECORDINGS_IN_FLIGHT`].
    recordings: Arc<Semaphore>,
    /// See [`entrance::PASSWORDS_AT_ONCE`].
    passwords: Arc<Semaphore>,
    /// See [`entrance::BEGINNINGS_AT_ONCE`].
    beginnings: Arc<Semaphore>,
    /// See [`entrance::ARRIVALS_AT_ONCE`].
    arrivals: Arc<Semaphore>,
    /// The viewer's files.
    viewer: Vec<CanvasFile>,
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
    let site = Site {
        viewer: desk.canvas().map(|canvas| canvas.files()).unwrap_or_default(),
        desk,
        bind: address,
        cookie,
        in_flight: Arc::new(Semaphore::new(SWEEPS_IN_FLIGHT)),
        recordings: Arc::new(Semaphore::new(RECORDINGS_IN_FLIGHT)),
        passwords: Arc::new(Semaphore::new(entrance::PASSWORDS_AT_ONCE)),
        beginnings: Arc::new(Semaphore::new(entrance::BEGINNINGS_AT_ONCE)),
        arrivals: Arc::new(Semaphore::new(entrance::ARRIVALS_AT_ONCE)),
    };
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
    for file in site.viewer.clone() {
        router = router.route(file.path, get(move |headers: HeaderMap| async move { viewer_file(&headers, file) }));
    }
    router
        .route("/favicon.ico", get(StatusCode::NO_CONTENT))
        .route("/api/session", post(entrance::sign_in).delete(entrance::sign_out))
        .route("/oidc", get(entrance::provider).post(entrance::begin))
        .route(CALLBACK, get(entrance::arrive))
        .route("/api/me", get(me))
        .route("/api/clips", get(clips))
        .route("/api/next", post(next_item))
        .route("/api/people", get(people).post(put_person))
        .route("/api/statistics", get(statistics))
        .route("/api/lots", post(put_lot))
        .route("/api/audit", get(audit))
        .route("/api/clips/{vehicle}/{clip}", get(open_clip))
        .route("/api/clips/{vehicle}/{clip}/points/{sample}", get(points))
        .route("/api/clips/{vehicle}/{clip}/images/{sample}/{sensor}", get(image))
        .route("/api/clips/{vehicle}/{clip}/operations", post(operation))
        .route("/api/clips/{vehicle}/{clip}/history", get(history))
        .route("/api/clips/{vehicle}/{clip}/history/{track}", get(track_history))
        .route("/api/clips/{vehicle}/{clip}/hold/{track}", post(hold).delete(release))
        .route("/api/clips/{vehicle}/{clip}/finish", post(finish))
        .route("/api/clips/{vehicle}/{clip}/remarks", get(remarks).post(add_remark))
        .route("/api/clips/{vehicle}/{clip}/remarks/{id}", post(resolve_remark))
        .route("/api/clips/{vehicle}/{clip}/canvas", post(canvas))
        .route("/api/clips/{vehicle}/{clip}/canvas/boxes", post(canvas_boxes))
        .route("/api/clips/{vehicle}/{clip}/canvas/focus", post(canvas_focus))
        .route("/canvas/{vehicle}/{clip}/{nonce}/{expires_ms}/{signature}/clip.rrd", get(recording))
        .layer(middleware::from_fn_with_state(site.clone(), guard))
        .with_state(site)
}

/// Refuses what was meant for another host or comes from another page, and tells the browser how little the page may do.
async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if site.bind.ip().is_loopback() && !names_this_machine(host) && !names_public_address(&site, host) {
        return (StatusCode::FORBIDDEN, "this server answers requests for its own address only\n").into_response();
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read && !request.headers().contains_key(&OURS) {
        return (StatusCode::FORBIDDEN, "expected the header x-boxwright, got none\n").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = if site.viewer.is_empty() { POLICY } else { POLICY_WITH_VIEWER };
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
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

/// Whether it is the address that the file of the provider gives to this desk: a proxy in front may pass it on.
fn names_public_address(site: &Site, host: &str) -> bool {
    let origin = site.desk.provider().map(OidcSetup::origin).unwrap_or_default();
    origin.split_once("://").is_some_and(|(_, public)| public.eq_ignore_ascii_case(host))
}

impl DeskError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Operation(crate::operation::Around::Refused(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::SignIn(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::Clearance { .. } => StatusCode::FORBIDDEN,
            Self::OtherDatabase { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Request(_) => StatusCode::BAD_REQUEST,
            // The page keeps what it has and sends it again, as where there is no server.
            Self::Lost { .. } | Self::Taken { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Provider { .. } => StatusCode::BAD_GATEWAY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for DeskError {
    fn into_response(self) -> Response {
        let status = self.status();
        if let Self::Conflict(sides) = &self {
            return (status, json_body(sides)).into_response();
        }
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

/// Runs what may wait for disk and database on a thread for that.
async fn waiting<T: Send + 'static>(work: impl FnOnce() -> Result<T, DeskError> + Send + 'static) -> Result<T, DeskError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(DeskError::Broken))
}

/// Somebody who is signed in, at the desk. A handler that takes one is for those alone, and before its body is looked at.
struct Caller {
    site: Arc<Site>,
    person: Person,
}

impl FromRequestParts<Arc<Site>> for Caller {
    type Rejection = DeskError;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, DeskError> {
        let (asked, token) = (site.clone(), entrance::token(site, &parts.headers));
        let person = waiting(move || asked.desk.person(&token, now_ms())).await?;
        Ok(Self { site: site.clone(), person })
    }
}

impl Caller {
    /// Answers with bytes, or whatever `work` makes.
    async fn answer(self, work: impl FnOnce(&Desk, &Person, i64) -> Answer + Send + 'static) -> Answer {
        waiting(move || work(&self.site.desk, &self.person, now_ms())).await
    }

    /// Answers with JSON.
    async fn json(self, work: impl FnOnce(&Desk, &Person, i64) -> Result<Value, DeskError> + Send + 'static) -> Answer {
        self.answer(|desk, person, now| Ok(json_body(&work(desk, person, now)?))).await
    }
}

/// What was sent, as JSON, whatever its kind is said to be.
struct Sent<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = DeskError;

    async fn from_request(request: Request, state: &S) -> Result<Self, DeskError> {
        let expected = |error: String| DeskError::Request(format!("expected a request: {error}"));
        let body = Bytes::from_request(request, state).await.map_err(|error| expected(error.to_string()))?;
        serde_json::from_slice(&body).map(Self).map_err(|error| expected(error.to_string()))
    }
}

async fn me(by: Caller) -> Answer {
    by.json(|desk, person, _| {
        Ok(json!({
            "person": person, "classes": desk.classes(), "lease_ms": desk.lease_ms(), "database": desk.identity(),
            "canvas": desk.canvas().is_some(),
        }))
    })
    .await
}

async fn clips(by: Caller) -> Answer {
    by.json(|desk, person, _| desk.clips(person)).await
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    only: Option<(String, i64)>,
    #[serde(default)]
    after: Vec<(String, i64, u32)>,
}

async fn next_item(by: Caller, Sent(wanted): Sent<Wanted>) -> Answer {
    by.json(move |desk, person, now| {
        let only = wanted.only.map(|(vehicle, clip)| ClipName { vehicle, clip });
        let after: Vec<(ClipName, u32)> =
            wanted.after.into_iter().map(|(vehicle, clip, track)| (ClipName { vehicle, clip }, track)).collect();
        desk.next(person, only.as_ref(), &after, now)
    })
    .await
}

async fn people(by: Caller) -> Answer {
    by.json(|desk, person, _| Ok(json!({ "people": desk.people(person)? }))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    name: String,
    role: crate::people::Role,
    clearance: crate::people::Grade,
    #[serde(default)]
    password: Option<String>,
    /// Whose account it is at the provider; empty for nobody there.
    #[serde(default)]
    subject: Option<String>,
}

async fn put_person(by: Caller, Sent(account): Sent<Account>) -> Answer {
    by.json(move |desk, person, now| {
        let Account { name, role, clearance, password, subject } = account;
        let account = Person { name, role, clearance };
        desk.put_person(person, &account, password.as_deref(), subject.as_deref(), now)?;
        Ok(json!({ "people": desk.people(person)? }))
    })
    .await
}

async fn statistics(by: Caller) -> Answer {
    by.json(|desk, person, _| desk.statistics(person)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLot {
    lot: String,
    clips: Vec<(String, i64)>,
}

async fn put_lot(by: Caller, Sent(new): Sent<NewLot>) -> Answer {
    by.json(move |desk, person, now| {
        let clips: Vec<ClipName> = new.clips.into_iter().map(|(vehicle, clip)| ClipName { vehicle, clip }).collect();
        desk.put_lot(person, &new.lot, &clips, now)
    })
    .await
}

async fn audit(by: Caller) -> Answer {
    by.json(|desk, person, _| Ok(json!({ "audit": desk.audit(person)? }))).await
}

async fn open_clip(by: Caller, Path(name): Path<ClipName>) -> Answer {
    by.json(move |desk, person, now| desk.open_clip(person, &name, now)).await
}

/// Bytes that give their permit back when the last of them is sent, or after [`SLOW_READER`].
struct Held {
    data: Vec<u8>,
    _permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Held {
    fn new(data: Vec<u8>, permit: OwnedSemaphorePermit, runtime: &tokio::runtime::Handle) -> Self {
        let permit = Arc::new(Mutex::new(Some(permit)));
        let kept = Arc::downgrade(&permit);
        runtime.spawn(async move {
            tokio::time::sleep(SLOW_READER).await;
            if let Some(permit) = kept.upgrade() {
                drop(permit.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
        });
        Self { data, _permit: permit }
    }
}

/// A turn among those who are served at once, waited for no longer than [`SERVED_WITHIN`].
async fn turn_of(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, DeskError> {
    match tokio::time::timeout(SERVED_WITHIN, turns.clone().acquire_owned()).await {
        Ok(turn) => turn.map_err(|_| DeskError::Broken),
        Err(_) => Err(DeskError::TooMany("the server is busy with other downloads: try again".to_owned())),
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// What of a clip's sensors never changes: what the browser has it need not ask for again.
async fn sensed(
    by: Caller,
    name: ClipName,
    find: impl FnOnce(&Scene) -> Result<(&'static str, Vec<u8>), DeskError> + Send + 'static,
) -> Answer {
    let permit = turn_of(&by.site.in_flight).await?;
    let runtime = tokio::runtime::Handle::current();
    by.answer(move |desk, person, now| {
        let (kind, data) = find(&*desk.scene(person, &name, now)?)?;
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "private, max-age=3600")];
        Ok((headers, Body::from(Bytes::from_owner(Held::new(data, permit, &runtime)))).into_response())
    })
    .await
}

#[derive(Deserialize)]
struct OfSample {
    sample: u32,
}

async fn points(by: Caller, Path(name): Path<ClipName>, Path(OfSample { sample }): Path<OfSample>) -> Answer {
    sensed(by, name, move |scene| {
        let bytes = scene.point_bytes(sample)?.ok_or_else(|| DeskError::NotFound(format!("expected a sample, got {sample}")))?;
        Ok(("application/octet-stream", bytes))
    })
    .await
}

#[derive(Deserialize)]
struct OfImage {
    sample: u32,
    sensor: String,
}

async fn image(by: Caller, Path(name): Path<ClipName>, Path(of): Path<OfImage>) -> Answer {
    sensed(by, name, move |scene| {
        let found = scene.image(of.sample, &of.sensor)?;
        let (format, bytes) =
            found.ok_or_else(|| DeskError::NotFound(format!("expected an image of {:?}, got none", of.sensor)))?;
        Ok((if &*format == "png" { "image/png" } else { "image/jpeg" }, bytes))
    })
    .await
}

async fn operation(by: Caller, Path(name): Path<ClipName>, Sent(asked): Sent<Asked>) -> Answer {
    by.json(move |desk, person, now| desk.perform(person, &name, &asked, now)).await
}

async fn history(by: Caller, Path(name): Path<ClipName>) -> Answer {
    by.json(move |desk, person, now| desk.history(person, &name, None, now)).await
}

#[derive(Deserialize)]
struct OfTrack {
    track: u32,
}

async fn track_history(by: Caller, Path(name): Path<ClipName>, Path(OfTrack { track }): Path<OfTrack>) -> Answer {
    by.json(move |desk, person, now| desk.history(person, &name, Some(track), now)).await
}

async fn hold(by: Caller, Path(name): Path<ClipName>, Path(OfTrack { track }): Path<OfTrack>) -> Answer {
    by.json(move |desk, person, now| Ok(json!({ "held": desk.hold(person, &name, track, now)? }))).await
}

async fn release(by: Caller, Path(name): Path<ClipName>, Path(OfTrack { track }): Path<OfTrack>) -> Answer {
    by.json(move |desk, person, now| {
        desk.release(person, &name, track, now)?;
        Ok(json!({}))
    })
    .await
}

#[derive(Deserialize)]
struct Finish {
    #[serde(default)]
    anyway: bool,
}

async fn finish(by: Caller, Path(name): Path<ClipName>, Sent(Finish { anyway }): Sent<Finish>) -> Answer {
    by.json(move |desk, person, now| desk.finish(person, &name, anyway, now)).await
}

async fn remarks(by: Caller, Path(name): Path<ClipName>) -> Answer {
    by.json(move |desk, person, now| desk.remarks(person, &name, now)).await
}

async fn add_remark(by: Caller, Path(name): Path<ClipName>, Sent(new): Sent<NewRemark>) -> Answer {
    by.json(move |desk, person, now| desk.remark(person, &name, new, now)).await
}

#[derive(Deserialize)]
struct OfRemark {
    id: String,
}

async fn resolve_remark(by: Caller, Path(name): Path<ClipName>, Path(OfRemark { id }): Path<OfRemark>) -> Answer {
    by.json(move |desk, person, now| desk.resolve(person, &name, &id, now)).await
}

// The viewer.

/// A file of the viewer: it changes with the program only, and a browser that has it gets the word that it is still good.
fn viewer_file(request: &HeaderMap, file: CanvasFile) -> Response {
    let tag = format!("\"{}\"", file.version);
    let caching = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, file.kind)], Body::from(file.content)).into_response()
}

async fn canvas(by: Caller, Path(name): Path<ClipName>) -> Answer {
    by.json(move |desk, person, now| {
        let (recording, address) = desk.recording_address(person, &name, now)?;
        let RecordingAddress { nonce, expires_ms, signature } = address;
        let vehicle = escaped(&name.vehicle);
        let url = format!("/canvas/{vehicle}/{}/{nonce}/{expires_ms}/{signature}/clip.rrd", name.clip);
        Ok(json!({ "recording": recording, "url": url }))
    })
    .await
}

/// A text as one part of a path.
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

/// Longest name of a recording: a vehicle's, and some digits.
const RECORDING_CHARS: usize = 300;

fn check_recording(name: &str) -> Result<(), DeskError> {
    if name.is_empty() || name.chars().count() > RECORDING_CHARS {
        return Err(DeskError::Request(format!("expected the name of a recording of 1 to {RECORDING_CHARS} characters")));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedBoxes {
    recording: String,
    /// All where none are named.
    #[serde(default)]
    samples: Option<Vec<u32>>,
}

/// The length of a JSON text as four little-endian bytes, the text (which track each box is of), and what is for the viewer.
async fn canvas_boxes(by: Caller, Path(name): Path<ClipName>, Sent(wanted): Sent<WantedBoxes>) -> Answer {
    by.answer(move |desk, person, now| {
        check_recording(&wanted.recording)?;
        let (told, bytes) = desk.canvas_boxes(person, &name, &wanted.recording, wanted.samples.as_deref(), now)?;
        let told = told.to_string();
        let length = u32::try_from(told.len()).unwrap_or(u32::MAX);
        let body = [&length.to_le_bytes(), told.as_bytes(), &bytes].concat();
        Ok(octets(body))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedFocus {
    recording: String,
    #[serde(default)]
    track: Option<u32>,
    sample: u32,
}

async fn canvas_focus(by: Caller, Path(name): Path<ClipName>, Sent(wanted): Sent<WantedFocus>) -> Answer {
    by.answer(move |desk, person, now| {
        check_recording(&wanted.recording)?;
        Ok(octets(desk.canvas_focus(person, &name, &wanted.recording, wanted.track, wanted.sample, now)?))
    })
    .await
}

fn octets(bytes: Vec<u8>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from(bytes)).into_response()
}

/// Sweeps and images of a clip as a recording, encoded while it is sent.
async fn recording(State(site): State<Arc<Site>>, Path(name): Path<ClipName>, Path(address): Path<RecordingAddress>) -> Answer {
    // The address first: it is good for a minute, and who has none waits for nothing.
    let desk = site.desk.clone();
    let (scene, encoder) = waiting(move || desk.signed_recording(&name, &address, now_ms())).await?;
    let permit = turn_of(&site.recordings).await?;
    let (out, mut frames) = tokio::sync::mpsc::channel(FRAMES_AHEAD);
    let runtime = tokio::runtime::Handle::current();
    let encode = move || {
        let _permit = permit;
        let send = |bytes: std::io::Result<Vec<u8>>| {
            let sent = runtime.block_on(tokio::time::timeout(VIEWER_STALLS, out.send(bytes)));
            matches!(sent, Ok(Ok(())))
        };
        if let Err(error) = encode_frames(&scene, encoder, &send) {
            tracing::warn!("a recording broke off: {error}");
            // The connection ends without its end mark, so that the viewer knows, too.
            let _ = send(Err(std::io::Error::other(error.to_string())));
        }
    };
    tokio::task::spawn_blocking(encode);
    let body = futures_util::stream::poll_fn(move |context| frames.poll_recv(context));
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Until the end, or until nobody takes it any more.
fn encode_frames(
    scene: &Scene,
    mut encoder: Box<dyn Recording>,
    send: &dyn Fn(std::io::Result<Vec<u8>>) -> bool,
) -> Result<(), DeskError> {
    let failed = |error: crate::canvas::DrawError| DeskError::Draw(error.to_string());
    for sample in 0..scene.samples() {
        let Some(frame) = scene.frame(sample)? else { break };
        if !send(Ok(encoder.frame(&frame).map_err(failed)?)) {
            return Ok(());
        }
    }
    send(Ok(encoder.finish().map_err(failed)?));
    Ok(())
}

#[cfg(test)]
mod tests;
