//! What `/metrics` says is what the run reports, what `/readyz` says is what the group decided, and the board names what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::{Duration, Instant};

use boxwright_pipeline::Metrics;
use boxwright_source::synthetic::{SyntheticConfig, SyntheticDrive};
use boxwright_source::{OutgoingMessage, Recording};
use boxwright_tests::{boxwright, root, run_python, start, wait};
use bytes::Bytes;

use crate::support::TestBroker;

/// How long something may take that a busy machine does in seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// A worker with an endpoint on a free port.
struct Worker {
    child: Child,
    address: String,
}

impl Worker {
    fn start(args: &[&str]) -> Self {
        let mut child = start(args);
        let mut talk = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("metrics: http://") {
            line.clear();
            assert_ne!(talk.read_line(&mut line).unwrap(), 0, "the worker ended without an endpoint");
        }
        // Somebody must read on, or a talkative worker stands still.
        std::thread::spawn(move || std::io::copy(&mut talk, &mut std::io::sink()));
        let address = line.trim().trim_start_matches("metrics: http://").trim_end_matches("/metrics").to_owned();
        Self { child, address }
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn is_ready(&self) -> bool {
        self.get("/readyz").0 == 200
    }

    fn page(&self) -> Page {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200, "{text}");
        Page { text }
    }

    fn interrupt(self) -> boxwright_tests::Ended {
        let _ = std::process::Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        wait(self.child)
    }
}

struct Page {
    text: String,
}

impl Page {
    /// Samples with their labels as they stand on the page.
    fn samples(&self) -> BTreeMap<&str, f64> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(name, value)| (name, value.parse().unwrap())).collect()
    }

    fn value(&self, name: &str) -> f64 {
        *self.samples().get(name).unwrap_or_else(|| panic!("no {name} on the page:\n{}", self.text))
    }

    /// A family by its one label, without zeros.
    fn by_label(&self, name: &str) -> BTreeMap<String, f64> {
        let samples = self.samples().into_iter().filter(|(_, value)| *value != 0.0);
        samples
            .filter_map(|(series, value)| {
                let label = series.strip_prefix(name)?.strip_prefix('{')?;
                Some((label.split('"').nth(1)?.to_owned(), value))
            })
            .collect()
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn drive(seconds: f64) -> Vec<OutgoingMessage> {
    let mut drive = SyntheticDrive::new(SyntheticConfig { seconds, ..SyntheticConfig::default() }).unwrap();
    std::iter::from_fn(|| drive.next_message().unwrap()).collect()
}

/// A drive with one exact copy, one sweep that comes much too late, and two that are no point clouds.
fn drive_with_faults() -> Vec<OutgoingMessage> {
    let mut messages = drive(4.0);
    let first = messages.iter().position(|message| message.payload.len() > 100_000).unwrap();
    let copy = messages[first].clone();
    let late = OutgoingMessage { stamp_ns: copy.stamp_ns + 1_000_000, seq: copy.seq + 1_000_000, ..copy.clone() };
    let broken = |sensor: &str| OutgoingMessage {
        sensor: sensor.into(),
        payload: Bytes::from_static(b"no point cloud"),
        ..messages[messages.len() / 2].clone()
    };
    let broken = ["lidar_broken", "lidar_broken_too"].map(broken).map(|message| OutgoingMessage {
        kind: copy.kind,
        schema: copy.schema.clone(),
        encoding: copy.encoding,
        ..message
    });
    messages.splice(messages.len() / 2..messages.len() / 2, broken);
    messages.insert(first + 1, copy);
    messages.push(late);
    messages
}

/// Arguments that find the broker, with a vehicle sealed soon after it falls silent, so that the page holds everything before anybody stops
/// the run.
fn connection(broker: &TestBroker) -> Vec<String> {
    broker.args("metrics", "[run]\nseal_after_silence_s = 2\n[clip]\nlength_s = 2\n", "session_timeout_ms = 3000")
}

#[test]
fn the_scraped_numbers_are_those_of_the_report() {
    let broker = TestBroker::start(1);
    let messages = drive_with_faults();
    let sent = messages.len() as f64;
    let vehicle = messages[0].vehicle.to_string();
    broker.produce(messages);
    let out = tempfile::tempdir().unwrap();
    let (connection, dataset) = (connection(&broker), out.path().join("data"));
    let mut args = vec!["run", "--dataset", dataset.to_str().unwrap(), "--metrics", "127.0.0.1:0", "--json"];
    args.extend(connection.iter().map(String::as_str));
    let worker = Worker::start(&args);
    let read = |page: &Page| page.by_label("boxwright_frames_read_total").values().sum::<f64>();
    wait_until("everything read, sealed and committed", || {
        let page = worker.page();
        read(&page) == sent && page.value("boxwright_open_clips") == 0.0 && page.value("boxwright_commit_age_seconds") == 0.0
    });
    // The client tells its lag every two seconds; lag and what is held come into the page once a second.
    wait_until("no lag, and nothing held", || {
        let page = worker.page();
        let lags = page.samples().into_iter().filter(|(name, _)| name.starts_with("boxwright_consumer_lag"));
        let lag = lags.fold((0, 0.0), |(count, sum), (_, lag)| (count + 1, sum + lag));
        lag == (4, 0.0) && page.value("boxwright_held_bytes") == 0.0
    });
    let page = worker.page();
    assert!(worker.is_ready(), "{}", worker.get("/readyz").1);
    assert_eq!(worker.get("/healthz").0, 200);
    let report = worker.interrupt().expect_code(3).json();

    let number = |name: &str| report[name].as_f64().unwrap();
    let map = |name: &str| -> BTreeMap<String, f64> {
        report[name].as_object().unwrap().iter().map(|(key, value)| (key.clone(), value.as_f64().unwrap())).collect()
    };
    assert_eq!(number("frames"), sent, "{report}");
    assert_eq!(page.by_label("boxwright_frames_read_total"), map("frames_by_kind"));
    assert_eq!(page.by_label("boxwright_frames_dropped_total"), map("dropped"));
    assert_eq!(page.by_label("boxwright_dead_letters_total"), map("dead_letters"));
    assert_eq!(map("dead_letters"), BTreeMap::from([("decode_failed".to_owned(), 2.0)]), "{report}");
    assert_eq!(page.by_label("boxwright_frames_late_total"), BTreeMap::from([("behind_own_sensor".to_owned(), number("late"))]));
    assert_eq!(number("late"), 1.0, "{report}");
    assert_eq!(map("dropped")["duplicate"], 1.0, "{report}");
    for (series, name) in [
        ("boxwright_samples_total", "samples"),
        ("boxwright_partial_samples_total", "partial_samples"),
        ("boxwright_sweeps_total", "sweeps"),
        ("boxwright_boxes_total", "boxes"),
        ("boxwright_tracks_total", "tracks"),
        ("boxwright_findings_total", "findings"),
        ("boxwright_clips_sealed_total", "clips"),
        ("boxwright_clips_already_sealed_total", "clips_already_sealed"),
        ("boxwright_shard_bytes_total", "bytes"),
        ("boxwright_seal_seconds_count", "clips"),
        ("boxwright_stage_seconds_count{stage=\"decode\"}", "frames"),
        ("boxwright_stage_seconds_count{stage=\"seal\"}", "clips"),
    ] {
        // A copy is never decoded, a late frame neither.
        let more = if series.contains("decode") { 2.0 } else { 0.0 };
        assert_eq!(page.value(series) + more, number(name), "{series} and {name}: {report}");
    }
    assert!(number("clips") >= 2.0 && number("boxes") > 0.0, "{report}");
    assert!(page.value("process_resident_memory_bytes") > 1e6 && page.value("process_cpu_seconds_total") > 0.0);
    assert_eq!(page.by_label("boxwright_event_time_lag_seconds").into_keys().collect::<Vec<_>>(), [vehicle]);
    assert_eq!(page.value("boxwright_held_bytes"), 0.0);

    let file = out.path().join("page.txt");
    std::fs::write(&file, &page.text).unwrap();
    let script = root().join("tests/python/parse_metrics.py");
    if let Some(parsed) = run_python(&[script.to_str().unwrap(), file.to_str().unwrap()]) {
        let parsed: BTreeMap<String, f64> = serde_json::from_str(&parsed).unwrap();
        assert_eq!(parsed.len(), page.samples().len(), "somebody else's parser sees as many samples");
        assert_eq!(parsed["boxwright_samples_total"], number("samples"));
        assert_eq!(parsed["boxwright_dead_letters_total{reason=decode_failed}"], 2.0);
    }
}

#[test]
fn of_two_workers_the_one_without_partitions_is_not_ready_until_the_other_goes() {
    let broker = TestBroker::start(1);
    let out = tempfile::tempdir().unwrap();
    let (connection, dataset) = (connection(&broker), out.path().join("data"));
    let mut args = vec!["run", "--dataset", dataset.to_str().unwrap(), "--metrics", "127.0.0.1:0"];
    args.extend(connection.iter().map(String::as_str));
    let mut workers = vec![Worker::start(&args), Worker::start(&args)];
    let mut alone = 0;
    // One of them alone, and so for ten looks: until the second has joined, the first has everything.
    wait_until("one ready, the other not", || {
        let ready = workers.iter().filter(|worker| worker.is_ready()).count();
        let open = workers.iter().all(|worker| !worker.get("/readyz").1.contains("dataset"));
        alone = if ready == 1 && open { alone + 1 } else { 0 };
        alone >= 10
    });
    let idle = workers.iter().position(|worker| !worker.is_ready()).unwrap();
    let idle = workers.swap_remove(idle);
    let (status, body) = idle.get("/readyz");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["ready"]), (503, &false.into()));
    assert!(body["reason"].as_str().unwrap().contains("no partition"), "{body}");
    let _ = boxwright(&["health", &idle.address]).expect_code(0);
    let refused = boxwright(&["health", &idle.address, "--ready"]).expect_code(1);
    assert!(refused.out.contains("no partition") && refused.err.contains("expected status 200, got 503"), "{}", refused.err);
    let _ = workers.remove(0).interrupt().expect_code(0);
    wait_until("the other took over", || idle.is_ready());
    let page = idle.page();
    assert_eq!(page.value("boxwright_assigned_partitions"), 4.0);
    assert!(page.value("boxwright_rebalances_total") >= 1.0);
    let address = idle.address.clone();
    let _ = idle.interrupt().expect_code(0);
    let gone = boxwright(&["health", &address]).expect_code(1);
    assert!(gone.err.contains("hint:"), "{}", gone.err);
}

/// Names that the endpoint has, as they are asked for in queries.
fn names_of_the_endpoint() -> BTreeSet<String> {
    let page = Metrics::default().encode().unwrap();
    let mut names = BTreeSet::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let endings: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            _ => &[""],
        };
        names.extend(endings.iter().map(|ending| format!("{name}{ending}")));
    }
    names
}

/// Every word of a query that looks like a metric of ours.
fn names_in(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("boxwright_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

fn expressions(value: &serde_json::Value, out: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(text) if name == "expr" || name == "query" => out.push(text.to_owned()),
                    _ => expressions(field, out),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| expressions(item, out)),
        _ => {}
    }
}

#[test]
fn the_board_and_the_alerts_ask_for_numbers_that_exist() {
    let there = names_of_the_endpoint();
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let board: serde_json::Value = serde_json::from_str(&read("configs/grafana/boxwright.json")).unwrap();
    let mut queries = Vec::new();
    expressions(&board, &mut queries);
    assert!(queries.len() >= 15, "{queries:?}");
    for query in &queries {
        let missing: Vec<_> = names_in(query).difference(&there).cloned().collect();
        assert!(missing.is_empty(), "the board asks for {missing:?}, which no worker tells: {query}");
    }
    let ids: Vec<_> = board["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "panels have numbers of their own");
    let rules = read("configs/prometheus/alerts.yml");
    let asked = names_in(&rules);
    let missing: Vec<_> = asked.difference(&there).collect();
    assert!(missing.is_empty(), "the alerts ask for {missing:?}, which no worker tells");
    for needed in ["boxwright_commit_age_seconds", "boxwright_consumer_lag_messages", "boxwright_dead_letters_total"] {
        assert!(asked.contains(needed), "no alert looks at {needed}");
    }
}
