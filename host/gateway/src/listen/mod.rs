//! Listeners: connections within their number, each on a task of its own, and their end.

mod connection;
mod socket;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::core::Core;

pub(crate) use socket::InFlight;

/// Accepts connections until `stop`, and sees them to their end.
pub(crate) async fn serve(listener: TcpListener, core: Arc<Core>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(core.config.max_connections.min(Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let (finish, cut) = (CancellationToken::new(), CancellationToken::new());
    let leave = async {
        stop.cancelled().await;
        core.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(core.config.drain_delay).await;
    };
    tokio::pin!(leave);
    loop {
        let place = tokio::select! {
            () = &mut leave => break,
            place = places.clone().acquire_owned() => match place {
                Ok(place) => place,
                Err(_) => break,
            },
        };
        let stream = tokio::select! {
            () = &mut leave => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some to come back.
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (core, finish, cut) = (core.clone(), finish.clone(), cut.clone());
        connections.spawn(async move {
            core.metrics.connections.inc();
            tokio::select! {
                ended = connection::drive(stream, &core, finish) => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended with an error");
                },
                () = cut.cancelled() => {}
            }
            core.metrics.connections.dec();
            drop(place);
        });
    }
    drop(listener);
    finish.cancel();
    connections.close();
    if tokio::time::timeout(core.config.drain_timeout, connections.wait()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "requests were still in flight when the gateway stopped"
        );
        cut.cancel();
        connections.wait().await;
    }
}
