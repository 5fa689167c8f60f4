//! A bundle, as somebody hands it over.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use purlin_registry::bundle::Reader;

fuzz_target!(|data: &[u8]| {
    if let Ok(mut reader) = Reader::open(Cursor::new(data)) {
        let _ = reader.verify();
    }
});
