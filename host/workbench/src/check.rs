//! Runs cases in the sandbox that runs plugins, with the limits that plugins have.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use purlin_registry::Manifest;
use purlin_sandbox::service::PluginId;
use purlin_sandbox::{
    Config, Limits, LoadError, LoadRequest, Metrics, Plugin, Sandbox, SandboxError, Services,
};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::case::Case;

/// Why no case could be run.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The sandbox did not start.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The plugin does not load.
    #[error("the plugin does not load: {0}")]
    Load(#[from] LoadError),
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Outcome {
    /// The answer is the expected one, twice.
    Passed,
    /// Nothing was expected yet.
    Unrecorded,
    /// The answer is another one.
    Different {
        /// Each place at which they differ.
        differences: Vec<Difference>,
    },
    /// The same request gave two answers.
    Unstable {
        /// Each place at which they differ.
        differences: Vec<Difference>,
    },
    /// There was no answer: a trap, a limit, a broken contract.
    NoAnswer {
        /// Why.
        reason: String,
    },
}

/// One place at which two answers differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Such as `$.suggestions[0].assignments[1].value`.
    pub path: String,
    /// What is expected there; `None` for nothing.
    pub expected: Option<Value>,
    /// What is there.
    pub actual: Option<Value>,
}

/// A case and how it ended.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How it ended.
    pub outcome: Outcome,
    /// The answer, where there was one.
    pub answer: Option<Value>,
}

/// A component, loaded once for each configuration that cases have.
pub struct Bench {
    sandbox: Sandbox,
    component: Bytes,
    digest: String,
    manifest: Manifest,
    loaded: BTreeMap<String, Arc<Plugin>>,
}

impl Bench {
    /// Starts a sandbox for a packed component. Compiled code is kept in `cache`, if it is given.
    ///
    /// # Errors
    /// When the sandbox does not start.
    pub fn new(
        component: Vec<u8>,
        manifest: Manifest,
        cache: Option<std::path::PathBuf>,
    ) -> Result<Bench, CheckError> {
        let config = Config { cache_dir: cache, max_instances: 4, ..Config::default() };
        // No services: what a plugin asks of the host is answered with `unavailable`.
        let sandbox = Sandbox::new(config, Services::default(), Metrics::new(&mut Default::default()))?;
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&component)));
        Ok(Bench { sandbox, component: component.into(), digest, manifest, loaded: BTreeMap::new() })
    }

    /// Runs a case twice.
    ///
    /// # Errors
    /// When the plugin does not load.
    pub async fn run(&mut self, case: &Case) -> Result<Finding, CheckError> {
        let plugin = self.plugin(&case.config).await?;
        let no_answer = |error: purlin_sandbox::CallError| Finding {
            outcome: Outcome::NoAnswer { reason: error.to_string() },
            answer: None,
        };
        let first = match case.call(&plugin).await {
            Ok(answer) => answer,
            Err(error) => return Ok(no_answer(error)),
        };
        let second = match case.call(&plugin).await {
            Ok(answer) => answer,
            Err(error) => return Ok(no_answer(error)),
        };
        let outcome = if first != second {
            Outcome::Unstable { differences: differences(&first, &second) }
        } else {
            match &case.expect {
                None => Outcome::Unrecorded,
                Some(expected) if *expected == first => Outcome::Passed,
                Some(expected) => match differences(expected, &first) {
                    // Numbers that are the same, written in another way.
                    none if none.is_empty() => Outcome::Passed,
                    differences => Outcome::Different { differences },
                },
            }
        };
        Ok(Finding { outcome, answer: Some(first) })
    }

    async fn plugin(&mut self, config: &Value) -> Result<Arc<Plugin>, CheckError> {
        let key = config.to_string();
        if let Some(plugin) = self.loaded.get(&key) {
            return Ok(Arc::clone(plugin));
        }
        let request = LoadRequest {
            id: PluginId { name: self.manifest.name.clone(), uid: "test".to_owned() },
            component: self.component.clone(),
            digest: self.digest.clone(),
            manifest: Some(self.manifest.clone()),
            grants: self.manifest.capabilities.iter().map(|request| request.name.clone()).collect(),
            limits: Limits::default(),
            config: config.clone(),
        };
        let plugin = self.sandbox.load(request).await?;
        self.loaded.insert(key, Arc::clone(&plugin));
        Ok(plugin)
    }
}

/// Every place at which two values differ, in order.
fn differences(expected: &Value, actual: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(Some(expected), Some(actual), "$", &mut found);
    found
}

fn compare(expected: Option<&Value>, actual: Option<&Value>, path: &str, found: &mut Vec<Difference>) {
    match (expected, actual) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                compare(left.get(key), right.get(key), &format!("{path}.{key}"), found);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                compare(left.get(index), right.get(index), &format!("{path}[{index}]"), found);
            }
        }
        (Some(Value::Number(left)), Some(Value::Number(right))) if left.as_f64() == right.as_f64() => {}
        (left, right) if left == right => {}
        (left, right) => {
            found.push(Difference { path: path.to_owned(), expected: left.cloned(), actual: right.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_place() {
        let found = differences(&json!({"a": [1, 2], "b": 1.0}), &json!({"a": [1, 3, 4], "b": 1}));
        let paths: Vec<&str> = found.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(paths, ["$.a[1]", "$.a[2]"]);
    }
}
