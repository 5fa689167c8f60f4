//! Pulls and pushes plugins. The types keep the order: a [`Reference`] is resolved to a [`Resolved`], which has a digest,
//! and only that can be pulled; what comes back is an [`Artifact`], whose every part was compared with its digest. So
//! nothing can be loaded that was not asked for by digest. Called by the kernel and the command line.
//!
//! Failures that may pass (no connection, a timeout, a status from 500, 429) are tried again a few times, after the time
//! that the registry asks for.
//!
//! Mirrors: content, which has a digest, is taken from the first place that has it undamaged, the mirrors first. What a
//! tag means is asked of the origin; only where that cannot be reached are the mirrors asked, and that is logged.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::artifact::{self, Artifact, ArtifactError, Descriptor, MANIFEST_TYPE};
use crate::auth::{AuthError, Keychain};
use crate::digest::Digest;
use crate::manifest::MAX_BYTES;
use crate::mirror::{self, MirrorRule};
use crate::reference::Reference;
use crate::transport::{Failure, Repository, Transport};

/// The largest OCI manifest that is taken: it holds the plugin's manifest, escaped.
pub(crate) const MAX_DOCUMENT: u64 = 2 * MAX_BYTES as u64;

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
    /// What else is known of registries.
    pub access: Access,
}

/// Credentials and mirrors. A running client can be given others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// What is shown to which registry.
    pub keychain: Keychain,
    /// Where artifacts are besides their own registry.
    pub mirrors: Vec<MirrorRule>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(120),
            max_component: 64 << 20,
            access: Access::default(),
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
    #[error(
        "the registry refuses access to {0}; give credentials for it: `docker login`, or a pull secret in a PluginPolicy"
    )]
    Unauthorized(String),
    /// The credentials cannot be had.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// What came is not usable.
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
        /// `resolve`, `pull`, `push` and the like.
        doing: &'static str,
        /// What.
        reference: String,
        /// What the registry or the connection said.
        reason: String,
    },
    /// It took too long.
    #[error("cannot {doing} {reference}: no success within {limit:?}")]
    Timeout {
        /// `resolve`, `pull`, `push` and the like.
        doing: &'static str,
        /// What.
        reference: String,
        /// The limit.
        limit: Duration,
    },
}

/// Talks to registries. Clones share connections, sign-ins, credentials and mirrors.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    config: Arc<ClientConfig>,
    access: Arc<RwLock<Arc<Access>>>,
}

impl Client {
    /// Makes a client. Registries on this machine are spoken to by HTTP, all others by HTTPS.
    pub fn new(config: ClientConfig) -> Client {
        // Fails only where the process already chose a provider, which then is the one to use.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client {
            transport: Transport::new(config.connect_timeout, config.read_timeout),
            access: Arc::new(RwLock::new(Arc::new(config.access.clone()))),
            config: Arc::new(config),
        }
    }

    pub(crate) fn sharing(&self, access: Arc<Access>) -> Client {
        Client {
            transport: self.transport.clone(),
            config: Arc::clone(&self.config),
            access: Arc::new(RwLock::new(access)),
        }
    }

    /// Uses other credentials and mirrors from now on.
    pub fn set_access(&self, access: Access) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    /// Asks what a reference points to. One with a digest is its own answer and asks nobody.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, ClientError> {
        if let Some(digest) = reference.digest() {
            return Ok(Resolved::assume(reference.clone(), digest.clone()));
        }
        let tag = reference.tag().unwrap_or("latest");
        let found = self
            .in_time("resolve", reference, async {
                let origin = match self.repository(reference).await?.digest_of(tag, MAX_DOCUMENT).await {
                    Err(Failure::Unavailable(why)) => why,
                    answer => return Ok(answer?),
                };
                for place in self.mirrors(reference) {
                    let answer = self.repository(&place).await?.digest_of(tag, MAX_DOCUMENT).await;
                    if let Ok(digest) = answer {
                        tracing::warn!(%reference, %place, %digest, origin, "a mirror says what the tag means");
                        return Ok(digest);
                    }
                }
                Err(Problem::Failure(Failure::Unavailable(origin)))
            })
            .await?;
        Ok(Resolved { reference: reference.clone(), digest: found })
    }

    /// Fetches a plugin by its digest and checks all of it.
    pub async fn pull(&self, resolved: &Resolved) -> Result<Artifact, ClientError> {
        self.anywhere("pull", resolved, |place| {
            Box::pin(async move {
                let Parts { document, config, component } = self.parts(&place, resolved.digest()).await?;
                Ok(Artifact::from_parts(document, config, component)?)
            })
        })
        .await
    }

    /// Fetches the component of any artifact of the layout, whether it is a plugin or a program, and checks its digest.
    pub async fn pull_component(&self, resolved: &Resolved) -> Result<Bytes, ClientError> {
        self.anywhere("pull", resolved, |place| {
            Box::pin(async move { Ok(self.parts(&place, resolved.digest()).await?.component) })
        })
        .await
    }

    async fn parts(&self, place: &Reference, digest: &Digest) -> Result<Parts, Problem> {
        let repository = self.repository(place).await?;
        let document = manifest(&repository, digest).await?;
        let parsed = artifact::parse_document(&document)?;
        let config = blob(&repository, "configuration", &parsed.config, MAX_BYTES as u64).await?;
        let component = blob(&repository, "component", &parsed.layers[0], self.config.max_component).await?;
        Ok(Parts { document, config, component })
    }

    /// Pushes an artifact under a tag.
    pub async fn push(&self, reference: &Reference, artifact: &Artifact) -> Result<Resolved, ClientError> {
        self.in_time("push", reference, async {
            let repository = self.repository(reference).await?;
            repository.put_blob(artifact.component_digest(), artifact.component()).await?;
            repository.put_blob(&Digest::of(artifact.config()), artifact.config()).await?;
            let version = reference.tag().unwrap_or(artifact.digest().as_str());
            repository.put_manifest(version, MANIFEST_TYPE, artifact.document()).await?;
            Ok(Resolved::assume(reference.clone(), artifact.digest().clone()))
        })
        .await
    }

    /// The repository of a reference, with what is shown to its registry.
    pub(crate) async fn repository<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> Result<Repository<'a>, Problem> {
        let access = self.access();
        let credentials = access.keychain.find(&reference.name()).await.map_err(Problem::Auth)?;
        Ok(Repository {
            transport: &self.transport,
            registry: reference.registry(),
            name: reference.repository(),
            plain: reference.is_loopback(),
            credentials,
        })
    }

    pub(crate) fn mirrors(&self, reference: &Reference) -> Vec<Reference> {
        mirror::places(&self.access().mirrors, reference)
    }

    /// The credentials and mirrors in use.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does something that content with a digest is needed for, at the first place where it succeeds: the mirrors, then
    /// the origin, whose failure is the one that is told.
    pub(crate) async fn anywhere<'a, T>(
        &'a self,
        doing: &'static str,
        resolved: &'a Resolved,
        work: impl Fn(Reference) -> BoxFuture<'a, Result<T, Problem>>,
    ) -> Result<T, ClientError> {
        self.in_time(doing, &resolved.reference, async {
            for place in self.mirrors(&resolved.reference) {
                match work(place.clone()).await {
                    Ok(done) => return Ok(done),
                    Err(problem) => {
                        let why = problem.about(doing, &place);
                        tracing::warn!(%place, error = %why, "the mirror is of no use, trying the next place");
                    }
                }
            }
            work(resolved.reference.clone()).await
        })
        .await
    }

    pub(crate) async fn in_time<T>(
        &self,
        doing: &'static str,
        reference: &Reference,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, ClientError> {
        let limit = self.config.timeout;
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(problem)) => Err(problem.about(doing, reference)),
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

/// Why some work at one place had no success.
#[derive(Debug)]
pub(crate) enum Problem {
    Failure(Failure),
    Artifact(ArtifactError),
    Auth(AuthError),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Problem::Failure(failure)
    }
}

impl From<ArtifactError> for Problem {
    fn from(error: ArtifactError) -> Self {
        Problem::Artifact(error)
    }
}

impl Problem {
    pub(crate) fn about(self, doing: &'static str, reference: &Reference) -> ClientError {
        let reference = reference.to_string();
        match self {
            Problem::Artifact(source) => ClientError::Artifact { reference, source },
            Problem::Auth(error) => ClientError::Auth(error),
            Problem::Failure(Failure::NotFound) => ClientError::NotFound(reference),
            Problem::Failure(Failure::Unauthorized) => ClientError::Unauthorized(reference),
            Problem::Failure(Failure::TooLarge { limit }) => {
                ClientError::Artifact { reference, source: ArtifactError::Longer { limit } }
            }
            Problem::Failure(Failure::Unavailable(reason) | Failure::Broken(reason)) => {
                ClientError::Registry { doing, reference, reason }
            }
        }
    }
}

/// Fetches a manifest by its digest and compares the two.
pub(crate) async fn manifest(repository: &Repository<'_>, digest: &Digest) -> Result<Bytes, Problem> {
    let document = repository.manifest(digest.as_str(), MAX_DOCUMENT).await?;
    artifact::check("manifest", digest, &document)?;
    Ok(document)
}

/// Fetches a blob and compares it with its digest, reading no more than it is said to have.
pub(crate) async fn blob(
    repository: &Repository<'_>,
    what: &'static str,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Bytes, Problem> {
    let size = descriptor.size;
    if size > limit {
        return Err(ArtifactError::TooLarge { what, size, limit }.into());
    }
    let content = repository.blob(&descriptor.digest, size).await?;
    artifact::check(what, &descriptor.digest, &content)?;
    Ok(content)
}
