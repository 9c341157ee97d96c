//! Sends a file, whole or a range of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Answers with a file. A permit is held until the bytes have left, which bounds the memory that downloads take.
pub(super) async fn send(path: PathBuf, range: Option<&HeaderValue>, permits: Arc<Semaphore>) -> Response {
    let range = range.and_then(|range| range.to_str().ok()).map(str::to_owned);
    let Ok(permit) = permits.acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // Reading blocks; the runtime of the page has one thread.
    let read = tokio::task::spawn_blocking(move || read(&path, range.as_deref())).await;
    match read {
        Ok(Ok(Part::Whole(data))) => answer(StatusCode::OK, None, data, permit),
        Ok(Ok(Part::Range { data, at, total })) => {
            let content_range = format!("bytes {}-{}/{total}", at.start, at.end.saturating_sub(1));
            answer(StatusCode::PARTIAL_CONTENT, Some(content_range), data, permit)
        }
        Ok(Ok(Part::Unsatisfiable { total })) => {
            (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, format!("bytes */{total}"))]).into_response()
        }
        Ok(Err(error)) => {
            tracing::warn!("a recording cannot be sent: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "the recording cannot be read\n").into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

enum Part {
    Whole(Vec<u8>),
    Range { data: Vec<u8>, at: Range<u64>, total: u64 },
    Unsatisfiable { total: u64 },
}

/// Bytes that give their permit back when the last of them is sent.
struct Held {
    data: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

fn answer(status: StatusCode, content_range: Option<String>, data: Vec<u8>, permit: OwnedSemaphorePermit) -> Response {
    let body = Body::from(Bytes::from_owner(Held { data, _permit: permit }));
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::ACCEPT_RANGES, "bytes"), (header::CACHE_CONTROL, "no-cache")];
    let content_range = content_range.map(|value| [(header::CONTENT_RANGE, value)]);
    match content_range {
        Some(content_range) => (status, headers, content_range, body).into_response(),
        None => (status, headers, body).into_response(),
    }
}

fn read(path: &Path, range: Option<&str>) -> std::io::Result<Part> {
    let mut file = File::open(path)?;
    let total = file.metadata()?.len();
    let at = match range.map(|range| parse(range, total)) {
        None | Some(Asked::Everything) => 0..total,
        Some(Asked::Nothing) => return Ok(Part::Unsatisfiable { total }),
        Some(Asked::Bytes(at)) => at,
    };
    file.seek(SeekFrom::Start(at.start))?;
    let mut data = Vec::new();
    let length = at.end - at.start;
    data.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX)).map_err(std::io::Error::other)?;
    file.take(length).read_to_end(&mut data)?;
    if data.len() as u64 != length {
        return Err(std::io::Error::other(format!(
            "expected {length} bytes, got {}: the file changed while it was read",
            data.len()
        )));
    }
    Ok(if range.is_some() && (at.start, at.end) != (0, total) { Part::Range { data, at, total } } else { Part::Whole(data) })
}

#[derive(Debug, PartialEq)]
enum Asked {
    Everything,
    Bytes(Range<u64>),
    Nothing,
}

/// One range of bytes (RFC 9110, 14.1.2). Several at once, or another unit, are answered with everything, which the standard allows.
fn parse(range: &str, total: u64) -> Asked {
    let Some((first, last)) = range.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Everything;
    };
    let at = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(total),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..total,
        (Err(_), Ok(suffix)) if first.trim().is_empty() => total.saturating_sub(suffix)..total,
        _ => return Asked::Everything,
    };
    if at.start < at.end { Asked::Bytes(at) } else { Asked::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (range, asked) in [
            ("bytes=0-9", Asked::Bytes(0..10)),
            ("bytes=90-", Asked::Bytes(90..100)),
            ("bytes=-5", Asked::Bytes(95..100)),
            ("bytes=-500", Asked::Bytes(0..100)),
            ("bytes=50-5000", Asked::Bytes(50..100)),
            ("bytes=100-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=9-1", Asked::Everything),
            ("bytes=0-1,5-6", Asked::Everything),
            ("lines=0-1", Asked::Everything),
            ("bytes=99999999999999999999-", Asked::Everything),
        ] {
            assert_eq!(parse(range, 100), asked, "{range}");
        }
    }
}
