//! See `boxwright_fuzz::model::taxonomy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| boxwright_fuzz::model::taxonomy(data));
