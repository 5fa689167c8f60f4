//! Events about an Experiment: each condition that became true, in its own words, so that `kubectl describe` tells the
//! story. Nothing is said twice: what is true already in the status that was observed is not news.

use purlin_sdk::serde_json::Value;
use purlin_sdk::{Event, Object as _, Severity};

/// What is true in the new status and was not in the experiment's own.
pub(crate) fn of(experiment: &Value, status: &Value) -> Vec<Event> {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions
        .iter()
        .filter(|condition| condition["status"] == "True" && !experiment.is_true(condition.text(&["type"])))
        .map(|condition| Event {
            severity: if condition["type"] == "Failed" { Severity::Warning } else { Severity::Normal },
            reason: condition.text(&["reason"]).to_owned(),
            message: condition.text(&["message"]).to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_sdk::serde_json::json;

    #[test]
    fn only_what_became_true_is_told() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": kind, "message": "m"});
        let before =
            json!({"status": {"conditions": [condition("Created", "True"), condition("Running", "True")]}});
        let after = json!({"conditions": [
            condition("Created", "True"), condition("Running", "False"), condition("Failed", "True"),
        ]});
        let told = of(&before, &after);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].severity, told[0].reason.as_str()), (Severity::Warning, "Failed"));
        assert_eq!(of(&json!({}), &after).len(), 2, "nothing is known of the first");
    }
}
