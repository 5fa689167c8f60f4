//! Models that stand beside others and may ask them: explainers say why a model answers as it does, transformers change what it
//! is asked and what it answers. Each is a plugin, called anew for each request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use purlin_gateway::{Lease, ModelKey, Target};
use purlin_nn::{InferError, InferRequest, InferResponse, ModelMetadata, ServedModel, Tasks};
use purlin_sandbox::contract::Setting;
use purlin_sandbox::{ModelFiles, Plugin, Subject};

use crate::served::Served;

/// A companion as its resource describes it.
pub(crate) struct Companion {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) subject: Subject,
    pub(crate) settings: Vec<Setting>,
    /// The Model that it stands beside.
    pub(crate) model: ModelKey,
    pub(crate) role: Role,
}

/// What a companion is for.
pub(crate) enum Role {
    Explainer {
        /// What lies at its source.
        files: Arc<ModelFiles>,
        /// The method, as the resource has it.
        method: String,
        /// An explanation takes at most so long.
        timeout: Duration,
    },
    Transformer,
}

/// The companions that there are.
#[derive(Default)]
pub(crate) struct Companions(RwLock<HashMap<ModelKey, Arc<dyn ServedModel>>>);

impl Companions {
    /// Registers a companion, or what it has become.
    pub(crate) fn put(&self, key: ModelKey, companion: Companion, served: &Arc<Served>) {
        let (platform, tasks) = match &companion.role {
            Role::Explainer { method, .. } => (method.clone(), Tasks { explain: true, ..Tasks::default() }),
            Role::Transformer => ("transformer".to_owned(), Tasks { infer: true, ..Tasks::default() }),
        };
        let metadata = ModelMetadata { platform, tasks, ..ModelMetadata::default() };
        let beside = Arc::new(Beside {
            served: Arc::downgrade(served),
            key: companion.model.clone(),
            metadata: ModelMetadata::default(),
        });
        let model = CompanionModel { companion, beside, metadata };
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(model));
    }

    /// Forgets a companion.
    pub(crate) fn remove(&self, key: &ModelKey) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// All that are registered.
    pub(crate) fn keys(&self) -> Vec<ModelKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// A lease, where there is such a companion. Nothing of it has to be loaded.
    pub(crate) fn lease(&self, key: &ModelKey) -> Option<Lease> {
        let model = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()?;
        Some(Lease::new(Target::Model(model)))
    }
}

struct CompanionModel {
    companion: Companion,
    beside: Arc<Beside>,
    metadata: ModelMetadata,
}

#[async_trait]
impl ServedModel for CompanionModel {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        let Companion { plugin, subject, settings, role, .. } = &self.companion;
        match role {
            Role::Explainer { .. } => Err(InferError::Unsupported(
                "this model explains another and predicts nothing itself".to_owned(),
            )),
            Role::Transformer => {
                let mut request = plugin.preprocess(subject, request, settings.clone()).await?;
                // Which outputs the client gets is decided behind the transformer, which may need others and make some.
                request.outputs.clear();
                let response = self.beside.infer(request).await?;
                Ok(plugin.postprocess(subject, response, settings.clone()).await?)
            }
        }
    }

    async fn explain(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        let Companion { plugin, subject, settings, role, .. } = &self.companion;
        match role {
            Role::Explainer { files, timeout, .. } => {
                let predictor = Arc::clone(&self.beside) as Arc<dyn ServedModel>;
                let files = Arc::clone(files);
                Ok(plugin.explain(subject, request, settings.clone(), predictor, files, *timeout).await?)
            }
            Role::Transformer => Err(InferError::Unsupported("a transformer explains nothing".to_owned())),
        }
    }
}

/// The model that a companion stands beside.
struct Beside {
    served: Weak<Served>,
    key: ModelKey,
    metadata: ModelMetadata,
}

#[async_trait]
impl ServedModel for Beside {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        let gone = || InferError::Unavailable("the gateway is stopping".to_owned());
        let served = self.served.upgrade().ok_or_else(gone)?;
        // Not another companion: these could stand in a circle.
        match served.lease_model(&self.key, &[]).await?.target() {
            Target::Model(model) => model.infer(request).await,
            Target::Upstream(_) => Err(InferError::Unsupported(format!(
                "{} is served by containers; plugins stand beside models that plugins serve",
                self.key
            ))),
        }
    }
}
