//! Components, from any registry: what they import and export, and the manifest in them.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use purlin_registry::{Artifact, Manifest, component};

fuzz_target!(|data: &[u8]| {
    let _ = component::interfaces(data);
    if let Ok(manifest) = Manifest::from_component(data) {
        let _ = manifest.validate();
        let text = manifest.to_json().unwrap();
        assert_eq!(Manifest::from_json(text.as_bytes()).unwrap(), manifest);
    }
    let component = Bytes::copy_from_slice(data);
    if let Ok(made) = Artifact::from_component(component.clone()) {
        Artifact::from_parts(made.document().clone(), made.config().clone(), component).unwrap();
    }
});
