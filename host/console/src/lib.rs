//! The console: a page in the browser that lists plugins and installs, upgrades and removes them by a click.
//!
//! The page talks to the Kubernetes API as the person whose token it holds: what it writes passes RBAC and is in the audit
//! log like everything else. What a browser cannot do, reading OCI registries and verifying signatures, is the small JSON
//! API here. It reads only the indexes that it was made with, and only what these list. The binary mounts both on the port
//! of the Kubernetes API, whose authentication guards [`Console::api`].
//!
//! It writes nothing, sees no token, and knows nothing of Kubernetes.
#![forbid(unsafe_code)]

mod api;
mod catalogue;
mod page;
mod release;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use purlin_registry::{Client, Policy, Reference};

use catalogue::Catalogue;
use release::Releases;

/// Where the page is.
pub const PATH: &str = "/console/";

/// Gives the policies that hold.
#[async_trait]
pub trait PolicySource: Send + Sync {
    /// All rules; nothing while they are not known yet.
    async fn policy(&self) -> Option<Arc<Policy>>;
}

/// What the console reads.
pub struct Config {
    /// Reaches registries, with the credentials and mirrors that installing uses too.
    pub registry: Client,
    /// The indexes to choose from, in order. No other can be asked for.
    pub indexes: Vec<Reference>,
    /// Who must have signed what.
    pub policy: Arc<dyn PolicySource>,
}

/// The console's two routers. Both have whole paths, below [`PATH`].
pub struct Console {
    catalogue: Arc<Catalogue>,
    releases: Arc<Releases>,
}

impl Console {
    /// A console that has read nothing yet.
    pub fn new(config: Config) -> Self {
        let Config { registry, indexes, policy } = config;
        Console {
            catalogue: Arc::new(Catalogue::new(registry.clone(), indexes)),
            releases: Arc::new(Releases::new(registry, policy)),
        }
    }

    /// The page and its parts. There is nothing secret in them: whoever asks may have them.
    pub fn page(&self) -> Router {
        page::router()
    }

    /// What the page asks for. Whoever mounts it says who may ask.
    ///
    /// # Guarantees
    /// A request makes at most a bounded number of requests to registries, for content of a bounded size and in a bounded
    /// time, and only to places that a configured index names.
    pub fn api(&self) -> Router {
        api::router(self.catalogue.clone(), self.releases.clone())
    }
}
