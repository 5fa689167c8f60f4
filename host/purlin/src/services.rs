//! What the host does for plugins, put together from the command line.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use kube::Client;
use purlin_kernel::service::{ClusterSecrets, SecretStore};
use purlin_models::HostInference;
use purlin_nn::{Preference, Settings};
use purlin_sandbox::service::{BlobFolder, Egress, HttpSink};
use purlin_sandbox::{Services, service::EventSink};

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// The library of ONNX Runtime (libonnxruntime.so): it computes what it can read. Without this it is looked for in the
    /// usual places, for models that the built-in backend cannot read
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// What computes ONNX models, the best first: `tract` (built in), `ort` (ONNX Runtime); by default `ort,tract` with
    /// --onnxruntime, else `tract,ort`
    #[arg(long, value_name = "LIST", value_parser = backends)]
    pub(crate) onnx_backends: Option<Preference>,
    /// Where events of plugins with the capability `events` go: a URL that takes CloudEvents over HTTP
    #[arg(long, env = "K_SINK", value_name = "URL", help_heading = "Plugins")]
    pub(crate) event_sink: Option<String>,
    /// More certificate authorities (PEM) that requests of plugins with the capability `http` trust
    #[arg(long, value_name = "FILE", help_heading = "Plugins")]
    pub(crate) egress_ca: Option<PathBuf>,
}

/// Names with commas between them, or `auto`.
fn backends(text: &str) -> Result<Preference, String> {
    let known = [&["auto"], HostInference::GRAPH_BACKENDS.as_slice()].concat();
    match text.split(',').map(str::trim).find(|name| !known.contains(name)) {
        Some(name) => Err(format!("{name:?} is no backend; there are: {}", known.join(", "))),
        None => text.parse().map_err(|never: Infallible| match never {}),
    }
}

impl ServiceArgs {
    /// The services over a cluster. `namespace` is where plugins' key-value stores lie, `blobs` the folder of their blobs.
    pub(crate) fn services(
        &self,
        client: &Client,
        namespace: &str,
        blobs: Option<PathBuf>,
    ) -> Result<Services> {
        let roots = match &self.egress_ca {
            Some(file) => Some(
                std::fs::read(file).with_context(|| format!("cannot read --egress-ca {}", file.display()))?,
            ),
            None => None,
        };
        let sink = |url: &String| -> Result<Arc<dyn EventSink>> {
            Ok(Arc::new(HttpSink::new(url).with_context(|| format!("--event-sink {url:?}"))?))
        };
        if let Some(library) = self.onnxruntime.as_ref().filter(|library| !library.is_file()) {
            anyhow::bail!("--onnxruntime {}: there is no such file", library.display());
        }
        // Who names the library wants it to be used: it is quicker at most graphs, and slower to load them.
        let preference = match (&self.onnx_backends, &self.onnxruntime) {
            (Some(preference), _) => preference.clone(),
            (None, Some(_)) => backends("ort,tract").map_err(anyhow::Error::msg)?,
            (None, None) => Preference::default(),
        };
        let settings = Settings { preference, ..Settings::default() };
        Ok(Services {
            http: Some(Arc::new(Egress::new(roots.as_deref()).context("--egress-ca")?)),
            secrets: Some(Arc::new(ClusterSecrets::new(client.clone()))),
            kv: Some(Arc::new(SecretStore::new(client.clone(), namespace))),
            blobs: blobs.map(|folder| Arc::new(BlobFolder::new(folder)) as _),
            events: self.event_sink.as_ref().map(sink).transpose()?,
            inference: Some(Arc::new(HostInference::new(self.onnxruntime.clone(), &settings))),
        })
    }
}
