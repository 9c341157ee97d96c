//! What every decoder and reader promises for any bytes, as functions that panic where a promise is broken.
//!
//! The fuzz targets call them with the fuzzer's bytes. The ordinary tests of the crates (`fuzz_seeds.rs`) take in the same files and call
//! them with the committed seeds, so that a stable compiler keeps both alive.

use std::alloc::System;

use cap::Cap;

pub mod input;

pub mod source;

pub mod shard;

pub mod model;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Runs `call`, within which no more than `bytes` may be allocated at any moment beyond what is allocated now.
///
/// An allocation beyond it fails, which aborts the process: the fuzzer keeps the input.
pub fn within<T>(bytes: usize, call: impl FnOnce() -> T) -> T {
    let limit = ALLOCATOR.allocated().saturating_add(bytes);
    ALLOCATOR.set_limit(limit).expect("the limit is above what is allocated");
    let result = call();
    ALLOCATOR.set_limit(usize::MAX).expect("no limit is above everything");
    result
}

/// Lets panics of the Parquet and Arrow libraries unwind silently: the reader turns them into errors. The fuzzer's own hook would end the
/// process before it can. Any other panic still ends it: libFuzzer's wrapper aborts on one that nobody has caught.
pub fn forgive_library_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let of_a_library = |file: &str| ["/parquet-", "/arrow-"].iter().any(|name| file.contains(name));
        // `report` is the fuzzer's hook: it prints and aborts.
        if !info.location().is_some_and(|location| of_a_library(location.file())) {
            report(info);
        }
    }));
}

/// A vehicle whose headers are accepted can have its folder in a dataset: another one would end the run that wants to write it.
pub fn check_vehicle(vehicle: &str) {
    if let Err(error) = boxwright_shard::name::escape("vehicle", vehicle) {
        panic!("accepted as a vehicle: {error}");
    }
}
