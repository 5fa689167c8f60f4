//! Plugins as they really are: components from a registry, run in the sandbox.

use std::sync::Arc;

use purlin_registry::auth::{Credentials, Keychain};
use purlin_registry::mirror::MirrorRule;
use purlin_registry::{Access, Client, ClientError, Digest, Policy, Reference, Resolved, Verdict};

use async_trait::async_trait;
use purlin_sandbox::contract::{Context, FieldError, Search, Selector, Suggestion, SyncRequest};
use purlin_sandbox::quota::{Quota, Usage};
use purlin_sandbox::service::PluginId;
use purlin_sandbox::{CallError, LoadError, LoadRequest, Sandbox, Subject, SyncAnswer};
use serde_json::Value;

use super::decide::{capabilities, check_config, limits};
use crate::api::PluginSpec;
use crate::stage::{LoadedPlugin, PluginSource, Pulled, SourceError};

/// Pulls from OCI registries, loads into a sandbox.
pub struct SandboxedSource {
    registry: Client,
    /// The credentials that it has by itself, whatever policies add.
    keychain: Keychain,
    sandbox: Sandbox,
}

impl SandboxedSource {
    /// A source over a registry client and a sandbox.
    pub fn new(registry: Client, sandbox: Sandbox) -> Self {
        SandboxedSource { keychain: registry.access().keychain.clone(), registry, sandbox }
    }
}

fn parse(image: &str) -> Result<Reference, SourceError> {
    image.parse().map_err(|error: purlin_registry::ReferenceError| SourceError::Refused {
        reason: "InvalidReference",
        message: format!("spec.image: {error}"),
    })
}

fn locked(image: &str, digest: &str) -> Result<Resolved, SourceError> {
    let digest: Digest = digest.parse().map_err(|error: purlin_registry::NotADigest| {
        SourceError::Refused { reason: "InvalidDigest", message: format!("spec.digest: {error}") }
    })?;
    Ok(Resolved::assume(parse(image)?, digest))
}

fn from_registry(error: ClientError) -> SourceError {
    match error {
        ClientError::Artifact { .. } => {
            SourceError::Refused { reason: "InvalidArtifact", message: error.to_string() }
        }
        // What does not exist may be pushed, and who is not let in may be given credentials.
        ClientError::NotFound(_)
        | ClientError::Unauthorized(_)
        | ClientError::Auth(_)
        | ClientError::Registry { .. }
        | ClientError::Timeout { .. } => SourceError::Unavailable(error.to_string()),
    }
}

#[async_trait]
impl PluginSource for SandboxedSource {
    async fn resolve(&self, image: &str) -> Result<String, SourceError> {
        let resolved = self.registry.resolve(&parse(image)?).await.map_err(from_registry)?;
        Ok(resolved.digest().to_string())
    }

    async fn verify(&self, image: &str, digest: &str, policy: &Policy) -> Result<Verdict, SourceError> {
        Ok(self.registry.verify(&locked(image, digest)?, policy).await)
    }

    fn use_access(&self, credentials: Vec<(String, Credentials)>, mirrors: Vec<MirrorRule>) {
        let mut keychain = self.keychain.clone();
        for (prefix, credentials) in credentials {
            keychain.add(prefix, credentials);
        }
        self.registry.set_access(Access { keychain, mirrors });
    }

    fn use_quota(&self, namespace: &str, quota: Option<Quota>) {
        self.sandbox.set_quota(namespace, quota);
    }

    fn usage(&self, namespace: &str) -> Option<Usage> {
        self.sandbox.usage(namespace)
    }

    async fn pull(&self, image: &str, digest: &str) -> Result<Pulled, SourceError> {
        let artifact = self.registry.pull(&locked(image, digest)?).await.map_err(from_registry)?;
        Ok(Pulled {
            digest: artifact.digest().to_string(),
            component_digest: artifact.component_digest().to_string(),
            manifest: artifact.manifest().clone(),
            component: artifact.component().clone(),
        })
    }

    async fn load(
        &self,
        id: PluginId,
        pulled: &Pulled,
        spec: &PluginSpec,
    ) -> Result<Arc<dyn LoadedPlugin>, SourceError> {
        check_config(&pulled.manifest, &spec.config)?;
        let request = LoadRequest {
            id,
            component: pulled.component.clone(),
            digest: pulled.component_digest.clone(),
            manifest: Some(pulled.manifest.clone()),
            grants: capabilities(&spec.grants)?,
            limits: limits(spec.limits.as_ref())?,
            config: Value::Object(spec.config.clone()),
        };
        let plugin = self.sandbox.load(request).await.map_err(|error| match &error {
            LoadError::Interrupted => SourceError::Unavailable(error.to_string()),
            _ => SourceError::Refused { reason: reason(&error), message: error.to_string() },
        })?;
        Ok(Arc::new(Component(plugin)))
    }
}

fn reason(error: &LoadError) -> &'static str {
    match error {
        LoadError::DigestMismatch { .. } => "DigestMismatch",
        LoadError::TooLarge { .. } => "TooLarge",
        LoadError::Manifest(_) => "InvalidManifest",
        LoadError::WrongVersion { .. } => "WrongVersion",
        LoadError::NotGranted { .. } => "GrantsMissing",
        LoadError::UnknownImport { .. } => "UnknownImport",
        LoadError::Compile(_) => "InvalidComponent",
        LoadError::Contract(_) => "ContractBroken",
        LoadError::Limit { .. } => "InvalidLimits",
        LoadError::Interrupted => "Interrupted",
    }
}

/// A component in the sandbox.
struct Component(Arc<purlin_sandbox::Plugin>);

#[async_trait]
impl LoadedPlugin for Component {
    fn context(&self, now_ms: u64, seed: u64) -> Context {
        self.0.context(now_ms, seed)
    }

    async fn check(&self, context: Context) -> Result<(), CallError> {
        self.0.check(context).await
    }

    async fn related(
        &self,
        subject: &Subject,
        context: Context,
        parent: String,
    ) -> Result<Vec<Selector>, CallError> {
        self.0.related(subject, context, parent).await
    }

    async fn sync(&self, subject: &Subject, request: SyncRequest) -> Result<SyncAnswer, CallError> {
        self.0.sync(subject, request).await
    }

    async fn finalize(&self, subject: &Subject, request: SyncRequest) -> Result<SyncAnswer, CallError> {
        self.0.finalize(subject, request).await
    }

    async fn algorithms(&self) -> Result<Vec<String>, CallError> {
        self.0.algorithms().await
    }

    async fn validate(&self, subject: &Subject, search: Search) -> Result<Vec<FieldError>, CallError> {
        self.0.validate(subject, search).await
    }

    async fn suggest(
        &self,
        subject: &Subject,
        search: Search,
        count: u32,
    ) -> Result<Vec<Suggestion>, CallError> {
        self.0.suggest(subject, search, count).await
    }

    async fn stop(&self, subject: &Subject, search: Search) -> Result<Vec<String>, CallError> {
        self.0.stop(subject, search).await
    }

    fn component(&self) -> Option<Arc<purlin_sandbox::Plugin>> {
        Some(self.0.clone())
    }
}
