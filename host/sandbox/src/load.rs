//! The sandbox itself, and how a component becomes a [`Plugin`]. Every check that can be made before a call is made
//! here, in an order in which the first that fails names the thing that a person can change: digest, size, manifest,
//! contract version, grants, code, types.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use purlin_registry::component::{self, Interfaces};
use purlin_registry::contract::WASI_NN;
use purlin_registry::{Capability, CapabilityRequest, Manifest, ManifestError, Rights, Stage, mismatches};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::cache::{self, CodeCache, Found};
use crate::call;
use crate::config::{Config, Limits};
use crate::crew::Crew;
use crate::engine::{self, Ticker};
use crate::error::{LoadError, SandboxError};
use crate::functions::Functions;
use crate::gate::{Gate, HeldPlaces, Shared};
use crate::metrics::Metrics;
use crate::plugin::{Core, Plugin};
use crate::quota::{Quota, Quotas, Usage};
use crate::resolver::{LogAllowance, Resolver, StageResolver};
use crate::service::{PluginId, Services};
use crate::{contract, wasi};

/// What to load, and with what rights.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// Under which name the plugin is installed, for logs and metrics, and which installation it is, for what it stores.
    pub id: PluginId,
    /// The packed component.
    pub component: Bytes,
    /// Its digest, `sha256:...`; checked against the bytes.
    pub digest: String,
    /// Its manifest; `None` reads it from the component.
    pub manifest: Option<Manifest>,
    /// What was granted; the plugin has what of this it asks for. `log` is granted to all and not listed.
    pub grants: Vec<Capability>,
    /// What each call may use.
    pub limits: Limits,
    /// `Plugin.spec.config`, passed to every call; `{}` where there is none.
    pub config: serde_json::Value,
}

/// The engines and everything that plugins share. Clones are the same sandbox.
#[derive(Clone)]
pub struct Sandbox {
    /// Where plugins get a fresh instance for each call.
    calls: Arc<Host>,
    /// Where those live that serve models: their instances are kept.
    kept: Arc<Host>,
}

/// What all plugins of an engine share. Both engines of a sandbox have the same crew, services and quotas.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
    pub(crate) crew: Arc<Crew>,
    pub(crate) metrics: Metrics,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) services: Arc<Services>,
    pub(crate) quotas: Arc<Quotas>,
    /// Places for instances that hold a model.
    pub(crate) kept: Arc<Semaphore>,
    /// Where I/O for plugins runs; the one that the sandbox was made on.
    pub(crate) runtime: Option<tokio::runtime::Handle>,
    /// Places for calls by the kernel.
    pub(crate) outer: Arc<Shared>,
    /// Places for calls between plugins.
    pub(crate) nested: Arc<Shared>,
    cache: CodeCache,
    config: Config,
}

impl Sandbox {
    /// Starts the engines, their tickers and the crew.
    pub fn new(config: Config, services: Services, metrics: Metrics) -> Result<Sandbox, SandboxError> {
        let dir = config.cache_dir.as_deref().and_then(cache::trusted);
        let functions = dir.and_then(Functions::open).map(Arc::new);
        let calls = engine::pooled(&config, functions.as_ref())?;
        let kept = engine::kept(functions.as_ref())?;
        let crew = Arc::new(Crew::start(config.crew)?);
        let (resolver, quotas) = (Arc::new(Resolver::default()), Arc::new(Quotas::default()));
        let (services, places) = (Arc::new(services), Arc::new(Semaphore::new(config.max_kept)));
        let host = |engine: Engine| -> Result<Arc<Host>, SandboxError> {
            Ok(Arc::new(Host {
                ticker: Ticker::start(&engine)?,
                crew: Arc::clone(&crew),
                metrics: metrics.clone(),
                resolver: Arc::clone(&resolver),
                services: Arc::clone(&services),
                quotas: Arc::clone(&quotas),
                kept: Arc::clone(&places),
                runtime: tokio::runtime::Handle::try_current().ok(),
                outer: Shared::new(config.max_instances as usize),
                nested: Shared::new(config.max_instances as usize),
                cache: CodeCache::open(dir, &engine),
                engine,
                config: config.clone(),
            }))
        };
        Ok(Sandbox { calls: host(calls)?, kept: host(kept)? })
    }

    /// Says who serves `call(tuner)`. Until then, and once the resolver is gone, such calls answer with a fault.
    pub fn set_resolver(&self, resolver: Weak<dyn StageResolver>) {
        self.calls.resolver.set(resolver);
    }

    /// Limits what plugins use for a namespace together from now on; `None` ends the limit.
    pub fn set_quota(&self, namespace: &str, quota: Option<Quota>) {
        self.calls.quotas.set(namespace, quota);
    }

    /// What plugins have used for a namespace that has a quota.
    pub fn usage(&self, namespace: &str) -> Option<Usage> {
        self.calls.quotas.usage(namespace)
    }

    /// Checks, compiles (or takes from the cache) and links a component.
    ///
    /// Compilation takes from some milliseconds to seconds and runs on a thread for blocking work. A grant that the
    /// plugin does not use has no effect.
    pub async fn load(&self, request: LoadRequest) -> Result<Arc<Plugin>, LoadError> {
        self.check_limits(&request)?;
        let sandbox = self.clone();
        let prepared = tokio::task::spawn_blocking(move || prepare(&sandbox, request)).await;
        let core = Arc::new(prepared.map_err(|_| LoadError::Interrupted)??);
        call::probe(&core).await.map_err(|error| LoadError::Contract(error.to_string()))?;
        Ok(Arc::new(Plugin::new(core)))
    }

    fn check_limits(&self, request: &LoadRequest) -> Result<(), LoadError> {
        let config = &self.calls.config;
        if request.component.len() > config.max_component {
            return Err(LoadError::TooLarge { size: request.component.len(), limit: config.max_component });
        }
        if request.limits.memory > config.max_memory {
            let (asked, allowed) = (request.limits.memory, config.max_memory);
            return Err(LoadError::Limit { name: "memory", asked, allowed });
        }
        Ok(())
    }
}

fn prepare(sandbox: &Sandbox, request: LoadRequest) -> Result<Core, LoadError> {
    let found = format!("sha256:{}", hex::encode(Sha256::digest(&request.component)));
    if found != request.digest {
        return Err(LoadError::DigestMismatch { expected: request.digest, found });
    }
    let manifest = match request.manifest {
        Some(manifest) => manifest,
        None => Manifest::from_component(&request.component)?,
    };
    let host = if manifest.serves(Stage::ServingRuntime) { &sandbox.kept } else { &sandbox.calls };
    let interfaces = component::interfaces(&request.component).map_err(ManifestError::from)?;
    let rights = manifest.rights(&request.grants);
    let asked: BTreeSet<_> =
        manifest.capabilities.iter().flat_map(|asked| asked.name.interfaces()).copied().collect();
    check_interfaces(&interfaces, &manifest, &rights)?;
    let wasi = interfaces.imports.iter().any(|import| wasi::serves(import));
    let component = compile(host, &request.component, &request.digest)?;

    let broken = |error: wasmtime::Error| LoadError::Contract(format!("{error:#}"));
    let mut linker = Linker::new(&host.engine);
    contract::link(&mut linker, &manifest.wit, &asked).map_err(broken)?;
    if wasi {
        wasi::link(&mut linker).map_err(broken)?;
    }
    let pre = linker.instantiate_pre(&component).map_err(broken)?;
    let exports = contract::Exports::find(&pre, &manifest).map_err(broken)?;

    let name = Arc::new(request.id.name.clone());
    Ok(Core {
        pre,
        exports,
        gate: Gate::new(request.limits.concurrency),
        held: HeldPlaces::default(),
        log: LogAllowance::new(host.metrics.log_dropped(&name)),
        in_flight: host.metrics.in_flight(&name),
        memory: host.metrics.memory(&name),
        name,
        id: request.id,
        digest: request.digest,
        rights,
        wasi,
        manifest,
        limits: request.limits,
        config: if request.config.is_null() { "{}".to_owned() } else { request.config.to_string() },
        host: Arc::clone(host),
    })
}

/// Whether all that the component imports is asked for, and granted where it cannot be without; and whether what it exports
/// is what its manifest says.
fn check_interfaces(interfaces: &Interfaces, manifest: &Manifest, rights: &Rights) -> Result<(), LoadError> {
    for import in &interfaces.imports {
        if wasi::serves(import) {
            continue;
        }
        let Some(interface) = own_interface(import, manifest)? else {
            return Err(LoadError::UnknownImport { import: import.clone() });
        };
        let free = |stage: &Stage| stage.free_imports().contains(&interface);
        if contract::FREE.contains(&interface) || manifest.stages.iter().any(free) {
            continue;
        }
        let Some(form) = Capability::form_of_interface(interface) else {
            return Err(LoadError::UnknownImport { import: import.clone() });
        };
        if rights.allow_interface(interface) {
            continue;
        }
        let asked = |request: &&CapabilityRequest| request.name.interfaces().contains(&interface);
        let mut requests = manifest.capabilities.iter().filter(asked).peekable();
        let (capability, reason) = if requests.peek().is_none() {
            (form.to_owned(), "the manifest does not say".to_owned())
        } else if let Some(needed) = requests.find(|request| !request.optional) {
            (needed.name.to_string(), needed.reason.clone())
        } else {
            continue;
        };
        return Err(LoadError::NotGranted { capability, reason });
    }
    for export in &interfaces.exports {
        own_interface(export, manifest)?;
    }
    let wrong = mismatches(interfaces, manifest);
    if !wrong.is_empty() {
        return Err(ManifestError::Invalid(wrong).into());
    }
    Ok(())
}

/// The interface of the contract behind a full name, in short; `None` where the name is not of the contract's packages.
fn own_interface<'a>(name: &'a str, manifest: &Manifest) -> Result<Option<&'a str>, LoadError> {
    let Some((interface, version)) = component::short(name) else { return Ok(None) };
    let wit = manifest.wit.to_string();
    let expected = if interface.starts_with("nn/") { WASI_NN } else { &wit };
    if version != expected {
        return Err(LoadError::WrongVersion { interface: name.to_owned(), wit });
    }
    Ok(Some(interface))
}

fn compile(host: &Host, bytes: &[u8], digest: &str) -> Result<Component, LoadError> {
    match host.cache.find(&host.engine, digest) {
        Found::Hit(component) => {
            host.metrics.cache("hit");
            return Ok(component);
        }
        Found::Miss => host.metrics.cache("miss"),
        Found::Corrupt => host.metrics.cache("corrupt"),
    }
    let started = Instant::now();
    let component =
        Component::new(&host.engine, bytes).map_err(|error| LoadError::Compile(format!("{error:#}")))?;
    host.metrics.compiled(started.elapsed());
    host.cache.keep(digest, &component);
    Ok(component)
}
