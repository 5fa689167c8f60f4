//! `purlin registry`: the plugin registry alone, for a cluster that has none yet and for tests.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use purlin_registry::Loopback;
use tokio_util::sync::CancellationToken;

use crate::bundle;
use crate::cli::RegistryArgs;
use crate::parts::{self, Parts, Signals, spawn_http};
use crate::reporter::Reporter;

/// Serves until a signal.
pub(crate) async fn run(args: &RegistryArgs) -> Result<()> {
    let reporter = Reporter::new();
    let mut signals = Signals::listen()?;
    let address = SocketAddr::new(args.bind, args.port);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; see --bind and --port"))?;
    let registry = Loopback::open(&args.data_dir).context("cannot open the plugin registry")?;
    let host = format!("localhost:{}", args.port);
    for plugin in bundle::seed(&registry, &host).context("cannot seed the plugin registry")? {
        let grants: Vec<_> = plugin.grants.iter().map(|grant| format!(" --grant '{grant}'")).collect();
        reporter.step("plugin", &format!("purlin plugin install {}{}", plugin.image, grants.concat()));
    }
    let (mut parts, stop) = (Parts::new(), CancellationToken::new());
    spawn_http(&mut parts, "plugin registry", listener, registry.router(), &stop);
    reporter.step("ready", &format!("http://{address}"));
    parts::serve(parts, &stop, &mut signals).await
}
