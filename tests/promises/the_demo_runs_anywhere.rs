//! The demo needs no broker, network or data set, is the same for the same seed, and says how good its labels are.

use boxwright_tests::{Ended, boxwright, files_below};

fn demo(dataset: &std::path::Path, seed: &str) -> Ended {
    boxwright(&["demo", "--dataset", dataset.to_str().unwrap(), "--seconds", "5", "--seed", seed, "--json"])
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let out = tempfile::tempdir().unwrap();
    let (first, second, other) = (out.path().join("a"), out.path().join("b"), out.path().join("c"));
    let report = demo(&first, "1").expect_code(0).json();
    demo(&second, "1").expect_code(0);
    demo(&other, "2").expect_code(0);
    assert!(files_below(&first) == files_below(&second), "two runs of one seed differ");
    assert!(files_below(&first) != files_below(&other), "two seeds give the same street");

    for key in
        ["frames", "samples", "late", "dead_lettered", "boxes", "tracks", "shards", "bytes", "seconds", "precision", "recall"]
    {
        assert!(report[key].is_number(), "{key} is missing: {report}");
    }
    assert!(report["dropped"].is_object());
    assert_eq!(report["samples"], 50);
    // Far below what it reaches, far above chance: the numbers are real, not tuned to this line.
    assert!(report["precision"].as_f64().unwrap() > 0.6, "{report}");
    assert!(report["recall"].as_f64().unwrap() > 0.6, "{report}");
}

#[test]
fn a_folder_that_holds_clips_is_refused() {
    let out = tempfile::tempdir().unwrap();
    demo(out.path(), "3").expect_code(0);
    let again = demo(out.path(), "3").expect_code(1);
    assert!(again.err.contains("hint: name another --dataset"), "{}", again.err);
}
