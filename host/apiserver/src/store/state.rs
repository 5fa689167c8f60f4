//! What the store holds in memory: the newest version of every object and a bounded history of each resource.
//!
//! A plain state machine with no I/O: the writer feeds it committed events, readers ask it questions under a lock that
//! is held for microseconds. It must never hold an event that is not on the disk.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;

use super::object::{Key, Stored};

/// Events kept a resource; a watcher further behind is told that its resource version is too old.
const EVENTS: usize = 4096;
/// Bytes of bodies that only the history of one resource keeps alive, roughly.
const BYTES: usize = 8 << 20;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// One committed change.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    /// The object after the change; for a removal as it last was, at the revision of the removal.
    pub(crate) object: Arc<Stored>,
    /// The object before the change.
    pub(crate) previous: Option<Arc<Stored>>,
}

impl Event {
    fn revision(&self) -> u64 {
        self.object.revision
    }
}

/// The history no longer reaches back to the revision that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub(crate) struct Expired {
    /// What was asked for.
    pub(crate) asked: u64,
    /// The oldest that can be answered.
    pub(crate) oldest: u64,
}

/// Objects at one revision, in the order of their keys.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) revision: u64,
    pub(crate) items: Vec<Arc<Stored>>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct State {
    revision: u64,
    tables: HashMap<Arc<str>, Table>,
    owners: HashMap<Arc<str>, BTreeSet<Key>>,
    changed: HashSet<Key>,
    orphaned: HashSet<Arc<str>>,
    /// Everything at or before this revision may be missing from any history.
    compacted: u64,
}

#[derive(Debug)]
struct Table {
    items: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Stored>>>,
    history: VecDeque<Event>,
    bytes: usize,
    /// The newest revision that was dropped from the history.
    dropped: u64,
    wake: watch::Sender<u64>,
}

impl Table {
    fn new(dropped: u64) -> Self {
        Self {
            items: BTreeMap::new(),
            history: VecDeque::new(),
            bytes: 0,
            dropped,
            wake: watch::Sender::new(0),
        }
    }

    fn apply(&mut self, event: Event) {
        let key = &event.object.key;
        match event.kind {
            EventKind::Added | EventKind::Modified => {
                self.items
                    .entry(key.namespace.clone())
                    .or_default()
                    .insert(key.name.clone(), event.object.clone());
            }
            EventKind::Deleted => {
                if let Some(names) = self.items.get_mut(&key.namespace) {
                    names.remove(&key.name);
                    if names.is_empty() {
                        self.items.remove(&key.namespace);
                    }
                }
            }
        }
        self.bytes += weight(&event);
        self.history.push_back(event);
        while self.history.len() > EVENTS || self.bytes > BYTES {
            let Some(oldest) = self.history.pop_front() else { break };
            self.bytes -= weight(&oldest);
            self.dropped = self.dropped.max(oldest.revision());
        }
    }

    fn forget(&mut self, through: u64) {
        while self.history.front().is_some_and(|event| event.revision() <= through) {
            if let Some(event) = self.history.pop_front() {
                self.bytes -= weight(&event);
                self.dropped = self.dropped.max(event.revision());
            }
        }
    }
}

fn weight(event: &Event) -> usize {
    event.object.body.len() + 256
}

impl State {
    /// A state to replay the log into; events at or before `compacted` are not kept as history.
    pub(crate) fn new(compacted: u64) -> Self {
        Self { compacted, revision: compacted, ..Self::default() }
    }

    /// Applies one committed event.
    pub(crate) fn apply(&mut self, event: Event) {
        let revision = event.revision();
        self.revision = self.revision.max(revision);
        self.index(&event);
        let compacted = self.compacted;
        let resource = event.object.key.resource.clone();
        let table = self.tables.entry(resource).or_insert_with(|| Table::new(compacted));
        table.apply(event);
    }

    /// Wakes the watchers of the resources that `events` touched.
    pub(crate) fn announce<'a>(&self, resources: impl Iterator<Item = &'a Arc<str>>) {
        for resource in resources {
            if let Some(table) = self.tables.get(resource) {
                table.wake.send_replace(self.revision);
            }
        }
    }

    /// Raises the revision without an event, as at start.
    pub(crate) fn advance(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    /// Drops history at or before `through`.
    pub(crate) fn forget(&mut self, through: u64) {
        self.compacted = self.compacted.max(through);
        for table in self.tables.values_mut() {
            table.forget(through);
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        self.tables.get(resource)?.items.get(namespace)?.get(name).cloned()
    }

    pub(crate) fn list(&self, resource: &str, namespace: Option<&str>) -> Page {
        let items = match (self.tables.get(resource), namespace) {
            (None, _) => Vec::new(),
            (Some(table), Some(namespace)) => {
                table.items.get(namespace).map(|names| names.values().cloned().collect()).unwrap_or_default()
            }
            (Some(table), None) => table.items.values().flat_map(|names| names.values().cloned()).collect(),
        };
        Page { revision: self.revision, items }
    }

    pub(crate) fn list_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Page, Expired> {
        let Some(table) = self.tables.get(resource) else {
            return Ok(Page { revision, items: Vec::new() });
        };
        self.reachable(table, revision)?;
        let mut items: BTreeMap<(Arc<str>, Arc<str>), Arc<Stored>> = self
            .list(resource, namespace)
            .items
            .into_iter()
            .map(|object| ((object.key.namespace.clone(), object.key.name.clone()), object))
            .collect();
        for event in table.history.iter().rev().take_while(|event| event.revision() > revision) {
            let key = &event.object.key;
            if namespace.is_some_and(|namespace| namespace != &*key.namespace) {
                continue;
            }
            let place = (key.namespace.clone(), key.name.clone());
            match &event.previous {
                Some(previous) => items.insert(place, previous.clone()),
                None => items.remove(&place),
            };
        }
        Ok(Page { revision, items: items.into_values().collect() })
    }

    pub(crate) fn events(
        &self,
        resource: &str,
        revision: u64,
        limit: usize,
    ) -> Result<(Vec<Event>, u64), Expired> {
        let Some(table) = self.tables.get(resource) else {
            return if revision < self.compacted {
                Err(Expired { asked: revision, oldest: self.compacted })
            } else {
                Ok((Vec::new(), self.revision.max(revision)))
            };
        };
        self.reachable(table, revision)?;
        let start = table.history.partition_point(|event| event.revision() <= revision);
        let events: Vec<Event> = table.history.range(start..).take(limit).cloned().collect();
        let seen = if start + events.len() < table.history.len() {
            events.last().map_or(revision, Event::revision)
        } else {
            self.revision.max(revision)
        };
        Ok((events, seen))
    }

    fn reachable(&self, table: &Table, revision: u64) -> Result<(), Expired> {
        if revision < table.dropped {
            return Err(Expired { asked: revision, oldest: table.dropped });
        }
        Ok(())
    }

    pub(crate) fn subscribe(&self, resource: &str) -> Option<watch::Receiver<u64>> {
        Some(self.tables.get(resource)?.wake.subscribe())
    }

    pub(crate) fn subscribe_new(&mut self, resource: &str) -> watch::Receiver<u64> {
        let compacted = self.compacted;
        self.tables.entry(resource.into()).or_insert_with(|| Table::new(compacted)).wake.subscribe()
    }

    pub(crate) fn dependents(&self, uid: &str) -> Vec<Key> {
        self.owners.get(uid).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn resources(&self) -> Vec<Arc<str>> {
        self.tables
            .iter()
            .filter(|(_, table)| !table.items.is_empty())
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(crate) fn has_collectable(&self) -> bool {
        !self.changed.is_empty() || !self.orphaned.is_empty()
    }

    pub(crate) fn take_collectable(&mut self) -> (Vec<Key>, Vec<Arc<str>>) {
        (self.changed.drain().collect(), self.orphaned.drain().collect())
    }

    fn index(&mut self, event: &Event) {
        let object = &event.object;
        if let Some(previous) = &event.previous {
            for owner in &previous.facts.owners {
                if let Some(keys) = self.owners.get_mut(owner) {
                    keys.remove(&previous.key);
                    if keys.is_empty() {
                        self.owners.remove(owner);
                    }
                }
            }
        }
        if event.kind == EventKind::Deleted {
            self.changed.remove(&object.key);
            if self.owners.contains_key(&object.facts.uid) {
                self.orphaned.insert(object.facts.uid.clone());
            }
            // An owner that waits for its dependents to go looks again.
            for owner in &object.facts.owners {
                self.orphaned.insert(owner.clone());
            }
            return;
        }
        for owner in &object.facts.owners {
            self.owners.entry(owner.clone()).or_default().insert(object.key.clone());
        }
        let rewired =
            event.previous.as_ref().is_none_or(|previous| previous.facts.owners != object.facts.owners);
        if object.facts.terminating || (rewired && !object.facts.owners.is_empty()) {
            self.changed.insert(object.key.clone());
        }
    }
}
