//! The inference gateway of `purlin up`: models in this process, on a port of its own.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use kube::Client;
use prometheus_client::registry::Registry;
use purlin_gateway::{Gateway, GatewayConfig};
use purlin_models::{ModelStore, Serving, ServingConfig, SourceConfig, Sources};
use purlin_sandbox::StageResolver;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::data_dir::DataDir;
use crate::cli::UpArgs;
use crate::parts::Parts;

/// The largest model file that is downloaded, and the largest layer of an image.
const MAX_FILE: u64 = 64 << 30;

/// A gateway that has its port and its models, and serves nothing yet.
pub(super) struct GatewayParts {
    gateway: Gateway,
    store: Arc<ModelStore>,
    listener: TcpListener,
}

pub(super) fn start(
    args: &UpArgs,
    data: &DataDir,
    listener: TcpListener,
    registries: purlin_registry::Client,
    metrics: &mut Registry,
) -> Result<GatewayParts> {
    let absolute = |folder: &PathBuf| {
        std::fs::canonicalize(folder).with_context(|| format!("cannot use --model-dir {}", folder.display()))
    };
    let folders = args.model_dir.iter().map(absolute).collect::<Result<Vec<_>>>()?;
    let config = SourceConfig {
        folders,
        cache: data.join("models"),
        cache_limit: args.model_cache,
        max_file: MAX_FILE,
        hub: args.model_hub.clone(),
    };
    let sources = Sources::new(config, registries);
    let store =
        ModelStore::new(sources.context("cannot keep models in the data directory")?, args.model_memory);
    let gateway = Gateway::new(store.clone(), GatewayConfig::default());
    gateway.register_metrics(metrics);
    Ok(GatewayParts { gateway, store, listener })
}

impl GatewayParts {
    /// Serves, and follows the Model and Route resources once the kernel has defined them.
    pub(super) fn spawn(
        self,
        parts: &mut Parts,
        client: Client,
        stages: Arc<dyn StageResolver>,
        config: ServingConfig,
        mut kernel: purlin_kernel::Readiness,
        stop: &CancellationToken,
    ) {
        let GatewayParts { gateway, store, listener } = self;
        let (serving_gateway, ending) = (gateway.clone(), stop.clone());
        parts.spawn(async move {
            serving_gateway.serve(listener, ending).await;
            ("inference gateway", Ok(()))
        });
        let serving = Serving::new(client, stages, store, gateway, config);
        let stop = stop.clone();
        parts.spawn(async move {
            let defined = tokio::select! {
                ready = kernel.ready() => ready,
                () = stop.cancelled() => false,
            };
            if defined {
                serving.run(stop.clone()).await;
            }
            stop.cancelled().await;
            ("models", Ok(()))
        });
    }
}
