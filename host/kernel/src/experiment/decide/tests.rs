use super::{Standing, Step, decide, status};
use crate::api::{
    Change, Experiment, ExperimentSpec, ExperimentStatus, ObservedMetric, Trial, TrialSpec, TrialStatus,
};
use crate::api::{Direction, Objective, ResumePolicy, find_condition, set_condition};
use jiff::Timestamp;
use std::sync::Arc;

fn experiment(edit: impl FnOnce(&mut ExperimentSpec)) -> Experiment {
    let mut spec = ExperimentSpec {
        parallelism: 3,
        objective: Objective {
            metric: "m".to_owned(),
            direction: Direction::Maximize,
            ..Objective::default()
        },
        ..ExperimentSpec::default()
    };
    edit(&mut spec);
    let mut experiment = Experiment::new("e", spec);
    experiment.metadata.generation = Some(1);
    with(experiment, "Created", "Accepted")
}

fn with(mut experiment: Experiment, kind: &str, reason: &str) -> Experiment {
    let generation = experiment.metadata.generation;
    let status = experiment.status.get_or_insert_with(ExperimentStatus::default);
    let change = Change { kind, status: Some(true), reason, message: String::new(), generation };
    set_condition(&mut status.conditions, change, Timestamp::UNIX_EPOCH);
    experiment
}

fn trial(index: u32, condition: &str, value: Option<&str>) -> Arc<Trial> {
    let mut trial = Trial::new(&format!("e-{index}"), TrialSpec { index, ..TrialSpec::default() });
    let mut status = TrialStatus::default();
    if !condition.is_empty() {
        let change = Change {
            kind: condition,
            status: Some(true),
            reason: "R",
            message: String::new(),
            generation: None,
        };
        set_condition(&mut status.conditions, change, Timestamp::UNIX_EPOCH);
    }
    if let Some(value) = value {
        let text = || value.to_owned();
        status.metrics.push(ObservedMetric {
            name: "m".to_owned(),
            latest: text(),
            min: text(),
            max: text(),
        });
    }
    trial.status = Some(status);
    Arc::new(trial)
}

fn trials(conditions: &[&str]) -> Vec<Arc<Trial>> {
    (0..).zip(conditions).map(|(index, condition)| trial(index, condition, None)).collect()
}

fn reason(step: Step) -> &'static str {
    match step {
        Step::End(ending) => ending.reason,
        Step::Over { .. } => "over",
        Step::Suspended => "suspended",
        Step::Check => "check",
        Step::Run { .. } => "run",
    }
}

#[test]
fn places_are_what_parallelism_and_budget_leave() {
    for (max, conditions, ask, next) in [
        (None, vec![], 3, 0),
        (None, vec!["Running", ""], 1, 2),
        (None, vec!["Running", "Running", "Running", "Running"], 0, 4),
        (Some(4), vec!["Succeeded", "Failed", "Running"], 1, 3),
        (Some(4), vec!["Succeeded", "Running", "Running", ""], 0, 4),
    ] {
        let experiment = experiment(|spec| spec.max_trials = max);
        let step = decide(&experiment, &trials(&conditions));
        assert_eq!(step, Step::Run { ask, next_index: next }, "{max:?} {conditions:?}");
    }
}

#[test]
fn an_experiment_ends_for_its_first_reason() {
    for (max, failed, conditions, expected) in [
        (Some(2), None, vec!["Succeeded", "Failed"], "MaxTrialsReached"),
        (Some(2), Some(0), vec!["Succeeded", "Failed"], "MaxFailedTrialsReached"),
        (None, Some(1), vec!["Failed", "Running"], "run"),
        (None, Some(1), vec!["Failed", "MetricsUnavailable"], "MaxFailedTrialsReached"),
        (Some(3), None, vec!["EarlyStopped", "EarlyStopped", "Running"], "run"),
    ] {
        let experiment = experiment(|spec| {
            spec.max_trials = max;
            spec.max_failed_trials = failed;
        });
        assert_eq!(reason(decide(&experiment, &trials(&conditions))), expected, "{conditions:?}");
    }
}

#[test]
fn the_goal_ends_an_experiment_in_its_direction() {
    for (direction, value, expected) in [
        (Direction::Maximize, "0.99", "GoalReached"),
        (Direction::Maximize, "0.98", "run"),
        (Direction::Minimize, "0.98", "GoalReached"),
        (Direction::Minimize, "1.0", "run"),
    ] {
        let experiment = experiment(|spec| {
            spec.objective.direction = direction;
            spec.objective.goal = Some(0.99);
        });
        let step = decide(&experiment, &[trial(0, "Succeeded", Some(value))]);
        assert_eq!(reason(step), expected, "{direction:?} {value}");
    }
}

#[test]
fn a_running_trial_does_not_reach_the_goal() {
    let experiment = experiment(|spec| spec.objective.goal = Some(0.5));
    assert_eq!(reason(decide(&experiment, &[trial(0, "Running", Some("0.9"))])), "run");
}

#[test]
fn what_is_over_stops_what_still_runs_and_starts_nothing() {
    let experiment = with(experiment(|_| {}), "Succeeded", "GoalReached");
    let step = decide(&experiment, &trials(&["Succeeded", "Running", ""]));
    assert_eq!(step, Step::Over { stop: vec!["e-1".to_owned(), "e-2".to_owned()] });
}

#[test]
fn only_a_raised_budget_resumes_and_only_where_it_may() {
    for (policy, max, generation, expected) in [
        (ResumePolicy::LongRunning, Some(3), 2, "check"),
        (ResumePolicy::LongRunning, None, 2, "check"),
        (ResumePolicy::LongRunning, Some(2), 2, "over"),
        (ResumePolicy::LongRunning, Some(3), 1, "over"),
        (ResumePolicy::Never, Some(3), 2, "over"),
    ] {
        let mut experiment = with(experiment(|_| {}), "Succeeded", "MaxTrialsReached");
        experiment.spec.resume_policy = policy;
        experiment.spec.max_trials = max;
        experiment.metadata.generation = Some(generation);
        let step = decide(&experiment, &trials(&["Succeeded", "Succeeded"]));
        assert_eq!(reason(step), expected, "{policy:?} {max:?} {generation}");
    }
}

#[test]
fn an_invalid_spec_is_checked_again_once_it_changed() {
    let mut experiment = with(experiment(|_| {}), "Failed", "InvalidSpec");
    assert_eq!(reason(decide(&experiment, &[])), "over");
    experiment.metadata.generation = Some(2);
    assert_eq!(reason(decide(&experiment, &[])), "check");
}

#[test]
fn suspension_comes_after_ends() {
    let experiment = experiment(|spec| {
        spec.suspend = true;
        spec.max_trials = Some(2);
    });
    assert_eq!(reason(decide(&experiment, &trials(&["Succeeded"]))), "suspended");
    assert_eq!(reason(decide(&experiment, &trials(&["Succeeded", "Succeeded"]))), "MaxTrialsReached");
}

#[test]
fn a_status_written_again_is_the_same() {
    let experiment = experiment(|spec| spec.max_trials = Some(5));
    let trials = trials(&["Succeeded", "Running"]);
    let at = |second| Timestamp::from_second(second).unwrap();
    let first = status(&experiment, &trials, &Standing::Running, at(10));
    let again = Experiment { status: Some(first.clone()), ..experiment };
    assert_eq!(status(&again, &trials, &Standing::Running, at(99)), first);
    let suspended = status(&again, &trials, &Standing::Suspended, at(99));
    assert_eq!(find_condition(&suspended.conditions, "Running").unwrap().status, "False");
    assert_eq!(suspended.conditions.last().unwrap().type_, "Suspended");
}
