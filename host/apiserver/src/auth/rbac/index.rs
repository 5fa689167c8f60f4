//! Roles and bindings in memory, by whom they concern: a plain state machine, fed with objects, that never does I/O.
//!
//! A question costs a few hash lookups and the rules of the bindings that name the caller, however many objects there
//! are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::Value;

use super::rule::Rule;
use crate::auth::Identity;

/// Which role a binding gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub(crate) kind: String,
    pub(crate) name: String,
}

/// A role that a binding names is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}.rbac.authorization.k8s.io \"{name}\" not found")]
pub(crate) struct NoRole {
    /// `role` or `clusterrole`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    User(String),
    Group(String),
}

#[derive(Clone, Debug)]
struct Subject {
    who: Who,
    shown: String,
}

#[derive(Clone, Debug)]
struct Binding {
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// The roles and bindings of one namespace, or (under the empty name) of the cluster.
#[derive(Debug, Default)]
struct Scope {
    roles: HashMap<Arc<str>, Vec<Rule>>,
    bindings: BTreeMap<Arc<str>, Binding>,
    users: HashMap<String, BTreeSet<Arc<str>>>,
    groups: HashMap<String, BTreeSet<Arc<str>>>,
}

impl Scope {
    fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.bindings.is_empty()
    }

    fn concerned(&mut self, who: &Who) -> &mut BTreeSet<Arc<str>> {
        match who {
            Who::User(name) => self.users.entry(name.clone()).or_default(),
            Who::Group(name) => self.groups.entry(name.clone()).or_default(),
        }
    }

    fn unbind(&mut self, name: &str) {
        let Some(binding) = self.bindings.remove(name) else { return };
        for subject in &binding.subjects {
            self.concerned(&subject.who).remove(name);
        }
        self.users.retain(|_, bindings| !bindings.is_empty());
        self.groups.retain(|_, bindings| !bindings.is_empty());
    }

    fn bind(&mut self, name: &Arc<str>, binding: Binding) {
        self.unbind(name);
        for subject in &binding.subjects {
            self.concerned(&subject.who).insert(name.clone());
        }
        self.bindings.insert(name.clone(), binding);
    }

    /// The bindings that name the caller, in the order of their names.
    fn of(&self, identity: &Identity) -> Vec<(&Arc<str>, &Binding)> {
        let groups = identity.groups.iter().filter_map(|group| self.groups.get(group));
        let names: BTreeSet<&Arc<str>> =
            self.users.get(&identity.user).into_iter().chain(groups).flatten().collect();
        names.into_iter().filter_map(|name| Some((name, self.bindings.get(name)?))).collect()
    }
}

/// By which binding somebody has a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    namespace: &'a str,
    name: &'a str,
    binding: &'a Binding,
    subject: &'a Subject,
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RoleRef { kind, name: role } = &self.binding.role;
        let name = self.name;
        match self.namespace {
            "" => write!(f, "ClusterRoleBinding {name:?}")?,
            namespace => write!(f, "RoleBinding \"{name}/{namespace}\"")?,
        }
        write!(f, " of {kind} {role:?} to {}", self.subject.shown)
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Index {
    scopes: HashMap<Arc<str>, Scope>,
}

impl Index {
    /// Takes over a Role, or with an empty namespace a ClusterRole; `None` where it is gone.
    pub(crate) fn role(&mut self, namespace: &Arc<str>, name: &Arc<str>, role: Option<&Value>) {
        let scope = self.scopes.entry(namespace.clone()).or_default();
        match role {
            Some(role) => scope.roles.insert(name.clone(), Rule::of(role)),
            None => scope.roles.remove(name),
        };
        self.tidy(namespace);
    }

    /// Takes over a RoleBinding, or with an empty namespace a ClusterRoleBinding; `None` where it is gone.
    pub(crate) fn binding(&mut self, namespace: &Arc<str>, name: &Arc<str>, binding: Option<&Value>) {
        let scope = self.scopes.entry(namespace.clone()).or_default();
        match binding {
            Some(binding) => scope.bind(name, read(binding, namespace)),
            None => scope.unbind(name),
        }
        self.tidy(namespace);
    }

    /// Drops all roles, or all bindings, of the cluster or of every namespace.
    pub(crate) fn forget(&mut self, roles: bool, cluster: bool) {
        for (namespace, scope) in &mut self.scopes {
            if namespace.is_empty() != cluster {
                continue;
            }
            if roles {
                scope.roles.clear();
            } else {
                scope.bindings.clear();
                scope.users.clear();
                scope.groups.clear();
            }
        }
        self.scopes.retain(|_, scope| !scope.is_empty());
    }

    fn tidy(&mut self, namespace: &str) {
        if self.scopes.get(namespace).is_some_and(Scope::is_empty) {
            self.scopes.remove(namespace);
        }
    }

    /// The rules of a role that a binding in `namespace` names.
    pub(crate) fn rules(&self, role: &RoleRef, namespace: &str) -> Result<&[Rule], NoRole> {
        let (kind, scope) = if role.kind == "Role" { ("role", namespace) } else { ("clusterrole", "") };
        self.scopes
            .get(scope)
            .and_then(|scope| scope.roles.get(role.name.as_str()))
            .map(Vec::as_slice)
            .ok_or_else(|| NoRole { kind, name: role.name.clone() })
    }

    /// Shows every rule that `identity` has in `namespace` (empty: in the cluster), or why one is not known, until
    /// `visit` breaks off.
    pub(crate) fn visit<B>(
        &self,
        identity: &Identity,
        namespace: &str,
        mut visit: impl FnMut(Result<(&Rule, Source<'_>), NoRole>) -> ControlFlow<B>,
    ) -> Option<B> {
        let places: &[&str] = if namespace.is_empty() { &[""] } else { &["", namespace] };
        for place in places {
            let Some(scope) = self.scopes.get(*place) else { continue };
            for (name, binding) in scope.of(identity) {
                let concerns = |subject: &&Subject| match &subject.who {
                    Who::User(user) => *user == identity.user,
                    Who::Group(group) => identity.groups.contains(group),
                };
                let Some(subject) = binding.subjects.iter().find(concerns) else { continue };
                let rules = match self.rules(&binding.role, place) {
                    Ok(rules) => rules,
                    Err(error) => match visit(Err(error)) {
                        ControlFlow::Break(broken) => return Some(broken),
                        ControlFlow::Continue(()) => continue,
                    },
                };
                let source = Source { namespace: place, name, binding, subject };
                for rule in rules {
                    if let ControlFlow::Break(broken) = visit(Ok((rule, source))) {
                        return Some(broken);
                    }
                }
            }
        }
        None
    }
}

/// The role that a binding gives.
pub(crate) fn role_of(binding: &Value) -> RoleRef {
    let text = |field: &str| binding["roleRef"][field].as_str().unwrap_or_default().to_owned();
    RoleRef { kind: text("kind"), name: text("name") }
}

fn read(binding: &Value, namespace: &str) -> Binding {
    let subjects = binding["subjects"].as_array().map(Vec::as_slice).unwrap_or_default();
    Binding {
        role: role_of(binding),
        subjects: subjects.iter().filter_map(|given| subject(given, namespace)).collect(),
    }
}

fn subject(given: &Value, binding_namespace: &str) -> Option<Subject> {
    let text = |field: &str| given[field].as_str().unwrap_or_default();
    let (kind, name) = (text("kind"), text("name").to_owned());
    let shown = format!("{kind} {name:?}");
    match kind {
        "User" => Some(Subject { who: Who::User(name), shown }),
        "Group" => Some(Subject { who: Who::Group(name), shown }),
        "ServiceAccount" => {
            let namespace = Some(text("namespace")).filter(|given| !given.is_empty());
            // A cluster's binding has no namespace to take an account from.
            let namespace = namespace.unwrap_or(binding_namespace);
            (!namespace.is_empty()).then(|| Subject {
                shown: format!("{kind} \"{name}/{namespace}\""),
                who: Who::User(format!("system:serviceaccount:{namespace}:{name}")),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
