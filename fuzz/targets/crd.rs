//! A CRD's schema and two objects, each on a line: a schema that is accepted must take any object, CEL rules included.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_schema::{Schema, apply_defaults, check_structural, prune, validate, validate_status};

fuzz_target!(|data: &[u8]| {
    let Some([schema, mut object, old]) = purlin_fuzz::values(data) else { return };
    if !check_structural(&schema, "spec.validation.openAPIV3Schema").is_empty() {
        return;
    }
    let Ok(schema) = Schema::parse_object(&schema) else { return };
    prune(&mut object, &schema);
    let pruned = object.clone();
    assert!(prune(&mut object, &schema).is_empty());
    assert_eq!(object, pruned);
    apply_defaults(&mut object, &schema);
    let filled = object.clone();
    apply_defaults(&mut object, &schema);
    assert_eq!(object, filled);
    let _ = validate(&object, None, &schema);
    let _ = validate(&object, Some(&old), &schema);
    let _ = validate_status(&object, Some(&old), &schema);
});
