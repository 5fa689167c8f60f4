//! A cluster in memory: it stores objects, asks the dialect as the kernel does, applies its answers, and lets Models and
//! Routes become ready when it is told to. What a real server adds to an object (defaults, generations) it adds too.
//! Dialects of serving share it: each of their tests says which one is its `Subject`.

#![allow(dead_code, unreachable_pub)]

pub mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{Context, Dialect as _, Event, Fault, Object as _, Selector, SyncRequest};

use super::Subject;

/// Kind and name.
pub type Key = (String, String);

/// One namespace and what is in it.
#[derive(Default)]
pub struct World {
    objects: BTreeMap<Key, Value>,
    owners: BTreeMap<Key, Key>,
    /// Models that are made ready as soon as they are there.
    pub willing: bool,
    /// The events of all syncs, with their reasons first.
    pub events: Vec<String>,
    minute: u64,
}

const OWNED: &[&str] =
    &["InferenceService", "TrainedModel", "InferenceGraph", "LLMInferenceService", "Predictor"];
const CLUSTER: &[&str] = &["ClusterServingRuntime"];

impl World {
    /// A cluster where every Model becomes ready.
    pub fn willing() -> Self {
        World { willing: true, ..World::default() }
    }

    /// Creates or replaces an object, keeping its status.
    pub fn apply(&mut self, mut object: Value) {
        let key = key(&object);
        if !CLUSTER.contains(&key.0.as_str()) {
            object["metadata"]["namespace"] = "default".into();
        }
        let before = self.objects.get(&key);
        let generation =
            before.map_or(0, |before| before.int(&["metadata", "generation"]).unwrap_or_default());
        let same = before.is_some_and(|before| before["spec"] == object["spec"]);
        object["metadata"]["generation"] = (generation + i64::from(!same)).into();
        if let Some(status) = before.and_then(|before| before.get("status")) {
            object["status"] = status.clone();
        }
        self.objects.insert(key, object);
    }

    /// Changes one object in place.
    pub fn edit(&mut self, kind: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(kind, name).clone();
        change(&mut object);
        self.apply(object);
    }

    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(kind.to_owned(), name.to_owned()))
    }

    pub fn get(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name)
            .unwrap_or_else(|| panic!("there is no {kind} {name}; there are {:?}", self.names()))
    }

    pub fn names(&self) -> Vec<String> {
        self.objects.keys().map(|(kind, name)| format!("{kind} {name}")).collect()
    }

    pub fn of_kind(&self, kind: &str) -> Vec<&str> {
        self.objects.keys().filter(|(other, _)| other == kind).map(|(_, name)| name.as_str()).collect()
    }

    pub fn objects(&self) -> impl Iterator<Item = &Value> {
        self.objects.values()
    }

    /// What the kernel would send for one parent.
    pub fn request(&self, parent: &Key) -> SyncRequest {
        let context =
            Context { now_ms: 1_795_000_000_000 + self.minute * 60_000, seed: 1, config: "{}".to_owned() };
        let parent_object = self.objects[parent].clone();
        let children = self.owners.iter().filter(|(_, owner)| *owner == parent);
        let children = children.filter_map(|(child, _)| self.objects.get(child)).cloned().collect();
        let selectors = Subject::related(&context, &parent_object).expect("a selection");
        let selects = |object: &&Value| selectors.iter().any(|selector| selected(selector, object));
        let related = self.objects.values().filter(selects).cloned().collect();
        SyncRequest { context, parent: parent_object, children, related }
    }

    /// Syncs every parent once and carries the answers out. Says whether anything changed.
    pub fn round(&mut self) -> Result<bool, Fault> {
        let before = self.objects.clone();
        let parents: Vec<Key> =
            self.objects.keys().filter(|(kind, _)| OWNED.contains(&kind.as_str())).cloned().collect();
        for parent in parents {
            self.minute += 1;
            let request = self.request(&parent);
            let answer = Subject::sync(&request)?;
            assert_eq!(Ok(&answer), Subject::sync(&request).as_ref(), "the same request gave another answer");
            self.events.extend(answer.events.iter().map(told));
            let mut wanted = BTreeSet::new();
            for child in answer.children {
                let key = key(&child);
                let owner = self.owners.entry(key.clone()).or_insert_with(|| parent.clone());
                assert_eq!(*owner, parent, "{key:?} has another owner");
                assert!(wanted.insert(key), "a child is given twice");
                self.apply(defaulted(child));
            }
            let gone: Vec<Key> = self
                .owners
                .iter()
                .filter(|(_, owner)| **owner == parent)
                .map(|(key, _)| key.clone())
                .collect();
            for key in gone.into_iter().filter(|key| !wanted.contains(key)) {
                self.objects.remove(&key);
                self.owners.remove(&key);
            }
            if let (Some(status), Some(object)) = (answer.status, self.objects.get_mut(&parent)) {
                object["status"] = status;
            }
        }
        self.serve();
        Ok(before != self.objects)
    }

    /// Rounds until nothing changes.
    pub fn settle(&mut self) {
        for _ in 0..20 {
            if !self.round().expect("no fault") {
                return;
            }
        }
        panic!("it does not settle: {:?}", self.names());
    }

    /// What the model loop and the route loop would report.
    fn serve(&mut self) {
        if self.willing {
            for name in self.of_kind("Model").into_iter().map(str::to_owned).collect::<Vec<_>>() {
                if self.get("Model", &name).condition("Ready").is_none() {
                    self.set_ready(&name);
                }
            }
        }
        let ready: BTreeSet<String> = self
            .objects
            .values()
            .filter(|object| object["kind"] == "Model" && object.is_true("Ready"))
            .map(|object| object.name().to_owned())
            .collect();
        for route in self.objects.values_mut().filter(|object| object["kind"] == "Route") {
            let name = route.name().to_owned();
            let answers = route
                .items(&["spec", "backends"])
                .iter()
                .all(|backend| ready.contains(backend.text(&["model"])));
            let transformer = route.text(&["spec", "transformer"]);
            let answers = answers && (transformer.is_empty() || ready.contains(transformer));
            let shared = route.items(&["spec", "sharedHosts"]).first().and_then(Value::as_str);
            let host = shared.map_or_else(|| format!("{name}.default."), str::to_owned);
            route["status"] = json!({
                "url": format!("http://{host}localhost:8085"),
                "pathUrl": format!("http://127.0.0.1:8085/serving/default/{name}/"),
                "conditions": [{
                    "type": "Ready", "status": if answers { "True" } else { "False" }, "reason": "Models", "message": "",
                }],
            });
        }
    }

    /// A Model that can answer.
    pub fn set_ready(&mut self, name: &str) {
        self.report(name, json!({
            "runtime": "runtime-of-the-format", "replicas": 1,
            "conditions": [condition("Resolved", "True", ""), condition("Loaded", "True", ""), condition("Ready", "True", "")],
        }));
    }

    /// A Model that cannot be loaded.
    pub fn set_failed(&mut self, name: &str) {
        self.report(name, json!({"conditions": [
            condition("Resolved", "True", ""), condition("Loaded", "False", "LoadFailed"), condition("Ready", "False", "LoadFailed"),
        ]}));
    }

    fn report(&mut self, name: &str, status: Value) {
        let key = ("Model".to_owned(), name.to_owned());
        self.objects.get_mut(&key).unwrap_or_else(|| panic!("no Model {name}"))["status"] = status;
    }
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": "as it was said"})
}

fn told(event: &Event) -> String {
    format!("{}: {}", event.reason, event.message)
}

fn key(object: &Value) -> Key {
    (object.text(&["kind"]).to_owned(), object.name().to_owned())
}

fn selected(selector: &Selector, object: &Value) -> bool {
    object.is(&selector.api_version, &selector.kind)
        && (selector.names.is_empty() || selector.names.iter().any(|name| name == object.name()))
}

/// The defaults of the generic kinds.
fn defaulted(mut child: Value) -> Value {
    if child["kind"] == "Model" && child["spec"]["scaling"].is_object() {
        for (field, value) in [
            ("maxReplicas", json!(0)),
            ("metric", json!("concurrency")),
            ("concurrency", json!(0)),
            ("idleSeconds", json!(30)),
        ] {
            if child["spec"]["scaling"].get(field).is_none() {
                child["spec"]["scaling"][field] = value;
            }
        }
    }
    child
}

/// The documents of a file of manifests.
pub fn documents(path: &Path) -> Vec<Value> {
    use serde_norway::{Deserializer, Value as Yaml};
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Deserializer::from_str(&text)
        .map(|document| {
            let yaml = <Yaml as serde::Deserialize>::deserialize(document).expect("YAML");
            purlin_sdk::serde_json::to_value(yaml).expect("JSON")
        })
        .collect()
}

/// Manifests in a folder of those that the tests of the whole program apply too.
pub fn folder(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/manifests").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Those of KServe.
pub fn manifests() -> Vec<PathBuf> {
    let mut files = folder("kserve");
    files.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/manifests/kserve-huggingface.yaml"));
    files.sort();
    files
}
