//! The loops of Model and Route: what the resources say reaches the gateway, and what came of it reaches the resources.
//!
//! # Expected flow
//! Both kinds are watched. A change of either makes a new routing table, at most every few milliseconds. Each Model is
//! resolved to a plugin, loaded once to see that it can be, and kept or let go by its scaling; its status says which.
//!
//! # Guarantees
//! A model that could not be loaded for a reason that may pass is tried again, after a pause that grows to a minute. A load that
//! takes long, or never ends, holds up no other model. The status of an object that did not change is not written again.

use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, WatchStreamExt as _, reflector, watcher};
use kube::{Api, Error as KubeError, Resource as _, ResourceExt as _};
use purlin_gateway::{Gateway, ModelKey, ModelState};
use purlin_kernel::api::{API_VERSION, Change, Model, ModelContainer, ModelDevice, Route, set_condition};
use purlin_kernel::shard::Holdings;
use purlin_nn::{Device, LoadOptions};
use purlin_sandbox::contract::Setting;
use purlin_sandbox::{ModelFiles, ModelRequest, Plugin, Stage, StageResolver, Subject};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::access::ApiAccess;
use crate::companion::{Companion, Role};
use crate::containers::{Files, MODEL, Way};
use crate::load::Recipe;
use crate::monitor::{Plan, Watch};
use crate::recommend;
use crate::route::{self, Address};
use crate::served::Served;
use crate::source::{Credentials, Fetched, SourceError, SourceRequest};
use crate::store::Ensured;
use crate::table::{self, Tokens};
use crate::verdict::{Verdict, known, status, tell, was_ready};

/// A request takes at most so long where its model does not say.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Loading takes at most so long.
const LOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// The runtime of models that containers serve, in their status.
const CONTAINERS: &str = "containers";

/// How often the tokens of routes are read again.
const SECRETS: Duration = Duration::from_secs(10);

/// How often monitored models are looked at.
const WATCH: Duration = Duration::from_secs(1);

/// How often a Model that is being worked on is looked at: it may have changed meanwhile.
const LOOK: Duration = Duration::from_secs(2);

/// How often a model that is in memory is looked at again.
const LOADED: Duration = Duration::from_secs(30);

/// How often a model that is elsewhere, or comes when it is asked, is looked at again.
const AWAY: Duration = Duration::from_secs(5);

/// When a model is looked at again whose plugin may be there in a moment.
const SOON: Duration = Duration::from_secs(1);

/// The reason of a model whose plugin may still come.
const AWAITED: &str = "Pending";

/// When files that did not come are asked for again.
const RETRY: Duration = Duration::from_secs(5);

/// How often idle models are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Where the gateway is reached, and what of the work is this process'.
#[derive(Clone, Debug)]
pub struct ServingConfig {
    /// Host and port of the gateway, for the status of routes.
    pub authority: String,
    /// Behind hosts that end in a dot.
    pub domain: String,
    /// In which namespaces it writes. It answers for all.
    pub holdings: Holdings,
    /// Whether a model that asks for a graphics processor is computed on the processor where there is none, and says so.
    pub any_device: bool,
}

/// Brings Model and Route resources to a gateway.
pub struct Serving {
    access: ApiAccess,
    stages: Arc<dyn StageResolver>,
    served: Arc<Served>,
    gateway: Gateway,
    config: ServingConfig,
    /// All Models as they are now, once they are watched.
    models: OnceLock<Store<Model>>,
}

/// Why an attempt failed; it is made again.
#[derive(Debug, thiserror::Error)]
enum ServingError {
    #[error("could not write the status")]
    Status(#[source] Box<KubeError>),
    #[error("could not make the Pods")]
    Pods(#[source] Box<KubeError>),
}

impl Serving {
    /// Loops that do nothing yet.
    pub fn new(
        access: ApiAccess,
        stages: Arc<dyn StageResolver>,
        served: Arc<Served>,
        gateway: Gateway,
        config: ServingConfig,
    ) -> Self {
        Serving { access, stages, served, gateway, config, models: OnceLock::new() }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let serving = Arc::new(self);
        let changed = Arc::new(Notify::new());
        let (models, follow_models) =
            follow(Api::<Model>::all(serving.access.client.clone()), changed.clone());
        let _ = serving.models.set(models.clone());
        let (routes, follow_routes) =
            follow(Api::<Route>::all(serving.access.client.clone()), changed.clone());
        let control = {
            let (ending, client) = (stop.clone(), serving.access.client.clone());
            let pods = watcher::Config::default().labels(MODEL);
            let controller = Controller::new(Api::<Model>::all(client.clone()), watcher::Config::default())
                .owns(Api::<Pod>::all(client), pods)
                .reconcile_all_on(regained(&serving.config.holdings))
                .reconcile_all_on(regrouped(&serving.served))
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
            () = serving.served.containers.scale() => {}
            () = serving.watch() => {}
            () = serving.served.samples.take(&serving.served, &serving.access.client, &serving.config.holdings) => {}
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
                    self.served.store.sweep();
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
            let api: Api<Secret> = Api::namespaced(self.access.client.clone(), &namespace);
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

    /// Whether a Model is gone, or another one by now.
    fn is_past(&self, model: &Model) -> bool {
        let Some(models) = self.models.get() else { return false };
        let present = models.get(&ObjectRef::from_obj(model));
        present.is_none_or(|present| is_later(&present, model))
    }

    fn forget_the_gone(&self, models: &Store<Model>) {
        for key in self.served.keys() {
            let reference = ObjectRef::<Model>::new(&key.name).within(&key.namespace);
            if models.get(&reference).is_none() {
                self.served.remove(&key);
            }
        }
    }

    async fn tell_route(&self, route: &Route, problem: Option<&str>) {
        if !self.config.holdings.holds_namespace(&route.namespace().unwrap_or_default()) {
            return;
        }
        let address = Address { domain: &self.config.domain, authority: &self.config.authority };
        let status = route::status(route, &address, problem, Timestamp::now());
        if route.status.as_ref() == Some(&status) {
            return;
        }
        let namespace = route.namespace().unwrap_or_default();
        let api: Api<Route> = Api::namespaced(self.access.writer.clone(), &namespace);
        let patch = Patch::Merge(json!({"status": status}));
        match api.patch_status(&route.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => {}
            Err(KubeError::Api(status)) if status.code == 404 => {}
            Err(error) => {
                tracing::warn!(route = %route.name_any(), %error, "the status of a route could not be written");
            }
        }
    }

    /// Compares what monitored models are asked, now and then.
    async fn watch(&self) {
        let mut ticks = tokio::time::interval(WATCH);
        loop {
            ticks.tick().await;
            for watch in self.served.store.watches() {
                watch.compare().await;
            }
        }
    }

    /// Resolves a model, and loads it or makes its Pods.
    async fn serve(&self, model: &Arc<Model>) -> Result<Verdict, ServingError> {
        let served = &self.served;
        let key = ModelKey::new(model.namespace().unwrap_or_default(), model.name_any());
        if let Some(container) = &model.spec.container {
            served.store.remove(&key);
            served.companions.remove(&key);
            return self.contain(&key, model, container).await;
        }
        served.containers.remove(&key);
        match (&model.spec.explains, &model.spec.transforms) {
            (None, None) => {}
            (Some(explains), None) => {
                served.store.remove(&key);
                return Ok(self.explain(key, model, explains).await);
            }
            (None, Some(transforms)) => {
                served.store.remove(&key);
                return Ok(self.transform(key, model, transforms));
            }
            (Some(_), Some(transforms)) => {
                served.remove(&key);
                let message = format!(
                    "spec.transforms: {transforms:?}: a Model transforms or explains another, not both"
                );
                return Ok(Verdict::failed(
                    Err(("InvalidSpec", message.clone())),
                    "InvalidSpec",
                    message,
                    None,
                ));
            }
        }
        served.companions.remove(&key);
        Ok(self.load(&key, model).await)
    }

    /// What lies at a model's source, where it has one.
    async fn fetched(&self, model: &Model) -> Result<Option<Fetched>, SourceError> {
        let credentials = crate::secret::credentials(&self.access.client, model).await?;
        match source(model, credentials) {
            Some(source) => self.served.store.fetch(&source).await.map(Some),
            None => Ok(None),
        }
    }

    async fn explain(&self, key: ModelKey, model: &Model, explains: &str) -> Verdict {
        let soon = Some(Duration::from_secs(3));
        let (name, plugin) = match self.resolve(Stage::Explainer, model) {
            Ok(found) => found,
            Err((reason, message)) => {
                self.served.companions.remove(&key);
                return Verdict::failed(Err((reason, message.clone())), reason, message, soon);
            }
        };
        let fetched = match self.fetched(model).await {
            Ok(fetched) => fetched,
            Err(error) => return Verdict::not_loaded(Ok(name), &error.into(), RETRY),
        };
        let Recipe { request, options, .. } = recipe(model, Arc::clone(&plugin), None, None);
        let files = fetched.map_or_else(|| Arc::clone(&request.files), |fetched| fetched.files(options));
        let companion = Companion {
            plugin,
            subject: request.subject,
            settings: request.settings,
            model: ModelKey::new(key.namespace.clone(), explains),
            role: Role::Explainer { files, method: request.format, timeout: request.timeout },
        };
        self.served.companions.put(key, companion, &self.served);
        Verdict { resolved: Ok(name), loaded: Ok(()), facts: None, replicas: 1, again: Some(LOADED) }
    }

    fn transform(&self, key: ModelKey, model: &Model, transforms: &str) -> Verdict {
        let refused = |reason, message: String, again| {
            self.served.companions.remove(&key);
            Verdict::failed(Err((reason, message.clone())), reason, message, again)
        };
        let Some(name) = model.spec.runtime.clone() else {
            let message = "spec.runtime: required where there is spec.transforms: name the Plugin".to_owned();
            return refused("InvalidSpec", message, None);
        };
        if transforms == key.name {
            let message = format!("spec.transforms: {transforms:?}: a Model cannot transform itself");
            return refused("InvalidSpec", message, None);
        }
        let awaited = self.stages.awaited();
        let Some(plugin) = self.stages.named(Stage::Transformer, &name) else {
            if awaited {
                return refused(AWAITED, "plugins are being loaded".to_owned(), Some(SOON));
            }
            let message = format!(
                "spec.runtime: no ready Plugin {name:?} is of the stage `transformer`; see `kubectl get plugins`"
            );
            return refused("NoRuntime", message, Some(Duration::from_secs(3)));
        };
        let companion = Companion {
            plugin,
            subject: Subject::object(API_VERSION, "Model", &key.namespace, &key.name),
            settings: model.spec.settings.iter().map(setting).collect(),
            model: ModelKey::new(key.namespace.clone(), transforms),
            role: Role::Transformer,
        };
        self.served.companions.put(key, companion, &self.served);
        Verdict { resolved: Ok(name), loaded: Ok(()), facts: None, replicas: 1, again: Some(LOADED) }
    }

    async fn load(&self, key: &ModelKey, model: &Model) -> Verdict {
        let store = &self.served.store;
        let soon = Some(SOON);
        let (name, plugin) = match self.resolve(Stage::ServingRuntime, model) {
            Ok(found) => found,
            Err((reason, message)) => {
                store.remove(key);
                return Verdict::failed(Err((reason, message.clone())), reason, message, soon);
            }
        };
        let credentials = match crate::secret::credentials(&self.access.client, model).await {
            Ok(credentials) => credentials,
            // What is in memory needs its source no more.
            Err(_) if store.is_loaded(key) => None,
            Err(error) => return Verdict::failed(Ok(name), error.reason, error.message, soon),
        };
        let mut recipe = recipe(model, plugin, self.plan(model), credentials);
        recipe.any_device = self.config.any_device;
        let wanted = recipe.stays;
        let home = self.served.placement.is_home(&table::group(model));
        let here = wanted && home;
        recipe.stays = here;
        store.put(key.clone(), recipe);
        // Whoever answers for the namespace loads it once to see that it can be; after that it stays where it belongs, or
        // requests wake it.
        let untried = !was_ready(model) || matches!(store.state(key), ModelState::Failed(_));
        let tries = untried && self.config.holdings.holds_namespace(&key.namespace);
        let resolved = Ok(name);
        if !here && !tries {
            let replicas = u32::from(store.is_loaded(key) || (wanted && !home));
            return Verdict { resolved, loaded: Ok(()), facts: None, replicas, again: Some(AWAY) };
        }
        match store.ensure(key).await {
            Some(Ensured::Loaded(facts)) => {
                Verdict { resolved, loaded: Ok(()), facts: Some(facts), replicas: 1, again: Some(LOADED) }
            }
            Some(Ensured::Loading { since, progress }) => Verdict::loading(resolved, since, progress),
            Some(Ensured::Failed(failure, pause)) => Verdict::not_loaded(resolved, &failure, pause),
            None => Verdict::failed(resolved, "Progressing", "the model is being replaced".to_owned(), soon),
        }
    }

    /// How a model's files come to its containers.
    async fn files(&self, key: &ModelKey, model: &Model) -> Result<Option<Files>, SourceError> {
        let Some(source) = &model.spec.source else { return Ok(None) };
        // All replicas have the same files: the source is not asked again for each look at the model.
        if let Some(files) = self.served.containers.files(key, model.metadata.generation) {
            return Ok(Some(files));
        }
        match self.served.containers.way(&source.uri) {
            Way::Here => {
                let Some(fetched) = self.fetched(model).await? else { return Ok(None) };
                let folder = fetched.folder().await.map_err(|error| {
                    SourceError::passing(format!("{}: the files cannot be put together: {error}", source.uri))
                })?;
                Ok(Some(Files::Folder(folder)))
            }
            Way::Claim { name, path } => Ok(Some(Files::Claim { name, path })),
            Way::Image(image) => {
                Ok(Some(Files::Fetched { image, uri: source.uri.clone(), secret: source.secret.clone() }))
            }
            Way::None => Err(SourceError {
                reason: "SourceUnsupported",
                passing: false,
                message: format!(
                    "spec.source.uri: {} can be fetched for containers only where the gateway knows an image that does \
                     it (--fetch-image)",
                    source.uri
                ),
            }),
        }
    }

    async fn contain(
        &self,
        key: &ModelKey,
        model: &Arc<Model>,
        container: &ModelContainer,
    ) -> Result<Verdict, ServingError> {
        let containers = &self.served.containers;
        if let Some(problem) = crate::containers::problem(container) {
            containers.remove(key);
            let reason = "InvalidSpec";
            return Ok(Verdict::failed(Err((reason, problem.clone())), reason, problem, None));
        }
        let files = match self.files(key, model).await {
            Ok(files) => files,
            Err(error) => return Ok(Verdict::not_loaded(Ok(CONTAINERS.to_owned()), &error.into(), RETRY)),
        };
        let observed = match containers.serve(key, model, files).await {
            Ok(observed) => observed,
            // What the API server says of the Pod is what the user must hear.
            Err(KubeError::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
                let message = format!("spec.container.template: {}", status.message);
                let again = Some(Duration::from_secs(10));
                return Ok(Verdict::failed(Ok(CONTAINERS.to_owned()), "PodRefused", message, again));
            }
            Err(error) => return Err(ServingError::Pods(Box::new(error))),
        };
        if let Some((reason, message)) = &observed.held {
            let message = format!("Pods of the description before go on answering: {message}");
            self.access.events.tell(&**model, true, known(reason), &message);
        }
        let resolved = Ok(CONTAINERS.to_owned());
        let again = Some(Duration::from_secs(5));
        let asleep = observed.desired == 0 && was_ready(model);
        if observed.ready > 0 || asleep {
            let replicas = observed.ready;
            return Ok(Verdict { resolved, loaded: Ok(()), facts: None, replicas, again });
        }
        let (reason, message) = match observed.trouble {
            Some((reason, message)) => (known(&reason), message),
            None => ("Progressing", format!("none of {} replicas can answer yet", observed.desired.max(1))),
        };
        Ok(Verdict::failed(resolved, reason, message, again))
    }

    /// What is known of a monitored model's requests.
    fn drift(&self, key: &ModelKey, model: &Model) -> Option<Change<'static>> {
        let monitoring = model.spec.monitoring.as_ref()?;
        let (status, reason, message) = match self.served.store.watch(key) {
            None => {
                let method = &monitoring.method;
                let message = format!("spec.monitoring.method: no ready Plugin monitors by {method:?}");
                (None, "NoMonitor", message)
            }
            Some(watch) => match watch.latest() {
                None => {
                    let (have, wanted) = watch.progress();
                    (None, "Collecting", format!("{have} of {wanted} rows were seen"))
                }
                Some(Ok(report)) if report.drift => (Some(true), "DriftDetected", report.summary),
                Some(Ok(report)) => (Some(false), "NoDrift", report.summary),
                Some(Err(error)) => (None, "MonitorFailed", error),
            },
        };
        Some(Change { kind: "Drift", status, reason, message, generation: model.metadata.generation })
    }

    /// How a model's requests are watched; none where it says nothing, or no plugin has the method.
    fn plan(&self, model: &Model) -> Option<Plan> {
        let monitoring = model.spec.monitoring.as_ref()?;
        let runtime = monitoring.runtime.as_deref();
        let (_, plugin) = self.stages.by_format(Stage::Monitor, runtime, &monitoring.method)?;
        let subject =
            Subject::object(API_VERSION, "Model", &model.namespace().unwrap_or_default(), &model.name_any());
        // One plugin may have several methods.
        let method = Setting { name: "method".to_owned(), value: monitoring.method.clone() };
        let own = monitoring.settings.iter().filter(|setting| setting.name != "method").map(setting);
        Some(Plan {
            plugin,
            subject,
            settings: std::iter::once(method).chain(own).collect(),
            reference: monitoring.reference_rows as usize,
            window: monitoring.window_rows as usize,
        })
    }

    fn resolve(&self, stage: Stage, model: &Model) -> Result<(String, Arc<Plugin>), (&'static str, String)> {
        let Some(format) = &model.spec.format else {
            return Err(("InvalidSpec", "spec.format: required where there is no spec.container".to_owned()));
        };
        let runtime = model.spec.runtime.as_deref();
        // Asked before: what is loaded in between is found.
        let awaited = self.stages.awaited();
        self.stages.by_format(stage, runtime, &format.name).ok_or_else(|| match runtime {
            _ if awaited => (AWAITED, "plugins are being loaded".to_owned()),
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

/// Whether a Model as it is now asks for something else than it did.
fn is_later(present: &Model, model: &Model) -> bool {
    present.uid() != model.uid() || present.metadata.generation > model.metadata.generation
}

/// An item whenever this process got more to write in.
fn regained(holdings: &Holdings) -> impl Stream<Item = ()> + Send + Sync + use<> {
    changes(holdings.terms())
}

/// An item whenever a gateway came or went.
fn regrouped(served: &Served) -> impl Stream<Item = ()> + Send + Sync + use<> {
    changes(served.placement.gateways())
}

/// An item whenever a value changes; none where there is no value.
fn changes<T: Send + Sync + 'static>(
    value: Option<watch::Receiver<T>>,
) -> impl Stream<Item = ()> + Send + Sync + use<T> {
    futures::stream::unfold(value, async |value| {
        let mut value = match value {
            Some(value) => value,
            None => std::future::pending().await,
        };
        value.changed().await.ok()?;
        Some(((), Some(value)))
    })
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

fn setting(setting: &purlin_kernel::api::Setting) -> Setting {
    Setting { name: setting.name.clone(), value: setting.value.clone() }
}

/// Where a model's files are.
fn source(model: &Model, credentials: Option<Credentials>) -> Option<SourceRequest> {
    let source = model.spec.source.as_ref()?;
    Some(SourceRequest { uri: source.uri.clone(), digest: source.digest.clone(), credentials })
}

fn recipe(
    model: &Model,
    plugin: Arc<Plugin>,
    plan: Option<Plan>,
    credentials: Option<Credentials>,
) -> Recipe {
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
        source: source(model, credentials),
        options,
        stays: spec.scaling.min_replicas > 0,
        idle: Duration::from_secs(u64::from(spec.scaling.idle_seconds)),
        watch: plan.map(Watch::new),
        any_device: false,
    }
}

async fn reconcile(model: Arc<Model>, serving: Arc<Serving>) -> Result<Action, ServingError> {
    let key = ModelKey::new(model.namespace().unwrap_or_default(), model.name_any());
    if model.meta().deletion_timestamp.is_some() {
        serving.served.remove(&key);
        return Ok(Action::await_change());
    }
    let verdict = {
        let mut serve = pin!(serving.serve(&model));
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                verdict = &mut serve => break verdict?,
                // Files for containers and companions may take minutes to come. Nobody waits for those of a Model that is gone or
                // has changed.
                _ = looks.tick() => if serving.is_past(&model) {
                    return Ok(Action::requeue(Duration::from_secs(1)));
                }
            }
        }
    };
    // That a process has just begun says nothing of what could answer before.
    if matches!(verdict.resolved, Err((AWAITED, _))) && was_ready(&model) {
        return Ok(Action::requeue(SOON));
    }
    let mut fresh = status(&model, &verdict, Timestamp::now());
    if let Some(change) = serving.drift(&key, &model) {
        set_condition(&mut fresh.conditions, change, Timestamp::now());
    }
    if let Some(recommended) = serving.served.samples.recommendation(&key)
        && recommend::differs(fresh.recommendation.as_ref(), &recommended)
    {
        fresh.recommendation = Some(recommended);
    }
    let changed = model.status.as_ref() != Some(&fresh);
    if changed && serving.config.holdings.holds_namespace(&key.namespace) {
        let api: Api<Model> = Api::namespaced(serving.access.writer.clone(), &key.namespace);
        let patch = Patch::Merge(json!({"status": fresh}));
        match api.patch_status(&key.name, &PatchParams::default(), &patch).await {
            Ok(_) => tell(&serving.access.events, &model, &fresh),
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

#[cfg(test)]
mod tests {
    use purlin_kernel::api::{Model, ModelSpec};

    use super::is_later;

    #[test]
    fn a_model_is_another_one_by_its_generation_or_its_identity() {
        let model = |uid: &str, generation| {
            let mut model = Model::new("m", ModelSpec::default());
            (model.metadata.uid, model.metadata.generation) = (Some(uid.to_owned()), Some(generation));
            model
        };
        let loading = model("one", 2);
        assert!(!is_later(&loading, &loading));
        assert!(is_later(&model("one", 3), &loading));
        assert!(is_later(&model("other", 1), &loading));
        // What is watched elsewhere may come late.
        assert!(!is_later(&model("one", 1), &loading));
    }
}
