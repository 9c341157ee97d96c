//! See `boxwright_fuzz::shard::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| boxwright_fuzz::shard::manifest(data));
