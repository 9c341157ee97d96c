//! The review page: our own small page around the Rerun web viewer, from one port, with nothing from anywhere else.
//!
//! | path | what |
//! | --- | --- |
//! | `/`, `/viewer.js`, `/style.css` | the page, embedded in the binary |
//! | `/re_viewer.js`, `/re_viewer_bg.wasm` | Rerun's viewer of exactly our version, from its crate |
//! | `/config.json` | the recordings to choose from, or the live stream |
//! | `/clips/<number>.rrd` | a recording, whole or a range; the number is a place in the list, never a path |
//!
//! The stock viewer reports its use to its makers. Here a `Content-Security-Policy` lets the page talk to this server only (and to the live
//! stream, where there is one), so nothing about the data leaves the machine. There is no password: the server is meant for a loopback
//! address, and on one it refuses requests that name another host, which is what a hostile page in the same browser would send.

mod files;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use re_web_viewer_server::WebViewerData;
use tokio::sync::{Semaphore, oneshot};

use crate::error::ReviewError;
use crate::rrd;

const INDEX_HTML: &str = include_str!("../web/index.html");
const VIEWER_JS: &str = include_str!("../web/viewer.js");
const STYLE_CSS: &str = include_str!("../web/style.css");

/// Recordings that are in memory at one time while they are sent; further requests wait. A recording is a few hundred megabytes.
const RECORDINGS_IN_FLIGHT: usize = 2;

/// A running server; it stops when it is shut down or dropped.
#[derive(Debug)]
pub struct Server {
    url: String,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// What to open in a browser.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address that is listened on, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops at once; downloads that are under way break off.
    pub fn shutdown(mut self) {
        self.stop_and_join();
    }

    /// Blocks until the server ends, which it does only when something is badly wrong.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}

/// Serves recordings (name to show, file) on a page at `bind`; port 0 takes a free one. Returns when the page can be opened.
///
/// # Errors
/// When a file is not there, the address cannot be listened on, or the viewer's files cannot be loaded.
pub fn serve_recordings(recordings: Vec<(String, PathBuf)>, bind: SocketAddr) -> Result<Server, ReviewError> {
    let mut clips = Vec::with_capacity(recordings.len());
    for (name, path) in recordings {
        let found = std::fs::metadata(&path).map_err(|source| ReviewError::File { action: "read", path: path.clone(), source })?;
        let last_frame = rrd::last_frame(&path);
        clips.push(Clip { name, path, bytes: found.len(), last_frame });
    }
    serve(clips, None, bind)
}

/// Serves the page for the live stream that listens on `grpc_port` of the same host.
pub(crate) fn serve_live(bind: SocketAddr, grpc_port: u16) -> Result<Server, ReviewError> {
    serve(Vec::new(), Some(grpc_port), bind)
}

struct Clip {
    name: String,
    path: PathBuf,
    bytes: u64,
    /// Tells the page when it has everything.
    last_frame: Option<i64>,
}

struct Site {
    viewer: WebViewerData,
    clips: Vec<Clip>,
    live_grpc_port: Option<u16>,
    bind: SocketAddr,
    /// See [`RECORDINGS_IN_FLIGHT`].
    in_flight: Arc<Semaphore>,
}

fn serve(clips: Vec<Clip>, live_grpc_port: Option<u16>, bind: SocketAddr) -> Result<Server, ReviewError> {
    let hint = "set view.web_port to a free port, or to 0 to let the system choose";
    let taken = |source| ReviewError::Bind { what: "the review page", address: bind, source, hint };
    let viewer =
        WebViewerData::load(None).map_err(|error| ReviewError::Start { what: "the web viewer", why: error.to_string() })?;
    let listener = std::net::TcpListener::bind(bind).map_err(taken)?;
    listener.set_nonblocking(true).map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    if !address.ip().is_loopback() {
        tracing::warn!("the review page listens on {address} without a password: whoever reaches this machine sees the data");
    }
    let in_flight = Arc::new(Semaphore::new(RECORDINGS_IN_FLIGHT));
    let router = router(Arc::new(Site { viewer, clips, live_grpc_port, bind: address, in_flight }));

    let failed = |error: std::io::Error| ReviewError::Start { what: "the review page", why: error.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("review-http".to_owned())
        .spawn(move || {
            let served = runtime.block_on(run(listener, router, stopped));
            // Files that are being read are not waited for.
            runtime.shutdown_background();
            if let Err(error) = served {
                tracing::error!("the review page stopped: {error}");
            }
        })
        .map_err(failed)?;
    Ok(Server { url: url(address), address, stop: Some(stop), thread: Some(thread) })
}

async fn run(listener: std::net::TcpListener, router: Router, stopped: oneshot::Receiver<()>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::select! {
        served = axum::serve(listener, router) => served,
        _ = stopped => Ok(()),
    }
}

/// A name for the address that a browser on this machine can open.
fn url(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_unspecified() => format!("http://127.0.0.1:{}/", address.port()),
        _ => format!("http://{address}/"),
    }
}

fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route(
            "/",
            get(|headers: HeaderMap| async move {
                asset(&headers, "text/html; charset=utf-8", Body::from(INDEX_HTML), INDEX_HTML.len())
            }),
        )
        .route(
            "/viewer.js",
            get(|headers: HeaderMap| async move { asset(&headers, "text/javascript", Body::from(VIEWER_JS), VIEWER_JS.len()) }),
        )
        .route(
            "/style.css",
            get(|headers: HeaderMap| async move { asset(&headers, "text/css", Body::from(STYLE_CSS), STYLE_CSS.len()) }),
        )
        .route("/re_viewer.js", get(viewer_js))
        .route("/re_viewer_bg.wasm", get(viewer_wasm))
        .route("/favicon.ico", get(StatusCode::NO_CONTENT))
        .route("/config.json", get(config))
        .route("/clips/{file}", get(clip))
        .layer(middleware::from_fn_with_state(site.clone(), guard))
        .with_state(site)
}

/// Refuses requests that were meant for another host, and tells the browser how little the page may do.
async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let Some(name) = host_name(&host).filter(|name| !site.bind.ip().is_loopback() || is_this_machine(name)) else {
        return (StatusCode::FORBIDDEN, "this server answers requests for its own address only\n").into_response();
    };
    let policy = content_security_policy(name, site.live_grpc_port);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

/// The host without its port, or `None` where it is not one (it goes into a header, so its characters are limited).
fn host_name(host: &str) -> Option<&str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    (!name.is_empty() && name.bytes().all(valid)).then_some(name)
}

fn is_this_machine(name: &str) -> bool {
    let ip = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

fn content_security_policy(host: &str, live_grpc_port: Option<u16>) -> String {
    let stream = live_grpc_port.map(|port| format!(" http://{host}:{port}")).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; \
         connect-src 'self' data: blob:{stream}; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

async fn viewer_js(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let bytes = viewer_asset(&site, WebViewerData::viewer_js);
    let length = bytes.len();
    asset(&headers, "text/javascript", Body::from(bytes), length)
}

async fn viewer_wasm(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let bytes = viewer_asset(&site, WebViewerData::viewer_wasm);
    let length = bytes.len();
    asset(&headers, "application/wasm", Body::from(bytes), length)
}

/// A file of the viewer without a copy of its 40 MB: the bytes keep the site alive, and the site holds them.
fn viewer_asset(site: &Arc<Site>, pick: fn(&WebViewerData) -> &[u8]) -> bytes::Bytes {
    struct Held(Arc<Site>, fn(&WebViewerData) -> &[u8]);
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            (self.1)(&self.0.viewer)
        }
    }
    bytes::Bytes::from_owner(Held(site.clone(), pick))
}

/// Something that changes with the program only: a browser that has it gets the word that it is still good.
fn asset(request: &HeaderMap, content_type: &'static str, body: Body, length: usize) -> Response {
    let tag = format!("\"{}-{}-{length}\"", env!("CARGO_PKG_VERSION"), rerun::build_info().version);
    let caching = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, content_type)], body).into_response()
}

async fn config(State(site): State<Arc<Site>>) -> Response {
    let clips: Vec<_> = site
        .clips
        .iter()
        .enumerate()
        .map(|(index, clip)| {
            let url = format!("clips/{index}.rrd");
            serde_json::json!({ "name": clip.name, "url": url, "bytes": clip.bytes, "last_frame": clip.last_frame })
        })
        .collect();
    let config = serde_json::json!({ "clips": clips, "live_grpc_port": site.live_grpc_port, "version": env!("CARGO_PKG_VERSION") });
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], config.to_string()).into_response()
}

async fn clip(State(site): State<Arc<Site>>, Path(file): Path<String>, headers: HeaderMap) -> Response {
    let number = file.strip_suffix(".rrd").and_then(|number| number.parse::<usize>().ok());
    match number.and_then(|number| site.clips.get(number)) {
        Some(clip) => files::send(clip.path.clone(), headers.get(header::RANGE), site.in_flight.clone()).await,
        None => (StatusCode::NOT_FOUND, "no such recording\n").into_response(),
    }
}

#[cfg(test)]
mod tests;
