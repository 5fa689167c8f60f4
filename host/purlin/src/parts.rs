//! The parts of a command that runs until it is told to stop: started together, watched, and stopped in order.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long parts may take to stop before the process ends without them.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// The parts that run until the end, each with its name.
pub(crate) type Parts = JoinSet<(&'static str, Result<()>)>;

/// What asks a process to stop.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one.
    pub(crate) async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for a signal or for the end of a part, and stops the others.
pub(crate) async fn serve(mut parts: Parts, stop: &CancellationToken, signals: &mut Signals) -> Result<()> {
    let outcome = tokio::select! {
        ended = parts.join_next() => Err(ended_early(ended)),
        () = signals.any() => Ok(()),
    };
    shut_down(parts, stop).await?;
    outcome
}

/// A part that ended although nobody asked it to.
pub(crate) fn ended_early(ended: Option<Result<(&'static str, Result<()>), JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok((name, Err(error)))) => error.context(format!("the {name} ended")),
        Some(Ok((name, Ok(())))) => anyhow::anyhow!("the {name} ended by itself"),
        Some(Err(error)) => anyhow::Error::from(error).context("a part of purlin failed"),
        None => anyhow::anyhow!("no part of purlin is running"),
    }
}

/// Stops the parts and waits for them, but not for ever.
pub(crate) async fn shut_down(mut parts: Parts, stop: &CancellationToken) -> Result<()> {
    stop.cancel();
    let drained = tokio::time::timeout(STOP_PATIENCE, async {
        let mut failed = Vec::new();
        while let Some(ended) = parts.join_next().await {
            match ended {
                Ok((name, Err(error))) => failed.push(format!("{name}: {error:#}")),
                Ok((_, Ok(()))) => {}
                Err(error) => failed.push(error.to_string()),
            }
        }
        failed
    })
    .await;
    match drained {
        Ok(failed) if failed.is_empty() => Ok(()),
        Ok(failed) => bail!("while stopping: {}", failed.join("; ")),
        Err(_) => {
            tracing::warn!("some parts did not stop in {} s and were ended", STOP_PATIENCE.as_secs());
            Ok(())
        }
    }
}

/// Serves routes over plain HTTP.
pub(crate) fn spawn_http(
    parts: &mut Parts,
    name: &'static str,
    listener: tokio::net::TcpListener,
    router: axum::Router,
    stop: &CancellationToken,
) {
    let stop = stop.clone();
    parts.spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        (name, served.map_err(Into::into))
    });
}

/// This binary again, under its hidden subcommand that supervises a container.
pub(crate) fn shim_command() -> Result<Vec<std::ffi::OsString>> {
    let program = std::env::current_exe()
        .context("cannot find this program's own file, which supervises containers")?;
    Ok(vec![program.into_os_string(), "shim".into()])
}
