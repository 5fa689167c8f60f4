//! Recorded requests and answers: see `tests/golden`. Each also shows that the answer is stable once it was carried out.

use dialect_kserve::KServe;

#[test]
fn recorded_cases() {
    purlin_sdk::testing::sync_cases::<KServe>(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
}
