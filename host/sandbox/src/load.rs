//! Makes a plugin of a component.

use bytes::Bytes;
use std::sync::{Arc, Weak};

use purlin_registry::{Capability, Manifest};

use crate::capability::StageResolver;
use crate::config::{Config, Limits};
use crate::error::{LoadError, SandboxError};
use crate::metrics::Metrics;
use crate::plugin::Plugin;

/// What to load, and with what rights.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// The packed component.
    pub component: Bytes,
    /// Its digest, `sha256:...`; checked against the bytes.
    pub digest: String,
    /// Its manifest; `None` reads it from the component.
    pub manifest: Option<Manifest>,
    /// What was granted. `log` is granted to all and not listed.
    pub grants: Vec<Capability>,
    /// What each call may use.
    pub limits: Limits,
    /// `Plugin.spec.config`, passed to every call; `{}` where there is none.
    pub config: serde_json::Value,
}

/// The engine and everything that plugins share.
#[derive(Clone)]
pub struct Sandbox {}

impl Sandbox {
    /// Starts the engine.
    pub fn new(config: Config, metrics: Metrics) -> Result<Sandbox, SandboxError> {
        unimplemented!("{config:?} {}", std::mem::size_of_val(&metrics))
    }

    /// Says who serves `call(tuner)`. Until then, and once the resolver is gone, such calls answer with a fault.
    pub fn set_resolver(&self, resolver: Weak<dyn StageResolver>) {
        unimplemented!("{}", resolver.strong_count())
    }

    /// Checks, compiles (or takes from the cache) and links a component.
    pub async fn load(&self, request: LoadRequest) -> Result<Arc<Plugin>, LoadError> {
        unimplemented!("{request:?}")
    }
}
