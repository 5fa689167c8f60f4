//! An index of plugins and a bill of materials, as registries give them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_registry::index::{Index, Wanted};
use purlin_registry::sbom::Sbom;

fuzz_target!(|data: &[u8]| {
    if let Ok(index) = Index::parse(data) {
        assert_eq!(Index::parse(&index.to_json().unwrap()).unwrap(), index);
        let _ = index.search(&["a".to_owned()]);
        for listing in &index.plugins {
            let wanted: Wanted = listing.name.parse().unwrap();
            assert!(index.find(&wanted).is_some());
        }
    }
    if let Ok(sbom) = Sbom::parse(data) {
        assert_eq!(Sbom::parse(&sbom.to_json().unwrap()).unwrap(), sbom);
    }
});
