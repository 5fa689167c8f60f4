//! The node: watches the Pods bound to it and gives each a worker. At its start it finds the containers that an
//! earlier host left running, and ends those whose Pods are gone.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::capabilities::{Capabilities, capabilities};
use crate::events::{Recorder, Severity};
use crate::image::ImageSource;
use crate::image_map::ImageMap;
use crate::metrics::Metrics;
use crate::pod::record::claim;
use crate::pod::{Seen, Worker, supervision};
use crate::registration;
use crate::run::Images;

/// Events waiting to be written; more than this and the newest are dropped, so that Pods are never held up.
const EVENT_QUEUE: usize = 4096;

/// What becomes of containers when the node is shut down in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnShutdown {
    /// They go on under their shims and are found again at the next start. The default: a Pod that never restarts
    /// would lose its work otherwise.
    #[default]
    Leave,
    /// They are stopped within their grace period; their Pods are not marked as ended by this.
    Stop,
}

/// What a node needs.
pub struct Config {
    /// The API.
    pub client: Client,
    /// The Node's name.
    pub name: String,
    /// The node's own folder (`<data-dir>/node`).
    pub data_dir: PathBuf,
    /// What stands for images.
    pub image_map: Option<ImageMap>,
    /// Program and arguments that reach [`crate::shim::main`].
    pub shim: Vec<OsString>,
    /// Where Wasm images come from.
    pub images: Arc<dyn ImageSource>,
    /// What becomes of containers at an orderly shutdown.
    pub on_shutdown: OnShutdown,
    /// Where the API server reads logs ([`LogEndpoint`](crate::LogEndpoint)); none where it gets them in process.
    pub log_endpoint: Option<SocketAddr>,
    /// Registered metrics.
    pub metrics: Metrics,
}

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its folder cannot be used.
    #[error("preparing the node's folder {}: {source}; check that it can be written", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
    /// The Node object could not be written.
    #[error("registering the node {name}: {source}")]
    Register {
        /// The node.
        name: String,
        /// What the API said.
        source: kube::Error,
    },
}

/// How long the end of what ran for a Pod that is gone is tried for.
const ENDING: Duration = Duration::from_secs(60);

/// What workers share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) pods_dir: PathBuf,
    pub(crate) shim: Vec<OsString>,
    pub(crate) images: Images,
    pub(crate) capabilities: Capabilities,
    pub(crate) metrics: Metrics,
    events: mpsc::Sender<QueuedEvent>,
}

struct QueuedEvent {
    about: ObjectReference,
    severity: Severity,
    reason: String,
    message: String,
}

impl Shared {
    /// Queues an Event.
    pub(crate) fn tell(&self, about: ObjectReference, severity: Severity, reason: &str, message: String) {
        let event = QueuedEvent { about, severity, reason: reason.to_owned(), message };
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            warn!(reason = event.reason, "an event was dropped: too many are waiting");
        }
    }
}

/// The embedded node.
pub struct Node {
    name: String,
    on_shutdown: OnShutdown,
    log_endpoint: Option<SocketAddr>,
    pub(crate) shared: Arc<Shared>,
    events: tokio::sync::Mutex<mpsc::Receiver<QueuedEvent>>,
}

impl Node {
    /// Prepares a node.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn new(config: Config) -> Result<Self, NodeError> {
        let pods_dir = config.data_dir.join("pods");
        fs::create_dir_all(&pods_dir)
            .and_then(|()| config.data_dir.canonicalize())
            .map_err(|source| NodeError::Folder { path: config.data_dir.clone(), source })
            .map(|data_dir| {
                let capabilities = capabilities();
                let (events, waiting) = mpsc::channel(EVENT_QUEUE);
                let images = Images {
                    map: config.image_map,
                    source: config.images,
                    crun: capabilities.crun.clone(),
                    store: data_dir.join("wasm"),
                };
                let shared = Shared {
                    client: config.client,
                    pods_dir: data_dir.join("pods"),
                    shim: config.shim,
                    images,
                    capabilities,
                    metrics: config.metrics,
                    events,
                };
                Node {
                    name: config.name,
                    on_shutdown: config.on_shutdown,
                    log_endpoint: config.log_endpoint,
                    shared: Arc::new(shared),
                    events: tokio::sync::Mutex::new(waiting),
                }
            })
    }

    /// Runs the node until `stop` is cancelled.
    ///
    /// # Errors
    /// When the Node object cannot be written at the start.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), NodeError> {
        let client = self.shared.client.clone();
        registration::register(&client, &self.name, self.log_endpoint)
            .await
            .map_err(|source| NodeError::Register { name: self.name.clone(), source })?;
        let mut waiting = self.events.lock().await;
        let recorder = Recorder::new(client.clone(), "kubelet", Some(self.name.clone()));
        let write_events = async {
            while let Some(event) = waiting.recv().await {
                recorder.record(event.about, event.severity, &event.reason, &event.message).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = registration::heartbeat(&client, &self.name) => {}
            () = write_events => {}
            () = self.watch_pods() => {}
        }
        if self.on_shutdown == OnShutdown::Stop {
            for (_, containers) in attempts(&self.shared.pods_dir) {
                for dir in containers {
                    let _ = supervision::stop(&dir, 30);
                }
            }
        }
        Ok(())
    }

    async fn watch_pods(&self) {
        let pods: Api<Pod> = Api::all(self.shared.client.clone());
        let config = watcher::Config::default().fields(&format!("spec.nodeName={}", self.name));
        let mut events = watcher(pods, config).default_backoff().boxed();
        let mut workers: HashMap<String, watch::Sender<Seen>> = HashMap::new();
        let mut tasks = JoinSet::new();
        let mut listed = BTreeSet::new();
        loop {
            let event = tokio::select! {
                event = events.try_next() => event,
                Some(ended) = tasks.join_next() => {
                    if let Ok(uid) = ended {
                        workers.remove::<String>(&uid);
                        self.shared.metrics.pods.set(workers.len() as i64);
                    }
                    continue;
                }
            };
            match event {
                Ok(Some(watcher::Event::Init)) => listed.clear(),
                Ok(Some(watcher::Event::InitApply(pod))) => {
                    listed.insert(pod.uid().unwrap_or_default());
                    self.see(pod, &mut workers, &mut tasks);
                }
                Ok(Some(watcher::Event::InitDone)) => self.end_unlisted(&listed, &workers, &mut tasks),
                Ok(Some(watcher::Event::Apply(pod))) => self.see(pod, &mut workers, &mut tasks),
                Ok(Some(watcher::Event::Delete(pod))) => {
                    let uid = pod.uid().unwrap_or_default();
                    match workers.get(&uid).filter(|worker| !worker.is_closed()) {
                        Some(worker) => {
                            worker.send_replace(None);
                        }
                        // Its worker has ended, which may have been before the last that it left behind.
                        None => {
                            let folder = self.shared.pods_dir.join(&uid);
                            tasks.spawn(async move {
                                destroy(&folder).await;
                                uid
                            });
                        }
                    }
                }
                Ok(None) => return,
                Err(error) => warn!(%error, "watching Pods failed; trying again"),
            }
        }
    }

    fn see(&self, pod: Pod, workers: &mut HashMap<String, watch::Sender<Seen>>, tasks: &mut JoinSet<String>) {
        let uid = pod.uid().unwrap_or_default();
        let pod = Arc::new(pod);
        if let Some(worker) = workers.get(&uid) {
            worker.send_replace(Some(pod));
            return;
        }
        let span = info_span!("pod", namespace = pod.namespace(), name = pod.name_any(), uid);
        let worker = Worker::new(self.shared.clone(), pod.clone());
        let (sender, receiver) = watch::channel(Some(pod));
        workers.insert(uid.clone(), sender);
        self.shared.metrics.pods.set(workers.len() as i64);
        tasks.spawn(
            async move {
                worker.run(receiver).await;
                uid
            }
            .instrument(span),
        );
    }

    /// After a list: Pods that are gone have their workers told and their folders ended.
    fn end_unlisted(
        &self,
        listed: &BTreeSet<String>,
        workers: &HashMap<String, watch::Sender<Seen>>,
        tasks: &mut JoinSet<String>,
    ) {
        for (uid, worker) in workers.iter() {
            if !listed.contains(uid) {
                worker.send_replace(None);
            }
        }
        for entry in fs::read_dir(&self.shared.pods_dir).into_iter().flatten().flatten() {
            let uid = entry.file_name().to_string_lossy().into_owned();
            if !listed.contains(&uid) && !workers.contains_key(&uid) {
                info!(uid, "ending what is left of a Pod that is gone");
                // Beside the watch: other Pods do not wait for what is slow to end.
                tasks.spawn(async move {
                    destroy(&entry.path()).await;
                    uid
                });
            }
        }
    }
}

/// The attempts' folders of every Pod.
fn attempts(pods_dir: &Path) -> Vec<(PathBuf, Vec<PathBuf>)> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    list(pods_dir)
        .into_iter()
        .map(|pod| {
            let containers = list(&pod.join("containers"));
            let attempts = containers.iter().flat_map(|container| list(container)).collect();
            (pod, attempts)
        })
        .collect()
}

/// Kills whatever runs in a Pod's folder, waits until it is dead, and removes the folder.
pub(crate) async fn destroy(pod_dir: &Path) {
    let parent = pod_dir.parent().unwrap_or(pod_dir);
    let dirs = attempts(parent)
        .into_iter()
        .find(|(dir, _)| dir == pod_dir)
        .map(|(_, dirs)| dirs)
        .unwrap_or_default();
    let deadline = Instant::now() + ENDING;
    // Held until the folder is gone: a shim that is still on its way must find it taken.
    let mut claims = Vec::new();
    for dir in dirs {
        loop {
            match claim(&dir) {
                Ok(Some(lock)) => {
                    claims.push(lock);
                    break;
                }
                // Repeated: a shim that only just took the lock has not said its pid yet.
                Ok(None) => {
                    if let Err(error) = supervision::stop(&dir, 0) {
                        debug!(dir = %dir.display(), %error, "a container cannot be asked to end");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => debug!(dir = %dir.display(), %error, "a container's folder cannot be taken"),
            }
            if Instant::now() > deadline {
                warn!(dir = %dir.display(), "a container cannot be ended; the next start tries again");
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    // A shim that comes late leaves its lock behind, in a folder that was just emptied.
    loop {
        match fs::remove_dir_all(pod_dir) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => debug!(dir = %pod_dir.display(), %error, "a Pod's folder cannot be removed yet"),
        }
        if Instant::now() > deadline {
            warn!(dir = %pod_dir.display(), "a Pod's folder cannot be removed; the next start tries again");
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
