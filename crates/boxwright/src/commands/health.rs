//! `boxwright health`: asks the endpoint of a run how it is, for containers whose image has no HTTP client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;

use crate::args::HealthArgs;
use crate::{Outcome, ui};

/// How long the endpoint may take to connect, and to answer: it answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most of an answer that is read; ours has a few hundred bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

pub(crate) fn execute(args: &HealthArgs) -> anyhow::Result<Outcome> {
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let (status, body) = get(args.address, path).with_context(|| {
        format!("no answer from http://{}{path}\nhint: `boxwright run --metrics {}` serves it", args.address, args.address)
    })?;
    ui::print(body.trim());
    anyhow::ensure!(status == 200, "http://{}{path}: expected status 200, got {status}", args.address);
    Ok(Outcome::Done)
}

/// Status and body.
fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("expected an HTTP answer, got something else")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("expected an HTTP status, got none")?;
    Ok((status, body.to_owned()))
}
