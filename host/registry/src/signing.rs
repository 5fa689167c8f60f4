//! Signing and verifying of what is in a registry: the client's part of [`signature`](crate::signature).

use crate::artifact::{self, Descriptor, MANIFEST_TYPE};
use crate::client::{Client, ClientError, MAX_DOCUMENT, Problem, Resolved, blob, manifest};
use crate::digest::Digest;
use crate::document::Document;
use crate::policy::{Finding, Policy, Verdict};
use crate::reference::Reference;
use crate::signature::{
    self, Expected, MAX_DOCUMENT as MAX_SIGNATURE, MAX_SIGNATURES, Outcome, PrivateKey, Stored, TrustedKey,
    bundle, tag,
};
use crate::transport::{Failure, Repository};

/// What signing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Where the signature is.
    pub stored: Reference,
    /// How many signatures are there now.
    pub signatures: usize,
    /// Whether this very signature was there before.
    pub already: bool,
}

impl Client {
    /// Signs an artifact and puts the signature beside it, as `cosign sign --key` does; the signatures that are there stay.
    /// `signed_as` is the name that the signature gives the artifact, its own name where it is not given.
    pub async fn sign(
        &self,
        resolved: &Resolved,
        key: &PrivateKey,
        signed_as: Option<&str>,
    ) -> Result<Signed, ClientError> {
        let reference = resolved.reference();
        let stored = reference
            .tagged(&tag::name(resolved.digest()))
            .ok_or_else(|| ClientError::NotFound(reference.to_string()))?;
        self.in_time("sign", reference, async {
            let repository = self.repository(reference).await?;
            // Nothing that is not there is signed: the digest may have been typed.
            manifest(&repository, resolved.digest()).await?;
            let name = signed_as.map_or_else(|| reference.name(), str::to_owned);
            let layer = tag::sign(key, &name, resolved.digest())
                .map_err(|error| Failure::Broken(error.to_string()))?;
            let mut layers = signature_layers(&repository, resolved.digest()).await?;
            let already = layers.contains(&layer.descriptor);
            if !already {
                layers.push(layer.descriptor.clone());
                repository.put_blob(&layer.descriptor.digest, &layer.payload).await?;
                let (document, config) = tag::manifest(&layers)?;
                repository.put_blob(&Digest::of(&config), &config).await?;
                repository.put_manifest(&tag::name(resolved.digest()), MANIFEST_TYPE, &document).await?;
            }
            Ok(Signed { stored, signatures: layers.len(), already })
        })
        .await
    }

    /// What a policy makes of an artifact. The signatures are looked for at the mirrors too: they cannot be forged there.
    pub async fn verify(&self, resolved: &Resolved, policy: &Policy) -> Verdict {
        let rules = policy.about(resolved.reference());
        let mut verdict: Option<Verdict> = None;
        for rule in rules {
            let finding = if rule.mode == crate::policy::Mode::Off {
                Finding::Off
            } else {
                let judged = self.judge(resolved, &rule.keys, &rule.signed_as).await;
                judged.map_or_else(|error| Finding::Unavailable(error.to_string()), Finding::Judged)
            };
            let found = Verdict::by(rule, finding);
            // The strictest of those with the same prefix is told; among these, one that is not satisfied.
            let worse = verdict
                .as_ref()
                .is_none_or(|before| (found.mode, !found.is_signed()) > (before.mode, !before.is_signed()));
            if worse {
                verdict = Some(found);
            }
        }
        verdict.unwrap_or_else(|| Verdict::without_rule(resolved.reference()))
    }

    /// How an artifact's signatures stand with some keys.
    pub async fn judge(
        &self,
        resolved: &Resolved,
        keys: &[TrustedKey],
        signed_as: &[String],
    ) -> Result<Outcome, ClientError> {
        let expected = Expected { digest: resolved.digest(), signed_as };
        let mut places = self.mirrors(resolved.reference());
        places.push(resolved.reference().clone());
        let mut best: Result<Outcome, ClientError> = Ok(Outcome::Missing);
        let mut answered = false;
        for place in places {
            let stored = self
                .in_time("fetch the signatures of", &place, async {
                    stored(&self.repository(&place).await?, resolved.digest()).await
                })
                .await;
            match stored.map(|stored| signature::verify(&stored, keys, expected)) {
                Ok(Outcome::Valid { key }) => return Ok(Outcome::Valid { key }),
                // What a place has says more than that another has nothing.
                Ok(outcome) => {
                    if !answered || matches!(best, Ok(Outcome::Missing)) {
                        best = Ok(outcome);
                    }
                    answered = true;
                }
                // Without the answer of every place, "no signature" would be a guess.
                Err(error) => {
                    if !answered || matches!(best, Ok(Outcome::Missing)) {
                        best = Err(error);
                        answered = true;
                    }
                }
            }
        }
        best
    }
}

/// The signatures under the artifact's signature tag; none where there is no such tag.
pub(crate) async fn signature_layers(
    repository: &Repository<'_>,
    digest: &Digest,
) -> Result<Vec<Descriptor>, Problem> {
    match repository.manifest(&tag::name(digest), MAX_DOCUMENT).await {
        Ok(content) => Ok(Document::parse(&content)?.layers),
        Err(Failure::NotFound) => Ok(Vec::new()),
        Err(failure) => Err(failure.into()),
    }
}

/// All signatures of an artifact, in both ways of storing them. One that is damaged is among them as such.
async fn stored(repository: &Repository<'_>, digest: &Digest) -> Result<Vec<Stored>, Problem> {
    let mut found = Vec::new();
    let layers = match signature_layers(repository, digest).await {
        Ok(layers) => layers,
        // A manifest that cannot be read is a signature that is not good, not one that is not there.
        Err(Problem::Artifact(error)) => {
            found.push(Stored::Unreadable(error.to_string()));
            Vec::new()
        }
        Err(problem) => return Err(problem),
    };
    for layer in layers.into_iter().take(MAX_SIGNATURES) {
        let signature = layer.annotations.get(tag::SIGNATURE).cloned().unwrap_or_default();
        found.push(match blob(repository, "signature", &layer, MAX_SIGNATURE).await {
            Ok(payload) => Stored::Simple { payload: payload.to_vec(), signature },
            Err(problem) => unreadable(problem)?,
        });
    }
    let bundles = repository.referrers(digest).await?.into_iter().filter(|descriptor| {
        descriptor.artifact_type.as_deref() == Some(bundle::MEDIA_TYPE)
            // One that says nothing of its content is looked at.
            && descriptor.annotations.get(bundle::PREDICATE_ANNOTATION).is_none_or(|p| p == bundle::SIGN_PREDICATE)
    });
    for descriptor in bundles.take(MAX_SIGNATURES) {
        found.push(match read_bundle(repository, &descriptor).await {
            Ok(text) => Stored::Bundle(text),
            Err(problem) => unreadable(problem)?,
        });
    }
    Ok(found)
}

async fn read_bundle(repository: &Repository<'_>, descriptor: &Descriptor) -> Result<Vec<u8>, Problem> {
    let document = Document::parse(&manifest(repository, &descriptor.digest).await?)?;
    let [layer] = document.layers.as_slice() else {
        return Err(artifact::ArtifactError::Layers(document.layers.len()).into());
    };
    Ok(blob(repository, "signature", layer, MAX_SIGNATURE).await?.to_vec())
}

/// What is wrong with the content is the signature's fault; what is wrong with the connection is not.
fn unreadable(problem: Problem) -> Result<Stored, Problem> {
    match problem {
        Problem::Artifact(error) => Ok(Stored::Unreadable(error.to_string())),
        Problem::Failure(Failure::NotFound) => {
            Ok(Stored::Unreadable("a part of it is not in the registry".to_owned()))
        }
        Problem::Failure(Failure::TooLarge { limit }) => {
            Ok(Stored::Unreadable(format!("it is longer than the {limit} bytes that it is said to have")))
        }
        other => Err(other),
    }
}
