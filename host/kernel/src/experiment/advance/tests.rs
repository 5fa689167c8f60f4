//! The experiment loop against a simulated API server that stops the kernel between any two writes.

use super::{Pass, TunerError, World};
use crate::api::{
    Algorithm, Change, Experiment, ExperimentSpec, ExperimentStatus, MetricSource, MetricsCollector,
    Objective, ObservedMetric, Trial, TrialStatus, TrialTemplate, is_true, set_condition,
};
use crate::expression::Conditions;
use crate::reconcile::Outcome;
use crate::stage::Absent;
use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use proptest::prelude::*;
use purlin_sandbox::CallError;
use purlin_sandbox::contract::{Context, FieldError, Search, Suggestion};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// The kernel was killed, before or after a write took effect.
#[derive(Debug, thiserror::Error)]
#[error("killed")]
struct Killed;

/// What the server holds, and when the kernel is killed next.
#[derive(Default)]
struct Server {
    status: Option<ExperimentStatus>,
    trials: BTreeMap<String, Trial>,
    /// Every name that was ever made.
    made: Vec<String>,
    most_active: usize,
    /// For each write in turn: killed before it (0), after it (1), or not.
    kills: Vec<u8>,
    /// For each call to the tuner in turn: whether it traps.
    traps: Vec<bool>,
    space: usize,
    /// Nobody installed the tuner.
    absent: bool,
    /// Plugins are being loaded.
    loading: bool,
}

impl Server {
    /// A write: takes effect or not, and the kernel goes on or not.
    fn write<T>(&mut self, effect: impl FnOnce(&mut Server) -> T) -> Result<T, Killed> {
        match self.kills.pop() {
            Some(0) => Err(Killed),
            Some(1) => {
                effect(self);
                Err(Killed)
            }
            _ => Ok(effect(self)),
        }
    }
}

fn active(trial: &Trial) -> bool {
    super::Phase::of(trial).is_active()
}

#[derive(Default)]
struct Simulation(Mutex<Server>);

#[async_trait]
impl World for Simulation {
    type Error = Killed;

    async fn create_trial(&self, trial: Trial) -> Result<Arc<Trial>, Killed> {
        self.0.lock().unwrap().write(|server| {
            let name = trial.name_any();
            if let Some(present) = server.trials.get(&name) {
                return Arc::new(present.clone());
            }
            server.made.push(name.clone());
            server.trials.insert(name, trial.clone());
            let now_active = server.trials.values().filter(|trial| active(trial)).count();
            server.most_active = server.most_active.max(now_active);
            Arc::new(trial)
        })
    }

    async fn stop_trial(&self, name: &str) -> Result<(), Killed> {
        self.0.lock().unwrap().write(|server| {
            if let Some(trial) = server.trials.get_mut(name) {
                trial.spec.stop = true;
            }
        })
    }

    async fn write_status(&self, status: &ExperimentStatus) -> Result<(), Killed> {
        self.0.lock().unwrap().write(|server| server.status = Some(status.clone()))
    }

    async fn validate(&self, _: Search) -> Result<Vec<FieldError>, TunerError> {
        let server = self.0.lock().unwrap();
        match (server.loading, server.absent) {
            (true, _) => Err(TunerError::Absent(Absent::Awaited)),
            (_, true) => Err(TunerError::Absent(Absent::Missing)),
            _ => Ok(vec![]),
        }
    }

    async fn suggest(&self, search: Search, count: u32) -> Result<Vec<Suggestion>, TunerError> {
        let mut server = self.0.lock().unwrap();
        if server.traps.pop() == Some(true) {
            return Err(TunerError::Call(CallError::Trap {
                function: "suggest",
                reason: String::new(),
                frames: vec![],
            }));
        }
        let left = server.space.saturating_sub(search.trials.len());
        Ok(vec![Suggestion { assignments: vec![], labels: vec![] }; left.min(count as usize)])
    }

    async fn advise(&self, search: Search) -> Result<Vec<String>, TunerError> {
        Ok(search.trials.iter().map(|trial| trial.id.clone()).take(1).collect())
    }

    fn tell(&self, _: bool, _: &str, _: &str) {}
}

/// Ends a trial as its object would.
fn finish(trial: &mut Trial, failed: bool, value: u32) {
    let kind = match (trial.spec.stop, failed) {
        (true, _) => "EarlyStopped",
        (false, true) => "Failed",
        (false, false) => "Succeeded",
    };
    let mut status =
        TrialStatus { completion_time: Some(Time(Timestamp::UNIX_EPOCH)), ..TrialStatus::default() };
    let change = Change { kind, status: Some(true), reason: "R", message: String::new(), generation: None };
    set_condition(&mut status.conditions, change, Timestamp::UNIX_EPOCH);
    let text = || value.to_string();
    status.metrics = vec![ObservedMetric { name: "m".to_owned(), latest: text(), min: text(), max: text() }];
    trial.status = Some(status);
}

fn experiment(max: Option<u32>, parallelism: u32) -> Experiment {
    let mut experiment = Experiment::new(
        "e",
        ExperimentSpec {
            parallelism,
            max_trials: max,
            objective: Objective { metric: "m".to_owned(), ..Objective::default() },
            algorithm: Algorithm { name: "a".to_owned(), settings: vec![] },
            trial_template: TrialTemplate {
                object: json!({"apiVersion": "v1", "kind": "ConfigMap"}).as_object().cloned().unwrap(),
                success_condition: "true".to_owned(),
                ..TrialTemplate::default()
            },
            metrics_collector: MetricsCollector { source: MetricSource::None, ..MetricsCollector::default() },
            ..ExperimentSpec::default()
        },
    );
    experiment.metadata.uid = Some("uid".to_owned());
    experiment.metadata.generation = Some(1);
    experiment
}

#[tokio::test]
async fn a_tuner_that_nobody_installed_ends_the_experiment_after_a_while() {
    let world = Simulation(Mutex::new(Server { absent: true, ..Server::default() }));
    let (experiment, conditions) = (experiment(Some(1), 1), Conditions::default());
    let failed = || {
        let server = world.0.lock().unwrap();
        server.status.as_ref().is_some_and(|status| is_true(&status.conditions, "Failed"))
    };
    for attempt in [0, super::ABSENCE_BORNE - 1, super::ABSENCE_BORNE] {
        let context = Context { now_ms: 0, seed: 1, config: "{}".to_owned() };
        let now = Timestamp::UNIX_EPOCH;
        let pass =
            Pass { world: &world, experiment: &experiment, conditions: &conditions, context, now, attempt };
        assert!(!failed(), "given up before attempt {attempt}");
        pass.run(vec![]).await.unwrap();
    }
    assert!(failed());
}

#[tokio::test]
async fn an_experiment_waits_while_plugins_are_loaded() {
    let world = Simulation(Mutex::new(Server { loading: true, ..Server::default() }));
    let (experiment, conditions) = (experiment(Some(1), 1), Conditions::default());
    for attempt in [0, super::ABSENCE_BORNE, 10 * super::ABSENCE_BORNE] {
        let context = Context { now_ms: 0, seed: 1, config: "{}".to_owned() };
        let now = Timestamp::UNIX_EPOCH;
        let pass =
            Pass { world: &world, experiment: &experiment, conditions: &conditions, context, now, attempt };
        assert_eq!(pass.run(vec![]).await.unwrap(), Outcome::After(super::LOADING_AGAIN));
        assert_eq!(world.0.lock().unwrap().status, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Killed wherever it may be, seeing trials late, with a tuner that traps: no trial is lost or made twice, no more
    /// run than may, and the experiment ends.
    #[test]
    fn an_experiment_survives_kills(
        max in proptest::option::of(1..12_u32),
        parallelism in 1..5_u32,
        space in 1..10_usize,
        kills in proptest::collection::vec(0..5_u8, 0..60),
        traps in proptest::collection::vec(any::<bool>(), 0..6),
        ends in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 0..100_u32), 1..8),
        behind in proptest::collection::vec(0..3_usize, 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let world = Simulation(Mutex::new(Server { kills, traps, space, ..Server::default() }));
        let conditions = Conditions::default();
        let mut ended = false;
        for round in 0..400_usize {
            // A cache may be behind the server: the newest trials are not seen yet.
            let (experiment, trials) = {
                let server = world.0.lock().unwrap();
                let mut trials: Vec<_> = server.trials.values().cloned().map(Arc::new).collect();
                trials.sort_by_key(|trial| trial.spec.index);
                let behind = behind[round % behind.len()];
                if round < 200 { trials.truncate(trials.len().saturating_sub(behind)); }
                (Experiment { status: server.status.clone(), ..experiment(max, parallelism) }, trials)
            };
            let context = Context { now_ms: 0, seed: 1, config: "{}".to_owned() };
            let pass = Pass {
                world: &world, experiment: &experiment, conditions: &conditions, context,
                now: Timestamp::UNIX_EPOCH, attempt: 0,
            };
            let _ = runtime.block_on(pass.run(trials));
            let mut server = world.0.lock().unwrap();
            ended = server.status.as_ref().is_some_and(|status| is_true(&status.conditions, "Succeeded"));
            if ended && !server.trials.values().any(active) {
                break;
            }
            let (failed, which, value) = &ends[round % ends.len()];
            let mut running: Vec<_> = server.trials.values_mut().filter(|trial| active(trial)).collect();
            if !running.is_empty() {
                let at = which.index(running.len());
                finish(running[at], *failed, *value);
            }
        }
        let server = world.0.lock().unwrap();
        prop_assert!(ended, "it never ended: {:?}", server.status);
        let expected = max.map_or(space, |max| space.min(max as usize));
        let names: BTreeSet<_> = server.made.iter().collect();
        prop_assert_eq!(names.len(), server.made.len(), "made twice");
        let indexes: BTreeSet<_> = server.trials.values().map(|trial| trial.spec.index).collect();
        let count = u32::try_from(server.trials.len()).unwrap();
        prop_assert_eq!(indexes, (0..count).collect::<BTreeSet<_>>(), "no index is missing");
        prop_assert!(server.trials.len() <= expected);
        prop_assert!(server.most_active <= parallelism as usize, "{} ran at once", server.most_active);
    }
}
