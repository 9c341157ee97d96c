//! With a collector of OpenTelemetry traces: one whole trace a clip, linked to the producer's; a collector that hangs changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use boxwright_shard::Dataset;
use boxwright_source::synthetic::{SyntheticConfig, SyntheticDrive};
use boxwright_source::{OutgoingMessage, Recording};
use boxwright_tests::{Ended, boxwright};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::{TestBroker, assert_same_labels};

/// What the collector was sent.
#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    resources: Vec<Vec<KeyValue>>,
}

/// A collector on a free port, in a thread that ends with the process.
struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::<Mutex<Received>>::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(received.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { address, received }
    }
}

async fn take(State(received): State<Arc<Mutex<Received>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers.get("content-type").is_none_or(|kind| kind != "application/x-protobuf") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut received = received.lock().unwrap();
    for resource in request.resource_spans {
        received.resources.push(resource.resource.unwrap_or_default().attributes);
        received.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    StatusCode::OK
}

fn drive() -> Vec<OutgoingMessage> {
    let mut drive = SyntheticDrive::new(SyntheticConfig { seconds: 4.0, ..SyntheticConfig::default() }).unwrap();
    std::iter::from_fn(|| drive.next_message().unwrap()).collect()
}

/// The trace that message `number` belongs to, as its producer would say it: a new one every 50 messages.
fn trace_parent(number: usize) -> String {
    format!("00-4bf92f3577b34da6a3ce929d0e0e{:04x}-00f067aa0ba9{number:04x}-01", number / 50)
}

/// Produces messages as a traced producer does.
fn produce_traced(broker: &TestBroker, messages: &[OutgoingMessage]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("message.max.bytes", "8388608")
        .set("partitioner", "murmur2_random")
        .create()
        .unwrap();
    for (number, message) in messages.iter().enumerate() {
        let topic = broker.topic(message.kind.as_str());
        let mut headers = OwnedHeaders::new();
        for (key, value) in message.headers() {
            headers = headers.insert(Header { key, value: Some(value.as_str()) });
        }
        let parent = trace_parent(number);
        headers = headers.insert(Header { key: "traceparent", value: Some(parent.as_str()) });
        let record = BaseRecord::to(&topic).key(&*message.vehicle).payload(&message.payload[..]).headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

fn run(broker: &TestBroker, folder: &Path, name: &str, endpoint: Option<SocketAddr>) -> Ended {
    let traces = endpoint.map(|address| format!("[traces]\notlp_endpoint = \"http://{address}\"\n")).unwrap_or_default();
    let connection = broker.args(name, &format!("{traces}[clip]\nlength_s = 2\n"), "session_timeout_ms = 3000");
    let dataset = folder.join(name);
    let mut args = vec!["run", "--dataset", dataset.to_str().unwrap(), "--stop-when-idle", "4s", "--json"];
    args.extend(connection.iter().map(String::as_str));
    boxwright(&args)
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    attributes.iter().find(|one| one.key == name)?.value.as_ref()?.value.as_ref()
}

fn whole(span: &Span, name: &str) -> i64 {
    match attribute(&span.attributes, name) {
        Some(Value::IntValue(number)) => *number,
        other => panic!("{name}: expected a whole number, got {other:?} in {span:?}"),
    }
}

fn text(value: Option<&Value>) -> &str {
    match value {
        Some(Value::StringValue(text)) => text,
        other => panic!("expected a text, got {other:?}"),
    }
}

#[test]
fn every_clip_is_one_trace_from_its_first_message_to_its_commit() {
    let broker = TestBroker::start(1);
    let messages = drive();
    produce_traced(&broker, &messages);
    let out = tempfile::tempdir().unwrap();
    let collector = Collector::start();
    let report = run(&broker, out.path(), "traced", Some(collector.address)).expect_code(0).json();
    let entries = Dataset::open(&out.path().join("traced")).unwrap().entries().unwrap();
    assert!(entries.len() >= 2, "{report}");

    let received = collector.received.lock().unwrap();
    for resource in &received.resources {
        assert_eq!(text(attribute(resource, "service.name")), "boxwright");
    }
    let mut traces = BTreeMap::<&[u8], Vec<&Span>>::new();
    for span in &received.spans {
        traces.entry(&span.trace_id).or_default().push(span);
    }
    assert_eq!(traces.len(), entries.len(), "one trace a clip");
    let payload_bytes: usize = messages.iter().map(|message| message.payload.len()).sum();
    let mut told_bytes = 0;
    for entry in &entries {
        let is_root = |span: &&&Span| span.parent_span_id.is_empty() && whole(span, "boxwright.clip") == entry.clip.0;
        let root = *traces.values().flatten().find(is_root).unwrap_or_else(|| panic!("no trace of clip {}", entry.clip));
        assert_eq!(root.name, "clip");
        assert_eq!(text(attribute(&root.attributes, "boxwright.vehicle")), &*messages[0].vehicle);
        assert_eq!(whole(root, "boxwright.messages"), entry.counts.frames as i64);
        assert_eq!(whole(root, "boxwright.samples"), entry.counts.samples as i64);
        assert_eq!(whole(root, "boxwright.shard_bytes"), entry.bytes() as i64);
        assert_eq!(attribute(&root.attributes, "boxwright.sealed_by_us"), Some(&Value::BoolValue(true)));
        told_bytes += whole(root, "boxwright.payload_bytes");

        let children: Vec<_> = traces[&root.trace_id[..]].iter().filter(|span| span.span_id != root.span_id).collect();
        let names: BTreeSet<_> = children.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["receive", "label", "write", "seal", "commit"]));
        assert_eq!(children.len(), 5);
        for child in &children {
            assert_eq!(child.parent_span_id, root.span_id, "{}", child.name);
            assert!(root.start_time_unix_nano <= child.start_time_unix_nano, "{}", child.name);
            assert!(child.start_time_unix_nano <= child.end_time_unix_nano, "{}", child.name);
            assert!(child.end_time_unix_nano <= root.end_time_unix_nano, "{}", child.name);
        }
        let of = |name: &str| children.iter().find(|span| span.name == name).unwrap();
        assert!(of("seal").end_time_unix_nano <= of("commit").end_time_unix_nano, "nothing is committed before it is sealed");
        let Some(Value::DoubleValue(busy_s)) = attribute(&of("label").attributes, "boxwright.busy_s") else {
            panic!("no busy time")
        };
        assert!(*busy_s > 0.0);

        assert!((1..=8).contains(&root.links.len()), "{} links", root.links.len());
        let producers: BTreeSet<_> = (0..messages.len()).map(|number| trace_parent(number)[3..35].to_owned()).collect();
        for link in &root.links {
            let id: String = link.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(producers.contains(&id), "{id} is no producer's trace");
        }
    }
    assert_eq!(told_bytes, payload_bytes as i64);
}

#[test]
fn a_collector_that_hangs_changes_nothing() {
    let broker = TestBroker::start(1);
    broker.produce(drive());
    let out = tempfile::tempdir().unwrap();
    // The kernel takes the connection; nobody ever reads from it or answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hung = run(&broker, out.path(), "hung", Some(silent.local_addr().unwrap())).expect_code(0);
    assert!(hung.err.contains("traces") || hung.err.contains("collector"), "the loss of traces is said: {}", hung.err);
    let plain = run(&broker, out.path(), "plain", None).expect_code(0);
    let numbers = |ended: &Ended| {
        let report = ended.json();
        // Not how many messages were read: on a busy machine the group may form anew, and its messages are read again.
        ["samples", "boxes", "tracks", "clips", "clips_left_open"].map(|name| report[name].as_u64().unwrap())
    };
    assert_eq!(numbers(&hung), numbers(&plain));
    assert_same_labels(&out.path().join("hung"), &out.path().join("plain"));
}
