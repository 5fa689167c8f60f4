//! What the gateway asks of those who have the models: a lease on one that can answer, and what is known without one.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use purlin_nn::{InferError, ModelMetadata, ServedModel};

/// A Model resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelKey {
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub name: String,
}

impl ModelKey {
    /// A key.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> ModelKey {
        ModelKey { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A server behind the gateway that has the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Host and port for HTTP, such as `127.0.0.1:8080`.
    pub http: String,
    /// Host and port for gRPC, over cleartext HTTP/2. By default the same.
    pub grpc: Option<String>,
}

/// Who answers.
#[derive(Clone)]
pub enum Target {
    /// A model in reach of this process.
    Model(Arc<dyn ServedModel>),
    /// A server that requests are forwarded to as they are.
    Upstream(Upstream),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Model(_) => f.write_str("Model"),
            Target::Upstream(upstream) => f.debug_tuple("Upstream").field(upstream).finish(),
        }
    }
}

/// The right to ask a model, which stays loaded until the lease is dropped.
pub struct Lease {
    target: Target,
    guard: Option<Box<dyn LeaseGuard>>,
}

/// What a lease keeps; dropped when it ends.
pub trait LeaseGuard: Send + Sync {
    /// The server did not take the connection, or closed it before it answered. It should get no more requests until it
    /// does.
    fn gone(&self) {}
}

impl Lease {
    /// A lease on something that needs no keeping.
    pub fn new(target: Target) -> Lease {
        Lease { target, guard: None }
    }

    /// A lease that drops something when it ends: a count of requests, a place in a replica.
    pub fn guarded(target: Target, guard: impl LeaseGuard + 'static) -> Lease {
        Lease { target, guard: Some(Box::new(guard)) }
    }

    /// Says that the server is gone; see [`LeaseGuard::gone`].
    pub fn gone(&self) {
        if let Some(guard) = &self.guard {
            guard.gone();
        }
    }

    /// Who answers.
    pub fn target(&self) -> &Target {
        &self.target
    }
}

/// Whether a model can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// Now.
    Ready,
    /// It has no replica, and the next request wakes it.
    Idle,
    /// Soon.
    Loading,
    /// It cannot be loaded; the text says why.
    Failed(String),
    /// There is no such model.
    Unknown,
}

/// Gives leases. Called for each request; an implementation keeps what it knows in memory.
#[async_trait]
pub trait Models: Send + Sync {
    /// A lease if one can be had at once. This is asked first, so that a request for a model that is there waits for
    /// nothing. `prompt` has hashes of what the request's prompt begins with, where the model's configuration says
    /// [`crate::ModelConfig::by_prefix`]: of replicas the one is to be preferred that was given most of them before.
    fn try_lease(&self, model: &ModelKey, prompt: &[u64]) -> Option<Lease>;

    /// A lease, once the model is loaded. The gateway drops the future at the request's deadline.
    ///
    /// # Errors
    /// [`InferError::Unavailable`] where the model cannot be loaded, [`InferError::Overloaded`] where too many wait.
    async fn lease(&self, model: &ModelKey, prompt: &[u64]) -> Result<Lease, InferError>;

    /// A request did without a lease that it could have used: a model without a replica should get one for the next.
    fn missed(&self, model: &ModelKey) {
        let _ = model;
    }

    /// Whether it can answer. Loads nothing.
    fn state(&self, model: &ModelKey) -> ModelState;

    /// What a model says about itself, where that is known without loading it.
    fn metadata(&self, model: &ModelKey) -> Option<Arc<ModelMetadata>>;

    /// The gateway that should answer requests for models that belong together, as `HOST:PORT`, where that is another one than
    /// this. The group is [`crate::ModelConfig::group`]; `models` are those that may answer. Called for each request.
    fn elsewhere(&self, group: &str, models: &[ModelKey]) -> Option<String> {
        let _ = (group, models);
        None
    }

    /// Another gateway did not take a request, which should go to somebody else for a while.
    fn unreachable(&self, gateway: &str) {
        let _ = gateway;
    }

    /// Loads a model ahead of requests, for a client that asked.
    ///
    /// # Errors
    /// [`InferError::Unsupported`] where clients may not.
    async fn load(&self, model: &ModelKey) -> Result<(), InferError> {
        Err(InferError::Unsupported(format!(
            "{model} is loaded when its first request comes; clients cannot load models here"
        )))
    }

    /// Unloads a model, for a client that asked.
    ///
    /// # Errors
    /// [`InferError::Unsupported`] where clients may not.
    async fn unload(&self, model: &ModelKey) -> Result<(), InferError> {
        Err(InferError::Unsupported(format!(
            "{model} is unloaded when it has been idle; clients cannot unload models here"
        )))
    }
}
