//! See `boxwright_fuzz::source::cdr`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| boxwright_fuzz::source::cdr(data));
