//! `purlin crds` and `purlin rbac`: what a cluster needs before the kernel can run in it, as YAML.

use std::path::Path;

use anyhow::{Context as _, Result};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use purlin_kernel::api::Plugin;
use purlin_kernel::rbac::{Needs, Subject, manifests};
use serde::Serialize;

use crate::cli::RbacArgs;
use crate::connect::connect;
use crate::{output, plugin};

/// Prints the kernel's definitions.
pub(crate) fn crds() -> Result<()> {
    documents(&purlin_kernel::crds())
}

/// Prints what the kernel has to be allowed.
pub(crate) async fn rbac(args: &RbacArgs) -> Result<()> {
    let mut needs = Vec::new();
    for source in &args.plugins {
        let artifact = if Path::new(source).is_file() {
            plugin::read_component(Path::new(source))?
        } else {
            plugin::fetch(source, &args.policy).await?.1
        };
        let manifest = artifact.manifest().clone();
        let granted = manifest.requests().into_iter().map(|request| request.name).collect();
        needs.push(Needs { manifest, granted });
    }
    if args.plugins.is_empty() && !args.kernel_only {
        let api: Api<Plugin> = Api::all(connect(&args.cluster).await?);
        let installed = api.list(&ListParams::default()).await.context(
            "cannot list the installed plugins; name them with --plugin, or print the kernel's own rights with \
             --kernel-only",
        )?;
        for object in installed {
            let name = object.name_any();
            let artifact = plugin::fetch_installed(&name, &args.policy, &args.cluster)
                .await
                .with_context(|| format!("the plugin {name}"))?;
            let grants = object.spec.grants.iter().map(|grant| grant.parse());
            let granted = grants.collect::<Result<_, _>>().with_context(|| format!("the plugin {name}"))?;
            needs.push(Needs { manifest: artifact.manifest().clone(), granted });
        }
    }
    let subject = Subject {
        namespace: args.namespace.clone(),
        service_account: args.service_account.clone(),
        secrets_in: args.secrets_in.clone(),
    };
    documents(&manifests(&subject, args.install_crds, &needs))
}

fn documents<T: Serialize>(objects: &[T]) -> Result<()> {
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        // Through JSON, so that fields are in one order whatever type they come from.
        let object = serde_json::to_value(object)?;
        text.push_str(&serde_saphyr::to_string(&object).context("cannot write YAML")?);
    }
    output::bytes(text.as_bytes())?;
    Ok(())
}
