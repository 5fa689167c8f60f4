//! Cluster roles with an `aggregationRule` hold the rules of those that it selects, as the controller of a cluster has
//! it: in the order of the selectors, then of the names, each rule once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::auth::rbac::{CLUSTER_ROLES, GROUP, Rule};
use crate::engine::{Engine, Intent};
use crate::model::PatchKind;
use crate::model::selector::Labels;
use crate::status::ApiError;
use crate::store::Stored;

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How deep roles may gather from roles that gather. `admin` has `edit` has `view` is three.
const DEPTH: usize = 16;

/// Follows the cluster roles.
pub(crate) struct Aggregator {
    engine: Arc<Engine>,
    wake: watch::Receiver<u64>,
}

impl Aggregator {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let mut wake = engine.store.subscribe(CLUSTER_ROLES);
        wake.mark_changed();
        Self { engine, wake }
    }

    /// Follows for as long as the server lives.
    pub(crate) async fn run(mut self) {
        loop {
            self.wake.mark_unchanged();
            let done = self.round().await;
            let pause = if done { Duration::from_secs(3600) } else { AGAIN };
            tokio::select! {
                // The sender lives as long as the store, which the engine holds: an error cannot come.
                _ = self.wake.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Brings every role up to date; answers whether all are.
    pub(crate) async fn round(&self) -> bool {
        for _ in 0..DEPTH {
            let roles = self.engine.store.list(CLUSTER_ROLES, None).items;
            let mut changed = false;
            for stored in &roles {
                match self.role(stored, &roles).await {
                    Ok(wrote) => changed |= wrote,
                    Err(error) => {
                        tracing::warn!(role = %stored.key.name, %error, "gathering a role's rules failed; it is tried again");
                        return false;
                    }
                }
            }
            if !changed {
                return true;
            }
        }
        false
    }

    async fn role(&self, stored: &Stored, roles: &[Arc<Stored>]) -> Result<bool, ApiError> {
        let role = stored.value().map_err(ApiError::internal)?;
        let Some(selectors) = role["aggregationRule"]["clusterRoleSelectors"].as_array() else {
            return Ok(false);
        };
        let rules = gathered(selectors, &stored.key.name, roles)?;
        if rules == Rule::of(&role) {
            return Ok(false);
        }
        let Some(resource) = self.engine.catalogue.find(GROUP, "v1", "clusterroles") else {
            return Ok(false);
        };
        let name = &*stored.key.name;
        let applied = json!({
            "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": {"name": name},
            "rules": rules.iter().map(Rule::value).collect::<Vec<_>>(),
        });
        let intent = Intent { force: true, ..Intent::internal("clusterrole-aggregation-controller") };
        self.engine.patch(&resource, "", name, PatchKind::Apply, &applied, &intent).await?;
        Ok(true)
    }
}

fn gathered(selectors: &[Value], own: &str, roles: &[Arc<Stored>]) -> Result<Vec<Rule>, ApiError> {
    let mut rules: Vec<Rule> = Vec::new();
    for selector in selectors {
        let labels = Labels::parse(&as_text(selector))?;
        let fits =
            |stored: &&Arc<Stored>| *stored.key.name != *own && labels.matches(|name| stored.label(name));
        for stored in roles.iter().filter(fits) {
            let role = stored.value().map_err(ApiError::internal)?;
            for rule in Rule::of(&role) {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
    }
    Ok(rules)
}

/// A `LabelSelector` as a query has it.
fn as_text(selector: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut tests: Vec<String> = labels.map(|(key, value)| format!("{key}={}", text(value))).collect();
    for test in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = text(&test["key"]);
        let values: Vec<String> = test["values"].as_array().into_iter().flatten().map(text).collect();
        let values = values.join(",");
        tests.push(match test["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key,
        });
    }
    tests.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read() {
        let selector = json!({
            "matchLabels": {"a": "b"},
            "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"},
            ],
        });
        assert_eq!(as_text(&selector), "a=b,c in (d,e),!f");
    }
}
