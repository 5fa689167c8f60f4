//! The durable store: one log of revisions in SQLite, and the current state of every object in memory.
//!
//! The engine (`crate::engine`) is the only caller. Writes go through one thread that commits many of them with one
//! fsync; reads and watches are served from memory and never touch the database. The store knows keys, revisions,
//! labels and owners, and nothing else about what an object means: it must never look inside a body for a decision.

mod log;
mod object;
mod state;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use log::LogError;
pub(crate) use object::{Draft, Key, Stored};
use state::State;
pub(crate) use state::{Event, EventKind, Expired, Page};
use writer::Command;

/// How many writes may wait for the writer thread before callers wait for room in the queue.
const QUEUE: usize = 1024;
/// How long the history is kept at least, unless the row limit is met earlier.
const HISTORY: Duration = Duration::from_secs(600);

/// What a write wants done, and what it assumes about the object that is there now.
#[derive(Debug)]
pub(crate) enum Change {
    /// Store an object under a name that must be free.
    Create(Draft),
    /// Replace the object whose revision is `expected`.
    Replace {
        /// The revision that the caller read.
        expected: u64,
        /// What to store.
        draft: Draft,
    },
    /// Remove the object whose revision is `expected`.
    Remove {
        /// The revision that the caller read.
        expected: u64,
    },
}

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// A create met an object of the same name.
    #[error("the name is taken")]
    Exists,
    /// A replace or remove met no object.
    #[error("there is no such object")]
    Missing,
    /// A replace or remove met another revision than the one that it was made from.
    #[error("the object has changed")]
    Changed,
    /// The database refused the transaction; nothing of it was stored.
    #[error("writing to the store failed: {0}; free space on the disk and check the file's permissions")]
    Database(Arc<rusqlite::Error>),
    /// The writer thread has ended because the server is being dropped.
    #[error("the store is closed")]
    Closed,
}

/// Numbers for the metrics endpoint.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Transactions committed.
    pub(crate) commits: AtomicU64,
    /// Writes in those transactions.
    pub(crate) writes: AtomicU64,
    /// Watches open now.
    pub(crate) watchers: AtomicU64,
}

/// A handle on the store; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Command>,
}

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    collect: watch::Sender<u64>,
    counters: Counters,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        // A writer that panicked left whole objects behind: publication replaces one `Arc` at a time.
        self.state.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Store {
    /// Opens or creates the database at `path`, reads its log, and starts the writer thread.
    pub(crate) fn open(path: &Path) -> Result<Self, LogError> {
        let log = log::Log::open(path)?;
        let state = log.load()?;
        let shared = Arc::new(Shared {
            state: RwLock::new(state),
            collect: watch::Sender::new(0),
            counters: Counters::default(),
        });
        let (queue, commands) = mpsc::channel(QUEUE);
        writer::start(log, shared.clone(), commands)?;
        Ok(Self { shared, queue })
    }

    /// Applies `change` to `key` and answers after it is on the disk and visible to readers.
    ///
    /// For a removal the answer is the object as it was, at the revision of its removal. Dropping the future does not
    /// take a queued write back.
    pub(crate) async fn write(&self, key: Key, change: Change) -> Result<Arc<Stored>, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Command::Write { key, change, answer }).await.map_err(|_| WriteError::Closed)?;
        answered.await.map_err(|_| WriteError::Closed)?
    }

    /// The newest revision that readers see.
    pub(crate) fn revision(&self) -> u64 {
        self.shared.read().revision()
    }

    /// One object.
    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        self.shared.read().get(resource, namespace, name)
    }

    /// Every object of a resource, in one namespace or in all, in the order of their keys, at the newest revision.
    pub(crate) fn list(&self, resource: &str, namespace: Option<&str>) -> Page {
        self.shared.read().list(resource, namespace)
    }

    /// The same as it was at `revision`; fails when the history no longer reaches back that far.
    pub(crate) fn list_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Page, Expired> {
        self.shared.read().list_at(resource, namespace, revision)
    }

    /// Up to `limit` events of a resource after `revision`, and the revision that the reader has seen with them.
    pub(crate) fn events(
        &self,
        resource: &str,
        revision: u64,
        limit: usize,
    ) -> Result<(Vec<Event>, u64), Expired> {
        self.shared.read().events(resource, revision, limit)
    }

    /// Wakes when the resource has new events. The table is made where the resource has none yet.
    pub(crate) fn subscribe(&self, resource: &str) -> watch::Receiver<u64> {
        if let Some(receiver) = self.shared.read().subscribe(resource) {
            return receiver;
        }
        let mut state = self.shared.state.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        state.subscribe_new(resource)
    }

    /// The keys of objects that name `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Key> {
        self.shared.read().dependents(uid)
    }

    /// Resources that have at least one object.
    pub(crate) fn resources(&self) -> Vec<Arc<str>> {
        self.shared.read().resources()
    }

    /// Wakes when [`Store::take_collectable`] has something.
    pub(crate) fn collectable(&self) -> watch::Receiver<u64> {
        self.shared.collect.subscribe()
    }

    /// What the garbage collector should look at: objects that changed and have owners or await collection, and the
    /// UIDs of removed objects that others name as their owner.
    pub(crate) fn take_collectable(&self) -> (Vec<Key>, Vec<Arc<str>>) {
        let mut state = self.shared.state.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        state.take_collectable()
    }

    /// Asks the writer to drop history older than what it keeps. Called on a timer.
    pub(crate) async fn compact(&self) {
        // A closed queue means that the server is going away: there is nothing left to compact.
        let _ = self.queue.send(Command::Compact { keep: HISTORY }).await;
    }

    /// Numbers for the metrics endpoint.
    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Counts a watch for as long as the answer lives.
    pub(crate) fn watching(&self) -> Watching {
        self.shared.counters.watchers.fetch_add(1, Ordering::Relaxed);
        Watching(self.shared.clone())
    }
}

/// An open watch, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Watching(Arc<Shared>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.counters.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
