//! docker's configuration, as a user or a Secret has it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_registry::auth::DockerConfig;

fuzz_target!(|data: &[u8]| {
    if let Ok(config) = DockerConfig::parse(data, "config.json") {
        let _ = config.entries();
    }
});
