//! Models that containers serve: Pods of each model's own, as many as its load asks for, and the requests for them.
//!
//! # Expected flow
//! A Model with `spec.container` gets a [`Fleet`]. A request takes the replica that is right for its prompt or has
//! least to do, or waits for one. Each
//! second the load goes to the [`Autoscaler`]; what it wants is made so: Pods are created, or get no more requests and are
//! deleted once they have answered those that they had. A request that finds no replica wakes the model at once.
//!
//! # Guarantees
//! Pods have names by their number, so that two who make the same replica make one. A Pod that ended is deleted and made
//! again. A model that is described otherwise gets other Pods, each of which takes the place of one before it once it
//! answers. What is decided here is kept nowhere: after a restart the Pods that exist are found, and go on answering.

mod autoscale;
mod fleet;
mod pods;
mod prefix;
mod replace;

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Error as KubeError, ResourceExt as _};
use purlin_gateway::{Lease, ModelKey, ModelState};
use purlin_kernel::api::{Balancing, Model, ModelContainer};
use purlin_kernel::shard::Holdings;
use purlin_nn::InferError;
use serde_json::{Value, json};
use tokio::sync::Notify;

use self::autoscale::Autoscaler;
use self::fleet::{Fleet, Spread};
use self::pods::Moves;
pub(crate) use self::pods::{Files, MODEL, problem};
use self::replace::{Plan, Present};
use crate::access::ApiAccess;

/// The annotation of a Model by which a replica that does not make its Pods says that it has requests: a time.
const REQUESTED: &str = "purlin.dev/requested-at";

/// How often the load is measured.
const TICK: Duration = Duration::from_secs(1);

/// A port that was given to a Pod is not given again for so long: the Pod does not listen at once.
const PORT_KEPT: Duration = Duration::from_secs(60);

/// A model that has just come has so long to get ready before its silence counts.
const STARTING: Duration = Duration::from_secs(600);

/// How Pods of models are made here.
#[derive(Clone, Debug, Default)]
pub struct ContainerConfig {
    /// Pods run on this machine: they share its ports, so that each is told one of its own, and find files where this process
    /// put them.
    pub here: bool,
    /// The image of this program, for Pods elsewhere whose files have to be fetched.
    pub fetch_image: Option<String>,
}

/// How a source comes to containers.
pub(crate) enum Way {
    /// Fetched by this process.
    Here,
    /// A claim that the Pod mounts.
    Claim {
        /// Of the claim.
        name: String,
        /// Below its root.
        path: String,
    },
    /// By a container of this image.
    Image(String),
    /// Not at all.
    None,
}

/// What is known of a model's Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Replicas that answer.
    pub(crate) ready: u32,
    /// Replicas that there should be.
    pub(crate) desired: u32,
    /// What keeps a Pod from answering.
    pub(crate) trouble: Option<(String, String)>,
    /// Pods of an earlier description answer, and this, which was not said yet, keeps those of the present one from it.
    pub(crate) held: Option<(String, String)>,
}

/// The models that containers serve.
pub(crate) struct Containers {
    access: ApiAccess,
    config: ContainerConfig,
    holdings: Holdings,
    entries: RwLock<HashMap<ModelKey, Arc<Entry>>>,
    wanted: Arc<Notify>,
    given: Mutex<HashMap<u16, Instant>>,
}

struct Entry {
    model: RwLock<Arc<Model>>,
    files: RwLock<Option<Files>>,
    fleet: Arc<Fleet>,
    scaler: Mutex<Autoscaler>,
    desired: AtomicU32,
    /// One at a time makes and deletes Pods.
    acting: tokio::sync::Mutex<()>,
    since: Instant,
    /// Whether a replica has ever answered.
    seen: AtomicBool,
    /// When the replica that makes its Pods was last told of requests here.
    called: Mutex<Option<Instant>>,
    /// The generation and the reason of what was last said to keep its Pods from being replaced.
    told: Mutex<Option<(Option<i64>, String)>>,
}

impl Containers {
    pub(crate) fn new(access: ApiAccess, config: ContainerConfig, holdings: Holdings) -> Containers {
        Containers {
            access,
            config,
            holdings,
            entries: RwLock::default(),
            wanted: Arc::new(Notify::new()),
            given: Mutex::default(),
        }
    }

    /// How the files at a URI come to containers.
    pub(crate) fn way(&self, uri: &str) -> Way {
        if self.config.here {
            return Way::Here;
        }
        if let Some(claimed) = uri.strip_prefix("pvc://") {
            let (name, path) = claimed.split_once('/').unwrap_or((claimed, ""));
            return Way::Claim { name: name.to_owned(), path: path.trim_matches('/').to_owned() };
        }
        self.config.fetch_image.clone().map_or(Way::None, Way::Image)
    }

    /// How the files of a generation of a model come to its containers, where that is known already.
    pub(crate) fn files(&self, key: &ModelKey, generation: Option<i64>) -> Option<Files> {
        let entry = self.entry(key)?;
        let same =
            entry.model.read().unwrap_or_else(PoisonError::into_inner).metadata.generation == generation;
        entry.files.read().unwrap_or_else(PoisonError::into_inner).clone().filter(|_| same)
    }

    fn entry(&self, key: &ModelKey) -> Option<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn all(&self) -> Vec<(ModelKey, Arc<Entry>)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|(key, entry)| (key.clone(), Arc::clone(entry))).collect()
    }

    /// The models that there are.
    pub(crate) fn keys(&self) -> Vec<ModelKey> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Forgets a model. Its Pods go with the object that owns them.
    pub(crate) fn remove(&self, key: &ModelKey) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Registers a model, or what it has become, and makes its Pods so.
    pub(crate) async fn serve(
        &self,
        key: &ModelKey,
        model: &Arc<Model>,
        files: Option<Files>,
    ) -> Result<Observed, KubeError> {
        let entry = {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            let entry = entries.entry(key.clone()).or_insert_with(|| {
                let seen = model.status.as_ref().is_some_and(|status| {
                    status.observed_generation == model.metadata.generation && status.ready_time.is_some()
                });
                // A model that was never seen to answer gets a replica, so that its user learns whether it can.
                let first = if seen { model.spec.scaling.min_replicas } else { 1 };
                Arc::new(Entry {
                    model: RwLock::new(Arc::clone(model)),
                    files: RwLock::new(None),
                    fleet: Fleet::new(Arc::clone(&self.wanted)),
                    scaler: Mutex::default(),
                    desired: AtomicU32::new(first.max(model.spec.scaling.min_replicas)),
                    acting: tokio::sync::Mutex::default(),
                    since: Instant::now(),
                    seen: seen.into(),
                    called: Mutex::default(),
                    told: Mutex::default(),
                })
            });
            *entry.model.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(model);
            *entry.files.write().unwrap_or_else(PoisonError::into_inner) = files;
            let least = model.spec.scaling.min_replicas.max(u32::from(called(model)));
            entry.desired.fetch_max(least, Ordering::SeqCst);
            Arc::clone(entry)
        };
        self.act(&entry).await
    }

    /// Makes and deletes Pods until there are as many as there should be, where that is this process' work, and says who can
    /// answer.
    async fn act(&self, entry: &Entry) -> Result<Observed, KubeError> {
        let _one = entry.acting.lock().await;
        let model = Arc::clone(&entry.model.read().unwrap_or_else(PoisonError::into_inner));
        let files = entry.files.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(container) = &model.spec.container else {
            return Ok(Observed { ready: 0, desired: 0, trouble: None, held: None });
        };
        let namespace = model.namespace().unwrap_or_default();
        let acts = self.holdings.holds_namespace(&namespace);
        let desired = entry.desired.load(Ordering::SeqCst);
        let api: Api<Pod> = Api::namespaced(self.access.writer.clone(), &namespace);
        let selector = format!("{MODEL}={}", pods::label(&model.name_any()));
        let uid = model.uid();
        let ours = |pod: &Pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == uid.as_ref());
        let mut pods: Vec<Pod> = api.list(&ListParams::default().labels(&selector)).await?.items;
        pods.retain(ours);
        let number = |pod: &Pod| {
            let name = pod.name_any();
            name.rsplit_once('-').and_then(|(_, number)| number.parse::<u32>().ok()).unwrap_or(u32::MAX)
        };
        pods.sort_by_key(number);

        let over = |pod: &&Pod| pods::is_over(pod) && pod.metadata.deletion_timestamp.is_none();
        for pod in pods.iter().filter(over).filter(|_| acts) {
            tracing::info!(pod = %pod.name_any(), "the Pod of a model ended and is made again");
            delete(&api, &pod.name_any()).await?;
        }
        let going = |pod: &Pod| pod.metadata.deletion_timestamp.is_some() || pods::is_over(pod);
        let staying: Vec<&Pod> = pods.iter().filter(|pod| !going(pod)).collect();
        let present: Vec<Present> = staying
            .iter()
            .map(|pod| Present {
                name: pod.name_any(),
                answers: pods::upstream(pod).is_some(),
                current: pods::is_of(pod, &model),
            })
            .collect();
        let plan = if acts { replace::plan(&present, desired as usize) } else { Plan::default() };
        let endpoints = |pod: &&&Pod| Some((pod.name_any(), pods::upstream(pod)?));
        let replicas = staying.iter().filter_map(|pod| endpoints(&pod)).collect();
        let spread = Spread {
            concurrency: model.spec.scaling.concurrency as usize,
            by_prefix: model.spec.balancing == Balancing::PrefixCache,
        };
        entry.fleet.set(replicas, &plan.leave, spread);
        for name in plan.leave.iter().filter(|name| entry.fleet.busy(name) == 0) {
            delete(&api, name).await?;
        }
        let taken: HashSet<u32> = pods.iter().map(number).collect();
        let free = (0..).filter(|index| !taken.contains(index));
        for index in free.take(plan.make) {
            self.create(&api, &model, container, index, files.as_ref()).await?;
        }
        let ready = entry.fleet.ready();
        if ready > 0 {
            entry.seen.store(true, Ordering::SeqCst);
        }
        let trouble = staying.iter().find_map(|pod| pods::trouble(pod));
        let replaced = !present.iter().any(|pod| pod.current && pod.answers);
        let mut current = staying.iter().filter(|pod| replaced && ready > 0 && pods::is_of(pod, &model));
        let held = current.find_map(|pod| pods::trouble(pod)).filter(|(reason, _)| {
            let now = Some((model.metadata.generation, reason.clone()));
            let mut told = entry.told.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *told, now.clone()) != now
        });
        Ok(Observed { ready, desired, trouble, held })
    }

    async fn create(
        &self,
        api: &Api<Pod>,
        model: &Model,
        container: &ModelContainer,
        index: u32,
        files: Option<&Files>,
    ) -> Result<(), KubeError> {
        let mut moves = Moves::new();
        if self.config.here {
            moves.extend(pods::listened(container).into_iter().map(|port| (port, self.port(port))));
        }
        let pod: Value = pods::pod(model, container, index, &moves, files);
        let pod: Pod = serde_json::from_value(pod).map_err(KubeError::SerdeError)?;
        match api.create(&PostParams::default(), &pod).await {
            Ok(_) => Ok(()),
            // Somebody else made it, or its predecessor is not gone yet.
            Err(KubeError::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The port itself if nobody has it, or another one.
    fn port(&self, wanted: u16) -> u16 {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|_, since| since.elapsed() < PORT_KEPT);
        let free = |port: u16| {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
            listener.and_then(|listener| listener.local_addr()).ok().map(|address| address.port())
        };
        let chosen = if given.contains_key(&wanted) { None } else { free(wanted) };
        let other = || (0..16).filter_map(|_| free(0)).find(|port| !given.contains_key(port));
        let port = chosen.or_else(other).unwrap_or(wanted);
        given.insert(port, Instant::now());
        port
    }

    /// Measures loads and scales, until dropped.
    pub(crate) async fn scale(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tick().await,
                () = self.wanted.notified() => self.wake().await,
            }
        }
    }

    async fn tick(&self) {
        for (key, entry) in self.all() {
            let model = Arc::clone(&entry.model.read().unwrap_or_else(PoisonError::into_inner));
            if !self.holdings.holds_namespace(&key.namespace) {
                // The load that decides is that of the replica which makes the Pods; it must know that others have some.
                let load = entry.fleet.load();
                if load.requests > 0 || entry.fleet.is_wanted(idle(&model)) {
                    self.call(&key, &entry, &model).await;
                }
                continue;
            }
            let mut wanted = {
                let mut scaler = entry.scaler.lock().unwrap_or_else(PoisonError::into_inner);
                scaler.tick(entry.fleet.load(), entry.fleet.ready(), &model.spec.scaling)
            };
            let starting = !entry.seen.load(Ordering::SeqCst) && entry.since.elapsed() < STARTING;
            if starting || called(&model) || entry.fleet.is_wanted(idle(&model)) {
                wanted = wanted.max(1);
            }
            let before = entry.desired.swap(wanted, Ordering::SeqCst);
            if before != wanted {
                tracing::info!(model = %key, before, wanted, "scaling");
            }
            // Surplus replicas that have answered all they had are deleted here.
            if before != wanted || entry.fleet.has_leaving() {
                self.act_or_log(&key, &entry).await;
            }
        }
    }

    /// Brings back models that have requests and no replica.
    async fn wake(&self) {
        for (key, entry) in self.all() {
            let model = Arc::clone(&entry.model.read().unwrap_or_else(PoisonError::into_inner));
            if !entry.fleet.is_wanted(idle(&model)) {
                continue;
            }
            if !self.holdings.holds_namespace(&key.namespace) {
                self.call(&key, &entry, &model).await;
            } else if entry.desired.load(Ordering::SeqCst) == 0 {
                entry.desired.store(1, Ordering::SeqCst);
                tracing::info!(model = %key, "waking");
                self.act_or_log(&key, &entry).await;
            }
        }
    }

    /// Tells the replica that makes a model's Pods that there are requests elsewhere: it sees the Model change.
    async fn call(&self, key: &ModelKey, entry: &Entry, model: &Model) {
        {
            let mut called = entry.called.lock().unwrap_or_else(PoisonError::into_inner);
            if called.is_some_and(|at| at.elapsed() < idle(model) / 3) {
                return;
            }
            *called = Some(Instant::now());
        }
        let api: Api<Model> = Api::namespaced(self.access.client.clone(), &key.namespace);
        let now = Timestamp::now().to_string();
        let patch = Patch::Merge(json!({"metadata": {"annotations": {REQUESTED: now}}}));
        if let Err(error) = api.patch(&key.name, &PatchParams::default(), &patch).await {
            tracing::warn!(model = %key, %error, "could not ask for a replica; tried again");
            *entry.called.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    async fn act_or_log(&self, key: &ModelKey, entry: &Entry) {
        if let Err(error) = self.act(entry).await {
            tracing::warn!(model = %key, %error, "the Pods of a model could not be changed; tried again");
        }
    }

    /// A lease, if a replica has room.
    pub(crate) fn try_lease(&self, key: &ModelKey, prompt: &[u64]) -> Option<Lease> {
        self.entry(key)?.fleet.try_lease(prompt)
    }

    /// A lease, once a replica has room; `None` where there is no such model.
    pub(crate) async fn lease(&self, key: &ModelKey, prompt: &[u64]) -> Option<Result<Lease, InferError>> {
        let entry = self.entry(key)?;
        Some(entry.fleet.lease(prompt).await)
    }

    /// A request would have gone to a model.
    pub(crate) fn miss(&self, key: &ModelKey) {
        if let Some(entry) = self.entry(key) {
            entry.fleet.miss();
        }
    }

    /// Whether a model can answer; `None` where there is no such model.
    pub(crate) fn state(&self, key: &ModelKey) -> Option<ModelState> {
        let entry = self.entry(key)?;
        let state = match (entry.fleet.ready(), entry.desired.load(Ordering::SeqCst)) {
            (1.., _) => ModelState::Ready,
            (0, 0) => ModelState::Idle,
            (0, _) => ModelState::Loading,
        };
        Some(state)
    }
}

/// Whether another replica had requests for the model lately.
fn called(model: &Model) -> bool {
    let Some(at) = model.annotations().get(REQUESTED).and_then(|at| at.parse::<Timestamp>().ok()) else {
        return false;
    };
    Timestamp::now().as_second() - at.as_second() < i64::from(model.spec.scaling.idle_seconds)
}

/// How long a model goes without requests before it is idle.
fn idle(model: &Model) -> Duration {
    Duration::from_secs(model.spec.scaling.idle_seconds.into())
}

async fn delete(api: &Api<Pod>, name: &str) -> Result<(), KubeError> {
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(KubeError::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
