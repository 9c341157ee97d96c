//! The seeds of the fuzz target through the very function that the fuzzer calls: what it has found stays found, on a stable compiler.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail loudly")]

use std::fs;
use std::path::Path;

#[path = "../../../tests/fuzz/src/model.rs"]
pub mod model;

#[test]
fn every_seed_keeps_what_is_promised_for_any_text() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds/taxonomy");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        model::taxonomy(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "there are no seeds");
}
