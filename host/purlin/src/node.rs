//! `purlin node`: the embedded node, scheduler and Job controller against a real API server.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use prometheus_client::registry::Registry as MetricsRegistry;
use purlin_node::{ImageMap, LogEndpoint, Node, OnShutdown};
use tokio_util::sync::CancellationToken;

use crate::adapters::RegistryImages;
use crate::cli::NodeArgs;
use crate::connect::connect_part;
use crate::parts::{self, Parts, Signals, shim_command};
use crate::reporter::Reporter;

/// Where a cluster publishes the authority of its clients' certificates.
const AUTHENTICATION: (&str, &str, &str) =
    ("kube-system", "extension-apiserver-authentication", "client-ca-file");

/// Runs until a signal or until a part ends by itself, which is a failure.
pub(crate) async fn run(args: &NodeArgs) -> Result<()> {
    let reporter = Reporter::new();
    let mut signals = Signals::listen()?;
    let address = SocketAddr::new(args.bind, args.port);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for the API server; see --bind and --port"))?;
    let image_map = args.image_map.as_deref().map(ImageMap::read).transpose()?;
    let (client, config) = connect_part(args.kubeconfig.as_deref()).await?;
    reporter.step("cluster", &config.cluster_url.to_string());
    let authority = match &args.client_ca {
        Some(file) => {
            std::fs::read(file).with_context(|| format!("cannot read --client-ca {}", file.display()))?
        }
        None => published_authority(&client).await?.into_bytes(),
    };
    let mut metrics = MetricsRegistry::default();
    let node = Arc::new(
        Node::new(purlin_node::Config {
            client: client.clone(),
            name: args.name.clone(),
            data_dir: args.data_dir.join("node"),
            image_map,
            shim: shim_command()?,
            images: Arc::new(RegistryImages::new()),
            on_shutdown: OnShutdown::Leave,
            log_endpoint: Some(address),
            metrics: purlin_node::Metrics::register(&mut metrics),
        })
        .context("cannot start the node")?,
    );
    let endpoint = LogEndpoint::new(client.clone(), node.clone(), &args.name, args.bind, &authority)
        .context("cannot serve logs")?;
    let (mut parts, stop) = (Parts::new(), CancellationToken::new());
    let token = stop.clone();
    parts.spawn(async move {
        endpoint.serve(listener, token).await;
        ("log endpoint", Ok(()))
    });
    let with_jobs = !args.no_job_controller;
    spawn(&mut parts, &node, &args.name, !args.no_scheduler, with_jobs, |_| client.clone(), &stop);
    reporter.step("ready", &format!("node {}, logs on https://{address}", args.name));
    let outcome = parts::serve(parts, &stop, &mut signals).await;
    reporter.stopped();
    outcome
}

async fn published_authority(client: &Client) -> Result<String> {
    let (namespace, name, key) = AUTHENTICATION;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found =
        maps.get_opt(name).await.with_context(|| format!("cannot read ConfigMap {namespace}/{name}"))?;
    found.and_then(|map| map.data).and_then(|mut data| data.remove(key)).with_context(|| {
        format!(
            "ConfigMap {namespace}/{name} has no {key}: this API server shows no client certificate that could be \
             checked; give --client-ca"
        )
    })
}

/// Starts the node with its scheduler and Job controller. `as_part` gives each its client.
pub(crate) fn spawn_node(
    parts: &mut Parts,
    node: &Arc<Node>,
    name: &str,
    as_part: impl Fn(&str) -> Client,
    stop: &CancellationToken,
) {
    spawn(parts, node, name, true, true, as_part, stop);
}

fn spawn(
    parts: &mut Parts,
    node: &Arc<Node>,
    name: &str,
    with_scheduler: bool,
    with_jobs: bool,
    as_part: impl Fn(&str) -> Client,
    stop: &CancellationToken,
) {
    let (running, token) = (node.clone(), stop.clone());
    parts.spawn(async move { ("node", running.run(token).await.map_err(Into::into)) });
    if with_scheduler {
        let (client, name, token) = (as_part("scheduler"), name.to_owned(), stop.clone());
        parts.spawn(async move {
            purlin_node::scheduler::run(client, name, token).await;
            ("scheduler", Ok(()))
        });
    }
    if with_jobs {
        let (client, token) = (as_part("job-controller"), stop.clone());
        parts.spawn(async move {
            purlin_node::job::run(client, token).await;
            ("Job controller", Ok(()))
        });
    }
}
