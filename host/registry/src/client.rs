//! Pulls and pushes plugins. The types keep the order: a [`Reference`] is resolved to a [`Resolved`], which has a digest,
//! and only that can be pulled; what comes back is an [`Artifact`], whose every part was compared with its digest. So
//! nothing can be loaded that was not asked for by digest. Called by the kernel and the command line.
//!
//! Failures that may pass (no connection, a timeout, a status from 500) are tried again a few times.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use oci_client::client::ClientProtocol;
use oci_client::errors::{DigestError, OciDistributionError};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;

use crate::artifact::{self, Artifact, ArtifactError, Descriptor, INDEX_TYPE, MANIFEST_TYPE};
use crate::digest::Digest;
use crate::manifest::MAX_BYTES;
use crate::reference::Reference;

/// How often a request is made in all.
const ATTEMPTS: u32 = 4;

/// The first pause between two; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest OCI manifest that is taken: it holds the plugin's manifest, escaped.
const MAX_DOCUMENT: u64 = 2 * MAX_BYTES as u64;

/// How to reach registries.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Time to make a connection.
    pub connect_timeout: Duration,
    /// Longest silence while an answer comes.
    pub read_timeout: Duration,
    /// Longest time for a whole pull, resolution or push, repetitions included.
    pub timeout: Duration,
    /// The largest component that is taken.
    pub max_component: u64,
    /// User name and password (or token) by registry, as in `ghcr.io`.
    pub credentials: BTreeMap<String, (String, String)>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(120),
            max_component: 64 << 20,
            credentials: BTreeMap::new(),
        }
    }
}

/// A reference whose digest is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    reference: Reference,
    digest: Digest,
}

impl Resolved {
    /// What was resolved.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// What it points to.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Takes a digest that was resolved earlier and locked (`Plugin.status.digest`).
    pub fn assume(reference: Reference, digest: Digest) -> Resolved {
        Resolved { reference, digest }
    }
}

/// Why nothing was pulled or pushed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The registry has no such artifact.
    #[error("{0} does not exist in its registry; check the name and the tag")]
    NotFound(String),
    /// The registry does not let us.
    #[error("the registry refuses access to {0}; give credentials for it")]
    Unauthorized(String),
    /// What came is not a usable plugin.
    #[error("cannot use {reference}: {source}")]
    Artifact {
        /// What was pulled.
        reference: String,
        /// Why.
        source: ArtifactError,
    },
    /// It could not be reached, or answered with an error, to the last attempt.
    #[error("cannot {doing} {reference}: {reason}")]
    Registry {
        /// `resolve`, `pull` or `push`.
        doing: &'static str,
        /// What.
        reference: String,
        /// What the registry or the connection said.
        reason: String,
    },
    /// It took too long.
    #[error("cannot {doing} {reference}: no success within {limit:?}")]
    Timeout {
        /// `resolve`, `pull` or `push`.
        doing: &'static str,
        /// What.
        reference: String,
        /// The limit.
        limit: Duration,
    },
}

/// Talks to registries. Clones share connections.
#[derive(Clone)]
pub struct Client {
    https: oci_client::Client,
    http: oci_client::Client,
    config: ClientConfig,
}

impl Client {
    /// Makes a client. Registries on this machine are spoken to by HTTP, all others by HTTPS.
    pub fn new(config: ClientConfig) -> Client {
        // Fails only where the process already chose a provider, which then is the one to use.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let speaking = |protocol| {
            oci_client::Client::new(oci_client::client::ClientConfig {
                protocol,
                connect_timeout: Some(config.connect_timeout),
                read_timeout: Some(config.read_timeout),
                user_agent: concat!("purlin/", env!("CARGO_PKG_VERSION")),
                ..Default::default()
            })
        };
        Client { https: speaking(ClientProtocol::Https), http: speaking(ClientProtocol::Http), config }
    }

    /// Asks what a reference points to. One with a digest is its own answer and asks nobody.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, ClientError> {
        if let Some(digest) = reference.digest() {
            return Ok(Resolved::assume(reference.clone(), digest.clone()));
        }
        let (client, auth) = (self.client(reference), self.auth(reference));
        let name = reference.to_client(None);
        let found = self
            .in_time("resolve", reference, async {
                let found = retried(|| client.fetch_manifest_digest(&name, &auth))
                    .await
                    .map_err(Failure::Registry)?;
                found.parse::<Digest>().map_err(|error| Failure::Reason(error.to_string()))
            })
            .await?;
        Ok(Resolved { reference: reference.clone(), digest: found })
    }

    /// Fetches a plugin by its digest and checks all of it.
    pub async fn pull(&self, resolved: &Resolved) -> Result<Artifact, ClientError> {
        self.in_time("pull", &resolved.reference, async {
            let Parts { document, config, component } = self.parts(resolved).await?;
            Ok(Artifact::from_parts(document, config, component)?)
        })
        .await
    }

    /// Fetches the component of any artifact of the layout, whether it is a plugin or a program, and checks its digest.
    pub async fn pull_component(&self, resolved: &Resolved) -> Result<Bytes, ClientError> {
        self.in_time("pull", &resolved.reference, async {
            let Parts { document, component, .. } = self.parts(resolved).await?;
            artifact::check("component", &artifact::parse_document(&document)?.layers[0].digest, &component)?;
            Ok(component)
        })
        .await
    }

    async fn parts(&self, resolved: &Resolved) -> Result<Parts, Failure> {
        let reference = &resolved.reference;
        let (client, auth) = (self.client(reference), self.auth(reference));
        let name = reference.to_client(Some(&resolved.digest));
        let types = [MANIFEST_TYPE, INDEX_TYPE];
        let (document, _) =
            retried(|| client.pull_manifest_raw(&name, &auth, &types)).await.map_err(Failure::Registry)?;
        within("manifest", document.len() as u64, MAX_DOCUMENT)?;
        artifact::check("manifest", &resolved.digest, &document)?;
        let parsed = artifact::parse_document(&document)?;
        let layer = &parsed.layers[0];
        let config = blob(client, &name, "configuration", &parsed.config, MAX_BYTES as u64).await?;
        let component = blob(client, &name, "component", layer, self.config.max_component).await?;
        Ok(Parts { document, config, component })
    }

    /// Pushes an artifact under a tag.
    pub async fn push(&self, reference: &Reference, artifact: &Artifact) -> Result<Resolved, ClientError> {
        let (client, auth) = (self.client(reference), self.auth(reference));
        let name = reference.to_client(None);
        client.store_auth_if_needed(name.resolve_registry(), &auth).await;
        self.in_time("push", reference, async {
            let config_digest = Digest::of(artifact.config());
            for (digest, content) in
                [(artifact.component_digest(), artifact.component()), (&config_digest, artifact.config())]
            {
                let digest = digest.as_str();
                let there = retried(|| client.blob_exists(&name, digest)).await.unwrap_or(false);
                if !there {
                    retried(|| client.push_blob(&name, content.clone(), digest))
                        .await
                        .map_err(Failure::Registry)?;
                }
            }
            let media_type = http::HeaderValue::from_static(MANIFEST_TYPE);
            retried(|| client.push_manifest_raw(&name, artifact.document().clone(), media_type.clone()))
                .await
                .map_err(Failure::Registry)?;
            Ok(Resolved::assume(reference.clone(), artifact.digest().clone()))
        })
        .await
    }

    fn client(&self, reference: &Reference) -> &oci_client::Client {
        if reference.is_loopback() { &self.http } else { &self.https }
    }

    fn auth(&self, reference: &Reference) -> RegistryAuth {
        match self.config.credentials.get(reference.registry()) {
            Some((user, password)) => RegistryAuth::Basic(user.clone(), password.clone()),
            None => RegistryAuth::Anonymous,
        }
    }

    async fn in_time<T>(
        &self,
        doing: &'static str,
        reference: &Reference,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, ClientError> {
        let limit = self.config.timeout;
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(failure)) => Err(failure.about(doing, reference)),
            Err(_) => Err(ClientError::Timeout { doing, reference: reference.to_string(), limit }),
        }
    }
}

/// What an artifact is made of, as it came.
struct Parts {
    document: Bytes,
    config: Bytes,
    component: Bytes,
}

enum Failure {
    Registry(OciDistributionError),
    Artifact(ArtifactError),
    Reason(String),
}

impl From<ArtifactError> for Failure {
    fn from(error: ArtifactError) -> Self {
        Failure::Artifact(error)
    }
}

impl Failure {
    fn about(self, doing: &'static str, reference: &Reference) -> ClientError {
        let reference = reference.to_string();
        match self {
            Failure::Artifact(source) => ClientError::Artifact { reference, source },
            Failure::Reason(reason) => ClientError::Registry { doing, reference, reason },
            Failure::Registry(error) => match status(&error) {
                Some(404) => ClientError::NotFound(reference),
                Some(401 | 403) => ClientError::Unauthorized(reference),
                _ => ClientError::Registry { doing, reference, reason: text(&error) },
            },
        }
    }
}

/// The HTTP status behind an error, as far as the library says.
fn status(error: &OciDistributionError) -> Option<u16> {
    use oci_client::errors::OciErrorCode as Code;
    match error {
        OciDistributionError::ImageManifestNotFoundError(_) => Some(404),
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
            Some(401)
        }
        OciDistributionError::ServerError { code, .. } => Some(*code),
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.first().and_then(|error| match error.code {
                Code::ManifestUnknown | Code::NameUnknown | Code::BlobUnknown | Code::NotFound => Some(404),
                Code::Unauthorized | Code::Denied => Some(401),
                _ => None,
            })
        }
        _ => None,
    }
}

/// The whole chain of causes: the outermost alone ("error sending request") tells nobody anything.
fn text(error: &OciDistributionError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn may_pass(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RequestError(error) => !error.is_builder() && !error.is_redirect(),
        OciDistributionError::IoError(_) => true,
        other => status(other).is_some_and(|code| code >= 500 || code == 429),
    }
}

async fn retried<T, F: Future<Output = Result<T, OciDistributionError>>>(
    mut request: impl FnMut() -> F,
) -> Result<T, OciDistributionError> {
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        match request().await {
            Err(error) if may_pass(&error) => {
                tracing::debug!(error = %text(&error), ?pause, "registry request failed, trying again");
            }
            done => return done,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    request().await
}

fn within(what: &'static str, size: u64, limit: u64) -> Result<(), ArtifactError> {
    if size <= limit { Ok(()) } else { Err(ArtifactError::TooLarge { what, size, limit }) }
}

/// Fetches a blob, reading no more than it is said to have.
async fn blob(
    client: &oci_client::Client,
    name: &oci_client::Reference,
    what: &'static str,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Bytes, Failure> {
    within(what, descriptor.size, limit)?;
    let wanted = OciDescriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.to_string(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        ..Default::default()
    };
    let fetch = || async {
        let mut stream = client.pull_blob_stream(name, &wanted).await?.stream;
        let mut content = BytesMut::new();
        loop {
            match stream.try_next().await {
                Ok(Some(piece)) => content.extend_from_slice(&piece),
                // The library's own verdict on the whole. It is found again below, where it is not tried again and says
                // which part is damaged.
                Err(error) if error.get_ref().is_some_and(|error| error.is::<DigestError>()) => break,
                Ok(None) => break,
                Err(error) => return Err(error.into()),
            }
            if content.len() as u64 > descriptor.size {
                break;
            }
        }
        Ok(content.freeze())
    };
    let content = retried(fetch).await.map_err(Failure::Registry)?;
    artifact::check(what, &descriptor.digest, &content)?;
    Ok(content)
}
