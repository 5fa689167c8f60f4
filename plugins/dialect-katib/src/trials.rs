//! Katib's Trial, for each generic Trial of the Experiment.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Object as _, SyncRequest, time};

use crate::{EXPERIMENT_LABEL, GENERIC, GENERIC_EXPERIMENT_LABEL, KATIB, conditions};

/// Where a trial is, in Katib's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    EarlyStopped,
    MetricsUnavailable,
}

/// The generic Trials of an Experiment, in their order.
pub(crate) fn observed<'a>(related: &'a [Value], experiment: &str) -> Vec<&'a Value> {
    let mut trials: Vec<&Value> = related
        .iter()
        .filter(|object| {
            object.is(GENERIC, "Trial") && object.label(GENERIC_EXPERIMENT_LABEL) == Some(experiment)
        })
        .collect();
    trials.sort_by_key(|trial| (trial.int(&["spec", "index"]).unwrap_or(i64::MAX), trial.name().to_owned()));
    trials
}

/// Where a generic Trial is.
pub(crate) fn phase(trial: &Value) -> Phase {
    [
        ("Failed", Phase::Failed),
        ("MetricsUnavailable", Phase::MetricsUnavailable),
        ("EarlyStopped", Phase::EarlyStopped),
        ("Succeeded", Phase::Succeeded),
        ("Running", Phase::Running),
    ]
    .into_iter()
    .find(|(condition, _)| trial.is_true(condition))
    .map_or(Phase::Pending, |(_, phase)| phase)
}

/// Katib's Trial for a generic one.
pub(crate) fn of(experiment: &Value, request: &SyncRequest, trial: &Value) -> Value {
    let spec = |field| experiment.at(&["spec", field]).cloned().unwrap_or_default();
    let template = |field| experiment.at(&["spec", "trialTemplate", field]).cloned();
    let mut katib = Map::new();
    let mut set = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            katib.insert(field.to_owned(), value);
        }
    };
    set("objective", Some(spec("objective")));
    set("parameterAssignments", Some(assignments(trial)));
    set("runSpec", trial.at(&["spec", "object"]).cloned());
    set("retainRun", template("retain").filter(|retain| retain == true));
    // Where a Trial names the StdOut collector, Katib's SDK reads logs from the container that upstream's webhook adds.
    // There is none here: the program's own container has the lines.
    let collector = spec("metricsCollectorSpec");
    set("metricsCollector", Some(collector).filter(|spec| spec.text(&["collector", "kind"]) != "StdOut"));
    set("primaryPodLabels", template("primaryPodLabels"));
    set("primaryContainerName", template("primaryContainerName"));
    set("successCondition", template("successCondition"));
    set("failureCondition", template("failureCondition"));
    let previous = request.child(KATIB, "Trial", trial.name());
    json!({
        "apiVersion": KATIB,
        "kind": "Trial",
        "metadata": {"name": trial.name(), "labels": {EXPERIMENT_LABEL: experiment.name()}},
        "spec": katib,
        "status": status(trial, previous.unwrap_or(&Value::Null), request.context.now_ms),
    })
}

/// The point, as Katib lists it.
pub(crate) fn assignments(trial: &Value) -> Value {
    pairs(trial.items(&["spec", "assignments"]))
}

/// Names and values, and nothing else that an entry may have.
pub(crate) fn pairs(list: &[Value]) -> Value {
    list.iter().map(|entry| json!({"name": entry.text(&["name"]), "value": entry.text(&["value"])})).collect()
}

/// Metrics as Katib lists them. The generic kind has the same four fields, as text.
pub(crate) fn metrics(list: &[Value]) -> Value {
    let metric = |metric: &Value| {
        let text = |field| metric.text(&[field]);
        json!({"name": text("name"), "latest": text("latest"), "min": text("min"), "max": text("max")})
    };
    list.iter().map(metric).collect()
}

fn status(trial: &Value, previous: &Value, now_ms: u64) -> Value {
    let mut conditions = conditions::of(previous, now_ms);
    let mut mark = |kind, status, reason, message: &str| {
        conditions::mark(&mut conditions, kind, status, reason, message)
    };
    mark("Created", true, "TrialCreated", "Trial is created");
    let phase = phase(trial);
    let ended = match phase {
        Phase::Pending => None,
        Phase::Running => {
            mark("Running", true, "TrialRunning", "Trial is running");
            None
        }
        Phase::Succeeded => Some(("Succeeded", "TrialSucceeded", "Trial has succeeded".to_owned())),
        Phase::Failed => Some(("Failed", "TrialFailed", failure(trial))),
        Phase::EarlyStopped => {
            Some(("EarlyStopped", "TrialEarlyStopped", "Trial is early stopped".to_owned()))
        }
        Phase::MetricsUnavailable => {
            Some(("MetricsUnavailable", "MetricsUnavailable", "Metrics are not available".to_owned()))
        }
    };
    if let Some((kind, reason, message)) = &ended {
        mark("Running", false, "TrialRunning", "Trial is running");
        mark(kind, true, reason, message);
    }
    let mut status = Map::new();
    status.insert("conditions".to_owned(), conditions.into_value());
    let mut at = |field: &str, wanted: bool| {
        if wanted {
            let recorded = [previous, trial]
                .iter()
                .map(|object| object.text(&["status", field]))
                .find(|time| !time.is_empty());
            let moment = recorded.map_or_else(|| time::rfc3339(now_ms), str::to_owned);
            status.insert(field.to_owned(), moment.into());
        }
    };
    at("startTime", true);
    at("completionTime", ended.is_some());
    let measured = trial.items(&["status", "metrics"]);
    if !measured.is_empty() {
        status.insert("observation".to_owned(), json!({"metrics": metrics(measured)}));
    }
    status.into()
}

fn failure(trial: &Value) -> String {
    match trial.condition("Failed").map(|condition| condition.text(&["message"])) {
        None | Some("") => "Trial has failed".to_owned(),
        Some(message) => format!("Trial has failed. Job message: {message}"),
    }
}
