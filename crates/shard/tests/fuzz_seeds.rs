//! The seeds of the fuzz targets through the very functions that the fuzzer calls: what it has found stays found, on a stable compiler.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../../tests/fuzz/src/input.rs"]
pub mod input;

#[path = "../../../tests/fuzz/src/shard.rs"]
pub mod shard;

/// The fuzzer bounds memory with an allocator of its own; here only what comes out is looked at.
pub fn within<T>(_bytes: usize, call: impl FnOnce() -> T) -> T {
    call()
}

const TARGETS: [(&str, fn(&[u8])); 2] = [("manifest", shard::manifest), ("shard", shard::clip)];

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds").join(target)
}

#[test]
fn every_seed_keeps_what_is_promised_for_any_bytes() {
    for (target, check) in TARGETS {
        let mut seeds: Vec<PathBuf> = fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            println!("{}", seed.display());
            check(&fs::read(&seed).unwrap());
        }
    }
}

#[test]
#[ignore = "writes the seeds into the repository"]
fn make_seeds() {
    let write = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(folder(target)).unwrap();
        fs::write(folder(target).join(name), bytes).unwrap();
    };
    write("manifest", "entry", &[&[0], shard::entry_json().as_slice()].concat());
    write("manifest", "entry_of_little", &[&[0], shard::little_entry_json().as_slice()].concat());
    write("manifest", "marker", b"\x01{\"schema_version\": 1, \"clip_length_ns\": 20000000000}");
    write("manifest", "vehicle", "\x03car 7/車".as_bytes());
    write("manifest", "vehicle_folder", b"\x03car%207");
    for table in 0..9 {
        // A byte near the footer, one near the front, and the last 40 bytes gone.
        write("shard", &format!("table_{table}_footer"), &[table, 1, 60, 0, 0x10]);
        write("shard", &format!("table_{table}_pages"), &[table, 0, 30, 0, 1]);
    }
    write("shard", "whole", &[0]);
    write("shard", "cut", &[1, 5, 40, 0]);
    write("shard", "longer", &[2, 6, 9, 0, 3, 1, 2, 3]);
}
