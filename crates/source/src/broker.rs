//! A broker inside the process, for demos, tests and labs that have no Kafka.
//!
//! It is [nisshi](https://nisshi.io), a broker written in Rust, on a thread of its own. It serves the Kafka protocol to any client, so
//! that everything else is exactly the code that runs against Apache Kafka.
//!
//! # What it is good for
//! [`LIMITS`] says it to the user. Figures for 2 MB messages through librdkafka, produced and then consumed by one process on two cores
//! (`cargo test --release -p boxwright-source --lib speed -- --ignored --nocapture`):
//!
//! | kept in | produced | consumed | resident memory |
//! | --- | --- | --- | --- |
//! | memory | 243 MB/s | 486 MB/s | grows by what is produced |
//! | a folder (SQLite) | 38 MB/s | 3 MB/s | flat |
//!
//! Not served: DeleteRecords (the connection breaks), offsets for times, TLS and authentication, retention and compaction. In memory the
//! end of a partition is answered one too low for every message that shared a batch with the last one, so that counts of small messages
//! are too low; reading is not touched by it. A group waits some seconds before it forms.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nisshi_broker::broker::Broker;
use nisshi_broker::coordinator::group::administrator::Controller;
use tokio::sync::oneshot;
use url::Url;
use uuid::Uuid;

use crate::error::SourceError;

/// What a user should know before relying on it.
pub const LIMITS: &str = "one node without copies, TLS or passwords: for labs and demos, not for a fleet. In memory nothing is ever deleted; \
                          with --data reading is slow (about 3 MB/s), so a lab with a lidar wants Apache Kafka";

/// How long it may take to serve the first connection.
const READY: Duration = Duration::from_secs(10);
/// How long connections may take to end.
const FAREWELL: Duration = Duration::from_secs(5);
/// A free port is found by asking for one and giving it back; somebody else may take it meanwhile, but hardly so often.
const PORT_ATTEMPTS: usize = 8;
const NODE_ID: i32 = 1;
const CLUSTER_ID: &str = "boxwright";

/// A running broker. Stops when dropped.
pub struct EmbeddedBroker {
    advertised: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Held as long as the broker runs.
    _lock: Option<std::fs::File>,
}

impl EmbeddedBroker {
    /// Starts a broker that listens on `listen` (port 0 takes a free one) and keeps everything in `data_dir`, or in memory where none is
    /// given. It serves when this returns.
    ///
    /// # Errors
    /// When the address cannot be used, or the folder cannot be written or is in use by another broker.
    pub fn start(listen: SocketAddr, data_dir: Option<&Path>) -> Result<Self, SourceError> {
        let (storage, lock) = match data_dir.filter(|dir| !dir.as_os_str().is_empty()) {
            None => ("memory://boxwright/".to_owned(), None),
            Some(dir) => {
                let (dir, lock) = claim(dir)?;
                (sqlite_url(&dir)?, Some(lock))
            }
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let address = choose_port(listen)?;
            match launch(address, &storage) {
                Ok((stop, thread)) => {
                    let advertised = advertised(address);
                    return Ok(Self { advertised, stop: Some(stop), thread: Some(thread), _lock: lock });
                }
                Err(_) if listen.port() == 0 && attempts < PORT_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The address that clients are told, `host:port`. Where the broker listens on all interfaces it is that of the interface that
    /// leads out of this machine.
    #[must_use]
    pub fn address(&self) -> String {
        self.advertised.to_string()
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let deadline = Instant::now() + FAREWELL + Duration::from_secs(1);
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() && thread.join().is_err() {
                tracing::error!("the broker ended with a panic");
            }
        }
    }
}

fn broken(message: impl Into<String>) -> SourceError {
    SourceError::Broker(message.into())
}

/// Makes the folder and takes it for this process: two brokers on one set of files would spoil it.
fn claim(dir: &Path) -> Result<(PathBuf, std::fs::File), SourceError> {
    let unusable = |error: std::io::Error| broken(format!("cannot use {}: {error}\nhint: --data names another folder", dir.display()));
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let dir = dir.canonicalize().map_err(unusable)?;
    let lock = std::fs::File::create(dir.join("broker.lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok((dir, lock)),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(broken(format!("another broker uses {}\nhint: stop it, or name another folder by --data", dir.display())))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(unusable(error)),
    }
}

fn sqlite_url(dir: &Path) -> Result<String, SourceError> {
    let file = dir.join("broker.db");
    let text = file.to_str().unwrap_or_default();
    // Two slashes more than it seems to need: the engine takes one away and lays the rest over the working directory, which an absolute
    // path replaces. It does not undo the escapes of the URL, so a name that needs them would become another name.
    let url = format!("sqlite:///{text}");
    let kept = Url::parse(&url).is_ok_and(|url| url.path().strip_prefix('/') == Some(text));
    if text.is_empty() || !kept {
        return Err(broken(format!(
            "cannot use {}: expected a path of plain letters without spaces\nhint: --data names another folder",
            dir.display()
        )));
    }
    Ok(url)
}

fn choose_port(listen: SocketAddr) -> Result<SocketAddr, SourceError> {
    let probe = TcpListener::bind(listen).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => "something listens there already (a broker?): --listen takes another port, 0 any free one",
            ErrorKind::PermissionDenied => "ports below 1024 need privileges: --listen takes another",
            _ => "--listen takes an address of this machine, such as 127.0.0.1:9092",
        };
        broken(format!("cannot listen on {listen}: {error}\nhint: {hint}"))
    })?;
    probe.local_addr().map_err(|error| broken(format!("cannot listen on {listen}: {error}")))
}

/// What clients are told: they connect to the listening address first and to this one for everything after it.
fn advertised(listen: SocketAddr) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    // Connecting a UDP socket sends nothing; it only asks the routing table. The address is one reserved for documentation.
    let outward = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| socket.local_addr()));
    let ip = outward.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
    let told = SocketAddr::new(ip, listen.port());
    tracing::info!(%listen, advertised = %told, "clients are told the address of the outward interface");
    told
}

type Shared = nisshi_storage::ArcDynStorage;
type Running = (oneshot::Sender<()>, JoinHandle<()>);

fn launch(listen: SocketAddr, storage: &str) -> Result<Running, SourceError> {
    let (stop, stopped) = oneshot::channel();
    // One message: why it ended before it was ready.
    let (report, ended) = sync_channel(1);
    let storage = Url::parse(storage).map_err(|error| broken(format!("storage: {error}")))?;
    let thread = std::thread::Builder::new()
        .name("broker".to_owned())
        .spawn(move || {
            if let Err(error) = serve(listen, storage, stopped) {
                // Nobody listens any more once it is ready.
                let _ = report.try_send(error);
            }
        })
        .map_err(|error| broken(format!("cannot start its thread: {error}")))?;
    await_ready(listen, &ended)?;
    Ok((stop, thread))
}

fn serve(listen: SocketAddr, storage: Url, stopped: oneshot::Receiver<()>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("broker")
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(async move {
        let url = |address: SocketAddr| Url::parse(&format!("tcp://{address}")).map_err(|error| error.to_string());
        let mut broker = Broker::<Controller<Shared>, Shared>::builder()
            .node_id(NODE_ID)
            .cluster_id(CLUSTER_ID)
            .incarnation_id(Uuid::new_v4())
            .listener(url(listen)?)
            .advertised_listener(url(advertised(listen))?)
            .storage(storage)
            // Or it writes to stdout, which is data.
            .silent(true)
            .build()
            .await
            .map_err(|error| error.to_string())?;
        tokio::select! {
            ended = broker.serve(tokio::time::Instant::now()) => ended.map_err(|error| error.to_string()),
            _ = stopped => Ok(()),
        }
    });
    runtime.shutdown_timeout(FAREWELL);
    outcome
}

fn await_ready(listen: SocketAddr, ended: &Receiver<String>) -> Result<(), SourceError> {
    let to = if listen.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port())) } else { listen };
    let deadline = Instant::now() + READY;
    loop {
        match ended.recv_timeout(Duration::from_millis(2)) {
            Ok(error) => return Err(broken(error)),
            Err(RecvTimeoutError::Disconnected) => return Err(broken("it ended before it was ready")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if TcpStream::connect_timeout(&to, Duration::from_millis(200)).is_ok() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(broken(format!("it did not serve {to} within {} s", READY.as_secs())));
        }
    }
}
