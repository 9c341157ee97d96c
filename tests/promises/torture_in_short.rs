//! A dozen kills, a paused worker, a full disk and a broker that goes away: the same bytes, every message once.
//!
//! The torture at its full length is a tool of its own: `cargo run --release -p boxwright-tests --bin torture -- --help`.

use std::process::{Command, Stdio};

use boxwright_tests::{test_brokers, wait};

#[test]
fn a_dozen_kills_lose_nothing_and_double_nothing() {
    // The broker is stopped in it, so it must be the torture's own: of the kind that the other tests speak to.
    let broker = if test_brokers().is_some() { "--kafka" } else { "--embedded" };
    let mut torture = Command::new(env!("CARGO_BIN_EXE_torture"));
    torture.args(["--kills", "12", "--broker-stops", "1", "--pauses", "1", "--terms", "1", "--disk-full", "1"]);
    torture.args(["--vehicles", "3", "--partitions", "2", "--seconds", "60", "--seed", "11", "--json", broker]);
    let child = torture.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = wait(child);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.err);
    let report = ended.json();
    for wrong in ["lost", "doubled", "set_aside", "differing_files", "uncommitted_partitions"] {
        assert_eq!(report[wrong], 0, "{report}");
    }
    assert!(report["faults"].as_array().unwrap().is_empty(), "{report}");
    assert_eq!(report["kills"], 12, "{report}");
    assert_eq!(report["broker_stops"], 1, "{report}");
    let (rounds, clips) = (report["rounds"].as_u64().unwrap(), report["clips"].as_u64().unwrap());
    assert!(rounds >= 2 && clips % rounds == 0, "every round seals the same clips: {report}");
    assert!(clips / rounds >= 180, "three vehicles of sixty seconds: {report}");
    // What is sealed must have been worked for while somebody was there to die: moments that are met are chance, the joining is not.
    assert!(report["joined"].as_u64().unwrap() >= 12, "{report}");
}
