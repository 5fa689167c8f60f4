//! `purlin up`: the whole platform in this process. Takes the data directory and the ports, starts each part, installs
//! the first-party plugins, says when it is ready, and stops everything in order.

pub(crate) mod data_dir;
pub(crate) mod install;
mod ports;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use prometheus_client::registry::Registry as MetricsRegistry;
use purlin_apiserver::{ApiServer, Identity};
use purlin_kernel::shard::Holdings;
use purlin_kernel::{Kernel, SandboxedSource, measure};
use purlin_models::{ApiAccess, ContainerConfig};
use purlin_node::{ImageMap, Node, OnShutdown};
use purlin_registry::auth::Keychain;
use purlin_registry::{Access, Loopback};
use purlin_sandbox::Sandbox;
use purlin_telemetry::{AuditLog, Exposition, Readiness};
use tokio_util::sync::CancellationToken;

use crate::adapters::{AuditFile, NodeLogs, RegistryImages};
use crate::bundle;
use crate::cli::UpArgs;
use crate::console;
use crate::node::spawn_node;
use crate::parts::{self, Parts, Signals, ended_early, shim_command, shut_down, spawn_http};
use crate::reporter::Reporter;
use crate::serving::{self, Place};
use data_dir::DataDir;
pub(crate) use ports::Ports;

/// How long the first-party plugins may take to be compiled and ready, on a slow machine and for the first time.
const PLUGINS_PATIENCE: Duration = Duration::from_secs(180);

/// The embedded node's name.
const NODE_NAME: &str = "purlin";

/// Objects of one kind that the kernel works on at the same time.
const KERNEL_WORKERS: usize = 8;

/// Runs until a signal or until a part ends by itself, which is a failure.
pub(crate) async fn run(args: &UpArgs) -> Result<()> {
    let started = Instant::now();
    let reporter = Reporter::new();
    let mut signals = Signals::listen()?;

    let data = DataDir::open(&args.data_dir)?;
    let ports = Ports::from_first(args.port);
    let listeners = ports.listen(args.bind).await?;
    let image_map = args.image_map.as_deref().map(ImageMap::read).transpose()?;
    reporter.step("data", &data.path().display().to_string());

    let stop = CancellationToken::new();
    let readiness = Readiness::default();
    readiness.wait_for("plugins");
    let mut metrics = MetricsRegistry::default();
    let mut parts = Parts::new();

    let audit = AuditLog::open(data.join("audit.log"))?;
    let api = ApiServer::open(purlin_apiserver::Config {
        data_dir: data.path().to_owned(),
        audit: Some(Arc::new(AuditFile::new(audit))),
        token_file: args.token_auth_file.clone(),
        without_controllers: args.api_only,
    })
    .await
    .context("cannot open the Kubernetes API")?;
    api.register_metrics(&mut metrics);
    let api_address = SocketAddr::new(args.bind, ports.api);
    let kubeconfig = data.write_private("kubeconfig", &api.kubeconfig(api_address))?;
    if args.api_only {
        spawn_api(&mut parts, &api, listeners.api, &stop);
        reporter.step("api", &format!("https://{api_address}"));
        // A port on which nobody answers would keep its callers waiting.
        drop((listeners.registry, listeners.gateway));
        let exposed = Exposition::new(metrics, readiness.clone()).router();
        spawn_http(&mut parts, "health and metrics", listeners.metrics, exposed, &stop);
        readiness.done("plugins");
        reporter.ready(started.elapsed(), &kubeconfig, ports, args.bind);
        let outcome = parts::serve(parts, &stop, &mut signals).await;
        reporter.stopped();
        return outcome;
    }

    let indexes = console::indexes(&args.index, ports.registry)?;
    let registry_host = format!("localhost:{}", ports.registry);
    let registry = Loopback::open(&data.join("registry")).context("cannot open the plugin registry")?;
    let first_party = bundle::seed(&registry, &registry_host).context("cannot seed the plugin registry")?;
    spawn_http(&mut parts, "plugin registry", listeners.registry, registry.router(), &stop);
    reporter.step("registry", &format!("http://{registry_host}"));

    // Each part is a user of its own, so that the audit log says which of them wrote.
    let as_part = |name: &str| api.client(Identity::component(name));
    let access = Access { keychain: Keychain::from_environment(), ..Access::default() };
    let oci = purlin_registry::Client::new(purlin_registry::ClientConfig { access, ..Default::default() });
    let node = Arc::new(
        Node::new(purlin_node::Config {
            client: as_part("node"),
            name: NODE_NAME.to_owned(),
            data_dir: data.join("node"),
            image_map,
            shim: shim_command()?,
            images: Arc::new(RegistryImages::new()),
            on_shutdown: OnShutdown::Leave,
            log_endpoint: None,
            metrics: purlin_node::Metrics::register(&mut metrics),
        })
        .context("cannot start the node")?,
    );
    api.set_pod_backend(Arc::new(NodeLogs::new(node.clone())));
    spawn_node(&mut parts, &node, NODE_NAME, as_part, &stop);

    let sandbox = Sandbox::new(
        purlin_sandbox::Config { cache_dir: Some(data.join("code-cache")), ..Default::default() },
        args.services.services(&as_part("kernel"), purlin_kernel::NAMESPACE, Some(data.join("blobs")))?,
        purlin_sandbox::Metrics::new(&mut metrics),
    )
    .context("cannot start the sandbox")?;
    let kernel = Kernel::new(
        purlin_kernel::Config {
            client: as_part("kernel"),
            plugins: Arc::new(SandboxedSource::new(oci.clone(), sandbox.clone())),
            push_url: Some(format!("http://{}", SocketAddr::new(args.bind, ports.metrics))),
            namespace: purlin_kernel::NAMESPACE.to_owned(),
            push_key: None,
            workers: KERNEL_WORKERS,
            holdings: Holdings::everything(),
            install_definitions: true,
        },
        &mut metrics,
    );
    let place = Place {
        access: ApiAccess { client: as_part("serving"), writer: as_part("serving"), events: kernel.events() },
        holdings: Holdings::everything(),
        peers: None,
        // The embedded node's Pods are processes of this machine.
        containers: ContainerConfig { here: true, fetch_image: None },
        registries: oci.clone(),
        address: None,
    };
    let gateway = serving::start(&args.models, &data.join("models"), listeners.gateway, place, &mut metrics)?;
    let served = api.mounting(console::mount(oci, indexes, kernel.policies()));
    spawn_api(&mut parts, &served, listeners.api, &stop);
    reporter.step("api", &format!("https://{api_address}"));
    reporter.step(
        "console",
        &format!("https://{api_address}{} (`purlin console` gives a link)", purlin_console::PATH),
    );
    let stages = kernel.stages();
    sandbox.set_resolver(Arc::downgrade(&stages));
    reporter.step("gateway", &format!("http://{}", gateway.address()));
    let refresh = gateway.refresh();
    gateway.spawn(&mut parts, stages.clone(), kernel.readiness(), &stop);
    let push = measure::push::push_router(as_part("metrics-push"), kernel.push_key().await?);
    let mut kernel_ready = kernel.readiness();
    let exposed = Exposition::new(metrics, readiness.clone()).refreshed_by(refresh).router().merge(push);
    spawn_http(&mut parts, "health and metrics", listeners.metrics, exposed, &stop);
    let token = stop.clone();
    parts.spawn(async move { ("kernel", kernel.run(token).await.map_err(Into::into)) });

    let install = async {
        // The other answer is that the kernel ended, which the parts report.
        if !kernel_ready.ready().await || args.no_plugins {
            return Ok(Vec::new());
        }
        let client = as_part("installer");
        let (now, later) = install::part(&client, first_party).await?;
        let installed = install::install(&client, now).await?;
        install::wait_ready(&client, &installed, PLUGINS_PATIENCE, |name, state| {
            reporter.plugin(name, state)
        })
        .await?;
        Ok(later)
    };
    let outcome = tokio::select! {
        installed = install => installed,
        ended = parts.join_next() => Err(ended_early(ended)),
        () = signals.any() => {
            reporter.stopped();
            return shut_down(parts, &stop).await;
        }
    };
    let later = match outcome {
        Ok(later) => later,
        Err(error) => {
            reporter.stopped();
            shut_down(parts, &stop).await?;
            return Err(error);
        }
    };
    let (client, ending) = (as_part("installer"), stop.clone());
    parts.spawn(async move {
        tokio::select! {
            () = install::on_demand(client, later) => {}
            () = ending.cancelled() => {}
        }
        ("installer", Ok(()))
    });

    readiness.done("plugins");
    reporter.ready(started.elapsed(), &kubeconfig, ports, args.bind);
    let outcome = parts::serve(parts, &stop, &mut signals).await;
    reporter.stopped();
    outcome
}

fn spawn_api(
    parts: &mut Parts,
    api: &ApiServer,
    listener: tokio::net::TcpListener,
    stop: &CancellationToken,
) {
    let (api, stop) = (api.clone(), stop.clone());
    parts.spawn(async move { ("Kubernetes API", api.serve(listener, stop).await.map_err(Into::into)) });
}
