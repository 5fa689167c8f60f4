//! What a dialect may have the kernel do for it. Called with what the dialect answered, before anything of it is done.

use std::sync::Arc;

use purlin_registry::Rights;
use purlin_registry::capability::Access;
use purlin_sandbox::CallError;
use serde_json::Value;

use super::pod_security::beyond_baseline;
use crate::key::Gvk;
use crate::plugin::InstalledPlugins;

/// The permissions of one dialect.
pub(super) struct Permit {
    plugin: String,
    rights: Rights,
    installed: Arc<InstalledPlugins>,
}

impl Permit {
    /// Of the plugin with this name and these rights.
    pub(super) fn new(plugin: &str, rights: Rights, installed: Arc<InstalledPlugins>) -> Self {
        Permit { plugin: plugin.to_owned(), rights, installed }
    }

    /// Whether an object may be applied. Of its own kinds a dialect may make as many as it likes.
    ///
    /// # Errors
    /// It may not; the text says which grant would let it.
    pub(super) fn write(
        &self,
        gvk: &Gvk,
        own: bool,
        namespace: &str,
        object: &Value,
    ) -> Result<(), CallError> {
        if !own {
            self.check(Access::Write, gvk, namespace)?;
        }
        if !self.rights.privileged_pods(namespace)
            && let Some(found) = beyond_baseline(object)
        {
            return Err(CallError::Denied(format!(
                "{} {}: {found}; it needs the grant pod-security({})",
                gvk.kind,
                object["metadata"]["name"].as_str().unwrap_or_default(),
                within("privileged", namespace),
            )));
        }
        Ok(())
    }

    /// Whether objects may be seen; `namespace` is empty for kinds without one and for all namespaces.
    ///
    /// # Errors
    /// They may not; the text says which grant would let it.
    pub(super) fn read(&self, gvk: &Gvk, own: bool, namespace: &str) -> Result<(), CallError> {
        if own { Ok(()) } else { self.check(Access::Read, gvk, namespace) }
    }

    fn check(&self, access: Access, gvk: &Gvk, namespace: &str) -> Result<(), CallError> {
        let foreign = self.installed.owner(&gvk.group, &gvk.kind).is_some_and(|owner| owner != self.plugin);
        if self.rights.kube(access, &gvk.group, &gvk.kind, namespace, foreign) {
            return Ok(());
        }
        let group = if gvk.group.is_empty() { "core" } else { &gvk.group };
        let what = format!("{} {group}/{}", access.as_str(), gvk.kind);
        Err(CallError::Denied(format!("it needs the grant kube({})", within(&what, namespace))))
    }
}

fn within(what: &str, namespace: &str) -> String {
    if namespace.is_empty() { what.to_owned() } else { format!("{what} in {namespace}") }
}
