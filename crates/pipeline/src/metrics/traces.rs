//! One OpenTelemetry trace for each clip, from its first message to the commit of its offsets.
//!
//! ```text
//! clip            vehicle, clip, messages, payload bytes, samples, shard bytes; links to the producers' traces
//! ├─ receive      first to last message
//! ├─ label        first frame to the refined tracks; busy_s of it was work
//! ├─ write        first to last row; busy_s of it was work
//! ├─ seal         shards closed, manifest entry made
//! └─ commit       the commit that covers the clip (absent where the run ended before it)
//! ```
//!
//! The spans of a clip are made when it is over, from what was noted meanwhile, and handed over as one: a collector sees a whole trace or
//! none. They wait in a bounded queue for a thread that sends them. Where the collector is slow or away the queue fills up, and what finds
//! no room is dropped and counted; the run waits for none of it.

mod export;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};

use super::clips::{ClipName, ClipTimes};
use super::{MetricsError, Stage};
use export::Exporter;

pub use super::clips::MAX_LINKS;
pub use export::{FAREWELL, QUEUE_TRACES, SEND_TIMEOUT};

/// Stages that are spans of a clip, in order.
const SPANS: [Stage; 3] = [Stage::Label, Stage::Write, Stage::Seal];

/// What became of the spans.
#[derive(Debug, Default)]
pub struct TraceCounts {
    /// Spans that the collector took.
    pub(super) exported: AtomicU64,
    /// Spans that it did not get: no room in the queue, or a request that failed.
    pub(super) dropped: AtomicU64,
    /// Requests that failed.
    pub(super) failed: AtomicU64,
}

/// Makes the spans of clips and sends them.
#[derive(Debug)]
pub(super) struct Traces {
    exporter: Exporter,
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
}

impl Traces {
    pub(super) fn start(endpoint: &str) -> Result<Self, MetricsError> {
        Ok(Self {
            exporter: Exporter::start(endpoint)?,
            ids: RandomIdGenerator::default(),
            scope: InstrumentationScope::builder("boxwright").with_version(env!("CARGO_PKG_VERSION")).build(),
        })
    }

    pub(super) fn counts(&self) -> Arc<TraceCounts> {
        self.exporter.counts()
    }

    /// Sends the trace of a clip; `commit` is when the commit began and ended.
    pub(super) fn clip(&self, name: &ClipName, times: &ClipTimes, commit: Option<(SystemTime, SystemTime)>) {
        self.exporter.send(self.spans(name, times, commit));
    }

    /// Sends what waits, for at most [`FAREWELL`].
    pub(super) fn finish(&self) {
        self.exporter.finish();
    }

    fn spans(&self, (vehicle, clip): &ClipName, times: &ClipTimes, commit: Option<(SystemTime, SystemTime)>) -> Vec<SpanData> {
        let trace = self.ids.new_trace_id();
        let received = times.received;
        let mut root = self.span(trace, SpanId::INVALID, "clip", (received.began, received.ended));
        root.attributes = vec![
            KeyValue::new("boxwright.vehicle", vehicle.clone()),
            KeyValue::new("boxwright.clip", clip.0),
            KeyValue::new("boxwright.payload_bytes", whole(times.payload_bytes)),
        ];
        if let Some(sealed) = times.sealed {
            root.attributes.extend([
                KeyValue::new("boxwright.messages", whole(sealed.messages)),
                KeyValue::new("boxwright.samples", whole(sealed.samples)),
                KeyValue::new("boxwright.shard_bytes", whole(sealed.shard_bytes)),
                KeyValue::new("boxwright.sealed_by_us", sealed.ours),
            ]);
        }
        root.links.links = times.links.iter().map(|context| Link::new(context.clone(), Vec::new(), 0)).collect();
        root.links.dropped_count = times.links_left_out;
        let parent = root.span_context.span_id();
        let mut children = vec![self.span(trace, parent, "receive", (received.began, received.ended))];
        for stage in SPANS {
            if let Some(work) = times.stages[stage as usize] {
                let mut span = self.span(trace, parent, stage.as_str(), (work.began, work.ended));
                span.attributes.push(KeyValue::new("boxwright.busy_s", work.busy.as_secs_f64()));
                children.push(span);
            }
        }
        children.extend(commit.map(|window| self.span(trace, parent, Stage::Commit.as_str(), window)));
        root.end_time = children.iter().map(|span| span.end_time).fold(root.end_time, SystemTime::max);
        children.insert(0, root);
        children
    }

    fn span(
        &self,
        trace: TraceId,
        parent: SpanId,
        name: &'static str,
        (start_time, end_time): (SystemTime, SystemTime),
    ) -> SpanData {
        let context = SpanContext::new(trace, self.ids.new_span_id(), TraceFlags::SAMPLED, false, TraceState::NONE);
        SpanData {
            span_context: context,
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: if parent == SpanId::INVALID { SpanKind::Consumer } else { SpanKind::Internal },
            name: name.into(),
            start_time,
            end_time: end_time.max(start_time),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

/// A W3C `traceparent` header: `00-<trace>-<span>-<flags>` in lower-case hexadecimal. What does not follow the standard is no context;
/// versions above 00 may have more behind the flags.
pub(super) fn parse_trace_parent(text: &str) -> Option<SpanContext> {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let mut parts = text.splitn(5, '-');
    let (version, trace, span, flags, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next());
    let known = hex(version, 2) && version != "ff" && (version != "00" || rest.is_none());
    if !known || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
