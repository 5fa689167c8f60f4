//! Puts the loops together and runs them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use kube::{Client, Error as KubeError};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{API_VERSION, crds};
use crate::cache::{Cache, CacheError, ChangeEvent, Kind, Subscriber, Subscription, discover};
use crate::dialect::DialectEngine;
use crate::event::{EventRecorder, EventWriter, recorder};
use crate::experiment::ExperimentLoop;
use crate::expression::Conditions;
use crate::key::{Gvk, ObjectKey, controller_of};
use crate::measure::push::PushKey;
use crate::observe::{KernelMetrics, ShardMetrics};
use crate::plugin::{DefinitionError, InstalledPlugins, PluginLoop, Policies, PolicyLoop, install};
use crate::queue::{Backoff, WorkQueue};
use crate::quota::QuotaLoop;
use crate::reconcile::{self, Reconciler};
use crate::shard::fence::Writers;
use crate::shard::{Domain, Holdings};
use crate::stage::PluginSource;
use crate::trial::{PushConfig, TrialLoop};

/// Where the kernel keeps what is its own.
pub const NAMESPACE: &str = "purlin-system";
/// The Secret that holds the key of push tokens.
const PUSH_SECRET: &str = "purlin-metrics-key";
/// Keys that a loop's queue holds.
const QUEUE: usize = 100_000;
/// Said by a replica that does not install the definitions, while they are not there.
const AWAITED: &str = "waiting for the kernel's CustomResourceDefinitions: the leader installs them, or a person with \
                       `purlin crds | kubectl apply --server-side -f -`";
/// How often the kernel looks again whether it can install its definitions, or somebody has.
const DEFINED_AGAIN: Duration = Duration::from_millis(500);

/// What a kernel is made of.
pub struct Config {
    /// The API server, with the rights of the kernel.
    pub client: Client,
    /// Where plugins come from and how they are run.
    pub plugins: Arc<dyn PluginSource>,
    /// Scheme, host and port under which Pods reach [`push_router`](crate::measure::push::push_router); without it no
    /// trial is told where to push.
    pub push_url: Option<String>,
    /// Where the kernel keeps what is its own, such as [`NAMESPACE`].
    pub namespace: String,
    /// The key of push tokens; without it one is kept in the Secret `purlin-metrics-key` of the kernel's namespace.
    pub push_key: Option<PushKey>,
    /// Objects of one kind that are worked on at the same time.
    pub workers: usize,
    /// What this replica has of the work; everything, where there are no others.
    pub holdings: Holdings,
    /// Whether the kernel installs its own definitions. Where it does not, it waits for them.
    pub install_definitions: bool,
}

/// Why the kernel could not start.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Its own definitions could not be installed.
    #[error("could not install the kernel's resources")]
    Definitions(#[from] DefinitionError),
    /// Its own kinds cannot be watched.
    #[error("could not watch the kernel's resources")]
    Watch(#[source] Box<CacheError>),
    /// The key of push tokens could not be read or made.
    #[error("could not keep the key of metrics tokens in Secret {namespace}/{PUSH_SECRET}")]
    PushKey {
        /// The kernel's namespace.
        namespace: String,
        /// What went wrong.
        #[source]
        source: KubeError,
    },
    /// The Secret has no key.
    #[error("Secret {0}/{PUSH_SECRET} has no entry `key`: delete it, and the kernel makes another")]
    PushKeyMissing(String),
}

impl From<CacheError> for KernelError {
    fn from(error: CacheError) -> Self {
        KernelError::Watch(Box::new(error))
    }
}

/// Tells whether the kernel does its work.
#[derive(Clone, Debug)]
pub struct Readiness(tokio::sync::watch::Receiver<bool>);

impl Readiness {
    /// Whether every loop runs on a complete cache.
    pub fn is_ready(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it does. Returns false where the kernel ended before.
    pub async fn ready(&mut self) -> bool {
        self.0.wait_for(|ready| *ready).await.is_ok()
    }
}

/// Reconciles the generic resources and runs plugins.
pub struct Kernel {
    config: Config,
    metrics: KernelMetrics,
    installed: Arc<InstalledPlugins>,
    ready: tokio::sync::watch::Sender<bool>,
    policies: HeldPolicies,
    writers: Writers,
    events: EventRecorder,
    /// Until it runs.
    event_writer: Option<EventWriter>,
}

/// The policies that hold, for whoever shows what they make of a plugin.
#[derive(Clone, Default)]
pub struct HeldPolicies(Arc<OnceLock<Arc<Policies>>>);

impl HeldPolicies {
    /// All rules, with their keys read; nothing before the kernel watches policies.
    pub async fn current(&self) -> Option<Arc<purlin_registry::Policy>> {
        let policies = self.0.get()?;
        Some(policies.current().await.0)
    }
}

impl Kernel {
    /// A kernel that does nothing yet.
    pub fn new(config: Config, registry: &mut Registry) -> Self {
        let metrics = KernelMetrics::register(registry);
        let (events, event_writer) = recorder(config.client.clone(), metrics.clone());
        Kernel {
            writers: Writers::new(&config.client, &config.holdings, metrics.writes_fenced()),
            config,
            metrics,
            installed: Arc::new(InstalledPlugins::default()),
            ready: tokio::sync::watch::Sender::new(false),
            policies: HeldPolicies::default(),
            events,
            event_writer: Some(event_writer),
        }
    }

    /// A client for loops beside the kernel's own: it writes in the namespaces that this replica holds, and an attempt to write
    /// elsewhere is an error. It reads anywhere.
    pub fn writer(&self) -> Client {
        self.writers.of_namespace.clone()
    }

    /// Where such loops say what became of objects. What they say is written while the kernel runs.
    pub fn events(&self) -> EventRecorder {
        self.events.clone()
    }

    /// Tells whether the kernel does its work.
    pub fn readiness(&self) -> Readiness {
        Readiness(self.ready.subscribe())
    }

    /// Finds loaded plugins, for calls from one plugin to another: give it to the sandbox.
    pub fn stages(&self) -> Arc<dyn purlin_sandbox::StageResolver> {
        self.installed.clone()
    }

    /// The policies by which plugins are judged.
    pub fn policies(&self) -> HeldPolicies {
        self.policies.clone()
    }

    /// The metrics of the election that shares out the work.
    pub fn shard_metrics(&self) -> ShardMetrics {
        self.metrics.shards()
    }

    /// The key of push tokens: the configured one, or the one in the Secret, which is made where there is none.
    ///
    /// # Errors
    /// The Secret can be neither read nor made.
    pub async fn push_key(&self) -> Result<PushKey, KernelError> {
        match &self.config.push_key {
            Some(key) => Ok(key.clone()),
            None => keep_push_key(&self.config.client, &self.config.namespace).await,
        }
    }

    /// Installs the kernel's resources and runs every loop until `stop`. Passes in progress are finished.
    ///
    /// # Expected flow
    /// Definitions first, then the shared watches, then the loops. A replica that holds nothing watches all the same,
    /// so that it can go on at once where another ends.
    ///
    /// # Errors
    /// The definitions could not be installed or the kinds not be watched. Once the loops run, nothing ends them but
    /// `stop`: what fails is tried again.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), KernelError> {
        let client = self.config.client.clone();
        tokio::select! {
            defined = self.define() => defined?,
            () = stop.cancelled() => return Ok(()),
        }
        let push = match &self.config.push_url {
            Some(url) => Some(PushConfig { url: url.clone(), key: self.push_key().await? }),
            None => None,
        };
        let watches = stop.child_token();
        let _ends_watches = watches.clone().drop_guard();
        let cache = Cache::new(client.clone(), self.metrics.clone(), watches);
        let mut tasks = JoinSet::new();
        if let Some(writer) = self.event_writer.take() {
            let writing = stop.clone();
            tasks.spawn(async move { writer.run(writing).await });
        }
        let loops = self.start(&cache, push, &mut tasks).await?;
        for subscription in &loops.subscriptions {
            tokio::select! {
                () = subscription.kind().synced() => {}
                () = stop.cancelled() => {}
            }
        }
        let (opening, whole, end) = (self.config.holdings.clone(), cache.clone(), stop.clone());
        tasks.spawn(async move { opening.open_parts(|| whole.refresh(), end).await });
        self.ready.send_replace(true);
        tracing::info!("kernel ready");
        stop.cancelled().await;
        self.ready.send_replace(false);
        for queue in &loops.queues {
            queue.shut_down();
        }
        loops.plugins.stop().await;
        drop(loops);
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    /// Installs the kernel's definitions, if this replica is to and leads; else waits until they are there.
    async fn define(&self) -> Result<(), KernelError> {
        let Config { client, holdings, install_definitions, .. } = &self.config;
        let definitions: Vec<_> = crds().iter().filter_map(|crd| serde_json::to_value(crd).ok()).collect();
        let mut said = String::new();
        loop {
            if *install_definitions && holdings.holds(Domain::Leader) {
                match install(client, "purlin-kernel", &definitions).await {
                    // Another server's trouble passes; alone in a process with the server, it is a fault.
                    Err(error) if holdings.is_shared() => {
                        let error = crate::report(&error);
                        if error != said {
                            tracing::warn!(error, "definitions not installed; trying again");
                            said = error;
                        }
                    }
                    installed => return Ok(installed?),
                }
            } else if served(client).await {
                return Ok(());
            } else if said != AWAITED {
                tracing::warn!("{AWAITED}");
                AWAITED.clone_into(&mut said);
            }
            tokio::time::sleep(DEFINED_AGAIN).await;
        }
    }

    async fn start(
        &self,
        cache: &Cache,
        push: Option<PushConfig>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Loops, KernelError> {
        let queue =
            |controller: &str| WorkQueue::new(QUEUE, Backoff::default(), self.metrics.queue(controller));
        let (plugins, experiments, trials) = (queue("plugin"), queue("experiment"), queue("trial"));
        let (policies, quotas) = (queue("pluginpolicy"), queue("resourcequota"));
        let watch_of = async |kind: Gvk, subscriber: Arc<dyn Subscriber>| {
            let subscription = cache.subscribe(&kind, subscriber).await?;
            let kind: Arc<Kind> = subscription.kind().clone();
            Ok::<_, CacheError>((subscription, kind))
        };
        let watch = async |kind, subscriber| watch_of(Gvk::new(API_VERSION, kind), subscriber).await;
        let (of_plugins, plugin_kind) = watch("Plugin", Arc::new(Itself(plugins.clone()))).await?;
        let (of_policies, policy_kind) = watch("PluginPolicy", Arc::new(Itself(policies.clone()))).await?;
        let (of_quotas, quota_kind) =
            watch_of(Gvk::new("v1", "ResourceQuota"), Arc::new(Itself(quotas.clone()))).await?;
        let (of_experiments, experiment_kind) =
            watch("Experiment", Arc::new(Itself(experiments.clone()))).await?;
        let (of_trials, trial_kind) = watch("Trial", Arc::new(Itself(trials.clone()))).await?;
        let (to_experiments, _) = watch("Trial", Arc::new(ToExperiment(experiments.clone()))).await?;
        let conditions = Arc::new(Conditions::default());
        let Config { client, holdings, .. } = &self.config;
        let (writers, events) = (&self.writers, &self.events);
        let dialects = DialectEngine {
            writers: writers.clone(),
            holdings: holdings.clone(),
            cache: cache.clone(),
            events: events.clone(),
            metrics: self.metrics.clone(),
            installed: self.installed.clone(),
            workers: self.config.workers,
        };
        let quota_loop = Arc::new(QuotaLoop::new(
            writers.of_namespace.clone(),
            quota_kind,
            self.config.plugins.clone(),
            events.clone(),
            holdings.clone(),
        ));
        let held = Arc::new(Policies::new(client.clone(), policy_kind, self.config.plugins.clone()));
        // A kernel runs once: nobody was there before.
        let _ = self.policies.0.set(held.clone());
        let policy_loop = Arc::new(PolicyLoop::new(
            writers.of_leader.clone(),
            held.clone(),
            plugin_kind.clone(),
            plugins.clone(),
            events.clone(),
            holdings.clone(),
        ));
        self.installed.watch(plugin_kind.clone());
        let plugin_loop = Arc::new(PluginLoop::new(plugin_kind, plugins.clone(), held, dialects));
        let experiment_loop = Arc::new(ExperimentLoop::new(
            writers.of_namespace.clone(),
            experiment_kind,
            trial_kind.clone(),
            self.installed.clone(),
            conditions.clone(),
            events.clone(),
        ));
        let trial_loop = Arc::new(TrialLoop::new(
            writers.of_namespace.clone(),
            cache.clone(),
            trial_kind,
            conditions,
            push,
            events.clone(),
            trials.clone(),
        ));
        // Plugins are few, and compiling one is long: a worker each for some keeps one from holding up the rest.
        self.work(tasks, 4, &plugins, &plugin_loop);
        self.work(tasks, 1, &policies, &policy_loop);
        self.work(tasks, 1, &quotas, &quota_loop);
        self.work(tasks, self.config.workers, &experiments, &experiment_loop);
        self.work(tasks, self.config.workers, &trials, &trial_loop);
        Ok(Loops {
            queues: [plugins, policies, quotas, experiments, trials],
            plugins: plugin_loop,
            subscriptions: vec![
                of_plugins,
                of_policies,
                of_quotas,
                of_experiments,
                of_trials,
                to_experiments,
            ],
        })
    }

    fn work<R: Reconciler<Key = ObjectKey>>(
        &self,
        tasks: &mut JoinSet<()>,
        workers: usize,
        queue: &Arc<WorkQueue<ObjectKey>>,
        reconciler: &Arc<R>,
    ) {
        reconcile::spawn(tasks, workers, queue, reconciler, &self.config.holdings, &self.metrics);
    }
}

struct Loops {
    queues: [Arc<WorkQueue<ObjectKey>>; 5],
    plugins: Arc<PluginLoop>,
    subscriptions: Vec<Subscription>,
}

/// Queues an object itself.
struct Itself(Arc<WorkQueue<ObjectKey>>);

#[async_trait]
impl Subscriber for Itself {
    async fn changed(&self, change: &ChangeEvent) {
        self.0.add(change.object.key().clone()).await;
    }
}

/// Queues the Experiment of a Trial.
struct ToExperiment(Arc<WorkQueue<ObjectKey>>);

#[async_trait]
impl Subscriber for ToExperiment {
    async fn changed(&self, change: &ChangeEvent) {
        if let Some(("Experiment", name, _)) = controller_of(change.object.object()) {
            self.0.add(ObjectKey::new(change.object.key().namespace.clone(), name)).await;
        }
    }
}

/// Whether the server serves all of the kernel's kinds.
async fn served(client: &Client) -> bool {
    for crd in crds() {
        let names = &crd.spec.names;
        if discover(client, &Gvk::new(API_VERSION, &names.kind)).await.is_err() {
            return false;
        }
    }
    true
}

/// Reads the key from its Secret; makes it, where there is none.
async fn keep_push_key(client: &Client, own: &str) -> Result<PushKey, KernelError> {
    let failed = |source| KernelError::PushKey { namespace: own.to_owned(), source };
    let missing = || KernelError::PushKeyMissing(own.to_owned());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), own);
    let read = async || -> Result<Option<PushKey>, KernelError> {
        let Some(secret) = secrets.get_opt(PUSH_SECRET).await.map_err(failed)? else { return Ok(None) };
        let key = secret.data.and_then(|mut data| data.remove("key")).filter(|key| !key.0.is_empty());
        key.map(|key| Some(PushKey::new(key.0))).ok_or_else(missing)
    };
    if let Some(key) = read().await? {
        return Ok(key);
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(own.to_owned()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    match namespaces.create(&PostParams::default(), &namespace).await {
        // Whoever may not make namespaces has been given one.
        Err(KubeError::Api(status)) if status.code == 403 => {}
        created => unless_there(created).map_err(failed)?,
    }
    let random: [u8; 32] = rand::random();
    let secret = Secret {
        metadata: ObjectMeta { name: Some(PUSH_SECRET.to_owned()), ..ObjectMeta::default() },
        type_: Some("purlin.dev/metrics-key".to_owned()),
        data: Some([("key".to_owned(), ByteString(STANDARD.encode(random).into_bytes()))].into()),
        ..Secret::default()
    };
    unless_there(secrets.create(&PostParams::default(), &secret).await).map_err(failed)?;
    // Of two kernels that made one at once, one's was kept: read back which.
    read().await?.ok_or_else(missing)
}

/// A thing that is to exist may exist already.
fn unless_there<T>(created: Result<T, KubeError>) -> Result<(), KubeError> {
    match created {
        Ok(_) => Ok(()),
        Err(KubeError::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}
