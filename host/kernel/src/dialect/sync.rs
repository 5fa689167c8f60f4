//! One pass over one parent: observe, ask the dialect, make its answer true.
//!
//! # Guarantees
//! - The finalizer is on the parent before the dialect is first asked about it.
//! - A pass over a parent for which nothing changed writes nothing.
//! - What is written twice, because the kernel was stopped in between, is written the same.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, Error as KubeError};
use purlin_sandbox::contract::{Fault, Severity, SyncRequest};
use purlin_sandbox::{CallError, Child, Subject, SyncAnswer};
use serde_json::{Value, json};

use super::condition::{with_fault, without_fault};
use super::permit::Permit;
use super::plan::{
    Applied, ChildKey, Desired, Emittable, Outline, Parent, desired, plan, settled_hash, status_patch,
};
use super::related::{ParentKey, RelatedIndex};
use crate::cache::{CachedObject, Kind, Selection, Store};
use crate::digest::seed;
use crate::event::EventRecorder;
use crate::key::{Gvk, ObjectKey, controller_of};
use crate::reconcile::{Outcome, Reconciler, domain_of};
use crate::selector::LabelSelector;
use crate::shard::fence::Writers;
use crate::shard::{Domain, Shards};
use crate::stage::{LoadedPlugin, fault_reason};

/// Why a pass over a parent failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialectError {
    /// A request failed.
    #[error("could not {doing} {object}")]
    Request {
        /// What was being done.
        doing: &'static str,
        /// On what.
        object: String,
        /// What went wrong.
        #[source]
        source: KubeError,
    },
    /// A child's name is in use.
    #[error("{object} exists and is not owned by this parent: delete it or give it another name")]
    NameTaken {
        /// The child.
        object: String,
    },
}

/// What a dialect sees and may write.
pub(super) struct Watched {
    /// Every kind of the manifest.
    pub kinds: HashMap<Gvk, Arc<Kind>>,
    /// Those that it may emit.
    pub emittable: HashMap<Gvk, Emittable>,
}

/// Reconciles the parents of one dialect.
pub(super) struct DialectLoop {
    name: String,
    manager: String,
    finalizer: String,
    writers: Writers,
    plugin: Arc<dyn LoadedPlugin>,
    watched: Watched,
    permit: Permit,
    related: Arc<RwLock<RelatedIndex>>,
    memory: Mutex<HashMap<ParentKey, Memory>>,
    events: EventRecorder,
}

/// What is remembered of a parent between passes. Losing it costs writes that change nothing.
#[derive(Default)]
struct Memory {
    applied: HashMap<ChildKey, Applied>,
    /// The children of the last answer, with the hash of their texts.
    answered: Option<(u64, Arc<Outline>)>,
    /// The parent that the dialect called invalid.
    invalid: Option<u64>,
}

impl DialectLoop {
    /// A loop that asks one plugin.
    pub(super) fn new(
        name: &str,
        writers: Writers,
        plugin: Arc<dyn LoadedPlugin>,
        watched: Watched,
        permit: Permit,
        related: Arc<RwLock<RelatedIndex>>,
        events: EventRecorder,
    ) -> Self {
        DialectLoop {
            name: format!("dialect/{name}"),
            manager: format!("purlin-{name}"),
            finalizer: format!("purlin.dev/{name}"),
            writers,
            plugin,
            watched,
            permit,
            related,
            memory: Mutex::default(),
            events,
        }
    }

    fn forget(&self, key: &ParentKey) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.related.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn remember<T>(&self, key: &ParentKey, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(self.memory.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default())
    }

    fn children(&self, uid: &str) -> BTreeMap<ChildKey, Arc<CachedObject>> {
        let mut children = BTreeMap::new();
        for gvk in self.watched.emittable.keys() {
            if let Some(kind) = self.watched.kinds.get(gvk) {
                for child in kind.read(|store| store.controlled_by(uid)) {
                    children.insert((gvk.clone(), child.key().clone()), child);
                }
            }
        }
        children
    }

    /// Asks the dialect. What it wants to see is remembered, so that a change of it brings the parent back.
    async fn ask(
        &self,
        key: &ParentKey,
        parent: &CachedObject,
        children: &BTreeMap<ChildKey, Arc<CachedObject>>,
    ) -> Result<SyncAnswer, CallError> {
        let subject =
            Subject::object(&key.gvk.api_version(), &key.gvk.kind, &key.object.namespace, &key.object.name);
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        let context = self.plugin.context(now, seed(parent.uid()));
        let text = parent.json().to_string();
        let selectors = self.plugin.related(&subject, context.clone(), text.clone()).await?;
        let mut selections = Vec::with_capacity(selectors.len());
        for selector in selectors {
            let gvk = Gvk::new(&selector.api_version, &selector.kind);
            let Some(kind) = self.watched.kinds.get(&gvk) else {
                return Err(CallError::Malformed(format!(
                    "related asks for {gvk}, which the manifest does not list"
                )));
            };
            let labels = LabelSelector::parse(&selector.labels)
                .map_err(|error| CallError::Malformed(error.to_string()))?;
            let own = key.object.namespace();
            let namespace = match (kind.namespaced(), selector.namespace.as_deref(), own) {
                (false, _, _) => None,
                (true, Some(asked), Some(own)) if asked != own => {
                    let why = format!("related asks for namespace {asked}, and the parent is in {own}");
                    return Err(CallError::Malformed(why));
                }
                (true, asked, own) => own.or(asked).map(str::to_owned),
            };
            let own = self.watched.emittable.get(&gvk).is_some_and(|kind| kind.owned);
            match self.permit.read(&gvk, own, namespace.as_deref().unwrap_or_default()) {
                Ok(()) => {}
                // A grant that was taken back must not keep objects from being deleted.
                Err(_) if parent.is_deleting() => continue,
                Err(denied) => return Err(denied),
            }
            selections.push((gvk, Selection { namespace, names: selector.names, labels }));
        }
        // First remembered, then looked up: what changes in between is noticed.
        self.related.write().unwrap_or_else(PoisonError::into_inner).set(key, selections.clone());
        let mut related = BTreeMap::new();
        for (gvk, selection) in selections {
            if let Some(kind) = self.watched.kinds.get(&gvk) {
                for object in kind.select(&selection) {
                    related.insert((gvk.clone(), object.key().clone()), object);
                }
            }
        }
        let texts = |objects: &BTreeMap<ChildKey, Arc<CachedObject>>| {
            objects.values().map(|object| object.json().to_string()).collect::<Vec<_>>()
        };
        let request =
            SyncRequest { context, parent: text, children: texts(children), related: texts(&related) };
        if parent.is_deleting() {
            self.plugin.finalize(&subject, request).await
        } else {
            self.plugin.sync(&subject, request).await
        }
    }

    /// The children of an answer, if the dialect may have all of them.
    fn desired(&self, parent: &Parent<'_>, children: Vec<Value>) -> Result<Vec<Desired>, CallError> {
        let desired = desired(parent, children, &self.watched.emittable)?;
        for child in &desired {
            let (gvk, key) = &child.key;
            let own = self.watched.emittable.get(gvk).is_some_and(|kind| kind.owned);
            self.permit.write(gvk, own, &key.namespace, &child.object)?;
        }
        Ok(desired)
    }

    /// Whether these children were the last answer's too and are all as they should be. Nearly every pass is about
    /// something that changed nothing; this sees it without parsing a child. Says, if so, whether no child is left.
    fn settled(
        &self,
        key: &ParentKey,
        texts: u64,
        observed: &BTreeMap<ChildKey, Arc<CachedObject>>,
    ) -> Option<bool> {
        self.remember(key, |memory| {
            let (_, outline) = memory.answered.as_ref().filter(|(answered, _)| *answered == texts)?;
            let outline = Arc::clone(outline);
            outline.holds(observed, &memory.applied).then(|| outline.is_empty() && observed.is_empty())
        })
    }

    /// Makes an answer true. Says whether no child is left.
    async fn carry_out(
        &self,
        key: &ParentKey,
        parent: &CachedObject,
        children: Vec<Desired>,
        observed: &BTreeMap<ChildKey, Arc<CachedObject>>,
    ) -> Result<bool, DialectError> {
        let none_wanted = children.is_empty();
        let client = self.writers.of(&key.object);
        let plan = self.remember(key, |memory| plan(children, observed, &memory.applied));
        for child in plan.apply {
            self.apply(key, parent, child).await?;
        }
        for (child, status) in plan.statuses {
            if let (Some(kind), Some(present)) = (self.watched.kinds.get(&child.0), observed.get(&child)) {
                self.write_status(client, kind, &child.1, &present.object().data["status"], &status).await?;
            }
        }
        for child in &plan.delete {
            self.delete(client, child).await?;
        }
        Ok(none_wanted && observed.is_empty())
    }

    async fn apply(
        &self,
        key: &ParentKey,
        parent: &CachedObject,
        child: Desired,
    ) -> Result<(), DialectError> {
        let (gvk, name) = &child.key;
        let client = self.writers.of(&key.object);
        let Some(kind) = self.watched.kinds.get(gvk) else { return Ok(()) };
        // A forced apply would take the fields of an object that is somebody else's.
        if let Some(present) = kind.read(|store| store.get(name))
            && controller_of(present.object()).map(|(_, _, uid)| uid) != Some(parent.uid())
        {
            return Err(DialectError::NameTaken { object: format!("{} {name}", gvk.kind) });
        }
        let api = kind.api(client, name.namespace());
        let params = PatchParams::apply(&self.manager).force();
        let made = api
            .patch(&name.name, &params, &Patch::Apply(&child.object))
            .await
            .map_err(|source| request("apply", gvk, name, source))?;
        let made = CachedObject::new(made);
        if let Some(status) = &child.status {
            self.write_status(client, kind, name, &made.object().data["status"], status).await?;
        }
        let applied = Applied { desired: child.hash, observed: settled_hash(&made.json()) };
        self.remember(key, |memory| memory.applied.insert(child.key.clone(), applied));
        Ok(())
    }

    async fn write_status(
        &self,
        client: &Client,
        kind: &Kind,
        name: &ObjectKey,
        from: &Value,
        to: &Value,
    ) -> Result<(), DialectError> {
        let Some(patch) = status_patch(from, to) else { return Ok(()) };
        self.patch_status(client, kind, name, json!({"status": patch})).await
    }

    async fn patch_status(
        &self,
        client: &Client,
        kind: &Kind,
        name: &ObjectKey,
        patch: Value,
    ) -> Result<(), DialectError> {
        let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        let api = kind.api(client, name.namespace());
        match api.patch_status(&name.name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => Ok(()),
            Err(KubeError::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(request("write the status of", kind.gvk(), name, source)),
        }
    }

    async fn delete(&self, client: &Client, child: &CachedObject) -> Result<(), DialectError> {
        let Some((gvk, kind)) = Gvk::of(child.object())
            .and_then(|gvk| self.watched.kinds.get(&gvk).map(|kind| (gvk.clone(), kind)))
        else {
            return Ok(());
        };
        let uid = Some(child.uid().to_owned());
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::background()
        };
        let api = kind.api(client, child.key().namespace());
        match api.delete(&child.key().name, &params).await {
            Ok(_) => Ok(()),
            Err(KubeError::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(source) => Err(request("delete", &gvk, child.key(), source)),
        }
    }

    /// Adds or removes the finalizer, on the parent as it was read and no other.
    async fn set_finalizer(
        &self,
        kind: &Kind,
        parent: &CachedObject,
        wanted: bool,
    ) -> Result<bool, DialectError> {
        let mut finalizers = parent.object().metadata.finalizers.clone().unwrap_or_default();
        if finalizers.contains(&self.finalizer) == wanted {
            return Ok(false);
        }
        if wanted {
            finalizers.push(self.finalizer.clone());
        } else {
            finalizers.retain(|finalizer| *finalizer != self.finalizer);
        }
        let patch = json!({"metadata": {"resourceVersion": parent.version(), "finalizers": finalizers}});
        let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        let api = kind.api(self.writers.of(parent.key()), parent.key().namespace());
        match api.patch(&parent.key().name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => Ok(true),
            Err(KubeError::Api(status)) if matches!(status.code, 404 | 409) => Ok(true),
            Err(source) => Err(request("set the finalizer of", kind.gvk(), parent.key(), source)),
        }
    }

    /// Shows a fault on the parent, and says when to ask again.
    async fn fault(
        &self,
        key: &ParentKey,
        kind: &Kind,
        parent: &CachedObject,
        error: &CallError,
    ) -> Result<Outcome, DialectError> {
        let (reason, message) = (fault_reason(error), error.to_string());
        self.tell(parent, true, reason, &message);
        tracing::warn!(reason, message, "dialect gave no answer");
        let status = &parent.object().data["status"];
        if let Some(conditions) = with_fault(status, reason, &message, Timestamp::now()) {
            let patch = json!({"status": {"conditions": conditions}});
            // The schema of somebody's status may not allow it; the Event has said it anyway.
            if let Err(error) =
                self.patch_status(self.writers.of(parent.key()), kind, parent.key(), patch).await
            {
                tracing::debug!(error = %crate::report(&error), "fault not shown in the status");
            }
        }
        Ok(match error {
            CallError::Fault(Fault::Invalid(_)) => {
                self.remember(key, |memory| memory.invalid = Some(settled_hash(&parent.json())));
                Outcome::Settled
            }
            CallError::Fault(Fault::Retry(retry)) => {
                Outcome::After(Duration::from_millis(retry.after_ms.max(100)))
            }
            CallError::QuotaExceeded { retry, .. } => Outcome::After(*retry),
            CallError::Fault(Fault::Failed(_))
            | CallError::Trap { .. }
            | CallError::DeadlineExceeded(_)
            | CallError::MemoryExceeded { .. }
            | CallError::OutputTooLarge { .. }
            | CallError::Denied(_)
            | CallError::Malformed(_)
            | CallError::Busy(_)
            | CallError::NoSuchStage(_)
            | CallError::Host(_) => Outcome::Backoff,
        })
    }

    fn tell(&self, parent: &CachedObject, warning: bool, reason: &str, message: &str) {
        let object = parent.object();
        let about = ObjectReference {
            api_version: object.types.as_ref().map(|types| types.api_version.clone()),
            kind: object.types.as_ref().map(|types| types.kind.clone()),
            name: object.metadata.name.clone(),
            namespace: object.metadata.namespace.clone(),
            uid: object.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        self.events.record(about, warning, reason, message, &self.manager);
    }
}

#[async_trait]
impl Reconciler for DialectLoop {
    type Key = ParentKey;
    type Error = DialectError;

    fn name(&self) -> &str {
        &self.name
    }

    fn domain(&self, key: &ParentKey, shards: Shards) -> Option<Domain> {
        Some(domain_of(&key.object, shards))
    }

    fn keys(&self) -> Vec<ParentKey> {
        let owned = self.watched.emittable.iter().filter(|(_, emittable)| emittable.owned);
        let kinds = owned.filter_map(|(gvk, _)| Some((gvk, self.watched.kinds.get(gvk)?)));
        let keys = |(gvk, kind): (&Gvk, &Arc<Kind>)| {
            let objects = kind.read(Store::keys);
            objects.into_iter().map(|object| ParentKey { gvk: gvk.clone(), object }).collect::<Vec<_>>()
        };
        kinds.flat_map(keys).collect()
    }

    async fn reconcile(&self, key: &ParentKey, _: u32) -> Result<Outcome, DialectError> {
        for kind in self.watched.kinds.values() {
            kind.synced().await;
        }
        let Some(kind) = self.watched.kinds.get(&key.gvk) else { return Ok(Outcome::Settled) };
        let Some(parent) = kind.read(|store| store.get(&key.object)) else {
            self.forget(key);
            return Ok(Outcome::Settled);
        };
        if parent.is_deleting() {
            let ours = parent.object().metadata.finalizers.iter().flatten().any(|f| *f == self.finalizer);
            if !ours {
                return Ok(Outcome::Settled);
            }
        } else if self.set_finalizer(kind, &parent, true).await? {
            // The write comes back as a change of the parent, and with it the next pass.
            return Ok(Outcome::After(Duration::from_secs(5)));
        }
        let settled = settled_hash(&parent.json());
        if !parent.is_deleting() && self.remember(key, |memory| memory.invalid) == Some(settled) {
            return Ok(Outcome::Settled);
        }
        let observed = self.children(parent.uid());
        let answer = match self.ask(key, &parent, &observed).await {
            Ok(answer) => answer,
            Err(error) => return self.fault(key, kind, &parent, &error).await,
        };
        // The parent's own identity is in every child, as its owner.
        let texts = texts_hash([parent.uid()].into_iter().chain(answer.children.iter().map(Child::text)));
        let settled = self.settled(key, texts, &observed);
        let children = match settled {
            Some(_) => Vec::new(),
            None => {
                let owner = Parent { gvk: &key.gvk, key: &key.object, uid: parent.uid() };
                let values = values(answer.children).await;
                match values.and_then(|values| self.desired(&owner, values)) {
                    Ok(children) => children,
                    Err(error) => return self.fault(key, kind, &parent, &error).await,
                }
            }
        };
        self.remember(key, |memory| memory.invalid = None);
        for event in &answer.events {
            self.tell(&parent, event.severity == Severity::Warning, &event.reason, &event.message);
        }
        let empty = match settled {
            Some(empty) => empty,
            None => {
                let answered = (texts, Arc::new(Outline::of(&children)));
                self.remember(key, |memory| memory.answered = Some(answered));
                match self.carry_out(key, &parent, children, &observed).await {
                    Ok(empty) => empty,
                    Err(error) => {
                        self.tell(&parent, true, "ChildFailed", &crate::report(&error).to_string());
                        return Err(error);
                    }
                }
            }
        };
        let client = self.writers.of(&key.object);
        let present = &parent.object().data["status"];
        match (&answer.status, without_fault(present)) {
            (Some(status), _) => self.write_status(client, kind, &key.object, present, status).await?,
            (None, Some(conditions)) => {
                self.patch_status(client, kind, &key.object, json!({"status": {"conditions": conditions}}))
                    .await?;
            }
            (None, None) => {}
        }
        if parent.is_deleting() && empty && answer.requeue_after.is_none() {
            self.set_finalizer(kind, &parent, false).await?;
            return Ok(Outcome::Settled);
        }
        Ok(answer.requeue_after.map_or(Outcome::Settled, Outcome::After))
    }
}

/// A hash of texts in their order, to be compared within this process only.
fn texts_hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for text in texts {
        text.hash(&mut hasher);
    }
    hasher.finish()
}

/// The children as objects. Many or large ones are parsed on a thread for blocking work.
async fn values(children: Vec<Child>) -> Result<Vec<Value>, CallError> {
    const LARGE: usize = 128 << 10;
    let size: usize = children.iter().map(|child| child.text().len()).sum();
    let parse = move || children.iter().map(Child::value).collect();
    if size <= LARGE {
        return parse();
    }
    let parsed = tokio::task::spawn_blocking(parse).await;
    parsed.map_err(|_| CallError::Host("it is stopping".to_owned()))?
}

fn request(doing: &'static str, gvk: &Gvk, name: &ObjectKey, source: KubeError) -> DialectError {
    DialectError::Request { doing, object: format!("{} {name}", gvk.kind), source }
}
