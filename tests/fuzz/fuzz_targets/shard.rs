//! See `boxwright_fuzz::shard::clip`.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: boxwright_fuzz::forgive_library_panics(),
    |data: &[u8]| boxwright_fuzz::shard::clip(data)
);
