//! What the API server holds, as last seen: one watch a kind, shared by every loop.
//!
//! A loop asks for a kind with [`Cache::kind`], subscribes to its changes, and reads objects by key, by controller or
//! by label without asking the server. A kind is discovered and watched from the first subscription on, and let go
//! with the last. Objects are kept without `managedFields`.
//!
//! # Guarantees
//! - A subscriber hears of nothing before the first list is complete; then of every object, and of every change after.
//! - A watch that fails (410, a closed connection, a server that is away) is begun again with backoff, and what
//!   changed meanwhile is reported as changes, deletions included.
//!
//! # Caveats
//! The cache is behind the server. A loop that has just written must not take the absence of its write for a fact.

mod object;
mod store;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use kube::api::Api;
use kube::core::discovery::Scope;
use kube::core::{ApiResource, DynamicObject};
use kube::{Client, Error as KubeError};
use tokio_util::sync::CancellationToken;

pub use object::{CachedObject, ParseError, trim};
pub use store::{Selection, Store};

use crate::key::Gvk;
use crate::observe::KernelMetrics;

/// What happened to an object.
#[derive(Clone, Debug)]
pub struct ChangeEvent {
    /// The object, as it is now or as it was last.
    pub object: Arc<CachedObject>,
    /// How it was before, where it was known.
    pub previous: Option<Arc<CachedObject>>,
    /// Whether it is gone.
    pub deleted: bool,
}

/// A loop that wants to hear of changes. The call may wait: it holds the watch back, which is how a full queue slows
/// its source down.
#[async_trait]
pub trait Subscriber: Send + Sync {
    /// An object was added, changed or deleted.
    async fn changed(&self, change: &ChangeEvent);
}

/// Why a kind cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The server does not serve it.
    #[error(
        "the API server serves no {0}: install its CustomResourceDefinition, or correct apiVersion and kind"
    )]
    NoSuchKind(Gvk),
    /// The server could not be asked.
    #[error("could not discover {kind}")]
    Discovery {
        /// What was looked for.
        kind: Gvk,
        /// What went wrong.
        #[source]
        source: KubeError,
    },
    /// The kernel is stopping.
    #[error("the kernel is stopping")]
    Stopping,
}

/// One shared watch a kind.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    kinds: Mutex<HashMap<Gvk, Arc<Kind>>>,
    metrics: KernelMetrics,
    stop: CancellationToken,
}

/// One kind that is watched.
pub struct Kind {
    gvk: Gvk,
    resource: ApiResource,
    namespaced: bool,
    store: RwLock<Store>,
    subscribers: tokio::sync::Mutex<Vec<(u64, Arc<dyn Subscriber>)>>,
    synced: tokio::sync::watch::Sender<bool>,
    /// How often a new list was asked for, and which of these askings the last complete list answers.
    refresh: tokio::sync::watch::Sender<u64>,
    refreshed: tokio::sync::watch::Sender<u64>,
    stop: CancellationToken,
    /// Subscriptions that exist; the kind is let go with the last one.
    users: Mutex<u64>,
}

/// Keeps a kind watched and its subscriber told. Dropping it ends that.
pub struct Subscription {
    kind: Arc<Kind>,
    id: u64,
    cache: std::sync::Weak<Inner>,
}

impl Cache {
    /// An empty cache. Its watches end with `stop`.
    pub fn new(client: Client, metrics: KernelMetrics, stop: CancellationToken) -> Self {
        Cache { inner: Arc::new(Inner { client, kinds: Mutex::new(HashMap::new()), metrics, stop }) }
    }

    /// Watches a kind, if it is not watched yet, and tells `subscriber` of all that is there and all that changes.
    ///
    /// # Errors
    /// The kind is not served, or the server could not be asked.
    pub async fn subscribe(
        &self,
        gvk: &Gvk,
        subscriber: Arc<dyn Subscriber>,
    ) -> Result<Subscription, CacheError> {
        let (kind, id) = loop {
            let kind = self.kind(gvk).await?;
            let mut users = kind.users.lock().unwrap_or_else(PoisonError::into_inner);
            // The last user of this kind may have gone between the two steps; then it is no longer in the map.
            if kind.stop.is_cancelled() {
                if self.inner.stop.is_cancelled() {
                    return Err(CacheError::Stopping);
                }
                continue;
            }
            *users += 1;
            let id = watch::next_id();
            drop(users);
            break (kind, id);
        };
        let subscription = Subscription { kind: kind.clone(), id, cache: Arc::downgrade(&self.inner) };
        // While this lock is held the watch tells nobody anything, so nothing falls between the replay and the rest.
        let mut subscribers = kind.subscribers.lock().await;
        if kind.is_synced() {
            let present = kind.read(Store::all);
            for object in present {
                subscriber.changed(&ChangeEvent { object, previous: None, deleted: false }).await;
            }
        }
        subscribers.push((id, subscriber));
        drop(subscribers);
        Ok(subscription)
    }

    /// Lists every watched kind anew, and returns when all of them hold what the server held when this was called, or
    /// something newer. For a process that was cut off or stopped, whose watches may still be telling it of the past.
    pub async fn refresh(&self) {
        let kinds: Vec<_> = {
            let kinds = self.inner.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.values().cloned().collect()
        };
        futures::future::join_all(kinds.iter().map(|kind| kind.refresh())).await;
    }

    /// A kind that is watched already.
    pub fn watched(&self, gvk: &Gvk) -> Option<Arc<Kind>> {
        self.inner.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(gvk).cloned()
    }

    /// Discovers a kind and begins to watch it.
    async fn kind(&self, gvk: &Gvk) -> Result<Arc<Kind>, CacheError> {
        if let Some(kind) = self.watched(gvk) {
            return Ok(kind);
        }
        let (resource, namespaced) = discover(&self.inner.client, gvk).await?;
        let mut kinds = self.inner.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kind) = kinds.get(gvk) {
            return Ok(kind.clone());
        }
        if self.inner.stop.is_cancelled() {
            return Err(CacheError::Stopping);
        }
        let kind = Arc::new(Kind {
            gvk: gvk.clone(),
            resource,
            namespaced,
            store: RwLock::new(Store::default()),
            subscribers: tokio::sync::Mutex::new(Vec::new()),
            synced: tokio::sync::watch::Sender::new(false),
            refresh: tokio::sync::watch::Sender::new(0),
            refreshed: tokio::sync::watch::Sender::new(0),
            stop: self.inner.stop.child_token(),
            users: Mutex::new(0),
        });
        kinds.insert(gvk.clone(), kind.clone());
        drop(kinds);
        tokio::spawn(watch::run(self.inner.client.clone(), kind.clone(), self.inner.metrics.clone()));
        Ok(kind)
    }
}

/// Asks the server for a kind's resource and scope.
///
/// # Errors
/// The kind is not served, or the server could not be asked.
pub async fn discover(client: &Client, gvk: &Gvk) -> Result<(ApiResource, bool), CacheError> {
    match kube::discovery::pinned_kind(client, &gvk.to_kube()).await {
        Ok((resource, capabilities)) => Ok((resource, capabilities.scope == Scope::Namespaced)),
        Err(KubeError::Discovery(_)) => Err(CacheError::NoSuchKind(gvk.clone())),
        Err(KubeError::Api(status)) if status.code == 404 => Err(CacheError::NoSuchKind(gvk.clone())),
        Err(source) => Err(CacheError::Discovery { kind: gvk.clone(), source }),
    }
}

impl Kind {
    /// What is watched.
    pub fn gvk(&self) -> &Gvk {
        &self.gvk
    }

    /// How the server names it.
    pub fn resource(&self) -> &ApiResource {
        &self.resource
    }

    /// Whether its objects have a namespace.
    pub fn namespaced(&self) -> bool {
        self.namespaced
    }

    /// Whether the first list is complete.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits until the first list is complete. Also returns when the kernel stops.
    pub async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        tokio::select! {
            _ = synced.wait_for(|synced| *synced) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Lists the kind anew. Also returns when the kind is let go.
    async fn refresh(&self) {
        let mut asked = 0;
        self.refresh.send_modify(|number| {
            *number += 1;
            asked = *number;
        });
        let mut refreshed = self.refreshed.subscribe();
        tokio::select! {
            _ = refreshed.wait_for(|number| *number >= asked) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Reads the store under its lock: copy what is needed and come back.
    pub fn read<T>(&self, read: impl FnOnce(&Store) -> T) -> T {
        read(&self.store.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The objects that a selection picks.
    pub fn select(&self, selection: &Selection) -> Vec<Arc<CachedObject>> {
        if let Some(label) = selection.index_label()
            && !self.read(|store| store.has_label_index(label))
        {
            self.write(|store| store.index_label(label));
        }
        self.read(|store| store.select(selection))
    }

    /// The API of this kind, in a namespace where the kind has one.
    pub fn api(&self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        api(client, &self.resource, self.namespaced, namespace)
    }

    fn write<T>(&self, write: impl FnOnce(&mut Store) -> T) -> T {
        write(&mut self.store.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The API of a discovered kind.
pub fn api(
    client: &Client,
    resource: &ApiResource,
    namespaced: bool,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    match (namespaced, namespace) {
        (true, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, resource),
        (true, None) | (false, _) => Api::all_with(client.clone(), resource),
    }
}

impl Subscription {
    /// The kind that this keeps watched.
    pub fn kind(&self) -> &Arc<Kind> {
        &self.kind
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let last = {
            let mut users = self.kind.users.lock().unwrap_or_else(PoisonError::into_inner);
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.kind.stop.cancel();
            }
            *users == 0
        };
        if last {
            if let Some(cache) = self.cache.upgrade() {
                let mut kinds = cache.kinds.lock().unwrap_or_else(PoisonError::into_inner);
                if kinds.get(&self.kind.gvk).is_some_and(|kind| Arc::ptr_eq(kind, &self.kind)) {
                    kinds.remove(&self.kind.gvk);
                }
            }
            return;
        }
        // The list's lock may be held across an await, and dropping cannot wait: a task takes the subscriber out.
        let (kind, id) = (self.kind.clone(), self.id);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { kind.subscribers.lock().await.retain(|(other, _)| *other != id) });
        }
    }
}
