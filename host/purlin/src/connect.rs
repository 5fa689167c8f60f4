//! Which cluster a command works with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::cli::{ClusterArgs, default_data_dir};

/// How long a long-running command waits for the next bytes of an answer. Longer than the kernel lets the server keep a
/// watch open, so that it ends only what is dead.
const SILENCE: Duration = Duration::from_secs(45);

/// The cluster of a command that a person types: also that of `purlin up` in the default data directory.
pub(crate) async fn connect(cluster: &ClusterArgs) -> Result<Client> {
    Ok(Client::try_from(credentials(cluster).await?)?)
}

/// Where that cluster is, and as whom to speak to it.
pub(crate) async fn credentials(cluster: &ClusterArgs) -> Result<Config> {
    let environment = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    let local = default_data_dir().join("kubeconfig");
    let file: Option<PathBuf> = match (&cluster.kubeconfig, environment) {
        (Some(file), _) => Some(file.clone()),
        (None, Some(_)) => None,
        (None, None) => Some(local).filter(|file| file.exists()),
    };
    config(file.as_deref()).await.context("no cluster: start `purlin up`, or give --kubeconfig")
}

/// The cluster of a part of the platform: from the file, else from $KUBECONFIG, else from inside the cluster. Its
/// requests end when the server falls silent.
pub(crate) async fn connect_part(kubeconfig: Option<&Path>) -> Result<(Client, Config)> {
    let mut config = config(kubeconfig)
        .await
        .context("no cluster: give --kubeconfig, set $KUBECONFIG, or run in a Pod with a ServiceAccount")?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    Ok((Client::try_from(config.clone())?, config))
}

async fn config(file: Option<&Path>) -> Result<Config> {
    match file {
        Some(file) => {
            let read =
                Kubeconfig::read_from(file).with_context(|| format!("cannot read {}", file.display()))?;
            Ok(Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)
        }
        None => Ok(Config::infer().await?),
    }
}
