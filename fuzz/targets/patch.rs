//! An object and a patch, each on a line, after the kind's letter: all three ways to patch.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_schema::{builtin, patch};

fuzz_target!(|data: &[u8]| {
    let Some(((group, version, kind), data)) = purlin_fuzz::kind(data) else { return };
    let Some([target, change]) = purlin_fuzz::values(data) else { return };
    let merged = patch::merge(target.clone(), &change);
    assert_eq!(patch::merge(merged.clone(), &change), merged);
    let _ = patch::json(target.clone(), &change);
    let _ = patch::strategic(target.clone(), &change, builtin::schema(group, version, kind).as_ref());
    let _ = patch::strategic(target, &change, None);
});
