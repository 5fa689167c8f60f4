//! Quantities of resources.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let known = purlin_schema::quantity::number(text).is_some();
    if let Some(form) = purlin_schema::quantity::canonical(text) {
        assert!(known, "what is no quantity has no form");
        assert_eq!(purlin_schema::quantity::canonical(&form), Some(form.clone()), "the form of the form");
    }
});
