//! Content of any artifact or image, for callers that know more of it than that it is a plugin: its manifest, and its blobs
//! as streams of any length.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::client::{Access, Client, ClientError, Resolved, manifest};
use crate::digest::Digest;

/// A blob that is being read. Nothing of it was compared with its digest.
pub struct OpenBlob {
    /// The offset that it begins at: the one that was asked for, or 0 where the registry cannot go on in the middle.
    pub from: u64,
    /// Bytes of the whole, where the registry says that.
    pub size: Option<u64>,
    /// The bytes; an error says why there are no more.
    pub pieces: BoxStream<'static, Result<Bytes, String>>,
}

impl Client {
    /// A client with other credentials and mirrors, and the same connections.
    #[must_use]
    pub fn with_access(&self, access: Access) -> Client {
        self.sharing(Arc::new(access))
    }

    /// Fetches the manifest, or the index of manifests, of anything, and checks its digest.
    ///
    /// # Errors
    /// The registry has it not, refuses, or cannot be reached.
    pub async fn document(&self, resolved: &Resolved) -> Result<Bytes, ClientError> {
        self.anywhere("read", resolved, |place| {
            Box::pin(async move { manifest(&self.repository(&place).await?, resolved.digest()).await })
        })
        .await
    }

    /// Begins to read a blob that belongs to an artifact, from an offset. The caller compares it with its digest, and asks
    /// again from where it was cut off.
    ///
    /// # Errors
    /// The registry has it not, refuses, or cannot be reached.
    pub async fn open(&self, of: &Resolved, blob: &Digest, from: u64) -> Result<OpenBlob, ClientError> {
        self.anywhere("read", of, |place| {
            Box::pin(async move {
                let response = self.repository(&place).await?.open(blob, from).await?;
                let size = response.size;
                let pieces = response
                    .body
                    .bytes_stream()
                    .map_err(|error| crate::with_causes(error.to_string(), &error));
                Ok(OpenBlob { from: response.from, size, pieces: pieces.boxed() })
            })
        })
        .await
    }
}
