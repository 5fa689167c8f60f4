//! What plugins of every version import. Each function checks the plugin's rights first; what is not covered by a grant is
//! `denied`, and the text names the grant that would cover it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use semver::Version;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower};

use super::bindings::purlin::plugin::{blobs, events, http, kv, log, secrets, tuners};
use super::invoke::{Suggest, Validate};
use super::{
    BlobInfo, CloudEvent, Fault, FieldError, HostError, HttpRequest, HttpResponse, KvItem, Retry, Search,
    Suggestion, TUNING, TYPES,
};
use crate::call::{self, CallState, Invocation, Origin};
use crate::error::CallError;
use crate::resolver::{Admission, MAX_DEPTH, printable};
use crate::service::{self, Service};

/// Links the interfaces that every version of the contract has, under the names of one version. What crosses is compared by
/// structure, so one function serves them all.
pub(super) fn link(
    linker: &mut Linker<CallState>,
    version: &Version,
    interfaces: &BTreeSet<&'static str>,
) -> wasmtime::Result<()> {
    let name = |interface: &str| format!("purlin:plugin/{interface}@{version}");
    for types in [TYPES, TUNING] {
        linker.instance(&name(types))?;
    }
    linker.instance(&name("log"))?.func_wrap(
        "write",
        |mut store: StoreContextMut<'_, CallState>, (level, message): (log::Level, String)| {
            log::Host::write(store.data_mut(), level, message);
            Ok(())
        },
    )?;
    if interfaces.contains("tuners") {
        let mut tuners = linker.instance(&name("tuners"))?;
        wrap(&mut tuners, "validate", |state, (search,)| tuners::Host::validate(state, search).boxed())?;
        wrap(&mut tuners, "suggest", |state, (search, count)| {
            tuners::Host::suggest(state, search, count).boxed()
        })?;
    }
    if interfaces.contains("http") {
        let mut http = linker.instance(&name("http"))?;
        wrap(&mut http, "send", |state, (request,)| http::Host::send(state, request).boxed())?;
    }
    if interfaces.contains("secrets") {
        let mut secrets = linker.instance(&name("secrets"))?;
        wrap(&mut secrets, "get", |state, (name,)| secrets::Host::get(state, name).boxed())?;
    }
    if interfaces.contains("kv") {
        let mut kv = linker.instance(&name("kv"))?;
        wrap(&mut kv, "get", |state, (key,)| kv::Host::get(state, key).boxed())?;
        wrap(&mut kv, "set", |state, (key, value, expected)| {
            kv::Host::set(state, key, value, expected).boxed()
        })?;
        wrap(&mut kv, "delete", |state, (key,)| kv::Host::delete(state, key).boxed())?;
        wrap(&mut kv, "keys", |state, (prefix,)| kv::Host::keys(state, prefix).boxed())?;
    }
    if interfaces.contains("blobs") {
        let mut blobs = linker.instance(&name("blobs"))?;
        wrap(&mut blobs, "read", |state, (name, offset, length)| {
            blobs::Host::read(state, name, offset, length).boxed()
        })?;
        wrap(&mut blobs, "write", |state, (name, content)| blobs::Host::write(state, name, content).boxed())?;
        wrap(&mut blobs, "delete", |state, (name,)| blobs::Host::delete(state, name).boxed())?;
        wrap(&mut blobs, "list", |state, (prefix,)| blobs::Host::list(state, prefix).boxed())?;
    }
    if interfaces.contains("events") {
        let mut events = linker.instance(&name("events"))?;
        wrap(&mut events, "publish", |state, (event,)| events::Host::publish(state, event).boxed())?;
    }
    Ok(())
}

/// Links one function that may wait.
fn wrap<P, R>(
    interface: &mut LinkerInstance<'_, CallState>,
    function: &str,
    serve: impl for<'a> Fn(&'a mut CallState, P) -> BoxFuture<'a, R> + Send + Sync + Copy + 'static,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + Send + Sync + 'static,
    (R,): ComponentNamedList + Lower,
    R: Send + Sync + 'static,
{
    interface.func_wrap_async(function, move |mut store: StoreContextMut<'_, CallState>, arguments: P| {
        Box::new(async move { Ok((serve(store.data_mut(), arguments).await,)) })
    })
}

impl log::Host for CallState {
    fn write(&mut self, level: log::Level, message: String) {
        self.log(level, &message);
    }
}

impl CallState {
    /// Writes a line of the plugin to the log, if it has not written too much.
    pub(crate) fn log(&self, level: log::Level, message: &str) {
        let Admission::Write { dropped } = self.plugin.log.admit(Instant::now()) else { return };
        let plugin = self.plugin.name.as_str();
        let object = self.origin.subject.as_str();
        if dropped > 0 {
            tracing::warn!(target: "purlin_plugin", plugin, dropped, "the plugin writes too much; lines were dropped");
        }
        let line = printable(message);
        match level {
            log::Level::Trace => tracing::trace!(target: "purlin_plugin", plugin, object, "{line}"),
            log::Level::Debug => tracing::debug!(target: "purlin_plugin", plugin, object, "{line}"),
            log::Level::Info => tracing::info!(target: "purlin_plugin", plugin, object, "{line}"),
            log::Level::Warn => tracing::warn!(target: "purlin_plugin", plugin, object, "{line}"),
            log::Level::Error => tracing::error!(target: "purlin_plugin", plugin, object, "{line}"),
        }
    }
}

impl tuners::Host for CallState {
    async fn validate(&mut self, search: Search) -> Result<Vec<FieldError>, Fault> {
        self.ask_tuner(search, |search| Validate { search: search.into() }).await
    }

    async fn suggest(&mut self, search: Search, count: u32) -> Result<Vec<Suggestion>, Fault> {
        self.ask_tuner(search, |search| Suggest { search: search.into(), count }).await
    }
}

impl CallState {
    async fn ask_tuner<I: Invocation>(
        &mut self,
        mut search: Search,
        invocation: impl FnOnce(Search) -> I,
    ) -> Result<I::Answer, Fault> {
        if !self.plugin.rights.allow_interface("tuners") {
            return Err(Fault::Failed("not granted: call(tuner)".to_owned()));
        }
        let depth = self.origin.depth + 1;
        if depth > MAX_DEPTH {
            return Err(Fault::Failed(format!("calls between plugins nest at most {MAX_DEPTH} deep")));
        }
        let Some(tuner) = self.plugin.host.resolver.tuner(&search.algorithm) else {
            let reason = format!("no installed plugin serves the algorithm {:?}", search.algorithm);
            return Err(Fault::Failed(reason));
        };
        // The caller's configuration is none of the other plugin's business.
        search.context.config = tuner.core().config.clone();
        let origin = Origin { depth, deadline: Some(self.deadline), ..self.origin.clone() };
        // Boxed, because a call that calls a plugin would otherwise contain itself.
        let answer = Box::pin(call::run(tuner.core(), origin, invocation(search))).await;
        answer.map_err(|error| as_fault(error, &tuner.core().name))
    }
}

fn as_fault(error: CallError, tuner: &str) -> Fault {
    match error {
        CallError::Fault(fault) => fault,
        CallError::Busy(_) => Fault::Retry(Retry { after_ms: 1000, reason: format!("{tuner}: {error}") }),
        other => Fault::Failed(format!("{tuner}: {other}")),
    }
}

impl http::Host for CallState {
    async fn send(&mut self, request: HttpRequest) -> Result<HttpResponse, HostError> {
        let egress = self.plugin.host.services.http.clone().ok_or_else(|| absent("HTTP"))?;
        let (rights, limit, deadline) =
            (self.plugin.rights.clone(), self.plugin.limits.output, self.deadline);
        self.serve(Service::Http, async move { egress.send(&rights, request, limit, deadline).await }).await
    }
}

impl secrets::Host for CallState {
    async fn get(&mut self, name: String) -> Result<Option<Vec<secrets::Entry>>, HostError> {
        let own = self.origin.subject.namespace();
        let Some((namespace, secret)) = self.plugin.rights.secret(&name, own) else {
            return Err(HostError::Denied(format!("secret({})", service::quoted(&name))));
        };
        let secrets = self.plugin.host.services.secrets.clone().ok_or_else(|| absent("secrets"))?;
        let entries =
            self.serve(Service::Secrets, async move { secrets.secret(&namespace, &secret).await }).await?;
        let entry = |(key, value)| secrets::Entry { key, value };
        Ok(entries.map(|entries| entries.into_iter().map(entry).collect()))
    }
}

impl kv::Host for CallState {
    async fn get(&mut self, key: String) -> Result<Option<KvItem>, HostError> {
        let (store, plugin) = (self.kv(&key)?, self.plugin.id.clone());
        self.serve(Service::Kv, async move { store.get(&plugin, &key).await }).await
    }

    async fn set(&mut self, key: String, value: Vec<u8>, expected: Option<u64>) -> Result<u64, HostError> {
        let (store, plugin) = (self.kv(&key)?, self.plugin.id.clone());
        self.serve(Service::Kv, async move { store.set(&plugin, &key, value, expected).await }).await
    }

    async fn delete(&mut self, key: String) -> Result<(), HostError> {
        let (store, plugin) = (self.kv(&key)?, self.plugin.id.clone());
        self.serve(Service::Kv, async move { store.delete(&plugin, &key).await }).await
    }

    async fn keys(&mut self, prefix: String) -> Result<Vec<String>, HostError> {
        let store = self.kv_store()?;
        let plugin = self.plugin.id.clone();
        self.serve(Service::Kv, async move { store.keys(&plugin, &prefix).await }).await
    }
}

impl blobs::Host for CallState {
    async fn read(&mut self, name: String, offset: u64, length: u32) -> Result<Option<Vec<u8>>, HostError> {
        let (store, plugin) = (self.blobs(&name)?, self.plugin.id.clone());
        let limit = self.plugin.limits.output;
        if length as usize > limit {
            return Err(HostError::TooLarge(limit as u64));
        }
        self.serve(Service::Blobs, async move { store.read(&plugin, &name, offset, length).await }).await
    }

    async fn write(&mut self, name: String, content: Vec<u8>) -> Result<(), HostError> {
        let (store, plugin) = (self.blobs(&name)?, self.plugin.id.clone());
        self.serve(Service::Blobs, async move { store.write(&plugin, &name, content).await }).await
    }

    async fn delete(&mut self, name: String) -> Result<(), HostError> {
        let (store, plugin) = (self.blobs(&name)?, self.plugin.id.clone());
        self.serve(Service::Blobs, async move { store.delete(&plugin, &name).await }).await
    }

    async fn list(&mut self, prefix: String) -> Result<Vec<BlobInfo>, HostError> {
        let store = self.blob_store()?;
        let plugin = self.plugin.id.clone();
        self.serve(Service::Blobs, async move { store.list(&plugin, &prefix).await }).await
    }
}

impl events::Host for CallState {
    async fn publish(&mut self, event: CloudEvent) -> Result<(), HostError> {
        if !self.plugin.rights.event(&event.type_) {
            return Err(HostError::Denied(format!("events({})", service::quoted(&event.type_))));
        }
        service::check_event(&event)?;
        let sink = self.plugin.host.services.events.clone();
        let sink = sink.ok_or_else(|| absent("receiver of events (start Purlin with --event-sink URL)"))?;
        let plugin = self.plugin.id.clone();
        self.serve(Service::Events, async move { sink.publish(&plugin, event).await }).await
    }
}

impl CallState {
    fn kv(&self, key: &str) -> Result<Arc<dyn service::KeyValue>, HostError> {
        service::check_key(key)?;
        self.kv_store()
    }

    fn kv_store(&self) -> Result<Arc<dyn service::KeyValue>, HostError> {
        if !self.plugin.rights.allow_interface("kv") {
            return Err(HostError::Denied("kv".to_owned()));
        }
        self.plugin.host.services.kv.clone().ok_or_else(|| absent("key-value store"))
    }

    fn blobs(&self, name: &str) -> Result<Arc<dyn service::Blobs>, HostError> {
        service::check_key(name)?;
        self.blob_store()
    }

    fn blob_store(&self) -> Result<Arc<dyn service::Blobs>, HostError> {
        if !self.plugin.rights.allow_interface("blobs") {
            return Err(HostError::Denied("blob".to_owned()));
        }
        self.plugin.host.services.blobs.clone().ok_or_else(|| absent("blob store"))
    }
}

fn absent(what: &str) -> HostError {
    HostError::Unavailable(format!("this host has no {what}"))
}
