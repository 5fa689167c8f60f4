//! A printer column's path on the first line, an object on the second.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_schema::table::{Columns, JsonPath};
use serde_json::json;

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (Ok(path), Some([object])) =
        (std::str::from_utf8(&data[..end]), purlin_fuzz::values(&data[end + 1..]))
    else {
        return;
    };
    if let Ok(path) = JsonPath::parse(path) {
        assert_eq!(path.first(&object), path.find(&object).first().copied());
    }
    for kind in ["string", "integer", "number", "boolean", "date"] {
        let column = json!({"name": "Column", "type": kind, "jsonPath": path});
        let _ = Columns::custom(&[column]).cells(&object, jiff::Timestamp::UNIX_EPOCH);
    }
});
