//! A dialect that tries what it is told to: `spec.steps` of a Probe is a list of things to do with the host, and its status
//! lists what came of each. `spec.children` are objects to answer with, `spec.related` selectors to ask for. Tests give it
//! grants and see what gets through.
//!
//! `check` in `Plugin.spec.config` says how `lifecycle.check` ends: `ok`, `invalid`, `retry`, `failed` or `trap`.

mod steps;

use purlin_sdk::serde_json::{self, Value, json};
use purlin_sdk::{Context, Dialect, Fault, Object as _, Selector, SyncRequest, SyncResponse, fault};

/// The plugin.
pub struct Probe;

impl Dialect for Probe {
    fn check(context: &Context) -> Result<(), Fault> {
        let config: Value = serde_json::from_str(&context.config).unwrap_or_default();
        match config.text(&["check"]) {
            "invalid" => Err(Fault::Invalid(vec![fault::field(
                "spec.config.check",
                "invalid",
                "it is said to be wrong",
            )])),
            "retry" => Err(Fault::Retry(purlin_sdk::Retry { after_ms: 1000, reason: "not yet".to_owned() })),
            "failed" => Err(Fault::Failed("it is said to fail".to_owned())),
            "trap" => panic!("it is said to trap"),
            _ => Ok(()),
        }
    }

    fn related(_: &Context, parent: &Value) -> Result<Vec<Selector>, Fault> {
        let selector = |asked: &Value| Selector {
            api_version: asked.text(&["apiVersion"]).to_owned(),
            kind: asked.text(&["kind"]).to_owned(),
            namespace: asked["namespace"].as_str().map(str::to_owned),
            names: Vec::new(),
            labels: String::new(),
        };
        Ok(list(&parent["spec"]["related"]).iter().map(selector).collect())
    }

    fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault> {
        let spec = &request.parent["spec"];
        let results: Vec<Value> =
            list(&spec["steps"]).iter().map(|step| steps::run(step, &request.context)).collect();
        let related: Vec<_> = request.related.iter().map(|object| object.name().to_owned()).collect();
        Ok(SyncResponse {
            children: list(&spec["children"]).to_vec(),
            status: Some(json!({"results": results, "related": related})),
            ..SyncResponse::default()
        })
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

purlin_sdk::export_dialect!(Probe);
