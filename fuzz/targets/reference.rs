//! Names of plugins in a registry: one that is read is written and read as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_registry::reference::Reference;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else { return };
    assert_eq!(reference.to_string().parse::<Reference>().as_ref(), Ok(&reference));
});
