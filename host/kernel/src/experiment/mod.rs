//! The experiment loop: asks a tuner for points, makes trials of them within the budget, and says what came of it.
//!
//! `outcome` reads trials, `decide` says what to do next, `search` and `render` translate, `advance` acts; all of them
//! work on what was observed. This module observes and is the only one that knows a client.

mod advance;
mod decide;
mod outcome;
mod render;
mod search;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error as KubeError, Resource, ResourceExt};
use purlin_sandbox::Subject;
use purlin_sandbox::contract::{FieldError, Search, Suggestion};
use serde_json::json;

use crate::api::{API_VERSION, Experiment, ExperimentStatus, Trial};
use crate::cache::{Kind, ParseError};
use crate::digest::seed;
use crate::event::EventRecorder;
use crate::expression::Conditions;
use crate::key::ObjectKey;
use crate::reconcile::{Outcome, Reconciler, domain_of};
use crate::shard::{Domain, Shards};
use crate::stage::{self, LoadedPlugin, Stages};

use advance::{Pass, TunerError, World};

/// A trial that was created and is still not in the cache after this long is no longer counted on.
const EXPECTED_FOR: Duration = Duration::from_secs(30);

/// How long the cache is given to catch up after a write that lost a race.
const BEHIND: Duration = Duration::from_millis(50);

/// Why a pass over an experiment failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExperimentError {
    /// The object is not an Experiment, or one of its trials not a Trial.
    #[error(transparent)]
    Read(#[from] ParseError),
    /// A write failed.
    #[error("could not {doing} of experiment {experiment}")]
    Write {
        /// What was being done.
        doing: &'static str,
        /// On what.
        experiment: String,
        /// What went wrong.
        #[source]
        source: KubeError,
    },
    /// A trial's name is in use.
    #[error(
        "experiment {experiment} needs a trial named {trial}, and one that is not its own has the name: delete it"
    )]
    NameTaken {
        /// The experiment.
        experiment: String,
        /// The name.
        trial: String,
    },
}

/// Trials by name, each with the time of its creation.
type Expected = BTreeMap<String, (Arc<Trial>, Instant)>;

/// Reconciles Experiments.
pub(crate) struct ExperimentLoop {
    client: Client,
    experiments: Arc<Kind>,
    trials: Arc<Kind>,
    stages: Arc<dyn Stages>,
    conditions: Arc<Conditions>,
    events: EventRecorder,
    /// By experiment UID: trials that were created and that the cache has not shown yet.
    expected: Mutex<HashMap<String, Expected>>,
}

impl ExperimentLoop {
    /// A loop over two watched kinds.
    pub(crate) fn new(
        client: Client,
        experiments: Arc<Kind>,
        trials: Arc<Kind>,
        stages: Arc<dyn Stages>,
        conditions: Arc<Conditions>,
        events: EventRecorder,
    ) -> Self {
        ExperimentLoop { client, experiments, trials, stages, conditions, events, expected: Mutex::default() }
    }

    /// The experiment's trials: those in the cache, and those that were created and are not there yet. By index.
    fn observe(&self, uid: &str) -> Result<Vec<Arc<Trial>>, ParseError> {
        let cached = self.trials.read(|store| store.controlled_by(uid));
        let mut trials = cached.iter().map(|trial| trial.typed::<Trial>()).collect::<Result<Vec<_>, _>>()?;
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = expected.get_mut(uid) {
            for trial in &trials {
                waiting.remove(&trial.name_any());
            }
            waiting.retain(|_, (_, since)| since.elapsed() < EXPECTED_FOR);
            trials.extend(waiting.values().map(|(trial, _)| trial.clone()));
            if waiting.is_empty() {
                expected.remove(uid);
            }
        }
        drop(expected);
        trials.sort_by_key(|trial| trial.spec.index);
        Ok(trials)
    }
}

#[async_trait]
impl Reconciler for ExperimentLoop {
    type Key = ObjectKey;
    type Error = ExperimentError;

    fn name(&self) -> &str {
        "experiment"
    }

    fn domain(&self, key: &ObjectKey, shards: Shards) -> Option<Domain> {
        Some(domain_of(key, shards))
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.experiments.read(|store| store.keys().into_iter().collect())
    }

    async fn reconcile(&self, key: &ObjectKey, attempt: u32) -> Result<Outcome, ExperimentError> {
        self.experiments.synced().await;
        self.trials.synced().await;
        let Some(object) = self.experiments.read(|store| store.get(key)) else { return Ok(Outcome::Settled) };
        if object.is_deleting() {
            return Ok(Outcome::Settled);
        }
        let experiment = object.typed::<Experiment>()?;
        let trials = self.observe(object.uid())?;
        let now = Timestamp::now();
        let context = purlin_sandbox::contract::Context {
            now_ms: u64::try_from(now.as_millisecond()).unwrap_or(0),
            seed: seed(object.uid()),
            config: "{}".to_owned(),
        };
        let world = Cluster { parent: self, experiment: &experiment, key };
        let pass = Pass {
            world: &world,
            experiment: &experiment,
            conditions: &self.conditions,
            context,
            now,
            attempt,
        };
        match pass.run(trials).await {
            // The cache was behind: what was decided on is no longer what is.
            Err(ExperimentError::Write { source: KubeError::Api(status), .. }) if status.code == 409 => {
                Ok(Outcome::After(BEHIND))
            }
            ended => ended,
        }
    }
}

/// The API server and the loaded plugins, for one experiment.
struct Cluster<'a> {
    parent: &'a ExperimentLoop,
    experiment: &'a Experiment,
    key: &'a ObjectKey,
}

impl Cluster<'_> {
    fn trials(&self) -> Api<Trial> {
        Api::namespaced(self.parent.client.clone(), &self.key.namespace)
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(KubeError) -> ExperimentError {
        let experiment = self.key.to_string();
        move |source| ExperimentError::Write { doing, experiment, source }
    }

    fn subject(&self) -> Subject {
        Subject::object(API_VERSION, "Experiment", &self.key.namespace, &self.key.name)
    }

    /// The tuner for a search, and the search with that tuner's configuration.
    fn tuner(&self, mut search: Search) -> Result<(Arc<dyn LoadedPlugin>, Search), TunerError> {
        let stages = &self.parent.stages;
        let found = stage::find(|| stages.tuner(&search.algorithm), || stages.awaited());
        let (_, plugin) = found.map_err(TunerError::Absent)?;
        search.context = plugin.context(search.context.now_ms, search.context.seed);
        Ok((plugin, search))
    }
}

#[async_trait]
impl World for Cluster<'_> {
    type Error = ExperimentError;

    async fn create_trial(&self, trial: Trial) -> Result<Arc<Trial>, ExperimentError> {
        let name = trial.name_any();
        let created = match self.trials().create(&PostParams::default(), &trial).await {
            Ok(created) => created,
            Err(KubeError::Api(status)) if status.code == 409 => {
                let present = self.trials().get(&name).await.map_err(self.failed("read a trial"))?;
                let ours = self.experiment.uid();
                if present.controller_owner_ref(&()).map(|owner| owner.uid) != ours {
                    let experiment = self.key.to_string();
                    return Err(ExperimentError::NameTaken { experiment, trial: name });
                }
                present
            }
            Err(error) => return Err(self.failed("create a trial")(error)),
        };
        let created = Arc::new(created);
        let uid = self.experiment.uid().unwrap_or_default();
        let mut expected = self.parent.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.entry(uid).or_default().insert(name, (created.clone(), Instant::now()));
        Ok(created)
    }

    async fn stop_trial(&self, name: &str) -> Result<(), ExperimentError> {
        let patch = Patch::Merge(json!({"spec": {"stop": true}}));
        match self.trials().patch(name, &PatchParams::default(), &patch).await {
            Ok(_) => Ok(()),
            Err(KubeError::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(self.failed("stop a trial")(error)),
        }
    }

    async fn write_status(&self, status: &ExperimentStatus) -> Result<(), ExperimentError> {
        // Replacing what was read, and nothing newer: a write that lost a race is made again from what won.
        let mut experiment = self.experiment.clone();
        experiment.status = Some(status.clone());
        experiment.metadata.managed_fields = None;
        let api: Api<Experiment> = Api::namespaced(self.parent.client.clone(), &self.key.namespace);
        match api.replace_status(&self.key.name, &PostParams::default(), &experiment).await {
            Ok(_) => Ok(()),
            Err(KubeError::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(self.failed("write the status")(error)),
        }
    }

    async fn validate(&self, search: Search) -> Result<Vec<FieldError>, TunerError> {
        let (tuner, search) = self.tuner(search)?;
        tuner.validate(&self.subject(), search).await.map_err(TunerError::Call)
    }

    async fn suggest(&self, search: Search, count: u32) -> Result<Vec<Suggestion>, TunerError> {
        let (tuner, search) = self.tuner(search)?;
        tuner.suggest(&self.subject(), search, count).await.map_err(TunerError::Call)
    }

    async fn advise(&self, search: Search) -> Result<Vec<String>, TunerError> {
        let (tuner, search) = self.tuner(search)?;
        tuner.stop(&self.subject(), search).await.map_err(TunerError::Call)
    }

    fn tell(&self, warning: bool, reason: &str, message: &str) {
        self.parent.events.tell(self.experiment, warning, reason, message);
    }
}
