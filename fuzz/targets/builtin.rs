//! Objects of built-in kinds, after the kind's letter, on the way that a write takes: read as the type, filled with
//! defaults, validated, shown.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use purlin_schema::table::Columns;
use purlin_schema::{builtin, typed};

fuzz_target!(|data: &[u8]| {
    let Some(((group, version, kind), data)) = purlin_fuzz::kind(data) else { return };
    let Some([mut object]) = purlin_fuzz::values(data) else { return };
    let _ = Columns::builtin(group, kind).cells(&object, Timestamp::UNIX_EPOCH);
    let api_version = purlin_fuzz::api_version(group, version);
    if !object.is_object() || typed::settle(&mut object, &api_version, kind).is_err() {
        return;
    }
    let settled = object.clone();
    typed::settle(&mut object, &api_version, kind).unwrap();
    assert_eq!(object, settled, "what was read as its type is read as itself");
    builtin::defaults::prepare(group, kind, &mut object);
    builtin::defaults::fill(group, kind, &mut object);
    let _ = builtin::validation::validate(group, kind, &object, None);
    let _ = builtin::validation::validate(group, kind, &object, Some(&settled));
    let _ = builtin::validation::validate_status(group, kind, &object);
    let _ = Columns::builtin(group, kind).cells(&object, Timestamp::UNIX_EPOCH);
});
