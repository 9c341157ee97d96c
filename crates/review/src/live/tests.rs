//! A viewer that freezes costs frames on the screen, and nothing else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Condvar;
use std::sync::Mutex;

use rerun::external::re_log_types::LogMsg;

use super::*;
use crate::fixture;

/// Points of a frame of about 2 MB (16 bytes a point).
const POINTS_OF_2_MB: usize = 125_000;

/// A screen that takes `free` calls and then nothing until it is told to.
struct Stalled {
    free: usize,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Screen for Stalled {
    fn show(&mut self, _messages: Vec<LogMsg>) -> Result<(), ReviewError> {
        if self.free > 0 {
            self.free -= 1;
            return Ok(());
        }
        let open = self.gate.0.lock().unwrap();
        let _open = self.gate.1.wait_while(open, |open| !*open).unwrap();
        Ok(())
    }

    fn close(self: Box<Self>, _timeout: Duration) -> Result<(), ReviewError> {
        Ok(())
    }
}

fn serve(memory_limit_bytes: u64) -> LiveView {
    let target = ViewTarget::Serve { bind: Ipv4Addr::LOCALHOST.into(), grpc_port: 0, web_port: 0, memory_limit_bytes };
    LiveView::start(target, fixture::taxonomy(), 4).unwrap()
}

/// Offers 300 frames of 2 MB at 100 Hz and gives the times that the offers took, sorted.
fn offer_300(view: &LiveView) -> Vec<Duration> {
    let frame = fixture::frame(0, POINTS_OF_2_MB);
    let mut took: Vec<Duration> = (0..300)
        .map(|index| {
            let frame = SceneFrame { index, ..frame.clone() };
            let start = Instant::now();
            view.offer(frame);
            let took = start.elapsed();
            std::thread::sleep(Duration::from_millis(10));
            took
        })
        .collect();
    took.sort();
    took
}

fn assert_offers_did_not_wait(took: &[Duration]) {
    let (usual, worst) = (took[took.len() * 95 / 100], took[took.len() - 1]);
    println!("300 offers of 2 MB: 95 % within {usual:?}, worst {worst:?}");
    assert!(usual < Duration::from_millis(5), "{usual:?}");
    // A busy machine may take the processor away for a moment; a viewer would take it for tens of seconds.
    assert!(worst < Duration::from_millis(250), "{worst:?}");
}

#[test]
fn offers_never_wait_for_a_stalled_screen_and_every_frame_is_counted() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let screen = Box::new(Stalled { free: 3, gate: gate.clone() });
    let view = LiveView::on_screen(screen, String::new(), None, fixture::taxonomy(), 4).unwrap();
    assert_offers_did_not_wait(&offer_300(&view));
    let before = view.stats();
    assert_eq!(before.shown, 3);
    assert_eq!(before.dropped, 300 - 3 - 1 - 4, "all but those shown, the one that is stuck and the four that wait");

    let start = Instant::now();
    let finished = view.finish(Duration::from_millis(200));
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(!finished.flushed);
    assert_eq!(finished.stats.dropped, before.dropped + 4);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
}

#[test]
fn a_browser_that_freezes_while_it_reads_the_stream_never_holds_the_pipeline() {
    // A history of nothing makes the pressure of the frozen reader arrive as early as it can.
    let view = serve(0);
    let mut frozen = TcpStream::connect((Ipv4Addr::LOCALHOST, stream_port(&view))).unwrap();
    // What a browser sends to read the stream (grpc-web: one empty message), after which this one never reads.
    let call = "POST /rerun.sdk_comms.v1alpha1.MessageProxyService/ReadMessages HTTP/1.1\r\nhost: 127.0.0.1\r\n\
                content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0";
    frozen.write_all(call.as_bytes()).unwrap();
    let mut first = [0; 15];
    frozen.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK", "the stream must be open, or the test shows nothing");

    fill_until_stuck(&view);

    let before = view.stats();
    assert_offers_did_not_wait(&offer_300(&view));
    let after = view.stats();
    println!("frozen browser: {before:?}, 300 offers later {after:?}");
    assert!(after.shown - before.shown <= 1, "the stream must be stuck, or the test shows nothing");
    assert!(after.dropped - before.dropped >= 300 - 4 - 1);
    let start = Instant::now();
    let finished = view.finish(Duration::from_secs(1));
    println!("finish took {:?}: {finished:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(!finished.flushed);
}

/// Offers frames of 2 MB until none has been taken for three seconds: every buffer between here and the frozen reader is full.
fn fill_until_stuck(view: &LiveView) {
    let frame = fixture::frame(0, POINTS_OF_2_MB);
    let (begin, mut shown, mut since) = (Instant::now(), 0, Instant::now());
    while since.elapsed() < Duration::from_secs(3) {
        assert!(begin.elapsed() < Duration::from_secs(120), "the reader is not frozen: {:?}", view.stats());
        view.offer(frame.clone());
        std::thread::sleep(Duration::from_millis(10));
        if view.stats().shown > shown {
            (shown, since) = (view.stats().shown, Instant::now());
        }
    }
}

#[test]
fn without_a_viewer_everything_is_shown_and_the_end_is_quick() {
    let view = serve(1 << 20);
    for index in 0..5 {
        view.offer(fixture::frame(index, 1000));
        std::thread::sleep(Duration::from_millis(50));
    }
    let start = Instant::now();
    let finished = view.finish(Duration::from_secs(10));
    assert_eq!(finished, Finished { stats: LiveStats { shown: 5, dropped: 0 }, flushed: true });
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_viewer_that_is_not_there_is_named_within_seconds_with_a_hint() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let url = format!("rerun+http://127.0.0.1:{free}/proxy");
    let start = Instant::now();
    let error = LiveView::start(ViewTarget::Connect { url: url.clone() }, fixture::taxonomy(), 4).unwrap_err().to_string();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(error.contains(&url) && error.contains("hint:"), "{error}");

    let error =
        LiveView::start(ViewTarget::Connect { url: "not a viewer".to_owned() }, fixture::taxonomy(), 4).unwrap_err().to_string();
    assert!(error.contains("expected the address of a viewer"), "{error}");
}

#[test]
fn a_live_view_can_feed_a_viewer_that_is_open() {
    let viewer = serve(1 << 20);
    let url = format!("rerun+http://127.0.0.1:{}/proxy", stream_port(&viewer));
    let view = LiveView::start(ViewTarget::Connect { url }, fixture::taxonomy(), 4).unwrap();
    view.offer(fixture::frame(0, 1000));
    let finished = view.finish(Duration::from_secs(10));
    assert_eq!(finished, Finished { stats: LiveStats { shown: 1, dropped: 0 }, flushed: true });
}

#[test]
fn a_viewer_that_goes_away_costs_frames_on_the_screen_and_no_time() {
    // It takes connections, lets each go after a while, and is then gone for good.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("rerun+http://{}/proxy", listener.local_addr().unwrap());
    let viewer = std::thread::spawn(move || {
        for _ in 0..2 {
            let connection = listener.accept().unwrap();
            std::thread::sleep(Duration::from_millis(100));
            drop(connection);
        }
    });
    let view = LiveView::start(ViewTarget::Connect { url }, fixture::taxonomy(), 4).unwrap();
    assert_offers_did_not_wait(&offer_300(&view));
    viewer.join().unwrap();
    let start = Instant::now();
    let finished = view.finish(Duration::from_secs(1));
    println!("viewer gone: {finished:?} after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(finished.stats.dropped > 200 && !finished.flushed, "{finished:?}");
}

#[test]
fn a_taken_port_is_an_error_with_a_hint() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let target = ViewTarget::Serve { bind: Ipv4Addr::LOCALHOST.into(), grpc_port: port, web_port: 0, memory_limit_bytes: 0 };
    let error = LiveView::start(target, fixture::taxonomy(), 4).unwrap_err().to_string();
    assert!(error.contains("the live view") && error.contains("view.grpc_port"), "{error}");
}

#[test]
fn a_live_recording_gets_its_name_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.rrd");
    let view = LiveView::start(ViewTarget::File(path.clone()), fixture::taxonomy(), 4).unwrap();
    view.offer(fixture::frame(0, 1000));
    assert!(!path.exists());
    assert!(view.finish(Duration::from_secs(10)).flushed);
    assert!(path.exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// The port of the stream, as the page learns it.
fn stream_port(view: &LiveView) -> u16 {
    let address = view.url().trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /config.json HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, config) = answer.split_once("\r\n\r\n").unwrap();
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    config["live_grpc_port"].as_u64().unwrap().try_into().unwrap()
}
