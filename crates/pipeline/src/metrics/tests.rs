//! What the page says after known events, and that it stays within its bounds.

use std::io::{Read, Write};
use std::net::TcpStream;

use boxwright_model::{SensorKind, SourcePosition, StampRef};
use boxwright_source::{PartitionId, PartitionStats, SourceStats};

use super::*;

/// The value of a series, written as on the page; `None` where the page does not have it.
fn value(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

fn series<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))).collect()
}

fn header(vehicle: &str, kind: SensorKind, stamp_ns: i64) -> FrameHeader {
    FrameHeader {
        vehicle: vehicle.into(),
        sensor: "s".into(),
        kind,
        stamp_ns,
        stamp_ref: StampRef::default(),
        arrival_ns: None,
        seq: None,
        grade: "".into(),
        position: SourcePosition { topic: "ad.lidar".into(), partition: 0, offset: 0 },
    }
}

fn entry(vehicle: &str, clip: i64) -> ManifestEntry {
    let text = serde_json::json!({
        "schema_version": 1, "created_by": "test", "vehicle": vehicle, "clip": clip, "revision": 0, "clip_start_ns": 0,
        "clip_end_ns": 1,
        "first_stamp_ns": null, "last_stamp_ns": null, "grade": "", "config_sha256": "", "models": {}, "idle_sensors": [],
        "counts": { "frames": 7, "samples": 3, "dropped": {}, "late": 0, "dead_lettered": 0 },
        "rows": {}, "sources": [], "previous": null,
        "files": [{ "table": "lidar", "path": "p", "sha256": "", "bytes": 1000, "rows": 3 }],
    });
    serde_json::from_value(text).unwrap()
}

#[test]
fn every_event_is_in_the_number_that_bears_its_name() {
    let metrics = Metrics::default();
    metrics.frame_read(&header("v", SensorKind::Lidar, 5), 1000);
    metrics.frame_read(&header("v", SensorKind::Camera, 6), 10);
    metrics.frame_read(&header("v", SensorKind::Camera, 7), 20);
    metrics.frame_dropped(DropReason::Duplicate);
    metrics.frame_late(LateReason::BehindOwnSensor);
    metrics.dead_letter("decode_failed");
    metrics.dead_letter("decode_failed");
    metrics.clip_labelled(&ClipCounts { samples: 4, partial_samples: 1, sweeps: 4, boxes: 9, tracks: 2, findings: 3 });
    metrics.assigned(4);
    metrics.set_held_bytes(77);
    metrics.set_viewer(LiveStats { shown: 5, dropped: 6 });
    drop(metrics.time(Stage::Decode));
    let page = metrics.encode().unwrap();
    for (name, expected) in [
        ("boxwright_frames_read_total{kind=\"lidar\"}", 1.0),
        ("boxwright_frames_read_total{kind=\"camera\"}", 2.0),
        ("boxwright_frames_read_total{kind=\"transform\"}", 0.0),
        ("boxwright_read_bytes_total{kind=\"camera\"}", 30.0),
        ("boxwright_frames_dropped_total{reason=\"duplicate\"}", 1.0),
        ("boxwright_frames_dropped_total{reason=\"unmatched\"}", 0.0),
        ("boxwright_frames_late_total{reason=\"behind_own_sensor\"}", 1.0),
        ("boxwright_dead_letters_total{reason=\"decode_failed\"}", 2.0),
        ("boxwright_samples_total", 4.0),
        ("boxwright_partial_samples_total", 1.0),
        ("boxwright_boxes_total", 9.0),
        ("boxwright_tracks_total", 2.0),
        ("boxwright_findings_total", 3.0),
        ("boxwright_assigned_partitions", 4.0),
        ("boxwright_held_bytes", 77.0),
        ("boxwright_viewer_shown_total", 5.0),
        ("boxwright_viewer_dropped_total", 6.0),
        ("boxwright_rebalances_total", 1.0),
        ("boxwright_stage_seconds_count{stage=\"decode\"}", 1.0),
        ("boxwright_stage_seconds_count{stage=\"seal\"}", 0.0),
    ] {
        assert_eq!(value(&page, name), Some(expected), "{name}\n{page}");
    }
    assert_eq!(
        series(&page, "boxwright_build_info"),
        [format!("boxwright_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))]
    );
    assert!(page.ends_with("# EOF\n"), "{page}");
}

#[test]
fn a_clip_is_open_until_sealed_and_waits_until_committed() {
    let metrics = Metrics::default();
    let (vehicle, clip) = (Arc::<str>::from("v"), ClipId(3));
    let number = |name: &str| value(&metrics.encode().unwrap(), name).unwrap();
    assert_eq!(number("boxwright_commit_age_seconds"), 0.0);
    metrics.clip_message(&vehicle, clip, 10, None);
    metrics.clip_message(&vehicle, ClipId(4), 10, None);
    assert_eq!(number("boxwright_open_clips"), 2.0);
    metrics.clip_closed(&vehicle, clip);
    metrics.clip_sealed(&entry("v", 3), true);
    metrics.clip_sealed(&entry("v", 99), false);
    assert_eq!(number("boxwright_open_clips"), 1.0);
    assert_eq!(number("boxwright_clips_sealed_total"), 1.0);
    assert_eq!(number("boxwright_clips_already_sealed_total"), 1.0);
    assert_eq!(number("boxwright_shard_bytes_total"), 1000.0);
    assert_eq!(number("boxwright_seal_seconds_count"), 1.0, "only a clip that was closed here has a time");
    assert!(number("boxwright_commit_age_seconds") > 0.0, "sealed is not committed");
    metrics.committed(Started::now());
    assert_eq!(metrics.clips().open(), 1, "the other clip is still open");
    metrics.vehicle_gone(&vehicle);
    assert_eq!(number("boxwright_open_clips"), 0.0);
    assert_eq!(number("boxwright_commit_age_seconds"), 0.0, "what went to another worker waits there");
}

#[test]
fn reasons_vehicles_and_partitions_stay_within_their_bounds_and_lose_no_count() {
    let metrics = Metrics::new(3, None);
    for number in 0..100 {
        metrics.dead_letter(&format!("reason {number}"));
        metrics.frame_read(&header(&format!("vehicle {number}"), SensorKind::Lidar, 1_000_000_000), 1);
    }
    let behind = |number: i32| PartitionStats {
        partition: PartitionId { topic: "t".into(), partition: number },
        position: Some(3),
        high_watermark: Some(5),
    };
    let partitions = (0..MAX_PARTITIONS as i32 + 5).map(behind).collect();
    metrics.set_source(SourceStats { partitions, ..SourceStats::default() });
    let page = metrics.encode().unwrap();
    let reasons = series(&page, "boxwright_dead_letters_total");
    assert_eq!(reasons.len(), MAX_REASONS + 1, "the bound and `other`");
    let counted: f64 = reasons.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert_eq!(counted, 100.0);
    let vehicles = series(&page, "boxwright_event_time_lag_seconds");
    assert_eq!(vehicles.len(), 4, "{vehicles:?}");
    assert!(vehicles.iter().any(|line| line.contains("vehicle=\"other\"")), "{vehicles:?}");
    assert_eq!(series(&page, "boxwright_consumer_lag_messages").len(), MAX_PARTITIONS + 1);
    assert_eq!(value(&page, "boxwright_consumer_lag_messages{topic=\"other\",partition=\"other\"}"), Some(10.0));
}

#[test]
fn a_vehicles_name_cannot_break_the_page() {
    let metrics = Metrics::default();
    metrics.frame_read(&header("a\"} 1\nevil_total 7\\", SensorKind::Lidar, 0), 1);
    let page = metrics.encode().unwrap();
    assert!(page.contains(r#"boxwright_event_time_lag_seconds{vehicle="a\"} 1\nevil_total 7\\"}"#), "{page}");
    assert!(!page.lines().any(|line| line.starts_with("evil_total")), "{page}");
}

#[test]
fn a_vehicle_that_falls_silent_lags_more_and_one_that_left_not_at_all() {
    let metrics = Metrics::default();
    let now_ns = SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
    metrics.frame_read(&header("v", SensorKind::Lidar, now_ns - 7_000_000_000), 1);
    metrics.frame_read(&header("v", SensorKind::Camera, now_ns - 9_000_000_000), 1);
    let lag = value(&metrics.encode().unwrap(), "boxwright_event_time_lag_seconds{vehicle=\"v\"}").unwrap();
    assert!(lag >= 7.0, "the newest stamp counts, and time goes on: {lag}");
    metrics.vehicle_gone(&"v".into());
    assert!(series(&metrics.encode().unwrap(), "boxwright_event_time_lag_seconds").is_empty());
}

/// Status and body of a request, without any client library.
fn get(server: &MetricsServer, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn the_endpoint_says_why_the_run_is_not_ready() {
    let metrics = Arc::new(Metrics::default());
    let server = serve(([127, 0, 0, 1], 0).into(), metrics.clone()).unwrap();
    assert_ne!(server.address().port(), 0);
    let reason = |server: &MetricsServer| {
        let (status, body) = get(server, "/readyz");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status == 200, body["ready"] == true, "{body}");
        body["reason"].as_str().map(str::to_owned)
    };
    assert!(reason(&server).unwrap().contains("dataset"));
    metrics.set_dataset_writable(true);
    assert!(reason(&server).unwrap().contains("partition"));
    metrics.assigned(2);
    assert_eq!(reason(&server), None);
    metrics.revoked(2);
    assert!(reason(&server).unwrap().contains("partition"));
    metrics.assigned(2);
    metrics.draining();
    assert!(reason(&server).unwrap().contains("draining"));
    assert_eq!(get(&server, "/healthz").0, 200, "a run that drains is alive");
    let (status, page) = get(&server, "/metrics");
    assert_eq!(status, 200);
    assert!(page.contains("boxwright_assigned_partitions 2"), "{page}");
    assert_eq!(get(&server, "/other").0, 404);
}

#[test]
fn an_address_that_is_taken_is_an_error_that_names_it() {
    let metrics = Arc::new(Metrics::default());
    let first = serve(([127, 0, 0, 1], 0).into(), metrics.clone()).unwrap();
    let error = serve(first.address(), metrics).unwrap_err().to_string();
    assert!(error.contains(&first.address().to_string()) && error.contains("hint:"), "{error}");
}

#[test]
fn slow_numbers_are_due_once_a_second_at_most() {
    let metrics = Metrics::default();
    let due = (0..1000).filter(|_| metrics.turned()).count();
    assert!(due <= 1 + metrics.started.elapsed().as_secs() as usize, "{due}");
}
