//! What a trial needs next, from the trial and its object as observed.
//!
//! Pure. The loop in the parent module carries the answer out.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::api::{Change, MetricSource, Trial, TrialStatus, find_condition, is_true, set_condition};
use crate::expression::Conditions;
use crate::measure::{Collected, Series};

/// The trial's object, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Observed<'a> {
    /// There is none.
    Absent,
    /// There is one, and it is the trial's.
    Present(&'a Value),
    /// Another's object has the name.
    Foreign,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It ended; its object goes, or stays.
    Ended {
        /// Whether an object is there that has to go.
        delete: bool,
    },
    /// Make its object.
    Create,
    /// Its object runs.
    Run,
    /// Its object ended well, or the trial is to stop: collect what was measured, and end.
    Measure {
        /// Whether it was told to stop.
        early: bool,
    },
    /// It ends badly.
    Fail {
        /// One word.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
}

/// How a trial ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// The condition that becomes true.
    pub condition: &'static str,
    /// One word.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// What to do next.
pub(super) fn decide(trial: &Trial, object: Observed<'_>, conditions: &Conditions) -> Step {
    let status = trial.status.as_ref();
    let reached = |condition| status.is_some_and(|status| is_true(&status.conditions, condition));
    if status.is_some_and(|status| status.completion_time.is_some()) {
        let present = matches!(object, Observed::Present(_));
        // Stopping is what ends an object that still runs, whether or not it would have been kept.
        return Step::Ended { delete: present && (!trial.spec.retain || reached("EarlyStopped")) };
    }
    let fail = |reason, message| Step::Fail { reason, message };
    match object {
        Observed::Foreign => fail(
            "NameTaken",
            "an object that is not this trial's has its name; delete it and the trial".to_owned(),
        ),
        Observed::Absent if trial.spec.stop => Step::Measure { early: true },
        Observed::Absent if reached("Created") => {
            fail("ObjectDeleted", "the trial's object was deleted while it ran".to_owned())
        }
        Observed::Absent => Step::Create,
        Observed::Present(object) => {
            let failed = trial.spec.failure_condition.as_deref().map(|text| conditions.holds(text, object));
            match (failed.transpose(), conditions.holds(&trial.spec.success_condition, object)) {
                (Err(error), _) | (_, Err(error)) => fail("InvalidCondition", error.to_string()),
                (Ok(Some(true)), _) => fail("ObjectFailed", why_failed(object)),
                (_, Ok(true)) => Step::Measure { early: false },
                (_, Ok(false)) if trial.spec.stop => Step::Measure { early: true },
                (_, Ok(false)) => Step::Run,
            }
        }
    }
}

/// How a trial ends whose measurements were collected.
pub(super) fn measured(trial: &Trial, early: bool, collected: &Collected) -> Ending {
    let metric = &trial.spec.objective.metric;
    match collected {
        _ if early => Ending {
            condition: "EarlyStopped",
            reason: "Stopped",
            message: "the trial was told to stop".to_owned(),
        },
        Collected::Series(_) if trial.spec.metrics_collector.source == MetricSource::None => Ending {
            condition: "Succeeded",
            reason: "ObjectSucceeded",
            message: "the trial's object succeeded".to_owned(),
        },
        Collected::Series(series) if series.has(metric) => Ending {
            condition: "Succeeded",
            reason: "ObjectSucceeded",
            message: "the trial's object succeeded and its metrics were collected".to_owned(),
        },
        Collected::Series(_) => Ending {
            condition: "MetricsUnavailable",
            reason: "MetricMissing",
            message: format!("the trial's output has no value of the metric `{metric}`"),
        },
        Collected::Nothing(why) => {
            Ending { condition: "MetricsUnavailable", reason: "NoOutput", message: why.clone() }
        }
    }
}

/// What the object itself says about its failure.
fn why_failed(object: &Value) -> String {
    let conditions = object["status"]["conditions"].as_array();
    let failed = conditions.into_iter().flatten().find(|c| c["type"] == "Failed" && c["status"] == "True");
    let said = failed.and_then(|c| c["message"].as_str()).or_else(|| object["status"]["message"].as_str());
    match said.filter(|said| !said.is_empty()) {
        Some(said) => format!("the trial's object failed: {said}"),
        None => "the trial's object failed".to_owned(),
    }
}

/// The status of a trial whose object was made.
pub(super) fn running(trial: &Trial, now: Timestamp) -> TrialStatus {
    let mut status = trial.status.clone().unwrap_or_default();
    begin(&mut status, trial, now);
    set(&mut status, trial, now, "Running", true, "ObjectRunning", "the trial's object runs");
    status
}

/// The status of a trial that ended.
pub(super) fn ended(trial: &Trial, ending: &Ending, now: Timestamp) -> TrialStatus {
    let mut status = trial.status.clone().unwrap_or_default();
    begin(&mut status, trial, now);
    set(&mut status, trial, now, "Running", false, ending.reason, "the trial has ended");
    set(&mut status, trial, now, ending.condition, true, ending.reason, &ending.message);
    status.completion_time = Some(Time(crate::api::whole_seconds(now)));
    // What holds now stands last, which is where the printer column looks.
    status.conditions.sort_by_key(|condition| (condition.status == "True", condition.type_ != "Created"));
    status
}

/// Puts a series into a status.
pub(super) fn with_series(mut status: TrialStatus, series: &Series) -> TrialStatus {
    status.metrics = series.metrics();
    status.measurements = series.measurements();
    status
}

fn begin(status: &mut TrialStatus, trial: &Trial, now: Timestamp) {
    status.start_time.get_or_insert_with(|| Time(crate::api::whole_seconds(now)));
    if find_condition(&status.conditions, "Created").is_none() {
        set(status, trial, now, "Created", true, "ObjectCreated", "the trial's object was created");
    }
}

fn set(
    status: &mut TrialStatus,
    trial: &Trial,
    now: Timestamp,
    kind: &str,
    value: bool,
    reason: &str,
    message: &str,
) {
    let generation = trial.metadata.generation;
    let change = Change { kind, status: Some(value), reason, message: message.to_owned(), generation };
    set_condition(&mut status.conditions, change, now);
}

#[cfg(test)]
mod tests;
