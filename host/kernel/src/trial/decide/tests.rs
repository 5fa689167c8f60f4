use super::{Ending, Observed, Step, decide, ended, measured, running};
use crate::api::{MetricSource, MetricsCollector, Objective, Trial, TrialSpec};
use crate::expression::Conditions;
use crate::measure::{Collected, Series};
use jiff::Timestamp;
use serde_json::{Value, json};

fn trial(edit: impl FnOnce(&mut TrialSpec)) -> Trial {
    let mut spec = TrialSpec {
        success_condition: "object.done == true".to_owned(),
        failure_condition: Some("object.failed == true".to_owned()),
        objective: Objective { metric: "m".to_owned(), ..Objective::default() },
        ..TrialSpec::default()
    };
    edit(&mut spec);
    Trial::new("t", spec)
}

fn started(mut trial: Trial) -> Trial {
    trial.status = Some(running(&trial, Timestamp::UNIX_EPOCH));
    trial
}

fn over(mut trial: Trial, condition: &'static str) -> Trial {
    let ending = Ending { condition, reason: "R", message: String::new() };
    trial.status = Some(ended(&trial, &ending, Timestamp::UNIX_EPOCH));
    trial
}

fn step(trial: &Trial, object: Option<Value>) -> Step {
    let object = object.as_ref().map_or(Observed::Absent, Observed::Present);
    decide(trial, object, &Conditions::default())
}

#[test]
fn a_trial_follows_its_object() {
    assert_eq!(step(&trial(|_| {}), None), Step::Create);
    assert_eq!(step(&started(trial(|_| {})), Some(json!({}))), Step::Run);
    assert_eq!(step(&started(trial(|_| {})), Some(json!({"done": true}))), Step::Measure { early: false });
    let failed = step(&started(trial(|_| {})), Some(json!({"done": true, "failed": true})));
    assert!(
        matches!(failed, Step::Fail { reason: "ObjectFailed", .. }),
        "failure is looked at first: {failed:?}"
    );
}

#[test]
fn an_object_that_vanished_is_not_made_again() {
    assert!(matches!(step(&started(trial(|_| {})), None), Step::Fail { reason: "ObjectDeleted", .. }));
}

#[test]
fn somebody_else_s_object_is_left_alone() {
    let step = decide(&trial(|_| {}), Observed::Foreign, &Conditions::default());
    assert!(matches!(step, Step::Fail { reason: "NameTaken", .. }));
}

#[test]
fn a_stopped_trial_is_measured_and_its_object_goes() {
    let stopped = || trial(|spec| (spec.stop, spec.retain) = (true, true));
    assert_eq!(step(&stopped(), None), Step::Measure { early: true });
    assert_eq!(step(&started(stopped()), Some(json!({}))), Step::Measure { early: true });
    assert_eq!(step(&started(stopped()), Some(json!({"done": true}))), Step::Measure { early: false });
    assert_eq!(step(&over(stopped(), "EarlyStopped"), Some(json!({}))), Step::Ended { delete: true });
}

#[test]
fn what_ended_keeps_its_object_where_that_is_wanted() {
    for (retain, delete) in [(true, false), (false, true)] {
        let over = over(trial(|spec| spec.retain = retain), "Succeeded");
        assert_eq!(step(&over, Some(json!({}))), Step::Ended { delete });
        assert_eq!(step(&over, None), Step::Ended { delete: false });
    }
}

#[test]
fn a_condition_that_is_none_fails_the_trial() {
    let wrong = started(trial(|spec| spec.success_condition = "1 +".to_owned()));
    assert!(matches!(step(&wrong, Some(json!({}))), Step::Fail { reason: "InvalidCondition", .. }));
}

#[test]
fn an_end_says_what_was_measured() {
    let mut series = Series::default();
    series.push("m", "0.5");
    let nothing = || Collected::Nothing("no Pod".to_owned());
    let end = |trial: &Trial, early, collected: &Collected| measured(trial, early, collected).condition;
    let stdout = trial(|_| {});
    let none = trial(|spec| {
        spec.metrics_collector =
            MetricsCollector { source: MetricSource::None, ..MetricsCollector::default() };
    });
    assert_eq!(end(&stdout, false, &Collected::Series(series.clone())), "Succeeded");
    assert_eq!(end(&stdout, false, &Collected::Series(Series::default())), "MetricsUnavailable");
    assert_eq!(end(&stdout, false, &nothing()), "MetricsUnavailable");
    assert_eq!(end(&stdout, true, &nothing()), "EarlyStopped");
    assert_eq!(end(&none, false, &Collected::Series(Series::default())), "Succeeded");
}
