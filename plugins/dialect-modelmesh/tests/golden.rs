//! Recorded requests and answers: see `tests/golden`. Each also shows that the answer is stable once it was carried out.

use dialect_modelmesh::ModelMesh;

#[test]
fn recorded_cases() {
    purlin_sdk::testing::sync_cases::<ModelMesh>(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
}
