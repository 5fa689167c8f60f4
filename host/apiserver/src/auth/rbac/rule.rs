//! One rule of a role: what it allows, and which other rules it covers. Pure.
//!
//! The two questions differ: a request is for one thing, a rule is for a product of many. [`Rule::covers`] is only ever
//! asked about the atoms of a rule ([`Rule::atoms`]), each of which one rule covers or none does.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::auth::{Attributes, Wanted};

/// Stands for every verb, group, resource or path.
const ALL: &str = "*";

/// A `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    pub(crate) api_groups: Vec<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    pub(crate) paths: Vec<String>,
}

impl Rule {
    /// The rules of a Role or ClusterRole. One that cannot be read allows nothing.
    pub(crate) fn of(role: &Value) -> Vec<Self> {
        let rules = role["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
        rules.iter().filter_map(|rule| Self::deserialize(rule).ok()).collect()
    }

    /// Everything there is: what an aggregated role may come to hold.
    pub(crate) fn everything() -> [Self; 2] {
        let all = || vec![ALL.to_owned()];
        [
            Self { verbs: all(), api_groups: all(), resources: all(), ..Self::default() },
            Self { verbs: all(), paths: all(), ..Self::default() },
        ]
    }

    /// Whether the rule allows a request.
    pub(crate) fn allows(&self, asked: &Attributes<'_>) -> bool {
        if !has(&self.verbs, asked.verb) {
            return false;
        }
        match asked.wanted {
            Wanted::Path(path) => self.paths.iter().any(|own| path_covers(own, path)),
            Wanted::Resource { group, resource, subresource, name, .. } => {
                has(&self.api_groups, group)
                    && self.resources.iter().any(|own| resource_covers(own, resource, subresource))
                    && (self.resource_names.is_empty() || self.resource_names.iter().any(|own| own == name))
            }
        }
    }

    /// The rule taken apart into rules with one verb and one resource, name or path each.
    pub(crate) fn atoms(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut atoms = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let atom = Self {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        atoms.push(atom);
                        continue;
                    }
                    let named = |name| Self { resource_names: one(name), ..atom.clone() };
                    atoms.extend(self.resource_names.iter().map(named));
                }
            }
        }
        for path in &self.paths {
            atoms.extend(self.verbs.iter().map(|verb| Self {
                verbs: one(verb),
                paths: one(path),
                ..Self::default()
            }));
        }
        atoms
    }

    /// Whether whoever has this rule has `atom` with it.
    pub(crate) fn covers(&self, atom: &Self) -> bool {
        let all = |own: &[String], wanted: &[String]| wanted.iter().all(|one| has(own, one));
        let resource = |wanted: &String| {
            let (plural, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
            self.resources.iter().any(|own| resource_covers(own, plural, subresource))
        };
        let names = self.resource_names.is_empty()
            || (!atom.resource_names.is_empty()
                && atom.resource_names.iter().all(|name| self.resource_names.contains(name)));
        all(&self.verbs, &atom.verbs)
            && all(&self.api_groups, &atom.api_groups)
            && atom.resources.iter().all(resource)
            && names
            && atom.paths.iter().all(|path| self.paths.iter().any(|own| path_covers(own, path)))
    }

    /// The rule as an object of the API shows it, without what is empty.
    pub(crate) fn value(&self) -> Value {
        let fields = [
            ("verbs", &self.verbs),
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.paths),
        ];
        let given = fields.into_iter().filter(|(_, values)| !values.is_empty());
        Value::Object(given.map(|(name, values)| (name.to_owned(), values.clone().into())).collect())
    }
}

/// As an escalation error lists what is missing.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.paths),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<String> = fields
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(name, values)| format!("{name}:{}", quoted(values)))
            .collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}

/// What of `wanted` nobody who has `owned` has, in as few rules as say it.
pub(crate) fn missing(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let atoms = wanted.iter().flat_map(Rule::atoms);
    let mut found: Vec<Rule> = Vec::new();
    for atom in atoms.filter(|atom| !owned.iter().any(|own| own.covers(atom))) {
        let same = |other: &&mut Rule| {
            atom.paths.is_empty() && Rule { verbs: atom.verbs.clone(), ..(**other).clone() } == atom
        };
        match found.iter_mut().find(same) {
            Some(other) => other.verbs.extend(atom.verbs),
            None => found.push(atom),
        }
    }
    found
}

/// A list as Go prints a quoted one.
pub(crate) fn quoted(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("[{}]", values.join(" "))
}

fn has(own: &[String], wanted: &str) -> bool {
    own.iter().any(|own| own == ALL || own == wanted)
}

/// `*` is every resource and subresource, `pods` that resource alone, `pods/log` that subresource, `*/log` it of every
/// resource.
fn resource_covers(own: &str, plural: &str, subresource: &str) -> bool {
    if own == ALL {
        return true;
    }
    match own.split_once('/') {
        None => subresource.is_empty() && own == plural,
        Some((of, sub)) => !subresource.is_empty() && sub == subresource && (of == ALL || of == plural),
    }
}

/// A `*` at the end stands for any rest.
fn path_covers(own: &str, wanted: &str) -> bool {
    own == wanted || (own.ends_with('*') && wanted.starts_with(own.trim_end_matches('*')))
}

#[cfg(test)]
mod tests;
