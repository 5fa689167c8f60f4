//! Nobody gives more than they have: what is asked when a role or a binding is written.
//!
//! A role may hold what its writer may do, or anything where the writer may `escalate` it. A binding may give a role
//! whose every rule its writer has, or which the writer may `bind`.

use serde_json::Value;

use super::index::{NoRole, role_of};
use super::rule::{Rule, missing, quoted};
use super::{GROUP, Rbac, is_privileged};
use crate::auth::{Attributes, Author, Wanted};
use crate::catalogue::Resource;
use crate::status::ApiError;

impl Rbac {
    /// Refuses a role or binding by which `author` would give what `author` does not have. `old` is what is replaced.
    ///
    /// # Errors
    /// 403 with the rules that are missing; 404 where a binding gives a role that is not there.
    pub(crate) fn check_write(
        &self,
        author: &Author,
        resource: &Resource,
        namespace: &str,
        old: Option<&Value>,
        new: &Value,
    ) -> Result<(), ApiError> {
        if resource.group != GROUP || is_privileged(&author.identity) {
            return Ok(());
        }
        // The garbage collector's bookkeeping gives nobody anything.
        if old.is_some_and(|old| bare(old) == bare(new)) {
            return Ok(());
        }
        let may = |verb: &str, resource: &str, name: &str| {
            let wanted = Wanted::Resource { group: GROUP, resource, subresource: "", namespace, name };
            self.allows(&author.identity, &Attributes { verb, wanted })
        };
        let name = new["metadata"]["name"].as_str().unwrap_or_default();
        let refused = |why: String| ApiError::forbidden(resource.about(name), why);
        if matches!(resource.plural.as_str(), "roles" | "clusterroles") {
            if may("escalate", &resource.plural, &author.name) {
                return Ok(());
            }
            self.check_held(author, namespace, &Rule::of(new)).map_err(refused)?;
            let aggregated = is_aggregated(new) || old.is_some_and(is_aggregated);
            if aggregated && self.check_held(author, namespace, &Rule::everything()).is_err() {
                return Err(refused("must have cluster-admin privileges to use the aggregationRule".into()));
            }
            return Ok(());
        }
        let role = role_of(new);
        let plural = if role.kind == "Role" { "roles" } else { "clusterroles" };
        if may("bind", plural, &role.name) {
            return Ok(());
        }
        let rules = self.known().index.rules(&role, namespace).map(<[Rule]>::to_vec);
        // A real server, too, says it of the binding.
        let rules = rules.map_err(|NoRole { name, .. }| ApiError::not_found(resource.about(&name)))?;
        self.check_held(author, namespace, &rules).map_err(refused)
    }

    /// The error is the real server's sentence about what `author` lacks.
    fn check_held(&self, author: &Author, namespace: &str, wanted: &[Rule]) -> Result<(), String> {
        let rights = self.rights(&author.identity, namespace);
        let mut lacking: Vec<String> =
            missing(&rights.rules, wanted).iter().map(ToString::to_string).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        lacking.sort();
        lacking.dedup();
        let mut why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            author.identity.user,
            quoted(&author.identity.groups),
            lacking.join("\n")
        );
        if let Some(unknown) = rights.unknown {
            why.push_str(&format!("; resolution errors: [{unknown}]"));
        }
        Err(why)
    }
}

fn is_aggregated(role: &Value) -> bool {
    role["aggregationRule"]["clusterRoleSelectors"].as_array().is_some_and(|all| !all.is_empty())
}

/// An object without what the garbage collector and the server itself write.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["ownerReferences", "finalizers", "managedFields", "selfLink", "resourceVersion"] {
            metadata.remove(field);
        }
    }
    object
}
