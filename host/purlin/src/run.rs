//! `purlin run`: the kernel against a real API server, one replica of several.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use prometheus_client::registry::Registry as MetricsRegistry;
use purlin_kernel::shard::election::{self, Gateways, Timing};
use purlin_kernel::shard::{Holdings, Shards};
use purlin_kernel::{Kernel, SandboxedSource, measure};
use purlin_models::{ApiAccess, ContainerConfig, Peers};
use purlin_sandbox::Sandbox;
use purlin_telemetry::{Exposition, Readiness};
use tokio_util::sync::CancellationToken;

use crate::cli::RunArgs;
use crate::connect::connect_part;
use crate::parts::{self, Parts, Signals, spawn_http};
use crate::reporter::Reporter;
use crate::serving::{self, Place};

/// Runs until a signal or until a part ends by itself, which is a failure.
pub(crate) async fn run(args: &RunArgs) -> Result<()> {
    let reporter = Reporter::new();
    let mut signals = Signals::listen()?;
    let timing = Timing::new(args.lease_duration.into(), args.renew_interval.into())
        .context("--lease-duration and --renew-interval")?;
    let identity = match &args.identity {
        Some(identity) => identity.clone(),
        None => own_identity(),
    };
    let address = SocketAddr::new(args.bind, args.port);
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for health and metrics; see --bind and --port")
    })?;
    let gateway_port = args.gateway_port.unwrap_or_else(|| args.port.saturating_add(1));
    let gateway_address = SocketAddr::new(args.bind, gateway_port);
    let gateway_listener = tokio::net::TcpListener::bind(gateway_address).await.with_context(|| {
        format!("cannot listen on {gateway_address} for inference; see --bind and --gateway-port")
    })?;
    let (client, config) = connect_part(args.kubeconfig.as_deref()).await?;
    reporter.step("cluster", &config.cluster_url.to_string());

    let readiness = Readiness::default();
    readiness.wait_for("kernel");
    readiness.wait_for("membership");
    let mut metrics = MetricsRegistry::default();
    let mut parts = Parts::new();
    // The kernel and its health stop after everything was handed over.
    let (leave, stop) = (CancellationToken::new(), CancellationToken::new());

    let sandbox = Sandbox::new(
        purlin_sandbox::Config { cache_dir: Some(args.cache_dir.clone()), ..Default::default() },
        args.services.services(&client, &args.namespace, args.blob_dir.clone())?,
        purlin_sandbox::Metrics::new(&mut metrics),
    )
    .context("cannot start the sandbox")?;
    let holdings = Holdings::nothing(Shards::new(args.shards));
    let oci = purlin_registry::Client::new(purlin_registry::ClientConfig::default());
    let kernel = Kernel::new(
        purlin_kernel::Config {
            client: client.clone(),
            plugins: Arc::new(SandboxedSource::new(oci.clone(), sandbox.clone())),
            push_url: args.push_url.clone(),
            namespace: args.namespace.clone(),
            push_key: None,
            workers: args.workers.get(),
            holdings: holdings.clone(),
            install_definitions: args.install_crds,
        },
        &mut metrics,
    );
    let (gateways, known) = tokio::sync::watch::channel(Gateways::new());
    // A replica's own, as its compiled plugins are: one process at a time keeps models in a folder.
    let beside = || {
        let mut name = args.cache_dir.file_name().unwrap_or_default().to_owned();
        name.push("-models");
        args.cache_dir.with_file_name(name)
    };
    let place = Place {
        access: ApiAccess { client: client.clone(), writer: kernel.writer(), events: kernel.events() },
        holdings: holdings.clone(),
        peers: Some(Peers { identity: identity.clone(), gateways: known }),
        containers: ContainerConfig { here: args.local_pods, fetch_image: args.fetch_image.clone() },
        registries: oci,
        address: args.gateway_address.clone(),
    };
    let model_cache = args.model_cache.clone().unwrap_or_else(beside);
    let gateway = serving::start(&args.models, &model_cache, gateway_listener, place, &mut metrics)?;
    let reachable = Some(gateway.address()).filter(|address| !address.ip().is_unspecified());
    let reachable = reachable.map(|address| address.to_string());
    let stages = kernel.stages();
    sandbox.set_resolver(Arc::downgrade(&stages));
    let key = tokio::select! {
        key = kernel.push_key() => key?,
        () = signals.any() => return Ok(()),
    };
    let push = measure::push::push_router(client.clone(), key);
    let election = election::Config {
        client,
        namespace: args.namespace.clone(),
        identity: identity.clone(),
        timing,
        gateway: args.peer_address.clone().or(reachable),
        gateways,
        holdings,
        metrics: kernel.shard_metrics(),
    };
    let refresh = gateway.refresh();
    let exposed = Exposition::new(metrics, readiness.clone()).refreshed_by(refresh).router().merge(push);
    spawn_http(&mut parts, "health and metrics", listener, exposed, &stop);
    reporter.step("replica", &identity);
    reporter.step("gateway", &format!("http://{}", gateway.address()));
    gateway.spawn(&mut parts, stages.clone(), kernel.readiness(), &stop);
    reporter.step("metrics", &format!("http://{address}/metrics"));

    let (joined, membership) = tokio::sync::watch::channel(false);
    let (leaving, then) = (leave.clone(), stop.clone());
    parts.spawn(async move {
        election::run(election, joined, leaving).await;
        then.cancel();
        ("election", Ok(()))
    });
    let ready = kernel.readiness();
    let token = stop.clone();
    parts.spawn(async move { ("kernel", kernel.run(token).await.map_err(Into::into)) });
    let token = stop.clone();
    parts.spawn(async move {
        tokio::select! {
            () = tell(ready, membership, readiness, &reporter) => {}
            () = token.cancelled() => {}
        }
        ("readiness", Ok(()))
    });

    parts::serve(parts, &leave, &mut signals).await
}

/// Keeps `/readyz` true to what this replica does.
async fn tell(
    mut kernel: purlin_kernel::Readiness,
    mut membership: tokio::sync::watch::Receiver<bool>,
    readiness: Readiness,
    reporter: &Reporter,
) {
    if !kernel.ready().await {
        return std::future::pending().await;
    }
    readiness.done("kernel");
    let mut said = false;
    loop {
        let joined = *membership.borrow_and_update();
        readiness.done("membership");
        if !joined {
            readiness.wait_for("membership");
        } else if !std::mem::replace(&mut said, true) {
            reporter.step("ready", "among the replicas, and at work on its share");
        }
        if membership.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// The host's name and some characters by chance, as a DNS label.
fn own_identity() -> String {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let clean: String = host
        .to_lowercase()
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .take(40)
        .collect();
    let clean = clean.trim_matches('-');
    let base = if clean.is_empty() { "purlin" } else { clean };
    format!("{base}-{:08x}", rand::random::<u32>())
}
