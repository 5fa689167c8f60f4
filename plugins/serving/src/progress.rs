//! How far a Model is, in the words that KServe and ModelMesh share.
//!
//! A Model says it in three conditions, one after the other: `Resolved`, `Loaded`, `Ready`.

use purlin_sdk::Object as _;
use purlin_sdk::serde_json::Value;

/// Reasons of a condition that is False for a while and not for good.
const UNDER_WAY: &[&str] = &[
    "Pending",
    "Waiting",
    "Starting",
    "Progressing",
    "Resolving",
    "Fetching",
    "Downloading",
    "Loading",
    "Scaling",
    "NotLoaded",
    "NotReady",
    "ContainersNotReady",
    "Resolved",
];

/// How far a Model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It can answer.
    Ready,
    /// It is on its way.
    Pending {
        /// Of the condition that is not True yet.
        reason: String,
        /// Of the same.
        message: String,
    },
    /// Somebody has to act.
    Failed {
        /// As in `lastFailureInfo`.
        kind: &'static str,
        /// Of the condition that is False.
        reason: String,
        /// Of the same.
        message: String,
        /// When it became False.
        since: String,
    },
}

/// Whether a Model can answer.
pub fn is_ready(model: &Value) -> bool {
    model.is_true("Ready")
}

/// How far this one is. One that was not seen is pending.
pub fn of(model: Option<&Value>) -> Progress {
    let pending = |reason: &str, message: &str| Progress::Pending {
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let Some(model) = model else { return pending("", "") };
    if is_ready(model) {
        return Progress::Ready;
    }
    for (condition, kind) in
        [("Resolved", "NoSupportingRuntime"), ("Loaded", "ModelLoadFailed"), ("Ready", "RuntimeUnhealthy")]
    {
        let Some(found) = model.condition(condition) else { continue };
        let (reason, message) = (found.text(&["reason"]), found.text(&["message"]));
        match found.text(&["status"]) {
            "True" => {}
            "False" if !UNDER_WAY.contains(&reason) => {
                // A place that cannot be read is no lack of a runtime.
                let unread = ["Source", "Fetch", "Download", "Digest", "Secret"]
                    .iter()
                    .any(|word| reason.contains(word));
                return Progress::Failed {
                    kind: if unread { "ModelLoadFailed" } else { kind },
                    reason: reason.to_owned(),
                    message: message.to_owned(),
                    since: found.text(&["lastTransitionTime"]).to_owned(),
                };
            }
            _ => return pending(reason, message),
        }
    }
    pending("", "")
}

/// The state of a Model: `Pending`, `Standby`, `Loading`, `Loaded` or `FailedToLoad`.
pub fn state(model: Option<&Value>) -> &'static str {
    match of(model) {
        Progress::Ready => {
            let idle = model.is_some_and(|model| {
                model.int(&["status", "replicas"]) == Some(0)
                    && model.int(&["spec", "scaling", "minReplicas"]) == Some(0)
            });
            if idle { "Standby" } else { "Loaded" }
        }
        Progress::Failed { .. } => "FailedToLoad",
        Progress::Pending { .. } if model.is_some_and(|model| model.is_true("Resolved")) => "Loading",
        Progress::Pending { .. } => "Pending",
    }
}

#[cfg(test)]
mod tests {
    use purlin_sdk::serde_json::json;

    use super::*;

    fn model(conditions: &[(&str, &str, &str)], replicas: i64) -> Value {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, status, reason)| json!({"type": kind, "status": status, "reason": reason, "message": "m"}))
            .collect();
        json!({
            "spec": {"scaling": {"minReplicas": 0}}, "status": {"conditions": conditions, "replicas": replicas},
        })
    }

    #[test]
    fn states_follow_the_conditions() {
        let resolved = ("Resolved", "True", "Found");
        for (conditions, replicas, expected) in [
            (vec![], 0, "Pending"),
            (vec![resolved], 0, "Loading"),
            (vec![resolved, ("Loaded", "False", "Downloading")], 0, "Loading"),
            (vec![resolved, ("Loaded", "False", "InvalidModel")], 0, "FailedToLoad"),
            (vec![("Resolved", "False", "NoRuntime")], 0, "FailedToLoad"),
            (vec![resolved, ("Ready", "True", "Loaded")], 1, "Loaded"),
            (vec![resolved, ("Ready", "True", "Idle")], 0, "Standby"),
        ] {
            assert_eq!(state(Some(&model(&conditions, replicas))), expected, "{conditions:?}");
        }
        assert_eq!(state(None), "Pending");
    }

    #[test]
    fn failures_have_a_kind() {
        let kind = |conditions: &[(&str, &str, &str)]| match of(Some(&model(conditions, 0))) {
            Progress::Failed { kind, .. } => kind,
            Progress::Ready | Progress::Pending { .. } => "none",
        };
        assert_eq!(kind(&[("Resolved", "False", "NoRuntime")]), "NoSupportingRuntime");
        assert_eq!(kind(&[("Resolved", "False", "SecretNotFound")]), "ModelLoadFailed");
        assert_eq!(kind(&[("Loaded", "False", "LoadFailed")]), "ModelLoadFailed");
        assert_eq!(kind(&[("Ready", "False", "Unschedulable")]), "RuntimeUnhealthy");
        assert_eq!(kind(&[("Loaded", "False", "Loading")]), "none");
    }
}
