//! Katib's Suggestion: every point that was suggested so far. In Katib it is also the request to an algorithm's service;
//! here the kernel asks the tuner, and this is the record of the answers.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Object as _, SyncRequest, time};

use crate::{EXPERIMENT_LABEL, KATIB, conditions, trials};

/// The Suggestion of an Experiment whose new status is `status`.
pub(crate) fn of(experiment: &Value, request: &SyncRequest, observed: &[&Value], status: &Value) -> Value {
    let name = experiment.name();
    let mut spec = Map::new();
    for field in ["algorithm", "earlyStopping", "resumePolicy"] {
        if let Some(value) = experiment.at(&["spec", field]) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    spec.insert("requests".to_owned(), requests(experiment, observed.len()).into());
    let finished = completed(status);
    let previous = request.child(KATIB, "Suggestion", name).unwrap_or(&Value::Null);
    json!({
        "apiVersion": KATIB,
        "kind": "Suggestion",
        "metadata": {"name": name, "labels": {EXPERIMENT_LABEL: name}},
        "spec": spec,
        "status": suggested(experiment, previous, observed, finished, request.context.now_ms),
    })
}

/// Points that were asked for: as many as there are trials, and before there are any, as many as will run at once.
fn requests(experiment: &Value, trials: usize) -> i64 {
    let first = experiment.int(&["spec", "parallelTrialCount"]).unwrap_or_default();
    let most = experiment.int(&["spec", "maxTrialCount"]).unwrap_or(i64::MAX);
    i64::try_from(trials).unwrap_or(i64::MAX).max(first.min(most))
}

fn completed(status: &Value) -> bool {
    let is_true = |kind: &str| {
        status
            .items(&["conditions"])
            .iter()
            .any(|condition| condition.text(&["type"]) == kind && condition.text(&["status"]) == "True")
    };
    is_true("Succeeded") || is_true("Failed")
}

fn suggested(
    experiment: &Value,
    previous: &Value,
    observed: &[&Value],
    finished: bool,
    now_ms: u64,
) -> Value {
    let mut conditions = conditions::of(previous, now_ms);
    let mut mark =
        |kind, status, reason, message| conditions::mark(&mut conditions, kind, status, reason, message);
    mark("Created", true, "SuggestionCreated", "Suggestion is created");
    let policy = experiment.text(&["spec", "resumePolicy"]);
    // An experiment that may go on keeps its suggestion running.
    let closed = finished && policy != "LongRunning";
    if closed {
        let message = match policy {
            "FromVolume" => "Suggestion is succeeded, suggestion volume is not deleted, can be restarted",
            _ => "Suggestion is succeeded, can't be restarted",
        };
        mark("Running", false, "SuggestionRunning", "Suggestion is not running");
        mark("Succeeded", true, "SuggestionSucceeded", message);
    } else {
        mark("Running", true, "SuggestionRunning", "Suggestion is running");
        conditions.remove("Succeeded");
    }
    let suggestions: Vec<Value> = observed
        .iter()
        .map(|trial| json!({"name": trial.name(), "parameterAssignments": trials::assignments(trial)}))
        .collect();
    let recorded = |field: &str| match previous.text(&["status", field]) {
        "" => time::rfc3339(now_ms),
        time => time.to_owned(),
    };
    let mut status = Map::new();
    status.insert("conditions".to_owned(), conditions.into_value());
    status.insert("startTime".to_owned(), recorded("startTime").into());
    if closed {
        status.insert("completionTime".to_owned(), recorded("completionTime").into());
    }
    status.insert("suggestionCount".to_owned(), suggestions.len().into());
    status.insert("suggestions".to_owned(), suggestions.into());
    status.into()
}
