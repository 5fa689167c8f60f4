//! What the server serves now: built-in resources, and those of custom resource definitions as they come and go.
//!
//! Requests look their resource up here once and carry the `Arc`; a definition that changes replaces whole entries, so
//! a request in flight finishes against the definition that it began with.

mod builtin;
pub(crate) mod custom;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use purlin_schema::Schema;
use serde_json::Value;

use crate::status::About;

/// A subresource as discovery shows it.
#[derive(Clone, Debug)]
pub(crate) struct Subresource {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) verbs: Vec<&'static str>,
}

/// Where a custom resource keeps what its scale subresource shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScalePaths {
    pub(crate) spec: String,
    pub(crate) status: String,
    pub(crate) selector: Option<String>,
}

/// What only custom resources have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Custom {
    pub(crate) schema: Value,
    /// The same, parsed.
    pub(crate) parsed: Option<Schema>,
    pub(crate) columns: Vec<Value>,
    pub(crate) fields: Vec<String>,
    pub(crate) scale: Option<ScalePaths>,
    /// The version in which objects are stored.
    pub(crate) storage: String,
    /// What a client of this version is warned of.
    pub(crate) deprecated: Option<String>,
}

/// One served version of one resource.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<&'static str>,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) subresources: Vec<Subresource>,
    /// The key of its table in the store: `<group>/<plural>`.
    pub(crate) table: Arc<str>,
    pub(crate) custom: Option<Custom>,
    /// What an object has before anybody wrote to it.
    pub(crate) blank: Value,
    /// Objects are stored in the form that another group shows them in.
    pub(crate) converted: bool,
}

impl Resource {
    /// `v1` or `<group>/<version>`.
    pub(crate) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// The resource in an error's words.
    pub(crate) fn about<'a>(&'a self, name: &'a str) -> About<'a> {
        About { group: &self.group, kind: &self.plural, name }
    }

    /// The kind in an error's words, as `Invalid` has it.
    pub(crate) fn about_kind<'a>(&'a self, name: &'a str) -> About<'a> {
        About { group: &self.group, kind: &self.kind, name }
    }

    pub(crate) fn has_subresource(&self, name: &str) -> bool {
        self.subresources.iter().any(|subresource| subresource.name == name)
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }
}

/// `v1` or `<group>/<version>`.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// How Kubernetes orders versions: stable before beta before alpha, then by number, anything else last.
pub(crate) fn priority(version: &str) -> (u8, u32, u32, std::cmp::Reverse<String>) {
    let unknown = || (0, 0, 0, std::cmp::Reverse(version.to_owned()));
    let Some(rest) = version.strip_prefix('v') else { return unknown() };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let Ok(major) = rest[..end].parse() else { return unknown() };
    let level = |text: &str| if text.is_empty() { Some(0) } else { text.parse().ok() };
    let (stage, minor) = match &rest[end..] {
        "" => (3, Some(0)),
        tail => match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
            (Some(number), _) => (2, level(number)),
            (_, Some(number)) => (1, level(number)),
            _ => return unknown(),
        },
    };
    minor.map_or_else(unknown, |minor| (stage, major, minor, std::cmp::Reverse(String::new())))
}

type Versions = BTreeMap<(String, String), BTreeMap<String, Arc<Resource>>>;

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Catalogue {
    served: RwLock<Arc<Versions>>,
}

impl Catalogue {
    /// The built-in resources.
    pub(crate) fn builtin() -> Self {
        let mut versions = Versions::new();
        for resource in builtin::resources() {
            let place = (resource.group.clone(), resource.version.clone());
            versions.entry(place).or_default().insert(resource.plural.clone(), Arc::new(resource));
        }
        Self { served: RwLock::new(Arc::new(versions)) }
    }

    /// Whether the group has built-in resources.
    pub(crate) fn is_builtin_group(&self, group: &str) -> bool {
        let of_group = |((name, _), resources): (&(String, String), &BTreeMap<String, Arc<Resource>>)| {
            name == group && resources.values().any(|resource| resource.custom.is_none())
        };
        self.served().iter().any(of_group)
    }

    /// Everything that is served now, by group, version and plural.
    pub(crate) fn served(&self) -> Arc<Versions> {
        self.served.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// One resource by its path.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.served().get(&(group.to_owned(), version.to_owned()))?.get(plural).cloned()
    }

    /// The resource of a kind, as an owner reference names it.
    pub(crate) fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        let served = self.served();
        served
            .get(&(group.to_owned(), version.to_owned()))?
            .values()
            .find(|resource| resource.kind == kind)
            .cloned()
    }

    /// Any served version of the resource whose table is `table`; for custom ones the stored version.
    pub(crate) fn by_table(&self, table: &str) -> Option<Arc<Resource>> {
        let (group, plural) = table.split_once('/')?;
        let served = self.served();
        let mut found = served
            .iter()
            .filter(|((name, _), _)| name == group)
            .filter_map(|(_, resources)| resources.get(plural));
        let first = found.next()?;
        let stored = std::iter::once(first).chain(found).find(|resource| {
            resource.custom.as_ref().is_none_or(|custom| custom.storage == resource.version)
        });
        Some(stored.unwrap_or(first).clone())
    }

    /// Replaces what a custom resource definition serves; an empty list withdraws it.
    pub(crate) fn replace(&self, group: &str, plural: &str, resources: Vec<Resource>) {
        let mut served = self.served.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut versions = (**served).clone();
        for ((name, _), plurals) in &mut versions {
            if name == group {
                plurals.remove(plural);
            }
        }
        versions.retain(|_, plurals| !plurals.is_empty());
        for resource in resources {
            let place = (resource.group.clone(), resource.version.clone());
            versions.entry(place).or_default().insert(resource.plural.clone(), Arc::new(resource));
        }
        *served = Arc::new(versions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_does() {
        let mut versions = ["v1alpha1", "foo", "v2beta1", "v1", "v10", "v2", "v1beta2"].map(str::to_owned);
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]);
    }
}
