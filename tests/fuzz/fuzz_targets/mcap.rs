//! See `boxwright_fuzz::source::mcap`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| boxwright_fuzz::source::mcap(data));
