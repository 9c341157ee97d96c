//! The live view: frames on their way to a viewer, without ever making the pipeline wait.
//!
//! ```text
//! pipeline ── offer (never blocks) ──► newest-wins queue ──► thread "review-live": draw, send ──► viewer
//! ```
//!
//! Rerun's own server hands the pressure of its slowest viewer back to whoever logs: one frozen browser blocks the logger until the browser
//! lives again. So the only thread that ever waits for a viewer is the one of this module. When it is stuck, the queue keeps the newest
//! frames and counts the others; when it is still stuck at the end, [`LiveView::finish`] leaves it behind and returns in time.

mod queue;
mod screen;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use boxwright_model::scene::SceneFrame;
use boxwright_model::taxonomy::Taxonomy;

use self::queue::NewestQueue;
use self::screen::{FileScreen, GrpcClientScreen, GrpcServerScreen, Screen};
use crate::error::ReviewError;
use crate::stream::SceneStream;
use crate::web::{self, Server};

/// How long the thread of the view waits for what is under way when the stream ends; [`LiveView::finish`] may give up earlier.
const FLUSH: Duration = Duration::from_secs(5);

/// Where a live view goes.
#[derive(Clone, Debug, PartialEq)]
pub enum ViewTarget {
    /// Serve the review page and the stream it reads.
    Serve {
        /// Address to listen on. There is no password: anything but loopback shows the data to the network.
        bind: IpAddr,
        /// Port of the stream; 0 takes a free one.
        grpc_port: u16,
        /// Port of the page; 0 takes a free one.
        web_port: u16,
        /// How much of the stream is kept for a viewer that opens late.
        memory_limit_bytes: u64,
    },
    /// Send to a viewer that is already open.
    Connect {
        /// Such as `rerun+http://127.0.0.1:9876/proxy`.
        url: String,
    },
    /// Write a recording as it happens; it gets its name when the view is finished.
    File(PathBuf),
}

/// How a live view is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveStats {
    /// Frames that were handed to the viewer.
    pub shown: u64,
    /// Frames that were not: the viewer was too slow, or gone.
    pub dropped: u64,
}

/// How a live view ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The last count.
    pub stats: LiveStats,
    /// Whether everything that was shown has reached the viewer (or the file is whole); false when the timeout came first.
    pub flushed: bool,
}

/// A running live view.
#[derive(Debug)]
pub struct LiveView {
    queue: Arc<NewestQueue<SceneFrame>>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
    /// Gets one word when the thread is done: whether the viewer has got everything. Behind a lock only to be shared between lanes.
    done: Mutex<Receiver<bool>>,
    url: String,
    /// The page, while it is served.
    _page: Option<Server>,
}

#[derive(Debug, Default)]
struct Counters {
    shown: AtomicU64,
    lost: AtomicU64,
}

impl LiveView {
    /// Opens the view and starts its thread. At most `queue_frames` frames wait for a slow viewer (at least one).
    ///
    /// # Errors
    /// When a port is taken, the address is none, no viewer answers there within three seconds, or the file cannot be created.
    pub fn start(target: ViewTarget, taxonomy: Arc<Taxonomy>, queue_frames: usize) -> Result<Self, ReviewError> {
        let (screen, url, page): (Box<dyn Screen>, String, Option<Server>) = match target {
            ViewTarget::Serve { bind, grpc_port, web_port, memory_limit_bytes } => {
                let screen = GrpcServerScreen::start(SocketAddr::new(bind, grpc_port), web_port, memory_limit_bytes)?;
                let page = web::serve_live(SocketAddr::new(bind, web_port), screen.port())?;
                let url = page.url().to_owned();
                (Box::new(screen), url, Some(page))
            }
            ViewTarget::Connect { url } => (Box::new(GrpcClientScreen::connect(&url)?), url, None),
            ViewTarget::File(path) => (Box::new(FileScreen::create(&path)?), path.display().to_string(), None),
        };
        Self::on_screen(screen, url, page, taxonomy, queue_frames)
    }

    fn on_screen(
        screen: Box<dyn Screen>,
        url: String,
        page: Option<Server>,
        taxonomy: Arc<Taxonomy>,
        queue_frames: usize,
    ) -> Result<Self, ReviewError> {
        let queue = Arc::new(NewestQueue::new(queue_frames));
        let counters = Arc::new(Counters::default());
        // One message is sent, once: a bound of one never blocks the sender.
        let (done_sender, done) = sync_channel(1);
        let worker = Worker { queue: queue.clone(), counters: counters.clone(), stream: SceneStream::live(taxonomy), screen };
        let thread = std::thread::Builder::new()
            .name("review-live".to_owned())
            .spawn(move || worker.run(&done_sender))
            .map_err(|error| ReviewError::Start { what: "the thread of the live view", why: error.to_string() })?;
        Ok(Self { queue, counters, thread: Some(thread), done: Mutex::new(done), url, _page: page })
    }

    /// Hands a frame to the view and returns at once. When the viewer is behind, the oldest waiting frame is dropped and counted.
    pub fn offer(&self, frame: SceneFrame) {
        self.queue.push(frame);
    }

    /// Frames shown and dropped so far.
    #[must_use]
    pub fn stats(&self) -> LiveStats {
        LiveStats {
            shown: self.counters.shown.load(Ordering::Relaxed),
            dropped: self.queue.dropped() + self.counters.lost.load(Ordering::Relaxed),
        }
    }

    /// Where a person looks: the page, the viewer's address, or the file.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Shows what still waits and closes the view, within `timeout` even if the viewer is frozen: its thread is then left behind, and the
    /// frames that still waited are counted as dropped.
    #[must_use]
    pub fn finish(mut self, timeout: Duration) -> Finished {
        let deadline = Instant::now() + timeout;
        self.queue.close();
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        let flushed = match done.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(flushed) => {
                if let Some(thread) = self.thread.take() {
                    // The word is the last thing that the thread does.
                    let _ = thread.join();
                }
                flushed
            }
            Err(_) => {
                self.queue.clear();
                tracing::warn!(
                    "the viewer did not take the last frames within {timeout:?}; they are dropped from the view, not from storage"
                );
                false
            }
        };
        Finished { stats: self.stats(), flushed }
    }
}

impl Drop for LiveView {
    fn drop(&mut self) {
        // Without `finish`: what waits is not waited for.
        self.queue.close();
        self.queue.clear();
    }
}

/// The thread that may be blocked by a viewer, and owns all that can block.
struct Worker {
    queue: Arc<NewestQueue<SceneFrame>>,
    counters: Arc<Counters>,
    stream: SceneStream,
    screen: Box<dyn Screen>,
}

impl Worker {
    fn run(mut self, done: &SyncSender<bool>) {
        let mut warned = false;
        while let Some(frame) = self.queue.take() {
            match self.stream.frame(&frame).and_then(|messages| self.screen.show(messages)) {
                Ok(()) => self.counters.shown.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    if !std::mem::replace(&mut warned, true) {
                        tracing::warn!("the live view misses frames from frame {} on, storage goes on: {error}", frame.index);
                    }
                    self.counters.lost.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
        let flushed = self.screen.close(FLUSH);
        if let Err(error) = &flushed {
            tracing::warn!("the live view did not end well: {error}");
        }
        // Nobody may be listening any more, which is fine.
        let _ = done.try_send(flushed.is_ok());
    }
}

#[cfg(test)]
mod tests;
