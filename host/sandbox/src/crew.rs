//! The threads that run long calls. A call begins on its caller's own task, which costs no switch between threads, and
//! most calls end there. One that outlives its first time slice is moved to the crew, where long calls take turns, so
//! that none holds up the caller's runtime, whatever the plugin does.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::error::{CallError, SandboxError};

/// The threads.
pub(crate) struct Crew {
    runtime: Option<Runtime>,
}

impl Crew {
    pub(crate) fn start(threads: usize) -> Result<Crew, SandboxError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("purlin-plugins")
            .enable_time()
            .build()?;
        Ok(Crew { runtime: Some(runtime) })
    }

    /// Runs `call` to its end: here while it does not yield, on the crew from then on. Dropping the future drops the
    /// call. It comes in a box, because each function that a future is passed through by value copies it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        mut call: Pin<Box<impl Future<Output = T> + Send + 'static>>,
    ) -> Result<T, CallError> {
        if let Poll::Ready(answer) = futures::poll!(call.as_mut()) {
            return Ok(answer);
        }
        let Some(runtime) = &self.runtime else {
            return Err(stopping());
        };
        let mut task = AbortOnDrop(runtime.spawn(call.instrument(tracing::Span::current())));
        match (&mut task.0).await {
            Ok(answer) => Ok(answer),
            Err(error) if error.is_panic() => {
                Err(CallError::Host("the call panicked in the host; this is a defect of Purlin".to_owned()))
            }
            Err(_) => Err(stopping()),
        }
    }
}

fn stopping() -> CallError {
    CallError::Host("it is stopping".to_owned())
}

impl Drop for Crew {
    fn drop(&mut self) {
        // A plain drop waits for running tasks, which a runtime's own threads must not do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
