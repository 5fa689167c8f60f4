//! What plugins compute on the host: graphs by the backends of `purlin-nn`.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use purlin_nn::{
    Backends, Decoding, Encoding, LanguageModel, LoadOptions, LoadedGraph, ModelFile, NnError, Ort, Settings,
    Token, Tract,
};
use purlin_sandbox::service::Inference;

/// Inference on this host.
pub struct HostInference {
    backends: Backends,
}

impl HostInference {
    /// With the backend that needs no install, and with ONNX Runtime where its library is found: in `library`, or in the
    /// usual places.
    pub fn new(library: Option<PathBuf>, settings: &Settings) -> Self {
        let ort = Ort { library, ..Ort::default() };
        HostInference { backends: Backends::new(vec![Arc::new(Tract), Arc::new(ort)], settings) }
    }
}

#[async_trait]
impl Inference for HostInference {
    async fn load_graph(
        &self,
        encoding: Encoding,
        file: ModelFile,
        options: LoadOptions,
    ) -> Result<Arc<LoadedGraph>, NnError> {
        self.backends.load(encoding, file, options).await
    }

    async fn load_language_model(
        &self,
        _: ModelFile,
        options: LoadOptions,
    ) -> Result<Arc<dyn LanguageModel>, NnError> {
        Err(NnError::NoBackend {
            encoding: Encoding::Ggml,
            device: options.device,
            reason: "this build has no backend for language models".to_owned(),
        })
    }

    async fn decode(
        &self,
        mut decoding: Box<dyn Decoding>,
    ) -> (Option<Box<dyn Decoding>>, Result<Option<Token>, NnError>) {
        let decoded = tokio::task::spawn_blocking(move || {
            let token = decoding.next();
            (decoding, token)
        });
        match decoded.await {
            Ok((decoding, token)) => (Some(decoding), token),
            Err(_) => (None, Err(NnError::Failed("the computation ended before it was done".to_owned()))),
        }
    }
}
