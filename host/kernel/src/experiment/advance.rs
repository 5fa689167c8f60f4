//! Carries out what `decide` found, against a [`World`].
//!
//! The world is the API server and the tuners behind six operations, so that a test can put a simulation in their
//! place and stop the kernel between any two of them.
//!
//! # Guarantees
//! Stopped anywhere and begun again from what the world holds, an experiment makes the same trials and no other: a
//! trial's name follows from the experiment's UID and the trial's index, indexes are created in order, and a trial that
//! exists already is the one that was meant.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use purlin_sandbox::CallError;
use purlin_sandbox::contract::{Context, Fault, FieldError, Search, Suggestion};

use super::decide::{Ending, Standing, Step, decide, exhausted, status};
use super::outcome::Phase;
use super::render::{Target, Template};
use super::search::{check, search, settings};
use crate::api::{
    Assignment, EXPERIMENT_LABEL, Experiment, ExperimentStatus, INDEX_ANNOTATION, MetricSource, Trial,
    TrialSpec,
};
use crate::digest::trial_name;
use crate::event::shorten;
use crate::expression::Conditions;
use crate::reconcile::Outcome;
use crate::stage::{Absent, fault_reason, sentence};

/// After so many faults of the tuner in a row the experiment fails. With the queue's backoff that is a quarter of an
/// hour at least.
pub(super) const FAULTS_BORNE: u32 = 16;

/// After so many looks for a tuner that nobody installed a spec is not accepted. With the queue's backoff that is half a
/// minute at most, in which a plugin may be installed that comes after its experiment. Looks while plugins are being loaded do not
/// count.
pub(super) const ABSENCE_BORNE: u32 = 8;
/// How often a tuner is looked for while plugins are being loaded.
const LOADING_AGAIN: Duration = Duration::from_millis(500);
/// How often the output of running trials is read for early stopping.
const OBSERVE_SECONDS: u32 = 5;

/// Why a tuner gave no answer.
#[derive(Debug)]
pub(super) enum TunerError {
    /// No plugin serves the algorithm.
    Absent(Absent),
    /// The call failed.
    Call(CallError),
}

/// What an experiment acts on.
#[async_trait]
pub(super) trait World: Send + Sync {
    /// Why an operation failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Creates a trial. One that exists already and is this experiment's is the answer; another's is an error.
    async fn create_trial(&self, trial: Trial) -> Result<Arc<Trial>, Self::Error>;
    /// Tells a trial to stop. One that is gone has stopped.
    async fn stop_trial(&self, name: &str) -> Result<(), Self::Error>;
    /// Writes the experiment's status.
    async fn write_status(&self, status: &ExperimentStatus) -> Result<(), Self::Error>;
    /// See `tuner.validate`.
    async fn validate(&self, search: Search) -> Result<Vec<FieldError>, TunerError>;
    /// See `tuner.suggest`.
    async fn suggest(&self, search: Search, count: u32) -> Result<Vec<Suggestion>, TunerError>;
    /// See `tuner.stop`.
    async fn advise(&self, search: Search) -> Result<Vec<String>, TunerError>;
    /// Tells the user.
    fn tell(&self, warning: bool, reason: &str, message: &str);
}

/// One pass over an experiment.
pub(super) struct Pass<'a, W> {
    /// What it acts on.
    pub world: &'a W,
    /// The experiment as observed.
    pub experiment: &'a Experiment,
    /// Compiled conditions.
    pub conditions: &'a Conditions,
    /// Time and seed for tuners.
    pub context: Context,
    /// Now.
    pub now: Timestamp,
    /// Passes over this experiment that failed in a row before this one.
    pub attempt: u32,
}

impl<W: World> Pass<'_, W> {
    /// Does what the experiment needs next. `trials` are its trials as observed, sorted by index.
    ///
    /// # Errors
    /// An operation on the world failed; another pass makes up for it.
    pub(super) async fn run(&self, mut trials: Vec<Arc<Trial>>) -> Result<Outcome, W::Error> {
        match decide(self.experiment, &trials) {
            Step::Over { stop } => {
                for name in stop {
                    self.world.stop_trial(&name).await?;
                }
                self.write(&trials, &Standing::Over).await?;
                Ok(Outcome::Settled)
            }
            Step::End(ending) => self.end(&trials, ending).await,
            Step::Suspended => {
                self.write(&trials, &Standing::Suspended).await?;
                Ok(Outcome::Settled)
            }
            Step::Check => self.check(&trials).await,
            Step::Run { ask, next_index } => {
                if ask > 0 {
                    let asked = self.world.suggest(self.search(&trials), ask).await;
                    let suggestions = match asked.and_then(|answer| self.checked(answer)) {
                        Ok(suggestions) => suggestions,
                        Err(error) => return self.fault(&trials, error).await,
                    };
                    let active = trials.iter().any(|trial| Phase::of(trial).is_active());
                    if suggestions.is_empty() && !active {
                        return self.end(&trials, exhausted(trials.len())).await;
                    }
                    for (index, suggestion) in (next_index..).zip(suggestions.into_iter().take(ask as usize))
                    {
                        let trial = match self.trial(index, suggestion) {
                            Ok(trial) => trial,
                            Err(errors) => return self.end(&trials, invalid(&errors)).await,
                        };
                        trials.push(self.world.create_trial(trial).await?);
                        self.world.tell(false, "TrialCreated", "Created a trial");
                    }
                }
                if let Err(error) = self.stop_early(&trials).await? {
                    return self.fault(&trials, error).await;
                }
                self.write(&trials, &Standing::Running).await?;
                Ok(Outcome::Settled)
            }
        }
    }

    async fn check(&self, trials: &[Arc<Trial>]) -> Result<Outcome, W::Error> {
        let errors = check(self.experiment, self.conditions);
        if !errors.is_empty() {
            return self.end(trials, invalid(&errors)).await;
        }
        let mut searches = vec![self.search(trials)];
        searches.extend(self.stopping_search(trials));
        for search in searches {
            match self.world.validate(search).await {
                Ok(errors) if errors.is_empty() => {}
                Ok(errors) => return self.end(trials, invalid(&errors)).await,
                Err(error) => return self.fault(trials, error).await,
            }
        }
        let first = self.experiment.status.as_ref().is_none_or(|status| status.start_time.is_none());
        // Written before anything is done. The write comes back as a change, and with it the next pass.
        self.write(trials, &Standing::Running).await?;
        if first {
            self.world.tell(false, "ExperimentStarted", "The spec is accepted");
        }
        Ok(Outcome::Settled)
    }

    async fn end(&self, trials: &[Arc<Trial>], ending: Ending) -> Result<Outcome, W::Error> {
        let (warning, message) = (!ending.succeeded, ending.message.clone());
        let reason = if ending.succeeded { "ExperimentSucceeded" } else { "ExperimentFailed" };
        self.write(trials, &Standing::Ended(ending)).await?;
        self.world.tell(warning, reason, &message);
        // The write comes back as a change; that pass, for which the experiment is over, stops what still runs.
        Ok(Outcome::Settled)
    }

    /// What follows from a tuner that gave no answer.
    async fn fault(&self, trials: &[Arc<Trial>], error: TunerError) -> Result<Outcome, W::Error> {
        let algorithm = &self.experiment.spec.algorithm.name;
        let (reason, message, outcome) = match &error {
            TunerError::Absent(Absent::Missing) => {
                let message = format!(
                    "no installed plugin serves the algorithm `{algorithm}`, or one that early stopping names"
                );
                // What was accepted once had a tuner, and goes on when that is back.
                let accepted = matches!(decide(self.experiment, trials), Step::Run { .. });
                if !accepted && self.attempt >= ABSENCE_BORNE {
                    let ending = Ending { succeeded: false, reason: "AlgorithmUnavailable", message };
                    return self.end(trials, ending).await;
                }
                ("AlgorithmUnavailable", message, Outcome::Backoff)
            }
            // After a start, or in a replica that has just come, this says nothing of the experiment.
            TunerError::Absent(Absent::Awaited) => return Ok(Outcome::After(LOADING_AGAIN)),
            TunerError::Call(CallError::Fault(Fault::Invalid(errors))) => {
                return self.end(trials, invalid(errors)).await;
            }
            TunerError::Call(CallError::Fault(Fault::Retry(retry))) => (
                "Retry",
                retry.reason.clone(),
                Outcome::After(Duration::from_millis(retry.after_ms.max(100))),
            ),
            TunerError::Call(error @ CallError::QuotaExceeded { retry, .. }) => {
                (fault_reason(error), error.to_string(), Outcome::After(*retry))
            }
            TunerError::Call(error) => {
                let message = format!("the tuner for `{algorithm}` gave no answer: {error}");
                if self.attempt >= FAULTS_BORNE {
                    return self
                        .end(trials, Ending { succeeded: false, reason: "TunerFault", message })
                        .await;
                }
                (fault_reason(error), message, Outcome::Backoff)
            }
        };
        self.world.tell(true, reason, &message);
        // A spec that could not be checked yet is not accepted yet.
        if matches!(decide(self.experiment, trials), Step::Run { .. }) {
            self.write(trials, &Standing::Waiting { reason, message }).await?;
        }
        Ok(outcome)
    }

    async fn stop_early(&self, trials: &[Arc<Trial>]) -> Result<Result<(), TunerError>, W::Error> {
        let running = |trial: &&Arc<Trial>| Phase::of(trial) == Phase::Running && !trial.spec.stop;
        let measured = |trial: &Arc<Trial>| trial.status.as_ref().is_some_and(|s| !s.measurements.is_empty());
        let Some(search) =
            self.stopping_search(trials).filter(|_| trials.iter().filter(running).any(measured))
        else {
            return Ok(Ok(()));
        };
        let stop = match self.world.advise(search).await {
            Ok(stop) => stop,
            Err(error) => return Ok(Err(error)),
        };
        for trial in trials.iter().filter(running).filter(|trial| stop.contains(&trial.name_any())) {
            self.world.stop_trial(&trial.name_any()).await?;
            self.world.tell(
                false,
                "TrialStoppedEarly",
                "Stopped a trial on the early stopping algorithm's advice",
            );
        }
        Ok(Ok(()))
    }

    /// A suggestion that does not name each parameter once would render to something nobody asked for.
    fn checked(&self, suggestions: Vec<Suggestion>) -> Result<Vec<Suggestion>, TunerError> {
        let parameters = &self.experiment.spec.parameters;
        for suggestion in &suggestions {
            let fits = suggestion.assignments.len() == parameters.len()
                && parameters.iter().all(|p| suggestion.assignments.iter().any(|a| a.name == p.name));
            if !fits {
                let why = format!(
                    "a suggestion assigns {} values, and must assign each of the {} parameters once",
                    suggestion.assignments.len(),
                    parameters.len()
                );
                return Err(TunerError::Call(CallError::Malformed(why)));
            }
        }
        Ok(suggestions)
    }

    fn search(&self, trials: &[Arc<Trial>]) -> Search {
        search(self.experiment, trials, self.context.clone())
    }

    fn stopping_search(&self, trials: &[Arc<Trial>]) -> Option<Search> {
        let stopping = self.experiment.spec.early_stopping.as_ref()?;
        let mut search = self.search(trials);
        search.algorithm.clone_from(&stopping.algorithm);
        search.settings = settings(&stopping.settings);
        Some(search)
    }

    async fn write(&self, trials: &[Arc<Trial>], standing: &Standing) -> Result<(), W::Error> {
        let fresh = status(self.experiment, trials, standing, self.now);
        if self.experiment.status.as_ref() != Some(&fresh) {
            self.world.write_status(&fresh).await?;
        }
        Ok(())
    }

    /// The trial of an index.
    fn trial(&self, index: u32, suggestion: Suggestion) -> Result<Trial, Vec<FieldError>> {
        let (experiment, spec) = (self.experiment, &self.experiment.spec);
        let uid = experiment.uid().unwrap_or_default();
        let name = trial_name(&experiment.name_any(), &uid, index);
        let namespace = experiment.namespace().unwrap_or_default();
        let assignments: Vec<_> =
            suggestion.assignments.into_iter().map(|a| Assignment { name: a.name, value: a.value }).collect();
        let template = Template::new(&spec.trial_template, &spec.parameters);
        let object = template.render(&assignments, &Target { name: &name, namespace: &namespace })?;
        let mut labels = spec.trial_template.labels.clone();
        labels.extend(suggestion.labels.into_iter().map(|label| (label.name, label.value)));
        // A label is shorter than a name may be.
        let label = shorten(&experiment.name_any(), 63).trim_end_matches(['-', '.']).to_owned();
        labels.insert(EXPERIMENT_LABEL.to_owned(), label);
        let mut collector = spec.metrics_collector.clone();
        if spec.early_stopping.is_some()
            && collector.observe_seconds == 0
            && collector.source == MetricSource::Stdout
        {
            collector.observe_seconds = OBSERVE_SECONDS;
        }
        let trial = TrialSpec {
            index,
            assignments,
            object,
            objective: spec.objective.clone(),
            metrics_collector: collector,
            primary_container: spec.trial_template.primary_container.clone(),
            primary_pod_labels: spec.trial_template.primary_pod_labels.clone(),
            success_condition: spec.trial_template.success_condition.clone(),
            failure_condition: spec.trial_template.failure_condition.clone(),
            retain: spec.trial_template.retain,
            stop: false,
        };
        Ok(Trial {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace),
                labels: Some(labels),
                annotations: Some([(INDEX_ANNOTATION.to_owned(), index.to_string())].into()),
                owner_references: Some(vec![OwnerReference {
                    api_version: Experiment::api_version(&()).into_owned(),
                    kind: Experiment::kind(&()).into_owned(),
                    name: experiment.name_any(),
                    uid,
                    controller: Some(true),
                    block_owner_deletion: Some(true),
                }]),
                ..ObjectMeta::default()
            },
            spec: trial,
            status: None,
        })
    }
}

fn invalid(errors: &[FieldError]) -> Ending {
    Ending { succeeded: false, reason: "InvalidSpec", message: sentence(errors) }
}

#[cfg(test)]
mod tests;
