//! Quantities of resources.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = purlin_schema::quantity::number(text);
});
