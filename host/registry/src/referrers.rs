//! Documents that belong to an artifact (bills of materials) and artifacts that are one document (indexes): pushed and
//! fetched as OCI 1.1 has it, by `subject` and artifact type. Where a registry has no list of referrers, the list is kept
//! under the tag that the specification names for that.

use bytes::Bytes;

use crate::artifact::{ArtifactError, Descriptor, INDEX_TYPE, MANIFEST_TYPE};
use crate::client::{Client, ClientError, Problem, Resolved, blob, manifest};
use crate::digest::Digest;
use crate::document::{Document, EMPTY};
use crate::layout::Index;
use crate::reference::Reference;
use crate::transport::{Repository, referrers_tag};

impl Client {
    /// Attaches a document to an artifact. The same document attached twice is there once. Returns the digest of the
    /// manifest that refers to the artifact.
    pub async fn attach(
        &self,
        subject: &Resolved,
        media_type: &str,
        content: Bytes,
    ) -> Result<Digest, ClientError> {
        let reference = subject.reference();
        self.in_time("attach to", reference, async {
            let repository = self.repository(reference).await?;
            let document = manifest(&repository, subject.digest()).await?;
            let of = Descriptor::of(MANIFEST_TYPE, &document);
            let referring = Document::of_one(media_type, Descriptor::of(media_type, &content), Some(of));
            let text = put_one(&repository, &content, &referring).await?;
            let descriptor = Descriptor {
                artifact_type: Some(media_type.to_owned()),
                ..Descriptor::of(MANIFEST_TYPE, &text)
            };
            let digest = descriptor.digest.clone();
            let listed = repository.put_manifest(digest.as_str(), MANIFEST_TYPE, &text).await?;
            if !listed {
                list(&repository, subject.digest(), descriptor).await?;
            }
            Ok(digest)
        })
        .await
    }

    /// What of one artifact type refers to an artifact. Mirrors are not asked: they may have less.
    pub async fn attached(
        &self,
        subject: &Resolved,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>, ClientError> {
        let reference = subject.reference();
        let found = self
            .in_time("list what belongs to", reference, async {
                Ok(self.repository(reference).await?.referrers(subject.digest()).await?)
            })
            .await?;
        let wanted = |descriptor: &Descriptor| descriptor.artifact_type.as_deref() == Some(artifact_type);
        Ok(found.into_iter().filter(wanted).collect())
    }

    /// Pushes an artifact that is one document.
    pub async fn push_document(
        &self,
        reference: &Reference,
        media_type: &str,
        content: Bytes,
    ) -> Result<Resolved, ClientError> {
        self.in_time("push", reference, async {
            let repository = self.repository(reference).await?;
            let document = Document::of_one(media_type, Descriptor::of(media_type, &content), None);
            let text = put_one(&repository, &content, &document).await?;
            let digest = Digest::of(&text);
            repository.put_manifest(reference.tag().unwrap_or(digest.as_str()), MANIFEST_TYPE, &text).await?;
            Ok(Resolved::assume(reference.clone(), digest))
        })
        .await
    }

    /// Fetches an artifact that is one document of a type, at most so many bytes of it, and checks every digest.
    pub async fn fetch_document(
        &self,
        resolved: &Resolved,
        media_type: &'static str,
        limit: u64,
    ) -> Result<Bytes, ClientError> {
        self.anywhere("fetch", resolved, |place| {
            Box::pin(async move {
                let repository = self.repository(&place).await?;
                let document = Document::parse(&manifest(&repository, resolved.digest()).await?)?;
                let [layer] = document.layers.as_slice() else {
                    return Err(ArtifactError::Layers(document.layers.len()).into());
                };
                if layer.media_type != media_type {
                    let found = layer.media_type.clone();
                    return Err(
                        ArtifactError::MediaType { what: "layer", found, expected: media_type }.into()
                    );
                }
                blob(&repository, "document", layer, limit).await
            })
        })
        .await
    }
}

async fn put_one(
    repository: &Repository<'_>,
    content: &Bytes,
    document: &Document,
) -> Result<Bytes, Problem> {
    repository.put_blob(&Digest::of(content), content).await?;
    repository.put_blob(&Digest::of(EMPTY), &Bytes::from_static(EMPTY)).await?;
    Ok(document.to_json()?)
}

/// Adds a manifest to the list under the fallback tag.
pub(crate) async fn list(
    repository: &Repository<'_>,
    subject: &Digest,
    descriptor: Descriptor,
) -> Result<(), Problem> {
    let mut listed = repository.tagged_referrers(subject).await?;
    if listed.iter().any(|known| known.digest == descriptor.digest) {
        return Ok(());
    }
    listed.push(descriptor);
    let text = serde_json::to_vec(&Index::new(listed))
        .map_err(|source| ArtifactError::Json { what: "list of referrers", source })?;
    repository.put_manifest(&referrers_tag(subject), INDEX_TYPE, &Bytes::from(text)).await?;
    Ok(())
}
