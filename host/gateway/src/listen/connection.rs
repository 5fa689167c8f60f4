//! One connection: which protocol it speaks, its limits in time, and hyper's machine for the rest.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::socket::{Activity, Socket};
use crate::body::BodyError;
use crate::core::Core;
use crate::dispatch;

/// What every HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A request's head is at most so large.
const MAX_HEAD: usize = 64 << 10;

/// Answers a connection's requests until it ends, or is told to finish.
pub(super) async fn drive(
    mut stream: TcpStream,
    core: &Arc<Core>,
    finish: CancellationToken,
) -> Result<(), BodyError> {
    stream.set_nodelay(true)?;
    // Nothing is kept for a connection that nobody has used yet.
    let mut before = Vec::new();
    tokio::select! {
        read = tokio::time::timeout(core.config.idle_timeout, first_bytes(&stream, &mut before)) => read??,
        () = finish.cancelled() => return Ok(()),
    }
    let http2 =
        tokio::time::timeout(core.config.header_timeout, speaks_http2(&mut stream, &mut before)).await??;
    if before.is_empty() {
        return Ok(());
    }
    let activity = Activity::new();
    let socket = TokioIo::new(Socket::new(stream, before, activity.clone()));
    let service = {
        let (core, activity) = (core.clone(), activity.clone());
        service_fn(move |request: hyper::Request<Incoming>| {
            let (core, in_flight) = (core.clone(), activity.request());
            async move {
                let response = dispatch::answer(core, request).await;
                Ok::<_, Infallible>(response.map(|body| body.in_flight(in_flight)))
            }
        })
    };
    if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(256)
            .max_header_list_size(MAX_HEAD as u32)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .max_send_buf_size(256 << 10)
            .keep_alive_interval(core.config.idle_timeout.min(std::time::Duration::from_secs(60)));
        let mut connection = pin!(builder.serve_connection(socket, service));
        let mut finishing = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => return Ok(ended?),
                () = finish.cancelled(), if !finishing => {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = tokio::time::sleep(core.config.header_timeout) => {
                    if activity.is_stuck(core.config.body_timeout) {
                        return Ok(());
                    }
                    if !finishing && activity.is_idle(core.config.idle_timeout) {
                        finishing = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
    let mut builder = http1::Builder::new();
    // The time for a head is counted from its first byte, below; hyper's would count the time between requests too.
    builder.header_read_timeout(None).max_buf_size(MAX_HEAD).half_close(false);
    let mut connection = pin!(builder.serve_connection(socket, service));
    let mut finishing = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = finish.cancelled(), if !finishing => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(core.config.header_timeout) => {
                let slow = activity.is_slow(core.config.header_timeout);
                if slow || activity.is_idle(core.config.idle_timeout) || activity.is_stuck(core.config.body_timeout) {
                    return Ok(());
                }
            }
        }
    }
}

/// Waits for the first bytes, at most as many as the preface has. None came where the client left.
async fn first_bytes(stream: &TcpStream, before: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        // It may be taken to be readable when it is not.
        stream.readable().await?;
        let mut buffer = [0; PREFACE.len()];
        match stream.try_read(&mut buffer) {
            Ok(read) => {
                before.extend_from_slice(&buffer[..read]);
                return Ok(());
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads on until it is clear whether the connection speaks HTTP/2.
async fn speaks_http2(stream: &mut TcpStream, before: &mut Vec<u8>) -> std::io::Result<bool> {
    loop {
        if !PREFACE.starts_with(before) || before.is_empty() {
            return Ok(false);
        }
        if before.len() == PREFACE.len() {
            return Ok(true);
        }
        let mut buffer = [0; PREFACE.len()];
        let read = stream.read(&mut buffer[..PREFACE.len() - before.len()]).await?;
        before.extend_from_slice(&buffer[..read]);
        if read == 0 {
            return Ok(false);
        }
    }
}
