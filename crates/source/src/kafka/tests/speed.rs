//! Measurements, run by hand: `cargo test --release -p boxwright-source --lib speed -- --ignored --nocapture`.

use super::*;

/// Resident memory of this process in MB.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn measure(name: &str, lab: &Lab, count: u64) {
    const BYTES: usize = 2_000_000;
    lab.make_topics(1);
    let before = resident_mb();
    let mut sink = lab.sink();
    let one = message(SensorKind::Lidar, "car-1", 0, BYTES);
    let megabytes = (count as usize * BYTES) as f64 / 1e6;
    let started = Instant::now();
    for _ in 0..count {
        sink.send(&one).unwrap();
    }
    sink.flush(Duration::from_secs(300)).unwrap();
    let produced = megabytes / started.elapsed().as_secs_f64();
    let mut source = lab.source();
    events_until(&mut source, |events| !assigned(events).is_empty());
    let started = Instant::now();
    let mut seen = 0;
    while seen < count {
        if let Some(SourceEvent::Record(_)) = source.next_event(Duration::from_secs(1)).unwrap() {
            seen += 1;
        }
        assert!(started.elapsed() < Duration::from_secs(300));
    }
    let consumed = megabytes / started.elapsed().as_secs_f64();
    println!("{name}: in {produced:.0} MB/s, out {consumed:.0} MB/s, resident {before} -> {} MB", resident_mb());
}

#[test]
#[ignore = "a measurement"]
fn two_megabyte_messages_in_memory() {
    measure("memory", &Lab::start(), 300);
}

#[test]
#[ignore = "a measurement"]
fn two_megabyte_messages_on_disk() {
    let folder = tempfile::tempdir_in(".").unwrap();
    measure("disk", &Lab::embedded(Some(folder.path())), 150);
}

#[test]
#[ignore = "a measurement"]
fn joining_a_group() {
    let lab = Lab::with_topics(2);
    for _ in 0..3 {
        let started = Instant::now();
        let mut source = lab.source();
        let connected = started.elapsed();
        events_until(&mut source, |events| !assigned(events).is_empty());
        let joined = started.elapsed();
        drop(source);
        println!("connected {connected:?}, assigned {joined:?}, closed {:?}", started.elapsed() - joined);
    }
}
