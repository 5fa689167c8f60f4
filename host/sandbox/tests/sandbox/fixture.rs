//! Makes components from WebAssembly text. Each test writes the one function that matters; the rest of the contract is
//! filled in with answers that are empty.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use purlin_registry::{Manifest, pack};
use purlin_sandbox::contract::{Context, Direction, Objective, Search, SyncRequest};
use purlin_sandbox::service::PluginId;
use purlin_sandbox::{Capability, Config, Limits, LoadError, LoadRequest, Metrics, Plugin, Sandbox, Subject};
use serde_json::json;
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A bump allocator over the memory from the second page on; the first is the tests' own.
const PRELUDE: &str = r#"
    (memory (export "memory") 2)
    (global $heap (mut i32) (i32.const 65536))
    (func $alloc (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
            (result i32)
        (local $at i32) (local $have i32)
        (local.set $at (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                                (i32.sub (i32.const 0) (local.get $align))))
        (global.set $heap (i32.add (local.get $at) (local.get $size)))
        (local.set $have (i32.mul (memory.size) (i32.const 65536)))
        (if (i32.gt_u (global.get $heap) (local.get $have))
            (then (if (i32.eq (i32.const -1)
                              (memory.grow (i32.add (i32.const 1)
                                  (i32.shr_u (i32.sub (global.get $heap) (local.get $have)) (i32.const 16)))))
                      (then unreachable))))
        (local.get $at))
"#;

pub(crate) const RELATED: &str =
    r#"(func (export "purlin:plugin/controller@0.1.0#related") (param i64 i64 i32 i32 i32 i32) (result i32)"#;
pub(crate) const SYNC: &str = r#"(func (export "purlin:plugin/controller@0.1.0#sync")
    (param $now i64) (param $seed i64) (param $config i32) (param $config_len i32) (param $parent i32)
    (param $parent_len i32) (param $children i32) (param $children_len i32) (param $related i32)
    (param $related_len i32) (result i32)"#;
pub(crate) const FINALIZE: &str = r#"(func (export "purlin:plugin/controller@0.1.0#finalize")
    (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)"#;
pub(crate) const ALGORITHMS: &str = r#"(func (export "purlin:plugin/tuner@0.1.0#algorithms") (result i32)"#;
pub(crate) const VALIDATE: &str =
    r#"(func (export "purlin:plugin/tuner@0.1.0#validate") (param i32) (result i32)"#;
pub(crate) const SUGGEST: &str =
    r#"(func (export "purlin:plugin/tuner@0.1.0#suggest") (param i32) (result i32)"#;
pub(crate) const STOP: &str = r#"(func (export "purlin:plugin/tuner@0.1.0#stop") (param i32) (result i32)"#;

pub(crate) const IMPORT_LOG: &str =
    r#"(import "purlin:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
pub(crate) const IMPORT_SUGGEST: &str =
    r#"(import "purlin:plugin/tuners@0.1.0" "suggest" (func $suggest (param i32 i32)))"#;

/// Answers with the parent as the only child. Address 1024 holds the answer, 2048 the list of one string.
pub(crate) const ECHO: &str = "
    (i32.store (i32.const 2048) (local.get $parent)) (i32.store (i32.const 2052) (local.get $parent_len))
    (i32.store (i32.const 1032) (i32.const 2048)) (i32.store (i32.const 1036) (i32.const 1))
    (i32.const 1024))";

/// A dialect whose `sync` has `body` (with its closing parenthesis).
pub(crate) fn dialect(name: &str, imports: &str, body: &str) -> Vec<u8> {
    let module = format!(
        "(module {imports} {PRELUDE} {RELATED} (i32.const 4096)) {FINALIZE} (i32.const 4096)) {SYNC} {body})"
    );
    let manifest = json!({
        "name": name, "version": "0.1.0", "wit": "0.1.0", "stages": ["dialect"],
        "owns": [{"crd": {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.test.dev"},
            "spec": {
                "group": "test.dev", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
                "versions": [{"name": "v1", "served": true, "storage": true}]
            }
        }}],
        "capabilities": capabilities(imports),
    });
    packed("dialect-plugin", &module, manifest)
}

/// A tuner that answers to the algorithm `name` and whose `suggest` has `body` (with its closing parenthesis).
pub(crate) fn tuner(name: &str, imports: &str, body: &str) -> Vec<u8> {
    let module = format!(
        "(module {imports} {PRELUDE} {ALGORITHMS} (i32.const 4096)) {VALIDATE} (i32.const 4096))
            {STOP} (i32.const 4096)) {SUGGEST} {body})"
    );
    let manifest = json!({
        "name": name, "version": "0.1.0", "wit": "0.1.0", "stages": ["tuner"], "algorithms": [name],
        "capabilities": capabilities(imports),
    });
    packed("tuner-plugin", &module, manifest)
}

fn capabilities(imports: &str) -> serde_json::Value {
    if imports.contains("tuners@") {
        json!([{"name": "call(tuner)", "reason": "asks another tuner"}])
    } else {
        json!([])
    }
}

fn packed(world: &str, module: &str, manifest: serde_json::Value) -> Vec<u8> {
    let manifest = Manifest::from_json(manifest.to_string().as_bytes()).expect("manifest");
    pack(&module_for(world, module), &manifest).expect("pack")
}

/// A core module with the metadata that wit-bindgen would put in.
pub(crate) fn module_for(world: &str, module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir("../../wit/v0.1").expect("contract");
    let world = resolve.select_world(&[package], Some(world)).expect("world");
    let mut module = wat::parse_str(module).expect("module text");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).expect("metadata");
    module
}

pub(crate) fn sandbox() -> Sandbox {
    sandbox_with(Config::default())
}

pub(crate) fn sandbox_with(config: Config) -> Sandbox {
    Sandbox::new(config, Default::default(), Metrics::new(&mut Default::default())).expect("sandbox")
}

pub(crate) fn limits() -> Limits {
    Limits { memory: 4 << 20, deadline: Duration::from_millis(200), output: 64 << 10, concurrency: 4 }
}

pub(crate) fn request(component: Vec<u8>, grants: &[Capability]) -> LoadRequest {
    use sha2::{Digest, Sha256};
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(&component)));
    LoadRequest {
        id: PluginId { name: installed_as(&component), uid: "1".to_owned() },
        component: Bytes::from(component),
        digest,
        manifest: None,
        grants: grants.to_vec(),
        limits: limits(),
        config: json!({"who": "test"}),
    }
}

/// The name in the manifest, as `purlin plugin install` has it.
fn installed_as(component: &[u8]) -> String {
    Manifest::from_component(component).map_or_else(|_| "unnamed".to_owned(), |manifest| manifest.name)
}

pub(crate) async fn load(sandbox: &Sandbox, component: Vec<u8>) -> Arc<Plugin> {
    try_load(sandbox, component, &[]).await.expect("load")
}

pub(crate) async fn try_load(
    sandbox: &Sandbox,
    component: Vec<u8>,
    grants: &[Capability],
) -> Result<Arc<Plugin>, LoadError> {
    sandbox.load(request(component, grants)).await
}

pub(crate) fn subject() -> Subject {
    Subject::object("test.dev/v1", "Thing", "default", "a")
}

pub(crate) fn parent() -> String {
    json!({"apiVersion": "test.dev/v1", "kind": "Thing", "metadata": {"name": "a", "namespace": "default"}})
        .to_string()
}

pub(crate) fn sync_request(plugin: &Plugin) -> SyncRequest {
    SyncRequest { context: plugin.context(1, 2), parent: parent(), children: vec![], related: vec![] }
}

pub(crate) fn search(algorithm: &str) -> Search {
    Search {
        context: Context { now_ms: 1, seed: 2, config: "{}".to_owned() },
        algorithm: algorithm.to_owned(),
        settings: vec![],
        parameters: vec![],
        objective: Objective {
            metric: "loss".to_owned(),
            direction: Direction::Minimize,
            goal: None,
            additional: vec![],
        },
        trials: vec![],
        max_trials: None,
    }
}
