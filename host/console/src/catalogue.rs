//! What the configured indexes list. Read again when somebody looks and what is at hand is a second old.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use purlin_registry::catalogue::{self, Found};
use purlin_registry::index::{Index, Wanted};
use purlin_registry::{Client, Reference};
use semver::Version;
use tokio::sync::Mutex;

/// How long what was read is shown without asking again.
const FRESH: Duration = Duration::from_secs(1);

/// How long an index may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An index, or why there is none.
pub(crate) struct Read {
    pub(crate) place: Reference,
    pub(crate) outcome: Result<Index, String>,
}

type Held = (Instant, Arc<Vec<Read>>);

/// The configured indexes.
pub(crate) struct Catalogue {
    registry: Client,
    indexes: Vec<Reference>,
    held: Mutex<Option<Held>>,
}

impl Catalogue {
    pub(crate) fn new(registry: Client, indexes: Vec<Reference>) -> Self {
        Catalogue { registry, indexes, held: Mutex::new(None) }
    }

    /// All of them, in order. Whoever comes while they are read waits for the same answer.
    pub(crate) async fn current(&self) -> Arc<Vec<Read>> {
        let mut held = self.held.lock().await;
        if let Some((at, read)) = held.as_ref()
            && at.elapsed() < FRESH
        {
            return read.clone();
        }
        let read = Arc::new(join_all(self.indexes.iter().map(|place| self.read(place))).await);
        *held = Some((Instant::now(), read.clone()));
        read
    }

    async fn read(&self, place: &Reference) -> Read {
        let name = place.to_string();
        let outcome = match tokio::time::timeout(PATIENCE, catalogue::fetch(&self.registry, &name)).await {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the index {name} did not come within {} s", PATIENCE.as_secs())),
        };
        if let Err(error) = &outcome {
            tracing::warn!(index = name, error, "an index cannot be shown");
        }
        Read { place: place.clone(), outcome }
    }
}

/// The version that is installed where nobody says which.
pub(crate) fn newest(index: &Index, name: &str) -> Option<Version> {
    let wanted = Wanted { name: name.to_owned(), versions: None };
    index.find(&wanted).map(|(_, release)| release.version.clone())
}

/// One version in one index.
pub(crate) fn listed(index: &Index, name: &str, version: &Version) -> Option<Found> {
    let listing = index.plugins.iter().find(|listing| listing.name == name)?;
    let release = listing.versions.iter().find(|release| release.version == *version)?;
    Some(Found { name: listing.name.clone(), release: release.clone() })
}
