//! The code that is committed for gRPC is what `proto/inference.proto` gives. `PURLIN_REGENERATE=1` writes it anew.

use std::path::Path;

#[test]
fn the_committed_code_is_that_of_the_protocol() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile([root.join("proto/inference.proto")], [root.join("proto")]).unwrap();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .bytes(".inference")
        .btree_map(".inference")
        .generate_default_stubs(false)
        .out_dir(out)
        .compile_fds(descriptors)
        .unwrap();
    let generated = std::fs::read_to_string(out.join("inference.rs")).unwrap();
    let committed = root.join("src/grpc/inference.rs");
    if std::env::var_os("PURLIN_REGENERATE").is_some() {
        std::fs::write(&committed, &generated).unwrap();
    }
    let is = std::fs::read_to_string(committed).unwrap();
    assert!(is == generated, "src/grpc/inference.rs is stale: run this test with PURLIN_REGENERATE=1");
}
