//! Models that explain others: a plugin of the stage `explainer`, which may ask the model that it explains.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use purlin_gateway::{Lease, ModelKey, Models as _, Target};
use purlin_nn::{InferError, InferRequest, InferResponse, ModelMetadata, ServedModel, Tasks};
use purlin_sandbox::contract::Setting;
use purlin_sandbox::{ModelFiles, Plugin, Subject};

use crate::served::Served;

/// An explainer as its resource describes it.
pub(crate) struct Explainer {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) subject: Subject,
    pub(crate) settings: Vec<Setting>,
    pub(crate) files: Arc<ModelFiles>,
    /// The method, as the resource has it.
    pub(crate) method: String,
    /// The Model that it explains.
    pub(crate) explains: ModelKey,
    /// An explanation takes at most so long.
    pub(crate) timeout: Duration,
}

/// The explainers that there are.
#[derive(Default)]
pub(crate) struct Explainers(RwLock<HashMap<ModelKey, Arc<dyn ServedModel>>>);

impl Explainers {
    /// Registers an explainer, or what it has become.
    pub(crate) fn put(&self, key: ModelKey, explainer: Explainer, served: &Arc<Served>) {
        let tasks = Tasks { explain: true, ..Tasks::default() };
        let metadata =
            ModelMetadata { platform: explainer.method.clone(), tasks, ..ModelMetadata::default() };
        let predictor = Arc::new(Predictor {
            served: Arc::downgrade(served),
            key: explainer.explains.clone(),
            metadata: ModelMetadata::default(),
        });
        let model = ExplainingModel { explainer, predictor, metadata };
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(model));
    }

    /// Forgets an explainer.
    pub(crate) fn remove(&self, key: &ModelKey) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// All that are registered.
    pub(crate) fn keys(&self) -> Vec<ModelKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// A lease, where there is such an explainer. Nothing of it has to be loaded.
    pub(crate) fn lease(&self, key: &ModelKey) -> Option<Lease> {
        let model = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()?;
        Some(Lease::new(Target::Model(model)))
    }
}

struct ExplainingModel {
    explainer: Explainer,
    predictor: Arc<Predictor>,
    metadata: ModelMetadata,
}

#[async_trait]
impl ServedModel for ExplainingModel {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, _: InferRequest) -> Result<InferResponse, InferError> {
        Err(InferError::Unsupported("this model explains another and predicts nothing itself".to_owned()))
    }

    async fn explain(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        let Explainer { plugin, subject, settings, files, timeout, .. } = &self.explainer;
        let predictor = Arc::clone(&self.predictor) as Arc<dyn ServedModel>;
        let files = Arc::clone(files);
        Ok(plugin.explain(subject, request, settings.clone(), predictor, files, *timeout).await?)
    }
}

/// The model that an explainer asks.
struct Predictor {
    served: Weak<Served>,
    key: ModelKey,
    metadata: ModelMetadata,
}

#[async_trait]
impl ServedModel for Predictor {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        let gone = || InferError::Unavailable("the gateway is stopping".to_owned());
        let served = self.served.upgrade().ok_or_else(gone)?;
        let lease = served.lease(&self.key).await?;
        match lease.target() {
            Target::Model(model) => model.infer(request).await,
            Target::Upstream(_) => Err(InferError::Unsupported(format!(
                "{} is served by containers; a plugin can explain models that plugins serve",
                self.key
            ))),
        }
    }
}
