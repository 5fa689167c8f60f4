//! Where plugins come from and who vouches for them: keys, signatures, bills of materials, bundles and indexes.

mod carry;
pub(crate) mod market;
mod sbom;
mod signing;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use purlin_kernel::api::PluginPolicy;
use purlin_registry::auth::Keychain;
use purlin_registry::lock::DigestLock;
use purlin_registry::policy::ReadyRule;
use purlin_registry::{Access, Client, ClientConfig, Policy, Reference, Resolved};

use crate::cli::{IndexCommand, PolicyArgs, SbomCommand, SupplyCommand};

pub(crate) async fn run(command: &SupplyCommand) -> Result<()> {
    match command {
        SupplyCommand::Keygen { out } => signing::keygen(out),
        SupplyCommand::Sign { reference, key, signed_as, output } => {
            signing::sign(reference, key, signed_as.as_deref(), *output).await
        }
        SupplyCommand::Verify { reference, keys, signed_as, policy, output } => {
            signing::verify(reference, keys, signed_as, policy, *output).await
        }
        SupplyCommand::Sbom(SbomCommand::Attach { reference, file, source, output }) => {
            sbom::attach(reference, file.as_deref(), source.as_deref(), *output).await
        }
        SupplyCommand::Sbom(SbomCommand::Show { reference, output }) => sbom::show(reference, *output).await,
        SupplyCommand::Bundle { references, out, policy, output } => {
            carry::bundle(references, out, policy, *output).await
        }
        SupplyCommand::Load { file, to, output } => carry::load(file, to, *output).await,
        SupplyCommand::Index(IndexCommand::Build { plugins, from, out, push, keys, output }) => {
            market::build(plugins, from.as_deref(), out.as_deref(), push.as_deref(), keys, *output).await
        }
        SupplyCommand::Search { words, index, output } => market::search(words, index, *output).await,
        SupplyCommand::Outdated { index, cluster, output } => market::outdated(index, cluster, *output).await,
        SupplyCommand::Upgrade(args) => market::upgrade(args).await,
    }
}

/// Registries as the command line reaches them, and what a policy file demands.
pub(crate) struct Registries {
    pub(crate) client: Client,
    pub(crate) policy: Policy,
    lock: Option<PathBuf>,
}

impl Registries {
    /// With docker's credentials, and with the mirrors and rules of a policy file where there is one.
    pub(crate) fn open(args: &PolicyArgs) -> Result<Registries> {
        let mut access = Access { keychain: Keychain::from_environment(), mirrors: Vec::new() };
        let mut policy = Policy::default();
        if let Some(file) = &args.policy {
            let read = read_policy(file)?;
            policy.rules = read.0;
            access.mirrors = read.1.spec.mirrors;
        }
        let client = Client::new(ClientConfig { access, ..ClientConfig::default() });
        Ok(Registries { client, policy, lock: args.lock.clone() })
    }

    /// What a reference points to, once the policy lets it pass; what it only warns of goes to standard error.
    pub(crate) async fn checked(&self, reference: &str) -> Result<Resolved> {
        let resolved = self.resolve(reference).await?;
        self.let_pass(&resolved).await?;
        Ok(resolved)
    }

    /// Compares what was resolved with the lock and the policy.
    pub(crate) async fn let_pass(&self, resolved: &Resolved) -> Result<()> {
        if let Some(lock) = &self.lock {
            DigestLock::open(lock)?.check(resolved)?;
        }
        let reference = resolved.reference().to_string();
        if self.policy.rules.is_empty() {
            return Ok(());
        }
        let verdict = self.client.verify(resolved, &self.policy).await;
        if !verdict.allows() {
            bail!("{reference} is refused, {}: {verdict}", verdict.reason());
        }
        if verdict.status() == Some(false) {
            tracing::warn!(reference, "{verdict}");
        }
        Ok(())
    }

    pub(crate) async fn resolve(&self, reference: &str) -> Result<Resolved> {
        let reference: Reference = reference.parse()?;
        Ok(self.client.resolve(&reference).await?)
    }
}

/// The rules of a policy file, and the file itself. What only a cluster can give is refused by name.
fn read_policy(file: &Path) -> Result<(Vec<ReadyRule>, PluginPolicy)> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the policy {shown}"))?;
    let policy: PluginPolicy =
        serde_saphyr::from_str(&text).with_context(|| format!("{shown} is no PluginPolicy"))?;
    if !policy.spec.pull_secrets.is_empty() {
        bail!("{shown}: spec.pullSecrets can be used in a cluster only; use `docker login` here");
    }
    let read = |rule| {
        ReadyRule::read(&shown, rule, |secret| {
            Err(format!(
                "Secret {}/{} is in a cluster; give the key's pem here",
                secret.namespace, secret.name
            ))
        })
    };
    Ok((policy.spec.rules.iter().map(read).collect(), policy))
}
