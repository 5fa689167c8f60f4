//! `purlin plugin`: pack, push, pull, inspect, list and install.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::wait::{Condition as _, await_condition};
use kube::{Api, Client, ResourceExt as _};
use purlin_kernel::api::{Plugin, REQUESTED_AT};
use purlin_registry::{Artifact, Capability, Manifest, Reference, Resolved};
use serde_json::{Value, json};

use crate::cli::{ClusterArgs, InstallArgs, Output, PluginCommand, PolicyArgs};
use crate::connect::connect;
use crate::supply::{Registries, market};
use crate::{output, workbench};

/// The field manager under which a person installs.
const MANAGER: &str = "purlin-cli";

/// How a `Plugin` object stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    Pending,
    Failed { reason: String, message: String },
}

impl Readiness {
    /// From the `Ready` condition, as far as it is about the present spec.
    pub(crate) fn of(plugin: &Plugin) -> Self {
        let conditions =
            plugin.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let Some(ready) = conditions.iter().find(|condition| condition.type_ == "Ready") else {
            return Self::Pending;
        };
        if ready.observed_generation.is_some_and(|seen| Some(seen) < plugin.metadata.generation) {
            return Self::Pending;
        }
        match ready.status.as_str() {
            "True" => Self::Ready,
            "False" => Self::Failed { reason: ready.reason.clone(), message: ready.message.clone() },
            _ => Self::Pending,
        }
    }
}

pub(crate) async fn run(command: &PluginCommand) -> Result<()> {
    match command {
        PluginCommand::Pack { module, manifest, out } => pack(module, manifest, out),
        PluginCommand::Push { file, reference, output } => push(file, reference, *output).await,
        PluginCommand::Pull { reference, out, policy, output } => pull(reference, out, policy, *output).await,
        PluginCommand::Inspect { plugin, policy, cluster, output } => {
            inspect(plugin, policy, cluster, *output).await
        }
        PluginCommand::List { cluster, output } => list(cluster, *output).await,
        PluginCommand::Install(args) => install(args).await,
        PluginCommand::Supply(command) => crate::supply::run(command).await,
        PluginCommand::New { name, lang, stage, dir, output } => {
            workbench::new(name, *lang, *stage, dir.as_deref(), *output)
        }
        PluginCommand::Build { project, output } => workbench::make(project, *output).await,
        PluginCommand::Test { project, cases, replay, update, no_build, output } => {
            let args = workbench::TestArgs {
                project,
                cases: cases.as_deref(),
                replay: replay.as_deref(),
                update: *update,
                no_build: *no_build,
            };
            workbench::test(&args, *output).await
        }
        PluginCommand::Dev { project, registry, once, cluster, output } => {
            workbench::dev(project, registry, *once, cluster, *output).await
        }
    }
}

fn pack(module: &Path, manifest: &Path, out: &Path) -> Result<()> {
    let code =
        std::fs::read(module).with_context(|| format!("cannot read the module {}", module.display()))?;
    let manifest = Manifest::from_yaml_file(manifest)?;
    let component = purlin_registry::pack(&code, &manifest)?;
    std::fs::write(out, &component).with_context(|| format!("cannot write {}", out.display()))?;
    output::line(format!(
        "{} {}: {} bytes in {}",
        manifest.name,
        manifest.version,
        component.len(),
        out.display()
    ))?;
    Ok(())
}

async fn push(file: &Path, reference: &str, form: Output) -> Result<()> {
    let reference: Reference = reference.parse()?;
    let artifact = read_component(file)?;
    let pushed = Registries::open(&PolicyArgs::default())?.client.push(&reference, &artifact).await?;
    match form {
        Output::Json => {
            output::json(&json!({"reference": reference.to_string(), "digest": pushed.digest().to_string()}))?
        }
        Output::Text => output::line(format!("pushed {reference}@{}", pushed.digest()))?,
    }
    Ok(())
}

async fn pull(reference: &str, out: &Path, policy: &PolicyArgs, form: Output) -> Result<()> {
    let (reference, artifact) = fetch(reference, policy).await?;
    std::fs::write(out, artifact.component()).with_context(|| format!("cannot write {}", out.display()))?;
    match form {
        Output::Json => output::json(&json!({
            "reference": reference.to_string(), "digest": artifact.digest().to_string(), "file": out,
        }))?,
        Output::Text => {
            output::line(format!("pulled {reference}@{} into {}", artifact.digest(), out.display()))?
        }
    }
    Ok(())
}

async fn inspect(plugin: &str, policy: &PolicyArgs, cluster: &ClusterArgs, form: Output) -> Result<()> {
    let path = PathBuf::from(plugin);
    let (artifact, verdict) = if path.is_file() {
        (read_component(&path)?, None)
    } else {
        let registries = Registries::open(policy)?;
        let resolved = if plugin.contains('/') {
            registries.resolve(plugin).await?
        } else {
            locked(plugin, cluster).await?
        };
        let artifact = registries.client.pull(&resolved).await?;
        (artifact, Some(registries.client.verify(&resolved, &registries.policy).await))
    };
    let manifest = artifact.manifest();
    if form == Output::Json {
        let manifest: Value =
            serde_json::from_str(&manifest.to_json()?).context("the manifest is no JSON")?;
        output::json(&json!({
            "digest": artifact.digest().to_string(), "size": artifact.component().len(), "manifest": manifest,
            "signature": verdict.map(|verdict| json!({
                "signed": verdict.is_signed(), "reason": verdict.reason(), "message": verdict.to_string(),
            })),
        }))?;
        return Ok(());
    }
    let listed = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let kinds = |kinds: &[purlin_registry::KindRef]| -> Vec<String> {
        kinds.iter().map(|kind| format!("{} {}", kind.api_version, kind.kind)).collect()
    };
    let owned: Vec<_> = manifest.owns.iter().map(purlin_registry::OwnedKind::kind_ref).collect();
    let rows = [
        ("Name", manifest.name.clone()),
        ("Version", manifest.version.to_string()),
        ("Description", manifest.description.clone()),
        ("Digest", artifact.digest().to_string()),
        ("Size", format!("{} bytes", artifact.component().len())),
        ("Signature", verdict.map_or_else(|| "a file has none".to_owned(), |verdict| verdict.to_string())),
        ("Contract", format!("purlin:plugin {}", manifest.wit)),
        ("Stages", listed(manifest.stages.iter().map(ToString::to_string).collect())),
        ("Algorithms", listed(manifest.algorithms.clone())),
        ("Owns", listed(kinds(&owned))),
        ("Emits", listed(kinds(&manifest.children))),
        ("Reads", listed(kinds(&manifest.related))),
    ];
    for (name, value) in rows {
        output::line(format!("{:<13} {value}", format!("{name}:")))?;
    }
    let wants =
        manifest.requests().iter().map(|request| format!("{} ({})", request.name, request.reason)).collect();
    output::line(format!("{:<13} {}", "Asks for:", listed(wants)))?;
    Ok(())
}

/// The artifact that a cluster's plugin is locked to.
pub(crate) async fn fetch_installed(
    name: &str,
    policy: &PolicyArgs,
    cluster: &ClusterArgs,
) -> Result<Artifact> {
    let registries = Registries::open(policy)?;
    Ok(registries.client.pull(&locked(name, cluster).await?).await?)
}

/// What a cluster's plugin is locked to.
async fn locked(name: &str, cluster: &ClusterArgs) -> Result<Resolved> {
    let api: Api<Plugin> = Api::all(connect(cluster).await?);
    let found = api.get_opt(name).await.context("cannot read the plugins")?;
    let plugin = found.with_context(|| {
        format!("there is no file, no reference and no installed plugin {name:?}; see `purlin plugin list`")
    })?;
    let digest = plugin.status.and_then(|status| status.digest);
    let digest = digest.with_context(|| format!("the plugin {name} was not found in its registry yet"))?;
    Ok(Resolved::assume(plugin.spec.image.parse()?, digest.parse()?))
}

async fn list(cluster: &ClusterArgs, form: Output) -> Result<()> {
    let api: Api<Plugin> = Api::all(connect(cluster).await?);
    let plugins = api.list(&ListParams::default()).await.context("cannot list the plugins")?;
    if form == Output::Json {
        output::json(&plugins.items)?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = plugins
        .iter()
        .map(|plugin| {
            let status = plugin.status.clone().unwrap_or_default();
            let ready = match Readiness::of(plugin) {
                Readiness::Ready => "Ready".to_owned(),
                Readiness::Pending => "Pending".to_owned(),
                Readiness::Failed { reason, .. } => reason,
            };
            vec![
                plugin.name_any(),
                status.version.unwrap_or_default(),
                ready,
                signature(&status.conditions),
                status.stages.join(","),
                plugin.spec.image.clone(),
                status.digest.unwrap_or_default(),
            ]
        })
        .collect();
    output::table(&["NAME", "VERSION", "STATE", "SIGNATURE", "STAGES", "IMAGE", "DIGEST"], &rows)?;
    Ok(())
}

/// One word about a plugin's signatures.
fn signature(conditions: &[purlin_kernel::api::Condition]) -> String {
    let verified = conditions.iter().find(|condition| condition.type_ == "Verified");
    verified.map(|condition| condition.reason.clone()).unwrap_or_default()
}

async fn install(args: &InstallArgs) -> Result<()> {
    let registries = Registries::open(&args.policy)?;
    let (resolved, artifact) = if args.reference.contains('/') {
        let resolved = registries.checked(&args.reference).await?;
        let artifact = registries.client.pull(&resolved).await?;
        (resolved, artifact)
    } else {
        let found = market::find(&registries, &args.index, &args.reference).await?;
        market::pull(&found, &registries).await?
    };
    let grants = agreed(artifact.manifest(), &args.grants, args.yes)?;
    let name = args.name.as_deref().unwrap_or(&artifact.manifest().name);
    install_as(name, &resolved, &grants, args.wait, &args.cluster, args.output).await
}

/// What is granted to a plugin: what was granted already, and the rest of what it asks for once a person agrees.
pub(crate) fn agreed(manifest: &Manifest, granted: &[String], yes: bool) -> Result<Vec<String>> {
    let parse = |grant: &String| grant.parse().map_err(|error| anyhow::anyhow!("--grant: {error}"));
    let known = granted.iter().map(parse).collect::<Result<Vec<Capability>>>()?;
    let mut missing = manifest.refused(&known);
    missing.retain(|request| !request.optional);
    let mut grants = granted.to_vec();
    if missing.is_empty() {
        return Ok(grants);
    }
    if !yes {
        let shown = missing.iter().map(|request| format!("  {} ({})", request.name, request.reason));
        let shown = shown.collect::<Vec<_>>().join("\n");
        let question = format!("{} {} asks for\n{shown}\nGrant this?", manifest.name, manifest.version);
        if !output::confirm(&question)? {
            let flags = missing
                .iter()
                .map(|request| format!("--grant '{}' ({})", request.name, request.reason))
                .collect::<Vec<_>>();
            bail!(
                "{} {} asks for what was not granted; add {}, or --yes for all",
                manifest.name,
                manifest.version,
                flags.join(" and ")
            );
        }
    }
    grants.extend(missing.iter().map(|request| request.name.to_string()));
    Ok(grants)
}

/// Makes or changes a Plugin object, and waits until it is ready.
pub(crate) async fn install_as(
    name: &str,
    resolved: &Resolved,
    grants: &[String],
    wait: u64,
    cluster: &ClusterArgs,
    form: Output,
) -> Result<()> {
    let (reference, digest) = (resolved.reference(), resolved.digest().to_string());
    let client = connect(cluster).await?;
    let state = apply(client, name, reference, &digest, grants, Duration::from_secs(wait)).await?;
    match form {
        Output::Json => output::json(&json!({
            "name": name, "reference": reference.to_string(), "digest": digest,
            "ready": state == Readiness::Ready,
        }))?,
        Output::Text if matches!(state, Readiness::Failed { .. }) => {}
        Output::Text => output::line(format!("plugin {name} installed at {digest}"))?,
    }
    match state {
        Readiness::Failed { reason, message } => bail!("the plugin {name} is not ready, {reason}: {message}"),
        Readiness::Ready | Readiness::Pending => Ok(()),
    }
}

/// Writes the Plugin object, and waits until it is ready or says why not; without waiting where `wait` is zero.
pub(crate) async fn apply(
    client: Client,
    name: &str,
    reference: &Reference,
    digest: &str,
    grants: &[String],
    wait: Duration,
) -> Result<Readiness> {
    let api: Api<Plugin> = Api::all(client);
    let object = json!({
        "apiVersion": "purlin.dev/v1alpha1",
        "kind": "Plugin",
        "metadata": {"name": name, "annotations": {REQUESTED_AT: format!("{:.3}", Timestamp::now())}},
        "spec": {"image": reference.to_string(), "digest": digest, "grants": grants},
    });
    let applied = api
        .patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object))
        .await
        .with_context(|| format!("cannot install the plugin {name}"))?;
    if wait.is_zero() { Ok(Readiness::Pending) } else { settled(api, name, applied, wait).await }
}

/// Waits until the object says whether it is ready, as it was asked to by what was applied.
async fn settled(api: Api<Plugin>, name: &str, applied: Plugin, wait: Duration) -> Result<Readiness> {
    let request = applied.annotations().get(REQUESTED_AT).cloned();
    let condition = (move |plugin: Option<&Plugin>| {
        plugin.is_some_and(|plugin| {
            let seen = plugin.status.as_ref().and_then(|status| status.observed_request.as_ref());
            // Timestamps of one length: a later one is greater. Somebody may have asked again meanwhile.
            seen >= request.as_ref() && Readiness::of(plugin) != Readiness::Pending
        })
    })
    .and(|_: Option<&Plugin>| true);
    let found = tokio::time::timeout(wait, await_condition(api, name, condition))
        .await
        .with_context(|| {
            format!(
                "the plugin {name} was not ready in {} s; see `kubectl describe plugin {name}`",
                wait.as_secs()
            )
        })?
        .with_context(|| format!("cannot watch the plugin {name}"))?;
    Ok(found.map_or(Readiness::Pending, |plugin| Readiness::of(&plugin)))
}

/// What the command line pulls, once the policy lets it pass.
pub(crate) async fn fetch(reference: &str, policy: &PolicyArgs) -> Result<(Reference, Artifact)> {
    let registries = Registries::open(policy)?;
    let resolved = registries.checked(reference).await?;
    let artifact = registries.client.pull(&resolved).await?;
    Ok((resolved.reference().clone(), artifact))
}

pub(crate) fn read_component(file: &Path) -> Result<Artifact> {
    let component =
        std::fs::read(file).with_context(|| format!("cannot read the component {}", file.display()))?;
    Artifact::from_component(Bytes::from(component))
        .with_context(|| format!("{} is no plugin", file.display()))
}
