//! What a listed version is in truth: its own manifest, and what the policies make of its signatures.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use purlin_registry::capability::is_public;
use purlin_registry::catalogue::{CatalogueError, Found};
use purlin_registry::policy::Finding;
use purlin_registry::signature::Outcome;
use purlin_registry::{Artifact, Client, KindRef, Manifest, OwnedKind, Reference, Verdict};
use serde::Serialize;
use tokio::sync::{Mutex, Semaphore};
use url::Host;

use crate::PolicySource;

/// Pulls at a time, each of at most the client's largest component.
const PULLS: usize = 2;

/// Verifications at a time.
const VERIFICATIONS: usize = 8;

/// How long a registry may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Manifests that are kept.
const KEPT: usize = 256;

/// Why a version cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleaseError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(
        "the index {index} lists {reference}, which is on this machine or in a private network, and is not there itself; \
         do not trust this index"
    )]
    Inside { index: String, reference: String },
    #[error("the registry of {0} did not answer within {patience} s", patience = PATIENCE.as_secs())]
    Late(String),
    #[error("the policies are not known yet, as the kernel is starting; try again in a moment")]
    Starting,
}

/// Looks at versions, and remembers what a digest was.
pub(crate) struct Releases {
    registry: Client,
    policy: Arc<dyn PolicySource>,
    pulls: Semaphore,
    verifications: Semaphore,
    kept: Mutex<HashMap<Key, Arc<Known>>>,
}

/// The name and version that the index gave are in it: that these are true is a part of what is remembered.
type Key = (String, String, String, String);

/// What does not change under a digest.
pub(crate) struct Known {
    pub(crate) manifest: Manifest,
    pub(crate) size: usize,
}

/// What the policies make of a version.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Signature {
    signed: bool,
    allowed: bool,
    mode: String,
    reason: &'static str,
    message: String,
    key: Option<String>,
}

impl Releases {
    pub(crate) fn new(registry: Client, policy: Arc<dyn PolicySource>) -> Self {
        Releases {
            registry,
            policy,
            pulls: Semaphore::new(PULLS),
            verifications: Semaphore::new(VERIFICATIONS),
            kept: Mutex::default(),
        }
    }

    /// What a version says of itself, once it was compared with what the index says of it.
    pub(crate) async fn known(&self, index: &Reference, found: &Found) -> Result<Arc<Known>, ReleaseError> {
        let release = &found.release;
        let (name, version) = (found.name.clone(), release.version.to_string());
        let key = (name, version, release.reference.clone(), release.digest.to_string());
        if let Some(known) = self.kept.lock().await.get(&key) {
            return Ok(known.clone());
        }
        outside(index, found.resolved()?.reference())?;
        let artifact = self.bounded(&self.pulls, found, found.pull(&self.registry)).await??;
        let known = Arc::new(Known::of(&artifact));
        let mut kept = self.kept.lock().await;
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, known.clone());
        Ok(known)
    }

    /// What the policies make of it.
    pub(crate) async fn signature(
        &self,
        index: &Reference,
        found: &Found,
    ) -> Result<Signature, ReleaseError> {
        let resolved = found.resolved()?;
        outside(index, resolved.reference())?;
        let policy = self.policy.policy().await.ok_or(ReleaseError::Starting)?;
        let verify = self.registry.verify(&resolved, &policy);
        Ok(Signature::of(&self.bounded(&self.verifications, found, verify).await?))
    }

    async fn bounded<T>(
        &self,
        places: &Semaphore,
        found: &Found,
        work: impl Future<Output = T>,
    ) -> Result<T, ReleaseError> {
        let late = || ReleaseError::Late(found.release.reference.clone());
        let work = async {
            let _place = places.acquire().await.map_err(|_| late())?;
            Ok(work.await)
        };
        tokio::time::timeout(PATIENCE, work).await.map_err(|_| late())?
    }
}

/// Refuses to be sent where an index may not lead.
fn outside(index: &Reference, release: &Reference) -> Result<(), ReleaseError> {
    if may_lead_to(index, release) {
        return Ok(());
    }
    Err(ReleaseError::Inside { index: index.to_string(), reference: release.to_string() })
}

/// Whether an index may send this process to a registry: to its own and to those of the Internet, and not from there to
/// what is inside.
fn may_lead_to(index: &Reference, release: &Reference) -> bool {
    if index.registry() == release.registry() || index.is_loopback() {
        return true;
    }
    let address = match release.registry().parse::<Authority>().map(|place| Host::parse(place.host())) {
        Ok(Ok(Host::Ipv4(address))) => IpAddr::from(address),
        Ok(Ok(Host::Ipv6(address))) => IpAddr::from(address),
        Ok(Ok(Host::Domain(_))) => return !release.is_loopback(),
        Ok(Err(_)) | Err(_) => return false,
    };
    is_public(address)
}

impl Known {
    fn of(artifact: &Artifact) -> Self {
        Known { manifest: artifact.manifest().clone(), size: artifact.component().len() }
    }

    /// Kinds that it owns, emits and reads, as people write them.
    pub(crate) fn kinds(&self) -> [Vec<String>; 3] {
        let shown = |kind: &KindRef| format!("{} {}", kind.api_version, kind.kind);
        let owned = self.manifest.owns.iter().map(OwnedKind::kind_ref);
        [
            owned.map(|kind| shown(&kind)).collect(),
            self.manifest.children.iter().map(shown).collect(),
            self.manifest.related.iter().map(shown).collect(),
        ]
    }
}

impl Signature {
    fn of(verdict: &Verdict) -> Self {
        Signature {
            signed: verdict.is_signed(),
            allowed: verdict.allows(),
            mode: verdict.mode.to_string(),
            reason: verdict.reason(),
            message: verdict.to_string(),
            key: match &verdict.finding {
                Finding::Judged(Outcome::Valid { key }) => Some(key.clone()),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_from_outside_leads_to_nothing_inside() {
        let leads = |from: &str, to: &str| may_lead_to(&from.parse().expect(from), &to.parse().expect(to));
        let outside = "registry.example.com/acme/index:latest";
        assert!(leads(outside, "registry.example.com/acme/x:1"));
        assert!(leads(outside, "other.example.com/acme/x:1"));
        assert!(leads(outside, "1.1.1.1/acme/x:1"));
        for inside in [
            "localhost:7444/x/y:1",
            "127.0.0.1:80/x/y:1",
            "10.0.0.1/x/y:1",
            "169.254.169.254:443/x/y:1",
            "0x7f.1:443/x/y:1",
            "[::1]:443/x/y:1",
        ] {
            assert!(!leads(outside, inside), "{inside}");
        }
        // Who may write to this machine's registry is on this machine.
        assert!(leads("localhost:7444/purlin/index:latest", "localhost:7444/x/y:1"));
        assert!(leads("10.0.0.1:5000/purlin/index:latest", "10.0.0.1:5000/x/y:1"));
    }
}
