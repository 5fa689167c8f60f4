//! The garbage collector: dependents go with their owners, in the background, in the foreground, or are let go.
//!
//! It works on sets of keys that the store gathers, so it has no queue that could overflow, and decides from the newest
//! state alone: what it did not finish before a crash it finds again at start.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::engine::delete::{DeleteOptions, FOREGROUND, ORPHAN};
use crate::engine::{Engine, Intent, is_stale};
use crate::rest::query::Propagation;
use crate::status::ApiError;
use crate::store::{Key, Stored};

/// How long after a failure the same object is looked at again.
const AGAIN: Duration = Duration::from_secs(1);

/// Collects for as long as the server lives.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut wake = engine.store.collectable();
    let mut collector = Collector { engine, waiting: HashMap::new(), failed: Vec::new() };
    loop {
        wake.mark_unchanged();
        collector.round().await;
        let pause = if collector.failed.is_empty() { Duration::from_secs(3600) } else { AGAIN };
        tokio::select! {
            _ = wake.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Collector {
    engine: Arc<Engine>,
    /// Owners that wait for their dependents, by UID.
    waiting: HashMap<Arc<str>, Key>,
    failed: Vec<Key>,
}

impl Collector {
    async fn round(&mut self) {
        let (mut changed, gone) = self.engine.store.take_collectable();
        changed.append(&mut self.failed);
        for uid in gone {
            changed.extend(self.engine.store.dependents(&uid));
            changed.extend(self.waiting.get(&uid).cloned());
        }
        for key in changed {
            if let Err(error) = self.look(&key).await {
                tracing::warn!(object = %key, %error, "collecting an object failed; it is tried again");
                self.failed.push(key);
            }
        }
    }

    async fn look(&mut self, key: &Key) -> Result<(), ApiError> {
        let Some(stored) = self.engine.store.get(&key.resource, &key.namespace, &key.name) else {
            self.waiting.retain(|_, waiting| waiting != key);
            return Ok(());
        };
        let object = stored.value().map_err(ApiError::internal)?;
        if stored.facts.terminating {
            let has = |name: &str| {
                object["metadata"]["finalizers"]
                    .as_array()
                    .is_some_and(|all| all.contains(&Value::from(name)))
            };
            if has(ORPHAN) {
                return self.orphan(&stored).await;
            }
            if has(FOREGROUND) {
                return self.foreground(&stored).await;
            }
            return Ok(());
        }
        self.check_owners(&stored, &object).await
    }

    /// Deletes an object none of whose owners is left; takes the missing ones off one that has others.
    async fn check_owners(&self, stored: &Arc<Stored>, object: &Value) -> Result<(), ApiError> {
        let owners = object["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
        if owners.is_empty() {
            return Ok(());
        }
        let states: Vec<Owner> = owners.iter().map(|owner| self.owner(stored, owner)).collect();
        let solid = states.contains(&Owner::Present);
        let dangling = states.contains(&Owner::Gone);
        if solid && dangling {
            let uids: Vec<&str> = owners
                .iter()
                .zip(&states)
                .filter(|(_, state)| **state == Owner::Gone)
                .filter_map(|(owner, _)| owner["uid"].as_str())
                .collect();
            return self.disown(stored, &uids).await;
        }
        if solid {
            return Ok(());
        }
        let Some(resource) = self.engine.catalogue.by_table(&stored.key.resource) else { return Ok(()) };
        let foreground =
            states.contains(&Owner::Waiting) && !self.engine.store.dependents(&stored.facts.uid).is_empty();
        let propagation = if foreground { Some(Propagation::Foreground) } else { None };
        let options = DeleteOptions {
            propagation,
            uid: Some(stored.facts.uid.to_string()),
            ..DeleteOptions::default()
        };
        match self.engine.delete(&resource, &stored.key.namespace, &stored.key.name, &options).await {
            Err(error) if error.code != 404 && error.code != 409 => Err(error),
            _ => Ok(()),
        }
    }

    fn owner(&self, dependent: &Stored, reference: &Value) -> Owner {
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
        let Some(resource) = self.engine.catalogue.by_kind(group, version, text("kind")) else {
            // A kind that is not served may come back; nothing is deleted on a guess.
            return Owner::Present;
        };
        let namespace = if resource.namespaced { &*dependent.key.namespace } else { "" };
        match self.engine.store.get(&resource.table, namespace, text("name")) {
            Some(owner) if *owner.facts.uid == *text("uid") => {
                let waits = owner.facts.terminating
                    && owner.value().is_ok_and(|owner| {
                        owner["metadata"]["finalizers"]
                            .as_array()
                            .is_some_and(|all| all.iter().any(|f| f == FOREGROUND))
                    });
                if waits { Owner::Waiting } else { Owner::Present }
            }
            _ => Owner::Gone,
        }
    }

    async fn disown(&self, stored: &Arc<Stored>, uids: &[&str]) -> Result<(), ApiError> {
        let Some(resource) = self.engine.catalogue.by_table(&stored.key.resource) else { return Ok(()) };
        let mut object = self.engine.value_as(&resource, stored)?;
        if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
            owners.retain(|owner| !uids.iter().any(|uid| owner["uid"] == *uid));
        }
        match self.engine.replace(&resource, stored, object, &Intent::internal("garbage-collector")).await {
            Err(error) if error.code == 404 => Ok(()),
            // It changed: the change brings it back here.
            Err(error) if is_stale(&error) => Err(error),
            outcome => outcome.map(drop),
        }
    }

    async fn orphan(&self, owner: &Arc<Stored>) -> Result<(), ApiError> {
        for key in self.engine.store.dependents(&owner.facts.uid) {
            if let Some(dependent) = self.engine.store.get(&key.resource, &key.namespace, &key.name) {
                self.disown(&dependent, &[&owner.facts.uid]).await?;
            }
        }
        self.release(owner, ORPHAN).await
    }

    async fn foreground(&mut self, owner: &Arc<Stored>) -> Result<(), ApiError> {
        let mut blocking = false;
        for key in self.engine.store.dependents(&owner.facts.uid) {
            let Some(dependent) = self.engine.store.get(&key.resource, &key.namespace, &key.name) else {
                continue;
            };
            let object = dependent.value().map_err(ApiError::internal)?;
            if !dependent.facts.terminating {
                self.check_owners(&dependent, &object).await?;
            }
            let blocks = object["metadata"]["ownerReferences"].as_array().is_some_and(|owners| {
                owners.iter().any(|one| one["uid"] == *owner.facts.uid && one["blockOwnerDeletion"] == true)
            });
            blocking |= blocks && self.engine.store.get(&key.resource, &key.namespace, &key.name).is_some();
        }
        if blocking {
            self.waiting.insert(owner.facts.uid.clone(), owner.key.clone());
            return Ok(());
        }
        self.waiting.remove(&owner.facts.uid);
        self.release(owner, FOREGROUND).await
    }

    async fn release(&self, owner: &Stored, finalizer: &str) -> Result<(), ApiError> {
        let Some(resource) = self.engine.catalogue.by_table(&owner.key.resource) else { return Ok(()) };
        self.engine.drop_finalizer(&resource, &owner.key.namespace, &owner.key.name, finalizer).await
    }
}

/// What has become of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Present,
    /// It waits for its dependents before it goes.
    Waiting,
    Gone,
}
