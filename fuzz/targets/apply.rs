//! A live object and a configuration, each on a line, after the kind's letter: server-side apply and other writes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_schema::managed::{self, Writer};
use purlin_schema::{builtin, typed};

fuzz_target!(|data: &[u8]| {
    let Some(((group, version, kind), data)) = purlin_fuzz::kind(data) else { return };
    let Some([live, config]) = purlin_fuzz::values(data) else { return };
    if !live.is_object() || !config.is_object() {
        return;
    }
    let api_version = purlin_fuzz::api_version(group, version);
    let schema = builtin::schema(group, version, kind);
    let writer = Writer {
        manager: "fuzz",
        api_version: &api_version,
        subresource: "",
        reset: &[&["status"]],
        blank: &typed::blank(&api_version, kind),
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    for schema in [schema.as_ref(), None] {
        let _ = managed::update(Some(&live), config.clone(), &writer, schema);
        let _ = managed::apply(Some(&live), &config, false, &writer, schema);
        if let Ok(made) = managed::apply(None, &config, true, &writer, schema) {
            let _ = managed::apply(Some(&made), &live, true, &writer, schema);
        }
    }
});
