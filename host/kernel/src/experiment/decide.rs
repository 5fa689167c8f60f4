//! What an experiment needs next, from the experiment and its trials as observed.
//!
//! Pure: no clock, no client. `advance` carries the answer out. The same observation always gives the same answer,
//! so deciding again after a crash is harmless.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::outcome::{Phase, count, optimal, reaches_goal};
use crate::api::{
    Change, Experiment, ExperimentStatus, ResumePolicy, Trial, find_condition, is_true, set_condition,
};

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It is over. Trials that still run are told to stop.
    Over {
        /// Their names.
        stop: Vec<String>,
    },
    /// It ends now.
    End(Ending),
    /// It is suspended: nothing new.
    Suspended,
    /// The spec is new: it has to be checked.
    Check,
    /// It runs.
    Run {
        /// Places for more trials, from this index on.
        ask: u32,
        /// The first index that no trial has had.
        next_index: u32,
    },
}

/// How an experiment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// Whether well.
    pub succeeded: bool,
    /// One word.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// How an experiment stands, for its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// All goes as it should.
    Running,
    /// It runs, and has to wait for something.
    Waiting {
        /// One word.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
    /// It waits for `suspend: false`.
    Suspended,
    /// It is over.
    Ended(Ending),
    /// It was over before.
    Over,
}

/// What to do next. `trials` are sorted by index.
pub(super) fn decide(experiment: &Experiment, trials: &[Arc<Trial>]) -> Step {
    let active = || trials.iter().filter(|trial| Phase::of(trial).is_active());
    if is_over(experiment, trials) {
        let stop = active().filter(|trial| !trial.spec.stop).map(|trial| trial.name_any()).collect();
        return Step::Over { stop };
    }
    if !is_checked(experiment) {
        return Step::Check;
    }
    if let Some(ending) = ending(experiment, trials) {
        return Step::End(ending);
    }
    if experiment.spec.suspend {
        return Step::Suspended;
    }
    let total = u32::try_from(trials.len()).unwrap_or(u32::MAX);
    let running = u32::try_from(active().count()).unwrap_or(u32::MAX);
    let budget = experiment.spec.max_trials.map_or(u32::MAX, |max| max.saturating_sub(total));
    let ask = experiment.spec.parallelism.saturating_sub(running).min(budget);
    let next_index = trials.iter().map(|trial| trial.spec.index + 1).max().unwrap_or(0);
    Step::Run { ask, next_index }
}

/// The end that the trials so far amount to.
fn ending(experiment: &Experiment, trials: &[Arc<Trial>]) -> Option<Ending> {
    let spec = &experiment.spec;
    let counts = count(trials);
    if let Some((best, value)) = optimal(experiment, trials)
        && reaches_goal(&spec.objective, value)
    {
        let message =
            format!("trial {} reached the goal with {} = {value}", best.trial, spec.objective.metric);
        return Some(Ending { succeeded: true, reason: "GoalReached", message });
    }
    let failed = counts.failed + counts.metrics_unavailable;
    if let Some(allowed) = spec.max_failed_trials
        && failed > allowed
    {
        let message = format!("{failed} trials failed, and maxFailedTrials is {allowed}");
        return Some(Ending { succeeded: false, reason: "MaxFailedTrialsReached", message });
    }
    let completed = counts.total - counts.pending - counts.running;
    if let Some(max) = spec.max_trials
        && completed >= max
    {
        let message = format!("all {max} trials have ended");
        return Some(Ending { succeeded: true, reason: "MaxTrialsReached", message });
    }
    None
}

/// The end of a search whose algorithm has no more points.
pub(super) fn exhausted(total: usize) -> Ending {
    Ending {
        succeeded: true,
        reason: "SearchExhausted",
        message: format!("no point is left after {total} trials"),
    }
}

fn is_checked(experiment: &Experiment) -> bool {
    let generation = experiment.metadata.generation;
    let conditions =
        experiment.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    find_condition(conditions, "Created")
        .is_some_and(|created| created.status == "True" && created.observed_generation == generation)
}

fn is_over(experiment: &Experiment, trials: &[Arc<Trial>]) -> bool {
    let Some(status) = &experiment.status else { return false };
    let changed = |since: Option<i64>| experiment.metadata.generation != since;
    if let Some(failed) =
        find_condition(&status.conditions, "Failed").filter(|failed| failed.status == "True")
    {
        let curable = matches!(failed.reason.as_str(), "InvalidSpec" | "TunerFault");
        return !(curable && changed(failed.observed_generation));
    }
    let Some(succeeded) =
        find_condition(&status.conditions, "Succeeded").filter(|done| done.status == "True")
    else {
        return false;
    };
    let raised = experiment.spec.max_trials.is_none_or(|max| trials.len() < max as usize);
    let resumes = experiment.spec.resume_policy == ResumePolicy::LongRunning
        && succeeded.reason == "MaxTrialsReached"
        && changed(succeeded.observed_generation)
        && raised;
    !resumes
}

/// The status that says how an experiment stands.
pub(super) fn status(
    experiment: &Experiment,
    trials: &[Arc<Trial>],
    standing: &Standing,
    now: Timestamp,
) -> ExperimentStatus {
    let mut status = experiment.status.clone().unwrap_or_default();
    let generation = experiment.metadata.generation;
    status.trials = count(trials);
    status.optimal = optimal(experiment, trials).map(|(best, _)| best);
    if *standing == Standing::Over {
        return status;
    }
    status.observed_generation = generation;
    let time = Time(crate::api::whole_seconds(now));
    status.start_time.get_or_insert_with(|| time.clone());
    let conditions = &mut status.conditions;
    let mut set = |kind, value, reason: &str, message: &str| {
        let change = Change { kind, status: Some(value), reason, message: message.to_owned(), generation };
        set_condition(conditions, change, now);
    };
    let invalid = matches!(standing, Standing::Ended(end) if end.reason == "InvalidSpec");
    if invalid {
        set("Created", false, "InvalidSpec", "the spec has errors");
    } else {
        set("Created", true, "Accepted", "the spec is accepted");
    }
    let running = match standing {
        Standing::Running => (true, "Running", "trials are run"),
        Standing::Waiting { reason, message } => (true, *reason, message.as_str()),
        Standing::Suspended => (false, "Suspended", "spec.suspend is true"),
        Standing::Ended(end) => (false, end.reason, "the experiment is over"),
        Standing::Over => return status,
    };
    set("Running", running.0, running.1, running.2);
    let was = |conditions: &[_], kind| find_condition(conditions, kind).is_some();
    let suspended = *standing == Standing::Suspended;
    let had = experiment.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if suspended {
        set("Suspended", true, "Suspended", "no trials are started until spec.suspend is false");
    } else if was(had, "Suspended") {
        set("Suspended", false, "Resumed", "spec.suspend is false");
    }
    if let Standing::Ended(end) = standing {
        set(if end.succeeded { "Succeeded" } else { "Failed" }, true, end.reason, &end.message);
    } else {
        for kind in ["Succeeded", "Failed"] {
            if is_true(had, kind) {
                set(kind, false, "Resumed", "the experiment goes on");
            }
        }
    }
    let ended = matches!(standing, Standing::Ended(_));
    status.completion_time = if ended { status.completion_time.take().or(Some(time)) } else { None };
    // What holds now stands last, which is where the printer column looks.
    let rank = |kind: &str| {
        ["Created", "Running", "Suspended", "Succeeded", "Failed"].iter().position(|k| *k == kind)
    };
    status.conditions.sort_by_key(|condition| (condition.status == "True", rank(&condition.type_)));
    status
}

#[cfg(test)]
mod tests;
