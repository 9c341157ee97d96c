//! A frozen viewer costs pictures, never labels or time.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use boxwright_tests::{boxwright, kitti_raw};

/// Something that takes a connection, reads a little and freezes.
fn frozen_viewer() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut some = [0; 64];
            let _ = stream.read(&mut some);
            // An HTTP/2 SETTINGS frame: the peer believes in a server, and then nothing more is read.
            let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
            kept.push(stream);
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    port
}

#[test]
fn storage_goes_on_at_full_speed_while_the_viewer_is_frozen() {
    let Some(drive) = kitti_raw() else { return };
    let out = tempfile::tempdir().unwrap();
    let run = |name: &str, view: Option<String>| {
        let dataset = out.path().join(name);
        let mut args =
            vec!["run", "--from", "kitti-raw", drive.to_str().unwrap(), "--dataset", dataset.to_str().unwrap(), "--json"];
        let view = view.unwrap_or_default();
        if !view.is_empty() {
            args.extend(["--view", &view]);
        }
        boxwright(&args).expect_code(0).json()
    };
    let alone = run("alone", None);
    let frozen = run("frozen", Some(format!("connect=rerun+http://127.0.0.1:{}/proxy", frozen_viewer())));
    assert_eq!(frozen["samples"], alone["samples"]);
    assert_eq!(frozen["boxes"], alone["boxes"]);
    let view = &frozen["view"];
    assert!(view["dropped"].as_u64().unwrap() > 0, "a frozen viewer cannot have been shown everything: {frozen}");
    // The run itself must not wait for the viewer: at most its closing grace on top, and half again for a busy machine.
    let limit = alone["seconds"].as_f64().unwrap() * 1.5 + 8.0;
    assert!(frozen["seconds"].as_f64().unwrap() < limit, "alone {} s, frozen {} s", alone["seconds"], frozen["seconds"]);
    crate::support::assert_same_labels(&out.path().join("alone"), &out.path().join("frozen"));
}
