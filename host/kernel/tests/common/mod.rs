//! What the integration tests share: a real API server (`PURLIN_TEST_KUBECONFIG`), and native plugins.
//!
//! Without the variable the tests say so and pass: they need `tests/real/start.sh`.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary has a copy of this module and uses a part of it"
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use prometheus_client::registry::Registry;
use purlin_kernel::api::{Plugin, PluginSpec};
use purlin_kernel::shard::Holdings;
use purlin_kernel::stage::{LoadedPlugin, PluginSource, Pulled, SourceError};
use purlin_kernel::{Config, Kernel, KernelError};
use purlin_registry::Manifest;
use purlin_sandbox::contract::{
    Assignment, Context, Domain, FieldError, Search, Selector, Suggestion, SyncRequest,
};
use purlin_sandbox::service::PluginId;
use purlin_sandbox::{CallError, Subject, SyncAnswer};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A client of the real API server, where there is one.
pub async fn client() -> Option<Client> {
    let Ok(path) = std::env::var("PURLIN_TEST_KUBECONFIG") else {
        eprintln!("skipped: set PURLIN_TEST_KUBECONFIG to the kubeconfig that tests/real/start.sh writes");
        return None;
    };
    let kubeconfig = Kubeconfig::read_from(path).expect("the kubeconfig can be read");
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("valid");
    Some(Client::try_from(config).expect("a client"))
}

/// Kernels of several tests would reconcile one another's objects: one test at a time.
pub async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    ONE.lock().await
}

/// A namespace of the test's own.
pub async fn namespace(client: &Client, name: &str) -> String {
    let name = format!("{name}-{}", std::process::id());
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": name}})).expect("a namespace");
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("created");
    name
}

type Packed = (Manifest, Arc<dyn LoadedPlugin>);

/// Plugins that are Rust: by image, what each says about itself and does.
#[derive(Clone, Default)]
pub struct Native {
    plugins: Arc<Mutex<HashMap<String, Packed>>>,
    /// By image, what a tag stands for; by default a digest of the image's name.
    pub tags: Arc<Mutex<HashMap<String, String>>>,
}

impl Native {
    pub fn add(&self, image: &str, manifest: Value, plugin: impl LoadedPlugin + 'static) {
        let manifest = Manifest::from_json(manifest.to_string().as_bytes()).expect("a manifest");
        self.plugins.lock().expect("not poisoned").insert(image.to_owned(), (manifest, Arc::new(plugin)));
    }
}

#[async_trait]
impl PluginSource for Native {
    async fn resolve(&self, image: &str) -> Result<String, SourceError> {
        let moved = self.tags.lock().expect("not poisoned").get(image).cloned();
        Ok(moved.unwrap_or_else(|| format!("sha256:{:0>64}", image.len())))
    }

    async fn pull(&self, image: &str, digest: &str) -> Result<Pulled, SourceError> {
        match self.plugins.lock().expect("not poisoned").get(image) {
            Some((manifest, _)) => Ok(Pulled {
                digest: digest.to_owned(),
                component_digest: digest.to_owned(),
                manifest: manifest.clone(),
                component: bytes::Bytes::from(image.to_owned()),
            }),
            None => Err(SourceError::Unavailable(format!("no such image: {image}"))),
        }
    }

    async fn load(
        &self,
        _: PluginId,
        pulled: &Pulled,
        _: &PluginSpec,
    ) -> Result<Arc<dyn LoadedPlugin>, SourceError> {
        let image = String::from_utf8_lossy(&pulled.component).into_owned();
        let (_, plugin) = self.plugins.lock().expect("not poisoned")[&image].clone();
        Ok(plugin)
    }
}

fn context(now_ms: u64, seed: u64) -> Context {
    Context { now_ms, seed, config: "{}".to_owned() }
}

/// A tuner that counts: the n-th trial gets n for every parameter.
#[derive(Clone, Default)]
pub struct Counting {
    pub calls: Arc<AtomicU32>,
    /// So many calls fail first.
    pub faults: Arc<AtomicU32>,
}

pub fn counting_manifest(name: &str, algorithm: &str) -> Value {
    json!({"name": name, "version": "0.1.0", "wit": "0.1.0", "stages": ["tuner"], "algorithms": [algorithm]})
}

#[async_trait]
impl LoadedPlugin for Counting {
    fn context(&self, now_ms: u64, seed: u64) -> Context {
        context(now_ms, seed)
    }

    async fn algorithms(&self) -> Result<Vec<String>, CallError> {
        Ok(vec!["counting".to_owned()])
    }

    async fn validate(&self, _: &Subject, search: Search) -> Result<Vec<FieldError>, CallError> {
        let unknown = search.settings.iter().enumerate().filter(|(_, setting)| setting.name == "unknown");
        Ok(unknown
            .map(|(at, setting)| FieldError {
                field: format!("spec.algorithm.settings[{at}]"),
                value: setting.value.clone(),
                reason: "no such setting".to_owned(),
            })
            .collect())
    }

    async fn suggest(&self, _: &Subject, search: Search, count: u32) -> Result<Vec<Suggestion>, CallError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.faults.load(Ordering::Relaxed) > 0 {
            self.faults.fetch_sub(1, Ordering::Relaxed);
            return Err(CallError::Trap {
                function: "suggest",
                reason: "unreachable".to_owned(),
                frames: vec![],
            });
        }
        let point = |n: usize| {
            let value = |domain: &Domain| match domain {
                Domain::Categorical(list) | Domain::Discrete(list) => list[n % list.len()].clone(),
                Domain::Float(_) | Domain::Int(_) => n.to_string(),
            };
            let assign = |p: &purlin_sandbox::contract::Parameter| Assignment {
                name: p.name.clone(),
                value: value(&p.domain),
            };
            Suggestion { assignments: search.parameters.iter().map(assign).collect(), labels: vec![] }
        };
        Ok((search.trials.len()..).take(count as usize).map(point).collect())
    }

    async fn stop(&self, _: &Subject, _: Search) -> Result<Vec<String>, CallError> {
        Ok(vec![])
    }
}

type Related = dyn Fn(&Value) -> Vec<Selector> + Send + std::marker::Sync;
type Sync = dyn Fn(&Value, &[Value], &[Value]) -> Result<SyncAnswer, CallError> + Send + std::marker::Sync;

/// A dialect made of two functions.
#[derive(Clone)]
pub struct Translating {
    pub related: Arc<Related>,
    pub sync: Arc<Sync>,
    pub finalize: Arc<Sync>,
}

impl Translating {
    fn run(with: &Sync, request: &SyncRequest) -> Result<SyncAnswer, CallError> {
        let parse = |text: &String| serde_json::from_str::<Value>(text).expect("an object");
        let (children, related): (Vec<_>, Vec<_>) =
            (request.children.iter().map(parse).collect(), request.related.iter().map(parse).collect());
        with(&parse(&request.parent), &children, &related)
    }
}

#[async_trait]
impl LoadedPlugin for Translating {
    fn context(&self, now_ms: u64, seed: u64) -> Context {
        context(now_ms, seed)
    }

    async fn related(&self, _: &Subject, _: Context, parent: String) -> Result<Vec<Selector>, CallError> {
        Ok((self.related)(&serde_json::from_str(&parent).expect("an object")))
    }

    async fn sync(&self, _: &Subject, request: SyncRequest) -> Result<SyncAnswer, CallError> {
        Self::run(self.sync.as_ref(), &request)
    }

    async fn finalize(&self, _: &Subject, request: SyncRequest) -> Result<SyncAnswer, CallError> {
        Self::run(self.finalize.as_ref(), &request)
    }
}

/// A kernel that runs until it is stopped.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), KernelError>>,
}

impl Running {
    pub async fn start(client: &Client, plugins: &Native) -> Running {
        let config = Config {
            client: client.clone(),
            plugins: Arc::new(plugins.clone()),
            push_url: Some("http://127.0.0.1:1".to_owned()),
            namespace: purlin_kernel::NAMESPACE.to_owned(),
            push_key: None,
            workers: 8,
            holdings: Holdings::everything(),
            install_definitions: true,
        };
        let kernel = Kernel::new(config, &mut Registry::default());
        let mut readiness = kernel.readiness();
        let stop = CancellationToken::new();
        let task = tokio::spawn(kernel.run(stop.clone()));
        if !readiness.ready().await {
            panic!("the kernel did not start: {:?}", task.await);
        }
        Running { stop, task }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("a clean stop");
    }

    /// Ends the kernel as a crash would.
    pub fn kill(self) {
        self.task.abort();
    }
}

/// Creates a Plugin, and deletes one of the same name first.
pub async fn install(client: &Client, name: &str, image: &str, grants: &[&str]) {
    let api: Api<Plugin> = Api::all(client.clone());
    let _ = api.delete(name, &Default::default()).await;
    eventually("the old plugin is gone", async || api.get_opt(name).await.ok()?.is_none().then_some(()))
        .await;
    let spec = PluginSpec {
        image: image.to_owned(),
        grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
        ..PluginSpec::default()
    };
    api.create(&PostParams::default(), &Plugin::new(name, spec)).await.expect("created");
}

/// Waits until something is there.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 30 s: {what}");
}

/// Status and reason of a condition, as `True/GoalReached`.
pub fn condition(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.map_or_else(String::new, |condition| {
        format!(
            "{}/{}",
            condition["status"].as_str().unwrap_or(""),
            condition["reason"].as_str().unwrap_or("")
        )
    })
}

/// Waits until a condition says so.
pub async fn reaches<K>(api: &Api<K>, name: &str, kind: &str, expected: &str) -> Value
where
    K: Clone + serde::de::DeserializeOwned + serde::Serialize + std::fmt::Debug + kube::Resource,
{
    let mut last = Value::Null;
    for _ in 0..600 {
        if let Ok(Some(object)) = api.get_opt(name).await {
            let object = serde_json::to_value(&object).expect("JSON");
            if condition(&object, kind) == expected {
                return object;
            }
            last = object;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} did not reach {kind}={expected}: {:#}", last["status"]);
}
