//! The TLS listener: handshakes, bearer tokens, HTTP/1.1 and HTTP/2 connections, and their end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{Request, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::auth::Identity;
use crate::rest::failure;
use crate::server::Core;
use crate::status::ApiError;

/// Connections at a time; further ones wait in the kernel's backlog.
const CONNECTIONS: usize = 1024;
/// A client that has not finished its handshake by then is cut.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long requests in flight may take after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Accepts connections until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    core: Arc<Core>,
    router: Router,
    tls: Arc<ServerConfig>,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => match place {
                Ok(place) => place,
                Err(_) => break,
            },
        };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
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
        let (acceptor, core, router, watcher) =
            (acceptor.clone(), core.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            if let Err(error) = connection(stream, acceptor, core, router, watcher).await {
                tracing::debug!(%error, "a connection ended with an error");
            }
            drop(place);
        });
    }
    core.stopping.cancel();
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still in flight when the server stopped");
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    core: Arc<Core>,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let service = service_fn(move |request: Request<Incoming>| {
        let (core, router) = (core.clone(), router.clone());
        async move { answer(&core, router, request.map(Body::new)).await }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(hyper_util::rt::TokioTimer::new()).max_buf_size(64 << 10);
    builder
        .http2()
        .timer(hyper_util::rt::TokioTimer::new())
        .max_concurrent_streams(250)
        .max_send_buf_size(64 << 10);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    watcher.watch(connection).await
}

async fn answer(
    core: &Core,
    router: Router,
    mut request: Request<Body>,
) -> Result<Response, std::convert::Infallible> {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default()
        .trim();
    let identity = match token {
        "" => Identity::anonymous(),
        token => match core.authenticate(token, &[]) {
            Ok((identity, _)) => identity,
            Err(_) => return Ok(failure(&ApiError::unauthorized())),
        },
    };
    request.extensions_mut().insert(identity);
    router.oneshot(request).await
}
