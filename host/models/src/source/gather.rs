//! Bringing all files of a source into the cache, some at a time, and keeping note of which versions they are.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};

use super::cache::{Cache, Hold, Shelf};
use super::download::{Got, Remote, Wanted, download};
use super::error::SourceError;
use super::listing::{Entry, Listing, check_names};
use super::progress::Progress;

/// Files that are downloaded at the same time.
const CONCURRENCY: usize = 4;

/// A file somewhere else, before it is read.
pub(super) struct RemoteFile {
    /// Its path below the source.
    pub(super) name: String,
    /// What messages and partial downloads call it; names the version where one is known.
    pub(super) location: String,
    /// Bytes.
    pub(super) size: Option<u64>,
    /// SHA-256 in hexadecimal.
    pub(super) digest: Option<String>,
    /// What tells this content of it from others.
    pub(super) version: Option<String>,
    pub(super) remote: Box<dyn Remote>,
}

/// Where things are kept, and what may be.
pub(super) struct Gathering<'a> {
    pub(super) cache: &'a Arc<Cache>,
    pub(super) uri: &'a str,
    /// Names the source, and who may read it.
    pub(super) key: &'a str,
    pub(super) max_file: u64,
    pub(super) progress: &'a Progress,
}

impl Gathering<'_> {
    /// What the source had last time, if all of it is here still.
    pub(super) fn kept(&self) -> Option<(Listing, Hold)> {
        let listing: Listing = self.cache.record(Shelf::Listings, self.key)?;
        let hold = self.cache.hold(listing.files.iter().map(|file| file.digest.as_str()))?;
        Some((listing, hold))
    }

    /// Brings the files here. Those whose version was here before are not read again.
    pub(super) async fn gather(
        &self,
        single: bool,
        mut files: Vec<RemoteFile>,
    ) -> Result<(Listing, Hold), SourceError> {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        check_names(self.uri, files.iter().map(|file| file.name.as_str()))?;
        let before: Listing = self.cache.record(Shelf::Listings, self.key).unwrap_or_default();
        let gotten = futures::stream::iter(files.into_iter().map(|file| self.get(file, &before)));
        let gotten: Vec<(Entry, Hold)> = gotten.buffered(CONCURRENCY).try_collect().await?;
        let (mut hold, mut entries) = (Hold::nothing(self.cache), Vec::with_capacity(gotten.len()));
        for (entry, held) in gotten {
            entries.push(entry);
            hold.join(held);
        }
        let listing = Listing::new(self.uri, single, entries)?;
        if listing != before {
            self.cache.keep(Shelf::Listings, self.key, &listing);
        }
        Ok((listing, hold))
    }

    async fn get(&self, file: RemoteFile, before: &Listing) -> Result<(Entry, Hold), SourceError> {
        let known = before.files.binary_search_by(|entry| entry.name.as_str().cmp(&file.name));
        if let Some(entry) = known.ok().and_then(|index| before.files.get(index))
            && file.version.is_some()
            && entry.version == file.version
            && file.size.is_none_or(|size| size == entry.size)
            && let Some(hold) = self.cache.hold([entry.digest.as_str()])
        {
            return Ok((entry.clone(), hold));
        }
        let identity = file.version.as_ref().map(|version| format!("{}\n{version}", file.location));
        let wanted = Wanted { what: file.location, identity, size: file.size, digest: file.digest };
        let Got { digest, size, hold } =
            download(self.cache, &wanted, file.remote.as_ref(), self.max_file, self.progress).await?;
        Ok((Entry { name: file.name, digest, size, version: file.version }, hold))
    }
}
