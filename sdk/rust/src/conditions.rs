//! `status.conditions`, carried from the previous status to the next.
//!
//! A condition that says the same as before is left untouched, times included, so that a sync that changes nothing
//! writes nothing. `lastTransitionTime` moves when `status` does and not when only the words change.

use serde_json::{Value, json};

use crate::{Object as _, time};

/// A list of conditions in the making.
#[derive(Debug, Clone)]
pub struct Conditions {
    entries: Vec<Value>,
    now: String,
    update_time: bool,
}

impl Conditions {
    /// The conditions that the object has in its status, to be changed at `now_ms` (the request's `context.now_ms`).
    pub fn of(object: &Value, now_ms: u64) -> Self {
        let entries = object.items(&["status", "conditions"]).to_vec();
        Self { entries, now: time::rfc3339(now_ms), update_time: false }
    }

    /// Writes `lastUpdateTime` as well, which moves with every change: an older convention that some kinds keep.
    pub fn with_update_time(mut self) -> Self {
        self.update_time = true;
        self
    }

    /// Sets a condition: `status` is `True`, `False` or `Unknown`. Says whether anything changed. Its place in the list
    /// stays.
    pub fn set(&mut self, kind: &str, status: &str, reason: &str, message: &str) -> bool {
        let previous = self.entries.iter().position(|entry| entry.text(&["type"]) == kind);
        let mut next = json!({
            "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": self.now,
        });
        if self.update_time {
            next["lastUpdateTime"] = self.now.as_str().into();
        }
        let Some(slot) = previous.and_then(|index| self.entries.get_mut(index)) else {
            self.entries.push(next);
            return true;
        };
        let says = |field| slot.text(&[field]);
        if (says("status"), says("reason"), says("message")) == (status, reason, message) {
            return false;
        }
        if says("status") == status && !says("lastTransitionTime").is_empty() {
            next["lastTransitionTime"] = says("lastTransitionTime").into();
        }
        *slot = next;
        true
    }

    /// Moves a condition behind all others, for kinds whose readers take the last one for the current state.
    pub fn move_last(&mut self, kind: &str) {
        if let Some(index) = self.entries.iter().position(|entry| entry.text(&["type"]) == kind) {
            let entry = self.entries.remove(index);
            self.entries.push(entry);
        }
    }

    /// Removes a condition.
    pub fn remove(&mut self, kind: &str) {
        self.entries.retain(|entry| entry.text(&["type"]) != kind);
    }

    /// The condition with this type.
    pub fn get(&self, kind: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.text(&["type"]) == kind)
    }

    /// Whether the condition is `True`.
    pub fn is_true(&self, kind: &str) -> bool {
        self.get(kind).is_some_and(|entry| entry.text(&["status"]) == "True")
    }

    /// The list, for `status.conditions`.
    pub fn into_value(self) -> Value {
        Value::Array(self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn after(object: &Value, minutes: u64, status: &str, reason: &str) -> (bool, Value) {
        let mut conditions = Conditions::of(object, minutes * MINUTE);
        let changed = conditions.set("Ready", status, reason, "");
        (changed, json!({"status": {"conditions": conditions.into_value()}}))
    }

    #[test]
    fn times_move_only_with_what_they_tell() {
        let (changed, first) = after(&json!({}), 1, "False", "Starting");
        assert!(changed);
        let (changed, same) = after(&first, 2, "False", "Starting");
        assert!(!changed);
        assert_eq!(first, same);
        let (changed, reworded) = after(&first, 3, "False", "Pulling");
        assert!(changed);
        let time = |object: &Value| {
            object.condition("Ready").map(|entry| entry.text(&["lastTransitionTime"]).to_owned())
        };
        assert_eq!(time(&reworded), time(&first));
        let (_, ready) = after(&reworded, 4, "True", "Pulling");
        assert_eq!(time(&ready).as_deref(), Some("1970-01-01T00:04:00Z"));
    }

    #[test]
    fn order_stays_unless_asked() {
        let mut conditions = Conditions::of(&json!({}), 0).with_update_time();
        conditions.set("A", "True", "X", "");
        conditions.set("B", "True", "X", "");
        conditions.set("A", "False", "X", "");
        let types = |conditions: &Conditions| {
            conditions.entries.iter().map(|entry| entry.text(&["type"]).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(types(&conditions), ["A", "B"]);
        conditions.move_last("A");
        assert_eq!(types(&conditions), ["B", "A"]);
        conditions.remove("B");
        assert_eq!(types(&conditions), ["A"]);
        assert_eq!(
            conditions.get("A").map(|entry| entry.text(&["lastUpdateTime"])),
            Some("1970-01-01T00:00:00Z")
        );
    }
}
