//! The trial loop: makes a trial's object, of whatever kind, waits for its end, and collects what was measured.
//!
//! `object` builds the object and `decide` says what to do; this module observes, acts, and is the only one that knows
//! a client.

mod decide;
mod object;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Client, Error as KubeError, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::api::{API_VERSION, MetricSource, Trial, TrialStatus};
use crate::cache::{Cache, CacheError, ChangeEvent, Kind, ParseError, Subscriber, Subscription};
use crate::event::EventRecorder;
use crate::expression::Conditions;
use crate::key::{Gvk, ObjectKey, controller_of};
use crate::measure::push::{PushKey, push_path};
use crate::measure::{CollectError, Collected, Collector};
use crate::queue::WorkQueue;
use crate::reconcile::{Outcome, Reconciler, domain_of};
use crate::shard::{Domain, Shards};

use decide::{Ending, Observed, Step, decide, ended, measured, running, with_series};
use object::{PushTarget, build};

/// Attempts at reading an output before the trial ends without metrics.
const COLLECT_ATTEMPTS: u32 = 6;

/// How long the cache is given to catch up after a write that lost a race.
const BEHIND: Duration = Duration::from_millis(50);

/// Where programs push metrics to, and how they prove who they are.
#[derive(Clone, Debug)]
pub struct PushConfig {
    /// Scheme, host and port under which Pods reach the push routes.
    pub url: String,
    /// The key of the tokens.
    pub key: PushKey,
}

/// Why a pass over a trial failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialError {
    /// The object is not a Trial.
    #[error(transparent)]
    Read(#[from] ParseError),
    /// The trial's object is of a kind that cannot be watched.
    #[error("could not watch the object of trial {trial}")]
    Watch {
        /// The trial.
        trial: String,
        /// What went wrong.
        #[source]
        source: CacheError,
    },
    /// A request failed.
    #[error("could not {doing} of trial {trial}")]
    Request {
        /// What was being done.
        doing: &'static str,
        /// On what.
        trial: String,
        /// What went wrong.
        #[source]
        source: KubeError,
    },
    /// The output could not be read.
    #[error(transparent)]
    Collect(#[from] CollectError),
}

/// Reconciles Trials.
pub(crate) struct TrialLoop {
    client: Client,
    cache: Cache,
    trials: Arc<Kind>,
    conditions: Arc<Conditions>,
    collector: Collector,
    push: Option<PushConfig>,
    events: EventRecorder,
    queue: Arc<WorkQueue<ObjectKey>>,
    /// The kinds that trials' objects have, each watched from its first trial on.
    objects: Mutex<HashMap<Gvk, Subscription>>,
}

impl TrialLoop {
    /// A loop over the watched kind, whose queue is `queue`.
    pub(crate) fn new(
        client: Client,
        cache: Cache,
        trials: Arc<Kind>,
        conditions: Arc<Conditions>,
        push: Option<PushConfig>,
        events: EventRecorder,
        queue: Arc<WorkQueue<ObjectKey>>,
    ) -> Self {
        let collector = Collector::new(client.clone());
        TrialLoop {
            client,
            cache,
            trials,
            conditions,
            collector,
            push,
            events,
            queue,
            objects: Mutex::default(),
        }
    }

    /// The kind of a trial's object, watched and synced.
    async fn object_kind(&self, gvk: &Gvk) -> Result<Arc<Kind>, CacheError> {
        let mut objects = self.objects.lock().await;
        let kind = match objects.get(gvk) {
            Some(subscription) => subscription.kind().clone(),
            None => {
                let owners = Arc::new(OwnerQueue(self.queue.clone()));
                let subscription = self.cache.subscribe(gvk, owners).await?;
                let kind = subscription.kind().clone();
                objects.insert(gvk.clone(), subscription);
                kind
            }
        };
        drop(objects);
        kind.synced().await;
        Ok(kind)
    }

    /// The trial's object. What the cache does not have is asked of the server where that decides anything.
    async fn observe(
        &self,
        trial: &Trial,
        kind: &Kind,
        key: &ObjectKey,
    ) -> Result<Option<Value>, TrialError> {
        if let Some(object) = kind.read(|store| store.get(key)) {
            return Ok(Some(object.json()));
        }
        if trial
            .status
            .as_ref()
            .is_none_or(|status| status.completion_time.is_some() || status.start_time.is_none())
        {
            return Ok(None);
        }
        let api = kind.api(&self.client, Some(&key.namespace));
        let object = api.get_opt(&key.name).await.map_err(failed("read the object", key))?;
        Ok(object.and_then(|object| serde_json::to_value(object).ok()))
    }

    async fn create(&self, trial: &Trial, kind: &Kind, key: &ObjectKey) -> Result<Created, TrialError> {
        let push = self.push.as_ref().map(|push| PushTarget {
            url: format!("{}{}", push.url.trim_end_matches('/'), push_path(&key.namespace, &key.name)),
            token: push.key.token(&trial.uid().unwrap_or_default()),
        });
        let built = build(trial, push.as_ref());
        let object: DynamicObject = match serde_json::from_value(built) {
            Ok(object) => object,
            Err(error) => return Ok(Created::Refused(format!("the trial's object is malformed: {error}"))),
        };
        let api = kind.api(&self.client, Some(&key.namespace));
        match api.create(&PostParams::default(), &object).await {
            Ok(object) => Ok(Created::Object(serde_json::to_value(object).unwrap_or_default())),
            Err(KubeError::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
                let present = api.get(&key.name).await.map_err(failed("read the object", key))?;
                Ok(Created::Object(serde_json::to_value(present).unwrap_or_default()))
            }
            Err(KubeError::Api(status)) if matches!(status.code, 400 | 422) => {
                Ok(Created::Refused(status.message))
            }
            Err(error) => Err(failed("create the object", key)(error)),
        }
    }

    async fn delete(&self, kind: &Kind, key: &ObjectKey, object: &Value) -> Result<(), TrialError> {
        if !object["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        let uid = object["metadata"]["uid"].as_str().map(str::to_owned);
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::background()
        };
        match kind.api(&self.client, Some(&key.namespace)).delete(&key.name, &params).await {
            Ok(_) => Ok(()),
            Err(KubeError::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(failed("delete the object", key)(error)),
        }
    }

    /// Writes a status if it says anything new. A status that changed since it was read is not overwritten: the write
    /// fails and is made again from what is there.
    async fn write(&self, trial: &Trial, fresh: &TrialStatus, key: &ObjectKey) -> Result<(), TrialError> {
        if trial.status.as_ref() == Some(fresh) {
            return Ok(());
        }
        let patch = json!({"metadata": {"resourceVersion": trial.resource_version()}, "status": fresh});
        let trials: Api<Trial> = Api::namespaced(self.client.clone(), &key.namespace);
        match trials.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(KubeError::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(failed("write the status", key)(error)),
        }
    }

    async fn end(
        &self,
        trial: &Trial,
        status: TrialStatus,
        ending: &Ending,
        key: &ObjectKey,
    ) -> Result<Outcome, TrialError> {
        self.write(trial, &status, key).await?;
        let warning = matches!(ending.condition, "Failed" | "MetricsUnavailable");
        self.events.tell(trial, warning, &format!("Trial{}", ending.condition), &ending.message);
        Ok(Outcome::Settled)
    }

    async fn fail(
        &self,
        trial: &Trial,
        reason: &'static str,
        message: String,
        key: &ObjectKey,
    ) -> Result<Outcome, TrialError> {
        let ending = Ending { condition: "Failed", reason, message };
        self.end(trial, ended(trial, &ending, Timestamp::now()), &ending, key).await
    }

    async fn measure(
        &self,
        trial: &Trial,
        early: bool,
        key: &ObjectKey,
        attempt: u32,
    ) -> Result<Outcome, TrialError> {
        let collected = match self.collector.collect(trial).await {
            Ok(Collected::Nothing(_)) if !early && attempt < COLLECT_ATTEMPTS => return Ok(Outcome::Backoff),
            Ok(collected) => collected,
            Err(CollectError::Filter(error)) => Collected::Nothing(error.to_string()),
            Err(error) if attempt < COLLECT_ATTEMPTS => return Err(error.into()),
            Err(error) => Collected::Nothing(crate::report(&error).to_string()),
        };
        let ending = measured(trial, early, &collected);
        let mut status = ended(trial, &ending, Timestamp::now());
        if let Collected::Series(series) = &collected {
            status = with_series(status, series);
        }
        self.end(trial, status, &ending, key).await
    }

    /// A trial that runs: says so, and reads what it printed so far where that is asked for.
    async fn watch(&self, trial: &Trial, key: &ObjectKey) -> Result<Outcome, TrialError> {
        let mut status = running(trial, Timestamp::now());
        let seconds = trial.spec.metrics_collector.observe_seconds;
        if seconds == 0 || trial.spec.metrics_collector.source != MetricSource::Stdout {
            self.write(trial, &status, key).await?;
            return Ok(Outcome::Settled);
        }
        match self.collector.collect(trial).await {
            Ok(Collected::Series(series)) => status = with_series(status, &series),
            Ok(Collected::Nothing(_)) => {}
            // There is another reading in a moment, and one at the end that counts.
            Err(error) => {
                tracing::debug!(error = %crate::report(&error), "output of a running trial not read")
            }
        }
        self.write(trial, &status, key).await?;
        Ok(Outcome::After(Duration::from_secs(u64::from(seconds))))
    }
}

/// What came of creating a trial's object.
enum Created {
    /// It is there.
    Object(Value),
    /// The server will not have it.
    Refused(String),
}

#[async_trait]
impl Reconciler for TrialLoop {
    type Key = ObjectKey;
    type Error = TrialError;

    fn name(&self) -> &str {
        "trial"
    }

    fn domain(&self, key: &ObjectKey, shards: Shards) -> Option<Domain> {
        Some(domain_of(key, shards))
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.trials.read(|store| store.keys().into_iter().collect())
    }

    async fn reconcile(&self, key: &ObjectKey, attempt: u32) -> Result<Outcome, TrialError> {
        match self.pass(key, attempt).await {
            // The cache was behind: what was decided on is no longer what is.
            Err(TrialError::Request { source: KubeError::Api(status), .. }) if status.code == 409 => {
                Ok(Outcome::After(BEHIND))
            }
            ended => ended,
        }
    }
}

impl TrialLoop {
    async fn pass(&self, key: &ObjectKey, attempt: u32) -> Result<Outcome, TrialError> {
        self.trials.synced().await;
        let Some(cached) = self.trials.read(|store| store.get(key)) else { return Ok(Outcome::Settled) };
        if cached.is_deleting() {
            return Ok(Outcome::Settled);
        }
        let trial = cached.typed::<Trial>()?;
        let Some(gvk) = Gvk::of_json(&trial.spec.object) else {
            if trial.status.as_ref().is_some_and(|status| status.completion_time.is_some()) {
                return Ok(Outcome::Settled);
            }
            let message = "spec.object has no apiVersion and kind".to_owned();
            return self.fail(&trial, "InvalidObject", message, key).await;
        };
        let kind = match self.object_kind(&gvk).await {
            Ok(kind) => kind,
            Err(error @ CacheError::NoSuchKind(_)) => {
                self.events.tell(trial.as_ref(), true, "KindUnavailable", &error.to_string());
                return Ok(Outcome::Backoff);
            }
            Err(source) => return Err(TrialError::Watch { trial: key.to_string(), source }),
        };
        let object = self.observe(&trial, &kind, key).await?;
        let observed = observed(object.as_ref(), cached.uid());
        match decide(&trial, observed, &self.conditions) {
            Step::Ended { delete } => {
                if let (true, Some(object)) = (delete, &object) {
                    self.delete(&kind, key, object).await?;
                }
                Ok(Outcome::Settled)
            }
            Step::Create => match self.create(&trial, &kind, key).await? {
                Created::Refused(message) => self.fail(&trial, "ObjectRefused", message, key).await,
                Created::Object(created) => {
                    self.events.tell(
                        trial.as_ref(),
                        false,
                        "ObjectCreated",
                        &format!("Created {} {key}", gvk.kind),
                    );
                    // Some objects are done the moment they exist; then one status write is enough.
                    match decide(&trial, self::observed(Some(&created), cached.uid()), &self.conditions) {
                        Step::Measure { early } => self.measure(&trial, early, key, attempt).await,
                        Step::Fail { reason, message } => self.fail(&trial, reason, message, key).await,
                        Step::Run | Step::Create | Step::Ended { .. } => self.watch(&trial, key).await,
                    }
                }
            },
            Step::Run => self.watch(&trial, key).await,
            Step::Measure { early } => self.measure(&trial, early, key, attempt).await,
            Step::Fail { reason, message } => self.fail(&trial, reason, message, key).await,
        }
    }
}

fn observed<'a>(object: Option<&'a Value>, trial_uid: &str) -> Observed<'a> {
    let Some(object) = object else { return Observed::Absent };
    let owners = object["metadata"]["ownerReferences"].as_array();
    let ours =
        owners.into_iter().flatten().any(|owner| owner["controller"] == true && owner["uid"] == trial_uid);
    if ours { Observed::Present(object) } else { Observed::Foreign }
}

fn failed(doing: &'static str, key: &ObjectKey) -> impl FnOnce(KubeError) -> TrialError {
    let trial = key.to_string();
    move |source| TrialError::Request { doing, trial, source }
}

/// Queues the Trial that controls an object.
struct OwnerQueue(Arc<WorkQueue<ObjectKey>>);

#[async_trait]
impl Subscriber for OwnerQueue {
    async fn changed(&self, change: &ChangeEvent) {
        let object = change.object.object();
        let owned = object.owner_references().iter().any(|owner| owner.api_version == API_VERSION);
        if let Some(("Trial", name, _)) = controller_of(object).filter(|_| owned) {
            self.0.add(ObjectKey::new(change.object.key().namespace.clone(), name)).await;
        }
    }
}
