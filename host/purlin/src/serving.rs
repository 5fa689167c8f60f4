//! The inference gateway, on a port of its own: of `purlin up`, and of each replica of `purlin run`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use prometheus_client::registry::Registry;
use purlin_gateway::{Gateway, GatewayConfig};
use purlin_kernel::shard::Holdings;
use purlin_models::{
    ApiAccess, ContainerConfig, Hub, Peers, Served, Serving, ServingConfig, SourceConfig, Sources,
};
use purlin_sandbox::StageResolver;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::parts::Parts;

/// The hub that models are looked for in where no other is named.
const DEFAULT_HUB: &str = "https://huggingface.co";

/// The largest model file that is downloaded, and the largest layer of an image.
const MAX_FILE: u64 = 64 << 30;

#[derive(Debug, Args)]
pub(crate) struct HubArgs {
    /// Where `hf:` models are: a hub's address, or a folder with ORGANISATION/NAME/... below it
    #[arg(
        long,
        env = "HF_ENDPOINT",
        value_name = "URL|DIR",
        default_value = DEFAULT_HUB,
        help_heading = "Models"
    )]
    pub(crate) model_hub: Hub,
}

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A folder below which models may be read (`file:` and `pvc:` sources); may be given several times
    #[arg(long, value_name = "DIR", help_heading = "Models")]
    pub(crate) model_dir: Vec<PathBuf>,
    /// Memory that models which are loaded may take together
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 30, help_heading = "Models")]
    pub(crate) model_memory: u64,
    /// What downloaded models may take on the disk; what no model in memory needs goes first
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 30, help_heading = "Models")]
    pub(crate) model_cache_size: u64,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    /// The domain of the hosts under which models answer
    #[arg(long, value_name = "DOMAIN", default_value = "localhost", help_heading = "Models")]
    pub(crate) model_domain: String,
}

/// Where and for whom a gateway serves.
pub(crate) struct Place {
    /// With whose rights its loops read and write.
    pub(crate) access: ApiAccess,
    /// What of their work is this replica's.
    pub(crate) holdings: Holdings,
    /// The gateways of other replicas.
    pub(crate) peers: Option<Peers>,
    /// How Pods of models are made.
    pub(crate) containers: ContainerConfig,
    /// For models in images.
    pub(crate) registries: purlin_registry::Client,
    /// Where others reach it, as `HOST:PORT`; by default where it listens.
    pub(crate) address: Option<String>,
}

/// A gateway that has its port and its models, and serves nothing yet.
pub(crate) struct GatewayParts {
    gateway: Gateway,
    served: Arc<Served>,
    listener: TcpListener,
    listens: SocketAddr,
    access: ApiAccess,
    config: ServingConfig,
}

/// Makes a gateway that keeps downloads in `cache`.
pub(crate) fn start(
    args: &ModelArgs,
    cache: &Path,
    listener: TcpListener,
    place: Place,
    metrics: &mut Registry,
) -> Result<GatewayParts> {
    let absolute = |folder: &PathBuf| {
        std::fs::canonicalize(folder).with_context(|| format!("cannot use --model-dir {}", folder.display()))
    };
    let folders = args.model_dir.iter().map(absolute).collect::<Result<Vec<_>>>()?;
    let config = SourceConfig {
        folders,
        cache: cache.to_owned(),
        cache_limit: args.model_cache_size,
        max_file: MAX_FILE,
        hub: args.hub.model_hub.clone(),
    };
    let sources = Sources::new(config, place.registries.clone());
    let sources = sources.with_context(|| format!("cannot keep models in {}", cache.display()))?;
    let Place { access, holdings, peers, containers, address, .. } = place;
    // On a laptop a manifest that asks for a graphics processor should work, if more slowly; in a cluster the Model's owner
    // has to hear that there is none.
    let any_device = containers.here;
    let served =
        Served::new(sources, args.model_memory, access.clone(), containers, holdings.clone(), peers, metrics);
    let gateway = Gateway::new(served.clone(), GatewayConfig::default());
    gateway.register_metrics(metrics);
    let listens = listener.local_addr().context("cannot tell where the gateway listens")?;
    let authority = address.unwrap_or_else(|| listens.to_string());
    let config = ServingConfig { authority, domain: args.model_domain.clone(), holdings, any_device };
    Ok(GatewayParts { gateway, served, listener, listens, access, config })
}

impl GatewayParts {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listens
    }

    /// What brings the gauges of the gateway and of its models up to date.
    pub(crate) fn refresh(&self) -> impl Fn() + Send + Sync + use<> {
        let (gateway, served) = (self.gateway.clone(), self.served.clone());
        move || {
            gateway.refresh_metrics();
            served.refresh_metrics();
        }
    }

    /// Serves, and follows the Model and Route resources once the kernel has defined them.
    pub(crate) fn spawn(
        self,
        parts: &mut Parts,
        stages: Arc<dyn StageResolver>,
        mut kernel: purlin_kernel::Readiness,
        stop: &CancellationToken,
    ) {
        let GatewayParts { gateway, served, listener, access, config, .. } = self;
        let (serving_gateway, ending) = (gateway.clone(), stop.clone());
        parts.spawn(async move {
            serving_gateway.serve(listener, ending).await;
            ("inference gateway", Ok(()))
        });
        let serving = Serving::new(access, stages, served, gateway, config);
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
