//! What plugins compute on the host: graphs and language models, by the backends of `purlin-nn`.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use purlin_nn::{
    Backends, Candle, Decoding, Encoding, LanguageModel, LoadOptions, LoadedGraph, ModelFile, NnError, Ort,
    Settings, Token, Tract,
};
use purlin_sandbox::service::Inference;

/// Inference on this host.
pub struct HostInference {
    backends: Backends,
}

impl HostInference {
    /// The backends for graphs, by name, in their own order.
    pub const GRAPH_BACKENDS: [&'static str; 2] = ["tract", "ort"];

    /// With the backend that needs no install, and with ONNX Runtime where its library is found: in `library`, or in the
    /// usual places.
    pub fn new(library: Option<PathBuf>, settings: &Settings) -> Self {
        let ort = Ort { library, ..Ort::default() };
        let backends = Backends::new(vec![Arc::new(Tract), Arc::new(ort)], settings);
        HostInference { backends: backends.with_language_models(vec![Arc::new(Candle)]) }
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
        file: ModelFile,
        options: LoadOptions,
    ) -> Result<Arc<dyn LanguageModel>, NnError> {
        Ok(self.backends.load_language_model(file, options).await?)
    }

    async fn decode(
        &self,
        decoding: Box<dyn Decoding>,
    ) -> (Option<Box<dyn Decoding>>, Result<Option<Token>, NnError>) {
        self.backends.decode(decoding).await
    }
}
