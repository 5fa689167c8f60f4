//! What a plugin may do: what it asks for and was granted.

use super::{Access, Capability, HttpGrant, Method, NnGrant, Scheme};

/// What one plugin may do. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    capabilities: Vec<Capability>,
}

impl Rights {
    /// What is both asked for and granted.
    pub fn of<'a>(
        asked: impl IntoIterator<Item = &'a Capability>,
        granted: impl IntoIterator<Item = &'a Capability> + Clone,
    ) -> Rights {
        let mut capabilities: Vec<_> = asked
            .into_iter()
            .flat_map(|asked| granted.clone().into_iter().filter_map(|granted| asked.intersect(granted)))
            .collect();
        capabilities.sort_unstable();
        capabilities.dedup();
        Rights { capabilities }
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Capability> {
        self.capabilities.iter()
    }

    /// Whether an interface may be imported.
    pub fn allow_interface(&self, interface: &str) -> bool {
        self.iter().any(|capability| capability.interfaces().contains(&interface))
    }

    /// The grants that let a request pass, as far as its URL says. An address that none of them
    /// [admits](HttpGrant::admits) must not be connected to.
    pub fn http(&self, method: Method, scheme: Scheme, host: &str, port: u16) -> Vec<&HttpGrant> {
        let grants = self.iter().filter_map(|capability| match capability {
            Capability::Http(grant) => Some(grant),
            _ => None,
        });
        grants.filter(|grant| grant.allows(method, scheme, host, port)).collect()
    }

    /// Whether the kernel may do this to an object for a dialect. See [`KubeGrant::allows`](super::KubeGrant::allows).
    pub fn kube(&self, access: Access, group: &str, kind: &str, namespace: &str, foreign: bool) -> bool {
        self.iter().any(|capability| {
            matches!(capability, Capability::Kube(grant) if grant.allows(access, group, kind, namespace, foreign))
        })
    }

    /// Whether Pods in a namespace may be beyond `baseline`.
    pub fn privileged_pods(&self, namespace: &str) -> bool {
        self.iter()
            .any(|capability| matches!(capability, Capability::PodSecurity(grant) if grant.allows(namespace)))
    }

    /// The namespace and name of a Secret that may be read under the name that a plugin uses for it; `None` where it may
    /// not. `own` is the namespace of the object that the call is about, empty where it has none.
    pub fn secret(&self, asked: &str, own: &str) -> Option<(String, String)> {
        let Ok(Capability::Secret(wanted)) = format!("secret({asked})").parse() else { return None };
        if !self.capabilities.contains(&Capability::Secret(wanted.clone())) {
            return None;
        }
        let namespace = wanted.namespace.unwrap_or_else(|| own.to_owned());
        (!namespace.is_empty()).then_some((namespace, wanted.name))
    }

    /// Whether CloudEvents of a type may be published.
    pub fn event(&self, kind: &str) -> bool {
        self.iter().any(|capability| matches!(capability, Capability::Events(types) if types.matches(kind)))
    }

    /// Whether a model may be run.
    pub fn nn(&self, encoding: &str, device: &str) -> bool {
        let allows = |grant: &NnGrant| grant.allows(encoding, device);
        self.iter().any(|capability| matches!(capability, Capability::Nn(grant) if allows(grant)))
    }
}
