//! The loops of Model and Route: what the resources say reaches the gateway, and what came of it reaches the resources.
//!
//! # Expected flow
//! Both kinds are watched. A change of either makes a new routing table, at most every few milliseconds. Each Model is
//! resolved to a plugin, loaded once to see that it can be, and kept or let go by its scaling; its status says which.
//!
//! # Guarantees
//! A model that could not be loaded for a reason that may pass is tried again every few seconds. The status of an object that did not change is not
//! written again.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, Error as KubeError, Resource as _, ResourceExt as _};
use purlin_gateway::{Gateway, ModelKey, ModelState, Models as _};
use purlin_kernel::api::{API_VERSION, Change, Model, ModelDevice, ModelStatus, Route, set_condition};
use purlin_nn::{Device, LoadOptions};
use purlin_sandbox::contract::{Fault, Setting};
use purlin_sandbox::{CallError, ModelFiles, ModelRequest, Plugin, StageResolver, Subject};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::route::{self, Address};
use crate::source::{Credentials, SourceRequest};
use crate::store::{Facts, LoadFailure, ModelStore, Recipe};
use crate::table::{self, Tokens};

/// A request takes at most so long where its model does not say.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Loading takes at most so long.
const LOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// How often the tokens of routes are read again.
const SECRETS: Duration = Duration::from_secs(10);

/// How often the progress of a download is told.
const PROGRESS: Duration = Duration::from_secs(2);

/// How often idle models are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Where the gateway is reached, for the status of routes.
#[derive(Clone, Debug)]
pub struct ServingConfig {
    /// The gateway's address.
    pub address: SocketAddr,
    /// Behind hosts that end in a dot.
    pub domain: String,
}

/// Brings Model and Route resources to a gateway.
pub struct Serving {
    client: Client,
    stages: Arc<dyn StageResolver>,
    store: Arc<ModelStore>,
    gateway: Gateway,
    config: ServingConfig,
}

/// Why an attempt failed; it is made again.
#[derive(Debug, thiserror::Error)]
enum ServingError {
    #[error("could not write the status")]
    Status(#[source] Box<KubeError>),
}

/// What a Model came to.
struct Verdict {
    resolved: Result<String, (&'static str, String)>,
    loaded: Result<(), (&'static str, String)>,
    facts: Option<Facts>,
    again: Option<Duration>,
}

impl Serving {
    /// Loops that do nothing yet.
    pub fn new(
        client: Client,
        stages: Arc<dyn StageResolver>,
        store: Arc<ModelStore>,
        gateway: Gateway,
        config: ServingConfig,
    ) -> Self {
        Serving { client, stages, store, gateway, config }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let serving = Arc::new(self);
        let changed = Arc::new(Notify::new());
        let (models, follow_models) = follow(Api::<Model>::all(serving.client.clone()), changed.clone());
        let (routes, follow_routes) = follow(Api::<Route>::all(serving.client.clone()), changed.clone());
        let control = {
            let (ending, client) = (stop.clone(), serving.client.clone());
            let controller = Controller::new(Api::<Model>::all(client), watcher::Config::default())
                .with_config(kube::runtime::controller::Config::default().concurrency(16))
                .graceful_shutdown_on(ending.cancelled_owned());
            controller.run(reconcile, again, serving.clone()).for_each(|done| {
                if let Err(error) = done {
                    tracing::debug!(%error, "a model is tried again");
                }
                std::future::ready(())
            })
        };
        let tables = serving.clone().keep_table(changed, models, routes);
        tokio::select! {
            () = follow_models => {}
            () = follow_routes => {}
            () = control => {}
            () = tables => {}
            () = stop.cancelled() => {}
        }
    }

    /// Makes a routing table whenever something changed, and tells the routes what came of them.
    async fn keep_table(self: Arc<Self>, changed: Arc<Notify>, models: Store<Model>, routes: Store<Route>) {
        let (mut sweeps, mut secrets) = (tokio::time::interval(SWEEP), tokio::time::interval(SECRETS));
        loop {
            tokio::select! {
                () = changed.notified() => {}
                _ = secrets.tick() => {
                    // Tokens may have changed: Secrets are not watched.
                    if routes.state().iter().all(|route| route.spec.auth.is_none()) {
                        continue;
                    }
                }
                _ = sweeps.tick() => {
                    self.store.sweep();
                    self.forget_the_gone(&models);
                    continue;
                }
            }
            // Changes come in bursts; one table does for all of a burst.
            tokio::time::sleep(Duration::from_millis(10)).await;
            let (models, routes) = (models.state(), routes.state());
            let tokens = self.tokens(&routes).await;
            let config = table::table(
                models.iter().map(AsRef::as_ref),
                routes.iter().map(AsRef::as_ref),
                &self.config.domain,
                &tokens,
            );
            let problems: HashMap<_, _> = (self.gateway.update(&config).into_iter())
                .map(|problem| ((problem.namespace, problem.route), problem.problem))
                .collect();
            for route in routes {
                let key = (route.namespace().unwrap_or_default(), route.name_any());
                self.tell_route(&route, problems.get(&key).map(String::as_str)).await;
            }
        }
    }

    /// The tokens of the routes that have `auth`. A Secret that cannot be read lets nobody in.
    async fn tokens(&self, routes: &[Arc<Route>]) -> Tokens {
        let mut tokens = Tokens::new();
        for route in routes {
            let Some(auth) = &route.spec.auth else { continue };
            let namespace = route.namespace().unwrap_or_default();
            let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
            let mut let_in = Vec::new();
            for name in &auth.secrets {
                match api.get(name).await {
                    Ok(secret) => let_in.extend(
                        secret
                            .data
                            .unwrap_or_default()
                            .into_values()
                            .filter_map(|value| String::from_utf8(value.0).ok()),
                    ),
                    Err(error) => {
                        tracing::warn!(route = %route.name_any(), secret = name, %error, "tokens could not be read");
                    }
                }
            }
            tokens.insert((namespace, route.name_any()), let_in);
        }
        tokens
    }

    fn forget_the_gone(&self, models: &Store<Model>) {
        for key in self.store.keys() {
            let reference = ObjectRef::<Model>::new(&key.name).within(&key.namespace);
            if models.get(&reference).is_none() {
                self.store.remove(&key);
            }
        }
    }

    async fn tell_route(&self, route: &Route, problem: Option<&str>) {
        let authority = self.config.address.to_string();
        let address =
            Address { domain: &self.config.domain, authority: &authority, port: self.config.address.port() };
        let status = route::status(route, &address, problem, Timestamp::now());
        if route.status.as_ref() == Some(&status) {
            return;
        }
        let namespace = route.namespace().unwrap_or_default();
        let api: Api<Route> = Api::namespaced(self.client.clone(), &namespace);
        let patch = Patch::Merge(json!({"status": status}));
        match api.patch_status(&route.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => {}
            Err(KubeError::Api(status)) if status.code == 404 => {}
            Err(error) => {
                tracing::warn!(route = %route.name_any(), %error, "the status of a route could not be written");
            }
        }
    }

    /// Resolves and loads a model.
    async fn serve(&self, model: &Model) -> Verdict {
        let key = ModelKey::new(model.namespace().unwrap_or_default(), model.name_any());
        let failed = |resolved, reason, message: String, again| Verdict {
            resolved,
            loaded: Err((reason, message)),
            facts: None,
            again,
        };
        let soon = Some(Duration::from_secs(3));
        let (name, plugin) = match self.resolve(model) {
            Ok(found) => found,
            Err((reason, message)) => {
                self.store.remove(&key);
                return failed(Err((reason, message.clone())), reason, message, soon);
            }
        };
        let credentials = match crate::secret::credentials(&self.client, model).await {
            Ok(credentials) => credentials,
            // What is in memory needs its source no more.
            Err(_) if self.store.is_loaded(&key) => None,
            Err(error) => return failed(Ok(name), error.reason, error.message, soon),
        };
        self.store.put(key.clone(), recipe(model, plugin, credentials));
        // One that may go to zero was loaded once to see that it can be; after that requests wake it.
        let seen = model.status.as_ref().is_some_and(|status| {
            status.observed_generation == model.metadata.generation && status.ready_time.is_some()
        });
        let stays = model.spec.scaling.min_replicas > 0;
        if seen && !stays && !matches!(self.store.state(&key), ModelState::Failed(_)) {
            let facts = None;
            return Verdict {
                resolved: Ok(name),
                loaded: Ok(()),
                facts,
                again: Some(Duration::from_secs(5)),
            };
        }
        match self.store.ensure(&key).await {
            Some(Ok(facts)) => Verdict {
                resolved: Ok(name),
                loaded: Ok(()),
                facts: Some(facts),
                again: Some(Duration::from_secs(30)),
            },
            Some(Err(failure)) => {
                let (reason, message, passing) = describe(&failure);
                failed(Ok(name), reason, message, passing.then_some(Duration::from_secs(5)))
            }
            None => failed(Ok(name), "Progressing", "the model is being replaced".to_owned(), soon),
        }
    }

    /// Says in the model's conditions how far its download is. Returns whether there was something to say.
    async fn tell_progress(&self, model: &Model, key: &ModelKey) -> bool {
        let Some(message) = self.store.progress(key) else { return false };
        let mut conditions =
            model.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        for kind in ["Loaded", "Ready"] {
            let (reason, generation) = ("Downloading", model.metadata.generation);
            let change = Change { kind, status: Some(false), reason, message: message.clone(), generation };
            set_condition(&mut conditions, change, Timestamp::now());
        }
        let api: Api<Model> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
        if let Err(error) = api.patch_status(&key.name, &PatchParams::default(), &patch).await {
            tracing::debug!(model = %key, %error, "the progress of a download could not be told");
        }
        true
    }

    fn resolve(&self, model: &Model) -> Result<(String, Arc<Plugin>), (&'static str, String)> {
        if model.spec.container.is_some() {
            let message = "models that containers serve are not run yet; use a format that a plugin serves";
            return Err(("ContainersUnsupported", message.to_owned()));
        }
        let Some(format) = &model.spec.format else {
            return Err(("InvalidSpec", "spec.format: required where there is no spec.container".to_owned()));
        };
        let runtime = model.spec.runtime.as_deref();
        self.stages.serving_runtime(runtime, &format.name).ok_or_else(|| match runtime {
            Some(runtime) => (
                "NoRuntime",
                format!("spec.runtime: no ready Plugin {runtime:?} serves the format {:?}", format.name),
            ),
            None => (
                "NoRuntime",
                format!(
                    "spec.format.name: no ready Plugin serves the format {:?}; see `kubectl get plugins`",
                    format.name
                ),
            ),
        })
    }
}

/// All objects of a kind, and what keeps them up to date: each one that comes, changes or goes is told to `changed`.
fn follow<K>(api: Api<K>, changed: Arc<Notify>) -> (Store<K>, impl Future<Output = ()>)
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(api, watcher::Config::default()).default_backoff().reflect(writer).touched_objects();
    let followed = events.for_each(move |_| {
        changed.notify_one();
        std::future::ready(())
    });
    (store, followed)
}

fn describe(failure: &LoadFailure) -> (&'static str, String, bool) {
    match failure {
        LoadFailure::Source(error) => (error.reason, error.message.clone(), error.passing),
        LoadFailure::Plugin(error @ CallError::Fault(Fault::Invalid(_))) => {
            ("InvalidModel", error.to_string(), false)
        }
        LoadFailure::Plugin(error) => ("LoadFailed", error.to_string(), true),
    }
}

fn recipe(model: &Model, plugin: Arc<Plugin>, credentials: Option<Credentials>) -> Recipe {
    let spec = &model.spec;
    let (namespace, name) = (model.namespace().unwrap_or_default(), model.name_any());
    let options = LoadOptions {
        device: match spec.device {
            Some(ModelDevice::Gpu) => Device::Gpu,
            Some(ModelDevice::Cpu) | None => Device::Cpu,
        },
        threads: 0,
    };
    let format = spec.format.clone().unwrap_or_default();
    let setting = |setting: &purlin_kernel::api::Setting| Setting {
        name: setting.name.clone(),
        value: setting.value.clone(),
    };
    let timeout = spec.timeout_seconds.map_or(TIMEOUT, |seconds| Duration::from_secs(u64::from(seconds)));
    Recipe {
        revision: format!(
            "{}/{}",
            model.uid().unwrap_or_default(),
            model.metadata.generation.unwrap_or_default()
        ),
        plugin,
        request: ModelRequest {
            subject: Subject::object(API_VERSION, "Model", &namespace, &name),
            name: spec.model_name.clone().unwrap_or(name),
            version: spec.version.clone().unwrap_or_default(),
            format: format.name,
            format_version: format.version.unwrap_or_default(),
            settings: spec.settings.iter().map(setting).collect(),
            files: Arc::new(ModelFiles::new(options.clone())),
            load_timeout: LOAD_TIMEOUT,
            timeout,
        },
        source: spec.source.as_ref().map(|source| SourceRequest {
            uri: source.uri.clone(),
            digest: source.digest.clone(),
            credentials,
        }),
        options,
        stays: spec.scaling.min_replicas > 0,
        idle: Duration::from_secs(u64::from(spec.scaling.idle_seconds)),
    }
}

async fn reconcile(model: Arc<Model>, serving: Arc<Serving>) -> Result<Action, ServingError> {
    let key = ModelKey::new(model.namespace().unwrap_or_default(), model.name_any());
    if model.meta().deletion_timestamp.is_some() {
        serving.store.remove(&key);
        return Ok(Action::await_change());
    }
    let (verdict, told) = {
        let mut serve = pin!(serving.serve(&model));
        let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + PROGRESS, PROGRESS);
        let mut told = false;
        loop {
            tokio::select! {
                verdict = &mut serve => break (verdict, told),
                _ = looks.tick() => told |= serving.tell_progress(&model, &key).await,
            }
        }
    };
    let fresh = status(&model, &verdict, serving.store.is_loaded(&key), Timestamp::now());
    // What was told meanwhile is not in the model that this began with.
    if told || model.status.as_ref() != Some(&fresh) {
        let api: Api<Model> = Api::namespaced(serving.client.clone(), &key.namespace);
        let patch = Patch::Merge(json!({"status": fresh}));
        match api.patch_status(&key.name, &PatchParams::default(), &patch).await {
            Ok(_) => {}
            Err(KubeError::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(ServingError::Status(Box::new(error))),
        }
    }
    Ok(verdict.again.map_or_else(Action::await_change, Action::requeue))
}

fn again(_: Arc<Model>, error: &ServingError, _: Arc<Serving>) -> Action {
    tracing::warn!(%error, "a model's status is written again");
    Action::requeue(Duration::from_secs(2))
}

/// The status of a Model by what came of it.
fn status(model: &Model, verdict: &Verdict, in_memory: bool, now: Timestamp) -> ModelStatus {
    let mut status = model.status.clone().unwrap_or_default();
    let generation = model.metadata.generation;
    let mut say = |kind, good: bool, reason: &str, message: String| {
        let change = Change { kind, status: Some(good), reason, message, generation };
        set_condition(&mut status.conditions, change, now);
    };
    match &verdict.resolved {
        Ok(plugin) => say("Resolved", true, "Found", format!("served by the Plugin {plugin}")),
        Err((reason, message)) => say("Resolved", false, reason, message.clone()),
    }
    match &verdict.loaded {
        Ok(()) => {
            let (reason, message) = match in_memory {
                true => ("Loaded", "the model is in memory"),
                false => ("Idle", "the model was loaded before, and is loaded again by the next request"),
            };
            say("Loaded", true, reason, message.to_owned());
            say("Ready", true, reason, message.to_owned());
        }
        Err((reason, message)) => {
            say("Loaded", false, reason, message.clone());
            say("Ready", false, reason, message.clone());
        }
    }
    status.runtime = verdict.resolved.as_ref().ok().cloned();
    status.replicas = u32::from(verdict.loaded.is_ok() && in_memory);
    if let Some(facts) = &verdict.facts {
        status.digest.clone_from(&facts.digest);
        status.memory_bytes = i64::try_from(facts.memory).ok();
    }
    if verdict.loaded.is_ok() && (status.ready_time.is_none() || status.observed_generation != generation) {
        let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
        status.ready_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(second));
    }
    status.observed_generation = generation;
    status
}
