//! From the indexes that somebody trusts to a plugin that can be installed: which indexes there are, what is in them, and
//! whether a listed version is what the index says. Used by `purlin plugin search`, `install`, `upgrade` and `outdated`
//! and by the console. It decides nothing about signatures: that is the [`policy`](crate::policy)'s.

use std::path::PathBuf;

use crate::artifact::Artifact;
use crate::client::{Client, ClientError, Resolved};
use crate::index::{Index, IndexError, MAX_BYTES, MEDIA_TYPE, Release};
use crate::reference::{Reference, ReferenceError};

/// Why there is nothing to choose from, or why what was chosen is not installed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The list of indexes cannot be read.
    #[error("cannot read {file}: {source}")]
    Configuration {
        /// The file.
        file: String,
        /// What was wrong.
        source: std::io::Error,
    },
    /// It names no place.
    #[error("cannot use the index {index}: {source}")]
    Name {
        /// Which.
        index: String,
        /// What was wrong.
        source: ReferenceError,
    },
    /// The registry does not give it.
    #[error("cannot use the index {index}: {source}")]
    Fetch {
        /// Which.
        index: String,
        /// What was wrong.
        source: ClientError,
    },
    /// It is no index.
    #[error("cannot use the index {index}: {source}")]
    Content {
        /// Which.
        index: String,
        /// What was wrong.
        source: IndexError,
    },
    /// The place that the index gives for a version is none.
    #[error("the index gives {reference} for a place: {source}")]
    Place {
        /// What it says.
        reference: String,
        /// What was wrong.
        source: ReferenceError,
    },
    /// The registry does not give the plugin.
    #[error(transparent)]
    Pull(#[from] ClientError),
    /// An index cannot give one plugin under another's name, or an old version as a new one.
    #[error("the index says that {reference} is {listed}, and it is {found}; do not trust this index")]
    Lie {
        /// What was pulled.
        reference: String,
        /// Name and version in the index.
        listed: String,
        /// Name and version in the plugin's own manifest.
        found: String,
    },
}

/// Indexes that the user's configuration names, in order: the lines of `$XDG_CONFIG_HOME/purlin/indexes`; nothing where
/// there is no such file.
pub fn configured() -> Result<Option<Vec<String>>, CatalogueError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".config")));
    let Some(file) = folder.map(|folder| folder.join("purlin").join("indexes")) else {
        return Ok(None);
    };
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            Ok(Some(lines.map(str::to_owned).collect()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CatalogueError::Configuration { file: file.display().to_string(), source }),
    }
}

/// Reads an index from its registry; of a length that is bounded, and checked in every field.
pub async fn fetch(client: &Client, index: &str) -> Result<Index, CatalogueError> {
    let name = || index.to_owned();
    let reference: Reference =
        index.parse().map_err(|source| CatalogueError::Name { index: name(), source })?;
    let failed = |source| CatalogueError::Fetch { index: name(), source };
    let resolved = client.resolve(&reference).await.map_err(failed)?;
    let text = client.fetch_document(&resolved, MEDIA_TYPE, MAX_BYTES).await.map_err(failed)?;
    Index::parse(&text).map_err(|source| CatalogueError::Content { index: name(), source })
}

/// A version of a plugin that an index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The plugin's name.
    pub name: String,
    /// The version.
    pub release: Release,
}

impl Found {
    /// What the index says that it is: a reference locked to a digest.
    pub fn resolved(&self) -> Result<Resolved, CatalogueError> {
        let reference = &self.release.reference;
        let parsed = reference
            .parse()
            .map_err(|source| CatalogueError::Place { reference: reference.clone(), source })?;
        Ok(Resolved::assume(parsed, self.release.digest.clone()))
    }

    /// Fetches it by its digest. What the plugin says of itself has to agree with the index.
    pub async fn pull(&self, client: &Client) -> Result<Artifact, CatalogueError> {
        let artifact = client.pull(&self.resolved()?).await?;
        let manifest = artifact.manifest();
        if manifest.name != self.name || manifest.version != self.release.version {
            return Err(CatalogueError::Lie {
                reference: self.release.reference.clone(),
                listed: format!("{} {}", self.name, self.release.version),
                found: format!("{} {}", manifest.name, manifest.version),
            });
        }
        Ok(artifact)
    }
}
