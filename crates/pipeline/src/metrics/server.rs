//! The endpoint: `/metrics`, `/healthz`, `/readyz`, on a thread of its own.
//!
//! It asks for no password and shows numbers, names of vehicles and topics; it is meant for a loopback address or a network that only
//! the monitoring reaches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::oneshot;

use super::health::{ALIVE_WITHIN, Readiness};
use super::{Metrics, MetricsError};

/// What Prometheus is told of the page's format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A running endpoint; it stops when it is dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsServer {
    /// The address that is listened on, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The server may be gone already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves the metrics of a run at `address`; port 0 takes a free one.
///
/// # Errors
/// When the address cannot be listened on, or the thread not be started.
pub fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> Result<MetricsServer, MetricsError> {
    let taken = |source| MetricsError::Bind { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(taken)?;
    listener.set_nonblocking(true).map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "metrics are served without a password: whoever reaches this address reads names of vehicles and topics");
    }
    let failed = |source| MetricsError::Start { what: "the metrics endpoint", source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let router = router(metrics);
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            if let Err(error) = runtime.block_on(run(listener, router, stopped)) {
                tracing::error!(%error, %address, "the metrics endpoint stopped");
            }
        })
        .map_err(failed)?;
    tracing::info!(%address, "metrics are served");
    Ok(MetricsServer { address, stop: Some(stop), thread: Some(thread) })
}

/// Requests that are under way when it stops break off: nobody may hold up the end of a run.
async fn run(listener: std::net::TcpListener, router: Router, stopped: oneshot::Receiver<()>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::select! {
        served = axum::serve(listener, router) => served,
        _ = stopped => Ok(()),
    }
}

fn router(metrics: Arc<Metrics>) -> Router {
    Router::new().route("/metrics", get(page)).route("/healthz", get(alive)).route("/readyz", get(ready)).with_state(metrics)
}

async fn page(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.encode() {
        Ok(page) => ([(header::CONTENT_TYPE, OPENMETRICS)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn alive(State(metrics): State<Arc<Metrics>>) -> Response {
    let health = metrics.health();
    let body = serde_json::json!({
        "alive": health.is_alive(),
        "since_turn_s": health.since_turn().as_secs_f64(),
        "limit_s": ALIVE_WITHIN.as_secs(),
    });
    answer(health.is_alive(), &body)
}

async fn ready(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.readiness() {
        Readiness::Ready => answer(true, &serde_json::json!({ "ready": true })),
        Readiness::NotReady(reason) => answer(false, &serde_json::json!({ "ready": false, "reason": reason })),
    }
}

fn answer(good: bool, body: &serde_json::Value) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body.to_string()).into_response()
}
