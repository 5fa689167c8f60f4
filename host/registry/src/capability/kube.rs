//! What a dialect may do with objects. The kernel acts for it and checks; the dialect itself has no access.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::{both, listed};
use crate::manifest::{is_dns_label, is_dns_subdomain, is_kind};

/// Kinds that decide who may do what. A pattern over kinds never covers them: they have to be named.
const POWERFUL_GROUPS: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "certificates.k8s.io",
    "purlin.dev",
    "rbac.authorization.k8s.io",
];

/// What is written behind a kind that is left out where it is another plugin's.
const UNLESS_OWNED: &str = " unless owned";

/// Access to objects, as `ACCESS GROUP/KIND [in NAMESPACE,...]`: `write batch/Job`, `read core/Pod in team-a`,
/// `write apps/*`. The core group is written `core`. Without `in` it holds in every namespace, and for kinds without one.
///
/// `apps/*` stands for the kinds of a group that are not another plugin's and do not decide who may do what; those have
/// to be named. `apps/Deployment unless owned` is one kind of such a pattern: what remains of `apps/*` for a plugin that
/// asks for Deployments.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KubeGrant {
    /// What may be done.
    pub access: Access,
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind; `None` for those of the group that need not be named.
    pub kind: Option<String>,
    /// Whether the named kind is left out where it is another plugin's. A pattern leaves those out anyway.
    pub unless_owned: bool,
    /// The namespaces; empty for all.
    pub namespaces: BTreeSet<String>,
}

/// What may be done with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// The kernel shows them to the dialect.
    Read,
    /// The kernel makes, changes and deletes them as the dialect's children.
    Write,
}

impl Access {
    /// The word in a capability.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
        }
    }
}

impl KubeGrant {
    /// Whether this access to an object is granted. `foreign` says that another plugin owns the kind. `namespace` is
    /// empty for objects that have none.
    pub fn allows(&self, access: Access, group: &str, kind: &str, namespace: &str, foreign: bool) -> bool {
        self.covers_kind(access, group, kind, foreign)
            && (self.namespaces.is_empty() || self.namespaces.contains(namespace))
    }

    /// The same for at least one namespace.
    pub fn covers_kind(&self, access: Access, group: &str, kind: &str, foreign: bool) -> bool {
        self.access == access
            && self.group == group
            && match &self.kind {
                Some(named) => named == kind && !(self.unless_owned && foreign),
                None => !foreign && !POWERFUL_GROUPS.contains(&group),
            }
    }

    pub(super) fn intersect(&self, other: &KubeGrant) -> Option<KubeGrant> {
        if (self.access, &self.group) != (other.access, &other.group) {
            return None;
        }
        let powerful = POWERFUL_GROUPS.contains(&self.group.as_str());
        let kind = match (&self.kind, &other.kind) {
            (Some(a), Some(b)) if a != b => return None,
            (Some(_), None) | (None, Some(_)) if powerful => return None,
            (Some(kind), _) | (None, Some(kind)) => Some(kind.clone()),
            (None, None) => None,
        };
        // Where one side is a pattern, its limits hold for the kind that the other side names.
        let pattern = self.kind.is_none() || other.kind.is_none();
        let unless_owned = kind.is_some() && (pattern || self.unless_owned || other.unless_owned);
        let namespaces = both(&self.namespaces, &other.namespaces)?;
        Some(KubeGrant { access: self.access, group: self.group.clone(), kind, unless_owned, namespaces })
    }
}

impl fmt::Display for KubeGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = if self.group.is_empty() { "core" } else { &self.group };
        write!(f, "{} {group}/{}", self.access.as_str(), self.kind.as_deref().unwrap_or("*"))?;
        if self.unless_owned {
            f.write_str(UNLESS_OWNED)?;
        }
        write_namespaces(f, &self.namespaces)
    }
}

impl FromStr for KubeGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "write kube(read|write GROUP/KIND [in NAMESPACE,...]), such as kube(write batch/Job)";
        let (what, namespaces) = split_namespaces(text)?;
        let (access, kind) = what.split_once(' ').ok_or(FORM)?;
        let access = match access {
            "read" => Access::Read,
            "write" => Access::Write,
            other => return Err(format!("{other:?} is neither `read` nor `write`; {FORM}")),
        };
        let (group, kind) = kind.split_once('/').ok_or(FORM)?;
        let named = kind.strip_suffix(UNLESS_OWNED);
        if named == Some("*") {
            return Err("`*` never covers what another plugin owns; leave out `unless owned`".to_owned());
        }
        let (kind, unless_owned) = (named.unwrap_or(kind), named.is_some());
        if !is_dns_subdomain(group) {
            return Err(format!("{group:?} is no API group; the core group is written `core`"));
        }
        if kind != "*" && !is_kind(kind) {
            return Err(format!("{kind:?} is no kind; write one such as `Job`, or `*`"));
        }
        if access == Access::Write && group == "purlin.dev" && matches!(kind, "Plugin" | "PluginPolicy") {
            return Err("plugins do not install plugins or decide which are trusted".to_owned());
        }
        Ok(KubeGrant {
            access,
            group: if group == "core" { String::new() } else { group.to_owned() },
            kind: (kind != "*").then(|| kind.to_owned()),
            unless_owned,
            namespaces,
        })
    }
}

/// Pods beyond the `baseline` level of the Pod Security Standards, as `privileged [in NAMESPACE,...]`: with host
/// namespaces, host paths, privileged containers and the like.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodSecurity {
    /// The namespaces; empty for all.
    pub namespaces: BTreeSet<String>,
}

impl PodSecurity {
    /// Whether it holds in a namespace.
    pub fn allows(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }

    pub(super) fn intersect(&self, other: &PodSecurity) -> Option<PodSecurity> {
        Some(PodSecurity { namespaces: both(&self.namespaces, &other.namespaces)? })
    }
}

impl fmt::Display for PodSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("privileged")?;
        write_namespaces(f, &self.namespaces)
    }
}

impl FromStr for PodSecurity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match split_namespaces(text)? {
            ("privileged", namespaces) => Ok(PodSecurity { namespaces }),
            (other, _) => {
                Err(format!("{other:?} is no level that can be granted; the one that can is `privileged`"))
            }
        }
    }
}

fn write_namespaces(f: &mut fmt::Formatter<'_>, namespaces: &BTreeSet<String>) -> fmt::Result {
    if namespaces.is_empty() { Ok(()) } else { write!(f, " in {}", listed(namespaces)) }
}

fn split_namespaces(text: &str) -> Result<(&str, BTreeSet<String>), String> {
    let Some((what, namespaces)) = text.split_once(" in ") else { return Ok((text, BTreeSet::new())) };
    let check = |namespace: &str| {
        if is_dns_label(namespace) {
            Ok(namespace.to_owned())
        } else {
            Err(format!("{namespace:?} is no name of a namespace"))
        }
    };
    Ok((what, namespaces.split(',').map(check).collect::<Result<_, _>>()?))
}
