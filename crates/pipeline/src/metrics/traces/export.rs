//! The thread that sends spans to a collector, and the bounded queue before it.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::TraceCounts;
use crate::metrics::{MetricsError, lock};

/// Traces (of six spans each) that may wait for the collector: a worker with 64 vehicles seals that many clips every 20 s, and they are
/// a few kilobytes each.
pub const QUEUE_TRACES: usize = 256;
/// Most traces in one request.
const BATCH_TRACES: usize = 64;
/// How long a request may take: a collector beside the worker answers in milliseconds.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the end of a run may wait for the collector. After that the thread is left to itself, and ends with the process.
pub const FAREWELL: Duration = Duration::from_secs(4);
/// Failures are told once in so long: a collector that is away fails every request.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Exporter {
    /// `None` once the run is over.
    queue: Mutex<Option<SyncSender<Vec<SpanData>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    counts: Arc<TraceCounts>,
}

impl Exporter {
    pub(super) fn start(endpoint: &str) -> Result<Self, MetricsError> {
        let wrong = |message: String| MetricsError::Exporter { endpoint: endpoint.to_owned(), message };
        let mut exporter = OtlpExporter::builder()
            .with_http()
            .with_endpoint(endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(SEND_TIMEOUT)
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let service = [KeyValue::new("service.name", "boxwright"), KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
        let process = KeyValue::new("process.pid", i64::from(std::process::id()));
        exporter.set_resource(&Resource::builder_empty().with_attributes(service).with_attribute(process).build());
        let counts = Arc::<TraceCounts>::default();
        let (queue, inbox) = sync_channel(QUEUE_TRACES);
        let sender = Sender { exporter, counts: counts.clone(), told: None };
        let thread = std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || sender.run(&inbox))
            .map_err(|source| MetricsError::Start { what: "the thread for traces", source })?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), counts })
    }

    pub(super) fn counts(&self) -> Arc<TraceCounts> {
        self.counts.clone()
    }

    /// Hands over the spans of one trace, or drops and counts them.
    pub(super) fn send(&self, spans: Vec<SpanData>) {
        let refused = match lock(&self.queue).as_ref().map(|queue| queue.try_send(spans)) {
            Some(Err(TrySendError::Full(spans) | TrySendError::Disconnected(spans))) => spans.len(),
            Some(Ok(())) | None => 0,
        };
        self.counts.dropped.fetch_add(refused as u64, Ordering::Relaxed);
    }

    /// Lets the thread send what waits, for at most [`FAREWELL`].
    pub(super) fn finish(&self) {
        *lock(&self.queue) = None;
        let Some(thread) = lock(&self.thread).take() else { return };
        let deadline = Instant::now() + FAREWELL;
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                tracing::warn!(
                    waited_s = FAREWELL.as_secs(),
                    "the collector of traces does not answer: what waits for it is left behind"
                );
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.join().is_err() {
            tracing::error!("the thread for traces ended with a panic");
        }
    }
}

struct Sender {
    exporter: OtlpExporter,
    counts: Arc<TraceCounts>,
    /// When a failure was told last.
    told: Option<Instant>,
}

impl Sender {
    fn run(mut self, inbox: &Receiver<Vec<SpanData>>) {
        while let Ok(first) = inbox.recv() {
            let batch: Vec<SpanData> = std::iter::once(first).chain(inbox.try_iter().take(BATCH_TRACES - 1)).flatten().collect();
            let spans = batch.len() as u64;
            match wait(self.exporter.export(batch)) {
                Ok(()) => {
                    self.counts.exported.fetch_add(spans, Ordering::Relaxed);
                }
                Err(error) => {
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    self.counts.dropped.fetch_add(spans, Ordering::Relaxed);
                    self.tell(&error, spans);
                }
            }
        }
    }

    fn tell(&mut self, error: &dyn std::error::Error, spans: u64) {
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!(%error, spans, "traces do not reach the collector; the run goes on");
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread. The exporter's blocks by itself and is ready at once; this only keeps the promise if it is not.
fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
