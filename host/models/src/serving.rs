//! The loops of Model and Route: what the resources say reaches the gateway, and what came of it reaches the resources.
//!
//! # Expected flow
//! Both kinds are watched. A change of either makes a new routing table, at most every few milliseconds. Each Model is
//! resolved to a plugin, loaded once to see that it can be, and kept or let go by its scaling; its status says which.
//!
//! # Guarantees
//! A model that could not be loaded for a reason that may pass is tried again, after a pause that grows to a minute. A load that
//! takes long, or never ends, holds up no other model, nor does an attempt that panics. The status of an object that did not
//! change is not written again.

mod serve;

use std::collections::HashMap;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, WatchStreamExt as _, reflector, watcher};
use kube::{Api, Error as KubeError, Resource as _, ResourceExt as _};
use purlin_gateway::{Gateway, ModelKey};
use purlin_kernel::api::{Model, Route, set_condition};
use purlin_kernel::shard::Holdings;
use purlin_sandbox::StageResolver;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use self::serve::{AWAITED, SOON};
use crate::access::ApiAccess;
use crate::containers::MODEL;
use crate::recommend;
use crate::route::{self, Address};
use crate::served::Served;
use crate::table::{self, Tokens};
use crate::verdict::{status, tell, was_ready};

/// How often the tokens of routes are read again.
const SECRETS: Duration = Duration::from_secs(10);

/// How often monitored models are looked at.
const WATCH: Duration = Duration::from_secs(1);

/// How often a Model that is being worked on is looked at: it may have changed meanwhile.
const LOOK: Duration = Duration::from_secs(2);

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
    #[error("it panicked")]
    Panicked,
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
            controller.run(attempt, again, serving.clone()).for_each(|done| {
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

/// A reconcile that costs one attempt where it panics.
async fn attempt(model: Arc<Model>, serving: Arc<Serving>) -> Result<Action, ServingError> {
    let attempted = AssertUnwindSafe(reconcile(model, serving)).catch_unwind().await;
    attempted.unwrap_or(Err(ServingError::Panicked))
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

fn again(model: Arc<Model>, error: &ServingError, _: Arc<Serving>) -> Action {
    tracing::warn!(
        namespace = model.namespace().unwrap_or_default(), model = %model.name_any(),
        error = %purlin_kernel::report(error), "a model is looked at again"
    );
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
