//! The `PurlinSynced` condition on a parent whose dialect could not translate it.
//!
//! A parent's status has somebody else's shape. One more condition of the usual shape is put into its list while something
//! is wrong and taken out when all is well; everything else is left as it is. A parent that was wrong from the start has no
//! list yet, and gets one: where the schema of its kind has none, the API server leaves it out or refuses it. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

/// The condition's type.
pub(super) const SYNCED: &str = "PurlinSynced";

/// The parent's conditions with the fault in, where that changes anything. None where they are no list.
pub(super) fn with_fault(status: &Value, reason: &str, message: &str, now: Timestamp) -> Option<Value> {
    let conditions = match status.get("conditions") {
        None | Some(Value::Null) => &[][..],
        Some(conditions) => conditions.as_array()?,
    };
    let same = |condition: &Value| {
        condition["type"] == SYNCED && condition["reason"] == reason && condition["message"] == message
    };
    if conditions.iter().any(same) {
        return None;
    }
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let before = conditions.iter().find(|condition| condition["type"] == SYNCED);
    let since =
        before.and_then(|condition| condition["lastTransitionTime"].as_str()).unwrap_or(&time).to_owned();
    let mut fresh: Vec<_> =
        conditions.iter().filter(|condition| condition["type"] != SYNCED).cloned().collect();
    fresh.push(json!({
        "type": SYNCED, "status": "False", "reason": reason, "message": message, "lastTransitionTime": since,
    }));
    Some(Value::Array(fresh))
}

/// The parent's conditions without a fault, where there was one.
pub(super) fn without_fault(status: &Value) -> Option<Value> {
    let conditions = status.get("conditions")?.as_array()?;
    let rest: Vec<_> = conditions.iter().filter(|condition| condition["type"] != SYNCED).cloned().collect();
    (rest.len() < conditions.len()).then_some(Value::Array(rest))
}

#[cfg(test)]
mod tests {
    use super::{with_fault, without_fault};
    use jiff::Timestamp;
    use serde_json::json;

    #[test]
    fn a_fault_comes_and_goes_and_leaves_the_rest() {
        let now = Timestamp::from_second(0).unwrap();
        let status = json!({"conditions": [{"type": "Created", "status": "True"}], "other": 1});
        let faulty = with_fault(&status, "InvalidSpec", "spec.a: wrong", now).unwrap();
        assert_eq!(faulty[0], status["conditions"][0]);
        assert_eq!(faulty[1]["lastTransitionTime"], "1970-01-01T00:00:00Z");
        let status = json!({"conditions": faulty});
        assert_eq!(with_fault(&status, "InvalidSpec", "spec.a: wrong", now), None, "said once");
        assert_eq!(without_fault(&status).unwrap(), json!([{"type": "Created", "status": "True"}]));
    }

    #[test]
    fn a_status_without_conditions_gets_a_list_and_one_of_another_shape_is_left_alone() {
        for status in [json!(null), json!({}), json!({"phase": "New"})] {
            let faulty = with_fault(&status, "A", "b", Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(
                (faulty[0]["type"].as_str(), faulty[0]["reason"].as_str()),
                (Some("PurlinSynced"), Some("A"))
            );
            assert_eq!(without_fault(&status), None);
        }
        let status = json!({"conditions": {}});
        assert_eq!(with_fault(&status, "A", "b", Timestamp::UNIX_EPOCH), None);
        assert_eq!(without_fault(&status), None);
    }
}
