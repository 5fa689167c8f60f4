//! Bodies in protobuf, from any client: what is read can be written as JSON and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_schema::protobuf;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(object) = protobuf::decode(data, "v1", "Pod") else { return };
    let text = serde_json::to_vec(&object).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), object);
});
