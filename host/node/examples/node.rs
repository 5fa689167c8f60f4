//! A node, scheduler and Job controller of their own, for the crate's integration tests: `node shim ..` is the shim,
//! `node KUBECONFIG DATA_DIR [IMAGE_MAP]` runs until it is killed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use purlin_node::{Config, ImageMap, Metrics, NoImages, Node, OnShutdown, job, scheduler, shim};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let Some(first) = args.next() else { return ExitCode::from(2) };
    if first == "shim" {
        return shim::main(args);
    }
    match run(first.into(), args.next().map(PathBuf::from), args.next().map(PathBuf::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(kubeconfig: PathBuf, data_dir: Option<PathBuf>, map: Option<PathBuf>) -> anyhow::Result<()> {
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig)?;
    let client: kube::Client =
        kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?.try_into()?;
    let name = "test-node".to_owned();
    let node = Node::new(Config {
        client: client.clone(),
        name: name.clone(),
        data_dir: data_dir.unwrap_or_default(),
        image_map: map.map(|map| ImageMap::read(&map)).transpose()?,
        shim: vec![std::env::current_exe()?.into(), "shim".into()],
        images: Arc::new(NoImages),
        on_shutdown: OnShutdown::Leave,
        log_endpoint: None,
        metrics: Metrics::default(),
    })?;
    let stop = CancellationToken::new();
    tokio::select! {
        outcome = node.run(stop.clone()) => outcome?,
        () = scheduler::run(client.clone(), name, stop.clone()) => {}
        () = job::run(client, stop) => {}
    }
    Ok(())
}
