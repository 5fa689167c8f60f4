//! What becomes of one Model: who serves it, with which files, and how far that is.

use std::sync::Arc;
use std::time::Duration;

use kube::{Error as KubeError, ResourceExt as _};
use purlin_gateway::{ModelKey, ModelState};
use purlin_kernel::api::{API_VERSION, Change, Model, ModelContainer, ModelDevice};
use purlin_kernel::stage::{self, Absent};
use purlin_nn::{Device, LoadOptions};
use purlin_sandbox::contract::Setting;
use purlin_sandbox::{ModelFiles, ModelRequest, Plugin, Stage, Subject};

use super::{Serving, ServingError};
use crate::companion::{Companion, Role};
use crate::containers::{Files, Way};
use crate::load::Recipe;
use crate::monitor::{Plan, Watch};
use crate::source::{Credentials, Fetched, SourceError, SourceRequest};
use crate::store::Ensured;
use crate::table;
use crate::verdict::{Verdict, known, was_ready};

/// A request takes at most so long where its model does not say.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Loading takes at most so long.
const LOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// The runtime of models that containers serve, in their status.
const CONTAINERS: &str = "containers";

/// How often a model that is in memory is looked at again.
const LOADED: Duration = Duration::from_secs(30);

/// How often a model that is elsewhere, or comes when it is asked, is looked at again.
const AWAY: Duration = Duration::from_secs(5);

/// When a model is looked at again whose plugin may be there in a moment.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// The reason of a model whose plugin may still come.
pub(super) const AWAITED: &str = "Pending";

/// When files that did not come are asked for again.
const RETRY: Duration = Duration::from_secs(5);

impl Serving {
    /// Resolves a model, and loads it or makes its Pods.
    pub(super) async fn serve(&self, model: &Arc<Model>) -> Result<Verdict, ServingError> {
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
                return Ok(Verdict::unresolved("InvalidSpec", message, None));
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
                return Verdict::unresolved(reason, message, soon);
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
            Verdict::unresolved(reason, message, again)
        };
        let Some(name) = model.spec.runtime.clone() else {
            let message = "spec.runtime: required where there is spec.transforms: name the Plugin".to_owned();
            return refused("InvalidSpec", message, None);
        };
        if transforms == key.name {
            let message = format!("spec.transforms: {transforms:?}: a Model cannot transform itself");
            return refused("InvalidSpec", message, None);
        }
        let missing = || {
            format!(
                "spec.runtime: no ready Plugin {name:?} is of the stage `transformer`; see `kubectl get plugins`"
            )
        };
        let plugin = match self.found(|| self.stages.named(Stage::Transformer, &name), missing) {
            Ok(plugin) => plugin,
            Err((reason, message)) => return refused(reason, message, Some(SOON)),
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
                return Verdict::unresolved(reason, message, soon);
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
            Some(Ensured::Loading { since, progress }) => {
                let verdict = Verdict::loading(resolved, since, progress);
                // Requests wait for what could answer before, as they do for an idle one: that it comes back is no news.
                match verdict.loaded {
                    Err(("Progressing", _)) if was_ready(model) => Verdict { loaded: Ok(()), ..verdict },
                    _ => verdict,
                }
            }
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
            // The Pods of the description before go on answering.
            return Ok(Verdict::unresolved("InvalidSpec", problem, None));
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
    pub(super) fn drift(&self, key: &ModelKey, model: &Model) -> Option<Change<'static>> {
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
        let missing = || match runtime {
            Some(runtime) => {
                format!("spec.runtime: no ready Plugin {runtime:?} serves the format {:?}", format.name)
            }
            None => format!(
                "spec.format.name: no ready Plugin serves the format {:?}; see `kubectl get plugins`",
                format.name
            ),
        };
        self.found(|| self.stages.by_format(stage, runtime, &format.name), missing)
    }

    /// The plugin that `find` finds, or why there is none.
    fn found<T>(
        &self,
        find: impl Fn() -> Option<T>,
        missing: impl FnOnce() -> String,
    ) -> Result<T, (&'static str, String)> {
        stage::find(find, || self.stages.awaited()).map_err(|absent| match absent {
            Absent::Awaited => (AWAITED, "plugins are being loaded".to_owned()),
            Absent::Missing => ("NoRuntime", missing()),
        })
    }
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
