//! The status of Katib's Experiment, from the generic Experiment's status and its Trials.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Conditions, Object as _, time};

use crate::conditions::{self, mark};
use crate::trials::{self, Phase};

/// How an experiment ended, in Katib's words.
struct End {
    condition: &'static str,
    reason: &'static str,
    message: String,
}

/// The whole status. `observed` is the generic Experiment, once there is one.
pub(crate) fn of(
    experiment: &Value,
    observed: Option<&Value>,
    observed_trials: &[&Value],
    now_ms: u64,
) -> Value {
    let end = observed.and_then(|generic| end(experiment, generic, observed_trials.len()));
    let running = observed.is_some_and(|generic| generic.is_true("Running")) || !observed_trials.is_empty();
    let mut status = Map::new();
    let conditions = conditions(experiment, observed.is_some(), end.as_ref(), running, now_ms);
    status.insert("conditions".to_owned(), conditions.into_value());
    status.insert("startTime".to_owned(), recorded(experiment, observed, "startTime", now_ms).into());
    if end.is_some() || (observed.is_none() && !experiment.text(&["status", "completionTime"]).is_empty()) {
        status.insert(
            "completionTime".to_owned(),
            recorded(experiment, observed, "completionTime", now_ms).into(),
        );
    }
    if let Some(optimal) = observed.and_then(|generic| generic.at(&["status", "optimal"])) {
        status.insert("currentOptimalTrial".to_owned(), optimal_trial(optimal));
    }
    summary(observed_trials, &mut status);
    reconciled(experiment, &mut status, now_ms);
    status.into()
}

fn conditions(experiment: &Value, known: bool, end: Option<&End>, running: bool, now_ms: u64) -> Conditions {
    let mut conditions = conditions::of(experiment, now_ms);
    mark(&mut conditions, "Created", true, "ExperimentCreated", "Experiment is created");
    let ended_before = conditions.is_true("Succeeded") || conditions.is_true("Failed");
    match end {
        Some(End { condition, reason, message }) => {
            mark(&mut conditions, "Running", false, "ExperimentRunning", "Experiment is running");
            if conditions.is_true("Restarting") {
                mark(&mut conditions, "Restarting", false, "ExperimentRestarting", "Experiment is restarted");
            }
            mark(&mut conditions, condition, true, reason, message);
        }
        // Nothing is known of an experiment that was not observed: an end that was reported stays.
        None if ended_before && !known => {}
        None => {
            conditions.remove("Succeeded");
            conditions.remove("Failed");
            if ended_before {
                mark(&mut conditions, "Restarting", true, "ExperimentRestarting", "Experiment is restarted");
            }
            if running {
                mark(&mut conditions, "Running", true, "ExperimentRunning", "Experiment is running");
            }
        }
    }
    conditions
}

/// How the generic Experiment ended, unless its budget was raised since and it will go on.
fn end(experiment: &Value, generic: &Value, trials: usize) -> Option<End> {
    let said = |kind| generic.condition(kind).filter(|_| generic.is_true(kind));
    if let Some(condition) = said("Succeeded") {
        let (reason, message) = match condition.text(&["reason"]) {
            "GoalReached" => {
                ("ExperimentGoalReached", "Experiment has succeeded because Objective goal has reached")
            }
            "SearchExhausted" => (
                "ExperimentSuggestionEndReached",
                "Experiment has succeeded because suggestion service has reached the end",
            ),
            _ if raised(experiment, trials) => return None,
            _ => {
                ("ExperimentMaxTrialsReached", "Experiment has succeeded because max trial count has reached")
            }
        };
        return Some(End { condition: "Succeeded", reason, message: message.to_owned() });
    }
    let condition = said("Failed")?;
    let message = match (condition.text(&["reason"]), condition.text(&["message"])) {
        ("MaxFailedTrialsReached", _) => {
            "Experiment has failed because max failed count has reached".to_owned()
        }
        (reason, "") => format!("Experiment has failed: {reason}"),
        (_, message) => format!("Experiment has failed: {message}"),
    };
    Some(End { condition: "Failed", reason: "ExperimentFailed", message })
}

/// Whether an Experiment that may be restarted has room for more trials than it had.
fn raised(experiment: &Value, trials: usize) -> bool {
    let restartable = matches!(experiment.text(&["spec", "resumePolicy"]), "LongRunning" | "FromVolume");
    let room = experiment
        .int(&["spec", "maxTrialCount"])
        .is_none_or(|most| usize::try_from(most).is_ok_and(|most| most > trials));
    restartable && room && trials > 0
}

/// A time that is kept once it is known: from the status so far, from the generic Experiment, or now.
fn recorded(experiment: &Value, observed: Option<&Value>, field: &str, now_ms: u64) -> String {
    [Some(experiment), observed]
        .into_iter()
        .flatten()
        .map(|object| object.text(&["status", field]))
        .find(|time| !time.is_empty())
        .map_or_else(|| time::rfc3339(now_ms), str::to_owned)
}

fn optimal_trial(optimal: &Value) -> Value {
    json!({
        "bestTrialName": optimal.text(&["trial"]),
        "parameterAssignments": trials::pairs(optimal.items(&["assignments"])),
        "observation": {"metrics": trials::metrics(optimal.items(&["metrics"]))},
    })
}

/// The lists of trials by state, and how long they are. A list without a trial is left out, as Katib does.
fn summary(observed: &[&Value], status: &mut Map<String, Value>) {
    if !observed.is_empty() {
        status.insert("trials".to_owned(), observed.len().into());
    }
    for (phase, list, count) in [
        (Phase::Pending, "pendingTrialList", "trialsPending"),
        (Phase::Running, "runningTrialList", "trialsRunning"),
        (Phase::Succeeded, "succeededTrialList", "trialsSucceeded"),
        (Phase::Failed, "failedTrialList", "trialsFailed"),
        (Phase::EarlyStopped, "earlyStoppedTrialList", "trialsEarlyStopped"),
        (Phase::MetricsUnavailable, "metricsUnavailableTrialList", "trialMetricsUnavailable"),
    ] {
        let names: Vec<&str> =
            observed.iter().filter(|trial| trials::phase(trial) == phase).map(|trial| trial.name()).collect();
        if !names.is_empty() {
            status.insert(count.to_owned(), names.len().into());
            status.insert(list.to_owned(), names.into());
        }
    }
}

/// `lastReconcileTime` moves with another change and never alone: a status that tells only the time would be written, seen
/// and written again without end.
fn reconciled(experiment: &Value, status: &mut Map<String, Value>, now_ms: u64) {
    const FIELD: &str = "lastReconcileTime";
    let previous = experiment.at(&["status"]).and_then(Value::as_object);
    let unchanged = previous
        .is_some_and(|previous| previous.iter().filter(|(field, _)| *field != FIELD).eq(status.iter()));
    let time = match previous.and_then(|previous| previous.get(FIELD)) {
        Some(time) if unchanged => time.clone(),
        _ => time::rfc3339(now_ms).into(),
    };
    status.insert(FIELD.to_owned(), time);
}
