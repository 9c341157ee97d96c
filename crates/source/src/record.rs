//! What goes through a source: records, events, and the headers that make a message understandable without its payload.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use boxwright_model::time::{MAX_PLAUSIBLE_STAMP_NS, is_plausible_stamp};
use boxwright_model::{FrameHeader, SensorKind, SourcePosition, StampRef};
use bytes::Bytes;

use crate::error::{RecordingError, SourceError};
use crate::quoted::quoted;
use crate::wire;

/// How a payload is encoded: the header `encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Protocol buffers (Foxglove schemas).
    Protobuf,
    /// OMG Common Data Representation (ROS 2 messages), with its 4-byte header.
    Cdr,
}

impl Encoding {
    /// The spelling in the header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protobuf => "protobuf",
            Self::Cdr => "cdr",
        }
    }

    /// From the spelling in the header.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Protobuf, Self::Cdr].into_iter().find(|encoding| encoding.as_str() == name)
    }
}

/// One message: what its headers say, and its payload as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What is known without the payload.
    pub header: FrameHeader,
    /// Schema name: `foxglove.PointCloud`, `sensor_msgs/msg/PointCloud2`, …
    pub schema: Arc<str>,
    /// Encoding of the payload.
    pub encoding: Encoding,
    /// The payload.
    pub payload: Bytes,
    /// The header `traceparent` (W3C Trace Context) as it came: whose trace the message belongs to. Nobody but traces looks at it.
    pub trace_parent: Option<Arc<str>>,
}

/// Longest `traceparent` that is kept: version 00 has 55 characters, and later versions may only append to it.
const MAX_TRACE_PARENT_BYTES: usize = 128;

/// The header `traceparent` of a message, where it is text of a sensible length.
pub(crate) fn trace_parent(headers: &BTreeMap<&str, &[u8]>) -> Option<Arc<str>> {
    let value = headers.get("traceparent").filter(|value| value.len() <= MAX_TRACE_PARENT_BYTES)?;
    std::str::from_utf8(value).ok().map(Arc::from)
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct PartitionId {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// A message that cannot be used, with everything needed to look at it later.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// Where it came from.
    pub position: SourcePosition,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(String, Bytes)>,
    /// Its payload.
    pub payload: Option<Bytes>,
    /// Why, as a code: see [`reason`].
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

/// Reason codes of [`Rejected`].
pub mod reason {
    /// A required header is absent.
    pub const MISSING_HEADER: &str = "missing_header";
    /// A header is not UTF-8, no number, or no known value.
    pub const BAD_HEADER: &str = "bad_header";
    /// No decoder knows the schema.
    pub const UNKNOWN_SCHEMA: &str = "unknown_schema";
    /// The encoding is none of ours, or not the schema's.
    pub const UNKNOWN_ENCODING: &str = "unknown_encoding";
    /// The stamp cannot be a time.
    pub const IMPLAUSIBLE_STAMP: &str = "implausible_stamp";
    /// The message has no value.
    pub const EMPTY: &str = "empty";
    /// The payload is not what the headers say.
    pub const DECODE_FAILED: &str = "decode_failed";
    /// The payload is larger than the limit.
    pub const TOO_LARGE: &str = "too_large";
}

impl Rejected {
    /// A record that was understood by its headers and failed later.
    #[must_use]
    pub fn from_record(record: Record, reason: &str, message: String) -> Self {
        let header = &record.header;
        let mut headers = vec![
            ("schema", record.schema.to_string()),
            ("encoding", record.encoding.as_str().to_owned()),
            ("stamp_ns", header.stamp_ns.to_string()),
            ("stamp_ref", header.stamp_ref.to_string()),
            ("vehicle", header.vehicle.to_string()),
            ("sensor", header.sensor.to_string()),
            ("grade", header.grade.to_string()),
        ];
        if let Some(seq) = header.seq {
            headers.push(("seq", seq.to_string()));
        }
        if let Some(arrival_ns) = header.arrival_ns {
            headers.push(("arrival_ns", arrival_ns.to_string()));
        }
        Self {
            position: header.position.clone(),
            key: Some(Bytes::copy_from_slice(header.vehicle.as_bytes())),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), Bytes::from(value))).collect(),
            payload: Some(record.payload),
            reason: reason.to_owned(),
            message,
        }
    }
}

/// What a source has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceEvent {
    /// A message.
    Record(Record),
    /// A message that cannot be used.
    Rejected(Rejected),
    /// These partitions are read from now on.
    Assigned(Vec<PartitionId>),
    /// These partitions go to somebody else; the source waits for [`Source::revocation_done`].
    Revoked(Vec<PartitionId>),
    /// The partition is at its end and has been silent for a while. Said once until its next message.
    Quiet(PartitionId),
    /// Nothing will come any more (recordings only).
    End,
}

/// Where messages come from: Kafka, or a recording read directly.
pub trait Source: Send {
    /// The next event, or `None` where nothing came within `timeout`.
    ///
    /// # Errors
    /// When the source cannot go on.
    fn next_event(&mut self, timeout: Duration) -> Result<Option<SourceEvent>, SourceError>;

    /// Notes the next offset to read for each partition. Durable when it returns, unless the broker is away or the partitions are about
    /// to be taken away: then it is tried again, and until it is taken a crash only makes more be read again.
    ///
    /// # Errors
    /// When the broker refuses it.
    fn commit(&mut self, offsets: &[(PartitionId, i64)]) -> Result<(), SourceError>;

    /// Keeps a message that cannot be used where a person can look at it.
    ///
    /// # Errors
    /// When it cannot be kept: the offset must not be committed then.
    fn dead_letter(&mut self, rejected: &Rejected) -> Result<(), SourceError>;

    /// Tells that everything that had to be done before partitions go away is done.
    fn revocation_done(&mut self) {}

    /// Where the source stands, for a display or metrics: cheap, without asking anybody. What a source does not know stays at its default.
    fn stats(&self) -> SourceStats {
        SourceStats::default()
    }

    /// Messages come in one sequence whatever their topic, so that none of a topic can be waiting while another is read.
    fn is_sequential(&self) -> bool {
        false
    }

    /// Reads on only from the partitions that are not named here. The ones named keep their place.
    ///
    /// # Errors
    /// When the source refuses.
    fn hold_back(&mut self, _partitions: &BTreeSet<PartitionId>) -> Result<(), SourceError> {
        Ok(())
    }
}

/// Where a source stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SourceStats {
    /// Partitions that are read, by topic and number.
    pub partitions: Vec<PartitionStats>,
    /// Events that wait for the pipeline.
    pub queued_events: u64,
    /// Bytes of the messages among them.
    pub queued_bytes: u64,
    /// Times that partitions came or went.
    pub rebalances: u64,
    /// Partitions whose newest offset the broker has not acknowledged yet.
    pub uncommitted_partitions: u64,
    /// Offsets that were not committed because their partition had gone to somebody else.
    pub stale_commits: u64,
    /// Time since the broker last acknowledged a commit; none before the first.
    pub since_commit: Option<Duration>,
}

/// Where a source stands in one partition.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PartitionStats {
    /// The partition.
    pub partition: PartitionId,
    /// Next offset that the pipeline gets; none before the first message or the end is seen.
    pub position: Option<i64>,
    /// Next offset to be written, as last heard from the broker (at most seconds ago).
    pub high_watermark: Option<i64>,
}

impl PartitionStats {
    /// Offsets that the pipeline has not got yet.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        u64::try_from(self.high_watermark?.saturating_sub(self.position?)).ok()
    }
}

/// A message on its way to a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingMessage {
    /// Kind: decides the topic.
    pub kind: SensorKind,
    /// Vehicle id: the key.
    pub vehicle: Arc<str>,
    /// Sensor name.
    pub sensor: Arc<str>,
    /// The message's own time.
    pub stamp_ns: i64,
    /// What it refers to.
    pub stamp_ref: StampRef,
    /// Counter within the sensor.
    pub seq: u64,
    /// Data-security grade; empty for none.
    pub grade: Arc<str>,
    /// Schema name.
    pub schema: Arc<str>,
    /// Encoding of the payload.
    pub encoding: Encoding,
    /// The payload.
    pub payload: Bytes,
    /// When it was recorded: the pace of a replay, and what the sensor's clock is judged by. 0 where it is not known.
    pub log_time_ns: i64,
}

impl OutgoingMessage {
    /// The Kafka headers, all UTF-8 text.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("schema", self.schema.to_string()),
            ("encoding", self.encoding.as_str().to_owned()),
            ("stamp_ns", self.stamp_ns.to_string()),
            ("stamp_ref", self.stamp_ref.to_string()),
            ("vehicle", self.vehicle.to_string()),
            ("sensor", self.sensor.to_string()),
            ("seq", self.seq.to_string()),
        ];
        if !self.grade.is_empty() {
            headers.push(("grade", self.grade.to_string()));
        }
        if is_arrival(self.log_time_ns) {
            headers.push(("arrival_ns", self.log_time_ns.to_string()));
        }
        headers
    }
}

/// A recorded drive as a sequence of messages, in recorded order, read lazily.
pub trait Recording: Send {
    /// The next message, or `None` at the end.
    ///
    /// # Errors
    /// When the recording is broken in a way that leaves nothing more to read.
    fn next_message(&mut self) -> Result<Option<OutgoingMessage>, RecordingError>;

    /// Channels that are not read, each with the reason.
    fn skipped(&self) -> Vec<SkippedChannel> {
        Vec::new()
    }

    /// What a person should know of the recording (holes, missing stamps), as far as it was read.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The recording ended before its end.
    fn is_truncated(&self) -> bool {
        false
    }

    /// Names by its content the file or folder that the last message came from (at first: that the first one comes from), so that a dataset knows it again
    /// wherever it lies. Empty where it is not kept anywhere.
    fn origin(&self) -> Arc<str> {
        "".into()
    }

    /// Number of messages, where it is known without reading the recording.
    fn total_messages_hint(&self) -> Option<u64> {
        None
    }
}

/// A channel of a recording that is not read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SkippedChannel {
    /// Its topic.
    pub topic: String,
    /// Its schema.
    pub schema: String,
    /// Why.
    pub reason: String,
    /// Messages passed over.
    pub messages: u64,
}

impl fmt::Display for SkippedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {} messages): {}", self.topic, self.schema, self.messages, self.reason)
    }
}

/// The topic of a kind: `<prefix>.<kind>`.
#[must_use]
pub fn topic_name(prefix: &str, kind: SensorKind) -> String {
    format!("{prefix}.{kind}")
}

/// Reads and checks the headers of a message.
///
/// `key` is the vehicle where the header `vehicle` is absent.
///
/// # Errors
/// A reason code of [`reason`] and a sentence with both sides of the comparison.
pub fn parse_headers(
    position: SourcePosition,
    key: Option<&[u8]>,
    headers: &BTreeMap<&str, &[u8]>,
) -> Result<(FrameHeader, Arc<str>, Encoding), (&'static str, String)> {
    let schema = required(headers, "schema")?;
    let encoding_name = required(headers, "encoding")?;
    let encoding = Encoding::from_name(encoding_name)
        .ok_or_else(|| (reason::UNKNOWN_ENCODING, format!("expected encoding protobuf or cdr, got {}", quoted(encoding_name))))?;
    let kind = wire::kind_of(schema, encoding).ok_or_else(|| {
        let message = format!(
            "no decoder for schema {} with encoding {encoding_name}: expected one of {}",
            quoted(schema),
            wire::known_schemas()
        );
        (reason::UNKNOWN_SCHEMA, message)
    })?;
    let stamp_text = required(headers, "stamp_ns")?;
    let stamp_ns = stamp_text
        .parse::<i64>()
        .map_err(|_| (reason::BAD_HEADER, format!("stamp_ns: expected nanoseconds as an integer, got {}", quoted(stamp_text))))?;
    if !is_plausible_stamp(stamp_ns) {
        let message =
            format!("stamp_ns: expected 0 to {MAX_PLAUSIBLE_STAMP_NS}, got {stamp_ns}\nhint: is the sender's unit nanoseconds?");
        return Err((reason::IMPLAUSIBLE_STAMP, message));
    }
    let stamp_ref = match text(headers, "stamp_ref")? {
        Some(name) => name.parse::<StampRef>().map_err(|_| (reason::BAD_HEADER, unknown_stamp_ref(name)))?,
        None => StampRef::default(),
    };
    let seq = match text(headers, "seq")? {
        Some(text) => Some(text.parse().map_err(|_| (reason::BAD_HEADER, format!("seq: expected a count, got {}", quoted(text))))?),
        None => None,
    };
    let vehicle = match text(headers, "vehicle")? {
        Some(name) if !name.is_empty() => name,
        _ => key
            .and_then(|key| std::str::from_utf8(key).ok())
            .filter(|key| !key.is_empty())
            .ok_or_else(|| (reason::MISSING_HEADER, "neither the header `vehicle` nor the key names the vehicle".to_owned()))?,
    };
    check_vehicle(vehicle).map_err(|message| (reason::BAD_HEADER, message))?;
    let sensor = required(headers, "sensor")?;
    if sensor.is_empty() {
        return Err((reason::BAD_HEADER, "sensor: expected a name, got nothing".to_owned()));
    }
    let grade = text(headers, "grade")?.unwrap_or_default();
    // What is no time is passed over: a message is not refused for what only its clock is judged by.
    let arrival_ns = text(headers, "arrival_ns").ok().flatten().and_then(|text| text.parse().ok()).filter(|ns| is_arrival(*ns));
    let header = FrameHeader {
        vehicle: vehicle.into(),
        sensor: sensor.into(),
        kind,
        stamp_ns,
        stamp_ref,
        arrival_ns,
        seq,
        grade: grade.into(),
        position,
    };
    Ok((header, schema.into(), encoding))
}

/// Whether a time can be that of an arrival. Zero is what recorders write that do not know it.
fn is_arrival(ns: i64) -> bool {
    ns > 0 && is_plausible_stamp(ns)
}

/// Longest name of a vehicle, as it is written into a path: `%XX` for each byte that is no ASCII letter, digit, `-`, `_` or `.`.
const MAX_VEHICLE_BYTES: usize = 200;

/// A vehicle has its folder in the dataset. One that cannot have any would be read as a message like all others and end the run that
/// wants to write it, again after each restart.
///
/// # Errors
/// What was expected, and what the name is.
pub fn check_vehicle(name: &str) -> Result<(), String> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bytes: usize = name.as_bytes().iter().map(|byte| if plain(byte) { 1 } else { 3 }).sum();
    if bytes == 0 || bytes > MAX_VEHICLE_BYTES || matches!(name, "." | ".." | "__HIVE_DEFAULT_PARTITION__") {
        return Err(format!(
            "vehicle: expected a name that can be a folder, of at most {MAX_VEHICLE_BYTES} bytes, got {}",
            quoted(name)
        ));
    }
    Ok(())
}

fn unknown_stamp_ref(name: &str) -> String {
    format!("stamp_ref: expected one of {}, got {}", StampRef::ALL.map(|(_, name)| name).join(", "), quoted(name))
}

type HeaderError = (&'static str, String);

fn text<'a>(headers: &BTreeMap<&str, &'a [u8]>, name: &str) -> Result<Option<&'a str>, HeaderError> {
    match headers.get(name) {
        None => Ok(None),
        Some(value) => std::str::from_utf8(value)
            .map(Some)
            .map_err(|_| (reason::BAD_HEADER, format!("{name}: expected UTF-8 text, got {} other bytes", value.len()))),
    }
}

fn required<'a>(headers: &BTreeMap<&str, &'a [u8]>, name: &str) -> Result<&'a str, HeaderError> {
    text(headers, name)?.ok_or_else(|| (reason::MISSING_HEADER, format!("expected a header `{name}`, got none")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &'static str, value: &str) -> Result<FrameHeader, (&'static str, String)> {
        let mut headers: BTreeMap<&str, &[u8]> = BTreeMap::from([
            ("schema", b"foxglove.PointCloud".as_slice()),
            ("encoding", b"protobuf"),
            ("stamp_ns", b"5"),
            ("vehicle", b"car"),
            ("sensor", b"top"),
        ]);
        headers.insert(name, value.as_bytes());
        let position = SourcePosition { topic: "ad.lidar".into(), partition: 0, offset: 0 };
        parse_headers(position, None, &headers).map(|(header, ..)| header)
    }

    #[test]
    fn a_vehicle_that_cannot_have_a_folder_is_refused_before_it_can_end_a_run() {
        for name in ["car 7", "x", &"x".repeat(200), &"車".repeat(22)] {
            assert_eq!(&*parse("vehicle", name).unwrap().vehicle, name);
        }
        for name in [".", "..", "__HIVE_DEFAULT_PARTITION__", &"x".repeat(201), &"車".repeat(23), &"/".repeat(67)] {
            let (code, text) = parse("vehicle", name).unwrap_err();
            assert_eq!(code, reason::BAD_HEADER);
            assert!(text.starts_with("vehicle: expected a name that can be a folder, of at most 200 bytes, got \""), "{text}");
        }
    }

    #[test]
    fn an_arrival_is_kept_where_it_is_a_time_and_refuses_no_message() {
        assert_eq!(parse("arrival_ns", "1700000000000000000").unwrap().arrival_ns, Some(1_700_000_000_000_000_000));
        for none in ["0", "-5", "noon", "9223372036854775807"] {
            assert_eq!(parse("arrival_ns", none).unwrap().arrival_ns, None, "{none}");
        }
    }

    #[test]
    fn a_long_header_is_not_repeated_in_its_error() {
        let long = "\u{1}".repeat(1 << 20);
        for name in ["schema", "encoding", "stamp_ns", "stamp_ref", "seq", "vehicle"] {
            let (_, text) = parse(name, &long).unwrap_err();
            assert!(text.len() < 2_000 && text.contains("expected"), "{name}: {} bytes", text.len());
        }
        assert!(parse("stamp_ref", "noon").unwrap_err().1.ends_with("sweep_end, instant, got \"noon\""));
    }
}
