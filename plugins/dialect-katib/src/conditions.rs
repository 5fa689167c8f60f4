//! Conditions as Katib keeps them: one that changes goes to the end of the list, so that the last one tells the current
//! state (its printer columns show that one), and each has a `lastUpdateTime`.

use purlin_sdk::Conditions;
use purlin_sdk::serde_json::Value;

/// The conditions of `object`, to be changed.
pub(crate) fn of(object: &Value, now_ms: u64) -> Conditions {
    Conditions::of(object, now_ms).with_update_time()
}

/// Sets a condition, and makes it the last one if that changed it.
pub(crate) fn mark(conditions: &mut Conditions, kind: &str, status: bool, reason: &str, message: &str) {
    let status = if status { "True" } else { "False" };
    if conditions.set(kind, status, reason, message) {
        conditions.move_last(kind);
    }
}
