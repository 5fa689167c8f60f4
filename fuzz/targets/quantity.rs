//! Quantities of resources.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let known = purlin_schema::quantity::number(text).is_some();
    if let Some(form) = purlin_schema::quantity::canonical(text) {
        assert!(known, "what is no quantity has no form");
        // A binary amount that no power of 1024 divides is written without a suffix, and so read as a decimal one.
        let form = purlin_schema::quantity::canonical(&form).unwrap();
        assert_eq!(purlin_schema::quantity::canonical(&form), Some(form.clone()), "the form of the form");
    }
});
