//! Who may do what: `rbac.authorization.k8s.io/v1`, evaluated as a real server does.
//!
//! [`Rbac`] keeps the roles and bindings of the store in an [`index::Index`]. It catches up when it is asked, so a
//! binding holds for the first request after its creation was answered, and nothing runs when nobody asks. Two groups
//! need no rule: `system:masters`, as at any cluster, and [`COMPONENTS`], which only Purlin's own parts are in.

mod escalation;
mod index;
mod rule;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{RwLock, RwLockReadGuard};

use tokio::sync::watch;

use super::{Attributes, COMPONENTS, Identity, MASTERS};
use crate::store::{EventKind, Store, Stored};
use index::{Index, NoRole};
pub(crate) use rule::{Rule, missing, quoted};

/// The API group.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";
/// The table of cluster roles.
pub(crate) const CLUSTER_ROLES: &str = "rbac.authorization.k8s.io/clusterroles";

/// Events taken from the store at a time.
const PAGE: usize = 512;

/// What is said to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It may go on; by which binding.
    Allowed(String),
    /// Nothing allows it; which roles could not be asked.
    Refused(String),
}

/// What somebody may do in a namespace.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    pub(crate) rules: Vec<Rule>,
    /// Why some may be missing.
    pub(crate) unknown: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Role,
    Binding,
}

/// A table of the store, as far as it was read.
#[derive(Debug)]
struct Followed {
    table: &'static str,
    kind: Kind,
    wake: watch::Receiver<u64>,
    revision: u64,
}

#[derive(Debug)]
struct Known {
    index: Index,
    tables: [Followed; 4],
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Rbac {
    store: Store,
    known: RwLock<Known>,
}

impl Rbac {
    /// Over an open store.
    pub(crate) fn new(store: Store) -> Self {
        let table = |table, kind| Followed { table, kind, wake: store.subscribe(table), revision: 0 };
        let tables = [
            table("rbac.authorization.k8s.io/roles", Kind::Role),
            table(CLUSTER_ROLES, Kind::Role),
            table("rbac.authorization.k8s.io/rolebindings", Kind::Binding),
            table("rbac.authorization.k8s.io/clusterrolebindings", Kind::Binding),
        ];
        let mut known = Known { index: Index::default(), tables };
        for at in 0..known.tables.len() {
            known.read(&store, at);
        }
        Self { store, known: RwLock::new(known) }
    }

    /// Decides about one request.
    pub(crate) fn authorize(&self, identity: &Identity, asked: &Attributes<'_>) -> Decision {
        if is_privileged(identity) {
            return Decision::Allowed(String::new());
        }
        let mut unknown = Vec::new();
        let known = self.known();
        let allowed = known.index.visit(identity, asked.namespace(), |found| match found {
            Ok((rule, source)) if rule.allows(asked) => {
                ControlFlow::Break(format!("RBAC: allowed by {source}"))
            }
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => {
                unknown.push(error);
                ControlFlow::Continue(())
            }
        });
        match allowed {
            Some(why) => Decision::Allowed(why),
            None => Decision::Refused(
                aggregate(&unknown).map(|why| format!("rbac: RBAC: {why}")).unwrap_or_default(),
            ),
        }
    }

    /// Whether a request would be allowed.
    pub(crate) fn allows(&self, identity: &Identity, asked: &Attributes<'_>) -> bool {
        matches!(self.authorize(identity, asked), Decision::Allowed(_))
    }

    /// Every rule that somebody has in a namespace. Who needs none has those of a binding all the same: the default one
    /// of `cluster-admin`.
    pub(crate) fn rights(&self, identity: &Identity, namespace: &str) -> Rights {
        let mut rights = Rights::default();
        let mut unknown = Vec::new();
        self.known().index.visit(identity, namespace, |found| {
            match found {
                Ok((rule, _)) => rights.rules.push(rule.clone()),
                Err(error) => unknown.push(error),
            }
            ControlFlow::<()>::Continue(())
        });
        rights.unknown = aggregate(&unknown);
        rights
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        // A panic while it was being updated leaves a table to be read again, not a wrong index.
        let known = self.known.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !known.is_behind() {
            return known;
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        known.catch_up(&self.store);
        drop(known);
        self.known.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Known {
    fn is_behind(&self) -> bool {
        // The sender lives in the store, which the owner of this holds.
        self.tables.iter().any(|table| table.wake.has_changed().unwrap_or(false))
    }

    fn catch_up(&mut self, store: &Store) {
        for at in 0..self.tables.len() {
            let table = &mut self.tables[at];
            if !table.wake.has_changed().unwrap_or(false) {
                continue;
            }
            // Before reading: what is written from now on wakes again.
            table.wake.mark_unchanged();
            loop {
                let table = &mut self.tables[at];
                let Ok((events, seen)) = store.events(table.table, table.revision, PAGE) else {
                    self.read(store, at);
                    break;
                };
                table.revision = seen;
                let kind = table.kind;
                for event in &events {
                    self.take(kind, &event.object, event.kind == EventKind::Deleted);
                }
                if events.len() < PAGE {
                    break;
                }
            }
        }
    }

    /// Reads a table anew. The history does not reach back to what was read before, so what went is not known by name.
    fn read(&mut self, store: &Store, at: usize) {
        let Followed { table, kind, .. } = self.tables[at];
        let page = store.list(table, None);
        self.index.forget(kind == Kind::Role, table.contains("/cluster"));
        self.tables[at].revision = page.revision;
        for stored in &page.items {
            self.take(kind, stored, false);
        }
    }

    fn take(&mut self, kind: Kind, stored: &Stored, gone: bool) {
        let object = if gone { Ok(None) } else { stored.value().map(Some) };
        let object = object.unwrap_or_else(|error| {
            tracing::error!(object = %stored.key, %error, "a stored rule of access cannot be read; it allows nothing");
            None
        });
        let (namespace, name) = (&stored.key.namespace, &stored.key.name);
        match kind {
            Kind::Role => self.index.role(namespace, name, object.as_ref()),
            Kind::Binding => self.index.binding(namespace, name, object.as_ref()),
        }
    }
}

/// Whether somebody needs no rule.
pub(crate) fn is_privileged(identity: &Identity) -> bool {
    identity.groups.iter().any(|group| group == MASTERS || group == COMPONENTS)
}

/// Several errors in one line, each once.
fn aggregate(errors: &[NoRole]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let texts: Vec<String> =
        errors.iter().map(ToString::to_string).filter(|text| seen.insert(text.clone())).collect();
    match texts.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("[{}]", several.join(", "))),
    }
}

#[cfg(test)]
mod tests;
