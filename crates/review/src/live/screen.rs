//! What a live view is shown on. Every call may block for as long as a viewer likes: only the thread of the live view makes them.

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rerun::external::re_log_types::LogMsg;
use rerun::external::re_uri::ProxyUri;
use rerun::sink::{GrpcSink, GrpcSinkConnectionState, LogSink};

use crate::error::ReviewError;
use crate::rrd::RrdFile;

/// A viewer or a file.
pub(super) trait Screen: Send {
    /// Hands messages over; blocks when the viewer is slow.
    fn show(&mut self, messages: Vec<LogMsg>) -> Result<(), ReviewError>;

    /// Ends it: waits up to `timeout` for what is under way. What a viewer has not taken by then may block the thread for longer.
    fn close(self: Box<Self>, timeout: Duration) -> Result<(), ReviewError>;
}

/// How long a viewer's address may take to answer, and our own server to come up.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// A server that viewers connect to.
pub(super) struct GrpcServerScreen {
    sink: rerun::grpc_server::GrpcServerSink,
    port: u16,
}

impl GrpcServerScreen {
    /// Listens on `address` (port 0: a free one) and answers pages that come from `web_port`.
    pub(super) fn start(address: SocketAddr, web_port: u16, memory_limit_bytes: u64) -> Result<Self, ReviewError> {
        let taken = |source| ReviewError::Bind {
            what: "the live view",
            address,
            source,
            hint: "set view.grpc_port to a free port, or to 0 to let the system choose",
        };
        // Rerun's server reports a taken port to its log only, so the port is tried (and with 0 chosen) here first.
        let port = TcpListener::bind(address).and_then(|listener| listener.local_addr()).map_err(taken)?.port();
        let options = rerun::ServerOptions {
            playback_behavior: rerun::PlaybackBehavior::NewestFirst,
            memory_limit: rerun::MemoryLimit::from_bytes(memory_limit_bytes),
            cors_allowed_origins: origins(address, web_port),
        };
        let bind_ip = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        let sink = rerun::grpc_server::GrpcServerSink::new(&bind_ip, port, options)
            .map_err(|error| ReviewError::Start { what: "the server of the live view", why: error.to_string() })?;
        wait_until_up(address, port)?;
        Ok(Self { sink, port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Screen for GrpcServerScreen {
    fn show(&mut self, messages: Vec<LogMsg>) -> Result<(), ReviewError> {
        self.sink.send_all(messages);
        Ok(())
    }

    fn close(self: Box<Self>, timeout: Duration) -> Result<(), ReviewError> {
        self.sink.flush_blocking(timeout).map_err(|error| ReviewError::Disconnected(error.to_string()))
    }
}

/// Pages that may read the stream besides those of this machine: on an open address, those of our own port.
fn origins(address: SocketAddr, web_port: u16) -> Vec<String> {
    match (address.ip().is_loopback(), web_port) {
        (true, _) => Vec::new(),
        (false, 0) => vec!["http://*".to_owned()],
        (false, port) => vec![format!("http://*:{port}")],
    }
}

fn wait_until_up(address: SocketAddr, port: u16) -> Result<(), ReviewError> {
    let ip = if address.ip().is_unspecified() { std::net::Ipv4Addr::LOCALHOST.into() } else { address.ip() };
    let start = Instant::now();
    loop {
        match TcpStream::connect_timeout(&SocketAddr::new(ip, port), ANSWER_WITHIN) {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > ANSWER_WITHIN => {
                return Err(ReviewError::Start { what: "the server of the live view", why: error.to_string() });
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A viewer that was already there.
pub(super) struct GrpcClientScreen {
    sink: GrpcSink,
}

impl GrpcClientScreen {
    /// Connects to a viewer that answers now; one that comes later is not waited for.
    pub(super) fn connect(url: &str) -> Result<Self, ReviewError> {
        let uri = ProxyUri::from_str(url).map_err(|error| ReviewError::Url { url: url.to_owned(), why: error.to_string() })?;
        let unreachable = |why: String| ReviewError::Unreachable { url: url.to_owned(), why };
        let host = uri.origin.host.to_string();
        let addresses =
            (host.trim_matches(['[', ']']), uri.origin.port).to_socket_addrs().map_err(|error| unreachable(error.to_string()))?;
        let mut why = "the name has no address".to_owned();
        for address in addresses {
            match TcpStream::connect_timeout(&address, ANSWER_WITHIN) {
                Ok(_) => return Ok(Self { sink: GrpcSink::new(uri) }),
                Err(error) => why = error.to_string(),
            }
        }
        Err(unreachable(why))
    }
}

impl Screen for GrpcClientScreen {
    fn show(&mut self, messages: Vec<LogMsg>) -> Result<(), ReviewError> {
        self.sink.send_all(messages);
        match self.sink.status() {
            GrpcSinkConnectionState::Disconnected(Ok(())) => Err(ReviewError::Disconnected("it was closed".to_owned())),
            GrpcSinkConnectionState::Disconnected(Err(error)) => Err(ReviewError::Disconnected(error.to_string())),
            GrpcSinkConnectionState::Connecting { .. } | GrpcSinkConnectionState::Connected => Ok(()),
        }
    }

    fn close(self: Box<Self>, timeout: Duration) -> Result<(), ReviewError> {
        self.sink.flush_blocking(timeout).map_err(|error| ReviewError::Disconnected(error.to_string()))
    }
}

/// A recording on disk.
pub(super) struct FileScreen {
    file: RrdFile,
}

impl FileScreen {
    pub(super) fn create(path: &Path) -> Result<Self, ReviewError> {
        Ok(Self { file: RrdFile::create(path)? })
    }
}

impl Screen for FileScreen {
    fn show(&mut self, messages: Vec<LogMsg>) -> Result<(), ReviewError> {
        self.file.append(&messages)
    }

    fn close(self: Box<Self>, _timeout: Duration) -> Result<(), ReviewError> {
        self.file.finish().map(|_| ())
    }
}
