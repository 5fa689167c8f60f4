//! Recorded requests and answers: see `tests/golden`. Each also shows that the answer is stable once it was carried out.

use dialect_katib::Katib;

#[test]
fn recorded_cases() {
    purlin_sdk::testing::sync_cases::<Katib>(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
}
