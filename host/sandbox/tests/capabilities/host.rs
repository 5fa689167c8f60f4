//! The probe in a sandbox, and services that remember what they were asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use purlin_registry::{Artifact, layout};
use purlin_sandbox::contract::{CloudEvent, HostError, KvItem, SyncRequest};
use purlin_sandbox::service::{BlobFolder, Egress, EventSink, KeyValue, PluginId, Secrets};
use purlin_sandbox::{Config, Limits, LoadError, LoadRequest, Metrics, Plugin, Sandbox, Services, Subject};
use serde_json::{Value, json};

/// Everything that the probe asks for, as narrow or wide as the test needs it.
pub(crate) const OTHERS: &[&str] = &[
    "http(GET https://nowhere.invalid)",
    "secret(allowed)",
    "kv",
    "blob",
    "events(com.example.allowed)",
    "call(tuner)",
    "kube(write core/ConfigMap)",
];

pub(crate) fn artifact(layout_folder: &str, name: &str) -> Artifact {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(layout_folder);
    let artifacts = layout::read(&folder).expect("the committed components");
    let found = artifacts.into_iter().find(|(_, artifact)| artifact.manifest().name == name);
    found.expect("a component of this name").1
}

pub(crate) fn request(artifact: &Artifact, grants: &[&str], uid: &str) -> LoadRequest {
    LoadRequest {
        id: PluginId { name: "probe".to_owned(), uid: uid.to_owned() },
        component: artifact.component().clone(),
        digest: artifact.component_digest().to_string(),
        manifest: Some(artifact.manifest().clone()),
        grants: grants.iter().map(|grant| grant.parse().expect("a capability")).collect(),
        limits: Limits { deadline: Duration::from_millis(1500), output: 256 << 10, ..Limits::default() },
        config: json!({}),
    }
}

/// A host for one test.
pub(crate) struct Host {
    sandbox: Sandbox,
    pub(crate) services: Arc<Fake>,
    _folder: tempfile::TempDir,
}

impl Host {
    pub(crate) fn new() -> Host {
        Host::trusting(None)
    }

    /// One that trusts this certificate authority too.
    pub(crate) fn trusting(authority: Option<&str>) -> Host {
        let folder = tempfile::tempdir().expect("dir");
        let fake = Arc::new(Fake::default());
        let services = Services {
            http: Some(Arc::new(Egress::new(authority.map(str::as_bytes)).expect("egress"))),
            secrets: Some(fake.clone()),
            kv: Some(fake.clone()),
            blobs: Some(Arc::new(BlobFolder::new(folder.path().join("blobs")))),
            events: Some(fake.clone()),
            inference: None,
        };
        let sandbox = Sandbox::new(Config::default(), services, Metrics::new(&mut Default::default()))
            .expect("sandbox");
        Host { sandbox, services: fake, _folder: folder }
    }

    pub(crate) async fn load(&self, grants: &[&str]) -> Result<Probe, LoadError> {
        self.load_as("1", grants).await
    }

    /// Another installation of the same plugin, under the same name.
    pub(crate) async fn load_as(&self, uid: &str, grants: &[&str]) -> Result<Probe, LoadError> {
        let artifact = artifact("plugins/testing/dist", "dialect-probe");
        self.sandbox.load(request(&artifact, grants, uid)).await.map(Probe)
    }

    /// The probe with one grant more than it needs to load.
    pub(crate) async fn probe(&self, grant: &str) -> Probe {
        let grants: Vec<_> = OTHERS.iter().copied().chain([grant]).collect();
        self.load(&grants).await.expect("load")
    }

    pub(crate) async fn load_request(&self, request: LoadRequest) -> Result<Arc<Plugin>, LoadError> {
        self.sandbox.load(request).await
    }
}

pub(crate) struct Probe(Arc<Plugin>);

impl Probe {
    /// Does one thing for an object in the namespace `team`.
    pub(crate) async fn does(&self, step: Value) -> Value {
        self.does_in("team", step).await
    }

    pub(crate) async fn does_in(&self, namespace: &str, step: Value) -> Value {
        let parent = json!({
            "apiVersion": "testing.purlin.dev/v1", "kind": "Probe", "metadata": {"name": "a"},
            "spec": {"steps": [step]},
        });
        let subject = Subject::object("testing.purlin.dev/v1", "Probe", namespace, "a");
        let context = self.0.context(1_000, 7);
        let request =
            SyncRequest { context, parent: parent.to_string(), children: Vec::new(), related: Vec::new() };
        match self.0.sync(&subject, request).await {
            Ok(answer) => answer.status.expect("a status")["results"][0].clone(),
            Err(error) => json!({"call": error.to_string()}),
        }
    }

    pub(crate) fn plugin(&self) -> &Plugin {
        &self.0
    }
}

type Versioned = (u64, Vec<u8>);

/// Secrets, a key-value store and a receiver of events, in memory.
#[derive(Default)]
pub(crate) struct Fake {
    /// By the UID of a plugin and a key: version and value.
    store: Mutex<BTreeMap<(String, String), Versioned>>,
    pub(crate) events: Mutex<Vec<(String, CloudEvent)>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Secrets for Fake {
    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, HostError> {
        self.asked.lock().expect("lock").push(format!("{namespace}/{name}"));
        let content = format!("content of {namespace}/{name}").into_bytes();
        Ok((name != "absent").then(|| BTreeMap::from([("key".to_owned(), content)])))
    }
}

#[async_trait]
impl KeyValue for Fake {
    async fn get(&self, plugin: &PluginId, key: &str) -> Result<Option<KvItem>, HostError> {
        let found = self.store.lock().expect("lock").get(&(plugin.uid.clone(), key.to_owned())).cloned();
        Ok(found.map(|(version, value)| KvItem { value, version }))
    }

    async fn set(
        &self,
        plugin: &PluginId,
        key: &str,
        value: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<u64, HostError> {
        let mut store = self.store.lock().expect("lock");
        let at = (plugin.uid.clone(), key.to_owned());
        let present = store.get(&at).map_or(0, |(version, _)| *version);
        if expected.is_some_and(|expected| expected != present) {
            return Err(HostError::Conflict(present.to_string()));
        }
        store.insert(at, (present + 1, value));
        Ok(present + 1)
    }

    async fn delete(&self, plugin: &PluginId, key: &str) -> Result<(), HostError> {
        self.store.lock().expect("lock").remove(&(plugin.uid.clone(), key.to_owned()));
        Ok(())
    }

    async fn keys(&self, plugin: &PluginId, prefix: &str) -> Result<Vec<String>, HostError> {
        let store = self.store.lock().expect("lock");
        let own = store.keys().filter(|(uid, key)| *uid == plugin.uid && key.starts_with(prefix));
        Ok(own.map(|(_, key)| key.clone()).collect())
    }
}

#[async_trait]
impl EventSink for Fake {
    async fn publish(&self, plugin: &PluginId, event: CloudEvent) -> Result<(), HostError> {
        self.events.lock().expect("lock").push((plugin.name.clone(), event));
        Ok(())
    }
}
