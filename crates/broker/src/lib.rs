//! A broker inside the process, for demos, tests and labs that have no Kafka.
//!
//! The protocol and the consumer groups are those of [nisshi](https://nisshi.io); messages are kept by the modules `storage` and `log`. It serves
//! any Kafka client over a socket, so that everything else is exactly the code that runs against Apache Kafka.
//!
//! # What it is good for
//! [`LIMITS`] says it to the user. Figures for 2 MB messages through librdkafka, produced and then consumed by one process on two cores:
//!
//! | kept in | produced | consumed | resident memory |
//! | --- | --- | --- | --- |
//! | memory | 340 MB/s | 701 MB/s | grows by what is produced |
//! | a folder | 269 MB/s | 417 MB/s | flat |
//!
//! Not served: DeleteRecords and transactions (not announced to clients), TLS and authentication, quotas, retention and compaction (nothing is
//! deleted but whole topics). Offsets for times are exact to a batch. A group waits three seconds before it forms, as Kafka does by
//! default.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

mod fetch;

mod server;

mod storage;

mod log;

mod journal;

/// What a user should know before relying on it.
pub const LIMITS: &str = "one node without copies, TLS or passwords: for labs and demos, not for a fleet. Nothing is deleted but whole \
                          topics: without --data memory grows with every message, with it the folder does";

/// How long connections may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// A running broker. Stops when dropped, and with it every connection.
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
    pub fn start(listen: SocketAddr, data_dir: Option<&Path>) -> Result<Self, BrokerError> {
        let claimed = data_dir.filter(|dir| !dir.as_os_str().is_empty()).map(claim).transpose()?;
        let (data_dir, lock) = claimed.unzip();
        let listener = bind(listen)?;
        let address = listener.local_addr().map_err(|error| broken(format!("cannot listen on {listen}: {error}")))?;
        let advertised = advertised(address);
        let (stop, stopped) = oneshot::channel();
        // One message: that it serves, or why it does not.
        let (report, ready) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || server::run(listener, advertised, data_dir.as_deref(), stopped, &report))
            .map_err(|error| broken(format!("cannot start its thread: {error}")))?;
        match ready.recv() {
            Ok(Ok(())) => Ok(Self { advertised, stop: Some(stop), thread: Some(thread), _lock: lock }),
            Ok(Err(message)) => Err(broken(message)),
            Err(_) => Err(broken("it ended before it served")),
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
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + FAREWELL + Duration::from_secs(1);
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                tracing::warn!("the broker does not end: left behind");
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if thread.join().is_err() {
            tracing::error!("the broker ended with a panic");
        }
    }
}

/// The broker cannot start.
#[derive(Debug, thiserror::Error)]
#[error("embedded broker: {0}")]
pub struct BrokerError(String);

fn broken(message: impl Into<String>) -> BrokerError {
    BrokerError(message.into())
}

/// Makes the folder and takes it for this process: two brokers on one set of files would spoil it.
fn claim(dir: &Path) -> Result<(PathBuf, std::fs::File), BrokerError> {
    let unusable =
        |error: std::io::Error| broken(format!("cannot use {}: {error}\nhint: --data names another folder", dir.display()));
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

fn bind(listen: SocketAddr) -> Result<TcpListener, BrokerError> {
    TcpListener::bind(listen).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => "something listens there already (a broker?): --listen takes another port, 0 any free one",
            ErrorKind::PermissionDenied => "ports below 1024 need privileges: --listen takes another",
            _ => "--listen takes an address of this machine, such as 127.0.0.1:9092",
        };
        broken(format!("cannot listen on {listen}: {error}\nhint: {hint}"))
    })
}

/// What clients are told: they connect to an address they know first, and to this one for everything after it.
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
