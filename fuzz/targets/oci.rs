//! What a registry answers: an image manifest; and a plugin's manifest as it lies in the manifest's annotation.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use purlin_registry::{Artifact, Manifest};

fuzz_target!(|data: &[u8]| {
    let _ = Artifact::from_parts(Bytes::copy_from_slice(data), Bytes::new(), Bytes::new());
    if let Ok(manifest) = Manifest::from_json(data) {
        let _ = manifest.validate();
        let text = manifest.to_json().unwrap();
        assert_eq!(Manifest::from_json(text.as_bytes()).unwrap(), manifest);
    }
});
