//! A connection that cannot be relied on: a TCP proxy that is slow, and that breaks some connections off.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long every answer is late, at least.
const DELAY: Duration = Duration::from_millis(15);
/// Bytes of a request that come through before a connection that breaks off does.
const LONGEST_BEGINNING_BYTES: u64 = 96 << 10;
/// Pieces of answers that a good connection lives for: few, because clients keep connections, and each new one may be a bad one.
const ANSWERS: usize = 6;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Requests come through, and [`ANSWERS`] late.
    Slow,
    /// The request breaks off after so many bytes.
    CutRequest(u64),
    /// The request comes through, and nobody hears what became of it.
    NoAnswer,
}

/// Runs until the process ends: a thread for each direction of a connection.
#[derive(Clone, Debug)]
pub struct Unsteady {
    address: SocketAddr,
    broken: Arc<AtomicU64>,
}

impl Unsteady {
    /// Stands before `target`. The same seed breaks the same connections.
    #[must_use]
    pub fn before(target: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let unsteady = Self { address: listener.local_addr().unwrap(), broken: Arc::default() };
        let broken = unsteady.broken.clone();
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                let fate = fate(seed, number as u64);
                broken.fetch_add(u64::from(fate != Fate::Slow), Ordering::Relaxed);
                if let Ok(server) = TcpStream::connect(target) {
                    pass(&client, &server, fate);
                }
            }
        });
        unsteady
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that were broken off.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }
}

/// Two of six connections come to nothing, one of each kind.
fn fate(seed: u64, number: u64) -> Fate {
    // SplitMix64 (Steele, Lea and Flood 2014), so that neighbouring numbers have nothing in common.
    let mut mixed = seed.wrapping_add((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    match mixed % 6 {
        0 => Fate::CutRequest((mixed >> 8) % LONGEST_BEGINNING_BYTES),
        1 => Fate::NoAnswer,
        _ => Fate::Slow,
    }
}

fn pass(client: &TcpStream, server: &TcpStream, fate: Fate) {
    let requests = match fate {
        Fate::CutRequest(bytes) => bytes,
        Fate::Slow | Fate::NoAnswer => u64::MAX,
    };
    let answers = if fate == Fate::NoAnswer { 0 } else { u64::MAX };
    for (from, to, bytes, pieces, delay) in
        [(client, server, requests, usize::MAX, Duration::ZERO), (server, client, answers, ANSWERS, DELAY)]
    {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || carry(from, to, bytes, pieces, delay));
    }
}

/// Carries up to so many bytes and pieces, then breaks the connection off on both sides.
fn carry(mut from: TcpStream, mut to: TcpStream, mut left: u64, pieces: usize, delay: Duration) {
    let mut buffer = vec![0; 64 << 10];
    for _ in 0..pieces {
        let Ok(length @ 1..) = from.read(&mut buffer) else { break };
        std::thread::sleep(delay);
        let passed = usize::try_from(left).unwrap_or(usize::MAX).min(length);
        if to.write_all(&buffer[..passed]).is_err() || passed < length {
            break;
        }
        left = left.saturating_sub(passed as u64);
    }
    // The other side may be gone already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
