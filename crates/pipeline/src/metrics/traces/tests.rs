//! What a producer's header means, and that a collector that does not answer is nobody's trouble.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use boxwright_model::ClipId;

use super::*;
use crate::metrics::{Metrics, Started};

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_trace_parent_is_read_as_the_standard_says() {
    let context = parse_trace_parent(GOOD).unwrap();
    assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
    assert!(context.is_sampled() && context.is_remote());
    assert!(parse_trace_parent(&format!("{}-more", GOOD.replacen("00", "01", 1))).is_some(), "later versions may append");
    for wrong in [
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
    ] {
        assert_eq!(parse_trace_parent(wrong), None, "{wrong}");
    }
}

/// One clip from its message to its commit.
fn one_clip(metrics: &Metrics, number: i64) {
    let vehicle = Arc::<str>::from("v");
    metrics.clip_message(&vehicle, ClipId(number), 1, Some(GOOD));
    metrics.clips().sealed(
        &vehicle,
        ClipId(number),
        super::super::clips::SealedClip { messages: 1, shard_bytes: 1, samples: 1, ours: true },
    );
    metrics.committed(Started::now());
}

#[test]
fn a_collector_that_never_answers_costs_traces_and_nothing_else() {
    // The kernel accepts for it; nobody ever reads or writes.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let traces = Traces::start(&format!("http://{}/v1/traces", silent.local_addr().unwrap())).unwrap();
    let counts = traces.counts();
    let metrics = Metrics::new(1, Some(traces));
    // Three spans a clip here: clip, receive, commit. One batch may be on its way, and the queue be full.
    let sent = 4 * QUEUE_TRACES as u64;
    (0..sent as i64).for_each(|number| one_clip(&metrics, number));
    let dropped = counts.dropped.load(Ordering::Relaxed);
    assert!(dropped >= 3 * (sent - 2 * QUEUE_TRACES as u64), "the run went on while the collector stood still: {dropped}");
    assert_eq!(counts.exported.load(Ordering::Relaxed), 0);
    metrics.finish();
    metrics.clip_message(&"v".into(), ClipId(1), 1, None);
}

#[test]
fn a_collector_that_is_away_is_counted() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let traces = Traces::start(&format!("http://127.0.0.1:{port}/v1/traces")).unwrap();
    let counts = traces.counts();
    let metrics = Metrics::new(1, Some(traces));
    one_clip(&metrics, 1);
    metrics.finish();
    assert_eq!(counts.dropped.load(Ordering::Relaxed), 3);
    assert_eq!(counts.failed.load(Ordering::Relaxed), 1);
}

#[test]
fn only_the_first_producers_are_linked_and_the_rest_is_counted() {
    let metrics = Metrics::default();
    let vehicle = Arc::<str>::from("v");
    for number in 0..20_u32 {
        let header = format!("00-4bf92f3577b34da6a3ce929d0e0e{number:04x}-00f067aa0ba902b7-01");
        let context = parse_trace_parent(&header);
        metrics.clips().message(&vehicle, ClipId(1), 1, context.clone());
        metrics.clips().message(&vehicle, ClipId(1), 1, context);
    }
    metrics.clips().sealed(
        &vehicle,
        ClipId(1),
        super::super::clips::SealedClip { messages: 40, shard_bytes: 0, samples: 0, ours: true },
    );
    let (_, times) = metrics.clips().take_sealed().pop().unwrap();
    assert_eq!((times.links.len(), times.links_left_out), (MAX_LINKS, 2 * (20 - MAX_LINKS as u32)));
}
